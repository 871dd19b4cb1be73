/* SPDX-License-Identifier: ISC */
/* "packfile-uris" of version 2's fetch (gitprotocol-v2(5); git's own design is in its
 * "packfile-uri" document): blobs that the client gets as packs from elsewhere, and which are left
 * out here. Who can tell which of them a fetch needs is the plan, so it comes first. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/upload_pack_impl.h"

/* Cuts the word before a blank off. */
static struct bole_bytes word(struct bole_bytes *rest)
{
	struct bole_bytes out = {rest->ptr, 0};

	while (out.len < rest->len && rest->ptr[out.len] != ' ')
		out.len++;
	size_t skip = out.len;
	while (skip < rest->len && rest->ptr[skip] == ' ')
		skip++;
	*rest = bole_bytes_of(rest->ptr + skip, rest->len - skip);
	return out;
}

bool bole_packfile_uri_parse(const char *text, struct bole_packfile_uri *out)
{
	struct bole_bytes rest = bole_bytes_z(text);
	struct bole_bytes id = word(&rest);
	struct bole_oid pack;

	out->left_out = false;
	out->pack = word(&rest);
	out->uri = rest;
	uint8_t algo =
	        id.len == 2 * bole_hash_bytes(BOLE_HASH_SHA256) ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;
	if (bole_oid_parse((const char *)id.ptr, id.len, algo, &out->oid) != BOLE_OK ||
	    bole_oid_parse((const char *)out->pack.ptr, out->pack.len, algo, &pack) != BOLE_OK)
		return false;
	for (size_t i = 0; i < rest.len; i++)
		if (rest.ptr[i] <= ' ' || rest.ptr[i] == 0x7f)
			return false;
	return rest.len <= BOLE_PACKFILE_URI_MAX && rest.len > 0 &&
	       memchr(rest.ptr, ':', rest.len) != NULL;
}

/* "https,http": does the client take addresses like this one? */
static bool accepts(const struct bole_fetch *f, struct bole_bytes uri)
{
	const char *list = f->uri_protocols;

	while (*list != '\0') {
		size_t len = strcspn(list, ",");

		if (len > 0 && len < uri.len && uri.ptr[len] == ':' &&
		    memcmp(list, uri.ptr, len) == 0)
			return true;
		list += len + (list[len] == ',');
	}
	return false;
}

enum bole_status bole_fetch_uri_protocols(struct bole_fetch *f, struct bole_bytes list)
{
	if (list.len >= sizeof f->uri_protocols)
		return bole_session_refuse(f->s, BOLE_E_LIMIT,
		                           "upload-pack: too many protocols of packfile-uris");
	if (list.len > 0)
		memcpy(f->uri_protocols, list.ptr, list.len);
	f->uri_protocols[list.len] = '\0';
	return BOLE_OK;
}

enum bole_status bole_fetch_find_uris(struct bole_fetch *f)
{
	const struct bole_fetch_policy *policy = &f->s->svc->policy->fetch;
	struct bole_packfile_uri row;

	if (f->uri_protocols[0] == '\0' || policy->packfile_uri_count == 0)
		return BOLE_OK;
	f->uris = bole_alloc_array(f->s->svc->alloc, policy->packfile_uri_count, sizeof *f->uris);
	if (f->uris == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = 0; i < policy->packfile_uri_count; i++)
		if (bole_packfile_uri_parse(policy->packfile_uris[i], &row) &&
		    row.oid.algo == f->s->svc->repo.algo && accepts(f, row.uri))
			f->uris[f->uri_count++] = row;
	return BOLE_OK;
}

/* One pack may hold several of them. */
static bool told_before(const struct bole_fetch *f, size_t row)
{
	for (size_t i = 0; i < row; i++)
		if (f->uris[i].left_out && bole_bytes_equal(f->uris[i].pack, f->uris[row].pack))
			return true;
	return false;
}

void bole_fetch_tell_uris(struct bole_fetch *f)
{
	struct bole_pkt_line line;
	bool any = false;

	for (size_t i = 0; i < f->uri_count; i++) {
		if (!f->uris[i].left_out || told_before(f, i))
			continue;
		if (!any)
			bole_session_text(f->s, "packfile-uris\n");
		any = true;
		bole_session_line(f->s, &line);
		bole_pkt_line_bytes(&line, f->uris[i].pack);
		bole_pkt_line_text(&line, " ");
		bole_pkt_line_bytes(&line, f->uris[i].uri);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, f->s->svc->out);
	}
	if (any)
		bole_pkt_delim(f->s->svc->out);
}
