/* SPDX-License-Identifier: ISC */
/* Settings that commands take: files and single values. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bole/config.h"
#include "cli.h"

enum { CONFIG_FILE_MAX = 1 << 20 };

int bole_cli_config_file(struct bole_config *config, const char *path)
{
	FILE *file = fopen(path, "rb");
	char *text = malloc(CONFIG_FILE_MAX + 1);
	unsigned line = 0;

	if (file == NULL || text == NULL) {
		bole_cli_say("cannot read %s: %s", path, strerror(errno));
		if (file != NULL)
			fclose(file);
		free(text);
		return BOLE_EXIT_USAGE;
	}
	size_t len = fread(text, 1, CONFIG_FILE_MAX + 1, file);
	fclose(file);
	struct bole_bytes bytes = {(const uint8_t *)text, len};
	enum bole_status rc = bole_config_parse(config, bytes, &line);
	free(text);
	if (rc == BOLE_OK)
		return BOLE_EXIT_OK;
	bole_cli_say("%s, line %u: %s", path, line,
	             rc == BOLE_E_INVALID ? "not git-config syntax" : bole_status_text(rc));
	return BOLE_EXIT_USAGE;
}

int bole_cli_config_set(struct bole_config *config, const char *text)
{
	if (*text != '\0' && bole_config_set(config, text) == BOLE_OK)
		return BOLE_EXIT_OK;
	bole_cli_say("'%s' is not a setting; try --set node.connections=100", text);
	return BOLE_EXIT_USAGE;
}
