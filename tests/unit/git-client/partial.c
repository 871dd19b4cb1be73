/* SPDX-License-Identifier: ISC */
/* Goal: wherever memory or power goes, and whoever else commits meanwhile, each link of a partial
 * repository leads to an object or to a promise. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "bole/block_sim.h"
#include "bole/client.h"
#include "bole/gc.h"
#include "bole/verify.h"
#include "flash/volume/flash_format.h"
#include "git/object/write.h"
#include "git/promise.h"
#include "support/client_script.h"
#include "support/power_cuts.h"
#include "support/suite_help.h"

static struct test_platform test;
static const char content[] = "hello\n";

static struct bole_oid blob_id(void)
{
	struct bole_oid oid;

	OK(bole_object_id(test_algo(), BOLE_OBJECT_BLOB, bole_bytes_of(content, sizeof content - 1),
	                  false, &oid));
	return oid;
}

/* A commit with a tree that links to a blob, which is promised; the commit is to follow. */
static enum bole_status prepare(struct bole_store *store, uint32_t repo, const char *message,
                                struct bole_tx **out, struct bole_oid *commit)
{
	struct maker_bytes text = {NULL, 0, 0}, entry = {NULL, 0, 0};
	const struct bole_origin origin = {
	        .there = true, .url = "git://x/y", .filter = "blob:none"};
	struct bole_object_writer *writer = NULL;
	struct bole_oid blob = blob_id(), tree;

	*out = NULL;
	tree_entry(&entry, "100644", "file", &blob);
	enum bole_status rc = bole_tx_begin(store, repo, out);
	if (rc == BOLE_OK)
		rc = bole_object_writer_open(*out, &test.alloc, 0, &writer);
	if (rc == BOLE_OK)
		rc = bole_object_write(writer, BOLE_OBJECT_TREE,
		                       bole_bytes_of(entry.ptr, entry.len), &tree);
	if (rc == BOLE_OK) {
		commit_text(&text, &tree, NULL, 1700000000, message);
		rc = bole_object_write(writer, BOLE_OBJECT_COMMIT,
		                       bole_bytes_of(text.ptr, text.len), commit);
	}
	if (rc == BOLE_OK)
		rc = bole_promise_stage(*out, &test.base, &test.alloc, BOLE_OBJECT_BLOB, &blob, 1);
	if (rc == BOLE_OK)
		rc = bole_origin_stage(&origin, &test.alloc, *out);
	bole_object_writer_close(writer);
	maker_release(&text);
	maker_release(&entry);
	if (rc != BOLE_OK) {
		bole_tx_abort(*out);
		*out = NULL;
	}
	return rc;
}

static enum bole_status publish(struct bole_tx *tx, const char *name, const struct bole_oid *commit)
{
	struct bole_ref_update update = {
	        .name = bole_bytes_z(name), .action = BOLE_REF_SET, .oid = *commit};
	size_t failed;

	return bole_tx_commit(tx, &update, 1, &failed);
}

static enum bole_status clone_part(struct bole_store *store, uint32_t repo)
{
	struct bole_oid commit;
	struct bole_tx *tx;
	enum bole_status rc = prepare(store, repo, "part", &tx, &commit);

	return rc == BOLE_OK ? publish(tx, "refs/heads/main", &commit) : rc;
}

/* The blob comes. */
static enum bole_status bring(struct bole_store *store, uint32_t repo)
{
	struct bole_object_writer *writer = NULL;
	struct bole_oid oid;
	struct bole_tx *tx;
	size_t failed;

	enum bole_status rc = bole_tx_begin(store, repo, &tx);
	if (rc != BOLE_OK)
		return rc;
	rc = bole_object_writer_open(tx, &test.alloc, 0, &writer);
	if (rc == BOLE_OK)
		rc = bole_object_write(writer, BOLE_OBJECT_BLOB,
		                       bole_bytes_of(content, sizeof content - 1), &oid);
	bole_object_writer_close(writer);
	if (rc == BOLE_OK)
		return bole_tx_commit(tx, NULL, 0, &failed);
	bole_tx_abort(tx);
	return rc;
}

static enum bole_status fill(struct bole_store *store, uint32_t repo)
{
	uint64_t left = 9;
	enum bole_status rc = bring(store, repo);

	if (rc == BOLE_OK)
		rc = bole_promises_tidy(&test.base, &test.alloc, store, repo, false, &left);
	cr_assert(rc != BOLE_OK || left == 0);
	return rc;
}

