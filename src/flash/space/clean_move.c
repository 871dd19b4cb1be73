/* SPDX-License-Identifier: ISC */
/* Moving records: copies are sealed for their new places, programmed as one fragment, and put into
 * the index by whoever leads, as far as nobody dropped or moved them meanwhile. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/auxtable.h"
#include "flash/index/levels.h"
#include "flash/space/clean.h"
#include "flash/volume/mount.h"
#include "flash/volume/open.h"

enum { HEADS = SEGMENT_HEAD_BYTES + RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES };

/* -- What lives -- */

/* The published index of a domain, retained; NULL when there is none. */
static struct flash_index *index_of(struct flash_volume *v, uint32_t domain)
{
	bole_flash_lock(v);
	struct flash_domain *d = bole_flash_domain_find(v, domain);
	struct flash_index *index = d == NULL ? NULL : bole_flash_index_retain(d->index);
	bole_flash_unlock(v);
	return index;
}

static bool object_current(struct flash_volume *v, struct flash_reader *reader,
                           const struct flash_index *index, const struct flash_record *r,
                           uint64_t place, struct flash_found *found, enum bole_status *rc)
{
	*rc = index == NULL || r->key.len != index->domain->key_len
	              ? BOLE_E_NOT_FOUND
	              : bole_flash_index_find(v, index, r->key.ptr, reader, found);
	if (*rc == BOLE_E_NOT_FOUND) {
		*rc = BOLE_OK;
		return false;
	}
	return *rc == BOLE_OK && found->extent == NULL && found->place == place;
}

/* The key of the aux table that a record is about. */
static bool aux_key(const struct flash_record *r, uint8_t *key, struct bole_bytes *out)
{
	const uint8_t *p = r->body.ptr;

	if (r->body.len < AUX_HEAD_BYTES || p[AUX_KEY_BYTES_AT] > r->body.len - AUX_HEAD_BYTES)
		return false;
	key[0] = p[AUX_CLASS_AT];
	key[1] = p[AUX_KIND_AT + 1];
	key[2] = p[AUX_KIND_AT];
	memcpy(key + AUX_KEY_HEAD, p + AUX_HEAD_BYTES, p[AUX_KEY_BYTES_AT]);
	*out = (struct bole_bytes){key, (size_t)AUX_KEY_HEAD + p[AUX_KEY_BYTES_AT]};
	return true;
}

/* Which part of a value the record at a place is; UINT32_MAX = none. */
static uint32_t aux_part(const struct flash_table *table, struct bole_bytes key, uint32_t segment,
                         uint32_t offset)
{
	const struct flash_item *item = bole_flash_table_find(table, key);

	for (uint32_t i = 0; item != NULL && i < bole_flash_aux_parts(bole_flash_item_value(item));
	     i++) {
		struct flash_aux_part part = bole_flash_aux_part(bole_flash_item_value(item), i);
		if (part.bytes != 0 && part.segment == segment && part.offset == offset)
			return i;
	}
	return UINT32_MAX;
}

static bool aux_current(struct flash_volume *v, const struct flash_record *r, uint32_t segment,
                        uint32_t offset)
{
	uint8_t buf[AUX_KEY_HEAD + AUX_KEY_MAX];
	struct flash_table *table = NULL;
	struct bole_bytes key;

	if (!aux_key(r, buf, &key))
		return false;
	bole_flash_lock(v);
	struct flash_repo *repo = bole_flash_repo_find(v, r->owner);
	if (repo != NULL)
		table = bole_flash_table_retain(repo->auxtable);
	bole_flash_unlock(v);
	bool current = aux_part(table, key, segment, offset) != UINT32_MAX;
	bole_flash_table_release(&v->aux, table);
	return current;
}

bool bole_flash_move_current(struct flash_volume *v, struct flash_clean *c,
                             const struct flash_record *r, uint32_t segment, uint32_t offset,
                             enum bole_status *rc)
{
	struct flash_found found;

