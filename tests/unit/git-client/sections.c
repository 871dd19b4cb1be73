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

/* -- Packs from elsewhere -- */

/* The offer's commit and tree in one pack, its file in another. */
static void split(uint8_t algo, struct offer *own, struct maker_bytes *other)
{
	struct maker_bytes tree = {NULL, 0, 0};
	struct maker_bytes text = {NULL, 0, 0};
	struct packmaker a, b;
	struct bole_oid blob, tree_id;

	packmaker_init(&a, algo);
	packmaker_init(&b, algo);
	packmaker_object(&b, BOLE_OBJECT_BLOB, "hello\n", 6, &blob);
	tree_entry(&tree, "100644", "file", &blob);
	packmaker_object(&a, BOLE_OBJECT_TREE, tree.ptr, tree.len, &tree_id);
	commit_text(&text, &tree_id, NULL, 1700000000, "first");
	packmaker_object(&a, BOLE_OBJECT_COMMIT, text.ptr, text.len, &own->commit);
	packmaker_finish(&a);
	packmaker_finish(&b);
	own->pack = a.out;
	*other = b.out;
	maker_release(&tree);
	maker_release(&text);
}

static struct bole_oid trailer(const struct maker_bytes *pack, uint8_t algo)
{
	struct bole_oid oid = {.algo = algo};
	size_t len = algo == BOLE_HASH_SHA256 ? 32 : 20;

	memcpy(oid.bytes, pack->ptr + pack->len - len, len);
	return oid;
}

static void file_answer(struct maker_bytes *out, const struct maker_bytes *file)
{
	out->len = 0;
	maker_text(out, "HTTP/1.1 200 OK\r\nETag: \"x\"\r\n\r\n");
	maker_append(out, file->ptr, file->len);
}

/* A conversation that leaves the other pack to http://h/p?q. */
static void two_places(const struct offer *o, const struct maker_bytes *other, bool banded,
                       struct maker_bytes *out)
{
	struct bole_oid sum = trailer(other, o->commit.algo);
	const char *lines[] = {"packfile-uris\n", NULL, "packfile\n"};
	char line[200];

	snprintf(line, sizeof line, "%s http://h/p?q\n", hex(&sum));
	lines[1] = line;
	begin(o, banded ? "packfile-uris sideband-all" : "packfile-uris", out);
	if (banded)
		say_band(out, 2, "look here\n", 10);
	for (size_t i = 0; i < 3; i++) {
		if (i == 2)
			say_delim(out);
		if (banded)
			say_band(out, 1, lines[i], strlen(lines[i]));
		else
			say(out, "%s", lines[i]);
	}
	say_band(out, 1, o->pack.ptr, o->pack.len);
	say_flush(out);
}

Test(client_sections, packs_of_two_places_are_closed_together_or_nothing_stays)
{
	for (uint8_t algo = BOLE_HASH_SHA1; algo <= BOLE_HASH_SHA256; algo++) {
		struct maker_bytes answers[2] = {{NULL, 0, 0}};
		struct maker_bytes other;
		struct script c;
		struct offer o;

		script_open(&c, algo);
		split(algo, &o, &other);
		c.packfile_uris = true;
		for (int banded = 0; banded < 2; banded++) {
			two_places(&o, &other, banded == 1, &answers[0]);
			file_answer(&answers[1], &other);
			c.answers[0] = &answers[0];
			c.answers[1] = &answers[1];
			c.answer_count = 2;
			script_rewind(&c);
			cr_assert_eq(script_clone(&c, "git://host/x"), BOLE_OK, "%s", c.error);
			cr_assert(script_has(&c, &o.commit));
			cr_assert(memmem(c.asked.ptr, c.asked.len, "GET /p?q HTTP", 13));
			size_t all = answers[0].len + answers[1].len;
			for (c.cut = 0; c.cut < all; c.cut++) {
				script_rewind(&c);
				cr_assert(script_clone(&c, "git://host/x") < 0, "%zu", c.cut);
				cr_assert(script_clean(&c), "cut at %zu", c.cut);
			}
			c.cut = SIZE_MAX;
			c.flip_by = 0x21;
			for (c.flip = 0; c.flip < all; c.flip++) {
				script_rewind(&c);
				cr_assert(script_clone(&c, "git://host/x") == BOLE_OK ||
				                  script_clean(&c),
				          "byte %zu", c.flip);
			}
			c.flip = SIZE_MAX;
		}
		/* The pack is there, and not what is missing. */
		file_answer(&answers[1], &o.pack);
		script_rewind(&c);
		cr_assert(script_clone(&c, "git://host/x") < 0);
		cr_assert(strstr(c.error, "not the one that was announced"), "%s", c.error);
		cr_assert(script_clean(&c));
		maker_release(&answers[0]);
		maker_release(&answers[1]);
		maker_release(&other);
		offer_close(&o);
		script_close(&c);
	}
}

