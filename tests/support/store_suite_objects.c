/* SPDX-License-Identifier: ISC */
/* Objects, aux records, iteration. */
#include "support/store_suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "support/platform.h"
#include "support/suite_help.h"

/* -- Objects -- */

void store_suite_isolation(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct suite_blob one;
	struct suite_blob two;
	struct bole_entry entry;
	struct bole_snapshot *before;
	struct bole_tx *first;
	struct bole_tx *second;

	suite_blob_make(&one, repo.algo, 1);
	suite_blob_make(&two, repo.algo, 2);
	OK(bole_snapshot_open(suite->store, repo.id, &before));
	OK(bole_tx_begin(suite->store, repo.id, &first));
	OK(bole_tx_begin(suite->store, repo.id, &second));
	suite_put_blob(first, &one);
	suite_put_blob(second, &two);
	/* Each sees its own, nobody else does. */
	OK(bole_odb_find(first->view, &one.oid, &entry));
	suite_expect_stored(first->view, &entry, bole_bytes_of(one.entry, one.entry_len));
	check_eq(bole_odb_find(first->view, &two.oid, &entry), BOLE_E_NOT_FOUND);
	OK(bole_odb_find(second->view, &two.oid, &entry));
	check_eq(bole_odb_find(second->view, &one.oid, &entry), BOLE_E_NOT_FOUND);
	check_eq(suite_find_now(suite, repo.id, &one.oid, &entry), BOLE_E_NOT_FOUND);
	struct bole_ref_update update = suite_set("refs/heads/a", &one.oid);
	suite_commit(first, &update, 1);
	OK(suite_find_now(suite, repo.id, &one.oid, &entry));
	check_eq(suite_find_now(suite, repo.id, &two.oid, &entry), BOLE_E_NOT_FOUND);
	suite_expect_ref(before, "refs/heads/a", NULL);
	suite_expect_ref(second->view, "refs/heads/a", NULL);
	update = suite_set("refs/heads/b", &two.oid);
	suite_commit(second, &update, 1);
	bole_snapshot_close(before);
	suite_expect_ref_now(suite, repo.id, "refs/heads/a", &one.oid);
	suite_expect_ref_now(suite, repo.id, "refs/heads/b", &two.oid);
}

void store_suite_records(struct store_suite *suite)
{
	enum { COUNT = 300 };
	struct bole_repo repo = suite_create(suite, "main", BOLE_HASH_SHA256);
	struct suite_blob blob;
	struct bole_entry entry;
	struct bole_tx *tx;

	OK(bole_tx_begin(suite->store, repo.id, &tx));
	for (uint64_t i = 0; i < COUNT; i++) {
		suite_blob_make(&blob, repo.algo, i);
		suite_put_blob(tx, &blob);
		suite_put_blob(tx, &blob);
	}
	struct bole_ref_update update = suite_set("refs/heads/main", &blob.oid);
	suite_commit(tx, &update, 1);
	for (unsigned round = 0; round < 2; round++) {
		struct bole_snapshot *snapshot;

		OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
		for (uint64_t i = 0; i < COUNT; i++) {
			suite_blob_make(&blob, repo.algo, i);
			OK(bole_odb_find(snapshot, &blob.oid, &entry));
			check_eq(entry.type, BOLE_OBJECT_BLOB);
			suite_expect_stored(snapshot, &entry,
			                    bole_bytes_of(blob.entry, blob.entry_len));
			suite_blob_make(&blob, repo.algo, i + COUNT);
			check_eq(bole_odb_find(snapshot, &blob.oid, &entry), BOLE_E_NOT_FOUND);
		}
		/* An id of the other algorithm is not found, not a fault. */
		suite_blob_make(&blob, BOLE_HASH_SHA1, 1);
		check_eq(bole_odb_find(snapshot, &blob.oid, &entry), BOLE_E_NOT_FOUND);
		bole_snapshot_close(snapshot);
		suite_reopen(suite);
	}
}

