/* SPDX-License-Identifier: ISC */
/* A pack from a stranger. The first byte chooses how it is taken, the rest is the pack without its
 * trailer, which is made right, so that mutations get past it. Whatever is taken must be whole. */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "support/large_blocks.h"
#include "support/packworld.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct maker_bytes pack = {0};
	struct packworld world;
	struct bole_hash hash;
	struct bole_oid sum;

	if (size < 1)
		return 0;
	uint8_t algo = (data[0] & 1) != 0 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;

	large_blocks_keep();
	packworld_open(&world, algo, 1);
	world.input_bytes = (data[0] & 2) != 0 ? 64 : 4096;
	if ((data[0] & 4) != 0)
		world.store->info.extent_bytes_min = 1;
	world.limits.memory_bytes_max = (data[0] & 8) != 0 ? 1 << 20 : 4 << 20;
	world.limits.inflated_bytes_max = 32 << 20;
	maker_append(&pack, data + 1, size - 1);
	bole_hash_init(&hash, algo);
	bole_hash_update(&hash, pack.ptr, pack.len);
	bole_hash_final(&hash, &sum);
	maker_append(&pack, sum.bytes, bole_hash_bytes(algo));
	enum bole_status rc = packworld_push(&world, pack.ptr, pack.len, NULL, NULL);

	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_INVALID || rc == BOLE_E_LIMIT ||
	            rc == BOLE_E_NO_MEMORY);
	BOLE_ASSERT((rc == BOLE_OK) == (world.report.error[0] == '\0'));
	uint64_t objects = packworld_verify(&world);

	BOLE_ASSERT(rc == BOLE_OK ? objects <= world.report.objects : objects == 0);
	maker_release(&pack);
	packworld_close(&world);
	return 0;
}
