/* SPDX-License-Identifier: ISC */
#include "torture/programs.h"

const struct torture_program torture_programs[] = {
        {"p1", "a cut at every operation", torture_p1, 8, 0},
        {"p2", "a second cut at every operation of the recovery", torture_p2, 4, 0},
        {"p3", "three cuts in a row", torture_p3, 2, 0},
};
const unsigned torture_program_count = sizeof torture_programs / sizeof *torture_programs;
