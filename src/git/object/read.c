/* SPDX-License-Identifier: ISC */
/* Whole objects out of stored entries.
 *
 * A chain of deltas is walked down with an explicit stack of links until a whole object or a cached
 * one is found, then applied upwards. The bases met on the way go into the cache: neighbours in a
 * pack share them. A chain longer than BOLE_DELTA_DEPTH_MAX ends in BOLE_E_LIMIT, so a cycle in a
 * damaged store cannot hold us.
 */
#include "git/object/read.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/deflate.h"
#include "base/memory.h"
#include "git/delta.h"
#include "git/object/cache.h"
#include "git/object/object.h"
#include "git/promise.h"

enum {
	CACHE_BYTES_DEFAULT = 8 << 20,
	OBJECT_BYTES_DEFAULT = 512 << 20,
	STREAM_BYTES = 32 * 1024,  /* a piece of a streamed object */
	STREAM_FROM = 1024 * 1024, /* smaller objects are inflated whole */
	CHAIN_FIRST = 64,          /* links that the stack has room for at first */
	DELTA_BYTES = 16 * 1024,   /* deltas up to this length share one buffer */
	DELTA_SIZES_MAX = 20,      /* two sizes of 64 bits in base 128 */
};

struct chain_link {
	struct bole_entry entry;
	struct bole_entry_head head;
};

struct bole_object_reader {
	struct bole_snapshot *snapshot;
	struct bole_alloc *alloc;
	uint64_t object_bytes_max;
	struct bole_inflater *inflater;
	struct object_cache cache;
	struct cached_object *shown; /* lent to the caller until the next call */
	uint8_t *delta;              /* DELTA_BYTES, made when first used */
	struct bole_bytes at_hand; /* the whole entry that head_read saw; ends with the next view */
	struct bole_oid missing;   /* what was promised only; algo 0: nothing */
	struct chain_link *links;
	size_t link_count;
	size_t link_cap;
};

enum bole_status bole_object_reader_open(struct bole_snapshot *snapshot, struct bole_alloc *alloc,
                                         const struct bole_object_reader_options *options,
                                         struct bole_object_reader **out)
{
	struct bole_object_reader *reader = bole_alloc_zeroed(alloc, 1, sizeof *reader);

	*out = NULL;
	if (reader == NULL)
		return BOLE_E_NO_MEMORY;
	reader->snapshot = snapshot;
	reader->alloc = alloc;
	size_t cache_bytes = CACHE_BYTES_DEFAULT;
	reader->object_bytes_max = OBJECT_BYTES_DEFAULT;
	if (options != NULL && options->cache_bytes != 0)
		cache_bytes = options->cache_bytes;
	if (options != NULL && options->object_bytes_max != 0)
		reader->object_bytes_max = options->object_bytes_max;
	bole_object_cache_init(&reader->cache, alloc, cache_bytes);
	enum bole_status rc = bole_inflater_open(alloc, &reader->inflater);
	if (rc != BOLE_OK) {
		bole_object_reader_close(reader);
		return rc;
	}
	*out = reader;
	return BOLE_OK;
}

static void shown_drop(struct bole_object_reader *reader)
{
	bole_object_cache_drop(&reader->cache, reader->shown);
	reader->shown = NULL;
}

bool bole_object_reader_shrink(struct bole_object_reader *reader, size_t count)
{
	bool more = true;

	shown_drop(reader);
	for (; count > 0 && more; count--)
		more = bole_object_cache_shrink(&reader->cache);
	return more;
}

void bole_object_reader_close(struct bole_object_reader *reader)
{
	if (reader == NULL)
		return;
	shown_drop(reader);
	bole_object_cache_release(&reader->cache);
	bole_inflater_close(reader->inflater);
	bole_alloc_free(reader->alloc, reader->delta, DELTA_BYTES, 1);
	bole_alloc_free(reader->alloc, reader->links, reader->link_cap, sizeof *reader->links);
	bole_alloc_free(reader->alloc, reader, 1, sizeof *reader);
}

/* -- One entry -- */

/* Malformed bytes that came out of a store are damage, whoever sent them. */
static enum bole_status stored(enum bole_status rc)
{
	return rc == BOLE_E_INVALID || rc == BOLE_AGAIN || rc == BOLE_END ? BOLE_E_CORRUPT : rc;
}

