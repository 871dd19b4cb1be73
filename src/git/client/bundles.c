/* SPDX-License-Identifier: ISC */
#include "git/client/bundles.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/files/bundle.h"
#include "git/object/peel.h"
#include "git/pack/ingest.h"

enum {
	BUFFER_BYTES = 64 * 1024,
	TEXT_CHUNK_BYTES = 4096,
	SIGNATURE_BYTES = 3, /* "# v" */
	PREFIX_MAX = 40,
	PREFIX_HEX = 16, /* digits of it: seconds since 1970 (0: not known), and random ones */
	STALE_S = 24 * 60 * 60, /* so old are only those of a fetch that never came to its end */
	STALE_MAX = 16,         /* of these go at a time */
	REFS_AT_ONCE = 1000,
};

static const char bundles_at[] = "refs/bundles/";

/* A bundle at hand. */
struct taking {
	struct bundles *b;
	struct bole_input in;
	struct bole_budget budget;
	struct bole_bundle_head head;
	struct bole_tx *tx;
	struct bole_boundary boundary;
	struct bole_ref_update *updates;
	size_t update_count;
	struct bole_ingest_report report;
	const char *why;
};

/* BOLE_AGAIN: a prerequisite is missing. */
static enum bole_status check_prerequisites(struct taking *t)
{
	struct bole_entry entry;

	for (size_t i = 0; i < t->head.prerequisite_count; i++) {
		enum bole_status rc = bole_odb_find(t->tx->view, &t->head.prerequisites[i], &entry);

		if (rc == BOLE_E_NOT_FOUND || (rc == BOLE_OK && entry.type != BOLE_OBJECT_COMMIT))
			return BOLE_AGAIN;
		BOLE_TRY(rc);
	}
	return BOLE_OK;
}

/* Whether all that it offers is here. */
static enum bole_status is_known(struct taking *t, bool *out)
{
	struct bole_entry entry;

	for (size_t i = 0; i < t->head.ref_count; i++) {
		enum bole_status rc = bole_odb_find(t->tx->view, &t->head.refs[i].oid, &entry);

		*out = rc == BOLE_OK;
		if (rc != BOLE_OK)
			return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
	}
	*out = true;
	return BOLE_OK;
}

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	const struct bole_client_options *options = ((struct taking *)ctx)->b->f->r->options;

	if (options->progress != NULL)
		options->progress(options->ctx, phase, done, total);
}

static enum bole_status ingest(struct taking *t)
{
	const struct fetching *f = t->b->f;
	const struct bole_client_fetch *job = f->job;
	struct bole_fsck_options fsck;
	const struct bole_ingest work = {
	        .platform = f->r->platform,
	        .alloc = f->r->alloc,
	        .tx = t->tx,
	        .limits = {.pack_bytes_max =
	                           job->pack_bytes_max == 0 ? UINT64_MAX : job->pack_bytes_max,
	                   .object_bytes_max = job->object_bytes_max,
	                   .objects_max = UINT32_MAX,
	                   .time_ns_max = UINT64_MAX,
	                   .memory_bytes_max = bole_fetch_memory(job)},
	        .progress = on_progress,
	        .progress_ctx = t,
	        .fsck = &fsck,
	        .ends = &t->boundary.ends,
	};
	struct bole_bytes rest;

	bole_fsck_options_init(&fsck, job->lenient ? BOLE_FSCK_STRUCTURE : BOLE_FSCK_PUSH);
	BOLE_TRY(bole_pack_ingest(&work, &t->in, &t->report));
	enum bole_status rc = bole_input_peek(&t->in, &rest);
	t->why = "there is more behind its pack";
	return rc == BOLE_END ? BOLE_OK : rc == BOLE_OK ? BOLE_E_INVALID : rc;
}

/* Its tips, where nobody looks for them. */
static enum bole_status make_updates(struct taking *t)
{
	const struct fetching *f = t->b->f;
	struct bole_object_reader *reader;
	enum bole_status rc = BOLE_OK;
	uint8_t type;

