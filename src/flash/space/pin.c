/* SPDX-License-Identifier: ISC */
#include "flash/space/pin.h"

#include "base/check.h"
#include "flash/volume/volume.h"

void bole_flash_pin_set(struct flash_volume *v, struct flash_pin *pin)
{
	pin->epoch = v->epoch;
	pin->older = v->pins.newest;
	pin->newer = NULL;
	atomic_store(&pin->gone, false);
	if (pin->older != NULL)
		pin->older->newer = pin;
	else
		v->pins.oldest = pin;
	v->pins.newest = pin;
}

/* Segments that waited for pins which are no more. */
static void settle(struct flash_volume *v)
{
	for (uint32_t i = 0; i < v->segments && v->pinned != 0; i++) {
		if (v->segment[i].state != SEGMENT_PINNED || bole_flash_pinned(v, i))
			continue;
		v->pinned--;
		bole_flash_segment_release(v, i);
	}
}

static void take_out(struct flash_volume *v, struct flash_pin *pin)
{
	bool first = pin->older == NULL;

	if (pin->older != NULL)
		pin->older->newer = pin->newer;
	else
		v->pins.oldest = pin->newer;
	if (pin->newer != NULL)
		pin->newer->older = pin->older;
	else
		v->pins.newest = pin->older;
	pin->epoch = 0;
	/* Only the oldest one decides. */
	if (first)
		settle(v);
}

void bole_flash_pin_rest(struct flash_volume *v, struct flash_pin *pin)
{
	if (pin->epoch != 0)
		take_out(v, pin);
}

void bole_flash_pin_end(struct flash_volume *v, struct flash_pin *pin)
{
	bole_flash_lock(v);
	bole_flash_pin_rest(v, pin);
	bole_flash_unlock(v);
}

bool bole_flash_pinned(const struct flash_volume *v, uint32_t segment)
{
	const struct flash_pin *oldest = v->pins.oldest;

	return oldest != NULL && oldest->epoch < v->segment[segment].freed;
}

/* The latest end of a segment that could be used again but for pins. */
static uint64_t last_end(const struct flash_volume *v)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < v->segments; i++) {
		const struct flash_segment *s = &v->segment[i];
		if ((s->state == SEGMENT_PINNED || bole_flash_segment_dead(v, i)) &&
		    s->freed > last)
			last = s->freed;
	}
	return last;
}

bool bole_flash_pin_revoke(struct flash_volume *v)
{
	struct flash_pin *pin = v->pins.oldest;

	if (pin == NULL || pin->firm || pin->epoch >= last_end(v))
		return false;
	/* Before anything is written over what it reads. */
	uint64_t age = v->epoch - pin->epoch;
	atomic_store(&pin->gone, true);
	take_out(v, pin);
	if (!pin->leaving)
		bole_log(v->platform, BOLE_LOG_WARN,
		         "%s: out of space: a snapshot of %llu states ago is revoked",
		         v->dev->info.name, (unsigned long long)age);
	return true;
}
