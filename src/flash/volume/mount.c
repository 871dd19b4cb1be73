/* SPDX-License-Identifier: ISC */
/* Formatting, mounting, closing. */
#include "flash/volume/mount.h"
#include "flash/checkpoint/checkpoint.h"
#include "flash/rebuild/rebuild.h"
#include "flash/volume/repair.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/auxtable.h"
#include "flash/index/levels.h"
#include "flash/index/objects.h"
#include "flash/index/page.h"
#include "flash/log/batch.h"
#include "flash/space/clean.h"

enum {
	MEM_ROWS = 256 << 10,          /* in memtables, where memory is not limited */
	MEM_ROW_BYTES = 96,            /* of one, about */
	MEM_SHARE = 10,                /* of a limit that they may take */
	CACHE_BYTES_MIN = 64 << 10,    /* where nothing else is asked for */
	CACHE_BYTES_FREELY = 64 << 20, /* where memory is not limited */
	CACHE_SHARE = 64,              /* of the memory, else */
	CACHE_PAGES_SHARE = 3,         /* for pages; the rest is for records */
	LOSSES_BYTES = 64 << 10,
	CUT_SPARE_SEGMENTS = 8, /* beyond a base, where a mount after a cut writes a delta */
};

/* -- Format -- */

static enum bole_status wipe(struct bole_block *dev, struct bole_alloc *alloc,
                             const struct flash_geometry *g)
{
	BOLE_TRY(bole_flash_anchor_wipe(dev, alloc, g));
	return bole_block_discard(dev, g->area, g->segments * g->segment_bytes);
}

static enum bole_status first_good(struct bole_block *dev, const struct flash_geometry *g,
                                   uint32_t *out)
{
	for (uint32_t i = 0; i < g->segments; i++) {
		bool bad = false;
		uint32_t step = dev->info.needs_erase ? dev->info.erase_unit : 0;
		for (uint64_t at = 0; step != 0 && at < g->segment_bytes && !bad; at += step)
			BOLE_TRY(bole_block_is_bad(dev, g->area + i * g->segment_bytes + at, &bad));
		if (bad)
			continue;
		*out = i;
		return BOLE_OK;
	}
	return BOLE_E_NO_SPACE;
}

enum bole_status bole_flash_volume_format(struct bole_block *dev, struct bole_platform *platform,
                                          const struct bole_flash_format_options *options)
{
	struct flash_anchor a = {.generation = 1, .batch = 1};
	uint64_t wanted = options == NULL ? 0 : options->segment_bytes;
	uint32_t salt;

	if (dev->info.read_only)
		return BOLE_E_READ_ONLY;
	enum bole_status rc = bole_flash_geometry(dev, wanted, &a.geometry);
	if (rc == BOLE_OK && a.geometry.segment_bytes < FLASH_SHORT_RUNS_BELOW)
		a.incompat |= FLASH_INCOMPAT_SHORT_RUNS;
	if (rc == BOLE_E_NO_SPACE)
		bole_log(platform, BOLE_LOG_ERROR,
		         "%s: %llu bytes are too few: a volume needs %u segments of %u bytes",
		         dev->info.name, (unsigned long long)dev->info.size_bytes,
		         (unsigned)FLASH_SEGMENTS_MIN, (unsigned)FLASH_SEGMENT_BYTES_MIN);
	BOLE_TRY(rc);
	platform->ops->random(platform, a.volume, sizeof a.volume);
	platform->ops->random(platform, a.key, sizeof a.key);
	platform->ops->random(platform, &a.link, sizeof a.link);
	/* The first opening, as if it were planned: count 1 and a salt. */
	platform->ops->random(platform, &salt, sizeof salt);
	a.log_sequence = UINT64_C(1) << 32 | salt;
	a.opened = 1;
	if (options != NULL)
		memcpy(a.label, options->label, ANCHOR_LABEL_BYTES - 1);
	BOLE_TRY(first_good(dev, &a.geometry, &a.log_segment));
	a.log_next = a.log_segment;
	BOLE_TRY(wipe(dev, platform->alloc, &a.geometry));
	return bole_flash_anchor_first(dev, platform, platform->alloc, &a);
}

