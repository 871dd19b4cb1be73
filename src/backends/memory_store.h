/* SPDX-License-Identifier: ISC */
/* Inside of the memory store. It is the oracle for other stores: what it does is meant to be seen
 * at a glance. One mutex guards everything below; nothing here blocks.
 *
 * Immutable once made, so read without the lock: the bytes and rows of a finished home, and a state
 * (the references and aux records of one version of a repository), which a commit replaces whole.
 */
#ifndef BOLE_BACKENDS_MEMORY_STORE_H
#define BOLE_BACKENDS_MEMORY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "bole/store.h"

/* -- A hash map of pointers; what the key is, kind says (memory_map.c) -- */

struct mem_map_kind {
	uint64_t (*hash)(const void *item);
	bool (*same)(const void *item, const void *other);
};
struct mem_map {
	void **slots;
	size_t count;
	size_t cap; /* a power of two, or 0 */
};
/* Finds the item that is the same as probe. */
void *bole_mem_map_find(const struct mem_map *, const struct mem_map_kind *, const void *probe);
/* Room for more items, so that add cannot fail. */
enum bole_status bole_mem_map_reserve(struct mem_map *, const struct mem_map_kind *,
                                      struct bole_alloc *, size_t more);
void bole_mem_map_add(struct mem_map *, const struct mem_map_kind *, void *item);
void bole_mem_map_release(struct mem_map *, struct bole_alloc *);

/* -- Objects -- */

/* A record (one row, offset 0) or an extent. */
struct mem_home {
	size_t holders; /* versions and transactions */
	uint64_t id;
	bool extent;
	uint8_t *bytes;
	size_t len;
	size_t cap;
	struct bole_extent_row *rows; /* sorted by offset */
	size_t row_count;
};
struct mem_object {
	size_t holders;
	bool marked; /* by the mark of its domain, if it is a candidate */
	struct bole_oid oid;
	struct bole_entry entry;
	const struct mem_home *home;
};
/* What a domain has published, or what one transaction added. */
struct mem_objects {
	struct mem_map by_oid;    /* struct mem_object, the oldest of each id */
	struct mem_map by_home;   /* struct mem_home */
	struct mem_object **list; /* what by_oid holds, in the order of the log */
	size_t count;
	size_t cap;
};

/* What a domain has published grows in place; whatever removes objects makes a new version, and a
 * snapshot keeps the one that it was opened on. */
struct mem_version {
	size_t holders;
	struct mem_objects objects;
};

struct mem_mark;
struct mem_tx;

struct mem_domain {
	uint32_t id;
	size_t holders; /* its repository, snapshots and transactions */
	struct mem_version *now;
	struct mem_mark *mark; /* the one that is going on, or NULL */
	struct mem_tx *open;   /* transactions */
};

/* -- One version of a repository's references and aux records -- */

struct mem_ref {
	size_t holders;
	size_t bytes;
	struct bole_ref ref; /* its strings follow */
};
struct mem_aux {
	size_t holders;
	size_t bytes;
	enum bole_aux_class cls;
	uint16_t kind;
	bool removed; /* only in a transaction's list */
	struct bole_bytes key;
	struct bole_bytes value;
};
struct mem_state {
	size_t holders;
	struct mem_ref **refs; /* by name */
	size_t ref_count;
	size_t ref_cap;
	struct mem_aux **aux; /* by class, kind, key */
	size_t aux_count;
	size_t aux_cap;
};

struct mem_repo {
	struct bole_repo info;
	struct mem_domain *domain;
	struct mem_state *state;
};

struct mem_snapshot {
	struct bole_snapshot base;
	struct mem_domain *domain;
	struct mem_version *version; /* NULL in the view of a transaction: the domain's newest */
	struct mem_state *state;
	struct mem_tx *tx; /* not NULL: the view of a transaction */
};

struct mem_tx {
	struct bole_tx base;
	struct mem_snapshot view;
	struct mem_objects added;
	struct mem_home *pending; /* the extent in progress */
	struct mem_aux **aux;
	size_t aux_count;
	size_t aux_cap;
	uint64_t user_bytes;
	bool prepared;
	struct bole_tx_token token;
	struct mem_tx *next_prepared;
	struct mem_map drops;    /* struct mem_drop */
	struct bole_oid *relied; /* every id that was found through the view or put again */
	size_t relied_count;
	size_t relied_cap;
	bool relied_lost; /* there was no memory for all of them */
	struct mem_tx *next_open;
};

/* An id that a transaction removes; a later put of it takes that back. */
struct mem_drop {
	struct bole_oid oid;
	bool on;
};

