/* SPDX-License-Identifier: ISC */
/* What the commands on keys share: a store, a repository in it, and who commits why. */
#ifndef BOLE_TOOLS_KV_OPEN_H
#define BOLE_TOOLS_KV_OPEN_H

#include "bole/kv.h"
#include "cli.h"

struct bole_cli_kv {
	struct bole_cli_spec spec;
	struct bole_cli_store store;
	struct bole_kv *kv;
};
/* Opens STORE#repo@branch; for writing, a missing repository is made. Says what is wrong and
 * returns an enum bole_exit. */
int bole_cli_kv_open(struct bole_cli *, const char *text, enum bole_cli_access,
                     struct bole_cli_kv *out);
/* Returns code, or what closing the store came to. */
int bole_cli_kv_close(struct bole_cli_kv *, int code);
/* A view of what the name says: a branch, a tag or a commit. */
int bole_cli_kv_view(struct bole_cli_kv *, struct bole_kv_view **out);
/* The branch to write to, NULL = the default. */
static inline const char *bole_cli_kv_branch(const struct bole_cli_kv *kv)
{
	return kv->spec.branch[0] == '\0' ? NULL : kv->spec.branch;
}

/* --author "Name <mail>" into info; buf keeps the strings. Says what is wrong and returns false. */
bool bole_cli_author(const char *text, char *buf, size_t cap, struct bole_kv_info *info);
/* Says what came of a change; returns an enum bole_exit. */
int bole_cli_kv_done(struct bole_cli *, const char *key, enum bole_status, const struct bole_oid *);

#endif /* BOLE_TOOLS_KV_OPEN_H */
