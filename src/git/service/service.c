/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/object/object.h"
#include "git/pack/cache.h"
#include "git/service/service_impl.h"

enum {
	READER_CACHE_BYTES = 1 << 20,       /* only commits and tags are read here */
	READER_OBJECT_BYTES_MAX = 16 << 20, /* of a commit or tag */
	TICKS_PER_YIELD = 32,
};

enum bole_status bole_session_open_view(struct bole_session *s, struct bole_service *svc)
{
	*s = (struct bole_session){.svc = svc};
	bole_pkt_reader_init(&s->pkt, svc->in, svc->alloc);
	if (svc->repo.id == 0 && svc->advertise) /* not there yet: nothing to look at */
		return BOLE_OK;
	s->changes = bole_pack_cache_changes(svc->packs, svc->repo.id);
	enum bole_status rc = bole_snapshot_open(svc->store, svc->repo.id, &s->snapshot);
	if (rc == BOLE_OK)
		rc = bole_promise_any(s->snapshot, &s->partial);
	return bole_session_check(s, rc, "cannot open the repository");
}

enum bole_status bole_session_open(struct bole_session *s, struct bole_service *svc)
{
	BOLE_TRY(bole_session_open_view(s, svc));
	return bole_session_ends(s);
}

enum bole_status bole_session_ends(struct bole_session *s)
{
	if (s->snapshot == NULL || s->boundary.platform != NULL)
		return BOLE_OK;
	return bole_session_check(s, bole_session_boundary(s, s->snapshot),
	                          "cannot open the repository");
}

enum bole_status bole_session_boundary(struct bole_session *s, struct bole_snapshot *view)
{
	if (s->boundary.platform == NULL)
		bole_boundary_init(&s->boundary, s->svc->platform, s->svc->alloc,
		                   s->svc->repo.algo);
	return bole_boundary_load(&s->boundary, view);
}

void bole_session_close(struct bole_session *s)
{
	bole_session_drop_reader(s);
	bole_snapshot_close(s->snapshot);
	bole_boundary_release(&s->boundary);
	if (s->band_open)
		bole_sideband_close(&s->band);
	bole_pkt_reader_release(&s->pkt);
}

enum bole_status bole_session_yield(struct bole_session *s)
{
	struct bole_service *svc = s->svc;

	svc->platform->ops->yield(svc->platform);
	if (svc->cancelled != NULL && svc->cancelled(svc->cancelled_ctx))
		return BOLE_E_CLOSED;
	return BOLE_OK;
}

enum bole_status bole_session_tick(struct bole_session *s)
{
	return ++s->ticks % TICKS_PER_YIELD == 0 ? bole_session_yield(s) : BOLE_OK;
}

enum bole_status bole_session_read(struct bole_session *s, struct bole_pkt *out)
{
	enum bole_status rc = bole_session_tick(s);

	if (rc == BOLE_OK)
		rc = bole_pkt_read(&s->pkt, out);
	if (rc == BOLE_E_INVALID)
		return bole_session_refuse(s, rc, "protocol error: %s", s->pkt.why);
	if (rc == BOLE_E_NO_MEMORY)
		return bole_session_refuse(s, rc, "out of memory for this request");
	if (rc != BOLE_OK)
		return rc;
	if (++s->lines > BOLE_REQUEST_LINES_MAX)
		return bole_session_refuse(s, BOLE_E_LIMIT, "too many lines in one request");
	return BOLE_OK;
}

const char *bole_session_id(struct bole_session *s, const char *before,
                            char dst[BOLE_SESSION_ID_MAX + 1])
{
	uint8_t random[8];

	dst[0] = '\0';
	if (!s->svc->policy->fetch.session_id)
		return dst;
	s->svc->platform->ops->random(s->svc->platform, random, sizeof random);
	snprintf(dst, BOLE_SESSION_ID_MAX + 1, "%s%016" PRIx64, before, bole_get_be64(random));
	return dst;
}

const char *bole_printable(char *dst, size_t cap, struct bole_bytes src)
{
	size_t n = src.len < cap - 1 ? src.len : cap - 1;

	for (size_t i = 0; i < n; i++)
		dst[i] = src.ptr[i] > 32 && src.ptr[i] < 127 ? (char)src.ptr[i]
		         : src.ptr[i] == ' '                 ? ' '
		                                             : '?';
	dst[n] = '\0';
	return dst;
}

