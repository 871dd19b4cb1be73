/* SPDX-License-Identifier: ISC */
/* P15: parts of the checkpoint are damaged, each fragment alone and several at once, with and
 * without older anchors; then a repair. All objects are there, references and aux records hold what
 * they held or are named, the check finds nothing, and the volume goes on. Power goes within the
 * repair, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flash/log/tx.h"
#include "torture/programs.h"

enum { STEPS_MIN = 12, STEPS_MAX = 90, FRAGMENTS = 64, SAID_BYTES = 64 << 10, CUTS = 24 };

struct wreck {
	struct torture_unit *u;
	const struct torture_geometry *g;
	struct lean disk;
	struct lean lean;
	struct bole_block *device;
	struct model_state want;
	struct model_prepared prepared[MODEL_PREPARED];
	uint64_t at[FRAGMENTS]; /* of fragments of the checkpoint, the base's first */
	uint32_t bytes[FRAGMENTS];
	uint32_t fragments;
	uint32_t base; /* how many of them are the base's */
	uint32_t id[MODEL_REPOS];
	char was[MODEL_REPOS][64]; /* names that the repair left them */
	char where[64];
	char said[SAID_BYTES];
	size_t said_len;
};

#define BAD(w, ...) torture_finding((w)->u, (w)->g->name, (w)->where, __VA_ARGS__)

static void hear(void *ctx, bool error, const char *text)
{
	struct wreck *w = ctx;

	(void)error;
	if (w->u->verbose)
		(void)fprintf(stderr, "  %s: %s\n", error ? "error" : "note", text);
	size_t len = strlen(text);
	if (w->said_len + len + 2 > sizeof w->said)
		return;
	memcpy(w->said + w->said_len, text, len);
	w->said_len += len;
	w->said[w->said_len++] = '\n';
	w->said[w->said_len] = '\0';
}

static void find_fragments(struct wreck *w)
{
	const struct bole_flash_open_options options = {.read_only = true};
	struct flash_volume *v;

	enum bole_status rc =
	        bole_flash_volume_open(w->device, &w->lean.base, &w->lean.alloc, &options, &v);
	if (rc != BOLE_OK) {
		BAD(w, "mounting: %s", bole_status_text(rc));
		return;
	}
	for (uint32_t i = 0; i < v->elements; i++) {
		const struct flash_element *e = &v->element[i];
		for (uint32_t n = 0; n < e->fragments && w->fragments < FRAGMENTS; n++) {
			w->at[w->fragments] = bole_flash_position(v, e->fragment[n].segment,
			                                          e->fragment[n].offset);
			w->bytes[w->fragments++] = RECORD_HEAD_BYTES + e->fragment[n].length;
		}
		if (i == 0)
			w->base = w->fragments;
	}
	for (uint32_t i = 0; i < v->repos; i++) {
		for (unsigned n = 0; n < MODEL_REPOS; n++) {
			char name[64];
			model_repo_name(n, name);
			if (strcmp(name, v->repo[i]->name) == 0)
				w->id[n] = v->repo[i]->id;
		}
	}
	(void)bole_flash_volume_close(v);
}

static void spoil(struct bole_block *device, uint64_t at, uint32_t bytes, uint64_t draw)
{
	uint8_t byte;

	at += draw % bytes;
	bole_block_sim_peek(device, at, &byte, 1);
	byte ^= (uint8_t)(1 + (draw >> 32) % 255);
	bole_block_sim_poke(device, at, &byte, 1);
}