static enum bole_status head_read(struct bole_object_reader *reader, const struct bole_entry *entry,
                                  struct bole_entry_head *head)
{
	uint8_t algo = reader->snapshot->repo.algo;
	uint8_t gathered[BOLE_ENTRY_HEAD_MAX];
	struct bole_bytes bytes;
	size_t len = 0;

	reader->at_hand = (struct bole_bytes){NULL, 0};
	BOLE_TRY(bole_odb_view(reader->snapshot, entry, 0, &bytes));
	if (bytes.len == entry->stored_bytes)
		reader->at_hand = bytes;
	enum bole_status rc = bole_entry_head_parse(bytes, algo, head);
	/* A store may show a long entry a byte at a time. */
	while (rc == BOLE_AGAIN && len < sizeof gathered && len < entry->stored_bytes) {
		BOLE_TRY(bole_odb_view(reader->snapshot, entry, len, &bytes));
		size_t n = bytes.len < sizeof gathered - len ? bytes.len : sizeof gathered - len;
		memcpy(gathered + len, bytes.ptr, n);
		len += n;
		rc = bole_entry_head_parse(bole_bytes_of(gathered, len), algo, head);
	}
	if (rc == BOLE_OK && head->head_bytes >= entry->stored_bytes)
		return BOLE_E_CORRUPT;
	return stored(rc);
}

/* Inflates in steps, handing out at most cap bytes: *got of them; *ended = the stream is complete
 * and took every stored byte. Begins at *pos of the entry and moves it on. */
static enum bole_status inflate_some(struct bole_object_reader *reader,
                                     const struct bole_entry *entry, uint64_t *pos, uint8_t *dst,
                                     size_t cap, size_t *got, bool *ended)
{
	*got = 0;
	*ended = false;
	for (;;) {
		struct bole_bytes in = {NULL, 0};

		if (*pos < entry->stored_bytes)
			BOLE_TRY(bole_odb_view(reader->snapshot, entry, *pos, &in));
		size_t took = in.len;
		size_t made = cap - *got;
		enum bole_status rc =
		        bole_inflate_step(reader->inflater, in.ptr, &took, dst + *got, &made);
		*pos += took;
		*got += made;
		if (rc == BOLE_END) {
			*ended = true;
			return *pos == entry->stored_bytes ? BOLE_OK : BOLE_E_CORRUPT;
		}
		if (rc != BOLE_OK)
			return rc;
		if (took == 0 && made == 0)
			/* No progress: the room is used up, or the stored bytes are. */
			return *got == cap && cap > 0 ? BOLE_OK : BOLE_E_CORRUPT;
	}
}

/* Exactly len inflated bytes of the entry after its head; what is at hand is this entry or nothing.
 */
static enum bole_status entry_inflate(struct bole_object_reader *reader,
                                      const struct bole_entry *entry, size_t head_bytes,
                                      uint8_t *dst, size_t len)
{
	struct bole_bytes in;
	uint64_t pos = head_bytes;
	size_t got;
	bool ended;

	if (reader->at_hand.len != 0)
		in = bole_bytes_of(reader->at_hand.ptr + pos, reader->at_hand.len - head_bytes);
	else
		BOLE_TRY(bole_odb_view(reader->snapshot, entry, pos, &in));
	reader->at_hand = (struct bole_bytes){NULL, 0};
	if (in.len == entry->stored_bytes - pos) {
		size_t used;

		BOLE_TRY(bole_inflate_whole(reader->inflater, in, dst, len, &used));
		return used == in.len ? BOLE_OK : BOLE_E_CORRUPT;
	}
	bole_inflate_begin(reader->inflater);
	BOLE_TRY(inflate_some(reader, entry, &pos, dst, len, &got, &ended));
	if (!ended) {
		uint8_t spare;
		size_t more;

		/* The last bytes of the stream (its checksum) may need one more step. */
		BOLE_TRY(inflate_some(reader, entry, &pos, &spare, 1, &more, &ended));
		if (more > 0)
			return BOLE_E_CORRUPT;
	}
	return ended && got == len ? BOLE_OK : BOLE_E_CORRUPT;
}

