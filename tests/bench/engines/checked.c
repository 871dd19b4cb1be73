/* SPDX-License-Identifier: ISC */
/* What no store that checks its bytes and finds its objects again can be faster than: the raw loop
 * with a head and a checksum for each record, one for each commit, and a look for the key before it
 * goes into the index. Nothing can be removed, and nothing is recovered. */
#include <string.h>

#include "bench/engines/engine.h"
#include "bench/engines/floor.h"
#include "bench/engines/prewrite.h"
#include "flash/volume/checksum.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEAD = 20, BODY = ENGINE_KEY + ENGINE_VALUE, RECORD = HEAD + BODY, CHUNK = 1 << 20 };

struct slot {
	uint64_t key; /* its first bytes */
	uint64_t at;  /* place + 1 */
};

static int fd;
static uint64_t end;
static uint8_t *pending;
static size_t pending_len;
static size_t pending_cap;
static struct slot *slot;
static size_t slots; /* a power of two */

static struct slot *find(const uint8_t *key)
{
	uint64_t start;

	memcpy(&start, key, sizeof start);
	uint64_t h = bole_flash_sum(key, ENGINE_KEY, 7);
	while (slot[h & (slots - 1)].at != 0 && slot[h & (slots - 1)].key != start)
		h++;
	return &slot[h & (slots - 1)];
}

static void checked_open(const char *dir, bool fresh, uint64_t bytes)
{
	const char *path = engine_path(dir, "checked");

	if (fresh && engine_prewritten("ENGINE_FILE"))
		engine_prewrite(path, bytes / BODY * RECORD + CHUNK);
	fd = open(path, O_RDWR | O_CREAT, 0644);
	MUST(fd >= 0);
	if (!fresh)
		return; /* the index is still there: reopening is not what this shows */
	for (slots = 1; slots < bytes / BODY * 2; slots *= 2)
		;
	slot = calloc(slots, sizeof *slot);
	MUST(slot != NULL);
	end = 0;
}

static void checked_begin(void) {}

static void checked_put(const uint8_t *key, const uint8_t *value)
{
	struct slot *s = find(key);

	if (s->at != 0)
		return;
	if (pending_len + RECORD + HEAD > pending_cap) {
		pending_cap = pending_cap == 0 ? CHUNK : 2 * pending_cap;
		pending = realloc(pending, pending_cap);
		MUST(pending != NULL);
	}
	uint8_t *p = pending + pending_len;
	memset(p, 0, HEAD);
	memcpy(p + HEAD, key, ENGINE_KEY);
	memcpy(p + HEAD + ENGINE_KEY, value, ENGINE_VALUE);
	uint64_t sum = bole_flash_sum(p + 8, RECORD - 8, end + pending_len);
	memcpy(p, &sum, sizeof sum);
	memcpy(&s->key, key, sizeof s->key);
	s->at = end + pending_len + 1;
	pending_len += RECORD;
}

static void checked_commit(void)
{
	uint64_t sum = bole_flash_sum(pending, pending_len, end);

	memset(pending + pending_len, 0, HEAD);
	memcpy(pending + pending_len, &sum, sizeof sum);
	pending_len += HEAD;
	MUST(pwrite(fd, pending, pending_len, (off_t)end) == (ssize_t)pending_len);
	MUST(fdatasync(fd) == 0);
	end += pending_len;
	pending_len = 0;
}

static bool checked_get(const uint8_t *key, uint8_t *value)
{
	uint8_t record[RECORD];
	const struct slot *s = find(key);

	if (s->at == 0)
		return false;
	uint64_t at = s->at - 1;
	MUST(pread(fd, record, sizeof record, (off_t)at) == sizeof record);
	uint64_t sum = bole_flash_sum(record + 8, RECORD - 8, at);
	MUST(memcmp(&sum, record, sizeof sum) == 0);
	memcpy(value, record + HEAD + ENGINE_KEY, ENGINE_VALUE);
	return memcmp(record + HEAD, key, ENGINE_KEY) == 0;
}

static void checked_close(void)
{
	close(fd);
}

const struct engine engine = {"checked loop", checked_open,  checked_begin, checked_put,
                              checked_commit, checked_begin, checked_get,   checked_begin,
                              NULL,           checked_close};
