/* SPDX-License-Identifier: ISC */
#include "git/lfs/lfs.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	VERSION = 1,
	FLAG_REMOVED = 1,
	FLAGS_AT = 1,
	CHUNK_BYTES_AT = 4,
	SIZE_AT = 8,
	UPLOAD_AT = 16,
	STORED_AT = 24,
	REMOVED_AT_ONCE = 256, /* chunks a transaction: its cost grows with their square */
};

/* -- records -- */

struct bole_aux_key bole_lfs_object_key(const uint8_t *oid)
{
	return (struct bole_aux_key){BOLE_AUX_DURABLE, LFS_KIND_OBJECT, {oid, LFS_OID_BYTES}};
}

struct bole_aux_key bole_lfs_chunk_key(uint8_t dst[LFS_CHUNK_KEY_BYTES], const struct bole_oid *oid,
                                       uint64_t upload, uint32_t index)
{
	memcpy(dst, oid->bytes, LFS_OID_BYTES);
	bole_put_be64(dst + LFS_OID_BYTES, upload);
	bole_put_be32(dst + LFS_OID_BYTES + 8, index);
	return (struct bole_aux_key){BOLE_AUX_DURABLE, LFS_KIND_CHUNK, {dst, LFS_CHUNK_KEY_BYTES}};
}

void bole_lfs_object_encode(const struct bole_lfs_object *o, uint8_t dst[LFS_OBJECT_BYTES])
{
	memset(dst, 0, LFS_OBJECT_BYTES);
	dst[0] = VERSION;
	dst[FLAGS_AT] = o->removed ? FLAG_REMOVED : 0;
	bole_put_le32(dst + CHUNK_BYTES_AT, BOLE_LFS_CHUNK_BYTES);
	bole_put_le64(dst + SIZE_AT, o->size_bytes);
	bole_put_le64(dst + UPLOAD_AT, o->upload);
	bole_put_le64(dst + STORED_AT, (uint64_t)o->stored_s);
}

static enum bole_status decode(const uint8_t *p, size_t len, struct bole_lfs_object *out)
{
	if (len != LFS_OBJECT_BYTES || p[0] != VERSION ||
	    bole_get_le32(p + CHUNK_BYTES_AT) != BOLE_LFS_CHUNK_BYTES)
		return BOLE_E_CORRUPT;
	out->size_bytes = bole_get_le64(p + SIZE_AT);
	out->upload = bole_get_le64(p + UPLOAD_AT);
	out->stored_s = (int64_t)bole_get_le64(p + STORED_AT);
	out->removed = (p[FLAGS_AT] & FLAG_REMOVED) != 0;
	return out->size_bytes <= (uint64_t)LFS_CHUNKS_MAX * BOLE_LFS_CHUNK_BYTES ? BOLE_OK
	                                                                          : BOLE_E_CORRUPT;
}

enum bole_status bole_lfs_object_get(struct bole_snapshot *view, struct bole_alloc *alloc,
                                     const uint8_t *oid, struct bole_lfs_object *out)
{
	struct bole_aux_key key = bole_lfs_object_key(oid);
	uint8_t *value = NULL;
	size_t len = 0;

	bole_oid_from_raw(oid, BOLE_HASH_SHA256, &out->oid);
	BOLE_TRY(view->store->aux->get(view, &key, alloc, &value, &len));
	enum bole_status rc = decode(value, len, out);
	bole_alloc_free(alloc, value, len, 1);
	return rc;
}

/* -- looking -- */

enum bole_status bole_lfs_find(struct bole_store *store, uint32_t repo, struct bole_alloc *alloc,
                               const struct bole_oid *oid, struct bole_lfs_object *out)
{
	struct bole_snapshot *view = NULL;

	BOLE_TRY(bole_snapshot_open(store, repo, &view));
	enum bole_status rc = bole_lfs_object_get(view, alloc, oid->bytes, out);
	bole_snapshot_close(view);
	return rc;
}

