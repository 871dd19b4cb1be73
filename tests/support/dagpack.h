/* SPDX-License-Identifier: ISC */
/* A pack of objects that a test knows, taken apart without the code under test: each object once,
 * each delta on a base that came or that the receiver has. Anything else ends the program. */
#ifndef BOLE_TESTS_DAGPACK_H
#define BOLE_TESTS_DAGPACK_H

#include "support/dagworld.h"

struct dag_arrival {
	struct bole_bytes pack;
	const bool *had; /* by node: what the receiver has */
	bool thin;       /* it completes packs */
	bool ofs_delta;  /* it understands these */
	bool *sent;      /* by node, zeroed: out */
	unsigned deltas; /* out */
	unsigned on_had; /* out: of what the receiver has */
};
void dag_take_apart(const struct dagworld *, struct dag_arrival *);

#endif /* BOLE_TESTS_DAGPACK_H */
