/* SPDX-License-Identifier: ISC */
/* What the configuration says of pushes: the receive keys, of all repositories or of one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/sort.h"
#include "node/internal.h"

enum {
	CERT_SLOP_MAX = 86400,
	SKIP_MAX = 4096,
};

/* -- values with a repository's own before all others' -- */

const char *bole_node_repo_key(const struct bole_config *config, const char *name, const char *key,
                               char full[NODE_KEY_MAX])
{
	const struct bole_bytes words[] = {bole_bytes_z("repo."), bole_bytes_z(name),
	                                   bole_bytes_z("."), bole_bytes_z(key)};
	size_t len = 0;

	if (!bole_config_section(config, "repo"))
		return key;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (words[i].len >= NODE_KEY_MAX - len)
			return key;
		memcpy(full + len, words[i].ptr, words[i].len);
		len += words[i].len;
	}
	full[len] = '\0';
	return bole_config_get(config, full) != NULL ? full : key;
}

bool bole_node_repo_bool(struct bole_node *node, const char *name, const char *key, bool missing,
                         bool strict)
{
	char full[NODE_KEY_MAX];
	bool value = false;

	key = bole_node_repo_key(node->config, name, key, full);
	if (bole_config_bool(node->config, key, missing, &value) == BOLE_OK)
		return value;
	bole_log(node->platform, BOLE_LOG_WARN, "config: %s is not a boolean", key);
	return strict;
}

/* What cannot be read counts as the default. */
static uint64_t repo_u64(struct bole_node *node, const char *name, const char *key)
{
	char full[NODE_KEY_MAX];
	uint64_t value = 0;

	key = bole_node_repo_key(node->config, name, key, full);
	if (bole_config_u64(node->config, key, 0, &value) == BOLE_OK)
		return value;
	bole_log(node->platform, BOLE_LOG_WARN, "config: %s is not a number", key);
	return 0;
}

/* -- fsck -- */

static const char fsck_prefix[] = "receive.fsck.";

/* One "receive.fsck.<id> = <severity>" into options, wherever its key came from. */
static enum bole_status set_severity(struct bole_node *node, struct bole_fsck_options *options,
                                     const char *id, const char *value)
{
	if (bole_fsck_set(options, bole_bytes_z(id), bole_bytes_z(value)) == BOLE_OK)
		return BOLE_OK;
	bole_log(node->platform, BOLE_LOG_ERROR,
	         "config: receive.fsck.%s = %s: no such id, or no such severity (error, warn, "
	         "ignore; fatal ones stay errors)",
	         id, value);
	return BOLE_E_INVALID;
}

static const char *after(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

/* The id of a key "receive.fsck.<id>", or of "repo.<name>.receive.fsck.<id>" for this repository;
 * name NULL: of any. */
static const char *severity_id(const char *key, const char *name)
{
	const char *id = NULL;

	if (name == NULL) {
		const char *at = strstr(key, ".receive.fsck.");

		if (after(key, "repo.") != NULL && at != NULL)
			id = at + strlen(".receive.fsck.");
	} else {
		const char *rest = after(key, "repo.");
		size_t len = strlen(name);

		if (rest != NULL && strncmp(rest, name, len) == 0 && rest[len] == '.')
			id = after(rest + len + 1, fsck_prefix);
	}
	return id;
}

static int compare_oids(const void *a, const void *b)
{
	return bole_oid_compare(a, b);
}

static enum bole_status add_skip(struct bole_node *node, const char *value)
{
	size_t len = strlen(value);
	uint8_t algo =
	        len == 2 * bole_hash_bytes(BOLE_HASH_SHA256) ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;

	if (node->fsck_skip == NULL)
		node->fsck_skip =
		        bole_alloc_zeroed(node->platform->alloc, SKIP_MAX, sizeof *node->fsck_skip);
	if (node->fsck_skip == NULL)
		return BOLE_E_NO_MEMORY;
	if (node->fsck_skip_count < SKIP_MAX &&
	    bole_oid_parse(value, len, algo, &node->fsck_skip[node->fsck_skip_count]) == BOLE_OK) {
		node->fsck_skip_count++;
		return BOLE_OK;
	}
	bole_log(node->platform, BOLE_LOG_ERROR,
	         "config: receive.fsck.skip is no object id, or there are more than %d",
	         (int)SKIP_MAX);
	return BOLE_E_INVALID;
}

static enum bole_status take_entry(struct bole_node *node, const char *key, const char *value)
{
	struct bole_fsck_options scratch = node->fsck;
	const char *id = after(key, fsck_prefix);

	if (id != NULL && strcmp(id, "skip") == 0)
		return add_skip(node, value);
	if (id != NULL)
		return set_severity(node, &node->fsck, id, value);
	id = severity_id(key, NULL);
	return id == NULL ? BOLE_OK : set_severity(node, &scratch, id, value);
}

static enum bole_status check_numbers(struct bole_node *node)
{
	static const char *const keys[] = {"receive.maxInputSize",  "receive.maxObjectSize",
	                                   "receive.maxInflated",   "receive.maxObjects",
	                                   "receive.maxDeltaDepth", "receive.maxTime",
	                                   "receive.certNonceSlop"};
	uint64_t value;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		if (bole_config_u64(node->config, keys[i], 0, &value) == BOLE_OK)
			continue;
		bole_log(node->platform, BOLE_LOG_ERROR, "config: %s must be a number", keys[i]);
		return BOLE_E_INVALID;
	}
	return BOLE_OK;
}

