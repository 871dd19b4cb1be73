/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdio.h>

#include "bole/platform.h"

enum { LOG_LINE_MAX = 512 };

void bole_log(struct bole_platform *platform, enum bole_log_level level, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	va_list args;

	va_start(args, format);
	if (vsnprintf(line, sizeof line, format, args) < 0)
		line[0] = '\0';
	va_end(args);
	/* Text of peers may be in the line: one line stays one line, and no escape passes. */
	for (char *c = line; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	platform->ops->log(platform, level, line);
}
