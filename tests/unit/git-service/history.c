/* SPDX-License-Identifier: ISC */
/* Goal: what negotiation believes about history is true. Method: random graphs with merges and wild
 * clocks; every answer is compared with a plain search, and every fetch must complete the client's
 * repository, which accepts only packs whose links all lead somewhere. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "git/negotiate.h"
#include "git/object/read.h"
#include "git/pack/ingest.h"
#include "git/service/service_impl.h"
#include "support/git_fixture.h"

enum { COMMITS = 40, PARENTS_MAX = 3 };

struct graph {
	struct git_fixture f;
	uint64_t seed;
	struct bole_oid ids[COMMITS];
	unsigned parents[COMMITS][PARENTS_MAX];
	unsigned parent_count[COMMITS];
	bool reach[COMMITS][COMMITS]; /* [a][b]: b is an ancestor of a, or a itself */
};

static unsigned below(struct graph *g, unsigned n)
{
	return (unsigned)(test_random(&g->seed) % n);
}

static void graph_open(struct graph *g, uint64_t seed)
{
	memset(g, 0, sizeof *g);
	g->seed = seed;
	git_fixture_open(&g->f, test_algo());
	for (unsigned i = 0; i < COMMITS; i++) {
		const struct bole_oid *parents[PARENTS_MAX + 1] = {NULL};
		char message[40];
		unsigned n = i == 0 ? 0 : below(g, PARENTS_MAX + 1);
		for (unsigned k = 0; k < n; k++) {
			unsigned parent = i - 1 - below(g, i < 8 ? i : 8);
			g->parents[i][k] = parent;
			parents[k] = &g->ids[parent];
			for (unsigned b = 0; b < COMMITS; b++)
				g->reach[i][b] = g->reach[i][b] || g->reach[parent][b];
		}
		g->parent_count[i] = n;
		g->reach[i][i] = true;
		/* Most clocks are right, some are hours off. */
		int64_t time = 1700000000 + (int64_t)i * 60;
		if (below(g, 4) == 0)
			time += (int64_t)below(g, 20000) - 10000;
		snprintf(message, sizeof message, "commit %u", i);
		g->ids[i] = git_commit(&g->f, &g->f.repo, message, time, parents);
	}
}

static void session_open(struct graph *g, struct bole_session *s, struct bole_service *svc)
{
	static struct bole_bytes_reader reader;
	static struct bole_input in;
	static uint8_t buf[16];

	bole_bytes_reader_init(&reader, bole_bytes_of("", 0));
	bole_input_init(&in, &reader.reader, buf, sizeof buf);
	*svc = (struct bole_service){.platform = &g->f.test.base,
	                             .alloc = &g->f.test.alloc,
	                             .store = g->f.store,
	                             .repo = g->f.repo,
	                             .policy = &g->f.policy,
	                             .in = &in};
	cr_assert_eq(bole_session_open(s, svc), BOLE_OK);
}

Test(history, ancestry_is_exact_whatever_the_clocks_say)
{
	uint64_t seed = test_seed(31);

	for (unsigned round = 0; round < 12; round++) {
		struct graph g;
		struct bole_session s;
		struct bole_service svc;
		struct bole_history h;
		graph_open(&g, seed + round);
		session_open(&g, &s, &svc);
		bole_history_init(&h, &s, s.snapshot);
		for (unsigned a = 0; a < COMMITS; a++)
			for (unsigned b = 0; b < COMMITS; b++) {
				bool answer = false;
				cr_assert_eq(
				        bole_history_ancestor(&h, &g.ids[b], &g.ids[a], &answer),
				        BOLE_OK);
				cr_assert_eq(answer, g.reach[a][b], "round %u: %u from %u", round,
				             b, a);
			}
		bole_history_release(&h);
		bole_session_close(&s);
		git_fixture_close(&g.f);
	}
}

Test(history, reachable_wants_are_exactly_the_ancestors)
{
	uint64_t seed = test_seed(32);

	for (unsigned round = 0; round < 12; round++) {
		struct graph g;
		struct bole_session s;
		struct bole_service svc;
		struct bole_history h;
		struct bole_id_list starts;
		struct bole_id_list targets;
		uint8_t found[COMMITS] = {0};
		bool want[COMMITS] = {false};
		graph_open(&g, seed + round);
		session_open(&g, &s, &svc);
		bole_history_init(&h, &s, s.snapshot);
		bole_id_list_init(&starts, svc.platform, svc.alloc, test_algo());
		bole_id_list_init(&targets, svc.platform, svc.alloc, test_algo());
		for (unsigned k = 0; k < 3; k++) {
			unsigned tip = below(&g, COMMITS);
			cr_assert_eq(bole_id_list_add(&starts, &g.ids[tip]), BOLE_OK);
			for (unsigned b = 0; b < COMMITS; b++)
				want[b] = want[b] || g.reach[tip][b];
		}
		for (unsigned b = 0; b < COMMITS; b++)
			cr_assert_eq(bole_id_list_add_once(&targets, &g.ids[b], SIZE_MAX), BOLE_OK);
		cr_assert_eq(bole_history_reach(&h, &starts, &targets, found, SIZE_MAX), BOLE_OK);
		for (unsigned b = 0; b < COMMITS; b++)
			cr_assert_eq(found[b] == 1, want[b], "round %u: %u", round, b);
		bole_id_list_release(&starts);
		bole_id_list_release(&targets);
		bole_history_release(&h);
		bole_session_close(&s);
		git_fixture_close(&g.f);
	}
}

