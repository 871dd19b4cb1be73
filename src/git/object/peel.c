/* SPDX-License-Identifier: ISC */
#include "git/object/peel.h"

#include "base/check.h"
#include "git/object/object.h"

enum bole_status bole_object_peel(struct bole_object_reader *reader, uint8_t algo,
                                  const struct bole_oid *oid, struct bole_oid *out, uint8_t *type)
{
	struct bole_bytes data;
	struct bole_tag tag;
	uint64_t size;

	*out = *oid;
	for (unsigned depth = 0; depth < BOLE_PEEL_MAX; depth++) {
		BOLE_TRY(bole_object_size(reader, out, type, &size));
		if (*type != BOLE_OBJECT_TAG)
			return BOLE_OK;
		BOLE_TRY(bole_object_read(reader, out, type, &data));
		if (bole_tag_parse(data, algo, &tag) != BOLE_OK)
			return BOLE_E_CORRUPT;
		*out = tag.target;
	}
	return BOLE_E_LIMIT;
}
