/* SPDX-License-Identifier: ISC */
/* The Git services over any byte stream: upload-pack (fetch, clone) and receive-pack (push), as
 * gitprotocol-pack(5), gitprotocol-v2(5), gitprotocol-http(5) and gitprotocol-capabilities(5)
 * define them. Transports (git://, HTTP, stdin/stdout) fill a bole_service and call in.
 *
 * The "# service=git-..." packet and its flush, which HTTP puts before an advertisement of version
 * 0 or 1 (not 2), are the transport's to write. receive-pack answers version 2 as 0, so there they
 * are always written. */
#ifndef BOLE_GIT_SERVICE_H
#define BOLE_GIT_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "bole/alloc.h"
#include "bole/platform.h"
#include "bole/store.h"
#include "git/fetch/policy.h"
#include "git/pack/ingest.h"
#include "git/push/policy.h"

struct bole_service_policy {
	bool receive_enable;
	bool deny_non_fast_forward;
	bool deny_delete;
	struct bole_ingest_limits ingest;
	struct bole_fetch_policy fetch;
	const struct bole_fsck_options *fsck; /* of received objects; NULL = BOLE_FSCK_PUSH */
	struct bole_push_policy push;
	size_t request_memory_max; /* budget of one request; 0 = 32 MiB + 64 bytes an object sent */
};

struct bole_service {
	struct bole_platform *platform;
	struct bole_alloc *alloc; /* the request's budget */
	struct bole_store *store;
	/* id 0 with advertise: a repository that a push will create; receive-pack then advertises
	 * an empty one of either format; algo is that of the ids in the
	 * advertisement. */
	struct bole_repo repo;
	struct bole_git_cache *cache;  /* what requests share; may be NULL */
	struct bole_pack_cache *packs; /* the same */
	struct bole_ref_cache *lists;  /* the same */
	const struct bole_service_policy *policy;
	struct bole_input *in; /* buffer of 64 bytes or more; longer packets go into alloc */
	struct bole_output *out;
	int version;    /* protocol asked for: 0, 1 or 2 (receive-pack answers 2 as 0) */
	bool stateless; /* HTTP: one request, one answer (set it for the advertisement too) */
	bool advertise; /* HTTP: only the advertisement (GET info/refs) */
	/* True once the client hung up; may be NULL. */
	bool (*cancelled)(void *ctx);
	void *cancelled_ctx;
	/* Called before (true) and after (false) a session waits for its next command; false: it
	 * should end rather than wait. May be NULL. */
	bool (*waiting)(void *ctx, bool begins);
	void *waiting_ctx;
	/* Called after BOLE_E_NO_MEMORY, when nothing was sent yet and all is given back: waits
	 * until others may have left some. False: there is no use in another try. May be NULL. */
	bool (*starved)(void *ctx);
	void *starved_ctx;
	const char *peer; /* for the log */
	/* Out, of upload-pack: the client has said its last word, and all that it gets is sent. */
	bool ended;
	/* Out, of receive-pack: references that were deleted, or set to something else. */
	uint32_t refs_deleted;
	uint32_t refs_moved;
};

/* Serve one session (or one stateless request). Every refusal has been told to the client as an ERR
 * packet, a side-band error or an ng line, and logged, when these return an error. */
BOLE_MUST_USE enum bole_status bole_upload_pack(struct bole_service *);
BOLE_MUST_USE enum bole_status bole_receive_pack(struct bole_service *);
/* git archive --remote (git-upload-archive(1)). */
BOLE_MUST_USE enum bole_status bole_upload_archive(struct bole_service *);
/* The archive of "<reference>[:<path>]" as bytes alone. format: "tar", "tgz", "tar.gz" or "zip".
 * BOLE_E_NOT_FOUND and BOLE_E_DENIED: nothing has been written. */
BOLE_MUST_USE enum bole_status bole_archive_get(struct bole_service *, struct bole_bytes treeish,
                                                struct bole_bytes prefix, struct bole_bytes format);
/* A file of the dumb HTTP protocol: "info/refs", "HEAD", "objects/info/packs", "objects/ab/cdef…".
 * BOLE_E_NOT_FOUND and BOLE_E_DENIED: nothing has been written. */
BOLE_MUST_USE enum bole_status bole_dumb_get(struct bole_service *, struct bole_bytes path);

#endif /* BOLE_GIT_SERVICE_H */
