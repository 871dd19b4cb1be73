/* SPDX-License-Identifier: ISC */
/* What upload-pack and receive-pack share: the session, the advertisement, refusals. Private to
 * src/git. */
#ifndef BOLE_GIT_SERVICE_IMPL_H
#define BOLE_GIT_SERVICE_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/odb.h"
#include "bole/refs.h"
#include "git/boundary.h"
#include "git/object/read.h"
#include "git/promise.h"
#include "git/refs/ref_view.h"
#include "git/service/service.h"
#include "git/wire/pkt_line.h"
#include "git/wire/sideband.h"

#define BOLE_GIT_AGENT "bole/0.1.0"

enum {
	BOLE_REQUEST_LINES_MAX = 1 << 20, /* packets of one request or session */
	BOLE_WANTS_MAX = 1 << 18,         /* distinct ids wanted */
	BOLE_WANTED_REFS_MAX = 1 << 16,   /* want-ref lines */
	BOLE_HAVES_MAX = 1 << 18,         /* distinct ids both sides have */
	BOLE_REF_PREFIXES_MAX = 65536,    /* above it they are ignored, as Git does */
	BOLE_REF_PREFIX_BYTES_MAX = 4 << 20,
	BOLE_PEEL_STEPS_MAX = 65536, /* tag objects read for one request */
};
enum { BOLE_SESSION_ID_MAX = 40 };
#define BOLE_DRAIN_BYTES_MAX (UINT64_C(256) << 20)

struct bole_session {
	struct bole_service *svc;
	struct bole_pkt_reader pkt;
	struct bole_sideband band; /* open once capabilities are known */
	struct bole_snapshot *snapshot;
	struct bole_ref_view refs;     /* what the client sees and may change */
	struct bole_boundary boundary; /* of the snapshot, or of what a caller loaded it for */
	struct bole_object_reader *reader;
	uint32_t lines; /* packets read */
	uint32_t ticks;
	uint32_t peel_steps;
	uint32_t changes; /* of the references, as the cache of packs counts, before the snapshot */
	bool band_open;
	bool band_all; /* sideband-all: what comes before the pack goes through the side-band too */
	bool refused;  /* the client has been told why */
	bool partial;  /* objects may be missing that the origin keeps */
	bool unpeeled; /* what some tag names could not be found out */
};

/* Opens a snapshot of the repository; refuses on failure. */
BOLE_MUST_USE enum bole_status bole_session_open(struct bole_session *, struct bole_service *);
/* The same without the boundary, which costs a look at each commit of it: bole_session_ends reads
 * it for whatever has to do with history. */
BOLE_MUST_USE enum bole_status bole_session_open_view(struct bole_session *, struct bole_service *);
BOLE_MUST_USE enum bole_status bole_session_ends(struct bole_session *);
void bole_session_close(struct bole_session *);
/* Reads the boundary anew: of another view than the session's snapshot. A session that was not
 * opened gives it back with bole_boundary_release. */
BOLE_MUST_USE enum bole_status bole_session_boundary(struct bole_session *, struct bole_snapshot *);
/* Call often in loops: yields now and then. BOLE_E_CLOSED once the client hung up. */
BOLE_MUST_USE enum bole_status bole_session_tick(struct bole_session *);
/* The same at once, after work that counts for many ticks. */
BOLE_MUST_USE enum bole_status bole_session_yield(struct bole_session *);
/* The next packet, counted; refuses malformed and endless input. BOLE_END as bole_pkt_read. */
BOLE_MUST_USE enum bole_status bole_session_read(struct bole_session *, struct bole_pkt *out);
/* Tells the client (error band once it is open, else an ERR packet) and the log; returns rc. Only
 * the first call speaks. */
enum bole_status bole_session_refuse(struct bole_session *, enum bole_status rc, const char *format,
                                     ...) __attribute__((format(printf, 3, 4)));
/* Passes BOLE_OK, BOLE_END and a hung-up client through; refuses anything else by its text. */
enum bole_status bole_session_check(struct bole_session *, enum bole_status rc, const char *what);
/* After a refusal: reads and drops what the client still sends, so that it gets to read why. */
void bole_session_drain(struct bole_session *);
/* Sends what is buffered. */
BOLE_MUST_USE enum bole_status bole_session_flush(struct bole_session *);
/* A packet of text in the making: in band 1 where everything is in a side-band. */
void bole_session_line(struct bole_session *, struct bole_pkt_line *);
void bole_session_text(struct bole_session *, const char *text);
/* The session's object reader on `view`, opened on first use. */
BOLE_MUST_USE enum bole_status bole_session_reader(struct bole_session *, struct bole_snapshot *,
                                                   struct bole_object_reader **out);
void bole_session_drop_reader(struct bole_session *);

/* before and a fresh name for this session, where the policy advertises them, else "". */
const char *bole_session_id(struct bole_session *, const char *before,
                            char dst[BOLE_SESSION_ID_MAX + 1]);

/* A printable copy of remote bytes for messages: at most cap - 1 characters, others become '?'. */
const char *bole_printable(char *dst, size_t cap, struct bole_bytes);

/* Fills in peeled where the writer of the reference did not know it. Errors of reading a damaged
 * tag are not errors here: the reference is then listed unpeeled. */
BOLE_MUST_USE enum bole_status bole_ref_fill_peeled(struct bole_session *,
                                                    struct bole_listed_ref *);
struct bole_id_list;
/* Adds the peeled tips of every listed reference (fetch/wants.c). */
BOLE_MUST_USE enum bole_status bole_session_tips(struct bole_session *, struct bole_id_list *);
/* What an object finally names: follows tags. *type is of *out. BOLE_E_LIMIT: a chain too deep. */
BOLE_MUST_USE enum bole_status bole_session_peel(struct bole_session *, struct bole_snapshot *,
                                                 const struct bole_oid *, struct bole_oid *out,
                                                 uint8_t *type);

/* Writes the advertisement of versions 0 and 1. head: list HEAD, its symref and peeled tags
 * (upload-pack). caps: of the first line, without leading space. */
BOLE_MUST_USE enum bole_status bole_advertise_refs(struct bole_session *, const char *caps,
                                                   bool upload);

/* A capability word of a list split at spaces. Returns false at the end. */
bool bole_caps_next(struct bole_bytes *rest, struct bole_bytes *word);
/* The word is `name=value`. */
bool bole_caps_value(struct bole_bytes word, const char *name, struct bole_bytes *value);

/* Version 2's ls-refs (ls_refs.c): reads the arguments up to the flush packet and answers. */
BOLE_MUST_USE enum bole_status bole_ls_refs(struct bole_session *, bool args_follow);

#endif /* BOLE_GIT_SERVICE_IMPL_H */
