/* SPDX-License-Identifier: ISC */
/* Who may do what: lines of configuration, each a token ("t…") or a rule ("r…"), up to a NUL, then
 * lines: an Authorization header, a repository, a reference, a Range header. Invariants: only who
 * says ann's secret is ann, whatever the others are called; a right to a reference is a right to
 * its repository; a pattern matches what a table of all prefixes says; a range lies inside. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "node/access.h"
#include "node/http_parse.h"
#include "support/platform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATTERN_MAX = 64, LINE_MAX_BYTES = 300 };

static const char secret[] = "s3cret";
static const char secret_basic[] = "YW5uOnMzY3JldA"; /* "ann:s3cret" */

/* A line of its own, with a NUL. */
static char *next_line(struct bole_bytes *in)
{
	const uint8_t *end = in->len == 0 ? NULL : memchr(in->ptr, '\n', in->len);
	size_t len = end == NULL ? in->len : (size_t)(end - in->ptr);
	char *line = malloc(len + 1);

	if (len > 0)
		memcpy(line, in->ptr, len);
	line[len] = '\0';
	if (in->len > 0)
		*in = bole_bytes_of(in->ptr + len + (end != NULL), in->len - len - (end != NULL));
	return line;
}

static void set(struct bole_config *config, const char *key, const char *value)
{
	char text[LINE_MAX_BYTES + 32];

	if (strlen(value) > LINE_MAX_BYTES)
		return;
	snprintf(text, sizeof text, "%s=%s", key, value);
	(void)bole_config_set(config, text);
}

static void add_ann(struct bole_config *config)
{
	char text[BOLE_OID_HEX_MAX + 32];
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_hash hash;
	struct bole_oid oid;

	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, "salt:", 5);
	bole_hash_update(&hash, secret, sizeof secret - 1);
	bole_hash_final(&hash, &oid);
	snprintf(text, sizeof text, "ann:sha256:salt:%s", bole_oid_format(&oid, hex));
	set(config, "auth.token", text);
}

/* matches[k]: what was read of the pattern so far matches the first k bytes of the text. */
static bool matches(struct bole_bytes pattern, struct bole_bytes text)
{
	bool at[PATTERN_MAX + 1] = {true};

	for (size_t i = 0; i < pattern.len; i++) {
		uint8_t c = pattern.ptr[i];
		bool twice = c == '*' && i + 1 < pattern.len && pattern.ptr[i + 1] == '*';

		i += twice;
		if (c == '*') {
			for (size_t k = 0; k < text.len; k++)
				at[k + 1] |= at[k] && (twice || text.ptr[k] != '/');
			continue;
		}
		for (size_t k = text.len; k > 0; k--)
			at[k] = at[k - 1] &&
			        (text.ptr[k - 1] == c || (c == '?' && text.ptr[k - 1] != '/'));
		at[0] = false;
	}
	return at[text.len];
}

static void check_pattern(const char *pattern, const char *text)
{
	struct bole_bytes p = bole_bytes_z(pattern), t = bole_bytes_z(text);

	if (t.len <= PATTERN_MAX)
		BOLE_ASSERT(bole_node_pattern_matches(p, t) == matches(p, t));
}

static void check_range(const char *range)
{
	static const uint64_t sizes[] = {0, 1, 1000, UINT64_MAX};
	struct bole_bytes text = bole_bytes_z(range);
	uint64_t first, len;

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		if (bole_http_parse_range(text, sizes[i], &first, &len) == BOLE_OK)
			BOLE_ASSERT(len > 0 && len <= sizes[i] && first <= sizes[i] - len);
}

static void check_access(const struct node_access *a, const char *header, const char *repo,
                         const char *ref)
{
	static const enum node_right rights[] = {NODE_READ,   NODE_CREATE, NODE_UPDATE,
	                                         NODE_DELETE, NODE_FORCE,  NODE_INIT};
	char user[NODE_USER_MAX];
	enum node_identity who = bole_node_access_identify(a, bole_bytes_z(header), user);
	const char *name = who == NODE_USER ? user : NULL;

	BOLE_ASSERT(header[0] != '\0' || who == NODE_ANONYMOUS);
	if (who == NODE_USER) {
		BOLE_ASSERT(strcmp(user, "ann") == 0);
		BOLE_ASSERT(strstr(header, secret) != NULL || strstr(header, secret_basic) != NULL);
	}
	for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++)
		if (bole_node_access_ref(a, name, repo, bole_bytes_z(ref), rights[i]))
			BOLE_ASSERT(bole_node_access_repo(a, name, repo, (unsigned)rights[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size == 0 ? NULL : memchr(data, 0, size);
	struct bole_bytes lines = bole_bytes_of(data, zero == NULL ? size : (size_t)(zero - data));
	struct bole_bytes rest = bole_bytes_of("", 0);
	struct node_access *access = NULL;
	struct bole_config *config = NULL;
	struct test_platform t;

	if (zero != NULL)
		rest = bole_bytes_of(zero + 1, size - lines.len - 1);
	test_platform_init(&t, 1);
	t.quiet = true;
	BOLE_ASSERT(bole_config_open(&t.alloc, &config) == BOLE_OK);
	add_ann(config);
	char *header = next_line(&rest);
	char *repo = next_line(&rest);
	char *ref = next_line(&rest);
	char *range = next_line(&rest);
	while (lines.len > 0) {
		char *line = next_line(&lines);

		if (line[0] == 't')
			set(config, "auth.token", line + 1);
		else if (line[0] == 'r')
			set(config, "access.rule", line + 1);
		else
			check_pattern(line, ref);
		free(line);
	}
	enum bole_status rc = bole_node_access_open(&t.base, &t.alloc, config, &access);
	BOLE_ASSERT(rc == BOLE_OK || (rc == BOLE_E_INVALID && access == NULL));
	if (rc == BOLE_OK)
		check_access(access, header, repo, ref);
	check_range(range);
	bole_node_access_close(access);
	bole_config_close(config);
	free(header);
	free(repo);
	free(ref);
	free(range);
	BOLE_ASSERT(t.blocks == 0);
	test_platform_release(&t);
	return 0;
}
