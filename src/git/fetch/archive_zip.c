/* SPDX-License-Identifier: ISC */
/* ZIP (APPNOTE.TXT 6.3): each file deflated, its sizes in a descriptor behind it, the directory at
 * the end, with 64-bit fields where there are too many entries or bytes for the old ones. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/archive.h"

enum {
	LOCAL_MAGIC = 0x04034b50,
	DESCRIPTOR_MAGIC = 0x08074b50,
	DIRECTORY_MAGIC = 0x02014b50,
	END64_MAGIC = 0x06064b50,
	LOCATOR64_MAGIC = 0x07064b50,
	END_MAGIC = 0x06054b50,
	VERSION_DEFLATE = 20,
	VERSION_64 = 45,
	MADE_BY_UNIX = 3 << 8 | VERSION_DEFLATE,
	FLAG_DESCRIPTOR = 1 << 3,
	FLAG_UTF8 = 1 << 11,
	METHOD_STORED = 0,
	METHOD_DEFLATED = 8,
	TIME_EXTRA_ID = 0x5455, /* "UT" */
	TIME_EXTRA_BYTES = 9,
	WIDE_EXTRA_ID = 0x0001,
	RECORD_MAX = 80,
	FIELD16_MAX = 0xffff,
	DIRECTORY_BYTES_MAX = 256 << 20,
};
#define FIELD32_MAX UINT32_MAX

/* Fields of one record, written one after another. */
struct record {
	uint8_t bytes[RECORD_MAX];
	size_t len;
};

static void put16(struct record *r, uint64_t value)
{
	bole_put_le16(r->bytes + r->len, (uint16_t)value);
	r->len += 2;
}

static void put32(struct record *r, uint64_t value)
{
	bole_put_le32(r->bytes + r->len, (uint32_t)value);
	r->len += 4;
}

static void put64(struct record *r, uint64_t value)
{
	bole_put_le64(r->bytes + r->len, value);
	r->len += 8;
}

/* DOS time and date in one word; years before 1980 are 1980. */
static uint32_t dos_time(int64_t time_s)
{
	const int64_t first = 315532800; /* 1980-01-01 */
	int64_t t = time_s < first ? first : time_s;
	int64_t z = t / 86400 + 719468;
	int64_t era = z / 146097;
	int64_t of_era = z - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;
	int64_t day = of_year - (153 * m + 2) / 5 + 1;
	int64_t month = m < 10 ? m + 3 : m - 9;
	int64_t year = y + era * 400 + (month <= 2);
	int64_t second = t % 86400;

	if (year > 2107)
		return UINT32_MAX;
	return (uint32_t)((year - 1980) << 25 | month << 21 | day << 16 | second / 3600 << 11 |
	                  second / 60 % 60 << 5 | second % 60 / 2);
}

static void put_time_extra(const struct bole_archive *a, struct record *r)
{
	put16(r, TIME_EXTRA_ID);
	put16(r, TIME_EXTRA_BYTES - 4);
	r->bytes[r->len++] = 1; /* modification time */
	put32(r, (uint64_t)a->time_s);
}

struct zip_entry {
	const struct bole_archive_entry *entry;
	uint64_t at; /* of the local header */
	uint16_t flags;
	uint16_t method;
	uint32_t crc;
	uint64_t stored;
	uint64_t bytes;
};

/* What local header and directory have in common, from the version to the length of the name. */
static void put_common(const struct bole_archive *a, struct record *r, const struct zip_entry *z,
                       bool sizes)
{
	put16(r, VERSION_DEFLATE);
	put16(r, z->flags);
	put16(r, z->method);
	put32(r, dos_time(a->time_s));
	put32(r, sizes ? z->crc : 0);
	put32(r, sizes ? z->stored : 0);
	put32(r, sizes ? z->bytes : 0);
	put16(r, z->entry->path.len);
}

static void write_local(struct bole_archive *a, const struct zip_entry *z)
{
	struct record r = {.len = 0};

	put32(&r, LOCAL_MAGIC);
	put_common(a, &r, z, false);
	put16(&r, TIME_EXTRA_BYTES);
	bole_output_write(a->out, r.bytes, r.len);
	bole_output_write(a->out, z->entry->path.ptr, z->entry->path.len);
	r.len = 0;
	put_time_extra(a, &r);
	bole_output_write(a->out, r.bytes, r.len);
}

static uint32_t attributes(uint32_t mode)
{
	if (mode == BOLE_MODE_TREE || mode == BOLE_MODE_SUBMODULE)
		return UINT32_C(040755) << 16 | 16;
	if (mode == BOLE_MODE_SYMLINK)
		return UINT32_C(0120777) << 16;
	return ((mode & 0100) != 0 ? UINT32_C(0100755) : UINT32_C(0100644)) << 16;
}

static enum bole_status add_directory(struct bole_archive *a, const struct zip_entry *z)
{
	bool wide = z->at >= FIELD32_MAX;
	struct record r = {.len = 0};

