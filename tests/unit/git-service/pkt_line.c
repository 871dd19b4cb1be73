/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "git/wire/pkt_line.h"
#include "git/wire/sideband.h"
#include "support/platform.h"

struct reading {
	struct test_platform test;
	struct bole_bytes_reader reader;
	struct bole_input in;
	struct bole_pkt_reader pkts;
	uint8_t buf[64];
};

static void reading_open(struct reading *r, const void *bytes, size_t len, size_t cap)
{
	test_platform_init(&r->test, 1);
	bole_bytes_reader_init(&r->reader, bole_bytes_of(bytes, len));
	bole_input_init(&r->in, &r->reader.reader, r->buf, cap);
	bole_pkt_reader_init(&r->pkts, &r->in, &r->test.alloc);
}

static void reading_close(struct reading *r)
{
	bole_pkt_reader_release(&r->pkts);
	test_platform_release(&r->test);
}

Test(pkt_line, packets_of_every_kind_are_read_whatever_the_size_of_the_buffer)
{
	static const char text[] = "0009have\n00000001000200040006ab0005\nPACK";

	for (size_t cap = 1; cap <= 64; cap++) {
		struct reading r;
		struct bole_pkt pkt;
		struct bole_bytes rest;

		reading_open(&r, text, sizeof text - 1, cap);
		cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_OK);
		cr_assert_eq(pkt.type, BOLE_PKT_DATA);
		cr_assert(bole_pkt_is(pkt.line, "have"));
		cr_assert(bole_pkt_is(pkt.data, "have\n"));
		cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_OK);
		cr_assert_eq(pkt.type, BOLE_PKT_FLUSH);
		cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_OK);
		cr_assert_eq(pkt.type, BOLE_PKT_DELIM);
		cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_OK);
		cr_assert_eq(pkt.type, BOLE_PKT_RESPONSE_END);
		cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_OK);
		cr_assert_eq(pkt.type, BOLE_PKT_DATA);
		cr_assert_eq(pkt.data.len, 0);
		cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_OK);
		cr_assert(bole_pkt_is(pkt.line, "ab"));
		cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_OK);
		cr_assert_eq(pkt.line.len, 0);
		/* What follows the last packet is untouched: a pack begins there. */
		cr_assert_eq(bole_input_peek(&r.in, &rest), BOLE_OK);
		cr_assert_eq(rest.ptr[0], 'P');
		reading_close(&r);
	}
}

Test(pkt_line, the_longest_packet_is_read_and_a_longer_one_refused)
{
	char *text = malloc(70000);
	struct reading r;
	struct bole_pkt pkt;

	memset(text, 'x', 70000);
	memcpy(text, "fff0", 4);
	reading_open(&r, text, 65520, 64);
	cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_OK);
	cr_assert_eq(pkt.data.len, BOLE_PKT_DATA_MAX);
	cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_END);
	reading_close(&r);
	static const char *const too_long[] = {"fff1", "ffff"};
	for (size_t i = 0; i < 2; i++) {
		memcpy(text, too_long[i], 4);
		reading_open(&r, text, 70000, 64);
		cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_E_INVALID);
		cr_assert_not_null(strstr(r.pkts.why, "out of range"));
		reading_close(&r);
	}
	free(text);
}

Test(pkt_line, malformed_lengths_are_refused)
{
	static const char *const bad[] = {"0003", "00g0", "zzzz",  "-001",     "+00a",
	                                  " 00a", "0x0a", "00\n0", "\0\0\0\0", "\xff\xff\xff\xff"};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct reading r;
		struct bole_pkt pkt;

		reading_open(&r, bad[i], 4, 64);
		cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), BOLE_E_INVALID, "case %zu", i);
		cr_assert_neq(r.pkts.why[0], '\0');
		reading_close(&r);
	}
}

Test(pkt_line, every_truncation_is_an_error_and_only_a_clean_end_is_not)
{
	static const char text[] = "0010hello world\n";

	for (size_t cap = 8; cap <= 64; cap += 56)
		for (size_t len = 0; len < sizeof text - 1; len++) {
			struct reading r;
			struct bole_pkt pkt;
			enum bole_status want = len == 0 ? BOLE_END : BOLE_E_INVALID;

			reading_open(&r, text, len, cap);
			cr_assert_eq(bole_pkt_read(&r.pkts, &pkt), want, "length %zu", len);
			reading_close(&r);
		}
}

Test(pkt_line, built_lines_have_the_right_head_and_never_overflow)
{
	struct test_platform test;
	struct bole_buffer buffer;
	struct bole_buffer_writer writer;
	struct bole_output out;
	struct bole_pkt_line line;
	uint8_t buf[32];

	test_platform_init(&test, 1);
	bole_buffer_init(&buffer, &test.alloc, 1 << 20);
	bole_buffer_writer_init(&writer, &buffer);
	bole_output_init(&out, &writer.writer, buf, sizeof buf);
	bole_pkt_line_init(&line);
	bole_pkt_line_text(&line, "NAK\n");
	bole_pkt_line_write(&line, &out);
	bole_pkt_flush(&out);
	bole_pkt_delim(&out);
	bole_pkt_text(&out, "ready\n");
	cr_assert_eq(bole_output_flush(&out), BOLE_OK);
	cr_assert_eq(buffer.len, 8 + 4 + 4 + 10);
	cr_assert_eq(memcmp(buffer.ptr, "0008NAK\n00000001000aready\n", buffer.len), 0);
	bole_pkt_line_init(&line);
	for (int i = 0; i < 3 * BOLE_PKT_LINE_MAX; i++)
		bole_pkt_line_text(&line, "abcde");
	bole_pkt_line_write(&line, &out);
	cr_assert_eq(bole_output_flush(&out), BOLE_OK);
	cr_assert_eq(buffer.len, 26 + BOLE_PKT_LINE_MAX);
	bole_buffer_release(&buffer);
	test_platform_release(&test);
}