	t->why = "it has too many references";
	if (t->head.ref_count > BOLE_REF_UPDATES_MAX)
		return BOLE_E_LIMIT;
	t->updates = bole_alloc_array(f->r->alloc, t->head.ref_count + 1, sizeof *t->updates);
	if (t->updates == NULL)
		return BOLE_E_NO_MEMORY;
	t->why = "a reference of it names what it does not bring";
	BOLE_TRY(bole_object_reader_open(t->tx->view, f->r->alloc, NULL, &reader));
	for (size_t i = 0; rc == BOLE_OK && i < t->head.ref_count; i++) {
		const struct bole_oid *oid = &t->head.refs[i].oid;
		struct bole_ref_update *update = &t->updates[t->update_count++];
		char *name = bole_arena_alloc(&t->b->text, PREFIX_MAX + 40, 1);

		if (name == NULL) {
			rc = BOLE_E_NO_MEMORY;
			break;
		}
		snprintf(name, PREFIX_MAX + 40, "%s%u/%zu", t->b->prefix, t->b->taken, i);
		*update = (struct bole_ref_update){.name = bole_bytes_z(name),
		                                   .expect = BOLE_EXPECT_ABSENT,
		                                   .action = BOLE_REF_SET,
		                                   .oid = *oid};
		rc = bole_object_peel(reader, f->repo.algo, oid, &update->peeled, &type);
		update->has_peeled = rc == BOLE_OK && !bole_oid_equal(&update->peeled, oid);
	}
	bole_object_reader_close(reader);
	return rc;
}

static enum bole_status take_in(struct taking *t)
{
	struct fetching *f = t->b->f;
	size_t failed;
	bool known;

	t->why = "it is no bundle that can be read";
	BOLE_TRY(bole_bundle_head_read(&t->in, &t->budget.alloc, &t->head));
	t->why = "it lacks objects (filter)";
	if (t->head.filtered)
		return BOLE_E_UNSUPPORTED;
	t->why = "its objects have another format";
	if (t->head.algo != f->repo.algo)
		return BOLE_E_CONFLICT;
	t->why = NULL;
	BOLE_TRY(bole_tx_begin(f->store, f->repo.id, &t->tx));
	bole_boundary_init(&t->boundary, f->r->platform, f->r->alloc, f->repo.algo);
	BOLE_TRY(bole_boundary_load(&t->boundary, t->tx->view));
	BOLE_TRY(check_prerequisites(t));
	BOLE_TRY(is_known(t, &known));
	if (known)
		return BOLE_OK;
	BOLE_TRY(ingest(t));
	BOLE_TRY(make_updates(t));
	t->why = NULL;
	if (t->boundary.stale)
		BOLE_TRY(bole_boundary_stage(&t->boundary, t->tx));
	enum bole_status rc = bole_tx_commit(t->tx, t->updates, t->update_count, &failed);
	if (rc != BOLE_E_CONFLICT)
		t->tx = NULL;
	t->b->taken++;
	f->job->objects += t->report.objects;
	f->job->pack_bytes += t->report.pack_bytes;
	return rc;
}

static enum bole_status take_list(struct taking *t, const struct bundle_item *item)
{
	struct bole_alloc *alloc = t->b->f->r->alloc;
	struct bole_config *config = NULL;
	struct bole_buffer text;
	struct bole_bytes part;
	unsigned line;
	enum bole_status rc;

