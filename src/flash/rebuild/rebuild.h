/* SPDX-License-Identifier: ISC */
/* Rebuilding a state whose checkpoint is damaged, when no older one and no log from before it is
 * left: from what verifies of its elements, from every batch of the log that is still on the
 * device, and from the records and fragments that the cleaner moved. Only a repair does this.
 *
 * Two volumes are at work: the one under repair, which gets what verifies of the checkpoint, and an
 * archive of the same device: all batches before the newest anchor that are left, replayed in order
 * over an empty state. Where the checkpoint has a hole, what the archive knows of that part counts.
 * What nobody can know is said: values that may be older than they were, and removals that are
 * forgotten. Nothing is written here. */
#ifndef BOLE_FLASH_REBUILD_H
#define BOLE_FLASH_REBUILD_H

#include "flash/rebuild/packs.h"
#include "flash/space/clean.h"
#include "flash/volume/mount.h"
#include "flash/volume/repair.h"

enum { REBUILD_KEY_MAX = 1024, REBUILD_TEXT = 160 };

/* What the archive notes beside the state. */
struct flash_archive {
	/* Class, repository, key -> batch: the last word on a reference, an aux record, a
	 * repository. */
	struct flash_table *stamps;
	struct flash_table *dropped; /* domain, place, id -> opening of the segment of the drop */
	const struct flash_table *hashes; /* of domains (hashes.c); borrowed */
	uint8_t *decides; /* segments of log whose batches say what nothing else does */
	uint64_t limit;   /* the first batch that is no part of it */
	uint64_t batches;
	uint64_t missing;      /* batches before the limit that are gone */
	uint64_t last_missing; /* the last of them; 0 = none */
};
enum flash_stamp {
	FLASH_STAMP_REF = 'r',
	FLASH_STAMP_AUX = 'a',
	FLASH_STAMP_REPO = 'x',
	/* Of prepared transactions, by their tokens, for owner 0. */
	FLASH_STAMP_PREPARED = 'p',
	FLASH_STAMP_COMMITTED = 'c',
	FLASH_STAMP_ABORTED = 'd',
	/* For a repository: a transaction was committed whose preparation is gone. */
	FLASH_STAMP_UNKNOWN = 'u',
	/* A place (segment as the owner, offset) of an aux record that the archive has seen as a
	 * part of a prepared transaction: it knows what became of it. */
	FLASH_STAMP_PREPARED_AUX = 'q',
};

/* A segment as its own head shows it. */
struct rebuild_segment {
	uint64_t sequence;
	uint32_t kind;
	uint32_t erases;
	bool head;  /* it verifies */
	bool known; /* the checkpoint's row of it was read */
	bool fresh; /* in the element under work */
	bool spare; /* not to be written before the new state is durable */
};

/* A fragment of an element that verifies. */
struct rebuild_piece {
	uint64_t stream;
	struct flash_fragment f;
};

/* A place in the order of an element's records. */
struct rebuild_mark {
	uint32_t rank; /* enum rebuild_rank */
	uint32_t owner;
	uint32_t part; /* enum rebuild_part, of a repository */
	uint32_t len;
	uint8_t key[REBUILD_KEY_MAX]; /* of references and aux records */
};
enum rebuild_rank { RANK_BEGIN, RANK_SEGMENTS, RANK_CATALOG, RANK_REPO, RANK_PREPARED, RANK_END };
enum rebuild_part { PART_REPO, PART_REFS, PART_AUX, PART_INDEX };

/* Records between the two are gone. */
struct rebuild_hole {
	struct rebuild_mark from;
	struct rebuild_mark to;
	uint64_t since; /* as below */
	bool exact;
};

