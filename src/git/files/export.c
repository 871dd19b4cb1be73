/* SPDX-License-Identifier: ISC */
/* A snapshot as the files of a bare repository. */
#include "bole/export.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/sort.h"
#include "bole/limits.h"
#include "git/boundary.h"
#include "git/files/commit_graph.h"
#include "git/files/pack_file.h"
#include "git/files/ref_files.h"
#include "git/object/object.h"
#include "git/object/peel.h"
#include "git/promise.h"

enum { WANTS_FIRST = 64, BUFFER_BYTES = 64 * 1024, COMMITS_FIRST = 1024, YIELD_EVERY = 256 };

struct export
{
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_snapshot *snapshot;
	struct bole_folder *folder;
	const struct bole_export_options *options;
	struct bole_export_report *report;
	struct bole_object_reader *reader;
	struct bole_oid *wants;
	size_t want_count;
	size_t want_cap;
	struct bole_boundary boundary;
	struct bole_origin origin; /* there: the repository is partial */
	struct bole_pack_file pack;
	/* For the commit graph. */
	struct bole_graph_commit *commits;
	size_t commit_count;
	size_t commit_cap;
	struct bole_oid *parents;
	size_t parent_count;
	size_t parent_cap;
};

/* Room for one more. */
static enum bole_status grow(struct bole_alloc *alloc, void **items, size_t count, size_t *cap,
                             size_t first, size_t size)
{
	if (count < *cap)
		return BOLE_OK;
	size_t more = *cap == 0 ? first : *cap * 2;
	void *moved = bole_alloc_resize(alloc, *items, *cap, more, size);
	if (moved == NULL)
		return BOLE_E_NO_MEMORY;
	*items = moved;
	*cap = more;
	return BOLE_OK;
}

/* The next reference that is no symbolic one; HEAD is not below refs/. */
static enum bole_status direct_next(struct export *e, struct bole_ref *ref)
{
	enum bole_status rc;

	do
		rc = bole_ref_next(e->snapshot, bole_bytes_z("refs/"), ref->name, ref);
	while (rc == BOLE_OK && ref->symbolic);
	return rc;
}

static enum bole_status add_want(struct export *e, const struct bole_oid *oid)
{
	void *wants = e->wants;

	BOLE_TRY(
	        grow(e->alloc, &wants, e->want_count, &e->want_cap, WANTS_FIRST, sizeof *e->wants));
	e->wants = wants;
	e->wants[e->want_count++] = *oid;
	return BOLE_OK;
}

static enum bole_status collect_wants(struct export *e)
{
	struct bole_ref ref = {.name = {NULL, 0}};
	enum bole_status rc;

	while ((rc = direct_next(e, &ref)) == BOLE_OK)
		BOLE_TRY(add_want(e, &ref.oid));
	if (rc != BOLE_END)
		return rc;
	rc = bole_ref_get(e->snapshot, bole_bytes_z("HEAD"), &ref);
	if (rc == BOLE_OK && !ref.symbolic)
		return add_want(e, &ref.oid);
	return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
}

static enum bole_status write_text(struct bole_folder *folder, const char *path,
                                   const char *const *lines)
{
	struct bole_new_file *file;
	enum bole_status rc = BOLE_OK;

	BOLE_TRY(folder->ops->create(folder, &file));
	for (; *lines != NULL && rc == BOLE_OK; lines++)
		rc = file->writer.write(&file->writer, *lines, strlen(*lines));
	enum bole_status ended = file->end(file, rc == BOLE_OK ? path : NULL);
	return rc == BOLE_OK ? ended : rc;
}

/* What says of a pack that objects which it links to may be missing. */
static enum bole_status write_promisor(struct export *e)
{
	static const char *const nothing[] = {NULL};
	char path[BOLE_OID_HEX_MAX + 40], hex[BOLE_OID_HEX_MAX + 1];
	struct bole_oid sum;

