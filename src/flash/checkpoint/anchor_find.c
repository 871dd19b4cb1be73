/* SPDX-License-Identifier: ISC */
/* Finding the newest anchor. Any valid anchor tells where both areas are. Areas of managed devices
 * are short and read whole. Raw ones are rings of erase blocks, each written from its start: the
 * block with the newest first slot is found by bisection, as is the last slot in it. Both areas
 * hold the same anchors, so when they do not agree (a cut came between, or a block is damaged)
 * every block is looked at. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/anchor.h"
#include "flash/volume/flash_format.h"

struct finder {
	struct bole_block *dev;
	struct bole_alloc *alloc;
	uint8_t *buf;
	size_t cap;
	struct flash_anchor *best;
	bool found;
	bool damaged;   /* our magic, wrong checksum */
	bool unread;    /* the device did not give something */
	bool torn;      /* a slot that an interrupted write may have left */
	bool dirty;     /* something that is neither zero nor erased */
	uint32_t other; /* a version that we do not know, and the newest anchor that has it */
	uint64_t other_generation;
	uint64_t hint;   /* where a torn anchor says that the second area is */
	uint64_t sum;    /* of the last anchor that was one of this volume */
	uint64_t newest; /* of the newest one of what was looked through */
};

enum { FIND_BUFFER = FLASH_ANCHOR_TAIL };

/* Decodes what is at p; off is its place. Keeps the newest of one volume. *generation is 0 when
 * there is none. */
static enum bole_status consider(struct finder *f, const uint8_t *p, size_t len, uint64_t off,
                                 uint64_t *generation)
{
	struct flash_anchor a;
	uint32_t version = 0;

	*generation = 0;
	enum bole_status rc = bole_flash_anchor_decode(p, (uint32_t)len, f->alloc, &a, &version);
	if (rc == BOLE_E_NO_MEMORY)
		return rc;
	if (rc == BOLE_E_CORRUPT) {
		f->damaged = true;
		f->hint = bole_get_le64(p + ANCHOR_SECOND_AT);
	}
	uint64_t number = rc == BOLE_E_UNSUPPORTED ? bole_get_le64(p + ANCHOR_GENERATION_AT) : 0;
	if (number > f->other_generation) {
		f->other = version;
		f->other_generation = number;
	}
	if (rc == BOLE_E_NOT_FOUND)
		f->dirty |= !bole_flash_anchor_blank(p, ANCHOR_SLOT_RAW_MIN);
	if (rc != BOLE_OK)
		return BOLE_OK;
	const struct flash_geometry *g = &a.geometry;
	uint64_t base = off >= g->second ? g->second : g->first;
	bool mine = off >= base && (off - base) % g->slot_bytes == 0 &&
	            (off - base) / g->slot_bytes < g->slots && a.generation != 0;
	if (mine && f->found)
		mine = memcmp(a.volume, f->best->volume, sizeof a.volume) == 0;
	if (mine) {
		*generation = a.generation;
		f->sum = bole_get_le64(p + ANCHOR_CHECKSUM_AT);
	}
	if (!mine || (f->found && a.generation <= f->best->generation)) {
		bole_flash_anchor_release(f->alloc, &a);
		return BOLE_OK;
	}
	if (f->found)
		bole_flash_anchor_release(f->alloc, f->best);
	*f->best = a;
	f->found = true;
	return BOLE_OK;
}

/* Reads what can hold a slot at off. */
static bool read_at(struct finder *f, uint64_t off, size_t len)
{
	uint64_t size = f->dev->info.size_bytes;

	if (off >= size)
		return false;
	memset(f->buf, 0, len);
	if (len > size - off)
		len = (size_t)(size - off);
	len -= len % f->dev->info.read_unit;
	if (len < ANCHOR_SLOT_RAW_MIN || bole_block_read(f->dev, off, f->buf, len) != BOLE_OK) {
		f->unread |= len >= ANCHOR_SLOT_RAW_MIN;
		return false;
	}
	return true;
}

/* -- Managed devices -- */

