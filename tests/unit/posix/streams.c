/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bole/posix.h"

struct echo {
	struct bole_platform *p;
	struct bole_listener *listener;
	struct bole_stream *stream;
	atomic_uint connections;
};

static void echo_one(void *arg)
{
	struct echo *e = arg;
	uint8_t data[4096];
	size_t got = 0;

	while (e->stream->ops->read(e->stream, data, sizeof data, &got) == BOLE_OK) {
		struct bole_bytes pieces[2] = {{data, got / 2}, {data + got / 2, got - got / 2}};
		if (e->stream->ops->writev(e->stream, pieces, 2) != BOLE_OK)
			break;
	}
	e->stream->ops->close(e->stream);
	free(e);
}

static void echo_accept(void *arg)
{
	struct echo *e = arg;
	struct bole_stream *s = NULL;

	while (e->listener->ops->accept(e->listener, &s) == BOLE_OK) {
		struct echo *one = calloc(1, sizeof *one);
		*one = (struct echo){.p = e->p, .stream = s};
		atomic_fetch_add(&e->connections, 1);
		cr_assert_eq(e->p->ops->fiber_start(e->p, "echo", echo_one, one, 32768), BOLE_OK);
	}
	e->listener->ops->close(e->listener);
}

static void echo_start(struct echo *e, struct bole_platform *p, char *address, size_t cap)
{
	*e = (struct echo){.p = p};
	cr_assert_eq(p->ops->listen(p, "127.0.0.1:0", &e->listener), BOLE_OK);
	snprintf(address, cap, "127.0.0.1:%u", (unsigned)e->listener->ops->port(e->listener));
	cr_assert_eq(p->ops->fiber_start(p, "accept", echo_accept, e, 0), BOLE_OK);
}

static struct bole_platform *platform_open(void)
{
	struct bole_posix_options options = {.loops = 2};
	struct bole_platform *p = NULL;

	cr_assert_eq(bole_posix_open(&options, &p), BOLE_OK);
	return p;
}

/* Sends total bytes in pieces and checks that they come back. */
static void converse(struct bole_platform *p, const char *address, size_t total)
{
	struct bole_stream *s = NULL;
	uint8_t out[3000];
	uint8_t in[3000];

	cr_assert_eq(p->ops->connect(p, address, BOLE_NEVER, &s), BOLE_OK);
	for (size_t done = 0, n; done < total; done += n) {
		n = total - done < sizeof out ? total - done : sizeof out;
		for (size_t i = 0; i < n; i++)
			out[i] = (uint8_t)(done + i);
		cr_assert_eq(s->ops->writev(s, &(struct bole_bytes){out, n}, 1), BOLE_OK);
		for (size_t have = 0, got = 0; have < n; have += got)
			cr_assert_eq(s->ops->read(s, in + have, n - have, &got), BOLE_OK);
		cr_assert_arr_eq(in, out, n);
	}
	s->ops->close(s);
}

struct client {
	struct bole_platform *p;
	const char *address;
	atomic_uint ended;
};

static void client_run(void *arg)
{
	struct client *c = arg;

	converse(c->p, c->address, 20000);
	atomic_fetch_add(&c->ended, 1);
}

Test(posix_streams, many_fibers_and_a_thread_talk_to_an_echo)
{
	struct bole_platform *p = platform_open();
	struct echo e;
	char address[32];

	echo_start(&e, p, address, sizeof address);
	struct client c = {.p = p, .address = address};
	for (int i = 0; i < 50; i++)
		cr_assert_eq(p->ops->fiber_start(p, "client", client_run, &c, 0), BOLE_OK);
	converse(p, address, 1000000);
	while (atomic_load(&c.ended) < 50)
		p->ops->sleep_until(p, p->ops->now_ns(p) + 1000000);
	e.listener->ops->shutdown(e.listener);
	bole_posix_close(p);
	cr_assert_eq(atomic_load(&e.connections), 51);
}

struct silent {
	struct bole_platform *p;
	struct bole_stream *stream;
	enum bole_status read_rc;
	enum bole_status write_rc;
};

static void meet_a_silent_peer(void *arg)
{
	struct silent *s = arg;
	static uint8_t much[1 << 20];
	uint8_t byte;
	size_t got;
	uint64_t soon = s->p->ops->now_ns(s->p) + 30000000;

	s->stream->ops->set_deadline(s->stream, soon, soon);
	s->read_rc = s->stream->ops->read(s->stream, &byte, 1, &got);
	for (int i = 0; i < 64 && s->write_rc == BOLE_OK; i++)
		s->write_rc = s->stream->ops->writev(s->stream,
		                                     &(struct bole_bytes){much, sizeof much}, 1);
}

