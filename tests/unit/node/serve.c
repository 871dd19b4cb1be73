/* SPDX-License-Identifier: ISC */
/* The node over real sockets: what is answered to whom, within which limits. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "bole/node.h"
#include "bole/posix.h"

#define SECOND UINT64_C(1000000000)

struct house {
	struct bole_platform *platform;
	struct bole_store *store;
	struct bole_config *config;
	struct bole_node *node;
};

/* settings: words of a command line. A repository "here" exists. */
static void house_open(struct house *h, const char *settings)
{
	struct bole_posix_options options = {.loops = 2, .log_level = BOLE_LOG_ERROR + 1};
	struct bole_repo repo;

	cr_assert_eq(bole_posix_open(&options, &h->platform), BOLE_OK);
	cr_assert_eq(bole_memory_store_open(h->platform, h->platform->alloc, &h->store), BOLE_OK);
	cr_assert_eq(bole_repo_create(h->store, "here", BOLE_HASH_SHA1, "refs/heads/main", &repo),
	             BOLE_OK);
	cr_assert_eq(bole_config_open(h->platform->alloc, &h->config), BOLE_OK);
	cr_assert_eq(bole_config_command_line(h->config, "http.listen=127.0.0.1:0 "
	                                                 "git.listen=127.0.0.1:0"),
	             BOLE_OK);
	cr_assert_eq(bole_config_command_line(h->config, settings), BOLE_OK);
	cr_assert_eq(bole_node_start(h->platform, h->store, h->config, &h->node), BOLE_OK);
}

static void house_close(struct house *h)
{
	uint64_t now = h->platform->ops->now_ns(h->platform);

	bole_node_close(h->node, now + SECOND);
	bole_config_close(h->config);
	cr_assert_eq(bole_store_close(h->store), BOLE_OK);
	bole_posix_close(h->platform);
}

static struct bole_stream *call(struct house *h, uint16_t port)
{
	struct bole_stream *s = NULL;
	char address[32];

	snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)port);
	cr_assert_eq(h->platform->ops->connect(h->platform, address, BOLE_NEVER, &s), BOLE_OK);
	return s;
}

static void say(struct bole_stream *s, const void *text, size_t len)
{
	struct bole_bytes piece = bole_bytes_of(text, len);

	cr_assert_eq(s->ops->writev(s, &piece, 1), BOLE_OK);
}

/* Reads until the other side closes; at most 5 seconds. */
static size_t hear(struct house *h, struct bole_stream *s, char *out, size_t cap)
{
	uint64_t deadline = h->platform->ops->now_ns(h->platform) + 5 * SECOND;
	size_t len = 0;
	size_t got = 0;

	s->ops->set_deadline(s, deadline, deadline);
	while (len + 1 < cap && s->ops->read(s, out + len, cap - 1 - len, &got) == BOLE_OK)
		len += got;
	out[len] = '\0';
	for (size_t i = 0; i < len; i++) /* so that strstr sees everything */
		out[i] = out[i] == '\0' ? ' ' : out[i];
	cr_assert_lt(h->platform->ops->now_ns(h->platform), deadline, "no close: %s", out);
	return len;
}

static char answer[1 << 16];

static const char *ask_len(struct house *h, const void *request, size_t len)
{
	struct bole_stream *s = call(h, bole_node_http_port(h->node));

	say(s, request, len);
	hear(h, s, answer, sizeof answer);
	s->ops->close(s);
	return answer;
}

static const char *ask(struct house *h, const char *request)
{
	return ask_len(h, request, strlen(request));
}

/* Asks and reads until the answer holds `expected`, for the session may stay open. */
static void ask_git(struct house *h, const char *request, size_t request_len, const char *expected)
{
	struct bole_stream *s = call(h, bole_node_git_port(h->node));
	uint64_t soon = h->platform->ops->now_ns(h->platform) + 2 * SECOND;
	size_t len = 0;
	size_t got = 0;

	say(s, request, request_len);
	s->ops->set_deadline(s, soon, soon);
	while (memmem(answer, len, expected, strlen(expected)) == NULL) {
		cr_assert_eq(s->ops->read(s, answer + len, sizeof answer - len, &got), BOLE_OK,
		             "no \"%s\" for \"%.*s\"", expected, (int)request_len, request);
		len += got;
	}
	s->ops->close(s);
}

static bool has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

static unsigned status_of(const char *text)
{
	unsigned status = 0;

	return sscanf(text, "HTTP/1.1 %u ", &status) == 1 ? status : 0;
}

