/* SPDX-License-Identifier: ISC */
/* Git LFS over real sockets: what is answered to whom, hostile requests among them. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "bole/lfs.h"
#include "bole/node.h"
#include "bole/posix.h"

#define SECOND UINT64_C(1000000000)
#define JSON   "Content-Type: application/vnd.git-lfs+json\r\n"
#define ALICE  "Authorization: Basic YWxpY2U6YTE=\r\n" /* alice:a1 */
#define BOB    "Authorization: Basic Ym9iOmIy\r\n"     /* bob:b2 */
/* Of "hello". */
#define HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define WORLD "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct bole_platform *platform;
static struct bole_store *store;
static struct bole_config *config;
static struct bole_node *node;
static struct bole_repo repo;

static void open_node(const char *settings)
{
	struct bole_posix_options options = {.loops = 2, .log_level = BOLE_LOG_ERROR + 1};

	cr_assert_eq(bole_posix_open(&options, &platform), BOLE_OK);
	cr_assert_eq(bole_memory_store_open(platform, platform->alloc, &store), BOLE_OK);
	cr_assert_eq(bole_repo_create(store, "here", BOLE_HASH_SHA1, "refs/heads/main", &repo),
	             BOLE_OK);
	cr_assert_eq(bole_config_open(platform->alloc, &config), BOLE_OK);
	cr_assert_eq(bole_config_command_line(config, "http.listen=127.0.0.1:0 git.listen=off"),
	             BOLE_OK);
	cr_assert_eq(bole_config_command_line(config, settings), BOLE_OK);
	cr_assert_eq(bole_node_start(platform, store, config, &node), BOLE_OK);
}

static void close_node(void)
{
	bole_node_close(node, platform->ops->now_ns(platform) + SECOND);
	bole_config_close(config);
	cr_assert_eq(bole_store_close(store), BOLE_OK);
	bole_posix_close(platform);
}

static void add_user(char *settings, size_t cap, const char *name, const char *secret)
{
	struct bole_hash hash;
	struct bole_oid oid;
	char hex[65];
	size_t len = strlen(settings);

	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, "s:", 2);
	bole_hash_update(&hash, secret, strlen(secret));
	bole_hash_final(&hash, &oid);
	snprintf(settings + len, cap - len, " auth.token=%s:sha256:s:%s", name,
	         bole_oid_format(&oid, hex));
}

static void open_with_users(const char *more)
{
	char settings[1000];

	snprintf(settings, sizeof settings, "receive.enable=true %s", more);
	add_user(settings, sizeof settings, "alice", "a1");
	add_user(settings, sizeof settings, "bob", "b2");
	open_node(settings);
}

static struct bole_stream *call(void)
{
	struct bole_stream *s = NULL;
	char address[32];

	snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)bole_node_http_port(node));
	cr_assert_eq(platform->ops->connect(platform, address, BOLE_NEVER, &s), BOLE_OK);
	return s;
}

static char answer[1 << 18];
static size_t answer_len;

static void send_bytes(struct bole_stream *s, const void *bytes, size_t len)
{
	struct bole_bytes piece = bole_bytes_of(bytes, len);

	cr_assert_eq(s->ops->writev(s, &piece, 1), BOLE_OK);
}

/* Reads until the other side closes. Returns the status. */
static unsigned hear(struct bole_stream *s)
{
	uint64_t deadline = platform->ops->now_ns(platform) + 10 * SECOND;
	unsigned status = 0;
	size_t got = 0;

	answer_len = 0;
	s->ops->set_deadline(s, deadline, deadline);
	while (answer_len + 1 < sizeof answer &&
	       s->ops->read(s, answer + answer_len, sizeof answer - 1 - answer_len, &got) ==
	               BOLE_OK)
		answer_len += got;
	answer[answer_len] = '\0';
	cr_assert_lt(platform->ops->now_ns(platform), deadline, "no close: %s", answer);
	s->ops->close(s);
	return sscanf(answer, "HTTP/1.1 %u ", &status) == 1 ? status : 0;
}

