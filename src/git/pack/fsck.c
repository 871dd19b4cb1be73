/* SPDX-License-Identifier: ISC */
/* Whether received objects are sound, in Git's own terms (fsck/). Trees, commits and tags are
 * looked at as their content comes by. Blobs that a tree gives a meaning are read at the end, when
 * all of the pack is findable: when a blob comes by, its tree may not have come yet. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/pack/intake.h"

enum {
	WARNINGS_MAX = 16, /* told of one pack */
	SPECIAL_CACHE_BYTES = 256 * 1024,
};

static void on_finding(void *ctx, const struct bole_oid *oid, enum bole_fsck_id id,
                       enum bole_fsck_severity severity, const char *text)
{
	struct intake *it = ctx;
	char hex[BOLE_OID_HEX_MAX + 1];
	char line[200];

	it->findings++;
	if (severity == BOLE_FSCK_ERROR) {
		(void)bole_intake_fail(it, BOLE_E_INVALID, "object %s: %s: %s",
		                       bole_oid_format(oid, hex), bole_fsck_name(id), text);
		return;
	}
	if (it->job->warning == NULL || ++it->warnings > WARNINGS_MAX)
		return;
	snprintf(line, sizeof line, "object %s: %s: %s", bole_oid_format(oid, hex),
	         bole_fsck_name(id), text);
	it->job->warning(it->job->warning_ctx, line);
}

static enum bole_status add_special(struct bole_oid_map *map, const uint8_t *raw, uint32_t kinds)
{
	uint32_t item;
	bool added;

	BOLE_TRY(bole_oid_map_put(map, raw, &item, &added));
	uint32_t *value = bole_oid_map_value(map, item);

	*value = added ? kinds : *value | kinds;
	return BOLE_OK;
}

static enum bole_status on_special(void *ctx, const struct bole_oid *blob, unsigned kinds)
{
	struct intake *it = ctx;

	return add_special(&it->special, blob->bytes, kinds);
}

/* -- What is promised -- */

enum bole_status bole_intake_special_later(struct intake *it, const struct bole_oid *oid)
{
	uint32_t item = bole_oid_map_find(&it->special, oid->bytes);
	uint32_t kinds;

	if (item == BOLE_OID_NONE)
		return BOLE_OK;
	memcpy(&kinds, bole_oid_map_value(&it->special, item), sizeof kinds);
	bole_oid_map_remove(&it->special, item);
	return add_special(&it->special_missing, oid->bytes, kinds);
}

/* Those of an earlier transaction that came now. */
static enum bole_status take_due(struct intake *it, struct bole_oid_map *due)
{
	BOLE_TRY(bole_promise_special(it->job->tx->view, it->alloc, due));
	for (uint32_t i = 0; i < due->count; i++) {
		const uint8_t *raw = bole_oid_map_key(due, i);

		if (bole_oid_index_find(&it->known, raw) != BOLE_OID_NONE)
			BOLE_TRY(add_special(&it->special, raw,
			                     *(const uint32_t *)bole_oid_map_value(due, i)));
		BOLE_TRY(bole_intake_spend(it, 0));
	}
	return BOLE_OK;
}

enum bole_status bole_intake_special_due(struct intake *it)
{
	struct bole_oid_map due;

	if (it->fsck.special == NULL)
		return BOLE_OK;
	bole_oid_map_init(&due, it->job->platform, it->alloc, it->algo, sizeof(uint32_t));
	enum bole_status rc = take_due(it, &due);
	bole_oid_map_release(&due);
	return rc;
}

/* -- What they say -- */

void bole_intake_fsck_init(struct intake *it)
{
	bole_fsck_options_init(&it->fsck_default, BOLE_FSCK_STRUCTURE);
	it->fsck = (struct bole_fsck){
	        .options = it->job->fsck == NULL ? &it->fsck_default : it->job->fsck,
	        .algo = it->algo,
	        .alloc = it->alloc,
	        .finding = on_finding,
	        .special = on_special,
	        .ctx = it,
	};
	/* Not worth reading what nothing would come of. */
	if (it->job->fsck == NULL)
		it->fsck.special = NULL;
}

enum bole_status bole_intake_fsck(struct intake *it, uint32_t row, uint8_t type,
                                  struct bole_bytes content)
{
	uint64_t findings = it->findings;