#define END "Host: h\r\nConnection: close\r\n\r\n"

Test(node, pages_and_advertisements_are_answered)
{
	struct house h;

	house_open(&h, "");
	ask(&h, "GET / HTTP/1.1\r\nHost: a<b>&\"\r\nConnection: close\r\n\r\n");
	cr_assert_eq(status_of(answer), 200);
	cr_assert(has(answer, "git clone http://localhost/here.git"));
	cr_assert_not(has(answer, "a<b>"));
	ask(&h, "GET / HTTP/1.1\r\nHost: box.lan:8080\r\nConnection: close\r\n\r\n");
	cr_assert(has(answer, "git clone http://box.lan:8080/here.git"));
	ask(&h, "GET /healthz HTTP/1.0\r\n\r\n");
	cr_assert_eq(status_of(answer), 200);
	cr_assert(has(answer, "\r\n\r\nok\n"));
	ask(&h, "HEAD / HTTP/1.1\r\n" END);
	cr_assert_eq(status_of(answer), 200);
	cr_assert_not(has(answer, "<html"));
	cr_assert_not(has(answer, "Content-Length: 0"));
	ask(&h, "GET /here.git/info/refs?service=git-upload-pack HTTP/1.1\r\n" END);
	cr_assert(has(answer, "Content-Type: application/x-git-upload-pack-advertisement\r\n"));
	cr_assert(has(answer, "Cache-Control: no-cache, max-age=0, must-revalidate\r\n"));
	cr_assert(has(answer, "\r\n\r\n001e# service=git-upload-pack\n0000"));
	ask(&h, "GET /here.git/info/refs?service=git-upload-pack HTTP/1.1\r\n"
	        "Git-Protocol: version=2\r\n" END);
	cr_assert(has(answer, "\r\n\r\n000eversion 2\n"));
	house_close(&h);
}

Test(node, refusals_have_their_status_and_a_reason)
{
	static const struct {
		const char *request;
		unsigned status;
	} rows[] = {
	        {"GET /here.git/info/refs HTTP/1.1\r\n" END, 200},
	        {"GET /gone.git/info/refs HTTP/1.1\r\n" END, 404},
	        {"GET /here.git/objects/info/packs HTTP/1.1\r\n" END, 200},
	        {"GET /here.git/objects/ab/cd HTTP/1.1\r\n" END, 404},
	        {"GET /here.git/objects/pack/x.pack HTTP/1.1\r\n" END, 404},
	        {"GET /here.git/archive/main.zip HTTP/1.1\r\n" END, 404},
	        {"GET /here.git/archive/main.rar HTTP/1.1\r\n" END, 404},
	        {"GET /here.git/info/refs?service=git-receive-pack HTTP/1.1\r\n" END, 403},
	        {"GET /here.git/info/refs?service=git-upload-archive HTTP/1.1\r\n" END, 403},
	        {"GET /gone.git/info/refs?service=git-upload-pack HTTP/1.1\r\n" END, 404},
	        {"GET /gone.git/info/refs?service=git-receive-pack HTTP/1.1\r\n" END, 404},
	        {"GET /here.git/HEAD HTTP/1.1\r\n" END, 200},
	        {"GET /here.git/../here.git/info/refs HTTP/1.1\r\n" END, 400},
	        {"GET /here.git/git-upload-pack HTTP/1.1\r\n" END, 405},
	        {"POST / HTTP/1.1\r\nContent-Length: 0\r\n" END, 405},
	        {"DELETE /here.git HTTP/1.1\r\n" END, 405},
	        {"PUT /here.git HTTP/1.1\r\nContent-Length: 0\r\n" END, 405},
	        {"POST /here.git/git-upload-pack HTTP/1.1\r\n" END, 411},
	        {"POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Length: 4\r\n" END "0000",
	         415},
	        {"POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Length: 4\r\nContent-Type: "
	         "application/x-git-receive-pack-request\r\n" END "0000",
	         415},
	        {"POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Length: 4\r\nContent-Type: "
	         "application/x-git-upload-pack-request\r\nContent-Encoding: br\r\n" END "0000",
	         415},
	        {"POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Length: 99999999\r\n"
	         "Content-Type: application/x-git-upload-pack-request\r\n" END,
	         413},
	        {"POST /here.git/git-receive-pack HTTP/1.1\r\nContent-Length: 4\r\nContent-Type: "
	         "application/x-git-receive-pack-request\r\n" END "0000",
	         403},
	        {"GET / HTTP/1.1\r\n" END "", 200},
	        {"GET / HTTP/3.1\r\n" END "", 505},
	        {"nonsense\r\n\r\n", 400},
	        {"POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Type: "
	         "application/x-git-upload-pack-request\r\nTransfer-Encoding: chunked\r\n" END
	         "zz\r\n",
	         400},
	        {"POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Type: "
	         "application/x-git-upload-pack-request\r\nContent-Encoding: gzip\r\n"
	         "Content-Length: 20\r\n" END "this is not gzip....",
	         400},
	};
	struct house h;

	house_open(&h, "");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ask(&h, rows[i].request);
		cr_assert_eq(status_of(answer), rows[i].status, "row %zu: %s", i, answer);
		cr_assert(has(answer, "\r\n\r\n"), "row %zu", i);
	}
	house_close(&h);
}

