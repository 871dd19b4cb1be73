/* SPDX-License-Identifier: ISC */
/* What mounting shares: applying records, reading the log and the checkpoint. */
#ifndef BOLE_FLASH_MOUNT_H
#define BOLE_FLASH_MOUNT_H

#include "flash/index/auxtable.h"
#include "flash/index/extent.h"
#include "flash/log/record.h"
#include "flash/log/tx.h"

/* The head of an AUX record. parts 0: the key is removed. */
struct flash_aux_record {
	uint8_t key[AUX_KEY_HEAD + AUX_KEY_MAX];
	size_t key_len;
	uint32_t part;
	uint32_t parts;
	uint32_t total; /* of the whole value */
};

struct flash_apply {
	struct flash_volume *v;
	struct flash_prepared *prepared; /* the PREPARE record last seen */
	struct flash_reader reader;
	struct flash_aux_record value; /* the part that comes next; parts 0: none does */
	uint32_t value_owner;
	uint8_t value_flags;
	uint64_t batch;  /* that the records are from */
	bool checkpoint; /* records are a checkpoint's */
	bool again;      /* records of this batch replace what they repeat */
};
void bole_flash_apply_init(struct flash_apply *, struct flash_volume *);
/* Applies one record of the log or of a checkpoint. BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_apply(struct flash_apply *, const struct flash_record *,
                                                uint32_t segment, uint32_t offset);
void bole_flash_apply_release(struct flash_apply *);
/* Bytes that the published state names now, unless records are a checkpoint's. */
void bole_flash_apply_lives(struct flash_apply *, uint32_t segment, uint64_t bytes);
/* Nothing is prepared any more. */
BOLE_MUST_USE enum bole_status bole_flash_apply_forget(struct flash_apply *);
/* What follows is gone: a prepared transaction that may not be whole is none. */
void bole_flash_apply_cut(struct flash_apply *);
/* The index of a domain, to be changed in place: nobody else sees it yet. BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_apply_index(struct flash_apply *, uint32_t domain,
                                                      struct flash_index **out);
/* Rows (rows.h) of the transaction whose PREPARE record was last. */
BOLE_MUST_USE enum bole_status bole_flash_apply_prepared(struct flash_apply *, uint32_t domain,
                                                         const uint8_t *rows, uint32_t count);
/* What a checkpoint says of an index: RUN, EXTENT (index_load.c). BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_index_load(struct flash_apply *,
                                                     const struct flash_record *);

/* Applies one record of a checkpoint but its END (chain.c). BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_chain_record(struct flash_apply *,
                                                       const struct flash_record *);
/* While mounting from another state than the log was written over: kills every row of an id, or all
 * but those of extents (supersede.c). */
BOLE_MUST_USE enum bole_status bole_flash_apply_supersede(struct flash_apply *,
                                                          struct flash_index *, const uint8_t *key,
                                                          bool extents);

struct flash_domain *bole_flash_domain_find(struct flash_volume *, uint32_t id);

/* The id's row in memory; where its record is, if it has one. */
struct flash_row_now {
	bool has;
	uint8_t type;
	uint64_t place;
	uint32_t stored;
	uint32_t fresh; /* FRESH_NONE: in mem */
};
struct flash_row_now bole_flash_row_now(const struct flash_memory *, struct bole_bytes key,
                                        uint64_t hash);

/* False: it makes no sense. */
bool bole_flash_aux_decode(const struct flash_record *, struct flash_aux_record *out);
/* It begins a value, or goes on with the one that the records before it are of: parts of a value
 * follow each other, and those of two must not become one. */
bool bole_flash_aux_follows(const struct flash_apply *, const struct flash_record *,
                            const struct flash_aux_record *);

/* -- A record is written once more (repeat.c) -- */

/* Something that was recovered names the OBJECT or AUX record at that place. */
bool bole_flash_repeat_wanted(struct flash_volume *, const struct flash_record *, uint32_t segment,
                              uint32_t offset);
