/* SPDX-License-Identifier: ISC */
/* Goal: a push believes no more than the server's report says. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "support/client_script.h"

#define CAPS "report-status delete-refs side-band-64k atomic ofs-delta"

/* The repository "r" with one commit; then what a receiving server says. */
struct scene {
	struct script c;
	struct offer o;
	struct maker_bytes clone;
	struct maker_bytes server;
};

static void scene_open(struct scene *s)
{
	memset(s, 0, sizeof *s);
	script_open(&s->c, test_algo());
	offer_open(&s->o, test_algo());
	offer_v2(&s->o, &s->clone);
	s->c.answers[0] = &s->clone;
	s->c.answer_count = 1;
	cr_assert_eq(script_clone(&s->c, "git://host/x"), BOLE_OK, "%s", s->c.error);
	s->c.answers[0] = &s->server;
}

static void scene_close(struct scene *s)
{
	maker_release(&s->clone);
	maker_release(&s->server);
	offer_close(&s->o);
	script_close(&s->c);
}

static enum bole_status push(struct scene *s, const char *spec)
{
	s->c.connections = s->c.told = s->c.changes = s->c.refused = 0;
	s->c.asked.len = 0;
	return script_push(&s->c, "git://host/x", &spec, 1);
}

static void advertise(struct scene *s, const char *caps)
{
	char line[300];
	const char *format =
	        strstr(caps, "object-format=") != NULL ? "" : bole_hash_name(test_algo());
	int len = snprintf(line, sizeof line, "%0*d capabilities^{}%c%s%s%s\n",
	                   (int)(2 * bole_hash_bytes(test_algo())), 0, 0, caps,
	                   format[0] == '\0' ? "" : " object-format=", format);

	s->server.len = 0;
	say_bytes(&s->server, line, (size_t)len);
	say_flush(&s->server);
}

static void report(struct scene *s, const char *const *lines)
{
	struct maker_bytes text = {NULL, 0, 0};

	for (size_t i = 0; lines[i] != NULL; i++) {
		if (strcmp(lines[i], "0000") == 0)
			say_flush(&text);
		else
			say(&text, "%s\n", lines[i]);
	}
	say_band(&s->server, 1, text.ptr, text.len);
	say_flush(&s->server);
	maker_release(&text);
}

Test(client_push, a_report_is_believed_word_by_word)
{
	static const struct {
		const char *lines[6];
		enum bole_status rc;
		size_t refused;
		const char *words;
	} cases[] = {
	        {{"unpack ok", "ok refs/heads/main", "0000"}, BOLE_OK, 0, ""},
	        {{"unpack ok", "ng refs/heads/main no\033way", "0000"}, BOLE_OK, 1, "no?way"},
	        {{"unpack ok", "ng refs/heads/main", "0000"}, BOLE_OK, 1, "no reason"},
	        {{"unpack ok", "0000"}, BOLE_OK, 1, "does not say"},
	        {{"unpack ok", "ok refs/heads/other", "0000"}, BOLE_OK, 1, "does not say"},
	        {{"unpack ok", "ok refs/heads/main", "ng refs/heads/main x", "0000"},
	         BOLE_OK,
	         0,
	         ""},
	        {{"unpack ok", "ok refs/heads/main", "option refname refs/x", "0000"},
	         BOLE_OK,
	         0,
	         ""},
	        {{"unpack disk is full", "ng refs/heads/main unpacker error", "0000"},
	         BOLE_E_DENIED,
	         1,
	         "disk is full"},
	        {{"unpack disk is full", "0000"}, BOLE_E_DENIED, 1, "disk is full"},
	        {{"ok refs/heads/main", "0000"}, BOLE_E_INVALID, 0, "begin with 'unpack'"},
	        {{"unpack ok", "maybe refs/heads/main", "0000"}, BOLE_E_INVALID, 0, "malformed"},
	        {{"unpack ok", "ok refs/heads/main"}, BOLE_E_CLOSED, 0, "cut short"},
	        {{"0000"}, BOLE_E_INVALID, 0, "begin with 'unpack'"},
	};
	struct scene s;

	scene_open(&s);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		advertise(&s, CAPS);
		report(&s, cases[i].lines);
		enum bole_status rc = push(&s, "main");
		cr_assert_eq(rc, cases[i].rc, "case %zu: %d %s", i, rc, s.c.error);
		cr_assert_eq(s.c.refused, cases[i].refused, "case %zu", i);
		cr_assert(strstr(rc == BOLE_OK ? s.c.reason : s.c.error, cases[i].words) != NULL ||
		                  cases[i].words[0] == '\0',
		          "case %zu: %s, %s", i, s.c.error, s.c.reason);
	}
	scene_close(&s);
}

Test(client_push, a_push_that_is_cut_at_any_byte_is_not_taken_for_done)
{
	static const char *const lines[] = {"unpack ok", "ok refs/heads/main", "0000", NULL};
	struct scene s;

	scene_open(&s);
	advertise(&s, CAPS);
	report(&s, lines);
	/* The last flush closes the side-band; whatever comes after the report changes nothing. */
	for (s.c.cut = 0; s.c.cut + 4 < s.server.len; s.c.cut++) {
		enum bole_status rc = push(&s, "main");
		cr_assert(rc < 0, "cut at %zu of %zu", s.c.cut, s.server.len);
	}
	s.c.cut = SIZE_MAX;
	cr_assert_eq(push(&s, "main"), BOLE_OK, "%s", s.c.error);
	scene_close(&s);
}

Test(client_push, nothing_is_sent_that_was_not_asked_for)
{
	struct scene s;

	scene_open(&s);
	advertise(&s, "report-status");
	cr_assert_eq(push(&s, "nix"), BOLE_E_NOT_FOUND);
	cr_assert_eq(push(&s, ":refs/heads/nix"), BOLE_OK);
	cr_assert_eq(s.c.refused, 1);
	cr_assert_eq(push(&s, "main:refs/heads/a..b"), BOLE_E_INVALID);
	advertise(&s, test_algo() == BOLE_HASH_SHA1 ? "report-status object-format=sha256"
	                                            : "report-status object-format=sha1");
	cr_assert_neq(push(&s, "main"), BOLE_OK);
	cr_assert(memmem(s.c.asked.ptr, s.c.asked.len, "PACK", 4) == NULL);
	scene_close(&s);
}