static struct bole_verify_result verified(struct bole_store *store, uint32_t repo, bool *partial)
{
	const struct bole_verify_report report = {.finding = NULL};
	struct bole_verify_result result;
	struct bole_snapshot *snapshot;

	OK(bole_snapshot_open(store, repo, &snapshot));
	OK(bole_verify(&test.base, snapshot, &test.alloc, &report, &result));
	OK(bole_promise_any(snapshot, partial));
	bole_snapshot_close(snapshot);
	cr_assert_eq(result.errors, 0);
	return result;
}

static void collect(struct bole_store *store, uint32_t repo)
{
	struct bole_gc_result result;

	OK(bole_gc(&test.base, &test.alloc, store, repo, NULL, &result));
}

Test(client_partial, a_promise_that_is_relied_on_outlives_one_who_tidies_up)
{
	struct bole_oid first, second;
	struct bole_store *store;
	struct bole_repo repo;
	struct bole_tx *tx;
	bool partial;

	test_platform_init(&test, 5);
	OK(bole_memory_store_open(&test.base, &test.alloc, &store));
	OK(bole_repo_create(store, "r", test_algo(), "refs/heads/main", &repo));
	OK(prepare(store, repo.id, "first", &tx, &first));
	OK(publish(tx, "refs/heads/main", &first));
	cr_assert_eq(verified(store, repo.id, &partial).promised, 1);
	OK(prepare(store, repo.id, "second", &tx, &second));
	OK(fill(store, repo.id));
	cr_assert_eq(verified(store, repo.id, &partial).blobs, 1);
	cr_assert(!partial);
	OK(publish(tx, "refs/heads/side", &second));
	(void)verified(store, repo.id, &partial);
	cr_assert(partial);
	/* The next one finds that nothing is missing. */
	OK(fill(store, repo.id));
	(void)verified(store, repo.id, &partial);
	cr_assert(!partial);
	collect(store, repo.id);
	cr_assert_eq(verified(store, repo.id, &partial).blobs, 1);
	OK(bole_store_close(store));
	test_platform_release(&test);
}

Test(client_partial, what_a_collection_took_is_still_promised_to_who_relied_on_it)
{
	struct bole_ref_update gone = {.name = bole_bytes_z("refs/heads/main"),
	                               .action = BOLE_REF_DELETE};
	struct bole_oid first, second;
	struct bole_store *store;
	struct bole_repo repo;
	struct bole_tx *tx, *other;
	size_t failed;
	bool partial;

	test_platform_init(&test, 5);
	OK(bole_memory_store_open(&test.base, &test.alloc, &store));
	OK(bole_repo_create(store, "r", test_algo(), "refs/heads/main", &repo));
	OK(prepare(store, repo.id, "first", &tx, &first));
	OK(publish(tx, "refs/heads/main", &first));
	OK(fill(store, repo.id));
	OK(bole_tx_begin(store, repo.id, &other));
	OK(bole_tx_commit(other, &gone, 1, &failed));
	collect(store, repo.id);
	OK(prepare(store, repo.id, "second", &tx, &second));
	OK(publish(tx, "refs/heads/side", &second));
	cr_assert_eq(verified(store, repo.id, &partial).promised, 1);
	collect(store, repo.id);
	cr_assert_eq(verified(store, repo.id, &partial).promised, 1);
	OK(bole_store_close(store));
	test_platform_release(&test);
}

Test(client_partial, an_origin_that_could_not_have_been_recorded_does_not_read)
{
	static const char *const urls[] = {"git://x/\033[2J", "git://x/\nurl = evil"};
	struct bole_snapshot *snapshot;
	struct bole_store *store;
	struct bole_repo repo;
	struct bole_tx *tx;
	size_t failed;

	test_platform_init(&test, 5);
	OK(bole_memory_store_open(&test.base, &test.alloc, &store));
	OK(bole_repo_create(store, "r", test_algo(), "refs/heads/main", &repo));
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		struct bole_origin origin = {.there = true};

		snprintf(origin.url, sizeof origin.url, "%s", urls[i]);
		OK(bole_tx_begin(store, repo.id, &tx));
		OK(bole_origin_stage(&origin, &test.alloc, tx));
		OK(bole_tx_commit(tx, NULL, 0, &failed));
		OK(bole_snapshot_open(store, repo.id, &snapshot));
		cr_assert_eq(bole_origin_load(snapshot, &test.alloc, &origin), BOLE_E_CORRUPT);
		cr_assert(!origin.there);
		bole_snapshot_close(snapshot);
	}
	OK(bole_store_close(store));
	test_platform_release(&test);
}

