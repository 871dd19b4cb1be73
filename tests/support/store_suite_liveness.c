/* SPDX-License-Identifier: ISC */
/* Drops and marks: what goes, what stays, and who still sees it. */
#include "support/store_suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "support/platform.h"
#include "support/suite_help.h"

static struct bole_oid blob_oid(uint64_t number)
{
	struct suite_blob blob;

	suite_blob_make(&blob, test_algo(), number);
	return blob.oid;
}

static void expect_blob(struct bole_snapshot *snapshot, uint64_t number, bool there)
{
	struct suite_blob blob;
	struct bole_entry entry;

	suite_blob_make(&blob, test_algo(), number);
	enum bole_status rc = bole_odb_find(snapshot, &blob.oid, &entry);
	if (rc != (there ? BOLE_OK : BOLE_E_NOT_FOUND))
		fprintf(stderr, "blob %d: %s\n", (int)number, bole_status_text(rc));
	check_eq(rc, there ? BOLE_OK : BOLE_E_NOT_FOUND);
	if (there)
		suite_expect_stored(snapshot, &entry, bole_bytes_of(blob.entry, blob.entry_len));
}

static void expect_now(struct store_suite *suite, uint32_t repo, uint64_t number, bool there)
{
	struct bole_snapshot *snapshot;

	OK(bole_snapshot_open(suite->store, repo, &snapshot));
	expect_blob(snapshot, number, there);
	bole_snapshot_close(snapshot);
}

static uint64_t listed(struct store_suite *suite, uint32_t repo)
{
	struct bole_snapshot *snapshot;
	struct bole_entry entry;
	struct bole_oid oid;
	uint64_t cursor = 0;
	uint64_t count = 0;
	enum bole_status rc;

	OK(bole_snapshot_open(suite->store, repo, &snapshot));
	while ((rc = bole_odb_next(snapshot, &cursor, &oid, &entry)) == BOLE_OK)
		count++;
	check_eq(rc, BOLE_END);
	bole_snapshot_close(snapshot);
	return count;
}

static void put_range(struct bole_tx *tx, uint64_t first, uint64_t count)
{
	struct suite_blob blob;

	for (uint64_t i = first; i < first + count; i++) {
		suite_blob_make(&blob, test_algo(), i);
		suite_put_blob(tx, &blob);
	}
}

static void publish_range(struct store_suite *suite, uint32_t repo, uint64_t first, uint64_t count)
{
	struct bole_tx *tx;

	OK(bole_tx_begin(suite->store, repo, &tx));
	put_range(tx, first, count);
	suite_commit(tx, NULL, 0);
}

static uint64_t publish_pack(struct store_suite *suite, uint32_t repo, uint64_t first, size_t count,
                             struct suite_pack *pack)
{
	struct bole_tx *tx;

	suite_pack_make(pack, test_algo(), first, count);
	OK(bole_tx_begin(suite->store, repo, &tx));
	uint64_t extent = suite_pack_append(tx, pack);
	suite_commit(tx, NULL, 0);
	return extent;
}

static void drop_one(struct bole_tx *tx, uint64_t number)
{
	struct bole_oid oid = blob_oid(number);

	OK(bole_tx_drop(tx, &oid));
}

/* -- Drops -- */

void store_suite_drop(struct store_suite *suite)
{
	static const uint64_t gone[] = {3, 5, 104, 199};
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct bole_snapshot *before;
	struct suite_pack pack;
	struct bole_tx *tx;

	publish_range(suite, repo.id, 0, 10);
	(void)publish_pack(suite, repo.id, 100, 100, &pack);
	suite_pack_free(&pack);
	/* 5 is in an extent too: all its entries go. */
	(void)publish_pack(suite, repo.id, 4, 10, &pack);
	suite_pack_free(&pack);
	suite_reopen(suite);
	/* An abort drops nothing. */
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	drop_one(tx, 3);
	bole_tx_abort(tx);
	expect_now(suite, repo.id, 3, true);
	OK(bole_snapshot_open(suite->store, repo.id, &before));
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
		drop_one(tx, gone[i]);
	drop_one(tx, 5000);
	expect_now(suite, repo.id, 3, true);
	struct bole_oid kept = blob_oid(4);
	struct bole_ref_update update = suite_set("refs/heads/a", &kept);
	suite_commit(tx, &update, 1);
	for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) {
		expect_blob(before, gone[i], true);
		expect_now(suite, repo.id, gone[i], false);
	}
	bole_snapshot_close(before);
	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < 200; i++) {
			bool there = i < 14 || i >= 100;
			for (size_t n = 0; n < sizeof gone / sizeof gone[0]; n++)
				there &= i != gone[n];
			expect_now(suite, repo.id, i, there);
		}
		check_eq(listed(suite, repo.id), 110);
		suite_expect_ref_now(suite, repo.id, "refs/heads/a", &kept);
		suite_reopen(suite);
	}
	/* What was dropped may come back. */
	publish_range(suite, repo.id, 3, 1);
	suite_reopen(suite);
	expect_now(suite, repo.id, 3, true);
	check_eq(listed(suite, repo.id), 111);
}