	bole_buffer_init(&text, alloc, BUNDLE_LIST_BYTES_MAX);
	while ((rc = bole_input_peek(&t->in, &part)) == BOLE_OK && text.rc == BOLE_OK) {
		bole_buffer_append(&text, part.ptr, part.len);
		bole_input_take(&t->in, part.len);
	}
	t->why = "it is too long for a list of bundles";
	rc = rc == BOLE_END || rc == BOLE_OK ? text.rc : rc;
	if (rc == BOLE_OK)
		t->why = "it is neither a bundle nor a list of them";
	if (rc == BOLE_OK)
		rc = bole_config_open(alloc, &config);
	if (rc == BOLE_OK)
		rc = bole_config_parse(config, bole_bytes_of(text.ptr, text.len), &line);
	if (rc == BOLE_OK)
		rc = bole_bundle_list_take(
		        t->b, config, item->uri.len > 0 ? (const char *)item->uri.ptr : NULL,
		        bole_bytes_start(item->uri, bole_bytes_z("https:")) || item->secure,
		        item->list);
	if (rc == BOLE_E_UNSUPPORTED)
		t->why = "its kind of list is not known";
	else if (rc == BOLE_E_LIMIT && config != NULL)
		t->why = "there are too many lists or bundles";
	bole_config_close(config);
	bole_buffer_release(&text);
	return rc;
}

/* One file, whichever it is. *list: it was a list. */
static enum bole_status take_file(struct taking *t, struct bole_reader *reader,
                                  const struct bundle_item *item, uint8_t *buffer, bool *list)
{
	struct bole_bytes start;

	bole_input_init(&t->in, reader, buffer, BUFFER_BYTES);
	t->why = "there is nothing in it";
	enum bole_status rc = bole_input_need(&t->in, SIGNATURE_BYTES, &start);
	if (rc != BOLE_OK)
		return rc == BOLE_END ? BOLE_E_INVALID : rc;
	*list = memcmp(start.ptr, "# v", SIGNATURE_BYTES) != 0;
	if (*list)
		return take_list(t, item);
	bole_budget_init(&t->budget, t->b->f->r->alloc, BUNDLE_HEAD_BYTES_MAX);
	rc = take_in(t);
	size_t refs = t->head.ref_count;
	bole_bundle_head_release(&t->head);
	bole_tx_abort(t->tx);
	bole_boundary_release(&t->boundary);
	bole_alloc_free(t->b->f->r->alloc, t->updates, t->updates == NULL ? 0 : refs + 1,
	                sizeof *t->updates);
	return rc;
}

static void warn(struct bundles *b, const struct bundle_item *item, const struct taking *t,
                 enum bole_status rc)
{
	struct bole_download *d = b->f->r->download;
	char shown[200];

	bole_remote_warn(b->f->r, "the bundle at %s is passed over: %s",
	                 item->given ? "the place given"
	                             : bole_printable(shown, sizeof shown, item->uri),
	                 d != NULL && d->why[0] != '\0'             ? d->why
	                 : t->report.error[0] != '\0'               ? t->report.error
	                 : t->why != NULL && rc != BOLE_E_NO_MEMORY ? t->why
	                                                            : bole_status_text(rc));
}

static enum bole_status take(struct bundles *b, struct bundle_item *item, uint8_t *buffer,
                             bool *list)
{
	struct bole_download *d = b->f->r->download;
	struct bole_reader *reader = b->f->job->bundle;
	struct taking t = {.b = b};
	enum bole_status rc = BOLE_OK;

	*list = false;
	if (d != NULL)
		d->why[0] = '\0';
	if (item->uri.len > 0)
		rc = d == NULL ? BOLE_E_UNSUPPORTED
		               : d->ops->open(d, (const char *)item->uri.ptr,
		                              (item->secure ? BOLE_DOWNLOAD_SECURE : 0) |
		                                      (item->given ? BOLE_DOWNLOAD_GIVEN : 0),
		                              &reader);
	if (rc == BOLE_OK)
		rc = take_file(&t, reader, item, buffer, list);
	if (item->uri.len > 0 && d != NULL)
		d->ops->close(d);
	if (rc < 0)
		warn(b, item, &t, rc);
	return rc;
}

/* A list of which one is enough has one. */
static bool enough(const struct bundles *b, const struct bundle_item *item)
{
	for (int i = item->list; i != BUNDLE_NO_LIST; i = b->lists[i].parent)
		if (b->lists[i].any && b->lists[i].done)
			return true;
	return false;
}

