/* SPDX-License-Identifier: ISC */
/* The programs of the regime. To add one: a file with its function, a line here, a row in
 * programs.c. */
#ifndef BOLE_TORTURE_PROGRAMS_H
#define BOLE_TORTURE_PROGRAMS_H

#include "torture/torture.h"

void torture_p1(struct torture_unit *);
void torture_p2(struct torture_unit *);
void torture_p3(struct torture_unit *);
void torture_p4(struct torture_unit *);
void torture_p5(struct torture_unit *);
void torture_p6(struct torture_unit *);
void torture_p7(struct torture_unit *);
void torture_p8(struct torture_unit *);
void torture_p9(struct torture_unit *);
void torture_p10(struct torture_unit *);
void torture_p11(struct torture_unit *);
void torture_p12(struct torture_unit *);
void torture_p13(struct torture_unit *);
void torture_p14(struct torture_unit *);
void torture_p15(struct torture_unit *);

#endif /* BOLE_TORTURE_PROGRAMS_H */
