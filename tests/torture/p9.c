/* SPDX-License-Identifier: ISC */
/* P9: a volume is filled until it says "no space"; then, at once, a reference update, a delete, a
 * sweep and a push of new objects succeed. Several times over, with power cuts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "torture/programs.h"

enum {
	OBJECTS_MAX = 1 << 16,
	TX_MAX = 64,
	ROUNDS = 3,
	ENTRY_MAX = 400 << 10,
	CLASSES = 4,
	CUTS_A_UNIT = 60,
	SINGLES = 24,
	SAMPLE = 8, /* of the objects, one in so many is compared byte for byte */
};

struct full_state {
	uint64_t word[OBJECTS_MAX / 64];
	uint32_t ref; /* object that the one reference names; 0 = none */
};

struct full {
	struct torture_unit *u;
	const struct torture_geometry *g;
	uint64_t seed;
	unsigned sizes; /* class */
	struct lean lean;
	struct lean disk;
	struct bole_block *device;
	struct tap tap;
	struct bole_store *store;
	struct bole_repo repo;
	uint64_t random;
	uint32_t next_object; /* numbers are never used twice */
	bool at_floor;        /* the volume has said "no space" */
	unsigned chance;      /* of a cut at an operation, in 1/1024 */
	struct full_state now;
	struct full_state next;
	char path[64];
};

#define BAD(f, ...) torture_finding((f)->u, (f)->g->name, (f)->path, __VA_ARGS__)

/* -- Objects: everything about one follows from its number -- */

static bool has(const struct full_state *s, uint32_t n)
{
	return (s->word[n / 64] >> n % 64 & 1) != 0;
}

static void set(struct full_state *s, uint32_t n, bool there)
{
	uint64_t bit = 1ull << n % 64;

	s->word[n / 64] = there ? s->word[n / 64] | bit : s->word[n / 64] & ~bit;
}

static size_t size_of(const struct full *f, uint32_t n)
{
	static const struct {
		uint32_t least, span;
	} range[CLASSES] = {{100, 600}, {900, 3000}, {30, 7000}, {4000, 4000}};
	uint64_t luck = torture_mix(f->seed ^ 3, n);
	/* Large devices get large objects, or the run would take for ever. */
	uint64_t scale = f->g->size_bytes >> 22;

	return (size_t)(range[f->sizes].least + luck % range[f->sizes].span * scale);
}

/* The number is in the id, so a listing tells what it saw. */
static void id_of(const struct full *f, uint32_t n, struct bole_oid *out)
{
	memset(out, 0, sizeof *out);
	out->algo = BOLE_HASH_SHA1;
	for (unsigned i = 0; i < 2; i++)
		bole_put_le64(out->bytes + i * 8, torture_mix(f->seed ^ i, n));
	bole_put_le32(out->bytes + 16, n);
}

static size_t entry_of(const struct full *f, uint32_t n, uint8_t *dst)
{
	size_t len = size_of(f, n);
	uint64_t word = torture_mix(f->seed ^ 9, n);

	for (size_t i = 0; i < len; i += 8, word = word * 6364136223846793005u + n)
		bole_put_le64(dst + i, word);
	dst[0] = BOLE_OBJECT_BLOB << 4 | 1;
	return len;
}

static uint64_t draw(struct full *f, uint64_t below)
{
	return torture_random(&f->random) % below;
}

/* -- Reading -- */

static enum bole_status read_one(struct full *f, struct bole_snapshot *s, uint32_t n,
                                 const struct bole_entry *e, const char **why)
{
	static uint8_t want[ENTRY_MAX];
	size_t len = entry_of(f, n, want);

	*why = "an entry of another length";
	if (e->stored_bytes != len)
		return BOLE_E_CORRUPT;
	for (size_t pos = 0; pos < len;) {
		struct bole_bytes seen;
		*why = "";
		enum bole_status rc = bole_odb_view(s, e, pos, &seen);
		if (rc != BOLE_OK)
			return rc;
		*why = "wrong bytes";
		if (memcmp(seen.ptr, want + pos, seen.len) != 0) {
			if (f->u->verbose)
				(void)fprintf(stderr,
				              "object %u: %zu bytes, a view of %zu at %zu, %s\n", n,
				              len, seen.len, pos,
				              len <= f->store->info.record_bytes_max ? "record"
				                                                     : "extent");
			return BOLE_E_CORRUPT;
		}
		pos += seen.len;
	}
	*why = "";
	return BOLE_OK;
}

