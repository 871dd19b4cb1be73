/* SPDX-License-Identifier: ISC */
/* The same objects, made wrong on purpose, before our checks and before `git fsck --strict`: both
 * must find the same ids, at the same severity. Where stock Git cannot even read an object it names
 * no id; then ours must refuse it too. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "git/fsck/fsck.h"
#include "support/packmaker.h"
#include "support/platform.h"

#define TREE  "4b825dc642cb6eb9a060e54bf8d69288fbee4904" /* the empty one */
#define ID    "N <m@x> 1700000000 +0000"
#define BLOB  "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391" /* the empty one */
#define ZEROS "0000000000000000000000000000000000000000"

enum { SAMPLES_MAX = 800, FOUND_MAX = 16 };

struct sample {
	uint8_t type;
	struct maker_bytes data;
	struct bole_oid oid;
	unsigned kinds; /* some tree says so */
	char ours[FOUND_MAX][72];
	char git[FOUND_MAX][72];
	size_t our_count, git_count;
	bool refused; /* by ours */
	bool newer;   /* by newer versions of Git than some: ours must refuse it */
};

struct corpus {
	struct sample samples[SAMPLES_MAX];
	size_t count;
	struct sample *at;
};

static struct corpus corpus;

static struct bole_oid add(uint8_t type, const void *data, size_t len)
{
	struct sample *s = &corpus.samples[corpus.count++];

	cr_assert_lt(corpus.count, (size_t)SAMPLES_MAX);
	s->type = type;
	maker_append(&s->data, data, len);
	cr_assert_eq(bole_object_id(test_algo(), type, bole_bytes_of(data, len), false, &s->oid),
	             BOLE_OK);
	return s->oid;
}

/* Ids in texts are written as those of SHA-1. */
static const char *const ids[][2] = {
        {TREE, "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"},
        {BLOB, "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"},
        {ZEROS, ZEROS "000000000000000000000000"},
};

static struct bole_oid oid_of(const char *hex)
{
	struct bole_oid oid;

	for (size_t i = 0; i < 3 && test_algo() == BOLE_HASH_SHA256; i++)
		if (strcmp(hex, ids[i][0]) == 0)
			hex = ids[i][1];
	cr_assert_eq(bole_oid_parse(hex, strlen(hex), test_algo(), &oid), BOLE_OK);
	return oid;
}

static void text(uint8_t type, const char *content)
{
	struct maker_bytes b = {0};

	for (const char *at = content; *at != '\0';) {
		size_t i = 0;

		while (i < 3 && strncmp(at, ids[i][0], 40) != 0)
			i++;
		if (i < 3 && test_algo() == BOLE_HASH_SHA256) {
			maker_append(&b, ids[i][1], 64);
			at += 40;
		} else {
			maker_append(&b, at++, 1);
		}
	}
	add(type, b.ptr == NULL ? "" : (const char *)b.ptr, b.len);
	maker_release(&b);
}

static void newer(void)
{
	corpus.samples[corpus.count - 1].newer = true;
}

/* -- commits and tags -- */

/* Once a date that overflows, now a bad one. */
static void newer_date(const char *identity)
{
	if (strstr(identity, " -1 ") != NULL)
		newer();
}

static const char *const commit_texts[] = {
        "tree " TREE "\nauthor " ID "\ncommitter " ID "\n\nm\n",
        "tree " TREE "\nauthor " ID "\ncommitter " ID "\n",
        "tree " TREE "\nauthor " ID "\ncommitter " ID,
        "",
        "tree " TREE,
        "tree " TREE "\n",
        "tree " TREE "\n\n",
        "author " ID "\ncommitter " ID "\n\nm\n",
        "tree 4b82\nauthor " ID "\ncommitter " ID "\n\nm\n",
        "tree " TREE "x\nauthor " ID "\ncommitter " ID "\n\nm\n",
        "tree " TREE "\nparent 12\nauthor " ID "\ncommitter " ID "\n\nm\n",
        "tree " TREE "\ncommitter " ID "\n\nm\n",
        "tree " TREE "\nauthor " ID "\n\nm\n",
        "tree " TREE "\nauthor " ID "\nauthor " ID "\ncommitter " ID "\n\nm\n",
        "tree " TREE "\nauthor " ID "\nauthor N m\ncommitter " ID "\n\nm\n",
        "tree " TREE "\nauthor " ID "\nencoding x\ncommitter " ID "\n\nm\n",
        "tree " TREE "\nauthor " ID "\ncommitter " ID "\nencoding x\ngpgsig a\n b\n\nm\n",
        "tree " TREE "\nauthor " ID "\ncommitter " ID "\nmergetag object\n\n\nm",
};

