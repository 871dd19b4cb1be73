/* SPDX-License-Identifier: ISC */
/* References of a Git folder: packed-refs and the files below refs/, or a stack of reftables, all
 * read when the store is opened. Later ones hide earlier ones of the same name. */
#include <stdio.h>
#include <string.h>

#include "backends/gitdir.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/sort.h"
#include "bole/limits.h"
#include "git/files/ref_files.h"
#include "git/files/reftable.h"
#include "git/object/object.h"

enum {
	REFS_FIRST = 64,
	LOOSE_REF_BYTES_MAX = 4096,
	TABLES_MAX = 4096,
	TABLE_NAME_MAX = 255,
	REFS_MAX = 64 << 20,
};
#define REF_FILE_BYTES_MAX ((uint64_t)1 << 32)

static enum bole_status copy_text(struct gitdir_store *store, struct bole_bytes *text)
{
	if (text->len == 0)
		return BOLE_OK;
	uint8_t *copy = bole_arena_alloc(&store->names, text->len, 1);
	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(copy, text->ptr, text->len);
	text->ptr = copy;
	return BOLE_OK;
}

/* Keeps a copy. Neither an id nor a target: the name is deleted. */
static enum bole_status add_ref(struct gitdir_store *store, const struct bole_ref *ref)
{
	if (store->ref_count == store->ref_cap) {
		size_t cap = store->ref_cap == 0 ? REFS_FIRST : store->ref_cap * 2;

		if (cap > REFS_MAX)
			return BOLE_E_LIMIT;
		struct bole_ref *grown = bole_alloc_resize(store->alloc, store->refs,
		                                           store->ref_cap, cap, sizeof *grown);
		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		store->refs = grown;
		store->ref_cap = cap;
	}
	struct bole_ref *kept = &store->refs[store->ref_count];
	*kept = *ref;
	BOLE_TRY(copy_text(store, &kept->name));
	BOLE_TRY(copy_text(store, &kept->target));
	store->ref_count++;
	return BOLE_OK;
}

static enum bole_status complain(struct gitdir_store *store, const char *path, enum bole_status rc)
{
	bole_log(store->platform, BOLE_LOG_ERROR, "%s: %s", path, bole_status_text(rc));
	return rc;
}

/* -- Files -- */

static enum bole_status load_packed(struct gitdir_store *store)
{
	struct bole_packed_refs packed;
	struct gitdir_bytes file;
	struct bole_ref ref;

	enum bole_status rc =
	        bole_gitdir_load(store, store->folder, "packed-refs", REF_FILE_BYTES_MAX, &file);
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_OK;
	if (rc == BOLE_OK)
		rc = bole_packed_refs_open(bole_bytes_of(file.ptr, file.len), store->repo.algo,
		                           &packed);
	while (rc == BOLE_OK && (rc = bole_packed_refs_next(&packed, &ref)) == BOLE_OK)
		rc = add_ref(store, &ref);
	bole_gitdir_unload(store, &file);
	return rc == BOLE_END ? BOLE_OK : complain(store, "packed-refs", rc);
}

static enum bole_status load_file(struct gitdir_store *store, struct bole_folder *folder,
                                  const char *path)
{
	struct gitdir_bytes file;
	struct bole_ref ref;

	enum bole_status rc = bole_gitdir_load(store, folder, path, LOOSE_REF_BYTES_MAX, &file);
	if (rc != BOLE_OK)
		return rc;
	rc = bole_loose_ref_parse(bole_bytes_of(file.ptr, file.len), store->repo.algo, &ref);
	ref.name = bole_bytes_z(path);
	if (rc == BOLE_OK)
		rc = add_ref(store, &ref);
	bole_gitdir_unload(store, &file);
	return rc == BOLE_OK ? rc : complain(store, path, rc);
}

/* Folders that are still to be listed, a list in the arena. */
struct folder_name {
	struct folder_name *next;
	char path[BOLE_REF_NAME_MAX + 1];
};

struct ref_walk {
	struct gitdir_store *store;
	struct folder_name *at;
	struct folder_name *last;
};

static enum bole_status push_folder(struct ref_walk *walk, const char *path)
{
	struct folder_name *folder = bole_arena_alloc(&walk->store->names, 1, sizeof *folder);

	if (folder == NULL)
		return BOLE_E_NO_MEMORY;
	snprintf(folder->path, sizeof folder->path, "%s", path);
	if (walk->last != NULL)
		walk->last->next = folder;
	walk->last = folder;
	return BOLE_OK;
}

/* Lock files, editors' leftovers and the like have no valid name; Git passes them over too. */
static enum bole_status visit(void *ctx, const char *name, bool is_folder)
{
	struct ref_walk *walk = ctx;
	char path[BOLE_REF_NAME_MAX + 1];
	int len = snprintf(path, sizeof path, "%s/%s", walk->at->path, name);

	if (len < 0 || (size_t)len >= sizeof path)
		return is_folder ? BOLE_E_LIMIT : BOLE_OK;
	if (is_folder)
		return push_folder(walk, path);
	if (!bole_ref_name_valid(bole_bytes_z(path)))
		return BOLE_OK;
	return load_file(walk->store, walk->store->folder, path);
}

static enum bole_status load_loose(struct gitdir_store *store)
{
	struct ref_walk walk = {.store = store};

	BOLE_TRY(push_folder(&walk, "refs"));
	for (walk.at = walk.last; walk.at != NULL; walk.at = walk.at->next) {
		enum bole_status rc =
		        store->folder->ops->list(store->folder, walk.at->path, visit, &walk);
		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
	}
	enum bole_status rc = load_file(store, store->head, "HEAD");
	return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
}

