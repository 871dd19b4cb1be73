/* SPDX-License-Identifier: ISC */
/* Keys in byte order. Git sorts a directory as if its name ended in a slash, so walking trees depth
 * first gives whole keys in byte order. One frame a directory; a frame keeps its tree's bytes. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "kv/kv.h"

struct frame {
	uint8_t *data;
	size_t len;
	struct bole_bytes rest;
	size_t key_len; /* of the path above, with its slash */
};

struct bole_kv_cursor {
	struct bole_kv_view *view;
	struct bole_alloc *alloc;
	struct bole_buffer prefix;
	struct bole_buffer from;
	struct bole_buffer to;
	struct frame *frames;
	size_t frame_count;
	size_t frame_cap;
	struct bole_buffer key;
};

static enum bole_status frame_push(struct bole_kv_cursor *cursor, const struct bole_oid *tree)
{
	struct bole_bytes data;
	uint8_t type;

	if (cursor->frame_count == BOLE_TREE_DEPTH_MAX)
		return BOLE_E_LIMIT;
	if (cursor->frame_count == cursor->frame_cap) {
		size_t cap = cursor->frame_cap == 0 ? 8 : cursor->frame_cap * 2;
		struct frame *frames = bole_alloc_resize(cursor->alloc, cursor->frames,
		                                         cursor->frame_cap, cap, sizeof *frames);

		if (frames == NULL)
			return BOLE_E_NO_MEMORY;
		cursor->frames = frames;
		cursor->frame_cap = cap;
	}
	enum bole_status rc = bole_object_read(cursor->view->reader, tree, &type, &data);
	if (rc == BOLE_E_NOT_FOUND || (rc == BOLE_OK && type != BOLE_OBJECT_TREE))
		rc = BOLE_E_CORRUPT;
	if (rc != BOLE_OK)
		return rc;
	struct frame frame = {.len = data.len, .key_len = cursor->key.len};
	if (data.len > 0) {
		frame.data = bole_alloc_array(cursor->alloc, data.len, 1);
		if (frame.data == NULL)
			return BOLE_E_NO_MEMORY;
		memcpy(frame.data, data.ptr, data.len);
	}
	frame.rest = bole_bytes_of(frame.data, frame.len);
	cursor->frames[cursor->frame_count++] = frame;
	return BOLE_OK;
}

static void frame_pop(struct bole_kv_cursor *cursor)
{
	struct frame *frame = &cursor->frames[--cursor->frame_count];

	bole_alloc_free(cursor->alloc, frame->data, frame->len, 1);
}

enum bole_status bole_kv_cursor_open(struct bole_kv_view *view, const struct bole_kv_range *range,
                                     struct bole_kv_cursor **out)
{
	struct bole_alloc *alloc = view->kv->alloc;
	struct bole_kv_cursor *cursor = bole_alloc_zeroed(alloc, 1, sizeof *cursor);

	*out = NULL;
	if (cursor == NULL)
		return BOLE_E_NO_MEMORY;
	cursor->view = view;
	cursor->alloc = alloc;
	bole_buffer_init(&cursor->prefix, alloc, BOLE_PATH_BYTES_MAX);
	bole_buffer_init(&cursor->from, alloc, BOLE_PATH_BYTES_MAX);
	bole_buffer_init(&cursor->to, alloc, BOLE_PATH_BYTES_MAX);
	/* Trees from elsewhere may hold longer paths than our keys. */
	bole_buffer_init(&cursor->key, alloc, SIZE_MAX);
	if (range != NULL) {
		bole_buffer_append(&cursor->prefix, range->prefix.ptr, range->prefix.len);
		bole_buffer_append(&cursor->from, range->from.ptr, range->from.len);
		bole_buffer_append(&cursor->to, range->to.ptr, range->to.len);
	}
	enum bole_status rc = cursor->prefix.rc;
	if (rc == BOLE_OK)
		rc = cursor->from.rc;
	if (rc == BOLE_OK)
		rc = cursor->to.rc;
	if (rc == BOLE_OK && view->has_commit)
		rc = frame_push(cursor, &view->tree);
	if (rc != BOLE_OK) {
		bole_kv_cursor_close(cursor);
		return rc;
	}
	*out = cursor;
	return BOLE_OK;
}

void bole_kv_cursor_close(struct bole_kv_cursor *cursor)
{
	if (cursor == NULL)
		return;
	while (cursor->frame_count > 0)
		frame_pop(cursor);
	bole_alloc_free(cursor->alloc, cursor->frames, cursor->frame_cap, sizeof *cursor->frames);
	bole_buffer_release(&cursor->prefix);
	bole_buffer_release(&cursor->from);
	bole_buffer_release(&cursor->to);
	bole_buffer_release(&cursor->key);
	bole_alloc_free(cursor->alloc, cursor, 1, sizeof *cursor);
}

static struct bole_bytes bytes_of(const struct bole_buffer *buffer)
{
	return bole_bytes_of(buffer->ptr, buffer->len);
}

/* -1: before the range, 0: in it or (a directory) possibly so, 1: everything from here is past. */
static int range_side(const struct bole_kv_cursor *cursor, bool directory)
{
	struct bole_bytes key = bytes_of(&cursor->key);
	struct bole_bytes prefix = bytes_of(&cursor->prefix);
	struct bole_bytes from = bytes_of(&cursor->from);

	if (cursor->to.len > 0 && bole_bytes_compare(key, bytes_of(&cursor->to)) >= 0)
		return 1;
	/* A directory's keys start with its path: it matters when one of both starts the other. */
	bool reaches = directory && bole_bytes_start(prefix, key);
	if (!bole_bytes_start(key, prefix) && !reaches)
		return bole_bytes_compare(key, prefix) < 0 ? -1 : 1;
	if (bole_bytes_compare(key, from) < 0 && !(directory && bole_bytes_start(from, key)))
		return -1;
	return 0;
}

enum bole_status bole_kv_cursor_next(struct bole_kv_cursor *cursor, struct bole_kv_item *item)
{
	uint8_t algo = cursor->view->kv->repo.algo;
	struct bole_tree_entry entry;

	while (cursor->frame_count > 0) {
		struct frame *frame = &cursor->frames[cursor->frame_count - 1];
		enum bole_status rc = bole_tree_next(&frame->rest, algo, &entry);

		if (rc == BOLE_END) {
			frame_pop(cursor);
			continue;
		}
		if (rc != BOLE_OK)
			return BOLE_E_CORRUPT;
		bool directory = (entry.mode & 0170000) == BOLE_MODE_TREE;
		cursor->key.len = frame->key_len;
		bole_buffer_append(&cursor->key, entry.name.ptr, entry.name.len);
		if (directory)
			bole_buffer_byte(&cursor->key, '/');
		if (cursor->key.rc != BOLE_OK)
			return cursor->key.rc;
		int side = range_side(cursor, directory);
		if (side > 0) {
			while (cursor->frame_count > 0)
				frame_pop(cursor);
		} else if (side == 0 && directory) {
			BOLE_TRY(frame_push(cursor, &entry.oid));
		} else if (side == 0) {
			*item = (struct bole_kv_item){bytes_of(&cursor->key), entry.oid,
			                              entry.mode};
			return BOLE_OK;
		}
	}
	return BOLE_END;
}
