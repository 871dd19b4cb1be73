/* SPDX-License-Identifier: ISC */
/* An index as auxiliary records (docs/FORMAT.md, "Bitmaps"): pieces of one stream, written in one
 * transaction. What is read is checked like anything from a device; whatever does not fit is no
 * index, and another one is made. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/store.h"
#include "git/bitmap/wholes.h"

enum {
	KIND = 1,
	MAGIC = 0x344d4242,     /* "BBM4" */
	MAGIC_ANY = 0x00ffffff, /* of any version: made anew in place of it */
	PIECE_BYTES = 512 * 1024,
	PIECE_HEAD_BYTES = 24, /* magic, pieces, generation, length of the stream */
	PIECES_MAX = 255,
	SUM_KEY = 255,          /* no piece has this number */
	SUM_MAGIC = 0x31534242, /* "BBS1" */
	SUM_HEAD_BYTES = 12,    /* magic, extent */
	SEGMENT_BYTES = 12,
	SET_BYTES = 12, /* and the commit's id */
	AUX_KEY_MAX = 255,
};

#define WITH_WHOLES UINT64_C(1) /* in a generation */

/* -- Writing -- */

static void put32(struct bole_buffer *out, uint32_t value)
{
	uint8_t bytes[4];

	bole_put_le32(bytes, value);
	bole_buffer_append(out, bytes, sizeof bytes);
}

static void put64(struct bole_buffer *out, uint64_t value)
{
	put32(out, (uint32_t)value);
	put32(out, (uint32_t)(value >> 32));
}

static void put_set(struct bole_buffer *out, const struct bitmap_set *set)
{
	put32(out, set->base);
	put32(out, set->len);
	put32(out, set->objects);
}

/* 1: a blob; 2: a tree; 0: something else. */
static uint8_t type_of(const struct bole_bitmap *b, uint32_t position)
{
	return (uint8_t)((b->blobs[position / 64] >> position % 64 & 1) |
	                 (b->trees[position / 64] >> position % 64 & 1) << 1);
}

static void note_type(struct bole_bitmap *b, uint32_t position, uint8_t type)
{
	static const uint8_t types[] = {0, BOLE_OBJECT_BLOB, BOLE_OBJECT_TREE, 0};

	bole_bitmap_note_type(b, position, types[type]);
}

/* Where the entries of extents begin and end, and of what type they are. An extent never changes,
 * so this saves reading its whole table. */
static void put_places(struct bole_buffer *out, const struct bole_bitmap *b)
{
	for (uint32_t i = 0; i < b->segment_count; i++) {
		const struct bitmap_segment *s = &b->segments[i];

		if (s->extent == 0)
			continue;
		const uint32_t *offsets = b->offsets + s->at;
		bole_bitmap_put_number(out, offsets[0]);
		for (uint32_t n = 0; n < s->count; n++)
			bole_bitmap_put_number(
			        out, (n + 1 < s->count ? offsets[n + 1] : s->end_low) - offsets[n]);
		for (uint32_t n = 0; n < s->count; n += 4) {
			uint8_t types = 0;

			for (uint32_t k = 0; k < 4 && n + k < s->count; k++)
				types |= (uint8_t)(type_of(b, s->first + n + k) << 2 * k);
			bole_buffer_byte(out, types);
		}
	}
}

