/* SPDX-License-Identifier: ISC */
/* Trees, commits, tags and names of references. The first byte chooses the algorithm; the rest is
 * read as each kind. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/object/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct bole_bytes whole, struct bole_bytes part)
{
	BOLE_ASSERT(part.len == 0 || part.ptr >= whole.ptr);
	BOLE_ASSERT(part.len == 0 || part.ptr + part.len <= whole.ptr + whole.len);
}

static void tree(struct bole_bytes data, uint8_t algo)
{
	struct bole_bytes rest = data;
	struct bole_tree_entry entry;
	struct bole_tree_entry last;
	enum bole_status rc;

	for (size_t i = 0; (rc = bole_tree_next(&rest, algo, &entry)) == BOLE_OK; i++) {
		inside(data, entry.name);
		inside(data, rest);
		BOLE_ASSERT(entry.name.len > 0);
		(void)bole_tree_name_safe(entry.name);
		if (i > 0) {
			int order = bole_tree_entry_compare(&last, &entry);
			int back = bole_tree_entry_compare(&entry, &last);

			BOLE_ASSERT((order < 0) == (back > 0) && (order == 0) == (back == 0));
		}
		last = entry;
	}
	BOLE_ASSERT(rc == BOLE_END || rc == BOLE_E_INVALID);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_commit commit;
	struct bole_tag tag;

	if (size == 0)
		return 0;
	uint8_t algo = data[0] & 1 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;
	struct bole_bytes rest = {data + 1, size - 1};
	tree(rest, algo);
	enum bole_status rc = bole_commit_parse(rest, algo, &commit);
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_INVALID);
	if (rc == BOLE_OK) {
		struct bole_oid parent;

		for (size_t i = 0; i < commit.parent_count; i++)
			bole_commit_parent(&commit, algo, i, &parent);
		inside(rest, commit.author);
		inside(rest, commit.committer);
		inside(rest, commit.extra);
		inside(rest, commit.message);
	}
	rc = bole_tag_parse(rest, algo, &tag);
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_INVALID);
	if (rc == BOLE_OK) {
		BOLE_ASSERT(bole_object_type_name(tag.target_type) != NULL);
		inside(rest, tag.name);
		inside(rest, tag.message);
	}
	(void)bole_ref_name_valid(rest);
	(void)bole_tree_name_safe(rest);
	return 0;
}
