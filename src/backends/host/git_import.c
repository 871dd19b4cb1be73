/* SPDX-License-Identifier: ISC */
/* Import of a Git folder: libgit2 builds one pack of everything reachable and pushes it, piece by
 * piece, from a thread of its own through a socket pair into the same ingestion that a push goes
 * through. Nothing holds the whole pack. */
#include "bole/import.h"

#include <errno.h>
#include <git2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/io.h"
#include "base/memory.h"
#include "bole/limits.h"
#include "git/object.h"
#include "git/pack_ingest.h"

enum { INPUT_BYTES = 256 * 1024, UPDATES_AT_ONCE = 4096, PEEL_MAX = 32 };

struct import {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_store *store;
	const struct bole_import_options *options;
	struct bole_import_report *report;
	git_repository *git;
	git_packbuilder *builder;
	struct bole_repo repo;
	bool created;
	/* The thread that packs. */
	int sockets[2]; /* read, write; -1 = closed */
	char pack_error[200];
};

static enum bole_status failed(struct import *import, enum bole_status rc, const char *what)
{
	const git_error *error = git_error_last();

	snprintf(import->report->error, sizeof import->report->error, "%s%s%s", what,
	         error == NULL ? "" : ": ", error == NULL ? "" : error->message);
	return rc;
}

static void progress(struct import *import, const char *phase, uint64_t done, uint64_t total)
{
	if (import->options->progress != NULL)
		import->options->progress(import->options->progress_ctx, phase, done, total);
}

static void oid_of(const git_oid *from, struct bole_oid *to)
{
	bole_oid_from_raw(from->id, BOLE_HASH_SHA1, to);
}

/* -- What to pack -- */

/* Adds one reference: history through the walk, other things whole. *peeled is what an annotated
 * tag finally names. */
static int ref_add(struct import *import, git_revwalk *walk, const git_oid *oid)
{
	git_oid at = *oid;

	for (unsigned i = 0; i < PEEL_MAX; i++) {
		git_object *object = NULL;
		int rc = git_object_lookup(&object, import->git, &at, GIT_OBJECT_ANY);

		if (rc != 0)
			return rc;
		git_object_t type = git_object_type(object);
		if (type == GIT_OBJECT_TAG) {
			rc = git_packbuilder_insert(import->builder, &at, NULL);
			at = *git_tag_target_id((const git_tag *)object);
		}
		git_object_free(object);
		if (rc != 0)
			return rc;
		if (type == GIT_OBJECT_COMMIT)
			return git_revwalk_push(walk, &at);
		if (type != GIT_OBJECT_TAG)
			return git_packbuilder_insert_recur(import->builder, &at, NULL);
	}
	return -1;
}

static bool ref_wanted(const char *name)
{
	return (strncmp(name, "refs/heads/", 11) == 0 || strncmp(name, "refs/tags/", 10) == 0) &&
	       bole_ref_name_valid(bole_bytes_z(name));
}

static int refs_add(struct import *import, git_revwalk *walk)
{
	git_reference_iterator *refs = NULL;
	git_reference *ref = NULL;
	int rc = git_reference_iterator_new(&refs, import->git);

	while (rc == 0 && (rc = git_reference_next(&ref, refs)) == 0) {
		if (ref_wanted(git_reference_name(ref)) &&
		    git_reference_type(ref) == GIT_REFERENCE_DIRECT)
			rc = ref_add(import, walk, git_reference_target(ref));
		git_reference_free(ref);
	}
	git_reference_iterator_free(refs);
	return rc == GIT_ITEROVER ? 0 : rc;
}

static int builder_progress(int stage, uint32_t done, uint32_t total, void *ctx)
{
	progress(ctx, stage == GIT_PACKBUILDER_ADDING_OBJECTS ? "counting" : "compressing", done,
	         total);
	return 0;
}

static enum bole_status collect(struct import *import)
{
	git_revwalk *walk = NULL;
	int rc = git_packbuilder_new(&import->builder, import->git);