static enum bole_status read_all(struct full *f, struct bole_snapshot *s, struct full_state *out,
                                 const char **why)
{
	struct bole_oid oid;
	struct bole_oid want;
	struct bole_entry e;
	struct bole_ref ref;
	uint64_t cursor = 0;
	enum bole_status rc;

	while ((rc = bole_odb_next(s, &cursor, &oid, &e)) == BOLE_OK) {
		uint32_t n = bole_get_le32(oid.bytes + 16);
		id_of(f, n, &want);
		*why = "an id that was never written, or one twice";
		if (n >= OBJECTS_MAX || !bole_oid_equal(&oid, &want) || has(out, n))
			return BOLE_E_CORRUPT;
		set(out, n, true);
		*why = "";
		rc = n % SAMPLE == f->random % SAMPLE ? read_one(f, s, n, &e, why) : BOLE_OK;
		if (rc != BOLE_OK)
			return rc;
	}
	*why = "listing";
	if (rc != BOLE_END)
		return rc;
	*why = "the reference";
	rc = bole_ref_get(s, bole_bytes_z("refs/heads/a"), &ref);
	if (rc == BOLE_OK)
		out->ref = bole_get_le32(ref.oid.bytes + 16);
	return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
}

static bool compare(struct full *f)
{
	static struct full_state seen;
	struct bole_snapshot *s;
	const char *why = "a snapshot";

	memset(&seen, 0, sizeof seen);
	enum bole_status rc = bole_snapshot_open(f->store, f->repo.id, &s);
	if (rc == BOLE_OK) {
		rc = read_all(f, s, &seen, &why);
		bole_snapshot_close(s);
	}
	if (rc != BOLE_OK) {
		BAD(f, "reading: %s: %s; log: %s", why, bole_status_text(rc), f->lean.last_error);
		return false;
	}
	if (memcmp(&seen, &f->now, sizeof seen) == 0)
		return true;
	if (memcmp(&seen, &f->next, sizeof seen) == 0) {
		f->now = f->next;
		return true;
	}
	unsigned lost = 0;
	unsigned back = 0;
	for (uint32_t n = 0; n < f->next_object; n++) {
		lost += has(&f->now, n) && !has(&seen, n);
		back += !has(&f->now, n) && has(&seen, n);
	}
	BAD(f, "neither before nor after: %u objects lost, %u back, reference %u instead of %u",
	    lost, back, seen.ref, f->now.ref);
	return false;
}

/* -- Writing -- */

/* Not from a static buffer: power may go in the middle, and what recovers puts, too. */
static enum bole_status put_entry(struct full *f, struct bole_tx *tx, uint32_t n, uint8_t *entry)
{
	struct bole_oid oid;
	size_t len = entry_of(f, n, entry);
	struct bole_bytes piece = {entry, len};

	id_of(f, n, &oid);
	if (len <= f->store->info.record_bytes_max)
		return bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1);
	/* As a pack of one. */
	struct bole_extent_row row = {oid, BOLE_OBJECT_BLOB, 12, len};
	uint64_t extent;
	enum bole_status rc = bole_tx_extent_begin(tx, &extent);
	if (rc == BOLE_OK)
		rc = bole_tx_extent_append(tx, bole_bytes_of("PACK\0\0\0\2\0\0\0\1", 12));
	if (rc == BOLE_OK)
		rc = bole_tx_extent_append(tx, piece);
	return rc == BOLE_OK ? bole_tx_extent_finish(tx, &row, 1) : rc;
}

static enum bole_status put(struct full *f, struct bole_tx *tx, uint32_t n)
{
	uint8_t *entry = malloc(size_of(f, n) + 8);
	enum bole_status rc = put_entry(f, tx, n, entry);

	free(entry);
	return rc;
}

/* Puts new objects and drops old ones in one transaction, and moves the reference. */
static enum bole_status change(struct full *f, unsigned puts, unsigned drops)
{
	struct bole_tx *tx;
	struct bole_ref_update u = {.name = bole_bytes_z("refs/heads/a"), .action = BOLE_REF_SET};
	uint32_t number = f->next_object;
	size_t failed;

	f->next = f->now;
	enum bole_status rc = bole_tx_begin(f->store, f->repo.id, &tx);
	if (rc != BOLE_OK)
		return rc;
	for (unsigned i = 0; i < puts && rc == BOLE_OK; i++, number++) {
		set(&f->next, number, true);
		f->next.ref = number;
		rc = put(f, tx, number);
	}
	uint32_t n = 1 + (uint32_t)draw(f, f->next_object);
	for (uint32_t tried = 0; drops > 0 && tried < f->next_object && rc == BOLE_OK;
	     tried++, n = 1 + n % f->next_object) {
		struct bole_oid oid;
		if (!has(&f->next, n) || n == f->next.ref)
			continue;
		id_of(f, n, &oid);
		rc = bole_tx_drop(tx, &oid);
		set(&f->next, n, false);
		drops--;
	}
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		f->next = f->now;
		return rc;
	}
	id_of(f, f->next.ref, &u.oid);
	rc = bole_tx_commit(tx, &u, f->next.ref != 0, &failed);
	if (rc == BOLE_OK) {
		f->now = f->next;
		f->next_object = number;
	}
	return rc;
}