	put32(&r, DIRECTORY_MAGIC);
	put16(&r, MADE_BY_UNIX);
	put_common(a, &r, z, true);
	put16(&r, TIME_EXTRA_BYTES + (wide ? 12 : 0));
	put16(&r, 0); /* comment */
	put16(&r, 0); /* disk */
	put16(&r, 0); /* internal attributes */
	put32(&r, attributes(z->entry->mode));
	put32(&r, wide ? FIELD32_MAX : z->at);
	bole_buffer_append(&a->directory, r.bytes, r.len);
	bole_buffer_append(&a->directory, z->entry->path.ptr, z->entry->path.len);
	r.len = 0;
	put_time_extra(a, &r);
	if (wide) {
		put16(&r, WIDE_EXTRA_ID);
		put16(&r, 8);
		put64(&r, z->at);
	}
	bole_buffer_append(&a->directory, r.bytes, r.len);
	a->entry_count++;
	return a->directory.rc;
}

/* Yields on the way of a content into its stream. */
struct content_writer {
	struct bole_writer writer;
	struct bole_archive *archive;
	struct bole_writer *next;
};

static enum bole_status content_write(struct bole_writer *self, const void *src, size_t len)
{
	struct content_writer *w = (struct content_writer *)(void *)self;

	BOLE_TRY(w->next->write(w->next, src, len));
	return bole_session_yield(w->archive->s);
}

static enum bole_status content_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

static enum bole_status write_content(struct bole_archive *a, struct zip_entry *z,
                                      struct bole_deflater *deflater)
{
	struct bole_archive_deflate stream;
	struct record r = {.len = 0};
	uint64_t len = 0;
	uint8_t type;

	bole_archive_deflate_begin(&stream, deflater, a->out);
	struct content_writer content = {
	        {.write = content_write, .flush = content_flush}, a, &stream.writer};
	if (z->entry->changed && z->entry->content.len > 0)
		BOLE_TRY(content_write(&content.writer, z->entry->content.ptr,
		                       z->entry->content.len));
	else if (!z->entry->changed)
		BOLE_TRY(bole_object_stream(a->reader, &z->entry->oid, &content.writer, &type,
		                            &len));
	BOLE_TRY(bole_archive_deflate_end(&stream));
	if (stream.written >= FIELD32_MAX || stream.taken >= FIELD32_MAX)
		return BOLE_E_LIMIT;
	z->crc = stream.crc;
	z->stored = stream.written;
	z->bytes = stream.taken;
	put32(&r, DESCRIPTOR_MAGIC);
	put32(&r, z->crc);
	put32(&r, z->stored);
	put32(&r, z->bytes);
	bole_output_write(a->out, r.bytes, r.len);
	return a->out->rc;
}

enum bole_status bole_archive_zip_entry(struct bole_archive *a,
                                        const struct bole_archive_entry *entry,
                                        struct bole_deflater *deflater)
{
	bool folder = entry->mode == BOLE_MODE_TREE || entry->mode == BOLE_MODE_SUBMODULE;
	struct zip_entry z = {.entry = entry, .at = a->out->written, .flags = FLAG_UTF8};

	if (entry->bytes >= FIELD32_MAX)
		return BOLE_E_LIMIT; /* this writer has no room for its sizes */
	if (a->directory.alloc == NULL)
		bole_buffer_init(&a->directory, a->s->svc->alloc, DIRECTORY_BYTES_MAX);
	if (!folder) {
		z.flags |= FLAG_DESCRIPTOR;
		z.method = METHOD_DEFLATED;
	}
	write_local(a, &z);
	if (!folder)
		BOLE_TRY(write_content(a, &z, deflater));
	BOLE_TRY(add_directory(a, &z));
	return a->out->rc;
}

enum bole_status bole_archive_zip_end(struct bole_archive *a)
{
	uint64_t at = a->out->written;
	uint64_t bytes = a->directory.len;
	uint64_t n = a->entry_count;
	bool wide = n >= FIELD16_MAX || at >= FIELD32_MAX || bytes >= FIELD32_MAX;
	struct record r = {.len = 0};
	char hex[BOLE_OID_HEX_MAX + 1] = "";

	if (!bole_oid_is_null(&a->commit))
		bole_oid_format(&a->commit, hex);
	if (bytes > 0)
		bole_output_write(a->out, a->directory.ptr, (size_t)bytes);
	if (wide) {
		put32(&r, END64_MAGIC);
		put64(&r, 44); /* of the rest */
		put16(&r, MADE_BY_UNIX);
		put16(&r, VERSION_64);
		put64(&r, 0);
		put64(&r, n);
		put64(&r, n);
		put64(&r, bytes);
		put64(&r, at);
		bole_output_write(a->out, r.bytes, r.len);
		r.len = 0;
		put32(&r, LOCATOR64_MAGIC);
		put32(&r, 0);
		put64(&r, at + bytes);
		put32(&r, 1);
	}
	put32(&r, END_MAGIC);
	put32(&r, 0); /* this disk, and the directory's */
	put16(&r, wide ? FIELD16_MAX : n);
	put16(&r, wide ? FIELD16_MAX : n);
	put32(&r, wide ? FIELD32_MAX : bytes);
	put32(&r, wide ? FIELD32_MAX : at);
	put16(&r, strlen(hex));
	bole_output_write(a->out, r.bytes, r.len);
	bole_output_write(a->out, hex, strlen(hex));
	return a->out->rc;
}