static void encode(const struct bole_bitmap *b, const struct bole_buffer *places,
                   struct bole_buffer *out)
{
	put32(out, b->algo);
	put32(out, b->segment_count);
	put32(out, b->set_count);
	put32(out, (uint32_t)(b->ids.len / b->key_bytes));
	put32(out, (uint32_t)(b->tips.len / b->key_bytes));
	put32(out, (uint32_t)b->runs.len);
	put32(out, b->closure_count);
	put32(out, (uint32_t)b->closure_runs.len);
	put32(out, (uint32_t)places->len);
	for (uint32_t i = 0; i < b->segment_count; i++) {
		put64(out, b->segments[i].extent);
		put32(out, b->segments[i].count);
	}
	for (uint32_t i = 0; i < b->segment_count; i++) {
		const struct bitmap_segment *s = &b->segments[i];

		for (uint32_t n = 0; s->extent == 0 && n < s->count; n++)
			bole_buffer_byte(out, type_of(b, s->first + n));
	}
	bole_buffer_append(out, b->ids.ptr, b->ids.len);
	for (uint32_t i = 0; i < b->set_count; i++) {
		bole_buffer_append(out, b->sets[i].commit, b->key_bytes);
		put_set(out, &b->sets[i]);
	}
	put_set(out, &b->all);
	for (uint32_t i = 0; i < b->closure_count; i++) {
		bole_buffer_append(out, b->closures[i].commit, b->key_bytes);
		put_set(out, &b->closures[i]);
	}
	bole_buffer_append(out, b->tips.ptr, b->tips.len);
	bole_buffer_append(out, b->runs.ptr, b->runs.len);
	bole_buffer_append(out, b->closure_runs.ptr, b->closure_runs.len);
	for (uint32_t i = 0; i < b->positions; i++)
		put32(out, b->names[i]);
	bole_buffer_append(out, places->ptr, places->len);
}

static enum bole_status put_pieces(struct bole_tx *tx, const struct bole_bitmap *b,
                                   const struct bole_buffer *stream, uint64_t generation)
{
	size_t pieces = (stream->len + PIECE_BYTES - 1) / PIECE_BYTES;
	struct bole_buffer piece;
	enum bole_status rc = BOLE_OK;

	if (pieces > PIECES_MAX)
		return BOLE_E_LIMIT;
	bole_buffer_init(&piece, b->alloc, PIECE_BYTES + PIECE_HEAD_BYTES);
	for (size_t i = 0; i < pieces && rc == BOLE_OK; i++) {
		uint8_t number = (uint8_t)i;
		struct bole_aux_key key = {BOLE_AUX_DERIVED, KIND, {&number, 1}};
		size_t left = stream->len - i * PIECE_BYTES;

		piece.len = 0;
		put32(&piece, MAGIC);
		put32(&piece, (uint32_t)pieces);
		put64(&piece, generation);
		put64(&piece, stream->len);
		bole_buffer_append(&piece, stream->ptr + i * PIECE_BYTES,
		                   left < PIECE_BYTES ? left : PIECE_BYTES);
		rc = piece.rc;
		if (rc == BOLE_OK)
			rc = tx->store->aux->put(tx, &key, bole_bytes_of(piece.ptr, piece.len));
	}
	bole_buffer_release(&piece);
	return rc;
}

enum bole_status bole_bitmap_save(struct bole_bitmap *b, struct bole_wholes *wholes,
                                  struct bole_store *store, uint32_t repo)
{
	uint64_t generation = 0;
	struct bole_buffer stream, places;
	struct bole_tx *tx = NULL;
	size_t failed;

	b->platform->ops->random(b->platform, &generation, sizeof generation);
	generation = (generation & ~WITH_WHOLES) | (wholes == NULL ? 0 : WITH_WHOLES);
	bole_buffer_init(&stream, b->alloc, (size_t)PIECES_MAX * PIECE_BYTES);
	bole_buffer_init(&places, b->alloc, (size_t)PIECES_MAX * PIECE_BYTES);
	put_places(&places, b);
	encode(b, &places, &stream);
	enum bole_status rc = places.rc != BOLE_OK ? places.rc : stream.rc;
	bole_buffer_release(&places);
	if (rc == BOLE_OK)
		rc = bole_tx_begin(store, repo, &tx);
	if (rc == BOLE_OK)
		rc = put_pieces(tx, b, &stream, generation);
	bole_buffer_release(&stream);
	if (rc == BOLE_OK && wholes != NULL)
		rc = bole_wholes_put(wholes, tx, generation);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	BOLE_TRY(bole_tx_commit(tx, NULL, 0, &failed));
	atomic_store(&b->generation, wholes == NULL ? 0 : generation);
	return BOLE_OK;
}

/* By itself; value.ptr NULL removes. */
static enum bole_status put_one(struct bole_store *store, uint32_t repo, uint8_t number,
                                struct bole_bytes value)
{
	const struct bole_aux_key key = {BOLE_AUX_DERIVED, KIND, {&number, 1}};
	struct bole_tx *tx;
	size_t failed;

