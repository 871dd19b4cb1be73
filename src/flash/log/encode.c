/* SPDX-License-Identifier: ISC */
/* From a request to records. Everything that may fail for want of memory or space, and every
 * compare, comes before the first byte goes into the batch: after that only the device can fail. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/auxtable.h"
#include "flash/log/batch.h"
#include "flash/log/drop.h"
#include "flash/space/mark.h"

enum {
	PUTS_AHEAD = 8, /* whose slots are brought near */
	REFS_BYTES = 32 << 10,
	DROPS_BYTES_MAX = 64 << 20,
};

/* What a commit will become; kept until it is in the batch. */
struct draft {
	struct flash_table *refs;
	struct flash_table *aux;
	struct flash_index *index;
	struct flash_rows *run; /* of what is prepared */
	uint8_t *body;          /* room for the longest EXTENT record */
	size_t body_cap;
	struct bole_buffer drops; /* as the log lists them */
	struct bole_buffer late;  /* what the transaction itself brought before it dropped it */
	uint32_t fresh;           /* puts that are not duplicates */
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

static void drops_free(struct draft *d)
{
	bole_buffer_release(&d->drops);
	bole_buffer_release(&d->late);
}

static void draft_drop(struct flash_volume *v, struct draft *d)
{
	draft_body_free(v, d);
	drops_free(d);
	bole_flash_table_release(&v->plain, d->refs);
	bole_flash_table_release(&v->aux, d->aux);
	bole_flash_index_drop(v, d->index);
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
		bole_flash_live_draft(v, part.segment, part.bytes, 0);
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

/* -- Drops -- */

static enum bole_status draft_index(struct flash_volume *v, struct flash_domain *domain,
                                    struct draft *d)
{
	return d->index != NULL ? BOLE_OK
	                        : bole_flash_index_fork(v, domain, index_now(domain), &d->index);
}

static enum bole_status draft_drops(struct flash_volume *v, const struct flash_tx *tx,
                                    struct draft *d, bool late)
{
	struct bole_buffer *out = late ? &d->late : &d->drops;
	uint32_t longest;

	if (tx->drops == NULL || tx->drops->items == 0)
		return BOLE_OK;
	bole_buffer_init(out, v->alloc, DROPS_BYTES_MAX);
	BOLE_TRY(draft_index(v, tx->repo->domain, d));
	BOLE_TRY(late ? bole_flash_drops_late(v, tx, d->index, out)
	              : bole_flash_drops_draft(v, tx, d->index, out));
	uint64_t bytes = bole_flash_drops_bytes(out, &longest);
	need(d, longest);
	d->bytes += bytes - longest;
	return BOLE_OK;
}

/* Others would wait while it is looked up again what the transaction relies on. */
static bool turned_away(const struct flash_request *req)
{
	return !req->insists && bole_flash_tx_is_stale(req->tx, index_now(req->tx->repo->domain));
}

/* What is prepared names ids only: their rows are looked up when it is committed. */
static void need_prepared_drops(const struct flash_tx *tx, struct draft *d)
{
	for (uint64_t i = 0; tx->drops != NULL && i < tx->drops->items; i++)
		need(d, RECORD_HEAD_BYTES + tx->repo->domain->key_len + (uint64_t)1);
}

static enum bole_status write_prepared_drops(struct flash_volume *v, const struct flash_tx *tx)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(tx->drops, after, true);
	     item != NULL; item = bole_flash_table_next(tx->drops, after, false)) {
		struct flash_record r = {.kind = FLASH_RECORD_DROP,
		                         .flags = FLASH_FLAG_PREPARED,
		                         .owner = tx->repo->domain->id,
		                         .key = bole_flash_item_key(item)};
		after = r.key;
		uint8_t word = bole_flash_item_value(item).ptr[0] & TX_DROP_WORDS;
		struct bole_bytes piece = {&word, 1};
		BOLE_TRY(bole_flash_batch_add(v, &r, &piece, 1, NULL, NULL));
	}
	return BOLE_OK;
}

/* -- Objects and extents -- */

/* Puts and extents that the index gets. What somebody else published meanwhile is left out. */
static enum bole_status draft_puts(struct flash_volume *v, struct flash_tx *tx, struct draft *d)
{
	const uint32_t rows = d->index->now.rows; /* of others: our own puts are distinct */
	struct flash_found found;
	enum bole_status rc;