/* All anchors that begin at a multiple of step in [off, off + len); *last is the newest one's. */
static enum bole_status look_through(struct finder *f, uint64_t off, size_t len, size_t step,
                                     uint64_t *last, uint64_t *newest)
{
	*newest = 0;
	*last = 0;
	if (!read_at(f, off, len))
		return BOLE_OK;
	for (size_t at = 0; at + ANCHOR_SLOT_MANAGED <= len; at += step) {
		uint64_t generation;
		BOLE_TRY(consider(f, f->buf + at, len - at, off + at, &generation));
		f->torn |= generation == 0 &&
		           !bole_flash_anchor_blank(f->buf + at, ANCHOR_SLOT_MANAGED);
		if (generation > *newest) {
			*newest = generation;
			*last = off + at;
			f->newest = f->sum;
		}
	}
	return BOLE_OK;
}

static enum bole_status find_managed(struct finder *f, struct flash_anchor_place *place)
{
	const uint64_t size = f->dev->info.size_bytes;
	uint64_t generation[2];
	uint64_t sum[2];
	uint64_t last;
	uint64_t newest;

	BOLE_TRY(look_through(f, 0, FLASH_AREA_ALIGN, ANCHOR_SLOT_MANAGED, &last, &newest));
	/* A torn anchor still tells where the other area is, which must verify by itself; it lies
	 * at the end of the device unless that has grown. */
	if (!f->found && f->hint % ANCHOR_SLOT_MANAGED == 0 && f->hint != 0)
		BOLE_TRY(look_through(f, f->hint, FLASH_AREA_ALIGN, ANCHOR_SLOT_MANAGED, &last,
		                      &newest));
	uint64_t tail = size < FLASH_ANCHOR_TAIL ? 0 : size - FLASH_ANCHOR_TAIL;
	tail = bole_round_up(tail, ANCHOR_SLOT_MANAGED);
	if (!f->found && tail % f->dev->info.read_unit == 0)
		BOLE_TRY(look_through(f, tail, FLASH_ANCHOR_TAIL, ANCHOR_SLOT_MANAGED, &last,
		                      &newest));
	if (!f->found)
		return BOLE_OK;
	f->torn = false;
	for (uint32_t i = 0; i < 2; i++) {
		/* The other area may know a newer anchor, whose second area is elsewhere. */
		struct flash_geometry g = f->best->geometry;
		uint64_t base = bole_flash_anchor_at(&g, i, 0);
		size_t bytes = (size_t)g.slots * g.slot_bytes;
		BOLE_TRY(look_through(f, base, bytes, g.slot_bytes, &last, &newest));
		generation[i] = newest;
		sum[i] = newest == 0 ? 0 : f->newest;
		place->missing[i] = newest == 0;
		place->at[i] = newest == 0 ? 0 : (uint32_t)((last - base) / g.slot_bytes);
	}
	/* Two may bear one number: one of a write that a cut left unstable, and one of the mount
	 * after it that did not see it and was cut, too. */
	place->doubt = f->torn || f->unread || generation[0] != generation[1] || sum[0] != sum[1];
	place->unread = f->unread;
	return BOLE_OK;
}

/* -- Raw flash -- */

static enum bole_status slot_get(struct finder *f, uint64_t off, size_t len, uint64_t *generation,
                                 bool *blank)
{
	size_t read = (size_t)bole_round_up(len, f->dev->info.read_unit);

	*generation = 0;
	*blank = false;
	if (!read_at(f, off, read))
		return BOLE_OK;
	*blank = bole_flash_anchor_blank(f->buf, len);
	return *blank ? BOLE_OK : consider(f, f->buf, read, off, generation);
}

struct ring {
	struct finder *f;
	struct flash_geometry g;
	uint32_t area;
	uint32_t per;
	uint32_t blocks;
	uint64_t newest;
	uint64_t sum;  /* of the newest */
	uint32_t slot; /* of the newest */
};

/* First slots of a block. A bad one says nothing. */
static enum bole_status first_of(struct ring *r, uint32_t block, uint64_t *generation, bool *blank,
                                 bool *bad)
{
	uint64_t off = bole_flash_anchor_at(&r->g, r->area, block * r->per);

	*generation = 0;
	*blank = false;
	/* A device that was cut short ends before its areas do. */
	if (off >= r->f->dev->info.size_bytes ||
	    bole_block_is_bad(r->f->dev, off, bad) != BOLE_OK || *bad) {
		*bad = true;
		return BOLE_OK;
	}
	return slot_get(r->f, off, r->g.slot_bytes, generation, blank);
}

