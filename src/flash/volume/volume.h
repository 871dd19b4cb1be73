/* SPDX-License-Identifier: ISC */
/* A mounted volume: what the parts of the engine share.
 *
 * Locks. `lock` guards everything that is marked (L) and is never held across device I/O. One
 * writer at a time, the leader (`leading`), owns what is marked (W) without any lock: the log's
 * head, the batch under construction, drafts. Published versions (indexes, tables) are immutable
 * and reference-counted. References are dropped outside the lock, because that may free much.
 *
 * What lives on the device is counted logically: published, superseded, removed. Memory that is
 * released gives nothing back; who may still read is a matter of pins (pin.h). */
#ifndef BOLE_FLASH_VOLUME_H
#define BOLE_FLASH_VOLUME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "bole/block.h"
#include "bole/platform.h"
#include "bole/repos.h"
#include "bole/store.h"
#include "flash/checkpoint/anchor.h"
#include "flash/index/index.h"
#include "flash/index/table.h"
#include "flash/log/reader.h"
#include "flash/space/pin.h"
#include "flash/volume/flash_format.h"

#define SEGMENT_NONE UINT32_MAX /* not an enumerator: those are ints */
enum {
	VOLUME_POOL = 8,
	CHECKPOINT_DELTAS = 16, /* behind one base */
	CHECKPOINT_ELEMENTS = CHECKPOINT_DELTAS + 1,
	CHECKPOINT_SEGMENTS = 4, /* of log, after which one is due */
};

enum flash_segment_state {
	SEGMENT_FREE = 0,
	SEGMENT_USED,     /* holds something, or did since the last checkpoint */
	SEGMENT_TAIL,     /* of the log, not covered by the checkpoint */
	SEGMENT_RESERVED, /* the log's next */
	SEGMENT_FREED,    /* nothing lives there, but the durable checkpoint may still say so */
	SEGMENT_FREEING,  /* the checkpoint under way does not name it */
	SEGMENT_PINNED,   /* nothing durable names it any more, but a snapshot may read it */
	SEGMENT_BAD,
};

struct flash_segment {
	uint64_t sequence;
	uint64_t freed;   /* epoch from which on nobody sees anything in it */
	uint32_t live;    /* bytes that the published state names */
	uint32_t lived;   /* bytes of fragments and pages that were written to it */
	uint32_t held;    /* beside them: not published yet, or of a checkpoint */
	uint32_t written; /* end of what was programmed: nobody reads beyond */
	uint32_t erases;
	uint32_t erased; /* bytes from its start that are blank */
	uint32_t moved;  /* generation of the anchor that makes the last move into it durable */
	uint32_t more;   /* live bytes that the group under way adds (W) */
	uint32_t less;   /* and takes away */
	uint32_t next_drafted; /* of those segments, when drafted */
	bool drafted;
	uint8_t kind; /* enum flash_segment_kind, 0 = not known */
	uint8_t state;
	bool published; /* a durable state may name what is in it */
	bool named;     /* the durable checkpoint says that something lives in it */
	bool changed;   /* its row is another one than the durable checkpoint has */
	bool parts;     /* fragments of extents are in it */
	bool open;      /* a stream writes into it, or it waits in the pool */
	bool stuck;     /* the cleaner could not empty it, and nothing died in it since */
	bool decaying;  /* the device wants it moved */
	bool retiring;  /* writing failed: bad as soon as nothing lives in it */
	bool erasing;   /* somebody is at it */
};

/* A segment that is being filled with fragments. */
struct flash_open {
	uint32_t segment; /* SEGMENT_NONE = none */
	uint32_t pos;     /* next byte; 0 = the head is not written */
	uint64_t sequence;
	uint32_t kind; /* enum flash_segment_kind */
	bool cold;     /* what goes into it will stay */
};

struct flash_domain {
	_Atomic uint32_t refs; /* repositories, and versions of the index */
	uint32_t id;
	uint8_t algo;
	bool guessed; /* by a repair: nothing tells which hash it has */
	uint32_t key_len;
	struct flash_index *index; /* (L) the published version */
	struct flash_index *draft; /* (W) */
	uint32_t next_slot;        /* (W) for the next extent */
	uint32_t fresh_rows;       /* (L) put between the last two pins: so many may come again */
	struct flash_run *level0;  /* of the checkpoint under way, or not installed yet */
	bool level0_none;          /* what was frozen came to nothing: there is no such run */
	bool level0_durable;       /* (L) */
	bool marking;              /* (L) its runs stay as they are */
	struct flash_mark *mark;   /* (L) the one under way */
	uint64_t marks;            /* (L) begun so far */
};

