/* SPDX-License-Identifier: ISC */
#include "git/bitmap/walk.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/store.h"
#include "git/negotiate.h"

enum {
	LIST_FIRST = 256,
	WORK_YIELD = 32 * 1024,
	WORK_OBJECT = 128,
	NEAR_MAX = 128, /* commits above the ends of history */
};

enum bole_status bole_bitmap_walk_open(struct bitmap_walk *walk, struct bole_platform *platform,
                                       struct bole_alloc *alloc, struct bole_snapshot *snapshot,
                                       const struct bole_bitmap *index)
{
	*walk = (struct bitmap_walk){
	        .platform = platform, .alloc = alloc, .snapshot = snapshot, .index = index};
	bole_oid_map_init(&walk->met, platform, alloc, index->algo, sizeof(struct bitmap_met));
	return bole_object_reader_open(snapshot, alloc, NULL, &walk->reader);
}

void bole_bitmap_walk_close(struct bitmap_walk *walk)
{
	bole_alloc_free(walk->alloc, walk->stack, walk->stack_cap, sizeof *walk->stack);
	bole_alloc_free(walk->alloc, walk->extra, walk->extra_cap, sizeof *walk->extra);
	bole_oid_map_release(&walk->met);
	bole_object_reader_close(walk->reader);
	walk->reader = NULL;
}

/* -- Sets -- */

static size_t words_for(const struct bitmap_walk *walk)
{
	return (walk->index->positions + walk->extra_count + 63) / 64 + 1;
}

enum bole_status bole_bitmap_bits_grow(const struct bitmap_walk *walk, struct bitmap_bits *bits)
{
	size_t count = words_for(walk);

	if (count <= bits->count)
		return BOLE_OK;
	count += count / 16 + 16;
	uint64_t *words =
	        bole_alloc_resize(walk->alloc, bits->words, bits->count, count, sizeof *words);
	if (words == NULL)
		return BOLE_E_NO_MEMORY;
	memset(words + bits->count, 0, (count - bits->count) * sizeof *words);
	bits->words = words;
	bits->count = count;
	return BOLE_OK;
}

void bole_bitmap_bits_free(const struct bitmap_walk *walk, struct bitmap_bits *bits)
{
	bole_alloc_free(walk->alloc, bits->words, bits->count, sizeof *bits->words);
	*bits = (struct bitmap_bits){NULL, 0};
}

/* -- Items -- */

static enum bole_status list_add(struct bitmap_walk *walk, uint32_t **list, size_t *count,
                                 size_t *cap, uint32_t item)
{
	if (*count == *cap) {
		size_t more = *cap == 0 ? LIST_FIRST : *cap * 2;
		uint32_t *items = bole_alloc_resize(walk->alloc, *list, *cap, more, sizeof *items);

		if (items == NULL)
			return BOLE_E_NO_MEMORY;
		*list = items;
		*cap = more;
	}
	(*list)[(*count)++] = item;
	return BOLE_OK;
}

static enum bole_status spend(struct bitmap_walk *walk, size_t bytes)
{
	walk->work += bytes + WORK_OBJECT;
	if (walk->work < WORK_YIELD)
		return BOLE_OK;
	walk->work = 0;
	walk->platform->ops->yield(walk->platform);
	return walk->tick == NULL ? BOLE_OK : walk->tick(walk->tick_ctx);
}

static enum bole_status place(struct bitmap_walk *walk, const struct bole_oid *oid, uint32_t item,
                              uint32_t *position)
{
	struct bole_entry entry;

	BOLE_TRY(bole_odb_find(walk->snapshot, oid, &entry));
	if (++walk->objects > walk->objects_max && walk->objects_max != 0)
		return BOLE_E_LIMIT;
	bitmap_met(walk, item)->type = entry.type;
	BOLE_TRY(bole_bitmap_position(walk->index, walk->snapshot, oid, &entry, position));
	if (*position != BITMAP_NONE)
		return BOLE_OK;
	if (walk->making != NULL)
		return bole_bitmap_add_id(walk->making, oid, entry.type, position);
	*position = walk->index->positions + (uint32_t)walk->extra_count;
	return list_add(walk, &walk->extra, &walk->extra_count, &walk->extra_cap, item);
}

