/* SPDX-License-Identifier: ISC */
/* Goal: whatever a server says of where history ends, and wherever memory or power goes, each
 * object of a repository leads to what it links to, but for parents of recorded ends. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "bole/gc.h"
#include "bole/verify.h"
#include "flash/volume/flash_format.h"
#include "git/boundary.h"
#include "git/object/write.h"
#include "support/client_script.h"
#include "support/power_cuts.h"
#include "support/suite_help.h"

/* Two commits: a server offers the younger one alone, then the older. */
struct cut_offer {
	struct bole_oid older, tree;
	struct offer younger; /* its pack lacks the older one */
	struct maker_bytes rest;
	struct maker_bytes none; /* a pack of nothing */
};

static void cut_offer_open(struct cut_offer *o)
{
	struct maker_bytes tree = {NULL, 0, 0}, text = {NULL, 0, 0}, first = {NULL, 0, 0};
	struct packmaker young, old, none;
	struct bole_oid blob;

	memset(o, 0, sizeof *o);
	packmaker_init(&young, test_algo());
	packmaker_init(&old, test_algo());
	packmaker_init(&none, test_algo());
	packmaker_object(&young, BOLE_OBJECT_BLOB, "hello\n", 6, &blob);
	tree_entry(&tree, "100644", "file", &blob);
	packmaker_object(&young, BOLE_OBJECT_TREE, tree.ptr, tree.len, &o->tree);
	commit_text(&first, &o->tree, NULL, 1700000000, "first");
	packmaker_object(&old, BOLE_OBJECT_COMMIT, first.ptr, first.len, &o->older);
	commit_text(&text, &o->tree, &o->older, 1700000060, "second");
	packmaker_object(&young, BOLE_OBJECT_COMMIT, text.ptr, text.len, &o->younger.commit);
	packmaker_finish(&young);
	packmaker_finish(&old);
	packmaker_finish(&none);
	o->younger.pack = young.out;
	o->rest = old.out;
	o->none = none.out;
	maker_release(&tree);
	maker_release(&text);
	maker_release(&first);
}

static void cut_offer_close(struct cut_offer *o)
{
	offer_close(&o->younger);
	maker_release(&o->rest);
	maker_release(&o->none);
}

/* A conversation of version 2 that says these words of ends ("$c" the younger commit, ...). */
static void answer(const struct cut_offer *o, const char *const *ends,
                   const struct maker_bytes *pack, struct maker_bytes *out)
{
	out->len = 0;
	offer_list(&o->younger, out);
	if (ends[0] != NULL)
		say(out, "shallow-info\n");
	for (size_t i = 0; ends[i] != NULL; i++) {
		const char *at = strchr(ends[i], '$');
		const struct bole_oid *oid = at == NULL     ? NULL
		                             : at[1] == 'c' ? &o->younger.commit
		                             : at[1] == 'p' ? &o->older
		                                            : &o->tree;
		say(out, "%.*s%s\n", at == NULL ? 100 : (int)(at - ends[i]), ends[i],
		    oid == NULL ? "" : hex(oid));
	}
	if (ends[0] != NULL)
		say_delim(out);
	say(out, "packfile\n");
	say_band(out, 1, pack->ptr, pack->len);
	say_flush(out);
}

static enum bole_status take(struct script *c, const struct maker_bytes *words,
                             enum bole_fetch_mode mode, const struct bole_client_deepen *deepen)
{
	struct bole_client_fetch job = {
	        .repo = "r", .mode = mode, .memory_bytes_max = 16 << 20, .deepen = *deepen};
	struct bole_client *client;

	c->answers[0] = words;
	c->answer_count = 1;
	c->connections = c->told = 0;
	c->asked.len = 0;
	c->error[0] = '\0';
	enum bole_status rc = bole_client_open(&c->platform, c->platform.alloc, "git://host/x",
	                                       &c->options, c->error, sizeof c->error, &client);
	if (rc != BOLE_OK)
		return rc;
	rc = bole_client_fetch(client, c->store, &job);
	snprintf(c->error, sizeof c->error, "%s", bole_client_error(client));
	bole_client_close(client);
	return rc;
}

