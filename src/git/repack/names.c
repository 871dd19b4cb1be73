/* SPDX-License-Identifier: ISC */
/* A hash of the path of what trees name, so that versions of one file come together, and in which
 * order things came: commits by their time, each tree and blob with the first that has it. Trees
 * are read from the roots of commits on, each once, with the first path that leads to it. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"
#include "git/repack/repack.h"

enum { STACK_FIRST = 256, NAMELESS = 1 };

struct waiting_tree {
	uint32_t item;
	uint32_t path;
};

/* A commit that is taken, and its tree, or BOLE_OID_NONE where that is elsewhere. */
struct dated {
	int64_t time;
	uint32_t item;
	uint32_t tree;
};

struct naming {
	struct repack *r;
	uint32_t rank; /* of what was met last */
	struct dated *commits;
	size_t commit_count;
	size_t commit_cap;
	struct waiting_tree *stack;
	size_t count;
	size_t cap;
};

static void meet(struct naming *n, uint32_t item)
{
	if (n->r->items[item].rank == 0)
		n->r->items[item].rank = ++n->rank;
}

static enum bole_status push(struct naming *n, uint32_t item, uint32_t path)
{
	if (n->r->items[item].walked)
		return BOLE_OK;
	n->r->items[item].walked = true;
	meet(n, item);
	if (n->count == n->cap) {
		size_t cap = n->cap == 0 ? STACK_FIRST : n->cap * 2;
		void *stack =
		        bole_alloc_resize(n->r->alloc, n->stack, n->cap, cap, sizeof *n->stack);

		if (stack == NULL)
			return BOLE_E_NO_MEMORY;
		n->stack = stack;
		n->cap = cap;
	}
	n->stack[n->count++] = (struct waiting_tree){item, path};
	return BOLE_OK;
}

static enum bole_status name_entries(struct naming *n, uint32_t path, struct bole_bytes rest)
{
	struct repack *r = n->r;
	struct bole_tree_entry entry;
	enum bole_status rc;

	while ((rc = bole_tree_next(&rest, r->algo, &entry)) == BOLE_OK) {
		uint32_t number = bole_oid_map_find(&r->map, entry.oid.bytes);

		if (number == BOLE_OID_NONE)
			continue;
		struct repack_item *item = &r->items[number];
		uint32_t hash = bole_path_hash(path, entry.name);

		if (item->name == 0)
			item->name = hash == 0 ? NAMELESS : hash;
		meet(n, number);
		if (item->type == BOLE_OBJECT_TREE)
			BOLE_TRY(push(n, number, bole_path_hash(hash, bole_bytes_z("/"))));
	}
	return rc == BOLE_END ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status drain(struct naming *n)
{
	struct repack *r = n->r;
	struct bole_bytes content;

	while (n->count > 0) {
		struct waiting_tree at = n->stack[--n->count];
		struct bole_entry entry = bole_repack_entry(&r->items[at.item]);

		BOLE_TRY(bole_object_read_entry(r->reader, &entry, &content));
		r->done++;
		BOLE_TRY(bole_repack_spend(r, content.len));
		BOLE_TRY(name_entries(n, at.path, content));
	}
	return BOLE_OK;
}

static enum bole_status date_commit(struct naming *n, uint32_t number)
{
	struct repack *r = n->r;
	struct bole_entry entry = bole_repack_entry(&r->items[number]);
	struct bole_commit commit;
	struct bole_bytes content;

	BOLE_TRY(bole_object_read_entry(r->reader, &entry, &content));
	BOLE_TRY(bole_repack_spend(r, content.len));
	if (bole_commit_parse(content, r->algo, &commit) != BOLE_OK)
		return BOLE_E_CORRUPT;
	uint32_t tree = bole_oid_map_find(&r->map, commit.tree.bytes);
	if (tree != BOLE_OID_NONE && r->items[tree].type != BOLE_OBJECT_TREE)
		tree = BOLE_OID_NONE;
	n->commits[n->commit_count++] = (struct dated){commit.commit_time, number, tree};
	return BOLE_OK;
}

/* Of two with the same time the one behind is older: packs begin with what is new. */
static int by_time(const void *left, const void *right)
{
	const struct dated *a = left;
	const struct dated *b = right;

	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return a->item > b->item ? -1 : a->item < b->item;
}

static enum bole_status date_commits(struct naming *n)
{
	struct repack *r = n->r;
	size_t count = 0;

	for (uint32_t i = 0; i < r->map.count; i++)
		count += r->items[i].type == BOLE_OBJECT_COMMIT;
	if (count == 0)
		return BOLE_OK;
	n->commits = bole_alloc_array(r->alloc, count, sizeof *n->commits);
	if (n->commits == NULL)
		return BOLE_E_NO_MEMORY;
	n->commit_cap = count;
	for (uint32_t i = 0; i < r->map.count; i++)
		if (r->items[i].type == BOLE_OBJECT_COMMIT)
			BOLE_TRY(date_commit(n, i));
	return bole_sort(r->platform, r->alloc, n->commits, count, sizeof *n->commits, by_time);
}

static enum bole_status name_all(struct naming *n)
{
	struct repack *r = n->r;

	BOLE_TRY(date_commits(n));
	for (size_t i = 0; i < n->commit_count; i++) {
		meet(n, n->commits[i].item);
		if (n->commits[i].tree != BOLE_OID_NONE)
			BOLE_TRY(push(n, n->commits[i].tree, 0));
		BOLE_TRY(drain(n));
	}
	/* Trees of commits that are elsewhere. */
	for (uint32_t i = 0; i < r->map.count; i++) {
		if (r->items[i].type != BOLE_OBJECT_TREE)
			continue;
		BOLE_TRY(push(n, i, 0));
		BOLE_TRY(drain(n));
	}
	return BOLE_OK;
}

/* Without two objects to compare names serve nothing. */
static bool is_needed(const struct repack *r)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < r->map.count && count < 2; i++) {
		const struct repack_item *item = &r->items[i];

		count += !item->kept &&
		         (item->type == BOLE_OBJECT_BLOB || item->type == BOLE_OBJECT_TREE);
	}
	return count == 2;
}

enum bole_status bole_repack_names(struct repack *r)
{
	struct naming n = {.r = r};

	if (!is_needed(r))
		return BOLE_OK;
	bole_repack_phase(r, "naming", 0);
	enum bole_status rc = name_all(&n);
	bole_alloc_free(r->alloc, n.stack, n.cap, sizeof *n.stack);
	bole_alloc_free(r->alloc, n.commits, n.commit_cap, sizeof *n.commits);
	return rc;
}
