/* SPDX-License-Identifier: ISC */
/* Names of references: the rules of git-check-ref-format(1). */
#include <string.h>

#include "base/bytes.h"
#include "bole/limits.h"
#include "git/object/object.h"

static bool name_byte(uint8_t c)
{
	return c > 0x20 && c != 0x7f && strchr("~^:?*[\\", c) == NULL;
}

static bool component_valid(struct bole_bytes part)
{
	static const char lock[] = ".lock";
	size_t lock_len = sizeof lock - 1;

	if (part.len == 0 || part.ptr[0] == '.')
		return false;
	if (part.len >= lock_len && memcmp(part.ptr + part.len - lock_len, lock, lock_len) == 0)
		return false;
	for (size_t i = 0; i < part.len; i++) {
		uint8_t next = i + 1 < part.len ? part.ptr[i + 1] : 0;

		if (!name_byte(part.ptr[i]))
			return false;
		if (part.ptr[i] == '.' && next == '.')
			return false;
		if (part.ptr[i] == '@' && next == '{')
			return false;
	}
	return true;
}

bool bole_ref_name_valid(struct bole_bytes name)
{
	if (name.len == 0 || name.len > BOLE_REF_NAME_MAX)
		return false;
	if (bole_bytes_equal(name, bole_bytes_z("HEAD")))
		return true;
	if (!bole_bytes_start(name, bole_bytes_z("refs/")) || name.ptr[name.len - 1] == '.')
		return false;
	for (size_t start = 0; start <= name.len;) {
		size_t end = start;

		while (end < name.len && name.ptr[end] != '/')
			end++;
		if (!component_valid(bole_bytes_of(name.ptr + start, end - start)))
			return false;
		start = end + 1;
	}
	return true;
}
