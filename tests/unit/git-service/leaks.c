/* SPDX-License-Identifier: ISC */
/* Goal: a client of one repository that knows ids of another one on the same volume can neither
 * obtain the objects nor learn that they exist. Method: each trick is tried with an id of the other
 * repository and with an id of nothing; the answers must be the same, byte for byte, but for the id
 * itself. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "support/git_fixture.h"

struct scene {
	struct git_fixture f;
	struct bole_oid mine[3];
	struct bole_oid secret_blob;
	struct bole_oid secret[3]; /* commits of the other repository */
	struct bole_oid null;
	struct bole_buffer request;
};

static void scene_open(struct scene *c)
{
	memset(c, 0, sizeof *c);
	git_fixture_open(&c->f, test_algo());
	git_history(&c->f, &c->f.repo, "refs/heads/main", 3, c->mine);
	git_history(&c->f, &c->f.other, "refs/heads/secret", 3, c->secret);
	c->secret_blob = git_write(&c->f, &c->f.other, BOLE_OBJECT_BLOB, "the secret text", 15);
	c->null.algo = test_algo();
	bole_buffer_init(&c->request, &c->f.test.alloc, 1 << 20);
}

static void scene_close(struct scene *c)
{
	bole_buffer_release(&c->request);
	git_fixture_close(&c->f);
}

/* The answer with every id made alike: refusals may name objects of the client's own, which differ
 * because they name different ids themselves. The caller frees it. */
static char *answer(struct scene *c, enum git_service_kind kind, int version)
{
	struct git_session s = {
	        .fixture = &c->f, .kind = kind, .version = version, .stateless = true};
	struct bole_buffer text;

	git_session_run(&s, bole_bytes_of(c->request.ptr, c->request.len));
	c->request.len = 0;
	bole_buffer_init(&text, &c->f.test.alloc, 1 << 20);
	git_transcript(&s, &text);
	git_session_end(&s);
	char *copy = strdup((const char *)text.ptr);
	for (char *at = copy; *at != '\0'; at++) {
		size_t len = strspn(at, "0123456789abcdef");

		if (len < 40)
			continue;
		memset(at, '#', 40);
		memmove(at + 40, at + len, strlen(at + len) + 1);
		at += 39;
	}
	bole_buffer_release(&text);
	return copy;
}

typedef void trick_fn(struct scene *, const struct bole_oid *id, const struct bole_oid *base);

static void want_v2(struct scene *c, const struct bole_oid *id, const struct bole_oid *base)
{
	(void)base;
	pkt_add(&c->request, "command=fetch");
	pkt_special(&c->request, "0001");
	pkt_add(&c->request, "want %s\n", hex_of(id));
	pkt_add(&c->request, "done");
	pkt_special(&c->request, "0000");
}

static void want_beside_a_good_one_v0(struct scene *c, const struct bole_oid *id,
                                      const struct bole_oid *base)
{
	(void)base;
	pkt_add(&c->request, "want %s side-band-64k multi_ack_detailed\n", hex_of(&c->mine[2]));
	pkt_add(&c->request, "want %s\n", hex_of(id));
	pkt_special(&c->request, "0000");
	pkt_add(&c->request, "done");
}

static void have_v2(struct scene *c, const struct bole_oid *id, const struct bole_oid *base)
{
	(void)base;
	pkt_add(&c->request, "command=fetch");
	pkt_special(&c->request, "0001");
	pkt_add(&c->request, "want %s\n", hex_of(&c->mine[2]));
	pkt_add(&c->request, "have %s\n", hex_of(id));
	pkt_special(&c->request, "0000");
}

static void have_v0(struct scene *c, const struct bole_oid *id, const struct bole_oid *base)
{
	(void)base;
	pkt_add(&c->request, "want %s multi_ack_detailed\n", hex_of(&c->mine[2]));
	pkt_special(&c->request, "0000");
	pkt_add(&c->request, "have %s\n", hex_of(id));
	pkt_add(&c->request, "have %s\n", hex_of(&c->mine[0]));
	pkt_add(&c->request, "have %s\n", hex_of(id));
	pkt_special(&c->request, "0000");
}

static void empty_pack(struct scene *c, const struct bole_oid *id, const struct bole_oid *base)
{
	(void)base;
	pkt_command(&c->request, &c->null, id, "refs/heads/stolen", "report-status");
	pkt_special(&c->request, "0000");
	pack_build(&c->f, &c->request, NULL, 0);
}

static void tag_of_it(struct scene *c, const struct bole_oid *id, const struct bole_oid *base)
{
	char text[300];
	(void)base;
	int len = snprintf(text, sizeof text,
	                   "object %s\ntype commit\ntag t\ntagger A <a@b> 1 +0000\n\nx\n",
	                   hex_of(id));
	struct pack_part part = {.type = BOLE_OBJECT_TAG, .data = text, .len = (size_t)len};
	pkt_command(&c->request, &c->null, &c->mine[0], "refs/heads/ok", "report-status");
	pkt_special(&c->request, "0000");
	pack_build(&c->f, &c->request, &part, 1);
}

static void commit_on_top(struct scene *c, const struct bole_oid *id, const struct bole_oid *base)
{
	char text[400];
	(void)base;
	struct bole_oid tree = git_write(&c->f, &c->f.repo, BOLE_OBJECT_TREE, "", 0);
	int len = snprintf(text, sizeof text,
	                   "tree %s\nparent %s\nauthor A <a@b> 1 +0000\n"
	                   "committer A <a@b> 1 +0000\n\nx\n",
	                   hex_of(&tree), hex_of(id));
	struct pack_part part = {.type = BOLE_OBJECT_COMMIT, .data = text, .len = (size_t)len};
	pkt_command(&c->request, &c->null, &c->mine[0], "refs/heads/ok", "report-status");
	pkt_special(&c->request, "0000");
	pack_build(&c->f, &c->request, &part, 1);
}

