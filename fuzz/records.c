/* SPDX-License-Identifier: ISC */
/* What a store keeps beside objects and references, damaged: sets of what commits reach, the hash
 * of an extent, what is kept whole, the shallow boundary, large files, locks. The input is edits of
 * records as this very code writes them; first byte: whether lengths are made right behind them.
 * Each edit: a byte that says which record and how, then an offset and a byte to put there, or
 * where to cut, or another value whole. Invariants: records that were not touched do what they are
 * for, a status otherwise, memory comes back. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "bole/devices.h"
#include "bole/lfs.h"
#include "git/bitmap/rehearse.h"
#include "git/bitmap/wholes.h"
#include "git/boundary.h"
#include "git/fetch/pack_emit.h"
#include "git/negotiate.h"
#include "support/large_blocks.h"
#include "support/packworld.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	RECORDS_MAX = 16,
	KEY_MAX = 64,
	VALUE_MAX = 1 << 16,
	PACK_MAX = 1 << 22,
	DEVICE_BYTES = 16 << 20,
	CUT = 64,
	ANEW = 128,
	BOUNDARY = BOLE_AUX_KIND_BINDING | 1,
};

struct record {
	enum bole_aux_class cls;
	uint16_t kind;
	uint8_t key[KEY_MAX];
	size_t key_len;
	uint8_t *value; /* as it was written */
	size_t len;
	uint8_t *now;
	size_t now_len;
	bool touched;
};

static struct packworld w;
static struct test_platform mine; /* of what is tested, the store apart */
static struct record records[RECORDS_MAX];
static size_t record_count;
static bool whole;              /* there is no boundary: else there are no sets */
static struct bole_oid tips[2]; /* the second came after the sets */

/* -- What is damaged -- */

static void push(uint32_t commits, uint64_t seed, const char *ref, uint64_t extent_min,
                 struct bole_oid *tip)
{
	struct packmaker maker;

	w.store->info.extent_bytes_min = extent_min;
	packmaker_init(&maker, BOLE_HASH_SHA1);
	maker.level = 0; /* the same bytes with any zlib */
	*tip = packmaker_history(&maker, commits, seed);
	packmaker_finish(&maker);
	BOLE_ASSERT(packworld_push(&w, maker.out.ptr, maker.out.len, ref, tip) == BOLE_OK);
	packmaker_release(&maker);
}

static void save_sets(struct bole_snapshot *snapshot)
{
	struct bole_bitmap_job job = {
	        .platform = &w.platform.base, .alloc = &w.platform.alloc, .snapshot = snapshot};
	struct bole_wholes wholes;
	struct bole_bitmap *b;

	BOLE_ASSERT(bole_bitmap_build(&job, &b) == BOLE_OK);
	BOLE_ASSERT(bole_wholes_open(&wholes, b, &w.platform.alloc, WHOLES_BYTES_MAX) == BOLE_OK);
	BOLE_ASSERT(bole_bitmap_rehearse_near(&job, b, &wholes) == BOLE_OK);
	BOLE_ASSERT(bole_bitmap_save(b, &wholes, w.store, w.repo.id) == BOLE_OK);
	bole_bitmap_rehearse(&job, b);
	BOLE_ASSERT(bole_bitmap_save_sum(b, w.store, w.repo.id) == BOLE_OK);
	bole_wholes_close(&wholes);
	bole_bitmap_release(b);
}

static void save_boundary(struct bole_snapshot *snapshot)
{
	struct bole_boundary b;
	struct bole_tx *tx;
	size_t failed;

	bole_boundary_init(&b, &w.platform.base, &w.platform.alloc, BOLE_HASH_SHA1);
	BOLE_ASSERT(bole_boundary_load(&b, snapshot) == BOLE_OK);
	BOLE_ASSERT(bole_id_list_add(&b.ends, &tips[0]) == BOLE_OK);
	BOLE_ASSERT(bole_tx_begin(w.store, w.repo.id, &tx) == BOLE_OK);
	BOLE_ASSERT(bole_boundary_stage(&b, tx) == BOLE_OK);
	BOLE_ASSERT(bole_tx_commit(tx, NULL, 0, &failed) == BOLE_OK);
	bole_boundary_release(&b);
}

