/* SPDX-License-Identifier: ISC */
/* Goal: the parts of the client that are functions of their input: URLs, refspecs, heads of HTTP
 * answers, and the choice of haves. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "git/client/bundles.h"
#include "git/client/remote.h"
#include "git/object/object.h"
#include "git/service/service_impl.h"
#include "node/client/client.h"
#include "support/packworld.h"

Test(client_parts, urls_mean_what_they_say_or_nothing)
{
	static const struct {
		const char *text;
		const char *shown; /* NULL: refused */
		const char *auth;
	} cases[] = {
	        {"git://h/a", "git://h/a", ""},
	        {"git://h:9418/a/", "git://h/a", ""},
	        {"git://h:1/~u/a%20b", "git://h:1/~u/a%20b", ""},
	        {"git://h/%61%2541%2fb", "git://h/a%2541/b", ""},
	        {"http://h:80/a.git", "http://h/a.git", ""},
	        {"https://h:444/a/b", "https://h:444/a/b", ""},
	        {"http://[::1]:8080/a", "http://[::1]:8080/a", ""},
	        {"http://ada:p%40ss@h/a", "http://h/a", "ada:p@ss"},
	        {"http://ada:p@ss@h/a", "http://h/a", "ada:p@ss"},
	        {"http://h/a%20b", "http://h/a%20b", ""},
	        {"git://h/a%0ab", NULL, NULL},
	        {"git://h/a\nb", NULL, NULL},
	        {"git://u@h/a", NULL, NULL},
	        {"http://h", NULL, NULL},
	        {"http://h/", NULL, NULL},
	        {"http:///a", NULL, NULL},
	        {"http://-h/a", NULL, NULL},
	        {"http://h:0/a", NULL, NULL},
	        {"http://h:65536/a", NULL, NULL},
	        {"http://h:8x/a", NULL, NULL},
	        {"http://[::1/a", NULL, NULL},
	        {"http://h x/a", NULL, NULL},
	        {"http://h/a b", NULL, NULL},
	        {"http://h/a?b", NULL, NULL},
	        {"http://h/a\r\nX: y", NULL, NULL},
	        {"http://a%0d:b@h/a", NULL, NULL},
	        {"ssh://h/a", NULL, NULL},
	        {"ext::sh -c x", NULL, NULL},
	        {"/etc", NULL, NULL},
	        {"file:///etc", NULL, NULL},
	        {"", NULL, NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct client_url url;
		const char *why = NULL;
		char shown[400];

		enum bole_status rc = bole_client_url_parse(cases[i].text, &url, &why);
		cr_assert_eq(rc == BOLE_OK, cases[i].shown != NULL, "'%s': %d", cases[i].text, rc);
		cr_assert(rc == BOLE_OK || why != NULL);
		if (rc != BOLE_OK)
			continue;
		bole_client_url_format(&url, shown, sizeof shown);
		cr_assert_str_eq(shown, cases[i].shown);
		cr_assert_str_eq(url.auth, cases[i].auth);
		/* What is kept of it leads to the same place. */
		struct client_url again;
		cr_assert_eq(bole_client_url_parse(shown, &again, &why), BOLE_OK, "%s", shown);
		cr_assert_str_eq(again.path, url.path);
	}
}

Test(client_parts, a_bundle_is_where_its_list_says_and_takes_no_password_along)
{
	static const struct {
		const char *base;
		const char *uri;
		const char *whole; /* NULL: nowhere */
	} cases[] = {
	        {"http://h/a/list", "b", "http://h/a/b"},
	        {"http://h/a/list?x=/y", "b?c", "http://h/a/b?c"},
	        {"http://h/a/list", "./b", "http://h/a/b"},
	        {"http://h/a/b/list", "../c", "http://h/a/c"},
	        {"http://h/a/list", "../../c", NULL},
	        {"http://h/list", "../c", NULL},
	        {"http://h/a/list", "/b", "http://h/b"},
	        {"http://h/a/list", "//x/b", "http://h//x/b"},
	        {"http://h/a/list", "https://x/b", "https://x/b"},
	        {"https://ada:secret@h/a/list", "b", "https://h/a/b"},
	        {"https://ada:s@cret@h/a/list", "/b", "https://h/b"},
	        {"https://ada:secret@h/a/list", "../b", "https://h/b"},
	        {"http://h/@a/list", "b", "http://h/@a/b"},
	        {"git://h/a/list", "b", NULL},
	        {NULL, "b", NULL},
	        {"http://h/a/list", "", NULL},
	};
	char whole[100];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bool leads = bole_bundle_uri_resolve(cases[i].base, bole_bytes_z(cases[i].uri),
		                                     whole, sizeof whole);
		cr_expect_eq(leads, cases[i].whole != NULL, "%zu: %s", i, whole);
		if (leads && cases[i].whole != NULL)
			cr_expect_str_eq(whole, cases[i].whole);
	}
	cr_expect(!bole_bundle_uri_resolve("http://h/a/", bole_bytes_z("b"), whole, 12));
}

