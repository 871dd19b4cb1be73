/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "git/object/read.h"
#include "git/pack/ingest.h"
#include "support/git_fixture.h"

#define CAPS_V0                                                                       \
	"multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since " \
	"deepen-not deepen-relative no-progress include-tag "                         \
	"multi_ack_detailed filter"
#define TAIL_V0 " symref=HEAD:refs/heads/main object-format=sha1 agent=bole/0.1.0\n"

struct scene {
	struct git_fixture f;
	struct bole_oid tips[10]; /* refs/heads/main */
	struct bole_oid tag;      /* refs/tags/v1 of tips[4] */
	struct bole_buffer request;
	struct bole_buffer text;
	struct git_session session;
};

static void scene_open(struct scene *c)
{
	memset(c, 0, sizeof *c);
	git_fixture_open(&c->f, test_algo());
	git_history(&c->f, &c->f.repo, "refs/heads/main", 10, c->tips);
	c->tag = git_tag(&c->f, &c->f.repo, "v1", &c->tips[4], BOLE_OBJECT_COMMIT);
	git_set_ref(&c->f, &c->f.repo, "refs/tags/v1", &c->tag, &c->tips[4]);
	git_set_ref(&c->f, &c->f.repo, "refs/tags/light", &c->tips[2], NULL);
	bole_buffer_init(&c->request, &c->f.test.alloc, 64 << 20);
	bole_buffer_init(&c->text, &c->f.test.alloc, 64 << 20);
}

static void scene_close(struct scene *c)
{
	bole_buffer_release(&c->request);
	bole_buffer_release(&c->text);
	git_fixture_close(&c->f);
}

/* Runs the request gathered so far; its transcript is in text until the next run. */
static const char *run(struct scene *c, int version, bool stateless)
{
	c->session = (struct git_session){
	        .fixture = &c->f, .kind = UPLOAD_PACK, .version = version, .stateless = stateless};
	git_session_run(&c->session, bole_bytes_of(c->request.ptr, c->request.len));
	c->text.len = c->request.len = 0;
	git_transcript(&c->session, &c->text);
	git_session_end(&c->session);
	return (const char *)c->text.ptr;
}

static const char *advertisement(struct scene *c, int version, bool stateless)
{
	c->session = (struct git_session){.fixture = &c->f,
	                                  .kind = UPLOAD_PACK,
	                                  .version = version,
	                                  .stateless = stateless,
	                                  .advertise = true};
	git_session_run(&c->session, bole_bytes_of("", 0));
	cr_assert_eq(c->session.rc, BOLE_OK);
	c->text.len = 0;
	git_transcript(&c->session, &c->text);
	git_session_end(&c->session);
	return (const char *)c->text.ptr;
}

Test(upload_pack, version_0_advertises_head_first_and_tags_peeled)
{
	struct scene c;
	char want[2000];

	scene_open(&c);
	snprintf(want, sizeof want,
	         "%s HEAD\\0" CAPS_V0 "%%s" TAIL_V0 "%s refs/heads/main\n%s refs/tags/light\n"
	         "%s refs/tags/v1\n%s refs/tags/v1^{}\n0000\n",
	         hex_of(&c.tips[9]), hex_of(&c.tips[9]), hex_of(&c.tips[2]), hex_of(&c.tag),
	         hex_of(&c.tips[4]));
	char stateful[2100];
	char http[2100];
	snprintf(stateful, sizeof stateful, "%.*s%s", (int)(strstr(want, "%s") - want), want,
	         strstr(want, "%s") + 2);
	snprintf(http, sizeof http, "%.*s no-done%s", (int)(strstr(want, "%s") - want), want,
	         strstr(want, "%s") + 2);
	pkt_special(&c.request, "0000");
	cr_assert_str_eq(run(&c, 0, false), stateful);
	cr_assert_eq(c.session.rc, BOLE_OK);
	cr_assert_str_eq(advertisement(&c, 0, true), http);
	cr_assert_eq(strncmp(advertisement(&c, 1, true), "version 1\n", 10), 0);
	cr_assert_str_eq((const char *)c.text.ptr + 10, http);
	scene_close(&c);
}

