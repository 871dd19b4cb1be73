/* SPDX-License-Identifier: ISC */
/* Inside of the collector: gc.c drives it, gc_walk.c marks.
 *
 * A fresh mark of a tree, commit or tag goes onto a stack and is looked into when its turn comes; a
 * blob goes into a batch, because of it only the head of its entry matters (is it a delta, and of
 * what): batches are read in the order of the log. */
#ifndef BOLE_GIT_GC_H
#define BOLE_GIT_GC_H

#include "bole/gc.h"
#include "git/boundary.h"
#include "git/object/object.h"
#include "git/object/read.h"
#include "git/promise.h"

enum { GC_BLOCK_BYTES = 16 * 1024, GC_BATCH = 1024 };

/* A piece of the stack; items: type (0 = not known), raw id. */
struct gc_block {
	struct gc_block *below;
	size_t used;
	uint8_t items[GC_BLOCK_BYTES];
};

struct gc_blob {
	struct bole_entry entry;
	struct bole_oid oid;
};

/* An extent whose entries take the place of others when the collection ends (mark.h). The walk
 * looks at its entries: they are what lives on, with what they are based on. */
struct gc_replacement {
	uint64_t keep;
	const uint64_t *extents;
	size_t count;
	/* The entry of an id that keep has. */
	bool (*find)(void *ctx, const struct bole_oid *, struct bole_entry *out);
	/* As the view of the mark shows it, nothing else has these ids; errors end the collection.
	 */
	enum bole_status (*check)(void *ctx, struct bole_snapshot *view);
	void *ctx;
};

struct gc_walk {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	const struct bole_gc_options *options;
	const struct gc_replacement *replacement; /* or NULL */
	struct bole_gc_result *result;
	struct bole_mark *mark;
	struct bole_object_reader *reader;
	uint8_t algo;
	struct bole_boundary boundary; /* as it was when the mark began; later ones are roots */
	struct bole_promises promises; /* the same */
	uint8_t *sets;                 /* what was set aside of the saved ones */
	size_t sets_len;
	struct bole_oid at; /* the object that is looked into, for messages */
	struct gc_block *top;
	struct gc_block *spare; /* one empty block, so that a border costs nothing */
	struct gc_blob *batch;
	size_t batched;
	bool flushing;
	uint64_t marked;
	uint64_t work;
	uint64_t tick_ns;
};

/* bole_gc with a replacement; NULL = none. */
BOLE_MUST_USE enum bole_status bole_gc_replacing(struct bole_platform *, struct bole_alloc *,
                                                 struct bole_store *, uint32_t repo,
                                                 const struct bole_gc_options *,
                                                 const struct gc_replacement *,
                                                 struct bole_gc_result *out);
BOLE_MUST_USE enum bole_status bole_gc_walk_open(struct gc_walk *);
void bole_gc_walk_close(struct gc_walk *);
/* Marks an object and everything that follows from it. BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_gc_walk_root(struct gc_walk *, const struct bole_oid *);
/* The blobs that are still in the batch, and what follows from them. */
BOLE_MUST_USE enum bole_status bole_gc_walk_finish(struct gc_walk *);
/* Fills result->error (the first failure stays) and returns rc. */
enum bole_status bole_gc_fail(struct gc_walk *, enum bole_status rc, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#endif /* BOLE_GIT_GC_H */
