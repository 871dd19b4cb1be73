/* SPDX-License-Identifier: ISC */
/* The ustar interchange format with pax extended headers (POSIX.1-2017, pax), as git-archive(1)
 * fills it in: byte for byte the same. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/archive.h"

enum {
	RECORD_BYTES = 512,
	BLOCK_BYTES = 20 * RECORD_BYTES,
	NAME_AT = 0,
	NAME_MAX_BYTES = 100,
	MODE_AT = 100,
	UID_AT = 108,
	GID_AT = 116,
	SIZE_AT = 124,
	MTIME_AT = 136,
	SUM_AT = 148,
	TYPE_AT = 156,
	LINK_AT = 157,
	MAGIC_AT = 257,
	USER_AT = 265,
	GROUP_AT = 297,
	MAJOR_AT = 329,
	MINOR_AT = 337,
	PREFIX_AT = 345,
	PREFIX_MAX_BYTES = 155,
	UMASK = 0002,
	LINK_TARGET_MAX = 8192,
	DECIMAL_MAX = 24,
};
#define SIZE_MAX_BYTES UINT64_C(077777777777)

static void put(uint8_t *header, size_t at, size_t cap, const char *text)
{
	size_t len = strlen(text);

	memcpy(header + at, text, len < cap ? len : cap);
}

static void finish(const struct bole_archive *a, uint8_t header[RECORD_BYTES], char type,
                   uint32_t mode, uint64_t bytes)
{
	char text[32];
	unsigned sum = 0;

	header[TYPE_AT] = (uint8_t)type;
	snprintf(text, sizeof text, "%07o", mode & 07777);
	put(header, MODE_AT, 8, text);
	snprintf(text, sizeof text, "%011" PRIo64, bytes);
	put(header, SIZE_AT, 12, text);
	uint64_t time = a->time_s < 0 ? 0 : (uint64_t)a->time_s & SIZE_MAX_BYTES;
	snprintf(text, sizeof text, "%011" PRIo64, time);
	put(header, MTIME_AT, 12, text);
	put(header, UID_AT, 8, "0000000");
	put(header, GID_AT, 8, "0000000");
	put(header, USER_AT, 32, "root");
	put(header, GROUP_AT, 32, "root");
	put(header, MAJOR_AT, 8, "0000000");
	put(header, MINOR_AT, 8, "0000000");
	memcpy(header + MAGIC_AT,
	       "ustar\0"
	       "00",
	       8);
	memset(header + SUM_AT, ' ', 8);
	for (size_t i = 0; i < RECORD_BYTES; i++)
		sum += header[i];
	snprintf(text, sizeof text, "%07o", sum);
	memcpy(header + SUM_AT, text, 8);
}

static void pad(struct bole_archive *a, uint64_t bytes)
{
	static const uint8_t zeros[RECORD_BYTES];
	size_t tail = (size_t)(bytes % RECORD_BYTES);

	if (tail > 0)
		bole_output_write(a->out, zeros, RECORD_BYTES - tail);
}

static void write_extended(struct bole_archive *a, char type, const char *name,
                           const struct bole_buffer *text)
{
	uint8_t header[RECORD_BYTES] = {0};

	put(header, NAME_AT, NAME_MAX_BYTES, name);
	finish(a, header, type, 0666, text->len);
	bole_output_write(a->out, header, sizeof header);
	bole_output_write(a->out, text->ptr, text->len);
	pad(a, text->len);
}

/* "<length of this line> key=value\n". */
static void add_extended(struct bole_buffer *text, const char *key, struct bole_bytes value)
{
	size_t len = 1 + strlen(key) + 1 + value.len + 1;
	size_t digits = 1;

	for (size_t power = 10; power <= len + digits; power *= 10)
		digits++;
	bole_buffer_format(text, "%zu %s=", len + digits, key);
	bole_buffer_append(text, value.ptr, value.len);
	bole_buffer_byte(text, '\n');
}

void bole_archive_tar_begin(struct bole_archive *a)
{
	struct bole_buffer text;
	char hex[BOLE_OID_HEX_MAX + 1];

	if (bole_oid_is_null(&a->commit))
		return;
	bole_buffer_init(&text, a->s->svc->alloc, RECORD_BYTES);
	add_extended(&text, "comment", bole_bytes_z(bole_oid_format(&a->commit, hex)));
	write_extended(a, 'g', "pax_global_header", &text);
	bole_buffer_release(&text);
}

/* Where a long path is cut into prefix and name; 0: nowhere. */
static size_t prefix_len(struct bole_bytes path)
{
	size_t i = path.len;

	if (i > 1 && path.ptr[i - 1] == '/')
		i--;
	if (i > PREFIX_MAX_BYTES)
		i = PREFIX_MAX_BYTES;
	do {
		i--;
	} while (i > 0 && path.ptr[i] != '/');
	return path.len - i - 1 <= NAME_MAX_BYTES ? i : 0;
}

static void put_path(const struct bole_archive_entry *entry, const char *hex, uint8_t *header,
                     struct bole_buffer *text)
{
	struct bole_bytes path = entry->path;
	char name[BOLE_OID_HEX_MAX + 16];

