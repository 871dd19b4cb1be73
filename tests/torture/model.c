/* SPDX-License-Identifier: ISC */
/* The oracle: tables of small numbers, and a reader that turns what a store shows into such a
 * table, byte by byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "torture/torture.h"

enum { CONTENT_MAX = 20000, ENTRY_MAX = CONTENT_MAX + 64, FINDER = 512 };

static struct model_object objects[2][MODEL_OBJECTS];
static uint8_t finder[2][FINDER]; /* number + 1, by the start of the id */

/* -- The universe -- */

static size_t content_bytes(unsigned number)
{
	if (number % 32 == 31)
		return CONTENT_MAX - number;
	if (number % 8 == 7)
		return 5000 + number;
	if (number % 4 == 1)
		return 1 + number % 64;
	return 100 + number * 37 % 800;
}

/* Type and size, then the deflated content. */
static struct bole_bytes encode(const uint8_t *content, size_t len, int level)
{
	uint8_t *entry = malloc(ENTRY_MAX + len / 8);
	uLongf room = ENTRY_MAX + len / 8 - 16;
	size_t n = 0;
	size_t rest = len >> 4;

	entry[n++] = (uint8_t)((rest != 0 ? 0x80 : 0) | BOLE_OBJECT_BLOB << 4 | (len & 15));
	for (; rest != 0; rest >>= 7)
		entry[n++] = (uint8_t)((rest >> 7 != 0 ? 0x80 : 0) | (rest & 0x7f));
	if (compress2(entry + n, &room, content, len, level) != Z_OK)
		abort();
	return (struct bole_bytes){entry, n + room};
}

static unsigned slot_of(const uint8_t *id)
{
	return (unsigned)bole_get_le16(id) % FINDER;
}

void model_universe(void)
{
	static uint8_t content[CONTENT_MAX];

	for (unsigned a = 0; a < 2; a++) {
		for (unsigned i = 0; i < MODEL_OBJECTS; i++) {
			struct model_object *o = &objects[a][i];
			uint64_t state = i * 2 + a;
			size_t len = content_bytes(i);
			for (size_t k = 0; k < len; k++)
				content[k] = (uint8_t)torture_random(&state);
			if (bole_object_id(a == 0 ? BOLE_HASH_SHA1 : BOLE_HASH_SHA256,
			                   BOLE_OBJECT_BLOB, bole_bytes_of(content, len), false,
			                   &o->oid) != BOLE_OK)
				abort();
			o->entry[0] = encode(content, len, 0);
			o->entry[1] = encode(content, len, 6);
			unsigned at = slot_of(o->oid.bytes);
			while (finder[a][at] != 0)
				at = (at + 1) % FINDER;
			finder[a][at] = (uint8_t)(i + 1);
		}
	}
}

const struct model_object *model_object(uint8_t algo, unsigned number)
{
	return &objects[algo == BOLE_HASH_SHA256][number];
}

static unsigned number_of(uint8_t algo, const struct bole_oid *oid)
{
	unsigned a = algo == BOLE_HASH_SHA256;

	for (unsigned at = slot_of(oid->bytes); finder[a][at] != 0; at = (at + 1) % FINDER)
		if (bole_oid_equal(&objects[a][finder[a][at] - 1].oid, oid))
			return finder[a][at] - 1u;
	return MODEL_NONE;
}

void model_repo_name(unsigned slot, char *name)
{
	memcpy(name, "dir/r0", 7);
	name[5] = (char)('0' + slot);
}

const char *model_ref_name(unsigned ref)
{
	static const char *const names[MODEL_REFS] = {
	        "refs/heads/a", "refs/heads/b", "refs/heads/dir/c",   "refs/heads/dir/deep/d",
	        "refs/tags/v1", "refs/tags/v2", "refs/notes/commits", "refs/pull/1/head",
	};

	return names[ref];
}

void model_aux_value(const struct model_aux *aux, uint8_t *dst)
{
	uint64_t state = aux->seed;

	for (uint32_t i = 0; i < aux->len; i++)
		dst[i] = (uint8_t)torture_random(&state);
}