Test(upload_pack, an_empty_repository_advertises_only_capabilities)
{
	struct git_fixture f;
	struct bole_buffer text;

	git_fixture_open(&f, BOLE_HASH_SHA256);
	bole_buffer_init(&text, &f.test.alloc, 1 << 20);
	struct git_session s = {.fixture = &f, .kind = UPLOAD_PACK, .stateless = true};
	s.advertise = true;
	git_session_run(&s, bole_bytes_of("", 0));
	git_transcript(&s, &text);
	git_session_end(&s);
	cr_assert_str_eq((const char *)text.ptr,
	                 "0000000000000000000000000000000000000000000000000000000000000000 "
	                 "capabilities^{}\\0" CAPS_V0
	                 " no-done object-format=sha256 agent=bole/0.1.0\n0000\n");
	bole_buffer_release(&text);
	git_fixture_close(&f);
}

Test(upload_pack, version_2_advertises_exactly_what_works)
{
	struct scene c;

	scene_open(&c);
	cr_assert_str_eq(advertisement(&c, 2, true),
	                 "version 2\nagent=bole/0.1.0\nls-refs=unborn\n"
	                 "fetch=shallow wait-for-done filter ref-in-want\n"
	                 "server-option\nobject-format=sha1\nobject-info\n0000\n");
	scene_close(&c);
}

static void ls_refs(struct scene *c, const char *const *args)
{
	pkt_add(&c->request, "command=ls-refs\n");
	pkt_add(&c->request, "agent=test/1\n");
	pkt_add(&c->request, "object-format=sha1\n");
	pkt_add(&c->request, "server-option=x\n");
	pkt_special(&c->request, "0001");
	for (size_t i = 0; args[i] != NULL; i++)
		pkt_add(&c->request, "%s\n", args[i]);
	pkt_special(&c->request, "0000");
}

Test(upload_pack, ls_refs_shows_symrefs_peels_and_prefixes)
{
	struct scene c;
	char want[1000];

	scene_open(&c);
	ls_refs(&c, (const char *const[]){"peel", "symrefs", NULL});
	snprintf(want, sizeof want,
	         "%s HEAD symref-target:refs/heads/main\n%s refs/heads/main\n%s refs/tags/light\n"
	         "%s refs/tags/v1 peeled:%s\n0000\n",
	         hex_of(&c.tips[9]), hex_of(&c.tips[9]), hex_of(&c.tips[2]), hex_of(&c.tag),
	         hex_of(&c.tips[4]));
	cr_assert_str_eq(run(&c, 2, true), want);
	/* Overlapping and doubled prefixes list a reference once, in order. */
	ls_refs(&c, (const char *const[]){"ref-prefix refs/tags/v", "ref-prefix refs/tags/",
	                                  "ref-prefix refs/tags/v", "ref-prefix refs/tag",
	                                  "ref-prefix HEADY", "ref-prefix refs/tagz", NULL});
	snprintf(want, sizeof want, "%s refs/tags/light\n%s refs/tags/v1\n0000\n",
	         hex_of(&c.tips[2]), hex_of(&c.tag));
	cr_assert_str_eq(run(&c, 2, true), want);
	/* A writer that did not know what a tag names: found out when it is shown. */
	git_set_ref(&c.f, &c.f.repo, "refs/tags/v1", &c.tag, NULL);
	ls_refs(&c, (const char *const[]){"peel", "ref-prefix refs/tags/v1", NULL});
	snprintf(want, sizeof want, "%s refs/tags/v1 peeled:%s\n0000\n", hex_of(&c.tag),
	         hex_of(&c.tips[4]));
	cr_assert_str_eq(run(&c, 2, true), want);
	scene_close(&c);
}

