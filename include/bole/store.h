/* SPDX-License-Identifier: ISC */
/* A store: repositories + objects + references + aux behind one handle, and how to open each kind.
 * The handle may be used from many fibers and threads at once. */
#ifndef BOLE_STORE_H
#define BOLE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/aux.h"
#include "bole/block.h"
#include "bole/mark.h"
#include "bole/odb.h"
#include "bole/platform.h"
#include "bole/refs.h"
#include "bole/repos.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_store_stats {
	uint64_t capacity_bytes; /* advertised to users */
	uint64_t used_bytes;     /* by live and not yet reclaimed data */
	uint64_t free_bytes;
	uint64_t objects;
	uint64_t repos;
	uint64_t commits;          /* published transactions since open */
	uint64_t user_bytes;       /* entry bytes written since open */
	uint64_t programmed_bytes; /* device bytes programmed since open */
	uint64_t erased_bytes;     /* device bytes erased or discarded since open */
	uint64_t read_bytes;       /* device bytes read since open */
	uint64_t flushes;
	uint64_t mount_reads;   /* device reads while opening */
	uint64_t memory_bytes;  /* of the store itself, now */
	uint64_t commit_ns_max; /* worst commit since open */
	uint64_t live_bytes;    /* that lookups can reach */
	uint64_t reads;         /* device read calls since open */
	uint64_t programs;
	uint64_t erases;
	uint64_t moved_bytes;      /* copied by the cleaner since open */
	uint64_t index_bytes;      /* programmed for runs of the index since open */
	uint64_t checkpoint_bytes; /* written since open */
	uint64_t operation_ns_max; /* worst single call of maintain since open */
	uint32_t segments;
	uint32_t segments_free;
	uint32_t segments_bad;
	uint32_t segment_bytes;
	uint32_t index_runs; /* sorted runs that a lookup may have to ask */
	uint32_t wear_max;   /* erases of a segment; 0 where the device manages itself */
	uint32_t wear_min;
	uint64_t wear_sum; /* mean = wear_sum / (segments - segments_bad) */
	bool end_of_life;  /* too few good segments are left: read-only for good */
	/* Things that were durable and are damaged or gone, as far as opening could tell: what is
	 * shown is the rest, and the store is read-only (bole_flash_check names them). */
	uint64_t lost;
	/* Records of what was being written when power went that opening could not write once more
	 * elsewhere: they verified, but what an interrupted write leaves may read otherwise later.
	 * Always 0, unless a device fails or was filled by an older build. */
	uint64_t in_doubt;
};

/* What a step of maintenance did. */
enum bole_maintenance {
	BOLE_MAINTAIN_NOTHING = 0,
	BOLE_MAINTAIN_CHECKPOINT = 1, /* or a seal, when the volume was idle */
	BOLE_MAINTAIN_MERGE = 2,      /* of runs of the index */
	BOLE_MAINTAIN_CLEAN = 3,      /* moved live bytes out of a victim */
	BOLE_MAINTAIN_LEVEL = 4,      /* the same, to level wear */
	BOLE_MAINTAIN_SCRUB = 5,      /* the same, because bits decay */
};
struct bole_maintain_options {
	/* Also do what is not urgent: level 2 cleans whatever has garbage. 0 = only what keeps the
	 * volume going, 1 = what a background loop should do. */
	unsigned eagerness;
};
struct bole_maintain_report {
	enum bole_maintenance did;
	uint64_t bytes; /* programmed or erased by the step */
};

/* One pass of scrub over one segment. */
struct bole_scrub_report {
	uint32_t segment; /* of the volume's segments, to be done next */
	uint32_t segments;
	uint64_t bytes_read;
	uint64_t damaged; /* records and fragments that did not verify, so far */
	void (*finding)(void *ctx, const char *text); /* one line each; may be NULL */
	void *ctx;
};

struct bole_store_info {
	char kind[16]; /* "flash", "memory" */
	enum bole_durability durability;
	bool read_only;
	uint64_t extent_bytes_min; /* a pack at least this long goes into an extent */
	uint64_t record_bytes_max; /* longest entry that put accepts, >= extent_bytes_min */
};

struct bole_store_ops {
	enum bole_status (*stats)(struct bole_store *, struct bole_store_stats *out);
	/* Waits for nothing: the caller has ended all snapshots and transactions. Seals and
	 * flushes what a clean close needs; frees. */
	enum bole_status (*close)(struct bole_store *);
	/* One bounded step of background work (docs/LIBRARY.md): at most a few hundred KiB or one
	 * erase. BOLE_OK: something was done, call again when it suits; BOLE_END: nothing to do.
	 * Commits do what is urgent themselves when nobody calls this. Any fiber or thread. */
	enum bole_status (*maintain)(struct bole_store *, const struct bole_maintain_options *,
	                             struct bole_maintain_report *);
	/* Reads and verifies the next segment; start with a zeroed report (hooks set). BOLE_END
	 * when all were read. What the device had to correct is moved by the next maintain. */
	enum bole_status (*scrub)(struct bole_store *, struct bole_scrub_report *);
	/* Takes in what the device has grown by since the format. BOLE_END: it has not grown. */
	enum bole_status (*grow)(struct bole_store *);
};

