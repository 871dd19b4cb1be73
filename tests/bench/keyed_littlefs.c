/* SPDX-License-Identifier: ISC */
/* littlefs as the peer, from a source tree that whoever measures brings (LITTLEFS_DIR). Without it
 * there is no peer. Values are files in one folder, overwritten whole; the log is one open file. */
#include "bench/keyed.h"

#ifndef BENCH_LITTLEFS

const struct keyed_ops *keyed_littlefs(void)
{
	return NULL;
}

#else

#include <lfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "support/suite_help.h"

enum {
	LFS_BLOCK_MANAGED = 4096,
	LFS_PROG_NOR = 16,
	LFS_CACHE_NOR = 512,
	LFS_CYCLES = 500,
	LFS_LOOKAHEAD = 256,
	BALLAST_FILE = 1 << 20, /* several blocks: a file takes whole ones */
};

struct keyed {
	struct flashdev *dev;
	struct lfs_config config;
	lfs_t lfs;
	lfs_file_t log;
	bool log_open;
	uint64_t ballast;
};

static struct bole_block *block_of(const struct lfs_config *c)
{
	return flashdev_block(((struct keyed *)c->context)->dev);
}

static int dev_read(const struct lfs_config *c, lfs_block_t block, lfs_off_t off, void *buffer,
                    lfs_size_t size)
{
	uint64_t at = (uint64_t)block * c->block_size + off;

	return bole_block_read(block_of(c), at, buffer, size) == BOLE_OK ? 0 : LFS_ERR_IO;
}

static int dev_prog(const struct lfs_config *c, lfs_block_t block, lfs_off_t off,
                    const void *buffer, lfs_size_t size)
{
	uint64_t at = (uint64_t)block * c->block_size + off;

	return bole_block_program(block_of(c), at, buffer, size) == BOLE_OK ? 0 : LFS_ERR_CORRUPT;
}

static int dev_erase(const struct lfs_config *c, lfs_block_t block)
{
	uint64_t at = (uint64_t)block * c->block_size;

	if (!block_of(c)->info.needs_erase)
		return 0;
	return bole_block_erase(block_of(c), at, c->block_size) == BOLE_OK ? 0 : LFS_ERR_CORRUPT;
}

static int dev_sync(const struct lfs_config *c)
{
	return bole_block_flush(block_of(c)) == BOLE_OK ? 0 : LFS_ERR_IO;
}

static enum bole_status status(int rc)
{
	switch (rc) {
	case LFS_ERR_OK: return BOLE_OK;
	case LFS_ERR_NOSPC: return BOLE_E_NO_SPACE;
	case LFS_ERR_NOENT: return BOLE_E_NOT_FOUND;
	case LFS_ERR_CORRUPT: return BOLE_E_CORRUPT;
	default: return rc > 0 ? BOLE_OK : BOLE_E_IO;
	}
}

static void configure(struct keyed *k)
{
	const struct bole_block_info *info = &flashdev_block(k->dev)->info;
	lfs_size_t block = info->needs_erase ? info->erase_unit : LFS_BLOCK_MANAGED;
	lfs_size_t prog = info->program_unit < LFS_PROG_NOR ? LFS_PROG_NOR : info->program_unit;

	k->config = (struct lfs_config){
	        .context = k,
	        .read = dev_read,
	        .prog = dev_prog,
	        .erase = dev_erase,
	        .sync = dev_sync,
	        .read_size = info->read_unit < LFS_PROG_NOR ? LFS_PROG_NOR : info->read_unit,
	        .prog_size = prog,
	        .block_size = block,
	        .block_count = (lfs_size_t)(info->size_bytes / block),
	        .block_cycles = LFS_CYCLES,
	        .cache_size = prog == LFS_PROG_NOR ? LFS_CACHE_NOR
	                      : info->needs_erase  ? prog
	                                           : block,
	        .lookahead_size = LFS_LOOKAHEAD,
	};
}

static struct keyed *lfs_keyed_open(struct flashdev *dev, const struct keyed_options *o)
{
	struct keyed *k = calloc(1, sizeof *k);

	check(k != NULL);
	k->dev = dev;
	configure(k);
	if (o->format)
		check_eq(lfs_format(&k->lfs, &k->config), 0);
	check_eq(lfs_mount(&k->lfs, &k->config), 0);
	if (o->format) {
		check_eq(lfs_mkdir(&k->lfs, "v"), 0);
		check_eq(lfs_mkdir(&k->lfs, "b"), 0);
	}
	return k;
}