Test(upload_pack, ls_refs_tells_of_an_unborn_head_only_when_asked)
{
	struct scene c;

	scene_open(&c);
	git_set_ref(&c.f, &c.f.repo, "refs/heads/main", NULL, NULL);
	ls_refs(&c, (const char *const[]){"symrefs", "unborn", "ref-prefix HEAD", NULL});
	cr_assert_str_eq(run(&c, 2, true), "unborn HEAD symref-target:refs/heads/main\n0000\n");
	ls_refs(&c, (const char *const[]){"symrefs", "ref-prefix HEAD", NULL});
	cr_assert_str_eq(run(&c, 2, true), "0000\n");
	ls_refs(&c, (const char *const[]){"unborn", "ref-prefix refs/heads/", NULL});
	cr_assert_str_eq(run(&c, 2, true), "0000\n");
	scene_close(&c);
}

Test(upload_pack, more_prefixes_than_the_limit_are_ignored)
{
	struct scene c;

	scene_open(&c);
	for (unsigned extra = 0; extra < 2; extra++) {
		pkt_add(&c.request, "command=ls-refs");
		pkt_special(&c.request, "0001");
		for (unsigned i = 0; i < 65536 + extra; i++)
			pkt_add(&c.request, "ref-prefix refs/none/%u", i);
		pkt_special(&c.request, "0000");
		const char *text = run(&c, 2, true);
		cr_assert_eq(c.session.rc, BOLE_OK);
		cr_assert_eq(strstr(text, "refs/heads/main") != NULL, extra == 1);
	}
	scene_close(&c);
}

/* Takes the pack out of a reply into the other repository, whose domain knows nothing; that it is
 * accepted proves that it is whole and closed. */
static void ingest_reply(struct scene *c, struct bole_bytes request, int version, bool stateless,
                         uint64_t objects)
{
	struct bole_buffer pack;
	struct bole_bytes_reader reader;
	struct bole_input in;
	struct bole_ingest_report report;
	struct bole_tx *tx;
	uint8_t buf[512];
	size_t failed;

	c->session = (struct git_session){
	        .fixture = &c->f, .kind = UPLOAD_PACK, .version = version, .stateless = stateless};
	git_session_run(&c->session, request);
	cr_assert_eq(c->session.rc, BOLE_OK);
	bole_buffer_init(&pack, &c->f.test.alloc, 64 << 20);
	git_band_data(&c->session, &pack);
	git_session_end(&c->session);
	bole_bytes_reader_init(&reader, bole_bytes_of(pack.ptr, pack.len));
	bole_input_init(&in, &reader.reader, buf, sizeof buf);
	cr_assert_eq(bole_tx_begin(c->f.store, c->f.other.id, &tx), BOLE_OK);
	struct bole_ingest job = {.platform = &c->f.test.base, .alloc = &c->f.test.alloc, .tx = tx};
	enum bole_status rc = bole_pack_ingest(&job, &in, &report);
	cr_assert_eq(rc, BOLE_OK, "%s", report.error);
	cr_assert_eq(report.objects, objects, "%u objects", (unsigned)report.objects);
	cr_assert_eq(bole_tx_commit(tx, NULL, 0, &failed), BOLE_OK);
	bole_buffer_release(&pack);
}

Test(upload_pack, a_clone_in_every_version_gets_every_object)
{
	for (int version = 0; version <= 2; version++)
		for (int stateless = 0; stateless <= 1; stateless++) {
			struct scene c;
			scene_open(&c);
			if (version == 2) {
				pkt_add(&c.request, "command=fetch");
				pkt_special(&c.request, "0001");
				pkt_add(&c.request, "ofs-delta");
				pkt_add(&c.request, "want %s\n", hex_of(&c.tips[9]));
				pkt_add(&c.request, "want %s\n", hex_of(&c.tag));
				pkt_add(&c.request, "done\n");
				pkt_special(&c.request, "0000");
			} else {
				pkt_add(&c.request, "want %s side-band-64k ofs-delta agent=x\n",
				        hex_of(&c.tips[9]));
				pkt_add(&c.request, "want %s\n", hex_of(&c.tag));
				pkt_special(&c.request, "0000");
				pkt_add(&c.request, "done\n");
			}
			ingest_reply(&c, bole_bytes_of(c.request.ptr, c.request.len), version,
			             stateless == 1, 31);
			cr_assert(git_has_object(&c.f, &c.f.other, &c.tag));
			cr_assert(git_has_object(&c.f, &c.f.other, &c.tips[0]));
			scene_close(&c);
		}
}

