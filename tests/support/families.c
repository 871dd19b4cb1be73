/* SPDX-License-Identifier: ISC */
#include "support/families.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "support/platform.h"

enum { TREE_ENTRIES = 30 };

static struct families_node *node_new(struct families *f, uint8_t type)
{
	if (f->count == f->cap) {
		f->cap = f->cap == 0 ? 256 : f->cap * 2;
		f->nodes = realloc(f->nodes, f->cap * sizeof *f->nodes);
		if (f->nodes == NULL)
			abort();
	}
	struct families_node *node = &f->nodes[f->count++];

	memset(node, 0, sizeof *node);
	node->type = type;
	return node;
}

static void identify(const struct families *f, struct families_node *node)
{
	if (bole_object_id(f->maker.algo, node->type,
	                   bole_bytes_of(node->bytes.ptr, node->bytes.len), false,
	                   &node->oid) != BOLE_OK)
		abort();
}

/* Content becomes the start of the base, something else, and the rest of the base from `again` on.
 */
static void edit(struct families_node *node, const struct families_node *base, size_t keep,
                 const uint8_t *with, size_t len, size_t again, struct maker_bytes *delta)
{
	size_t rest = base->bytes.len - again;

	maker_append(&node->bytes, base->bytes.ptr, keep);
	maker_append(&node->bytes, with, len);
	maker_append(&node->bytes, base->bytes.ptr + again, rest);
	delta_begin(delta, base->bytes.len, node->bytes.len);
	if (keep > 0)
		delta_copy(delta, 0, (uint32_t)keep);
	if (len > 0)
		delta_insert(delta, with, (uint8_t)len);
	if (rest > 0)
		delta_copy(delta, (uint32_t)again, (uint32_t)rest);
}

static void edit_blob(struct families *f, struct families_node *node,
                      const struct families_node *base, struct maker_bytes *delta)
{
	uint8_t with[100];
	size_t len = 1 + test_random(&f->seed) % sizeof with;
	size_t keep = test_random(&f->seed) % base->bytes.len;
	size_t again = keep + test_random(&f->seed) % (base->bytes.len - keep) / 20;

	test_random_bytes(&f->seed, with, len);
	edit(node, base, keep, with, len, again, delta);
}

/* One entry names another blob. */
static void edit_tree(struct families *f, struct families_node *node,
                      const struct families_node *base, const struct families_node *blob,
                      struct maker_bytes *delta)
{
	size_t id = bole_hash_bytes(f->maker.algo);
	size_t at = test_random(&f->seed) % TREE_ENTRIES;
	size_t entry = base->bytes.len / TREE_ENTRIES;
	size_t from = (at + 1) * entry - id;

	edit(node, base, from, blob->oid.bytes, id, from + id, delta);
}

static void add_delta(struct families *f, size_t of, size_t blobs, bool wrong)
{
	struct families_node *node = node_new(f, f->nodes[of].type);
	const struct families_node *base = &f->nodes[of];
	struct maker_bytes delta = {0};

	if (base->type == BOLE_OBJECT_BLOB)
		edit_blob(f, node, base, &delta);
	else
		edit_tree(f, node, base, &f->nodes[test_random(&f->seed) % blobs], &delta);
	if (wrong)
		delta_insert(&delta, (const uint8_t *)"x", 1);
	identify(f, node);
	node->offset = test_random(&f->seed) % 20 == 0
	                       ? packmaker_ref(&f->maker, &base->oid, &delta)
	                       : packmaker_ofs(&f->maker, base->offset, &delta);
	maker_release(&delta);
}

static void add_family(struct families *f, struct families_node *root, size_t deltas, size_t blobs,
                       size_t wrong)
{
	size_t first = (size_t)(root - f->nodes);
	size_t count = test_random(&f->seed) % (deltas + 1);
	bool chain = test_random(&f->seed) % 2 == 0;

	identify(f, root);
	root->offset =
	        packmaker_object(&f->maker, root->type, root->bytes.ptr, root->bytes.len, NULL);
	for (size_t i = 0; i < count; i++) {
		size_t last = f->count - 1;
		size_t of = chain ? last : first + test_random(&f->seed) % (f->count - first);

		add_delta(f, of, blobs, f->count == wrong);
	}
}

void families_make(struct families *f, const struct families_options *o, uint64_t seed)
{
	size_t wrong = SIZE_MAX;

	memset(f, 0, sizeof *f);
	f->seed = seed;
	if (o->wrong)
		wrong = 1 + test_random(&f->seed) % (o->families * o->deltas / 3);
	packmaker_init(&f->maker, o->algo);
	for (size_t i = 0; i < o->families; i++) {
		struct families_node *root = node_new(f, BOLE_OBJECT_BLOB);
		size_t len = 1 + o->blob_bytes / 2 + test_random(&f->seed) % o->blob_bytes;

		for (size_t k = 0; k < len; k += 8)
			maker_text(&root->bytes, "%07x\n", (unsigned)(test_random(&f->seed) >> 40));
		add_family(f, root, o->deltas, 0, wrong);
		/* Whole again, and a delta that is there already. */
		if (i % 7 == 3)
			packmaker_object(&f->maker, BOLE_OBJECT_BLOB,
			                 f->nodes[f->count - 1].bytes.ptr,
			                 f->nodes[f->count - 1].bytes.len, NULL);
	}
	size_t blobs = f->count;

	for (size_t i = 0; i < o->families / 3; i++) {
		struct families_node *root = node_new(f, BOLE_OBJECT_TREE);
		char name[16];

		for (unsigned k = 0; k < TREE_ENTRIES; k++) {
			snprintf(name, sizeof name, "file-%02u", k);
			tree_entry(&root->bytes, "100644", name,
			           &f->nodes[test_random(&f->seed) % blobs].oid);
		}
		add_family(f, root, o->deltas, blobs, wrong);
	}
	packmaker_finish(&f->maker);
}

void families_release(struct families *f)
{
	for (size_t i = 0; i < f->count; i++)
		maker_release(&f->nodes[i].bytes);
	free(f->nodes);
	packmaker_release(&f->maker);
}