/* Whatever names it names the other place instead. */
BOLE_MUST_USE enum bole_status bole_flash_repeat_move(struct flash_volume *,
                                                      const struct flash_record *, uint64_t from,
                                                      uint64_t to);

/* -- The log -- */
struct flash_batch_copy {
	struct flash_batch_copy *next;
	size_t bytes; /* with this head */
	uint8_t data[];
};
struct flash_batch_at {
	uint64_t sequence; /* of the batch */
	uint64_t segment_sequence;
	uint64_t durable;
	uint64_t link;
	uint32_t segment;
	uint32_t offset;
	uint32_t bytes;
	uint32_t records;
	uint32_t flags;
	uint32_t next; /* the log's segment after this batch's */
	uint64_t next_sequence;
	const uint8_t *copy; /* NULL = read it */
	bool damaged;        /* only its trailer verifies */
};
struct flash_log_scan {
	struct flash_volume *v;
	struct flash_batch_at *batch;
	uint32_t batches;
	uint32_t cap;
	uint8_t *buf; /* of the segment in progress */
	size_t buf_cap;
	uint32_t buf_segment;
	uint32_t buf_from;
	uint32_t buf_len;
	uint64_t shown;        /* batch that the buffer holds and that verified as a whole */
	uint64_t durable;      /* the highest durable_seq of an accepted trailer */
	uint64_t seen_durable; /* of any valid trailer, beyond the end too */
	uint32_t ahead;        /* checkpoints that trailers know beyond the newest one found */
	uint64_t ahead_last;   /* the last batch that does */
	bool behind;           /* a trailer that verifies lies behind the end */
	bool newest;           /* the place that the newest anchor names was taken up */
	/* Where the scan stands. */
	uint32_t segment;
	uint32_t pos;
	uint64_t segment_sequence;
	uint32_t next;
	uint64_t next_sequence;
	uint64_t expect;
	uint64_t link;
	uint32_t opened;
	bool sealed;          /* it ends with a confirmed seal */
	bool confirmed_ahead; /* the confirmation opened the next segment */
	struct flash_batch_copy *copies;
	size_t kept; /* bytes of them that were copied on the way */
	size_t keep_max;
	uint32_t step; /* bytes of the last read */
};
/* Reads the log from the anchor on. BOLE_E_CORRUPT: a batch that was durable is bad. */
BOLE_MUST_USE enum bole_status bole_flash_log_scan(struct flash_log_scan *, struct flash_volume *);
void bole_flash_log_scan_release(struct flash_log_scan *);
/* From here on the batch is what it is in memory now: what a cut left unstable reads differently
 * each time. BOLE_E_CORRUPT: it does not verify any more. */
BOLE_MUST_USE enum bole_status bole_flash_batch_hold(struct flash_log_scan *,
                                                     struct flash_batch_at *);
/* Shows the records of a batch (verified again): from *pos on, BOLE_END. pos starts at 0. */
BOLE_MUST_USE enum bole_status bole_flash_batch_next(struct flash_log_scan *,
                                                     const struct flash_batch_at *, uint32_t *pos,
                                                     struct flash_record *out, uint32_t *offset);
/* The log lies in the segment. One that was said to be bad is given up when nothing lives there. */
void bole_flash_tail(struct flash_volume *, uint32_t segment);
/* Applies the log to the catalog. *sealed: it ended in a clean stop. */
BOLE_MUST_USE enum bole_status bole_flash_replay(struct flash_log_scan *, bool *sealed);
/* Writes what a cut left in doubt once more, elsewhere, and a checkpoint over it. */
BOLE_MUST_USE enum bole_status bole_flash_recover(struct flash_log_scan *);

/* -- Extents -- */
/* The fragments that a map names, its own included. *map is in order data, table, map. */
BOLE_MUST_USE enum bole_status bole_flash_map_load(struct flash_volume *, uint64_t extent,
                                                   const struct flash_fragment *map,
                                                   uint32_t map_count, uint64_t map_bytes,
                                                   struct flash_fragment **out, uint32_t *count);
#endif /* BOLE_FLASH_MOUNT_H */
