/* SPDX-License-Identifier: ISC */
#include "bench/load.h"

#include <stdlib.h>
#include <string.h>

#include "support/suite_help.h"

enum { FIRST_ITEMS = 1024, LOAD_BATCH_MAX = 1000, FILL_CHECK = 1 };

void load_init(struct load *l, uint64_t seed, uint32_t len_min, uint32_t len_max)
{
	*l = (struct load){.random = seed, .len_min = len_min, .len_max = len_max};
}

void load_free(struct load *l)
{
	free(l->items);
	*l = (struct load){0};
}

struct keyed_item *load_add(struct load *l)
{
	if (l->count == l->cap) {
		l->cap = l->cap == 0 ? FIRST_ITEMS : l->cap * 2;
		l->items = realloc(l->items, l->cap * sizeof *l->items);
		check(l->items != NULL);
	}
	struct keyed_item *item = &l->items[l->count++];
	uint64_t span = l->len_max - l->len_min + 1;
	*item = (struct keyed_item){.key = bench_random(&l->random),
	                            .len = l->len_min + (uint32_t)bench_below(&l->random, span)};
	return item;
}

enum bole_status load_write(struct load *l, const struct keyed_ops *ops, struct keyed *k, bool cold,
                            size_t count, double fill, size_t batch)
{
	enum bole_status rc = BOLE_OK;
	size_t written = 0;

	check(batch <= LOAD_BATCH_MAX);
	for (size_t round = 0; rc == BOLE_OK && (fill > 0 || written < count); round++) {
		if (fill > 0 && round % FILL_CHECK == 0 && ops->fill(k) >= fill)
			break;
		size_t n = fill <= 0 && count - written < batch ? count - written : batch;
		size_t first = l->count;
		for (size_t i = 0; i < n; i++)
			(void)load_add(l);
		const struct keyed_item *items = l->items + first;
		rc = cold ? ops->ballast(k, items, n) : ops->write(k, items, NULL, n);
		if (rc != BOLE_OK)
			l->count = first;
		else
			for (size_t i = 0; i < n; i++)
				l->bytes += load_user(&items[i]);
		written += n;
	}
	return rc;
}

enum bole_status load_mark(const struct load *const *loads, size_t count, struct keyed *k,
                           struct bole_mark_result *out)
{
	struct bole_mark *mark;
	enum bole_status rc = bole_mark_begin(keyed_store(k), keyed_repo(k), &mark);

	if (rc != BOLE_OK)
		return rc;
	for (size_t l = 0; l < count && rc == BOLE_OK; l++) {
		for (size_t i = 0; i < loads[l]->count && rc == BOLE_OK; i++) {
			struct bole_oid oid;
			bool fresh;
			keyed_oid(&loads[l]->items[i], &oid);
			rc = bole_mark_object(mark, &oid, &fresh);
		}
	}
	if (rc != BOLE_OK) {
		bole_mark_abort(mark);
		return rc;
	}
	while ((rc = bole_mark_end(mark, out)) == BOLE_AGAIN) {
		struct bole_oid oid;
		bool fresh;
		while (bole_mark_root(mark, &oid) == BOLE_OK)
			if ((rc = bole_mark_object(mark, &oid, &fresh)) != BOLE_OK)
				return rc;
	}
	return rc;
}

void phase_begin(struct phase *p, struct flashdev *dev, struct phase_mark *start)
{
	*p = (struct phase){0};
	flashdev_counters(dev, &start->at);
}

void phase_step(struct flashdev *dev, struct phase_mark *step)
{
	flashdev_counters(dev, &step->at);
}

void phase_stepped(struct phase *p, struct flashdev *dev, const struct phase_mark *step,
                   uint64_t user)
{
	double ms = (double)flashdev_since(dev, &step->at).ns * 1e-6;

	p->worst_ms = ms > p->worst_ms ? ms : p->worst_ms;
	p->user += user;
	p->operations++;
}

void phase_end(struct phase *p, struct flashdev *dev, const struct phase_mark *start)
{
	p->device = flashdev_since(dev, &start->at);
}

void phase_note(const struct phase *p, const char *what, struct flashdev *dev,
                const struct keyed_ops *ops, struct keyed *k)
{
	const struct flashdev_counters *d = &p->device;
	double user = p->user == 0 ? 1 : (double)p->user;
	double n = p->operations == 0 ? 1 : (double)p->operations;
	struct bole_store_stats s = {0};
	struct flashdev_wear wear;

	flashdev_wear(dev, &wear);
	bench_note("%s, %s: %llu operations; a user byte: %.2f programmed, %.2f erased, %.2f read; "
	           "wear max/mean/min %.0f/%.1f/%.0f; %.3f ms each, worst %.1f; RAM %zu",
	           what, ops->name, (unsigned long long)p->operations, (double)d->programmed / user,
	           (double)d->erased / user, (double)d->read_bytes / user, wear.max, wear.mean,
	           wear.min, (double)d->ns * 1e-6 / n, p->worst_ms, ops->memory(k));
	if (ops != &keyed_bole)
		return;
	OK(bole_store_stats(keyed_store(k), &s));
	bench_note(
	        "  since open, of %.2f MB of entries: programmed %.2f MB, of it moved %.2f, index "
	        "%.2f, checkpoints %.2f; live %.1f %% of the capacity; %u of %u segments free, %u "
	        "runs",
	        (double)s.user_bytes * 1e-6, (double)s.programmed_bytes * 1e-6,
	        (double)s.moved_bytes * 1e-6, (double)s.index_bytes * 1e-6,
	        (double)s.checkpoint_bytes * 1e-6,
	        100.0 * (double)s.live_bytes / (double)s.capacity_bytes, s.segments_free,
	        s.segments, s.index_runs);
}
