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
};

struct bole_store {
	const struct bole_store_ops *ops;
	const struct bole_repos_ops *repos;
	const struct bole_odb_ops *odb;
	const struct bole_tx_ops *tx;
	const struct bole_refs_ops *refs;
	const struct bole_aux_ops *aux;
	struct bole_store_info info;
};

BOLE_MUST_USE enum bole_status bole_store_stats(struct bole_store *, struct bole_store_stats *out);
/* NULL is fine. The handle is gone whatever is returned. */
enum bole_status bole_store_close(struct bole_store *);

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
};

/* Writes an empty volume over whatever is there. BOLE_E_NO_SPACE: the device is too small. */
BOLE_MUST_USE enum bole_status bole_flash_format(struct bole_block *, struct bole_platform *,
                                                 const struct bole_flash_format_options *);
/* Mounts. The device is borrowed and must outlive the store. BOLE_E_NOT_FOUND: no volume here (all
 * zero or foreign bytes); BOLE_E_UNSUPPORTED: a newer format (its number is logged);
 * BOLE_E_CORRUPT: a volume, but damaged beyond what a cut explains (logged; run fsck). */
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
};
/* Reads every byte that the volume claims to hold and verifies every checksum; changes nothing.
 * BOLE_OK when the check ran to its end, whatever it found. */
BOLE_MUST_USE enum bole_status bole_flash_check(struct bole_block *, struct bole_platform *,
                                                struct bole_alloc *,
                                                const struct bole_flash_check_report *,
                                                struct bole_flash_check_result *out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_STORE_H */
