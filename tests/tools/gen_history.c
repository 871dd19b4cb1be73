/* SPDX-License-Identifier: ISC */
/* Prints a synthetic Git history as a fast-import stream (git-fast-import(1)), the same bytes for
 * the same seed: files in nested folders that grow, change, move and vanish; branches, merges,
 * annotated tags. About six objects a commit.
 *
 *   gen_history SEED COMMITS | git fast-import
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES = 600, BRANCHES = 4, LINES_MAX = 400 };

static uint64_t state;

static uint64_t next(void) /* splitmix64, Steele et al. 2014 */
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static unsigned below(unsigned n)
{
	return (unsigned)(next() % n);
}

struct file {
	uint32_t lines;
	uint32_t seed[LINES_MAX];
};
static struct file files[FILES];

static void path_of(unsigned f, char *dst, size_t cap)
{
	if (f % 50 == 7)
		snprintf(dst, cap, "top-%u.txt", f);
	else
		snprintf(dst, cap, "part-%u/module-%u/file-%u.c", f % 7, f % 23, f);
}

static void change(struct file *file)
{
	unsigned edits = 1 + below(4);

	for (unsigned i = 0; i < edits; i++) {
		if (file->lines == 0 || (file->lines < LINES_MAX && below(3) == 0))
			file->seed[file->lines++] = (uint32_t)next();
		else
			file->seed[below(file->lines)] = (uint32_t)next();
	}
}

static void print_file(const struct file *file)
{
	static char text[LINES_MAX * 64];
	size_t len = 0;

	for (uint32_t i = 0; i < file->lines; i++) {
		uint32_t s = file->seed[i];

		len += (size_t)snprintf(text + len, sizeof text - len,
		                        "\tvalue[%u] = transform(%08x, %u); /* %x */\n", i, s,
		                        s % 977, s >> 7);
	}
	printf("data %zu\n", len);
	fwrite(text, 1, len, stdout);
	putchar('\n');
}

static void print_commit(unsigned i, unsigned branch, unsigned from, unsigned merge)
{
	char message[64];
	int len = snprintf(message, sizeof message, "change %u on branch %u\n", i, branch);

	printf("commit refs/heads/%s%u\nmark :%u\n", branch == 0 ? "main-" : "topic/", branch, i);
	printf("author A U Thor <author-%u@example.org> %u +0%u00\n", i % 31, 1500000000 + i * 60,
	       i % 10);
	printf("committer C O Mitter <committer@example.org> %u +0000\n", 1500000000 + i * 60);
	printf("data %d\n%s", len, message);
	if (from != 0)
		printf("from :%u\n", from);
	if (merge != 0)
		printf("merge :%u\n", merge);
}

static void print_changes(void)
{
	unsigned count = 1 + below(3);
	char path[64];

	for (unsigned k = 0; k < count; k++) {
		unsigned f = below(FILES);

		path_of(f, path, sizeof path);
		if (files[f].lines != 0 && below(40) == 0) {
			files[f].lines = 0;
			printf("D %s\n", path);
			continue;
		}
		change(&files[f]);
		printf("M 100%s inline %s\n", f % 90 == 0 ? "755" : "644", path);
		print_file(&files[f]);
	}
	putchar('\n');
}

int main(int argc, char **argv)
{
	unsigned tips[BRANCHES] = {0};
	unsigned commits;

	if (argc != 3) {
		fprintf(stderr, "usage: gen_history SEED COMMITS | git fast-import\n");
		return 2;
	}
	state = strtoull(argv[1], NULL, 0);
	commits = (unsigned)strtoul(argv[2], NULL, 0);
	for (unsigned i = 1; i <= commits; i++) {
		unsigned branch = below(10) < 7 ? 0 : 1 + below(BRANCHES - 1);
		unsigned from = tips[branch] != 0 ? tips[branch] : tips[0];
		unsigned merge = 0;

		if (branch == 0 && below(25) == 0)
			merge = tips[1 + below(BRANCHES - 1)];
		print_commit(i, branch, from, merge == from ? 0 : merge);
		print_changes();
		tips[branch] = i;
		if (i % 500 == 0)
			printf("tag v%u\nfrom :%u\ntagger T Agger <t@example.org> %u +0000\n"
			       "data 8\nrelease\n\n",
			       i / 500, i, 1500000000 + i * 60);
	}
	return fflush(stdout) == 0 && ferror(stdout) == 0 ? 0 : 1;
}
