/* SPDX-License-Identifier: ISC */
/* Import of a Git folder: it is opened as a store; one pack of everything that its references reach
 * goes, entry by entry as it is stored there, from a thread of its own through a socket pair into
 * the same ingestion that a push goes through. Nothing holds the whole pack. */
#include "bole/import.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/host/gitdir_host.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/io.h"
#include "base/memory.h"
#include "bole/limits.h"
#include "git/fetch/pack_emit.h"
#include "git/object/peel.h"
#include "git/pack/ingest.h"

enum { INPUT_BYTES = 256 * 1024, UPDATES_AT_ONCE = 4096, WANTS_FIRST = 64 };

struct import {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_store *store;
	const struct bole_import_options *options;
	struct bole_import_report *report;
	struct bole_host_gitdir git;
	struct bole_snapshot *from;
	struct bole_object_reader *reader;
	struct bole_pack_plan *plan;
	struct bole_oid *wants;
	size_t want_count;
	size_t want_cap;
	struct bole_repo repo;
	bool created;
	bool counting;
	/* The thread that packs. */
	struct bole_writer writer;
	int sockets[2]; /* read, write; -1 = closed */
	enum bole_status pack_rc;
};

static enum bole_status failed(struct import *import, enum bole_status rc, const char *what)
{
	snprintf(import->report->error, sizeof import->report->error, "%s: %s", what,
	         bole_status_text(rc));
	return rc;
}

static void progress(struct import *import, const char *phase, uint64_t done, uint64_t total)
{
	if (import->options->progress != NULL)
		import->options->progress(import->options->progress_ctx, phase, done, total);
}

/* -- What to pack -- */

static bool ref_wanted(const struct import *import, const struct bole_ref *ref)
{
	return import->options->all_refs ||
	       (!ref->symbolic && (bole_bytes_start(ref->name, bole_bytes_z("refs/heads/")) ||
	                           bole_bytes_start(ref->name, bole_bytes_z("refs/tags/"))));
}

/* The next reference that is imported. */
static enum bole_status ref_next(const struct import *import, struct bole_ref *ref)
{
	enum bole_status rc;

	do
		rc = bole_ref_next(import->from, bole_bytes_z("refs/"), ref->name, ref);
	while (rc == BOLE_OK && !ref_wanted(import, ref));
	return rc;
}

static enum bole_status add_want(struct import *import, const struct bole_oid *oid)
{
	if (import->want_count == import->want_cap) {
		size_t cap = import->want_cap == 0 ? WANTS_FIRST : import->want_cap * 2;
		struct bole_oid *wants = bole_alloc_resize(import->alloc, import->wants,
		                                           import->want_cap, cap, sizeof *wants);

		if (wants == NULL)
			return BOLE_E_NO_MEMORY;
		import->wants = wants;
		import->want_cap = cap;
	}
	import->wants[import->want_count++] = *oid;
	return BOLE_OK;
}

static void count_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	struct import *import = ctx;

	if (import->counting) /* later the ingestion tells */
		progress(import, phase, done, total);
}

static enum bole_status collect(struct import *import)
{
	struct bole_ref ref = {.name = {NULL, 0}};
	enum bole_status rc;

	while ((rc = ref_next(import, &ref)) == BOLE_OK)
		if (!ref.symbolic)
			BOLE_TRY(add_want(import, &ref.oid));
	if (rc != BOLE_END || import->want_count == 0)
		return rc == BOLE_END ? BOLE_OK : rc;
	struct bole_reach reach = {
	        .platform = import->platform,
	        .alloc = import->alloc,
	        .snapshot = import->from,
	        .wants = import->wants,
	        .want_count = import->want_count,
	        .ofs_delta = true,
	        .progress = count_progress,
	        .progress_ctx = import,
	};
	import->counting = true;
	rc = bole_pack_plan_open(&reach, &import->plan);
	import->counting = false;
	if (rc == BOLE_OK)
		return rc;
	/* What is wrong with the folder is not wrong with the store. */
	return failed(import, rc == BOLE_E_CORRUPT || rc == BOLE_E_NOT_FOUND ? BOLE_E_INVALID : rc,
	              "cannot read the history");
}

/* -- The pack, from thread to thread -- */

static enum bole_status socket_write(struct bole_writer *self, const void *src, size_t len)
{
	const struct import *import =
	        (struct import *)(void *)((uint8_t *)self - offsetof(struct import, writer));
	const uint8_t *at = src;

	while (len > 0) {
		ssize_t n = send(import->sockets[1], at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return BOLE_E_CLOSED;
		at += n;
		len -= (size_t)n;
	}
	return BOLE_OK;
}

static enum bole_status socket_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

static void *pack_thread(void *arg)
{
	struct import *import = arg;

	import->pack_rc = bole_pack_emit(import->plan, &import->writer);
	shutdown(import->sockets[1], SHUT_WR);
	return NULL;
}

struct socket_reader {
	struct bole_reader reader;
	int fd;
};

static enum bole_status socket_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	ssize_t n;

