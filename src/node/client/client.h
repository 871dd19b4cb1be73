/* SPDX-License-Identifier: ISC */
/* The ways to a server. Private to src/node/client.
 *   url.c     what a URL means
 *   wire.c    a connection with deadlines
 *   proxy.c   the way over a proxy
 *   gitd.c    git://
 *   http.c    smart HTTP: requests, credentials, redirects
 *   download.c  files beside repositories, taken up again when they are cut
 *   answer.c  the head of an HTTP answer, its body
 *   client.c  the public calls */
#ifndef BOLE_NODE_CLIENT_CLIENT_H
#define BOLE_NODE_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "bole/client.h"
#include "git/client/remote.h"
#include "node/http_parse.h"

enum {
	CLIENT_HOST_MAX = 255,
	CLIENT_PATH_MAX = 3000,
	CLIENT_AUTH_MAX = 1024,
	CLIENT_REDIRECTS_MAX = 20, /* as git follows */
	CLIENT_HEAD_MAX = 16 * 1024,
	CLIENT_PROXY_HEAD_MAX = 4 * 1024, /* of what a proxy says to CONNECT */
	CLIENT_RESUMES_MAX = 8,           /* of a file */
	CLIENT_ETAG_MAX = 200,
	CLIENT_INTERIM_MAX = 8,     /* answers 1xx before the real one */
	CLIENT_BODY_HELD = 1 << 20, /* a longer request goes out in chunks */
};

enum client_scheme { CLIENT_GIT, CLIENT_HTTP, CLIENT_HTTPS };

/* All text is checked: host of letters, digits and "-._:", path without blanks and control bytes.
 */
struct client_url {
	enum client_scheme scheme;
	char host[CLIENT_HOST_MAX + 1]; /* without brackets */
	uint16_t port;
	char path[CLIENT_PATH_MAX + 1]; /* begins with '/'; decoded for git:// */
	char auth[CLIENT_AUTH_MAX + 1]; /* "user:password", decoded, or "" */
};
/* BOLE_E_INVALID, BOLE_E_UNSUPPORTED: *why says it. */
BOLE_MUST_USE enum bole_status bole_client_url_parse(const char *text, struct client_url *out,
                                                     const char **why);
/* http:// and https:// only; any path, and a query. */
BOLE_MUST_USE enum bole_status bole_client_url_parse_file(const char *text, struct client_url *out,
                                                          const char **why);
/* Without user and password; the same text for every URL that means the same. */
void bole_client_url_format(const struct client_url *, char *dst, size_t cap);
uint16_t bole_client_url_usual_port(const struct client_url *);
bool bole_client_url_same_origin(const struct client_url *, const struct client_url *);
/* host[:port] as in a Host field; the port only where it is not the usual one. */
void bole_client_url_host(const struct client_url *, char *dst, size_t cap);

/* A connection, or none. */
struct client_wire {
	struct bole_platform *platform;
	const struct bole_client_options *options;
	struct bole_stream *stream;
	struct client_url proxy;
	bool proxied; /* requests name their whole URL: the proxy reads them */
};
BOLE_MUST_USE enum bole_status
bole_client_wire_open(struct client_wire *, const struct client_url *, char *why, size_t why_cap);
void bole_client_wire_close(struct client_wire *);
BOLE_MUST_USE enum bole_status bole_client_wire_read(struct client_wire *, void *dst, size_t cap,
                                                     size_t *got);
BOLE_MUST_USE enum bole_status
bole_client_wire_write(struct client_wire *, const struct bole_bytes *pieces, size_t count);
/* Words for what a stream answered. */
const char *bole_client_wire_text(enum bole_status);

/* -- proxy.c -- */

/* dst has room for twice the length of src. */
void bole_client_base64(const char *src, char *dst);
/* The list, as of the environment, says that the host is asked directly. */
bool bole_client_no_proxy(const char *list, const char *host);
/* The path of *out means nothing. BOLE_E_INVALID, BOLE_E_UNSUPPORTED: *why says it. */
BOLE_MUST_USE enum bole_status bole_client_proxy_parse(const char *text, struct client_url *out,
                                                       const char **why);
