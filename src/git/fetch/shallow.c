/* SPDX-License-Identifier: ISC */
/* A commit is an end when it lies exactly so deep, counted on the shortest way, or when it is
 * chosen and one of its parents is not. The real history decides, whatever the client's looks like.
 */
#include "git/fetch/shallow.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum { REACH_VISITS_MAX = 1 << 22 }; /* commits looked at to see which ends are reachable */

/* One computation: the graph, and each node's place in the new history. */
struct settling {
	struct bole_shallow *d;
	struct bole_history graph;
	struct bole_id_list ends;   /* in the order in which they were found */
	struct bole_id_list inside; /* with all their parents */
	const struct bole_id_list *starts;
};

static struct bole_id_list *list_init(struct bole_id_list *list, const struct bole_session *s)
{
	bole_id_list_init(list, s->svc->platform, s->svc->alloc, s->svc->repo.algo);
	return list;
}

void bole_shallow_init(struct bole_shallow *d, struct bole_session *s)
{
	*d = (struct bole_shallow){.s = s, .since_s = INT64_MIN};
	list_init(&d->client, s);
	list_init(&d->nots, s);
	list_init(&d->grafts, s);
	list_init(&d->wants, s);
	list_init(&d->edges, s);
}

void bole_shallow_release(struct bole_shallow *d)
{
	bole_id_list_release(&d->client);
	bole_id_list_release(&d->nots);
	bole_id_list_release(&d->grafts);
	bole_id_list_release(&d->wants);
	bole_id_list_release(&d->edges);
}

/* -- The lines -- */

static enum bole_status malformed(struct bole_shallow *d, const char *what, struct bole_bytes text)
{
	char shown[60];

	return bole_session_refuse(d->s, BOLE_E_INVALID, "upload-pack: invalid %s: '%s'", what,
	                           bole_printable(shown, sizeof shown, text));
}

static bool parse_decimal(struct bole_bytes text, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (text.len == 0 || text.len > 19)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*out = value;
	return value > 0 && value <= max;
}

static enum bole_status take_shallow(struct bole_shallow *d, struct bole_bytes hex)
{
	struct bole_entry entry;
	struct bole_oid oid;

	if (bole_oid_parse((const char *)hex.ptr, hex.len, d->s->svc->repo.algo, &oid) != BOLE_OK)
		return malformed(d, "shallow line", hex);
	enum bole_status rc = bole_odb_find(d->s->snapshot, &oid, &entry);
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_OK; /* nothing that we send can meet it */
	if (rc == BOLE_OK && entry.type != BOLE_OBJECT_COMMIT)
		return malformed(d, "shallow object", hex);
	if (rc == BOLE_OK)
		rc = bole_id_list_add_once(&d->client, &oid, BOLE_SHALLOWS_MAX);
	return bole_session_check(d->s, rc, "upload-pack: cannot take a shallow line");
}

/* The places where a short name is looked for (gitrevisions(7)); all that fit count. */
static enum bole_status take_not(struct bole_shallow *d, struct bole_bytes name)
{
	static const char *const before[] = {"", "refs/", "refs/tags/", "refs/heads/",
	                                     "refs/remotes/"};
	char full[BOLE_REF_NAME_MAX + 32];
	struct bole_oid oid = {0};
	struct bole_oid peeled;
	unsigned found = 0;
	uint8_t type;

	for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
		struct bole_listed_ref listed;
		struct bole_ref ref;
		size_t len = strlen(before[i]);

		if (name.len > BOLE_REF_NAME_MAX)
			break;
		memcpy(full, before[i], len);
		memcpy(full + len, name.ptr, name.len);
		if (bole_ref_view_get(&d->s->refs, d->s->snapshot,
		                      bole_bytes_of(full, len + name.len), &ref) != BOLE_OK ||
		    bole_ref_resolve(&d->s->refs, d->s->snapshot, &ref, &listed) != BOLE_OK)
			continue;
		oid = listed.oid;
		found++;
	}
	if (found != 1)
		return malformed(
		        d, found == 0 ? "deepen-not (no such reference)" : "deepen-not (ambiguous)",
		        name);
	enum bole_status rc = bole_session_peel(d->s, d->s->snapshot, &oid, &peeled, &type);
	if (rc == BOLE_OK && type == BOLE_OBJECT_COMMIT)
		rc = bole_id_list_add_once(&d->nots, &peeled, BOLE_DEEPEN_NOTS_MAX);
	d->by_age = true;
	return bole_session_check(d->s, rc, "upload-pack: cannot take a deepen-not line");
}

enum bole_status bole_shallow_take(struct bole_shallow *d, struct bole_bytes line, bool *taken)
{
	struct bole_bytes rest;
	uint64_t number = 0;

