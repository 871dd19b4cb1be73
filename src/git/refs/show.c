/* SPDX-License-Identifier: ISC */
/* References to the client: from a listing that is kept, or one after the other. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/refs/cache.h"

struct shower {
	struct bole_session *s;
	const struct bole_ref_format *format;
	const char *caps; /* for the first line, until it is out */
	bool any;
};

/* The first line has the capabilities behind its name. */
static size_t first_line(struct shower *w, const uint8_t *line)
{
	size_t len = bole_ref_line_bytes(line);
	struct bole_pkt_line packet;

	bole_pkt_line_init(&packet);
	bole_pkt_line_bytes(
	        &packet, bole_bytes_of(line + BOLE_PKT_HEAD_BYTES, len - BOLE_PKT_HEAD_BYTES - 1));
	bole_pkt_line_bytes(&packet, bole_bytes_of("", 1));
	bole_pkt_line_text(&packet, w->caps);
	bole_pkt_line_text(&packet, "\n");
	bole_pkt_line_write(&packet, w->s->svc->out);
	w->caps = NULL;
	return len;
}

static enum bole_status write_lines(struct shower *w, struct bole_bytes text)
{
	size_t at = 0;

	if (text.len == 0)
		return BOLE_OK;
	w->any = true;
	if (w->caps != NULL)
		at = first_line(w, text.ptr);
	bole_output_write(w->s->svc->out, text.ptr + at, text.len - at);
	return w->s->svc->out->rc;
}

/* Of the lines from `at` on, those whose names start with prefix. */
static size_t matching(struct bole_bytes text, size_t at, struct bole_bytes prefix)
{
	while (at < text.len) {
		struct bole_bytes line = bole_bytes_of(text.ptr + at, text.len - at);
		if (!bole_bytes_start(bole_ref_line_name(line), prefix))
			break;
		at += bole_ref_line_bytes(line.ptr);
	}
	return at;
}

static enum bole_status show_kept(struct shower *w, const struct bole_ref_listing *listing,
                                  struct bole_bytes prefix)
{
	size_t at = 0;
	size_t i = 0;

	bole_ref_listing_seek(listing, prefix, &i, &at);
	for (; i < listing->count; i++, at = 0) {
		struct bole_bytes text = bole_ref_piece_text(listing->pieces[i]);
		/* What lies between two names that start with it does, too. */
		bool whole =
		        prefix.len == 0 ||
		        (i + 1 < listing->count &&
		         bole_bytes_start(bole_ref_piece_bound(listing->pieces[i + 1]), prefix));
		size_t end = whole ? text.len : matching(text, at, prefix);

		BOLE_TRY(write_lines(w, bole_bytes_of(text.ptr + at, end - at)));
		if (end < text.len)
			break;
		BOLE_TRY(bole_session_tick(w->s));
	}
	return BOLE_OK;
}

static enum bole_status show_each(struct shower *w, struct bole_bytes prefix)
{
	struct bole_session *s = w->s;
	struct bole_bytes after = bole_bytes_of("", 0);
	uint8_t line[BOLE_REF_LINES_BYTES];
	struct bole_ref ref;
	enum bole_status rc;

	while ((rc = bole_ref_view_next(&s->refs, s->snapshot, prefix, after, &ref)) == BOLE_OK) {
		size_t len = 0;
		after = ref.name;
		BOLE_TRY(bole_ref_lines(s, w->format, &ref, line, &len));
		BOLE_TRY(write_lines(w, bole_bytes_of(line, len)));
		BOLE_TRY(bole_session_tick(s));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_refs_show(struct bole_session *s, const struct bole_ref_format *format,
                                const struct bole_bytes *prefixes, size_t count, const char *caps,
                                bool *any)
{
	struct shower w = {.s = s, .format = format, .caps = caps};
	struct bole_ref_listing *listing = NULL;
	enum bole_status rc = bole_ref_cache_get(s, format, &listing);

	for (size_t i = 0; i < count && rc == BOLE_OK; i++) {
		rc = listing != NULL ? show_kept(&w, listing, prefixes[i])
		                     : show_each(&w, prefixes[i]);
		if (rc == BOLE_OK)
			rc = bole_session_tick(s);
	}
	bole_ref_listing_release(listing);
	*any = w.any;
	return rc;
}
