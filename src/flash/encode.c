/* SPDX-License-Identifier: ISC */
/* From a request to records. Everything that may fail for want of memory or space, and every
 * compare, comes before the first byte goes into the batch: after that only the device can fail. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/auxtable.h"
#include "flash/batch.h"
#include "flash/tx.h"

enum { REFS_BYTES = 32 << 10 };

/* What a commit will become; kept until it is in the batch. */
struct draft {
	struct flash_table *refs;
	struct flash_table *aux;
	struct flash_index *index;
	struct flash_rows *run; /* owned by index once that exists */
	uint8_t *body;          /* room for the longest EXTENT record */
	size_t body_cap;
	uint32_t fresh; /* puts that are not duplicates */
	uint64_t bytes;
	uint32_t longest;
};

static struct flash_table *refs_now(const struct flash_repo *repo)
{
	return repo->draft_refs != NULL ? repo->draft_refs : repo->reftable;
}

static struct flash_table *aux_now(const struct flash_repo *repo)
{
	return repo->draft_aux != NULL ? repo->draft_aux : repo->auxtable;
}

static struct flash_index *index_now(const struct flash_domain *domain)
{
	return domain->draft != NULL ? domain->draft : domain->index;
}

static void draft_body_free(struct flash_volume *v, struct draft *d)
{
	bole_alloc_free(v->alloc, d->body, d->body_cap, 1);
	d->body = NULL;
}

static void draft_drop(struct flash_volume *v, struct draft *d)
{
	draft_body_free(v, d);
	bole_flash_table_release(&v->plain, d->refs);
	bole_flash_table_release(&v->aux, d->aux);
	if (d->index != NULL)
		bole_flash_index_drop(v, d->index);
	else
		bole_flash_rows_release(v->alloc, d->run);
}

static void need(struct draft *d, uint64_t bytes)
{
	d->bytes += bytes;
	if (bytes > d->longest)
		d->longest = (uint32_t)bytes;
}

/* -- Aux -- */

static uint32_t part_bytes(const struct flash_volume *v)
{
	return v->record_max / 2;
}

static uint32_t parts_of(const struct flash_volume *v, uint32_t total)
{
	return total == 0 ? 1 : (total + part_bytes(v) - 1) / part_bytes(v);
}

/* What is prepared keeps removals as items without a place: they remove when it is published. */
static enum bole_status draft_aux(struct flash_volume *v, struct flash_tx *tx, struct draft *d,
                                  bool prepare)
{
	uint8_t value[AUX_VALUE_HEAD + AUX_VALUE_PART * 512];

	for (uint32_t i = 0; i < tx->auxwrites; i++) {
		const struct flash_aux_write *w = &tx->auxwrite[i];
		struct bole_bytes key = {w->bytes, w->key_len};
		uint32_t parts = w->remove ? 1 : parts_of(v, w->value_len);
		BOLE_ASSERT(parts <= 512);
		uint64_t head = RECORD_HEAD_BYTES + AUX_HEAD_BYTES + w->key_len;
		for (uint32_t part = 0; part < parts; part++)
			need(d,
			     head + (w->value_len < part_bytes(v) ? w->value_len : part_bytes(v)));
		if (w->remove && !prepare) {
			BOLE_TRY(bole_flash_table_remove(&v->aux, &d->aux, key));
			continue;
		}
		size_t len = bole_flash_aux_value(value, w->value_len, parts);
		BOLE_TRY(bole_flash_table_set(&v->aux, &d->aux, key, bole_bytes_of(value, len)));
	}
	return BOLE_OK;
}