static void save_large_file(void)
{
	struct bole_alloc *alloc = &w.platform.alloc;
	struct bole_lfs_lock lock = {.owner = "ann", .path = "a/b"};
	struct bole_lfs_upload *upload;
	struct bole_hash hash;
	struct bole_oid oid;

	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, "large", 5);
	bole_hash_final(&hash, &oid);
	BOLE_ASSERT(bole_lfs_upload_open(&w.platform.base, alloc, w.store, w.repo.id, &oid,
	                                 &upload) == BOLE_OK);
	BOLE_ASSERT(bole_lfs_upload_write(upload, "large", 5) == BOLE_OK);
	BOLE_ASSERT(bole_lfs_upload_finish(upload) == BOLE_OK);
	BOLE_ASSERT(bole_lfs_lock_create(&w.platform.base, alloc, w.store, w.repo.id, &lock) ==
	            BOLE_OK);
}

static void note_records(struct bole_snapshot *snapshot, enum bole_aux_class cls, uint16_t kind)
{
	struct bole_bytes key = {NULL, 0};

	while (w.store->aux->next(snapshot, cls, kind, key, &key) == BOLE_OK) {
		struct record *r = &records[record_count++];
		struct bole_aux_key k = {cls, kind, key};
		uint8_t *value;
		size_t len;

		BOLE_ASSERT(record_count < RECORDS_MAX && key.len <= KEY_MAX);
		BOLE_ASSERT(w.store->aux->get(snapshot, &k, &w.platform.alloc, &value, &len) ==
		            BOLE_OK);
		*r = (struct record){.cls = cls, .kind = kind, .key_len = key.len, .len = len};
		memcpy(r->key, key.ptr, key.len);
		r->value = malloc(len + 1);
		r->now = malloc(VALUE_MAX);
		memcpy(r->value, value, len);
		BOLE_ASSERT(len <= VALUE_MAX);
		bole_alloc_free(&w.platform.alloc, value, len, 1);
	}
}

/* -- Instead of the records of the store, those that are damaged -- */

static enum bole_status damaged_get(struct bole_snapshot *snapshot, const struct bole_aux_key *key,
                                    struct bole_alloc *alloc, uint8_t **out, size_t *len)
{
	(void)snapshot;
	for (size_t i = 0; i < record_count; i++) {
		const struct record *r = &records[i];

		if (r->cls != key->cls || r->kind != key->kind ||
		    !bole_bytes_equal(bole_bytes_of(r->key, r->key_len), key->key))
			continue;
		*len = r->now_len;
		if (r->now_len == 0)
			break; /* a store takes no such value */
		*out = bole_alloc_array(alloc, r->now_len, 1);
		memcpy(*out, r->now, r->now_len);
		return BOLE_OK;
	}
	return BOLE_E_NOT_FOUND;
}

/* They are noted in the order of their keys. */
static enum bole_status damaged_next(struct bole_snapshot *snapshot, enum bole_aux_class cls,
                                     uint16_t kind, struct bole_bytes after, struct bole_bytes *key)
{
	(void)snapshot;
	for (size_t i = 0; i < record_count; i++) {
		const struct record *r = &records[i];

		if (r->cls != cls || r->kind != kind || r->now_len == 0 ||
		    (whole && kind == BOUNDARY))
			continue;
		*key = bole_bytes_of(r->key, r->key_len);
		if (bole_bytes_compare(*key, after) > 0)
			return BOLE_OK;
	}
	return BOLE_END;
}

static const struct bole_aux_ops damaged_ops = {.get = damaged_get, .next = damaged_next};

