/* SPDX-License-Identifier: ISC */
/* bole import: a Git folder, or a bundle, becomes a repository of a store. */
#include "bole/import.h"

#include <string.h>

#include "bundle.h"
#include "cli.h"

static const char help[] =
        "usage: bole import STORE#REPO GITDIR|BUNDLE [--all]\n\n"
        "Copies all branches and tags of the Git repository at GITDIR (bare, or a work\n"
        "tree; SHA-1 or SHA-256) into the new repository REPO of the store (default:\n"
        "main). A bundle is taken whole. Every object is verified. A repository of that\n"
        "name must not exist.\n\n"
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

/* NULL when it is none. */
static FILE *open_bundle(const char *path)
{
	static const char magic[] = "# v";
	char start[sizeof magic] = "";
	FILE *file = fopen(path, "rb");

	/* A folder can be opened, but not read. */
	if (file != NULL && fread(start, 1, sizeof magic - 1, file) == sizeof magic - 1 &&
	    strcmp(start, magic) == 0 && fseek(file, 0, SEEK_SET) == 0)
		return file;
	if (file != NULL)
		fclose(file);
	return NULL;
}

static int import_bundle(struct bole_cli *cli, struct bole_store *store, const char *name,
                         FILE *file, const char *path)
{
	struct bole_repo repo;

	if (bole_repo_find(store, name, &repo) == BOLE_OK) {
		bole_cli_say("import of %s: a repository %s exists already", path, name);
		return BOLE_EXIT_CONFLICT;
	}
	return bole_cli_unbundle(cli, store, name, file, path, false);
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
	FILE *bundle = open_bundle(args.at[1]);
	if (bundle != NULL) {
		code = import_bundle(cli, store.store, spec.repo, bundle, args.at[1]);
		fclose(bundle);
		int shut = bole_cli_store_close(&store);
		return code == BOLE_EXIT_OK ? shut : code;
	}
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
	if (rc != BOLE_OK)
		code = bole_cli_fail_why(args.at[1], report.error, rc);
	int closed = bole_cli_store_close(&store);
	if (code == BOLE_EXIT_OK)
		code = closed;
	if (code == BOLE_EXIT_OK)
		print(cli, &spec, &report);
	return code;
}

const struct bole_command bole_command_import = {
        .name = "import",
        .summary = "import STORE#REPO GITDIR|BUNDLE  copy a Git repository into a store",
        .run = run,
};
