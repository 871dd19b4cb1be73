/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "bole/repos.h"

static bool name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

/* A leading dot covers "." and ".."; ".git" at the end would make URLs ambiguous. */
static bool component_valid(const char *part, size_t len)
{
	if (len == 0 || part[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!name_byte(part[i]))
			return false;
	return len < 4 || memcmp(part + len - 4, ".git", 4) != 0;
}

bool bole_repo_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > BOLE_REPO_NAME_MAX)
		return false;
	for (size_t start = 0, end = 0; start <= len; start = end + 1) {
		for (end = start; end < len && name[end] != '/'; end++)
			;
		if (!component_valid(name + start, end - start))
			return false;
	}
	return true;
}
