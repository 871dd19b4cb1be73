/* SPDX-License-Identifier: ISC */
/* Bundles into a store. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/io.h"
#include "base/memory.h"
#include "bole/export.h"
#include "bole/store.h"
#include "git/boundary.h"
#include "git/files/bundle.h"
#include "git/object/object.h"
#include "git/object/oid_map.h"
#include "git/object/peel.h"
#include "git/pack/ingest.h"

enum { BUFFER_BYTES = 64 * 1024, YIELD_EVERY = 256, HEX_SHOWN = 12 };

struct taking {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_store *store;
	const struct bole_unbundle_options *options;
	struct bole_unbundle_report *report;
	struct bole_input in;
	struct bole_bundle_head head;
	struct bole_repo repo;
	bool created;
	struct bole_tx *tx;
	struct bole_boundary boundary;
	struct bole_object_reader *reader;
	struct bole_ref_update *updates;
	size_t update_count;
};

static enum bole_status failed(struct taking *t, enum bole_status rc, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
static enum bole_status failed(struct taking *t, enum bole_status rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(t->report->error, sizeof t->report->error, format, args);
	va_end(args);
	return rc;
}

/* -- The repository -- */

static bool has_name(const struct bole_bundle_head *head, const char *name,
                     const struct bole_oid *oid)
{
	for (size_t i = 0; i < head->ref_count; i++)
		if (bole_bytes_equal(head->refs[i].name, bole_bytes_z(name)) &&
		    (oid == NULL || bole_oid_equal(&head->refs[i].oid, oid)))
			return true;
	return false;
}

/* The branch that HEAD of the bundle is on, main and master before others. */
static void choose_head(const struct bole_bundle_head *head, char *out, size_t cap)
{
	static const char *const usual[] = {"refs/heads/main", "refs/heads/master"};
	const struct bole_oid *at = NULL;

	for (size_t i = 0; i < head->ref_count; i++)
		if (bole_bytes_equal(head->refs[i].name, bole_bytes_z("HEAD")))
			at = &head->refs[i].oid;
	snprintf(out, cap, "%s", usual[0]);
	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (has_name(head, usual[i], at)) {
			snprintf(out, cap, "%s", usual[i]);
			return;
		}
	for (size_t i = 0; at != NULL && i < head->ref_count; i++) {
		struct bole_bytes name = head->refs[i].name;

		if (bole_bytes_start(name, bole_bytes_z("refs/heads/")) &&
		    bole_oid_equal(&head->refs[i].oid, at)) {
			snprintf(out, cap, "%.*s", (int)name.len, (const char *)name.ptr);
			return;
		}
	}
}

static enum bole_status find_repo(struct taking *t)
{
	char head[BOLE_REF_NAME_MAX + 1];

	enum bole_status rc = bole_repo_find(t->store, t->options->repo, &t->repo);
	if (rc == BOLE_E_NOT_FOUND && !t->options->verify) {
		choose_head(&t->head, head, sizeof head);
		rc = bole_repo_create(t->store, t->options->repo, t->head.algo, head, &t->repo);
		t->created = rc == BOLE_OK;
	}
	if (rc == BOLE_E_NOT_FOUND)
		return failed(t, rc, "there is no repository %s", t->options->repo);
	if (rc != BOLE_OK)
		return failed(t, rc, "repository %s: %s", t->options->repo, bole_status_text(rc));
	if (t->repo.algo != t->head.algo)
		return failed(t, BOLE_E_CONFLICT, "the bundle is %s, the repository is %s",
		              bole_hash_name(t->head.algo), bole_hash_name(t->repo.algo));
	return BOLE_OK;
}

/* -- Objects -- */

static enum bole_status check_prerequisites(struct taking *t)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_entry entry;

	for (size_t i = 0; i < t->head.prerequisite_count; i++) {
		const struct bole_oid *oid = &t->head.prerequisites[i];
		enum bole_status rc = bole_odb_find(t->tx->view, oid, &entry);

		if (rc == BOLE_E_NOT_FOUND || (rc == BOLE_OK && entry.type != BOLE_OBJECT_COMMIT))
			return failed(t, BOLE_E_INVALID,
			              "the repository lacks the prerequisite commit %s",
			              bole_oid_format(oid, hex));
		BOLE_TRY(rc);
	}
	return BOLE_OK;
}

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	const struct taking *t = ctx;

	if (t->options->progress != NULL)
		t->options->progress(t->options->ctx, phase, done, total);
}

