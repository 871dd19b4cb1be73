/* SPDX-License-Identifier: ISC */
/* The node: configuration, listeners, start and close. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/bitmap/cache.h"
#include "git/pack/cache.h"
#include "git/refs/cache.h"
#include "node/internal.h"

enum {
	ACCEPT_STACK = 32 * 1024,
	PACKS_PART = 8, /* of node.memory that packs which were sent may take */
	CACHE_PART = 4, /* of node.memory that indexes of repositories may take */
	LISTS_PART = 8, /* of node.memory that listings of references may take */
};

/* -- configuration -- */

struct option {
	const char *key;
	uint64_t missing;
	uint64_t unit;
	uint64_t min;
	uint64_t max;
	size_t offset; /* in struct node_options */
};

#define OPTION(key, field, missing, unit, min, max)                                \
	{                                                                          \
		key, missing, unit, min, max, offsetof(struct node_options, field) \
	}

static const struct option options[] = {
        OPTION("node.headTimeout", head_ns, 10, NODE_SECOND_NS, 1, 3600),
        OPTION("node.idleTimeout", idle_ns, 60, NODE_SECOND_NS, 1, 86400),
        OPTION("node.silenceTimeout", silence_ns, 120, NODE_SECOND_NS, 1, 86400),
        OPTION("node.queueTimeout", queue_ns, 20, NODE_SECOND_NS, 0, 3600),
        OPTION("node.connections", connections_max, 512, 1, 1, 1 << 20),
        OPTION("node.requests", requests_max, 64, 1, 1, 1 << 16),
        OPTION("node.memory", memory_max, (uint64_t)512 << 20, 1, 1 << 20, (uint64_t)1 << 44),
        OPTION("node.requestMemory", request_memory_max, 0, 1, 0, (uint64_t)1 << 44),
        OPTION("node.fetchBody", fetch_body_max, 16 << 20, 1, 65536, (uint64_t)1 << 32),
        OPTION("limit.addressAtOnce", at_once[NODE_RATE_ADDRESS], 0, 1, 0, 1 << 16),
        OPTION("limit.userAtOnce", at_once[NODE_RATE_USER], 0, 1, 0, 1 << 16),
        OPTION("limit.repositoryAtOnce", at_once[NODE_RATE_REPOSITORY], 0, 1, 0, 1 << 16),
        OPTION("gc.share", gc_share, 10, 1, 0, 1000),
        OPTION("gc.delay", gc_delay_ns, 60, NODE_SECOND_NS, 0, 86400),
        OPTION("gc.period", gc_period_ns, 3600, NODE_SECOND_NS, 0, 31536000),
        OPTION("repack.packs", repack_packs, 8, 1, 2, 1000000),
        OPTION("repack.period", repack_period_ns, 600, NODE_SECOND_NS, 0, 31536000),
        OPTION("repack.delay", repack_delay_ns, 15, NODE_SECOND_NS, 0, 86400),
        OPTION("repack.rawBytes", repack_raw_bytes, 1 << 30, 1, 0, (uint64_t)1 << 40),
};

static enum bole_status read_options(struct bole_node *node)
{
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		const struct option *o = &options[i];
		uint64_t value = 0;
		enum bole_status rc = bole_config_u64(node->config, o->key, o->missing, &value);
		if (rc != BOLE_OK || value < o->min || value > o->max) {
			bole_log(node->platform, BOLE_LOG_ERROR,
			         "config: %s must be a number from %" PRIu64 " to %" PRIu64, o->key,
			         o->min, o->max);
			return BOLE_E_INVALID;
		}
		value *= o->unit;
		memcpy((uint8_t *)&node->options + o->offset, &value, sizeof value);
	}
	/* One request never takes it all, so that small ones go on beside a large one. */
	uint64_t half = node->options.memory_max / 4 * 3;
	if (node->options.request_memory_max == 0 || node->options.request_memory_max > half)
		node->options.request_memory_max = half;
	const struct {
		const char *key;
		bool *value;
	} words[] = {
	        {"gc.auto", &node->options.gc_auto},
	        {"repack.auto", &node->options.repack_auto},
	};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (bole_config_bool(node->config, words[i].key, true, words[i].value) == BOLE_OK)
			continue;
		bole_log(node->platform, BOLE_LOG_ERROR, "config: %s must be true or false",
		         words[i].key);
		return BOLE_E_INVALID;
	}
	return BOLE_OK;
}

