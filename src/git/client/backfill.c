/* SPDX-License-Identifier: ISC */
/* What a partial repository lacks, by ids: trees first, level by level, each for itself, because
 * what is in one may be here; then blobs. Every batch is kept. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/fetch.h"

enum {
	BATCH = 16 * 1024, /* ids of one request */
	ROUNDS_MAX = 4096, /* trees that lead to trees */
	YIELD_EVERY = 1024,
};
static const char one_level[] = "tree:0";

struct filling {
	struct fetching f; /* what the pack goes through */
	struct bole_client_backfill *job;
	struct bole_client_fetch fetch; /* limits of it, and what it counts */
	struct bole_oid *ids;           /* what is missing */
	size_t count;
	size_t cap;
	uint8_t type;
};

/* -- What is missing -- */

static enum bole_status add(struct filling *b, const struct bole_oid *oid)
{
	if (b->count == b->cap) {
		size_t cap = b->cap == 0 ? YIELD_EVERY : b->cap * 2;
		struct bole_oid *ids =
		        bole_alloc_resize(b->f.r->alloc, b->ids, b->cap, cap, sizeof *ids);

		if (ids == NULL)
			return BOLE_E_NO_MEMORY;
		b->ids = ids;
		b->cap = cap;
	}
	b->ids[b->count++] = *oid;
	return BOLE_OK;
}

static enum bole_status add_missing(struct filling *b, struct bole_snapshot *view,
                                    const struct bole_oid *oid)
{
	struct bole_entry entry;
	enum bole_status rc = bole_odb_find(view, oid, &entry);

	return rc == BOLE_E_NOT_FOUND ? add(b, oid) : rc;
}

/* All of a type. */
static enum bole_status list_type(struct filling *b, struct bole_promises *p, uint8_t type)
{
	struct bole_oid oid;

	b->type = type;
	for (uint32_t i = 0; i < p->ids.count; i++) {
		const uint32_t *held = bole_oid_map_value(&p->ids, i);

		if (i % YIELD_EVERY == 0)
			p->platform->ops->yield(p->platform);
		if (*held != type)
			continue;
		bole_oid_from_raw(bole_oid_map_key(&p->ids, i), b->f.repo.algo, &oid);
		BOLE_TRY(add_missing(b, p->view, &oid));
	}
	return BOLE_OK;
}

static enum bole_status list_asked(struct filling *b, struct bole_promises *p)
{
	const struct bole_client_backfill *job = b->job;
	char hex[BOLE_OID_HEX_MAX + 1];

	b->type = BOLE_OBJECT_TREE; /* it may be one, and comes alone */
	for (size_t i = 0; i < job->id_count; i++) {
		struct bole_entry entry;
		enum bole_status rc = bole_odb_find(p->view, &job->ids[i], &entry);

		if (rc == BOLE_OK)
			continue;
		if (rc == BOLE_E_NOT_FOUND)
			rc = bole_promises_find(p, &job->ids[i], 0);
		if (rc == BOLE_E_NOT_FOUND)
			return bole_remote_fail(b->f.r, rc, "%s is not promised to %s",
			                        bole_oid_format(&job->ids[i], hex), job->repo);
		BOLE_TRY(rc);
		BOLE_TRY(add(b, &job->ids[i]));
	}
	return BOLE_OK;
}

static enum bole_status list_missing(struct filling *b)
{
	struct bole_promises promises;
	struct bole_snapshot *view;

	b->count = 0;
	BOLE_TRY(bole_snapshot_open(b->f.store, b->f.repo.id, &view));
	bole_promises_init(&promises, b->f.r->platform, b->f.r->alloc, view);
	enum bole_status rc = bole_promises_load(&promises);
	if (rc == BOLE_OK && b->job->id_count > 0)
		rc = list_asked(b, &promises);
	else if (rc == BOLE_OK)
		rc = list_type(b, &promises, BOLE_OBJECT_TREE);
	if (rc == BOLE_OK && b->count == 0 && b->job->id_count == 0)
		rc = list_type(b, &promises, BOLE_OBJECT_BLOB);
	bole_promises_release(&promises);
	bole_snapshot_close(view);
	return rc;
}

/* -- A batch -- */

/* A tree that is also in another of them a server may leave out (git does): it is asked for again.
 * Without any there would be no end. */
static enum bole_status check_came(struct filling *b)
{
	const struct bole_id_list *wants = &b->f.wants;
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_entry entry;

	for (size_t i = 0; i < wants->count; i++) {
		enum bole_status rc = bole_odb_find(b->f.tx->view, &wants->ids[i], &entry);

		if (rc != BOLE_E_NOT_FOUND)
			return rc;
	}
	return bole_remote_fail(b->f.r, BOLE_E_INVALID,
	                        "the server does not send %s, which was promised",
	                        bole_oid_format(&wants->ids[0], hex));
}

