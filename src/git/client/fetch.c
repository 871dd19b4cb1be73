/* SPDX-License-Identifier: ISC */
/* A fetch: the list, what of it is new here, the pack into a transaction, one commit. Whatever
 * fails before the commit leaves nothing behind. */
#include "git/client/fetch.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum { TEXT_CHUNK_BYTES = 16 * 1024 };

void bole_fetch_session_open(struct fetching *f)
{
	f->svc = (struct bole_service){.platform = f->r->platform,
	                               .alloc = f->r->alloc,
	                               .store = f->store,
	                               .repo = f->repo};
	f->session.svc = &f->svc;
	f->session.ticks = f->session.peel_steps = 0;
	bole_history_init(&f->history, &f->session, f->tx->view);
	f->open = true;
}

void bole_fetch_session_close(struct fetching *f)
{
	if (!f->open)
		return;
	bole_history_release(&f->history);
	bole_session_drop_reader(&f->session);
	f->open = false;
}

void bole_fetch_lists_open(struct fetching *f)
{
	struct bole_id_list *const lists[] = {&f->wants, &f->shallow, &f->unshallow, &f->cut};

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		bole_id_list_init(lists[i], f->r->platform, f->r->alloc, f->repo.algo);
	f->wants_open = true;
}

void bole_fetch_lists_release(struct fetching *f)
{
	struct bole_id_list *const lists[] = {&f->wants, &f->shallow, &f->unshallow, &f->cut};

	for (size_t i = 0; f->wants_open && i < sizeof lists / sizeof lists[0]; i++)
		bole_id_list_release(lists[i]);
	f->wants_open = false;
}

static enum bole_status find_repo(struct fetching *f)
{
	const char *name = f->job->repo;
	char head[BOLE_REF_NAME_MAX + 1];

	enum bole_status rc = bole_repo_find(f->store, name, &f->repo);
	if (rc == BOLE_OK && f->job->mode == BOLE_FETCH_CLONE)
		return bole_remote_fail(f->r, BOLE_E_EXISTS,
		                        "a repository %s exists already; fetch into it, or "
		                        "take another name",
		                        name);
	if (rc == BOLE_E_NOT_FOUND && f->job->mode != BOLE_FETCH_UPDATE) {
		bole_fetch_head(f, head, sizeof head);
		rc = bole_repo_create(f->store, name, f->r->algo, head, &f->repo);
		f->created = rc == BOLE_OK;
	}
	if (rc != BOLE_OK)
		return bole_remote_fail(f->r, rc, "repository %s: %s", name, bole_status_text(rc));
	if (f->repo.algo != f->r->algo)
		return bole_remote_fail(
		        f->r, BOLE_E_CONFLICT, "the server's objects are %s, those of %s are %s",
		        bole_hash_name(f->r->algo), name, bole_hash_name(f->repo.algo));
	return BOLE_OK;
}

enum bole_status bole_fetch_tell_kept(struct bole_remote *r, uint64_t objects)
{
	char why[sizeof r->error];

	memcpy(why, r->error, sizeof why);
	snprintf(r->error, sizeof r->error,
	         "%.250s; %llu objects that came are kept, the next fetch goes on there", why,
	         (unsigned long long)objects);
	return BOLE_E_CLOSED;
}

/* Steps look at every reference again: what is as it was is told once, what is refused at last. */
static void tell(struct fetching *f, bool first, bool again)
{
	struct bole_client_fetch *job = f->job;

	for (size_t i = 0; job->change != NULL && i < f->count; i++) {
		const struct fetch_item *item = &f->items[i];
		struct bole_client_change change = {
		        .what = item->what,
		        .from = item->from == NULL ? bole_bytes_z("") : item->from->name,
		        .to = item->name,
		        .old_oid = item->old_oid,
		        .new_oid = item->new_oid,
		        .reason = item->reason,
		};

		if (item->left || item->later || (!first && item->what == BOLE_CHANGE_NONE) ||
		    (again && item->what == BOLE_CHANGE_REFUSED))
			continue;
		job->change(job->ctx, &change);
	}
}

enum bole_status bole_fetch_begin(struct fetching *f)
{
	BOLE_TRY(bole_fetch_specs(f));
	BOLE_TRY(bole_remote_connect(f->r, "git-upload-pack",
	                             f->r->options->protocol == BOLE_PROTOCOL_BEST
	                                     ? 2
	                                     : (int)f->r->options->protocol - 1));
	BOLE_TRY(bole_fetch_list(f));
	return find_repo(f);
}

static enum bole_status course(struct fetching *f)
{
	BOLE_TRY(bole_fetch_begin(f));
	BOLE_TRY(bole_tx_begin(f->store, f->repo.id, &f->tx));
	bole_fetch_lists_open(f);
	bole_fetch_session_open(f);
	enum bole_status rc = bole_session_boundary(&f->session, f->tx->view);
	if (rc != BOLE_OK)
		return bole_remote_fail(f->r, rc, "repository %s: its shallow boundary: %s",
		                        f->job->repo, bole_status_text(rc));
	BOLE_TRY(bole_fetch_check_deepen(f));
	BOLE_TRY(bole_fetch_partial(f));
	BOLE_TRY(bole_fetch_map(f));
	BOLE_TRY(bole_fetch_batch(f));
	BOLE_TRY(bole_fetch_receive(f));
	/* What was looked up before the pack came may be found in it now. */
	bole_fetch_session_close(f);
	bole_fetch_session_open(f);
	if (f->asks)
		BOLE_TRY(bole_fetch_ends(f));
	BOLE_TRY(bole_fetch_judge(f));
	return f->job->dry_run ? BOLE_OK : bole_fetch_commit(f);
}