	*rc = BOLE_OK;
	if (r->kind == FLASH_RECORD_AUX)
		return aux_current(v, r, segment, offset);
	if (r->kind != FLASH_RECORD_OBJECT)
		return false;
	struct flash_index *index = index_of(v, r->owner);
	bool current = object_current(v, &c->reader, index, r, bole_flash_place(segment, offset),
	                              &found, rc);
	bole_flash_index_drop(v, index);
	return current;
}

/* -- Copies -- */

enum bole_status bole_flash_move_add(struct flash_volume *v, struct flash_clean *c,
                                     const struct flash_record *r, const uint8_t *bytes,
                                     uint32_t offset)
{
	size_t want = (size_t)HEADS + c->len + r->bytes + v->unit;
	size_t most = (size_t)HEADS + v->fragment_bytes + v->unit;

	BOLE_ASSERT(c->moves < CLEAN_MOVES);
	if (want < most)
		want = most;
	if (want > c->cap) {
		uint8_t *buf = bole_alloc_resize(v->alloc, c->buf, c->cap, want, 1);
		if (buf == NULL)
			return BOLE_E_NO_MEMORY;
		c->buf = buf;
		c->cap = want;
	}
	uint8_t *p = c->buf + HEADS + c->len;
	memcpy(p, bytes, r->bytes);
	p[RECORD_FLAGS_AT] = 0; /* it belongs to no prepared transaction any more */
	c->move[c->moves++] = (struct flash_move){
	        .from = offset,
	        .at = c->len,
	        .bytes = r->bytes,
	        .owner = r->owner,
	        .kind = r->kind,
	};
	c->len += r->bytes;
	return c->moves == CLEAN_MOVES || c->len >= v->fragment_bytes ? BOLE_END : BOLE_OK;
}

/* How many of the moves fit behind pos of the survivors' segment, and their bytes. */
static uint32_t fitting(const struct flash_volume *v, const struct flash_clean *c, uint32_t *len)
{
	uint32_t start = c->open.pos == 0 ? SEGMENT_HEAD_BYTES : c->open.pos;
	uint32_t n = 0;

	*len = 0;
	while (n < c->moves) {
		uint64_t end = (uint64_t)start + RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES +
		               c->move[n].at + c->move[n].bytes;
		if (end > v->segment_bytes)
			break;
		*len = c->move[n].at + c->move[n].bytes;
		n++;
	}
	return n;
}

static uint32_t seal(struct flash_volume *v, struct flash_clean *c, uint32_t n, uint32_t len)
{
	const struct flash_open *open = &c->open;
	uint32_t offset = open->pos == 0 ? SEGMENT_HEAD_BYTES : open->pos;
	uint8_t *head = c->buf + SEGMENT_HEAD_BYTES;
	struct flash_record r = {.kind = FLASH_FRAGMENT_MOVED,
	                         .body = {NULL, (size_t)FRAGMENT_HEAD_BYTES + len}};

	c->offset = offset + RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES;
	for (uint32_t i = 0; i < n; i++) {
		const struct flash_move *m = &c->move[i];
		uint64_t seed =
		        bole_flash_seed(v->key, open->segment, open->sequence, c->offset + m->at);
		(void)bole_flash_record_seal(c->buf + HEADS + m->at, m->bytes, seed);
	}
	bole_flash_record_head(head, &r);
	bole_put_le64(head + RECORD_HEAD_BYTES + FRAGMENT_EXTENT_AT, 0);
	bole_put_le64(head + RECORD_HEAD_BYTES + FRAGMENT_LOGICAL_AT, 0);
	(void)bole_flash_record_seal(
	        head, (size_t)RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES + len,
	        bole_flash_seed(v->key, open->segment, open->sequence, offset));
	return c->offset + len;
}