	if (type == BOLE_OBJECT_BLOB)
		return BOLE_OK;
	BOLE_TRY(bole_fsck_object(&it->fsck, &it->rows[row].oid, type, content));
	if (type == BOLE_OBJECT_TREE && it->findings == findings && !it->fsck.skip)
		it->rows[row].type |= INTAKE_SOUND;
	return BOLE_OK;
}

static enum bole_status check_content(struct intake *it, const struct bole_oid *oid, uint32_t kinds,
                                      struct bole_object_reader *reader)
{
	struct bole_fsck *f = &it->fsck;
	struct bole_bytes content;
	uint64_t size;
	uint8_t type;

	BOLE_TRY(bole_object_size(reader, oid, &type, &size));
	if ((kinds & BOLE_FSCK_MODULES) != 0 && size > BOLE_FSCK_MODULES_BYTES_MAX)
		BOLE_TRY(bole_fsck_note(f, oid, BOLE_FSCK_GITMODULES_LARGE,
		                        ".gitmodules too large to parse"));
	if ((kinds & BOLE_FSCK_ATTRIBUTES) != 0 && size > BOLE_FSCK_ATTRIBUTES_BYTES_MAX)
		BOLE_TRY(bole_fsck_note(f, oid, BOLE_FSCK_GITATTRIBUTES_LARGE,
		                        ".gitattributes too large to parse"));
	if (size > BOLE_FSCK_MODULES_BYTES_MAX)
		return BOLE_OK; /* which its severity allows */
	BOLE_TRY(bole_object_read(reader, oid, &type, &content));
	BOLE_TRY(bole_intake_spend(it, content.len));
	if ((kinds & BOLE_FSCK_MODULES) != 0)
		BOLE_TRY(bole_fsck_modules(f, oid, content));
	if ((kinds & BOLE_FSCK_ATTRIBUTES) != 0)
		BOLE_TRY(bole_fsck_attributes(f, oid, content));
	return BOLE_OK;
}

static enum bole_status check_special(struct intake *it, const struct bole_oid *oid, uint32_t kinds,
                                      struct bole_object_reader *reader)
{
	struct bole_fsck *f = &it->fsck;
	bool modules = (kinds & BOLE_FSCK_MODULES) != 0;
	struct bole_entry entry;
	enum bole_status rc = bole_odb_find(it->job->tx->view, oid, &entry);

	if (rc == BOLE_E_NOT_FOUND && bole_intake_later_kinds(it, oid, kinds))
		return BOLE_OK;
	if (rc == BOLE_E_NOT_FOUND)
		return bole_fsck_note(f, oid,
		                      modules ? BOLE_FSCK_GITMODULES_MISSING
		                              : BOLE_FSCK_GITATTRIBUTES_MISSING,
		                      modules ? "unable to read .gitmodules blob"
		                              : "unable to read .gitattributes blob");
	BOLE_TRY(rc);
	if (entry.type != BOLE_OBJECT_BLOB)
		return bole_fsck_note(
		        f, oid, modules ? BOLE_FSCK_GITMODULES_BLOB : BOLE_FSCK_GITATTRIBUTES_BLOB,
		        modules ? "non-blob found at .gitmodules"
		                : "non-blob found at .gitattributes");
	return check_content(it, oid, kinds, reader);
}

enum bole_status bole_intake_special(struct intake *it)
{
	struct bole_object_reader_options options = {.cache_bytes = SPECIAL_CACHE_BYTES,
	                                             .object_bytes_max =
	                                                     BOLE_FSCK_MODULES_BYTES_MAX * 2};
	struct bole_object_reader *reader = NULL;
	enum bole_status rc = BOLE_OK;
	struct bole_oid oid;

	if (it->special.count == 0)
		return BOLE_OK;
	/* Contents of the delta phase give way to these. */
	bole_intake_resolve_release(it);
	BOLE_TRY(bole_object_reader_open(it->job->tx->view, it->alloc, &options, &reader));
	for (uint32_t i = 0; i < it->special.count && rc == BOLE_OK; i++) {
		uint32_t kinds;

		memcpy(&kinds, bole_oid_map_value(&it->special, i), sizeof kinds);
		bole_oid_from_raw(bole_oid_map_key(&it->special, i), it->algo, &oid);
		rc = check_special(it, &oid, kinds, reader);
	}
	bole_object_reader_close(reader);
	return rc;
}