	if (path.len <= NAME_MAX_BYTES) {
		memcpy(header + NAME_AT, path.ptr, path.len);
		return;
	}
	size_t cut = prefix_len(path);
	if (cut > 0) {
		memcpy(header + PREFIX_AT, path.ptr, cut);
		memcpy(header + NAME_AT, path.ptr + cut + 1, path.len - cut - 1);
		return;
	}
	snprintf(name, sizeof name, "%s.data", hex);
	put(header, NAME_AT, NAME_MAX_BYTES, name);
	add_extended(text, "path", path);
}

static enum bole_status put_link(struct bole_archive *a, const struct bole_archive_entry *entry,
                                 const char *hex, uint8_t *header, struct bole_buffer *text)
{
	struct bole_bytes target;
	char name[BOLE_OID_HEX_MAX + 24];

	BOLE_TRY(bole_object_read(a->reader, &entry->oid, NULL, &target));
	if (target.len > LINK_TARGET_MAX)
		return BOLE_E_LIMIT;
	if (target.len <= NAME_MAX_BYTES) {
		memcpy(header + LINK_AT, target.ptr, target.len);
		return BOLE_OK;
	}
	snprintf(name, sizeof name, "see %s.paxheader", hex);
	put(header, LINK_AT, NAME_MAX_BYTES, name);
	add_extended(text, "linkpath", target);
	return BOLE_OK;
}

static void write_headers(struct bole_archive *a, const struct bole_archive_entry *entry,
                          const char *hex, uint8_t header[RECORD_BYTES], struct bole_buffer *text)
{
	uint32_t mode = 0777;
	uint64_t bytes = 0;
	char type = '5';

	if (entry->mode == BOLE_MODE_SYMLINK) {
		type = '2';
	} else if (entry->mode != BOLE_MODE_TREE && entry->mode != BOLE_MODE_SUBMODULE) {
		type = '0';
		mode = (entry->mode & 0100) != 0 ? 0777 : 0666;
		bytes = entry->bytes;
	}
	if (type != '2')
		mode &= ~(uint32_t)UMASK;
	if (bytes > SIZE_MAX_BYTES) {
		char number[DECIMAL_MAX];
		snprintf(number, sizeof number, "%" PRIu64, bytes);
		add_extended(text, "size", bole_bytes_z(number));
		bytes = 0;
	}
	finish(a, header, type, mode, bytes);
	if (text->len > 0) {
		char name[BOLE_OID_HEX_MAX + 16];
		snprintf(name, sizeof name, "%s.paxheader", hex);
		write_extended(a, 'x', name, text);
	}
	bole_output_write(a->out, header, RECORD_BYTES);
}

/* The content's way out. */
struct content_writer {
	struct bole_writer writer;
	struct bole_archive *archive;
};

static enum bole_status content_write(struct bole_writer *self, const void *src, size_t len)
{
	struct content_writer *w = (struct content_writer *)(void *)self;

	bole_output_write(w->archive->out, src, len);
	BOLE_TRY(w->archive->out->rc);
	return bole_session_yield(w->archive->s);
}

static enum bole_status content_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

enum bole_status bole_archive_tar_entry(struct bole_archive *a,
                                        const struct bole_archive_entry *entry)
{
	struct content_writer content = {{.write = content_write, .flush = content_flush}, a};
	uint8_t header[RECORD_BYTES] = {0};
	char hex[BOLE_OID_HEX_MAX + 1];
	enum bole_status rc = BOLE_OK;
	struct bole_buffer text;
	uint64_t len = 0;
	uint8_t type;

	bole_oid_format(&entry->oid, hex);
	bole_buffer_init(&text, a->s->svc->alloc, BOLE_ARCHIVE_PATH_MAX + LINK_TARGET_MAX + 256);
	put_path(entry, hex, header, &text);
	if (entry->mode == BOLE_MODE_SYMLINK)
		rc = put_link(a, entry, hex, header, &text);
	if (rc == BOLE_OK)
		rc = text.rc;
	if (rc == BOLE_OK)
		write_headers(a, entry, hex, header, &text);
	bole_buffer_release(&text);
	bool file = entry->mode != BOLE_MODE_SYMLINK && entry->mode != BOLE_MODE_TREE &&
	            entry->mode != BOLE_MODE_SUBMODULE;
	if (rc != BOLE_OK || !file)
		return rc == BOLE_OK ? a->out->rc : rc;
	if (entry->changed) {
		if (entry->content.len > 0)
			bole_output_write(a->out, entry->content.ptr, entry->content.len);
		pad(a, entry->bytes);
		return a->out->rc;
	}
	BOLE_TRY(bole_object_stream(a->reader, &entry->oid, &content.writer, &type, &len));
	if (len != entry->bytes)
		return BOLE_E_CORRUPT;
	pad(a, len);
	return a->out->rc;
}

void bole_archive_tar_end(struct bole_archive *a)
{
	static const uint8_t zeros[RECORD_BYTES];
	uint64_t tail = BLOCK_BYTES - a->out->written % BLOCK_BYTES;

	if (tail < 2 * RECORD_BYTES)
		tail += BLOCK_BYTES;
	for (; tail > 0; tail -= RECORD_BYTES)
		bole_output_write(a->out, zeros, RECORD_BYTES);
}