Test(client_parts, refspecs_are_read_as_git_reads_them)
{
	static const struct {
		const char *text;
		bool fetch;
		bool push;
	} cases[] = {
	        {"main", true, true},
	        {"+main:other", true, true},
	        {"refs/heads/*:refs/x/*", true, true},
	        {"refs/heads/*", true, true},
	        {"refs/heads/a*b:refs/x/c*d", true, true},
	        {"^refs/heads/x", true, true},
	        {"^refs/heads/*", true, true},
	        {":main", false, true},
	        {"main:", true, false},
	        {"a:b:c", false, false},
	        {"^a:b", false, false},
	        {"refs/heads/*:refs/x", false, false},
	        {"x:refs/heads/*", false, false},
	        {"refs/*/*:refs/*/*", false, false},
	        {"", false, false},
	        {"+", false, false},
	        {"^", false, false},
	        {":", false, false},
	        {"-x", false, false},
	        {"a..b", false, false},
	        {"a b", false, false},
	        {"refs/heads/a.lock", false, false},
	};
	struct bole_refspec spec;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		cr_expect_eq(bole_refspec_parse(cases[i].text, false, &spec) == BOLE_OK,
		             cases[i].fetch, "fetch '%s'", cases[i].text);
		cr_expect_eq(bole_refspec_parse(cases[i].text, true, &spec) == BOLE_OK,
		             cases[i].push, "push '%s'", cases[i].text);
	}
}

Test(client_parts, a_star_is_carried_over)
{
	struct bole_bytes star;
	char out[20];
	size_t len;

	cr_assert(bole_refspec_match(bole_bytes_z("a/*b"), bole_bytes_z("a/xyb"), &star));
	cr_assert(bole_refspec_expand(bole_bytes_z("c*/d"), star, out, sizeof out, &len));
	cr_assert_eq(len, 5);
	cr_assert_eq(memcmp(out, "cxy/d", 5), 0);
	cr_assert_not(bole_refspec_match(bole_bytes_z("ab*ba"), bole_bytes_z("aba"), &star));
	cr_assert(bole_refspec_match(bole_bytes_z("a*"), bole_bytes_z("a"), &star));
	cr_assert_eq(star.len, 0);
	cr_assert_not(bole_refspec_expand(bole_bytes_z("c*/d"), bole_bytes_z("0123456789abcdefgh"),
	                                  out, sizeof out, &len));
}

Test(client_parts, heads_of_answers_are_read_strictly)
{
	static const struct {
		const char *head;
		unsigned status; /* 0: refused */
	} cases[] = {
	        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200},
	        {"HTTP/1.0 404\r\n\r\n", 404},
	        {"HTTP/1.1 200 OK\r\nTRANSFER-encoding: Chunked\r\n\r\n", 200},
	        {"HTTP/2 200 OK\r\n\r\n", 0},
	        {"HTTP/1.1 20 OK\r\n\r\n", 0},
	        {"HTTP/1.1 2000 OK\r\n\r\n", 0},
	        {"HTTP/1.1 099 OK\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\n\n", 0},
	        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\nname : x\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\n: x\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", 0},
	        {"HTTP/1.1 200 OK\r\na: \001\r\n\r\n", 0},
	        {"SSH-2.0-x\r\n\r\n", 0},
	        {"\r\n\r\n", 0},
	        {"", 0},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct client_answer answer;
		const char *why;

		enum bole_status rc =
		        bole_client_answer_parse(bole_bytes_z(cases[i].head), &answer, &why);
		cr_assert_eq(rc == BOLE_OK, cases[i].status != 0, "case %zu", i);
		cr_assert(rc != BOLE_OK || answer.status == cases[i].status);
	}
}

