/* SPDX-License-Identifier: ISC */
/* The first words of a server: "version 2" and its capabilities; or capabilities and references at
 * once (gitprotocol-pack(5), "Reference Discovery"). */
#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/remote.h"
#include "git/service/service_impl.h"

struct known_cap {
	const char *name;
	size_t offset;
};

#define CAP(text, member)                                       \
	{                                                       \
		text, offsetof(struct bole_remote_caps, member) \
	}
static const struct known_cap known_caps[] = {
        CAP("multi_ack", multi_ack),
        CAP("multi_ack_detailed", multi_ack_detailed),
        CAP("no-done", no_done),
        CAP("side-band", side_band),
        CAP("side-band-64k", side_band_64k),
        CAP("thin-pack", thin_pack),
        CAP("no-thin", no_thin),
        CAP("ofs-delta", ofs_delta),
        CAP("include-tag", include_tag),
        CAP("no-progress", no_progress),
        CAP("report-status", report_status),
        CAP("report-status-v2", report_status_v2),
        CAP("delete-refs", delete_refs),
        CAP("quiet", quiet),
        CAP("atomic", atomic),
        CAP("push-options", push_options),
        CAP("server-option", server_option),
        CAP("ls-refs", ls_refs),
        CAP("fetch", fetch),
        CAP("shallow", shallow),
        CAP("deepen-since", deepen_since),
        CAP("deepen-not", deepen_not),
        CAP("deepen-relative", deepen_relative),
        CAP("bundle-uri", bundle_uri),
};

static void set_cap(struct bole_remote_caps *caps, struct bole_bytes word)
{
	for (size_t i = 0; i < sizeof known_caps / sizeof known_caps[0]; i++)
		if (bole_pkt_is(word, known_caps[i].name))
			*(bool *)((uint8_t *)caps + known_caps[i].offset) = true;
}

/* The first is that of the ids in this list. */
static enum bole_status set_format(struct bole_remote *r, struct bole_bytes name)
{
	char shown[40];
	bool sha256 = bole_pkt_is(name, "sha256");
	uint8_t algo = sha256 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;

	if (!sha256 && !bole_pkt_is(name, "sha1"))
		return bole_remote_fail(r, BOLE_E_UNSUPPORTED,
		                        "the server's object format %s is not known",
		                        bole_printable(shown, sizeof shown, name));
	if (!r->caps.object_format)
		r->algo = algo;
	r->caps.object_format = true;
	r->caps.formats |= 1U << algo;
	return BOLE_OK;
}

/* -- Versions 0 and 1 -- */

/* What a symbolic reference of the list stands for comes before the list. */
struct symref {
	struct bole_bytes name;
	struct bole_bytes target;
};
enum { SYMREFS_MAX = 16 };
struct first_line {
	struct symref symrefs[SYMREFS_MAX];
	size_t symref_count;
};

static enum bole_status take_symref(struct bole_remote *r, struct bole_bytes value,
                                    struct first_line *first)
{
	const uint8_t *colon = memchr(value.ptr, ':', value.len);

	if (colon == NULL || first->symref_count == SYMREFS_MAX)
		return BOLE_OK;
	struct symref *s = &first->symrefs[first->symref_count];
	size_t at = (size_t)(colon - value.ptr);
	BOLE_TRY(bole_remote_keep(r, bole_bytes_of(value.ptr, at), &s->name));
	BOLE_TRY(bole_remote_keep(r, bole_bytes_of(colon + 1, value.len - at - 1), &s->target));
	first->symref_count++;
	return BOLE_OK;
}

static enum bole_status take_caps(struct bole_remote *r, struct bole_bytes list,
                                  struct first_line *first)
{
	struct bole_bytes word;
	struct bole_bytes value;
	unsigned count = 0;