enum bole_status bole_lfs_next(struct bole_store *store, uint32_t repo, struct bole_alloc *alloc,
                               const struct bole_oid *after, struct bole_lfs_object *out)
{
	struct bole_bytes last = {NULL, 0};
	struct bole_snapshot *view = NULL;
	struct bole_bytes key;

	if (after != NULL)
		last = bole_bytes_of(after->bytes, LFS_OID_BYTES);
	BOLE_TRY(bole_snapshot_open(store, repo, &view));
	enum bole_status rc = store->aux->next(view, BOLE_AUX_DURABLE, LFS_KIND_OBJECT, last, &key);
	if (rc == BOLE_OK && key.len != LFS_OID_BYTES)
		rc = BOLE_E_CORRUPT;
	if (rc == BOLE_OK)
		rc = bole_lfs_object_get(view, alloc, key.ptr, out);
	bole_snapshot_close(view);
	return rc;
}

enum bole_status bole_lfs_read(struct bole_store *store, uint32_t repo, struct bole_alloc *alloc,
                               const struct bole_lfs_object *o, uint64_t pos,
                               struct bole_bytes *out, uint8_t **block, size_t *block_len)
{
	uint32_t index = (uint32_t)(pos / BOLE_LFS_CHUNK_BYTES);
	size_t skip = (size_t)(pos % BOLE_LFS_CHUNK_BYTES);
	uint64_t left = o->size_bytes - (uint64_t)index * BOLE_LFS_CHUNK_BYTES;
	uint8_t bytes[LFS_CHUNK_KEY_BYTES];
	struct bole_aux_key key = bole_lfs_chunk_key(bytes, &o->oid, o->upload, index);
	struct bole_snapshot *view = NULL;

	BOLE_ASSERT(pos < o->size_bytes);
	BOLE_TRY(bole_snapshot_open(store, repo, &view));
	enum bole_status rc = store->aux->get(view, &key, alloc, block, block_len);
	bole_snapshot_close(view);
	BOLE_TRY(rc);
	if (*block_len != (left < BOLE_LFS_CHUNK_BYTES ? left : BOLE_LFS_CHUNK_BYTES)) {
		bole_alloc_free(alloc, *block, *block_len, 1);
		return BOLE_E_CORRUPT;
	}
	*out = bole_bytes_of(*block + skip, *block_len - skip);
	return BOLE_OK;
}

/* -- removing -- */

