/* SPDX-License-Identifier: ISC */
/* What goes wrong on a simulated device without a power cut: wrong bits and the code that corrects
 * them, read disturb, retention, bad blocks, wear, reads and writes that go elsewhere. */
#include <string.h>

#include "backends/block_sim.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	PPM = 1000000,
	/* Of the rated endurance, in percent: where blocks begin to die, and within how much. */
	ENDURES_LEAST = 90,
	ENDURES_SPREAD = 41,
	DISTURB_STEPS = 64, /* beyond the limit, a bit flips every limit / 64 reads */
	UNSTABLE_FLIPS = 3,
};

/* -- Decay -- */

static void decays(struct sim_block *s, uint64_t off)
{
	if (s->image.block_bytes == 0)
		return;
	uint64_t index = off / s->image.block_bytes;
	uint32_t known = SIM_BLOCK_DECAYING | SIM_BLOCK_REPORTED;
	if ((bole_sim_block(&s->image, index).flags & known) != 0)
		return;
	struct sim_erase_block *block = bole_sim_block_own(&s->image, index);
	if (block == NULL)
		return;
	block->flags |= SIM_BLOCK_DECAYING;
	s->decaying++;
	s->decayed = true;
}

enum bole_status bole_sim_next_decaying(struct bole_block *block, uint64_t *off)
{
	struct sim_block *s = bole_sim_of(block);
	uint64_t bytes = s->image.block_bytes;
	enum bole_status rc = BOLE_END;

	bole_sim_lock(s);
	for (uint64_t b = 0; s->decaying != 0 && b < block->info.size_bytes / bytes; b++) {
		if ((bole_sim_block(&s->image, b).flags & SIM_BLOCK_DECAYING) == 0)
			continue;
		struct sim_erase_block *found = bole_sim_block_own(&s->image, b);
		if (found == NULL)
			break;
		found->flags ^= SIM_BLOCK_DECAYING | SIM_BLOCK_REPORTED;
		s->decaying--;
		*off = b * bytes;
		rc = BOLE_OK;
		break;
	}
	if (rc == BOLE_END)
		s->decaying = 0;
	bole_sim_unlock(s);
	return rc;
}

/* The reports were in the memory of who drove the device. */
void bole_sim_forget_reports(struct sim_block *s)
{
	uint32_t known = SIM_BLOCK_DECAYING | SIM_BLOCK_REPORTED;
	uint64_t blocks = s->decayed ? s->block.info.size_bytes / s->image.block_bytes : 0;

	s->decaying = 0;
	s->decayed = false;
	for (uint64_t b = 0; b < blocks; b++) {
		struct sim_erase_block *block;
		if ((bole_sim_block(&s->image, b).flags & known) != 0 &&
		    (block = bole_sim_block_own(&s->image, b)) != NULL)
			block->flags &= ~known;
	}
}

/* -- Wrong bits -- */

static void flip(struct sim_block *s, uint64_t off, uint8_t mask)
{
	struct sim_image *image = &s->image;
	size_t at = (size_t)(off % image->page_bytes);
	struct sim_page *page = bole_sim_page_own(image, off / image->page_bytes);

	if (page == NULL)
		return;
	if (s->options.ecc_bits == 0) {
		page->bytes[at] ^= mask;
		return;
	}
	if (page->rot == NULL)
		page->rot = bole_alloc_zeroed(page->alloc, image->page_bytes, 1);
	if (page->rot != NULL)
		page->rot[at] ^= mask;
}

void bole_block_sim_flip(struct bole_block *block, uint64_t off, uint8_t mask)
{
	struct sim_block *s = bole_sim_of(block);

	BOLE_ASSERT(off < block->info.size_bytes);
	bole_sim_lock(s);
	flip(s, off, mask);
	bole_sim_unlock(s);
}

static void flip_somewhere(struct sim_block *s, uint64_t off, uint64_t len)
{
	uint64_t r = bole_sim_draw(s);

	flip(s, off + (r >> 3) % len, (uint8_t)(1u << (r & 7)));
}

