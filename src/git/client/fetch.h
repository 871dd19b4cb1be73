/* SPDX-License-Identifier: ISC */
/* One fetch. Private to src/git/client.
 *   fetch.c    the course of it
 *   mapping.c  from the server's references to ours
 *   batch.c    some of them at a time
 *   receive.c  negotiation and the pack
 *   ends.c     where history ends
 *   partial.c  what the server may leave out
 *   backfill.c what it left out, later
 *   bundles.c  what comes before it from elsewhere (bundles.h)
 *   settle.c   what may move, and the commit */
#ifndef BOLE_GIT_CLIENT_FETCH_H
#define BOLE_GIT_CLIENT_FETCH_H

#include "git/client/remote.h"
#include "git/pack/ingest.h"
#include "git/service/service_impl.h"

/* A reference of ours that may change. */
struct fetch_item {
	const struct bole_remote_ref *from; /* NULL: to be deleted */
	struct bole_bytes name;
	struct bole_oid old_oid; /* null: there is none */
	struct bole_oid new_oid;
	struct bole_oid peeled;
	bool has_peeled;
	bool force;
	bool follows; /* a tag that comes along if what it names is here */
	bool left;    /* such a one that does not */
	bool later;   /* of another step */
	bool done;
	enum bole_change what;
	const char *reason; /* static; of BOLE_CHANGE_REFUSED */
};

struct fetching {
	struct bole_remote *r;
	struct bole_store *store;
	struct bole_client_fetch *job;
	struct bole_repo repo;
	bool created;
	const char *bundled; /* where tips of bundles are kept meanwhile, "refs/bundles/..." */
	bool again;          /* tags are missing that a second fetch would bring */
	bool more;           /* there are later steps */
	struct bole_tx *tx;
	struct bole_tx *dropped; /* before, of the pack that was cut off */
	struct bole_tx *kept;    /* with what came of it */
	bool cut_off;
	/* History is walked as by a service on the transaction's view. */
	struct bole_service svc;
	struct bole_session session;
	struct bole_history history;
	bool open;
	struct bole_refspec *specs;
	size_t spec_count;
	struct bole_arena text;
	struct fetch_item *items;
	size_t count;
	size_t cap;
	struct bole_id_list wants;
	bool asks;                       /* anything: by ids, or by names */
	struct bole_id_list shallow;     /* of the server's answer: ends of history */
	struct bole_id_list unshallow;   /* ends of ours that are none any more */
	struct bole_id_list cut;         /* commits of the pack that lack parents */
	struct bole_ingest_later *later; /* while packs come from several places */
	bool wants_open;
	struct bole_origin origin; /* as it is to be */
	bool partial;              /* objects may be missing, before or after */
	bool promisor;             /* the server is the origin, so what it leaves out it keeps */
	bool new_origin;           /* it is to be recorded */
	bool moved;                /* the boundary; the session has it as it is to be */
};

/* mapping.c */
BOLE_MUST_USE enum bole_status bole_fetch_specs(struct fetching *);
BOLE_MUST_USE enum bole_status bole_fetch_list(struct fetching *);
BOLE_MUST_USE enum bole_status bole_fetch_map(struct fetching *);
/* The branch that HEAD of a new repository names. */
void bole_fetch_head(const struct fetching *, char *out, size_t cap);

/* batch.c: leaves for later what is too much for one step. */
BOLE_MUST_USE enum bole_status bole_fetch_batch(struct fetching *);

/* receive.c: a pack with what is wanted and not here. */
BOLE_MUST_USE enum bole_status bole_fetch_receive(struct fetching *);
/* For the ingestion of one pack. */
size_t bole_fetch_memory(const struct bole_client_fetch *);
/* A pack with the wants alone; filter may be NULL. */
BOLE_MUST_USE enum bole_status bole_fetch_pack(struct fetching *, const char *filter);

/* ends.c */
bool bole_fetch_deepens(const struct fetching *);
/* What is asked of the server, before it is. */
BOLE_MUST_USE enum bole_status bole_fetch_check_deepen(struct fetching *);
/* The boundary as it is to be, into the session: after the pack. */
BOLE_MUST_USE enum bole_status bole_fetch_ends(struct fetching *);

/* partial.c: the filter that goes to the server, and whether it is the origin. */
BOLE_MUST_USE enum bole_status bole_fetch_partial(struct fetching *);

/* bundles.c */
struct bole_bundled {
	char prefix[48]; /* of the tips; "": there were no bundles */
	uint32_t repo;
	bool created; /* the repository, for them */
};
/* Before the fetch, in a conversation of its own: what the job asks for of bundles. Only what would
 * fail the fetch too fails it. */
BOLE_MUST_USE enum bole_status bole_bundles_fetch(struct bole_remote *, struct bole_store *,
                                                  struct bole_client_fetch *,
                                                  struct bole_bundled *out);
/* After it, unless the repository is gone: their tips. */
BOLE_MUST_USE enum bole_status bole_bundles_drop(struct bole_remote *, struct bole_store *,
                                                 const struct bole_bundled *);
/* Tips that a fetch left behind which was killed before its end, some of them. */
BOLE_MUST_USE enum bole_status bole_bundles_drop_stale(struct bole_remote *, struct bole_store *,
                                                       const char *repo);

/* settle.c */
BOLE_MUST_USE enum bole_status bole_fetch_judge(struct fetching *);
BOLE_MUST_USE enum bole_status bole_fetch_commit(struct fetching *);

/* fetch.c. The remote is open and not connected. */
BOLE_MUST_USE enum bole_status bole_remote_fetch(struct bole_remote *, struct bole_store *,
                                                 struct bole_client_fetch *);
/* What a partial repository lacks. */
BOLE_MUST_USE enum bole_status bole_remote_backfill(struct bole_remote *, struct bole_store *,
                                                    struct bole_client_backfill *);
/* Of a pack that was cut off something is kept: adds it to why r failed; BOLE_E_CLOSED. */
enum bole_status bole_fetch_tell_kept(struct bole_remote *, uint64_t objects);
void bole_fetch_lists_open(struct fetching *);
void bole_fetch_lists_release(struct fetching *);
/* Up to the server's list and the repository. */
BOLE_MUST_USE enum bole_status bole_fetch_begin(struct fetching *);
/* But for its boundary, which stays. */
void bole_fetch_session_open(struct fetching *);
void bole_fetch_session_close(struct fetching *);

#endif /* BOLE_GIT_CLIENT_FETCH_H */
