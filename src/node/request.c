/* SPDX-License-Identifier: ISC */
/* Requests: may this be served, is there room for it, and the service on a fiber of its own. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/bitmap/cache.h"
#include "git/pack/cache.h"
#include "git/wire/pkt_line.h"
#include "node/internal.h"

enum {
	INPUT_BYTES = 32 * 1024,
	/* With less than this left nothing new is begun. */
	MEMORY_RESERVE = 1 << 20,
	FORMAT_LOOK =
	        1024, /* of the first packet: an old id, or the capabilities of a certificate */
};
/* In a full house: so long is a slow peer waited for, and so often is looked for the next one. */
#define BUSY_PATIENCE_NS (10 * NODE_SECOND_NS)
#define BUSY_LOOK_NS     (NODE_SECOND_NS / 2)

struct run {
	struct node_request *request;
	struct bole_service service;
	struct bole_service_policy policy;
	struct node_fetch_config fetch;
	struct node_push push;
	struct bole_input in;
	struct bole_output out;
	struct node_hunger hunger;
	struct bole_mutex lock;
	struct bole_cond changed;
	bool ended; /* under lock */
};

const char *bole_node_service_name(enum node_service service)
{
	switch (service) {
	case NODE_UPLOAD_PACK: return "upload-pack";
	case NODE_RECEIVE_PACK: return "receive-pack";
	case NODE_UPLOAD_ARCHIVE: return "upload-archive";
	case NODE_ARCHIVE: return "archive";
	case NODE_TASK: return "task";
	case NODE_DUMB: break;
	}
	return "file";
}

/* -- policy -- */

/* The format that an absent repository is advertised in. */
uint8_t bole_node_default_format(struct bole_node *node, const char *name)
{
	char full[NODE_KEY_MAX];
	const char *value =
	        bole_config_get(node->config, bole_node_repo_key(node->config, name,
	                                                         "init.defaultObjectFormat", full));

	return value != NULL && strcmp(value, "sha256") == 0 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;
}

/* Whoever may not see it is told what whoever asks for nothing is told. */
static enum bole_node_verdict hidden(const struct bole_node *node, const char *user)
{
	return user == NULL && bole_node_access_has_users(node->access) ? NODE_UNKNOWN
	                                                                : NODE_NOT_FOUND;
}

static enum bole_node_verdict push_verdict(struct bole_node *node, const char *user,
                                           const char *name, bool found)
{
	if (!bole_node_repo_bool(node, name, "receive.enable", false, false))
		return found ? NODE_READ_ONLY : NODE_NOT_FOUND;
	if (!bole_node_access_repo(node->access, user, name, NODE_WRITE)) {
		if (user == NULL && bole_node_access_has_users(node->access))
			return NODE_UNKNOWN;
		return found ? NODE_FORBIDDEN : NODE_NOT_FOUND;
	}
	if (found)
		return NODE_GRANTED;
	bool create = bole_node_repo_bool(node, name, "receive.create", false, false) &&
	              bole_node_access_repo(node->access, user, name, NODE_INIT);
	return create ? NODE_ABSENT : NODE_NOT_FOUND;
}

enum bole_node_verdict bole_node_verdict(struct bole_node *node, enum node_service service,
                                         const char *user, const char *name)
{
	struct bole_repo repo;

	if (!bole_node_access_repo(node->access, user, name, NODE_READ))
		return hidden(node, user);
	enum bole_status rc = bole_repo_find(node->store, name, &repo);
	if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
		return NODE_FAILED;
	bool found = rc == BOLE_OK;
	if (service != NODE_RECEIVE_PACK)
		return found ? NODE_GRANTED : NODE_NOT_FOUND;
	return push_verdict(node, user, name, found);
}

/* -- rates -- */

struct bole_bytes bole_node_address(const struct node_connection *c)
{
	const char *colon = strrchr(c->peer, ':');

	return bole_bytes_of(c->peer, colon == NULL ? strlen(c->peer) : (size_t)(colon - c->peer));
}

unsigned bole_node_throttle(struct node_connection *c, const char *user, const char *name)
{
	struct bole_platform *platform = c->node->platform;
	struct node_rates *rates = c->node->rates;
	unsigned wait = bole_node_rates_take(rates, NODE_RATE_ADDRESS, bole_node_address(c));

	if (wait == 0 && user != NULL)
		wait = bole_node_rates_take(rates, NODE_RATE_USER, bole_bytes_z(user));
	if (wait == 0)
		wait = bole_node_rates_take(rates, NODE_RATE_REPOSITORY, bole_bytes_z(name));
	bole_node_caps_name(c, user, name);
	if (wait > 0)
		return wait;
	platform->ops->mutex_lock(platform, &c->node->lock);
	if (bole_node_caps_reached(c))
		wait = NODE_CAPS_RETRY_S;
	platform->ops->mutex_unlock(platform, &c->node->lock);
	return wait;
}

