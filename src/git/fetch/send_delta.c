/* SPDX-License-Identifier: ISC */
/* Which version the receiver has: newest first means extents from the last to the first, in each in
 * the order of its entries (clients write what is new first, as a repack does with long files; what
 * it writes the other way round is seldom left whole), objects by their ids the other way round.
 * The first one with the right name is taken, and no other is looked at. Work ends when it does not
 * save enough: a fetch must not cost more than it would without. */
#include "git/fetch/send_delta.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/store.h"
#include "git/repack/delta_encode.h"

enum {
	BYTES_MIN = 96,           /* stored: less is not worth it */
	STORED_MAX = 256 * 1024,  /* of a target */
	OBJECT_MAX = 1024 * 1024, /* inflated, of targets and bases */
	CACHE_BYTES = 4 * 1024 * 1024,
	REF_HEAD_BYTES = 24,     /* about, of a delta that names its base by its id */
	DEFLATES_TO = 3,         /* an object, about: the part of its length */
	TREE_PERCENT = 60,       /* the same of a tree, which is ids for the most part */
	GAIN_PART = 8,           /* of what would be sent, that a delta must save */
	WORK_OBJECT = 1024,      /* beside its bytes, of a comparison */
	WORK_FIRST = 128 * 1024, /* before anything must have been saved */
	WORK_SAVED = 8,          /* for each byte that was saved */
	WORK_BYTE = 8,           /* of fairness, for a byte that is compared */
	SEND_MAX = 1 << 20,      /* objects; what is more is a clone or nearly one */
	SCAN_MIN = 64 * 1024,    /* positions with names that are looked at */
	SCAN_NAMED = 16,         /* without one: cheaper by this */
	SCAN_EACH = 64,          /* the same, for each that is sent */
	SCAN_MAX = 8 * 1024 * 1024,
	SCAN_YIELD = 4096,
	TRIES_FIRST = 16, /* of a type, before any must have served */
	TRIES_PART = 4,   /* of them, that must */
	PROBES = 16,      /* names may be chosen so that they fall together */
};

/* What the receiver has at a path. */
struct kin {
	uint32_t name; /* 0 = an empty slot */
	uint32_t position;
};

struct room {
	uint8_t *ptr;
	size_t cap;
};

struct send_deltas {
	struct emission *em;
	struct bole_pick *pick;
	struct bole_alloc *alloc;
	struct bole_snapshot *snapshot;
	struct bole_object_reader *reader; /* of smaller objects than the emission's */
	struct bole_deflater *deflater;
	struct kin *kin; /* open addressing */
	uint32_t kin_cap;
	unsigned kin_shift;
	uint32_t waiting; /* names without a base so far */
	struct room base;
	struct room delta;
	struct room packed;
	uint64_t work;
	uint64_t saved;
	uint32_t tried[BOLE_OBJECT_TAG + 1]; /* by type */
	uint32_t made[BOLE_OBJECT_TAG + 1];
};

/* -- Names -- */

/* The slot of a name, or where it would go; NULL = its places are taken. */
static struct kin *kin_of(const struct send_deltas *sd, uint32_t name)
{
	uint32_t at = (name * UINT32_C(2654435761)) >> sd->kin_shift;

	for (unsigned i = 0; i < PROBES; i++) {
		struct kin *k = &sd->kin[(at + i) & (sd->kin_cap - 1)];

		if (k->name == name || k->name == 0)
			return k;
	}
	return NULL;
}

static enum bole_status list_names(struct send_deltas *sd)
{
	const struct bole_bitmap *b = sd->pick->bitmap;
	const struct bitmap_bits *send = &sd->pick->send;

	for (uint32_t at = bitmap_next(send, 0, b->positions, true); at < b->positions;
	     at = bitmap_next(send, at + 1, b->positions, true)) {
		struct kin *k = b->names[at] == 0 ? NULL : kin_of(sd, b->names[at]);

		if (k == NULL || k->name != 0)
			continue;
		*k = (struct kin){b->names[at], BITMAP_NONE};
		sd->waiting++;
		if (sd->waiting % SCAN_YIELD == 0)
			BOLE_TRY(bole_reach_spend(sd->em->plan, SCAN_YIELD * WORK_BYTE));
	}
	return BOLE_OK;
}

/* Looks at one segment of what the receiver has, the newest first. Commits, of which packs have all
 * before the rest, have no names and cost next to nothing. */
static enum bole_status scan(struct send_deltas *sd, const struct bitmap_segment *s, uint64_t *left)
{
	const struct bole_bitmap *b = sd->pick->bitmap;

	for (uint32_t i = 0; i < s->count && sd->waiting > 0 && *left >= SCAN_NAMED; i++) {
		uint32_t at = s->first + (s->extent != 0 ? i : s->count - 1 - i);
		uint32_t name = b->names[at];

		if (i % SCAN_YIELD == SCAN_YIELD - 1)
			BOLE_TRY(bole_reach_spend(sd->em->plan, SCAN_YIELD));
		*left -= name == 0 ? 1 : SCAN_NAMED;
		if (name == 0 || !bitmap_has(&sd->pick->have, at))
			continue;
		struct kin *k = kin_of(sd, name);
		if (k == NULL || k->name == 0 || k->position != BITMAP_NONE)
			continue;
		k->position = at;
		sd->waiting--;
	}
	return BOLE_OK;
}

