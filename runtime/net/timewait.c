/* SPDX-License-Identifier: ISC */
/* A new connection over one that lies in TIME-WAIT. RFC 9293, 3.6.1 lets a host accept a SYN whose
 * sequence number lies beyond what the old connection received. lwIP never does: it answers the SYN
 * as a stray of the old connection, and the peer waits until TIME-WAIT is over. Peers behind one
 * address (user networking, NAT) come back with the same port soon. So the old state is dropped
 * when such a SYN arrives, before lwIP looks at the packet. */
#include <stdbool.h>
#include <string.h>

#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "net/hooks.h"

enum { IP4_HEAD = 20, IP6_HEAD = 40, TCP_HEAD = 20, PROTOCOL_TCP = 6, IP4_FRAGMENT = 0x3fff };

static u16_t get16(const u8_t *p)
{
	return (u16_t)(p[0] << 8 | p[1]);
}

static void make_room(const ip_addr_t *from, const ip_addr_t *to, const u8_t *tcp)
{
	u32_t sequence = (u32_t)get16(tcp + 4) << 16 | get16(tcp + 6);

	if ((tcp[13] & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN)
		return;
	for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb != NULL; pcb = pcb->next) {
		if (pcb->remote_port != get16(tcp) || pcb->local_port != get16(tcp + 2) ||
		    !ip_addr_eq(&pcb->remote_ip, from) || !ip_addr_eq(&pcb->local_ip, to))
			continue;
		if (TCP_SEQ_GT(sequence, pcb->rcv_nxt))
			tcp_abort(pcb); /* in TIME-WAIT it only frees: nothing is sent */
		return;
	}
}

int net_before_ip4(struct pbuf *packet)
{
	u8_t head[60 + TCP_HEAD];
	ip_addr_t from, to;

	if (tcp_tw_pcbs == NULL || pbuf_copy_partial(packet, head, IP4_HEAD, 0) != IP4_HEAD)
		return 0;
	u16_t len = (u16_t)((head[0] & 15) * 4);

	if (head[9] != PROTOCOL_TCP || len < IP4_HEAD || (get16(head + 6) & IP4_FRAGMENT) != 0 ||
	    pbuf_copy_partial(packet, head, (u16_t)(len + TCP_HEAD), 0) != len + TCP_HEAD)
		return 0;
	IP_ADDR4(&from, head[12], head[13], head[14], head[15]);
	IP_ADDR4(&to, head[16], head[17], head[18], head[19]);
	make_room(&from, &to, head + len);
	return 0;
}

int net_before_ip6(struct pbuf *packet)
{
	u8_t head[IP6_HEAD + TCP_HEAD];
	u32_t from[4], to[4];
	ip_addr_t source, target;

	if (tcp_tw_pcbs == NULL ||
	    pbuf_copy_partial(packet, head, sizeof(head), 0) != sizeof(head) ||
	    head[6] != PROTOCOL_TCP)
		return 0;
	memcpy(from, head + 8, sizeof(from));
	memcpy(to, head + 24, sizeof(to));
	IP_ADDR6(&source, from[0], from[1], from[2], from[3]);
	IP_ADDR6(&target, to[0], to[1], to[2], to[3]);
	/* The zone of a link-local address is not in the packet: such peers wait. */
	make_room(&source, &target, head + IP6_HEAD);
	return 0;
}
