/* SPDX-License-Identifier: ISC */
/* Goal: no request, however wrong, gets more than a refusal that says why. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "support/git_fixture.h"

struct scene {
	struct git_fixture f;
	struct bole_oid tips[4];
	struct bole_buffer request;
	struct bole_buffer text;
	struct git_session session;
};

static void scene_open(struct scene *c)
{
	memset(c, 0, sizeof *c);
	git_fixture_open(&c->f, test_algo());
	git_history(&c->f, &c->f.repo, "refs/heads/main", 4, c->tips);
	bole_buffer_init(&c->request, &c->f.test.alloc, 256 << 20);
	bole_buffer_init(&c->text, &c->f.test.alloc, 64 << 20);
}

static void scene_close(struct scene *c)
{
	bole_buffer_release(&c->request);
	bole_buffer_release(&c->text);
	git_fixture_close(&c->f);
}

static const char *run(struct scene *c, int version)
{
	c->session.fixture = &c->f;
	c->session.kind = UPLOAD_PACK;
	c->session.version = version;
	c->session.stateless = true;
	git_session_run(&c->session, bole_bytes_of(c->request.ptr, c->request.len));
	c->text.len = c->request.len = 0;
	git_transcript(&c->session, &c->text);
	git_session_end(&c->session);
	return (const char *)c->text.ptr;
}

static void v2_start(struct scene *c, const char *command)
{
	pkt_add(&c->request, "command=%s", command);
	pkt_special(&c->request, "0001");
}

Test(hostile_fetch, malformed_version_2_requests_are_refused_by_name)
{
	static const struct {
		const char *request;
		const char *answer;
	} cases[] = {
	        {"0013command=destroy0000", "ERR unknown command 'destroy'\n"},
	        {"0013command=ls-refs0011command=fetch0000", "ERR two commands"},
	        {"000dfrob=yes\n0000", "ERR unknown capability 'frob=yes'"},
	        {"0000", ""},
	        {"", ""},
	        {"0009agent0000", "ERR unknown capability 'agent'"},
	        {"000dagent=x/10000", "ERR no command in the request"},
	        {"0001", "ERR no command in the request"},
	        {"0013command=ls-refs0002", "ERR protocol error: unexpected special"},
	        {"0013command=ls-refs", "ERR protocol error: the request is cut short"},
	        {"0013command=ls-refs0001", "ERR protocol error: the request is cut short"},
	        {"0013command=ls-refs00010008peel", "ERR protocol error: the request is cut"},
	        {"0013command=ls-refs00010009shout0000", "ERR ls-refs: unknown argument: 'shout'"},
	        {"0013command=ls-refs00010001", "ERR protocol error: unexpected special"},
	        {"0013command=ls-refs0018object-format=sha2560000", "ERR object format 'sha256'"},
	        {"0011command=fetch0001000cdeepen 00000", "ERR upload-pack: invalid deepen: '0'"},
	        {"0011command=fetch0001000ddeepen -10000", "ERR upload-pack: invalid deepen: '-1'"},
	        {"0011command=fetch00010015deepen 21474836480000",
	         "ERR upload-pack: invalid deepen: '2147483648'"},
	        {"0011command=fetch00010012deepen-since x0000",
	         "ERR upload-pack: invalid deepen-since"},
	        {"0011command=fetch00010011deepen-not no0000",
	         "ERR upload-pack: invalid deepen-not (no such reference): 'no'"},
	        {"0011command=fetch0001000eshallow 120000",
	         "ERR upload-pack: invalid shallow line"},
	        {"0011command=fetch00010014filter blob:nine0000",
	         "ERR upload-pack: filter 'blob:nine': no such filter"},
	        {"0011command=fetch0001001dfilter combine:blob:none+0000",
	         "ERR upload-pack: filter 'combine:blob:none+': an empty filter"},
	        {"0011command=fetch0001001afilter sparse:oid=main0000",
	         "ERR upload-pack: filter 'sparse:oid=main': not allowed here"},
	        {"0011command=fetch00010014filter blob:none0014filter blob:none0000",
	         "ERR upload-pack: more than one filter line"},
	        {"0011command=fetch00010019want-ref refs/heads/x0000",
	         "ERR upload-pack: unknown ref refs/heads/x"},
	        {"0017command=object-info00010009oid 10000", "ERR object-info: unexpected line"},
	        {"0016command=bundle-uri0000", "ERR unknown command 'bundle-uri'"},
	        {"0011command=fetch00010010want 0123456\n0000", "ERR upload-pack: want line"},
	        {"0011command=fetch00010010have 0123456\n0000", "ERR upload-pack: have line"},
	        {"0011command=fetch00010008done0000", "ERR upload-pack: nothing is wanted"},
	        {"0011command=fetch0000", "ERR upload-pack: nothing is wanted"},
	        {"zzzz", "ERR protocol error: a packet length is not four hex digits"},
	        {"0003", "ERR protocol error: a packet length is out of range"},
	        {"fff1", "ERR protocol error: a packet length is out of range"},
	        {"00", "ERR protocol error: the stream ends within a packet length"},
	        {"0100command", "ERR protocol error: the stream ends within a packet"},
	};
	struct scene c;

	scene_open(&c);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bole_buffer_text(&c.request, cases[i].request);
		const char *text = run(&c, 2);
		cr_assert_eq(strncmp(text, cases[i].answer, strlen(cases[i].answer)), 0,
		             "case %zu: %s", i, text);
		cr_assert_eq(c.session.rc == BOLE_OK, cases[i].answer[0] == '\0', "case %zu", i);
	}
	static const char nul[] = "0011command=fetch0001000fwant\0 abcde0000";
	bole_buffer_append(&c.request, nul, sizeof nul - 1);
	cr_assert_not_null(strstr(run(&c, 2), "unknown argument of fetch: 'want? abcde'"));
	scene_close(&c);
}

Test(hostile_fetch, malformed_version_0_requests_are_refused_by_name)
{
	struct scene c;
	static const struct {
		const char *after_want; /* lines after one good want */
		const char *answer;
	} cases[] = {
	        {"0035deepen 1", "ERR protocol error: the stream ends"},
	        {"000cdeepen x0000", "ERR upload-pack: invalid deepen: 'x'"},
	        {"000cshallow 0000", "ERR upload-pack: invalid shallow line"},
	        {"0010filter tree:0000", "ERR upload-pack: filter 'tree:': tree: without a depth"},
	        {"0009hello0000", "ERR upload-pack: expected want, got 'hello'"},
	        {"0001", "ERR upload-pack: unexpected special packet, expected want"},
	        {"00000001", "ERR upload-pack: unexpected special packet, expected have or done"},
	        {"00000009hello", "ERR upload-pack: expected have or done, got 'hello'"},
	        {"0000000bhave 12", "ERR upload-pack: have line without an object id: '12'"},
	        {"00000003", "ERR protocol error: a packet length is out of range"},
	};

	scene_open(&c);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pkt_add(&c.request, "want %s\n", hex_of(&c.tips[3]));
		bole_buffer_text(&c.request, cases[i].after_want);
		const char *text = run(&c, 0);
		cr_assert_eq(strncmp(text, cases[i].answer, strlen(cases[i].answer)), 0,
		             "case %zu: %s", i, text);
		cr_assert_lt(c.session.rc, 0);
	}
	static const char *const caps[] = {"side-band side-band-64k", "object-format=sha256"};
	for (size_t i = 0; i < 2; i++) {
		pkt_add(&c.request, "want %s %s\n", hex_of(&c.tips[3]), caps[i]);
		pkt_special(&c.request, "0000");
		cr_assert_eq(strncmp(run(&c, 0), "ERR upload-pack: ", 17), 0);
		cr_assert_lt(c.session.rc, 0);
	}
	scene_close(&c);
}

