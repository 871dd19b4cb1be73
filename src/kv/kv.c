/* SPDX-License-Identifier: ISC */
/* Opening a repository, its views, its branches. */
#include "kv/kv.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

#define HEADS "refs/heads/"

enum { TAG_CHAIN_MAX = 32 };

static const char default_repo[] = "main";

enum bole_status bole_kv_branch_name(const char *name, char *dst)
{
	int len = snprintf(dst, BOLE_REF_NAME_MAX + 1, HEADS "%s", name);

	if (len < 0 || len > BOLE_REF_NAME_MAX || !bole_ref_name_valid(bole_bytes_z(dst)))
		return BOLE_E_INVALID;
	return BOLE_OK;
}

/* -- Opening -- */

/* The branch that HEAD names. */
static enum bole_status head_branch(struct bole_kv *kv)
{
	struct bole_snapshot *snapshot;
	struct bole_ref ref;

	BOLE_TRY(bole_snapshot_open(kv->store, kv->repo.id, &snapshot));
	enum bole_status rc = bole_ref_get(snapshot, bole_bytes_z("HEAD"), &ref);
	if (rc == BOLE_OK && (!ref.symbolic || !bole_bytes_start(ref.target, bole_bytes_z(HEADS)) ||
	                      ref.target.len > BOLE_REF_NAME_MAX))
		rc = BOLE_E_UNSUPPORTED;
	if (rc == BOLE_OK) {
		memcpy(kv->branch, ref.target.ptr, ref.target.len);
		kv->branch[ref.target.len] = '\0';
	}
	bole_snapshot_close(snapshot);
	return rc == BOLE_E_NOT_FOUND ? BOLE_E_UNSUPPORTED : rc;
}

static enum bole_status open_repo(struct bole_kv *kv, const struct bole_kv_options *options)
{
	const char *name = options->repo == NULL ? default_repo : options->repo;
	uint8_t algo = options->algo == 0 ? (uint8_t)BOLE_HASH_SHA1 : options->algo;

	if (options->branch != NULL)
		BOLE_TRY(bole_kv_branch_name(options->branch, kv->branch));
	enum bole_status rc = bole_repo_find(kv->store, name, &kv->repo);
	if (rc == BOLE_E_NOT_FOUND && options->create) {
		rc = bole_repo_create(kv->store, name, algo,
		                      options->branch == NULL ? HEADS "main" : kv->branch,
		                      &kv->repo);
		/* Somebody else was faster. */
		if (rc == BOLE_E_EXISTS)
			rc = bole_repo_find(kv->store, name, &kv->repo);
	}
	if (rc == BOLE_OK && options->branch == NULL)
		rc = head_branch(kv);
	return rc;
}

enum bole_status bole_kv_open(struct bole_platform *platform, struct bole_alloc *alloc,
                              struct bole_store *store, const struct bole_kv_options *options,
                              struct bole_kv **out)
{
	static const struct bole_kv_options none;
	struct bole_kv *kv = bole_alloc_zeroed(alloc, 1, sizeof *kv);

	*out = NULL;
	if (kv == NULL)
		return BOLE_E_NO_MEMORY;
	kv->platform = platform;
	kv->alloc = alloc;
	kv->store = store;
	enum bole_status rc = open_repo(kv, options == NULL ? &none : options);
	if (rc != BOLE_OK) {
		bole_kv_close(kv);
		return rc;
	}
	*out = kv;
	return BOLE_OK;
}

void bole_kv_close(struct bole_kv *kv)
{
	if (kv != NULL)
		bole_alloc_free(kv->alloc, kv, 1, sizeof *kv);
}

const struct bole_repo *bole_kv_repo(const struct bole_kv *kv)
{
	return &kv->repo;
}

const char *bole_kv_branch(const struct bole_kv *kv)
{
	return kv->branch + strlen(HEADS);
}

/* -- Views -- */

static enum bole_status view_make(struct bole_kv *kv, struct bole_kv_view **out)
{
	struct bole_kv_view *view = bole_alloc_zeroed(kv->alloc, 1, sizeof *view);

	*out = NULL;
	if (view == NULL)
		return BOLE_E_NO_MEMORY;
	view->kv = kv;
	enum bole_status rc = bole_snapshot_open(kv->store, kv->repo.id, &view->snapshot);
	if (rc == BOLE_OK)
		rc = bole_object_reader_open(view->snapshot, kv->alloc, NULL, &view->reader);
	if (rc != BOLE_OK) {
		bole_kv_view_close(view);
		return rc;
	}
	*out = view;
	return BOLE_OK;
}

void bole_kv_view_close(struct bole_kv_view *view)
{
	if (view == NULL)
		return;
	bole_object_reader_close(view->reader);
	bole_snapshot_close(view->snapshot);
	bole_alloc_free(view->kv->alloc, view, 1, sizeof *view);
}