	bole_oid_from_raw(e->pack.tail, e->pack.algo, &sum);
	snprintf(path, sizeof path, "objects/pack/pack-%s.promisor", bole_oid_format(&sum, hex));
	return write_text(e->folder, path, nothing);
}

static enum bole_status write_objects(struct export *e)
{
	struct bole_reach job = {
	        .platform = e->platform,
	        .alloc = e->alloc,
	        .snapshot = e->snapshot,
	        .wants = e->wants,
	        .want_count = e->want_count,
	        .grafts = &e->boundary.ends,
	        .leave_promised = e->origin.there,
	        .progress = e->options->progress,
	        .progress_ctx = e->options->progress_ctx,
	};

	BOLE_TRY(e->folder->ops->make(e->folder, "objects/info"));
	BOLE_TRY(e->folder->ops->make(e->folder, "objects/pack"));
	if (e->want_count == 0)
		return BOLE_OK;
	BOLE_TRY(bole_pack_file_save(&job, e->folder, "objects/pack/pack", &e->pack,
	                             &e->report->objects));
	e->report->pack_bytes = e->pack.bytes;
	return e->origin.there && e->pack.count > 0 ? write_promisor(e) : BOLE_OK;
}

/* -- The commit graph -- */

static enum bole_status add_commit(struct export *e, const struct bole_oid *oid)
{
	uint8_t algo = e->snapshot->repo.algo;
	struct bole_commit commit;
	struct bole_bytes data;
	void *items = e->commits;
	uint8_t type;

	BOLE_TRY(bole_object_read(e->reader, oid, &type, &data));
	if (bole_commit_parse(data, algo, &commit) != BOLE_OK)
		return BOLE_E_CORRUPT;
	BOLE_TRY(grow(e->alloc, &items, e->commit_count, &e->commit_cap, COMMITS_FIRST,
	              sizeof *e->commits));
	e->commits = items;
	e->commits[e->commit_count++] = (struct bole_graph_commit){
	        .oid = *oid,
	        .tree = commit.tree,
	        .commit_time = commit.commit_time,
	        .parent_first = e->parent_count,
	        .parent_count = (uint32_t)commit.parent_count,
	};
	for (size_t i = 0; i < commit.parent_count; i++) {
		items = e->parents;
		BOLE_TRY(grow(e->alloc, &items, e->parent_count, &e->parent_cap, COMMITS_FIRST,
		              sizeof *e->parents));
		e->parents = items;
		bole_commit_parent(&commit, algo, i, &e->parents[e->parent_count++]);
	}
	return BOLE_OK;
}

/* Rows are sorted by id, and so are the commits among them. */
static enum bole_status collect_commits(struct export *e)
{
	struct bole_entry entry;

	for (size_t i = 0; i < e->pack.count; i++) {
		BOLE_TRY(bole_odb_find(e->snapshot, &e->pack.rows[i].oid, &entry));
		if (entry.type == BOLE_OBJECT_COMMIT)
			BOLE_TRY(add_commit(e, &e->pack.rows[i].oid));
		if (i % YIELD_EVERY == 0)
			e->platform->ops->yield(e->platform);
	}
	return BOLE_OK;
}

static enum bole_status write_graph(struct export *e)
{
	struct bole_new_file *file;

	/* Git has no graph of a shallow repository either. */
	if (e->boundary.ends.count > 0)
		return BOLE_OK;
	BOLE_TRY(collect_commits(e));
	if (e->commit_count == 0)
		return BOLE_OK;
	BOLE_TRY(e->folder->ops->create(e->folder, &file));
	enum bole_status rc = bole_commit_graph_write(e->alloc, e->snapshot->repo.algo, e->commits,
	                                              e->commit_count, e->parents, &file->writer);
	enum bole_status ended =
	        file->end(file, rc == BOLE_OK ? "objects/info/commit-graph" : NULL);
	if (rc == BOLE_E_UNSUPPORTED)
		return BOLE_OK; /* Git does without where the format cannot say a date */
	return rc == BOLE_OK ? ended : rc;
}

