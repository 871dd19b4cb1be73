/* SPDX-License-Identifier: ISC */
/* From the server's references, by refspecs, to ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/sort.h"
#include "git/client/fetch.h"
#include "git/object/object.h"

enum { ITEMS_FIRST = 64 };

static enum bole_status no_memory(struct fetching *f)
{
	return bole_remote_fail(f->r, BOLE_E_NO_MEMORY, "no memory for the references");
}

enum bole_status bole_fetch_specs(struct fetching *f)
{
	static const char *const usual[] = {"refs/heads/*:refs/heads/*"};
	const char *const *texts = f->job->refspec_count == 0 ? usual : f->job->refspecs;
	size_t count = f->job->refspec_count == 0 ? 1 : f->job->refspec_count;
	char shown[80];

	if (count > BOLE_REFSPECS_MAX)
		return bole_remote_fail(f->r, BOLE_E_LIMIT, "more than %d refspecs",
		                        (int)BOLE_REFSPECS_MAX);
	f->specs = bole_arena_alloc(&f->text, count, sizeof *f->specs);
	if (f->specs == NULL)
		return no_memory(f);
	for (size_t i = 0; i < count; i++)
		if (bole_refspec_parse(texts[i], false, &f->specs[i]) != BOLE_OK)
			return bole_remote_fail(
			        f->r, BOLE_E_INVALID, "'%s' is no refspec",
			        bole_printable(shown, sizeof shown, bole_bytes_z(texts[i])));
	f->spec_count = count;
	return BOLE_OK;
}

static enum bole_status keep(struct fetching *f, struct bole_bytes before, struct bole_bytes name,
                             struct bole_bytes after, struct bole_bytes *out)
{
	uint8_t *text = bole_arena_alloc(&f->text, before.len + name.len + after.len + 1, 1);

	if (text == NULL)
		return no_memory(f);
	memcpy(text, before.ptr, before.len);
	memcpy(text + before.len, name.ptr, name.len);
	memcpy(text + before.len + name.len, after.ptr, after.len);
	*out = bole_bytes_of(text, before.len + name.len + after.len);
	return BOLE_OK;
}

/* The i-th name that a short one may mean. */
static enum bole_status candidate(struct fetching *f, unsigned i, struct bole_bytes name,
                                  struct bole_bytes *out)
{
	struct bole_bytes before;
	struct bole_bytes after;

	bole_refspec_lookup(i, &before, &after);
	return keep(f, before, name, after, out);
}

/* -- What to ask for -- */

static enum bole_status prefixes_of(struct fetching *f, const struct bole_refspec *spec,
                                    struct bole_bytes *list, size_t *count)
{
	if (spec->negative)
		return BOLE_OK;
	if (spec->pattern) {
		const uint8_t *star = memchr(spec->src.ptr, '*', spec->src.len);

		list[(*count)++] = bole_bytes_of(spec->src.ptr, (size_t)(star - spec->src.ptr));
		return BOLE_OK;
	}
	for (unsigned i = 0; i < BOLE_LOOKUPS; i++)
		BOLE_TRY(candidate(f, i, spec->src, &list[(*count)++]));
	return BOLE_OK;
}

enum bole_status bole_fetch_list(struct fetching *f)
{
	size_t count = 0;
	struct bole_bytes *list =
	        bole_arena_alloc(&f->text, f->spec_count * BOLE_LOOKUPS + 2, sizeof *list);

	if (list == NULL)
		return no_memory(f);
	if (f->r->version != 2)
		return BOLE_OK; /* they have come already */
	for (size_t i = 0; i < f->spec_count; i++)
		BOLE_TRY(prefixes_of(f, &f->specs[i], list, &count));
	if (f->job->tags != BOLE_TAGS_NONE)
		list[count++] = bole_bytes_z("refs/tags/");
	list[count++] = bole_bytes_z("HEAD");
	return bole_remote_ls_refs(f->r, list, count);
}

/* -- What goes where -- */

static enum bole_status add_item(struct fetching *f, const struct bole_remote_ref *from,
                                 struct bole_bytes name, bool force)
{
	if (f->count == f->cap) {
		size_t cap = f->cap == 0 ? ITEMS_FIRST : f->cap * 2;
		struct fetch_item *items =
		        bole_alloc_resize(f->r->alloc, f->items, f->cap, cap, sizeof *items);

		if (items == NULL)
			return no_memory(f);
		f->items = items;
		f->cap = cap;
	}
	f->items[f->count++] = (struct fetch_item){
	        .from = from, .name = name, .force = force || f->job->force, .reason = ""};
	return BOLE_OK;
}

