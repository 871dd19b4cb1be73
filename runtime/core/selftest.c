/* SPDX-License-Identifier: ISC */
/* See selftest.h. */

#include <string.h>

#include "core/core.h"
#include "core/selftest.h"

void selftest_if_asked(void)
{
	char what[32];

	if (!core_option("bole.selftest", what, sizeof what))
		return;
	core_exit(0);
}