/* A request with a body, and the status. headers: each with its CRLF. */
static unsigned ask_bytes(const char *method, const char *path, const char *headers,
                          const void *body, size_t len)
{
	struct bole_stream *s = call();
	char head[4096];

	int n = snprintf(head, sizeof head,
	                 "%s /here.git/info/lfs/%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	                 "Content-Length: %zu\r\n%s\r\n",
	                 method, path, len, headers);
	send_bytes(s, head, (size_t)n);
	if (len > 0) {
		struct bole_bytes piece = bole_bytes_of(body, len);
		(void)s->ops->writev(s, &piece, 1); /* a refusal may come before its end */
	}
	return hear(s);
}

static unsigned ask(const char *method, const char *path, const char *headers, const char *body)
{
	return ask_bytes(method, path, headers, body, strlen(body));
}

static bool has(const char *part)
{
	return strstr(answer, part) != NULL;
}

static const char *body(void)
{
	const char *at = strstr(answer, "\r\n\r\n");

	return at == NULL ? "" : at + 4;
}

Test(node_lfs, objects_go_up_and_come_down)
{
	open_node("receive.enable=true");
	cr_assert_eq(ask("POST", "objects/batch", JSON,
	                 "{\"operation\":\"upload\",\"transfers\":[\"x\",\"basic\"],\"hash_algo\":"
	                 "\"sha256\",\"ref\":{\"name\":\"refs/heads/main\"},\"objects\":["
	                 "{\"oid\":\"" HELLO "\",\"size\":5},{\"oid\":\"" EMPTY "\",\"size\":0}]}"),
	             200);
	cr_assert(has("Content-Type: application/vnd.git-lfs+json\r\n"));
	cr_assert(has("\"transfer\":\"basic\""));
	cr_assert(has("\"upload\":{\"href\":\"http://h/here.git/info/lfs/objects/" HELLO "\"}"));
	cr_assert(has("\"verify\":{\"href\":\"http://h/here.git/info/lfs/objects/" HELLO
	              "/verify\"}"));
	cr_assert_eq(ask("PUT", "objects/" HELLO, "", "hello"), 200);
	cr_assert_eq(ask("PUT", "objects/" HELLO, "", "hello"), 200);
	cr_assert_eq(ask("PUT", "objects/" EMPTY, "", ""), 200);
	cr_assert_eq(
	        ask("POST", "objects/" HELLO "/verify", JSON, "{\"oid\":\"" HELLO "\",\"size\":5}"),
	        200);
	cr_assert_eq(
	        ask("POST", "objects/" HELLO "/verify", JSON, "{\"oid\":\"" HELLO "\",\"size\":6}"),
	        422);
	cr_assert_eq(
	        ask("POST", "objects/" WORLD "/verify", JSON, "{\"oid\":\"" WORLD "\",\"size\":5}"),
	        404);
	cr_assert_eq(ask("POST", "objects/batch", JSON,
	                 "{\"operation\":\"upload\",\"objects\":[{\"oid\":\"" HELLO
	                 "\",\"size\":5}]}"),
	             200);
	cr_assert_not(has("actions"));
	cr_assert_eq(ask("POST", "objects/batch", JSON,
	                 "{\"operation\":\"download\",\"objects\":[{\"oid\":\"" HELLO
	                 "\",\"size\":5},{\"oid\":\"" HELLO "\",\"size\":6},{\"oid\":\"" WORLD
	                 "\",\"size\":5},{\"oid\":\"x\\\"y\",\"size\":5},{\"oid\":\"" HELLO
	                 "\",\"size\":-5}]}"),
	             200);
	cr_assert(has("\"download\":{\"href\":\"http://h/here.git/info/lfs/objects/" HELLO "\"}"));
	cr_assert(has("{\"oid\":\"" WORLD "\",\"size\":5,\"error\":{\"code\":404,"));
	cr_assert(has("{\"oid\":\"" HELLO "\",\"size\":6,\"error\":{\"code\":422,"));
	cr_assert(has("{\"oid\":\"x\\\"y\",\"size\":5,\"error\":{\"code\":422,"));
	cr_assert_eq(ask("GET", "objects/" HELLO, "", ""), 200);
	cr_assert_str_eq(body(), "hello");
	cr_assert(has("Content-Length: 5\r\n"));
	cr_assert_eq(ask("GET", "objects/" EMPTY, "", ""), 200);
	cr_assert_str_eq(body(), "");
	cr_assert_eq(ask("HEAD", "objects/" HELLO, "", ""), 200);
	cr_assert(has("Content-Length: 5\r\n"));
	cr_assert_str_eq(body(), "");
	close_node();
}