static bool kept_out(const struct fetching *f, struct bole_bytes name)
{
	struct bole_bytes star;

	for (size_t i = 0; i < f->spec_count; i++)
		if (f->specs[i].negative && bole_refspec_match(f->specs[i].src, name, &star))
			return true;
	return false;
}

static enum bole_status map_pattern(struct fetching *f, const struct bole_refspec *spec)
{
	char name[BOLE_REF_NAME_MAX];
	struct bole_bytes star;
	struct bole_bytes local;
	size_t len;

	for (size_t i = 0; i < f->r->ref_count; i++) {
		const struct bole_remote_ref *ref = &f->r->refs[i];

		if (!bole_refspec_match(spec->src, ref->name, &star) || kept_out(f, ref->name) ||
		    bole_oid_is_null(&ref->oid) ||
		    !bole_bytes_start(ref->name, bole_bytes_z("refs/")))
			continue;
		local = ref->name;
		if (spec->has_dst) {
			if (!bole_refspec_expand(spec->dst, star, name, sizeof name, &len))
				return bole_remote_fail(f->r, BOLE_E_LIMIT,
				                        "a reference's name would be too long");
			BOLE_TRY(keep(f, bole_bytes_of(name, len), bole_bytes_z(""),
			              bole_bytes_z(""), &local));
		}
		BOLE_TRY(add_item(f, ref, local, spec->force));
	}
	return BOLE_OK;
}

static enum bole_status look_up(struct fetching *f, struct bole_bytes src,
                                const struct bole_remote_ref **out)
{
	struct bole_bytes name;
	char shown[80];

	for (unsigned i = 0; i < BOLE_LOOKUPS; i++) {
		BOLE_TRY(candidate(f, i, src, &name));
		*out = bole_remote_find(f->r, name);
		if (*out != NULL && !bole_oid_is_null(&(*out)->oid))
			return BOLE_OK;
	}
	return bole_remote_fail(f->r, BOLE_E_NOT_FOUND, "the server has no reference %s",
	                        bole_printable(shown, sizeof shown, src));
}

/* A short name on our side is of the kind that the server's is. */
static enum bole_status local_name(struct fetching *f, const struct bole_refspec *spec,
                                   const struct bole_remote_ref *ref, struct bole_bytes *out)
{
	struct bole_bytes src = ref->name;
	const char *kind = "";

	if (bole_pkt_is(src, "HEAD") && ref->target.len > 0)
		src = ref->target;
	if (!spec->has_dst) {
		*out = src;
		return BOLE_OK;
	}
	if (!bole_bytes_start(spec->dst, bole_bytes_z("refs/")))
		kind = bole_bytes_start(src, bole_bytes_z("refs/tags/")) ? "refs/tags/"
		                                                         : "refs/heads/";
	return keep(f, bole_bytes_z(kind), spec->dst, bole_bytes_z(""), out);
}

static enum bole_status map_one(struct fetching *f, const struct bole_refspec *spec)
{
	const struct bole_remote_ref *ref = NULL;
	struct bole_bytes local;

	BOLE_TRY(look_up(f, spec->src, &ref));
	BOLE_TRY(local_name(f, spec, ref, &local));
	return add_item(f, ref, local, spec->force);
}

static int compare_items(const void *a, const void *b)
{
	const struct fetch_item *x = a;
	const struct fetch_item *y = b;

	return bole_bytes_compare(x->name, y->name);
}

/* Sorted by name. The same reference by two refspecs is one; two for one name is a mistake. */
static enum bole_status sort_items(struct fetching *f)
{
	size_t kept = 0;
	char shown[80];

	if (bole_sort(f->r->platform, f->r->alloc, f->items, f->count, sizeof *f->items,
	              compare_items) != BOLE_OK)
		return no_memory(f);
	for (size_t i = 0; i < f->count; i++) {
		if (kept == 0 || compare_items(&f->items[kept - 1], &f->items[i]) != 0) {
			f->items[kept++] = f->items[i];
			continue;
		}
		if (f->items[kept - 1].from != f->items[i].from)
			return bole_remote_fail(
			        f->r, BOLE_E_INVALID,
			        "two references of the server would become %s",
			        bole_printable(shown, sizeof shown, f->items[i].name));
		f->items[kept - 1].force = f->items[kept - 1].force || f->items[i].force;
	}
	f->count = kept;
	return BOLE_OK;
}

/* Among the first count, which are sorted. */
static bool has_item(const struct fetching *f, size_t count, struct bole_bytes name)
{
	const struct fetch_item key = {.name = name};

	return count != 0 && bsearch(&key, f->items, count, sizeof key, compare_items) != NULL;
}

