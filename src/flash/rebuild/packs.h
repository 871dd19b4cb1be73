/* SPDX-License-Identifier: ISC */
/* Packs that are put together from their pieces. */
#ifndef BOLE_FLASH_PACKS_H
#define BOLE_FLASH_PACKS_H

#include "flash/volume/mount.h"

struct rebuild_pack {
	uint64_t id;
	uint64_t data_bytes;
	uint32_t domain;
	uint32_t key_len;               /* 0 = not known: the first page tells */
	const struct flash_extent *old; /* what the index says of it, or NULL; borrowed */
	bool whole_table;               /* of the old one */
	struct flash_fragment *piece;   /* sorted by position */
	uint32_t pieces;
	uint32_t pieces_cap;
	uint8_t *row; /* of a new table */
	uint32_t rows;
	uint32_t rows_cap;
};

struct rebuild_packs {
	struct flash_volume *v;
	struct rebuild_pack *pack;
	uint32_t count;
	uint32_t cap;
	struct flash_table *hashes; /* of domains (hashes.c) */
	struct flash_table
	        *doubt;   /* repository, reference: it may be older than it was (doubt.c) */
	bool hashes_only; /* one row of each domain is enough */
};

/* A pack that is to be looked for; old: as the index has it, which cannot be read, or NULL. */
BOLE_MUST_USE enum bole_status bole_flash_packs_want(struct rebuild_packs *, uint32_t domain,
                                                     uint64_t id, struct flash_extent *old);
/* The same, of a domain that may not be known. */
BOLE_MUST_USE enum bole_status bole_flash_packs_add(struct rebuild_packs *, uint32_t domain,
                                                    uint64_t id, uint32_t key_len,
                                                    struct flash_extent *old);
/* A fragment of data that verifies; nothing happens unless it is of a pack that is wanted. */
BOLE_MUST_USE enum bole_status bole_flash_packs_piece(struct rebuild_packs *, uint64_t id,
                                                      const struct flash_fragment *);
/* All pieces are there: looks for rows of tables in the segments that may hold pages. */
BOLE_MUST_USE enum bole_status bole_flash_packs_search(struct rebuild_packs *,
                                                       bool (*pages)(void *ctx, uint32_t segment),
                                                       void *ctx);
/* What was found is not free before the next checkpoint. */
void bole_flash_packs_spare(const struct rebuild_packs *);
/* Some pack that was found has the object. */
bool bole_flash_packs_have(const struct rebuild_packs *, uint32_t domain, const uint8_t *key);
/* The bytes of that pack are there; of one that is not wanted, all are. */
bool bole_flash_packs_cover(const struct rebuild_packs *, uint64_t id, uint64_t offset,
                            uint64_t bytes);
bool bole_flash_pack_found(const struct rebuild_pack *);
/* While mounting for writing, before anything else is written: they are part of the state. */
BOLE_MUST_USE enum bole_status bole_flash_packs_write(struct rebuild_packs *);
/* All packs; hashes stay. */
void bole_flash_packs_forget(struct rebuild_packs *);
void bole_flash_packs_close(struct rebuild_packs *);

#endif /* BOLE_FLASH_PACKS_H */