	for (uint32_t i = 0; i < tx->puts; i++) {
		struct flash_put *put = &tx->put[i];
		if (i + PUTS_AHEAD < tx->puts && d->index->now.fresh != NULL)
			bole_flash_fresh_prefetch(d->index->now.fresh, put[PUTS_AHEAD].hash);
		if (put->dropped)
			continue;
		const struct flash_index *then = put->absent ? bole_flash_tx_seen(tx) : NULL;
		rc = bole_flash_index_find_since(v, d->index, rows, then, put->key, put->hash,
		                                 &v->reader, &found);
		put->duplicate = rc == BOLE_OK;
		if (rc == BOLE_OK)
			bole_flash_mark_note(v, tx->repo->domain, put->key);
		/* A damaged part of the index may have it; the newer record counts then. */
		if (rc == BOLE_E_NOT_FOUND || rc == BOLE_E_CORRUPT)
			rc = bole_flash_index_put_fresh(v, d->index, put->key, put->hash,
			                                put->stored, put->type, &put->row);
		BOLE_TRY(rc);
	}
	return bole_flash_index_add(v, d->index, tx->extent, tx->extents);
}

static enum bole_status draft_objects(struct flash_volume *v, struct flash_request *req,
                                      struct draft *d)
{
	struct flash_tx *tx = req->tx;
	struct flash_domain *domain = tx->repo->domain;
	bool commit = req->kind == FLASH_REQUEST_COMMIT;

	for (uint32_t i = 0; i < tx->extents; i++) {
		/* Those that were finished before a mark began, too. */
		bole_flash_mark_extent(tx, tx->extent[i]);
		size_t body = bole_flash_extent_body(tx->extent[i], NULL);
		tx->extent[i]->slot = bole_flash_slot_take(domain);
		if (tx->extent[i]->slot == INDEX_SLOTS)
			return BOLE_E_LIMIT;
		need(d, RECORD_HEAD_BYTES + body);
		d->body_cap = body > d->body_cap ? body : d->body_cap;
	}
	if (commit && (tx->puts != 0 || tx->extents != 0))
		BOLE_TRY(draft_index(v, domain, d));
	if (commit && d->index != NULL)
		BOLE_TRY(draft_puts(v, tx, d));
	for (uint32_t i = 0; i < tx->puts; i++) {
		struct flash_put *put = &tx->put[i];
		put->duplicate = put->dropped || (commit && put->duplicate);
		if (put->duplicate)
			continue;
		d->fresh++;
		need(d, bole_flash_record_live(domain->key_len, put->stored));
	}
	if (d->body_cap != 0)
		d->body = bole_alloc_array(v->alloc, d->body_cap, 1);
	if (d->body_cap != 0 && d->body == NULL)
		return BOLE_E_NO_MEMORY;
	if (!commit && d->fresh != 0) {
		d->run = bole_flash_rows_open(v->alloc, domain->key_len, d->fresh);
		if (d->run == NULL)
			return BOLE_E_NO_MEMORY;
	}
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
		if (run != NULL)
			bole_flash_rows_set(run, at++, put->key, &put->home);
		else
			bole_flash_index_place(
			        d->index, put->key, put->row,
			        bole_flash_place(put->home.segment, put->home.offset));
		bole_flash_live_draft(v, put->home.segment,
		                      bole_flash_record_live(domain->key_len, put->stored), 0);
	}
	if (run != NULL)
		bole_flash_rows_finish(run);
	return BOLE_OK;
}

/* -- Commit -- */

/* New values of references are roots for a mark under way. */
static void note_refs(struct flash_volume *v, const struct flash_request *req)
{
	for (size_t i = 0; i < req->count; i++)
		if (req->updates[i].action == BOLE_REF_SET)
			bole_flash_mark_note(v, req->tx->repo->domain, req->updates[i].oid.bytes);
}

static enum bole_status draft_commit(struct flash_volume *v, struct flash_request *req,
                                     struct draft *d)
{
	struct flash_tx *tx = req->tx;
	struct flash_repo *repo = tx->repo;