	*got = 0;
	do
		n = recv(((struct socket_reader *)self)->fd, dst, cap, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return BOLE_E_IO;
	*got = (size_t)n;
	return n == 0 ? BOLE_END : BOLE_OK;
}

static void ingest_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	progress(ctx, phase, done, total);
}

static enum bole_status ingest(struct import *import, struct bole_tx *tx, uint8_t *buf)
{
	struct socket_reader reader = {{socket_read}, import->sockets[0]};
	struct bole_ingest_report report;
	struct bole_input in;
	struct bole_ingest work = {
	        .platform = import->platform,
	        .alloc = import->alloc,
	        .tx = tx,
	        /* What lies on this host's disk is not a bomb. */
	        .limits = {.pack_bytes_max = UINT64_MAX,
	                   .inflated_bytes_max = UINT64_MAX,
	                   .memory_bytes_max = import->options->memory_bytes_max},
	        .progress = ingest_progress,
	        .progress_ctx = import,
	};

	bole_input_init(&in, &reader.reader, buf, INPUT_BYTES);
	enum bole_status rc = bole_pack_ingest(&work, &in, &report);
	import->report->objects = report.objects;
	import->report->pack_bytes = report.pack_bytes;
	if (rc != BOLE_OK)
		snprintf(import->report->error, sizeof import->report->error, "%s", report.error);
	return rc;
}

static enum bole_status pack_copy(struct import *import, struct bole_tx *tx)
{
	pthread_t thread;
	enum bole_status rc = BOLE_E_NO_MEMORY;

	uint8_t *buf = bole_alloc_array(import->alloc, INPUT_BYTES, 1);
	if (buf == NULL)
		return failed(import, rc, "cannot copy the objects");
	import->writer = (struct bole_writer){.write = socket_write, .flush = socket_flush};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, import->sockets) != 0 ||
	    pthread_create(&thread, NULL, pack_thread, import) != 0) {
		rc = failed(import, BOLE_E_IO, "cannot start a thread");
	} else {
		rc = ingest(import, tx, buf);
		/* Ends the other thread, if it is not through already. */
		shutdown(import->sockets[0], SHUT_RDWR);
		pthread_join(thread, NULL);
		if (rc != BOLE_OK && import->pack_rc != BOLE_OK && import->pack_rc != BOLE_E_CLOSED)
			rc = failed(import,
			            import->pack_rc == BOLE_E_CORRUPT ? BOLE_E_INVALID
			                                              : import->pack_rc,
			            "cannot read the objects");
	}
	for (unsigned i = 0; i < 2; i++)
		if (import->sockets[i] >= 0)
			close(import->sockets[i]);
	bole_alloc_free(import->alloc, buf, INPUT_BYTES, 1);
	return rc;
}

/* -- References -- */

static enum bole_status update_make(struct import *import, const struct bole_ref *ref,
                                    struct bole_ref_update *update)
{
	uint8_t type;

	/* The name stays where it is until the snapshot is closed. */
	*update = (struct bole_ref_update){
	        .name = ref->name,
	        .expect = BOLE_EXPECT_ABSENT,
	        .action = ref->symbolic ? BOLE_REF_SYMBOLIC : BOLE_REF_SET,
	        .oid = ref->oid,
	        .target = ref->target,
	};
	if (ref->symbolic)
		return BOLE_OK;
	BOLE_TRY(bole_object_peel(import->reader, import->repo.algo, &ref->oid, &update->peeled,
	                          &type));
	update->has_peeled = !bole_oid_equal(&update->peeled, &update->oid);
	return BOLE_OK;
}

/* Commits what was gathered; tx is ended. */
static enum bole_status updates_commit(struct import *import, struct bole_tx *tx,
                                       const struct bole_ref_update *updates, size_t count)
{
	size_t failed_at;
	enum bole_status rc = bole_tx_commit(tx, updates, count, &failed_at);

	if (rc == BOLE_E_CONFLICT)
		bole_tx_abort(tx);
	if (rc == BOLE_OK)
		import->report->refs += count;
	return rc;
}

/* All references, in commits of a bounded size; the first of them publishes the objects. */
static enum bole_status refs_copy(struct import *import, struct bole_tx *tx,
                                  struct bole_ref_update *updates)
{
	struct bole_ref ref = {.name = {NULL, 0}};
	enum bole_status rc = BOLE_OK;
	size_t count = 0;

