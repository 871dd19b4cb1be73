/* SPDX-License-Identifier: ISC */
/* A push: the server's list, what of ours shall be where, the commands, a pack with what it lacks,
 * its report. The pack is made as for a fetch of what is pushed by who has what the server has. */
#include "git/client/push.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/pack_emit.h"

enum { TEXT_CHUNK_BYTES = 16 * 1024, OPTION_BYTES_MAX = 1000, OPTIONS_MAX = 1000 };

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	const struct bole_client_options *options = ctx;

	if (options->progress != NULL)
		options->progress(options->ctx, phase, done, total);
}

/* -- Commands -- */

static enum bole_status check_caps(struct pushing *p)
{
	const struct bole_client_push *job = p->job;
	struct bole_remote *r = p->r;

	if (r->version == 2)
		return bole_remote_fail(r, BOLE_E_INVALID,
		                        "the server answers a push in version 2, which has none");
	if (r->algo != p->repo.algo && (r->ref_count > 0 || !r->caps.object_format ||
	                                (r->caps.formats & 1U << p->repo.algo) == 0))
		return bole_remote_fail(
		        r, BOLE_E_CONFLICT, "the server's objects are %s, those of %s are %s",
		        bole_hash_name(r->algo), job->repo, bole_hash_name(p->repo.algo));
	if (job->atomic && !r->caps.atomic)
		return bole_remote_fail(r, BOLE_E_UNSUPPORTED,
		                        "the server cannot move references all at once");
	if (job->option_count > 0 && !r->caps.push_options)
		return bole_remote_fail(r, BOLE_E_UNSUPPORTED, "the server takes no push options");
	for (size_t i = 0; i < job->option_count; i++)
		if (job->option_count > OPTIONS_MAX || strlen(job->options[i]) > OPTION_BYTES_MAX ||
		    strchr(job->options[i], '\n') != NULL)
			return bole_remote_fail(r, BOLE_E_INVALID,
			                        "a push option is too long, or too many");
	p->side_band = r->caps.side_band_64k;
	p->report = r->caps.report_status || r->caps.report_status_v2;
	return BOLE_OK;
}

static void add_caps(struct pushing *p, struct bole_pkt_line *line)
{
	const struct bole_remote_caps *caps = &p->r->caps;

	bole_pkt_line_bytes(line, bole_bytes_of("", 1));
	if (p->report)
		bole_pkt_line_text(line,
		                   caps->report_status_v2 ? " report-status-v2" : " report-status");
	if (p->side_band)
		bole_pkt_line_text(line, " side-band-64k");
	if (p->job->atomic)
		bole_pkt_line_text(line, " atomic");
	if (p->job->quiet && caps->quiet)
		bole_pkt_line_text(line, " quiet");
	if (p->job->option_count > 0)
		bole_pkt_line_text(line, " push-options");
	if (caps->object_format)
		bole_pkt_line_text(line, p->repo.algo == BOLE_HASH_SHA256 ? " object-format=sha256"
		                                                          : " object-format=sha1");
	if (caps->agent)
		bole_pkt_line_text(line, " agent=" BOLE_GIT_AGENT);
}

static bool to_send(const struct push_item *item)
{
	return item->what != BOLE_CHANGE_NONE && item->what != BOLE_CHANGE_REFUSED;
}

/* *objects: something else than deletions. */
static void send_commands(struct pushing *p, bool *objects)
{
	struct bole_output *out = &p->r->out;
	struct bole_pkt_line line;
	bool first = true;

	*objects = false;
	for (size_t i = 0; i < p->session.boundary.ends.count; i++) {
		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, "shallow ");
		bole_pkt_line_oid(&line, &p->session.boundary.ends.ids[i]);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, out);
	}
	for (size_t i = 0; i < p->count; i++) {
		struct push_item *item = &p->items[i];

		if (!to_send(item))
			continue;
		item->old_oid.algo = p->repo.algo;
		bole_pkt_line_init(&line);
		bole_pkt_line_oid(&line, &item->old_oid);
		bole_pkt_line_text(&line, " ");
		bole_pkt_line_oid(&line, &item->new_oid);
		bole_pkt_line_text(&line, " ");
		bole_pkt_line_bytes(&line, item->name);
		if (first)
			add_caps(p, &line);
		bole_pkt_line_write(&line, out);
		item->sent = true;
		first = false;
		*objects = *objects || !bole_oid_is_null(&item->new_oid);
	}
	bole_pkt_flush(out);
	for (size_t i = 0; i < p->job->option_count; i++)
		bole_pkt_text(out, p->job->options[i]);
	if (p->job->option_count > 0)
		bole_pkt_flush(out);
}