/* *any: that for a URL, if there is one. */
BOLE_MUST_USE enum bole_status bole_client_proxy_find(const struct bole_client_options *,
                                                      const struct client_url *,
                                                      struct client_url *out, bool *any, char *why,
                                                      size_t why_cap);
/* A whole field with its credentials, or nothing. */
void bole_client_proxy_field(const struct client_url *proxy, char *dst, size_t cap);
/* Over a connection to the proxy one to the URL's host. */
BOLE_MUST_USE enum bole_status bole_client_proxy_tunnel(struct client_wire *,
                                                        const struct client_url *proxy,
                                                        const struct client_url *, char *why,
                                                        size_t why_cap);

/* -- gitd.c -- */

struct client_gitd {
	struct bole_transport transport;
	struct bole_reader reader;
	struct bole_writer writer;
	struct client_wire wire;
	const struct client_url *url;
};
void bole_client_gitd_init(struct client_gitd *, struct bole_platform *, const struct client_url *,
                           const struct bole_client_options *);

/* -- answer.c -- */

/* All text is borrowed from the head. */
struct client_answer {
	unsigned status;
	unsigned minor;
	struct bole_bytes type; /* without parameters */
	struct bole_bytes location;
	struct bole_bytes retry_after;
	struct bole_bytes etag;
	struct bole_bytes range; /* Content-Range */
	uint64_t length;
	bool has_length;
	bool chunked;
	bool coded; /* in some way that was not asked for */
	bool close;
};
/* head: up to and with its empty line. BOLE_E_INVALID: *why is set. */
BOLE_MUST_USE enum bole_status
bole_client_answer_parse(struct bole_bytes head, struct client_answer *out, const char **why);

/* -- http.c -- */

struct client_http {
	struct bole_transport transport;
	struct bole_reader reader;
	struct bole_writer writer;
	struct client_wire wire;
	struct bole_alloc *alloc;
	const struct bole_client_options *options;
	const struct client_url *first; /* what the caller gave */
	struct client_url url;          /* after redirects */
	const char *service;
	int version;
	struct bole_buffer body; /* of a request that may stay small */
	bool streaming;          /* it did not */
	bool file;               /* the URL is that of a file, not of a repository */
	bool broken;             /* the server stopped reading */
	/* The answer at hand. */
	uint8_t in[CLIENT_HEAD_MAX];
	size_t in_pos;
	size_t in_len;
	struct client_answer answer;
	struct bole_http_chunks chunks;
	uint64_t left;
	bool ended; /* its body was read whole */
	enum bole_status rc;
};
void bole_client_http_init(struct client_http *, struct bole_platform *, struct bole_alloc *,
                           const struct client_url *, const struct bole_client_options *);
/* One request without a body, and the head of its answer. tail is part of the URL, fields are
 * whole.
 */
BOLE_MUST_USE enum bole_status bole_client_http_get(struct client_http *, const char *tail,
                                                    const char *fields);
/* Whether that is a redirect, and where it leads: the URL without the tail. */
bool bole_client_http_redirects(const struct client_http *);
BOLE_MUST_USE enum bole_status bole_client_http_redirect(struct client_http *, const char *tail,
                                                         struct client_url *out);
/* answer.c: reads the head of an answer into h->answer; then the reader gives its body. */
BOLE_MUST_USE enum bole_status bole_client_http_read_head(struct client_http *);
enum bole_status bole_client_http_fail(struct client_http *, enum bole_status, const char *format,
                                       ...) __attribute__((format(printf, 3, 4)));
BOLE_MUST_USE enum bole_status bole_client_http_read_body(struct client_http *, void *dst,
                                                          size_t cap, size_t *got);

/* -- download.c -- */

struct client_download {
	struct bole_download download;
	struct bole_reader reader;
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	const struct bole_client_options *of_repository;
	const struct client_url *repository;
	struct bole_client_options options;
	struct client_url first;
	struct client_http http;
	uint64_t at;
	uint64_t total; /* 0: not known */
	unsigned tries;
	char etag[CLIENT_ETAG_MAX];
	enum bole_status rc;
};
void bole_client_download_init(struct client_download *, struct bole_platform *,
                               struct bole_alloc *, const struct client_url *repository,
                               const struct bole_client_options *);

#endif /* BOLE_NODE_CLIENT_CLIENT_H */
