/* SPDX-License-Identifier: ISC */
/* The ls-refs command of protocol version 2. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"
#include "git/fetch/upload_pack_impl.h"
#include "git/refs/listing.h"

enum { PREFIX_CHUNK_BYTES = 4096, PREFIX_CAP_MIN = 16 };

struct listing {
	struct bole_session *s;
	struct bole_arena text; /* of the prefixes */
	struct bole_bytes *prefixes;
	size_t count;
	size_t cap;
	size_t text_bytes;
	bool all; /* too many prefixes: they are a hint and may be ignored */
	bool peel;
	bool symrefs;
	bool unborn;
};

static enum bole_status add_prefix(struct listing *l, struct bole_bytes prefix)
{
	if (l->all)
		return BOLE_OK;
	if (l->count == BOLE_REF_PREFIXES_MAX ||
	    prefix.len > BOLE_REF_PREFIX_BYTES_MAX - l->text_bytes || prefix.len == 0) {
		l->all = true;
		return BOLE_OK;
	}
	if (l->count == l->cap) {
		size_t cap = l->cap == 0 ? PREFIX_CAP_MIN : l->cap * 2;
		struct bole_bytes *grown = bole_alloc_resize(l->s->svc->alloc, l->prefixes, l->cap,
		                                             cap, sizeof *grown);
		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		l->prefixes = grown;
		l->cap = cap;
	}
	uint8_t *copy = bole_arena_alloc(&l->text, prefix.len, 1);
	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(copy, prefix.ptr, prefix.len);
	l->prefixes[l->count++] = bole_bytes_of(copy, prefix.len);
	l->text_bytes += prefix.len;
	return BOLE_OK;
}

static enum bole_status take_argument(struct bole_session *s, void *ctx, struct bole_bytes line)
{
	struct listing *l = ctx;
	struct bole_bytes rest;
	char shown[80];

	if (bole_pkt_is(line, "peel"))
		l->peel = true;
	else if (bole_pkt_is(line, "symrefs"))
		l->symrefs = true;
	else if (bole_pkt_is(line, "unborn"))
		l->unborn = true;
	else if (bole_pkt_word(line, "ref-prefix", &rest))
		return bole_session_check(s, add_prefix(l, rest), "ls-refs: ref-prefix");
	else
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED, "ls-refs: unknown argument: '%s'",
		                           bole_printable(shown, sizeof shown, line));
	return BOLE_OK;
}

static int compare_prefixes(const void *a, const void *b)
{
	const struct bole_bytes *x = a;
	const struct bole_bytes *y = b;

	return bole_bytes_compare(*x, *y);
}

/* Sorts and drops what a shorter prefix covers, so that the rest select disjoint, ordered runs of
 * the references: a listing costs what it shows, not prefixes times references. */
static enum bole_status normalize(struct listing *l)
{
	const struct bole_service *svc = l->s->svc;
	size_t kept = 0;

	if (l->count == 0)
		return BOLE_OK;
	BOLE_TRY(bole_sort(svc->platform, svc->alloc, l->prefixes, l->count, sizeof *l->prefixes,
	                   compare_prefixes));
	for (size_t i = 1; i < l->count; i++)
		if (!bole_bytes_start(l->prefixes[i], l->prefixes[kept]))
			l->prefixes[++kept] = l->prefixes[i];
	l->count = kept + 1;
	return BOLE_OK;
}

/* Only then does "unborn" show anything; else the lists are the same, and kept as one. */
static bool head_is_unborn(struct bole_session *s)
{
	struct bole_listed_ref listed;
	struct bole_ref head;

	return bole_ref_view_get(&s->refs, s->snapshot, bole_bytes_z("HEAD"), &head) == BOLE_OK &&
	       bole_ref_resolve(&s->refs, s->snapshot, &head, &listed) != BOLE_OK;
}

static enum bole_status show_all(struct listing *l)
{
	const struct bole_ref_format format = {
	        .style = BOLE_REF_STYLE_LS,
	        .peel = l->peel,
	        .symrefs = l->symrefs,
	        .unborn = l->unborn && head_is_unborn(l->s),
	};
	struct bole_bytes all = bole_bytes_of("", 0);
	bool any = false;

	if (l->all || l->count == 0)
		return bole_refs_show(l->s, &format, &all, 1, NULL, &any);
	BOLE_TRY(normalize(l));
	return bole_refs_show(l->s, &format, l->prefixes, l->count, NULL, &any);
}

enum bole_status bole_ls_refs(struct bole_session *s, bool args_follow)
{
	struct listing l = {.s = s};
	enum bole_status rc = BOLE_OK;

	bole_arena_init(&l.text, s->svc->alloc, PREFIX_CHUNK_BYTES);
	if (args_follow)
		rc = bole_v2_arguments(s, &l, take_argument);
	if (rc == BOLE_OK)
		rc = bole_session_check(s, show_all(&l), "ls-refs");
	if (rc == BOLE_OK) {
		bole_pkt_flush(s->svc->out);
		rc = bole_session_flush(s);
	}
	bole_alloc_free(s->svc->alloc, l.prefixes, l.cap, sizeof *l.prefixes);
	bole_arena_release(&l.text);
	return rc;
}
