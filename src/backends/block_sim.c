/* SPDX-License-Identifier: ISC */
/* The simulated device: its calls, what they cost, open and clone. */
#include "bole/block_sim.h"

#include <string.h>

#include "backends/block_sim.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum { PS_PER_NS = 1000 };

uint64_t bole_sim_draw(struct sim_block *s)
{
	uint64_t r = bole_sim_noise(s->random, 0);

	s->random += 0x9e3779b97f4a7c15u;
	return r;
}

bool bole_sim_due(struct sim_block *s, enum bole_block_sim_fault fault)
{
	struct sim_pending *p = &s->fault[fault];

	return p->countdown != 0 && --p->countdown == 0;
}

void bole_sim_lock(struct sim_block *s)
{
	while (atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire))
		;
}

void bole_sim_unlock(struct sim_block *s)
{
	atomic_flag_clear_explicit(&s->busy, memory_order_release);
}

/* -- Costs -- */

static uint64_t steps_of(uint64_t off, uint64_t len, uint32_t step)
{
	return step == 0 ? 1 : (off + len - 1) / step - off / step + 1;
}

static uint64_t spend(struct sim_block *s, uint64_t ns)
{
	s->count.device_ns += ns;
	if (ns > s->count.worst_ns)
		s->count.worst_ns = ns;
	return ns;
}

/* Bytes over the bus: raw pages with what is out of band. */
static uint64_t transfer_ns(const struct sim_block *s, uint64_t len, uint32_t byte_ps)
{
	len += len / s->image.unit * s->options.oob_bytes;
	return len * byte_ps / PS_PER_NS;
}

static void count_read(struct sim_block *s, uint64_t off, uint64_t len)
{
	const struct bole_block_sim_times *t = &s->options.times;
	uint64_t steps = steps_of(off, len, t->read_step);

	s->count.reads++;
	s->count.read_bytes += len;
	s->count.read_steps += steps;
	s->count.read_ns += spend(s, steps * t->read_ns + transfer_ns(s, len, t->read_byte_ps));
}

static void count_program(struct sim_block *s, uint64_t off, uint64_t len)
{
	const struct bole_block_sim_times *t = &s->options.times;
	uint64_t steps = steps_of(off, len, t->program_step);

	s->count.programs++;
	s->count.programmed_bytes += len;
	s->count.program_steps += steps;
	s->count.program_ns +=
	        spend(s, steps * t->program_ns + transfer_ns(s, len, t->program_byte_ps));
}

/* -- Calls -- */

/* Counts an operation; true when power goes during it. */
static bool operation(struct sim_block *s, struct bole_block_sim_operation *op)
{
	op->number = s->count.operations + 1;
	if (s->hook != NULL) {
		bole_sim_unlock(s);
		s->hook(s->hook_ctx, &s->block, op);
		bole_sim_lock(s);
	}
	s->count.operations++;
	return s->cut_at != 0 && s->count.operations >= s->cut_at;
}

/* A program, an erase or a discard whose way is free. */
static enum bole_status change(struct sim_block *s, struct bole_block_sim_operation *op)
{
	bool cut = operation(s, op);
	bool hold = cut || s->block.info.volatile_cache;

	if (hold && !bole_sim_hold(s, op->kind, op->off, op->len))
		return BOLE_E_IO;
	if (!bole_sim_apply(s, op)) {
		if (hold)
			bole_sim_held_drop(s);
		return BOLE_E_IO;
	}
	if (hold)
		bole_sim_held_done(s);
	if (cut)
		bole_sim_lose_power(s, true);
	return cut ? BOLE_E_IO : BOLE_OK;
}

static enum bole_status sim_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	struct sim_block *s = bole_sim_of(block);

	bole_sim_lock(s);
	enum bole_status rc = BOLE_E_IO;
	if (!s->off && !bole_sim_due(s, BOLE_SIM_READ_ERROR)) {
		count_read(s, off, len);
		rc = bole_sim_sense(s, off, dst, len);
	}
	bole_sim_unlock(s);
	return rc;
}

/* The bytes are in one piece. */
static enum bole_status program(struct sim_block *s, uint64_t off, const struct bole_bytes *piece)
{
	struct bole_block_sim_operation op = {.kind = BOLE_SIM_PROGRAM,
	                                      .off = off,
	                                      .len = piece->len,
	                                      .pieces = piece,
	                                      .count = 1};

