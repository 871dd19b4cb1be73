/* SPDX-License-Identifier: ISC */
/* The waist (store.h, repos.h, odb.h, refs.h, aux.h) over a flash volume. */
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "bole/store.h"
#include "flash/log/tx.h"
#include "flash/space/mark.h"

struct flash_store {
	struct bole_store store;
	struct bole_alloc *alloc;
	struct flash_volume *v;
};

static struct flash_volume *volume_of(struct bole_store *store)
{
	return ((struct flash_store *)store)->v;
}

static struct flash_snapshot *snapshot_of(struct bole_snapshot *s)
{
	return (struct flash_snapshot *)s;
}

static struct flash_tx *tx_of(struct bole_tx *tx)
{
	return (struct flash_tx *)tx;
}

static enum bole_status store_stats(struct bole_store *store, struct bole_store_stats *out)
{
	bole_flash_volume_stats(volume_of(store), out);
	return BOLE_OK;
}

static enum bole_status store_close(struct bole_store *store)
{
	struct flash_store *s = (struct flash_store *)store;
	enum bole_status rc = bole_flash_volume_close(s->v);

	bole_alloc_free(s->alloc, s, 1, sizeof *s);
	return rc;
}

/* -- Repositories -- */

static enum bole_status repo_create(struct bole_store *store, const char *name, uint8_t algo,
                                    const char *head, struct bole_repo *out)
{
	struct flash_request request = {
	        .kind = FLASH_REQUEST_CREATE, .name = name, .algo = algo, .head = head};

	enum bole_status rc = bole_flash_submit(volume_of(store), &request);
	if (rc == BOLE_OK && out != NULL)
		*out = request.created;
	return rc;
}

/* Lock held. */
static void fill_repo(const struct flash_repo *repo, struct bole_repo *out)
{
	out->id = repo->id;
	out->domain = repo->domain->id;
	out->algo = repo->domain->algo;
	memcpy(out->name, repo->name, sizeof out->name);
}

static struct flash_repo *repo_of(struct flash_volume *v, const struct flash_item *item)
{
	return item == NULL
	               ? NULL
	               : bole_flash_repo_find(v, bole_get_le32(bole_flash_item_value(item).ptr));
}

static enum bole_status repo_find(struct bole_store *store, const char *name, struct bole_repo *out)
{
	struct flash_volume *v = volume_of(store);

	bole_flash_lock(v);
	struct flash_repo *repo = repo_of(v, bole_flash_table_find(v->names, bole_bytes_z(name)));
	if (repo != NULL)
		fill_repo(repo, out);
	bole_flash_unlock(v);
	return repo == NULL ? BOLE_E_NOT_FOUND : BOLE_OK;
}

static enum bole_status repo_next(struct bole_store *store, const char *after,
                                  struct bole_repo *out)
{
	struct flash_volume *v = volume_of(store);
	struct bole_bytes at = bole_bytes_z(after);
	struct flash_repo *repo = NULL;

	bole_flash_lock(v);
	while (repo == NULL) {
		const struct flash_item *item = bole_flash_table_next(v->names, at, false);
		if (item == NULL)
			break;
		repo = repo_of(v, item);
		at = bole_flash_item_key(item);
	}
	if (repo != NULL)
		fill_repo(repo, out);
	bole_flash_unlock(v);
	return repo == NULL ? BOLE_END : BOLE_OK;
}

static enum bole_status repo_rename(struct bole_store *store, uint32_t repo, const char *name)
{
	struct flash_request request = {.kind = FLASH_REQUEST_RENAME, .repo = repo, .name = name};

	return bole_flash_submit(volume_of(store), &request);
}

static enum bole_status repo_remove(struct bole_store *store, uint32_t repo)
{
	struct flash_request request = {.kind = FLASH_REQUEST_REMOVE, .repo = repo};

	return bole_flash_submit(volume_of(store), &request);
}

/* -- Objects -- */

