/* SPDX-License-Identifier: ISC */
/* Keys as paths in trees. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "kv/kv.h"

_Static_assert(BOLE_PATH_BYTES_MAX / 2 <= BOLE_TREE_DEPTH_MAX, "every key fits the depth of trees");

struct bole_bytes bole_kv_component(struct bole_bytes key, size_t at, bool *last)
{
	BOLE_ASSERT(at < key.len);
	const uint8_t *start = key.ptr + at;
	const uint8_t *slash = memchr(start, '/', key.len - at);
	*last = slash == NULL;
	return bole_bytes_of(start, *last ? key.len - at : (size_t)(slash - start));
}

bool bole_kv_key_valid(struct bole_bytes key)
{
	bool last = false;

	if (key.len == 0 || key.len > BOLE_PATH_BYTES_MAX || key.ptr[key.len - 1] == '/')
		return false;
	for (size_t at = 0; !last;) {
		struct bole_bytes part = bole_kv_component(key, at, &last);

		if (!bole_tree_name_safe(part))
			return false;
		at += part.len + 1;
	}
	return true;
}

/* The entry of that name in a tree. BOLE_E_NOT_FOUND. */
static enum bole_status tree_find(struct bole_bytes data, uint8_t algo, struct bole_bytes name,
                                  struct bole_tree_entry *out)
{
	enum bole_status rc;

	while ((rc = bole_tree_next(&data, algo, out)) == BOLE_OK)
		if (bole_bytes_equal(out->name, name))
			return BOLE_OK;
	return rc == BOLE_END ? BOLE_E_NOT_FOUND : BOLE_E_CORRUPT;
}

enum bole_status bole_kv_find(struct bole_object_reader *reader, uint8_t algo,
                              const struct bole_oid *root, struct bole_bytes key,
                              struct kv_place *out)
{
	struct bole_tree_entry entry;
	struct bole_bytes data;
	struct bole_oid tree;
	bool last = false;
	uint8_t type;

	*out = (struct kv_place){.kind = KV_ABSENT};
	if (root == NULL)
		return BOLE_OK;
	tree = *root;
	for (size_t at = 0; !last;) {
		struct bole_bytes part = bole_kv_component(key, at, &last);
		enum bole_status rc = bole_object_read(reader, &tree, &type, &data);

		if (rc == BOLE_OK && type != BOLE_OBJECT_TREE)
			rc = BOLE_E_CORRUPT;
		if (rc != BOLE_OK)
			return rc == BOLE_E_NOT_FOUND ? BOLE_E_CORRUPT : rc;
		rc = tree_find(data, algo, part, &entry);
		if (rc != BOLE_OK)
			return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
		bool directory = (entry.mode & 0170000) == BOLE_MODE_TREE;
		if (!last && !directory) {
			out->kind = KV_BLOCKED;
			return BOLE_OK;
		}
		tree = entry.oid;
		at += part.len + 1;
		if (last) {
			out->kind = directory ? KV_DIRECTORY : KV_VALUE;
			out->mode = entry.mode;
			out->oid = entry.oid;
		}
	}
	return BOLE_OK;
}
