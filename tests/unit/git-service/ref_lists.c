/* SPDX-License-Identifier: ISC */
/* Listings that are kept. The oracle is the same session without a cache. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/devices.h"
#include "git/refs/cache.h"
#include "support/git_fixture.h"
#include "support/suite_help.h"

enum { NAMES = 1500, TARGETS = 12, RARE = 200, CACHE_BYTES = 8 << 20 };

struct scene {
	struct git_fixture f;
	struct bole_block *device;
	struct bole_ref_cache *lists;
	struct bole_oid target[TARGETS];
	struct bole_oid rare[RARE]; /* what one or two references name, now and then */
	uint64_t random;
	unsigned head; /* the name that HEAD points to */
	const char *hide[3];
	struct bole_buffer request;
	unsigned last[2]; /* of the rare ones, that were set or replaced last */
	unsigned refused;
	unsigned served;
};

static unsigned draw(struct scene *c, unsigned below)
{
	return (unsigned)(test_random(&c->random) % below);
}

static void open_scene(struct scene *c, bool flash, size_t cache_bytes)
{
	const struct bole_oid *none[] = {NULL};

	memset(c, 0, sizeof *c);
	c->random = test_seed(61);
	git_fixture_open(&c->f, test_algo());
	if (flash) {
		OK(bole_store_close(c->f.store));
		OK(bole_block_ram_open(&c->f.test.alloc, 32 << 20, 4096, &c->device));
		OK(bole_flash_format(c->device, &c->f.test.base, NULL));
		OK(bole_flash_open(c->device, &c->f.test.base, &c->f.test.alloc, NULL,
		                   &c->f.store));
		OK(bole_repo_create(c->f.store, "main", test_algo(), "refs/heads/main",
		                    &c->f.repo));
		OK(bole_repo_create(c->f.store, "other", test_algo(), "refs/heads/main",
		                    &c->f.other));
	}
	OK(bole_ref_cache_open(&c->f.test.base, &c->f.test.alloc, cache_bytes, &c->lists));
	for (int i = 0; i < TARGETS; i++) {
		char text[16];
		snprintf(text, sizeof text, "%d", i);
		c->target[i] = git_commit(&c->f, &c->f.repo, text, 1700000000 + i, none);
		if (i % 3 == 2)
			c->target[i] = git_tag(&c->f, &c->f.repo, text, &c->target[i - 1],
			                       BOLE_OBJECT_COMMIT);
	}
	for (int i = 0; i < RARE; i++) {
		char text[24];
		snprintf(text, sizeof text, "rare %d", i);
		c->rare[i] = git_commit(&c->f, &c->f.repo, text, 1700000000 + i, none);
		if (i % 8 == 7)
			c->rare[i] = git_tag(&c->f, &c->f.repo, text, &c->rare[i - 1],
			                     BOLE_OBJECT_COMMIT);
	}
	bole_buffer_init(&c->request, &c->f.test.alloc, 1 << 20);
}

static void close_scene(struct scene *c)
{
	bole_buffer_release(&c->request);
	bole_ref_cache_close(c->lists);
	if (c->device != NULL) {
		OK(bole_store_close(c->f.store));
		bole_block_close(c->device);
		OK(bole_memory_store_open(&c->f.test.base, &c->f.test.alloc, &c->f.store));
	}
	git_fixture_close(&c->f);
}

static void name_of(unsigned i, char name[80])
{
	static const char *const folders[] = {"heads/", "tags/", "heads/a/", "pull/",
	                                      "namespaces/n/refs/heads/"};

	snprintf(name, 80, "refs/%sr%04u", folders[i % 5], i / 5);
}

static void set(struct scene *c, struct bole_ref_update *updates, size_t count)
{
	struct bole_tx *tx;
	size_t failed;

	OK(bole_tx_begin(c->f.store, c->f.repo.id, &tx));
	OK(bole_tx_commit(tx, updates, count, &failed));
}

/* Some changes at once: near each other, all over, of everything, or of HEAD alone. */
static void change(struct scene *c)
{
	static struct bole_ref_update updates[NAMES];
	static char names[NAMES][80];
	unsigned kind = draw(c, 12);
	unsigned count = kind == 0 ? NAMES : kind < 4 ? 60 : 1 + draw(c, 3);
	unsigned at = draw(c, NAMES);
	bool deletes = draw(c, 3) == 0;

	if (kind == 11) {
		char target[80];
		c->head = draw(c, NAMES);
		name_of(c->head, target);
		updates[0] = (struct bole_ref_update){.name = bole_bytes_z("HEAD"),
		                                      .action = BOLE_REF_SYMBOLIC,
		                                      .target = bole_bytes_z(target)};
		set(c, updates, 1);
		return;
	}
	if (kind >= 9) {
		at = c->head;
		count = 1;
	}
	for (unsigned i = 0; i < count; i++, at = kind < 4 ? (at + 1) % NAMES : draw(c, NAMES)) {
		const struct bole_oid *oid =
		        draw(c, 8) == 0 ? &c->rare[draw(c, RARE)] : &c->target[draw(c, TARGETS)];
		name_of(at, names[i]);
		updates[i] = (struct bole_ref_update){
		        .name = bole_bytes_z(names[i]),
		        .action = deletes ? BOLE_REF_DELETE : BOLE_REF_SET,
		        .oid = *oid,
		};
	}
	set(c, updates, count);
}

