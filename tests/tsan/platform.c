/* SPDX-License-Identifier: ISC */
/* The primitives of the posix platform under ThreadSanitizer: fibers on several loops and plain
 * threads share a bounded queue, sleep, yield, time out, talk over sockets and use the workers. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bole/block.h"
#include "bole/posix.h"

enum { PRODUCERS = 6, CONSUMERS = 5, ITEMS = 3000, ROOM = 4, TALKERS = 12, TALK_BYTES = 40000 };

#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

struct shared {
	struct bole_platform *p;
	struct bole_mutex lock;
	struct bole_cond changed;
	unsigned queue[ROOM];
	unsigned count;
	unsigned taken;
	uint64_t sum;
	unsigned ended;
	struct bole_listener *listener;
	char address[32];
	struct bole_block *disk;
	uint8_t bytes[64 * 512];
};

static void ended(struct shared *s)
{
	s->p->ops->mutex_lock(s->p, &s->lock);
	s->ended++;
	s->p->ops->cond_broadcast(s->p, &s->changed);
	s->p->ops->mutex_unlock(s->p, &s->lock);
}

static void produce(void *arg)
{
	struct shared *s = arg;
	const struct bole_platform_ops *ops = s->p->ops;

	for (unsigned i = 1; i <= ITEMS; i++) {
		ops->mutex_lock(s->p, &s->lock);
		while (s->count == ROOM)
			(void)ops->cond_wait(s->p, &s->changed, &s->lock,
			                     ops->now_ns(s->p) + 1000000);
		s->queue[s->count++] = i;
		ops->cond_broadcast(s->p, &s->changed);
		ops->mutex_unlock(s->p, &s->lock);
		if (i % 64 == 0)
			ops->yield(s->p);
		if (i % 500 == 0)
			ops->sleep_until(s->p, ops->now_ns(s->p) + 200000);
	}
	ended(s);
}

static void consume(void *arg)
{
	struct shared *s = arg;
	const struct bole_platform_ops *ops = s->p->ops;

	ops->mutex_lock(s->p, &s->lock);
	while (s->taken < PRODUCERS * ITEMS) {
		if (s->count == 0) {
			(void)ops->cond_wait(s->p, &s->changed, &s->lock, BOLE_NEVER);
			continue;
		}
		s->sum += s->queue[--s->count];
		s->taken++;
		ops->cond_broadcast(s->p, &s->changed);
	}
	ops->mutex_unlock(s->p, &s->lock);
	ended(s);
}

static void *produce_thread(void *arg)
{
	produce(arg);
	return NULL;
}

static void *consume_thread(void *arg)
{
	consume(arg);
	return NULL;
}

static void echo_one(void *arg)
{
	struct bole_stream *stream = arg;
	uint8_t data[2048];
	size_t got = 0;

	while (stream->ops->read(stream, data, sizeof data, &got) == BOLE_OK) {
		if (stream->ops->writev(stream, &(struct bole_bytes){data, got}, 1) != BOLE_OK)
			break;
	}
	stream->ops->close(stream);
}

static void echo_accept(void *arg)
{
	struct shared *s = arg;
	struct bole_stream *stream = NULL;

	while (s->listener->ops->accept(s->listener, &stream) == BOLE_OK)
		CHECK(s->p->ops->fiber_start(s->p, "echo", echo_one, stream, 0) == BOLE_OK);
	ended(s);
}

static void talk(void *arg)
{
	struct shared *s = arg;
	struct bole_stream *stream = NULL;
	uint8_t out[777];
	uint8_t in[777];

	CHECK(s->p->ops->connect(s->p, s->address, BOLE_NEVER, &stream) == BOLE_OK);
	for (size_t done = 0; done < TALK_BYTES; done += sizeof out) {
		memset(out, (int)(done & 0x7f), sizeof out);
		CHECK(stream->ops->writev(stream, &(struct bole_bytes){out, sizeof out}, 1) ==
		      BOLE_OK);
		for (size_t have = 0, got = 0; have < sizeof in; have += got)
			CHECK(stream->ops->read(stream, in + have, sizeof in - have, &got) ==
			      BOLE_OK);
		CHECK(memcmp(in, out, sizeof in) == 0);
	}
	stream->ops->close(stream);
	ended(s);
}

static void wait_ended(struct shared *s, unsigned count)
{
	s->p->ops->mutex_lock(s->p, &s->lock);
	while (s->ended < count)
		(void)s->p->ops->cond_wait(s->p, &s->changed, &s->lock, BOLE_NEVER);
	s->p->ops->mutex_unlock(s->p, &s->lock);
}

static void start(struct shared *s, void (*fn)(void *), unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		CHECK(s->p->ops->fiber_start(s->p, "test", fn, s, 0) == BOLE_OK);
}

static void queue_test(struct shared *s)
{
	pthread_t threads[2];

	start(s, produce, PRODUCERS - 1);
	start(s, consume, CONSUMERS - 1);
	CHECK(pthread_create(&threads[0], NULL, produce_thread, s) == 0);
	CHECK(pthread_create(&threads[1], NULL, consume_thread, s) == 0);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	wait_ended(s, PRODUCERS + CONSUMERS);
	CHECK(s->sum == (uint64_t)PRODUCERS * ITEMS * (ITEMS + 1) / 2);
	s->ended = 0;
}

static void echo_test(struct shared *s)
{
	CHECK(s->p->ops->listen(s->p, "127.0.0.1:0", &s->listener) == BOLE_OK);
	snprintf(s->address, sizeof s->address, "127.0.0.1:%u",
	         (unsigned)s->listener->ops->port(s->listener));
	start(s, echo_accept, 1);
	start(s, talk, TALKERS);
	wait_ended(s, TALKERS);
	s->listener->ops->shutdown(s->listener);
	wait_ended(s, TALKERS + 1);
	s->listener->ops->close(s->listener);
	s->ended = 0;
}

/* A device that is bytes in memory; each caller has a sector of its own. */
static enum bole_status disk_read(struct bole_block *b, uint64_t off, void *dst, size_t len)
{
	(void)b;
	memset(dst, (int)(off / 512), len);
	return BOLE_OK;
}

static const struct bole_block_ops disk_ops = {.read = disk_read};

static void use_disk(void *arg)
{
	struct shared *s = arg;
	uint8_t sector[512];

	for (unsigned i = 0; i < 200; i++) {
		CHECK(s->disk->ops->read(s->disk, i % 64 * 512, sector, sizeof sector) == BOLE_OK);
		CHECK(sector[0] == i % 64);
	}
	ended(s);
}

int main(void)
{
	struct bole_posix_options options = {.loops = 3, .io_workers = 3};
	struct bole_block base = {.ops = &disk_ops, .info = {.size_bytes = 64 * 512}};
	struct shared s = {0};

	base.info.read_unit = base.info.program_unit = base.info.damage_unit = 512;
	base.info.queue_depth = 4;
	base.info.kind = BOLE_BLOCK_MANAGED;
	CHECK(bole_posix_open(&options, &s.p) == BOLE_OK);
	s.p->ops->mutex_init(s.p, &s.lock);
	s.p->ops->cond_init(s.p, &s.changed);
	queue_test(&s);
	echo_test(&s);
	CHECK(bole_posix_offload_block(s.p, &base, &s.disk) == BOLE_OK);
	start(&s, use_disk, 10);
	wait_ended(&s, 10);
	s.p->ops->cond_destroy(s.p, &s.changed);
	s.p->ops->mutex_destroy(s.p, &s.lock);
	s.disk->ops->close(s.disk);
	bole_posix_close(s.p);
	puts("platform primitives: no race");
	return 0;
}