/* Makes the view one of the commit that oid names, through annotated tags. */
static enum bole_status view_enter(struct bole_kv_view *view, const struct bole_oid *oid)
{
	uint8_t algo = view->kv->repo.algo;
	struct bole_commit commit;
	struct bole_bytes data;
	struct bole_tag tag;
	struct bole_oid at = *oid;
	uint8_t type;

	for (unsigned i = 0; i < TAG_CHAIN_MAX; i++) {
		BOLE_TRY(bole_object_read(view->reader, &at, &type, &data));
		if (type == BOLE_OBJECT_COMMIT) {
			if (bole_commit_parse(data, algo, &commit) != BOLE_OK)
				return BOLE_E_CORRUPT;
			view->commit = at;
			view->tree = commit.tree;
			view->time = commit.commit_time;
			view->has_commit = true;
			return BOLE_OK;
		}
		if (type != BOLE_OBJECT_TAG)
			return BOLE_E_NOT_FOUND;
		if (bole_tag_parse(data, algo, &tag) != BOLE_OK)
			return BOLE_E_CORRUPT;
		at = tag.target;
	}
	return BOLE_E_LIMIT;
}

/* Follows one level of symbolic reference: Git's HEAD. */
static enum bole_status view_enter_ref(struct bole_kv_view *view, struct bole_bytes name)
{
	struct bole_ref ref;

	BOLE_TRY(bole_ref_get(view->snapshot, name, &ref));
	if (ref.symbolic)
		BOLE_TRY(bole_ref_get(view->snapshot, ref.target, &ref));
	if (ref.symbolic)
		return BOLE_E_NOT_FOUND;
	return view_enter(view, &ref.oid);
}

static enum bole_status view_find(struct bole_kv_view *view, const char *at)
{
	static const char *const folders[] = {"", HEADS, "refs/tags/"};
	char name[BOLE_REF_NAME_MAX + 1];
	struct bole_oid oid;

	if (bole_oid_parse(at, strlen(at), view->kv->repo.algo, &oid) == BOLE_OK)
		return view_enter(view, &oid);
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		int len = snprintf(name, sizeof name, "%s%s", folders[i], at);

		if (len < 0 || (size_t)len >= sizeof name)
			return BOLE_E_NOT_FOUND;
		enum bole_status rc = view_enter_ref(view, bole_bytes_z(name));
		if (rc != BOLE_E_NOT_FOUND)
			return rc;
	}
	return BOLE_E_NOT_FOUND;
}

enum bole_status bole_kv_view_open(struct bole_kv *kv, const char *at, struct bole_kv_view **out)
{
	struct bole_kv_view *view;

	if (at == NULL)
		return bole_kv_view_of_ref(kv, kv->branch, out);
	*out = NULL;
	BOLE_TRY(view_make(kv, &view));
	enum bole_status rc = view_find(view, at);
	if (rc != BOLE_OK) {
		bole_kv_view_close(view);
		return rc;
	}
	*out = view;
	return BOLE_OK;
}

enum bole_status bole_kv_view_of_ref(struct bole_kv *kv, const char *ref, struct bole_kv_view **out)
{
	struct bole_kv_view *view;
	struct bole_ref there;

	*out = NULL;
	BOLE_TRY(view_make(kv, &view));
	enum bole_status rc = bole_ref_get(view->snapshot, bole_bytes_z(ref), &there);
	if (rc == BOLE_OK) {
		rc = view_enter_ref(view, bole_bytes_z(ref));
		/* There is a reference, so there must be an object. */
		if (rc == BOLE_E_NOT_FOUND)
			rc = BOLE_E_CORRUPT;
	} else if (rc == BOLE_E_NOT_FOUND) {
		rc = BOLE_OK;
	}
	if (rc != BOLE_OK) {
		bole_kv_view_close(view);
		return rc;
	}
	*out = view;
	return BOLE_OK;
}

bool bole_kv_view_missing(const struct bole_kv_view *view, struct bole_oid *out)
{
	return bole_object_reader_missing(view->reader, out);
}

bool bole_kv_view_commit(const struct bole_kv_view *view, struct bole_oid *out)
{
	if (view->has_commit)
		*out = view->commit;
	return view->has_commit;
}

enum bole_status bole_kv_stat(struct bole_kv_view *view, struct bole_bytes key,
                              struct bole_kv_item *out)
{
	struct kv_place place;

	if (!bole_kv_key_valid(key))
		return BOLE_E_INVALID;
	BOLE_TRY(bole_kv_find(view->reader, view->kv->repo.algo,
	                      view->has_commit ? &view->tree : NULL, key, &place));
	if (place.kind != KV_VALUE)
		return BOLE_E_NOT_FOUND;
	*out = (struct bole_kv_item){key, place.oid, place.mode};
	return BOLE_OK;
}

enum bole_status bole_kv_get(struct bole_kv_view *view, struct bole_bytes key,
                             struct bole_bytes *value)
{
	struct bole_kv_item item;