void store_suite_drop_and_put(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct bole_oid one = blob_oid(1);
	struct bole_ref_update update = suite_set("refs/heads/a", &one);
	struct bole_tx *tx;
	size_t failed;

	publish_range(suite, repo.id, 0, 10);
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	drop_one(tx, 1); /* published, then put again: stays */
	put_range(tx, 1, 1);
	put_range(tx, 20, 2); /* new, then dropped: goes */
	drop_one(tx, 20);
	drop_one(tx, 21); /* new, dropped, put again: stays */
	put_range(tx, 21, 1);
	drop_one(tx, 2);
	drop_one(tx, 30); /* not there, then put: stays */
	put_range(tx, 30, 1);
	/* A conflict keeps it all. */
	update.expect = BOLE_EXPECT_OID;
	update.expected = one;
	check_eq(bole_tx_commit(tx, &update, 1, &failed), BOLE_E_CONFLICT);
	expect_now(suite, repo.id, 2, true);
	update.expect = BOLE_EXPECT_ABSENT;
	suite_commit(tx, &update, 1);
	for (unsigned round = 0; round < 2; round++) {
		expect_now(suite, repo.id, 1, true);
		expect_now(suite, repo.id, 2, false);
		expect_now(suite, repo.id, 20, false);
		expect_now(suite, repo.id, 21, true);
		expect_now(suite, repo.id, 30, true);
		check_eq(listed(suite, repo.id), 11);
		suite_reopen(suite);
	}
}

void store_suite_drop_prepared(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct bole_tx_token token;
	struct bole_tx *tx;

	publish_range(suite, repo.id, 0, 10);
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	drop_one(tx, 7);
	put_range(tx, 20, 1);
	OK(bole_tx_prepare(tx, &token));
	suite_reopen(suite);
	expect_now(suite, repo.id, 7, true);
	OK(bole_tx_resume(suite->store, &token, &tx));
	suite_commit(tx, NULL, 0);
	for (unsigned round = 0; round < 2; round++) {
		expect_now(suite, repo.id, 7, false);
		expect_now(suite, repo.id, 6, true);
		expect_now(suite, repo.id, 20, true);
		suite_reopen(suite);
	}
}

/* -- Marks -- */

static void mark_one(struct bole_mark *mark, uint64_t number, bool fresh)
{
	struct bole_oid oid = blob_oid(number);
	bool was_fresh;

	OK(bole_mark_object(mark, &oid, &was_fresh));
	check_eq(was_fresh, fresh);
}

