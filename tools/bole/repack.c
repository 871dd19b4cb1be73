/* SPDX-License-Identifier: ISC */
/* bole repack: few large packs with good deltas instead of many small ones. */
#include "bole/repack.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
        "usage: bole repack STORE[#REPO] [--all] [--fresh] [--window N] [--depth N]\n\n"
        "Writes the packs that are small beside the others, and loose objects, as one pack, with\n"
        "deltas for what has none, verifies it, and lets it take their place (in all\n"
        "repositories unless one is named). What no reference reaches is removed on the way.\n\n"
        "  --all        every pack\n"
        "  --fresh      look for all deltas anew instead of keeping those that are there\n"
        "  --window N   compare each object with N others (10)\n"
        "  --depth N    longest chain of deltas (50)\n";

struct repack {
	struct bole_cli *cli;
	struct bole_cli_progress progress;
	struct bole_repack_options options;
	struct bole_repack_result sum;
	uint64_t repos;
};

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	bole_cli_progress_show(&((struct repack *)ctx)->progress, phase, done, total);
}

static int repack_one(struct repack *r, struct bole_store *store, const struct bole_repo *repo)
{
	struct bole_platform *platform = r->cli->platform;
	struct bole_repack_result result;

	enum bole_status rc =
	        bole_repack(platform, platform->alloc, store, repo->id, &r->options, &result);
	bole_cli_progress_end(&r->progress);
	if (rc == BOLE_END)
		return BOLE_EXIT_OK;
	if (rc != BOLE_OK) {
		char why[sizeof result.error + 32];

		snprintf(why, sizeof why, "%s (everything is as it was)", result.error);
		return bole_cli_fail_why(repo->name, why, rc);
	}
	r->repos++;
	r->sum.packs += result.packs;
	r->sum.records += result.records;
	r->sum.objects += result.objects;
	r->sum.kept += result.kept;
	r->sum.made += result.made;
	r->sum.compared += result.compared;
	r->sum.bytes_before += result.bytes_before;
	r->sum.bytes_after += result.bytes_after;
	r->sum.gc.store.extents_dropped += result.gc.store.extents_dropped;
	return BOLE_EXIT_OK;
}

static int repack_all(struct repack *r, struct bole_store *store, const struct bole_cli_spec *spec)
{
	struct bole_repo repo = {.name = ""};
	int code = BOLE_EXIT_OK;
	enum bole_status rc;

	if (spec->repo_given) {
		rc = bole_repo_find(store, spec->repo, &repo);
		return rc == BOLE_OK ? repack_one(r, store, &repo) : bole_cli_fail(spec->repo, rc);
	}
	while ((rc = bole_repo_next(store, repo.name, &repo)) == BOLE_OK) {
		int one = repack_one(r, store, &repo);

		code = code == BOLE_EXIT_OK ? one : code;
	}
	return rc == BOLE_END ? code : bole_cli_fail(spec->store, rc);
}

static int run_on(struct repack *r, struct bole_store *store, const struct bole_cli_spec *spec)
{
	int code = repack_all(r, store, spec);
	enum bole_status rc = bole_cli_maintain(r->cli, store, 1);
	if (rc != BOLE_OK)
		return code == BOLE_EXIT_OK ? bole_cli_fail(spec->store, rc) : code;
	const struct bole_cli_figure rows[] = {
	        {"repositories", r->repos},
	        {"packs", r->sum.packs},
	        {"records", r->sum.records},
	        {"objects", r->sum.objects},
	        {"deltas_kept", r->sum.kept},
	        {"deltas_made", r->sum.made},
	        {"pairs_compared", r->sum.compared},
	        {"bytes_before", r->sum.bytes_before},
	        {"bytes_after", r->sum.bytes_after},
	        {"extents_dropped", r->sum.gc.store.extents_dropped},
	};

	if (code == BOLE_EXIT_OK || r->repos > 0)
		bole_cli_figures(r->cli, rows, sizeof rows / sizeof rows[0]);
	return code;
}

static bool take_number(const char *text, unsigned most, unsigned *out)
{
	char *end;

	if (text == NULL)
		return true;
	unsigned long value = strtoul(text, &end, 10);
	*out = (unsigned)value;
	return *text >= '0' && *text <= '9' && *end == '\0' && value > 0 && value <= most;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct repack r = {.cli = cli};
	const char *window = NULL;
	const char *depth = NULL;
	const struct bole_cli_option options[] = {
	        {"--all", &r.options.all, NULL},
	        {"--fresh", &r.options.fresh, NULL},
	        {"--window", NULL, &window},
	        {"--depth", NULL, &depth},
	};
	struct bole_cli_store store;
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	int code = bole_cli_args(argc, argv, help, options, sizeof options / sizeof options[0], 1,
	                         1, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	if (!take_number(window, 1000, &r.options.window) ||
	    !take_number(depth, 250, &r.options.depth))
		return bole_cli_usage("repack", "--window takes 1 to 1000, --depth 1 to 250");
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, BOLE_CLI_WRITE, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	r.options.progress = on_progress;
	r.options.ctx = &r;
	bole_cli_progress_init(&r.progress, cli->platform);
	code = run_on(&r, store.store, &spec);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

const struct bole_command bole_command_repack = {
        .name = "repack",
        .summary = "repack STORE[#REPO] [--all]  few large packs with good deltas",
        .run = run,
};
