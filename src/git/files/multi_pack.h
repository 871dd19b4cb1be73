/* SPDX-License-Identifier: ISC */
/* Multi-pack indexes (gitformat-pack(5), "multi-pack-index (MIDX) files have the following
 * format"), without bitmaps. The bytes are hostile. */
#ifndef BOLE_GIT_FILES_MULTI_PACK_H
#define BOLE_GIT_FILES_MULTI_PACK_H

#include <stdbool.h>

#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/platform.h"
#include "bole/types.h"
#include "git/files/pack_index.h"

/* Borrows the bytes of the file. */
struct bole_multi_pack {
	uint8_t algo;
	uint32_t count;
	uint32_t pack_count;
	struct bole_bytes pack_names; /* each ends in NUL */
	const uint8_t *fanout;
	const uint8_t *ids;
	const uint8_t *places; /* pack and offset */
	const uint8_t *large;
	size_t large_count;
	struct bole_bytes file;
};
/* BOLE_E_INVALID, BOLE_E_UNSUPPORTED (another version or hash, or a chain). */
BOLE_MUST_USE enum bole_status bole_multi_pack_open(struct bole_bytes file, uint8_t algo,
                                                    struct bole_multi_pack *out);
/* The checksum is right, ids rise, every place is one. */
BOLE_MUST_USE enum bole_status bole_multi_pack_verify(const struct bole_multi_pack *);
/* Cuts the next name ("pack-….idx") off; start with pack_names. There are pack_count of them. */
struct bole_bytes bole_multi_pack_name(struct bole_bytes *names);
bool bole_multi_pack_find(const struct bole_multi_pack *, const uint8_t *id, uint32_t *pos);
/* pos < count. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_multi_pack_place(const struct bole_multi_pack *, uint32_t pos,
                                                     uint32_t *pack, uint64_t *offset);

/* A pack for a multi-pack index: the name of its index file, without a folder. */
struct bole_multi_pack_source {
	const char *name;
	struct bole_pack_index index;
};
/* Sources sorted by name. Of an id in several packs the first source counts. Ids must rise in each
 * index (bole_pack_index_verify). BOLE_E_NO_MEMORY, BOLE_E_INVALID, what writing returned. */
BOLE_MUST_USE enum bole_status bole_multi_pack_write(struct bole_platform *, struct bole_alloc *,
                                                     const struct bole_multi_pack_source *sources,
                                                     size_t count, uint8_t algo,
                                                     struct bole_writer *);

#endif /* BOLE_GIT_FILES_MULTI_PACK_H */
