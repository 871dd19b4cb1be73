/* SPDX-License-Identifier: ISC */
#include "flash/index/table.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	TABLE_FIRST_NODES = 2,
	TABLE_FIRST_CHILDREN = 4, /* of a node, and items of a leaf */
	TABLE_ITEM_ALIGN = 4,
	TABLE_LINE = 64, /* bytes that memory comes in, as a rule */
	TABLE_SLACK = 8, /* a leaf has room for its bytes divided by this once more */
};

struct flash_leaf {
	_Atomic uint32_t refs;
	uint32_t count;
	uint32_t cap; /* items */
	uint32_t size;
	uint32_t end;    /* bytes in use, replaced items included */
	uint32_t dead;   /* bytes of those */
	uint64_t data[]; /* starts of keys (u64), positions of items (u32), items */
};

struct flash_node {
	_Atomic uint32_t refs;
	uint32_t count;
	uint32_t cap;
	struct flash_child leaf[];
};

/* Where an item is, or would be. */
struct path {
	uint32_t node;
	uint32_t leaf;
	uint32_t slot;
	bool exact;
};

/* -- Leaves -- */

static uint64_t *starts(const struct flash_leaf *leaf)
{
	return (uint64_t *)(uintptr_t)leaf->data;
}

static uint32_t *positions(const struct flash_leaf *leaf)
{
	return (uint32_t *)(void *)(starts(leaf) + leaf->cap);
}

static uint8_t *items_of(const struct flash_leaf *leaf)
{
	return (uint8_t *)(positions(leaf) + leaf->cap);
}

static struct flash_item *item_of(const struct flash_leaf *leaf, uint32_t slot)
{
	return (struct flash_item *)(void *)(items_of(leaf) + positions(leaf)[slot]);
}

static struct bole_bytes key_of(const struct flash_leaf *leaf, uint32_t slot)
{
	return bole_flash_item_key(item_of(leaf, slot));
}

static size_t leaf_bytes(uint32_t cap, uint32_t size)
{
	return sizeof(struct flash_leaf) + cap * (sizeof(uint64_t) + sizeof(uint32_t)) + size;
}

static size_t node_bytes(uint32_t cap)
{
	return sizeof(struct flash_node) + cap * sizeof(struct flash_child);
}

static size_t table_bytes(uint32_t cap)
{
	return sizeof(struct flash_table) + (size_t)cap * sizeof(struct flash_child);
}

static uint32_t item_bytes(size_t key_len, size_t value_len)
{
	return (uint32_t)bole_round_up(sizeof(struct flash_item) + key_len + value_len,
	                               TABLE_ITEM_ALIGN);
}

static uint32_t bytes_of(const struct flash_item *item)
{
	return item_bytes(item->key_len, item->value_len);
}

/* The first bytes of a key as a number that is in the same order; equal ones say nothing. */
static uint64_t start_of(struct bole_bytes key)
{
	uint8_t first[8] = {0};

	if (key.len >= sizeof first)
		return bole_get_be64(key.ptr);
	if (key.len != 0)
		memcpy(first, key.ptr, key.len);
	return bole_get_be64(first);
}

/* -- References -- */

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

static struct flash_leaf *leaf_at(const struct flash_node *node, uint32_t at)
{
	return node->leaf[at].child;
}

static struct flash_node *node_at(const struct flash_table *table, uint32_t at)
{
	return table->node[at].child;
}

static void leaf_release(const struct flash_table_kind *kind, struct flash_leaf *leaf)
{
	if (unref(&leaf->refs))
		bole_alloc_free(kind->alloc, leaf, leaf_bytes(leaf->cap, leaf->size), 1);
}

static void node_release(const struct flash_table_kind *kind, struct flash_node *node)
{
	if (!unref(&node->refs))
		return;
	for (uint32_t i = 0; i < node->count; i++)
		leaf_release(kind, leaf_at(node, i));
	bole_alloc_free(kind->alloc, node, node_bytes(node->cap), 1);
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
		node_release(kind, node_at(table, i));
	bole_alloc_free(kind->alloc, table, table_bytes(table->cap), 1);
}

/* -- Searching -- */

/* How many of sorted starts are below one, without a branch that could be guessed wrong. They lie
 * `stride` words apart. */
