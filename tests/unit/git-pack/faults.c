/* SPDX-License-Identifier: ISC */
/* A store that fails: each call of the waist in turn, and bytes that change on the way back. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "support/packworld.h"

/* The store under test with its own tables in between. One test runs in one process. */
static struct {
	const struct bole_odb_ops *odb;
	const struct bole_tx_ops *tx;
	uint64_t calls;
	uint64_t fail_at; /* this call fails with rc; 0 = none */
	uint64_t reads;
	uint64_t damage_at; /* this read of an extent shows flipped bits */
	enum bole_status rc;
	uint8_t copy[1 << 20];
	size_t shown; /* of copy */
} fault;

static bool fails(void)
{
	return ++fault.calls == fault.fail_at;
}

static enum bole_status fault_find(struct bole_snapshot *snapshot, const struct bole_oid *oid,
                                   struct bole_entry *out)
{
	return fails() ? fault.rc : fault.odb->find(snapshot, oid, out);
}

static enum bole_status fault_entry_at(struct bole_snapshot *snapshot, uint64_t extent,
                                       uint64_t offset, struct bole_oid *oid,
                                       struct bole_entry *out)
{
	return fails() ? fault.rc : fault.odb->entry_at(snapshot, extent, offset, oid, out);
}

static enum bole_status fault_view(struct bole_snapshot *snapshot, const struct bole_entry *entry,
                                   uint64_t pos, struct bole_bytes *out)
{
	if (fails())
		return fault.rc;
	enum bole_status rc = fault.odb->view(snapshot, entry, pos, out);

	/* What was shown before may go now: copies catch who still looks at it. */
	memset(fault.copy, 0xee, fault.shown);
	if (rc != BOLE_OK || out->len > sizeof(fault.copy))
		return rc;
	memcpy(fault.copy, out->ptr, out->len);
	fault.shown = out->len;
	*out = bole_bytes_of(fault.copy, out->len);
	return rc;
}

static enum bole_status fault_put(struct bole_tx *tx, const struct bole_oid *oid, uint8_t type,
                                  const struct bole_bytes *pieces, size_t count)
{
	return fails() ? fault.rc : fault.tx->put(tx, oid, type, pieces, count);
}

static enum bole_status fault_begin(struct bole_tx *tx, uint64_t *extent)
{
	return fails() ? fault.rc : fault.tx->extent_begin(tx, extent);
}

static enum bole_status fault_append(struct bole_tx *tx, struct bole_bytes bytes)
{
	return fails() ? fault.rc : fault.tx->extent_append(tx, bytes);
}

static enum bole_status fault_read(struct bole_tx *tx, uint64_t offset, void *dst, size_t len)
{
	if (fails())
		return fault.rc;
	enum bole_status rc = fault.tx->extent_read(tx, offset, dst, len);

	if (rc == BOLE_OK && ++fault.reads == fault.damage_at) {
		for (size_t i = len / 3; i < len; i += 997)
			((uint8_t *)dst)[i] ^= 4;
	}
	return rc;
}

static enum bole_status fault_finish(struct bole_tx *tx, const struct bole_extent_row *rows,
                                     size_t count)
{
	return fails() ? fault.rc : fault.tx->extent_finish(tx, rows, count);
}

static void put_between(struct bole_store *store)
{
	static struct bole_odb_ops odb;
	static struct bole_tx_ops tx;

	fault.odb = store->odb;
	fault.tx = store->tx;
	odb = *store->odb;
	tx = *store->tx;
	odb.find = fault_find;
	odb.entry_at = fault_entry_at;
	odb.view = fault_view;
	tx.put = fault_put;
	tx.extent_begin = fault_begin;
	tx.extent_append = fault_append;
	tx.extent_read = fault_read;
	tx.extent_finish = fault_finish;
	store->odb = &odb;
	store->tx = &tx;
	fault.calls = 0;
	fault.reads = 0;
	fault.fail_at = 0;
	fault.damage_at = 0;
}

static void take_out(struct bole_store *store)
{
	store->odb = fault.odb;
	store->tx = fault.tx;
}

