/* SPDX-License-Identifier: ISC */
/* image.selftest=net: an echo service on 7, a byte source on 19, a sink on 9, a hello page on 8080.
 * image.selftest=disk: patterns on the disk that the host verifies afterwards; it overwrites it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/core.h"
#include "drivers/virtio/drivers.h"
#include "net/net.h"
#include "platform/qemu/image.h"

enum { BUFFER_BYTES = 64 * 1024 };

/* -- Network -- */

struct service {
	const char *address;
	void (*serve)(struct bole_stream *, uint8_t *buffer);
	struct bole_listener *listener;
};

static void serve_echo(struct bole_stream *stream, uint8_t *buffer)
{
	size_t got;

	while (stream->ops->read(stream, buffer, BUFFER_BYTES, &got) == BOLE_OK) {
		struct bole_bytes piece = {buffer, got};
		if (stream->ops->writev(stream, &piece, 1) != BOLE_OK)
			return;
	}
	(void)stream->ops->shutdown(stream);
}

static void serve_sink(struct bole_stream *stream, uint8_t *buffer)
{
	uint64_t total = 0;
	char line[64];
	size_t got;

	while (stream->ops->read(stream, buffer, BUFFER_BYTES, &got) == BOLE_OK)
		total += got;
	struct bole_bytes piece = {(uint8_t *)line,
	                           (size_t)snprintf(line, sizeof line, "%" PRIu64 "\n", total)};
	if (stream->ops->writev(stream, &piece, 1) == BOLE_OK)
		(void)stream->ops->shutdown(stream);
}

/* Reads a decimal length, then sends as many bytes of the pattern i * 7 + (i >> 8). */
static void serve_source(struct bole_stream *stream, uint8_t *buffer)
{
	uint64_t left = 0;
	uint64_t at = 0;
	size_t got = 0;

	if (stream->ops->read(stream, buffer, 32, &got) != BOLE_OK)
		return;
	for (size_t i = 0; i < got && buffer[i] >= '0' && buffer[i] <= '9'; i++)
		left = left * 10 + (uint64_t)(buffer[i] - '0');
	for (size_t i = 0; i < BUFFER_BYTES; i++)
		buffer[i] = (uint8_t)(i * 7 + (i >> 8));
	while (left > 0) {
		size_t len = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;
		struct bole_bytes piece = {buffer, len};
		if (stream->ops->writev(stream, &piece, 1) != BOLE_OK)
			return;
		left -= len;
		at += len;
	}
	(void)stream->ops->shutdown(stream);
}

static void serve_hello(struct bole_stream *stream, uint8_t *buffer)
{
	static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n"
	                             "Content-Length: 6\r\n\r\nhello\n";
	struct bole_bytes piece = {(const uint8_t *)answer, sizeof answer - 1};
	size_t got;

	stream->ops->set_deadline(stream, core_now_ns() + UINT64_C(2000000000), BOLE_NEVER);
	if (stream->ops->read(stream, buffer, BUFFER_BYTES, &got) != BOLE_OK ||
	    stream->ops->writev(stream, &piece, 1) != BOLE_OK)
		return;
	(void)stream->ops->shutdown(stream);
}

/* Accepts and does not read for some seconds: a fiber that stalls. Then it hangs up on what is
 * unread. */
static void serve_stall(struct bole_stream *stream, uint8_t *buffer)
{
	(void)buffer;
	for (int i = 0; i < 30 && !stream->ops->hung_up(stream); i++)
		core_sleep_until(core_now_ns() + UINT64_C(100000000));
}

static struct service services[] = {
        {":7", serve_echo, NULL},     {":9", serve_sink, NULL},   {":19", serve_source, NULL},
        {":8080", serve_hello, NULL}, {":11", serve_stall, NULL},
};

struct session {
	struct service *service;
	struct bole_stream *stream;
};

static void session_fiber(void *arg)
{
	struct session session = *(struct session *)arg;
	size_t pages = BUFFER_BYTES / CORE_PAGE_SIZE;
	uint8_t *buffer = core_pages_alloc(pages);
	struct bole_alloc *alloc = core_alloc();

	alloc->resize(alloc->ctx, arg, sizeof session, 0, _Alignof(struct session));
	if (buffer != NULL)
		session.service->serve(session.stream, buffer);
	session.stream->ops->close(session.stream);
	if (buffer != NULL)
		core_pages_free(buffer, pages);
}