	*taken = true;
	if (bole_pkt_word(line, "shallow", &rest))
		return take_shallow(d, rest);
	if (bole_pkt_word(line, "deepen", &rest)) {
		if (!parse_decimal(rest, BOLE_DEEPEN_INFINITE, &number))
			return malformed(d, "deepen", rest);
		d->depth = (uint32_t)number;
		return BOLE_OK;
	}
	if (bole_pkt_word(line, "deepen-since", &rest)) {
		if (!parse_decimal(rest, INT64_MAX, &number))
			return malformed(d, "deepen-since", rest);
		d->since_s = (int64_t)number;
		d->by_age = true;
		return BOLE_OK;
	}
	if (bole_pkt_word(line, "deepen-not", &rest))
		return take_not(d, rest);
	if (bole_pkt_is(line, "deepen-relative")) {
		d->relative = true;
		return BOLE_OK;
	}
	*taken = false;
	return BOLE_OK;
}

/* -- By depth -- */

/* The history that is here ends there. */
static bool is_ours(const struct settling *t, const struct bole_oid *oid)
{
	const struct bole_id_list *ours = &t->d->s->boundary.ends;

	return ours->count > 0 && bole_id_list_find(ours, oid) != BOLE_OID_NONE;
}

/* Every commit that is met is in one of the two lists. */
static enum bole_status meet(struct settling *t, const struct bole_oid *oid, bool end)
{
	if (bole_id_list_find(&t->ends, oid) != BOLE_OID_NONE ||
	    bole_id_list_find(&t->inside, oid) != BOLE_OID_NONE)
		return BOLE_OK;
	return bole_id_list_add_once(end ? &t->ends : &t->inside, oid, SIZE_MAX);
}

static enum bole_status meet_parents(struct settling *t, const struct bole_oid *oid, bool end)
{
	struct bole_history *g = &t->graph;
	uint32_t at;

	BOLE_TRY(bole_history_meet(g, oid, &at));
	for (uint32_t i = 0; i < g->nodes[at].parent_count; i++) {
		struct bole_oid parent = g->nodes[g->links[g->nodes[at].parents + i]].oid;
		BOLE_TRY(meet(t, &parent, end || is_ours(t, &parent)));
	}
	return BOLE_OK;
}

/* Level by level: inside is the queue, and what is met first has the shortest way. */
static enum bole_status by_depth(struct settling *t, uint32_t depth)
{
	size_t from = 0;
	uint32_t at;

	for (size_t i = 0; i < t->starts->count; i++) {
		BOLE_TRY(bole_history_meet(&t->graph, &t->starts->ids[i], &at));
		if (t->graph.nodes[at].is_commit)
			BOLE_TRY(meet(t, &t->starts->ids[i],
			              depth == 1 || is_ours(t, &t->starts->ids[i])));
	}
	for (uint32_t level = 2; from < t->inside.count; level++) {
		size_t to = t->inside.count;
		for (; from < to; from++) {
			struct bole_oid oid = t->inside.ids[from];
			BOLE_TRY(meet_parents(t, &oid, level == depth));
		}
	}
	return BOLE_OK;
}

/* The ends of the client's history that our references still reach. */
static enum bole_status reachable_ends(struct settling *t, struct bole_id_list *out)
{
	struct bole_shallow *d = t->d;
	struct bole_service *svc = d->s->svc;
	struct bole_id_list tips;
	uint8_t *found = bole_alloc_zeroed(svc->alloc, d->client.count + 1, 1);

	if (found == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = bole_session_tips(d->s, list_init(&tips, d->s));
	if (rc == BOLE_OK)
		rc = bole_history_reach(&t->graph, &tips, &d->client, found, REACH_VISITS_MAX);
	for (size_t i = 0; i < d->client.count && rc == BOLE_OK; i++)
		if (found[i] != 0)
			rc = bole_id_list_add_once(out, &d->client.ids[i], SIZE_MAX);
	bole_id_list_release(&tips);
	bole_alloc_free(svc->alloc, found, d->client.count + 1, 1);
	return rc;
}

static enum bole_status relative(struct settling *t)
{
	struct bole_id_list starts;

	enum bole_status rc = reachable_ends(t, list_init(&starts, t->d->s));
	t->starts = &starts;
	if (rc == BOLE_OK)
		rc = by_depth(t, t->d->depth + 1);
	bole_id_list_release(&starts);
	return rc;
}

/* -- By age and by references -- */

static enum bole_status by_age(struct settling *t)
{
	struct bole_history *g = &t->graph;