Test(node, garbage_in_any_amount_leaves_the_node_serving)
{
	static char garbage[40000];
	struct house h;

	house_open(&h, "node.headTimeout=1");
	memset(garbage, 'A', sizeof garbage);
	ask_len(&h, garbage, sizeof garbage);
	cr_assert_eq(status_of(answer), 431);
	memset(garbage, '\n', sizeof garbage);
	ask_len(&h, garbage, sizeof garbage);
	cr_assert_eq(status_of(answer), 431);
	memset(garbage, 0, sizeof garbage);
	memcpy(garbage + 100, "\r\n\r\n", 4);
	ask_len(&h, garbage, 200);
	cr_assert_eq(status_of(answer), 400);
	ask(&h, "GET /healthz HTTP/1.1\r\n" END);
	cr_assert_eq(status_of(answer), 200);
	house_close(&h);
}

Test(node, requests_follow_each_other_on_one_connection)
{
	static const char two[] = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
	                          "\r\nGET /no HTTP/1.1\r\nHost: h\r\n\r\n"
	                          "GET /healthz HTTP/1.1\r\n" END "ignored";
	struct house h;

	house_open(&h, "");
	ask(&h, two);
	cr_assert_eq(status_of(answer), 200);
	const char *second = strstr(answer + 1, "HTTP/1.1 404");
	cr_assert_not_null(second);
	const char *third = strstr(second, "HTTP/1.1 200");
	cr_assert_not_null(third);
	cr_assert_null(strstr(third + 1, "HTTP/1.1 "));
	house_close(&h);
}

/* -- one ls-refs, sent in every way -- */

static const char ls_refs[] = "0014command=ls-refs\n00010009peel\n000csymrefs\n000bunborn\n0000";
static const char ls_refs_answer[] = "002eunborn HEAD symref-target:refs/heads/main\n0000";

static const char *post(struct house *h, const char *fields, const void *body, size_t len)
{
	static char request[4096];
	int head = snprintf(request, sizeof request,
	                    "POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Type: "
	                    "application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\n"
	                    "%s" END,
	                    fields);

	memcpy(request + head, body, len);
	return ask_len(h, request, (size_t)head + len);
}

static size_t gzip(const void *plain, size_t len, void *out, size_t cap)
{
	z_stream z = {0};

	cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)plain;
	z.avail_in = (unsigned)len;
	z.next_out = out;
	z.avail_out = (unsigned)cap;
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return cap - z.avail_out;
}

