/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "support/git_fixture.h"

#define CAPS "report-status side-band-64k object-format=sha1 agent=test/1"

struct scene {
	struct git_fixture f;
	struct bole_oid tips[5]; /* refs/heads/main */
	struct bole_oid side;    /* refs/heads/side: a child of tips[1] */
	struct bole_oid null;
	struct bole_buffer request;
	struct bole_buffer text;
	struct git_session session;
};

static void scene_open(struct scene *c)
{
	memset(c, 0, sizeof *c);
	git_fixture_open(&c->f, test_algo());
	git_history(&c->f, &c->f.repo, "refs/heads/main", 5, c->tips);
	const struct bole_oid *parents[] = {&c->tips[1], NULL};
	c->side = git_commit(&c->f, &c->f.repo, "side", 1700000090, parents);
	git_set_ref(&c->f, &c->f.repo, "refs/heads/side", &c->side, NULL);
	c->null.algo = test_algo();
	bole_buffer_init(&c->request, &c->f.test.alloc, 64 << 20);
	bole_buffer_init(&c->text, &c->f.test.alloc, 64 << 20);
}

static void scene_close(struct scene *c)
{
	bole_buffer_release(&c->request);
	bole_buffer_release(&c->text);
	git_fixture_close(&c->f);
}

static void command(struct scene *c, const struct bole_oid *old_oid, const struct bole_oid *new_oid,
                    const char *name, const char *caps)
{
	pkt_command(&c->request, old_oid == NULL ? &c->null : old_oid,
	            new_oid == NULL ? &c->null : new_oid, name, caps);
}

static const char *run(struct scene *c)
{
	c->session.fixture = &c->f;
	c->session.kind = RECEIVE_PACK;
	c->session.stateless = true;
	git_session_run(&c->session, bole_bytes_of(c->request.ptr, c->request.len));
	c->text.len = c->request.len = 0;
	git_transcript(&c->session, &c->text);
	git_session_end(&c->session);
	return (const char *)c->text.ptr;
}

/* Ends the commands and sends an empty pack. */
static const char *push(struct scene *c)
{
	pkt_special(&c->request, "0000");
	pack_build(&c->f, &c->request, NULL, 0);
	return run(c);
}

Test(receive_pack, the_advertisement_lists_references_without_head)
{
	struct scene c;
	char want[1000];

	scene_open(&c);
	for (int version = 0; version <= 2; version++) {
		c.session.advertise = true;
		c.session.version = version;
		snprintf(want, sizeof want,
		         "%s%s refs/heads/main\\0report-status report-status-v2 delete-refs "
		         "side-band-64k quiet atomic ofs-delta push-options object-format=sha1 "
		         "agent=bole/0.1.0\n"
		         "%s refs/heads/side\n0000\n",
		         version == 1 ? "version 1\n" : "", hex_of(&c.tips[4]), hex_of(&c.side));
		cr_assert_str_eq(run(&c), want);
		cr_assert_eq(c.session.rc, BOLE_OK);
	}
	scene_close(&c);
}

Test(receive_pack, a_node_that_takes_no_pushes_says_so)
{
	struct scene c;

	scene_open(&c);
	c.f.policy.receive_enable = false;
	cr_assert_str_eq(run(&c), "ERR receive-pack: this node is read-only\n");
	cr_assert_eq(c.session.rc, BOLE_E_DENIED);
	scene_close(&c);
}

Test(receive_pack, references_are_created_moved_and_deleted)
{
	struct scene c;
	struct bole_oid now;

	scene_open(&c);
	command(&c, NULL, &c.tips[2], "refs/heads/new", CAPS);
	command(&c, &c.side, &c.tips[0], "refs/heads/side", NULL);
	cr_assert_str_eq(push(&c), "[1] 000eunpack ok\n0016ok refs/heads/new\n"
	                           "0017ok refs/heads/side\n0000\n0000\n");
	cr_assert_eq(c.session.rc, BOLE_OK);
	cr_assert(git_has_ref(&c.f, &c.f.repo, "refs/heads/new", &now));
	cr_assert(bole_oid_equal(&now, &c.tips[2]));
	cr_assert(git_has_ref(&c.f, &c.f.repo, "refs/heads/side", &now));
	cr_assert(bole_oid_equal(&now, &c.tips[0]));
	/* A push that only deletes has no pack. */
	command(&c, &c.tips[2], NULL, "refs/heads/new", CAPS);
	pkt_special(&c.request, "0000");
	cr_assert_str_eq(run(&c), "[1] 000eunpack ok\n0016ok refs/heads/new\n0000\n0000\n");
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/new", NULL));
	scene_close(&c);
}

