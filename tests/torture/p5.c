/* SPDX-License-Identifier: ISC */
/* P5: every sequence of up to three operations, cut everywhere. */
#include "torture/programs.h"

enum { LONGEST = 3, LETTERS = 9, SEQUENCES = 9 + 81 + 729 };

static const enum work_op alphabet[LETTERS] = {
        WORK_PUT,  WORK_PACK, WORK_REF,        WORK_REFS,   WORK_REF_DELETE,
        WORK_DROP, WORK_GC,   WORK_CHECKPOINT, WORK_REOPEN,
};

static unsigned spell(uint64_t sequence, enum work_op *out)
{
	unsigned len = 1;
	uint64_t count = LETTERS;

	while (sequence >= count) {
		sequence -= count;
		count *= LETTERS;
		len++;
	}
	for (unsigned i = 0; i < len; i++, sequence /= LETTERS)
		out[i] = alphabet[sequence % LETTERS];
	return len;
}

/* Something to work on: a repository with records, a pack and references. */
static bool prepare(struct cut_run *r)
{
	static const enum work_op steps[] = {WORK_REPO, WORK_PUT, WORK_PACK, WORK_REFS};

	for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++)
		if (!cut_do(r, steps[i]))
			return false;
	return true;
}

void torture_p5(struct torture_unit *u)
{
	static struct cut_run r;
	struct cut_plan plan = {.unit = u,
	                        .geometry = torture_geometry_of(u->number),
	                        .depth = 1,
	                        .chance = {1024},
	                        .every_mode = true,
	                        .go_on = 1,
	                        .check_every = 4};
	enum work_op op[LONGEST];
	unsigned len = spell(u->number / torture_geometry_count % SEQUENCES, op);

	if (!cut_start(&r, &plan, torture_mix(u->seed, u->number)))
		return;
	void (*hook)(struct tap *, const struct tap_op *) = r.tap.hook;
	r.tap.hook = NULL;
	bool good = prepare(&r);
	r.tap.hook = hook;
	for (unsigned i = 0; i < len && good; i++)
		good = cut_do(&r, op[i]);
	cut_end(&r);
}
