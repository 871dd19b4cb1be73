/* SPDX-License-Identifier: ISC */
/* Block devices that the library itself brings. */
#ifndef BOLE_DEVICES_H
#define BOLE_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/block.h"

#ifdef __cplusplus
extern "C" {
#endif

/* size bytes of memory, zeroed; sector is the read and program unit (a power of two). */
BOLE_MUST_USE enum bole_status bole_block_ram_open(struct bole_alloc *, uint64_t size,
                                                   uint32_t sector, struct bole_block **out);
/* The window [off, off + len) of another device, which must outlive it. Misaligned or out of
 * range: BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_block_window_open(struct bole_alloc *, struct bole_block *base,
                                                      uint64_t off, uint64_t len,
                                                      struct bole_block **out);

struct bole_platform;
/* A read cache of about bytes (taken as it fills; at least 64 KiB) before base, which must outlive
 * it. Writes go through; reads of more than 32 KiB pass by. */
BOLE_MUST_USE enum bole_status bole_block_cache_open(struct bole_platform *, struct bole_alloc *,
                                                     struct bole_block *base, size_t bytes,
                                                     struct bole_block **out);

struct bole_block_file_options {
	bool read_only;        /* takes a shared lock; else an exclusive one */
	uint64_t create_bytes; /* not 0: create the file, sparse, of this size; it must not exist */
};
/* Host only (src/backends/host). A file or a raw disk under a lock that also conflicts with QEMU's
 * image lock. A file whose blocks are all allocated keeps them: discard does nothing, and durable
 * writes into it are fastest. BOLE_E_BUSY: locked by somebody else; owner (may be NULL) gets a line
 * that names the process where the system tells. BOLE_E_NOT_FOUND, BOLE_E_EXISTS, BOLE_E_IO,
 * BOLE_E_NO_SPACE. */
BOLE_MUST_USE enum bole_status bole_block_file_open(struct bole_alloc *, const char *path,
                                                    const struct bole_block_file_options *,
                                                    char *owner, size_t owner_cap,
                                                    struct bole_block **out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_DEVICES_H */