Test(node_lfs, ranges_are_served)
{
	open_node("receive.enable=true");
	cr_assert_eq(ask("PUT", "objects/" HELLO, "", "hello"), 200);
	cr_assert_eq(ask("GET", "objects/" HELLO, "Range: bytes=1-2\r\n", ""), 206);
	cr_assert(has("Content-Range: bytes 1-2/5\r\n"));
	cr_assert(has("Content-Length: 2\r\n"));
	cr_assert_str_eq(body(), "el");
	cr_assert_eq(ask("GET", "objects/" HELLO, "Range: bytes=-3\r\n", ""), 206);
	cr_assert_str_eq(body(), "llo");
	cr_assert_eq(ask("GET", "objects/" HELLO, "Range: bytes=5-\r\n", ""), 416);
	cr_assert(has("Content-Range: bytes */5\r\n"));
	cr_assert_eq(ask("GET", "objects/" HELLO, "Range: bytes=1-2,3-4\r\n", ""), 200);
	cr_assert_str_eq(body(), "hello");
	close_node();
}

Test(node_lfs, refusals_have_their_status_and_a_reason)
{
	static const struct {
		const char *method, *path, *headers, *body;
		unsigned status;
	} rows[] = {
	        {"GET", "", "", "", 404},
	        {"GET", "objects", "", "", 404},
	        {"GET", "objects/" HELLO, "", "", 404},
	        {"GET", "objects/2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824",
	         "", "", 404},
	        {"GET", "objects/" HELLO "0", "", "", 404},
	        {"GET", "objects/" HELLO "/verify", "", "", 405},
	        {"GET", "objects/batch", "", "", 405},
	        {"POST", "objects/" HELLO, JSON, "", 405},
	        {"PUT", "locks", "", "", 405},
	        {"PUT", "objects/batch", "", "", 405},
	        {"POST", "objects/batch", "", "{}", 415},
	        {"POST", "objects/batch", "Content-Type: application/json\r\n", "{}", 415},
	        {"POST", "objects/batch", JSON "Content-Encoding: br\r\n", "{}", 415},
	        {"POST", "objects/batch", JSON, "", 422},
	        {"POST", "objects/batch", JSON, "{", 422},
	        {"POST", "objects/batch", JSON, "{}", 422},
	        {"POST", "objects/batch", JSON, "[]", 422},
	        {"POST", "objects/batch", JSON, "{\"operation\":\"download\"} x", 422},
	        {"POST", "objects/batch", JSON, "{\"operation\":\"delete\",\"objects\":[]}", 422},
	        {"POST", "objects/batch", JSON, "{\"operation\":1,\"objects\":[]}", 422},
	        {"POST", "objects/batch", JSON, "{\"operation\":\"download\",\"objects\":{}}", 422},
	        {"POST", "objects/batch", JSON, "{\"operation\":\"download\",\"objects\":[1]}",
	         422},
	        {"POST", "objects/batch", JSON, "{\"operation\":\"download\",\"objects\":[{}]}",
	         422},
	        {"POST", "objects/batch", JSON,
	         "{\"operation\":\"download\",\"objects\":[{\"oid\":1,\"size\":1}]}", 422},
	        {"POST", "objects/batch", JSON,
	         "{\"operation\":\"download\",\"hash_algo\":\"sha512\",\"objects\":[]}", 409},
	        {"POST", "objects/batch", JSON,
	         "{\"operation\":\"download\",\"transfers\":[\"tus\"],\"objects\":[]}", 422},
	        {"POST", "objects/batch", JSON,
	         "{\"operation\":\"download\",\"transfers\":[],\"objects\":[]}", 200},
	        {"PUT", "objects/" HELLO, "", "hello world", 422},
	        {"PUT", "objects/" HELLO, "", "", 422},
	        {"PUT", "objects/" HELLO, "", "this is more than twenty bytes", 413},
	        {"POST", "locks", JSON, "{}", 422},
	        {"POST", "locks", JSON, "{\"path\":\"\"}", 422},
	        {"POST", "locks", JSON, "{\"path\":\"/etc/passwd\"}", 422},
	        {"POST", "locks", JSON, "{\"path\":\"a\\u0000b\"}", 422},
	        {"POST", "locks", JSON, "{\"path\":\"a\\nb\"}", 422},
	        {"POST", "locks", JSON, "{\"path\":5}", 422},
	        {"GET", "locks?limit=x", "", "", 422},
	        {"GET", "locks?cursor=x", "", "", 422},
	        {"GET", "locks?path=%zz", "", "", 422},
	        {"POST", "locks/verify", JSON, "{\"cursor\":\"x\"}", 422},
	        {"POST", "locks/verify", JSON, "{\"limit\":-1}", 422},
	        {"POST", "locks/nonsense/unlock", JSON, "{}", 404},
	        {"POST", "locks/000000000000000000000000000000000000000000000000/unlock", JSON,
	         "{}", 404},
	};

	open_node("receive.enable=true lfs.maxObjectSize=20");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		unsigned status = ask(rows[i].method, rows[i].path, rows[i].headers, rows[i].body);

		cr_assert_eq(status, rows[i].status, "row %zu: %u: %s", i, status, answer);
		if (status >= 400 && strcmp(rows[i].method, "HEAD") != 0)
			cr_assert(has("{\"message\":\""), "row %zu: %s", i, answer);
	}
	cr_assert_eq(ask("GET", "objects/" HELLO, "", ""), 404);
	close_node();
}