/* The last valid slot of a block that was written from its start. */
static enum bole_status last_of(struct ring *r, uint32_t block)
{
	uint32_t low = block * r->per;
	uint32_t high = low + r->per; /* slots from here on are blank */
	uint32_t first = low;
	uint64_t generation;
	bool blank;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		BOLE_TRY(slot_get(r->f, bole_flash_anchor_at(&r->g, r->area, mid), r->g.slot_bytes,
		                  &generation, &blank));
		if (blank)
			high = mid;
		else
			low = mid;
	}
	for (uint32_t at = high; at > first; at--) {
		BOLE_TRY(slot_get(r->f, bole_flash_anchor_at(&r->g, r->area, at - 1),
		                  r->g.slot_bytes, &generation, &blank));
		r->f->torn |= generation == 0 && !blank;
		if (generation == 0)
			continue;
		if (generation > r->newest) {
			r->newest = generation;
			r->sum = r->f->sum;
			r->slot = at - 1;
		}
		return BOLE_OK;
	}
	return BOLE_OK;
}

/* The ring goes on with older anchors behind the block. A blank one may be what a cut left there:
 * the newest may lie behind it. */
static enum bole_status older_behind(struct ring *r, uint32_t block, uint64_t newest, bool *sure)
{
	*sure = false;
	for (uint32_t i = 1; i < r->blocks; i++) {
		uint64_t generation;
		bool blank;
		bool bad;
		BOLE_TRY(first_of(r, (block + i) % r->blocks, &generation, &blank, &bad));
		*sure = !bad && generation != 0 && generation <= newest;
		if (!bad)
			return BOLE_OK;
	}
	return BOLE_OK;
}

/* Bisection: generations grow along the ring from some block on. *sure is false where a block says
 * nothing. */
static enum bole_status newest_block(struct ring *r, uint32_t *out, bool *sure)
{
	uint64_t start;
	uint64_t generation;
	bool blank;
	bool bad;
	uint32_t low = 0;
	uint32_t high = r->blocks;

	*sure = false;
	*out = 0;
	BOLE_TRY(first_of(r, 0, &start, &blank, &bad));
	if (start == 0)
		return BOLE_OK;
	uint64_t newest = start;
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		BOLE_TRY(first_of(r, mid, &generation, &blank, &bad));
		/* Bad blocks are passed over: ask the one before. */
		for (; bad && mid > low + 1; mid--)
			BOLE_TRY(first_of(r, mid - 1, &generation, &blank, &bad));
		if (bad)
			return BOLE_OK;
		if (generation == 0 && !blank)
			return BOLE_OK;
		if (generation >= start)
			low = mid;
		else
			high = mid;
		newest = generation >= start ? generation : newest;
	}
	*out = low;
	return older_behind(r, low, newest, sure);
}

static enum bole_status find_ring(struct ring *r)
{
	uint32_t block;
	bool sure;

	BOLE_TRY(newest_block(r, &block, &sure));
	return sure ? last_of(r, block) : BOLE_OK;
}

/* Every block whose first slot may be the start of something newer. */
static enum bole_status find_everywhere(struct ring *r)
{
	uint64_t best = 0;
	uint32_t at = 0;

	for (uint32_t i = 0; i < r->blocks; i++) {
		uint64_t generation;
		bool blank;
		bool bad;
		BOLE_TRY(first_of(r, i, &generation, &blank, &bad));
		if (generation > best) {
			best = generation;
			at = i;
		}
		if (generation == 0 && !blank && !bad)
			BOLE_TRY(last_of(r, i));
	}
	return best == 0 ? BOLE_OK : last_of(r, at);
}

static void ring_init(struct ring *r, struct finder *f, uint32_t area)
{
	*r = (struct ring){.f = f, .g = f->best->geometry, .area = area};
	r->per = f->dev->info.erase_unit / r->g.slot_bytes;
	r->blocks = r->per == 0 ? 0 : r->g.slots / r->per;
}

static enum bole_status find_raw(struct finder *f, struct flash_anchor_place *place)
{
	const struct bole_block_info *info = &f->dev->info;
	struct ring ring[2];
	uint64_t generation;
	uint32_t step = bole_flash_slot_raw(bole_flash_unit(info));
	bool blank;

