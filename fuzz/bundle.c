/* SPDX-License-Identifier: ISC */
/* Heads of bundles, through buffers of several sizes: the result does not depend on them. */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "git/files/bundle.h"
#include "git/object/object.h"
#include "support/platform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum bole_status read_head(struct test_platform *test, struct bole_bytes file, size_t cap,
                                  uint64_t *used)
{
	struct bole_bytes_reader reader;
	struct bole_bundle_head head;
	struct bole_input in;
	uint8_t buf[4096];

	bole_bytes_reader_init(&reader, file);
	bole_input_init(&in, &reader.reader, buf, cap);
	enum bole_status rc = bole_bundle_head_read(&in, &test->alloc, &head);
	for (size_t i = 0; rc == BOLE_OK && i < head.ref_count; i++)
		if (!bole_ref_name_valid(head.refs[i].name) || head.refs[i].oid.algo != head.algo)
			abort();
	*used = in.consumed;
	bole_bundle_head_release(&head);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_bytes file = bole_bytes_of(data, size);
	struct test_platform test;
	uint64_t one, two;

	test_platform_init(&test, 1);
	test.quiet = true;
	enum bole_status rc = read_head(&test, file, 4096, &one);
	if (read_head(&test, file, 64, &two) != rc || (rc == BOLE_OK && one != two))
		abort();
	test_platform_release(&test);
	return 0;
}
