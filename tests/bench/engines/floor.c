/* SPDX-License-Identifier: ISC */
#include "bench/engines/floor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/engines/engine.h"
#include "bench/engines/prewrite.h"

enum { RECORD = ENGINE_KEY + ENGINE_VALUE, CHUNK = 1 << 20, LOAD = 2 };

static int fd;
static uint64_t end;
static uint8_t *pending;
static size_t pending_len;
static size_t pending_cap;
static uint64_t *slot; /* 1 + place */
static size_t slots;

static void insert(const uint8_t *key, uint64_t at)
{
	uint64_t h;

	memcpy(&h, key, sizeof h);
	while (slot[h % slots] != 0)
		h++;
	slot[h % slots] = at + 1;
}

static void load(void)
{
	static uint8_t chunk[CHUNK / RECORD * RECORD];
	ssize_t n;

	end = 0;
	while ((n = pread(fd, chunk, sizeof chunk, (off_t)end)) >= RECORD) {
		for (ssize_t at = 0; at + RECORD <= n; at += RECORD, end += RECORD) {
			static const uint8_t zero[ENGINE_KEY];
			if (memcmp(chunk + at, zero, sizeof zero) == 0)
				return;
			insert(chunk + at, end);
		}
	}
}

void floor_open(const char *dir, bool fresh, uint64_t bytes)
{
	const char *path = engine_path(dir, "floor");

	if (fresh && engine_prewritten("FLOOR_FILE"))
		engine_prewrite(path, bytes + CHUNK);
	fd = open(path, O_RDWR | O_CREAT, 0644);
	MUST(fd >= 0);
	slots = (size_t)(bytes / RECORD) * LOAD + 1;
	slot = calloc(slots, sizeof *slot);
	MUST(slot != NULL);
	if (fresh)
		end = 0;
	else
		load();
}

void floor_put(const uint8_t *key, const uint8_t *value)
{
	if (pending_len + RECORD > pending_cap) {
		pending_cap = pending_cap == 0 ? CHUNK : 2 * pending_cap;
		pending = realloc(pending, pending_cap);
		MUST(pending != NULL);
	}
	memcpy(pending + pending_len, key, ENGINE_KEY);
	memcpy(pending + pending_len + ENGINE_KEY, value, ENGINE_VALUE);
	insert(key, end + pending_len);
	pending_len += RECORD;
}

void floor_commit(void)
{
	MUST(pwrite(fd, pending, pending_len, (off_t)end) == (ssize_t)pending_len);
	MUST(fdatasync(fd) == 0);
	end += pending_len;
	pending_len = 0;
}

bool floor_get(const uint8_t *key, uint8_t *value)
{
	uint8_t record[RECORD];
	uint64_t h;

	for (memcpy(&h, key, sizeof h); slot[h % slots] != 0; h++) {
		off_t at = (off_t)slot[h % slots] - 1;
		MUST(pread(fd, record, sizeof record, at) == sizeof record);
		if (memcmp(record, key, ENGINE_KEY) == 0) {
			memcpy(value, record + ENGINE_KEY, ENGINE_VALUE);
			return true;
		}
	}
	return false;
}

void floor_close(void)
{
	close(fd);
	free(slot);
}
