/* SPDX-License-Identifier: ISC */
/* Aux records that the cleaner moved: the copy says its key and which part of the value it is. It
 * counts where the value that is known is not where it was, or where the checkpoint has a hole and
 * the log says nothing else. */
#include "flash/index/auxtable.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/log/reader.h"
#include "flash/rebuild/rebuild.h"

enum {
	AUX_FOUND_KEY = 4 + AUX_KEY_HEAD + AUX_KEY_MAX + 2, /* repository, key, part */
	AUX_FOUND_SEQUENCE_AT = 0,
	AUX_FOUND_SEGMENT_AT = 8,
	AUX_FOUND_OFFSET_AT = 12,
	AUX_FOUND_BYTES_AT = 16,
	AUX_FOUND_TOTAL_AT = 20,
	AUX_FOUND_PARTS_AT = 24,
	AUX_FOUND_FLAGS_AT = 26,
	AUX_FOUND_VALUE = 27,
};

static size_t found_key(uint8_t *out, uint32_t repo, struct bole_bytes key, uint32_t part)
{
	bole_put_be32(out, repo);
	memcpy(out + 4, key.ptr, key.len);
	out[4 + key.len] = (uint8_t)(part >> 8);
	out[4 + key.len + 1] = (uint8_t)part;
	return 4 + key.len + 2;
}

enum bole_status bole_flash_rebuild_aux_found(struct rebuild *rb, const struct flash_record *r,
                                              const struct flash_walk *w, uint32_t offset)
{
	uint8_t head[AUX_KEY_HEAD + AUX_KEY_MAX];
	uint8_t key[AUX_FOUND_KEY];
	uint8_t value[AUX_FOUND_VALUE];
	const uint8_t *p = r->body.ptr;
	uint64_t batch;

	if (r->body.len < AUX_HEAD_BYTES || p[AUX_KEY_BYTES_AT] > r->body.len - AUX_HEAD_BYTES ||
	    bole_get_le16(p + AUX_PARTS_AT) == 0 || bole_get_le16(p + AUX_PARTS_AT) > AUX_PARTS_MAX)
		return BOLE_OK;
	head[0] = p[AUX_CLASS_AT];
	head[1] = p[AUX_KIND_AT + 1];
	head[2] = p[AUX_KIND_AT];
	memcpy(head + AUX_KEY_HEAD, p + AUX_HEAD_BYTES, p[AUX_KEY_BYTES_AT]);
	struct bole_bytes k = {head, (size_t)AUX_KEY_HEAD + p[AUX_KEY_BYTES_AT]};
	/* The log says itself what it knows; parts whose first one was moved are left over. */
	if (w->kind != FLASH_SEGMENT_DATA &&
	    bole_flash_archive_stamp(&rb->archive, FLASH_STAMP_AUX, r->owner, k, &batch))
		return BOLE_OK;
	uint8_t at[4];
	bole_put_be32(at, offset);
	if ((r->flags & FLASH_FLAG_PREPARED) != 0 &&
	    (bole_flash_rebuild_is_prepared_aux(rb->v, w->segment, offset) ||
	     (w->kind != FLASH_SEGMENT_DATA &&
	      bole_flash_archive_stamp(&rb->archive, FLASH_STAMP_PREPARED_AUX, w->segment,
	                               bole_bytes_of(at, sizeof at), &batch))))
		return BOLE_OK;
	struct bole_bytes found = {key,
	                           found_key(key, r->owner, k, bole_get_le16(p + AUX_PART_AT))};
	const struct flash_item *item = bole_flash_table_find(rb->aux, found);
	if (item != NULL) {
		/* What was moved later is not older. */
		const uint8_t *was = bole_flash_item_value(item).ptr;
		uint64_t sequence = bole_get_le64(was + AUX_FOUND_SEQUENCE_AT);
		if (sequence > w->sequence ||
		    (sequence == w->sequence && bole_get_le32(was + AUX_FOUND_OFFSET_AT) > offset))
			return BOLE_OK;
	}
	bole_put_le64(value + AUX_FOUND_SEQUENCE_AT, w->sequence);
	bole_put_le32(value + AUX_FOUND_SEGMENT_AT, w->segment);
	bole_put_le32(value + AUX_FOUND_OFFSET_AT, offset);
	bole_put_le32(value + AUX_FOUND_BYTES_AT, r->bytes);
	bole_put_le32(value + AUX_FOUND_TOTAL_AT, bole_get_le32(p + AUX_TOTAL_AT));
	bole_put_le16(value + AUX_FOUND_PARTS_AT, bole_get_le16(p + AUX_PARTS_AT));
	value[AUX_FOUND_FLAGS_AT] = r->flags;
	return bole_flash_table_set(&rb->v->plain, &rb->aux, found,
	                            bole_bytes_of(value, sizeof value));
}

