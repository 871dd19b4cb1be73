/* SPDX-License-Identifier: ISC */
/* The network interface: frames between virtio-net and lwIP, lwIP's timers, addresses.
 *
 * The poller runs once per scheduling round: received frames go up, due timers run, and what the
 * stack wants to send goes to the device with one notification. Received frames are lent to the
 * stack without a copy while the ring has enough left, so that unread data never starves it.
 */
#include <stdio.h>
#include <string.h>

#include "core/core.h"
#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/init.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/timeouts.h"
#include "net/internal.h"
#include "netif/ethernet.h"

enum {
	FRAMES_PER_ROUND = 64, /* so that fibers get their turn under a flood */
	LENT_MAX = 192,        /* frames in the stack's hands; beyond it they are copied */
	COPY_BELOW = 256,      /* shorter frames are copied: a buffer is 2 KiB */
	HEAP_MIN = 4 << 20,
	HEAP_MAX = 64 << 20,
	HEAP_SHARE = 8, /* of the RAM */
	WINDOW_FLUSH = 32 * 1024,
};

/* A frame that the stack holds. */
struct lent_frame {
	struct pbuf_custom pbuf; /* first: lwIP gives this back */
	struct virtio_net_frame frame;
	struct lent_frame *next_free;
};

struct interface {
	struct netif netif;
	struct virtio_net *device;
	struct core_poller poller;
	struct core_timer timer;
	struct core_wait_queue address_waiters;
	struct lent_frame frames[LENT_MAX];
	struct lent_frame *free_frames;
	bool unsent;         /* frames are queued that the device was not told about */
	size_t window_given; /* bytes of windows opened since it was told */
	bool send_failed;    /* the ring was full: push TCP again when it drained */
	bool up;
};
static struct interface net;

/* -- Receiving -- */

static void return_frame(struct pbuf *p)
{
	struct lent_frame *lent = (struct lent_frame *)(void *)p;

	virtio_net_return(net.device, &lent->frame);
	lent->next_free = net.free_frames;
	net.free_frames = lent;
}

static struct pbuf *copy_frame(const struct virtio_net_frame *frame)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)frame->len, PBUF_RAM);

	if (p != NULL)
		memcpy(p->payload, frame->bytes, frame->len);
	virtio_net_return(net.device, frame);
	return p;
}

static struct pbuf *wrap_frame(const struct virtio_net_frame *frame)
{
	if (frame->len < COPY_BELOW || net.free_frames == NULL)
		return copy_frame(frame);
	struct lent_frame *lent = net.free_frames;
	net.free_frames = lent->next_free;
	lent->frame = *frame;
	lent->pbuf.custom_free_function = return_frame;
	return pbuf_alloced_custom(PBUF_RAW, (u16_t)frame->len, PBUF_REF, &lent->pbuf, frame->bytes,
	                           (u16_t)frame->len);
}

static bool receive(void)
{
	struct virtio_net_frame frame;
	unsigned count = 0;

	while (count < FRAMES_PER_ROUND && virtio_net_receive(net.device, &frame)) {
		count++;
		struct pbuf *p = wrap_frame(&frame);
		/* Without memory the frame is dropped; TCP sends it again. */
		if (p != NULL && net.netif.input(p, &net.netif) != ERR_OK)
			pbuf_free(p);
	}
	return count > 0;
}

/* -- Sending -- */

static void sent(void *token)
{
	pbuf_free(token);
}

/* Clears the device's header in front of the frame, where lwIP left room for it
 * (PBUF_LINK_ENCAPSULATION_HLEN). False: this packet's memory has none. */
static bool make_header(struct pbuf *p)
{
	uint8_t *data = (uint8_t *)p + LWIP_MEM_ALIGN_SIZE(sizeof *p);
	uint8_t *payload = p->payload;

	if ((p->type_internal & PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS) == 0 ||
	    payload < data + VIRTIO_NET_HEADER_BYTES)
		return false;
	memset(payload - VIRTIO_NET_HEADER_BYTES, 0, VIRTIO_NET_HEADER_BYTES);
	return true;
}

void net_flush(void)
{
	net.unsent = false;
	net.window_given = 0;
	if (net.device != NULL)
		virtio_net_kick(net.device);
}

/* Every notification is an exit of the machine, and acknowledgements are many. They may wait for
 * one round of the fibers, unless so much of a window is open again that the peer has stopped. */
void net_flush_later(size_t window_bytes)
{
	net.unsent = true;
	net.window_given += window_bytes;
	if (net.window_given >= WINDOW_FLUSH)
		net_flush();
}

