/* SPDX-License-Identifier: ISC */
#include "git/gc/gc.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"

enum {
	WORK_YIELD = 32 * 1024, /* about a million instructions */
	WORK_OBJECT = 128,
	PROGRESS_NS = 250 * 1000 * 1000,
	CACHE_BYTES = 4 << 20,
	SHRINK_STEP = 256,
	ROOTS_AT_ONCE = 4096,
};

enum bole_status bole_gc_walk_open(struct gc_walk *walk)
{
	size_t cache = walk->options->cache_bytes;
	struct bole_object_reader_options reader = {.cache_bytes =
	                                                    cache == 0 ? CACHE_BYTES : cache};

	walk->algo = walk->mark->view->repo.algo;
	walk->batch = bole_alloc_array(walk->alloc, GC_BATCH, sizeof *walk->batch);
	if (walk->batch == NULL)
		return BOLE_E_NO_MEMORY;
	bole_boundary_init(&walk->boundary, walk->platform, walk->alloc, walk->algo);
	enum bole_status rc = bole_boundary_load(&walk->boundary, walk->mark->view);
	if (rc != BOLE_OK)
		return bole_gc_fail(walk, rc, "the shallow boundary cannot be read");
	bole_promises_init(&walk->promises, walk->platform, walk->alloc, walk->mark->view);
	return bole_object_reader_open(walk->mark->view, walk->alloc, &reader, &walk->reader);
}

void bole_gc_walk_close(struct gc_walk *walk)
{
	while (walk->top != NULL) {
		struct gc_block *block = walk->top;

		walk->top = block->below;
		bole_alloc_free(walk->alloc, block, 1, sizeof *block);
	}
	bole_alloc_free(walk->alloc, walk->spare, walk->spare == NULL ? 0 : 1, sizeof *walk->spare);
	bole_alloc_free(walk->alloc, walk->batch, GC_BATCH, sizeof *walk->batch);
	while (walk->reader != NULL && bole_object_reader_shrink(walk->reader, SHRINK_STEP))
		walk->platform->ops->yield(walk->platform);
	bole_object_reader_close(walk->reader);
	bole_boundary_release(&walk->boundary);
	bole_promises_release(&walk->promises);
	walk->spare = NULL;
	walk->batch = NULL;
	walk->reader = NULL;
}

static enum bole_status push(struct gc_walk *, const struct bole_oid *, uint8_t type);

/* The roots that came up lately go onto the stack: the store keeps few of them for us. */
static enum bole_status take_roots(struct gc_walk *walk)
{
	enum bole_status rc = BOLE_OK;
	struct bole_oid oid;
	bool fresh;

	for (unsigned i = 0; i < ROOTS_AT_ONCE && rc == BOLE_OK; i++) {
		rc = bole_mark_root(walk->mark, &oid);
		if (rc == BOLE_OK)
			rc = bole_mark_object(walk->mark, &oid, &fresh);
		if (rc == BOLE_E_NOT_FOUND) {
			rc = BOLE_OK; /* dropped since it was looked up */
			continue;
		}
		if (rc != BOLE_OK)
			break;
		walk->result->roots++;
		walk->marked += fresh;
		if (fresh)
			rc = push(walk, &oid, 0);
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status spend(struct gc_walk *walk, size_t bytes)
{
	const struct bole_gc_options *options = walk->options;

	walk->work += bytes + WORK_OBJECT;
	if (walk->work < WORK_YIELD)
		return BOLE_OK;
	walk->work = 0;
	walk->platform->ops->yield(walk->platform);
	BOLE_TRY(take_roots(walk));
	if (options->cancelled != NULL && options->cancelled(options->ctx))
		return bole_gc_fail(walk, BOLE_E_CLOSED, "cancelled");
	if (options->progress == NULL)
		return BOLE_OK;
	uint64_t now = walk->platform->ops->now_ns(walk->platform);
	if (now - walk->tick_ns >= PROGRESS_NS) {
		walk->tick_ns = now;
		options->progress(options->ctx, "marking", walk->marked, 0);
	}
	return BOLE_OK;
}

/* Damage that an object shows; what is worse is for the store's own words. */
static enum bole_status damaged(struct gc_walk *walk, const struct bole_oid *oid,
                                enum bole_status rc, const char *what)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	if (rc == BOLE_E_NOT_FOUND || rc == BOLE_E_INVALID)
		rc = BOLE_E_CORRUPT;
	return bole_gc_fail(walk, rc, "object %s %s", bole_oid_format(oid, hex), what);
}

/* -- The stack -- */

static size_t item_bytes(const struct gc_walk *walk)
{
	return 1 + bole_hash_bytes(walk->algo);
}

static enum bole_status push(struct gc_walk *walk, const struct bole_oid *oid, uint8_t type)
{
	size_t width = item_bytes(walk);

