/* SPDX-License-Identifier: ISC */
/* Images of every released format stay readable. tests/golden holds one image a kind of device,
 * compressed, and a listing of what is in them; each is mounted read-only, checked, and listed.
 *
 * GOLDEN_WRITE=1 makes the images of the present format anew (tests/golden/README.md says when). */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "bole/aux.h"
#include "bole/block_sim.h"
#include "bole/store.h"
#include "flash/volume/flash_format.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { FIRST_VERSION = 2, STEP = 4096, TEXT_MAX = 1 << 20, PACKED = 5 };

static const struct {
	const char *name;
	struct bole_block_sim_options o;
} devices[] = {
        {"managed",
         {.kind = BOLE_BLOCK_MANAGED,
          .size_bytes = (4 << 20) + (128 << 10),
          .read_unit = 512,
          .program_unit = 512}},
        {"nor",
         {.kind = BOLE_BLOCK_NOR,
          .size_bytes = 2 << 20,
          .read_unit = 1,
          .program_unit = 16,
          .erase_unit = 4096}},
        {"nand",
         {.kind = BOLE_BLOCK_NAND,
          .size_bytes = 9 << 20,
          .read_unit = 2048,
          .program_unit = 2048,
          .erase_unit = 128 << 10}},
};

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;

static void path_of(char *out, size_t cap, int version, const char *device_name)
{
	(void)snprintf(out, cap, "tests/golden/v%d-%s.img.gz", version, device_name);
}

/* -- The contents -- */

static void put_aux(struct bole_tx *tx, enum bole_aux_class cls, uint16_t kind, const char *key,
                    const char *value)
{
	struct bole_aux_key k = {cls, kind, bole_bytes_z(key)};

	OK(store->aux->put(tx, &k, bole_bytes_z(value)));
}

static void publish(uint32_t repo, uint8_t algo, uint64_t first, uint64_t count)
{
	struct store_suite suite = {.store = store, .platform = &test.base};

	for (uint64_t i = first; i < first + count; i++) {
		struct suite_blob blob;
		char name[32];
		(void)snprintf(name, sizeof name, "refs/heads/b%llu", (unsigned long long)i % 7);
		suite_blob_make(&blob, algo, i);
		suite_publish(&suite, repo, &blob, name);
	}
}

static void push_pack(uint32_t repo, uint8_t algo)
{
	struct suite_pack pack;
	struct bole_tx *tx;

	suite_pack_make(&pack, algo, 1000, PACKED);
	OK(bole_tx_begin(store, repo, &tx));
	(void)suite_pack_append(tx, &pack);
	put_aux(tx, BOLE_AUX_DURABLE, 3, "state", "a value that lasts");
	put_aux(tx, BOLE_AUX_DERIVED, 9, "cache", "a value that could be made again");
	struct bole_ref_update u = suite_set("refs/tags/packed", &pack.rows[0].oid);
	suite_commit(tx, &u, 1);
	suite_pack_free(&pack);
}

static void prepare(uint32_t repo, uint8_t algo)
{
	struct bole_tx_token token;
	struct suite_blob blob;
	struct bole_tx *tx;

	suite_blob_make(&blob, algo, 5000);
	OK(bole_tx_begin(store, repo, &tx));
	suite_put_blob(tx, &blob);
	put_aux(tx, BOLE_AUX_DURABLE, 4, "later", "prepared");
	OK(bole_tx_prepare(tx, &token));
	bole_tx_abort(tx);
}

static void fill(void)
{
	struct bole_repo one;
	struct bole_repo two;
	struct bole_repo gone;

	OK(bole_repo_create(store, "one", BOLE_HASH_SHA1, "refs/heads/b0", &one));
	OK(bole_repo_create(store, "two", BOLE_HASH_SHA256, "refs/heads/main", &two));
	OK(bole_repo_create(store, "gone", BOLE_HASH_SHA1, "refs/heads/main", &gone));
	publish(one.id, BOLE_HASH_SHA1, 1, 9);
	push_pack(one.id, BOLE_HASH_SHA1);
	publish(gone.id, BOLE_HASH_SHA1, 1, 3);
	OK(bole_repo_remove(store, gone.id));
	publish(two.id, BOLE_HASH_SHA256, 1, 6);
	OK(bole_repo_rename(store, two.id, "second"));
	/* After an unclean stop a checkpoint is written: some deltas. */
	for (uint64_t i = 0; i < 3; i++) {
		publish(one.id, BOLE_HASH_SHA1, 100 + 4 * i, 4);
		bole_block_sim_cut_now(device, BOLE_SIM_TEAR_KEEP);
		check_neq(bole_store_close(store), BOLE_OK);
		bole_block_sim_power_on(device);
		OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	}
	push_pack(two.id, BOLE_HASH_SHA256);
	struct bole_tx *tx;
	struct bole_ref_update u = suite_delete("refs/heads/b6");
	OK(bole_tx_begin(store, one.id, &tx));
	suite_commit(tx, &u, 1);
}