static void accept_fiber(void *arg)
{
	struct service *service = arg;
	struct bole_listener *listener = service->listener;
	struct bole_alloc *alloc = core_alloc();
	struct bole_stream *stream;

	while (listener->ops->accept(listener, &stream) == BOLE_OK) {
		struct session *session = alloc->resize(alloc->ctx, NULL, 0, sizeof *session,
		                                        _Alignof(struct session));
		if (session != NULL)
			*session = (struct session){service, stream};
		if (session == NULL ||
		    core_fiber_start("session", session_fiber, session, 0) == NULL)
			stream->ops->close(stream);
	}
}

static void print_stats(void)
{
	struct net_stats stats;
	struct core_memory_stats memory;

	net_stats(&stats);
	core_memory_stats(&memory);
	core_printf("net: rx %" PRIu64 " tx %" PRIu64 " told %" PRIu64 " full %" PRIu64
	            " dropped %" PRIu64 " accepted %" PRIu64 " refused %" PRIu64
	            " open %u most %u heap %zu peak %zu "
	            "of %zu pages %zu\r\n",
	            stats.device.rx_frames, stats.device.tx_frames, stats.device.notified,
	            stats.device.tx_full, stats.device.rx_dropped, stats.accepted, stats.refused,
	            stats.connections, stats.connections_max, stats.heap_used, stats.heap_peak,
	            stats.heap_limit, memory.pages_used);
}

/* Connects out (test.connect=host:port), sends a line, expects it back. */
static int test_connect(const char *address)
{
	struct bole_platform *platform = core_platform();
	uint64_t deadline = core_now_ns() + UINT64_C(5000000000);
	static const uint8_t line[] = "hello from bole\n";
	struct bole_bytes piece = {line, sizeof line - 1};
	struct bole_stream *stream;
	uint8_t back[sizeof line];
	size_t done = 0, got = 1;
	char peer[64];
	enum bole_status rc = platform->ops->connect(platform, address, deadline, &stream);

	if (rc != BOLE_OK) {
		core_printf("connect: %s\r\n", bole_status_text(rc));
		return 1;
	}
	stream->ops->peer(stream, peer, sizeof peer);
	stream->ops->set_deadline(stream, deadline, deadline);
	rc = stream->ops->writev(stream, &piece, 1);
	while (rc == BOLE_OK && done < piece.len) {
		rc = stream->ops->read(stream, back + done, piece.len - done, &got);
		done += got;
	}
	stream->ops->close(stream);
	bool same = done == piece.len && memcmp(back, line, done) == 0;
	core_printf("connect: %s: %s\r\n", peer, same ? "ok" : bole_status_text(rc));
	return same ? 0 : 1;
}

static int test_network(void)
{
	struct bole_platform *platform = core_platform();
	char address[64];

	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
		struct service *service = &services[i];
		enum bole_status rc =
		        platform->ops->listen(platform, service->address, &service->listener);
		if (rc != BOLE_OK) {
			core_printf("listen %s: %s\r\n", service->address, bole_status_text(rc));
			return 1;
		}
		if (core_fiber_start("accept", accept_fiber, service, 0) == NULL)
			return 1;
	}
	core_printf("ready in %" PRIu64 " ms: selftest net\r\n", core_now_ns() / 1000000);
	if (core_option("test.connect", address, sizeof address))
		(void)test_connect(address);
	core_stop_wait();
	print_stats();
	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
		services[i].listener->ops->shutdown(services[i].listener);
	core_yield();
	return 0;
}

/* -- Disk -- */

enum {
	WRITERS = 48,
	WRITER_BYTES = 256 * 1024,
	MEBIBYTE = 1 << 20,
};

/* What the host expects at a byte of the disk. */
static uint8_t pattern(uint64_t off)
{
	uint64_t x = (off >> 3) * UINT64_C(0x9e3779b97f4a7c15);

	return (uint8_t)(x >> (off & 7) * 8);
}