/* -- Bundles -- */

/* A list with one bundle in the first answer, the bundle in the second, a clone in the third. */
static void with_bundle(const struct offer *o, struct maker_bytes answers[3])
{
	struct maker_bytes file = {NULL, 0, 0};
	const char *name = bole_hash_name(o->commit.algo);

	answers[0].len = answers[2].len = 0;
	say(&answers[0], "version 2\n");
	say(&answers[0], "fetch=shallow\n");
	say(&answers[0], "bundle-uri\n");
	say(&answers[0], "object-format=%s\n", name);
	say_flush(&answers[0]);
	say(&answers[0], "%s HEAD symref-target:refs/heads/main\n", hex(&o->commit));
	say(&answers[0], "%s refs/heads/main\n", hex(&o->commit));
	say_flush(&answers[0]);
	say(&answers[0], "bundle.version=1\n");
	say(&answers[0], "bundle.mode=all\n");
	say(&answers[0], "bundle.a.b.uri=http://h/b\n");
	say_flush(&answers[0]);
	maker_text(&file, "# v3 git bundle\n@object-format=%s\n%s refs/heads/x\n\n", name,
	           hex(&o->commit));
	maker_append(&file, o->pack.ptr, o->pack.len);
	file_answer(&answers[1], &file);
	offer_v2(o, &answers[2]);
	maker_release(&file);
}

static void need_clone(struct script *c, const struct offer *o, size_t at)
{
	script_rewind(c);
	cr_assert_eq(script_clone(c, "git://host/x"), BOLE_OK, "%zu: %s", at, c->error);
	cr_assert(script_has(c, &o->commit), "%zu", at);
	cr_assert_eq(c->changes, 1);
}

Test(client_sections, whatever_is_wrong_with_a_bundle_the_clone_succeeds)
{
	for (uint8_t algo = BOLE_HASH_SHA1; algo <= BOLE_HASH_SHA256; algo++) {
		struct maker_bytes answers[3] = {{NULL, 0, 0}};
		struct script c;
		struct offer o;

		script_open(&c, algo);
		offer_open(&o, algo);
		with_bundle(&o, answers);
		for (size_t i = 0; i < 3; i++)
			c.answers[i] = &answers[i];
		c.answer_count = 3;
		c.elsewhere = true;
		/* Nothing is left to be asked for: the third answer ends with the list. */
		struct maker_bytes whole = answers[2];
		answers[2] = (struct maker_bytes){NULL, 0, 0};
		offer_list(&o, &answers[2]);
		need_clone(&c, &o, 0);
		maker_release(&answers[2]);
		answers[2] = whole;
		for (size_t len = answers[1].len; answers[1].len > 0; answers[1].len--)
			need_clone(&c, &o, len - answers[1].len);
		with_bundle(&o, answers);
		size_t from = answers[0].len;
		size_t to = from + answers[1].len;
		c.flip_by = 0x21;
		for (c.flip = from; c.flip < to; c.flip++)
			need_clone(&c, &o, c.flip);
		for (c.flip = 0; c.flip < from; c.flip++) {
			script_rewind(&c);
			cr_assert(script_clone(&c, "git://host/x") == BOLE_OK || script_clean(&c),
			          "byte %zu", c.flip);
		}
		c.flip = SIZE_MAX;
		for (c.cut = 0; c.cut < from; c.cut++) {
			script_rewind(&c);
			cr_assert(script_clone(&c, "git://host/x") < 0);
			cr_assert(script_clean(&c), "cut at %zu", c.cut);
		}
		c.cut = SIZE_MAX;
		for (size_t i = 0; i < 3; i++)
			maker_release(&answers[i]);
		offer_close(&o);
		script_close(&c);
	}
}

