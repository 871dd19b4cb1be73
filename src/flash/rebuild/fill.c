/* SPDX-License-Identifier: ISC */
/* A hole in the checkpoint, and what the archive has for it: repositories, references, aux records.
 * The records before and behind a hole say which names may have been in it; what the archive says
 * of others was removed, or is in the checkpoint. */
#include "flash/rebuild/rebuild.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/auxtable.h"
#include "flash/index/levels.h"
#include "flash/log/tx.h"

enum { FILL_STAMP_HEAD = 5 };

struct fill {
	struct rebuild *rb;
	const struct rebuild_hole *hole;
	uint32_t number; /* of the hole */
	bool base;
};

/* What of a part of a repository may have been in the hole. */
struct range {
	struct bole_bytes from; /* exclusive; empty = from the start */
	struct bole_bytes to;   /* exclusive; empty = to the end */
};

static int compare(const struct rebuild_mark *m, uint32_t owner, uint32_t part)
{
	if (m->rank != RANK_REPO)
		return m->rank < RANK_REPO ? -1 : 1;
	if (m->owner != owner)
		return m->owner < owner ? -1 : 1;
	return m->part < part ? -1 : m->part > part;
}

static bool touches(const struct rebuild_hole *h, uint32_t owner, enum rebuild_part part,
                    struct range *out)
{
	int from = compare(&h->from, owner, part);
	int to = compare(&h->to, owner, part);

	*out = (struct range){.from = {NULL, 0}};
	if (from > 0 || to < 0)
		return false;
	if (from == 0)
		out->from = (struct bole_bytes){h->from.key, h->from.len};
	if (to == 0)
		out->to = (struct bole_bytes){h->to.key, h->to.len};
	/* The list of runs is the last record of an index. */
	return part != PART_INDEX || from != 0 || h->from.len == 0;
}

bool bole_flash_rebuild_in_hole(const struct rebuild_hole *h, uint32_t repo, enum rebuild_part part,
                                struct bole_bytes key)
{
	struct range range;

	return touches(h, repo, part, &range) &&
	       (range.from.len == 0 || bole_bytes_compare(key, range.from) > 0) &&
	       (range.to.len == 0 || bole_bytes_compare(key, range.to) < 0);
}

/* The archive's word is newer than that of the elements before the one with the hole. */
static bool is_newer(const struct rebuild *rb, uint64_t batch)
{
	return batch >= rb->since || batch > rb->archive.last_missing;
}

/* The same of an aux record: what set it may be a commit of what nobody knows. */
static bool is_newer_aux(const struct rebuild *rb, uint32_t repo, uint64_t batch)
{
	const struct bole_bytes none = {NULL, 0};
	uint64_t unknown = 0;

	(void)bole_flash_archive_stamp(&rb->archive, FLASH_STAMP_UNKNOWN, repo, none, &unknown);
	return is_newer(rb, batch) && (batch >= rb->since || batch > unknown);
}

/* Nothing that the hole said is missing in the archive. */
static bool is_whole(const struct rebuild *rb)
{
	return rb->archive.last_missing == 0 || (rb->exact && rb->archive.last_missing < rb->since);
}

/* -- References and aux records -- */

static enum bole_status say_doubt(const struct fill *f, const struct flash_repo *repo,
                                  struct bole_bytes name, uint64_t batch)
{
	struct rebuild *rb = f->rb;
	char text[REBUILD_TEXT];

	if (batch > rb->archive.last_missing)
		return bole_flash_rebuild_sure(rb->v, repo->id, name);
	if (is_whole(rb))
		return BOLE_OK;
	bole_flash_rebuild_show(name, text);
	bole_flash_lost(rb->v,
	                "%s: reference %s is as batch %llu left it: batches behind that one are "
	                "gone, so it may be older than it was",
	                repo->name, text, (unsigned long long)batch);
	return bole_flash_rebuild_doubt(rb, repo, name);
}

/* The archive's value. Parts that were moved since have no place: it is found later (aux.c). An
 * older value must not stay in its stead. */
