/* SPDX-License-Identifier: ISC */
/* From our references, by refspecs, to the server's. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/sort.h"
#include "git/client/push.h"
#include "git/object/object.h"

enum { ITEMS_FIRST = 64 };

static enum bole_status no_memory(struct pushing *p)
{
	return bole_remote_fail(p->r, BOLE_E_NO_MEMORY, "no memory for the references");
}

enum bole_status bole_push_keep(struct pushing *p, struct bole_bytes before, struct bole_bytes name,
                                struct bole_bytes after, struct bole_bytes *out)
{
	uint8_t *text = bole_arena_alloc(&p->text, before.len + name.len + after.len + 1, 1);

	if (text == NULL)
		return no_memory(p);
	if (before.len > 0)
		memcpy(text, before.ptr, before.len);
	if (name.len > 0)
		memcpy(text + before.len, name.ptr, name.len);
	if (after.len > 0)
		memcpy(text + before.len + name.len, after.ptr, after.len);
	*out = bole_bytes_of(text, before.len + name.len + after.len);
	return BOLE_OK;
}

static enum bole_status add_spec(struct pushing *p, const char *text)
{
	char shown[80];

	if (p->spec_count == BOLE_REFSPECS_MAX)
		return bole_remote_fail(p->r, BOLE_E_LIMIT, "more than %d refspecs",
		                        (int)BOLE_REFSPECS_MAX);
	if (bole_refspec_parse(text, true, &p->specs[p->spec_count]) != BOLE_OK)
		return bole_remote_fail(p->r, BOLE_E_INVALID, "'%s' is no refspec",
		                        bole_printable(shown, sizeof shown, bole_bytes_z(text)));
	p->spec_count++;
	return BOLE_OK;
}

enum bole_status bole_push_specs(struct pushing *p)
{
	const struct bole_client_push *job = p->job;

	p->specs = bole_arena_alloc(&p->text, BOLE_REFSPECS_MAX, sizeof *p->specs);
	if (p->specs == NULL)
		return no_memory(p);
	for (size_t i = 0; i < job->refspec_count; i++)
		BOLE_TRY(add_spec(p, job->refspecs[i]));
	if (job->mirror)
		return add_spec(p, "+refs/*:refs/*");
	if (job->all)
		BOLE_TRY(add_spec(p, "refs/heads/*:refs/heads/*"));
	if (job->tags)
		BOLE_TRY(add_spec(p, "refs/tags/*:refs/tags/*"));
	return p->spec_count == 0 ? add_spec(p, "HEAD") : BOLE_OK;
}

static enum bole_status add_item(struct pushing *p, struct bole_bytes from, struct bole_bytes name,
                                 const struct bole_oid *oid, bool force)
{
	if (p->count == p->cap) {
		size_t cap = p->cap == 0 ? ITEMS_FIRST : p->cap * 2;
		struct push_item *items =
		        bole_alloc_resize(p->r->alloc, p->items, p->cap, cap, sizeof *items);

		if (items == NULL)
			return no_memory(p);
		p->items = items;
		p->cap = cap;
	}
	struct push_item *item = &p->items[p->count++];
	*item = (struct push_item){
	        .name = name, .from = from, .force = force || p->job->force, .reason = ""};
	item->old_oid.algo = p->repo.algo;
	item->new_oid.algo = p->repo.algo;
	if (oid != NULL)
		item->new_oid = *oid;
	return BOLE_OK;
}

static bool kept_out(const struct pushing *p, struct bole_bytes name)
{
	struct bole_bytes star;

	for (size_t i = 0; i < p->spec_count; i++)
		if (p->specs[i].negative && bole_refspec_match(p->specs[i].src, name, &star))
			return true;
	return false;
}

/* What a reference of ours holds in the end. */
static enum bole_status resolve(struct pushing *p, struct bole_bytes name,
                                struct bole_listed_ref *out)
{
	static const struct bole_ref_view all = {.space = NULL};
	struct bole_ref ref;

