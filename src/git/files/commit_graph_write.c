/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/files/checked.h"
#include "git/files/chunk_file.h"
#include "git/files/commit_graph.h"
#include "git/files/commit_graph_format.h"

struct graph_build {
	struct bole_alloc *alloc;
	uint8_t algo;
	const struct bole_graph_commit *commits;
	const struct bole_oid *parents;
	size_t count;
	size_t parent_count; /* of all commits */
	uint32_t *links;     /* positions of the parents */
	uint32_t *levels;    /* 0 = not yet known */
	uint64_t *dates;     /* corrected */
	uint32_t *stack;
	uint32_t edges;
	uint32_t large; /* dates */
};

int bole_graph_commit_compare(const void *a, const void *b)
{
	return bole_oid_compare(&((const struct bole_graph_commit *)a)->oid,
	                        &((const struct bole_graph_commit *)b)->oid);
}

static enum bole_status find_parents(struct graph_build *b)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct bole_graph_commit *commit = &b->commits[i];

		if (commit->commit_time < 0 || commit->commit_time >> GRAPH_TIME_BITS != 0)
			return BOLE_E_UNSUPPORTED;
		for (uint32_t p = 0; p < commit->parent_count; p++) {
			size_t at = commit->parent_first + p;
			struct bole_graph_commit key = {.oid = b->parents[at]};
			const struct bole_graph_commit *found = bsearch(
			        &key, b->commits, b->count, sizeof key, bole_graph_commit_compare);

			if (found == NULL)
				return BOLE_E_UNSUPPORTED;
			b->links[at] = (uint32_t)(found - b->commits);
		}
		b->edges += commit->parent_count > 2 ? commit->parent_count - 1 : 0;
	}
	return BOLE_OK;
}

/* Sets the generations of a commit whose parents have theirs; else shows a parent that has not. */
static bool settle(struct graph_build *b, uint32_t at, uint32_t *missing)
{
	const struct bole_graph_commit *commit = &b->commits[at];
	uint64_t date = (uint64_t)commit->commit_time;
	uint32_t level = 0;

	for (uint32_t p = 0; p < commit->parent_count; p++) {
		uint32_t parent = b->links[commit->parent_first + p];

		if (b->levels[parent] == 0) {
			*missing = parent;
			return false;
		}
		level = b->levels[parent] > level ? b->levels[parent] : level;
		date = b->dates[parent] + 1 > date ? b->dates[parent] + 1 : date;
	}
	b->levels[at] = level < GRAPH_LEVEL_MAX ? level + 1 : GRAPH_LEVEL_MAX;
	/* git takes 0 for "not known". */
	b->dates[at] = date == 0 ? 1 : date;
	b->large += b->dates[at] - (uint64_t)commit->commit_time >= GRAPH_LARGE;
	return true;
}

/* The ids are hashes of their parents' ids, so there are no rings; a stack as long as the history
 * is deep replaces recursion. */
static enum bole_status find_generations(struct graph_build *b)
{
	for (uint32_t i = 0; i < b->count; i++) {
		size_t depth = 0;

		if (b->levels[i] == 0)
			b->stack[depth++] = i;
		while (depth > 0) {
			uint32_t missing = 0;

			if (settle(b, b->stack[depth - 1], &missing)) {
				depth--;
			} else {
				if (depth == b->count)
					return BOLE_E_CORRUPT;
				b->stack[depth++] = missing;
			}
		}
	}
	return BOLE_OK;
}

static void write_data(struct graph_build *b, struct bole_checked *c)
{
	size_t hash = bole_hash_bytes(b->algo);
	uint32_t edge = 0;

	for (size_t i = 0; i < b->count; i++) {
		const struct bole_graph_commit *commit = &b->commits[i];
		const uint32_t *links = b->links + commit->parent_first;
		uint32_t n = commit->parent_count;

		bole_checked_write(c, commit->tree.bytes, hash);
		bole_checked_be32(c, n > 0 ? links[0] : (uint32_t)GRAPH_PARENT_NONE);
		bole_checked_be32(c, n > 2    ? GRAPH_LARGE | edge
		                     : n == 2 ? links[1]
		                              : (uint32_t)GRAPH_PARENT_NONE);
		edge += n > 2 ? n - 1 : 0;
		bole_checked_be64(c, (uint64_t)b->levels[i] << GRAPH_TIME_BITS |
		                             (uint64_t)commit->commit_time);
	}
}