Test(receive_pack, the_report_is_bare_without_a_side_band)
{
	struct scene c;

	scene_open(&c);
	command(&c, NULL, &c.tips[2], "refs/heads/new", "report-status");
	cr_assert_str_eq(push(&c), "unpack ok\nok refs/heads/new\n0000\n");
	scene_close(&c);
}

Test(receive_pack, a_pushed_tag_is_stored_with_what_it_peels_to)
{
	struct scene c;
	char text[400];

	scene_open(&c);
	int len = snprintf(text, sizeof text,
	                   "object %s\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nx\n",
	                   hex_of(&c.tips[3]));
	struct pack_part part = {.type = BOLE_OBJECT_TAG, .data = text, .len = (size_t)len};
	struct bole_oid tag = git_write(&c.f, &c.f.other, BOLE_OBJECT_TAG, text, (size_t)len);
	command(&c, NULL, &tag, "refs/tags/v1", CAPS);
	pkt_special(&c.request, "0000");
	pack_build(&c.f, &c.request, &part, 1);
	cr_assert_not_null(strstr(run(&c), "ok refs/tags/v1\n"));
	struct bole_snapshot *snapshot;
	struct bole_ref ref;
	cr_assert_eq(bole_snapshot_open(c.f.store, c.f.repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(bole_ref_get(snapshot, bole_bytes_z("refs/tags/v1"), &ref), BOLE_OK);
	cr_assert(ref.has_peeled);
	cr_assert(bole_oid_equal(&ref.peeled, &c.tips[3]));
	bole_snapshot_close(snapshot);
	scene_close(&c);
}

Test(receive_pack, each_refusal_names_its_reason_and_moves_nothing)
{
	static const char *const bad_names[] = {
	        "HEAD",
	        "refs/x",
	        "refs/heads/a..b",
	        "refs/heads/a.lock",
	        "refs/heads/.a",
	        "refs/heads/a b",
	        "refs/heads/a~",
	        "refs/heads/a^",
	        "refs/heads/a:",
	        "refs/heads/a?",
	        "refs/heads/a*",
	        "refs/heads/a[",
	        "refs/heads/a\\",
	        "refs/heads/\x7f",
	        "refs/heads/\x01",
	        "refs/heads//a",
	        "refs/heads/",
	        "refs/heads/a@{1}",
	        "foo/heads/a",
	        "/refs/heads/a",
	        "refs/../x/y",
	        "refs/heads/a.",
	        "@",
	        "heads/main",
	};
	struct scene c;
	char want[200];

	scene_open(&c);
	for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
		command(&c, NULL, &c.tips[0], bad_names[i], "report-status");
		snprintf(want, sizeof want, "unpack ok\nng %s funny refname\n0000\n", bad_names[i]);
		cr_assert_str_eq(push(&c), want);
		cr_assert_not(git_has_ref(&c.f, &c.f.repo, bad_names[i], NULL) && i > 0);
	}
	char name[BOLE_REF_NAME_MAX + 10] = "refs/heads/";
	memset(name + 11, 'a', BOLE_REF_NAME_MAX - 11);
	command(&c, NULL, &c.tips[0], name, "report-status");
	cr_assert_not_null(strstr(push(&c), "\nok refs/heads/aaa"));
	name[BOLE_REF_NAME_MAX] = 'a';
	command(&c, NULL, &c.tips[0], name, "report-status");
	cr_assert_not_null(strstr(push(&c), "a funny refname\n"));
	scene_close(&c);
}

Test(receive_pack, values_and_types_are_checked_before_anything_moves)
{
	struct scene c;
	struct bole_oid tree;
	const char *text;

	scene_open(&c);
	struct bole_oid blob = git_write(&c.f, &c.f.repo, BOLE_OBJECT_BLOB, "x", 1);
	tree = git_write(&c.f, &c.f.repo, BOLE_OBJECT_TREE, "", 0);
	struct bole_oid unknown = c.tips[0];
	unknown.bytes[3] ^= 1;
	command(&c, &c.tips[3], &c.tips[0], "refs/heads/main", "report-status");
	command(&c, NULL, &c.tips[0], "refs/heads/side", NULL);
	command(&c, &c.tips[0], &c.tips[1], "refs/heads/absent", NULL);
	command(&c, NULL, &unknown, "refs/heads/unknown", NULL);
	command(&c, NULL, &blob, "refs/heads/blob", NULL);
	command(&c, NULL, &tree, "refs/heads/tree", NULL);
	command(&c, NULL, &tree, "refs/tags/tree", NULL);
	command(&c, NULL, &c.tips[0], "refs/heads/twice", NULL);
	command(&c, NULL, &c.tips[1], "refs/heads/twice", NULL);
	command(&c, &c.tips[0], NULL, "refs/heads/gone", NULL);
	command(&c, NULL, &c.tips[0], "refs/heads/good", NULL);
	text = push(&c);
	cr_assert_str_eq(text,
	                 "unpack ok\n"
	                 "ng refs/heads/main reference has changed; fetch first\n"
	                 "ng refs/heads/side reference already exists\n"
	                 "ng refs/heads/absent reference does not exist\n"
	                 "ng refs/heads/unknown missing necessary objects\n"
	                 "ng refs/heads/blob a branch must point to a commit\n"
	                 "ng refs/heads/tree a branch must point to a commit\n"
	                 "ok refs/tags/tree\n"
	                 "ng refs/heads/twice multiple updates for one reference not allowed\n"
	                 "ng refs/heads/twice multiple updates for one reference not allowed\n"
	                 "ng refs/heads/gone reference does not exist\n"
	                 "ok refs/heads/good\n0000\n");
	cr_assert(git_has_ref(&c.f, &c.f.repo, "refs/heads/good", NULL));
	cr_assert(git_has_ref(&c.f, &c.f.repo, "refs/tags/tree", NULL));
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/twice", NULL));
	scene_close(&c);
}

Test(receive_pack, policy_refuses_rewinds_and_deletions_where_configured)
{
	struct scene c;

	scene_open(&c);
	c.f.policy.deny_non_fast_forward = true;
	command(&c, &c.tips[4], &c.side, "refs/heads/main", "report-status");
	command(&c, &c.side, &c.tips[4], "refs/heads/side", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\nng refs/heads/main non-fast-forward\n"
	                           "ng refs/heads/side non-fast-forward\n0000\n");
	/* Forward is forward, through a merge and whatever the clocks say. */
	const struct bole_oid *parents[] = {&c.side, &c.tips[4], NULL};
	struct bole_oid merge = git_commit(&c.f, &c.f.repo, "merge", 5, parents);
	command(&c, &c.tips[4], &merge, "refs/heads/main", "report-status");
	command(&c, &c.side, &merge, "refs/heads/side", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\nok refs/heads/main\nok refs/heads/side\n0000\n");
	command(&c, &merge, NULL, "refs/heads/main", "report-status");
	pkt_special(&c.request, "0000");
	cr_assert_str_eq(run(&c), "unpack ok\nng refs/heads/main deletion of the current branch "
	                          "prohibited\n0000\n");
	c.f.policy.deny_delete = true;
	command(&c, &merge, NULL, "refs/heads/side", "report-status");
	pkt_special(&c.request, "0000");
	cr_assert_str_eq(run(&c), "unpack ok\nng refs/heads/side deletion prohibited\n0000\n");
	/* Without the policy a rewind is allowed. */
	c.f.policy.deny_non_fast_forward = false;
	command(&c, &merge, &c.tips[0], "refs/heads/main", "report-status");
	cr_assert_str_eq(push(&c), "unpack ok\nok refs/heads/main\n0000\n");
	scene_close(&c);
}

Test(receive_pack, an_atomic_push_moves_all_or_nothing)
{
	struct scene c;

	scene_open(&c);
	command(&c, NULL, &c.tips[0], "refs/heads/a", "report-status atomic");
	command(&c, NULL, &c.tips[0], "refs/heads/side", NULL);
	command(&c, NULL, &c.tips[0], "refs/heads/b", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\nng refs/heads/a atomic push failure\n"
	                           "ng refs/heads/side reference already exists\n"
	                           "ng refs/heads/b atomic push failure\n0000\n");
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/a", NULL));
	/* A clash that only the commit sees. */
	command(&c, NULL, &c.tips[0], "refs/heads/a", "report-status atomic");
	command(&c, NULL, &c.tips[0], "refs/heads/a/b", NULL);
	const char *text = push(&c);
	cr_assert_not_null(strstr(text, "atomic push failure"), "%s", text);
	cr_assert_not_null(strstr(text, "name conflicts with another reference"), "%s", text);
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/a", NULL));
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/a/b", NULL));
	command(&c, NULL, &c.tips[0], "refs/heads/a", "report-status atomic");
	command(&c, NULL, &c.tips[1], "refs/heads/b", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\nok refs/heads/a\nok refs/heads/b\n0000\n");
	scene_close(&c);
}

Test(receive_pack, a_push_that_is_not_atomic_commits_what_it_can)
{
	struct scene c;

	scene_open(&c);
	command(&c, NULL, &c.tips[0], "refs/heads/side/deep", "report-status");
	command(&c, NULL, &c.tips[0], "refs/heads/fine", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\nng refs/heads/side/deep name conflicts with another "
	                           "reference (directory/file)\nok refs/heads/fine\n0000\n");
	cr_assert(git_has_ref(&c.f, &c.f.repo, "refs/heads/fine", NULL));
	scene_close(&c);
}

Test(receive_pack, a_broken_pack_fails_the_push_and_publishes_nothing)
{
	struct scene c;
	struct bole_buffer pack;

	scene_open(&c);
	bole_buffer_init(&pack, &c.f.test.alloc, 1 << 20);
	struct pack_part part = {.type = BOLE_OBJECT_BLOB, .data = "hello", .len = 5};
	struct bole_oid blob = git_write(&c.f, &c.f.other, BOLE_OBJECT_BLOB, "hello", 5);
	pack_build(&c.f, &pack, &part, 1);
	for (size_t i = 0; i < pack.len; i++) {
		/* A flipped bit, then a cut, at every place. */
		for (int cut = 0; cut <= 1; cut++) {
			command(&c, NULL, &blob, "refs/tags/blob", CAPS);
			pkt_special(&c.request, "0000");
			bole_buffer_append(&c.request, pack.ptr, cut ? i : pack.len);
			if (!cut)
				c.request.ptr[c.request.len - pack.len + i] ^= 0x10;
			const char *text = run(&c);
			cr_assert_not_null(strstr(text, "unpack "), "%s", text);
			cr_assert_null(strstr(text, "unpack ok"), "%s", text);
			cr_assert_not_null(strstr(text, "ng refs/tags/blob unpacker error"), "%s",
			                   text);
			cr_assert_lt(c.session.rc, 0);
			cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/tags/blob", NULL));
			cr_assert_not(git_has_object(&c.f, &c.f.repo, &blob));
		}
	}
	bole_buffer_release(&pack);
	scene_close(&c);
}

Test(receive_pack, malformed_requests_are_refused_by_name)
{
	static const struct {
		const char *request;
		const char *answer;
	} cases[] = {
	        {"", ""},
	        {"0000", ""},
	        {"0009hello0000", "ERR receive-pack: expected old, new and name, got 'hello'\n"},
	        {"000dpush-cert0000", "ERR receive-pack: signed pushes are not accepted here\n"},
	        {"000cshallow 0000", "ERR receive-pack: 'shallow' is not followed by an id\n"},
	        {"0001", "ERR protocol error: unexpected special packet\n"},
	        {"0003", "ERR protocol error: a packet length is out of range\n"},
	        {"qqqq", "ERR protocol error: a packet length is not four hex digits\n"},
	};
	struct scene c;

	scene_open(&c);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bole_buffer_text(&c.request, cases[i].request);
		const char *text = run(&c);
		cr_assert_str_eq(text, cases[i].answer, "case %zu: %s", i, text);
		cr_assert_eq(c.session.rc == BOLE_OK, cases[i].answer[0] == '\0');
	}
	c.f.policy.push.no_options = true;
	command(&c, NULL, &c.tips[0], "refs/heads/a", "push-options report-status");
	cr_assert_str_eq(push(&c), "ERR receive-pack: push options are not accepted here\n");
	/* A client that listens to the side-band gets the refusal there. */
	command(&c, NULL, &c.tips[0], "refs/heads/a", "side-band-64k push-options");
	cr_assert_str_eq(push(&c), "[3] receive-pack: push options are not accepted here\n");
	command(&c, NULL, &c.tips[0], "refs/heads/a", "object-format=sha256");
	cr_assert_not_null(
	        strstr(push(&c), "ERR receive-pack: this repository's object format is sha1"));
	command(&c, NULL, &c.tips[0], "refs/heads/a", "report-status");
	command(&c, NULL, &c.tips[0], "refs/heads/b", "report-status");
	cr_assert_str_eq(push(&c), "ERR receive-pack: capabilities after the first command\n");
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/a", NULL));
	/* Commands without their flush: the client is gone. */
	command(&c, NULL, &c.tips[0], "refs/heads/a", "report-status");
	cr_assert_str_eq(run(&c), "");
	cr_assert_eq(c.session.rc, BOLE_E_CLOSED);
	scene_close(&c);
}

Test(receive_pack, an_atomic_push_has_ten_thousand_updates_and_others_more)
{
	struct scene c;
	char name[64];

	scene_open(&c);
	for (unsigned round = 0; round < 4; round++) {
		bool atomic = round < 2;
		unsigned count =
		        BOLE_REF_UPDATES_MAX + (round == 1 ? 1u : 0u) + (round == 2 ? 100u : 0u);

		if (round == 3)
			count = 2 * BOLE_REF_UPDATES_MAX;
		for (unsigned i = 0; i < count; i++) {
			snprintf(name, sizeof name, "refs/many/%u-%u", round, i);
			command(&c, NULL, &c.tips[0], name,
			        i > 0    ? NULL
			        : atomic ? CAPS " atomic"
			                 : CAPS);
		}
		const char *text = push(&c);
		for (unsigned i = 0; i < count; i += 777) {
			snprintf(name, sizeof name, "refs/many/%u-%u", round, i);
			cr_assert_eq(git_has_ref(&c.f, &c.f.repo, name, NULL), round != 1);
		}
		cr_assert_eq(strncmp(text, "[3] receive-pack: more than 10000", 33) == 0,
		             round == 1);
		cr_assert_eq(strstr(text, "ng ") != NULL, false);
	}
	scene_close(&c);
}

Test(receive_pack, conflicts_without_end_stop_after_a_few_rounds)
{
	struct scene c;
	char name[64];

	scene_open(&c);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "refs/heads/side/%u", i);
		command(&c, NULL, &c.tips[0], name, i == 0 ? "report-status" : NULL);
	}
	const char *text = push(&c);
	cr_assert_not_null(strstr(text, "name conflicts with another reference"));
	cr_assert_not_null(strstr(text, "too many conflicts in one push"));
	cr_assert_null(strstr(text, "\nok "));
	scene_close(&c);
}