	if (walk->top == NULL || walk->top->used + width > GC_BLOCK_BYTES) {
		struct gc_block *block = walk->spare;

		walk->spare = NULL;
		if (block == NULL)
			block = bole_alloc_array(walk->alloc, 1, sizeof *block);
		if (block == NULL)
			return BOLE_E_NO_MEMORY;
		block->used = 0;
		block->below = walk->top;
		walk->top = block;
	}
	uint8_t *item = walk->top->items + walk->top->used;
	item[0] = type;
	memcpy(item + 1, oid->bytes, width - 1);
	walk->top->used += width;
	return BOLE_OK;
}

static bool pop(struct gc_walk *walk, struct bole_oid *oid, uint8_t *type)
{
	size_t width = item_bytes(walk);

	if (walk->top == NULL)
		return false;
	walk->top->used -= width;
	const uint8_t *item = walk->top->items + walk->top->used;
	*type = item[0];
	bole_oid_from_raw(item + 1, walk->algo, oid);
	if (walk->top->used > 0)
		return true;
	struct gc_block *empty = walk->top;
	walk->top = empty->below;
	if (walk->spare == NULL)
		walk->spare = empty;
	else
		bole_alloc_free(walk->alloc, empty, 1, sizeof *empty);
	return true;
}

/* -- Marking -- */

static enum bole_status batch_flush(struct gc_walk *);

/* The entry of a marked object; its type must be that of the link (0 = any). */
static enum bole_status entry_find(struct gc_walk *walk, const struct bole_oid *oid, uint8_t type,
                                   struct bole_entry *entry)
{
	const struct gc_replacement *replacement = walk->replacement;
	enum bole_status rc = BOLE_OK;

	if (replacement == NULL || !replacement->find(replacement->ctx, oid, entry))
		rc = bole_odb_find(walk->mark->view, oid, entry);
	if (rc != BOLE_OK)
		return damaged(walk, oid, rc, "is missing or cannot be found");
	if (type != 0 && type != entry->type)
		return damaged(walk, oid, BOLE_E_CORRUPT, "is of another type than its link says");
	return BOLE_OK;
}

static enum bole_status batch_add(struct gc_walk *walk, const struct bole_oid *oid)
{
	struct gc_blob *blob = &walk->batch[walk->batched];

	BOLE_TRY(entry_find(walk, oid, BOLE_OBJECT_BLOB, &blob->entry));
	blob->oid = *oid;
	walk->batched++;
	walk->result->blobs++;
	return spend(walk, 0);
}

/* A link to an object. type 0 = any. */
static enum bole_status meet(struct gc_walk *walk, const struct bole_oid *oid, uint8_t type)
{
	bool fresh;
	enum bole_status rc = bole_mark_object(walk->mark, oid, &fresh);

	if (rc == BOLE_E_NOT_FOUND && (type == BOLE_OBJECT_TREE || type == BOLE_OBJECT_BLOB)) {
		rc = bole_promises_find(&walk->promises, oid, type);
		if (rc == BOLE_OK)
			return rc;
	}
	if (rc == BOLE_E_NOT_FOUND) {
		char hex[BOLE_OID_HEX_MAX + 1];
		char from[BOLE_OID_HEX_MAX + 1];

		return bole_gc_fail(walk, BOLE_E_CORRUPT, "object %s links to %s, which is missing",
		                    bole_oid_format(&walk->at, from), bole_oid_format(oid, hex));
	}
	BOLE_TRY(rc);
	if (!fresh)
		return BOLE_OK;
	walk->marked++;
	if (type != BOLE_OBJECT_BLOB || walk->flushing)
		return push(walk, oid, type);
	BOLE_TRY(batch_add(walk, oid));
	return walk->batched < GC_BATCH ? BOLE_OK : batch_flush(walk);
}

/* -- Delta bases -- */

static enum bole_status head_read(struct gc_walk *walk, const struct bole_entry *entry,
                                  struct bole_entry_head *head)
{
	uint8_t gathered[BOLE_ENTRY_HEAD_MAX];
	struct bole_bytes bytes;
	size_t len = 0;