static enum bole_status program(struct flash_volume *v, struct flash_clean *c, uint32_t n,
                                uint32_t len)
{
	struct flash_open *open = &c->open;
	uint32_t end = (uint32_t)bole_round_up(seal(v, c, n, len), v->unit);
	uint8_t *from = c->buf + SEGMENT_HEAD_BYTES;
	uint8_t *rest = c->buf + HEADS + len;
	uint32_t pad = end - c->offset - len;
	uint8_t *saved = NULL;

	/* Padding would fall on the records that stay behind. */
	if (n < c->moves && pad != 0) {
		saved = bole_alloc_array(v->alloc, pad, 1);
		if (saved == NULL)
			return BOLE_E_NO_MEMORY;
		memcpy(saved, rest, pad);
	}
	memset(rest, 0, pad);
	bole_flash_lock(v);
	if (open->pos == 0) {
		from = c->buf;
		bole_flash_segment_head(v, open->segment, open->sequence, FLASH_SEGMENT_DATA,
		                        c->buf);
	}
	bole_flash_unlock(v);
	enum bole_status rc =
	        bole_flash_program(v, open->segment, open->pos, from, end - open->pos);
	if (rc == BOLE_OK)
		c->programmed += end - open->pos;
	if (saved != NULL)
		memcpy(rest, saved, pad);
	bole_alloc_free(v->alloc, saved, pad, 1);
	open->pos = end;
	return rc;
}

enum bole_status bole_flash_move_write(struct flash_volume *v, struct flash_clean *c)
{
	uint32_t n = 0;
	uint32_t len;

	BOLE_ASSERT(c->written == 0);
	if (c->moves == 0)
		return BOLE_OK;
	for (;;) {
		if (c->open.segment == SEGMENT_NONE) {
			c->open = (struct flash_open){.segment = SEGMENT_NONE,
			                              .kind = FLASH_SEGMENT_DATA,
			                              .cold = c->cold};
			BOLE_TRY(bole_flash_open_new(v, &c->open, FLASH_FOR_CLEANING));
		}
		n = fitting(v, c, &len);
		enum bole_status rc = n == 0 ? BOLE_E_IO : program(v, c, n, len);
		if (rc == BOLE_OK)
			break;
		bole_flash_open_close(v, &c->open);
		if (rc != BOLE_E_IO || atomic_load(&v->failed))
			return rc;
	}
	c->target = c->open.segment;
	c->written = n;
	bole_flash_lock(v);
	bole_flash_hold(v, c->target, len);
	bole_flash_unlock(v);
	atomic_fetch_add(&v->counters.moved, len);
	return BOLE_OK;
}

/* -- Publishing -- */

/* Versions of one owner that get the new places. */
struct install {
	struct flash_volume *v;
	struct flash_clean *c;
	struct flash_repo *repo;     /* of aux */
	struct flash_domain *domain; /* of objects */
	struct flash_index *index;
	struct flash_table *aux;
	uint32_t generation;
};

/* Publishes what was drafted so far. */
static void install_end(struct install *in)
{
	struct flash_volume *v = in->v;
	struct flash_index *index = NULL;
	struct flash_table *aux = NULL;

	bole_flash_lock(v);
	if (in->domain != NULL) {
		index = bole_flash_index_swap(v, in->domain, in->index);
	}
	if (in->repo != NULL) {
		aux = in->repo->auxtable;
		in->repo->auxtable = in->aux;
	}
	bole_flash_unlock(v);
	bole_flash_index_drop(v, index);
	bole_flash_table_release(&v->aux, aux);
	in->domain = NULL;
	in->repo = NULL;
	in->index = NULL;
	in->aux = NULL;
}

static enum bole_status install_object(struct install *in, const struct flash_move *m,
                                       const struct flash_record *r, bool *done)
{
	struct flash_volume *v = in->v;
	struct flash_found found;
	uint64_t from = bole_flash_place(in->c->walk.segment, m->from);
	uint64_t to = bole_flash_place(in->c->target, in->c->offset + m->at);
	enum bole_status rc;

	if (in->domain == NULL || in->domain->id != r->owner) {
		install_end(in);
		bole_flash_lock(v);
		struct flash_domain *domain = bole_flash_domain_find(v, r->owner);
		bole_flash_unlock(v);
		if (domain == NULL)
			return BOLE_OK;
		BOLE_TRY(bole_flash_index_fork(v, domain, domain->index, &in->index));
		in->domain = domain;
	}
	*done = object_current(v, &in->c->reader, in->index, r, from, &found, &rc);
	if (!*done)
		return rc;
	rc = bole_flash_index_move(v, in->index, r->key.ptr, &found, to, in->generation);
	*done = rc == BOLE_OK;
	return rc;
}

