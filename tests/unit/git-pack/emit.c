/* SPDX-License-Identifier: ISC */
/* Packs that come out, judged by git: histories made with git fast-import go in as git packs them,
 * and what is sent must index, pass fsck --strict and be what rev-list says. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deflate.h"
#include "base/hash.h"
#include "base/memory.h"
#include "git/object/object.h"
#include "support/packworld.h"

static char top[64]; /* a folder of this test's own */

__attribute__((format(printf, 1, 2))) static int run(const char *format, ...)
{
	char command[2048] = "export HOME=/nonexistent GIT_CONFIG_NOSYSTEM=1 "
	                     "GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=n@o; ";
	size_t used = strlen(command);
	va_list args;

	va_start(args, format);
	int len = vsnprintf(command + used, sizeof(command) - used, format, args);
	va_end(args);
	cr_assert_lt((size_t)len, sizeof(command) - used);
	return system(command);
}

static void slurp(const char *name, struct maker_bytes *out)
{
	char path[128];
	uint8_t piece[4096];
	size_t got;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	FILE *file = fopen(path, "rb");

	cr_assert_not_null(file, "%s", path);
	out->len = 0;
	while ((got = fread(piece, 1, sizeof(piece), file)) > 0)
		maker_append(out, piece, got);
	fclose(file);
}

static void spit(const char *name, const void *data, size_t len)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	FILE *file = fopen(path, "wb");

	cr_assert_not_null(file);
	cr_assert_eq(fwrite(data, 1, len, file), len);
	fclose(file);
}

/* A fast-import stream: files in folders that change, move and vanish, side branches, merges,
 * annotated tags (one of a tag), a submodule, a link. */
static void history(struct maker_bytes *out, uint8_t algo, uint32_t commits, bool skewed,
                    uint64_t seed)
{
	for (uint32_t n = 1; n <= commits; n++) {
		const char *branch = n % 5 == 0 ? "side" : "main";

		maker_text(out, "commit refs/heads/%s\nmark :%u\ncommitter N <n@o> %u +0200\n",
		           branch, n,
		           1500000000 +
		                   (skewed ? (unsigned)(test_random(&seed) % 20000) : n * 100));
		maker_text(out, "data 6\nwork %d\n", (int)(n % 10));
		if (n % 35 == 0)
			maker_text(out, "from :%u\nmerge :%u\n", n - 5, n - 1);
		else if (n == 5)
			maker_text(out, "from :4\n");
		for (int i = 0; i < 3; i++) {
			unsigned file = (unsigned)(test_random(&seed) % 40);

			maker_text(out, "M %s inline d%u/e%u/f%u\n", file == 7 ? "120000" : "644",
			           file % 4, file % 3, file);
			char text[900];
			int len = 0;

			for (int k = 0; k < 60; k++) {
				uint64_t changed = test_random(&seed) % 20 == 0 ? n : file;

				len += snprintf(text + len, sizeof(text) - (size_t)len,
				                "line %d %lu\n", k, (unsigned long)changed);
			}
			maker_text(out, "data %d\n", len);
			maker_append(out, text, (size_t)len);
		}
		if (n % 17 == 0)
			maker_text(out, "D d1\n");
		if (n % 23 == 0)
			maker_text(out, "M 160000 %0*u sub\n", (int)bole_hash_bytes(algo) * 2, n);
		if (n % 20 == 0)
			maker_text(out,
			           "tag t%u\nfrom :%u\ntagger N <n@o> 1500000000 +0000\n"
			           "data 2\nt\n",
			           n, n);
	}
}

struct repo {
	struct packworld world;
	uint8_t algo;
	bool skewed;         /* commits have random dates */
	struct bole_oid tip; /* of main */
	struct bole_oid side;
};

static struct bole_oid rev(struct repo *repo, const char *name)
{
	struct maker_bytes hex = {0};
	struct bole_oid oid;

	cr_assert_eq(run("git -C %s/src rev-parse '%s' > %s/rev", top, name, top), 0);
	slurp("rev", &hex);
	cr_assert_eq(bole_oid_parse((const char *)hex.ptr, 2 * bole_hash_bytes(repo->algo),
	                            repo->algo, &oid),
	             BOLE_OK);
	maker_release(&hex);
	return oid;
}