Test(client_sections, a_clone_with_bundles_and_without_memory_leaves_nothing_or_all)
{
	struct maker_bytes answers[3] = {{NULL, 0, 0}};
	struct script c;
	struct offer o;

	script_open(&c, BOLE_HASH_SHA1);
	offer_open(&o, BOLE_HASH_SHA1);
	with_bundle(&o, answers);
	for (size_t i = 0; i < 3; i++)
		c.answers[i] = &answers[i];
	c.answer_count = 3;
	c.elsewhere = true;
	for (uint64_t n = 1, ended = 0; ended == 0; n++) {
		script_rewind(&c);
		c.test.grows = 0;
		c.test.fail_at = n;
		enum bole_status rc = script_clone(&c, "git://host/x");
		ended = c.test.grows < n;
		c.test.fail_at = 0;
		/* What looks whether the origin owes more comes after the commit. */
		cr_assert(script_clean(&c) ? rc != BOLE_OK : script_has(&c, &o.commit),
		          "allocation %d: %s", (int)n, c.error);
		cr_assert(n < 4000);
	}
	for (size_t i = 0; i < 3; i++)
		maker_release(&answers[i]);
	offer_close(&o);
	script_close(&c);
}

Test(client_sections, tips_that_a_killed_fetch_left_go_with_one_a_day_later)
{
	static const struct {
		const char *before;
		int64_t age; /* seconds; in the name */
		const char *after;
		bool goes;
	} cases[] = {
	        {"refs/bundles/", 2 * 86400, "0000000a/0/0", true},
	        {"refs/bundles/", 2 * 86400, "0000000a/0/1", true},
	        {"refs/bundles/", 86401, "ffffffff/3/0", true},
	        {"refs/bundles/", 86399, "0000000b/0/0", false},
	        {"refs/bundles/", -86400, "0000000c/0/0", false},
	        {"refs/bundles/00000000", 2 * 86400, "/0/0", false},
	        {"refs/bundles/", 2 * 86400, "0000000g/0/0", false},
	        {"refs/bundles/", 2 * 86400, "0000000/0", false},
	        {"refs/bundles/", 2 * 86400, "0000000ab/0", false},
	        {"refs/bundles/heads/", 2 * 86400, "", false},
	        {"refs/heads/", 2 * 86400, "0000000a/0", false},
	};
	enum { CASES = sizeof cases / sizeof cases[0] };
	struct maker_bytes answers[2] = {{NULL, 0, 0}};
	struct bole_ref_update updates[CASES];
	struct bole_snapshot *snapshot;
	struct bole_client *client;
	char names[CASES][80];
	struct bole_repo repo;
	struct bole_tx *tx;
	struct script c;
	struct offer o;
	size_t failed;

	script_open(&c, BOLE_HASH_SHA1);
	offer_open(&o, BOLE_HASH_SHA1);
	c.test.wall = 1800000000;
	offer_v2(&o, &answers[0]);
	cr_assert_eq(cloned(&c, &answers[0]), BOLE_OK, "%s", c.error);
	for (size_t i = 0; i < CASES; i++) {
		snprintf(names[i], sizeof names[i], "%s%08llx%s", cases[i].before,
		         (unsigned long long)(c.test.wall - cases[i].age), cases[i].after);
		updates[i] = (struct bole_ref_update){
		        .name = bole_bytes_z(names[i]), .action = BOLE_REF_SET, .oid = o.commit};
	}
	cr_assert_eq(bole_repo_find(c.store, "r", &repo), BOLE_OK);
	cr_assert_eq(bole_tx_begin(c.store, repo.id, &tx), BOLE_OK);
	cr_assert_eq(bole_tx_commit(tx, updates, CASES, &failed), BOLE_OK);
	offer_list(&o, &answers[1]);
	c.answers[0] = &answers[1];
	c.connections = c.told = 0;
	struct bole_client_fetch job = {.repo = "r", .memory_bytes_max = 16 << 20};
	cr_assert_eq(bole_client_open(&c.platform, c.platform.alloc, "git://host/x", &c.options,
	                              c.error, sizeof c.error, &client),
	             BOLE_OK);
	cr_assert_eq(bole_client_fetch(client, c.store, &job), BOLE_OK, "%s",
	             bole_client_error(client));
	bole_client_close(client);
	cr_assert_eq(bole_snapshot_open(c.store, repo.id, &snapshot), BOLE_OK);
	for (size_t i = 0; i < CASES; i++) {
		struct bole_ref ref;

		cr_expect_eq(bole_ref_get(snapshot, bole_bytes_z(names[i]), &ref),
		             cases[i].goes ? BOLE_E_NOT_FOUND : BOLE_OK, "%s", names[i]);
	}
	bole_snapshot_close(snapshot);
	maker_release(&answers[0]);
	maker_release(&answers[1]);
	offer_close(&o);
	script_close(&c);
}
