/* SPDX-License-Identifier: ISC */
#include <leveldb/c.h>
#include <string.h>

#include "bench/engines/engine.h"

static leveldb_t *db;
static leveldb_options_t *options;
static leveldb_writeoptions_t *durable;
static leveldb_readoptions_t *reading;
static leveldb_writebatch_t *batch;

static void set_options(void)
{
	options = leveldb_options_create();
	leveldb_options_set_create_if_missing(options, 1);
	leveldb_options_set_compression(options, leveldb_no_compression);
	leveldb_options_set_cache(options, leveldb_cache_create_lru(engine_cache_bytes()));
	leveldb_options_set_filter_policy(options, leveldb_filterpolicy_create_bloom(10));
}

static void leveldb_open_(const char *dir, bool fresh, uint64_t bytes_hint)
{
	char *error = NULL;

	(void)fresh;
	(void)bytes_hint;
	set_options();
	durable = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(durable, 1);
	reading = leveldb_readoptions_create();
	db = leveldb_open(options, dir, &error);
	MUST(error == NULL);
}

static void begin(void)
{
	batch = leveldb_writebatch_create();
}

static void put(const uint8_t *key, const uint8_t *value)
{
	leveldb_writebatch_put(batch, (const char *)key, ENGINE_KEY, (const char *)value,
	                       ENGINE_VALUE);
}

static void commit(void)
{
	char *error = NULL;

	leveldb_write(db, durable, batch, &error);
	MUST(error == NULL);
	leveldb_writebatch_destroy(batch);
}

static void read_begin(void) {}

static bool get(const uint8_t *key, uint8_t *value)
{
	char *error = NULL;
	size_t len;
	char *bytes = leveldb_get(db, reading, (const char *)key, ENGINE_KEY, &len, &error);

	MUST(error == NULL);
	if (bytes == NULL)
		return false;
	MUST(len == ENGINE_VALUE);
	memcpy(value, bytes, len);
	leveldb_free(bytes);
	return true;
}

static void close_(void)
{
	leveldb_close(db);
	leveldb_readoptions_destroy(reading);
	leveldb_writeoptions_destroy(durable);
	leveldb_options_destroy(options);
}

const struct engine engine = {"LevelDB",  leveldb_open_, begin,      put,  commit,
                              read_begin, get,           read_begin, NULL, close_};
