/* SPDX-License-Identifier: ISC */
/* Whole requests to the fetch side, one packet a line, so that the fuzzer plays with what they mean
 * and not with lengths. First byte: what is asked (fetch in version 2 or 0, archive, plain GET),
 * the policy, tight memory. In a line "$0" to "$6" are ids of the repository, "$x" one of another
 * repository, "0" alone a flush packet and "1" a delimiter.
 * Invariants: memory stays inside its budget and comes back, references stay, and what only the
 * other repository has is never sent. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "support/git_fixture.h"

#define SECRET "what only the other one has"

enum { LINE_MAX_BYTES = 400, LINES_MAX = 64 };

static struct git_fixture f;
static struct bole_oid ids[7];
static char elsewhere[200];
static const char *const uris[] = {elsewhere};
static struct bole_oid secret;

static void open_once(void)
{
	static const char *const hide[] = {"refs/hidden"};

	if (f.store != NULL)
		return;
	git_fixture_open(&f, BOLE_HASH_SHA1);
	git_history(&f, &f.repo, "refs/heads/main", 5, ids);
	ids[5] = git_tag(&f, &f.repo, "v1", &ids[2], BOLE_OBJECT_COMMIT);
	git_set_ref(&f, &f.repo, "refs/tags/v1", &ids[5], &ids[2]);
	git_set_ref(&f, &f.repo, "refs/hidden/x", &ids[1], NULL);
	secret = git_write(&f, &f.other, BOLE_OBJECT_BLOB, SECRET, sizeof SECRET - 1);
	ids[6] = git_write(&f, &f.repo, BOLE_OBJECT_BLOB, "elsewhere", 9);
	git_set_ref(&f, &f.repo, "refs/tags/blob", &ids[6], NULL);
	snprintf(elsewhere, sizeof elsewhere, "%s %040d https://h/p", hex_of(&ids[6]), 1);
	f.policy.fetch.packfile_uris = uris;
	f.policy.fetch.packfile_uri_count = 1;
	f.policy.fetch.bundle_uris = uris;
	f.policy.fetch.bundle_uri_count = 1;
	f.policy.fetch.refs.hide = hide;
	f.policy.fetch.filters = 0xff;
}

static void add_line(struct bole_buffer *out, const char *line, size_t len)
{
	char text[LINE_MAX_BYTES + 64 * 8];
	size_t at = 0;

	if (len == 1 && (*line == '0' || *line == '1')) {
		pkt_special(out, *line == '0' ? "0000" : "0001");
		return;
	}
	for (size_t i = 0; i < len && at < LINE_MAX_BYTES; i++) {
		bool id = line[i] == '$' && i + 1 < len &&
		          (line[i + 1] == 'x' || (line[i + 1] >= '0' && line[i + 1] <= '6'));
		if (id) {
			const char *hex =
			        hex_of(line[i + 1] == 'x' ? &secret : &ids[line[i + 1] - '0']);
			memcpy(text + at, hex, 40);
			at += 40;
			i++;
		} else {
			text[at++] = line[i];
		}
	}
	pkt_add(out, "%.*s", (int)at, text);
}

static void run(const uint8_t *data, struct bole_bytes request, const char *path)
{
	struct git_session s = {
	        .fixture = &f,
	        .kind = (data[0] & 3) < 2    ? UPLOAD_PACK
	                : (data[0] & 3) == 2 ? UPLOAD_ARCHIVE
	                : (data[0] & 4) != 0 ? DUMB_GET
	                                     : ARCHIVE_GET,
	        .version = (data[0] & 3) == 0 ? 2 : 0,
	        .stateless = (data[0] & 4) != 0,
	        .memory_max = (data[0] & 8) != 0 ? 200000 : 32 << 20,
	        .path = path,
	};
	struct bole_oid now;

	f.policy.fetch.allow_any = (data[0] & 16) != 0;
	f.policy.fetch.sideband_all = (data[0] & 32) != 0;
	f.policy.fetch.refs.hide_count = (data[0] & 64) != 0;
	f.policy.fetch.lazy_fetch = (data[0] & 128) != 0;
	git_session_run(&s, request);
	BOLE_ASSERT(s.rc <= 0);
	BOLE_ASSERT(s.memory_peak <= s.memory_max);
	BOLE_ASSERT(git_has_ref(&f, &f.repo, "refs/heads/main", &now));
	BOLE_ASSERT(bole_oid_equal(&now, &ids[4]));
	/* A refusal may show what the request itself said. */
	if (s.reply.len > 0 && memmem(s.reply.ptr, s.reply.len, SECRET, sizeof SECRET - 1) != NULL)
		BOLE_ASSERT(request.len > 0 &&
		            memmem(request.ptr, request.len, SECRET, sizeof SECRET - 1) != NULL);
	git_session_end(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_buffer request;
	char path[LINE_MAX_BYTES] = "";
	unsigned lines = 0;

	open_once();
	if (size == 0)
		return 0;
	size_t blocks = f.test.blocks;
	bole_buffer_init(&request, &f.test.alloc, 1 << 20);
	for (size_t at = 1; at < size && lines < LINES_MAX; lines++) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t len = end == NULL ? size - at : (size_t)(end - data) - at;
		if (lines == 0 && len < sizeof path && memchr(data + at, 0, len) == NULL)
			memcpy(path, data + at, len);
		add_line(&request, (const char *)data + at, len);
		at += len + 1;
	}
	run(data, bole_bytes_of(request.ptr, request.len), path);
	bole_buffer_release(&request);
	BOLE_ASSERT(f.test.blocks == blocks);
	return 0;
}
