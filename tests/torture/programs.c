/* SPDX-License-Identifier: ISC */
#include "torture/programs.h"

const struct torture_program torture_programs[] = {
        {"p1", "a cut at every operation", torture_p1, 8, 0, {0}},
        {"p2", "a second cut at every operation of the recovery", torture_p2, 4, 0, {0}},
        {"p3", "three cuts in a row", torture_p3, 2, 0, {0}},
        {"p4", "subsets of what was not flushed", torture_p4, 3, 0, {0}},
        {"p5", "every sequence of up to three operations", torture_p5, 4, 0, {0}},
        {"p6",
         "every byte of a sealed volume, flipped once",
         torture_p6,
         2,
         0,
         {"mounts refused", "noticed by reading", "by the check"}},
        {"p12", "the n-th call or allocation fails", torture_p12, 2, 0, {0}},
};
const unsigned torture_program_count = sizeof torture_programs / sizeof *torture_programs;
