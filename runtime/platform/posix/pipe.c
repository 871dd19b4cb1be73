/* SPDX-License-Identifier: ISC */
/* A stream over a pair of descriptors of any kind; blocks the thread. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

struct pipe_stream {
	struct bole_stream stream;
	int in_fd;
	int out_fd;
	bool failed;
	atomic_uint_least64_t read_deadline_ns;
	atomic_uint_least64_t write_deadline_ns;
};

static struct pipe_stream *pipe_of(struct bole_stream *stream)
{
	return (struct pipe_stream *)(void *)stream;
}

static enum bole_status wait_fd(int fd, short events, uint64_t deadline_ns)
{
	enum { LONGEST_MS = 1000 * 1000 };
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = posix_now_ns();
		if (now >= deadline_ns)
			return BOLE_E_TIMEOUT;
		uint64_t ms = (deadline_ns - now) / 1000000 + 1;
		int n = poll(&p, 1, ms < LONGEST_MS ? (int)ms : LONGEST_MS);
		if (n > 0)
			return BOLE_OK;
		if (n < 0 && errno != EINTR)
			return BOLE_E_IO;
	}
}

static enum bole_status pipe_read(struct bole_stream *stream, void *dst, size_t cap, size_t *got)
{
	struct pipe_stream *s = pipe_of(stream);

	*got = 0;
	for (;;) {
		POSIX_TRY(wait_fd(s->in_fd, POLLIN, atomic_load(&s->read_deadline_ns)));
		ssize_t n = read(s->in_fd, dst, cap);
		if (n == 0)
			return BOLE_END;
		if (n > 0) {
			*got = (size_t)n;
			return BOLE_OK;
		}
		if (errno != EINTR && errno != EAGAIN)
			return errno == ECONNRESET ? BOLE_E_CLOSED : BOLE_E_IO;
	}
}

static enum bole_status write_all(struct pipe_stream *s, struct bole_bytes piece)
{
	while (piece.len > 0) {
		POSIX_TRY(wait_fd(s->out_fd, POLLOUT, atomic_load(&s->write_deadline_ns)));
		ssize_t n = write(s->out_fd, piece.ptr, piece.len);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return errno == EPIPE || errno == ECONNRESET ? BOLE_E_CLOSED : BOLE_E_IO;
		if (n > 0) {
			piece.ptr += n;
			piece.len -= (size_t)n;
		}
	}
	return BOLE_OK;
}

static enum bole_status pipe_writev(struct bole_stream *stream, const struct bole_bytes *pieces,
                                    size_t count)
{
	struct pipe_stream *s = pipe_of(stream);
	enum bole_status rc = s->failed ? BOLE_E_CLOSED : BOLE_OK;

	for (size_t i = 0; rc == BOLE_OK && i < count; i++)
		rc = write_all(s, pieces[i]);
	s->failed = rc != BOLE_OK;
	return rc;
}

static void pipe_set_deadline(struct bole_stream *stream, uint64_t read_ns, uint64_t write_ns)
{
	atomic_store(&pipe_of(stream)->read_deadline_ns, read_ns);
	atomic_store(&pipe_of(stream)->write_deadline_ns, write_ns);
}

static bool pipe_hung_up(struct bole_stream *stream)
{
	struct pollfd p = {.fd = pipe_of(stream)->out_fd};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)) != 0;
}

static void pipe_peer(struct bole_stream *stream, char *dst, size_t cap)
{
	(void)stream;
	snprintf(dst, cap, "pipe");
}

static enum bole_status pipe_shutdown(struct bole_stream *stream)
{
	(void)stream;
	return BOLE_OK;
}

static void pipe_close(struct bole_stream *stream)
{
	free(stream);
}

static const struct bole_stream_ops pipe_ops = {
        .read = pipe_read,
        .writev = pipe_writev,
        .set_deadline = pipe_set_deadline,
        .hung_up = pipe_hung_up,
        .peer = pipe_peer,
        .shutdown = pipe_shutdown,
        .close = pipe_close,
};

enum bole_status bole_posix_pipe_stream(struct bole_platform *platform, int in_fd, int out_fd,
                                        struct bole_stream **out)
{
	(void)platform;
	struct pipe_stream *s = calloc(1, sizeof *s);
	*out = NULL;
	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	s->stream.ops = &pipe_ops;
	s->in_fd = in_fd;
	s->out_fd = out_fd;
	atomic_init(&s->read_deadline_ns, BOLE_NEVER);
	atomic_init(&s->write_deadline_ns, BOLE_NEVER);
	*out = &s->stream;
	return BOLE_OK;
}