/* -- References -- */

static enum bole_status write_packed(struct export *e, struct bole_output *out)
{
	struct bole_ref ref = {.name = {NULL, 0}};
	enum bole_status rc;
	uint8_t type;

	bole_packed_refs_write_head(out);
	while ((rc = direct_next(e, &ref)) == BOLE_OK) {
		if (!ref.has_peeled) {
			BOLE_TRY(bole_object_peel(e->reader, e->snapshot->repo.algo, &ref.oid,
			                          &ref.peeled, &type));
			ref.has_peeled = !bole_oid_equal(&ref.oid, &ref.peeled);
		}
		bole_packed_refs_write(out, &ref);
		BOLE_TRY(out->rc);
		e->report->refs++;
	}
	return rc == BOLE_END ? bole_output_flush(out) : rc;
}

static enum bole_status write_refs(struct export *e)
{
	struct bole_new_file *file;
	struct bole_output out;

	BOLE_TRY(e->folder->ops->make(e->folder, "refs/heads"));
	BOLE_TRY(e->folder->ops->make(e->folder, "refs/tags"));
	uint8_t *buffer = bole_alloc_array(e->alloc, BUFFER_BYTES, 1);
	enum bole_status rc =
	        buffer == NULL ? BOLE_E_NO_MEMORY : e->folder->ops->create(e->folder, &file);
	if (rc == BOLE_OK) {
		bole_output_init(&out, &file->writer, buffer, BUFFER_BYTES);
		rc = write_packed(e, &out);
		enum bole_status ended = file->end(file, rc == BOLE_OK ? "packed-refs" : NULL);
		rc = rc == BOLE_OK ? ended : rc;
	}
	bole_alloc_free(e->alloc, buffer, BUFFER_BYTES, 1);
	return rc;
}

/* Names come from a store that checked them, so they are paths below refs/. */
static enum bole_status write_symbolic(struct export *e, const struct bole_ref *ref)
{
	char path[BOLE_REF_NAME_MAX + 1], target[BOLE_REF_NAME_MAX + 1];
	const char *const lines[] = {"ref: ", target, "\n", NULL};

	if (!bole_ref_name_valid(ref->name) || !bole_ref_name_valid(ref->target))
		return BOLE_E_CORRUPT;
	snprintf(path, sizeof path, "%.*s", (int)ref->name.len, (const char *)ref->name.ptr);
	snprintf(target, sizeof target, "%.*s", (int)ref->target.len,
	         (const char *)ref->target.ptr);
	return write_text(e->folder, path, lines);
}

static enum bole_status write_head(struct export *e)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	const char *const detached[] = {hex, "\n", NULL};
	struct bole_ref ref;

	enum bole_status rc = bole_ref_get(e->snapshot, bole_bytes_z("HEAD"), &ref);
	if (rc == BOLE_OK && !ref.symbolic) {
		bole_oid_format(&ref.oid, hex);
		return write_text(e->folder, "HEAD", detached);
	}
	if (rc == BOLE_E_NOT_FOUND) {
		ref = (struct bole_ref){.name = bole_bytes_z("HEAD"),
		                        .target = bole_bytes_z("refs/heads/main"),
		                        .symbolic = true};
		rc = BOLE_OK;
	}
	return rc == BOLE_OK ? write_symbolic(e, &ref) : rc;
}

static enum bole_status write_symbolics(struct export *e)
{
	struct bole_ref ref = {.name = {NULL, 0}};
	enum bole_status rc;

