/* SPDX-License-Identifier: ISC */
/* The wrappers of store.h, repos.h, refs.h and odb.h: they check what a caller must keep, so that
 * no store has to. What a peer may have sent (names) is answered, never asserted. */
#include "bole/store.h"

#include <string.h>

#include "base/check.h"

static bool oid_ok(const struct bole_oid *oid, uint8_t algo)
{
	return oid != NULL && oid->algo == algo;
}

enum bole_status bole_store_stats(struct bole_store *store, struct bole_store_stats *out)
{
	memset(out, 0, sizeof *out);
	return store->ops->stats(store, out);
}

enum bole_status bole_store_close(struct bole_store *store)
{
	return store == NULL ? BOLE_OK : store->ops->close(store);
}

enum bole_status bole_store_maintain(struct bole_store *store,
                                     const struct bole_maintain_options *options,
                                     struct bole_maintain_report *report)
{
	struct bole_maintain_options plain = {.eagerness = 1};
	struct bole_maintain_report unseen;

	if (report == NULL)
		report = &unseen;
	*report = (struct bole_maintain_report){.did = BOLE_MAINTAIN_NOTHING};
	if (store->ops->maintain == NULL)
		return BOLE_END;
	return store->ops->maintain(store, options == NULL ? &plain : options, report);
}

enum bole_status bole_store_scrub(struct bole_store *store, struct bole_scrub_report *report)
{
	return store->ops->scrub == NULL ? BOLE_END : store->ops->scrub(store, report);
}

enum bole_status bole_store_grow(struct bole_store *store)
{
	return store->ops->grow == NULL ? BOLE_END : store->ops->grow(store);
}

/* -- Repositories -- */

enum bole_status bole_repo_create(struct bole_store *store, const char *name, uint8_t algo,
                                  const char *head, struct bole_repo *out)
{
	BOLE_ASSERT(bole_hash_bytes(algo) != 0);
	BOLE_ASSERT(head != NULL);
	if (!bole_repo_name_valid(name, strlen(name)))
		return BOLE_E_INVALID;
	if (head[0] == '\0' || strlen(head) > BOLE_REF_NAME_MAX)
		return BOLE_E_INVALID;
	return store->repos->create(store, name, algo, head, out);
}

enum bole_status bole_repo_find(struct bole_store *store, const char *name, struct bole_repo *out)
{
	if (!bole_repo_name_valid(name, strlen(name)))
		return BOLE_E_NOT_FOUND;
	return store->repos->find(store, name, out);
}

enum bole_status bole_repo_next(struct bole_store *store, const char *after, struct bole_repo *out)
{
	BOLE_ASSERT(after != NULL);
	return store->repos->next(store, after, out);
}

enum bole_status bole_repo_rename(struct bole_store *store, uint32_t repo, const char *name)
{
	if (!bole_repo_name_valid(name, strlen(name)))
		return BOLE_E_INVALID;
	return store->repos->rename(store, repo, name);
}

enum bole_status bole_repo_remove(struct bole_store *store, uint32_t repo)
{
	return store->repos->remove(store, repo);
}

/* -- Snapshots -- */

enum bole_status bole_snapshot_open(struct bole_store *store, uint32_t repo,
                                    struct bole_snapshot **out)
{
	*out = NULL;
	enum bole_status rc = store->odb->snapshot_open(store, repo, out);
	BOLE_ASSERT((rc == BOLE_OK) == (*out != NULL));
	return rc;
}

void bole_snapshot_close(struct bole_snapshot *snapshot)
{
	if (snapshot != NULL)
		snapshot->store->odb->snapshot_close(snapshot);
}

enum bole_status bole_odb_find(struct bole_snapshot *snapshot, const struct bole_oid *oid,
                               struct bole_entry *out)
{
	/* An id of the other algorithm is a question that has an answer. */
	if (!oid_ok(oid, snapshot->repo.algo))
		return BOLE_E_NOT_FOUND;
	enum bole_status rc = snapshot->store->odb->find(snapshot, oid, out);
	if (rc == BOLE_OK)
		BOLE_ASSERT(out->extent != 0 && out->stored_bytes != 0);
	return rc;
}

enum bole_status bole_odb_entry_at(struct bole_snapshot *snapshot, uint64_t extent, uint64_t offset,
                                   struct bole_oid *oid, struct bole_entry *out)
{
	return snapshot->store->odb->entry_at(snapshot, extent, offset, oid, out);
}

