/* SPDX-License-Identifier: ISC */
#include "support/suite_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "support/platform.h"

/* -- Helpers -- */

void suite_blob_make(struct suite_blob *blob, uint8_t algo, uint64_t number)
{
	uint64_t state = number;

	memset(blob, 0, sizeof *blob);
	blob->content_len = (size_t)snprintf((char *)blob->content, sizeof blob->content,
	                                     "blob %llu %llx\n", (unsigned long long)number,
	                                     (unsigned long long)test_random(&state));
	OK(bole_object_id(algo, BOLE_OBJECT_BLOB, bole_bytes_of(blob->content, blob->content_len),
	                  true, &blob->oid));
	/* Type 3, size in two groups: 4 and 7 bits. */
	blob->entry[0] = (uint8_t)(0x80 | 3 << 4 | (blob->content_len & 15));
	blob->entry[1] = (uint8_t)(blob->content_len >> 4);
	uLongf room = sizeof blob->entry - 2;
	check_eq(compress2(blob->entry + 2, &room, blob->content, blob->content_len, 1), Z_OK);
	blob->entry_len = 2 + room;
}

void suite_expect_stored(struct bole_snapshot *snapshot, const struct bole_entry *entry,
                         struct bole_bytes want)
{
	uint64_t pos = 0;

	check_eq(entry->stored_bytes, want.len);
	while (pos < want.len) {
		struct bole_bytes seen;

		OK(bole_odb_view(snapshot, entry, pos, &seen));
		check_eq(memcmp(seen.ptr, want.ptr + pos, seen.len), 0);
		pos += seen.len;
	}
}

struct bole_ref_update suite_set(const char *name, const struct bole_oid *oid)
{
	return (struct bole_ref_update){
	        .name = bole_bytes_z(name), .action = BOLE_REF_SET, .oid = *oid};
}

struct bole_ref_update suite_delete(const char *name)
{
	return (struct bole_ref_update){.name = bole_bytes_z(name), .action = BOLE_REF_DELETE};
}

void suite_reopen(struct store_suite *suite)
{
	if (suite->reopen != NULL)
		suite->reopen(suite);
}

struct bole_repo suite_create(struct store_suite *suite, const char *name, uint8_t algo)
{
	struct bole_repo repo;

	OK(bole_repo_create(suite->store, name, algo, "refs/heads/main", &repo));
	return repo;
}

void suite_put_blob(struct bole_tx *tx, const struct suite_blob *blob)
{
	struct bole_bytes pieces[3] = {bole_bytes_of(blob->entry, 1),
	                               bole_bytes_of(blob->entry + 1, blob->entry_len - 1),
	                               bole_bytes_of(NULL, 0)};

	OK(bole_tx_put(tx, &blob->oid, BOLE_OBJECT_BLOB, pieces, 3));
}

void suite_commit(struct bole_tx *tx, const struct bole_ref_update *updates, size_t count)
{
	size_t failed;

	OK(bole_tx_commit(tx, updates, count, &failed));
}

/* One transaction that publishes one blob and sets one reference to it. */
void suite_publish(struct store_suite *suite, uint32_t repo, const struct suite_blob *blob,
                   const char *name)
{
	struct bole_ref_update update = suite_set(name, &blob->oid);
	struct bole_tx *tx;

	OK(bole_tx_begin(suite->store, repo, &tx));
	suite_put_blob(tx, blob);
	suite_commit(tx, &update, 1);
}

enum bole_status suite_find_now(struct store_suite *suite, uint32_t repo,
                                const struct bole_oid *oid, struct bole_entry *out)
{
	struct bole_snapshot *snapshot;

	OK(bole_snapshot_open(suite->store, repo, &snapshot));
	enum bole_status rc = bole_odb_find(snapshot, oid, out);
	bole_snapshot_close(snapshot);
	return rc;
}

/* The reference holds oid; NULL = there is no such reference. */
void suite_expect_ref(struct bole_snapshot *snapshot, const char *name, const struct bole_oid *oid)
{
	struct bole_ref ref;
	enum bole_status rc = bole_ref_get(snapshot, bole_bytes_z(name), &ref);

	if (oid == NULL) {
		check_eq(rc, BOLE_E_NOT_FOUND, "%s is there", name);
		return;
	}
	check_eq(rc, BOLE_OK, "%s is missing", name);
	check_not(ref.symbolic);
	check(bole_oid_equal(&ref.oid, oid));
	check(bole_bytes_equal(ref.name, bole_bytes_z(name)));
}

void suite_expect_ref_now(struct store_suite *suite, uint32_t repo, const char *name,
                          const struct bole_oid *oid)
{
	struct bole_snapshot *snapshot;

	OK(bole_snapshot_open(suite->store, repo, &snapshot));
	suite_expect_ref(snapshot, name, oid);
	bole_snapshot_close(snapshot);
}

/* Commits one update on a transaction of its own and expects rc (OK or CONFLICT at 0). */
void suite_commit_expect(struct store_suite *suite, uint32_t repo, struct bole_ref_update update,
                         enum bole_status rc)
{
	struct bole_tx *tx;
	size_t failed;

	OK(bole_tx_begin(suite->store, repo, &tx));
	check_eq(bole_tx_commit(tx, &update, 1, &failed), rc, "%.*s", (int)update.name.len,
	         (const char *)update.name.ptr);
	if (rc == BOLE_E_CONFLICT) {
		check_eq(failed, 0);
		bole_tx_abort(tx);
	}
}

/* A pack of the blobs first .. first + count. */
void suite_pack_make(struct suite_pack *pack, uint8_t algo, uint64_t first, size_t count)
{
	struct suite_blob blob;

	pack->bytes = malloc(PACK_HEAD + count * sizeof blob.entry);
	pack->rows = calloc(count, sizeof *pack->rows);
	pack->count = count;
	memcpy(pack->bytes, "PACK\0\0\0\2", 8);
	bole_put_be32(pack->bytes + 8, (uint32_t)count);
	pack->len = PACK_HEAD;
	for (size_t i = 0; i < count; i++) {
		suite_blob_make(&blob, algo, first + i);
		memcpy(pack->bytes + pack->len, blob.entry, blob.entry_len);
		pack->rows[i] = (struct bole_extent_row){blob.oid, BOLE_OBJECT_BLOB, pack->len,
		                                         blob.entry_len};
		pack->len += blob.entry_len;
	}
}

void suite_pack_free(struct suite_pack *pack)
{
	free(pack->bytes);
	free(pack->rows);
}

/* Streams the pack in pieces of many sizes, reading some of it back on the way. */
uint64_t suite_pack_append(struct bole_tx *tx, const struct suite_pack *pack)
{
	uint8_t seen[3000];
	uint64_t seed = pack->len;
	uint64_t extent;

	OK(bole_tx_extent_begin(tx, &extent));
	for (size_t at = 0, n; at < pack->len; at += n) {
		n = test_random(&seed) % 5000;
		n = n < pack->len - at ? n : pack->len - at;
		OK(bole_tx_extent_append(tx, bole_bytes_of(pack->bytes + at, n)));
		size_t from = (size_t)(test_random(&seed) % (at + n + 1));
		size_t len = at + n - from < sizeof seen ? at + n - from : sizeof seen;
		OK(bole_tx_extent_read(tx, from, seen, len));
		check_eq(memcmp(seen, pack->bytes + from, len), 0);
	}
	OK(bole_tx_extent_finish(tx, pack->rows, pack->count));
	return extent;
}
