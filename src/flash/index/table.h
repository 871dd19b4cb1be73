/* SPDX-License-Identifier: ISC */
/* An immutable sorted map from bytes to bytes that shares structure with its older versions: a root
 * over nodes over leaves. What has one owner is changed in place, what is shared is copied first,
 * so a version costs a leaf, a node and the pointers of a root.
 *
 * A leaf holds its items whole, one after the other, beside the first bytes of their keys: a lookup
 * touches few lines of memory, and copying a leaf is one copy. References (names), auxiliary
 * records, repository names and the rows of an index in memory are such tables. Reference counts
 * are atomic; an item may be read by whoever holds the root, until he changes that very version. */
#ifndef BOLE_FLASH_TABLE_H
#define BOLE_FLASH_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/types.h"

enum {
	TABLE_LEAF_MAX = 64,         /* items */
	TABLE_LEAF_BYTES = 16 << 10, /* of items, unless there is only one */
	TABLE_NODE_MAX = 64,         /* leaves */
};

struct flash_item {
	uint32_t key_len;
	uint32_t value_len;
	uint8_t bytes[]; /* key, then value */
};

struct flash_leaf;
struct flash_node;

/* A child, and what the first key below it starts with. */
struct flash_child {
	uint64_t start;
	void *child;
};

struct flash_table {
	_Atomic uint32_t refs;
	uint32_t count; /* nodes */
	uint32_t cap;
	uint64_t items;
	uint64_t bytes; /* of keys and values */
	struct flash_child node[];
};

/* What the functions need. */
struct flash_table_kind {
	struct bole_alloc *alloc;
};

static inline struct bole_bytes bole_flash_item_key(const struct flash_item *item)
{
	return (struct bole_bytes){item->bytes, item->key_len};
}

static inline struct bole_bytes bole_flash_item_value(const struct flash_item *item)
{
	return (struct bole_bytes){item->bytes + item->key_len, item->value_len};
}

/* NULL is the empty table everywhere. retain returns its argument. */
struct flash_table *bole_flash_table_retain(struct flash_table *);
void bole_flash_table_release(const struct flash_table_kind *, struct flash_table *);
const struct flash_item *bole_flash_table_find(const struct flash_table *, struct bole_bytes key);
/* The first item whose key is > after, or >= after when `from`; NULL at the end. */
const struct flash_item *bole_flash_table_next(const struct flash_table *, struct bole_bytes after,
                                               bool from);
/* The same, and where it is, for the items that follow. */
struct flash_table_at {
	const struct flash_item *item; /* the last one that was shown */
	uint32_t node;
	uint32_t leaf;
	uint32_t slot;
};
const struct flash_item *bole_flash_table_seek(const struct flash_table *, struct bole_bytes after,
                                               bool from, struct flash_table_at *);
const struct flash_item *bole_flash_table_step(const struct flash_table *, struct flash_table_at *);
/* Changes *root, a version that the caller owns; on failure it is as before. */
BOLE_MUST_USE enum bole_status bole_flash_table_set(const struct flash_table_kind *,
                                                    struct flash_table **root,
                                                    struct bole_bytes key, struct bole_bytes value);
/* Sets to an item of another table. */
BOLE_MUST_USE enum bole_status bole_flash_table_share(const struct flash_table_kind *,
                                                      struct flash_table **root,
                                                      const struct flash_item *);
BOLE_MUST_USE enum bole_status bole_flash_table_remove(const struct flash_table_kind *,
                                                       struct flash_table **root,
                                                       struct bole_bytes key);

/* What differs between two versions; leaves that both have are passed over. Start with the two
 * versions set and zeroes. */
struct flash_table_diff {
	const struct flash_table *before;
	const struct flash_table *after;
	uint32_t node[2];
	uint32_t leaf[2];
	uint32_t slot[2];
};
/* The next key in order: *was is NULL for what is new, *is for what is gone. False at the end. */
bool bole_flash_table_diff(struct flash_table_diff *, const struct flash_item **was,
                           const struct flash_item **is);

#endif /* BOLE_FLASH_TABLE_H */