	while (bole_caps_next(&list, &word)) {
		if (++count > BOLE_REMOTE_CAPS_MAX)
			return bole_remote_fail(r, BOLE_E_LIMIT,
			                        "the server lists too many capabilities");
		if (bole_caps_value(word, "object-format", &value)) {
			BOLE_TRY(set_format(r, value));
		} else if (bole_caps_value(word, "symref", &value)) {
			BOLE_TRY(take_symref(r, value, first));
		} else if (bole_caps_value(word, "agent", &value)) {
			r->caps.agent = true;
		} else {
			set_cap(&r->caps, word);
		}
	}
	return BOLE_OK;
}

static enum bole_status bad_line(struct bole_remote *r, struct bole_bytes line)
{
	char shown[80];

	return bole_remote_fail(r, BOLE_E_INVALID,
	                        "the server's list of references is malformed: '%s'",
	                        bole_printable(shown, sizeof shown, line));
}

/* "<id> <name>", "<id> <name>^{}", "shallow <id>". */
static enum bole_status take_ref(struct bole_remote *r, struct bole_bytes line)
{
	size_t hex = 2 * bole_hash_bytes(r->algo);
	struct bole_bytes peeled = bole_bytes_z("^{}");
	struct bole_remote_ref *ref;
	struct bole_bytes rest;
	struct bole_oid oid;

	if (bole_pkt_word(line, "shallow", &rest)) {
		if (bole_oid_parse((const char *)rest.ptr, rest.len, r->algo, &oid) != BOLE_OK)
			return bad_line(r, line);
		if (!r->shallow_open)
			bole_id_list_init(&r->shallow, r->platform, r->alloc, r->algo);
		r->shallow_open = true;
		return bole_id_list_add_once(&r->shallow, &oid, BOLE_REMOTE_SHALLOWS_MAX);
	}
	if (line.len <= hex + 1 || line.ptr[hex] != ' ' ||
	    bole_oid_parse((const char *)line.ptr, hex, r->algo, &oid) != BOLE_OK)
		return bad_line(r, line);
	struct bole_bytes name = bole_bytes_of(line.ptr + hex + 1, line.len - hex - 1);
	if (bole_pkt_is(name, "capabilities^{}"))
		return BOLE_OK;
	if (bole_pkt_is(name, ".have")) {
		if (!r->extra_open)
			bole_id_list_init(&r->extra, r->platform, r->alloc, r->algo);
		r->extra_open = true;
		return bole_id_list_add_once(&r->extra, &oid, BOLE_HAVES_MAX);
	}
	if (name.len > peeled.len &&
	    memcmp(name.ptr + name.len - peeled.len, peeled.ptr, peeled.len) == 0) {
		name.len -= peeled.len;
		ref = r->ref_count == 0 ? NULL : &r->refs[r->ref_count - 1];
		if (ref == NULL || !bole_bytes_equal(ref->name, name))
			return BOLE_OK; /* of a name that was passed over */
		ref->peeled = oid;
		ref->has_peeled = true;
		return BOLE_OK;
	}
	if (bole_oid_is_null(&oid))
		return bad_line(r, line);
	return bole_remote_add_ref(r, name, &oid, &ref);
}

static void set_symrefs(struct bole_remote *r, const struct first_line *first)
{
	for (size_t i = 0; i < r->ref_count; i++)
		for (size_t n = 0; n < first->symref_count; n++)
			if (bole_bytes_equal(r->refs[i].name, first->symrefs[n].name))
				r->refs[i].target = first->symrefs[n].target;
}

static enum bole_status read_v0(struct bole_remote *r, struct bole_pkt *pkt)
{
	struct first_line first = {.symref_count = 0};
	bool caps_seen = false;

	while (pkt->type != BOLE_PKT_FLUSH) {
		if (pkt->type != BOLE_PKT_DATA)
			return bole_remote_fail(r, BOLE_E_INVALID,
			                        "the server sends a packet out of place");
		struct bole_bytes line = pkt->line;
		const uint8_t *nul = memchr(line.ptr, '\0', line.len);
		if (!caps_seen && nul == NULL)
			return bad_line(r, line);
		if (nul != NULL)
			line.len = (size_t)(nul - line.ptr);
		if (!caps_seen)
			BOLE_TRY(take_caps(r, bole_bytes_of(nul + 1, pkt->line.len - line.len - 1),
			                   &first));
		caps_seen = true;
		BOLE_TRY(take_ref(r, line));
		BOLE_TRY(bole_remote_read(r, pkt));
	}
	set_symrefs(r, &first);
	return bole_remote_sort(r);
}

