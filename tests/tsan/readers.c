/* SPDX-License-Identifier: ISC */
/* Many readers against one writer, through the whole node under ThreadSanitizer: fibers clone over
 * git:// and HTTP while another pushes branch after branch. A tip that was acknowledged is in every
 * later advertisement, and every pack that is sent is whole. On the memory store, and on the flash
 * store over a disk behind the workers. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "bole/devices.h"
#include "bole/node.h"
#include "bole/posix.h"
#include "tests/support/packmaker.h"

enum {
	PUSHES = 16,
	READERS = 6,
	COMMITS = 20,
	COMMITS_LARGE = 3200,
	ANSWER_MAX = 2 << 20,
	DISK_BYTES = 300 << 20
};

#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

struct shared {
	struct bole_platform *p;
	struct bole_node *node;
	char http[32];
	char git[32];
	struct bole_mutex lock;
	struct bole_cond changed;
	unsigned pushed; /* branches that were acknowledged */
	char tips[PUSHES][BOLE_OID_HEX_MAX + 1];
	unsigned ended;
	struct packmaker packs[PUSHES];
	struct bole_oid made[PUSHES];
	atomic_uint clones;
	atomic_uint_least64_t bytes;
};

static void ended(struct shared *s)
{
	s->p->ops->mutex_lock(s->p, &s->lock);
	s->ended++;
	s->p->ops->cond_broadcast(s->p, &s->changed);
	s->p->ops->mutex_unlock(s->p, &s->lock);
}

static void say(struct bole_stream *stream, const void *text, size_t len)
{
	struct bole_bytes piece = bole_bytes_of(text, len);

	CHECK(stream->ops->writev(stream, &piece, 1) == BOLE_OK);
}

static size_t hear_all(struct bole_stream *stream, uint8_t *out)
{
	size_t len = 0;
	size_t got = 0;

	while (len < ANSWER_MAX &&
	       stream->ops->read(stream, out + len, ANSWER_MAX - len, &got) == BOLE_OK)
		len += got;
	CHECK(len < ANSWER_MAX);
	return len;
}

static struct bole_stream *call(struct shared *s, const char *address)
{
	struct bole_stream *stream = NULL;

	CHECK(s->p->ops->connect(s->p, address, BOLE_NEVER, &stream) == BOLE_OK);
	return stream;
}

static size_t post(struct shared *s, const char *service, const void *body, size_t len,
                   const char *protocol, uint8_t *out)
{
	struct bole_stream *stream = call(s, s->http);
	char head[400];

	int n = snprintf(head, sizeof head,
	                 "POST /main.git/git-%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	                 "Content-Type: application/x-git-%s-request\r\n%s"
	                 "Content-Length: %zu\r\n\r\n",
	                 service, service, protocol, len);
	say(stream, head, (size_t)n);
	say(stream, body, len);
	size_t got = hear_all(stream, out);
	stream->ops->close(stream);
	CHECK(memcmp(out, "HTTP/1.1 200 OK\r\n", 17) == 0);
	return got;
}

/* -- the writer -- */

/* The i-th history as a pack. Made before the node starts: no fiber may compute for that long. */
static void make_pack(struct shared *s, unsigned i)
{
	/* One push is large enough for an extent of its own. */
	uint32_t commits = i == 3 ? COMMITS_LARGE : COMMITS;

	packmaker_init(&s->packs[i], BOLE_HASH_SHA1);
	s->made[i] = packmaker_history(&s->packs[i], commits, i + 1);
	packmaker_finish(&s->packs[i]);
}

static void push_one(struct shared *s, unsigned i, uint8_t *answer)
{
	struct maker_bytes body = {0};
	char command[200];
	char hex[BOLE_OID_HEX_MAX + 1];

	bole_oid_format(&s->made[i], hex);
	int n = snprintf(command, sizeof command, "%040d %s refs/heads/b%u%c report-status", 0, hex,
	                 i, 0);
	maker_text(&body, "%04x", (unsigned)n + 4);
	maker_append(&body, command, (size_t)n);
	maker_text(&body, "0000");
	maker_append(&body, s->packs[i].out.ptr, s->packs[i].out.len);
	size_t len = post(s, "receive-pack", body.ptr, body.len, "", answer);
	CHECK(memmem(answer, len, "unpack ok\n", 10) != NULL);
	maker_release(&body);
	s->p->ops->mutex_lock(s->p, &s->lock);
	memcpy(s->tips[s->pushed++], hex, sizeof hex);
	s->p->ops->cond_broadcast(s->p, &s->changed);
	s->p->ops->mutex_unlock(s->p, &s->lock);
}