/* -- Power -- */

/* Each tree's blob is here or promised, also to who collects. */
static struct bole_verify_result sound(struct bole_store *store, uint32_t repo, uint64_t ro_compat,
                                       bool *partial)
{
	struct bole_verify_result is = verified(store, repo, partial);
	bool after;

	cr_assert((ro_compat & FLASH_RO_COMPAT_PARTIAL) != 0 || !*partial);
	cr_assert_eq(is.trees, is.commits);
	cr_assert_eq(is.promised + is.blobs, is.commits);
	collect(store, repo);
	cr_assert_eq(verified(store, repo, &after).promised, is.promised);
	return is;
}

static bool has_part(struct bole_store *store, uint32_t repo, uint64_t ro_compat)
{
	bool partial;
	struct bole_verify_result is = sound(store, repo, ro_compat, &partial);

	cr_assert_eq(partial, is.commits == 1);
	return is.refs > 1;
}

static bool is_whole(struct bole_store *store, uint32_t repo, uint64_t ro_compat)
{
	bool partial;
	struct bole_verify_result is = sound(store, repo, ro_compat, &partial);

	return is.blobs == 1 && !partial;
}

Test(client_partial, power_lost_at_any_operation_leaves_objects_with_their_promises_or_neither)
{
	struct power_cuts part = {.test = &test, .change = clone_part, .happened = has_part};
	struct power_cuts rest = {
	        .test = &test, .before = clone_part, .change = fill, .happened = is_whole};

	power_cuts_run(&part, "virtio");
	power_cuts_run(&part, "nor64k");
	power_cuts_run(&rest, "virtio");
	cr_assert(part.after > 0 && part.after < part.cuts);
	cr_assert(rest.after > 0 && rest.after < rest.cuts);
}

/* -- Memory -- */

Test(client_partial, without_memory_nothing_half_is_recorded)
{
	unsigned refused = 0;

	for (uint64_t n = 1;; n++) {
		struct bole_store *store;
		struct bole_repo repo;
		bool partial;

		test_platform_init(&test, 5);
		test.quiet = true;
		OK(bole_memory_store_open(&test.base, &test.alloc, &store));
		OK(bole_repo_create(store, "r", test_algo(), "refs/heads/main", &repo));
		test.fail_at = test.grows + n;
		enum bole_status rc = clone_part(store, repo.id);
		if (rc == BOLE_OK)
			rc = fill(store, repo.id);
		test.fail_at = 0;
		struct bole_verify_result is = verified(store, repo.id, &partial);
		cr_assert_eq(is.promised + is.blobs, is.commits);
		OK(bole_store_close(store));
		test_platform_release(&test);
		if (rc == BOLE_OK)
			break;
		cr_assert_eq(rc, BOLE_E_NO_MEMORY);
		refused++;
	}
	cr_assert(refused > 10);
}

/* -- Servers -- */

/* A pack with what is promised, and a commit whose parent the server says it has not. */
static void cut_pack(struct maker_bytes *out, struct bole_oid *commit)
{
	struct maker_bytes text = {NULL, 0, 0};
	struct bole_oid parent = {.algo = test_algo()}, tree;
	struct packmaker maker;

	memset(parent.bytes, 0x22, bole_hash_bytes(test_algo()));
	packmaker_init(&maker, test_algo());
	packmaker_object(&maker, BOLE_OBJECT_BLOB, content, sizeof content - 1, NULL);
	packmaker_object(&maker, BOLE_OBJECT_TREE, "", 0, &tree);
	commit_text(&text, &tree, &parent, 1700000000, "cut");
	packmaker_object(&maker, BOLE_OBJECT_COMMIT, text.ptr, text.len, commit);
	packmaker_finish(&maker);
	*out = maker.out;
	maker_release(&text);
}

static enum bole_status backfill(struct script *c, bool lenient)
{
	struct bole_client_backfill job = {
	        .repo = "r", .lenient = lenient, .memory_bytes_max = 16 << 20};
	struct bole_client *client;

