/* SPDX-License-Identifier: ISC */
/* Devices behind the workers, streams over pipes, signals. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "bole/posix.h"

enum { SECTOR = 512, SECTORS = 64, USERS = 12 };

/* Remembers which thread served it and that calls overlapped. */
struct slow_disk {
	struct bole_block block;
	struct bole_platform *platform;
	pthread_t home;
	atomic_uint at_once;
	atomic_uint most;
	atomic_uint on_home;
	atomic_uint at_hand;
	uint8_t bytes[SECTOR * SECTORS];
};

static void enter(struct slow_disk *d)
{
	unsigned now = atomic_fetch_add(&d->at_once, 1) + 1;

	for (unsigned most = atomic_load(&d->most);
	     now > most && !atomic_compare_exchange_weak(&d->most, &most, now);)
		;
	if (pthread_equal(pthread_self(), d->home))
		atomic_fetch_add(&d->on_home, 1);
	usleep(5000);
	atomic_fetch_sub(&d->at_once, 1);
}

static enum bole_status disk_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	struct slow_disk *d = (struct slow_disk *)(void *)block;

	enter(d);
	memcpy(dst, d->bytes + off, len);
	return BOLE_OK;
}

/* Even sectors are at hand. */
static enum bole_status disk_read_ready(struct bole_block *block, uint64_t off, void *dst,
                                        size_t len)
{
	struct slow_disk *d = (struct slow_disk *)(void *)block;

	if (off / SECTOR % 2 == 1)
		return BOLE_AGAIN;
	atomic_fetch_add(&d->at_hand, 1);
	memcpy(dst, d->bytes + off, len);
	return BOLE_OK;
}

static enum bole_status disk_programv(struct bole_block *block, uint64_t off,
                                      const struct bole_bytes *pieces, size_t count)
{
	struct slow_disk *d = (struct slow_disk *)(void *)block;

	enter(d);
	for (size_t i = 0; i < count; i++) {
		memcpy(d->bytes + off, pieces[i].ptr, pieces[i].len);
		off += pieces[i].len;
	}
	return BOLE_OK;
}

static enum bole_status disk_flush(struct bole_block *block)
{
	(void)block;
	return BOLE_E_IO; /* failures come through as they are */
}

static const struct bole_block_ops disk_ops = {
        .read = disk_read,
        .read_ready = disk_read_ready,
        .programv = disk_programv,
        .flush = disk_flush,
};

struct user {
	struct bole_block *block;
	unsigned number;
	atomic_uint *ended;
};

static void use(void *arg)
{
	struct user *u = arg;
	uint8_t out[SECTOR];
	uint8_t in[SECTOR];
	struct bole_bytes halves[2] = {{out, 100}, {out + 100, SECTOR - 100}};

	memset(out, (int)u->number + 1, sizeof out);
	cr_assert_eq(bole_block_programv(u->block, u->number * SECTOR, halves, 2), BOLE_OK);
	cr_assert_eq(bole_block_read(u->block, u->number * SECTOR, in, sizeof in), BOLE_OK);
	cr_assert_arr_eq(in, out, sizeof in);
	cr_assert_eq(bole_block_flush(u->block), BOLE_E_IO);
	atomic_fetch_add(u->ended, 1);
}

