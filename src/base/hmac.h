/* SPDX-License-Identifier: ISC */
/* HMAC (RFC 2104) with SHA-256. */
#ifndef BOLE_BASE_HMAC_H
#define BOLE_BASE_HMAC_H

#include "bole/oid.h"
#include "bole/types.h"

void bole_hmac_sha256(struct bole_bytes key, struct bole_bytes text, struct bole_oid *out);

#endif /* BOLE_BASE_HMAC_H */
