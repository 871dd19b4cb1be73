/* SPDX-License-Identifier: ISC */
/* Shared by the files that do operations (work.c, work_live.c). */
#ifndef BOLE_TORTURE_WORK_H
#define BOLE_TORTURE_WORK_H

#include "torture/torture.h"

struct work_tx {
	struct world *w;
	unsigned slot;
	struct bole_tx *tx;
	struct model_repo *next; /* what the transaction makes of the repository */
};

uint64_t work_draw(struct world *, uint64_t below);
/* A repository that is there. */
bool work_pick(struct world *, unsigned *slot);
enum bole_status work_repo(struct world *, unsigned slot, struct bole_repo *out);
enum bole_status work_put(struct work_tx *, unsigned number);
/* Notes an answer that cannot be right. */
enum bole_status work_wrong(struct world *, const char *what, enum bole_status);
bool work_refused(enum bole_status);
bool work_needed(const struct world *, unsigned slot, const struct model_repo *, unsigned number);

enum bole_status work_gc(struct world *);
enum bole_status work_maintain(struct world *, enum work_op);

#endif /* BOLE_TORTURE_WORK_H */
