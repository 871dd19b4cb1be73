/* SPDX-License-Identifier: ISC */
/* Eight lanes, with AVX2. */
#include "base/sha.h"

#include <cpuid.h>
#include <stdbool.h>

#define LANES      8
#define TARGET     __attribute__((target("avx2")))
#define NAME(part) sha1_eight##part
#include "base/arch/sha1_suspects.inc"

_Static_assert(LANES == BOLE_SHA1_SUSPECTS_MAX, "one round");

static uint32_t suspects_avx2(const uint8_t *src, size_t count, uint32_t *masks)
{
	uint32_t suspects = 0;

	if (count <= LANES / 2)
		return bole_sha1_suspects_generic(src, count, masks);
	sha1_eight_masks(src, count, masks);
	for (size_t i = 0; i < count; i++)
		suspects |= (uint32_t)(masks[i] != 0) << i;
	return suspects;
}

/* The processor has AVX2 and the system keeps its registers. */
static bool has_avx2(void)
{
	enum { OSXSAVE = 1 << 27, AVX = 1 << 28, AVX2 = 1 << 5, KEPT = 6 };
	unsigned a;
	unsigned b;
	unsigned c;
	unsigned d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & OSXSAVE) == 0 || (c & AVX) == 0)
		return false;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (a & KEPT) == KEPT && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & AVX2) != 0;
}

bole_sha1_suspects_fn *bole_sha1_suspects_native(void)
{
	return has_avx2() ? suspects_avx2 : NULL;
}
