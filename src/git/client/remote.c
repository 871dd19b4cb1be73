/* SPDX-License-Identifier: ISC */
#include "git/client/remote.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/service/service_impl.h"

enum { TEXT_CHUNK_BYTES = 16 * 1024, SERVER_OPTION_MAX = 1000 };

enum bole_status bole_remote_open(struct bole_remote *r, struct bole_platform *platform,
                                  struct bole_alloc *alloc, struct bole_transport *transport,
                                  const struct bole_client_options *options)
{
	*r = (struct bole_remote){.platform = platform,
	                          .alloc = alloc,
	                          .transport = transport,
	                          .options = options,
	                          .algo = BOLE_HASH_SHA1};
	bole_arena_init(&r->text, alloc, TEXT_CHUNK_BYTES);
	r->buffers = bole_alloc_array(alloc, 2, BOLE_REMOTE_BUFFER);
	return r->buffers == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
}

static void reading_end(struct bole_remote *r)
{
	if (r->reading)
		bole_pkt_reader_release(&r->pkt);
	r->reading = false;
}

void bole_remote_close(struct bole_remote *r)
{
	if (r->transport == NULL)
		return;
	r->transport->ops->end(r->transport);
	reading_end(r);
	bole_alloc_free(r->alloc, r->refs, r->ref_cap, sizeof *r->refs);
	if (r->extra_open)
		bole_id_list_release(&r->extra);
	if (r->shallow_open)
		bole_id_list_release(&r->shallow);
	bole_arena_release(&r->text);
	bole_alloc_free(r->alloc, r->buffers, 2, BOLE_REMOTE_BUFFER);
	r->transport = NULL;
}

enum bole_status bole_remote_fail(struct bole_remote *r, enum bole_status rc, const char *format,
                                  ...)
{
	va_list args;

	if (r->error[0] != '\0')
		return rc;
	va_start(args, format);
	vsnprintf(r->error, sizeof r->error, format, args);
	va_end(args);
	return rc;
}

void bole_remote_warn(struct bole_remote *r, const char *format, ...)
{
	char text[BOLE_REMOTE_ERROR_MAX];
	va_list args;

	if (r->options->warning == NULL)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	r->options->warning(r->options->ctx, text);
}

/* What the transport could not do, in its words. */
static enum bole_status failed(struct bole_remote *r, enum bole_status rc)
{
	const char *why = r->transport->why;

	return bole_remote_fail(r, rc, "%s", why[0] != '\0' ? why : bole_status_text(rc));
}

static void read_from(struct bole_remote *r, struct bole_reader *reader)
{
	/* A stream that goes on keeps what was read ahead. */
	if (r->reading && !r->transport->stateless)
		return;
	reading_end(r);
	bole_input_init(&r->in, reader, r->buffers, BOLE_REMOTE_BUFFER);
	bole_pkt_reader_init(&r->pkt, &r->in, r->alloc);
	r->reading = true;
}

static enum bole_status check_options(struct bole_remote *r)
{
	const struct bole_client_options *o = r->options;

	if (o->server_option_count > 0 && (r->version != 2 || !r->caps.server_option))
		return bole_remote_fail(r, BOLE_E_UNSUPPORTED,
		                        "the server takes no server options (version %d)",
		                        r->version);
	for (size_t i = 0; i < o->server_option_count; i++)
		if (strlen(o->server_options[i]) > SERVER_OPTION_MAX ||
		    strchr(o->server_options[i], '\n') != NULL)
			return bole_remote_fail(r, BOLE_E_INVALID,
			                        "a server option is too long or has a line end");
	return BOLE_OK;
}

enum bole_status bole_remote_connect(struct bole_remote *r, const char *service, int version)
{
	struct bole_reader *reader = NULL;

	reading_end(r);
	enum bole_status rc = r->transport->ops->open(r->transport, service, version, &reader);
	if (rc != BOLE_OK)
		return failed(r, rc);
	read_from(r, reader);
	BOLE_TRY(bole_remote_advert(r));
	return strcmp(service, "git-upload-pack") == 0 ? check_options(r) : BOLE_OK;
}

