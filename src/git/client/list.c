/* SPDX-License-Identifier: ISC */
/* The references of a server: each name is one that a repository may hold, or it is passed over. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/sort.h"
#include "git/client/remote.h"
#include "git/object/object.h"
#include "git/service/service_impl.h"

enum { REFS_FIRST = 64 };

enum bole_status bole_remote_keep(struct bole_remote *r, struct bole_bytes text,
                                  struct bole_bytes *out)
{
	r->text_bytes += text.len;
	if (r->text_bytes > BOLE_REMOTE_REF_BYTES_MAX)
		return bole_remote_fail(r, BOLE_E_LIMIT, "the server's list is too long");
	uint8_t *copy = bole_arena_alloc(&r->text, text.len + 1, 1);
	if (copy == NULL)
		return bole_remote_fail(r, BOLE_E_NO_MEMORY, "no memory for the server's list");
	if (text.len > 0)
		memcpy(copy, text.ptr, text.len);
	*out = bole_bytes_of(copy, text.len);
	return BOLE_OK;
}

static bool name_allowed(struct bole_bytes name)
{
	return name.len <= BOLE_REF_NAME_MAX && bole_ref_name_valid(name) &&
	       (bole_pkt_is(name, "HEAD") || bole_bytes_start(name, bole_bytes_z("refs/")));
}

/* *out is NULL for a name that is passed over. */
enum bole_status bole_remote_add_ref(struct bole_remote *r, struct bole_bytes name,
                                     const struct bole_oid *oid, struct bole_remote_ref **out)
{
	char shown[80];

	*out = NULL;
	if (!name_allowed(name)) {
		if (r->skipped++ == 0)
			bole_remote_warn(r, "the server lists a reference of no valid name: '%s'",
			                 bole_printable(shown, sizeof shown, name));
		return r->skipped > BOLE_REMOTE_REFS_MAX
		               ? bole_remote_fail(r, BOLE_E_LIMIT, "the server's list is too long")
		               : BOLE_OK;
	}
	if (r->ref_count == BOLE_REMOTE_REFS_MAX)
		return bole_remote_fail(r, BOLE_E_LIMIT, "the server has more than %d references",
		                        (int)BOLE_REMOTE_REFS_MAX);
	if (r->ref_count == r->ref_cap) {
		size_t cap = r->ref_cap == 0 ? REFS_FIRST : r->ref_cap * 2;
		struct bole_remote_ref *refs =
		        bole_alloc_resize(r->alloc, r->refs, r->ref_cap, cap, sizeof *refs);
		if (refs == NULL)
			return bole_remote_fail(r, BOLE_E_NO_MEMORY,
			                        "no memory for the server's list");
		r->refs = refs;
		r->ref_cap = cap;
	}
	struct bole_remote_ref *ref = &r->refs[r->ref_count];
	*ref = (struct bole_remote_ref){.oid = *oid};
	BOLE_TRY(bole_remote_keep(r, name, &ref->name));
	r->ref_count++;
	*out = ref;
	return BOLE_OK;
}

static int compare_refs(const void *a, const void *b)
{
	const struct bole_remote_ref *x = a;
	const struct bole_remote_ref *y = b;

	return bole_bytes_compare(x->name, y->name);
}

enum bole_status bole_remote_sort(struct bole_remote *r)
{
	char shown[80];

	enum bole_status rc = bole_sort(r->platform, r->alloc, r->refs, r->ref_count,
	                                sizeof *r->refs, compare_refs);
	if (rc != BOLE_OK)
		return bole_remote_fail(r, rc, "no memory for the server's list");
	for (size_t i = 1; i < r->ref_count; i++)
		if (compare_refs(&r->refs[i - 1], &r->refs[i]) == 0)
			return bole_remote_fail(
			        r, BOLE_E_INVALID, "the server lists %s twice",
			        bole_printable(shown, sizeof shown, r->refs[i].name));
	return BOLE_OK;
}

const struct bole_remote_ref *bole_remote_find(const struct bole_remote *r, struct bole_bytes name)
{
	struct bole_remote_ref key = {.name = name};

	return r->ref_count == 0
	               ? NULL
	               : bsearch(&key, r->refs, r->ref_count, sizeof *r->refs, compare_refs);
}

