/* SPDX-License-Identifier: ISC */
/* TCP connections as struct bole_stream: lwIP's callbacks fill queues and wake fibers; reads and
 * writes park. The window is given back only as bytes are read, so an unread stream stops its peer
 * and nobody else.
 *
 * pcb is NULL once lwIP may free it on its own: after a reset, and when both directions are closed.
 */
#include <stdio.h>
#include <string.h>

#include "core/core.h"
#include "lwip/priv/tcp_priv.h"
#include "net/internal.h"

enum {
	CHUNK_BYTES = 2048,     /* small arrivals are gathered in pieces of this size */
	SMALL_BYTES = 1024,     /* what counts as small */
	QUOTA_MIN = 32 * 1024,  /* of unsent and unacknowledged bytes, however busy we are */
	QUOTA_SHARE = 8,        /* of the heap's room, for one connection */
	WINDOW_MIN = 16 * 1024, /* of a connection, however busy we are */
	WINDOW_FIRST = 64 * 1024,
	WINDOW_SHARE = 16,      /* of the heap's room */
	WAKE_BYTES = 64 * 1024, /* free send buffer that is worth waking a writer for */
	ORPHAN_TICKS = 120,     /* half seconds that a closed connection may take to end */
	WRITE_BYTES_MAX = 0xf000,
};
#define MEMORY_RETRY_NS UINT64_C(10000000)

struct net_stream {
	struct bole_stream base;
	struct tcp_pcb *pcb;
	/* Received and unread: packets linked by next, not a chain in lwIP's sense. */
	struct pbuf *first;
	struct pbuf *last;
	size_t first_off;
	size_t chunk_room; /* bytes free at the end of last, when that is a chunk of ours */
	size_t withheld;   /* of the largest window: what the peer was not offered */
	struct core_fiber *reader;
	struct core_fiber *writer;
	uint64_t read_deadline;
	uint64_t write_deadline;
	struct net_stream *next; /* in the listener's queue */
	ip_addr_t peer;
	uint16_t peer_port;
	bool connected;
	bool ended;  /* the peer sent FIN */
	bool reset;  /* the connection is gone */
	bool shut;   /* we sent FIN */
	bool failed; /* a write was cut short: the rest makes no sense */
	err_t reason;
};

struct net_stats net_counts;

static struct net_stream *stream_of(struct bole_stream *base)
{
	return (struct net_stream *)(void *)base;
}

static void wake(struct core_fiber *fiber)
{
	if (fiber != NULL)
		core_wake(fiber);
}

/* -- Callbacks -- */

static void unlink_pcb(struct net_stream *stream)
{
	struct tcp_pcb *pcb = stream->pcb;

	stream->pcb = NULL;
	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
	tcp_poll(pcb, NULL, 0);
}

/* A connection that nobody holds any more must end some day, even if its peer answers for ever
 * that its window is closed. The argument counts. */
static err_t orphan_poll(void *arg, struct tcp_pcb *pcb)
{
	uintptr_t ticks = (uintptr_t)arg + 1;

	if (ticks >= ORPHAN_TICKS) {
		tcp_abort(pcb);
		return ERR_ABRT;
	}
	tcp_arg(pcb, (void *)ticks);
	return ERR_OK;
}

static void orphan(struct net_stream *stream)
{
	struct tcp_pcb *pcb = stream->pcb;

	unlink_pcb(stream);
	if (pcb->state != TIME_WAIT)
		tcp_poll(pcb, orphan_poll, 1);
}

static void append(struct net_stream *stream, struct pbuf *p)
{
	if (stream->last == NULL)
		stream->first = p;
	else
		stream->last->next = p;
	while (p->next != NULL)
		p = p->next;
	stream->last = p;
	stream->chunk_room = 0;
}

/* Copies a small packet behind what is unread, so that many of them cost no more than their bytes.
 * False: no memory for a chunk. */
static bool gather(struct net_stream *stream, struct pbuf *p)
{
	u16_t len = p->tot_len;

	if (stream->chunk_room < len) {
		struct pbuf *chunk = pbuf_alloc(PBUF_RAW, CHUNK_BYTES, PBUF_RAM);
		if (chunk == NULL)
			return false;
		chunk->len = 0;
		append(stream, chunk);
		stream->chunk_room = CHUNK_BYTES;
	}
	struct pbuf *chunk = stream->last;
	pbuf_copy_partial(p, (uint8_t *)chunk->payload + chunk->len, len, 0);
	chunk->len = (u16_t)(chunk->len + len);
	stream->chunk_room -= len;
	pbuf_free(p);
	return true;
}

