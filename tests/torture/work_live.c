/* SPDX-License-Identifier: ISC */
/* Liveness and maintenance. */
#include <string.h>

#include "torture/work.h"

enum { CHECKPOINT_STEPS = 400, MARK_ROUNDS = 8 };

/* Steps of maintenance change nothing that a reader sees. */
enum bole_status work_maintain(struct world *w, enum work_op op)
{
	struct bole_maintain_options o = {.eagerness = (unsigned)work_draw(w, 3)};
	unsigned most = op == WORK_CHECKPOINT ? CHECKPOINT_STEPS : w->maintain_most;

	if (op == WORK_CHECKPOINT)
		o.eagerness = 2;
	for (unsigned i = 0; i < most; i++) {
		struct bole_maintain_report report;
		enum bole_status rc = bole_store_maintain(w->store, &o, &report);
		if (rc == BOLE_END)
			return i == 0 ? BOLE_END : BOLE_OK;
		if (rc != BOLE_OK)
			return rc;
	}
	return op == WORK_CHECKPOINT ? work_wrong(w, "maintenance has no end", BOLE_OK) : BOLE_OK;
}

/* A transaction while the mark is going on: one object that is there already and is going to be
 * dropped, unless the store hands it out as a root; and one that is new. */
static enum bole_status put_meanwhile(struct world *w, unsigned slot, const struct bole_repo *repo,
                                      uint8_t *during)
{
	struct work_tx t = {.w = w, .slot = slot, .next = &w->next.repo[slot]};
	size_t failed;

	w->next = w->now;
	enum bole_status rc = bole_tx_begin(w->store, repo->id, &t.tx);
	if (rc != BOLE_OK)
		return rc;
	for (unsigned i = 0; i < 3 && rc == BOLE_OK; i++) {
		unsigned n = (unsigned)work_draw(w, MODEL_OBJECTS);
		/* Too long for a record: nothing is put. */
		if (model_object(t.next->algo, n)->entry[0].len > w->store->info.record_bytes_max)
			continue;
		rc = work_put(&t, n);
		during[n] = 1;
	}
	if (rc != BOLE_OK) {
		bole_tx_abort(t.tx);
		return rc;
	}
	rc = bole_tx_commit(t.tx, NULL, 0, &failed);
	if (rc == BOLE_OK)
		w->now = w->next;
	return rc;
}

struct marking {
	struct world *w;
	struct bole_mark *mark;
	unsigned slot;
	uint8_t algo;
	uint8_t before[MODEL_OBJECTS]; /* the candidates */
	uint8_t live[MODEL_OBJECTS];
	uint8_t during[MODEL_OBJECTS]; /* published, or found present, since */
};

static enum bole_status mark_one(struct marking *m, unsigned n)
{
	bool fresh;
	enum bole_status rc = bole_mark_object(m->mark, &model_object(m->algo, n)->oid, &fresh);

	if (rc == BOLE_E_NOT_FOUND && m->w->now.repo[m->slot].present[n] != 0)
		return work_wrong(m->w, "marking an object", rc);
	return rc;
}

static enum bole_status take_roots(struct marking *m)
{
	struct bole_oid oid;
	enum bole_status rc;

	while ((rc = bole_mark_root(m->mark, &oid)) == BOLE_OK) {
		unsigned n = 0;
		while (n < MODEL_OBJECTS && !bole_oid_equal(&model_object(m->algo, n)->oid, &oid))
			n++;
		if (n == MODEL_OBJECTS)
			return work_wrong(m->w, "a root that was never written", rc);
		m->live[n] = 1;
		rc = mark_one(m, n);
		/* A reference may name what is not there: that is the caller's affair. */
		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status walk(struct marking *m)
{
	for (unsigned n = 0; n < MODEL_OBJECTS; n++) {
		if (m->before[n] == 0 || m->live[n] == 0)
			continue;
		enum bole_status rc = mark_one(m, n);
		if (rc != BOLE_OK)
			return rc;
	}
	return take_roots(m);
}

static enum bole_status sweep(struct marking *m)
{
	struct bole_mark_result result;
	struct world *w = m->w;

	for (unsigned round = 0; round < MARK_ROUNDS; round++) {
		w->next = w->now;
		w->unswept = w->now;
		for (unsigned n = 0; n < MODEL_OBJECTS; n++)
			if (m->before[n] != 0 && m->live[n] == 0)
				w->next.repo[m->slot].present[n] = 0;
		/* What was put meanwhile stays, root or not. */
		for (unsigned n = 0; n < MODEL_OBJECTS; n++)
			w->next.repo[m->slot].present[n] |= m->during[n];
		enum bole_status rc = bole_mark_end(m->mark, &result);
		if (rc != BOLE_AGAIN) {
			m->mark = NULL;
			return rc;
		}
		rc = take_roots(m);
		if (rc != BOLE_OK)
			return rc;
	}
	return work_wrong(w, "a mark has no end", BOLE_AGAIN);
}

enum bole_status work_gc(struct world *w)
{
	struct marking m = {.w = w};
	struct bole_repo repo;

	if (!work_pick(w, &m.slot))
		return BOLE_END;
	m.algo = w->now.repo[m.slot].algo;
	enum bole_status rc = work_repo(w, m.slot, &repo);
	if (rc == BOLE_OK)
		rc = bole_mark_begin(w->store, repo.id, &m.mark);
	/* Something is prepared, maybe by what a cut interrupted. */
	if (rc == BOLE_E_BUSY)
		return BOLE_END;
	if (rc != BOLE_OK)
		return rc;
	const struct model_repo *now = &w->now.repo[m.slot];
	memcpy(m.before, now->present, sizeof m.before);
	uint64_t keep = 1 + work_draw(w, 6);
	for (unsigned n = 0; n < MODEL_OBJECTS; n++)
		m.live[n] = work_draw(w, keep) != 0 || work_needed(w, m.slot, now, n);
	if (work_draw(w, 3) == 0)
		rc = put_meanwhile(w, m.slot, &repo, m.during);
	if (rc == BOLE_OK)
		rc = walk(&m);
	if (rc == BOLE_OK && work_draw(w, 6) == 0) {
		bole_mark_abort(m.mark);
		w->next = w->now;
		return BOLE_OK;
	}
	if (rc == BOLE_OK)
		rc = sweep(&m);
	bole_mark_abort(m.mark);
	return rc;
}