enum bole_status bole_bitmap_meet(struct bitmap_walk *walk, const struct bole_oid *oid,
                                  uint8_t type, uint32_t *item)
{
	bool added;

	BOLE_TRY(bole_oid_map_put(&walk->met, oid->bytes, item, &added));
	if (added) {
		uint32_t position = BITMAP_NONE;
		enum bole_status rc = place(walk, oid, *item, &position);

		if (rc != BOLE_OK) {
			bole_oid_map_remove(&walk->met, *item);
			return rc;
		}
		bitmap_met(walk, *item)->position = position;
	}
	return type == 0 || bitmap_met(walk, *item)->type == type ? BOLE_OK : BOLE_E_CORRUPT;
}

/* -- The walk -- */

static bool is_known(const struct bitmap_bits *bits, uint32_t position)
{
	return bits != NULL && position / 64 < bits->count && bitmap_has(bits, position);
}

/* Takes an object in; false: it was in already. */
static enum bole_status take(struct bitmap_walk *walk, const struct bitmap_reach *reach,
                             uint32_t item, bool *fresh)
{
	uint32_t position = bitmap_met(walk, item)->position;

	*fresh = false;
	if (is_known(reach->set, position) || is_known(reach->skip, position))
		return BOLE_OK;
	BOLE_TRY(bole_bitmap_bits_grow(walk, reach->set));
	bitmap_add(reach->set, position);
	if (reach->fresh != NULL) {
		BOLE_TRY(bole_bitmap_bits_grow(walk, reach->fresh));
		bitmap_add(reach->fresh, position);
	}
	*fresh = true;
	return BOLE_OK;
}

/* The hash that the paths of a tree's entries begin with. */
static uint32_t path_of(const struct bitmap_walk *walk, uint32_t tree)
{
	uint32_t name = walk->making == NULL ? 0 : walk->making->names[tree];

	return name == 0 || name == BITMAP_NAME_ROOT ? 0
	                                             : bole_path_hash(name, bole_bytes_of("/", 1));
}

/* The first path that leads to an object is the one that counts. */
static void note_name(struct bitmap_walk *walk, uint32_t item, uint32_t path,
                      struct bole_bytes part)
{
	uint32_t *name;

	if (walk->making == NULL)
		return;
	name = &walk->making->names[bitmap_met(walk, item)->position];
	if (*name == 0)
		*name = part.len == 0 ? path : bole_path_hash(path, part);
}

static enum bole_status push(struct bitmap_walk *walk, const struct bole_oid *oid, uint8_t type)
{
	const struct bole_bytes none = {NULL, 0};
	uint32_t item;
	enum bole_status rc = bole_bitmap_meet(walk, oid, type, &item);

	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_E_CORRUPT; /* a link leads nowhere */
	BOLE_TRY(rc);
	if (type == BOLE_OBJECT_TREE)
		note_name(walk, item, BITMAP_NAME_ROOT, none);
	return list_add(walk, &walk->stack, &walk->stack_count, &walk->stack_cap, item);
}

