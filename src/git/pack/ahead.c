/* SPDX-License-Identifier: ISC */
/* The resolver's end of ahead.h: plans jobs in the order in which it will come by, and takes what
 * they made. */
#include "git/pack/ahead.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/pack/intake.h"

enum {
	DELTAS_MIN = 64, /* fewer are not worth a fiber */
	JOBS_MAX = 2 * AHEAD_FIBERS_MAX + 2,
	FRAMES_FIRST = 64,
	WORKER_BYTES = INTAKE_SCRATCH_BYTES + 64 * 1024 + sizeof(struct intake_hasher),
	LOOK_NS = 5 * 1000 * 1000,
};

/* A row whose children are being planned, as struct intake_frame. */
struct plan_frame {
	uint32_t row;
	uint32_t next;
	uint32_t heavy;
	uint32_t at; /* in the job at hand */
};

struct ahead {
	struct ahead_shared shared;
	struct intake *it;
	struct ahead_worker own;
	uint8_t type;

	struct bole_mutex lock; /* guards the next two, and states of jobs */
	struct bole_cond work;  /* for fibers */
	struct bole_cond made;  /* for the resolver */
	unsigned fibers;
	unsigned used; /* jobs from first on */

	struct ahead_job jobs[JOBS_MAX]; /* a ring */
	unsigned job_count;
	unsigned first;
	bool own_job; /* the first one is run here */

	uint32_t root; /* where the search for the next family begins */
	struct plan_frame *frames;
	size_t frame_count;
	size_t frame_cap;
};

enum plan { PLAN_OK, PLAN_FULL, PLAN_SKIP };

/* -- Fibers -- */

/* Waits, but not for long: both sides say what they did now and then only. */
static void nap(struct ahead *a, struct bole_cond *cond)
{
	const struct bole_platform_ops *ops = a->shared.platform->ops;
	uint64_t until = ops->now_ns(a->shared.platform) + LOOK_NS;

	(void)ops->cond_wait(a->shared.platform, cond, &a->lock, until);
}

/* Tells the resolver, and waits for it where it must take something first. */
static void tell(struct ahead *a, bool starved)
{
	const struct bole_platform_ops *ops = a->shared.platform->ops;

	ops->mutex_lock(a->shared.platform, &a->lock);
	ops->cond_broadcast(a->shared.platform, &a->made);
	if (starved)
		nap(a, &a->work);
	ops->mutex_unlock(a->shared.platform, &a->lock);
}

static void run_job(struct ahead *a, struct ahead_worker *worker, struct ahead_job *job)
{
	uint32_t count = job->count;

	for (uint32_t at = 0; at < count && !atomic_load(&a->shared.closing);) {
		uint32_t made = bole_ahead_step(&a->shared, worker, job, at);

		at += made;
		tell(a, made == 0);
		a->shared.platform->ops->yield(a->shared.platform);
	}
}

static struct ahead_job *ready_job(struct ahead *a)
{
	for (unsigned i = 0; i < a->used; i++) {
		struct ahead_job *job = &a->jobs[(a->first + i) % a->job_count];

		if (job->state == AHEAD_READY)
			return job;
	}
	return NULL;
}

static bool worker_open(struct ahead *a, struct ahead_worker *worker)
{
	*worker = (struct ahead_worker){.inflater = NULL};
	worker->delta = bole_alloc_array(a->shared.alloc, INTAKE_SCRATCH_BYTES, 1);
	worker->hasher = bole_alloc_array(a->shared.alloc, 1, sizeof *worker->hasher);
	return worker->delta != NULL && worker->hasher != NULL &&
	       bole_inflater_open(a->shared.alloc, &worker->inflater) == BOLE_OK;
}

static void worker_close(struct ahead *a, struct ahead_worker *worker)
{
	bole_inflater_close(worker->inflater);
	bole_alloc_free(a->shared.alloc, worker->delta, INTAKE_SCRATCH_BYTES, 1);
	bole_alloc_free(a->shared.alloc, worker->hasher, 1, sizeof *worker->hasher);
}