static struct bole_verify_result verified(struct script *c)
{
	const struct bole_verify_report report = {.finding = NULL};
	struct bole_verify_result result;
	struct bole_snapshot *snapshot;
	struct bole_repo repo;

	OK(bole_repo_find(c->store, "r", &repo));
	OK(bole_snapshot_open(c->store, repo.id, &snapshot));
	OK(bole_verify(&c->test.base, snapshot, &c->test.alloc, &report, &result));
	bole_snapshot_close(snapshot);
	cr_assert_eq(result.errors, 0);
	return result;
}

static void collect(struct script *c)
{
	struct bole_gc_result result;
	struct bole_repo repo;

	OK(bole_repo_find(c->store, "r", &repo));
	OK(bole_gc(&c->test.base, &c->test.alloc, c->store, repo.id, NULL, &result));
}

static const struct bole_client_deepen plain, one = {.depth = 1}, all = {.unshallow = true},
                                              more = {.deepen = 1};
static const char *const nothing[] = {NULL};
static const char *const ends_here[] = {"shallow $c", NULL};

static struct script c;
static struct cut_offer o;
static struct maker_bytes words;

static void begin(void)
{
	script_open(&c, test_algo());
	cut_offer_open(&o);
}

static void end(void)
{
	maker_release(&words);
	cut_offer_close(&o);
	script_close(&c);
}

/* Its one commit is an end. */
static void clone_one(void)
{
	answer(&o, ends_here, &o.younger.pack, &words);
	cr_assert_eq(take(&c, &words, BOLE_FETCH_CLONE, &one), BOLE_OK, "%s", c.error);
}

Test(client_shallow, an_end_is_recorded_kept_and_given_up_with_its_parents)
{
	static const char *const goes_on[] = {"unshallow $c", NULL};
	begin();
	clone_one();
	cr_assert(memmem(c.asked.ptr, c.asked.len, "deepen 1", 8) != NULL);
	for (int i = 0; i < 2; i++, collect(&c)) {
		struct bole_verify_result result = verified(&c);
		cr_assert(result.ends == 1 && result.cut == 1 && result.commits == 1);
	}
	answer(&o, goes_on, &o.rest, &words);
	cr_assert_eq(take(&c, &words, BOLE_FETCH_UPDATE, &all), BOLE_OK, "%s", c.error);
	cr_assert(memmem(c.asked.ptr, c.asked.len, "shallow ", 8) != NULL);
	collect(&c);
	struct bole_verify_result result = verified(&c);
	cr_assert(result.ends == 0 && result.commits == 2);
	/* Shorter again, and the end that was collected is forgotten. */
	answer(&o, ends_here, &o.none, &words);
	cr_assert_eq(take(&c, &words, BOLE_FETCH_UPDATE, &one), BOLE_OK, "%s", c.error);
	result = verified(&c);
	cr_assert(result.ends == 1 && result.cut == 0);
	collect(&c);
	result = verified(&c);
	cr_assert(result.ends == 1 && result.cut == 1 && result.commits == 1);
	end();
}

