/* SPDX-License-Identifier: ISC */
/* What raw flash allows, and what programs, erases and discards do to the content. */
#include <string.h>

#include "backends/block_sim.h"
#include "base/check.h"

/* -- Rules -- */

static enum bole_status violation(struct sim_block *s, enum bole_block_sim_rule rule)
{
	static const char *const text[BOLE_SIM_RULES] = {
	        [BOLE_SIM_RULE_ERASED] = "programmed what was not erased",
	        [BOLE_SIM_RULE_ORDER] = "programmed out of order",
	        [BOLE_SIM_RULE_INTERRUPTED] = "programmed what a cut interrupted",
	        [BOLE_SIM_RULE_BAD_BLOCK] = "touched a factory-bad block",
	};

	s->count.violations++;
	s->count.broken[rule]++;
	if (s->options.panic_on_violation)
		bole_panic(__FILE__, __LINE__, text[rule]);
	return BOLE_E_IO;
}

/* A block that is to be changed. */
static enum bole_status check_block(struct sim_block *s, uint64_t index)
{
	uint32_t flags = bole_sim_block(&s->image, index).flags;

	if ((flags & SIM_BLOCK_FACTORY_BAD) != 0) {
		struct sim_erase_block *block = bole_sim_block_own(&s->image, index);
		if (block != NULL)
			block->flags &= ~(uint32_t)SIM_BLOCK_MARKED;
		return violation(s, BOLE_SIM_RULE_BAD_BLOCK);
	}
	return (flags & SIM_BLOCK_DEAD) != 0 ? BOLE_E_IO : BOLE_OK;
}

static bool only_clears(const uint8_t *old, const uint8_t *new, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((new[i] & ~old[i]) != 0)
			return false;
	return true;
}

static enum bole_status check_unit(struct sim_block *s, uint64_t off, const uint8_t *src)
{
	const struct sim_image *image = &s->image;
	const struct sim_page *page = bole_sim_page(image, off / image->page_bytes);
	size_t at = (size_t)(off % image->page_bytes);
	uint32_t next = bole_sim_block(image, off / image->block_bytes).next;
	uint64_t index = off % image->block_bytes / image->unit;
	uint8_t state = page == NULL ? SIM_ERASED : page->state[at / image->unit];

	if (state > SIM_PROGRAMMED)
		return violation(s, BOLE_SIM_RULE_INTERRUPTED);
	if (state == SIM_PROGRAMMED && (s->block.info.kind == BOLE_BLOCK_NAND ||
	                                !only_clears(page->bytes + at, src, image->unit)))
		return violation(s, BOLE_SIM_RULE_ERASED);
	if (s->block.info.kind == BOLE_BLOCK_NAND && index < next)
		return violation(s, BOLE_SIM_RULE_ORDER);
	return BOLE_OK;
}

enum bole_status bole_sim_check_program(struct sim_block *s, uint64_t off, const uint8_t *src,
                                        size_t len)
{
	const struct sim_image *image = &s->image;

	for (uint64_t at = 0; image->block_bytes != 0 && at < len; at += image->unit) {
		uint64_t index = (off + at) / image->block_bytes;
		uint64_t inside = (off + at) % image->block_bytes;
		if (at == 0 || inside == 0)
			BOLE_TRY(check_block(s, index));
		BOLE_TRY(check_unit(s, off + at, src + at));
		if (s->options.strict_order && (at == 0 || inside == 0) &&
		    inside / image->unit != bole_sim_block(image, index).next)
			return violation(s, BOLE_SIM_RULE_ORDER);
	}
	return BOLE_OK;
}

enum bole_status bole_sim_check_erase(struct sim_block *s, uint64_t off, uint64_t len)
{
	uint64_t first = off / s->image.block_bytes;

	for (uint64_t b = first; b < first + len / s->image.block_bytes; b++) {
		BOLE_TRY(check_block(s, b));
		if (bole_sim_block(&s->image, b).erases >= bole_sim_endures(s, b)) {
			bole_sim_kill(s, b);
			return BOLE_E_IO;
		}
	}
	return BOLE_OK;
}

/* -- Changes -- */

static bool apply_program(struct sim_block *s, uint64_t off, const uint8_t *src, size_t len)
{
	struct sim_image *image = &s->image;
	bool raw = image->block_bytes != 0;

	while (len != 0) {
		size_t at = (size_t)(off % image->page_bytes);
		size_t n = image->page_bytes - at < len ? image->page_bytes - at : len;
		struct sim_page *page = bole_sim_page_own(image, off / image->page_bytes);
		if (page == NULL)
			return false;
		for (size_t i = 0; raw && i < n; i++)
			page->bytes[at + i] &= src[i];
		if (!raw)
			memcpy(page->bytes + at, src, n);
		if (!raw && page->rot != NULL)
			memset(page->rot + at, 0, n);
		memset(page->state + at / image->unit, SIM_PROGRAMMED, n / image->unit);
		off += n;
		src += n;
		len -= n;
		if (!raw)
			continue;
		struct sim_erase_block *block =
		        bole_sim_block_own(image, (off - 1) / image->block_bytes);
		uint32_t next = (uint32_t)((off - 1) % image->block_bytes / image->unit + 1);
		if (block->next < next)
			block->next = next;
	}
	return true;
}

static bool apply_erase(struct sim_block *s, uint64_t off, uint64_t len)
{
	struct sim_image *image = &s->image;

	for (uint64_t at = off; at < off + len; at += image->page_bytes)
		if (bole_sim_page(image, at / image->page_bytes) != NULL &&
		    !bole_sim_page_set(image, at / image->page_bytes, NULL))
			return false;
	for (uint64_t at = off; at < off + len; at += image->block_bytes) {
		struct sim_erase_block *block = bole_sim_block_own(image, at / image->block_bytes);
		if (block == NULL)
			return false;
		block->erases++;
		block->reads = 0;
		block->next = 0;
		block->flags &= ~(uint32_t)(SIM_BLOCK_DECAYING | SIM_BLOCK_REPORTED);
	}
	return true;
}

static bool apply_discard(struct sim_block *s, uint64_t off, uint64_t len)
{
	struct sim_image *image = &s->image;

	while (len != 0) {
		size_t at = (size_t)(off % image->page_bytes);
		size_t n = image->page_bytes - at < len ? image->page_bytes - at : (size_t)len;
		uint64_t index = off / image->page_bytes;
		if (n == image->page_bytes) {
			if (!bole_sim_page_discard(image, index))
				return false;
		} else {
			struct sim_page *page = bole_sim_page_own(image, index);
			if (page == NULL)
				return false;
			page->odd = true;
			memset(page->state + at / image->unit, SIM_DISCARDED, n / image->unit);
		}
		off += n;
		len -= n;
	}
	return true;
}

bool bole_sim_apply(struct sim_block *s, const struct bole_block_sim_operation *op)
{
	switch (op->kind) {
	case BOLE_SIM_PROGRAM: return apply_program(s, op->off, op->pieces->ptr, (size_t)op->len);
	case BOLE_SIM_ERASE: return apply_erase(s, op->off, op->len);
	case BOLE_SIM_DISCARD: return apply_discard(s, op->off, op->len);
	case BOLE_SIM_FLUSH: break;
	}
	return true;
}
