/* SPDX-License-Identifier: ISC */
/* The vector test for collision attacks beside sha1dc's own, on millions of blocks. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "sha1dc/sha1.h"
#include "sha1dc/ubc_check.h"
#include "support/platform.h"

enum { BLOCKS = 1 << 21, GROUP = BOLE_SHA1_LANES_MAX };

static const char path[] = "build/deps/libgit2/tests/resources/sha1/shattered-1.pdf";

static uint64_t below(uint64_t *random, uint64_t n)
{
	return test_random(random) % n;
}

static uint32_t reference_mask(const uint8_t *block)
{
	uint32_t w[80];
	uint32_t mask[DVMASKSIZE];

	for (size_t i = 0; i < 16; i++)
		w[i] = bole_get_be32(block + 4 * i);
	for (size_t i = 16; i < 80; i++) {
		uint32_t x = w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
		w[i] = x << 1 | x >> 31;
	}
	ubc_check(w, mask);
	return mask[0];
}

static void compare(bole_sha1_suspects_fn *suspects, uint64_t seed)
{
	uint64_t random;
	uint8_t src[GROUP * 64];
	const uint8_t *blocks[GROUP];
	uint32_t masks[GROUP];
	size_t found = 0;

	random = seed;
	for (size_t i = 0; i < GROUP; i++)
		blocks[i] = src + 64 * i;
	for (size_t at = 0; at < BLOCKS; at += GROUP) {
		size_t count = 1 + (size_t)below(&random, GROUP);

		test_random_bytes(&random, src, sizeof src);
		uint32_t set = suspects(blocks, count, masks);
		cr_assert_eq(set >> count, 0);
		for (size_t i = 0; i < count; i++) {
			uint32_t mask = reference_mask(src + 64 * i);
			cr_assert_eq(masks[i], mask, "seed %" PRIu64 ", block %zu", seed, at + i);
			cr_assert_eq(set >> i & 1, mask != 0);
			found += mask != 0;
		}
	}
	cr_assert_gt(found, BLOCKS / 2 / 40);
}

Test(hash, conditions_in_lanes_are_those_of_the_reference)
{
	const struct bole_sha1_detector *native = bole_sha1_detector_native(bole_sha_features());
	uint64_t seed = test_seed(40);

	compare(bole_sha1_suspects_generic, seed);
	if (native != NULL)
		compare(native->suspects, seed + 1);
}

/* Goal: whatever the pieces, an identity is what sha1dc computes. */
Test(hash, an_identity_is_that_of_the_reference_in_any_pieces)
{
	uint64_t random;
	struct bole_hashing hashing;
	static uint8_t data[1 << 16];

	random = test_seed(41);
	test_random_bytes(&random, data, sizeof data);
	bole_hashing_probe(&hashing);
	for (size_t round = 0; round < 1000; round++) {
		size_t len = (size_t)below(&random, round % 10 == 0 ? sizeof data : 400);
		struct bole_identity with;
		struct bole_identity without;
		struct bole_oid oid;
		uint8_t raw[20];
		SHA1_CTX reference;

		SHA1DCInit(&reference);
		SHA1DCUpdate(&reference, (const char *)data, len);
		cr_assert_eq(SHA1DCFinal(raw, &reference), 0);
		bole_identity_init_with(&with, BOLE_HASH_SHA1, &hashing);
		bole_identity_init(&without, BOLE_HASH_SHA1);
		for (size_t at = 0; at < len;) {
			size_t n = 1 + (size_t)below(&random, 1000);

			n = n < len - at ? n : len - at;
			bole_identity_update(&with, data + at, n);
			bole_identity_update(&without, data + at, n);
			at += n;
		}
		cr_assert_eq(bole_identity_final(&with, &oid), BOLE_OK);
		cr_assert_eq(memcmp(oid.bytes, raw, sizeof raw), 0, "%zu", len);
		cr_assert_eq(bole_identity_final(&without, &oid), BOLE_OK);
		cr_assert_eq(memcmp(oid.bytes, raw, sizeof raw), 0, "%zu", len);
	}
}

/* Goal: the attack is seen in every lane. It needs the state before it, so whole blocks of the file
 * are given in pieces that put it into each. */