static uint32_t count(const struct full_state *s)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < OBJECTS_MAX / 64; i++)
		n += (uint32_t)__builtin_popcountll(s->word[i]);
	return n;
}

/* Marks two objects of three and what the reference names; the others go. */
static enum bole_status sweep(struct full *f)
{
	struct bole_mark_result result;
	struct bole_mark *mark;
	struct bole_oid oid;
	enum bole_status rc = bole_mark_begin(f->store, f->repo.id, &mark);
	bool fresh;

	if (rc != BOLE_OK)
		return rc == BOLE_E_UNSUPPORTED ? BOLE_OK : rc;
	f->next = f->now;
	uint64_t luck = f->random;
	for (uint32_t n = 1; n < f->next_object && rc == BOLE_OK; n++) {
		if (!has(&f->now, n))
			continue;
		if (torture_mix(luck, n) % 3 == 0 && n != f->now.ref) {
			set(&f->next, n, false);
			continue;
		}
		id_of(f, n, &oid);
		rc = bole_mark_object(mark, &oid, &fresh);
	}
	if (rc == BOLE_OK)
		rc = bole_mark_root(mark, &oid);
	if (rc == BOLE_END)
		rc = bole_mark_end(mark, &result);
	else
		bole_mark_abort(mark);
	if (rc == BOLE_OK) {
		f->now = f->next;
		f->u->extra[2]++;
	}
	return rc;
}

/* What must work on a full volume, at once. */
static bool make_room(struct full *f, uint32_t share)
{
	uint32_t objects = count(&f->now);
	uint32_t drop = objects / share;
	const char *what = "a reference update";
	enum bole_status rc = change(f, 0, 0);

	for (uint32_t done = 0; done < drop && rc == BOLE_OK; done += TX_MAX) {
		what = "a delete";
		rc = change(f, 0, drop - done < TX_MAX ? drop - done : TX_MAX);
	}
	if (rc == BOLE_E_UNSUPPORTED) {
		f->u->skipped[WORK_DROP]++;
		return false;
	}
	if (rc == BOLE_OK) {
		what = "a sweep";
		rc = sweep(f);
	}
	/* A third of what was deleted fits again. */
	for (uint32_t done = 0; done < drop / 3 && rc == BOLE_OK; done += 16) {
		what = "a push";
		rc = change(f, drop / 3 - done < 16 ? drop / 3 - done : 16, 0);
	}
	if (rc == BOLE_OK)
		return true;
	BAD(f, "on a full volume of %u objects, %s: %s; log: %s", objects, what,
	    bole_status_text(rc), f->lean.last_error);
	return false;
}

/* -- Cuts -- */

static bool open_store(struct full *f)
{
	enum bole_status rc =
	        bole_flash_open(&f->tap.block, &f->lean.base, &f->lean.alloc, NULL, &f->store);

	struct bole_store_stats stats = {.in_doubt = 0};

	if (rc == BOLE_OK)
		rc = bole_repo_find(f->store, "r", &f->repo);
	if (rc == BOLE_OK)
		rc = bole_store_stats(f->store, &stats);
	if (stats.in_doubt != 0)
		BAD(f, "%llu records stay in doubt", (unsigned long long)stats.in_doubt);
	if (rc == BOLE_OK)
		return stats.in_doubt == 0;
	BAD(f, "mounting: %s; log: %s", bole_status_text(rc), f->lean.last_error);
	return false;
}

static void close_store(struct full *f)
{
	enum bole_status rc = bole_store_close(f->store);

	f->store = NULL;
	if (rc != BOLE_OK)
		BAD(f, "closing: %s", bole_status_text(rc));
	if (f->lean.blocks != 0)
		BAD(f, "memory is never given back");
}

static bool survive(struct full *f)
{
	if (!open_store(f) || !compare(f))
		return false;
	if (f->at_floor && draw(f, 2) == 0 && !make_room(f, 16))
		return false;
	if (!f->at_floor && draw(f, 4) == 0) {
		enum bole_status rc = change(f, 1, 1);
		if (rc != BOLE_OK && rc != BOLE_E_NO_SPACE && rc != BOLE_E_UNSUPPORTED) {
			BAD(f, "going on: %s", bole_status_text(rc));
			return false;
		}
		f->next = f->now;
	}
	close_store(f);
	return open_store(f) && compare(f);
}

