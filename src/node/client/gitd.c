/* SPDX-License-Identifier: ISC */
/* git:// (gitprotocol-pack(5), "Git Transport"): one request line, then the service's own stream.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/client/client.h"

static struct client_gitd *gitd_of(struct bole_transport *transport)
{
	return (struct client_gitd *)(void *)transport;
}

static enum bole_status failed(struct client_gitd *g, enum bole_status rc)
{
	snprintf(g->transport.why, sizeof g->transport.why, "%s", bole_client_wire_text(rc));
	return rc;
}

static enum bole_status gitd_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	struct client_gitd *g =
	        (struct client_gitd *)(void *)((uint8_t *)self -
	                                       offsetof(struct client_gitd, reader));

	enum bole_status rc = bole_client_wire_read(&g->wire, dst, cap, got);
	return rc >= 0 ? rc : failed(g, rc);
}

static enum bole_status gitd_write(struct bole_writer *self, const void *src, size_t len)
{
	struct client_gitd *g =
	        (struct client_gitd *)(void *)((uint8_t *)self -
	                                       offsetof(struct client_gitd, writer));
	struct bole_bytes piece = bole_bytes_of(src, len);

	enum bole_status rc = bole_client_wire_write(&g->wire, &piece, 1);
	return rc >= 0 ? rc : failed(g, rc);
}

static enum bole_status gitd_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

/* "git-upload-pack /path\0host=example.org\0" and, behind another NUL, the version. */
static enum bole_status send_line(struct client_gitd *g, const char *service, int version)
{
	uint8_t line[CLIENT_PATH_MAX + CLIENT_HOST_MAX + 128];
	char host[CLIENT_HOST_MAX + 16];
	char head[5];

	bole_client_url_host(g->url, host, sizeof host);
	int len = snprintf((char *)line + 4, sizeof line - 4, "%s %s", service, g->url->path);
	size_t at = 4 + (size_t)len + 1;
	len = snprintf((char *)line + at, sizeof line - at, "host=%s", host);
	at += (size_t)len + 1;
	if (version > 0) {
		line[at++] = '\0';
		len = snprintf((char *)line + at, sizeof line - at, "version=%d", version);
		at += (size_t)len + 1;
	}
	snprintf(head, sizeof head, "%04x", (unsigned)at);
	memcpy(line, head, 4);
	struct bole_bytes piece = bole_bytes_of(line, at);
	enum bole_status rc = bole_client_wire_write(&g->wire, &piece, 1);
	return rc == BOLE_OK ? rc : failed(g, rc);
}

static enum bole_status gitd_open(struct bole_transport *self, const char *service, int version,
                                  struct bole_reader **in)
{
	struct client_gitd *g = gitd_of(self);

	self->why[0] = '\0';
	BOLE_TRY(bole_client_wire_open(&g->wire, g->url, self->why, sizeof self->why));
	*in = &g->reader;
	return send_line(g, service, version);
}

static enum bole_status gitd_request(struct bole_transport *self, struct bole_writer **out)
{
	*out = &gitd_of(self)->writer;
	return BOLE_OK;
}

static enum bole_status gitd_answer(struct bole_transport *self, struct bole_reader **in)
{
	*in = &gitd_of(self)->reader;
	return BOLE_OK;
}

static void gitd_end(struct bole_transport *self)
{
	bole_client_wire_close(&gitd_of(self)->wire);
}

void bole_client_gitd_init(struct client_gitd *g, struct bole_platform *platform,
                           const struct client_url *url, const struct bole_client_options *options)
{
	static const struct bole_transport_ops ops = {
	        .open = gitd_open, .request = gitd_request, .answer = gitd_answer, .end = gitd_end};

	*g = (struct client_gitd){.transport = {.ops = &ops},
	                          .reader = {gitd_read},
	                          .writer = {.write = gitd_write, .flush = gitd_flush},
	                          .wire = {.platform = platform, .options = options},
	                          .url = url};
}
