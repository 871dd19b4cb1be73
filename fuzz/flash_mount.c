/* SPDX-License-Identifier: ISC */
/* Mounting hostile images. The first byte picks how the rest changes a small valid volume:
 *   0  patches of the image: offset (3 bytes), length (1), bytes
 *   1  patches of an anchor, whose checksum is made right again
 *   2  records of the log with right checksums: kind, type, key length, flags, owner (4), body
 *      length (2), key and body
 *   3  the same as an element of a checkpoint, a delta when the last byte is odd
 *   4  blocks as they were at an earlier time, or of another place: time (1), size (1), to and from
 *      (2 each, in units of 512 bytes)
 * Whatever comes out: an error, or a volume that can be read, checked and written. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/block_sim.h"
#include "bole/store.h"
#include "flash/log/batch.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum {
	IMAGE_BYTES = (4 << 20) + (128 << 10),
	SECTOR = 4096,
	RECORD_FUZZ_HEAD = 10,
	FUZZ_OBJECTS_MAX = 64,
	OLDER = 4,
	SPLICE_BYTES = 6,
	SPLICE_UNIT = 512,
	SPLICE_MAX = 16 << 10,
};

static struct test_platform test;
static struct bole_block *base;
static struct bole_block *older[OLDER]; /* the same volume at earlier times */

static void remember(unsigned when)
{
	OK(bole_block_sim_clone(&test.alloc, base, &older[when]));
}

/* Checkpoints, merges, moves: whatever there is to do. */
static void maintain(struct bole_store *store)
{
	const struct bole_maintain_options eager = {.eagerness = 2};
	struct bole_maintain_report report;

	for (unsigned i = 0; i < 500; i++)
		if (bole_store_maintain(store, &eager, &report) != BOLE_OK)
			return;
}

/* A volume with a little of everything, closed. */
static void make_base(void)
{
	const struct bole_block_sim_options o = {
	        .kind = BOLE_BLOCK_MANAGED,
	        .size_bytes = IMAGE_BYTES,
	        .read_unit = SECTOR,
	        .program_unit = SECTOR,
	};
	struct store_suite suite = {.platform = &test.base};
	struct bole_aux_key key = {BOLE_AUX_DURABLE, 1, {(const uint8_t *)"k", 1}};
	struct bole_bytes value = {(const uint8_t *)"value", 5};
	struct suite_blob blob;
	struct suite_pack pack;
	struct bole_tx *tx;
	struct bole_tx_token token;

	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_sim_open(&test.alloc, &o, &base));
	OK(bole_flash_format(base, &test.base, NULL));
	OK(bole_flash_open(base, &test.base, &test.alloc, NULL, &suite.store));
	struct bole_repo repo = suite_create(&suite, "r", BOLE_HASH_SHA1);
	suite_blob_make(&blob, BOLE_HASH_SHA1, 1);
	remember(0);
	suite_publish(&suite, repo.id, &blob, "refs/heads/a");
	maintain(suite.store);
	remember(1);
	OK(bole_tx_begin(suite.store, repo.id, &tx));
	suite_pack_make(&pack, BOLE_HASH_SHA1, 100, 60);
	(void)suite_pack_append(tx, &pack);
	suite_pack_free(&pack);
	OK(suite.store->aux->put(tx, &key, value));
	suite_commit(tx, NULL, 0);
	remember(2);
	maintain(suite.store);
	remember(3);
	OK(bole_tx_begin(suite.store, repo.id, &tx));
	suite_blob_make(&blob, BOLE_HASH_SHA1, 2);
	suite_put_blob(tx, &blob);
	OK(bole_tx_prepare(tx, &token));
	OK(bole_store_close(suite.store));
}

/* The first `size` bytes of the disk. */
static void patch(struct bole_block *disk, size_t size, const uint8_t *data, size_t len)
{
	while (len > 4) {
		size_t off = (size_t)(data[0] | data[1] << 8 | data[2] << 16) % size;
		size_t n = data[3];
		data += 4;
		len -= 4;
		if (n > len)
			n = len;
		if (n > size - off)
			n = size - off;
		bole_block_sim_poke(disk, off, data, n);
		data += n;
		len -= n;
	}
}

static void splice(struct bole_block *disk, const uint8_t *data, size_t len)
{
	static uint8_t bytes[SPLICE_MAX];

	for (; len >= SPLICE_BYTES; data += SPLICE_BYTES, len -= SPLICE_BYTES) {
		size_t n = (size_t)SPLICE_UNIT << data[1] % 6;
		size_t to = (size_t)(data[2] | data[3] << 8) * SPLICE_UNIT % (IMAGE_BYTES - n);
		size_t from = (size_t)(data[4] | data[5] << 8) * SPLICE_UNIT % (IMAGE_BYTES - n);
		to -= to % SPLICE_UNIT;
		from -= from % SPLICE_UNIT;
		bole_block_sim_peek(older[data[0] % OLDER], data[0] & 0x80 ? to : from, bytes, n);
		bole_block_sim_poke(disk, to, bytes, n);
	}
}