static void fiber_main(void *arg)
{
	struct ahead *a = arg;
	struct bole_platform *platform = a->shared.platform;
	struct ahead_worker worker;
	bool open = worker_open(a, &worker);

	platform->ops->mutex_lock(platform, &a->lock);
	while (open && !atomic_load(&a->shared.closing)) {
		struct ahead_job *job = ready_job(a);

		if (job == NULL) {
			nap(a, &a->work);
			continue;
		}
		job->state = AHEAD_TAKEN;
		platform->ops->mutex_unlock(platform, &a->lock);
		run_job(a, &worker, job);
		platform->ops->mutex_lock(platform, &a->lock);
	}
	platform->ops->mutex_unlock(platform, &a->lock);
	worker_close(a, &worker);
	platform->ops->mutex_lock(platform, &a->lock);
	a->fibers--; /* the last that is done with a */
	platform->ops->cond_broadcast(platform, &a->made);
	platform->ops->mutex_unlock(platform, &a->lock);
}

/* -- Planning -- */

/* The zlib data and size of an entry, into the job. */
static enum plan copy_entry(struct ahead *a, struct ahead_job *job, struct ahead_row *row)
{
	const struct bole_extent_row *r = &a->it->rows[row->row];
	struct bole_entry_head head;
	struct bole_bytes shown;
	uint8_t *dst = job->entries + job->entry_bytes;

	if (r->stored_bytes > AHEAD_ENTRY_BYTES / 2)
		return PLAN_SKIP;
	if (r->stored_bytes > AHEAD_ENTRY_BYTES - job->entry_bytes)
		return PLAN_FULL;
	for (size_t done = 0; done < r->stored_bytes; done += shown.len) {
		size_t rest = (size_t)r->stored_bytes - done;

		if (bole_pack_source_view(&a->it->source, r->offset + done,
		                          rest < PACK_SOURCE_CHUNK_BYTES ? rest
		                                                         : PACK_SOURCE_CHUNK_BYTES,
		                          &shown) != BOLE_OK)
			return PLAN_SKIP; /* the resolver meets it again */
		memcpy(dst + done, shown.ptr, shown.len);
	}
	if (bole_entry_head_parse(bole_bytes_of(dst, (size_t)r->stored_bytes), a->it->algo,
	                          &head) != BOLE_OK ||
	    head.inflated_bytes > a->shared.held_max / 2 ||
	    (row->parent != BOLE_OID_NONE && head.inflated_bytes > INTAKE_SCRATCH_BYTES))
		return PLAN_SKIP;
	row->at = (uint32_t)job->entry_bytes + (uint32_t)head.head_bytes;
	row->len = (uint32_t)r->stored_bytes - (uint32_t)head.head_bytes;
	row->inflated = (uint32_t)head.inflated_bytes;
	job->entry_bytes += (size_t)r->stored_bytes;
	return PLAN_OK;
}

static enum plan add_row(struct ahead *a, struct ahead_job *job, uint32_t row, uint32_t parent,
                         bool again)
{
	struct ahead_row *r = &job->rows[job->count];

	if (job->count == AHEAD_ROWS)
		return PLAN_FULL;
	*r = (struct ahead_row){.row = row, .parent = parent, .again = again};
	atomic_init(&r->refs, job->kept && !again ? 2u : 1u);
	enum plan plan = copy_entry(a, job, r);

	if (plan != PLAN_OK)
		return plan;
	if (parent != BOLE_OID_NONE)
		atomic_fetch_add(&job->rows[parent].refs, 1);
	job->count++;
	return PLAN_OK;
}

static bool frame_push(struct ahead *a, uint32_t row, uint32_t at)
{
	uint32_t first = a->it->first_child[row];

	if (a->frame_count == a->frame_cap) {
		size_t cap = a->frame_cap == 0 ? FRAMES_FIRST : a->frame_cap * 2;
		struct plan_frame *frames = bole_alloc_resize(a->shared.alloc, a->frames,
		                                              a->frame_cap, cap, sizeof *frames);
		if (frames == NULL)
			return false;
		a->frames = frames;
		a->frame_cap = cap;
	}
	a->frames[a->frame_count++] = (struct plan_frame){
	        .row = row, .next = a->it->link[first], .heavy = first, .at = at};
	return true;
}

