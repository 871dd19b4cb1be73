/* SPDX-License-Identifier: ISC */
/* References that are asked for by name (ref-in-want of gitprotocol-v2(5)): what one holds when the
 * pack is made is told before it, so one that moves after the list was read does no harm. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/remote.h"
#include "git/service/service_impl.h"

void bole_wanted_send(struct bole_remote *r)
{
	struct bole_pkt_line line;

	for (size_t i = 0; r->wanted > 0 && i < r->ref_count; i++) {
		if (r->refs[i].wanted == BOLE_REF_UNWANTED)
			continue;
		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, "want-ref ");
		bole_pkt_line_bytes(&line, r->refs[i].name);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, &r->out);
	}
}

/* "<id> <name>": of each that was asked for, once. */
static enum bole_status take(struct bole_remote *r, struct bole_bytes line)
{
	size_t hex = 2 * bole_hash_bytes(r->algo);
	const struct bole_remote_ref *found = NULL;
	struct bole_oid oid;
	char shown[80];

	if (line.len > hex + 1 && line.ptr[hex] == ' ' &&
	    bole_oid_parse((const char *)line.ptr, hex, r->algo, &oid) == BOLE_OK &&
	    !bole_oid_is_null(&oid))
		found = bole_remote_find(r, bole_bytes_of(line.ptr + hex + 1, line.len - hex - 1));
	if (found == NULL || found->wanted != BOLE_REF_WANTED)
		return bole_remote_fail(r, BOLE_E_INVALID,
		                        "the server tells of a reference, but '%s' was not asked",
		                        bole_printable(shown, sizeof shown, line));
	struct bole_remote_ref *ref = &r->refs[found - r->refs];
	ref->wanted = BOLE_REF_TOLD;
	if (bole_oid_equal(&ref->oid, &oid))
		return BOLE_OK;
	/* It has moved since it was listed; what a tag names is found out when it is here. */
	ref->oid = oid;
	ref->has_peeled = false;
	return BOLE_OK;
}

enum bole_status bole_wanted_read(struct bole_remote *r)
{
	struct bole_pkt pkt;

	for (;;) {
		BOLE_TRY(bole_remote_read(r, &pkt));
		if (pkt.type == BOLE_PKT_DELIM)
			return BOLE_OK;
		if (pkt.type != BOLE_PKT_DATA)
			return bole_remote_fail(r, BOLE_E_INVALID,
			                        "the server sends a packet out of place");
		BOLE_TRY(take(r, pkt.line)); /* ends: each counts once */
	}
}

enum bole_status bole_wanted_check(struct bole_remote *r)
{
	char shown[80];

	for (size_t i = 0; r->wanted > 0 && i < r->ref_count; i++)
		if (r->refs[i].wanted == BOLE_REF_WANTED)
			return bole_remote_fail(
			        r, BOLE_E_INVALID, "the server does not say what %s is",
			        bole_printable(shown, sizeof shown, r->refs[i].name));
	return BOLE_OK;
}