/* Round after round, as long as one makes others possible. */
static void take_all(struct bundles *b, uint8_t *buffer)
{
	bool more = true;
	bool list;

	while (more) {
		more = false;
		for (size_t i = 0; i < b->count; i++) {
			struct bundle_item *item = &b->items[i];

			if (item->state != BUNDLE_WAITING || enough(b, item) ||
			    b->opens++ >= BUNDLE_OPENS_MAX)
				continue;
			enum bole_status rc = take(b, item, buffer, &list);
			if (rc == BOLE_AGAIN && item->uri.len > 0)
				continue;
			item->state = rc == BOLE_OK ? BUNDLE_DONE : BUNDLE_FAILED;
			more = more || rc == BOLE_OK;
			for (int l = item->list; rc == BOLE_OK && !list && l != BUNDLE_NO_LIST;
			     l = b->lists[l].parent)
				b->lists[l].done = true;
		}
	}
	for (size_t i = 0; i < b->count; i++)
		if (b->items[i].state == BUNDLE_WAITING && !enough(b, &b->items[i]))
			bole_remote_warn(b->f->r, "a bundle is passed over: it needs commits that "
			                          "no other one brought");
}

/* -- What the server recommends -- */

static enum bole_status read_command(struct bole_remote *r, struct bole_config *config)
{
	char line[BUNDLE_URI_MAX + 200];
	size_t bytes = 0;
	struct bole_pkt pkt;

	BOLE_TRY(bole_remote_request(r));
	bole_remote_command(r, "bundle-uri");
	bole_pkt_flush(&r->out);
	BOLE_TRY(bole_remote_answer(r));
	for (;;) {
		BOLE_TRY(bole_remote_read(r, &pkt));
		if (pkt.type == BOLE_PKT_FLUSH)
			return BOLE_OK;
		bytes += pkt.line.len + 1;
		if (pkt.type != BOLE_PKT_DATA || pkt.line.len >= sizeof line ||
		    bytes > BUNDLE_LIST_BYTES_MAX || memchr(pkt.line.ptr, '\0', pkt.line.len) ||
		    memchr(pkt.line.ptr, '=', pkt.line.len) == NULL)
			return bole_remote_fail(r, BOLE_E_INVALID, "its list is malformed");
		snprintf(line, sizeof line, "%.*s", (int)pkt.line.len, (const char *)pkt.line.ptr);
		if (bole_config_set(config, line) != BOLE_OK)
			return bole_remote_fail(r, BOLE_E_INVALID, "its list is malformed");
	}
}

static enum bole_status take_recommended(struct bundles *b)
{
	struct bole_remote *r = b->f->r;
	char base[BUNDLE_URI_MAX];
	struct bole_config *config;

	/* Of a repository's URL all counts as a folder. */
	int len = snprintf(base, sizeof base, "%s/", r->url == NULL ? "" : r->url);
	if (len < 0 || (size_t)len >= sizeof base)
		return BOLE_OK;
	if (!r->caps.bundle_uri || r->download == NULL)
		return BOLE_OK;
	BOLE_TRY(bole_config_open(r->alloc, &config));
	enum bole_status rc = read_command(r, config);
	size_t cursor = 0;
	const char *key, *value;
	if (rc == BOLE_OK && bole_config_next(config, &cursor, &key, &value))
		rc = bole_bundle_list_take(b, config, base, r->download->ops->secure(r->download),
		                           BUNDLE_NO_LIST);
	bole_config_close(config);
	if (rc == BOLE_E_NO_MEMORY || rc == BOLE_OK)
		return rc;
	bole_remote_warn(r, "the server's bundles are passed over: %s",
	                 r->error[0] != '\0' ? r->error : bole_status_text(rc));
	return BOLE_OK;
}

static enum bole_status gather(struct bundles *b)
{
	const struct bole_client_fetch *job = b->f->job;
	struct bundle_item *item = &b->items[0];