	if (s->off || bole_sim_due(s, BOLE_SIM_PROGRAM_ERROR))
		return BOLE_E_IO;
	BOLE_TRY(bole_sim_check_program(s, off, piece->ptr, piece->len));
	count_program(s, off, piece->len);
	if (bole_sim_due(s, BOLE_SIM_PROGRAM_LOST)) {
		s->count.operations++;
		return BOLE_OK;
	}
	if (bole_sim_due(s, BOLE_SIM_PROGRAM_MISDIRECTED))
		op.off = bole_sim_other_place(s, BOLE_SIM_PROGRAM_MISDIRECTED, piece->len);
	if (!bole_sim_due(s, BOLE_SIM_PROGRAM_KILLS))
		return change(s, &op);
	/* A program that fails leaves nobody knows what. */
	for (size_t i = 0; i < piece->len; i++)
		((uint8_t *)(uintptr_t)piece->ptr)[i] |= (uint8_t)bole_sim_draw(s);
	enum bole_status rc = change(s, &op);
	if (s->image.block_bytes != 0)
		bole_sim_kill(s, off / s->image.block_bytes);
	return rc == BOLE_OK ? BOLE_E_IO : rc;
}

static enum bole_status sim_programv(struct bole_block *block, uint64_t off,
                                     const struct bole_bytes *pieces, size_t count)
{
	struct sim_block *s = bole_sim_of(block);
	size_t len = 0;

	for (size_t i = 0; i < count; i++)
		len += pieces[i].len;
	uint8_t *bytes = bole_alloc_array(s->alloc, len, 1);
	if (bytes == NULL)
		return BOLE_E_IO;
	uint8_t *dst = bytes;
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].len != 0)
			memcpy(dst, pieces[i].ptr, pieces[i].len);
		dst += pieces[i].len;
	}
	struct bole_bytes piece = {bytes, len};
	bole_sim_lock(s);
	enum bole_status rc = program(s, off, &piece);
	bole_sim_unlock(s);
	bole_alloc_free(s->alloc, bytes, len, 1);
	return rc;
}

static enum bole_status erase(struct sim_block *s, uint64_t off, uint64_t len)
{
	struct bole_block_sim_operation op = {.kind = BOLE_SIM_ERASE, .off = off, .len = len};

	if (s->off || bole_sim_due(s, BOLE_SIM_ERASE_ERROR))
		return BOLE_E_IO;
	BOLE_TRY(bole_sim_check_erase(s, off, len));
	s->count.erases++;
	s->count.erased_bytes += len;
	s->count.erase_ns += spend(s, len / s->image.block_bytes * s->options.times.erase_ns);
	if (bole_sim_due(s, BOLE_SIM_ERASE_KILLS)) {
		s->count.operations++;
		bole_sim_kill(s, off / s->image.block_bytes);
		return BOLE_E_IO;
	}
	return change(s, &op);
}

static enum bole_status sim_erase(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct sim_block *s = bole_sim_of(block);

	bole_sim_lock(s);
	enum bole_status rc = erase(s, off, len);
	bole_sim_unlock(s);
	return rc;
}

static enum bole_status sim_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct sim_block *s = bole_sim_of(block);
	struct bole_block_sim_operation op = {.kind = BOLE_SIM_DISCARD, .off = off, .len = len};
	enum bole_status rc = BOLE_E_IO;

	bole_sim_lock(s);
	if (!s->off) {
		s->count.discards++;
		s->count.discarded_bytes += len;
		(void)spend(s, s->options.times.discard_ns);
		rc = change(s, &op);
	}
	bole_sim_unlock(s);
	return rc;
}

static enum bole_status flush(struct sim_block *s)
{
	struct bole_block_sim_operation op = {.kind = BOLE_SIM_FLUSH};

	if (s->off || bole_sim_due(s, BOLE_SIM_FLUSH_ERROR))
		return BOLE_E_IO;
	bool cut = operation(s, &op);
	s->count.flushes++;
	s->count.flush_ns += spend(s, s->options.times.flush_ns);
	if (cut) {
		bole_sim_lose_power(s, false);
		return BOLE_E_IO;
	}
	if (!s->ignore_flush)
		bole_sim_forget_held(s);
	return BOLE_OK;
}

static enum bole_status sim_flush(struct bole_block *block)
{
	struct sim_block *s = bole_sim_of(block);

	bole_sim_lock(s);
	enum bole_status rc = flush(s);
	bole_sim_unlock(s);
	return rc;
}

static void sim_close(struct bole_block *block)
{
	struct sim_block *s = bole_sim_of(block);

	bole_sim_forget_held(s);
	bole_alloc_free(s->alloc, s->held, s->helds_cap, sizeof *s->held);
	bole_sim_image_release(&s->image);
	bole_sim_image_release(&s->remembered);
	bole_alloc_free(s->alloc, s, 1, sizeof *s);
}

static const struct bole_block_ops managed_ops = {
        .read = sim_read,
        .programv = sim_programv,
        .discard = sim_discard,
        .flush = sim_flush,
        .close = sim_close,
};