Test(hash, an_attack_is_noticed_in_every_lane)
{
	static uint8_t data[4096];
	struct bole_hashing hashing;
	struct bole_oid oid;

	FILE *file = fopen(path, "rb");
	cr_assert_not_null(file, "%s", path);
	cr_assert_eq(fread(data, 1, sizeof data, file), sizeof data);
	fclose(file);
	bole_hashing_probe(&hashing);
	for (size_t first = 0; first <= 320; first += 64) {
		for (size_t rest = 0; rest <= 512; rest += 64) {
			struct bole_identity identity;

			bole_identity_init_with(&identity, BOLE_HASH_SHA1, &hashing);
			bole_identity_update(&identity, data, first);
			bole_identity_update(&identity, data + first, 320 - first + rest);
			cr_assert_eq(bole_identity_final(&identity, &oid), BOLE_E_CORRUPT);
			bole_identity_init_with(&identity, BOLE_HASH_SHA1, &hashing);
			bole_identity_update(&identity, data, first < 192 ? first : 192);
			cr_assert_eq(bole_identity_final(&identity, &oid), BOLE_OK);
		}
	}
}

/* -- The other block, step by step -- */

static uint32_t rotate(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

/* What a step adds to the rotated a and e. */
static uint32_t mix(size_t step, const uint32_t *s, uint32_t word)
{
	uint32_t choose = (s[1] & s[2]) | (~s[1] & s[3]);
	uint32_t parity = s[1] ^ s[2] ^ s[3];
	uint32_t majority = (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]);

	switch (step / 20) {
	case 0: return choose + 0x5a827999 + word;
	case 1: return parity + 0x6ed9eba1 + word;
	case 2: return majority + 0x8f1bbcdc + word;
	default: return parity + 0xca62c1d6 + word;
	}
}

static void step_on(uint32_t *s, size_t step, uint32_t word)
{
	uint32_t a = rotate(s[0], 5) + s[4] + mix(step, s, word);

	memmove(s + 1, s, 4 * sizeof *s);
	s[0] = a;
	s[2] = rotate(s[2], 30);
}

static void step_back(uint32_t *s, size_t step, uint32_t word)
{
	uint32_t a = s[0];

	memmove(s, s + 1, 4 * sizeof *s);
	s[1] = rotate(s[1], 2);
	s[4] = a - rotate(s[0], 5) - mix(step, s, word);
}

/* Sets after to what makes the suspect part of an attack. */
static void make_attack(struct bole_sha1_suspect *suspect)
{
	uint32_t w[80];
	uint32_t back[5];
	uint32_t on[5];

	for (size_t i = 0; i < 16; i++)
		w[i] = bole_get_be32(suspect->block + 4 * i);
	for (size_t i = 16; i < 80; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	memcpy(on, suspect->before, sizeof on);
	for (size_t i = 0; i < suspect->step; i++)
		step_on(on, i, w[i]);
	memcpy(back, on, sizeof back);
	for (size_t i = suspect->step; i-- > 0;)
		step_back(back, i, w[i] ^ suspect->difference[i]);
	for (size_t i = suspect->step; i < 80; i++)
		step_on(on, i, w[i] ^ suspect->difference[i]);
	for (size_t i = 0; i < 5; i++)
		suspect->after[i] = back[i] + on[i];
}

static void find_attacks(const struct bole_sha1_detector *detector, uint64_t seed)
{
	static uint8_t blocks[BOLE_SHA1_LANES_MAX][64];
	struct bole_sha1_suspect s[BOLE_SHA1_LANES_MAX];
	uint64_t random = seed;

	for (size_t round = 0; round < 2000; round++) {
		size_t count = 1 + (size_t)below(&random, detector->lanes);
		size_t lane = (size_t)below(&random, count);

		test_random_bytes(&random, blocks, sizeof blocks);
		for (size_t i = 0; i < count; i++) {
			const dv_info_t *dv = &sha1_dvs[below(&random, 32)];

			s[i] = (struct bole_sha1_suspect){.block = blocks[i],
			                                  .difference = dv->dm,
			                                  .step = (unsigned)dv->testt};
			cr_assert(s[i].step == 58 || s[i].step == 65);
			test_random_bytes(&random, s[i].before, sizeof s[i].before);
			test_random_bytes(&random, s[i].after, sizeof s[i].after);
		}
		cr_assert_not(detector->attack(s, count));
		make_attack(&s[lane]);
		cr_assert(detector->attack(s, count), "seed %" PRIu64 ", round %zu", seed, round);
		s[lane].after[round % 5] ^= 1u << below(&random, 32);
		cr_assert_not(detector->attack(s, count));
	}
}

/* Goal: by every disturbance vector and in every lane, with a slow copy of SHA-1's steps beside. */
Test(hash, the_block_that_would_collide_is_made_in_every_lane)
{
	const struct bole_sha1_detector *native = bole_sha1_detector_native(bole_sha_features());
	uint64_t seed = test_seed(42);

	find_attacks(&bole_sha1_detector_generic, seed);
	if (native != NULL)
		find_attacks(native, seed + 1);
}
