/* SPDX-License-Identifier: ISC */
/* The waist, part 4: objects as stored, snapshots, transactions.
 *
 * A store keeps *entries*: an object in Git's pack entry encoding (gitformat-pack(5)): the
 * type-and-size head, for a delta the base (offset or id), and the deflated bytes. The store never
 * inflates and knows nothing of Git beyond "an id has an entry"; resolving deltas is src/git's
 * work. So a received pack is stored and served byte for byte.
 *
 * Two kinds of home: a *record* holds one entry (extent 0 never occurs; offset 0); an *extent*
 * holds the entries of one received pack at the pack's own offsets (its 12-byte header included),
 * so offset deltas stay valid. A record's delta base is named by id only.
 *
 * The oldest entry of an id wins: publishing an id again never replaces the entry that lookups
 * find. Together with "a delta's base was findable when the delta was published" this keeps chains
 * free of cycles.
 *
 * Nothing unverified is served: view() has checked the checksum of every byte that it shows.
 */
#ifndef BOLE_ODB_H
#define BOLE_ODB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/oid.h"
#include "bole/refs.h"
#include "bole/repos.h"
#include "bole/status.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_store;

/* Where and how an object is stored. (extent, offset) identifies the entry in its volume; sorting
 * by (extent, offset) is the order of the log, good for sequential reading. */
struct bole_entry {
	uint64_t extent;
	uint64_t offset;
	uint64_t stored_bytes; /* the whole entry: head, base, deflated bytes */
	uint8_t type;          /* enum bole_object_type, after resolving deltas */
};

/* An immutable view of one repository: its references and every object published in its domain
 * when it was opened (objects published later may show up; references never change). Used by one
 * fiber at a time. Pins what it may read. */
struct bole_snapshot {
	struct bole_store *store;
	struct bole_repo repo;
};

/* A transaction on one repository. view sees what is published and what this transaction wrote;
 * it is valid until commit or abort. Used by one fiber at a time. Whatever a commit links to or
 * sets a reference to must have been put by it, looked up through view, or be reachable from a
 * reference that it compares: only then no collection of garbage (mark.h) removes it meanwhile. */
struct bole_tx {
	struct bole_store *store;
	struct bole_snapshot *view;
};

/* One row of an extent's table. The checksum is the store's affair. */
struct bole_extent_row {
	struct bole_oid oid;
	uint8_t type; /* here it fills a gap: a push of a million objects has a million rows */
	uint64_t offset;
	uint64_t stored_bytes;
};

/* An extent of a repository's domain. Its number is never given to another one, and the entries of
 * an extent never change their order: (extent, number in order) names an entry for good, also when
 * it was collected meanwhile. */
struct bole_extent_info {
	uint64_t extent;
	uint64_t data_bytes;
	uint32_t rows;
};

/* One entry of an extent in the order of offsets. */
struct bole_extent_place {
	uint64_t offset;
	uint64_t stored_bytes;
	uint8_t type;
};

/* Names a prepared transaction across restarts. */
struct bole_tx_token {
	uint8_t bytes[16];
};

struct bole_odb_ops {
	/* BOLE_E_NOT_FOUND (no such repository), BOLE_E_NO_MEMORY, or an error of reading. Later
	 * calls return BOLE_E_GONE once a full volume has revoked it. */
	enum bole_status (*snapshot_open)(struct bole_store *, uint32_t repo,
	                                  struct bole_snapshot **out);
	void (*snapshot_close)(struct bole_snapshot *);