static enum bole_status check_words(struct bole_node *node)
{
	static const char *const keys[] = {
	        "receive.enable",
	        "receive.create",
	        "receive.denyNonFastForwards",
	        "receive.denyDeletes",
	        "receive.shallowUpdate",
	        "receive.denyDeleteCurrent",
	        "receive.fsckObjects",
	        "receive.advertisePushOptions",
	};
	bool value = false;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		if (bole_config_bool(node->config, keys[i], false, &value) == BOLE_OK)
			continue;
		bole_log(node->platform, BOLE_LOG_ERROR, "config: %s must be true or false",
		         keys[i]);
		return BOLE_E_INVALID;
	}
	const char *format = bole_config_get(node->config, "init.defaultObjectFormat");
	if (format == NULL || strcmp(format, "sha1") == 0 || strcmp(format, "sha256") == 0)
		return BOLE_OK;
	bole_log(node->platform, BOLE_LOG_ERROR,
	         "config: init.defaultObjectFormat must be sha1 or sha256");
	return BOLE_E_INVALID;
}

/* -- listening -- */

static void accept_all(struct bole_node *node, struct bole_listener *listener,
                       void (*serve)(struct node_connection *))
{
	struct bole_platform *platform = node->platform;
	struct bole_stream *stream = NULL;

	for (;;) {
		enum bole_status rc = listener->ops->accept(listener, &stream);
		if (rc == BOLE_OK) {
			bole_node_connection_start(node, stream, serve);
			platform->ops->yield(platform); /* a burst must not hold up who is in */
			continue;
		}
		if (rc == BOLE_E_CLOSED)
			break;
		bole_log(platform, BOLE_LOG_WARN, "accept: %s", bole_status_text(rc));
		platform->ops->sleep_until(platform,
		                           platform->ops->now_ns(platform) +
		                                   NODE_ACCEPT_PAUSE_MS * NODE_SECOND_NS / 1000);
	}
	platform->ops->mutex_lock(platform, &node->lock);
	node->acceptors--;
	platform->ops->cond_broadcast(platform, &node->changed);
	platform->ops->mutex_unlock(platform, &node->lock);
}

static void accept_http(void *arg)
{
	struct bole_node *node = arg;

	accept_all(node, node->http, bole_node_http_serve);
}

static void accept_git(void *arg)
{
	struct bole_node *node = arg;

	accept_all(node, node->git, bole_node_gitd_serve);
}

/* Opens one listener by its key and starts its fiber. */
static enum bole_status listen_on(struct bole_node *node, const char *key, const char *missing,
                                  struct bole_listener **place, void (*fn)(void *))
{
	struct bole_platform *platform = node->platform;
	const char *address = bole_config_get(node->config, key);

	if (address == NULL)
		address = missing;
	if (strcmp(address, "off") == 0)
		return BOLE_OK;
	if (platform->ops->listen == NULL)
		return BOLE_E_UNSUPPORTED;
	enum bole_status rc = platform->ops->listen(platform, address, place);
	if (rc != BOLE_OK) {
		bole_log(platform, BOLE_LOG_ERROR, "%s: cannot listen on %s: %s", key, address,
		         rc == BOLE_E_BUSY      ? "the port is taken"
		         : rc == BOLE_E_INVALID ? "no such address here"
		                                : bole_status_text(rc));
		*place = NULL;
		return rc;
	}
	platform->ops->mutex_lock(platform, &node->lock);
	node->acceptors++;
	platform->ops->mutex_unlock(platform, &node->lock);
	rc = platform->ops->fiber_start(platform, "accept", fn, node, ACCEPT_STACK);
	if (rc == BOLE_OK)
		return BOLE_OK;
	platform->ops->mutex_lock(platform, &node->lock);
	node->acceptors--;
	platform->ops->mutex_unlock(platform, &node->lock);
	return rc;
}

enum bole_status bole_node_start(struct bole_platform *platform, struct bole_store *store,
                                 const struct bole_config *config, struct bole_node **out)
{
	return bole_node_start_hooked(platform, store, config, NULL, out);
}

