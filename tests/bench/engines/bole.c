/* SPDX-License-Identifier: ISC */
/* Bole as a library on a file: bole_tx_put and commit, bole_odb_find and view; a thread maintains
 * the store, as the other engines have theirs. ENGINE_FILE=written takes an image whose blocks were
 * all written before, else a fresh sparse file. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/engines/engine.h"
#include "bench/engines/prewrite.h"
#include "bole/devices.h"
#include "bole/posix.h"
#include "bole/store.h"

enum {
	ENTRY_HEAD = 2,
	ENTRY = ENTRY_HEAD + ENGINE_VALUE,
	IMAGE_FACTOR = 3,
	IMAGE_MORE = 256 << 20,
	PAUSE_NS = 2000000,
};

static struct bole_platform *platform;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo repo;
static struct bole_tx *tx;
static struct bole_snapshot *view;

static pthread_t maintainer;
static _Atomic bool stop;

static void *maintain(void *arg)
{
	const struct bole_maintain_options o = {.eagerness = 1};
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	(void)arg;
	while (!atomic_load(&stop))
		if (bole_store_maintain(store, &o, NULL) != BOLE_OK)
			(void)nanosleep(&pause, NULL);
	return NULL;
}

static void bole_open(const char *dir, bool fresh, uint64_t bytes_hint)
{
	const char *path = engine_path(dir, "image");
	uint64_t bytes = bytes_hint * IMAGE_FACTOR + IMAGE_MORE;
	struct bole_block_file_options file = {.create_bytes = 0};
	const struct bole_posix_options quiet = {.log_level = BOLE_LOG_WARN + 1};
	const struct bole_flash_open_options options = {.cache_bytes = engine_cache_bytes()};

	if (fresh && engine_prewritten("ENGINE_FILE"))
		engine_prewrite(path, bytes);
	else if (fresh)
		file.create_bytes = bytes / 4096 * 4096;
	MUST(bole_posix_open(&quiet, &platform) == BOLE_OK);
	MUST(bole_block_file_open(platform->alloc, path, &file, NULL, 0, &device) == BOLE_OK);
	if (fresh)
		MUST(bole_flash_format(device, platform, NULL) == BOLE_OK);
	MUST(bole_flash_open(device, platform, platform->alloc, &options, &store) == BOLE_OK);
	if (fresh)
		MUST(bole_repo_create(store, "bench", BOLE_HASH_SHA1, "refs/heads/main", &repo) ==
		     BOLE_OK);
	else
		MUST(bole_repo_find(store, "bench", &repo) == BOLE_OK);
	atomic_store(&stop, false);
	MUST(pthread_create(&maintainer, NULL, maintain, NULL) == 0);
}

static void bole_begin(void)
{
	MUST(bole_tx_begin(store, repo.id, &tx) == BOLE_OK);
}

static void oid_of(const uint8_t *key, struct bole_oid *oid)
{
	memset(oid, 0, sizeof *oid);
	oid->algo = BOLE_HASH_SHA1;
	memcpy(oid->bytes, key, ENGINE_KEY);
}

static void bole_put(const uint8_t *key, const uint8_t *value)
{
	/* A blob of ENGINE_VALUE bytes: 4 and 7 bits of its size. */
	static const uint8_t head[ENTRY_HEAD] = {0x80 | 3 << 4 | (ENGINE_VALUE & 15),
	                                         ENGINE_VALUE >> 4};
	const struct bole_bytes pieces[] = {{head, sizeof head}, {value, ENGINE_VALUE}};
	struct bole_oid oid;

	oid_of(key, &oid);
	MUST(bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, pieces, 2) == BOLE_OK);
}

static void bole_commit(void)
{
	size_t failed;

	MUST(bole_tx_commit(tx, NULL, 0, &failed) == BOLE_OK);
}

static void bole_read_begin(void)
{
	MUST(bole_snapshot_open(store, repo.id, &view) == BOLE_OK);
}

static bool bole_get(const uint8_t *key, uint8_t *value)
{
	struct bole_entry entry;
	struct bole_bytes bytes;
	struct bole_oid oid;

	oid_of(key, &oid);
	enum bole_status rc = bole_odb_find(view, &oid, &entry);
	MUST(rc == BOLE_OK || rc == BOLE_E_NOT_FOUND);
	if (rc != BOLE_OK)
		return false;
	MUST(bole_odb_view(view, &entry, 0, &bytes) == BOLE_OK && bytes.len == ENTRY);
	memcpy(value, bytes.ptr + ENTRY_HEAD, ENGINE_VALUE);
	return true;
}

static void bole_read_end(void)
{
	bole_snapshot_close(view);
}

static uint64_t bole_programmed(void)
{
	struct bole_store_stats stats;

	MUST(bole_store_stats(store, &stats) == BOLE_OK);
	return stats.programmed_bytes;
}

static void bole_close(void)
{
	atomic_store(&stop, true);
	MUST(pthread_join(maintainer, NULL) == 0);
	MUST(bole_store_close(store) == BOLE_OK);
	bole_block_close(device);
	bole_posix_close(platform);
}

const struct engine engine = {"Bole",          bole_open,       bole_begin, bole_put,
                              bole_commit,     bole_read_begin, bole_get,   bole_read_end,
                              bole_programmed, bole_close};
