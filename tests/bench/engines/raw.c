/* SPDX-License-Identifier: ISC */
#include "bench/engines/engine.h"
#include "bench/engines/floor.h"

static void raw_nothing(void) {}

const struct engine engine = {"raw loop",  floor_open, raw_nothing, floor_put, floor_commit,
                              raw_nothing, floor_get,  raw_nothing, NULL,      floor_close};
