/* SPDX-License-Identifier: ISC */
/* Goal: no server, however wrong, gets more than a refusal that says why, and leaves nothing
 * behind.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "support/client_script.h"

static void some(struct script *c, const struct maker_bytes *answers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		c->answers[i] = &answers[i];
	c->answer_count = count;
	script_rewind(c);
}

static void one(struct script *c, const struct maker_bytes *answer)
{
	some(c, answer, 1);
}

enum { HTTP_ANSWERS = 3 };

/* HTTP answers for each request of a clone, from the pieces of a git:// one. */
static void http_answers(const struct offer *o, struct maker_bytes out[HTTP_ANSWERS])
{
	struct maker_bytes list = {NULL, 0, 0};
	struct maker_bytes pack = {NULL, 0, 0};

	offer_list(o, &list);
	say(&pack, "packfile\n");
	say_band(&pack, 1, o->pack.ptr, o->pack.len);
	say_flush(&pack);
	const uint8_t *flush = (const uint8_t *)strstr((const char *)list.ptr, "0000");
	size_t first = (size_t)(flush - list.ptr) + 4;
	maker_text(&out[0],
	           "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement"
	           "\r\nContent-Length: %zu\r\n\r\n",
	           first);
	maker_append(&out[0], list.ptr, first);
	maker_text(&out[1], "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: "
	                    "application/x-git-upload-pack-result; x=y\r\nTransfer-Encoding: "
	                    "chunked\r\n\r\n");
	for (size_t at = first; at < list.len; at += 7)
		maker_text(&out[1], "%zx;ext\r\n%.*s\r\n", list.len - at < 7 ? list.len - at : 7, 7,
		           list.ptr + at);
	maker_text(&out[1], "0\r\nTrailer: x\r\n\r\n");
	maker_text(&out[2],
	           "HTTP/1.1 200 OK\r\nContent-Type: "
	           "application/x-git-upload-pack-result\r\nContent-Length: %zu\r\n\r\n",
	           pack.len);
	maker_append(&out[2], pack.ptr, pack.len);
	maker_release(&list);
	maker_release(&pack);
}

static void cut_everywhere(struct script *c, const struct offer *o, const char *url,
                           const struct maker_bytes *answers, size_t count)
{
	size_t len = 0;

	some(c, answers, count);
	for (size_t i = 0; i < count; i++)
		len += answers[i].len;
	for (c->cut = 0; c->cut < len; c->cut++) {
		script_rewind(c);
		enum bole_status rc = script_clone(c, url);
		cr_assert(rc < 0, "cut at %zu of %zu: %d", c->cut, len, rc);
		cr_assert(script_clean(c), "cut at %zu leaves something", c->cut);
	}
	for (c->step = 0; c->step < 9; c->step++) {
		script_rewind(c);
		enum bole_status rc = script_clone(c, url);
		cr_assert_eq(rc, BOLE_OK, "%s: %s", url, c->error);
		cr_assert(script_has(c, &o->commit));
	}
	c->step = 0;
	c->cut = SIZE_MAX;
}

Test(client_hostile, a_clone_that_is_cut_at_any_byte_leaves_nothing)
{
	for (uint8_t algo = BOLE_HASH_SHA1; algo <= BOLE_HASH_SHA256; algo++) {
		struct maker_bytes answers[2 + HTTP_ANSWERS] = {{NULL, 0, 0}};
		struct script c;
		struct offer o;

		script_open(&c, algo);
		offer_open(&o, algo);
		offer_v2(&o, &answers[0]);
		offer_v0(&o, &answers[1]);
		http_answers(&o, &answers[2]);
		cut_everywhere(&c, &o, "git://host/x", &answers[0], 1);
		cut_everywhere(&c, &o, "git://host/x", &answers[1], 1);
		cut_everywhere(&c, &o, "http://host/x", &answers[2], HTTP_ANSWERS);
		for (size_t i = 0; i < 2 + HTTP_ANSWERS; i++)
			maker_release(&answers[i]);
		offer_close(&o);
		script_close(&c);
	}
}

