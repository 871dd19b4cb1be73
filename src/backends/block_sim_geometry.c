/* SPDX-License-Identifier: ISC */
/* Named devices. Times are typical ones of data sheets: only their ratios mean something. */
#include <string.h>

#include "bole/block_sim.h"

#define KIB  1024u
#define MIB  (1024u * KIB)
#define US   1000u
#define MS   (1000u * US)
#define NS_B 1000u /* nanoseconds a byte */

struct named {
	const char *name;
	struct bole_block_sim_options options;
};

/* Serial NOR at 100 MHz by two lanes: any 16 bytes of a 256-byte page in one go. */
#define NOR(block_kib, erase_ms, size_mib)                                              \
	{                                                                               \
		.kind = BOLE_BLOCK_NOR, .size_bytes = (size_mib)*MIB, .read_unit = 1,   \
		.program_unit = 16, .erase_unit = (block_kib)*KIB, .endurance = 100000, \
		.times = {                                                              \
		        .read_ns = 1 * US,                                              \
		        .program_ns = 30 * US,                                          \
		        .erase_ns = (uint64_t)(erase_ms)*MS,                            \
		        .program_step = 256,                                            \
		        .read_byte_ps = 28 * NS_B,                                      \
		        .program_byte_ps = 1450 * NS_B,                                 \
		},                                                                      \
	}

#define VIRTIO(unit)                                                                     \
	{                                                                                \
		.kind = BOLE_BLOCK_MANAGED, .size_bytes = 64 * MIB, .read_unit = (unit), \
		.program_unit = (unit), .damage_unit = (unit), .volatile_cache = true,   \
		.can_discard = true,                                                     \
		.times = {                                                               \
		        .read_ns = 65 * US,                                              \
		        .program_ns = 15 * US,                                           \
		        .flush_ns = 100 * US,                                            \
		        .discard_ns = 50 * US,                                           \
		        .read_byte_ps = 400,                                             \
		        .program_byte_ps = 600,                                          \
		},                                                                       \
	}

static const struct named devices[] = {
        {"nor4k", NOR(4, 45, 8)},
        {"nor64k", NOR(64, 150, 32)},
        {"slcnand",
         {.kind = BOLE_BLOCK_NAND,
          .size_bytes = 128 * MIB,
          .read_unit = 2 * KIB,
          .program_unit = 2 * KIB,
          .erase_unit = 128 * KIB,
          .oob_bytes = 64,
          .ecc_bits = 4,
          .endurance = 100000,
          .factory_bad_ppm = 20000,
          .disturb_reads = 1000000,
          .times = {.read_ns = 25 * US,
                    .program_ns = 250 * US,
                    .erase_ns = 2 * MS,
                    .read_step = 2 * KIB,
                    .program_step = 2 * KIB,
                    .read_byte_ps = 25 * NS_B,
                    .program_byte_ps = 25 * NS_B}}},
        {"nand4k",
         {.kind = BOLE_BLOCK_NAND,
          .size_bytes = 256 * MIB,
          .read_unit = 4 * KIB,
          .program_unit = 4 * KIB,
          .erase_unit = 256 * KIB,
          .oob_bytes = 256,
          .ecc_bits = 8,
          .endurance = 10000,
          .factory_bad_ppm = 20000,
          .disturb_reads = 100000,
          .times = {.read_ns = 60 * US,
                    .program_ns = 600 * US,
                    .erase_ns = 3500 * US,
                    .read_step = 4 * KIB,
                    .program_step = 4 * KIB,
                    .read_byte_ps = 25 * NS_B,
                    .program_byte_ps = 25 * NS_B}}},
        {"sd",
         {.kind = BOLE_BLOCK_MANAGED,
          .size_bytes = 128 * MIB,
          .read_unit = 512,
          .program_unit = 512,
          .volatile_cache = true,
          .can_discard = true,
          .times = {.read_ns = 60 * US,
                    .program_ns = 250 * US,
                    .flush_ns = 2 * MS,
                    .discard_ns = 1 * MS,
                    .read_byte_ps = 45 * NS_B,
                    .program_byte_ps = 60 * NS_B}}},
        {"virtio", VIRTIO(512)},
        {"virtio4k", VIRTIO(4096)},
        /* Zones are raw blocks to the store: reset is erase, and the cache needs flushing. */
        {"zoned",
         {.kind = BOLE_BLOCK_NAND,
          .size_bytes = 256 * MIB,
          .read_unit = 4 * KIB,
          .program_unit = 4 * KIB,
          .erase_unit = 1 * MIB,
          .volatile_cache = true,
          .strict_order = true,
          .times = {.read_ns = 70 * US,
                    .program_ns = 15 * US,
                    .erase_ns = 2 * MS,
                    .flush_ns = 100 * US,
                    .read_byte_ps = 400,
                    .program_byte_ps = 600}}},
};

enum { DEVICES = sizeof devices / sizeof devices[0] };

enum bole_status bole_block_sim_geometry(const char *name, struct bole_block_sim_options *out)
{
	for (size_t i = 0; i < DEVICES; i++) {
		if (strcmp(devices[i].name, name) == 0) {
			*out = devices[i].options;
			return BOLE_OK;
		}
	}
	return BOLE_E_NOT_FOUND;
}

const char *bole_block_sim_geometry_name(size_t index)
{
	return index < DEVICES ? devices[index].name : NULL;
}
