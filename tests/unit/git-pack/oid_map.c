/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <string.h>

#include "base/memory.h"
#include "git/object/oid_map.h"
#include "support/platform.h"

enum { MODEL_IDS = 3000 };

static void id_of(uint32_t number, uint8_t *raw)
{
	memset(raw, 0, 32);
	/* Only the last bytes differ: a hash that skips any would be slow or wrong. */
	memcpy(raw + 16, &number, 4);
}

/* Goal: the map is a map. Method: random puts, finds and removes beside an array that knows. */
Test(oid_map, agrees_with_an_array_over_random_steps)
{
	static const uint8_t algos[] = {BOLE_HASH_SHA1, BOLE_HASH_SHA256};
	static uint32_t model[MODEL_IDS]; /* value + 1, 0 = absent */
	struct test_platform test;
	struct bole_oid_map map;
	uint64_t seed = test_seed(7);

	for (size_t a = 0; a < 2; a++) {
		uint32_t present = 0;

		memset(model, 0, sizeof(model));
		test_platform_init(&test, seed);
		bole_oid_map_init(&map, &test.base, &test.alloc, algos[a], 8);
		for (uint32_t step = 1; step < 60000; step++) {
			uint32_t which = (uint32_t)(test_random(&seed) % MODEL_IDS);
			uint8_t raw[32];
			uint32_t item;
			bool added;

			id_of(which, raw);
			item = bole_oid_map_find(&map, raw);
			cr_assert_eq(item != BOLE_OID_NONE, model[which] != 0);
			if (item != BOLE_OID_NONE) {
				uint32_t value;

				memcpy(&value, bole_oid_map_value(&map, item), 4);
				cr_assert_eq(value + 1, model[which]);
				cr_assert_eq(memcmp(bole_oid_map_key(&map, item), raw, 20), 0);
			}
			if (test_random(&seed) % 3 == 0 && item != BOLE_OID_NONE) {
				bole_oid_map_remove(&map, item);
				model[which] = 0;
				present--;
			} else {
				cr_assert_eq(bole_oid_map_put(&map, raw, &item, &added), BOLE_OK);
				cr_assert_eq(added, model[which] == 0);
				present += added;
				memcpy(bole_oid_map_value(&map, item), &step, 4);
				model[which] = step + 1;
			}
			cr_assert_eq(map.count, present);
		}
		bole_oid_map_release(&map);
		test_platform_release(&test);
	}
}

Test(oid_map, survives_every_failed_allocation)
{
	struct test_platform test;

	for (uint64_t fail = 1; fail < 40; fail++) {
		struct bole_oid_map map;
		uint32_t item, stored = 0;
		bool added;

		test_platform_init(&test, 1);
		bole_oid_map_init(&map, &test.base, &test.alloc, BOLE_HASH_SHA1, 4);
		test.fail_at = fail;
		for (uint32_t i = 0; i < 5000; i++) {
			uint8_t raw[32];

			id_of(i, raw);
			enum bole_status rc = bole_oid_map_put(&map, raw, &item, &added);

			cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY);
			stored += rc == BOLE_OK;
		}
		cr_assert_geq(stored, 4999);
		cr_assert_eq(map.count, stored);
		bole_oid_map_release(&map);
		test_platform_release(&test);
	}
}

Test(oid_map, keeps_a_million_ids_in_its_stated_memory)
{
	enum { IDS = 1000000 };
	struct test_platform test;
	struct bole_budget budget;
	struct bole_oid_map map;
	uint32_t item;
	bool added;

	test_platform_init(&test, 3);
	bole_budget_init(&budget, &test.alloc, SIZE_MAX);
	bole_oid_map_init(&map, &test.base, &budget.alloc, BOLE_HASH_SHA1, 12);
	for (uint32_t i = 0; i < IDS; i++) {
		uint8_t raw[32];

		id_of(i, raw);
		cr_assert_eq(bole_oid_map_put(&map, raw, &item, &added), BOLE_OK);
	}
	/* 20 + 12 bytes, slots of 5 between 3/8 and 3/4 full, chunk pointers. */
	cr_assert_leq(budget.used, (size_t)IDS * (32 + 14));
	cr_assert_eq(bole_oid_map_bytes(&map), budget.used);
	bole_oid_map_release(&map);
	cr_assert_eq(budget.used, 0);
	test_platform_release(&test);
}
