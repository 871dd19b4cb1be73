/* SPDX-License-Identifier: ISC */
/* How often somebody may ask. For each a time is kept at which all that it asked for will have been
 * paid for, at the rate allowed; whoever is too far ahead of it waits. The tables have a fixed
 * size: in a full row the one that owes least is forgotten. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "node/access.h"

#define SECOND_NS UINT64_C(1000000000)
#define MINUTE_NS (60 * SECOND_NS)

enum { ROWS = 1024, WAYS = 4, RATE_MAX = 1000000, BURST_SHARE = 4, FAILED_DEFAULT = 30 };

struct seat {
	uint64_t key;
	uint64_t paid_ns;
};

struct node_rates {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	uint64_t seed;
	uint64_t period_ns[NODE_RATE_KINDS]; /* of one request; 0 = no limit */
	uint64_t burst_ns[NODE_RATE_KINDS];  /* how far ahead one may be */
	struct bole_mutex lock;              /* guards seats */
	struct seat *seats;                  /* NULL: nothing is limited */
};

enum bole_status bole_node_rates_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                      const struct bole_config *config, struct node_rates **out)
{
	static const char *const keys[NODE_RATE_KINDS] = {"limit.address", "limit.user",
	                                                  "limit.repository", "limit.failedAuth"};
	struct node_rates *r = bole_alloc_zeroed(alloc, 1, sizeof *r);
	bool any = false;

	*out = NULL;
	if (r == NULL)
		return BOLE_E_NO_MEMORY;
	r->platform = platform;
	r->alloc = alloc;
	platform->ops->random(platform, &r->seed, sizeof r->seed);
	platform->ops->mutex_init(platform, &r->lock);
	*out = r;
	for (size_t i = 0; i < NODE_RATE_KINDS; i++) {
		uint64_t missing = i == NODE_RATE_FAILED ? FAILED_DEFAULT : 0;
		uint64_t rate;

		if (bole_config_u64(config, keys[i], missing, &rate) != BOLE_OK ||
		    rate > RATE_MAX) {
			bole_log(platform, BOLE_LOG_ERROR,
			         "config: %s must be a number from 0 to %d", keys[i],
			         (int)RATE_MAX);
			return BOLE_E_INVALID;
		}
		if (rate == 0)
			continue;
		any = true;
		r->period_ns[i] = MINUTE_NS / rate;
		/* A quarter of a minute's worth at once, and always a handful. */
		uint64_t burst = rate / BURST_SHARE < WAYS ? WAYS : rate / BURST_SHARE;
		r->burst_ns[i] = r->period_ns[i] * burst;
	}
	if (any) {
		r->seats = bole_alloc_zeroed(alloc, ROWS * WAYS, sizeof *r->seats);
		return r->seats == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	}
	return BOLE_OK;
}

void bole_node_rates_close(struct node_rates *r)
{
	if (r == NULL)
		return;
	r->platform->ops->mutex_destroy(r->platform, &r->lock);
	bole_alloc_free(r->alloc, r->seats, r->seats == NULL ? 0 : ROWS * WAYS, sizeof *r->seats);
	bole_alloc_free(r->alloc, r, 1, sizeof *r);
}

/* Nobody outside knows the seed, so nobody can pick a victim to share a key with. */
uint64_t bole_node_rates_key(const struct node_rates *r, enum node_rate_kind kind,
                             struct bole_bytes who)
{
	uint64_t h = r->seed ^ ((uint64_t)kind + 1) * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i < who.len; i++) {
		h = (h ^ who.ptr[i]) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 29;
	}
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return (h ^ h >> 32) | 1;
}

static struct seat *seat_of(struct node_rates *r, uint64_t key)
{
	struct seat *row = &r->seats[key / 2 % ROWS * WAYS];
	struct seat *least = row;

	for (size_t i = 0; i < WAYS; i++) {
		if (row[i].key == key)
			return &row[i];
		if (row[i].paid_ns < least->paid_ns)
			least = &row[i];
	}
	*least = (struct seat){.key = key};
	return least;
}

static unsigned ask(struct node_rates *r, enum node_rate_kind kind, struct bole_bytes who,
                    bool count)
{
	struct bole_platform *platform = r->platform;
	uint64_t wait_ns = 0;

	if (r->period_ns[kind] == 0)
		return 0;
	uint64_t now = platform->ops->now_ns(platform);
	uint64_t key = bole_node_rates_key(r, kind, who);

	platform->ops->mutex_lock(platform, &r->lock);
	struct seat *seat = seat_of(r, key);
	uint64_t paid = seat->paid_ns < now ? now : seat->paid_ns;
	uint64_t next = paid + r->period_ns[kind];
	if (next - now > r->burst_ns[kind])
		wait_ns = next - now - r->burst_ns[kind];
	else if (count)
		seat->paid_ns = next;
	platform->ops->mutex_unlock(platform, &r->lock);
	return (unsigned)((wait_ns + SECOND_NS - 1) / SECOND_NS);
}

unsigned bole_node_rates_take(struct node_rates *r, enum node_rate_kind kind, struct bole_bytes who)
{
	return ask(r, kind, who, true);
}

unsigned bole_node_rates_look(struct node_rates *r, enum node_rate_kind kind, struct bole_bytes who)
{
	return ask(r, kind, who, false);
}
