/* SPDX-License-Identifier: ISC */
/* The parts of the node. A connection is one fiber on a small stack; what runs a Git service gets
 * a fiber with a larger one for as long as the request lasts. */
#ifndef BOLE_NODE_INTERNAL_H
#define BOLE_NODE_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "base/memory.h"
#include "bole/node.h"
#include "git/service/service.h"
#include "node/access.h"
#include "node/http_parse.h"

#define NODE_SECOND_NS UINT64_C(1000000000)

enum {
	NODE_CONNECTION_STACK = 32 * 1024,
	NODE_SERVICE_STACK = 256 * 1024,
	NODE_INPUT_BYTES = 16 * 1024,  /* a connection's, holds one head: its whole idle buffer */
	NODE_OUTPUT_BYTES = 32 * 1024, /* of a request in progress */
	NODE_PEER_MAX = 64,
	/* A peer must move this many bytes a second on average, beyond a grace of two silences. */
	NODE_BYTES_PER_S_MIN = 128,
	/* Where others wait for a place, one that moves less gives way. */
	NODE_BUSY_BYTES_PER_S = 4096,
	NODE_ACCEPT_PAUSE_MS = 100,
	NODE_BUSY_RETRY_S = 5, /* Retry-After */
	NODE_CAPS_RETRY_S = 2,
	NODE_CAPS = NODE_RATE_REPOSITORY + 1, /* kinds of rates that have a cap, too */
};

/* What the configuration says; docs/CONFIG.md. Times in nanoseconds. */
struct node_options {
	uint64_t head_ns;    /* for a whole HTTP head or git request line */
	uint64_t idle_ns;    /* of a kept-alive connection between requests */
	uint64_t silence_ns; /* of a peer inside a request */
	uint64_t queue_ns;   /* wait for a free place before "busy" */
	uint64_t connections_max;
	uint64_t requests_max;       /* Git services at once */
	uint64_t memory_max;         /* of all connections and requests */
	uint64_t request_memory_max; /* of one request */
	uint64_t at_once[NODE_CAPS]; /* requests of one address, user, repository; 0 = no limit */
	uint64_t fetch_body_max;     /* of an upload-pack request, inflated */
	uint64_t gc_share;           /* of live bytes, in percent: so much was written since */
	uint64_t gc_delay_ns;        /* after the last change that may leave garbage */
	uint64_t gc_period_ns;       /* after a deletion at the latest */
	uint64_t repack_packs;       /* that are worth a repack */
	uint64_t repack_period_ns;   /* between two looks for such */
	uint64_t repack_delay_ns;    /* after a push, before the repository is looked at */
	uint64_t repack_raw_bytes;   /* packed by others, that are repacked even alone */
	bool gc_auto;
	bool repack_auto;
};

struct bole_git_cache;
struct bole_pack_cache;
struct bole_ref_cache;
struct node_connection;
struct node_background;
struct node_lfs;
struct node_webhook;

struct bole_node {
	struct bole_platform *platform;
	struct bole_store *store;
	const struct bole_config *config;
	struct node_options options;
	struct bole_budget budget;
	struct node_access *access;
	struct node_rates *rates;
	const struct bole_hooks *hooks;
	struct bole_fsck_options fsck; /* of every repository without settings of its own */
	struct bole_oid *fsck_skip;
	size_t fsck_skip_count;
	struct bole_listener *http;
	struct bole_listener *git;
	uint64_t started_ns;
	_Atomic uint64_t requests_total;
	_Atomic uint64_t refused_total;
	_Atomic uint64_t turned_away; /* connections that found no place */
	_Atomic uint64_t complained_ns;
	_Atomic uint64_t cut_ns; /* no call waits beyond; BOLE_NEVER until close */
	_Atomic bool stopping;   /* the background's sign to end */
	_Atomic bool starving;   /* a request has the turn (hunger.c) */
	struct bole_git_cache *cache;
	struct bole_pack_cache *packs;
	struct bole_ref_cache *lists;
	struct node_lfs *lfs;
	struct node_webhook *webhook;       /* NULL: nobody is to be told */
	struct node_background *background; /* NULL: the store is read-only */

	struct bole_mutex lock;   /* guards the rest */
	struct bole_cond changed; /* connections, acceptors */
	struct bole_cond room;    /* a request has left */
	struct bole_cond work;    /* for the background */
	struct node_connection *connections;
	struct node_connection *placed; /* those with a place among the requests */
	uint64_t connection_count;
	_Atomic uint64_t request_count;
	unsigned acceptors;
	bool closing;
	bool background_runs;
};

/* -- the background (background.c) -- */

