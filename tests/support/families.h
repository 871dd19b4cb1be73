/* SPDX-License-Identifier: ISC */
/* Random packs of families of deltas: blobs and trees, chains and branches, offset and id deltas,
 * copies, and, on demand, one delta that is wrong. */
#ifndef BOLE_TESTS_FAMILIES_H
#define BOLE_TESTS_FAMILIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/packmaker.h"

struct families_node {
	struct maker_bytes bytes;
	struct bole_oid oid;
	uint64_t offset;
	uint8_t type;
};

struct families {
	struct packmaker maker;
	struct families_node *nodes;
	size_t count;
	size_t cap;
	uint64_t seed;
};

struct families_options {
	uint8_t algo;
	size_t families;   /* of blobs; a third as many of trees */
	size_t blob_bytes; /* about, of each blob */
	size_t deltas;     /* of each family, at most */
	bool wrong;        /* one delta says another length than it makes */
};

/* The pack is in maker.out, finished. */
void families_make(struct families *, const struct families_options *, uint64_t seed);
void families_release(struct families *);

#endif /* BOLE_TESTS_FAMILIES_H */
