/* SPDX-License-Identifier: ISC */
/* One conversation with a Git server, from the client's side, over any transport.
 *   remote.c    packets in and out, what went wrong
 *   advert.c    what the server says first: versions, capabilities, references of version 0
 *   list.c      its references: version 2's ls-refs, and the checked list of either
 *   demux.c     the side-band of an answer
 *   refspec.c   which of its references go where
 *   skipper.c   which commits are named in a negotiation
 *   negotiate.c wants and haves, up to the first byte of the pack
 *   uris.c      packs that come from elsewhere
 *   wanted.c    references that are asked for by name
 * Everything from the server is hostile: bounded, checked, and told of in printable text only. */
#ifndef BOLE_GIT_CLIENT_REMOTE_H
#define BOLE_GIT_CLIENT_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "base/memory.h"
#include "bole/client.h"
#include "git/negotiate.h"
#include "git/wire/pkt_line.h"

enum {
	BOLE_REMOTE_REFS_MAX = 1 << 21,
	BOLE_REMOTE_REF_BYTES_MAX = 256 << 20, /* names and targets of them */
	BOLE_REMOTE_SHALLOWS_MAX = 1 << 18,    /* ends of its history */
	BOLE_REMOTE_CAPS_MAX = 1000,           /* lines or words of capabilities */
	BOLE_REMOTE_TEXT_MAX = 64 << 20,       /* progress and messages of one answer */
	BOLE_REMOTE_IDLE_MAX = 1 << 20,        /* packets in a row that carry no pack */
	BOLE_REMOTE_BUFFER = 64 * 1024,
	BOLE_REMOTE_ERROR_MAX = 400,
	BOLE_REMOTE_URIS_MAX = 256, /* packs from elsewhere */
};

/* A way to a server. open brings the advertisement; then request and answer take turns: over a
 * stateful transport all of one stream, else each a request of its own. *in and *out are the
 * transport's and valid until the next call. A failing call says why. */
struct bole_transport;
struct bole_transport_ops {
	enum bole_status (*open)(struct bole_transport *, const char *service, int version,
	                         struct bole_reader **in);
	enum bole_status (*request)(struct bole_transport *, struct bole_writer **out);
	enum bole_status (*answer)(struct bole_transport *, struct bole_reader **in);
	/* Ends the conversation; the transport may be opened again. */
	void (*end)(struct bole_transport *);
};
struct bole_transport {
	const struct bole_transport_ops *ops;
	bool stateless;
	char why[BOLE_REMOTE_ERROR_MAX];
};

/* A way to files beside the repository, by http:// and https://. One at a time; the reader is valid
 * until close. A failing call, and a reader that fails, say why. */
enum {
	BOLE_DOWNLOAD_GIVEN = 1,  /* by the user: a password may be in the URL */
	BOLE_DOWNLOAD_SECURE = 2, /* named by what came over https://: only there */
};
struct bole_download;
struct bole_download_ops {
	enum bole_status (*open)(struct bole_download *, const char *url, unsigned flags,
	                         struct bole_reader **in);
	void (*close)(struct bole_download *);
	/* The repository itself is reached over https://. */
	bool (*secure)(struct bole_download *);
};
struct bole_download {
	const struct bole_download_ops *ops;
	char why[BOLE_REMOTE_ERROR_MAX];
};

enum bole_ref_wanted { BOLE_REF_UNWANTED, BOLE_REF_WANTED, BOLE_REF_TOLD };
struct bole_remote_ref {
	struct bole_bytes name;
	struct bole_bytes target; /* empty unless symbolic */
	struct bole_oid oid;      /* null: unborn */
	struct bole_oid peeled;
	bool has_peeled;
	enum bole_ref_wanted wanted; /* by name */
};

/* A pack that comes from elsewhere. uri ends with a NUL. */
struct bole_remote_uri {
	struct bole_oid checksum;
	struct bole_bytes uri;
};

/* What the server can do; names as in gitprotocol-capabilities(5). */
struct bole_remote_caps {
	bool multi_ack;
	bool multi_ack_detailed;
	bool no_done;
	bool side_band;
	bool side_band_64k;
	bool thin_pack;
	bool no_thin;
	bool ofs_delta;
	bool include_tag;
	bool no_progress;
	bool agent;
	bool object_format;
	unsigned formats; /* a bit for each; a repository that a push makes may take several */
	bool report_status;
	bool report_status_v2;
	bool delete_refs;
	bool quiet;
	bool atomic;
	bool push_options;
	/* version 2 */
	bool server_option;
	bool ls_refs;
	bool unborn;
	bool fetch;
	bool filter;
	bool ref_in_want;
	bool packfile_uris;
	bool sideband_all;
	bool bundle_uri;
	bool shallow;
	bool deepen_since;
	bool deepen_not;
	bool deepen_relative;
};