	for (uint32_t i = 0; i < FLASH_ANCHOR_BLOCKS && !f->found; i++) {
		uint64_t off = (uint64_t)i * info->erase_unit;
		bool bad = false;
		if (off >= info->size_bytes)
			break;
		if (bole_block_is_bad(f->dev, off, &bad) != BOLE_OK || bad)
			continue;
		BOLE_TRY(slot_get(f, off, step, &generation, &blank));
	}
	if (!f->found)
		return BOLE_OK;
	for (uint32_t i = 0; i < 2; i++) {
		ring_init(&ring[i], f, i);
		BOLE_TRY(find_ring(&ring[i]));
	}
	if (ring[0].newest != ring[1].newest || ring[0].newest == 0) {
		BOLE_TRY(find_everywhere(&ring[0]));
		BOLE_TRY(find_everywhere(&ring[1]));
	}
	place->doubt = f->torn || f->unread || ring[0].newest != ring[1].newest ||
	               ring[0].sum != ring[1].sum;
	place->unread = f->unread;
	for (uint32_t i = 0; i < 2; i++) {
		place->missing[i] = ring[i].newest == 0;
		place->at[i] = ring[i].slot;
		/* A cut may have reached the slots behind, even where they read as erased. */
		place->stale[i] = true;
	}
	return BOLE_OK;
}

/* -- What was found -- */

static void say(struct bole_platform *platform, enum bole_log_level level, const char *name,
                const char *what)
{
	if (platform != NULL)
		bole_log(platform, level, "%s: %s", name, what);
}

static enum bole_status explain(const struct finder *f, struct bole_platform *platform)
{
	const char *name = f->dev->info.name;

	if (f->other != 0) {
		if (platform != NULL)
			bole_log(platform, BOLE_LOG_ERROR,
			         "%s: the volume has format %u, this build knows format %u", name,
			         f->other, (unsigned)FLASH_VERSION);
		return BOLE_E_UNSUPPORTED;
	}
	if (f->damaged) {
		say(platform, BOLE_LOG_ERROR, name, "a Bole volume whose anchors are all damaged");
		return BOLE_E_CORRUPT;
	}
	if (f->unread) {
		say(platform, BOLE_LOG_ERROR, name, "the device gives no anchor");
		return BOLE_E_IO;
	}
	say(platform, BOLE_LOG_ERROR, name,
	    f->dirty ? "this is not a Bole volume: it holds other data"
	             : "the device is blank: format it first (bole init)");
	return BOLE_E_NOT_FOUND;
}

/* Every erase that the volume will ask for is one that the device can do. */
static bool erases_fit(const struct flash_geometry *g, const struct bole_block_info *info)
{
	uint32_t unit = info->erase_unit;

	return !info->needs_erase ||
	       (g->segment_bytes % unit == 0 && g->area % unit == 0 && g->first % unit == 0 &&
	        g->second % unit == 0 && unit % g->slot_bytes == 0 &&
	        (uint64_t)g->slots * g->slot_bytes % unit == 0);
}

static enum bole_status check_size(const struct flash_anchor *a, const struct bole_block_info *info,
                                   struct bole_platform *platform)
{
	const struct flash_geometry *g = &a->geometry;
	bool whole = g->area + g->segments * g->segment_bytes <= info->size_bytes;

	if (g->device_bytes <= info->size_bytes)
		return BOLE_OK;
	if (platform != NULL)
		bole_log(platform, whole ? BOLE_LOG_WARN : BOLE_LOG_ERROR,
		         "%s: the volume needs %llu bytes, the device has only %llu: truncated%s",
		         info->name, (unsigned long long)g->device_bytes,
		         (unsigned long long)info->size_bytes,
		         whole ? "; only anchors are missing, the second copies are gone" : "");
	return whole ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status accept(const struct finder *f, struct bole_platform *platform)
{
	const struct flash_anchor *a = f->best;
	const struct bole_block_info *info = &f->dev->info;

	if ((a->incompat & ~(uint64_t)ANCHOR_FEATURES_KNOWN) != 0) {
		if (platform != NULL)
			bole_log(platform, BOLE_LOG_ERROR,
			         "%s: the volume needs features %#llx that this build does not "
			         "know",
			         info->name, (unsigned long long)a->incompat);
		return BOLE_E_UNSUPPORTED;
	}
	BOLE_TRY(check_size(a, info, platform));
	if (a->geometry.unit % info->program_unit != 0 || a->geometry.unit % info->read_unit != 0) {
		if (platform != NULL)
			bole_log(platform, BOLE_LOG_ERROR,
			         "%s: the volume is written in units of %u, the device needs %u",
			         info->name, a->geometry.unit, info->program_unit);
		return BOLE_E_UNSUPPORTED;
	}
	if (!erases_fit(&a->geometry, info)) {
		if (platform != NULL)
			bole_log(platform, BOLE_LOG_ERROR,
			         "%s: the volume was made for other erase blocks than %u bytes",
			         info->name, info->erase_unit);
		return BOLE_E_UNSUPPORTED;
	}
	return BOLE_OK;
}

enum bole_status bole_flash_anchor_load(struct bole_block *dev, struct bole_platform *platform,
                                        struct bole_alloc *alloc, struct flash_anchor *out,
                                        struct flash_anchor_place *place)
{
	struct finder f = {.dev = dev, .alloc = alloc, .best = out, .cap = FIND_BUFFER};