enum bole_status bole_odb_view(struct bole_snapshot *snapshot, const struct bole_entry *entry,
                               uint64_t pos, struct bole_bytes *out)
{
	BOLE_ASSERT(pos < entry->stored_bytes);
	*out = (struct bole_bytes){NULL, 0};
	enum bole_status rc = snapshot->store->odb->view(snapshot, entry, pos, out);
	if (rc == BOLE_OK) {
		BOLE_ASSERT(out->len > 0);
		BOLE_ASSERT(out->len <= entry->stored_bytes - pos);
		BOLE_ASSERT(entry->stored_bytes > BOLE_VIEW_BYTES ||
		            out->len == entry->stored_bytes - pos);
	}
	return rc;
}

enum bole_status bole_odb_next(struct bole_snapshot *snapshot, uint64_t *cursor,
                               struct bole_oid *oid, struct bole_entry *out)
{
	return snapshot->store->odb->next(snapshot, cursor, oid, out);
}

enum bole_status bole_extent_next(struct bole_snapshot *snapshot, uint64_t after,
                                  struct bole_extent_info *out)
{
	const struct bole_odb_ops *odb = snapshot->store->odb;

	return odb->extent_next == NULL ? BOLE_END : odb->extent_next(snapshot, after, out);
}

enum bole_status bole_extent_rows(struct bole_snapshot *snapshot, uint64_t extent, uint32_t first,
                                  struct bole_extent_place *rows, size_t *count)
{
	const struct bole_odb_ops *odb = snapshot->store->odb;

	return odb->extent_rows == NULL ? BOLE_E_NOT_FOUND
	                                : odb->extent_rows(snapshot, extent, first, rows, count);
}

enum bole_status bole_extent_order(struct bole_snapshot *snapshot, uint64_t extent, uint64_t offset,
                                   uint32_t *order)
{
	const struct bole_odb_ops *odb = snapshot->store->odb;

	return odb->extent_order == NULL ? BOLE_E_NOT_FOUND
	                                 : odb->extent_order(snapshot, extent, offset, order);
}

enum bole_status bole_extent_view(struct bole_snapshot *snapshot, uint64_t extent, uint64_t offset,
                                  struct bole_bytes *out)
{
	const struct bole_odb_ops *odb = snapshot->store->odb;

	*out = (struct bole_bytes){NULL, 0};
	return odb->extent_view == NULL ? BOLE_E_NOT_FOUND
	                                : odb->extent_view(snapshot, extent, offset, out);
}

enum bole_status bole_ref_get(struct bole_snapshot *snapshot, struct bole_bytes name,
                              struct bole_ref *out)
{
	if (name.len == 0 || name.len > BOLE_REF_NAME_MAX)
		return BOLE_E_NOT_FOUND;
	return snapshot->store->refs->get(snapshot, name, out);
}

enum bole_status bole_ref_next(struct bole_snapshot *snapshot, struct bole_bytes prefix,
                               struct bole_bytes after, struct bole_ref *out)
{
	return snapshot->store->refs->next(snapshot, prefix, after, out);
}

/* -- Transactions -- */

enum bole_status bole_tx_begin(struct bole_store *store, uint32_t repo, struct bole_tx **out)
{
	*out = NULL;
	if (store->info.read_only)
		return BOLE_E_READ_ONLY;
	enum bole_status rc = store->tx->begin(store, repo, out);
	BOLE_ASSERT((rc == BOLE_OK) == (*out != NULL));
	return rc;
}

enum bole_status bole_tx_put(struct bole_tx *tx, const struct bole_oid *oid, uint8_t type,
                             const struct bole_bytes *pieces, size_t count)
{
	uint64_t len = 0;

	BOLE_ASSERT(oid_ok(oid, tx->view->repo.algo));
	BOLE_ASSERT(bole_object_type_name(type) != NULL);
	for (size_t i = 0; i < count; i++)
		len += pieces[i].len;
	BOLE_ASSERT(len > 0);
	BOLE_ASSERT(len <= tx->store->info.record_bytes_max);
	return tx->store->tx->put(tx, oid, type, pieces, count);
}

enum bole_status bole_tx_drop(struct bole_tx *tx, const struct bole_oid *oid)
{
	BOLE_ASSERT(oid_ok(oid, tx->view->repo.algo));
	return tx->store->tx->drop == NULL ? BOLE_E_UNSUPPORTED : tx->store->tx->drop(tx, oid);
}

