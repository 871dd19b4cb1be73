/* SPDX-License-Identifier: ISC */
/* Any text: parses or names a line; what was parsed can be read; nothing leaks. The first byte
 * picks the entry point. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "bole/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *heap_resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	(void)ctx;
	(void)old_size;
	(void)align;
	if (new_size == 0) {
		free(ptr);
		return NULL;
	}
	return realloc(ptr, new_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_alloc heap = {.resize = heap_resize};
	struct bole_config *config = NULL;
	unsigned line = 0;
	enum bole_status rc;

	if (size == 0)
		return 0;
	BOLE_ASSERT(bole_config_open(&heap, &config) == BOLE_OK);
	if (data[0] % 2 == 0) {
		rc = bole_config_parse(config, (struct bole_bytes){data + 1, size - 1}, &line);
		BOLE_ASSERT(line >= 1);
	} else {
		char *text = malloc(size);
		memcpy(text, data + 1, size - 1);
		text[size - 1] = '\0';
		rc = bole_config_command_line(config, text);
		free(text);
	}
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_INVALID || rc == BOLE_E_LIMIT);
	if (rc != BOLE_OK)
		BOLE_ASSERT(bole_config_get(config, "a.b") == NULL);
	(void)bole_config_get(config, "repo.x.receive.enable");
	bole_config_close(config);
	return 0;
}