	*value = (struct bole_bytes){NULL, 0};
	BOLE_TRY(bole_kv_stat(view, key, &item));
	if (item.mode == BOLE_MODE_SUBMODULE)
		return BOLE_E_UNSUPPORTED;
	enum bole_status rc = bole_object_read(view->reader, &item.oid, NULL, value);
	return rc == BOLE_E_NOT_FOUND ? BOLE_E_CORRUPT : rc;
}

enum bole_status bole_kv_get_stream(struct bole_kv_view *view, struct bole_bytes key,
                                    struct bole_writer *writer)
{
	struct bole_kv_item item;

	BOLE_TRY(bole_kv_stat(view, key, &item));
	if (item.mode == BOLE_MODE_SUBMODULE)
		return BOLE_E_UNSUPPORTED;
	enum bole_status rc = bole_object_stream(view->reader, &item.oid, writer, NULL, NULL);
	return rc == BOLE_E_NOT_FOUND ? BOLE_E_CORRUPT : rc;
}

/* -- Branches -- */

enum bole_status bole_kv_branch_next(struct bole_kv_view *view, struct bole_bytes after,
                                     struct bole_bytes *name, struct bole_oid *oid)
{
	uint8_t full[BOLE_REF_NAME_MAX];
	struct bole_ref ref;
	size_t skip = strlen(HEADS);

	if (after.len > sizeof full - skip)
		return BOLE_E_INVALID;
	memcpy(full, HEADS, skip);
	if (after.len > 0)
		memcpy(full + skip, after.ptr, after.len);
	BOLE_TRY(bole_ref_next(view->snapshot, bole_bytes_z(HEADS),
	                       bole_bytes_of(full, after.len == 0 ? 0 : skip + after.len), &ref));
	*name = bole_bytes_of(ref.name.ptr + skip, ref.name.len - skip);
	*oid = ref.oid;
	return BOLE_OK;
}

/* One reference update in a transaction of its own. */
static enum bole_status update_one(struct bole_kv *kv, const struct bole_ref_update *update)
{
	struct bole_entry entry;
	struct bole_tx *tx;
	size_t failed;

	BOLE_TRY(bole_tx_begin(kv->store, kv->repo.id, &tx));
	enum bole_status rc = BOLE_OK;
	/* From this look on a collection leaves it alone (mark.h); it may have been quicker. */
	if (update->action == BOLE_REF_SET)
		rc = bole_odb_find(tx->view, &update->oid, &entry);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	rc = bole_tx_commit(tx, update, 1, &failed);
	if (rc == BOLE_E_CONFLICT)
		bole_tx_abort(tx);
	return rc;
}

enum bole_status bole_kv_branch_create(struct bole_kv *kv, const char *name, const char *from)
{
	char full[BOLE_REF_NAME_MAX + 1];
	struct bole_kv_view *view;
	struct bole_ref ref;

	BOLE_TRY(bole_kv_branch_name(name, full));
	BOLE_TRY(bole_kv_view_open(kv, from, &view));
	struct bole_ref_update update = {
	        .name = bole_bytes_z(full),
	        .expect = BOLE_EXPECT_ABSENT,
	        .action = BOLE_REF_SET,
	        .oid = view->commit,
	};
	enum bole_status rc = view->has_commit ? BOLE_OK : BOLE_E_NOT_FOUND;
	if (rc == BOLE_OK && bole_ref_get(view->snapshot, update.name, &ref) == BOLE_OK)
		rc = BOLE_E_EXISTS;
	bole_kv_view_close(view);
	return rc == BOLE_OK ? update_one(kv, &update) : rc;
}

enum bole_status bole_kv_branch_delete(struct bole_kv *kv, const char *name)
{
	char full[BOLE_REF_NAME_MAX + 1];
	struct bole_snapshot *snapshot;
	struct bole_ref ref;
	struct bole_ref head;

	BOLE_TRY(bole_kv_branch_name(name, full));
	struct bole_ref_update update = {
	        .name = bole_bytes_z(full),
	        .expect = BOLE_EXPECT_OID,
	        .action = BOLE_REF_DELETE,
	};
	BOLE_TRY(bole_snapshot_open(kv->store, kv->repo.id, &snapshot));
	enum bole_status rc = bole_ref_get(snapshot, update.name, &ref);
	if (rc == BOLE_OK && bole_ref_get(snapshot, bole_bytes_z("HEAD"), &head) == BOLE_OK &&
	    head.symbolic && bole_bytes_equal(head.target, update.name))
		rc = BOLE_E_DENIED;
	if (rc == BOLE_OK && ref.symbolic)
		rc = BOLE_E_UNSUPPORTED;
	if (rc == BOLE_OK)
		update.expected = ref.oid;
	bole_snapshot_close(snapshot);
	return rc == BOLE_OK ? update_one(kv, &update) : rc;
}
