/* SPDX-License-Identifier: ISC */
#include "git/promise.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"
#include "bole/aux.h"
#include "bole/store.h"
#include "git/fsck/fsck.h"
#include "git/negotiate.h"
#include "git/object/object.h"

enum {
	KIND_IDS = BOLE_AUX_KIND_BINDING | BOLE_AUX_KIND_PARTIAL | 1,
	KIND_ORIGIN = BOLE_AUX_KIND_BINDING | BOLE_AUX_KIND_PARTIAL | 2,
	KIND_SPECIAL = BOLE_AUX_KIND_BINDING | BOLE_AUX_KIND_PARTIAL | 3,
	SPECIAL_MAX = BOLE_FSCK_MODULES | BOLE_FSCK_ATTRIBUTES,
	VERSION = 1,
	/* Of a record of ids: version, what they are (a type; of special ones fsck's kinds), two
	 * zeros, the ids in order. */
	WHAT_AT = 1,
	HEAD_BYTES = 4,
	NUMBER_AT = 8, /* in a key, behind 8 random bytes */
	KEY_BYTES = 10,
	IDS_MAX = 16 * 1024, /* of one record */
	/* Of the origin: version, mixed (0, 1), bytes of the URL (u16), of the filter (u16), both.
	 */
	MIXED_AT = 1,
	URL_BYTES_AT = 2,
	FILTER_BYTES_AT = 4,
	ORIGIN_HEAD_BYTES = 6,
	YIELD_EVERY = 1024,
	RECORDS_FEW = 16, /* that are not worth making fewer of */
};

static const uint8_t origin_key_byte = 0;

static struct bole_aux_key origin_key(void)
{
	return (struct bole_aux_key){BOLE_AUX_DURABLE, KIND_ORIGIN,
	                             bole_bytes_of(&origin_key_byte, 1)};
}

/* -- The origin -- */

static enum bole_status take_origin(const uint8_t *value, size_t len, struct bole_origin *out)
{
	if (len < ORIGIN_HEAD_BYTES || value[0] != VERSION)
		return BOLE_E_CORRUPT;
	size_t url = bole_get_le16(value + URL_BYTES_AT);
	size_t filter = bole_get_le16(value + FILTER_BYTES_AT);

	if (url > BOLE_ORIGIN_URL_MAX || filter > BOLE_ORIGIN_FILTER_MAX ||
	    url + filter != len - ORIGIN_HEAD_BYTES)
		return BOLE_E_CORRUPT;
	/* They are shown, and go into files. */
	for (size_t i = ORIGIN_HEAD_BYTES; i < len; i++)
		if (value[i] < ' ' || value[i] == 0x7f)
			return BOLE_E_CORRUPT;
	memcpy(out->url, value + ORIGIN_HEAD_BYTES, url);
	out->url[url] = '\0';
	memcpy(out->filter, value + ORIGIN_HEAD_BYTES + url, filter);
	out->filter[filter] = '\0';
	out->mixed = value[MIXED_AT] != 0;
	out->there = true;
	return BOLE_OK;
}

enum bole_status bole_origin_load(struct bole_snapshot *view, struct bole_alloc *alloc,
                                  struct bole_origin *out)
{
	const struct bole_aux_ops *aux = view->store->aux;
	const struct bole_aux_key key = origin_key();
	uint8_t *value;
	size_t len;

	out->there = out->mixed = false;
	out->url[0] = out->filter[0] = '\0';
	enum bole_status rc =
	        aux == NULL ? BOLE_E_NOT_FOUND : aux->get(view, &key, alloc, &value, &len);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
	rc = take_origin(value, len, out);
	bole_alloc_free(alloc, value, len, 1);
	return rc;
}

enum bole_status bole_origin_stage(const struct bole_origin *origin, struct bole_alloc *alloc,
                                   struct bole_tx *tx)
{
	const struct bole_aux_key key = origin_key();
	uint8_t head[ORIGIN_HEAD_BYTES] = {VERSION};
	size_t url = strlen(origin->url);
	size_t filter = strlen(origin->filter);
	struct bole_buffer value;