	if (job->bundle_uri == NULL && job->bundle == NULL)
		return take_recommended(b);
	*item = (struct bundle_item){.list = BUNDLE_NO_LIST, .given = true};
	b->count = 1;
	if (job->bundle_uri == NULL)
		return BOLE_OK;
	size_t len = strlen(job->bundle_uri);
	char *uri = bole_arena_alloc(&b->text, len + 1, 1);
	if (uri == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(uri, job->bundle_uri, len + 1);
	item->uri = bole_bytes_of(uri, len);
	return BOLE_OK;
}

/* -- The course of it -- */

static enum bole_status course(struct bundles *b)
{
	struct fetching *f = b->f;

	BOLE_TRY(bole_fetch_begin(f));
	BOLE_TRY(gather(b));
	/* It may take long: the fetch is another conversation. */
	f->r->transport->ops->end(f->r->transport);
	uint8_t *buffer = bole_alloc_array(f->r->alloc, BUFFER_BYTES, 1);
	if (buffer == NULL)
		return BOLE_E_NO_MEMORY;
	take_all(b, buffer);
	bole_alloc_free(f->r->alloc, buffer, BUFFER_BYTES, 1);
	return BOLE_OK;
}

enum bole_status bole_bundles_fetch(struct bole_remote *r, struct bole_store *store,
                                    struct bole_client_fetch *job, struct bole_bundled *out)
{
	struct bole_remote own = {.version = 0};
	struct fetching f = {.r = &own, .store = store, .job = job, .bundled = ""};
	uint8_t number[4];
	int64_t now;

