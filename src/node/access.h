/* SPDX-License-Identifier: ISC */
/* Who may do what: users by token, rules by repository and reference, and how often a peer may ask.
 * Read from the configuration once (docs/CONFIG.md, "Access"); immutable then, but for the tables
 * of rates. */
#ifndef BOLE_NODE_ACCESS_H
#define BOLE_NODE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/config.h"
#include "bole/platform.h"
#include "bole/types.h"

enum node_right {
	NODE_READ = 1,
	NODE_CREATE = 2, /* a reference */
	NODE_UPDATE = 4,
	NODE_DELETE = 8,
	NODE_FORCE = 16, /* an update that loses commits */
	NODE_INIT = 32,  /* make the repository by a push */
	NODE_WRITE = NODE_CREATE | NODE_UPDATE | NODE_DELETE | NODE_FORCE,
};

enum {
	NODE_USER_MAX = 64, /* bytes of a name, with its NUL */
	NODE_TOKENS_MAX = 4096,
	NODE_RULES_MAX = 1024,
	NODE_AUTHORIZATION_MAX = 1024, /* bytes of a header's value */
};

struct node_access;

/* BOLE_E_INVALID: something cannot be read; logged. */
BOLE_MUST_USE enum bole_status bole_node_access_open(struct bole_platform *, struct bole_alloc *,
                                                     const struct bole_config *,
                                                     struct node_access **out);
void bole_node_access_close(struct node_access *);
/* May a user be called this? */
bool bole_node_user_valid(struct bole_bytes name);
/* There are users, so asking for a name makes sense. */
bool bole_node_access_has_users(const struct node_access *);

enum node_identity { NODE_ANONYMOUS, NODE_USER, NODE_WRONG };
/* Whom the value of an Authorization header (Basic or Bearer) proves; user has NODE_USER_MAX bytes.
 * Takes no longer for a name that exists than for one that does not. */
enum node_identity bole_node_access_identify(const struct node_access *,
                                             struct bole_bytes authorization, char *user);
/* May user (NULL = anonymous) do any of these to some reference of the repository? */
bool bole_node_access_repo(const struct node_access *, const char *user, const char *repo,
                           unsigned rights);
/* May user do this to this reference? */
bool bole_node_access_ref(const struct node_access *, const char *user, const char *repo,
                          struct bole_bytes ref, enum node_right);

/* '*' stands for any bytes but '/', "**" for any bytes, '?' for one byte but '/'. */
bool bole_node_pattern_matches(struct bole_bytes pattern, struct bole_bytes text);

/* -- Rates (rate.c) -- */

enum node_rate_kind { NODE_RATE_ADDRESS, NODE_RATE_USER, NODE_RATE_REPOSITORY, NODE_RATE_FAILED };
enum { NODE_RATE_KINDS = 4 };

struct node_rates;
BOLE_MUST_USE enum bole_status bole_node_rates_open(struct bole_platform *, struct bole_alloc *,
                                                    const struct bole_config *,
                                                    struct node_rates **out);
void bole_node_rates_close(struct node_rates *);
/* One more of this kind. 0: it may go on; else how many seconds to wait first. */
unsigned bole_node_rates_take(struct node_rates *, enum node_rate_kind, struct bole_bytes who);
/* The same without counting it. */
unsigned bole_node_rates_look(struct node_rates *, enum node_rate_kind, struct bole_bytes who);
/* A name as a number that nobody outside can choose; never 0. */
uint64_t bole_node_rates_key(const struct node_rates *, enum node_rate_kind, struct bole_bytes who);

#endif /* BOLE_NODE_ACCESS_H */
