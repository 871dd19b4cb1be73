/* SPDX-License-Identifier: ISC */
#include "git/wire/sideband.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/wire/pkt_line.h"

enum {
	BAND_HEAD = BOLE_PKT_HEAD_BYTES + 1,
	DIRECT_MIN = 16 * 1024, /* a piece so long ends the packet, uncopied */
	PROGRESS_EVERY_NS = 500 * 1000 * 1000,
};
#define KEEPALIVE_NS UINT64_C(5000000000)

static size_t payload_max(const struct bole_sideband *band)
{
	return (size_t)band->mode - BAND_HEAD;
}

/* One packet of two pieces. */
static void send_both(struct bole_sideband *band, uint8_t number, struct bole_bytes first,
                      struct bole_bytes rest)
{
	uint8_t head[BAND_HEAD];

	BOLE_ASSERT(first.len + rest.len <= payload_max(band));
	bole_pkt_head(head, first.len + rest.len + 1);
	head[BOLE_PKT_HEAD_BYTES] = number;
	bole_output_write(band->out, head, sizeof head);
	bole_output_write(band->out, first.ptr, first.len);
	bole_output_write(band->out, rest.ptr, rest.len);
	band->sent_ns = band->platform->ops->now_ns(band->platform);
}

static void send_band(struct bole_sideband *band, uint8_t number, const void *src, size_t len)
{
	send_both(band, number, bole_bytes_of(src, len), bole_bytes_of("", 0));
}

void bole_sideband_push(struct bole_sideband *band)
{
	if (band->len == 0)
		return;
	send_band(band, BOLE_BAND_DATA, band->buf, band->len);
	band->len = 0;
}

static enum bole_status band_write(struct bole_writer *self, const void *src, size_t len)
{
	struct bole_sideband *band = (struct bole_sideband *)self;
	const uint8_t *p = src;

	if (band->mode == BOLE_SIDEBAND_NONE) {
		bole_output_write(band->out, src, len);
		return band->out->rc;
	}
	while (len > 0) {
		size_t room = band->cap - band->len;
		size_t n = len < room ? len : room;

		if (len >= DIRECT_MIN || len >= band->cap) {
			send_both(band, BOLE_BAND_DATA, bole_bytes_of(band->buf, band->len),
			          bole_bytes_of(p, n));
			band->len = 0;
		} else {
			memcpy(band->buf + band->len, p, n);
			band->len += n;
			if (band->len == band->cap)
				bole_sideband_push(band);
		}
		p += n;
		len -= n;
	}
	return band->out->rc;
}

static enum bole_status band_flush(struct bole_writer *self)
{
	struct bole_sideband *band = (struct bole_sideband *)self;

	bole_sideband_push(band);
	return bole_output_flush(band->out);
}

enum bole_status bole_sideband_open(struct bole_sideband *band, struct bole_output *out,
                                    struct bole_platform *platform, struct bole_alloc *alloc,
                                    enum bole_sideband_mode mode, bool quiet)
{
	uint64_t now = platform->ops->now_ns(platform);

	*band = (struct bole_sideband){.writer = {.write = band_write, .flush = band_flush},
	                               .out = out,
	                               .platform = platform,
	                               .alloc = alloc,
	                               .mode = mode,
	                               .quiet = quiet,
	                               .sent_ns = now,
	                               .shown_ns = now};
	if (mode == BOLE_SIDEBAND_NONE)
		return BOLE_OK;
	band->cap = payload_max(band);
	band->buf = bole_alloc_array(alloc, band->cap, 1);
	return band->buf == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
}

void bole_sideband_close(struct bole_sideband *band)
{
	if (band->alloc != NULL)
		bole_alloc_free(band->alloc, band->buf, band->buf == NULL ? 0 : band->cap, 1);
	band->buf = NULL;
	band->len = 0;
}

static void send_text(struct bole_sideband *band, uint8_t number, const char *text)
{
	if (band->mode == BOLE_SIDEBAND_NONE)
		return;
	bole_sideband_push(band);
	size_t len = strlen(text);
	while (len > 0) {
		size_t n = len < payload_max(band) ? len : payload_max(band);
		send_band(band, number, text, n);
		text += n;
		len -= n;
	}
	(void)bole_output_flush(band->out); /* sticky in out->rc */
}

void bole_sideband_progress(struct bole_sideband *band, const char *text)
{
	if (!band->quiet)
		send_text(band, BOLE_BAND_PROGRESS, text);
}

void bole_sideband_say(struct bole_sideband *band, const char *text)
{
	send_text(band, BOLE_BAND_PROGRESS, text);
}

void bole_sideband_error(struct bole_sideband *band, const char *text)
{
	send_text(band, BOLE_BAND_ERROR, text);
}

static void show(struct bole_sideband *band, const char *end)
{
	char text[160];

	if (band->phase_total > 0)
		snprintf(text, sizeof text, "%s: %3" PRIu64 "%% (%" PRIu64 "/%" PRIu64 ")%s",
		         band->phase_text, band->phase_done * 100 / band->phase_total,
		         band->phase_done, band->phase_total, end);
	else
		snprintf(text, sizeof text, "%s: %" PRIu64 "%s", band->phase_text, band->phase_done,
		         end);
	bole_sideband_progress(band, text);
}

void bole_sideband_phase_end(struct bole_sideband *band)
{
	if (band->phase_open)
		show(band, ", done.\n");
	band->phase_open = false;
}

static void keep_alive(struct bole_sideband *band, uint64_t now)
{
	if (now - band->sent_ns < KEEPALIVE_NS)
		return;
	bole_sideband_push(band);
	send_band(band, BOLE_BAND_DATA, "", 0);
	(void)bole_output_flush(band->out); /* sticky in out->rc */
}

void bole_sideband_on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	struct bole_sideband *band = ctx;
	uint64_t now = band->platform->ops->now_ns(band->platform);

	if (band->mode == BOLE_SIDEBAND_NONE)
		return;
	if (band->quiet) {
		keep_alive(band, now);
		return;
	}
	if (strncmp(band->phase_text, phase, sizeof band->phase_text - 1) != 0) {
		bole_sideband_phase_end(band);
		snprintf(band->phase_text, sizeof band->phase_text, "%s", phase);
		band->phase_open = true;
		band->shown_ns = now;
	}
	if (!band->phase_open)
		return; /* closed already */
	band->phase_done = total > 0 && done > total ? total : done;
	band->phase_total = total;
	if (total > 0 && band->phase_done == total) {
		bole_sideband_phase_end(band);
	} else if (now - band->shown_ns >= PROGRESS_EVERY_NS) {
		band->shown_ns = now;
		show(band, "\r");
	}
}
