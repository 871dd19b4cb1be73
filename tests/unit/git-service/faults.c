/* SPDX-License-Identifier: ISC */
/* Goal: whatever the store answers, the client reads the truth about its references. Method: the
 * transaction calls of a memory store are replaced by ones that fail on demand, and real pushes run
 * into them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "support/git_fixture.h"

static const struct bole_tx_ops *real;
static struct bole_tx_ops faulty;
static enum bole_status fault;       /* what the faulty call answers */
static struct git_fixture *rival;    /* moves refs/heads/side before the next commit */
static struct bole_oid rival_target; /* to this */

static enum bole_status put_fails(struct bole_tx *tx, const struct bole_oid *oid, uint8_t type,
                                  const struct bole_bytes *pieces, size_t count)
{
	(void)tx, (void)oid, (void)type, (void)pieces, (void)count;
	return fault;
}

static enum bole_status append_fails(struct bole_tx *tx, struct bole_bytes bytes)
{
	(void)tx, (void)bytes;
	return fault;
}

static enum bole_status begin_fails(struct bole_store *store, uint32_t repo, struct bole_tx **out)
{
	(void)store, (void)repo, (void)out;
	return fault;
}

static enum bole_status commit_fails(struct bole_tx *tx, const struct bole_ref_update *updates,
                                     size_t count, size_t *failed)
{
	(void)updates, (void)count, (void)failed;
	real->abort(tx);
	return fault;
}

static enum bole_status commit_late(struct bole_tx *tx, const struct bole_ref_update *updates,
                                    size_t count, size_t *failed)
{
	struct git_fixture *f = rival;

	rival = NULL;
	faulty.commit = real->commit;
	if (f != NULL)
		git_set_ref(f, &f->repo, "refs/heads/side", &rival_target, NULL);
	return real->commit(tx, updates, count, failed);
}

struct scene {
	struct git_fixture f;
	struct bole_oid tips[4];
	struct bole_oid null;
	struct bole_oid blob;
	struct bole_buffer request;
	struct bole_buffer text;
};

static void scene_open(struct scene *c)
{
	memset(c, 0, sizeof *c);
	git_fixture_open(&c->f, test_algo());
	git_history(&c->f, &c->f.repo, "refs/heads/main", 4, c->tips);
	git_set_ref(&c->f, &c->f.repo, "refs/heads/side", &c->tips[1], NULL);
	c->blob = git_write(&c->f, &c->f.other, BOLE_OBJECT_BLOB, "hello", 5);
	c->null.algo = test_algo();
	bole_buffer_init(&c->request, &c->f.test.alloc, 1 << 20);
	bole_buffer_init(&c->text, &c->f.test.alloc, 1 << 20);
	real = c->f.store->tx;
	faulty = *real;
}

static void scene_close(struct scene *c)
{
	bole_buffer_release(&c->request);
	bole_buffer_release(&c->text);
	git_fixture_close(&c->f);
}

/* Pushes a new blob as refs/tags/blob and moves refs/heads/side, with the faults in place. */
static const char *push(struct scene *c, const char *caps)
{
	struct pack_part part = {.type = BOLE_OBJECT_BLOB, .data = "hello", .len = 5};
	struct git_session s = {.fixture = &c->f, .kind = RECEIVE_PACK, .stateless = true};

	pkt_command(&c->request, &c->null, &c->blob, "refs/tags/blob", caps);
	pkt_command(&c->request, &c->tips[1], &c->tips[2], "refs/heads/side", NULL);
	pkt_special(&c->request, "0000");
	pack_build(&c->f, &c->request, &part, 1);
	c->f.store->tx = &faulty;
	git_session_run(&s, bole_bytes_of(c->request.ptr, c->request.len));
	c->f.store->tx = real;
	c->request.len = c->text.len = 0;
	git_transcript(&s, &c->text);
	git_session_end(&s);
	faulty = *real;
	return (const char *)c->text.ptr;
}

static void nothing_moved(struct scene *c)
{
	struct bole_oid now;

	cr_assert_not(git_has_ref(&c->f, &c->f.repo, "refs/tags/blob", NULL));
	cr_assert_not(git_has_object(&c->f, &c->f.repo, &c->blob));
	cr_assert(git_has_ref(&c->f, &c->f.repo, "refs/heads/side", &now));
	cr_assert(bole_oid_equal(&now, &c->tips[1]));
}

Test(faults, a_full_disk_is_named_and_moves_nothing)
{
	struct scene c;

	scene_open(&c);
	fault = BOLE_E_NO_SPACE;
	faulty.put = put_fails;
	faulty.extent_append = append_fails;
	cr_assert_str_eq(push(&c, "report-status"),
	                 "unpack no space\nng refs/tags/blob no space on the volume\n"
	                 "ng refs/heads/side no space on the volume\n0000\n");
	nothing_moved(&c);
	faulty.commit = commit_fails;
	cr_assert_str_eq(push(&c, "report-status atomic"),
	                 "unpack ok\nng refs/tags/blob no space on the volume\n"
	                 "ng refs/heads/side no space on the volume\n0000\n");
	nothing_moved(&c);
	cr_assert_str_eq(push(&c, "report-status"),
	                 "unpack ok\nok refs/tags/blob\nok refs/heads/side\n0000\n");
	scene_close(&c);
}

