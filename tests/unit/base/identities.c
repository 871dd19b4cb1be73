/* SPDX-License-Identifier: ISC */
/* Several messages at once beside one at a time, and beside sha1dc. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "sha1dc/sha1.h"
#include "support/platform.h"

enum { MESSAGES = 24, DATA_BYTES = 1 << 16, ATTACK_BYTES = 4096 };

static const char path[] = "build/deps/libgit2/tests/resources/sha1/shattered-1.pdf";

static uint64_t below(uint64_t *random, uint64_t n)
{
	return test_random(random) % n;
}

/* The processor's functions, and those that every processor has. */
static void choose(struct bole_hashing *hashing, bool generic)
{
	bole_hashing_probe(hashing);
	if (!generic)
		return;
	*hashing = (struct bole_hashing){.sha1 = bole_sha1_blocks_generic,
	                                 .sha256 = bole_sha256_blocks_generic,
	                                 .detector = &bole_sha1_detector_generic};
}

static void hash_all(const struct bole_hashing *hashing, uint8_t algo,
                     struct bole_message *messages, size_t count, size_t step)
{
	static struct bole_hash_many many;

	bole_hash_many_begin(&many, algo, hashing, messages, count);
	while (bole_hash_many_step(&many, step))
		continue;
}

static void identify(uint8_t algo, const struct bole_message *message, struct bole_oid *oid)
{
	struct bole_identity identity;
	struct bole_oid whole;
	uint8_t raw[20];
	SHA1_CTX reference;

	bole_identity_init(&identity, algo);
	bole_identity_update(&identity, message->head, message->head_len);
	bole_identity_update(&identity, message->data.ptr, message->data.len);
	cr_assert_eq(bole_identity_final(&identity, oid), BOLE_OK);
	if (algo != BOLE_HASH_SHA1)
		return;
	SHA1DCInit(&reference);
	SHA1DCUpdate(&reference, (const char *)message->head, message->head_len);
	SHA1DCUpdate(&reference, (const char *)message->data.ptr, message->data.len);
	cr_assert_eq(SHA1DCFinal(raw, &reference), 0);
	bole_oid_from_raw(raw, BOLE_HASH_SHA1, &whole);
	cr_assert(bole_oid_equal(&whole, oid));
}

Test(identities, many_messages_have_the_ids_of_each_alone)
{
	uint64_t seed = test_seed(50);
	static uint8_t data[DATA_BYTES];
	static struct bole_message messages[MESSAGES];
	struct bole_hashing hashing;
	struct bole_oid oid;

	test_random_bytes(&seed, data, sizeof data);
	for (unsigned round = 0; round < 400; round++) {
		uint8_t algo = round % 4 == 3 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;
		size_t count = (size_t)below(&seed, MESSAGES + 1);

		choose(&hashing, round % 5 == 4);
		for (size_t i = 0; i < count; i++) {
			size_t most = below(&seed, 8) == 0 ? sizeof data : 300;
			size_t len = (size_t)below(&seed, most);
			size_t at = (size_t)below(&seed, sizeof data - len);
			struct bole_bytes bytes = {data + at, len};

			bole_message_of_object(&messages[i], 1 + (unsigned)below(&seed, 4), bytes);
			if (below(&seed, 4) == 0)
				messages[i].head_len = (size_t)below(&seed, 49);
		}
		hash_all(&hashing, algo, messages, count, 1 + (size_t)below(&seed, 20000));
		for (size_t i = 0; i < count; i++) {
			identify(algo, &messages[i], &oid);
			cr_assert_eq(messages[i].rc, BOLE_OK);
			cr_assert(bole_oid_equal(&oid, &messages[i].oid), "round %u, message %zu",
			          round, i);
		}
	}
}

/* Goal: whoever stands beside it, who is part of an attack is refused, and nobody else. */
Test(identities, an_attack_is_noticed_among_many_messages)
{
	uint64_t seed = test_seed(51);
	static uint8_t attack[ATTACK_BYTES];
	static uint8_t data[DATA_BYTES];
	static struct bole_message messages[MESSAGES];
	struct bole_hashing hashing;

	FILE *file = fopen(path, "rb");
	cr_assert_not_null(file, "%s", path);
	cr_assert_eq(fread(attack, 1, sizeof attack, file), sizeof attack);
	fclose(file);
	test_random_bytes(&seed, data, sizeof data);
	for (unsigned round = 0; round < 300; round++) {
		size_t count = 1 + (size_t)below(&seed, MESSAGES);
		uint32_t attacks = 0;

		choose(&hashing, round % 5 == 4);
		for (size_t i = 0; i < count; i++) {
			struct bole_message *m = &messages[i];

			m->head_len = 0;
			m->data = bole_bytes_of(data, (size_t)below(&seed, 3000));
			if (below(&seed, 5) != 0)
				continue;
			/* Its blocks 3 and 4 are the attack. */
			m->head_len = (size_t)below(&seed, 49);
			memcpy(m->head, attack, m->head_len);
			m->data = bole_bytes_of(attack + m->head_len,
			                        (size_t)below(&seed, sizeof attack - 48));
			attacks |= (uint32_t)(m->head_len + m->data.len >= 320) << i;
		}
		hash_all(&hashing, BOLE_HASH_SHA1, messages, count,
		         1 + (size_t)below(&seed, 20000));
		for (size_t i = 0; i < count; i++)
			cr_assert_eq(messages[i].rc,
			             (attacks >> i & 1) != 0 ? BOLE_E_CORRUPT : BOLE_OK,
			             "round %u, message %zu", round, i);
	}
}

/* The lanes of a pair beside the function for one. */
Test(identities, pairs_hash_as_one_at_a_time)
{
	uint64_t seed = test_seed(52), features = bole_sha_features();
	static uint8_t data[DATA_BYTES];

	test_random_bytes(&seed, data, sizeof data);
	for (unsigned round = 0; round < 400; round++) {
		uint8_t algo = round % 2 == 0 ? BOLE_HASH_SHA1 : BOLE_HASH_SHA256;
		bole_sha_pair_fn *pair = bole_sha_pair_native(features, algo);
		bole_sha_blocks_fn *one = bole_sha_blocks_native(features, algo);
		const size_t words = algo == BOLE_HASH_SHA1 ? 5 : 8;
		uint32_t a[2][8], b[2][8], before[8][2][8];
		uint32_t *states[2] = {a[0], a[1]};
		const uint8_t *blocks[16];
		size_t count = (size_t)below(&seed, 9);

		if (pair == NULL)
			continue;
		test_random_bytes(&seed, (uint8_t *)a, sizeof a);
		memcpy(b, a, sizeof b);
		for (size_t i = 0; i < 2 * count; i++)
			blocks[i] = data + below(&seed, sizeof data - 64);
		pair(states, blocks, count, before);
		for (size_t i = 0; i < 2 * count; i++) {
			size_t lane = i / count;

			if (algo == BOLE_HASH_SHA1)
				cr_assert_arr_eq(before[i % count][lane], b[lane], 4 * words);
			one(b[lane], blocks[i], 1);
		}
		cr_assert_arr_eq(a[0], b[0], 4 * words);
		cr_assert_arr_eq(a[1], b[1], 4 * words);
	}
}