	*out = (struct bole_bundled){.prefix = ""};
	if ((job->bundle_uri == NULL && job->bundle == NULL && !job->bundles) || job->dry_run)
		return BOLE_OK;
	struct bundles *b = bole_alloc_zeroed(r->alloc, 1, sizeof *b);
	if (b == NULL)
		return BOLE_E_NO_MEMORY;
	r->platform->ops->random(r->platform, number, sizeof number);
	if (r->platform->ops->wall_s(r->platform, &now) != BOLE_OK || now < 0 || now > UINT32_MAX)
		now = 0;
	snprintf(out->prefix, sizeof out->prefix, "%s%08lx%08lx/", bundles_at, (unsigned long)now,
	         (unsigned long)bole_get_be32(number));
	b->f = &f;
	b->prefix = out->prefix;
	bole_arena_init(&f.text, r->alloc, TEXT_CHUNK_BYTES);
	bole_arena_init(&b->text, r->alloc, TEXT_CHUNK_BYTES);
	enum bole_status rc =
	        bole_remote_open(&own, r->platform, r->alloc, r->transport, r->options);
	own.download = r->download;
	own.url = r->url;
	if (rc == BOLE_OK)
		rc = course(b);
	out->repo = f.repo.id;
	out->created = f.created;
	if (rc != BOLE_OK && f.created && bole_repo_remove(store, f.repo.id) != BOLE_OK)
		bole_log(r->platform, BOLE_LOG_WARN, "fetch: %s stays behind, empty", job->repo);
	if (rc != BOLE_OK)
		(void)bole_remote_fail(r, rc, "%s",
		                       own.error[0] != '\0' ? own.error : bole_status_text(rc));
	bole_remote_close(&own);
	bole_arena_release(&b->text);
	bole_arena_release(&f.text);
	bole_alloc_free(r->alloc, b, 1, sizeof *b);
	return rc;
}

/* Up to some of them. */
static enum bole_status drop_some(struct bole_tx *tx, struct bole_arena *text,
                                  const struct bole_bundled *b, struct bole_ref_update *updates,
                                  size_t *count)
{
	struct bole_bytes after = {NULL, 0};
	enum bole_status rc = BOLE_OK;
	struct bole_ref ref;

	for (*count = 0; rc == BOLE_OK && *count < REFS_AT_ONCE; ++*count) {
		rc = bole_ref_next(tx->view, bole_bytes_z(b->prefix), after, &ref);
		if (rc != BOLE_OK)
			break;
		uint8_t *name = bole_arena_alloc(text, ref.name.len, 1);
		if (name == NULL)
			return BOLE_E_NO_MEMORY;
		memcpy(name, ref.name.ptr, ref.name.len);
		after = bole_bytes_of(name, ref.name.len);
		updates[*count] = (struct bole_ref_update){.name = after,
		                                           .expect = BOLE_EXPECT_OID,
		                                           .expected = ref.oid,
		                                           .action = BOLE_REF_DELETE};
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_bundles_drop(struct bole_remote *r, struct bole_store *store,
                                   const struct bole_bundled *b)
{
	struct bole_ref_update *updates;
	size_t count = 1;
	size_t failed;
	enum bole_status rc = BOLE_OK;

	if (b->prefix[0] == '\0')
		return BOLE_OK;
	updates = bole_alloc_array(r->alloc, REFS_AT_ONCE, sizeof *updates);
	if (updates == NULL)
		return BOLE_E_NO_MEMORY;
	while (rc == BOLE_OK && count > 0) {
		struct bole_arena text;
		struct bole_tx *tx;

		rc = bole_tx_begin(store, b->repo, &tx);
		if (rc == BOLE_E_NOT_FOUND) { /* the repository is gone, as clones that fail go */
			rc = BOLE_OK;
			break;
		}
		if (rc != BOLE_OK)
			break;
		bole_arena_init(&text, r->alloc, TEXT_CHUNK_BYTES);
		rc = drop_some(tx, &text, b, updates, &count);
		if (rc == BOLE_OK && count > 0) {
			rc = bole_tx_commit(tx, updates, count, &failed);
			tx = rc == BOLE_E_CONFLICT ? tx : NULL;
		}
		bole_tx_abort(tx);
		bole_arena_release(&text);
	}
	bole_alloc_free(r->alloc, updates, REFS_AT_ONCE, sizeof *updates);
	return rc;
}

/* -- What others left behind -- */

static bool is_stale(struct bole_bytes name, int64_t now)
{
	size_t at = sizeof bundles_at - 1;
	int64_t then = 0;

	if (name.len <= at + PREFIX_HEX || name.ptr[at + PREFIX_HEX] != '/')
		return false;
	for (size_t i = 0; i < PREFIX_HEX; i++) {
		uint8_t c = name.ptr[at + i];
		bool digit = c >= '0' && c <= '9';

		if (!digit && (c < 'a' || c > 'f'))
			return false;
		if (i < PREFIX_HEX / 2)
			then = then << 4 | (digit ? c - '0' : c - 'a' + 10);
	}
	return then > 0 && then < now - STALE_S;
}

/* BOLE_END: there is none. */
static enum bole_status find_stale(struct bole_store *store, int64_t now, struct bole_bundled *out)
{
	struct bole_bytes after = {NULL, 0};
	struct bole_snapshot *view;
	struct bole_ref ref;

	BOLE_TRY(bole_snapshot_open(store, out->repo, &view));
	enum bole_status rc;
	while ((rc = bole_ref_next(view, bole_bytes_z(bundles_at), after, &ref)) == BOLE_OK &&
	       !is_stale(ref.name, now))
		after = ref.name;
	if (rc == BOLE_OK)
		snprintf(out->prefix, sizeof out->prefix, "%.*s",
		         (int)(sizeof bundles_at + PREFIX_HEX), (const char *)ref.name.ptr);
	bole_snapshot_close(view);
	return rc;
}

enum bole_status bole_bundles_drop_stale(struct bole_remote *r, struct bole_store *store,
                                         const char *name)
{
	struct bole_bundled old = {.prefix = ""};
	enum bole_status rc;
	struct bole_repo repo;
	int64_t now;

	if (r->platform->ops->wall_s(r->platform, &now) != BOLE_OK)
		return BOLE_OK;
	BOLE_TRY(bole_repo_find(store, name, &repo));
	old.repo = repo.id;
	for (unsigned i = 0; i < STALE_MAX; i++) {
		rc = find_stale(store, now, &old);
		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_OK : rc;
		BOLE_TRY(bole_bundles_drop(r, store, &old));
	}
	return BOLE_OK;
}