/* -- Reading -- */

#define WRONG(r, ...) ((void)snprintf((r)->why, sizeof(r)->why, __VA_ARGS__), BOLE_E_CORRUPT)

/* The entry's bytes are one of the two that were ever written for the id. */
static enum bole_status read_entry(struct model_reader *r, struct bole_snapshot *s,
                                   const struct model_object *o, const struct bole_entry *e,
                                   unsigned number)
{
	bool may[2] = {o->entry[0].len == e->stored_bytes, o->entry[1].len == e->stored_bytes};

	if (e->type != BOLE_OBJECT_BLOB || (!may[0] && !may[1]))
		return WRONG(r, "object %u has type %u and %llu bytes", number, e->type,
		             (unsigned long long)e->stored_bytes);
	for (uint64_t pos = 0; pos < e->stored_bytes;) {
		struct bole_bytes seen;
		enum bole_status rc = bole_odb_view(s, e, pos, &seen);
		if (rc != BOLE_OK)
			return rc;
		if (seen.len == 0 || seen.len > e->stored_bytes - pos)
			return WRONG(r, "object %u: a view of %zu bytes at %llu", number, seen.len,
			             (unsigned long long)pos);
		for (unsigned i = 0; i < 2; i++)
			may[i] = may[i] && memcmp(seen.ptr, o->entry[i].ptr + pos, seen.len) == 0;
		if (!may[0] && !may[1])
			return WRONG(r, "object %u: wrong bytes at %llu", number,
			             (unsigned long long)pos);
		pos += seen.len;
	}
	return BOLE_OK;
}

static enum bole_status entry_back(struct model_reader *r, struct bole_snapshot *s,
                                   const struct bole_oid *oid, const struct bole_entry *e,
                                   unsigned number)
{
	struct bole_oid back;
	struct bole_entry at;

	if (e->offset == 0) /* a record */
		return BOLE_OK;
	enum bole_status rc = bole_odb_entry_at(s, e->extent, e->offset, &back, &at);
	if (rc == BOLE_OK && (!bole_oid_equal(&back, oid) || at.stored_bytes != e->stored_bytes))
		return WRONG(r, "object %u: entry_at gives another", number);
	return rc;
}

/* An error of one thing; a wrong byte is never passed over. */
static enum bole_status passed(struct model_reader *r, enum bole_status rc)
{
	if (rc == BOLE_OK || !r->tolerant || r->why[0] != 0)
		return rc;
	r->errors++;
	r->things++;
	return BOLE_OK;
}

static enum bole_status passed_object(struct model_reader *r, unsigned slot, unsigned n,
                                      enum bole_status rc)
{
	enum bole_status is = passed(r, rc);

	if (rc == BOLE_OK || is != BOLE_OK)
		return is;
	r->things -= r->bad[slot][n];
	r->bad[slot][n] = 1;
	return is;
}

static enum bole_status read_objects(struct model_reader *r, struct bole_snapshot *s, unsigned slot,
                                     struct model_repo *out)
{
	struct bole_oid oid;
	struct bole_entry e;
	uint64_t cursor = 0;
	enum bole_status rc;

	while ((rc = bole_odb_next(s, &cursor, &oid, &e)) == BOLE_OK) {
		unsigned n = number_of(out->algo, &oid);
		if (n == MODEL_NONE)
			return WRONG(r, "an id that was never written");
		if (out->present[n] != 0)
			return WRONG(r, "object %u is listed twice", n);
		out->present[n] = 1;
		const struct model_object *o = model_object(out->algo, n);
		rc = passed_object(r, slot, n, read_entry(r, s, o, &e, n));
		if (rc == BOLE_OK && r->thorough)
			rc = passed_object(r, slot, n, entry_back(r, s, &oid, &e, n));
		if (rc != BOLE_OK)
			return rc;
	}
	if (rc == BOLE_END)
		return BOLE_OK;
	/* The list ends at what is damaged: which object that is shows when it is asked for. */
	rc = passed(r, rc);
	r->things -= rc == BOLE_OK;
	return rc;
}