static enum bole_status fill_aux(const struct fill *f, struct flash_repo *repo,
                                 struct bole_bytes key, struct bole_bytes then, bool *set)
{
	uint8_t value[AUX_VALUE_HEAD + AUX_VALUE_PART * AUX_PARTS_MAX];

	*set = true;
	if (then.len > sizeof value)
		return BOLE_E_CORRUPT;
	memcpy(value, then.ptr, then.len);
	for (uint32_t i = 0; i < bole_flash_aux_parts(then); i++) {
		struct flash_aux_part part = bole_flash_aux_part(then, i);
		if (part.bytes != 0 && !bole_flash_rebuild_dead(f->rb, part.segment))
			continue;
		part.bytes = 0;
		bole_flash_aux_set_part(value, i, &part);
		*set = false;
	}
	return bole_flash_table_set(&f->rb->v->aux, &repo->auxtable, key,
	                            bole_bytes_of(value, then.len));
}

/* One key, as the archive has it. */
static enum bole_status fill_key(struct fill *f, struct flash_repo *repo,
                                 const struct flash_repo *then, bool refs, struct bole_bytes key,
                                 bool *set)
{
	struct flash_volume *v = f->rb->v;
	struct flash_table **table = refs ? &repo->reftable : &repo->auxtable;
	const struct flash_table_kind *kind = refs ? &v->plain : &v->aux;
	const struct flash_table *old = then == NULL ? NULL
	                                : refs       ? then->reftable
	                                             : then->auxtable;
	const struct flash_item *item = bole_flash_table_find(old, key);

	*set = item != NULL;
	if (item == NULL)
		return bole_flash_table_remove(kind, table, key);
	return refs ? bole_flash_table_set(kind, table, key, bole_flash_item_value(item))
	            : fill_aux(f, repo, key, bole_flash_item_value(item), set);
}

static enum bole_status fill_range(struct fill *f, struct flash_repo *repo,
                                   const struct flash_repo *then, bool refs,
                                   const struct range *range, uint64_t *count)
{
	const struct flash_archive *a = &f->rb->archive;
	uint8_t buf[FILL_STAMP_HEAD + REBUILD_KEY_MAX];
	size_t len = FILL_STAMP_HEAD;

	buf[0] = refs ? FLASH_STAMP_REF : FLASH_STAMP_AUX;
	bole_put_be32(buf + 1, repo->id);
	if (range->from.len != 0)
		memcpy(buf + len, range->from.ptr, range->from.len);
	len += range->from.len;
	struct bole_bytes after = {buf, len};
	for (const struct flash_item *item =
	             bole_flash_table_next(a->stamps, after, range->from.len == 0);
	     item != NULL; item = bole_flash_table_next(a->stamps, after, false)) {
		after = bole_flash_item_key(item);
		if (after.len < FILL_STAMP_HEAD || memcmp(after.ptr, buf, FILL_STAMP_HEAD) != 0)
			break;
		struct bole_bytes key = {after.ptr + FILL_STAMP_HEAD, after.len - FILL_STAMP_HEAD};
		if (range->to.len != 0 && bole_bytes_compare(key, range->to) >= 0)
			break;
		uint64_t batch = bole_get_le64(bole_flash_item_value(item).ptr);
		bool set;
		if (refs ? !is_newer(f->rb, batch) : !is_newer_aux(f->rb, repo->id, batch))
			continue;
		BOLE_TRY(fill_key(f, repo, then, refs, key, &set));
		if (set && refs)
			BOLE_TRY(say_doubt(f, repo, key, batch));
		*count += set;
	}
	return BOLE_OK;
}

struct filling {
	struct fill *f;
	struct flash_repo *repo;
	const struct range *range;
	uint64_t *count;
};

