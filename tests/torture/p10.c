/* SPDX-License-Identifier: ISC */
/* P10: a volume is written until its blocks are worn out (endurance 200; nine writes of ten go to a
 * tenth of the objects). When writing is refused for good every object can be read, before and
 * after a new mount, and the wear was shared. One line a life. */
#include <stdio.h>

#include "torture/hoard.h"
#include "torture/programs.h"

enum {
	RAW_GEOMETRIES = 3,
	ENDURANCE = 200,
	BATCH = 12,
	FILL_PERCENT = 50,
	HOT_TENTHS = 9,
	VERIFY_EVERY = 20000,  /* transactions */
	WEAR_MEAN_LEAST = 50,  /* percent of the endurance, when it ends */
	WEAR_RATIO_MOST = 150, /* max / mean in percent */
	ENTRY_MAX = 1500,
};

static enum bole_status fill(struct hoard *h)
{
	uint32_t slot[BATCH];
	enum bole_status rc = BOLE_OK;

	for (uint32_t at = 0; at < h->slots && rc == BOLE_OK; at += BATCH) {
		unsigned n = 0;
		while (n < BATCH && at + n < h->slots) {
			slot[n] = at + n;
			n++;
		}
		rc = hoard_put(h, slot, n);
	}
	return rc;
}

/* Distinct ones. */
static unsigned draw(struct hoard *h, uint32_t *slot)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BATCH; i++) {
		bool hot = torture_random(&h->random) % 10 < HOT_TENTHS;
		uint32_t s =
		        (uint32_t)(torture_random(&h->random) % (hot ? h->slots / 10 : h->slots));
		unsigned k = 0;
		while (k < n && slot[k] != s)
			k++;
		if (k == n)
			slot[n++] = s;
	}
	return n;
}

/* Until nothing can be written any more; what it ended with. */
static enum bole_status live(struct hoard *h, bool *sound)
{
	uint32_t slot[BATCH];
	enum bole_status rc = BOLE_OK;

	for (uint64_t i = 1; rc == BOLE_OK; i++) {
		unsigned n = draw(h, slot);
		rc = hoard_put(h, slot, n);
		if (rc == BOLE_OK && i % 8 == 0)
			rc = hoard_maintain(h, 1, 4);
		if (i % 512 == 0)
			torture_progress(h->unit, h->geometry, "living");
		if (i % VERIFY_EVERY == 0 && !hoard_verify(h, "living")) {
			*sound = false;
			return rc;
		}
	}
	return rc;
}

static void judge(struct hoard *h, enum bole_status rc)
{
	struct bole_block_sim_counters count;
	struct bole_block_sim_wear wear;
	struct bole_store_stats stats = {.segments = 0};

	bole_block_sim_counters(h->device, &count);
	bole_block_sim_wear(h->device, &wear);
	uint64_t mean = wear.sum * 100 / wear.blocks; /* in hundredths */
	uint64_t ratio = mean == 0 ? 0 : (uint64_t)wear.max * 10000 / mean;
	bool ended = bole_store_stats(h->store, &stats) == BOLE_OK && stats.end_of_life;
	(void)printf(
	        "p10 %s: %s after %llu MiB of objects; erases max %u mean %llu.%02llu min %u, "
	        "max/mean %llu.%02llu; %llu of %u blocks dead; %u of %u segments bad, %u free, "
	        "%llu live; end of life %s\n",
	        h->geometry, bole_status_text(rc), (unsigned long long)(h->written >> 20), wear.max,
	        (unsigned long long)mean / 100, (unsigned long long)mean % 100, wear.min,
	        (unsigned long long)ratio / 100, (unsigned long long)ratio % 100,
	        (unsigned long long)count.dead_blocks, wear.blocks, stats.segments_bad,
	        stats.segments, stats.segments_free,
	        (unsigned long long)(stats.live_bytes / stats.segment_bytes),
	        ended ? "said" : "not said");
	(void)fflush(stdout);
	h->unit->extra[0] += h->written >> 20;
	h->unit->extra[1] += mean / ENDURANCE;
	if (rc != BOLE_E_READ_ONLY && rc != BOLE_E_NO_SPACE)
		torture_finding(h->unit, h->geometry, "end", "it ends with: %s; log: %s",
		                bole_status_text(rc), h->lean.last_error);
	if (count.violations != 0)
		torture_finding(h->unit, h->geometry, "end", "%llu writes against the rules",
		                (unsigned long long)count.violations);
	if (mean < WEAR_MEAN_LEAST * ENDURANCE)
		torture_finding(h->unit, h->geometry, "end", "ends at %llu %% of the endurance",
		                (unsigned long long)(mean / ENDURANCE));
	if (ratio > WEAR_RATIO_MOST)
		torture_finding(h->unit, h->geometry, "end", "max/mean of the erases is %llu %%",
		                (unsigned long long)ratio);
}

void torture_p10(struct torture_unit *u)
{
	static struct hoard h;
	const struct torture_geometry *g = torture_geometry_of(u->number % RAW_GEOMETRIES);
	struct bole_flash_open_options read_only = {.read_only = true};
	struct bole_block_sim_options o;
	struct bole_block *device;
	struct lean disk;
	bool sound = true;

	lean_init(&disk, 1);
	if (bole_block_sim_geometry(g->name, &o) != BOLE_OK)
		return;
	o.size_bytes = g->size_bytes;
	o.endurance = ENDURANCE;
	o.seed = torture_mix(u->seed, 10 << 20 | u->number);
	if (bole_block_sim_open(&disk.alloc, &o, &device) != BOLE_OK)
		return;
	uint64_t slots = g->size_bytes * FILL_PERCENT / 100 / (ENTRY_MAX / 2);
	bool started = hoard_start(&h, u, g->name, device, (uint32_t)slots, ENTRY_MAX);
	enum bole_status rc = started ? fill(&h) : BOLE_OK;
	if (started && rc == BOLE_OK)
		rc = live(&h, &sound);
	if (started && sound) {
		judge(&h, rc);
		u->count.trials++;
		if (hoard_verify(&h, "at the end")) {
			(void)hoard_close(&h);
			rc = hoard_open(&h, &read_only);
			if (rc == BOLE_OK)
				(void)hoard_verify(&h, "after a new mount");
			else
				torture_finding(u, g->name, "end", "mounting again: %s; log: %s",
				                bole_status_text(rc), h.lean.last_error);
		}
	}
	if (h.store != NULL)
		(void)hoard_close(&h);
	bole_block_close(device);
}
