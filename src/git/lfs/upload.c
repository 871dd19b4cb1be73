/* SPDX-License-Identifier: ISC */
/* The way in. Full chunks are committed as they come, each in a transaction of its own, so that
 * memory does not grow with the object; the last one, which publishes it, brings the last chunk and
 * the object's record together. So a short object costs one commit. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/memory.h"
#include "git/lfs/lfs.h"

struct bole_lfs_upload {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_store *store;
	uint32_t repo;
	uint32_t chunks; /* committed */
	struct bole_lfs_object object;
	struct bole_hash hash;
	size_t filled;
	enum bole_status rc; /* sticky */
	uint8_t chunk[BOLE_LFS_CHUNK_BYTES];
};

enum bole_status bole_lfs_upload_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                      struct bole_store *store, uint32_t repo,
                                      const struct bole_oid *oid, struct bole_lfs_upload **out)
{
	struct bole_lfs_upload *up;

	*out = NULL;
	if (store->info.read_only)
		return BOLE_E_READ_ONLY;
	up = bole_alloc_array(alloc, 1, sizeof *up);
	if (up == NULL)
		return BOLE_E_NO_MEMORY;
	up->platform = platform;
	up->alloc = alloc;
	up->store = store;
	up->repo = repo;
	up->chunks = 0;
	up->filled = 0;
	up->rc = BOLE_OK;
	up->object = (struct bole_lfs_object){.oid = *oid};
	platform->ops->random(platform, &up->object.upload, sizeof up->object.upload);
	bole_hash_init(&up->hash, BOLE_HASH_SHA256);
	*out = up;
	return BOLE_OK;
}

static enum bole_status put_chunk(struct bole_lfs_upload *up, struct bole_tx *tx)
{
	uint8_t bytes[LFS_CHUNK_KEY_BYTES];
	struct bole_aux_key key =
	        bole_lfs_chunk_key(bytes, &up->object.oid, up->object.upload, up->chunks);

	return up->store->aux->put(tx, &key, bole_bytes_of(up->chunk, up->filled));
}

static enum bole_status commit_chunk(struct bole_lfs_upload *up)
{
	struct bole_tx *tx = NULL;
	size_t failed;

	if (up->chunks == LFS_CHUNKS_MAX - 1)
		return BOLE_E_LIMIT;
	BOLE_TRY(bole_tx_begin(up->store, up->repo, &tx));
	enum bole_status rc = put_chunk(up, tx);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	BOLE_TRY(bole_tx_commit(tx, NULL, 0, &failed));
	up->chunks++;
	up->filled = 0;
	return BOLE_OK;
}

enum bole_status bole_lfs_upload_write(struct bole_lfs_upload *up, const void *src, size_t len)
{
	const uint8_t *p = src;

	while (len > 0 && up->rc == BOLE_OK) {
		size_t n = BOLE_LFS_CHUNK_BYTES - up->filled;

		if (n == 0) {
			up->rc = commit_chunk(up);
			continue;
		}
		n = len < n ? len : n;
		memcpy(up->chunk + up->filled, p, n);
		bole_hash_update(&up->hash, p, n);
		up->filled += n;
		up->object.size_bytes += n;
		p += n;
		len -= n;
		up->platform->ops->yield(up->platform);
	}
	return up->rc;
}

void bole_lfs_upload_abort(struct bole_lfs_upload *up)
{
	if (up == NULL)
		return;
	enum bole_status rc = bole_lfs_chunks_remove(up->store, up->repo, &up->object.oid,
	                                             up->object.upload, up->chunks);
	/* They go when the store is swept the next time. */
	if (rc != BOLE_OK)
		bole_log(up->platform, BOLE_LOG_WARN, "lfs: %u chunks of an upload stay: %s",
		         up->chunks, bole_status_text(rc));
	bole_alloc_free(up->alloc, up, 1, sizeof *up);
}

/* *needless: it is there already. */
static enum bole_status publish(struct bole_lfs_upload *up, bool *needless)
{
	struct bole_aux_key key = bole_lfs_object_key(up->object.oid.bytes);
	uint8_t value[LFS_OBJECT_BYTES];
	struct bole_lfs_object there;
	struct bole_tx *tx = NULL;
	size_t failed;

	if (up->platform->ops->wall_s(up->platform, &up->object.stored_s) != BOLE_OK)
		up->object.stored_s = 0;
	BOLE_TRY(bole_tx_begin(up->store, up->repo, &tx));
	enum bole_status rc =
	        bole_lfs_object_get(tx->view, up->alloc, up->object.oid.bytes, &there);
	*needless = rc == BOLE_OK && !there.removed;
	if (rc == BOLE_OK || rc == BOLE_E_NOT_FOUND)
		rc = up->filled == 0 || *needless ? BOLE_OK : put_chunk(up, tx);
	if (rc == BOLE_OK) {
		bole_lfs_object_encode(&up->object, value);
		rc = up->store->aux->put(tx, &key, bole_bytes_of(value, sizeof value));
	}
	if (rc != BOLE_OK || *needless) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

enum bole_status bole_lfs_upload_finish(struct bole_lfs_upload *up)
{
	struct bole_oid oid;
	bool needless = false;

	bole_hash_final(&up->hash, &oid);
	if (up->rc == BOLE_OK && !bole_oid_equal(&oid, &up->object.oid))
		up->rc = BOLE_E_INVALID;
	if (up->rc == BOLE_OK)
		up->rc = publish(up, &needless);
	enum bole_status rc = up->rc;
	if (rc != BOLE_OK || needless)
		bole_lfs_upload_abort(up);
	else
		bole_alloc_free(up->alloc, up, 1, sizeof *up);
	return rc;
}