/* A value of a prepared transaction that the log committed since. */
static enum bole_status fill_set(void *ctx, struct bole_bytes key, struct bole_bytes value,
                                 uint64_t batch)
{
	struct filling *l = ctx;
	struct rebuild *rb = l->f->rb;
	uint8_t buf[4 + AUX_KEY_HEAD + AUX_KEY_MAX];
	bool set = true;

	if (!is_newer(rb, batch) || key.len > sizeof buf - 4 ||
	    (l->range->from.len != 0 && bole_bytes_compare(key, l->range->from) <= 0) ||
	    (l->range->to.len != 0 && bole_bytes_compare(key, l->range->to) >= 0))
		return BOLE_OK;
	bole_put_be32(buf, l->repo->id);
	memcpy(buf + 4, key.ptr, key.len);
	struct bole_bytes k = bole_bytes_of(buf, 4 + key.len);
	if (bole_flash_aux_part(value, 0).bytes == 0) {
		BOLE_TRY(bole_flash_table_set(&rb->v->plain, &rb->removed, k, k));
		return bole_flash_table_remove(&rb->v->aux, &l->repo->auxtable, key);
	}
	BOLE_TRY(bole_flash_table_remove(&rb->v->plain, &rb->removed, k));
	BOLE_TRY(fill_aux(l->f, l->repo, key, value, &set));
	*l->count += set;
	return BOLE_OK;
}

static void say_range(const struct fill *f, const struct flash_repo *repo, const char *what,
                      const struct range *range, uint64_t count)
{
	bool open = range->from.len == 0 && range->to.len == 0;
	char from[REBUILD_TEXT];
	char to[REBUILD_TEXT];

	bole_flash_rebuild_show(range->from, from);
	bole_flash_rebuild_show(range->to, to);
	if (is_whole(f->rb))
		return;
	bole_flash_lost(f->rb->v,
	                "%s: %s%s%s%s%s lay in a damaged part of the checkpoint: %llu are as "
	                "the log has them, others are older, gone or were removed",
	                repo->name, what,
	                open                   ? ""
	                : range->from.len == 0 ? " from the first"
	                                       : " behind ",
	                from,
	                open                 ? ""
	                : range->to.len == 0 ? " to the last"
	                                     : " before ",
	                to, (unsigned long long)count);
}

enum bole_status bole_flash_rebuild_anew(struct rebuild *rb, uint32_t domain)
{
	for (uint32_t i = 0; i < rb->domains; i++)
		if (rb->domain[i] == domain)
			return BOLE_OK;
	void *list = bole_alloc_resize(rb->v->alloc, rb->domain, rb->domains, rb->domains + 1,
	                               sizeof *rb->domain);
	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	rb->domain = list;
	rb->domain[rb->domains++] = domain;
	return BOLE_OK;
}

static enum bole_status fill_repo(struct fill *f, struct flash_repo *repo)
{
	const struct flash_repo *then = bole_flash_repo_find_any(f->rb->then, repo->id);
	struct range range;
	uint64_t count = 0;
	uint8_t key[8];

	bole_put_be32(key, f->number);
	bole_put_be32(key + 4, repo->id);
	struct bole_bytes k = {key, sizeof key};
	if (bole_flash_table_find(f->rb->filled, k) != NULL)
		return BOLE_OK;
	/* What is said names it so. */
	const char *name = is_whole(f->rb) ? "" : repo->name;
	BOLE_TRY(bole_flash_table_set(&f->rb->v->plain, &f->rb->filled, k, bole_bytes_z(name)));

	if (touches(f->hole, repo->id, PART_REFS, &range)) {
		if (!is_whole(f->rb))
			BOLE_TRY(bole_flash_rebuild_doubt_range(f->rb, repo, range.from, range.to));
		BOLE_TRY(fill_range(f, repo, then, true, &range, &count));
		say_range(f, repo, "references", &range, count);
	}
	count = 0;
	if (touches(f->hole, repo->id, PART_AUX, &range)) {
		struct filling l = {f, repo, &range, &count};
		BOLE_TRY(fill_range(f, repo, then, false, &range, &count));
		BOLE_TRY(bole_flash_rebuild_each_set(f->rb, repo->id, fill_set, &l));
		say_range(f, repo, "aux records", &range, count);
	}
	if (touches(f->hole, repo->id, PART_INDEX, &range))
		BOLE_TRY(bole_flash_rebuild_anew(f->rb, repo->domain->id));
	return BOLE_OK;
}