enum bole_status bole_session_refuse(struct bole_session *s, enum bole_status rc,
                                     const char *format, ...)
{
	char text[400];
	va_list args;

	if (s->refused)
		return rc;
	s->refused = true;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	bole_log(s->svc->platform, BOLE_LOG_WARN, "git: %s: %s: refused: %s",
	         s->svc->peer == NULL ? "-" : s->svc->peer, s->svc->repo.name, text);
	if (s->band_open && s->band.mode != BOLE_SIDEBAND_NONE) {
		char line[sizeof text + 1];
		snprintf(line, sizeof line, "%s\n", text);
		bole_sideband_error(&s->band, line);
	} else if (!s->band_open) {
		struct bole_pkt_line line;
		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, s->band_all ? "\3" : "ERR ");
		bole_pkt_line_text(&line, text);
		bole_pkt_line_write(&line, s->svc->out);
	}
	(void)bole_output_flush(s->svc->out); /* the peer may be gone: nothing more to do */
	return rc;
}

enum bole_status bole_session_check(struct bole_session *s, enum bole_status rc, const char *what)
{
	if (rc >= 0 || rc == BOLE_E_CLOSED || rc == BOLE_E_TIMEOUT || s->svc->out->rc < 0)
		return rc;
	if (rc == BOLE_E_GONE)
		return bole_session_refuse(s, rc,
		                           "%s: the volume is full and needed the space of "
		                           "what this request reads: try again",
		                           what);
	return bole_session_refuse(s, rc, "%s: %s", what, bole_status_text(rc));
}

void bole_session_drain(struct bole_session *s)
{
	uint64_t dropped = 0;

	while (dropped < BOLE_DRAIN_BYTES_MAX && bole_session_tick(s) == BOLE_OK) {
		struct bole_bytes have;
		if (bole_input_peek(s->svc->in, &have) != BOLE_OK)
			return;
		bole_input_take(s->svc->in, have.len);
		dropped += have.len;
	}
}

enum bole_status bole_session_flush(struct bole_session *s)
{
	return bole_output_flush(s->svc->out);
}

void bole_session_line(struct bole_session *s, struct bole_pkt_line *line)
{
	bole_pkt_line_init(line);
	if (s->band_all)
		bole_pkt_line_text(line, "\1");
}

void bole_session_text(struct bole_session *s, const char *text)
{
	struct bole_pkt_line line;

	bole_session_line(s, &line);
	bole_pkt_line_text(&line, text);
	bole_pkt_line_write(&line, s->svc->out);
}

enum bole_status bole_session_reader(struct bole_session *s, struct bole_snapshot *view,
                                     struct bole_object_reader **out)
{
	struct bole_object_reader_options options = {.cache_bytes = READER_CACHE_BYTES,
	                                             .object_bytes_max = READER_OBJECT_BYTES_MAX};

	if (s->reader == NULL)
		BOLE_TRY(bole_object_reader_open(view, s->svc->alloc, &options, &s->reader));
	*out = s->reader;
	return BOLE_OK;
}

void bole_session_drop_reader(struct bole_session *s)
{
	if (s->reader != NULL)
		bole_object_reader_close(s->reader);
	s->reader = NULL;
}

enum bole_status bole_session_peel(struct bole_session *s, struct bole_snapshot *view,
                                   const struct bole_oid *oid, struct bole_oid *out, uint8_t *type)
{
	struct bole_object_reader *reader;
	struct bole_oid at = *oid;

	BOLE_TRY(bole_session_reader(s, view, &reader));
	for (;;) {
		struct bole_entry entry;
		struct bole_bytes data;
		struct bole_tag tag;

		BOLE_TRY(bole_session_tick(s));
		BOLE_TRY(bole_odb_find(view, &at, &entry));
		*out = at;
		*type = entry.type;
		if (entry.type != BOLE_OBJECT_TAG)
			return BOLE_OK;
		if (++s->peel_steps > BOLE_PEEL_STEPS_MAX)
			return BOLE_E_LIMIT;
		BOLE_TRY(bole_object_read_entry(reader, &entry, &data));
		BOLE_TRY(bole_tag_parse(data, s->svc->repo.algo, &tag));
		at = tag.target;
	}
}

bool bole_caps_next(struct bole_bytes *rest, struct bole_bytes *word)
{
	while (rest->len > 0 && (*rest->ptr == ' ' || *rest->ptr == '\n')) {
		rest->ptr++;
		rest->len--;
	}
	if (rest->len == 0)
		return false;
	const uint8_t *space = memchr(rest->ptr, ' ', rest->len);
	size_t len = space == NULL ? rest->len : (size_t)(space - rest->ptr);
	*word = bole_bytes_of(rest->ptr, len);
	rest->ptr += len;
	rest->len -= len;
	if (word->ptr[word->len - 1] == '\n')
		word->len--;
	return true;
}

bool bole_caps_value(struct bole_bytes word, const char *name, struct bole_bytes *value)
{
	size_t len = strlen(name);

	if (word.len <= len || memcmp(word.ptr, name, len) != 0 || word.ptr[len] != '=')
		return false;
	*value = bole_bytes_of(word.ptr + len + 1, word.len - len - 1);
	return true;
}