	BOLE_TRY(bole_odb_view(walk->mark->view, entry, 0, &bytes));
	enum bole_status rc = bole_entry_head_parse(bytes, walk->algo, head);
	/* A store may show a long entry a byte at a time. */
	while (rc == BOLE_AGAIN && len < sizeof gathered && len < entry->stored_bytes) {
		BOLE_TRY(bole_odb_view(walk->mark->view, entry, len, &bytes));
		size_t n = bytes.len < sizeof gathered - len ? bytes.len : sizeof gathered - len;
		memcpy(gathered + len, bytes.ptr, n);
		len += n;
		rc = bole_entry_head_parse(bole_bytes_of(gathered, len), walk->algo, head);
	}
	return rc == BOLE_AGAIN || rc == BOLE_E_INVALID ? BOLE_E_CORRUPT : rc;
}

static bool same_entry(const struct bole_entry *a, const struct bole_entry *b)
{
	return a->extent == b->extent && a->offset == b->offset;
}

/* One step down a chain: marks the base of an entry. *more: the base's entry is none that a lookup
 * returns, so nobody else will follow its base; it is in *entry then. */
static enum bole_status base_meet(struct gc_walk *walk, struct bole_entry *entry, bool *more)
{
	struct bole_snapshot *view = walk->mark->view;
	struct bole_entry_head head;
	struct bole_entry found;
	struct bole_entry base;
	struct bole_oid oid;
	enum bole_status rc;

	*more = false;
	rc = head_read(walk, entry, &head);
	if (rc != BOLE_OK)
		return damaged(walk, &walk->at, rc, "or a delta base of it cannot be read");
	if (head.type == BOLE_ENTRY_REF_DELTA)
		return meet(walk, &head.base, entry->type);
	if (head.type != BOLE_ENTRY_OFS_DELTA)
		return BOLE_OK;
	rc = head.base_distance > entry->offset ? BOLE_E_CORRUPT : BOLE_OK;
	if (rc == BOLE_OK)
		rc = bole_odb_entry_at(view, entry->extent, entry->offset - head.base_distance,
		                       &oid, &base);
	if (rc != BOLE_OK)
		return damaged(walk, &walk->at, rc, "has a delta base that is missing");
	BOLE_TRY(meet(walk, &oid, entry->type));
	BOLE_TRY(entry_find(walk, &oid, entry->type, &found));
	*more = !same_entry(&found, &base);
	*entry = base;
	return BOLE_OK;
}

/* Every base of an entry, as far as no lookup leads to it. Ends: offsets only fall. */
static enum bole_status chain_meet(struct gc_walk *walk, struct bole_entry entry)
{
	bool more = true;

	while (more) {
		BOLE_TRY(base_meet(walk, &entry, &more));
		BOLE_TRY(spend(walk, 0));
	}
	return BOLE_OK;
}

static int blob_compare(const void *left, const void *right)
{
	const struct bole_entry *a = &((const struct gc_blob *)left)->entry;
	const struct bole_entry *b = &((const struct gc_blob *)right)->entry;

	if (a->extent != b->extent)
		return a->extent < b->extent ? -1 : 1;
	return a->offset == b->offset ? 0 : a->offset < b->offset ? -1 : 1;
}

/* Blobs that come up as bases go onto the stack meanwhile. */
static enum bole_status batch_flush(struct gc_walk *walk)
{
	enum bole_status rc = BOLE_OK;
	struct bole_oid at = walk->at;