Test(posix_streams, a_silent_peer_meets_the_deadline_of_fibers_and_threads)
{
	struct bole_platform *p = platform_open();
	struct bole_listener *listener = NULL;
	char address[32];

	cr_assert_eq(p->ops->listen(p, "127.0.0.1:0", &listener), BOLE_OK);
	snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)listener->ops->port(listener));
	struct silent s[2] = {{.p = p}, {.p = p}};
	for (int i = 0; i < 2; i++)
		cr_assert_eq(p->ops->connect(p, address, BOLE_NEVER, &s[i].stream), BOLE_OK);
	cr_assert_eq(p->ops->fiber_start(p, "silent", meet_a_silent_peer, &s[0], 0), BOLE_OK);
	meet_a_silent_peer(&s[1]);
	while (s[0].write_rc == BOLE_OK)
		p->ops->sleep_until(p, p->ops->now_ns(p) + 5000000);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(s[i].read_rc, BOLE_E_TIMEOUT);
		cr_assert_eq(s[i].write_rc, BOLE_E_TIMEOUT);
		s[i].stream->ops->close(s[i].stream);
	}
	listener->ops->close(listener);
	bole_posix_close(p);
}

Test(posix_streams, the_end_of_the_peer_is_seen)
{
	struct bole_platform *p = platform_open();
	struct bole_listener *listener = NULL;
	struct bole_stream *near = NULL;
	struct bole_stream *far = NULL;
	char address[64];
	uint8_t byte;
	size_t got;

	cr_assert_eq(p->ops->listen(p, "127.0.0.1:0", &listener), BOLE_OK);
	snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)listener->ops->port(listener));
	cr_assert_eq(p->ops->connect(p, address, BOLE_NEVER, &near), BOLE_OK);
	cr_assert_eq(listener->ops->accept(listener, &far), BOLE_OK);
	near->ops->peer(near, address, sizeof address);
	cr_assert_eq(strncmp(address, "127.0.0.1:", 10), 0);
	cr_assert_not(far->ops->hung_up(far));
	near->ops->close(near);
	cr_assert_eq(far->ops->read(far, &byte, 1, &got), BOLE_END);
	cr_assert(far->ops->hung_up(far));
	far->ops->close(far);
	listener->ops->close(listener);
	bole_posix_close(p);
}

/* Answers each two bytes with one. */
static void answer_pairs(void *arg)
{
	struct bole_listener *listener = arg;
	struct bole_stream *s;
	uint8_t byte = 0;
	size_t got;

	cr_assert_eq(listener->ops->accept(listener, &s), BOLE_OK);
	while (s->ops->read(s, &byte, 1, &got) == BOLE_OK &&
	       s->ops->read(s, &byte, 1, &got) == BOLE_OK &&
	       s->ops->writev(s, &(struct bole_bytes){&byte, 1}, 1) == BOLE_OK) {
	}
	s->ops->close(s);
	listener->ops->close(listener);
}

/* Goal: a peer that keeps back the rest of a request until the first part is acknowledged (Nagle's
 * algorithm) gets that at once and not when the kernel's timer of 40 ms ends. Method: requests in
 * two writes; the quickest counts, so that a busy machine does no harm. The first ones are let
 * pass: a young connection is acknowledged at once in any case. */
Test(posix_streams, half_a_request_is_acknowledged_at_once)
{
	struct bole_platform *p = platform_open();
	struct bole_listener *listener = NULL;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	uint64_t least = UINT64_MAX;
	char byte = 0;

	cr_assert_eq(p->ops->listen(p, "127.0.0.1:0", &listener), BOLE_OK);
	to.sin_port = htons(listener->ops->port(listener));
	cr_assert_eq(p->ops->fiber_start(p, "pairs", answer_pairs, listener, 0), BOLE_OK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	for (int i = 0; i < 60; i++) {
		uint64_t began = p->ops->now_ns(p);

		cr_assert_eq(send(fd, "a", 1, 0), 1);
		cr_assert_eq(send(fd, "b", 1, 0), 1);
		cr_assert_eq(recv(fd, &byte, 1, 0), 1);
		uint64_t took = p->ops->now_ns(p) - began;
		if (i >= 30 && took < least)
			least = took;
	}
	close(fd);
	cr_assert_lt(least, 20000000, "%llu us", (unsigned long long)least / 1000);
	bole_posix_close(p);
}

Test(posix_streams, bad_addresses_and_taken_ports_are_told_apart)
{
	static const char *const bad[] = {"",       "8080",      ":",           ":x",
	                                  ":65536", "::1:80",    "127.0.0.1",   ":-1",
	                                  ":80 ",   "[::1]8080", "1.2.3.4.5:80"};
	struct bole_platform *p = platform_open();
	struct bole_listener *first = NULL;
	struct bole_listener *second = NULL;
	char address[32];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(p->ops->listen(p, bad[i], &first), BOLE_E_INVALID, "%s", bad[i]);
	cr_assert_eq(p->ops->listen(p, "127.0.0.1:0", &first), BOLE_OK);
	snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)first->ops->port(first));
	cr_assert_eq(p->ops->listen(p, address, &second), BOLE_E_BUSY);
	first->ops->close(first);
	cr_assert_eq(p->ops->connect(p, address, BOLE_NEVER, &(struct bole_stream *){NULL}),
	             BOLE_E_IO);
	bole_posix_close(p);
}
