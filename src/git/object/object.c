/* SPDX-License-Identifier: ISC */
#include "git/object/object.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum { MODE_DIGITS_MAX = 7, MODE_MAX = 0177777, MODE_TYPE = 0170000, TIME_DIGITS_MAX = 18 };

/* -- Trees -- */

enum bole_status bole_tree_next(struct bole_bytes *rest, uint8_t algo, struct bole_tree_entry *out)
{
	const uint8_t *at = rest->ptr;
	size_t left = rest->len;
	size_t digits = 0;
	uint32_t mode = 0;

	if (left == 0)
		return BOLE_END;
	for (; digits < left && at[digits] != ' '; digits++) {
		if (digits == MODE_DIGITS_MAX || at[digits] < '0' || at[digits] > '7')
			return BOLE_E_INVALID;
		mode = mode << 3 | (uint32_t)(at[digits] - '0');
	}
	if (digits == 0 || digits == left || mode > MODE_MAX)
		return BOLE_E_INVALID;
	at += digits + 1;
	left -= digits + 1;
	const uint8_t *end = left == 0 ? NULL : memchr(at, '\0', left);
	if (end == NULL || end == at)
		return BOLE_E_INVALID;
	size_t name_len = (size_t)(end - at);
	if (memchr(at, '/', name_len) != NULL)
		return BOLE_E_INVALID;
	left -= name_len + 1;
	if (left < bole_hash_bytes(algo))
		return BOLE_E_INVALID;
	out->mode = mode;
	out->name = bole_bytes_of(at, name_len);
	bole_oid_from_raw(end + 1, algo, &out->oid);
	rest->ptr = end + 1 + bole_hash_bytes(algo);
	rest->len = left - bole_hash_bytes(algo);
	return BOLE_OK;
}

/* The byte at i of a name that ends in '/' when it is a directory; 0 past the end. */
static uint8_t order_byte(const struct bole_tree_entry *entry, size_t i)
{
	if (i < entry->name.len)
		return entry->name.ptr[i];
	return i == entry->name.len && (entry->mode & MODE_TYPE) == BOLE_MODE_TREE ? '/' : 0;
}

int bole_tree_entry_compare(const struct bole_tree_entry *a, const struct bole_tree_entry *b)
{
	size_t n = a->name.len < b->name.len ? a->name.len : b->name.len;
	int order = n == 0 ? 0 : memcmp(a->name.ptr, b->name.ptr, n);

	for (size_t i = n; order == 0 && i < n + 2; i++) {
		order = (int)order_byte(a, i) - (int)order_byte(b, i);
		if (order_byte(a, i) == 0)
			break;
	}
	return order;
}