struct banding {
	struct test_platform test;
	struct bole_buffer buffer;
	struct bole_buffer_writer writer;
	struct bole_output out;
	struct bole_sideband band;
	uint8_t buf[100];
};

static void banding_open(struct banding *b, enum bole_sideband_mode mode, bool quiet)
{
	test_platform_init(&b->test, 1);
	b->test.manual_clock = true;
	bole_buffer_init(&b->buffer, &b->test.alloc, 1 << 22);
	bole_buffer_writer_init(&b->writer, &b->buffer);
	bole_output_init(&b->out, &b->writer.writer, b->buf, sizeof b->buf);
	cr_assert_eq(
	        bole_sideband_open(&b->band, &b->out, &b->test.base, &b->test.alloc, mode, quiet),
	        BOLE_OK);
}

static void banding_close(struct banding *b)
{
	bole_sideband_close(&b->band);
	bole_buffer_release(&b->buffer);
	test_platform_release(&b->test);
}

Test(sideband, data_of_every_size_comes_out_as_it_went_in)
{
	uint8_t *data = malloc(200000);
	uint8_t *back = malloc(200000);
	static const enum bole_sideband_mode modes[] = {BOLE_SIDEBAND_SMALL, BOLE_SIDEBAND_LARGE};
	uint64_t seed = test_seed(11);

	test_random_bytes(&seed, data, 200000);
	for (unsigned round = 0; round < 40; round++) {
		struct banding b;
		size_t mode = (size_t)modes[round % 2];
		size_t sent = 0;
		size_t got = 0;

		banding_open(&b, modes[round % 2], false);
		while (sent < 200000) {
			size_t n = test_random(&seed) % (round < 20 ? 300 : 100000);
			n = n > 200000 - sent ? 200000 - sent : n;
			cr_assert_eq(b.band.writer.write(&b.band.writer, data + sent, n), BOLE_OK);
			sent += n;
		}
		cr_assert_eq(b.band.writer.flush(&b.band.writer), BOLE_OK);
		for (size_t at = 0; at < b.buffer.len;) {
			char head[5] = "";
			memcpy(head, b.buffer.ptr + at, 4);
			size_t len = strtoul(head, NULL, 16);
			cr_assert(len > 5 && len <= mode, "packet of %zu", len);
			cr_assert_eq(b.buffer.ptr[at + 4], 1);
			memcpy(back + got, b.buffer.ptr + at + 5, len - 5);
			got += len - 5;
			at += len;
		}
		cr_assert_eq(got, 200000);
		cr_assert_eq(memcmp(back, data, got), 0);
		/* Small writes are gathered: the heads cost under 1 %. */
		cr_assert_lt(b.buffer.len, 200000 + 200000 / 100);
		banding_close(&b);
	}
	free(data);
	free(back);
}

Test(sideband, progress_is_shown_seldom_and_closed_with_done)
{
	struct banding b;

	banding_open(&b, BOLE_SIDEBAND_LARGE, false);
	cr_assert_eq(b.band.writer.write(&b.band.writer, "data", 4), BOLE_OK);
	for (uint64_t i = 0; i <= 10000; i++)
		bole_sideband_on_progress(&b.band, "Counting objects", i, 10000);
	b.test.now += UINT64_C(600000000);
	bole_sideband_on_progress(&b.band, "Resolving deltas", 5, 10);
	b.test.now += UINT64_C(600000000);
	bole_sideband_on_progress(&b.band, "Resolving deltas", 5, 10);
	bole_sideband_phase_end(&b.band);
	bole_sideband_phase_end(&b.band);
	cr_assert_eq(bole_output_flush(&b.out), BOLE_OK);
	bole_buffer_byte(&b.buffer, 0);
	cr_assert_str_eq((const char *)b.buffer.ptr,
	                 "0009\1data0031\2Counting objects: 100% (10000/10000), done.\n"
	                 "0023\2Resolving deltas:  50% (5/10)\r"
	                 "002a\2Resolving deltas:  50% (5/10), done.\n");
	banding_close(&b);
}

Test(sideband, a_quiet_client_gets_only_keepalives_and_the_error)
{
	struct banding b;

	banding_open(&b, BOLE_SIDEBAND_LARGE, true);
	bole_sideband_progress(&b.band, "nobody reads this\n");
	for (unsigned i = 0; i < 12; i++) {
		b.test.now += UINT64_C(1000000000);
		bole_sideband_on_progress(&b.band, "Counting objects", i, 100);
	}
	bole_sideband_error(&b.band, "it broke\n");
	cr_assert_eq(bole_output_flush(&b.out), BOLE_OK);
	bole_buffer_byte(&b.buffer, 0);
	cr_assert_str_eq((const char *)b.buffer.ptr, "0005\1"
	                                             "0005\1"
	                                             "000e\3it broke\n");
	banding_close(&b);
}

Test(sideband, without_a_band_data_is_bare_and_the_rest_vanishes)
{
	struct banding b;

	banding_open(&b, BOLE_SIDEBAND_NONE, false);
	cr_assert_eq(b.band.writer.write(&b.band.writer, "PACK", 4), BOLE_OK);
	bole_sideband_on_progress(&b.band, "Counting objects", 1, 1);
	bole_sideband_progress(&b.band, "text\n");
	bole_sideband_error(&b.band, "error\n");
	cr_assert_eq(b.band.writer.flush(&b.band.writer), BOLE_OK);
	cr_assert_eq(b.buffer.len, 4);
	banding_close(&b);
}