/* States of all segments: what lives in them is known. */
static void settle_segments(struct flash_volume *v)
{
	v->free = 0;
	v->freed = 0;
	for (uint32_t i = 0; i < v->segments; i++) {
		struct flash_segment *s = &v->segment[i];
		if (s->state == SEGMENT_BAD || s->state == SEGMENT_TAIL ||
		    s->state == SEGMENT_RESERVED)
			continue;
		s->lived = v->segment_bytes; /* nobody knows */
		bool used = s->live != 0 || s->held != 0;
		s->state = used ? SEGMENT_USED : s->published ? SEGMENT_FREED : SEGMENT_FREE;
		s->published |= used;
		if (s->retiring && s->state == SEGMENT_FREE) {
			s->state = SEGMENT_BAD;
			v->retired++;
		}
		v->free += s->state == SEGMENT_FREE;
		v->freed += s->state == SEGMENT_FREED;
	}
	/* The log may lie where a bad one was said to be. */
	v->bad = 0;
	for (uint32_t i = 0; i < v->segments; i++)
		v->bad += v->segment[i].state == SEGMENT_BAD;
}

/* -- Mount -- */

static enum bole_status find_bad(struct flash_volume *v)
{
	uint32_t step = v->dev->info.needs_erase ? v->dev->info.erase_unit : 0;

	for (uint32_t i = 0; step != 0 && i < v->segments; i++) {
		for (uint64_t at = 0; at < v->segment_bytes; at += step) {
			bool bad;
			BOLE_TRY(
			        bole_block_is_bad(v->dev, bole_flash_position(v, i, 0) + at, &bad));
			if (bad)
				v->segment[i].state = SEGMENT_BAD;
			v->bad += bad;
			if (bad)
				break;
		}
	}
	return BOLE_OK;
}

static void set_log(struct flash_volume *v, const struct flash_log_scan *s)
{
	v->log.segment = s->segment;
	v->log.pos = s->pos;
	v->log.sequence = s->segment_sequence;
	v->log.next = s->next;
	v->log.next_sequence = s->next_sequence;
	v->log.batch = s->expect;
	v->log.link = s->link;
	v->log.whole = s->expect;
	v->log.whole_link = s->link;
	v->log.durable = s->durable;
	for (uint32_t i = 0; i < v->segments; i++)
		v->segment[i].written = v->segment_bytes;
	if (s->pos != 0) {
		bole_flash_tail(v, s->segment);
		v->segment[s->segment].written = s->pos;
	}
	v->log.stale = s->pos != 0 && v->dev->info.needs_erase;
	v->log.paid = false; /* more may be missing than before the stop */
}

/* What lives is known. False: the log cannot go on in its next segment, because that holds
 * something: a checkpoint that was under way when the log jumped, or what damage has left. */
static bool reserve_next(struct flash_volume *v)
{
	struct flash_segment *next = &v->segment[v->log.next];

	bool bad = next->state == SEGMENT_BAD;
	if (bad || next->live != 0 || next->held != 0 || next->state == SEGMENT_TAIL) {
		bole_log(v->platform, BOLE_LOG_WARN,
		         "%s: segment %u, where the log was to go on, is %s: it goes on elsewhere",
		         v->dev->info.name, v->log.next, bad ? "bad" : "in use");
		return false;
	}
	next->state = SEGMENT_RESERVED;
	return true;
}

/* An anchor that a cut may have left unstable is written again before anything relies on it. */
static enum bole_status settle_anchor(struct flash_volume *v)
{
	struct flash_anchor a = v->anchor;

	if (v->elements != 0) {
		const struct flash_element *e = &v->element[v->elements - 1];
		a.map = e->fragment + (e->fragments - e->named);
		a.map_count = e->named;
	}
	enum bole_status rc =
	        bole_flash_anchor_settle(v->dev, v->platform, v->alloc, &a, &v->anchor_place);
	v->anchor.generation = a.generation;
	if (rc != BOLE_OK)
		bole_flash_anchors_check(v);
	return rc;
}