	*out = (struct flash_anchor){.generation = 0};
	*place = (struct flash_anchor_place){.missing = {true, true}};
	f.buf = bole_alloc_array(alloc, f.cap, 1);
	if (f.buf == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = dev->info.needs_erase ? find_raw(&f, place) : find_managed(&f, place);
	if (rc == BOLE_OK)
		rc = f.found && out->generation > f.other_generation ? accept(&f, platform)
		                                                     : explain(&f, platform);
	bole_alloc_free(alloc, f.buf, f.cap, 1);
	/* Areas that end behind a truncated device take no writes. */
	uint64_t bytes =
	        rc == BOLE_OK ? (uint64_t)out->geometry.slots * out->geometry.slot_bytes : 0;
	for (uint32_t i = 0; i < 2 && rc == BOLE_OK; i++)
		place->dead[i] =
		        bole_flash_anchor_at(&out->geometry, i, 0) + bytes > dev->info.size_bytes;
	if (rc != BOLE_OK)
		bole_flash_anchor_release(alloc, out);
	return rc;
}

/* -- All of them -- */

struct collection {
	struct bole_alloc *alloc;
	const struct flash_anchor *newest;
	struct flash_anchor *out;
	uint32_t max;
	uint32_t count;
};

/* Takes a over, or releases it: sorted, each generation once. */
static void collect(struct collection *c, struct flash_anchor *a)
{
	uint32_t at = 0;

	while (at < c->count && c->out[at].generation > a->generation)
		at++;
	if (memcmp(a->volume, c->newest->volume, sizeof a->volume) != 0 || at == c->max ||
	    (at < c->count && c->out[at].generation == a->generation)) {
		bole_flash_anchor_release(c->alloc, a);
		return;
	}
	if (c->count == c->max)
		bole_flash_anchor_release(c->alloc, &c->out[--c->count]);
	memmove(c->out + at + 1, c->out + at, (c->count - at) * sizeof *c->out);
	c->out[at] = *a;
	c->count++;
}

static enum bole_status collect_area(struct finder *f, struct collection *c, uint32_t area)
{
	const struct flash_geometry *g = &c->newest->geometry;

	for (uint32_t i = 0; i < g->slots; i++) {
		size_t len = (size_t)bole_round_up(g->slot_bytes, f->dev->info.read_unit);
		struct flash_anchor a;
		uint32_t version;
		bool bad = false;
		uint64_t off = bole_flash_anchor_at(g, area, i);
		if (off + len > f->dev->info.size_bytes ||
		    bole_block_is_bad(f->dev, off, &bad) != BOLE_OK || bad || !read_at(f, off, len))
			continue;
		enum bole_status rc =
		        bole_flash_anchor_decode(f->buf, (uint32_t)len, c->alloc, &a, &version);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc == BOLE_OK)
			collect(c, &a);
	}
	return BOLE_OK;
}

enum bole_status bole_flash_anchor_all(struct bole_block *dev, struct bole_alloc *alloc,
                                       uint32_t max, struct flash_anchor *out, uint32_t *count)
{
	struct flash_anchor_place place;
	struct flash_anchor newest;
	struct finder f = {.dev = dev, .alloc = alloc, .cap = FIND_BUFFER};
	struct collection c = {.alloc = alloc, .newest = &newest, .out = out, .max = max};

	*count = 0;
	BOLE_TRY(bole_flash_anchor_load(dev, NULL, alloc, &newest, &place));
	f.buf = bole_alloc_array(alloc, f.cap, 1);
	enum bole_status rc = f.buf == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	for (uint32_t area = 0; area < 2 && rc == BOLE_OK; area++)
		rc = collect_area(&f, &c, area);
	bole_alloc_free(alloc, f.buf, f.cap, 1);
	bole_flash_anchor_release(alloc, &newest);
	*count = c.count;
	return rc;
}
