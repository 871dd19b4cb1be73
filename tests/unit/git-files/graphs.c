/* SPDX-License-Identifier: ISC */
/* Commit graphs: git's are read, whole and split; git verifies ours. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "git/files/commit_graph.h"
#include "support/gitfiles.h"

enum { LAYERS = 8 };

static const uint8_t algos[] = {BOLE_HASH_SHA1, BOLE_HASH_SHA256};

static void drop(struct bole_bytes bytes)
{
	free((void *)(uintptr_t)bytes.ptr);
}

static struct bole_oid cut_oid(struct gitfiles *f, char **line)
{
	size_t hex = 2 * bole_hash_bytes(f->algo);
	struct bole_oid oid;

	cr_assert_eq(bole_oid_parse(*line, hex, f->algo, &oid), BOLE_OK, "%s", *line);
	*line += hex + ((*line)[hex] == ' ');
	return oid;
}

/* The parents of a node are those of the line, in order. */
static void expect_parents(struct gitfiles *f, const struct bole_commit_graph *graph,
                           struct bole_graph_node *node, char *line)
{
	uint32_t given = 0;

	while (*line != '\0') {
		struct bole_oid oid = cut_oid(f, &line);
		struct bole_graph_node parent;
		uint32_t pos;

		if (given < node->parent_count)
			pos = node->parents[given];
		else
			cr_assert_eq(bole_commit_graph_edge(node, &pos), BOLE_OK);
		given++;
		cr_assert_eq(bole_commit_graph_node(graph, pos, &parent), BOLE_OK);
		cr_assert(bole_oid_equal(&parent.oid, &oid));
	}
	cr_assert_geq(given, node->parent_count);
	uint32_t pos;
	cr_assert_eq(bole_commit_graph_edge(node, &pos), BOLE_END);
}

/* "log": lines of id, tree, time, parents. */
static size_t expect_graph(struct gitfiles *f, const struct bole_commit_graph *graph, bool dates)
{
	struct bole_bytes log = gitfiles_read(f, "log"), rest = log;
	size_t count = 0;
	char *line;

	for (const struct bole_commit_graph *g = graph; g != NULL; g = g->base)
		cr_assert_eq(bole_commit_graph_verify(g), BOLE_OK);
	while ((line = gitfiles_line(&rest)) != NULL) {
		struct bole_oid oid = cut_oid(f, &line), tree = cut_oid(f, &line);
		struct bole_graph_node node;
		uint32_t pos;

		cr_assert(bole_commit_graph_find(graph, oid.bytes, &pos));
		cr_assert_eq(bole_commit_graph_node(graph, pos, &node), BOLE_OK);
		cr_assert(bole_oid_equal(&node.oid, &oid));
		cr_assert(bole_oid_equal(&node.tree, &tree));
		cr_assert_eq(node.commit_time, strtoll(line, &line, 10));
		cr_assert_geq(node.level, 1);
		cr_assert_eq(node.corrected != 0, dates);
		expect_parents(f, graph, &node, line + (*line == ' '));
		count++;
	}
	drop(log);
	return count;
}

static void make_log(struct gitfiles *f)
{
	gitfiles_sh(f, "cd w; git log --all --no-commit-graph --format='%H %T %ct %P' >../log "
	               "2>/dev/null || git -c core.commitGraph=false log --all --format='%H %T "
	               "%ct %P' >../log");
}

Test(graphs, of_git_are_read_with_filters_and_without_dates)
{
	static const char *const how[] = {
	        "cd w; git commit-graph write --reachable --changed-paths",
	        "cd w; git -c commitGraph.generationVersion=1 commit-graph write --reachable",
	};

	for (size_t i = 0; i < 4; i++) {
		struct bole_commit_graph graph;
		struct gitfiles f;

		gitfiles_open(&f, algos[i % 2]);
		gitfiles_history(&f, 65);
		make_log(&f);
		gitfiles_sh(&f, how[i / 2]);
		struct bole_bytes file = gitfiles_read(&f, "w/.git/objects/info/commit-graph");
		cr_assert_eq(bole_commit_graph_open(file, f.algo, NULL, &graph), BOLE_OK);
		cr_assert_eq(expect_graph(&f, &graph, i < 2), graph.count);
		for (size_t len = 0; len < file.len; len += 1 + len / 8)
			cr_assert_neq(bole_commit_graph_open(bole_bytes_of(file.ptr, len), f.algo,
			                                     NULL, &graph),
			              BOLE_OK);
		drop(file);
		gitfiles_close(&f);
	}
}