/* -- room -- */

static bool has_room(const struct bole_node *node)
{
	size_t used = atomic_load(&node->budget.used);
	size_t reserve =
	        node->budget.limit / 4 < MEMORY_RESERVE ? node->budget.limit / 4 : MEMORY_RESERVE;

	return node->request_count < node->options.requests_max &&
	       node->budget.limit - reserve >= used;
}

/* With node->lock held: of the requests that only wait for their peers, the one that has done so
 * for longest ends, if that is too long. Without this, a handful of silent peers would keep
 * everybody out until they are cut. */
static void evict_slow(struct bole_node *node, uint64_t now)
{
	struct node_connection *slowest = NULL;
	uint64_t since = UINT64_MAX;

	for (struct node_connection *c = node->placed; c != NULL; c = c->next_placed) {
		uint64_t slow = atomic_load(&c->slow_since_ns);
		if (slow == 0 || slow >= since || atomic_load(&c->evicted))
			continue;
		slowest = c;
		since = slow;
	}
	if (slowest == NULL || since > now || now - since < BUSY_PATIENCE_NS)
		return;
	bole_node_connection_evict(slowest);
}

/* With node->lock held. */
static bool may_enter(const struct node_connection *c)
{
	return has_room(c->node) && !bole_node_caps_reached(c);
}

bool bole_node_enter(struct node_connection *c)
{
	struct bole_node *node = c->node;
	struct bole_platform *platform = node->platform;
	uint64_t now = platform->ops->now_ns(platform);
	uint64_t deadline = now + node->options.queue_ns;

	platform->ops->mutex_lock(platform, &node->lock);
	while (!may_enter(c) && !node->closing && now < deadline) {
		if (!has_room(node))
			evict_slow(node, now);
		uint64_t look = now + BUSY_LOOK_NS < deadline ? now + BUSY_LOOK_NS : deadline;
		(void)platform->ops->cond_wait(platform, &node->room, &node->lock, look);
		now = platform->ops->now_ns(platform);
	}
	bool entered = may_enter(c) && !node->closing;
	if (entered) {
		node->request_count++;
		bole_node_caps_enter(c);
	}
	platform->ops->mutex_unlock(platform, &node->lock);
	return entered;
}

void bole_node_leave(struct node_connection *c)
{
	struct bole_node *node = c->node;
	struct bole_platform *platform = node->platform;

	platform->ops->mutex_lock(platform, &node->lock);
	bole_node_caps_leave(c);
	node->request_count--;
	/* With caps not just anybody may go on now. */
	if (bole_node_caps_any(node))
		platform->ops->cond_broadcast(platform, &node->room);
	else
		platform->ops->cond_signal(platform, &node->room);
	platform->ops->mutex_unlock(platform, &node->lock);
}

/* -- the service -- */

static void fill_service(struct run *run)
{
	struct node_request *q = run->request;
	struct bole_node *node = q->connection->node;

	if (q->service == NODE_RECEIVE_PACK)
		bole_node_push_policy(node, q->user, q->name, &run->push, &run->policy);
	run->policy.fetch = run->fetch.policy;
	run->service.platform = node->platform;
	run->service.alloc = &q->budget.alloc;
	run->service.cache = node->cache;
	run->service.packs = node->packs;
	run->service.lists = node->lists;
	run->service.store = node->store;
	run->service.policy = &run->policy;
	run->service.in = &run->in;
	run->service.out = &run->out;
	run->service.version = q->version;
	run->service.stateless = q->stateless;
	run->service.advertise = q->advertise;
	run->service.cancelled = bole_node_connection_cancelled;
	run->service.cancelled_ctx = q->connection;
	run->service.waiting = bole_node_connection_between;
	run->service.waiting_ctx = q->connection;
	run->hunger = (struct node_hunger){.node = node, .connection = q->connection};
	run->service.starved = bole_node_starved;
	run->service.starved_ctx = &run->hunger;
	run->service.peer = q->connection->peer;
}

static enum bole_status call_service(struct run *run)
{
	const struct node_request *q = run->request;

	switch (q->service) {
	case NODE_UPLOAD_PACK: return bole_upload_pack(&run->service);
	case NODE_RECEIVE_PACK: return bole_receive_pack(&run->service);
	case NODE_UPLOAD_ARCHIVE: return bole_upload_archive(&run->service);
	case NODE_ARCHIVE: return bole_archive_get(&run->service, q->path, q->prefix, q->format);
	case NODE_TASK:
	case NODE_DUMB: break;
	}
	return bole_dumb_get(&run->service, q->path);
}

static void refuse(struct run *run, const char *text)
{
	char line[128];

	snprintf(line, sizeof line, "%04zxERR %s\n", strlen(text) + 9, text);
	bole_output_write(&run->out, line, strlen(line));
}