Test(client_shallow, lies_about_ends_change_nothing)
{
	static const struct {
		const char *ends[4];
		bool whole; /* the parent comes */
		const struct bole_client_deepen *deepen;
		const char *words;
	} cases[] = {
	        {{"unshallow $c"}, false, &all, "lacks parents"},
	        {{"unshallow $p"}, true, &all, "no end of history here"},
	        {{"unshallow $c", "shallow $c"}, true, &more, "where it goes on"},
	        {{"shallow $c", "unshallow $c"}, true, &more, "where it goes on"},
	        {{"shallow $t"}, false, &more, "which is no commit"},
	        {{"shallow "}, false, &more, "where history ends"},
	        {{"deepen 3"}, false, &more, "where history ends"},
	};
	begin();
	/* Who asks for nothing shorter gets what is whole, or nothing. */
	answer(&o, nothing, &o.younger.pack, &words);
	cr_assert(take(&c, &words, BOLE_FETCH_CLONE, &plain) < 0);
	cr_assert(strstr(c.error, "missing commit") != NULL, "%s", c.error);
	cr_assert(script_clean(&c));
	clone_one();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		answer(&o, cases[i].ends, cases[i].whole ? &o.rest : &o.none, &words);
		cr_assert(take(&c, &words, BOLE_FETCH_UPDATE, cases[i].deepen) < 0, "case %zu", i);
		cr_assert(strstr(c.error, cases[i].words) != NULL, "case %zu: %s", i, c.error);
		struct bole_verify_result result = verified(&c);
		cr_assert(result.ends == 1 && result.cut == 1, "case %zu", i);
	}
	end();
}

Test(client_shallow, a_deepening_ends_no_history_that_is_here)
{
	static const char *const goes_on[] = {"unshallow $c", NULL};
	static const char *const both[] = {"shallow $c", NULL};
	const struct bole_client_deepen *const ways[] = {&more, &all};
	begin();
	clone_one();
	cr_assert_eq(take(&c, &words, BOLE_FETCH_UPDATE, ways[1]), BOLE_OK); /* stays an end */
	cr_assert_eq(verified(&c).ends, 1);
	answer(&o, goes_on, &o.rest, &words);
	cr_assert_eq(take(&c, &words, BOLE_FETCH_UPDATE, ways[0]), BOLE_OK, "%s", c.error);
	cr_assert_eq(verified(&c).ends, 0);
	answer(&o, both, &o.none, &words);
	cr_assert_eq(take(&c, &words, BOLE_FETCH_UPDATE, ways[0]), BOLE_OK, "%s", c.error);
	cr_assert_eq(verified(&c).ends, 0);
	end();
}

Test(client_shallow, a_cut_at_any_byte_and_memory_gone_at_any_call_leave_all_or_nothing)
{
	begin();
	answer(&o, ends_here, &o.younger.pack, &words);
	for (c.cut = 0; c.cut < words.len; c.cut++) {
		cr_assert(take(&c, &words, BOLE_FETCH_CLONE, &one) < 0, "cut at %zu", c.cut);
		cr_assert(script_clean(&c));
	}
	c.cut = SIZE_MAX;
	enum bole_status rc = BOLE_E_NO_MEMORY;
	unsigned failures = 0;
	for (uint64_t n = 1; rc != BOLE_OK; n++, failures++) {
		c.test.fail_at = c.test.grows + n;
		rc = take(&c, &words, BOLE_FETCH_CLONE, &one);
		c.test.fail_at = 0;
		if (rc != BOLE_OK)
			cr_assert(script_clean(&c), "call %llu", (unsigned long long)n);
	}
	cr_assert_gt(failures, 20);
	cr_assert_eq(verified(&c).ends, 1);
	end();
}

/* -- On a volume -- */

static struct test_platform test;

/* A commit whose parent is nowhere and the record of it, not committed yet. */
static enum bole_status prepare_end(struct bole_store *store, uint32_t repo, const char *message,
                                    struct bole_tx **out, struct bole_oid *commit)
{
	struct maker_bytes text = {NULL, 0, 0};
	struct bole_object_writer *writer = NULL;
	struct bole_boundary boundary;
	struct bole_oid tree, parent;
	struct bole_tx *tx = NULL;