static enum bole_status write_aux(struct flash_volume *v, const struct flash_aux_write *w,
                                  uint32_t repo, uint8_t flags, struct flash_table *table)
{
	uint8_t head[AUX_HEAD_BYTES];
	uint32_t parts = w->remove ? 0 : parts_of(v, w->value_len);
	struct bole_bytes key = {w->bytes, w->key_len};
	struct flash_record r = {.kind = FLASH_RECORD_AUX, .flags = flags, .owner = repo};
	const struct flash_item *item = bole_flash_table_find(table, key);

	for (uint32_t i = 0; i == 0 || i < parts; i++) {
		uint32_t from = i * part_bytes(v);
		uint32_t len =
		        w->value_len - from < part_bytes(v) ? w->value_len - from : part_bytes(v);
		memset(head, 0, sizeof head);
		head[AUX_CLASS_AT] = w->bytes[0];
		head[AUX_KEY_BYTES_AT] = (uint8_t)(w->key_len - AUX_KEY_HEAD);
		bole_put_le16(head + AUX_KIND_AT, bole_get_be16(w->bytes + 1));
		bole_put_le16(head + AUX_PART_AT, (uint16_t)i);
		bole_put_le16(head + AUX_PARTS_AT, (uint16_t)parts);
		bole_put_le32(head + AUX_TOTAL_AT, w->value_len);
		struct bole_bytes piece[] = {
		        {head, sizeof head},
		        {w->bytes + AUX_KEY_HEAD, w->key_len - AUX_KEY_HEAD},
		        {w->bytes + w->key_len + from, len},
		};
		struct flash_aux_part part = {
		        .bytes = (uint32_t)(RECORD_HEAD_BYTES + piece[0].len + piece[1].len + len)};
		BOLE_TRY(bole_flash_batch_add(v, &r, piece, 3, &part.segment, &part.offset));
		if (parts == 0)
			continue;
		/* The draft is ours alone, and the item was made with room for its places. */
		uint8_t *value = (uint8_t *)(uintptr_t)bole_flash_item_value(item).ptr;
		bole_flash_aux_set_part(value, i, &part);
		bole_flash_lock(v);
		bole_flash_live_add(v, part.segment, part.bytes);
		bole_flash_unlock(v);
	}
	return BOLE_OK;
}

/* -- References -- */

static void need_refs(struct draft *d, const struct bole_ref_update *u, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += bole_flash_ref_encoded(&u[i]);
	for (uint64_t done = 0; done < bytes; done += REFS_BYTES / 8)
		need(d, RECORD_HEAD_BYTES + REFS_BYTES / 8);
	if (bytes != 0)
		need(d, RECORD_HEAD_BYTES + REF_HEAD_BYTES + 2 * BOLE_REF_NAME_MAX);
}

static enum bole_status write_refs(struct flash_volume *v, uint32_t repo, uint8_t algo,
                                   const struct flash_table *old, const struct bole_ref_update *u,
                                   size_t count)
{
	/* One record holds a few updates: short enough for the smallest segment. */
	uint8_t buf[REFS_BYTES / 8];
	struct flash_record r = {.kind = FLASH_RECORD_REFS, .owner = repo};
	size_t len = 0;

	for (size_t i = 0; i <= count; i++) {
		size_t more = i < count ? bole_flash_ref_encoded(&u[i]) : sizeof buf;
		if (len != 0 && len + more > sizeof buf) {
			struct bole_bytes piece = {buf, len};
			BOLE_TRY(bole_flash_batch_add(v, &r, &piece, 1, NULL, NULL));
			len = 0;
		}
		if (i < count)
			len += bole_flash_ref_encode(&u[i], old, algo, buf + len);
	}
	return BOLE_OK;
}

/* -- Objects and extents -- */

static enum bole_status draft_objects(struct flash_volume *v, struct flash_request *req,
                                      struct draft *d)
{
	struct flash_tx *tx = req->tx;
	struct flash_domain *domain = tx->repo->domain;
	const struct flash_index *index = index_now(domain);
	struct flash_home home;
	struct flash_extent *extent;
	uint32_t row;

	for (uint32_t i = 0; i < tx->puts; i++) {
		struct flash_put *put = &tx->put[i];
		put->duplicate =
		        req->kind == FLASH_REQUEST_COMMIT &&
		        bole_flash_index_find(index, put->key, &home, &extent, &row) == BOLE_OK;
		if (put->duplicate)
			continue;
		d->fresh++;
		need(d, bole_flash_record_live(domain->key_len, put->stored));
	}
	for (uint32_t i = 0; i < tx->extents; i++) {
		size_t body = bole_flash_extent_body(tx->extent[i], NULL);
		need(d, RECORD_HEAD_BYTES + body);
		d->body_cap = body > d->body_cap ? body : d->body_cap;
	}
	if (d->body_cap != 0)
		d->body = bole_alloc_array(v->alloc, d->body_cap, 1);
	if (d->body_cap != 0 && d->body == NULL)
		return BOLE_E_NO_MEMORY;
	if (d->fresh != 0) {
		d->run = bole_flash_rows_open(v->alloc, domain->key_len, d->fresh);
		if (d->run == NULL)
			return BOLE_E_NO_MEMORY;
	}
	if (req->kind != FLASH_REQUEST_COMMIT || (d->run == NULL && tx->extents == 0))
		return BOLE_OK;
	BOLE_TRY(bole_flash_index_extend(v->alloc, domain, index, d->run, tx->extent, tx->extents,
	                                 &d->index));
	for (uint32_t i = 0; i < tx->extents; i++)
		atomic_fetch_add_explicit(&tx->extent[i]->refs, 1, memory_order_relaxed);
	return BOLE_OK;
}

