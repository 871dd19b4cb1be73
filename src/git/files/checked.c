/* SPDX-License-Identifier: ISC */
#include "git/files/checked.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

static enum bole_status checked_write(struct bole_writer *self, const void *src, size_t len)
{
	struct bole_checked *c = (struct bole_checked *)self;

	bole_hash_update(&c->hash, src, len);
	return c->next->write(c->next, src, len);
}

static enum bole_status checked_flush(struct bole_writer *self)
{
	struct bole_checked *c = (struct bole_checked *)self;

	return c->next->flush(c->next);
}

void bole_checked_init(struct bole_checked *c, uint8_t algo, struct bole_writer *next)
{
	c->writer = (struct bole_writer){.write = checked_write, .flush = checked_flush};
	c->next = next;
	c->algo = algo;
	bole_hash_init(&c->hash, algo);
	bole_output_init(&c->out, &c->writer, c->buffer, sizeof c->buffer);
}

void bole_checked_be32(struct bole_checked *c, uint32_t value)
{
	uint8_t bytes[4];

	bole_put_be32(bytes, value);
	bole_output_write(&c->out, bytes, sizeof bytes);
}

void bole_checked_be64(struct bole_checked *c, uint64_t value)
{
	uint8_t bytes[8];

	bole_put_be64(bytes, value);
	bole_output_write(&c->out, bytes, sizeof bytes);
}

enum bole_status bole_checked_end(struct bole_checked *c)
{
	struct bole_oid sum;

	BOLE_TRY(bole_output_flush(&c->out));
	bole_hash_final(&c->hash, &sum);
	BOLE_TRY(c->next->write(c->next, sum.bytes, bole_hash_bytes(c->algo)));
	return c->next->flush(c->next);
}

bool bole_checked_valid(struct bole_bytes file, uint8_t algo)
{
	size_t len = bole_hash_bytes(algo);
	struct bole_hash hash;
	struct bole_oid sum, stored;

	if (file.len < len)
		return false;
	bole_oid_from_raw(file.ptr + file.len - len, algo, &stored);
	if (bole_oid_is_null(&stored))
		return true;
	bole_hash_init(&hash, algo);
	bole_hash_update(&hash, file.ptr, file.len - len);
	bole_hash_final(&hash, &sum);
	return bole_oid_equal(&sum, &stored);
}