void bole_block_sim_age(struct bole_block *block, uint32_t ppm)
{
	struct sim_block *s = bole_sim_of(block);
	const struct sim_image *image = &s->image;
	uint64_t pages = block->info.size_bytes / image->page_bytes;

	bole_sim_lock(s);
	for (uint64_t i = 0; i < pages; i++) {
		for (uint32_t at = 0; at < image->page_bytes; at += SIM_CODEWORD) {
			const struct sim_page *page = bole_sim_page(image, i);
			if (page == NULL || page->state[at / image->unit] == SIM_ERASED ||
			    bole_sim_draw(s) % PPM >= ppm)
				continue;
			flip_somewhere(s, i * image->page_bytes + at, SIM_CODEWORD);
		}
	}
	bole_sim_unlock(s);
}

/* Every so many reads too many, a bit of another page of the block. */
static void disturb(struct sim_block *s, uint64_t off, size_t len)
{
	uint32_t limit = s->options.disturb_reads;
	uint32_t step = s->options.times.read_step;
	uint64_t pages = step == 0 ? 1 : (off + len - 1) / step - off / step + 1;

	if (limit == 0 || s->image.block_bytes == 0)
		return;
	struct sim_erase_block *block = bole_sim_block_own(&s->image, off / s->image.block_bytes);
	if (block == NULL)
		return;
	uint32_t often = limit < DISTURB_STEPS ? 1 : limit / DISTURB_STEPS;
	uint32_t before = block->reads < limit ? 0 : (block->reads - limit) / often + 1;
	block->reads += (uint32_t)pages;
	uint32_t after = block->reads < limit ? 0 : (block->reads - limit) / often + 1;
	if (block->reads >= limit / 2)
		decays(s, off);
	for (; before < after; before++)
		flip_somewhere(s, off - off % s->image.block_bytes, s->image.block_bytes);
}

/* -- Reads -- */

/* Part of a read that lies in one page. */
struct part {
	const struct sim_page *page;
	uint64_t off;
	size_t at;
	size_t len;
	uint8_t *dst;
};

static bool fails(struct sim_block *s)
{
	s->count.uncorrectable++;
	return s->options.uncorrectable == BOLE_SIM_READ_FAILS;
}

/* Other bytes at each read: now and then as if all were well, or as if nothing had been. */
static enum bole_status read_unstable(struct sim_block *s, enum sim_state state, uint8_t *dst,
                                      size_t len)
{
	uint64_t choice = bole_sim_draw(s) % 4;
	bool raw = s->image.block_bytes != 0;

	s->count.unstable_reads++;
	if (choice == 3) {
		uint64_t r = 0;
		for (size_t i = 0; i < len; i++) {
			r = i % 8 == 0 ? bole_sim_draw(s) : r >> 8;
			dst[i] = (uint8_t)(raw ? dst[i] | r : r);
		}
	} else if (raw && state == SIM_UNSTABLE_ERASE) {
		memset(dst, s->image.blank, len);
	}
	for (uint64_t n = choice % 3 == 0 ? 0 : 1 + bole_sim_draw(s) % UNSTABLE_FLIPS; n > 0; n--) {
		uint64_t r = bole_sim_draw(s);
		dst[(r >> 3) % len] ^= (uint8_t)(1u << (r & 7));
	}
	if (choice != 0 && s->options.ecc_bits != 0 && fails(s) && bole_sim_draw(s) % 2 == 0)
		return BOLE_E_IO;
	return BOLE_OK;
}

static enum bole_status read_odd(struct sim_block *s, const struct part *p)
{
	uint32_t unit = s->image.unit;

	for (size_t i = 0; i < p->len;) {
		size_t n = unit - (p->at + i) % unit;
		enum sim_state state = (enum sim_state)p->page->state[(p->at + i) / unit];
		if (n > p->len - i)
			n = p->len - i;
		if (state == SIM_UNSTABLE_PROGRAM || state == SIM_UNSTABLE_ERASE)
			BOLE_TRY(read_unstable(s, state, p->dst + i, n));
		i += n;
	}
	return BOLE_OK;
}

/* No builtin: it would want a helper that images do not have. */
static uint32_t ones(uint8_t byte)
{
	uint32_t n = 0;

	for (; byte != 0; byte &= (uint8_t)(byte - 1))
		n++;
	return n;
}

