/* SPDX-License-Identifier: ISC */
/* The network of an image: lwIP over virtio-net, and streams over it (bole/platform.h). */
#ifndef BOLE_NET_H
#define BOLE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/status.h"
#include "drivers/virtio/drivers.h"

/* Texts of the configuration; NULL = not given.
 *   net.address   10.0.2.15/24      static IPv4; switches DHCP off
 *   net.gateway   10.0.2.2
 *   net.dns       10.0.2.3          IPv4 or IPv6
 *   net.dhcp      true|false        default true unless net.address is given
 *   net.address6  fd00::15/64       static IPv6, beside what routers announce
 *   net.hostname  bole              sent to the DHCP server
 */
struct net_options {
	const char *address;
	const char *gateway;
	const char *dns;
	const char *address6;
	const char *hostname; /* borrowed for ever */
	bool dhcp;
	size_t memory_bytes; /* budget of packets and connections; 0 = chosen from the RAM */
};

/* Starts the stack on the device and plugs listen and connect into the platform. device NULL: only
 * the loopback interface. BOLE_E_INVALID (an address; logged), BOLE_E_NO_MEMORY, BOLE_E_IO. */
BOLE_MUST_USE enum bole_status net_start(struct virtio_net *device, const struct net_options *);
/* Parks until there is an IPv4 address (or the deadline passes: BOLE_E_TIMEOUT). */
BOLE_MUST_USE enum bole_status net_wait_address(uint64_t deadline_ns);
/* The IPv4 address, "0.0.0.0" while there is none. */
void net_address_text(char *dst, size_t cap);
/* The i-th valid IPv6 address; false: no more. */
bool net_address6_text(unsigned i, char *dst, size_t cap);
void net_gateway_text(char *dst, size_t cap);

struct net_stats {
	struct virtio_net_stats device;
	size_t heap_used;
	size_t heap_peak;
	size_t heap_limit;
	unsigned connections;
	unsigned connections_max;
	uint64_t accepted;
	uint64_t refused; /* by the connection limit or for want of memory */
};
void net_stats(struct net_stats *out);

#endif /* BOLE_NET_H */
