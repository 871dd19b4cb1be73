/* SPDX-License-Identifier: ISC */
#include "support/git_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/deflate.h"
#include "base/hash.h"
#include "git/object/object.h"
#include "git/object/write.h"
#include "git/wire/pkt_line.h"

#define MUST(expr)                                                                    \
	do {                                                                          \
		enum bole_status must_rc = (expr);                                    \
		if (must_rc != BOLE_OK) {                                             \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #expr, \
			        bole_status_text(must_rc));                           \
			abort();                                                      \
		}                                                                     \
	} while (0)

void git_fixture_open(struct git_fixture *f, uint8_t algo)
{
	memset(f, 0, sizeof *f);
	test_platform_init(&f->test, 7);
	f->test.quiet = true;
	f->level = 6;
	f->policy.receive_enable = true;
	bole_fetch_policy_init(&f->policy.fetch);
	MUST(bole_memory_store_open(&f->test.base, &f->test.alloc, &f->store));
	MUST(bole_repo_create(f->store, "main", algo, "refs/heads/main", &f->repo));
	MUST(bole_repo_create(f->store, "other", algo, "refs/heads/main", &f->other));
}

void git_fixture_close(struct git_fixture *f)
{
	MUST(bole_store_close(f->store));
	test_platform_release(&f->test);
}

struct bole_oid git_write(struct git_fixture *f, const struct bole_repo *repo, uint8_t type,
                          const void *data, size_t len)
{
	struct bole_object_writer *writer;
	struct bole_oid oid;
	struct bole_tx *tx;
	size_t failed;

	MUST(bole_tx_begin(f->store, repo->id, &tx));
	MUST(bole_object_writer_open(tx, &f->test.alloc, f->level, &writer));
	MUST(bole_object_write(writer, type, bole_bytes_of(data, len), &oid));
	bole_object_writer_close(writer);
	MUST(bole_tx_commit(tx, NULL, 0, &failed));
	return oid;
}

struct bole_oid git_commit(struct git_fixture *f, const struct bole_repo *repo, const char *message,
                           int64_t time, const struct bole_oid *const *parents)
{
	uint8_t tree[64] = "100644 file";
	char text[4096];
	size_t hash = bole_hash_bytes(repo->algo);

	struct bole_oid oid = git_write(f, repo, BOLE_OBJECT_BLOB, message, strlen(message));
	memcpy(tree + 12, oid.bytes, hash);
	oid = git_write(f, repo, BOLE_OBJECT_TREE, tree, 12 + hash);
	int len = snprintf(text, sizeof text, "tree %s\n", hex_of(&oid));
	for (size_t i = 0; parents != NULL && parents[i] != NULL; i++)
		len += snprintf(text + len, sizeof text - (size_t)len, "parent %s\n",
		                hex_of(parents[i]));
	len += snprintf(text + len, sizeof text - (size_t)len,
	                "author A <a@b> %" PRId64 " +0000\n"
	                "committer A <a@b> %" PRId64 " +0000\n\n%s\n",
	                time, time, message);
	return git_write(f, repo, BOLE_OBJECT_COMMIT, text, (size_t)len);
}

struct bole_oid git_tag(struct git_fixture *f, const struct bole_repo *repo, const char *name,
                        const struct bole_oid *target, uint8_t type)
{
	char text[512];
	int len = snprintf(text, sizeof text,
	                   "object %s\ntype %s\ntag %s\ntagger A <a@b> 1700000000 +0000\n\n%s\n",
	                   hex_of(target), bole_object_type_name(type), name, name);

	return git_write(f, repo, BOLE_OBJECT_TAG, text, (size_t)len);
}

void git_set_ref(struct git_fixture *f, const struct bole_repo *repo, const char *name,
                 const struct bole_oid *oid, const struct bole_oid *peeled)
{
	struct bole_ref_update update = {.name = bole_bytes_z(name), .expect = BOLE_EXPECT_ANY};
	struct bole_tx *tx;
	size_t failed;

	update.action = oid == NULL ? BOLE_REF_DELETE : BOLE_REF_SET;
	if (oid != NULL)
		update.oid = *oid;
	if (peeled != NULL) {
		update.peeled = *peeled;
		update.has_peeled = true;
	}
	MUST(bole_tx_begin(f->store, repo->id, &tx));
	MUST(bole_tx_commit(tx, &update, 1, &failed));
}

