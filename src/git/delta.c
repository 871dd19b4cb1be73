/* SPDX-License-Identifier: ISC */
#include "git/delta.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum { COPY_SIZE_DEFAULT = 0x10000 };

/* Little-endian base 128; cuts it off *rest. */
static enum bole_status size_take(struct bole_bytes *rest, uint64_t *out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; rest->len > 0; shift += 7) {
		uint8_t byte = *rest->ptr++;
		uint64_t part = byte & 0x7f;

		rest->len--;
		if (shift > 63 || part << shift >> shift != part)
			return BOLE_E_INVALID;
		value |= part << shift;
		if ((byte & 0x80) == 0) {
			*out = value;
			return BOLE_OK;
		}
	}
	return BOLE_E_INVALID;
}

enum bole_status bole_delta_begin(struct bole_bytes *rest, uint64_t *base_len, uint64_t *result_len)
{
	BOLE_TRY(size_take(rest, base_len));
	return size_take(rest, result_len);
}

enum bole_status bole_delta_sizes(struct bole_bytes delta, uint64_t *base_len, uint64_t *result_len)
{
	return bole_delta_begin(&delta, base_len, result_len);
}

/* The operands of a copy: bits 0-3 of op say which bytes of the offset follow, 4-6 of the size. */
static bool copy_take(struct bole_bytes *rest, uint8_t op, uint32_t *off, uint32_t *len)
{
	uint32_t value[2] = {0, 0};

	for (unsigned bit = 0; bit < 7; bit++) {
		if ((op & 1u << bit) == 0)
			continue;
		if (rest->len == 0)
			return false;
		value[bit >= 4] |= (uint32_t)*rest->ptr++ << 8 * (bit % 4);
		rest->len--;
	}
	*off = value[0];
	*len = value[1] == 0 ? COPY_SIZE_DEFAULT : value[1];
	return true;
}

enum bole_status bole_delta_op(struct bole_bytes *rest, struct bole_delta_op *op)
{
	if (rest->len == 0 || *rest->ptr == 0)
		return BOLE_E_INVALID;
	uint8_t code = *rest->ptr++;

	rest->len--;
	*op = (struct bole_delta_op){.copy = (code & 0x80) != 0, .len = code};
	if (op->copy && !copy_take(rest, code, &op->offset, &op->len))
		return BOLE_E_INVALID;
	return BOLE_OK;
}

enum bole_status bole_delta_apply(struct bole_bytes base, struct bole_bytes delta, uint8_t *dst,
                                  size_t dst_len)
{
	struct bole_bytes rest = delta;
	uint64_t base_len;
	uint64_t result_len;
	size_t at = 0;

	BOLE_TRY(bole_delta_begin(&rest, &base_len, &result_len));
	if (base_len != base.len || result_len != dst_len)
		return BOLE_E_INVALID;
	while (rest.len > 0) {
		uint8_t op = *rest.ptr++;
		uint32_t off = 0;
		uint32_t len = op;

		rest.len--;
		if (op == 0)
			return BOLE_E_INVALID;
		if ((op & 0x80) != 0) {
			if (!copy_take(&rest, op, &off, &len) ||
			    !bole_in_bounds(off, len, base.len) || len > dst_len - at)
				return BOLE_E_INVALID;
			memcpy(dst + at, base.ptr + off, len);
		} else {
			if (len > rest.len || len > dst_len - at)
				return BOLE_E_INVALID;
			memcpy(dst + at, rest.ptr, len);
			rest.ptr += len;
			rest.len -= len;
		}
		at += len;
	}
	return at == dst_len ? BOLE_OK : BOLE_E_INVALID;
}
