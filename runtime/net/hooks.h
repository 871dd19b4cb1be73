/* SPDX-License-Identifier: ISC */
/* Hooks that lwIP's sources include. */
#ifndef BOLE_NET_HOOKS_H
#define BOLE_NET_HOOKS_H

#include "lwip/ip_addr.h"

/* An initial sequence number that nobody can guess (RFC 6528). */
u32_t net_initial_sequence(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                           u16_t remote_port);

/* Look at each received packet before lwIP does (timewait.c); 0 = go on with it. */
struct pbuf;
int net_before_ip4(struct pbuf *packet);
int net_before_ip6(struct pbuf *packet);

#endif /* BOLE_NET_HOOKS_H */
