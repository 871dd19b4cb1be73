/* SPDX-License-Identifier: ISC */
/* What every store must do, whatever it stands on: the contract of repos.h, odb.h, refs.h and aux.h
 * as checks. Each function takes an empty store and fails the running test (cr_assert). */
#ifndef BOLE_TESTS_STORE_SUITE_H
#define BOLE_TESTS_STORE_SUITE_H

#include <stdint.h>

#include "bole/store.h"

struct store_suite {
	struct bole_store *store;
	struct bole_platform *platform;
	/* Closes and opens the store again, keeping its contents: replaces store. NULL where the
	 * contents do not outlive the handle; then it is simply not done. */
	void (*reopen)(struct store_suite *);
	void *ctx;
};

void store_suite_repositories(struct store_suite *);
void store_suite_refs(struct store_suite *);
void store_suite_ref_clashes(struct store_suite *);
void store_suite_conflict_keeps_the_transaction(struct store_suite *);
void store_suite_isolation(struct store_suite *);
void store_suite_records(struct store_suite *);
void store_suite_extents(struct store_suite *);
void store_suite_duplicates(struct store_suite *);
void store_suite_domains(struct store_suite *);
void store_suite_abort(struct store_suite *);
void store_suite_prepare(struct store_suite *);
void store_suite_aux(struct store_suite *);
void store_suite_iterate(struct store_suite *);
void store_suite_drop(struct store_suite *);
void store_suite_drop_and_put(struct store_suite *);
void store_suite_drop_prepared(struct store_suite *);
void store_suite_mark(struct store_suite *);
void store_suite_mark_duplicates(struct store_suite *);
void store_suite_mark_roots(struct store_suite *);
void store_suite_mark_waits(struct store_suite *);
/* Random puts, drops and marks beside a model, with snapshots held open. */
void store_suite_liveness_random(struct store_suite *, uint64_t seed, unsigned steps);
/* Random operations on several repositories beside a plain model; reopens now and then. */
void store_suite_random(struct store_suite *, uint64_t seed, unsigned steps);

/* -- Helpers that other tests use too -- */

/* A blob whose content is decided by number: its id, and its pack entry, deflated. */
struct suite_blob {
	struct bole_oid oid;
	uint8_t entry[512];
	size_t entry_len;
	uint8_t content[128];
	size_t content_len;
};
void suite_blob_make(struct suite_blob *, uint8_t algo, uint64_t number);
/* The stored bytes of an entry through bole_odb_view equal want. */
void suite_expect_stored(struct bole_snapshot *, const struct bole_entry *, struct bole_bytes want);
struct bole_ref_update suite_set(const char *name, const struct bole_oid *oid);
struct bole_ref_update suite_delete(const char *name);

#endif /* BOLE_TESTS_STORE_SUITE_H */