BOLE_MUST_USE enum bole_status bole_node_background_start(struct bole_node *);
/* It has ended. */
void bole_node_background_free(struct bole_node *);
/* References of a repository were moved, or deleted. */
void bole_node_background_note(struct bole_node *, uint32_t repo, bool deleted);
/* A pack came in. */
void bole_node_background_pushed(struct bole_node *, uint32_t repo);
/* A push found no space: whatever waits for later is tried now. */
void bole_node_background_wake(struct bole_node *);

/* -- requests that found no memory (hunger.c) -- */

/* Zeroed but for the first two: has not starved so far. */
struct node_hunger {
	struct bole_node *node;
	struct node_connection *connection;
	uint64_t until_ns;
	uint64_t pause_ns;
	bool turn;
};

/* struct bole_service.starved; ctx is a struct node_hunger. */
bool bole_node_starved(void *ctx);
/* The request has ended. */
void bole_node_hunger_end(struct node_hunger *);

/* -- a connection (connection.c) -- */

struct node_connection {
	struct bole_reader reader; /* buffered bytes, then the stream, in time */
	struct bole_writer writer; /* the stream, in time */
	struct bole_node *node;
	struct bole_stream *stream;
	struct node_connection *next;
	struct node_connection *prev;
	_Atomic bool idle;    /* written under node->lock: no whole request has come */
	_Atomic bool between; /* written under node->lock: its session waits for the next command */
	/* Gives way to another one: nothing waits for this peer any more. */
	_Atomic bool evicted;
	/* While this waits for the peer: since when it would have, had it waited in one piece and
	 * its bytes paid for NODE_BUSY_BYTES_PER_S; else 0. */
	_Atomic uint64_t slow_since_ns;
	struct node_connection *next_placed; /* under node->lock */
	struct node_connection *prev_placed;
	uint64_t keys[NODE_CAPS];   /* whose request this is, and for what */
	_Atomic uint64_t looked_ns; /* the service: whether the peer is gone was asked then */
	_Atomic bool gone;
	uint8_t *input;
	size_t input_pos;
	size_t input_len;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t waited_ns; /* for this peer, in this request */
	char peer[NODE_PEER_MAX];
};

/* Starts a fiber that runs serve(c) and then closes c. Takes the stream, whatever happens. */
void bole_node_connection_start(struct bole_node *, struct bole_stream *,
                                void (*serve)(struct node_connection *));
/* Reads more input behind what is buffered, by `deadline_ns` (0: while the peer is not too silent
 * or slow). BOLE_E_LIMIT: the buffer is full. Moves what is buffered. */
BOLE_MUST_USE enum bole_status bole_node_connection_fill(struct node_connection *,
                                                         uint64_t deadline_ns);
/* Writes all pieces or fails; too slow a peer fails. */
BOLE_MUST_USE enum bole_status
bole_node_connection_send(struct node_connection *, const struct bole_bytes *pieces, size_t count);
/* A new request begins: its time and byte counts start here. */
void bole_node_connection_reset(struct node_connection *);
/* Marks it idle (false: the node is closing, do not wait) or busy. */
bool bole_node_connection_idle(struct node_connection *, bool idle);
/* For bole_service.waiting; ctx is the connection. */
bool bole_node_connection_between(void *ctx, bool begins);
/* With node->lock held: its reads end now with BOLE_E_TIMEOUT, a last word may still be written. */
void bole_node_connection_evict(struct node_connection *);
/* Ends our side and reads away what the peer still sends for a moment, so that it gets to read the
 * last answer instead of a reset. */
void bole_node_connection_linger(struct node_connection *);
/* For bole_service.cancelled; ctx is the connection. */
bool bole_node_connection_cancelled(void *ctx);

/* -- requests (request.c) -- */

enum node_service {
	NODE_UPLOAD_PACK,
	NODE_RECEIVE_PACK,
	NODE_UPLOAD_ARCHIVE,
	NODE_ARCHIVE, /* by GET */
	NODE_DUMB,    /* a file of the dumb protocol, by GET */
	NODE_TASK,    /* whatever node_request.task does */
};

struct node_request {
	struct node_connection *connection;
	enum node_service service;
	const char *name; /* of the repository */
	const char *user; /* NULL = anonymous */
	int version;
	bool stateless;
	bool advertise;
	struct bole_bytes path;   /* by GET: of the file, or the reference and path of an archive */
	struct bole_bytes prefix; /* of an archive's entries */
	struct bole_bytes format; /* of an archive */
	struct bole_reader *reader;
	struct bole_writer *writer;
	/* NODE_TASK: runs in place of a service, with the budget, and logs what it did. */
	void (*task)(struct node_request *);
	/* Out: */
	struct bole_budget budget;
	enum bole_status rc;
	bool ended; /* as bole_service.ended */
};

