/* SPDX-License-Identifier: ISC */
/* The advertisement of protocol versions 0 and 1. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/refs/listing.h"

enum { HAVE_LINES_MAX = 1024 };

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

/* ".have": what a push into a namespace need not send, because references beside it have it. They
 * are not named; "^" among the hidden patterns keeps them quiet. */
static enum bole_status advertise_beside(struct bole_session *s, const char *caps, bool *any)
{
	struct bole_bytes space = bole_ref_view_space(&s->refs);
	struct bole_ref_view beside = {.hide = s->refs.hide, .hide_count = s->refs.hide_count};
	char behind[BOLE_NAMESPACE_MAX + 1]; /* all names of the namespace */
	struct bole_bytes after = bole_bytes_of("", 0);
	struct bole_pkt_line line;
	struct bole_ref ref;

	memcpy(behind, space.ptr, space.len);
	behind[space.len] = '~'; /* is in no name */
	for (unsigned lines = 0; lines < HAVE_LINES_MAX;) {
		enum bole_status rc = bole_ref_view_next(&beside, s->snapshot,
		                                         bole_bytes_z("refs/"), after, &ref);
		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_OK : rc;
		BOLE_TRY(bole_session_tick(s));
		after = ref.name;
		if (bole_bytes_start(ref.name, space)) {
			after = bole_bytes_of(behind, space.len + 1);
		} else if (!ref.symbolic) {
			bole_pkt_line_init(&line);
			bole_pkt_line_oid(&line, &ref.oid);
			bole_pkt_line_text(&line, " .have");
			bole_pkt_line_bytes(&line, bole_bytes_of("", *any ? 0 : 1));
			bole_pkt_line_text(&line, *any ? "\n" : caps);
			bole_pkt_line_text(&line, *any ? "" : "\n");
			bole_pkt_line_write(&line, s->svc->out);
			*any = true;
			lines++;
		}
	}
	return BOLE_OK;
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
	if (s->snapshot != NULL && !upload && bole_ref_view_space(&s->refs).len > 0)
		BOLE_TRY(advertise_beside(s, caps, &any));
	if (!any)
		advertise_none(s, caps);
	for (size_t i = 0; any && i < s->boundary.ends.count; i++) {
		struct bole_pkt_line line;

		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, "shallow ");
		bole_pkt_line_oid(&line, &s->boundary.ends.ids[i]);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, s->svc->out);
		BOLE_TRY(bole_session_tick(s));
	}
	bole_pkt_flush(s->svc->out);
	return bole_session_flush(s);
}
