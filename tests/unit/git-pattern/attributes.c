/* SPDX-License-Identifier: ISC */
/* Attributes against stock git: made files in three nested folders, and `git check-attr` for every
 * path and name. Random; takes SEED. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "git/pattern/attributes.h"
#include "support/platform.h"

enum { LEVELS = 3, NAMES = 4, PATHS = 40, TEXT = 4096, ROUNDS = 40 };

static const char *const folders[LEVELS] = {"", "d", "d/e"};
static const char *const names[NAMES] = {"x", "y", "z.1", "text"};
static char files[LEVELS][TEXT];
static char paths[PATHS][32];

static uint64_t draw(struct test_platform *t, uint64_t below)
{
	return test_random(&t->random_state) % below;
}

#define PICK(t, list) (list)[draw(t, sizeof(list) / sizeof(list)[0])]

static size_t add_assignments(struct test_platform *t, char *dst, size_t len)
{
	static const char *const words[] = {"x",    "y",     "z.1", "-x", "-z.1", "!y",     "!x",
	                                    "x=1",  "y=a=b", "m1",  "m2", "-m1",  "binary", "-text",
	                                    "=bad", "-",     "x=",  "m3", "z.1=v"};

	for (uint64_t n = draw(t, 4); n > 0; n--)
		len += (size_t)snprintf(dst + len, TEXT - len, "%s%s", draw(t, 5) ? " " : "\t\t",
		                        PICK(t, words));
	return len + (size_t)snprintf(dst + len, TEXT - len, draw(t, 6) ? "\n" : "\r\n");
}

static void make_file(struct test_platform *t, char *dst)
{
	static const char *const heads[] = {
	        "f",     "*",        "d",        "d/",       "/f",        "e/*",
	        "**/g",  "[fg]",     "!f",       "#f",       "\"f\"",     "\"\\146\"",
	        "\"bad", "[attr]m1", "[attr]m2", "[attr]m3", "[attr] m1", "[attr]-",
	        "  f",   "d/e/g",    "\"a b\"",  "*.x"};
	size_t len = 0;

	*dst = '\0';
	for (uint64_t n = draw(t, 9); n > 0; n--) {
		len += (size_t)snprintf(dst + len, TEXT - len, "%s", PICK(t, heads));
		len = add_assignments(t, dst, len);
	}
}

/* Every name at every depth, as a file and as a folder. */
static void make_paths(void)
{
	static const char *const last[] = {"f", "g", "d", "e", "a b", "k.x"};
	size_t n = 0;

	for (size_t level = 0; level < LEVELS; level++)
		for (size_t i = 0; i < sizeof last / sizeof last[0]; i++)
			for (int folder = 0; folder < 2; folder++)
				snprintf(paths[n++], sizeof paths[0], "%s%s%s%s", folders[level],
				         level > 0 ? "/" : "", last[i], folder ? "/" : "");
	while (n < PATHS)
		snprintf(paths[n++], sizeof paths[0], "f");
}

static void ask_git(const char *folder, char answers[PATHS][NAMES][32])
{
	char name[128], line[1024];
	FILE *file;

	for (size_t i = 0; i < LEVELS; i++) {
		snprintf(name, sizeof name, "%s/%s/.gitattributes", folder, folders[i]);
		file = fopen(name, "w");
		cr_assert_not_null(file);
		fputs(files[i], file);
		fclose(file);
	}
	snprintf(name, sizeof name, "%s/asked", folder);
	file = fopen(name, "w");
	cr_assert_not_null(file);
	for (size_t i = 0; i < PATHS; i++)
		fprintf(file, "%s%c", paths[i], 0);
	fclose(file);
	snprintf(line, sizeof line,
	         "cd %s && git check-attr -z --stdin x y z.1 text <asked 2>/dev/null |"
	         "tr '\\0' '\\n' >told",
	         folder);
	cr_assert_eq(system(line), 0);
	snprintf(name, sizeof name, "%s/told", folder);
	file = fopen(name, "r");
	cr_assert_not_null(file);
	for (size_t i = 0; i < PATHS; i++)
		for (size_t k = 0; k < NAMES; k++)
			for (int part = 0; part < 3; part++) {
				cr_assert_not_null(fgets(line, sizeof line, file));
				line[strcspn(line, "\n")] = '\0';
				snprintf(answers[i][k], 32, "%.31s", line);
			}
	fclose(file);
}

static void show(const struct bole_attribute *a, char text[32])
{
	switch (a->state) {
	case BOLE_ATTRIBUTE_UNSPECIFIED: snprintf(text, 32, "unspecified"); break;
	case BOLE_ATTRIBUTE_SET: snprintf(text, 32, "set"); break;
	case BOLE_ATTRIBUTE_UNSET: snprintf(text, 32, "unset"); break;
	case BOLE_ATTRIBUTE_VALUE:
		snprintf(text, 32, "%.*s", (int)a->value.len, (const char *)a->value.ptr);
	}
}

static size_t level_of(const char *path)
{
	return strncmp(path, "d/e/", 4) == 0 && path[4] != '\0' ? 2
	       : strncmp(path, "d/", 2) == 0 && path[2] != '\0' ? 1
	                                                        : 0;
}