static const char *const identities[] = {
        "N <m@x> 1700000000 +0000",
        "<m@x> 1 +0000",
        "N m@x 1 +0000",
        "N m@x> 1 +0000",
        "N<m@x> 1 +0000",
        "N <m@x 1 +0000",
        "N <m<x> 1 +0000",
        "N <m@x>1 +0000",
        "N <m@x> +0000",
        "N <m@x> 01 +0000",
        "N <m@x> 0 +0000",
        "N <m@x>   7 +0000",
        "N <m@x> 7+0000",
        "N <m@x> 7",
        "N <m@x> 7 0000",
        "N <m@x> 7 +000",
        "N <m@x> 7 +00000",
        "N <m@x> 7 +0x00",
        "N <m@x> 7 +0000 x",
        "N <m@x> x +0000",
        "N <m@x> -1 +0000",
        "N <m@x> 7  +0000",
        " <m@x> 7 +0000",
        " <> 7 +0000",
        "N <m@x>",
        "N <m@x> ",
        "N",
        "N > <m@x> 7 +0000",
        "N <m> <x> 7 +0000",
        "N <m@x> 7 -1234",
        "N <m@x> 9223372036854775807 +0000",
        "N <m@x> 9223372036854775808 +0000",
        "N <m@x> 18446744073709551615 +0000",
        "N <m@x> 18446744073709551616 +0000",
        "N <m@x> 99999999999999999999999999999 +0000",
        "N <m@x>\t7 +0000",
        "N <m@x> \t7 +0000",
};

static void commits(void)
{
	struct maker_bytes b = {0};

	for (size_t i = 0; i < sizeof commit_texts / sizeof commit_texts[0]; i++)
		text(BOLE_OBJECT_COMMIT, commit_texts[i]);
	for (size_t i = 0; i < sizeof identities / sizeof identities[0]; i++) {
		b.len = 0;
		maker_text(&b, "tree " TREE "\nauthor %s\ncommitter " ID "\n\na\n", identities[i]);
		add(BOLE_OBJECT_COMMIT, b.ptr, b.len);
		newer_date(identities[i]);
		b.len = 0;
		maker_text(&b, "tree " TREE "\nauthor " ID "\ncommitter %s\n\nc\n", identities[i]);
		add(BOLE_OBJECT_COMMIT, b.ptr, b.len);
		newer_date(identities[i]);
		b.len = 0;
		maker_text(&b, "object " TREE "\ntype tree\ntag t\ntagger %s\n\nc\n",
		           identities[i]);
		add(BOLE_OBJECT_TAG, b.ptr, b.len);
		newer_date(identities[i]);
	}
	static const char nul[] = "tree " TREE "\nauthor " ID "\ncommitter " ID "\n\nm\0x\n";
	add(BOLE_OBJECT_COMMIT, nul, sizeof nul - 1);
	static const char early[] = "tree " TREE "\nauthor " ID "\ncommitter \0" ID "\n\nmx\n";
	add(BOLE_OBJECT_COMMIT, early, sizeof early - 1);
	maker_release(&b);
}

