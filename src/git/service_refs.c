/* SPDX-License-Identifier: ISC */
/* References as clients see them, and the advertisement of protocol versions 0 and 1. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/object.h"
#include "git/service_impl.h"

enum bole_status bole_ref_fill_peeled(struct bole_session *s, struct bole_listed_ref *ref)
{
	struct bole_entry entry;
	uint8_t type;

	if (ref->has_peeled || bole_bytes_start(ref->name, bole_bytes_z("refs/heads/")))
		return BOLE_OK;
	if (bole_odb_find(s->snapshot, &ref->oid, &entry) != BOLE_OK ||
	    entry.type != BOLE_OBJECT_TAG)
		return BOLE_OK;
	enum bole_status rc = bole_session_peel(s, s->snapshot, &ref->oid, &ref->peeled, &type);
	ref->has_peeled = rc == BOLE_OK;
	return rc == BOLE_E_CLOSED ? rc : BOLE_OK;
}

struct advertiser {
	struct bole_session *s;
	const char *caps;
	bool upload;
	bool first_done;
};

static void advertise_line(struct advertiser *a, const struct bole_oid *oid, struct bole_bytes name,
                           const char *suffix)
{
	struct bole_pkt_line line;

	bole_pkt_line_init(&line);
	bole_pkt_line_oid(&line, oid);
	bole_pkt_line_text(&line, " ");
	bole_pkt_line_bytes(&line, name);
	bole_pkt_line_text(&line, suffix);
	if (!a->first_done) {
		bole_pkt_line_bytes(&line, bole_bytes_of("", 1));
		bole_pkt_line_text(&line, a->caps);
	}
	bole_pkt_line_text(&line, "\n");
	bole_pkt_line_write(&line, a->s->svc->out);
	a->first_done = true;
}

static enum bole_status advertise_one(struct advertiser *a, const struct bole_ref *ref)
{
	struct bole_listed_ref listed;

	if (!a->upload && bole_bytes_equal(ref->name, bole_bytes_z("HEAD")))
		return BOLE_OK;
	enum bole_status rc = bole_ref_resolve(&a->s->refs, a->s->snapshot, ref, &listed);
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_OK; /* unborn or dangling: not listed in these versions */
	if (rc != BOLE_OK)
		return rc;
	advertise_line(a, &listed.oid, listed.name, "");
	if (!a->upload)
		return BOLE_OK;
	BOLE_TRY(bole_ref_fill_peeled(a->s, &listed));
	if (listed.has_peeled)
		advertise_line(a, &listed.peeled, listed.name, "^{}");
	return BOLE_OK;
}

enum bole_status bole_advertise_refs(struct bole_session *s, const char *caps, bool upload)
{
	struct advertiser a = {.s = s, .caps = caps, .upload = upload};
	struct bole_bytes after = bole_bytes_of("", 0);
	struct bole_ref ref;
	enum bole_status rc = BOLE_END;

	if (s->svc->version == 1)
		bole_pkt_text(s->svc->out, "version 1\n");
	while (s->snapshot != NULL &&
	       (rc = bole_ref_view_next(&s->refs, s->snapshot, bole_bytes_of("", 0), after,
	                                &ref)) == BOLE_OK) {
		after = ref.name;
		BOLE_TRY(advertise_one(&a, &ref));
		BOLE_TRY(bole_session_tick(s));
		BOLE_TRY(s->svc->out->rc);
	}
	if (rc != BOLE_END)
		return rc;
	if (!a.first_done) {
		struct bole_oid none = {.algo = s->svc->repo.algo};
		advertise_line(&a, &none, bole_bytes_z("capabilities"), "^{}");
	}
	bole_pkt_flush(s->svc->out);
	return bole_session_flush(s);
}