static void expect_pack(struct bole_snapshot *snapshot, const struct suite_pack *pack,
                        uint64_t extent)
{
	struct bole_entry entry;
	struct bole_oid oid;

	for (size_t i = 0; i < pack->count; i++) {
		const struct bole_extent_row *row = &pack->rows[i];

		OK(bole_odb_find(snapshot, &row->oid, &entry));
		check_eq(entry.extent, extent);
		check_eq(entry.offset, row->offset);
		check_eq(entry.type, row->type);
		suite_expect_stored(
		        snapshot, &entry,
		        bole_bytes_of(pack->bytes + row->offset, (size_t)row->stored_bytes));
		OK(bole_odb_entry_at(snapshot, extent, row->offset, NULL, &entry));
		check_eq(entry.stored_bytes, row->stored_bytes);
		OK(bole_odb_entry_at(snapshot, extent, row->offset, &oid, &entry));
		check(bole_oid_equal(&oid, &row->oid));
		check_eq(entry.stored_bytes, row->stored_bytes);
		check_eq(bole_odb_entry_at(snapshot, extent, row->offset + 1, &oid, &entry),
		         BOLE_E_NOT_FOUND);
	}
	check_eq(bole_odb_entry_at(snapshot, extent, 0, &oid, &entry), BOLE_E_NOT_FOUND);
	check_eq(bole_odb_entry_at(snapshot, extent, pack->len, &oid, &entry), BOLE_E_NOT_FOUND);
}

void store_suite_extents(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct bole_snapshot *snapshot;
	struct bole_tx *tx;
	struct suite_pack big;
	struct suite_pack small;

	suite_pack_make(&big, repo.algo, 0, 20000);
	suite_pack_make(&small, repo.algo, 50000, 3);
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	uint64_t first = suite_pack_append(tx, &big);
	uint64_t second = suite_pack_append(tx, &small);
	check_neq(first, second);
	expect_pack(tx->view, &small, second);
	struct bole_ref_update update = suite_set("refs/heads/main", &big.rows[0].oid);
	suite_commit(tx, &update, 1);
	for (unsigned round = 0; round < 2; round++) {
		OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
		expect_pack(snapshot, &big, first);
		expect_pack(snapshot, &small, second);
		bole_snapshot_close(snapshot);
		suite_reopen(suite);
	}
	suite_pack_free(&big);
	suite_pack_free(&small);
}

void store_suite_duplicates(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct suite_blob blob;
	struct bole_entry before;
	struct bole_entry after;
	struct bole_entry there;
	struct bole_oid oid;
	struct bole_snapshot *snapshot;
	struct bole_tx *tx;
	struct suite_pack pack;

	suite_blob_make(&blob, repo.algo, 105);
	suite_publish(suite, repo.id, &blob, "refs/heads/a");
	OK(suite_find_now(suite, repo.id, &blob.oid, &before));
	/* The same object again, as a record and inside an extent. */
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	suite_put_blob(tx, &blob);
	suite_commit(tx, NULL, 0);
	OK(suite_find_now(suite, repo.id, &blob.oid, &after));
	check_eq(memcmp(&before, &after, sizeof before), 0);
	suite_pack_make(&pack, repo.algo, 100, 10);
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	uint64_t extent = suite_pack_append(tx, &pack);
	suite_commit(tx, NULL, 0);
	for (unsigned round = 0; round < 2; round++) {
		OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
		OK(bole_odb_find(snapshot, &blob.oid, &after));
		check_eq(after.extent, before.extent, "the oldest wins");
		check_eq(after.offset, before.offset);
		OK(bole_odb_entry_at(snapshot, extent, pack.rows[5].offset, &oid, &there));
		check(bole_oid_equal(&oid, &blob.oid));
		check_eq(there.extent, extent);
		suite_expect_stored(snapshot, &there, bole_bytes_of(blob.entry, blob.entry_len));
		bole_snapshot_close(snapshot);
		suite_reopen(suite);
	}
	suite_pack_free(&pack);
}