	if (tx->store->aux == NULL)
		return BOLE_E_UNSUPPORTED;
	head[MIXED_AT] = origin->mixed;
	bole_put_le16(head + URL_BYTES_AT, (uint16_t)url);
	bole_put_le16(head + FILTER_BYTES_AT, (uint16_t)filter);
	bole_buffer_init(&value, alloc, SIZE_MAX);
	bole_buffer_append(&value, head, sizeof head);
	bole_buffer_append(&value, origin->url, url);
	bole_buffer_append(&value, origin->filter, filter);
	enum bole_status rc = value.rc;
	if (rc == BOLE_OK)
		rc = tx->store->aux->put(tx, &key, bole_bytes_of(value.ptr, value.len));
	bole_buffer_release(&value);
	return rc;
}

/* -- Reading promises -- */

enum bole_status bole_promise_any(struct bole_snapshot *view, bool *out)
{
	const struct bole_aux_ops *aux = view->store->aux;
	static const uint16_t kinds[] = {KIND_ORIGIN, KIND_IDS};

	*out = false;
	for (size_t i = 0; aux != NULL && i < sizeof kinds / sizeof kinds[0] && !*out; i++) {
		struct bole_bytes key = {NULL, 0};
		enum bole_status rc = aux->next(view, BOLE_AUX_DURABLE, kinds[i], key, &key);

		*out = rc == BOLE_OK;
		if (rc != BOLE_END)
			BOLE_TRY(rc);
	}
	return BOLE_OK;
}

static bool may_be(uint16_t kind, uint8_t what)
{
	return kind == KIND_IDS ? what == BOLE_OBJECT_TREE || what == BOLE_OBJECT_BLOB
	                        : what > 0 && what <= SPECIAL_MAX;
}

/* A record that reads; the caller frees it. */
static enum bole_status get(struct bole_snapshot *view, struct bole_alloc *alloc, uint16_t kind,
                            struct bole_bytes key, uint8_t **value, size_t *len)
{
	const struct bole_aux_key k = {BOLE_AUX_DURABLE, kind, key};
	size_t width = bole_hash_bytes(view->repo.algo);

	BOLE_TRY(view->store->aux->get(view, &k, alloc, value, len));
	if (*len >= HEAD_BYTES && (*value)[0] == VERSION && (*len - HEAD_BYTES) % width == 0 &&
	    may_be(kind, (*value)[WHAT_AT]))
		return BOLE_OK;
	bole_alloc_free(alloc, *value, *len, 1);
	return BOLE_E_CORRUPT;
}

