/* SPDX-License-Identifier: ISC */
/* Shallow clones (gitprotocol-pack(5), "shallow" and "deepen"): where the client's history ends,
 * where it is to end, and what it must be told about the difference. Private to src/git. */
#ifndef BOLE_GIT_SHALLOW_H
#define BOLE_GIT_SHALLOW_H

#include "git/negotiate.h"
#include "git/service/service_impl.h"

enum {
	BOLE_DEEPEN_INFINITE = 0x7fffffff, /* "give me all" on the wire */
	BOLE_SHALLOWS_MAX = 1 << 18,       /* ends that a client may name */
	BOLE_DEEPEN_NOTS_MAX = 1 << 10,    /* "deepen-not" lines */
};

struct bole_shallow {
	struct bole_session *s;
	struct bole_id_list client; /* commits here whose parents the client lacks */
	struct bole_id_list nots;   /* what deepen-not names */
	struct bole_id_list grafts; /* out: commits without parents for this fetch */
	struct bole_id_list wants;  /* out: parents that the client is given back */
	struct bole_id_list edges;  /* out: the commits that get them back */
	uint32_t depth;             /* 0 = not asked for */
	int64_t since_s;
	bool relative; /* depth counts from where the client's history ends */
	bool by_age;   /* deepen-since or deepen-not was given */
};

void bole_shallow_init(struct bole_shallow *, struct bole_session *);
void bole_shallow_release(struct bole_shallow *);
/* Takes a shallow, deepen, deepen-since, deepen-not or deepen-relative line; *taken says whether it
 * was one. Refuses what is malformed. */
BOLE_MUST_USE enum bole_status bole_shallow_take(struct bole_shallow *, struct bole_bytes line,
                                                 bool *taken);
static inline bool bole_shallow_deepens(const struct bole_shallow *d)
{
	return d->depth > 0 || d->by_age;
}
/* Finds the new ends, writes a line for each change, and fills in grafts, wants and edges. */
BOLE_MUST_USE enum bole_status bole_shallow_settle(struct bole_shallow *,
                                                   const struct bole_id_list *wants);

#endif /* BOLE_GIT_SHALLOW_H */