void git_history(struct git_fixture *f, const struct bole_repo *repo, const char *branch, size_t n,
                 struct bole_oid *tips)
{
	const struct bole_oid *parents[2] = {NULL, NULL};
	char message[64];

	for (size_t i = 0; i < n; i++) {
		snprintf(message, sizeof message, "%s %zu", branch, i);
		tips[i] = git_commit(f, repo, message, 1700000000 + (int64_t)i * 60, parents);
		parents[0] = &tips[i];
	}
	git_set_ref(f, repo, branch, &tips[n - 1], NULL);
}

bool git_has_ref(struct git_fixture *f, const struct bole_repo *repo, const char *name,
                 struct bole_oid *out)
{
	struct bole_snapshot *snapshot;
	struct bole_ref ref;

	MUST(bole_snapshot_open(f->store, repo->id, &snapshot));
	enum bole_status rc = bole_ref_get(snapshot, bole_bytes_z(name), &ref);
	if (rc == BOLE_OK && out != NULL)
		*out = ref.oid;
	bole_snapshot_close(snapshot);
	return rc == BOLE_OK;
}

bool git_has_object(struct git_fixture *f, const struct bole_repo *repo, const struct bole_oid *oid)
{
	struct bole_snapshot *snapshot;
	struct bole_entry entry;

	MUST(bole_snapshot_open(f->store, repo->id, &snapshot));
	enum bole_status rc = bole_odb_find(snapshot, oid, &entry);
	bole_snapshot_close(snapshot);
	return rc == BOLE_OK;
}

static void put_pkt(struct bole_buffer *buf, const char *text, size_t len)
{
	char head[8];

	snprintf(head, sizeof head, "%04x", (unsigned)len + 4);
	bole_buffer_append(buf, head, 4);
	bole_buffer_append(buf, text, len);
}

/* Puts the name of one format where that of another is; text has room for it. */
static int rename_format(char *text, int len, const char *from, const char *to)
{
	char *at = memmem(text, (size_t)len, from, strlen(from));

	if (at == NULL)
		return len;
	char *rest = at + strlen(from);
	memmove(at + strlen(to), rest, (size_t)(text + len - rest));
	memcpy(at, to, strlen(to));
	return len + (int)strlen(to) - (int)strlen(from);
}

/* Tests speak of SHA-1, and of the other format where the run is about that one. */
#define SHA1_NAMED   "object-format=sha1"
#define SHA256_NAMED "object-format=sha256"

void pkt_add(struct bole_buffer *buf, const char *format, ...)
{
	char text[8192];
	bool other = test_algo() == BOLE_HASH_SHA256;
	va_list args;

	va_start(args, format);
	int len = vsnprintf(text, sizeof text - 8, format, args);
	va_end(args);
	if (other && memmem(text, (size_t)len, SHA256_NAMED, strlen(SHA256_NAMED)) == NULL)
		len = rename_format(text, len, SHA1_NAMED, SHA256_NAMED);
	put_pkt(buf, text, (size_t)len);
	if (other && strncmp(text, "command=", 8) == 0)
		put_pkt(buf, SHA256_NAMED, strlen(SHA256_NAMED));
}

void pkt_special(struct bole_buffer *buf, const char *four)
{
	bole_buffer_append(buf, four, 4);
}

const char *hex_of(const struct bole_oid *oid)
{
	static _Thread_local char ring[8][BOLE_OID_HEX_MAX + 1];
	static _Thread_local unsigned at;

	return bole_oid_format(oid, ring[at++ % 8]);
}

