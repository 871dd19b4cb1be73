/* SPDX-License-Identifier: ISC */
/* Multi-pack indexes: the first byte chooses the hash. What is accepted is looked through whole. */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "git/files/multi_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_multi_pack midx;

	if (size == 0)
		return 0;
	uint8_t algo = data[0] % 2 == 0 ? BOLE_HASH_SHA1 : BOLE_HASH_SHA256;
	if (bole_multi_pack_open(bole_bytes_of(data + 1, size - 1), algo, &midx) != BOLE_OK)
		return 0;
	bool sound = bole_multi_pack_verify(&midx) == BOLE_OK;
	struct bole_bytes names = midx.pack_names;
	for (uint32_t i = 0; i < midx.pack_count; i++)
		if (bole_multi_pack_name(&names).len == 0)
			abort();
	for (uint32_t i = 0; i < midx.count; i++) {
		uint32_t pos, pack;
		uint64_t offset;
		bool placed = bole_multi_pack_place(&midx, i, &pack, &offset) == BOLE_OK;
		bool found =
		        bole_multi_pack_find(&midx, midx.ids + i * bole_hash_bytes(algo), &pos);

		if (sound && (!placed || !found || pos != i))
			abort();
	}
	return 0;
}
