/* SPDX-License-Identifier: ISC */
/* The devices that the regime runs on: small ones of each kind, 256 segments and a few more. */
#include "torture/torture.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

const struct torture_geometry torture_geometries[] = {
        {"nor4k",
         {.kind = BOLE_BLOCK_NOR,
          .size_bytes = 4 * MIB + 64 * KIB,
          .read_unit = 1,
          .program_unit = 16,
          .erase_unit = 4 * KIB}},
        {"nor64k",
         {.kind = BOLE_BLOCK_NOR,
          .size_bytes = 16 * MIB + 512 * KIB,
          .read_unit = 1,
          .program_unit = 16,
          .erase_unit = 64 * KIB}},
        {"slcnand",
         {.kind = BOLE_BLOCK_NAND,
          .size_bytes = 288 * 128 * KIB,
          .read_unit = 2048,
          .program_unit = 2048,
          .erase_unit = 128 * KIB}},
        {"sd",
         {.kind = BOLE_BLOCK_MANAGED,
          .size_bytes = 4 * MIB + 128 * KIB,
          .read_unit = 512,
          .program_unit = 512,
          .volatile_cache = true}},
        {"virtio",
         {.kind = BOLE_BLOCK_MANAGED,
          .size_bytes = 4 * MIB + 128 * KIB,
          .read_unit = 512,
          .program_unit = 512,
          .volatile_cache = true,
          .can_discard = true}},
};
const unsigned torture_geometry_count = sizeof torture_geometries / sizeof *torture_geometries;

const char *const torture_modes[] = {"random", "drop", "keep"};
const unsigned torture_mode_count = sizeof torture_modes / sizeof *torture_modes;

bool torture_mode_applies(const struct torture_geometry *g, unsigned mode, enum tap_kind kind)
{
	(void)g;
	(void)mode;
	(void)kind;
	return true;
}

enum bole_status torture_interrupt(struct lean *memory, struct bole_block *device,
                                   const struct tap_op *op, unsigned mode, uint64_t seed,
                                   struct bole_block **out)
{
	enum bole_status rc = bole_block_sim_clone(&memory->alloc, device, out);

	if (rc != BOLE_OK)
		return rc;
	bole_block_sim_seed(*out, seed);
	bole_block_sim_cut_at(*out, 1, (enum bole_block_sim_tear)mode);
	(void)tap_issue(*out, op);
	bole_block_sim_power_on(*out);
	return BOLE_OK;
}