static void write_dates(struct graph_build *b, struct bole_checked *c)
{
	uint32_t large = 0;

	for (size_t i = 0; i < b->count; i++) {
		uint64_t more = b->dates[i] - (uint64_t)b->commits[i].commit_time;

		bole_checked_be32(c, more < GRAPH_LARGE ? (uint32_t)more : GRAPH_LARGE | large++);
	}
	for (size_t i = 0; i < b->count && b->large > 0; i++) {
		uint64_t more = b->dates[i] - (uint64_t)b->commits[i].commit_time;

		if (more >= GRAPH_LARGE)
			bole_checked_be64(c, more);
	}
}

static void write_edges(struct graph_build *b, struct bole_checked *c)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct bole_graph_commit *commit = &b->commits[i];

		for (uint32_t p = 1; p < commit->parent_count && commit->parent_count > 2; p++)
			bole_checked_be32(
			        c, b->links[commit->parent_first + p] |
			                   (p + 1 == commit->parent_count ? GRAPH_LARGE : 0));
	}
}

static enum bole_status write_file(struct graph_build *b, struct bole_writer *writer)
{
	size_t hash = bole_hash_bytes(b->algo);
	uint8_t head[GRAPH_HEAD_BYTES] = {'C', 'G', 'P', 'H', GRAPH_VERSION, b->algo, 4, 0};
	struct bole_chunk chunks[6] = {{"OIDF", GRAPH_FANOUT_BYTES},
	                               {"OIDL", b->count * hash},
	                               {"CDAT", b->count * (hash + GRAPH_DATA_BYTES)},
	                               {"GDA2", (uint64_t)b->count * 4}};
	struct bole_checked c;
	size_t at = 0;

	if (b->large > 0)
		chunks[head[6]++] = (struct bole_chunk){"GDO2", (uint64_t)b->large * 8};
	if (b->edges > 0)
		chunks[head[6]++] = (struct bole_chunk){"EDGE", (uint64_t)b->edges * 4};
	bole_checked_init(&c, b->algo, writer);
	bole_checked_write(&c, head, sizeof head);
	bole_chunk_toc_write(&c, GRAPH_HEAD_BYTES, chunks, head[6]);
	for (unsigned first = 0; first < 256; first++) {
		while (at < b->count && b->commits[at].oid.bytes[0] <= first)
			at++;
		bole_checked_be32(&c, (uint32_t)at);
	}
	for (size_t i = 0; i < b->count; i++)
		bole_checked_write(&c, b->commits[i].oid.bytes, hash);
	write_data(b, &c);
	write_dates(b, &c);
	write_edges(b, &c);
	return bole_checked_end(&c);
}

enum bole_status bole_commit_graph_write(struct bole_alloc *alloc, uint8_t algo,
                                         const struct bole_graph_commit *commits, size_t count,
                                         const struct bole_oid *parents, struct bole_writer *writer)
{
	struct graph_build b = {.alloc = alloc,
	                        .algo = algo,
	                        .commits = commits,
	                        .parents = parents,
	                        .count = count};
	enum bole_status rc = BOLE_E_NO_MEMORY;

	if (count == 0 || count >= GRAPH_PARENT_NONE)
		return BOLE_E_UNSUPPORTED;
	for (size_t i = 0; i < count; i++)
		b.parent_count += commits[i].parent_count;
	size_t links = b.parent_count == 0 ? 1 : b.parent_count;
	b.links = bole_alloc_array(alloc, links, sizeof *b.links);
	b.levels = bole_alloc_zeroed(alloc, count, sizeof *b.levels);
	b.dates = bole_alloc_array(alloc, count, sizeof *b.dates);
	b.stack = bole_alloc_array(alloc, count, sizeof *b.stack);
	if (b.links != NULL && b.levels != NULL && b.dates != NULL && b.stack != NULL)
		rc = find_parents(&b);
	if (rc == BOLE_OK)
		rc = find_generations(&b);
	if (rc == BOLE_OK)
		rc = write_file(&b, writer);
	bole_alloc_free(alloc, b.links, links, sizeof *b.links);
	bole_alloc_free(alloc, b.levels, count, sizeof *b.levels);
	bole_alloc_free(alloc, b.dates, count, sizeof *b.dates);
	bole_alloc_free(alloc, b.stack, count, sizeof *b.stack);
	return rc;
}