void pkt_command(struct bole_buffer *buf, const struct bole_oid *old_oid,
                 const struct bole_oid *new_oid, const char *name, const char *caps)
{
	char text[8192];
	bool other = test_algo() == BOLE_HASH_SHA256;
	int len = snprintf(text, sizeof text, "%s %s %s", hex_of(old_oid), hex_of(new_oid), name);

	if (caps != NULL)
		len += snprintf(text + len, sizeof text - (size_t)len, "%c%s", 0, caps);
	if (caps != NULL && other && strstr(caps, "object-format") == NULL)
		len += snprintf(text + len, sizeof text - (size_t)len, " " SHA256_NAMED);
	else if (caps != NULL && other)
		len = rename_format(text, len, SHA1_NAMED, SHA256_NAMED);
	put_pkt(buf, text, (size_t)len);
}

static void pack_part(struct git_fixture *f, struct bole_buffer *out, const struct pack_part *part)
{
	struct bole_entry_head head = {
	        .type = part->type, .inflated_bytes = part->len, .base = part->base};
	struct bole_deflater *deflater;
	uint8_t bytes[BOLE_ENTRY_HEAD_MAX];

	bole_buffer_append(out, bytes, bole_entry_head_format(&head, f->repo.algo, bytes));
	MUST(bole_deflater_open(&f->test.alloc, 6, &deflater));
	size_t cap = bole_deflate_bound(part->len);
	uint8_t *to = bole_buffer_reserve(out, cap);
	if (to != NULL)
		out->len +=
		        bole_deflate_whole(deflater, bole_bytes_of(part->data, part->len), to, cap);
	bole_deflater_close(deflater);
}

void pack_build(struct git_fixture *f, struct bole_buffer *out, const struct pack_part *parts,
                size_t count)
{
	size_t start = out->len;
	uint8_t head[12] = "PACK";
	struct bole_hash hash;
	struct bole_oid sum;

	bole_put_be32(head + 4, 2);
	bole_put_be32(head + 8, (uint32_t)count);
	bole_buffer_append(out, head, sizeof head);
	for (size_t i = 0; i < count; i++)
		pack_part(f, out, &parts[i]);
	bole_hash_init(&hash, f->repo.algo);
	bole_hash_update(&hash, out->ptr + start, out->len - start);
	bole_hash_final(&hash, &sum);
	bole_buffer_append(out, sum.bytes, bole_hash_bytes(f->repo.algo));
}

static bool cancelled(void *ctx)
{
	struct git_session *session = ctx;

	return session->cancel_after > 0 && --session->cancel_after == 0;
}

/* The reply stands for the network: its memory is neither counted nor made to fail. */
static void *plain_resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	(void)ctx;
	(void)old_size;
	(void)align;
	if (new_size > 0)
		return realloc(ptr, new_size);
	free(ptr);
	return NULL;
}

static enum bole_status call(const struct git_session *session, struct bole_service *svc)
{
	const char *path = session->path == NULL ? "" : session->path;

	switch (session->kind) {
	case UPLOAD_PACK: return bole_upload_pack(svc);
	case RECEIVE_PACK: return bole_receive_pack(svc);
	case UPLOAD_ARCHIVE: return bole_upload_archive(svc);
	case ARCHIVE_GET:
		return bole_archive_get(svc, bole_bytes_z(path), bole_bytes_z("p/"),
		                        bole_bytes_z("tgz"));
	case DUMB_GET: break;
	}
	return bole_dumb_get(svc, bole_bytes_z(path));
}

