/* SPDX-License-Identifier: ISC */
/* What surrounds a push: options, shallow clones, certificates, hooks, rules. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "support/git_fixture.h"

#define CAPS "report-status side-band-64k object-format=sha1 agent=test/1"
#define V2   "report-status-v2 object-format=sha1 agent=test/1 session-id=abc"

enum { COMMIT_MAX = 400 };

struct scene {
	struct git_fixture f;
	struct bole_oid tips[5]; /* refs/heads/main */
	struct bole_oid null;
	struct bole_buffer request;
	struct bole_buffer text;
	struct git_session session;
	struct bole_hooks hooks;
	/* What hooks saw. */
	unsigned pre, update, post, proc, verified;
	struct bole_push_cert cert;
	char options[100];
	const char *refuse; /* pre_receive with these words */
	const char *refuse_ref;
	bool saw_new;
	char nonce[100];
};

static void scene_open(struct scene *c)
{
	memset(c, 0, sizeof *c);
	git_fixture_open(&c->f, test_algo());
	git_history(&c->f, &c->f.repo, "refs/heads/main", 5, c->tips);
	c->null.algo = test_algo();
	c->f.test.wall = 1700000000;
	bole_buffer_init(&c->request, &c->f.test.alloc, 64 << 20);
	bole_buffer_init(&c->text, &c->f.test.alloc, 64 << 20);
	c->session.stateless = true;
	c->hooks.ctx = c;
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
	git_session_run(&c->session, bole_bytes_of(c->request.ptr, c->request.len));
	c->text.len = c->request.len = 0;
	git_transcript(&c->session, &c->text);
	git_session_end(&c->session);
	return (const char *)c->text.ptr;
}

static const char *push(struct scene *c)
{
	pkt_special(&c->request, "0000");
	pack_build(&c->f, &c->request, NULL, 0);
	return run(c);
}

/* A commit of the empty tree that is in no store. */
static struct bole_oid commit_part(struct scene *c, const struct bole_oid *parent, char *text,
                                   struct pack_part *part)
{
	struct bole_oid tree = git_write(&c->f, &c->f.repo, BOLE_OBJECT_TREE, "", 0);
	struct bole_oid oid;
	int len = snprintf(text, COMMIT_MAX,
	                   "tree %s\nparent %s\nauthor N <n@x> 1700000000 +0000\n"
	                   "committer N <n@x> 1700000000 +0000\n\nnew\n",
	                   hex_of(&tree), hex_of(parent));

	*part = (struct pack_part){.type = BOLE_OBJECT_COMMIT, .data = text, .len = (size_t)len};
	cr_assert_eq(bole_object_id(test_algo(), BOLE_OBJECT_COMMIT,
	                            bole_bytes_of(text, (size_t)len), false, &oid),
	             BOLE_OK);
	return oid;
}

Test(push, the_second_report_version_says_the_same_of_plain_references)
{
	struct scene c;

	scene_open(&c);
	command(&c, NULL, &c.tips[0], "refs/heads/a", V2);
	command(&c, NULL, &c.tips[0], "refs/heads/main", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\nok refs/heads/a\n"
	                           "ng refs/heads/main reference already exists\n0000\n");
	scene_close(&c);
}

Test(push, hidden_references_are_neither_shown_nor_changed)
{
	static const char *const hide[] = {"refs/heads/secret"};
	struct scene c;

	scene_open(&c);
	c.f.policy.fetch.refs = (struct bole_ref_view){.hide = hide, .hide_count = 1};
	command(&c, NULL, &c.tips[0], "refs/heads/secret/a", V2);
	command(&c, &c.tips[0], NULL, "refs/heads/secret/b", NULL);
	command(&c, NULL, &c.tips[0], "refs/heads/open", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\nng refs/heads/secret/a deny updating a hidden ref\n"
	                           "ng refs/heads/secret/b deny updating a hidden ref\n"
	                           "ok refs/heads/open\n0000\n");
	c.f.policy.fetch.refs.hide_count = 0;
	command(&c, NULL, &c.tips[1], "refs/heads/secret/a", V2);
	cr_assert_str_eq(push(&c), "unpack ok\nok refs/heads/secret/a\n0000\n");

	c.f.policy.fetch.refs.hide_count = 1;
	c.session.advertise = true;
	const char *shown = run(&c);
	cr_assert_not_null(strstr(shown, "refs/heads/open"));
	cr_assert_null(strstr(shown, "secret"));
	scene_close(&c);
}