static enum bole_status write_extent(struct flash_volume *v, const struct flash_extent *e,
                                     uint8_t flags, uint8_t *body)
{
	struct flash_record r = {.kind = FLASH_RECORD_EXTENT, .flags = flags, .owner = e->domain};
	struct bole_bytes piece = {body, bole_flash_extent_body(e, body)};

	return bole_flash_batch_add(v, &r, &piece, 1, NULL, NULL);
}

static enum bole_status write_objects(struct flash_volume *v, struct flash_tx *tx, uint8_t flags,
                                      const struct draft *d)
{
	struct flash_rows *run = d->run;
	struct flash_domain *domain = tx->repo->domain;
	uint32_t at = 0;

	for (uint32_t i = 0; i < tx->extents; i++)
		BOLE_TRY(write_extent(v, tx->extent[i], flags, d->body));
	for (uint32_t i = 0; i < tx->puts; i++) {
		struct flash_put *put = &tx->put[i];
		if (put->duplicate)
			continue;
		struct flash_record r = {
		        .kind = FLASH_RECORD_OBJECT,
		        .type = put->type,
		        .flags = flags,
		        .owner = domain->id,
		        .key = {put->key, domain->key_len},
		};
		struct bole_bytes piece = {tx->data.ptr + put->at, put->stored};
		put->home.stored = put->stored;
		put->home.type = put->type;
		BOLE_TRY(bole_flash_batch_add(v, &r, &piece, 1, &put->home.segment,
		                              &put->home.offset));
		bole_flash_rows_set(run, at++, put->key, &put->home);
		bole_flash_lock(v);
		bole_flash_live_add(v, put->home.segment,
		                    bole_flash_record_live(domain->key_len, put->stored));
		bole_flash_unlock(v);
	}
	if (run != NULL)
		bole_flash_rows_finish(run);
	return BOLE_OK;
}

/* -- Commit -- */

static enum bole_status draft_commit(struct flash_volume *v, struct flash_request *req,
                                     struct draft *d)
{
	struct flash_tx *tx = req->tx;
	struct flash_repo *repo = tx->repo;

	d->refs = bole_flash_table_retain(refs_now(repo));
	BOLE_TRY(bole_flash_refs_apply(v, &d->refs, repo->domain->algo, req->updates, req->count,
	                               &req->failed));
	if (tx->auxwrites != 0)
		d->aux = bole_flash_table_retain(aux_now(repo));
	BOLE_TRY(draft_aux(v, tx, d, false));
	BOLE_TRY(draft_objects(v, req, d));
	need_refs(d, req->updates, req->count);
	/* Only references and deletes may use the reserve. */
	bool data = d->fresh != 0 || tx->extents != 0;
	for (uint32_t i = 0; i < tx->auxwrites; i++)
		data |= !tx->auxwrite[i].remove;
	return bole_flash_batch_reserve(v, d->bytes, d->longest,
	                                data ? FLASH_FOR_DATA : FLASH_FOR_REFS);
}

static void keep_refs(struct flash_volume *v, struct flash_repo *repo, struct draft *d)
{
	if (d->refs != NULL) {
		bole_flash_table_release(&v->plain, repo->draft_refs);
		repo->draft_refs = d->refs;
	}
	if (d->aux != NULL) {
		bole_flash_table_release(&v->aux, repo->draft_aux);
		repo->draft_aux = d->aux;
	}
	if (d->index != NULL) {
		bole_flash_index_drop(v, repo->domain->draft);
		repo->domain->draft = d->index;
	}
}

static enum bole_status encode_commit(struct flash_volume *v, struct flash_request *req)
{
	struct draft d = {.refs = NULL};
	struct flash_tx *tx = req->tx;
	struct flash_repo *repo = tx->repo;

	enum bole_status rc = draft_commit(v, req, &d);
	if (rc != BOLE_OK) {
		draft_drop(v, &d);
		return rc;
	}
	struct flash_table *old = refs_now(repo);
	req->written = true;
	rc = write_objects(v, tx, 0, &d);
	for (uint32_t i = 0; i < tx->auxwrites && rc == BOLE_OK; i++) {
		const struct flash_aux_write *w = &tx->auxwrite[i];
		bole_flash_aux_superseded(
		        v,
		        bole_flash_table_find(aux_now(repo), bole_bytes_of(w->bytes, w->key_len)));
		rc = write_aux(v, w, repo->id, 0, d.aux);
	}
	if (rc == BOLE_OK)
		rc = write_refs(v, repo->id, repo->domain->algo, old, req->updates, req->count);
	keep_refs(v, repo, &d);
	draft_body_free(v, &d);
	return rc;
}