Test(faults, a_failed_flush_is_not_called_success_nor_failure)
{
	struct scene c;

	scene_open(&c);
	fault = BOLE_E_IO;
	faulty.commit = commit_fails;
	cr_assert_str_eq(push(&c, "report-status"),
	                 "unpack ok\nng refs/tags/blob storage failure; outcome unknown\n"
	                 "ng refs/heads/side storage failure; outcome unknown\n0000\n");
	/* Who cannot read reports is told in the side-band. */
	faulty.commit = commit_fails;
	cr_assert_str_eq(push(&c, "side-band-64k"),
	                 "[2] error: refs/tags/blob: storage failure; outcome unknown\n"
	                 "[2] error: refs/heads/side: storage failure; outcome unknown\n0000\n");
	nothing_moved(&c);
	scene_close(&c);
}

Test(faults, a_volume_that_is_read_only_refuses_before_the_pack)
{
	struct scene c;

	scene_open(&c);
	fault = BOLE_E_READ_ONLY;
	faulty.begin = begin_fails;
	cr_assert_str_eq(push(&c, "report-status"),
	                 "unpack read-only\nng refs/tags/blob read-only\n"
	                 "ng refs/heads/side read-only\n0000\n");
	nothing_moved(&c);
	scene_close(&c);
}

Test(faults, a_rival_that_was_faster_wins_and_the_rest_is_committed)
{
	struct scene c;
	struct bole_oid now;

	scene_open(&c);
	for (int atomic = 1; atomic >= 0; atomic--) {
		rival = &c.f;
		rival_target = c.tips[3];
		faulty.commit = commit_late;
		cr_assert_str_eq(push(&c, atomic ? "report-status atomic" : "report-status"),
		                 atomic ? "unpack ok\nng refs/tags/blob atomic push failure\n"
		                          "ng refs/heads/side reference has changed; fetch first\n"
		                          "0000\n"
		                        : "unpack ok\nok refs/tags/blob\n"
		                          "ng refs/heads/side reference has changed; fetch first\n"
		                          "0000\n");
		cr_assert(git_has_ref(&c.f, &c.f.repo, "refs/heads/side", &now));
		cr_assert(bole_oid_equal(&now, &c.tips[3]));
		cr_assert_eq(git_has_ref(&c.f, &c.f.repo, "refs/tags/blob", NULL), atomic == 0);
		git_set_ref(&c.f, &c.f.repo, "refs/heads/side", &c.tips[1], NULL);
	}
	scene_close(&c);
}

/* -- A snapshot that is revoked in the middle of a fetch -- */

static const struct bole_odb_ops *real_odb;
static unsigned reads_left; /* until everything is gone */

static enum bole_status find_gone(struct bole_snapshot *snapshot, const struct bole_oid *oid,
                                  struct bole_entry *out)
{
	if (reads_left == 0)
		return BOLE_E_GONE;
	reads_left--;
	return real_odb->find(snapshot, oid, out);
}

static enum bole_status view_gone(struct bole_snapshot *snapshot, const struct bole_entry *entry,
                                  uint64_t pos, struct bole_bytes *out)
{
	if (reads_left == 0)
		return BOLE_E_GONE;
	reads_left--;
	return real_odb->view(snapshot, entry, pos, out);
}

Test(faults, a_fetch_whose_snapshot_is_revoked_says_try_again)
{
	static const char words[] = "the volume is full and needed the space of what this request "
	                            "reads: try again";
	struct bole_odb_ops gone;
	unsigned told = 0;
	struct scene c;

	scene_open(&c);
	real_odb = c.f.store->odb;
	gone = *real_odb;
	gone.find = find_gone;
	gone.view = view_gone;
	for (unsigned n = 0; n < 60; n++) {
		struct git_session s = {.fixture = &c.f, .kind = UPLOAD_PACK, .stateless = true};

		pkt_add(&c.request, "want %s side-band-64k ofs-delta\n", hex_of(&c.tips[3]));
		pkt_special(&c.request, "0000");
		pkt_add(&c.request, "done\n");
		reads_left = n;
		c.f.store->odb = &gone;
		git_session_run(&s, bole_bytes_of(c.request.ptr, c.request.len));
		c.f.store->odb = real_odb;
		c.request.len = c.text.len = 0;
		git_transcript(&s, &c.text);
		bool done = s.rc == BOLE_OK;
		git_session_end(&s);
		if (done)
			break;
		cr_assert_eq(s.rc, BOLE_E_GONE);
		cr_assert_not_null(strstr((const char *)c.text.ptr, words), "%u: %s", n,
		                   (const char *)c.text.ptr);
		told++;
	}
	cr_assert_gt(told, 5);
	cr_assert_lt(told, 60);
	scene_close(&c);
}

Test(faults, a_push_whose_view_is_revoked_names_the_full_volume)
{
	struct bole_odb_ops gone;
	unsigned told = 0;
	struct scene c;

	scene_open(&c);
	real_odb = c.f.store->odb;
	gone = *real_odb;
	gone.find = find_gone;
	gone.view = view_gone;
	for (unsigned n = 0; n < 200; n++) {
		reads_left = n;
		c.f.store->odb = &gone;
		const char *answer = push(&c, "report-status");

		c.f.store->odb = real_odb;
		if (strstr(answer, "ng ") == NULL)
			break;
		cr_assert_not_null(strstr(answer, "no space"), "%u: %s", n, answer);
		nothing_moved(&c);
		told++;
	}
	cr_assert_gt(told, 2);
	cr_assert_lt(told, 200);
	scene_close(&c);
}