static enum bole_status find_objects(struct model_reader *r, struct bole_snapshot *s, unsigned slot,
                                     struct model_repo *out)
{
	for (unsigned n = 0; n < MODEL_OBJECTS; n++) {
		const struct model_object *o = model_object(out->algo, n);
		struct bole_entry e;
		/* Of what is not there a few are asked for, unless all are wanted. */
		if (!r->thorough && out->present[n] == 0 && n % 8 != 0)
			continue;
		enum bole_status rc = bole_odb_find(s, &o->oid, &e);
		if (rc == BOLE_E_NOT_FOUND && out->present[n] != 0)
			return WRONG(r, "object %u is listed, but not found", n);
		if (rc == BOLE_OK && out->present[n] == 0) {
			if (!r->tolerant)
				return WRONG(r, "object %u is found, but not listed", n);
			out->present[n] = 1;
		}
		if (rc == BOLE_OK)
			rc = read_entry(r, s, o, &e, n);
		rc = passed_object(r, slot, n, rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc);
		if (rc != BOLE_OK)
			return rc;
	}
	return BOLE_OK;
}

static unsigned ref_number(struct bole_bytes name)
{
	for (unsigned i = 0; i < MODEL_REFS; i++)
		if (bole_bytes_equal(name, bole_bytes_z(model_ref_name(i))))
			return i;
	return MODEL_NONE;
}

static enum bole_status read_refs(struct model_reader *r, struct bole_snapshot *s,
                                  struct model_repo *out)
{
	struct bole_bytes none = {NULL, 0};
	struct bole_bytes after = none;
	struct bole_ref ref;
	enum bole_status rc;

