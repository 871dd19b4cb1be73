/* SPDX-License-Identifier: ISC */
#include "git/files/commit_graph.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/files/checked.h"
#include "git/files/chunk_file.h"
#include "git/files/commit_graph_format.h"
#include "git/files/pack_index.h"

/* -- Opening -- */

/* A chunk of exactly count rows. */
static bool table(const struct bole_chunk_file *chunks, const char *id, uint32_t count, size_t row,
                  const uint8_t **out)
{
	struct bole_bytes part;

	if (!bole_chunk_find(chunks, id, &part) || part.len % row != 0 || part.len / row != count)
		return false;
	*out = part.ptr;
	return true;
}

/* The layers below are those whose checksums the file names, lowest first. */
static bool base_matches(const struct bole_chunk_file *chunks, const struct bole_commit_graph *out)
{
	size_t hash = bole_hash_bytes(out->algo);
	const struct bole_commit_graph *layer = out->base;
	struct bole_bytes part;

	if (out->layers == 0)
		return true;
	if (!bole_chunk_find(chunks, "BASE", &part) || part.len != out->layers * hash)
		return false;
	for (unsigned i = out->layers; i > 0 && layer != NULL; i--, layer = layer->base)
		if (memcmp(part.ptr + (i - 1) * hash, layer->file.ptr + layer->file.len - hash,
		           hash) != 0)
			return false;
	return true;
}

enum bole_status bole_commit_graph_open(struct bole_bytes file, uint8_t algo,
                                        const struct bole_commit_graph *base,
                                        struct bole_commit_graph *out)
{
	size_t hash = bole_hash_bytes(algo);
	struct bole_chunk_file chunks;
	struct bole_bytes part;

	*out = (struct bole_commit_graph){.algo = algo, .file = file, .base = base};
	if (base != NULL) {
		out->base_count = base->base_count + base->count;
		out->layers = base->layers + 1;
	}
	if (file.len < GRAPH_HEAD_BYTES + hash || memcmp(file.ptr, "CGPH", 4) != 0)
		return BOLE_E_INVALID;
	if (file.ptr[4] != GRAPH_VERSION || file.ptr[5] != algo)
		return BOLE_E_UNSUPPORTED;
	BOLE_TRY(bole_chunk_file_open(file, GRAPH_HEAD_BYTES, file.ptr[6], hash, &chunks));
	if (file.ptr[7] != out->layers || out->layers > BOLE_GRAPH_LAYERS_MAX ||
	    !base_matches(&chunks, out) ||
	    !table(&chunks, "OIDF", 1, GRAPH_FANOUT_BYTES, &out->fanout))
		return BOLE_E_INVALID;
	out->count = bole_get_be32(out->fanout + GRAPH_FANOUT_BYTES - 4);
	if (!bole_fanout_valid(out->fanout, out->count) || out->count > GRAPH_PARENT_NONE ||
	    out->base_count > GRAPH_PARENT_NONE - out->count ||
	    !table(&chunks, "OIDL", out->count, hash, &out->ids) ||
	    !table(&chunks, "CDAT", out->count, hash + GRAPH_DATA_BYTES, &out->data))
		return BOLE_E_INVALID;
	if (bole_chunk_find(&chunks, "GDA2", &part)) {
		if (!table(&chunks, "GDA2", out->count, 4, &out->dates))
			return BOLE_E_INVALID;
		if (bole_chunk_find(&chunks, "GDO2", &part)) {
			out->large_dates = part.ptr;
			out->large_date_count = part.len / 8;
		}
	}
	if (bole_chunk_find(&chunks, "EDGE", &part)) {
		out->edges = part.ptr;
		out->edge_count = part.len / 4;
	}
	return BOLE_OK;
}

bool bole_commit_graph_find(const struct bole_commit_graph *graph, const uint8_t *id, uint32_t *pos)
{
	size_t hash = bole_hash_bytes(graph->algo);

	for (; graph != NULL; graph = graph->base)
		if (bole_sorted_find(graph->fanout, graph->ids, hash, hash, id, pos)) {
			*pos += graph->base_count;
			return true;
		}
	return false;
}

/* -- Nodes -- */

static enum bole_status corrected_date(const struct bole_commit_graph *layer, uint32_t row,
                                       struct bole_graph_node *out)
{
	if (layer->dates == NULL)
		return BOLE_OK;
	uint32_t offset = bole_get_be32(layer->dates + (size_t)row * 4);
	uint64_t more = offset;