static uint32_t below(const uint64_t *first, size_t stride, uint32_t count, uint64_t start)
{
	uint32_t low = 0;

	while (count > 1) {
		uint32_t half = count / 2;
		low += first[(low + half - 1) * stride] < start ? half : 0;
		count -= half;
	}
	return low + (count == 1 && first[low * stride] < start);
}

/* The first slot of the leaf whose key is >= key. */
static uint32_t slot_for(const struct flash_leaf *leaf, uint64_t start, struct bole_bytes key,
                         bool *exact)
{
	/* What the search may touch is on its way while it begins. */
	for (uint32_t i = 0; i < leaf->count; i += TABLE_LINE / sizeof(uint64_t)) {
		__builtin_prefetch(&starts(leaf)[i]);
		__builtin_prefetch(&positions(leaf)[i]);
	}
	uint32_t low = below(starts(leaf), 1, leaf->count, start);
	uint32_t high = leaf->count;

	/* Equal starts decide nothing: the keys do. */
	if (low == high || starts(leaf)[low] != start)
		high = low;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		bool less = starts(leaf)[mid] == start &&
		            bole_bytes_compare(key_of(leaf, mid), key) < 0;
		if (less)
			low = mid + 1;
		else
			high = mid;
	}
	*exact = low < leaf->count && starts(leaf)[low] == start &&
	         bole_bytes_equal(key_of(leaf, low), key);
	return low;
}

static const struct flash_leaf *first_leaf(const struct flash_child *child, bool nodes)
{
	return nodes ? leaf_at(child->child, 0) : child->child;
}

/* The last child whose first key is <= key; 0 when there is none. */
static uint32_t child_for(const struct flash_child *child, uint32_t count, bool nodes,
                          uint64_t start, struct bole_bytes key)
{
	uint32_t low = below(&child->start, sizeof *child / sizeof child->start, count, start);
	uint32_t high = count;

	/* The first one is what remains when there is none before: it is not looked at (in a table
	 * that is just being made it is empty). Of others with this start, keys decide. */
	if (low == 0)
		low = 1;
	if (low >= high || child[low].start != start)
		high = low;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		bool first =
		        child[mid].start == start &&
		        bole_bytes_compare(key_of(first_leaf(&child[mid], nodes), 0), key) <= 0;
		if (first)
			low = mid + 1;
		else
			high = mid;
	}
	return low - 1;
}

static struct path path_to(const struct flash_table *table, struct bole_bytes key)
{
	uint64_t start = start_of(key);
	struct path p = {.exact = false};

	if (table->count == 0)
		return p;
	p.node = child_for(table->node, table->count, true, start, key);
	const struct flash_node *node = node_at(table, p.node);
	p.leaf = child_for(node->leaf, node->count, false, start, key);
	p.slot = slot_for(leaf_at(node, p.leaf), start, key, &p.exact);
	return p;
}

const struct flash_item *bole_flash_table_find(const struct flash_table *table,
                                               struct bole_bytes key)
{
	if (table == NULL || table->count == 0)
		return NULL;
	struct path p = path_to(table, key);
	return p.exact ? item_of(leaf_at(node_at(table, p.node), p.leaf), p.slot) : NULL;
}

/* The item at a place, which may be just behind the last one of its leaf or node. */
static const struct flash_item *settle(const struct flash_table *table, struct flash_table_at *at)
{
	at->item = NULL;
	if (at->slot == leaf_at(node_at(table, at->node), at->leaf)->count) {
		at->slot = 0;
		at->leaf++;
	}
	if (at->leaf == node_at(table, at->node)->count) {
		at->leaf = 0;
		at->node++;
	}
	if (at->node < table->count)
		at->item = item_of(leaf_at(node_at(table, at->node), at->leaf), at->slot);
	return at->item;
}

const struct flash_item *bole_flash_table_seek(const struct flash_table *table,
                                               struct bole_bytes after, bool from,
                                               struct flash_table_at *at)
{
	*at = (struct flash_table_at){.item = NULL};
	if (table == NULL || table->count == 0)
		return NULL;
	struct path p = path_to(table, after);
	*at = (struct flash_table_at){.node = p.node, .leaf = p.leaf, .slot = p.slot};
	if (p.exact && !from)
		at->slot++;
	return settle(table, at);
}

const struct flash_item *bole_flash_table_step(const struct flash_table *table,
                                               struct flash_table_at *at)
{
	if (at->item == NULL)
		return NULL;
	at->slot++;
	return settle(table, at);
}

