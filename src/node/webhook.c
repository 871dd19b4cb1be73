/* SPDX-License-Identifier: ISC */
#include "node/webhook.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"

enum {
	VERSION = 1,
	URL_LEN_AT = 2,
	CREATED_AT = 4,
	ID_AT = 12,
	SPACE_SLACK = 256 * 1024,
};

static const char global_key[] = "webhook.url";

/* -- configuration -- */

static bool names_url(const char *key)
{
	static const char prefix[] = "repo.";
	static const char suffix[] = ".webhook.url";
	size_t len = strlen(key);

	if (strcmp(key, global_key) == 0)
		return true;
	return len > sizeof prefix + sizeof suffix &&
	       strncmp(key, prefix, sizeof prefix - 1) == 0 &&
	       strcmp(key + len - (sizeof suffix - 1), suffix) == 0;
}

static struct webhook_target *find_target(struct node_webhook *hook, const char *text)
{
	for (size_t i = 0; i < hook->target_count; i++)
		if (strcmp(hook->targets[i].text, text) == 0)
			return &hook->targets[i];
	return NULL;
}

static void tag_of(const char *text, uint8_t tag[WEBHOOK_TAG_BYTES])
{
	struct bole_hash hash;
	struct bole_oid oid;

	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, text, strlen(text));
	bole_hash_final(&hash, &oid);
	memcpy(tag, oid.bytes, WEBHOOK_TAG_BYTES);
}

/* A URL may hold a secret of its receiver: it is not shown. */
static enum bole_status bad(struct node_webhook *hook, const char *why)
{
	bole_log(hook->node->platform, BOLE_LOG_ERROR, "config: webhook.url: %s", why);
	return BOLE_E_INVALID;
}

/* Unlike a repository's, its path may be none, and have a query. */
static bool parse_url(const char *text, struct client_url *out, const char **why)
{
	static const char scheme[] = "http://";
	char origin[CLIENT_HOST_MAX + 32];
	const char *path;

	*why = "only http:// is known";
	if (strncmp(text, scheme, sizeof scheme - 1) != 0)
		return false;
	size_t len = sizeof scheme - 1 + strcspn(text + sizeof scheme - 1, "/?");
	path = text + len;
	*why = "a host is too long";
	if (len + 3 > sizeof origin)
		return false;
	snprintf(origin, sizeof origin, "%.*s/x", (int)len, text);
	if (bole_client_url_parse(origin, out, why) != BOLE_OK)
		return false;
	*why = "a path holds a forbidden byte";
	for (const char *p = path; *p != '\0'; p++)
		if (*p <= ' ' || *p == 0x7f || *p == '#')
			return false;
	snprintf(out->path, sizeof out->path, "%s%s", *path == '/' ? "" : "/", path);
	return true;
}

static enum bole_status add_target(struct node_webhook *hook, const char *text)
{
	struct webhook_target *t = &hook->targets[hook->target_count];
	const char *why = "no URL";

	if (find_target(hook, text) != NULL)
		return BOLE_OK;
	if (hook->target_count == WEBHOOK_TARGETS_MAX)
		return bad(hook, "there are more than 64 of them");
	if (strlen(text) > WEBHOOK_URL_MAX)
		return bad(hook, "a URL is too long");
	if (!parse_url(text, &t->url, &why))
		return bad(hook, why);
	if (t->url.auth[0] != '\0')
		return bad(hook, "a URL has a user or password; use webhook.secret");
	t->hook = hook;
	memcpy(t->text, text, strlen(text) + 1);
	tag_of(text, t->tag);
	hook->target_count++;
	return BOLE_OK;
}

static enum bole_status read_targets(struct node_webhook *hook)
{
	struct bole_node *node = hook->node;
	const char *key;
	const char *value;
	size_t cursor = 0;

	hook->targets = bole_alloc_zeroed(node->platform->alloc, WEBHOOK_TARGETS_MAX + 1,
	                                  sizeof *hook->targets);
	if (hook->targets == NULL)
		return BOLE_E_NO_MEMORY;
	while (bole_config_next(node->config, &cursor, &key, &value))
		if (names_url(key) && *value != '\0')
			BOLE_TRY(add_target(hook, value));
	return BOLE_OK;
}

static enum bole_status read_number(struct node_webhook *hook, const char *key, uint64_t missing,
                                    uint64_t max, uint64_t *out)
{
	if (bole_config_u64(hook->node->config, key, missing, out) == BOLE_OK && *out > 0 &&
	    *out <= max)
		return BOLE_OK;
	bole_log(hook->node->platform, BOLE_LOG_ERROR,
	         "config: %s must be a number from 1 to %" PRIu64, key, max);
	return BOLE_E_INVALID;
}

