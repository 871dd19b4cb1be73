/* SPDX-License-Identifier: ISC */
/* Reftables. The footer's checksum would stop nearly everything at the door, so it is set right
 * first, and header and footer made equal. Every name that the walk shows is looked up. */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/deflate.h"
#include "git/files/reftable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct bole_reftable *table)
{
	struct bole_reftable_walk walk, search;
	struct bole_ref ref, found;
	unsigned lookups = 0;
	bool deleted;

	bole_reftable_walk(table, &walk);
	while (bole_reftable_next(&walk, &ref, &deleted) == BOLE_OK)
		if (lookups++ < 8) {
			search.table = table;
			(void)bole_reftable_find(&search, ref.name, &found, &deleted);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_reftable table;

	if (size < 24 + 68)
		return 0;
	uint8_t *file = malloc(size);
	memcpy(file, data, size);
	size_t head = file[4] == 2 ? 28 : 24;
	if (size >= 2 * head + 44) {
		uint8_t *foot = file + size - head - 44;

		memcpy(foot, file, head);
		bole_put_be32(file + size - 4, bole_crc32(0, bole_bytes_of(foot, head + 40)));
	}
	for (uint8_t algo = BOLE_HASH_SHA1; algo <= BOLE_HASH_SHA256; algo++)
		if (bole_reftable_open(bole_bytes_of(file, size), algo, &table) == BOLE_OK)
			look(&table);
	free(file);
	return 0;
}
