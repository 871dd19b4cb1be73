/* SPDX-License-Identifier: ISC */
/* Many objects in slots, each of which is replaced over and over: for programs that run long. The
 * bytes of an object follow from slot and version alone. */
#ifndef BOLE_TORTURE_HOARD_H
#define BOLE_TORTURE_HOARD_H

#include "torture/torture.h"

enum { HOARD_SLOTS_MAX = 1 << 16, HOARD_ENTRY_MAX = 4096 };

struct hoard {
	struct torture_unit *unit;
	const char *geometry;
	struct lean lean;
	struct bole_block *device; /* borrowed */
	struct bole_store *store;
	uint32_t repo;
	uint32_t slots;
	uint32_t entry_max;
	uint64_t random;
	uint64_t written; /* entry bytes of committed objects */
	/* 0 = empty. A transaction whose outcome is not known leaves two that may be. */
	uint32_t version[HOARD_SLOTS_MAX];
	uint32_t other[HOARD_SLOTS_MAX];
	bool unsure;
};

/* Formats the device, makes a repository. slots: at most so many. */
bool hoard_start(struct hoard *, struct torture_unit *, const char *geometry, struct bole_block *,
                 uint32_t slots, uint32_t entry_max);
enum bole_status hoard_open(struct hoard *, const struct bole_flash_open_options *);
enum bole_status hoard_close(struct hoard *);
/* Replaces (or fills) the slots in one transaction. */
enum bole_status hoard_put(struct hoard *, const uint32_t *slot, unsigned count);
/* Reads one slot: right, or a finding and false. */
bool hoard_read(struct hoard *, struct bole_snapshot *, uint32_t slot);
/* All of them; the number of findings is limited. */
bool hoard_verify(struct hoard *, const char *when);
/* Maintains until there is nothing to do, or `most` steps. */
enum bole_status hoard_maintain(struct hoard *, unsigned eagerness, unsigned most);

#endif /* BOLE_TORTURE_HOARD_H */
