/* SPDX-License-Identifier: ISC */
/* A large fetch in steps, each of them closed and kept. A server gives no part of a pack again, and
 * nothing that does not lead all the way down may be kept; but the history behind an old tag is a
 * part of what newer ones need. So the steps go from tag to tag, in the order of versions. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/sort.h"
#include "git/client/fetch.h"

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* The length of the number without its leading zeros, at *at. */
static size_t number(struct bole_bytes text, size_t *at)
{
	size_t end;

	while (*at < text.len && text.ptr[*at] == '0')
		++*at;
	for (end = *at; end < text.len && is_digit(text.ptr[end]); end++)
		;
	return end - *at;
}

/* Numbers in names count as numbers: v1.9 before v1.10. */
static int compare_versions(struct bole_bytes a, struct bole_bytes b)
{
	size_t i = 0;
	size_t j = 0;

	while (i < a.len && j < b.len) {
		if (is_digit(a.ptr[i]) && is_digit(b.ptr[j])) {
			size_t m = number(a, &i);
			size_t n = number(b, &j);
			int order = bole_bytes_compare(bole_bytes_of(a.ptr + i, m),
			                               bole_bytes_of(b.ptr + j, n));

			if (m != n)
				return m < n ? -1 : 1;
			if (order != 0)
				return order;
			i += m;
			j += n;
		} else if (a.ptr[i] != b.ptr[j]) {
			return a.ptr[i] < b.ptr[j] ? -1 : 1;
		} else {
			i++;
			j++;
		}
	}
	if (i < a.len || j < b.len)
		return i < a.len ? 1 : -1;
	return bole_bytes_compare(a, b);
}

static int compare_steps(const void *a, const void *b)
{
	const struct fetch_item *x = *(struct fetch_item *const *)a;
	const struct fetch_item *y = *(struct fetch_item *const *)b;
	bool x_tag = bole_bytes_start(x->name, bole_bytes_z("refs/tags/"));
	bool y_tag = bole_bytes_start(y->name, bole_bytes_z("refs/tags/"));

	if (x_tag != y_tag)
		return x_tag ? -1 : 1;
	return compare_versions(x->name, y->name);
}

static enum bole_status choose(struct fetching *f, struct fetch_item **list)
{
	struct bole_entry entry;
	size_t count = 0;

	for (size_t i = 0; i < f->count; i++) {
		struct fetch_item *item = &f->items[i];

		if (item->from == NULL || item->follows)
			continue;
		enum bole_status rc = bole_odb_find(f->tx->view, &item->from->oid, &entry);
		if (rc == BOLE_E_NOT_FOUND)
			list[count++] = item;
		else if (rc != BOLE_OK)
			return rc;
	}
	if (count <= f->job->batch_refs)
		return BOLE_OK;
	f->more = true;
	BOLE_TRY(bole_sort(f->r->platform, f->r->alloc, list, count, sizeof(struct fetch_item *),
	                   compare_steps));
	for (size_t i = f->job->batch_refs; i < count; i++)
		list[i]->later = true;
	/* What is gone goes with the last step. */
	for (size_t i = 0; i < f->count; i++)
		f->items[i].later = f->items[i].later || f->items[i].from == NULL;
	return BOLE_OK;
}

enum bole_status bole_fetch_batch(struct fetching *f)
{
	if (f->job->batch_refs == 0 || f->count == 0 || f->job->atomic)
		return BOLE_OK;
	struct fetch_item **list =
	        bole_alloc_array(f->r->alloc, f->count, sizeof(struct fetch_item *));
	if (list == NULL)
		return bole_remote_fail(f->r, BOLE_E_NO_MEMORY, "no memory for the references");
	enum bole_status rc = choose(f, list);
	bole_alloc_free(f->r->alloc, list, f->count, sizeof(struct fetch_item *));
	return rc;
}
