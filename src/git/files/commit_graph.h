/* SPDX-License-Identifier: ISC */
/* Commit graphs, whole or split into a chain of layers (gitformat-commit-graph(5)). Bloom filters
 * are passed over. The bytes are hostile. */
#ifndef BOLE_GIT_FILES_COMMIT_GRAPH_H
#define BOLE_GIT_FILES_COMMIT_GRAPH_H

#include <stdbool.h>

#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/platform.h"
#include "bole/types.h"

/* One file; borrows its bytes. Positions count through the chain, from the lowest layer up. */
struct bole_commit_graph {
	uint8_t algo;
	uint32_t count;                       /* in this file */
	const struct bole_commit_graph *base; /* the layer below, NULL = none */
	uint32_t base_count;                  /* commits below this file */
	unsigned layers;                      /* below this file */
	const uint8_t *fanout;
	const uint8_t *ids;
	const uint8_t *data;
	const uint8_t *dates; /* of corrected commit dates; NULL = none */
	const uint8_t *large_dates;
	size_t large_date_count;
	const uint8_t *edges;
	size_t edge_count;
	struct bole_bytes file;
};

enum { BOLE_GRAPH_LAYERS_MAX = 64 };

/* base: the layer below, NULL for a file that is no part of a chain; it must be the one that the
 * file names, by its checksum. BOLE_E_INVALID, BOLE_E_UNSUPPORTED (version, hash). */
BOLE_MUST_USE enum bole_status bole_commit_graph_open(struct bole_bytes file, uint8_t algo,
                                                      const struct bole_commit_graph *base,
                                                      struct bole_commit_graph *out);
/* Looks through the layers. */
bool bole_commit_graph_find(const struct bole_commit_graph *, const uint8_t *id, uint32_t *pos);

struct bole_graph_node {
	struct bole_oid oid;
	struct bole_oid tree;
	int64_t commit_time;
	uint32_t level;     /* generation number 1: 1 for a root, 0 = not known */
	uint64_t corrected; /* generation number 2; 0 = not known */
	uint32_t parents[2];
	uint32_t parent_count; /* of the two that are here */
	uint32_t edge; /* with more than two: the place of the second in the list of edges */
	bool more;
	const struct bole_commit_graph *layer;
};
/* pos < base_count + count. Parents are positions that exist. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_commit_graph_node(const struct bole_commit_graph *,
                                                      uint32_t pos, struct bole_graph_node *out);
/* With more than two parents: the next of them, from the second on. BOLE_END, BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_commit_graph_edge(struct bole_graph_node *, uint32_t *pos);
/* This file: checksum, rising ids, generations above those of all parents. */
BOLE_MUST_USE enum bole_status bole_commit_graph_verify(const struct bole_commit_graph *);

/* A commit to be written; its parents are parent_count ids in the array that goes along. */
struct bole_graph_commit {
	struct bole_oid oid;
	struct bole_oid tree;
	int64_t commit_time;
	size_t parent_first;
	uint32_t parent_count;
};
int bole_graph_commit_compare(const void *a, const void *b); /* by id */
/* One file with generation numbers of both kinds. Commits sorted by id, closed under parents.
 * BOLE_E_UNSUPPORTED: it cannot say this (a parent that is missing, a date past 34 bits). */
BOLE_MUST_USE enum bole_status bole_commit_graph_write(struct bole_alloc *, uint8_t algo,
                                                       const struct bole_graph_commit *commits,
                                                       size_t count, const struct bole_oid *parents,
                                                       struct bole_writer *);

#endif /* BOLE_GIT_FILES_COMMIT_GRAPH_H */
