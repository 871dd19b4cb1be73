/* SPDX-License-Identifier: ISC */
/* Goal: what a server says before its pack beyond acknowledgments and ends of history is taken as
 * it is meant, or refused by name with nothing left behind. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "support/client_script.h"

/* Up to and without the name of the section before the pack; words: of fetch's capability. */
static void begin(const struct offer *o, const char *words, struct maker_bytes *out)
{
	out->len = 0;
	say(out, "version 2\n");
	say(out, "fetch=shallow %s\n", words);
	say(out, "object-format=%s\n", bole_hash_name(o->commit.algo));
	say_flush(out);
	say(out, "%s HEAD symref-target:refs/heads/main\n", hex(&o->commit));
	say(out, "%s refs/heads/main\n", hex(&o->commit));
	say_flush(out);
}

static void finish(const struct offer *o, struct maker_bytes *out)
{
	say(out, "packfile\n");
	say_band(out, 1, o->pack.ptr, o->pack.len);
	say_flush(out);
}

static void play(struct script *c, const struct maker_bytes *answer)
{
	c->answers[0] = answer;
	c->answer_count = 1;
	script_rewind(c);
}

static enum bole_status cloned(struct script *c, const struct maker_bytes *answer)
{
	play(c, answer);
	return script_clone(c, "git://host/x");
}

/* The list says another id than the pack brings: only the section makes it right. */
Test(client_sections, a_reference_that_moved_is_what_the_server_says_last)
{
	for (uint8_t algo = BOLE_HASH_SHA1; algo <= BOLE_HASH_SHA256; algo++) {
		struct maker_bytes answer = {NULL, 0, 0};
		struct bole_oid listed;
		struct script c;
		struct offer o;

		script_open(&c, algo);
		offer_open(&o, algo);
		struct offer old = o;
		memset(old.commit.bytes, 0x11, 20);
		listed = old.commit;
		begin(&old, "ref-in-want", &answer);
		say(&answer, "wanted-refs\n");
		say(&answer, "%s refs/heads/main\n", hex(&o.commit));
		say_delim(&answer);
		finish(&o, &answer);
		cr_assert_eq(cloned(&c, &answer), BOLE_OK, "%s", c.error);
		cr_assert(script_has(&c, &o.commit));
		maker_append(&c.asked, "", 1);
		cr_assert(memmem(c.asked.ptr, c.asked.len, "want-ref refs/heads/main\n", 25));
		cr_assert(!memmem(c.asked.ptr, c.asked.len, hex(&listed), 40));
		/* Cut anywhere nothing is left; a changed byte brings in nothing wrong. */
		for (c.cut = 0; c.cut < answer.len; c.cut++) {
			cr_assert(cloned(&c, &answer) < 0, "cut at %zu", c.cut);
			cr_assert(script_clean(&c), "cut at %zu leaves something", c.cut);
		}
		c.cut = SIZE_MAX;
		c.flip_by = 0x21;
		for (c.flip = 0; c.flip < answer.len; c.flip++)
			cr_assert(cloned(&c, &answer) == BOLE_OK || script_clean(&c), "byte %zu",
			          c.flip);
		maker_release(&answer);
		offer_close(&o);
		script_close(&c);
	}
}

Test(client_sections, wrong_words_about_wanted_references_are_refused)
{
	static const struct {
		const char *lines[4]; /* "$": the id; "0000", "0001": themselves */
		const char *words;
	} cases[] = {
	        {{"0001"}, "does not say what refs/heads/main is"},
	        {{"$ refs/heads/other", "0001"}, "was not asked"},
	        {{"$ HEAD", "0001"}, "was not asked"},
	        {{"$ refs/heads/main", "$ refs/heads/main", "0001"}, "was not asked"},
	        {{"12 refs/heads/main", "0001"}, "was not asked"},
	        {{"0000000000000000000000000000000000000000 refs/heads/main", "0001"},
	         "was not asked"},
	        {{"$", "0001"}, "was not asked"},
	        {{"$ ", "0001"}, "was not asked"},
	        {{"$ refs/heads/main", "0000"}, "out of place"},
	        {{"$ refs/heads/main", "packfile"}, "was not asked"},
	        {{"ERR gone"}, "the server says: gone"},
	};
	struct script c;
	struct offer o;

	script_open(&c, BOLE_HASH_SHA1);
	offer_open(&o, BOLE_HASH_SHA1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct maker_bytes answer = {NULL, 0, 0};

		begin(&o, "ref-in-want", &answer);
		say(&answer, "wanted-refs\n");
		for (size_t n = 0; n < 4 && cases[i].lines[n] != NULL; n++) {
			const char *line = cases[i].lines[n];

			if (strncmp(line, "000", 3) == 0 && strlen(line) == 4)
				maker_text(&answer, "%s", line);
			else if (line[0] == '$')
				say(&answer, "%s%s", hex(&o.commit), line + 1);
			else
				say(&answer, "%s", line);
		}
		finish(&o, &answer);
		cr_assert(cloned(&c, &answer) < 0, "case %zu is taken", i);
		cr_assert(strstr(c.error, cases[i].words), "case %zu says: %s", i, c.error);
		cr_assert(script_clean(&c));
		maker_release(&answer);
	}
	/* Not a word although it was asked for by name; the section although it was not. */
	struct maker_bytes answer = {NULL, 0, 0};
	begin(&o, "ref-in-want", &answer);
	finish(&o, &answer);
	cr_assert(cloned(&c, &answer) < 0 && strstr(c.error, "does not say"), "%s", c.error);
	begin(&o, "", &answer);
	say(&answer, "wanted-refs\n");
	say(&answer, "%s refs/heads/main\n", hex(&o.commit));
	cr_assert(cloned(&c, &answer) < 0 && strstr(c.error, "was not asked"), "%s", c.error);
	maker_release(&answer);
	offer_close(&o);
	script_close(&c);
}