static enum bole_status take_batch(struct filling *b)
{
	struct fetching *f = &b->f;
	size_t failed;

	enum bole_status rc = bole_session_boundary(&f->session, f->tx->view);
	if (rc == BOLE_OK)
		rc = bole_fetch_pack(f, b->type == BOLE_OBJECT_TREE && f->r->caps.filter ? one_level
		                                                                         : NULL);
	/* No end of history is recorded here, so none may come. */
	if (rc == BOLE_OK && f->cut.count > 0)
		rc = bole_remote_fail(f->r, BOLE_E_INVALID,
		                      "the server sends ends of history, and was asked for "
		                      "single objects");
	if (rc == BOLE_OK && !f->cut_off)
		rc = check_came(b);
	BOLE_TRY(rc);
	bole_fetch_session_close(f);
	rc = bole_tx_commit(f->tx, NULL, 0, &failed);
	f->tx = NULL;
	return rc == BOLE_OK && f->cut_off ? bole_fetch_tell_kept(f->r, f->job->objects) : rc;
}

static enum bole_status batch(struct filling *b, const struct bole_oid *ids, size_t count)
{
	struct fetching *f = &b->f;

	BOLE_TRY(bole_tx_begin(f->store, f->repo.id, &f->tx));
	bole_fetch_lists_open(f);
	bole_fetch_session_open(f);
	enum bole_status rc = BOLE_OK;
	for (size_t i = 0; i < count && rc == BOLE_OK; i++)
		rc = bole_id_list_add_once(&f->wants, &ids[i], BATCH);
	if (rc == BOLE_OK)
		rc = take_batch(b);
	bole_fetch_session_close(f);
	bole_boundary_release(&f->session.boundary);
	f->session.boundary.platform = NULL;
	bole_fetch_lists_release(f);
	bole_tx_abort(f->tx);
	bole_tx_abort(f->dropped);
	f->tx = f->dropped = NULL;
	return rc;
}

/* -- The course -- */

static enum bole_status open_repo(struct filling *b)
{
	struct bole_remote *r = b->f.r;
	const char *name = b->job->repo;

	enum bole_status rc = bole_repo_find(b->f.store, name, &b->f.repo);
	if (rc != BOLE_OK)
		return bole_remote_fail(r, rc, "repository %s: %s", name, bole_status_text(rc));
	BOLE_TRY(bole_remote_connect(r, "git-upload-pack", 2));
	if (r->version != 2)
		return bole_remote_fail(r, BOLE_E_UNSUPPORTED,
		                        "the server does not speak version 2 of the protocol");
	if (b->f.repo.algo != r->algo)
		return bole_remote_fail(
		        r, BOLE_E_CONFLICT, "the server's objects are %s, those of %s are %s",
		        bole_hash_name(r->algo), name, bole_hash_name(b->f.repo.algo));
	return BOLE_OK;
}

static enum bole_status fill(struct filling *b)
{
	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		BOLE_TRY(list_missing(b));
		for (size_t at = 0; at < b->count; at += BATCH) {
			size_t left = b->count - at;

			BOLE_TRY(batch(b, b->ids + at, left < BATCH ? left : BATCH));
		}
		if (b->count == 0)
			return BOLE_OK;
	}
	return bole_remote_fail(b->f.r, BOLE_E_LIMIT, "trees are nested too deep");
}

enum bole_status bole_remote_backfill(struct bole_remote *r, struct bole_store *store,
                                      struct bole_client_backfill *job)
{
	struct filling b = {.job = job,
	                    .fetch = {.repo = job->repo,
	                              .tags = BOLE_TAGS_NONE,
	                              .resume = job->resume,
	                              .lenient = job->lenient,
	                              .pack_bytes_max = job->pack_bytes_max,
	                              .object_bytes_max = job->object_bytes_max,
	                              .memory_bytes_max = job->memory_bytes_max}};

	b.f.r = r;
	b.f.store = store;
	b.f.job = &b.fetch;
	b.f.partial = b.f.promisor = true;
	job->missing = 0;
	enum bole_status rc = open_repo(&b);
	if (rc == BOLE_OK)
		rc = fill(&b);
	job->objects = b.fetch.objects;
	job->pack_bytes = b.fetch.pack_bytes;
	if (rc == BOLE_OK && job->id_count == 0)
		rc = bole_promises_tidy(r->platform, r->alloc, store, b.f.repo.id, false,
		                        &job->missing);
	if (rc < 0)
		(void)bole_remote_fail(r, rc, "%s", bole_status_text(rc));
	bole_alloc_free(r->alloc, b.ids, b.cap, sizeof *b.ids);
	return rc;
}
