/* SPDX-License-Identifier: ISC */
/* Every object once, in the order of the log: its bytes against its id, its links against the
 * index. When each link of each object leads somewhere, every closure is complete; no walk and no
 * set of visited objects is needed. */
#include "bole/verify.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "git/boundary.h"
#include "git/object/object.h"
#include "git/object/read.h"
#include "git/promise.h"

enum { STREAM_FROM = 1 << 20, PROGRESS_EVERY = 256, LINE_MAX_BYTES = 512 };

struct verify {
	struct bole_platform *platform;
	struct bole_snapshot *snapshot;
	struct bole_object_reader *reader;
	const struct bole_verify_report *report;
	struct bole_verify_result *result;
	struct bole_boundary boundary;
	struct bole_promises promises;
	struct bole_oid oid; /* the object under test */
};

static void finding(struct verify *verify, const struct bole_oid *oid, const char *what)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	char line[LINE_MAX_BYTES];

	verify->result->errors++;
	if (verify->report->finding == NULL)
		return;
	snprintf(line, sizeof line, "%s: object %s %s", verify->snapshot->repo.name,
	         bole_oid_format(oid, hex), what);
	verify->report->finding(verify->report->ctx, line);
}

/* Errors that say something about this object only; others end the check. */
static bool about_object(enum bole_status rc)
{
	return rc == BOLE_E_CORRUPT || rc == BOLE_E_LIMIT || rc == BOLE_E_NOT_FOUND;
}

static enum bole_status link_check(struct verify *verify, const struct bole_oid *to, uint8_t type)
{
	struct bole_entry entry;
	enum bole_status rc = bole_odb_find(verify->snapshot, to, &entry);

	if (rc == BOLE_E_NOT_FOUND && (type == BOLE_OBJECT_TREE || type == BOLE_OBJECT_BLOB)) {
		rc = bole_promises_find(&verify->promises, to, type);
		if (rc != BOLE_E_NOT_FOUND)
			return rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
	}
	if (rc == BOLE_E_NOT_FOUND) {
		finding(verify, to, "is missing");
		finding(verify, &verify->oid, "links to a missing object");
		return BOLE_OK;
	}
	if (rc == BOLE_OK && type != 0 && entry.type != type)
		finding(verify, &verify->oid, "links to an object of another type");
	return rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
}

static enum bole_status tree_check(struct verify *verify, struct bole_bytes data)
{
	uint8_t algo = verify->snapshot->repo.algo;
	struct bole_bytes rest = data;
	struct bole_tree_entry entry;
	struct bole_tree_entry last;
	enum bole_status rc;

	for (bool first = true; (rc = bole_tree_next(&rest, algo, &entry)) == BOLE_OK;
	     first = false) {
		uint32_t kind = entry.mode & 0170000;

		if (!first && bole_tree_entry_compare(&last, &entry) >= 0)
			finding(verify, &verify->oid, "is a tree out of order");
		last = entry;
		if (kind == BOLE_MODE_SUBMODULE)
			continue;
		BOLE_TRY(link_check(verify, &entry.oid,
		                    kind == BOLE_MODE_TREE ? BOLE_OBJECT_TREE : BOLE_OBJECT_BLOB));
	}
	if (rc == BOLE_E_INVALID)
		finding(verify, &verify->oid, "is a malformed tree");
	return BOLE_OK;
}

/* Parents of a commit on the boundary may be here or not; one that is must be a commit. */
static enum bole_status end_check(struct verify *verify, const struct bole_commit *commit)
{
	struct bole_entry entry;
	struct bole_oid parent;
	bool cut = false;

	verify->result->ends++;
	for (size_t i = 0; i < commit->parent_count; i++) {
		bole_commit_parent(commit, verify->snapshot->repo.algo, i, &parent);
		enum bole_status rc = bole_odb_find(verify->snapshot, &parent, &entry);

		if (rc == BOLE_OK && entry.type != BOLE_OBJECT_COMMIT)
			finding(verify, &verify->oid, "links to an object of another type");
		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND && rc != BOLE_E_CORRUPT)
			return rc;
		cut = cut || rc == BOLE_E_NOT_FOUND;
	}
	verify->result->cut += cut;
	return BOLE_OK;
}