/* -- ls-refs of version 2 -- */

void bole_remote_command(struct bole_remote *r, const char *command)
{
	struct bole_pkt_line line;

	bole_pkt_line_init(&line);
	bole_pkt_line_text(&line, "command=");
	bole_pkt_line_text(&line, command);
	bole_pkt_line_write(&line, &r->out);
	if (r->caps.agent)
		bole_pkt_text(&r->out, "agent=" BOLE_GIT_AGENT);
	if (r->caps.object_format)
		bole_pkt_text(&r->out, r->algo == BOLE_HASH_SHA256 ? "object-format=sha256"
		                                                   : "object-format=sha1");
	for (size_t i = 0; i < r->options->server_option_count; i++) {
		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, "server-option=");
		bole_pkt_line_text(&line, r->options->server_options[i]);
		bole_pkt_line_write(&line, &r->out);
	}
	bole_pkt_delim(&r->out);
}

static enum bole_status send_command(struct bole_remote *r, const struct bole_bytes *prefixes,
                                     size_t prefix_count)
{
	struct bole_pkt_line line;

	BOLE_TRY(bole_remote_request(r));
	bole_remote_command(r, "ls-refs");
	bole_pkt_text(&r->out, "peel\n");
	bole_pkt_text(&r->out, "symrefs\n");
	if (r->caps.unborn)
		bole_pkt_text(&r->out, "unborn\n");
	for (size_t i = 0; i < prefix_count; i++) {
		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, "ref-prefix ");
		bole_pkt_line_bytes(&line, prefixes[i]);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, &r->out);
	}
	bole_pkt_flush(&r->out);
	return bole_remote_answer(r);
}

static enum bole_status bad_line(struct bole_remote *r, struct bole_bytes line)
{
	char shown[80];

	return bole_remote_fail(r, BOLE_E_INVALID,
	                        "the server's list of references is malformed: '%s'",
	                        bole_printable(shown, sizeof shown, line));
}

/* "<id or unborn> <name>[ symref-target:<name>][ peeled:<id>]" */
static enum bole_status take_line(struct bole_remote *r, struct bole_bytes line)
{
	struct bole_bytes target_word = bole_bytes_z("symref-target:");
	struct bole_bytes peeled_word = bole_bytes_z("peeled:");
	struct bole_bytes rest = line;
	struct bole_remote_ref *ref;
	struct bole_bytes id;
	struct bole_bytes word;
	struct bole_oid oid = {.algo = r->algo};

	if (!bole_caps_next(&rest, &id) || !bole_caps_next(&rest, &word))
		return bad_line(r, line);
	if (!bole_pkt_is(id, "unborn") &&
	    (bole_oid_parse((const char *)id.ptr, id.len, r->algo, &oid) != BOLE_OK ||
	     bole_oid_is_null(&oid)))
		return bad_line(r, line);
	BOLE_TRY(bole_remote_add_ref(r, word, &oid, &ref));
	while (ref != NULL && bole_caps_next(&rest, &word)) {
		if (bole_bytes_start(word, target_word)) {
			BOLE_TRY(bole_remote_keep(r,
			                          bole_bytes_of(word.ptr + target_word.len,
			                                        word.len - target_word.len),
			                          &ref->target));
		} else if (bole_bytes_start(word, peeled_word)) {
			if (bole_oid_parse((const char *)word.ptr + peeled_word.len,
			                   word.len - peeled_word.len, r->algo,
			                   &ref->peeled) != BOLE_OK)
				return bad_line(r, line);
			ref->has_peeled = true;
		}
	}
	return BOLE_OK;
}

enum bole_status bole_remote_ls_refs(struct bole_remote *r, const struct bole_bytes *prefixes,
                                     size_t prefix_count)
{
	struct bole_pkt pkt;

	BOLE_TRY(send_command(r, prefixes, prefix_count));
	for (;;) {
		BOLE_TRY(bole_remote_read(r, &pkt));
		if (pkt.type == BOLE_PKT_FLUSH)
			return bole_remote_sort(r);
		if (pkt.type != BOLE_PKT_DATA)
			return bole_remote_fail(r, BOLE_E_INVALID,
			                        "the server sends a packet out of place");
		BOLE_TRY(take_line(r, pkt.line));
	}
}