static bool any_url(const struct bole_config *config)
{
	const char *key;
	const char *value;
	size_t cursor = 0;

	while (bole_config_next(config, &cursor, &key, &value))
		if (names_url(key) && *value != '\0')
			return true;
	return false;
}

/* -- what is pending -- */

/* Under node->lock, or before there is anybody else. */
static void note(struct node_webhook *hook, uint32_t repo)
{
	struct webhook_pending *p = hook->pending;

	while (p != NULL && p->repo != repo)
		p = p->next;
	hook->generation++;
	if (p == NULL) {
		p = bole_alloc_zeroed(hook->node->platform->alloc, 1, sizeof *p);
		if (p == NULL) /* found by the next push, or the next start */
			return;
		*p = (struct webhook_pending){.next = hook->pending, .repo = repo};
		hook->pending = p;
	}
	p->noted = hook->generation;
}

/* What is left from before. */
static enum bole_status look_back(struct node_webhook *hook, const struct bole_repo *repo)
{
	struct bole_store *store = hook->node->store;
	struct bole_bytes key = {NULL, 0};
	struct bole_snapshot *view = NULL;
	bool any = false;

	enum bole_status rc = bole_snapshot_open(store, repo->id, &view);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
	while ((rc = store->aux->next(view, BOLE_AUX_DURABLE, WEBHOOK_KIND, key, &key)) ==
	       BOLE_OK) {
		uint64_t number = key.len < 8 ? 0 : bole_get_be64(key.ptr);

		any = true;
		if (number > atomic_load(&hook->sequence))
			atomic_store(&hook->sequence, number);
	}
	bole_snapshot_close(view);
	if (any)
		note(hook, repo->id);
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status look_back_all(struct node_webhook *hook)
{
	struct bole_repo repo = {.name = ""};
	enum bole_status rc;

	while ((rc = bole_repo_next(hook->node->store, repo.name, &repo)) == BOLE_OK)
		BOLE_TRY(look_back(hook, &repo));
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status start(struct node_webhook *hook, struct webhook_target *t)
{
	struct bole_platform *platform = hook->node->platform;

	platform->ops->mutex_lock(platform, &hook->node->lock);
	hook->fibers++;
	platform->ops->mutex_unlock(platform, &hook->node->lock);
	enum bole_status rc = platform->ops->fiber_start(platform, "webhook", bole_webhook_main, t,
	                                                 NODE_SERVICE_STACK);
	if (rc == BOLE_OK)
		return BOLE_OK;
	platform->ops->mutex_lock(platform, &hook->node->lock);
	hook->fibers--;
	platform->ops->mutex_unlock(platform, &hook->node->lock);
	return rc;
}

enum bole_status bole_node_webhook_open(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;

	if (node->store->info.read_only || !any_url(node->config))
		return BOLE_OK;
	struct node_webhook *hook = bole_alloc_zeroed(platform->alloc, 1, sizeof *hook);
	if (hook == NULL)
		return BOLE_E_NO_MEMORY;
	hook->node = node;
	node->webhook = hook;
	platform->ops->cond_init(platform, &hook->work);
	BOLE_TRY(read_number(hook, "webhook.timeout", 10, 300, &hook->timeout_ns));
	BOLE_TRY(read_number(hook, "webhook.queue", 1000, 100000, &hook->queue_max));
	BOLE_TRY(read_number(hook, "webhook.maxAge", 259200, 31536000, &hook->age_s_max));
	hook->timeout_ns *= NODE_SECOND_NS;
	BOLE_TRY(read_targets(hook));
	BOLE_TRY(look_back_all(hook));
	for (size_t i = 0; i < hook->target_count; i++)
		BOLE_TRY(start(hook, &hook->targets[i]));
	return BOLE_OK;
}

bool bole_node_webhook_runs(const struct bole_node *node)
{
	return node->webhook != NULL && node->webhook->fibers > 0;
}

void bole_node_webhook_stop(struct bole_node *node)
{
	struct node_webhook *hook = node->webhook;
	uint64_t now = node->platform->ops->now_ns(node->platform);

	if (hook == NULL)
		return;
	node->platform->ops->cond_broadcast(node->platform, &hook->work);
	for (size_t i = 0; i < hook->target_count; i++)
		if (hook->targets[i].stream != NULL)
			hook->targets[i].stream->ops->set_deadline(hook->targets[i].stream, now,
			                                           now);
}

void bole_node_webhook_close(struct bole_node *node)
{
	struct bole_alloc *alloc = node->platform->alloc;
	struct node_webhook *hook = node->webhook;

	if (hook == NULL)
		return;
	while (hook->pending != NULL) {
		struct webhook_pending *p = hook->pending;

		hook->pending = p->next;
		bole_alloc_free(alloc, p, 1, sizeof *p);
	}
	bole_alloc_free(alloc, hook->targets, hook->targets == NULL ? 0 : WEBHOOK_TARGETS_MAX + 1,
	                sizeof *hook->targets);
	node->platform->ops->cond_destroy(node->platform, &hook->work);
	bole_alloc_free(alloc, hook, 1, sizeof *hook);
	node->webhook = NULL;
}

/* -- what a push leaves -- */

/* Every URL of a repository: start with *cursor 0. NULL: none is left. */
static const char *next_url(struct bole_node *node, const char *repo, size_t *cursor)
{
	char full[NODE_KEY_MAX];

	return bole_config_next_value(
	        node->config, bole_node_repo_key(node->config, repo, global_key, full), cursor);
}

const char *bole_webhook_secret(struct bole_node *node, const char *repo)
{
	char full[NODE_KEY_MAX];

	return bole_config_get(node->config,
	                       bole_node_repo_key(node->config, repo, "webhook.secret", full));
}

static void put_text(struct bole_buffer *out, const char *name, struct bole_bytes value)
{
	bole_buffer_format(out, "\"%s\":", name);
	bole_json_put(out, value);
}

static void put_id(struct bole_buffer *out, const char *name, bool absent,
                   const struct bole_oid *oid, uint8_t algo)
{
	struct bole_oid null = {.algo = algo};
	char hex[BOLE_OID_HEX_MAX + 1];

	bole_buffer_format(out, ",\"%s\":\"%s\"", name, bole_oid_format(absent ? &null : oid, hex));
}

/* The deletion of what is not there changes nothing. */
static size_t count_changes(const struct bole_ref_update *updates, size_t count)
{
	size_t changes = 0;

	for (size_t i = 0; i < count; i++)
		changes += updates[i].action != BOLE_REF_VERIFY;
	return changes;
}

static void put_updates(struct bole_buffer *out, uint8_t algo,
                        const struct bole_ref_update *updates, size_t count)
{
	const char *separator = "";

	bole_buffer_format(out, ",\"updates_total\":%zu,\"updates\":[",
	                   count_changes(updates, count));
	for (size_t i = 0; i < count && out->len < WEBHOOK_BODY_MAX - 8192; i++) {
		const struct bole_ref_update *u = &updates[i];

		if (u->action == BOLE_REF_VERIFY)
			continue;
		bole_buffer_format(out, "%s{", separator);
		separator = ",";
		put_text(out, "ref", u->name);
		put_id(out, "old", u->expect != BOLE_EXPECT_OID, &u->expected, algo);
		put_id(out, "new", u->action != BOLE_REF_SET, &u->oid, algo);
		bole_buffer_byte(out, '}');
	}
	bole_buffer_text(out, "]}");
}

static void put_body(struct bole_buffer *out, const struct node_push *push,
                     const struct bole_repo *repo, const uint8_t *id, int64_t now,
                     const struct bole_ref_update *updates, size_t count)
{
	char time[32];

	bole_buffer_text(out, "{\"event\":\"push\",\"delivery\":\"");
	for (size_t i = 0; i < WEBHOOK_ID_BYTES; i++)
		bole_buffer_format(out, "%02x", id[i]);
	bole_buffer_text(out, "\",");
	put_text(out, "repository", bole_bytes_z(repo->name));
	bole_buffer_format(out, ",\"object_format\":\"%s\",", bole_hash_name(repo->algo));
	if (push->user != NULL)
		put_text(out, "user", bole_bytes_z(push->user));
	else
		bole_buffer_text(out, "\"user\":null");
	bole_node_format_time(now, time, sizeof time);
	if (now != 0)
		bole_buffer_format(out, ",\"time\":\"%s\"", time);
	put_updates(out, repo->algo, updates, count);
}

/* Makes room for one more event for a URL: the oldest goes. */
static void make_room(struct node_webhook *hook, struct bole_tx *tx, const uint8_t *tag)
{
	static const struct bole_bytes none = {NULL, 0};
	const struct bole_aux_ops *aux = tx->store->aux;
	uint8_t oldest[WEBHOOK_KEY_BYTES];
	struct bole_bytes key = {NULL, 0};
	uint64_t count = 0;

	while (aux->next(tx->view, BOLE_AUX_DURABLE, WEBHOOK_KIND, key, &key) == BOLE_OK) {
		if (key.len != WEBHOOK_KEY_BYTES ||
		    memcmp(key.ptr + 8, tag, WEBHOOK_TAG_BYTES) != 0)
			continue;
		if (count++ == 0)
			memcpy(oldest, key.ptr, sizeof oldest);
	}
	if (count < hook->queue_max)
		return;
	struct bole_aux_key k = {BOLE_AUX_DURABLE, WEBHOOK_KIND, {oldest, sizeof oldest}};
	enum bole_status rc = aux->put(tx, &k, none);
	bole_log(hook->node->platform, BOLE_LOG_WARN,
	         "webhook: %s: the queue is full: the oldest event is dropped%s",
	         tx->view->repo.name, rc == BOLE_OK ? "" : ", or would be");
}

static enum bole_status put_event(struct node_webhook *hook, struct bole_tx *tx, const char *url,
                                  uint64_t number, bool again, struct bole_buffer *value)
{
	uint8_t bytes[WEBHOOK_KEY_BYTES];
	struct bole_aux_key key = {BOLE_AUX_DURABLE, WEBHOOK_KIND, {bytes, sizeof bytes}};
	size_t url_len = strlen(url);

	bole_put_be64(bytes, number);
	tag_of(url, bytes + 8);
	if (!again)
		make_room(hook, tx, bytes + 8);
	/* The URL goes behind the body, which is the same for all. */
	size_t len = value->len;
	bole_put_le16(value->ptr + URL_LEN_AT, (uint16_t)url_len);
	bole_buffer_append(value, url, url_len);
	enum bole_status rc = value->rc;
	if (rc == BOLE_OK)
		rc = tx->store->aux->put(tx, &key, bole_bytes_of(value->ptr, value->len));
	value->len = len;
	return rc;
}

static bool has_space(struct bole_node *node)
{
	struct bole_store_stats stats;

	/* What deletes on a full volume must not be refused because somebody is to be told. */
	return bole_store_stats(node->store, &stats) == BOLE_OK &&
	       stats.free_bytes > WEBHOOK_BODY_MAX + SPACE_SLACK;
}

void bole_node_webhook_stage(void *ctx, struct bole_tx *tx, const struct bole_ref_update *updates,
                             size_t count, bool again)
{
	struct node_push *push = ctx;
	struct bole_node *node = push->node;
	struct bole_platform *platform = node->platform;
	struct node_webhook *hook = node->webhook;
	struct bole_buffer value;
	uint8_t head[WEBHOOK_HEAD_BYTES] = {VERSION};
	size_t first = 0, at = 0;
	int64_t now = 0;

	if (hook == NULL || next_url(node, push->repo, &first) == NULL)
		return;
	/* What is staged already is replaced, even by nothing. */
	if (!push->staged && count_changes(updates, count) == 0)
		return;
	if (platform->ops->wall_s(platform, &now) != BOLE_OK)
		now = 0;
	if (!again)
		push->event = atomic_fetch_add(&hook->sequence, 1) + 1;
	platform->ops->random(platform, head + ID_AT, WEBHOOK_ID_BYTES);
	bole_put_le64(head + CREATED_AT, (uint64_t)now);
	bole_buffer_init(&value, &node->budget.alloc, WEBHOOK_BODY_MAX + WEBHOOK_URL_MAX);
	bole_buffer_append(&value, head, sizeof head);
	put_body(&value, push, &tx->view->repo, head + ID_AT, now, updates, count);
	enum bole_status rc = has_space(node) ? value.rc : BOLE_E_NO_SPACE;
	const char *url;
	while (rc == BOLE_OK && (url = next_url(node, push->repo, &at)) != NULL)
		if (*url != '\0')
			rc = put_event(hook, tx, url, push->event, again, &value);
	bole_buffer_release(&value);
	if (rc != BOLE_OK)
		bole_log(platform, BOLE_LOG_ERROR, "webhook: %s: an event is lost: %s", push->repo,
		         bole_status_text(rc));
	push->staged = true;
}

enum bole_status bole_webhook_event_decode(struct bole_bytes value, struct webhook_event *out)
{
	if (value.len < WEBHOOK_HEAD_BYTES || value.ptr[0] != VERSION)
		return BOLE_E_CORRUPT;
	size_t url = bole_get_le16(value.ptr + URL_LEN_AT);
	if (url > value.len - WEBHOOK_HEAD_BYTES)
		return BOLE_E_CORRUPT;
	size_t body = value.len - WEBHOOK_HEAD_BYTES - url;
	*out = (struct webhook_event){
	        .created_s = (int64_t)bole_get_le64(value.ptr + CREATED_AT),
	        .id = value.ptr + ID_AT,
	        .body = bole_bytes_of(value.ptr + WEBHOOK_HEAD_BYTES, body),
	        .url = bole_bytes_of(value.ptr + WEBHOOK_HEAD_BYTES + body, url),
	};
	return BOLE_OK;
}

void bole_node_webhook_note(struct bole_node *node, uint32_t repo)
{
	struct bole_platform *platform = node->platform;

	if (node->webhook == NULL)
		return;
	platform->ops->mutex_lock(platform, &node->lock);
	note(node->webhook, repo);
	platform->ops->cond_broadcast(platform, &node->webhook->work);
	platform->ops->mutex_unlock(platform, &node->lock);
}