static enum bole_status remove_some(struct bole_store *store, uint32_t repo,
                                    const struct bole_oid *oid, uint64_t upload, uint32_t first,
                                    uint32_t end)
{
	static const struct bole_bytes none = {NULL, 0};
	uint8_t bytes[LFS_CHUNK_KEY_BYTES];
	struct bole_tx *tx = NULL;
	size_t failed;

	BOLE_TRY(bole_tx_begin(store, repo, &tx));
	for (uint32_t i = first; i < end; i++) {
		struct bole_aux_key key = bole_lfs_chunk_key(bytes, oid, upload, i);
		enum bole_status rc = store->aux->put(tx, &key, none);
		if (rc != BOLE_OK) {
			bole_tx_abort(tx);
			return rc;
		}
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

enum bole_status bole_lfs_chunks_remove(struct bole_store *store, uint32_t repo,
                                        const struct bole_oid *oid, uint64_t upload, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += REMOVED_AT_ONCE) {
		uint32_t end = count - i < REMOVED_AT_ONCE ? count : i + REMOVED_AT_ONCE;

		BOLE_TRY(remove_some(store, repo, oid, upload, i, end));
	}
	return BOLE_OK;
}

enum bole_status bole_lfs_remove(struct bole_store *store, uint32_t repo, struct bole_alloc *alloc,
                                 const struct bole_oid *oid, bool keep_note)
{
	struct bole_aux_key key = bole_lfs_object_key(oid->bytes);
	struct bole_lfs_object object;
	static const struct bole_bytes none = {NULL, 0};
	uint8_t value[LFS_OBJECT_BYTES];
	struct bole_tx *tx = NULL;
	size_t failed;

	BOLE_TRY(bole_tx_begin(store, repo, &tx));
	enum bole_status rc = bole_lfs_object_get(tx->view, alloc, oid->bytes, &object);
	if (rc == BOLE_OK && object.removed && keep_note)
		rc = BOLE_E_NOT_FOUND;
	uint32_t chunks =
	        rc != BOLE_OK || object.removed ? 0 : bole_lfs_chunk_count(object.size_bytes);
	uint64_t upload = object.upload;
	if (rc == BOLE_OK) {
		object.removed = true;
		bole_lfs_object_encode(&object, value);
		rc = store->aux->put(tx, &key,
		                     keep_note ? bole_bytes_of(value, sizeof value) : none);
	}
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	BOLE_TRY(bole_tx_commit(tx, NULL, 0, &failed));
	return bole_lfs_chunks_remove(store, repo, oid, upload, chunks);
}

/* -- sweeping -- */

/* The end of one upload's chunks, and whether their object is theirs. */
static enum bole_status look_at(struct bole_snapshot *view, struct bole_alloc *alloc,
                                struct bole_bytes key, bool *lost, uint32_t *chunks)
{
	uint8_t next[LFS_CHUNK_KEY_BYTES];
	struct bole_lfs_object object;
	uint64_t upload = bole_get_be64(key.ptr + LFS_OID_BYTES);

	enum bole_status rc = bole_lfs_object_get(view, alloc, key.ptr, &object);
	*lost = rc == BOLE_E_NOT_FOUND ||
	        (rc == BOLE_OK && (object.removed || object.upload != upload));
	if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
		return rc;
	/* They need not begin with 0: a removal may have been cut off. */
	memcpy(next, key.ptr, sizeof next);
	*chunks = 0;
	while (*lost && memcmp(next, key.ptr, LFS_OID_BYTES + 8) == 0) {
		struct bole_bytes found;

		*chunks = bole_get_be32(next + LFS_OID_BYTES + 8) + 1;
		rc = view->store->aux->next(view, BOLE_AUX_DURABLE, LFS_KIND_CHUNK,
		                            bole_bytes_of(next, sizeof next), &found);
		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_OK : rc;
		if (found.len != LFS_CHUNK_KEY_BYTES)
			return BOLE_E_CORRUPT;
		memcpy(next, found.ptr, sizeof next);
	}
	return BOLE_OK;
}

static enum bole_status sweep_repo(struct bole_store *store, struct bole_alloc *alloc,
                                   uint32_t repo, uint64_t *removed)
{
	uint8_t at[LFS_CHUNK_KEY_BYTES];
	struct bole_bytes after = {NULL, 0};
	struct bole_snapshot *view = NULL;
	struct bole_bytes key;
	enum bole_status rc;

	BOLE_TRY(bole_snapshot_open(store, repo, &view));
	while ((rc = store->aux->next(view, BOLE_AUX_DURABLE, LFS_KIND_CHUNK, after, &key)) ==
	       BOLE_OK) {
		bool lost = false;
		uint32_t chunks = 0;
		struct bole_oid oid;

		rc = key.len == LFS_CHUNK_KEY_BYTES ? look_at(view, alloc, key, &lost, &chunks)
		                                    : BOLE_E_CORRUPT;
		if (rc != BOLE_OK)
			break;
		memcpy(at, key.ptr, sizeof at);
		bole_oid_from_raw(at, BOLE_HASH_SHA256, &oid);
		if (lost)
			rc = bole_lfs_chunks_remove(store, repo, &oid,
			                            bole_get_be64(at + LFS_OID_BYTES), chunks);
		if (rc != BOLE_OK)
			break;
		*removed += chunks;
		memset(at + LFS_OID_BYTES + 8, 0xff, 4);
		after = bole_bytes_of(at, sizeof at);
	}
	bole_snapshot_close(view);
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_lfs_sweep(struct bole_store *store, struct bole_alloc *alloc,
                                uint64_t *removed)
{
	struct bole_repo repo = {.name = ""};
	enum bole_status rc;

	*removed = 0;
	while ((rc = bole_repo_next(store, repo.name, &repo)) == BOLE_OK)
		BOLE_TRY(sweep_repo(store, alloc, repo.id, removed));
	return rc == BOLE_END ? BOLE_OK : rc;
}
