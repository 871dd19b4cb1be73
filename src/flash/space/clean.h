/* SPDX-License-Identifier: ISC */
/* The cleaner: it moves what lives out of a segment, so that the segment can be written again.
 *
 * Moves are not in the log. A record is copied to the survivors' segment, then the index says that
 * it is there, and the next checkpoint makes both durable; until its anchor is, the victim is not
 * written, so a cut in between loses nothing. Work comes in steps of bounded size; the state
 * between them belongs to whoever holds `busy`. */
#ifndef BOLE_FLASH_CLEAN_H
#define BOLE_FLASH_CLEAN_H

#include "flash/log/reader.h"
#include "flash/log/record.h"
#include "flash/log/tx.h"

/* -- Records of a segment (clean_walk.c) -- */

struct flash_walk {
	struct flash_volume *v;
	uint32_t segment;
	uint64_t sequence;
	uint32_t kind;  /* enum flash_segment_kind */
	uint64_t batch; /* of the log: as the head says */
	uint32_t pos;
	uint32_t inner; /* end of the fragment of records that pos is in, or 0 */
	uint32_t pad;   /* where the walk goes on behind it */
	bool all;       /* show records of every kind */
	bool damaged;   /* something did not verify: there may be more than was shown */
	uint8_t *buf;   /* bytes [from, from + len) */
	size_t cap;
	uint32_t from;
	uint32_t len;
	uint64_t read; /* bytes so far */
};
/* Reads the head. BOLE_E_NOT_FOUND: it holds nothing that can be walked. */
BOLE_MUST_USE enum bole_status bole_flash_walk_begin(struct flash_walk *, struct flash_volume *,
                                                     uint32_t segment);
/* The next object, aux record or fragment of an extent (or, if all is set: record) that verifies,
 * borrowed until the next call;
 * BOLE_END. */
BOLE_MUST_USE enum bole_status bole_flash_walk_next(struct flash_walk *, struct flash_record *out,
                                                    const uint8_t **bytes, uint32_t *offset);
/* Frees what it read; the position stays. */
void bole_flash_walk_rest(struct flash_walk *);

/* -- Moves (clean_move.c) -- */

enum { CLEAN_MOVES = 512 }; /* in one fragment of survivors */

struct flash_move {
	uint32_t from; /* offset in the victim */
	uint32_t at;   /* in the bytes of the fragment, from the first record on */
	uint32_t bytes;
	uint32_t owner;
	uint8_t kind; /* FLASH_RECORD_OBJECT, FLASH_RECORD_AUX */
	bool installed;
};

enum flash_clean_why {
	FLASH_CLEAN_SPACE,
	FLASH_CLEAN_RETIRE, /* writing to it failed */
	FLASH_CLEAN_DECAY,
	FLASH_CLEAN_LEVEL,
};

struct flash_clean {
	bool busy; /* (L) */
	struct flash_walk walk;
	bool walking; /* walk.segment is the victim */
	enum flash_clean_why why;
	/* Survivors' segment, and the one of the other sort: what was moved once before, or not
	 * for its garbage, will stay; what comes from the log may not. */
	struct flash_open open;
	struct flash_open parked;
	bool cold;    /* open is for what will stay */
	uint8_t *buf; /* segment head, heads of the fragment, records */
	size_t cap;
	uint32_t len; /* of the records */
	uint32_t moves;
	struct flash_move move[CLEAN_MOVES];
	uint32_t written; /* moves that are on the device, to be installed */
	uint32_t target;  /* where */
	uint32_t offset;  /* of the first record there */
	struct flash_reader reader;
	uint64_t programmed;   /* by the step */
	struct flash_pin *pin; /* of whoever is busy */
};

/* What lives is where the published state says; false: dead, or nobody can tell (*rc). */
BOLE_MUST_USE bool bole_flash_move_current(struct flash_volume *, struct flash_clean *,
                                           const struct flash_record *, uint32_t segment,
                                           uint32_t offset, enum bole_status *rc);
/* Takes a copy of a record, to be moved. BOLE_END: it did, but write before the next one. */
BOLE_MUST_USE enum bole_status bole_flash_move_add(struct flash_volume *, struct flash_clean *,
                                                   const struct flash_record *,
                                                   const uint8_t *bytes, uint32_t offset);
/* Programs as many of the copies as fit into the survivors' segment. */
BOLE_MUST_USE enum bole_status bole_flash_move_write(struct flash_volume *, struct flash_clean *);
/* The leader: the published state gets the new places of those that are current still. */
BOLE_MUST_USE enum bole_status bole_flash_move_install(struct flash_volume *, struct flash_clean *);

/* -- Extents and runs (clean_parts.c) -- */

/* A fragment in the victim: if it lives, all of its extent that is in the victim goes elsewhere. */
BOLE_MUST_USE enum bole_status
bole_flash_clean_fragment(struct flash_volume *, struct flash_clean *, const struct flash_record *,
                          uint32_t offset, bool leading, bool *moved, bool *lost);
/* Pages in the victim: all of one run, or of one extent's, goes elsewhere. *moved false: there is
 * none. */
BOLE_MUST_USE enum bole_status bole_flash_clean_pages(struct flash_volume *, struct flash_clean *,
                                                      bool leading, bool *moved, bool *lost);

/* -- Steps (clean.c) -- */

/* Takes the lead to install something, unless the caller leads already. False: somebody else went
 * on with the cleaner meanwhile, which is no longer ours. */
bool bole_flash_clean_lead(struct flash_volume *, struct flash_clean *, bool leading);
void bole_flash_clean_follow(struct flash_volume *, bool leading);

struct flash_clean_step {
	bool leading;               /* the caller leads */
	bool hurry;                 /* space is wanted now: the most of it for the least work */
	uint32_t budget;            /* bytes to program, about */
	enum flash_clean_why worst; /* the least urgent reason that counts */
	uint32_t garbage;           /* victims have at least so much of it, in percent */
	uint64_t programmed;        /* out */
	enum flash_clean_why why;   /* out */
};
/* One step. BOLE_END: there is nothing to clean. BOLE_AGAIN: somebody else is at it. */
BOLE_MUST_USE enum bole_status bole_flash_clean(struct flash_volume *, struct flash_clean_step *);
/* Gives back what it holds; for the end of the volume. */
void bole_flash_clean_close(struct flash_volume *);
/* Leads, for something that is not a request: nobody else changes published versions. */
void bole_flash_lead_begin(struct flash_volume *);
void bole_flash_lead_end(struct flash_volume *);

#endif /* BOLE_FLASH_CLEAN_H */
