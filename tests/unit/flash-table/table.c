/* SPDX-License-Identifier: ISC */
/* Persistent tables against arrays of strings, many versions at a time. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "flash/index/table.h"
#include "support/platform.h"
#include "support/suite_help.h"

enum { KEYS = 6000, VERSIONS = 6, KEY_MAX = 24 };

struct version {
	struct flash_table *table;
	uint32_t value[KEYS]; /* length + 1 and seed of the value; 0 = not there */
	uint64_t items;
};

static struct test_platform test;
static struct flash_table_kind kind;
static char name[KEYS][KEY_MAX]; /* sorted */
static struct version version[VERSIONS];

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Keys that begin alike for longer than what leaves keep beside them, and keys that do not; some
 * are starts of others. */
static void make_keys(uint64_t *random)
{
	for (unsigned i = 0; i < KEYS; i++) {
		unsigned n = (unsigned)(test_random(random) % 100000);
		if (i % 3 == 0)
			(void)snprintf(name[i], KEY_MAX, "refs/heads/%u", n);
		else if (i % 3 == 1)
			(void)snprintf(name[i], KEY_MAX, "%u", n);
		else
			(void)snprintf(name[i], KEY_MAX, "%05u%012llx", n,
			               (unsigned long long)test_random(random) & 0xffffffffffff);
	}
	qsort(name, KEYS, KEY_MAX, compare);
	/* No key twice. */
	for (unsigned i = 1; i < KEYS; i++)
		if (strcmp(name[i - 1], name[i]) == 0)
			(void)snprintf(name[i] + strlen(name[i]), 2, " ");
	qsort(name, KEYS, KEY_MAX, compare);
}

static struct bole_bytes value_of(uint32_t value, uint8_t *buf)
{
	uint32_t len = value % 5 == 4 ? value % 3000 : value % 40;

