/* SPDX-License-Identifier: ISC */
#include "flash/volume/open.h"

#include "base/check.h"
#include "flash/log/tx.h"

void bole_flash_open_close(struct flash_volume *v, struct flash_open *open)
{
	if (open->segment == SEGMENT_NONE)
		return;
	bole_flash_lock(v);
	v->segment[open->segment].open = false;
	bole_flash_segment_settle(v, open->segment);
	bole_flash_unlock(v);
	open->segment = SEGMENT_NONE;
}

static bool pool_take(struct flash_volume *v, struct flash_open *open)
{
	bool found = false;

	bole_flash_lock(v);
	for (uint32_t i = 0; i < VOLUME_POOL && !found; i++) {
		if (v->pool[i].segment == SEGMENT_NONE || v->pool[i].kind != open->kind)
			continue;
		*open = v->pool[i];
		v->pool[i] = (struct flash_open){.segment = SEGMENT_NONE};
		found = true;
	}
	bole_flash_unlock(v);
	return found;
}

void bole_flash_open_give(struct flash_volume *v, struct flash_open *open, bool useful)
{
	bool kept = false;

	if (open->segment == SEGMENT_NONE)
		return;
	useful = useful && !atomic_load(&v->failed) && !v->segment[open->segment].retiring;
	bole_flash_lock(v);
	/* Nothing lives in it any more: give it back whole rather than fill its rest. */
	if (v->segment[open->segment].live == 0 && v->segment[open->segment].held == 0)
		useful = false;
	for (uint32_t i = 0; i < VOLUME_POOL && useful && !kept; i++) {
		if (v->pool[i].segment != SEGMENT_NONE)
			continue;
		v->pool[i] = *open;
		kept = true;
	}
	bole_flash_unlock(v);
	if (kept)
		open->segment = SEGMENT_NONE;
	else
		bole_flash_open_close(v, open);
}

enum bole_status bole_flash_open_new(struct flash_volume *v, struct flash_open *open,
                                     enum flash_purpose purpose)
{
	enum flash_heat heat = open->cold ? FLASH_COLD : FLASH_HOT;
	enum bole_status rc;

	for (;;) {
		rc = bole_flash_segment_get(v, purpose, heat, &open->segment, &open->sequence);
		open->pos = 0;
		if (rc != BOLE_OK)
			open->segment = SEGMENT_NONE;
		else
			v->segment[open->segment].kind = (uint8_t)open->kind; /* ours alone */
		if (rc != BOLE_E_NO_SPACE || purpose != FLASH_FOR_DATA)
			return rc;
		bole_flash_lock(v);
		if (bole_flash_is_full(v))
			rc = BOLE_E_NO_SPACE;
		else
			rc = bole_flash_make_space(v, purpose, bole_flash_floor(v, purpose) + 1,
			                           false);
		bole_flash_unlock(v);
		BOLE_TRY(rc);
	}
}

enum bole_status bole_flash_open_take(struct flash_volume *v, struct flash_open *open,
                                      enum flash_purpose purpose)
{
	return pool_take(v, open) ? BOLE_OK : bole_flash_open_new(v, open, purpose);
}
