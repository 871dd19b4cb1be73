/* SPDX-License-Identifier: ISC */
#include "support/packworld.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/io.h"
#include "git/object/read.h"

static void must(enum bole_status rc, const char *what)
{
	if (rc == BOLE_OK)
		return;
	fprintf(stderr, "packworld: %s: %s\n", what, bole_status_text(rc));
	abort();
}

void packworld_open(struct packworld *world, uint8_t algo, uint64_t seed)
{
	memset(world, 0, sizeof(*world));
	test_platform_init(&world->platform, seed);
	world->platform.quiet = true;
	must(bole_memory_store_open(&world->platform.base, &world->platform.alloc, &world->store),
	     "open");
	must(bole_repo_create(world->store, "main", algo, "refs/heads/main", &world->repo),
	     "create");
}

void packworld_close(struct packworld *world)
{
	must(bole_store_close(world->store), "close");
	test_platform_release(&world->platform);
}

/* What follows the pack is still to be read. */
static void check_rest(struct bole_input *input, const uint8_t *rest, size_t len)
{
	uint8_t byte;

	for (size_t i = 0; i < len; i++) {
		must(bole_input_read(input, &byte, 1), "what follows the pack");
		if (byte != rest[i])
			must(BOLE_E_CORRUPT, "what follows the pack");
	}
}

enum bole_status packworld_push(struct packworld *world, const void *pack, size_t len,
                                const char *ref, const struct bole_oid *oid)
{
	size_t cap = world->input_bytes != 0 ? world->input_bytes : 16384;
	uint8_t *buffer = malloc(cap);
	struct bole_bytes_reader reader;
	struct bole_input input;
	struct bole_tx *tx;
	size_t failed;

	if (buffer == NULL)
		abort();
	enum bole_status rc = bole_tx_begin(world->store, world->repo.id, &tx);

	if (rc == BOLE_OK) {
		struct bole_ingest job = {.platform = &world->platform.base,
		                          .fsck = world->fsck,
		                          .alloc = &world->platform.alloc,
		                          .tx = tx,
		                          .limits = world->limits,
		                          .shallow = world->shallow,
		                          .cancelled = world->cancelled,
		                          .cancelled_ctx = world->cancelled_ctx};

		bole_bytes_reader_init(&reader, bole_bytes_of(pack, len));
		bole_input_init(&input, &reader.reader, buffer, cap);
		rc = bole_pack_ingest(&job, &input, &world->report);
		world->unread = len - input.consumed;
		if (rc == BOLE_OK)
			check_rest(&input, (const uint8_t *)pack + input.consumed,
			           (size_t)world->unread);
		if (rc == BOLE_OK) {
			struct bole_ref_update update = {.action = BOLE_REF_SET};

			if (ref != NULL) {
				update.name = bole_bytes_z(ref);
				update.oid = *oid;
			}
			rc = bole_tx_commit(tx, &update, ref != NULL ? 1 : 0, &failed);
			if (rc == BOLE_E_CONFLICT)
				bole_tx_abort(tx);
		} else {
			bole_tx_abort(tx);
		}
	}
	free(buffer);
	return rc;
}

struct maker_writer {
	struct bole_writer writer;
	struct maker_bytes *out;
};

static enum bole_status maker_write(struct bole_writer *self, const void *src, size_t len)
{
	maker_append(((struct maker_writer *)self)->out, src, len);
	return BOLE_OK;
}

static enum bole_status maker_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

enum bole_status packworld_fetch_with(struct packworld *world,
                                      const struct packworld_fetch_options *options,
                                      const struct bole_oid *wants, size_t want_count,
                                      const struct bole_oid *haves, size_t have_count,
                                      struct maker_bytes *out)
{
	struct maker_writer writer = {{.write = maker_write, .flush = maker_flush}, out};
	struct bole_snapshot *snapshot;
	struct bole_pack_plan *plan;
	enum bole_status rc = bole_snapshot_open(world->store, world->repo.id, &snapshot);

	if (rc != BOLE_OK)
		return rc;
	struct bole_reach reach = {.platform = &world->platform.base,
	                           .alloc = options->alloc != NULL ? options->alloc
	                                                           : &world->platform.alloc,
	                           .snapshot = snapshot,
	                           .wants = wants,
	                           .want_count = want_count,
	                           .haves = haves,
	                           .have_count = have_count,
	                           .include_tags = options->include_tags,
	                           .thin = options->thin,
	                           .ofs_delta = options->ofs_delta,
	                           .cancelled = world->cancelled,
	                           .cancelled_ctx = world->cancelled_ctx};

	rc = bole_pack_plan_open(&reach, &plan);
	if (rc == BOLE_OK)
		rc = bole_pack_emit(plan, &writer.writer);
	bole_pack_plan_close(plan);
	bole_snapshot_close(snapshot);
	return rc;
}

enum bole_status packworld_fetch(struct packworld *world, const struct bole_oid *wants,
                                 size_t want_count, const struct bole_oid *haves, size_t have_count,
                                 struct maker_bytes *out)
{
	struct packworld_fetch_options options = {.thin = true, .ofs_delta = true};

	return packworld_fetch_with(world, &options, wants, want_count, haves, have_count, out);
}

uint64_t packworld_verify(struct packworld *world)
{
	struct bole_object_reader *reader;
	struct bole_snapshot *snapshot, *index;
	struct bole_bytes content;
	struct bole_entry entry;
	struct bole_oid oid, found;
	uint64_t cursor = 0, count = 0;
	uint8_t type;
	enum bole_status rc;

	must(bole_snapshot_open(world->store, world->repo.id, &snapshot), "snapshot");
	must(bole_snapshot_open(world->store, world->repo.id, &index), "snapshot");
	must(bole_object_reader_open(snapshot, &world->platform.alloc, NULL, &reader), "reader");
	while ((rc = bole_odb_next(index, &cursor, &oid, &entry)) == BOLE_OK) {
		must(bole_object_read(reader, &oid, &type, &content), "read");
		must(bole_object_id(oid.algo, type, content, false, &found), "id");
		if (!bole_oid_equal(&found, &oid) || type != entry.type)
			must(BOLE_E_CORRUPT, "an object under a wrong id");
		count++;
	}
	if (rc != BOLE_END)
		must(rc, "iterate");
	bole_object_reader_close(reader);
	bole_snapshot_close(index);
	bole_snapshot_close(snapshot);
	return count;
}