static void add_text(char *dst, size_t cap, size_t *len, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	*len += (size_t)vsnprintf(dst + *len, cap - *len, format, args);
	va_end(args);
}

Test(node_lfs, bodies_and_batches_have_limits)
{
	static char big[600 * 1024];
	size_t len = 0;

	open_node("receive.enable=true");
	memset(big, ' ', sizeof big);
	cr_assert_eq(ask_bytes("POST", "objects/batch", JSON, big, sizeof big), 413);
	memset(big, '[', sizeof big);
	cr_assert_eq(ask_bytes("POST", "objects/batch", JSON, big, 1000), 413);
	memcpy(big, "{\"x\":", 5);
	cr_assert_eq(ask_bytes("POST", "objects/batch", JSON, big, 1000), 413);
	for (int count = 1000; count <= 1001; count++) {
		len = 0;
		add_text(big, sizeof big, &len, "{\"operation\":\"download\",\"objects\":[");
		for (int i = 0; i < count; i++)
			add_text(big, sizeof big, &len, "%s{\"oid\":\"%064x\",\"size\":1}",
			         i == 0 ? "" : ",", (unsigned)i);
		add_text(big, sizeof big, &len, "]}");
		cr_assert_eq(ask_bytes("POST", "objects/batch", JSON, big, len),
		             count == 1000 ? 200 : 413);
		if (count == 1000) {
			cr_assert(has("000000003e7\""), "the last one");
			cr_assert(has("]}\n"));
		}
	}
	close_node();
}

