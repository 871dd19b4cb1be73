/* SPDX-License-Identifier: ISC */
/* Between the files of the network port. All of it runs between two parks of one thread, so there
 * are no locks; callbacks from lwIP never park. */
#ifndef BOLE_NET_INTERNAL_H
#define BOLE_NET_INTERNAL_H

#include "bole/platform.h"
#include "lwip/ip_addr.h"
#include "lwip/tcp.h"
#include "net/net.h"

/* port.c */
void net_heap_limit(size_t bytes);
size_t net_heap_room(void); /* bytes left of the budget */
void net_heap_stats(struct net_stats *out);

/* interface.c: hands what was queued to the device; after every call into lwIP from a fiber. */
void net_flush(void);
/* The same for acknowledgements: soon. window_bytes: how much of a window was opened. */
void net_flush_later(size_t window_bytes);

/* stream.c: a stream over a connected or connecting pcb; NULL: no memory or too many. */
struct net_stream;
struct net_stream *net_stream_open(struct tcp_pcb *pcb);
struct bole_stream *net_stream_base(struct net_stream *);
/* The peer reset it before anybody accepted it. */
bool net_stream_dead(const struct net_stream *);
void net_stream_accepted(struct net_stream *);
struct net_stream **net_stream_link(struct net_stream *); /* for the accept queue */
/* Begins to connect a stream over a fresh pcb; then waits for the outcome. */
err_t net_stream_connect(struct net_stream *, const ip_addr_t *address, uint16_t port);
enum bole_status net_stream_wait_connected(struct net_stream *, uint64_t deadline_ns);
void net_stream_close(struct net_stream *);
extern struct net_stats net_counts;

/* "host:port", "[v6]:port", ":port"; names are looked up. any: ":port" means all addresses. */
enum bole_status net_resolve(const char *text, uint64_t deadline_ns, ip_addr_t *address,
                             uint16_t *port);

/* The address as people write it (IPv6 in lower case, RFC 5952). False: cap is too small. */
bool net_ip_text(const ip_addr_t *, char *dst, size_t cap);

/* listen.c */
enum bole_status net_listen(struct bole_platform *, const char *address,
                            struct bole_listener **out);
enum bole_status net_connect(struct bole_platform *, const char *address, uint64_t deadline_ns,
                             struct bole_stream **out);

enum bole_status net_status(err_t err);

#endif /* BOLE_NET_INTERNAL_H */
