/* SPDX-License-Identifier: ISC */
#include "support/client_script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

/* -- Connections -- */

struct script_stream {
	struct bole_stream stream;
	struct script *script;
	const struct maker_bytes *answer;
	size_t at;
};

static enum bole_status stream_read(struct bole_stream *self, void *dst, size_t cap, size_t *got)
{
	struct script_stream *s = (struct script_stream *)(void *)self;
	struct script *c = s->script;

	*got = 0;
	if (s->answer == NULL || c->told == c->cut)
		return BOLE_END;
	if (s->at == s->answer->len) {
		if (c->endless == NULL || c->connections < c->answer_count)
			return BOLE_END;
		s->answer = c->endless;
		s->at = 0;
	}
	size_t n = s->answer->len - s->at;
	n = n < cap ? n : cap;
	n = c->step > 0 && n > c->step ? c->step : n;
	n = n < c->cut - c->told ? n : c->cut - c->told;
	memcpy(dst, s->answer->ptr + s->at, n);
	if (c->flip >= c->told && c->flip < c->told + n)
		((uint8_t *)dst)[c->flip - c->told] ^= c->flip_by;
	s->at += n;
	c->told += n;
	*got = n;
	return BOLE_OK;
}

static enum bole_status stream_writev(struct bole_stream *self, const struct bole_bytes *pieces,
                                      size_t count)
{
	struct script *c = ((struct script_stream *)(void *)self)->script;

	for (size_t i = 0; i < count; i++)
		if (c->asked.len < (1 << 20))
			maker_append(&c->asked, pieces[i].ptr, pieces[i].len);
	return BOLE_OK;
}

static void stream_set_deadline(struct bole_stream *self, uint64_t read_ns, uint64_t write_ns)
{
	(void)self;
	(void)read_ns;
	(void)write_ns;
}

static bool stream_hung_up(struct bole_stream *self)
{
	const struct script_stream *s = (struct script_stream *)(void *)self;

	return s->answer == NULL || s->at == s->answer->len;
}

static void stream_peer(struct bole_stream *self, char *dst, size_t cap)
{
	(void)self;
	snprintf(dst, cap, "script");
}

static enum bole_status stream_shutdown(struct bole_stream *self)
{
	(void)self;
	return BOLE_OK;
}

static void stream_close(struct bole_stream *self)
{
	free(self);
}

static enum bole_status script_connect(struct bole_platform *platform, const char *address,
                                       uint64_t deadline_ns, struct bole_stream **out)
{
	static const struct bole_stream_ops ops = {
	        .read = stream_read,
	        .writev = stream_writev,
	        .set_deadline = stream_set_deadline,
	        .hung_up = stream_hung_up,
	        .peer = stream_peer,
	        .shutdown = stream_shutdown,
	        .close = stream_close,
	};
	struct script *c =
	        (struct script *)(void *)((uint8_t *)platform - offsetof(struct script, platform));
	struct script_stream *s = calloc(1, sizeof *s);

	(void)deadline_ns;
	if (s == NULL)
		abort();
	s->stream.ops = &ops;
	s->script = c;
	if (c->connections < c->answer_count)
		s->answer = c->answers[c->connections];
	c->connections++;
	snprintf(c->last_address, sizeof c->last_address, "%s", address);
	*out = &s->stream;
	return BOLE_OK;
}

/* The calls of the platform get the pointer that they know. */
static struct bole_platform *inner(struct bole_platform *platform)
{
	return &((struct script *)(void *)((uint8_t *)platform - offsetof(struct script, platform)))
	                ->test.base;
}
static uint64_t now_ns(struct bole_platform *p)
{
	return inner(p)->ops->now_ns(inner(p));
}
static enum bole_status wall_s(struct bole_platform *p, int64_t *out)
{
	return inner(p)->ops->wall_s(inner(p), out);
}
static void random_bytes(struct bole_platform *p, void *dst, size_t len)
{
	inner(p)->ops->random(inner(p), dst, len);
}
static void log_line(struct bole_platform *p, enum bole_log_level level, const char *line)
{
	inner(p)->ops->log(inner(p), level, line);
}
static void yield(struct bole_platform *p)
{
	(void)p;
}