	out->head = MODEL_NONE;
	memset(out->ref, MODEL_NONE, sizeof out->ref);
	for (; (rc = bole_ref_next(s, none, after, &ref)) == BOLE_OK; after = ref.name) {
		if (ref.symbolic) {
			if (!bole_bytes_equal(ref.name, bole_bytes_z("HEAD")))
				return WRONG(r, "a symbolic reference that is not HEAD");
			out->head = (uint8_t)ref_number(ref.target);
			continue;
		}
		unsigned i = ref_number(ref.name);
		unsigned n = number_of(out->algo, &ref.oid);
		if (i == MODEL_NONE || n == MODEL_NONE)
			return WRONG(r, "a reference that was never written");
		if (out->ref[i] != MODEL_NONE)
			return WRONG(r, "%s is listed twice", model_ref_name(i));
		out->ref[i] = (uint8_t)n;
		bool tag = i == 4 || i == 5;
		if (ref.has_peeled != tag || (tag && number_of(out->algo, &ref.peeled) != n))
			return WRONG(r, "%s: what it peels to", model_ref_name(i));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status read_aux(struct model_reader *r, struct bole_store *store,
                                 struct bole_snapshot *s, struct model_repo *out)
{
	static uint8_t want[MODEL_AUX_BYTES_MAX];
	uint8_t name[2] = {'k', 0};

	for (unsigned i = 0; i < MODEL_AUXES; i++) {
		name[1] = (uint8_t)('0' + i);
		struct bole_aux_key key = {BOLE_AUX_DURABLE, 7, {name, 2}};
		uint8_t *value;
		size_t len;
		enum bole_status rc = store->aux->get(s, &key, r->alloc, &value, &len);
		if (rc == BOLE_E_NOT_FOUND)
			continue;
		if (rc != BOLE_OK) {
			rc = passed(r, rc);
			if (rc != BOLE_OK)
				return rc;
			continue;
		}
		/* A value begins with the number that decides the rest. */
		bool fits = len >= 4 && len - 4 <= sizeof want;
		if (fits) {
			out->aux[i] = (struct model_aux){bole_get_le32(value), (uint32_t)len - 4};
			model_aux_value(&out->aux[i], want);
			fits = memcmp(want, value + 4, len - 4) == 0;
		}
		r->alloc->resize(r->alloc->ctx, value, len == 0 ? 1 : len, 0, 1);
		if (!fits)
			return WRONG(r, "aux %u: wrong bytes", i);
	}
	return BOLE_OK;
}

static enum bole_status read_repo(struct model_reader *r, struct bole_store *store,
                                  const struct bole_repo *repo, struct model_state *out)
{
	struct bole_snapshot *s;
	char name[16];
	unsigned slot = 0;

	for (; slot < MODEL_REPOS; slot++) {
		model_repo_name(slot, name);
		if (strcmp(name, repo->name) == 0)
			break;
	}
	/* A repair that did not find its name says so. */
	if (slot == MODEL_REPOS && r->tolerant && strncmp(repo->name, "lost-", 5) == 0) {
		r->errors++;
		r->things++;
		return BOLE_OK;
	}
	if (slot == MODEL_REPOS || out->repo[slot].algo != 0)
		return WRONG(r, "repository %.40s", repo->name);
	struct model_repo *m = &out->repo[slot];
	m->algo = repo->algo;
	enum bole_status rc = bole_snapshot_open(store, repo->id, &s);
	if (rc != BOLE_OK)
		return rc;
	r->at = "references";
	rc = read_refs(r, s, m);
	if (rc == BOLE_OK) {
		r->at = "objects";
		rc = read_objects(r, s, slot, m);
	}
	if (rc == BOLE_OK) {
		r->at = "objects by id";
		rc = find_objects(r, s, slot, m);
	}
	if (rc == BOLE_OK) {
		r->at = "aux";
		rc = read_aux(r, store, s, m);
	}
	bole_snapshot_close(s);
	return rc;
}

enum bole_status model_read(struct model_reader *r, struct bole_store *store,
                            struct model_state *out)
{
	struct bole_repo repo = {.id = 0};
	enum bole_status rc;

	memset(out, 0, sizeof *out);
	r->why[0] = 0;
	r->errors = 0;
	r->things = 0;
	memset(r->bad, 0, sizeof r->bad);
	r->at = "repositories";
	while ((rc = bole_repo_next(store, repo.name, &repo)) == BOLE_OK) {
		rc = read_repo(r, store, &repo, out);
		if (rc != BOLE_OK)
			return rc;
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* -- Differences -- */

static bool repo_difference(unsigned slot, const struct model_repo *want,
                            const struct model_repo *seen, char *why, size_t cap)
{
	if (want->algo != seen->algo) {
		(void)snprintf(why, cap, "repository %u: hash %u instead of %u", slot, seen->algo,
		               want->algo);
		return true;
	}
	if (want->head != seen->head) {
		(void)snprintf(why, cap, "repository %u: HEAD %u instead of %u", slot, seen->head,
		               want->head);
		return true;
	}
	for (unsigned i = 0; i < MODEL_REFS; i++)
		if (want->ref[i] != seen->ref[i]) {
			(void)snprintf(why, cap, "repository %u: %s is %u instead of %u", slot,
			               model_ref_name(i), seen->ref[i], want->ref[i]);
			return true;
		}
	for (unsigned i = 0; i < MODEL_OBJECTS; i++)
		if (want->present[i] != seen->present[i]) {
			(void)snprintf(why, cap, "repository %u: object %u is %s", slot, i,
			               want->present[i] != 0 ? "lost" : "back");
			return true;
		}
	for (unsigned i = 0; i < MODEL_AUXES; i++)
		if (memcmp(&want->aux[i], &seen->aux[i], sizeof want->aux[i]) != 0) {
			(void)snprintf(why, cap, "repository %u: aux %u is %u/%u instead of %u/%u",
			               slot, i, seen->aux[i].seed, seen->aux[i].len,
			               want->aux[i].seed, want->aux[i].len);
			return true;
		}
	return false;
}

void model_difference(const struct model_state *want, const struct model_state *seen, char *why,
                      size_t cap)
{
	why[0] = 0;
	for (unsigned i = 0; i < MODEL_REPOS; i++)
		if (repo_difference(i, &want->repo[i], &seen->repo[i], why, cap))
			return;
}
