/* SPDX-License-Identifier: ISC */
#include "flash/table.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum { TABLE_FIRST_LEAVES = 4 };

static size_t table_bytes(uint32_t cap)
{
	return sizeof(struct flash_table) + (size_t)cap * sizeof(struct flash_leaf *);
}

static size_t item_bytes(const struct flash_item *item)
{
	return sizeof *item + item->key_len + item->value_len;
}

/* True for the last owner. */
static bool unref(_Atomic uint32_t *refs)
{
	return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

static void ref(_Atomic uint32_t *refs)
{
	atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

static bool alone(_Atomic uint32_t *refs)
{
	return atomic_load_explicit(refs, memory_order_acquire) == 1;
}

static void item_release(const struct flash_table_kind *kind, struct flash_item *item)
{
	if (!unref(&item->refs))
		return;
	if (kind->dropped != NULL)
		kind->dropped(kind->ctx, item);
	bole_alloc_free(kind->alloc, item, item_bytes(item), 1);
}

static void leaf_release(const struct flash_table_kind *kind, struct flash_leaf *leaf)
{
	if (!unref(&leaf->refs))
		return;
	for (uint32_t i = 0; i < leaf->count; i++)
		item_release(kind, leaf->items[i]);
	bole_alloc_free(kind->alloc, leaf, 1, sizeof *leaf);
}

struct flash_table *bole_flash_table_retain(struct flash_table *table)
{
	if (table != NULL)
		ref(&table->refs);
	return table;
}

void bole_flash_table_release(const struct flash_table_kind *kind, struct flash_table *table)
{
	if (table == NULL || !unref(&table->refs))
		return;
	for (uint32_t i = 0; i < table->count; i++)
		leaf_release(kind, table->leaves[i]);
	bole_alloc_free(kind->alloc, table, table_bytes(table->cap), 1);
}

/* The last leaf whose first key is <= key; 0 when there is none. */
static uint32_t leaf_for(const struct flash_table *table, struct bole_bytes key)
{
	uint32_t low = 0;
	uint32_t high = table->count;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		if (bole_bytes_compare(bole_flash_item_key(table->leaves[mid]->items[0]), key) <= 0)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* The first slot of the leaf whose key is >= key. */
static uint32_t slot_for(const struct flash_leaf *leaf, struct bole_bytes key, bool *exact)
{
	uint32_t low = 0;
	uint32_t high = leaf->count;

	*exact = false;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = bole_bytes_compare(bole_flash_item_key(leaf->items[mid]), key);
		if (order == 0)
			*exact = true;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct flash_item *bole_flash_table_find(const struct flash_table *table,
                                               struct bole_bytes key)
{
	bool exact;

	if (table == NULL || table->count == 0)
		return NULL;
	const struct flash_leaf *leaf = table->leaves[leaf_for(table, key)];
	uint32_t slot = slot_for(leaf, key, &exact);
	return exact ? leaf->items[slot] : NULL;
}

const struct flash_item *bole_flash_table_next(const struct flash_table *table,
                                               struct bole_bytes after, bool from)
{
	bool exact;

	if (table == NULL || table->count == 0)
		return NULL;
	uint32_t at = leaf_for(table, after);
	uint32_t slot = slot_for(table->leaves[at], after, &exact);
	if (exact && !from)
		slot++;
	if (slot == table->leaves[at]->count) {
		at++;
		slot = 0;
	}
	return at < table->count ? table->leaves[at]->items[slot] : NULL;
}

/* Makes *root a table of one owner with room for one more leaf. */
static enum bole_status own_root(const struct flash_table_kind *kind, struct flash_table **root)
{
	struct flash_table *old = *root;
	uint32_t count = old == NULL ? 0 : old->count;

	if (old != NULL && alone(&old->refs) && old->count < old->cap)
		return BOLE_OK;
	uint32_t cap = count < TABLE_FIRST_LEAVES ? TABLE_FIRST_LEAVES : count + count / 2;
	struct flash_table *table = bole_alloc_array(kind->alloc, table_bytes(cap), 1);
	if (table == NULL)
		return BOLE_E_NO_MEMORY;
	atomic_init(&table->refs, 1);
	table->count = count;
	table->cap = cap;
	table->items = old == NULL ? 0 : old->items;
	table->bytes = old == NULL ? 0 : old->bytes;
	for (uint32_t i = 0; i < count; i++) {
		table->leaves[i] = old->leaves[i];
		ref(&table->leaves[i]->refs);
	}
	bole_flash_table_release(kind, old);
	*root = table;
	return BOLE_OK;
}

static struct flash_leaf *leaf_new(const struct flash_table_kind *kind)
{
	struct flash_leaf *leaf = bole_alloc_zeroed(kind->alloc, 1, sizeof *leaf);

	if (leaf != NULL)
		atomic_init(&leaf->refs, 1);
	return leaf;
}

/* Makes leaf `at` of an owned root a leaf of one owner. */
static enum bole_status own_leaf(const struct flash_table_kind *kind, struct flash_table *table,
                                 uint32_t at)
{
	struct flash_leaf *old = table->leaves[at];

	if (alone(&old->refs))
		return BOLE_OK;
	struct flash_leaf *leaf = leaf_new(kind);
	if (leaf == NULL)
		return BOLE_E_NO_MEMORY;
	leaf->count = old->count;
	for (uint32_t i = 0; i < old->count; i++) {
		leaf->items[i] = old->items[i];
		ref(&leaf->items[i]->refs);
	}
	leaf_release(kind, old);
	table->leaves[at] = leaf;
	return BOLE_OK;
}

/* Splits full leaf `at`; at its end nothing moves, so sorted loads make full leaves. */
static enum bole_status split(const struct flash_table_kind *kind, struct flash_table *table,
                              uint32_t at, uint32_t *slot, uint32_t *target)
{
	struct flash_leaf *left = table->leaves[at];
	struct flash_leaf *right = leaf_new(kind);
	uint32_t keep = *slot == left->count ? left->count : left->count / 2;

	if (right == NULL)
		return BOLE_E_NO_MEMORY;
	right->count = left->count - keep;
	memcpy(right->items, left->items + keep, right->count * sizeof left->items[0]);
	left->count = keep;
	memmove(table->leaves + at + 2, table->leaves + at + 1,
	        (table->count - at - 1) * sizeof table->leaves[0]);
	table->leaves[at + 1] = right;
	table->count++;
	*target = at;
	if (*slot >= keep) {
		*target = at + 1;
		*slot -= keep;
	}
	return BOLE_OK;
}

static enum bole_status insert(const struct flash_table_kind *kind, struct flash_table *table,
                               uint32_t at, uint32_t slot, struct flash_item *item)
{
	uint32_t target = at;

	if (table->count == 0) {
		table->leaves[0] = leaf_new(kind);
		if (table->leaves[0] == NULL)
			return BOLE_E_NO_MEMORY;
		table->count = 1;
	} else if (table->leaves[at]->count == TABLE_LEAF_MAX) {
		BOLE_TRY(split(kind, table, at, &slot, &target));
	}
	struct flash_leaf *leaf = table->leaves[target];
	memmove(leaf->items + slot + 1, leaf->items + slot,
	        (leaf->count - slot) * sizeof leaf->items[0]);
	leaf->items[slot] = item;
	leaf->count++;
	table->items++;
	return BOLE_OK;
}

static struct flash_item *item_new(const struct flash_table_kind *kind, struct bole_bytes key,
                                   struct bole_bytes value)
{
	struct flash_item *item =
	        bole_alloc_array(kind->alloc, sizeof *item + key.len + value.len, 1);

	if (item == NULL)
		return NULL;
	atomic_init(&item->refs, 1);
	item->key_len = (uint32_t)key.len;
	item->value_len = (uint32_t)value.len;
	if (key.len != 0)
		memcpy(item->bytes, key.ptr, key.len);
	if (value.len != 0)
		memcpy(item->bytes + key.len, value.ptr, value.len);
	return item;
}

/* Takes item over on success. */
static enum bole_status put_item(const struct flash_table_kind *kind, struct flash_table **root,
                                 struct flash_item *item)
{
	struct bole_bytes key = bole_flash_item_key(item);
	bool exact = false;
	uint32_t at = 0;
	uint32_t slot = 0;

	BOLE_TRY(own_root(kind, root));
	struct flash_table *table = *root;
	if (table->count != 0) {
		at = leaf_for(table, key);
		BOLE_TRY(own_leaf(kind, table, at));
		slot = slot_for(table->leaves[at], key, &exact);
	}
	if (exact) {
		struct flash_item *old = table->leaves[at]->items[slot];
		table->leaves[at]->items[slot] = item;
		table->bytes += item->value_len;
		table->bytes -= old->value_len;
		item_release(kind, old);
		return BOLE_OK;
	}
	BOLE_TRY(insert(kind, table, at, slot, item));
	table->bytes += (uint64_t)item->key_len + item->value_len;
	return BOLE_OK;
}

enum bole_status bole_flash_table_set(const struct flash_table_kind *kind,
                                      struct flash_table **root, struct bole_bytes key,
                                      struct bole_bytes value)
{
	BOLE_ASSERT(key.len <= UINT32_MAX);
	BOLE_ASSERT(value.len <= UINT32_MAX);
	struct flash_item *item = item_new(kind, key, value);
	if (item == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = put_item(kind, root, item);
	if (rc != BOLE_OK)
		bole_alloc_free(kind->alloc, item, item_bytes(item), 1);
	return rc;
}

enum bole_status bole_flash_table_share(const struct flash_table_kind *kind,
                                        struct flash_table **root, const struct flash_item *shared)
{
	/* Counting references is not changing the item. */
	struct flash_item *item = (struct flash_item *)(uintptr_t)shared;

	ref(&item->refs);
	enum bole_status rc = put_item(kind, root, item);
	if (rc != BOLE_OK)
		(void)unref(&item->refs);
	return rc;
}

enum bole_status bole_flash_table_remove(const struct flash_table_kind *kind,
                                         struct flash_table **root, struct bole_bytes key)
{
	bool exact;

	if (*root == NULL || bole_flash_table_find(*root, key) == NULL)
		return BOLE_OK;
	BOLE_TRY(own_root(kind, root));
	struct flash_table *table = *root;
	uint32_t at = leaf_for(table, key);
	BOLE_TRY(own_leaf(kind, table, at));
	struct flash_leaf *leaf = table->leaves[at];
	uint32_t slot = slot_for(leaf, key, &exact);
	BOLE_ASSERT(exact);
	struct flash_item *old = leaf->items[slot];
	memmove(leaf->items + slot, leaf->items + slot + 1,
	        (leaf->count - slot - 1) * sizeof leaf->items[0]);
	leaf->count--;
	table->items--;
	table->bytes -= old->key_len + old->value_len;
	item_release(kind, old);
	if (leaf->count == 0) {
		leaf_release(kind, leaf);
		memmove(table->leaves + at, table->leaves + at + 1,
		        (table->count - at - 1) * sizeof table->leaves[0]);
		table->count--;
	}
	return BOLE_OK;
}

/* -- Differences -- */

static const struct flash_item *diff_at(struct flash_table_diff *d, int side)
{
	const struct flash_table *t = side == 0 ? d->before : d->after;

	if (t == NULL || d->leaf[side] == t->count)
		return NULL;
	return t->leaves[d->leaf[side]]->items[d->slot[side]];
}

static void diff_step(struct flash_table_diff *d, int side)
{
	const struct flash_table *t = side == 0 ? d->before : d->after;

	if (++d->slot[side] == t->leaves[d->leaf[side]]->count) {
		d->leaf[side]++;
		d->slot[side] = 0;
	}
}

/* Both stand at the start of the same leaf. */
static bool diff_shared(const struct flash_table_diff *d)
{
	return d->slot[0] == 0 && d->slot[1] == 0 &&
	       d->before->leaves[d->leaf[0]] == d->after->leaves[d->leaf[1]];
}

static bool equal_values(const struct flash_item *a, const struct flash_item *b)
{
	return a == b || bole_bytes_equal(bole_flash_item_value(a), bole_flash_item_value(b));
}

bool bole_flash_table_diff(struct flash_table_diff *d, const struct flash_item **was,
                           const struct flash_item **is)
{
	for (;;) {
		*was = diff_at(d, 0);
		*is = diff_at(d, 1);
		if (*was == NULL && *is == NULL)
			return false;
		if (*was != NULL && *is != NULL && diff_shared(d)) {
			d->leaf[0]++;
			d->leaf[1]++;
			continue;
		}
		int order = *was == NULL  ? 1
		            : *is == NULL ? -1
		                          : bole_bytes_compare(bole_flash_item_key(*was),
		                                               bole_flash_item_key(*is));
		bool same = order == 0 && equal_values(*was, *is);
		if (order <= 0)
			diff_step(d, 0);
		if (order >= 0)
			diff_step(d, 1);
		if (same)
			continue;
		if (order < 0)
			*is = NULL;
		if (order > 0)
			*was = NULL;
		return true;
	}
}