static void lfs_keyed_close(struct keyed *k)
{
	if (k->log_open)
		check_eq(lfs_file_close(&k->lfs, &k->log), 0);
	check_eq(lfs_unmount(&k->lfs), 0);
	free(k);
}

static enum bole_status write_file(struct keyed *k, const char *path, const void *bytes, size_t len)
{
	lfs_file_t file;
	int rc = lfs_file_open(&k->lfs, &file, path, LFS_O_WRONLY | LFS_O_CREAT | LFS_O_TRUNC);

	if (rc < 0)
		return status(rc);
	lfs_ssize_t n = lfs_file_write(&k->lfs, &file, bytes, (lfs_size_t)len);
	rc = lfs_file_close(&k->lfs, &file);
	return n < 0 ? status(n) : status(rc);
}

static const char *path_of(const struct keyed_item *item, char path[static 32])
{
	(void)snprintf(path, 32, "v/%llx", (unsigned long long)item->key);
	return path;
}

static enum bole_status lfs_keyed_write(struct keyed *k, const struct keyed_item *puts,
                                        const struct keyed_item *drops, size_t n)
{
	static uint8_t entry[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	enum bole_status rc = BOLE_OK;
	char path[32];

	(void)drops; /* the file is replaced */
	for (size_t i = 0; i < n && rc == BOLE_OK; i++) {
		size_t len = keyed_entry(&puts[i], entry);
		rc = write_file(k, path_of(&puts[i], path), entry, len);
	}
	return rc;
}

static enum bole_status lfs_keyed_append(struct keyed *k, const struct keyed_item *item)
{
	static uint8_t record[KEYED_KEY_BYTES + KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];

	if (!k->log_open) {
		int rc = lfs_file_open(&k->lfs, &k->log, "log",
		                       LFS_O_WRONLY | LFS_O_CREAT | LFS_O_APPEND);
		if (rc < 0)
			return status(rc);
		k->log_open = true;
	}
	bench_noise(item->key, record, KEYED_KEY_BYTES + item->len);
	lfs_ssize_t n = lfs_file_write(&k->lfs, &k->log, record, KEYED_KEY_BYTES + item->len);
	return n < 0 ? status(n) : status(lfs_file_sync(&k->lfs, &k->log));
}

/* Large files: small ones would fill the device with next to nothing. */
static enum bole_status lfs_keyed_ballast(struct keyed *k, const struct keyed_item *items, size_t n)
{
	static uint8_t bytes[BALLAST_FILE];
	enum bole_status rc = BOLE_OK;
	uint64_t before = k->ballast / BALLAST_FILE;
	char path[32];

	for (size_t i = 0; i < n; i++)
		k->ballast += KEYED_KEY_BYTES + items[i].len;
	for (uint64_t f = before; f < k->ballast / BALLAST_FILE && rc == BOLE_OK; f++) {
		(void)snprintf(path, sizeof path, "b/%llx", (unsigned long long)f);
		bench_noise(f, bytes, sizeof bytes);
		rc = write_file(k, path, bytes, sizeof bytes);
	}
	return rc;
}

static enum bole_status lfs_keyed_get(struct keyed *k, const struct keyed_item *item)
{
	static uint8_t want[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	static uint8_t seen[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	size_t len = keyed_entry(item, want);
	lfs_file_t file;
	char path[32];

	int rc = lfs_file_open(&k->lfs, &file, path_of(item, path), LFS_O_RDONLY);
	if (rc < 0)
		return status(rc);
	lfs_ssize_t n = lfs_file_read(&k->lfs, &file, seen, (lfs_size_t)len);
	rc = lfs_file_close(&k->lfs, &file);
	if (n < 0)
		return status(n);
	check((size_t)n == len && memcmp(seen, want, len) == 0);
	return status(rc);
}

static double lfs_keyed_fill(struct keyed *k)
{
	lfs_ssize_t blocks = lfs_fs_size(&k->lfs);

	check(blocks >= 0);
	return (double)blocks / (double)k->config.block_count;
}

static size_t lfs_keyed_memory(struct keyed *k)
{
	return sizeof k->lfs + 2 * k->config.cache_size + k->config.lookahead_size;
}

const struct keyed_ops *keyed_littlefs(void)
{
	static const struct keyed_ops ops = {
	        .name = "littlefs",
	        .open = lfs_keyed_open,
	        .close = lfs_keyed_close,
	        .write = lfs_keyed_write,
	        .append = lfs_keyed_append,
	        .ballast = lfs_keyed_ballast,
	        .get = lfs_keyed_get,
	        .fill = lfs_keyed_fill,
	        .memory = lfs_keyed_memory,
	};
	return &ops;
}

#endif