/* With right clocks there is enough exactly when every tip reaches something common. */
Test(history, enough_is_never_said_too_early)
{
	uint64_t seed = test_seed(33);

	for (unsigned round = 0; round < 60; round++) {
		struct graph g;
		struct bole_session s;
		struct bole_service svc;
		struct bole_history h;
		graph_open(&g, seed + round / 10);
		g.seed = seed * 77 + round;
		session_open(&g, &s, &svc);
		bole_history_init(&h, &s, s.snapshot);
		unsigned tips[2] = {below(&g, COMMITS), below(&g, COMMITS)};
		struct bole_oid ids[2] = {g.ids[tips[0]], g.ids[tips[1]]};
		bool led[2] = {false, false};
		for (unsigned k = 0; k < 12; k++) {
			unsigned common = below(&g, COMMITS);
			bool fresh;
			bool enough = false;
			cr_assert_eq(bole_history_common(&h, &g.ids[common], &fresh), BOLE_OK);
			led[0] = led[0] || g.reach[tips[0]][common];
			led[1] = led[1] || g.reach[tips[1]][common];
			cr_assert_eq(bole_history_enough(&h, ids, 2, &enough), BOLE_OK);
			cr_assert(!enough || (led[0] && led[1]), "round %u", round);
		}
		bole_history_release(&h);
		bole_session_close(&s);
		git_fixture_close(&g.f);
	}
}

/* The client keeps its commits in the other repository of the store. */
static void client_take(struct graph *g, const struct git_session *session)
{
	struct bole_buffer pack;
	struct bole_bytes_reader reader;
	struct bole_input in;
	struct bole_ingest_report report;
	struct bole_tx *tx;
	uint8_t buf[512];
	size_t failed;

	bole_buffer_init(&pack, &g->f.test.alloc, 1 << 20);
	git_band_data(session, &pack);
	bole_bytes_reader_init(&reader, bole_bytes_of(pack.ptr, pack.len));
	bole_input_init(&in, &reader.reader, buf, sizeof buf);
	cr_assert_eq(bole_tx_begin(g->f.store, g->f.other.id, &tx), BOLE_OK);
	struct bole_ingest job = {.platform = &g->f.test.base, .alloc = &g->f.test.alloc, .tx = tx};
	enum bole_status rc = bole_pack_ingest(&job, &in, &report);
	cr_assert_eq(rc, BOLE_OK, "the client refuses the pack: %s", report.error);
	cr_assert_eq(bole_tx_commit(tx, NULL, 0, &failed), BOLE_OK);
	bole_buffer_release(&pack);
}

static void add_haves(struct graph *g, struct bole_buffer *request, const bool *owned)
{
	for (unsigned i = COMMITS; i-- > 0;) {
		if (owned[i] && below(g, 3) != 0)
			pkt_add(request, "have %s\n", hex_of(&g->ids[i]));
		if (below(g, 6) == 0)
			pkt_add(request, "have %08x%0*x\n", i, test_hex() - 8, i);
	}
}

static void fetch(struct graph *g, unsigned tip, const bool *owned)
{
	static const char *const modes[] = {"", " multi_ack", " multi_ack_detailed"};
	struct bole_buffer request;
	bool v2 = below(g, 2) == 0;

	bole_buffer_init(&request, &g->f.test.alloc, 1 << 20);
	if (v2) {
		pkt_add(&request, "command=fetch");
		pkt_special(&request, "0001");
		pkt_add(&request, "want %s", hex_of(&g->ids[tip]));
		pkt_add(&request, "%s", below(g, 2) == 0 ? "thin-pack" : "ofs-delta");
		add_haves(g, &request, owned);
		pkt_add(&request, "done");
		pkt_special(&request, "0000");
	} else {
		pkt_add(&request, "want %s side-band-64k%s%s\n", hex_of(&g->ids[tip]),
		        modes[below(g, 3)], below(g, 2) == 0 ? " thin-pack ofs-delta" : "");
		pkt_special(&request, "0000");
		add_haves(g, &request, owned);
		if (below(g, 2) == 0)
			pkt_special(&request, "0000");
		add_haves(g, &request, owned);
		pkt_add(&request, "done");
	}
	struct git_session s = {
	        .fixture = &g->f, .kind = UPLOAD_PACK, .version = v2 ? 2 : 0, .stateless = v2};
	git_session_run(&s, bole_bytes_of(request.ptr, request.len));
	cr_assert_eq(s.rc, BOLE_OK);
	client_take(g, &s);
	git_session_end(&s);
	bole_buffer_release(&request);
}

Test(history, random_fetches_always_complete_the_client)
{
	uint64_t seed = test_seed(34);

	for (unsigned round = 0; round < 25; round++) {
		struct graph g;
		bool owned[COMMITS] = {false};
		graph_open(&g, seed + round);
		for (unsigned k = 0; k < 5; k++) {
			unsigned tip = below(&g, COMMITS);
			git_set_ref(&g.f, &g.f.repo, "refs/heads/main", &g.ids[tip], NULL);
			fetch(&g, tip, owned);
			for (unsigned b = 0; b < COMMITS; b++)
				owned[b] = owned[b] || g.reach[tip][b];
			for (unsigned b = 0; b < COMMITS; b++)
				cr_assert_eq(git_has_object(&g.f, &g.f.other, &g.ids[b]), owned[b],
				             "round %u fetch %u: %u", round, k, b);
		}
		git_fixture_close(&g.f);
	}
}
