/* SPDX-License-Identifier: ISC */
#include "tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/error.h>
#include <mbedtls/pem.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>

#include "cli.h"

static const char *const usual_files[] = {"/etc/ssl/certs/ca-certificates.crt",
                                          "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

struct tls {
	struct bole_stream stream;
	struct bole_platform *platform;
	struct bole_stream *plain;
	enum bole_status rc; /* of the plain stream, when it failed */
	mbedtls_ssl_context ssl;
	mbedtls_ssl_config config;
	mbedtls_x509_crt trusted;
};

static struct tls *tls_of(struct bole_stream *stream)
{
	return (struct tls *)(void *)stream;
}

/* -- Below: the plain stream -- */

static int plain_send(void *ctx, const unsigned char *src, size_t len)
{
	struct tls *t = ctx;
	struct bole_bytes piece = {src, len};

	t->rc = t->plain->ops->writev(t->plain, &piece, 1);
	return t->rc == BOLE_OK ? (int)len : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int plain_receive(void *ctx, unsigned char *dst, size_t cap)
{
	struct tls *t = ctx;
	size_t got = 0;

	t->rc = t->plain->ops->read(t->plain, dst, cap, &got);
	if (t->rc == BOLE_END)
		t->rc = BOLE_E_CLOSED; /* without the farewell of TLS it is no orderly end */
	return t->rc == BOLE_OK ? (int)got : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int random_bytes(void *ctx, unsigned char *dst, size_t len)
{
	struct bole_platform *platform = ctx;

	platform->ops->random(platform, dst, len);
	return 0;
}

/* -- Above: a stream -- */

static enum bole_status status_of(struct tls *t)
{
	return t->rc != BOLE_OK ? t->rc : BOLE_E_IO;
}

static bool go_on(int result)
{
	return result == MBEDTLS_ERR_SSL_WANT_READ || result == MBEDTLS_ERR_SSL_WANT_WRITE ||
	       result == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET;
}

static enum bole_status tls_read(struct bole_stream *self, void *dst, size_t cap, size_t *got)
{
	struct tls *t = tls_of(self);
	int n;

	*got = 0;
	t->rc = BOLE_OK;
	do {
		n = mbedtls_ssl_read(&t->ssl, dst, cap);
	} while (go_on(n));
	if (n == 0 || n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
		return BOLE_END;
	if (n < 0)
		return status_of(t);
	*got = (size_t)n;
	return BOLE_OK;
}

static enum bole_status write_all(struct tls *t, const uint8_t *src, size_t len)
{
	while (len > 0) {
		int n = mbedtls_ssl_write(&t->ssl, src, len);

		if (n < 0 && !go_on(n))
			return status_of(t);
		if (n > 0) {
			src += n;
			len -= (size_t)n;
		}
	}
	return BOLE_OK;
}

static enum bole_status tls_writev(struct bole_stream *self, const struct bole_bytes *pieces,
                                   size_t count)
{
	struct tls *t = tls_of(self);
	enum bole_status rc = BOLE_OK;

	t->rc = BOLE_OK;
	for (size_t i = 0; i < count && rc == BOLE_OK; i++)
		rc = write_all(t, pieces[i].ptr, pieces[i].len);
	return rc;
}

static void tls_set_deadline(struct bole_stream *self, uint64_t read_ns, uint64_t write_ns)
{
	struct bole_stream *plain = tls_of(self)->plain;

	plain->ops->set_deadline(plain, read_ns, write_ns);
}

static bool tls_hung_up(struct bole_stream *self)
{
	struct tls *t = tls_of(self);

	return mbedtls_ssl_get_bytes_avail(&t->ssl) == 0 && t->plain->ops->hung_up(t->plain);
}

static void tls_peer(struct bole_stream *self, char *dst, size_t cap)
{
	struct bole_stream *plain = tls_of(self)->plain;

	plain->ops->peer(plain, dst, cap);
}

static enum bole_status tls_shutdown(struct bole_stream *self)
{
	struct tls *t = tls_of(self);

	(void)mbedtls_ssl_close_notify(&t->ssl);
	return t->plain->ops->shutdown(t->plain);
}

static void tls_close(struct bole_stream *self)
{
	struct tls *t = tls_of(self);

	(void)mbedtls_ssl_close_notify(&t->ssl);
	t->plain->ops->close(t->plain);
	mbedtls_ssl_free(&t->ssl);
	mbedtls_ssl_config_free(&t->config);
	mbedtls_x509_crt_free(&t->trusted);
	free(t);
}

static const struct bole_stream_ops tls_ops = {
        .read = tls_read,
        .writev = tls_writev,
        .set_deadline = tls_set_deadline,
        .hung_up = tls_hung_up,
        .peer = tls_peer,
        .shutdown = tls_shutdown,
        .close = tls_close,
};

/* -- Opening -- */

static bool load_file(struct tls *t, const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t len = 0;

	if (file == NULL)
		return false;
	bool read = bole_cli_read_all(file, &data, &len);
	fclose(file);
	uint8_t *text = read ? realloc(data, len + 1) : NULL;
	if (text == NULL) {
		free(data);
		return false;
	}
	text[len] = '\0'; /* as its parser wants */
	/* A positive result counts certificates of the bundle that it cannot read. */
	bool loaded =
	        mbedtls_x509_crt_parse(&t->trusted, text, len + 1) >= 0 && t->trusted.raw.p != NULL;
	free(text);
	return loaded;
}

static bool load_trusted(struct tls *t, const char *asked, char *why, size_t cap)
{
	const char *path = asked != NULL ? asked : getenv("SSL_CERT_FILE");

	if (path != NULL && path[0] != '\0') {
		if (load_file(t, path))
			return true;
		snprintf(why, cap, "%s: no certificates could be read", path);
		return false;
	}
	for (size_t i = 0; i < sizeof usual_files / sizeof usual_files[0]; i++)
		if (load_file(t, usual_files[i]))
			return true;
	snprintf(why, cap, "no certificates to trust were found; name a file of them: --cacert");
	return false;
}

static bool set_up(struct tls *t, const char *host)
{
	if (psa_crypto_init() != PSA_SUCCESS ||
	    mbedtls_ssl_config_defaults(&t->config, MBEDTLS_SSL_IS_CLIENT,
	                                MBEDTLS_SSL_TRANSPORT_STREAM,
	                                MBEDTLS_SSL_PRESET_DEFAULT) != 0)
		return false;
	mbedtls_ssl_conf_authmode(&t->config, MBEDTLS_SSL_VERIFY_REQUIRED);
	mbedtls_ssl_conf_ca_chain(&t->config, &t->trusted, NULL);
	mbedtls_ssl_conf_rng(&t->config, random_bytes, t->platform);
	if (mbedtls_ssl_setup(&t->ssl, &t->config) != 0 ||
	    mbedtls_ssl_set_hostname(&t->ssl, host) != 0)
		return false;
	mbedtls_ssl_set_bio(&t->ssl, t, plain_send, plain_receive, NULL);
	return true;
}

static enum bole_status shake_hands(struct tls *t, const char *host, char *why, size_t cap)
{
	char text[200];
	int result;

	do {
		result = mbedtls_ssl_handshake(&t->ssl);
	} while (go_on(result));
	if (result == 0)
		return BOLE_OK;
	uint32_t flags = mbedtls_ssl_get_verify_result(&t->ssl);
	if (flags != 0 && flags != UINT32_MAX) {
		mbedtls_x509_crt_verify_info(text, sizeof text, "", flags);
		text[strcspn(text, "\n")] = '\0';
		snprintf(why, cap, "the certificate of %s is not trusted: %s", host, text);
		return BOLE_E_DENIED;
	}
	mbedtls_strerror(result, text, sizeof text);
	snprintf(why, cap, "TLS with %s fails: %s", host,
	         t->rc != BOLE_OK ? bole_status_text(t->rc) : text);
	return status_of(t);
}

enum bole_status bole_tls_open(void *ctx, struct bole_stream *plain, const char *host,
                               struct bole_stream **out, char *why, size_t why_cap)
{
	const struct bole_tls_settings *settings = ctx;
	struct tls *t = calloc(1, sizeof *t);
	enum bole_status rc = BOLE_E_IO;

	*out = NULL;
	if (t == NULL) {
		plain->ops->close(plain);
		snprintf(why, why_cap, "no memory");
		return BOLE_E_NO_MEMORY;
	}
	*t = (struct tls){.stream = {&tls_ops}, .platform = settings->platform, .plain = plain};
	mbedtls_ssl_init(&t->ssl);
	mbedtls_ssl_config_init(&t->config);
	mbedtls_x509_crt_init(&t->trusted);
	if (!load_trusted(t, settings->ca_file, why, why_cap))
		rc = BOLE_E_NOT_FOUND;
	else if (!set_up(t, host))
		snprintf(why, why_cap, "TLS cannot be set up");
	else
		rc = shake_hands(t, host, why, why_cap);
	if (rc == BOLE_OK)
		*out = &t->stream;
	else
		tls_close(&t->stream);
	return rc;
}