const struct flash_item *bole_flash_table_next(const struct flash_table *table,
                                               struct bole_bytes after, bool from)
{
	struct flash_table_at at;

	return bole_flash_table_seek(table, after, from, &at);
}

/* -- Making what is changed our own -- */

/* An empty leaf with room for so many items and bytes. */
static struct flash_leaf *leaf_new(const struct flash_table_kind *kind, uint32_t items,
                                   uint64_t bytes)
{
	uint32_t cap = TABLE_FIRST_CHILDREN;

	while (cap < items)
		cap *= 4;
	if (cap > TABLE_LEAF_MAX)
		cap = TABLE_LEAF_MAX;
	bytes = bole_round_up(bytes + bytes / TABLE_SLACK, sizeof(uint64_t));
	if (bytes > UINT32_MAX / 2)
		return NULL;
	struct flash_leaf *leaf =
	        bole_alloc_array(kind->alloc, leaf_bytes(cap, (uint32_t)bytes), 1);
	if (leaf == NULL)
		return NULL;
	*leaf = (struct flash_leaf){.cap = cap, .size = (uint32_t)bytes};
	atomic_init(&leaf->refs, 1);
	return leaf;
}

static void leaf_append(struct flash_leaf *leaf, uint64_t start, const struct flash_item *item)
{
	uint32_t bytes = bytes_of(item);

	memcpy(items_of(leaf) + leaf->end, item, bytes);
	starts(leaf)[leaf->count] = start;
	positions(leaf)[leaf->count] = leaf->end;
	leaf->count++;
	leaf->end += bytes;
}

/* Items [first, first + count) of a leaf, and room for one more of so many bytes. */
static struct flash_leaf *leaf_copy(const struct flash_table_kind *kind,
                                    const struct flash_leaf *from, uint32_t first, uint32_t count,
                                    uint32_t more)
{
	uint64_t bytes = more;

	for (uint32_t i = first; i < first + count; i++)
		bytes += bytes_of(item_of(from, i));
	struct flash_leaf *leaf = leaf_new(kind, count + 1, bytes);
	if (leaf == NULL)
		return NULL;
	if (count == from->count && from->dead == 0) {
		memcpy(items_of(leaf), items_of(from), from->end);
		memcpy(starts(leaf), starts(from), count * sizeof(uint64_t));
		memcpy(positions(leaf), positions(from), count * sizeof(uint32_t));
		leaf->count = count;
		leaf->end = from->end;
		return leaf;
	}
	for (uint32_t i = first; i < first + count; i++)
		leaf_append(leaf, starts(from)[i], item_of(from, i));
	return leaf;
}

/* The same children in a node, or root, of our own. */
static void copy_children(struct flash_child *to, const struct flash_child *from, uint32_t count,
                          bool nodes)
{
	memcpy(to, from, count * sizeof *to);
	for (uint32_t i = 0; i < count; i++)
		ref(nodes ? &((struct flash_node *)to[i].child)->refs
		          : &((struct flash_leaf *)to[i].child)->refs);
}

/* Makes *root a table of one owner with room for one more node. */
static enum bole_status own_root(const struct flash_table_kind *kind, struct flash_table **root)
{
	struct flash_table *old = *root;
	uint32_t count = old == NULL ? 0 : old->count;

	if (old != NULL && alone(&old->refs) && old->count < old->cap)
		return BOLE_OK;
	uint32_t cap = count < TABLE_FIRST_NODES ? TABLE_FIRST_NODES : count + count / 2;
	struct flash_table *table = bole_alloc_array(kind->alloc, table_bytes(cap), 1);
	if (table == NULL)
		return BOLE_E_NO_MEMORY;
	*table = (struct flash_table){.count = count, .cap = cap};
	atomic_init(&table->refs, 1);
	if (old != NULL) {
		table->items = old->items;
		table->bytes = old->bytes;
		copy_children(table->node, old->node, count, true);
	}
	bole_flash_table_release(kind, old);
	*root = table;
	return BOLE_OK;
}

/* Makes node `at` of an owned root one of our own with room for one more leaf. False: no memory. */
static bool own_node(const struct flash_table_kind *kind, struct flash_table *table, uint32_t at)
{
	struct flash_node *old = node_at(table, at);

	if (alone(&old->refs) && (old->count < old->cap || old->cap == TABLE_NODE_MAX))
		return true;
	uint32_t cap = old->cap;
	if (old->count == cap && cap < TABLE_NODE_MAX)
		cap *= 4;
	struct flash_node *node = bole_alloc_array(kind->alloc, node_bytes(cap), 1);
	if (node == NULL)
		return false;
	*node = (struct flash_node){.count = old->count, .cap = cap};
	atomic_init(&node->refs, 1);
	copy_children(node->leaf, old->leaf, old->count, false);
	node_release(kind, old);
	table->node[at].child = node;
	return true;
}