static enum bole_status install_aux(struct install *in, const struct flash_move *m,
                                    const struct flash_record *r, bool *done)
{
	struct flash_volume *v = in->v;
	uint8_t key_buf[AUX_KEY_HEAD + AUX_KEY_MAX];
	uint8_t value[AUX_VALUE_HEAD + AUX_VALUE_PART * 512];
	struct bole_bytes key;

	if (in->repo == NULL || in->repo->id != r->owner) {
		install_end(in);
		bole_flash_lock(v);
		struct flash_repo *repo = bole_flash_repo_find(v, r->owner);
		if (repo != NULL)
			in->aux = bole_flash_table_retain(repo->auxtable);
		bole_flash_unlock(v);
		in->repo = repo;
	}
	if (in->repo == NULL || !aux_key(r, key_buf, &key))
		return BOLE_OK;
	uint32_t part = aux_part(in->aux, key, in->c->walk.segment, m->from);
	if (part == UINT32_MAX)
		return BOLE_OK;
	struct bole_bytes old = bole_flash_item_value(bole_flash_table_find(in->aux, key));
	if (old.len > sizeof value)
		return BOLE_E_CORRUPT;
	memcpy(value, old.ptr, old.len);
	struct flash_aux_part to = {in->c->target, in->c->offset + m->at, m->bytes};
	bole_flash_aux_set_part(value, part, &to);
	enum bole_status rc =
	        bole_flash_table_set(&v->aux, &in->aux, key, bole_bytes_of(value, old.len));
	*done = rc == BOLE_OK;
	return rc;
}

/* The written moves are done with; those behind them come to the front. */
static void forget_written(struct flash_clean *c)
{
	uint32_t n = c->written;
	uint32_t bytes = n == 0 ? 0 : c->move[n - 1].at + c->move[n - 1].bytes;

	memmove(c->buf + HEADS, c->buf + HEADS + bytes, c->len - bytes);
	memmove(c->move, c->move + n, (c->moves - n) * sizeof *c->move);
	c->moves -= n;
	c->len -= bytes;
	for (uint32_t i = 0; i < c->moves; i++)
		c->move[i].at -= bytes;
	c->written = 0;
}

static void count(struct flash_volume *v, const struct flash_clean *c)
{
	bole_flash_lock(v);
	for (uint32_t i = 0; i < c->written; i++) {
		const struct flash_move *m = &c->move[i];
		if (m->installed) {
			v->segment[c->target].published = true;
			bole_flash_live_add(v, c->target, m->bytes);
			bole_flash_live_sub(v, c->walk.segment, m->bytes);
		}
		bole_flash_hold_end(v, c->target, m->bytes);
	}
	v->epoch = v->stamp;
	bole_flash_unlock(v);
}

enum bole_status bole_flash_move_install(struct flash_volume *v, struct flash_clean *c)
{
	struct install in = {.v = v, .c = c};
	enum bole_status rc = BOLE_OK;

	bole_flash_lock(v);
	in.generation = v->generation + 1;
	bole_flash_unlock(v);
	for (uint32_t i = 0; i < c->written && rc == BOLE_OK; i++) {
		struct flash_move *m = &c->move[i];
		struct flash_record r;
		bool whole = bole_flash_record_parse(
		        (struct bole_bytes){c->buf + HEADS + m->at, m->bytes}, &r);
		BOLE_ASSERT(whole);
		rc = m->kind == FLASH_RECORD_OBJECT ? install_object(&in, m, &r, &m->installed)
		                                    : install_aux(&in, m, &r, &m->installed);
	}
	install_end(&in);
	count(v, c);
	forget_written(c);
	return rc;
}