/* None but the newest leads anywhere. */
static void lose_anchors(struct wreck *w, struct bole_block *device)
{
	struct flash_anchor_place place;
	struct flash_anchor newest;
	struct flash_anchor a;
	uint32_t version;

	if (bole_flash_anchor_load(device, NULL, &w->lean.alloc, &newest, &place) != BOLE_OK)
		return;
	uint8_t *slot = malloc(newest.geometry.slot_bytes);
	for (uint32_t area = 0; area < 2; area++) {
		for (uint32_t i = 0; i < newest.geometry.slots; i++) {
			uint64_t at = bole_flash_anchor_at(&newest.geometry, area, i);
			bole_block_sim_peek(device, at, slot, newest.geometry.slot_bytes);
			if (bole_flash_anchor_decode(slot, newest.geometry.slot_bytes,
			                             &w->lean.alloc, &a, &version) != BOLE_OK)
				continue;
			if (a.generation < newest.generation) {
				a.stream_digest ^= 1;
				a.batch = UINT64_C(1) << 40;
				memset(slot, 0, newest.geometry.slot_bytes);
				bole_flash_anchor_encode(&a, slot);
				bole_block_sim_poke(device, at, slot, newest.geometry.slot_bytes);
			}
			bole_flash_anchor_release(&w->lean.alloc, &a);
		}
	}
	free(slot);
	bole_flash_anchor_release(&w->lean.alloc, &newest);
}

/* Names that are gone are given again, and what was removed is removed once more. */
static void rename_all(struct wreck *w, struct bole_store *store)
{
	struct bole_repo repo = {.name = ""};
	char after[sizeof repo.name] = "";

	memset(w->was, 0, sizeof w->was);
	while (bole_repo_next(store, after, &repo) == BOLE_OK) {
		char name[64] = "";
		memcpy(after, repo.name, sizeof after);
		bool known = false;
		for (unsigned i = 0; i < MODEL_REPOS; i++) {
			if (w->want.repo[i].algo == 0 || w->id[i] != repo.id)
				continue;
			/* It may come again, under its new name. */
			if (w->was[i][0] == '\0')
				memcpy(w->was[i], repo.name, sizeof w->was[i] - 1);
			model_repo_name(i, name);
			known = true;
		}
		if (known && strcmp(name, repo.name) == 0)
			continue;
		enum bole_status rc = name[0] == 0 ? bole_repo_remove(store, repo.id)
		                                   : bole_repo_rename(store, repo.id, name);
		if (rc != BOLE_OK || strstr(w->said, repo.name) == NULL)
			BAD(w, "renaming %s to %s: %s", repo.name, name, bole_status_text(rc));
	}
}

/* Where the report says that a name is somebody else's from there on; NULL: nowhere. */
static const char *given_up(const struct wreck *w, const char *name)
{
	char text[2][140];

	(void)snprintf(text[0], sizeof text[0], ": is what is called %s before this line", name);
	(void)snprintf(text[1], sizeof text[1], ": was called %s, which is another one's", name);
	const char *p = strstr(w->said, text[0]);
	return p != NULL ? p : strstr(w->said, text[1]);
}

/* What the report called it before it knew a later name; false: nothing else. */
static bool alias(const struct wreck *w, const char *name, char *out, size_t room)
{
	static const char *const words[] = {"is what is called", "was called"};
	char text[100];

	for (unsigned i = 0; i < 2; i++) {
		int n = snprintf(text, sizeof text, "%s: %s ", name, words[i]);
		const char *p = strstr(w->said, text);
		if (n < 0 || (size_t)n >= sizeof text || p == NULL)
			continue;
		p += n;
		size_t len = strcspn(p, " ,\n");
		len = len < room - 1 ? len : room - 1;
		memcpy(out, p, len);
		out[len] = '\0';
		return true;
	}
	return false;
}

enum { NAMES_NOW = 3, NAMES = 5 };

/* The line at p is of that repository: it has this name there. */
static bool is_named(const struct wreck *w, const char *text, const char *name, bool now)
{
	size_t len = strlen(name);

	if (len == 0 || strncmp(text, name, len) != 0 || strncmp(text + len, ": ", 2) != 0)
		return false;
	const char *until = given_up(w, name);
	return until == NULL || (now ? text > until : text < until);
}

