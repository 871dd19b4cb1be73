/* SPDX-License-Identifier: ISC */
/* bole_verify finds what is wrong with a repository, each fault once made on purpose. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "bole/store.h"
#include "bole/verify.h"
#include "git/object/object.h"
#include "git/object/write.h"
#include "support/platform.h"

#define WHO "A <a@b> 1 +0000"

static struct test_platform test;
static struct bole_store *store;
static struct bole_repo repo;
static struct bole_tx *tx;
static struct bole_object_writer *writer;
static char said[8][512];
static size_t said_count;

static void on_finding(void *ctx, const char *text)
{
	(void)ctx;
	if (said_count < 8)
		snprintf(said[said_count], sizeof said[0], "%s", text);
	said_count++;
}

static struct bole_oid put(uint8_t type, const void *data, size_t len)
{
	struct bole_oid oid;

	cr_assert_eq(bole_object_write(writer, type, bole_bytes_of(data, len), &oid), BOLE_OK);
	return oid;
}

static struct bole_oid put_tree(uint32_t mode, const struct bole_oid *oid)
{
	uint8_t data[80];
	int len = snprintf((char *)data, sizeof data, "%o name", (unsigned)mode) + 1;

	memcpy(data + len, oid->bytes, bole_hash_bytes(oid->algo));
	return put(BOLE_OBJECT_TREE, data, (size_t)len + bole_hash_bytes(oid->algo));
}

static struct bole_oid put_commit(const struct bole_oid *tree, const struct bole_oid *parent)
{
	char data[512];
	char hex[BOLE_OID_HEX_MAX + 1];
	int len = snprintf(data, sizeof data, "tree %s\n", bole_oid_format(tree, hex));

	if (parent != NULL)
		len += snprintf(data + len, sizeof data - (size_t)len, "parent %s\n",
		                bole_oid_format(parent, hex));
	len += snprintf(data + len, sizeof data - (size_t)len,
	                "author " WHO "\ncommitter " WHO "\n\nm\n");
	return put(BOLE_OBJECT_COMMIT, data, (size_t)len);
}

static void put_raw(const struct bole_oid *oid, uint8_t type, const char *content)
{
	struct bole_entry_head head = {.type = type, .inflated_bytes = strlen(content)};
	uint8_t entry[256];
	size_t head_len = bole_entry_head_format(&head, test_algo(), entry);
	uLongf room = sizeof entry - head_len;

	cr_assert_eq(compress(entry + head_len, &room, (const uint8_t *)content, strlen(content)),
	             Z_OK);
	struct bole_bytes piece = {entry, head_len + room};
	cr_assert_eq(bole_tx_put(tx, oid, type, &piece, 1), BOLE_OK);
}

/* A whole commit on refs/heads/main, then the fault. */
static void make(unsigned fault, struct bole_ref_update *updates, size_t *count)
{
	struct bole_oid lost = {.algo = test_algo(), .bytes = {0xaa}};
	struct bole_oid blob = put(BOLE_OBJECT_BLOB, "x", 1);
	struct bole_oid tree = put_tree(BOLE_MODE_FILE, &blob);
	struct bole_oid commit = put_commit(&tree, NULL);

	updates[0] = (struct bole_ref_update){
	        .name = bole_bytes_z("refs/heads/main"), .action = BOLE_REF_SET, .oid = commit};
	*count = 1;
	switch (fault) {
	case 0: return;
	case 1: put_tree(BOLE_MODE_FILE, &lost); return;
	case 2: put_tree(BOLE_MODE_TREE, &blob); return;
	case 3: put_commit(&tree, &lost); return;
	case 4: put_commit(&blob, NULL); return;
	case 5: put(BOLE_OBJECT_COMMIT, "tree x\n", 7); return;
	case 6: put(BOLE_OBJECT_TREE, "100644 a", 8); return;
	case 7: put(BOLE_OBJECT_TAG, "object x\n", 9); return;
	case 8: put_raw(&lost, BOLE_OBJECT_BLOB, "not what the id says"); return;
	case 9: updates[0].oid = tree; return;
	case 10: updates[0].oid = lost; return;
	}
	cr_assert_fail();
}

Test(verify, every_fault_is_found_and_a_sound_repository_has_none)
{
	static const struct {
		unsigned errors;
		const char *text;
	} rows[] = {
	        {0, NULL},
	        {2, "is missing"},
	        {1, "links to an object of another type"},
	        {2, "is missing"},
	        {1, "links to an object of another type"},
	        {1, "is a malformed commit"},
	        {1, "is a malformed tree"},
	        {1, "is a malformed tag"},
	        {1, "does not hash to its id"},
	        {1, "links to an object of another type"},
	        {2, "is missing"},
	};

	for (unsigned fault = 0; fault < sizeof rows / sizeof rows[0]; fault++) {
		struct bole_verify_report report = {.finding = on_finding};
		struct bole_verify_result result;
		struct bole_ref_update updates[1];
		struct bole_snapshot *snapshot;
		size_t count;
		size_t failed;

		test_platform_init(&test, 1);
		said_count = 0;
		cr_assert_eq(bole_memory_store_open(&test.base, &test.alloc, &store), BOLE_OK);
		cr_assert_eq(bole_repo_create(store, "r", test_algo(), "refs/heads/main", &repo),
		             BOLE_OK);
		cr_assert_eq(bole_tx_begin(store, repo.id, &tx), BOLE_OK);
		cr_assert_eq(bole_object_writer_open(tx, &test.alloc, 0, &writer), BOLE_OK);
		make(fault, updates, &count);
		bole_object_writer_close(writer);
		cr_assert_eq(bole_tx_commit(tx, updates, count, &failed), BOLE_OK);
		cr_assert_eq(bole_snapshot_open(store, repo.id, &snapshot), BOLE_OK);
		cr_assert_eq(bole_verify(&test.base, snapshot, &test.alloc, &report, &result),
		             BOLE_OK);
		cr_assert_eq(result.errors, rows[fault].errors, "%u: %llu", fault,
		             (unsigned long long)result.errors);
		cr_assert_eq(said_count, rows[fault].errors);
		if (rows[fault].text != NULL)
			cr_assert_not_null(strstr(said[0], rows[fault].text), "%s", said[0]);
		bole_snapshot_close(snapshot);
		cr_assert_eq(bole_store_close(store), BOLE_OK);
		test_platform_release(&test);
	}
}
