/* SPDX-License-Identifier: ISC */
#include "git/repack/repack.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "bole/limits.h"
#include "git/gc/gc.h"

enum {
	WINDOW = 10,
	WINDOW_MAX = 1000,
	DEPTH_MAX = 250,
	FACTOR = 2,
	PACKS_MIN = 2,
	MEMORY_BYTES = 64 << 20,
	BIG_BYTES = 16 << 20,
	CACHE_BYTES = 16 << 20,
	DEFLATE_LEVEL = 6,
	SHRINK_STEP = 256,
	PROGRESS_NS = 250 * 1000 * 1000,
};

enum bole_status bole_repack_fail(struct repack *r, enum bole_status rc, const char *format, ...)
{
	char *error = r->result->error;

	if (error[0] == '\0') {
		va_list args;

		va_start(args, format);
		vsnprintf(error, sizeof r->result->error, format, args);
		va_end(args);
	}
	return rc;
}

void bole_repack_phase(struct repack *r, const char *phase, uint64_t total)
{
	r->phase = phase;
	r->done = 0;
	r->total = total;
}

enum bole_status bole_repack_spend(struct repack *r, uint64_t work)
{
	const struct bole_repack_options *options = &r->options;

	r->work += work + 16;
	if (r->work < REPACK_WORK_YIELD)
		return BOLE_OK;
	r->work = 0;
	r->platform->ops->yield(r->platform);
	if (options->cancelled != NULL && options->cancelled(options->ctx))
		return BOLE_E_CLOSED;
	uint64_t now = r->platform->ops->now_ns(r->platform);
	if (options->progress != NULL && now - r->tick_ns >= PROGRESS_NS) {
		r->tick_ns = now;
		options->progress(options->ctx, r->phase, r->done, r->total);
	}
	return BOLE_OK;
}

static void or_default(unsigned *value, unsigned otherwise, unsigned most)
{
	*value = *value == 0 ? otherwise : *value < most ? *value : most;
}

static void set_options(struct repack *r, const struct bole_repack_options *given)
{
	struct bole_repack_options *o = &r->options;

	if (given != NULL)
		*o = *given;
	or_default(&o->window, WINDOW, WINDOW_MAX);
	or_default(&o->depth, BOLE_DELTA_DEPTH_WRITE, DEPTH_MAX);
	or_default(&o->factor, FACTOR, UINT32_MAX);
	or_default(&o->packs_min, PACKS_MIN, UINT32_MAX);
	o->memory_bytes = o->memory_bytes == 0 ? MEMORY_BYTES : o->memory_bytes;
	o->big_bytes = o->big_bytes == 0 ? BIG_BYTES : o->big_bytes;
	o->cache_bytes = o->cache_bytes == 0 ? CACHE_BYTES : o->cache_bytes;
}

/* -- What is taken -- */

/* Packs that have objects in common with what is taken are taken, too: what lookups return after
 * this must be the new entries. */
static enum bole_status select_items(struct repack *r)
{
	uint64_t shared;

	BOLE_TRY(bole_repack_choose(r));
	for (;;) {
		BOLE_TRY(bole_repack_items(r));
		BOLE_TRY(bole_repack_shared(r, r->snapshot, &shared));
		if (shared == 0)
			break;
		bole_repack_take(r, shared);
		bole_repack_items_release(r);
		r->result->records = 0;
		r->result->kept = 0;
		r->result->bytes_before = 0;
	}
	if (!r->options.all && r->taken_count + r->result->records <= 1)
		return BOLE_END;
	for (size_t i = 0; i < r->pack_count; i++)
		if (bole_repack_is_taken(r, r->packs[i].extent))
			r->result->bytes_before += r->packs[i].data_bytes;
	r->result->packs = r->taken_count;
	return BOLE_OK;
}

static enum bole_status look_for_room(struct repack *r)
{
	struct bole_store_stats stats;

	BOLE_TRY(bole_store_stats(r->store, &stats));
	if (stats.free_bytes / 5 * 4 >= r->result->bytes_before)
		return BOLE_OK;
	return bole_repack_fail(r, BOLE_E_NO_SPACE, "no room for a second copy");
}

/* -- The new pack takes the place of what was taken -- */

static bool find_new(void *ctx, const struct bole_oid *oid, struct bole_entry *out)
{
	const struct repack *r = ctx;
	uint32_t number = bole_oid_map_find(&r->map, oid->bytes);

	if (number == BOLE_OID_NONE)
		return false;
	const struct bole_extent_row *row = &r->rows[r->items[number].row];
	*out = (struct bole_entry){r->extent, row->offset, row->stored_bytes, row->type};
	return true;
}

static enum bole_status still_alone(void *ctx, struct bole_snapshot *view)
{
	struct repack *r = ctx;
	uint64_t shared;

	BOLE_TRY(bole_repack_shared(r, view, &shared));
	return shared == 0 ? BOLE_OK
	                   : bole_repack_fail(r, BOLE_E_CONFLICT,
	                                      "a push brought the same objects meanwhile");
}