/* The object that an entry holds without reference to others. */
static enum bole_status object_inflate(struct bole_object_reader *reader,
                                       const struct chain_link *link, struct cached_object **out)
{
	*out = NULL;
	if (link->head.inflated_bytes > reader->object_bytes_max ||
	    link->head.inflated_bytes > PTRDIFF_MAX)
		return BOLE_E_LIMIT;
	struct cached_object *object =
	        bole_object_cache_make(&reader->cache, link->entry.extent, link->entry.offset,
	                               (size_t)link->head.inflated_bytes);
	if (object == NULL)
		return BOLE_E_NO_MEMORY;
	object->type = link->head.type;
	enum bole_status rc = entry_inflate(reader, &link->entry, link->head.head_bytes,
	                                    object->data, object->len);
	if (rc != BOLE_OK) {
		bole_object_cache_drop(&reader->cache, object);
		return rc;
	}
	*out = object;
	return BOLE_OK;
}

/* -- Chains -- */

static enum bole_status link_push(struct bole_object_reader *reader, const struct chain_link *link)
{
	if (reader->link_count > BOLE_DELTA_DEPTH_MAX)
		return BOLE_E_LIMIT;
	if (reader->link_count == reader->link_cap) {
		size_t cap = reader->link_cap == 0 ? CHAIN_FIRST : reader->link_cap * 2;
		struct chain_link *links = bole_alloc_resize(reader->alloc, reader->links,
		                                             reader->link_cap, cap, sizeof *links);

		if (links == NULL)
			return BOLE_E_NO_MEMORY;
		reader->links = links;
		reader->link_cap = cap;
	}
	reader->links[reader->link_count++] = *link;
	return BOLE_OK;
}

/* The entry that a delta is based on. */
static enum bole_status base_find(struct bole_object_reader *reader, const struct chain_link *link,
                                  struct bole_entry *out)
{
	enum bole_status rc;

	reader->at_hand = (struct bole_bytes){NULL, 0};
	if (link->head.type == BOLE_ENTRY_OFS_DELTA) {
		rc = bole_odb_entry_at(reader->snapshot, link->entry.extent,
		                       link->entry.offset - link->head.base_distance, NULL, out);
	} else {
		rc = bole_odb_find(reader->snapshot, &link->head.base, out);
	}
	/* The object is there, so its base must be. */
	return rc == BOLE_E_NOT_FOUND ? BOLE_E_CORRUPT : rc;
}

/* The base of an offset delta, held, when it is in the cache: that costs no lookup, and the delta
 * stays at hand. */
static enum bole_status base_cached(struct bole_object_reader *reader,
                                    const struct chain_link *link, struct cached_object **out)
{
	*out = NULL;
	if (link->head.type != BOLE_ENTRY_OFS_DELTA)
		return BOLE_OK;
	if (link->head.base_distance > link->entry.offset)
		return BOLE_E_CORRUPT;
	*out = bole_object_cache_find(&reader->cache, link->entry.extent,
	                              link->entry.offset - link->head.base_distance);
	return BOLE_OK;
}

/* Walks down from entry: afterwards the links hold the deltas to apply, the last one first, and
 * *bottom is the object that they start from, held. */
static enum bole_status chain_descend(struct bole_object_reader *reader,
                                      const struct bole_entry *entry, struct cached_object **bottom)
{
	struct chain_link link = {.entry = *entry};

	reader->link_count = 0;
	*bottom = bole_object_cache_find(&reader->cache, link.entry.extent, link.entry.offset);
	while (*bottom == NULL) {
		BOLE_TRY(head_read(reader, &link.entry, &link.head));
		if (link.head.type != BOLE_ENTRY_OFS_DELTA &&
		    link.head.type != BOLE_ENTRY_REF_DELTA) {
			BOLE_TRY(object_inflate(reader, &link, bottom));
			bole_object_cache_add(&reader->cache, *bottom);
			return BOLE_OK;
		}
		BOLE_TRY(link_push(reader, &link));
		BOLE_TRY(base_cached(reader, &link, bottom));
		if (*bottom != NULL)
			break;
		BOLE_TRY(base_find(reader, &reader->links[reader->link_count - 1], &link.entry));
		*bottom = bole_object_cache_find(&reader->cache, link.entry.extent,
		                                 link.entry.offset);
	}
	return BOLE_OK;
}

