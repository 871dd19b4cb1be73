/* SPDX-License-Identifier: ISC */
/* Connections: their fiber, their place in the node, reading and writing in time. */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/internal.h"

enum { LINGER_BYTES_MAX = 1 << 20, SEND_BYTES_MAX = 128 * 1024 };
#define EVICT_NS          (NODE_SECOND_NS / 5)
#define COMPLAIN_EVERY_NS (10 * NODE_SECOND_NS)
#define LOOK_NS           (NODE_SECOND_NS / 200) /* between two looks whether the peer is there */

struct connection_start {
	struct node_connection *connection;
	void (*serve)(struct node_connection *);
};

/* -- waiting in time -- */

static uint64_t now_of(const struct node_connection *c)
{
	return c->node->platform->ops->now_ns(c->node->platform);
}

/* The little that it takes to say why. */
static void hurry(struct node_connection *c)
{
	uint64_t now = now_of(c);

	c->stream->ops->set_deadline(c->stream, now, now + EVICT_NS / 2);
}

/* A peer may be silent for silence_ns, and slow only as long as its bytes pay for the waiting. */
static uint64_t peer_deadline(const struct node_connection *c, uint64_t now)
{
	uint64_t bytes = c->bytes_in + c->bytes_out;
	uint64_t allowed = 2 * c->node->options.silence_ns;
	uint64_t earned = 0;

	if (__builtin_mul_overflow(bytes, NODE_SECOND_NS / NODE_BYTES_PER_S_MIN, &earned) ||
	    __builtin_add_overflow(allowed, earned, &allowed))
		allowed = UINT64_MAX / 2;
	uint64_t left = allowed > c->waited_ns ? allowed - c->waited_ns : 0;
	if (left > c->node->options.silence_ns)
		left = c->node->options.silence_ns;
	return now + left;
}

/* Whether it is seen here or sets the deadline later: an eviction is not lost, nor the end of a
 * node for whom nothing is done. */
static void set_deadline(struct node_connection *c, uint64_t deadline)
{
	uint64_t cut = atomic_load(&c->node->cut_ns);

	if (deadline > cut)
		deadline = cut;
	c->stream->ops->set_deadline(c->stream, deadline, deadline);
	if (atomic_load(&c->evicted))
		hurry(c);
	else if (atomic_load(&c->node->stopping) &&
	         (atomic_load(&c->idle) || atomic_load(&c->between)))
		c->stream->ops->set_deadline(c->stream, 0, deadline);
}

static void wait_begin(struct node_connection *c, uint64_t now)
{
	uint64_t paid = (c->bytes_in + c->bytes_out) / NODE_BUSY_BYTES_PER_S * NODE_SECOND_NS;
	uint64_t debt = c->waited_ns > paid ? c->waited_ns - paid : 0;

	atomic_store(&c->slow_since_ns, now > debt ? now - debt : 1);
}

static void wait_end(struct node_connection *c, uint64_t start)
{
	atomic_store(&c->slow_since_ns, 0);
	c->waited_ns += now_of(c) - start;
}

static enum bole_status stream_read(struct node_connection *c, uint64_t deadline, void *dst,
                                    size_t cap, size_t *got)
{
	uint64_t start = now_of(c);

	wait_begin(c, start);
	set_deadline(c, deadline);
	enum bole_status rc = c->stream->ops->read(c->stream, dst, cap, got);
	wait_end(c, start);
	c->bytes_in += *got;
	return rc;
}

static enum bole_status connection_read(struct bole_reader *self, void *dst, size_t cap,
                                        size_t *got)
{
	struct node_connection *c = (struct node_connection *)(void *)self;
	size_t have = c->input_len - c->input_pos;

	*got = 0;
	if (have == 0)
		return stream_read(c, peer_deadline(c, now_of(c)), dst, cap, got);
	*got = have < cap ? have : cap;
	memcpy(dst, c->input + c->input_pos, *got);
	c->input_pos += *got;
	return BOLE_OK;
}

enum bole_status bole_node_connection_fill(struct node_connection *c, uint64_t deadline_ns)
{
	size_t got = 0;

	if (c->input_pos > 0) {
		memmove(c->input, c->input + c->input_pos, c->input_len - c->input_pos);
		c->input_len -= c->input_pos;
		c->input_pos = 0;
	}
	if (c->input_len == NODE_INPUT_BYTES)
		return BOLE_E_LIMIT;
	if (deadline_ns == 0)
		deadline_ns = peer_deadline(c, now_of(c));
	enum bole_status rc = stream_read(c, deadline_ns, c->input + c->input_len,
	                                  NODE_INPUT_BYTES - c->input_len, &got);
	c->input_len += got;
	return rc;
}

static enum bole_status stream_write(struct node_connection *c, const struct bole_bytes *pieces,
                                     size_t count)
{
	uint64_t start = now_of(c);

	wait_begin(c, start);
	set_deadline(c, peer_deadline(c, start));
	enum bole_status rc = c->stream->ops->writev(c->stream, pieces, count);
	wait_end(c, start);
	for (size_t i = 0; rc == BOLE_OK && i < count; i++)
		c->bytes_out += pieces[i].len;
	return rc;
}

