/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/bundles.h"

/* Where the path of a URL begins. */
static const char *path_of(const char *url)
{
	const char *host = strstr(url, "://");

	if (host == NULL)
		return NULL;
	host += 3;
	return host + strcspn(host, "/");
}

bool bole_bundle_uri_resolve(const char *base, struct bole_bytes uri, char *out, size_t cap)
{
	const char *text = (const char *)uri.ptr;
	size_t len = uri.len;
	int n;

	if (len == 0 || memchr(text, '\0', len) != NULL)
		return false;
	for (size_t i = 0; i + 2 < len && text[i] != '/' && text[i] != '?'; i++)
		if (memcmp(text + i, "://", 3) == 0) {
			n = snprintf(out, cap, "%.*s", (int)len, text);
			return n > 0 && (size_t)n < cap;
		}
	const char *path = base == NULL ? NULL : path_of(base);
	if (path == NULL || strncmp(base, "http", 4) != 0)
		return false;
	/* The folder of the base, without its query. */
	size_t keep = (size_t)(path - base);
	size_t end = keep + strcspn(path, "?#");
	if (text[0] != '/')
		for (size_t i = keep; i < end; i++)
			keep = base[i] == '/' && i > keep ? i : keep;
	while (len >= 2 && text[0] == '.' && (text[1] == '/' || (len >= 3 && text[1] == '.'))) {
		size_t step = text[1] == '/' ? 2 : 3;

		if (step == 3 && text[2] != '/')
			break;
		text += step;
		len -= step;
		if (step == 2)
			continue;
		if (base + keep <= path)
			return false; /* above the root */
		while (keep > 0 && base[--keep] != '/')
			;
	}
	/* What is in the base for who gave it is neither shown nor sent for others. */
	size_t scheme = (size_t)(strstr(base, "://") + 3 - base);
	size_t host = scheme;
	for (size_t i = scheme; i < (size_t)(path - base); i++)
		host = base[i] == '@' ? i + 1 : host;
	n = snprintf(out, cap, "%.*s%.*s%s%.*s", (int)scheme, base, (int)(keep - host), base + host,
	             len > 0 && text[0] == '/' ? "" : "/", (int)len, text);
	return n > 0 && (size_t)n < cap;
}

static struct bundle_item *item_of(struct bundles *b, int list, struct bole_bytes id)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->items[i].list == list && bole_bytes_equal(b->items[i].id, id))
			return &b->items[i];
	if (b->count == BUNDLE_ITEMS_MAX)
		return NULL;
	struct bundle_item *item = &b->items[b->count++];
	*item = (struct bundle_item){.id = id, .list = list};
	return item;
}

static enum bole_status keep(struct bundles *b, const char *text, struct bole_bytes *out)
{
	size_t len = strlen(text);
	char *copy = bole_arena_alloc(&b->text, len + 1, 1);

	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(copy, text, len + 1);
	*out = bole_bytes_of(copy, len);
	return BOLE_OK;
}

static bool take_token(const char *text, uint64_t *out)
{
	uint64_t token = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(token, 10, &token) ||
		    __builtin_add_overflow(token, (uint64_t)(*text - '0'), &token))
			return false;
	*out = token;
	return *text == '\0';
}

/* "bundle.<id>.<key>" */
static enum bole_status take_key(struct bundles *b, const char *key, const char *value,
                                 const char *base, int list)
{
	char whole[BUNDLE_URI_MAX];
	const char *id = key + strlen("bundle.");
	const char *dot = strrchr(id, '.');
	struct bole_bytes name;

	if (dot == NULL)
		return BOLE_OK; /* of the list itself */
	char *copy = bole_arena_alloc(&b->text, (size_t)(dot - id) + 1, 1);
	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(copy, id, (size_t)(dot - id));
	name = bole_bytes_of(copy, (size_t)(dot - id));
	struct bundle_item *item = item_of(b, list, name);
	if (item == NULL)
		return BOLE_E_LIMIT;
	if (strcmp(dot, ".uri") == 0 && value != NULL) {
		if (!bole_bundle_uri_resolve(base, bole_bytes_z(value), whole, sizeof whole))
			return BOLE_OK; /* it stays without */
		return keep(b, whole, &item->uri);
	}
	if (strcmp(dot, ".filter") == 0)
		item->filtered = true;
	if (strcmp(dot, ".creationtoken") == 0 && value != NULL && !take_token(value, &item->token))
		return BOLE_E_INVALID;
	return BOLE_OK;
}

static int compare_tokens(const void *a, const void *b)
{
	const struct bundle_item *x = a;
	const struct bundle_item *y = b;

	return x->token < y->token ? -1 : x->token > y->token;
}

/* Those that cannot be of use go at once. */
static void settle(struct bundles *b, size_t first, bool secure)
{
	for (size_t i = first; i < b->count; i++) {
		struct bundle_item *item = &b->items[i];

		item->secure = secure;
		if (item->uri.len > 0 && !item->filtered)
			continue;
		item->state = BUNDLE_FAILED;
		bole_remote_warn(b->f->r, "a bundle of a list is passed over: it has %s",
		                 item->filtered ? "a filter" : "no URI that can be used");
	}
}

static bool is(const struct bole_config *config, const char *key, const char *text)
{
	const char *value = bole_config_get(config, key);

	return value != NULL && strcmp(value, text) == 0;
}

enum bole_status bole_bundle_list_take(struct bundles *b, const struct bole_config *config,
                                       const char *base, bool secure, int parent)
{
	unsigned depth = parent == BUNDLE_NO_LIST ? 0 : b->lists[parent].depth + 1;
	const char *value;
	size_t cursor = 0;
	size_t first = b->count;
	const char *key;

	if (b->list_count == BUNDLE_LISTS_MAX || depth > BUNDLE_DEPTH_MAX)
		return BOLE_E_LIMIT;
	if (!is(config, "bundle.version", "1"))
		return BOLE_E_UNSUPPORTED;
	bool any = is(config, "bundle.mode", "any");
	if (!any && !is(config, "bundle.mode", "all"))
		return BOLE_E_INVALID;
	b->lists[b->list_count] =
	        (struct bundle_list){.any = any,
	                             .tokens = is(config, "bundle.heuristic", "creationToken"),
	                             .depth = depth,
	                             .parent = parent};
	int list = (int)b->list_count++;
	while (bole_config_next(config, &cursor, &key, &value)) {
		if (strncmp(key, "bundle.", 7) != 0)
			continue;
		enum bole_status rc = take_key(b, key, value, base, list);
		if (rc != BOLE_OK) {
			b->count = first;
			return rc;
		}
	}
	settle(b, first, secure);
	if (b->lists[list].tokens)
		qsort(b->items + first, b->count - first, sizeof b->items[0], compare_tokens);
	return BOLE_OK;
}
