/* SPDX-License-Identifier: ISC */
/* Commit graphs, alone and as the upper layer of themselves: the first byte chooses the hash. What
 * is accepted is looked through whole. */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "git/files/commit_graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct bole_commit_graph *graph)
{
	bool sound = bole_commit_graph_verify(graph) == BOLE_OK;
	uint32_t parent, pos;

	for (uint32_t i = 0; i < graph->base_count + graph->count; i++) {
		struct bole_graph_node node;
		enum bole_status rc = bole_commit_graph_node(graph, i, &node);

		while (rc == BOLE_OK)
			rc = bole_commit_graph_edge(&node, &parent);
		if (sound && graph->base == NULL && rc != BOLE_END)
			abort();
		if (sound && rc == BOLE_END && !bole_commit_graph_find(graph, node.oid.bytes, &pos))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_commit_graph graph, upper;

	if (size == 0)
		return 0;
	uint8_t algo = data[0] % 2 == 0 ? BOLE_HASH_SHA1 : BOLE_HASH_SHA256;
	struct bole_bytes file = bole_bytes_of(data + 1, size - 1);
	if (bole_commit_graph_open(file, algo, NULL, &graph) == BOLE_OK) {
		look(&graph);
		if (bole_commit_graph_open(file, algo, &graph, &upper) == BOLE_OK)
			look(&upper);
	}
	return 0;
}
