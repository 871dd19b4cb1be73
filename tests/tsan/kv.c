/* SPDX-License-Identifier: ISC */
/* Keys under ThreadSanitizer: writers that race for one branch, readers on views of it. Every
 * increment must be there at the end, so no lost race may lose a write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bole/kv.h"
#include "support/platform.h"

enum { WRITERS = 4, READERS = 3, ROUNDS = 60 };

#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

static struct test_platform test;
static struct bole_kv *kv;
static _Atomic unsigned writers_left = WRITERS;

static struct bole_bytes z(const char *text)
{
	return (struct bole_bytes){(const uint8_t *)text, strlen(text)};
}

static unsigned number(struct bole_bytes value)
{
	char text[16] = "";

	memcpy(text, value.ptr, value.len < 15 ? value.len : 15);
	return (unsigned)strtoul(text, NULL, 10);
}

/* One more in the shared counter; BOLE_E_CONFLICT when another was faster. */
static enum bole_status increment(void)
{
	struct bole_kv_tx *tx;
	struct bole_bytes value;
	char text[16];

	CHECK(bole_kv_begin(kv, NULL, &tx) == BOLE_OK);
	CHECK(bole_kv_tx_get(tx, z("shared"), &value) == BOLE_OK);
	snprintf(text, sizeof text, "%u", number(value) + 1);
	CHECK(bole_kv_tx_set(tx, z("shared"), z(text)) == BOLE_OK);
	return bole_kv_tx_commit(tx, NULL, NULL);
}

static void writer(void *arg)
{
	char key[32];
	char text[16];

	for (unsigned i = 0; i < ROUNDS; i++) {
		enum bole_status rc;

		/* A key of its own never conflicts, whoever else moves the branch. */
		snprintf(key, sizeof key, "own/%u/%u", *(unsigned *)arg, i % 7);
		snprintf(text, sizeof text, "%u", i);
		CHECK(bole_kv_set(kv, z(key), z(text), NULL, NULL) == BOLE_OK);
		while ((rc = increment()) == BOLE_E_CONFLICT)
			test.base.ops->yield(&test.base);
		CHECK(rc == BOLE_OK);
	}
	writers_left--;
}

static void reader(void *arg)
{
	unsigned last = 0;

	(void)arg;
	while (writers_left > 0) {
		struct bole_kv_cursor *cursor;
		struct bole_kv_view *view;
		struct bole_kv_item item;
		struct bole_bytes value;
		enum bole_status rc;

		CHECK(bole_kv_view_open(kv, NULL, &view) == BOLE_OK);
		CHECK(bole_kv_get(view, z("shared"), &value) == BOLE_OK);
		CHECK(number(value) >= last);
		last = number(value);
		CHECK(bole_kv_cursor_open(view, NULL, &cursor) == BOLE_OK);
		while ((rc = bole_kv_cursor_next(cursor, &item)) == BOLE_OK)
			;
		CHECK(rc == BOLE_END);
		bole_kv_cursor_close(cursor);
		bole_kv_view_close(view);
	}
}

int main(void)
{
	static unsigned names[WRITERS];
	struct bole_kv_options options = {.create = true};
	struct bole_store *store;
	struct bole_kv_view *view;
	struct bole_bytes value;

	test_platform_init(&test, 1);
	CHECK(bole_memory_store_open(&test.base, &test.alloc, &store) == BOLE_OK);
	CHECK(bole_kv_open(&test.base, &test.alloc, store, &options, &kv) == BOLE_OK);
	CHECK(bole_kv_set(kv, z("shared"), z("0"), NULL, NULL) == BOLE_OK);
	for (unsigned i = 0; i < WRITERS; i++) {
		names[i] = i;
		CHECK(test.base.ops->fiber_start(&test.base, "w", writer, &names[i], 0) == BOLE_OK);
	}
	for (unsigned i = 0; i < READERS; i++)
		CHECK(test.base.ops->fiber_start(&test.base, "r", reader, NULL, 0) == BOLE_OK);
	test_platform_join(&test);
	CHECK(bole_kv_view_open(kv, NULL, &view) == BOLE_OK);
	CHECK(bole_kv_get(view, z("shared"), &value) == BOLE_OK);
	CHECK(number(value) == WRITERS * ROUNDS);
	bole_kv_view_close(view);
	bole_kv_close(kv);
	CHECK(bole_store_close(store) == BOLE_OK);
	test_platform_release(&test);
	return 0;
}
