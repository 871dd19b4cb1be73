/* SPDX-License-Identifier: ISC */
/* Whole conversations from a server, one packet a line, so that the fuzzer plays with what they
 * mean and not with lengths. First byte: what the client wants (list, clone, fetch, push, by turns
 * of 8) and bit 3: the rest are raw bytes; bit 4: over HTTP; bit 5: with a depth of 1, bit 6: one
 * more than there is; bit 7: there is a second byte, of which bit 0: by a proxy, bit 1: with packs
 * from elsewhere, bit 2: without blobs, bit 3: with bundles and packs from elsewhere, and then "=",
 * alone, begins the answer of another connection, a file over HTTP, in which "B" is a bundle and
 * lines that begin with "&" stand as they are. In a line "$" is the id of a commit that "P", alone,
 * sends as a pack in band 1, "R" as it is; "%" that of one whose parent "`" is not in its pack "Q"
 * but in "S" (as it is "T", with the checksum "^"); "0" alone is a flush, "1" a delimiter, "-"
 * begins the next HTTP answer; "<" opens packets in a packet of band 1 (a report). Invariants: what
 * fails leaves nothing behind, what does not has verified objects, memory comes back. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/verify.h"
#include "support/client_script.h"

enum { ANSWERS = 8, LINES = 128, LINE_BYTES = 500 };

static struct script c;
static struct offer o;
static struct offer younger;
static struct offer older;
static struct bole_oid older_sum; /* of its pack */
static struct maker_bytes seed;
static struct maker_bytes answers[ANSWERS];

/* A commit without its parent, and that one, with the same empty tree. */
static void open_parts(void)
{
	struct maker_bytes text = {NULL, 0, 0};
	struct packmaker young, old;
	struct bole_oid tree;

	packmaker_init(&young, BOLE_HASH_SHA1);
	packmaker_init(&old, BOLE_HASH_SHA1);
	packmaker_object(&young, BOLE_OBJECT_TREE, "", 0, &tree);
	commit_text(&text, &tree, NULL, 1700000000, "first");
	packmaker_object(&old, BOLE_OBJECT_COMMIT, text.ptr, text.len, &older.commit);
	text.len = 0;
	commit_text(&text, &tree, &older.commit, 1700000060, "second");
	packmaker_object(&young, BOLE_OBJECT_COMMIT, text.ptr, text.len, &younger.commit);
	packmaker_finish(&young);
	packmaker_finish(&old);
	younger.pack = young.out;
	older.pack = old.out;
	bole_oid_from_raw(older.pack.ptr + older.pack.len - 20, BOLE_HASH_SHA1, &older_sum);
	maker_release(&text);
}

static void open_once(void)
{
	if (c.store != NULL)
		return;
	script_open(&c, BOLE_HASH_SHA1);
	offer_open(&o, BOLE_HASH_SHA1);
	offer_v2(&o, &seed);
	open_parts();
}

static void http_head(struct maker_bytes *out, bool first, unsigned what)
{
	const char *service = what == 3 ? "receive" : "upload";

	maker_text(out, "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-%s-pack-%s\r\n\r\n",
	           service, first ? "advertisement" : "result");
}

static void add_line(struct maker_bytes *out, const char *line, size_t len)
{
	char text[LINE_BYTES + 64 * BOLE_OID_HEX_MAX];
	bool band = len > 0 && line[0] == '<';
	struct maker_bytes inner = {NULL, 0, 0};
	size_t at = 0;

	if (len == 1 && line[0] == 'P') {
		say_band(out, 1, o.pack.ptr, o.pack.len);
		return;
	}
	if (len == 1 && (line[0] == 'Q' || line[0] == 'S')) {
		const struct offer *part = line[0] == 'Q' ? &younger : &older;

		say_band(out, 1, part->pack.ptr, part->pack.len);
		return;
	}
	if (len == 1 && line[0] == 'B') {
		maker_text(out, "# v2 git bundle\n%s refs/heads/main\n\n", hex(&o.commit));
		maker_append(out, o.pack.ptr, o.pack.len);
		return;
	}
	if (len > 0 && line[0] == '&') {
		maker_append(out, line + 1, len - 1);
		maker_append(out, "\n", 1);
		return;
	}
	if (len == 1 && (line[0] == 'R' || line[0] == 'T')) {
		const struct offer *whole = line[0] == 'R' ? &o : &older;

		maker_append(out, whole->pack.ptr, whole->pack.len);
		return;
	}
	if (len == 1 && (line[0] == '0' || line[0] == '1')) {
		maker_text(out, "000%c", line[0]);
		return;
	}
	for (size_t i = band; i < len && at < LINE_BYTES; i++) {
		const struct bole_oid *oid = line[i] == '$'   ? &o.commit
		                             : line[i] == '%' ? &younger.commit
		                             : line[i] == '`' ? &older.commit
		                             : line[i] == '^' ? &older_sum
		                                              : NULL;

		if (oid != NULL)
			at += (size_t)snprintf(text + at, sizeof text - at, "%s", hex(oid));
		else
			text[at++] = line[i] == '~' ? '\0' : line[i];
	}
	if (!band) {
		say_bytes(out, text, at);
		return;
	}
	if (at > 0)
		say_bytes(&inner, text, at);
	else
		say_flush(&inner);
	say_band(out, 1, inner.ptr, inner.len);
	maker_release(&inner);
}

