/* SPDX-License-Identifier: ISC */
/* Several packs of one transaction that lead to each other: what one lacks may come in a later one,
 * and all are closed together, or none counts. */
#include <string.h>

#include "base/check.h"
#include "git/pack/intake.h"

enum { MISSING_MAX = 1 << 20, KINDS_SHIFT = 8, TYPE_MASK = 0xff };

void bole_ingest_later_init(struct bole_ingest_later *later, struct bole_platform *platform,
                            struct bole_alloc *alloc, uint8_t algo)
{
	bole_oid_map_init(&later->missing, platform, alloc, algo, sizeof(uint32_t));
}

void bole_ingest_later_release(struct bole_ingest_later *later)
{
	bole_oid_map_release(&later->missing);
}

enum bole_status bole_intake_later(struct intake *it, const struct bole_oid *oid, uint32_t type)
{
	struct bole_ingest_later *later = it->job->later;
	uint32_t *value;
	uint32_t item;
	bool added;

	if (later->missing.count == MISSING_MAX)
		return bole_intake_fail(it, BOLE_E_LIMIT, "too many objects are missing");
	BOLE_TRY(bole_oid_map_put(&later->missing, oid->bytes, &item, &added));
	value = bole_oid_map_value(&later->missing, item);
	if (!added && (*value & TYPE_MASK) != type)
		return bole_intake_fail(it, BOLE_E_INVALID,
		                        "an object is named as two different types");
	*value = added ? type : *value;
	return BOLE_OK;
}

bool bole_intake_later_kinds(struct intake *it, const struct bole_oid *oid, uint32_t kinds)
{
	struct bole_ingest_later *later = it->job->later;
	uint32_t item =
	        later == NULL ? BOLE_OID_NONE : bole_oid_map_find(&later->missing, oid->bytes);

	if (item == BOLE_OID_NONE)
		return false;
	*(uint32_t *)bole_oid_map_value(&later->missing, item) |= kinds << KINDS_SHIFT;
	return true;
}

static enum bole_status settle(struct intake *it)
{
	struct bole_oid_map *missing = &it->job->later->missing;
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_entry entry;
	struct bole_oid oid;
	uint32_t item;
	bool added;

	for (uint32_t i = 0; i < missing->count; i++) {
		uint32_t value;

		memcpy(&value, bole_oid_map_value(missing, i), sizeof value);
		bole_oid_from_raw(bole_oid_map_key(missing, i), it->algo, &oid);
		enum bole_status rc = bole_odb_find(it->job->tx->view, &oid, &entry);
		if (rc == BOLE_E_NOT_FOUND || (rc == BOLE_OK && entry.type != (value & TYPE_MASK)))
			return bole_intake_fail(it, BOLE_E_INVALID,
			                        "none of the packs has the %s %s",
			                        bole_object_type_name(value & TYPE_MASK),
			                        bole_oid_format(&oid, hex));
		BOLE_TRY(rc);
		BOLE_TRY(bole_intake_spend(it, 0));
		if (value >> KINDS_SHIFT == 0)
			continue;
		BOLE_TRY(bole_oid_map_put(&it->special, oid.bytes, &item, &added));
		*(uint32_t *)bole_oid_map_value(&it->special, item) = value >> KINDS_SHIFT;
	}
	return bole_intake_special(it);
}

enum bole_status bole_ingest_settle(const struct bole_ingest *job,
                                    struct bole_ingest_report *report)
{
	*report = (struct bole_ingest_report){0};
	if (job->later->missing.count == 0)
		return BOLE_OK;
	struct intake *it = bole_alloc_zeroed(job->alloc, 1, sizeof *it);
	if (it == NULL)
		return BOLE_E_NO_MEMORY;
	it->job = job;
	it->report = report;
	it->limits.time_ns_max = UINT64_MAX;
	it->algo = job->tx->view->repo.algo;
	bole_budget_init(&it->budget, job->alloc, SIZE_MAX);
	it->alloc = &it->budget.alloc;
	bole_oid_map_init(&it->special, job->platform, it->alloc, it->algo, sizeof(uint32_t));
	bole_intake_fsck_init(it);
	enum bole_status rc = settle(it);
	if (rc != BOLE_OK)
		rc = bole_intake_fail(it, rc, "%s", bole_status_text(rc));
	bole_oid_map_release(&it->special);
	BOLE_ASSERT(it->budget.used == 0);
	bole_alloc_free(job->alloc, it, 1, sizeof *it);
	return rc;
}