Test(node, bodies_are_read_with_length_chunked_and_gzip)
{
	struct house h;
	char body[1024];
	char fields[128];
	size_t len = sizeof ls_refs - 1;

	house_open(&h, "");
	snprintf(fields, sizeof fields, "Content-Length: %zu\r\n", len);
	post(&h, fields, ls_refs, len);
	cr_assert_eq(status_of(answer), 200);
	cr_assert(has(answer, ls_refs_answer), "%s", answer);

	int n = 0;
	for (size_t i = 0; i < len; i++) /* a byte a chunk */
		n += snprintf(body + n, sizeof body - (size_t)n, "1\r\n%c\r\n", ls_refs[i]);
	n += snprintf(body + n, sizeof body - (size_t)n, "0\r\n\r\n");
	post(&h, "Transfer-Encoding: chunked\r\n", body, (size_t)n);
	cr_assert(has(answer, ls_refs_answer), "%s", answer);

	size_t packed = gzip(ls_refs, len, body, sizeof body);
	snprintf(fields, sizeof fields, "Content-Encoding: gzip\r\nContent-Length: %zu\r\n",
	         packed);
	post(&h, fields, body, packed);
	cr_assert(has(answer, ls_refs_answer), "%s", answer);

	snprintf(fields, sizeof fields, "Expect: 100-continue\r\nContent-Length: %zu\r\n", len);
	post(&h, fields, ls_refs, len);
	cr_assert_eq(strncmp(answer, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", 42), 0);
	cr_assert(has(answer, ls_refs_answer), "%s", answer);
	house_close(&h);
}

Test(node, a_gzip_bomb_is_refused)
{
	enum { ZEROS = 64 << 20 };
	struct house h;
	uint8_t *zeros = calloc(1, ZEROS);
	static uint8_t packed[1 << 17];
	char head[512];

	house_open(&h, "node.fetchBody=1g");
	memset(zeros, '0', ZEROS);
	for (size_t i = 0; i + 10 < ZEROS; i += 10) /* packets that are read on and on */
		memcpy(zeros + i, "000ax=y  \n", 10);
	memcpy(zeros, "0014command=ls-refs\n", 20);
	size_t len = gzip(zeros, ZEROS, packed, sizeof packed);
	int n = snprintf(head, sizeof head,
	                 "POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Type: "
	                 "application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\n"
	                 "Content-Encoding: gzip\r\nContent-Length: %zu\r\n" END,
	                 len);
	struct bole_stream *s = call(&h, bole_node_http_port(h.node));
	say(s, head, (size_t)n);
	struct bole_bytes piece = bole_bytes_of(packed, len);
	(void)s->ops->writev(s, &piece, 1); /* it may be cut off before all is sent */
	hear(&h, s, answer, sizeof answer);
	s->ops->close(s);
	/* Either the ratio or the service's own bound stops it; nothing is served. */
	cr_assert(status_of(answer) == 413 || has(answer, "ERR "), "%s", answer);
	free(zeros);
	house_close(&h);
}

/* -- limits -- */

Test(node, slow_heads_are_cut_while_others_are_served)
{
	struct house h;

	house_open(&h, "node.headTimeout=1 node.idleTimeout=1");
	struct bole_stream *slow = call(&h, bole_node_http_port(h.node));
	struct bole_stream *silent = call(&h, bole_node_http_port(h.node));
	struct bole_stream *slow_git = call(&h, bole_node_git_port(h.node));
	say(slow, "GET / HTTP/1.1\r\nHo", 18);
	say(slow_git, "003", 3);
	uint64_t start = h.platform->ops->now_ns(h.platform);
	ask(&h, "GET /healthz HTTP/1.1\r\n" END);
	cr_assert_eq(status_of(answer), 200);
	cr_assert_lt(h.platform->ops->now_ns(h.platform) - start, SECOND / 2);
	hear(&h, slow, answer, sizeof answer);
	cr_assert_eq(status_of(answer), 408);
	hear(&h, slow_git, answer, sizeof answer);
	cr_assert(has(answer, "ERR no request came in time"));
	cr_assert_eq(hear(&h, silent, answer, sizeof answer), 0);
	slow->ops->close(slow);
	silent->ops->close(silent);
	slow_git->ops->close(slow_git);
	house_close(&h);
}

Test(node, a_body_that_stalls_is_cut)
{
	static const char head[] = "POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Type: "
	                           "application/x-git-upload-pack-request\r\n"
	                           "Content-Length: 100\r\n" END "00";
	struct house h;

	house_open(&h, "node.silenceTimeout=1");
	ask(&h, head);
	cr_assert_eq(status_of(answer), 408, "%s", answer);
	house_close(&h);
}

Test(node, more_connections_or_requests_than_allowed_are_told_so)
{
	static const char stalled[] = "POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Type: "
	                              "application/x-git-upload-pack-request\r\n"
	                              "Content-Length: 100\r\n" END "00";
	struct house h;

	house_open(&h, "node.connections=3 node.requests=1 node.queueTimeout=0");
	struct bole_stream *busy = call(&h, bole_node_http_port(h.node));
	say(busy, stalled, sizeof stalled - 1);
	h.platform->ops->sleep_until(h.platform, h.platform->ops->now_ns(h.platform) + SECOND / 5);
	ask(&h, "GET /here.git/info/refs?service=git-upload-pack HTTP/1.1\r\n" END);
	cr_assert_eq(status_of(answer), 503);
	cr_assert(has(answer, "Retry-After: "));
	ask_git(&h, "001dgit-upload-pack /here.git", 29, "ERR the server is busy");
	ask(&h, "GET /healthz HTTP/1.1\r\n" END); /* costs nothing: answered */
	cr_assert_eq(status_of(answer), 200);
	busy->ops->close(busy);
	house_close(&h);

	/* All connections are at work: a new one is told so. */
	house_open(&h, "node.connections=1");
	busy = call(&h, bole_node_http_port(h.node));
	say(busy, stalled, sizeof stalled - 1);
	h.platform->ops->sleep_until(h.platform, h.platform->ops->now_ns(h.platform) + SECOND / 5);
	struct bole_stream *refused = call(&h, bole_node_http_port(h.node));
	hear(&h, refused, answer, sizeof answer);
	cr_assert_eq(status_of(answer), 503);
	refused->ops->close(refused);
	refused = call(&h, bole_node_git_port(h.node));
	hear(&h, refused, answer, sizeof answer);
	cr_assert_str_eq(answer, "001bERR server busy, retry\n");
	refused->ops->close(refused);
	busy->ops->close(busy);
	house_close(&h);
}

Test(node, connections_that_only_wait_give_way_to_new_ones)
{
	enum { IDLE = 5, NEW = 12 };
	static const char *const words[IDLE] = {"", "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
	                                        "GET / HTTP/1.1\r\nX: ", "", "0030git-up"};
	struct house h;
	struct bole_stream *idle[IDLE];

	house_open(&h, "node.connections=5");
	for (int i = 0; i < IDLE; i++) {
		idle[i] =
		        call(&h, i < 3 ? bole_node_http_port(h.node) : bole_node_git_port(h.node));
		say(idle[i], words[i], strlen(words[i]));
	}
	h.platform->ops->sleep_until(h.platform, h.platform->ops->now_ns(h.platform) + SECOND / 5);
	for (int i = 0; i < NEW; i++) {
		ask(&h, "GET /healthz HTTP/1.1\r\n" END);
		cr_assert_eq(status_of(answer), 200, "request %d: %s", i, answer);
	}
	for (int i = 0; i < IDLE; i++)
		idle[i]->ops->close(idle[i]);
	house_close(&h);
}

Test(node, an_idle_connection_costs_less_than_64_kib)
{
	enum { COUNT = 50 };
	struct house h;
	struct bole_stream *s[COUNT];

	house_open(&h, "node.memory=1m node.connections=1000");
	/* Buffers of 1 MiB hold at least 50 connections beside their 32 KiB stacks. */
	for (int i = 0; i < COUNT; i++) {
		s[i] = call(&h, bole_node_http_port(h.node));
		say(s[i], "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 35);
	}
	for (int i = 0; i < COUNT; i++) {
		size_t got = 0;
		cr_assert_eq(s[i]->ops->read(s[i], answer, sizeof answer, &got), BOLE_OK);
		answer[got] = '\0';
		cr_assert_eq(status_of(answer), 200);
		s[i]->ops->close(s[i]);
	}
	house_close(&h);
}

Test(node, close_cuts_what_does_not_end_by_itself)
{
	static const char stalled[] = "POST /here.git/git-upload-pack HTTP/1.1\r\nContent-Type: "
	                              "application/x-git-upload-pack-request\r\n"
	                              "Content-Length: 100\r\n" END "00";
	struct house h;

	house_open(&h, "");
	struct bole_stream *s[3];
	for (int i = 0; i < 3; i++)
		s[i] = call(&h, i == 2 ? bole_node_git_port(h.node) : bole_node_http_port(h.node));
	say(s[0], stalled, sizeof stalled - 1);
	h.platform->ops->sleep_until(h.platform, h.platform->ops->now_ns(h.platform) + SECOND / 5);
	uint64_t now = h.platform->ops->now_ns(h.platform);
	bole_node_close(h.node, now + SECOND / 2);
	cr_assert_geq(h.platform->ops->now_ns(h.platform), now + SECOND / 2);
	cr_assert_lt(h.platform->ops->now_ns(h.platform), now + 3 * SECOND);
	for (int i = 0; i < 3; i++)
		s[i]->ops->close(s[i]);
	h.node = NULL;
	house_close(&h);
}

/* -- git:// -- */

Test(node, git_requests_are_parsed_or_told_why_not)
{
	static const struct {
		const char *request;
		size_t len;
		const char *answer;
	} rows[] = {
#define ROW(text, reply) {text, sizeof(text) - 1, reply}
	        ROW("git-upload-pack /here.git\0host=localhost\0\0version=2\0", "version 2\n"),
	        ROW("git-upload-pack /here.git", "capabilities^{}"),
	        ROW("git-upload-pack here\0", "capabilities^{}"),
	        ROW("git-upload-pack /here.git/\n\0", "capabilities^{}"),
	        ROW("git-upload-pack /gone\0", "ERR no such repository"),
	        ROW("git-upload-pack /../etc/pass\0", "ERR no such repository"),
	        ROW("git-upload-pack ", "ERR no such repository"),
	        ROW("git-receive-pack /here\0", "ERR pushing is not enabled"),
	        ROW("git-shell /here\0", "ERR this service is not offered"),
	        ROW("", "ERR the request is empty or too long"),
	};
	static const struct {
		const char *request;
		const char *answer;
	} raw[] = {
	        {"0000", "ERR the request is empty or too long"},
	        {"ffffgit-upload-pack", "ERR the request is empty or too long"},
	        {"GET / HTTP/1.1\r\n\r\n", "ERR this is no Git request"},
	};
	struct house h;

	house_open(&h, "");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char packet[100];
		snprintf(packet, sizeof packet, "%04zx", rows[i].len + 4);
		memcpy(packet + 4, rows[i].request, rows[i].len);
		ask_git(&h, packet, rows[i].len + 4, rows[i].answer);
	}
	for (size_t i = 0; i < sizeof raw / sizeof raw[0]; i++)
		ask_git(&h, raw[i].request, strlen(raw[i].request), raw[i].answer);
	house_close(&h);
}

/* -- creating by pushing -- */

static unsigned repo_count(struct house *h)
{
	struct bole_repo repo = {0};
	unsigned count = 0;

	for (char after[BOLE_REPO_NAME_MAX + 1] = "";
	     bole_repo_next(h->store, after, &repo) == BOLE_OK; count++)
		memcpy(after, repo.name, sizeof after);
	return count;
}

Test(node, looking_and_probing_create_nothing)
{
	static const char probe[] = "POST /new.git/git-receive-pack HTTP/1.1\r\nContent-Type: "
	                            "application/x-git-receive-pack-request\r\n"
	                            "Content-Length: 4\r\n" END "0000";
	struct house h;

	house_open(&h, "receive.enable receive.create");
	ask(&h, "GET /new.git/info/refs?service=git-receive-pack HTTP/1.1\r\n" END);
	cr_assert_eq(status_of(answer), 200);
	cr_assert(has(answer, "001f# service=git-receive-pack\n0000"));
	cr_assert(has(answer, "capabilities^{}"));
	cr_assert(has(answer, "report-status"));
	ask(&h, "GET /new.git/info/refs?service=git-upload-pack HTTP/1.1\r\n" END);
	cr_assert_eq(status_of(answer), 404);
	ask(&h, probe);
	cr_assert_eq(status_of(answer), 200);
	cr_assert_eq(repo_count(&h), 1);
	house_close(&h);
}

Test(node, one_repository_may_differ_from_the_rest)
{
	struct house h;

	house_open(&h, "receive.enable=true repo.here.receive.enable=false "
	               "receive.create=false repo.team/x.receive.create=true");
	ask(&h, "GET /here.git/info/refs?service=git-receive-pack HTTP/1.1\r\n" END);
	cr_assert_eq(status_of(answer), 403);
	ask(&h, "GET /team/x.git/info/refs?service=git-receive-pack HTTP/1.1\r\n" END);
	cr_assert_eq(status_of(answer), 200);
	ask(&h, "GET /team/y.git/info/refs?service=git-receive-pack HTTP/1.1\r\n" END);
	cr_assert_eq(status_of(answer), 404);
	house_close(&h);
}

Test(node, a_wrong_configuration_does_not_start)
{
	static const char *const wrong[] = {"node.connections=none", "node.connections=0",
	                                    "node.memory=1",         "receive.enable=perhaps",
	                                    "http.listen=nowhere",   "git.listen=:99999"};
	struct house h;

	house_open(&h, "");
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct bole_config *config = NULL;
		struct bole_node *node = NULL;
		cr_assert_eq(bole_config_open(h.platform->alloc, &config), BOLE_OK);
		cr_assert_eq(
		        bole_config_command_line(config, "http.listen=127.0.0.1:0 git.listen=off"),
		        BOLE_OK);
		cr_assert_eq(bole_config_set(config, wrong[i]), BOLE_OK);
		cr_assert_eq(bole_node_start(h.platform, h.store, config, &node), BOLE_E_INVALID,
		             "%s", wrong[i]);
		bole_config_close(config);
	}
	house_close(&h);
}