/* Makes a leaf of an owned node one of our own with room for an item of so many bytes. */
static bool own_leaf(const struct flash_table_kind *kind, struct flash_node *node, uint32_t at,
                     uint32_t more)
{
	struct flash_leaf *old = leaf_at(node, at);
	bool room = old->count < old->cap || old->cap == TABLE_LEAF_MAX;

	if (alone(&old->refs) && room && old->size - old->end >= more)
		return true;
	struct flash_leaf *leaf = leaf_copy(kind, old, 0, old->count, more);
	if (leaf == NULL)
		return false;
	leaf_release(kind, old);
	node->leaf[at].child = leaf;
	return true;
}

/* -- Growing -- */

static void insert_child(struct flash_child *child, uint32_t count, uint32_t at, uint64_t start,
                         void *what)
{
	memmove(child + at + 1, child + at, (count - at) * sizeof *child);
	child[at] = (struct flash_child){start, what};
}

/* Splits full node `at` of an owned root that has room. At its end nothing moves, so sorted loads
 * make full nodes. */
static bool split_node(const struct flash_table_kind *kind, struct flash_table *table, uint32_t at,
                       bool end)
{
	struct flash_node *left = node_at(table, at);
	uint32_t keep = end ? left->count - 1 : left->count / 2;
	struct flash_node *right = bole_alloc_array(kind->alloc, node_bytes(TABLE_NODE_MAX), 1);

	if (right == NULL)
		return false;
	*right = (struct flash_node){.count = left->count - keep, .cap = TABLE_NODE_MAX};
	atomic_init(&right->refs, 1);
	memcpy(right->leaf, left->leaf + keep, right->count * sizeof right->leaf[0]);
	left->count = keep;
	insert_child(table->node, table->count, at + 1, right->leaf[0].start, right);
	table->count++;
	return true;
}

/* Splits a leaf of an owned node that has room; both halves have room for so many bytes. Where the
 * item goes behind the last one, it gets a leaf of its own. */
static bool split_leaf(const struct flash_table_kind *kind, struct flash_node *node, uint32_t at,
                       bool end, uint32_t more)
{
	struct flash_leaf *old = leaf_at(node, at);
	uint32_t keep = end ? old->count - 1 : old->count / 2;
	struct flash_leaf *right = leaf_copy(kind, old, keep, old->count - keep, more);
	struct flash_leaf *left = right == NULL ? NULL : leaf_copy(kind, old, 0, keep, more);

	if (left == NULL) {
		if (right != NULL)
			leaf_release(kind, right);
		return false;
	}
	leaf_release(kind, old);
	node->leaf[at].child = left;
	insert_child(node->leaf, node->count, at + 1, starts(right)[0], right);
	node->count++;
	return true;
}

static bool leaf_full(const struct flash_leaf *leaf, uint32_t more)
{
	return leaf->count == TABLE_LEAF_MAX ||
	       (leaf->count > 1 && leaf->end - leaf->dead + (uint64_t)more > TABLE_LEAF_BYTES);
}

static enum bole_status first_item(const struct flash_table_kind *kind, struct flash_table *table,
                                   uint32_t more)
{
	struct flash_leaf *leaf = leaf_new(kind, 1, more);
	struct flash_node *node =
	        bole_alloc_array(kind->alloc, node_bytes(TABLE_FIRST_CHILDREN), 1);

	if (leaf == NULL || node == NULL) {
		if (leaf != NULL)
			leaf_release(kind, leaf);
		bole_alloc_free(kind->alloc, node, node_bytes(TABLE_FIRST_CHILDREN), 1);
		return BOLE_E_NO_MEMORY;
	}
	*node = (struct flash_node){.count = 1, .cap = TABLE_FIRST_CHILDREN};
	atomic_init(&node->refs, 1);
	node->leaf[0] = (struct flash_child){0, leaf};
	table->node[0] = (struct flash_child){0, node};
	table->count = 1;
	return BOLE_OK;
}

