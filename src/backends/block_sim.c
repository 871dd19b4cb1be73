/* SPDX-License-Identifier: ISC */
#include "bole/block_sim.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum { ERASED = 0xff, TORN_GARBAGE_IN = 4, SIM_FIRST_HELD = 16 };

/* A write that the cut may undo: what was there and what came. */
struct held {
	uint64_t off;
	size_t len;
	uint8_t *old;
	uint8_t *new;
};

struct sim_block {
	struct bole_block block;
	struct bole_alloc *alloc;
	uint8_t *bytes;      /* as a reader sees them */
	uint8_t *programmed; /* raw kinds: one byte a program unit */
	struct held *held;
	size_t helds;
	size_t helds_cap;
	uint64_t random;
	uint64_t cut_at; /* operation number, 0 = never */
	enum bole_block_sim_tear tear;
	bool off;
	bool ignore_flush;
	uint64_t fail_read;
	uint64_t fail_program;
	uint64_t fail_flush;
	struct bole_block_sim_counters count;
};

static struct sim_block *sim_of(struct bole_block *block)
{
	return (struct sim_block *)block;
}

/* splitmix64 */
static uint64_t draw(struct sim_block *s)
{
	uint64_t z = s->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void garbage(struct sim_block *s, uint8_t *dst, size_t len)
{
	for (size_t i = 0; i < len; i++)
		dst[i] = (uint8_t)draw(s);
}

static bool due(uint64_t *countdown)
{
	return *countdown != 0 && --*countdown == 0;
}

/* -- Held writes -- */

static void free_held(struct sim_block *s, struct held *h)
{
	bole_alloc_free(s->alloc, h->old, h->len, 1);
	bole_alloc_free(s->alloc, h->new, h->len, 1);
}

static void forget_held(struct sim_block *s)
{
	for (size_t i = 0; i < s->helds; i++)
		free_held(s, &s->held[i]);
	s->helds = 0;
}

/* Writes, and remembers how to undo it. */
static enum bole_status hold(struct sim_block *s, uint64_t off, const struct bole_bytes *pieces,
                             size_t count, size_t len)
{
	if (s->helds == s->helds_cap) {
		size_t cap = s->helds_cap == 0 ? SIM_FIRST_HELD : s->helds_cap * 2;
		void *list =
		        bole_alloc_resize(s->alloc, s->held, s->helds_cap, cap, sizeof *s->held);
		if (list == NULL)
			return BOLE_E_IO;
		s->held = list;
		s->helds_cap = cap;
	}
	struct held h = {.off = off,
	                 .len = len,
	                 .old = bole_alloc_array(s->alloc, len, 1),
	                 .new = bole_alloc_array(s->alloc, len, 1)};
	if (h.old == NULL || h.new == NULL) {
		free_held(s, &h);
		return BOLE_E_IO;
	}
	uint8_t *dst = h.new;
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].len != 0)
			memcpy(dst, pieces[i].ptr, pieces[i].len);
		dst += pieces[i].len;
	}
	memcpy(h.old, s->bytes + off, len);
	memcpy(s->bytes + off, h.new, len);
	s->held[s->helds++] = h;
	return BOLE_OK;
}

/* One write, at a cut. interrupted: it was under way, so a sector may hold neither. */
static void settle_one(struct sim_block *s, const struct held *h, bool interrupted)
{
	enum bole_block_sim_tear tear = interrupted ? BOLE_SIM_TEAR_RANDOM : s->tear;
	uint32_t sector = s->block.info.program_unit;
	uint64_t choice = draw(s) % 3;

	if (tear == BOLE_SIM_TEAR_DROP || (tear == BOLE_SIM_TEAR_RANDOM && choice == 0))
		return;
	if (tear == BOLE_SIM_TEAR_KEEP || choice == 1) {
		memcpy(s->bytes + h->off, h->new, h->len);
		return;
	}
	for (size_t at = 0; at < h->len; at += sector) {
		if (interrupted && draw(s) % TORN_GARBAGE_IN == 0)
			garbage(s, s->bytes + h->off + at, sector);
		else if (draw(s) % 2 == 0)
			memcpy(s->bytes + h->off + at, h->new + at, sector);
	}
}

/* Back to what was durable, then each held write by its own luck. */
static void lose_power(struct sim_block *s, bool during_write)
{
	for (size_t i = s->helds; i > 0; i--)
		memcpy(s->bytes + s->held[i - 1].off, s->held[i - 1].old, s->held[i - 1].len);
	for (size_t i = 0; i < s->helds; i++)
		settle_one(s, &s->held[i], during_write && i + 1 == s->helds);
	forget_held(s);
	s->off = true;
	s->cut_at = 0;
}

