/* SPDX-License-Identifier: ISC */
/* What leaders do to a domain while a sweep of it is drafted. A row that the sweep kills may have
 * been dropped or moved by then: its bytes must not be counted as dead twice, and what was moved
 * dies where it is now. Everything else that leaders do is in the version that the sweep is put
 * into. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/levels.h"
#include "flash/space/sweep.h"

enum {
	NOTED_MAX = 1024, /* more than that, and the sweep is drafted again */
	NOTED_FROM_AT = BOLE_OID_BYTES_MAX,
	NOTED_TO_AT = BOLE_OID_BYTES_MAX + 5,
	NOTED_BYTES = BOLE_OID_BYTES_MAX + 10,
};
#define NOWHERE ((UINT64_C(1) << FLASH_PLACE_BITS) - 1)

void bole_flash_sweep_watch(struct flash_sweep *s)
{
	bole_buffer_init(&s->noted, s->m->v->alloc, (size_t)NOTED_MAX * NOTED_BYTES);
	s->m->sweep = s;
}

static void note(struct flash_mark *m, const uint8_t *key, uint64_t from, uint64_t to)
{
	uint8_t noted[NOTED_BYTES] = {0};

	if (m->sweep == NULL)
		return;
	memcpy(noted, key, m->domain->key_len);
	bole_flash_put_be40(noted + NOTED_FROM_AT, from);
	bole_flash_put_be40(noted + NOTED_TO_AT, to);
	bole_flash_lock(m->v);
	bole_buffer_append(&m->sweep->noted, noted, sizeof noted);
	bole_flash_unlock(m->v);
}

void bole_flash_mark_killed(struct flash_mark *m, const uint8_t *key, uint64_t place)
{
	note(m, key, place, NOWHERE);
}

void bole_flash_sweep_moved(struct flash_mark *m, const uint8_t *key, uint64_t from, uint64_t to)
{
	note(m, key, from, to);
}

static enum bole_status take(struct flash_sweep *s, const uint8_t *noted)
{
	struct bole_alloc *alloc = s->m->v->alloc;
	void *more = bole_alloc_resize(alloc, s->event, s->events, s->events + 1, sizeof *s->event);

	if (more == NULL)
		return BOLE_E_NO_MEMORY;
	s->event = more;
	struct sweep_event *e = &s->event[s->events++];
	*e = (struct sweep_event){.from = bole_flash_get_be40(noted + NOTED_FROM_AT),
	                          .to = bole_flash_get_be40(noted + NOTED_TO_AT)};
	memcpy(e->key, noted, sizeof e->key);
	e->moved = e->to != NOWHERE;
	enum bole_status rc = bole_flash_sweep_unmarked(s, e->key, e->from, false, &e->stored);
	e->in_run = rc == BOLE_OK;
	return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
}

enum bole_status bole_flash_sweep_catch_up(struct flash_sweep *s)
{
	struct flash_volume *v = s->m->v;
	uint8_t noted[NOTED_BYTES];

	for (;;) {
		size_t at = (size_t)s->events * NOTED_BYTES;
		bole_flash_lock(v);
		enum bole_status rc = s->noted.rc;
		bool any = at < s->noted.len;
		if (any)
			memcpy(noted, s->noted.ptr + at, sizeof noted);
		bole_flash_unlock(v);
		if (rc != BOLE_OK)
			return rc == BOLE_E_LIMIT ? BOLE_AGAIN : rc;
		if (!any)
			return BOLE_OK;
		BOLE_TRY(take(s, noted));
	}
}

static bool same(const struct sweep_event *a, const struct sweep_event *b)
{
	return memcmp(a->key, b->key, sizeof a->key) == 0;
}

/* It is where an earlier one brought something that dies. */
static bool follows(const struct flash_sweep *s, const struct sweep_event *e)
{
	for (const struct sweep_event *was = s->event; was < e; was++)
		if (was->ours && was->moved && was->to == e->from && same(was, e))
			return true;
	return false;
}

/* An earlier one is of the same record: a transaction that failed leaves one, too. */
static bool repeats(const struct flash_sweep *s, const struct sweep_event *e)
{
	for (const struct sweep_event *was = s->event; was < e; was++)
		if (was->from == e->from && same(was, e))
			return true;
	return false;
}

/* Whoever dropped or moved it counted it. */
static enum bole_status uncount(struct flash_sweep *s, const struct sweep_event *e, uint32_t stored)
{
	uint64_t bytes = bole_flash_record_live(s->m->domain->key_len, stored);
	uint32_t *dead = &s->dead[bole_flash_place_segment(e->from)];
	struct flash_found found;

	enum bole_status rc = bole_flash_index_current(s->m->v, s->index, e->key, e->from, &found);
	if (rc != BOLE_E_NOT_FOUND)
		return rc;
	if (*dead < bytes)
		return BOLE_E_CORRUPT;
	*dead -= (uint32_t)bytes;
	s->result.objects_dropped--;
	s->result.bytes_dropped -= stored;
	return BOLE_OK;
}

enum bole_status bole_flash_sweep_meanwhile(struct flash_sweep *s)
{
	BOLE_TRY(bole_flash_sweep_catch_up(s));
	s->m->sweep = NULL;
	for (uint32_t i = 0; i < s->events; i++) {
		struct sweep_event *e = &s->event[i];
		const struct sweep_row *other = bole_flash_sweep_other(s, e->key, e->from);
		bool counted = e->in_run || (other != NULL && other->done);
		e->ours = counted || other != NULL || follows(s, e);
		if (counted && !repeats(s, e))
			BOLE_TRY(uncount(s, e, e->in_run ? e->stored : other->stored));
		if (e->ours && e->moved)
			BOLE_TRY(bole_flash_sweep_kill(s, e->key, e->to));
	}
	return BOLE_OK;
}
