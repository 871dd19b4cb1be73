/* SPDX-License-Identifier: ISC */
/* Objects of a Git folder: lookups, loose objects as pack entries, and the bytes of entries. */
#include <string.h>

#include "backends/gitdir.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "bole/limits.h"
#include "git/files/loose.h"
#include "git/object/object.h"

enum {
	LOOSE_LEVEL = 6,
	LOOSE_FIRST = 64,
	LOOSE_CACHE_BYTES = 32 << 20,
};
#define LOOSE_BYTES_MAX ((uint64_t)1 << 31)

/* -- Loose objects -- */

static enum bole_status loose_file(struct gitdir_store *store, const struct bole_oid *oid,
                                   struct gitdir_bytes *out)
{
	char name[BOLE_LOOSE_PATH_MAX], path[GITDIR_PATH_BYTES];

	bole_loose_path(oid, name);
	for (unsigned i = 0; i < store->object_folders; i++) {
		bole_gitdir_object_path(i, name, path);
		enum bole_status rc =
		        bole_gitdir_load(store, store->objects[i], path, LOOSE_BYTES_MAX, out);
		if (rc != BOLE_E_NOT_FOUND)
			return rc;
	}
	return BOLE_E_NOT_FOUND;
}

static void object_id(uint8_t algo, struct bole_bytes whole, struct bole_oid *out)
{
	struct bole_hash hash;

	bole_hash_init(&hash, algo);
	bole_hash_update(&hash, whole.ptr, whole.len);
	bole_hash_final(&hash, out);
}

/* Deflates content into a new block that begins with an entry's head. */
static enum bole_status make_entry(struct gitdir_store *store, struct bole_bytes content,
                                   struct gitdir_loose *loose)
{
	struct bole_entry_head head = {.type = loose->type, .inflated_bytes = content.len};
	uint8_t head_bytes[BOLE_ENTRY_HEAD_MAX];
	size_t bound = bole_deflate_bound(content.len);
	size_t head_len = bole_entry_head_format(&head, store->repo.algo, head_bytes);

	if (store->deflater == NULL)
		BOLE_TRY(bole_deflater_open(store->alloc, LOOSE_LEVEL, &store->deflater));
	uint8_t *bytes = bole_alloc_array(store->alloc, head_len + bound, 1);
	if (bytes == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(bytes, head_bytes, head_len);
	size_t len = bole_deflate_whole(store->deflater, content, bytes + head_len, bound);
	uint8_t *fit = len == 0 ? NULL
	                        : bole_alloc_resize(store->alloc, bytes, head_len + bound,
	                                            head_len + len, 1);
	if (fit == NULL) {
		bole_alloc_free(store->alloc, bytes, head_len + bound, 1);
		return BOLE_E_NO_MEMORY;
	}
	loose->bytes = fit;
	loose->len = head_len + len;
	return BOLE_OK;
}

/* Reads the file of loose->oid; what it holds must hash to that. */
static enum bole_status loose_load(struct gitdir_store *store, struct gitdir_loose *loose)
{
	struct bole_buffer content;
	struct gitdir_bytes file;
	struct bole_bytes data;
	struct bole_oid oid;

	BOLE_TRY(loose_file(store, &loose->oid, &file));
	bole_buffer_init(&content, store->alloc, LOOSE_BYTES_MAX);
	enum bole_status rc = bole_loose_read(store->inflater, bole_bytes_of(file.ptr, file.len),
	                                      &content, &loose->type, &data);
	if (rc == BOLE_OK) {
		object_id(store->repo.algo, bole_bytes_of(content.ptr, content.len), &oid);
		rc = bole_oid_equal(&oid, &loose->oid) ? BOLE_OK : BOLE_E_CORRUPT;
	}
	if (rc == BOLE_OK)
		rc = make_entry(store, data, loose);
	bole_buffer_release(&content);
	bole_gitdir_unload(store, &file);
	if (rc == BOLE_E_CORRUPT) {
		char hex[BOLE_OID_HEX_MAX + 1];

		bole_log(store->platform, BOLE_LOG_ERROR, "loose object %s is damaged",
		         bole_oid_format(&loose->oid, hex));
	}
	return rc;
}

/* The oldest give way when too many bytes are held; keep stays. */
static void loose_shrink(struct gitdir_store *store, size_t keep)
{
	size_t looked = 0;

	while (store->loose_bytes > LOOSE_CACHE_BYTES && looked++ < store->loose_count) {
		size_t number = store->loose_drop++ % store->loose_count;
		struct gitdir_loose *loose = &store->loose[number];

		if (number == keep || loose->bytes == NULL)
			continue;
		store->loose_bytes -= loose->len;
		bole_alloc_free(store->alloc, loose->bytes, loose->len, 1);
		loose->bytes = NULL;
	}
}

/* The bytes of a loose object, made again if they were dropped. */
static enum bole_status loose_bytes(struct gitdir_store *store, size_t number)
{
	struct gitdir_loose *loose = &store->loose[number];
	struct gitdir_loose again = {.oid = loose->oid};