enum bole_status bole_node_connection_send(struct node_connection *c,
                                           const struct bole_bytes *pieces, size_t count)
{
	size_t total = 0;
	enum bole_status rc = BOLE_OK;

	for (size_t i = 0; i < count; i++)
		total += pieces[i].len < SEND_BYTES_MAX ? pieces[i].len : SEND_BYTES_MAX;
	if (total <= SEND_BYTES_MAX)
		return stream_write(c, pieces, count);
	/* Slices, so that a slow peer has its time for each of them. */
	for (size_t i = 0; rc == BOLE_OK && i < count; i++) {
		struct bole_bytes rest = pieces[i];
		while (rc == BOLE_OK && rest.len > 0) {
			size_t n = rest.len < SEND_BYTES_MAX ? rest.len : SEND_BYTES_MAX;
			struct bole_bytes slice = bole_bytes_of(rest.ptr, n);
			rc = stream_write(c, &slice, 1);
			rest.ptr += n;
			rest.len -= n;
		}
	}
	return rc;
}

static enum bole_status connection_write(struct bole_writer *self, const void *src, size_t len)
{
	struct node_connection *c =
	        (struct node_connection *)(void *)((uint8_t *)self -
	                                           offsetof(struct node_connection, writer));
	struct bole_bytes piece = bole_bytes_of(src, len);

	return bole_node_connection_send(c, &piece, 1);
}

static enum bole_status connection_gather(struct bole_writer *self, const struct bole_bytes *pieces,
                                          size_t count)
{
	struct node_connection *c =
	        (struct node_connection *)(void *)((uint8_t *)self -
	                                           offsetof(struct node_connection, writer));

	return bole_node_connection_send(c, pieces, count);
}

static enum bole_status connection_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

void bole_node_connection_reset(struct node_connection *c)
{
	c->waited_ns = 0;
	c->bytes_in = c->input_len - c->input_pos;
	c->bytes_out = 0;
}

bool bole_node_connection_idle(struct node_connection *c, bool idle)
{
	struct bole_node *node = c->node;

	node->platform->ops->mutex_lock(node->platform, &node->lock);
	c->idle = idle;
	bool open = !node->closing;
	node->platform->ops->mutex_unlock(node->platform, &node->lock);
	return open;
}

bool bole_node_connection_between(void *ctx, bool begins)
{
	struct node_connection *c = ctx;
	struct bole_node *node = c->node;

	node->platform->ops->mutex_lock(node->platform, &node->lock);
	c->between = begins;
	bool open = !node->closing;
	node->platform->ops->mutex_unlock(node->platform, &node->lock);
	return open;
}

void bole_node_connection_evict(struct node_connection *c)
{
	atomic_store(&c->evicted, true);
	hurry(c);
}

void bole_node_connection_linger(struct node_connection *c)
{
	uint8_t *sink = c->input;
	uint64_t deadline = now_of(c) + 2 * NODE_SECOND_NS;
	size_t got = 0;

	if (c->stream->ops->shutdown(c->stream) != BOLE_OK)
		return;
	for (size_t total = 0; total < LINGER_BYTES_MAX; total += got) {
		if (stream_read(c, deadline, sink, NODE_INPUT_BYTES, &got) != BOLE_OK)
			return;
	}
}

bool bole_node_connection_cancelled(void *ctx)
{
	struct node_connection *c = ctx;
	uint64_t now = now_of(c);

	/* Asked more often than it pays to ask the system. */
	if (now - atomic_load(&c->looked_ns) >= LOOK_NS) {
		atomic_store(&c->looked_ns, now);
		atomic_store(&c->gone, c->stream->ops->hung_up(c->stream));
	}
	return atomic_load(&c->gone) || now >= atomic_load(&c->node->cut_ns);
}

/* -- life -- */

static void list_add(struct bole_node *node, struct node_connection *c)
{
	c->next = node->connections;
	c->prev = NULL;
	if (c->next != NULL)
		c->next->prev = c;
	node->connections = c;
}

static void list_remove(struct bole_node *node, struct node_connection *c)
{
	if (c->prev == NULL)
		node->connections = c->next;
	else
		c->prev->next = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
}

static void connection_free(struct bole_node *node, struct node_connection *c)
{
	bole_alloc_free(&node->budget.alloc, c->input, NODE_INPUT_BYTES, 1);
	bole_alloc_free(&node->budget.alloc, c, 1, sizeof *c);
}

static void dismiss(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;

	platform->ops->mutex_lock(platform, &node->lock);
	node->connection_count--;
	platform->ops->cond_broadcast(platform, &node->changed);
	platform->ops->mutex_unlock(platform, &node->lock);
}

/* Everything of the connection is gone before the node may see that it is: close frees the node. */
static void connection_end(struct bole_node *node, struct node_connection *c)
{
	struct bole_platform *platform = node->platform;
	struct bole_stream *stream = c->stream;

	platform->ops->mutex_lock(platform, &node->lock);
	list_remove(node, c);
	platform->ops->mutex_unlock(platform, &node->lock);
	connection_free(node, c);
	stream->ops->close(stream);
	dismiss(node);
}

