/* SPDX-License-Identifier: ISC */
/* Repositories in a memory store, sessions with in-memory clients, and packs made by hand. */
#ifndef BOLE_TESTS_GIT_FIXTURE_H
#define BOLE_TESTS_GIT_FIXTURE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "bole/store.h"
#include "git/service/service.h"
#include "support/platform.h"

struct git_fixture {
	struct test_platform test;
	struct bole_store *store;
	struct bole_repo repo;  /* "main" */
	struct bole_repo other; /* "other", in the same store */
	struct bole_service_policy policy;
	int level; /* how git_write deflates, 0 to 9; 6 */
};
void git_fixture_open(struct git_fixture *, uint8_t algo);
void git_fixture_close(struct git_fixture *);

/* Every helper ends the program when the store refuses: they build what a test stands on. */
struct bole_oid git_write(struct git_fixture *, const struct bole_repo *, uint8_t type,
                          const void *data, size_t len);
/* A commit with one file "file" that holds message; parents end with NULL. time: committer's. */
struct bole_oid git_commit(struct git_fixture *, const struct bole_repo *, const char *message,
                           int64_t time, const struct bole_oid *const *parents);
struct bole_oid git_tag(struct git_fixture *, const struct bole_repo *, const char *name,
                        const struct bole_oid *target, uint8_t type);
/* oid NULL deletes. */
void git_set_ref(struct git_fixture *, const struct bole_repo *, const char *name,
                 const struct bole_oid *oid, const struct bole_oid *peeled);
/* A chain of n commits on a branch; tips[i] is the i-th. */
void git_history(struct git_fixture *, const struct bole_repo *, const char *branch, size_t n,
                 struct bole_oid *tips);
bool git_has_ref(struct git_fixture *, const struct bole_repo *, const char *name,
                 struct bole_oid *out);
bool git_has_object(struct git_fixture *, const struct bole_repo *, const struct bole_oid *);

/* -- A client's bytes -- */
void pkt_add(struct bole_buffer *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pkt_special(struct bole_buffer *, const char *four);
/* hex of an id: one of eight static buffers in turn. */
const char *hex_of(const struct bole_oid *);
/* The capabilities of a first command line go behind a NUL. */
void pkt_command(struct bole_buffer *, const struct bole_oid *old_oid,
                 const struct bole_oid *new_oid, const char *name, const char *caps);

/* A pack made by hand. base: of an id delta. */
struct pack_part {
	uint8_t type;
	const void *data;
	size_t len;
	struct bole_oid base;
};
void pack_build(struct git_fixture *, struct bole_buffer *, const struct pack_part *, size_t count);

/* -- One session -- */
enum git_service_kind { UPLOAD_PACK, RECEIVE_PACK, UPLOAD_ARCHIVE, ARCHIVE_GET, DUMB_GET };
struct git_session {
	struct git_fixture *fixture;
	const struct bole_repo *repo; /* NULL = main */
	enum git_service_kind kind;
	int version;
	bool stateless;
	bool advertise;
	const char *path;             /* of a GET */
	size_t input_cap;             /* of the server's input buffer; 0 = 4096 */
	size_t memory_max;            /* budget of the request; 0 = no limit */
	size_t cancel_after;          /* calls of cancelled() until it is true; 0 = never */
	struct bole_ref_cache *lists; /* or NULL */
	size_t memory_peak;           /* out */
	enum bole_status rc;          /* out */
	struct bole_buffer reply;     /* out; git_session_end releases it */
};
void git_session_run(struct git_session *, struct bole_bytes request);
void git_session_end(struct git_session *);
/* The reply as text, one packet a line: text as it is, specials as "0000" and "0001", band data as
 * "[1] n bytes" (or its text when it is a report). Appended, with a NUL behind it. */
void git_transcript(const struct git_session *, struct bole_buffer *out);
/* The bytes of band 1, gathered. */
void git_band_data(const struct git_session *, struct bole_buffer *out);

#endif /* BOLE_TESTS_GIT_FIXTURE_H */
