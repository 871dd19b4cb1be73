/* SPDX-License-Identifier: ISC */
#include "git/files/loose.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum { FIRST_BYTES = 4096, TRUST_BYTES = 1 << 20 };

enum bole_status bole_loose_head_parse(struct bole_bytes data, uint8_t *type, uint64_t *size,
                                       size_t *head_bytes)
{
	size_t at = 0;

	*type = 0;
	*size = 0;
	for (uint8_t i = BOLE_OBJECT_COMMIT; i <= BOLE_OBJECT_TAG; i++) {
		const char *name = bole_object_type_name(i);
		size_t len = strlen(name);

		if (data.len > len && data.ptr[len] == ' ' && memcmp(data.ptr, name, len) == 0) {
			*type = i;
			at = len + 1;
		}
	}
	if (*type == 0)
		return data.len <= strlen("commit ") ? BOLE_AGAIN : BOLE_E_INVALID;
	size_t first = at;
	for (; at < data.len && data.ptr[at] != '\0'; at++) {
		uint64_t digit = (uint64_t)data.ptr[at] - '0';

		if (digit > 9 || (at > first && data.ptr[first] == '0') ||
		    *size > (UINT64_MAX - digit) / 10)
			return BOLE_E_INVALID;
		*size = *size * 10 + digit;
	}
	if (at == data.len)
		return data.len < BOLE_LOOSE_HEAD_MAX ? BOLE_AGAIN : BOLE_E_INVALID;
	*head_bytes = at + 1;
	return at == first ? BOLE_E_INVALID : BOLE_OK;
}

/* One step into the room that content has, which grows first when there is none. */
static enum bole_status inflate_more(struct bole_inflater *inflater, struct bole_bytes *rest,
                                     struct bole_buffer *content, size_t room)
{
	uint8_t *to = bole_buffer_reserve(content, room);
	size_t in_len = rest->len;

	if (to == NULL)
		return content->rc;
	enum bole_status rc = bole_inflate_step(inflater, rest->ptr, &in_len, to, &room);
	if (rc < 0)
		return rc;
	content->len += room;
	rest->ptr += in_len;
	rest->len -= in_len;
	/* Neither input nor output left: it is cut off. */
	return rc == BOLE_OK && in_len == 0 && room == 0 ? BOLE_E_CORRUPT : rc;
}

enum bole_status bole_loose_read(struct bole_inflater *inflater, struct bole_bytes file,
                                 struct bole_buffer *content, uint8_t *type,
                                 struct bole_bytes *data)
{
	struct bole_bytes rest = file;
	enum bole_status rc = BOLE_OK;
	size_t head = 0;
	uint64_t size = 0;

	content->len = 0;
	bole_inflate_begin(inflater);
	while (rc == BOLE_OK) {
		size_t room = FIRST_BYTES;

		if (head != 0) {
			if (content->len > head + size)
				return BOLE_E_CORRUPT;
			/* A declared size is not believed at once. */
			uint64_t left = head + size - content->len + 1;
			room = left < TRUST_BYTES ? (size_t)left : TRUST_BYTES;
		}
		rc = inflate_more(inflater, &rest, content, room);
		if (rc < 0)
			return rc;
		if (head == 0) {
			enum bole_status parsed = bole_loose_head_parse(
			        bole_bytes_of(content->ptr, content->len), type, &size, &head);
			if (parsed < 0 || (parsed == BOLE_AGAIN && rc == BOLE_END))
				return BOLE_E_CORRUPT;
			if (parsed == BOLE_OK && size > content->limit - head)
				return BOLE_E_LIMIT;
		}
	}
	if (rest.len != 0 || content->len != head + size)
		return BOLE_E_CORRUPT;
	*data = bole_bytes_of(content->ptr + head, content->len - head);
	return BOLE_OK;
}

enum bole_status bole_loose_write(struct bole_deflater *deflater, struct bole_alloc *alloc,
                                  uint8_t type, struct bole_bytes data, struct bole_buffer *file)
{
	struct bole_buffer whole;

	bole_buffer_init(&whole, alloc, SIZE_MAX / 2);
	bole_buffer_format(&whole, "%s %" PRIu64, bole_object_type_name(type), (uint64_t)data.len);
	bole_buffer_byte(&whole, 0);
	bole_buffer_append(&whole, data.ptr, data.len);
	size_t cap = bole_deflate_bound(whole.len);
	uint8_t *to = whole.rc == BOLE_OK ? bole_buffer_reserve(file, cap) : NULL;
	size_t len = to == NULL ? 0
	                        : bole_deflate_whole(deflater, bole_bytes_of(whole.ptr, whole.len),
	                                             to, cap);
	enum bole_status rc = whole.rc != BOLE_OK ? whole.rc : file->rc;
	if (rc == BOLE_OK && len == 0)
		rc = BOLE_E_NO_MEMORY;
	file->len += len;
	bole_buffer_release(&whole);
	return rc;
}

char *bole_loose_path(const struct bole_oid *oid, char *path)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	bole_oid_format(oid, hex);
	snprintf(path, BOLE_LOOSE_PATH_MAX, "%.2s/%s", hex, hex + 2);
	return path;
}
