/* SPDX-License-Identifier: ISC */
/* The image's main: from the command line to a node that serves, and back to a clean end. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bole/devices.h"
#include "bole/node.h"
#include "bole/store.h"
#include "core/core.h"
#include "net/net.h"
#include "platform/qemu/image.h"

#ifndef BOLE_VERSION
#define BOLE_VERSION "unknown"
#endif

/* Statuses that reach the host (isa-debug-exit: 2 * status + 1). */
enum {
	EXIT_CLEAN = 0,
	EXIT_CONFIG = 2,
	EXIT_NO_DISK = 3,
	EXIT_NO_VOLUME = 4,
	EXIT_STORE = 5,
	EXIT_NODE = 6,
	EXIT_CLOSE = 7,
};

/* How long requests may take after the machine was asked to stop. */
#define CLOSE_WAIT_NS UINT64_C(5000000000)
/* What the store (index and buffers) and the requests may take, in eighths of the RAM that is free
 * at start; the network takes one (net/interface.c), the rest is for stacks. */
#define STORE_MEMORY_EIGHTHS 2
#define NODE_MEMORY_EIGHTHS  4
/* And a cache of what is read from the disk; it is filled as it is used. */
#define CACHE_MEMORY_EIGHTHS 1

static void banner(void)
{
	struct core_memory_stats memory;

	core_memory_stats(&memory);
	core_printf("\r\nBole %s on %s, %zu MiB of memory, image %zu KiB\r\n", BOLE_VERSION,
	            core_boot()->machine, memory.pages_total * CORE_PAGE_SIZE >> 20,
	            memory.image_bytes >> 10);
}

/* -- Configuration -- */

/* An image is alone on its machine: it listens on all addresses unless told otherwise. */
static const char *const image_defaults[] = {
        "http.listen=:8080",
        "git.listen=:9418",
};

static size_t share_of_memory(size_t eighths)
{
	struct core_memory_stats memory;

	core_memory_stats(&memory);
	return (memory.pages_total - memory.pages_used) / 8 * eighths * CORE_PAGE_SIZE;
}

static enum bole_status configure(struct bole_config **out)
{
	enum bole_status rc = bole_config_open(core_alloc(), out);
	char node_memory[48];

	snprintf(node_memory, sizeof node_memory, "node.memory=%zu",
	         share_of_memory(NODE_MEMORY_EIGHTHS));
	if (rc == BOLE_OK)
		rc = bole_config_set(*out, node_memory);

	for (size_t i = 0; i < sizeof image_defaults / sizeof image_defaults[0]; i++)
		if (rc == BOLE_OK)
			rc = bole_config_set(*out, image_defaults[i]);
	if (rc == BOLE_OK)
		rc = bole_config_command_line(*out, core_boot()->command_line);
	if (rc != BOLE_OK)
		core_log(BOLE_LOG_ERROR, "command line: %s", bole_status_text(rc));
	return rc;
}

/* -- The volume -- */

enum { PROBE_BYTES = 64 * 1024, PROBES = 64 };

/* True if the beginning, the end and places between read as zero: then nobody's data is lost by
 * formatting. */
static enum bole_status looks_empty(struct bole_block *disk, bool *empty)
{
	uint64_t size = disk->info.size_bytes;
	uint64_t unit = disk->info.read_unit > PROBE_BYTES ? disk->info.read_unit : PROBE_BYTES;
	uint8_t *buffer = core_pages_alloc((size_t)unit / CORE_PAGE_SIZE);
	enum bole_status rc = BOLE_OK;

	*empty = size >= unit;
	if (buffer == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint64_t i = 0; i <= PROBES && *empty && rc == BOLE_OK; i++) {
		uint64_t off = (size - unit) / PROBES * i;
		off = i == PROBES ? (size - unit) / disk->info.read_unit * disk->info.read_unit
		                  : off / disk->info.read_unit * disk->info.read_unit;
		rc = bole_block_read(disk, off, buffer, (size_t)unit);
		for (size_t k = 0; k < unit && *empty; k++)
			*empty = buffer[k] == 0;
	}
	core_pages_free(buffer, (size_t)unit / CORE_PAGE_SIZE);
	return rc;
}

static enum bole_status format_if_empty(struct bole_block *disk)
{
	struct bole_flash_format_options options = {.label = "bole"};
	bool empty;
	enum bole_status rc = looks_empty(disk, &empty);

	if (rc != BOLE_OK)
		return rc;
	if (!empty) {
		core_log(BOLE_LOG_ERROR,
		         "%s holds no volume of ours, but is not empty either: not formatted",
		         disk->info.name);
		return BOLE_E_NOT_FOUND;
	}
	core_log(BOLE_LOG_INFO, "%s is empty: formatting it (volume.format=auto)", disk->info.name);
	return bole_flash_format(disk, core_platform(), &options);
}

