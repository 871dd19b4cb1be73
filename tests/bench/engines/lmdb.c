/* SPDX-License-Identifier: ISC */
#include <lmdb.h>
#include <string.h>

#include "bench/engines/engine.h"

static MDB_env *env;
static MDB_dbi dbi;
static MDB_txn *txn;

static void lmdb_open(const char *dir, bool fresh, uint64_t bytes_hint)
{
	(void)fresh;
	MUST(mdb_env_create(&env) == 0);
	MUST(mdb_env_set_mapsize(env, (size_t)(bytes_hint * 8 + (1ull << 30))) == 0);
	MUST(mdb_env_open(env, dir, 0, 0644) == 0);
	MUST(mdb_txn_begin(env, NULL, 0, &txn) == 0);
	MUST(mdb_dbi_open(txn, NULL, MDB_CREATE, &dbi) == 0);
	MUST(mdb_txn_commit(txn) == 0);
}

static void lmdb_begin(void)
{
	MUST(mdb_txn_begin(env, NULL, 0, &txn) == 0);
}

static void lmdb_put(const uint8_t *key, const uint8_t *value)
{
	MDB_val k = {ENGINE_KEY, (void *)(uintptr_t)key};
	MDB_val v = {ENGINE_VALUE, (void *)(uintptr_t)value};

	MUST(mdb_put(txn, dbi, &k, &v, 0) == 0);
}

static void lmdb_commit(void)
{
	MUST(mdb_txn_commit(txn) == 0);
}

static void lmdb_read_begin(void)
{
	MUST(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0);
}

static bool lmdb_get(const uint8_t *key, uint8_t *value)
{
	MDB_val k = {ENGINE_KEY, (void *)(uintptr_t)key};
	MDB_val v;
	int rc = mdb_get(txn, dbi, &k, &v);

	MUST(rc == 0 || rc == MDB_NOTFOUND);
	if (rc == 0)
		memcpy(value, v.mv_data, ENGINE_VALUE);
	return rc == 0;
}

static void lmdb_read_end(void)
{
	mdb_txn_abort(txn);
}

static void lmdb_close(void)
{
	mdb_env_close(env);
}

const struct engine engine = {"LMDB",          lmdb_open, lmdb_begin,    lmdb_put, lmdb_commit,
                              lmdb_read_begin, lmdb_get,  lmdb_read_end, NULL,     lmdb_close};
