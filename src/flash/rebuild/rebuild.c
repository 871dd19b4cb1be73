/* SPDX-License-Identifier: ISC */
#include "flash/rebuild/rebuild.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/log/tx.h"

/* Numbers are left out behind the last ones that were seen. */
enum { REBUILD_EXTENTS_AHEAD = 1 << 16, REBUILD_OWNERS_AHEAD = 16 };

static enum bole_status open_archive(struct rebuild *rb)
{
	struct flash_volume *v = rb->v;
	const struct bole_flash_open_options options = {.read_only = true};
	struct flash_repair with = {
	        .older = v->repair->newest,
	        .newest = v->repair->newest,
	        .salvage = true,
	        .archive = &rb->archive,
	};

	with.older.stream = 0;
	with.older.map_count = 0;
	with.older.checkpoint = 0;
	rb->archive.limit = with.newest.batch;
	rb->archive.decides = bole_alloc_zeroed(v->alloc, v->segments, 1);
	if (rb->archive.decides == NULL)
		return BOLE_E_NO_MEMORY;
	return bole_flash_volume_open_older(v->dev, v->platform, v->outer, &options, &with,
	                                    &rb->then);
}

static void close_archive(struct rebuild *rb)
{
	if (rb->then == NULL)
		return;
	bole_flash_table_release(&rb->then->plain, rb->archive.stamps);
	bole_flash_table_release(&rb->then->plain, rb->archive.dropped);
	(void)bole_flash_volume_close(rb->then);
}

/* A head is newer than the row of a checkpoint, if it is another one. */
void bole_flash_rebuild_sequences(struct rebuild *rb)
{
	for (uint32_t i = 0; i < rb->v->segments; i++) {
		struct flash_segment *s = &rb->v->segment[i];
		if (!rb->segment[i].head)
			continue;
		s->sequence = rb->segment[i].sequence;
		if (!rb->segment[i].known)
			s->erases = rb->segment[i].erases;
	}
}

/* What says something that nothing else does stays until the new state is durable. */
static void spare(struct rebuild *rb)
{
	for (uint32_t i = 0; i < rb->v->segments; i++) {
		const struct rebuild_segment *s = &rb->segment[i];
		bool log = s->kind == FLASH_SEGMENT_LOG;
		bool other = s->kind == FLASH_SEGMENT_CHECKPOINT;
		if (s->spare ||
		    (s->head && !s->known && !other && (!log || rb->archive.decides[i] != 0)))
			rb->v->segment[i].published = true;
	}
	for (struct bole_bytes after = {NULL, 0};;) {
		const struct flash_item *item =
		        bole_flash_table_next(rb->archive.stamps, after, after.ptr == NULL);
		if (item == NULL)
			break;
		after = bole_flash_item_key(item);
		rb->v->segment[bole_get_le32(bole_flash_item_value(item).ptr + 8)].published = true;
	}
}

static void count_on(struct rebuild *rb)
{
	struct flash_volume *v = rb->v;
	const struct flash_volume *then = rb->then;

	if (rb->extent_max >= v->next_extent)
		v->next_extent = rb->extent_max + 1;
	if (then->next_extent > v->next_extent)
		v->next_extent = then->next_extent;
	v->next_extent += REBUILD_EXTENTS_AHEAD;
	if (then->next_repo > v->next_repo)
		v->next_repo = then->next_repo;
	if (then->next_domain > v->next_domain)
		v->next_domain = then->next_domain;
	v->next_repo += REBUILD_OWNERS_AHEAD;
	v->next_domain += REBUILD_OWNERS_AHEAD;
	if (v->next_domain < v->next_repo)
		v->next_domain = v->next_repo;
	v->next_repo = v->next_domain;
}

/* A rename of which one half is gone. */
static enum bole_status name_all(struct rebuild *rb)
{
	struct flash_volume *v = rb->v;

