/* SPDX-License-Identifier: ISC */
/* One push, as its sender. Private to src/git/client.
 *   push.c         the course of it, the commands, the pack
 *   push_map.c     from our references to the server's
 *   push_judge.c   what may be asked for
 *   push_report.c  what the server made of it */
#ifndef BOLE_GIT_CLIENT_PUSH_H
#define BOLE_GIT_CLIENT_PUSH_H

#include "git/client/remote.h"
#include "git/service/service_impl.h"

/* A reference of the server's that shall change. */
struct push_item {
	struct bole_bytes name;
	struct bole_bytes from;  /* ours, or the text of a refspec */
	struct bole_oid old_oid; /* null: there is none */
	struct bole_oid new_oid; /* null: to be deleted */
	bool force;
	bool sent;
	bool answered;
	enum bole_change what;
	const char *reason;
};

struct pushing {
	struct bole_remote *r;
	struct bole_store *store;
	struct bole_client_push *job;
	struct bole_repo repo;
	struct bole_snapshot *snapshot;
	struct bole_service svc; /* for the walks over history */
	struct bole_session session;
	struct bole_history history;
	bool open;
	bool to_origin; /* of a partial repository: the server has what is missing */
	struct bole_refspec *specs;
	size_t spec_count;
	struct bole_arena text;
	struct push_item *items;
	size_t count;
	size_t cap;
	bool side_band;
	bool report;
};

BOLE_MUST_USE enum bole_status bole_push_keep(struct pushing *, struct bole_bytes before,
                                              struct bole_bytes name, struct bole_bytes after,
                                              struct bole_bytes *out);
static inline void bole_push_refuse(struct push_item *item, const char *reason)
{
	item->what = BOLE_CHANGE_REFUSED;
	item->reason = reason;
}

/* push_map.c: the items, sorted by name. */
BOLE_MUST_USE enum bole_status bole_push_specs(struct pushing *);
BOLE_MUST_USE enum bole_status bole_push_map(struct pushing *);
/* push_judge.c */
BOLE_MUST_USE enum bole_status bole_push_judge(struct pushing *);
/* push_report.c */
BOLE_MUST_USE enum bole_status bole_push_read_report(struct pushing *);

/* The remote is open and not connected. */
BOLE_MUST_USE enum bole_status bole_remote_push(struct bole_remote *, struct bole_store *,
                                                struct bole_client_push *);

#endif /* BOLE_GIT_CLIENT_PUSH_H */