struct bole_remote {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_transport *transport;
	struct bole_download *download; /* or NULL: nothing is taken from elsewhere */
	const struct bole_client_options *options;
	const char *url; /* to be kept and shown; NULL: nobody knows */
	int version;
	uint8_t algo;
	struct bole_remote_caps caps;
	/* Where the server's history ends, as its advertisement says (versions 0 and 1). */
	struct bole_id_list shallow;
	bool shallow_open;

	struct bole_arena text; /* of the list */
	size_t text_bytes;
	struct bole_remote_ref *refs;
	size_t ref_count;
	size_t ref_cap;
	size_t wanted;      /* references that are asked for by name */
	size_t skipped;     /* names that no repository may hold */
	bool packfile_uris; /* they are asked for */
	struct bole_remote_uri *uris;
	size_t uri_count;
	uint32_t uri_lines; /* that named one again */
	/* What a receiving server has beyond its references (".have"). */
	struct bole_id_list extra;
	bool extra_open;

	uint8_t *buffers; /* of in and out */
	struct bole_input in;
	struct bole_output out;
	struct bole_pkt_reader pkt;
	bool reading; /* in and pkt are set up */
	bool banded;  /* every packet is one of a side-band, also before the pack */
	uint64_t band_text;
	bool closed; /* stateless: the request at hand is answered */
	char error[BOLE_REMOTE_ERROR_MAX];
};

/* -- remote.c -- */

BOLE_MUST_USE enum bole_status bole_remote_open(struct bole_remote *, struct bole_platform *,
                                                struct bole_alloc *, struct bole_transport *,
                                                const struct bole_client_options *);
void bole_remote_close(struct bole_remote *);
/* Notes why, the first time; returns rc. */
enum bole_status bole_remote_fail(struct bole_remote *, enum bole_status rc, const char *format,
                                  ...) __attribute__((format(printf, 3, 4)));
/* Connects to a service ("git-upload-pack") and shows what it says first. */
BOLE_MUST_USE enum bole_status bole_remote_connect(struct bole_remote *, const char *service,
                                                   int version);
