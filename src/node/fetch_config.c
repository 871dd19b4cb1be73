/* SPDX-License-Identifier: ISC */
/* What the configuration says about fetches. Lists are read once, when the node starts or a session
 * begins, and a repository's own replace the general ones. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "git/fetch/upload_pack_impl.h"
#include "node/internal.h"

#define TREE_DEPTH_KEY "uploadpackfilter.tree.maxDepth"

enum { LIST_MAX = 256 };

static const struct {
	const char *key;
	size_t offset; /* in struct bole_fetch_policy */
} switches[] = {
        {"uploadpack.allowFilter", offsetof(struct bole_fetch_policy, allow_filter)},
        {"uploadpack.allowTipSHA1InWant", offsetof(struct bole_fetch_policy, allow_hidden_tips)},
        {"uploadpack.allowReachableSHA1InWant",
         offsetof(struct bole_fetch_policy, allow_reachable)},
        {"uploadpack.allowAnySHA1InWant", offsetof(struct bole_fetch_policy, allow_any)},
        {"uploadpack.allowLazyFetch", offsetof(struct bole_fetch_policy, lazy_fetch)},
        {"uploadpack.allowRefInWant", offsetof(struct bole_fetch_policy, ref_in_want)},
        {"uploadpack.allowSidebandAll", offsetof(struct bole_fetch_policy, sideband_all)},
        {"transfer.advertiseObjectInfo", offsetof(struct bole_fetch_policy, object_info)},
        {"uploadarchive.enable", offsetof(struct bole_fetch_policy, archive)},
        {"http.getanyfile", offsetof(struct bole_fetch_policy, dumb)},
        {"transfer.advertiseSID", offsetof(struct bole_fetch_policy, session_id)},
};

/* uploadpackfilter.<kind>.allow. What is not said is as uploadpackfilter.allow says, but for
 * sparse:oid, whose cost is for its host to choose. */
static const struct {
	const char *key;
	uint8_t kind;
} filters[] = {
        {"uploadpackfilter.blob:none.allow", BOLE_FILTER_BLOB_NONE},
        {"uploadpackfilter.blob:limit.allow", BOLE_FILTER_BLOB_LIMIT},
        {"uploadpackfilter.tree.allow", BOLE_FILTER_TREE},
        {"uploadpackfilter.object:type.allow", BOLE_FILTER_OBJECT_TYPE},
        {"uploadpackfilter.sparse:oid.allow", BOLE_FILTER_SPARSE},
        {"uploadpackfilter.combine.allow", BOLE_FILTER_COMBINE},
};

static bool *switch_at(struct bole_fetch_policy *policy, size_t i)
{
	return (bool *)(void *)((uint8_t *)policy + switches[i].offset);
}

static enum bole_status check_bool(struct bole_platform *platform, const struct bole_config *config,
                                   const char *key)
{
	bool value;

	if (bole_config_bool(config, key, false, &value) == BOLE_OK)
		return BOLE_OK;
	bole_log(platform, BOLE_LOG_ERROR, "config: %s must be true or false", key);
	return BOLE_E_INVALID;
}

static enum bole_status check_uris(struct bole_platform *platform, const struct bole_config *config)
{
	static const char key[] = "uploadpack.blobPackfileUri";
	struct bole_packfile_uri row;
	const char *value;

	for (size_t at = 0; (value = bole_config_next_value(config, key, &at)) != NULL;) {
		if (*value == '\0' || bole_packfile_uri_parse(value, &row))
			continue;
		bole_log(platform, BOLE_LOG_ERROR,
		         "config: %s must be the ids of a blob and of a pack, and where it is",
		         key);
		return BOLE_E_INVALID;
	}
	return BOLE_OK;
}

enum bole_status bole_node_fetch_config_check(struct bole_platform *platform,
                                              const struct bole_config *config)
{
	uint64_t depth;

	for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
		BOLE_TRY(check_bool(platform, config, switches[i].key));
	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
		BOLE_TRY(check_bool(platform, config, filters[i].key));
	BOLE_TRY(check_bool(platform, config, "uploadpackfilter.allow"));
	BOLE_TRY(check_uris(platform, config));
	if (bole_config_u64(config, TREE_DEPTH_KEY, UINT64_MAX, &depth) == BOLE_OK)
		return BOLE_OK;
	bole_log(platform, BOLE_LOG_ERROR, "config: %s must be a number", TREE_DEPTH_KEY);
	return BOLE_E_INVALID;
}