static void open_once(void)
{
	struct bole_snapshot *snapshot;
	struct bole_block *device;

	if (w.store != NULL)
		return;
	large_blocks_keep();
	test_platform_init(&w.platform, 1);
	w.platform.quiet = true;
	test_platform_init(&mine, 1);
	mine.quiet = true;
	BOLE_ASSERT(bole_block_ram_open(&w.platform.alloc, DEVICE_BYTES, 4096, &device) == BOLE_OK);
	BOLE_ASSERT(bole_flash_format(device, &w.platform.base, NULL) == BOLE_OK);
	BOLE_ASSERT(bole_flash_open(device, &w.platform.base, &w.platform.alloc, NULL, &w.store) ==
	            BOLE_OK);
	BOLE_ASSERT(bole_repo_create(w.store, "main", BOLE_HASH_SHA1, "refs/heads/main", &w.repo) ==
	            BOLE_OK);
	push(6, 1, "refs/heads/main", 1, &tips[0]);
	push(2, 2, "refs/heads/side", 1 << 20, &tips[1]);
	BOLE_ASSERT(bole_snapshot_open(w.store, w.repo.id, &snapshot) == BOLE_OK);
	save_sets(snapshot);
	save_boundary(snapshot);
	save_large_file();
	bole_snapshot_close(snapshot);
	push(3, 3, "refs/heads/side", 1 << 20, &tips[1]);
	BOLE_ASSERT(bole_snapshot_open(w.store, w.repo.id, &snapshot) == BOLE_OK);
	note_records(snapshot, BOLE_AUX_DERIVED, 1);
	note_records(snapshot, BOLE_AUX_DURABLE, BOUNDARY);
	for (uint16_t kind = 2; kind <= 4; kind++)
		note_records(snapshot, BOLE_AUX_DURABLE, kind);
	bole_snapshot_close(snapshot);
	BOLE_ASSERT(record_count >= 7);
	w.store->aux = &damaged_ops;
}

/* -- Damage -- */

static uint8_t byte(struct bole_bytes *in)
{
	uint8_t value = in->len == 0 ? 0 : *in->ptr;

	if (in->len > 0)
		*in = bole_bytes_of(in->ptr + 1, in->len - 1);
	return value;
}

static size_t number(struct bole_bytes *in)
{
	size_t low = byte(in);

	return low | (size_t)byte(in) << 8;
}

static void edit(struct bole_bytes *in)
{
	uint8_t how = byte(in);
	struct record *r = &records[how % 32 % record_count];

	r->touched = true;
	if ((how & ANEW) != 0) {
		size_t len = number(in);

		len = len < in->len ? len : in->len;
		memcpy(r->now, in->ptr, len);
		r->now_len = len;
		*in = bole_bytes_of(in->ptr + len, in->len - len);
	} else if ((how & CUT) != 0) {
		r->now_len -= r->now_len == 0 ? 0 : number(in) % r->now_len;
	} else if (r->now_len > 0) {
		size_t at = number(in) % r->now_len;

		r->now[at] = byte(in);
	}
}

/* The length in the one piece of an index. */
static void mend(struct record *r)
{
	if (r->cls == BOLE_AUX_DERIVED && r->key_len == 1 && r->key[0] == 0 && r->now_len > 24)
		bole_put_le64(r->now + 16, r->now_len - 24);
}

static bool touched(enum bole_aux_class cls, uint16_t first, uint16_t last)
{
	bool any = false;

	for (size_t i = 0; i < record_count; i++)
		any |= records[i].touched && records[i].cls == cls && records[i].kind >= first &&
		       records[i].kind <= last;
	return any;
}

/* -- Use -- */

static enum bole_status fetch(struct bole_snapshot *snapshot, struct bole_bitmap *b, bool near,
                              const struct bole_oid *have)
{
	struct bole_buffer_writer writer;
	struct bole_pack_plan *plan = NULL;
	struct bole_buffer pack;
	struct bole_id_list ends;

	bole_id_list_init(&ends, &mine.base, &mine.alloc, BOLE_HASH_SHA1);
	bole_buffer_init(&pack, &mine.alloc, PACK_MAX);
	bole_buffer_writer_init(&writer, &pack);
	BOLE_ASSERT(!near || bole_id_list_add(&ends, &tips[0]) == BOLE_OK);
	struct bole_reach job = {.platform = &mine.base,
	                         .alloc = &mine.alloc,
	                         .snapshot = snapshot,
	                         .wants = tips,
	                         .want_count = near ? 1 : 2,
	                         .haves = have,
	                         .have_count = have != NULL,
	                         .grafts = near ? &ends : NULL,
	                         .thin = have != NULL,
	                         .ofs_delta = true,
	                         .bitmap = b};
	enum bole_status rc = bole_pack_plan_open(&job, &plan);
	if (rc == BOLE_OK)
		rc = bole_pack_emit(plan, &writer.writer);
	bole_pack_plan_close(plan);
	bole_buffer_release(&pack);
	bole_id_list_release(&ends);
	return rc;
}