Test(upload_pack, include_tag_adds_the_tags_of_what_is_sent)
{
	for (int with = 0; with <= 1; with++) {
		struct scene c;
		scene_open(&c);
		pkt_add(&c.request, "command=fetch");
		pkt_special(&c.request, "0001");
		if (with)
			pkt_add(&c.request, "include-tag");
		pkt_add(&c.request, "want %s\n", hex_of(&c.tips[9]));
		pkt_add(&c.request, "done\n");
		pkt_special(&c.request, "0000");
		ingest_reply(&c, bole_bytes_of(c.request.ptr, c.request.len), 2, true,
		             30 + (uint64_t)with);
		scene_close(&c);
	}
}

/* ACK lines of a transcript, without the advertisement before and the pack behind. */
static const char *acks_of(const char *text)
{
	const char *start = strstr(text, "0000\n");

	return start == NULL ? text : start + 5;
}

Test(upload_pack, version_0_acknowledges_as_each_mode_demands)
{
	struct scene c;
	char want[2000];

	scene_open(&c);
	static const char none[] = "1111111111111111111111111111111111111111";
	/* Without multi_ack: the first common id, then silence until done. */
	pkt_add(&c.request, "want %s\n", hex_of(&c.tips[9]));
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "have %s\n", none);
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[5]));
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[4]));
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "done\n");
	snprintf(want, sizeof want, "NAK\nACK %s\nraw", hex_of(&c.tips[5]));
	const char *text = acks_of(run(&c, 0, false));
	cr_assert_eq(strncmp(text, want, strlen(want)), 0, "%s", text);
	/* multi_ack: continue for the common, and blindly once there is enough; then the last. */
	pkt_add(&c.request, "want %s multi_ack\n", hex_of(&c.tips[9]));
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "have %s\n", none);
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[5]));
	pkt_add(&c.request, "have %s\n", none);
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "done\n");
	snprintf(want, sizeof want, "ACK %s continue\nACK %s continue\nNAK\nACK %s\nraw",
	         hex_of(&c.tips[5]), none, hex_of(&c.tips[5]));
	text = acks_of(run(&c, 0, false));
	cr_assert_eq(strncmp(text, want, strlen(want)), 0, "%s", text);
	/* multi_ack_detailed. */
	pkt_add(&c.request, "want %s multi_ack_detailed no-progress side-band-64k\n",
	        hex_of(&c.tips[9]));
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[5]));
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "have %s\n", none);
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "done\n");
	snprintf(want, sizeof want,
	         "ACK %s common\nACK %s ready\nNAK\nACK %s ready\nNAK\nACK %s\n[1] ",
	         hex_of(&c.tips[5]), hex_of(&c.tips[5]), none, hex_of(&c.tips[5]));
	text = acks_of(run(&c, 0, false));
	cr_assert_eq(strncmp(text, want, strlen(want)), 0, "%s", text);
	/* Nothing in common. */
	pkt_add(&c.request, "want %s multi_ack_detailed\n", hex_of(&c.tips[9]));
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "have %s\n", none);
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "done\n");
	text = acks_of(run(&c, 0, false));
	cr_assert_eq(strncmp(text, "NAK\nNAK\nraw", 11), 0, "%s", text);
	scene_close(&c);
}