/* Makes the way to key our own, with room for an item of so many bytes in the leaf. The items stay
 * as they are. */
static enum bole_status make_way(const struct flash_table_kind *kind, struct flash_table **root,
                                 struct bole_bytes key, uint32_t more, struct path *p)
{
	for (;;) {
		BOLE_TRY(own_root(kind, root));
		struct flash_table *table = *root;
		if (table->count == 0)
			BOLE_TRY(first_item(kind, table, more));
		*p = path_to(table, key);
		if (!own_node(kind, table, p->node))
			return BOLE_E_NO_MEMORY;
		struct flash_node *node = node_at(table, p->node);
		struct flash_leaf *leaf = leaf_at(node, p->leaf);
		if (p->exact || !leaf_full(leaf, more))
			return own_leaf(kind, node, p->leaf, more) ? BOLE_OK : BOLE_E_NO_MEMORY;
		bool end = p->slot == leaf->count;
		bool done = node->count == TABLE_NODE_MAX
		                    ? split_node(kind, table, p->node,
		                                 end && p->leaf + 1 == node->count)
		                    : split_leaf(kind, node, p->leaf, end, more);
		if (!done)
			return BOLE_E_NO_MEMORY;
	}
}

/* The first key below node and leaf may be another now. */
static void fix_starts(struct flash_table *table, const struct path *p)
{
	struct flash_node *node = node_at(table, p->node);

	node->leaf[p->leaf].start = starts(leaf_at(node, p->leaf))[0];
	table->node[p->node].start = node->leaf[0].start;
}

/* Into a leaf of our own that has room. */
static void place_item(struct flash_table *table, const struct path *p,
                       const struct flash_item *item)
{
	struct flash_leaf *leaf = leaf_at(node_at(table, p->node), p->leaf);
	uint32_t bytes = bytes_of(item);
	uint32_t behind = leaf->count - p->slot;

	if (p->exact) {
		struct flash_item *old = item_of(leaf, p->slot);
		table->bytes += item->value_len;
		table->bytes -= old->value_len;
		if (bytes_of(old) == bytes) {
			memcpy(old, item, bytes);
			return;
		}
		leaf->dead += bytes_of(old);
	} else {
		memmove(starts(leaf) + p->slot + 1, starts(leaf) + p->slot,
		        behind * sizeof(uint64_t));
		memmove(positions(leaf) + p->slot + 1, positions(leaf) + p->slot,
		        behind * sizeof(uint32_t));
		starts(leaf)[p->slot] = start_of(bole_flash_item_key(item));
		leaf->count++;
		table->items++;
		table->bytes += (uint64_t)item->key_len + item->value_len;
	}
	memcpy(items_of(leaf) + leaf->end, item, bytes);
	positions(leaf)[p->slot] = leaf->end;
	leaf->end += bytes;
	fix_starts(table, p);
}

enum bole_status bole_flash_table_set(const struct flash_table_kind *kind,
                                      struct flash_table **root, struct bole_bytes key,
                                      struct bole_bytes value)
{
	struct path p;

	BOLE_ASSERT(key.len <= UINT32_MAX / 4);
	BOLE_ASSERT(value.len <= UINT32_MAX / 4);
	uint32_t bytes = item_bytes(key.len, value.len);
	/* Key and value may lie in this very version: they are copied before anything moves. */
	struct flash_item *item = bole_alloc_array(kind->alloc, bytes, 1);
	if (item == NULL)
		return BOLE_E_NO_MEMORY;
	item->key_len = (uint32_t)key.len;
	item->value_len = (uint32_t)value.len;
	memset((uint8_t *)item + bytes - TABLE_ITEM_ALIGN, 0, TABLE_ITEM_ALIGN);
	if (key.len != 0)
		memcpy(item->bytes, key.ptr, key.len);
	if (value.len != 0)
		memcpy(item->bytes + key.len, value.ptr, value.len);
	key = bole_flash_item_key(item);
	enum bole_status rc = make_way(kind, root, key, bytes, &p);
	if (rc == BOLE_OK)
		place_item(*root, &p, item);
	bole_alloc_free(kind->alloc, item, bytes, 1);
	return rc;
}

enum bole_status bole_flash_table_share(const struct flash_table_kind *kind,
                                        struct flash_table **root, const struct flash_item *shared)
{
	return bole_flash_table_set(kind, root, bole_flash_item_key(shared),
	                            bole_flash_item_value(shared));
}