static void writer(void *arg)
{
	struct shared *s = arg;
	uint8_t *answer = malloc(ANSWER_MAX);

	for (unsigned i = 0; i < PUSHES; i++)
		push_one(s, i, answer);
	free(answer);
	ended(s);
}

/* -- the readers -- */

/* Everything that must be advertised by now is. */
static void check_refs(struct shared *s, unsigned pushed, uint8_t *answer)
{
	static const char body[] = "0014command=ls-refs\n0000";
	size_t len = post(s, "upload-pack", body, sizeof body - 1, "Git-Protocol: version=2\r\n",
	                  answer);

	for (unsigned i = 0; i < pushed; i++) {
		char line[120];
		s->p->ops->mutex_lock(s->p, &s->lock);
		snprintf(line, sizeof line, "%s refs/heads/b%u\n", s->tips[i], i);
		s->p->ops->mutex_unlock(s->p, &s->lock);
		CHECK(memmem(answer, len, line, strlen(line)) != NULL);
	}
}

/* Takes the side-band apart: the pack has a header and the right trailer. */
static void check_pack(uint8_t *answer, size_t len)
{
	const uint8_t *start = memmem(answer, len, "000dpackfile\n", 13);
	struct bole_hash hash;
	struct bole_oid sum;
	size_t at = 0;
	size_t pack = 0;

	CHECK(start != NULL);
	at = (size_t)(start - answer) + 13;
	for (unsigned size = 0; at + 4 <= len; at += size) {
		CHECK(sscanf((const char *)answer + at, "%4x", &size) == 1);
		if (size == 0)
			break;
		CHECK(size > 4 && at + size <= len);
		if (answer[at + 4] == 1) {
			memmove(answer + pack, answer + at + 5, size - 5);
			pack += size - 5;
		}
	}
	CHECK(pack > 32 && memcmp(answer, "PACK", 4) == 0);
	bole_hash_init(&hash, BOLE_HASH_SHA1);
	bole_hash_update(&hash, answer, pack - 20);
	bole_hash_final(&hash, &sum);
	CHECK(memcmp(sum.bytes, answer + pack - 20, 20) == 0);
}

/* A clone of one branch over git://, version 2. */
static void clone(struct shared *s, unsigned branch, uint8_t *answer)
{
	static const char hello[] = "0030git-upload-pack /main.git\0host=h\0\0version=2\0";
	struct bole_stream *stream = call(s, s->git);
	char request[300];
	char hex[BOLE_OID_HEX_MAX + 1];

	s->p->ops->mutex_lock(s->p, &s->lock);
	memcpy(hex, s->tips[branch], sizeof hex);
	s->p->ops->mutex_unlock(s->p, &s->lock);
	say(stream, hello, sizeof hello - 1);
	int n = snprintf(request, sizeof request,
	                 "0011command=fetch0001000dofs-delta0032want %s\n0009done\n00000000", hex);
	say(stream, request, (size_t)n);
	size_t len = hear_all(stream, answer);
	stream->ops->close(stream);
	check_pack(answer, len);
	atomic_fetch_add(&s->clones, 1);
	atomic_fetch_add(&s->bytes, len);
}

static void reader(void *arg)
{
	struct shared *s = arg;
	uint8_t *answer = malloc(ANSWER_MAX);
	unsigned pushed = 0;
	unsigned turn = 0;

	while (pushed < PUSHES) {
		s->p->ops->mutex_lock(s->p, &s->lock);
		while (s->pushed == 0)
			(void)s->p->ops->cond_wait(s->p, &s->changed, &s->lock, BOLE_NEVER);
		pushed = s->pushed;
		s->p->ops->mutex_unlock(s->p, &s->lock);
		check_refs(s, pushed, answer);
		clone(s, turn++ % pushed, answer);
	}
	free(answer);
	ended(s);
}

/* -- the node -- */