void store_suite_domains(struct store_suite *suite)
{
	struct bole_repo a = suite_create(suite, "a", test_algo());
	struct bole_repo b = suite_create(suite, "b", test_algo());
	struct suite_blob secret;
	struct bole_entry entry;
	struct bole_entry seen;
	struct bole_oid oid;
	struct bole_snapshot *snapshot;
	struct suite_pack pack;
	struct bole_tx *tx;

	suite_blob_make(&secret, a.algo, 7);
	suite_publish(suite, a.id, &secret, "refs/heads/a");
	suite_pack_make(&pack, a.algo, 100, 5);
	OK(bole_tx_begin(suite->store, a.id, &tx));
	uint64_t extent = suite_pack_append(tx, &pack);
	suite_commit(tx, NULL, 0);
	OK(suite_find_now(suite, a.id, &secret.oid, &entry));
	for (unsigned round = 0; round < 2; round++) {
		uint64_t cursor = 0;

		check_eq(suite_find_now(suite, b.id, &secret.oid, &seen), BOLE_E_NOT_FOUND);
		OK(bole_snapshot_open(suite->store, b.id, &snapshot));
		check_eq(bole_odb_entry_at(snapshot, extent, pack.rows[0].offset, &oid, &seen),
		         BOLE_E_NOT_FOUND);
		check_eq(bole_odb_next(snapshot, &cursor, &oid, &seen), BOLE_END);
		suite_expect_ref(snapshot, "refs/heads/a", NULL);
		bole_snapshot_close(snapshot);
		suite_reopen(suite);
	}
	OK(bole_tx_begin(suite->store, b.id, &tx));
	check_eq(bole_odb_find(tx->view, &secret.oid, &seen), BOLE_E_NOT_FOUND);
	suite_put_blob(tx, &secret);
	suite_commit(tx, NULL, 0);
	OK(suite_find_now(suite, b.id, &secret.oid, &seen));
	check(seen.extent != entry.extent || seen.offset != entry.offset);
	/* Removing one repository leaves the other, and an open snapshot, whole. */
	OK(bole_snapshot_open(suite->store, a.id, &snapshot));
	OK(bole_repo_remove(suite->store, a.id));
	OK(bole_odb_find(snapshot, &secret.oid, &entry));
	suite_expect_stored(snapshot, &entry, bole_bytes_of(secret.entry, secret.entry_len));
	bole_snapshot_close(snapshot);
	check_eq(bole_snapshot_open(suite->store, a.id, &snapshot), BOLE_E_NOT_FOUND);
	suite_reopen(suite);
	check_eq(bole_snapshot_open(suite->store, a.id, &snapshot), BOLE_E_NOT_FOUND);
	OK(suite_find_now(suite, b.id, &secret.oid, &seen));
	OK(bole_snapshot_open(suite->store, b.id, &snapshot));
	suite_expect_stored(snapshot, &seen, bole_bytes_of(secret.entry, secret.entry_len));
	bole_snapshot_close(snapshot);
	suite_pack_free(&pack);
}

void store_suite_abort(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct suite_blob blob;
	struct bole_entry entry;
	struct bole_oid oid;
	struct bole_snapshot *snapshot;
	struct bole_tx *tx;
	struct suite_pack pack;
	uint64_t extent;
	uint64_t cursor = 0;

	suite_blob_make(&blob, repo.algo, 1);
	suite_pack_make(&pack, repo.algo, 100, 2000);
	for (unsigned round = 0; round < 3; round++) {
		OK(bole_tx_begin(suite->store, repo.id, &tx));
		suite_put_blob(tx, &blob);
		extent = suite_pack_append(tx, &pack);
		if (round > 0) {
			/* In the middle of another extent. */
			OK(bole_tx_extent_begin(tx, &extent));
			OK(bole_tx_extent_append(tx, bole_bytes_of(pack.bytes, 40)));
		}
		bole_tx_abort(tx);
		suite_reopen(suite);
		check_eq(suite_find_now(suite, repo.id, &blob.oid, &entry), BOLE_E_NOT_FOUND);
		check_eq(suite_find_now(suite, repo.id, &pack.rows[3].oid, &entry),
		         BOLE_E_NOT_FOUND);
	}
	bole_tx_abort(NULL);
	OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
	check_eq(bole_odb_entry_at(snapshot, extent, PACK_HEAD, &oid, &entry), BOLE_E_NOT_FOUND);
	check_eq(bole_odb_next(snapshot, &cursor, &oid, &entry), BOLE_END);
	bole_snapshot_close(snapshot);
	suite_publish(suite, repo.id, &blob, "refs/heads/a");
	OK(suite_find_now(suite, repo.id, &blob.oid, &entry));
	suite_pack_free(&pack);
}

