/* SPDX-License-Identifier: ISC */
/* Whole connections to a node: request bytes in (HTTP, or git:// if the first byte is odd), answer
 * bytes out, through everything that lies between: heads, bodies, access, services, large files,
 * the store. The first byte also says in which pieces they come. Two repositories, pushes allowed.
 * Invariants: the connection ends, an answer has a status, a branch only moves where a push is
 * asked for, and what a reference names is there. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/posix.h"
#include "node/internal.h"
#include "support/git_fixture.h"

enum { REPLY_MAX = 1 << 20, PIECES = 4 };

struct peer {
	struct bole_stream stream;
	struct bole_bytes rest;
	size_t piece;
	size_t reply_len;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed;
};

/* ann's secret is "s3cret". */
static const char settings[] =
        "http.listen=127.0.0.1:0 git.listen=127.0.0.1:0 receive.enable=true limit.failedAuth=0 "
        "gc.auto=false http.dumb=true "
        "auth.token=ann:sha256:salt:"
        "2d10204eb50823c1e491a28a907638a5c855cb6e8dfb5294902ba65aef108411 "
        "\"access.rule=allow all * main\" \"access.rule=deny all anonymous other\"";

static struct git_fixture f;
static struct bole_platform *platform;
static struct bole_node *node;
static struct bole_oid tips[4];
static char reply[REPLY_MAX + 1];

static enum bole_status peer_read(struct bole_stream *s, void *dst, size_t cap, size_t *got)
{
	struct peer *p = (struct peer *)(void *)s;
	size_t n = p->rest.len < cap ? p->rest.len : cap;

	n = n < p->piece ? n : p->piece;
	*got = n;
	if (n == 0)
		return BOLE_END;
	memcpy(dst, p->rest.ptr, n);
	p->rest.ptr += n;
	p->rest.len -= n;
	return BOLE_OK;
}

static enum bole_status peer_writev(struct bole_stream *s, const struct bole_bytes *pieces,
                                    size_t count)
{
	struct peer *p = (struct peer *)(void *)s;

	for (size_t i = 0; i < count; i++) {
		size_t room = REPLY_MAX - p->reply_len;
		size_t n = pieces[i].len < room ? pieces[i].len : room;

		if (n > 0)
			memcpy(reply + p->reply_len, pieces[i].ptr, n);
		p->reply_len += n;
	}
	return BOLE_OK;
}

static void peer_set_deadline(struct bole_stream *s, uint64_t read_ns, uint64_t write_ns)
{
	(void)s;
	(void)read_ns;
	(void)write_ns;
}

static bool peer_hung_up(struct bole_stream *s)
{
	(void)s;
	return false;
}

static void peer_name(struct bole_stream *s, char *dst, size_t cap)
{
	(void)s;
	snprintf(dst, cap, "192.0.2.1:1");
}

static enum bole_status peer_shutdown(struct bole_stream *s)
{
	(void)s;
	return BOLE_OK;
}

static void peer_close(struct bole_stream *s)
{
	struct peer *p = (struct peer *)(void *)s;

	pthread_mutex_lock(&p->lock);
	p->closed = true;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

static const struct bole_stream_ops peer_ops = {
        .read = peer_read,
        .writev = peer_writev,
        .set_deadline = peer_set_deadline,
        .hung_up = peer_hung_up,
        .peer = peer_name,
        .shutdown = peer_shutdown,
        .close = peer_close,
};

static void open_once(void)
{
	struct bole_posix_options options = {.loops = 1, .log_level = BOLE_LOG_ERROR + 1};
	struct bole_config *config;

	if (node != NULL)
		return;
	BOLE_ASSERT(bole_posix_open(&options, &platform) == BOLE_OK);
	test_platform_init(&f.test, 1);
	BOLE_ASSERT(bole_memory_store_open(platform, platform->alloc, &f.store) == BOLE_OK);
	BOLE_ASSERT(bole_repo_create(f.store, "main", BOLE_HASH_SHA1, "refs/heads/main", &f.repo) ==
	            BOLE_OK);
	BOLE_ASSERT(bole_repo_create(f.store, "other", BOLE_HASH_SHA1, "refs/heads/main",
	                             &f.other) == BOLE_OK);
	git_history(&f, &f.repo, "refs/heads/main", 4, tips);
	BOLE_ASSERT(bole_config_open(platform->alloc, &config) == BOLE_OK);
	BOLE_ASSERT(bole_config_command_line(config, settings) == BOLE_OK);
	BOLE_ASSERT(bole_node_start(platform, f.store, config, &node) == BOLE_OK);
}

static void check_reply(const struct peer *p, bool http)
{
	unsigned status = 0;

	if (p->reply_len == 0 || !http)
		return;
	reply[p->reply_len < REPLY_MAX ? p->reply_len : REPLY_MAX] = '\0';
	BOLE_ASSERT(strncmp(reply, "HTTP/1.1 ", 9) == 0);
	status = (unsigned)strtoul(reply + 9, NULL, 10);
	BOLE_ASSERT(status == 100 || (status >= 200 && status < 600));
}

/* A push may have moved it; then it goes back. */
static void check_branch(const uint8_t *data, size_t size)
{
	struct bole_oid now;

	bool there = git_has_ref(&f, &f.repo, "refs/heads/main", &now);
	if (there && bole_oid_equal(&now, &tips[3]))
		return;
	BOLE_ASSERT(memmem(data, size, "receive-pack", 12) != NULL);
	BOLE_ASSERT(!there || git_has_object(&f, &f.repo, &now));
	git_set_ref(&f, &f.repo, "refs/heads/main", &tips[3], NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t pieces[PIECES] = {SIZE_MAX, 1, 7, 300};
	struct peer p = {.stream = {&peer_ops}};

	if (size == 0)
		return 0;
	open_once();
	bool http = (data[0] & 1) == 0;
	p.rest = bole_bytes_of(data + 1, size - 1);
	p.piece = pieces[data[0] >> 1 & (PIECES - 1)];
	pthread_mutex_init(&p.lock, NULL);
	pthread_cond_init(&p.changed, NULL);
	bole_node_connection_start(node, &p.stream,
	                           http ? bole_node_http_serve : bole_node_gitd_serve);
	pthread_mutex_lock(&p.lock);
	while (!p.closed)
		pthread_cond_wait(&p.changed, &p.lock);
	pthread_mutex_unlock(&p.lock);
	pthread_mutex_destroy(&p.lock);
	pthread_cond_destroy(&p.changed);
	check_reply(&p, http);
	check_branch(data, size);
	return 0;
}