	if ((offset & GRAPH_LARGE) != 0) {
		offset &= ~GRAPH_LARGE;
		if (offset >= layer->large_date_count)
			return BOLE_E_INVALID;
		more = bole_get_be64(layer->large_dates + (size_t)offset * 8);
	}
	return __builtin_add_overflow((uint64_t)out->commit_time, more, &out->corrected)
	               ? BOLE_E_INVALID
	               : BOLE_OK;
}

enum bole_status bole_commit_graph_node(const struct bole_commit_graph *graph, uint32_t pos,
                                        struct bole_graph_node *out)
{
	size_t hash = bole_hash_bytes(graph->algo);
	uint32_t all = graph->base_count + graph->count;

	BOLE_ASSERT(pos < all);
	memset(out, 0, sizeof *out);
	while (pos < graph->base_count)
		graph = graph->base;
	uint32_t row = pos - graph->base_count;
	const uint8_t *data = graph->data + row * (hash + GRAPH_DATA_BYTES);

	out->layer = graph;
	bole_oid_from_raw(graph->ids + row * hash, graph->algo, &out->oid);
	bole_oid_from_raw(data, graph->algo, &out->tree);
	uint32_t first = bole_get_be32(data + hash);
	uint32_t second = bole_get_be32(data + hash + 4);
	uint64_t dates = bole_get_be64(data + hash + 8);
	out->level = (uint32_t)(dates >> GRAPH_TIME_BITS);
	out->commit_time = (int64_t)(dates & (((uint64_t)1 << GRAPH_TIME_BITS) - 1));
	/* A layer knows itself and what lies below. */
	uint32_t end = graph->base_count + graph->count;
	if (first != GRAPH_PARENT_NONE) {
		if (first >= end)
			return BOLE_E_INVALID;
		out->parents[out->parent_count++] = first;
	}
	if ((second & GRAPH_LARGE) != 0) {
		out->more = true;
		out->edge = second & ~GRAPH_LARGE;
	} else if (second != GRAPH_PARENT_NONE) {
		if (second >= end)
			return BOLE_E_INVALID;
		out->parents[out->parent_count++] = second;
	}
	return corrected_date(graph, row, out);
}

enum bole_status bole_commit_graph_edge(struct bole_graph_node *node, uint32_t *pos)
{
	const struct bole_commit_graph *layer = node->layer;

	if (!node->more)
		return BOLE_END;
	if (node->edge >= layer->edge_count)
		return BOLE_E_INVALID;
	uint32_t value = bole_get_be32(layer->edges + (size_t)node->edge++ * 4);
	node->more = (value & GRAPH_LARGE) == 0;
	*pos = value & ~GRAPH_LARGE;
	return *pos < layer->base_count + layer->count ? BOLE_OK : BOLE_E_INVALID;
}

/* -- Verifying -- */

/* A parent's generations are below those of its child, where both are known. */
static enum bole_status above(const struct bole_commit_graph *graph,
                              const struct bole_graph_node *node, uint32_t parent)
{
	struct bole_graph_node below;

	BOLE_TRY(bole_commit_graph_node(graph, parent, &below));
	if (node->level != 0 && node->level != GRAPH_LEVEL_MAX && below.level >= node->level)
		return BOLE_E_CORRUPT;
	if (node->corrected != 0 && below.corrected >= node->corrected && below.corrected != 0)
		return BOLE_E_CORRUPT;
	return BOLE_OK;
}

static enum bole_status verify_node(const struct bole_commit_graph *graph, uint32_t pos)
{
	struct bole_graph_node node;
	enum bole_status rc;
	uint32_t parent;

	BOLE_TRY(bole_commit_graph_node(graph, pos, &node));
	for (uint32_t i = 0; i < node.parent_count; i++)
		BOLE_TRY(above(graph, &node, node.parents[i]));
	while ((rc = bole_commit_graph_edge(&node, &parent)) == BOLE_OK)
		BOLE_TRY(above(graph, &node, parent));
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_commit_graph_verify(const struct bole_commit_graph *graph)
{
	size_t hash = bole_hash_bytes(graph->algo);

	if (!bole_checked_valid(graph->file, graph->algo))
		return BOLE_E_CORRUPT;
	for (uint32_t i = 0; i < graph->count; i++) {
		const uint8_t *id = graph->ids + i * hash;
		uint32_t low, high;

		bole_fanout_range(graph->fanout, id[0], &low, &high);
		if (i < low || i >= high || (i > 0 && memcmp(id - hash, id, hash) >= 0))
			return BOLE_E_CORRUPT;
		BOLE_TRY(verify_node(graph, graph->base_count + i));
	}
	return BOLE_OK;
}