Test(hostile_fetch, two_hundred_thousand_unknown_haves_cost_no_memory)
{
	for (int version = 0; version <= 2; version += 2) {
		struct scene c;
		scene_open(&c);
		if (version == 2)
			v2_start(&c, "fetch");
		pkt_add(&c.request, "want %s%s\n", hex_of(&c.tips[3]),
		        version == 0 ? " multi_ack_detailed" : "");
		if (version == 0)
			pkt_special(&c.request, "0000");
		for (unsigned i = 0; i < 200000; i++)
			pkt_add(&c.request, "have %0*x\n", test_hex(), i + 1);
		pkt_special(&c.request, "0000");
		c.session.memory_max = 1 << 20;
		const char *text = run(&c, version);
		cr_assert_eq(c.session.rc, BOLE_OK);
		cr_assert_str_eq(text, version == 2 ? "acknowledgments\nNAK\n0000\n" : "NAK\n");
		cr_assert_lt(c.session.memory_peak, 65536, "%zu", c.session.memory_peak);
		scene_close(&c);
	}
}

Test(hostile_fetch, known_haves_and_wants_repeated_a_hundred_thousand_times_count_once)
{
	struct scene c;

	scene_open(&c);
	v2_start(&c, "fetch");
	for (unsigned i = 0; i < 100000; i++) {
		pkt_add(&c.request, "want %s\n", hex_of(&c.tips[3]));
		pkt_add(&c.request, "have %s\n", hex_of(&c.tips[i % 3]));
	}
	pkt_add(&c.request, "wait-for-done");
	pkt_special(&c.request, "0000");
	c.session.memory_max = 4 << 20;
	const char *text = run(&c, 2);
	cr_assert_eq(c.session.rc, BOLE_OK);
	cr_assert_eq(strlen(text), strlen("acknowledgments\n") + 3 * (size_t)(test_hex() + 5) + 5);
	scene_close(&c);
}