void git_session_run(struct git_session *session, struct bole_bytes request)
{
	struct git_fixture *f = session->fixture;
	size_t cap = session->input_cap == 0 ? 4096 : session->input_cap;
	static struct bole_alloc plain = {.resize = plain_resize};
	uint8_t *in_buf = malloc(cap);
	uint8_t out_buf[1024];
	struct bole_budget budget;
	struct bole_bytes_reader reader;
	struct bole_buffer_writer writer;
	struct bole_input in;
	struct bole_output out;

	bole_budget_init(&budget, &f->test.alloc,
	                 session->memory_max == 0 ? SIZE_MAX : session->memory_max);
	bole_bytes_reader_init(&reader, request);
	bole_input_init(&in, &reader.reader, in_buf, cap);
	bole_buffer_init(&session->reply, &plain, SIZE_MAX / 2);
	bole_buffer_writer_init(&writer, &session->reply);
	bole_output_init(&out, &writer.writer, out_buf, sizeof out_buf);
	struct bole_service svc = {
	        .platform = &f->test.base,
	        .alloc = &budget.alloc,
	        .store = f->store,
	        .repo = session->repo == NULL ? f->repo : *session->repo,
	        .lists = session->lists,
	        .policy = &f->policy,
	        .in = &in,
	        .out = &out,
	        .version = session->version,
	        .stateless = session->stateless,
	        .advertise = session->advertise,
	        .cancelled = cancelled,
	        .cancelled_ctx = session,
	        .peer = "test",
	};
	session->rc = call(session, &svc);
	session->memory_peak = budget.peak;
	if (budget.used != 0 || bole_output_flush(&out) != BOLE_OK) {
		fprintf(stderr, "a session leaks %zu bytes\n", (size_t)budget.used);
		abort();
	}
	free(in_buf);
}

void git_session_end(struct git_session *session)
{
	bole_buffer_release(&session->reply);
}

/* Cuts the next packet off; its type, or -1 when the rest is not a packet. */
static int next_pkt(struct bole_bytes *rest, struct bole_bytes *data)
{
	char head[5] = "";
	char *end;

	if (rest->len < 4)
		return -1;
	memcpy(head, rest->ptr, 4);
	size_t len = strtoul(head, &end, 16);
	if (*end != '\0' || len == 3 || len > rest->len)
		return -1;
	size_t used = len < 4 ? 4 : len;
	*data = bole_bytes_of(rest->ptr + 4, used - 4);
	*rest = bole_bytes_of(rest->ptr + used, rest->len - used);
	return len < 4 ? (int)len : 4;
}

static bool printable(struct bole_bytes data)
{
	for (size_t i = 0; i < data.len; i++)
		if (data.ptr[i] >= 127 || (data.ptr[i] < 32 && data.ptr[i] != '\n'))
			return false;
	return true;
}

static void transcribe(struct bole_buffer *out, struct bole_bytes data)
{
	if (data.len > 0 && data.ptr[0] >= 1 && data.ptr[0] <= 3) {
		struct bole_bytes rest = bole_bytes_of(data.ptr + 1, data.len - 1);
		bole_buffer_format(out, "[%u] ", (unsigned)data.ptr[0]);
		if (!printable(rest)) {
			bole_buffer_format(out, "%zu bytes\n", rest.len);
			return;
		}
		data = rest;
	}
	for (size_t i = 0; i < data.len; i++)
		if (data.ptr[i] == 0)
			bole_buffer_text(out, "\\0");
		else
			bole_buffer_byte(out, data.ptr[i]);
	if (data.len == 0 || data.ptr[data.len - 1] != '\n')
		bole_buffer_byte(out, '\n');
}

void git_transcript(const struct git_session *session, struct bole_buffer *out)
{
	struct bole_bytes rest = bole_bytes_of(session->reply.ptr, session->reply.len);
	struct bole_bytes data;

	while (rest.len > 0) {
		int type = next_pkt(&rest, &data);
		if (type < 0) {
			bole_buffer_format(out, "raw %zu bytes\n", rest.len);
			break;
		}
		if (type < 4)
			bole_buffer_format(out, "000%d\n", type);
		else
			transcribe(out, data);
	}
	if (test_algo() == BOLE_HASH_SHA256 && out->len > 0)
		out->len = (size_t)rename_format((char *)out->ptr, (int)out->len, SHA256_NAMED,
		                                 SHA1_NAMED);
	bole_buffer_byte(out, 0);
}

void git_band_data(const struct git_session *session, struct bole_buffer *out)
{
	struct bole_bytes rest = bole_bytes_of(session->reply.ptr, session->reply.len);
	struct bole_bytes data;

	while (rest.len > 0) {
		int type = next_pkt(&rest, &data);
		if (type < 0)
			break;
		if (type == 4 && data.len > 0 && data.ptr[0] == 1)
			bole_buffer_append(out, data.ptr + 1, data.len - 1);
	}
}
