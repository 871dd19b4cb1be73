/* SPDX-License-Identifier: ISC */
#include "git/boundary.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "bole/store.h"

enum {
	KIND = BOLE_AUX_KIND_BINDING | 1,
	VERSION = 1,
	HEAD_BYTES = 4, /* version, three zeros */
	NUMBER_AT = 8,  /* in a key, behind 8 random bytes */
	KEY_BYTES = 10,
	IDS_MAX = 16 * 1024, /* of one record */
};

void bole_boundary_init(struct bole_boundary *b, struct bole_platform *platform,
                        struct bole_alloc *alloc, uint8_t algo)
{
	*b = (struct bole_boundary){.platform = platform};
	bole_id_list_init(&b->ends, platform, alloc, algo);
}

void bole_boundary_release(struct bole_boundary *b)
{
	if (b->platform != NULL)
		bole_id_list_release(&b->ends);
}

/* -- Reading -- */

static enum bole_status take_id(struct bole_boundary *b, struct bole_snapshot *view,
                                const uint8_t *raw)
{
	struct bole_entry entry;
	struct bole_oid oid;

	bole_oid_from_raw(raw, view->repo.algo, &oid);
	enum bole_status rc = bole_odb_find(view, &oid, &entry);
	if (rc == BOLE_E_NOT_FOUND) {
		b->stale = true;
		return BOLE_OK;
	}
	if (rc == BOLE_OK && entry.type != BOLE_OBJECT_COMMIT)
		return BOLE_E_CORRUPT;
	return rc == BOLE_OK ? bole_id_list_add_once(&b->ends, &oid, BOLE_BOUNDARY_MAX) : rc;
}

static enum bole_status load_one(struct bole_boundary *b, struct bole_snapshot *view,
                                 struct bole_bytes key)
{
	const struct bole_aux_key k = {BOLE_AUX_DURABLE, KIND, key};
	size_t width = bole_hash_bytes(view->repo.algo);
	uint8_t *value;
	size_t len;

	BOLE_TRY(view->store->aux->get(view, &k, b->ends.alloc, &value, &len));
	enum bole_status rc = len < HEAD_BYTES || value[0] != VERSION ||
	                                      (len - HEAD_BYTES) % width != 0 ||
	                                      key.len != KEY_BYTES
	                              ? BOLE_E_CORRUPT
	                              : BOLE_OK;
	for (size_t at = HEAD_BYTES; rc == BOLE_OK && at < len; at += width) {
		rc = take_id(b, view, value + at);
		if (at / width % 256 == 255)
			b->platform->ops->yield(b->platform);
	}
	bole_alloc_free(b->ends.alloc, value, len, 1);
	return rc;
}

enum bole_status bole_boundary_load(struct bole_boundary *b, struct bole_snapshot *view)
{
	const struct bole_aux_ops *aux = view->store->aux;
	struct bole_alloc *alloc = b->ends.alloc;
	struct bole_bytes key = {NULL, 0};
	enum bole_status rc;

	bole_boundary_release(b);
	bole_boundary_init(b, b->platform, alloc, view->repo.algo);
	if (aux == NULL)
		return BOLE_OK;
	while ((rc = aux->next(view, BOLE_AUX_DURABLE, KIND, key, &key)) == BOLE_OK)
		BOLE_TRY(load_one(b, view, key));
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_boundary_any(struct bole_snapshot *view, bool *out)
{
	struct bole_bytes key = {NULL, 0};
	enum bole_status rc =
	        view->store->aux == NULL
	                ? BOLE_END
	                : view->store->aux->next(view, BOLE_AUX_DURABLE, KIND, key, &key);

	*out = rc == BOLE_OK;
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* -- Writing -- */

static enum bole_status put_part(const struct bole_boundary *b, struct bole_tx *tx,
                                 uint8_t key[KEY_BYTES], size_t from, size_t count)
{
	const struct bole_aux_key k = {BOLE_AUX_DURABLE, KIND, {key, KEY_BYTES}};
	size_t width = bole_hash_bytes(tx->view->repo.algo);
	struct bole_buffer value;

	bole_put_be16(key + NUMBER_AT, (uint16_t)(from / IDS_MAX));
	bole_buffer_init(&value, b->ends.alloc, HEAD_BYTES + IDS_MAX * BOLE_OID_BYTES_MAX);
	bole_buffer_byte(&value, VERSION);
	for (size_t i = 1; i < HEAD_BYTES; i++)
		bole_buffer_byte(&value, 0);
	for (size_t i = 0; i < count; i++)
		bole_buffer_append(&value, b->ends.ids[from + i].bytes, width);
	enum bole_status rc = value.rc;
	if (rc == BOLE_OK)
		rc = tx->store->aux->put(tx, &k, bole_bytes_of(value.ptr, value.len));
	bole_buffer_release(&value);
	return rc;
}

static enum bole_status remove_all(struct bole_tx *tx)
{
	const struct bole_aux_ops *aux = tx->store->aux;
	struct bole_bytes key = {NULL, 0};
	enum bole_status rc;

	while ((rc = aux->next(tx->view, BOLE_AUX_DURABLE, KIND, key, &key)) == BOLE_OK) {
		const struct bole_aux_key k = {BOLE_AUX_DURABLE, KIND, key};

		BOLE_TRY(aux->put(tx, &k, bole_bytes_of(NULL, 0)));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_boundary_stage(const struct bole_boundary *b, struct bole_tx *tx)
{
	uint8_t key[KEY_BYTES];

	BOLE_TRY(remove_all(tx));
	b->platform->ops->random(b->platform, key, NUMBER_AT);
	for (size_t from = 0; from < b->ends.count; from += IDS_MAX) {
		size_t left = b->ends.count - from;

		BOLE_TRY(put_part(b, tx, key, from, left < IDS_MAX ? left : IDS_MAX));
	}
	return BOLE_OK;
}

enum bole_status bole_boundary_tidy(struct bole_platform *platform, struct bole_alloc *alloc,
                                    struct bole_store *store, uint32_t repo)
{
	struct bole_boundary b;
	struct bole_tx *tx = NULL;
	size_t failed;

	BOLE_TRY(bole_tx_begin(store, repo, &tx));
	bole_boundary_init(&b, platform, alloc, tx->view->repo.algo);
	enum bole_status rc = bole_boundary_load(&b, tx->view);
	bool stale = b.stale;
	if (rc == BOLE_OK && stale)
		rc = bole_boundary_stage(&b, tx);
	bole_boundary_release(&b);
	if (rc != BOLE_OK || !stale) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}
