/* SPDX-License-Identifier: ISC */
/* One push: the commands of the client and what became of each. Private to src/git. */
#ifndef BOLE_GIT_RECEIVE_PACK_IMPL_H
#define BOLE_GIT_RECEIVE_PACK_IMPL_H

#include "base/memory.h"
#include "git/negotiate.h"
#include "git/service_impl.h"

struct bole_command {
	struct bole_bytes name;
	struct bole_oid old_oid; /* null: must not exist */
	struct bole_oid new_oid; /* null: delete */
	struct bole_oid peeled;
	bool has_peeled;
	const char *error; /* static text of the ng line; NULL: no objection so far */
};

struct bole_push {
	struct bole_session *s;
	struct bole_arena text; /* of the names */
	struct bole_command *commands;
	size_t count;
	size_t cap;
	struct bole_tx *tx; /* NULL once it has ended */
	struct bole_history history;
	bool report_status;
	bool side_band;
	bool quiet;
	bool atomic;
	bool shallow;
	char unpack[200]; /* "ok" or why not */
};

/* Judges every command on its own; sets error where there is an objection. Other results are
 * failures of the store. */
BOLE_MUST_USE enum bole_status bole_push_check(struct bole_push *);
/* Commits the commands without error; ends the transaction; sets error on those that failed. */
BOLE_MUST_USE enum bole_status bole_push_commit(struct bole_push *);
/* Gives every command that has none this error. */
void bole_push_fail_all(struct bole_push *, const char *error);

#endif /* BOLE_GIT_RECEIVE_PACK_IMPL_H */