/* One more delta, or a base? A base costs more now but gives back what it replaces: where there is
 * little room, stops and mounts one after another must not use it up. If one does not fit, the
 * other one may. */
static enum bole_status checkpoint_after_cut(struct flash_volume *v)
{
	bole_flash_lock(v);
	uint32_t floor = bole_flash_floor(v, FLASH_FOR_MERGING);
	bool base = v->free >= floor && v->free < floor + CUT_SPARE_SEGMENTS;
	v->base_wanted |= base;
	bole_flash_unlock(v);
	enum bole_status rc = bole_flash_checkpoint(v);
	if (rc != BOLE_E_NO_SPACE)
		return rc;
	v->base_wanted = !base;
	return bole_flash_checkpoint(v);
}

static enum bole_status recover(struct flash_volume *v, struct flash_log_scan *s)
{
	/* What follows the log's end is left alone until the checkpoint counts. */
	enum bole_status rc;
	do {
		rc = bole_flash_log_jump(v);
		if (rc == BOLE_OK)
			rc = bole_flash_recover(s);
	} while (rc != BOLE_OK && v->log.broken && !atomic_load(&v->failed));
	BOLE_TRY(rc);
	v->dirty = true;
	/* Rows of what is prepared were replaced where they are: the last element has them too. */
	if (v->saved != NULL && v->prepared != NULL) {
		bole_flash_state_release(v, v->saved);
		bole_alloc_free(v->alloc, v->saved, 1, sizeof *v->saved);
		v->saved = NULL;
	}
	return checkpoint_after_cut(v);
}

static enum bole_status after_cut(struct flash_volume *v, struct flash_log_scan *s)
{
	/* What was rebuilt is in no anchor yet, and the old ones say where it came from. */
	if (!v->rebuilt)
		BOLE_TRY(settle_anchor(v));
	v->recovering = true;
	enum bole_status rc = recover(v, s);
	v->recovering = false;
	return rc;
}

/* What is written from here on comes after the newest anchor, although it is not read. */
static enum bole_status succeed(struct flash_volume *v, uint32_t ahead)
{
	const struct flash_anchor *newest = &v->repair->newest;

	v->ro_compat |= newest->ro_compat;
	v->anchor.generation = newest->generation;
	if (newest->checkpoint > v->generation)
		v->generation = newest->checkpoint;
	/* Anchors that are lost may turn up again: they must not look like the newest. */
	if (v->repair->salvage) {
		v->anchor.generation += v->geometry.slots + (uint64_t)ahead;
		v->generation += ahead;
	}
	return v->read_only ? BOLE_OK : bole_flash_repair_spare(v);
}

/* The anchor to mount from is another one than the newest. */
static enum bole_status older_anchor(struct flash_volume *v)
{
	const struct flash_anchor *older = &v->repair->older;

	bole_flash_anchor_release(v->alloc, &v->anchor);
	v->anchor = *older;
	v->anchor.map = NULL;
	if (older->map_count == 0)
		return BOLE_OK;
	v->anchor.map = bole_alloc_array(v->alloc, older->map_count, sizeof *older->map);
	if (v->anchor.map == NULL) {
		v->anchor.map_count = 0;
		return BOLE_E_NO_MEMORY;
	}
	memcpy(v->anchor.map, older->map, older->map_count * sizeof *older->map);
	return BOLE_OK;
}

/* The first write shall not wait for an erase. */
static enum bole_status leave_segment(struct flash_volume *v)
{
	enum bole_status rc = bole_flash_log_advance(v);

	return rc != BOLE_OK && v->log.broken ? bole_flash_log_mend(v) : rc;
}

static enum bole_status mount(struct flash_volume *v)
{
	struct flash_log_scan s = {.v = v};
	bool sealed = false;

	bool anew = v->repair != NULL && v->repair->rebuild;

