/* SPDX-License-Identifier: ISC */
/* The client's side of Git's protocol: list, fetch from and push to a repository on another server,
 * over git:// and smart HTTP, in the versions 2, 1 and 0 (gitprotocol-v2(5), gitprotocol-pack(5),
 * gitprotocol-http(5)). What is fetched goes into a repository of a store, what is pushed comes out
 * of one; there is no work tree.
 *
 * A server is not trusted: what it lists is bounded and checked, packs go through the same
 * ingestion as pushes do, with the same limits and checks, and every link of every object must
 * lead somewhere before a reference moves. Whatever fails leaves the repository as it was.
 *
 * A repository may be shallow: its history then ends at recorded commits, and every link of every
 * other object leads somewhere. It may be partial: of what objects link to, trees and blobs may be
 * missing that its origin, the server it was cloned from, promised to keep; reading one is
 * BOLE_E_PROMISED, and bole_client_backfill brings it.
 *
 * Calls block: on a fiber the fiber, else the thread. One conversation at a time on a client. */
#ifndef BOLE_CLIENT_H
#define BOLE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/platform.h"
#include "bole/status.h"
#include "bole/store.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_client;

enum bole_client_protocol {
	BOLE_PROTOCOL_BEST = 0, /* asks for version 2, takes what comes */
	BOLE_PROTOCOL_V0 = 1,
	BOLE_PROTOCOL_V1 = 2,
	BOLE_PROTOCOL_V2 = 3,
};

/* Zeroed: the defaults. All strings are borrowed as long as the client lives. */
struct bole_client_options {
	enum bole_client_protocol protocol;
	/* "user:password" or "Bearer token", for HTTP; goes before what the URL says. Sent to the
	 * URL's own host, scheme and port only, and never shown. */
	const char *credentials;
	/* For the server to read as it likes, told with each list and fetch (git-fetch(1),
	 * "--server-option"); without NUL and line ends. A server that takes none, or does not
	 * speak version 2, is refused (BOLE_E_UNSUPPORTED). */
	const char *const *server_options;
	size_t server_option_count;
	/* Proxies for http:// and https:// (by CONNECT), "[http://][user:password@]host[:port]", as
	 * curl has them; NULL or "" = none. Their credentials go to them alone and are never shown.
	 * no_proxy: names of hosts that are asked directly, and what is below them, separated by
	 * commas or blanks; "*" = all. git:// always goes directly. */
	const char *http_proxy;
	const char *https_proxy;
	const char *no_proxy;
	uint64_t connect_ns_max; /* 0 = 30 s */
	uint64_t silence_ns_max; /* a server that says nothing for so long is given up; 0 = 300 s */
	/* Wraps a connection in TLS for a host; takes plain over, closes it on failure. NULL:
	 * https:// is refused (BOLE_E_UNSUPPORTED). */
	enum bole_status (*secure)(void *ctx, struct bole_stream *plain, const char *host,
	                           struct bole_stream **out, char *why, size_t why_cap);
	void *secure_ctx;
	/* All may be NULL. Phases as of an import; total 0 = not known. text: what the server shows
	 * to its users, raw bytes of it, in pieces. */
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	void (*remote_text)(void *ctx, struct bole_bytes text);
	void (*warning)(void *ctx, const char *line);
	void *ctx;
};

/* Only looks at the URL. git://host[:port]/path, http[s]://[user[:password]@]host[:port]/path.
 * BOLE_E_INVALID, BOLE_E_UNSUPPORTED (another scheme): why has a line about it. */
BOLE_MUST_USE enum bole_status bole_client_open(struct bole_platform *, struct bole_alloc *,
                                                const char *url, const struct bole_client_options *,
                                                char *why, size_t why_cap,
                                                struct bole_client **out);
/* NULL is fine. */
void bole_client_close(struct bole_client *);
/* Why the last call failed, one printable line, without credentials; "" if it did not. */
const char *bole_client_error(const struct bole_client *);
/* The URL without user and password. */
const char *bole_client_url(const struct bole_client *);

/* -- Listing -- */

/* Borrowed for the call. target is empty unless symbolic; oid is null for a HEAD whose branch does
 * not exist yet. */
struct bole_client_ref {
	struct bole_bytes name;
	struct bole_bytes target;
	struct bole_oid oid;
	struct bole_oid peeled;
	bool has_peeled;
};
struct bole_client_list {
	/* Only names that start with one of these, as far as the server can tell; 0 = all. */
	const char *const *prefixes;
	size_t prefix_count;
	void (*reference)(void *ctx, const struct bole_client_ref *);
	void *ctx;
	/* Out: what the server spoke and holds. */
	int version;
	uint8_t algo;
};
/* BOLE_E_NOT_FOUND (no such repository), BOLE_E_DENIED, BOLE_E_BUSY (429), BOLE_E_INVALID (it does
 * not speak the protocol), BOLE_E_LIMIT, BOLE_E_TIMEOUT, BOLE_E_CLOSED, BOLE_E_IO. */
