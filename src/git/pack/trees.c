/* SPDX-License-Identifier: ISC */
/* Trees that are one that is known with other ids, as most versions of a folder are: what is sound
 * about it need not be looked at again, only the entries that changed. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/pack/intake.h"

enum { STRIDE = 64, WORD = 8 };

/* Where a and b differ first, from a place on; len if they do not. */
static size_t difference(const uint8_t *a, const uint8_t *b, size_t from, size_t len)
{
	uint64_t x, y;

	while (len - from >= STRIDE && memcmp(a + from, b + from, STRIDE) == 0)
		from += STRIDE;
	while (len - from >= WORD) {
		memcpy(&x, a + from, WORD);
		memcpy(&y, b + from, WORD);
		if (x != y)
			break;
		from += WORD;
	}
	while (from < len && a[from] == b[from])
		from++;
	return from;
}

void bole_intake_changes(uint8_t algo, struct bole_bytes base, struct bole_bytes content,
                         struct intake_changes *out)
{
	const size_t hash = bole_hash_bytes(algo);
	size_t at = 0;

	out->count = 0;
	if (base.len != content.len || content.len > UINT32_MAX)
		return;
	uint8_t count = 0;
	size_t differs = difference(base.ptr, content.ptr, 0, content.len);

	while (differs < content.len) {
		const uint8_t *nul = memchr(content.ptr + at, 0, content.len - at);

		if (nul == NULL)
			return;
		size_t id = (size_t)(nul + 1 - content.ptr);

		if (content.len - id < hash)
			return;
		if (differs >= id + hash) {
			at = id + hash;
			continue;
		}
		if (differs < id || count == INTAKE_CHANGES_MAX)
			return;
		out->at[count++] = (uint32_t)at;
		at = id + hash;
		differs = difference(base.ptr, content.ptr, at, content.len);
	}
	out->count = count;
}

static struct bole_bytes entry_at(const struct intake_object *object, uint8_t change)
{
	size_t at = object->changes->at[change];

	return bole_bytes_of(object->content.ptr + at, object->content.len - at);
}

/* In the order in which a tree that came whole is looked at, so that the same is found first. */
enum bole_status bole_intake_changed_tree(struct intake *it, const struct intake_object *object)
{
	uint8_t count = object->changes->count;

	for (uint8_t i = 0; i < count; i++)
		BOLE_TRY(bole_fsck_tree_entry(&it->fsck, &object->oid, entry_at(object, i)));
	for (uint8_t i = 0; i < count; i++)
		BOLE_TRY(bole_intake_entry_link(it, object->row, entry_at(object, i)));
	return BOLE_OK;
}