	/* Checkpoints know the bad ones. */
	if (v->anchor.stream == 0 || anew)
		BOLE_TRY(find_bad(v));
	v->rebuilt = anew;
	BOLE_TRY(anew ? bole_flash_rebuild(v) : bole_flash_chain_load(v));
	bole_flash_anchor_release(v->alloc, &v->anchor);
	v->generation = v->anchor.checkpoint;
	atomic_store(&v->anchored, v->anchor.checkpoint);
	v->opened = v->anchor.opened;
	if (v->repair != NULL && v->repair->newest.opened > v->opened)
		v->opened = v->repair->newest.opened;
	enum bole_status rc = bole_flash_log_scan(&s, v);
	if (rc == BOLE_OK)
		rc = bole_flash_replay(&s, &sealed);
	if (rc == BOLE_OK && anew)
		rc = bole_flash_rebuild_prepared_end(v);
	if (rc == BOLE_OK && anew)
		rc = bole_flash_rebuild_doubts(v);
	if (v->repair != NULL && v->repair->archive != NULL) {
		bole_flash_log_scan_release(&s);
		return rc;
	}
	if (rc == BOLE_OK) {
		set_log(v, &s);
		for (uint32_t i = 0; i < v->repos; i++)
			bole_flash_mem_count(v, NULL, v->repo[i]->domain->index);
		v->merge_room = bole_flash_merge_room(v);
		if (v->repair != NULL && v->repair->whole)
			rc = bole_flash_rebuild_whole(v);
		if (rc == BOLE_OK && v->repair != NULL && !v->read_only)
			rc = bole_flash_salvage_count(v);
		bool fits = reserve_next(v);
		settle_segments(v);
		v->growth += v->tail_bytes;
		bole_flash_check_end(v, false);
		if (sealed)
			v->log.durable = v->log.batch - 1;
		if (rc == BOLE_OK && v->repair != NULL)
			rc = succeed(v, s.ahead);
		if (rc == BOLE_OK && v->packs != NULL && !v->read_only)
			rc = bole_flash_packs_write(v->packs);
		if (rc == BOLE_OK && (!sealed || !fits) && !v->read_only)
			rc = after_cut(v, &s);
		else if (rc == BOLE_OK && v->anchor_place.doubt && !v->read_only)
			rc = settle_anchor(v);
	}
	bole_flash_log_scan_release(&s);
	/* What was found is all that there will ever be, and can be read. */
	if (atomic_load(&v->worn) && (rc == BOLE_E_IO || rc == BOLE_E_READ_ONLY)) {
		v->read_only = true;
		rc = BOLE_OK;
	}
	if (rc == BOLE_OK && v->log.stale && !v->read_only)
		rc = leave_segment(v);
	if (rc == BOLE_OK)
		(void)bole_flash_erase_ahead(v, 1);
	return rc;
}

static void init_tables(struct flash_volume *v)
{
	v->alloc = &v->budget.alloc;
	v->plain = (struct flash_table_kind){.alloc = v->alloc};
	v->aux = v->plain;
	v->queue_end = &v->queue;
	v->drafted = SEGMENT_NONE;
	for (uint32_t i = 0; i < VOLUME_POOL; i++)
		v->pool[i].segment = SEGMENT_NONE;
	v->epoch = 1;
	v->stamp = 1;
	v->next_extent = 1;
	v->next_repo = 1;
	v->next_domain = 1;
	v->platform->ops->mutex_init(v->platform, &v->lock);
	v->platform->ops->cond_init(v->platform, &v->cond);
}

/* Memory for pages, fences and filters, as asked for or as fits. */
static enum bole_status init_cache(struct flash_volume *v,
                                   const struct bole_flash_open_options *options)
{
	size_t limit = options == NULL ? 0 : options->memory_bytes_max;
	size_t bytes = options == NULL ? 0 : options->cache_bytes;
	size_t keep = options == NULL ? 0 : options->filter_bytes_max;

	if (bytes == 0)
		bytes = limit == 0 ? CACHE_BYTES_FREELY : limit / CACHE_SHARE;
	if (bytes < CACHE_BYTES_MIN && (options == NULL || options->cache_bytes == 0))
		bytes = CACHE_BYTES_MIN;
	if (keep == 0)
		keep = limit == 0 ? SIZE_MAX : limit / 2;
	v->page_bytes = bole_flash_page_size(v);
	size_t pages = bytes / CACHE_PAGES_SHARE;
	BOLE_TRY(bole_flash_cache_open(v->platform, v->alloc, v->page_bytes, pages, keep,
	                               &v->cache));
	return bole_flash_objects_open(v->platform, v->alloc, bytes - pages, &v->objects);
}

