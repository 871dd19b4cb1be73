/* SPDX-License-Identifier: ISC */
/* The waist, part 1: repositories of a store. Every change is atomic and durable when it returns.
 */
#ifndef BOLE_REPOS_H
#define BOLE_REPOS_H

#include <stddef.h>
#include <stdint.h>

#include "bole/limits.h"
#include "bole/oid.h"
#include "bole/status.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_store;

/* A repository lives in one domain: one hash algorithm, one object index, one GC. Objects are
 * looked up by (domain, oid) only; two domains share nothing. Numbers are never reused. */
struct bole_repo {
	uint32_t id;
	uint32_t domain;
	uint8_t algo;
	char name[BOLE_REPO_NAME_MAX + 1];
};

struct bole_repos_ops {
	/* Creates an empty repository in a domain of its own, HEAD symbolic to head (a full
	 * reference name that need not exist). BOLE_E_EXISTS, BOLE_E_INVALID (name),
	 * BOLE_E_NO_SPACE, BOLE_E_IO, BOLE_E_READ_ONLY. */
	enum bole_status (*create)(struct bole_store *, const char *name, uint8_t algo,
	                           const char *head, struct bole_repo *out);
	/* BOLE_E_NOT_FOUND. */
	enum bole_status (*find)(struct bole_store *, const char *name, struct bole_repo *out);
	/* The first repository with a name after `after` ("" = first) in byte order; BOLE_END. */
	enum bole_status (*next)(struct bole_store *, const char *after, struct bole_repo *out);
	/* BOLE_E_EXISTS (another one has the name), BOLE_E_NOT_FOUND, and as create. */
	enum bole_status (*rename)(struct bole_store *, uint32_t repo, const char *name);
	/* With its objects, references and aux records. Snapshots that are open keep working until
	 * they are closed. BOLE_E_NOT_FOUND, and as create. */
	enum bole_status (*remove)(struct bole_store *, uint32_t repo);
};

/* Repository names: [A-Za-z0-9._-]+(/…)*, no component ends in ".git", is "." or ".." or starts
 * with '.'; at most BOLE_REPO_NAME_MAX bytes. */
bool bole_repo_name_valid(const char *name, size_t len);

/* As the members of struct bole_repos_ops. A name that is not valid is BOLE_E_INVALID to create and
 * rename, BOLE_E_NOT_FOUND to find; head is not looked at beyond its length. */
BOLE_MUST_USE enum bole_status bole_repo_create(struct bole_store *, const char *name, uint8_t algo,
                                                const char *head, struct bole_repo *out);
BOLE_MUST_USE enum bole_status bole_repo_find(struct bole_store *, const char *name,
                                              struct bole_repo *out);
BOLE_MUST_USE enum bole_status bole_repo_next(struct bole_store *, const char *after,
                                              struct bole_repo *out);
BOLE_MUST_USE enum bole_status bole_repo_rename(struct bole_store *, uint32_t repo,
                                                const char *name);
BOLE_MUST_USE enum bole_status bole_repo_remove(struct bole_store *, uint32_t repo);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_REPOS_H */