static enum bole_status ingest(struct taking *t)
{
	struct bole_ingest_report report = {.objects = 0};
	struct bole_ingest work = {
	        .platform = t->platform,
	        .alloc = t->alloc,
	        .tx = t->tx,
	        .limits = {.pack_bytes_max = UINT64_MAX,
	                   .memory_bytes_max = t->options->memory_bytes_max},
	        .progress = on_progress,
	        .progress_ctx = t,
	        .ends = &t->boundary.ends,
	};

	enum bole_status rc = bole_pack_ingest(&work, &t->in, &report);
	t->report->objects = report.objects;
	t->report->pack_bytes = report.pack_bytes;
	return rc == BOLE_OK
	               ? rc
	               : failed(t, rc, "%s",
	                        report.error[0] != '\0' ? report.error : bole_status_text(rc));
}

/* -- References -- */

/* Whether `from` reaches `to` over parents. */
static enum bole_status reaches(struct taking *t, const struct bole_oid *from,
                                const struct bole_oid *to, bool *yes)
{
	struct bole_oid_map met;
	struct bole_commit commit;
	struct bole_bytes data;
	struct bole_oid oid;
	uint32_t item;
	uint8_t type;
	bool added;

	*yes = false;
	bole_oid_map_init(&met, t->platform, t->alloc, t->repo.algo, sizeof(uint32_t));
	enum bole_status rc = bole_oid_map_put(&met, from->bytes, &item, &added);
	/* The map keeps the order in which they were met: it is the queue too. */
	for (uint32_t at = 0; rc == BOLE_OK && at < met.count && !*yes; at++) {
		bole_oid_from_raw(bole_oid_map_key(&met, at), t->repo.algo, &oid);
		*yes = bole_oid_equal(&oid, to);
		rc = bole_object_read(t->reader, &oid, &type, &data);
		if (rc == BOLE_OK && (type != BOLE_OBJECT_COMMIT ||
		                      bole_commit_parse(data, t->repo.algo, &commit) != BOLE_OK))
			break; /* not a branch's commit: nothing is reached */
		bole_boundary_cut(&t->boundary.ends, &oid, &commit);
		for (size_t i = 0; rc == BOLE_OK && i < commit.parent_count; i++) {
			bole_commit_parent(&commit, t->repo.algo, i, &oid);
			rc = bole_oid_map_put(&met, oid.bytes, &item, &added);
		}
		if (at % YIELD_EVERY == 0)
			t->platform->ops->yield(t->platform);
	}
	bole_oid_map_release(&met);
	return rc;
}

/* A reference that is there may stay, or a branch may move forward. */
static enum bole_status judge(struct taking *t, const struct bole_bundle_ref *ref, bool *needed,
                              struct bole_ref_update *update)
{
	struct bole_ref old;
	bool forward = false;

	*needed = true;
	enum bole_status rc = bole_ref_get(t->tx->view, ref->name, &old);
	if (rc == BOLE_E_NOT_FOUND) {
		update->expect = BOLE_EXPECT_ABSENT;
		return BOLE_OK;
	}
	BOLE_TRY(rc);
	if (!old.symbolic && bole_oid_equal(&old.oid, &ref->oid)) {
		*needed = false;
		return BOLE_OK;
	}
	if (!old.symbolic && bole_bytes_start(ref->name, bole_bytes_z("refs/heads/")))
		BOLE_TRY(reaches(t, &ref->oid, &old.oid, &forward));
	if (!forward)
		return failed(t, BOLE_E_CONFLICT, "%.*s: the repository has something else there",
		              (int)ref->name.len, (const char *)ref->name.ptr);
	update->expect = BOLE_EXPECT_OID;
	update->expected = old.oid;
	return BOLE_OK;
}

static enum bole_status make_update(struct taking *t, const struct bole_bundle_ref *ref)
{
	struct bole_ref_update *update = &t->updates[t->update_count];
	bool needed;
	uint8_t type;

