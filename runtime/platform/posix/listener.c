/* SPDX-License-Identifier: ISC */
/* Listening sockets and outgoing connections. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

enum {
	ACCEPT_PAUSE_NS = 100 * 1000 * 1000, /* when descriptors ran out */
	COMPLAIN_EVERY_NS = 1000 * 1000 * 1000,
};

/* Waits like a stream that is only ever read. */
struct posix_listener {
	struct bole_listener listener;
	struct posix_stream *socket;
	atomic_bool down;
	atomic_uint shutting; /* calls of shutdown that still look at us */
	uint64_t complained_ns;
};

static struct posix_listener *listener_of(struct bole_listener *listener)
{
	return (struct posix_listener *)(void *)listener;
}

static void tune(int fd)
{
	int on = 1;

	/* Answers go out in coalesced writes of our own; Nagle would only hold the last one. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* Out of descriptors or memory: the backlog keeps the clients while others finish. */
static void accept_pause(struct posix_listener *l, int error)
{
	struct bole_platform *platform = &l->socket->platform->platform;
	uint64_t now = posix_now_ns();

	if (now - l->complained_ns > COMPLAIN_EVERY_NS) {
		l->complained_ns = now;
		platform->ops->log(platform, BOLE_LOG_WARN,
		                   error == EMFILE || error == ENFILE
		                           ? "accept: out of file descriptors (ulimit -n); "
		                             "new connections wait"
		                           : "accept: out of memory; new connections wait");
	}
	posix_sleep_until(platform, now + ACCEPT_PAUSE_NS);
}

static enum bole_status listener_accept(struct bole_listener *listener, struct bole_stream **out)
{
	struct posix_listener *l = listener_of(listener);
	struct posix_stream *s = NULL;

	while (!atomic_load(&l->down)) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof peer;
		int fd = accept4(l->socket->fd, (struct sockaddr *)&peer, &len,
		                 SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0 && posix_stream_open(l->socket->platform, fd, &s) == BOLE_OK) {
			s->peer = peer;
			s->peer_bytes = len;
			*out = &s->stream;
			return BOLE_OK;
		}
		int error = fd >= 0 ? ENOMEM : errno;
		if (fd >= 0)
			close(fd);
		if (error == EAGAIN) {
			enum bole_status rc = posix_stream_wait(l->socket, false);
			if (rc != BOLE_OK && rc != BOLE_E_TIMEOUT)
				return rc;
		} else if (error == EMFILE || error == ENFILE || error == ENOMEM ||
		           error == ENOBUFS) {
			accept_pause(l, error);
		} else if (error == EINVAL || error == EBADF) {
			break; /* shut down */
		}              /* else that one connection failed before we got it: take the next */
	}
	return BOLE_E_CLOSED;
}

static uint16_t listener_port(struct bole_listener *listener)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof address;

	if (getsockname(listener_of(listener)->socket->fd, (struct sockaddr *)&address, &len) != 0)
		return 0;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

static void listener_shutdown(struct bole_listener *listener)
{
	struct posix_listener *l = listener_of(listener);

	atomic_fetch_add(&l->shutting, 1);
	atomic_store(&l->down, true);
	shutdown(l->socket->fd, SHUT_RDWR); /* accept and poll return at once */
	posix_stream_event(l->socket, EPOLLIN);
	atomic_fetch_sub(&l->shutting, 1);
}

static void listener_close(struct bole_listener *listener)
{
	struct posix_listener *l = listener_of(listener);

	/* accept may have returned, and its fiber be here, while shutdown is not yet through. */
	while (atomic_load(&l->shutting) > 0)
		sched_yield();
	l->socket->stream.ops->close(&l->socket->stream);
	free(l);
}

static const struct bole_listener_ops listener_ops = {
        .accept = listener_accept,
        .port = listener_port,
        .shutdown = listener_shutdown,
        .close = listener_close,
};

/* A listening socket, or -1 with errno. */
static int bind_one(const struct addrinfo *a)
{
	int on = 1;
	int off = 0;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	tune(fd); /* what is accepted inherits it */
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, POSIX_BACKLOG) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

enum bole_status posix_listen(struct bole_platform *platform, const char *address,
                              struct bole_listener **out)
{
	struct addrinfo *list = NULL;
	int fd = -1;

	*out = NULL;
	POSIX_TRY(posix_resolve(address, true, &list));
	/* IPv6 first: its any-address takes IPv4 as well. */
	for (int pass = 0; pass < 2 && fd < 0; pass++) {
		for (struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
			if ((a->ai_family == AF_INET6) == (pass == 0))
				fd = bind_one(a);
		}
	}
	int error = errno;
	freeaddrinfo(list);
	if (fd < 0 && error == EADDRNOTAVAIL)
		return BOLE_E_INVALID;
	if (fd < 0)
		return error == EADDRINUSE || error == EACCES ? BOLE_E_BUSY : BOLE_E_IO;
	struct posix_listener *l = calloc(1, sizeof *l);
	if (l == NULL || posix_stream_open((struct posix *)platform, fd, &l->socket) != BOLE_OK) {
		free(l);
		close(fd);
		return BOLE_E_NO_MEMORY;
	}
	l->listener.ops = &listener_ops;
	*out = &l->listener;
	return BOLE_OK;
}

/* -- connect -- */

static enum bole_status connect_one(struct posix *p, const struct addrinfo *a, uint64_t deadline_ns,
                                    struct posix_stream **out)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	struct posix_stream *s = NULL;
	int error = 0;
	socklen_t len = sizeof error;

	if (fd < 0)
		return BOLE_E_IO;
	enum bole_status rc = posix_stream_open(p, fd, &s);
	if (rc != BOLE_OK) {
		close(fd);
		return rc;
	}
	s->write_deadline_ns = deadline_ns;
	if (connect(fd, a->ai_addr, a->ai_addrlen) != 0)
		rc = errno == EINPROGRESS ? posix_stream_wait(s, true) : BOLE_E_IO;
	if (rc == BOLE_OK &&
	    (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0))
		rc = BOLE_E_IO;
	if (rc != BOLE_OK) {
		s->stream.ops->close(&s->stream);
		return rc;
	}
	tune(fd);
	s->write_deadline_ns = BOLE_NEVER;
	*out = s;
	return BOLE_OK;
}

struct resolve_job {
	struct posix_job job;
	const char *address;
	struct addrinfo *list;
	enum bole_status rc;
};

static void resolve_run(struct posix_job *job)
{
	struct resolve_job *r = (struct resolve_job *)(void *)job;

	r->rc = posix_resolve(r->address, false, &r->list);
}

enum bole_status posix_connect(struct bole_platform *platform, const char *address,
                               uint64_t deadline_ns, struct bole_stream **out)
{
	struct posix *p = (struct posix *)platform;
	struct resolve_job resolve = {.job.run = resolve_run, .address = address};
	struct posix_stream *s = NULL;
	enum bole_status rc = BOLE_E_IO;

	*out = NULL;
	posix_offload(p, &resolve.job);
	if (resolve.rc != BOLE_OK)
		return resolve.rc;
	for (struct addrinfo *a = resolve.list; a != NULL && s == NULL; a = a->ai_next)
		rc = connect_one(p, a, deadline_ns, &s);
	freeaddrinfo(resolve.list);
	if (s != NULL)
		*out = &s->stream;
	return s != NULL ? BOLE_OK : rc;
}