/* The next line of a repository's, from p on, that begins with the words; behind them. */
static const char *line_of(const struct wreck *w, unsigned slot, const char *what, const char *p)
{
	char names[NAMES][64] = {""};

	model_repo_name(slot, names[0]);
	(void)snprintf(names[1], sizeof names[1], "lost-%u", w->id[slot]);
	memcpy(names[2], w->was[slot], sizeof names[2]);
	if (alias(w, names[2], names[NAMES_NOW], sizeof names[0]))
		(void)alias(w, names[NAMES_NOW], names[NAMES_NOW + 1], sizeof names[0]);
	for (; p != NULL && *p != '\0'; p = strchr(p, '\n'), p += p != NULL) {
		const char *text = strncmp(p, "given up: ", 10) == 0 ? p + 10 : p;
		for (unsigned i = 0; i < NAMES; i++) {
			size_t len = strlen(names[i]) + 2;
			if (is_named(w, text, names[i], i < NAMES_NOW) &&
			    strncmp(text + len, what, strlen(what)) == 0)
				return text + len + strlen(what);
		}
	}
	return NULL;
}

/* "references behind A before B lay in a damaged part": the key is between them. */
static bool is_between(const char *text, const char *key)
{
	const char *end = strstr(text, " lay in a damaged part");
	size_t key_len = strlen(key);

	for (unsigned i = 0; i < 2; i++) {
		const char *word = i == 0 ? " behind " : " before ";
		const char *from = strstr(text, word);
		if (from == NULL || from >= end)
			continue;
		from += strlen(word);
		size_t len = strcspn(from, " ");
		int c = memcmp(key, from, len < key_len ? len : key_len);
		if (c == 0)
			c = (key_len > len) - (key_len < len);
		if (i == 0 ? c <= 0 : c >= 0)
			return false;
	}
	return true;
}

/* Does the repair say something of the reference, or of all between two? */
static bool ref_named(const struct wreck *w, unsigned slot, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = w->said; (p = line_of(w, slot, "reference ", p)) != NULL;)
		if (strncmp(p, key, len) == 0 && p[len] == ' ')
			return true;
	for (const char *p = w->said; (p = line_of(w, slot, "references", p)) != NULL;)
		if (is_between(p, key))
			return true;
	return false;
}

/* Whether anything that was removed counts again. */
static bool may_be_back(const struct wreck *w)
{
	return strstr(w->said, "cannot be told") != NULL;
}

static bool object_named(const struct wreck *w, unsigned slot)
{
	return strstr(w->said, "what collections removed since is back") != NULL ||
	       line_of(w, slot, "its index is made anew", w->said) != NULL ||
	       line_of(w, slot, "pack ", w->said) != NULL;
}

/* Nothing on the device but the checkpoint speaks of it. */
static bool is_bare(const struct model_repo *want)
{
	for (unsigned n = 0; n < MODEL_OBJECTS; n++)
		if (want->present[n] != 0)
			return false;
	for (unsigned i = 0; i < MODEL_AUXES; i++)
		if (want->aux[i].seed != 0)
			return false;
	return true;
}

static void compare_repo(struct wreck *w, unsigned slot, const struct model_repo *want,
                         const struct model_repo *seen)
{
	char name[64];

	model_repo_name(slot, name);
	if (want->algo == 0 && seen->algo != 0 && strstr(w->said, name) == NULL)
		BAD(w, "%s is back, and nothing says so", name);
	if (want->algo == 0)
		return;
	if (seen->algo == 0) {
		if (!is_bare(want))
			BAD(w, "%s is gone", name);
		return;
	}
	if (want->algo != seen->algo &&
	    line_of(w, slot, "nothing that is left tells whether its hash", w->said) == NULL)
		BAD(w, "%s: its hash was %u and is %u", name, want->algo, seen->algo);
	for (unsigned n = 0; n < MODEL_OBJECTS; n++) {
		if (want->present[n] != 0 && seen->present[n] == 0)
			BAD(w, "%s: object %u is gone", name, n);
		if (want->present[n] == 0 && seen->present[n] != 0 && !object_named(w, slot))
			BAD(w, "%s: object %u is back, and nothing says so", name, n);
	}
	for (unsigned i = 0; i < MODEL_REFS; i++)
		if (want->ref[i] != seen->ref[i] && !ref_named(w, slot, model_ref_name(i)) &&
		    !(want->ref[i] == MODEL_NONE && may_be_back(w)))
			BAD(w, "%s: %s was %u and is %u", name, model_ref_name(i), want->ref[i],
			    seen->ref[i]);
	if (want->head != seen->head && !ref_named(w, slot, "HEAD"))
		BAD(w, "%s: HEAD was %u and is %u", name, want->head, seen->head);
	for (unsigned i = 0; i < MODEL_AUXES; i++)
		if (memcmp(&want->aux[i], &seen->aux[i], sizeof want->aux[i]) != 0 &&
		    line_of(w, slot, "aux record", w->said) == NULL &&
		    !(want->aux[i].seed == 0 && may_be_back(w)))
			BAD(w, "%s: aux record %u was %u, %u bytes, and is %u, %u bytes", name, i,
			    want->aux[i].seed, want->aux[i].len, seen->aux[i].seed,
			    seen->aux[i].len);
}

