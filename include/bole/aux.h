/* SPDX-License-Identifier: ISC */
/* The waist, part 3: auxiliary records, (repository, kind, key) -> checksummed bytes. */
#ifndef BOLE_AUX_H
#define BOLE_AUX_H

#include <stddef.h>
#include <stdint.h>

#include "bole/status.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_snapshot;
struct bole_tx;
struct bole_alloc;

enum bole_aux_class {
	BOLE_AUX_DERIVED = 1, /* may vanish and is rebuilt: bitmaps, side indexes */
	BOLE_AUX_DURABLE = 2, /* as safe as an object: settings, conflicts, frontier */
};

/* A bit of a kind. Records of such kinds say what may be missing in a repository; a program that
 * does not know about them must not write to the volume (docs/FORMAT.md, feature words). */
enum {
	BOLE_AUX_KIND_BINDING = 0x8000,
	BOLE_AUX_KIND_PARTIAL = 0x4000, /* with it: such a program may know ends of history only */
};

/* kind: a small number from docs/FORMAT.md; key: 1..255 bytes; value: up to BOLE_AUX_BYTES_MAX. */
struct bole_aux_key {
	enum bole_aux_class cls;
	uint16_t kind;
	struct bole_bytes key;
};

struct bole_aux_ops {
	/* Reads a whole value into memory from alloc (owned by the caller, *len bytes, align 1).
	 * BOLE_E_NOT_FOUND, BOLE_E_CORRUPT, BOLE_E_IO, BOLE_E_NO_MEMORY. */
	enum bole_status (*get)(struct bole_snapshot *, const struct bole_aux_key *,
	                        struct bole_alloc *, uint8_t **out, size_t *len);
	/* The first key of the class and kind after `after`, in byte order, borrowed; BOLE_END. */
	enum bole_status (*next)(struct bole_snapshot *, enum bole_aux_class cls, uint16_t kind,
	                         struct bole_bytes after, struct bole_bytes *key);
	/* Stages a write in a transaction; value.ptr NULL removes. Borrowed for the call. */
	enum bole_status (*put)(struct bole_tx *, const struct bole_aux_key *,
	                        struct bole_bytes value);
};

#ifdef __cplusplus
}
#endif

#endif /* BOLE_AUX_H */