static void tags(void)
{
	static const char *const whole[] = {
	        "object " TREE "\ntype tree\ntag t\ntagger " ID "\n\nm\n",
	        "object " TREE "\ntype tree\ntag t\n\nm\n",
	        "object " TREE "\ntype tree\ntag t\n",
	        "object " TREE "\ntype tree\ntag t",
	        "object " TREE "\ntype tree\ntag \ntagger " ID "\n\nm\n",
	        "object " TREE "\ntype tree\ntag a..b\ntagger " ID "\n\nm\n",
	        "object " TREE "\ntype tree\ntag a b\ntagger " ID "\n\nm\n",
	        "object " TREE "\ntype tree\ntag x.lock\ntagger " ID "\n\nm\n",
	        "object " TREE "\ntype tree\ntag -x\ntagger " ID "\n\nm\n",
	        "object " TREE "\ntype tree\ntag a/b\ntagger " ID "\n\nm\n",
	        "object " TREE "\ntype tree\ntag @\ntagger " ID "\n\nm\n",
	        "object " TREE "\ntype tree\ntag t\ntagger " ID "\nextra x\n\nm\n",
	        "object " TREE "\ntype tree\n\nm\n",
	        "object " TREE "\ntype tree\n",
	        "object " TREE "\ntype tree",
	        "object " TREE "\ntype boat\ntag t\ntagger " ID "\n\nm\n",
	        "object " TREE "\ntag t\ntagger " ID "\n\nm\n",
	        "object " TREE "\n",
	        "object 12\ntype tree\ntag t\ntagger " ID "\n\nm\n",
	        "type tree\ntag t\ntagger " ID "\n\nm\n",
	};
	for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
		text(BOLE_OBJECT_TAG, whole[i]);
}

/* -- trees -- */

static struct bole_oid blob_of(const char *content)
{
	return add(BOLE_OBJECT_BLOB, content, strlen(content));
}

/* "mode name" pairs up to NULL; each entry names the empty blob, or the empty tree. */
static void tree(const char *const *entries)
{
	struct maker_bytes b = {0};

	for (size_t i = 0; entries[i] != NULL; i += 2) {
		bool is_tree = strstr(entries[i], "40000") != NULL;
		struct bole_oid oid = oid_of(is_tree ? TREE : BLOB);

		maker_append(&b, entries[i], strlen(entries[i]));
		maker_append(&b, " ", 1);
		maker_append(&b, entries[i + 1], strlen(entries[i + 1]) + 1);
		maker_append(&b, oid.bytes, bole_hash_bytes(test_algo()));
	}
	add(BOLE_OBJECT_TREE, b.ptr, b.len);
	maker_release(&b);
}

static void one(const char *mode, const char *name)
{
	tree((const char *const[]){mode, name, NULL});
}

static const char *const odd_names[] = {
        ".git",
        ".GIT",
        ".Git",
        ".giT ",
        ".git.",
        ".git . ",
        ".git::$INDEX_ALLOCATION",
        ".git:x",
        ".git...:y",
        "git~1",
        "GIT~1",
        "git~1 ",
        "git~1.",
        "git~1:z",
        "git~2",
        "git~10",
        ".git\\x",
        "a\\.git",
        "a\\.git\\b",
        "a\\git~1",
        "a\\b",
        "\\.git",
        ".g\xe2\x80\x8cit",
        "\xe2\x80\x8d.git",
        ".git\xe2\x80\x8e",
        ".\xe2\x80\xaaGIT",
        ".g\xe2\x81\xaa"
        "it",
        ".git\xef\xbb\xbf",
        ".gi\xe2\x80\x90t",
        ".git\xff",
        ".git\xc3",
        ".git\xc3\xa4",
        "\xff.git",
        ".gitx",
        ".gi",
        ".",
        "..",
        "...",
        ". ",
        "a/b",
        "/",
        "a/",
        ".git/x",
        ".gitmodules2",
        ".g\xed\xa0\x80it",
        ".git\xef\xbf\xbe",
        ".git\xf4\x90\x80\x80",
        ".git\xc0\x80",
        ".g\xc4\xb1t",
        "aux",
        "a:b",
        " ",
        ".git ~1",
        "gI~1",
        ".git\xe2\x80",
};