	BOLE_TRY(bole_tx_begin(store, repo, &tx));
	enum bole_status rc = store->aux->put(tx, &key, value);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

enum bole_status bole_bitmap_save_sum(const struct bole_bitmap *b, struct bole_store *store,
                                      uint32_t repo)
{
	uint8_t value[SUM_HEAD_BYTES + BOLE_OID_BYTES_MAX];

	bole_put_le32(value, SUM_MAGIC);
	bole_put_le32(value + 4, (uint32_t)b->sum_extent);
	bole_put_le32(value + 8, (uint32_t)(b->sum_extent >> 32));
	memcpy(value + SUM_HEAD_BYTES, b->sum, b->key_bytes);
	return put_one(store, repo, SUM_KEY, bole_bytes_of(value, SUM_HEAD_BYTES + b->key_bytes));
}

/* -- A collection -- */

enum bole_status bole_bitmap_set_aside(struct bole_store *store, uint32_t repo,
                                       struct bole_alloc *alloc, uint8_t **value, size_t *len)
{
	const uint8_t number = 0;
	const struct bole_aux_key key = {BOLE_AUX_DERIVED, KIND, {&number, 1}};
	struct bole_snapshot *snapshot;

	*value = NULL;
	*len = 0;
	if (store->aux == NULL)
		return BOLE_OK;
	BOLE_TRY(bole_snapshot_open(store, repo, &snapshot));
	enum bole_status rc = store->aux->get(snapshot, &key, alloc, value, len);
	bole_snapshot_close(snapshot);
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_OK;
	if (rc != BOLE_OK) /* it goes, and another one is made */
		*value = NULL;
	/* Without the first piece there is no index. */
	rc = put_one(store, repo, 0, (struct bole_bytes){NULL, 0});
	if (rc != BOLE_OK) {
		bole_alloc_free(alloc, *value, *value == NULL ? 0 : *len, 1);
		*value = NULL;
	}
	return rc;
}

enum bole_status bole_bitmap_put_back(struct bole_store *store, uint32_t repo,
                                      struct bole_bytes value)
{
	return put_one(store, repo, 0, value);
}

static enum bole_status forget_all(struct bole_tx *tx, bool *any)
{
	const struct bole_aux_ops *aux = tx->store->aux;
	uint8_t bytes[AUX_KEY_MAX];
	struct bole_aux_key key = {BOLE_AUX_DERIVED, KIND, {bytes, 0}};
	struct bole_bytes found;
	enum bole_status rc;

