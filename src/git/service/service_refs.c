/* SPDX-License-Identifier: ISC */
/* The advertisement of protocol versions 0 and 1. */
#include "base/bytes.h"
#include "base/check.h"
#include "git/refs/listing.h"

/* Without a reference the capabilities still need a line. */
static void advertise_none(struct bole_session *s, const char *caps)
{
	struct bole_oid none = {.algo = s->svc->repo.algo};
	struct bole_pkt_line line;

	bole_pkt_line_init(&line);
	bole_pkt_line_oid(&line, &none);
	bole_pkt_line_text(&line, " capabilities^{}");
	bole_pkt_line_bytes(&line, bole_bytes_of("", 1));
	bole_pkt_line_text(&line, caps);
	bole_pkt_line_text(&line, "\n");
	bole_pkt_line_write(&line, s->svc->out);
}

enum bole_status bole_advertise_refs(struct bole_session *s, const char *caps, bool upload)
{
	const struct bole_ref_format format = {
	        .style = upload ? BOLE_REF_STYLE_UPLOAD : BOLE_REF_STYLE_RECEIVE,
	};
	struct bole_bytes all = bole_bytes_of("", 0);
	bool any = false;

	if (s->svc->version == 1)
		bole_pkt_text(s->svc->out, "version 1\n");
	if (s->snapshot != NULL)
		BOLE_TRY(bole_refs_show(s, &format, &all, 1, caps, &any));
	if (!any)
		advertise_none(s, caps);
	bole_pkt_flush(s->svc->out);
	return bole_session_flush(s);
}