struct flash_repo {
	_Atomic uint32_t refs;
	uint32_t id;
	char name[BOLE_REPO_NAME_MAX + 1]; /* (L) */
	struct flash_domain *domain;
	struct flash_table *reftable; /* (L) published versions */
	struct flash_table *auxtable;
	struct flash_table *draft_refs; /* (W) */
	struct flash_table *draft_aux;
	bool removed; /* (L) */
	bool hidden;  /* (L) made, but not durable yet */
};

/* A base or a delta of the durable checkpoint. */
struct flash_element {
	uint64_t stream; /* its extent number */
	uint64_t bytes;
	uint64_t digest;
	struct flash_fragment *fragment; /* the stream's, then its map's */
	uint32_t fragments;
	uint32_t fragments_cap;
	uint32_t named; /* the last ones, which the anchor or the next element names */
};
struct flash_state;

/* The head of the log (W). */
struct flash_log {
	uint32_t segment;
	uint32_t pos; /* 0 = the segment is not opened yet */
	uint64_t sequence;
	uint32_t next;
	uint64_t next_sequence; /* that it will be opened with, unless a cut comes between */
	uint64_t batch;         /* sequence of the next batch */
	uint64_t link;          /* of the one before */
	uint64_t durable;       /* the last batch known flushed */
	uint64_t whole;         /* batch and link behind the last whole group */
	uint64_t whole_link;
	bool stale;  /* raw flash: a cut may have reached what follows pos */
	bool paid;   /* there was room for the segment beyond the floor of who wanted it */
	bool broken; /* its head takes no more: it must go on elsewhere */
	bool adrift; /* (L) it did: nothing may be written there before a checkpoint says so */
	bool sealed; /* the last batch is a seal, flushed, not confirmed */
};

struct flash_batch {
	uint8_t *buf;
	size_t cap;
	uint32_t start; /* position in the segment */
	uint32_t len;
	uint32_t records;
	uint32_t flags; /* that all batches of the group carry */
	bool open;
};

/* What a transaction collects its puts in; one is kept for the next transaction. */
struct flash_room {
	struct bole_buffer data;
	struct flash_put *put;
	uint32_t puts_cap;
	uint32_t *slot; /* all zero when it is kept */
	uint32_t slots;
};

struct flash_clean;
struct flash_repair;
struct rebuild_packs;
struct flash_tx;
struct flash_request;
struct flash_prepared;

struct flash_counters {
	_Atomic uint64_t commits;
	_Atomic uint64_t user_bytes;
	_Atomic uint64_t programmed;
	_Atomic uint64_t programs;
	_Atomic uint64_t erased;
	_Atomic uint64_t erases;
	_Atomic uint64_t moved;
	_Atomic uint64_t read;
	_Atomic uint64_t reads;
	_Atomic uint64_t flushes;
	_Atomic uint64_t index; /* programmed for runs */
	_Atomic uint64_t commit_ns_max;
	_Atomic uint64_t checkpoint_bytes;
	_Atomic uint64_t operation_ns_max;
	uint64_t mount_reads;
};

enum flash_purpose {
	FLASH_FOR_DATA,       /* refused at the floor */
	FLASH_FOR_REFS,       /* reference updates, deletes: may use the reserve */
	FLASH_FOR_CLEANING,   /* what makes space: moves */
	FLASH_FOR_MERGING,    /* and merges */
	FLASH_FOR_CHECKPOINT, /* all but what recovery needs */
	FLASH_FOR_LOG,        /* all: who writes there has asked before */
};

struct flash_volume {
	struct bole_block *dev;
	struct bole_platform *platform;
	struct bole_budget budget;
	struct bole_alloc *alloc; /* of the budget */
	struct bole_alloc *outer;
	struct flash_anchor anchor; /* (L) as last written; its map belongs to checkpoint */
	uint64_t ro_compat;         /* (L) bits that the next anchor has, too */
	struct flash_anchor_place anchor_place;
	struct flash_geometry geometry;
	uint8_t key[FLASH_KEY_BYTES];
	uint32_t unit;
	uint32_t segments;
	uint32_t segment_bytes;
	uint32_t fragment_bytes;
	uint32_t record_max;
	uint32_t page_bytes;           /* of sorted runs */
	bool short_runs;               /* segments are short: a page more or less of a run counts */
	struct flash_cache *cache;     /* of their pages */
	struct flash_objects *objects; /* small records */
	bool read_only;                /* asked for, or the volume's features demand it */
	_Atomic bool failed;       /* writing does not work: read-only until it is opened again */
	_Atomic bool worn;         /* too few good segments, or numbers: read-only for good */
	bool rebuilt;              /* what the checkpoint said was put together */
	bool salvage;              /* mounted with what damage has left */
	uint64_t lost;             /* things that were durable and are not shown */
	uint64_t in_doubt;         /* records of a write that a cut left in doubt, not moved */
	struct bole_buffer losses; /* a line each, as far as there is room */