/* Goal: no error of the store is lost. Method: fail the n-th call until none is left to fail. */
Test(faults, ingestion_reports_each_failed_call_of_the_store)
{
	static const enum bole_status codes[] = {BOLE_E_NO_SPACE, BOLE_E_IO, BOLE_E_CORRUPT,
	                                         BOLE_E_GONE};

	for (size_t extent = 0; extent < 2; extent++) {
		struct packworld world;
		struct packmaker base, maker;
		struct maker_bytes delta = {0};
		bool done = false;

		/* A thin pack on what an earlier push has brought. */
		packmaker_init(&base, test_algo());
		packmaker_history(&base, 3, 3);
		packmaker_finish(&base);
		packmaker_init(&maker, test_algo());
		packmaker_history(&maker, 6, 4);
		uint8_t first[600];
		uint64_t seed = 3;
		struct bole_oid blob;

		test_random_bytes(&seed, first, sizeof(first));
		cr_assert_eq(
		        bole_object_id(test_algo(), 3, bole_bytes_of(first, 600), false, &blob),
		        BOLE_OK);
		delta_begin(&delta, 600, 4);
		delta_insert(&delta, "thin", 4);
		packmaker_ref(&maker, &blob, &delta);
		packmaker_finish(&maker);
		for (uint64_t n = 1; !done; n++) {
			packworld_open(&world, test_algo(), 1);
			cr_assert_eq(packworld_push(&world, base.out.ptr, base.out.len, NULL, NULL),
			             BOLE_OK);
			uint64_t before = packworld_verify(&world);

			if (extent == 1)
				world.store->info.extent_bytes_min = 200;
			put_between(world.store);
			fault.fail_at = n;
			fault.rc = codes[n % 4];
			enum bole_status rc =
			        packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL);

			done = fault.calls < n;
			cr_assert_eq(rc, done ? BOLE_OK : codes[n % 4], "%d at %d: %s", (int)rc,
			             (int)n, world.report.error);
			cr_assert_eq(world.report.error[0] == '\0', done);
			take_out(world.store);
			uint64_t after = packworld_verify(&world);

			cr_assert_eq(after, done ? before + maker.count : before);
			packworld_close(&world);
		}
		maker_release(&delta);
		packmaker_release(&base);
		packmaker_release(&maker);
	}
}

/* Goal: pending bytes that come back changed are noticed. Method: flip bits in each read. */
Test(faults, ingestion_notices_bytes_that_change_in_the_store)
{
	struct packmaker maker;
	bool done = false;
	size_t noticed = 0;

	packmaker_init(&maker, test_algo());
	packmaker_history(&maker, 900, 4);
	packmaker_finish(&maker);
	for (uint64_t n = 1; !done; n++) {
		struct packworld world;

		packworld_open(&world, test_algo(), 1);
		world.store->info.extent_bytes_min = 1;
		put_between(world.store);
		fault.damage_at = n;
		enum bole_status rc =
		        packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL);

		done = fault.reads < n;
		take_out(world.store);
		/* A bit of an entry that is not read back changes nothing. */
		cr_assert(rc == BOLE_OK || rc == BOLE_E_IO || rc == BOLE_E_INVALID, "%d: %s",
		          (int)rc, world.report.error);
		noticed += rc != BOLE_OK;
		cr_assert_eq(packworld_verify(&world), rc == BOLE_OK ? maker.count : 0);
		packworld_close(&world);
	}
	cr_assert_gt(noticed, 0);
	packmaker_release(&maker);
}

Test(faults, emission_reports_each_failed_call_of_the_store)
{
	struct maker_bytes pack = {0}, good = {0};
	struct packworld world;
	struct packmaker maker;
	bool done = false;

	packworld_open(&world, test_algo(), 1);
	packmaker_init(&maker, test_algo());
	struct bole_oid head = packmaker_history(&maker, 10, 4);

	packmaker_finish(&maker);
	cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL), BOLE_OK);
	cr_assert_eq(packworld_fetch(&world, &head, 1, NULL, 0, &good), BOLE_OK);
	for (uint64_t n = 1; !done; n++) {
		pack.len = 0;
		put_between(world.store);
		fault.fail_at = n;
		fault.rc = n % 2 == 0 ? BOLE_E_CORRUPT : BOLE_E_GONE;
		enum bole_status rc = packworld_fetch(&world, &head, 1, NULL, 0, &pack);

		done = fault.calls < n;
		take_out(world.store);
		cr_assert_eq(rc, done ? BOLE_OK : fault.rc, "%d at %d", (int)rc, (int)n);
	}
	cr_assert(bole_bytes_equal(bole_bytes_of(pack.ptr, pack.len),
	                           bole_bytes_of(good.ptr, good.len)));
	maker_release(&pack);
	maker_release(&good);
	packmaker_release(&maker);
	packworld_close(&world);
}