/* A changed byte may matter or not; whatever is taken in is what its id says. */
Test(client_hostile, a_changed_byte_never_brings_in_something_wrong)
{
	struct maker_bytes answers[1 + HTTP_ANSWERS] = {{NULL, 0, 0}};
	static const uint8_t by[] = {0x01, 0x20, 0x80, 0xff};
	struct script c;
	struct offer o;

	script_open(&c, test_algo());
	offer_open(&o, test_algo());
	offer_v2(&o, &answers[0]);
	http_answers(&o, &answers[1]);
	for (size_t n = 0; n < 2 * sizeof by; n++) {
		bool http = n % 2 == 1;
		size_t len = answers[0].len;

		if (http)
			len = answers[1].len + answers[2].len + answers[3].len;
		for (c.flip = 0; c.flip < len; c.flip++) {
			c.flip_by = by[n / 2];
			some(&c, http ? &answers[1] : answers, http ? HTTP_ANSWERS : 1);
			enum bole_status rc =
			        script_clone(&c, http ? "http://host/x" : "git://host/x");
			cr_assert(rc == BOLE_OK || script_clean(&c), "byte %zu", c.flip);
		}
	}
	for (size_t i = 0; i < 1 + HTTP_ANSWERS; i++)
		maker_release(&answers[i]);
	offer_close(&o);
	script_close(&c);
}

Test(client_hostile, a_clone_without_memory_leaves_nothing)
{
	struct maker_bytes answers[HTTP_ANSWERS] = {{NULL, 0, 0}};
	enum bole_status rc = BOLE_E_NO_MEMORY;
	struct script c;
	struct offer o;

	script_open(&c, test_algo());
	offer_open(&o, test_algo());
	http_answers(&o, answers);
	for (uint64_t n = 1; rc != BOLE_OK; n++) {
		some(&c, answers, HTTP_ANSWERS);
		c.test.grows = 0;
		c.test.fail_at = n;
		rc = script_clone(&c, "http://host/x");
		c.test.fail_at = 0;
		cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY, "%d: %s", rc, c.error);
		cr_assert(rc == BOLE_OK || script_clean(&c), "allocation %d", (int)n);
		cr_assert(n < 2000);
	}
	for (size_t i = 0; i < HTTP_ANSWERS; i++)
		maker_release(&answers[i]);
	offer_close(&o);
	script_close(&c);
}

/* -- Version 2, word by word -- */

/* Lines of the answer: "$" is the commit's id, "0000" and "0001" stand for themselves, a packet
 * otherwise; "!" in front: raw bytes. */
static void speak(const struct offer *o, struct maker_bytes *out, const char *const *lines)
{
	for (size_t i = 0; lines[i] != NULL; i++) {
		char text[600];
		size_t at = 0;

		if (strcmp(lines[i], "0000") == 0 || strcmp(lines[i], "0001") == 0 ||
		    strcmp(lines[i], "0002") == 0) {
			maker_text(out, "%s", lines[i]);
			continue;
		}
		for (const char *p = lines[i]; *p != '\0'; p++) {
			if (*p == '$')
				at += (size_t)snprintf(text + at, sizeof text - at, "%s",
				                       hex(&o->commit));
			else
				text[at++] = *p;
		}
		if (text[0] == '!')
			maker_append(out, text + 1, at - 1);
		else
			say_bytes(out, text, at);
	}
}

#define GOOD "version 2", "ls-refs", "fetch", "0000"
#define REFS "$ HEAD symref-target:refs/heads/main", "$ refs/heads/main", "0000"

