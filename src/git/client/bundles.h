/* SPDX-License-Identifier: ISC */
/* Bundles before a fetch (git-bundle(1), "bundle-uri" of gitprotocol-v2(5) and of Git's technical
 * documentation): what they bring is negotiated about as if it had always been here. Each bundle is
 * a transaction of its own; its tips are kept below refs/bundles/<number>/ until the fetch has
 * ended; what one that was killed leaves there a fetch takes away that comes a day later. What is
 * wrong with lists and bundles is a warning. Private to src/git/client.
 *   bundle_list.c  lists, and what their URIs mean
 *   bundles.c      the course of it, one bundle */
#ifndef BOLE_GIT_CLIENT_BUNDLES_H
#define BOLE_GIT_CLIENT_BUNDLES_H

#include "bole/config.h"
#include "git/client/fetch.h"

enum {
	BUNDLE_ITEMS_MAX = 256,
	BUNDLE_LISTS_MAX = 16,
	BUNDLE_DEPTH_MAX = 3, /* lists in lists */
	BUNDLE_OPENS_MAX = 4 * BUNDLE_ITEMS_MAX,
	BUNDLE_LIST_BYTES_MAX = 1 << 20,
	BUNDLE_HEAD_BYTES_MAX = 64 << 20, /* memory for the references of one */
	BUNDLE_URI_MAX = 3000,
	BUNDLE_NO_LIST = -1,
};

enum bundle_state { BUNDLE_WAITING, BUNDLE_DONE, BUNDLE_FAILED };
struct bundle_item {
	struct bole_bytes id;  /* in its list */
	struct bole_bytes uri; /* whole, ends with a NUL; empty: the user's file */
	uint64_t token;
	bool secure; /* only https:// */
	bool given;  /* by the user */
	bool filtered;
	int list; /* that it is of */
	enum bundle_state state;
};
struct bundle_list {
	bool any;    /* one of it is enough */
	bool tokens; /* oldest first */
	bool done;
	unsigned depth;
	int parent;
};
struct bundles {
	struct fetching *f;
	struct bole_arena text;
	struct bundle_item items[BUNDLE_ITEMS_MAX];
	size_t count;
	struct bundle_list lists[BUNDLE_LISTS_MAX];
	size_t list_count;
	unsigned opens;
	unsigned taken;
	const char *prefix;
};

/* What a list says. base: its own URL, or NULL; parent: the list that led to it. BOLE_E_INVALID,
 * BOLE_E_UNSUPPORTED, BOLE_E_LIMIT, BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_bundle_list_take(struct bundles *, const struct bole_config *,
                                                     const char *base, bool secure, int parent);
/* A URI as written at base, into out, without a password of base. False: it leads nowhere, or is
 * too long. */
bool bole_bundle_uri_resolve(const char *base, struct bole_bytes uri, char *out, size_t cap);

#endif /* BOLE_GIT_CLIENT_BUNDLES_H */
