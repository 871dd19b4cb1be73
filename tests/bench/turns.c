/* SPDX-License-Identifier: ISC */
#include "bench/turns.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "bole/block_sim.h"
#include "support/suite_help.h"

enum { STUCK_MS = 3 };

struct turns {
	struct bole_block block;
	struct bole_block *base;
	pthread_mutex_t lock;
	pthread_cond_t moved; /* anything below */
	uint64_t skipped;     /* time in which the device did nothing */
	bool busy;            /* the foreground has arrived and is not done */
	uint64_t arrival;     /* else: when it will */
	uint64_t steps;       /* operations of the foreground so far */
	bool exhausted;       /* the background found nothing to do since the foreground was busy */
	bool stop;
	bool running;
	pthread_t thread;
	bool (*fn)(void *ctx);
	void *ctx;
};

static _Thread_local bool is_background;

static struct turns *of(struct bole_block *block)
{
	return (struct turns *)block;
}

static uint64_t now_of(const struct turns *t)
{
	return t->skipped + bole_block_sim_time_ns(t->base);
}

/* Under the lock: the background may go on when the foreground does not want the device, or seems
 * to wait for what the background holds. */
static void background_turn(struct turns *t)
{
	while (!t->stop && (t->busy || now_of(t) >= t->arrival)) {
		struct timespec until;
		uint64_t steps = t->steps;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += STUCK_MS * 1000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		int rc = pthread_cond_timedwait(&t->moved, &t->lock, &until);
		if (rc != 0 && t->busy && steps == t->steps)
			return;
	}
}

static void enter(struct turns *t)
{
	pthread_mutex_lock(&t->lock);
	if (is_background)
		background_turn(t);
	else
		t->steps++;
}

static enum bole_status leave(struct turns *t, enum bole_status rc)
{
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

static enum bole_status turns_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	enter(of(block));
	return leave(of(block), bole_block_read(of(block)->base, off, dst, len));
}

static enum bole_status turns_programv(struct bole_block *block, uint64_t off,
                                       const struct bole_bytes *pieces, size_t count)
{
	enter(of(block));
	return leave(of(block), bole_block_programv(of(block)->base, off, pieces, count));
}

/* Block by block: nobody has to wait for several. */
static enum bole_status turns_erase(struct bole_block *block, uint64_t off, uint64_t len)
{
	enum bole_status rc = BOLE_OK;
	uint32_t unit = block->info.erase_unit;

	for (uint64_t at = 0; at < len && rc == BOLE_OK; at += unit) {
		enter(of(block));
		rc = leave(of(block), bole_block_erase(of(block)->base, off + at, unit));
	}
	return rc;
}

static enum bole_status turns_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	enter(of(block));
	return leave(of(block), bole_block_discard(of(block)->base, off, len));
}

static enum bole_status turns_flush(struct bole_block *block)
{
	enter(of(block));
	return leave(of(block), bole_block_flush(of(block)->base));
}

static enum bole_status turns_is_bad(struct bole_block *block, uint64_t off, bool *bad)
{
	return bole_block_is_bad(of(block)->base, off, bad);
}

static enum bole_status turns_mark_bad(struct bole_block *block, uint64_t off)
{
	return bole_block_mark_bad(of(block)->base, off);
}

static enum bole_status turns_decaying(struct bole_block *block, uint64_t *off)
{
	return bole_block_next_decaying(of(block)->base, off);
}

static const struct bole_block_ops turns_ops = {
        .read = turns_read,
        .programv = turns_programv,
        .erase = turns_erase,
        .discard = turns_discard,
        .flush = turns_flush,
        .is_bad = turns_is_bad,
        .mark_bad = turns_mark_bad,
        .next_decaying = turns_decaying,
};

struct turns *turns_open(struct bole_block *simulated)
{
	struct turns *t = calloc(1, sizeof *t);

	check(t != NULL);
	t->block.ops = &turns_ops;
	t->block.info = simulated->info;
	t->base = simulated;
	t->busy = true;
	check_eq(pthread_mutex_init(&t->lock, NULL), 0);
	check_eq(pthread_cond_init(&t->moved, NULL), 0);
	return t;
}

void turns_close(struct turns *t)
{
	check(!t->running);
	pthread_cond_destroy(&t->moved);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

struct bole_block *turns_block(struct turns *t)
{
	return &t->block;
}

uint64_t turns_now_ns(struct turns *t)
{
	pthread_mutex_lock(&t->lock);
	uint64_t now = now_of(t);
	pthread_mutex_unlock(&t->lock);
	return now;
}

void turns_idle_until(struct turns *t, uint64_t at)
{
	pthread_mutex_lock(&t->lock);
	t->busy = false;
	t->exhausted = !t->running;
	t->arrival = at;
	pthread_cond_broadcast(&t->moved);
	while (now_of(t) < at && !t->exhausted)
		pthread_cond_wait(&t->moved, &t->lock);
	if (now_of(t) < at)
		t->skipped += at - now_of(t);
	t->busy = true;
	t->steps++;
	pthread_mutex_unlock(&t->lock);
}

static void *background_main(void *arg)
{
	struct turns *t = arg;

	is_background = true;
	for (;;) {
		pthread_mutex_lock(&t->lock);
		while (!t->stop && (t->busy || t->exhausted))
			pthread_cond_wait(&t->moved, &t->lock);
		bool stop = t->stop;
		pthread_mutex_unlock(&t->lock);
		if (stop)
			return NULL;
		if (t->fn(t->ctx))
			continue;
		pthread_mutex_lock(&t->lock);
		t->exhausted = true;
		pthread_cond_broadcast(&t->moved);
		pthread_mutex_unlock(&t->lock);
	}
}

void turns_background(struct turns *t, bool (*fn)(void *ctx), void *ctx)
{
	t->fn = fn;
	t->ctx = ctx;
	t->running = true;
	check_eq(pthread_create(&t->thread, NULL, background_main, t), 0);
}

void turns_stop(struct turns *t)
{
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
	check_eq(pthread_join(t->thread, NULL), 0);
	pthread_mutex_lock(&t->lock);
	t->stop = false;
	t->running = false;
	pthread_mutex_unlock(&t->lock);
}
