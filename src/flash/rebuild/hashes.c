/* SPDX-License-Identifier: ISC */
/* Which hash each domain has, as everything on the device shows it: before the log of old is read,
 * because lists of drops and packs can only be read with it. Ids in records and references tell by
 * their length. Where only pieces of packs are left, the pages of their tables tell: rows of the
 * wrong length do not fit a page. Numbers of domains that a cut took back are given again, so the
 * newest word counts. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/rebuild/rebuild.h"

enum { HASH_KEY = 4, HASH_ALGO_AT = 0, HASH_SEQUENCE_AT = 1, HASH_VALUE = 9 };

static uint8_t algo_of_key(size_t bytes)
{
	return bytes == 32 ? BOLE_HASH_SHA256 : bytes == 20 ? BOLE_HASH_SHA1 : 0;
}

static uint8_t algo_of_refs(struct bole_bytes body)
{
	static const uint8_t zero[BOLE_OID_BYTES_MAX];

	while (body.len >= REF_HEAD_BYTES) {
		const uint8_t *p = body.ptr;
		size_t bytes = (size_t)REF_HEAD_BYTES + bole_get_le16(p + REF_NAME_BYTES_AT) +
		               bole_get_le16(p + REF_TARGET_BYTES_AT);
		if (memcmp(p + REF_OID_AT, zero, sizeof zero) != 0)
			return memcmp(p + REF_OID_AT + 20, zero, 12) != 0 ? BOLE_HASH_SHA256
			                                                  : BOLE_HASH_SHA1;
		if (bytes > body.len)
			break;
		body.ptr += bytes;
		body.len -= bytes;
	}
	return 0;
}

uint8_t bole_flash_rebuild_algo(const struct flash_record *r)
{
	const uint8_t *p = r->body.ptr;

	switch (r->kind) {
	case FLASH_RECORD_OBJECT: return algo_of_key(r->key.len);
	case FLASH_RECORD_DROP: return r->key.len == 0 ? 0 : algo_of_key(r->key.len);
	case FLASH_RECORD_REFS: return algo_of_refs(r->body);
	case FLASH_RECORD_REPO:
		if (r->body.len <= REPO_HEAD_BYTES)
			return 0;
		return bole_hash_bytes(p[REPO_ALGO_AT]) == 0 ? 0 : p[REPO_ALGO_AT];
	case FLASH_RECORD_EXTENT: break;
	default: return 0;
	}
	if (r->body.len < EXTENT_MAP_AT)
		return 0;
	uint64_t at =
	        EXTENT_MAP_AT + (uint64_t)bole_get_le32(p + EXTENT_MAP_COUNT_AT) * PLACE_BYTES;
	if (at + RUN_HEAD_BYTES > r->body.len || p[at + RUN_WIDTH_AT] < ROW_BYTES)
		return 0;
	return algo_of_key((size_t)p[at + RUN_WIDTH_AT] - ROW_BYTES);
}

/* -- What is known -- */

uint8_t bole_flash_rebuild_hash_of(const struct flash_volume *v, uint32_t owner)
{
	const struct flash_repair *r = v->repair;
	const struct flash_table *hashes = v->packs != NULL                  ? v->packs->hashes
	                                   : r != NULL && r->archive != NULL ? r->archive->hashes
	                                                                     : NULL;
	uint8_t key[HASH_KEY];

	bole_put_be32(key, owner);
	const struct flash_item *item =
	        bole_flash_table_find(hashes, bole_bytes_of(key, sizeof key));
	return item == NULL ? 0 : bole_flash_item_value(item).ptr[HASH_ALGO_AT];
}

/* algo 0: pieces of a pack of it are there. */
static enum bole_status note(struct rebuild *rb, uint32_t owner, uint8_t algo, uint64_t sequence)
{
	struct rebuild_packs *p = rb->packs;
	uint8_t value[HASH_VALUE];
	uint8_t key[HASH_KEY];

	bole_put_be32(key, owner);
	const struct flash_item *item =
	        bole_flash_table_find(p->hashes, bole_bytes_of(key, sizeof key));
	if (item != NULL) {
		const uint8_t *was = bole_flash_item_value(item).ptr;
		if (algo == 0 ||
		    (was[HASH_ALGO_AT] != 0 && bole_get_le64(was + HASH_SEQUENCE_AT) > sequence))
			return BOLE_OK;
	}
	value[HASH_ALGO_AT] = algo;
	bole_put_le64(value + HASH_SEQUENCE_AT, sequence);
	return bole_flash_table_set(&rb->v->plain, &p->hashes, bole_bytes_of(key, sizeof key),
	                            bole_bytes_of(value, sizeof value));
}

static enum bole_status see(struct rebuild *rb, const struct flash_record *r,
                            const struct flash_walk *w, uint32_t offset)
{
	uint8_t algo = bole_flash_rebuild_algo(r);
	uint8_t key[HASH_KEY];

	if (r->kind == FLASH_RECORD_REPO && bole_flash_rebuild_in_tail(rb, w, offset)) {
		bole_put_be32(key, r->owner);
		struct bole_bytes k = {key, sizeof key};
		BOLE_TRY(bole_flash_table_set(&rb->v->plain, &rb->made, k, k));
	}
	return r->owner == 0 || (algo == 0 && r->kind != FLASH_FRAGMENT_DATA)
	               ? BOLE_OK
	               : note(rb, r->owner, algo, w->sequence);
}

/* -- Packs -- */

/* Pieces of packs whose domain nothing else tells of. */
static enum bole_status see_piece(struct rebuild *rb, const struct flash_record *r,
                                  const struct flash_walk *w, uint32_t offset)
{
	struct rebuild_packs *p = rb->packs;

	if (r->kind != FLASH_FRAGMENT_DATA || r->body.len <= FRAGMENT_HEAD_BYTES ||
	    bole_flash_rebuild_hash_of(rb->v, r->owner) != 0)
		return BOLE_OK;
	BOLE_TRY(bole_flash_packs_add(p, r->owner, bole_get_le64(r->body.ptr + FRAGMENT_EXTENT_AT),
	                              0, NULL));
	return bole_flash_rebuild_piece_of(p, r, w, offset);
}

static bool some_unknown(const struct rebuild *rb)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(rb->packs->hashes, after, true);
	     item != NULL; item = bole_flash_table_next(rb->packs->hashes, after, false)) {
		after = bole_flash_item_key(item);
		if (bole_flash_item_value(item).ptr[HASH_ALGO_AT] == 0)
			return true;
	}
	return false;
}

static enum bole_status ask_packs(struct rebuild *rb)
{
	struct rebuild_packs *p = rb->packs;

	BOLE_TRY(bole_flash_rebuild_walk(rb, false, see_piece));
	p->hashes_only = true;
	enum bole_status rc = bole_flash_packs_search(p, bole_flash_rebuild_has_pages, rb);
	p->hashes_only = false;
	for (uint32_t i = 0; i < p->count && rc == BOLE_OK; i++)
		rc = note(rb, p->pack[i].domain, algo_of_key(p->pack[i].key_len), 0);
	bole_flash_packs_forget(p);
	return rc;
}

enum bole_status bole_flash_rebuild_hashes(struct rebuild *rb)
{
	BOLE_TRY(bole_flash_rebuild_walk(rb, true, see));
	return some_unknown(rb) ? ask_packs(rb) : BOLE_OK;
}
