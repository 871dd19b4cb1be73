/* SPDX-License-Identifier: ISC */
/* The first frame of a fiber, as arch_switch pops it. */

#include "core/arch.h"

void arch_fiber_entry(void);

struct first_frame {
	uint64_t r15, r14, r13, r12, rbx, rbp, ret;
};

void *arch_fiber_prepare(void *stack_top, void (*fn)(void *), void *arg)
{
	struct first_frame *f = (struct first_frame *)stack_top - 1;

	*f = (struct first_frame){.r13 = (uint64_t)(uintptr_t)arg,
	                          .r12 = (uint64_t)(uintptr_t)fn,
	                          .ret = (uint64_t)(uintptr_t)arch_fiber_entry};
	return f;
}