static enum bole_status init_geometry(struct flash_volume *v)
{
	const struct flash_geometry *g = &v->anchor.geometry;
	uint64_t fragment = g->segment_bytes / 8;

	v->geometry = *g;
	memcpy(v->key, v->anchor.key, sizeof v->key);
	v->unit = g->unit;
	v->short_runs = (v->anchor.incompat & FLASH_INCOMPAT_SHORT_RUNS) != 0;
	v->segments = g->segments;
	v->segment_bytes = (uint32_t)g->segment_bytes;
	if (fragment > FLASH_FRAGMENT_BYTES)
		fragment = FLASH_FRAGMENT_BYTES;
	v->fragment_bytes = fragment < v->unit ? v->unit : (uint32_t)fragment;
	v->record_max = v->segment_bytes / 2 < FLASH_RECORD_BYTES_MAX ? v->segment_bytes / 2
	                                                              : FLASH_RECORD_BYTES_MAX;
	v->segment = bole_alloc_zeroed(v->alloc, v->segments, sizeof *v->segment);
	return v->segment == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
}

static void free_volume(struct flash_volume *v)
{
	bole_flash_clean_close(v);
	for (struct flash_prepared *p = v->prepared; p != NULL;) {
		struct flash_prepared *next = p->next;
		if (p->tx != NULL)
			bole_flash_tx_free(p->tx);
		bole_flash_prepared_free(v, p, false);
		p = next;
	}
	bole_flash_merge_end(v);
	if (v->saved != NULL)
		bole_flash_state_release(v, v->saved);
	bole_alloc_free(v->alloc, v->saved, 1, sizeof *v->saved);
	bole_flash_catalog_close(v);
	bole_flash_batch_close(v);
	bole_flash_room_close(v);
	bole_flash_reader_close(v, &v->reader);
	bole_flash_cache_close(v->cache);
	bole_flash_objects_close(v->objects);
	for (uint32_t i = 0; i < v->elements; i++)
		bole_flash_element_release(v, &v->element[i]);
	bole_alloc_free(v->alloc, v->segment, v->segments, sizeof *v->segment);
	bole_flash_anchor_release(v->alloc, &v->anchor);
	bole_buffer_release(&v->losses);
	v->platform->ops->cond_destroy(v->platform, &v->cond);
	v->platform->ops->mutex_destroy(v->platform, &v->lock);
	BOLE_ASSERT(atomic_load(&v->budget.used) == 0);
	bole_alloc_free(v->outer, v, 1, sizeof *v);
}

enum bole_status bole_flash_volume_open(struct bole_block *dev, struct bole_platform *platform,
                                        struct bole_alloc *alloc,
                                        const struct bole_flash_open_options *options,
                                        struct flash_volume **out)
{
	enum bole_status rc =
	        bole_flash_volume_open_older(dev, platform, alloc, options, NULL, out);

	return rc == BOLE_E_CORRUPT
	               ? bole_flash_salvage(dev, platform, alloc, options, FLASH_SALVAGE_READ, out)
	               : rc;
}

enum bole_status bole_flash_volume_open_older(struct bole_block *dev,
                                              struct bole_platform *platform,
                                              struct bole_alloc *alloc,
                                              const struct bole_flash_open_options *options,
                                              const struct flash_repair *repair,
                                              struct flash_volume **out)
{
	size_t limit = options == NULL ? 0 : options->memory_bytes_max;
	struct flash_volume *v = bole_alloc_zeroed(alloc, 1, sizeof *v);