/* -- Tags that come along, and what goes -- */

static enum bole_status add_tags(struct fetching *f)
{
	size_t sorted = f->count;
	struct bole_ref ours;

	for (size_t i = 0; i < f->r->ref_count; i++) {
		const struct bole_remote_ref *ref = &f->r->refs[i];

		if (!bole_bytes_start(ref->name, bole_bytes_z("refs/tags/")) ||
		    has_item(f, sorted, ref->name) || kept_out(f, ref->name))
			continue;
		if (f->job->tags == BOLE_TAGS_FOLLOW) {
			enum bole_status rc = bole_ref_get(f->tx->view, ref->name, &ours);
			if (rc == BOLE_OK)
				continue; /* what is here stays */
			if (rc != BOLE_E_NOT_FOUND)
				return rc;
		}
		BOLE_TRY(add_item(f, ref, ref->name, false));
		f->items[f->count - 1].follows = f->job->tags == BOLE_TAGS_FOLLOW;
	}
	return sort_items(f);
}

/* The name is one that some refspec writes to. */
static bool covered(const struct fetching *f, struct bole_bytes name)
{
	char source[BOLE_REF_NAME_MAX];
	struct bole_bytes star;
	size_t len;

	for (size_t i = 0; i < f->spec_count; i++) {
		const struct bole_refspec *spec = &f->specs[i];
		struct bole_bytes dst = spec->has_dst ? spec->dst : spec->src;

		if (spec->negative || !spec->pattern || !bole_refspec_match(dst, name, &star))
			continue;
		if (!bole_refspec_expand(spec->src, star, source, sizeof source, &len) ||
		    !kept_out(f, bole_bytes_of(source, len)))
			return true;
	}
	return false;
}

static enum bole_status add_deletions(struct fetching *f)
{
	struct bole_bytes after = {NULL, 0};
	size_t sorted = f->count;
	enum bole_status rc;
	struct bole_ref ref;

	while ((rc = bole_ref_next(f->tx->view, bole_bytes_z("refs/"), after, &ref)) == BOLE_OK) {
		after = ref.name;
		if (ref.symbolic || has_item(f, sorted, ref.name) || !covered(f, ref.name) ||
		    (f->bundled != NULL && f->bundled[0] != '\0' &&
		     bole_bytes_start(ref.name, bole_bytes_z(f->bundled))))
			continue;
		BOLE_TRY(add_item(f, NULL, ref.name, true));
	}
	if (rc != BOLE_END)
		return rc;
	return sort_items(f);
}

enum bole_status bole_fetch_map(struct fetching *f)
{
	for (size_t i = 0; i < f->spec_count; i++) {
		if (f->specs[i].negative)
			continue;
		BOLE_TRY(f->specs[i].pattern ? map_pattern(f, &f->specs[i])
		                             : map_one(f, &f->specs[i]));
	}
	BOLE_TRY(sort_items(f));
	if (f->job->tags != BOLE_TAGS_NONE)
		BOLE_TRY(add_tags(f));
	return f->job->prune ? add_deletions(f) : BOLE_OK;
}

/* What HEAD of the server names, where it says so; else a branch at the same commit. */
void bole_fetch_head(const struct fetching *f, char *out, size_t cap)
{
	static const char *const usual[] = {"refs/heads/main", "refs/heads/master"};
	const struct bole_remote_ref *head = bole_remote_find(f->r, bole_bytes_z("HEAD"));
	struct bole_bytes branches = bole_bytes_z("refs/heads/");
	struct bole_bytes name = bole_bytes_z(usual[0]);
	bool found = head == NULL;

	if (head != NULL && bole_bytes_start(head->target, branches) &&
	    head->target.len <= BOLE_REF_NAME_MAX && bole_ref_name_valid(head->target)) {
		name = head->target;
		found = true;
	}
	for (size_t i = 0; !found && i < sizeof usual / sizeof usual[0]; i++) {
		const struct bole_remote_ref *ref = bole_remote_find(f->r, bole_bytes_z(usual[i]));

		found = ref != NULL && bole_oid_equal(&ref->oid, &head->oid);
		if (found)
			name = ref->name;
	}
	for (size_t i = 0; !found && i < f->r->ref_count; i++) {
		const struct bole_remote_ref *ref = &f->r->refs[i];

		found = bole_bytes_start(ref->name, branches) &&
		        bole_oid_equal(&ref->oid, &head->oid);
		if (found)
			name = ref->name;
	}
	snprintf(out, cap, "%.*s", (int)name.len, (const char *)name.ptr);
}