Test(graphs, that_are_split_are_a_chain)
{
	for (size_t i = 0; i < 2; i++) {
		struct bole_commit_graph layers[LAYERS];
		struct bole_bytes files[LAYERS];
		struct gitfiles f;
		size_t count = 0;
		char *line;

		gitfiles_open(&f, algos[i]);
		gitfiles_history(&f, 65);
		make_log(&f);
		gitfiles_sh(&f,
		            "cd w; for b in main~40 main~20 main~5 main b0 b1 b2 b3 b4 b5; do git "
		            "rev-parse "
		            "$b | git commit-graph write --stdin-commits --split=no-merge; done");
		struct bole_bytes chain = gitfiles_read(&f,
		                                        "w/.git/objects/info/commit-graphs/*chain"),
		                  rest = chain;
		while ((line = gitfiles_line(&rest)) != NULL) {
			char path[256];

			cr_assert_lt(count, LAYERS);
			snprintf(path, sizeof path,
			         "w/.git/objects/info/commit-graphs/graph-%s.graph", line);
			files[count] = gitfiles_read(&f, path);
			cr_assert_eq(bole_commit_graph_open(files[count], f.algo,
			                                    count == 0 ? NULL : &layers[count - 1],
			                                    &layers[count]),
			             BOLE_OK);
			count++;
		}
		cr_assert_geq(count, 3);
		struct bole_commit_graph *top = &layers[count - 1];
		cr_assert_eq(expect_graph(&f, top, true), top->base_count + top->count);
		/* Upon another layer it is none. */
		struct bole_commit_graph wrong;
		cr_assert_eq(bole_commit_graph_open(files[count - 1], f.algo, NULL, &wrong),
		             BOLE_E_INVALID);
		cr_assert_eq(bole_commit_graph_open(files[2], f.algo, &layers[0], &wrong),
		             BOLE_E_INVALID);
		for (size_t n = 0; n < count; n++)
			drop(files[n]);
		drop(chain);
		gitfiles_close(&f);
	}
}

/* The commits of "log". */
static size_t read_log(struct gitfiles *f, struct bole_graph_commit *commits,
                       struct bole_oid *parents)
{
	struct bole_bytes log = gitfiles_read(f, "log"), rest = log;
	size_t count = 0, all = 0;
	char *line;

	while ((line = gitfiles_line(&rest)) != NULL) {
		struct bole_graph_commit *commit = &commits[count++];

		commit->oid = cut_oid(f, &line);
		commit->tree = cut_oid(f, &line);
		commit->commit_time = strtoll(line, &line, 10);
		commit->parent_first = all;
		for (line += *line == ' '; *line != '\0'; all++)
			parents[all] = cut_oid(f, &line);
		commit->parent_count = (uint32_t)(all - commit->parent_first);
	}
	drop(log);
	qsort(commits, count, sizeof *commits, bole_graph_commit_compare);
	return count;
}

Test(graphs, that_we_write_are_right_to_git)
{
	static struct bole_graph_commit commits[500];
	static struct bole_oid parents[500];

	for (size_t i = 0; i < 2; i++) {
		struct bole_buffer_writer writer;
		struct bole_commit_graph graph;
		struct bole_buffer file;
		struct gitfiles f;

		gitfiles_open(&f, algos[i]);
		gitfiles_history(&f, 95);
		make_log(&f);
		size_t count = read_log(&f, commits, parents);
		bole_buffer_init(&file, &f.test.alloc, SIZE_MAX / 2);
		bole_buffer_writer_init(&writer, &file);
		cr_assert_eq(bole_commit_graph_write(&f.test.alloc, f.algo, commits, count, parents,
		                                     &writer.writer),
		             BOLE_OK);
		cr_assert_eq(bole_commit_graph_open(bole_bytes_of(file.ptr, file.len), f.algo, NULL,
		                                    &graph),
		             BOLE_OK);
		cr_assert_eq(expect_graph(&f, &graph, true), count);
		gitfiles_write(&f, "w/.git/objects/info/commit-graph",
		               bole_bytes_of(file.ptr, file.len));
		gitfiles_sh(&f, "cd w; git commit-graph verify; git log --all --format='%H %T %ct "
		                "%P' | cmp - ../log");
		/* A parent that is missing cannot be said. */
		cr_assert_eq(bole_commit_graph_write(&f.test.alloc, f.algo, commits, count / 2,
		                                     parents, &writer.writer),
		             BOLE_E_UNSUPPORTED);
		bole_buffer_release(&file);
		gitfiles_close(&f);
	}
}
