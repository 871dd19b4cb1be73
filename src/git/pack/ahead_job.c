/* SPDX-License-Identifier: ISC */
/* Runs jobs of ahead.h: pure work on memory. */
#include <stdio.h>

#include "base/check.h"
#include "git/delta.h"
#include "git/object/oid_map.h"
#include "git/pack/ahead.h"
#include "git/pack/intake.h"

enum { HASH_SLICE = 64 * 1024 };

void bole_ahead_unref(const struct ahead_shared *shared, struct ahead_job *job,
                      struct ahead_row *row)
{
	if (atomic_fetch_sub(&row->refs, 1) != 1 || row->bytes == NULL)
		return;
	bole_alloc_free(shared->alloc, row->bytes, row->size + 1, 1);
	atomic_fetch_sub(&job->held, row->size);
	row->bytes = NULL;
}

static uint8_t *content_new(const struct ahead_shared *shared, struct ahead_job *job, uint64_t size)
{
	size_t held = atomic_load(&job->held);

	if (held > shared->held_max || size > shared->held_max - held)
		return NULL;
	uint8_t *bytes = bole_alloc_array(shared->alloc, (size_t)size + 1, 1);

	if (bytes != NULL)
		atomic_fetch_add(&job->held, (size_t)size);
	return bytes;
}

static bool inflate(struct ahead_worker *worker, const struct ahead_job *job,
                    const struct ahead_row *row, uint8_t *dst)
{
	struct bole_bytes in = {job->entries + row->at, row->len};
	size_t used;

	return bole_inflate_whole(worker->inflater, in, dst, row->inflated, &used) == BOLE_OK &&
	       used == row->len;
}

static bool identify(const struct ahead_shared *shared, const struct ahead_job *job,
                     struct ahead_row *row)
{
	struct bole_identity identity;
	char head[48];
	int len =
	        snprintf(head, sizeof head, "%s %zu", bole_object_type_name(job->type), row->size);

	bole_identity_init_with(&identity, shared->algo, &shared->hashing);
	bole_identity_update(&identity, head, (size_t)len + 1);
	for (size_t done = 0; done < row->size;) {
		size_t part = row->size - done < HASH_SLICE ? row->size - done : HASH_SLICE;

		bole_identity_update(&identity, row->bytes + done, part);
		done += part;
		shared->platform->ops->yield(shared->platform);
	}
	return bole_identity_final(&identity, &row->oid) == BOLE_OK;
}

static bool make_whole(const struct ahead_shared *shared, struct ahead_worker *worker,
                       struct ahead_job *job, struct ahead_row *row)
{
	row->bytes = content_new(shared, job, row->inflated);
	row->size = row->inflated;
	return row->bytes != NULL && inflate(worker, job, row, row->bytes);
}

static bool make_delta(const struct ahead_shared *shared, struct ahead_worker *worker,
                       struct ahead_job *job, struct ahead_row *row)
{
	const struct ahead_row *base = &job->rows[row->parent];
	struct bole_bytes delta = {worker->delta, row->inflated};
	uint64_t base_len, size;

	if (!base->made || row->inflated > INTAKE_SCRATCH_BYTES ||
	    !inflate(worker, job, row, worker->delta) ||
	    bole_delta_sizes(delta, &base_len, &size) != BOLE_OK || base_len != base->size)
		return false;
	row->bytes = content_new(shared, job, size);
	row->size = (size_t)size;
	if (row->bytes == NULL || bole_delta_apply((struct bole_bytes){base->bytes, base->size},
	                                           delta, row->bytes, row->size) != BOLE_OK)
		return false;
	return row->again || identify(shared, job, row);
}

bool bole_ahead_step(const struct ahead_shared *shared, struct ahead_worker *worker,
                     struct ahead_job *job, uint32_t at)
{
	struct ahead_row *row = &job->rows[at];

	/* Half of the share stays for bases. */
	if (job->kept && atomic_load(&job->held) > shared->held_max / 2 &&
	    atomic_load(&job->taken) < at)
		return false;
	row->made = row->parent == BOLE_OID_NONE ? make_whole(shared, worker, job, row)
	                                         : make_delta(shared, worker, job, row);
	if (!row->made && row->bytes != NULL) {
		bole_alloc_free(shared->alloc, row->bytes, row->size + 1, 1);
		atomic_fetch_sub(&job->held, row->size);
		row->bytes = NULL;
	}
	if (row->parent != BOLE_OID_NONE)
		bole_ahead_unref(shared, job, &job->rows[row->parent]);
	/* Its own hold, so that a leaf goes at once; then others may see it. */
	bole_ahead_unref(shared, job, row);
	atomic_store_explicit(&job->done, at + 1, memory_order_release);
	return true;
}
