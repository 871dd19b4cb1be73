/* SPDX-License-Identifier: ISC */
/* bole export: a repository of a store becomes a Git folder. */
#include "bole/export.h"

#include "cli.h"
#include "store_snapshot.h"

static const char help[] =
        "usage: bole export STORE#REPO DIR\n\n"
        "Writes the repository REPO (default: main) as a bare Git repository into DIR,\n"
        "which must not exist or be empty: a pack with its index, a commit graph,\n"
        "packed references, HEAD.\n";

static void show(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	bole_cli_progress_show(ctx, phase, done, total);
}

static int export(struct bole_cli *cli, const struct bole_cli_snapshot *from, const char *dir,
                  struct bole_export_report *report)
{
	struct bole_alloc *alloc = cli->platform->alloc;
	struct bole_cli_progress progress;
	struct bole_folder *folder;

	enum bole_status rc = bole_host_folder_open(alloc, dir, true, &folder);
	if (rc == BOLE_E_EXISTS) {
		bole_cli_say("%s is there already and is no empty folder", dir);
		return BOLE_EXIT_CONFLICT;
	}
	if (rc != BOLE_OK)
		return bole_cli_fail(dir, rc);
	bole_cli_progress_init(&progress, cli->platform);
	struct bole_export_options options = {.progress = show, .progress_ctx = &progress};
	rc = bole_export(cli->platform, alloc, from->snapshot, folder, &options, report);
	folder->ops->close(folder);
	bole_cli_progress_end(&progress);
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail(dir, rc);
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct bole_export_report report = {.objects = 0};
	struct bole_cli_snapshot from;
	struct bole_cli_args args;

	int code = bole_cli_args(argc, argv, help, NULL, 0, 2, 2, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_snapshot_open(cli, args.at[0], &from);
	if (code == BOLE_EXIT_OK)
		code = export(cli, &from, args.at[1], &report);
	code = bole_cli_snapshot_close(&from, code);
	if (code != BOLE_EXIT_OK)
		return code;
	const struct bole_cli_figure figures[] = {{"objects", report.objects},
	                                          {"references", report.refs},
	                                          {"pack_bytes", report.pack_bytes}};
	bole_cli_figures(cli, figures, sizeof figures / sizeof figures[0]);
	return BOLE_EXIT_OK;
}

const struct bole_command bole_command_export = {
        .name = "export",
        .summary = "export STORE#REPO DIR  write a repository as a Git folder",
        .run = run,
};
