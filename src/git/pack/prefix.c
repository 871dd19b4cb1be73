/* SPDX-License-Identifier: ISC */
/* The beginning of a pack whose end never came, as a pack of its own: the whole entries behind a
 * header that counts them, and a trailer. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/pack/intake.h"

enum { COUNT_AT = 8, HEADER_BYTES = 12 };

struct prefix {
	struct bole_reader reader;
	struct pack_source *source;
	uint64_t at;
	uint64_t end; /* of the last whole entry */
	uint32_t objects;
	struct bole_hash hash;
	struct bole_oid sum;
	size_t sum_at;
	size_t sum_bytes;
};

static enum bole_status next_bytes(struct prefix *p, size_t cap, uint8_t *dst, size_t *got)
{
	uint64_t left = p->end - p->at;
	size_t n = cap < PACK_SOURCE_CHUNK_BYTES ? cap : PACK_SOURCE_CHUNK_BYTES;
	struct bole_bytes shown;

	n = left < n ? (size_t)left : n;
	BOLE_TRY(bole_pack_source_view(p->source, p->at, n, &shown));
	memcpy(dst, shown.ptr, n);
	uint8_t count[4];
	bole_put_be32(count, p->objects);
	for (size_t i = 0; i < sizeof count; i++)
		if (p->at <= COUNT_AT + i && COUNT_AT + i < p->at + n)
			dst[COUNT_AT + i - p->at] = count[i];
	bole_hash_update(&p->hash, dst, n);
	p->at += n;
	*got = n;
	return BOLE_OK;
}

static enum bole_status prefix_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	struct prefix *p = (struct prefix *)(void *)self;

	*got = 0;
	if (p->at < p->end)
		return next_bytes(p, cap, dst, got);
	if (p->sum_at == 0)
		bole_hash_final(&p->hash, &p->sum);
	size_t left = p->sum_bytes - p->sum_at;
	if (left == 0)
		return BOLE_END;
	*got = cap < left ? cap : left;
	memcpy(dst, p->sum.bytes + p->sum_at, *got);
	p->sum_at += *got;
	return BOLE_OK;
}

void bole_intake_cut_off(struct intake *it)
{
	struct prefix p = {.reader = {prefix_read},
	                   .source = &it->source,
	                   .end = it->source.len,
	                   .objects = it->row_count,
	                   .sum_bytes = it->hash_bytes};
	struct bole_oid sum;

	if (it->row_count > 0 && it->rows[it->row_count - 1].stored_bytes == 0) {
		p.objects--;
		p.end = it->rows[p.objects].offset;
	}
	if (p.objects == 0 || it->source.staging == NULL ||
	    bole_pack_source_seal(&it->source, &sum) != BOLE_OK)
		return;
	bole_hash_init(&p.hash, it->algo);
	it->job->cut_off(it->job->cut_off_ctx, &p.reader);
}
