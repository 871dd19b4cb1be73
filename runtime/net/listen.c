/* SPDX-License-Identifier: ISC */
/* Listening and connecting, and the addresses they take. */
#include <string.h>

#include "core/core.h"
#include "lwip/dns.h"
#include "net/internal.h"

enum { HOST_MAX = 255 };

struct net_listener {
	struct bole_listener base;
	struct tcp_pcb *pcb;
	struct net_stream *first; /* connected, not accepted yet */
	struct net_stream *last;
	struct core_wait_queue acceptors;
	uint16_t port;
	bool shut;
};

static struct net_listener *listener_of(struct bole_listener *base)
{
	return (struct net_listener *)(void *)base;
}

/* -- Addresses -- */

/* "host:port", "[v6]:port", ":port" into host (may be empty) and port. */
static bool split_address(const char *text, char *host, uint16_t *port)
{
	const char *end;
	const char *colon = strrchr(text, ':');
	unsigned long n = 0;

	if (colon == NULL || colon[1] == '\0')
		return false;
	if (text[0] == '[') {
		end = colon - 1;
		if (end <= text || *end != ']')
			return false;
		text++;
	} else {
		end = colon;
		if (memchr(text, ':', (size_t)(end - text)) != NULL)
			return false; /* IPv6 without brackets: where does the port begin? */
	}
	size_t len = (size_t)(end - text);
	if (len > HOST_MAX)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	for (const char *p = colon + 1; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || n > UINT16_MAX)
			return false;
		n = n * 10 + (unsigned long)(*p - '0');
	}
	*port = (uint16_t)n;
	return n <= UINT16_MAX;
}

bool net_ip_text(const ip_addr_t *address, char *dst, size_t cap)
{
	if (ipaddr_ntoa_r(address, dst, (int)cap) == NULL)
		return false;
	for (; *dst != '\0'; dst++)
		if (*dst >= 'A' && *dst <= 'F')
			*dst = (char)(*dst - 'A' + 'a');
	return true;
}

struct lookup {
	struct core_fiber *fiber;
	ip_addr_t address;
	bool done;
	bool found;
	bool abandoned; /* the fiber gave up; the callback frees */
};

static void lookup_free(struct lookup *lookup)
{
	struct bole_alloc *alloc = core_alloc();

	alloc->resize(alloc->ctx, lookup, sizeof *lookup, 0, _Alignof(struct lookup));
}

static void looked_up(const char *name, const ip_addr_t *address, void *arg)
{
	struct lookup *lookup = arg;

	(void)name;
	if (lookup->abandoned) {
		lookup_free(lookup);
		return;
	}
	lookup->done = true;
	lookup->found = address != NULL;
	if (address != NULL)
		lookup->address = *address;
	core_wake(lookup->fiber);
}

/* Asks the name servers. The record is on the heap since the answer may come after the deadline. */
static enum bole_status look_up(const char *host, uint64_t deadline_ns, ip_addr_t *address)
{
	struct bole_alloc *alloc = core_alloc();
	struct lookup *lookup =
	        alloc->resize(alloc->ctx, NULL, 0, sizeof *lookup, _Alignof(struct lookup));

	if (lookup == NULL)
		return BOLE_E_NO_MEMORY;
	*lookup = (struct lookup){.fiber = core_fiber_self()};
	err_t err = dns_gethostbyname(host, &lookup->address, looked_up, lookup);
	if (err == ERR_OK) {
		lookup->done = true;
		lookup->found = true;
	} else if (err != ERR_INPROGRESS) {
		lookup->done = true;
	}
	net_flush();
	while (!lookup->done && core_now_ns() < deadline_ns)
		core_park_until(deadline_ns);
	if (!lookup->done) {
		lookup->abandoned = true;
		return BOLE_E_TIMEOUT;
	}
	enum bole_status rc = lookup->found ? BOLE_OK : BOLE_E_NOT_FOUND;
	*address = lookup->address;
	lookup_free(lookup);
	return rc;
}

enum bole_status net_resolve(const char *text, uint64_t deadline_ns, ip_addr_t *address,
                             uint16_t *port)
{
	char host[HOST_MAX + 1];

	if (!split_address(text, host, port))
		return BOLE_E_INVALID;
	if (host[0] == '\0') {
		*address = *IP_ANY_TYPE;
		return BOLE_OK;
	}
	if (ipaddr_aton(host, address))
		return BOLE_OK;
	return look_up(host, deadline_ns, address);
}

/* -- Listening -- */

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct net_listener *listener = arg;

	if (err != ERR_OK || pcb == NULL)
		return ERR_VAL;
	struct net_stream *stream = listener->shut ? NULL : net_stream_open(pcb);
	if (stream == NULL) {
		net_counts.refused++;
		tcp_abort(pcb);
		return ERR_ABRT;
	}
	tcp_backlog_delayed(pcb);
	if (listener->last == NULL)
		listener->first = stream;
	else
		*net_stream_link(listener->last) = stream;
	listener->last = stream;
	net_counts.accepted++;
	core_wait_wake_one(&listener->acceptors);
	return ERR_OK;
}