static err_t on_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct net_stream *stream = arg;

	(void)err;
	if (p != NULL) {
		bool small = p->tot_len <= SMALL_BYTES && stream->first != NULL;
		if (!small || !gather(stream, p))
			append(stream, p);
	} else {
		stream->ended = true;
		/* Both directions are done: lwIP frees the pcb without telling us. */
		if (pcb->state == TIME_WAIT || pcb->state == CLOSING || pcb->state == LAST_ACK)
			orphan(stream);
		wake(stream->writer);
	}
	wake(stream->reader);
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct net_stream *stream = arg;

	(void)len;
	if (stream->writer != NULL && (tcp_sndbuf(pcb) >= WAKE_BYTES || pcb->snd_queuelen == 0))
		core_wake(stream->writer);
	return ERR_OK;
}

static void on_error(void *arg, err_t err)
{
	struct net_stream *stream = arg;

	if (stream == NULL)
		return;
	stream->pcb = NULL; /* lwIP frees it */
	/* ERR_CLSD is the orderly end of both directions. */
	stream->reset = err != ERR_CLSD;
	stream->ended = true;
	stream->reason = err;
	wake(stream->reader);
	wake(stream->writer);
}

/* A fresh connection was offered at most 64 KiB (the handshake has no scale): it stays at that
 * until somebody reads from it. */
static void open_window(struct net_stream *stream)
{
	struct tcp_pcb *pcb = stream->pcb;
	tcpwnd_size_t most = TCP_WND_MAX(pcb);

	if (most <= WINDOW_FIRST || pcb->rcv_wnd < most)
		return;
	stream->withheld = most - WINDOW_FIRST;
	pcb->rcv_wnd = WINDOW_FIRST;
	pcb->rcv_ann_wnd = WINDOW_FIRST;
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + WINDOW_FIRST;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct net_stream *stream = arg;

	(void)pcb;
	(void)err;
	stream->connected = true;
	open_window(stream);
	wake(stream->writer);
	return ERR_OK;
}

/* -- Waiting -- */

/* Parks the current fiber, recorded in *who, until something happened to the stream. False: the
 * deadline is over. */
static bool park(struct core_fiber **who, uint64_t deadline_ns)
{
	bool in_time;

	if (core_now_ns() >= deadline_ns)
		return false;
	*who = core_fiber_self();
	in_time = core_park_until(deadline_ns);
	*who = NULL;
	(void)in_time; /* the caller looks at the stream first, then at the clock */
	return true;
}

enum bole_status net_stream_wait_connected(struct net_stream *stream, uint64_t deadline_ns)
{
	while (!stream->connected) {
		if (stream->pcb == NULL)
			return stream->reason == ERR_TIMEOUT ? BOLE_E_TIMEOUT : BOLE_E_CLOSED;
		if (!park(&stream->writer, deadline_ns))
			return BOLE_E_TIMEOUT;
	}
	return BOLE_OK;
}

/* -- Reading -- */

static size_t take(struct net_stream *stream, uint8_t *dst, size_t cap)
{
	size_t done = 0;

	while (done < cap && stream->first != NULL) {
		struct pbuf *p = stream->first;
		size_t len = p->len - stream->first_off;
		if (len > cap - done)
			len = cap - done;
		memcpy(dst + done, (uint8_t *)p->payload + stream->first_off, len);
		done += len;
		stream->first_off += len;
		if (stream->first_off < p->len)
			break;
		stream->first = p->next;
		stream->first_off = 0;
		if (stream->first == NULL) {
			stream->last = NULL;
			stream->chunk_room = 0;
		}
		p->next = NULL;
		p->tot_len = p->len;
		pbuf_free(p);
	}
	return done;
}

static void received(struct tcp_pcb *pcb, size_t len)
{
	for (; len > 0; len -= len > 0xffff ? 0xffff : len)
		tcp_recved(pcb, len > 0xffff ? 0xffff : (u16_t)len);
}

/* Gives len bytes that were read back to the window, which grows or shrinks meanwhile towards this
 * connection's share of the memory that is left. */
static void give_window(struct net_stream *stream, size_t len)
{
	if (stream->pcb == NULL)
		return;
	size_t most = TCP_WND_MAX(stream->pcb);
	size_t share = net_heap_room() / WINDOW_SHARE;
	if (share < WINDOW_MIN)
		share = WINDOW_MIN;
	size_t target = share < most ? most - share : 0; /* to be withheld */
	size_t change;
	if (stream->withheld > target) {
		change = stream->withheld - target < len ? stream->withheld - target : len;
		stream->withheld -= change;
		len += change;
	} else {
		change = target - stream->withheld < len ? target - stream->withheld : len;
		stream->withheld += change;
		len -= change;
	}
	received(stream->pcb, len);
}

