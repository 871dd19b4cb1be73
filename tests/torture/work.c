/* SPDX-License-Identifier: ISC */
/* Operations on a store and on the oracle at once. What the operation will make of the state is
 * known before the store is asked, so a power cut within it leaves `now` or `next`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "torture/torture.h"
#include "torture/work.h"

const char *const work_names[WORK_OPS] = {
        "put",        "pack", "ref",     "refs",   "ref-delete", "drop", "gc",     "maintain",
        "checkpoint", "aux",  "prepare", "resume", "abort",      "repo", "reopen", "conflict",
};

uint64_t work_draw(struct world *w, uint64_t below)
{
	return torture_random(&w->random) % below;
}

void world_init(struct world *w, struct bole_block *device, uint64_t seed)
{
	memset(w, 0, sizeof *w);
	lean_init(&w->lean, torture_mix(seed, 1));
	w->device = device;
	w->random = torture_mix(seed, 2);
	w->maintain_most = 3;
}

enum bole_status world_open(struct world *w)
{
	for (unsigned i = 0; i < MODEL_PREPARED; i++)
		w->tx[i] = NULL;
	enum bole_status rc =
	        bole_flash_open(w->device, &w->lean.base, &w->lean.alloc, NULL, &w->store);
	if (rc != BOLE_OK)
		return rc;
	struct bole_store_stats stats = {.lost = 0};
	rc = bole_store_stats(w->store, &stats);
	w->lost = stats.lost;
	if (rc == BOLE_OK && ((w->lost == 0 && stats.in_doubt == 0) || w->damaged))
		return BOLE_OK;
	(void)world_close(w);
	return BOLE_E_CORRUPT;
}

enum bole_status world_close(struct world *w)
{
	struct bole_store *store = w->store;

	w->store = NULL;
	for (unsigned i = 0; i < MODEL_PREPARED; i++)
		w->tx[i] = NULL;
	return bole_store_close(store);
}

bool world_may_say(enum bole_status rc)
{
	return rc == BOLE_E_CORRUPT || rc == BOLE_E_IO || rc == BOLE_E_READ_ONLY;
}

bool world_look(struct world *w, bool sound, bool excused, bool *noticed, char *why, size_t room)
{
	struct model_reader reader = {
	        .alloc = &w->lean.alloc, .thorough = true, .tolerant = !sound};
	struct model_state seen;
	char what[160];
	enum bole_status rc = model_read(&reader, w->store, &seen);

	if (reader.why[0] != 0) {
		(void)snprintf(why, room, "reading %s: %s", reader.at, reader.why);
		return false;
	}
	if (rc != BOLE_OK || reader.errors != 0) {
		*noticed = true;
		(void)snprintf(why, room, "reading %s: %s; log: %s", reader.at,
		               bole_status_text(rc), w->lean.last_error);
		return !sound && world_may_say(rc == BOLE_OK ? BOLE_E_CORRUPT : rc);
	}
	if (excused || memcmp(&seen, &w->now, sizeof seen) == 0 ||
	    memcmp(&seen, &w->next, sizeof seen) == 0)
		return true;
	model_difference(&w->now, &seen, what, sizeof what);
	(void)snprintf(why, room, "without an error: %s", what);
	return false;
}

enum bole_status work_wrong(struct world *w, const char *what, enum bole_status rc)
{
	(void)snprintf(w->why, sizeof w->why, "%s: %s", what, bole_status_text(rc));
	return BOLE_E_CORRUPT;
}

/* The device or the memory is at fault, not the answer. */
bool work_refused(enum bole_status rc)
{
	return rc == BOLE_E_IO || rc == BOLE_E_READ_ONLY || rc == BOLE_E_NO_MEMORY ||
	       rc == BOLE_E_NO_SPACE;
}

/* -- Transactions -- */

bool work_pick(struct world *w, unsigned *slot)
{
	unsigned from = (unsigned)work_draw(w, MODEL_REPOS);

	for (unsigned i = 0; i < MODEL_REPOS; i++) {
		*slot = (from + i) % MODEL_REPOS;
		if (w->now.repo[*slot].algo != 0)
			return true;
	}
	return false;
}