/* Goal: whoever may fetch may read large files and locks, whoever may push may write both. */
Test(node_lfs, access_is_that_of_fetches_and_pushes)
{
	static const char *const up = "{\"operation\":\"upload\",\"objects\":[]}";
	static const char *const down = "{\"operation\":\"download\",\"objects\":[]}";

	open_with_users("\"access.rule=deny write bob **\"");
	cr_assert_eq(ask("POST", "objects/batch", JSON, down), 200);
	cr_assert_eq(ask("POST", "objects/batch", JSON, up), 401);
	cr_assert(has("LFS-Authenticate: Basic realm=\"bole\"\r\n"));
	cr_assert_eq(ask("POST", "objects/batch", JSON BOB, up), 403);
	cr_assert_eq(ask("POST", "objects/batch", JSON ALICE, up), 200);
	cr_assert_eq(ask("POST", "objects/batch", JSON "Authorization: Basic YWxpY2U6eHg=\r\n", up),
	             401);
	cr_assert_eq(ask("POST", "objects/batch", JSON ALICE,
	                 "{\"operation\":\"upload\",\"objects\":[{\"oid\":\"" HELLO
	                 "\",\"size\":5}]}"),
	             200);
	cr_assert(has("\"header\":{\"Authorization\":\"Basic YWxpY2U6YTE=\"}"));
	cr_assert_eq(ask("PUT", "objects/" HELLO, "", "hello"), 401);
	cr_assert_eq(ask("PUT", "objects/" HELLO, BOB, "hello"), 403);
	cr_assert_eq(ask("PUT", "objects/" HELLO, ALICE, "hello"), 200);
	cr_assert_eq(ask("GET", "objects/" HELLO, "", ""), 200);
	cr_assert_eq(
	        ask("POST", "objects/" HELLO "/verify", JSON, "{\"oid\":\"" HELLO "\",\"size\":5}"),
	        401);
	cr_assert_eq(ask("GET", "locks", "", ""), 200);
	cr_assert_eq(ask("POST", "locks", JSON, "{\"path\":\"a\"}"), 401);
	cr_assert_eq(ask("POST", "locks", JSON BOB, "{\"path\":\"a\"}"), 403);
	cr_assert_eq(ask("POST", "locks/verify", JSON BOB, "{}"), 403);
	close_node();

	open_with_users("\"access.rule=deny read anonymous **\"");
	cr_assert_eq(ask("POST", "objects/batch", JSON, down), 401);
	cr_assert_eq(ask("GET", "objects/" HELLO, "", ""), 401);
	cr_assert_eq(ask("GET", "locks", "", ""), 401);
	cr_assert_eq(ask("GET", "objects/" HELLO, ALICE, ""), 404);
	close_node();

	open_node("");
	cr_assert_eq(ask("POST", "objects/batch", JSON, up), 403);
	cr_assert_eq(ask("PUT", "objects/" HELLO, "", "hello"), 403);
	cr_assert_eq(ask("POST", "objects/batch", JSON, down), 200);
	close_node();

	open_node("receive.enable=true repo.here.lfs.enable=false");
	cr_assert_eq(ask("POST", "objects/batch", JSON, down), 404);
	cr_assert_eq(ask("PUT", "objects/" HELLO, "", "hello"), 404);
	close_node();
}

Test(node_lfs, a_reference_that_may_not_be_written_is_refused_by_name)
{
	open_with_users("\"access.rule=deny write bob ** refs/heads/main\"");
	cr_assert_eq(ask("POST", "objects/batch", JSON BOB,
	                 "{\"operation\":\"upload\",\"ref\":{\"name\":\"refs/heads/main\"},"
	                 "\"objects\":[]}"),
	             403);
	cr_assert_eq(ask("POST", "objects/batch", JSON BOB,
	                 "{\"operation\":\"upload\",\"ref\":{\"name\":\"refs/heads/side\"},"
	                 "\"objects\":[]}"),
	             200);
	close_node();
}

