/* SPDX-License-Identifier: ISC */
#include "git/files/ref_files.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/limits.h"
#include "git/object/object.h"

/* Cuts a line without its LF off; the last one may lack it. */
static struct bole_bytes cut_line(struct bole_bytes *rest)
{
	const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);
	size_t len = end == NULL ? rest->len : (size_t)(end - rest->ptr);
	struct bole_bytes line = bole_bytes_of(rest->ptr, len);

	rest->ptr += len + (end != NULL);
	rest->len -= len + (end != NULL);
	return line;
}

static bool cut_word(struct bole_bytes *line, struct bole_bytes *word)
{
	size_t start = 0;

	while (start < line->len && line->ptr[start] == ' ')
		start++;
	size_t end = start;
	while (end < line->len && line->ptr[end] != ' ')
		end++;
	*word = bole_bytes_of(line->ptr + start, end - start);
	*line = bole_bytes_of(line->ptr + end, line->len - end);
	return word->len > 0;
}

enum bole_status bole_packed_refs_open(struct bole_bytes file, uint8_t algo,
                                       struct bole_packed_refs *out)
{
	static const char head[] = "# pack-refs with:";
	struct bole_bytes word;

	*out = (struct bole_packed_refs){.rest = file, .algo = algo};
	if (file.len == 0 || file.ptr[0] != '#')
		return BOLE_OK;
	struct bole_bytes line = cut_line(&out->rest);
	if (!bole_bytes_start(line, bole_bytes_z(head)))
		return BOLE_E_INVALID;
	line = bole_bytes_of(line.ptr + strlen(head), line.len - strlen(head));
	while (cut_word(&line, &word)) {
		out->peeled |= bole_bytes_equal(word, bole_bytes_z("peeled"));
		out->fully_peeled |= bole_bytes_equal(word, bole_bytes_z("fully-peeled"));
		out->sorted |= bole_bytes_equal(word, bole_bytes_z("sorted"));
	}
	return BOLE_OK;
}

enum bole_status bole_packed_refs_next(struct bole_packed_refs *refs, struct bole_ref *out)
{
	size_t hex = 2 * bole_hash_bytes(refs->algo);

	memset(out, 0, sizeof *out);
	if (refs->rest.len == 0)
		return BOLE_END;
	struct bole_bytes line = cut_line(&refs->rest);
	if (line.len <= hex + 1 || line.ptr[hex] != ' ' ||
	    bole_oid_parse((const char *)line.ptr, hex, refs->algo, &out->oid) != BOLE_OK)
		return BOLE_E_INVALID;
	out->name = bole_bytes_of(line.ptr + hex + 1, line.len - hex - 1);
	if (out->name.len > BOLE_REF_NAME_MAX || !bole_ref_name_valid(out->name))
		return BOLE_E_INVALID;
	if (refs->rest.len == 0 || refs->rest.ptr[0] != '^')
		return BOLE_OK;
	line = cut_line(&refs->rest);
	if (bole_oid_parse((const char *)line.ptr + 1, line.len - 1, refs->algo, &out->peeled) !=
	    BOLE_OK)
		return BOLE_E_INVALID;
	out->has_peeled = true;
	return BOLE_OK;
}

void bole_packed_refs_write_head(struct bole_output *out)
{
	static const char head[] = "# pack-refs with: peeled fully-peeled sorted \n";

	bole_output_write(out, head, strlen(head));
}

void bole_packed_refs_write(struct bole_output *out, const struct bole_ref *ref)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	BOLE_ASSERT(!ref->symbolic);
	bole_oid_format(&ref->oid, hex);
	bole_output_write(out, hex, strlen(hex));
	bole_output_write(out, " ", 1);
	bole_output_write(out, ref->name.ptr, ref->name.len);
	if (ref->has_peeled) {
		bole_oid_format(&ref->peeled, hex);
		bole_output_write(out, "\n^", 2);
		bole_output_write(out, hex, strlen(hex));
	}
	bole_output_write(out, "\n", 1);
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

enum bole_status bole_loose_ref_parse(struct bole_bytes file, uint8_t algo, struct bole_ref *out)
{
	static const char symbolic[] = "ref:";
	size_t hex = 2 * bole_hash_bytes(algo);

	memset(out, 0, sizeof *out);
	while (file.len > 0 && is_space(file.ptr[file.len - 1]))
		file.len--;
	if (bole_bytes_start(file, bole_bytes_z(symbolic))) {
		size_t at = strlen(symbolic);

		while (at < file.len && is_space(file.ptr[at]))
			at++;
		out->symbolic = true;
		out->target = bole_bytes_of(file.ptr + at, file.len - at);
		return out->target.len <= BOLE_REF_NAME_MAX && bole_ref_name_valid(out->target)
		               ? BOLE_OK
		               : BOLE_E_INVALID;
	}
	/* FETCH_HEAD and its kin have more behind the id. */
	if (file.len < hex || (file.len > hex && !is_space(file.ptr[hex])))
		return BOLE_E_INVALID;
	return bole_oid_parse((const char *)file.ptr, hex, algo, &out->oid);
}