static const struct bole_block_ops raw_ops = {
        .read = sim_read,
        .programv = sim_programv,
        .erase = sim_erase,
        .flush = sim_flush,
        .is_bad = bole_sim_is_bad,
        .mark_bad = bole_sim_mark_bad,
        .close = sim_close,
        .next_decaying = bole_sim_next_decaying,
};

/* -- Open and clone -- */

static struct bole_block_info info_of(const struct bole_block_sim_options *o)
{
	bool raw = o->kind != BOLE_BLOCK_MANAGED;

	return (struct bole_block_info){
	        .name = "sim",
	        .kind = o->kind,
	        .durability = BOLE_DURABLE_DEVICE,
	        .size_bytes = o->size_bytes,
	        .read_unit = o->read_unit,
	        .program_unit = o->program_unit,
	        .erase_unit = raw ? o->erase_unit : 0,
	        .damage_unit = o->damage_unit == 0 ? o->program_unit : o->damage_unit,
	        .oob_bytes = o->oob_bytes,
	        .queue_depth = 1,
	        .volatile_cache = o->volatile_cache,
	        .needs_erase = raw,
	        .can_discard = o->can_discard && !raw,
	};
}

static bool power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static bool options_fit(const struct bole_block_sim_options *o)
{
	bool raw = o->kind != BOLE_BLOCK_MANAGED;

	return power_of_two(o->read_unit) && power_of_two(o->program_unit) &&
	       o->program_unit % o->read_unit == 0 &&
	       (o->damage_unit == 0 || power_of_two(o->damage_unit)) && o->size_bytes != 0 &&
	       o->size_bytes <= SIZE_MAX / 2 && o->size_bytes % o->program_unit == 0 &&
	       (!raw || (o->erase_unit != 0 && o->erase_unit % o->program_unit == 0 &&
	                 o->size_bytes % o->erase_unit == 0));
}

enum bole_status bole_block_sim_open(struct bole_alloc *alloc,
                                     const struct bole_block_sim_options *o,
                                     struct bole_block **out)
{
	if (!options_fit(o))
		return BOLE_E_INVALID;
	struct sim_block *s = bole_alloc_zeroed(alloc, 1, sizeof *s);
	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	s->block.ops = o->kind == BOLE_BLOCK_MANAGED ? &managed_ops : &raw_ops;
	s->block.info = info_of(o);
	s->alloc = alloc;
	s->options = *o;
	s->random = o->seed;
	s->birth = o->seed;
	atomic_flag_clear(&s->busy);
	if (!bole_sim_image_init(&s->image, alloc, o)) {
		sim_close(&s->block);
		return BOLE_E_NO_MEMORY;
	}
	if (o->kind != BOLE_BLOCK_MANAGED)
		bole_sim_factory(s);
	*out = &s->block;
	return BOLE_OK;
}

/* Everything but what is held, pending and counted. */
static struct sim_block *twin(struct bole_alloc *alloc, const struct sim_block *from)
{
	struct sim_block *s = bole_alloc_zeroed(alloc, 1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->block = from->block;
	s->alloc = alloc;
	s->options = from->options;
	s->random = from->random;
	s->birth = from->birth;
	s->decaying = from->decaying;
	s->decayed = from->decayed;
	atomic_flag_clear(&s->busy);
	if (!bole_sim_image_share(&s->image, alloc, &from->image)) {
		s->image.node = NULL;
		sim_close(&s->block);
		return NULL;
	}
	return s;
}

enum bole_status bole_block_sim_clone(struct bole_alloc *alloc, struct bole_block *block,
                                      struct bole_block **out)
{
	struct sim_block *from = bole_sim_of(block);

	bole_sim_lock(from);
	struct sim_block *s = twin(alloc, from);
	bole_sim_unlock(from);
	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	*out = &s->block;
	return BOLE_OK;
}

static bool copy_state(struct sim_block *s, const struct sim_block *from)
{
	s->cut_at = from->cut_at;
	s->cut = from->cut;
	s->off = from->off;
	s->ignore_flush = from->ignore_flush;
	s->count = from->count;
	memcpy(s->fault, from->fault, sizeof s->fault);
	if (from->remembered.node != NULL &&
	    !bole_sim_image_share(&s->remembered, s->alloc, &from->remembered)) {
		s->remembered.node = NULL;
		return false;
	}
	return bole_sim_copy_held(s, from);
}

enum bole_status bole_block_sim_fork(struct bole_alloc *alloc, struct bole_block *block,
                                     struct bole_block **out)
{
	struct sim_block *from = bole_sim_of(block);

	bole_sim_lock(from);
	struct sim_block *s = twin(alloc, from);
	bool copied = s != NULL && copy_state(s, from);
	bole_sim_unlock(from);
	if (!copied) {
		if (s != NULL)
			sim_close(&s->block);
		return BOLE_E_NO_MEMORY;
	}
	*out = &s->block;
	return BOLE_OK;
}