static enum bole_status follow_tree(struct bitmap_walk *walk, const struct bitmap_reach *reach,
                                    uint32_t tree, struct bole_bytes rest)
{
	uint32_t path = path_of(walk, bitmap_met(walk, tree)->position);
	struct bole_tree_entry entry;
	enum bole_status rc;
	uint32_t item;
	bool fresh;

	while ((rc = bole_tree_next(&rest, walk->index->algo, &entry)) == BOLE_OK) {
		if (entry.mode == BOLE_MODE_SUBMODULE)
			continue;
		if (entry.mode == BOLE_MODE_TREE) {
			rc = bole_bitmap_meet(walk, &entry.oid, BOLE_OBJECT_TREE, &item);
		} else {
			rc = bole_bitmap_meet(walk, &entry.oid, BOLE_OBJECT_BLOB, &item);
			if (rc == BOLE_OK)
				rc = take(walk, reach, item, &fresh);
		}
		if (rc == BOLE_OK)
			note_name(walk, item, path, entry.name);
		if (rc == BOLE_OK && entry.mode == BOLE_MODE_TREE &&
		    !is_known(reach->set, bitmap_met(walk, item)->position))
			rc = list_add(walk, &walk->stack, &walk->stack_count, &walk->stack_cap,
			              item);
		if (rc != BOLE_OK)
			return rc == BOLE_E_NOT_FOUND ? BOLE_E_CORRUPT : rc;
	}
	return rc == BOLE_END ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status follow_commit(struct bitmap_walk *walk, struct bole_bytes content,
                                      bool tree_last)
{
	struct bole_commit commit;
	struct bole_oid parent;

	if (bole_commit_parse(content, walk->index->algo, &commit) != BOLE_OK)
		return BOLE_E_CORRUPT;
	if (tree_last)
		BOLE_TRY(push(walk, &commit.tree, BOLE_OBJECT_TREE));
	for (size_t i = commit.parent_count; i-- > 0;) {
		bole_commit_parent(&commit, walk->index->algo, i, &parent);
		BOLE_TRY(push(walk, &parent, BOLE_OBJECT_COMMIT));
	}
	return tree_last ? BOLE_OK : push(walk, &commit.tree, BOLE_OBJECT_TREE);
}

static enum bole_status follow(struct bitmap_walk *walk, const struct bitmap_reach *reach,
                               const struct bole_oid *oid, uint32_t item)
{
	uint32_t type = bitmap_met(walk, item)->type;
	struct bole_bytes content;
	struct bole_tag tag;

	if (type == BOLE_OBJECT_BLOB)
		return BOLE_OK;
	BOLE_TRY(bole_object_read(walk->reader, oid, NULL, &content));
	BOLE_TRY(spend(walk, content.len));
	switch (type) {
	/* What is near in time is near in the log, so a tree comes before other commits; but where
	 * one of these may have a set, little of the tree is left once that is known. */
	case BOLE_OBJECT_COMMIT: return follow_commit(walk, content, reach->sets);
	case BOLE_OBJECT_TREE: return follow_tree(walk, reach, item, content);
	default:
		if (bole_tag_parse(content, walk->index->algo, &tag) != BOLE_OK)
			return BOLE_E_CORRUPT;
		return push(walk, &tag.target, tag.target_type);
	}
}

enum bole_status bole_bitmap_reach(struct bitmap_walk *walk, const struct bitmap_reach *reach,
                                   const struct bole_oid *start)
{
	struct bole_oid oid;
	uint32_t item;
	bool fresh;

	BOLE_TRY(bole_bitmap_meet(walk, start, 0, &item));
	BOLE_TRY(bole_bitmap_bits_grow(walk, reach->set));
	walk->stack_count = 0;
	BOLE_TRY(list_add(walk, &walk->stack, &walk->stack_count, &walk->stack_cap, item));
	while (walk->stack_count > 0) {
		item = walk->stack[--walk->stack_count];
		uint32_t type = bitmap_met(walk, item)->type;

		bole_oid_from_raw(bole_oid_map_key(&walk->met, item), walk->index->algo, &oid);
		if (type == BOLE_OBJECT_COMMIT && reach->sets &&
		    !is_known(reach->set, bitmap_met(walk, item)->position) &&
		    !is_known(reach->skip, bitmap_met(walk, item)->position)) {
			const struct bitmap_set *set = bole_bitmap_find(walk->index, &oid);

			if (set != NULL) {
				BOLE_TRY(bole_bitmap_unite(walk->index, set, reach->set));
				continue;
			}
		}
		BOLE_TRY(take(walk, reach, item, &fresh));
		if (fresh)
			BOLE_TRY(follow(walk, reach, &oid, item));
	}
	return BOLE_OK;
}

/* -- Where history ends -- */

/* A commit, what its tree holds, and, unless it is an end, its parents into ids. */
static enum bole_status near_commit(struct bitmap_walk *walk, const struct bitmap_reach *reach,
                                    const struct bole_oid *oid, bool end, struct bole_buffer *ids)
{
	const struct bitmap_set *closure = bole_bitmap_closure(walk->index, oid);
	struct bitmap_reach below = {.set = reach->set, .skip = reach->skip};
	struct bole_bytes content;
	struct bole_commit commit;
	struct bole_oid parent;

	if (closure != NULL)
		BOLE_TRY(bole_bitmap_unite_closure(walk->index, closure, reach->set));
	if (closure != NULL && end)
		return BOLE_OK;
	BOLE_TRY(bole_object_read(walk->reader, oid, NULL, &content));
	BOLE_TRY(spend(walk, content.len));
	if (bole_commit_parse(content, walk->index->algo, &commit) != BOLE_OK)
		return BOLE_E_CORRUPT;
	for (size_t i = 0; i < commit.parent_count && !end; i++) {
		bole_commit_parent(&commit, walk->index->algo, i, &parent);
		bole_buffer_append(ids, parent.bytes, walk->index->key_bytes);
	}
	BOLE_TRY(ids->rc);
	return closure != NULL ? BOLE_OK : bole_bitmap_reach(walk, &below, &commit.tree);
}

static enum bole_status near(struct bitmap_walk *walk, const struct bitmap_reach *reach,
                             const struct bole_id_list *ends, struct bole_buffer *ids)
{
	size_t width = walk->index->key_bytes;
	struct bole_oid oid;
	size_t commits = 0;
	uint32_t item;
	bool fresh;

	for (size_t at = 0; at < ids->len; at += width) {
		bole_oid_from_raw(ids->ptr + at, walk->index->algo, &oid);
		BOLE_TRY(bole_bitmap_meet(walk, &oid, 0, &item));
		if (bitmap_met(walk, item)->type != BOLE_OBJECT_COMMIT)
			return BOLE_E_CORRUPT;
		BOLE_TRY(take(walk, reach, item, &fresh));
		if (!fresh)
			continue;
		if (++commits > NEAR_MAX)
			return BOLE_E_LIMIT;
		BOLE_TRY(near_commit(walk, reach, &oid,
		                     bole_id_list_find(ends, &oid) != BOLE_OID_NONE, ids));
	}
	return BOLE_OK;
}

enum bole_status bole_bitmap_reach_near(struct bitmap_walk *walk, const struct bitmap_reach *reach,
                                        const struct bole_id_list *ends,
                                        const struct bole_oid *start)
{
	struct bole_oid oid = *start;
	struct bole_buffer ids;
	uint32_t item;
	bool fresh;

	for (;;) {
		struct bole_bytes content;
		struct bole_tag tag;

		BOLE_TRY(bole_bitmap_meet(walk, &oid, 0, &item));
		BOLE_TRY(bole_bitmap_bits_grow(walk, reach->set));
		if (bitmap_met(walk, item)->type != BOLE_OBJECT_TAG)
			break;
		BOLE_TRY(take(walk, reach, item, &fresh));
		BOLE_TRY(bole_object_read(walk->reader, &oid, NULL, &content));
		BOLE_TRY(spend(walk, content.len));
		if (bole_tag_parse(content, walk->index->algo, &tag) != BOLE_OK)
			return BOLE_E_CORRUPT;
		oid = tag.target;
	}
	if (bitmap_met(walk, item)->type != BOLE_OBJECT_COMMIT)
		return bole_bitmap_reach(walk, reach, &oid);
	bole_buffer_init(&ids, walk->alloc, SIZE_MAX);
	bole_buffer_append(&ids, oid.bytes, walk->index->key_bytes);
	enum bole_status rc = ids.rc != BOLE_OK ? ids.rc : near(walk, reach, ends, &ids);
	bole_buffer_release(&ids);
	return rc;
}