void store_suite_mark(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct bole_repo other = suite_create(suite, "other", test_algo());
	struct bole_mark_result result;
	struct bole_snapshot *before;
	struct bole_mark *mark;
	struct bole_mark *second;
	struct suite_pack pack;
	struct bole_oid oid;
	bool fresh;

	publish_range(suite, other.id, 0, 20);
	publish_range(suite, repo.id, 0, 20);
	(void)publish_pack(suite, repo.id, 100, 3000, &pack); /* all of it dies */
	suite_pack_free(&pack);
	(void)publish_pack(suite, repo.id, 4000, 3000, &pack); /* some of it does */
	suite_pack_free(&pack);
	suite_reopen(suite);
	OK(bole_snapshot_open(suite->store, repo.id, &before));
	/* An abort removes nothing. */
	OK(bole_mark_begin(suite->store, repo.id, &mark));
	check_eq(bole_mark_begin(suite->store, repo.id, &second), BOLE_E_BUSY);
	bole_mark_abort(mark);
	OK(bole_mark_begin(suite->store, repo.id, &mark));
	oid = blob_oid(90000);
	check_eq(bole_mark_object(mark, &oid, &fresh), BOLE_E_NOT_FOUND);
	for (uint64_t i = 0; i < 10; i++)
		mark_one(mark, i, true);
	for (uint64_t i = 4000; i < 7000; i += 3)
		mark_one(mark, i, true);
	mark_one(mark, 9, false);
	/* What is younger is live. */
	publish_range(suite, repo.id, 50, 5);
	mark_one(mark, 50, false);
	expect_blob(mark->view, 15, true);
	check_eq(bole_mark_root(mark, &oid), BOLE_END);
	OK(bole_mark_end(mark, &result));
	check_eq(result.objects_live, 1010);
	check_eq(result.objects_dropped, 5010);
	check(result.bytes_dropped > 5010 * UINT64_C(20));
	check_eq(result.extents_dropped, 1);
	for (uint64_t i = 100; i < 3100; i += 100)
		expect_blob(before, i, true);
	expect_blob(before, 15, true);
	bole_snapshot_close(before);
	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < 20; i++) {
			expect_now(suite, repo.id, i, i < 10);
			expect_now(suite, other.id, i, true);
		}
		for (uint64_t i = 50; i < 55; i++)
			expect_now(suite, repo.id, i, true);
		for (uint64_t i = 4000; i < 7000; i += 50)
			expect_now(suite, repo.id, i, (i - 4000) % 3 == 0);
		check_eq(listed(suite, repo.id), 1015);
		suite_reopen(suite);
	}
	publish_range(suite, repo.id, 12, 1);
	suite_reopen(suite);
	expect_now(suite, repo.id, 12, true);
}

void store_suite_mark_duplicates(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct bole_mark_result result;
	struct bole_snapshot *snapshot;
	struct bole_entry entry;
	struct bole_mark *mark;
	struct suite_pack pack;
	struct bole_oid oid;

	publish_range(suite, repo.id, 105, 1);
	uint64_t extent = publish_pack(suite, repo.id, 100, 10, &pack);
	OK(bole_mark_begin(suite->store, repo.id, &mark));
	mark_one(mark, 105, true);
	OK(bole_mark_end(mark, &result));
	check_eq(result.objects_live, 1);
	check_eq(result.objects_dropped, 9);
	check_eq(result.extents_dropped, 0);
	for (unsigned round = 0; round < 2; round++) {
		OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
		expect_blob(snapshot, 105, true);
		expect_blob(snapshot, 104, false);
		/* The duplicate may be the base of a delta in its extent. */
		OK(bole_odb_entry_at(snapshot, extent, pack.rows[5].offset, &oid, &entry));
		check(bole_oid_equal(&oid, &pack.rows[5].oid));
		suite_expect_stored(snapshot, &entry,
		                    bole_bytes_of(pack.bytes + pack.rows[5].offset,
		                                  (size_t)pack.rows[5].stored_bytes));
		check_eq(listed(suite, repo.id), 1);
		bole_snapshot_close(snapshot);
		suite_reopen(suite);
	}
	OK(bole_mark_begin(suite->store, repo.id, &mark));
	OK(bole_mark_end(mark, &result));
	check_eq(result.objects_live, 0);
	suite_reopen(suite);
	expect_now(suite, repo.id, 105, false);
	check_eq(listed(suite, repo.id), 0);
	suite_pack_free(&pack);
}

/* Takes every root that waits and marks it; returns how many were fresh. */
static unsigned mark_roots(struct bole_mark *mark)
{
	unsigned count = 0;
	struct bole_oid oid;
	enum bole_status rc;
	bool fresh;

	while ((rc = bole_mark_root(mark, &oid)) == BOLE_OK) {
		OK(bole_mark_object(mark, &oid, &fresh));
		count += fresh;
	}
	check_eq(rc, BOLE_END);
	return count;
}

