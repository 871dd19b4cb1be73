/* SPDX-License-Identifier: ISC */
/* The two clocks: monotonic since entry, and the date from the clock chip or whoever sets it. */

#include "core/arch.h"

#define NS_PER_S INT64_C(1000000000)

static bool wall_is_set;
static int64_t wall_at_zero_s; /* the date when the monotonic clock was 0 */

uint64_t core_now_ns(void)
{
	return arch_now_ns();
}

bool core_wall_s(int64_t *s)
{
	if (!wall_is_set)
		return arch_wall_s(s);
	*s = wall_at_zero_s + (int64_t)arch_now_ns() / NS_PER_S;
	return true;
}

void core_wall_set(int64_t s)
{
	wall_at_zero_s = s - (int64_t)arch_now_ns() / NS_PER_S;
	wall_is_set = true;
}
