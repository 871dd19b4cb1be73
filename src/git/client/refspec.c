/* SPDX-License-Identifier: ISC */
/* [+]src[:dst], ^src; one * on each side, or on none. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/remote.h"
#include "git/object/object.h"

/* A name, whole or short, with a * in it or none; an id is one too. */
static bool side_valid(struct bole_bytes side, bool *star)
{
	char name[BOLE_REF_NAME_MAX + 8];
	size_t stars = 0;

	if (side.len == 0 || side.len > BOLE_REF_NAME_MAX || side.ptr[0] == '-')
		return false;
	/* A short name is valid where it would be below refs/heads. */
	memcpy(name, "refs/x/", 7);
	memcpy(name + 7, side.ptr, side.len);
	for (size_t i = 0; i < side.len; i++)
		if (name[7 + i] == '*') {
			name[7 + i] = 'x';
			stars++;
		}
	*star = stars == 1;
	return stars <= 1 && bole_ref_name_valid(bole_bytes_of(name, 7 + side.len));
}

enum bole_status bole_refspec_parse(const char *text, bool push, struct bole_refspec *out)
{
	bool src_star = false;
	bool dst_star = false;

	*out = (struct bole_refspec){.force = text[0] == '+', .negative = text[0] == '^'};
	text += out->force || out->negative;
	const char *colon = strchr(text, ':');
	out->src = colon == NULL ? bole_bytes_z(text) : bole_bytes_of(text, (size_t)(colon - text));
	out->has_dst = colon != NULL && colon[1] != '\0';
	if (out->has_dst)
		out->dst = bole_bytes_z(colon + 1);
	bool deletes = push && out->src.len == 0 && out->has_dst && !out->negative;
	if (!deletes && !side_valid(out->src, &src_star))
		return BOLE_E_INVALID;
	if (out->has_dst && !side_valid(out->dst, &dst_star))
		return BOLE_E_INVALID;
	if (out->negative ? colon != NULL : out->has_dst && src_star != dst_star)
		return BOLE_E_INVALID;
	if (push && colon != NULL && !out->has_dst)
		return BOLE_E_INVALID;
	out->pattern = src_star;
	return BOLE_OK;
}

bool bole_client_refspec_valid(const char *text, bool push)
{
	struct bole_refspec spec;

	return bole_refspec_parse(text, push, &spec) == BOLE_OK;
}

bool bole_refspec_match(struct bole_bytes pattern, struct bole_bytes name, struct bole_bytes *star)
{
	const uint8_t *at = pattern.len == 0 ? NULL : memchr(pattern.ptr, '*', pattern.len);

	*star = bole_bytes_of("", 0);
	if (at == NULL)
		return bole_bytes_equal(pattern, name);
	size_t before = (size_t)(at - pattern.ptr);
	size_t after = pattern.len - before - 1;
	if (name.len < before + after || memcmp(name.ptr, pattern.ptr, before) != 0 ||
	    memcmp(name.ptr + name.len - after, at + 1, after) != 0)
		return false;
	*star = bole_bytes_of(name.ptr + before, name.len - before - after);
	return true;
}

bool bole_refspec_expand(struct bole_bytes pattern, struct bole_bytes star, char *out, size_t cap,
                         size_t *len)
{
	const uint8_t *at = memchr(pattern.ptr, '*', pattern.len);
	size_t before = at == NULL ? pattern.len : (size_t)(at - pattern.ptr);
	size_t after = at == NULL ? 0 : pattern.len - before - 1;

	if (at == NULL)
		star.len = 0;
	*len = before + star.len + after;
	if (*len > cap)
		return false;
	memcpy(out, pattern.ptr, before);
	memcpy(out + before, star.ptr, star.len);
	if (after > 0)
		memcpy(out + before + star.len, at + 1, after);
	return true;
}

void bole_refspec_lookup(unsigned i, struct bole_bytes *before, struct bole_bytes *after)
{
	static const char *const names[BOLE_LOOKUPS] = {
	        "", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/", "refs/remotes/"};

	*before = bole_bytes_z(names[i]);
	*after = bole_bytes_z(i + 1 == BOLE_LOOKUPS ? "/HEAD" : "");
}