/* -- The listing -- */

struct text {
	char *at;
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf(t->at + t->len, TEXT_MAX - t->len, format, args);
	va_end(args);
	check(n >= 0 && (size_t)n < TEXT_MAX - t->len);
	t->len += (size_t)n;
}

static void say_oid(struct text *t, const struct bole_oid *oid)
{
	for (size_t i = 0; i < bole_hash_bytes(oid->algo); i++)
		say(t, "%02x", oid->bytes[i]);
}

static int order_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Which entries come first is the store's affair. */
static void sort_lines(struct text *t, size_t from)
{
	size_t count = 0;
	char **line = malloc(t->len * sizeof *line);
	char *copy = strdup(t->at + from);

	for (char *p = copy; *p != '\0';) {
		char *end = strchr(p, '\n');
		*end = '\0';
		line[count++] = p;
		p = end + 1;
	}
	qsort(line, count, sizeof *line, order_lines);
	t->len = from;
	for (size_t i = 0; i < count; i++)
		say(t, "%s\n", line[i]);
	free(line);
	free(copy);
}

static void list_objects(struct text *t, struct bole_snapshot *s)
{
	uint64_t cursor = 0;
	struct bole_entry e;
	struct bole_oid oid;
	size_t from = t->len;

	while (bole_odb_next(s, &cursor, &oid, &e) == BOLE_OK) {
		struct bole_entry again;
		uLong sum = crc32(0, NULL, 0);
		for (uint64_t pos = 0; pos < e.stored_bytes;) {
			struct bole_bytes bytes;
			OK(bole_odb_view(s, &e, pos, &bytes));
			sum = crc32(sum, bytes.ptr, (uInt)bytes.len);
			pos += bytes.len;
		}
		OK(bole_odb_find(s, &oid, &again));
		say(t, "object ");
		say_oid(t, &oid);
		say(t, " type %u, %llu bytes, crc %08lx\n", e.type,
		    (unsigned long long)e.stored_bytes, sum);
	}
	sort_lines(t, from);
}

static void list_aux(struct text *t, struct bole_snapshot *s, enum bole_aux_class cls,
                     uint16_t kind)
{
	struct bole_bytes after = {NULL, 0};

	while (store->aux->next(s, cls, kind, after, &after) == BOLE_OK) {
		struct bole_aux_key key = {cls, kind, after};
		uint8_t *value;
		size_t len;
		OK(store->aux->get(s, &key, &test.alloc, &value, &len));
		say(t, "aux %d %u %.*s = %.*s\n", (int)cls, kind, (int)after.len,
		    (const char *)after.ptr, (int)len, (const char *)value);
		test.alloc.resize(test.alloc.ctx, value, len == 0 ? 1 : len, 0, 1);
	}
}

static void list_repo(struct text *t, const struct bole_repo *repo)
{
	struct bole_bytes none = {NULL, 0};
	struct bole_bytes after = none;
	struct bole_snapshot *s;
	struct bole_ref ref;

	say(t, "repository %u %s, hash %u\n", repo->id, repo->name, repo->algo);
	OK(bole_snapshot_open(store, repo->id, &s));
	while (bole_ref_next(s, none, after, &ref) == BOLE_OK) {
		after = ref.name;
		say(t, "ref %.*s ", (int)ref.name.len, (const char *)ref.name.ptr);
		if (ref.symbolic)
			say(t, "-> %.*s", (int)ref.target.len, (const char *)ref.target.ptr);
		else
			say_oid(t, &ref.oid);
		say(t, "\n");
	}
	for (uint16_t kind = 0; kind < 16; kind++) {
		list_aux(t, s, BOLE_AUX_DERIVED, kind);
		list_aux(t, s, BOLE_AUX_DURABLE, kind);
	}
	list_objects(t, s);
	bole_snapshot_close(s);
}

