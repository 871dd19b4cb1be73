/* SPDX-License-Identifier: ISC */
/* Packs that the server leaves to others (packfile-uris of gitprotocol-v2(5)): told before its own
 * pack, brought after it, into the same transaction; all are closed together. What comes must have
 * the checksum that was told. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/remote.h"
#include "git/service/service_impl.h"

bool bole_uris_asked(const struct bole_remote *r)
{
	return r->packfile_uris && r->caps.packfile_uris && r->download != NULL;
}

void bole_uris_send(struct bole_remote *r)
{
	if (!bole_uris_asked(r))
		return;
	/* git's server tells of packs only in a side-band. */
	if (r->caps.sideband_all)
		bole_pkt_text(&r->out, "sideband-all\n");
	r->banded = r->caps.sideband_all;
	bole_pkt_text(&r->out, r->download->ops->secure(r->download)
	                               ? "packfile-uris https\n"
	                               : "packfile-uris http,https\n");
}

/* "<checksum> <uri>" */
static enum bole_status take(struct bole_remote *r, struct bole_bytes line)
{
	size_t hex = 2 * bole_hash_bytes(r->algo);
	char shown[80];

	struct bole_remote_uri *uri = &r->uris[r->uri_count];
	if (line.len <= hex + 1 || line.ptr[hex] != ' ' ||
	    bole_oid_parse((const char *)line.ptr, hex, r->algo, &uri->checksum) != BOLE_OK ||
	    memchr(line.ptr, '\0', line.len) != NULL)
		return bole_remote_fail(r, BOLE_E_INVALID,
		                        "the server names a pack elsewhere, but '%s' is none",
		                        bole_printable(shown, sizeof shown, line));
	struct bole_bytes text = bole_bytes_of(line.ptr + hex + 1, line.len - hex - 1);
	/* git's server names a pack once for each object that is in it. */
	for (size_t i = 0; i < r->uri_count; i++)
		if (bole_oid_equal(&r->uris[i].checksum, &uri->checksum) &&
		    bole_bytes_equal(r->uris[i].uri, text))
			return r->uri_lines++ < BOLE_REMOTE_IDLE_MAX ? BOLE_OK : BOLE_E_LIMIT;
	if (r->uri_count == BOLE_REMOTE_URIS_MAX)
		return bole_remote_fail(r, BOLE_E_LIMIT, "the server names too many packs");
	BOLE_TRY(bole_remote_keep(r, text, &uri->uri));
	r->uri_count++;
	return BOLE_OK;
}

enum bole_status bole_uris_read(struct bole_remote *r)
{
	struct bole_pkt pkt;

	if (!bole_uris_asked(r))
		return bole_remote_fail(
		        r, BOLE_E_INVALID,
		        "the server names packs elsewhere, which was not asked for");
	r->uris = bole_arena_alloc(&r->text, BOLE_REMOTE_URIS_MAX + 1, sizeof *r->uris);
	if (r->uris == NULL)
		return BOLE_E_NO_MEMORY;
	for (;;) {
		BOLE_TRY(bole_remote_read(r, &pkt));
		if (pkt.type == BOLE_PKT_DELIM)
			return BOLE_OK;
		if (pkt.type != BOLE_PKT_DATA)
			return bole_remote_fail(r, BOLE_E_INVALID,
			                        "the server sends a packet out of place");
		BOLE_TRY(take(r, pkt.line));
	}
}