	if (loose->bytes != NULL)
		return BOLE_OK;
	enum bole_status rc = loose_load(store, &again);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_E_GONE : rc;
	/* The same content and the same compressor; if not, two contents have one id. */
	if (again.len != loose->len) {
		bole_alloc_free(store->alloc, again.bytes, again.len, 1);
		return BOLE_E_CORRUPT;
	}
	*loose = again;
	store->loose_bytes += loose->len;
	loose_shrink(store, number);
	return BOLE_OK;
}

static enum bole_status loose_add(struct gitdir_store *store, const struct gitdir_loose *loose,
                                  size_t *number)
{
	uint32_t item;
	bool added;

	if (store->loose_count == store->loose_cap) {
		size_t cap = store->loose_cap == 0 ? LOOSE_FIRST : store->loose_cap * 2;
		struct gitdir_loose *grown = bole_alloc_resize(
		        store->alloc, store->loose, store->loose_cap, cap, sizeof *grown);

		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		store->loose = grown;
		store->loose_cap = cap;
	}
	BOLE_TRY(bole_oid_map_put(&store->loose_map, loose->oid.bytes, &item, &added));
	BOLE_ASSERT(added && item == store->loose_count);
	*number = store->loose_count;
	store->loose[store->loose_count++] = *loose;
	store->loose_bytes += loose->len;
	loose_shrink(store, *number);
	return BOLE_OK;
}

static enum bole_status loose_find(struct gitdir_store *store, const struct bole_oid *oid,
                                   struct bole_entry *out)
{
	uint32_t item = bole_oid_map_find(&store->loose_map, oid->bytes);
	size_t number = item;

	if (item == BOLE_OID_NONE) {
		struct gitdir_loose loose = {.oid = *oid};

		BOLE_TRY(loose_load(store, &loose));
		enum bole_status rc = loose_add(store, &loose, &number);
		if (rc != BOLE_OK) {
			bole_alloc_free(store->alloc, loose.bytes, loose.len, 1);
			return rc;
		}
	}
	*out = (struct bole_entry){.extent = GITDIR_EXTENT_LOOSE,
	                           .offset = number,
	                           .stored_bytes = store->loose[number].len,
	                           .type = store->loose[number].type};
	return BOLE_OK;
}

void bole_gitdir_objects_release(struct gitdir_store *store)
{
	for (size_t i = 0; i < store->loose_count; i++)
		bole_alloc_free(store->alloc, store->loose[i].bytes, store->loose[i].len, 1);
	bole_alloc_free(store->alloc, store->loose, store->loose_cap, sizeof *store->loose);
	bole_oid_map_release(&store->loose_map);
	bole_inflater_close(store->inflater);
	bole_deflater_close(store->deflater);
}

/* -- Snapshots -- */

static enum bole_status snapshot_open(struct bole_store *base, uint32_t repo,
                                      struct bole_snapshot **out)
{
	struct gitdir_store *store = gitdir_of(base);

