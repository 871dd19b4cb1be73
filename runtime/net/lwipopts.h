/* SPDX-License-Identifier: ISC */
/* How lwIP is built into the image: one thread, raw API, both IP versions. Sizes that bound memory
 * are here; what a machine of little memory needs is bounded by the budget of the heap (port.c). */
#ifndef BOLE_LWIPOPTS_H
#define BOLE_LWIPOPTS_H

/* One thread: fibers and the poller never preempt each other. */
#define NO_SYS                  1
#define SYS_LIGHTWEIGHT_PROT    0
#define LWIP_NETCONN            0
#define LWIP_SOCKET             0
#define LWIP_STATS              0
#define LWIP_TCPIP_CORE_LOCKING 0

/* Memory: packets and what varies from our heap, under a budget; fixed things from pools. */
#define MEM_ALIGNMENT        16
#define MEM_CUSTOM_ALLOCATOR 1
#define MEM_CUSTOM_MALLOC    net_heap_alloc
#define MEM_CUSTOM_CALLOC    net_heap_calloc
#define MEM_CUSTOM_FREE      net_heap_free
#define NET_CONNECTIONS_MAX  512
#define NET_LISTENERS_MAX    16
#define NET_BACKLOG          255
/* Connections that are over for us but not for the protocol come on top. */
#define MEMP_NUM_TCP_PCB         (NET_CONNECTIONS_MAX + 128)
#define MEMP_NUM_TCP_PCB_LISTEN  NET_LISTENERS_MAX
#define MEMP_NUM_TCP_SEG         4096
#define MEMP_NUM_PBUF            256
#define MEMP_NUM_UDP_PCB         8
#define MEMP_NUM_REASSDATA       8
#define MEMP_NUM_FRAG_PBUF       32
#define MEMP_NUM_ARP_QUEUE       32
#define MEMP_NUM_ND6_QUEUE       32
#define PBUF_POOL_SIZE           16
#define LWIP_SUPPORT_CUSTOM_PBUF 1

/* Link and IP. */
/* Room for the header that virtio-net wants in front of a frame. */
#define PBUF_LINK_ENCAPSULATION_HLEN 16
#define LWIP_ETHERNET                1
#define LWIP_ARP                     1
#define ARP_TABLE_SIZE               32
#define ARP_QUEUEING                 1
#define LWIP_IPV4                    1
#define LWIP_IPV6                    1
#define IP_REASSEMBLY                1
#define IP_FRAG                      1
#define IP_REASS_MAX_PBUFS           48
#define LWIP_IPV6_REASS              1
#define LWIP_IPV6_FRAG               1
/* lwIP keeps its notes in the fragment's header, where 64-bit pointers do not fit. */
#define IPV6_FRAG_COPYHEADER       1
#define LWIP_IPV6_AUTOCONFIG       1
#define LWIP_IPV6_MLD              1
#define LWIP_ICMP                  1
#define LWIP_ICMP6                 1
#define LWIP_RAW                   0
#define LWIP_NETIF_LOOPBACK        1
#define LWIP_LOOPBACK_MAX_PBUFS    256
#define LWIP_HAVE_LOOPIF           1
#define LWIP_NETIF_HOSTNAME        1
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_SINGLE_NETIF          0

#define LWIP_UDP                       1
#define LWIP_DHCP                      1
#define LWIP_DHCP_DOES_ACD_CHECK       0
#define DHCP_DOES_ARP_CHECK            0
#define LWIP_DNS                       1
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 2

/* TCP. The window is what a peer may have in flight towards us, the send buffer what a slow reader
 * may make us hold; both are cut by the budget when many connections are busy (stream.c). */
#define LWIP_TCP         1
#define LWIP_WND_SCALE   1
#define TCP_RCV_SCALE    3
#define TCP_MSS          1460
#define TCP_WND          (256 * 1024)
#define TCP_SND_BUF      (256 * 1024)
#define TCP_SND_QUEUELEN 1024
/* Below 64 KiB: lwIP keeps it in 16 bits. */
#define TCP_SNDLOWAT             (32 * 1024)
#define TCP_WND_UPDATE_THRESHOLD (16 * 1024)
/* Received frames are the driver's buffers, not of the pool that the check wants to hold a window.
 */
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1
#define TCP_QUEUE_OOSEQ                1
#define TCP_OOSEQ_MAX_PBUFS            96
/* Half of what TIME_WAIT lasts; timewait.c lets a new connection of the same ports in before. */
#define TCP_MSL                            15000
#define LWIP_TCP_SACK_OUT                  1
#define LWIP_TCP_RTO_TIME                  1000
#define TCP_LISTEN_BACKLOG                 1
#define TCP_DEFAULT_LISTEN_BACKLOG         NET_BACKLOG
#define LWIP_TCP_KEEPALIVE                 1
#define TCP_KEEPIDLE_DEFAULT               60000
#define TCP_KEEPINTVL_DEFAULT              10000
#define TCP_KEEPCNT_DEFAULT                6
#define SO_REUSE                           1
#define LWIP_RANDOMIZE_INITIAL_LOCAL_PORTS 1
#define LWIP_HOOK_FILENAME                 "net/hooks.h"
#define LWIP_HOOK_TCP_ISN                  net_initial_sequence
#define LWIP_HOOK_IP4_INPUT(packet, netif) net_before_ip4(packet)
#define LWIP_HOOK_IP6_INPUT(packet, netif) net_before_ip6(packet)

/* Checksums: while copying where a copy is made, else with our own routine. */
#define LWIP_CHECKSUM_ON_COPY      1
#define LWIP_CHKSUM                net_checksum
#define LWIP_CHKSUM_COPY_ALGORITHM 1

#endif /* BOLE_LWIPOPTS_H */