/* -- The catalog -- */

static enum bole_status apply(struct rebuild *rb, uint8_t kind, uint32_t owner,
                              struct bole_bytes body)
{
	struct flash_record r = {.kind = kind, .owner = owner, .body = body};
	struct flash_apply a;

	bole_flash_apply_init(&a, rb->v);
	a.checkpoint = true;
	enum bole_status rc = bole_flash_rebuild_fit(rb->v, rb->then, &r);
	if (rc == BOLE_OK && kind != FLASH_RECORD_REFS)
		rc = bole_flash_apply(&a, &r, 0, 0);
	bole_flash_apply_release(&a);
	return rc == BOLE_E_EXISTS ? BOLE_OK : rc;
}

/* Repositories that were made, renamed or removed. */
static enum bole_status fill_catalog(struct fill *f)
{
	struct rebuild *rb = f->rb;
	struct bole_bytes none = {NULL, 0};
	struct range range;
	uint64_t batch;

	for (uint32_t i = 0; i < rb->then->repos; i++) {
		uint32_t id = rb->then->repo[i]->id;
		if (bole_flash_repo_find_any(rb->v, id) == NULL &&
		    touches(f->hole, id, PART_REPO, &range))
			BOLE_TRY(apply(rb, FLASH_RECORD_REFS, id, none)); /* makes it fit */
	}
	if (f->base || f->hole->from.rank > RANK_CATALOG || f->hole->to.rank < RANK_CATALOG)
		return BOLE_OK;
	for (uint32_t i = rb->v->repos; i > 0; i--) {
		struct flash_repo *repo = rb->v->repo[i - 1];
		bool known = bole_flash_archive_stamp(&rb->archive, FLASH_STAMP_REPO, repo->id,
		                                      none, &batch);
		if (!is_whole(rb) && (!known || batch <= rb->archive.last_missing))
			bole_flash_lost(rb->v,
			                "%s: whether it was renamed or removed lay in a damaged "
			                "part of the checkpoint",
			                repo->name);
		if (!known || !is_newer(rb, batch))
			continue;
		const struct flash_repo *then = bole_flash_repo_find_any(rb->then, repo->id);
		if (then == NULL)
			BOLE_TRY(apply(rb, FLASH_RECORD_REMOVE, repo->id, none));
		else if (strcmp(then->name, repo->name) != 0)
			BOLE_TRY(
			        apply(rb, FLASH_RECORD_RENAME, repo->id, bole_bytes_z(then->name)));
	}
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild_fill(struct rebuild *rb, const struct rebuild_hole *hole,
                                         bool base)
{
	struct fill f = {.rb = rb, .hole = hole, .number = rb->hole_count, .base = base};

	void *list = bole_alloc_resize(rb->v->alloc, rb->hole, rb->hole_count, rb->hole_count + 1,
	                               sizeof *rb->hole);
	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	rb->hole = list;
	rb->hole[rb->hole_count] = *hole;
	rb->hole[rb->hole_count].since = rb->since;
	rb->hole[rb->hole_count++].exact = rb->exact;
	BOLE_TRY(fill_catalog(&f));
	for (uint32_t i = 0; i < rb->v->repos; i++)
		BOLE_TRY(fill_repo(&f, rb->v->repo[i]));
	return bole_flash_rebuild_prepared(rb, hole);
}

enum bole_status bole_flash_rebuild_fill_late(struct rebuild *rb)
{
	for (uint32_t i = 0; i < rb->hole_count; i++) {
		struct fill f = {.rb = rb, .hole = &rb->hole[i], .number = i};
		rb->since = rb->hole[i].since;
		rb->exact = rb->hole[i].exact;
		for (uint32_t n = 0; n < rb->v->repos; n++)
			BOLE_TRY(fill_repo(&f, rb->v->repo[n]));
	}
	return BOLE_OK;
}
