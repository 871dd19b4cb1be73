/* SPDX-License-Identifier: ISC */
/* Pack indexes and reverse indexes: the first byte chooses the hash. What is accepted is looked
 * through whole, and what verifies finds each of its ids. */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/files/pack_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct bole_pack_index *index)
{
	bool sound = bole_pack_index_verify(index) == BOLE_OK;

	for (uint32_t i = 0; i < index->count; i++) {
		uint32_t pos, crc;
		uint64_t offset;

		(void)bole_pack_index_offset(index, i, &offset);
		(void)bole_pack_index_crc(index, i, &crc);
		bool found = bole_pack_index_find(index, bole_pack_index_id(index, i), &pos);
		if (sound && !found)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_pack_index index;
	const uint8_t *positions;

	if (size == 0)
		return 0;
	uint8_t algo = data[0] % 2 == 0 ? BOLE_HASH_SHA1 : BOLE_HASH_SHA256;
	struct bole_bytes file = bole_bytes_of(data + 1, size - 1);
	if (bole_pack_index_open(file, algo, &index) == BOLE_OK)
		look(&index);
	for (uint32_t count = 0; count < 3; count++)
		(void)bole_pack_rev_open(file, algo, count, &positions);
	return 0;
}
