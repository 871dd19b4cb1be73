/* SPDX-License-Identifier: ISC */
/* A key-value engine on files: keys of 20 bytes, values of 100. Adapters end the program when
 * something fails. */
#ifndef BOLE_TESTS_BENCH_ENGINE_H
#define BOLE_TESTS_BENCH_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ENGINE_KEY = 20, ENGINE_VALUE = 100 };

/* Of the cache that an engine brings; --cache. */
size_t engine_cache_bytes(void);

struct engine {
	const char *name;
	/* In an empty folder when fresh. bytes_hint: of keys and values that will come. */
	void (*open)(const char *dir, bool fresh, uint64_t bytes_hint);
	void (*begin)(void);
	void (*put)(const uint8_t *key, const uint8_t *value);
	void (*commit)(void); /* durable when it returns */
	/* What comes now is only read. */
	void (*read_begin)(void);
	bool (*get)(const uint8_t *key, uint8_t *value);
	void (*read_end)(void);
	/* Bytes that the engine's own device layer has programmed since open; NULL = not known. */
	uint64_t (*programmed)(void);
	void (*close)(void);
};

/* The one that this program is linked with. */
extern const struct engine engine;

/* The same, or ends the program. */
#define MUST(condition) ((condition) ? (void)0 : engine_failed(__FILE__, __LINE__, #condition))
_Noreturn void engine_failed(const char *file, int line, const char *what);
const char *engine_path(const char *dir, const char *name); /* valid until the next call */

#endif /* BOLE_TESTS_BENCH_ENGINE_H */