void script_open(struct script *c, uint8_t algo)
{
	memset(c, 0, sizeof *c);
	(void)algo;
	test_platform_init(&c->test, 1);
	c->test.quiet = true;
	c->ops = *c->test.base.ops;
	c->ops.now_ns = now_ns;
	c->ops.wall_s = wall_s;
	c->ops.random = random_bytes;
	c->ops.log = log_line;
	c->ops.yield = yield;
	c->ops.connect = script_connect;
	c->platform = (struct bole_platform){.ops = &c->ops, .alloc = c->test.base.alloc};
	c->cut = c->flip = SIZE_MAX;
	if (bole_memory_store_open(&c->test.base, c->test.base.alloc, &c->store) != BOLE_OK)
		abort();
}

void script_close(struct script *c)
{
	if (bole_store_close(c->store) != BOLE_OK)
		abort();
	maker_release(&c->asked);
	test_platform_release(&c->test);
}

void script_rewind(struct script *c)
{
	struct bole_repo repo;

	c->connections = c->told = c->changes = c->refused = 0;
	c->asked.len = 0;
	c->error[0] = c->reason[0] = '\0';
	if (bole_repo_find(c->store, "r", &repo) == BOLE_OK &&
	    bole_repo_remove(c->store, repo.id) != BOLE_OK)
		abort();
}

/* -- Calls -- */

static enum bole_status open_client(struct script *c, const char *url, struct bole_client **out)
{
	c->error[0] = '\0';
	return bole_client_open(&c->platform, c->platform.alloc, url, &c->options, c->error,
	                        sizeof c->error, out);
}

static enum bole_status end(struct script *c, struct bole_client *client, enum bole_status rc)
{
	snprintf(c->error, sizeof c->error, "%s", bole_client_error(client));
	if ((rc == BOLE_OK) != (c->error[0] == '\0'))
		abort();
	bole_client_close(client);
	return rc;
}

static void note(void *ctx, const struct bole_client_change *change)
{
	struct script *c = ctx;

	c->changes++;
	if (change->what == BOLE_CHANGE_REFUSED) {
		c->refused++;
		snprintf(c->reason, sizeof c->reason, "%s", change->reason);
	}
}

static enum bole_status take(struct script *c, const char *url, enum bole_fetch_mode mode)
{
	struct bole_client *client;
	struct bole_client_fetch job = {.repo = "r",
	                                .mode = mode,
	                                .prune = mode == BOLE_FETCH_UPDATE,
	                                .head = true,
	                                .memory_bytes_max = 16 << 20,
	                                .deepen = c->deepen,
	                                .filter = c->filter,
	                                .bundles = c->elsewhere,
	                                .packfile_uris = c->elsewhere || c->packfile_uris,
	                                .change = note,
	                                .ctx = c};
	enum bole_status rc = open_client(c, url, &client);

	return rc != BOLE_OK ? rc : end(c, client, bole_client_fetch(client, c->store, &job));
}

enum bole_status script_clone(struct script *c, const char *url)
{
	return take(c, url, BOLE_FETCH_CLONE);
}

enum bole_status script_fetch(struct script *c, const char *url)
{
	return take(c, url, BOLE_FETCH_UPDATE);
}

enum bole_status script_list(struct script *c, const char *url)
{
	struct bole_client *client;
	struct bole_client_list job = {.prefix_count = 0};
	enum bole_status rc = open_client(c, url, &client);

	return rc != BOLE_OK ? rc : end(c, client, bole_client_list(client, &job));
}

enum bole_status script_push(struct script *c, const char *url, const char *const *specs,
                             size_t count)
{
	struct bole_client *client;
	struct bole_client_push job = {
	        .repo = "r", .refspecs = specs, .refspec_count = count, .change = note, .ctx = c};
	enum bole_status rc = open_client(c, url, &client);

	return rc != BOLE_OK ? rc : end(c, client, bole_client_push(client, c->store, &job));
}

