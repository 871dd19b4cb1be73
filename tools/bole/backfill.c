/* SPDX-License-Identifier: ISC */
/* bole backfill, and reading what a partial repository lacks at the moment it is needed. */
#include "backfill.h"

#include <inttypes.h>

static const char help[] =
        "usage: bole backfill STORE#REPO [URL]\n\n"
        "Fetches what a partial clone lacks from the server that it was cloned from, or\n"
        "from URL; after it the repository is whole. What came stays when the rest fails:\n"
        "the next backfill goes on there.\n\n"
        "  --lenient            allow old mistakes in objects\n" BOLE_CLI_CLIENT_HELP;

static int no_origin(const struct bole_cli_spec *spec, const struct bole_client_origin *origin)
{
	if (!origin->partial)
		return BOLE_EXIT_OK;
	bole_cli_say("it is not known where %s was cloned from: bole backfill %s#%s URL",
	             spec->repo, spec->store, spec->repo);
	return BOLE_EXIT_FAILED;
}

/* url NULL: the origin's. The store stays open. */
static int backfill(struct bole_cli *cli, struct bole_cli_store *store,
                    const struct bole_cli_spec *spec,
                    const struct bole_cli_client_settings *settings, const char *url,
                    struct bole_client_backfill *job)
{
	struct bole_client_origin origin;
	struct bole_cli_client c = {.client = NULL};

	job->repo = spec->repo;
	enum bole_status rc =
	        bole_client_origin(store->store, cli->platform->alloc, spec->repo, &origin);
	if (rc != BOLE_OK)
		return bole_cli_fail(spec->repo, rc);
	if (!origin.partial || (url == NULL && origin.url[0] == '\0'))
		return no_origin(spec, &origin);
	int code = bole_cli_client_open(cli, url == NULL ? origin.url : url, settings, false, &c);
	if (code == BOLE_EXIT_OK) {
		rc = bole_client_backfill(c.client, store->store, job);
		if (rc != BOLE_OK)
			code = bole_cli_client_fail(&c, rc);
	}
	bole_cli_client_close(&c);
	return code;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct bole_cli_client_settings s = {.protocol = NULL};
	struct bole_client_backfill job = {.resume = true};
	struct bole_cli_store store = {.store = NULL};
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	const struct bole_cli_option known[] = {BOLE_CLI_CLIENT_OPTIONS(s),
	                                        {"--lenient", &job.lenient, NULL}};
	int code =
	        bole_cli_args(argc, argv, help, known, sizeof known / sizeof known[0], 1, 2, &args);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_spec_parse(args.at[0], &spec);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_store_open(cli, &spec, BOLE_CLI_WRITE, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	code = backfill(cli, &store, &spec, &s, args.count == 2 ? args.at[1] : NULL, &job);
	int closed = bole_cli_store_close(&store);
	code = code == BOLE_EXIT_OK ? closed : code;
	if (code != BOLE_EXIT_OK)
		return code;
	printf(cli->json ? "{\"objects\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"missing\":%" PRIu64
	                   "}\n"
	                 : "%" PRIu64 " objects, %" PRIu64 " bytes, %" PRIu64 " missing\n",
	       job.objects, job.pack_bytes, job.missing);
	return BOLE_EXIT_OK;
}

/* -- In passing -- */

/* Brings one object, through a store that is open for writing meanwhile. */
static int bring(struct bole_cli *cli, const struct bole_cli_spec *spec,
                 const struct bole_oid *missing)
{
	struct bole_cli_client_settings s = {.quiet = true};
	struct bole_client_backfill job = {.ids = missing, .id_count = 1};
	struct bole_cli_store store = {.store = NULL};

	int code = bole_cli_store_open(cli, spec, BOLE_CLI_WRITE, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	code = backfill(cli, &store, spec, &s, NULL, &job);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

/* *more: something is missing, and somebody may have it. */
static int look_once(struct bole_cli *cli, struct bole_cli_kv *kv, bole_cli_look *look, void *ctx,
                     bool *more, struct bole_oid *missing)
{
	struct bole_client_origin origin;
	struct bole_kv_view *view;

	*more = false;
	enum bole_status rc =
	        bole_client_origin(kv->store.store, cli->platform->alloc, kv->spec.repo, &origin);
	if (rc != BOLE_OK)
		return bole_cli_fail(kv->spec.repo, rc);
	if (!origin.partial || origin.url[0] == '\0')
		return BOLE_EXIT_OK;
	int code = bole_cli_kv_view(kv, &view);
	if (code != BOLE_EXIT_OK)
		return code;
	*more = look(view, ctx) == BOLE_E_PROMISED && bole_kv_view_missing(view, missing);
	bole_kv_view_close(view);
	return BOLE_EXIT_OK;
}

int bole_cli_kv_fill(struct bole_cli *cli, const char *text, struct bole_cli_kv *kv,
                     bole_cli_look *look, void *ctx)
{
	struct bole_oid missing;
	bool more = true;

	while (more) {
		int code = look_once(cli, kv, look, ctx, &more, &missing);
		if (code != BOLE_EXIT_OK || !more)
			return code;
		const struct bole_cli_spec spec = kv->spec;
		code = bole_cli_kv_close(kv, BOLE_EXIT_OK);
		if (code == BOLE_EXIT_OK)
			code = bring(cli, &spec, &missing);
		if (code == BOLE_EXIT_OK)
			code = bole_cli_kv_open(cli, text, BOLE_CLI_READ, kv);
		if (code != BOLE_EXIT_OK)
			return code;
	}
	return BOLE_EXIT_OK;
}

const struct bole_command bole_command_backfill = {
        .name = "backfill",
        .summary = "backfill STORE#REPO [URL]  fetch what a partial clone lacks",
        .run = run,
};