static bool holds(struct scene *c, const char *name, const struct bole_oid *oid)
{
	struct bole_oid found;

	return git_has_ref(&c->f, &c->f.repo, name, &found) && bole_oid_equal(&found, oid);
}

static void set_head(struct scene *c, const char *name, const char *target)
{
	struct bole_ref_update update = {.name = bole_bytes_z(name),
	                                 .action = BOLE_REF_SYMBOLIC,
	                                 .target = bole_bytes_z(target)};
	struct bole_tx *tx;
	size_t failed;

	cr_assert_eq(bole_tx_begin(c->f.store, c->f.repo.id, &tx), BOLE_OK);
	cr_assert_eq(bole_tx_commit(tx, &update, 1, &failed), BOLE_OK);
}

Test(push, a_namespace_is_changed_and_nothing_beside_it)
{
	static const char space[] = "refs/namespaces/a/";
	static const char *const hide[] = {"refs/heads/no", "^refs/namespaces/a/refs/tags"};
	char long_name[BOLE_REF_NAME_MAX + 1];
	struct bole_oid oid;
	struct scene c;

	scene_open(&c);
	git_set_ref(&c.f, &c.f.repo, "refs/namespaces/a/refs/heads/old", &c.tips[1], NULL);
	git_set_ref(&c.f, &c.f.repo, "refs/namespaces/a/refs/heads/kept", &c.tips[1], NULL);
	set_head(&c, "refs/namespaces/a/HEAD", "refs/namespaces/a/refs/heads/kept");
	c.f.policy.fetch.refs =
	        (struct bole_ref_view){.space = space, .hide = hide, .hide_count = 2};
	c.f.policy.deny_non_fast_forward = true;

	c.session.advertise = true;
	const char *shown = run(&c);
	cr_assert_not_null(strstr(shown, " refs/heads/kept"), "%s", shown);
	cr_assert_null(strstr(shown, "main"), "%s", shown);
	cr_assert_null(strstr(shown, "namespaces"), "%s", shown);
	cr_assert_not_null(strstr(shown, hex_of(&c.tips[4])), "%s", shown);
	cr_assert_not_null(strstr(shown, " .have\n0000"), "%s", shown);
	c.session.advertise = false;

	/* As long as a name may be, but not behind the namespace. */
	memset(long_name, 'x', sizeof long_name);
	memcpy(long_name, "refs/heads/", 11);
	long_name[BOLE_REF_NAME_MAX] = '\0';
	command(&c, NULL, &c.tips[0], "refs/heads/new", V2);
	command(&c, NULL, &c.tips[2], "refs/heads/main", NULL);
	command(&c, &c.tips[1], &c.tips[2], "refs/heads/kept", NULL);
	command(&c, &c.tips[1], NULL, "refs/heads/old", NULL);
	command(&c, NULL, &c.tips[0], "refs/heads/no", NULL);
	command(&c, NULL, &c.tips[0], "refs/tags/t", NULL);
	command(&c, NULL, &c.tips[0], long_name, NULL);
	const char *text = push(&c);
	static const char expected[] = "unpack ok\nok refs/heads/new\nok refs/heads/main\n"
	                               "ok refs/heads/kept\nok refs/heads/old\n"
	                               "ng refs/heads/no deny updating a hidden ref\n"
	                               "ng refs/tags/t deny updating a hidden ref\n"
	                               "ng refs/heads/xxx";
	cr_assert_eq(strncmp(text, expected, sizeof expected - 1), 0, "%s", text);
	cr_assert_not_null(strstr(text, "xxx funny refname\n0000\n"), "%s", text);
	cr_assert(holds(&c, "refs/namespaces/a/refs/heads/new", &c.tips[0]));
	cr_assert(holds(&c, "refs/namespaces/a/refs/heads/main", &c.tips[2]));
	cr_assert(holds(&c, "refs/namespaces/a/refs/heads/kept", &c.tips[2]));
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/namespaces/a/refs/heads/old", &oid));
	cr_assert(holds(&c, "refs/heads/main", &c.tips[4]));
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/new", &oid));

	/* Compared and judged inside, too; its HEAD counts. */
	command(&c, &c.tips[4], &c.tips[1], "refs/heads/main", V2);
	command(&c, &c.tips[2], &c.tips[1], "refs/heads/kept", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\n"
	                           "ng refs/heads/main reference has changed; fetch first\n"
	                           "ng refs/heads/kept non-fast-forward\n0000\n");
	command(&c, &c.tips[2], NULL, "refs/heads/kept", V2 " atomic");
	command(&c, NULL, &c.tips[1], "refs/heads/also", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\n"
	                           "ng refs/heads/kept deletion of the current branch prohibited\n"
	                           "ng refs/heads/also atomic push failure\n0000\n");
	command(&c, NULL, &c.tips[0], "refs/heads/main/x", V2 " atomic");
	command(&c, NULL, &c.tips[0], "refs/heads/also", NULL);
	cr_assert_str_eq(push(&c), "unpack ok\nng refs/heads/main/x name conflicts with another "
	                           "reference (directory/file)\n"
	                           "ng refs/heads/also atomic push failure\n0000\n");
	scene_close(&c);
}