Test(hostile_fetch, wants_of_nothing_are_bounded_and_refused)
{
	struct scene c;

	scene_open(&c);
	v2_start(&c, "fetch");
	for (unsigned i = 0; i < 100000; i++)
		pkt_add(&c.request, "want %0*x\n", test_hex(), i + 1);
	pkt_special(&c.request, "0000");
	c.session.memory_max = 32 << 20;
	char want[120];
	snprintf(want, sizeof want, "ERR upload-pack: not our ref %0*x\n", test_hex(), 1);
	cr_assert_str_eq(run(&c, 2), want);
	/* The same beyond the budget: refused for that, nothing else breaks. */
	v2_start(&c, "fetch");
	for (unsigned i = 0; i < 100000; i++)
		pkt_add(&c.request, "want %0*x\n", test_hex(), i + 1);
	pkt_special(&c.request, "0000");
	c.session.memory_max = 1 << 20;
	cr_assert_not_null(strstr(run(&c, 2), "ERR upload-pack: too many wants: out of memory"));
	cr_assert_eq(c.session.rc, BOLE_E_NO_MEMORY);
	scene_close(&c);
}

Test(hostile_fetch, endless_lines_end)
{
	struct scene c;

	scene_open(&c);
	v2_start(&c, "fetch");
	for (unsigned i = 0; i < (1 << 20) + 10; i++)
		pkt_add(&c.request, "thin-pack");
	cr_assert_str_eq(run(&c, 2), "ERR too many lines in one request\n");
	cr_assert_eq(c.session.rc, BOLE_E_LIMIT);
	for (unsigned i = 0; i < 5; i++)
		bole_buffer_text(&c.request, "0004");
	cr_assert_eq(strncmp(run(&c, 2), "ERR unknown capability ''", 25), 0);
	scene_close(&c);
}

Test(hostile_fetch, deep_chains_of_tags_cost_a_bounded_walk)
{
	struct scene c;
	char name[40];

	/* Nobody told the store what the tags name, so each listing has to find out. */
	scene_open(&c);
	struct bole_oid tag = c.tips[0];
	for (unsigned i = 0; i < 1000; i++)
		tag = git_tag(&c.f, &c.f.repo, "t", &tag,
		              i == 0 ? BOLE_OBJECT_COMMIT : BOLE_OBJECT_TAG);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "refs/tags/t%03u", i);
		git_set_ref(&c.f, &c.f.repo, name, &tag, NULL);
	}
	v2_start(&c, "ls-refs");
	pkt_add(&c.request, "peel");
	pkt_special(&c.request, "0000");
	const char *text = run(&c, 2);
	cr_assert_eq(c.session.rc, BOLE_OK);
	unsigned shown = 0;
	unsigned peeled = 0;
	for (const char *at = text; (at = strstr(at, "refs/tags/t")) != NULL; at++)
		shown++;
	for (const char *at = text; (at = strstr(at, " peeled:")) != NULL; at++)
		peeled++;
	cr_assert_eq(shown, 200);
	cr_assert_eq(peeled, 65536 / 1000);
	scene_close(&c);
}

Test(hostile_fetch, a_client_that_hangs_up_ends_the_work)
{
	struct scene c;

	scene_open(&c);
	for (size_t after = 1; after < 30; after++) {
		v2_start(&c, "fetch");
		pkt_add(&c.request, "want %s\n", hex_of(&c.tips[3]));
		for (unsigned i = 0; i < 300; i++)
			pkt_add(&c.request, "have %0*x\n", test_hex(), i + 1);
		pkt_add(&c.request, "done");
		pkt_special(&c.request, "0000");
		c.session.cancel_after = after;
		run(&c, 2);
		cr_assert(c.session.rc == BOLE_E_CLOSED || c.session.rc == BOLE_OK, "%d",
		          c.session.rc);
		cr_assert(after > 1 || c.session.rc == BOLE_E_CLOSED);
	}
	scene_close(&c);
}

Test(hostile_fetch, every_failed_allocation_ends_in_an_error_and_leaks_nothing)
{
	struct scene c;
	bool done = false;

	scene_open(&c);
	for (uint64_t n = 1; !done; n++) {
		v2_start(&c, "ls-refs");
		pkt_add(&c.request, "ref-prefix refs/");
		pkt_special(&c.request, "0000");
		v2_start(&c, "fetch");
		pkt_add(&c.request, "want %s\n", hex_of(&c.tips[3]));
		pkt_add(&c.request, "have %s\n", hex_of(&c.tips[1]));
		pkt_add(&c.request, "no-progress");
		pkt_special(&c.request, "0000");
		c.session =
		        (struct git_session){.fixture = &c.f, .kind = UPLOAD_PACK, .version = 2};
		c.f.test.fail_at = c.f.test.grows + n;
		git_session_run(&c.session, bole_bytes_of(c.request.ptr, c.request.len));
		done = c.f.test.fail_at > c.f.test.grows;
		c.f.test.fail_at = 0;
		cr_assert(!done || c.session.rc == BOLE_OK);
		c.request.len = 0;
		git_session_end(&c.session);
		cr_assert_lt(n, 5000);
	}
	scene_close(&c);
}
