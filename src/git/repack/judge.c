/* SPDX-License-Identifier: ISC */
/* Are the deltas that are there any good? Those of another path are not, where there are many:
 * whoever made them took what was at hand. A file of which many versions are stored whole, beside
 * long chains that nothing can be added to, was packed with a short window or by pieces. What a
 * path needs is one whole object for each full chain; the rest of what is stored whole is waste. */
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"
#include "git/repack/repack.h"

enum { WASTE_PART = 4 };

struct version {
	uint64_t stored;
	uint32_t name;
	uint8_t type;
	bool kept;
};

static int by_path(const void *left, const void *right)
{
	const struct version *a = left;
	const struct version *b = right;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	return a->name < b->name ? -1 : a->name > b->name;
}

/* Of the versions of one path. */
static uint64_t waste_of(const struct version *list, size_t count, unsigned depth)
{
	uint64_t whole = 0;
	uint64_t longest = 0;

	for (size_t i = 0; i < count; i++) {
		if (list[i].kept)
			continue;
		whole += list[i].stored;
		longest = list[i].stored > longest ? list[i].stored : longest;
	}
	uint64_t needed = longest * (1 + count / (depth + 1));
	return whole > needed ? whole - needed : 0;
}

static uint64_t waste(const struct repack *r, const struct version *list, size_t count)
{
	uint64_t sum = 0;
	size_t first = 0;

	for (size_t i = 1; i <= count; i++) {
		if (i < count && by_path(&list[first], &list[i]) == 0)
			continue;
		sum += waste_of(list + first, i - first, r->options.depth);
		first = i;
	}
	return sum;
}

enum bole_status bole_repack_judge(struct repack *r)
{
	size_t cap = r->map.count;
	uint64_t all = 0;
	uint64_t foreign = 0;
	size_t count = 0;

	if (r->result->kept == 0)
		return BOLE_OK;
	struct version *list = bole_alloc_array(r->alloc, cap, sizeof *list);
	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < r->map.count; i++) {
		const struct repack_item *item = &r->items[i];

		all += item->stored;
		if (item->kept && item->name != 0 && r->items[item->base].name != item->name)
			foreign += item->stored;
		if (item->name != 0 && item->size <= r->options.big_bytes)
			list[count++] =
			        (struct version){item->stored, item->name, item->type, item->kept};
	}
	enum bole_status rc = bole_sort(r->platform, r->alloc, list, count, sizeof *list, by_path);
	uint64_t sum = rc == BOLE_OK ? waste(r, list, count) : 0;
	bole_alloc_free(r->alloc, list, cap, sizeof *list);
	BOLE_TRY(rc);
	if (sum > all / WASTE_PART || foreign > all / WASTE_PART)
		bole_repack_items_anew(r);
	return BOLE_OK;
}
