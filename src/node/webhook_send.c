/* SPDX-License-Identifier: ISC */
/* Delivery. A fiber for each URL, so that a receiver that is slow or away holds up nobody else; of
 * one URL the events go in order. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hmac.h"
#include "base/memory.h"
#include "node/webhook.h"

enum {
	HEAD_MAX = CLIENT_PATH_MAX + CLIENT_HOST_MAX + 512,
	ANSWER_MAX = 4096,
	JITTER_PART = 4, /* of a wait, at most, on top of it */
};

/* -- one request -- */

/* With the stream registered it is cut when the node closes. False: it is closing. */
static bool set_stream(struct webhook_target *t, struct bole_stream *stream, uint64_t deadline)
{
	struct bole_node *node = t->hook->node;
	struct bole_platform *platform = node->platform;

	platform->ops->mutex_lock(platform, &node->lock);
	bool stopping = atomic_load(&node->stopping);
	t->stream = stopping ? NULL : stream;
	if (t->stream != NULL)
		stream->ops->set_deadline(stream, deadline, deadline);
	platform->ops->mutex_unlock(platform, &node->lock);
	return !stopping;
}

static void format_signature(const char *secret, struct bole_bytes body, char *dst, size_t cap)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_oid mac = {.algo = BOLE_HASH_SHA256};

	dst[0] = '\0';
	if (secret == NULL || *secret == '\0')
		return;
	bole_hmac_sha256(bole_bytes_z(secret), body, &mac);
	snprintf(dst, cap, "X-Hub-Signature-256: sha256=%s\r\n", bole_oid_format(&mac, hex));
}

static enum bole_status send_request(struct webhook_target *t, struct bole_stream *stream,
                                     const char *secret, const struct webhook_event *event)
{
	char host[CLIENT_HOST_MAX + 16];
	char signature[128];
	char id[2 * WEBHOOK_ID_BYTES + 1];
	char head[HEAD_MAX];

	for (size_t i = 0; i < WEBHOOK_ID_BYTES; i++)
		snprintf(id + 2 * i, 3, "%02x", event->id[i]);
	bole_client_url_host(&t->url, host, sizeof host);
	format_signature(secret, event->body, signature, sizeof signature);
	int len = snprintf(head, sizeof head,
	                   "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bole\r\n"
	                   "Content-Type: application/json\r\nContent-Length: %zu\r\n"
	                   "X-Bole-Event: push\r\nX-Bole-Delivery: %s\r\n%s"
	                   "Connection: close\r\n\r\n",
	                   t->url.path, host, event->body.len, id, signature);
	BOLE_ASSERT(len > 0 && (size_t)len < sizeof head);
	struct bole_bytes pieces[2] = {bole_bytes_of(head, (size_t)len), event->body};
	return stream->ops->writev(stream, pieces, 2);
}

/* The status of the answer, whose body is nobody's business. */
static enum bole_status read_answer(struct bole_stream *stream, unsigned *status)
{
	uint8_t bytes[ANSWER_MAX];
	struct client_answer answer;
	const char *why;
	size_t scanned = 0;
	size_t len = 0;

	for (;;) {
		size_t end = bole_http_head_end(bole_bytes_of(bytes, len), &scanned);
		if (end != 0) {
			BOLE_TRY(
			        bole_client_answer_parse(bole_bytes_of(bytes, end), &answer, &why));
			*status = answer.status;
			if (answer.status >= 200)
				return BOLE_OK;
			memmove(bytes, bytes + end, len - end); /* "100 Continue" and its like */
			len -= end;
			scanned = 0;
			continue;
		}
		size_t got = 0;
		if (len == sizeof bytes)
			return BOLE_E_LIMIT;
		enum bole_status rc =
		        stream->ops->read(stream, bytes + len, sizeof bytes - len, &got);
		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_E_CLOSED : rc;
		len += got;
	}
}

static enum bole_status post(struct webhook_target *t, const char *secret,
                             const struct webhook_event *event, unsigned *status)
{
	struct bole_platform *platform = t->hook->node->platform;
	uint64_t deadline = platform->ops->now_ns(platform) + t->hook->timeout_ns;
	char address[CLIENT_HOST_MAX + 16];
	struct bole_stream *stream = NULL;
	bool v6 = strchr(t->url.host, ':') != NULL;

	*status = 0;
	if (platform->ops->connect == NULL)
		return BOLE_E_UNSUPPORTED;
	snprintf(address, sizeof address, "%s%s%s:%u", v6 ? "[" : "", t->url.host, v6 ? "]" : "",
	         (unsigned)t->url.port);
	BOLE_TRY(platform->ops->connect(platform, address, deadline, &stream));
	enum bole_status rc = BOLE_E_CLOSED;
	if (set_stream(t, stream, deadline))
		rc = send_request(t, stream, secret, event);
	/* One that has refused already may not read all of it. */
	if (rc == BOLE_OK || rc == BOLE_E_CLOSED)
		rc = read_answer(stream, status);
	(void)set_stream(t, NULL, 0);
	stream->ops->close(stream);
	return rc;
}

/* -- the queue -- */

