/* SPDX-License-Identifier: ISC */
/* Webhooks: who is told of a push, over HTTP, after it is done. What is to be told is a durable
 * auxiliary record that the push's own transaction writes, so it is there if and only if the
 * references moved; it goes when a receiver has said that it has it. So each event is delivered at
 * least once, in the order of pushes, also after a restart, and a push waits for nobody.
 *   webhook.c         configuration, and what a push leaves
 *   webhook_send.c    the fibers that deliver, one for each URL */
#ifndef BOLE_NODE_WEBHOOK_H
#define BOLE_NODE_WEBHOOK_H

#include "node/client/client.h"
#include "node/internal.h"

enum {
	WEBHOOK_KIND = 5, /* of auxiliary records */
	WEBHOOK_TARGETS_MAX = 64,
	WEBHOOK_URL_MAX = 2048,
	WEBHOOK_TAG_BYTES = 8,
	WEBHOOK_KEY_BYTES = 8 + WEBHOOK_TAG_BYTES,
	WEBHOOK_ID_BYTES = 16,
	WEBHOOK_HEAD_BYTES = 28,
	WEBHOOK_BODY_MAX = 256 * 1024, /* updates beyond are only counted */
	WEBHOOK_REFUSALS_MAX = 10,     /* of one event, by a receiver that answers */
	WEBHOOK_BACKOFF_MAX_S = 3600,
};

struct webhook_target {
	struct node_webhook *hook;
	struct client_url url;
	char text[WEBHOOK_URL_MAX + 1]; /* of the configuration */
	uint8_t tag[WEBHOOK_TAG_BYTES]; /* of it */
	struct bole_stream *stream;     /* under node->lock: to be cut at the end */
	/* The fiber's own: */
	unsigned failures; /* in a row */
	uint64_t refused;  /* the sequence of the event that was refused last */
	unsigned refusals; /* of it */
	uint64_t not_before_ns;
};

/* A repository whose queue may hold something. */
struct webhook_pending {
	struct webhook_pending *next;
	uint32_t repo;
	uint64_t noted; /* the generation */
};

struct node_webhook {
	struct bole_node *node;
	struct webhook_target *targets;
	size_t target_count;
	uint64_t timeout_ns;
	uint64_t queue_max; /* events of a repository and URL */
	uint64_t age_s_max;
	_Atomic uint64_t sequence; /* of the last event */
	/* Under node->lock: */
	struct webhook_pending *pending;
	uint64_t generation; /* of what was noted */
	unsigned fibers;
	struct bole_cond work;
};

/* An event as it is stored; all is borrowed from the value. */
struct webhook_event {
	int64_t created_s;
	const uint8_t *id; /* WEBHOOK_ID_BYTES */
	struct bole_bytes url;
	struct bole_bytes body;
};
BOLE_MUST_USE enum bole_status bole_webhook_event_decode(struct bole_bytes value,
                                                         struct webhook_event *out);
/* repo.<name>.webhook.secret, webhook.secret, or NULL. */
const char *bole_webhook_secret(struct bole_node *, const char *repo);
void bole_webhook_main(void *target);

#endif /* BOLE_NODE_WEBHOOK_H */
