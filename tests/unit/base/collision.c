/* SPDX-License-Identifier: ISC */
/* The published SHA-1 collision (Stevens et al., 2017) comes with libgit2's sources. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

static const char path[] = "build/deps/libgit2/tests/resources/sha1/shattered-1.pdf";

Test(hash, a_collision_attack_is_noticed_and_plain_bytes_are_not)
{
	static uint8_t data[500000];
	struct bole_identity identity;
	struct bole_hash hash;
	struct bole_oid oid;
	char hex[BOLE_OID_HEX_MAX + 1];

	FILE *file = fopen(path, "rb");
	cr_assert_not_null(file, "%s", path);
	size_t len = fread(data, 1, sizeof data, file);
	fclose(file);
	bole_hash_init(&hash, BOLE_HASH_SHA1);
	bole_hash_update(&hash, data, len);
	bole_hash_final(&hash, &oid);
	cr_assert_str_eq(bole_oid_format(&oid, hex), "38762cf7f55934b34d179ae6a4c80cadccbb7f0a");
	/* The blocks that collide lie within the first 320 bytes. */
	static const size_t lens[] = {0, 192, 320, 1000};
	/* In one piece the long ones take the processor's way, byte by byte the reference code. */
	bole_identity_init(&identity, BOLE_HASH_SHA1);
	bole_identity_update(&identity, data, len);
	cr_assert_eq(bole_identity_final(&identity, &oid), BOLE_E_CORRUPT);
	for (size_t i = 0; i < 5; i++) {
		size_t n = i == 4 ? len : lens[i];

		bole_identity_init(&identity, BOLE_HASH_SHA1);
		for (size_t at = 0; at < n; at++)
			bole_identity_update(&identity, data + at, 1);
		cr_assert_eq(bole_identity_final(&identity, &oid),
		             n < 320 ? BOLE_OK : BOLE_E_CORRUPT, "%zu", n);
	}
}
