/* SPDX-License-Identifier: ISC */
#include "git/files/reftable.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/deflate.h"
#include "git/object/object.h"

enum {
	HEAD_V1_BYTES = 24,
	HEAD_V2_BYTES = 28,
	FOOTER_REST_BYTES = 44, /* what follows the copy of the header */
	BLOCK_HEAD_BYTES = 4,   /* type and length */
	RESTART_BYTES = 3,
	INDEX_DEPTH_MAX = 16,
	VALUE_DELETED = 0,
	VALUE_ID = 1,
	VALUE_ID_PEELED = 2,
	VALUE_SYMBOLIC = 3,
};

static uint32_t get_be24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | (uint32_t)p[2];
}

/* -- The file -- */

static enum bole_status check_hash(struct bole_bytes file, struct bole_reftable *out)
{
	uint8_t stored = BOLE_HASH_SHA1;

	if (out->head_bytes == HEAD_V2_BYTES) {
		if (memcmp(file.ptr + HEAD_V1_BYTES, "s256", 4) == 0)
			stored = BOLE_HASH_SHA256;
		else if (memcmp(file.ptr + HEAD_V1_BYTES, "sha1", 4) != 0)
			return BOLE_E_UNSUPPORTED;
	}
	return stored == out->algo ? BOLE_OK : BOLE_E_UNSUPPORTED;
}

enum bole_status bole_reftable_open(struct bole_bytes file, uint8_t algo, struct bole_reftable *out)
{
	*out = (struct bole_reftable){.file = file, .algo = algo};
	if (file.len < HEAD_V1_BYTES || memcmp(file.ptr, "REFT", 4) != 0)
		return BOLE_E_INVALID;
	if (file.ptr[4] != 1 && file.ptr[4] != 2)
		return BOLE_E_UNSUPPORTED;
	out->head_bytes = file.ptr[4] == 1 ? HEAD_V1_BYTES : HEAD_V2_BYTES;
	size_t footer = out->head_bytes + FOOTER_REST_BYTES;
	/* An empty table is header and footer. */
	if (file.len < out->head_bytes + footer)
		return BOLE_E_INVALID;
	BOLE_TRY(check_hash(file, out));
	out->body_end = file.len - footer;
	const uint8_t *foot = file.ptr + out->body_end;
	if (memcmp(file.ptr, foot, out->head_bytes) != 0 ||
	    bole_crc32(0, bole_bytes_of(foot, footer - 4)) != bole_get_be32(foot + footer - 4))
		return BOLE_E_INVALID;
	out->block_bytes = get_be24(file.ptr + 5);
	out->update_min = bole_get_be64(file.ptr + 8);
	out->update_max = bole_get_be64(file.ptr + 16);
	out->index = bole_get_be64(foot + out->head_bytes);
	return out->index < out->body_end ? BOLE_OK : BOLE_E_INVALID;
}

/* -- Blocks -- */

struct block {
	uint8_t type;
	size_t records; /* the first record */
	size_t end;     /* behind the last */
	size_t next;    /* where the next block begins */
};

/* The block at an offset. The first shares its bytes with the header. BOLE_END: there is none. */
static enum bole_status block_at(const struct bole_reftable *table, size_t at, struct block *out)
{
	size_t head = at == 0 ? table->head_bytes : 0;
	const uint8_t *file = table->file.ptr;

	if (at >= table->body_end || table->body_end - at < head + BLOCK_HEAD_BYTES)
		return BOLE_END;
	size_t room = table->body_end - at;
	size_t len = get_be24(file + at + head + 1);
	out->type = file[at + head];
	if (out->type != 'r' && out->type != 'i')
		return BOLE_END; /* objects and logs: longer than they seem, since deflated */
	if (len < head + BLOCK_HEAD_BYTES + 2 || len > room)
		return BOLE_E_INVALID;
	size_t restarts = bole_get_be16(file + at + len - 2);
	if (restarts * RESTART_BYTES > len - 2 - head - BLOCK_HEAD_BYTES)
		return BOLE_E_INVALID;
	out->records = at + head + BLOCK_HEAD_BYTES;
	out->end = at + len - 2 - restarts * RESTART_BYTES;
	/* Padding of zeros reaches to the block size, where there is any. */
	out->next = at + len;
	if (table->block_bytes > len && len < room && file[at + len] == 0)
		out->next = table->block_bytes < room ? at + table->block_bytes : table->body_end;
	return BOLE_OK;
}

static bool get_varint(const uint8_t *file, size_t *at, size_t end, uint64_t *out)
{
	uint64_t value = 0;
	uint8_t byte;

	do {
		if (*at == end || value > UINT64_MAX >> 8)
			return false;
		byte = file[(*at)++];
		value = value << 7 | (byte & 0x7f);
		value += (byte & 0x80) != 0;
	} while ((byte & 0x80) != 0);
	*out = value;
	return true;
}

/* The key of a record in name: a part of the one before and what is new. Its type is in *extra. */
static bool get_key(const struct bole_reftable *table, size_t *at, size_t end, uint8_t *name,
                    size_t *name_len, uint8_t *extra)
{
	const uint8_t *file = table->file.ptr;
	uint64_t prefix, suffix;

	if (!get_varint(file, at, end, &prefix) || !get_varint(file, at, end, &suffix))
		return false;
	*extra = suffix & 7;
	suffix >>= 3;
	if (prefix > *name_len || suffix > end - *at || suffix > BOLE_REF_NAME_MAX - prefix)
		return false;
	memcpy(name + prefix, file + *at, (size_t)suffix);
	*at += (size_t)suffix;
	*name_len = (size_t)(prefix + suffix);
	return true;
}