	if (v == NULL)
		return BOLE_E_NO_MEMORY;
	v->dev = dev;
	v->platform = platform;
	v->outer = alloc;
	v->repair = repair;
	v->salvage = repair != NULL && repair->salvage;
	v->no_background = options != NULL && options->no_background;
	atomic_init(&v->attended_ns, 0); /* nobody has begun */
	v->read_only = dev->info.read_only || (options != NULL && options->read_only);
	bole_budget_init(&v->budget, alloc, limit == 0 ? SIZE_MAX : limit);
	bole_buffer_init(&v->losses, &v->budget.alloc, LOSSES_BYTES);
	v->mem_rows_max = limit == 0 ? MEM_ROWS : limit / MEM_SHARE / MEM_ROW_BYTES;
	init_tables(v);
	enum bole_status rc =
	        bole_flash_anchor_load(dev, platform, v->alloc, &v->anchor, &v->anchor_place);
	uint64_t strange = v->anchor.ro_compat & ~(uint64_t)ANCHOR_RO_FEATURES_KNOWN;
	if (rc == BOLE_OK && strange != 0 && !v->read_only) {
		bole_log(platform, BOLE_LOG_WARN,
		         "%s: the volume has features %#llx that this build may not write: "
		         "read-only",
		         dev->info.name, (unsigned long long)strange);
		v->read_only = true;
	}
	if (rc == BOLE_OK && repair != NULL)
		rc = older_anchor(v);
	if (rc == BOLE_OK)
		rc = init_geometry(v);
	if (rc == BOLE_OK)
		rc = init_cache(v, options);
	struct rebuild_packs packs = {.v = v};
	if (repair != NULL && repair->rebuild)
		v->packs = &packs;
	if (rc == BOLE_OK)
		rc = mount(v);
	bole_flash_packs_close(&packs);
	v->packs = NULL;
	if (rc != BOLE_OK) {
		free_volume(v);
		return rc;
	}
	v->counters.mount_reads = atomic_load(&v->counters.reads);
	v->repair = NULL;
	*out = v;
	return BOLE_OK;
}

/* A seal alone may be what a cut interrupted, and not be there the next time. */
static enum bole_status confirm_seal(struct flash_volume *v)
{
	v->log.durable = v->log.batch - 1;
	/* Without it the next mount takes more care, that is all. */
	if (bole_flash_batch_end(v, FLASH_BATCH_CONFIRM) != BOLE_OK)
		return BOLE_OK;
	return bole_flash_flush(v);
}

enum bole_status bole_flash_volume_close(struct flash_volume *v)
{
	/* Where a seal and its confirmation still fit. */
	uint32_t last =
	        v->segment_bytes - 2 * bole_flash_trailer_at(v->unit, 0) - 2 * TRAILER_BYTES;
	enum bole_status rc = BOLE_OK;

	/* What a mount would have to read again; one that fails is no harm. */
	if (!v->read_only && !atomic_load(&v->failed) && bole_flash_checkpoint_last(v))
		(void)bole_flash_checkpoint(v);
	while (!v->read_only && !atomic_load(&v->failed) && v->dirty && rc == BOLE_OK) {
		rc = bole_flash_log_mend(v);
		/* The confirmation shall not open a segment that a mount has to read. */
		if (rc == BOLE_OK && v->dev->info.needs_erase && v->log.pos > last)
			rc = bole_flash_log_advance(v);
		if (rc == BOLE_OK || rc == BOLE_E_NO_SPACE)
			rc = bole_flash_log_blank(v);
		if (rc == BOLE_OK)
			rc = bole_flash_batch_end(v, FLASH_BATCH_SEAL);
		if (rc != BOLE_OK && v->log.broken) {
			rc = BOLE_OK; /* once more, elsewhere */
			continue;
		}
		if (rc == BOLE_OK)
			rc = bole_flash_flush(v);
	}
	/* One that was written while idle, too. */
	if (rc == BOLE_OK && v->log.sealed && !atomic_load(&v->failed) &&
	    bole_flash_log_blank(v) == BOLE_OK)
		rc = confirm_seal(v);
	if (atomic_load(&v->failed))
		rc = BOLE_E_IO;
	free_volume(v);
	return rc;
}
