/* SPDX-License-Identifier: ISC */
/* Hooks of a program that embeds the node: C functions that are asked while a push is under way, as
 * githooks(5) has them: pre-receive, update, proc-receive, post-receive. They run on the fiber of
 * the request, may block, and see what the push has brought before anybody else does. */
#ifndef BOLE_HOOKS_H
#define BOLE_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/odb.h"
#include "bole/oid.h"
#include "bole/platform.h"
#include "bole/repos.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One reference that a push wants changed. */
struct bole_push_ref {
	struct bole_bytes name;
	struct bole_oid old_oid; /* null: it does not exist */
	struct bole_oid new_oid; /* null: it is to be deleted */
	const char *error;       /* why it is refused already; NULL: it is not */
};

/* What the nonce of a signed push is worth (gitprotocol-pack(5), "Push Certificate"). */
enum bole_cert_nonce {
	BOLE_NONCE_MISSING = 0,
	BOLE_NONCE_BAD = 1,         /* none that this server made for this repository */
	BOLE_NONCE_OK = 2,          /* made for this push, or not longer ago than allowed */
	BOLE_NONCE_SLOP = 3,        /* made by this server, but longer ago: see slop_s */
	BOLE_NONCE_UNSOLICITED = 4, /* one came although none was given out */
};

enum bole_cert_state {
	BOLE_CERT_UNVERIFIED = 0, /* nobody has looked at the signature */
	BOLE_CERT_GOOD = 1,
	BOLE_CERT_BAD = 2,
	BOLE_CERT_UNKNOWN = 3, /* the key is not known */
};

/* The certificate of a signed push. The signature is over text. All borrowed. */
struct bole_push_cert {
	struct bole_bytes text;
	struct bole_bytes signature; /* with its BEGIN and END lines */
	struct bole_bytes pusher;    /* whom the client says it is */
	struct bole_bytes pushee;    /* the address that it pushed to */
	struct bole_bytes nonce;
	enum bole_cert_nonce nonce_state;
	int64_t slop_s;
	enum bole_cert_state state;
	struct bole_oid oid; /* of the blob that keeps it; no reference names it */
	char signer[128];    /* set by verify_cert, for hooks and the log */
	char key[128];
};

/* A push, as hooks see it; valid during the call. */
struct bole_push_info {
	struct bole_platform *platform;
	struct bole_repo repo;
	const char *peer;
	const char *user; /* NULL: anonymous */
	/* Of all names here: where the push goes into a namespace (gitnamespaces(7)), view holds
	 * them behind this; else "". */
	struct bole_bytes name_prefix;
	/* What is published and, in pre_receive, update and proc_receive, what the push brought. */
	struct bole_snapshot *view;
	const struct bole_push_ref *refs;
	size_t ref_count;
	const struct bole_bytes *options; /* git push -o */
	size_t option_count;
	const struct bole_push_cert *cert; /* NULL: not signed */
	/* Shows a line to the user of the client ("remote: ..."). */
	void (*say)(struct bole_push_info *, const char *text);
	/* A whole object of view, borrowed until the next call. type may be NULL.
	 * BOLE_E_NOT_FOUND, BOLE_E_LIMIT (larger than a commit may be), … */
	enum bole_status (*read)(struct bole_push_info *, const struct bole_oid *, uint8_t *type,
	                         struct bole_bytes *out);
};

enum { BOLE_HOOK_MESSAGE_MAX = 200 }; /* with its NUL */

/* What proc_receive makes of a reference that is none: another one that is set instead. */
struct bole_push_rewrite {
	char name[1025]; /* "" = the reference itself is handled as usual */
	struct bole_oid new_oid;
	bool forced;
};

/* Each may be NULL. message: one line for the client, "" = the words that Git uses. */
struct bole_hooks {
	void *ctx;
	/* Once, with all references that nothing spoke against yet; anything but BOLE_OK refuses
	 * the push. */
	enum bole_status (*pre_receive)(void *ctx, struct bole_push_info *,
	                                char message[BOLE_HOOK_MESSAGE_MAX]);
	/* For each of them; anything but BOLE_OK refuses this reference. */
	enum bole_status (*update)(void *ctx, struct bole_push_info *, size_t ref,
	                           char message[BOLE_HOOK_MESSAGE_MAX]);
	/* For references whose name starts with proc_prefix, instead of update: says what to set
	 * instead ("refs/for/main" of AGit). */
	const char *proc_prefix;
	enum bole_status (*proc_receive)(void *ctx, struct bole_push_info *, size_t ref,
	                                 struct bole_push_rewrite *out,
	                                 char message[BOLE_HOOK_MESSAGE_MAX]);
	/* After everything is durable and visible; refs with an error were not changed. */
	void (*post_receive)(void *ctx, struct bole_push_info *);
	/* Judges a certificate's signature, before pre_receive: sets state, signer and key. */
	void (*verify_cert)(void *ctx, struct bole_push_cert *);
};

#ifdef __cplusplus
}
#endif

#endif /* BOLE_HOOKS_H */