static err_t send_frame(struct netif *netif, struct pbuf *p)
{
	struct virtio_piece pieces[VIRTIO_NET_PIECES_MAX];
	size_t count = 0;

	(void)netif;
	pbuf_ref(p);
	if (pbuf_clen(p) > VIRTIO_NET_PIECES_MAX) {
		struct pbuf *whole = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
		pbuf_free(p);
		if (whole == NULL)
			return ERR_MEM;
		p = whole;
	}
	for (struct pbuf *q = p; q != NULL; q = q->next)
		if (q->len > 0)
			pieces[count++] = (struct virtio_piece){q->payload, q->len};
	bool headed = make_header(p);
	if (headed) {
		pieces[0].ptr = (const uint8_t *)pieces[0].ptr - VIRTIO_NET_HEADER_BYTES;
		pieces[0].len += VIRTIO_NET_HEADER_BYTES;
	}
	enum bole_status rc = virtio_net_send(net.device, pieces, count, headed, p);
	if (rc == BOLE_OK)
		return ERR_OK;
	pbuf_free(p);
	net.send_failed = true;
	net_flush(); /* so that the ring drains */
	return rc == BOLE_AGAIN ? ERR_MEM : ERR_IF;
}

/* -- Rounds and timers -- */

static void arm_timer(void)
{
	u32_t sleep_ms = sys_timeouts_sleeptime();

	if (sleep_ms == SYS_TIMEOUTS_SLEEPTIME_INFINITE) {
		core_timer_cancel(&net.timer);
		return;
	}
	core_timer_set(&net.timer, core_now_ns() + (uint64_t)sleep_ms * 1000000);
}

/* Only ends the idle wait: the poller that follows runs the stack's timers. */
static void timer_due(void *ctx)
{
	(void)ctx;
}

static bool poll_network(void *ctx)
{
	bool any = false;

	(void)ctx;
	bool waited = net.unsent;
	if (net.device != NULL) {
		if (virtio_net_reclaim(net.device) && net.send_failed) {
			net.send_failed = false;
			tcp_txnow();
		}
		any = receive();
		if (any)
			virtio_net_interrupts(net.device, false, false);
	}
	netif_poll_all();
	sys_check_timeouts();
	net.unsent = true;
	if (waited)
		net_flush();
	return any;
}

static bool before_idle(void *ctx)
{
	(void)ctx;
	net_flush();
	arm_timer();
	/* Sent frames are worked off on the way, unless somebody waits for room in the ring. */
	return net.device != NULL && virtio_net_interrupts(net.device, true, net.send_failed);
}

/* -- Addresses -- */

static void status_changed(struct netif *netif)
{
	if (!ip4_addr_isany_val(*netif_ip4_addr(netif)))
		core_wait_wake_all(&net.address_waiters);
}

static err_t interface_init(struct netif *netif)
{
	const struct virtio_net_info *info = virtio_net_info(net.device);

	netif->name[0] = 'e';
	netif->name[1] = 'n';
	netif->mtu = info->mtu;
	netif->mtu6 = info->mtu;
	netif->hwaddr_len = sizeof info->mac;
	memcpy(netif->hwaddr, info->mac, sizeof info->mac);
	netif->flags =
	        NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_MLD6;
	netif->output = etharp_output;
	netif->output_ip6 = ethip6_output;
	netif->linkoutput = send_frame;
	return ERR_OK;
}

/* "address/bits": cuts the bits off into *bits. */
static bool split_prefix(const char *text, char *address, size_t cap, unsigned *bits, unsigned most)
{
	const char *slash = strchr(text, '/');
	size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
	unsigned n = 0;

	if (len == 0 || len >= cap)
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	if (slash == NULL)
		return true;
	for (const char *p = slash + 1; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || n > most)
			return false;
		n = n * 10 + (unsigned)(*p - '0');
	}
	*bits = n;
	return slash[1] != '\0' && n <= most;
}

static enum bole_status bad(const char *key, const char *value)
{
	core_log(BOLE_LOG_ERROR, "%s=%s is not an address", key, value);
	return BOLE_E_INVALID;
}

static enum bole_status set_static(const struct net_options *options)
{
	ip4_addr_t address, gateway = {0}, mask;
	char text[32];
	unsigned bits = 24;

	if (!split_prefix(options->address, text, sizeof text, &bits, 32) ||
	    !ip4addr_aton(text, &address) || bits == 0)
		return bad("net.address", options->address);
	if (options->gateway != NULL && !ip4addr_aton(options->gateway, &gateway))
		return bad("net.gateway", options->gateway);
	ip4_addr_set_u32(&mask, lwip_htonl(UINT32_MAX << (32 - bits)));
	netif_set_addr(&net.netif, &address, &mask, &gateway);
	return BOLE_OK;
}

