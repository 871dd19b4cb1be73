/* SPDX-License-Identifier: ISC */
/* Random transactions beside a sorted list of keys; cursors with every kind of range. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/kv.h"
#include "support/platform.h"

enum { KEYS_MAX = 400, KEY_BYTES = 40 };

struct pair {
	char key[KEY_BYTES];
	char value[16];
};

struct model {
	struct pair pairs[KEYS_MAX];
	size_t count;
};

static struct test_platform test;
static struct bole_store *store;
static struct bole_kv *kv;

static struct bole_bytes z(const char *text)
{
	return bole_bytes_z(text);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static struct pair *model_find(struct model *model, const char *key)
{
	for (size_t i = 0; i < model->count; i++)
		if (strcmp(model->pairs[i].key, key) == 0)
			return &model->pairs[i];
	return NULL;
}

/* key would be a value and a directory at once. */
static bool model_clash(struct model *model, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < model->count; i++) {
		const char *other = model->pairs[i].key;
		size_t other_len = strlen(other);

		if (other_len > len && other[len] == '/' && strncmp(other, key, len) == 0)
			return true;
		if (len > other_len && key[other_len] == '/' && strncmp(other, key, other_len) == 0)
			return true;
	}
	return false;
}

/* Names that sort differently as files and as directories. */
static void random_key(uint64_t *seed, char *key)
{
	static const char *const parts[] = {"a", "a-", "a.", "a0", "ab", "b", "z", "\xc3\xa9", "A"};
	size_t depth = 1 + test_random(seed) % 3;

	for (size_t i = 0, len = 0; i < depth; i++)
		len += (size_t)snprintf(key + len, KEY_BYTES - len, "%s%s", i == 0 ? "" : "/",
		                        parts[test_random(seed) % 9]);
}

static void step(struct bole_kv_tx *tx, struct model *model, uint64_t *seed)
{
	char key[KEY_BYTES];

	random_key(seed, key);
	struct pair *pair = model_find(model, key);
	if (test_random(seed) % 3 == 0) {
		enum bole_status rc = bole_kv_tx_remove(tx, z(key));

		cr_assert_eq(rc, pair == NULL ? BOLE_E_NOT_FOUND : BOLE_OK, "%s", key);
		if (pair != NULL)
			*pair = model->pairs[--model->count];
		return;
	}
	if (model_clash(model, key) || model->count == KEYS_MAX)
		return;
	if (pair == NULL)
		pair = &model->pairs[model->count++];
	snprintf(pair->key, sizeof pair->key, "%s", key);
	snprintf(pair->value, sizeof pair->value, "%u", (unsigned)(test_random(seed) % 1000));
	cr_assert_eq(bole_kv_tx_set(tx, z(key), z(pair->value)), BOLE_OK, "%s", key);
}

static bool in_range(const char *key, const char *prefix, const char *from, const char *to)
{
	return strncmp(key, prefix, strlen(prefix)) == 0 && strcmp(key, from) >= 0 &&
	       (to[0] == '\0' || strcmp(key, to) < 0);
}

static void check_range(struct model *model, const char *prefix, const char *from, const char *to)
{
	struct bole_kv_range range = {z(prefix), z(from), z(to)};
	struct bole_kv_cursor *cursor;
	struct bole_kv_view *view;
	struct bole_kv_item item;

	cr_assert_eq(bole_kv_view_open(kv, NULL, &view), BOLE_OK);
	cr_assert_eq(bole_kv_cursor_open(view, &range, &cursor), BOLE_OK);
	qsort(model->pairs, model->count, sizeof model->pairs[0], by_key);
	for (size_t i = 0; i < model->count; i++) {
		if (!in_range(model->pairs[i].key, prefix, from, to))
			continue;
		cr_assert_eq(bole_kv_cursor_next(cursor, &item), BOLE_OK);
		cr_assert(bole_bytes_equal(item.key, z(model->pairs[i].key)), "%s not %.*s",
		          model->pairs[i].key, (int)item.key.len, (const char *)item.key.ptr);
	}
	cr_assert_eq(bole_kv_cursor_next(cursor, &item), BOLE_END);
	cr_assert_eq(bole_kv_cursor_next(cursor, &item), BOLE_END);
	bole_kv_cursor_close(cursor);
	bole_kv_view_close(view);
}

static void check_values(struct model *model)
{
	struct bole_kv_view *view;
	struct bole_bytes value;

	cr_assert_eq(bole_kv_view_open(kv, NULL, &view), BOLE_OK);
	for (size_t i = 0; i < model->count; i++) {
		cr_assert_eq(bole_kv_get(view, z(model->pairs[i].key), &value), BOLE_OK);
		cr_assert(bole_bytes_equal(value, z(model->pairs[i].value)));
	}
	bole_kv_view_close(view);
}

Test(kv_model, random_transactions_and_ranges_agree_with_a_sorted_list)
{
	static struct model model;
	static struct model before;
	struct bole_kv_options options = {.create = true};
	uint64_t seed = test_seed(21);
	char prefix[KEY_BYTES];
	char from[KEY_BYTES];
	char to[KEY_BYTES];

	test_platform_init(&test, 1);
	cr_assert_eq(bole_memory_store_open(&test.base, &test.alloc, &store), BOLE_OK);
	cr_assert_eq(bole_kv_open(&test.base, &test.alloc, store, &options, &kv), BOLE_OK);
	for (unsigned round = 0; round < 300; round++) {
		size_t steps = 1 + test_random(&seed) % 12;
		struct bole_kv_tx *tx;

		before = model;
		cr_assert_eq(bole_kv_begin(kv, NULL, &tx), BOLE_OK);
		for (size_t i = 0; i < steps; i++)
			step(tx, &model, &seed);
		if (test_random(&seed) % 8 == 0) {
			bole_kv_tx_abort(tx);
			model = before;
		} else {
			cr_assert_eq(bole_kv_tx_commit(tx, NULL, NULL), BOLE_OK);
		}
		check_values(&model);
		check_range(&model, "", "", "");
		random_key(&seed, prefix);
		prefix[test_random(&seed) % (strlen(prefix) + 1)] = '\0';
		random_key(&seed, from);
		random_key(&seed, to);
		check_range(&model, prefix, "", "");
		check_range(&model, "", from, "");
		check_range(&model, "", "", to);
		check_range(&model, prefix, from, to);
	}
	bole_kv_close(kv);
	cr_assert_eq(bole_store_close(store), BOLE_OK);
	test_platform_release(&test);
}