static enum bole_status snapshot_open(struct bole_store *store, uint32_t repo,
                                      struct bole_snapshot **out)
{
	struct flash_snapshot *s;
	enum bole_status rc = bole_flash_snapshot_open(volume_of(store), repo, &s);

	if (rc != BOLE_OK)
		return rc;
	s->pub.store = store;
	*out = &s->pub;
	return BOLE_OK;
}

static void snapshot_close(struct bole_snapshot *s)
{
	bole_flash_snapshot_close(snapshot_of(s));
}

static enum bole_status find(struct bole_snapshot *s, const struct bole_oid *oid,
                             struct bole_entry *out)
{
	return bole_flash_find(snapshot_of(s), oid, out);
}

static enum bole_status entry_at(struct bole_snapshot *s, uint64_t extent, uint64_t offset,
                                 struct bole_oid *oid, struct bole_entry *out)
{
	return bole_flash_entry_at(snapshot_of(s), extent, offset, oid, out);
}

static enum bole_status view(struct bole_snapshot *s, const struct bole_entry *e, uint64_t pos,
                             struct bole_bytes *out)
{
	return bole_flash_view(snapshot_of(s), e, pos, out);
}

static enum bole_status next(struct bole_snapshot *s, uint64_t *cursor, struct bole_oid *oid,
                             struct bole_entry *out)
{
	return bole_flash_next(snapshot_of(s), cursor, oid, out);
}

static enum bole_status extent_next(struct bole_snapshot *s, uint64_t after,
                                    struct bole_extent_info *out)
{
	return bole_flash_extent_next(snapshot_of(s), after, out);
}

static enum bole_status extent_rows(struct bole_snapshot *s, uint64_t extent, uint32_t first,
                                    struct bole_extent_place *rows, size_t *count)
{
	return bole_flash_extent_rows(snapshot_of(s), extent, first, rows, count);
}

static enum bole_status extent_order(struct bole_snapshot *s, uint64_t extent, uint64_t offset,
                                     uint32_t *order)
{
	return bole_flash_extent_order(snapshot_of(s), extent, offset, order);
}

static enum bole_status extent_view(struct bole_snapshot *s, uint64_t extent, uint64_t offset,
                                    struct bole_bytes *out)
{
	return bole_flash_extent_view(snapshot_of(s), extent, offset, out);
}

static enum bole_status ref_get(struct bole_snapshot *s, struct bole_bytes name,
                                struct bole_ref *out)
{
	return bole_flash_ref_get(snapshot_of(s), name, out);
}

static enum bole_status ref_next(struct bole_snapshot *s, struct bole_bytes prefix,
                                 struct bole_bytes after, struct bole_ref *out)
{
	return bole_flash_ref_next(snapshot_of(s), prefix, after, out);
}

/* A version is the table itself, which never changes while somebody holds it. */
static struct bole_ref_version *ref_version_hold(struct bole_snapshot *s)
{
	return (struct bole_ref_version *)(void *)bole_flash_table_retain(snapshot_of(s)->refs);
}

static void ref_version_release(struct bole_store *store, struct bole_ref_version *version)
{
	bole_flash_table_release(&volume_of(store)->plain, (void *)version);
}

static enum bole_status ref_version_next(struct bole_snapshot *s, struct bole_ref_version *version,
                                         struct bole_ref_cursor *cursor, struct bole_bytes *name)
{
	struct flash_table_diff *diff = (void *)cursor;
	const struct flash_item *was;
	const struct flash_item *is;

	_Static_assert(sizeof *diff <= sizeof *cursor, "a cursor holds where a comparison is");
	diff->before = (const void *)version;
	diff->after = snapshot_of(s)->refs;
	if (!bole_flash_table_diff(diff, &was, &is))
		return BOLE_END;
	*name = bole_flash_item_key(is != NULL ? is : was);
	return BOLE_OK;
}