/* A repository's value that cannot be read grants nothing. */
static bool read_bool(const struct bole_config *config, const char *name, const char *key,
                      bool otherwise)
{
	char full[NODE_KEY_MAX];
	bool value;

	return bole_config_bool(config, bole_node_repo_key(config, name, key, full), otherwise,
	                        &value) == BOLE_OK &&
	       value;
}

static void read_filters(struct bole_fetch_policy *policy, const struct bole_config *config,
                         const char *name)
{
	bool others = read_bool(config, name, "uploadpackfilter.allow", true);
	char full[NODE_KEY_MAX];

	policy->filters = 0;
	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
		bool otherwise = others && filters[i].kind != BOLE_FILTER_SPARSE;

		if (read_bool(config, name, filters[i].key, otherwise))
			policy->filters |= filters[i].kind;
	}
	if (bole_config_u64(config, bole_node_repo_key(config, name, TREE_DEPTH_KEY, full),
	                    UINT64_MAX, &policy->tree_depth_max) != BOLE_OK)
		policy->tree_depth_max = 0;
}

/* Adds every value of a key to list; what does not fit is refused. */
static enum bole_status add_all(const struct bole_config *config, const char *key,
                                const char **list, size_t *count)
{
	const char *value;

	for (size_t at = 0; (value = bole_config_next_value(config, key, &at)) != NULL;) {
		if (*count == LIST_MAX)
			return BOLE_E_LIMIT;
		if (*value != '\0')
			list[(*count)++] = value;
	}
	return BOLE_OK;
}

static enum bole_status read_lists(struct node_fetch_config *c, const struct bole_config *config,
                                   const char *name, bool push)
{
	struct bole_fetch_policy *policy = &c->policy;
	char full[NODE_KEY_MAX];

	c->list = bole_alloc_array(c->alloc, 3 * LIST_MAX, sizeof *c->list);
	if (c->list == NULL)
		return BOLE_E_NO_MEMORY;
	BOLE_TRY(add_all(config, bole_node_repo_key(config, name, "transfer.hideRefs", full),
	                 c->list, &policy->refs.hide_count));
	BOLE_TRY(
	        add_all(config,
	                bole_node_repo_key(config, name,
	                                   push ? "receive.hideRefs" : "uploadpack.hideRefs", full),
	                c->list, &policy->refs.hide_count));
	policy->refs.hide = c->list;
	policy->bundle_uris = c->list + LIST_MAX;
	policy->packfile_uris = c->list + 2 * LIST_MAX;
	BOLE_TRY(add_all(config, bole_node_repo_key(config, name, "uploadpack.bundleURI", full),
	                 c->list + LIST_MAX, &policy->bundle_uri_count));
	return add_all(config, bole_node_repo_key(config, name, "uploadpack.blobPackfileUri", full),
	               c->list + 2 * LIST_MAX, &policy->packfile_uri_count);
}

enum bole_status bole_node_fetch_config_open(struct node_fetch_config *c, struct bole_alloc *alloc,
                                             const struct bole_config *config, const char *name,
                                             bool push)
{
	char full[NODE_KEY_MAX];

	*c = (struct node_fetch_config){.alloc = alloc};
	bole_fetch_policy_init(&c->policy);
	if (config == NULL)
		return BOLE_OK;
	for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
		bool *value = switch_at(&c->policy, i);
		*value = read_bool(config, name, switches[i].key, *value);
	}
	read_filters(&c->policy, config, name);
	const char *space = bole_config_get(
	        config, bole_node_repo_key(config, name, "transfer.namespace", full));
	if (space != NULL && !bole_namespace_prefix(space, c->space))
		return BOLE_E_INVALID;
	c->policy.refs.space = c->space;
	return read_lists(c, config, name, push);
}

void bole_node_fetch_config_close(struct node_fetch_config *c)
{
	if (c->list != NULL)
		bole_alloc_free(c->alloc, c->list, 3 * LIST_MAX, sizeof *c->list);
	c->list = NULL;
}