/* -- Reftables -- */

static enum bole_status load_table(struct gitdir_store *store, const char *name)
{
	char path[sizeof "reftable/" + TABLE_NAME_MAX];
	struct bole_reftable_walk walk;
	struct bole_reftable table;
	struct gitdir_bytes file;
	struct bole_ref ref;
	bool deleted;

	snprintf(path, sizeof path, "reftable/%s", name);
	enum bole_status rc =
	        bole_gitdir_load(store, store->folder, path, REF_FILE_BYTES_MAX, &file);
	if (rc == BOLE_OK)
		rc = bole_reftable_open(bole_bytes_of(file.ptr, file.len), store->repo.algo,
		                        &table);
	if (rc == BOLE_OK)
		bole_reftable_walk(&table, &walk);
	while (rc == BOLE_OK && (rc = bole_reftable_next(&walk, &ref, &deleted)) == BOLE_OK) {
		bool head = !bole_bytes_start(ref.name, bole_bytes_z("refs/"));

		/* Of the special ones, such as FETCH_HEAD, only HEAD is a reference. */
		if (head && !bole_bytes_equal(ref.name, bole_bytes_z("HEAD")))
			continue;
		if (!bole_ref_name_valid(ref.name) ||
		    (ref.symbolic && !bole_ref_name_valid(ref.target)))
			rc = BOLE_E_INVALID;
		else
			rc = add_ref(store, &ref);
	}
	bole_gitdir_unload(store, &file);
	return rc == BOLE_END ? BOLE_OK
	                      : complain(store, path, rc == BOLE_OK ? BOLE_E_INVALID : rc);
}

static enum bole_status load_stack(struct gitdir_store *store)
{
	struct gitdir_bytes list;
	char name[TABLE_NAME_MAX + 1];
	size_t tables = 0;

	BOLE_TRY(bole_gitdir_load(store, store->folder, "reftable/tables.list",
	                          TABLES_MAX * TABLE_NAME_MAX, &list));
	enum bole_status rc = BOLE_OK;
	for (size_t at = 0; at < list.len && rc == BOLE_OK;) {
		const uint8_t *end = memchr(list.ptr + at, '\n', list.len - at);
		size_t len = end == NULL ? list.len - at : (size_t)(end - list.ptr) - at;

		if (len == 0 || len > TABLE_NAME_MAX || ++tables > TABLES_MAX ||
		    memchr(list.ptr + at, '/', len) != NULL ||
		    memchr(list.ptr + at, '\0', len) != NULL) {
			rc = complain(store, "reftable/tables.list", BOLE_E_INVALID);
			break;
		}
		memcpy(name, list.ptr + at, len);
		name[len] = '\0';
		rc = load_table(store, name);
		at += len + 1;
	}
	bole_gitdir_unload(store, &list);
	return rc;
}

/* -- All of them -- */

static int compare_refs(const void *a, const void *b)
{
	return bole_bytes_compare(((const struct bole_ref *)a)->name,
	                          ((const struct bole_ref *)b)->name);
}

static bool is_deleted(const struct bole_ref *ref)
{
	return !ref->symbolic && ref->oid.algo == 0;
}

enum bole_status bole_gitdir_refs_load(struct gitdir_store *store, bool reftable)
{
	size_t kept = 0;

	if (reftable) {
		BOLE_TRY(load_stack(store));
	} else {
		BOLE_TRY(load_packed(store));
		BOLE_TRY(load_loose(store));
	}
	if (store->ref_count == 0)
		return BOLE_OK;
	/* Stable: of one name the last to come is the last in its group. */
	BOLE_TRY(bole_sort(store->platform, store->alloc, store->refs, store->ref_count,
	                   sizeof *store->refs, compare_refs));
	for (size_t i = 0; i < store->ref_count; i++) {
		if (i + 1 < store->ref_count &&
		    compare_refs(&store->refs[i], &store->refs[i + 1]) == 0)
			continue;
		if (!is_deleted(&store->refs[i]))
			store->refs[kept++] = store->refs[i];
	}
	store->ref_count = kept;
	return BOLE_OK;
}

/* The first reference that is not less than name, or after it. */
static size_t lower_bound(const struct gitdir_store *store, struct bole_bytes name, bool after)
{
	size_t low = 0, high = store->ref_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = bole_bytes_compare(store->refs[middle].name, name);

		if (order < 0 || (order == 0 && after))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static enum bole_status refs_get(struct bole_snapshot *snapshot, struct bole_bytes name,
                                 struct bole_ref *out)
{
	const struct gitdir_store *store = gitdir_of(snapshot->store);
	size_t at = lower_bound(store, name, false);

	if (at == store->ref_count || !bole_bytes_equal(store->refs[at].name, name))
		return BOLE_E_NOT_FOUND;
	*out = store->refs[at];
	return BOLE_OK;
}

static enum bole_status refs_next(struct bole_snapshot *snapshot, struct bole_bytes prefix,
                                  struct bole_bytes after, struct bole_ref *out)
{
	const struct gitdir_store *store = gitdir_of(snapshot->store);
	size_t at = lower_bound(store, prefix, false);

	if (after.len > 0) {
		size_t behind = lower_bound(store, after, true);

		at = behind > at ? behind : at;
	}
	if (at == store->ref_count || !bole_bytes_start(store->refs[at].name, prefix))
		return BOLE_END;
	*out = store->refs[at];
	return BOLE_OK;
}

const struct bole_refs_ops bole_gitdir_refs_ops = {.get = refs_get, .next = refs_next};