/* -- Names that are not what they seem -- */

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool starts_folded(struct bole_bytes name, const char *prefix)
{
	size_t len = strlen(prefix);

	if (name.len < len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (lower(name.ptr[i]) != (uint8_t)prefix[i])
			return false;
	return true;
}

/* NTFS drops trailing dots and spaces, and ':' begins a stream's name. */
static bool ntfs_dot_git(struct bole_bytes name)
{
	size_t i;

	if (starts_folded(name, ".git"))
		i = 4;
	else if (starts_folded(name, "git~1"))
		i = 5;
	else
		return false;
	for (; i < name.len && name.ptr[i] != ':'; i++)
		if (name.ptr[i] != '.' && name.ptr[i] != ' ')
			return false;
	return true;
}

/* The length of a code point that HFS+ ignores in names, at i; 0 = none there. They are U+200C to
 * U+200F, U+202A to U+202E, U+206A to U+206F and U+FEFF, three bytes each in UTF-8. */
static size_t hfs_ignored(struct bole_bytes name, size_t i)
{
	if (name.len - i < 3)
		return 0;
	const uint8_t *c = name.ptr + i;
	bool ignored = (c[0] == 0xe2 && c[1] == 0x80 &&
	                ((c[2] >= 0x8c && c[2] <= 0x8f) || (c[2] >= 0xaa && c[2] <= 0xae))) ||
	               (c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xaa && c[2] <= 0xaf) ||
	               (c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf);
	return ignored ? 3 : 0;
}

/* What is left of name without ignored code points is word, in any case. */
static bool hfs_equal(struct bole_bytes name, const char *word)
{
	size_t matched = 0;

	for (size_t i = 0; i < name.len;) {
		size_t skip = hfs_ignored(name, i);

		if (skip > 0) {
			i += skip;
			continue;
		}
		if (word[matched] == '\0' || lower(name.ptr[i]) != (uint8_t)word[matched])
			return false;
		matched++;
		i++;
	}
	return word[matched] == '\0';
}

bool bole_tree_name_safe(struct bole_bytes name)
{
	if (name.len == 0 || memchr(name.ptr, '/', name.len) != NULL ||
	    memchr(name.ptr, '\0', name.len) != NULL)
		return false;
	if (hfs_equal(name, ".git") || hfs_equal(name, ".") || hfs_equal(name, ".."))
		return false;
	/* Windows splits at backslashes too. */
	for (size_t start = 0; start <= name.len;) {
		size_t end = start;

		while (end < name.len && name.ptr[end] != '\\')
			end++;
		if (ntfs_dot_git(bole_bytes_of(name.ptr + start, end - start)))
			return false;
		start = end + 1;
	}
	return true;
}

/* -- Commits and tags -- */

/* Cuts "key <value>\n" off *rest when it is there. */
static bool header_take(struct bole_bytes *rest, const char *key, struct bole_bytes *value)
{
	size_t key_len = strlen(key);

	if (rest->len <= key_len || memcmp(rest->ptr, key, key_len) != 0 ||
	    rest->ptr[key_len] != ' ')
		return false;
	const uint8_t *start = rest->ptr + key_len + 1;
	const uint8_t *end = memchr(start, '\n', rest->len - key_len - 1);
	if (end == NULL)
		return false;
	*value = bole_bytes_of(start, (size_t)(end - start));
	rest->len -= (size_t)(end + 1 - rest->ptr);
	rest->ptr = end + 1;
	return true;
}

static bool header_oid(struct bole_bytes *rest, const char *key, uint8_t algo, struct bole_oid *oid)
{
	struct bole_bytes hex;

	return header_take(rest, key, &hex) &&
	       bole_oid_parse((const char *)hex.ptr, hex.len, algo, oid) == BOLE_OK;
}

/* Cuts the headers that are left, up to the empty line; what follows it is the message. */
static void headers_end(struct bole_bytes rest, struct bole_bytes *extra,
                        struct bole_bytes *message)
{
	size_t at = 0;

	while (at < rest.len && rest.ptr[at] != '\n') {
		const uint8_t *end = memchr(rest.ptr + at, '\n', rest.len - at);

		at = end == NULL ? rest.len : (size_t)(end + 1 - rest.ptr);
	}
	*extra = bole_bytes_of(rest.ptr, at);
	if (at < rest.len)
		at++;
	*message = bole_bytes_of(rest.ptr + at, rest.len - at);
}

/* The number after the last "> " of an identity; 0 if there is none. */
static int64_t identity_time(struct bole_bytes line)
{
	size_t at = line.len;
	int64_t time = 0;
	size_t digits = 0;

	while (at > 0 && line.ptr[at - 1] != '>')
		at--;
	if (at == 0 || at >= line.len || line.ptr[at] != ' ')
		return 0;
	for (at++; at < line.len && line.ptr[at] >= '0' && line.ptr[at] <= '9'; at++) {
		if (++digits > TIME_DIGITS_MAX)
			return 0;
		time = time * 10 + (line.ptr[at] - '0');
	}
	return time;
}

enum bole_status bole_commit_parse(struct bole_bytes data, uint8_t algo, struct bole_commit *out)
{
	struct bole_bytes rest = data;
	struct bole_bytes line;
	struct bole_oid parent;

	memset(out, 0, sizeof *out);
	if (!header_oid(&rest, "tree", algo, &out->tree))
		return BOLE_E_INVALID;
	out->parents.ptr = rest.ptr;
	while (bole_bytes_start(rest, bole_bytes_z("parent "))) {
		if (!header_oid(&rest, "parent", algo, &parent))
			return BOLE_E_INVALID;
		out->parent_count++;
	}
	out->parents.len = (size_t)(rest.ptr - out->parents.ptr);
	if (!header_take(&rest, "author", &out->author))
		return BOLE_E_INVALID;
	/* Some old histories name several authors; Git reads the first. */
	while (header_take(&rest, "author", &line))
		;
	if (!header_take(&rest, "committer", &out->committer))
		return BOLE_E_INVALID;
	out->commit_time = identity_time(out->committer);
	headers_end(rest, &out->extra, &out->message);
	return BOLE_OK;
}

void bole_commit_parent(const struct bole_commit *commit, uint8_t algo, size_t i,
                        struct bole_oid *out)
{
	size_t line_len = strlen("parent ") + 2 * bole_hash_bytes(algo) + 1;

	BOLE_ASSERT(i < commit->parent_count);
	BOLE_ASSERT(commit->parents.len == commit->parent_count * line_len);
	const char *hex = (const char *)commit->parents.ptr + i * line_len + strlen("parent ");
	/* It parsed before. */
	BOLE_ASSERT(bole_oid_parse(hex, 2 * bole_hash_bytes(algo), algo, out) == BOLE_OK);
}

enum bole_status bole_tag_parse(struct bole_bytes data, uint8_t algo, struct bole_tag *out)
{
	struct bole_bytes rest = data;
	struct bole_bytes type;
	struct bole_bytes extra;

	memset(out, 0, sizeof *out);
	if (!header_oid(&rest, "object", algo, &out->target) || !header_take(&rest, "type", &type))
		return BOLE_E_INVALID;
	for (uint8_t i = BOLE_OBJECT_COMMIT; i <= BOLE_OBJECT_TAG; i++)
		if (bole_bytes_equal(type, bole_bytes_z(bole_object_type_name(i))))
			out->target_type = i;
	if (out->target_type == 0 || !header_take(&rest, "tag", &out->name))
		return BOLE_E_INVALID;
	/* Tags of Git's first months have no tagger. */
	(void)header_take(&rest, "tagger", &out->tagger);
	headers_end(rest, &extra, &out->message);
	return BOLE_OK;
}

/* -- Pack entry heads -- */

enum { SIZE_SHIFT_MAX = 60 };

/* The distance of an offset delta: base 128, most significant first, plus one for each byte that
 * continues. */
static enum bole_status distance_parse(struct bole_bytes data, size_t *at, uint64_t *out)
{
	uint64_t distance = 0;
	uint8_t byte;

	do {
		if (*at == data.len)
			return BOLE_AGAIN;
		byte = data.ptr[(*at)++];
		if (distance > UINT64_MAX >> 7)
			return BOLE_E_INVALID;
		distance = distance << 7 | (byte & 0x7f);
		if ((byte & 0x80) != 0 && ++distance > UINT64_MAX >> 7)
			return BOLE_E_INVALID;
	} while ((byte & 0x80) != 0);
	*out = distance;
	return distance == 0 ? BOLE_E_INVALID : BOLE_OK;
}

enum bole_status bole_entry_head_parse(struct bole_bytes data, uint8_t algo,
                                       struct bole_entry_head *out)
{
	size_t at = 0;
	unsigned shift = 4;

	memset(out, 0, sizeof *out);
	if (data.len == 0)
		return BOLE_AGAIN;
	uint8_t byte = data.ptr[at++];
	out->type = byte >> 4 & 7;
	out->inflated_bytes = byte & 15;
	if (out->type == 0 || out->type == 5)
		return BOLE_E_INVALID;
	while ((byte & 0x80) != 0) {
		if (at == data.len)
			return BOLE_AGAIN;
		byte = data.ptr[at++];
		uint64_t part = byte & 0x7f;
		if (shift > SIZE_SHIFT_MAX || part << shift >> shift != part)
			return BOLE_E_INVALID;
		out->inflated_bytes |= part << shift;
		shift += 7;
	}
	if (out->type == BOLE_ENTRY_OFS_DELTA)
		BOLE_TRY(distance_parse(data, &at, &out->base_distance));
	if (out->type == BOLE_ENTRY_REF_DELTA) {
		if (data.len - at < bole_hash_bytes(algo))
			return BOLE_AGAIN;
		bole_oid_from_raw(data.ptr + at, algo, &out->base);
		at += bole_hash_bytes(algo);
	}
	out->head_bytes = at;
	return BOLE_OK;
}

size_t bole_entry_head_format(const struct bole_entry_head *head, uint8_t algo, uint8_t *dst)
{
	uint64_t size = head->inflated_bytes >> 4;
	size_t len = 0;

	BOLE_ASSERT(head->type >= 1);
	BOLE_ASSERT(head->type <= 7 && head->type != 5);
	dst[len++] = (uint8_t)((unsigned)head->type << 4 | (head->inflated_bytes & 15));
	for (; size > 0; size >>= 7) {
		dst[len - 1] |= 0x80;
		dst[len++] = size & 0x7f;
	}
	if (head->type == BOLE_ENTRY_OFS_DELTA) {
		uint8_t reversed[16];
		size_t n = 0;
		uint64_t distance = head->base_distance;

		BOLE_ASSERT(distance > 0);
		reversed[n++] = distance & 0x7f;
		for (distance >>= 7; distance > 0; distance >>= 7) {
			distance--;
			reversed[n++] = (uint8_t)(0x80 | (distance & 0x7f));
		}
		while (n > 0)
			dst[len++] = reversed[--n];
	}
	if (head->type == BOLE_ENTRY_REF_DELTA) {
		BOLE_ASSERT(head->base.algo == algo);
		memcpy(dst + len, head->base.bytes, bole_hash_bytes(algo));
		len += bole_hash_bytes(algo);
	}
	BOLE_ASSERT(len <= BOLE_ENTRY_HEAD_MAX);
	return len;
}

uint32_t bole_path_hash(uint32_t hash, struct bole_bytes part)
{
	for (size_t i = 0; i < part.len; i++)
		if (part.ptr[i] > ' ')
			hash = (hash >> 2) + ((uint32_t)part.ptr[i] << 24);
	return hash;
}