	if (turned_away(req))
		return BOLE_AGAIN;
	d->refs = bole_flash_table_retain(refs_now(repo));
	BOLE_TRY(bole_flash_refs_apply(v, &d->refs, repo->domain->algo, req->updates, req->count,
	                               &req->failed));
	if (tx->auxwrites != 0)
		d->aux = bole_flash_table_retain(aux_now(repo));
	BOLE_TRY(draft_aux(v, tx, d, false));
	BOLE_TRY(draft_drops(v, tx, d, false));
	BOLE_TRY(draft_objects(v, req, d));
	BOLE_TRY(draft_drops(v, tx, d, true));
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
	note_refs(v, req);
	rc = bole_flash_drops_write(v, repo->domain, &d.drops);
	if (rc == BOLE_OK)
		rc = write_objects(v, tx, 0, &d);
	if (rc == BOLE_OK)
		rc = bole_flash_drops_write(v, repo->domain, &d.late);
	for (uint32_t i = 0; i < tx->auxwrites && rc == BOLE_OK; i++) {
		const struct flash_aux_write *w = &tx->auxwrite[i];
		bole_flash_aux_replaced(
		        v,
		        bole_flash_table_find(aux_now(repo), bole_bytes_of(w->bytes, w->key_len)));
		rc = write_aux(v, w, repo->id, 0, d.aux);
	}
	if (rc == BOLE_OK)
		rc = write_refs(v, repo->id, repo->domain->algo, old, req->updates, req->count);
	keep_refs(v, repo, &d);
	bole_flash_drops_die(v, repo->domain, &d.drops);
	bole_flash_drops_die(v, repo->domain, &d.late);
	drops_free(&d);
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
	need_prepared_drops(tx, d);
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
		rc = write_prepared_drops(v, tx);
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
	p->drops = bole_flash_table_retain(tx->drops);
	req->token = p->token;
	req->prepared = p;
	draft_body_free(v, &d);
	return rc;
}

enum bole_status bole_flash_prepared_publish(struct flash_volume *v, struct flash_prepared *p,
                                             struct flash_index *index, struct flash_table **aux,
                                             struct flash_reader *reader)
{
	for (uint32_t i = 0; p->run != NULL && i < p->run->count; i++) {
		const uint8_t *key = bole_flash_rows_key(p->run, i);
		struct flash_home home = bole_flash_rows_home(p->run, i);
		struct flash_found found;
		enum bole_status rc = bole_flash_index_find(v, index, key, reader, &found);
		if (rc == BOLE_OK)
			bole_flash_mark_note(v, p->repo->domain, key);
		if (rc == BOLE_OK)
			continue; /* somebody published it meanwhile */
		if (rc != BOLE_E_NOT_FOUND && rc != BOLE_E_CORRUPT)
			return rc;
		BOLE_TRY(bole_flash_index_put(v, index, key,
		                              bole_flash_place(home.segment, home.offset),
		                              home.stored, home.type));
	}
	BOLE_TRY(bole_flash_index_add(v, index, p->extent, p->extents));
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
		bole_flash_aux_replaced(v, bole_flash_table_find(old, after));
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

	if (commit && turned_away(req))
		return BOLE_AGAIN;
	need(&d, RECORD_HEAD_BYTES + PREPARE_BYTES);
	if (commit) {
		d.refs = bole_flash_table_retain(refs_now(repo));
		d.aux = bole_flash_table_retain(aux_now(repo));
		rc = bole_flash_refs_apply(v, &d.refs, repo->domain->algo, req->updates, req->count,
		                           &req->failed);
		if (rc == BOLE_OK)
			rc = draft_drops(v, tx, &d, false);
		if (rc == BOLE_OK)
			rc = draft_index(v, repo->domain, &d);
		if (rc == BOLE_OK)
			rc = bole_flash_prepared_publish(v, p, d.index, &d.aux, &v->reader);
		if (rc == BOLE_OK)
			rc = draft_drops(v, tx, &d, true);
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
	note_refs(v, req);
	req->prepared = p;
	if (commit)
		supersede(v, aux_now(repo), p->aux);
	rc = bole_flash_drops_write(v, repo->domain, &d.drops);
	if (rc == BOLE_OK)
		rc = bole_flash_batch_add(v, &r, &piece, 1, NULL, NULL);
	if (rc == BOLE_OK)
		rc = bole_flash_drops_write(v, repo->domain, &d.late);
	if (rc == BOLE_OK && commit)
		rc = write_refs(v, repo->id, repo->domain->algo, old, req->updates, req->count);
	keep_refs(v, repo, &d);
	bole_flash_drops_die(v, repo->domain, &d.drops);
	bole_flash_drops_die(v, repo->domain, &d.late);
	drops_free(&d);
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