/* The delta of a link, in the shared buffer or, when it is long, in *own. */
static enum bole_status delta_inflate(struct bole_object_reader *reader,
                                      const struct chain_link *link, struct cached_object **own,
                                      struct bole_bytes *out)
{
	size_t len = (size_t)link->head.inflated_bytes;

	*own = NULL;
	if (link->head.inflated_bytes > DELTA_BYTES) {
		BOLE_TRY(object_inflate(reader, link, own));
		*out = bole_bytes_of((*own)->data, (*own)->len);
		return BOLE_OK;
	}
	if (len > reader->object_bytes_max)
		return BOLE_E_LIMIT;
	while (reader->delta == NULL) {
		reader->delta = bole_alloc_array(reader->alloc, DELTA_BYTES, 1);
		if (reader->delta == NULL && !bole_object_cache_shrink(&reader->cache))
			return BOLE_E_NO_MEMORY;
	}
	BOLE_TRY(entry_inflate(reader, &link->entry, link->head.head_bytes, reader->delta, len));
	*out = bole_bytes_of(reader->delta, len);
	return BOLE_OK;
}

/* The result of one delta on base. */
static enum bole_status link_apply(struct bole_object_reader *reader, const struct chain_link *link,
                                   const struct cached_object *base, struct cached_object **out)
{
	struct cached_object *delta;
	uint64_t base_len;
	uint64_t len;
	struct bole_bytes bytes;

	*out = NULL;
	BOLE_TRY(delta_inflate(reader, link, &delta, &bytes));
	enum bole_status rc = stored(bole_delta_sizes(bytes, &base_len, &len));
	if (rc == BOLE_OK && (len > reader->object_bytes_max || len > PTRDIFF_MAX))
		rc = BOLE_E_LIMIT;
	struct cached_object *object = NULL;
	if (rc == BOLE_OK) {
		object = bole_object_cache_make(&reader->cache, link->entry.extent,
		                                link->entry.offset, (size_t)len);
		rc = object == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	}
	if (rc == BOLE_OK) {
		object->type = base->type;
		rc = stored(bole_delta_apply(bole_bytes_of(base->data, base->len), bytes,
		                             object->data, object->len));
	}
	bole_object_cache_drop(&reader->cache, delta);
	if (rc != BOLE_OK) {
		bole_object_cache_drop(&reader->cache, object);
		return rc;
	}
	*out = object;
	return BOLE_OK;
}

static enum bole_status resolve(struct bole_object_reader *reader, const struct bole_entry *entry,
                                struct cached_object **out)
{
	struct cached_object *object;

	*out = NULL;
	BOLE_TRY(chain_descend(reader, entry, &object));
	while (reader->link_count > 0) {
		struct cached_object *next;
		enum bole_status rc =
		        link_apply(reader, &reader->links[--reader->link_count], object, &next);

		bole_object_cache_drop(&reader->cache, object);
		if (rc != BOLE_OK)
			return rc;
		bole_object_cache_add(&reader->cache, next);
		object = next;
	}
	if (object->type != entry->type) {
		bole_object_cache_drop(&reader->cache, object);
		return BOLE_E_CORRUPT;
	}
	*out = object;
	return BOLE_OK;
}

/* -- The interface -- */

enum bole_status bole_object_read_entry(struct bole_object_reader *reader,
                                        const struct bole_entry *entry, struct bole_bytes *out)
{
	*out = (struct bole_bytes){NULL, 0};
	shown_drop(reader);
	BOLE_TRY(resolve(reader, entry, &reader->shown));
	*out = bole_bytes_of(reader->shown->data, reader->shown->len);
	return BOLE_OK;
}

/* What is not here may be promised. */
static enum bole_status find(struct bole_object_reader *reader, const struct bole_oid *oid,
                             struct bole_entry *entry)
{
	enum bole_status rc = bole_odb_find(reader->snapshot, oid, entry);
	uint8_t type;

