/* SPDX-License-Identifier: ISC */
/* A file of its own, so that a program that brings its own bole_panic (a test double) links. */
#include <stdio.h>
#include <stdlib.h>

#include "bole/platform.h"

void bole_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "bole: bug at %s:%d: %s\n", file, line, what);
	abort();
}