/* The peer may keep the rest of a request until it hears of what came (RFC 896), and nobody hurries
 * to tell while an answer may carry the news: that would be 250 ms. */
static void acknowledge(struct net_stream *stream)
{
	if (stream->pcb == NULL || !tcp_is_flag_set(stream->pcb, TF_ACK_DELAY))
		return;
	tcp_ack_now(stream->pcb);
	tcp_output(stream->pcb);
	net_flush();
}

static enum bole_status stream_read(struct bole_stream *base, void *dst, size_t cap, size_t *got)
{
	struct net_stream *stream = stream_of(base);

	*got = 0;
	while (stream->first == NULL) {
		if (stream->reset)
			return BOLE_E_CLOSED;
		if (stream->ended)
			return BOLE_END;
		acknowledge(stream);
		if (!park(&stream->reader, stream->read_deadline))
			return BOLE_E_TIMEOUT;
	}
	*got = take(stream, dst, cap);
	give_window(stream, *got);
	net_flush_later(*got);
	return BOLE_OK;
}

/* -- Writing -- */

/* How much may be handed to the stack now: the send buffer, cut when memory is short. */
static size_t write_room(const struct net_stream *stream)
{
	size_t free = tcp_sndbuf(stream->pcb);
	size_t queued = TCP_SND_BUF - free;
	size_t quota = net_heap_room() / QUOTA_SHARE;

	if (quota < QUOTA_MIN)
		quota = QUOTA_MIN;
	if (quota > TCP_SND_BUF)
		quota = TCP_SND_BUF;
	size_t room = queued < quota ? quota - queued : 0;
	return room < free ? room : free;
}

/* Hands up to len bytes to the stack; 0: it is full. */
static size_t push(struct net_stream *stream, const uint8_t *src, size_t len, bool more)
{
	size_t room = write_room(stream);
	size_t part = len < room ? len : room;

	if (part > WRITE_BYTES_MAX)
		part = WRITE_BYTES_MAX;
	if (part == 0 || stream->pcb->snd_queuelen + 2 + part / 512 > TCP_SND_QUEUELEN)
		return 0;
	u8_t flags = TCP_WRITE_FLAG_COPY;
	if (more || part < len)
		flags |= TCP_WRITE_FLAG_MORE;
	if (tcp_write(stream->pcb, src, (u16_t)part, flags) != ERR_OK)
		return 0;
	return part;
}

/* Waits until the stack took something off our hands. */
static enum bole_status wait_room(struct net_stream *stream)
{
	uint64_t deadline = stream->write_deadline;

	tcp_output(stream->pcb);
	net_flush();
	/* Short of memory with nothing of ours on the way, no acknowledgement will wake us. */
	uint64_t retry = core_now_ns() + MEMORY_RETRY_NS;
	bool must_retry = stream->pcb->snd_queuelen == 0 || write_room(stream) > 0;
	bool in_time = park(&stream->writer, must_retry && retry < deadline ? retry : deadline);
	return in_time ? BOLE_OK : BOLE_E_TIMEOUT;
}

static enum bole_status write_piece(struct net_stream *stream, struct bole_bytes piece, bool more)
{
	while (piece.len > 0) {
		if (stream->pcb == NULL || stream->shut)
			return BOLE_E_CLOSED;
		size_t part = push(stream, piece.ptr, piece.len, more);
		piece.ptr += part;
		piece.len -= part;
		if (part == 0) {
			enum bole_status rc = wait_room(stream);
			if (rc != BOLE_OK)
				return rc;
		}
	}
	return BOLE_OK;
}

static enum bole_status stream_writev(struct bole_stream *base, const struct bole_bytes *pieces,
                                      size_t count)
{
	struct net_stream *stream = stream_of(base);
	enum bole_status rc = BOLE_OK;

	if (stream->failed || stream->shut)
		return BOLE_E_CLOSED;
	for (size_t i = 0; i < count && rc == BOLE_OK; i++)
		rc = write_piece(stream, pieces[i], i + 1 < count);
	if (rc != BOLE_OK)
		stream->failed = true;
	else if (stream->pcb == NULL)
		rc = BOLE_E_CLOSED;
	if (stream->pcb != NULL)
		tcp_output(stream->pcb);
	net_flush();
	return rc;
}

/* -- The rest of the interface -- */