static struct net_stream *pop(struct net_listener *listener)
{
	struct net_stream *stream = listener->first;

	if (stream != NULL) {
		listener->first = *net_stream_link(stream);
		*net_stream_link(stream) = NULL;
		if (listener->first == NULL)
			listener->last = NULL;
	}
	return stream;
}

static enum bole_status listener_accept(struct bole_listener *base, struct bole_stream **out)
{
	struct net_listener *listener = listener_of(base);

	for (;;) {
		struct net_stream *stream = pop(listener);
		if (listener->shut) {
			if (stream == NULL)
				return BOLE_E_CLOSED;
			net_stream_close(stream);
		} else if (stream == NULL) {
			core_wait(&listener->acceptors, BOLE_NEVER);
		} else if (net_stream_dead(stream)) {
			net_stream_close(stream);
		} else {
			net_stream_accepted(stream);
			*out = net_stream_base(stream);
			return BOLE_OK;
		}
	}
}

static uint16_t listener_port(struct bole_listener *base)
{
	return listener_of(base)->port;
}

static void listener_shutdown(struct bole_listener *base)
{
	struct net_listener *listener = listener_of(base);

	listener->shut = true;
	if (listener->pcb != NULL)
		tcp_close(listener->pcb); /* a listening pcb always closes */
	listener->pcb = NULL;
	core_wait_wake_all(&listener->acceptors);
}

static void listener_close(struct bole_listener *base)
{
	struct net_listener *listener = listener_of(base);
	struct bole_alloc *alloc = core_alloc();
	struct net_stream *stream;

	listener_shutdown(base);
	while ((stream = pop(listener)) != NULL)
		net_stream_close(stream);
	alloc->resize(alloc->ctx, listener, sizeof *listener, 0, _Alignof(struct net_listener));
}

static const struct bole_listener_ops listener_ops = {
        .accept = listener_accept,
        .port = listener_port,
        .shutdown = listener_shutdown,
        .close = listener_close,
};

/* A listening pcb; NULL with *rc set. */
static struct tcp_pcb *bind_pcb(const ip_addr_t *address, uint16_t port, enum bole_status *rc)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(address));
	err_t err;

	*rc = BOLE_E_NO_MEMORY;
	if (pcb == NULL)
		return NULL;
	ip_set_option(pcb, SOF_REUSEADDR);
	err = tcp_bind(pcb, address, port);
	struct tcp_pcb *listening = NULL;
	if (err == ERR_OK)
		listening = tcp_listen_with_backlog_and_err(pcb, NET_BACKLOG, &err);
	if (listening == NULL)
		tcp_close(pcb);
	*rc = net_status(err);
	return listening;
}

enum bole_status net_listen(struct bole_platform *platform, const char *address,
                            struct bole_listener **out)
{
	struct bole_alloc *alloc = core_alloc();
	enum bole_status rc;
	ip_addr_t where;
	uint16_t port;

	(void)platform;
	rc = net_resolve(address, core_now_ns(), &where, &port);
	if (rc != BOLE_OK)
		return BOLE_E_INVALID;
	struct net_listener *listener =
	        alloc->resize(alloc->ctx, NULL, 0, sizeof *listener, _Alignof(struct net_listener));
	if (listener == NULL)
		return BOLE_E_NO_MEMORY;
	*listener = (struct net_listener){.base.ops = &listener_ops};
	listener->pcb = bind_pcb(&where, port, &rc);
	if (listener->pcb == NULL) {
		alloc->resize(alloc->ctx, listener, sizeof *listener, 0,
		              _Alignof(struct net_listener));
		return rc;
	}
	listener->port = listener->pcb->local_port;
	tcp_arg(listener->pcb, listener);
	tcp_accept(listener->pcb, on_accept);
	*out = &listener->base;
	return BOLE_OK;
}

enum bole_status net_connect(struct bole_platform *platform, const char *address,
                             uint64_t deadline_ns, struct bole_stream **out)
{
	ip_addr_t where;
	uint16_t port;
	enum bole_status rc = net_resolve(address, deadline_ns, &where, &port);

	(void)platform;
	if (rc != BOLE_OK)
		return rc;
	struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(&where));
	if (pcb == NULL)
		return BOLE_E_LIMIT;
	struct net_stream *stream = net_stream_open(pcb);
	if (stream == NULL) {
		tcp_abort(pcb);
		return BOLE_E_LIMIT;
	}
	rc = net_status(net_stream_connect(stream, &where, port));
	net_flush();
	if (rc == BOLE_OK)
		rc = net_stream_wait_connected(stream, deadline_ns);
	if (rc != BOLE_OK) {
		net_stream_close(stream);
		return rc;
	}
	*out = net_stream_base(stream);
	return BOLE_OK;
}
