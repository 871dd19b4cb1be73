/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/config.h"
#include "tests/support/platform.h"

struct fixture {
	struct test_platform platform;
	struct bole_config *config;
};

static void open_config(struct fixture *f)
{
	test_platform_init(&f->platform, 1);
	cr_assert_eq(bole_config_open(f->platform.base.alloc, &f->config), BOLE_OK);
}

static void close_config(struct fixture *f)
{
	bole_config_close(f->config);
	test_platform_release(&f->platform);
}

struct row {
	const char *text;
	const char *key;
	const char *value; /* NULL: no such key */
};

Test(config, values_are_read_as_git_reads_them)
{
	static const struct row rows[] = {
	        {"[a]\nb=c\n", "a.b", "c"},
	        {"[a]\nb = c", "a.b", "c"},
	        {"[A]\nB = C\n", "a.b", "C"},
	        {"[a]\nb = c\n", "A.B", "c"},
	        {"[a] b = c\n", "a.b", "c"},
	        {"\xef\xbb\xbf[a]\nb=c", "a.b", "c"},
	        {"[a]\r\nb = c\r\n", "a.b", "c"},
	        {"[a]\nb\n", "a.b", "true"},
	        {"[a]\nb = c \\\n\n", "a.b", "c "},
	        {"[a]\nb = c\\", "a.b", "c"},
	        {"[a]\nb =\n", "a.b", ""},
	        {"[a]\nb =   \t\n", "a.b", ""},
	        {"[a]\nb = c d\t e  \n", "a.b", "c d\t e"},
	        {"[a]\nb = c ; d\n", "a.b", "c"},
	        {"[a]\nb = c# d\n", "a.b", "c"},
	        {"[a]\nb = \"c ; d\"\n", "a.b", "c ; d"},
	        {"[a]\nb = \" c \"  \n", "a.b", " c "},
	        {"[a]\nb = x\" y \"z\n", "a.b", "x y z"},
	        {"[a]\nb = x  \"\"  \n", "a.b", "x  "},
	        {"[a]\nb = \\\"\\\\\\t\\n\\b\n", "a.b", "\"\\\t\n\b"},
	        {"[a]\nb = c\\\n  d\n", "a.b", "c  d"},
	        {"[a]\nb = \"c\\\nd\"\n", "a.b", "cd"},
	        {"[a]\nb = c\\\r\nd\r\n", "a.b", "cd"},
	        {"[a \"S ub\"]\nb = c\n", "a.S ub.b", "c"},
	        {"[a \"S ub\"]\nb = c\n", "a.s ub.b", NULL},
	        {"[a \"q\\\"\\\\\\x\"]\nb = c\n", "a.q\"\\x.b", "c"},
	        {"[a \"x.y.z\"]\nb = c\n", "a.x.y.z.b", "c"},
	        {"[a \"\"]\nb = c\n", "a..b", "c"},
	        {"[a.Sub]\nb = c\n", "a.sub.b", "c"},
	        {"[a]\nb = 1\nb = 2\n", "a.b", "2"},
	        {"[a]\nb=1\n[c]\nd=2\n[a]\nb=3\n", "a.b", "3"},
	        {"# only\n; comments\n\n", "a.b", NULL},
	        {"", "a.b", NULL},
	        {"[repo \"x/y.receive\"]\nenable\n", "repo.x/y.receive.enable", "true"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fixture f;
		unsigned line = 0;

		open_config(&f);
		cr_assert_eq(bole_config_parse(f.config, bole_bytes_z(rows[i].text), &line),
		             BOLE_OK, "row %zu, line %u", i, line);
		const char *value = bole_config_get(f.config, rows[i].key);
		cr_assert_eq(value == NULL, rows[i].value == NULL, "row %zu", i);
		if (value != NULL)
			cr_assert_str_eq(value, rows[i].value, "row %zu", i);
		close_config(&f);
	}
}

Test(config, a_bad_line_is_named_and_nothing_is_added)
{
	static const struct {
		const char *text;
		unsigned line;
	} rows[] = {
	        {"b = c\n", 1},
	        {"[a]\nb = c\n[x\n", 3},
	        {"[]\n", 1},
	        {"[a]\nb c\n", 2},
	        {"[a]\n1b = c\n", 2},
	        {"[a]\nb_ = c\n", 2},
	        {"[a]\nb = \"c\n", 2},
	        {"[a]\nb = \\x\n", 2},
	        {"[a \"b]\n", 1},
	        {"[a\"b\"]\n", 1},
	        {"[a \"b\" ]\n", 1},
	        {"[a]\nb = c\n=d\n", 3},
	        {"[a]\nb = \"c\nd\"", 2},
	        {"[a b]\n", 1},
	        {"[.a]\n", 1},
	        {"[a]\nb # c\n", 2},
	        {"[a \"b\n\"]\nc = d", 1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fixture f;
		unsigned line = 0;

		open_config(&f);
		cr_assert_eq(bole_config_parse(f.config, bole_bytes_z(rows[i].text), &line),
		             BOLE_E_INVALID, "row %zu", i);
		cr_assert_eq(line, rows[i].line, "row %zu: line %u", i, line);
		cr_assert_null(bole_config_get(f.config, "a.b"));
		close_config(&f);
	}
}

Test(config, a_nul_byte_and_endless_values_are_refused)
{
	struct fixture f;
	unsigned line = 0;
	static char big[1 << 17] = "[a]\nb = ";

	open_config(&f);
	cr_assert_eq(bole_config_parse(f.config, bole_bytes_of("[a]\nb=c\0\n", 9), &line),
	             BOLE_E_INVALID);
	memset(big + 8, 'x', sizeof big - 8);
	cr_assert_eq(bole_config_parse(f.config, bole_bytes_of(big, sizeof big), &line),
	             BOLE_E_LIMIT);
	cr_assert_null(bole_config_get(f.config, "a.b"));
	close_config(&f);
}

Test(config, words_and_command_lines_assign)
{
	struct fixture f;

	open_config(&f);
	cr_assert_eq(bole_config_set(f.config, "Http.Listen=:80=x"), BOLE_OK);
	cr_assert_str_eq(bole_config_get(f.config, "http.listen"), ":80=x");
	cr_assert_eq(bole_config_set(f.config, "repo.Big/One.receive.Enable"), BOLE_OK);
	cr_assert_str_eq(bole_config_get(f.config, "repo.Big/One.receive.enable"), "true");
	cr_assert_null(bole_config_get(f.config, "repo.big/one.receive.enable"));
	static const char *const bad[] = {"", "a", "a.", ".a", "a.1", "a b.c=d", "=x", "a=b.c"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(bole_config_set(f.config, bad[i]), BOLE_E_INVALID, "%s", bad[i]);
	cr_assert_eq(bole_config_command_line(
	                     f.config, "console=ttyS0  quiet virtio_mmio.device=512@0xfeb00e00:5 "
	                               "net.address=10.0.2.15/24 \"x.y=a b\" x.z=\"c d\"\n"),
	             BOLE_OK);
	cr_assert_str_eq(bole_config_get(f.config, "net.address"), "10.0.2.15/24");
	cr_assert_str_eq(bole_config_get(f.config, "x.y"), "a b");
	cr_assert_str_eq(bole_config_get(f.config, "x.z"), "c d");
	cr_assert_eq(bole_config_command_line(f.config, "q.a=1 \"x.y=never ends"), BOLE_E_INVALID);
	cr_assert_null(bole_config_get(f.config, "q.a"));
	close_config(&f);
}

Test(config, every_value_of_a_key_keeps_its_order)
{
	struct fixture f;
	unsigned line = 0;

	open_config(&f);
	cr_assert_eq(bole_config_parse(f.config, bole_bytes_z("[a]\nb=1\nc=x\nb=2\n"), &line),
	             BOLE_OK);
	cr_assert_eq(bole_config_set(f.config, "a.b=3"), BOLE_OK);
	size_t at = 0;
	cr_assert_str_eq(bole_config_next_value(f.config, "a.b", &at), "1");
	cr_assert_str_eq(bole_config_next_value(f.config, "A.b", &at), "2");
	cr_assert_str_eq(bole_config_next_value(f.config, "a.b", &at), "3");
	cr_assert_null(bole_config_next_value(f.config, "a.b", &at));
	cr_assert_null(bole_config_next_value(f.config, "a.b", &at));
	close_config(&f);
}

/* A false answer is what lookups are spared by: it must never be wrong. */
Test(config, sections_that_have_keys_are_known)
{
	struct fixture f;
	unsigned line = 0;

	open_config(&f);
	cr_assert_not(bole_config_section(f.config, "repo"));
	cr_assert_not(bole_config_section(NULL, "repo"));
	cr_assert_eq(bole_config_set(f.config, "node.loops=1"), BOLE_OK);
	cr_assert(bole_config_section(f.config, "node"));
	cr_assert_not(bole_config_section(f.config, "repo"));
	cr_assert_eq(bole_config_parse(f.config,
	                               bole_bytes_z("[Repo \"a.b\"]\nx.y = 1\n[Http]\nx\n"), &line),
	             BOLE_E_INVALID);
	cr_assert_eq(bole_config_parse(f.config, bole_bytes_z("[Repo \"a.b\"]\nx = 1\n[Http]\nx\n"),
	                               &line),
	             BOLE_OK);
	cr_assert(bole_config_section(f.config, "repo"));
	cr_assert(bole_config_section(f.config, "http"));
	cr_assert_eq(bole_config_set(f.config, "RECEIVE.enable=true"), BOLE_OK);
	cr_assert(bole_config_section(f.config, "receive"));
	close_config(&f);
}

Test(config, booleans_and_numbers_are_gits)
{
	static const struct {
		const char *text;
		enum bole_status rc;
		bool value;
	} bools[] = {
	        {"a.b=true", BOLE_OK, true},
	        {"a.b=YES", BOLE_OK, true},
	        {"a.b=on", BOLE_OK, true},
	        {"a.b=1", BOLE_OK, true},
	        {"a.b", BOLE_OK, true},
	        {"a.b=", BOLE_OK, false},
	        {"a.b=no", BOLE_OK, false},
	        {"a.b=Off", BOLE_OK, false},
	        {"a.b=0", BOLE_OK, false},
	        {"a.b=maybe", BOLE_E_INVALID, true},
	        {"a.b=tru", BOLE_E_INVALID, true},
	};
	static const struct {
		const char *text;
		enum bole_status rc;
		uint64_t value;
	} numbers[] = {
	        {"a.b=0", BOLE_OK, 0},
	        {"a.b=12", BOLE_OK, 12},
	        {"a.b=2k", BOLE_OK, 2048},
	        {"a.b=3M", BOLE_OK, 3 << 20},
	        {"a.b=4g", BOLE_OK, (uint64_t)4 << 30},
	        {"a.b=18446744073709551615", BOLE_OK, UINT64_MAX},
	        {"a.b=18446744073709551616", BOLE_E_INVALID, 7},
	        {"a.b=18014398509481984k", BOLE_E_INVALID, 7},
	        {"a.b=-1", BOLE_E_INVALID, 7},
	        {"a.b=1kb", BOLE_E_INVALID, 7},
	        {"a.b=", BOLE_E_INVALID, 7},
	        {"a.b=0x10", BOLE_E_INVALID, 7},
	};
	struct fixture f;

	open_config(&f);
	for (size_t i = 0; i < sizeof bools / sizeof bools[0]; i++) {
		bool value = false;
		cr_assert_eq(bole_config_set(f.config, bools[i].text), BOLE_OK);
		cr_assert_eq(bole_config_bool(f.config, "a.b", true, &value), bools[i].rc);
		cr_assert_eq(value, bools[i].value, "%s", bools[i].text);
	}
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		uint64_t value = 0;
		cr_assert_eq(bole_config_set(f.config, numbers[i].text), BOLE_OK);
		cr_assert_eq(bole_config_u64(f.config, "a.b", 7, &value), numbers[i].rc);
		cr_assert_eq(value, numbers[i].value, "%s", numbers[i].text);
	}
	close_config(&f);
}

Test(config, every_failing_allocation_leaves_the_config_as_it_was)
{
	static const char text[] = "[a]\nb = c\n[d \"e\"]\nf = g\nh\n";

	for (uint64_t fail = 1;; fail++) {
		struct fixture f;
		unsigned line = 0;

		open_config(&f);
		cr_assert_eq(bole_config_set(f.config, "x.y=z"), BOLE_OK);
		f.platform.fail_at = f.platform.grows + fail;
		enum bole_status rc = bole_config_parse(f.config, bole_bytes_z(text), &line);
		f.platform.fail_at = 0;
		cr_assert_str_eq(bole_config_get(f.config, "x.y"), "z");
		if (rc != BOLE_OK) {
			cr_assert_eq(rc, BOLE_E_NO_MEMORY);
			cr_assert_null(bole_config_get(f.config, "a.b"));
		}
		close_config(&f);
		if (rc == BOLE_OK)
			break;
	}
}
