/* SPDX-License-Identifier: ISC */
/* Requests about repositories. They go alone in their group, so they change the catalog's drafts
 * directly: what is made here is seen by nobody before it is published. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/levels.h"
#include "flash/log/batch.h"
#include "flash/log/tx.h"

static enum bole_status reserve(struct flash_volume *v, enum flash_purpose purpose)
{
	uint32_t longest = RECORD_HEAD_BYTES + REF_HEAD_BYTES + BOLE_REF_NAME_MAX + 64;

	return bole_flash_batch_reserve(v, 2 * (uint64_t)longest, longest, purpose);
}

static enum bole_status add(struct flash_volume *v, enum flash_record_kind kind, uint32_t owner,
                            struct bole_bytes head, struct bole_bytes tail)
{
	struct flash_record r = {.kind = (uint8_t)kind, .owner = owner};
	struct bole_bytes piece[] = {head, tail};

	return bole_flash_batch_add(v, &r, piece, 2, NULL, NULL);
}

static enum bole_status create(struct flash_volume *v, struct flash_request *req)
{
	struct bole_ref_update head = {
	        .name = bole_bytes_z("HEAD"),
	        .action = BOLE_REF_SYMBOLIC,
	        .target = bole_bytes_z(req->head),
	};
	uint8_t body[REPO_HEAD_BYTES] = {0};
	uint8_t update[REF_HEAD_BYTES + 4 + BOLE_REF_NAME_MAX];
	struct bole_bytes name = bole_bytes_z(req->name);
	struct bole_bytes none = {NULL, 0};
	struct flash_table *refs = NULL;
	size_t failed;

	if (bole_flash_table_find(v->names, name) != NULL)
		return BOLE_E_EXISTS;
	BOLE_TRY(reserve(v, FLASH_FOR_DATA));
	enum bole_status rc = bole_flash_refs_apply(v, &refs, req->algo, &head, 1, &failed);
	if (rc != BOLE_OK) {
		bole_flash_table_release(&v->plain, refs);
		return rc;
	}
	req->old_refs = refs; /* handed to the repository when it is published */
	req->repo = v->next_repo;
	bole_put_le32(body + REPO_DOMAIN_AT, v->next_domain);
	body[REPO_ALGO_AT] = req->algo;
	size_t len = bole_flash_ref_encode(&head, NULL, req->algo, update);
	/* Into the catalog now, so that nothing can fail after the flush; the lock keeps readers
	 * out until the outcome is known. */
	struct flash_repo *repo = NULL;
	req->old_names = bole_flash_table_retain(v->names);
	bole_flash_lock(v);
	rc = bole_flash_repo_add(v, v->next_repo, v->next_domain, req->algo, name, &repo);
	if (rc == BOLE_OK)
		repo->hidden = true;
	bole_flash_unlock(v);
	if (rc != BOLE_OK) {
		bole_flash_table_release(&v->plain, refs);
		bole_flash_table_release(&v->plain, req->old_names);
		req->old_refs = NULL;
		req->old_names = NULL;
		return rc;
	}
	req->written = true;
	BOLE_TRY(add(v, FLASH_RECORD_REPO, req->repo, bole_bytes_of(body, sizeof body), name));
	return add(v, FLASH_RECORD_REFS, req->repo, bole_bytes_of(update, len), none);
}

static enum bole_status names_without(struct flash_volume *v, const struct flash_repo *repo,
                                      struct bole_bytes name, struct flash_table **out)
{
	uint8_t number[4];

	*out = bole_flash_table_retain(v->names);
	BOLE_TRY(bole_flash_table_remove(&v->plain, out, bole_bytes_z(repo->name)));
	if (name.len == 0)
		return BOLE_OK;
	bole_put_le32(number, repo->id);
	return bole_flash_table_set(&v->plain, out, name, bole_bytes_of(number, sizeof number));
}

static enum bole_status change(struct flash_volume *v, struct flash_request *req)
{
	bool rename = req->kind == FLASH_REQUEST_RENAME;
	struct bole_bytes name = rename ? bole_bytes_z(req->name) : (struct bole_bytes){NULL, 0};
	struct bole_bytes none = {NULL, 0};

	bole_flash_lock(v);
	struct flash_repo *repo = bole_flash_repo_find(v, req->repo);
	bole_flash_unlock(v);
	if (repo == NULL)
		return BOLE_E_NOT_FOUND;
	if (rename && bole_flash_table_find(v->names, name) != NULL)
		return BOLE_E_EXISTS;
	enum bole_status rc = reserve(v, FLASH_FOR_REFS);
	if (rc == BOLE_OK)
		rc = names_without(v, repo, name, &req->old_names);
	if (rc != BOLE_OK) {
		bole_flash_table_release(&v->plain, req->old_names);
		req->old_names = NULL;
		return rc;
	}
	req->written = true;
	return add(v, rename ? FLASH_RECORD_RENAME : FLASH_RECORD_REMOVE, req->repo, name, none);
}

enum bole_status bole_flash_encode_repo(struct flash_volume *v, struct flash_request *req)
{
	return req->kind == FLASH_REQUEST_CREATE ? create(v, req) : change(v, req);
}

void bole_flash_forget_create(struct flash_volume *v, struct flash_request *req)
{
	bole_flash_lock(v);
	struct flash_repo *repo = bole_flash_repo_take(v, req->repo);
	struct flash_table *names = v->names;
	v->names = req->old_names;
	req->old_names = names;
	bole_flash_unlock(v);
	bole_flash_repo_release(v, repo);
}

static void publish_create(struct flash_volume *v, struct flash_request *req)
{
	struct flash_repo *repo = bole_flash_repo_find_any(v, req->repo);

	repo->hidden = false;
	repo->reftable = req->old_refs;
	req->old_refs = NULL;
	req->created.id = repo->id;
	req->created.domain = repo->domain->id;
	req->created.algo = repo->domain->algo;
	memcpy(req->created.name, repo->name, sizeof repo->name);
}

void bole_flash_publish_repo(struct flash_volume *v, struct flash_request *req)
{
	if (req->kind == FLASH_REQUEST_CREATE) {
		publish_create(v, req);
		return;
	}
	struct flash_table *names = req->old_names;
	req->old_names = v->names;
	v->names = names;
	if (req->kind == FLASH_REQUEST_RENAME) {
		struct flash_repo *repo = bole_flash_repo_find(v, req->repo);
		memset(repo->name, 0, sizeof repo->name);
		memcpy(repo->name, req->name, strlen(req->name));
		return;
	}
	req->old_repo = bole_flash_repo_take(v, req->repo);
	req->old_repo->removed = true;
	bole_flash_mem_count(v, req->old_repo->domain->index, NULL);
}
