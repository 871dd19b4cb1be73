/* SPDX-License-Identifier: ISC */
/* The state of a Git folder as a store, shared by its parts:
 *   gitdir_store.c    opening, the repository, snapshots
 *   gitdir_refs.c     references
 *   gitdir_packs.c    packs and their indexes
 *   gitdir_objects.c  lookups, loose objects, bytes
 * Extent n + 1 is pack n; EXTENT_LOOSE holds loose objects, as pack entries made when they are met:
 * the offset is a number. */
#ifndef BOLE_BACKENDS_GITDIR_H
#define BOLE_BACKENDS_GITDIR_H

#include "base/deflate.h"
#include "base/memory.h"
#include "bole/folder.h"
#include "bole/gitdir.h"
#include "bole/store.h"
#include "git/files/multi_pack.h"
#include "git/files/pack_index.h"
#include "git/object/oid_map.h"

enum {
	GITDIR_FOLDERS_MAX = 32,
	GITDIR_PATH_BYTES = 512,
	GITDIR_WINDOW_BYTES = 128 * 1024,
};
#define GITDIR_EXTENT_LOOSE ((uint64_t)1 << 40)

/* A file read whole. */
struct gitdir_bytes {
	uint8_t *ptr;
	size_t len;
};

struct gitdir_pack {
	char *name; /* "pack-….idx" */
	size_t name_bytes;
	unsigned folder;
	struct bole_file *file;
	struct gitdir_bytes index_bytes;
	struct bole_pack_index index;
	uint32_t *order; /* positions by offset */
	uint8_t *types;  /* by position, after resolving deltas; 0 = not yet known */
	uint64_t end;    /* of the last entry */
};

struct gitdir_midx {
	struct gitdir_bytes bytes;
	struct bole_multi_pack midx;
	uint32_t *packs; /* of its numbers: ours; UINT32_MAX = not there */
};

struct gitdir_loose {
	struct bole_oid oid;
	uint8_t *bytes; /* as a pack entry; NULL = dropped, to be made again */
	size_t len;
	uint8_t type;
};

struct gitdir_store {
	struct bole_store base;
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_repo repo;
	struct bole_folder *folder;
	struct bole_folder *head;
	/* Object folders: the first is "objects" in folder. */
	struct bole_folder *objects[GITDIR_FOLDERS_MAX];
	size_t object_folders;
	struct gitdir_midx midx[GITDIR_FOLDERS_MAX];

	struct gitdir_pack *packs;
	size_t pack_count;
	size_t pack_cap;
	uint32_t pack_last; /* where something was found */

	struct bole_oid_map loose_map; /* id -> number */
	struct gitdir_loose *loose;
	size_t loose_count;
	size_t loose_cap;
	size_t loose_bytes; /* held */
	size_t loose_drop;  /* the next to give way */
	struct bole_inflater *inflater;
	struct bole_deflater *deflater;

	struct bole_arena names;
	struct bole_ref *refs; /* sorted by name */
	size_t ref_count;
	size_t ref_cap;
};

struct gitdir_snapshot {
	struct bole_snapshot base;
	uint8_t *window;
	uint64_t window_extent; /* 0 = empty */
	uint64_t window_off;
	size_t window_len;
};

static inline struct gitdir_store *gitdir_of(struct bole_store *store)
{
	return (struct gitdir_store *)store;
}

/* Reads a file whole. *out is empty on failure. BOLE_E_LIMIT: longer than max. */
BOLE_MUST_USE enum bole_status bole_gitdir_load(struct gitdir_store *, struct bole_folder *,
                                                const char *path, uint64_t max,
                                                struct gitdir_bytes *out);
void bole_gitdir_unload(struct gitdir_store *, struct gitdir_bytes *);
/* The path in an object folder; the own one lies below the repository. */
void bole_gitdir_object_path(unsigned folder, const char *path, char *out);

BOLE_MUST_USE enum bole_status bole_gitdir_refs_load(struct gitdir_store *, bool reftable);
BOLE_MUST_USE enum bole_status bole_gitdir_packs_load(struct gitdir_store *);
void bole_gitdir_packs_close(struct gitdir_store *);
/* BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_gitdir_pack_find(struct gitdir_store *, const struct bole_oid *,
                                                     struct bole_entry *out);
BOLE_MUST_USE enum bole_status bole_gitdir_pack_entry_at(struct gitdir_store *, uint64_t extent,
                                                         uint64_t offset, struct bole_oid *oid,
                                                         struct bole_entry *out);
void bole_gitdir_objects_release(struct gitdir_store *);

extern const struct bole_odb_ops bole_gitdir_odb_ops;
extern const struct bole_refs_ops bole_gitdir_refs_ops;

#endif /* BOLE_BACKENDS_GITDIR_H */