/* Makes the history with git and pushes it as `parts` packs, the later ones thin. */
static void open_repo(struct repo *repo, uint8_t algo, uint32_t commits, unsigned parts,
                      size_t extent_min)
{
	struct maker_bytes bytes = {0};

	repo->algo = algo;
	snprintf(top, sizeof(top), "%s/pack-test-%ld",
	         getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp", (long)getpid());
	run("rm -rf %s", top); /* of a process that was killed and had our number */
	cr_assert_eq(mkdir(top, 0700), 0, "%s", top);
	history(&bytes, algo, commits, repo->skewed, 42);
	spit("stream", bytes.ptr, bytes.len);
	cr_assert_eq(run("git init -q --bare -b main --object-format=%s %s/src && "
	                 "git -C %s/src fast-import --quiet < %s/stream && "
	                 "git -C %s/src tag -a -m again again t20 2>/dev/null && "
	                 "git -C %s/src tag light main && git -C %s/src repack -adfq",
	                 bole_hash_name(algo), top, top, top, top, top, top),
	             0);
	packworld_open(&repo->world, algo, 1);
	repo->world.store->info.extent_bytes_min = extent_min;
	repo->tip = rev(repo, "main");
	repo->side = rev(repo, "side");
	for (unsigned i = 0; i < parts; i++) {
		bool last = i == parts - 1;
		unsigned back = 20 * (parts - 1 - i);

		cr_assert_eq(run("cd %s/src && { if %s; then git for-each-ref "
		                 "--format='%%(objectname)'; else git rev-parse main~%u; fi; "
		                 "if [ %u != 0 ]; then echo ^$(git rev-parse main~%u); fi; } "
		                 "> ../revs && git pack-objects -q --revs --stdout --thin "
		                 "--delta-base-offset < ../revs > ../in.pack",
		                 top, last ? "true" : "false", back, i, back + 20),
		             0);
		slurp("in.pack", &bytes);
		enum bole_status rc = packworld_push(&repo->world, bytes.ptr, bytes.len,
		                                     last ? "refs/heads/main" : NULL, &repo->tip);

		cr_assert_eq(rc, BOLE_OK, "part %u: %s", i, repo->world.report.error);
	}
	maker_release(&bytes);
}

static void close_repo(struct repo *repo)
{
	packworld_close(&repo->world);
	run("rm -rf %s", top);
}

/* Sends to a copy that has `have` (NULL: nothing), and lets git judge. */
static void fetch(struct repo *repo, const char *want, const char *have,
                  struct packworld_fetch_options options)
{
	struct bole_oid wants[1] = {rev(repo, want)}, haves[1];
	struct maker_bytes pack = {0};

	cr_assert_eq(run("cd %s && rm -rf dst && git init -q --bare -b main "
	                 "--object-format=%s dst && { [ -z '%s' ] || git -C src push -q "
	                 "../dst '%s^{}:refs/heads/old'; }",
	                 top, bole_hash_name(repo->algo), have ? have : "", have ? have : ""),
	             0);
	if (have != NULL)
		haves[0] = rev(repo, have);
	enum bole_status rc = packworld_fetch_with(&repo->world, &options, wants, 1, haves,
	                                           have != NULL ? 1 : 0, &pack);

	cr_assert_eq(rc, BOLE_OK, "%s", bole_status_text(rc));
	spit("out.pack", pack.ptr, pack.len);
	cr_assert_eq(
	        run("cd %s/dst && git index-pack --strict --stdin %s < ../out.pack >../log 2>&1 "
	            "|| { cat ../log; exit 1; }; "
	            "git update-ref refs/x/new $(git -C ../src rev-parse '%s') && "
	            "git fsck --full --strict >../log 2>&1 || { cat ../log; exit 1; }; "
	            "git rev-list --objects refs/x/new | cut -d' ' -f1 | sort > ../a && "
	            "git -C ../src rev-list --objects '%s' | cut -d' ' -f1 | sort > ../b && "
	            "cmp ../a ../b",
	            top, options.thin ? "--fix-thin" : "", want, want),
	        0, "want %s have %s", want, have ? have : "-");
	/* As few objects as git would send. */
	struct maker_bytes count = {0};

	cr_assert_eq(run("cd %s && git -C src rev-list --objects-edge '%s' %s%s | "
	                 "{ grep -vc ^- > count || true; }",
	                 top, want, have ? "^" : "", have ? have : ""),
	             0);
	slurp("count", &count);
	maker_append(&count, "", 1);
	if (!options.include_tags && !repo->skewed)
		cr_assert_leq(bole_get_be32(pack.ptr + 8),
		              (uint32_t)strtoul((const char *)count.ptr, NULL, 10),
		              "want %s have %s", want, have ? have : "-");
	maker_release(&count);
	maker_release(&pack);
}

Test(emit, clones_and_fetches_that_git_accepts)
{
	static const char *const haves[] = {NULL,  "main~1", "main~3", "main~40",    "side~4",
	                                    "t20", "t40^{}", "main",   "main^{tree}"};
	struct repo repo;

	for (unsigned round = 0; round < 5; round++) {
		uint8_t algo = round == 3 ? BOLE_HASH_SHA256 : test_algo();

		repo.skewed = round == 4;
		open_repo(&repo, algo, 120, round % 2 == 0 ? 1 : 4, round < 2 ? 1000 : 1 << 20);
		for (size_t i = 0; i < sizeof(haves) / sizeof(*haves); i++) {
			struct packworld_fetch_options options = {.thin = i % 2 == 0,
			                                          .ofs_delta = i % 3 != 0,
			                                          .include_tags = i == 2};

			/* All of them once; later rounds take turns. */
			if (i == 8 || (round > 0 && i % 3 != round % 3))
				continue;
			fetch(&repo, "main", haves[i], options);
			fetch(&repo, i % 2 == 0 ? "side" : "t100", haves[i], options);
		}
		fetch(&repo, "again", NULL, (struct packworld_fetch_options){0});
		fetch(&repo, "main^{tree}", NULL, (struct packworld_fetch_options){0});
		close_repo(&repo);
	}
}

/* Goal: what is asked for is kept to. Method: read the heads of what was sent. */
Test(emit, sends_no_offset_deltas_to_who_does_not_know_them)
{
	for (int ofs = 0; ofs < 2; ofs++) {
		struct packworld_fetch_options options = {.ofs_delta = ofs == 1};
		struct maker_bytes pack = {0};
		struct packworld world;
		struct packmaker maker;
		size_t seen[8] = {0};
		uint8_t out[4096];

		packworld_open(&world, test_algo(), 1);
		world.store->info.extent_bytes_min = 1000;
		packmaker_init(&maker, test_algo());
		struct bole_oid head = packmaker_history(&maker, 50, 4);

		packmaker_finish(&maker);
		cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL),
		             BOLE_OK);
		cr_assert_eq(packworld_fetch_with(&world, &options, &head, 1, NULL, 0, &pack),
		             BOLE_OK);
		struct bole_inflater *inflater;
		size_t at = 12, used;

		cr_assert_eq(bole_inflater_open(&world.platform.alloc, &inflater), BOLE_OK);
		while (at < pack.len - bole_hash_bytes(test_algo())) {
			struct bole_entry_head entry;
			struct bole_bytes rest = bole_bytes_of(pack.ptr + at, pack.len - at);

			cr_assert_eq(bole_entry_head_parse(rest, test_algo(), &entry), BOLE_OK);
			rest.ptr += entry.head_bytes;
			rest.len -= entry.head_bytes;
			cr_assert_eq(bole_inflate_whole(inflater, rest, out,
			                                (size_t)entry.inflated_bytes, &used),
			             BOLE_OK);
			at += entry.head_bytes + used;
			seen[entry.type]++;
		}
		cr_assert_eq(seen[6] > 0, ofs == 1);
		cr_assert_gt(seen[6] + seen[7], 40);
		bole_inflater_close(inflater);
		maker_release(&pack);
		packmaker_release(&maker);
		packworld_close(&world);
	}
}

