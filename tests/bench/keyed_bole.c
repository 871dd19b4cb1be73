/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bench/bench.h"
#include "bench/keyed.h"
#include "support/platform.h"
#include "support/suite_help.h"

struct keyed {
	struct bole_alloc alloc;
	struct bole_store *store;
	struct bole_repo repo;
	uint64_t allocated;
};

static void *count_resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	struct keyed *k = ctx;

	k->allocated += new_size;
	k->allocated -= old_size;
	if (new_size == 0) {
		free(ptr);
		return NULL;
	}
	if (align <= sizeof(max_align_t))
		return realloc(ptr, new_size);
	void *moved = aligned_alloc(align, (new_size + align - 1) / align * align);
	if (moved != NULL && ptr != NULL)
		memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
	if (moved != NULL)
		free(ptr);
	return moved;
}

struct bole_platform *keyed_platform(void)
{
	static struct test_platform test;
	static bool ready;

	if (!ready) {
		test_platform_init(&test, 1);
		test.quiet = getenv("BENCH_LOG") == NULL;
		ready = true;
	}
	return &test.base;
}

struct keyed *keyed_bole_open_on(struct bole_block *block, const struct keyed_options *o)
{
	struct bole_platform *platform = keyed_platform();
	struct keyed *k = calloc(1, sizeof *k);
	const struct bole_flash_open_options options = {
	        .memory_bytes_max = o->memory_bytes_max,
	        .cache_bytes = o->cache_bytes,
	        .no_background = !o->background,
	};

	check(k != NULL);
	k->alloc = (struct bole_alloc){.resize = count_resize, .ctx = k};
	if (o->format)
		OK(bole_flash_format(block, platform, NULL));
	enum bole_status rc = bole_flash_open(block, platform, &k->alloc, &options, &k->store);
	if (rc != BOLE_OK)
		bench_note("the store does not open: status %d", (int)rc);
	OK(rc);
	if (o->format)
		OK(bole_repo_create(k->store, "bench", BOLE_HASH_SHA1, "refs/heads/main",
		                    &k->repo));
	else
		OK(bole_repo_find(k->store, "bench", &k->repo));
	return k;
}

static struct keyed *bole_keyed_open(struct flashdev *dev, const struct keyed_options *o)
{
	return keyed_bole_open_on(flashdev_block(dev), o);
}

static void bole_keyed_close(struct keyed *k)
{
	OK(bole_store_close(k->store));
	free(k);
}

void keyed_oid(const struct keyed_item *item, struct bole_oid *out)
{
	memset(out, 0, sizeof *out);
	out->algo = BOLE_HASH_SHA1;
	bench_noise(bench_mix(item->key, item->version), out->bytes, KEYED_KEY_BYTES);
}

size_t keyed_entry(const struct keyed_item *item, uint8_t *dst)
{
	/* A blob: 4, 7 and 7 bits of its size. */
	check(item->len < 1 << 18);
	dst[0] = (uint8_t)(0x80 | 3 << 4 | (item->len & 15));
	dst[1] = (uint8_t)(item->len >> 4 | (item->len >> 11 != 0 ? 0x80 : 0));
	dst[2] = (uint8_t)(item->len >> 11);
	size_t head = item->len >> 11 != 0 ? 3 : 2;
	bench_noise(bench_mix(item->key, item->version), dst + head, item->len);
	return head + item->len;
}

static enum bole_status put(struct bole_tx *tx, const struct keyed_item *item)
{
	static uint8_t entry[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	struct bole_oid oid;

	keyed_oid(item, &oid);
	struct bole_bytes piece = {entry, keyed_entry(item, entry)};
	return bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1);
}

static enum bole_status bole_keyed_write(struct keyed *k, const struct keyed_item *puts,
                                         const struct keyed_item *drops, size_t n)
{
	struct bole_tx *tx;
	enum bole_status rc = bole_tx_begin(k->store, k->repo.id, &tx);

	if (rc != BOLE_OK)
		return rc;
	for (size_t i = 0; i < n && rc == BOLE_OK; i++) {
		struct bole_oid old;

		rc = put(tx, &puts[i]);
		if (rc != BOLE_OK || drops == NULL)
			continue;
		keyed_oid(&drops[i], &old);
		rc = bole_tx_drop(tx, &old);
	}
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	size_t failed;
	return bole_tx_commit(tx, NULL, 0, &failed);
}

static enum bole_status bole_keyed_append(struct keyed *k, const struct keyed_item *item)
{
	return bole_keyed_write(k, item, NULL, 1);
}

static enum bole_status bole_keyed_ballast(struct keyed *k, const struct keyed_item *items,
                                           size_t n)
{
	return bole_keyed_write(k, items, NULL, n);
}

static enum bole_status bole_keyed_get(struct keyed *k, const struct keyed_item *item)
{
	static uint8_t want[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	struct bole_snapshot *s;
	struct bole_entry entry;
	struct bole_oid oid;

	enum bole_status rc = bole_snapshot_open(k->store, k->repo.id, &s);
	if (rc != BOLE_OK)
		return rc;
	keyed_oid(item, &oid);
	size_t len = keyed_entry(item, want);
	rc = bole_odb_find(s, &oid, &entry);
	for (uint64_t pos = 0; rc == BOLE_OK && pos < len;) {
		struct bole_bytes seen;
		check_eq(entry.stored_bytes, len);
		rc = bole_odb_view(s, &entry, pos, &seen);
		if (rc == BOLE_OK)
			check_eq(memcmp(want + pos, seen.ptr, seen.len), 0);
		pos += rc == BOLE_OK ? seen.len : 0;
	}
	bole_snapshot_close(s);
	return rc;
}

static double bole_keyed_fill(struct keyed *k)
{
	struct bole_store_stats stats;

	OK(bole_store_stats(k->store, &stats));
	uint64_t live = stats.live_bytes != 0 ? stats.live_bytes : stats.used_bytes;
	return (double)live / (double)stats.capacity_bytes;
}

static size_t bole_keyed_memory(struct keyed *k)
{
	return (size_t)k->allocated;
}

static void bole_keyed_background(struct keyed *k, unsigned steps)
{
	const struct bole_maintain_options o = {.eagerness = 1};

	while (steps-- > 0 && bole_store_maintain(k->store, &o, NULL) == BOLE_OK)
		;
}

struct bole_store *keyed_store(struct keyed *k)
{
	return k->store;
}

uint32_t keyed_repo(struct keyed *k)
{
	return k->repo.id;
}

uint64_t keyed_allocated(struct keyed *k)
{
	return k->allocated;
}

const struct keyed_ops keyed_bole = {
        .name = "bole",
        .open = bole_keyed_open,
        .close = bole_keyed_close,
        .write = bole_keyed_write,
        .append = bole_keyed_append,
        .ballast = bole_keyed_ballast,
        .get = bole_keyed_get,
        .fill = bole_keyed_fill,
        .memory = bole_keyed_memory,
        .background = bole_keyed_background,
};
