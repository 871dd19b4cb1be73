/* SPDX-License-Identifier: ISC */
/* What a repository allows of pushes. */
#ifndef BOLE_GIT_PUSH_POLICY_H
#define BOLE_GIT_PUSH_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/hooks.h"
#include "bole/odb.h"
#include "bole/types.h"

enum bole_push_action {
	BOLE_PUSH_CREATE = 1,
	BOLE_PUSH_UPDATE = 2,
	BOLE_PUSH_DELETE = 4,
	BOLE_PUSH_FORCE = 8, /* to a commit that does not contain the old one */
};

/* Zeroed: the defaults. */
struct bole_push_policy {
	bool no_options;    /* push options are not offered */
	bool session_id;    /* offer session-id, for the log */
	bool allow_shallow; /* new commits may lack parents: the repository becomes shallow */
	bool allow_current; /* HEAD's branch may be deleted */
	const char *user;   /* who pushes; NULL = anonymous */
	const char *
	        cert_seed; /* secret of the nonces of signed pushes; NULL = these are not offered */
	uint32_t cert_slop_s; /* age of a nonce that is as good as fresh */
	/* May this peer do this to this reference? NULL = yes. */
	bool (*may)(void *ctx, struct bole_bytes name, enum bole_push_action);
	void *may_ctx;
	const struct bole_hooks *hooks; /* NULL = none */
	/* Adds to the transaction that is about to change these references, so that it is durable
	 * if and only if they change. again: the same transaction, with others after a conflict;
	 * what was staged counts no more. NULL = nothing. */
	void (*stage)(void *ctx, struct bole_tx *, const struct bole_ref_update *updates,
	              size_t count, bool again);
	void *stage_ctx;
};

#endif /* BOLE_GIT_PUSH_POLICY_H */
