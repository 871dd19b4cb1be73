/* SPDX-License-Identifier: ISC */
/* What a volume says about itself. */
#include "flash/log/tx.h"

/* Lock held. */
static void count_segments(const struct flash_volume *v, struct bole_store_stats *out)
{
	out->segments = v->segments;
	out->segments_free = v->free;
	out->end_of_life = atomic_load(&v->worn);
	out->segment_bytes = v->segment_bytes;
	out->wear_min = v->dev->info.needs_erase ? UINT32_MAX : 0;
	for (uint32_t i = 0; i < v->segments; i++) {
		const struct flash_segment *s = &v->segment[i];
		out->live_bytes += s->live;
		out->segments_bad += s->state == SEGMENT_BAD;
		if (s->state != SEGMENT_FREE && s->state != SEGMENT_BAD)
			out->used_bytes += v->segment_bytes;
		if (s->state == SEGMENT_BAD || !v->dev->info.needs_erase)
			continue;
		out->wear_sum += s->erases;
		out->wear_max = s->erases > out->wear_max ? s->erases : out->wear_max;
		out->wear_min = s->erases < out->wear_min ? s->erases : out->wear_min;
	}
}

void bole_flash_volume_stats(struct flash_volume *v, struct bole_store_stats *out)
{
	bole_flash_lock(v);
	count_segments(v, out);
	out->lost = v->lost;
	out->in_doubt = v->in_doubt;
	out->capacity_bytes = bole_flash_capacity(v);
	uint64_t floor = bole_flash_floor(v, FLASH_FOR_DATA);
	uint64_t free = (uint64_t)v->free + v->freed + v->pinned;
	out->free_bytes = free > floor ? (free - floor) * v->segment_bytes : 0;
	if (out->free_bytes > out->capacity_bytes)
		out->free_bytes = out->capacity_bytes;
	for (uint32_t i = 0; i < v->repos; i++) {
		const struct flash_index *index = v->repo[i]->domain->index;

		out->repos += !v->repo[i]->hidden;
		if (index == NULL)
			continue;
		out->objects += index->objects;
		if (index->runs != NULL && index->runs->count > out->index_runs)
			out->index_runs = index->runs->count;
	}
	bole_flash_unlock(v);
	out->commits = atomic_load(&v->counters.commits);
	out->user_bytes = atomic_load(&v->counters.user_bytes);
	out->programmed_bytes = atomic_load(&v->counters.programmed);
	out->programs = atomic_load(&v->counters.programs);
	out->erased_bytes = atomic_load(&v->counters.erased);
	out->erases = atomic_load(&v->counters.erases);
	out->moved_bytes = atomic_load(&v->counters.moved);
	out->index_bytes = atomic_load(&v->counters.index);
	out->checkpoint_bytes = atomic_load(&v->counters.checkpoint_bytes);
	out->read_bytes = atomic_load(&v->counters.read);
	out->reads = atomic_load(&v->counters.reads);
	out->flushes = atomic_load(&v->counters.flushes);
	out->mount_reads = v->counters.mount_reads;
	out->memory_bytes = atomic_load(&v->budget.used) + sizeof *v;
	out->commit_ns_max = atomic_load(&v->counters.commit_ns_max);
	out->operation_ns_max = atomic_load(&v->counters.operation_ns_max);
}
