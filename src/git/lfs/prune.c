/* SPDX-License-Identifier: ISC */
/* Pointers, and objects that nothing points to. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"
#include "git/lfs/lfs.h"
#include "git/object/read.h"
#include "git/promise.h"

enum {
	POINTER_MAX = 1024, /* bytes of a pointer, as git-lfs has it */
	/* Deflated, however badly, behind a head and a base. */
	POINTER_STORED_MAX = POINTER_MAX + 128,
	NAMED_FIRST = 256,
	YIELD_EVERY = 64,
};

static bool cut_line(struct bole_bytes *rest, struct bole_bytes *line)
{
	const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);

	if (end == NULL)
		return false;
	*line = bole_bytes_of(rest->ptr, (size_t)(end - rest->ptr));
	*rest = bole_bytes_of(end + 1, rest->len - line->len - 1);
	return true;
}

static bool after(struct bole_bytes *line, const char *prefix)
{
	size_t len = strlen(prefix);

	if (!bole_bytes_start(*line, bole_bytes_z(prefix)))
		return false;
	*line = bole_bytes_of(line->ptr + len, line->len - len);
	return true;
}

bool bole_lfs_pointer_parse(struct bole_bytes blob, struct bole_oid *oid, uint64_t *size_bytes)
{
	struct bole_bytes line;
	bool have_oid = false;
	bool have_size = false;

	if (blob.len >= POINTER_MAX || !cut_line(&blob, &line) || !after(&line, "version "))
		return false;
	/* The second is what the first releases of git-lfs wrote. */
	if (!bole_bytes_equal(line, bole_bytes_z("https://git-lfs.github.com/spec/v1")) &&
	    !bole_bytes_equal(line, bole_bytes_z("http://git-media.io/v/2")))
		return false;
	while (cut_line(&blob, &line)) {
		if (after(&line, "oid sha256:")) {
			have_oid = bole_oid_parse((const char *)line.ptr, line.len,
			                          BOLE_HASH_SHA256, oid) == BOLE_OK;
		} else if (after(&line, "size ")) {
			*size_bytes = 0;
			have_size = line.len > 0 && line.len < 20;
			for (size_t i = 0; i < line.len && have_size; i++) {
				have_size = line.ptr[i] >= '0' && line.ptr[i] <= '9';
				*size_bytes = *size_bytes * 10 + (uint64_t)(line.ptr[i] - '0');
			}
		}
	}
	return have_oid && have_size;
}

/* -- what blobs name -- */

struct named {
	struct bole_alloc *alloc;
	struct bole_oid *ids;
	size_t count;
	size_t cap;
};

static enum bole_status add(struct named *n, const struct bole_oid *oid)
{
	if (n->count == n->cap) {
		size_t cap = n->cap == 0 ? NAMED_FIRST : n->cap * 2;
		struct bole_oid *ids =
		        n->cap == 0 ? bole_alloc_array(n->alloc, cap, sizeof *ids)
		                    : bole_alloc_resize(n->alloc, n->ids, n->cap, cap, sizeof *ids);
		if (ids == NULL)
			return BOLE_E_NO_MEMORY;
		n->ids = ids;
		n->cap = cap;
	}
	n->ids[n->count++] = *oid;
	return BOLE_OK;
}

/* A delta may be short and its blob long: each blob that could be a pointer is looked into. */
static enum bole_status look_into(struct bole_object_reader *reader, const struct bole_entry *entry,
                                  struct named *named)
{
	struct bole_bytes blob;
	struct bole_oid oid;
	uint64_t size;

	if (entry->type != BOLE_OBJECT_BLOB || entry->stored_bytes > POINTER_STORED_MAX)
		return BOLE_OK;
	enum bole_status rc = bole_object_read_entry(reader, entry, &blob);
	if (rc == BOLE_E_LIMIT) /* no pointer is that long */
		return BOLE_OK;
	if (rc == BOLE_OK && bole_lfs_pointer_parse(blob, &oid, &size))
		rc = add(named, &oid);
	return rc;
}

static enum bole_status gather(struct bole_platform *platform, struct bole_snapshot *view,
                               struct named *named)
{
	struct bole_object_reader *reader = NULL;
	struct bole_entry entry;
	struct bole_oid oid;
	uint64_t cursor = 0;
	unsigned step = 0;

	BOLE_TRY(bole_object_reader_open(view, named->alloc, NULL, &reader));
	enum bole_status rc = BOLE_OK;
	while (rc == BOLE_OK && (rc = bole_odb_next(view, &cursor, &oid, &entry)) == BOLE_OK) {
		rc = look_into(reader, &entry, named);
		if (++step % YIELD_EVERY == 0)
			platform->ops->yield(platform);
	}
	bole_object_reader_close(reader);
	return rc == BOLE_END ? BOLE_OK : rc;
}

static int compare(const void *a, const void *b)
{
	return bole_oid_compare(a, b);
}

static bool is_named(const struct named *n, const struct bole_oid *oid)
{
	return n->count != 0 && bsearch(oid, n->ids, n->count, sizeof *oid, compare) != NULL;
}

static enum bole_status prune(struct bole_store *store, uint32_t repo, const struct named *named,
                              const struct bole_lfs_prune_options *options,
                              struct bole_lfs_prune_result *out)
{
	struct bole_lfs_object object;
	struct bole_oid at;
	enum bole_status rc;
	bool first = true;

	while ((rc = bole_lfs_next(store, repo, named->alloc, first ? NULL : &at, &object)) ==
	       BOLE_OK) {
		bool young = options->before_s != INT64_MAX &&
		             (object.stored_s == 0 || object.stored_s >= options->before_s);

		at = object.oid;
		first = false;
		if (young || is_named(named, &object.oid)) {
			out->kept++;
			continue;
		}
		out->pruned++;
		out->pruned_bytes += object.removed ? 0 : object.size_bytes;
		if (!options->dry_run)
			BOLE_TRY(bole_lfs_remove(store, repo, named->alloc, &object.oid, false));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_lfs_prune(struct bole_platform *platform, struct bole_alloc *alloc,
                                struct bole_store *store, uint32_t repo,
                                const struct bole_lfs_prune_options *options,
                                struct bole_lfs_prune_result *out)
{
	struct named named = {.alloc = alloc};
	struct bole_snapshot *view = NULL;

	*out = (struct bole_lfs_prune_result){0};
	BOLE_TRY(bole_snapshot_open(store, repo, &view));
	bool partial = false;
	enum bole_status rc = bole_promise_any(view, &partial);
	/* What is missing may name files, too. */
	if (rc == BOLE_OK && partial)
		rc = BOLE_E_PROMISED;
	if (rc == BOLE_OK)
		rc = gather(platform, view, &named);
	bole_snapshot_close(view);
	if (rc == BOLE_OK)
		rc = bole_sort(platform, alloc, named.ids, named.count, sizeof *named.ids, compare);
	if (rc == BOLE_OK)
		rc = prune(store, repo, &named, options, out);
	bole_alloc_free(alloc, named.ids, named.cap, sizeof *named.ids);
	return rc;
}
