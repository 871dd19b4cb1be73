/* SPDX-License-Identifier: ISC */
#include "git/gc/gc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/bitmap/bitmap.h"

enum {
	BEGIN_TRIES = 3, /* a store that needs space may revoke a mark */
	WAIT_STEP_NS = 5 * 1000 * 1000,
};
static const uint64_t wait_default_ns = UINT64_C(10) * 1000 * 1000 * 1000;

enum bole_status bole_gc_fail(struct gc_walk *walk, enum bole_status rc, const char *format, ...)
{
	char *error = walk->result->error;

	if (error[0] == '\0') {
		va_list args;

		va_start(args, format);
		vsnprintf(error, sizeof walk->result->error, format, args);
		va_end(args);
	}
	return rc;
}

static enum bole_status mark_refs(struct gc_walk *walk)
{
	struct bole_ref ref = {.name = {NULL, 0}};
	char hex[BOLE_OID_HEX_MAX + 1];
	enum bole_status rc;

	while ((rc = bole_ref_next(walk->mark->view, bole_bytes_of(NULL, 0), ref.name, &ref)) ==
	       BOLE_OK) {
		/* What a symbolic one names is a reference of its own, or not there yet. */
		if (ref.symbolic)
			continue;
		rc = bole_gc_walk_root(walk, &ref.oid);
		if (rc == BOLE_E_NOT_FOUND)
			return bole_gc_fail(walk, BOLE_E_CORRUPT, "%.*s is at %s, which is missing",
			                    (int)ref.name.len, (const char *)ref.name.ptr,
			                    bole_oid_format(&ref.oid, hex));
		BOLE_TRY(rc);
	}
	return rc == BOLE_END ? bole_gc_walk_finish(walk) : rc;
}

/* The roots that came up during the walk; *count of them. */
static enum bole_status mark_roots(struct gc_walk *walk, uint64_t *count)
{
	struct bole_oid oid;
	enum bole_status rc;

	*count = 0;
	while ((rc = bole_mark_root(walk->mark, &oid)) == BOLE_OK) {
		rc = bole_gc_walk_root(walk, &oid);
		/* Dropped since it was looked up. */
		if (rc != BOLE_E_NOT_FOUND)
			BOLE_TRY(rc);
		++*count;
	}
	return rc == BOLE_END ? bole_gc_walk_finish(walk) : rc;
}

/* Sets are of objects where they are now: no cut may leave them when some of these are gone. */
static enum bole_status set_sets_aside(struct gc_walk *walk)
{
	const struct bole_mark *mark = walk->mark;

	return bole_bitmap_set_aside(mark->store, mark->view->repo.id, walk->alloc, &walk->sets,
	                             &walk->sets_len);
}

static void settle_sets(struct gc_walk *walk, struct bole_store *store, uint32_t repo)
{
	enum bole_status rc = BOLE_OK;

	if (walk->result->store.objects_dropped > 0)
		rc = bole_bitmap_forget(store, repo);
	else if (walk->sets != NULL)
		rc = bole_bitmap_put_back(store, repo, bole_bytes_of(walk->sets, walk->sets_len));
	if (rc != BOLE_OK)
		bole_log(walk->platform, BOLE_LOG_WARN,
		         "gc: what the store kept of sets is of no use any more: %s",
		         bole_status_text(rc));
	bole_alloc_free(walk->alloc, walk->sets, walk->sets == NULL ? 0 : walk->sets_len, 1);
}

/* Ends the mark; *ended = it is gone, whatever is returned. */
static enum bole_status finish(struct gc_walk *walk, bool *ended)
{
	struct bole_platform *platform = walk->platform;
	const struct bole_gc_options *options = walk->options;
	uint64_t wait = options->wait_ns == 0 ? wait_default_ns : options->wait_ns;
	uint64_t until = platform->ops->now_ns(platform) + wait;
	enum bole_status rc;

