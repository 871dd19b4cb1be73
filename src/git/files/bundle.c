/* SPDX-License-Identifier: ISC */
#include "git/files/bundle.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/limits.h"
#include "git/object/object.h"

enum {
	LINE_BYTES = BOLE_REF_NAME_MAX + BOLE_OID_HEX_MAX + 2,
	LINES_MAX = 1 << 20,
	ITEMS_FIRST = 16,
	TEXT_CHUNK_BYTES = 4096,
	COMMENT_BYTES_MAX = 200,
};

struct line {
	uint8_t bytes[LINE_BYTES];
	size_t len;
	bool cut; /* it was longer; what is left over is gone */
};

/* A line without its LF. */
static enum bole_status read_line(struct bole_input *in, struct line *line)
{
	struct bole_bytes shown;

	line->len = 0;
	line->cut = false;
	for (;;) {
		enum bole_status rc = bole_input_peek(in, &shown);

		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_E_INVALID : rc;
		const uint8_t *end = memchr(shown.ptr, '\n', shown.len);
		size_t len = end == NULL ? shown.len : (size_t)(end - shown.ptr);
		size_t room = sizeof line->bytes - line->len;
		size_t take = len < room ? len : room;

		memcpy(line->bytes + line->len, shown.ptr, take);
		line->len += take;
		line->cut |= take < len;
		bole_input_take(in, len + (end != NULL));
		if (end != NULL)
			return BOLE_OK;
	}
}

static enum bole_status read_signature(struct bole_input *in, struct line *line,
                                       struct bole_bundle_head *head)
{
	static const char v2[] = "# v2 git bundle";
	static const char v3[] = "# v3 git bundle";

	/* Not a line: the file may be anything. */
	struct bole_bytes shown;
	enum bole_status rc = bole_input_need(in, strlen(v2) + 1, &shown);
	if (rc != BOLE_OK)
		return rc == BOLE_END ? BOLE_E_INVALID : rc;
	if (memcmp(shown.ptr, "# v", 3) != 0)
		return BOLE_E_INVALID;
	BOLE_TRY(read_line(in, line));
	struct bole_bytes text = bole_bytes_of(line->bytes, line->len);
	head->version = bole_bytes_equal(text, bole_bytes_z(v2))   ? 2
	                : bole_bytes_equal(text, bole_bytes_z(v3)) ? 3
	                                                           : 0;
	return head->version == 0 ? BOLE_E_UNSUPPORTED : BOLE_OK;
}

/* "@key=value" */
static enum bole_status take_capability(struct bole_bundle_head *head, struct bole_bytes text)
{
	static const char format[] = "@object-format=";
	static const char filter[] = "@filter=";

	if (bole_bytes_start(text, bole_bytes_z(filter))) {
		head->filtered = true;
		return BOLE_OK;
	}
	if (!bole_bytes_start(text, bole_bytes_z(format)))
		return BOLE_E_UNSUPPORTED;
	text = bole_bytes_of(text.ptr + strlen(format), text.len - strlen(format));
	for (uint8_t algo = BOLE_HASH_SHA1; algo <= BOLE_HASH_SHA256; algo++)
		if (bole_bytes_equal(text, bole_bytes_z(bole_hash_name(algo)))) {
			head->algo = algo;
			return BOLE_OK;
		}
	return BOLE_E_UNSUPPORTED;
}

static enum bole_status grow(struct bole_bundle_head *head, void **items, size_t count, size_t *cap,
                             size_t size)
{
	if (count < *cap)
		return BOLE_OK;
	size_t more = *cap == 0 ? ITEMS_FIRST : *cap * 2;
	void *moved = bole_alloc_resize(head->alloc, *items, *cap, more, size);
	if (moved == NULL)
		return BOLE_E_NO_MEMORY;
	*items = moved;
	*cap = more;
	return BOLE_OK;
}

/* "-<id> comment" */
static enum bole_status take_prerequisite(struct bole_bundle_head *head, struct bole_bytes text)
{
	size_t hex = 2 * bole_hash_bytes(head->algo);
	void *items = head->prerequisites;
	struct bole_oid oid;

	if (text.len < 1 + hex || (text.len > 1 + hex && text.ptr[1 + hex] != ' ') ||
	    bole_oid_parse((const char *)text.ptr + 1, hex, head->algo, &oid) != BOLE_OK)
		return BOLE_E_INVALID;
	BOLE_TRY(grow(head, &items, head->prerequisite_count, &head->prerequisite_cap, sizeof oid));
	head->prerequisites = items;
	head->prerequisites[head->prerequisite_count++] = oid;
	return BOLE_OK;
}

