/* SPDX-License-Identifier: ISC */
/* The node: the services (git daemon, smart HTTP) over one store on one platform. The same code is
 * `bole serve` on a host and the whole machine in an image. */
#ifndef BOLE_NODE_H
#define BOLE_NODE_H

#include <stddef.h>
#include <stdint.h>

#include "bole/config.h"
#include "bole/hooks.h"
#include "bole/platform.h"
#include "bole/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_node;

/* Configuration keys that the node reads (docs/CONFIG.md lists them all with defaults):
 *   http.listen         address, "off" = none              127.0.0.1:8080
 *   git.listen          address, "off" = none              127.0.0.1:9418
 *   receive.enable      accept pushes                      false
 *   receive.create      a push creates a missing repository false
 *   init.defaultObjectFormat  of what such a push finds: sha1 or sha256
 *   receive.denyNonFastForwards, receive.denyDeletes
 *   receive.…           limits, fsck, options, certificates of pushes
 *   auth.token, access.rule   who may read and write what
 *   limit.…             how often a peer may ask
 *   repo.<name>.…       the keys of pushes and fetches for one repository
 *   node.…              limits: connections, requests, memory, timeouts
 *   gc.…                when garbage is collected
 */

/* Starts listening; returns when the sockets are bound. Maintains the store in the background
 * (bole_store_maintain) unless it is read-only. store, cfg and platform are borrowed until close.
 * BOLE_E_INVALID (configuration; logged), BOLE_E_BUSY (port taken), BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_node_start(struct bole_platform *, struct bole_store *,
                                               const struct bole_config *, struct bole_node **out);
/* The same with hooks (bole/hooks.h), borrowed until close; NULL = none. */
BOLE_MUST_USE enum bole_status bole_node_start_hooked(struct bole_platform *, struct bole_store *,
                                                      const struct bole_config *,
                                                      const struct bole_hooks *,
                                                      struct bole_node **out);
/* The ports in use (0 = off). */
uint16_t bole_node_http_port(const struct bole_node *);
uint16_t bole_node_git_port(const struct bole_node *);
/* Stops accepting, lets requests in flight finish until deadline_ns, then cuts them; blocks the
 * caller until no connection is left. Frees. */
void bole_node_close(struct bole_node *, uint64_t deadline_ns);

/* A new token of a user. */
struct bole_node_token {
	char token[64];    /* what the user is told, once */
	char id[24];       /* tells the user's tokens apart, and is no secret */
	char setting[256]; /* the value of auth.token that admits it */
};
/* BOLE_E_INVALID: nobody may be called that. */
BOLE_MUST_USE enum bole_status bole_node_token_make(struct bole_platform *, const char *user,
                                                    struct bole_node_token *out);

enum bole_node_service {
	BOLE_NODE_UPLOAD_PACK = 1,
	BOLE_NODE_RECEIVE_PACK = 2,
	BOLE_NODE_UPLOAD_ARCHIVE = 3,
};

/* One Git service over one stream (stdin and stdout behind an sshd), without a node: blocks the
 * caller until the session ends. protocol is what GIT_PROTOCOL or a Git-Protocol header holds, ""
 * = version 0. cfg may be NULL; its keys uploadpack.…, receive.hideRefs and transfer.… count.
 * Pushes are accepted: who may run this is the caller's affair. Borrows the stream. What went wrong
 * has been told to the peer. */
BOLE_MUST_USE enum bole_status bole_node_serve_stream(struct bole_platform *, struct bole_store *,
                                                      const struct bole_config *cfg,
                                                      enum bole_node_service, const char *repo,
                                                      const char *protocol, struct bole_stream *);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_NODE_H */