Test(node_lfs, an_upload_may_come_before_the_push_that_makes_the_repository)
{
	struct bole_stream *s;
	static const char put[] = "PUT /new/one.git/info/lfs/objects/" HELLO
	                          " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	                          "Content-Length: 5\r\n\r\nhello";
	static const char batch[] =
	        "POST /new/one.git/info/lfs/objects/batch HTTP/1.1\r\nHost: h\r\n" JSON
	        "Connection: close\r\nContent-Length: 37\r\n\r\n"
	        "{\"operation\":\"upload\",\"objects\":[]}  ";
	struct bole_repo made;

	open_node("receive.enable=true");
	s = call();
	send_bytes(s, put, sizeof put - 1);
	cr_assert_eq(hear(s), 404);
	close_node();
	open_node("receive.enable=true receive.create=true init.defaultObjectFormat=sha256");
	s = call();
	send_bytes(s, batch, sizeof batch - 1);
	cr_assert_eq(hear(s), 200);
	cr_assert_eq(bole_repo_find(store, "new/one", &made), BOLE_E_NOT_FOUND);
	s = call();
	send_bytes(s, put, sizeof put - 1);
	cr_assert_eq(hear(s), 200);
	cr_assert_eq(bole_repo_find(store, "new/one", &made), BOLE_OK);
	cr_assert_eq(made.algo, BOLE_HASH_SHA256);
	close_node();
}

static unsigned unlock(const char *who, const char *id, const char *text)
{
	char path[100];
	char headers[300];

	snprintf(path, sizeof path, "locks/%s/unlock", id);
	snprintf(headers, sizeof headers, "%s%s", JSON, who);
	return ask("POST", path, headers, text);
}

static void lock_id(char id[49])
{
	const char *at = strstr(answer, "\"id\":\"");

	cr_assert_not_null(at);
	memcpy(id, at + 6, 48);
	id[48] = '\0';
}

Test(node_lfs, locks_are_taken_listed_and_given_back)
{
	char id[49];
	char path[100];

	open_with_users("\"access.rule=deny force alice **\"");
	cr_assert_eq(ask("POST", "locks", JSON ALICE, "{\"path\":\"a b/\\u00fc.bin\"}"), 201);
	cr_assert(has("\"path\":\"a b/\xc3\xbc.bin\""));
	cr_assert(has("\"owner\":{\"name\":\"alice\"}"));
	cr_assert(has("\"locked_at\":\"20"));
	lock_id(id);
	cr_assert_eq(ask("POST", "locks", JSON BOB, "{\"path\":\"a b/\\u00fc.bin\"}"), 409);
	cr_assert(has(id));
	cr_assert(has("\"message\":\""));
	cr_assert_eq(ask("POST", "locks", JSON BOB,
	                 "{\"path\":\"other\",\"ref\":{\"name\":\"refs/heads/main\"}}"),
	             201);
	cr_assert_eq(ask("GET", "locks?path=a+b%2F%C3%BC.bin", "", ""), 200);
	cr_assert(has(id));
	cr_assert_not(has("other"));
	cr_assert_eq(ask("GET", "locks?path=nothing", "", ""), 200);
	cr_assert(has("{\"locks\":[]}"));
	snprintf(path, sizeof path, "locks?id=%s", id);
	cr_assert_eq(ask("GET", path, "", ""), 200);
	cr_assert(has(id));
	cr_assert_eq(ask("GET", "locks?id=zzz", "", ""), 200);
	cr_assert(has("{\"locks\":[]}"));
	cr_assert_eq(ask("POST", "locks/verify", JSON ALICE, "{}"), 200);
	const char *ours = strstr(answer, "\"ours\":[{");
	const char *theirs = strstr(answer, "\"theirs\":[{");
	cr_assert(ours != NULL && theirs != NULL);
	cr_assert_lt(strstr(answer, "alice"), theirs);
	cr_assert_gt(strstr(answer, "bob"), theirs);
	cr_assert_eq(unlock(BOB, id, "{}"), 403);
	cr_assert_eq(unlock(BOB, id, "{\"force\":true}"), 200);
	cr_assert_eq(unlock(BOB, id, "{\"force\":true}"), 404);
	cr_assert_eq(ask("GET", "locks?path=other", "", ""), 200);
	lock_id(id);
	cr_assert_eq(unlock(ALICE, id, "{\"force\":true}"), 403);
	cr_assert_eq(unlock(BOB, id, "{}"), 200);
	close_node();
}