/* The copy of one part of a value of that shape. */
static bool copy_of(const struct rebuild *rb, uint32_t repo, struct bole_bytes key, uint32_t part,
                    uint32_t parts, uint32_t total, struct flash_aux_part *out)
{
	uint8_t buf[AUX_FOUND_KEY];
	const struct flash_item *item =
	        bole_flash_table_find(rb->aux, bole_bytes_of(buf, found_key(buf, repo, key, part)));

	if (item == NULL)
		return false;
	const uint8_t *p = bole_flash_item_value(item).ptr;
	if (bole_get_le32(p + AUX_FOUND_TOTAL_AT) != total ||
	    bole_get_le16(p + AUX_FOUND_PARTS_AT) != parts)
		return false;
	*out = (struct flash_aux_part){bole_get_le32(p + AUX_FOUND_SEGMENT_AT),
	                               bole_get_le32(p + AUX_FOUND_OFFSET_AT),
	                               bole_get_le32(p + AUX_FOUND_BYTES_AT)};
	return true;
}

/* That very part of that value: its place may hold another one's by now. */
static bool is_there(struct rebuild *rb, struct flash_reader *reader, uint32_t repo,
                     struct bole_bytes key, const struct flash_aux_record *want,
                     const struct flash_aux_part *part)
{
	struct flash_aux_record is;
	struct flash_record r;

	return part->bytes != 0 && part->segment < rb->v->segments &&
	       bole_in_bounds(part->offset, part->bytes, rb->v->segment_bytes) &&
	       bole_flash_fetch_record(rb->v, reader, part->segment, part->offset, part->bytes,
	                               &r) == BOLE_OK &&
	       r.kind == FLASH_RECORD_AUX && r.owner == repo && bole_flash_aux_decode(&r, &is) &&
	       is.part == want->part && is.parts == want->parts && is.total == want->total &&
	       bole_bytes_equal(key, (struct bole_bytes){is.key, is.key_len});
}

/* A value with all its parts, or none. */
static enum bole_status mend_value(struct rebuild *rb, struct flash_reader *reader,
                                   struct flash_repo *repo, struct bole_bytes key,
                                   struct bole_bytes old)
{
	uint8_t buf[AUX_KEY_HEAD + AUX_KEY_MAX];
	uint8_t value[AUX_VALUE_HEAD + AUX_VALUE_PART * AUX_PARTS_MAX];
	uint32_t parts = bole_flash_aux_parts(old);
	uint32_t total = bole_get_le32(old.ptr + AUX_VALUE_TOTAL_AT);
	bool changed = false;
	bool whole = parts <= AUX_PARTS_MAX && key.len <= sizeof buf;

	if (!whole)
		return BOLE_OK;
	/* The table's item goes when it is set anew. */
	memcpy(buf, key.ptr, key.len);
	struct bole_bytes k = {buf, key.len};
	memcpy(value, old.ptr, old.len);
	for (uint32_t i = 0; i < parts && whole; i++) {
		struct flash_aux_part part = bole_flash_aux_part(old, i);
		const struct flash_aux_record want = {.part = i, .parts = parts, .total = total};
		if (is_there(rb, reader, repo->id, k, &want, &part))
			continue;
		whole = copy_of(rb, repo->id, k, i, parts, total, &part);
		bole_flash_aux_set_part(value, i, &part);
		changed = true;
	}
	if (!changed)
		return BOLE_OK;
	if (whole)
		return bole_flash_table_set(&rb->v->aux, &repo->auxtable, k,
		                            bole_bytes_of(value, old.len));
	bole_flash_lost(rb->v, "%s: aux record of kind %u is not there any more", repo->name,
	                (unsigned)buf[1] << 8 | buf[2]);
	return bole_flash_table_remove(&rb->v->aux, &repo->auxtable, k);
}