static void tree_names(void)
{
	for (size_t i = 0; i < sizeof odd_names / sizeof odd_names[0]; i++)
		one("100644", odd_names[i]);
	char *large = malloc(4200);
	memset(large, 'a', 4199);
	large[4096] = 0;
	one("100644", large);
	large[4096] = 'a';
	large[4097] = 0;
	one("100644", large);
	newer();
	free(large);
}

static void tree_links(void)
{
	static const char *const names[] = {
	        ".gitmodules",
	        ".GITMODULES",
	        ".gitmodules ",
	        ".gitmodules:x",
	        "gitmod~1",
	        "GITMOD~4",
	        "gitmod~5",
	        "gi7eba~1",
	        "GI7EB~12",
	        "gi7eba~9",
	        "gi7~1000",
	        "gi7eba~0",
	        "gi7eba~1 .",
	        "gi7ebb~1",
	        ".git\xe2\x80\x8cmodules",
	        "a\\.gitmodules",
	        ".gitattributes",
	        "gitatt~1",
	        "gi7d29~1",
	        ".gitignore",
	        "gitign~2",
	        "gi250a~1",
	        ".mailmap",
	        "mailma~1",
	        "maba30~1",
	        ".MAILMAP.",
	        ".git\xe2\x80\x8d"
	        "ignore",
	        "a\\.gitattributes",
	        "gi7eba~11",
	        "~1234567",
	        "g~123456",
	        "gi7eba1~1",
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		one("120000", names[i]);
}

static void tree_orders(void)
{
	static const char *const rows[][12] = {
	        {"100644", "a", "100644", "b", NULL},
	        {"100644", "b", "100644", "a", NULL},
	        {"100644", "a", "100644", "a", NULL},
	        {"100644", "a", "40000", "a", NULL},
	        {"40000", "a", "100644", "a", NULL},
	        {"100644", "a", "100644", "a.b", "40000", "a", NULL},
	        {"100644", "a", "100644", "a-", "100644", "a.b", "40000", "a.b", "40000", "a",
	         NULL},
	        {"100644", "a", "100644", "a-b", "40000", "a-", "40000", "a", NULL},
	        {"40000", "a", "100644", "a.b", NULL},
	        {"100644", "a.b", "40000", "a", "100644", "a0", NULL},
	        {"100644", "a", "100644", "a.b", "100644", "b", "40000", "a", NULL},
	        {"100664", "a", NULL},
	        {"100600", "a", NULL},
	        {"0100644", "a", NULL},
	        {"040000", "a", NULL},
	        {"100777", "a", NULL},
	        {"120777", "a", NULL},
	        {"40755", "a", NULL},
	        {"160001", "a", NULL},
	        {"1", "a", NULL},
	        {"160000", "a", NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		tree(rows[i]);
	struct maker_bytes b = {0};
	struct bole_oid none = oid_of(ZEROS);
	tree_entry(&b, "100644", "a", &none);
	add(BOLE_OBJECT_TREE, b.ptr, b.len);
	for (size_t cut = 1; cut < b.len; cut += 3)
		add(BOLE_OBJECT_TREE, b.ptr, cut);
	b.len = 0;
	tree_entry(&b, "100644", "", &none);
	add(BOLE_OBJECT_TREE, b.ptr, b.len);
	b.len = 0;
	tree_entry(&b, "10z644", "x", &none);
	add(BOLE_OBJECT_TREE, b.ptr, b.len);
	b.len = 0;
	tree_entry(&b, "", "x", &none);
	add(BOLE_OBJECT_TREE, b.ptr, b.len);
	maker_release(&b);
}

/* -- .gitmodules and .gitattributes -- */

static void special(const char *name, const char *content, unsigned kinds)
{
	struct maker_bytes b = {0};
	bool strict = content[0] == '!';
	struct bole_oid oid = blob_of(content + strict);

	corpus.samples[corpus.count - 1].newer = strict;
	corpus.samples[corpus.count - 1].kinds = kinds;
	tree_entry(&b, "100644", name, &oid);
	add(BOLE_OBJECT_TREE, b.ptr, b.len);
	maker_release(&b);
}

static const char *const module_texts[] = {
        "[submodule \"a\"]\n\tpath = a\n\turl = ../a\n",
        "[submodule \"../a\"]\n\turl = x\n",
        "[submodule \"a/../b\"]\n\turl = x\n",
        "[submodule \"a/..\"]\n\turl = x\n",
        "[submodule \"..\"]\n\turl = x\n",
        "[submodule \"a\\\\..\\\\b\"]\n\turl = x\n",
        "[submodule \"a..b\"]\n\turl = x\n",
        "[submodule \"...\"]\n\turl = x\n",
        "[submodule \"\"]\n\turl = x\n",
        "[submodule \"a\"]\n\turl = -u./x\n",
        "[submodule \"a\"]\n\turl = \" -x\"\n",
        "[submodule \"a\"]\n\turl = \"-x\" ; no\n",
        "[submodule \"a\"]\n\tURL = -x\n",
        "[SubModule \"a\"]\n\turl = -x\n",
        "[other \"a\"]\n\turl = -x\n",
        "[submodule]\n\turl = -x\n",
        "[submodule.a]\n\turl = -x\n",
        "[submodule \"a\"] url = -x",
        "[submodule \"a\"]\n\turl = \\\n-x\n",
        "[submodule \"a\"]\n\turl\n",
        "[submodule \"a\"]\n\tpath = -p\n",
        "[submodule \"a\"]\n\tupdate = !cmd\n",
        "[submodule \"a\"]\n\tupdate = checkout\n",
        "[submodule \"a\"]\n\tupdate = \"!c\"\n\turl = -x\n\tpath = -y\n",
        "[submodule \"a\"]\n\turl = ../../:x\n",
        "[submodule \"a\"]\n\turl = ./../:x\n",
        "[submodule \"a\"]\n\turl = ..//x\n",
        "[submodule \"a\"]\n\turl = ./:x\n",
        "[submodule \"a\"]\n\turl = ../%0ax\n",
        "[submodule \"a\"]\n\turl = git://h/%0ax\n",
        "[submodule \"a\"]\n\turl = https://h/%0ax\n",
        "[submodule \"a\"]\n\turl = https://h/%0Ax\n",
        "[submodule \"a\"]\n\turl = https://h/x\n",
        "[submodule \"a\"]\n\turl = https://u@h:80/x\n",
        "![submodule \"a\"]\n\turl = https://h:99999/x\n",
        "![submodule \"a\"]\n\turl = https://h:0/x\n",
        "[submodule \"a\"]\n\turl = https:///x\n",
        "[submodule \"a\"]\n\turl = https://\n",
        "[submodule \"a\"]\n\turl = http::x\n",
        "[submodule \"a\"]\n\turl = http::https://h/x\n",
        "[submodule \"a\"]\n\turl = https::h.example/x\n",
        "![submodule \"a\"]\n\turl = https://h/../x\n",
        "[submodule \"a\"]\n\turl = https://h/a/../x\n",
        "![submodule \"a\"]\n\turl = https://h/%zz\n",
        "![submodule \"a\"]\n\turl = https://h h/x\n",
        "[submodule \"a\"]\n\turl = ssh://-oProxy/x\n",
        "[submodule \"a\"]\n\turl = ftp://h/x%0a\n",
        "[submodule \"a\"]\n\turl = \"a\\nb\"\n",
        "[submodule \"a\"]\r\n\turl = -x\r\n",
        "!\xef\xbb\xbf[submodule \"a\"]\n\turl = -x\n",
        "[submodule \"a\n\turl = -x\n",
        "[submodule \"a\"\n\turl = -x\n",
        "[submodule \"a\"]\n\turl = \"-x\n",
        "[submodule \"a\"]\n\turl = \\q\n",
        "[submodule \"a\"]\n\turl - x\n",
        "[submodule \"a\"]\n1url = x\n",
        "[submodule \"a\"]\n\turl = x\n[\n",
        "[submodule \"a\"]\n\turl = -x\nbad!\n",
        "# nothing\n; here",
        "",
};

static void modules(void)
{
	for (size_t i = 0; i < sizeof module_texts / sizeof module_texts[0]; i++)
		special(i % 2 ? ".gitmodules" : "GITMOD~1", module_texts[i], BOLE_FSCK_MODULES);
	char line[3000];
	for (size_t len = 2046; len <= 2049; len++) {
		memset(line, 'a', len);
		memcpy(line + len, "\nb\n", 4);
		special(".gitattributes", line, BOLE_FSCK_ATTRIBUTES);
		line[len] = 0;
		line[0] = (char)('b' + len % 7);
		special(".gitattributes", line, BOLE_FSCK_ATTRIBUTES);
	}
	/* No blob behind the name. */
	tree((const char *const[]){"40000", ".gitmodules", NULL});
	tree((const char *const[]){"40000", ".gitattributes", NULL});
}

/* -- both sides -- */

static void on_finding(void *ctx, const struct bole_oid *oid, enum bole_fsck_id id,
                       enum bole_fsck_severity severity, const char *what)
{
	struct corpus *c = ctx;
	struct sample *s = c->at;

	(void)oid;
	(void)what;
	cr_assert_lt(s->our_count, (size_t)FOUND_MAX);
	snprintf(s->ours[s->our_count++], sizeof s->ours[0], "%s %s",
	         severity == BOLE_FSCK_ERROR ? "error" : "warning", bole_fsck_name(id));
}

static enum bole_status on_special(void *ctx, const struct bole_oid *blob, unsigned kinds)
{
	struct corpus *c = ctx;

	for (size_t i = 0; i < c->count; i++)
		if (bole_oid_equal(&c->samples[i].oid, blob))
			c->samples[i].kinds |= kinds;
	return BOLE_OK;
}

static void run_special(struct bole_fsck *f, struct sample *s)
{
	struct bole_bytes data = bole_bytes_of(s->data.ptr, s->data.len);
	bool blob = s->type == BOLE_OBJECT_BLOB;

	if ((s->kinds & BOLE_FSCK_MODULES) != 0)
		s->refused |= (blob ? bole_fsck_modules(f, &s->oid, data)
		                    : bole_fsck_note(f, &s->oid, BOLE_FSCK_GITMODULES_BLOB, "x")) !=
		              BOLE_OK;
	if ((s->kinds & BOLE_FSCK_ATTRIBUTES) != 0)
		s->refused |= (blob ? bole_fsck_attributes(f, &s->oid, data)
		                    : bole_fsck_note(f, &s->oid, BOLE_FSCK_GITATTRIBUTES_BLOB,
		                                     "x")) != BOLE_OK;
}

static void run_ours(void)
{
	struct bole_fsck_options options;
	struct test_platform test;

	test_platform_init(&test, 1);
	bole_fsck_options_init(&options, BOLE_FSCK_STRICT);
	struct bole_fsck f = {
	        .options = &options,
	        .algo = test_algo(),
	        .alloc = &test.alloc,
	        .finding = on_finding,
	        .special = on_special,
	        .ctx = &corpus,
	};
	for (size_t i = 0; i < corpus.count; i++) {
		struct sample *s = corpus.at = &corpus.samples[i];
		struct bole_bytes data = bole_bytes_of(s->data.ptr, s->data.len);
		enum bole_status rc = bole_fsck_object(&f, &s->oid, s->type, data);

		cr_assert(rc == BOLE_OK || rc == BOLE_E_INVALID);
		s->refused = rc != BOLE_OK;
	}
	for (size_t i = 0; i < corpus.count; i++)
		run_special(&f, corpus.at = &corpus.samples[i]);
}

static void git_line(const char *line)
{
	char severity[16], type[16], hex[80], id[48];
	struct bole_oid oid;

	if (sscanf(line, "%15s in %15s %79[0-9a-f]: %47[A-Za-z0-9]", severity, type, hex, id) !=
	            4 ||
	    strlen(hex) != 2 * bole_hash_bytes(test_algo()) || strcmp(id, "broken") == 0)
		return;
	cr_assert_eq(bole_oid_parse(hex, strlen(hex), test_algo(), &oid), BOLE_OK);
	for (size_t i = 0; i < corpus.count; i++) {
		struct sample *s = &corpus.samples[i];
		if (bole_oid_equal(&s->oid, &oid) && s->git_count < FOUND_MAX)
			snprintf(s->git[s->git_count++], sizeof s->git[0], "%s %s", severity, id);
	}
}

static void run_git(void)
{
	char dir[] = "/tmp/bole-fsck-XXXXXX";
	char command[300];
	char line[8192];

	cr_assert_not_null(mkdtemp(dir));
	snprintf(command, sizeof command, "git init -q --bare %s/r", dir);
	cr_assert_eq(system(command), 0);
	for (size_t i = 0; i < corpus.count; i++) {
		const struct sample *s = &corpus.samples[i];
		snprintf(command, sizeof command,
		         "git -C %s/r hash-object --literally -w --stdin -t %s >/dev/null", dir,
		         bole_object_type_name(s->type));
		FILE *in = popen(command, "w");
		cr_assert_not_null(in);
		if (s->data.len > 0)
			cr_assert_eq(fwrite(s->data.ptr, 1, s->data.len, in), s->data.len);
		cr_assert_eq(pclose(in), 0, "%s", command);
	}
	snprintf(command, sizeof command, "git -C %s/r fsck --strict --no-dangling 2>&1", dir);
	FILE *out = popen(command, "r");
	cr_assert_not_null(out);
	while (fgets(line, sizeof line, out) != NULL)
		git_line(line);
	pclose(out);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

static bool has(char (*list)[72], size_t count, const char *entry)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], entry) == 0)
			return true;
	return false;
}