/* Goal: of many that ask for one lock at once, one gets it; an object that many bring at once is
 * stored once. */
Test(node_lfs, rivals_do_not_both_win)
{
	enum { RIVALS = 12 };
	static const char lock[] = "POST /here.git/info/lfs/locks HTTP/1.1\r\nHost: h\r\n" JSON
	                           "Connection: close\r\nContent-Length: 12\r\n\r\n"
	                           "{\"path\":\"a\"}";
	static const char put[] = "PUT /here.git/info/lfs/objects/" HELLO
	                          " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	                          "Content-Length: 5\r\n\r\nhello";
	struct bole_stream *streams[2 * RIVALS];
	unsigned locked = 0;

	open_node("receive.enable=true");
	for (size_t i = 0; i < 2 * RIVALS; i++) {
		streams[i] = call();
		if (i < RIVALS)
			send_bytes(streams[i], lock, sizeof lock - 1);
		else
			send_bytes(streams[i], put, sizeof put - 1);
	}
	for (size_t i = 0; i < 2 * RIVALS; i++) {
		unsigned status = hear(streams[i]);

		locked += status == 201;
		cr_assert_eq(status, i >= RIVALS ? 200U : status == 201 ? 201U : 409U);
	}
	cr_assert_eq(locked, 1);
	cr_assert_eq(ask("GET", "objects/" HELLO, "", ""), 200);
	close_node();
}

/* Pages of 7 over 30 locks name each lock once. */
Test(node_lfs, locks_come_in_pages)
{
	char cursor[49] = "";
	unsigned seen = 0;

	open_node("receive.enable=true");
	for (int i = 0; i < 30; i++) {
		char text[64];

		snprintf(text, sizeof text, "{\"path\":\"file-%02d\"}", i);
		cr_assert_eq(ask("POST", "locks", JSON, text), 201);
	}
	for (unsigned page = 0;; page++) {
		char path[100];

		cr_assert_lt(page, 10);
		snprintf(path, sizeof path, "locks?limit=7&cursor=%s", cursor);
		if (page == 0)
			snprintf(path, sizeof path, "locks?limit=7");
		cr_assert_eq(ask("GET", path, "", ""), 200);
		for (const char *p = answer; (p = strstr(p, "\"file-")) != NULL; p++)
			seen |= 1U << strtoul(p + 6, NULL, 10);
		const char *next = strstr(answer, "\"next_cursor\":\"");
		if (next == NULL)
			break;
		memcpy(cursor, next + 15, 48);
	}
	cr_assert_eq(seen, (1U << 30) - 1);
	close_node();
}