/* In a hole of which the log does not show everything. */
static bool in_hole(const struct rebuild *rb, uint32_t repo, struct bole_bytes key)
{
	uint64_t gone = rb->archive.last_missing;

	for (uint32_t i = 0; i < rb->hole_count && gone != 0; i++)
		if (!(rb->hole[i].exact && gone < rb->hole[i].since) &&
		    bole_flash_rebuild_in_hole(&rb->hole[i], repo, PART_AUX, key))
			return true;
	return false;
}

/* Values that only the copies know. */
static enum bole_status add_values(struct rebuild *rb)
{
	uint8_t value[AUX_VALUE_HEAD + AUX_VALUE_PART * AUX_PARTS_MAX];
	struct bole_bytes after = {NULL, 0};
	uint64_t batch;

	for (const struct flash_item *item = bole_flash_table_next(rb->aux, after, true);
	     item != NULL; item = bole_flash_table_next(rb->aux, after, false)) {
		const uint8_t *p = bole_flash_item_value(item).ptr;
		after = bole_flash_item_key(item);
		struct bole_bytes key = {after.ptr + 4, after.len - 6};
		uint32_t id = bole_get_be32(after.ptr);
		uint32_t parts = bole_get_le16(p + AUX_FOUND_PARTS_AT);
		uint32_t total = bole_get_le32(p + AUX_FOUND_TOTAL_AT);
		struct flash_repo *repo = bole_flash_repo_find_any(rb->v, id);
		if (repo == NULL || after.ptr[after.len - 1] != 0 ||
		    bole_flash_table_find(rb->removed,
		                          (struct bole_bytes){after.ptr, after.len - 2}) != NULL ||
		    after.ptr[after.len - 2] != 0 || !in_hole(rb, id, key) ||
		    bole_flash_table_find(repo->auxtable, key) != NULL ||
		    total > BOLE_AUX_BYTES_MAX ||
		    (p[AUX_FOUND_FLAGS_AT] != 0 &&
		     bole_flash_rebuild_is_listed(rb, id, key, total)))
			continue;
		/* It was removed, or another value was the last. */
		const struct flash_repo *then = bole_flash_repo_find_any(rb->then, id);
		if (bole_flash_archive_stamp(&rb->archive, FLASH_STAMP_AUX, id, key, &batch) &&
		    (then == NULL || bole_flash_table_find(then->auxtable, key) == NULL))
			continue;
		size_t len = bole_flash_aux_value(value, total, parts);
		bool whole = true;
		for (uint32_t i = 0; i < parts && whole; i++) {
			struct flash_aux_part part;
			whole = copy_of(rb, id, key, i, parts, total, &part);
			if (whole)
				bole_flash_aux_set_part(value, i, &part);
		}
		if (whole)
			BOLE_TRY(bole_flash_table_set(&rb->v->aux, &repo->auxtable, key,
			                              bole_bytes_of(value, len)));
	}
	return BOLE_OK;
}

static enum bole_status mend_repo(struct rebuild *rb, struct flash_repo *repo,
                                  struct flash_reader *reader)
{
	uint8_t key[AUX_KEY_HEAD + AUX_KEY_MAX];
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(repo->auxtable, after, true);
	     item != NULL; item = bole_flash_table_next(repo->auxtable, after, false)) {
		struct bole_bytes k = bole_flash_item_key(item);
		if (k.len > sizeof key)
			return BOLE_E_CORRUPT;
		memcpy(key, k.ptr, k.len);
		after = (struct bole_bytes){key, k.len};
		BOLE_TRY(mend_value(rb, reader, repo, after, bole_flash_item_value(item)));
	}
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild_aux(struct rebuild *rb)
{
	struct flash_reader reader = {.clock = 0};
	enum bole_status rc = add_values(rb);

	for (uint32_t i = 0; i < rb->v->repos && rc == BOLE_OK; i++)
		rc = mend_repo(rb, rb->v->repo[i], &reader);
	bole_flash_reader_close(rb->v, &reader);
	return rc;
}
