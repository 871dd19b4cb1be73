/* SPDX-License-Identifier: ISC */
/* pkt-lines from hostile bytes, through an input buffer whose size the first byte picks. Whatever
 * is read can be written again, and reads back the same. */
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/io.h"
#include "base/memory.h"
#include "git/wire/pkt_line.h"
#include "support/platform.h"

static void check_round_trip(struct test_platform *test, struct bole_bytes data)
{
	struct bole_buffer buffer;
	struct bole_buffer_writer writer;
	struct bole_bytes_reader reader;
	struct bole_output out;
	struct bole_input in;
	struct bole_pkt_reader pkts;
	struct bole_pkt pkt;
	uint8_t small[16];

	bole_buffer_init(&buffer, &test->alloc, 1 << 20);
	bole_buffer_writer_init(&writer, &buffer);
	bole_output_init(&out, &writer.writer, small, sizeof small);
	bole_pkt_write(&out, data);
	BOLE_ASSERT(bole_output_flush(&out) == BOLE_OK);
	bole_bytes_reader_init(&reader, bole_bytes_of(buffer.ptr, buffer.len));
	bole_input_init(&in, &reader.reader, small, sizeof small);
	bole_pkt_reader_init(&pkts, &in, &test->alloc);
	BOLE_ASSERT(bole_pkt_read(&pkts, &pkt) == BOLE_OK);
	BOLE_ASSERT(bole_bytes_equal(pkt.data, data));
	BOLE_ASSERT(bole_pkt_read(&pkts, &pkt) == BOLE_END);
	bole_pkt_reader_release(&pkts);
	bole_buffer_release(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct test_platform test;
	struct bole_bytes_reader reader;
	struct bole_input in;
	struct bole_pkt_reader pkts;
	struct bole_pkt pkt;
	uint8_t buf[256];
	enum bole_status rc;

	if (size == 0)
		return 0;
	test_platform_init(&test, 1);
	bole_bytes_reader_init(&reader, bole_bytes_of(data + 1, size - 1));
	bole_input_init(&in, &reader.reader, buf, (size_t)data[0] + 1);
	bole_pkt_reader_init(&pkts, &in, &test.alloc);
	while ((rc = bole_pkt_read(&pkts, &pkt)) == BOLE_OK) {
		BOLE_ASSERT(pkt.data.len <= BOLE_PKT_DATA_MAX);
		BOLE_ASSERT(pkt.line.len <= pkt.data.len);
		if (pkt.type == BOLE_PKT_DATA)
			check_round_trip(&test, pkt.data);
	}
	BOLE_ASSERT(rc == BOLE_END || rc == BOLE_E_INVALID);
	BOLE_ASSERT(rc != BOLE_E_INVALID || pkts.why[0] != '\0');
	BOLE_ASSERT(in.consumed <= size - 1);
	bole_pkt_reader_release(&pkts);
	test_platform_release(&test);
	return 0;
}
