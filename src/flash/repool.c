/* SPDX-License-Identifier: ISC */
/* Partly filled data segments of a volume that was just mounted: on a managed device, where bytes
 * may be overwritten, the next extents go on in them. What lies behind the last living fragment was
 * never published. On raw flash nothing is programmed behind what a cut may have touched. */
#include "base/bytes.h"
#include "flash/mount.h"

enum { REPOOL_SHARE = 4 }; /* at least so much of the segment must be left */

struct repool {
	struct flash_volume *v;
	uint32_t *end; /* of the last fragment in each segment, 0 = none */
	uint64_t *sequence;
};

static void note(struct repool *r, struct flash_extent *const *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t n = 0; n < list[i]->fragments; n++) {
			const struct flash_fragment *f = &list[i]->fragment[n];
			uint32_t end = (uint32_t)bole_round_up(
			        f->offset + bole_flash_fragment_live(f->length), r->v->unit);
			if (end > r->end[f->segment])
				r->end[f->segment] = end;
			/* A damaged map may know less than there is, and may lie. */
			if (list[i]->damaged)
				r->end[f->segment] = r->v->segment_bytes;
			r->sequence[f->segment] = f->sequence;
		}
	}
}

static void choose(struct repool *r)
{
	struct flash_volume *v = r->v;
	uint32_t most = v->segment_bytes - v->segment_bytes / REPOOL_SHARE;
	uint32_t at = 0;

	for (uint32_t i = 0; i < v->segments; i++) {
		struct flash_segment *s = &v->segment[i];
		if (r->end[i] == 0 || r->end[i] > most || s->state != SEGMENT_USED || s->open ||
		    s->sequence != r->sequence[i])
			continue;
		/* The checkpoint of this mount may have left a segment of its own there. */
		while (at < VOLUME_POOL / 2 && v->pool[at].segment != SEGMENT_NONE)
			at++;
		if (at == VOLUME_POOL / 2)
			return;
		v->pool[at] = (struct flash_open){
		        .segment = i,
		        .pos = r->end[i],
		        .sequence = r->sequence[i],
		        .kind = FLASH_SEGMENT_DATA,
		};
		s->open = true;
		s->written = r->end[i];
	}
}

void bole_flash_repool(struct flash_volume *v)
{
	struct repool r = {.v = v};

	if (v->dev->info.needs_erase || v->read_only)
		return;
	r.end = bole_alloc_zeroed(v->alloc, v->segments, sizeof *r.end);
	r.sequence = bole_alloc_zeroed(v->alloc, v->segments, sizeof *r.sequence);
	/* Without memory for it the room is left unused. */
	if (r.end != NULL && r.sequence != NULL) {
		for (uint32_t i = 0; i < v->repos; i++) {
			const struct flash_index *index = v->repo[i]->domain->index;
			if (index != NULL && index->extents != NULL)
				note(&r, index->extents->extent, index->extents->count);
		}
		for (const struct flash_prepared *p = v->prepared; p != NULL; p = p->next)
			note(&r, p->extent, p->extents);
		choose(&r);
	}
	bole_alloc_free(v->alloc, r.end, v->segments, sizeof *r.end);
	bole_alloc_free(v->alloc, r.sequence, v->segments, sizeof *r.sequence);
}
