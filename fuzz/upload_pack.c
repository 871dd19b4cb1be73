/* SPDX-License-Identifier: ISC */
/* Whole fetch sessions from hostile clients against a repository whose ids are always the same (the
 * corpus knows them). First byte: version (2 bits), stateless, small input buffer, tight memory.
 * Invariants: nothing of the repository changes, memory stays inside its budget and comes back, and
 * no answer holds what only the other repository of the store has. */
#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "support/git_fixture.h"

static struct git_fixture f;
static struct bole_oid tips[6];
static struct bole_oid secrets[2];

static void open_once(void)
{
	if (f.store != NULL)
		return;
	git_fixture_open(&f, BOLE_HASH_SHA1);
	git_history(&f, &f.repo, "refs/heads/main", 6, tips);
	struct bole_oid tag = git_tag(&f, &f.repo, "v1", &tips[3], BOLE_OBJECT_COMMIT);
	git_set_ref(&f, &f.repo, "refs/tags/v1", &tag, &tips[3]);
	git_set_ref(&f, &f.repo, "refs/tags/light", &tips[2], NULL);
	git_history(&f, &f.other, "refs/heads/secret", 2, secrets);
}

/* An id of the other repository comes back only in a refusal of itself, in whatever case it came.
 */
static void check_secret(const struct git_session *s, const uint8_t *data, size_t size)
{
	const char *secret = hex_of(&secrets[1]);
	char *lower = malloc(size);

	for (size_t i = 0; i < size; i++)
		lower[i] = (char)tolower(data[i]);
	if (s->reply.len > 0 && memmem(s->reply.ptr, s->reply.len, secret, 40) != NULL)
		BOLE_ASSERT(memmem(lower, size, secret, 40) != NULL);
	free(lower);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_oid now;

	open_once();
	if (size == 0)
		return 0;
	size_t blocks = f.test.blocks;
	struct git_session s = {
	        .fixture = &f,
	        .kind = UPLOAD_PACK,
	        .version = (data[0] & 3) % 3,
	        .stateless = (data[0] & 4) != 0,
	        .input_cap = (data[0] & 8) != 0 ? 7 : 0,
	        .memory_max = (data[0] & 16) != 0 ? 100000 : 32 << 20,
	};
	git_session_run(&s, bole_bytes_of(data + 1, size - 1));
	BOLE_ASSERT(s.rc <= 0);
	BOLE_ASSERT(s.memory_peak <= s.memory_max);
	BOLE_ASSERT(git_has_ref(&f, &f.repo, "refs/heads/main", &now));
	BOLE_ASSERT(bole_oid_equal(&now, &tips[5]));
	check_secret(&s, data, size);
	git_session_end(&s);
	BOLE_ASSERT(f.test.blocks == blocks);
	return 0;
}
