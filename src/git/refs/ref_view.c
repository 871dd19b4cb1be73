/* SPDX-License-Identifier: ISC */
#include "git/refs/ref_view.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/limits.h"
#include "git/object/object.h"

enum { FULL_MAX = BOLE_NAMESPACE_MAX + BOLE_REF_NAME_MAX };

/* Names are as they are stored. */
static bool whole(const struct bole_ref_view *view)
{
	return view->space == NULL || *view->space == '\0';
}

struct bole_bytes bole_ref_view_space(const struct bole_ref_view *view)
{
	return bole_bytes_z(view->space == NULL ? "" : view->space);
}

bool bole_namespace_prefix(const char *name, char dst[BOLE_NAMESPACE_MAX + 1])
{
	size_t at = 0;

	dst[0] = '\0';
	while (*name != '\0') {
		size_t len = strcspn(name, "/");
		if (len > 0) {
			int n = snprintf(dst + at, BOLE_NAMESPACE_MAX + 1 - at,
			                 "refs/namespaces/%.*s/", (int)len, name);
			if (n < 0 || (size_t)n > BOLE_NAMESPACE_MAX - at)
				return false;
			at += (size_t)n;
		}
		name += len;
		while (*name == '/')
			name++;
	}
	return at == 0 || bole_ref_name_valid(bole_bytes_of(dst, at - 1));
}

static bool covers(const char *pattern, struct bole_bytes name)
{
	size_t len = strlen(pattern);

	while (len > 0 && pattern[len - 1] == '/')
		len--;
	return bole_bytes_start(name, bole_bytes_of(pattern, len)) &&
	       (name.len == len || name.ptr[len] == '/');
}

bool bole_ref_hidden(const struct bole_ref_view *view, struct bole_bytes name)
{
	struct bole_bytes space = bole_ref_view_space(view);
	char full[FULL_MAX];

	for (size_t i = view->hide_count; i > 0; i--) {
		const char *pattern = view->hide[i - 1];
		struct bole_bytes subject = name;
		bool shows = *pattern == '!';

		pattern += shows;
		if (*pattern == '^') {
			pattern++;
			if (name.len > FULL_MAX - space.len)
				return true;
			memcpy(full, space.ptr, space.len);
			memcpy(full + space.len, name.ptr, name.len);
			subject = bole_bytes_of(full, space.len + name.len);
		}
		if (covers(pattern, subject))
			return !shows;
	}
	return false;
}

/* The stored name; false: too long to be one. */
static bool inside(const struct bole_ref_view *view, struct bole_bytes name, char full[FULL_MAX],
                   struct bole_bytes *out)
{
	struct bole_bytes space = bole_ref_view_space(view);

	*out = name;
	if (space.len == 0)
		return true;
	if (name.len > FULL_MAX - space.len)
		return false;
	memcpy(full, space.ptr, space.len);
	if (name.len > 0)
		memcpy(full + space.len, name.ptr, name.len);
	*out = bole_bytes_of(full, space.len + name.len);
	return true;
}

/* Cuts the namespace off a stored reference. What points out of it points nowhere. */
static void outside(const struct bole_ref_view *view, struct bole_ref *ref)
{
	struct bole_bytes space = bole_ref_view_space(view);

	if (space.len == 0)
		return;
	ref->name = bole_bytes_of(ref->name.ptr + space.len, ref->name.len - space.len);
	if (!ref->symbolic)
		return;
	if (bole_bytes_start(ref->target, space))
		ref->target =
		        bole_bytes_of(ref->target.ptr + space.len, ref->target.len - space.len);
	else
		ref->target = bole_bytes_of("", 0);
}

enum bole_status bole_ref_view_next(const struct bole_ref_view *view,
                                    struct bole_snapshot *snapshot, struct bole_bytes prefix,
                                    struct bole_bytes after, struct bole_ref *out)
{
	char full_prefix[FULL_MAX];
	char full_after[FULL_MAX];

	if (whole(view) && view->hide_count == 0)
		return bole_ref_next(snapshot, prefix, after, out);
	if (!inside(view, prefix, full_prefix, &prefix))
		return BOLE_END;
	do {
		struct bole_bytes from = after;

		if (after.len > 0 && !inside(view, after, full_after, &from))
			return BOLE_END;
		enum bole_status rc = bole_ref_next(snapshot, prefix, from, out);
		if (rc != BOLE_OK)
			return rc;
		outside(view, out);
		after = out->name;
	} while (view->hide_count > 0 && bole_ref_hidden(view, out->name));
	return BOLE_OK;
}

enum bole_status bole_ref_view_get(const struct bole_ref_view *view, struct bole_snapshot *snapshot,
                                   struct bole_bytes name, struct bole_ref *out)
{
	char full[FULL_MAX];

	if (bole_ref_hidden(view, name) || !inside(view, name, full, &name))
		return BOLE_E_NOT_FOUND;
	BOLE_TRY(bole_ref_get(snapshot, name, out));
	outside(view, out);
	return BOLE_OK;
}

enum bole_status bole_ref_resolve(const struct bole_ref_view *view, struct bole_snapshot *snapshot,
                                  const struct bole_ref *ref, struct bole_listed_ref *out)
{
	struct bole_ref end;
	char full[FULL_MAX];

	out->name = ref->name;
	out->target = bole_bytes_of("", 0);
	out->has_peeled = false;
	memset(&out->oid, 0, sizeof out->oid);
	memset(&out->peeled, 0, sizeof out->peeled);
	for (unsigned depth = 0; ref->symbolic; depth++) {
		struct bole_bytes stored;

		if (depth == BOLE_SYMREF_DEPTH_MAX)
			return BOLE_E_NOT_FOUND; /* a loop names nothing */
		out->target = ref->target;
		if (ref->target.len == 0 || !inside(view, ref->target, full, &stored))
			return BOLE_E_NOT_FOUND;
		BOLE_TRY(bole_ref_get(snapshot, stored, &end));
		outside(view, &end);
		ref = &end;
	}
	out->oid = ref->oid;
	out->has_peeled = ref->has_peeled;
	if (ref->has_peeled)
		out->peeled = ref->peeled;
	return BOLE_OK;
}
