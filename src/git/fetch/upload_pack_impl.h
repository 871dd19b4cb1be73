/* SPDX-License-Identifier: ISC */
/* One fetch: what the client wants and has, how it likes its pack. Versions 0 and 2 fill it in
 * their own ways. Private to src/git. */
#ifndef BOLE_GIT_UPLOAD_PACK_IMPL_H
#define BOLE_GIT_UPLOAD_PACK_IMPL_H

#include "git/fetch/filter.h"
#include "git/fetch/pack_emit.h"
#include "git/fetch/shallow.h"
#include "git/negotiate.h"
#include "git/pattern/path_pattern.h"
#include "git/service/service_impl.h"

enum bole_ack_mode {
	BOLE_ACK_SINGLE = 0,
	BOLE_ACK_MULTI = 1,
	BOLE_ACK_DETAILED = 2,
};

struct bole_wanted_ref {
	struct bole_bytes name; /* of the snapshot */
	struct bole_oid oid;
};

enum { BOLE_PACKFILE_URI_MAX = 2000, BOLE_URI_PROTOCOLS_MAX = 200 };

struct bole_fetch {
	struct bole_session *s;
	struct bole_id_list wants; /* each once */
	struct bole_id_list tips;  /* the commits that the wants name, tags peeled */
	bool tips_found;           /* that they are there */
	struct bole_id_list haves; /* findable here */
	struct bole_history history;
	struct bole_shallow shallow;
	struct bole_filter filter;
	struct bole_path_patterns patterns; /* of the filter */
	enum bole_ack_mode acks;
	enum bole_sideband_mode band;
	bool thin;
	bool ofs_delta;
	bool include_tag;
	bool no_progress;
	bool no_done;
	bool done;
	bool wait_for_done;
	bool have_seen;
	struct bole_wanted_ref *wanted_refs; /* want-ref lines, in version 2 */
	size_t wanted_ref_count;
	size_t wanted_ref_cap;
	char uri_protocols[BOLE_URI_PROTOCOLS_MAX]; /* of packfile-uris; "" = it was not said */
	struct bole_packfile_uri *uris;             /* that this client takes */
	size_t uri_count;
	bool sections; /* version 2: "packfile" comes before the pack */
};

void bole_fetch_init(struct bole_fetch *, struct bole_session *);
void bole_fetch_release(struct bole_fetch *);
/* hex: of a want line. Refuses what is not an id. */
BOLE_MUST_USE enum bole_status bole_fetch_want(struct bole_fetch *, struct bole_bytes hex);
/* A reference that is wanted by its name. */
BOLE_MUST_USE enum bole_status bole_fetch_want_ref(struct bole_fetch *, struct bole_bytes name);
/* Refuses unless every want is a tip or a peeled tip of this repository, or what the policy allows
 * beyond that; and finds the commits that are wanted. */
BOLE_MUST_USE enum bole_status bole_fetch_check_wants(struct bole_fetch *);
/* hex: of a have line. *known: findable here, and counted as common. */
BOLE_MUST_USE enum bole_status bole_fetch_have(struct bole_fetch *, struct bole_bytes hex,
                                               struct bole_oid *oid, bool *known);
/* Takes a filter line. */
BOLE_MUST_USE enum bole_status bole_fetch_filter(struct bole_fetch *, struct bole_bytes spec);
/* Reads the patterns that the filter names (sparse.c). */
BOLE_MUST_USE enum bole_status bole_fetch_sparse(struct bole_fetch *);
/* Tells where history ends for this client, and takes that into account from here on. */
BOLE_MUST_USE enum bole_status bole_fetch_deepen(struct bole_fetch *);
BOLE_MUST_USE enum bole_status bole_fetch_enough(struct bole_fetch *, bool *out);
/* The pack, in the side-band, and the flush packet that ends it. */
BOLE_MUST_USE enum bole_status bole_fetch_send(struct bole_fetch *);

/* packfile_uris.c: "<blob> <pack> <uri>", borrowed. */
bool bole_packfile_uri_parse(const char *text, struct bole_packfile_uri *out);
BOLE_MUST_USE enum bole_status bole_fetch_uri_protocols(struct bole_fetch *,
                                                        struct bole_bytes list);
/* What of the policy this client takes, then the section about what was left out. */
BOLE_MUST_USE enum bole_status bole_fetch_find_uris(struct bole_fetch *);
void bole_fetch_tell_uris(struct bole_fetch *);

/* Which of the ids may be wanted (wants.c). allowed: NULL, or a byte for each that comes in zeroed
 * and goes out as 1 where it may. BOLE_E_DENIED (only without allowed): *refused may not. */
BOLE_MUST_USE enum bole_status bole_wants_check(struct bole_session *,
                                                const struct bole_id_list *wants, uint8_t *allowed,
                                                size_t *refused);

/* Calls take for each argument of a command of version 2, up to the flush packet. */
BOLE_MUST_USE enum bole_status bole_v2_arguments(struct bole_session *, void *ctx,
                                                 enum bole_status (*take)(struct bole_session *,
                                                                          void *ctx,
                                                                          struct bole_bytes line));

/* Version 2's commands (v2_extras.c): read their arguments and answer. */
BOLE_MUST_USE enum bole_status bole_object_info(struct bole_session *, bool args_follow);
BOLE_MUST_USE enum bole_status bole_bundle_uri(struct bole_session *, bool args_follow);

BOLE_MUST_USE enum bole_status bole_upload_pack_v2(struct bole_session *);
BOLE_MUST_USE enum bole_status bole_upload_pack_v0(struct bole_session *);

#endif /* BOLE_GIT_UPLOAD_PACK_IMPL_H */