/* As the resolver goes, but for id deltas: whose bases have no id yet are not in these lists. */
static uint32_t frame_child(struct ahead *a, struct plan_frame *frame)
{
	uint32_t child = frame->next;

	while (child != BOLE_OID_NONE && a->it->rows[child].type != BOLE_ENTRY_OFS_DELTA)
		child = a->it->link[child];
	if (child != BOLE_OID_NONE) {
		frame->next = a->it->link[child];
		return child;
	}
	frame->next = BOLE_OID_NONE;
	child = frame->heavy;
	frame->heavy = BOLE_OID_NONE;
	if (child != BOLE_OID_NONE && a->it->rows[child].type != BOLE_ENTRY_OFS_DELTA)
		return BOLE_OID_NONE;
	return child;
}

static uint32_t next_root(struct ahead *a)
{
	const struct intake *it = a->it;

	for (; a->root < it->row_count; a->root++)
		if ((it->rows[a->root].type & ~(INTAKE_DUPLICATE | INTAKE_SOUND)) == a->type &&
		    it->first_child[a->root] != BOLE_OID_NONE)
			return a->root;
	return BOLE_OID_NONE;
}

/* The bases of a family that the job before could not finish. */
static bool plan_path(struct ahead *a, struct ahead_job *job)
{
	for (size_t i = 0; i < a->frame_count; i++) {
		if (job->count > AHEAD_ROWS / 2 || job->entry_bytes > AHEAD_ENTRY_BYTES / 2)
			return false;
		a->frames[i].at = job->count;
		if (add_row(a, job, a->frames[i].row, i == 0 ? BOLE_OID_NONE : a->frames[i - 1].at,
		            true) != PLAN_OK)
			return false;
	}
	return true;
}

static void job_clear(struct ahead *a, struct ahead_job *job)
{
	job->count = 0;
	job->entry_bytes = 0;
	job->type = a->type;
	job->kept = a->type != BOLE_OBJECT_BLOB;
	atomic_store(&job->done, 0);
	atomic_store(&job->taken, 0);
}

/* One more row, or PLAN_FULL; PLAN_SKIP: nothing is left. */
static enum plan plan_row(struct ahead *a, struct ahead_job *job, bool *useful)
{
	if (a->frame_count == 0) {
		uint32_t root = next_root(a);

		if (root == BOLE_OID_NONE)
			return PLAN_SKIP;
		enum plan plan = add_row(a, job, root, BOLE_OID_NONE, true);

		if (plan == PLAN_FULL)
			return plan;
		a->root++;
		if (plan == PLAN_OK)
			(void)frame_push(a, root, job->count - 1);
		return PLAN_OK;
	}
	struct plan_frame *top = &a->frames[a->frame_count - 1];
	struct plan_frame before = *top;
	uint32_t child = frame_child(a, top);

	if (child == BOLE_OID_NONE) {
		a->frame_count--;
		return PLAN_OK;
	}
	enum plan plan = add_row(a, job, child, top->at, false);

	if (plan == PLAN_FULL && *useful) {
		*top = before;
		return plan;
	}
	if (plan != PLAN_OK)
		return PLAN_OK; /* the resolver's own */
	*useful = true;
	if (a->it->first_child[child] != BOLE_OID_NONE)
		(void)frame_push(a, child, job->count - 1);
	return PLAN_OK;
}

/* False: nothing is left to plan. */
static bool plan_job(struct ahead *a, struct ahead_job *job)
{
	bool useful = false;
	enum plan plan = PLAN_OK;

	job_clear(a, job);
	if (!plan_path(a, job)) {
		a->frame_count = 0;
		job_clear(a, job);
	}
	while (plan == PLAN_OK)
		plan = plan_row(a, job, &useful);
	return useful;
}

static void plan_jobs(struct ahead *a)
{
	struct bole_platform *platform = a->shared.platform;

	while (a->used < a->job_count) {
		struct ahead_job *job = &a->jobs[(a->first + a->used) % a->job_count];

		if (!plan_job(a, job)) {
			if (next_root(a) == BOLE_OID_NONE && a->frame_count == 0)
				return;
			continue;
		}
		platform->ops->mutex_lock(platform, &a->lock);
		job->state = AHEAD_READY;
		a->used++;
		platform->ops->cond_signal(platform, &a->work);
		platform->ops->mutex_unlock(platform, &a->lock);
		platform->ops->yield(platform);
	}
}