Test(push, an_atomic_push_changes_everything_or_nothing)
{
	struct scene c;

	scene_open(&c);
	for (int bad = 0; bad <= 1; bad++) {
		command(&c, NULL, &c.tips[0], "refs/heads/a", V2 " atomic");
		command(&c, bad ? &c.tips[1] : &c.tips[4], &c.tips[3], "refs/heads/main", NULL);
		const char *text = push(&c);
		cr_assert_eq(strstr(text, "ng refs/heads/a atomic push failure") != NULL, bad == 1,
		             "%s", text);
		cr_assert_eq(git_has_ref(&c.f, &c.f.repo, "refs/heads/a", NULL), bad == 0);
		git_set_ref(&c.f, &c.f.repo, "refs/heads/a", NULL, NULL);
		git_set_ref(&c.f, &c.f.repo, "refs/heads/main", &c.tips[4], NULL);
	}
	/* A clash of names shows only at the commit. */
	command(&c, NULL, &c.tips[0], "refs/heads/b", V2 " atomic");
	command(&c, NULL, &c.tips[0], "refs/heads/main/x", NULL);
	const char *text = push(&c);
	cr_assert_not_null(strstr(text, "ng refs/heads/main/x name conflicts"), "%s", text);
	cr_assert_not_null(strstr(text, "ng refs/heads/b atomic push failure"), "%s", text);
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/b", NULL));
	scene_close(&c);
}

/* -- options -- */

static enum bole_status on_pre(void *ctx, struct bole_push_info *info, char *message)
{
	struct scene *c = ctx;
	struct bole_bytes data;
	uint8_t type;

	c->pre++;
	c->options[0] = '\0';
	for (size_t i = 0; i < info->option_count; i++) {
		size_t at = strlen(c->options);

		snprintf(c->options + at, sizeof c->options - at, "%.*s,",
		         (int)info->options[i].len, (const char *)info->options[i].ptr);
	}
	for (size_t i = 0; i < info->ref_count; i++) {
		if (bole_oid_is_null(&info->refs[i].new_oid))
			continue;
		c->saw_new = info->read(info, &info->refs[i].new_oid, &type, &data) == BOLE_OK &&
		             type == BOLE_OBJECT_COMMIT && data.len > 0;
		/* What is only pushed is not published. */
		cr_assert(c->refuse == NULL ||
		          !git_has_object(&c->f, &c->f.repo, &info->refs[i].new_oid));
	}
	if (info->cert != NULL)
		c->cert = *info->cert;
	info->say(info, "hello from the hook");
	if (c->refuse == NULL)
		return BOLE_OK;
	snprintf(message, BOLE_HOOK_MESSAGE_MAX, "%s", c->refuse);
	return BOLE_E_DENIED;
}