/* "<id> name" */
static enum bole_status take_ref(struct bole_bundle_head *head, struct bole_bytes text)
{
	size_t hex = 2 * bole_hash_bytes(head->algo);
	struct bole_bundle_ref ref;
	void *items = head->refs;

	if (text.len <= hex + 1 || text.ptr[hex] != ' ' ||
	    bole_oid_parse((const char *)text.ptr, hex, head->algo, &ref.oid) != BOLE_OK)
		return BOLE_E_INVALID;
	struct bole_bytes name = bole_bytes_of(text.ptr + hex + 1, text.len - hex - 1);
	if (!bole_ref_name_valid(name))
		return BOLE_E_INVALID;
	uint8_t *copy = bole_arena_alloc(&head->text, name.len, 1);
	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(copy, name.ptr, name.len);
	ref.name = bole_bytes_of(copy, name.len);
	BOLE_TRY(grow(head, &items, head->ref_count, &head->ref_cap, sizeof ref));
	head->refs = items;
	head->refs[head->ref_count++] = ref;
	return BOLE_OK;
}

static enum bole_status take_line(struct bole_bundle_head *head, const struct line *line)
{
	struct bole_bytes text = bole_bytes_of(line->bytes, line->len);
	bool bare = head->prerequisite_count == 0 && head->ref_count == 0;

	if (text.ptr[0] == '@')
		return head->version == 3 && bare && !line->cut ? take_capability(head, text)
		                                                : BOLE_E_INVALID;
	if (text.ptr[0] == '-')
		return take_prerequisite(head, text);
	return line->cut ? BOLE_E_INVALID : take_ref(head, text);
}

enum bole_status bole_bundle_head_read(struct bole_input *in, struct bole_alloc *alloc,
                                       struct bole_bundle_head *head)
{
	struct line line;

	*head = (struct bole_bundle_head){.alloc = alloc, .algo = BOLE_HASH_SHA1};
	bole_arena_init(&head->text, alloc, TEXT_CHUNK_BYTES);
	BOLE_TRY(read_signature(in, &line, head));
	for (size_t lines = 0; lines < LINES_MAX; lines++) {
		BOLE_TRY(read_line(in, &line));
		if (line.len == 0)
			return BOLE_OK;
		BOLE_TRY(take_line(head, &line));
	}
	return BOLE_E_LIMIT;
}

void bole_bundle_head_release(struct bole_bundle_head *head)
{
	if (head->alloc == NULL)
		return;
	bole_alloc_free(head->alloc, head->prerequisites, head->prerequisite_cap,
	                sizeof *head->prerequisites);
	bole_alloc_free(head->alloc, head->refs, head->ref_cap, sizeof *head->refs);
	bole_arena_release(&head->text);
	*head = (struct bole_bundle_head){.alloc = NULL};
}

/* -- Writing -- */

static void write_text(struct bole_output *out, const char *text)
{
	bole_output_write(out, text, strlen(text));
}

void bole_bundle_write_begin(struct bole_output *out, uint8_t algo)
{
	if (algo == BOLE_HASH_SHA1) {
		write_text(out, "# v2 git bundle\n");
		return;
	}
	write_text(out, "# v3 git bundle\n@object-format=");
	write_text(out, bole_hash_name(algo));
	write_text(out, "\n");
}

void bole_bundle_write_prerequisite(struct bole_output *out, const struct bole_oid *oid,
                                    struct bole_bytes comment)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	const uint8_t *end = comment.len == 0 ? NULL : memchr(comment.ptr, '\n', comment.len);
	size_t len = end == NULL ? comment.len : (size_t)(end - comment.ptr);

	write_text(out, "-");
	write_text(out, bole_oid_format(oid, hex));
	write_text(out, " ");
	bole_output_write(out, comment.ptr, len < COMMENT_BYTES_MAX ? len : COMMENT_BYTES_MAX);
	write_text(out, "\n");
}

void bole_bundle_write_ref(struct bole_output *out, const struct bole_oid *oid,
                           struct bole_bytes name)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	write_text(out, bole_oid_format(oid, hex));
	write_text(out, " ");
	bole_output_write(out, name.ptr, name.len);
	write_text(out, "\n");
}

void bole_bundle_write_end(struct bole_output *out)
{
	write_text(out, "\n");
}
