/* SPDX-License-Identifier: ISC */
/* bole gc: removes what no reference reaches, and gives its space back. */
#include "bole/gc.h"

#include <string.h>

#include "cli.h"

static const char help[] =
        "usage: bole gc STORE[#REPO] [--full]\n\n"
        "Removes every object that no reference of its repository reaches (all repositories\n"
        "unless one is named), then cleans what is worth it. Nothing is removed when a link is\n"
        "missing or damaged.\n\n"
        "  --full   clean every segment that holds garbage, however little\n";

struct gc {
	struct bole_cli *cli;
	struct bole_cli_progress progress;
	struct bole_gc_result sum;
	uint64_t repos;
};

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	bole_cli_progress_show(&((struct gc *)ctx)->progress, phase, done, total);
}

static int collect(struct gc *gc, struct bole_store *store, const struct bole_repo *repo)
{
	struct bole_platform *platform = gc->cli->platform;
	struct bole_gc_options options = {.progress = on_progress, .ctx = gc};
	struct bole_gc_result result;

	enum bole_status rc =
	        bole_gc(platform, platform->alloc, store, repo->id, &options, &result);
	bole_cli_progress_end(&gc->progress);
	if (rc != BOLE_OK) {
		char why[sizeof result.error + 32];

		snprintf(why, sizeof why, "%s (nothing was removed)", result.error);
		return bole_cli_fail_why(repo->name, why, rc);
	}
	gc->repos++;
	gc->sum.roots += result.roots;
	gc->sum.commits += result.commits;
	gc->sum.trees += result.trees;
	gc->sum.blobs += result.blobs;
	gc->sum.tags += result.tags;
	gc->sum.store.objects_live += result.store.objects_live;
	gc->sum.store.objects_dropped += result.store.objects_dropped;
	gc->sum.store.bytes_dropped += result.store.bytes_dropped;
	gc->sum.store.extents_dropped += result.store.extents_dropped;
	return BOLE_EXIT_OK;
}

/* One repository, or all of them: what fails in one does not keep the others from theirs. */
static int collect_all(struct gc *gc, struct bole_store *store, const struct bole_cli_spec *spec)
{
	struct bole_repo repo = {.name = ""};
	int code = BOLE_EXIT_OK;
	enum bole_status rc;

	if (spec->repo_given) {
		rc = bole_repo_find(store, spec->repo, &repo);
		return rc == BOLE_OK ? collect(gc, store, &repo) : bole_cli_fail(spec->repo, rc);
	}
	while ((rc = bole_repo_next(store, repo.name, &repo)) == BOLE_OK) {
		int one = collect(gc, store, &repo);

		code = code == BOLE_EXIT_OK ? one : code;
	}
	return rc == BOLE_END ? code : bole_cli_fail(spec->store, rc);
}

static void print(const struct gc *gc, const struct bole_store_stats *before,
                  const struct bole_store_stats *after)
{
	const struct bole_gc_result *sum = &gc->sum;
	const struct bole_cli_figure rows[] = {
	        {"repositories", gc->repos},
	        {"roots", sum->roots},
	        {"commits", sum->commits},
	        {"trees", sum->trees},
	        {"blobs", sum->blobs},
	        {"tags", sum->tags},
	        {"objects_live", sum->store.objects_live},
	        {"objects_dropped", sum->store.objects_dropped},
	        {"bytes_dropped", sum->store.bytes_dropped},
	        {"extents_dropped", sum->store.extents_dropped},
	        {"moved_bytes", after->moved_bytes - before->moved_bytes},
	        {"erased_bytes", after->erased_bytes - before->erased_bytes},
	        {"free_before", before->free_bytes},
	        {"free_after", after->free_bytes},
	};

	bole_cli_figures(gc->cli, rows, sizeof rows / sizeof rows[0]);
}

static int run_on(struct gc *gc, struct bole_store *store, const struct bole_cli_spec *spec,
                  bool full)
{
	struct bole_store_stats before;
	struct bole_store_stats after;

	enum bole_status rc = bole_store_stats(store, &before);
	if (rc != BOLE_OK)
		return bole_cli_fail(spec->store, rc);
	int code = collect_all(gc, store, spec);
	rc = bole_cli_maintain(gc->cli, store, full ? 2 : 1);
	if (rc == BOLE_OK)
		rc = bole_store_stats(store, &after);
	if (rc != BOLE_OK)
		return code == BOLE_EXIT_OK ? bole_cli_fail(spec->store, rc) : code;
	if (code == BOLE_EXIT_OK || gc->repos > 0)
		print(gc, &before, &after);
	return code;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct gc gc = {.cli = cli};
	bool full = false;
	const struct bole_cli_option options[] = {{"--full", &full, NULL}};
	struct bole_cli_store store;
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	int code = bole_cli_args(argc, argv, help, options, 1, 1, 1, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, BOLE_CLI_WRITE, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	bole_cli_progress_init(&gc.progress, cli->platform);
	code = run_on(&gc, store.store, &spec, full);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

const struct bole_command bole_command_gc = {
        .name = "gc",
        .summary = "gc STORE[#REPO] [--full]  remove what no reference reaches",
        .run = run,
};