	/* BOLE_OK, BOLE_E_NOT_FOUND, or an error of reading the index. */
	enum bole_status (*find)(struct bole_snapshot *, const struct bole_oid *,
	                         struct bole_entry *out);
	/* The entry that starts at offset in an extent (the base of an offset delta), and its id,
	 * unless oid is NULL, which saves a read. It may be a duplicate that find() does not
	 * return. */
	enum bole_status (*entry_at)(struct bole_snapshot *, uint64_t extent, uint64_t offset,
	                             struct bole_oid *oid, struct bole_entry *out);
	/* Shows verified stored bytes of an entry from position pos (< stored_bytes): the whole
	 * rest when stored_bytes <= BOLE_VIEW_BYTES, else at least 1 byte. *out is borrowed until
	 * the next call on this snapshot. Reading entries in the order of the log is the hot path
	 * of clone: a store keeps a read-ahead window per snapshot. */
	enum bole_status (*view)(struct bole_snapshot *, const struct bole_entry *, uint64_t pos,
	                         struct bole_bytes *out);
	/* Every findable object of the domain, in the order of the log. *cursor starts at 0 and is
	 * opaque; BOLE_END. */
	enum bole_status (*next)(struct bole_snapshot *, uint64_t *cursor, struct bole_oid *oid,
	                         struct bole_entry *out);

	/* Extents as such; all four are NULL in a store that has none. */

	/* The extent with the smallest number > after; BOLE_END. */
	enum bole_status (*extent_next)(struct bole_snapshot *, uint64_t after,
	                                struct bole_extent_info *out);
	/* Up to *count entries from number first in the order of offsets on; sets *count. */
	enum bole_status (*extent_rows)(struct bole_snapshot *, uint64_t extent, uint32_t first,
	                                struct bole_extent_place *rows, size_t *count);
	/* The number in that order of the entry at an offset. BOLE_E_NOT_FOUND: none, or what the
	 * entry says is its extent is a record. */
	enum bole_status (*extent_order)(struct bole_snapshot *, uint64_t extent, uint64_t offset,
	                                 uint32_t *order);
	/* Verified bytes of an extent from offset on, at least one, as many as can be shown in one
	 * piece. Borrowed until the next call. BOLE_E_NOT_FOUND: collected. */
	enum bole_status (*extent_view)(struct bole_snapshot *, uint64_t extent, uint64_t offset,
	                                struct bole_bytes *out);
};

struct bole_tx_ops {
	/* BOLE_E_NOT_FOUND (no such repository), BOLE_E_READ_ONLY, BOLE_E_NO_MEMORY. */
	enum bole_status (*begin)(struct bole_store *, uint32_t repo, struct bole_tx **out);
	/* Adds one object as a record: entry is the concatenation of count pieces in pack entry
	 * encoding, at most record_bytes_max (store info); never an offset delta. An id that is
	 * findable already is left as it is (BOLE_OK). BOLE_E_NO_SPACE before anything is kept. */
	enum bole_status (*put)(struct bole_tx *, const struct bole_oid *, uint8_t type,
	                        const struct bole_bytes *pieces, size_t count);
	/* Stages a removal: after the commit the id is not findable any more, unless this
	 * transaction or a later one puts it again. The caller knows that nothing live needs it,
	 * as a link or as a delta base. An id that is not there is BOLE_OK. Allowed on a full
	 * volume. */
	enum bole_status (*drop)(struct bole_tx *, const struct bole_oid *);
	/* Streams one pack into a pending extent: begin, append any number of times (the pack from
	 * its first header byte to before its trailer), finish with the table sorted by offset.
	 * Several extents one after another are allowed, not nested. Space is reserved segment by
	 * segment: append fails with BOLE_E_NO_SPACE at the floor. */
	enum bole_status (*extent_begin)(struct bole_tx *, uint64_t *extent);
	enum bole_status (*extent_append)(struct bole_tx *, struct bole_bytes);
	/* Reads pending bytes of the extent in progress, before its table exists; len bytes at
	 * offset, all of which were appended. */
	enum bole_status (*extent_read)(struct bole_tx *, uint64_t offset, void *dst, size_t len);
	enum bole_status (*extent_finish)(struct bole_tx *, const struct bole_extent_row *rows,
	                                  size_t count);
	/* Makes everything so far durable but unpublished; survives restart until commit, abort
	 * or expiry. After it only commit and abort are allowed. */
	enum bole_status (*prepare)(struct bole_tx *, struct bole_tx_token *out);
	/* Reopens a prepared transaction after a restart. BOLE_E_NOT_FOUND. */
	enum bole_status (*resume)(struct bole_store *, const struct bole_tx_token *,
	                           struct bole_tx **out);
	/* Publishes all or nothing: objects, aux writes and reference updates become visible after
	 * the one flush returned. BOLE_E_CONFLICT: *failed is the index of the first update whose
	 * compare failed, or that would make a directory/file clash; the transaction stays open and
	 * may be committed again with other updates. Any other result ends the transaction.
	 * BOLE_E_IO: outcome unknown, the volume is read-only until reopened. */
	enum bole_status (*commit)(struct bole_tx *, const struct bole_ref_update *updates,
	                           size_t count, size_t *failed);
	/* Drops everything and frees tx. NULL is fine. */
	void (*abort)(struct bole_tx *);
};

