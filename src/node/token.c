/* SPDX-License-Identifier: ISC */
/* Making a token. access.c reads what this writes. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "bole/node.h"
#include "node/access.h"

enum { SECRET_BYTES = 24, SALT_BYTES = 8 };

static void put_hex(char *dst, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		snprintf(dst + 2 * i, 3, "%02x", bytes[i]);
}

enum bole_status bole_node_token_make(struct bole_platform *platform, const char *user,
                                      struct bole_node_token *out)
{
	uint8_t secret[SECRET_BYTES];
	uint8_t salt[SALT_BYTES];
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_hash hash;
	struct bole_oid oid;

	if (!bole_node_user_valid(bole_bytes_z(user)))
		return BOLE_E_INVALID;
	platform->ops->random(platform, secret, sizeof secret);
	platform->ops->random(platform, salt, sizeof salt);
	/* The prefix lets those who look for secrets in sources find it. */
	memcpy(out->token, "bole_", 6);
	put_hex(out->token + 5, secret, sizeof secret);
	put_hex(out->id, salt, sizeof salt);
	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, out->id, strlen(out->id));
	bole_hash_update(&hash, ":", 1);
	bole_hash_update(&hash, out->token, strlen(out->token));
	bole_hash_final(&hash, &oid);
	snprintf(out->setting, sizeof out->setting, "%s:sha256:%s:%s", user, out->id,
	         bole_oid_format(&oid, hex));
	memset(secret, 0, sizeof secret);
	return BOLE_OK;
}