	struct bole_mutex lock;
	struct bole_cond cond;
	bool leading;                        /* (L) */
	bool checkpointing;                  /* (L) */
	bool recovering;                     /* (L) what is held back for that is used */
	struct flash_tx *open_txs;           /* (L) */
	struct flash_room room;              /* (L) empty when somebody has it */
	bool unlogged;                       /* (L) work was published that no log repeats */
	bool unsettled;                      /* (L) some level 0 waits to be installed */
	struct flash_compaction *compaction; /* (L) the merge under way */
	bool compacting;                     /* (L) somebody is at it */
	bool lead_waits;                     /* (L) the leader, until that one has installed it */
	uint64_t mem_rows;                   /* (L) in memtables that no checkpoint writes yet */
	uint64_t mem_few;                    /* (L) of them, that the next one holds as they are */
	uint64_t mem_pages;                  /* (L) of the runs that the others will be */
	uint64_t mem_rows_max;               /* more of them make a checkpoint due */
	struct flash_request *queue;         /* (L) */
	struct flash_request **queue_end;

	struct flash_segment *segment;     /* (L) */
	uint32_t free;                     /* (L) segments in state FREE */
	uint32_t freed;                    /* (L) in state FREED */
	uint64_t live;                     /* (L) bytes of all segments */
	uint32_t pinned;                   /* (L) in state PINNED */
	struct flash_pins pins;            /* (L) */
	uint64_t epoch;                    /* (L) number of the published state */
	uint64_t stamp;                    /* (L) epoch that what is freed now belongs to */
	uint32_t bad;                      /* (L) in state BAD */
	uint32_t retired;                  /* (L) of them: the device was not told */
	uint32_t failures;                 /* (L) of writing, one after another */
	uint32_t erase_failures;           /* (L) */
	uint32_t drafted;                  /* (W) segments whose live bytes a group changes */
	uint32_t cursor;                   /* (L) where the search for a free one goes on */
	uint32_t opened;                   /* (L) */
	const struct flash_repair *repair; /* while mounting from an older anchor */
	struct rebuild_packs *packs;       /* while mounting for a repair */
	uint32_t generation;               /* (L) number of the last checkpoint that was begun */
	uint32_t levelled;                 /* (L) opened, when levelling was thought of */
	bool uneven;                       /* (L) wear is apart */
	enum flash_purpose purpose;        /* (W) of the last reserve */
	bool refused_full;                 /* (W) the last reserve: no cleaning would help */
	uint32_t turn;                     /* (L) of the chores after commits */
	uint64_t debt;                     /* (L) bytes to clean after commits, not done yet */
	struct {
		uint32_t freed; /* when they were counted */
		uint32_t pinned;
		uint32_t helps; /* a checkpoint would free so many */
		uint32_t held;  /* dead, but pinned */
		uint32_t uses;
	} looked;                            /* (L) */
	bool no_background;                  /* nobody calls maintain */
	_Atomic uint64_t attended_ns;        /* when maintain was called last */
	_Atomic uint64_t active_ns;          /* when something was committed last */
	struct flash_clean *clean;           /* (L) the cleaner, NULL before its first step */
	struct flash_open pool[VOLUME_POOL]; /* (L) partly filled segments */
	uint64_t next_extent;                /* (L) */
	uint32_t merge_room;    /* (L) segments that a run of the largest domain takes */
	uint32_t merge_written; /* (L) segments that the merge under way has filled */
	uint64_t growth;        /* (L) what a checkpoint would hold, at most, in bytes */
	bool base_wanted;       /* (L) deltas occupy space that is wanted */
	uint64_t base_bytes; /* (L) what one of everything held at the last checkpoint, at most */
	uint64_t tail_bytes; /* (L) log since the last checkpoint */

	struct flash_log log;       /* (W) */
	struct flash_reader reader; /* (W) for lookups */
	struct flash_batch batch;   /* (W) */
	bool dirty;                 /* (W) something was written since the last seal */