/* Goal: a peer that hangs up at any byte of an upload leaves nothing, and the node goes on. */
Test(node_lfs, an_upload_that_breaks_off_leaves_nothing)
{
	enum { BIG = BOLE_LFS_CHUNK_BYTES + 1000 };
	static uint8_t content[BIG];
	struct bole_lfs_object object;
	struct bole_hash hash;
	struct bole_oid oid;
	char hex[65];
	char head[300];

	open_node("receive.enable=true");
	memset(content, 'c', sizeof content);
	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, content, sizeof content);
	bole_hash_final(&hash, &oid);
	int n = snprintf(head, sizeof head,
	                 "PUT /here.git/info/lfs/objects/%s HTTP/1.1\r\nHost: h\r\n"
	                 "Content-Length: %zu\r\n\r\n",
	                 bole_oid_format(&oid, hex), sizeof content);
	for (size_t sent = 0; sent < sizeof content; sent += 60001) {
		struct bole_stream *s = call();

		send_bytes(s, head, (size_t)n);
		if (sent > 0)
			send_bytes(s, content, sent);
		s->ops->close(s);
	}
	struct bole_stream *s = call();
	send_bytes(s, head, (size_t)n);
	send_bytes(s, content, sizeof content - 1);
	cr_assert_eq(s->ops->shutdown(s), BOLE_OK);
	(void)hear(s);
	cr_assert_eq(bole_lfs_find(store, repo.id, platform->alloc, &oid, &object),
	             BOLE_E_NOT_FOUND);
	char path[100];
	snprintf(path, sizeof path, "objects/%s", hex);
	cr_assert_eq(ask_bytes("PUT", path, "", content, sizeof content), 200);
	bole_node_close(node, platform->ops->now_ns(platform) + SECOND);
	uint64_t removed;
	cr_assert_eq(bole_lfs_sweep(store, platform->alloc, &removed), BOLE_OK);
	cr_assert_eq(removed, 0);
	cr_assert_eq(bole_node_start(platform, store, config, &node), BOLE_OK);
	cr_assert_eq(ask("GET", path, "Range: bytes=-5\r\n", ""), 206);
	cr_assert_str_eq(body(), "ccccc");
	close_node();
}

Test(node_lfs, what_was_removed_is_gone)
{
	struct bole_oid oid;

	open_node("receive.enable=true");
	cr_assert_eq(ask("PUT", "objects/" HELLO, "", "hello"), 200);
	cr_assert_eq(bole_oid_parse(HELLO, 64, BOLE_HASH_SHA256, &oid), BOLE_OK);
	cr_assert_eq(bole_lfs_remove(store, repo.id, platform->alloc, &oid, true), BOLE_OK);
	cr_assert_eq(ask("GET", "objects/" HELLO, "", ""), 410);
	cr_assert_eq(ask("POST", "objects/batch", JSON,
	                 "{\"operation\":\"download\",\"objects\":[{\"oid\":\"" HELLO
	                 "\",\"size\":5}]}"),
	             200);
	cr_assert(has("\"code\":410"));
	cr_assert_eq(ask("PUT", "objects/" HELLO, "", "hello"), 200);
	cr_assert_eq(ask("GET", "objects/" HELLO, "", ""), 200);
	close_node();
}

Test(node_lfs, addresses_are_those_of_the_request_or_of_the_configuration)
{
	static const char batch[] =
	        "{\"operation\":\"upload\",\"objects\":[{\"oid\":\"" HELLO "\",\"size\":5}]}";
	static const char *const hosts[] = {"a\"b", "a/b", "", "a b"};

	open_node("receive.enable=true");
	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
		struct bole_stream *s = call();
		char text[1000];
		int n = snprintf(
		        text, sizeof text,
		        "POST /here.git/info/lfs/objects/batch HTTP/1.1\r\nHost: %s\r\n" JSON
		        "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
		        hosts[i], sizeof batch - 1, batch);
		send_bytes(s, text, (size_t)n);
		cr_assert_eq(hear(s), 400, "host %s", hosts[i]);
	}
	close_node();
	open_node("receive.enable=true lfs.url=https://git.example/");
	cr_assert_eq(ask("POST", "objects/batch", JSON, batch), 200);
	cr_assert(has("\"href\":\"https://git.example/here.git/info/lfs/objects/" HELLO "\""));
	close_node();
}
