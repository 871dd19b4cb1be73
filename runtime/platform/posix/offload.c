/* SPDX-License-Identifier: ISC */
/* A block device whose calls run on the I/O workers, so that no pread stalls a loop. */
#include <stdlib.h>

#include "internal.h"

struct offload_block {
	struct bole_block block;
	struct bole_block *base;
	struct posix *platform;
};

enum call {
	CALL_READ,
	CALL_PROGRAMV,
	CALL_ERASE,
	CALL_DISCARD,
	CALL_FLUSH,
	CALL_IS_BAD,
	CALL_MARK
};

struct block_job {
	struct posix_job job;
	struct bole_block *base;
	enum call call;
	uint64_t off;
	uint64_t len;
	void *dst;
	const struct bole_bytes *pieces;
	size_t count;
	bool *bad;
	enum bole_status rc;
};

static void block_run(struct posix_job *job)
{
	struct block_job *b = (struct block_job *)(void *)job;

	switch (b->call) {
	case CALL_READ: b->rc = bole_block_read(b->base, b->off, b->dst, (size_t)b->len); break;
	case CALL_PROGRAMV:
		b->rc = bole_block_programv(b->base, b->off, b->pieces, b->count);
		break;
	case CALL_ERASE: b->rc = bole_block_erase(b->base, b->off, b->len); break;
	case CALL_DISCARD: b->rc = bole_block_discard(b->base, b->off, b->len); break;
	case CALL_FLUSH: b->rc = bole_block_flush(b->base); break;
	case CALL_IS_BAD: b->rc = bole_block_is_bad(b->base, b->off, b->bad); break;
	case CALL_MARK: b->rc = bole_block_mark_bad(b->base, b->off); break;
	}
}

static enum bole_status run(struct bole_block *block, struct block_job job)
{
	struct offload_block *o = (struct offload_block *)(void *)block;

	job.job.run = block_run;
	job.base = o->base;
	posix_offload(o->platform, &job.job);
	return job.rc;
}

/* What the page cache has costs less to copy here than to ask a worker for. */
static enum bole_status offload_read(struct bole_block *b, uint64_t off, void *dst, size_t len)
{
	struct offload_block *o = (struct offload_block *)(void *)b;

	if (posix_fiber_of(o->platform) != NULL) {
		enum bole_status rc = bole_block_read_ready(o->base, off, dst, len);
		if (rc != BOLE_AGAIN)
			return rc;
	}
	return run(b, (struct block_job){.call = CALL_READ, .off = off, .dst = dst, .len = len});
}

static enum bole_status offload_programv(struct bole_block *b, uint64_t off,
                                         const struct bole_bytes *pieces, size_t count)
{
	return run(b, (struct block_job){
	                      .call = CALL_PROGRAMV,
	                      .off = off,
	                      .pieces = pieces,
	                      .count = count,
	              });
}

static enum bole_status offload_erase(struct bole_block *b, uint64_t off, uint64_t len)
{
	return run(b, (struct block_job){.call = CALL_ERASE, .off = off, .len = len});
}

static enum bole_status offload_discard(struct bole_block *b, uint64_t off, uint64_t len)
{
	return run(b, (struct block_job){.call = CALL_DISCARD, .off = off, .len = len});
}

static enum bole_status offload_flush(struct bole_block *b)
{
	return run(b, (struct block_job){.call = CALL_FLUSH});
}

static enum bole_status offload_is_bad(struct bole_block *b, uint64_t off, bool *bad)
{
	return run(b, (struct block_job){.call = CALL_IS_BAD, .off = off, .bad = bad});
}

static enum bole_status offload_mark_bad(struct bole_block *b, uint64_t off)
{
	return run(b, (struct block_job){.call = CALL_MARK, .off = off});
}

static void offload_close(struct bole_block *b)
{
	free(b);
}

static const struct bole_block_ops offload_ops = {
        .read = offload_read,
        .programv = offload_programv,
        .erase = offload_erase,
        .discard = offload_discard,
        .flush = offload_flush,
        .is_bad = offload_is_bad,
        .mark_bad = offload_mark_bad,
        .close = offload_close,
};

enum bole_status bole_posix_offload_block(struct bole_platform *platform, struct bole_block *base,
                                          struct bole_block **out)
{
	struct offload_block *o = calloc(1, sizeof *o);

	*out = NULL;
	if (o == NULL)
		return BOLE_E_NO_MEMORY;
	o->block.ops = &offload_ops;
	o->block.info = base->info;
	o->base = base;
	o->platform = (struct posix *)platform;
	*out = &o->block;
	return BOLE_OK;
}