/* A request begins: write to r->out. Then the answer: read from r->in. */
BOLE_MUST_USE enum bole_status bole_remote_request(struct bole_remote *);
BOLE_MUST_USE enum bole_status bole_remote_answer(struct bole_remote *);
/* The next packet. An ERR packet, an end and malformed bytes are failures, told. */
BOLE_MUST_USE enum bole_status bole_remote_read(struct bole_remote *, struct bole_pkt *out);
/* The same, but BOLE_END at an orderly end of the stream. */
BOLE_MUST_USE enum bole_status bole_remote_read_end(struct bole_remote *, struct bole_pkt *out);
void bole_remote_warn(struct bole_remote *, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* -- advert.c -- */

/* Reads it: the version, capabilities, and in versions 0 and 1 the references. */
BOLE_MUST_USE enum bole_status bole_remote_advert(struct bole_remote *);

/* -- list.c -- */

BOLE_MUST_USE enum bole_status bole_remote_add_ref(struct bole_remote *, struct bole_bytes name,
                                                   const struct bole_oid *,
                                                   struct bole_remote_ref **out);
/* A copy among the list's text. */
BOLE_MUST_USE enum bole_status bole_remote_keep(struct bole_remote *, struct bole_bytes,
                                                struct bole_bytes *out);
/* Version 2's command; prefixes may be ignored by the server. */
BOLE_MUST_USE enum bole_status
bole_remote_ls_refs(struct bole_remote *, const struct bole_bytes *prefixes, size_t prefix_count);
/* Sorts by name; the same name twice is refused. Then find works. */
BOLE_MUST_USE enum bole_status bole_remote_sort(struct bole_remote *);
const struct bole_remote_ref *bole_remote_find(const struct bole_remote *, struct bole_bytes name);
/* The first lines of a command of version 2: its name and our capabilities. */
void bole_remote_command(struct bole_remote *, const char *command);

/* -- demux.c -- */

/* Band 1 of an answer as a reader; the others go where they belong. Ends at the flush packet. */
struct bole_demux {
	struct bole_reader reader;
	struct bole_remote *remote;
	struct bole_bytes data; /* what is left of the packet at hand */
	uint64_t text_bytes;
	uint32_t idle;
	bool ended;
	/* Within version 2 the section ends with a flush; a plain stream may just end. */
	enum bole_status rc;
};
void bole_demux_init(struct bole_demux *, struct bole_remote *);

/* -- skipper.c -- */

struct bole_service;
struct bole_skip_state;
/* Chooses haves: newest first, with strides that grow while nothing is common. */
struct bole_skipper {
	struct bole_history *history;
	struct bole_alloc *alloc;
	struct bole_skip_state *states; /* of the history's nodes */
	size_t state_cap;
	uint32_t *heap;
	size_t heap_count;
	size_t heap_cap;
	size_t live; /* in the heap and not known to be common */
	uint32_t *stack;
	size_t stack_cap;
};
void bole_skipper_init(struct bole_skipper *, struct bole_history *, struct bole_alloc *);
void bole_skipper_release(struct bole_skipper *);
/* A tip of ours, a commit. shared: the server lists it too. */
BOLE_MUST_USE enum bole_status bole_skipper_tip(struct bole_skipper *, const struct bole_oid *,
                                                bool shared);
/* The next to name; BOLE_END. */
BOLE_MUST_USE enum bole_status bole_skipper_next(struct bole_skipper *, struct bole_oid *out);
/* The server has it. *fresh: that was not known. */
BOLE_MUST_USE enum bole_status bole_skipper_common(struct bole_skipper *, const struct bole_oid *,
                                                   bool *fresh);

/* -- negotiate.c -- */

struct bole_negotiation {
	struct bole_remote *remote;
	const struct bole_id_list *wants;
	struct bole_skipper *skipper;
	struct bole_snapshot *view;
	const char *filter;                      /* or NULL */
	const struct bole_id_list *ends;         /* where our history ends */
	const struct bole_client_deepen *deepen; /* or NULL */
	bool include_tag;
	bool thin;
	struct bole_id_list common;
	/* Out. Lines of the server, each id once and in one list only; caller's, initialized. */
	struct bole_id_list *shallow;
	struct bole_id_list *unshallow;
	uint32_t rounds;
	uint64_t haves;
	bool band; /* the pack comes in a side-band */
};
/* Up to where the pack begins: in remote->in, or in a side-band in it. */
BOLE_MUST_USE enum bole_status bole_negotiate(struct bole_negotiation *);

/* -- uris.c -- */

bool bole_uris_asked(const struct bole_remote *);
/* The line of a request, if they are asked for. */
void bole_uris_send(struct bole_remote *);
/* The section packfile-uris, behind its name, into r->uris. */
BOLE_MUST_USE enum bole_status bole_uris_read(struct bole_remote *);

/* -- wanted.c -- */

/* A line for each reference that is wanted. */
void bole_wanted_send(struct bole_remote *);
/* The section wanted-refs, behind its name: what they hold now. */
BOLE_MUST_USE enum bole_status bole_wanted_read(struct bole_remote *);
/* Each of them was told. */
BOLE_MUST_USE enum bole_status bole_wanted_check(struct bole_remote *);

/* -- refspec.c -- */

enum { BOLE_REFSPECS_MAX = 256, BOLE_LOOKUPS = 6 };
struct bole_refspec {
	struct bole_bytes src; /* borrowed from the text; "" of a push deletes */
	struct bole_bytes dst;
	bool force;
	bool negative;
	bool pattern;
	bool has_dst;
};
/* BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_refspec_parse(const char *text, bool push,
                                                  struct bole_refspec *out);
/* name fits src; for a pattern *star is what the * stood for. */
bool bole_refspec_match(struct bole_bytes pattern, struct bole_bytes name, struct bole_bytes *star);
/* dst with the * replaced, into out (cap bytes); false when it is too long. */
bool bole_refspec_expand(struct bole_bytes pattern, struct bole_bytes star, char *out, size_t cap,
                         size_t *len);

/* Where a short name is looked for, in this order (gitrevisions(7)); i < BOLE_LOOKUPS. */
void bole_refspec_lookup(unsigned i, struct bole_bytes *before, struct bole_bytes *after);

#endif /* BOLE_GIT_CLIENT_REMOTE_H */
