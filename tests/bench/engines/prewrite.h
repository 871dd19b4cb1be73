/* SPDX-License-Identifier: ISC */
/* A file whose blocks were all written once, as on a raw disk: overwriting them changes nothing
 * else in the file system. ENGINE_FILE=written (FLOOR_FILE=written for the raw loop) asks for it.
 */
#ifndef BOLE_TESTS_BENCH_PREWRITE_H
#define BOLE_TESTS_BENCH_PREWRITE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/engines/engine.h"

enum { PREWRITE_CHUNK = 1 << 20 };

static inline bool engine_prewritten(const char *variable)
{
	const char *kind = getenv(variable);

	return kind != NULL && strcmp(kind, "written") == 0;
}

static inline void engine_prewrite(const char *path, uint64_t bytes)
{
	static const uint8_t zero[PREWRITE_CHUNK];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	MUST(fd >= 0);
	for (uint64_t at = 0; at < bytes; at += sizeof zero)
		MUST(write(fd, zero, sizeof zero) == sizeof zero);
	MUST(fsync(fd) == 0 && close(fd) == 0);
}

#endif /* BOLE_TESTS_BENCH_PREWRITE_H */
