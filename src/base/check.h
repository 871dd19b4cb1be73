/* SPDX-License-Identifier: ISC */
/* Assertions. BOLE_ASSERT is for our own bugs and stays on in release; bytes from disk or network
 * are never asserted, they are BOLE_E_CORRUPT or BOLE_E_INVALID. */
#ifndef BOLE_BASE_CHECK_H
#define BOLE_BASE_CHECK_H

#include "bole/platform.h"

#define BOLE_ASSERT(condition)                                      \
	do {                                                        \
		if (!(condition))                                   \
			bole_panic(__FILE__, __LINE__, #condition); \
	} while (0)

#define BOLE_UNREACHABLE() bole_panic(__FILE__, __LINE__, "unreachable")

/* Returns from the calling function unless expr is BOLE_OK. */
#define BOLE_TRY(expr)                                 \
	do {                                           \
		enum bole_status bole_try_rc = (expr); \
		if (bole_try_rc != BOLE_OK)            \
			return bole_try_rc;            \
	} while (0)

#endif /* BOLE_BASE_CHECK_H */
