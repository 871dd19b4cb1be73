/* SPDX-License-Identifier: ISC */
/* The waist, part 5: liveness. A store cannot know what is reachable; whoever understands the
 * objects marks what is, and what is not marked goes.
 *
 * A mark covers one domain. begin fixes the set of candidates: everything that is findable then.
 * What is published later is live by rule. The walker marks every object that is reachable from
 * references, reflogs, durable aux values and prepared transactions, and every delta base of what
 * it marked. end removes all candidates that were not marked, in one atomic step: after it, and
 * after any power cut, either all of them are findable or none is. So a domain stays closed under
 * reachability, which a push relies on.
 *
 * What transactions looked up or found present already while the mark was going on, and what those
 * that were open at begin had looked up before, must live too: their objects are younger than the
 * mark, so nobody walks them, but they link to what was found. The store hands it out as further
 * roots; it keeps a bounded list for each open transaction.
 *
 * A mark is of an id: every entry of it stays, also a duplicate in an extent that no lookup returns
 * (entry_at does, because it is the base of an offset delta); an id that is not marked loses all of
 * them. The same goes for bole_tx_drop. */
#ifndef BOLE_MARK_H
#define BOLE_MARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/oid.h"
#include "bole/repos.h"
#include "bole/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_store;
struct bole_snapshot;

/* view sees the domain as it was at begin, references included; valid until end or abort. Used by
 * one fiber at a time. */
struct bole_mark {
	struct bole_store *store;
	struct bole_snapshot *view;
};

struct bole_mark_result {
	uint64_t objects_live; /* candidates that stay */
	uint64_t objects_dropped;
	uint64_t bytes_dropped;   /* stored bytes that nobody needs any more */
	uint64_t extents_dropped; /* whole ones: freed without copying */
};

struct bole_mark_ops {
	/* BOLE_E_BUSY: another mark of the domain is going on, or a prepared transaction waits for
	 * its commit or abort (nobody knows any more what it relies on). */
	enum bole_status (*begin)(struct bole_store *, uint32_t repo, struct bole_mark **out);
	/* Marks an object; *fresh says whether it was unmarked (walk its links then). An object
	 * that is no candidate (younger than the mark) is BOLE_OK and not fresh. BOLE_E_NOT_FOUND,
	 * BOLE_E_GONE (space ran out and the mark was revoked: abort, begin again). */
	enum bole_status (*object)(struct bole_mark *, const struct bole_oid *, bool *fresh);
	/* The next root that came up meanwhile: a new value of a reference, or an object that a
	 * transaction relies on. BOLE_END. Walk it before the next end. */
	enum bole_status (*root)(struct bole_mark *, struct bole_oid *out);
	/* Removes what is unmarked and frees the mark. BOLE_AGAIN: further roots came up, or a
	 * transaction that began before the mark is still open (a store may wait for those, or only
	 * for one that looked up more than its list holds); the mark stays: call root, walk, try
	 * again. Any other result ends the mark; errors remove nothing (BOLE_E_GONE:
	 * roots were lost, as such a transaction committed, or as above). */
	enum bole_status (*end)(struct bole_mark *, struct bole_mark_result *out);
	/* NULL is fine. */
	void (*abort)(struct bole_mark *);
	/* The extent `keep` takes the place of `extents`, before anything is marked: of an id that
	 * has an entry in it, entries in these extents and records are not marked along; nor, of
	 * any id, those in these extents that no lookup returns. So they go at the end, with the
	 * rest of what is unmarked. The caller sees to it that no other extent has an entry of an
	 * id that keep has, so that what lookups return from then on are keep's entries, and that
	 * their bases are in keep. BOLE_E_INVALID: no such candidate. NULL: not in this store. */
	enum bole_status (*replace)(struct bole_mark *, uint64_t keep, const uint64_t *extents,
	                            size_t count);
};

/* As the members of struct bole_mark_ops; BOLE_E_UNSUPPORTED from a store that has none. */
BOLE_MUST_USE enum bole_status bole_mark_begin(struct bole_store *, uint32_t repo,
                                               struct bole_mark **out);
BOLE_MUST_USE enum bole_status bole_mark_object(struct bole_mark *, const struct bole_oid *,
                                                bool *fresh);
BOLE_MUST_USE enum bole_status bole_mark_root(struct bole_mark *, struct bole_oid *out);
BOLE_MUST_USE enum bole_status bole_mark_replace(struct bole_mark *, uint64_t keep,
                                                 const uint64_t *extents, size_t count);
BOLE_MUST_USE enum bole_status bole_mark_end(struct bole_mark *, struct bole_mark_result *out);
/* NULL is fine. */
void bole_mark_abort(struct bole_mark *);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_MARK_H */