	if (rc != BOLE_E_NOT_FOUND ||
	    bole_promise_one(reader->snapshot, reader->alloc, oid, &type) != BOLE_OK)
		return rc;
	reader->missing = *oid;
	return BOLE_E_PROMISED;
}

bool bole_object_reader_missing(const struct bole_object_reader *reader, struct bole_oid *out)
{
	if (reader->missing.algo == 0)
		return false;
	*out = reader->missing;
	return true;
}

enum bole_status bole_object_read(struct bole_object_reader *reader, const struct bole_oid *oid,
                                  uint8_t *type, struct bole_bytes *out)
{
	struct bole_entry entry;

	*out = (struct bole_bytes){NULL, 0};
	BOLE_TRY(find(reader, oid, &entry));
	if (type != NULL)
		*type = entry.type;
	return bole_object_read_entry(reader, &entry, out);
}

static enum bole_status entry_size(struct bole_object_reader *reader,
                                   const struct bole_entry *entry, uint64_t *out)
{
	struct bole_entry_head head;
	uint8_t sizes[DELTA_SIZES_MAX];
	uint64_t base_len;
	size_t got;
	bool ended;

	BOLE_TRY(head_read(reader, entry, &head));
	if (head.type != BOLE_ENTRY_OFS_DELTA && head.type != BOLE_ENTRY_REF_DELTA) {
		*out = head.inflated_bytes;
		return BOLE_OK;
	}
	uint64_t pos = head.head_bytes;
	bole_inflate_begin(reader->inflater);
	BOLE_TRY(inflate_some(reader, entry, &pos, sizes, sizeof sizes, &got, &ended));
	return stored(bole_delta_sizes(bole_bytes_of(sizes, got), &base_len, out));
}

enum bole_status bole_object_size(struct bole_object_reader *reader, const struct bole_oid *oid,
                                  uint8_t *type, uint64_t *out)
{
	struct bole_entry entry;

	*out = 0;
	BOLE_TRY(find(reader, oid, &entry));
	if (type != NULL)
		*type = entry.type;
	return entry_size(reader, &entry, out);
}

static enum bole_status stream_pieces(struct bole_object_reader *reader,
                                      const struct bole_entry *entry,
                                      const struct bole_entry_head *head, uint8_t *piece,
                                      struct bole_writer *writer)
{
	uint64_t pos = head->head_bytes;
	uint64_t total = 0;
	bool ended = false;

	bole_inflate_begin(reader->inflater);
	while (!ended) {
		size_t got;

		BOLE_TRY(inflate_some(reader, entry, &pos, piece, STREAM_BYTES, &got, &ended));
		if (got > head->inflated_bytes - total)
			return BOLE_E_CORRUPT;
		total += got;
		if (got > 0)
			BOLE_TRY(writer->write(writer, piece, got));
	}
	return total == head->inflated_bytes ? BOLE_OK : BOLE_E_CORRUPT;
}

enum bole_status bole_object_stream(struct bole_object_reader *reader, const struct bole_oid *oid,
                                    struct bole_writer *writer, uint8_t *type, uint64_t *len)
{
	struct bole_entry entry;
	struct bole_entry_head head;
	struct bole_bytes bytes;

	BOLE_TRY(find(reader, oid, &entry));
	if (type != NULL)
		*type = entry.type;
	BOLE_TRY(head_read(reader, &entry, &head));
	bool delta = head.type == BOLE_ENTRY_OFS_DELTA || head.type == BOLE_ENTRY_REF_DELTA;
	if (delta || head.inflated_bytes < STREAM_FROM) {
		BOLE_TRY(bole_object_read_entry(reader, &entry, &bytes));
		if (len != NULL)
			*len = bytes.len;
		return bytes.len == 0 ? BOLE_OK : writer->write(writer, bytes.ptr, bytes.len);
	}
	if (head.type != entry.type)
		return BOLE_E_CORRUPT;
	if (len != NULL)
		*len = head.inflated_bytes;
	uint8_t *piece = bole_alloc_array(reader->alloc, STREAM_BYTES, 1);
	if (piece == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = stream_pieces(reader, &entry, &head, piece, writer);
	bole_alloc_free(reader->alloc, piece, STREAM_BYTES, 1);
	return rc;
}