	if (repo != store->repo.id)
		return BOLE_E_NOT_FOUND;
	struct gitdir_snapshot *snapshot = bole_alloc_zeroed(store->alloc, 1, sizeof *snapshot);
	if (snapshot == NULL)
		return BOLE_E_NO_MEMORY;
	snapshot->base = (struct bole_snapshot){.store = base, .repo = store->repo};
	snapshot->window = bole_alloc_array(store->alloc, GITDIR_WINDOW_BYTES, 1);
	if (snapshot->window == NULL) {
		bole_alloc_free(store->alloc, snapshot, 1, sizeof *snapshot);
		return BOLE_E_NO_MEMORY;
	}
	*out = &snapshot->base;
	return BOLE_OK;
}

static void snapshot_close(struct bole_snapshot *base)
{
	struct gitdir_snapshot *snapshot = (struct gitdir_snapshot *)base;
	struct gitdir_store *store = gitdir_of(base->store);

	bole_alloc_free(store->alloc, snapshot->window, GITDIR_WINDOW_BYTES, 1);
	bole_alloc_free(store->alloc, snapshot, 1, sizeof *snapshot);
}

static enum bole_status find(struct bole_snapshot *snapshot, const struct bole_oid *oid,
                             struct bole_entry *out)
{
	struct gitdir_store *store = gitdir_of(snapshot->store);

	*out = (struct bole_entry){.extent = 0};
	enum bole_status rc = bole_gitdir_pack_find(store, oid, out);
	return rc == BOLE_E_NOT_FOUND ? loose_find(store, oid, out) : rc;
}

static enum bole_status entry_at(struct bole_snapshot *snapshot, uint64_t extent, uint64_t offset,
                                 struct bole_oid *oid, struct bole_entry *out)
{
	*out = (struct bole_entry){.extent = 0};
	return bole_gitdir_pack_entry_at(gitdir_of(snapshot->store), extent, offset, oid, out);
}

static enum bole_status view(struct bole_snapshot *base, const struct bole_entry *entry,
                             uint64_t pos, struct bole_bytes *out)
{
	struct gitdir_snapshot *snapshot = (struct gitdir_snapshot *)base;
	struct gitdir_store *store = gitdir_of(base->store);
	uint64_t len = entry->stored_bytes - pos;
	uint64_t off = entry->offset + pos;

	if (entry->extent == GITDIR_EXTENT_LOOSE) {
		BOLE_ASSERT(entry->offset < store->loose_count);
		BOLE_TRY(loose_bytes(store, (size_t)entry->offset));
		*out = bole_bytes_of(store->loose[entry->offset].bytes + pos, (size_t)len);
		return BOLE_OK;
	}
	BOLE_ASSERT(entry->extent <= store->pack_count);
	const struct gitdir_pack *pack = &store->packs[entry->extent - 1];
	BOLE_ASSERT(bole_in_bounds(off, len, pack->end));
	len = len < BOLE_VIEW_BYTES ? len : BOLE_VIEW_BYTES;
	if (snapshot->window_extent != entry->extent || off < snapshot->window_off ||
	    !bole_in_bounds(off - snapshot->window_off, len, snapshot->window_len)) {
		uint64_t want = pack->end - off;

		want = want < GITDIR_WINDOW_BYTES ? want : GITDIR_WINDOW_BYTES;
		snapshot->window_extent = 0;
		BOLE_TRY(pack->file->ops->read(pack->file, off, snapshot->window, (size_t)want));
		snapshot->window_extent = entry->extent;
		snapshot->window_off = off;
		snapshot->window_len = (size_t)want;
	}
	*out = bole_bytes_of(snapshot->window + (off - snapshot->window_off), (size_t)len);
	return BOLE_OK;
}

/* Nothing that reads a Git folder needs to see all its objects, reachable or not. */
static enum bole_status next(struct bole_snapshot *snapshot, uint64_t *cursor, struct bole_oid *oid,
                             struct bole_entry *out)
{
	(void)snapshot;
	(void)cursor;
	(void)oid;
	(void)out;
	return BOLE_E_UNSUPPORTED;
}

const struct bole_odb_ops bole_gitdir_odb_ops = {
        .snapshot_open = snapshot_open,
        .snapshot_close = snapshot_close,
        .find = find,
        .entry_at = entry_at,
        .view = view,
        .next = next,
};
