/* SPDX-License-Identifier: ISC */
/* Runs jobs of ahead.h: pure work on memory. */
#include "base/check.h"
#include "git/delta.h"
#include "git/object/oid_map.h"
#include "git/pack/ahead.h"
#include "git/pack/intake.h"

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
	const struct bole_bytes before = {base->bytes, base->size};

	row->changes.count = 0;
	if (row->bytes == NULL || bole_delta_apply(before, delta, row->bytes, row->size) != BOLE_OK)
		return false;
	if (job->type == BOLE_OBJECT_TREE)
		bole_intake_changes(shared->algo, before,
		                    (struct bole_bytes){row->bytes, row->size}, &row->changes);
	return true;
}

static void unmake(const struct ahead_shared *shared, struct ahead_job *job, struct ahead_row *row)
{
	row->made = false;
	if (row->bytes == NULL)
		return;
	bole_alloc_free(shared->alloc, row->bytes, row->size + 1, 1);
	atomic_fetch_sub(&job->held, row->size);
	row->bytes = NULL;
}

/* The ids of rows [at, end), together. An attack is left to the resolver. */
static void identify(const struct ahead_shared *shared, struct intake_hasher *hasher,
                     struct ahead_job *job, uint32_t at, uint32_t end)
{
	struct ahead_row *rows[INTAKE_BATCH];
	size_t count = 0;

	for (; at < end; at++) {
		struct ahead_row *row = &job->rows[at];

		if (!row->made || row->again)
			continue;
		bole_message_of_object(&hasher->messages[count], job->type,
		                       (struct bole_bytes){row->bytes, row->size});
		rows[count++] = row;
	}
	bole_hash_many_begin(&hasher->many, shared->algo, &shared->hashing, hasher->messages,
	                     count);
	while (bole_hash_many_step(&hasher->many, INTAKE_HASH_BYTES))
		shared->platform->ops->yield(shared->platform);
	for (size_t i = 0; i < count; i++) {
		rows[i]->oid = hasher->messages[i].oid;
		if (hasher->messages[i].rc != BOLE_OK)
			unmake(shared, job, rows[i]);
	}
}

/* Half of the share stays for bases. */
static bool must_wait(const struct ahead_shared *shared, const struct ahead_job *job, uint32_t at)
{
	return job->kept && atomic_load(&job->held) > shared->held_max / 2 &&
	       atomic_load(&job->taken) < at;
}

uint32_t bole_ahead_step(const struct ahead_shared *shared, struct ahead_worker *worker,
                         struct ahead_job *job, uint32_t at)
{
	size_t bytes_max = shared->held_max / 4;
	uint32_t end = at;
	size_t bytes = 0;

	if (bytes_max > INTAKE_BATCH_BYTES)
		bytes_max = INTAKE_BATCH_BYTES;
	while (end < job->count && end - at < INTAKE_BATCH && bytes < bytes_max &&
	       !must_wait(shared, job, end)) {
		struct ahead_row *row = &job->rows[end];

		row->made = row->parent == BOLE_OID_NONE ? make_whole(shared, worker, job, row)
		                                         : make_delta(shared, worker, job, row);
		if (!row->made)
			unmake(shared, job, row);
		if (!row->made && end > at)
			break; /* tried again when those before it have let go */
		bytes += row->size;
		end++;
	}
	identify(shared, worker->hasher, job, at, end);
	for (uint32_t i = at; i < end; i++) {
		struct ahead_row *row = &job->rows[i];

		if (row->parent != BOLE_OID_NONE)
			bole_ahead_unref(shared, job, &job->rows[row->parent]);
		/* Its own hold, so that a leaf goes at once. */
		bole_ahead_unref(shared, job, row);
	}
	/* Now others may see them. */
	atomic_store_explicit(&job->done, end, memory_order_release);
	return end - at;
}