static void stream_set_deadline(struct bole_stream *base, uint64_t read_ns, uint64_t write_ns)
{
	struct net_stream *stream = stream_of(base);

	stream->read_deadline = read_ns;
	stream->write_deadline = write_ns;
	wake(stream->reader);
	wake(stream->writer);
}

static bool stream_hung_up(struct bole_stream *base)
{
	return stream_of(base)->ended;
}

static void stream_peer(struct bole_stream *base, char *dst, size_t cap)
{
	struct net_stream *stream = stream_of(base);
	char address[IPADDR_STRLEN_MAX];

	if (!net_ip_text(&stream->peer, address, sizeof address))
		address[0] = '\0';
	snprintf(dst, cap, IP_IS_V6(&stream->peer) ? "[%s]:%u" : "%s:%u", address,
	         stream->peer_port);
}

static enum bole_status stream_shutdown(struct bole_stream *base)
{
	struct net_stream *stream = stream_of(base);

	if (stream->shut)
		return BOLE_OK;
	if (stream->pcb == NULL || stream->failed)
		return BOLE_E_CLOSED;
	stream->shut = true;
	err_t err = tcp_shutdown(stream->pcb, 0, 1);
	/* The peer's end came first: nothing is left to learn from the pcb. */
	if (err == ERR_OK && stream->pcb != NULL && stream->ended)
		orphan(stream);
	net_flush();
	return net_status(err);
}

static void drop_unread(struct net_stream *stream)
{
	while (stream->first != NULL) {
		struct pbuf *p = stream->first;
		stream->first = p->next;
		p->next = NULL;
		p->tot_len = p->len;
		pbuf_free(p);
	}
	/* lwIP takes a window that is not whole for unread data and would reset. */
	if (stream->pcb != NULL)
		stream->pcb->rcv_wnd = TCP_WND_MAX(stream->pcb);
}

void net_stream_close(struct net_stream *stream)
{
	struct bole_alloc *alloc = core_alloc();

	if (stream->pcb != NULL && stream->failed) {
		struct tcp_pcb *pcb = stream->pcb;
		unlink_pcb(stream);
		tcp_abort(pcb);
	}
	/* What is unread is thrown away; queued bytes and FIN still go out. */
	drop_unread(stream);
	if (stream->pcb != NULL) {
		struct tcp_pcb *pcb = stream->pcb;
		orphan(stream);
		if (tcp_close(pcb) != ERR_OK)
			tcp_abort(pcb);
	}
	net_flush();
	net_counts.connections--;
	alloc->resize(alloc->ctx, stream, sizeof *stream, 0, _Alignof(struct net_stream));
}

static void stream_close(struct bole_stream *base)
{
	net_stream_close(stream_of(base));
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

struct net_stream *net_stream_open(struct tcp_pcb *pcb)
{
	struct bole_alloc *alloc = core_alloc();

	if (net_counts.connections >= NET_CONNECTIONS_MAX)
		return NULL;
	struct net_stream *stream =
	        alloc->resize(alloc->ctx, NULL, 0, sizeof *stream, _Alignof(struct net_stream));
	if (stream == NULL)
		return NULL;
	*stream = (struct net_stream){.base.ops = &stream_ops,
	                              .pcb = pcb,
	                              .read_deadline = BOLE_NEVER,
	                              .write_deadline = BOLE_NEVER,
	                              .peer = pcb->remote_ip,
	                              .peer_port = pcb->remote_port};
	if (++net_counts.connections > net_counts.connections_max)
		net_counts.connections_max = net_counts.connections;
	tcp_arg(pcb, stream);
	tcp_recv(pcb, on_received);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_error);
	if (pcb->state != CLOSED)
		open_window(stream);
	ip_set_option(pcb, SOF_KEEPALIVE);
	/* writev is the unit of sending: holding back small segments only costs time. */
	tcp_nagle_disable(pcb);
	return stream;
}

struct bole_stream *net_stream_base(struct net_stream *stream)
{
	return &stream->base;
}

bool net_stream_dead(const struct net_stream *stream)
{
	return stream->reset;
}

void net_stream_accepted(struct net_stream *stream)
{
	stream->connected = true;
	if (stream->pcb != NULL)
		tcp_backlog_accepted(stream->pcb);
}

struct net_stream **net_stream_link(struct net_stream *stream)
{
	return &stream->next;
}

/* For connect: the stream exists before the peer is known. */
err_t net_stream_connect(struct net_stream *stream, const ip_addr_t *address, uint16_t port)
{
	stream->peer = *address;
	stream->peer_port = port;
	return tcp_connect(stream->pcb, address, port, on_connected);
}
