/* SPDX-License-Identifier: ISC */
#include <rocksdb/c.h>
#include <string.h>

#include "bench/engines/engine.h"

static rocksdb_t *db;
static rocksdb_options_t *options;
static rocksdb_writeoptions_t *durable;
static rocksdb_readoptions_t *reading;
static rocksdb_writebatch_t *batch;

static void set_options(void)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

	options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(options, 1);
	rocksdb_options_set_compression(options, rocksdb_no_compression);
	rocksdb_block_based_options_set_block_cache(table,
	                                            rocksdb_cache_create_lru(engine_cache_bytes()));
	rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom(10));
	rocksdb_options_set_block_based_table_factory(options, table);
	rocksdb_block_based_options_destroy(table);
}

static void rocksdb_open_(const char *dir, bool fresh, uint64_t bytes_hint)
{
	char *error = NULL;

	(void)fresh;
	(void)bytes_hint;
	set_options();
	durable = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(durable, 1);
	reading = rocksdb_readoptions_create();
	db = rocksdb_open(options, dir, &error);
	MUST(error == NULL);
}

static void begin(void)
{
	batch = rocksdb_writebatch_create();
}

static void put(const uint8_t *key, const uint8_t *value)
{
	rocksdb_writebatch_put(batch, (const char *)key, ENGINE_KEY, (const char *)value,
	                       ENGINE_VALUE);
}

static void commit(void)
{
	char *error = NULL;

	rocksdb_write(db, durable, batch, &error);
	MUST(error == NULL);
	rocksdb_writebatch_destroy(batch);
}

static void read_begin(void) {}

static bool get(const uint8_t *key, uint8_t *value)
{
	char *error = NULL;
	size_t len;
	char *bytes = rocksdb_get(db, reading, (const char *)key, ENGINE_KEY, &len, &error);

	MUST(error == NULL);
	if (bytes == NULL)
		return false;
	MUST(len == ENGINE_VALUE);
	memcpy(value, bytes, len);
	rocksdb_free(bytes);
	return true;
}

static void close_(void)
{
	rocksdb_close(db);
	rocksdb_readoptions_destroy(reading);
	rocksdb_writeoptions_destroy(durable);
	rocksdb_options_destroy(options);
}

const struct engine engine = {"RocksDB",  rocksdb_open_, begin,      put,  commit,
                              read_begin, get,           read_begin, NULL, close_};
