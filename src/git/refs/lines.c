/* SPDX-License-Identifier: ISC */
/* One reference as packets (gitprotocol-pack(5), "Reference Discovery"; gitprotocol-v2(5),
 * "ls-refs"). */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hex.h"
#include "git/object/object.h"
#include "git/refs/listing.h"

enum bole_status bole_ref_fill_peeled(struct bole_session *s, struct bole_listed_ref *ref)
{
	struct bole_entry entry;
	uint8_t type;

	if (ref->has_peeled || bole_bytes_start(ref->name, bole_bytes_z("refs/heads/")))
		return BOLE_OK;
	enum bole_status rc = bole_odb_find(s->snapshot, &ref->oid, &entry);
	if (rc == BOLE_OK && entry.type != BOLE_OBJECT_TAG)
		return BOLE_OK;
	if (rc == BOLE_OK)
		rc = bole_session_peel(s, s->snapshot, &ref->oid, &ref->peeled, &type);
	ref->has_peeled = rc == BOLE_OK;
	if (rc != BOLE_OK)
		s->unpeeled = true;
	return rc == BOLE_E_CLOSED ? rc : BOLE_OK;
}

struct text {
	uint8_t *start; /* of the packet */
	uint8_t *end;
};

static void put(struct text *t, struct bole_bytes more)
{
	if (more.len > 0)
		memcpy(t->end, more.ptr, more.len);
	t->end += more.len;
}

static void put_oid(struct text *t, const struct bole_oid *oid)
{
	size_t bytes = bole_hash_bytes(oid->algo);

	bole_hex_encode(t->end, oid->bytes, bytes);
	t->end += 2 * bytes;
}

/* Ends the packet; the next begins behind it. */
static void end(struct text *t)
{
	*t->end++ = '\n';
	bole_pkt_head(t->start, (size_t)(t->end - t->start) - BOLE_PKT_HEAD_BYTES);
	t->start = t->end;
	t->end += BOLE_PKT_HEAD_BYTES;
}

static void put_line(struct text *t, const struct bole_oid *oid, struct bole_bytes name,
                     const char *suffix)
{
	put_oid(t, oid);
	*t->end++ = ' ';
	put(t, name);
	put(t, bole_bytes_z(suffix));
	end(t);
}

static void put_ls_line(struct text *t, const struct bole_ref_format *format,
                        const struct bole_listed_ref *listed, bool symbolic, bool missing)
{
	if (missing)
		put(t, bole_bytes_z("unborn"));
	else
		put_oid(t, &listed->oid);
	*t->end++ = ' ';
	put(t, listed->name);
	if (symbolic && (format->symrefs || missing)) {
		put(t, bole_bytes_z(" symref-target:"));
		put(t, listed->target);
	}
	if (format->peel && listed->has_peeled) {
		put(t, bole_bytes_z(" peeled:"));
		put_oid(t, &listed->peeled);
	}
	end(t);
}

enum bole_status bole_ref_lines(struct bole_session *s, const struct bole_ref_format *format,
                                const struct bole_ref *ref, uint8_t dst[BOLE_REF_LINES_BYTES],
                                size_t *len)
{
	struct text t = {.start = dst, .end = dst + BOLE_PKT_HEAD_BYTES};
	bool head = bole_bytes_equal(ref->name, bole_bytes_z("HEAD"));
	bool ls = format->style == BOLE_REF_STYLE_LS;
	struct bole_listed_ref listed;

	*len = 0;
	if (head && format->style == BOLE_REF_STYLE_RECEIVE)
		return BOLE_OK;
	enum bole_status rc = bole_ref_resolve(&s->refs, s->snapshot, ref, &listed);
	bool missing = rc == BOLE_E_NOT_FOUND;
	if (rc != BOLE_OK && !missing)
		return rc;
	/* What leads nowhere is not listed; only an unborn HEAD is of use to a client. */
	if (missing && !(ls && format->unborn && head))
		return BOLE_OK;
	if (!missing && (ls ? format->peel : format->style == BOLE_REF_STYLE_UPLOAD))
		BOLE_TRY(bole_ref_fill_peeled(s, &listed));
	if (ls) {
		put_ls_line(&t, format, &listed, ref->symbolic, missing);
	} else {
		put_line(&t, &listed.oid, listed.name, "");
		if (format->style == BOLE_REF_STYLE_UPLOAD && listed.has_peeled)
			put_line(&t, &listed.peeled, listed.name, "^{}");
	}
	*len = (size_t)(t.start - dst);
	BOLE_ASSERT(*len <= BOLE_REF_LINES_BYTES - BOLE_PKT_HEAD_BYTES);
	return BOLE_OK;
}

struct bole_bytes bole_ref_line_name(struct bole_bytes line)
{
	const uint8_t *space = memchr(line.ptr, ' ', line.len);
	const uint8_t *end = line.ptr + line.len;

	BOLE_ASSERT(space != NULL);
	const uint8_t *name = space + 1;
	const uint8_t *stop = name;
	while (stop < end && *stop != ' ' && *stop != '\n')
		stop++;
	return bole_bytes_of(name, (size_t)(stop - name));
}

size_t bole_ref_line_bytes(const uint8_t *line)
{
	size_t len = 0;

	for (size_t i = 0; i < BOLE_PKT_HEAD_BYTES; i++)
		len = len << 4 | (size_t)(line[i] <= '9' ? line[i] - '0' : line[i] - 'a' + 10);
	return len;
}

size_t bole_ref_line_ids(struct bole_bytes line, uint8_t algo, struct bole_oid ids[2])
{
	static const char peeled[] = " peeled:";
	size_t digits = 2 * bole_hash_bytes(algo);
	size_t tail = strlen(peeled) + digits + 1; /* names have no spaces in them */
	size_t count = 0;

	if (line.len >= BOLE_PKT_HEAD_BYTES + digits &&
	    bole_oid_parse((const char *)line.ptr + BOLE_PKT_HEAD_BYTES, digits, algo, &ids[0]) ==
	            BOLE_OK)
		count++;
	if (count == 0 || line.len < BOLE_PKT_HEAD_BYTES + digits + tail)
		return count;
	const char *end = (const char *)line.ptr + line.len - tail;
	if (memcmp(end, peeled, strlen(peeled)) == 0 &&
	    bole_oid_parse(end + strlen(peeled), digits, algo, &ids[1]) == BOLE_OK)
		count++;
	return count;
}