	BOLE_TRY(bole_ref_get(p->snapshot, name, &ref));
	return bole_ref_resolve(&all, p->snapshot, &ref, out);
}

static enum bole_status map_pattern(struct pushing *p, const struct bole_refspec *spec)
{
	struct bole_bytes after = {NULL, 0};
	struct bole_listed_ref listed;
	char name[BOLE_REF_NAME_MAX];
	struct bole_bytes star;
	struct bole_bytes target;
	enum bole_status rc;
	struct bole_ref ref;
	size_t len;

	while ((rc = bole_ref_next(p->snapshot, bole_bytes_z("refs/"), after, &ref)) == BOLE_OK) {
		after = ref.name;
		if (!bole_refspec_match(spec->src, ref.name, &star) || kept_out(p, ref.name))
			continue;
		rc = resolve(p, ref.name, &listed);
		if (rc == BOLE_E_NOT_FOUND)
			continue;
		BOLE_TRY(rc);
		target = ref.name;
		if (spec->has_dst) {
			if (!bole_refspec_expand(spec->dst, star, name, sizeof name, &len))
				return bole_remote_fail(p->r, BOLE_E_LIMIT,
				                        "a reference's name would be too long");
			BOLE_TRY(bole_push_keep(p, bole_bytes_of(name, len), bole_bytes_z(""),
			                        bole_bytes_z(""), &target));
		}
		BOLE_TRY(add_item(p, ref.name, target, &listed.oid, spec->force));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* A name of ours, whole or short, or an id that is here. *full is empty for an id. */
static enum bole_status find_source(struct pushing *p, struct bole_bytes src,
                                    struct bole_bytes *full, struct bole_oid *oid)
{
	struct bole_listed_ref listed;
	struct bole_bytes before;
	struct bole_bytes after;
	struct bole_entry entry;
	char shown[80];

	for (unsigned i = 0; i < BOLE_LOOKUPS; i++) {
		bole_refspec_lookup(i, &before, &after);
		BOLE_TRY(bole_push_keep(p, before, src, after, full));
		if (full->len > BOLE_REF_NAME_MAX)
			continue;
		enum bole_status rc = resolve(p, *full, &listed);
		if (rc == BOLE_E_NOT_FOUND)
			continue;
		*oid = listed.oid;
		if (rc == BOLE_OK && listed.target.len > 0)
			*full = listed.target;
		return rc;
	}
	*full = bole_bytes_z("");
	if (bole_oid_parse((const char *)src.ptr, src.len, p->repo.algo, oid) == BOLE_OK &&
	    bole_odb_find(p->snapshot, oid, &entry) == BOLE_OK)
		return BOLE_OK;
	return bole_remote_fail(p->r, BOLE_E_NOT_FOUND, "there is no %s here",
	                        bole_printable(shown, sizeof shown, src));
}

/* A short name is one that the server has, or of the kind that the source is. */
static enum bole_status target_name(struct pushing *p, struct bole_bytes dst,
                                    struct bole_bytes full, struct bole_bytes *out)
{
	struct bole_bytes before;
	struct bole_bytes after;
	char shown[80];

	*out = dst;
	if (bole_bytes_start(dst, bole_bytes_z("refs/")))
		return BOLE_OK;
	for (unsigned i = 1; i < BOLE_LOOKUPS; i++) {
		bole_refspec_lookup(i, &before, &after);
		BOLE_TRY(bole_push_keep(p, before, dst, after, out));
		if (bole_remote_find(p->r, *out) != NULL)
			return BOLE_OK;
	}
	const char *kind = bole_bytes_start(full, bole_bytes_z("refs/heads/"))  ? "refs/heads/"
	                   : bole_bytes_start(full, bole_bytes_z("refs/tags/")) ? "refs/tags/"
	                                                                        : NULL;
	if (kind == NULL)
		return bole_remote_fail(p->r, BOLE_E_INVALID,
		                        "%s: write the whole name, refs/heads/... or refs/tags/...",
		                        bole_printable(shown, sizeof shown, dst));
	return bole_push_keep(p, bole_bytes_z(kind), dst, bole_bytes_z(""), out);
}

static enum bole_status map_one(struct pushing *p, const struct bole_refspec *spec)
{
	struct bole_bytes full = bole_bytes_z("");
	struct bole_bytes target;
	struct bole_oid oid;

	if (spec->src.len == 0) {
		BOLE_TRY(target_name(p, spec->dst, bole_bytes_z("refs/heads/"), &target));
		return add_item(p, bole_bytes_z(""), target, NULL, true);
	}
	BOLE_TRY(find_source(p, spec->src, &full, &oid));
	BOLE_TRY(target_name(p, spec->has_dst ? spec->dst : full, full, &target));
	return add_item(p, full.len > 0 ? full : spec->src, target, &oid, spec->force);
}

static int compare_items(const void *a, const void *b)
{
	const struct push_item *x = a;
	const struct push_item *y = b;

	return bole_bytes_compare(x->name, y->name);
}

static enum bole_status sort_items(struct pushing *p)
{
	size_t kept = 0;
	char shown[80];

	if (bole_sort(p->r->platform, p->r->alloc, p->items, p->count, sizeof *p->items,
	              compare_items) != BOLE_OK)
		return no_memory(p);
	for (size_t i = 0; i < p->count; i++) {
		if (kept == 0 || compare_items(&p->items[kept - 1], &p->items[i]) != 0) {
			p->items[kept++] = p->items[i];
			continue;
		}
		if (!bole_oid_equal(&p->items[kept - 1].new_oid, &p->items[i].new_oid))
			return bole_remote_fail(
			        p->r, BOLE_E_INVALID, "%s would get two values",
			        bole_printable(shown, sizeof shown, p->items[i].name));
		p->items[kept - 1].force = p->items[kept - 1].force || p->items[i].force;
	}
	p->count = kept;
	return BOLE_OK;
}

/* Among the first count, which are sorted. */
static bool has_item(const struct pushing *p, size_t count, struct bole_bytes name)
{
	const struct push_item key = {.name = name};

	return count != 0 && bsearch(&key, p->items, count, sizeof key, compare_items) != NULL;
}

static bool covered(const struct pushing *p, struct bole_bytes name)
{
	char source[BOLE_REF_NAME_MAX];
	struct bole_bytes star;
	size_t len;

	for (size_t i = 0; i < p->spec_count; i++) {
		const struct bole_refspec *spec = &p->specs[i];
		struct bole_bytes dst = spec->has_dst ? spec->dst : spec->src;

		if (spec->negative || !spec->pattern || !bole_refspec_match(dst, name, &star))
			continue;
		if (!bole_refspec_expand(spec->src, star, source, sizeof source, &len) ||
		    !kept_out(p, bole_bytes_of(source, len)))
			return true;
	}
	return false;
}

static enum bole_status add_deletions(struct pushing *p)
{
	size_t sorted = p->count;

	for (size_t i = 0; i < p->r->ref_count; i++) {
		struct bole_bytes name = p->r->refs[i].name;

		if (bole_bytes_start(name, bole_bytes_z("refs/")) && !has_item(p, sorted, name) &&
		    covered(p, name))
			BOLE_TRY(add_item(p, bole_bytes_z(""), name, NULL, true));
	}
	return sort_items(p);
}

enum bole_status bole_push_map(struct pushing *p)
{
	for (size_t i = 0; i < p->spec_count; i++) {
		if (p->specs[i].negative)
			continue;
		BOLE_TRY(p->specs[i].pattern ? map_pattern(p, &p->specs[i])
		                             : map_one(p, &p->specs[i]));
	}
	BOLE_TRY(sort_items(p));
	return p->job->prune || p->job->mirror ? add_deletions(p) : BOLE_OK;
}