static enum bole_status scan_all(struct send_deltas *sd)
{
	const struct bole_bitmap *b = sd->pick->bitmap;
	uint64_t left = sd->pick->count * SCAN_EACH;

	left = (left < SCAN_MIN ? SCAN_MIN : left > SCAN_MAX ? SCAN_MAX : left) * SCAN_NAMED;
	for (uint32_t i = b->segment_count; i-- > 0 && left >= SCAN_NAMED && sd->waiting > 0;)
		BOLE_TRY(scan(sd, &b->segments[i], &left));
	return BOLE_OK;
}

/* -- Opening -- */

static bool has_any(const struct bitmap_bits *bits, uint32_t end)
{
	return bitmap_next(bits, 0, end, true) < end;
}

static enum bole_status fill(struct send_deltas *sd)
{
	struct bole_object_reader_options options = {.cache_bytes = CACHE_BYTES,
	                                             .object_bytes_max = OBJECT_MAX};

	sd->kin_shift = 32;
	for (sd->kin_cap = 1; sd->kin_cap < 2 * sd->pick->count + PROBES; sd->kin_cap *= 2)
		sd->kin_shift--;
	sd->kin = bole_alloc_zeroed(sd->alloc, sd->kin_cap, sizeof *sd->kin);
	if (sd->kin == NULL)
		return BOLE_E_NO_MEMORY;
	BOLE_TRY(list_names(sd));
	BOLE_TRY(scan_all(sd));
	return bole_object_reader_open(sd->snapshot, sd->alloc, &options, &sd->reader);
}

enum bole_status bole_send_deltas_open(struct emission *em, struct bole_pick *pick,
                                       struct send_deltas **out)
{
	const struct bole_reach *job = &em->plan->job;

	*out = NULL;
	if (!job->thin || job->have_count == 0 || pick->count == 0 || pick->count > SEND_MAX ||
	    !has_any(&pick->have, pick->bitmap->positions))
		return BOLE_OK;
	struct send_deltas *sd = bole_alloc_zeroed(job->alloc, 1, sizeof *sd);
	if (sd == NULL)
		return BOLE_OK;
	sd->em = em;
	sd->pick = pick;
	sd->alloc = job->alloc;
	sd->snapshot = job->snapshot;
	enum bole_status rc = fill(sd);
	if (rc == BOLE_OK) {
		*out = sd;
		return BOLE_OK;
	}
	bole_send_deltas_close(sd);
	return rc == BOLE_E_NO_MEMORY ? BOLE_OK : rc;
}

static void room_free(struct send_deltas *sd, struct room *room)
{
	bole_alloc_free(sd->alloc, room->ptr, room->cap, 1);
}

void bole_send_deltas_close(struct send_deltas *sd)
{
	if (sd == NULL)
		return;
	room_free(sd, &sd->base);
	room_free(sd, &sd->delta);
	room_free(sd, &sd->packed);
	bole_object_reader_close(sd->reader);
	bole_alloc_free(sd->alloc, sd->kin, sd->kin == NULL ? 0 : sd->kin_cap, sizeof *sd->kin);
	bole_alloc_free(sd->alloc, sd, 1, sizeof *sd);
}

/* -- One object -- */

static struct kin *kin_at(const struct send_deltas *sd, uint32_t position)
{
	const struct bole_bitmap *b = sd->pick->bitmap;

	if (position >= b->positions || b->names[position] == 0)
		return NULL;
	struct kin *k = kin_of(sd, b->names[position]);
	return k == NULL || k->name == 0 ? NULL : k;
}

bool bole_send_delta_pays(const struct send_deltas *sd, uint32_t position, uint64_t bytes)
{
	if (sd == NULL || (bytes != 0 && bytes < BYTES_MIN) || bytes > STORED_MAX ||
	    sd->work > WORK_FIRST + sd->saved * WORK_SAVED)
		return false;
	const struct kin *k = kin_at(sd, position);
	return k != NULL && k->position != BITMAP_NONE;
}

static enum bole_status reserve(struct send_deltas *sd, struct room *room, size_t len)
{
	if (len <= room->cap)
		return BOLE_OK;
	room_free(sd, room);
	*room = (struct room){.ptr = bole_alloc_array(sd->alloc, len, 1)};
	if (room->ptr == NULL)
		return BOLE_E_NO_MEMORY;
	room->cap = len;
	return BOLE_OK;
}

/* The entry and id of what lies at a position. */
static enum bole_status entry_of(struct send_deltas *sd, uint32_t position, struct bole_oid *oid,
                                 struct bole_entry *entry)
{
	const struct bole_bitmap *b = sd->pick->bitmap;
	const struct bitmap_segment *s = bole_bitmap_segment(b, position);
	uint32_t number = s->at + (position - s->first);

