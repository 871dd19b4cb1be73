/* SPDX-License-Identifier: ISC */
/* The walk over the tree, in its order, with a copy of each tree on the way down. What the
 * attribute export-ignore names stays out. */
#include "git/fetch/archive.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/limits.h"
#include "git/fetch/treeish.h"
#include "git/pattern/attributes.h"

enum {
	OUTPUT_BYTES = 64 * 1024,
	TREES_BYTES_MAX = 64 << 20, /* of the trees on the way */
	GZIP_HEAD_BYTES = 10,
	FRAMES_FIRST = 16,
};

/* One tree on the way down. */
struct frame {
	uint8_t *tree;
	size_t len;
	struct bole_bytes rest;
	struct bole_oid oid;
	size_t path_len; /* of the tree's own path */
	bool written;    /* it is in the archive, or needs no entry */
};

struct walk {
	struct bole_archive *a;
	struct bole_deflater *deflater;
	struct bole_attributes *attributes;
	struct bole_archive_content *content;
	struct frame *frames;
	size_t depth;
	size_t cap;
	size_t tree_bytes;
	char path[BOLE_ARCHIVE_PATH_MAX];
	size_t path_len;
};

/* -- What is asked for -- */

/* An entry is asked for when a path names it or a folder above it; a folder also when a path leads
 * through it. */
static bool asked_for(const struct bole_archive_ask *ask, struct bole_bytes path, bool folder)
{
	for (size_t i = 0; i < ask->path_count; i++) {
		struct bole_bytes limit = ask->paths[i];

		if (limit.len == 0)
			return true;
		if (bole_bytes_start(path, limit) &&
		    (path.len == limit.len || path.ptr[limit.len] == '/'))
			return true;
		if (folder && bole_bytes_start(limit, path) && limit.ptr[path.len] == '/')
			return true;
	}
	return ask->path_count == 0;
}

/* -- The walk -- */

static enum bole_status emit(struct walk *w, size_t path_len, const struct bole_oid *oid,
                             uint32_t mode)
{
	struct bole_archive *a = w->a;
	size_t above = a->ask->prefix.len;
	struct bole_archive_entry entry = {
	        .path = bole_bytes_of(w->path, path_len), .oid = *oid, .mode = mode};

	BOLE_TRY(bole_session_tick(a->s));
	if (mode != BOLE_MODE_TREE && mode != BOLE_MODE_SUBMODULE)
		BOLE_TRY(bole_object_size(a->reader, oid, NULL, &entry.bytes));
	if ((mode & 0170000) == (BOLE_MODE_FILE & 0170000))
		BOLE_TRY(bole_archive_content_of(w->content, w->attributes,
		                                 bole_bytes_of(w->path + above, path_len - above),
		                                 &entry));
	if (a->ask->format == BOLE_ARCHIVE_ZIP)
		return bole_archive_zip_entry(a, &entry, w->deflater);
	return bole_archive_tar_entry(a, &entry);
}

/* Folders are written with the first file in them, like git's: none with nothing inside. */
static enum bole_status emit_folders(struct walk *w)
{
	for (size_t i = 0; i < w->depth; i++) {
		struct frame *frame = &w->frames[i];

		if (frame->written)
			continue;
		BOLE_TRY(emit(w, frame->path_len, &frame->oid, BOLE_MODE_TREE));
		frame->written = true;
	}
	return BOLE_OK;
}

/* The folder's .gitattributes, where it has one that is a file. */
static enum bole_status enter_attributes(struct walk *w, const struct frame *frame)
{
	size_t above = w->a->ask->prefix.len;
	size_t len = w->depth == 1 ? 0 : frame->path_len - above - 1; /* without its '/' */
	struct bole_bytes rest = frame->rest, content = bole_bytes_of("", 0);
	struct bole_tree_entry entry;
	enum bole_status rc;
	uint64_t bytes;
	uint8_t type;

	while ((rc = bole_tree_next(&rest, frame->oid.algo, &entry)) == BOLE_OK) {
		bool file = entry.mode == BOLE_MODE_FILE || entry.mode == BOLE_MODE_EXECUTABLE;

		if (!file || !bole_bytes_equal(entry.name, bole_bytes_z(".gitattributes")))
			continue;
		BOLE_TRY(bole_object_size(w->a->reader, &entry.oid, &type, &bytes));
		if (type != BOLE_OBJECT_BLOB)
			return BOLE_E_CORRUPT;
		if (bytes > BOLE_ATTRIBUTES_BYTES_MAX)
			return BOLE_E_LIMIT;
		BOLE_TRY(bole_object_read(w->a->reader, &entry.oid, NULL, &content));
		break;
	}
	if (rc != BOLE_OK && rc != BOLE_END)
		return BOLE_E_CORRUPT;
	return bole_attributes_enter(w->attributes, len, content);
}