static enum bole_status commit_check(struct verify *verify, struct bole_bytes data)
{
	uint8_t algo = verify->snapshot->repo.algo;
	struct bole_commit commit;
	struct bole_oid parent;

	if (bole_commit_parse(data, algo, &commit) != BOLE_OK) {
		finding(verify, &verify->oid, "is a malformed commit");
		return BOLE_OK;
	}
	BOLE_TRY(link_check(verify, &commit.tree, BOLE_OBJECT_TREE));
	if (bole_id_list_find(&verify->boundary.ends, &verify->oid) != BOLE_OID_NONE)
		return end_check(verify, &commit);
	for (size_t i = 0; i < commit.parent_count; i++) {
		bole_commit_parent(&commit, algo, i, &parent);
		BOLE_TRY(link_check(verify, &parent, BOLE_OBJECT_COMMIT));
	}
	return BOLE_OK;
}

static enum bole_status tag_check(struct verify *verify, struct bole_bytes data)
{
	struct bole_tag tag;

	if (bole_tag_parse(data, verify->snapshot->repo.algo, &tag) == BOLE_OK)
		return link_check(verify, &tag.target, tag.target_type);
	finding(verify, &verify->oid, "is a malformed tag");
	return BOLE_OK;
}

static enum bole_status content_check(struct verify *verify, uint8_t type, struct bole_bytes data)
{
	struct bole_oid oid;

	BOLE_TRY(bole_object_id(verify->snapshot->repo.algo, type, data, false, &oid));
	if (!bole_oid_equal(&oid, &verify->oid)) {
		finding(verify, &verify->oid, "does not hash to its id");
		return BOLE_OK;
	}
	switch (type) {
	case BOLE_OBJECT_COMMIT: verify->result->commits++; return commit_check(verify, data);
	case BOLE_OBJECT_TREE: verify->result->trees++; return tree_check(verify, data);
	case BOLE_OBJECT_TAG: verify->result->tags++; return tag_check(verify, data);
	default: verify->result->blobs++; return BOLE_OK;
	}
}

/* -- Large blobs are hashed as they stream by -- */

struct hash_writer {
	struct bole_writer writer;
	struct bole_platform *platform;
	struct bole_hash hash;
};

static enum bole_status hash_write(struct bole_writer *self, const void *src, size_t len)
{
	struct hash_writer *writer = (struct hash_writer *)self;

	bole_hash_update(&writer->hash, src, len);
	writer->platform->ops->yield(writer->platform);
	return BOLE_OK;
}

static enum bole_status hash_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

static enum bole_status blob_check(struct verify *verify, uint64_t size)
{
	struct hash_writer writer = {
	        {.write = hash_write, .flush = hash_flush}, verify->platform, {0}};
	struct bole_oid oid;
	char head[32];
	uint64_t len;

	bole_hash_init(&writer.hash, verify->snapshot->repo.algo);
	int head_len = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
	bole_hash_update(&writer.hash, head, (size_t)head_len + 1);
	BOLE_TRY(bole_object_stream(verify->reader, &verify->oid, &writer.writer, NULL, &len));
	bole_hash_final(&writer.hash, &oid);
	if (len != size || !bole_oid_equal(&oid, &verify->oid))
		finding(verify, &verify->oid, "does not hash to its id");
	verify->result->blobs++;
	return BOLE_OK;
}

static enum bole_status object_check(struct verify *verify, const struct bole_entry *entry)
{
	struct bole_bytes data;
	uint64_t size;

	BOLE_TRY(bole_object_size(verify->reader, &verify->oid, NULL, &size));
	verify->result->inflated_bytes += size;
	if (entry->type == BOLE_OBJECT_BLOB && size >= STREAM_FROM)
		return blob_check(verify, size);
	BOLE_TRY(bole_object_read_entry(verify->reader, entry, &data));
	return content_check(verify, entry->type, data);
}

static enum bole_status objects_check(struct verify *verify)
{
	struct bole_entry entry;
	uint64_t cursor = 0;
	uint64_t done = 0;
	enum bole_status rc;