static void choose_view(struct scene *c)
{
	struct bole_ref_view *view = &c->f.policy.fetch.refs;

	*view = (struct bole_ref_view){.hide = c->hide};
	c->hide[0] = "refs/pull";
	c->hide[1] = draw(c, 2) == 0 ? "!refs/pull/r0007" : "refs/tags";
	view->hide_count = draw(c, 3);
	if (draw(c, 4) == 0)
		view->space = "refs/namespaces/n/";
}

static void compare(struct scene *c, enum git_service_kind kind, int version, bool advertise)
{
	struct git_session plain = {.fixture = &c->f, .kind = kind, .version = version};
	struct bole_bytes request = bole_bytes_of(c->request.ptr, c->request.len);

	plain.stateless = true;
	plain.advertise = advertise;
	struct git_session kept = plain;
	kept.lists = c->lists;
	git_session_run(&plain, request);
	git_session_run(&kept, request);
	cr_assert_eq(plain.rc, kept.rc);
	cr_assert(plain.rc == BOLE_OK || (plain.rc == BOLE_E_DENIED && !advertise));
	c->refused += plain.rc == BOLE_E_DENIED;
	c->served += plain.rc == BOLE_OK;
	cr_assert_eq(plain.reply.len, kept.reply.len, "%zu and %zu bytes", plain.reply.len,
	             kept.reply.len);
	cr_assert(memcmp(plain.reply.ptr, kept.reply.ptr, plain.reply.len) == 0);
	git_session_end(&plain);
	git_session_end(&kept);
}

static void list(struct scene *c)
{
	static const char *const prefixes[] = {
	        "HEAD",          "refs/heads/", "refs/tags/", "refs/heads/r0", "refs/heads/a/r0100",
	        "refs/pull/r02", "refs/",       "zz",         "refs/heads/a"};

	c->request.len = 0;
	pkt_add(&c->request, "command=ls-refs\n");
	pkt_add(&c->request, "object-format=%s\n", bole_hash_name(test_algo()));
	pkt_special(&c->request, "0001");
	for (unsigned i = 0; i < 3; i++)
		if (draw(c, 2) == 0)
			pkt_add(&c->request, "%s\n",
			        i == 0   ? "peel"
			        : i == 1 ? "symrefs"
			                 : "unborn");
	for (unsigned n = draw(c, 4); n > 0; n--)
		pkt_add(&c->request, "ref-prefix %s\n",
		        prefixes[draw(c, sizeof prefixes / sizeof prefixes[0])]);
	pkt_special(&c->request, "0000");
	compare(c, UPLOAD_PACK, 2, false);
	c->request.len = 0;
}

/* Wants of what some reference names perhaps, and of what none ever will. */
static void fetch(struct scene *c, unsigned among, bool old)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	c->request.len = 0;
	if (!old) {
		pkt_add(&c->request, "command=fetch\n");
		pkt_add(&c->request, "object-format=%s\n", bole_hash_name(test_algo()));
		pkt_special(&c->request, "0001");
	}
	for (unsigned n = 1 + draw(c, 2); n > 0; n--) {
		struct bole_oid oid = c->rare[draw(c, 2) == 0 ? draw(c, among) : c->last[n - 1]];

		oid.bytes[0] ^= draw(c, 16) == 0;
		pkt_add(&c->request, "want %s%s\n", bole_oid_format(&oid, hex),
		        old ? " no-progress side-band-64k" : "");
	}
	if (old)
		pkt_special(&c->request, "0000");
	pkt_add(&c->request, "done\n");
	if (!old)
		pkt_special(&c->request, "0000");
	compare(c, UPLOAD_PACK, old ? 0 : 2, false);
	c->request.len = 0;
}

/* As the background does. */
static void warm(struct scene *c)
{
	struct bole_service svc = {.platform = &c->f.test.base,
	                           .alloc = &c->f.test.alloc,
	                           .store = c->f.store,
	                           .repo = c->f.repo,
	                           .lists = c->lists,
	                           .policy = &c->f.policy};

	OK(bole_ref_cache_warm(&svc, draw(c, 2) == 0));
}

static void random_work(bool flash, size_t cache_bytes)
{
	struct scene c;

	open_scene(&c, flash, cache_bytes);
	for (int round = 0; round < 150; round++) {
		if (draw(&c, 3) != 0)
			change(&c);
		choose_view(&c);
		if (draw(&c, 4) == 0)
			warm(&c);
		list(&c);
		fetch(&c, RARE, draw(&c, 3) == 0);
		if (draw(&c, 2) == 0)
			compare(&c, UPLOAD_PACK, (int)draw(&c, 2), true);
		else
			compare(&c, RECEIVE_PACK, (int)draw(&c, 2), true);
	}
	cr_assert_gt(c.refused, 20);
	cr_assert_gt(c.served, 300);
	close_scene(&c);
}