/* What stands against serving; each transport says it in its own words. */
enum bole_node_verdict {
	NODE_GRANTED,
	NODE_ABSENT,    /* granted, and the repository is to be created by the push */
	NODE_NOT_FOUND, /* no such repository, or not for this peer */
	NODE_READ_ONLY, /* pushes are not enabled */
	NODE_UNKNOWN,   /* somebody might, but not without a name */
	NODE_FORBIDDEN, /* seen by this user, but not to be written */
	NODE_FAILED,    /* the store cannot say */
};
/* user NULL = anonymous. What is not to be seen reads like what is not there. */
enum bole_node_verdict bole_node_verdict(struct bole_node *, enum node_service, const char *user,
                                         const char *name);
/* One more request of this peer, for this repository: 0, or the seconds that it has to wait. */
unsigned bole_node_throttle(struct node_connection *, const char *user, const char *name);
/* peer without its port. */
struct bole_bytes bole_node_address(const struct node_connection *);
/* Who asks for what: before bole_node_enter (caps.c). */
void bole_node_caps_name(struct node_connection *, const char *user, const char *name);
bool bole_node_caps_any(const struct bole_node *);
/* The next three with node->lock held: as many of the same are served as may be; takes part;
 * leaves. */
bool bole_node_caps_reached(const struct node_connection *);
void bole_node_caps_enter(struct node_connection *);
void bole_node_caps_leave(struct node_connection *);
/* Waits for a place among the requests; false: too busy. Pair with bole_node_leave. Peers that have
 * been waited for too long lose theirs to who waits here. */
bool bole_node_enter(struct node_connection *);
void bole_node_leave(struct node_connection *);
/* Runs the service on a fiber of its own and waits for it; logs one line. */
void bole_node_request_run(struct node_request *);
const char *bole_node_service_name(enum node_service);
/* The highest "version=N" that we know in a colon-separated list (Git-Protocol, GIT_PROTOCOL). */
int bole_node_protocol_version(struct bole_bytes list);
/* The object format of a repository that a push is about to make. */
uint8_t bole_node_default_format(struct bole_node *, const char *name);
/* The branch that HEAD of a new repository names until a push says better. */
#define NODE_DEFAULT_HEAD "refs/heads/main"
/* Points a HEAD that leads nowhere at a branch that exists, if there is one (head.c). space: as in
 * struct bole_ref_view, or "". */
void bole_node_settle_head(struct bole_platform *, struct bole_store *, const struct bole_repo *,
                           const char *space);

/* -- what fetches may (fetch_config.c) -- */

struct node_fetch_config {
	struct bole_fetch_policy policy; /* borrows from the rest and from the configuration */
	struct bole_alloc *alloc;
	const char **list;
	char space[BOLE_NAMESPACE_MAX + 1];
};
/* BOLE_E_INVALID: a switch that is no boolean; logged. */
BOLE_MUST_USE enum bole_status bole_node_fetch_config_check(struct bole_platform *,
                                                            const struct bole_config *);
/* For one request. config may be NULL. BOLE_E_INVALID (the namespace), BOLE_E_LIMIT (more than 256
 * patterns), BOLE_E_NO_MEMORY. Must not be moved while it is open. */
BOLE_MUST_USE enum bole_status bole_node_fetch_config_open(struct node_fetch_config *,
                                                           struct bole_alloc *,
                                                           const struct bole_config *,
                                                           const char *name, bool push);
void bole_node_fetch_config_close(struct node_fetch_config *);

/* -- what pushes may do (push_config.c) -- */

/* Reads what holds for every repository; BOLE_E_INVALID: logged. */
BOLE_MUST_USE enum bole_status bole_node_push_config(struct bole_node *);
void bole_node_push_config_close(struct bole_node *);
enum { NODE_KEY_MAX = BOLE_REPO_NAME_MAX + 64 };
/* repo.<name>.key, in full, if there is such an entry, else key. */
const char *bole_node_repo_key(const struct bole_config *, const char *name, const char *key,
                               char full[NODE_KEY_MAX]);
/* The value of that key. What cannot be read counts as `strict`. */
bool bole_node_repo_bool(struct bole_node *, const char *name, const char *key, bool missing,
                         bool strict);
/* The policy of one push; the parts of it that have to live as long. */
struct node_push {
	struct bole_node *node;
	const char *user;
	const char *repo;
	struct bole_fsck_options fsck;
	uint64_t event; /* number of what the webhooks are told */
	bool staged;    /* they are told something */
};
void bole_node_push_policy(struct bole_node *, const char *user, const char *name,
                           struct node_push *, struct bole_service_policy *out);

/* -- webhooks (webhook.c) -- */

/* Begins to deliver what is left from before. BOLE_E_INVALID: the configuration; logged. */
BOLE_MUST_USE enum bole_status bole_node_webhook_open(struct bole_node *);
/* With node->lock held, when node->stopping is set: what is under way ends. */
void bole_node_webhook_stop(struct bole_node *);
/* With node->lock held: somebody is still at work. */
bool bole_node_webhook_runs(const struct bole_node *);
void bole_node_webhook_close(struct bole_node *);
/* bole_push_policy.stage; ctx is a struct node_push. */
void bole_node_webhook_stage(void *ctx, struct bole_tx *, const struct bole_ref_update *,
                             size_t count, bool again);