static void cut_one(struct full *f, const struct tap_op *op, unsigned mode, const char *path)
{
	struct full *inner = malloc(sizeof *inner);
	struct torture_cut cut = {.mode = mode};

	*inner = *f;
	inner->seed = f->seed;
	inner->store = NULL;
	inner->random = torture_mix(f->seed ^ mode, f->tap.ops);
	(void)snprintf(inner->path, sizeof inner->path, "%s", path);
	lean_init(&inner->lean, inner->random);
	inner->lean.loud = f->u->verbose;
	inner->device = torture_interrupt(&f->disk, f->device, op, &cut, inner->random);
	tap_init(&inner->tap, inner->device);
	torture_progress(f->u, f->g->name, path);
	f->u->count.cuts++;
	/* Objects of the transaction under way may be there. */
	inner->next_object = f->next_object + TX_MAX;
	(void)survive(inner);
	if (inner->store != NULL)
		close_store(inner);
	bole_block_close(inner->device);
	free(inner);
}

static void hook(struct tap *tap, const struct tap_op *op)
{
	struct full *f = tap->ctx;
	uint64_t luck = torture_mix(f->seed, tap->ops * 2 + 1);
	unsigned mode = (unsigned)(luck >> 32) % torture_mode_count;
	char path[64];

	(void)snprintf(path, sizeof path, "%llu@%s", (unsigned long long)tap->ops,
	               torture_mode_name(mode));
	if (f->u->only != NULL ? strcmp(path, f->u->only) != 0
	                       : luck % 1024 >= f->chance || f->u->count.cuts >= CUTS_A_UNIT)
		return;
	if (!torture_over(f->u) && torture_mode_applies(f->device, mode, op->kind))
		cut_one(f, op, mode, path);
}

/* -- A unit -- */

static bool fill(struct full *f)
{
	enum bole_status rc = BOLE_OK;

	f->at_floor = false;
	f->chance = 2;
	while (rc == BOLE_OK && f->next_object + 2 * TX_MAX < OBJECTS_MAX && !torture_over(f->u))
		rc = change(f, 1 + (unsigned)draw(f, TX_MAX - 1), 0);
	/* What does not fit as one may fit singly. */
	enum bole_status single = rc == BOLE_E_NO_SPACE ? BOLE_OK : rc;
	for (unsigned i = 0; i < SINGLES && single == BOLE_OK; i++)
		single = change(f, 1, 0);
	if (single != BOLE_OK)
		rc = single;
	/* The transaction's own view was what stood in the way. */
	if (rc == BOLE_E_GONE)
		rc = BOLE_E_NO_SPACE;
	f->next = f->now;
	if (rc != BOLE_E_NO_SPACE) {
		if (rc != BOLE_OK)
			BAD(f, "filling: %s; log: %s", bole_status_text(rc), f->lean.last_error);
		return false;
	}
	f->u->extra[0]++;
	f->u->count.trials++;
	f->at_floor = true;
	f->chance = 32;
	return compare(f);
}

void torture_p9(struct torture_unit *u)
{
	static struct full f;

	f = (struct full){.u = u,
	                  .g = torture_geometry_of(u->number),
	                  .seed = torture_mix(u->seed, u->number),
	                  .next_object = 1};
	f.sizes = (unsigned)(f.seed % CLASSES);
	f.random = f.seed;
	lean_init(&f.lean, f.seed);
	lean_init(&f.disk, f.seed);
	f.lean.loud = u->verbose;
	f.device = torture_device(&f.disk, f.g, f.seed);
	tap_init(&f.tap, f.device);
	f.tap.ctx = &f;
	enum bole_status rc = bole_flash_format(&f.tap.block, &f.lean.base, NULL);
	if (rc == BOLE_OK)
		rc = bole_flash_open(&f.tap.block, &f.lean.base, &f.lean.alloc, NULL, &f.store);
	if (rc == BOLE_OK)
		rc = bole_repo_create(f.store, "r", BOLE_HASH_SHA1, "refs/heads/a", &f.repo);
	if (rc != BOLE_OK)
		BAD(&f, "format: %s", bole_status_text(rc));
	f.tap.hook = hook;
	for (unsigned i = 0; i < ROUNDS && rc == BOLE_OK; i++) {
		torture_progress(u, f.g->name, "filling");
		if (torture_over(u) || !fill(&f) || !make_room(&f, 3))
			break;
		u->extra[1]++;
	}
	f.tap.hook = NULL;
	if (f.store != NULL) {
		close_store(&f);
		f.next = f.now;
		if (open_store(&f)) {
			(void)compare(&f);
			close_store(&f);
		}
	}
	bole_block_close(f.device);
}
