/* SPDX-License-Identifier: ISC */
/* New trees out of an old one and sorted edits: one merge a directory, directories on an explicit
 * stack, a tree written when its directory is done. Only directories with edits are read at all.
 *
 * Both sides come in Git's order of trees: the old entries by definition, the edits because byte
 * order of whole keys is that order (a directory compares as if its name ended in a slash). */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "kv/kv.h"

enum { MODE_TYPE = 0170000 };

struct frame {
	uint8_t *data; /* the old tree */
	size_t len;
	struct bole_bytes rest;
	struct bole_tree_entry old; /* the next old entry */
	bool has_old;
	const struct kv_edit *edits; /* all below this directory */
	size_t edit_count;
	size_t edit_at;
	size_t prefix_len;      /* of this directory's path, with its slash */
	struct bole_bytes name; /* in the directory above */
	bool blocked;           /* a value of that name stays there: it must end up empty */
	struct bole_buffer out;
};

struct build {
	struct bole_object_reader *reader;
	struct bole_object_writer *writer;
	struct bole_alloc *alloc;
	uint8_t algo;
	struct frame *frames;
	size_t count;
	size_t cap;
};

/* -- The stack -- */

static enum bole_status old_load(struct build *build, struct frame *frame,
                                 const struct bole_oid *tree)
{
	struct bole_bytes data;
	uint8_t type;

	enum bole_status rc = bole_object_read(build->reader, tree, &type, &data);
	if (rc == BOLE_E_NOT_FOUND || (rc == BOLE_OK && type != BOLE_OBJECT_TREE))
		rc = BOLE_E_CORRUPT;
	if (rc != BOLE_OK || data.len == 0)
		return rc;
	frame->data = bole_alloc_array(build->alloc, data.len, 1);
	if (frame->data == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(frame->data, data.ptr, data.len);
	frame->len = data.len;
	frame->rest = bole_bytes_of(frame->data, frame->len);
	return BOLE_OK;
}

/* Takes what frame has so far; tree NULL = a directory that is new. */
static enum bole_status frame_push(struct build *build, struct frame frame,
                                   const struct bole_oid *tree)
{
	if (build->count > BOLE_TREE_DEPTH_MAX)
		return BOLE_E_LIMIT;
	if (build->count == build->cap) {
		size_t cap = build->cap == 0 ? 8 : build->cap * 2;
		struct frame *frames = bole_alloc_resize(build->alloc, build->frames, build->cap,
		                                         cap, sizeof *frames);

		if (frames == NULL)
			return BOLE_E_NO_MEMORY;
		build->frames = frames;
		build->cap = cap;
	}
	bole_buffer_init(&frame.out, build->alloc, SIZE_MAX);
	if (tree != NULL)
		BOLE_TRY(old_load(build, &frame, tree));
	build->frames[build->count++] = frame;
	return BOLE_OK;
}

static void frame_pop(struct build *build)
{
	struct frame *frame = &build->frames[--build->count];

	bole_alloc_free(build->alloc, frame->data, frame->len, 1);
	bole_buffer_release(&frame->out);
}

/* -- One directory -- */

static enum bole_status emit(struct frame *frame, uint8_t algo, uint32_t mode,
                             struct bole_bytes name, const struct bole_oid *oid)
{
	bole_buffer_format(&frame->out, "%o ", (unsigned)mode);
	bole_buffer_append(&frame->out, name.ptr, name.len);
	bole_buffer_byte(&frame->out, 0);
	bole_buffer_append(&frame->out, oid->bytes, bole_hash_bytes(algo));
	return frame->out.rc;
}

/* The edit whose key is exactly name in this directory, or NULL. */
static const struct kv_edit *edit_of(const struct frame *frame, struct bole_bytes name)
{
	size_t low = 0;
	size_t high = frame->edit_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct bole_bytes key = frame->edits[middle].key;
		struct bole_bytes tail =
		        bole_bytes_of(key.ptr + frame->prefix_len, key.len - frame->prefix_len);
		int order = bole_bytes_compare(tail, name);

		if (order == 0)
			return &frame->edits[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* A directory of that name stays or comes; no value may be set in its place. */
static bool value_is_set(const struct frame *frame, struct bole_bytes name)
{
	const struct kv_edit *edit = edit_of(frame, name);

	return edit != NULL && !edit->remove;
}

/* The old tree has a value of that name, and it is not removed. */
static bool value_stays(const struct frame *frame, uint8_t algo, struct bole_bytes name)
{
	struct bole_bytes rest = bole_bytes_of(frame->data, frame->len);
	struct bole_tree_entry entry;

	while (bole_tree_next(&rest, algo, &entry) == BOLE_OK)
		if ((entry.mode & MODE_TYPE) != BOLE_MODE_TREE &&
		    bole_bytes_equal(entry.name, name))
			return edit_of(frame, name) == NULL;
	return false;
}

static enum bole_status keep_old(struct build *build, struct frame *frame)
{
	frame->has_old = false;
	if ((frame->old.mode & MODE_TYPE) == BOLE_MODE_TREE && value_is_set(frame, frame->old.name))
		return BOLE_E_EXISTS;
	return emit(frame, build->algo, frame->old.mode, frame->old.name, &frame->old.oid);
}

/* old_mode 0 = there was no such value. */
static enum bole_status apply_value(struct build *build, struct frame *frame,
                                    struct bole_bytes name, uint32_t old_mode)
{
	const struct kv_edit *edit = &frame->edits[frame->edit_at++];
	uint32_t mode = edit->mode;

	if (edit->remove)
		return BOLE_OK;
	if (mode == 0)
		mode = old_mode == BOLE_MODE_EXECUTABLE ? BOLE_MODE_EXECUTABLE : BOLE_MODE_FILE;
	return emit(frame, build->algo, mode, name, &edit->oid);
}

/* Descends into the directory that the next edits lie in. */
static enum bole_status enter(struct build *build, struct frame *frame, struct bole_bytes name,
                              const struct bole_oid *tree)
{
	size_t first = frame->edit_at;
	size_t prefix_len = frame->prefix_len + name.len + 1;
	struct bole_bytes prefix = bole_bytes_of(frame->edits[first].key.ptr, prefix_len);

	while (frame->edit_at < frame->edit_count &&
	       bole_bytes_start(frame->edits[frame->edit_at].key, prefix))
		frame->edit_at++;
	struct frame child = {
	        .edits = frame->edits + first,
	        .edit_count = frame->edit_at - first,
	        .prefix_len = prefix_len,
	        .name = name,
	        .blocked = tree == NULL && value_stays(frame, build->algo, name),
	};
	return frame_push(build, child, tree);
}

static enum bole_status finish(struct build *build, struct bole_oid *out)
{
	struct frame *frame = &build->frames[build->count - 1];
	struct bole_bytes data = bole_bytes_of(frame->out.ptr, frame->out.len);
	struct bole_bytes name = frame->name;
	bool root = build->count == 1;

	if (!root && data.len == 0) {
		frame_pop(build);
		return BOLE_OK;
	}
	if (frame->blocked || (!root && value_is_set(frame - 1, name)))
		return BOLE_E_EXISTS;
	BOLE_TRY(bole_object_write(build->writer, BOLE_OBJECT_TREE, data, out));
	frame_pop(build);
	if (root)
		return BOLE_OK;
	return emit(&build->frames[build->count - 1], build->algo, BOLE_MODE_TREE, name, out);
}

/* One step of the merge in the topmost directory. */
static enum bole_status step(struct build *build, struct bole_oid *out)
{
	struct frame *frame = &build->frames[build->count - 1];
	struct bole_tree_entry edit = {.mode = BOLE_MODE_FILE};
	bool has_edit = frame->edit_at < frame->edit_count;
	bool value = false;

	if (!frame->has_old) {
		enum bole_status rc = bole_tree_next(&frame->rest, build->algo, &frame->old);

		if (rc == BOLE_E_INVALID)
			return BOLE_E_CORRUPT;
		frame->has_old = rc == BOLE_OK;
	}
	if (!frame->has_old && !has_edit)
		return finish(build, out);
	if (has_edit) {
		edit.name = bole_kv_component(frame->edits[frame->edit_at].key, frame->prefix_len,
		                              &value);
		edit.mode = value ? BOLE_MODE_FILE : BOLE_MODE_TREE;
	}
	int order = !has_edit         ? -1
	            : !frame->has_old ? 1
	                              : bole_tree_entry_compare(&frame->old, &edit);
	if (order < 0)
		return keep_old(build, frame);
	if (order == 0)
		frame->has_old = false;
	if (value)
		return apply_value(build, frame, edit.name, order == 0 ? frame->old.mode : 0);
	struct bole_oid tree = frame->old.oid;
	return enter(build, frame, edit.name, order == 0 ? &tree : NULL);
}

enum bole_status bole_kv_tree_build(struct bole_object_reader *reader,
                                    struct bole_object_writer *writer, struct bole_alloc *alloc,
                                    uint8_t algo, const struct bole_oid *root,
                                    const struct kv_edit *edits, size_t count, struct bole_oid *out)
{
	struct build build = {.reader = reader, .writer = writer, .alloc = alloc, .algo = algo};
	struct frame top = {.edits = edits, .edit_count = count};

	enum bole_status rc = frame_push(&build, top, root);
	while (rc == BOLE_OK && build.count > 0)
		rc = step(&build, out);
	while (build.count > 0)
		frame_pop(&build);
	bole_alloc_free(alloc, build.frames, build.cap, sizeof *build.frames);
	return rc;
}