static void show(const struct sample *s)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	fprintf(stderr, "%s %s:", bole_object_type_name(s->type), bole_oid_format(&s->oid, hex));
	for (size_t i = 0; i < s->data.len && i < 160; i++) {
		uint8_t c = s->data.ptr[i];
		fprintf(stderr, c >= 32 && c < 127 ? "%c" : "\\x%02x", c);
	}
	fprintf(stderr, "\n  ours:");
	for (size_t i = 0; i < s->our_count; i++)
		fprintf(stderr, " %s;", s->ours[i]);
	fprintf(stderr, "\n  git:");
	for (size_t i = 0; i < s->git_count; i++)
		fprintf(stderr, " %s;", s->git[i]);
	fprintf(stderr, "\n");
}

static bool agree(struct sample *s)
{
	if (s->newer)
		return s->refused;
	/* Git could not read it, and says so without an id. */
	if (s->git_count == 0 && s->our_count > 0 && s->refused && s->type != BOLE_OBJECT_BLOB &&
	    (s->type != BOLE_OBJECT_TREE || has(s->ours, s->our_count, "error badTree")))
		return true;
	for (size_t i = 0; i < s->our_count; i++)
		if (!has(s->git, s->git_count, s->ours[i]))
			return false;
	for (size_t i = 0; i < s->git_count; i++)
		if (!has(s->ours, s->our_count, s->git[i]))
			return false;
	return true;
}

Test(fsck, finds_what_stock_git_finds)
{
	unsigned differences = 0;

	text(BOLE_OBJECT_TREE, "");
	text(BOLE_OBJECT_BLOB, "");
	commits();
	tags();
	tree_names();
	tree_links();
	tree_orders();
	modules();
	run_ours();
	run_git();
	for (size_t i = 0; i < corpus.count; i++) {
		if (agree(&corpus.samples[i]))
			continue;
		differences++;
		show(&corpus.samples[i]);
	}
	cr_assert_eq(differences, 0u, "%u of %zu objects differ", differences, corpus.count);
	for (size_t i = 0; i < corpus.count; i++)
		maker_release(&corpus.samples[i].data);
}
