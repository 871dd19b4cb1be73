/* SPDX-License-Identifier: ISC */
/* Loose objects: as they are, and the head alone. What is read is as long as it says. */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "git/files/loose.h"
#include "support/platform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_bytes file = bole_bytes_of(data, size), content;
	struct bole_inflater *inflater;
	struct test_platform test;
	struct bole_buffer buffer;
	uint64_t declared;
	size_t head;
	uint8_t type;

	test_platform_init(&test, 1);
	test.quiet = true;
	bole_buffer_init(&buffer, &test.alloc, 1 << 20);
	if (bole_inflater_open(&test.alloc, &inflater) != BOLE_OK)
		abort();
	if (bole_loose_read(inflater, file, &buffer, &type, &content) == BOLE_OK) {
		if (bole_loose_head_parse(bole_bytes_of(buffer.ptr, buffer.len), &type, &declared,
		                          &head) != BOLE_OK ||
		    declared != content.len)
			abort();
	}
	(void)bole_loose_head_parse(file, &type, &declared, &head);
	bole_inflater_close(inflater);
	bole_buffer_release(&buffer);
	test_platform_release(&test);
	return 0;
}
