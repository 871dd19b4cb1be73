/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/sha.h"
#include "support/platform.h"

static const char *hex_of(const struct bole_oid *oid)
{
	static char hex[BOLE_OID_HEX_MAX + 1];

	return bole_oid_format(oid, hex);
}

static void hash_all(uint8_t algo, const void *src, size_t len, struct bole_oid *out)
{
	struct bole_hash hash;

	bole_hash_init(&hash, algo);
	bole_hash_update(&hash, src, len);
	bole_hash_final(&hash, out);
}

Test(hash, matches_the_vectors_of_fips_180)
{
	const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	struct bole_oid oid;

	hash_all(BOLE_HASH_SHA1, "abc", 3, &oid);
	cr_assert_str_eq(hex_of(&oid), "a9993e364706816aba3e25717850c26c9cd0d89d");
	hash_all(BOLE_HASH_SHA1, two, 56, &oid);
	cr_assert_str_eq(hex_of(&oid), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
	hash_all(BOLE_HASH_SHA256, "abc", 3, &oid);
	cr_assert_str_eq(hex_of(&oid),
	                 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	hash_all(BOLE_HASH_SHA256, two, 56, &oid);
	cr_assert_str_eq(hex_of(&oid),
	                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

Test(hash, a_million_letters_a_match_whatever_instructions_are_used)
{
	static uint8_t many[1000000];
	struct bole_oid oid;

	memset(many, 'a', sizeof many);
	hash_all(BOLE_HASH_SHA1, many, sizeof many, &oid);
	cr_assert_str_eq(hex_of(&oid), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
	hash_all(BOLE_HASH_SHA256, many, sizeof many, &oid);
	cr_assert_str_eq(hex_of(&oid),
	                 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

Test(hash, native_and_generic_blocks_agree)
{
	uint64_t seed = test_seed(7);
	static uint8_t data[64 * 40];

	for (unsigned round = 0; round < 200; round++) {
		for (uint8_t algo = 1; algo <= 2; algo++) {
			bole_sha_blocks_fn *native =
			        bole_sha_blocks_native(bole_sha_features(), algo);
			bole_sha_blocks_fn *generic = algo == BOLE_HASH_SHA1
			                                      ? bole_sha1_blocks_generic
			                                      : bole_sha256_blocks_generic;
			uint32_t a[8];
			uint32_t b[8];

			if (native == NULL)
				continue;
			test_random_bytes(&seed, data, sizeof data);
			test_random_bytes(&seed, a, sizeof a);
			memcpy(b, a, sizeof b);
			native(a, data, round % 41);
			generic(b, data, round % 41);
			cr_assert_arr_eq(a, b, sizeof a);
		}
	}
}

Test(hash, pieces_hash_like_the_whole)
{
	uint64_t seed = test_seed(11);
	static uint8_t data[50000];

	test_random_bytes(&seed, data, sizeof data);
	for (unsigned round = 0; round < 60; round++) {
		uint8_t algo = round % 2 == 0 ? BOLE_HASH_SHA1 : BOLE_HASH_SHA256;
		size_t len = test_random(&seed) % sizeof data;
		struct bole_identity identity;
		struct bole_hash hash;
		struct bole_oid whole;
		struct bole_oid pieces;
		struct bole_oid checked;

		hash_all(algo, data, len, &whole);
		bole_hash_init(&hash, algo);
		bole_identity_init(&identity, algo);
		for (size_t at = 0, n; at < len; at += n) {
			n = 1 + test_random(&seed) % (round < 30 ? 200 : 30000);
			n = n < len - at ? n : len - at;
			bole_hash_update(&hash, data + at, n);
			bole_identity_update(&identity, data + at, n);
		}
		bole_hash_final(&hash, &pieces);
		cr_assert(bole_oid_equal(&whole, &pieces));
		cr_assert_eq(bole_identity_final(&identity, &checked), BOLE_OK);
		cr_assert(bole_oid_equal(&whole, &checked));
	}
}

Test(hash, object_ids_are_those_of_git)
{
	struct bole_oid oid;

	cr_assert_eq(bole_object_id(BOLE_HASH_SHA1, BOLE_OBJECT_BLOB, bole_bytes_z("hello\n"), true,
	                            &oid),
	             BOLE_OK);
	cr_assert_str_eq(hex_of(&oid), "ce013625030ba8dba906f756967f9e9ca394464a");
	cr_assert_eq(
	        bole_object_id(BOLE_HASH_SHA1, BOLE_OBJECT_TREE, bole_bytes_of("", 0), false, &oid),
	        BOLE_OK);
	cr_assert_str_eq(hex_of(&oid), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
	cr_assert_eq(bole_object_id(BOLE_HASH_SHA256, BOLE_OBJECT_TREE, bole_bytes_of("", 0), true,
	                            &oid),
	             BOLE_OK);
	cr_assert_str_eq(hex_of(&oid),
	                 "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321");
}

Test(oid, parses_and_prints_hex_and_refuses_everything_else)
{
	const char *hex = "ce013625030ba8dba906f756967f9e9ca394464a";
	struct bole_oid oid;
	char text[41];

	cr_assert_eq(bole_oid_parse(hex, 40, BOLE_HASH_SHA1, &oid), BOLE_OK);
	cr_assert_str_eq(hex_of(&oid), hex);
	cr_assert_eq(bole_oid_parse("CE013625030BA8DBA906F756967F9E9CA394464A", 40, BOLE_HASH_SHA1,
	                            &oid),
	             BOLE_OK);
	cr_assert_str_eq(hex_of(&oid), hex);
	for (size_t len = 0; len < 40; len++)
		cr_assert_eq(bole_oid_parse(hex, len, BOLE_HASH_SHA1, &oid), BOLE_E_INVALID);
	cr_assert_eq(bole_oid_parse(hex, 40, BOLE_HASH_SHA256, &oid), BOLE_E_INVALID);
	cr_assert_eq(bole_oid_parse(hex, 40, 9, &oid), BOLE_E_INVALID);
	/* Any byte in any place. */
	for (int byte = 0; byte < 256; byte++) {
		const char *digit = byte == 0 ? NULL : strchr("0123456789abcdefABCDEF", byte);

		for (size_t i = 0; i < 40; i++) {
			memcpy(text, hex, 41);
			text[i] = (char)byte;
			enum bole_status rc = bole_oid_parse(text, 40, BOLE_HASH_SHA1, &oid);
			cr_assert_eq(rc, digit != NULL ? BOLE_OK : BOLE_E_INVALID, "%d", byte);
			if (byte >= 'A' && byte <= 'F')
				text[i] = (char)(byte - 'A' + 'a');
			if (digit != NULL)
				cr_assert_str_eq(hex_of(&oid), text);
		}
	}
}
