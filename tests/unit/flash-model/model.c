/* SPDX-License-Identifier: ISC */
#include "unit/flash-model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { MODEL_REPOS = 4, MODEL_REFS = 6, MODEL_AUX = 4, MODEL_BLOBS = 40 };

static uint64_t mix(uint64_t h, const void *src, size_t len)
{
	const uint8_t *p = src;

	h ^= 0xcbf29ce484222325u + len;
	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

/* -- Digest -- */

static enum bole_status digest_objects(struct bole_snapshot *s, uint64_t *sum)
{
	struct bole_oid oid;
	struct bole_entry e;
	uint64_t cursor = 0;
	enum bole_status rc;

	while ((rc = bole_odb_next(s, &cursor, &oid, &e)) == BOLE_OK) {
		uint64_t h = mix(1, oid.bytes, sizeof oid.bytes);
		h = mix(h, &e.type, 1);
		for (uint64_t pos = 0; pos < e.stored_bytes;) {
			struct bole_bytes bytes;
			rc = bole_odb_view(s, &e, pos, &bytes);
			if (rc != BOLE_OK)
				return rc;
			h = mix(h, bytes.ptr, bytes.len);
			pos += bytes.len;
		}
		*sum += h;
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status digest_refs(struct bole_snapshot *s, uint64_t *sum)
{
	struct bole_bytes none = {NULL, 0};
	struct bole_bytes after = none;
	struct bole_ref ref;
	enum bole_status rc;

	while ((rc = bole_ref_next(s, none, after, &ref)) == BOLE_OK) {
		uint64_t h = mix(2, ref.name.ptr, ref.name.len);
		h = mix(h, ref.oid.bytes, sizeof ref.oid.bytes);
		h = mix(h, ref.peeled.bytes, sizeof ref.peeled.bytes);
		h = mix(h, ref.target.ptr, ref.target.len);
		*sum += h;
		after = ref.name;
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status digest_aux(struct bole_store *store, struct bole_snapshot *s,
                                   struct bole_alloc *alloc, uint64_t *sum)
{
	uint8_t last[256];
	struct bole_bytes after = {last, 0};
	struct bole_bytes key;
	enum bole_status rc;

	while ((rc = store->aux->next(s, BOLE_AUX_DURABLE, 7, after, &key)) == BOLE_OK) {
		uint8_t *value;
		size_t len;
		struct bole_aux_key k = {BOLE_AUX_DURABLE, 7, key};
		memcpy(last, key.ptr, key.len);
		after.len = key.len;
		k.key = after;
		rc = store->aux->get(s, &k, alloc, &value, &len);
		if (rc != BOLE_OK)
			return rc;
		uint64_t h = mix(3, last, after.len);
		*sum += mix(h, value, len);
		alloc->resize(alloc->ctx, value, len == 0 ? 1 : len, 0, 1);
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status model_digest(struct bole_store *store, struct bole_alloc *alloc, uint64_t *out)
{
	struct bole_repo repo = {.id = 0};
	enum bole_status rc;

	*out = 0;
	while ((rc = bole_repo_next(store, repo.name, &repo)) == BOLE_OK) {
		struct bole_snapshot *s;
		uint64_t sum = 0;
		rc = bole_snapshot_open(store, repo.id, &s);
		if (rc != BOLE_OK)
			return rc;
		rc = digest_refs(s, &sum);
		if (rc == BOLE_OK)
			rc = digest_objects(s, &sum);
		if (rc == BOLE_OK)
			rc = digest_aux(store, s, alloc, &sum);
		bole_snapshot_close(s);
		if (rc != BOLE_OK)
			return rc;
		*out += mix(sum, repo.name, strlen(repo.name)) * (1 + repo.algo);
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* -- Steps -- */

struct step {
	const struct model *m;
	struct bole_store *store;
	uint64_t random;
	struct bole_repo repo;
	struct bole_tx *tx;
};

static uint64_t draw(struct step *s, uint64_t below)
{
	return test_random(&s->random) % below;
}

static enum bole_status put_some(struct step *s, unsigned most, struct suite_blob *last)
{
	uint64_t n = 1 + draw(s, most);

	for (uint64_t i = 0; i < n; i++) {
		suite_blob_make(last, s->repo.algo, draw(s, MODEL_BLOBS));
		struct bole_bytes piece = {last->entry, last->entry_len};
		enum bole_status rc = bole_tx_put(s->tx, &last->oid, BOLE_OBJECT_BLOB, &piece, 1);
		if (rc != BOLE_OK)
			return rc;
	}
	return BOLE_OK;
}

/* No reference names it, and it is not what this step is about to name. */
static bool may_drop(struct step *s, const struct bole_oid *oid, const struct suite_blob *last)
{
	struct bole_bytes none = {NULL, 0};
	struct bole_bytes after = none;
	struct bole_ref ref;

	if (last != NULL && bole_oid_equal(oid, &last->oid))
		return false;
	while (bole_ref_next(s->tx->view, none, after, &ref) == BOLE_OK) {
		if (!ref.symbolic && bole_oid_equal(&ref.oid, oid))
			return false;
		after = ref.name;
	}
	return true;
}

static enum bole_status drop_some(struct step *s, const struct suite_blob *last)
{
	uint64_t n = draw(s, 4) == 0 ? 1 + draw(s, s->m->small ? 3 : 40) : 0;

	for (uint64_t i = 0; i < n; i++) {
		struct suite_blob blob;
		suite_blob_make(&blob, s->repo.algo, draw(s, MODEL_BLOBS));
		if (!may_drop(s, &blob.oid, last))
			continue;
		enum bole_status rc = bole_tx_drop(s->tx, &blob.oid);
		if (rc != BOLE_OK)
			return rc;
	}
	return BOLE_OK;
}

static enum bole_status add_extent(struct step *s, struct suite_blob *last)
{
	struct suite_pack pack;
	uint64_t first = draw(s, MODEL_BLOBS);
	uint64_t extent;
	size_t count = 1 + (size_t)draw(s, s->m->small ? 12 : 120);

	suite_pack_make(&pack, s->repo.algo, first, count);
	suite_blob_make(last, s->repo.algo, first);
	enum bole_status rc = bole_tx_extent_begin(s->tx, &extent);
	for (size_t at = 0; at < pack.len && rc == BOLE_OK;) {
		size_t n = 1 + (size_t)draw(s, 3000);
		if (n > pack.len - at)
			n = pack.len - at;
		rc = bole_tx_extent_append(s->tx, (struct bole_bytes){pack.bytes + at, n});
		at += n;
	}
	if (rc == BOLE_OK)
		rc = bole_tx_extent_finish(s->tx, pack.rows, pack.count);
	suite_pack_free(&pack);
	return rc;
}

static enum bole_status put_aux(struct step *s)
{
	static uint8_t value[40000];
	uint8_t key[8] = {'k', (uint8_t)('0' + draw(s, MODEL_AUX))};
	struct bole_aux_key k = {BOLE_AUX_DURABLE, 7, {key, 2}};
	size_t len = (size_t)draw(s, s->m->small ? 600 : sizeof value);
	bool remove = draw(s, 4) == 0;

	for (size_t i = 0; i < len; i++)
		value[i] = (uint8_t)(s->random >> (i % 8) * 8);
	return s->store->aux->put(
	        s->tx, &k, remove ? (struct bole_bytes){NULL, 0} : (struct bole_bytes){value, len});
}

static struct bole_ref_update ref_update(struct step *s, const struct suite_blob *blob, char *name)
{
	static const char *const names[MODEL_REFS] = {
	        "refs/heads/a",   "refs/heads/b", "refs/heads/c",
	        "refs/heads/a/b", "refs/tags/v1", "refs/heads/dir/deep/er",
	};

	(void)snprintf(name, 40, "%s", names[draw(s, MODEL_REFS)]);
	if (blob == NULL || draw(s, 4) == 0)
		return suite_delete(name);
	return suite_set(name, &blob->oid);
}

static enum bole_status finish(struct step *s, const struct suite_blob *blob, bool prepare)
{
	struct bole_ref_update updates[3];
	char names[3][40];
	size_t count = (size_t)draw(s, 4);
	size_t failed;

	for (size_t i = 0; i < count; i++) {
		updates[i] = ref_update(s, blob, names[i]);
		for (size_t k = 0; k < i; k++)
			if (strcmp(names[k], names[i]) == 0) {
				count = i;
				break;
			}
	}
	if (prepare) {
		struct bole_tx_token token;
		enum bole_status rc = bole_tx_prepare(s->tx, &token);
		if (rc != BOLE_OK) {
			bole_tx_abort(s->tx);
			return rc;
		}
	}
	enum bole_status rc = bole_tx_commit(s->tx, updates, count, &failed);
	if (rc == BOLE_E_CONFLICT)
		bole_tx_abort(s->tx);
	return rc;
}

static enum bole_status transaction(struct step *s, unsigned kind)
{
	struct suite_blob blob;
	bool prepare = draw(s, 8) == 0;
	bool drop = draw(s, 8) == 0;

	enum bole_status rc = bole_tx_begin(s->store, s->repo.id, &s->tx);
	if (rc != BOLE_OK)
		return rc;
	suite_blob_make(&blob, s->repo.algo, 0);
	rc = drop_some(s, NULL);
	if (rc == BOLE_OK)
		rc = put_some(s, s->m->small ? 3 : 30, &blob);
	if (rc == BOLE_OK && kind >= 1)
		rc = add_extent(s, &blob);
	if (rc == BOLE_OK && kind >= 2)
		rc = put_aux(s);
	if (rc == BOLE_OK)
		rc = drop_some(s, &blob);
	if (rc != BOLE_OK || drop) {
		bole_tx_abort(s->tx);
		return rc;
	}
	return finish(s, &blob, prepare);
}

static enum bole_status refs_only(struct step *s)
{
	enum bole_status rc = bole_tx_begin(s->store, s->repo.id, &s->tx);

	return rc != BOLE_OK ? rc : finish(s, NULL, false);
}

static void repo_name(uint64_t n, char *name)
{
	(void)snprintf(name, 16, "dir/r%u", (unsigned)n);
}

static enum bole_status change_repos(struct step *s)
{
	char name[16];
	char to[16];
	uint64_t n = draw(s, MODEL_REPOS);
	struct bole_repo repo;

	repo_name(n, name);
	repo_name(MODEL_REPOS + draw(s, 2), to);
	if (bole_repo_find(s->store, name, &repo) != BOLE_OK)
		return bole_repo_create(s->store, name, n == 0 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1,
		                        "refs/heads/a", &repo);
	return draw(s, 2) == 0 ? bole_repo_remove(s->store, repo.id)
	                       : bole_repo_rename(s->store, repo.id, to);
}

enum bole_status model_step(const struct model *m, struct bole_store *store, unsigned i)
{
	struct step s = {.m = m, .store = store, .random = m->seed * 1000003 + i};
	char name[16];
	uint64_t what = draw(&s, 100);

	repo_name(draw(&s, MODEL_REPOS + 2), name);
	enum bole_status rc = bole_repo_find(store, name, &s.repo);
	if (rc == BOLE_E_NOT_FOUND)
		return bole_repo_create(store, name,
		                        draw(&s, 3) == 0 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1,
		                        "refs/heads/a", &s.repo);
	if (what < 12)
		return change_repos(&s);
	if (what < 40)
		return transaction(&s, 0);
	if (what < 60)
		return transaction(&s, 1);
	if (what < 80)
		return transaction(&s, 2);
	return refs_only(&s);
}

/* -- The oracle -- */

void model_open(struct model *m, uint64_t seed, unsigned steps, bool small)
{
	struct bole_store *store;

	memset(m, 0, sizeof *m);
	test_platform_init(&m->test, seed);
	test_platform_init(&m->disk, seed);
	m->test.quiet = getenv("VERBOSE") == NULL;
	m->seed = seed;
	m->steps = steps;
	m->small = small;
	check(steps <= MODEL_STEPS_MAX);
	OK(bole_memory_store_open(&m->test.base, &m->test.alloc, &store));
	for (unsigned i = 0; i < steps; i++) {
		OK(model_digest(store, &m->test.alloc, &m->digest[i]));
		m->rc[i] = model_step(m, store, i);
	}
	OK(model_digest(store, &m->test.alloc, &m->digest[steps]));
	OK(bole_store_close(store));
}

void model_close(struct model *m)
{
	test_platform_release(&m->test);
	test_platform_release(&m->disk);
}

/* -- Volumes and cuts -- */

const struct bole_block_sim_options model_disk = {
        .kind = BOLE_BLOCK_MANAGED,
        .size_bytes = (4 << 20) + (128 << 10),
        .read_unit = 512,
        .program_unit = 512,
        .volatile_cache = true,
        .can_discard = true,
};

enum bole_status model_mount(struct model *m, struct model_volume *v)
{
	return bole_flash_open(v->device, &m->test.base, &m->test.alloc, NULL, &v->store);
}

static void print_finding(void *ctx, bool error, const char *text)
{
	(void)ctx;
	if (error)
		(void)fprintf(stderr, "check: %s\n", text);
}

uint64_t model_check(struct model *m, struct bole_block *device)
{
	struct bole_flash_check_report report = {.finding = print_finding};
	struct bole_flash_check_result result;

	if (bole_flash_check(device, &m->test.base, &m->test.alloc, &report, &result) != BOLE_OK)
		return UINT64_MAX;
	return result.errors;
}

static bool dead(enum bole_status rc)
{
	return rc == BOLE_E_IO || rc == BOLE_E_READ_ONLY;
}

/* Steps from `from` on; returns the step that the device did not survive, or m->steps. */
static unsigned work(struct model *m, struct bole_store *store, unsigned from, unsigned until)
{
	for (unsigned i = from; i < until; i++) {
		enum bole_status rc = model_step(m, store, i);
		if (dead(rc))
			return i;
		if (rc != m->rc[i]) {
			(void)fprintf(stderr, "seed %llu step %u: %s, expected %s\n",
			              (unsigned long long)m->seed, i, bole_status_text(rc),
			              bole_status_text(m->rc[i]));
			check_eq(rc, m->rc[i]);
		}
	}
	return until;
}

static bool fail(const struct model *m, const struct model_cut *c, const char *what, unsigned step)
{
	if (c->violated != NULL) {
		*c->violated = true;
		return true;
	}
	(void)fprintf(stderr, "seed %llu, cut at %llu (again %llu), tear %d: %s (step %u)\n",
	              (unsigned long long)m->seed, (unsigned long long)c->cut,
	              (unsigned long long)c->cut_again, (int)c->tear, what, step);
	bole_panic(__FILE__, __LINE__, what);
}

/* Power comes back: the volume mounts, holds what was acknowledged and nothing by halves. Returns
 * the step that comes next. */
static bool survive(struct model *m, struct model_volume *v, const struct model_cut *c,
                    unsigned died, unsigned *next)
{
	uint64_t digest;

	v->store = NULL;
	bole_block_sim_power_on(v->device);
	if (c->cut_again != 0)
		bole_block_sim_cut_at(v->device, c->cut_again, c->tear);
	enum bole_status rc = model_mount(m, v);
	if (rc != BOLE_OK && bole_block_sim_is_off(v->device)) {
		bole_block_sim_power_on(v->device);
		rc = model_mount(m, v);
	}
	bole_block_sim_cut_at(v->device, 0, c->tear);
	if (rc != BOLE_OK)
		return !fail(m, c, "the volume does not mount", died);
	if (bole_block_sim_is_off(v->device)) {
		/* The second cut came after the mount had finished its work. */
		(void)bole_store_close(v->store);
		bole_block_sim_power_on(v->device);
		rc = model_mount(m, v);
		if (rc != BOLE_OK)
			return !fail(m, c, "the volume does not mount again", died);
	}
	rc = model_digest(v->store, &m->test.alloc, &digest);
	if (rc != BOLE_OK)
		return !fail(m, c, "something cannot be read", died);
	if (digest == m->digest[died])
		*next = died;
	else if (died < m->steps && digest == m->digest[died + 1])
		*next = died + 1;
	else
		return !fail(m, c, "neither before nor after", died);
	if (model_check(m, v->device) != 0)
		return !fail(m, c, "the check finds errors", died);
	return true;
}

/* And it works on from there. */
static bool go_on(struct model *m, struct model_volume *v, const struct model_cut *c, unsigned next)
{
	unsigned until = next + 3 < m->steps ? next + 3 : m->steps;
	uint64_t digest;

	if (work(m, v->store, next, until) != until)
		return !fail(m, c, "the volume takes no writes", next);
	if (bole_store_close(v->store) != BOLE_OK)
		return !fail(m, c, "the volume does not close", next);
	v->store = NULL;
	if (model_mount(m, v) != BOLE_OK)
		return !fail(m, c, "the volume does not mount after a clean stop", next);
	if (model_digest(v->store, &m->test.alloc, &digest) != BOLE_OK ||
	    digest != m->digest[until])
		return !fail(m, c, "a clean stop lost something", next);
	return true;
}

bool model_run_cut(struct model *m, const struct model_cut *c)
{
	struct model_volume v = {.store = NULL};
	unsigned next;

	OK(bole_block_sim_open(&m->disk.alloc, &c->disk, &v.device));
	bole_block_sim_seed(v.device, c->torn_seed);
	OK(bole_flash_format(v.device, &m->test.base, NULL));
	OK(model_mount(m, &v));
	if (c->clean_stop != 0) {
		check_eq(work(m, v.store, 0, c->clean_stop), c->clean_stop);
		OK(bole_store_close(v.store));
		OK(model_mount(m, &v));
	}
	bole_block_sim_ignore_flush(v.device, c->no_flush);
	bole_block_sim_cut_at(v.device, c->cut, c->tear);
	unsigned died = work(m, v.store, c->clean_stop, m->steps);
	bool over = died == m->steps;
	if (over)
		bole_block_sim_cut_now(v.device, c->tear);
	(void)bole_store_close(v.store);
	if (survive(m, &v, c, died, &next))
		(void)go_on(m, &v, c, next);
	(void)bole_store_close(v.store);
	struct bole_block_sim_counters count;
	bole_block_sim_counters(v.device, &count);
	check_eq(count.violations, 0);
	bole_block_close(v.device);
	return !over;
}