struct writer {
	struct bole_block *disk;
	struct core_fiber *parent;
	unsigned *left;
	uint64_t off;
	enum bole_status rc;
};

/* Writes its stretch in odd pieces, reads it back and compares. */
static void writer_fiber(void *arg)
{
	struct writer *writer = arg;
	size_t pages = WRITER_BYTES / CORE_PAGE_SIZE;
	uint8_t *bytes = core_pages_alloc(pages);
	struct bole_bytes pieces[64];
	size_t at = 0, count = 0;

	writer->rc = BOLE_E_NO_MEMORY;
	if (bytes != NULL) {
		for (size_t i = 0; i < WRITER_BYTES; i++)
			bytes[i] = pattern(writer->off + i);
		while (at < WRITER_BYTES && count < 63) {
			size_t len = 1 + (at * 37 + writer->off / 512) % 9973;
			if (len > WRITER_BYTES - at)
				len = WRITER_BYTES - at;
			pieces[count++] = (struct bole_bytes){bytes + at, len};
			at += len;
		}
		pieces[count++] = (struct bole_bytes){bytes + at, WRITER_BYTES - at};
		writer->rc = bole_block_programv(writer->disk, writer->off, pieces, count);
		memset(bytes, 0, WRITER_BYTES);
		if (writer->rc == BOLE_OK)
			writer->rc =
			        bole_block_read(writer->disk, writer->off, bytes, WRITER_BYTES);
		for (size_t i = 0; i < WRITER_BYTES && writer->rc == BOLE_OK; i++)
			if (bytes[i] != pattern(writer->off + i))
				writer->rc = BOLE_E_CORRUPT;
		core_pages_free(bytes, pages);
	}
	if (--*writer->left == 0)
		core_wake(writer->parent);
}

static enum bole_status many_writers(struct bole_block *disk)
{
	static struct writer writers[WRITERS];
	unsigned left = WRITERS;
	enum bole_status rc = BOLE_OK;

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.disk = disk,
		                             .parent = core_fiber_self(),
		                             .left = &left,
		                             .off = (uint64_t)i * WRITER_BYTES};
		if (core_fiber_start("writer", writer_fiber, &writers[i], 0) == NULL)
			left--;
	}
	while (left > 0)
		core_park();
	for (unsigned i = 0; i < WRITERS; i++)
		if (writers[i].rc != BOLE_OK)
			rc = writers[i].rc;
	return rc;
}

enum { TINY_BYTES = 16384 };

/* Pieces of a few bytes each: no request's segments add up to a block by themselves. */
static enum bole_status write_tiny(struct bole_block *disk, uint64_t off, uint8_t *bytes,
                                   struct bole_bytes *pieces)
{
	size_t count = 0;

	for (size_t i = 0; i < TINY_BYTES; i++)
		bytes[i] = pattern(off + i);
	for (size_t at = 0; at < TINY_BYTES; count++) {
		size_t len = 4 + count % 3;
		if (len > TINY_BYTES - at)
			len = TINY_BYTES - at;
		pieces[count] = (struct bole_bytes){bytes + at, len};
		at += len;
	}
	enum bole_status rc = bole_block_programv(disk, off, pieces, count);
	memset(bytes, 0, TINY_BYTES);
	if (rc == BOLE_OK)
		rc = bole_block_read(disk, off, bytes, TINY_BYTES);
	for (size_t i = 0; i < TINY_BYTES && rc == BOLE_OK; i++)
		if (bytes[i] != pattern(off + i))
			rc = BOLE_E_CORRUPT;
	return rc;
}

static enum bole_status tiny_pieces(struct bole_block *disk, uint64_t off)
{
	size_t list = TINY_BYTES / 4 * sizeof(struct bole_bytes);
	size_t pages = (TINY_BYTES + list) / CORE_PAGE_SIZE;
	uint8_t *bytes = core_pages_alloc(pages);

	if (bytes == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = write_tiny(disk, off, bytes, (void *)(bytes + TINY_BYTES));
	core_pages_free(bytes, pages);
	return rc;
}

/* One long transfer each way, timed. */
static enum bole_status long_transfers(struct bole_block *disk, uint64_t off)
{
	size_t len = 8 * MEBIBYTE, chunk = 2 * MEBIBYTE;
	uint8_t *bytes = core_pages_alloc(chunk / CORE_PAGE_SIZE);
	enum bole_status rc = BOLE_OK;

