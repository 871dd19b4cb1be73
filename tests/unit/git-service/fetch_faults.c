/* SPDX-License-Identifier: ISC */
/* Goal: shallow and partial fetches, archives and plain files end well when memory runs out at any
 * point or the client leaves at any point. Method: the same request again with a little more
 * memory, or a little more patience, until it succeeds; the session's own check finds what leaks.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "support/git_fixture.h"

enum { COMMITS = 12 };

struct scene {
	struct git_fixture f;
	struct bole_oid tips[COMMITS];
	struct bole_buffer request;
	char object[80];
};

static void scene_open(struct scene *c)
{
	memset(c, 0, sizeof *c);
	git_fixture_open(&c->f, test_algo());
	git_history(&c->f, &c->f.repo, "refs/heads/main", COMMITS, c->tips);
	struct bole_oid tag = git_tag(&c->f, &c->f.repo, "v1", &c->tips[3], BOLE_OBJECT_COMMIT);
	git_set_ref(&c->f, &c->f.repo, "refs/tags/v1", &tag, NULL);
	bole_buffer_init(&c->request, &c->f.test.alloc, 1 << 20);
	const char *hex = hex_of(&c->tips[2]);
	snprintf(c->object, sizeof c->object, "objects/%.2s/%s", hex, hex + 2);
}

static void scene_close(struct scene *c)
{
	bole_buffer_release(&c->request);
	git_fixture_close(&c->f);
}

/* The requests; false beyond the last. */
static bool make(struct scene *c, int which, struct git_session *s)
{
	static const char *const lines[] = {"deepen 3", "deepen-since 1000", "deepen-not v1",
	                                    "filter tree:1", "filter blob:limit=4"};
	struct bole_buffer *r = &c->request;

	*s = (struct git_session){.fixture = &c->f, .version = 2, .stateless = true};
	r->len = 0;
	if (which < 5) {
		pkt_add(r, "command=fetch");
		pkt_special(r, "0001");
		pkt_add(r, "want-ref refs/heads/main");
		pkt_add(r, "shallow %s", hex_of(&c->tips[8]));
		pkt_add(r, "%s", lines[which]);
		pkt_add(r, "have %s", hex_of(&c->tips[9]));
		pkt_add(r, "done");
		pkt_special(r, "0000");
		return true;
	}
	switch (which) {
	case 5:
		pkt_add(r, "command=object-info");
		pkt_special(r, "0001");
		pkt_add(r, "size");
		pkt_add(r, "oid %s", hex_of(&c->tips[1]));
		pkt_special(r, "0000");
		return true;
	case 6:
		s->kind = UPLOAD_ARCHIVE;
		pkt_add(r, "argument --format=zip");
		pkt_add(r, "argument --prefix=a/");
		pkt_add(r, "argument main");
		pkt_special(r, "0000");
		return true;
	case 7:
		s->kind = ARCHIVE_GET;
		s->path = "v1";
		return true;
	case 8:
		s->kind = DUMB_GET;
		s->path = "info/refs";
		return true;
	case 9:
		s->kind = DUMB_GET;
		s->path = c->object;
		return true;
	default: return false;
	}
}

Test(fetch_faults, memory_that_runs_out_anywhere_is_a_refusal)
{
	struct git_session s;
	struct scene c;

	scene_open(&c);
	for (int which = 0; make(&c, which, &s); which++) {
		bool done = false;
		for (size_t memory = 500; !done && memory < 64 << 20; memory += memory / 9 + 97) {
			cr_assert(make(&c, which, &s));
			s.memory_max = memory;
			git_session_run(&s, bole_bytes_of(c.request.ptr, c.request.len));
			cr_assert(s.rc == BOLE_OK || s.rc == BOLE_E_NO_MEMORY, "request %d: %d",
			          which, (int)s.rc);
			cr_assert_leq(s.memory_peak, memory);
			done = s.rc == BOLE_OK;
			git_session_end(&s);
		}
		cr_assert(done, "request %d never succeeds", which);
	}
	scene_close(&c);
}

Test(fetch_faults, a_client_that_leaves_ends_the_work)
{
	struct git_session s;
	struct scene c;

	scene_open(&c);
	for (int which = 0; make(&c, which, &s); which++) {
		bool done = false;
		for (size_t calls = 1; !done && calls < 10000; calls++) {
			cr_assert(make(&c, which, &s));
			s.cancel_after = calls;
			git_session_run(&s, bole_bytes_of(c.request.ptr, c.request.len));
			cr_assert(s.rc == BOLE_OK || s.rc == BOLE_E_CLOSED, "request %d: %d", which,
			          (int)s.rc);
			done = s.rc == BOLE_OK;
			git_session_end(&s);
		}
		cr_assert(done, "request %d never succeeds", which);
	}
	scene_close(&c);
}