static enum bole_status is_ignored(struct walk *w, struct bole_bytes path, bool folder, bool *out)
{
	struct bole_attribute ignore;

	BOLE_TRY(bole_attributes_get(w->attributes, path, folder, "export-ignore", &ignore));
	*out = ignore.state == BOLE_ATTRIBUTE_SET;
	return BOLE_OK;
}

static void drop(struct walk *w)
{
	struct frame *frame = &w->frames[--w->depth];

	w->tree_bytes -= frame->len;
	bole_alloc_free(w->a->s->svc->alloc, frame->tree, frame->len + 1, 1);
}

static enum bole_status enter(struct walk *w, const struct bole_oid *tree)
{
	struct bole_alloc *alloc = w->a->s->svc->alloc;
	struct bole_bytes content;

	if (w->depth == BOLE_TREE_DEPTH_MAX)
		return BOLE_E_LIMIT;
	if (w->depth == w->cap) {
		size_t cap = w->cap == 0 ? FRAMES_FIRST : 2 * w->cap;
		struct frame *grown =
		        bole_alloc_resize(alloc, w->frames, w->cap, cap, sizeof *grown);
		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		w->frames = grown;
		w->cap = cap;
	}
	BOLE_TRY(bole_object_read(w->a->reader, tree, NULL, &content));
	if (content.len > TREES_BYTES_MAX - w->tree_bytes)
		return BOLE_E_LIMIT;
	uint8_t *copy = bole_alloc_array(alloc, content.len + 1, 1);
	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	if (content.len > 0)
		memcpy(copy, content.ptr, content.len);
	w->tree_bytes += content.len;
	w->frames[w->depth++] = (struct frame){.tree = copy,
	                                       .len = content.len,
	                                       .rest = bole_bytes_of(copy, content.len),
	                                       .oid = *tree,
	                                       .path_len = w->path_len};
	enum bole_status rc = enter_attributes(w, &w->frames[w->depth - 1]);
	if (rc != BOLE_OK)
		drop(w);
	return rc;
}

static void leave(struct walk *w)
{
	bole_attributes_leave(w->attributes);
	drop(w);
}

static enum bole_status append_path(struct walk *w, struct bole_bytes text)
{
	if (text.len > sizeof w->path - w->path_len)
		return BOLE_E_LIMIT;
	if (text.len > 0)
		memcpy(w->path + w->path_len, text.ptr, text.len);
	w->path_len += text.len;
	return BOLE_OK;
}

static enum bole_status visit(struct walk *w, const struct bole_tree_entry *entry)
{
	const struct bole_archive_ask *ask = w->a->ask;
	bool folder = entry->mode == BOLE_MODE_TREE, ignored;

	BOLE_TRY(append_path(w, entry->name));
	struct bole_bytes inner =
	        bole_bytes_of(w->path + ask->prefix.len, w->path_len - ask->prefix.len);

	if (!asked_for(ask, inner, folder))
		return BOLE_OK;
	if (!folder)
		BOLE_TRY(emit_folders(w));
	BOLE_TRY(is_ignored(w, inner, folder, &ignored));
	if (ignored)
		return BOLE_OK;
	if (folder || entry->mode == BOLE_MODE_SUBMODULE)
		BOLE_TRY(append_path(w, bole_bytes_z("/")));
	return folder ? enter(w, &entry->oid) : emit(w, w->path_len, &entry->oid, entry->mode);
}

static enum bole_status walk_tree(struct walk *w, const struct bole_oid *tree)
{
	const struct bole_archive_ask *ask = w->a->ask;
	struct bole_tree_entry entry;

	BOLE_TRY(append_path(w, ask->prefix));
	if (ask->prefix.len > 0 && ask->prefix.ptr[ask->prefix.len - 1] == '/')
		BOLE_TRY(emit(w, w->path_len, tree, BOLE_MODE_TREE));
	BOLE_TRY(enter(w, tree));
	w->frames[0].written = true;
	while (w->depth > 0) {
		struct frame *frame = &w->frames[w->depth - 1];

		w->path_len = frame->path_len;
		enum bole_status rc = bole_tree_next(&frame->rest, tree->algo, &entry);
		if (rc == BOLE_OK)
			rc = visit(w, &entry);
		else if (rc == BOLE_END)
			leave(w);
		if (rc < 0)
			return rc;
	}
	return BOLE_OK;
}

/* -- The whole -- */

static enum bole_status write_entries(struct walk *w, const struct bole_oid *tree)
{
	struct bole_archive *a = w->a;
	bool zip = a->ask->format == BOLE_ARCHIVE_ZIP;