Test(upload_pack, a_stateless_round_ends_at_the_flush_unless_no_done_lets_the_pack_follow)
{
	struct scene c;
	char want[1000];

	scene_open(&c);
	for (int no_done = 0; no_done <= 1; no_done++) {
		pkt_add(&c.request, "want %s multi_ack_detailed side-band-64k%s\n",
		        hex_of(&c.tips[9]), no_done ? " no-done" : "");
		pkt_special(&c.request, "0000");
		pkt_add(&c.request, "have %s\n", hex_of(&c.tips[5]));
		pkt_special(&c.request, "0000");
		snprintf(want, sizeof want, "ACK %s common\nACK %s ready\nNAK\n%s%s%s",
		         hex_of(&c.tips[5]), hex_of(&c.tips[5]), no_done ? "ACK " : "",
		         no_done ? hex_of(&c.tips[5]) : "", no_done ? "\n[" : "");
		const char *text = run(&c, 0, true);
		cr_assert_eq(c.session.rc, BOLE_OK);
		cr_assert_eq(strncmp(text, want, strlen(want)), 0, "%s", text);
		if (!no_done)
			cr_assert_eq(strlen(text), strlen(want));
	}
	scene_close(&c);
}

Test(upload_pack, version_2_negotiates_in_rounds)
{
	struct scene c;
	char want[1000];
	const char *text;

	scene_open(&c);
	static const char none[] = "1111111111111111111111111111111111111111";
	/* Nothing common: NAK, and the next round is the client's. */
	pkt_add(&c.request, "command=fetch");
	pkt_special(&c.request, "0001");
	pkt_add(&c.request, "want %s\n", hex_of(&c.tips[9]));
	pkt_add(&c.request, "have %s\n", none);
	pkt_special(&c.request, "0000");
	cr_assert_str_eq(run(&c, 2, true), "acknowledgments\nNAK\n0000\n");
	/* Enough: ready, a delimiter, the pack. */
	pkt_add(&c.request, "command=fetch");
	pkt_special(&c.request, "0001");
	pkt_add(&c.request, "no-progress");
	pkt_add(&c.request, "want %s\n", hex_of(&c.tips[9]));
	pkt_add(&c.request, "have %s\n", none);
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[6]));
	pkt_special(&c.request, "0000");
	snprintf(want, sizeof want, "acknowledgments\nACK %s\nready\n0001\npackfile\n[1] ",
	         hex_of(&c.tips[6]));
	text = run(&c, 2, true);
	cr_assert_eq(strncmp(text, want, strlen(want)), 0, "%s", text);
	cr_assert_not_null(strstr(text, "\n0000\n"));
	/* wait-for-done: never ready. */
	pkt_add(&c.request, "command=fetch");
	pkt_special(&c.request, "0001");
	pkt_add(&c.request, "wait-for-done");
	pkt_add(&c.request, "want %s\n", hex_of(&c.tips[9]));
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[6]));
	pkt_special(&c.request, "0000");
	snprintf(want, sizeof want, "acknowledgments\nACK %s\n0000\n", hex_of(&c.tips[6]));
	cr_assert_str_eq(run(&c, 2, true), want);
	/* done: no acknowledgments. */
	pkt_add(&c.request, "command=fetch");
	pkt_special(&c.request, "0001");
	pkt_add(&c.request, "want %s\n", hex_of(&c.tips[9]));
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[6]));
	pkt_add(&c.request, "done\n");
	pkt_special(&c.request, "0000");
	cr_assert_eq(strncmp(run(&c, 2, true), "packfile\n", 9), 0);
	/* A branch that does not reach the common commit is not ready. */
	struct bole_oid lone = git_commit(&c.f, &c.f.repo, "lone", 1700009999, NULL);
	git_set_ref(&c.f, &c.f.repo, "refs/heads/lone", &lone, NULL);
	pkt_add(&c.request, "command=fetch");
	pkt_special(&c.request, "0001");
	pkt_add(&c.request, "want %s\n", hex_of(&c.tips[9]));
	pkt_add(&c.request, "want %s\n", hex_of(&lone));
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[6]));
	pkt_special(&c.request, "0000");
	snprintf(want, sizeof want, "acknowledgments\nACK %s\n0000\n", hex_of(&c.tips[6]));
	cr_assert_str_eq(run(&c, 2, true), want);
	scene_close(&c);
}