/* Goal: a domain's secrets stay in it: a delta on an object that the receiver may not see is sent
 * whole. Method: a blob stored as a delta on one that no wanted commit reaches. */
Test(emit, does_not_lean_on_objects_that_are_not_sent)
{
	enum { LEN = 400 };
	struct maker_bytes delta = {0}, tree = {0}, text = {0}, pack = {0};
	struct bole_oid secret, shown, root, commit;
	struct packworld world, other;
	struct packmaker maker;
	uint8_t blob[LEN];
	uint64_t seed = 3;

	test_random_bytes(&seed, blob, LEN);
	packworld_open(&world, test_algo(), 1);
	packworld_open(&other, test_algo(), 2);
	packmaker_init(&maker, test_algo());
	uint64_t at = packmaker_object(&maker, 3, blob, LEN, &secret);

	delta_begin(&delta, LEN, LEN);
	delta_insert(&delta, "new", 3);
	delta_copy(&delta, 3, LEN - 3);
	packmaker_ofs(&maker, at, &delta);
	memcpy(blob, "new", 3);
	cr_assert_eq(bole_object_id(test_algo(), 3, bole_bytes_of(blob, LEN), false, &shown),
	             BOLE_OK);
	tree_entry(&tree, "100644", "a", &shown);
	packmaker_object(&maker, 2, tree.ptr, tree.len, &root);
	commit_text(&text, &root, NULL, 1, "m");
	packmaker_object(&maker, 1, text.ptr, text.len, &commit);
	packmaker_finish(&maker);
	cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL), BOLE_OK);
	cr_assert_eq(packworld_fetch(&world, &commit, 1, NULL, 0, &pack), BOLE_OK);
	cr_assert_eq(bole_get_be32(pack.ptr + 8), 3);
	cr_assert_eq(packworld_push(&other, pack.ptr, pack.len, NULL, NULL), BOLE_OK, "%s",
	             other.report.error);
	cr_assert_eq(packworld_verify(&other), 3);
	/* An id of nowhere is not found, and does not end in a pack. */
	memset(secret.bytes, 7, 20);
	pack.len = 0;
	cr_assert_eq(packworld_fetch(&world, &secret, 1, NULL, 0, &pack), BOLE_E_NOT_FOUND);
	cr_assert_eq(pack.len, 0);
	maker_release(&delta);
	maker_release(&tree);
	maker_release(&text);
	maker_release(&pack);
	packmaker_release(&maker);
	packworld_close(&world);
	packworld_close(&other);
}