static enum bole_status set_static6(const char *value)
{
	ip6_addr_t address;
	char text[64];
	unsigned bits = 64;
	s8_t index = -1;

	if (!split_prefix(value, text, sizeof text, &bits, 128) || !ip6addr_aton(text, &address))
		return bad("net.address6", value);
	if (netif_add_ip6_address(&net.netif, &address, &index) != ERR_OK || index < 0)
		return BOLE_E_LIMIT;
	netif_ip6_addr_set_state(&net.netif, index, IP6_ADDR_PREFERRED);
	return BOLE_OK;
}

static enum bole_status configure(const struct net_options *options)
{
	ip_addr_t dns;

	if (options->dns != NULL) {
		if (!ipaddr_aton(options->dns, &dns))
			return bad("net.dns", options->dns);
		dns_setserver(0, &dns);
	}
	if (options->address6 != NULL) {
		enum bole_status rc = set_static6(options->address6);
		if (rc != BOLE_OK)
			return rc;
	}
	if (options->address != NULL)
		return set_static(options);
	if (options->dhcp && dhcp_start(&net.netif) != ERR_OK)
		return BOLE_E_NO_MEMORY;
	return BOLE_OK;
}

static enum bole_status add_interface(struct virtio_net *device, const struct net_options *options)
{
	net.device = device;
	virtio_net_on_sent(device, sent);
	for (size_t i = 0; i < LENT_MAX; i++) {
		net.frames[i].next_free = net.free_frames;
		net.free_frames = &net.frames[i];
	}
	if (netif_add(&net.netif, NULL, NULL, NULL, NULL, interface_init, ethernet_input) == NULL)
		return BOLE_E_NO_MEMORY;
	netif_set_hostname(&net.netif, options->hostname != NULL ? options->hostname : "bole");
	netif_set_status_callback(&net.netif, status_changed);
	netif_set_default(&net.netif);
	netif_create_ip6_linklocal_address(&net.netif, 1);
	netif_set_ip6_autoconfig_enabled(&net.netif, 1);
	netif_set_link_up(&net.netif);
	netif_set_up(&net.netif);
	return configure(options);
}

static const struct core_net_ops platform_ops = {
        .listen = net_listen,
        .connect = net_connect,
};

enum bole_status net_start(struct virtio_net *device, const struct net_options *options)
{
	struct core_memory_stats memory;
	enum bole_status rc = BOLE_OK;

	core_memory_stats(&memory);
	size_t heap = options->memory_bytes;
	if (heap == 0)
		heap = memory.pages_total * CORE_PAGE_SIZE / HEAP_SHARE;
	if (heap < HEAP_MIN)
		heap = HEAP_MIN;
	net_heap_limit(heap < HEAP_MAX ? heap : HEAP_MAX);
	lwip_init();
	if (device != NULL)
		rc = add_interface(device, options);
	if (rc != BOLE_OK)
		return rc;
	net.timer = (struct core_timer){.fn = timer_due};
	net.poller = (struct core_poller){.poll = poll_network, .before_idle = before_idle};
	core_poller_register(&net.poller);
	core_net_set(&platform_ops);
	net_flush();
	return BOLE_OK;
}

enum bole_status net_wait_address(uint64_t deadline_ns)
{
	while (net.device != NULL && ip4_addr_isany_val(*netif_ip4_addr(&net.netif)))
		if (!core_wait(&net.address_waiters, deadline_ns))
			return BOLE_E_TIMEOUT;
	return BOLE_OK;
}

void net_address_text(char *dst, size_t cap)
{
	ip4addr_ntoa_r(netif_ip4_addr(&net.netif), dst, (int)cap);
}

void net_gateway_text(char *dst, size_t cap)
{
	ip4addr_ntoa_r(netif_ip4_gw(&net.netif), dst, (int)cap);
}

bool net_address6_text(unsigned i, char *dst, size_t cap)
{
	for (int k = 0; k < LWIP_IPV6_NUM_ADDRESSES; k++) {
		if (!ip6_addr_isvalid(netif_ip6_addr_state(&net.netif, k)) || i-- != 0)
			continue;
		ip_addr_t address;
		ip_addr_copy_from_ip6(address, *netif_ip6_addr(&net.netif, k));
		return net_ip_text(&address, dst, cap);
	}
	return false;
}

void net_stats(struct net_stats *out)
{
	*out = net_counts;
	if (net.device != NULL)
		virtio_net_stats(net.device, &out->device);
	net_heap_stats(out);
}