	struct flash_table_kind plain; /* tables whose items own nothing */
	struct flash_table_kind aux;
	struct flash_table *names; /* (L) repository name -> number */
	struct flash_repo **repo;  /* (L) sorted by number */
	uint32_t repos;
	uint32_t repos_cap;
	uint32_t next_repo;
	uint32_t next_domain;
	struct flash_prepared *prepared; /* (L) */
	/* The durable checkpoint; whoever checkpoints owns these. */
	struct flash_element element[CHECKPOINT_ELEMENTS]; /* the base, then deltas */
	uint32_t elements;
	struct flash_state *saved; /* what they hold; NULL: the next element is a base */
	struct {
		bool seen;              /* the device has reported something since the mount */
		bool fresh;             /* and not everything was done about it */
		bool anchor[2];         /* it was where anchors are */
	} decay;                        /* (L) */
	_Atomic bool checkpoint_wanted; /* one is due, whatever the length of the log */
	_Atomic uint32_t anchored;      /* number of the checkpoint of the durable anchor */
	struct flash_counters counters;
};

/* -- Device access that counts and logs (io.c) -- */

uint64_t bole_flash_position(const struct flash_volume *, uint32_t segment, uint32_t offset);
/* Reads units around [offset, offset + len) of a segment into buf (room for len + 2 read units)
 * and points *out at the first byte wanted. */
BOLE_MUST_USE enum bole_status bole_flash_read(struct flash_volume *, uint32_t segment,
                                               uint32_t offset, size_t len, uint8_t *buf,
                                               const uint8_t **out);
BOLE_MUST_USE enum bole_status bole_flash_program(struct flash_volume *, uint32_t segment,
                                                  uint32_t offset, const uint8_t *src, size_t len);
BOLE_MUST_USE enum bole_status bole_flash_flush(struct flash_volume *);
void bole_flash_discard(struct flash_volume *, uint32_t segment);
/* The volume takes no more writes until it is opened again. */
void bole_flash_fail(struct flash_volume *, const char *what);
/* Somebody may still change something. */
static inline bool bole_flash_writable(const struct flash_volume *v)
{
	return !v->read_only && !atomic_load(&v->failed) && !atomic_load(&v->worn);
}
void bole_flash_yield(void *volume);
static inline size_t bole_flash_read_slack(const struct flash_volume *v)
{
	return 2 * (size_t)v->dev->info.read_unit;
}
void bole_flash_lock(struct flash_volume *);
void bole_flash_unlock(struct flash_volume *);

/* -- Segments (segment.c) -- */

/* The segments that must stay free for a purpose. Lock held. */
uint32_t bole_flash_floor(const struct flash_volume *, enum flash_purpose);
/* Bytes that users are told they have. */
uint64_t bole_flash_capacity(const struct flash_volume *);
/* So much lives that data is refused, whatever could be cleaned: near the end each new segment
 * costs ever more copies, and what deletes need would be used up. Lock held. */
bool bole_flash_is_full(const struct flash_volume *);
/* More than so many percent of what is promised lives, what merges would take away not counted.
 * Lock held. */
bool bole_flash_lives(const struct flash_volume *, uint32_t percent);
/* What will happen to what is written. */
enum flash_heat {
	FLASH_LOG,  /* the log: it should not have to wait for an erase */
	FLASH_HOT,  /* it will not live for long */
	FLASH_COLD, /* it will */
};
/* Takes a free segment, in state USED and open. BOLE_E_NO_SPACE. Lock held (wear.c). */
BOLE_MUST_USE enum bole_status bole_flash_segment_take(struct flash_volume *, enum flash_purpose,
                                                       enum flash_heat, uint32_t *out);
/* The same, with a new sequence and, unless it is for the log, erased. Takes the lock.
 * BOLE_E_NO_SPACE, BOLE_E_READ_ONLY. */
BOLE_MUST_USE enum bole_status bole_flash_segment_get(struct flash_volume *, enum flash_purpose,
                                                      enum flash_heat, uint32_t *out,
                                                      uint64_t *sequence);
/* Makes a segment that is the caller's, or the log's next, blank. BOLE_E_IO: it is bad, and
 * nobody's now. */
BOLE_MUST_USE enum bole_status bole_flash_erase(struct flash_volume *, uint32_t segment);
/* Until nobody erases it. Lock held, but not all the time. */
void bole_flash_erase_wait(struct flash_volume *, uint32_t segment);
/* Erases one block of what will be wanted soon: the log's next segment, then others, unless so many
 * are blank already; false: nothing to do. */