static bool search(const uint8_t *ids, size_t count, size_t width, const uint8_t *id)
{
	size_t low = 0;
	size_t high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(ids + middle * width, id, width);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

enum bole_status bole_promise_one(struct bole_snapshot *view, struct bole_alloc *alloc,
                                  const struct bole_oid *oid, uint8_t *type)
{
	const struct bole_aux_ops *aux = view->store->aux;
	size_t width = bole_hash_bytes(view->repo.algo);
	struct bole_bytes key = {NULL, 0};
	enum bole_status rc;

	if (aux == NULL)
		return BOLE_E_NOT_FOUND;
	while ((rc = aux->next(view, BOLE_AUX_DURABLE, KIND_IDS, key, &key)) == BOLE_OK) {
		uint8_t *value;
		size_t len;

		BOLE_TRY(get(view, alloc, KIND_IDS, key, &value, &len));
		bool found =
		        search(value + HEAD_BYTES, (len - HEAD_BYTES) / width, width, oid->bytes);
		*type = value[WHAT_AT];
		bole_alloc_free(alloc, value, len, 1);
		if (found)
			return BOLE_OK;
	}
	return rc == BOLE_END ? BOLE_E_NOT_FOUND : rc;
}

void bole_promises_init(struct bole_promises *p, struct bole_platform *platform,
                        struct bole_alloc *alloc, struct bole_snapshot *view)
{
	*p = (struct bole_promises){.platform = platform, .alloc = alloc, .view = view};
	bole_oid_map_init(&p->ids, platform, alloc, view->repo.algo, sizeof(uint32_t));
}

void bole_promises_release(struct bole_promises *p)
{
	if (p->platform != NULL)
		bole_oid_map_release(&p->ids);
	*p = (struct bole_promises){.platform = NULL};
}

static enum bole_status take(struct bole_promises *p, const uint8_t *value, size_t len)
{
	size_t width = bole_hash_bytes(p->view->repo.algo);
	uint32_t type = value[WHAT_AT];
	uint32_t item;
	bool added;

	for (size_t at = HEAD_BYTES; at < len; at += width) {
		BOLE_TRY(bole_oid_map_put(&p->ids, value + at, &item, &added));
		/* Two at once may have been told different things; an object that comes decides.
		 */
		if (added)
			*(uint32_t *)bole_oid_map_value(&p->ids, item) = type;
		if (p->ids.count > BOLE_PROMISES_MAX)
			return BOLE_E_LIMIT;
		if (at / width % YIELD_EVERY == 0)
			p->platform->ops->yield(p->platform);
	}
	return BOLE_OK;
}

enum bole_status bole_promises_load(struct bole_promises *p)
{
	const struct bole_aux_ops *aux = p->view->store->aux;
	struct bole_bytes key = {NULL, 0};
	enum bole_status rc;

	if (p->loaded || aux == NULL)
		return BOLE_OK;
	while ((rc = aux->next(p->view, BOLE_AUX_DURABLE, KIND_IDS, key, &key)) == BOLE_OK) {
		uint8_t *value;
		size_t len;

		BOLE_TRY(get(p->view, p->alloc, KIND_IDS, key, &value, &len));
		rc = take(p, value, len);
		bole_alloc_free(p->alloc, value, len, 1);
		BOLE_TRY(rc);
		p->records++;
	}
	p->loaded = rc == BOLE_END;
	return p->loaded ? BOLE_OK : rc;
}

enum bole_status bole_promises_find(struct bole_promises *p, const struct bole_oid *oid,
                                    uint8_t type)
{
	BOLE_TRY(bole_promises_load(p));
	uint32_t item = bole_oid_map_find(&p->ids, oid->bytes);

	if (item == BOLE_OID_NONE)
		return BOLE_E_NOT_FOUND;
	const uint32_t *held = bole_oid_map_value(&p->ids, item);

	return type == 0 || *held == type ? BOLE_OK : BOLE_E_NOT_FOUND;
}

static enum bole_status take_special(struct bole_oid_map *map, const uint8_t *value, size_t len,
                                     size_t width)
{
	uint32_t item;
	bool added;

	for (size_t at = HEAD_BYTES; at < len; at += width) {
		BOLE_TRY(bole_oid_map_put(map, value + at, &item, &added));
		uint32_t *kinds = bole_oid_map_value(map, item);

		*kinds = (added ? 0 : *kinds) | value[WHAT_AT];
		if (map->count > BOLE_PROMISES_MAX)
			return BOLE_E_LIMIT;
	}
	return BOLE_OK;
}

enum bole_status bole_promise_special(struct bole_snapshot *view, struct bole_alloc *alloc,
                                      struct bole_oid_map *out)
{
	const struct bole_aux_ops *aux = view->store->aux;
	size_t width = bole_hash_bytes(view->repo.algo);
	struct bole_bytes key = {NULL, 0};
	enum bole_status rc = BOLE_END;

	while (aux != NULL &&
	       (rc = aux->next(view, BOLE_AUX_DURABLE, KIND_SPECIAL, key, &key)) == BOLE_OK) {
		uint8_t *value;
		size_t len;

		BOLE_TRY(get(view, alloc, KIND_SPECIAL, key, &value, &len));
		rc = take_special(out, value, len, width);
		bole_alloc_free(alloc, value, len, 1);
		BOLE_TRY(rc);
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* -- Writing them -- */

static int compare(const void *a, const void *b)
{
	return bole_oid_compare(a, b);
}

static enum bole_status put_part(struct bole_tx *tx, struct bole_alloc *alloc, uint16_t kind,
                                 uint8_t what, const uint8_t key[KEY_BYTES],
                                 const struct bole_oid *ids, size_t count)
{
	const struct bole_aux_key k = {BOLE_AUX_DURABLE, kind, {key, KEY_BYTES}};
	const uint8_t head[HEAD_BYTES] = {VERSION, what};
	size_t width = bole_hash_bytes(tx->view->repo.algo);
	struct bole_buffer value;

	bole_buffer_init(&value, alloc, HEAD_BYTES + IDS_MAX * BOLE_OID_BYTES_MAX);
	bole_buffer_append(&value, head, sizeof head);
	for (size_t i = 0; i < count; i++)
		bole_buffer_append(&value, ids[i].bytes, width);
	enum bole_status rc = value.rc;
	if (rc == BOLE_OK)
		rc = tx->store->aux->put(tx, &k, bole_bytes_of(value.ptr, value.len));
	bole_buffer_release(&value);
	return rc;
}

static enum bole_status stage_ids(struct bole_tx *tx, struct bole_platform *platform,
                                  struct bole_alloc *alloc, uint16_t kind, uint8_t what,
                                  struct bole_oid *ids, size_t count)
{
	uint8_t key[KEY_BYTES];

	BOLE_ASSERT(may_be(kind, what));
	if (count == 0)
		return BOLE_OK;
	if (tx->store->aux == NULL)
		return BOLE_E_UNSUPPORTED;
	if (count > BOLE_PROMISES_MAX)
		return BOLE_E_LIMIT;
	BOLE_TRY(bole_sort(platform, alloc, ids, count, sizeof *ids, compare));
	platform->ops->random(platform, key, NUMBER_AT);
	for (size_t from = 0; from < count; from += IDS_MAX) {
		size_t left = count - from;

		bole_put_be16(key + NUMBER_AT, (uint16_t)(from / IDS_MAX));
		BOLE_TRY(put_part(tx, alloc, kind, what, key, ids + from,
		                  left < IDS_MAX ? left : IDS_MAX));
		platform->ops->yield(platform);
	}
	return BOLE_OK;
}

enum bole_status bole_promise_stage(struct bole_tx *tx, struct bole_platform *platform,
                                    struct bole_alloc *alloc, uint8_t type, struct bole_oid *ids,
                                    size_t count)
{
	return stage_ids(tx, platform, alloc, KIND_IDS, type, ids, count);
}

/* Those of the same kinds, in records of their own. */
static enum bole_status stage_kinds(struct bole_tx *tx, struct bole_platform *platform,
                                    struct bole_alloc *alloc, const struct bole_oid_map *special,
                                    uint32_t kinds)
{
	enum bole_status rc = BOLE_OK;
	struct bole_id_list ids;
	struct bole_oid oid;

	bole_id_list_init(&ids, platform, alloc, tx->view->repo.algo);
	for (uint32_t i = 0; i < special->count && rc == BOLE_OK; i++) {
		if (*(const uint32_t *)bole_oid_map_value(special, i) != kinds)
			continue;
		bole_oid_from_raw(bole_oid_map_key(special, i), tx->view->repo.algo, &oid);
		rc = bole_id_list_add(&ids, &oid);
	}
	if (rc == BOLE_OK)
		rc = stage_ids(tx, platform, alloc, KIND_SPECIAL, (uint8_t)kinds, ids.ids,
		               ids.count);
	bole_id_list_release(&ids);
	return rc;
}

enum bole_status bole_promise_stage_special(struct bole_tx *tx, struct bole_platform *platform,
                                            struct bole_alloc *alloc,
                                            const struct bole_oid_map *special)
{
	for (uint32_t kinds = 1; kinds <= SPECIAL_MAX; kinds++)
		BOLE_TRY(stage_kinds(tx, platform, alloc, special, kinds));
	return BOLE_OK;
}

/* -- Tidying -- */

struct tidying {
	struct bole_promises all;
	struct bole_tx *tx;
	struct bole_oid *ids; /* what is still missing: trees, then blobs */
	size_t trees;
	size_t blobs;
	uint64_t *left;
};

static enum bole_status collect(struct tidying *t, uint8_t type, struct bole_oid *ids,
                                size_t *count)
{
	struct bole_promises *p = &t->all;
	struct bole_entry entry;

	for (uint32_t i = 0; i < p->ids.count; i++) {
		const uint32_t *held = bole_oid_map_value(&p->ids, i);

		if (i % YIELD_EVERY == 0)
			p->platform->ops->yield(p->platform);
		if (*held != type)
			continue;
		bole_oid_from_raw(bole_oid_map_key(&p->ids, i), p->view->repo.algo, &ids[*count]);
		enum bole_status rc = bole_odb_find(p->view, &ids[*count], &entry);
		*count += rc == BOLE_E_NOT_FOUND;
		if (rc != BOLE_E_NOT_FOUND)
			BOLE_TRY(rc);
	}
	return BOLE_OK;
}

static enum bole_status remove_read(struct tidying *t, uint16_t kind)
{
	const struct bole_aux_ops *aux = t->tx->store->aux;
	struct bole_bytes key = {NULL, 0};
	enum bole_status rc;

	while ((rc = aux->next(t->tx->view, BOLE_AUX_DURABLE, kind, key, &key)) == BOLE_OK) {
		const struct bole_aux_key k = {BOLE_AUX_DURABLE, kind, key};

		BOLE_TRY(aux->put(t->tx, &k, bole_bytes_of(NULL, 0)));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status drop_special(struct tidying *t, struct bole_oid_map *special)
{
	struct bole_promises *p = &t->all;
	struct bole_entry entry;
	struct bole_oid oid;

	BOLE_TRY(bole_promise_special(p->view, p->alloc, special));
	for (uint32_t i = special->count; i-- > 0;) {
		bole_oid_from_raw(bole_oid_map_key(special, i), p->view->repo.algo, &oid);
		enum bole_status rc = bole_odb_find(p->view, &oid, &entry);

		if (rc == BOLE_OK)
			bole_oid_map_remove(special, i);
		else if (rc != BOLE_E_NOT_FOUND)
			return rc;
	}
	BOLE_TRY(remove_read(t, KIND_SPECIAL));
	return bole_promise_stage_special(t->tx, p->platform, p->alloc, special);
}

static enum bole_status rewrite_special(struct tidying *t)
{
	struct bole_promises *p = &t->all;
	struct bole_oid_map special;

	bole_oid_map_init(&special, p->platform, p->alloc, p->view->repo.algo, sizeof(uint32_t));
	enum bole_status rc = drop_special(t, &special);
	bole_oid_map_release(&special);
	return rc;
}

static enum bole_status rewrite(struct tidying *t)
{
	struct bole_promises *p = &t->all;

	BOLE_TRY(rewrite_special(t));
	BOLE_TRY(remove_read(t, KIND_IDS));
	BOLE_TRY(bole_promise_stage(t->tx, p->platform, p->alloc, BOLE_OBJECT_TREE, t->ids,
	                            t->trees));
	return bole_promise_stage(t->tx, p->platform, p->alloc, BOLE_OBJECT_BLOB, t->ids + t->trees,
	                          t->blobs);
}

/* Stages what is to change; *changed: it is worth a commit. */
static enum bole_status stage(struct tidying *t, bool keep_origin, bool *changed)
{
	const struct bole_aux_key key = origin_key();
	struct bole_promises *p = &t->all;
	struct bole_origin origin;

	BOLE_TRY(collect(t, BOLE_OBJECT_TREE, t->ids, &t->trees));
	BOLE_TRY(collect(t, BOLE_OBJECT_BLOB, t->ids + t->trees, &t->blobs));
	*t->left = t->trees + t->blobs;
	*changed = *t->left < p->ids.count || p->records > RECORDS_FEW + *t->left / (IDS_MAX / 2);
	if (*changed)
		BOLE_TRY(rewrite(t));
	BOLE_TRY(bole_origin_load(t->tx->view, p->alloc, &origin));
	if (*t->left > 0 || !origin.there || (keep_origin && origin.filter[0] != '\0'))
		return BOLE_OK;
	*changed = true;
	return t->tx->store->aux->put(t->tx, &key, bole_bytes_of(NULL, 0));
}

static enum bole_status tidy(struct tidying *t, bool keep_origin)
{
	bool changed = false;
	size_t failed;

	BOLE_TRY(bole_promises_load(&t->all));
	size_t cap = (size_t)t->all.ids.count + 1;
	struct bole_alloc *alloc = t->all.alloc;
	t->ids = bole_alloc_array(alloc, cap, sizeof *t->ids);
	if (t->ids == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = stage(t, keep_origin, &changed);
	bole_alloc_free(alloc, t->ids, cap, sizeof *t->ids);
	if (rc != BOLE_OK || !changed)
		return rc;
	/* Nothing may look at the view once the transaction ends. */
	bole_promises_release(&t->all);
	rc = bole_tx_commit(t->tx, NULL, 0, &failed);
	t->tx = NULL;
	return rc;
}

enum bole_status bole_promises_tidy(struct bole_platform *platform, struct bole_alloc *alloc,
                                    struct bole_store *store, uint32_t repo, bool keep_origin,
                                    uint64_t *left)
{
	struct tidying t = {.left = left};
	bool any;

	*left = 0;
	BOLE_TRY(bole_tx_begin(store, repo, &t.tx));
	enum bole_status rc = bole_promise_any(t.tx->view, &any);
	if (rc == BOLE_OK && any) {
		bole_promises_init(&t.all, platform, alloc, t.tx->view);
		rc = tidy(&t, keep_origin);
		bole_promises_release(&t.all);
	}
	bole_tx_abort(t.tx);
	return rc;
}
