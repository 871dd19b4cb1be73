/* SPDX-License-Identifier: ISC */
/* The end of an ingestion: the table of the extent, or one record an object. */
#include "base/bytes.h"
#include "base/check.h"
#include "git/pack/intake.h"

/* Later copies of an object have no row: lookups must find the first copy, whose base was known
 * before it, or a chain of id deltas could run in a circle. Nor have deltas whose objects are kept
 * whole. */
static enum bole_status compact(struct intake *it, struct bole_extent_row *whole)
{
	uint32_t kept = 0;
	uint32_t wholes = 0;

	/* By offset: what lies behind the pack goes to the end. */
	for (uint32_t i = 0; i < it->whole_count; i++)
		if ((it->rows[it->whole[i]].type & INTAKE_DUPLICATE) == 0)
			whole[wholes++] = it->rows[it->whole[i]];
	for (uint32_t i = 0; i < it->row_count; i++) {
		if ((it->rows[i].type & (INTAKE_DUPLICATE | INTAKE_WHOLE)) != 0)
			continue;
		it->rows[kept++] = it->rows[i];
		if ((i & 4095) == 4095)
			BOLE_TRY(bole_intake_spend(it, INTAKE_SCRATCH_BYTES));
	}
	for (uint32_t i = 0; i < wholes; i++)
		it->rows[kept++] = whole[i];
	for (uint32_t i = 0; i < kept; i++)
		it->rows[i].type &= INTAKE_TYPE_MASK;
	return bole_tx_extent_finish(it->job->tx, it->rows, kept);
}

static enum bole_status store_extent(struct intake *it)
{
	struct bole_extent_row *whole = NULL;

	if (it->whole_count > 0) {
		whole = bole_alloc_array(it->alloc, it->whole_count, sizeof(*whole));
		if (whole == NULL)
			return BOLE_E_NO_MEMORY;
	}
	enum bole_status rc = compact(it, whole);

	bole_alloc_free(it->alloc, whole, whole == NULL ? 0 : it->whole_count, sizeof(*whole));
	return rc;
}

static enum bole_status store_record(struct intake *it, const struct bole_extent_row *row)
{
	uint8_t formatted[BOLE_ENTRY_HEAD_MAX];
	struct bole_bytes pieces[2];
	struct bole_entry_head head;
	uint32_t number = (uint32_t)(row - it->rows);

	BOLE_TRY(bole_intake_head(it, number, &head));
	pieces[0] = bole_bytes_of(it->source.kept.ptr + row->offset, head.head_bytes);
	pieces[1] = bole_bytes_of(it->source.kept.ptr + row->offset + head.head_bytes,
	                          (size_t)row->stored_bytes - head.head_bytes);
	if (head.type == BOLE_ENTRY_OFS_DELTA) {
		uint32_t base = bole_intake_row_at(it, row->offset - head.base_distance);

		BOLE_ASSERT(base != BOLE_OID_NONE);
		head.type = BOLE_ENTRY_REF_DELTA;
		head.base = it->rows[base].oid;
		pieces[0] = bole_bytes_of(formatted,
		                          bole_entry_head_format(&head, it->algo, formatted));
	}
	return bole_tx_put(it->job->tx, &row->oid, row->type & INTAKE_TYPE_MASK, pieces, 2);
}

enum bole_status bole_intake_store(struct intake *it)
{
	if (it->source.in_extent)
		return store_extent(it);
	for (uint32_t i = 0; i < it->row_count; i++) {
		if ((it->rows[i].type & INTAKE_DUPLICATE) != 0)
			continue;
		BOLE_TRY(store_record(it, &it->rows[i]));
		BOLE_TRY(bole_intake_spend(it, (size_t)it->rows[i].stored_bytes));
	}
	return BOLE_OK;
}