	if (bytes == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = 0; i < chunk; i++)
		bytes[i] = pattern(off + i);
	struct bole_bytes four[4] = {
	        {bytes, chunk}, {bytes, chunk}, {bytes, chunk}, {bytes, chunk}};
	uint64_t begin = core_now_ns();
	rc = bole_block_programv(disk, off, four, 4);
	uint64_t written = core_now_ns();
	for (size_t at = 0; at < len && rc == BOLE_OK; at += chunk)
		rc = bole_block_read(disk, off + at, bytes, chunk);
	uint64_t done = core_now_ns();
	core_printf("disk: 8 MiB written in %" PRIu64 " us, read in %" PRIu64 " us\r\n",
	            (written - begin) / 1000, (done - written) / 1000);
	for (size_t i = 0; i < chunk && rc == BOLE_OK; i++)
		if (bytes[i] != pattern(off + i))
			rc = BOLE_E_CORRUPT;
	core_pages_free(bytes, chunk / CORE_PAGE_SIZE);
	return rc;
}

static enum bole_status small_latency(struct bole_block *disk)
{
	static uint8_t sector[4096];
	enum { ROUNDS = 200 };
	enum bole_status rc = BOLE_OK;
	uint64_t begin = core_now_ns();

	for (unsigned i = 0; i < ROUNDS && rc == BOLE_OK; i++)
		rc = bole_block_read(disk, (uint64_t)i * sizeof sector, sector, sizeof sector);
	core_printf("disk: %u reads of 4 KiB one by one, %" PRIu64 " ns each\r\n", ROUNDS,
	            (core_now_ns() - begin) / ROUNDS);
	return rc;
}

static bool step(const char *name, enum bole_status rc)
{
	core_printf("disk: %s: %s\r\n", name, rc == BOLE_OK ? "ok" : bole_status_text(rc));
	return rc == BOLE_OK;
}

static int test_disk(struct bole_block *disk)
{
	struct virtio_blk_stats stats;
	bool ok = true;

	if (disk == NULL || disk->info.size_bytes < 32 * MEBIBYTE) {
		core_printf("disk: needs a disk of 32 MiB\r\n");
		return 1;
	}
	if (disk->info.read_only) {
		static uint8_t sector[4096];
		ok = step("read", bole_block_read(disk, 0, sector, sizeof sector));
		return step("write refused",
		            disk->ops->programv(disk, 0, &(struct bole_bytes){sector, 4096}, 1) ==
		                            BOLE_E_READ_ONLY
		                    ? BOLE_OK
		                    : BOLE_E_IO) &&
		                       ok
		               ? 0
		               : 1;
	}
	ok &= step("many writers", many_writers(disk));
	ok &= step("tiny pieces", tiny_pieces(disk, 13 * MEBIBYTE));
	ok &= step("long transfers", long_transfers(disk, 16 * MEBIBYTE));
	ok &= step("small reads", small_latency(disk));
	ok &= step("discard", bole_block_discard(disk, 24 * MEBIBYTE, 4 * MEBIBYTE));
	ok &= step("flush", bole_block_flush(disk));
	virtio_blk_stats(disk, &stats);
	core_printf("disk: reads %" PRIu64 " writes %" PRIu64 " flushes %" PRIu64
	            " discards %" PRIu64 " errors %" PRIu64 " depth %u left %u\r\n",
	            stats.reads, stats.writes, stats.flushes, stats.discards, stats.errors,
	            stats.in_flight_max, stats.in_flight);
	core_printf("disk: %s\r\n", ok ? "passed" : "FAILED");
	return ok ? 0 : 1;
}

int image_selftest(const char *what, struct image_devices *devices)
{
	if (strcmp(what, "net") == 0)
		return test_network();
	if (strcmp(what, "disk") == 0)
		return test_disk(devices->disk);
	core_log(BOLE_LOG_ERROR, "image.selftest=%s: disk or net", what);
	return 1;
}
