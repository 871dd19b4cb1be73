/* SPDX-License-Identifier: ISC */
/* Random work beside a model. */
#include "support/store_suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "support/platform.h"
#include "support/suite_help.h"

/* -- Random work beside a model -- */

enum { MODEL_REPOS = 3, MODEL_REFS = 12, MODEL_BLOBS = 200 };

struct model {
	uint32_t repo[MODEL_REPOS];
	bool has[MODEL_REPOS][MODEL_BLOBS];
	int ref[MODEL_REPOS][MODEL_REFS]; /* blob, or -1 */
};

static const char *model_ref_name(size_t i)
{
	static char name[64];

	snprintf(name, sizeof name, "refs/heads/r%zu", i);
	return name;
}

static void model_check(struct store_suite *suite, const struct model *model, size_t r)
{
	struct bole_snapshot *snapshot;
	struct suite_blob blob;
	struct bole_entry entry;

	OK(bole_snapshot_open(suite->store, model->repo[r], &snapshot));
	for (uint64_t i = 0; i < MODEL_BLOBS; i++) {
		suite_blob_make(&blob, test_algo(), i);
		enum bole_status rc = bole_odb_find(snapshot, &blob.oid, &entry);
		check_eq(rc, model->has[r][i] ? BOLE_OK : BOLE_E_NOT_FOUND, "blob %d of %d", (int)i,
		         (int)r);
		if (rc == BOLE_OK)
			suite_expect_stored(snapshot, &entry,
			                    bole_bytes_of(blob.entry, blob.entry_len));
	}
	for (size_t i = 0; i < MODEL_REFS; i++) {
		if (model->ref[r][i] < 0) {
			suite_expect_ref(snapshot, model_ref_name(i), NULL);
			continue;
		}
		suite_blob_make(&blob, test_algo(), (uint64_t)model->ref[r][i]);
		suite_expect_ref(snapshot, model_ref_name(i), &blob.oid);
	}
	bole_snapshot_close(snapshot);
}

static void model_step(struct store_suite *suite, struct model *model, uint64_t *seed)
{
	size_t r = test_random(seed) % MODEL_REPOS;
	uint64_t first = test_random(seed) % MODEL_BLOBS;
	size_t count = 1 + test_random(seed) % 8;
	size_t ref = test_random(seed) % MODEL_REFS;
	uint64_t how = test_random(seed) % 6;
	struct suite_blob blob;
	struct bole_tx *tx;

	if (first + count > MODEL_BLOBS)
		count = MODEL_BLOBS - first;
	OK(bole_tx_begin(suite->store, model->repo[r], &tx));
	if (how == 0) {
		struct suite_pack pack;

		suite_pack_make(&pack, test_algo(), first, count);
		(void)suite_pack_append(tx, &pack);
		suite_pack_free(&pack);
	} else {
		for (uint64_t i = first; i < first + count; i++) {
			suite_blob_make(&blob, test_algo(), i);
			suite_put_blob(tx, &blob);
		}
	}
	if (how == 1) {
		bole_tx_abort(tx);
		return;
	}
	suite_blob_make(&blob, test_algo(), first);
	struct bole_ref_update update = how == 2 ? suite_delete(model_ref_name(ref))
	                                         : suite_set(model_ref_name(ref), &blob.oid);
	suite_commit(tx, &update, 1);
	for (uint64_t i = first; i < first + count; i++)
		model->has[r][i] = true;
	model->ref[r][ref] = how == 2 ? -1 : (int)first;
}

void store_suite_random(struct store_suite *suite, uint64_t seed, unsigned steps)
{
	struct model model = {0};

	for (size_t r = 0; r < MODEL_REPOS; r++) {
		char name[16];

		snprintf(name, sizeof name, "repo%zu", r);
		model.repo[r] = suite_create(suite, name, test_algo()).id;
		for (size_t i = 0; i < MODEL_REFS; i++)
			model.ref[r][i] = -1;
	}
	for (unsigned step = 0; step < steps; step++) {
		model_step(suite, &model, &seed);
		if (test_random(&seed) % 16 == 0)
			suite_reopen(suite);
		if (test_random(&seed) % 8 == 0)
			model_check(suite, &model, test_random(&seed) % MODEL_REPOS);
	}
	suite_reopen(suite);
	for (size_t r = 0; r < MODEL_REPOS; r++)
		model_check(suite, &model, r);
}