/* -- Version 2 -- */

static enum bole_status take_v2_line(struct bole_remote *r, struct bole_bytes line)
{
	struct bole_bytes value;
	struct bole_bytes word;

	if (bole_caps_value(line, "object-format", &value))
		return set_format(r, value);
	if (bole_caps_value(line, "agent", &value)) {
		r->caps.agent = true;
	} else if (bole_caps_value(line, "ls-refs", &value)) {
		r->caps.ls_refs = true;
		while (bole_caps_next(&value, &word))
			r->caps.unborn = r->caps.unborn || bole_pkt_is(word, "unborn");
	} else if (bole_caps_value(line, "fetch", &value)) {
		r->caps.fetch = true;
		while (bole_caps_next(&value, &word)) {
			r->caps.filter = r->caps.filter || bole_pkt_is(word, "filter");
			r->caps.sideband_all =
			        r->caps.sideband_all || bole_pkt_is(word, "sideband-all");
			r->caps.packfile_uris =
			        r->caps.packfile_uris || bole_pkt_is(word, "packfile-uris");
			r->caps.ref_in_want =
			        r->caps.ref_in_want || bole_pkt_is(word, "ref-in-want");
			/* Version 2 has no words for the kinds of it. */
			if (bole_pkt_is(word, "shallow"))
				r->caps.shallow = r->caps.deepen_since = r->caps.deepen_not =
				        r->caps.deepen_relative = true;
		}
	} else {
		set_cap(&r->caps, line);
	}
	return BOLE_OK;
}

static enum bole_status read_v2(struct bole_remote *r)
{
	struct bole_pkt pkt;

	for (unsigned count = 0;; count++) {
		BOLE_TRY(bole_remote_read(r, &pkt));
		if (pkt.type == BOLE_PKT_FLUSH)
			return BOLE_OK;
		if (pkt.type != BOLE_PKT_DATA)
			return bole_remote_fail(r, BOLE_E_INVALID,
			                        "the server sends a packet out of place");
		if (count == BOLE_REMOTE_CAPS_MAX)
			return bole_remote_fail(r, BOLE_E_LIMIT,
			                        "the server lists too many capabilities");
		BOLE_TRY(take_v2_line(r, pkt.line));
	}
}

/* "# service=git-upload-pack", a flush: only over HTTP. */
static enum bole_status skip_service(struct bole_remote *r, struct bole_pkt *pkt)
{
	if (!r->transport->stateless || pkt->type != BOLE_PKT_DATA ||
	    !bole_bytes_start(pkt->line, bole_bytes_z("# service=")))
		return BOLE_OK;
	BOLE_TRY(bole_remote_read(r, pkt));
	if (pkt->type != BOLE_PKT_FLUSH)
		return bole_remote_fail(r, BOLE_E_INVALID,
		                        "the server's announcement of its service has no end");
	return bole_remote_read(r, pkt);
}

enum bole_status bole_remote_advert(struct bole_remote *r)
{
	struct bole_pkt pkt;

	enum bole_status rc = bole_remote_read_end(r, &pkt);
	if (rc == BOLE_END)
		return bole_remote_fail(r, BOLE_E_CLOSED,
		                        "the server hung up without a word: there is no such "
		                        "repository, or it may not be read");
	BOLE_TRY(rc);
	BOLE_TRY(skip_service(r, &pkt));
	if (pkt.type == BOLE_PKT_DATA && bole_pkt_is(pkt.line, "version 2")) {
		r->version = 2;
		return read_v2(r);
	}
	r->version = 0;
	if (pkt.type == BOLE_PKT_DATA && bole_pkt_is(pkt.line, "version 1")) {
		r->version = 1;
		BOLE_TRY(bole_remote_read(r, &pkt));
	}
	return read_v0(r, &pkt);
}