BOLE_MUST_USE enum bole_status bole_client_list(struct bole_client *, struct bole_client_list *);

/* -- Fetching -- */

/* What became of one reference. */
enum bole_change {
	BOLE_CHANGE_NONE = 0, /* as it was */
	BOLE_CHANGE_NEW = 1,
	BOLE_CHANGE_FORWARD = 2,
	BOLE_CHANGE_FORCED = 3,
	BOLE_CHANGE_DELETED = 4,
	BOLE_CHANGE_REFUSED = 5, /* reason says why; the others went on */
	BOLE_CHANGE_HEAD = 6,    /* HEAD names another branch */
};
struct bole_client_change {
	enum bole_change what;
	struct bole_bytes from; /* of a fetch: the name on the server; of a push: ours; may be "" */
	struct bole_bytes to;
	struct bole_oid old_oid; /* null: there was none */
	struct bole_oid new_oid; /* null: deleted */
	const char *reason;      /* "" unless refused */
};

enum bole_fetch_tags {
	BOLE_TAGS_FOLLOW = 0, /* those that point to what is fetched or there */
	BOLE_TAGS_ALL = 1,
	BOLE_TAGS_NONE = 2,
};
enum bole_fetch_mode {
	BOLE_FETCH_UPDATE = 0, /* into a repository that is there */
	BOLE_FETCH_CLONE = 1,  /* into one that is made, in the server's object format */
	BOLE_FETCH_EITHER = 2, /* made when it is not there */
};

/* Where history is to end, as git-fetch(1) has it; zeroed: as it does. depth, deepen and the pair
 * since_s, excludes exclude each other. What is wanted is then asked for although its tips are
 * here. */
struct bole_client_deepen {
	uint32_t depth;  /* so many commits from each tip */
	uint32_t deepen; /* so many more than here */
	bool unshallow;  /* all of it */
	int64_t since_s; /* those that are younger; seconds since 1970, 0 = not asked for */
	const char *const *excludes; /* those that these references of the server do not reach */
	size_t exclude_count;
};

struct bole_client_fetch {
	const char *repo; /* name in the store */
	enum bole_fetch_mode mode;
	/* As git-fetch(1) has them: [+]src[:dst], with one * on both sides, ^src. Short names are
	 * looked up as Git does. Without dst it is src. 0 = "refs/heads/<*>:refs/heads/<*>". */
	const char *const *refspecs;
	size_t refspec_count;
	enum bole_fetch_tags tags;
	bool force;  /* as if every refspec began with + */
	bool prune;  /* delete what a refspec covers here and the server has no longer */
	bool atomic; /* all references or none; limited to BOLE_REF_UPDATES_MAX of them */
	bool head;   /* HEAD follows the server's; a clone always does */
	bool dry_run;
	bool lenient; /* hold objects to their structure alone, as an import does */
	/* At most so many references that are new here are taken at once, tags first, in the order
	 * of versions; each step is kept when a later one fails, also of a clone, and the next
	 * attempt goes on from there. 0 = all at once. */
	uint32_t batch_refs;
	/* Of a pack that is cut off, keeps the objects that came whole, if all commits did: the
	 * references are set, and the repository is partial until a fetch from the same server
	 * (or a backfill) has brought the rest. The call fails all the same. Only from servers that
	 * offer partial clones; not with atomic and deepen. */
	bool resume;
	struct bole_client_deepen deepen; /* not together with batch_refs */
	/* A partial clone: what the server is to leave out, as in git-rev-list(1), "--filter":
	 * "blob:none", "blob:limit=1m", "tree:0", ... NULL: as the fetches from this server before,
	 * if the repository is a partial clone of it, else nothing. The server becomes the
	 * repository's origin; it has one at most (BOLE_E_CONFLICT). Trees and blobs may be missing
	 * then, commits and tags not. Needs version 2 (BOLE_E_UNSUPPORTED). */
	const char *filter;
	/* Takes commits of a server whose history ends where that of the repository does not. A
	 * repository that is made takes them always. */
	bool update_shallow;
	/* Bundles before the fetch, which goes on from what they brought: from a URL (http://,
	 * https://), from a reader, or those that the server recommends. Each may be a list of
	 * bundles as well (git-bundle(1), "bundle.*"). Who names them is trusted no more than the
	 * server; one that cannot be used is a warning. From https:// nothing leads to http://. */
	const char *bundle_uri;
	struct bole_reader *bundle;
	bool bundles;
	/* Lets the server leave packs to others: they come over https://, or http:// as well where
	 * the server is not reached over https://, from wherever it says (BOLE_E_INVALID: not with
	 * the checksum that it told). */
	bool packfile_uris;
	uint64_t pack_bytes_max;   /* of each pack; 0 = no limit but the volume's */
	uint64_t object_bytes_max; /* 0 = the ingestion's default */
	size_t memory_bytes_max;   /* 0 = 512 MiB */
	/* Every reference that was looked at, after the commit. May be NULL. */
	void (*change)(void *ctx, const struct bole_client_change *);
	void *ctx;
	/* Out. */
	uint64_t objects;
	uint64_t pack_bytes;
	uint64_t promised; /* objects that what came links to, and that are not here */
	uint64_t refs_changed;
	uint64_t refs_refused;
	uint32_t rounds; /* of negotiation */
	uint64_t haves;  /* commits named in it */
	uint64_t
	        ends; /* commits on the shallow boundary, after the last step that brought a pack */
};
/* As bole_client_list; and BOLE_E_EXISTS (the repository of a clone), BOLE_E_CONFLICT (another
 * object format; a reference that changed meanwhile; atomic and one was refused), BOLE_E_CORRUPT (a
 * collision attack), BOLE_E_NO_SPACE, ... */