static void tree_with_it(struct scene *c, const struct bole_oid *id, const struct bole_oid *base)
{
	uint8_t tree[40] = "100644 file";
	(void)id;
	memcpy(tree + 12, base->bytes, 20);
	struct pack_part part = {.type = BOLE_OBJECT_TREE, .data = tree, .len = 32};
	pkt_command(&c->request, &c->null, &c->mine[0], "refs/heads/ok", "report-status");
	pkt_special(&c->request, "0000");
	pack_build(&c->f, &c->request, &part, 1);
}

static void delta_of_it(struct scene *c, const struct bole_oid *id, const struct bole_oid *base)
{
	/* Base of 15 bytes, result of 15: copy all of it. */
	static const uint8_t delta[] = {15, 15, 0x90, 15};
	(void)id;
	struct pack_part part = {.type = 7, .data = delta, .len = sizeof delta, .base = *base};
	pkt_command(&c->request, &c->null, &c->mine[0], "refs/heads/ok", "report-status");
	pkt_special(&c->request, "0000");
	pack_build(&c->f, &c->request, &part, 1);
}

Test(leaks, foreign_ids_are_answered_like_ids_of_nothing)
{
	static const struct {
		const char *name;
		enum git_service_kind kind;
		int version;
		trick_fn *trick;
		const char *needle; /* of the refusal; NULL: it is no refusal */
	} tricks[] = {
	        {"want, version 2", UPLOAD_PACK, 2, want_v2, "ERR upload-pack: not our ref"},
	        {"want, version 0", UPLOAD_PACK, 0, want_beside_a_good_one_v0, "not our ref"},
	        {"have, version 2", UPLOAD_PACK, 2, have_v2, "NAK"},
	        {"have, version 0", UPLOAD_PACK, 0, have_v0, NULL},
	        {"empty pack", RECEIVE_PACK, 0, empty_pack, "missing necessary objects"},
	        {"tag", RECEIVE_PACK, 0, tag_of_it, "unpacker error"},
	        {"commit", RECEIVE_PACK, 0, commit_on_top, "unpacker error"},
	        {"tree", RECEIVE_PACK, 0, tree_with_it, "unpacker error"},
	        {"delta base", RECEIVE_PACK, 0, delta_of_it, "unpacker error"},
	};
	struct scene c;

	scene_open(&c);
	struct bole_oid nothing = c.secret[2];
	struct bole_oid no_blob = c.secret_blob;
	nothing.bytes[7] ^= 0x55;
	no_blob.bytes[7] ^= 0x55;
	for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++) {
		tricks[i].trick(&c, &c.secret[2], &c.secret_blob);
		char *foreign = answer(&c, tricks[i].kind, tricks[i].version);
		tricks[i].trick(&c, &nothing, &no_blob);
		char *none = answer(&c, tricks[i].kind, tricks[i].version);
		cr_assert_str_eq(foreign, none, "%s: %s -- %s", tricks[i].name, foreign, none);
		if (tricks[i].needle != NULL)
			cr_assert_not_null(strstr(foreign, tricks[i].needle), "%s: %s",
			                   tricks[i].name, foreign);
		cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/stolen", NULL));
		cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/ok", NULL));
		cr_assert_not(git_has_object(&c.f, &c.f.repo, &c.secret[2]));
		cr_assert_not(git_has_object(&c.f, &c.f.repo, &c.secret_blob));
		free(foreign);
		free(none);
	}
	scene_close(&c);
}

Test(leaks, what_a_moved_tip_still_reaches_may_be_wanted_without_state_only)
{
	struct scene c;

	scene_open(&c);
	want_v2(&c, &c.mine[1], NULL);
	char *text = answer(&c, UPLOAD_PACK, 2);
	cr_assert_eq(strncmp(text, "packfile\n", 9), 0, "%s", text);
	free(text);
	/* Version 0 over a connection: the list was read a moment ago from the same snapshot. */
	pkt_add(&c.request, "want %s\n", hex_of(&c.mine[1]));
	pkt_special(&c.request, "0000");
	struct git_session s = {.fixture = &c.f, .kind = UPLOAD_PACK};
	git_session_run(&s, bole_bytes_of(c.request.ptr, c.request.len));
	cr_assert_eq(s.rc, BOLE_E_DENIED);
	git_session_end(&s);
	c.request.len = 0;
	/* A rewound branch: what was dropped cannot be wanted any more. */
	git_set_ref(&c.f, &c.f.repo, "refs/heads/main", &c.mine[0], NULL);
	want_v2(&c, &c.mine[1], NULL);
	text = answer(&c, UPLOAD_PACK, 2);
	cr_assert_eq(strncmp(text, "ERR upload-pack: not our ref", 28), 0, "%s", text);
	free(text);
	scene_close(&c);
}

Test(leaks, unreferenced_objects_of_the_own_repository_cannot_be_wanted)
{
	struct scene c;

	scene_open(&c);
	/* A commit that nothing names, and an ancestor of a tip by its tree's id. */
	struct bole_oid lost = git_commit(&c.f, &c.f.repo, "lost", 9, NULL);
	struct bole_oid nothing = lost;
	nothing.bytes[0] ^= 1;
	want_v2(&c, &lost, NULL);
	char *here = answer(&c, UPLOAD_PACK, 2);
	want_v2(&c, &nothing, NULL);
	char *none = answer(&c, UPLOAD_PACK, 2);
	cr_assert_str_eq(here, none);
	cr_assert_str_eq(here, "ERR upload-pack: not our ref "
	                       "########################################\n");
	free(here);
	free(none);
	scene_close(&c);
}
