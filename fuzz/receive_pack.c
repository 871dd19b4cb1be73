/* SPDX-License-Identifier: ISC */
/* Whole push sessions from hostile clients against a fresh repository whose ids are always the same
 * (the corpus knows them). First byte: stateless, small input buffer, tight memory, policies, hooks
 * and signed pushes, and whether the last 20 bytes become the right checksum of the pack, so that
 * the parser gets to see what is behind one. Invariant: a reference moved if and only if the report
 * says ok. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "support/git_fixture.h"
#include "support/large_blocks.h"

enum { REFS_MAX = 64 };

struct listing {
	struct bole_snapshot *snapshot;
	struct bole_ref refs[REFS_MAX];
	size_t count;
};

static void list_refs(struct git_fixture *f, struct listing *l)
{
	struct bole_bytes after = bole_bytes_of("", 0);

	l->count = 0;
	BOLE_ASSERT(bole_snapshot_open(f->store, f->repo.id, &l->snapshot) == BOLE_OK);
	while (l->count < REFS_MAX && bole_ref_next(l->snapshot, bole_bytes_of("", 0), after,
	                                            &l->refs[l->count]) == BOLE_OK)
		after = l->refs[l->count++].name;
}

static const struct bole_ref *find(const struct listing *l, struct bole_bytes name)
{
	for (size_t i = 0; i < l->count; i++)
		if (bole_bytes_equal(l->refs[i].name, name))
			return &l->refs[i];
	return NULL;
}

static bool reported_ok(const struct git_session *s, struct bole_bytes name)
{
	char line[BOLE_REF_NAME_MAX + 8] = "ok ";

	memcpy(line + 3, name.ptr, name.len);
	line[3 + name.len] = '\n';
	return s->reply.len > 0 && memmem(s->reply.ptr, s->reply.len, line, name.len + 4) != NULL;
}

/* Each reference of one listing that the other has not, or has with another value. */
static void check_moves(const struct git_session *s, const struct listing *a,
                        const struct listing *b, bool asked)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct bole_ref *other = find(b, a->refs[i].name);
		if (other != NULL && bole_oid_equal(&other->oid, &a->refs[i].oid))
			continue;
		BOLE_ASSERT(!asked || reported_ok(s, a->refs[i].name));
		BOLE_ASSERT(s->rc == BOLE_OK);
	}
}

static uint8_t *with_checksum(const uint8_t *data, size_t size, bool fix)
{
	uint8_t *copy = malloc(size + 1);
	uint8_t *pack = size < 32 ? NULL : memmem(data, size - 20, "PACK", 4);
	struct bole_hash hash;
	struct bole_oid sum;

	memcpy(copy, data, size);
	if (!fix || pack == NULL)
		return copy;
	bole_hash_init(&hash, BOLE_HASH_SHA1);
	bole_hash_update(&hash, pack, (size_t)(data + size - 20 - pack));
	bole_hash_final(&hash, &sum);
	memcpy(copy + size - 20, sum.bytes, 20);
	return copy;
}

/* -- Hooks that look at everything -- */

static enum bole_status on_pre(void *ctx, struct bole_push_info *info, char *message)
{
	struct bole_bytes data;
	uint8_t type;

	(void)ctx;
	(void)message;
	for (size_t i = 0; i < info->ref_count; i++)
		if (!bole_oid_is_null(&info->refs[i].new_oid))
			(void)info->read(info, &info->refs[i].new_oid, &type, &data);
	for (size_t i = 0; i < info->option_count; i++)
		info->say(info, (const char *)info->options[i].ptr);
	BOLE_ASSERT(info->cert == NULL || info->cert->text.len > 0);
	return BOLE_OK;
}

static enum bole_status on_update(void *ctx, struct bole_push_info *info, size_t ref, char *message)
{
	(void)ctx;
	(void)message;
	return info->refs[ref].name.len % 7 == 0 ? BOLE_E_DENIED : BOLE_OK;
}

static void on_post(void *ctx, struct bole_push_info *info)
{
	struct bole_ref now;

	(void)ctx;
	for (size_t i = 0; i < info->ref_count; i++)
		if (info->refs[i].error == NULL && !bole_oid_is_null(&info->refs[i].new_oid))
			BOLE_ASSERT(bole_ref_get(info->view, info->refs[i].name, &now) == BOLE_OK);
}

static const struct bole_hooks hooks = {
        .pre_receive = on_pre,
        .update = on_update,
        .post_receive = on_post,
};

static void run(struct git_fixture *f, const uint8_t *data, size_t size)
{
	struct listing before;
	struct listing after;
	uint8_t *request = with_checksum(data + 1, size - 1, (data[0] & 32) != 0);

	f->policy.deny_non_fast_forward = (data[0] & 8) != 0;
	f->policy.deny_delete = (data[0] & 16) != 0;
	if ((data[0] & 64) != 0) {
		f->policy.push.hooks = &hooks;
		f->policy.push.cert_seed = "seed";
	}
	struct git_session s = {
	        .fixture = f,
	        .kind = RECEIVE_PACK,
	        .stateless = (data[0] & 1) != 0,
	        .input_cap = (data[0] & 2) != 0 ? 64 : 0,
	        .memory_max = (data[0] & 4) != 0 ? 100000 : 64 << 20,
	};
	list_refs(f, &before);
	git_session_run(&s, bole_bytes_of(request, size - 1));
	BOLE_ASSERT(s.rc <= 0);
	list_refs(f, &after);
	/* "report-status" somewhere in the request may not be the capability: a report tells. */
	bool asked = s.reply.len > 0 && memmem(s.reply.ptr, s.reply.len, "unpack ok\n", 10) != NULL;
	check_moves(&s, &before, &after, asked);
	check_moves(&s, &after, &before, asked);
	for (size_t i = 0; i < after.count; i++)
		BOLE_ASSERT(after.refs[i].symbolic ||
		            git_has_object(f, &f->repo, &after.refs[i].oid));
	bole_snapshot_close(before.snapshot);
	bole_snapshot_close(after.snapshot);
	git_session_end(&s);
	free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct git_fixture f;
	struct bole_oid tips[3];

	if (size == 0)
		return 0;
	large_blocks_keep();
	git_fixture_open(&f, BOLE_HASH_SHA1);
	f.level = 0;
	git_history(&f, &f.repo, "refs/heads/main", 3, tips);
	git_set_ref(&f, &f.repo, "refs/heads/side", &tips[1], NULL);
	run(&f, data, size);
	git_fixture_close(&f);
	return 0;
}
