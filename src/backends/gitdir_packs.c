/* SPDX-License-Identifier: ISC */
/* Packs of a Git folder: which there are, where an id lies, what type an entry finally has. */
#include <stdio.h>
#include <string.h>

#include "backends/gitdir.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/sort.h"
#include "bole/limits.h"
#include "git/object/object.h"

enum { PACK_HEAD_BYTES = 12, PACKS_FIRST = 8, FILE_NAME_MAX = 200 };
#define INDEX_BYTES_MAX ((uint64_t)1 << 36)
#define NO_PACK         UINT32_MAX

/* -- Opening -- */

struct listing {
	struct gitdir_store *store;
	unsigned folder;
};

static enum bole_status note_pack(void *ctx, const char *name, bool is_folder)
{
	const struct listing *listing = ctx;
	struct gitdir_store *store = listing->store;
	size_t len = strlen(name);

	if (is_folder || len < 9 || len > FILE_NAME_MAX || strncmp(name, "pack-", 5) != 0 ||
	    strcmp(name + len - 4, ".idx") != 0)
		return BOLE_OK;
	if (store->pack_count == store->pack_cap) {
		size_t cap = store->pack_cap == 0 ? PACKS_FIRST : store->pack_cap * 2;
		struct gitdir_pack *packs = bole_alloc_resize(store->alloc, store->packs,
		                                              store->pack_cap, cap, sizeof *packs);

		if (packs == NULL)
			return BOLE_E_NO_MEMORY;
		store->packs = packs;
		store->pack_cap = cap;
	}
	struct gitdir_pack *pack = &store->packs[store->pack_count];
	*pack = (struct gitdir_pack){.folder = listing->folder, .name_bytes = len + 1};
	pack->name = bole_alloc_array(store->alloc, len + 1, 1);
	if (pack->name == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(pack->name, name, len + 1);
	store->pack_count++;
	return BOLE_OK;
}

static void pack_path(const struct gitdir_pack *pack, const char *end, char *out)
{
	char name[GITDIR_PATH_BYTES];

	snprintf(name, sizeof name, "pack/%.*s%s", (int)(strlen(pack->name) - 4), pack->name, end);
	bole_gitdir_object_path(pack->folder, name, out);
}

/* The pack belongs to the index: version, count and checksum. */
static enum bole_status check_pack(struct gitdir_pack *pack, uint8_t algo)
{
	size_t hash = bole_hash_bytes(algo);
	uint8_t head[PACK_HEAD_BYTES], sum[BOLE_OID_BYTES_MAX];
	uint64_t size = pack->file->size_bytes;