void store_suite_mark_roots(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct bole_mark_result result;
	struct bole_entry entry;
	struct bole_mark *mark;
	struct suite_pack pack;
	struct bole_tx *tx;

	publish_range(suite, repo.id, 0, 40);
	OK(bole_mark_begin(suite->store, repo.id, &mark));
	/* Put again, in a record and in an extent; looked up; named by a reference. */
	publish_range(suite, repo.id, 1, 1);
	(void)publish_pack(suite, repo.id, 10, 3, &pack);
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	struct bole_oid looked_up = blob_oid(2);
	OK(bole_odb_find(tx->view, &looked_up, &entry));
	bole_tx_abort(tx);
	struct bole_oid named = blob_oid(3);
	suite_commit_expect(suite, repo.id, suite_set("refs/heads/a", &named), BOLE_OK);
	check_eq(bole_mark_end(mark, &result), BOLE_AGAIN);
	check_eq(mark_roots(mark), 6);
	suite_expect_ref(mark->view, "refs/heads/a", NULL);
	/* Marked already: no root any more. */
	publish_range(suite, repo.id, 1, 1);
	OK(bole_mark_end(mark, &result));
	check_eq(result.objects_live, 6);
	check_eq(result.objects_dropped, 34);
	suite_reopen(suite);
	for (uint64_t i = 0; i < 40; i++)
		expect_now(suite, repo.id, i, (i >= 1 && i <= 3) || (i >= 10 && i < 13));
	suite_pack_free(&pack);
}

/* Ends a mark. It may have to wait for tx, which is committed at the latest after it. */
static void mark_finish(struct bole_mark *mark, struct bole_tx *tx, uint64_t live)
{
	struct bole_mark_result result;
	enum bole_status rc;

	while ((rc = bole_mark_end(mark, &result)) == BOLE_AGAIN) {
		if (mark_roots(mark) > 0)
			continue;
		check(tx != NULL);
		suite_commit(tx, NULL, 0);
		tx = NULL;
	}
	OK(rc);
	check_eq(result.objects_live, live);
	if (tx != NULL)
		suite_commit(tx, NULL, 0);
}

void store_suite_mark_waits(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct bole_tx_token token;
	struct bole_entry entry;
	struct bole_mark *mark;
	struct suite_pack pack;
	struct bole_tx *tx;

	publish_range(suite, repo.id, 0, 10);
	/* Transactions rely on what they saw before the mark began: looked up, put again. One is
	 * still open when the mark ends. */
	for (unsigned round = 0; round < 2; round++) {
		OK(bole_tx_begin(suite->store, repo.id, &tx));
		struct bole_oid relied = blob_oid(4);
		OK(bole_odb_find(tx->view, &relied, &entry));
		put_range(tx, 5, 1);
		suite_pack_make(&pack, repo.algo, 6, 2);
		(void)suite_pack_append(tx, &pack);
		suite_pack_free(&pack);
		OK(bole_mark_begin(suite->store, repo.id, &mark));
		put_range(tx, 40 + round, 1);
		if (round == 0) {
			suite_commit(tx, NULL, 0);
			tx = NULL;
		}
		mark_finish(mark, tx, 4);
		suite_reopen(suite);
		for (uint64_t i = 0; i < 10; i++)
			expect_now(suite, repo.id, i, i >= 4 && i < 8);
		expect_now(suite, repo.id, 40 + round, true);
	}
	/* A transaction that begins during one mark may still be open in the next. */
	OK(bole_mark_begin(suite->store, repo.id, &mark));
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	struct bole_oid found = blob_oid(6);
	OK(bole_odb_find(tx->view, &found, &entry));
	mark_one(mark, 4, true);
	mark_finish(mark, NULL, 2);
	OK(bole_mark_begin(suite->store, repo.id, &mark));
	mark_one(mark, 4, true);
	mark_finish(mark, tx, 2);
	expect_now(suite, repo.id, 6, true);
	expect_now(suite, repo.id, 5, false);
	publish_range(suite, repo.id, 5, 1);
	/* What is prepared must be decided first. */
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	put_range(tx, 4, 1);
	put_range(tx, 30, 1);
	OK(bole_tx_prepare(tx, &token));
	suite_reopen(suite);
	check_eq(bole_mark_begin(suite->store, repo.id, &mark), BOLE_E_BUSY);
	OK(bole_tx_resume(suite->store, &token, &tx));
	check_eq(bole_mark_begin(suite->store, repo.id, &mark), BOLE_E_BUSY);
	bole_tx_abort(tx);
	OK(bole_mark_begin(suite->store, repo.id, &mark));
	mark_one(mark, 4, true);
	mark_finish(mark, NULL, 1);
	expect_now(suite, repo.id, 4, true);
	expect_now(suite, repo.id, 5, false);
}