	for (uint32_t i = 0; i < v->repos; i++) {
		struct flash_repo *repo = v->repo[i];
		uint8_t number[4];
		if (repo->name[0] == '\0') {
			(void)snprintf(repo->name, sizeof repo->name, "lost-%u", repo->id);
			bole_put_le32(number, repo->id);
			BOLE_TRY(bole_flash_table_set(&v->plain, &v->names,
			                              bole_bytes_z(repo->name),
			                              bole_bytes_of(number, 4)));
		}
		if (strncmp(repo->name, "lost-", 5) == 0)
			bole_flash_lost(v, "%s: a repository whose name is gone", repo->name);
		if (repo->domain->guessed)
			bole_flash_lost(v,
			                "%s: nothing that is left tells whether its hash is SHA-1 "
			                "or SHA-256: it is SHA-1 from now on",
			                repo->name);
	}
	return BOLE_OK;
}

/* A later element renamed what the report named before. */
static void say_names(const struct rebuild *rb)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(rb->filled, after, true);
	     item != NULL; item = bole_flash_table_next(rb->filled, after, false)) {
		char was[BOLE_REPO_NAME_MAX + 1] = "";
		struct bole_bytes value = bole_flash_item_value(item);
		after = bole_flash_item_key(item);
		const struct flash_repo *repo =
		        bole_flash_repo_find_any(rb->v, bole_get_be32(after.ptr + 4));
		if (value.len == 0 || value.len >= sizeof was || repo == NULL ||
		    bole_bytes_equal(value, bole_bytes_z(repo->name)))
			continue;
		memcpy(was, value.ptr, value.len);
		bole_flash_rebuild_renamed(rb->v, was, bole_bytes_z(repo->name));
	}
}

static void say(const struct rebuild *rb)
{
	const struct flash_archive *a = &rb->archive;
	struct flash_volume *v = rb->v;

	bole_log(v->platform, BOLE_LOG_INFO,
	         "%s: the log of old: %llu batches are there, %llu are gone", v->dev->info.name,
	         (unsigned long long)a->batches, (unsigned long long)a->missing);
	for (uint32_t i = 0; i < rb->domains; i++) {
		const struct flash_domain *d = bole_flash_domain_find(v, rb->domain[i]);
		const char *name = "?";
		for (uint32_t n = 0; n < v->repos; n++)
			if (v->repo[n]->domain == d)
				name = v->repo[n]->name;
		bole_flash_lost(
		        v,
		        "%s: its index is made anew from what is on the device: %llu objects; "
		        "what collections removed may be among them",
		        name,
		        d == NULL || d->index == NULL ? 0ULL
		                                      : (unsigned long long)d->index->objects);
	}
}

static enum bole_status rebuild(struct rebuild *rb)
{
	BOLE_TRY(bole_flash_rebuild_survey(rb));
	bole_flash_rebuild_sequences(rb);
	BOLE_TRY(bole_flash_rebuild_hashes(rb));
	rb->archive.hashes = rb->packs->hashes;
	BOLE_TRY(open_archive(rb));
	BOLE_TRY(bole_flash_rebuild_remains(rb));
	bole_flash_rebuild_sequences(rb);
	BOLE_TRY(bole_flash_rebuild_owners(rb));
	BOLE_TRY(bole_flash_rebuild_fill_late(rb));
	bole_flash_rebuild_sequences(rb);
	BOLE_TRY(bole_flash_rebuild_records(rb));
	BOLE_TRY(name_all(rb));
	spare(rb);
	count_on(rb);
	say_names(rb);
	say(rb);
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild(struct flash_volume *v)
{
	struct rebuild rb = {.v = v, .packs = v->packs};

	enum bole_status rc = rebuild(&rb);
	close_archive(&rb);
	bole_alloc_free(v->alloc, rb.archive.decides, v->segments, 1);
	bole_alloc_free(v->alloc, rb.domain, rb.domains, sizeof *rb.domain);
	bole_flash_table_release(&v->plain, rb.aux);
	bole_flash_table_release(&v->plain, rb.filled);
	bole_flash_table_release(&v->plain, rb.made);
	bole_flash_table_release(&v->plain, rb.listed);
	bole_flash_table_release(&v->plain, rb.removed);
	bole_alloc_free(v->alloc, rb.hole, rb.hole_count, sizeof *rb.hole);
	bole_flash_rebuild_survey_end(&rb);
	return rc;
}