	OK(bole_client_open(&c->platform, c->platform.alloc, "git://x/y", &c->options, c->error,
	                    sizeof c->error, &client));
	enum bole_status rc = bole_client_backfill(client, c->store, &job);
	snprintf(c->error, sizeof c->error, "%s", bole_client_error(client));
	bole_client_close(client);
	return rc;
}

/* A server that has all of it; end: where it says that history ends, or NULL. */
static void answer_fill(struct maker_bytes *out, const struct maker_bytes *pack,
                        const struct bole_oid *end)
{
	say(out, "version 2\n");
	say(out, "fetch=shallow filter\n");
	say(out, "object-format=%s\n", bole_hash_name(test_algo()));
	say_flush(out);
	if (end != NULL) {
		say(out, "shallow-info\n");
		say(out, "shallow %s\n", hex(end));
		say_delim(out);
	}
	say(out, "packfile\n");
	say_band(out, 1, pack->ptr, pack->len);
	say_flush(out);
}

Test(client_partial, what_fills_a_repository_brings_no_ends_of_history)
{
	struct maker_bytes pack, answer = {NULL, 0, 0};
	struct bole_snapshot *snapshot;
	struct bole_oid commit;
	struct bole_entry entry;
	struct bole_repo repo;
	struct script c;
	bool partial;

	script_open(&c, test_algo());
	test_platform_init(&test, 5);
	OK(bole_repo_create(c.store, "r", test_algo(), "refs/heads/main", &repo));
	OK(clone_part(c.store, repo.id));
	cut_pack(&pack, &commit);
	answer_fill(&answer, &pack, &commit);
	c.answers[0] = &answer;
	c.answer_count = 1;
	cr_assert_eq(backfill(&c, false), BOLE_E_INVALID);
	cr_assert(strstr(c.error, "ends"), "%s", c.error);
	(void)verified(c.store, repo.id, &partial);
	cr_assert(partial);
	OK(bole_snapshot_open(c.store, repo.id, &snapshot));
	cr_assert_eq(bole_odb_find(snapshot, &commit, &entry), BOLE_E_NOT_FOUND);
	bole_snapshot_close(snapshot);
	maker_release(&pack);
	maker_release(&answer);
	script_close(&c);
	test_platform_release(&test);
}

/* Of a clone that was cut off only a blob is missing. */
static void cut_off(struct script *c, struct bole_oid *commit)
{
	const struct bole_origin origin = {.there = true, .url = "git://x/y"};
	struct bole_repo repo;
	struct bole_tx *tx;

	OK(bole_repo_create(c->store, "r", test_algo(), "refs/heads/main", &repo));
	OK(prepare(c->store, repo.id, "part", &tx, commit));
	OK(bole_origin_stage(&origin, &test.alloc, tx));
	OK(publish(tx, "refs/heads/main", commit));
}

Test(client_partial, the_limit_of_a_fetch_is_one_of_what_completes_it)
{
	struct maker_bytes answers[2] = {{NULL, 0, 0}};
	struct bole_client *client;
	struct packmaker maker;
	struct offer offer;
	struct script c;

	script_open(&c, test_algo());
	test_platform_init(&test, 5);
	cut_off(&c, &offer.commit);
	packmaker_init(&maker, test_algo());
	packmaker_object(&maker, BOLE_OBJECT_BLOB, content, sizeof content - 1, NULL);
	packmaker_finish(&maker);
	offer_list(&offer, &answers[0]);
	answer_fill(&answers[1], &maker.out, NULL);
	for (int limited = 1; limited >= 0; limited--) {
		struct bole_client_fetch job = {.repo = "r",
		                                .mode = BOLE_FETCH_UPDATE,
		                                .memory_bytes_max = 16 << 20,
		                                .pack_bytes_max = limited ? 20 : 0};

		c.answers[0] = &answers[0];
		c.answers[1] = &answers[1];
		c.answer_count = 2;
		c.connections = c.told = 0;
		OK(bole_client_open(&c.platform, c.platform.alloc, "git://x/y", &c.options, c.error,
		                    sizeof c.error, &client));
		cr_assert_eq(bole_client_fetch(client, c.store, &job),
		             limited ? BOLE_E_LIMIT : BOLE_OK, "%s", bole_client_error(client));
		cr_assert(limited || job.objects == 1);
		bole_client_close(client);
	}
	maker_release(&answers[0]);
	maker_release(&answers[1]);
	packmaker_release(&maker);
	script_close(&c);
	test_platform_release(&test);
}