/* What was prepared can be gone on with, or it is said that it is gone. */
static void look_prepared(struct wreck *w, struct bole_store *store)
{
	for (unsigned i = 0; i < MODEL_PREPARED; i++) {
		struct bole_tx *tx;
		if (!w->prepared[i].there)
			continue;
		enum bole_status rc = bole_tx_resume(store, &w->prepared[i].token, &tx);
		if (rc == BOLE_OK)
			bole_tx_abort(tx);
		else if (rc != BOLE_E_NOT_FOUND ||
		         (strstr(w->said,
		                 "which transactions were prepared lay in a damaged part") ==
		                  NULL &&
		          line_of(w, w->prepared[i].repo, "a prepared transaction is gone",
		                  w->said) == NULL))
			BAD(w, "what is prepared: %s", bole_status_text(rc));
	}
}

static void look(struct wreck *w, struct bole_block *device)
{
	struct model_reader reader = {.alloc = &w->lean.alloc, .thorough = true};
	struct bole_flash_check_result result;
	struct bole_store_stats stats = {.lost = 0};
	struct model_state seen;
	struct bole_store *store;

	enum bole_status rc = bole_flash_open(device, &w->lean.base, &w->lean.alloc, NULL, &store);
	if (rc != BOLE_OK) {
		BAD(w, "mounting after a repair: %s; log: %s", bole_status_text(rc),
		    w->lean.last_error);
		return;
	}
	rc = bole_store_stats(store, &stats);
	if (rc == BOLE_OK && (stats.lost != 0 || store->info.read_only))
		BAD(w, "after a repair %llu things are lost", (unsigned long long)stats.lost);
	rename_all(w, store);
	rc = model_read(&reader, store, &seen);
	if (rc != BOLE_OK)
		BAD(w, "reading %s: %s %s; log: %s", reader.at, bole_status_text(rc), reader.why,
		    w->lean.last_error);
	for (unsigned i = 0; i < MODEL_REPOS && rc == BOLE_OK; i++)
		compare_repo(w, i, &w->want.repo[i], &seen.repo[i]);
	if (rc == BOLE_OK)
		look_prepared(w, store);
	rc = bole_store_close(store);
	if (rc != BOLE_OK)
		BAD(w, "closing after a repair: %s; log: %s", bole_status_text(rc),
		    w->lean.last_error);
	rc = bole_flash_check(device, &w->lean.base, &w->lean.alloc, NULL, &result);
	if (rc != BOLE_OK || result.errors != 0)
		BAD(w, "the check finds %llu errors: %s", (unsigned long long)result.errors,
		    bole_status_text(rc));
}

static bool mend(struct wreck *w, struct bole_block *device)
{
	const struct bole_flash_check_report report = {.finding = hear, .ctx = w};
	struct bole_flash_check_result result;

	enum bole_status rc =
	        bole_flash_repair(device, &w->lean.base, &w->lean.alloc, &report, &result);
	if (rc == BOLE_OK && result.errors == 0)
		return true;
	if (!bole_block_sim_is_off(device))
		BAD(w, "repairing: %s, %llu errors; log: %s", bole_status_text(rc),
		    (unsigned long long)result.errors, w->lean.last_error);
	return false;
}

