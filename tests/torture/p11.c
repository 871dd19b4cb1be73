/* SPDX-License-Identifier: ISC */
/* P11: NAND whose pages suffer from reads of their neighbours and from time. The store reads the
 * same few objects a million times, or bits rot round after round with a scrub in between: what the
 * device had to correct is moved before the code cannot correct it any more. */
#include <stdio.h>

#include "torture/hoard.h"
#include "torture/programs.h"

enum {
	BLOCKS = 288,
	BLOCK_BYTES = 128 << 10,
	SLOTS = 3000,
	ENTRY_MAX = 3000,
	BATCH = 24,
	DISTURB_READS = 20000,
	READS = 1000000,
	HOT = 40,
	LOOK_EVERY = 256, /* reads between two steps of maintenance */
	CACHE_BYTES = 4096,
	ROUNDS = 40,
	AGE_PPM = 150000, /* a wrong bit in so many of a million pieces, each round */
	SCRUB_STEPS = 4000,
	MAINTAIN_STEPS = 4000,
};

static bool fill(struct hoard *h)
{
	uint32_t slot[BATCH];

	for (uint32_t at = 0; at < h->slots; at += BATCH) {
		unsigned n = 0;
		while (n < BATCH && at + n < h->slots) {
			slot[n] = at + n;
			n++;
		}
		enum bole_status rc = hoard_put(h, slot, n);
		if (rc != BOLE_OK) {
			torture_finding(h->unit, h->geometry, "fill", "%s", bole_status_text(rc));
			return false;
		}
	}
	return true;
}

static bool maintain(struct hoard *h, unsigned steps)
{
	enum bole_status rc = hoard_maintain(h, 1, steps);

	if (rc == BOLE_OK)
		return true;
	torture_finding(h->unit, h->geometry, "maintain", "%s; log: %s", bole_status_text(rc),
	                h->lean.last_error);
	return false;
}

/* A cold neighbour of what is read all the time must not rot. */
static bool disturb(struct hoard *h)
{
	struct bole_snapshot *s;
	bool good = true;

	if (bole_snapshot_open(h->store, h->repo, &s) != BOLE_OK)
		return false;
	for (unsigned i = 0; i < READS && good; i++) {
		/* More of them than the cache holds. */
		good = hoard_read(h, s, (uint32_t)(torture_random(&h->random) % HOT));
		if (i % LOOK_EVERY == 0) {
			bole_snapshot_close(s);
			good = good && maintain(h, 2);
			torture_progress(h->unit, h->geometry, "disturb");
			if (bole_snapshot_open(h->store, h->repo, &s) != BOLE_OK)
				return false;
		}
	}
	bole_snapshot_close(s);
	return good;
}

static bool scrub(struct hoard *h)
{
	struct bole_scrub_report report = {.segment = 0};
	enum bole_status rc = BOLE_OK;

	for (unsigned i = 0; i < SCRUB_STEPS && rc == BOLE_OK; i++)
		rc = bole_store_scrub(h->store, &report);
	if (rc == BOLE_END && report.damaged == 0)
		return true;
	torture_finding(h->unit, h->geometry, "scrub", "%s, %llu damaged", bole_status_text(rc),
	                (unsigned long long)report.damaged);
	return false;
}

static bool age(struct hoard *h)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		bole_block_sim_age(h->device, AGE_PPM);
		if (!scrub(h) || !maintain(h, MAINTAIN_STEPS) || !hoard_verify(h, "age"))
			return false;
	}
	return true;
}

void torture_p11(struct torture_unit *u)
{
	static struct hoard h;
	struct bole_flash_open_options small = {.cache_bytes = CACHE_BYTES};
	struct bole_block_sim_counters count;
	struct bole_block_sim_options o;
	struct bole_block *device;
	struct lean disk;

	lean_init(&disk, 1);
	if (bole_block_sim_geometry("slcnand", &o) != BOLE_OK)
		return;
	o.size_bytes = (uint64_t)BLOCKS * BLOCK_BYTES;
	o.disturb_reads = DISTURB_READS;
	o.uncorrectable = BOLE_SIM_READ_FAILS;
	o.seed = torture_mix(u->seed, 11 << 20 | u->number);
	if (bole_block_sim_open(&disk.alloc, &o, &device) != BOLE_OK)
		return;
	bool good = hoard_start(&h, u, "slcnand", device, SLOTS, ENTRY_MAX) && fill(&h) &&
	            hoard_close(&h) == BOLE_OK && hoard_open(&h, &small) == BOLE_OK;
	if (good)
		good = u->number % 2 == 0 ? disturb(&h) : age(&h);
	if (h.store != NULL)
		(void)hoard_close(&h);
	u->count.trials++;
	bole_block_sim_counters(device, &count);
	u->extra[0] += count.corrected;
	u->extra[1] += count.uncorrectable;
	u->extra[2] += count.read_steps;
	if (good) {
		good = hoard_open(&h, NULL) == BOLE_OK;
		if (good && hoard_verify(&h, "after a new mount"))
			(void)hoard_close(&h);
		if (!good)
			torture_finding(u, "slcnand", "end", "mounting again fails; log: %s",
			                h.lean.last_error);
	}
	if (count.uncorrectable != 0)
		torture_finding(u, "slcnand", u->number % 2 == 0 ? "disturb" : "age",
		                "%llu reads were beyond the code",
		                (unsigned long long)count.uncorrectable);
	bole_block_close(device);
}