static enum bole_status aux_get(struct bole_snapshot *s, const struct bole_aux_key *key,
                                struct bole_alloc *alloc, uint8_t **out, size_t *len)
{
	return bole_flash_aux_get(snapshot_of(s), key, alloc, out, len);
}

static enum bole_status aux_next(struct bole_snapshot *s, enum bole_aux_class cls, uint16_t kind,
                                 struct bole_bytes after, struct bole_bytes *key)
{
	return bole_flash_aux_next(snapshot_of(s), cls, kind, after, key);
}

static enum bole_status aux_put(struct bole_tx *tx, const struct bole_aux_key *key,
                                struct bole_bytes value)
{
	return bole_flash_aux_put(tx_of(tx), key, value);
}

/* -- Transactions -- */

static void hand_out(struct bole_store *store, struct flash_tx *tx, struct bole_tx **out)
{
	tx->pub.store = store;
	tx->view->pub.store = store;
	*out = &tx->pub;
}

static enum bole_status begin(struct bole_store *store, uint32_t repo, struct bole_tx **out)
{
	struct flash_tx *tx;
	enum bole_status rc = bole_flash_tx_begin(volume_of(store), repo, &tx);

	if (rc == BOLE_OK)
		hand_out(store, tx, out);
	return rc;
}

static enum bole_status resume(struct bole_store *store, const struct bole_tx_token *token,
                               struct bole_tx **out)
{
	struct flash_tx *tx;
	enum bole_status rc = bole_flash_tx_resume(volume_of(store), token, &tx);

	if (rc == BOLE_OK)
		hand_out(store, tx, out);
	return rc;
}

static enum bole_status put(struct bole_tx *tx, const struct bole_oid *oid, uint8_t type,
                            const struct bole_bytes *pieces, size_t count)
{
	return bole_flash_tx_put(tx_of(tx), oid, type, pieces, count);
}

static enum bole_status drop(struct bole_tx *tx, const struct bole_oid *oid)
{
	return bole_flash_tx_drop(tx_of(tx), oid);
}

static enum bole_status extent_begin(struct bole_tx *tx, uint64_t *extent)
{
	return bole_flash_extent_begin(tx_of(tx), extent);
}

static enum bole_status extent_append(struct bole_tx *tx, struct bole_bytes bytes)
{
	return bole_flash_extent_append(tx_of(tx), bytes);
}

static enum bole_status extent_read(struct bole_tx *tx, uint64_t offset, void *dst, size_t len)
{
	return bole_flash_extent_read(tx_of(tx), offset, dst, len);
}

static enum bole_status extent_finish(struct bole_tx *tx, const struct bole_extent_row *rows,
                                      size_t count)
{
	return bole_flash_extent_finish(tx_of(tx), rows, count);
}

static enum bole_status prepare(struct bole_tx *tx, struct bole_tx_token *out)
{
	return bole_flash_tx_prepare(tx_of(tx), out);
}

static enum bole_status commit(struct bole_tx *tx, const struct bole_ref_update *updates,
                               size_t count, size_t *failed)
{
	return bole_flash_tx_commit(tx_of(tx), updates, count, failed);
}

static void tx_abort(struct bole_tx *tx)
{
	bole_flash_tx_abort(tx_of(tx));
}

static enum bole_status scrub(struct bole_store *store, struct bole_scrub_report *report)
{
	return bole_flash_scrub(volume_of(store), report);
}

static enum bole_status grow(struct bole_store *store)
{
	return bole_flash_grow(volume_of(store));
}

static enum bole_status store_maintain(struct bole_store *store,
                                       const struct bole_maintain_options *options,
                                       struct bole_maintain_report *report)
{
	return bole_flash_maintain(volume_of(store), options, report);
}

/* -- Marks -- */

static struct flash_mark *mark_of(struct bole_mark *mark)
{
	return (struct flash_mark *)mark;
}

static enum bole_status mark_begin(struct bole_store *store, uint32_t repo, struct bole_mark **out)
{
	struct flash_mark *m;
	enum bole_status rc = bole_flash_mark_begin(volume_of(store), repo, &m);

