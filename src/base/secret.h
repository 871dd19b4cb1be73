/* SPDX-License-Identifier: ISC */
/* Comparing secrets: the time it takes says nothing about where they differ. */
#ifndef BOLE_BASE_SECRET_H
#define BOLE_BASE_SECRET_H

#include <stdbool.h>

#include "bole/types.h"

/* Only the lengths may be told from the time. */
static inline bool bole_secret_equal(struct bole_bytes a, struct bole_bytes b)
{
	volatile uint8_t differs = 0;

	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		differs = (uint8_t)(differs | (a.ptr[i] ^ b.ptr[i]));
	return differs == 0;
}

#endif /* BOLE_BASE_SECRET_H */