bool bole_flash_erase_ahead(struct flash_volume *, uint32_t wanted);
/* The log's next segment will be wanted soon, and nobody has made it blank. */
bool bole_flash_erase_late(struct flash_volume *);
/* Of the free segments too many are worn too far ahead of the others. Lock held. */
bool bole_flash_wear_apart(const struct flash_volume *);
/* Too few good segments: read-only for good. refused: space could not be made. Lock held. */
void bole_flash_check_end(struct flash_volume *, bool refused);
/* Writing failed: the segment takes nothing more and becomes bad when it is empty. */
void bole_flash_program_failed(struct flash_volume *, uint32_t segment);
/* Tells the device about those, and about what could not be erased: once it is sure that it works
 * otherwise. */
void bole_flash_mark_retired(struct flash_volume *);
/* A new sequence for a segment that is about to be written. Lock held. */
uint64_t bole_flash_segment_open(struct flash_volume *, uint32_t segment);
/* Nothing lives in it and nobody writes there: free it, at once or after a checkpoint. Lock held.
 */
void bole_flash_segment_settle(struct flash_volume *, uint32_t segment);
/* Nothing lives in it, but the durable checkpoint names it or the log starts before it. Lock
 * held. */
bool bole_flash_segment_dead(const struct flash_volume *, uint32_t segment);
/* Nothing durable names it any more: free, unless a pin is older than its end. Lock held. */
void bole_flash_segment_release(struct flash_volume *, uint32_t segment);
/* Bytes that a record with an entry of so many bytes occupies. */
static inline uint64_t bole_flash_record_live(uint32_t key_len, uint32_t stored)
{
	return (uint64_t)RECORD_HEAD_BYTES + key_len + stored;
}
/* Bytes that the published state names. Lock held. */
void bole_flash_live_add(struct flash_volume *, uint32_t segment, uint64_t bytes);
void bole_flash_live_sub(struct flash_volume *, uint32_t segment, uint64_t bytes);
/* What the leader's group will change when it is published. */
void bole_flash_live_draft(struct flash_volume *, uint32_t segment, uint64_t more, uint64_t less);
/* It is published (lock held), or given up. */
void bole_flash_live_publish(struct flash_volume *);
void bole_flash_live_forget(struct flash_volume *);
/* Bytes that must stay although no published state names them. Lock held. */
void bole_flash_hold(struct flash_volume *, uint32_t segment, uint64_t bytes);
void bole_flash_hold_end(struct flash_volume *, uint32_t segment, uint64_t bytes);
enum flash_change {
	FLASH_HELD_PUBLISHED, /* held bytes become live ones */
	FLASH_HELD_DROPPED,
	FLASH_LIVE_DROPPED,
};
/* The same for fragments. Takes the lock, unless locked. */
void bole_flash_fragments_change(struct flash_volume *, const struct flash_fragment *,
                                 uint32_t count, enum flash_change, bool locked);
/* Parts of an aux value that nobody will look up any more. Takes the lock. */
void bole_flash_aux_superseded(struct flash_volume *, const struct flash_item *);
/* The same for the leader, when its group is published. */
void bole_flash_aux_replaced(struct flash_volume *, const struct flash_item *);
void bole_flash_aux_dropped(struct flash_volume *, const struct flash_table *);
/* A checkpoint would free segments. Lock held. */
bool bole_flash_space_helps(const struct flash_volume *);
void bole_flash_segment_head(const struct flash_volume *, uint32_t segment, uint64_t sequence,
                             enum flash_segment_kind, uint8_t *head);

/* -- Repositories and domains (catalog.c) -- */

struct flash_repo *bole_flash_repo_find(struct flash_volume *, uint32_t id); /* lock held */
struct flash_repo *bole_flash_repo_find_any(struct flash_volume *, uint32_t id);
BOLE_MUST_USE enum bole_status bole_flash_repo_add(struct flash_volume *, uint32_t id,
                                                   uint32_t domain, uint8_t algo,
                                                   struct bole_bytes name, struct flash_repo **out);
void bole_flash_repo_release(struct flash_volume *, struct flash_repo *);
void bole_flash_domain_release(struct flash_volume *, struct flash_domain *);
/* A repository was removed: what it had is dead. For the leader, outside the lock. */
void bole_flash_repo_forget(struct flash_volume *, struct flash_repo *);
/* Takes it out of the catalog; the caller's references go with release. Lock held. */
struct flash_repo *bole_flash_repo_take(struct flash_volume *, uint32_t id);
void bole_flash_catalog_close(struct flash_volume *);

#endif /* BOLE_FLASH_VOLUME_H */