	while ((rc = bole_odb_next(verify->snapshot, &cursor, &verify->oid, &entry)) == BOLE_OK) {
		rc = object_check(verify, &entry);
		if (about_object(rc)) {
			char what[64];

			snprintf(what, sizeof what, "cannot be read: %s", bole_status_text(rc));
			finding(verify, &verify->oid, what);
		} else if (rc != BOLE_OK) {
			return rc;
		}
		if (++done % PROGRESS_EVERY == 0 && verify->report->progress != NULL)
			verify->report->progress(verify->report->ctx, done, 0);
		verify->platform->ops->yield(verify->platform);
	}
	if (verify->report->progress != NULL)
		verify->report->progress(verify->report->ctx, done, done);
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status refs_check(struct verify *verify)
{
	struct bole_ref ref = {.name = {NULL, 0}};
	enum bole_status rc;

	while ((rc = bole_ref_next(verify->snapshot, (struct bole_bytes){NULL, 0}, ref.name,
	                           &ref)) == BOLE_OK) {
		bool branch = bole_bytes_start(ref.name, bole_bytes_z("refs/heads/"));

		verify->result->refs++;
		if (ref.symbolic)
			continue;
		verify->oid = ref.oid;
		BOLE_TRY(link_check(verify, &ref.oid, branch ? BOLE_OBJECT_COMMIT : 0));
		if (ref.has_peeled)
			BOLE_TRY(link_check(verify, &ref.peeled, 0));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* Records of what is missing that do not read are a finding; without them more is. */
static enum bole_status judge_records(struct verify *verify, enum bole_status rc, const char *what)
{
	char line[LINE_MAX_BYTES];

	if (rc != BOLE_E_CORRUPT && rc != BOLE_E_LIMIT)
		return rc;
	verify->result->errors++;
	snprintf(line, sizeof line, "%s: %s cannot be read: %s", verify->snapshot->repo.name, what,
	         bole_status_text(rc));
	if (verify->report->finding != NULL)
		verify->report->finding(verify->report->ctx, line);
	return BOLE_OK;
}

static enum bole_status count_promised(struct verify *verify)
{
	struct bole_promises *p = &verify->promises;
	struct bole_entry entry;
	struct bole_oid oid;

	for (uint32_t i = 0; i < p->ids.count; i++) {
		bole_oid_from_raw(bole_oid_map_key(&p->ids, i), verify->snapshot->repo.algo, &oid);
		enum bole_status rc = bole_odb_find(verify->snapshot, &oid, &entry);

		verify->result->promised += rc == BOLE_E_NOT_FOUND;
		if (rc != BOLE_E_NOT_FOUND && rc != BOLE_E_CORRUPT)
			BOLE_TRY(rc);
		verify->platform->ops->yield(verify->platform);
	}
	return BOLE_OK;
}

static enum bole_status check_all(struct verify *verify)
{
	enum bole_status rc = bole_boundary_load(&verify->boundary, verify->snapshot);

	BOLE_TRY(judge_records(verify, rc, "the shallow boundary"));
	rc = bole_promises_load(&verify->promises);
	BOLE_TRY(judge_records(verify, rc, "the record of promised objects"));
	verify->promises.loaded = true;
	rc = count_promised(verify);
	if (rc == BOLE_OK)
		rc = objects_check(verify);
	return rc == BOLE_OK ? refs_check(verify) : rc;
}

enum bole_status bole_verify(struct bole_platform *platform, struct bole_snapshot *snapshot,
                             struct bole_alloc *alloc, const struct bole_verify_report *report,
                             struct bole_verify_result *out)
{
	struct verify verify = {
	        .platform = platform,
	        .snapshot = snapshot,
	        .report = report,
	        .result = out,
	};

	memset(out, 0, sizeof *out);
	BOLE_TRY(bole_object_reader_open(snapshot, alloc, NULL, &verify.reader));
	bole_boundary_init(&verify.boundary, platform, alloc, snapshot->repo.algo);
	bole_promises_init(&verify.promises, platform, alloc, snapshot);
	enum bole_status rc = check_all(&verify);
	bole_promises_release(&verify.promises);
	bole_boundary_release(&verify.boundary);
	bole_object_reader_close(verify.reader);
	return rc;
}
