/* SPDX-License-Identifier: ISC */
/* P13, the part without coverage (fuzz/flash_mount.c has the other): volumes with blocks that were
 * patched, lost, swapped, or spliced in from an older state or from another volume are mounted,
 * read, checked and written. Nothing crashes, nothing is shown that was never written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torture/programs.h"

enum {
	STEPS = 20,
	STANDS = 4, /* states of one volume, from empty to sealed */
	TRIALS = 250,
	CHANGES = 6,
	GROUP = 64,
	BLOCK_MAX = 4096,
	USED_MAX = 1 << 15,
};

struct stand {
	struct bole_block *device;
	uint32_t used[USED_MAX]; /* groups that hold something */
	uint32_t count;
};

struct mutant {
	struct torture_unit *u;
	const struct torture_geometry *g;
	struct lean disk;
	struct lean lean;
	struct stand stand[STANDS];
	unsigned stands;
	uint64_t random;
	char where[32];
};

#define BAD(m, ...) torture_finding((m)->u, (m)->g->name, (m)->where, __VA_ARGS__)

static uint64_t draw(struct mutant *m, uint64_t below)
{
	return torture_random(&m->random) % below;
}

static void find_used(struct stand *s)
{
	static const uint8_t zero[GROUP];
	static uint8_t chunk[64 << 10];
	uint8_t erased[GROUP];
	uint64_t size = s->device->info.size_bytes;

	memset(erased, 0xff, sizeof erased);
	for (uint64_t at = 0; at < size; at += sizeof chunk) {
		size_t n = size - at < sizeof chunk ? (size_t)(size - at) : sizeof chunk;
		bole_block_sim_peek(s->device, at, chunk, n);
		for (size_t i = 0; i + GROUP <= n && s->count < USED_MAX; i += GROUP)
			if (memcmp(chunk + i, zero, GROUP) != 0 &&
			    memcmp(chunk + i, erased, GROUP) != 0)
				s->used[s->count++] = (uint32_t)((at + i) / GROUP);
	}
}

/* A place where something is, in blocks of `block` bytes. */
static uint64_t place(struct mutant *m, const struct stand *s, uint64_t block)
{
	uint64_t at = s->count == 0 ? 0 : (uint64_t)s->used[draw(m, s->count)] * GROUP;

	return at / block * block;
}

static void change(struct mutant *m, struct bole_block *device)
{
	static const uint64_t blocks[] = {16, 512, 2048, BLOCK_MAX};
	struct stand *from = &m->stand[draw(m, m->stands)];
	uint64_t block = blocks[draw(m, 4)];
	uint8_t bytes[BLOCK_MAX];
	uint64_t to = place(m, &m->stand[m->stands - 1], block);

	switch (draw(m, 5)) {
	case 0: /* some bits of some bytes */
		bole_block_sim_peek(device, to, bytes, block);
		for (uint64_t i = 0; i < 1 + draw(m, 4); i++)
			bytes[draw(m, block)] ^= (uint8_t)(1u << draw(m, 8));
		break;
	case 1: /* a field of four or eight bytes */
		bole_block_sim_peek(device, to, bytes, block);
		memset(bytes + draw(m, block / 8) * 8, (int)(draw(m, 3) * 127 + draw(m, 2)),
		       4 + draw(m, 2) * 4);
		break;
	case 2: /* as it was once */ bole_block_sim_peek(from->device, to, bytes, block); break;
	case 3: /* another one */
		bole_block_sim_peek(from->device, place(m, from, block), bytes, block);
		break;
	default: memset(bytes, draw(m, 2) == 0 ? 0 : 0xff, block); break;
	}
	bole_block_sim_poke(device, to, bytes, block);
}

/* Whatever is there: it is read and written without a crash. */
static void use(struct mutant *m, struct bole_block *device)
{
	static struct world w;
	struct model_reader reader = {.tolerant = true};
	struct bole_flash_check_result result;
	struct model_state seen;

	world_init(&w, device, m->random);
	w.damaged = true;
	reader.alloc = &w.lean.alloc;
	w.lean.loud = m->u->verbose;
	(void)!bole_flash_check(device, &w.lean.base, &w.lean.alloc, NULL, &result);
	m->u->count.trials++;
	enum bole_status rc = world_open(&w);
	if (rc == BOLE_OK && w.lost != 0) {
		(void)model_read(&reader, w.store, &seen);
		(void)world_close(&w);
		rc = bole_flash_repair(device, &w.lean.base, &w.lean.alloc, NULL, &result);
		if (rc == BOLE_OK)
			rc = world_open(&w);
		m->u->extra[1]++;
	}
	m->u->extra[0] += rc == BOLE_OK;
	if (rc == BOLE_OK) {
		(void)model_read(&reader, w.store, &seen);
		/* Old states are old, but every byte of them was written. */
		if (strstr(reader.why, "wrong bytes") != NULL)
			BAD(m, "reading %s: %s", reader.at, reader.why);
		w.now = seen;
		for (unsigned i = 0; i < 4 && rc == BOLE_OK; i++)
			rc = world_do(&w, world_draw(&w, (unsigned)(m->random % WORK_FLAVOURS)));
		if (w.store != NULL)
			(void)world_close(&w);
	}
	if (w.lean.blocks != 0)
		BAD(m, "memory is never given back");
}

static bool make(struct mutant *m)
{
	static struct cut_run r;
	struct cut_plan plan = {.unit = m->u, .geometry = m->g};
	bool good = cut_start(&r, &plan, m->random);

	if (!good)
		return false;
	r.tap.hook = NULL;
	for (unsigned i = 0; i < STEPS && good; i++) {
		if (i % (STEPS / (STANDS - 1)) == 0 && m->stands < STANDS - 1)
			m->stand[m->stands++].device = torture_twin(&m->disk, r.device);
		good = cut_do(&r, world_draw(&r.world, (unsigned)(m->random % WORK_FLAVOURS)));
	}
	if (good)
		good = world_close(&r.world) == BOLE_OK;
	m->stand[m->stands++].device = torture_twin(&m->disk, r.device);
	cut_end(&r);
	for (unsigned i = 0; i < m->stands; i++)
		find_used(&m->stand[i]);
	return good;
}

void torture_p13(struct torture_unit *u)
{
	static struct mutant m;
	struct torture_geometry geometry = *torture_geometry_of(u->number);

	geometry.no_discard = true;
	m = (struct mutant){.u = u, .g = &geometry, .random = torture_mix(u->seed, u->number)};
	lean_init(&m.disk, 1);
	bool good = make(&m);
	for (unsigned i = 0; i < TRIALS && good; i++) {
		m.random = torture_mix(torture_mix(u->seed, u->number), i);
		(void)snprintf(m.where, sizeof m.where, "mutant%u", i);
		if (u->only != NULL && strcmp(u->only, m.where) != 0)
			continue;
		torture_progress(u, geometry.name, m.where);
		struct bole_block *twin =
		        torture_twin(&m.disk, m.stand[draw(&m, 2) ? m.stands - 1u : 2].device);
		for (uint64_t n = 1 + draw(&m, CHANGES); n > 0; n--)
			change(&m, twin);
		use(&m, twin);
		bole_block_close(twin);
	}
	for (unsigned i = 0; i < m.stands; i++)
		bole_block_close(m.stand[i].device);
}