bool script_has(struct script *c, const struct bole_oid *oid)
{
	struct bole_bytes name = bole_bytes_z("refs/heads/main");
	struct bole_snapshot *snapshot;
	struct bole_repo repo;
	struct bole_entry entry;
	struct bole_ref ref;

	if (bole_repo_find(c->store, "r", &repo) != BOLE_OK ||
	    bole_snapshot_open(c->store, repo.id, &snapshot) != BOLE_OK)
		return false;
	bool has = oid == NULL || (bole_ref_get(snapshot, name, &ref) == BOLE_OK &&
	                           bole_oid_equal(&ref.oid, oid) &&
	                           bole_odb_find(snapshot, oid, &entry) == BOLE_OK);
	bole_snapshot_close(snapshot);
	return has;
}

bool script_clean(struct script *c)
{
	struct bole_repo repo;

	return bole_repo_find(c->store, "r", &repo) == BOLE_E_NOT_FOUND;
}

/* -- Words -- */

void say_bytes(struct maker_bytes *out, const void *bytes, size_t len)
{
	maker_text(out, "%04zx", len + 4);
	maker_append(out, bytes, len);
}

void say(struct maker_bytes *out, const char *format, ...)
{
	char text[1000];
	va_list args;

	va_start(args, format);
	int len = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	say_bytes(out, text, (size_t)len);
}

void say_flush(struct maker_bytes *out)
{
	maker_text(out, "0000");
}

void say_delim(struct maker_bytes *out)
{
	maker_text(out, "0001");
}

void say_band(struct maker_bytes *out, unsigned band, const void *bytes, size_t len)
{
	uint8_t packet[1001];

	for (size_t at = 0; at < len;) {
		size_t n = len - at < 1000 ? len - at : 1000;

		packet[0] = (uint8_t)band;
		memcpy(packet + 1, (const uint8_t *)bytes + at, n);
		say_bytes(out, packet, n + 1);
		at += n;
	}
}

const char *hex(const struct bole_oid *oid)
{
	static char text[4][BOLE_OID_HEX_MAX + 1];
	static unsigned next;

	return bole_oid_format(oid, text[next++ % 4]);
}

void offer_open(struct offer *o, uint8_t algo)
{
	struct packmaker maker;
	struct maker_bytes tree = {NULL, 0, 0};
	struct maker_bytes text = {NULL, 0, 0};
	struct bole_oid blob;
	struct bole_oid tree_id;

	packmaker_init(&maker, algo);
	packmaker_object(&maker, BOLE_OBJECT_BLOB, "hello\n", 6, &blob);
	tree_entry(&tree, "100644", "file", &blob);
	packmaker_object(&maker, BOLE_OBJECT_TREE, tree.ptr, tree.len, &tree_id);
	commit_text(&text, &tree_id, NULL, 1700000000, "first");
	packmaker_object(&maker, BOLE_OBJECT_COMMIT, text.ptr, text.len, &o->commit);
	packmaker_finish(&maker);
	o->pack = maker.out;
	maker_release(&tree);
	maker_release(&text);
}

void offer_close(struct offer *o)
{
	maker_release(&o->pack);
}

void offer_list(const struct offer *o, struct maker_bytes *out)
{
	say(out, "version 2\n");
	say(out, "agent=script\n");
	say(out, "ls-refs=unborn\n");
	say(out, "fetch=shallow\n");
	say(out, "object-format=%s\n", bole_hash_name(o->commit.algo));
	say_flush(out);
	say(out, "%s HEAD symref-target:refs/heads/main\n", hex(&o->commit));
	say(out, "%s refs/heads/main\n", hex(&o->commit));
	say_flush(out);
}

void offer_v2(const struct offer *o, struct maker_bytes *out)
{
	offer_list(o, out);
	say(out, "packfile\n");
	say_band(out, 2, "counting\n", 9);
	say_band(out, 1, o->pack.ptr, o->pack.len);
	say_flush(out);
}

void offer_v0(const struct offer *o, struct maker_bytes *out)
{
	char line[400];
	int len = snprintf(line, sizeof line,
	                   "%s HEAD%cmulti_ack_detailed side-band-64k thin-pack ofs-delta "
	                   "symref=HEAD:refs/heads/main object-format=%s agent=x\n",
	                   hex(&o->commit), 0, bole_hash_name(o->commit.algo));

	say_bytes(out, line, (size_t)len);
	say(out, "%s refs/heads/main\n", hex(&o->commit));
	say_flush(out);
	say(out, "NAK\n");
	say_band(out, 1, o->pack.ptr, o->pack.len);
	say_flush(out);
}