	for (uint32_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(value * 7 + i);
	return (struct bole_bytes){buf, len};
}

static void check_all(const struct version *v)
{
	static uint8_t buf[3000];
	struct bole_bytes after = {NULL, 0};
	const struct flash_item *item = bole_flash_table_next(v->table, after, true);
	struct flash_table_at at;
	uint64_t bytes = 0;

	(void)bole_flash_table_seek(v->table, after, true, &at);

	for (unsigned i = 0; i < KEYS; i++) {
		struct bole_bytes key = bole_bytes_z(name[i]);
		const struct flash_item *found = bole_flash_table_find(v->table, key);
		if (v->value[i] == 0) {
			cr_assert(found == NULL, "%s", name[i]);
			continue;
		}
		struct bole_bytes value = value_of(v->value[i], buf);
		cr_assert(item != NULL && found == item, "%s", name[i]);
		cr_assert(bole_bytes_equal(bole_flash_item_key(item), key));
		cr_assert(bole_bytes_equal(bole_flash_item_value(item), value));
		bytes += key.len + value.len;
		cr_assert(bole_flash_table_next(v->table, key, true) == item);
		cr_assert(at.item == item);
		item = bole_flash_table_next(v->table, key, false);
		cr_assert(bole_flash_table_step(v->table, &at) == item);
	}
	cr_assert(item == NULL);
	cr_assert(bole_flash_table_step(v->table, &at) == NULL);
	if (v->table == NULL)
		return;
	check_eq(v->table->items, v->items);
	check_eq(v->table->bytes, bytes);
}

static void check_diff(const struct version *a, const struct version *b)
{
	struct flash_table_diff d = {.before = a->table, .after = b->table};
	const struct flash_item *was;
	const struct flash_item *is;

	for (unsigned i = 0; i < KEYS; i++) {
		static uint8_t x[3000];
		static uint8_t y[3000];
		struct bole_bytes key = bole_bytes_z(name[i]);
		struct bole_bytes before = value_of(a->value[i], x);
		struct bole_bytes after = value_of(b->value[i], y);
		if (a->value[i] == b->value[i] ||
		    (a->value[i] != 0 && b->value[i] != 0 && bole_bytes_equal(before, after)))
			continue;
		cr_assert(bole_flash_table_diff(&d, &was, &is), "%s", name[i]);
		cr_assert((was != NULL) == (a->value[i] != 0));
		cr_assert((is != NULL) == (b->value[i] != 0));
		cr_assert(bole_bytes_equal(bole_flash_item_key(was != NULL ? was : is), key));
		cr_assert(was == NULL || bole_bytes_equal(bole_flash_item_value(was), before));
		cr_assert(is == NULL || bole_bytes_equal(bole_flash_item_value(is), after));
	}
	cr_assert(!bole_flash_table_diff(&d, &was, &is));
}

static void change(struct version *v, unsigned i, uint32_t value)
{
	static uint8_t buf[3000];
	struct bole_bytes key = bole_bytes_z(name[i]);
	enum bole_status rc =
	        value == 0 ? bole_flash_table_remove(&kind, &v->table, key)
	                   : bole_flash_table_set(&kind, &v->table, key, value_of(value, buf));

	if (rc == BOLE_E_NO_MEMORY)
		return; /* and nothing changed */
	OK(rc);
	v->items += value != 0;
	v->items -= v->value[i] != 0;
	v->value[i] = value;
}

/* Goal: every version keeps what it held, whatever happens to those made from it. Method: random
 * changes of random versions, forward, backward and all over, with memory failing now and then;
 * a version is often replaced by a copy of another. */
Test(flash_table, versions_keep_what_they_hold)
{
	uint64_t random = test_seed(41);

	test_platform_init(&test, 1);
	kind.alloc = &test.alloc;
	make_keys(&random);
	for (int round = 0; round < 60; round++) {
		struct version *v = &version[test_random(&random) % VERSIONS];
		const struct version *from = &version[test_random(&random) % VERSIONS];
		if (v != from && round % 2 == 0) {
			struct flash_table *table = bole_flash_table_retain(from->table);
			bole_flash_table_release(&kind, v->table);
			*v = *from;
			v->table = table;
		}
		unsigned start = (unsigned)(test_random(&random) % KEYS);
		unsigned count = (unsigned)(test_random(&random) % 3000);
		bool removes = round % 5 == 4;
		for (unsigned i = 0; i < count; i++) {
			unsigned at = (start + i) % KEYS;
			if (round % 4 == 1)
				at = (start + KEYS - i) % KEYS;
			if (round % 4 == 2)
				at = (unsigned)(test_random(&random) % KEYS);
			test.fail_at = i % 37 == 5 ? test.grows + 1 + i % 4 : 0;
			change(v, at, removes ? 0 : (uint32_t)(1 + test_random(&random) % 100000));
			test.fail_at = 0;
		}
		for (int i = 0; i < VERSIONS && round % 6 == 5; i++)
			check_all(&version[i]);
		check_all(v);
		check_diff(v, from);
	}
	for (int i = 0; i < VERSIONS; i++)
		bole_flash_table_release(&kind, version[i].table);
	test_platform_release(&test);
}

/* Goal: what is set may lie in the very version that changes. */
Test(flash_table, an_item_may_be_set_to_bytes_of_its_own_table)
{
	struct flash_table *table = NULL;
	char key[16];

	test_platform_init(&test, 1);
	kind.alloc = &test.alloc;
	OK(bole_flash_table_set(&kind, &table, bole_bytes_z("k0"), bole_bytes_z("a value")));
	for (int i = 1; i < 500; i++) {
		(void)snprintf(key, sizeof key, "k%d", i - 1);
		const struct flash_item *item = bole_flash_table_find(table, bole_bytes_z(key));
		(void)snprintf(key, sizeof key, "k%d", i);
		OK(bole_flash_table_set(&kind, &table, bole_bytes_z(key),
		                        bole_flash_item_value(item)));
		item = bole_flash_table_find(table, bole_bytes_z("k0"));
		OK(bole_flash_table_set(&kind, &table, bole_flash_item_key(item),
		                        bole_flash_item_value(item)));
	}
	for (int i = 0; i < 500; i++) {
		(void)snprintf(key, sizeof key, "k%d", i);
		const struct flash_item *item = bole_flash_table_find(table, bole_bytes_z(key));
		cr_assert(bole_bytes_equal(bole_flash_item_value(item), bole_bytes_z("a value")));
	}
	bole_flash_table_release(&kind, table);
	test_platform_release(&test);
}

/* Goal: keys that start with nothing but zeros, and the empty one, are keys like others. */
Test(flash_table, keys_of_zeros_are_keys)
{
	static const uint8_t zeros[200];
	struct flash_table *table = NULL;

	test_platform_init(&test, 1);
	kind.alloc = &test.alloc;
	for (size_t i = 0; i < 200; i++)
		OK(bole_flash_table_set(&kind, &table, (struct bole_bytes){zeros, (i * 77) % 200},
		                        bole_bytes_of(&i, sizeof i)));
	check_eq(table->items, 200);
	const struct flash_item *item =
	        bole_flash_table_next(table, (struct bole_bytes){NULL, 0}, true);
	for (size_t i = 0; i < 200; i++) {
		cr_assert(item != NULL && item->key_len == i);
		item = bole_flash_table_next(table, bole_flash_item_key(item), false);
	}
	cr_assert(item == NULL);
	for (size_t i = 0; i < 200; i++)
		OK(bole_flash_table_remove(&kind, &table, (struct bole_bytes){zeros, i}));
	check_eq(table->items, 0);
	bole_flash_table_release(&kind, table);
	test_platform_release(&test);
}