static void remove_child(struct flash_child *child, uint32_t *count, uint32_t at)
{
	memmove(child + at, child + at + 1, (*count - at - 1) * sizeof *child);
	--*count;
}

enum bole_status bole_flash_table_remove(const struct flash_table_kind *kind,
                                         struct flash_table **root, struct bole_bytes key)
{
	if (*root == NULL || bole_flash_table_find(*root, key) == NULL)
		return BOLE_OK;
	BOLE_TRY(own_root(kind, root));
	struct flash_table *table = *root;
	struct path p = path_to(table, key);
	BOLE_ASSERT(p.exact);
	if (!own_node(kind, table, p.node))
		return BOLE_E_NO_MEMORY;
	struct flash_node *node = node_at(table, p.node);
	if (!own_leaf(kind, node, p.leaf, 0))
		return BOLE_E_NO_MEMORY;
	struct flash_leaf *leaf = leaf_at(node, p.leaf);
	const struct flash_item *old = item_of(leaf, p.slot);
	uint32_t behind = leaf->count - p.slot - 1;
	table->items--;
	table->bytes -= (uint64_t)old->key_len + old->value_len;
	leaf->dead += bytes_of(old);
	memmove(starts(leaf) + p.slot, starts(leaf) + p.slot + 1, behind * sizeof(uint64_t));
	memmove(positions(leaf) + p.slot, positions(leaf) + p.slot + 1, behind * sizeof(uint32_t));
	leaf->count--;
	if (leaf->count == 0) {
		leaf_release(kind, leaf);
		remove_child(node->leaf, &node->count, p.leaf);
		p.leaf = 0;
	}
	if (node->count != 0) {
		fix_starts(table, &p);
		return BOLE_OK;
	}
	node_release(kind, node);
	remove_child(table->node, &table->count, p.node);
	return BOLE_OK;
}

/* -- Differences -- */

static const struct flash_table *diff_table(const struct flash_table_diff *d, int side)
{
	return side == 0 ? d->before : d->after;
}

static bool diff_ended(const struct flash_table_diff *d, int side)
{
	const struct flash_table *t = diff_table(d, side);

	return t == NULL || d->node[side] == t->count;
}

static const struct flash_node *diff_node(const struct flash_table_diff *d, int side)
{
	return node_at(diff_table(d, side), d->node[side]);
}

static const struct flash_leaf *diff_leaf(const struct flash_table_diff *d, int side)
{
	return leaf_at(diff_node(d, side), d->leaf[side]);
}

static void diff_next_leaf(struct flash_table_diff *d, int side)
{
	d->slot[side] = 0;
	if (++d->leaf[side] == diff_node(d, side)->count) {
		d->leaf[side] = 0;
		d->node[side]++;
	}
}

static void diff_step(struct flash_table_diff *d, int side)
{
	if (++d->slot[side] == diff_leaf(d, side)->count)
		diff_next_leaf(d, side);
}

/* Passes over a node or leaf that both stand at the start of. */
static bool diff_skip(struct flash_table_diff *d)
{
	if (diff_ended(d, 0) || diff_ended(d, 1) || d->slot[0] != 0 || d->slot[1] != 0)
		return false;
	if (d->leaf[0] == 0 && d->leaf[1] == 0 && diff_node(d, 0) == diff_node(d, 1)) {
		d->node[0]++;
		d->node[1]++;
		return true;
	}
	if (diff_leaf(d, 0) != diff_leaf(d, 1))
		return false;
	diff_next_leaf(d, 0);
	diff_next_leaf(d, 1);
	return true;
}

static const struct flash_item *diff_at(const struct flash_table_diff *d, int side)
{
	return diff_ended(d, side) ? NULL : item_of(diff_leaf(d, side), d->slot[side]);
}

bool bole_flash_table_diff(struct flash_table_diff *d, const struct flash_item **was,
                           const struct flash_item **is)
{
	for (;;) {
		if (diff_skip(d))
			continue;
		*was = diff_at(d, 0);
		*is = diff_at(d, 1);
		if (*was == NULL && *is == NULL)
			return false;
		int order = *was == NULL  ? 1
		            : *is == NULL ? -1
		                          : bole_bytes_compare(bole_flash_item_key(*was),
		                                               bole_flash_item_key(*is));
		bool same = order == 0 && bole_bytes_equal(bole_flash_item_value(*was),
		                                           bole_flash_item_value(*is));
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
