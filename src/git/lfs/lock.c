/* SPDX-License-Identifier: ISC */
/* Locks. The key is the first half of the path's SHA-256, so that a path has one lock at most and
 * both paths and ids are looked up, not searched. An id is that and a random number: one that was
 * given back does not open the next lock of the same path. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/memory.h"
#include "git/lfs/lfs.h"

enum {
	VERSION = 1,
	KEY_BYTES = 16,
	NONCE_AT = 1,
	LOCKED_AT = 9,
	OWNER_LEN_AT = 17,
	HEAD_BYTES = 18, /* then the owner, then the path */
	VALUE_MAX = HEAD_BYTES + BOLE_LFS_OWNER_MAX + BOLE_LFS_PATH_MAX,
};

static struct bole_aux_key key_of(const uint8_t *bytes)
{
	return (struct bole_aux_key){BOLE_AUX_DURABLE, LFS_KIND_LOCK, {bytes, KEY_BYTES}};
}

static void hash_path(const char *path, uint8_t key[KEY_BYTES])
{
	struct bole_hash hash;
	struct bole_oid oid;

	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, path, strlen(path));
	bole_hash_final(&hash, &oid);
	memcpy(key, oid.bytes, KEY_BYTES);
}

static void format_id(char *id, const uint8_t key[KEY_BYTES], uint64_t nonce)
{
	for (size_t i = 0; i < KEY_BYTES; i++)
		snprintf(id + 2 * i, 3, "%02x", key[i]);
	snprintf(id + 2 * (size_t)KEY_BYTES, 17, "%016" PRIx64, nonce);
}

/* The key of an id. False: it is none. */
static bool parse_id(const char *id, uint8_t key[KEY_BYTES])
{
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_oid oid;

	/* 48 digits; the rest of what an object id would have is made up. */
	if (strlen(id) != BOLE_LFS_LOCK_ID_MAX - 1)
		return false;
	snprintf(hex, sizeof hex, "%s%016d", id, 0);
	if (bole_oid_parse(hex, BOLE_OID_HEX_MAX, BOLE_HASH_SHA256, &oid) != BOLE_OK)
		return false;
	memcpy(key, oid.bytes, KEY_BYTES);
	return true;
}

static enum bole_status decode(const uint8_t *key, const uint8_t *p, size_t len,
                               struct bole_lfs_lock *out)
{
	if (len < HEAD_BYTES || p[0] != VERSION)
		return BOLE_E_CORRUPT;
	size_t owner = p[OWNER_LEN_AT];
	if (owner >= sizeof out->owner || owner > len - HEAD_BYTES ||
	    len - HEAD_BYTES - owner >= sizeof out->path)
		return BOLE_E_CORRUPT;
	size_t path = len - HEAD_BYTES - owner;
	format_id(out->id, key, bole_get_le64(p + NONCE_AT));
	out->locked_s = (int64_t)bole_get_le64(p + LOCKED_AT);
	memcpy(out->owner, p + HEAD_BYTES, owner);
	out->owner[owner] = '\0';
	memcpy(out->path, p + HEAD_BYTES + owner, path);
	out->path[path] = '\0';
	return BOLE_OK;
}

static enum bole_status get(struct bole_snapshot *view, struct bole_alloc *alloc,
                            const uint8_t *key, struct bole_lfs_lock *out)
{
	struct bole_aux_key k = key_of(key);
	uint8_t *value = NULL;
	size_t len = 0;

	BOLE_TRY(view->store->aux->get(view, &k, alloc, &value, &len));
	enum bole_status rc = decode(key, value, len, out);
	bole_alloc_free(alloc, value, len, 1);
	return rc;
}

static enum bole_status look(struct bole_store *store, uint32_t repo, struct bole_alloc *alloc,
                             const uint8_t *key, struct bole_lfs_lock *out)
{
	struct bole_snapshot *view = NULL;

	BOLE_TRY(bole_snapshot_open(store, repo, &view));
	enum bole_status rc = get(view, alloc, key, out);
	bole_snapshot_close(view);
	return rc;
}

enum bole_status bole_lfs_lock_by_path(struct bole_store *store, uint32_t repo,
                                       struct bole_alloc *alloc, const char *path,
                                       struct bole_lfs_lock *out)
{
	uint8_t key[KEY_BYTES];

	hash_path(path, key);
	return look(store, repo, alloc, key, out);
}

enum bole_status bole_lfs_lock_by_id(struct bole_store *store, uint32_t repo,
                                     struct bole_alloc *alloc, const char *id,
                                     struct bole_lfs_lock *out)
{
	uint8_t key[KEY_BYTES];