/* Power goes within the repair; then it is done again. */
static void cut_mend(struct wreck *w, struct bole_block *damaged, uint64_t draw)
{
	uint64_t step = 1 + draw % 3;

	for (uint64_t n = 0, at = 1; n < CUTS; n++, at += step) {
		struct lean disk;
		lean_init(&disk, at);
		w->said_len = 0;
		w->said[0] = '\0';
		struct bole_block *device = torture_twin(&disk, damaged);
		bole_block_sim_seed(device, draw + at);
		bole_block_sim_cut_at(device, at, (enum bole_block_sim_tear)(draw / 7 + at) % 10);
		bool whole = mend(w, device) && !bole_block_sim_is_off(device);
		bole_block_sim_cut_at(device, 0, BOLE_SIM_TEAR_RANDOM);
		bole_block_sim_power_on(device);
		w->u->count.cuts += !whole;
		if (whole || mend(w, device))
			look(w, device);
		bole_block_close(device);
		if (whole)
			return;
	}
}

/* Spoils the fragments of a set, a bit for each. */
static void try_set(struct wreck *w, uint64_t set, bool alone, bool cuts)
{
	struct lean disk;
	uint64_t draw = torture_mix(w->u->seed ^ w->u->number << 20, set * 2 + alone);

	(void)snprintf(w->where, sizeof w->where, "%llx%s%s", (unsigned long long)set,
	               alone ? "-alone" : "", cuts ? "-cuts" : "");
	if (w->u->only != NULL && strcmp(w->u->only, w->where) != 0)
		return;
	torture_progress(w->u, w->g->name, w->where);
	lean_init(&disk, draw);
	struct bole_block *device = torture_twin(&disk, w->device);
	for (uint32_t i = 0; i < w->fragments; i++)
		if ((set >> i & 1) != 0)
			spoil(device, w->at[i], w->bytes[i], torture_mix(draw, i));
	if (alone)
		lose_anchors(w, device);
	w->u->count.trials++;
	w->said_len = 0;
	w->said[0] = '\0';
	if (cuts)
		cut_mend(w, device, draw);
	else if (mend(w, device))
		look(w, device);
	w->u->extra[strstr(w->said, "made anew") != NULL      ? 0
	            : strstr(w->said, "put together") != NULL ? 1
	                                                      : 2]++;
	bole_block_close(device);
	if (w->lean.blocks != 0)
		BAD(w, "memory is never given back");
}

static bool make(struct wreck *w)
{
	static struct cut_run r;
	struct cut_plan plan = {.unit = w->u, .geometry = w->g};
	bool good = cut_start(&r, &plan, torture_mix(w->u->seed, 15 << 20 | w->u->number));
	uint64_t steps =
	        STEPS_MIN + torture_mix(w->u->seed, w->u->number) % (STEPS_MAX - STEPS_MIN);

	if (!good)
		return false;
	r.tap.hook = NULL;
	for (uint64_t i = 0; i < steps && good; i++) {
		enum work_op op = world_draw(&r.world, (unsigned)w->u->number);
		good = cut_do(&r, op);
	}
	if (good && world_close(&r.world) != BOLE_OK)
		good = false;
	w->want = r.world.now;
	memcpy(w->prepared, r.world.prepared, sizeof w->prepared);
	if (good)
		w->device = torture_twin(&w->disk, r.device);
	cut_end(&r);
	return good;
}

void torture_p15(struct torture_unit *u)
{
	static struct wreck w;

	w = (struct wreck){.u = u, .g = torture_geometry_of(u->number)};
	lean_init(&w.disk, 1);
	lean_init(&w.lean, u->number);
	w.lean.loud = u->verbose;
	if (!make(&w))
		return;
	find_fragments(&w);
	uint64_t all = w.fragments == 64 ? UINT64_MAX : (UINT64_C(1) << w.fragments) - 1;
	uint64_t base = w.base == 64 ? UINT64_MAX : (UINT64_C(1) << w.base) - 1;
	for (uint32_t i = 0; i < w.fragments && !torture_over(u); i++)
		for (int alone = 0; alone < 2; alone++)
			try_set(&w, UINT64_C(1) << i, alone != 0, false);
	if (all != 0) {
		try_set(&w, base, true, false);
		try_set(&w, all, true, false);
		try_set(&w, 1 | (torture_mix(u->seed, u->number) & all), true, false);
		try_set(&w, base, true, true);
		try_set(&w, 1, true, true);
	}
	bole_block_close(w.device);
}