struct found {
	uint8_t key[WEBHOOK_KEY_BYTES];
	struct bole_repo repo;
	uint8_t *value;
	size_t len;
};

static bool known(const struct node_webhook *hook, const uint8_t *tag)
{
	for (size_t i = 0; i < hook->target_count; i++)
		if (memcmp(hook->targets[i].tag, tag, WEBHOOK_TAG_BYTES) == 0)
			return true;
	return false;
}

/* Is this event this fiber's? Those of URLs that are configured no more are the first one's. */
static bool mine(const struct webhook_target *t, struct bole_bytes key)
{
	if (key.len != WEBHOOK_KEY_BYTES)
		return false;
	if (memcmp(key.ptr + 8, t->tag, WEBHOOK_TAG_BYTES) == 0)
		return true;
	return t == t->hook->targets && !known(t->hook, key.ptr + 8);
}

/* The oldest event of a repository for this fiber; BOLE_END: there is none, *empty: for nobody. */
static enum bole_status find_event(struct webhook_target *t, uint32_t repo, struct found *out,
                                   bool *empty)
{
	struct bole_node *node = t->hook->node;
	const struct bole_aux_ops *aux = node->store->aux;
	struct bole_bytes key = {NULL, 0};
	struct bole_snapshot *view = NULL;

	*empty = true;
	enum bole_status rc = bole_snapshot_open(node->store, repo, &view);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_END : rc;
	while ((rc = aux->next(view, BOLE_AUX_DURABLE, WEBHOOK_KIND, key, &key)) == BOLE_OK) {
		*empty = false;
		if (mine(t, key))
			break;
	}
	if (rc == BOLE_OK) {
		struct bole_aux_key k = {BOLE_AUX_DURABLE, WEBHOOK_KIND, key};

		memcpy(out->key, key.ptr, sizeof out->key);
		out->repo = view->repo;
		rc = aux->get(view, &k, &node->budget.alloc, &out->value, &out->len);
	}
	bole_snapshot_close(view);
	return rc;
}

static enum bole_status remove_event(struct webhook_target *t, const struct found *f)
{
	static const struct bole_bytes none = {NULL, 0};
	struct bole_aux_key key = {BOLE_AUX_DURABLE, WEBHOOK_KIND, {f->key, sizeof f->key}};
	struct bole_tx *tx = NULL;
	size_t failed;

	BOLE_TRY(bole_tx_begin(t->hook->node->store, f->repo.id, &tx));
	enum bole_status rc = tx->store->aux->put(tx, &key, none);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

/* The first repository with a number >= from that may hold something; *seen: as of when. */
static bool next_pending(struct node_webhook *hook, uint32_t from, uint32_t *repo, uint64_t *seen)
{
	struct bole_node *node = hook->node;
	struct bole_platform *platform = node->platform;
	bool any = false;

	platform->ops->mutex_lock(platform, &node->lock);
	for (struct webhook_pending *p = hook->pending; p != NULL; p = p->next) {
		if (p->repo < from || (any && p->repo >= *repo))
			continue;
		any = true;
		*repo = p->repo;
		*seen = p->noted;
	}
	platform->ops->mutex_unlock(platform, &node->lock);
	return any;
}

/* Nothing was in its queue as of `seen`. */
static void forget(struct node_webhook *hook, uint32_t repo, uint64_t seen)
{
	struct bole_node *node = hook->node;
	struct bole_platform *platform = node->platform;

	platform->ops->mutex_lock(platform, &node->lock);
	for (struct webhook_pending **at = &hook->pending; *at != NULL; at = &(*at)->next) {
		struct webhook_pending *p = *at;

		if (p->repo != repo || p->noted != seen)
			continue;
		*at = p->next;
		bole_alloc_free(platform->alloc, p, 1, sizeof *p);
		break;
	}
	platform->ops->mutex_unlock(platform, &node->lock);
}

/* -- the course -- */

static bool too_old(const struct webhook_target *t, const struct webhook_event *event)
{
	struct bole_platform *platform = t->hook->node->platform;
	int64_t now;

	if (event->created_s == 0 || platform->ops->wall_s(platform, &now) != BOLE_OK ||
	    now < event->created_s)
		return false;
	return (uint64_t)(now - event->created_s) > t->hook->age_s_max;
}

static void wait_after_failure(struct webhook_target *t)
{
	struct bole_platform *platform = t->hook->node->platform;
	unsigned shift = t->failures < 12 ? t->failures : 12;
	uint64_t wait_s = UINT64_C(1) << shift;
	uint64_t random = 0;

	wait_s = wait_s > WEBHOOK_BACKOFF_MAX_S ? WEBHOOK_BACKOFF_MAX_S : wait_s;
	uint64_t wait_ns = wait_s * NODE_SECOND_NS;
	platform->ops->random(platform, &random, sizeof random);
	t->failures++;
	t->not_before_ns =
	        platform->ops->now_ns(platform) + wait_ns + random % (wait_ns / JITTER_PART);
}

static bool is_refusal(unsigned status)
{
	return status >= 400 && status < 500 && status != 408 && status != 429;
}

/* The answer counts: is the event done with? */
static bool judge(struct webhook_target *t, const struct found *f, enum bole_status rc,
                  unsigned status)
{
	struct bole_platform *platform = t->hook->node->platform;
	uint64_t number = bole_get_be64(f->key);

	if (rc == BOLE_OK && status >= 200 && status < 300) {
		bole_log(platform, BOLE_LOG_INFO,
		         "webhook: %s: event %" PRIu64 " to %s: %u, at attempt %u", f->repo.name,
		         number, t->url.host, status, t->failures + 1);
		t->failures = 0;
		return true;
	}
	if (rc == BOLE_OK && is_refusal(status)) {
		t->refusals = t->refused == number ? t->refusals + 1 : 1;
		t->refused = number;
		if (status == 410 || t->refusals >= WEBHOOK_REFUSALS_MAX) {
			bole_log(platform, BOLE_LOG_ERROR,
			         "webhook: %s: event %" PRIu64 " to %s is dropped: refused with %u",
			         f->repo.name, number, t->url.host, status);
			t->failures = 0;
			return true;
		}
	}
	wait_after_failure(t);
	if (rc == BOLE_OK)
		bole_log(platform, BOLE_LOG_WARN,
		         "webhook: %s: event %" PRIu64 " to %s: %u; tried again", f->repo.name,
		         number, t->url.host, status);
	else
		bole_log(platform, BOLE_LOG_WARN,
		         "webhook: %s: event %" PRIu64 " to %s: %s; tried again", f->repo.name,
		         number, t->url.host, bole_status_text(rc));
	return false;
}

static bool deliver(struct webhook_target *t, const struct found *f)
{
	struct bole_node *node = t->hook->node;
	struct webhook_event event;
	unsigned status = 0;

	enum bole_status rc = bole_webhook_event_decode(bole_bytes_of(f->value, f->len), &event);
	const char *why = rc != BOLE_OK ? "it cannot be read"
	                  : memcmp(f->key + 8, t->tag, WEBHOOK_TAG_BYTES) != 0
	                          ? "its URL is configured no more"
	                  : too_old(t, &event) ? "it is too old"
	                                       : NULL;
	if (why != NULL) {
		bole_log(node->platform, BOLE_LOG_ERROR,
		         "webhook: %s: event %" PRIu64 " is dropped: %s", f->repo.name,
		         bole_get_be64(f->key), why);
		return true;
	}
	rc = post(t, bole_webhook_secret(node, f->repo.name), &event, &status);
	if (atomic_load(&node->stopping) && rc != BOLE_OK)
		return false;
	return judge(t, f, rc, status);
}

/* One event. BOLE_END: there is none. Else the fiber may have to wait. */
static enum bole_status work(struct webhook_target *t)
{
	struct node_webhook *hook = t->hook;
	struct found f;
	uint32_t repo = 0;
	uint64_t seen = 0;
	bool empty;

