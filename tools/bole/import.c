/* SPDX-License-Identifier: ISC */
/* bole import: a Git folder becomes a repository of a store. */
#include "bole/import.h"

#include "cli.h"

static const char help[] =
        "usage: bole import STORE#REPO GITDIR [--all]\n\n"
        "Copies all branches and tags of the Git repository at GITDIR (bare, or a work\n"
        "tree; SHA-1 or SHA-256) into the new repository REPO of the store (default:\n"
        "main). Every object is verified. A repository of that name must not exist.\n\n"
        "  --all   every reference below refs/, not only branches and tags\n";

static void show(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	bole_cli_progress_show(ctx, phase, done, total);
}

static void print(const struct bole_cli *cli, const struct bole_cli_spec *spec,
                  const struct bole_import_report *report)
{
	if (cli->json)
		printf("{\"repo\":\"%s\",\"objects\":%llu,\"refs\":%llu,\"pack_bytes\":%llu}\n",
		       spec->repo, (unsigned long long)report->objects,
		       (unsigned long long)report->refs, (unsigned long long)report->pack_bytes);
	else
		printf("%s: %llu objects, %llu references, %llu bytes\n", spec->repo,
		       (unsigned long long)report->objects, (unsigned long long)report->refs,
		       (unsigned long long)report->pack_bytes);
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct bole_cli_progress progress;
	struct bole_import_report report;
	struct bole_cli_store store;
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	bool all = false;
	const struct bole_cli_option known[] = {{"--all", &all, NULL}};
	int code = bole_cli_args(argc, argv, help, known, 1, 2, 2, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, BOLE_CLI_WRITE, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	bole_cli_progress_init(&progress, cli->platform);
	struct bole_import_options options = {
	        .repo = spec.repo,
	        .all_refs = all,
	        .progress = show,
	        .progress_ctx = &progress,
	};
	enum bole_status rc = bole_import_git(cli->platform, cli->platform->alloc, store.store,
	                                      args.at[1], &options, &report);
	bole_cli_progress_end(&progress);
	if (rc != BOLE_OK) {
		char what[512];

		snprintf(what, sizeof what, "import of %s: %s", args.at[1], report.error);
		code = bole_cli_fail(what, rc);
	}
	int closed = bole_cli_store_close(&store);
	if (code == BOLE_EXIT_OK)
		code = closed;
	if (code == BOLE_EXIT_OK)
		print(cli, &spec, &report);
	return code;
}

const struct bole_command bole_command_import = {
        .name = "import",
        .summary = "import STORE#REPO GITDIR  copy a Git repository into a store",
        .run = run,
};
