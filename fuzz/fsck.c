/* SPDX-License-Identifier: ISC */
/* Objects before the checks of a push. The first byte chooses type and algorithm; the rest is the
 * object, or the text of a .gitmodules or .gitattributes. Invariants: what is found does not depend
 * on the preset but for its severity; an object that is skipped has no findings; nothing
 * leaks. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fsck/fsck.h"
#include "git/fsck/modules.h"
#include "support/platform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	unsigned count[BOLE_FSCK_IDS];
	unsigned errors;
};

static void on_finding(void *ctx, const struct bole_oid *oid, enum bole_fsck_id id,
                       enum bole_fsck_severity severity, const char *text)
{
	struct seen *seen = ctx;

	BOLE_ASSERT(oid != NULL);
	BOLE_ASSERT(text[0] != '\0');
	BOLE_ASSERT(id < BOLE_FSCK_IDS);
	seen->count[id]++;
	seen->errors += severity == BOLE_FSCK_ERROR;
}

static enum bole_status on_special(void *ctx, const struct bole_oid *blob, unsigned kinds)
{
	(void)ctx;
	BOLE_ASSERT(blob != NULL);
	BOLE_ASSERT(kinds == BOLE_FSCK_MODULES || kinds == BOLE_FSCK_ATTRIBUTES);
	return BOLE_OK;
}

static enum bole_status check(struct bole_fsck *f, unsigned kind, const struct bole_oid *oid,
                              struct bole_bytes content)
{
	if (kind == 0)
		return bole_fsck_modules(f, oid, content);
	if (kind == 5)
		return bole_fsck_attributes(f, oid, content);
	return bole_fsck_object(f, oid, (uint8_t)kind, content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum bole_fsck_preset presets[] = {BOLE_FSCK_STRICT, BOLE_FSCK_LENIENT,
	                                                BOLE_FSCK_STRUCTURE, BOLE_FSCK_NOTHING};
	struct test_platform test;
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1, .bytes = {1}};
	struct seen strict = {.errors = 0};

	if (size == 0 || size > 1 << 16)
		return 0;
	test_platform_init(&test, 1);
	unsigned kind = (data[0] & 127) % 6;
	struct bole_bytes content = bole_bytes_of(data + 1, size - 1);
	for (size_t i = 0; i < 5; i++) {
		struct bole_fsck_options options;
		struct seen seen = {.errors = 0};

		bole_fsck_options_init(&options, presets[i % 4]);
		options.skip = &oid;
		options.skip_count = i == 4;
		struct bole_fsck f = {
		        .options = &options,
		        .algo = data[0] & 128 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1,
		        .alloc = &test.alloc,
		        .finding = on_finding,
		        .special = on_special,
		        .ctx = &seen,
		};
		enum bole_status rc = check(&f, kind, &oid, content);
		BOLE_ASSERT(rc == (seen.errors > 0 ? BOLE_E_INVALID : BOLE_OK));
		BOLE_ASSERT(i < 3 || seen.errors == 0);
		if (i == 0)
			strict = seen;
		BOLE_ASSERT(i == 0 || seen.errors <= strict.errors);
	}
	(void)bole_submodule_url_safe(content);
	(void)bole_submodule_name_safe(content);
	test_platform_release(&test);
	return 0;
}
