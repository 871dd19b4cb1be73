/* SPDX-License-Identifier: ISC */
/* Deltas that fibers make ahead, under ThreadSanitizer. */
#include <stdio.h>
#include <stdlib.h>

#include "support/families.h"
#include "support/packworld.h"

static bool later(void *ctx)
{
	unsigned *left = ctx;

	return *left == 0 || --*left == 0;
}

int main(void)
{
	uint64_t seed = test_seed(1);

	for (unsigned round = 0; round < 8; round++) {
		struct families_options o = {.algo = BOLE_HASH_SHA1,
		                             .families = 60,
		                             .blob_bytes = 4000,
		                             .deltas = 30,
		                             .wrong = round % 4 == 1};
		unsigned looks = round % 4 == 3 ? 150 : 1u << 30;
		struct packworld world;
		struct families f;

		families_make(&f, &o, test_random(&seed));
		packworld_open(&world, BOLE_HASH_SHA1, 1);
		world.platform.processors = 4;
		world.store->info.extent_bytes_min = 64 * 1024;
		world.limits.memory_bytes_max = round % 2 == 0 ? 0 : 12 << 20;
		world.cancelled = later;
		world.cancelled_ctx = &looks;
		enum bole_status rc =
		        packworld_push(&world, f.maker.out.ptr, f.maker.out.len, NULL, NULL);
		if (rc != BOLE_OK && rc != BOLE_E_INVALID && rc != BOLE_E_CLOSED) {
			fprintf(stderr, "round %u: %s\n", round, world.report.error);
			return 1;
		}
		packworld_close(&world);
		families_release(&f);
	}
	return 0;
}
