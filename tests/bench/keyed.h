/* SPDX-License-Identifier: ISC */
/* Keys and values on a simulated flash device: what Bole and littlefs are both asked to do. */
#ifndef BOLE_TESTS_BENCH_KEYED_H
#define BOLE_TESTS_BENCH_KEYED_H

#include "bench/flashdev.h"
#include "bole/store.h"

enum {
	KEYED_KEY_BYTES = 20,
	KEYED_VALUE_MAX = 1 << 16,
};

struct keyed_item {
	uint64_t key;
	uint32_t version;
	uint32_t len;
};

struct keyed_options {
	bool format;
	size_t memory_bytes_max;
	size_t cache_bytes;
	bool background; /* somebody calls maintain */
};

struct keyed;
struct keyed_ops {
	const char *name;
	struct keyed *(*open)(struct flashdev *, const struct keyed_options *);
	/* Everything so far is durable; frees. */
	void (*close)(struct keyed *);
	/* n values put, and their n predecessors dropped (NULL: there are none), as durable as the
	 * system can: one transaction, or n. */
	enum bole_status (*write)(struct keyed *, const struct keyed_item *put,
	                          const struct keyed_item *drop, size_t n);
	/* Key and value at the end of a log, durable. */
	enum bole_status (*append)(struct keyed *, const struct keyed_item *);
	/* Data that nobody will change. */
	enum bole_status (*ballast)(struct keyed *, const struct keyed_item *, size_t n);
	/* Reads and compares. */
	enum bole_status (*get)(struct keyed *, const struct keyed_item *);
	/* Of what it says that it can hold, how much it holds: 0..1. */
	double (*fill)(struct keyed *);
	size_t (*memory)(struct keyed *);
	/* What is done in the background of this system between two operations; may be NULL. */
	void (*background)(struct keyed *, unsigned steps);
};

extern const struct keyed_ops keyed_bole;
/* NULL unless built with LITTLEFS_DIR. */
const struct keyed_ops *keyed_littlefs(void);

/* Bole's own, for what only it can do. */
struct keyed *keyed_bole_open_on(struct bole_block *, const struct keyed_options *);
struct bole_store *keyed_store(struct keyed *);
uint32_t keyed_repo(struct keyed *);
uint64_t keyed_allocated(struct keyed *);
void keyed_oid(const struct keyed_item *, struct bole_oid *);
/* The entry in pack encoding: head and value; returns its length. */
size_t keyed_entry(const struct keyed_item *, uint8_t *dst);
enum { KEYED_ENTRY_HEAD = 3 };
struct bole_platform *keyed_platform(void);

#endif /* BOLE_TESTS_BENCH_KEYED_H */