static void serve(struct shared *s, struct bole_store *store)
{
	struct bole_config *config = NULL;
	struct bole_repo repo;

	CHECK(bole_repo_create(store, "main", BOLE_HASH_SHA1, "refs/heads/b0", &repo) == BOLE_OK);
	CHECK(bole_config_open(s->p->alloc, &config) == BOLE_OK);
	CHECK(bole_config_command_line(config, "http.listen=127.0.0.1:0 git.listen=127.0.0.1:0 "
	                                       "receive.enable") == BOLE_OK);
	CHECK(bole_node_start(s->p, store, config, &s->node) == BOLE_OK);
	snprintf(s->http, sizeof s->http, "127.0.0.1:%u", (unsigned)bole_node_http_port(s->node));
	snprintf(s->git, sizeof s->git, "127.0.0.1:%u", (unsigned)bole_node_git_port(s->node));
	for (unsigned i = 0; i < READERS; i++)
		CHECK(s->p->ops->fiber_start(s->p, "reader", reader, s, 0) == BOLE_OK);
	CHECK(s->p->ops->fiber_start(s->p, "writer", writer, s, 0) == BOLE_OK);
	s->p->ops->mutex_lock(s->p, &s->lock);
	while (s->ended < READERS + 1)
		(void)s->p->ops->cond_wait(s->p, &s->changed, &s->lock, BOLE_NEVER);
	s->p->ops->mutex_unlock(s->p, &s->lock);
	bole_node_close(s->node, s->p->ops->now_ns(s->p) + UINT64_C(1000000000));
	bole_config_close(config);
}

struct world {
	struct shared s;
	struct bole_store *store;
	struct bole_block *file;
	struct bole_block *disk;
};

static void open_memory(struct world *w, struct bole_platform *p)
{
	CHECK(bole_memory_store_open(p, p->alloc, &w->store) == BOLE_OK);
}

/* A file and not a RAM disk: a read-ahead may pass over what is being programmed, which a kernel
 * sorts out and memcpy does not. */
static void open_flash(struct world *w, struct bole_platform *p)
{
	struct bole_block_file_options file = {.create_bytes = DISK_BYTES};
	struct bole_flash_format_options format = {.segment_bytes = 0};
	struct bole_flash_open_options options = {.read_only = false};
	char dir[] = "/tmp/bole-readers-XXXXXX";
	char path[64];
	char owner[100];

	CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof path, "%s/disk", dir);
	CHECK(bole_block_file_open(p->alloc, path, &file, owner, sizeof owner, &w->file) ==
	      BOLE_OK);
	CHECK(unlink(path) == 0 && rmdir(dir) == 0);
	CHECK(bole_posix_offload_block(p, w->file, &w->disk) == BOLE_OK);
	CHECK(bole_flash_format(w->disk, p, &format) == BOLE_OK);
	CHECK(bole_flash_open(w->disk, p, p->alloc, &options, &w->store) == BOLE_OK);
}

static void test(const char *name, void (*open)(struct world *, struct bole_platform *))
{
	struct bole_posix_options options = {.loops = 3, .log_level = BOLE_LOG_ERROR + 1};
	static struct world w;
	struct shared *s = &w.s;

	memset(&w, 0, sizeof w);
	CHECK(bole_posix_open(&options, &s->p) == BOLE_OK);
	s->p->ops->mutex_init(s->p, &s->lock);
	s->p->ops->cond_init(s->p, &s->changed);
	for (unsigned i = 0; i < PUSHES; i++)
		make_pack(s, i);
	open(&w, s->p);
	serve(s, w.store);
	for (unsigned i = 0; i < PUSHES; i++)
		packmaker_release(&s->packs[i]);
	CHECK(bole_store_close(w.store) == BOLE_OK);
	bole_block_close(w.disk);
	bole_block_close(w.file);
	s->p->ops->cond_destroy(s->p, &s->changed);
	s->p->ops->mutex_destroy(s->p, &s->lock);
	bole_posix_close(s->p);
	printf("%s: %u clones, %u pushes, %llu KiB: no race\n", name, atomic_load(&s->clones),
	       PUSHES, (unsigned long long)atomic_load(&s->bytes) / 1024);
}

int main(void)
{
	test("memory", open_memory);
	test("flash", open_flash);
	return 0;
}
