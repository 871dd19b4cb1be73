/* SPDX-License-Identifier: ISC */
/* The vectors of every ARMv8 are those that the generic code is compiled for. */
#include "base/sha.h"

const struct bole_sha1_detector *bole_sha1_detector_native(uint64_t features)
{
	(void)features;
	return NULL;
}
