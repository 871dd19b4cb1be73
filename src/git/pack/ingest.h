/* SPDX-License-Identifier: ISC */
/* Receives a pack as it streams in: parses, hashes with collision detection, stores it through the
 * transaction (small packs as records, others verbatim as an extent), resolves deltas with bounded
 * memory, and checks that every link of every object received leads to an object that is in the
 * pack or findable in the domain, with the type that the link implies. So whatever a domain
 * publishes is closed, and no walk is ever needed before a reference moves.
 *
 * Thin packs are not completed: a base that is not in the pack is found by its id in the domain,
 * now and by every later reader. Of an object that the pack holds more than once, the copy that was
 * resolved first counts; an object that the domain holds already is fine, stores keep the oldest.
 * Delta chains are limited as readers will meet them, with what lies below a base in the domain.
 *
 * Memory: 64 (the row that the store is handed) + 8 + 5..11 (table) + 4 bytes an object, 24..36 for
 * each link whose target has not come yet (mostly the deltas' share of the pack), all that half as
 * much again while a table grows; 1 MiB of buffers, 1.5 MiB for reading back an extent; the rest of
 * memory_bytes_max holds bases of deltas, which give way and are inflated again when it is little.
 * A delta that fits memory is resolved with base, instructions and result
 * in it; an object that does not is streamed, and kept whole instead of as a delta (big.c).
 *
 * Where the platform has several processors, fibers of its own inflate, apply and hash deltas ahead
 * of the caller's fiber, in half of the memory for bases. Nothing that is stored, refused or said
 * depends on how many there are; all have ended when the call returns. */
#ifndef BOLE_GIT_PACK_INGEST_H
#define BOLE_GIT_PACK_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "bole/alloc.h"
#include "bole/odb.h"
#include "bole/platform.h"
#include "bole/types.h"
#include "git/fsck/fsck.h"
#include "git/object/oid_map.h"

struct bole_id_list;

/* 0 = the default named in ingest.c. */
struct bole_ingest_limits {
	uint64_t pack_bytes_max;     /* received */
	uint64_t object_bytes_max;   /* one object, inflated */
	uint64_t inflated_bytes_max; /* the whole pack, inflated: stops delta and zlib bombs */
	uint64_t objects_max;
	uint32_t delta_depth_max;
	size_t memory_bytes_max; /* working memory of this ingestion */
	uint64_t time_ns_max;    /* from the first byte to the last check */
};

struct bole_ingest_report {
	uint64_t objects;
	uint64_t deltas;
	uint64_t pack_bytes;
	uint64_t inflated_bytes;
	uint64_t cut;      /* commits that lack parents (shallow) */
	uint64_t promised; /* trees and blobs that objects of it link to and that are not here */
	struct bole_oid checksum; /* the pack's own */
	char error[200];          /* why it failed, one line for the client; "" when BOLE_OK */
};

/* What packs of one transaction lead to and do not have, as ids with types. */
struct bole_ingest_later {
	struct bole_oid_map missing;
};
void bole_ingest_later_init(struct bole_ingest_later *, struct bole_platform *, struct bole_alloc *,
                            uint8_t algo);
void bole_ingest_later_release(struct bole_ingest_later *);

struct bole_ingest {
	struct bole_platform *platform; /* yield, now */
	struct bole_alloc *alloc;
	struct bole_tx *tx;
	struct bole_ingest_limits limits;
	/* Called at most a few times a second; may be NULL. */
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	void *progress_ctx;
	/* True = the client is gone: stop with BOLE_E_CLOSED. May be NULL. */
	bool (*cancelled)(void *ctx);
	void *cancelled_ctx;
	/* What objects are held to; NULL = BOLE_FSCK_STRUCTURE. */
	const struct bole_fsck_options *fsck;
	/* A finding that refuses nothing, one line; at most a few of one pack. May be NULL. */
	void (*warning)(void *ctx, const char *line);
	void *warning_ctx;
	/* The repository's shallow boundary as it was before; NULL = it has none. A commit of it
	 * that comes again needs no parents. */
	const struct bole_id_list *ends;
	/* Commits where the sender's history ends; NULL = nowhere. The parents of those that come
	 * in the pack need not be here; a commit that lacks some is cut: added to the list `cut`
	 * (if there is one) and counted in the report. Unless all of these go onto the boundary in
	 * the same transaction, it must not be committed. */
	const struct bole_id_list *shallow;
	struct bole_id_list *cut;
	/* The pack comes from the repository's origin (promise.h): trees and blobs that it links to
	 * and that are nowhere are promised from now on. Without it only what is promised already
	 * may be missing. Both are recorded in the transaction. */
	bool promisor;
	/* Where links that lead nowhere yet are noted instead of refused; NULL = refused. Unless
	 * bole_ingest_settle finds them all in the end, the transaction must not be committed. */
	struct bole_ingest_later *later;
	/* The pack was cut off by the end of its stream, or an error of it: shows the whole entries
	 * that came as a pack of their own, for another transaction, before the call fails. May be
	 * NULL. */
	void (*cut_off)(void *ctx, struct bole_reader *pack);
	void *cut_off_ctx;
};

/* Reads exactly one pack (header to trailer) from in, whose buffer has BOLE_ENTRY_HEAD_MAX bytes or
 * more. On failure the transaction must be aborted.
 * BOLE_E_INVALID (malformed, lying, incomplete), BOLE_E_LIMIT, BOLE_E_CORRUPT (a collision attack,
 * or a stored base is damaged), BOLE_E_NO_SPACE, BOLE_E_NO_MEMORY, or what reading in returned. */
BOLE_MUST_USE enum bole_status bole_pack_ingest(const struct bole_ingest *, struct bole_input *in,
                                                struct bole_ingest_report *report);

/* After the last of several packs with the same `later`: all that was missing is there now, of its
 * type, and what trees gave a meaning is sound. As bole_pack_ingest. */
BOLE_MUST_USE enum bole_status bole_ingest_settle(const struct bole_ingest *,
                                                  struct bole_ingest_report *report);

#endif /* BOLE_GIT_PACK_INGEST_H */