/* Wrong bits within one reach of the code, from..to of the page. */
static enum bole_status read_codeword(struct sim_block *s, const struct part *p, size_t from,
                                      size_t to)
{
	uint32_t wrong = 0;

	for (size_t i = from; i < to; i++)
		wrong += ones(p->page->rot[i]);
	if (wrong == 0)
		return BOLE_OK;
	decays(s, p->off);
	if (wrong <= s->options.ecc_bits) {
		s->count.corrected++;
		return BOLE_OK;
	}
	if (fails(s))
		return BOLE_E_IO;
	for (size_t i = from < p->at ? p->at : from; i < to && i < p->at + p->len; i++)
		p->dst[i - p->at] ^= p->page->rot[i];
	return BOLE_OK;
}

static enum bole_status read_rotten(struct sim_block *s, const struct part *p)
{
	for (size_t from = p->at - p->at % SIM_CODEWORD; from < p->at + p->len;
	     from += SIM_CODEWORD)
		BOLE_TRY(read_codeword(s, p, from, from + SIM_CODEWORD));
	return BOLE_OK;
}

static enum bole_status read_parts(struct sim_block *s, const struct sim_image *image, uint64_t off,
                                   uint8_t *dst, size_t len)
{
	while (len != 0) {
		struct part p = {.page = bole_sim_page(image, off / image->page_bytes),
		                 .off = off,
		                 .at = (size_t)(off % image->page_bytes),
		                 .len = image->page_bytes - (size_t)(off % image->page_bytes),
		                 .dst = dst};
		if (p.len > len)
			p.len = len;
		bole_sim_page_ref((struct sim_page *)(uintptr_t)p.page);
		enum bole_status rc = BOLE_OK;
		if (p.page != NULL && p.page->odd)
			rc = read_odd(s, &p);
		if (rc == BOLE_OK && p.page != NULL && p.page->rot != NULL)
			rc = read_rotten(s, &p);
		bole_sim_page_unref((struct sim_page *)(uintptr_t)p.page, image->page_bytes,
		                    image->unit);
		BOLE_TRY(rc);
		off += p.len;
		dst += p.len;
		len -= p.len;
	}
	return BOLE_OK;
}

enum bole_status bole_sim_sense(struct sim_block *s, uint64_t off, uint8_t *dst, size_t len)
{
	const struct sim_image *image = &s->image;
	uint64_t from = off;

	if (bole_sim_due(s, BOLE_SIM_READ_MISDIRECTED))
		from = bole_sim_other_place(s, BOLE_SIM_READ_MISDIRECTED, len);
	if (bole_sim_due(s, BOLE_SIM_READ_STALE) && s->remembered.node != NULL)
		image = &s->remembered;
	bole_sim_image_get(image, from, dst, len);
	BOLE_TRY(read_parts(s, image, from, dst, len));
	if (bole_sim_due(s, BOLE_SIM_READ_FLIP)) {
		uint64_t r = bole_sim_draw(s);
		if (s->options.ecc_bits == 0) {
			dst[(r >> 3) % len] ^= (uint8_t)(1u << (r & 7));
		} else {
			s->count.corrected++;
			decays(s, off);
		}
	}
	disturb(s, off, len);
	return BOLE_OK;
}

/* -- Blocks -- */

void bole_sim_factory(struct sim_block *s)
{
	uint64_t blocks = s->options.factory_bad_ppm == 0
	                          ? 0
	                          : s->block.info.size_bytes / s->image.block_bytes;

	for (uint64_t b = 1; b < blocks; b++) {
		if (bole_sim_noise(s->birth, b) % PPM >= s->options.factory_bad_ppm)
			continue;
		struct sim_erase_block *block = bole_sim_block_own(&s->image, b);
		if (block != NULL)
			block->flags = SIM_BLOCK_FACTORY_BAD | SIM_BLOCK_MARKED;
	}
}

uint32_t bole_sim_endures(const struct sim_block *s, uint64_t index)
{
	uint64_t percent = ENDURES_LEAST + bole_sim_noise(~s->birth, index) % ENDURES_SPREAD;

	return s->options.endurance == 0 ? UINT32_MAX
	                                 : (uint32_t)(s->options.endurance * percent / 100);
}

