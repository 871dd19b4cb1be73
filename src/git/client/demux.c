/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/remote.h"
#include "git/service/service_impl.h"

/* What belongs to no pack, in a row, must end some day. */
static enum bole_status idle(struct bole_demux *d, size_t text)
{
	d->text_bytes += text;
	if (++d->idle > BOLE_REMOTE_IDLE_MAX || d->text_bytes > BOLE_REMOTE_TEXT_MAX)
		return bole_remote_fail(d->remote, BOLE_E_LIMIT,
		                        "the server talks without end and sends nothing");
	return BOLE_OK;
}

static enum bole_status take_packet(struct bole_demux *d, const struct bole_pkt *pkt)
{
	struct bole_remote *r = d->remote;
	const struct bole_client_options *options = r->options;
	struct bole_bytes text = {pkt->data.ptr + 1, pkt->data.len - 1};
	char shown[300];

	if (pkt->data.ptr[0] == BOLE_BAND_DATA) {
		d->data = text;
		if (text.len > 0)
			d->idle = 0;
		return text.len > 0 ? BOLE_OK : idle(d, 0);
	}
	if (pkt->data.ptr[0] == BOLE_BAND_PROGRESS) {
		if (options->remote_text != NULL && text.len > 0)
			options->remote_text(options->ctx, text);
		return idle(d, text.len);
	}
	if (pkt->data.ptr[0] != BOLE_BAND_ERROR)
		return bole_remote_fail(r, BOLE_E_INVALID, "the server sends in band %u",
		                        pkt->data.ptr[0]);
	if (text.len > 0 && text.ptr[text.len - 1] == '\n')
		text.len--;
	return bole_remote_fail(r, BOLE_E_DENIED, "the server gave up: %s",
	                        bole_printable(shown, sizeof shown, text));
}

static enum bole_status next_packet(struct bole_demux *d)
{
	struct bole_pkt pkt;

	BOLE_TRY(bole_remote_read(d->remote, &pkt));
	if (pkt.type == BOLE_PKT_FLUSH)
		return BOLE_END;
	if (pkt.type != BOLE_PKT_DATA || pkt.data.len == 0)
		return bole_remote_fail(d->remote, BOLE_E_INVALID,
		                        "the server sends a packet out of place");
	return take_packet(d, &pkt);
}

static enum bole_status demux_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	struct bole_demux *d = (struct bole_demux *)self;

	*got = 0;
	while (d->rc == BOLE_OK && d->data.len == 0)
		d->rc = next_packet(d);
	if (d->rc != BOLE_OK)
		return d->rc;
	size_t n = d->data.len < cap ? d->data.len : cap;
	memcpy(dst, d->data.ptr, n);
	d->data.ptr += n;
	d->data.len -= n;
	*got = n;
	return BOLE_OK;
}

void bole_demux_init(struct bole_demux *d, struct bole_remote *r)
{
	*d = (struct bole_demux){.reader = {demux_read}, .remote = r};
}