static int open_volume(struct bole_block *disk, const struct bole_config *cfg,
                       struct bole_store **out)
{
	const char *format = bole_config_get(cfg, "volume.format");
	bool automatic = format != NULL && strcmp(format, "auto") == 0;
	struct bole_flash_open_options options = {.read_only = disk->info.read_only};

	options.memory_bytes_max = share_of_memory(STORE_MEMORY_EIGHTHS);
	enum bole_status rc = bole_flash_open(disk, core_platform(), core_alloc(), &options, out);
	if (rc == BOLE_E_NOT_FOUND && automatic) {
		rc = format_if_empty(disk);
		if (rc == BOLE_OK)
			rc = bole_flash_open(disk, core_platform(), core_alloc(), &options, out);
	}
	if (rc == BOLE_OK)
		return EXIT_CLEAN;
	if (rc == BOLE_E_NOT_FOUND) {
		core_log(BOLE_LOG_ERROR,
		         "%s holds no Bole volume: run `bole init` on the image on the host, or "
		         "boot an empty one with volume.format=auto",
		         disk->info.name);
		return EXIT_NO_VOLUME;
	}
	core_log(BOLE_LOG_ERROR, "%s: the volume does not open: %s", disk->info.name,
	         bole_status_text(rc));
	return EXIT_STORE;
}

/* volume.memory=true: a store in memory, for trying things out; it is gone with the machine. */
static int open_store(struct bole_block *disk, const struct bole_config *cfg,
                      struct bole_store **out)
{
	bool in_memory = false;

	if (bole_config_bool(cfg, "volume.memory", false, &in_memory) != BOLE_OK) {
		core_log(BOLE_LOG_ERROR, "volume.memory must be true or false");
		return EXIT_CONFIG;
	}
	if (in_memory) {
		core_log(BOLE_LOG_WARN, "the volume is in memory: what is pushed is lost at the "
		                        "end (volume.memory)");
		enum bole_status rc = bole_memory_store_open(core_platform(), core_alloc(), out);
		return rc == BOLE_OK ? EXIT_CLEAN : EXIT_STORE;
	}
	if (disk == NULL) {
		core_log(BOLE_LOG_ERROR, "no disk: give the machine a virtio block device");
		return EXIT_NO_DISK;
	}
	return open_volume(disk, cfg, out);
}

/* -- Serving -- */

static void print_ready(const struct bole_node *node)
{
	char address[48];
	uint64_t ms = core_now_ns() / 1000000;
	uint16_t http = bole_node_http_port(node);
	uint16_t git = bole_node_git_port(node);

	net_address_text(address, sizeof address);
	core_printf("ready in %" PRIu64 " ms:", ms);
	if (http != 0)
		core_printf(" http://%s:%u/", address, http);
	if (git != 0)
		core_printf(" git://%s:%u/", address, git);
	core_printf("\r\n");
}

static int serve(struct bole_store *store, const struct bole_config *cfg)
{
	struct bole_node *node;
	enum bole_status rc = bole_node_start(core_platform(), store, cfg, &node);

	if (rc != BOLE_OK) {
		core_log(BOLE_LOG_ERROR, "the node does not start: %s", bole_status_text(rc));
		return EXIT_NODE;
	}
	print_ready(node);
	core_stop_wait();
	core_log(BOLE_LOG_INFO, "asked to stop: finishing what is in flight");
	bole_node_close(node, core_now_ns() + CLOSE_WAIT_NS);
	return EXIT_CLEAN;
}

static int run(struct bole_config *cfg)
{
	struct image_devices devices;
	struct bole_store *store = NULL;
	struct bole_block *cache = NULL;
	const char *test = bole_config_get(cfg, "image.selftest");

	if (image_devices_open(&devices, cfg) != BOLE_OK)
		return EXIT_CONFIG;
	image_devices_report(&devices);
	if (test != NULL)
		return image_selftest(test, &devices);
	if (devices.disk != NULL &&
	    bole_block_cache_open(core_platform(), core_alloc(), devices.disk,
	                          share_of_memory(CACHE_MEMORY_EIGHTHS), &cache) != BOLE_OK)
		cache = NULL; /* slower, no worse */
	int status = open_store(cache != NULL ? cache : devices.disk, cfg, &store);
	if (status != EXIT_CLEAN)
		return status;
	status = serve(store, cfg);
	enum bole_status rc = bole_store_close(store);
	if (rc != BOLE_OK) {
		core_log(BOLE_LOG_ERROR, "the volume did not close cleanly: %s",
		         bole_status_text(rc));
		return EXIT_CLOSE;
	}
	bole_block_close(cache);
	bole_block_close(devices.disk);
	core_printf("stopped\r\n");
	return status;
}

int core_main(void)
{
	struct bole_config *cfg = NULL;
	int status = EXIT_CONFIG;

	banner();
	if (configure(&cfg) == BOLE_OK)
		status = run(cfg);
	bole_config_close(cfg);
	return status;
}