void store_suite_prepare(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct suite_blob blob;
	struct bole_entry entry;
	struct bole_tx_token token;
	struct bole_tx_token dropped;
	struct bole_tx *tx;
	struct suite_pack pack;

	suite_blob_make(&blob, repo.algo, 1);
	suite_pack_make(&pack, repo.algo, 100, 2000);
	memset(&token, 0, sizeof token);
	check_eq(bole_tx_resume(suite->store, &token, &tx), BOLE_E_NOT_FOUND);
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	suite_put_blob(tx, &blob);
	(void)suite_pack_append(tx, &pack);
	OK(bole_tx_prepare(tx, &token));
	suite_reopen(suite);
	check_eq(suite_find_now(suite, repo.id, &blob.oid, &entry), BOLE_E_NOT_FOUND);
	OK(bole_tx_resume(suite->store, &token, &tx));
	OK(bole_odb_find(tx->view, &blob.oid, &entry));
	OK(bole_odb_find(tx->view, &pack.rows[9].oid, &entry));
	struct bole_ref_update update = suite_set("refs/heads/a", &blob.oid);
	suite_commit(tx, &update, 1);
	suite_reopen(suite);
	OK(suite_find_now(suite, repo.id, &blob.oid, &entry));
	OK(suite_find_now(suite, repo.id, &pack.rows[1999].oid, &entry));
	suite_expect_ref_now(suite, repo.id, "refs/heads/a", &blob.oid);
	check_eq(bole_tx_resume(suite->store, &token, &tx), BOLE_E_NOT_FOUND);

	suite_blob_make(&blob, repo.algo, 2);
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	suite_put_blob(tx, &blob);
	OK(bole_tx_prepare(tx, &dropped));
	check_neq(memcmp(&token, &dropped, sizeof token), 0);
	suite_reopen(suite);
	OK(bole_tx_resume(suite->store, &dropped, &tx));
	bole_tx_abort(tx);
	check_eq(bole_tx_resume(suite->store, &dropped, &tx), BOLE_E_NOT_FOUND);
	suite_reopen(suite);
	check_eq(bole_tx_resume(suite->store, &dropped, &tx), BOLE_E_NOT_FOUND);
	check_eq(suite_find_now(suite, repo.id, &blob.oid, &entry), BOLE_E_NOT_FOUND);
	suite_pack_free(&pack);
}

/* -- Aux -- */

static void aux_put(struct bole_tx *tx, struct bole_aux_key key, struct bole_bytes value)
{
	OK(tx->store->aux->put(tx, &key, value));
}

/* value NULL = not found. */
static void expect_aux(struct store_suite *suite, struct bole_snapshot *snapshot,
                       struct bole_aux_key key, const char *value)
{
	struct bole_alloc *alloc = suite->platform->alloc;
	uint8_t *seen;
	size_t len;
	enum bole_status rc = snapshot->store->aux->get(snapshot, &key, alloc, &seen, &len);

	if (value == NULL) {
		check_eq(rc, BOLE_E_NOT_FOUND);
		return;
	}
	check_eq(rc, BOLE_OK);
	check(bole_bytes_equal(bole_bytes_of(seen, len), bole_bytes_z(value)));
	if (len > 0)
		alloc->resize(alloc->ctx, seen, len, 0, 1);
}

