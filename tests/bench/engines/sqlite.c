/* SPDX-License-Identifier: ISC */
/* WAL with synchronous=FULL: a commit is durable. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "bench/engines/engine.h"

static sqlite3 *db;
static sqlite3_stmt *insert;
static sqlite3_stmt *query;

static void run(const char *sql)
{
	MUST(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
}

static void sqlite_open(const char *dir, bool fresh, uint64_t bytes_hint)
{
	char cache[64];

	(void)fresh;
	(void)bytes_hint;
	MUST(sqlite3_open(engine_path(dir, "db"), &db) == SQLITE_OK);
	(void)snprintf(cache, sizeof cache, "pragma cache_size=-%d",
	               (int)(engine_cache_bytes() / 1024));
	run("pragma journal_mode=wal");
	run("pragma synchronous=full");
	run(cache);
	run("create table if not exists kv(k blob primary key, v blob) without rowid");
	MUST(sqlite3_prepare_v2(db, "insert into kv values(?,?)", -1, &insert, NULL) == SQLITE_OK);
	MUST(sqlite3_prepare_v2(db, "select v from kv where k=?", -1, &query, NULL) == SQLITE_OK);
}

static void sqlite_begin(void)
{
	run("begin immediate");
}

static void sqlite_put(const uint8_t *key, const uint8_t *value)
{
	MUST(sqlite3_bind_blob(insert, 1, key, ENGINE_KEY, SQLITE_STATIC) == SQLITE_OK);
	MUST(sqlite3_bind_blob(insert, 2, value, ENGINE_VALUE, SQLITE_STATIC) == SQLITE_OK);
	MUST(sqlite3_step(insert) == SQLITE_DONE);
	sqlite3_reset(insert);
}

static void sqlite_commit(void)
{
	run("commit");
}

static bool sqlite_get(const uint8_t *key, uint8_t *value)
{
	MUST(sqlite3_bind_blob(query, 1, key, ENGINE_KEY, SQLITE_STATIC) == SQLITE_OK);
	int rc = sqlite3_step(query);
	MUST(rc == SQLITE_ROW || rc == SQLITE_DONE);
	if (rc == SQLITE_ROW) {
		MUST(sqlite3_column_bytes(query, 0) == ENGINE_VALUE);
		memcpy(value, sqlite3_column_blob(query, 0), ENGINE_VALUE);
	}
	sqlite3_reset(query);
	return rc == SQLITE_ROW;
}

static void sqlite_read_begin(void)
{
	run("begin");
}

static void sqlite_close(void)
{
	sqlite3_finalize(insert);
	sqlite3_finalize(query);
	MUST(sqlite3_close(db) == SQLITE_OK);
}

const struct engine engine = {"SQLite",      sqlite_open,       sqlite_begin, sqlite_put,
                              sqlite_commit, sqlite_read_begin, sqlite_get,   sqlite_commit,
                              NULL,          sqlite_close};