struct rebuild {
	struct flash_volume *v;    /* under repair */
	struct flash_volume *then; /* the archive */
	struct flash_archive archive;
	struct rebuild_segment *segment;
	struct rebuild_piece *piece; /* sorted by stream, position */
	uint32_t pieces;
	uint32_t pieces_cap;
	uint32_t *domain; /* whose index is made anew */
	uint32_t domains;
	struct rebuild_packs *packs; /* the volume's */
	struct flash_table *aux;     /* copies of aux records */
	struct flash_table *made;    /* repositories that the log behind the checkpoint makes */
	struct flash_table *listed;  /* token, repository, key: what was prepared in elements */
	struct flash_table *removed; /* repository, aux key: it was removed */
	bool said_prepared;
	struct rebuild_hole *hole;  /* all of them */
	struct flash_table *filled; /* hole, repository -> its name in the report */
	uint32_t hole_count;
	uint64_t extent_max; /* numbers that were seen */
	uint64_t holes;
	uint64_t records; /* found */
	uint64_t copied;  /* packs */
	/* Of the element with the hole under work: the batch from which on the archive is newer
	 * than the elements before it; exact: not only at the latest. */
	uint64_t since;
	bool exact;
};

/* -- For replay into an archive (archive.c) -- */

/* Before a record is applied: makes it fit, and notes what it decides. BOLE_E_EXISTS: it says
 * nothing new. */
BOLE_MUST_USE enum bole_status bole_flash_archive_note(struct flash_apply *,
                                                       const struct flash_record *,
                                                       uint32_t segment, uint32_t offset);
/* Finds all batches before the newest anchor's. */
BOLE_MUST_USE enum bole_status bole_flash_archive_scan(struct flash_log_scan *);
/* The batch of the last word on something; false: there is none. */
bool bole_flash_archive_stamp(const struct flash_archive *, enum flash_stamp, uint32_t owner,
                              struct bole_bytes key, uint64_t *batch);
/* Makes the owner of a record known, as `then` (may be NULL) knows it, and its name free.
 * BOLE_E_EXISTS: the record says what is known already. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_fit(struct flash_volume *,
                                                      const struct flash_volume *then,
                                                      const struct flash_record *);

/* -- Parts -- */

/* The hash of each domain, as what is on the device shows it (hashes.c). */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_hashes(struct rebuild *);
/* Of a domain, or its repository; 0: nothing tells. */
uint8_t bole_flash_rebuild_hash_of(const struct flash_volume *, uint32_t owner);
/* What one record shows of it; 0 = nothing. */
uint8_t bole_flash_rebuild_algo(const struct flash_record *);

/* Heads of all segments, fragments of all elements (survey.c). */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_survey(struct rebuild *);
void bole_flash_rebuild_survey_end(struct rebuild *);
/* Applies what verifies of the newest checkpoint, and fills the holes (remains.c). */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_remains(struct rebuild *);
/* What the archive knows of a hole (fill.c). */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_fill(struct rebuild *,
                                                       const struct rebuild_hole *, bool base);
/* The same for repositories that were not known then. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_fill_late(struct rebuild *);
/* The index of a domain is made anew. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_anew(struct rebuild *, uint32_t domain);
/* The indexes that are made anew (records.c). */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_records(struct rebuild *);
/* The checkpoint says that nothing lives in it. */
static inline bool bole_flash_rebuild_dead(const struct rebuild *rb, uint32_t segment)
{
	return rb->segment[segment].known && rb->v->segment[segment].live == 0;
}

/* Shows every object, aux record and fragment in the segments that may hold something that lives,
 * but for the log behind the checkpoint, which is replayed; all: of that, too, and records of the
 * log of every other kind (records.c). */
BOLE_MUST_USE enum bole_status
bole_flash_rebuild_walk(struct rebuild *, bool all,
                        enum bole_status (*show)(struct rebuild *, const struct flash_record *,
                                                 const struct flash_walk *, uint32_t offset));
/* It is in the log behind the newest checkpoint. */
bool bole_flash_rebuild_in_tail(const struct rebuild *, const struct flash_walk *, uint32_t offset);
/* A fragment of data, for the packs that are wanted. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_piece(struct rebuild *,
                                                        const struct flash_record *,
                                                        const struct flash_walk *, uint32_t offset);
/* The same of any packs. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_piece_of(struct rebuild_packs *,
                                                           const struct flash_record *,
                                                           const struct flash_walk *,
                                                           uint32_t offset);
/* The segment may hold pages of runs. ctx: struct rebuild. */
bool bole_flash_rebuild_has_pages(void *ctx, uint32_t segment);
/* Repositories that only records and fragments speak of (records.c). */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_owners(struct rebuild *);
/* Packs of the index that cannot be read are wanted. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_want(struct rebuild *);
/* Their tables, and what is said of them. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_packs(struct rebuild *);
/* Rows of an extent that lie in holes are dead. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_holes(struct flash_volume *, struct flash_index *,
                                                        const struct flash_extent *,
                                                        uint64_t *count);
void bole_flash_rebuild_sequences(struct rebuild *);
/* A key of a part of a repository may have been in the hole (fill.c). */
bool bole_flash_rebuild_in_hole(const struct rebuild_hole *, uint32_t repo, enum rebuild_part,
                                struct bole_bytes key);