	memset(&parent, 7, sizeof parent);
	parent.algo = test_algo();
	enum bole_status rc = bole_tx_begin(store, repo, &tx);
	if (rc != BOLE_OK)
		return rc;
	bole_boundary_init(&boundary, &test.base, &test.alloc, test_algo());
	rc = bole_boundary_load(&boundary, tx->view);
	if (rc == BOLE_OK)
		rc = bole_object_writer_open(tx, &test.alloc, 0, &writer);
	if (rc == BOLE_OK)
		rc = bole_object_write(writer, BOLE_OBJECT_TREE, bole_bytes_of("", 0), &tree);
	if (rc == BOLE_OK) {
		commit_text(&text, &tree, &parent, 1700000000, message);
		rc = bole_object_write(writer, BOLE_OBJECT_COMMIT,
		                       bole_bytes_of(text.ptr, text.len), commit);
	}
	if (rc == BOLE_OK)
		rc = bole_id_list_add_once(&boundary.ends, commit, SIZE_MAX);
	if (rc == BOLE_OK)
		rc = bole_boundary_stage(&boundary, tx);
	bole_object_writer_close(writer);
	bole_boundary_release(&boundary);
	maker_release(&text);
	if (rc != BOLE_OK)
		bole_tx_abort(tx);
	*out = tx;
	return rc;
}

static enum bole_status publish(struct bole_tx *tx, const char *name, const struct bole_oid *commit)
{
	struct bole_ref_update update = {
	        .name = bole_bytes_z(name), .action = BOLE_REF_SET, .oid = *commit};
	size_t failed;

	return bole_tx_commit(tx, &update, 1, &failed);
}

static enum bole_status publish_end(struct bole_store *store, uint32_t repo)
{
	struct bole_oid commit;
	struct bole_tx *tx;
	enum bole_status rc = prepare_end(store, repo, "end", &tx, &commit);

	return rc == BOLE_OK ? publish(tx, "refs/heads/main", &commit) : rc;
}

Test(client_shallow, of_two_changes_at_once_none_is_lost)
{
	const struct bole_verify_report report = {.finding = NULL};
	struct bole_verify_result result;
	struct bole_snapshot *snapshot;
	struct bole_oid commit[3];
	struct bole_tx *tx[3];
	struct bole_store *store;
	struct bole_repo repo;

	test_platform_init(&test, 5);
	OK(bole_memory_store_open(&test.base, &test.alloc, &store));
	OK(bole_repo_create(store, "r", test_algo(), "refs/heads/main", &repo));
	OK(prepare_end(store, repo.id, "zero", &tx[0], &commit[0]));
	OK(publish(tx[0], "refs/heads/zero", &commit[0]));
	OK(prepare_end(store, repo.id, "one", &tx[1], &commit[1]));
	OK(prepare_end(store, repo.id, "two", &tx[2], &commit[2]));
	OK(publish(tx[2], "refs/heads/two", &commit[2]));
	OK(publish(tx[1], "refs/heads/one", &commit[1]));
	OK(bole_snapshot_open(store, repo.id, &snapshot));
	OK(bole_verify(&test.base, snapshot, &test.alloc, &report, &result));
	cr_assert(result.errors == 0 && result.ends == 3 && result.cut == 3);
	bole_snapshot_close(snapshot);
	OK(bole_store_close(store));
	test_platform_release(&test);
}

/* Before or after, never between. */
static bool published(struct bole_store *store, uint32_t repo, uint64_t ro_compat)
{
	const struct bole_verify_report report = {.finding = NULL};
	struct bole_verify_result result;
	struct bole_snapshot *snapshot;

	OK(bole_snapshot_open(store, repo, &snapshot));
	OK(bole_verify(&test.base, snapshot, &test.alloc, &report, &result));
	bole_snapshot_close(snapshot);
	cr_assert_eq(result.errors, 0);
	cr_assert_eq(result.ends, result.commits);
	cr_assert_eq(result.refs > 1, result.commits == 1);
	cr_assert((ro_compat & FLASH_RO_COMPAT_BINDING) != 0 || result.ends == 0);
	return result.ends == 1;
}

Test(client_shallow, power_lost_at_any_operation_leaves_an_end_with_its_record_or_neither)
{
	struct power_cuts p = {.test = &test, .change = publish_end, .happened = published};

	power_cuts_run(&p, "virtio");
	power_cuts_run(&p, "nor64k");
	cr_assert(p.after > 0 && p.after < p.cuts);
}