enum bole_status bole_remote_request(struct bole_remote *r)
{
	struct bole_writer *writer = NULL;

	enum bole_status rc = r->transport->ops->request(r->transport, &writer);
	if (rc != BOLE_OK)
		return failed(r, rc);
	bole_output_init(&r->out, writer, r->buffers + BOLE_REMOTE_BUFFER, BOLE_REMOTE_BUFFER);
	return BOLE_OK;
}

enum bole_status bole_remote_answer(struct bole_remote *r)
{
	struct bole_reader *reader = NULL;
	enum bole_status rc = bole_output_flush(&r->out);

	/* A server that refuses may have hung up while it was written to: it may have said why. */
	enum bole_status got = BOLE_OK;
	if (rc == BOLE_OK || rc == BOLE_E_CLOSED)
		got = r->transport->ops->answer(r->transport, &reader);
	if (got != BOLE_OK)
		return failed(r, got);
	if (rc != BOLE_OK && (rc != BOLE_E_CLOSED || r->transport->stateless))
		return failed(r, rc);
	read_from(r, reader);
	return BOLE_OK;
}

enum bole_status bole_remote_read_end(struct bole_remote *r, struct bole_pkt *out)
{
	struct bole_bytes text;
	char shown[300];

	enum bole_status rc = bole_pkt_read(&r->pkt, out);
	if (rc == BOLE_END)
		return rc;
	if (rc == BOLE_E_INVALID)
		return bole_remote_fail(r, rc, "the server does not speak the protocol: %s",
		                        r->pkt.why);
	if (rc != BOLE_OK)
		return failed(r, rc);
	if (out->type == BOLE_PKT_DATA && bole_pkt_word(out->line, "ERR", &text))
		return bole_remote_fail(r, BOLE_E_DENIED, "the server says: %s",
		                        bole_printable(shown, sizeof shown, text));
	return BOLE_OK;
}

/* Takes the band off a packet (sideband-all). BOLE_AGAIN: there was nothing else in it. */
static enum bole_status take_band(struct bole_remote *r, struct bole_pkt *pkt)
{
	const struct bole_client_options *options = r->options;
	char shown[300];

	if (!r->banded || pkt->type != BOLE_PKT_DATA)
		return BOLE_OK;
	unsigned band = pkt->data.len == 0 ? 0 : pkt->data.ptr[0];
	if (pkt->data.len > 0) {
		pkt->data = bole_bytes_of(pkt->data.ptr + 1, pkt->data.len - 1);
		if (pkt->line.len > 0)
			pkt->line = bole_bytes_of(pkt->line.ptr + 1, pkt->line.len - 1);
	}
	if (band == BOLE_BAND_DATA)
		return BOLE_OK;
	if (band == BOLE_BAND_ERROR)
		return bole_remote_fail(r, BOLE_E_DENIED, "the server gave up: %s",
		                        bole_printable(shown, sizeof shown, pkt->line));
	if (band != BOLE_BAND_PROGRESS)
		return bole_remote_fail(r, BOLE_E_INVALID, "the server sends in band %u", band);
	r->band_text += pkt->data.len + 1;
	if (r->band_text > BOLE_REMOTE_TEXT_MAX)
		return bole_remote_fail(r, BOLE_E_LIMIT,
		                        "the server talks without end and sends nothing");
	if (options->remote_text != NULL && pkt->data.len > 0)
		options->remote_text(options->ctx, pkt->data);
	return BOLE_AGAIN;
}

enum bole_status bole_remote_read(struct bole_remote *r, struct bole_pkt *out)
{
	enum bole_status rc;

	do {
		rc = bole_remote_read_end(r, out);
		if (rc == BOLE_OK)
			rc = take_band(r, out);
	} while (rc == BOLE_AGAIN);
	if (rc == BOLE_END)
		return bole_remote_fail(r, BOLE_E_CLOSED,
		                        "the server ended the conversation early");
	return rc;
}
