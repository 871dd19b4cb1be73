/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "torture/torture.h"

static struct tap *tap_of(struct bole_block *b)
{
	return (struct tap *)b;
}

static bool due(uint64_t *countdown)
{
	return *countdown != 0 && --*countdown == 0;
}

static enum bole_status tap_read(struct bole_block *b, uint64_t off, void *dst, size_t len)
{
	if (due(&tap_of(b)->fail_read))
		return BOLE_E_IO;
	enum bole_status rc = bole_block_read(tap_of(b)->under, off, dst, len);
	if (due(&tap_of(b)->short_read))
		memset((uint8_t *)dst + len / 2, 0, len - len / 2);
	return rc;
}

enum bole_status tap_issue(struct bole_block *under, const struct tap_op *op)
{
	switch (op->kind) {
	case TAP_PROGRAM: return bole_block_programv(under, op->off, op->pieces, op->count);
	case TAP_ERASE: return bole_block_erase(under, op->off, op->len);
	case TAP_DISCARD: return bole_block_discard(under, op->off, op->len);
	case TAP_FLUSH: return bole_block_flush(under);
	}
	return BOLE_E_IO;
}

static enum bole_status pass(struct bole_block *b, const struct tap_op *op)
{
	struct tap *t = tap_of(b);

	t->ops++;
	if (op->kind == TAP_FLUSH ? due(&t->fail_flush)
	                          : op->kind != TAP_DISCARD && due(&t->fail_write))
		return BOLE_E_IO;
	if (t->full_from != 0 && (op->kind == TAP_PROGRAM || op->kind == TAP_ERASE) &&
	    op->off + op->len > t->full_from)
		return BOLE_E_IO;
	if (t->hook != NULL && !t->in_hook) {
		t->in_hook = true;
		t->hook(t, op);
		t->in_hook = false;
	}
	return tap_issue(t->under, op);
}

static enum bole_status tap_programv(struct bole_block *b, uint64_t off,
                                     const struct bole_bytes *pieces, size_t count)
{
	struct tap_op op = {.kind = TAP_PROGRAM, .off = off, .pieces = pieces, .count = count};

	for (size_t i = 0; i < count; i++)
		op.len += pieces[i].len;
	return pass(b, &op);
}

static enum bole_status tap_erase(struct bole_block *b, uint64_t off, uint64_t len)
{
	return pass(b, &(struct tap_op){.kind = TAP_ERASE, .off = off, .len = len});
}

static enum bole_status tap_discard(struct bole_block *b, uint64_t off, uint64_t len)
{
	return pass(b, &(struct tap_op){.kind = TAP_DISCARD, .off = off, .len = len});
}

static enum bole_status tap_flush(struct bole_block *b)
{
	return pass(b, &(struct tap_op){.kind = TAP_FLUSH});
}

static enum bole_status tap_is_bad(struct bole_block *b, uint64_t off, bool *bad)
{
	return bole_block_is_bad(tap_of(b)->under, off, bad);
}

static enum bole_status tap_mark_bad(struct bole_block *b, uint64_t off)
{
	return bole_block_mark_bad(tap_of(b)->under, off);
}

static enum bole_status tap_next_decaying(struct bole_block *b, uint64_t *off)
{
	return bole_block_next_decaying(tap_of(b)->under, off);
}

static void tap_close(struct bole_block *b)
{
	(void)b;
}

static const struct bole_block_ops tap_ops = {
        .read = tap_read,
        .programv = tap_programv,
        .erase = tap_erase,
        .discard = tap_discard,
        .flush = tap_flush,
        .is_bad = tap_is_bad,
        .mark_bad = tap_mark_bad,
        .close = tap_close,
        .next_decaying = tap_next_decaying,
};

void tap_init(struct tap *t, struct bole_block *under)
{
	memset(t, 0, sizeof *t);
	t->block.ops = &tap_ops;
	t->block.info = under->info;
	t->under = under;
}