/* A reference may be older than it was, or may have been removed (doubt.c). */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_doubt(struct rebuild *, const struct flash_repo *,
                                                        struct bole_bytes name);
/* All of a repository between two names, exclusive; empty = from the first, to the last. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_doubt_range(struct rebuild *,
                                                              const struct flash_repo *,
                                                              struct bole_bytes from,
                                                              struct bole_bytes to);
BOLE_MUST_USE enum bole_status bole_flash_rebuild_doubt_everything(struct rebuild *);
/* What is newer says what it is: a reference, all of a record. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_sure(struct flash_volume *, uint32_t repo,
                                                       struct bole_bytes name);
BOLE_MUST_USE enum bole_status bole_flash_rebuild_sure_all(struct flash_volume *, uint32_t repo,
                                                           struct bole_bytes body);
/* All that is on the device is known, the log behind the checkpoint is replayed: references in
 * doubt whose objects are nowhere are of old and go; of others it is said. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_doubts(struct flash_volume *);
/* What the report calls `was` has another name by now. */
void bole_flash_rebuild_renamed(struct flash_volume *, const char *was, struct bole_bytes name);
/* A name as a report shows it. */
void bole_flash_rebuild_show(struct bole_bytes key, char out[REBUILD_TEXT]);
/* A copy of an aux record; and when all are known, what becomes of them (aux.c). */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_aux_found(struct rebuild *,
                                                            const struct flash_record *,
                                                            const struct flash_walk *,
                                                            uint32_t offset);
BOLE_MUST_USE enum bole_status bole_flash_rebuild_aux(struct rebuild *);

/* Whatever is prepared may have been resolved (prepared.c). */
void bole_flash_rebuild_doubt_prepared(struct flash_volume *);
/* The archive knows better, where it does. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_judge_prepared(struct rebuild *);
/* An element lists an aux record of a prepared transaction. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_listed(struct rebuild *,
                                                         const struct flash_prepared *,
                                                         const struct flash_record *);
/* One is of that length: what became of it is known. */
bool bole_flash_rebuild_is_listed(const struct rebuild *, uint32_t repo, struct bole_bytes key,
                                  uint32_t total);
/* Those of a repository's whose transaction the log committed later, whether or not the log has its
 * preparation; value: as in its table. */
BOLE_MUST_USE enum bole_status
bole_flash_rebuild_each_set(struct rebuild *, uint32_t repo,
                            enum bole_status (*show)(void *, struct bole_bytes key,
                                                     struct bole_bytes value, uint64_t batch),
                            void *ctx);
/* The hole may have held what was prepared. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_prepared(struct rebuild *,
                                                           const struct rebuild_hole *);
/* A list names it again: what was known of it before goes. */
void bole_flash_rebuild_prepare_again(struct flash_volume *, const struct flash_record *);
/* The log behind the checkpoint is replayed: what nobody can tell of is given up. */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_prepared_end(struct flash_volume *);
/* What a record of the log resolves is there; else that is said. */
bool bole_flash_rebuild_resolves(struct flash_volume *, const struct flash_record *);
/* A prepared transaction has the pack; one that is certain has the aux record at that place. */
bool bole_flash_rebuild_is_prepared(const struct flash_volume *, uint64_t extent);
bool bole_flash_rebuild_is_prepared_aux(const struct flash_volume *, uint32_t segment,
                                        uint32_t offset);

/* In place of loading the checkpoint (rebuild.c). */
BOLE_MUST_USE enum bole_status bole_flash_rebuild(struct flash_volume *);
/* Replay is done, over an older checkpoint: all that is named is there (whole.c). BOLE_E_CORRUPT.
 */
BOLE_MUST_USE enum bole_status bole_flash_rebuild_whole(struct flash_volume *);

#endif /* BOLE_FLASH_REBUILD_H */