static size_t compare(struct test_platform *t, char answers[PATHS][NAMES][32])
{
	struct bole_attributes *a;
	size_t said = 0;

	cr_assert_eq(bole_attributes_open(&t->alloc, &a), BOLE_OK);
	for (size_t level = 0; level < LEVELS; level++) {
		cr_assert_eq(bole_attributes_enter(a, strlen(folders[level]),
		                                   bole_bytes_z(files[level])),
		             BOLE_OK);
		for (size_t i = 0; i < PATHS; i++) {
			size_t len = strlen(paths[i]);
			bool folder = paths[i][len - 1] == '/';

			if (level_of(paths[i]) != level)
				continue;
			for (size_t k = 0; k < NAMES; k++) {
				struct bole_attribute got;
				char text[32];

				cr_assert_eq(bole_attributes_get(
				                     a, bole_bytes_of(paths[i], len - folder),
				                     folder, names[k], &got),
				             BOLE_OK);
				show(&got, text);
				cr_assert_str_eq(text, answers[i][k],
				                 "%s of %s: %s, git: %s\n%s--d\n%s--d/e\n%s",
				                 names[k], paths[i], text, answers[i][k], files[0],
				                 files[1], files[2]);
				said += got.state != BOLE_ATTRIBUTE_UNSPECIFIED;
			}
		}
	}
	bole_attributes_leave(a);
	bole_attributes_close(a);
	return said;
}

Test(attributes, are_what_git_says)
{
	static char answers[PATHS][NAMES][32];
	char folder[] = "/tmp/bole-attributes-XXXXXX";
	struct test_platform t;
	char line[256];
	size_t said = 0;

	test_platform_init(&t, test_seed(22));
	cr_assert_not_null(mkdtemp(folder));
	snprintf(line, sizeof line, "git init -q %s && mkdir -p %s/d/e", folder, folder);
	cr_assert_eq(system(line), 0);
	make_paths();
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < LEVELS; i++)
			make_file(&t, files[i]);
		ask_git(folder, answers);
		said += compare(&t, answers);
	}
	cr_assert_gt(said, ROUNDS * PATHS / 4);
	snprintf(line, sizeof line, "rm -rf %s", folder);
	cr_assert_eq(system(line), 0);
	cr_assert_eq(t.blocks, 0);
	test_platform_release(&t);
}

Test(attributes, counts_have_limits_and_memory_may_run_out)
{
	static char text[BOLE_ATTRIBUTES_BYTES_MAX + 1];
	struct bole_attribute got;
	struct bole_attributes *a;
	struct test_platform t;
	size_t len = 0;

	test_platform_init(&t, 1);
	cr_assert_eq(bole_attributes_open(&t.alloc, &a), BOLE_OK);
	memset(text, '\n', sizeof text);
	cr_assert_eq(bole_attributes_enter(a, 0, bole_bytes_of(text, sizeof text)), BOLE_E_LIMIT);
	for (int i = 0; i <= BOLE_ATTRIBUTES_NAMES_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "f n%d\n", i);
	cr_assert_eq(bole_attributes_enter(a, 0, bole_bytes_of(text, len)), BOLE_E_LIMIT);
	len = 0;
	for (int i = 0; i <= BOLE_ATTRIBUTES_LINES_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "f n1\n");
	cr_assert_eq(bole_attributes_enter(a, 0, bole_bytes_of(text, len)), BOLE_E_LIMIT);
	/* A line that is too long says nothing. */
	memset(text, ' ', BOLE_ATTRIBUTES_LINE_MAX);
	memcpy(text, "f n1", 4);
	memcpy(text + BOLE_ATTRIBUTES_LINE_MAX - 4, " n2\n", 4);
	cr_assert_eq(bole_attributes_enter(a, 0, bole_bytes_of(text, BOLE_ATTRIBUTES_LINE_MAX)),
	             BOLE_OK);
	cr_assert_eq(bole_attributes_get(a, bole_bytes_z("f"), false, "n2", &got), BOLE_OK);
	cr_assert_eq(got.state, BOLE_ATTRIBUTE_SET);
	bole_attributes_leave(a);
	memcpy(text + BOLE_ATTRIBUTES_LINE_MAX - 4, "  n2", 4);
	cr_assert_eq(bole_attributes_enter(a, 0, bole_bytes_of(text, BOLE_ATTRIBUTES_LINE_MAX)),
	             BOLE_OK);
	cr_assert_eq(bole_attributes_get(a, bole_bytes_z("f"), false, "n2", &got), BOLE_OK);
	cr_assert_eq(got.state, BOLE_ATTRIBUTE_UNSPECIFIED);
	bole_attributes_close(a);
	for (size_t fail = 1;; fail++) {
		t.fail_at = t.grows + fail;
		enum bole_status rc = bole_attributes_open(&t.alloc, &a);
		if (rc == BOLE_OK)
			rc = bole_attributes_enter(a, 0, bole_bytes_z("[attr]m x\n\"f*\" m y=1\n"));
		t.fail_at = 0;
		bole_attributes_close(a);
		cr_assert_eq(t.blocks, 0);
		if (rc == BOLE_OK)
			break;
		cr_assert_eq(rc, BOLE_E_NO_MEMORY);
	}
	test_platform_release(&t);
}
