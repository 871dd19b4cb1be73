/* SPDX-License-Identifier: ISC */
#include "flash/log/record.h"

#include "base/bytes.h"
#include "base/check.h"
#include "flash/volume/checksum.h"

void bole_flash_record_head(uint8_t *p, const struct flash_record *r)
{
	BOLE_ASSERT(r->key.len <= UINT8_MAX);
	BOLE_ASSERT(r->body.len <= UINT32_MAX);
	bole_put_le64(p + RECORD_CHECKSUM_AT, 0);
	p[RECORD_KIND_AT] = r->kind;
	p[RECORD_TYPE_AT] = r->type;
	p[RECORD_KEY_BYTES_AT] = (uint8_t)r->key.len;
	p[RECORD_FLAGS_AT] = r->flags;
	bole_put_le32(p + RECORD_BODY_BYTES_AT, (uint32_t)r->body.len);
	bole_put_le32(p + RECORD_OWNER_AT, r->owner);
}

uint64_t bole_flash_record_seal(uint8_t *p, size_t len, uint64_t seed)
{
	uint64_t sum = bole_flash_sum(p + RECORD_KIND_AT, len - RECORD_KIND_AT, seed);

	bole_put_le64(p + RECORD_CHECKSUM_AT, sum);
	return sum;
}

bool bole_flash_record_parse(struct bole_bytes bytes, struct flash_record *out)
{
	const uint8_t *p = bytes.ptr;

	if (bytes.len < RECORD_HEAD_BYTES)
		return false;
	size_t key = p[RECORD_KEY_BYTES_AT];
	size_t body = bole_get_le32(p + RECORD_BODY_BYTES_AT);
	if (p[RECORD_KIND_AT] == 0 || key > bytes.len - RECORD_HEAD_BYTES ||
	    body > bytes.len - RECORD_HEAD_BYTES - key)
		return false;
	*out = (struct flash_record){
	        .checksum = bole_get_le64(p + RECORD_CHECKSUM_AT),
	        .kind = p[RECORD_KIND_AT],
	        .type = p[RECORD_TYPE_AT],
	        .flags = p[RECORD_FLAGS_AT],
	        .owner = bole_get_le32(p + RECORD_OWNER_AT),
	        .key = {p + RECORD_HEAD_BYTES, key},
	        .body = {p + RECORD_HEAD_BYTES + key, body},
	        .bytes = (uint32_t)(RECORD_HEAD_BYTES + key + body),
	};
	return true;
}

bool bole_flash_record_verify(const uint8_t *p, const struct flash_record *r, uint64_t seed)
{
	return bole_flash_sum(p + RECORD_KIND_AT, r->bytes - RECORD_KIND_AT, seed) == r->checksum;
}