static enum bole_status on_update(void *ctx, struct bole_push_info *info, size_t ref, char *message)
{
	struct scene *c = ctx;

	c->update++;
	if (c->refuse_ref == NULL ||
	    !bole_bytes_equal(info->refs[ref].name, bole_bytes_z(c->refuse_ref)))
		return BOLE_OK;
	snprintf(message, BOLE_HOOK_MESSAGE_MAX, "%s", "not\nthis one");
	return BOLE_E_DENIED;
}

static struct bole_bytes stored_name(const struct bole_push_info *info, size_t i, char full[200])
{
	int len = snprintf(full, 200, "%.*s%.*s", (int)info->name_prefix.len,
	                   (const char *)info->name_prefix.ptr, (int)info->refs[i].name.len,
	                   (const char *)info->refs[i].name.ptr);

	return bole_bytes_of(full, (size_t)len);
}

static void on_post(void *ctx, struct bole_push_info *info)
{
	struct scene *c = ctx;
	char full[200];
	struct bole_ref now;

	c->post++;
	for (size_t i = 0; i < info->ref_count; i++) {
		if (info->refs[i].error != NULL || bole_oid_is_null(&info->refs[i].new_oid))
			continue;
		cr_assert_eq(bole_ref_get(info->view, stored_name(info, i, full), &now), BOLE_OK);
		cr_assert(bole_oid_equal(&now.oid, &info->refs[i].new_oid));
	}
}

static void with_hooks(struct scene *c)
{
	c->hooks.pre_receive = on_pre;
	c->hooks.update = on_update;
	c->hooks.post_receive = on_post;
	c->f.policy.push.hooks = &c->hooks;
}

Test(push, options_reach_the_hooks)
{
	struct scene c;

	scene_open(&c);
	with_hooks(&c);
	command(&c, NULL, &c.tips[0], "refs/heads/a", V2 " push-options");
	pkt_special(&c.request, "0000");
	pkt_add(&c.request, "ci.skip");
	pkt_add(&c.request, "topic=x y");
	cr_assert_str_eq(push(&c), "unpack ok\nok refs/heads/a\n0000\n");
	cr_assert_str_eq(c.options, "ci.skip,topic=x y,");
	cr_assert_eq(c.pre, 1);
	cr_assert_eq(c.update, 1);
	cr_assert_eq(c.post, 1);
	/* Too many, too long, a NUL in one. */
	for (int kind = 0; kind < 3; kind++) {
		command(&c, NULL, &c.tips[0], "refs/heads/b", V2 " push-options");
		pkt_special(&c.request, "0000");
		for (int i = 0; i < (kind == 0 ? 1001 : kind == 1 ? 70 : 0); i++)
			pkt_add(&c.request, "%0*d", kind == 0 ? 4 : 1000, i);
		if (kind == 2)
			bole_buffer_append(&c.request, "0007a\0b", 7);
		const char *text = push(&c);
		cr_assert_not_null(strstr(text, "ERR receive-pack: "), "%s", text);
		cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/b", NULL));
	}
	scene_close(&c);
}

Test(push, hooks_see_what_is_not_published_and_may_refuse_it)
{
	struct pack_part part;
	struct scene c;
	char text[COMMIT_MAX];

	scene_open(&c);
	with_hooks(&c);
	struct bole_oid oid = commit_part(&c, &c.tips[4], text, &part);
	for (int kind = 0; kind < 3; kind++) {
		c.refuse = kind == 0 ? "not today" : kind == 1 ? "" : NULL;
		c.refuse_ref = kind == 2 ? "refs/heads/b" : NULL;
		command(&c, &c.tips[4], &oid, "refs/heads/main", CAPS);
		command(&c, NULL, &oid, "refs/heads/b", NULL);
		pkt_special(&c.request, "0000");
		pack_build(&c.f, &c.request, &part, 1);
		const char *reply = run(&c);
		static const char *const wants[] = {
		        "ng refs/heads/main not today\n",
		        "ng refs/heads/main pre-receive hook declined\n",
		        "ng refs/heads/b not?this one\n"};
		cr_assert_not_null(strstr(reply, wants[kind]), "%s", reply);
		cr_assert_not_null(strstr(reply, "[2] hello from the hook\n"), "%s", reply);
		cr_assert(c.saw_new);
		cr_assert_eq(git_has_object(&c.f, &c.f.repo, &oid), kind == 2);
		cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/heads/b", NULL));
		cr_assert_eq(c.update, kind == 2 ? 2u : 0u);
	}
	cr_assert_eq(c.post, 3u);
	scene_close(&c);
}