Test(upload_pack, one_version_2_connection_serves_many_commands)
{
	struct scene c;

	scene_open(&c);
	ls_refs(&c, (const char *const[]){"ref-prefix refs/tags/light", NULL});
	pkt_add(&c.request, "command=fetch");
	pkt_special(&c.request, "0001");
	pkt_add(&c.request, "want %s\n", hex_of(&c.tips[2]));
	pkt_add(&c.request, "done\n");
	pkt_special(&c.request, "0000");
	ls_refs(&c, (const char *const[]){"ref-prefix refs/heads/", NULL});
	const char *text = run(&c, 2, false);
	cr_assert_eq(c.session.rc, BOLE_OK);
	cr_assert_eq(strncmp(text, "version 2\n", 10), 0);
	cr_assert_not_null(strstr(text, "refs/tags/light"));
	cr_assert_not_null(strstr(text, "packfile"));
	cr_assert_not_null(strstr(text, "refs/heads/main"));
	scene_close(&c);
}

Test(upload_pack, a_fetch_sends_only_what_is_missing)
{
	struct scene c;

	scene_open(&c);
	/* The other repository already has the first seven commits. */
	pkt_add(&c.request, "want %s side-band-64k\n", hex_of(&c.tips[2]));
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "done\n");
	ingest_reply(&c, bole_bytes_of(c.request.ptr, c.request.len), 0, false, 9);
	c.request.len = 0;
	pkt_add(&c.request, "want %s multi_ack_detailed thin-pack ofs-delta side-band\n",
	        hex_of(&c.tips[9]));
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[2]));
	pkt_add(&c.request, "have %s\n", hex_of(&c.tips[0]));
	pkt_add(&c.request, "done\n");
	ingest_reply(&c, bole_bytes_of(c.request.ptr, c.request.len), 0, false, 21);
	scene_close(&c);
}

/* A wanted tree is not the tree of a commit that is sent: one of those that turns out to be the
 * client's must not take the tree of another with it. */
Test(upload_pack, a_wanted_tree_comes_beside_the_trees_of_commits)
{
	struct scene c;

	scene_open(&c);
	struct git_fixture *f = &c.f;
	struct bole_oid tree = git_write(f, &f->repo, BOLE_OBJECT_TREE, "", 0);
	struct bole_oid base =
	        git_commit(f, &f->repo, "base", 1000, (const struct bole_oid *const[]){NULL});
	struct bole_oid wanted = git_commit(f, &f->repo, "wanted", 2000,
	                                    (const struct bole_oid *const[]){&base, NULL});
	/* Its clock is wrong, so the walk meets the base before it knows whose it is. */
	struct bole_oid held =
	        git_commit(f, &f->repo, "held", 1, (const struct bole_oid *const[]){&base, NULL});
	git_set_ref(f, &f->repo, "refs/heads/wanted", &wanted, NULL);
	git_set_ref(f, &f->repo, "refs/heads/held", &held, NULL);
	pkt_add(&c.request, "command=fetch");
	pkt_special(&c.request, "0001");
	pkt_add(&c.request, "want %s\n", hex_of(&held));
	pkt_add(&c.request, "done\n");
	pkt_special(&c.request, "0000");
	ingest_reply(&c, bole_bytes_of(c.request.ptr, c.request.len), 2, true, 6);
	c.request.len = 0;
	pkt_add(&c.request, "command=fetch");
	pkt_special(&c.request, "0001");
	pkt_add(&c.request, "want %s\n", hex_of(&tree));
	pkt_add(&c.request, "want %s\n", hex_of(&wanted));
	pkt_add(&c.request, "have %s\n", hex_of(&held));
	pkt_add(&c.request, "done\n");
	pkt_special(&c.request, "0000");
	ingest_reply(&c, bole_bytes_of(c.request.ptr, c.request.len), 2, true, 4);
	scene_close(&c);
}