	BOLE_TRY(bole_history_select(g, t->starts, &t->d->nots, t->d->since_s));
	for (uint32_t at = 0; at < g->node_count; at++) {
		bool end = is_ours(t, &g->nodes[at].oid);

		BOLE_TRY(bole_session_tick(t->d->s));
		if (!g->nodes[at].is_commit || !bole_history_selected(g, at))
			continue;
		for (uint32_t i = 0; i < g->nodes[at].parent_count; i++)
			end = end || !bole_history_selected(g, g->links[g->nodes[at].parents + i]);
		BOLE_TRY(meet(t, &g->nodes[at].oid, end));
	}
	if (t->ends.count + t->inside.count == 0)
		return bole_session_refuse(t->d->s, BOLE_E_INVALID,
		                           "upload-pack: no commits selected for shallow requests");
	return BOLE_OK;
}

/* -- What changes -- */

static void tell(struct bole_shallow *d, const char *what, const struct bole_oid *oid)
{
	struct bole_pkt_line line;

	bole_session_line(d->s, &line);
	bole_pkt_line_text(&line, what);
	bole_pkt_line_oid(&line, oid);
	bole_pkt_line_text(&line, "\n");
	bole_pkt_line_write(&line, d->s->svc->out);
}

/* A commit of the client's edge gets its parents: they are wanted, and it is an edge now. */
static enum bole_status give_parents(struct settling *t, const struct bole_oid *oid)
{
	struct bole_shallow *d = t->d;
	struct bole_history *g = &t->graph;
	uint32_t at;

	tell(d, "unshallow ", oid);
	BOLE_TRY(bole_history_meet(g, oid, &at));
	for (uint32_t i = 0; i < g->nodes[at].parent_count; i++)
		BOLE_TRY(bole_id_list_add_once(
		        &d->wants, &g->nodes[g->links[g->nodes[at].parents + i]].oid, SIZE_MAX));
	return bole_id_list_add_once(&d->edges, oid, SIZE_MAX);
}

static enum bole_status tell_changes(struct settling *t)
{
	struct bole_shallow *d = t->d;
	bool all = d->depth == BOLE_DEEPEN_INFINITE && d->s->boundary.ends.count == 0;

	for (size_t i = 0; i < t->ends.count; i++) {
		if (bole_id_list_find(&d->client, &t->ends.ids[i]) != BOLE_OID_NONE)
			continue;
		tell(d, "shallow ", &t->ends.ids[i]);
		BOLE_TRY(bole_id_list_add_once(&d->grafts, &t->ends.ids[i], SIZE_MAX));
		BOLE_TRY(bole_session_tick(d->s));
	}
	for (size_t i = 0; i < d->client.count && bole_shallow_deepens(d); i++) {
		if (all || bole_id_list_find(&t->inside, &d->client.ids[i]) != BOLE_OID_NONE)
			BOLE_TRY(give_parents(t, &d->client.ids[i]));
		BOLE_TRY(bole_session_tick(d->s));
	}
	return d->s->svc->out->rc;
}

static enum bole_status settle(struct settling *t)
{
	struct bole_shallow *d = t->d;
	const struct bole_id_list *ours = &d->s->boundary.ends;

	/* What the client says of its own history holds on the way through it. */
	for (size_t i = 0; i < d->client.count; i++)
		BOLE_TRY(bole_id_list_add_once(&d->grafts, &d->client.ids[i], SIZE_MAX));
	for (size_t i = 0; i < ours->count; i++)
		BOLE_TRY(bole_id_list_add_once(&d->grafts, &ours->ids[i], SIZE_MAX));
	if (!bole_shallow_deepens(d)) {
		/* In version 2 nothing else says where what is here ends. */
		if (ours->count == 0 || d->s->svc->version != 2)
			return BOLE_OK;
		BOLE_TRY(by_depth(t, BOLE_DEEPEN_INFINITE));
		return tell_changes(t);
	}
	if (d->depth > 0 && d->by_age)
		return bole_session_refuse(d->s, BOLE_E_INVALID,
		                           "upload-pack: deepen and deepen-since (or deepen-not) "
		                           "exclude each other");
	if (d->by_age)
		BOLE_TRY(by_age(t));
	else if (d->depth != BOLE_DEEPEN_INFINITE)
		BOLE_TRY(d->relative ? relative(t) : by_depth(t, d->depth));
	else if (ours->count > 0)
		BOLE_TRY(by_depth(t, BOLE_DEEPEN_INFINITE));
	return tell_changes(t);
}

enum bole_status bole_shallow_settle(struct bole_shallow *d, const struct bole_id_list *tips)
{
	struct settling t = {.d = d, .starts = tips};

	bole_history_init(&t.graph, d->s, d->s->snapshot);
	list_init(&t.ends, d->s);
	list_init(&t.inside, d->s);
	enum bole_status rc = settle(&t);
	bole_history_release(&t.graph);
	bole_id_list_release(&t.ends);
	bole_id_list_release(&t.inside);
	return bole_session_check(d->s, rc, "upload-pack: cannot find where history is to end");
}