	if (!parse_id(id, key))
		return BOLE_E_NOT_FOUND;
	BOLE_TRY(look(store, repo, alloc, key, out));
	return strcmp(out->id, id) == 0 ? BOLE_OK : BOLE_E_NOT_FOUND;
}

enum bole_status bole_lfs_lock_next(struct bole_store *store, uint32_t repo,
                                    struct bole_alloc *alloc, const char *after,
                                    struct bole_lfs_lock *out)
{
	struct bole_bytes last = {NULL, 0};
	struct bole_snapshot *view = NULL;
	uint8_t bytes[KEY_BYTES];
	struct bole_bytes key;

	if (*after != '\0') {
		if (!parse_id(after, bytes))
			return BOLE_E_INVALID;
		last = bole_bytes_of(bytes, sizeof bytes);
	}
	BOLE_TRY(bole_snapshot_open(store, repo, &view));
	enum bole_status rc = store->aux->next(view, BOLE_AUX_DURABLE, LFS_KIND_LOCK, last, &key);
	if (rc == BOLE_OK && key.len != KEY_BYTES)
		rc = BOLE_E_CORRUPT;
	if (rc == BOLE_OK)
		rc = get(view, alloc, key.ptr, out);
	bole_snapshot_close(view);
	return rc;
}

/* Looking up each is what a limit costs; only who locks pays. */
static enum bole_status check_count(struct bole_snapshot *view)
{
	struct bole_bytes after = {NULL, 0};
	enum bole_status rc;

	for (unsigned count = 0; count < BOLE_LFS_LOCKS_MAX; count++) {
		rc = view->store->aux->next(view, BOLE_AUX_DURABLE, LFS_KIND_LOCK, after, &after);
		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_OK : rc;
	}
	return BOLE_E_LIMIT;
}

static enum bole_status stage(struct bole_tx *tx, const uint8_t *key, struct bole_lfs_lock *lock,
                              uint64_t nonce)
{
	struct bole_aux_key k = key_of(key);
	size_t owner = strlen(lock->owner);
	size_t path = strlen(lock->path);
	uint8_t value[VALUE_MAX];

	value[0] = VERSION;
	bole_put_le64(value + NONCE_AT, nonce);
	bole_put_le64(value + LOCKED_AT, (uint64_t)lock->locked_s);
	value[OWNER_LEN_AT] = (uint8_t)owner;
	memcpy(value + HEAD_BYTES, lock->owner, owner);
	memcpy(value + HEAD_BYTES + owner, lock->path, path);
	format_id(lock->id, key, nonce);
	return tx->store->aux->put(tx, &k, bole_bytes_of(value, HEAD_BYTES + owner + path));
}

enum bole_status bole_lfs_lock_create(struct bole_platform *platform, struct bole_alloc *alloc,
                                      struct bole_store *store, uint32_t repo,
                                      struct bole_lfs_lock *lock)
{
	struct bole_tx *tx = NULL;
	uint8_t key[KEY_BYTES];
	uint64_t nonce;
	size_t failed;

	if (lock->path[0] == '\0')
		return BOLE_E_INVALID;
	hash_path(lock->path, key);
	BOLE_TRY(bole_tx_begin(store, repo, &tx));
	enum bole_status rc = get(tx->view, alloc, key, lock);
	if (rc == BOLE_OK)
		rc = BOLE_E_EXISTS;
	else if (rc == BOLE_E_NOT_FOUND)
		rc = check_count(tx->view);
	if (rc == BOLE_OK) {
		if (platform->ops->wall_s(platform, &lock->locked_s) != BOLE_OK)
			lock->locked_s = 0;
		platform->ops->random(platform, &nonce, sizeof nonce);
		rc = stage(tx, key, lock, nonce);
	}
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

enum bole_status bole_lfs_lock_remove(struct bole_store *store, uint32_t repo,
                                      struct bole_alloc *alloc, const char *id)
{
	static const struct bole_bytes none = {NULL, 0};
	struct bole_lfs_lock *lock;
	struct bole_tx *tx = NULL;
	uint8_t key[KEY_BYTES];
	size_t failed;

	if (!parse_id(id, key))
		return BOLE_E_NOT_FOUND;
	lock = bole_alloc_array(alloc, 1, sizeof *lock);
	if (lock == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = bole_tx_begin(store, repo, &tx);
	if (rc == BOLE_OK)
		rc = get(tx->view, alloc, key, lock);
	if (rc == BOLE_OK && strcmp(lock->id, id) != 0)
		rc = BOLE_E_NOT_FOUND;
	bole_alloc_free(alloc, lock, 1, sizeof *lock);
	struct bole_aux_key k = key_of(key);
	if (rc == BOLE_OK)
		rc = store->aux->put(tx, &k, none);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}