	while (rc == BOLE_OK && (rc = ref_next(import, &ref)) == BOLE_OK) {
		rc = update_make(import, &ref, &updates[count++]);
		if (rc == BOLE_OK && count == UPDATES_AT_ONCE) {
			rc = updates_commit(import, tx, updates, count);
			tx = NULL;
			count = 0;
			if (rc == BOLE_OK)
				rc = bole_tx_begin(import->store, import->repo.id, &tx);
		}
	}
	if (rc == BOLE_END)
		return updates_commit(import, tx, updates, count);
	bole_tx_abort(tx);
	return rc;
}

static enum bole_status publish(struct import *import, struct bole_tx *tx)
{
	enum bole_status rc =
	        bole_object_reader_open(import->from, import->alloc, NULL, &import->reader);
	struct bole_ref_update *updates =
	        bole_alloc_array(import->alloc, UPDATES_AT_ONCE, sizeof *updates);

	if (updates == NULL)
		rc = BOLE_E_NO_MEMORY;
	if (rc == BOLE_OK)
		rc = refs_copy(import, tx, updates);
	else
		bole_tx_abort(tx);
	bole_alloc_free(import->alloc, updates, UPDATES_AT_ONCE, sizeof *updates);
	bole_object_reader_close(import->reader);
	return rc == BOLE_OK ? rc : failed(import, rc, "cannot write the references");
}

/* The branch that HEAD shall name; head has room for a name of any length. */
static void head_find(struct import *import, char *head, size_t cap)
{
	struct bole_ref branch = {.name = {NULL, 0}};
	struct bole_bytes branches = bole_bytes_z("refs/heads/");
	struct bole_ref ref;

	snprintf(head, cap, "refs/heads/main");
	if (bole_ref_get(import->from, bole_bytes_z("HEAD"), &ref) != BOLE_OK)
		return;
	if (ref.symbolic) {
		if (bole_bytes_start(ref.target, branches))
			snprintf(head, cap, "%.*s", (int)ref.target.len,
			         (const char *)ref.target.ptr);
		return;
	}
	/* Detached: a branch at the same commit. */
	while (bole_ref_next(import->from, branches, branch.name, &branch) == BOLE_OK)
		if (!branch.symbolic && bole_oid_equal(&branch.oid, &ref.oid)) {
			snprintf(head, cap, "%.*s", (int)branch.name.len,
			         (const char *)branch.name.ptr);
			return;
		}
}

static enum bole_status import_all(struct import *import)
{
	char head[BOLE_REF_NAME_MAX + 1];
	struct bole_tx *tx;

	enum bole_status rc = bole_snapshot_open(import->git.store, 1, &import->from);
	if (rc != BOLE_OK)
		return failed(import, rc, "cannot open it");
	head_find(import, head, sizeof head);
	rc = bole_repo_create(import->store, import->options->repo, import->from->repo.algo, head,
	                      &import->repo);
	if (rc == BOLE_E_EXISTS) {
		snprintf(import->report->error, sizeof import->report->error,
		         "a repository of that name exists already");
		return rc;
	}
	if (rc != BOLE_OK)
		return failed(import, rc, "cannot create the repository");
	import->created = true;
	if (import->git.shallow)
		return failed(import, BOLE_E_INVALID, "it is a shallow clone");
	BOLE_TRY(collect(import));
	rc = bole_tx_begin(import->store, import->repo.id, &tx);
	if (rc != BOLE_OK)
		return failed(import, rc, "cannot begin");
	if (import->plan != NULL)
		rc = pack_copy(import, tx);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	return publish(import, tx);
}

enum bole_status bole_import_git(struct bole_platform *platform, struct bole_alloc *alloc,
                                 struct bole_store *store, const char *git_dir,
                                 const struct bole_import_options *options,
                                 struct bole_import_report *out)
{
	struct import import = {
	        .platform = platform,
	        .alloc = alloc,
	        .store = store,
	        .options = options,
	        .report = out,
	        .sockets = {-1, -1},
	};

	memset(out, 0, sizeof *out);
	enum bole_status rc = bole_host_gitdir_open(platform, alloc, git_dir, &import.git);
	if (rc == BOLE_E_NOT_FOUND)
		snprintf(out->error, sizeof out->error, "not a Git repository");
	else if (rc != BOLE_OK)
		rc = failed(&import, rc, "cannot open it");
	else
		rc = import_all(&import);
	if (rc != BOLE_OK && import.created && bole_repo_remove(store, import.repo.id) != BOLE_OK)
		bole_log(platform, BOLE_LOG_WARN, "import: %s stays behind, incomplete",
		         options->repo);
	bole_pack_plan_close(import.plan);
	bole_alloc_free(alloc, import.wants, import.want_cap, sizeof *import.wants);
	bole_snapshot_close(import.from);
	bole_host_gitdir_close(&import.git);
	return rc;
}
