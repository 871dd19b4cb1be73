/* SPDX-License-Identifier: ISC */
/* Turns a log of a guest's writes and flushes into the disks that a power cut could have left.
 *
 *   powercut entries LOG                      how many entries the log holds
 *   powercut flushes LOG                      how many of them are flushes
 *   powercut replay LOG IMAGE CUT SEED [no-flush]
 *
 * replay: IMAGE is a copy of the disk from before the recording. Every write before the last flush
 * that completed before entry CUT is applied; of the writes after it a seeded choice survives,
 * some of them torn into 512-byte sectors. no-flush: as if the guest had never flushed.
 *
 * The log is written by QEMU's blklogwrites driver (format: the kernel's
 * Documentation/admin-guide/device-mapper/log-writes.rst).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_FLUSH = 1, LOG_FUA = 2, LOG_DISCARD = 4, SECTOR = 512 };
#define LOG_MAGIC UINT64_C(0x6a736677736872)

struct entry {
	uint64_t sector;
	uint64_t sectors;
	uint64_t flags;
	uint64_t data_at; /* byte position of the data in the log */
};

struct log {
	int fd;
	uint64_t count;
	struct entry *entries;
};

static uint64_t state;

static uint64_t next(void) /* splitmix64, Steele et al. 2014 */
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "powercut: %s\n", what);
	exit(1);
}

static uint64_t le64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

/* The head of the log counts its entries only up to the last flush; so they are walked instead, to
 * the first that is all zero (a fresh log file is zero behind its end). */
static void log_parse(struct log *log, const char *path)
{
	static const uint8_t none[32];
	uint64_t at = SECTOR, cap = 0;
	uint8_t head[32];

	log->fd = open(path, O_RDONLY);
	if (log->fd < 0)
		fail("the log cannot be read");
	if (pread(log->fd, head, sizeof head, 0) == (ssize_t)sizeof head && le64(head) != 0 &&
	    (le64(head) != LOG_MAGIC || (le64(head + 24) & UINT32_MAX) != SECTOR))
		fail("this is not a write log of 512-byte sectors");
	while (pread(log->fd, head, sizeof head, (off_t)at) == (ssize_t)sizeof head &&
	       memcmp(head, none, sizeof none) != 0) {
		if (log->count == cap) {
			cap = cap == 0 ? 1024 : cap * 2;
			log->entries = realloc(log->entries, cap * sizeof *log->entries);
			if (log->entries == NULL)
				fail("out of memory");
		}
		struct entry *e = &log->entries[log->count++];

		e->sector = le64(head);
		e->sectors = le64(head + 8);
		e->flags = le64(head + 16);
		at += SECTOR;
		e->data_at = at;
		if ((e->flags & LOG_DISCARD) == 0)
			at += e->sectors * SECTOR;
	}
}

static void apply(const struct log *log, const struct entry *e, int image, bool torn)
{
	uint64_t len = e->sectors * SECTOR;
	uint8_t *data = calloc(1, len + 1);

	if (data == NULL)
		fail("out of memory");
	if ((e->flags & LOG_DISCARD) == 0 &&
	    pread(log->fd, data, len, (off_t)e->data_at) != (ssize_t)len)
		fail("the log is truncated");
	for (uint64_t done = 0; done < len;) {
		uint64_t piece = torn ? SECTOR : len;

		if ((!torn || next() % 2 == 0) &&
		    pwrite(image, data + done, piece, (off_t)(e->sector * SECTOR + done)) !=
		            (ssize_t)piece)
			fail("the image cannot be written");
		done += piece;
	}
	free(data);
}

static void replay(const struct log *log, int image, uint64_t cut, bool flushes_count)
{
	uint64_t durable = 0;
	uint64_t keep_percent;

	for (uint64_t i = 0; i < cut && flushes_count; i++)
		if ((log->entries[i].flags & LOG_FLUSH) != 0)
			durable = i;
	for (uint64_t i = 0; i < durable; i++)
		if (log->entries[i].sectors != 0)
			apply(log, &log->entries[i], image, false);
	keep_percent = (uint64_t[]){0, 25, 50, 75, 95, 100}[next() % 6];
	for (uint64_t i = durable; i < cut; i++) {
		bool last = i + 1 == cut;
		bool torn = last || next() % 4 == 0;

		if (log->entries[i].sectors != 0 && next() % 100 < keep_percent)
			apply(log, &log->entries[i], image, torn);
	}
}

int main(int argc, char **argv)
{
	struct log log = {0};

	if (argc < 3 || (strcmp(argv[1], "replay") == 0 && argc < 6)) {
		fprintf(stderr, "usage: powercut entries|flushes LOG\n"
		                "       powercut replay LOG IMAGE CUT SEED [no-flush]\n");
		return 2;
	}
	log_parse(&log, argv[2]);
	if (strcmp(argv[1], "entries") == 0) {
		printf("%" PRIu64 "\n", log.count);
		return 0;
	}
	if (strcmp(argv[1], "flushes") == 0) {
		uint64_t flushes = 0;

		for (uint64_t i = 0; i < log.count; i++)
			flushes += (log.entries[i].flags & LOG_FLUSH) != 0;
		printf("%" PRIu64 "\n", flushes);
		return 0;
	}
	int image = open(argv[3], O_WRONLY);
	uint64_t cut = strtoull(argv[4], NULL, 0);

	if (image < 0)
		fail("the image cannot be opened");
	if (cut > log.count)
		fail("the cut lies behind the end of the log");
	state = strtoull(argv[5], NULL, 0);
	replay(&log, image, cut, argc < 7);
	return close(image) == 0 ? 0 : 1;
}