/* Counts an operation; true when power goes during it. */
static bool operation(struct sim_block *s)
{
	s->count.operations++;
	return s->cut_at != 0 && s->count.operations == s->cut_at;
}

/* -- The device -- */

static enum bole_status sim_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	struct sim_block *s = sim_of(block);

	if (s->off || due(&s->fail_read))
		return BOLE_E_IO;
	s->count.reads++;
	s->count.read_bytes += len;
	memcpy(dst, s->bytes + off, len);
	return BOLE_OK;
}

static bool breaks_rules(struct sim_block *s, uint64_t off, size_t len)
{
	uint32_t unit = s->block.info.program_unit;

	if (!s->block.info.needs_erase)
		return false;
	for (size_t at = 0; at < len; at += unit)
		if (s->programmed[(off + at) / unit] != 0)
			return true;
	memset(s->programmed + off / unit, 1, len / unit);
	return false;
}

static enum bole_status sim_programv(struct bole_block *block, uint64_t off,
                                     const struct bole_bytes *pieces, size_t count)
{
	struct sim_block *s = sim_of(block);
	size_t len = 0;

	for (size_t i = 0; i < count; i++)
		len += pieces[i].len;
	if (s->off || due(&s->fail_program))
		return BOLE_E_IO;
	if (breaks_rules(s, off, len)) {
		s->count.violations++;
		return BOLE_E_IO;
	}
	bool cut = operation(s);
	s->count.programs++;
	s->count.programmed_bytes += len;
	enum bole_status rc = hold(s, off, pieces, count, len);
	if (rc == BOLE_OK && cut) {
		lose_power(s, true);
		return BOLE_E_IO;
	}
	if (!block->info.volatile_cache)
		forget_held(s);
	return rc;
}

/* Erase and discard: a fill of a range. */
static enum bole_status fill(struct sim_block *s, uint64_t off, uint64_t len, bool erase)
{
	bool cut = operation(s);
	uint8_t *bytes = bole_alloc_array(s->alloc, (size_t)len, 1);

	if (bytes == NULL)
		return BOLE_E_IO;
	if (erase) {
		memset(bytes, ERASED, (size_t)len);
		memset(s->programmed + off / s->block.info.program_unit, 0,
		       (size_t)(len / s->block.info.program_unit));
	} else {
		garbage(s, bytes, (size_t)len);
	}
	struct bole_bytes piece = {bytes, (size_t)len};
	enum bole_status rc = hold(s, off, &piece, 1, (size_t)len);
	bole_alloc_free(s->alloc, bytes, (size_t)len, 1);
	if (rc == BOLE_OK && cut) {
		lose_power(s, true);
		return BOLE_E_IO;
	}
	if (!s->block.info.volatile_cache)
		forget_held(s);
	return rc;
}

static enum bole_status sim_erase(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct sim_block *s = sim_of(block);

	if (s->off)
		return BOLE_E_IO;
	s->count.erases++;
	return fill(s, off, len, true);
}

static enum bole_status sim_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct sim_block *s = sim_of(block);

	if (s->off)
		return BOLE_E_IO;
	s->count.discards++;
	return fill(s, off, len, false);
}

static enum bole_status sim_flush(struct bole_block *block)
{
	struct sim_block *s = sim_of(block);

	if (s->off || due(&s->fail_flush))
		return BOLE_E_IO;
	bool cut = operation(s);
	s->count.flushes++;
	if (cut) {
		lose_power(s, false);
		return BOLE_E_IO;
	}
	if (!s->ignore_flush)
		forget_held(s);
	return BOLE_OK;
}

static void sim_close(struct bole_block *block)
{
	struct sim_block *s = sim_of(block);
	size_t size = (size_t)block->info.size_bytes;

	forget_held(s);
	bole_alloc_free(s->alloc, s->held, s->helds_cap, sizeof *s->held);
	if (s->programmed != NULL)
		bole_alloc_free(s->alloc, s->programmed, size / block->info.program_unit, 1);
	bole_alloc_free(s->alloc, s->bytes, size, 1);
	bole_alloc_free(s->alloc, s, 1, sizeof *s);
}

static const struct bole_block_ops sim_ops = {
        .read = sim_read,
        .programv = sim_programv,
        .erase = sim_erase,
        .discard = sim_discard,
        .flush = sim_flush,
        .close = sim_close,
};