static void http_main(void *arg)
{
	struct node_connection *c = arg;

	bole_node_http_serve(c);
	connection_end(c->node, c);
}

static void gitd_main(void *arg)
{
	struct node_connection *c = arg;

	bole_node_gitd_serve(c);
	connection_end(c->node, c);
}

static struct node_connection *connection_alloc(struct bole_node *node)
{
	struct node_connection *c = bole_alloc_zeroed(&node->budget.alloc, 1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->input = bole_alloc_array(&node->budget.alloc, NODE_INPUT_BYTES, 1);
	if (c->input != NULL)
		return c;
	bole_alloc_free(&node->budget.alloc, c, 1, sizeof *c);
	return NULL;
}

/* Once in a while, however many there are. */
static void complain(struct bole_node *node)
{
	uint64_t now = node->platform->ops->now_ns(node->platform);
	uint64_t before = atomic_load(&node->complained_ns);

	atomic_fetch_add(&node->turned_away, 1);
	if (now - before < COMPLAIN_EVERY_NS ||
	    !atomic_compare_exchange_strong(&node->complained_ns, &before, now))
		return;
	bole_log(node->platform, BOLE_LOG_WARN,
	         "connections: all %" PRIu64 " places (node.connections) or all memory "
	         "(node.memory) is taken; %" PRIu64 " turned away so far",
	         node->options.connections_max, atomic_load(&node->turned_away));
}

/* A few words fit any new socket's buffer: this does not wait. */
static void turn_away(struct bole_node *node, struct bole_stream *stream, bool http)
{
	static const char busy_http[] =
	        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"
	        "Content-Length: 12\r\nConnection: close\r\n\r\nserver busy\n";
	static const char busy_git[] = "001bERR server busy, retry\n";
	struct bole_bytes text = bole_bytes_z(http ? busy_http : busy_git);
	uint64_t now = node->platform->ops->now_ns(node->platform);

	atomic_fetch_add(&node->refused_total, 1);
	if (!atomic_load(&node->stopping))
		complain(node);
	stream->ops->set_deadline(stream, now, now + NODE_SECOND_NS / 10);
	if (stream->ops->writev(stream, &text, 1) == BOLE_OK)
		(void)stream->ops->shutdown(stream);
	stream->ops->close(stream);
}

/* With node->lock held: ends the connection that has been idle for longest; new ones come first in
 * the list. False: none is idle. */
static bool evict_idle(struct bole_node *node)
{
	struct node_connection *oldest = NULL;

	for (struct node_connection *c = node->connections; c != NULL; c = c->next) {
		if (c->idle)
			oldest = c;
	}
	if (oldest == NULL)
		return false;
	oldest->idle = false; /* not twice */
	bole_node_connection_evict(oldest);
	return true;
}

/* Counts one more connection in. When all places are taken, one that only waits gives way. */
static bool admit(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;
	uint64_t deadline = platform->ops->now_ns(platform) + EVICT_NS;
	enum bole_status rc = BOLE_OK;

	platform->ops->mutex_lock(platform, &node->lock);
	bool full = node->connection_count >= node->options.connections_max;
	if (full && !node->closing && evict_idle(node)) {
		while (rc == BOLE_OK && node->connection_count >= node->options.connections_max)
			rc = platform->ops->cond_wait(platform, &node->changed, &node->lock,
			                              deadline);
		full = node->connection_count >= node->options.connections_max;
	}
	bool admitted = !full && !node->closing;
	if (admitted)
		node->connection_count++;
	platform->ops->mutex_unlock(platform, &node->lock);
	return admitted;
}

/* On success the connection's fiber has the stream. */
static bool start(struct bole_node *node, struct bole_stream *stream, bool http)
{
	struct bole_platform *platform = node->platform;
	struct node_connection *c = connection_alloc(node);

	if (c == NULL)
		return false;
	c->node = node;
	c->stream = stream;
	c->reader.read = connection_read;
	c->writer = (struct bole_writer){connection_write, connection_flush, connection_gather};
	stream->ops->peer(stream, c->peer, sizeof c->peer);
	platform->ops->mutex_lock(platform, &node->lock);
	list_add(node, c);
	platform->ops->mutex_unlock(platform, &node->lock);
	if (platform->ops->fiber_start(platform, http ? "http" : "gitd",
	                               http ? http_main : gitd_main, c,
	                               NODE_CONNECTION_STACK) == BOLE_OK)
		return true;
	platform->ops->mutex_lock(platform, &node->lock);
	list_remove(node, c);
	platform->ops->mutex_unlock(platform, &node->lock);
	connection_free(node, c);
	return false;
}

void bole_node_connection_start(struct bole_node *node, struct bole_stream *stream,
                                void (*serve)(struct node_connection *))
{
	bool http = serve == bole_node_http_serve;
	bool admitted = admit(node);

	if (admitted && start(node, stream, http))
		return;
	turn_away(node, stream, http);
	if (admitted)
		dismiss(node);
}