static void use_sets(struct bole_snapshot *snapshot, bool sound)
{
	struct bole_bitmap *b, *next;
	enum bole_status rc = bole_bitmap_load(&mine.base, &mine.alloc, snapshot, &b);

	BOLE_ASSERT(rc == BOLE_OK || (!sound && b == NULL));
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_NOT_FOUND || rc == BOLE_E_CORRUPT ||
	            rc == BOLE_E_LIMIT);
	if (rc != BOLE_OK)
		return;
	rc = fetch(snapshot, b, false, NULL);
	BOLE_ASSERT(rc == BOLE_OK || !sound);
	rc = fetch(snapshot, b, true, NULL);
	BOLE_ASSERT(rc == BOLE_OK || !sound);
	rc = fetch(snapshot, b, false, &tips[0]);
	BOLE_ASSERT(rc == BOLE_OK || !sound);
	struct bole_bitmap_job job = {
	        .platform = &mine.base, .alloc = &mine.alloc, .snapshot = snapshot, .old = b};
	rc = bole_bitmap_build(&job, &next);
	BOLE_ASSERT(rc == BOLE_OK || !sound);
	if (rc == BOLE_OK)
		bole_bitmap_release(next);
	bole_bitmap_release(b);
}

static void use_boundary(struct bole_snapshot *snapshot)
{
	struct bole_boundary b;

	bole_boundary_init(&b, &mine.base, &mine.alloc, BOLE_HASH_SHA1);
	enum bole_status rc = bole_boundary_load(&b, snapshot);
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_CORRUPT);
	BOLE_ASSERT(rc != BOLE_OK || b.ends.count <= 11);
	bole_boundary_release(&b);
}

static void use_large_files(void)
{
	struct bole_alloc *alloc = &mine.alloc;
	struct bole_lfs_lock lock, same;
	struct bole_lfs_object object;
	struct bole_bytes piece;
	size_t len = 0;
	uint8_t *block = NULL;

	if (bole_lfs_next(w.store, w.repo.id, alloc, NULL, &object) == BOLE_OK && !object.removed &&
	    object.size_bytes > 0) {
		enum bole_status rc = bole_lfs_read(w.store, w.repo.id, alloc, &object,
		                                    object.size_bytes - 1, &piece, &block, &len);
		BOLE_ASSERT(rc != BOLE_OK || (piece.len == 1 && piece.ptr < block + len));
		if (rc == BOLE_OK)
			bole_alloc_free(alloc, block, len, 1);
		rc = bole_lfs_read(w.store, w.repo.id, alloc, &object, 0, &piece, &block, &len);
		BOLE_ASSERT(rc != BOLE_OK || (piece.len > 0 && piece.len <= object.size_bytes));
		if (rc == BOLE_OK)
			bole_alloc_free(alloc, block, len, 1);
	}
	if (bole_lfs_lock_next(w.store, w.repo.id, alloc, "", &lock) == BOLE_OK) {
		BOLE_ASSERT(bole_lfs_lock_by_id(w.store, w.repo.id, alloc, lock.id, &same) ==
		            BOLE_OK);
		BOLE_ASSERT(strcmp(lock.path, same.path) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_bytes in = bole_bytes_of(data, size);
	struct bole_snapshot *snapshot;

	open_once();
	for (size_t i = 0; i < record_count; i++) {
		records[i].touched = false;
		records[i].now_len = records[i].len;
		memcpy(records[i].now, records[i].value, records[i].len);
	}
	uint8_t flags = byte(&in);
	while (in.len > 0)
		edit(&in);
	for (size_t i = 0; i < record_count && (flags & 1) != 0; i++)
		mend(&records[i]);
	BOLE_ASSERT(bole_snapshot_open(w.store, w.repo.id, &snapshot) == BOLE_OK);
	bool sets = touched(BOLE_AUX_DERIVED, 1, 1);
	whole = true;
	if (sets || size <= 1)
		use_sets(snapshot, !sets);
	whole = false;
	use_boundary(snapshot);
	bole_snapshot_close(snapshot);
	if (touched(BOLE_AUX_DURABLE, 2, 4) || size <= 1)
		use_large_files();
	BOLE_ASSERT(mine.blocks == 0);
	return 0;
}