/* -- Prepare and its ends -- */

static enum bole_status draft_prepare(struct flash_volume *v, struct flash_request *req,
                                      struct draft *d, struct flash_prepared **out)
{
	struct flash_tx *tx = req->tx;
	struct flash_prepared *p = bole_alloc_zeroed(v->alloc, 1, sizeof *p);

	*out = p;
	if (p == NULL)
		return BOLE_E_NO_MEMORY;
	need(d, RECORD_HEAD_BYTES + PREPARE_BYTES);
	BOLE_TRY(draft_aux(v, tx, d, true));
	BOLE_TRY(draft_objects(v, req, d));
	if (tx->extents != 0) {
		p->extent = bole_alloc_zeroed(v->alloc, tx->extents, sizeof *p->extent);
		if (p->extent == NULL)
			return BOLE_E_NO_MEMORY;
		p->extents = tx->extents;
	}
	return bole_flash_batch_reserve(v, d->bytes, d->longest, FLASH_FOR_DATA);
}

static enum bole_status encode_prepare(struct flash_volume *v, struct flash_request *req)
{
	struct draft d = {.refs = NULL};
	struct flash_tx *tx = req->tx;
	struct flash_prepared *p;
	uint8_t body[PREPARE_BYTES] = {0};
	struct flash_record r = {.kind = FLASH_RECORD_PREPARE, .owner = tx->repo->id};
	struct bole_bytes piece = {body, sizeof body};

	enum bole_status rc = draft_prepare(v, req, &d, &p);
	if (rc != BOLE_OK) {
		draft_drop(v, &d);
		if (p != NULL)
			bole_alloc_free(v->alloc, p->extent, p->extents, sizeof *p->extent);
		bole_alloc_free(v->alloc, p, 1, sizeof *p);
		return rc;
	}
	v->platform->ops->random(v->platform, p->token.bytes, sizeof p->token.bytes);
	memcpy(body + PREPARE_TOKEN_AT, p->token.bytes, FLASH_TOKEN_BYTES);
	req->written = true;
	rc = bole_flash_batch_add(v, &r, &piece, 1, NULL, NULL);
	if (rc == BOLE_OK)
		rc = write_objects(v, tx, FLASH_FLAG_PREPARED, &d);
	for (uint32_t i = 0; i < tx->auxwrites && rc == BOLE_OK; i++)
		rc = write_aux(v, &tx->auxwrite[i], tx->repo->id, FLASH_FLAG_PREPARED, d.aux);
	for (uint32_t i = 0; i < p->extents; i++) {
		p->extent[i] = tx->extent[i];
		atomic_fetch_add_explicit(&tx->extent[i]->refs, 1, memory_order_relaxed);
	}
	atomic_fetch_add_explicit(&tx->repo->refs, 1, memory_order_relaxed);
	p->repo = tx->repo;
	p->run = d.run;
	p->aux = d.aux;
	req->token = p->token;
	req->prepared = p;
	draft_body_free(v, &d);
	return rc;
}

/* The rows of what was prepared that nobody published meanwhile. */
static enum bole_status fresh_rows(struct flash_volume *v, const struct flash_rows *run,
                                   const struct flash_index *index, struct flash_rows **out)
{
	struct flash_home home;
	struct flash_extent *extent;
	uint32_t row;
	uint32_t count = 0;

	*out = NULL;
	for (uint32_t pass = 0; pass < 2; pass++) {
		uint32_t at = 0;
		for (uint32_t i = 0; run != NULL && i < run->count; i++) {
			const uint8_t *key = bole_flash_rows_key(run, i);
			if (bole_flash_index_find(index, key, &home, &extent, &row) == BOLE_OK)
				continue;
			struct flash_home mine = bole_flash_rows_home(run, i);
			if (pass == 1)
				bole_flash_rows_set(*out, at, key, &mine);
			at++;
		}
		count = at;
		if (pass == 0 && count == 0)
			return BOLE_OK;
		if (pass == 0) {
			*out = bole_flash_rows_open(v->alloc, run->key_len, count);
			if (*out == NULL)
				return BOLE_E_NO_MEMORY;
		}
	}
	bole_flash_rows_finish(*out);
	return BOLE_OK;
}

