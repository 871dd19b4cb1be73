/* SPDX-License-Identifier: ISC */
#include "git/bitmap/wholes.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/sort.h"
#include "bole/store.h"
#include "git/object/object.h"

enum {
	KIND = 1,           /* as an index, with keys of two bytes */
	MAGIC = 0x31574242, /* "BBW1" */
	HEAD_BYTES = 16,    /* magic, pieces, generation */
	ITEM_BYTES = 8,     /* position, length */
	PIECE_BYTES = 768 * 1024,
	PIECES_MAX = 256,
	LEVEL = 6,
};

/* -- Making -- */

enum bole_status bole_wholes_open(struct bole_wholes *w, struct bole_bitmap *b,
                                  struct bole_alloc *alloc, size_t bytes_max)
{
	*w = (struct bole_wholes){.bitmap = b, .alloc = alloc};
	bole_buffer_init(&w->bytes, alloc, bytes_max);
	bole_buffer_init(&w->items, alloc,
	                 (size_t)WHOLES_OBJECTS_MAX * sizeof(struct bole_wholes_item));
	w->have.count = b->positions / 64 + 1;
	w->have.words = bole_alloc_zeroed(alloc, w->have.count, sizeof *w->have.words);
	if (w->have.words == NULL) {
		w->have.count = 0;
		return BOLE_E_NO_MEMORY;
	}
	return bole_deflater_open(alloc, LEVEL, &w->deflater);
}

void bole_wholes_close(struct bole_wholes *w)
{
	bole_buffer_release(&w->bytes);
	bole_buffer_release(&w->items);
	bole_alloc_free(w->alloc, w->have.words, w->have.count, sizeof *w->have.words);
	w->have.count = 0;
	w->have.words = NULL;
	bole_deflater_close(w->deflater);
	w->deflater = NULL;
}

bool bole_wholes_has(const struct bole_wholes *w, uint32_t position)
{
	return position / 64 < w->have.count && bitmap_has(&w->have, position);
}

/* Room for an entry, which is then there, or false. */
static bool has_room(const struct bole_wholes *w, uint32_t position, size_t len)
{
	return position < w->bitmap->positions && !bole_wholes_has(w, position) &&
	       len <= WHOLE_BYTES_MAX && len <= w->bytes.limit - w->bytes.len &&
	       w->items.len < w->items.limit;
}

static enum bole_status note(struct bole_wholes *w, uint32_t position, size_t from)
{
	struct bole_wholes_item item = {position, (uint32_t)(w->bytes.len - from), from};

	bole_buffer_append(&w->items, &item, sizeof item);
	bitmap_add(&w->have, position);
	return w->bytes.rc != BOLE_OK ? w->bytes.rc : w->items.rc;
}

enum bole_status bole_wholes_keep(struct bole_wholes *w, uint32_t position, struct bole_bytes entry)
{
	size_t from = w->bytes.len;

	if (!has_room(w, position, entry.len))
		return BOLE_OK;
	bole_buffer_append(&w->bytes, entry.ptr, entry.len);
	return note(w, position, from);
}

enum bole_status bole_wholes_make(struct bole_wholes *w, uint32_t position, uint8_t type,
                                  struct bole_bytes content)
{
	struct bole_entry_head head = {.type = type, .inflated_bytes = content.len};
	size_t cap = BOLE_ENTRY_HEAD_MAX + bole_deflate_bound(content.len);
	size_t from = w->bytes.len;

	if (content.len > WHOLE_CONTENT_MAX || !has_room(w, position, 0))
		return BOLE_OK;
	uint8_t *entry = bole_alloc_array(w->alloc, cap, 1);
	if (entry == NULL)
		return BOLE_E_NO_MEMORY;
	size_t head_len = bole_entry_head_format(&head, w->bitmap->algo, entry);
	size_t len = bole_deflate_whole(w->deflater, content, entry + head_len, cap - head_len);
	enum bole_status rc = len == 0 ? BOLE_E_NO_MEMORY : BOLE_OK;
	if (rc == BOLE_OK)
		rc = bole_wholes_keep(w, position, bole_bytes_of(entry, head_len + len));
	w->made += w->bytes.len - from;
	bole_alloc_free(w->alloc, entry, cap, 1);
	return rc;
}

static int by_position(const void *a, const void *b)
{
	const struct bole_wholes_item *x = a;
	const struct bole_wholes_item *y = b;

	return x->position < y->position ? -1 : x->position > y->position;
}

static struct bole_aux_key key_of(uint8_t *number, uint32_t piece)
{
	number[0] = (uint8_t)(piece >> 8);
	number[1] = (uint8_t)piece;
	return (struct bole_aux_key){BOLE_AUX_DERIVED, KIND, {number, 2}};
}

static void put_item(struct bole_buffer *piece, const struct bole_wholes *w,
                     const struct bole_wholes_item *item)
{
	uint8_t head[ITEM_BYTES];

	bole_put_le32(head, item->position);
	bole_put_le32(head + 4, item->len);
	bole_buffer_append(piece, head, sizeof head);
	bole_buffer_append(piece, w->bytes.ptr + item->at, item->len);
}

/* The items from *at on that one piece takes; an empty piece says that there are none. */
static enum bole_status put_piece(const struct bole_wholes *w, struct bole_tx *tx,
                                  struct bole_buffer *piece, uint32_t number, size_t *at)
{
	const struct bole_wholes_item *items = (const void *)w->items.ptr;
	size_t count = w->items.len / sizeof *items;
	uint8_t bytes[2];
	struct bole_aux_key key = key_of(bytes, number);

