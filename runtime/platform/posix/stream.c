/* SPDX-License-Identifier: ISC */
/* TCP streams on non-blocking sockets. A call tries first and waits only on EAGAIN: a fiber parks
 * until the loop that has the socket reports an edge, a plain thread polls. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

static struct posix_stream *stream_of(struct bole_stream *stream)
{
	return (struct posix_stream *)(void *)stream;
}

/* -- waiting -- */

void posix_stream_event(struct posix_stream *s, uint32_t events)
{
	const uint32_t broken = EPOLLERR | EPOLLHUP;

	pthread_mutex_lock(&s->lock);
	if ((events & (EPOLLIN | EPOLLRDHUP | broken)) != 0) {
		s->readable = true;
		if (s->reader != NULL)
			posix_fiber_wake(s->reader);
	}
	if ((events & (EPOLLOUT | broken)) != 0) {
		s->writable = true;
		if (s->writer != NULL)
			posix_fiber_wake(s->writer);
	}
	pthread_mutex_unlock(&s->lock);
}

/* With s->lock held. The first fiber that waits brings its loop. */
static enum bole_status join_loop(struct posix_stream *s, struct posix_loop *loop)
{
	struct epoll_event event = {
	        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
	        .data.ptr = s,
	};

	if (s->loop != NULL)
		return BOLE_OK;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, s->fd, &event) != 0)
		return BOLE_E_IO;
	s->loop = loop;
	return BOLE_OK;
}

static enum bole_status fiber_wait(struct posix_stream *s, struct posix_fiber *self, bool write)
{
	struct posix_fiber **place = write ? &s->writer : &s->reader;
	bool *edge = write ? &s->writable : &s->readable;
	enum bole_status rc;

	pthread_mutex_lock(&s->lock);
	rc = join_loop(s, self->loop);
	*place = self;
	while (rc == BOLE_OK && !*edge) {
		uint64_t deadline = write ? s->write_deadline_ns : s->read_deadline_ns;
		if (posix_now_ns() >= deadline) {
			rc = BOLE_E_TIMEOUT;
			break;
		}
		pthread_mutex_unlock(&s->lock);
		posix_fiber_park(self, deadline);
		pthread_mutex_lock(&s->lock);
	}
	*edge = false;
	*place = NULL;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static enum bole_status thread_wait(struct posix_stream *s, bool write)
{
	enum { STEP_MS = 1000 }; /* so that a deadline set meanwhile is seen */
	struct pollfd p = {.fd = s->fd, .events = write ? POLLOUT : POLLIN};

	for (;;) {
		pthread_mutex_lock(&s->lock);
		uint64_t deadline = write ? s->write_deadline_ns : s->read_deadline_ns;
		pthread_mutex_unlock(&s->lock);
		uint64_t now = posix_now_ns();
		if (now >= deadline)
			return BOLE_E_TIMEOUT;
		uint64_t left_ms = (deadline - now) / 1000000 + 1;
		int n = poll(&p, 1, left_ms < STEP_MS ? (int)left_ms : STEP_MS);
		if (n > 0)
			return BOLE_OK;
		if (n < 0 && errno != EINTR)
			return BOLE_E_IO;
	}
}

enum bole_status posix_stream_wait(struct posix_stream *s, bool write)
{
	struct posix_fiber *self = posix_fiber_of(s->platform);

