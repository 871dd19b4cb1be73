/* SPDX-License-Identifier: ISC */
/* Requests that found no memory, because others had it. They try again one at a time: the one that
 * has the turn keeps it until it has ended, so that they do not take from each other what each of
 * them needs whole. */
#include "base/check.h"
#include "node/internal.h"

enum { PAUSE_FIRST_MS = 20, PAUSE_MAX_MS = 500 };

static bool nap(struct node_hunger *h)
{
	struct bole_platform *platform = h->node->platform;
	uint64_t now = platform->ops->now_ns(platform);

	if (now >= h->until_ns || bole_node_connection_cancelled(h->connection))
		return false;
	platform->ops->sleep_until(platform, now + h->pause_ns);
	if (h->pause_ns < (uint64_t)PAUSE_MAX_MS * 1000000)
		h->pause_ns *= 2;
	return true;
}

static bool take_turn(struct node_hunger *h)
{
	bool taken = false;

	h->turn = atomic_compare_exchange_strong(&h->node->starving, &taken, true);
	return h->turn;
}

bool bole_node_starved(void *ctx)
{
	struct node_hunger *h = ctx;
	struct bole_platform *platform = h->node->platform;
	bool first = h->until_ns == 0;

	if (first) {
		h->pause_ns = (uint64_t)PAUSE_FIRST_MS * 1000000;
		h->until_ns = platform->ops->now_ns(platform) + h->node->options.silence_ns;
	}
	if (h->turn)
		/* Alone, there is nobody to wait for. */
		return atomic_load(&h->node->request_count) > 1 && nap(h);
	while (!take_turn(h))
		if (!nap(h))
			return false;
	h->pause_ns = (uint64_t)PAUSE_FIRST_MS * 1000000;
	return true;
}

void bole_node_hunger_end(struct node_hunger *h)
{
	if (h->turn)
		atomic_store(&h->node->starving, false);
	h->turn = false;
}