/* -- The skipping negotiation, against a server that is only a set -- */

struct line {
	struct packworld world;
	struct bole_oid ids[4000];
	struct bole_service svc;
	struct bole_session session;
	struct bole_history history;
	struct bole_snapshot *snapshot;
	struct bole_skipper skipper;
};

static void line_open(struct line *l, uint32_t commits)
{
	struct bole_object_reader *reader;
	struct packmaker maker;
	struct bole_commit commit;
	struct bole_bytes data;

	packworld_open(&l->world, test_algo(), 1);
	packmaker_init(&maker, test_algo());
	struct bole_oid at = packmaker_history(&maker, commits, 7);
	packmaker_finish(&maker);
	cr_assert_eq(
	        packworld_push(&l->world, maker.out.ptr, maker.out.len, "refs/heads/main", &at),
	        BOLE_OK);
	packmaker_release(&maker);
	cr_assert_eq(bole_snapshot_open(l->world.store, l->world.repo.id, &l->snapshot), BOLE_OK);
	cr_assert_eq(bole_object_reader_open(l->snapshot, &l->world.platform.alloc, NULL, &reader),
	             BOLE_OK);
	for (uint32_t i = commits; i-- > 0;) {
		l->ids[i] = at;
		cr_assert_eq(bole_object_read(reader, &at, NULL, &data), BOLE_OK);
		cr_assert_eq(bole_commit_parse(data, test_algo(), &commit), BOLE_OK);
		if (i > 0)
			bole_commit_parent(&commit, test_algo(), 0, &at);
	}
	bole_object_reader_close(reader);
	l->svc = (struct bole_service){.platform = &l->world.platform.base,
	                               .alloc = &l->world.platform.alloc,
	                               .store = l->world.store,
	                               .repo = l->world.repo};
	l->session = (struct bole_session){.svc = &l->svc};
	bole_history_init(&l->history, &l->session, l->snapshot);
	bole_skipper_init(&l->skipper, &l->history, &l->world.platform.alloc);
}

static void line_close(struct line *l)
{
	bole_skipper_release(&l->skipper);
	bole_history_release(&l->history);
	bole_session_drop_reader(&l->session);
	bole_snapshot_close(l->snapshot);
	packworld_close(&l->world);
}

static uint32_t place(const struct line *l, uint32_t commits, const struct bole_oid *oid)
{
	for (uint32_t i = 0; i < commits; i++)
		if (bole_oid_equal(&l->ids[i], oid))
			return i;
	return UINT32_MAX;
}

/* Of a line of commits the server has the first `theirs`. All is named until nothing is left; how
 * many names, and which is the newest common one? */
static void negotiate(uint32_t commits, uint32_t theirs, unsigned names_max, uint32_t lost_max)
{
	static struct line l;
	struct bole_oid oid;
	unsigned names = 0;
	uint32_t best = 0;
	bool fresh;

	line_open(&l, commits);
	cr_assert_eq(bole_skipper_tip(&l.skipper, &l.ids[commits - 1], false), BOLE_OK);
	enum bole_status rc;
	while ((rc = bole_skipper_next(&l.skipper, &oid)) == BOLE_OK) {
		uint32_t at = place(&l, commits, &oid);

		names++;
		cr_assert_lt(at, commits);
		if (at >= theirs)
			continue;
		cr_assert_eq(bole_skipper_common(&l.skipper, &oid, &fresh), BOLE_OK);
		best = fresh && at > best ? at : best;
	}
	cr_assert_eq(rc, BOLE_END);
	cr_assert_leq(names, names_max, "%u names of %u commits", names, commits);
	cr_assert(theirs == 0 || theirs - 1 - best <= lost_max, "%u of %u", best, theirs);
	/* What was never named is no answer. */
	memset(oid.bytes, 9, 20);
	cr_assert_eq(bole_skipper_common(&l.skipper, &oid, &fresh), BOLE_E_INVALID);
	line_close(&l);
}

Test(client_parts, few_haves_find_what_is_common)
{
	negotiate(1, 1, 1, 0);
	negotiate(1, 0, 1, 0);
	negotiate(3000, 3000, 1, 0);
	negotiate(3000, 2999, 3, 1);
	negotiate(3000, 2900, 20, 60);
	negotiate(3000, 1000, 30, 1000);
	negotiate(3000, 0, 30, 0);
}