	if (bole_bytes_equal(ref->name, bole_bytes_z("HEAD")))
		return BOLE_OK;
	*update = (struct bole_ref_update){
	        .name = ref->name, .action = BOLE_REF_SET, .oid = ref->oid};
	enum bole_status rc =
	        bole_object_peel(t->reader, t->repo.algo, &ref->oid, &update->peeled, &type);
	if (rc == BOLE_E_NOT_FOUND)
		return failed(t, BOLE_E_INVALID, "%.*s names an object that is not in the bundle",
		              (int)ref->name.len, (const char *)ref->name.ptr);
	BOLE_TRY(rc);
	if (type != BOLE_OBJECT_COMMIT && bole_bytes_start(ref->name, bole_bytes_z("refs/heads/")))
		return failed(t, BOLE_E_INVALID, "%.*s is no commit", (int)ref->name.len,
		              (const char *)ref->name.ptr);
	update->has_peeled = !bole_oid_equal(&update->peeled, &update->oid);
	BOLE_TRY(judge(t, ref, &needed, update));
	t->update_count += needed;
	return BOLE_OK;
}

static enum bole_status commit(struct taking *t)
{
	size_t failed_at;

	if (t->head.ref_count > BOLE_REF_UPDATES_MAX)
		return failed(t, BOLE_E_LIMIT, "more than %d references",
		              (int)BOLE_REF_UPDATES_MAX);
	BOLE_TRY(bole_object_reader_open(t->tx->view, t->alloc, NULL, &t->reader));
	for (size_t i = 0; i < t->head.ref_count; i++)
		BOLE_TRY(make_update(t, &t->head.refs[i]));
	bole_object_reader_close(t->reader);
	t->reader = NULL;
	if (t->options->verify)
		return BOLE_OK;
	if (t->boundary.stale)
		BOLE_TRY(bole_boundary_stage(&t->boundary, t->tx));
	enum bole_status rc = bole_tx_commit(t->tx, t->updates, t->update_count, &failed_at);
	if (rc != BOLE_E_CONFLICT)
		t->tx = NULL;
	if (rc == BOLE_OK)
		t->report->refs = t->update_count;
	return rc;
}

static enum bole_status take(struct taking *t)
{
	enum bole_status rc = bole_bundle_head_read(&t->in, t->alloc, &t->head);

	if (rc != BOLE_OK)
		return failed(t, rc, "no bundle that can be read: %s", bole_status_text(rc));
	for (size_t i = 0; i < t->head.ref_count && t->options->reference != NULL; i++)
		t->options->reference(t->options->ctx, t->head.refs[i].name, &t->head.refs[i].oid);
	if (t->head.filtered)
		return failed(t, BOLE_E_UNSUPPORTED, "the bundle lacks objects (filter)");
	BOLE_TRY(find_repo(t));
	t->updates = bole_alloc_array(t->alloc, t->head.ref_count + 1, sizeof *t->updates);
	if (t->updates == NULL)
		return BOLE_E_NO_MEMORY;
	BOLE_TRY(bole_tx_begin(t->store, t->repo.id, &t->tx));
	bole_boundary_init(&t->boundary, t->platform, t->alloc, t->repo.algo);
	BOLE_TRY(bole_boundary_load(&t->boundary, t->tx->view));
	BOLE_TRY(check_prerequisites(t));
	BOLE_TRY(ingest(t));
	return commit(t);
}

enum bole_status bole_bundle_take(struct bole_platform *platform, struct bole_alloc *alloc,
                                  struct bole_store *store, struct bole_reader *reader,
                                  const struct bole_unbundle_options *options,
                                  struct bole_unbundle_report *report)
{
	struct taking t = {.platform = platform,
	                   .alloc = alloc,
	                   .store = store,
	                   .options = options,
	                   .report = report};

	*report = (struct bole_unbundle_report){.objects = 0};
	uint8_t *buffer = bole_alloc_array(alloc, BUFFER_BYTES, 1);
	if (buffer == NULL)
		return failed(&t, BOLE_E_NO_MEMORY, "no memory");
	bole_input_init(&t.in, reader, buffer, BUFFER_BYTES);
	enum bole_status rc = take(&t);
	if (rc != BOLE_OK && report->error[0] == '\0')
		(void)failed(&t, rc, "%s", bole_status_text(rc));
	bole_object_reader_close(t.reader);
	bole_tx_abort(t.tx);
	bole_boundary_release(&t.boundary);
	if (rc != BOLE_OK && t.created && bole_repo_remove(store, t.repo.id) != BOLE_OK)
		bole_log(platform, BOLE_LOG_WARN, "unbundle: %s stays behind, empty",
		         options->repo);
	bole_alloc_free(alloc, t.updates, t.head.ref_count + 1, sizeof *t.updates);
	bole_bundle_head_release(&t.head);
	bole_alloc_free(alloc, buffer, BUFFER_BYTES, 1);
	return rc;
}
