/* SPDX-License-Identifier: ISC */
/* bole scrub: reads and verifies every segment, and moves what the device had to correct. */
#include <string.h>

#include "cli.h"

static const char help[] =
        "usage: bole scrub STORE\n\n"
        "Reads and verifies every segment of the volume, and moves what the device could read\n"
        "only with corrections to a fresh place. Exit code 5 when something is damaged.\n";

struct scrub {
	struct bole_cli_progress progress;
};

static void finding(void *ctx, const char *text)
{
	bole_cli_progress_end(&((struct scrub *)ctx)->progress);
	fputs("error: ", stderr);
	bole_cli_plain(stderr, bole_cli_bytes(text));
	putc('\n', stderr);
}

static enum bole_status scrub_all(struct bole_cli *cli, struct bole_store *store,
                                  struct bole_scrub_report *report)
{
	struct scrub scrub;
	enum bole_status rc;

	bole_cli_progress_init(&scrub.progress, cli->platform);
	*report = (struct bole_scrub_report){.finding = finding, .ctx = &scrub};
	while ((rc = bole_store_scrub(store, report)) == BOLE_OK)
		bole_cli_progress_show(&scrub.progress, "segments", report->segment,
		                       report->segments);
	bole_cli_progress_end(&scrub.progress);
	return rc == BOLE_END ? bole_cli_maintain(cli, store, 1) : rc;
}

static int run_on(struct bole_cli *cli, struct bole_store *store, const char *name)
{
	struct bole_store_stats before;
	struct bole_store_stats after;
	struct bole_scrub_report report;

	enum bole_status rc = bole_store_stats(store, &before);
	if (rc == BOLE_OK)
		rc = scrub_all(cli, store, &report);
	if (rc == BOLE_OK)
		rc = bole_store_stats(store, &after);
	if (rc != BOLE_OK)
		return bole_cli_fail(name, rc);
	const struct bole_cli_figure rows[] = {
	        {"segments", report.segments},
	        {"bytes_read", report.bytes_read},
	        {"damaged", report.damaged},
	        {"moved_bytes", after.moved_bytes - before.moved_bytes},
	};
	bole_cli_figures(cli, rows, sizeof rows / sizeof rows[0]);
	if (report.damaged == 0)
		return BOLE_EXIT_OK;
	bole_cli_say("%s is damaged: bole fsck names the objects", name);
	return BOLE_EXIT_DAMAGED;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct bole_cli_store store;
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	int code = bole_cli_args(argc, argv, help, NULL, 0, 1, 1, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, BOLE_CLI_WRITE, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	code = run_on(cli, store.store, spec.store);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

const struct bole_command bole_command_scrub = {
        .name = "scrub",
        .summary = "scrub STORE  read everything, move what begins to decay",
        .run = run,
};