/* -- The pack -- */

struct counting {
	struct bole_writer writer;
	struct bole_output *out;
	uint64_t bytes;
};

static enum bole_status counting_write(struct bole_writer *self, const void *src, size_t len)
{
	struct counting *c = (struct counting *)(void *)self;

	bole_output_write(c->out, src, len);
	c->bytes += len;
	return c->out->rc;
}

static enum bole_status counting_flush(struct bole_writer *self)
{
	return ((struct counting *)(void *)self)->out->rc;
}

static enum bole_status add_here(struct pushing *p, struct bole_id_list *list,
                                 const struct bole_oid *oid)
{
	struct bole_entry entry;

	enum bole_status rc = bole_odb_find(p->snapshot, oid, &entry);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
	return bole_id_list_add_once(list, oid, BOLE_REMOTE_REFS_MAX);
}

/* What the server has, as far as it is here too. A shallow one may lack what its references reach,
 * so nothing is taken for granted then. */
static enum bole_status list_haves(struct pushing *p, struct bole_id_list *haves)
{
	struct bole_remote *r = p->r;

	for (size_t i = 0; i < r->ref_count && r->shallow.count == 0; i++)
		BOLE_TRY(add_here(p, haves, &r->refs[i].oid));
	for (size_t i = 0; r->extra_open && i < r->extra.count && r->shallow.count == 0; i++)
		BOLE_TRY(add_here(p, haves, &r->extra.ids[i]));
	return BOLE_OK;
}

static enum bole_status plan(struct pushing *p, struct bole_id_list *wants,
                             struct bole_id_list *haves, struct bole_pack_plan **out)
{
	struct bole_remote *r = p->r;

	for (size_t i = 0; i < p->count; i++)
		if (to_send(&p->items[i]) && !bole_oid_is_null(&p->items[i].new_oid))
			BOLE_TRY(bole_id_list_add_once(wants, &p->items[i].new_oid,
			                               BOLE_REMOTE_REFS_MAX));
	if (wants->count == 0)
		return BOLE_OK; /* only deletions */
	BOLE_TRY(list_haves(p, haves));
	struct bole_reach job = {.platform = r->platform,
	                         .alloc = r->alloc,
	                         .snapshot = p->snapshot,
	                         .wants = wants->ids,
	                         .want_count = wants->count,
	                         .haves = haves->ids,
	                         .have_count = haves->count,
	                         .grafts = &p->session.boundary.ends,
	                         .leave_promised = p->to_origin,
	                         .thin = !r->caps.no_thin && r->shallow.count == 0,
	                         .ofs_delta = r->caps.ofs_delta,
	                         .progress = on_progress,
	                         .progress_ctx = (void *)(uintptr_t)r->options};
	return bole_pack_plan_open(&job, out);
}

/* Planned before the first byte goes out: a failure here must not reach the server. */
static enum bole_status send_all(struct pushing *p, struct bole_pack_plan *pack)
{
	struct counting counting = {.writer = {.write = counting_write, .flush = counting_flush},
	                            .out = &p->r->out};
	bool objects;

	BOLE_TRY(bole_remote_request(p->r));
	send_commands(p, &objects);
	if (objects) {
		enum bole_status rc = bole_pack_emit(pack, &counting.writer);

		p->job->objects = bole_pack_plan_objects(pack);
		p->job->pack_bytes = counting.bytes;
		/* A server that hung up may have said why. */
		if (rc != BOLE_OK && p->r->out.rc == BOLE_OK)
			return rc;
	}
	BOLE_TRY(bole_remote_answer(p->r));
	return bole_push_read_report(p);
}

static enum bole_status send(struct pushing *p)
{
	struct bole_pack_plan *pack = NULL;
	struct bole_id_list wants;
	struct bole_id_list haves;

	bole_id_list_init(&wants, p->r->platform, p->r->alloc, p->repo.algo);
	bole_id_list_init(&haves, p->r->platform, p->r->alloc, p->repo.algo);
	enum bole_status rc = plan(p, &wants, &haves, &pack);
	if (rc == BOLE_E_PROMISED)
		rc = bole_remote_fail(
		        p->r, rc,
		        "%s is a partial clone and lacks objects that this server may "
		        "need; fetch them first (bole backfill)",
		        p->job->repo);
	if (rc == BOLE_OK)
		rc = send_all(p, pack);
	bole_pack_plan_close(pack);
	bole_id_list_release(&haves);
	bole_id_list_release(&wants);
	return rc;
}

