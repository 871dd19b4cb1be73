/* SPDX-License-Identifier: ISC */
/* Numbers of the commit graph's format (gitformat-commit-graph(5)). */
#ifndef BOLE_GIT_FILES_COMMIT_GRAPH_FORMAT_H
#define BOLE_GIT_FILES_COMMIT_GRAPH_FORMAT_H

#include <stdint.h>

enum {
	GRAPH_HEAD_BYTES = 8,
	GRAPH_VERSION = 1,
	GRAPH_FANOUT_BYTES = 256 * 4,
	GRAPH_DATA_BYTES = 16, /* behind the tree: two parents, level and time */
	GRAPH_TIME_BITS = 34,
	GRAPH_LEVEL_MAX = 0x3fffffff,
	GRAPH_PARENT_NONE = 0x70000000,
};
/* The rest is a place in another table; in the list of edges: the last of a commit. */
#define GRAPH_LARGE ((uint32_t)1 << 31)

#endif /* BOLE_GIT_FILES_COMMIT_GRAPH_FORMAT_H */
