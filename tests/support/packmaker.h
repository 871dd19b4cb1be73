/* SPDX-License-Identifier: ISC */
/* Makes packs for tests, honest ones and others: every number in them can be a lie. Built on zlib
 * and not on the codecs under test. Runs out of memory by abort(). */
#ifndef BOLE_TESTS_PACKMAKER_H
#define BOLE_TESTS_PACKMAKER_H

#include <stddef.h>
#include <stdint.h>

#include "bole/oid.h"

/* Growing bytes, for packs, deltas, trees. Zeroed is empty. */
struct maker_bytes {
	uint8_t *ptr;
	size_t len;
	size_t cap;
};
void maker_append(struct maker_bytes *, const void *src, size_t len);
void maker_text(struct maker_bytes *, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
void maker_release(struct maker_bytes *);

struct packmaker {
	struct maker_bytes out;
	uint8_t algo;
	uint32_t count;
	int level; /* of zlib */
};

/* Writes a header of version 2 with no objects. */
void packmaker_init(struct packmaker *, uint8_t algo);
void packmaker_release(struct packmaker *);
/* Each adds one entry and returns its offset. oid may be NULL. */
uint64_t packmaker_object(struct packmaker *, uint8_t type, const void *data, size_t len,
                          struct bole_oid *oid);
uint64_t packmaker_ofs(struct packmaker *, uint64_t base, const struct maker_bytes *delta);
uint64_t packmaker_ref(struct packmaker *, const struct bole_oid *base,
                       const struct maker_bytes *delta);
/* Type, declared size, base (both kinds, by type) and zlib data of one's own choice. */
uint64_t packmaker_entry(struct packmaker *, uint8_t type, uint64_t size, uint64_t distance,
                         const struct bole_oid *base, const void *data, size_t len);
/* Only the head of an entry. */
uint64_t packmaker_head(struct packmaker *, uint8_t type, uint64_t size, uint64_t distance,
                        const struct bole_oid *base);
/* Sets the count in the header (packmaker_count: another one) and appends the trailer. */
void packmaker_finish(struct packmaker *);
void packmaker_finish_count(struct packmaker *, uint32_t version, uint32_t count);

/* Deltas: sizes first, then instructions. */
void delta_begin(struct maker_bytes *, uint64_t base_len, uint64_t result_len);
void delta_copy(struct maker_bytes *, uint32_t offset, uint32_t len);
void delta_insert(struct maker_bytes *, const void *src, uint8_t len);

void tree_entry(struct maker_bytes *, const char *mode, const char *name,
                const struct bole_oid *oid);
/* A commit by nobody at a time; parent may be NULL. */
void commit_text(struct maker_bytes *, const struct bole_oid *tree, const struct bole_oid *parent,
                 long time, const char *message);
/* A chain of commits that each change one of three files: three objects a commit and three blobs,
 * of which the first commit has replaced one. Returns the last commit. */
struct bole_oid packmaker_history(struct packmaker *, uint32_t commits, uint64_t seed);

#endif /* BOLE_TESTS_PACKMAKER_H */