Test(emit, survives_every_failed_allocation)
{
	struct packworld world;
	struct packmaker maker;
	struct maker_bytes pack = {0};
	bool done = false;

	packworld_open(&world, test_algo(), 1);
	packmaker_init(&maker, test_algo());
	struct bole_oid head = packmaker_history(&maker, 30, 4);

	packmaker_finish(&maker);
	cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL), BOLE_OK);
	for (uint64_t n = 1; !done; n++) {
		pack.len = 0;
		size_t blocks = world.platform.blocks;

		world.platform.fail_at = world.platform.grows + n;
		enum bole_status rc = packworld_fetch(&world, &head, 1, NULL, 0, &pack);

		cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY, "%d", (int)rc);
		done = world.platform.grows < world.platform.fail_at;
		world.platform.fail_at = 0;
		cr_assert_eq(world.platform.blocks, blocks);
		cr_assert_lt(n, 10000);
	}
	/* All but the blob that the first commit replaced. */
	cr_assert_eq(bole_get_be32(pack.ptr + 8), maker.count - 1);
	maker_release(&pack);
	packmaker_release(&maker);
	packworld_close(&world);
}

/* Goal: the stated memory. Method: 50,000 objects under a budget that counts. */
Test(emit, keeps_to_64_bytes_an_object_beside_its_buffers)
{
	struct packworld_fetch_options options = {.thin = true, .ofs_delta = true};
	struct maker_bytes pack = {0};
	struct bole_budget budget;
	struct packworld world;
	struct packmaker maker;

	packworld_open(&world, test_algo(), 1);
	packmaker_init(&maker, test_algo());
	struct bole_oid head = packmaker_history(&maker, 16700, 4);

	packmaker_finish(&maker);
	world.store->info.extent_bytes_min = 512 * 1024;
	cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL), BOLE_OK);
	bole_budget_init(&budget, &world.platform.alloc, SIZE_MAX);
	options.alloc = &budget.alloc;
	cr_assert_eq(packworld_fetch_with(&world, &options, &head, 1, NULL, 0, &pack), BOLE_OK);
	/* All but the blob that the first commit replaced. */
	cr_assert_eq(bole_get_be32(pack.ptr + 8), maker.count - 1);
	cr_assert_leq(budget.peak, (18u << 20) + 64u * maker.count, "%zu", (size_t)budget.peak);
	cr_assert_eq(budget.used, 0);
	maker_release(&pack);
	packmaker_release(&maker);
	packworld_close(&world);
}
