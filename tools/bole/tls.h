/* SPDX-License-Identifier: ISC */
/* TLS 1.2 and 1.3 over a stream, as a client. */
#ifndef BOLE_TOOLS_TLS_H
#define BOLE_TOOLS_TLS_H

#include <stddef.h>

#include "bole/platform.h"

/* bole_client_options.secure; ctx is the struct. The server's certificate must be for the host and
 * lead to one of the file's: ca_file, or NULL for what the environment (SSL_CERT_FILE) or the
 * system has. */
struct bole_tls_settings {
	struct bole_platform *platform;
	const char *ca_file;
};
enum bole_status bole_tls_open(void *ctx, struct bole_stream *plain, const char *host,
                               struct bole_stream **out, char *why, size_t why_cap);

#endif /* BOLE_TOOLS_TLS_H */