/* -- Taking -- */

static void job_retire(struct ahead *a, struct ahead_job *job)
{
	struct bole_platform *platform = a->shared.platform;

	BOLE_ASSERT(atomic_load(&job->held) == 0);
	platform->ops->mutex_lock(platform, &a->lock);
	job->state = AHEAD_FREE;
	a->first = (a->first + 1) % a->job_count;
	a->used--;
	platform->ops->mutex_unlock(platform, &a->lock);
	a->own_job = false;
}

/* Has the row made: by others, or here if nobody has begun. */
static enum bole_status await(struct ahead *a, struct ahead_job *job, uint32_t at)
{
	struct bole_platform *platform = a->shared.platform;

	if (!a->own_job) {
		platform->ops->mutex_lock(platform, &a->lock);
		a->own_job = job->state == AHEAD_READY;
		job->state = AHEAD_TAKEN;
		platform->ops->mutex_unlock(platform, &a->lock);
	}
	uint32_t done;

	while ((done = atomic_load_explicit(&job->done, memory_order_acquire)) <= at) {
		if (a->own_job) {
			uint32_t made = bole_ahead_step(&a->shared, &a->own, job, done);

			BOLE_ASSERT(made > 0);
			BOLE_TRY(bole_intake_spend(a->it, job->rows[done].size));
			continue;
		}
		platform->ops->mutex_lock(platform, &a->lock);
		platform->ops->cond_broadcast(platform, &a->work);
		if (atomic_load_explicit(&job->done, memory_order_acquire) <= at)
			nap(a, &a->made);
		platform->ops->mutex_unlock(platform, &a->lock);
		BOLE_TRY(bole_intake_spend(a->it, INTAKE_SCRATCH_BYTES));
	}
	return BOLE_OK;
}

/* The next row that is not made for others only; NULL at the end of all jobs. */
static enum bole_status next_row(struct ahead *a, struct ahead_row **out)
{
	*out = NULL;
	while (a->used > 0) {
		struct ahead_job *job = &a->jobs[a->first];
		uint32_t at = atomic_load(&job->taken);

		while (at < job->count && job->rows[at].again)
			at++;
		atomic_store(&job->taken, at);
		if (at < job->count) {
			*out = &job->rows[at];
			return BOLE_OK;
		}
		BOLE_TRY(await(a, job, job->count - 1));
		job_retire(a, job);
		plan_jobs(a);
	}
	return BOLE_OK;
}

enum bole_status bole_ahead_take(struct ahead *a, uint32_t child, const struct ahead_row **out)
{
	struct ahead_row *row;

	*out = NULL;
	BOLE_TRY(next_row(a, &row));
	if (row == NULL || row->row != child)
		return BOLE_OK;
	BOLE_TRY(await(a, &a->jobs[a->first], (uint32_t)(row - a->jobs[a->first].rows)));
	if (row->made)
		*out = row;
	else
		bole_ahead_done(a);
	return BOLE_OK;
}

void bole_ahead_done(struct ahead *a)
{
	struct ahead_job *job = &a->jobs[a->first];
	uint32_t at = atomic_load(&job->taken);

	if (job->kept)
		bole_ahead_unref(&a->shared, job, &job->rows[at]);
	atomic_store(&job->taken, at + 1);
}

/* -- The whole -- */

static bool jobs_open(struct ahead *a, size_t share, unsigned count)
{
	for (; a->job_count < count; a->job_count++) {
		struct ahead_job *job = &a->jobs[a->job_count];

		job->rows = bole_alloc_array(a->shared.alloc, AHEAD_ROWS, sizeof *job->rows);
		job->entries = bole_alloc_array(a->shared.alloc, AHEAD_ENTRY_BYTES, 1);
		if (job->rows != NULL && job->entries != NULL)
			continue;
		bole_alloc_free(a->shared.alloc, job->rows, AHEAD_ROWS, sizeof *job->rows);
		bole_alloc_free(a->shared.alloc, job->entries, AHEAD_ENTRY_BYTES, 1);
		break;
	}
	a->shared.held_max = share - AHEAD_ENTRY_BYTES - AHEAD_ROWS * sizeof(struct ahead_row);
	return a->job_count > 0;
}