	while ((rc = bole_ref_next(e->snapshot, bole_bytes_z("refs/"), ref.name, &ref)) == BOLE_OK)
		if (ref.symbolic)
			BOLE_TRY(write_symbolic(e, &ref));
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* A value of Git's configuration, quoted (git-config(1), "Syntax"). */
static void quote(char *dst, const char *src)
{
	*dst++ = '"';
	for (; *src != '\0'; src++) {
		if (*src == '"' || *src == '\\')
			*dst++ = '\\';
		*dst++ = *src;
	}
	*dst++ = '"';
	*dst = '\0';
}

static enum bole_status write_config(struct export *e)
{
	bool sha1 = e->snapshot->repo.algo == BOLE_HASH_SHA1;
	bool partial = e->origin.there;
	char url[2 * BOLE_ORIGIN_URL_MAX + 3], filter[2 * BOLE_ORIGIN_FILTER_MAX + 3];
	const char *const lines[] = {
	        "[core]\n\trepositoryformatversion = ",
	        sha1 && !partial ? "0" : "1",
	        "\n\tfilemode = true\n\tbare = true\n",
	        sha1 ? "" : "[extensions]\n\tobjectformat = sha256\n",
	        partial ? "[extensions]\n\tpartialClone = origin\n[remote \"origin\"]\n"
	                  "\tpromisor = true\n\turl = "
	                : NULL,
	        url,
	        e->origin.filter[0] != '\0' ? "\n\tpartialclonefilter = " : "",
	        e->origin.filter[0] != '\0' ? filter : "",
	        "\n",
	        NULL,
	};

	quote(url, e->origin.url);
	quote(filter, e->origin.filter);
	return write_text(e->folder, "config", lines);
}

static enum bole_status write_shallow(struct export *e)
{
	char line[BOLE_OID_HEX_MAX + 2];
	struct bole_new_file *file;
	enum bole_status rc = BOLE_OK;

	if (e->boundary.ends.count == 0)
		return BOLE_OK;
	BOLE_TRY(e->folder->ops->create(e->folder, &file));
	for (size_t i = 0; i < e->boundary.ends.count && rc == BOLE_OK; i++) {
		size_t len = strlen(bole_oid_format(&e->boundary.ends.ids[i], line));

		line[len] = '\n';
		rc = file->writer.write(&file->writer, line, len + 1);
	}
	enum bole_status ended = file->end(file, rc == BOLE_OK ? "shallow" : NULL);
	return rc == BOLE_OK ? ended : rc;
}

static enum bole_status export_all(struct export *e)
{
	BOLE_TRY(bole_boundary_load(&e->boundary, e->snapshot));
	BOLE_TRY(bole_origin_load(e->snapshot, e->alloc, &e->origin));
	BOLE_TRY(bole_object_reader_open(e->snapshot, e->alloc, NULL, &e->reader));
	BOLE_TRY(collect_wants(e));
	BOLE_TRY(write_objects(e));
	BOLE_TRY(write_graph(e));
	BOLE_TRY(write_shallow(e));
	BOLE_TRY(write_refs(e));
	BOLE_TRY(write_symbolics(e));
	BOLE_TRY(write_config(e));
	return write_head(e);
}

enum bole_status bole_export(struct bole_platform *platform, struct bole_alloc *alloc,
                             struct bole_snapshot *snapshot, struct bole_folder *folder,
                             const struct bole_export_options *options,
                             struct bole_export_report *report)
{
	struct export e = {
	        .platform = platform,
	        .alloc = alloc,
	        .snapshot = snapshot,
	        .folder = folder,
	        .options = options,
	        .report = report,
	};

	*report = (struct bole_export_report){.objects = 0};
	e.pack.alloc = alloc;
	bole_boundary_init(&e.boundary, platform, alloc, snapshot->repo.algo);
	enum bole_status rc = export_all(&e);
	bole_boundary_release(&e.boundary);
	bole_object_reader_close(e.reader);
	bole_pack_file_release(&e.pack);
	bole_alloc_free(alloc, e.wants, e.want_cap, sizeof *e.wants);
	bole_alloc_free(alloc, e.commits, e.commit_cap, sizeof *e.commits);
	bole_alloc_free(alloc, e.parents, e.parent_cap, sizeof *e.parents);
	return rc;
}