Test(client_hostile, wrong_words_are_refused_by_name)
{
	static const struct {
		const char *lines[12];
		const char *words;
	} cases[] = {
	        {{"!zzzz"}, "not four hex digits"},
	        {{"!0003"}, "out of range"},
	        {{"!fff5"}, "out of range"},
	        {{"!00"}, "within a packet length"},
	        {{"!0010abc"}, "ends within a packet"},
	        {{"ERR go\033[2J away"}, "the server says: go?[2J away"},
	        {{"hello"}, "malformed: 'hello'"},
	        {{"0001"}, "out of place"},
	        {{"0002"}, "out of place"},
	        {{"version 2", "0001"}, "out of place"},
	        {{"version 2", "object-format=md5", "0000"}, "object format md5 is not known"},
	        {{"version 1", "version 2"}, "malformed"},
	        {{"# service=git-upload-pack", "0000"}, "malformed"},
	        {{GOOD, "$", "0000"}, "malformed"},
	        {{GOOD, "12 refs/heads/main", "0000"}, "malformed"},
	        {{GOOD, "0000000000000000000000000000000000000000 refs/heads/main", "0000"},
	         "malformed"},
	        {{GOOD, "$ refs/tags/x peeled:12", "0000"}, "malformed"},
	        {{GOOD, "$ refs/heads/a", "$ refs/heads/a", "0000"}, "lists refs/heads/a twice"},
	        {{GOOD, "$ refs/heads/main", "0001"}, "out of place"},
	        {{GOOD, REFS, "0000"}, "out of place"},
	        {{GOOD, REFS, "packfiles"}, "'packfiles', out of place"},
	        {{GOOD, REFS, "shallow-info", "shallow $", "0000"}, "out of place"},
	        {{GOOD, REFS, "shallow-info", "shallow 12", "0001"}, "and 'shallow 12'"},
	        {{GOOD, REFS, "shallow-info", "hello $", "0001"}, "where history ends"},
	        {{GOOD, REFS, "shallow-info", "unshallow $", "0001"}, "no end of history here"},
	        {{GOOD, REFS, "shallow-info", "shallow $", "0001", "0000"}, "out of place"},
	        {{GOOD, REFS, "acknowledgments", "ACK $", "0000"}, "what was not named"},
	        {{GOOD, REFS, "acknowledgments", "NAK", "0000"}, "no pack although"},
	        {{GOOD, REFS, "acknowledgments", "ready", "0000"}, "out of place"},
	        {{GOOD, REFS, "packfile", "\002hi", "\003sorry\n"}, "gave up: sorry"},
	        {{GOOD, REFS, "packfile", "\007hi"}, "band 7"},
	        {{GOOD, REFS, "packfile", "0001"}, "out of place"},
	        {{GOOD, REFS, "packfile", "!0004"}, "out of place"},
	        {{GOOD, REFS, "packfile", "0000"}, "the server's pack"},
	        {{GOOD, REFS, "packfile", "\001PACK", "0000"}, "the server's pack"},
	        {{GOOD, REFS, "packfile", "ERR out of order"}, "says: out of order"},
	};
	struct script c;
	struct offer o;

	/* Texts of SHA-1 through and through. */
	script_open(&c, BOLE_HASH_SHA1);
	offer_open(&o, BOLE_HASH_SHA1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct maker_bytes answer = {NULL, 0, 0};

		speak(&o, &answer, cases[i].lines);
		one(&c, &answer);
		enum bole_status rc = script_clone(&c, "git://host/x");
		cr_assert(rc < 0, "case %zu is taken", i);
		cr_assert(strstr(c.error, cases[i].words) != NULL, "case %zu says: %s", i, c.error);
		cr_assert(script_clean(&c));
		maker_release(&answer);
	}
	offer_close(&o);
	script_close(&c);
}

Test(client_hostile, names_that_no_repository_may_hold_are_passed_over)
{
	static const char *const names[] = {
	        "refs/heads/../x", "refs/heads/a.lock",    "refs//x", "refs/heads/@{1}",
	        "../config",       "refs/heads/\x01",      "main",    "refs/heads/.x",
	        "refs/heads/x.",   "refs/heads/-x/../../y"};
	struct maker_bytes answer = {NULL, 0, 0};
	struct script c;
	struct offer o;

	script_open(&c, test_algo());
	offer_open(&o, test_algo());
	say(&answer, "version 2\n");
	say(&answer, "fetch\n");
	say(&answer, "object-format=%s\n", bole_hash_name(test_algo()));
	say_flush(&answer);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		say(&answer, "%s %s\n", hex(&o.commit), names[i]);
	say(&answer, "%s refs/heads/main\n", hex(&o.commit));
	say_flush(&answer);
	say(&answer, "packfile\n");
	say_band(&answer, 1, o.pack.ptr, o.pack.len);
	say_flush(&answer);
	one(&c, &answer);
	cr_assert_eq(script_clone(&c, "git://host/x"), BOLE_OK, "%s", c.error);
	cr_assert_eq(c.changes, 1);
	cr_assert(script_has(&c, &o.commit));
	maker_release(&answer);
	offer_close(&o);
	script_close(&c);
}

/* -- Packs -- */