enum bole_status work_repo(struct world *w, unsigned slot, struct bole_repo *out)
{
	char name[16];

	model_repo_name(slot, name);
	enum bole_status rc = bole_repo_find(w->store, name, out);
	return rc == BOLE_E_NOT_FOUND ? work_wrong(w, "finding a repository", rc) : rc;
}

static enum bole_status begin(struct work_tx *t, struct world *w)
{
	struct bole_repo repo;

	*t = (struct work_tx){.w = w};
	if (!work_pick(w, &t->slot))
		return BOLE_END;
	t->next = &w->next.repo[t->slot];
	enum bole_status rc = work_repo(w, t->slot, &repo);
	return rc != BOLE_OK ? rc : bole_tx_begin(w->store, repo.id, &t->tx);
}

enum bole_status work_put(struct work_tx *t, unsigned number)
{
	const struct model_object *o = model_object(t->next->algo, number);
	const struct bole_bytes *e = &o->entry[0];
	/* Pieces are the caller's affair. */
	size_t first = number % 3 == 0 ? e->len : 1 + number % e->len;
	struct bole_bytes pieces[2] = {{e->ptr, first < e->len ? first : e->len}, {NULL, 0}};

	if (e->len > t->w->store->info.record_bytes_max)
		return BOLE_OK;
	pieces[1] = (struct bole_bytes){e->ptr + pieces[0].len, e->len - pieces[0].len};
	enum bole_status rc = bole_tx_put(t->tx, &o->oid, BOLE_OBJECT_BLOB, pieces, 2);
	if (rc == BOLE_OK)
		t->next->present[number] = 1;
	return rc;
}

static enum bole_status put_some(struct work_tx *t)
{
	struct world *w = t->w;
	uint64_t n = 1 + work_draw(w, w->small ? 3 : 12);
	enum bole_status rc = BOLE_OK;

	for (uint64_t i = 0; i < n && rc == BOLE_OK; i++)
		rc = work_put(t, (unsigned)work_draw(w, MODEL_OBJECTS));
	return rc;
}