/* Goal: whatever changes, and whatever was shown before, a kept listing says what going through the
 * references says. Method: random changes, views, prefixes and versions. */
Test(ref_lists, a_kept_listing_says_what_the_references_say)
{
	random_work(true, CACHE_BYTES);
	random_work(false, CACHE_BYTES);
}

Test(ref_lists, a_cache_that_is_too_small_is_as_right)
{
	random_work(true, 256 << 10);
	random_work(true, 1 << 10);
}

/* Goal: what may be wanted is what some reference names now, though tips are kept from before.
 * Method: few changes at a time, in one view, of references to what hardly another one names. */
Test(ref_lists, wants_are_judged_by_what_references_name_now)
{
	enum { SOME = 40, FEW = 50 };
	unsigned value[SOME] = {0};
	struct scene c;

	open_scene(&c, true, CACHE_BYTES);
	for (unsigned i = 0; i < NAMES; i++) {
		char name[80];
		name_of(i, name);
		git_set_ref(&c.f, &c.f.repo, name, &c.target[i % TARGETS], NULL);
	}
	for (int round = 0; round < 250; round++) {
		unsigned at = draw(&c, SOME);
		char name[80];

		name_of(at * (NAMES / SOME), name);
		c.last[0] = value[at];
		c.last[1] = value[at] = draw(&c, FEW);
		git_set_ref(&c.f, &c.f.repo, name, &c.rare[value[at]], NULL);
		fetch(&c, FEW, draw(&c, 4) == 0);
	}
	cr_assert_gt(c.refused, 20);
	cr_assert_gt(c.served, 20);
	close_scene(&c);
}

/* What a snapshot's listing shares with the one before. */
static size_t shared(const struct bole_ref_listing *a, const struct bole_ref_listing *b)
{
	size_t same = 0;

	for (size_t i = 0; i < b->count; i++)
		for (size_t k = 0; k < a->count; k++)
			same += a->pieces[k] == b->pieces[i];
	return same;
}

static void make(struct scene *c, const struct bole_ref_listing *old, struct bole_ref_listing **out)
{
	const struct bole_ref_format format = {.style = BOLE_REF_STYLE_UPLOAD};
	struct bole_service svc = {
	        .platform = &c->f.test.base, .alloc = &c->f.test.alloc, .store = c->f.store};
	struct bole_session s = {.svc = &svc};

	OK(bole_snapshot_open(c->f.store, c->f.repo.id, &s.snapshot));
	OK(bole_ref_listing_make(&s, &format, &c->f.test.alloc, SIZE_MAX, old, out));
	bole_session_drop_reader(&s);
	bole_snapshot_close(s.snapshot);
}

Test(ref_lists, one_reference_more_makes_two_pieces_anew)
{
	struct bole_ref_listing *before;
	struct bole_ref_listing *after;
	struct scene c;

	open_scene(&c, true, CACHE_BYTES);
	for (unsigned i = 0; i < NAMES; i++) {
		char name[80];
		name_of(i, name);
		git_set_ref(&c.f, &c.f.repo, name, &c.target[i % TARGETS], NULL);
	}
	make(&c, NULL, &before);
	git_set_ref(&c.f, &c.f.repo, "refs/heads/r0100x", &c.target[0], NULL);
	make(&c, before, &after);
	cr_assert_geq(before->count, NAMES / BOLE_REF_PIECE_LINES);
	/* Its own, and that of HEAD, which leads somewhere else perhaps. */
	cr_assert_geq(shared(before, after) + 2, before->count);
	bole_ref_listing_release(before);
	bole_ref_listing_release(after);
	close_scene(&c);
}

/* Goal: memory that fails while a listing is made costs the listing, never the answer. */
Test(ref_lists, without_memory_the_references_are_gone_through)
{
	struct scene c;

	open_scene(&c, true, CACHE_BYTES);
	change(&c);
	for (unsigned i = 0; i < 400; i++)
		change(&c);
	for (uint64_t n = 1; n < 40; n++) {
		change(&c);
		c.f.test.fail_at = c.f.test.grows + n;
		struct git_session s = {.fixture = &c.f,
		                        .kind = UPLOAD_PACK,
		                        .advertise = true,
		                        .stateless = true,
		                        .lists = c.lists};
		git_session_run(&s, bole_bytes_of("", 0));
		c.f.test.fail_at = 0;
		cr_assert(s.rc == BOLE_OK || s.rc == BOLE_E_NO_MEMORY);
		git_session_end(&s);
		compare(&c, UPLOAD_PACK, 0, true);
	}
	close_scene(&c);
}