/* A push that has staged something is over. */
void bole_node_webhook_note(struct bole_node *, uint32_t repo);

/* -- transports -- */

void bole_node_http_serve(struct node_connection *);
void bole_node_gitd_serve(struct node_connection *);

/* -- HTTP (http.c, http_body.c, http_response.c, http_git.c, http_page.c) -- */

struct bole_gunzip;

/* The body of a request, decoded, as a reader. */
struct node_body {
	struct bole_reader reader;
	struct node_connection *connection;
	const struct bole_http_request *request;
	struct bole_http_chunks chunks;
	struct bole_gunzip *gunzip; /* NULL: identity */
	struct bole_alloc *alloc;
	uint8_t *packed; /* coded bytes for gunzip */
	size_t packed_pos;
	size_t packed_len;
	uint64_t left;     /* of Content-Length */
	uint64_t taken;    /* coded bytes so far */
	uint64_t produced; /* decoded bytes so far */
	uint64_t limit;    /* of produced */
	bool continue_due; /* "100 Continue" is to be sent before the first read */
	bool ended;        /* of the coded body */
	enum bole_status rc;
};
/* BOLE_E_UNSUPPORTED: an unknown Content-Encoding (415). */
BOLE_MUST_USE enum bole_status bole_node_body_open(struct node_body *, struct node_connection *,
                                                   const struct bole_http_request *,
                                                   struct bole_alloc *, uint64_t limit);
/* Reads away what is left of it, if that is little; true: the connection can go on. */
bool bole_node_body_finish(struct node_body *);
void bole_node_body_close(struct node_body *);

/* An answer whose body is written piece by piece: with Content-Length when it stays small, else
 * chunked (HTTP/1.1) or until close (HTTP/1.0). */
struct node_response {
	struct bole_writer writer;
	struct node_connection *connection;
	const struct bole_http_request *request;
	unsigned status;
	const char *content_type;
	const char *extra; /* further header lines, each with CRLF */
	struct bole_buffer held;
	uint64_t since_ns; /* when the first byte was held */
	bool started;
	bool close;
	bool sized; /* length is the body's, so it is not chunked, however long */
	uint64_t length;
	enum bole_status rc;
};
void bole_node_response_init(struct node_response *, struct node_connection *,
                             const struct bole_http_request *, struct bole_alloc *);
/* Ends the body; sends everything if nothing was sent yet. */
enum bole_status bole_node_response_finish(struct node_response *);
/* "2025-01-31T12:00:00Z" of seconds since 1970. */
void bole_node_format_time(int64_t seconds, char *dst, size_t cap);
/* A whole answer of one text; extra may be NULL. */
enum bole_status bole_node_respond_text(struct node_connection *, const struct bole_http_request *,
                                        unsigned status, const char *extra, bool close,
                                        const char *text);

/* What a path names that is read by GET (http_files.c). */
struct node_file {
	enum node_service service; /* NODE_ARCHIVE or NODE_DUMB */
	char name[BOLE_REPO_NAME_MAX + 1];
	struct bole_bytes path;
	struct bole_bytes format;
	const char *type;
};
/* False: it names none. Borrows from path. */
bool bole_node_file_parse(const char *path, struct node_file *);
/* Between enter and leave. True when the connection can serve another request. */
bool bole_node_file_serve(struct node_connection *, const struct bole_http_request *,
                          const struct node_file *, const char *user);

/* Who asks over HTTP, and may it be asked now. 0: *who is set (NULL: anonymous; else user); 401;
 * 429: *wait seconds. */
unsigned bole_node_http_who(struct node_connection *, const struct bole_http_request *,
                            const char *name, char user[NODE_USER_MAX], const char **who,
                            unsigned *wait);

/* Large files (lfs.c). Before the first connection, and after the last one. BOLE_E_INVALID: the
 * configuration; logged. */
BOLE_MUST_USE enum bole_status bole_node_lfs_open(struct bole_node *);
void bole_node_lfs_close(struct bole_node *);
/* Is path one of theirs, and the answer. */
bool bole_node_lfs_is(const char *path);
bool bole_node_lfs(struct node_connection *, const struct bole_http_request *, const char *path,
                   struct bole_bytes query);

/* Answers a request for path. Returns true when the connection can serve another one. */
bool bole_node_http_git(struct node_connection *, const struct bole_http_request *,
                        const char *path, struct bole_bytes query);
enum bole_status bole_node_http_page(struct node_connection *, const struct bole_http_request *,
                                     bool close);

#endif /* BOLE_NODE_INTERNAL_H */