static enum bole_status on_proc(void *ctx, struct bole_push_info *info, size_t ref,
                                struct bole_push_rewrite *out, char *message)
{
	struct scene *c = ctx;

	(void)message;
	c->proc++;
	out->new_oid = info->refs[ref].new_oid;
	if (c->proc == 3)
		return BOLE_E_DENIED;
	snprintf(out->name, sizeof out->name, c->proc == 4 ? "../x" : "refs/pull/1/head");
	out->forced = c->proc == 2;
	return BOLE_OK;
}

static void becomes_another(const char *space, const char *stored)
{
	struct bole_oid now;
	struct scene c;
	char want[400];

	scene_open(&c);
	with_hooks(&c);
	c.f.policy.fetch.refs.space = space;
	c.hooks.proc_prefix = "refs/for/";
	c.hooks.proc_receive = on_proc;
	for (unsigned i = 1; i <= 4; i++) {
		command(&c, NULL, &c.tips[i], "refs/for/main", V2);
		const char *reply = push(&c);
		snprintf(want, sizeof want,
		         "unpack ok\nok refs/for/main\noption refname refs/pull/1/head\n"
		         "option old-oid %s\noption new-oid %s\n%s0000\n",
		         hex_of(i == 1 ? &c.null : &c.tips[1]), hex_of(&c.tips[i]),
		         i == 2 ? "option forced-update\n" : "");
		if (i == 3)
			snprintf(want, sizeof want,
			         "unpack ok\nng refs/for/main proc-receive hook declined\n0000\n");
		if (i == 4)
			snprintf(want, sizeof want,
			         "unpack ok\nng refs/for/main proc-receive hook named no "
			         "reference\n0000\n");
		cr_assert_str_eq(reply, want);
	}
	cr_assert_not(git_has_ref(&c.f, &c.f.repo, "refs/for/main", NULL));
	cr_assert(git_has_ref(&c.f, &c.f.repo, stored, &now));
	cr_assert(bole_oid_equal(&now, &c.tips[2]));
	scene_close(&c);
}

Test(push, a_reference_that_is_none_becomes_another_one)
{
	becomes_another(NULL, "refs/pull/1/head");
	becomes_another("refs/namespaces/n/", "refs/namespaces/n/refs/pull/1/head");
}

/* -- shallow clones -- */

Test(push, a_shallow_clone_pushes_what_has_a_whole_history_here)
{
	struct bole_oid elsewhere;
	struct pack_part part;
	struct scene c;
	char text[COMMIT_MAX];

	scene_open(&c);
	struct bole_oid oid = commit_part(&c, &c.tips[4], text, &part);
	pkt_add(&c.request, "shallow %s", hex_of(&c.tips[4]));
	command(&c, &c.tips[4], &oid, "refs/heads/main", V2);
	pkt_special(&c.request, "0000");
	pack_build(&c.f, &c.request, &part, 1);
	cr_assert_str_eq(run(&c), "unpack ok\nok refs/heads/main\n0000\n");
	/* A root of its own: its parent is nowhere here. */
	memset(&elsewhere, 0, sizeof elsewhere);
	elsewhere.algo = test_algo();
	elsewhere.bytes[0] = 7;
	struct bole_oid cut = commit_part(&c, &elsewhere, text, &part);
	for (int told = 1; told >= 0; told--) {
		if (told)
			pkt_add(&c.request, "shallow %s", hex_of(&cut));
		command(&c, NULL, &cut, "refs/heads/cut", V2);
		command(&c, &oid, NULL, "refs/heads/main", NULL);
		pkt_special(&c.request, "0000");
		pack_build(&c.f, &c.request, &part, 1);
		const char *reply = run(&c);
		cr_assert_not_null(
		        strstr(reply, told ? "ng refs/heads/cut shallow update not allowed"
		                           : "missing commit"),
		        "%s", reply);
		cr_assert_not(git_has_object(&c.f, &c.f.repo, &cut));
	}
	scene_close(&c);
}