	if (size < PACK_HEAD_BYTES + hash)
		return BOLE_E_INVALID;
	BOLE_TRY(pack->file->ops->read(pack->file, 0, head, sizeof head));
	BOLE_TRY(pack->file->ops->read(pack->file, size - hash, sum, hash));
	if (memcmp(head, "PACK", 4) != 0 || bole_get_be32(head + 8) != pack->index.count ||
	    memcmp(sum, pack->index.trailer, hash) != 0)
		return BOLE_E_INVALID;
	uint32_t version = bole_get_be32(head + 4);
	pack->end = size - hash;
	return version == 2 || version == 3 ? BOLE_OK : BOLE_E_UNSUPPORTED;
}

struct placed {
	uint64_t offset;
	uint32_t pos;
};

static int compare_placed(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Positions by offset, which must rise within the pack; the reverse index is not needed. */
static enum bole_status order_pack(struct gitdir_store *store, struct gitdir_pack *pack)
{
	uint32_t count = pack->index.count;
	uint64_t before = PACK_HEAD_BYTES - 1;

	if (count == 0)
		return BOLE_OK;
	pack->order = bole_alloc_array(store->alloc, count, sizeof *pack->order);
	pack->types = bole_alloc_zeroed(store->alloc, count, 1);
	struct placed *placed = bole_alloc_array(store->alloc, count, sizeof *placed);
	enum bole_status rc = pack->order == NULL || pack->types == NULL || placed == NULL
	                              ? BOLE_E_NO_MEMORY
	                              : BOLE_OK;
	for (uint32_t i = 0; i < count && rc == BOLE_OK; i++) {
		placed[i].pos = i;
		rc = bole_pack_index_offset(&pack->index, i, &placed[i].offset);
	}
	if (rc == BOLE_OK)
		rc = bole_sort(store->platform, store->alloc, placed, count, sizeof *placed,
		               compare_placed);
	for (uint32_t i = 0; i < count && rc == BOLE_OK; i++) {
		if (placed[i].offset <= before || placed[i].offset >= pack->end)
			rc = BOLE_E_INVALID;
		before = placed[i].offset;
		pack->order[i] = placed[i].pos;
	}
	bole_alloc_free(store->alloc, placed, count, sizeof *placed);
	return rc;
}

static enum bole_status open_pack(struct gitdir_store *store, struct gitdir_pack *pack)
{
	struct bole_folder *folder = store->objects[pack->folder];
	char path[GITDIR_PATH_BYTES];

	pack_path(pack, ".idx", path);
	BOLE_TRY(bole_gitdir_load(store, folder, path, INDEX_BYTES_MAX, &pack->index_bytes));
	BOLE_TRY(bole_pack_index_open(bole_bytes_of(pack->index_bytes.ptr, pack->index_bytes.len),
	                              store->repo.algo, &pack->index));
	BOLE_TRY(bole_pack_index_verify(&pack->index));
	pack_path(pack, ".pack", path);
	BOLE_TRY(folder->ops->open(folder, path, &pack->file));
	BOLE_TRY(check_pack(pack, store->repo.algo));
	return order_pack(store, pack);
}

static void close_pack(struct gitdir_store *store, struct gitdir_pack *pack)
{
	if (pack->file != NULL)
		pack->file->ops->close(pack->file);
	bole_alloc_free(store->alloc, pack->order, pack->index.count, sizeof *pack->order);
	bole_alloc_free(store->alloc, pack->types, pack->index.count, 1);
	bole_gitdir_unload(store, &pack->index_bytes);
	bole_alloc_free(store->alloc, pack->name, pack->name_bytes, 1);
}

/* A multi-pack index is a shortcut: what it does not say, or says wrong, the packs' own do. */
static enum bole_status load_midx(struct gitdir_store *store, unsigned folder)
{
	struct gitdir_midx *midx = &store->midx[folder];
	char path[GITDIR_PATH_BYTES];

	bole_gitdir_object_path(folder, "pack/multi-pack-index", path);
	enum bole_status rc = bole_gitdir_load(store, store->objects[folder], path, INDEX_BYTES_MAX,
	                                       &midx->bytes);
	if (rc == BOLE_OK)
		rc = bole_multi_pack_open(bole_bytes_of(midx->bytes.ptr, midx->bytes.len),
		                          store->repo.algo, &midx->midx);
	if (rc != BOLE_OK) {
		if (rc != BOLE_E_NOT_FOUND)
			bole_log(store->platform, BOLE_LOG_WARN, "%s: %s; not used", path,
			         bole_status_text(rc));
		bole_gitdir_unload(store, &midx->bytes);
		return rc == BOLE_E_NO_MEMORY ? rc : BOLE_OK;
	}
	uint32_t count = midx->midx.pack_count;
	midx->packs = bole_alloc_array(store->alloc, count, sizeof *midx->packs);
	if (midx->packs == NULL) {
		bole_gitdir_unload(store, &midx->bytes);
		return BOLE_E_NO_MEMORY;
	}
	struct bole_bytes names = midx->midx.pack_names;
	for (uint32_t i = 0; i < count; i++) {
		struct bole_bytes name = bole_multi_pack_name(&names);

		midx->packs[i] = NO_PACK;
		for (size_t p = 0; p < store->pack_count; p++)
			if (store->packs[p].folder == folder &&
			    bole_bytes_equal(name, bole_bytes_z(store->packs[p].name)))
				midx->packs[i] = (uint32_t)p;
	}
	return BOLE_OK;
}

enum bole_status bole_gitdir_packs_load(struct gitdir_store *store)
{
	char path[GITDIR_PATH_BYTES];

	for (unsigned i = 0; i < store->object_folders; i++) {
		struct listing listing = {store, i};

		bole_gitdir_object_path(i, "pack", path);
		enum bole_status rc =
		        store->objects[i]->ops->list(store->objects[i], path, note_pack, &listing);
		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
	}
	for (size_t i = 0; i < store->pack_count; i++) {
		enum bole_status rc = open_pack(store, &store->packs[i]);

		if (rc != BOLE_OK) {
			bole_log(store->platform, BOLE_LOG_ERROR, "%s: %s", store->packs[i].name,
			         bole_status_text(rc));
			return rc;
		}
	}
	for (unsigned i = 0; i < store->object_folders; i++)
		BOLE_TRY(load_midx(store, i));
	return BOLE_OK;
}

void bole_gitdir_packs_close(struct gitdir_store *store)
{
	for (size_t i = 0; i < store->pack_count; i++)
		close_pack(store, &store->packs[i]);
	bole_alloc_free(store->alloc, store->packs, store->pack_cap, sizeof *store->packs);
	for (unsigned i = 0; i < store->object_folders; i++) {
		struct gitdir_midx *midx = &store->midx[i];

		bole_alloc_free(store->alloc, midx->packs, midx->midx.pack_count,
		                sizeof *midx->packs);
		bole_gitdir_unload(store, &midx->bytes);
	}
}

/* -- Places -- */

/* The rank in the order of offsets, or UINT32_MAX. */
static uint32_t rank_at(const struct gitdir_pack *pack, uint64_t offset)
{
	uint32_t low = 0, high = pack->index.count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint64_t at = 0;

		/* It was valid when the pack was opened. */
		BOLE_ASSERT(bole_pack_index_offset(&pack->index, pack->order[middle], &at) ==
		            BOLE_OK);
		if (at == offset)
			return middle;
		if (at < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return UINT32_MAX;
}

static uint64_t end_of(const struct gitdir_pack *pack, uint32_t rank)
{
	uint64_t end = pack->end;

	if (rank + 1 < pack->index.count)
		BOLE_ASSERT(bole_pack_index_offset(&pack->index, pack->order[rank + 1], &end) ==
		            BOLE_OK);
	return end;
}

static enum bole_status read_head(const struct gitdir_pack *pack, uint8_t algo, uint64_t offset,
                                  struct bole_entry_head *head)
{
	uint8_t bytes[BOLE_ENTRY_HEAD_MAX];
	uint64_t left = pack->end - offset;
	size_t len = left < sizeof bytes ? (size_t)left : sizeof bytes;

	BOLE_TRY(pack->file->ops->read(pack->file, offset, bytes, len));
	return bole_entry_head_parse(bole_bytes_of(bytes, len), algo, head) == BOLE_OK
	               ? BOLE_OK
	               : BOLE_E_CORRUPT;
}

/* The position of a delta's base, in the same pack. */
static enum bole_status base_of(const struct gitdir_pack *pack, const struct bole_entry_head *head,
                                uint64_t offset, uint32_t *pos)
{
	if (head->type == BOLE_ENTRY_REF_DELTA)
		return bole_pack_index_find(&pack->index, head->base.bytes, pos) ? BOLE_OK
		                                                                 : BOLE_E_CORRUPT;
	if (head->base_distance > offset)
		return BOLE_E_CORRUPT;
	uint32_t rank = rank_at(pack, offset - head->base_distance);
	if (rank == UINT32_MAX)
		return BOLE_E_CORRUPT;
	*pos = pack->order[rank];
	return BOLE_OK;
}

/* Follows deltas to what is whole; every entry on the way learns its type. */
static enum bole_status type_of(struct gitdir_pack *pack, uint8_t algo, uint32_t pos, uint8_t *type)
{
	uint32_t at = pos;
	uint8_t found = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		at = pos;
		for (unsigned depth = 0; pack->types[at] == 0; depth++) {
			struct bole_entry_head head;
			uint64_t offset = 0;
			uint32_t next = at;

			if (depth > BOLE_DELTA_DEPTH_MAX)
				return BOLE_E_CORRUPT;
			BOLE_TRY(bole_pack_index_offset(&pack->index, at, &offset));
			BOLE_TRY(read_head(pack, algo, offset, &head));
			bool delta = head.type >= BOLE_ENTRY_OFS_DELTA;
			if (delta)
				BOLE_TRY(base_of(pack, &head, offset, &next));
			if (pass == 1 || !delta)
				pack->types[at] = delta ? found : head.type;
			at = next;
		}
		found = pass == 0 ? pack->types[at] : found;
	}
	*type = pack->types[pos];
	return BOLE_OK;
}

static enum bole_status fill(struct gitdir_store *store, uint32_t number, uint32_t pos,
                             struct bole_entry *out)
{
	struct gitdir_pack *pack = &store->packs[number];

	BOLE_TRY(bole_pack_index_offset(&pack->index, pos, &out->offset));
	out->extent = (uint64_t)number + 1;
	out->stored_bytes = end_of(pack, rank_at(pack, out->offset)) - out->offset;
	return type_of(pack, store->repo.algo, pos, &out->type);
}

static bool find_in_midx(const struct gitdir_store *store, const struct bole_oid *oid,
                         uint32_t *number, uint32_t *pos)
{
	for (size_t i = 0; i < store->object_folders; i++) {
		const struct gitdir_midx *midx = &store->midx[i];
		uint32_t at, pack;
		uint64_t offset;

		if (midx->packs == NULL || !bole_multi_pack_find(&midx->midx, oid->bytes, &at) ||
		    bole_multi_pack_place(&midx->midx, at, &pack, &offset) != BOLE_OK ||
		    midx->packs[pack] == NO_PACK)
			continue;
		const struct gitdir_pack *found = &store->packs[midx->packs[pack]];
		uint32_t rank = rank_at(found, offset);
		if (rank == UINT32_MAX)
			continue;
		*pos = found->order[rank];
		*number = midx->packs[pack];
		if (memcmp(bole_pack_index_id(&found->index, *pos), oid->bytes,
		           bole_hash_bytes(oid->algo)) == 0)
			return true;
	}
	return false;
}

enum bole_status bole_gitdir_pack_find(struct gitdir_store *store, const struct bole_oid *oid,
                                       struct bole_entry *out)
{
	uint32_t number, pos;

	if (find_in_midx(store, oid, &number, &pos))
		return fill(store, number, pos, out);
	for (size_t i = 0; i < store->pack_count; i++) {
		number = (uint32_t)((store->pack_last + i) % store->pack_count);
		if (!bole_pack_index_find(&store->packs[number].index, oid->bytes, &pos))
			continue;
		store->pack_last = number;
		return fill(store, number, pos, out);
	}
	return BOLE_E_NOT_FOUND;
}

enum bole_status bole_gitdir_pack_entry_at(struct gitdir_store *store, uint64_t extent,
                                           uint64_t offset, struct bole_oid *oid,
                                           struct bole_entry *out)
{
	if (extent == 0 || extent > store->pack_count)
		return BOLE_E_CORRUPT;
	struct gitdir_pack *pack = &store->packs[extent - 1];
	uint32_t rank = rank_at(pack, offset);
	if (rank == UINT32_MAX)
		return BOLE_E_CORRUPT;
	if (oid != NULL)
		bole_oid_from_raw(bole_pack_index_id(&pack->index, pack->order[rank]),
		                  store->repo.algo, oid);
	return fill(store, (uint32_t)(extent - 1), pack->order[rank], out);
}
