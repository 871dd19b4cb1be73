/* SPDX-License-Identifier: ISC */
/* Git LFS over HTTP: the batch API, the basic transfer, the locking API (git-lfs, docs/api). A call
 * is one request; it runs on a service's fiber, within a request's budget. */
#ifndef BOLE_NODE_LFS_H
#define BOLE_NODE_LFS_H

#include "bole/lfs.h"
#include "node/internal.h"

enum {
	LFS_BODY_MAX = 512 * 1024, /* of what is JSON; 413 beyond */
	LFS_BATCH_MAX = 1000,      /* objects of a batch; 413 beyond. git-lfs asks for 100 */
	LFS_PAGE_MAX = 1000,       /* locks of an answer */
	LFS_PAGE_DEFAULT = 100,
	LFS_TEXT_FLUSH = 16 * 1024,
	LFS_TEXT_MAX = 256 * 1024,
};

#define LFS_TYPE "application/vnd.git-lfs+json"

enum lfs_route {
	LFS_BATCH,        /* POST objects/batch */
	LFS_OBJECT,       /* GET, HEAD, PUT objects/<oid> */
	LFS_VERIFY,       /* POST objects/<oid>/verify */
	LFS_LOCKS,        /* GET, POST locks */
	LFS_LOCKS_VERIFY, /* POST locks/verify */
	LFS_UNLOCK,       /* POST locks/<id>/unlock */
	LFS_NOWHERE,
};

struct lfs_call {
	struct node_request request; /* first: the task finds the call by it */
	struct bole_node *node;
	const struct bole_http_request *http;
	struct bole_bytes query;
	enum lfs_route route;
	char name[BOLE_REPO_NAME_MAX + 1];
	char user[NODE_USER_MAX];
	const char *who; /* user, or NULL: anonymous */
	char id[BOLE_OID_HEX_MAX + 1];
	struct bole_repo repo; /* id 0: a push is to make it */
	struct node_body body;
	struct node_response response;
	struct bole_alloc *alloc;
	struct bole_buffer text; /* JSON, on its way out */
	char extra[160];         /* further header lines */
};

/* Takes the JSON so far off call->text. */
void bole_lfs_flush(struct lfs_call *);
/* The answer is this error, with its message as JSON. */
void bole_lfs_error(struct lfs_call *, unsigned status, const char *message);
/* The same for what the store says. */
void bole_lfs_failed(struct lfs_call *, enum bole_status rc);
/* May this caller write here? Else it has been answered. */
bool bole_lfs_may_write(struct lfs_call *);
/* The whole body; false: it has been answered. The caller frees *len bytes of *text, align 1. */
bool bole_lfs_read_body(struct lfs_call *, uint8_t **text, size_t *len);
/* "http://host/name.git/info/lfs"; false: there is no Host that could be named. */
bool bole_lfs_base_url(const struct lfs_call *, char *dst, size_t cap);

/* One at a time changes locks. */
void bole_lfs_gate_enter(struct bole_node *);
void bole_lfs_gate_leave(struct bole_node *);

void bole_lfs_batch(struct lfs_call *);
void bole_lfs_verify(struct lfs_call *);
void bole_lfs_get(struct lfs_call *);
void bole_lfs_put(struct lfs_call *);
void bole_lfs_locks_list(struct lfs_call *);
void bole_lfs_locks_create(struct lfs_call *);
void bole_lfs_locks_verify(struct lfs_call *);
void bole_lfs_unlock(struct lfs_call *);

struct node_lfs {
	const char *url; /* that hrefs begin with; NULL: what Host says */
	uint64_t object_bytes_max;
	struct bole_cond turn;
	bool busy; /* under node->lock */
};

#endif /* BOLE_NODE_LFS_H */