Test(receive_pack, a_client_that_hangs_up_before_the_commit_changes_nothing)
{
	struct scene c;

	scene_open(&c);
	for (size_t after = 1; after <= 2; after++) {
		command(&c, NULL, &c.tips[0], "refs/heads/a", CAPS);
		c.session.cancel_after = after;
		push(&c);
		if (c.session.rc == BOLE_E_CLOSED)
			cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/a", NULL));
		cr_assert(after > 1 || c.session.rc == BOLE_E_CLOSED);
	}
	scene_close(&c);
}

Test(receive_pack, every_failed_allocation_leaves_the_references_as_reported)
{
	struct scene c;
	bool done = false;

	scene_open(&c);
	c.f.policy.deny_non_fast_forward = true;
	struct pack_part part = {.type = BOLE_OBJECT_BLOB, .data = "hello", .len = 5};
	for (uint64_t n = 1; !done; n++) {
		char name[40];
		snprintf(name, sizeof name, "refs/heads/n%u", (unsigned)n);
		git_set_ref(&c.f, &c.f.repo, "refs/heads/moves", &c.tips[2], NULL);
		command(&c, NULL, &c.tips[0], name, "report-status");
		command(&c, &c.tips[2], &c.tips[3], "refs/heads/moves", NULL);
		pkt_special(&c.request, "0000");
		pack_build(&c.f, &c.request, &part, 1);
		c.session = (struct git_session){.fixture = &c.f, .kind = RECEIVE_PACK};
		c.f.test.fail_at = c.f.test.grows + n;
		git_session_run(&c.session, bole_bytes_of(c.request.ptr, c.request.len));
		done = c.f.test.fail_at > c.f.test.grows;
		c.f.test.fail_at = 0;
		c.request.len = c.text.len = 0;
		git_transcript(&c.session, &c.text);
		git_session_end(&c.session);
		char ok[50];
		snprintf(ok, sizeof ok, "ok %s\n", name);
		bool reported = strstr((const char *)c.text.ptr, ok) != NULL;
		cr_assert_eq(reported, git_has_ref(&c.f, &c.f.repo, name, NULL), "n = %u: %s",
		             (unsigned)n, (const char *)c.text.ptr);
		cr_assert(!done || reported);
		cr_assert_lt(n, 5000);
	}
	scene_close(&c);
}
