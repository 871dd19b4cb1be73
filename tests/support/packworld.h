/* SPDX-License-Identifier: ISC */
/* A memory store with one repository, packs going in and coming out. Status codes come back;
 * anything else that goes wrong ends the program. */
#ifndef BOLE_TESTS_PACKWORLD_H
#define BOLE_TESTS_PACKWORLD_H

#include "bole/store.h"
#include "git/fetch/pack_emit.h"
#include "git/pack/ingest.h"
#include "support/packmaker.h"
#include "support/platform.h"

struct packworld {
	struct test_platform platform;
	struct bole_store *store;
	struct bole_repo repo;
	struct bole_ingest_limits limits;
	const struct bole_fsck_options *fsck; /* NULL = the default of an ingestion */
	struct bole_ingest_report report;     /* of the last ingestion */
	size_t input_bytes;                   /* buffer of the input; 0 = 16 KiB */
	const struct bole_id_list *shallow;   /* where the next pack's history ends */
	uint64_t unread;                      /* bytes that the last ingestion left */
	bool (*cancelled)(void *ctx);
	void *cancelled_ctx;
};

void packworld_open(struct packworld *, uint8_t algo, uint64_t seed);
void packworld_close(struct packworld *);
/* One transaction: the pack, then a commit that sets ref (NULL: none) to oid; else an abort. */
enum bole_status packworld_push(struct packworld *, const void *pack, size_t len, const char *ref,
                                const struct bole_oid *oid);
/* The same in memory of its own; out is appended to. */
enum bole_status packworld_fetch(struct packworld *, const struct bole_oid *wants,
                                 size_t want_count, const struct bole_oid *haves, size_t have_count,
                                 struct maker_bytes *out);
/* How packworld_fetch asks; both true at first. */
struct packworld_fetch_options {
	bool thin;
	bool ofs_delta;
	bool include_tags;
	struct bole_alloc *alloc; /* NULL: the platform's */
};
enum bole_status packworld_fetch_with(struct packworld *, const struct packworld_fetch_options *,
                                      const struct bole_oid *wants, size_t want_count,
                                      const struct bole_oid *haves, size_t have_count,
                                      struct maker_bytes *out);
/* Reads every object of the domain and compares its content with its id; returns their number. */
uint64_t packworld_verify(struct packworld *);

#endif /* BOLE_TESTS_PACKWORLD_H */