/* A clone without blobs, of a tree with one that is named .gitmodules; the blob comes later. */
static void modules_answers(const char *modules, struct maker_bytes answers[2])
{
	struct maker_bytes tree = {NULL, 0, 0}, text = {NULL, 0, 0};
	struct bole_oid blob, tree_id, commit;
	struct packmaker first, later;

	packmaker_init(&first, test_algo());
	packmaker_init(&later, test_algo());
	packmaker_object(&later, BOLE_OBJECT_BLOB, modules, strlen(modules), &blob);
	tree_entry(&tree, "100644", ".gitmodules", &blob);
	packmaker_object(&first, BOLE_OBJECT_TREE, tree.ptr, tree.len, &tree_id);
	commit_text(&text, &tree_id, NULL, 1700000000, "first");
	packmaker_object(&first, BOLE_OBJECT_COMMIT, text.ptr, text.len, &commit);
	packmaker_finish(&first);
	packmaker_finish(&later);
	answers[0].len = answers[1].len = 0;
	say(&answers[0], "version 2\n");
	say(&answers[0], "fetch=shallow filter\n");
	say(&answers[0], "object-format=%s\n", bole_hash_name(test_algo()));
	say_flush(&answers[0]);
	say(&answers[0], "%s refs/heads/main\n", hex(&commit));
	say_flush(&answers[0]);
	say(&answers[0], "packfile\n");
	say_band(&answers[0], 1, first.out.ptr, first.out.len);
	say_flush(&answers[0]);
	answer_fill(&answers[1], &later.out, NULL);
	packmaker_release(&first);
	packmaker_release(&later);
	maker_release(&tree);
	maker_release(&text);
}

static uint32_t to_be_judged(struct script *c, uint32_t repo)
{
	struct bole_snapshot *snapshot;
	struct bole_oid_map map;

	OK(bole_snapshot_open(c->store, repo, &snapshot));
	bole_oid_map_init(&map, &test.base, &test.alloc, test_algo(), sizeof(uint32_t));
	OK(bole_promise_special(snapshot, &test.alloc, &map));
	uint32_t count = map.count;
	bole_oid_map_release(&map);
	bole_snapshot_close(snapshot);
	return count;
}

static void play(struct script *c, const struct maker_bytes *answer)
{
	c->answers[0] = answer;
	c->answer_count = 1;
	c->connections = c->told = 0;
}

Test(client_partial, what_comes_later_than_its_tree_is_judged_when_it_comes)
{
	static const struct {
		const char *modules;
		bool sound, lenient;
	} cases[] = {
	        {"[submodule \"a\"]\n\tpath = a\n\turl = git://h/a\n", true, false},
	        {"[submodule \"../a\"]\n\tpath = a\n\turl = git://h/a\n", false, false},
	        {"[submodule \"a\"]\n\tpath = a\n\turl = -evil\n", false, false},
	        {"[submodule \"a\"]\n\tpath = a\n\turl = -evil\n", true, true},
	};
	struct maker_bytes answers[2] = {{NULL, 0, 0}};
	struct bole_repo repo;
	struct script c;
	bool partial;

	script_open(&c, test_algo());
	test_platform_init(&test, 5);
	c.filter = "blob:none";
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		modules_answers(cases[i].modules, answers);
		script_rewind(&c);
		play(&c, &answers[0]);
		cr_assert_eq(script_clone(&c, "git://x/y"), BOLE_OK, "%s", c.error);
		OK(bole_repo_find(c.store, "r", &repo));
		cr_assert_eq(to_be_judged(&c, repo.id), 1);
		collect(c.store, repo.id);
		play(&c, &answers[1]);
		enum bole_status rc = backfill(&c, cases[i].lenient);
		cr_assert_eq(rc, cases[i].sound ? BOLE_OK : BOLE_E_INVALID, "%zu: %s", i, c.error);
		cr_assert(rc == BOLE_OK || strstr(c.error, "gitmodules") != NULL, "%s", c.error);
		cr_assert_eq(verified(c.store, repo.id, &partial).blobs, cases[i].sound);
		cr_assert_eq(partial, !cases[i].sound);
		cr_assert_eq(to_be_judged(&c, repo.id), !cases[i].sound);
	}
	maker_release(&answers[0]);
	maker_release(&answers[1]);
	script_close(&c);
	test_platform_release(&test);
}