static void release(struct fetching *f)
{
	bole_fetch_session_close(f);
	bole_boundary_release(&f->session.boundary);
	bole_fetch_lists_release(f);
	bole_tx_abort(f->tx);
	bole_tx_abort(f->dropped);
	bole_alloc_free(f->r->alloc, f->items, f->cap, sizeof *f->items);
	bole_arena_release(&f->text);
}

/* What is left to do after a conversation. */
struct rest {
	bool again; /* another one */
	bool due;   /* what the origin promised because an earlier one was cut off */
};

static enum bole_status run(struct bole_remote *r, struct bole_store *store,
                            struct bole_client_fetch *job, const struct bole_bundled *bundled,
                            bool first, struct rest *rest)
{
	struct fetching f = {.r = r,
	                     .store = store,
	                     .job = job,
	                     .bundled = bundled->prefix,
	                     .created = first && bundled->created};

	job->refs_refused = 0;
	bole_arena_init(&f.text, r->alloc, TEXT_CHUNK_BYTES);
	enum bole_status rc = course(&f);
	if (rc < 0)
		(void)bole_remote_fail(r, rc, "%s", bole_status_text(rc));
	rest->again = rc == BOLE_OK && !f.cut_off && (f.again || f.more) && !job->dry_run;
	rest->due = f.promisor && f.origin.filter[0] == '\0';
	if (rc == BOLE_OK || rc == BOLE_E_CONFLICT)
		tell(&f, first, rest->again);
	release(&f);
	if (rc == BOLE_OK && f.cut_off)
		return bole_fetch_tell_kept(r, job->objects);
	uint32_t repo = first && bundled->created ? bundled->repo : f.repo.id;
	if ((rc != BOLE_OK || job->dry_run) && f.created &&
	    bole_repo_remove(store, repo) != BOLE_OK)
		bole_log(r->platform, BOLE_LOG_WARN, "fetch: %s stays behind, empty", job->repo);
	return rc;
}

/* Another conversation, for the next step; its failure is told in r. */
static enum bole_status run_next(struct bole_remote *r, struct bole_store *store,
                                 struct bole_client_fetch *job, const struct bole_bundled *bundled,
                                 struct rest *rest)
{
	struct bole_remote next = {.version = 0};

	rest->again = false;
	r->transport->ops->end(r->transport);
	enum bole_status rc =
	        bole_remote_open(&next, r->platform, r->alloc, r->transport, r->options);
	next.url = r->url;
	next.download = r->download;
	if (rc == BOLE_OK)
		rc = run(&next, store, job, bundled, false, rest);
	if (rc != BOLE_OK)
		(void)bole_remote_fail(r, rc, "%s; what came before is kept, a fetch goes on there",
		                       next.error);
	bole_remote_close(&next);
	return rc;
}

/* A repository that is partial because a fetch was cut off is made whole. */
static enum bole_status complete(struct bole_remote *r, struct bole_store *store,
                                 struct bole_client_fetch *job)
{
	struct bole_client_backfill fill = {.repo = job->repo,
	                                    .resume = job->resume,
	                                    .lenient = job->lenient,
	                                    .pack_bytes_max = job->pack_bytes_max,
	                                    .object_bytes_max = job->object_bytes_max,
	                                    .memory_bytes_max = job->memory_bytes_max};
	struct bole_remote next = {.version = 0};

	r->transport->ops->end(r->transport);
	enum bole_status rc =
	        bole_remote_open(&next, r->platform, r->alloc, r->transport, r->options);
	next.url = r->url;
	if (rc == BOLE_OK)
		rc = bole_remote_backfill(&next, store, &fill);
	job->objects += fill.objects;
	job->pack_bytes += fill.pack_bytes;
	if (rc != BOLE_OK)
		(void)bole_remote_fail(r, rc, "%s", next.error);
	bole_remote_close(&next);
	return rc;
}

enum bole_status bole_remote_fetch(struct bole_remote *r, struct bole_store *store,
                                   struct bole_client_fetch *job)
{
	const struct bole_client_deepen deepen = job->deepen;
	enum bole_fetch_mode mode = job->mode;
	struct bole_bundled bundled;
	struct rest rest = {.again = false};

	job->objects = job->pack_bytes = job->refs_changed = job->haves = job->ends = 0;
	job->promised = 0;
	job->rounds = 0;
	enum bole_status rc = bole_bundles_fetch(r, store, job, &bundled);
	if (rc != BOLE_OK)
		return rc;
	if (bundled.created)
		job->mode = BOLE_FETCH_UPDATE;
	rc = run(r, store, job, &bundled, true, &rest);
	/* Steps, and tags whose target has come while they did not. */
	for (uint32_t i = 0; rest.again && i < BOLE_REMOTE_REFS_MAX; i++) {
		uint64_t before = job->refs_changed;

		job->mode = BOLE_FETCH_UPDATE;
		job->deepen = (struct bole_client_deepen){.depth = 0}; /* done by the first */
		rc = run_next(r, store, job, &bundled, &rest);
		rest.again = rest.again && job->refs_changed > before;
	}
	job->mode = mode;
	job->deepen = deepen;
	if (bole_bundles_drop(r, store, &bundled) != BOLE_OK)
		bole_remote_warn(r, "references of bundles stay behind: %s", bundled.prefix);
	if (rc == BOLE_OK && !job->dry_run &&
	    bole_bundles_drop_stale(r, store, job->repo) != BOLE_OK)
		bole_remote_warn(r, "references of bundles of an earlier fetch stay behind");
	return rc == BOLE_OK && rest.due && !job->dry_run ? complete(r, store, job) : rc;
}