enum bole_status bole_node_start_hooked(struct bole_platform *platform, struct bole_store *store,
                                        const struct bole_config *config,
                                        const struct bole_hooks *hooks, struct bole_node **out)
{
	struct bole_node *node = bole_alloc_zeroed(platform->alloc, 1, sizeof *node);

	*out = NULL;
	if (node == NULL)
		return BOLE_E_NO_MEMORY;
	node->platform = platform;
	node->store = store;
	node->config = config;
	node->hooks = hooks;
	node->started_ns = platform->ops->now_ns(platform);
	atomic_init(&node->cut_ns, BOLE_NEVER);
	platform->ops->mutex_init(platform, &node->lock);
	platform->ops->cond_init(platform, &node->changed);
	platform->ops->cond_init(platform, &node->room);
	platform->ops->cond_init(platform, &node->work);
	enum bole_status rc = read_options(node);
	if (rc == BOLE_OK)
		rc = check_words(node);
	if (rc == BOLE_OK)
		rc = bole_node_access_open(platform, platform->alloc, config, &node->access);
	if (rc == BOLE_OK)
		rc = bole_node_rates_open(platform, platform->alloc, config, &node->rates);
	if (rc == BOLE_OK && config != NULL)
		rc = bole_node_fetch_config_check(platform, config);
	if (rc == BOLE_OK)
		rc = bole_node_push_config(node);
	bole_budget_init(&node->budget, platform->alloc, (size_t)node->options.memory_max);
	if (rc == BOLE_OK)
		rc = bole_git_cache_open(platform, &node->budget.alloc,
		                         (size_t)(node->options.memory_max / CACHE_PART),
		                         &node->cache);
	if (rc == BOLE_OK)
		rc = bole_pack_cache_open(platform, &node->budget.alloc,
		                          (size_t)(node->options.memory_max / PACKS_PART),
		                          &node->packs);
	if (rc == BOLE_OK)
		rc = bole_ref_cache_open(platform, &node->budget.alloc,
		                         (size_t)(node->options.memory_max / LISTS_PART),
		                         &node->lists);
	if (rc == BOLE_OK)
		rc = bole_node_lfs_open(node);
	if (rc == BOLE_OK)
		rc = bole_node_webhook_open(node);
	/* Before the first request, which may have something for it. */
	if (rc == BOLE_OK)
		rc = bole_node_background_start(node);
	if (rc == BOLE_OK)
		rc = listen_on(node, "http.listen", "127.0.0.1:8080", &node->http, accept_http);
	if (rc == BOLE_OK)
		rc = listen_on(node, "git.listen", "127.0.0.1:9418", &node->git, accept_git);
	if (rc != BOLE_OK) {
		bole_node_close(node, 0);
		return rc;
	}
	*out = node;
	return BOLE_OK;
}

uint16_t bole_node_http_port(const struct bole_node *node)
{
	return node->http == NULL ? 0 : node->http->ops->port(node->http);
}

uint16_t bole_node_git_port(const struct bole_node *node)
{
	return node->git == NULL ? 0 : node->git->ops->port(node->git);
}

/* -- close -- */

/* With node->lock held: ends waiting that has nothing to wait for. */
static void cut_connections(struct bole_node *node, bool all)
{
	uint64_t now = node->platform->ops->now_ns(node->platform);

	for (struct node_connection *c = node->connections; c != NULL; c = c->next) {
		if (all || c->idle || c->between)
			c->stream->ops->set_deadline(c->stream, now, now);
	}
}

void bole_node_close(struct bole_node *node, uint64_t deadline_ns)
{
	struct bole_platform *platform = node == NULL ? NULL : node->platform;
	bool cut = false;

	if (node == NULL)
		return;
	if (node->http != NULL)
		node->http->ops->shutdown(node->http);
	if (node->git != NULL)
		node->git->ops->shutdown(node->git);
	platform->ops->mutex_lock(platform, &node->lock);
	node->closing = true;
	atomic_store(&node->stopping, true);
	platform->ops->cond_broadcast(platform, &node->work);
	atomic_store(&node->cut_ns, deadline_ns);
	cut_connections(node, false);
	bole_node_webhook_stop(node);
	platform->ops->cond_broadcast(platform, &node->room);
	while (node->acceptors > 0 || node->connection_count > 0 || node->background_runs ||
	       bole_node_webhook_runs(node)) {
		uint64_t until = cut ? BOLE_NEVER : deadline_ns;
		enum bole_status rc =
		        platform->ops->cond_wait(platform, &node->changed, &node->lock, until);
		if (rc == BOLE_E_TIMEOUT && !cut) {
			cut = true;
			cut_connections(node, true);
		}
	}
	platform->ops->mutex_unlock(platform, &node->lock);
	if (node->http != NULL)
		node->http->ops->close(node->http);
	if (node->git != NULL)
		node->git->ops->close(node->git);
	bole_node_background_free(node);
	bole_node_lfs_close(node);
	bole_node_webhook_close(node);
	bole_git_cache_close(node->cache);
	bole_pack_cache_close(node->packs);
	bole_ref_cache_close(node->lists);
	bole_node_push_config_close(node);
	bole_node_rates_close(node->rates);
	bole_node_access_close(node->access);
	BOLE_ASSERT(atomic_load(&node->budget.used) == 0);
	platform->ops->cond_destroy(platform, &node->work);
	platform->ops->cond_destroy(platform, &node->room);
	platform->ops->cond_destroy(platform, &node->changed);
	platform->ops->mutex_destroy(platform, &node->lock);
	bole_alloc_free(platform->alloc, node, 1, sizeof *node);
}