enum bole_status bole_tx_extent_begin(struct bole_tx *tx, uint64_t *extent)
{
	*extent = 0;
	return tx->store->tx->extent_begin(tx, extent);
}

enum bole_status bole_tx_extent_append(struct bole_tx *tx, struct bole_bytes bytes)
{
	if (bytes.len == 0)
		return BOLE_OK;
	return tx->store->tx->extent_append(tx, bytes);
}

enum bole_status bole_tx_extent_read(struct bole_tx *tx, uint64_t offset, void *dst, size_t len)
{
	if (len == 0)
		return BOLE_OK;
	return tx->store->tx->extent_read(tx, offset, dst, len);
}

enum bole_status bole_tx_extent_finish(struct bole_tx *tx, const struct bole_extent_row *rows,
                                       size_t count)
{
	for (size_t i = 0; i < count; i++) {
		BOLE_ASSERT(oid_ok(&rows[i].oid, tx->view->repo.algo));
		BOLE_ASSERT(rows[i].stored_bytes > 0);
		BOLE_ASSERT(bole_object_type_name(rows[i].type) != NULL);
		BOLE_ASSERT(i == 0 ||
		            rows[i].offset >= rows[i - 1].offset + rows[i - 1].stored_bytes);
	}
	return tx->store->tx->extent_finish(tx, rows, count);
}

enum bole_status bole_tx_prepare(struct bole_tx *tx, struct bole_tx_token *out)
{
	return tx->store->tx->prepare(tx, out);
}

enum bole_status bole_tx_resume(struct bole_store *store, const struct bole_tx_token *token,
                                struct bole_tx **out)
{
	*out = NULL;
	return store->tx->resume(store, token, out);
}

enum bole_status bole_tx_commit(struct bole_tx *tx, const struct bole_ref_update *updates,
                                size_t count, size_t *failed)
{
	uint8_t algo = tx->view->repo.algo;

	*failed = count;
	if (count > BOLE_REF_UPDATES_MAX) {
		bole_tx_abort(tx);
		return BOLE_E_LIMIT;
	}
	for (size_t i = 0; i < count; i++) {
		const struct bole_ref_update *update = &updates[i];

		BOLE_ASSERT(update->name.len > 0 && update->name.len <= BOLE_REF_NAME_MAX);
		BOLE_ASSERT(update->action >= BOLE_REF_SET && update->action <= BOLE_REF_VERIFY);
		BOLE_ASSERT(update->expect != BOLE_EXPECT_OID || oid_ok(&update->expected, algo));
		BOLE_ASSERT(update->action != BOLE_REF_SET || oid_ok(&update->oid, algo));
		BOLE_ASSERT(!update->has_peeled || oid_ok(&update->peeled, algo));
		BOLE_ASSERT(update->action != BOLE_REF_SYMBOLIC || update->target.len > 0);
	}
	enum bole_status rc = tx->store->tx->commit(tx, updates, count, failed);
	BOLE_ASSERT(rc != BOLE_E_CONFLICT || *failed < count);
	return rc;
}

void bole_tx_abort(struct bole_tx *tx)
{
	if (tx != NULL)
		tx->store->tx->abort(tx);
}

/* -- Liveness -- */

enum bole_status bole_mark_begin(struct bole_store *store, uint32_t repo, struct bole_mark **out)
{
	*out = NULL;
	return store->mark == NULL ? BOLE_E_UNSUPPORTED : store->mark->begin(store, repo, out);
}

enum bole_status bole_mark_object(struct bole_mark *mark, const struct bole_oid *oid, bool *fresh)
{
	BOLE_ASSERT(oid_ok(oid, mark->view->repo.algo));
	*fresh = false;
	return mark->store->mark->object(mark, oid, fresh);
}

enum bole_status bole_mark_replace(struct bole_mark *mark, uint64_t keep, const uint64_t *extents,
                                   size_t count)
{
	const struct bole_mark_ops *ops = mark->store->mark;

	return ops->replace == NULL ? BOLE_E_UNSUPPORTED : ops->replace(mark, keep, extents, count);
}

enum bole_status bole_mark_root(struct bole_mark *mark, struct bole_oid *out)
{
	return mark->store->mark->root(mark, out);
}

enum bole_status bole_mark_end(struct bole_mark *mark, struct bole_mark_result *out)
{
	*out = (struct bole_mark_result){.objects_live = 0};
	return mark->store->mark->end(mark, out);
}

void bole_mark_abort(struct bole_mark *mark)
{
	if (mark != NULL)
		mark->store->mark->abort(mark);
}