	walk->flushing = true;
	/* In any order it is right; sorted it is fast. */
	(void)!bole_sort(walk->platform, walk->alloc, walk->batch, walk->batched,
	                 sizeof *walk->batch, blob_compare);
	for (size_t i = 0; rc == BOLE_OK && i < walk->batched; i++) {
		walk->at = walk->batch[i].oid;
		rc = chain_meet(walk, walk->batch[i].entry);
	}
	walk->at = at;
	walk->batched = 0;
	walk->flushing = false;
	return rc;
}

/* -- Links -- */

static enum bole_status tree_links(struct gc_walk *walk, struct bole_bytes rest)
{
	struct bole_tree_entry entry;
	enum bole_status rc;

	walk->result->trees++;
	while ((rc = bole_tree_next(&rest, walk->algo, &entry)) == BOLE_OK) {
		uint32_t kind = entry.mode & 0170000;

		if (kind == BOLE_MODE_SUBMODULE)
			continue;
		BOLE_TRY(meet(walk, &entry.oid,
		              kind == BOLE_MODE_TREE ? BOLE_OBJECT_TREE : BOLE_OBJECT_BLOB));
		BOLE_TRY(spend(walk, 0));
	}
	return rc == BOLE_END ? BOLE_OK : damaged(walk, &walk->at, rc, "is a malformed tree");
}

/* The parents first: its trees are then done before them, so few things wait at a time. */
static enum bole_status commit_links(struct gc_walk *walk, struct bole_bytes content)
{
	struct bole_commit commit;
	struct bole_oid parent;

	walk->result->commits++;
	if (bole_commit_parse(content, walk->algo, &commit) != BOLE_OK)
		return damaged(walk, &walk->at, BOLE_E_CORRUPT, "is a malformed commit");
	bole_boundary_cut(&walk->boundary.ends, &walk->at, &commit);
	for (size_t i = 0; i < commit.parent_count; i++) {
		bole_commit_parent(&commit, walk->algo, i, &parent);
		BOLE_TRY(meet(walk, &parent, BOLE_OBJECT_COMMIT));
	}
	return meet(walk, &commit.tree, BOLE_OBJECT_TREE);
}

static enum bole_status links(struct gc_walk *walk, const struct bole_entry *entry)
{
	struct bole_bytes content;
	struct bole_tag tag;

	enum bole_status rc = bole_object_read_entry(walk->reader, entry, &content);
	if (rc != BOLE_OK)
		return damaged(walk, &walk->at, rc, "cannot be read");
	BOLE_TRY(spend(walk, content.len));
	switch (entry->type) {
	case BOLE_OBJECT_TREE: return tree_links(walk, content);
	case BOLE_OBJECT_COMMIT: return commit_links(walk, content);
	case BOLE_OBJECT_TAG:
		walk->result->tags++;
		if (bole_tag_parse(content, walk->algo, &tag) != BOLE_OK)
			return damaged(walk, &walk->at, BOLE_E_CORRUPT, "is a malformed tag");
		return meet(walk, &tag.target, tag.target_type);
	default: return BOLE_E_CORRUPT;
	}
}

/* Looks into what is on the stack until there is nothing. */
static enum bole_status drain(struct gc_walk *walk)
{
	struct bole_entry entry;
	uint8_t type;

	while (pop(walk, &walk->at, &type)) {
		BOLE_TRY(entry_find(walk, &walk->at, type, &entry));
		if (entry.type == BOLE_OBJECT_BLOB) {
			BOLE_TRY(batch_add(walk, &walk->at));
			if (walk->batched == GC_BATCH)
				BOLE_TRY(batch_flush(walk));
			continue;
		}
		BOLE_TRY(chain_meet(walk, entry));
		BOLE_TRY(links(walk, &entry));
	}
	return BOLE_OK;
}

enum bole_status bole_gc_walk_root(struct gc_walk *walk, const struct bole_oid *oid)
{
	bool fresh;

	walk->result->roots++;
	BOLE_TRY(bole_mark_object(walk->mark, oid, &fresh));
	if (!fresh)
		return BOLE_OK;
	walk->marked++;
	BOLE_TRY(push(walk, oid, 0));
	return drain(walk);
}

enum bole_status bole_gc_walk_finish(struct gc_walk *walk)
{
	BOLE_TRY(drain(walk));
	while (walk->batched > 0) {
		BOLE_TRY(batch_flush(walk));
		BOLE_TRY(drain(walk));
	}
	return BOLE_OK;
}
