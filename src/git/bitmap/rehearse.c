/* SPDX-License-Identifier: ISC */
#include "git/bitmap/rehearse.h"

#include "base/check.h"
#include "git/fetch/pack_emit.h"
#include "git/negotiate.h"

enum { WORTH_MIN = 4096 }; /* entries of an extent: fewer are soon looked at */

static enum bole_status write_nowhere(struct bole_writer *writer, const void *src, size_t len)
{
	(void)writer;
	(void)src;
	(void)len;
	return BOLE_OK;
}

static enum bole_status flush_nowhere(struct bole_writer *writer)
{
	(void)writer;
	return BOLE_OK;
}

struct rehearsal {
	enum bole_status (*tick)(void *ctx);
	void *ctx;
};

static bool is_called_off(void *ctx)
{
	const struct rehearsal *r = ctx;

	return r->tick != NULL && r->tick(r->ctx) != BOLE_OK;
}

/* Most of what there is lies in one extent of which nobody knows whether it goes out as it is. */
static bool is_worth_it(const struct bole_bitmap *b)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < b->segment_count; i++)
		if (b->segments[i].extent != 0 && b->segments[i].count > most)
			most = b->segments[i].count;
	return atomic_load(&b->verbatim) == 0 && most >= WORTH_MIN && most >= b->positions / 2;
}

/* The first clone is ours: it finds out what can be sent without a look, and its hash. What fails
 * is found out by the first client. */
void bole_bitmap_rehearse(const struct bole_bitmap_job *job, struct bole_bitmap *b)
{
	size_t count = b->tips.len / b->key_bytes;
	struct rehearsal rehearsal = {job->tick, job->tick_ctx};
	struct bole_writer nowhere = {.write = write_nowhere, .flush = flush_nowhere};
	struct bole_pack_plan *plan = NULL;

	if (!is_worth_it(b))
		return;
	struct bole_oid *wants = bole_alloc_array(job->alloc, count, sizeof *wants);
	if (wants == NULL)
		return;
	for (size_t i = 0; i < count; i++)
		bole_oid_from_raw(b->tips.ptr + i * b->key_bytes, b->algo, &wants[i]);
	struct bole_reach reach = {
	        .platform = job->platform,
	        .alloc = job->alloc,
	        .snapshot = job->snapshot,
	        .wants = wants,
	        .want_count = count,
	        .ofs_delta = true,
	        .bitmap = b,
	        .cancelled = is_called_off,
	        .cancelled_ctx = &rehearsal,
	};
	enum bole_status rc = bole_pack_plan_open(&reach, &plan);
	if (rc == BOLE_OK && !bole_pack_plan_behind(plan))
		rc = bole_pack_emit(plan, &nowhere);
	(void)rc;
	bole_pack_plan_close(plan);
	bole_alloc_free(job->alloc, wants, count, sizeof *wants);
}

static enum bole_status clone_near(const struct bole_bitmap_job *job, struct bole_bitmap *b,
                                   struct bole_wholes *wholes, const struct bole_oid *tip,
                                   const struct bole_id_list *ends)
{
	struct rehearsal rehearsal = {job->tick, job->tick_ctx};
	struct bole_writer nowhere = {.write = write_nowhere, .flush = flush_nowhere};
	struct bole_pack_plan *plan = NULL;
	struct bole_reach reach = {
	        .platform = job->platform,
	        .alloc = job->alloc,
	        .snapshot = job->snapshot,
	        .wants = tip,
	        .want_count = 1,
	        .grafts = ends,
	        .ofs_delta = true,
	        .bitmap = b,
	        .keep = wholes,
	        .cancelled = is_called_off,
	        .cancelled_ctx = &rehearsal,
	};
	enum bole_status rc = bole_pack_plan_open(&reach, &plan);

	if (rc == BOLE_OK)
		rc = bole_pack_emit(plan, &nowhere);
	bole_pack_plan_close(plan);
	return rc;
}

enum bole_status bole_bitmap_rehearse_near(const struct bole_bitmap_job *job, struct bole_bitmap *b,
                                           struct bole_wholes *wholes)
{
	uint64_t objects = 0;
	struct bole_id_list ends;
	struct bole_oid tip;
	enum bole_status rc = BOLE_OK;

	for (uint32_t i = 0; i < b->closure_count && rc == BOLE_OK; i++) {
		objects += b->closures[i].objects;
		if (objects > WHOLES_CLOSURES_MAX)
			break;
		bole_oid_from_raw(b->closures[i].commit, b->algo, &tip);
		bole_id_list_init(&ends, job->platform, job->alloc, b->algo);
		rc = bole_id_list_add_once(&ends, &tip, 1);
		if (rc == BOLE_OK)
			rc = clone_near(job, b, wholes, &tip, &ends);
		bole_id_list_release(&ends);
		/* What was a tip once may have been collected. */
		if (rc == BOLE_E_NOT_FOUND)
			rc = BOLE_OK;
	}
	return rc;
}