static void fibers_start(struct ahead *a, unsigned count)
{
	struct bole_platform *platform = a->shared.platform;

	for (unsigned i = 0; i < count; i++) {
		platform->ops->mutex_lock(platform, &a->lock);
		a->fibers++;
		platform->ops->mutex_unlock(platform, &a->lock);
		if (platform->ops->fiber_start(platform, "resolve", fiber_main, a, 0) == BOLE_OK)
			continue;
		platform->ops->mutex_lock(platform, &a->lock);
		a->fibers--;
		platform->ops->mutex_unlock(platform, &a->lock);
		return;
	}
}

void bole_ahead_open(struct intake *it, uint8_t type, struct ahead **out)
{
	struct bole_platform *platform = it->job->platform;
	unsigned processors =
	        platform->ops->processors == NULL ? 1 : platform->ops->processors(platform);
	unsigned fibers = processors - 1 < AHEAD_FIBERS_MAX ? processors - 1 : AHEAD_FIBERS_MAX;
	size_t memory = it->held_max / 2;
	size_t workers = (fibers + 1) * WORKER_BYTES;
	unsigned count = 2 * fibers + 2;

	*out = NULL;
	if (fibers == 0 || it->report->deltas - it->resolved < DELTAS_MIN ||
	    memory < workers + AHEAD_SHARE_MIN || it->delta_need > memory)
		return;
	size_t share = (memory - workers) / count;

	if (share > AHEAD_SHARE_MAX)
		share = AHEAD_SHARE_MAX;
	if (share < AHEAD_SHARE_MIN) {
		share = AHEAD_SHARE_MIN;
		count = (unsigned)((memory - workers) / share);
	}
	struct ahead *a = bole_alloc_zeroed(it->alloc, 1, sizeof *a);

	if (a == NULL)
		return;
	a->it = it;
	a->type = type;
	a->shared.platform = platform;
	a->shared.alloc = it->alloc;
	a->shared.hashing = it->hashing;
	a->shared.algo = it->algo;
	platform->ops->mutex_init(platform, &a->lock);
	platform->ops->cond_init(platform, &a->work);
	platform->ops->cond_init(platform, &a->made);
	if (!worker_open(a, &a->own) || !jobs_open(a, share, count)) {
		bole_ahead_close(a);
		return;
	}
	it->held_max -= memory;
	plan_jobs(a);
	if (a->used > 0)
		fibers_start(a, fibers);
	*out = a;
}

static void job_release(struct ahead *a, struct ahead_job *job)
{
	for (uint32_t i = 0; i < job->count; i++)
		if (job->rows[i].bytes != NULL)
			bole_alloc_free(a->shared.alloc, job->rows[i].bytes, job->rows[i].size + 1,
			                1);
	bole_alloc_free(a->shared.alloc, job->rows, AHEAD_ROWS, sizeof *job->rows);
	bole_alloc_free(a->shared.alloc, job->entries, AHEAD_ENTRY_BYTES, 1);
}

void bole_ahead_close(struct ahead *a)
{
	if (a == NULL)
		return;
	struct bole_platform *platform = a->shared.platform;

	atomic_store(&a->shared.closing, true);
	platform->ops->mutex_lock(platform, &a->lock);
	platform->ops->cond_broadcast(platform, &a->work);
	while (a->fibers > 0)
		nap(a, &a->made);
	platform->ops->mutex_unlock(platform, &a->lock);
	for (unsigned i = 0; i < a->job_count; i++)
		job_release(a, &a->jobs[i]);
	worker_close(a, &a->own);
	bole_alloc_free(a->shared.alloc, a->frames, a->frame_cap, sizeof *a->frames);
	platform->ops->cond_destroy(platform, &a->work);
	platform->ops->cond_destroy(platform, &a->made);
	platform->ops->mutex_destroy(platform, &a->lock);
	bole_alloc_free(a->shared.alloc, a, 1, sizeof *a);
}