void store_suite_aux(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct bole_repo other = suite_create(suite, "other", test_algo());
	struct bole_aux_key a = {BOLE_AUX_DURABLE, 7, bole_bytes_z("a")};
	struct bole_aux_key b = {BOLE_AUX_DURABLE, 7, bole_bytes_z("b")};
	struct bole_aux_key kind = {BOLE_AUX_DURABLE, 8, bole_bytes_z("a")};
	struct bole_snapshot *snapshot;
	struct bole_bytes key = {NULL, 0};
	struct bole_tx *tx;

	OK(bole_tx_begin(suite->store, repo.id, &tx));
	aux_put(tx, b, bole_bytes_z("second"));
	aux_put(tx, a, bole_bytes_z("stale"));
	aux_put(tx, a, bole_bytes_z("first"));
	aux_put(tx, kind, bole_bytes_z("else"));
	OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
	expect_aux(suite, snapshot, a, NULL);
	suite_commit(tx, NULL, 0);
	expect_aux(suite, snapshot, a, NULL);
	bole_snapshot_close(snapshot);
	suite_reopen(suite);
	OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
	expect_aux(suite, snapshot, a, "first");
	expect_aux(suite, snapshot, b, "second");
	expect_aux(suite, snapshot, kind, "else");
	OK(suite->store->aux->next(snapshot, BOLE_AUX_DURABLE, 7, key, &key));
	check(bole_bytes_equal(key, a.key));
	OK(suite->store->aux->next(snapshot, BOLE_AUX_DURABLE, 7, key, &key));
	check(bole_bytes_equal(key, b.key));
	check_eq(suite->store->aux->next(snapshot, BOLE_AUX_DURABLE, 7, key, &key), BOLE_END);
	check_eq(suite->store->aux->next(snapshot, BOLE_AUX_DURABLE, 9, bole_bytes_of(NULL, 0),
	                                 &key),
	         BOLE_END);
	bole_snapshot_close(snapshot);
	/* Another repository has its own; an abort writes nothing; removal removes. */
	OK(bole_snapshot_open(suite->store, other.id, &snapshot));
	expect_aux(suite, snapshot, a, NULL);
	bole_snapshot_close(snapshot);
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	aux_put(tx, b, bole_bytes_z("never"));
	bole_tx_abort(tx);
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	aux_put(tx, a, (struct bole_bytes){NULL, 0});
	suite_commit(tx, NULL, 0);
	suite_reopen(suite);
	OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
	expect_aux(suite, snapshot, a, NULL);
	expect_aux(suite, snapshot, b, "second");
	bole_snapshot_close(snapshot);
}

/* -- Iteration -- */

void store_suite_iterate(struct store_suite *suite)
{
	enum { RECORDS = 40, PACKED = 1500 };
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct suite_blob blob;
	struct bole_tx *tx;
	struct suite_pack pack;

	suite_pack_make(&pack, repo.algo, 1000, PACKED);
	for (uint64_t i = 0; i < RECORDS; i++) {
		suite_blob_make(&blob, repo.algo, i);
		suite_publish(suite, repo.id, &blob, "refs/heads/a");
	}
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	(void)suite_pack_append(tx, &pack);
	suite_blob_make(&blob, repo.algo, 5); /* a duplicate is not listed twice */
	suite_put_blob(tx, &blob);
	suite_commit(tx, NULL, 0);
	for (unsigned round = 0; round < 2; round++) {
		struct bole_snapshot *snapshot;
		struct bole_entry last = {0};
		struct bole_entry entry;
		struct bole_entry found;
		struct bole_oid oid;
		uint64_t cursor = 0;
		size_t count = 0;

		OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
		while (bole_odb_next(snapshot, &cursor, &oid, &entry) == BOLE_OK) {
			check(entry.extent > last.extent ||
			              (entry.extent == last.extent && entry.offset > last.offset),
			      "in the order of the log");
			OK(bole_odb_find(snapshot, &oid, &found));
			check_eq(found.extent, entry.extent);
			check_eq(found.offset, entry.offset);
			check_eq(found.stored_bytes, entry.stored_bytes);
			check_eq(found.type, entry.type);
			last = entry;
			count++;
		}
		check_eq(count, RECORDS + PACKED);
		bole_snapshot_close(snapshot);
		suite_reopen(suite);
	}
	suite_pack_free(&pack);
}