/* -- certificates -- */

static void verify(void *ctx, struct bole_push_cert *cert)
{
	struct scene *c = ctx;

	c->verified++;
	cr_assert(bole_bytes_start(cert->signature, bole_bytes_z("-----BEGIN SSH SIGNATURE-----")));
	cr_assert_eq(cert->text.ptr[cert->text.len - 1], '\n');
	cert->state = BOLE_CERT_GOOD;
	snprintf(cert->signer, sizeof cert->signer, "N <n@x>");
}

static void get_nonce(struct scene *c)
{
	c->session.advertise = true;
	const char *text = run(c);
	const char *at = strstr(text, " push-cert=");

	c->session.advertise = false;
	cr_assert_not_null(at, "%s", text);
	sscanf(at, " push-cert=%99s", c->nonce);
}

static void cert_begin(struct scene *c, const char *nonce, const char *caps)
{
	bole_buffer_format(&c->request, "%04zx", 4 + strlen("push-cert") + 1 + strlen(caps) + 1);
	bole_buffer_append(&c->request, "push-cert", 10);
	bole_buffer_format(&c->request, "%s\n", caps);
	pkt_add(&c->request, "certificate version 0.1\n");
	pkt_add(&c->request, "pusher N <n@x> 1700000000 +0000\n");
	pkt_add(&c->request, "pushee git://host/main\n");
	if (nonce != NULL)
		pkt_add(&c->request, "nonce %s\n", nonce);
}

static void cert_end(struct scene *c, const struct bole_oid *oid, const char *name)
{
	pkt_add(&c->request, "\n");
	pkt_add(&c->request, "%s %s %s\n", hex_of(&c->null), hex_of(oid), name);
	pkt_add(&c->request, "-----BEGIN SSH SIGNATURE-----\n");
	pkt_add(&c->request, "abc\n");
	pkt_add(&c->request, "-----END SSH SIGNATURE-----\n");
	pkt_add(&c->request, "push-cert-end\n");
}

Test(push, a_signed_push_is_kept_judged_and_handed_to_the_hooks)
{
	struct scene c;

	scene_open(&c);
	with_hooks(&c);
	c.hooks.verify_cert = verify;
	c.f.policy.push.cert_seed = "a secret";
	c.f.policy.push.cert_slop_s = 60;
	get_nonce(&c);
	for (unsigned i = 0; i < 5; i++) {
		static const enum bole_cert_nonce states[] = {BOLE_NONCE_OK, BOLE_NONCE_OK,
		                                              BOLE_NONCE_SLOP, BOLE_NONCE_BAD,
		                                              BOLE_NONCE_MISSING};
		char name[40];

		c.f.test.wall = 1700000000 + (i == 1 ? 60 : i == 2 ? 61 : 0);
		if (i == 3)
			c.nonce[20] ^= 1;
		snprintf(name, sizeof name, "refs/heads/s%u", i);
		cert_begin(&c, i == 4 ? NULL : c.nonce, V2);
		cert_end(&c, &c.tips[1], name);
		const char *reply = push(&c);
		cr_assert(git_has_ref(&c.f, &c.f.repo, name, NULL), "%s", reply);
		cr_assert_eq(c.cert.nonce_state, states[i], "%u: %d", i, c.cert.nonce_state);
		cr_assert_eq(c.cert.state, BOLE_CERT_GOOD);
		cr_assert(git_has_object(&c.f, &c.f.repo, &c.cert.oid));
	}
	cr_assert_eq(c.verified, 5u);
	/* In one session the nonce is the one of its advertisement. */
	c.session.stateless = false;
	cert_begin(&c, "1700000000-00", V2);
	cert_end(&c, &c.tips[1], "refs/heads/bad");
	(void)push(&c);
	cr_assert_eq(c.cert.nonce_state, BOLE_NONCE_BAD);
	scene_close(&c);
}

