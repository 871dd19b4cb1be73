/* SPDX-License-Identifier: ISC */
/* One push: what the client asked for and what became of it. Private to src/git/push.
 *   receive_pack.c  the course of it
 *   commands.c      capabilities, references, shallow commits, options as they come
 *   cert.c          signed pushes
 *   check.c         what is allowed
 *   hooks.c         what the embedding program says
 *   commit.c        the transaction
 *   report.c        what the client and the log are told
 */
#ifndef BOLE_GIT_PUSH_PUSH_H
#define BOLE_GIT_PUSH_PUSH_H

#include "base/memory.h"
#include "git/negotiate.h"
#include "git/push/policy.h"
#include "git/service/service_impl.h"

enum {
	BOLE_PUSH_REFS_MAX = 1 << 17, /* of one push; more than a transaction's, unless atomic */
	BOLE_PUSH_SHALLOW_MAX = 1 << 16,
	BOLE_PUSH_OPTIONS_MAX = 1000,
	BOLE_PUSH_OPTION_BYTES_MAX = 64 * 1024, /* all together */
	BOLE_PUSH_CERT_BYTES_MAX = 4 << 20,
	BOLE_NONCE_BYTES_MAX = 96, /* seconds, '-', 64 hex digits, NUL */
};

struct bole_command {
	struct bole_bytes name;   /* as the client knows it */
	struct bole_bytes stored; /* what is set: in its namespace; of target where proc is set */
	struct bole_oid old_oid;  /* null: must not exist */
	struct bole_oid new_oid;  /* null: delete */
	struct bole_oid peeled;
	bool has_peeled;
	bool done;   /* committed */
	bool proc;   /* proc_receive's: target is set instead, to new_oid */
	bool forced; /* as proc_receive says */
	struct bole_bytes target;
	const char *error; /* text of the ng line, static or in push.text; NULL: no objection */
};

struct bole_push {
	struct bole_session *s;
	const struct bole_push_policy *policy;
	struct bole_arena text; /* names, options, messages */
	struct bole_command *commands;
	size_t count;
	size_t cap;
	struct bole_id_list shallow; /* where the client's history ends */
	struct bole_id_list cut;     /* commits of the pack that lack parents */
	struct bole_bytes *options;
	size_t option_count;
	size_t option_bytes;
	struct bole_buffer cert_text; /* as it came */
	struct bole_push_cert cert;
	bool signed_push;
	char nonce[BOLE_NONCE_BYTES_MAX]; /* given out in this session; "" = none */
	struct bole_tx *tx;               /* NULL once it has ended */
	struct bole_history history;
	bool any_cap;       /* the capabilities have come */
	bool report_status; /* of either version */
	bool report_v2;
	bool side_band;
	bool quiet;
	bool atomic;
	bool wants_options; /* a list of options follows the commands */
	char agent[64];
	char session[64];
	char unpack[200]; /* "ok" or why not */
};

/* commands.c: everything up to the pack. BOLE_END: the client had nothing to ask. */
BOLE_MUST_USE enum bole_status bole_push_read(struct bole_push *);
/* Also for the commands in a certificate. */
BOLE_MUST_USE enum bole_status bole_push_take_command(struct bole_push *, struct bole_bytes line);
BOLE_MUST_USE enum bole_status bole_push_open_band(struct bole_push *);
/* Copies a name that a client knows into push.text, as it is stored, and finds it in that. */
BOLE_MUST_USE enum bole_status bole_push_name(struct bole_push *, struct bole_bytes name,
                                              struct bole_bytes *shown, struct bole_bytes *stored);

/* cert.c */
/* A nonce for this repository, now. nonce stays "" where there is no clock. */
void bole_push_nonce(struct bole_push *);
/* Reads the lines up to push-cert-end. */
BOLE_MUST_USE enum bole_status bole_push_read_cert(struct bole_push *);
/* The options in the certificate must be those that were sent. */
BOLE_MUST_USE enum bole_status bole_push_check_cert(struct bole_push *);
/* Keeps it as a blob of the transaction, and has it verified. */
BOLE_MUST_USE enum bole_status bole_push_keep_cert(struct bole_push *);

/* Judges every command on its own; sets error where there is an objection. Other results are
 * failures of the store. */
BOLE_MUST_USE enum bole_status bole_push_check(struct bole_push *);
/* What a client is told: a word for a volume that is full. Static. */
const char *bole_push_failure_text(enum bole_status);
/* Commits the commands without error; ends the transaction; sets error on those that failed. */
BOLE_MUST_USE enum bole_status bole_push_commit(struct bole_push *);
/* Gives every command that has none, and is not done, this error. */
void bole_push_fail_all(struct bole_push *, const char *error);
bool bole_push_any_error(const struct bole_push *);

/* hooks.c: before the commit, and after it. */
BOLE_MUST_USE enum bole_status bole_push_ask_hooks(struct bole_push *);
void bole_push_tell_hooks(struct bole_push *);

/* report.c */
BOLE_MUST_USE enum bole_status bole_push_report(struct bole_push *);
void bole_push_log(struct bole_push *);

#endif /* BOLE_GIT_PUSH_PUSH_H */