static void with_pack(const struct offer *o, const struct maker_bytes *pack, const char *words)
{
	struct maker_bytes answer = {NULL, 0, 0};
	struct script c;

	script_open(&c, test_algo());
	offer_list(o, &answer);
	say(&answer, "packfile\n");
	say_band(&answer, 1, pack->ptr, pack->len);
	say_flush(&answer);
	one(&c, &answer);
	cr_assert(script_clone(&c, "git://host/x") < 0, "taken: %s", words);
	cr_assert(strstr(c.error, words) != NULL, "'%s' instead of '%s'", c.error, words);
	cr_assert(script_clean(&c));
	maker_release(&answer);
	script_close(&c);
}

Test(client_hostile, packs_that_lack_lie_or_would_harm_are_refused)
{
	struct maker_bytes text = {NULL, 0, 0};
	struct maker_bytes tree = {NULL, 0, 0};
	struct bole_oid tree_id;
	struct packmaker maker;
	struct bole_oid oid;
	struct offer o;

	offer_open(&o, test_algo());
	/* another object than the one that was listed */
	packmaker_init(&maker, test_algo());
	packmaker_object(&maker, BOLE_OBJECT_BLOB, "x", 1, &oid);
	packmaker_finish(&maker);
	with_pack(&o, &maker.out, "lacks what");
	packmaker_release(&maker);
	/* a commit without its tree */
	memset(&oid, 7, 20);
	commit_text(&text, &oid, NULL, 1, "x");
	packmaker_init(&maker, test_algo());
	packmaker_object(&maker, BOLE_OBJECT_COMMIT, text.ptr, text.len, &o.commit);
	packmaker_finish(&maker);
	with_pack(&o, &maker.out, "the server's pack");
	packmaker_release(&maker);
	/* a tree with .git in it */
	packmaker_init(&maker, test_algo());
	packmaker_object(&maker, BOLE_OBJECT_BLOB, "x", 1, &oid);
	tree_entry(&tree, "100644", ".GIT", &oid);
	packmaker_object(&maker, BOLE_OBJECT_TREE, tree.ptr, tree.len, &tree_id);
	text.len = 0;
	commit_text(&text, &tree_id, NULL, 1, "x");
	packmaker_object(&maker, BOLE_OBJECT_COMMIT, text.ptr, text.len, &o.commit);
	packmaker_finish(&maker);
	with_pack(&o, &maker.out, "hasDotgit");
	/* more behind it */
	packmaker_release(&maker);
	maker_release(&o.pack);
	offer_open(&o, test_algo());
	maker_append(&o.pack, "more", 4);
	with_pack(&o, &o.pack, "more after its pack");
	o.pack.len -= 4;
	/* a wrong trailer; a wrong count */
	o.pack.ptr[o.pack.len - 1] ^= 1;
	with_pack(&o, &o.pack, "the server's pack");
	o.pack.ptr[o.pack.len - 1] ^= 1;
	o.pack.ptr[11] = 4;
	with_pack(&o, &o.pack, "the server's pack");
	maker_release(&text);
	maker_release(&tree);
	offer_close(&o);
}

Test(client_hostile, talk_without_end_is_ended)
{
	struct maker_bytes answer = {NULL, 0, 0};
	struct maker_bytes talk = {NULL, 0, 0};
	char text[1000];
	struct script c;
	struct offer o;

	script_open(&c, test_algo());
	offer_open(&o, test_algo());
	offer_list(&o, &answer);
	say(&answer, "packfile\n");
	one(&c, &answer);
	c.endless = &talk;
	memset(text, 'x', sizeof text);
	for (int i = 0; i < 60; i++)
		say_band(&talk, 2, text, sizeof text);
	cr_assert_eq(script_clone(&c, "git://host/x"), BOLE_E_LIMIT, "%s", c.error);
	talk.len = 0;
	for (int i = 0; i < 5000; i++)
		say_bytes(&talk, "\001", 1);
	script_rewind(&c);
	cr_assert_eq(script_clone(&c, "git://host/x"), BOLE_E_LIMIT, "%s", c.error);
	/* capabilities, references, acknowledgments without end */
	answer.len = talk.len = 0;
	say(&answer, "version 2\n");
	say(&talk, "x=y\n");
	script_rewind(&c);
	cr_assert_eq(script_clone(&c, "git://host/x"), BOLE_E_LIMIT, "%s", c.error);
	cr_assert(script_clean(&c));
	maker_release(&answer);
	maker_release(&talk);
	offer_close(&o);
	script_close(&c);
}