	piece->len = HEAD_BYTES;
	while (*at < count && items[*at].len + ITEM_BYTES <= PIECE_BYTES - piece->len)
		put_item(piece, w, &items[(*at)++]);
	BOLE_TRY(piece->rc);
	return tx->store->aux->put(tx, &key, bole_bytes_of(piece->ptr, piece->len));
}

/* How many pieces there will be. */
static uint32_t count_pieces(const struct bole_wholes *w)
{
	const struct bole_wholes_item *items = (const void *)w->items.ptr;
	size_t count = w->items.len / sizeof *items;
	size_t len = PIECE_BYTES;
	uint32_t pieces = 0;

	for (size_t i = 0; i < count; i++) {
		if (items[i].len + ITEM_BYTES > PIECE_BYTES - len) {
			len = HEAD_BYTES;
			pieces++;
		}
		len += items[i].len + ITEM_BYTES;
	}
	return pieces;
}

/* Those of before that have no successor. */
static enum bole_status remove_rest(struct bole_tx *tx, uint32_t from)
{
	const struct bole_aux_ops *aux = tx->store->aux;
	uint8_t bytes[2] = {0};
	struct bole_aux_key key = {BOLE_AUX_DERIVED, KIND, {bytes, 1}};
	struct bole_bytes found;
	enum bole_status rc;

	while ((rc = aux->next(tx->view, key.cls, key.kind, key.key, &found)) == BOLE_OK) {
		if (found.len > sizeof bytes)
			return BOLE_E_CORRUPT; /* there are no such keys */
		memcpy(bytes, found.ptr, found.len);
		key.key.len = found.len;
		if (found.len == 2 && bole_get_be16(bytes) >= from)
			BOLE_TRY(aux->put(tx, &key, (struct bole_bytes){NULL, 0}));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_wholes_put(struct bole_wholes *w, struct bole_tx *tx, uint64_t generation)
{
	size_t count = w->items.len / sizeof(struct bole_wholes_item);
	struct bole_buffer piece;
	size_t at = 0;
	uint32_t number = 0;

	BOLE_TRY(bole_sort(w->bitmap->platform, w->alloc, w->items.ptr, count,
	                   sizeof(struct bole_wholes_item), by_position));
	uint32_t pieces = count_pieces(w);
	if (pieces > PIECES_MAX)
		return BOLE_E_LIMIT;
	uint8_t head[HEAD_BYTES];
	bole_put_le32(head, MAGIC);
	bole_put_le32(head + 4, pieces);
	bole_put_le64(head + 8, generation);
	bole_buffer_init(&piece, w->alloc, PIECE_BYTES);
	bole_buffer_append(&piece, head, sizeof head);
	enum bole_status rc = piece.rc;
	while (rc == BOLE_OK && at < count)
		rc = put_piece(w, tx, &piece, number++, &at);
	bole_buffer_release(&piece);
	return rc == BOLE_OK ? remove_rest(tx, pieces) : rc;
}

/* -- Reading -- */

void bole_wholes_reader_init(struct bole_wholes_reader *r, const struct bole_bitmap *b,
                             struct bole_snapshot *snapshot, struct bole_alloc *alloc)
{
	*r = (struct bole_wholes_reader){.snapshot = snapshot,
	                                 .alloc = alloc,
	                                 .generation = atomic_load(&b->generation),
	                                 .pieces = 1};
	r->ended = r->generation == 0;
}

void bole_wholes_reader_close(struct bole_wholes_reader *r)
{
	bole_alloc_free(r->alloc, r->value, r->len, 1);
	r->value = NULL;
	r->len = 0;
	r->ended = true;
}

static bool next_piece(struct bole_wholes_reader *r)
{
	uint8_t bytes[2];
	struct bole_aux_key key = key_of(bytes, r->next);

	bole_alloc_free(r->alloc, r->value, r->len, 1);
	r->value = NULL;
	r->len = 0;
	if (r->next == r->pieces || r->snapshot->store->aux->get(r->snapshot, &key, r->alloc,
	                                                         &r->value, &r->len) != BOLE_OK)
		return false;
	if (r->len < HEAD_BYTES || bole_get_le32(r->value) != MAGIC ||
	    bole_get_le64(r->value + 8) != r->generation)
		return false;
	r->pieces = bole_get_le32(r->value + 4);
	if (r->pieces > PIECES_MAX || r->next >= r->pieces)
		return false;
	r->next++;
	r->at = HEAD_BYTES;
	return true;
}

bool bole_wholes_find(struct bole_wholes_reader *r, uint32_t position, struct bole_bytes *out)
{
	while (!r->ended) {
		size_t left = r->len - r->at;

		if (left < ITEM_BYTES) {
			r->ended = left != 0 || !next_piece(r);
			continue;
		}
		uint32_t here = bole_get_le32(r->value + r->at);
		uint32_t len = bole_get_le32(r->value + r->at + 4);
		if (len > left - ITEM_BYTES)
			break;
		if (here > position)
			return false;
		r->at += ITEM_BYTES + len;
		if (here < position)
			continue;
		*out = bole_bytes_of(r->value + r->at - len, len);
		return true;
	}
	r->ended = true;
	return false;
}