	if (s->extent != 0)
		return bole_odb_entry_at(sd->snapshot, s->extent, b->offsets[number], oid, entry);
	bole_oid_from_raw(b->ids.ptr + (size_t)number * b->key_bytes, b->algo, oid);
	return bole_odb_find(sd->snapshot, oid, entry);
}

/* The base's content in sd->base. */
static enum bole_status take_base(struct send_deltas *sd, uint32_t position, uint8_t type,
                                  struct bole_oid *oid, struct bole_bytes *out)
{
	struct bole_entry entry;
	struct bole_bytes content;

	BOLE_TRY(entry_of(sd, position, oid, &entry));
	if (entry.type != type)
		return BOLE_E_NOT_FOUND;
	enum bole_status rc = bole_object_read_entry(sd->reader, &entry, &content);
	if (rc == BOLE_E_NOT_FOUND) { /* collected there, and somewhere else */
		BOLE_TRY(bole_odb_find(sd->snapshot, oid, &entry));
		rc = bole_object_read_entry(sd->reader, &entry, &content);
	}
	BOLE_TRY(rc);
	BOLE_TRY(reserve(sd, &sd->base, content.len));
	if (content.len > 0)
		memcpy(sd->base.ptr, content.ptr, content.len);
	*out = bole_bytes_of(sd->base.ptr, content.len);
	return BOLE_OK;
}

/* The delta, deflated, in sd->packed. BOLE_E_LIMIT: it is not short enough. */
static enum bole_status make(struct send_deltas *sd, struct bole_bytes base,
                             struct bole_bytes target, uint64_t bytes, size_t *delta_len,
                             size_t *packed_len)
{
	struct bole_delta_index *index;

	size_t cap = bytes * 2 < target.len / 4 * 3 ? (size_t)bytes * 2 : target.len / 4 * 3;

	sd->work += base.len + target.len;
	BOLE_TRY(reserve(sd, &sd->delta, cap));
	BOLE_TRY(bole_delta_index_open(sd->alloc, base, &index));
	enum bole_status rc = bole_delta_encode(index, target, sd->delta.ptr, cap, delta_len);
	bole_delta_index_close(index);
	BOLE_TRY(rc);
	BOLE_TRY(reserve(sd, &sd->packed, bole_deflate_bound(*delta_len)));
	*packed_len = bole_deflate_whole(sd->deflater, bole_bytes_of(sd->delta.ptr, *delta_len),
	                                 sd->packed.ptr, sd->packed.cap);
	if (*packed_len == 0)
		return BOLE_E_NO_MEMORY;
	return *packed_len + REF_HEAD_BYTES + bytes / GAIN_PART < bytes ? BOLE_OK : BOLE_E_LIMIT;
}

static enum bole_status attempt(struct send_deltas *sd, const struct bole_entry *entry,
                                uint64_t bytes, struct send_delta *out)
{
	struct bole_bytes base, target;
	size_t len;

	sd->work += WORK_OBJECT;
	BOLE_TRY(take_base(sd, out->base, entry->type, &out->oid, &base));
	BOLE_TRY(bole_object_read_entry(sd->reader, entry, &target));
	uint64_t whole = bytes != 0                        ? bytes
	                 : entry->type == BOLE_OBJECT_TREE ? target.len * TREE_PERCENT / 100
	                                                   : target.len / DEFLATES_TO;
	BOLE_TRY(make(sd, base, target, whole, &out->len, &len));
	out->deflated = bole_bytes_of(sd->packed.ptr, len);
	if (bytes != 0)
		sd->saved += bytes - len - REF_HEAD_BYTES;
	else
		sd->saved += len; /* at least, or it would not have been taken */
	return BOLE_OK;
}

/* Where one tree has nothing in common with what the client has, others have not, either. */
static bool is_promising(const struct send_deltas *sd, uint8_t type)
{
	return type <= BOLE_OBJECT_TAG &&
	       (sd->tried[type] < TRIES_FIRST || sd->made[type] >= sd->tried[type] / TRIES_PART);
}

enum bole_status bole_send_delta(struct send_deltas *sd, const struct bole_entry *entry,
                                 uint32_t position, uint64_t bytes, struct send_delta *out)
{
	struct emission *em = sd->em;
	uint64_t work = sd->work;

	*out = (struct send_delta){.deflated = {NULL, 0}};
	if (!is_promising(sd, entry->type))
		return BOLE_OK;
	BOLE_TRY(bole_emit_open_deflater(em));
	sd->deflater = em->deflater;
	out->base = kin_at(sd, position)->position;
	enum bole_status rc = attempt(sd, entry, bytes, out);
	sd->tried[entry->type]++;
	sd->made[entry->type] += rc == BOLE_OK;
	BOLE_TRY(bole_reach_spend(em->plan, (size_t)(sd->work - work) * WORK_BYTE));
	return rc == BOLE_E_GONE || rc == BOLE_E_CLOSED ? rc : BOLE_OK;
}