struct bole_store {
	const struct bole_store_ops *ops;
	const struct bole_repos_ops *repos;
	const struct bole_odb_ops *odb;
	const struct bole_tx_ops *tx;
	const struct bole_refs_ops *refs;
	const struct bole_aux_ops *aux;
	const struct bole_mark_ops *mark;
	struct bole_store_info info;
};

BOLE_MUST_USE enum bole_status bole_store_stats(struct bole_store *, struct bole_store_stats *out);
/* NULL is fine. The handle is gone whatever is returned. */
enum bole_status bole_store_close(struct bole_store *);

/* Steps of background work, scrub and growth: see struct bole_store_ops. options and report may be
 * NULL. A store that needs none says BOLE_END. */
BOLE_MUST_USE enum bole_status bole_store_maintain(struct bole_store *,
                                                   const struct bole_maintain_options *,
                                                   struct bole_maintain_report *);
BOLE_MUST_USE enum bole_status bole_store_scrub(struct bole_store *, struct bole_scrub_report *);
BOLE_MUST_USE enum bole_status bole_store_grow(struct bole_store *);

/* A store in memory: for tests, as an oracle, and for "mem:". */
BOLE_MUST_USE enum bole_status bole_memory_store_open(struct bole_platform *, struct bole_alloc *,
                                                      struct bole_store **out);

/* -- The flash store (src/flash, docs/FORMAT.md) -- */

struct bole_flash_format_options {
	uint64_t segment_bytes; /* 0 = chosen from the geometry */
	char label[32];
};

struct bole_flash_open_options {
	bool read_only;
	size_t memory_bytes_max; /* index and buffers; 0 = no limit of its own */
	/* Pages of the index and records kept in memory; 0 = 1/64 of memory_bytes_max, at least 64
	 * KiB, or 64 MiB where there is no limit. */
	size_t cache_bytes;
	/* Filters of the index (about a byte an object) are kept while they fit; 0 = half of
	 * memory_bytes_max, or all where there is no limit. */
	size_t filter_bytes_max;
	/* Nobody calls maintain: commits pay for all background work themselves. */
	bool no_background;
};

/* Writes an empty volume over whatever is there. BOLE_E_NO_SPACE: the device is too small. */
BOLE_MUST_USE enum bole_status bole_flash_format(struct bole_block *, struct bole_platform *,
                                                 const struct bole_flash_format_options *);
/* Mounts. The device is borrowed and must outlive the store. Where something that was durable is
 * damaged, the rest is shown, read-only, and stats say so (lost). BOLE_E_NOT_FOUND: no volume here
 * (all zero or foreign bytes); BOLE_E_UNSUPPORTED: a newer format (its number is logged);
 * BOLE_E_CORRUPT: a volume, but damaged so that nothing can be shown (logged; run fsck). */
BOLE_MUST_USE enum bole_status bole_flash_open(struct bole_block *, struct bole_platform *,
                                               struct bole_alloc *,
                                               const struct bole_flash_open_options *,
                                               struct bole_store **out);

/* One finding of a check; text is one line. */
struct bole_flash_check_report {
	void (*finding)(void *ctx, bool error, const char *text);
	/* Progress in device bytes; may be NULL. */
	void (*progress)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};
struct bole_flash_check_result {
	uint64_t errors;
	uint64_t warnings;
	uint64_t segments;
	uint64_t records;
	uint64_t extents;
	uint64_t bytes_read;
	uint64_t repaired; /* things that bole_flash_repair did */
};
/* Reads every byte that the volume claims to hold and verifies every checksum; changes nothing.
 * BOLE_OK when the check ran to its end, whatever it found. */
BOLE_MUST_USE enum bole_status bole_flash_check(struct bole_block *, struct bole_platform *,
                                                struct bole_alloc *,
                                                const struct bole_flash_check_report *,
                                                struct bole_flash_check_result *out);
/* Repairs without a guess, then checks as above; the volume may not be mounted. A newest checkpoint
 * that is damaged gives way to an older one when the log goes on from there to what the newest
 * held; else what bole_flash_open would show of a damaged volume is what counts from then on, and
 * what that gives up is named. Derived aux records that are damaged are removed; counts of what
 * lives are set right. Each of these is atomic, and before it the volume is as it was. What is done
 * is reported as a finding that is no error. */
BOLE_MUST_USE enum bole_status bole_flash_repair(struct bole_block *, struct bole_platform *,
                                                 struct bole_alloc *,
                                                 const struct bole_flash_check_report *,
                                                 struct bole_flash_check_result *out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_STORE_H */
