/* SPDX-License-Identifier: ISC */
#include "support/dagpack.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "git/object/object.h"
#include "support/suite_help.h"

struct arriving {
	const struct dagworld *w;
	struct dag_arrival *in;
	int *nodes; /* of each entry, DAG_NONE: not known yet */
	size_t *at;
	uint32_t count;
};

static void inflate_entry(struct arriving *a, size_t *at, uint8_t *out, size_t len)
{
	z_stream z = {.next_in = (uint8_t *)(uintptr_t)a->in->pack.ptr + *at,
	              .avail_in = (uInt)(a->in->pack.len - *at)};
	uint8_t none;

	check_eq(inflateInit(&z), Z_OK);
	z.next_out = len == 0 ? &none : out;
	z.avail_out = (uInt)len;
	check_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
	check_eq(z.total_out, len);
	*at += z.total_in;
	inflateEnd(&z);
}

static uint64_t delta_size(const uint8_t **p)
{
	uint64_t size = 0;
	unsigned shift = 0;

	for (;; shift += 7) {
		size |= (uint64_t)(**p & 0x7f) << shift;
		if ((*(*p)++ & 0x80) == 0)
			return size;
	}
}

static struct maker_bytes apply(const struct maker_bytes *base, const uint8_t *p,
                                const uint8_t *end)
{
	struct maker_bytes out = {0};

	check_eq(delta_size(&p), base->len);
	uint64_t size = delta_size(&p);
	while (p < end) {
		uint8_t op = *p++;
		uint32_t offset = 0, len = 0;

		if (op < 0x80) {
			check(op != 0);
			maker_append(&out, p, op);
			p += op;
			continue;
		}
		for (unsigned i = 0; i < 4; i++)
			offset |= (op >> i & 1) != 0 ? (uint32_t)*p++ << 8 * i : 0;
		for (unsigned i = 0; i < 3; i++)
			len |= (op >> (4 + i) & 1) != 0 ? (uint32_t)*p++ << 8 * i : 0;
		len = len == 0 ? 0x10000 : len;
		check(offset <= base->len && len <= base->len - offset);
		maker_append(&out, base->ptr + offset, len);
	}
	check_eq(out.len, size);
	return out;
}

/* The node that a delta stands on; DAG_NONE: it comes later. */
static int base_of(struct arriving *a, uint32_t i, const struct bole_entry_head *head)
{
	if (head->type == BOLE_ENTRY_OFS_DELTA) {
		check(a->in->ofs_delta);
		for (uint32_t k = 0; k < i; k++)
			if (a->at[k] == a->at[i] - head->base_distance)
				return a->nodes[k];
		check(false);
	}
	int base = dag_find(a->w, &head->base);
	check(base != DAG_NONE);
	if (a->in->sent[base])
		return base;
	if (!a->in->had[base])
		return DAG_NONE;
	check(a->in->thin);
	a->in->on_had++;
	return base;
}

/* Reads an entry at *at, and which object it is if that can be said by now. */
static void take_entry(struct arriving *a, uint32_t i, size_t *at)
{
	struct bole_entry_head head;
	struct bole_oid oid;

	check_eq(bole_entry_head_parse(bole_bytes_of(a->in->pack.ptr + *at, a->in->pack.len - *at),
	                               a->w->repo.algo, &head),
	         BOLE_OK);
	a->at[i] = *at;
	*at += head.head_bytes;
	uint8_t *bytes = malloc(head.inflated_bytes + 1);
	check(bytes != NULL);
	inflate_entry(a, at, bytes, head.inflated_bytes);
	struct maker_bytes text = {.ptr = bytes, .len = head.inflated_bytes};
	uint8_t type = head.type;
	if (head.type == BOLE_ENTRY_OFS_DELTA || head.type == BOLE_ENTRY_REF_DELTA) {
		int base = base_of(a, i, &head);

		if (base == DAG_NONE) {
			free(bytes);
			return;
		}
		text = apply(&a->w->nodes[base].text, bytes, bytes + head.inflated_bytes);
		type = a->w->nodes[base].type;
		free(bytes);
		a->in->deltas++;
	}
	check_eq(bole_object_id(a->w->repo.algo, type, bole_bytes_of(text.ptr, text.len), false,
	                        &oid),
	         BOLE_OK);
	free(text.ptr);
	a->nodes[i] = dag_find(a->w, &oid);
	check(a->nodes[i] != DAG_NONE);
	check_not(a->in->sent[a->nodes[i]]); /* each once */
	a->in->sent[a->nodes[i]] = true;
}

/* Once over the entries that are not known yet; more: some still are not. Returns whether that
 * helped. */
static bool pass(struct arriving *a, bool first, bool *more)
{
	size_t at = PACK_HEAD;
	bool helped = false;

	*more = false;
	for (uint32_t i = 0; i < a->count; i++) {
		if (!first)
			at = a->at[i];
		if (a->nodes[i] != DAG_NONE)
			continue;
		take_entry(a, i, &at);
		helped |= a->nodes[i] != DAG_NONE;
		*more |= a->nodes[i] == DAG_NONE;
	}
	if (first)
		check_eq(at, a->in->pack.len - bole_hash_bytes(a->w->repo.algo));
	return helped;
}

void dag_take_apart(const struct dagworld *w, struct dag_arrival *in)
{
	struct arriving a = {.w = w, .in = in};
	bool more;

	check(in->pack.len >= PACK_HEAD + bole_hash_bytes(w->repo.algo));
	a.count = bole_get_be32(in->pack.ptr + 8);
	a.nodes = malloc((a.count + 1) * sizeof *a.nodes);
	a.at = calloc(a.count + 1, sizeof *a.at);
	check(a.nodes != NULL && a.at != NULL);
	for (uint32_t i = 0; i < a.count; i++)
		a.nodes[i] = DAG_NONE;
	(void)pass(&a, true, &more);
	while (more)
		check(pass(&a, false, &more)); /* no ring, and no base that nobody has */
	free(a.nodes);
	free(a.at);
}