static int by_number(const void *a, const void *b)
{
	const struct bole_extent_row *x = a;
	const struct bole_extent_row *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* A pack of objects, each at most once, from `first` on in steps. */
static enum bole_status put_pack(struct work_tx *t)
{
	struct world *w = t->w;
	struct bole_extent_row row[MODEL_OBJECTS];
	unsigned first = (unsigned)work_draw(w, MODEL_OBJECTS);
	unsigned count = 1 + (unsigned)work_draw(w, w->small ? 6 : 30);
	unsigned step = 1 + 2 * (unsigned)work_draw(w, 3);
	uint8_t head[12] = {'P', 'A', 'C', 'K', 0, 0, 0, 2};
	uint64_t extent;
	uint64_t at = sizeof head;

	head[11] = (uint8_t)count;
	enum bole_status rc = bole_tx_extent_begin(t->tx, &extent);
	if (rc == BOLE_OK)
		rc = bole_tx_extent_append(t->tx, bole_bytes_of(head, sizeof head));
	if (step == 3)
		step = 7; /* no divisor of the number of objects */
	for (unsigned i = 0; i < count && rc == BOLE_OK; i++) {
		unsigned n = (first + i * step) % MODEL_OBJECTS;
		const struct model_object *o = model_object(t->next->algo, n);
		row[i] = (struct bole_extent_row){o->oid, BOLE_OBJECT_BLOB, at, o->entry[1].len};
		rc = bole_tx_extent_append(t->tx, o->entry[1]);
		at += o->entry[1].len;
		t->next->present[n] = 1;
	}
	if (rc != BOLE_OK)
		return rc;
	qsort(row, count, sizeof *row, by_number);
	return bole_tx_extent_finish(t->tx, row, count);
}

static enum bole_status put_aux(struct work_tx *t, struct model_aux *out, uint8_t *which)
{
	uint8_t value[MODEL_AUX_BYTES_MAX + 4];
	struct world *w = t->w;
	uint8_t name[2] = {'k', 0};
	uint64_t size = work_draw(w, 16);

	*which = (uint8_t)work_draw(w, MODEL_AUXES);
	*out = (struct model_aux){0, 0};
	if (size != 0) {
		out->seed = (uint32_t)(1 + work_draw(w, 1u << 30));
		out->len = (uint32_t)work_draw(w, size == 1 ? MODEL_AUX_BYTES_MAX : 700);
	}
	bole_put_le32(value, out->seed);
	model_aux_value(out, value + 4);
	name[1] = (uint8_t)('0' + *which);
	struct bole_aux_key key = {BOLE_AUX_DURABLE, 7, {name, 2}};
	struct bole_bytes bytes = {out->seed == 0 ? NULL : value, out->len + 4};
	if (out->seed == 0)
		bytes.len = 0;
	return w->store->aux->put(t->tx, &key, bytes);
}

/* -- References -- */

static struct bole_ref_update set_ref(struct model_repo *next, unsigned ref, unsigned number)
{
	struct bole_ref_update u = {.name = bole_bytes_z(model_ref_name(ref)),
	                            .action = BOLE_REF_SET,
	                            .oid = model_object(next->algo, number)->oid};

	if (ref == 4 || ref == 5) {
		u.has_peeled = true;
		u.peeled = u.oid;
	}
	next->ref[ref] = (uint8_t)number;
	return u;
}

/* An object that is there after this transaction; MODEL_NONE where there is none. */
static unsigned some_object(struct work_tx *t)
{
	unsigned from = (unsigned)work_draw(t->w, MODEL_OBJECTS);

	for (unsigned i = 0; i < MODEL_OBJECTS; i++)
		if (t->next->present[(from + i) % MODEL_OBJECTS] != 0)
			return (from + i) % MODEL_OBJECTS;
	return MODEL_NONE;
}

static struct bole_ref_update change_ref(struct work_tx *t, unsigned ref, bool remove)
{
	struct bole_ref_update u;
	const struct model_repo *now = &t->w->now.repo[t->slot];
	uint8_t old = now->ref[ref];
	unsigned object = some_object(t);

	if (remove || object == MODEL_NONE) {
		u = (struct bole_ref_update){.name = bole_bytes_z(model_ref_name(ref)),
		                             .action = BOLE_REF_DELETE};
		t->next->ref[ref] = MODEL_NONE;
	} else {
		u = set_ref(t->next, ref, object);
	}
	if (work_draw(t->w, 2) == 0)
		return u;
	u.expect = old == MODEL_NONE ? BOLE_EXPECT_ABSENT : BOLE_EXPECT_OID;
	if (old != MODEL_NONE)
		u.expected = model_object(now->algo, old)->oid;
	return u;
}

static size_t change_refs(struct work_tx *t, struct bole_ref_update *updates, size_t most,
                          bool remove)
{
	unsigned ref = (unsigned)work_draw(t->w, MODEL_REFS);
	size_t count = most == 0 ? 0 : 1 + (size_t)work_draw(t->w, most);

	for (size_t i = 0; i < count; i++)
		updates[i] = change_ref(t, (ref + (unsigned)i) % MODEL_REFS,
		                        remove || work_draw(t->w, 5) == 0);
	if (count == 0 || work_draw(t->w, 8) != 0 || count == MODEL_REFS)
		return count;
	t->next->head = (uint8_t)work_draw(t->w, MODEL_REFS);
	updates[count] =
	        (struct bole_ref_update){.name = bole_bytes_z("HEAD"),
	                                 .action = BOLE_REF_SYMBOLIC,
	                                 .target = bole_bytes_z(model_ref_name(t->next->head))};
	return count + 1;
}

static enum bole_status commit(struct work_tx *t, size_t most_refs, bool remove)
{
	struct bole_ref_update updates[MODEL_REFS + 1];
	size_t count = change_refs(t, updates, most_refs, remove);
	size_t failed;
	enum bole_status rc = bole_tx_commit(t->tx, updates, count, &failed);

	if (rc == BOLE_E_CONFLICT)
		bole_tx_abort(t->tx);
	t->tx = NULL;
	return rc;
}

/* -- The operations -- */

static enum bole_status do_objects(struct world *w, enum work_op op)
{
	struct work_tx t;
	uint8_t key;
	struct model_aux aux;
	enum bole_status rc = begin(&t, w);

	if (rc != BOLE_OK)
		return rc;
	if (op != WORK_PACK && op != WORK_AUX)
		rc = put_some(&t);
	if (rc == BOLE_OK && op == WORK_PACK)
		rc = put_pack(&t);
	if (rc == BOLE_OK && (op == WORK_AUX || work_draw(w, 8) == 0)) {
		rc = put_aux(&t, &aux, &key);
		t.next->aux[key] = aux;
	}
	if (rc == BOLE_OK && op == WORK_ABORT) {
		bole_tx_abort(t.tx);
		w->next = w->now;
		return BOLE_OK;
	}
	if (rc == BOLE_OK)
		return commit(&t, op == WORK_PUT || op == WORK_PACK ? 2 : 1, false);
	bole_tx_abort(t.tx);
	return rc;
}

static enum bole_status do_refs(struct world *w, enum work_op op)
{
	struct work_tx t;
	enum bole_status rc = begin(&t, w);

	if (rc != BOLE_OK)
		return rc;
	return commit(&t, op == WORK_REFS ? MODEL_REFS : 1, op == WORK_REF_DELETE);
}

/* A compare that fails, then nothing of the transaction is there. */
static enum bole_status do_conflict(struct world *w)
{
	struct work_tx t;
	size_t failed;
	enum bole_status rc = begin(&t, w);

	if (rc != BOLE_OK)
		return rc;
	rc = put_some(&t);
	if (rc != BOLE_OK) {
		bole_tx_abort(t.tx);
		return rc;
	}
	unsigned ref = (unsigned)work_draw(w, MODEL_REFS);
	uint8_t old = w->now.repo[t.slot].ref[ref];
	struct bole_ref_update u = set_ref(t.next, ref, 1);
	u.expect = old == MODEL_NONE ? BOLE_EXPECT_OID : BOLE_EXPECT_ABSENT;
	u.expected = model_object(t.next->algo, 1)->oid;
	w->next = w->now;
	rc = bole_tx_commit(t.tx, &u, 1, &failed);
	if (rc == BOLE_E_CONFLICT) {
		bole_tx_abort(t.tx);
		return BOLE_OK;
	}
	return rc == BOLE_OK ? work_wrong(w, "a compare that must fail", rc) : rc;
}

/* A reference names it, or what is prepared relies on it. */
bool work_needed(const struct world *w, unsigned slot, const struct model_repo *r, unsigned number)
{
	for (unsigned i = 0; i < MODEL_REFS; i++)
		if (r->ref[i] == number)
			return true;
	for (unsigned i = 0; i < MODEL_PREPARED; i++)
		if (w->prepared[i].there && w->prepared[i].repo == slot &&
		    w->prepared[i].present[number] != 0)
			return true;
	return false;
}

static enum bole_status do_drop(struct world *w)
{
	struct work_tx t;
	enum bole_status rc = begin(&t, w);

	if (rc != BOLE_OK)
		return rc;
	uint64_t count = 1 + work_draw(w, w->small ? 6 : 30);
	for (uint64_t i = 0; i < count && rc == BOLE_OK; i++) {
		unsigned n = (unsigned)work_draw(w, MODEL_OBJECTS);
		if (work_needed(w, t.slot, t.next, n))
			continue;
		rc = bole_tx_drop(t.tx, &model_object(t.next->algo, n)->oid);
		t.next->present[n] = 0;
		if (rc == BOLE_OK && work_draw(w, 8) == 0)
			rc = work_put(&t, n);
	}
	if (rc == BOLE_OK && work_draw(w, 3) == 0)
		rc = put_some(&t);
	if (rc == BOLE_OK)
		return commit(&t, 1, true);
	bole_tx_abort(t.tx);
	return rc;
}

static enum bole_status do_prepare(struct world *w)
{
	struct work_tx t;
	struct model_prepared p = {.there = true};
	unsigned i = 0;

	while (i < MODEL_PREPARED && w->prepared[i].there)
		i++;
	if (i == MODEL_PREPARED)
		return BOLE_OK;
	enum bole_status rc = begin(&t, w);
	if (rc != BOLE_OK)
		return rc;
	struct model_repo *visible = t.next;
	struct model_repo hidden = {.algo = visible->algo};
	t.next = &hidden;
	rc = put_some(&t);
	if (rc == BOLE_OK && work_draw(w, 3) == 0)
		rc = put_pack(&t);
	if (rc == BOLE_OK)
		rc = put_aux(&t, &p.aux, &p.aux_key);
	if (rc == BOLE_OK)
		rc = bole_tx_prepare(t.tx, &p.token);
	if (rc != BOLE_OK) {
		bole_tx_abort(t.tx);
		return rc;
	}
	p.repo = (uint8_t)t.slot;
	memcpy(p.present, hidden.present, sizeof p.present);
	w->prepared[i] = p;
	w->tx[i] = t.tx;
	return BOLE_OK;
}

/* Goes on with what was prepared, whether this process did it or one before a cut. */
static enum bole_status do_resume(struct world *w)
{
	struct bole_ref_update updates[MODEL_REFS + 1];
	struct work_tx t = {.w = w};
	unsigned i = 0;
	size_t failed;
	enum bole_status rc = BOLE_OK;

	while (i < MODEL_PREPARED && !w->prepared[i].there)
		i++;
	if (i == MODEL_PREPARED)
		return BOLE_OK;
	struct model_prepared *p = &w->prepared[i];
	t.tx = w->tx[i];
	if (t.tx == NULL)
		rc = bole_tx_resume(w->store, &p->token, &t.tx);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? work_wrong(w, "what was prepared is lost", rc) : rc;
	w->tx[i] = NULL;
	t.slot = p->repo;
	t.next = &w->next.repo[p->repo];
	p->there = false;
	if (work_draw(w, 3) == 0) {
		bole_tx_abort(t.tx);
		return BOLE_OK;
	}
	for (unsigned n = 0; n < MODEL_OBJECTS; n++)
		t.next->present[n] |= p->present[n];
	t.next->aux[p->aux_key] = p->aux;
	size_t count = change_refs(&t, updates, 2, false);
	return bole_tx_commit(t.tx, updates, count, &failed);
}

/* -- Repositories -- */

static void forget_prepared(struct world *w, unsigned slot)
{
	for (unsigned i = 0; i < MODEL_PREPARED; i++)
		if (w->prepared[i].there && w->prepared[i].repo == slot)
			w->prepared[i].there = false;
}

static enum bole_status do_repo(struct world *w)
{
	unsigned slot = (unsigned)work_draw(w, MODEL_REPOS);
	unsigned to = (unsigned)work_draw(w, MODEL_REPOS);
	struct model_repo *next = &w->next.repo[slot];
	struct bole_repo repo;
	char name[16];
	enum bole_status rc;

	model_repo_name(slot, name);
	if (next->algo == 0) {
		next->algo = work_draw(w, 3) == 0 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;
		memset(next->ref, MODEL_NONE, sizeof next->ref);
		next->head = (uint8_t)work_draw(w, MODEL_REFS);
		return bole_repo_create(w->store, name, next->algo, model_ref_name(next->head),
		                        &repo);
	}
	/* A handle of what is prepared does not outlive its repository. */
	for (unsigned i = 0; i < MODEL_PREPARED; i++)
		if (w->prepared[i].there && w->prepared[i].repo == slot)
			return BOLE_OK;
	rc = work_repo(w, slot, &repo);
	if (rc != BOLE_OK)
		return rc;
	if (w->now.repo[to].algo == 0) {
		w->next.repo[to] = *next;
		memset(next, 0, sizeof *next);
		model_repo_name(to, name);
		return bole_repo_rename(w->store, repo.id, name);
	}
	if (work_draw(w, 2) == 0)
		return BOLE_OK;
	memset(next, 0, sizeof *next);
	forget_prepared(w, slot);
	return bole_repo_remove(w->store, repo.id);
}

static enum bole_status do_reopen(struct world *w)
{
	enum bole_status rc = world_close(w);

	return rc == BOLE_OK ? world_open(w) : rc;
}

/* -- All of them -- */

static enum bole_status dispatch(struct world *w, enum work_op op)
{
	switch (op) {
	case WORK_PUT:
	case WORK_PACK:
	case WORK_AUX:
	case WORK_ABORT: return do_objects(w, op);
	case WORK_REF:
	case WORK_REFS:
	case WORK_REF_DELETE: return do_refs(w, op);
	case WORK_DROP: return do_drop(w);
	case WORK_GC: return work_gc(w);
	case WORK_MAINTAIN:
	case WORK_CHECKPOINT: return work_maintain(w, op);
	case WORK_PREPARE: return do_prepare(w);
	case WORK_RESUME: return do_resume(w);
	case WORK_REPO: return do_repo(w);
	case WORK_REOPEN: return do_reopen(w);
	case WORK_CONFLICT: return do_conflict(w);
	case WORK_OPS: break;
	}
	return BOLE_E_INVALID;
}

enum bole_status world_do(struct world *w, enum work_op op)
{
	w->next = w->now;
	w->why[0] = 0;
	enum bole_status rc = dispatch(w, op);
	w->status = rc;
	/* BOLE_END: there was nothing to do it on. */
	if (rc == BOLE_E_UNSUPPORTED || rc == BOLE_END) {
		w->next = w->now;
		w->skipped[op]++;
		return BOLE_OK;
	}
	if (rc == BOLE_OK) {
		w->now = w->next;
		w->done[op]++;
		return BOLE_OK;
	}
	if (!work_refused(rc) && w->why[0] == 0)
		return work_wrong(w, work_names[op], rc);
	return rc;
}

/* Weights by flavour: mixed, packs, references, liveness, stops, bulk, prepared, repositories. */
static const uint8_t weights[WORK_FLAVOURS][WORK_OPS] = {
        /* put pack ref refs del drop gc maint ckpt aux prep res abort repo reopen conflict */
        {6, 4, 3, 2, 2, 3, 2, 3, 1, 2, 1, 1, 1, 1, 1, 1},
        {2, 8, 1, 1, 1, 2, 2, 3, 1, 0, 0, 0, 1, 0, 1, 0},
        {3, 0, 6, 5, 4, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 2},
        {5, 3, 1, 0, 1, 6, 4, 5, 1, 0, 0, 0, 0, 0, 1, 0},
        {4, 2, 1, 1, 1, 2, 1, 2, 2, 1, 1, 1, 0, 1, 6, 0},
        {6, 6, 0, 0, 0, 3, 2, 4, 1, 3, 0, 0, 0, 0, 1, 0},
        {3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 5, 4, 2, 1, 2, 1},
        {4, 2, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 5, 2, 0},
};

enum work_op world_draw(struct world *w, unsigned flavour)
{
	const uint8_t *weight = weights[flavour % WORK_FLAVOURS];
	unsigned sum = 0;
	unsigned op = 0;
	unsigned slot;

	if (!work_pick(w, &slot))
		return WORK_REPO;
	for (unsigned i = 0; i < WORK_OPS; i++)
		sum += weight[i];
	unsigned at = (unsigned)work_draw(w, sum);
	while (at >= weight[op])
		at -= weight[op++];
	return (enum work_op)op;
}