enum bole_status bole_flash_prepared_publish(struct flash_volume *v, struct flash_prepared *p,
                                             const struct flash_index *base,
                                             struct flash_table **aux, struct flash_index **index)
{
	struct flash_rows *run;

	BOLE_TRY(fresh_rows(v, p->run, base, &run));
	if (run != NULL || p->extents != 0) {
		enum bole_status rc = bole_flash_index_extend(v->alloc, p->repo->domain, base, run,
		                                              p->extent, p->extents, index);
		if (rc != BOLE_OK) {
			bole_flash_rows_release(v->alloc, run);
			return rc;
		}
		for (uint32_t i = 0; i < p->extents; i++)
			atomic_fetch_add_explicit(&p->extent[i]->refs, 1, memory_order_relaxed);
	}
	struct bole_bytes after = {NULL, 0};
	for (const struct flash_item *item = bole_flash_table_next(p->aux, after, true);
	     item != NULL; item = bole_flash_table_next(p->aux, after, false)) {
		after = bole_flash_item_key(item);
		struct bole_bytes value = bole_flash_item_value(item);
		if (bole_flash_aux_part(value, 0).bytes == 0)
			BOLE_TRY(bole_flash_table_remove(&v->aux, aux, after));
		else
			BOLE_TRY(bole_flash_table_share(&v->aux, aux, item));
	}
	return BOLE_OK;
}

/* What the old table has for the keys of the new one. */
static void supersede(struct flash_volume *v, const struct flash_table *old,
                      const struct flash_table *new)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(new, after, true); item != NULL;
	     item = bole_flash_table_next(new, after, false)) {
		after = bole_flash_item_key(item);
		bole_flash_aux_superseded(v, bole_flash_table_find(old, after));
	}
}

static enum bole_status encode_resolve(struct flash_volume *v, struct flash_request *req,
                                       bool commit)
{
	struct draft d = {.refs = NULL};
	struct flash_tx *tx = req->tx;
	struct flash_prepared *p = tx->prepared;
	struct flash_repo *repo = tx->repo;
	uint8_t body[PREPARE_BYTES] = {0};
	struct flash_record r = {.kind = FLASH_RECORD_RESOLVE, .owner = repo->id};
	struct bole_bytes piece = {body, sizeof body};
	enum bole_status rc = BOLE_OK;

	need(&d, RECORD_HEAD_BYTES + PREPARE_BYTES);
	if (commit) {
		d.refs = bole_flash_table_retain(refs_now(repo));
		d.aux = bole_flash_table_retain(aux_now(repo));
		rc = bole_flash_refs_apply(v, &d.refs, repo->domain->algo, req->updates, req->count,
		                           &req->failed);
		if (rc == BOLE_OK)
			rc = bole_flash_prepared_publish(v, p, index_now(repo->domain), &d.aux,
			                                 &d.index);
		need_refs(&d, req->updates, req->count);
	}
	if (rc == BOLE_OK)
		rc = bole_flash_batch_reserve(v, d.bytes, d.longest, FLASH_FOR_REFS);
	if (rc != BOLE_OK) {
		draft_drop(v, &d);
		return rc;
	}
	memcpy(body + PREPARE_TOKEN_AT, p->token.bytes, FLASH_TOKEN_BYTES);
	body[RESOLVE_COMMIT_AT] = commit;
	struct flash_table *old = refs_now(repo);
	req->written = true;
	req->prepared = p;
	if (commit)
		supersede(v, aux_now(repo), p->aux);
	rc = bole_flash_batch_add(v, &r, &piece, 1, NULL, NULL);
	if (rc == BOLE_OK && commit)
		rc = write_refs(v, repo->id, repo->domain->algo, old, req->updates, req->count);
	keep_refs(v, repo, &d);
	return rc;
}

enum bole_status bole_flash_encode(struct flash_volume *v, struct flash_request *req)
{
	switch (req->kind) {
	case FLASH_REQUEST_COMMIT:
		return req->tx->prepared != NULL ? encode_resolve(v, req, true)
		                                 : encode_commit(v, req);
	case FLASH_REQUEST_PREPARE: return encode_prepare(v, req);
	case FLASH_REQUEST_DROP: return encode_resolve(v, req, false);
	case FLASH_REQUEST_CREATE:
	case FLASH_REQUEST_RENAME:
	case FLASH_REQUEST_REMOVE: return bole_flash_encode_repo(v, req);
	}
	BOLE_UNREACHABLE();
}