static void list(struct text *t)
{
	struct bole_repo repo = {.name = ""};

	t->len = 0;
	while (bole_repo_next(store, repo.name, &repo) == BOLE_OK)
		list_repo(t, &repo);
}

/* -- Files -- */

static void write_image(const char *path)
{
	uint8_t buf[STEP];
	gzFile f = gzopen(path, "wb9");

	cr_assert(f != NULL, "%s", path);
	for (uint64_t at = 0; at < device->info.size_bytes; at += STEP) {
		bole_block_sim_peek(device, at, buf, STEP);
		check_eq(gzwrite(f, buf, STEP), STEP);
	}
	check_eq(gzclose(f), Z_OK);
}

static bool read_image(const char *path)
{
	uint8_t buf[STEP];
	gzFile f = gzopen(path, "rb");

	if (f == NULL)
		return false;
	for (uint64_t at = 0; gzread(f, buf, STEP) == STEP; at += STEP)
		bole_block_sim_poke(device, at, buf, STEP);
	check_eq(gzclose(f), Z_OK);
	return true;
}

static void listing_of(int version, struct text *t, bool write)
{
	char path[64];

	(void)snprintf(path, sizeof path, "tests/golden/v%d.txt", version);
	FILE *f = fopen(path, write ? "w" : "r");
	cr_assert(f != NULL, "%s is missing", path);
	if (write)
		check_eq(fwrite(t->at, 1, t->len, f), t->len);
	else
		t->len = fread(t->at, 1, TEXT_MAX - 1, f);
	check_eq(fclose(f), 0);
	t->at[t->len] = '\0';
}

static void make(size_t d, struct text *t)
{
	char path[64];

	test_platform_init(&test, 7);
	OK(bole_block_sim_open(&test.alloc, &devices[d].o, &device));
	const struct bole_flash_format_options options = {.label = "golden"};
	OK(bole_flash_format(device, &test.base, &options));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	fill();
	list(t);
	struct bole_repo repo;
	OK(bole_repo_find(store, "one", &repo));
	prepare(repo.id, BOLE_HASH_SHA1);
	OK(bole_store_close(store));
	path_of(path, sizeof path, FLASH_VERSION, devices[d].name);
	write_image(path);
	bole_block_close(device);
	test_platform_release(&test);
	listing_of(FLASH_VERSION, t, true);
}

static void read_back(int version, size_t d, struct text *t, struct text *want)
{
	const struct bole_flash_open_options options = {.read_only = true};
	struct bole_flash_check_result result;
	char path[64];

	test_platform_init(&test, 8);
	path_of(path, sizeof path, version, devices[d].name);
	OK(bole_block_sim_open(&test.alloc, &devices[d].o, &device));
	cr_assert(read_image(path), "%s is missing", path);
	OK(bole_flash_open(device, &test.base, &test.alloc, &options, &store));
	list(t);
	OK(bole_store_close(store));
	OK(bole_flash_check(device, &test.base, &test.alloc, NULL, &result));
	check_eq(result.errors, 0);
	listing_of(version, want, false);
	cr_assert(t->len == want->len && memcmp(t->at, want->at, t->len) == 0,
	          "%s holds something else than its listing", path);
	/* And it can be written: no released format is read-only. */
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	list(t);
	check(t->len == want->len && memcmp(t->at, want->at, t->len) == 0);
	struct bole_repo repo;
	OK(bole_repo_create(store, "new", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	OK(bole_store_close(store));
	bole_block_close(device);
	test_platform_release(&test);
}

Test(flash_golden, images_of_every_format_stay_readable)
{
	struct text t = {malloc(TEXT_MAX), 0};
	struct text want = {malloc(TEXT_MAX), 0};

	for (size_t d = 0; d < sizeof devices / sizeof devices[0]; d++) {
		if (getenv("GOLDEN_WRITE") != NULL)
			make(d, &t);
		for (int version = FIRST_VERSION; version <= FLASH_VERSION; version++)
			read_back(version, d, &t, &want);
	}
	free(t.at);
	free(want.at);
}