	if (rc == 0) {
		git_packbuilder_set_threads(import->builder, 0);
		rc = git_packbuilder_set_callbacks(import->builder, builder_progress, import);
	}
	if (rc == 0)
		rc = git_revwalk_new(&walk, import->git);
	if (rc == 0)
		rc = refs_add(import, walk);
	if (rc == 0)
		rc = git_packbuilder_insert_walk(import->builder, walk);
	git_revwalk_free(walk);
	if (rc != 0)
		return failed(import, BOLE_E_INVALID, "cannot read the history");
	return BOLE_OK;
}

/* -- The pack, from thread to thread -- */

static int pack_write(void *data, size_t len, void *ctx)
{
	struct import *import = ctx;
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t n = send(import->sockets[1], at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static void *pack_thread(void *arg)
{
	struct import *import = arg;

	if (git_packbuilder_foreach(import->builder, pack_write, import) != 0) {
		const git_error *error = git_error_last();

		snprintf(import->pack_error, sizeof import->pack_error, "%s",
		         error == NULL ? "cannot pack" : error->message);
	}
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
		return failed(import, rc, "no memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, import->sockets) != 0 ||
	    pthread_create(&thread, NULL, pack_thread, import) != 0) {
		rc = failed(import, BOLE_E_IO, "cannot start a thread");
	} else {
		rc = ingest(import, tx, buf);
		/* Ends the other thread, if it is not through already. */
		shutdown(import->sockets[0], SHUT_RDWR);
		pthread_join(thread, NULL);
		if (rc != BOLE_OK && import->pack_error[0] != '\0' &&
		    strncmp(import->pack_error, "cannot pack", 11) != 0)
			snprintf(import->report->error, sizeof import->report->error, "%s",
			         import->pack_error);
	}
	for (unsigned i = 0; i < 2; i++)
		if (import->sockets[i] >= 0)
			close(import->sockets[i]);
	bole_alloc_free(import->alloc, buf, INPUT_BYTES, 1);
	return rc;
}

/* -- References -- */

/* One SET for a reference; the name is copied into the arena. */
static enum bole_status update_make(struct bole_arena *names, git_reference *ref,
                                    struct bole_ref_update *update)
{
	const char *name = git_reference_name(ref);
	size_t len = strlen(name);
	git_object *peeled = NULL;

	char *copy = bole_arena_alloc(names, len, 1);
	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(copy, name, len);
	*update = (struct bole_ref_update){
	        .name = bole_bytes_of(copy, len),
	        .expect = BOLE_EXPECT_ABSENT,
	        .action = BOLE_REF_SET,
	};
	oid_of(git_reference_target(ref), &update->oid);
	if (git_reference_peel(&peeled, ref, GIT_OBJECT_ANY) == 0) {
		oid_of(git_object_id(peeled), &update->peeled);
		update->has_peeled = !bole_oid_equal(&update->peeled, &update->oid);
	}
	git_object_free(peeled);
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
                                  git_reference_iterator *refs, struct bole_arena *names,
                                  struct bole_ref_update *updates)
{
	git_reference *ref = NULL;
	enum bole_status rc = BOLE_OK;
	size_t count = 0;
	int next = 0;

	while (rc == BOLE_OK && (next = git_reference_next(&ref, refs)) == 0) {
		if (ref_wanted(git_reference_name(ref)) &&
		    git_reference_type(ref) == GIT_REFERENCE_DIRECT)
			rc = update_make(names, ref, &updates[count++]);
		git_reference_free(ref);
		if (rc == BOLE_OK && count == UPDATES_AT_ONCE) {
			rc = updates_commit(import, tx, updates, count);
			tx = NULL;
			count = 0;
			bole_arena_release(names);
			if (rc == BOLE_OK)
				rc = bole_tx_begin(import->store, import->repo.id, &tx);
		}
	}
	if (rc == BOLE_OK && next != GIT_ITEROVER)
		rc = BOLE_E_INVALID;
	if (rc == BOLE_OK)
		return updates_commit(import, tx, updates, count);
	bole_tx_abort(tx);
	return rc;
}

static enum bole_status publish(struct import *import, struct bole_tx *tx)
{
	git_reference_iterator *refs = NULL;
	struct bole_arena names;
	enum bole_status rc;

	bole_arena_init(&names, import->alloc, INPUT_BYTES);
	struct bole_ref_update *updates =
	        bole_alloc_array(import->alloc, UPDATES_AT_ONCE, sizeof *updates);
	if (updates == NULL || git_reference_iterator_new(&refs, import->git) != 0) {
		bole_tx_abort(tx);
		rc = updates == NULL ? BOLE_E_NO_MEMORY : BOLE_E_INVALID;
	} else {
		rc = refs_copy(import, tx, refs, &names, updates);
	}
	git_reference_iterator_free(refs);
	bole_alloc_free(import->alloc, updates, UPDATES_AT_ONCE, sizeof *updates);
	bole_arena_release(&names);
	return rc == BOLE_OK ? rc : failed(import, rc, "cannot write the references");
}

/* The branch that HEAD shall name; head has room for a name of any length. */
static void head_find(git_repository *git, char *head, size_t cap)
{
	git_reference *ref = NULL;
	git_reference *branch = NULL;
	git_reference_iterator *refs = NULL;

	snprintf(head, cap, "refs/heads/main");
	if (git_reference_lookup(&ref, git, "HEAD") != 0)
		return;
	if (git_reference_type(ref) == GIT_REFERENCE_SYMBOLIC) {
		if (ref_wanted(git_reference_symbolic_target(ref)))
			snprintf(head, cap, "%s", git_reference_symbolic_target(ref));
	} else if (git_reference_iterator_glob_new(&refs, git, "refs/heads/*") == 0) {
		/* Detached: a branch at the same commit. */
		bool found = false;
		while (!found && git_reference_next(&branch, refs) == 0) {
			const git_oid *target = git_reference_target(branch);

			found = target != NULL && git_oid_equal(target, git_reference_target(ref));
			if (found)
				snprintf(head, cap, "%s", git_reference_name(branch));
			git_reference_free(branch);
		}
		git_reference_iterator_free(refs);
	}
	git_reference_free(ref);
}

static enum bole_status import_all(struct import *import)
{
	char head[BOLE_REF_NAME_MAX + 1];
	struct bole_tx *tx;

	head_find(import->git, head, sizeof head);
	enum bole_status rc = bole_repo_create(import->store, import->options->repo, BOLE_HASH_SHA1,
	                                       head, &import->repo);
	if (rc != BOLE_OK) {
		git_error_clear();
		return failed(import, rc,
		              rc == BOLE_E_EXISTS ? "a repository of that name exists already"
		                                  : "cannot create the repository");
	}
	import->created = true;
	BOLE_TRY(collect(import));
	git_error_clear();
	rc = bole_tx_begin(import->store, import->repo.id, &tx);
	if (rc != BOLE_OK)
		return failed(import, rc, "cannot begin");
	if (git_packbuilder_object_count(import->builder) > 0)
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
	enum bole_status rc;

	memset(out, 0, sizeof *out);
	if (git_libgit2_init() < 0)
		return failed(&import, BOLE_E_NO_MEMORY, "cannot start libgit2");
	/* The folder may belong to another user: we only read it. */
	git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	int opened =
	        git_repository_open_ext(&import.git, git_dir, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
	if (opened == GIT_ENOTFOUND)
		rc = failed(&import, BOLE_E_NOT_FOUND, "not a Git repository");
	else if (opened != 0)
		/* A format that libgit2 does not know, such as SHA-256. */
		rc = failed(&import, BOLE_E_UNSUPPORTED, "cannot open it");
	else
		rc = import_all(&import);
	if (rc != BOLE_OK && import.created && bole_repo_remove(store, import.repo.id) != BOLE_OK)
		bole_log(platform, BOLE_LOG_WARN, "import: %s stays behind, incomplete",
		         options->repo);
	git_packbuilder_free(import.builder);
	git_repository_free(import.git);
	git_libgit2_shutdown();
	return rc;
}