/* The newest anchor is changed alike in both areas, so that the changed one is found. */
static void patch_anchor(struct bole_block *disk, const uint8_t *data, size_t len)
{
	struct flash_anchor_place place;
	struct flash_anchor a;
	uint8_t slot[SECTOR];
	struct flash_sum sum;

	OK(bole_flash_anchor_load(disk, NULL, &test.alloc, &a, &place));
	uint64_t at = bole_flash_anchor_at(&a.geometry, 0, place.at[0]);
	uint64_t other = bole_flash_anchor_at(&a.geometry, 1, place.at[1]);
	bole_flash_anchor_release(&test.alloc, &a);
	bole_block_sim_peek(disk, at, slot, sizeof slot);
	while (len > 3) {
		size_t off = (size_t)(data[0] | data[1] << 8) % sizeof slot;
		size_t n = data[2] < len - 3 ? data[2] : len - 3;
		if (n > sizeof slot - off)
			n = sizeof slot - off;
		memcpy(slot + off, data + 3, n);
		data += 3 + n;
		len -= 3 + n;
	}
	bole_flash_sum_begin(&sum, 0);
	bole_flash_sum_add(&sum, slot, ANCHOR_CHECKSUM_AT);
	bole_flash_sum_add(&sum, slot + ANCHOR_GENERATION_AT, SECTOR - ANCHOR_GENERATION_AT);
	bole_put_le64(slot + ANCHOR_CHECKSUM_AT, bole_flash_sum_end(&sum));
	bole_block_sim_poke(disk, at, slot, sizeof slot);
	bole_block_sim_poke(disk, other, slot, sizeof slot);
}

/* Takes one record off the input; NULL at its end. */
static const uint8_t *take_record(const uint8_t *data, const uint8_t *end, struct flash_record *r)
{
	if (end - data < RECORD_FUZZ_HEAD)
		return NULL;
	*r = (struct flash_record){
	        .kind = data[0] == 0 ? 1 : data[0],
	        .type = data[1],
	        .flags = data[3],
	        .owner = bole_get_le32(data + 4),
	};
	size_t key = data[2];
	size_t body = bole_get_le16(data + 8);
	data += RECORD_FUZZ_HEAD;
	if (key > (size_t)(end - data))
		key = (size_t)(end - data);
	r->key = (struct bole_bytes){data, key};
	data += key;
	if (body > (size_t)(end - data))
		body = (size_t)(end - data);
	if (body > 4096)
		body = 4096;
	r->body = (struct bole_bytes){data, body};
	return data + body;
}

static void add_records(struct flash_volume *v, const uint8_t *data, size_t len)
{
	const uint8_t *end = data + len;
	struct flash_record r;

	while ((data = take_record(data, end, &r)) != NULL) {
		uint32_t bytes = (uint32_t)(RECORD_HEAD_BYTES + r.key.len + r.body.len);
		struct bole_bytes piece = r.body;
		if (bole_flash_batch_reserve(v, bytes, bytes, FLASH_FOR_DATA) != BOLE_OK)
			break;
		OK(bole_flash_batch_add(v, &r, &piece, 1, NULL, NULL));
	}
	OK(bole_flash_batch_end(v, 0));
	OK(bole_flash_flush(v));
}

/* The record that makes an element a delta of what the volume has. */
static size_t chain_of(const struct flash_volume *v, uint8_t *dst)
{
	const struct flash_element *last = &v->element[v->elements - 1];
	uint8_t *body = dst + RECORD_HEAD_BYTES;
	uint32_t first = last->fragments - last->named;
	size_t len = CHAIN_PLACES_AT + (size_t)last->named * PLACE_BYTES;
	struct flash_record r = {.kind = FLASH_RECORD_CHAIN, .body = {body, len}};

	bole_flash_record_head(dst, &r);
	bole_put_le64(body + CHAIN_STREAM_AT, last->stream);
	bole_put_le64(body + CHAIN_BYTES_AT, last->bytes);
	bole_put_le64(body + CHAIN_DIGEST_AT, last->digest);
	bole_put_le32(body + CHAIN_DEPTH_AT, v->elements);
	bole_put_le32(body + CHAIN_COUNT_AT, last->named);
	for (uint32_t i = 0; i < last->named; i++)
		bole_flash_place_put(body + CHAIN_PLACES_AT + (size_t)i * PLACE_BYTES,
		                     &last->fragment[first + i]);
	return RECORD_HEAD_BYTES + len;
}