void bole_sim_kill(struct sim_block *s, uint64_t index)
{
	struct sim_erase_block *block = bole_sim_block_own(&s->image, index);

	if (block == NULL || (block->flags & SIM_BLOCK_DEAD) != 0)
		return;
	block->flags |= SIM_BLOCK_DEAD;
	s->count.dead_blocks++;
}

void bole_block_sim_factory_bad(struct bole_block *block, uint64_t off)
{
	struct sim_block *s = bole_sim_of(block);

	BOLE_ASSERT(off < block->info.size_bytes && s->image.block_bytes != 0);
	bole_sim_lock(s);
	struct sim_erase_block *found = bole_sim_block_own(&s->image, off / s->image.block_bytes);
	if (found != NULL)
		found->flags |= SIM_BLOCK_FACTORY_BAD | SIM_BLOCK_MARKED;
	bole_sim_unlock(s);
}

void bole_block_sim_kill_block(struct bole_block *block, uint64_t off)
{
	struct sim_block *s = bole_sim_of(block);

	BOLE_ASSERT(off < block->info.size_bytes && s->image.block_bytes != 0);
	bole_sim_lock(s);
	bole_sim_kill(s, off / s->image.block_bytes);
	bole_sim_unlock(s);
}

enum bole_status bole_sim_is_bad(struct bole_block *block, uint64_t off, bool *bad)
{
	struct sim_block *s = bole_sim_of(block);
	enum bole_status rc = BOLE_E_IO;

	bole_sim_lock(s);
	if (!s->off) {
		uint32_t flags = bole_sim_block(&s->image, off / s->image.block_bytes).flags;
		*bad = (flags & SIM_BLOCK_MARKED) != 0;
		rc = BOLE_OK;
	}
	bole_sim_unlock(s);
	return rc;
}

enum bole_status bole_sim_mark_bad(struct bole_block *block, uint64_t off)
{
	struct sim_block *s = bole_sim_of(block);
	struct sim_erase_block *found = NULL;

	bole_sim_lock(s);
	if (!s->off)
		found = bole_sim_block_own(&s->image, off / s->image.block_bytes);
	if (found != NULL)
		found->flags |= SIM_BLOCK_MARKED;
	bole_sim_unlock(s);
	return found == NULL ? BOLE_E_IO : BOLE_OK;
}

/* -- What a test asks for -- */

void bole_block_sim_plan_fault(struct bole_block *block, enum bole_block_sim_fault fault,
                               uint64_t n, uint64_t where)
{
	bole_sim_of(block)->fault[fault] = (struct sim_pending){n, where};
}

uint64_t bole_sim_other_place(struct sim_block *s, enum bole_block_sim_fault fault, uint64_t len)
{
	uint64_t unit = s->image.unit;
	uint64_t places = (s->block.info.size_bytes - len) / unit + 1;
	uint64_t where = s->fault[fault].where;

	return where != UINT64_MAX ? where : bole_sim_draw(s) % places * unit;
}

void bole_block_sim_fail_read(struct bole_block *block, uint64_t n)
{
	bole_block_sim_plan_fault(block, BOLE_SIM_READ_ERROR, n, 0);
}

void bole_block_sim_fail_program(struct bole_block *block, uint64_t n)
{
	bole_block_sim_plan_fault(block, BOLE_SIM_PROGRAM_ERROR, n, 0);
}

void bole_block_sim_fail_flush(struct bole_block *block, uint64_t n)
{
	bole_block_sim_plan_fault(block, BOLE_SIM_FLUSH_ERROR, n, 0);
}

void bole_block_sim_ignore_flush(struct bole_block *block, bool ignore)
{
	bole_sim_of(block)->ignore_flush = ignore;
}

enum bole_status bole_block_sim_remember(struct bole_block *block)
{
	struct sim_block *s = bole_sim_of(block);
	struct sim_image now;

	bole_sim_lock(s);
	bool shared = bole_sim_image_share(&now, s->alloc, &s->image);
	if (shared) {
		bole_sim_image_release(&s->remembered);
		s->remembered = now;
	}
	bole_sim_unlock(s);
	return shared ? BOLE_OK : BOLE_E_NO_MEMORY;
}