/* Whether hex digits of a SHA-256 id follow and end there. */
static bool long_id(struct bole_bytes text)
{
	struct bole_oid oid;
	size_t digits = 0;

	while (digits < text.len && text.ptr[digits] != ' ' && text.ptr[digits] != '\n')
		digits++;
	return bole_oid_parse((const char *)text.ptr, digits, BOLE_HASH_SHA256, &oid) == BOLE_OK;
}

/* The object format of a first packet: that of the id that a command, or "shallow", begins with; a
 * certificate has capabilities instead. Whatever is malformed will be refused as SHA-1. */
static uint8_t format_wanted(struct bole_input *in, struct bole_bytes first)
{
	static const char shallow[] = "shallow ";
	static const char cert[] = "push-cert";
	static const char format[] = " object-format=sha256";
	size_t len = 0;

	for (size_t i = 0; i < BOLE_PKT_HEAD_BYTES; i++) {
		uint8_t c = first.ptr[i] | ('a' ^ 'A');

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return BOLE_HASH_SHA1;
		len = len << 4 | (size_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	if (len <= BOLE_PKT_HEAD_BYTES ||
	    bole_input_need(in, len < FORMAT_LOOK ? len : FORMAT_LOOK, &first) != BOLE_OK)
		return BOLE_HASH_SHA1;
	struct bole_bytes line =
	        bole_bytes_of(first.ptr + BOLE_PKT_HEAD_BYTES,
	                      (len < first.len ? len : first.len) - BOLE_PKT_HEAD_BYTES);
	bool wide = false;

	if (bole_bytes_start(line, bole_bytes_z(shallow))) {
		wide = long_id(
		        bole_bytes_of(line.ptr + strlen(shallow), line.len - strlen(shallow)));
	} else if (bole_bytes_start(line, bole_bytes_z(cert))) {
		for (size_t i = 0; i + strlen(format) <= line.len && !wide; i++)
			wide = memcmp(line.ptr + i, format, strlen(format)) == 0;
	} else {
		wide = long_id(line);
	}
	return wide ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;
}

/* A push to a repository that is not there: it is made in the client's object format once a first
 * command has come. A probe (a lone flush packet) and a client that only looks make nothing. */
static enum bole_status call_absent(struct run *run)
{
	struct bole_service *s = &run->service;
	struct bole_bytes first;
	bool session = !s->stateless;

	if (s->advertise || session) {
		s->repo.algo = bole_node_default_format(run->request->connection->node,
		                                        run->request->name);
		s->advertise = true;
		BOLE_TRY(bole_receive_pack(s));
		BOLE_TRY(bole_output_flush(&run->out));
		if (!session)
			return BOLE_OK;
		s->advertise = false;
		s->stateless = true; /* it has been advertised */
	}
	enum bole_status rc = bole_input_need(&run->in, 4, &first);
	if (rc != BOLE_OK || memcmp(first.ptr, "0000", 4) == 0)
		return rc == BOLE_END ? BOLE_OK : rc;
	rc = bole_repo_create(s->store, run->request->name, format_wanted(&run->in, first),
	                      NODE_DEFAULT_HEAD, &s->repo);
	if (rc == BOLE_E_EXISTS) /* somebody else was quicker */
		rc = bole_repo_find(s->store, run->request->name, &s->repo);
	if (rc != BOLE_OK) {
		refuse(run, bole_status_text(rc));
		return rc;
	}
	return call_service(run);
}

static enum bole_status serve(struct run *run)
{
	struct node_request *q = run->request;
	struct bole_node *node = q->connection->node;
	enum bole_status rc = bole_repo_find(node->store, q->name, &run->service.repo);

	if (rc == BOLE_OK) {
		rc = call_service(run);
	} else if (rc == BOLE_E_NOT_FOUND &&
	           bole_node_verdict(node, q->service, q->user, q->name) == NODE_ABSENT) {
		run->service.repo = (struct bole_repo){0};
		snprintf(run->service.repo.name, sizeof run->service.repo.name, "%s", q->name);
		rc = call_absent(run);
	} else {
		refuse(run, bole_status_text(rc));
	}
	if (rc == BOLE_OK && q->service == NODE_RECEIVE_PACK && !q->advertise &&
	    run->service.repo.id != 0)
		bole_node_settle_head(node->platform, node->store, &run->service.repo,
		                      run->fetch.space);
	if (q->service == NODE_RECEIVE_PACK && !q->advertise)
		bole_git_cache_changed(node->cache, run->service.repo.id);
	if (q->service == NODE_RECEIVE_PACK && !q->advertise && run->service.repo.id != 0)
		bole_node_background_pushed(node, run->service.repo.id);
	if (run->service.refs_deleted + run->service.refs_moved > 0) {
		bole_pack_cache_changed(node->packs, run->service.repo.id);
		bole_node_background_note(node, run->service.repo.id,
		                          run->service.refs_deleted > 0);
	}
	if (run->push.staged)
		bole_node_webhook_note(node, run->service.repo.id);
	if (rc == BOLE_E_NO_SPACE)
		bole_node_background_wake(node);
	enum bole_status flushed = bole_output_flush(&run->out);
	return rc == BOLE_OK || rc == BOLE_END ? flushed : rc;
}

static void log_request(const struct run *run, uint64_t start_ns)
{
	const struct node_request *q = run->request;
	const struct node_connection *c = q->connection;
	struct bole_platform *platform = c->node->platform;
	uint64_t ms = (platform->ops->now_ns(platform) - start_ns) / 1000000;

	bole_log(platform, q->rc == BOLE_OK ? BOLE_LOG_INFO : BOLE_LOG_WARN,
	         "%s %s: %s %s%s v%d, in %" PRIu64 " out %" PRIu64 " bytes, %" PRIu64
	         " ms, %zu KiB: %s",
	         q->stateless ? "http" : "git", c->peer, bole_node_service_name(q->service),
	         q->name, q->advertise ? " refs" : "", q->version, run->in.consumed,
	         run->out.written, ms, atomic_load(&q->budget.peak) / 1024,
	         q->rc == BOLE_OK ? "ok" : bole_status_text(q->rc));
}

static void run_service(struct run *run)
{
	struct node_request *q = run->request;
	struct bole_node *node = q->connection->node;
	uint64_t start_ns = node->platform->ops->now_ns(node->platform);

	uint8_t *in = bole_alloc_array(&q->budget.alloc, INPUT_BYTES, 1);
	uint8_t *out = bole_alloc_array(&q->budget.alloc, NODE_OUTPUT_BYTES, 1);
	q->rc = BOLE_E_NO_MEMORY;
	if (in != NULL && out != NULL) {
		bole_input_init(&run->in, q->reader, in, INPUT_BYTES);
		bole_output_init(&run->out, q->writer, out, NODE_OUTPUT_BYTES);
		q->rc = bole_node_fetch_config_open(&run->fetch, &q->budget.alloc, node->config,
		                                    q->name, q->service == NODE_RECEIVE_PACK);
		if (q->rc == BOLE_OK) {
			fill_service(run);
			q->rc = serve(run);
			q->ended = q->rc == BOLE_OK && run->service.ended;
			bole_node_hunger_end(&run->hunger);
		} else {
			refuse(run, "the configuration of this repository cannot be read");
			(void)bole_output_flush(&run->out);
		}
		bole_node_fetch_config_close(&run->fetch);
	}
	bole_alloc_free(&q->budget.alloc, in, INPUT_BYTES, 1);
	bole_alloc_free(&q->budget.alloc, out, NODE_OUTPUT_BYTES, 1);
	log_request(run, start_ns);
}

static void run_main(void *arg)
{
	struct run *run = arg;
	struct node_request *q = run->request;
	struct bole_node *node = q->connection->node;
	struct bole_platform *platform = node->platform;

	bole_budget_init(&q->budget, &node->budget.alloc, (size_t)node->options.request_memory_max);
	if (q->service == NODE_TASK)
		q->task(q);
	else
		run_service(run);
	platform->ops->mutex_lock(platform, &run->lock);
	run->ended = true;
	platform->ops->cond_signal(platform, &run->changed);
	platform->ops->mutex_unlock(platform, &run->lock);
}

void bole_node_request_run(struct node_request *q)
{
	struct bole_node *node = q->connection->node;
	struct bole_platform *platform = node->platform;
	struct run *run = bole_alloc_zeroed(&node->budget.alloc, 1, sizeof *run);

	q->rc = BOLE_E_NO_MEMORY;
	if (run == NULL)
		return;
	run->request = q;
	platform->ops->mutex_init(platform, &run->lock);
	platform->ops->cond_init(platform, &run->changed);
	enum bole_status (*start)(struct bole_platform *, const char *, void (*)(void *), void *,
	                          size_t) = platform->ops->fiber_start_near != NULL
	                                            ? platform->ops->fiber_start_near
	                                            : platform->ops->fiber_start;

	if (start(platform, bole_node_service_name(q->service), run_main, run,
	          NODE_SERVICE_STACK) == BOLE_OK) {
		platform->ops->mutex_lock(platform, &run->lock);
		while (!run->ended)
			(void)platform->ops->cond_wait(platform, &run->changed, &run->lock,
			                               BOLE_NEVER);
		platform->ops->mutex_unlock(platform, &run->lock);
	}
	platform->ops->cond_destroy(platform, &run->changed);
	platform->ops->mutex_destroy(platform, &run->lock);
	bole_alloc_free(&node->budget.alloc, run, 1, sizeof *run);
}