	if (options->progress != NULL)
		options->progress(options->ctx, "removing", walk->marked, 0);
	BOLE_TRY(set_sets_aside(walk));
	for (;;) {
		uint64_t roots;

		BOLE_TRY(mark_roots(walk, &roots));
		rc = bole_mark_end(walk->mark, &walk->result->store);
		*ended = rc != BOLE_AGAIN;
		if (*ended)
			return rc;
		uint64_t now = platform->ops->now_ns(platform);
		if (now >= until)
			return bole_gc_fail(walk, BOLE_E_BUSY,
			                    "transactions that began before "
			                    "did not end in time");
		if (options->cancelled != NULL && options->cancelled(options->ctx))
			return bole_gc_fail(walk, BOLE_E_CLOSED, "cancelled");
		if (roots == 0)
			platform->ops->sleep_until(platform, now + WAIT_STEP_NS);
	}
}

static enum bole_status begin_replacing(struct gc_walk *walk)
{
	const struct gc_replacement *replacement = walk->replacement;

	if (replacement == NULL)
		return BOLE_OK;
	BOLE_TRY(replacement->check(replacement->ctx, walk->mark->view));
	return bole_mark_replace(walk->mark, replacement->keep, replacement->extents,
	                         replacement->count);
}

static enum bole_status collect(struct gc_walk *walk, struct bole_store *store, uint32_t repo)
{
	bool ended = false;
	enum bole_status rc = bole_mark_begin(store, repo, &walk->mark);

	if (rc == BOLE_E_BUSY)
		return bole_gc_fail(walk, rc,
		                    "another collection or a prepared transaction goes on");
	BOLE_TRY(rc);
	rc = begin_replacing(walk);
	if (rc == BOLE_OK)
		rc = bole_gc_walk_open(walk);
	if (rc == BOLE_OK)
		rc = mark_refs(walk);
	if (rc == BOLE_OK)
		rc = finish(walk, &ended);
	/* Of the view, which may be gone by now, closing the reader needs nothing. */
	bool stale = walk->boundary.ends.count > 0 || walk->boundary.stale;
	uint64_t missing;
	bole_gc_walk_close(walk);
	/* Commits of the boundary may have gone; what is left of them does no harm. */
	if (rc == BOLE_OK && stale &&
	    bole_boundary_tidy(walk->platform, walk->alloc, store, repo) != BOLE_OK)
		bole_log(walk->platform, BOLE_LOG_WARN,
		         "gc: the shallow boundary still names commits that have gone");
	if (rc == BOLE_OK &&
	    bole_promises_tidy(walk->platform, walk->alloc, store, repo, true, &missing) != BOLE_OK)
		bole_log(walk->platform, BOLE_LOG_WARN,
		         "gc: the record of promised objects was not made shorter");
	if (!ended)
		bole_mark_abort(walk->mark);
	settle_sets(walk, store, repo);
	return rc;
}

enum bole_status bole_gc(struct bole_platform *platform, struct bole_alloc *alloc,
                         struct bole_store *store, uint32_t repo,
                         const struct bole_gc_options *options, struct bole_gc_result *out)
{
	return bole_gc_replacing(platform, alloc, store, repo, options, NULL, out);
}

enum bole_status bole_gc_replacing(struct bole_platform *platform, struct bole_alloc *alloc,
                                   struct bole_store *store, uint32_t repo,
                                   const struct bole_gc_options *options,
                                   const struct gc_replacement *replacement,
                                   struct bole_gc_result *out)
{
	static const struct bole_gc_options defaults;
	struct gc_walk walk = {.result = out};
	enum bole_status rc;

	*out = (struct bole_gc_result){.commits = 0};
	if (store->info.read_only)
		return bole_gc_fail(&walk, BOLE_E_READ_ONLY, "the store is read-only");
	for (unsigned i = 0;; i++) {
		*out = (struct bole_gc_result){.commits = 0};
		walk = (struct gc_walk){
		        .platform = platform,
		        .alloc = alloc,
		        .options = options == NULL ? &defaults : options,
		        .replacement = replacement,
		        .result = out,
		        .tick_ns = platform->ops->now_ns(platform),
		};
		rc = collect(&walk, store, repo);
		if (rc != BOLE_E_GONE || i + 1 == BEGIN_TRIES)
			break;
	}
	if (rc != BOLE_OK)
		bole_gc_fail(&walk, rc, "%s", bole_status_text(rc));
	return rc;
}
