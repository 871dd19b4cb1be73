/* SPDX-License-Identifier: ISC */
#include "git/fetch/treeish.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/object/object.h"

enum bole_status bole_tree_path(struct bole_session *s, struct bole_object_reader *reader,
                                struct bole_oid *oid, uint32_t *mode, struct bole_bytes path)
{
	while (path.len > 0) {
		const uint8_t *slash = memchr(path.ptr, '/', path.len);
		size_t len = slash == NULL ? path.len : (size_t)(slash - path.ptr);
		struct bole_tree_entry entry;
		struct bole_bytes rest;
		enum bole_status rc = BOLE_OK;

		if (len == 0) {
			path = bole_bytes_of(path.ptr + 1, path.len - 1);
			continue;
		}
		if (*mode != BOLE_MODE_TREE)
			return BOLE_E_NOT_FOUND;
		BOLE_TRY(bole_session_tick(s));
		BOLE_TRY(bole_object_read(reader, oid, NULL, &rest));
		while ((rc = bole_tree_next(&rest, oid->algo, &entry)) == BOLE_OK &&
		       !bole_bytes_equal(entry.name, bole_bytes_of(path.ptr, len)))
			continue;
		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_E_NOT_FOUND : BOLE_E_CORRUPT;
		*oid = entry.oid;
		*mode = entry.mode;
		path = bole_bytes_of(path.ptr + len, path.len - len);
	}
	return BOLE_OK;
}

static enum bole_status find_ref(struct bole_session *s, struct bole_bytes name,
                                 struct bole_oid *oid)
{
	static const char *const before[] = {"", "refs/", "refs/tags/", "refs/heads/",
	                                     "refs/remotes/"};
	char full[BOLE_REF_NAME_MAX + 32];
	struct bole_listed_ref listed;
	struct bole_ref ref;

	if (name.len == 0 || name.len > BOLE_REF_NAME_MAX)
		return BOLE_E_NOT_FOUND;
	for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
		size_t len = strlen(before[i]);

		memcpy(full, before[i], len);
		memcpy(full + len, name.ptr, name.len);
		enum bole_status rc = bole_ref_view_get(&s->refs, s->snapshot,
		                                        bole_bytes_of(full, len + name.len), &ref);
		if (rc == BOLE_OK)
			rc = bole_ref_resolve(&s->refs, s->snapshot, &ref, &listed);
		if (rc == BOLE_OK)
			*oid = listed.oid;
		if (rc != BOLE_E_NOT_FOUND)
			return rc;
	}
	return BOLE_E_NOT_FOUND;
}

enum bole_status bole_treeish_find(struct bole_session *s, struct bole_object_reader *reader,
                                   struct bole_bytes text, struct bole_treeish *out)
{
	const uint8_t *colon = text.len == 0 ? NULL : memchr(text.ptr, ':', text.len);
	size_t len = colon == NULL ? text.len : (size_t)(colon - text.ptr);
	struct bole_commit commit;
	struct bole_bytes data;
	struct bole_oid oid;
	uint8_t type;

	*out = (struct bole_treeish){.mode = BOLE_MODE_TREE};
	BOLE_TRY(find_ref(s, bole_bytes_of(text.ptr, len), &oid));
	BOLE_TRY(bole_session_peel(s, s->snapshot, &oid, &out->oid, &type));
	if (type == BOLE_OBJECT_COMMIT) {
		BOLE_TRY(bole_object_read(reader, &out->oid, NULL, &data));
		BOLE_TRY(bole_commit_parse(data, oid.algo, &commit));
		if (colon == NULL)
			out->commit = out->oid;
		out->time_s = commit.commit_time;
		out->oid = commit.tree;
	} else if (type != BOLE_OBJECT_TREE) {
		return BOLE_E_NOT_FOUND;
	}
	if (colon == NULL)
		return BOLE_OK;
	return bole_tree_path(s, reader, &out->oid, &out->mode,
	                      bole_bytes_of(colon + 1, text.len - len - 1));
}