static void add_checkpoint(struct flash_volume *v, const uint8_t *data, size_t len)
{
	const uint8_t *end = data + len;
	struct flash_anchor a = v->anchor;
	struct flash_stream s;
	struct flash_sum sum;
	uint8_t place[PLACE_BYTES];
	struct flash_record r;

	a.stream = v->next_extent++;
	a.stream_bytes = 0;
	bole_flash_stream_init(&s, v, a.stream, 0, FLASH_SEGMENT_CHECKPOINT, FLASH_FOR_CHECKPOINT);
	bole_flash_sum_begin(&sum, a.stream);
	OK(bole_flash_stream_select(&s, FLASH_FRAGMENT_CHECKPOINT));
	/* Every other one is a delta. */
	if (len != 0 && (data[len - 1] & 1) != 0 && v->elements != 0) {
		uint8_t chain[RECORD_HEAD_BYTES + CHAIN_PLACES_AT + CHAIN_PLACES_MAX * PLACE_BYTES];
		size_t bytes = chain_of(v, chain);
		bole_flash_sum_add(&sum, chain, bytes);
		a.stream_bytes += bytes;
		OK(bole_flash_stream_append(&s, chain, bytes));
	}
	while ((data = take_record(data, end, &r)) != NULL) {
		uint8_t head[RECORD_HEAD_BYTES];
		bole_flash_record_head(head, &r);
		struct bole_bytes piece[] = {{head, sizeof head}, r.key, r.body};
		for (size_t i = 0; i < 3; i++) {
			bole_flash_sum_add(&sum, piece[i].ptr, piece[i].len);
			a.stream_bytes += piece[i].len;
			if (piece[i].len != 0)
				OK(bole_flash_stream_append(&s, piece[i].ptr, piece[i].len));
		}
	}
	OK(bole_flash_stream_end(&s));
	uint32_t count = s.fragments;
	OK(bole_flash_stream_select(&s, FLASH_FRAGMENT_MAP));
	for (uint32_t i = 0; i < count; i++) {
		bole_flash_place_put(place, &s.fragment[i]);
		OK(bole_flash_stream_append(&s, place, sizeof place));
	}
	OK(bole_flash_stream_end(&s));
	a.map_count = s.fragments - count;
	a.map = count == 0 ? NULL : s.fragment + count;
	a.stream_digest = bole_flash_sum_end(&sum);
	a.generation++;
	if (count != 0)
		OK(bole_flash_anchor_store(v->dev, v->platform, v->alloc, &a, &v->anchor_place));
	bole_flash_stream_release(&s, true);
}

static void change_volume(struct bole_block *disk, int how, const uint8_t *data, size_t len)
{
	struct flash_volume *v;

	OK(bole_flash_volume_open(disk, &test.base, &test.alloc, NULL, &v));
	if (how == 2)
		add_records(v, data, len);
	else
		add_checkpoint(v, data, len);
	/* No seal: the volume is as a cut would leave it. */
	v->dirty = false;
	(void)bole_flash_volume_close(v);
}

static void read_all(struct bole_store *store)
{
	struct bole_repo repo = {.id = 0};

	while (bole_repo_next(store, repo.name, &repo) == BOLE_OK) {
		struct bole_bytes none = {NULL, 0};
		struct bole_bytes after = none;
		struct bole_snapshot *s;
		struct bole_entry e;
		struct bole_oid oid;
		struct bole_ref ref;
		uint64_t cursor = 0;
		if (bole_snapshot_open(store, repo.id, &s) != BOLE_OK)
			continue;
		while (bole_ref_next(s, none, after, &ref) == BOLE_OK)
			after = ref.name;
		for (int n = 0; n < FUZZ_OBJECTS_MAX; n++) {
			struct bole_bytes bytes;
			if (bole_odb_next(s, &cursor, &oid, &e) != BOLE_OK)
				break;
			(void)!bole_odb_view(s, &e, 0, &bytes);
		}
		bole_snapshot_close(s);
	}
}

static void write_some(struct bole_store *store)
{
	struct bole_repo repo = {.id = 0};
	struct suite_blob blob;
	struct bole_tx *tx;
	size_t failed;

	if (bole_repo_next(store, "", &repo) != BOLE_OK ||
	    bole_tx_begin(store, repo.id, &tx) != BOLE_OK)
		return;
	suite_blob_make(&blob, repo.algo, 77);
	struct bole_bytes piece = {blob.entry, blob.entry_len};
	struct bole_ref_update u = suite_set("refs/heads/fuzz", &blob.oid);
	if (bole_tx_put(tx, &blob.oid, BOLE_OBJECT_BLOB, &piece, 1) != BOLE_OK ||
	    bole_tx_commit(tx, &u, 1, &failed) == BOLE_E_CONFLICT)
		bole_tx_abort(tx);
	(void)bole_repo_remove(store, repo.id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_flash_check_result result;
	struct bole_block *disk;
	struct bole_store *store;

	if (base == NULL)
		make_base();
	if (size < 1)
		return 0;
	OK(bole_block_sim_clone(&test.alloc, base, &disk));
	int how = data[0] % 5;
	if (how == 0)
		patch(disk, IMAGE_BYTES, data + 1, size - 1);
	else if (how == 1)
		patch_anchor(disk, data + 1, size - 1);
	else if (how == 4)
		splice(disk, data + 1, size - 1);
	else
		change_volume(disk, how, data + 1, size - 1);
	(void)!bole_flash_check(disk, &test.base, &test.alloc, NULL, &result);
	if (size % 4 == 1)
		(void)!bole_flash_repair(disk, &test.base, &test.alloc, NULL, &result);
	if (bole_flash_open(disk, &test.base, &test.alloc, NULL, &store) == BOLE_OK) {
		read_all(store);
		write_some(store);
		(void)bole_store_close(store);
	}
	bole_block_close(disk);
	return 0;
}
