/* SPDX-License-Identifier: ISC */
/* Patterns against stock git: `git check-attr` says which of many made patterns fit which of many
 * made paths. Random; takes SEED. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "git/pattern/path_pattern.h"
#include "support/platform.h"

enum { PATTERNS = 400, PATHS = 300, TEXT = 48, ROUNDS = 4 };

static char patterns[PATTERNS][TEXT];
static char paths[PATHS][TEXT];
static bool theirs[PATHS][PATTERNS];

static uint64_t draw(struct test_platform *t, uint64_t below)
{
	return test_random(&t->random_state) % below;
}

static void make_pattern(struct test_platform *t, char *dst)
{
	static const char *const parts[] = {
	        "a",      "b",    "ab",           "/",      "/",    "*",           "**",
	        "?",      "[ab]", "[!a]",         "[^b-c]", "**/",  "/**/",        "/**",
	        "[a-c/]", "\\a",  "\\*",          "*/",     "[]a]", "[[:alpha:]]", "[[:nope:]]",
	        "[a",     "a\\",  "***",          "[\\]b]", "[a-",  "[-a]",        "[b-a]",
	        "[[:]",   "c.x",  "[[:digit:]-b]"};
	size_t len = 0;

	*dst = '\0';
	for (uint64_t n = 1 + draw(t, 6); n > 0; n--) {
		const char *part = parts[draw(t, sizeof parts / sizeof parts[0])];

		if (len + strlen(part) + 1 > TEXT)
			break;
		len += (size_t)snprintf(dst + len, TEXT - len, "%s", part);
	}
}

static void make_path(struct test_platform *t, char *dst)
{
	static const char *const names[] = {"a", "b", "c",  "ab", "abc", "c.x",
	                                    "1", "*", "]b", "a-", "[a"};
	size_t len = 0;

	for (uint64_t n = 1 + draw(t, 4); n > 0; n--) {
		const char *part = names[draw(t, sizeof names / sizeof names[0])];

		len += (size_t)snprintf(dst + len, TEXT - len, "%s/", part);
	}
	if (draw(t, 3) != 0)
		dst[len - 1] = '\0'; /* a file */
}

/* One attribute for each pattern; git tells path, attribute, value, each with a zero behind. */
static void ask_git(const char *folder)
{
	char name[256], line[1024], out[256];
	FILE *file;
	int at, pattern;

	snprintf(name, sizeof name, "%s/info/attributes", folder);
	file = fopen(name, "w");
	cr_assert_not_null(file);
	for (int i = 0; i < PATTERNS; i++)
		fprintf(file, "%s p%d\n", patterns[i], i);
	fclose(file);
	snprintf(name, sizeof name, "%s/asked", folder);
	file = fopen(name, "w");
	cr_assert_not_null(file);
	for (int i = 0; i < PATHS; i++)
		fprintf(file, "%s%c", paths[i], 0);
	fclose(file);
	snprintf(out, sizeof out, "%s/told", folder);
	snprintf(line, sizeof line,
	         "git --git-dir=%s --work-tree=%s/w check-attr -z --stdin -a <%s |"
	         "tr '\\0' '\\n' >%s",
	         folder, folder, name, out);
	cr_assert_eq(system(line), 0);
	memset(theirs, 0, sizeof theirs);
	file = fopen(out, "r");
	cr_assert_not_null(file);
	at = 0;
	while (fgets(line, sizeof line, file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		for (int tries = 0; strcmp(paths[at], line) != 0; tries++) {
			cr_assert_lt(tries, PATHS, "git speaks of '%s'", line);
			at = (at + 1) % PATHS;
		}
		cr_assert_eq(fscanf(file, "p%d\nset\n", &pattern), 1);
		theirs[at][pattern] = true;
	}
	fclose(file);
}

static size_t compare(struct test_platform *t)
{
	struct bole_arena arena;
	size_t matches = 0;

	bole_arena_init(&arena, &t->alloc, 4096);
	for (size_t i = 0; i < PATTERNS; i++) {
		struct bole_path_pattern p;

		cr_assert_eq(bole_path_pattern_parse(&p, &arena, bole_bytes_z(patterns[i])),
		             BOLE_OK);
		for (size_t k = 0; k < PATHS; k++) {
			size_t len = strlen(paths[k]);
			bool folder = paths[k][len - 1] == '/';
			uint64_t work = 0;
			bool ours = bole_path_pattern_match(
			        &p, bole_bytes_of(paths[k], len - folder), folder, &work);

			cr_assert_eq(ours, theirs[k][i], "'%s' and '%s': git says %d", patterns[i],
			             paths[k], theirs[k][i]);
			matches += ours;
		}
	}
	bole_arena_release(&arena);
	return matches;
}

Test(pattern, fits_where_git_says_so)
{
	char folder[] = "/tmp/bole-pattern-XXXXXX";
	char line[256];
	struct test_platform t;

	test_platform_init(&t, test_seed(21));
	cr_assert_not_null(mkdtemp(folder));
	snprintf(line, sizeof line, "git init -q --bare %s && mkdir -p %s/w %s/info", folder,
	         folder, folder);
	cr_assert_eq(system(line), 0);
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < PATTERNS; i++)
			make_pattern(&t, patterns[i]);
		for (size_t i = 0; i < PATHS; i++) {
			bool fresh;

			do {
				make_path(&t, paths[i]);
				fresh = true;
				for (size_t k = 0; k < i; k++)
					fresh = fresh && strcmp(paths[i], paths[k]) != 0;
			} while (!fresh);
		}
		ask_git(folder);
		cr_assert_gt(compare(&t), PATTERNS);
	}
	snprintf(line, sizeof line, "rm -rf %s", folder);
	cr_assert_eq(system(line), 0);
	cr_assert_eq(t.blocks, 0);
	test_platform_release(&t);
}