Test(posix_devices, calls_of_fibers_overlap_on_workers_and_those_of_threads_stay)
{
	static struct slow_disk disk;
	struct bole_posix_options options = {.loops = 1, .io_workers = 4};
	struct bole_block *block = NULL;
	struct user users[USERS];
	atomic_uint ended = 0;

	cr_assert_eq(bole_posix_open(&options, &disk.platform), BOLE_OK);
	disk.home = pthread_self();
	disk.block.ops = &disk_ops;
	disk.block.info = (struct bole_block_info){
	        .kind = BOLE_BLOCK_MANAGED,
	        .durability = BOLE_DURABLE_HOST,
	        .size_bytes = sizeof disk.bytes,
	        .read_unit = SECTOR,
	        .program_unit = SECTOR,
	        .damage_unit = SECTOR,
	        .queue_depth = 4,
	};
	cr_assert_eq(bole_posix_offload_block(disk.platform, &disk.block, &block), BOLE_OK);
	for (unsigned i = 0; i < USERS; i++) {
		users[i] = (struct user){block, i, &ended};
		cr_assert_eq(
		        disk.platform->ops->fiber_start(disk.platform, "user", use, &users[i], 0),
		        BOLE_OK);
	}
	while (atomic_load(&ended) < USERS)
		usleep(1000);
	cr_assert_gt(atomic_load(&disk.most), 1, "one loop, yet the calls run side by side");
	cr_assert_leq(atomic_load(&disk.most), 4);
	cr_assert_eq(atomic_load(&disk.on_home), 0);
	cr_assert_eq(atomic_load(&disk.at_hand), USERS / 2, "what is at hand needs no worker");
	use(&users[0]);
	cr_assert_eq(atomic_load(&disk.on_home), 2);
	bole_block_close(block);
	bole_posix_close(disk.platform);
}

Test(posix_devices, a_pipe_is_a_stream)
{
	struct bole_platform *p = NULL;
	struct bole_stream *near = NULL;
	struct bole_stream *far = NULL;
	int there[2];
	int back[2];
	uint8_t data[16];
	size_t got = 0;

	cr_assert_eq(pipe(there) + pipe(back), 0);
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(bole_posix_open(NULL, &p), BOLE_OK);
	cr_assert_eq(bole_posix_pipe_stream(p, back[0], there[1], &near), BOLE_OK);
	cr_assert_eq(bole_posix_pipe_stream(p, there[0], back[1], &far), BOLE_OK);
	struct bole_bytes pieces[2] = {{(const uint8_t *)"hel", 3}, {(const uint8_t *)"lo", 2}};
	cr_assert_eq(near->ops->writev(near, pieces, 2), BOLE_OK);
	cr_assert_eq(far->ops->read(far, data, sizeof data, &got), BOLE_OK);
	cr_assert_eq(got, 5);
	cr_assert_arr_eq(data, "hello", 5);
	far->ops->set_deadline(far, p->ops->now_ns(p) + 20000000, BOLE_NEVER);
	cr_assert_eq(far->ops->read(far, data, sizeof data, &got), BOLE_E_TIMEOUT);
	far->ops->set_deadline(far, BOLE_NEVER, BOLE_NEVER);
	close(there[1]);
	cr_assert_eq(far->ops->read(far, data, sizeof data, &got), BOLE_END);
	close(back[0]);
	cr_assert(far->ops->hung_up(far));
	cr_assert_eq(far->ops->writev(far, pieces, 1), BOLE_E_CLOSED);
	near->ops->close(near);
	far->ops->close(far);
	bole_posix_close(p);
}

static void count_stops(void *ctx, unsigned n)
{
	atomic_store((atomic_uint *)ctx, n);
}

static void wait_count(atomic_uint *count, unsigned n)
{
	for (int i = 0; i < 2000 && atomic_load(count) < n; i++)
		usleep(1000);
	cr_assert_eq(atomic_load(count), n);
}

Test(posix_devices, signals_are_counted_on_a_thread_of_their_own)
{
	struct bole_platform *p = NULL;
	atomic_uint count = 0;

	cr_assert_eq(bole_posix_open(NULL, &p), BOLE_OK);
	cr_assert_eq(bole_posix_on_stop(p, count_stops, &count), BOLE_OK);
	cr_assert_eq(bole_posix_on_stop(p, count_stops, &count), BOLE_E_EXISTS);
	kill(getpid(), SIGINT);
	wait_count(&count, 1);
	kill(getpid(), SIGTERM);
	wait_count(&count, 2);
	bole_posix_off_stop(p);
	bole_posix_close(p);
}