BOLE_MUST_USE enum bole_status bole_client_fetch(struct bole_client *, struct bole_store *,
                                                 struct bole_client_fetch *);

/* Whether the text is a refspec of a fetch or a push; one that is not fails either. */
bool bole_client_refspec_valid(const char *text, bool push);

/* -- What a partial repository lacks -- */

enum { BOLE_CLIENT_ORIGIN_MAX = 2001 };
struct bole_client_origin {
	bool partial;                     /* objects may be missing */
	char url[BOLE_CLIENT_ORIGIN_MAX]; /* without credentials; "": not known */
	char filter[BOLE_CLIENT_ORIGIN_MAX];
};
/* Where a repository was cloned from in part. BOLE_OK also when it is whole. BOLE_E_NOT_FOUND (no
 * such repository), BOLE_E_CORRUPT, BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_client_origin(struct bole_store *, struct bole_alloc *,
                                                  const char *repo, struct bole_client_origin *);

struct bole_client_backfill {
	const char *repo;
	const struct bole_oid *ids; /* promised objects; those that are here are passed over */
	size_t id_count;            /* 0 = all that is missing */
	bool resume;                /* keep what comes of a pack that is cut off */
	bool lenient;
	uint64_t pack_bytes_max; /* this and the next two as of bole_client_fetch */
	uint64_t object_bytes_max;
	size_t memory_bytes_max;
	/* Out. */
	uint64_t objects;
	uint64_t pack_bytes;
	uint64_t missing; /* after all of it was asked for: what is still missing */
};
/* Brings objects that are promised from the client's server, usually the origin. They come in
 * batches, each of which is kept when a later one fails. A repository that lacks nothing any more
 * is whole, and forgets its origin. As bole_client_fetch; BOLE_E_NOT_FOUND: an id that is not
 * promised. */
BOLE_MUST_USE enum bole_status bole_client_backfill(struct bole_client *, struct bole_store *,
                                                    struct bole_client_backfill *);

/* -- Pushing -- */

struct bole_push_lease {
	const char *name; /* of the server's reference */
	const char *oid;  /* what it must hold; "" = must not exist */
};
struct bole_client_push {
	const char *repo;
	/* As git-push(1) has them: [+]src[:dst], :dst deletes, with one * on both sides, ^src. 0 =
	 * HEAD's branch. */
	const char *const *refspecs;
	size_t refspec_count;
	bool all;    /* every branch */
	bool tags;   /* every tag, besides */
	bool mirror; /* every reference, forced; others are deleted there */
	bool prune;  /* delete there what a refspec covers and is not here */
	bool force;
	bool atomic;
	bool dry_run;
	bool quiet; /* ask the server for no progress */
	const struct bole_push_lease *leases;
	size_t lease_count;
	const char *const *options; /* push options */
	size_t option_count;
	void (*change)(void *ctx, const struct bole_client_change *);
	void *ctx;
	/* Out. */
	uint64_t objects;
	uint64_t pack_bytes;
	uint64_t refs_changed;
	uint64_t refs_refused;
};
/* BOLE_OK also when references were refused, one by one. Else as bole_client_list, and
 * BOLE_E_NOT_FOUND (a source that is not here), BOLE_E_UNSUPPORTED (atomic or options, and the
 * server has none), BOLE_E_CONFLICT (atomic and one was refused; nothing was sent). */
BOLE_MUST_USE enum bole_status bole_client_push(struct bole_client *, struct bole_store *,
                                                struct bole_client_push *);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_CLIENT_H */