enum bole_status bole_block_sim_open(struct bole_alloc *alloc,
                                     const struct bole_block_sim_options *o,
                                     struct bole_block **out)
{
	bool raw = o->kind != BOLE_BLOCK_MANAGED;
	struct sim_block *s = bole_alloc_zeroed(alloc, 1, sizeof *s);

	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	s->block.ops = &sim_ops;
	s->block.info = (struct bole_block_info){
	        .name = "sim",
	        .kind = o->kind,
	        .durability = BOLE_DURABLE_DEVICE,
	        .size_bytes = o->size_bytes,
	        .read_unit = o->read_unit,
	        .program_unit = o->program_unit,
	        .erase_unit = raw ? o->erase_unit : 0,
	        .damage_unit = o->damage_unit == 0 ? o->program_unit : o->damage_unit,
	        .queue_depth = 1,
	        .volatile_cache = o->volatile_cache,
	        .needs_erase = raw,
	        .can_discard = o->can_discard && !raw,
	};
	s->alloc = alloc;
	s->random = o->seed;
	s->bytes = bole_alloc_zeroed(alloc, (size_t)o->size_bytes, 1);
	if (raw)
		s->programmed =
		        bole_alloc_zeroed(alloc, (size_t)(o->size_bytes / o->program_unit), 1);
	if (s->bytes == NULL || (raw && s->programmed == NULL)) {
		sim_close(&s->block);
		return BOLE_E_NO_MEMORY;
	}
	if (raw)
		memset(s->bytes, ERASED, (size_t)o->size_bytes);
	*out = &s->block;
	return BOLE_OK;
}

enum bole_status bole_block_sim_clone(struct bole_alloc *alloc, struct bole_block *block,
                                      struct bole_block **out)
{
	const struct sim_block *from = sim_of(block);
	const struct bole_block_info *info = &block->info;
	struct bole_block_sim_options o = {
	        .kind = info->kind,
	        .size_bytes = info->size_bytes,
	        .read_unit = info->read_unit,
	        .program_unit = info->program_unit,
	        .erase_unit = info->erase_unit,
	        .damage_unit = info->damage_unit,
	        .volatile_cache = info->volatile_cache,
	        .can_discard = info->can_discard,
	        .seed = from->random,
	};

	enum bole_status rc = bole_block_sim_open(alloc, &o, out);
	if (rc != BOLE_OK)
		return rc;
	struct sim_block *to = sim_of(*out);
	memcpy(to->bytes, from->bytes, (size_t)info->size_bytes);
	if (from->programmed != NULL)
		memcpy(to->programmed, from->programmed,
		       (size_t)(info->size_bytes / info->program_unit));
	return BOLE_OK;
}

void bole_block_sim_cut_at(struct bole_block *block, uint64_t n, enum bole_block_sim_tear tear)
{
	struct sim_block *s = sim_of(block);

	s->cut_at = n == 0 ? 0 : s->count.operations + n;
	s->tear = tear;
}

void bole_block_sim_cut_now(struct bole_block *block, enum bole_block_sim_tear tear)
{
	sim_of(block)->tear = tear;
	lose_power(sim_of(block), false);
}

bool bole_block_sim_is_off(const struct bole_block *block)
{
	return ((const struct sim_block *)block)->off;
}

void bole_block_sim_power_on(struct bole_block *block)
{
	sim_of(block)->off = false;
}

void bole_block_sim_seed(struct bole_block *block, uint64_t seed)
{
	sim_of(block)->random = seed;
}

void bole_block_sim_fail_read(struct bole_block *block, uint64_t n)
{
	sim_of(block)->fail_read = n;
}

void bole_block_sim_fail_program(struct bole_block *block, uint64_t n)
{
	sim_of(block)->fail_program = n;
}

void bole_block_sim_fail_flush(struct bole_block *block, uint64_t n)
{
	sim_of(block)->fail_flush = n;
}

void bole_block_sim_ignore_flush(struct bole_block *block, bool ignore)
{
	sim_of(block)->ignore_flush = ignore;
}

void bole_block_sim_flip(struct bole_block *block, uint64_t off, uint8_t mask)
{
	BOLE_ASSERT(off < block->info.size_bytes);
	sim_of(block)->bytes[off] ^= mask;
}

uint8_t *bole_block_sim_bytes(struct bole_block *block)
{
	return sim_of(block)->bytes;
}

void bole_block_sim_counters(const struct bole_block *block, struct bole_block_sim_counters *out)
{
	*out = ((const struct sim_block *)block)->count;
}