	for (uint32_t from = 0; next_pending(hook, from, &repo, &seen); from = repo + 1) {
		enum bole_status rc = find_event(t, repo, &f, &empty);
		if (rc == BOLE_END) {
			if (empty)
				forget(hook, repo, seen);
			if (repo == UINT32_MAX)
				break;
			continue;
		}
		if (rc == BOLE_OK) {
			bool done = deliver(t, &f);
			bole_alloc_free(&hook->node->budget.alloc, f.value, f.len, 1);
			rc = done ? remove_event(t, &f) : BOLE_OK;
		}
		if (rc != BOLE_OK) {
			bole_log(hook->node->platform, BOLE_LOG_WARN, "webhook: the queue: %s",
			         bole_status_text(rc));
			wait_after_failure(t);
		}
		return BOLE_OK;
	}
	return BOLE_END;
}

/* Until something is noted behind *seen (idle), or its time has come. */
static void wait_for_work(struct webhook_target *t, uint64_t *seen, bool idle)
{
	struct bole_node *node = t->hook->node;
	struct bole_platform *platform = node->platform;
	uint64_t until = idle ? BOLE_NEVER : t->not_before_ns;

	platform->ops->mutex_lock(platform, &node->lock);
	while (!atomic_load(&node->stopping) && (!idle || t->hook->generation == *seen) &&
	       platform->ops->now_ns(platform) < until)
		(void)platform->ops->cond_wait(platform, &t->hook->work, &node->lock, until);
	*seen = t->hook->generation;
	platform->ops->mutex_unlock(platform, &node->lock);
}

void bole_webhook_main(void *arg)
{
	struct webhook_target *t = arg;
	struct bole_node *node = t->hook->node;
	struct bole_platform *platform = node->platform;
	uint64_t seen = 0;

	/* What was noted before `seen` was read is looked at now. */
	wait_for_work(t, &seen, true);
	while (!atomic_load(&node->stopping)) {
		bool idle = work(t) == BOLE_END;

		if (idle || t->not_before_ns > platform->ops->now_ns(platform))
			wait_for_work(t, &seen, idle);
	}
	platform->ops->mutex_lock(platform, &node->lock);
	t->hook->fibers--;
	platform->ops->cond_broadcast(platform, &node->changed);
	platform->ops->mutex_unlock(platform, &node->lock);
}
