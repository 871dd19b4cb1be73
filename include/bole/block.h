/* SPDX-License-Identifier: ISC */
/* The narrow waist below the store: a block device with declared geometry and guarantees.
 *
 * All positions and lengths are bytes and multiples of the unit that info names. Calls are
 * positional and all-or-nothing as to their result (a failed or interrupted program may have
 * spoiled up to damage_unit bytes around what it wrote). Only the wrappers below are called; they
 * assert the contract. Calls block the calling fiber (or thread, outside a fiber); several may be
 * in flight from different fibers at once, up to queue_depth run in parallel.
 */
#ifndef BOLE_BLOCK_H
#define BOLE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/status.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum bole_block_kind {
	BOLE_BLOCK_MANAGED = 1, /* disk, SSD, SD, eMMC, file: overwrite in place, no erase */
	BOLE_BLOCK_NOR = 2,     /* erase before program; bit-clear re-program allowed */
	BOLE_BLOCK_NAND = 3,    /* erase before program; pages once, ascending */
};

enum bole_durability {
	BOLE_DURABLE_DEVICE = 1, /* after flush() the bytes survive a power cut */
	BOLE_DURABLE_HOST = 2,   /* the host decides (no flush in this ABI, or a RAM disk) */
};

struct bole_block_info {
	char name[32]; /* for the log: "virtio-blk0", "disk.img" */
	enum bole_block_kind kind;
	enum bole_durability durability;
	uint64_t size_bytes;
	uint32_t read_unit;    /* power of two */
	uint32_t program_unit; /* power of two, multiple of read_unit */
	uint32_t erase_unit;   /* 0 when needs_erase is false */
	uint32_t atomic_unit;  /* a program of this size and alignment is never torn; 0 = none */
	uint32_t damage_unit;  /* what an interrupted program may spoil, power of two */
	uint32_t oob_bytes;    /* out-of-band bytes a page, 0 = none */
	uint32_t queue_depth;  /* useful number of concurrent calls, at least 1 */
	bool volatile_cache;   /* programs are durable only after flush() */
	bool needs_erase;
	bool can_discard;
	bool read_only;
};

struct bole_block;

/* Optional members may be NULL: erase (unless needs_erase), discard, is_bad, mark_bad,
 * read_ready, next_decaying. */
struct bole_block_ops {
	enum bole_status (*read)(struct bole_block *, uint64_t off, void *dst, size_t len);
	/* Programs the concatenation of count pieces at off; the sum is a multiple of
	 * program_unit, the pieces need not be. */
	enum bole_status (*programv)(struct bole_block *, uint64_t off,
	                             const struct bole_bytes *pieces, size_t count);
	enum bole_status (*erase)(struct bole_block *, uint64_t off, uint64_t len);
	enum bole_status (*discard)(struct bole_block *, uint64_t off, uint64_t len);
	enum bole_status (*flush)(struct bole_block *);
	enum bole_status (*is_bad)(struct bole_block *, uint64_t off, bool *bad);
	enum bole_status (*mark_bad)(struct bole_block *, uint64_t off);
	void (*close)(struct bole_block *);
	/* Reads like read, but only what is at hand without waiting (in a page cache): BOLE_AGAIN
	 * when it is not. */
	enum bole_status (*read_ready)(struct bole_block *, uint64_t off, void *dst, size_t len);
	/* The next erase block whose content should be moved soon: reads of it needed correction,
	 * or it was read so often since its erase that its neighbours suffer. BOLE_END; one report
	 * a block until it is erased. */
	enum bole_status (*next_decaying)(struct bole_block *, uint64_t *off);
};

/* Base of every device; a concrete device embeds it as its first member. */
struct bole_block {
	const struct bole_block_ops *ops;
	struct bole_block_info info;
};

/* As the members of struct bole_block_ops, whose contract they assert: positions and lengths are
 * multiples of the units of info, and lie on the device. BOLE_E_IO; BOLE_E_READ_ONLY of what
 * changes a device that is. */
BOLE_MUST_USE enum bole_status bole_block_read(struct bole_block *, uint64_t off, void *dst,
                                               size_t len);
/* Never waits: BOLE_AGAIN when the bytes are not at hand, or the device cannot tell. */
BOLE_MUST_USE enum bole_status bole_block_read_ready(struct bole_block *, uint64_t off, void *dst,
                                                     size_t len);
BOLE_MUST_USE enum bole_status bole_block_program(struct bole_block *, uint64_t off,
                                                  const void *src, size_t len);
BOLE_MUST_USE enum bole_status bole_block_programv(struct bole_block *, uint64_t off,
                                                   const struct bole_bytes *pieces, size_t count);
BOLE_MUST_USE enum bole_status bole_block_erase(struct bole_block *, uint64_t off, uint64_t len);
/* A hint; BOLE_OK where the device cannot discard. Contents are undefined afterwards. */
BOLE_MUST_USE enum bole_status bole_block_discard(struct bole_block *, uint64_t off, uint64_t len);
/* Everything programmed before the call is durable when it returns BOLE_OK (unless
 * info.durability is BOLE_DURABLE_HOST). After a failure nothing is known: do not retry. */
BOLE_MUST_USE enum bole_status bole_block_flush(struct bole_block *);
/* Never bad, and BOLE_E_UNSUPPORTED to mark, where the device knows no bad blocks. */
BOLE_MUST_USE enum bole_status bole_block_is_bad(struct bole_block *, uint64_t off, bool *bad);
BOLE_MUST_USE enum bole_status bole_block_mark_bad(struct bole_block *, uint64_t off);
/* BOLE_END also where the device cannot tell. */
BOLE_MUST_USE enum bole_status bole_block_next_decaying(struct bole_block *, uint64_t *off);
/* Closes and frees. NULL is fine. Does not flush. */
void bole_block_close(struct bole_block *);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_BLOCK_H */