static void next_answer(size_t *count, bool file, bool http, unsigned what)
{
	if (file)
		maker_text(&answers[(*count)++], "HTTP/1.1 200 OK\r\n\r\n");
	else if (http)
		http_head(&answers[(*count)++], false, what);
	else
		++*count;
}

static size_t build(const uint8_t *data, size_t size, bool raw, bool http, unsigned what)
{
	const char *rest = (const char *)data;
	size_t count = 1;

	for (size_t i = 0; i < ANSWERS; i++)
		answers[i].len = 0;
	if (raw) {
		maker_append(&answers[0], data, size);
		return 1;
	}
	if (http)
		http_head(&answers[0], true, what);
	for (unsigned lines = 0; size > 0 && lines < LINES; lines++) {
		const char *end = memchr(rest, '\n', size);
		size_t len = end == NULL ? size : (size_t)(end - rest);

		if ((http || c.elsewhere) && len == 1 && (rest[0] == '-' || rest[0] == '=') &&
		    count < ANSWERS)
			next_answer(&count, rest[0] == '=' && c.elsewhere, http, what);
		else
			add_line(&answers[count - 1], rest, len);
		len += end != NULL;
		rest += len;
		size -= len;
	}
	return count;
}

static void prepare(void)
{
	c.answers[0] = &seed;
	c.answer_count = 1;
	script_rewind(&c);
	BOLE_ASSERT(script_clone(&c, "git://host/x") == BOLE_OK);
	c.connections = c.told = 0;
}

/* Every link leads somewhere, but for parents of recorded ends. */
static void check_closed(void)
{
	const struct bole_verify_report report = {.finding = NULL};
	struct bole_verify_result result;
	struct bole_snapshot *snapshot;
	struct bole_repo repo;

	if (bole_repo_find(c.store, "r", &repo) != BOLE_OK)
		return;
	BOLE_ASSERT(bole_snapshot_open(c.store, repo.id, &snapshot) == BOLE_OK);
	BOLE_ASSERT(bole_verify(&c.test.base, snapshot, &c.test.alloc, &report, &result) ==
	            BOLE_OK);
	BOLE_ASSERT(result.errors == 0);
	bole_snapshot_close(snapshot);
}

static void converse(unsigned what, const char *url)
{
	static const char *const specs[] = {"main", ":refs/heads/old", "+main:refs/heads/other"};

	if (what == 0) {
		(void)script_list(&c, url);
	} else if (what == 1) {
		if (script_clone(&c, url) != BOLE_OK)
			BOLE_ASSERT(script_clean(&c));
	} else if (what == 2) {
		(void)script_fetch(&c, url);
		BOLE_ASSERT(script_has(&c, NULL));
	} else {
		(void)script_push(&c, url, specs, sizeof specs / sizeof specs[0]);
		BOLE_ASSERT(script_has(&c, &o.commit));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t before;

	open_once();
	if (size == 0)
		return 0;
	unsigned what = data[0] & 3;
	unsigned more = (data[0] & 128) != 0 && size > 1 ? data[1] : 0;
	size_t from = (data[0] & 128) != 0 && size > 1 ? 2 : 1;
	bool http = (data[0] & 16) != 0;
	c.answers[0] = NULL;
	c.answer_count = 0;
	script_rewind(&c);
	before = c.test.bytes;
	if (what >= 2)
		prepare();
	c.elsewhere = (more & 8) != 0;
	c.answer_count = build(data + from, size - from, (data[0] & 8) != 0, http, what);
	for (size_t i = 0; i < c.answer_count; i++)
		c.answers[i] = &answers[i];
	c.deepen.depth = (data[0] & 32) != 0;
	c.deepen.deepen = (data[0] & 64) != 0;
	c.options.http_proxy = (more & 1) != 0 ? "ann:pw@proxy:3128" : NULL;
	c.packfile_uris = (more & 2) != 0;
	c.filter = (more & 4) != 0 ? "blob:none" : NULL;
	converse(what, http ? "http://host/x" : "git://host/x");
	c.deepen = (struct bole_client_deepen){.depth = 0};
	c.options.http_proxy = c.filter = NULL;
	c.packfile_uris = false;
	c.elsewhere = false;
	check_closed();
	c.answer_count = 0;
	script_rewind(&c);
	BOLE_ASSERT(c.test.bytes <= before + (64 << 10));
	return 0;
}