static enum bole_status replace(struct repack *r)
{
	struct gc_replacement replacement = {
	        .keep = r->extent,
	        .extents = r->taken,
	        .count = r->taken_count,
	        .find = find_new,
	        .check = still_alone,
	        .ctx = r,
	};
	struct bole_gc_options options = {
	        .progress = r->options.progress,
	        .cancelled = r->options.cancelled,
	        .ctx = r->options.ctx,
	        .cache_bytes = r->options.cache_bytes,
	        .wait_ns = r->options.wait_ns,
	};

	enum bole_status rc = bole_gc_replacing(r->platform, r->alloc, r->store, r->repo, &options,
	                                        &replacement, &r->result->gc);
	return rc == BOLE_OK ? rc : bole_repack_fail(r, rc, "%s", r->result->gc.error);
}

/* -- The whole -- */

static void close_view(struct repack *r)
{
	while (r->reader != NULL && bole_object_reader_shrink(r->reader, SHRINK_STEP))
		r->platform->ops->yield(r->platform);
	bole_object_reader_close(r->reader);
	bole_snapshot_close(r->snapshot);
	r->reader = NULL;
	r->snapshot = NULL;
}

static enum bole_status open_view(struct repack *r)
{
	struct bole_object_reader_options options = {.cache_bytes = r->options.cache_bytes};

	BOLE_TRY(bole_snapshot_open(r->store, r->repo, &r->snapshot));
	r->algo = r->snapshot->repo.algo;
	BOLE_TRY(bole_object_reader_open(r->snapshot, r->alloc, &options, &r->reader));
	return bole_deflater_open(r->alloc, DEFLATE_LEVEL, &r->deflater);
}

static enum bole_status run(struct repack *r)
{
	BOLE_TRY(open_view(r));
	BOLE_TRY(select_items(r));
	BOLE_TRY(look_for_room(r));
	BOLE_TRY(bole_repack_names(r));
	BOLE_TRY(bole_repack_judge(r));
	BOLE_TRY(bole_repack_deltas(r));
	BOLE_TRY(bole_repack_write(r));
	BOLE_TRY(bole_repack_check(r));
	/* Before the old ones go: whoever sees this pack alone knows that it was made. */
	BOLE_TRY(bole_repack_note_made(r));
	close_view(r);
	return replace(r);
}

static void release(struct repack *r)
{
	close_view(r);
	bole_deflater_close(r->deflater);
	bole_repack_items_release(r);
	bole_alloc_free(r->alloc, r->rows, r->rows == NULL ? 0 : r->result->objects,
	                sizeof *r->rows);
	bole_alloc_free(r->alloc, r->taken, r->taken == NULL ? 0 : r->pack_count, sizeof *r->taken);
	bole_alloc_free(r->alloc, r->packs, r->pack_cap, sizeof *r->packs);
}

enum bole_status bole_repack(struct bole_platform *platform, struct bole_alloc *alloc,
                             struct bole_store *store, uint32_t repo,
                             const struct bole_repack_options *options,
                             struct bole_repack_result *out)
{
	*out = (struct bole_repack_result){.packs = 0};
	struct repack r = {
	        .platform = platform,
	        .alloc = alloc,
	        .store = store,
	        .repo = repo,
	        .result = out,
	        .tick_ns = platform->ops->now_ns(platform),
	        .phase = "reading",
	};

	set_options(&r, options);
	if (store->info.read_only)
		return bole_repack_fail(&r, BOLE_E_READ_ONLY, "the store is read-only");
	if (store->mark == NULL || store->mark->replace == NULL)
		return bole_repack_fail(&r, BOLE_E_UNSUPPORTED, "the store keeps no packs");
	enum bole_status rc = run(&r);
	release(&r);
	if (rc != BOLE_OK && rc != BOLE_END)
		bole_repack_fail(&r, rc, "%s", bole_status_text(rc));
	return rc;
}

enum bole_status bole_repack_due(struct bole_alloc *alloc, struct bole_store *store, uint32_t repo,
                                 const struct bole_repack_options *options, unsigned *packs)
{
	struct bole_repack_result unused = {.packs = 0};
	struct repack r = {.alloc = alloc, .store = store, .repo = repo, .result = &unused};

	*packs = 0;
	set_options(&r, options);
	if (store->mark == NULL || store->mark->replace == NULL)
		return BOLE_E_UNSUPPORTED;
	BOLE_TRY(bole_snapshot_open(store, repo, &r.snapshot));
	enum bole_status rc = bole_repack_choose(&r);
	*packs = rc == BOLE_OK ? (unsigned)r.taken_count : 0;
	bole_snapshot_close(r.snapshot);
	bole_alloc_free(alloc, r.taken, r.taken == NULL ? 0 : r.pack_count, sizeof *r.taken);
	bole_alloc_free(alloc, r.packs, r.pack_cap, sizeof *r.packs);
	return rc == BOLE_END ? BOLE_OK : rc;
}