/* -- Random work beside a model -- */

enum { BLOBS = 300, HELD = 3 };

struct liveness {
	uint32_t repo;
	bool has[BLOBS];
	struct bole_snapshot *held[HELD];
	bool had[HELD][BLOBS]; /* when it was opened: at least those */
	uint64_t seed;
};

static void liveness_release(struct liveness *model)
{
	for (size_t i = 0; i < HELD; i++) {
		bole_snapshot_close(model->held[i]);
		model->held[i] = NULL;
	}
}

static void liveness_check(struct store_suite *suite, struct liveness *model)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < BLOBS; i++) {
		expect_now(suite, model->repo, i, model->has[i]);
		count += model->has[i];
		for (size_t n = 0; n < HELD; n++)
			if (model->held[n] != NULL && model->had[n][i])
				expect_blob(model->held[n], i, true);
	}
	check_eq(listed(suite, model->repo), count);
}

static void liveness_put(struct store_suite *suite, struct liveness *model)
{
	uint64_t first = test_random(&model->seed) % (BLOBS - 20);
	size_t count = 1 + test_random(&model->seed) % 20;
	struct suite_pack pack;

	if (test_random(&model->seed) % 2 == 0) {
		(void)publish_pack(suite, model->repo, first, count, &pack);
		suite_pack_free(&pack);
	} else {
		publish_range(suite, model->repo, first, count);
	}
	for (size_t i = 0; i < count; i++)
		model->has[first + i] = true;
}

static void liveness_drop(struct store_suite *suite, struct liveness *model)
{
	uint64_t put = test_random(&model->seed) % BLOBS;
	struct bole_tx *tx;

	OK(bole_tx_begin(suite->store, model->repo, &tx));
	put_range(tx, put, 1);
	model->has[put] = true;
	for (size_t i = test_random(&model->seed) % 10; i > 0; i--) {
		uint64_t number = test_random(&model->seed) % BLOBS;

		drop_one(tx, number);
		model->has[number] = false;
	}
	suite_commit(tx, NULL, 0);
}

static void liveness_mark(struct store_suite *suite, struct liveness *model)
{
	uint64_t live_in_ten = 1 + test_random(&model->seed) % 9;
	struct bole_mark_result result;
	struct bole_mark *mark;
	bool marked[BLOBS];
	enum bole_status rc;
	uint64_t again;

	OK(bole_mark_begin(suite->store, model->repo, &mark));
	for (uint64_t i = 0; i < BLOBS; i++) {
		marked[i] = model->has[i] && test_random(&model->seed) % 10 < live_in_ten;
		if (marked[i])
			mark_one(mark, i, true);
	}
	/* Put while the mark goes on, maybe a candidate that is not marked. */
	again = test_random(&model->seed) % BLOBS;
	publish_range(suite, model->repo, again, 1);
	while ((rc = bole_mark_end(mark, &result)) == BOLE_AGAIN)
		(void)mark_roots(mark);
	OK(rc);
	for (uint64_t i = 0; i < BLOBS; i++)
		model->has[i] = marked[i] || i == again;
}

void store_suite_liveness_random(struct store_suite *suite, uint64_t seed, unsigned steps)
{
	struct liveness *model = calloc(1, sizeof *model);

	model->seed = seed;
	model->repo = suite_create(suite, "main", test_algo()).id;
	for (unsigned step = 0; step < steps; step++) {
		switch (test_random(&model->seed) % 8) {
		case 0: liveness_mark(suite, model); break;
		case 1:
		case 2: liveness_drop(suite, model); break;
		case 3: {
			size_t n = test_random(&model->seed) % HELD;

			bole_snapshot_close(model->held[n]);
			OK(bole_snapshot_open(suite->store, model->repo, &model->held[n]));
			memcpy(model->had[n], model->has, sizeof model->has);
			break;
		}
		default: liveness_put(suite, model); break;
		}
		if (test_random(&model->seed) % 16 == 0) {
			liveness_release(model);
			suite_reopen(suite);
		}
		if (test_random(&model->seed) % 8 == 0)
			liveness_check(suite, model);
	}
	liveness_check(suite, model);
	liveness_release(model);
	free(model);
}