	return self != NULL ? fiber_wait(s, self, write) : thread_wait(s, write);
}

/* -- the operations -- */

static enum bole_status status_of_errno(int error)
{
	if (error == ECONNRESET || error == EPIPE || error == ENOTCONN)
		return BOLE_E_CLOSED;
	if (error == ETIMEDOUT) /* keepalive or retransmission gave up */
		return BOLE_E_TIMEOUT;
	return BOLE_E_IO;
}

static bool past_deadline(struct posix_stream *s, bool write)
{
	pthread_mutex_lock(&s->lock);
	uint64_t deadline = write ? s->write_deadline_ns : s->read_deadline_ns;
	pthread_mutex_unlock(&s->lock);
	return deadline != BOLE_NEVER && posix_now_ns() >= deadline;
}

/* The rest of a request may wait for the peer to hear of what came (RFC 896: Nagle's algorithm,
 * which git's client leaves on), and a kernel that expects an answer is in no hurry to tell (RFC
 * 1122, 4.2.3.2): that would be 40 ms. */
static void acknowledge(struct posix_stream *s)
{
	int on = 1;

	if (atomic_exchange_explicit(&s->unanswered, false, memory_order_relaxed))
		(void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static enum bole_status stream_read(struct bole_stream *stream, void *dst, size_t cap, size_t *got)
{
	struct posix_stream *s = stream_of(stream);

	*got = 0;
	while (!s->failed_read) {
		ssize_t n = recv(s->fd, dst, cap, 0);
		if (n > 0) {
			*got = (size_t)n;
			atomic_store_explicit(&s->unanswered, true, memory_order_relaxed);
			return BOLE_OK;
		}
		if (n == 0)
			return BOLE_END;
		if (errno == EINTR)
			continue;
		enum bole_status rc = status_of_errno(errno);
		if (errno == EAGAIN) {
			acknowledge(s);
			rc = posix_stream_wait(s, false);
		}
		if (rc != BOLE_OK) {
			s->failed_read = rc != BOLE_E_TIMEOUT;
			return rc;
		}
	}
	return BOLE_E_CLOSED;
}

/* Drops n sent bytes from the front of the vector. */
static void vector_advance(struct iovec **vec, size_t *count, size_t n)
{
	while (*count > 0 && n >= (*vec)->iov_len) {
		n -= (*vec)->iov_len;
		(*vec)++;
		(*count)--;
	}
	if (*count > 0) {
		(*vec)->iov_base = (uint8_t *)(*vec)->iov_base + n;
		(*vec)->iov_len -= n;
	}
}

static enum bole_status send_all(struct posix_stream *s, struct iovec *vec, size_t count)
{
	while (count > 0) {
		/* A peer that takes a byte now and then keeps EAGAIN away: look at the time too. */
		if (past_deadline(s, true))
			return BOLE_E_TIMEOUT;
		struct msghdr message = {.msg_iov = vec, .msg_iovlen = count};
		ssize_t n = sendmsg(s->fd, &message, MSG_NOSIGNAL);
		if (n >= 0) {
			atomic_store_explicit(&s->unanswered, false, memory_order_relaxed);
			vector_advance(&vec, &count, (size_t)n);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return status_of_errno(errno);
		enum bole_status rc = posix_stream_wait(s, true);
		if (rc != BOLE_OK)
			return rc;
	}
	return BOLE_OK;
}

static enum bole_status stream_writev(struct bole_stream *stream, const struct bole_bytes *pieces,
                                      size_t count)
{
	struct posix_stream *s = stream_of(stream);
	enum bole_status rc = s->failed_write ? BOLE_E_CLOSED : BOLE_OK;

	for (size_t done = 0; rc == BOLE_OK && done < count;) {
		struct iovec vec[POSIX_PIECES];
		size_t n = 0;
		for (; n < POSIX_PIECES && done < count; n++, done++)
			vec[n] = (struct iovec){
			        .iov_base = (void *)(uintptr_t)pieces[done].ptr,
			        .iov_len = pieces[done].len,
			};
		rc = send_all(s, vec, n);
	}
	s->failed_write = rc != BOLE_OK; /* some bytes may have gone: no later call can be right */
	return rc;
}

static void stream_set_deadline(struct bole_stream *stream, uint64_t read_ns, uint64_t write_ns)
{
	struct posix_stream *s = stream_of(stream);

	pthread_mutex_lock(&s->lock);
	s->read_deadline_ns = read_ns;
	s->write_deadline_ns = write_ns;
	if (s->reader != NULL)
		posix_fiber_wake(s->reader);
	if (s->writer != NULL)
		posix_fiber_wake(s->writer);
	pthread_mutex_unlock(&s->lock);
}

static bool stream_hung_up(struct bole_stream *stream)
{
	struct pollfd p = {.fd = stream_of(stream)->fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void stream_peer(struct bole_stream *stream, char *dst, size_t cap)
{
	struct posix_stream *s = stream_of(stream);
	struct sockaddr *address = (struct sockaddr *)&s->peer;
	socklen_t len = sizeof s->peer;
	char host[64];
	char port[16];

	if (s->peer_bytes == 0 && getpeername(s->fd, address, &len) == 0)
		s->peer_bytes = len;
	if (s->peer_bytes == 0 || getnameinfo(address, s->peer_bytes, host, sizeof host, port,
	                                      sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(dst, cap, "unknown");
		return;
	}
	const char *format = strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s";
	if (strncmp(host, "::ffff:", 7) == 0) /* IPv4 on a socket for both */
		snprintf(dst, cap, "%s:%s", host + 7, port);
	else if (format[0] == '[')
		snprintf(dst, cap, "[%s]:%s", host, port);
	else
		snprintf(dst, cap, "%s:%s", host, port);
}

static enum bole_status stream_shutdown(struct bole_stream *stream)
{
	return shutdown(stream_of(stream)->fd, SHUT_WR) == 0 ? BOLE_OK : status_of_errno(errno);
}

void posix_stream_free(struct posix_stream *s)
{
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* The loop may hold an event of this stream in its hands: it frees it, after the batch. While a
 * fiber of its own runs it holds none. */
static void stream_close(struct bole_stream *stream)
{
	struct posix_stream *s = stream_of(stream);
	struct posix_loop *loop = s->loop;

	if (loop != NULL)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	close(s->fd);
	struct posix_fiber *self = posix_fiber_of(s->platform);
	if (loop == NULL || (self != NULL && self->loop == loop)) {
		posix_stream_free(s);
		return;
	}
	pthread_mutex_lock(&loop->lock);
	s->next_closed = loop->closed;
	loop->closed = s;
	bool wake = atomic_exchange(&loop->asleep, false);
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		posix_loop_kick(loop);
}

static const struct bole_stream_ops stream_ops = {
        .read = stream_read,
        .writev = stream_writev,
        .set_deadline = stream_set_deadline,
        .hung_up = stream_hung_up,
        .peer = stream_peer,
        .shutdown = stream_shutdown,
        .close = stream_close,
};

enum bole_status posix_stream_open(struct posix *p, int fd, struct posix_stream **out)
{
	struct posix_stream *s = calloc(1, sizeof *s);

	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	s->stream.ops = &stream_ops;
	s->platform = p;
	s->fd = fd;
	s->read_deadline_ns = BOLE_NEVER;
	s->write_deadline_ns = BOLE_NEVER;
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return BOLE_OK;
}
