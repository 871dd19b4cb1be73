/* SPDX-License-Identifier: ISC */
/* Bundles out of a snapshot. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/io.h"
#include "base/memory.h"
#include "bole/export.h"
#include "git/boundary.h"
#include "git/fetch/pack_emit.h"
#include "git/files/bundle.h"
#include "git/object/object.h"

enum { BUFFER_BYTES = 16 * 1024, SYMREFS_MAX = 5, REFS_FIRST = 64 };

struct creation {
	struct bole_alloc *alloc;
	struct bole_snapshot *snapshot;
	const struct bole_bundle_options *options;
	struct bole_export_report *report;
	struct bole_output out;
	struct bole_bundle_ref *refs;
	size_t count;
	size_t cap;
};

/* Follows symbolic references. BOLE_E_NOT_FOUND also for what is unborn. */
static enum bole_status resolve(struct creation *c, struct bole_bytes name, struct bole_oid *out)
{
	struct bole_ref ref = {.target = name, .symbolic = true};

	for (unsigned i = 0; ref.symbolic && i < SYMREFS_MAX; i++)
		BOLE_TRY(bole_ref_get(c->snapshot, ref.target, &ref));
	*out = ref.oid;
	return ref.symbolic ? BOLE_E_NOT_FOUND : BOLE_OK;
}

static enum bole_status add(struct creation *c, struct bole_bytes name, const struct bole_oid *oid)
{
	if (c->count == c->cap) {
		size_t cap = c->cap == 0 ? REFS_FIRST : c->cap * 2;
		struct bole_bundle_ref *refs =
		        bole_alloc_resize(c->alloc, c->refs, c->cap, cap, sizeof *refs);

		if (refs == NULL)
			return BOLE_E_NO_MEMORY;
		c->refs = refs;
		c->cap = cap;
	}
	c->refs[c->count++] = (struct bole_bundle_ref){.oid = *oid, .name = name};
	return BOLE_OK;
}

/* Every reference that resolves, HEAD too. */
static enum bole_status collect_all(struct creation *c)
{
	struct bole_bytes after = {NULL, 0};
	enum bole_status rc;
	struct bole_ref ref;
	struct bole_oid oid;

	while ((rc = bole_ref_next(c->snapshot, bole_bytes_z(""), after, &ref)) == BOLE_OK) {
		after = ref.name;
		rc = resolve(c, ref.name, &oid);
		if (rc == BOLE_E_NOT_FOUND)
			continue;
		BOLE_TRY(rc);
		BOLE_TRY(add(c, ref.name, &oid));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status collect(struct creation *c)
{
	const struct bole_bundle_options *options = c->options;
	struct bole_entry entry;
	struct bole_oid oid;

	if (options->ref_count == 0)
		BOLE_TRY(collect_all(c));
	for (size_t i = 0; i < options->ref_count; i++) {
		BOLE_TRY(resolve(c, options->refs[i], &oid));
		BOLE_TRY(add(c, options->refs[i], &oid));
	}
	for (size_t i = 0; i < options->have_count; i++) {
		BOLE_TRY(bole_odb_find(c->snapshot, &options->have[i], &entry));
		if (entry.type != BOLE_OBJECT_COMMIT)
			return BOLE_E_INVALID;
	}
	return c->count == 0 ? BOLE_E_INVALID : BOLE_OK;
}

static enum bole_status write_head(struct creation *c)
{
	const struct bole_bundle_options *options = c->options;
	struct bole_object_reader *reader;
	enum bole_status rc = BOLE_OK;
	struct bole_commit commit;
	struct bole_bytes data;

	BOLE_TRY(bole_object_reader_open(c->snapshot, c->alloc, NULL, &reader));
	bole_bundle_write_begin(&c->out, c->snapshot->repo.algo);
	for (size_t i = 0; i < options->have_count && rc == BOLE_OK; i++) {
		rc = bole_object_read(reader, &options->have[i], NULL, &data);
		if (rc == BOLE_OK &&
		    bole_commit_parse(data, c->snapshot->repo.algo, &commit) != BOLE_OK)
			rc = BOLE_E_CORRUPT;
		if (rc == BOLE_OK)
			bole_bundle_write_prerequisite(&c->out, &options->have[i], commit.message);
	}
	bole_object_reader_close(reader);
	for (size_t i = 0; i < c->count; i++)
		bole_bundle_write_ref(&c->out, &c->refs[i].oid, c->refs[i].name);
	bole_bundle_write_end(&c->out);
	c->report->refs = c->count;
	return rc == BOLE_OK ? bole_output_flush(&c->out) : rc;
}

static enum bole_status create(struct creation *c, struct bole_platform *platform,
                               const struct bole_oid *wants, struct bole_writer *writer)
{
	const struct bole_bundle_options *options = c->options;
	struct bole_pack_plan *plan;
	bool shallow;

	/* A bundle has no way to say where history ends. */
	BOLE_TRY(bole_boundary_any(c->snapshot, &shallow));
	if (shallow)
		return BOLE_E_UNSUPPORTED;
	struct bole_reach job = {
	        .platform = platform,
	        .alloc = c->alloc,
	        .snapshot = c->snapshot,
	        .wants = wants,
	        .want_count = c->count,
	        .haves = options->have,
	        .have_count = options->have_count,
	        .thin = options->have_count > 0,
	        .ofs_delta = true,
	        .progress = options->progress,
	        .progress_ctx = options->progress_ctx,
	};
	BOLE_TRY(bole_pack_plan_open(&job, &plan));
	c->report->objects = bole_pack_plan_objects(plan);
	enum bole_status rc = write_head(c);
	if (rc == BOLE_OK)
		rc = bole_pack_emit(plan, writer);
	bole_pack_plan_close(plan);
	return rc;
}

enum bole_status bole_bundle_create(struct bole_platform *platform, struct bole_alloc *alloc,
                                    struct bole_snapshot *snapshot,
                                    const struct bole_bundle_options *options,
                                    struct bole_writer *writer, struct bole_export_report *report)
{
	struct creation c = {
	        .alloc = alloc, .snapshot = snapshot, .options = options, .report = report};

	*report = (struct bole_export_report){.objects = 0};
	uint8_t *buffer = bole_alloc_array(alloc, BUFFER_BYTES, 1);
	if (buffer == NULL)
		return BOLE_E_NO_MEMORY;
	bole_output_init(&c.out, writer, buffer, BUFFER_BYTES);
	enum bole_status rc = collect(&c);
	struct bole_oid *wants = NULL;
	if (rc == BOLE_OK) {
		wants = bole_alloc_array(alloc, c.count, sizeof *wants);
		rc = wants == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	}
	for (size_t i = 0; rc == BOLE_OK && i < c.count; i++)
		wants[i] = c.refs[i].oid;
	if (rc == BOLE_OK)
		rc = create(&c, platform, wants, writer);
	bole_alloc_free(alloc, wants, c.count, sizeof *wants);
	bole_alloc_free(alloc, c.refs, c.cap, sizeof *c.refs);
	bole_alloc_free(alloc, buffer, BUFFER_BYTES, 1);
	return rc;
}