	if (rc != BOLE_OK)
		return rc;
	m->pub.store = store;
	m->view->pub.store = store;
	*out = &m->pub;
	return BOLE_OK;
}

static enum bole_status mark_object(struct bole_mark *mark, const struct bole_oid *oid, bool *fresh)
{
	return bole_flash_mark_object(mark_of(mark), oid, fresh);
}

static enum bole_status mark_replace(struct bole_mark *mark, uint64_t keep, const uint64_t *extents,
                                     size_t count)
{
	return bole_flash_mark_replace(mark_of(mark), keep, extents, count);
}

static enum bole_status mark_root(struct bole_mark *mark, struct bole_oid *out)
{
	return bole_flash_mark_root(mark_of(mark), out);
}

static enum bole_status mark_end(struct bole_mark *mark, struct bole_mark_result *out)
{
	return bole_flash_mark_end(mark_of(mark), out);
}

static void mark_abort(struct bole_mark *mark)
{
	bole_flash_mark_abort(mark_of(mark));
}

static const struct bole_store_ops store_ops = {
        .stats = store_stats,
        .close = store_close,
        .maintain = store_maintain,
        .scrub = scrub,
        .grow = grow,
};
static const struct bole_repos_ops repos_ops = {repo_create, repo_find, repo_next, repo_rename,
                                                repo_remove};
static const struct bole_odb_ops odb_ops = {
        .snapshot_open = snapshot_open,
        .snapshot_close = snapshot_close,
        .find = find,
        .entry_at = entry_at,
        .view = view,
        .next = next,
        .extent_next = extent_next,
        .extent_rows = extent_rows,
        .extent_order = extent_order,
        .extent_view = extent_view,
};
static const struct bole_tx_ops tx_ops = {
        .begin = begin,
        .put = put,
        .drop = drop,
        .extent_begin = extent_begin,
        .extent_append = extent_append,
        .extent_read = extent_read,
        .extent_finish = extent_finish,
        .prepare = prepare,
        .resume = resume,
        .commit = commit,
        .abort = tx_abort,
};
static const struct bole_refs_ops refs_ops = {ref_get, ref_next, ref_version_hold,
                                              ref_version_release, ref_version_next};
static const struct bole_mark_ops mark_ops = {mark_begin, mark_object, mark_root,
                                              mark_end,   mark_abort,  mark_replace};
static const struct bole_aux_ops aux_ops = {aux_get, aux_next, aux_put};

enum bole_status bole_flash_format(struct bole_block *dev, struct bole_platform *platform,
                                   const struct bole_flash_format_options *options)
{
	return bole_flash_volume_format(dev, platform, options);
}

enum bole_status bole_flash_open(struct bole_block *dev, struct bole_platform *platform,
                                 struct bole_alloc *alloc,
                                 const struct bole_flash_open_options *options,
                                 struct bole_store **out)
{
	struct flash_store *s = bole_alloc_zeroed(alloc, 1, sizeof *s);

	*out = NULL;
	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	s->alloc = alloc;
	enum bole_status rc = bole_flash_volume_open(dev, platform, alloc, options, &s->v);
	if (rc != BOLE_OK) {
		bole_alloc_free(alloc, s, 1, sizeof *s);
		return rc;
	}
	s->store = (struct bole_store){
	        .ops = &store_ops,
	        .repos = &repos_ops,
	        .odb = &odb_ops,
	        .tx = &tx_ops,
	        .refs = &refs_ops,
	        .aux = &aux_ops,
	        .mark = &mark_ops,
	        .info = {.kind = "flash",
	                 .durability = dev->info.durability,
	                 .read_only = s->v->read_only,
	                 .extent_bytes_min = s->v->record_max,
	                 .record_bytes_max = s->v->record_max},
	};
	*out = &s->store;
	return BOLE_OK;
}