/* What follows is as the members of the same names above. Calls may block on the device. */

BOLE_MUST_USE enum bole_status bole_snapshot_open(struct bole_store *, uint32_t repo,
                                                  struct bole_snapshot **out);
/* NULL is fine. */
void bole_snapshot_close(struct bole_snapshot *);
BOLE_MUST_USE enum bole_status bole_odb_find(struct bole_snapshot *, const struct bole_oid *,
                                             struct bole_entry *out);
BOLE_MUST_USE enum bole_status bole_odb_entry_at(struct bole_snapshot *, uint64_t extent,
                                                 uint64_t offset, struct bole_oid *oid,
                                                 struct bole_entry *out);
BOLE_MUST_USE enum bole_status bole_odb_view(struct bole_snapshot *, const struct bole_entry *,
                                             uint64_t pos, struct bole_bytes *out);
BOLE_MUST_USE enum bole_status bole_odb_next(struct bole_snapshot *, uint64_t *cursor,
                                             struct bole_oid *oid, struct bole_entry *out);

/* In a store without extents bole_extent_next is BOLE_END, the others are BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_extent_next(struct bole_snapshot *, uint64_t after,
                                                struct bole_extent_info *out);
BOLE_MUST_USE enum bole_status bole_extent_rows(struct bole_snapshot *, uint64_t extent,
                                                uint32_t first, struct bole_extent_place *rows,
                                                size_t *count);
BOLE_MUST_USE enum bole_status bole_extent_order(struct bole_snapshot *, uint64_t extent,
                                                 uint64_t offset, uint32_t *order);
BOLE_MUST_USE enum bole_status bole_extent_view(struct bole_snapshot *, uint64_t extent,
                                                uint64_t offset, struct bole_bytes *out);

BOLE_MUST_USE enum bole_status bole_tx_begin(struct bole_store *, uint32_t repo,
                                             struct bole_tx **out);
BOLE_MUST_USE enum bole_status bole_tx_put(struct bole_tx *, const struct bole_oid *, uint8_t type,
                                           const struct bole_bytes *pieces, size_t count);
BOLE_MUST_USE enum bole_status bole_tx_drop(struct bole_tx *, const struct bole_oid *);
BOLE_MUST_USE enum bole_status bole_tx_extent_begin(struct bole_tx *, uint64_t *extent);
BOLE_MUST_USE enum bole_status bole_tx_extent_append(struct bole_tx *, struct bole_bytes);
BOLE_MUST_USE enum bole_status bole_tx_extent_read(struct bole_tx *, uint64_t offset, void *dst,
                                                   size_t len);
BOLE_MUST_USE enum bole_status
bole_tx_extent_finish(struct bole_tx *, const struct bole_extent_row *rows, size_t count);
BOLE_MUST_USE enum bole_status bole_tx_prepare(struct bole_tx *, struct bole_tx_token *out);
BOLE_MUST_USE enum bole_status bole_tx_resume(struct bole_store *, const struct bole_tx_token *,
                                              struct bole_tx **out);
BOLE_MUST_USE enum bole_status bole_tx_commit(struct bole_tx *,
                                              const struct bole_ref_update *updates, size_t count,
                                              size_t *failed);
/* NULL is fine. */
void bole_tx_abort(struct bole_tx *);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_ODB_H */