/* -- Records -- */

void bole_reftable_walk(const struct bole_reftable *table, struct bole_reftable_walk *walk)
{
	*walk = (struct bole_reftable_walk){.table = table};
}

static bool get_id(const struct bole_reftable *table, size_t *at, size_t end, struct bole_oid *out)
{
	size_t hash = bole_hash_bytes(table->algo);

	if (end - *at < hash)
		return false;
	bole_oid_from_raw(table->file.ptr + *at, table->algo, out);
	*at += hash;
	return true;
}

static enum bole_status get_value(struct bole_reftable_walk *walk, uint8_t type,
                                  struct bole_ref *out, bool *deleted)
{
	const struct bole_reftable *table = walk->table;
	uint64_t len;

	switch (type) {
	case VALUE_DELETED: *deleted = true; return BOLE_OK;
	case VALUE_ID:
	case VALUE_ID_PEELED:
		if (!get_id(table, &walk->at, walk->records, &out->oid))
			return BOLE_E_INVALID;
		out->has_peeled = type == VALUE_ID_PEELED;
		if (out->has_peeled && !get_id(table, &walk->at, walk->records, &out->peeled))
			return BOLE_E_INVALID;
		return BOLE_OK;
	case VALUE_SYMBOLIC:
		if (!get_varint(table->file.ptr, &walk->at, walk->records, &len) ||
		    len > walk->records - walk->at || len > BOLE_REF_NAME_MAX)
			return BOLE_E_INVALID;
		out->symbolic = true;
		out->target = bole_bytes_of(table->file.ptr + walk->at, (size_t)len);
		walk->at += (size_t)len;
		return BOLE_OK;
	}
	return BOLE_E_INVALID;
}

enum bole_status bole_reftable_next(struct bole_reftable_walk *walk, struct bole_ref *out,
                                    bool *deleted)
{
	const struct bole_reftable *table = walk->table;
	uint64_t update;
	uint8_t type;

	memset(out, 0, sizeof *out);
	*deleted = false;
	while (walk->records == 0 || walk->at == walk->records) {
		struct block block;
		size_t at = walk->records == 0 ? walk->at : walk->next;
		enum bole_status rc = block_at(table, at, &block);

		if (rc != BOLE_OK || block.type != 'r')
			return rc < 0 ? rc : BOLE_END;
		walk->at = block.records;
		walk->records = block.end;
		walk->next = block.next;
		walk->name_len = 0;
	}
	if (!get_key(table, &walk->at, walk->records, walk->name, &walk->name_len, &type) ||
	    !get_varint(table->file.ptr, &walk->at, walk->records, &update))
		return BOLE_E_INVALID;
	out->name = bole_bytes_of(walk->name, walk->name_len);
	return get_value(walk, type, out, deleted);
}

/* Of the first record of an index block whose key, the last of what it points to, is not less than
 * name: the block. BOLE_E_NOT_FOUND: all are less. */
static enum bole_status index_step(const struct bole_reftable *table, const struct block *block,
                                   struct bole_bytes name, size_t *to)
{
	uint8_t key[BOLE_REF_NAME_MAX];
	size_t key_len = 0;
	uint8_t extra;
	uint64_t place;

	for (size_t at = block->records; at < block->end;) {
		if (!get_key(table, &at, block->end, key, &key_len, &extra) ||
		    !get_varint(table->file.ptr, &at, block->end, &place) ||
		    place >= table->body_end)
			return BOLE_E_INVALID;
		if (bole_bytes_compare(bole_bytes_of(key, key_len), name) < 0)
			continue;
		*to = (size_t)place;
		return BOLE_OK;
	}
	return BOLE_E_NOT_FOUND;
}

enum bole_status bole_reftable_seek(struct bole_reftable_walk *walk, struct bole_bytes name)
{
	const struct bole_reftable *table = walk->table;
	size_t at = (size_t)table->index;

	bole_reftable_walk(table, walk);
	for (unsigned depth = 0; at != 0; depth++) {
		struct block block;

		if (depth == INDEX_DEPTH_MAX || block_at(table, at, &block) != BOLE_OK)
			return BOLE_E_INVALID;
		if (block.type == 'r')
			break;
		BOLE_TRY(index_step(table, &block, name, &at));
	}
	walk->at = at;
	return BOLE_OK;
}

enum bole_status bole_reftable_find(struct bole_reftable_walk *walk, struct bole_bytes name,
                                    struct bole_ref *out, bool *deleted)
{
	enum bole_status rc = bole_reftable_seek(walk, name);

	while (rc == BOLE_OK) {
		rc = bole_reftable_next(walk, out, deleted);
		int order = rc == BOLE_OK ? bole_bytes_compare(out->name, name) : 1;
		if (rc == BOLE_OK && order == 0)
			return BOLE_OK;
		if (order > 0)
			break;
	}
	return rc < 0 && rc != BOLE_E_NOT_FOUND ? rc : BOLE_E_NOT_FOUND;
}