	if (!zip)
		bole_archive_tar_begin(a);
	BOLE_TRY(walk_tree(w, tree));
	if (zip)
		return bole_archive_zip_end(a);
	bole_archive_tar_end(a);
	return bole_output_flush(a->out);
}

static enum bole_status write_gzip(struct walk *w, const struct bole_oid *tree,
                                   struct bole_output *final)
{
	static const uint8_t head[GZIP_HEAD_BYTES] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
	struct bole_archive *a = w->a;
	struct bole_archive_deflate stream;
	struct bole_output inner;
	uint8_t tail[8];
	uint8_t *buffer = bole_alloc_array(a->s->svc->alloc, OUTPUT_BYTES, 1);

	if (buffer == NULL)
		return BOLE_E_NO_MEMORY;
	bole_output_write(final, head, sizeof head);
	bole_archive_deflate_begin(&stream, w->deflater, final);
	bole_output_init(&inner, &stream.writer, buffer, OUTPUT_BYTES);
	a->out = &inner;
	enum bole_status rc = write_entries(w, tree);
	if (rc == BOLE_OK)
		rc = bole_archive_deflate_end(&stream);
	a->out = final;
	bole_put_le32(tail, stream.crc);
	bole_put_le32(tail + 4, (uint32_t)stream.taken);
	if (rc == BOLE_OK)
		bole_output_write(final, tail, sizeof tail);
	bole_alloc_free(a->s->svc->alloc, buffer, OUTPUT_BYTES, 1);
	return rc;
}

static enum bole_status write_archive(struct bole_archive *a, const struct bole_oid *tree)
{
	struct bole_alloc *alloc = a->s->svc->alloc;
	struct walk *w = bole_alloc_zeroed(alloc, 1, sizeof *w);
	enum bole_status rc = w == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;

	if (rc != BOLE_OK)
		return rc;
	w->a = a;
	rc = bole_attributes_open(alloc, &w->attributes);
	if (rc == BOLE_OK)
		rc = bole_archive_content_open(a, &w->content);
	if (rc == BOLE_OK && a->ask->format != BOLE_ARCHIVE_TAR)
		rc = bole_deflater_open(alloc, a->ask->level, &w->deflater);
	if (rc == BOLE_OK)
		rc = a->ask->format == BOLE_ARCHIVE_TGZ ? write_gzip(w, tree, a->out)
		                                        : write_entries(w, tree);
	while (w->depth > 0)
		leave(w);
	bole_deflater_close(w->deflater);
	bole_archive_content_close(w->content);
	bole_attributes_close(w->attributes);
	bole_alloc_free(alloc, w->frames, w->cap, sizeof *w->frames);
	bole_alloc_free(alloc, w, 1, sizeof *w);
	return rc;
}

static enum bole_status find_and_write(struct bole_archive *a, struct bole_output *out)
{
	struct bole_platform *platform = a->s->svc->platform;
	struct bole_treeish found;

	BOLE_TRY(bole_treeish_find(a->s, a->reader, a->ask->treeish, &found));
	if (found.mode != BOLE_MODE_TREE)
		return BOLE_E_NOT_FOUND;
	for (size_t i = 0; i < a->ask->path_count; i++) {
		struct bole_oid oid = found.oid;
		uint32_t mode = BOLE_MODE_TREE;
		BOLE_TRY(bole_tree_path(a->s, a->reader, &oid, &mode, a->ask->paths[i]));
	}
	a->commit = found.commit;
	a->time_s = found.time_s;
	if (bole_oid_is_null(&a->commit) && platform->ops->wall_s(platform, &a->time_s) != BOLE_OK)
		a->time_s = 0;
	a->out = out;
	BOLE_TRY(write_archive(a, &found.oid));
	return bole_output_flush(out);
}

enum bole_status bole_archive_write(struct bole_session *s, const struct bole_archive_ask *ask,
                                    struct bole_writer *writer)
{
	struct bole_archive a = {.s = s, .ask = ask};
	struct bole_alloc *alloc = s->svc->alloc;
	struct bole_output out;
	uint8_t *buffer = bole_alloc_array(alloc, OUTPUT_BYTES, 1);

	if (buffer == NULL)
		return BOLE_E_NO_MEMORY;
	bole_output_init(&out, writer, buffer, OUTPUT_BYTES);
	enum bole_status rc = bole_object_reader_open(s->snapshot, alloc, NULL, &a.reader);
	if (rc == BOLE_OK)
		rc = find_and_write(&a, &out);
	bole_object_reader_close(a.reader);
	if (a.directory.alloc != NULL)
		bole_buffer_release(&a.directory);
	bole_alloc_free(alloc, buffer, OUTPUT_BYTES, 1);
	return rc;
}