enum bole_status bole_node_push_config(struct bole_node *node)
{
	const char *key;
	const char *value;
	size_t cursor = 0;

	bole_fsck_options_init(&node->fsck, BOLE_FSCK_PUSH);
	BOLE_TRY(check_numbers(node));
	while (bole_config_next(node->config, &cursor, &key, &value))
		BOLE_TRY(take_entry(node, key, value));
	BOLE_TRY(bole_sort(node->platform, node->platform->alloc, node->fsck_skip,
	                   node->fsck_skip_count, sizeof *node->fsck_skip, compare_oids));
	node->fsck.skip = node->fsck_skip;
	node->fsck.skip_count = node->fsck_skip_count;
	return BOLE_OK;
}

void bole_node_push_config_close(struct bole_node *node)
{
	bole_alloc_free(node->platform->alloc, node->fsck_skip,
	                node->fsck_skip == NULL ? 0 : SKIP_MAX, sizeof *node->fsck_skip);
}

/* All was readable at the start. */
static void own_severities(struct node_push *push)
{
	const char *key;
	const char *value;
	size_t cursor = 0;

	while (bole_config_next(push->node->config, &cursor, &key, &value)) {
		const char *id = severity_id(key, push->repo);

		if (id != NULL)
			(void)set_severity(push->node, &push->fsck, id, value);
	}
}

/* -- the policy -- */

static bool may(void *ctx, struct bole_bytes name, enum bole_push_action action)
{
	const struct node_push *push = ctx;
	enum node_right right = NODE_UPDATE;

	switch (action) {
	case BOLE_PUSH_CREATE: right = NODE_CREATE; break;
	case BOLE_PUSH_UPDATE: right = NODE_UPDATE; break;
	case BOLE_PUSH_DELETE: right = NODE_DELETE; break;
	case BOLE_PUSH_FORCE: right = NODE_FORCE; break;
	}
	return bole_node_access_ref(push->node->access, push->user, push->repo, name, right);
}

static void fill_limits(struct bole_node *node, const char *name, struct bole_ingest_limits *out)
{
	uint64_t depth = repo_u64(node, name, "receive.maxDeltaDepth");
	uint64_t seconds = repo_u64(node, name, "receive.maxTime");

	out->pack_bytes_max = repo_u64(node, name, "receive.maxInputSize");
	out->object_bytes_max = repo_u64(node, name, "receive.maxObjectSize");
	out->inflated_bytes_max = repo_u64(node, name, "receive.maxInflated");
	out->objects_max = repo_u64(node, name, "receive.maxObjects");
	out->delta_depth_max =
	        depth > BOLE_DELTA_DEPTH_MAX ? BOLE_DELTA_DEPTH_MAX : (uint32_t)depth;
	out->time_ns_max =
	        seconds > UINT64_MAX / NODE_SECOND_NS ? UINT64_MAX : seconds * NODE_SECOND_NS;
}

void bole_node_push_policy(struct bole_node *node, const char *user, const char *name,
                           struct node_push *push, struct bole_service_policy *out)
{
	char key[NODE_KEY_MAX];

	*push = (struct node_push){.node = node, .user = user, .repo = name, .fsck = node->fsck};
	if (!bole_node_repo_bool(node, name, "receive.fsckObjects", true, true)) {
		bole_fsck_options_init(&push->fsck, BOLE_FSCK_STRUCTURE);
		push->fsck.skip = node->fsck.skip;
		push->fsck.skip_count = node->fsck.skip_count;
	}
	own_severities(push);
	out->receive_enable = bole_node_repo_bool(node, name, "receive.enable", false, false);
	out->deny_non_fast_forward =
	        bole_node_repo_bool(node, name, "receive.denyNonFastForwards", false, true);
	out->deny_delete = bole_node_repo_bool(node, name, "receive.denyDeletes", false, true);
	out->fsck = &push->fsck;
	fill_limits(node, name, &out->ingest);
	uint64_t slop = repo_u64(node, name, "receive.certNonceSlop");
	out->push = (struct bole_push_policy){
	        .no_options = !bole_node_repo_bool(node, name, "receive.advertisePushOptions", true,
	                                           true),
	        .session_id =
	                bole_node_repo_bool(node, name, "transfer.advertiseSID", false, false),
	        .allow_shallow =
	                bole_node_repo_bool(node, name, "receive.shallowUpdate", false, false),
	        .allow_current =
	                !bole_node_repo_bool(node, name, "receive.denyDeleteCurrent", true, true),
	        .user = user,
	        .cert_seed = bole_config_get(
	                node->config,
	                bole_node_repo_key(node->config, name, "receive.certNonceSeed", key)),
	        .cert_slop_s = (uint32_t)(slop > CERT_SLOP_MAX ? CERT_SLOP_MAX : slop),
	        .may = may,
	        .may_ctx = push,
	        .hooks = node->hooks,
	        .stage = node->webhook == NULL ? NULL : bole_node_webhook_stage,
	        .stage_ctx = push,
	};
}
