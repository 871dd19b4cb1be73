/* SPDX-License-Identifier: ISC */
/* packed-refs and the files of single references: the first byte chooses the hash. What is read and
 * written again is read as the same. */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "git/files/ref_files.h"
#include "git/object/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(struct bole_bytes file, uint8_t algo)
{
	struct bole_packed_refs packed, again;
	struct bole_ref ref, same;

	if (bole_packed_refs_open(file, algo, &packed) != BOLE_OK)
		return;
	while (bole_packed_refs_next(&packed, &ref) == BOLE_OK) {
		uint8_t text[4096], buf[4096];
		struct bole_output out;

		if (!bole_ref_name_valid(ref.name))
			abort();
		/* A whole entry stays in the buffer: nothing is handed on. */
		bole_output_init(&out, NULL, buf, sizeof buf);
		bole_packed_refs_write(&out, &ref);
		memcpy(text, buf, out.len);
		if (bole_packed_refs_open(bole_bytes_of(text, out.len), algo, &again) != BOLE_OK ||
		    bole_packed_refs_next(&again, &same) != BOLE_OK ||
		    !bole_bytes_equal(ref.name, same.name) ||
		    !bole_oid_equal(&ref.oid, &same.oid) || ref.has_peeled != same.has_peeled ||
		    !bole_oid_equal(&ref.peeled, &same.peeled))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_ref ref;

	if (size == 0)
		return 0;
	uint8_t algo = data[0] % 2 == 0 ? BOLE_HASH_SHA1 : BOLE_HASH_SHA256;
	struct bole_bytes file = bole_bytes_of(data + 1, size - 1);
	look(file, algo);
	if (bole_loose_ref_parse(file, algo, &ref) == BOLE_OK && ref.symbolic &&
	    !bole_ref_name_valid(ref.target))
		abort();
	return 0;
}