/* Candidates are the objects of frozen. */
struct mem_mark {
	struct bole_mark base;
	struct mem_snapshot view; /* on frozen */
	struct mem_version *frozen;
	struct bole_oid *roots;
	size_t root_count;
	size_t root_cap;
	bool lost; /* there was no memory for a root */
};

struct mem_store {
	struct bole_store base;
	struct bole_platform *platform;
	struct bole_budget budget; /* counts; everything comes from it */
	struct bole_alloc *alloc;
	struct bole_mutex lock;
	struct mem_repo **repos;
	size_t repo_count;
	size_t repo_cap;
	uint32_t next_repo;
	uint32_t next_domain;
	uint64_t next_home;
	struct mem_tx *prepared;
	struct bole_store_stats stats;
};

extern const struct bole_odb_ops bole_mem_odb_ops;
extern const struct bole_refs_ops bole_mem_refs_ops;
extern const struct bole_aux_ops bole_mem_aux_ops;
extern const struct bole_tx_ops bole_mem_tx_ops;
extern const struct bole_mark_ops bole_mem_mark_ops;

static inline struct mem_store *mem_store_of(struct bole_store *store)
{
	return (struct mem_store *)store;
}
void bole_mem_lock(struct mem_store *);
void bole_mem_unlock(struct mem_store *);
/* NULL = no such repository. Under the lock. */
struct mem_repo *bole_mem_repo_by_id(struct mem_store *, uint32_t id);
/* Room for one more pointer in a growing array. */
enum bole_status bole_mem_array_grow(struct bole_alloc *, void ***items, size_t count, size_t *cap);

void bole_mem_domain_drop(struct mem_store *, struct mem_domain *);

struct mem_object *bole_mem_objects_find(const struct mem_objects *, const struct bole_oid *);
const struct mem_home *bole_mem_objects_home(const struct mem_objects *, uint64_t id);
/* Adds a finished home to what the transaction has, and those of its objects that are not published
 * yet. All or nothing. */
enum bole_status bole_mem_objects_add(struct mem_store *, struct mem_tx *, struct mem_home *);
/* Room in `into` for everything in `from`. */
enum bole_status bole_mem_objects_reserve(struct mem_store *, struct mem_objects *into,
                                          const struct mem_objects *from);
/* Moves everything that the transaction added and did not drop; what `into` has already stays as it
 * is there. Cannot fail after reserve. */
void bole_mem_objects_move(struct mem_store *, struct mem_objects *into, struct mem_tx *);
void bole_mem_objects_release(struct mem_store *, struct mem_objects *);
void bole_mem_home_free(struct mem_store *, struct mem_home *);

/* A version with those objects of `from` that keep() says stay, and the homes that one of their ids
 * lies in. keep NULL = all. */
enum bole_status bole_mem_version_copy(struct mem_store *, const struct mem_version *from,
                                       bool (*keep)(const struct mem_object *, const void *ctx),
                                       const void *ctx, struct mem_version **out);
void bole_mem_version_drop(struct mem_store *, struct mem_version *);
/* What a snapshot sees of its domain. */
static inline struct mem_objects *bole_mem_view_objects(const struct mem_snapshot *snapshot)
{
	return snapshot->version != NULL ? &snapshot->version->objects
	                                 : &snapshot->domain->now->objects;
}

/* A mark that is going on must keep an id. Under the lock. */
void bole_mem_mark_note(struct mem_store *, struct mem_domain *, const struct bole_oid *);
/* A transaction relies on an id from now on. Under the lock. */
void bole_mem_tx_rely(struct mem_store *, struct mem_tx *, const struct bole_oid *);
/* Room for one more id. */
enum bole_status bole_mem_oids_grow(struct mem_store *, struct bole_oid **oids, size_t count,
                                    size_t *cap);
/* The transaction drops the id. */
bool bole_mem_tx_drops(const struct mem_tx *, const struct bole_oid *);

/* A copy that may be changed; holders is 1. */
enum bole_status bole_mem_state_copy(struct mem_store *, const struct mem_state *,
                                     struct mem_state **out);
void bole_mem_state_drop(struct mem_store *, struct mem_state *);
/* Applies updates, in order, to a state of our own. BOLE_E_CONFLICT: *failed. */
enum bole_status bole_mem_state_update(struct mem_store *, struct mem_state *,
                                       const struct bole_ref_update *, size_t count,
                                       size_t *failed);
enum bole_status bole_mem_state_aux(struct mem_store *, struct mem_state *, struct mem_aux *staged);
void bole_mem_aux_drop(struct mem_store *, struct mem_aux *);
int bole_mem_aux_compare(const struct mem_aux *, enum bole_aux_class cls, uint16_t kind,
                         struct bole_bytes key);

#endif /* BOLE_BACKENDS_MEMORY_STORE_H */