	*any = false;
	while ((rc = aux->next(tx->view, key.cls, key.kind, key.key, &found)) == BOLE_OK) {
		memcpy(bytes, found.ptr, found.len);
		key.key.len = found.len;
		BOLE_TRY(aux->put(tx, &key, (struct bole_bytes){NULL, 0}));
		*any = true;
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_bitmap_forget(struct bole_store *store, uint32_t repo)
{
	struct bole_tx *tx;
	size_t failed;
	bool any;

	if (store->aux == NULL)
		return BOLE_OK;
	BOLE_TRY(bole_tx_begin(store, repo, &tx));
	enum bole_status rc = forget_all(tx, &any);
	if (rc != BOLE_OK || !any) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

/* -- Reading -- */

struct cursor {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static const uint8_t *take(struct cursor *c, uint64_t len)
{
	static const uint8_t none[SEGMENT_BYTES + BOLE_OID_BYTES_MAX];
	const uint8_t *p = c->p;

	if (c->bad || len > c->left) {
		c->bad = true;
		return none;
	}
	c->p += len;
	c->left -= (size_t)len;
	return p;
}

static uint32_t get32(struct cursor *c)
{
	return bole_get_le32(take(c, 4));
}

/* NULL: there are not so many. */
static const uint8_t *take_many(struct cursor *c, uint64_t len)
{
	const uint8_t *p = take(c, len);

	return c->bad ? NULL : p;
}

static uint32_t get_number(struct cursor *c)
{
	uint32_t value = 0;

	if (c->bad || !bole_bitmap_get_number(&c->p, &c->left, &value))
		c->bad = true;
	return value;
}

/* The pieces as one stream. BOLE_E_NOT_FOUND, BOLE_E_CORRUPT. */
static enum bole_status join(struct bole_snapshot *snapshot, struct bole_alloc *alloc,
                             struct bole_buffer *out, uint64_t *generation)
{
	uint64_t total = 0;
	uint32_t pieces = 1;

	for (uint32_t i = 0; i < pieces; i++) {
		uint8_t number = (uint8_t)i;
		struct bole_aux_key key = {BOLE_AUX_DERIVED, KIND, {&number, 1}};
		uint8_t *value;
		size_t len;

		BOLE_TRY(snapshot->store->aux->get(snapshot, &key, alloc, &value, &len));
		bool ok = len > PIECE_HEAD_BYTES && bole_get_le32(value) == MAGIC;
		bool old =
		        len > PIECE_HEAD_BYTES && ((bole_get_le32(value) ^ MAGIC) & MAGIC_ANY) == 0;
		if (ok && i == 0) {
			pieces = bole_get_le32(value + 4);
			*generation = bole_get_le64(value + 8);
			total = bole_get_le64(value + 16);
		}
		ok = ok && pieces > 0 && pieces <= PIECES_MAX &&
		     bole_get_le64(value + 8) == *generation;
		if (ok)
			bole_buffer_append(out, value + PIECE_HEAD_BYTES, len - PIECE_HEAD_BYTES);
		bole_alloc_free(alloc, value, len, 1);
		if (!ok)
			return old ? BOLE_E_NOT_FOUND : BOLE_E_CORRUPT;
		BOLE_TRY(out->rc);
	}
	return out->len == total ? BOLE_OK : BOLE_E_CORRUPT;
}

/* The entries of an extent, from the cursor. What the extent itself says of its last one must be
 * the same. */
static enum bole_status load_places(struct bole_bitmap *b, struct cursor *c,
                                    const struct bole_extent_place *last, uint32_t count)
{
	uint32_t *offsets = b->offsets + b->offset_count;
	uint64_t end = get_number(c);
	uint64_t begin = end;

	/* Each is at least a byte: no more than there is. */
	if (c->bad || count > c->left)
		return BOLE_E_CORRUPT;
	for (uint32_t n = 0; n < count; n++) {
		begin = end;
		offsets[n] = (uint32_t)begin;
		end += get_number(c);
		if (c->bad || end > UINT32_MAX || end == begin)
			return BOLE_E_CORRUPT;
	}
	const uint8_t *types = take_many(c, (count + UINT64_C(3)) / 4);
	if (types == NULL || begin != last->offset || end - begin != last->stored_bytes)
		return BOLE_E_CORRUPT;
	for (uint32_t n = 0; n < count; n++)
		note_type(b, b->positions + n, types[n / 4] >> n % 4 * 2 & 3);
	b->segments[b->segment_count].end_low = (uint32_t)end;
	return BOLE_OK;
}

static enum bole_status load_extent(struct bole_bitmap *b, struct bole_snapshot *snapshot,
                                    struct cursor *places, uint64_t extent, uint32_t count)
{
	struct bole_extent_info info;
	struct bole_extent_place last;
	size_t one = 1;

	if (bole_extent_next(snapshot, extent - 1, &info) != BOLE_OK || info.extent != extent ||
	    info.rows != count)
		return BOLE_E_NOT_FOUND;
	if (count == 0)
		return BOLE_E_CORRUPT;
	BOLE_TRY(bole_extent_rows(snapshot, extent, count - 1, &last, &one));
	if (one != 1)
		return BOLE_E_CORRUPT;
	BOLE_TRY(bole_bitmap_reserve(b, count));
	BOLE_TRY(load_places(b, places, &last, count));
	struct bitmap_segment *s = &b->segments[b->segment_count++];
	*s = (struct bitmap_segment){.extent = extent,
	                             .first = b->positions,
	                             .count = count,
	                             .at = b->offset_count,
	                             .end_low = s->end_low};
	b->offset_count += count;
	b->positions += count;
	return BOLE_OK;
}

static enum bole_status load_segments(struct bole_bitmap *b, struct bole_snapshot *snapshot,
                                      struct cursor *c, struct cursor *places, uint32_t segments,
                                      uint32_t ids)
{
	const uint8_t *segment = take(c, (uint64_t)segments * SEGMENT_BYTES);
	const uint8_t *type = take(c, ids);
	const uint8_t *id = take(c, (uint64_t)ids * b->key_bytes);
	struct bole_oid oid;
	uint32_t position;

	if (c->bad)
		return BOLE_E_CORRUPT;
	for (uint32_t i = 0; i < segments; i++, segment += SEGMENT_BYTES) {
		uint64_t extent = bole_get_le64(segment);
		uint32_t count = bole_get_le32(segment + 8);

		if (extent != 0) {
			BOLE_TRY(load_extent(b, snapshot, places, extent, count));
			continue;
		}
		if (count > ids)
			return BOLE_E_CORRUPT;
		for (ids -= count; count > 0; count--, id += b->key_bytes) {
			bole_oid_from_raw(id, b->algo, &oid);
			if (bole_oid_index_find(&b->by_id, id) != BOLE_OID_NONE)
				return BOLE_E_CORRUPT;
			BOLE_TRY(bole_bitmap_add_id(b, &oid, 0, &position));
			note_type(b, position, *type++ & 3);
		}
	}
	return ids == 0 ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status load_set(struct bole_bitmap *b, struct cursor *c, const uint8_t *commit,
                                 uint32_t *at, struct bitmap_set *set)
{
	*set = (struct bitmap_set){.base = get32(c), .at = *at};
	set->len = get32(c);
	set->objects = get32(c);
	if (c->bad || set->len > UINT32_MAX - *at ||
	    (set->base != BITMAP_NONE && set->base >= b->set_count) || set->objects > b->positions)
		return BOLE_E_CORRUPT;
	*at += set->len;
	if (commit != NULL)
		memcpy(set->commit, commit, b->key_bytes);
	return BOLE_OK;
}

static enum bole_status load_closures(struct bole_bitmap *b, struct cursor *c, uint32_t count,
                                      uint32_t runs)
{
	uint32_t at = 0;

	if (count > BITMAP_CLOSURES_MAX)
		return BOLE_E_CORRUPT;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *commit = take(c, b->key_bytes);

		BOLE_TRY(load_set(b, c, commit, &at, &b->closures[i]));
		if (b->closures[i].base != BITMAP_NONE)
			return BOLE_E_CORRUPT;
	}
	b->closure_count = count;
	return at == runs ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status load_sets(struct bole_bitmap *b, struct cursor *c, uint32_t sets,
                                  uint32_t runs)
{
	uint32_t at = 0;

	if ((uint64_t)sets * (SET_BYTES + b->key_bytes) > c->left)
		return BOLE_E_CORRUPT;
	b->sets = bole_alloc_array(b->alloc, sets == 0 ? 1 : sets, sizeof *b->sets);
	if (b->sets == NULL)
		return BOLE_E_NO_MEMORY;
	b->set_cap = sets == 0 ? 1 : sets;
	while (b->set_count < sets) {
		const uint8_t *commit = take(c, b->key_bytes);

		BOLE_TRY(load_set(b, c, commit, &at, &b->sets[b->set_count]));
		if (bole_oid_index_find(&b->by_commit, commit) != BOLE_OID_NONE)
			return BOLE_E_CORRUPT;
		BOLE_TRY(bole_oid_index_add(&b->by_commit, b->set_count++));
	}
	BOLE_TRY(load_set(b, c, NULL, &at, &b->all));
	return at == runs ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status load_bytes(struct cursor *c, uint64_t len, struct bole_buffer *out)
{
	const uint8_t *p = take_many(c, len);

	if (p == NULL)
		return BOLE_E_CORRUPT;
	bole_buffer_append(out, p, (size_t)len);
	return out->rc;
}

static enum bole_status load_names(struct bole_bitmap *b, struct cursor *c)
{
	const uint8_t *p = take_many(c, (uint64_t)b->positions * 4);

	if (p == NULL)
		return BOLE_E_CORRUPT;
	for (uint32_t i = 0; i < b->positions; i++)
		b->names[i] = bole_get_le32(p + (size_t)i * 4);
	return BOLE_OK;
}

static enum bole_status decode(struct bole_bitmap *b, struct bole_snapshot *snapshot,
                               struct cursor *c)
{
	uint32_t algo = get32(c);
	uint32_t segments = get32(c);
	uint32_t sets = get32(c);
	uint32_t ids = get32(c);
	uint32_t tips = get32(c);
	uint32_t runs = get32(c);
	uint32_t closures = get32(c);
	uint32_t closure_runs = get32(c);
	uint32_t places_bytes = get32(c);
	struct cursor places = {.left = places_bytes};

	if (c->bad || algo != b->algo || places_bytes > c->left)
		return BOLE_E_CORRUPT;
	/* The places come last and are needed first. */
	c->left -= places_bytes;
	places.p = c->p + c->left;
	BOLE_TRY(load_segments(b, snapshot, c, &places, segments, ids));
	BOLE_TRY(load_sets(b, c, sets, runs));
	BOLE_TRY(load_closures(b, c, closures, closure_runs));
	BOLE_TRY(load_bytes(c, (uint64_t)tips * b->key_bytes, &b->tips));
	BOLE_TRY(load_bytes(c, runs, &b->runs));
	BOLE_TRY(load_bytes(c, closure_runs, &b->closure_runs));
	BOLE_TRY(load_names(b, c));
	return c->left == 0 && places.left == 0 ? BOLE_OK : BOLE_E_CORRUPT;
}

/* An extent goes out as it is when its hash is known: only then somebody hashed it. */
static void load_sum(struct bole_bitmap *b, struct bole_snapshot *snapshot)
{
	const uint8_t number = SUM_KEY;
	const struct bole_aux_key key = {BOLE_AUX_DERIVED, KIND, {&number, 1}};
	struct bole_oid sum;
	uint8_t *value;
	size_t len;

	if (snapshot->store->aux->get(snapshot, &key, b->alloc, &value, &len) != BOLE_OK)
		return;
	if (len == SUM_HEAD_BYTES + b->key_bytes && bole_get_le32(value) == SUM_MAGIC) {
		uint64_t extent = bole_get_le64(value + 4);
		bool known = false;

		for (uint32_t i = 0; i < b->segment_count; i++)
			known |= extent != 0 && b->segments[i].extent == extent;
		bole_oid_from_raw(value + SUM_HEAD_BYTES, b->algo, &sum);
		if (known) {
			atomic_store(&b->verbatim, extent);
			bole_bitmap_set_sum(b, extent, &sum);
			atomic_store(&b->sum_saved, true);
		}
	}
	bole_alloc_free(b->alloc, value, len, 1);
}

enum bole_status bole_bitmap_load(struct bole_platform *platform, struct bole_alloc *alloc,
                                  struct bole_snapshot *snapshot, struct bole_bitmap **out)
{
	struct bole_buffer stream;
	uint64_t generation = 0;

	*out = NULL;
	bole_buffer_init(&stream, alloc, (size_t)PIECES_MAX * PIECE_BYTES);
	enum bole_status rc = join(snapshot, alloc, &stream, &generation);
	struct bole_bitmap *b = NULL;
	if (rc == BOLE_OK) {
		b = bole_bitmap_new(platform, alloc, snapshot->repo.algo);
		rc = b == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	}
	if (rc == BOLE_OK) {
		struct cursor c = {.p = stream.ptr, .left = stream.len};

		rc = decode(b, snapshot, &c);
	}
	bole_buffer_release(&stream);
	if (rc != BOLE_OK) {
		bole_bitmap_release(b);
		return rc;
	}
	load_sum(b, snapshot);
	atomic_store(&b->generation, (generation & WITH_WHOLES) != 0 ? generation : 0);
	*out = b;
	return BOLE_OK;
}