Test(push, options_of_a_signed_push_are_those_of_its_certificate)
{
	struct scene c;

	scene_open(&c);
	c.f.policy.push.cert_seed = "a secret";
	for (int agree = 0; agree <= 1; agree++) {
		cert_begin(&c, "x", V2 " push-options");
		pkt_add(&c.request, "push-option one\n");
		cert_end(&c, &c.tips[1], "refs/heads/o");
		pkt_special(&c.request, "0000");
		pkt_add(&c.request, agree ? "one" : "two");
		const char *reply = push(&c);
		cr_assert_eq(strstr(reply, "inconsistent push options") == NULL, agree == 1, "%s",
		             reply);
		cr_assert_eq(git_has_ref(&c.f, &c.f.repo, "refs/heads/o", NULL), agree == 1);
	}
	scene_close(&c);
}

Test(push, malformed_certificates_are_refused)
{
	static const char *const bad[] = {
	        "certificate version 0.2\n",
	        "",
	        "certificate version 0.1\npusher x\n\n",
	        "certificate version 0.1\npusher x\n",
	        "certificate version 0.1\n\nhello\n-----BEGIN PGP SIGNATURE-----\n",
	        "certificate version 0.1\n-----BEGIN PGP SIGNATURE-----\n",
	};
	struct scene c;

	scene_open(&c);
	c.f.policy.push.cert_seed = "a secret";
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		bole_buffer_text(&c.request, "000epush-cert\n");
		if (bad[i][0] != '\0')
			pkt_add(&c.request, "%s", bad[i]);
		pkt_add(&c.request, "push-cert-end\n");
		const char *reply = push(&c);
		cr_assert_eq(strncmp(reply, "ERR receive-pack: ", 18), 0, "%zu: %s", i, reply);
	}
	/* Without an end, and without a limit. */
	bole_buffer_text(&c.request, "000epush-cert\n0000");
	cr_assert_eq(strncmp(run(&c), "ERR receive-pack: the certificate is incomplete", 40), 0);
	bole_buffer_text(&c.request, "000epush-cert\n");
	for (int i = 0; i < 4400; i++)
		pkt_add(&c.request, "%01000d\n", i);
	const char *reply = run(&c);
	cr_assert_not_null(strstr(reply, "the certificate is longer than"), "%s", reply);
	scene_close(&c);
}

/* -- rules -- */

static bool may(void *ctx, struct bole_bytes name, enum bole_push_action action)
{
	const unsigned *denied = ctx;

	return !bole_bytes_start(name, bole_bytes_z("refs/heads/p")) ||
	       (*denied & (unsigned)action) == 0;
}

Test(push, rules_by_reference_and_action)
{
	static const unsigned actions[] = {BOLE_PUSH_CREATE, BOLE_PUSH_UPDATE, BOLE_PUSH_DELETE,
	                                   BOLE_PUSH_FORCE};
	static const char *const words[] = {"creation of this reference is not allowed",
	                                    "protected reference: not allowed to update it",
	                                    "deletion prohibited", "non-fast-forward"};
	unsigned denied;
	struct scene c;

	scene_open(&c);
	c.f.policy.push.may = may;
	c.f.policy.push.may_ctx = &denied;
	for (size_t i = 0; i < 4; i++) {
		for (int hit = 0; hit <= 1; hit++) {
			char name[40], want[100];

			denied = actions[i];
			snprintf(name, sizeof name, "refs/heads/%c%zu", hit ? 'p' : 'q', i);
			if (i > 0)
				git_set_ref(&c.f, &c.f.repo, name, &c.tips[2], NULL);
			command(&c, i == 0 ? NULL : &c.tips[2],
			        i == 2   ? NULL
			        : i == 3 ? &c.tips[1]
			                 : &c.tips[3],
			        name, V2);
			snprintf(want, sizeof want, "ng %s %s\n", name, words[i]);
			const char *reply = push(&c);
			cr_assert_eq(strstr(reply, want) != NULL, hit == 1, "%s", reply);
		}
	}
	scene_close(&c);
}