/* -- The course -- */

static enum bole_status open_repo(struct pushing *p)
{
	enum bole_status rc = bole_repo_find(p->store, p->job->repo, &p->repo);

	if (rc == BOLE_OK)
		rc = bole_snapshot_open(p->store, p->repo.id, &p->snapshot);
	if (rc != BOLE_OK)
		return bole_remote_fail(p->r, rc, "repository %s: %s", p->job->repo,
		                        bole_status_text(rc));
	p->svc = (struct bole_service){.platform = p->r->platform,
	                               .alloc = p->r->alloc,
	                               .store = p->store,
	                               .repo = p->repo};
	p->session = (struct bole_session){.svc = &p->svc};
	bole_history_init(&p->history, &p->session, p->snapshot);
	p->open = true;
	struct bole_origin origin;
	rc = bole_origin_load(p->snapshot, p->r->alloc, &origin);
	p->to_origin = rc == BOLE_OK && origin.there && p->r->url != NULL &&
	               strcmp(origin.url, p->r->url) == 0;
	if (rc != BOLE_OK)
		return bole_remote_fail(p->r, rc, "repository %s: the record of its origin: %s",
		                        p->job->repo, bole_status_text(rc));
	rc = bole_session_boundary(&p->session, p->snapshot);
	return rc == BOLE_OK ? rc
	                     : bole_remote_fail(p->r, rc, "repository %s: its shallow boundary: %s",
	                                        p->job->repo, bole_status_text(rc));
}

static enum bole_status course(struct pushing *p)
{
	size_t moving = 0;
	size_t refused = 0;

	BOLE_TRY(bole_push_specs(p));
	BOLE_TRY(open_repo(p));
	BOLE_TRY(bole_remote_connect(p->r, "git-receive-pack",
	                             p->r->options->protocol == BOLE_PROTOCOL_V1 ? 1 : 0));
	BOLE_TRY(check_caps(p));
	BOLE_TRY(bole_push_map(p));
	BOLE_TRY(bole_push_judge(p));
	for (size_t i = 0; i < p->count; i++) {
		moving += to_send(&p->items[i]);
		refused += p->items[i].what == BOLE_CHANGE_REFUSED;
	}
	if (p->job->atomic && refused > 0)
		return bole_remote_fail(p->r, BOLE_E_CONFLICT,
		                        "a reference was refused, so none was pushed");
	if (moving > 0 && !p->job->dry_run)
		return send(p);
	if (p->r->transport->stateless)
		return BOLE_OK;
	/* An orderly end. */
	BOLE_TRY(bole_remote_request(p->r));
	bole_pkt_flush(&p->r->out);
	(void)bole_output_flush(&p->r->out);
	return BOLE_OK;
}

static void tell(struct pushing *p)
{
	struct bole_client_push *job = p->job;

	for (size_t i = 0; i < p->count; i++) {
		const struct push_item *item = &p->items[i];
		struct bole_client_change change = {
		        .what = item->what,
		        .from = item->from,
		        .to = item->name,
		        .old_oid = item->old_oid,
		        .new_oid = item->new_oid,
		        .reason = item->reason,
		};

		job->refs_changed += item->sent && item->what != BOLE_CHANGE_REFUSED;
		job->refs_refused += item->what == BOLE_CHANGE_REFUSED;
		if (job->change != NULL)
			job->change(job->ctx, &change);
	}
}

enum bole_status bole_remote_push(struct bole_remote *r, struct bole_store *store,
                                  struct bole_client_push *job)
{
	struct pushing p = {.r = r, .store = store, .job = job};

	job->objects = job->pack_bytes = job->refs_changed = job->refs_refused = 0;
	bole_arena_init(&p.text, r->alloc, TEXT_CHUNK_BYTES);
	enum bole_status rc = course(&p);
	if (rc < 0)
		(void)bole_remote_fail(r, rc, "%s", bole_status_text(rc));
	if (rc == BOLE_OK || rc == BOLE_E_CONFLICT || rc == BOLE_E_DENIED)
		tell(&p);
	if (p.open) {
		bole_history_release(&p.history);
		bole_boundary_release(&p.session.boundary);
		bole_session_drop_reader(&p.session);
	}
	bole_snapshot_close(p.snapshot);
	bole_alloc_free(r->alloc, p.items, p.cap, sizeof *p.items);
	bole_arena_release(&p.text);
	return rc;
}
