/* SPDX-License-Identifier: ISC */
/* bole fsck: first every byte that the volume claims to hold, then every repository the Git way. It
 * changes nothing unless told to repair. */
#include <string.h>

#include "bole/devices.h"
#include "bole/verify.h"
#include "cli.h"

static const char help[] =
        "usage: bole fsck STORE [--repair]\n\n"
        "Verifies every checksum of the volume, that every object of every repository is\n"
        "what its id says, and that nothing it links to is missing. Changes nothing.\n"
        "--repair: first repairs: a damaged newest checkpoint gives way to the one before it,\n"
        "or is put together from the log and the segments; what else damage has made unreadable\n"
        "is given up, and named, so that the volume takes writes again; derived records that are\n"
        "damaged go, counts are set right. Without --repair what it would do is only said.\n"
        "Exit code 5 when something is damaged.\n";

struct fsck {
	struct bole_cli *cli;
	struct bole_cli_progress progress;
	struct bole_cli_catch log;
	struct bole_flash_check_result volume;
	struct bole_verify_result git; /* the sum over all repositories */
	uint64_t repos;
	bool repair;
};

static void volume_finding(void *ctx, bool error, const char *text)
{
	struct fsck *fsck = ctx;

	bole_cli_progress_end(&fsck->progress);
	bole_cli_catch_tell(&fsck->log);
	fputs(error ? "error: " : "warning: ", stderr);
	bole_cli_plain(stderr, bole_cli_bytes(text));
	putc('\n', stderr);
}

static void volume_progress(void *ctx, uint64_t done, uint64_t total)
{
	bole_cli_progress_show(&((struct fsck *)ctx)->progress, "volume, bytes", done, total);
}

static void git_finding(void *ctx, const char *text)
{
	volume_finding(ctx, true, text);
}

static void git_progress(void *ctx, uint64_t done, uint64_t total)
{
	bole_cli_progress_show(&((struct fsck *)ctx)->progress, "objects", done, total);
}

/* The volume's own check; a store in memory has none. */
static int volume_check(struct fsck *fsck, const struct bole_cli_spec *spec)
{
	struct bole_platform *platform = fsck->cli->platform;
	struct bole_block_file_options file = {.read_only = !fsck->repair};
	struct bole_flash_check_report report = {volume_finding, volume_progress, fsck};
	struct bole_block *disk;
	char owner[128] = "";

	if (strcmp(spec->store, "mem:") == 0)
		return BOLE_EXIT_OK;
	enum bole_status rc = bole_block_file_open(platform->alloc, spec->store, &file, owner,
	                                           sizeof owner, &disk);
	if (rc != BOLE_OK)
		return bole_cli_fail_open(fsck->cli, spec->store, rc, owner, "");
	bole_cli_catch_begin(&fsck->log, platform);
	rc = fsck->repair
	             ? bole_flash_repair(disk, platform, platform->alloc, &report, &fsck->volume)
	             : bole_flash_check(disk, platform, platform->alloc, &report, &fsck->volume);
	bole_cli_catch_end(&fsck->log);
	bole_block_close(disk);
	bole_cli_progress_end(&fsck->progress);
	if (rc != BOLE_OK)
		return bole_cli_fail_open(fsck->cli, spec->store, rc, owner, fsck->log.line);
	bole_cli_catch_tell(&fsck->log);
	return BOLE_EXIT_OK;
}

static enum bole_status repo_check(struct fsck *fsck, struct bole_store *store, uint32_t id)
{
	struct bole_verify_report report = {git_finding, git_progress, fsck};
	struct bole_verify_result result;
	struct bole_snapshot *snapshot;

	enum bole_status rc = bole_snapshot_open(store, id, &snapshot);
	if (rc != BOLE_OK)
		return rc;
	rc = bole_verify(fsck->cli->platform, snapshot, fsck->cli->platform->alloc, &report,
	                 &result);
	bole_snapshot_close(snapshot);
	fsck->git.commits += result.commits;
	fsck->git.trees += result.trees;
	fsck->git.blobs += result.blobs;
	fsck->git.tags += result.tags;
	fsck->git.refs += result.refs;
	fsck->git.ends += result.ends;
	fsck->git.cut += result.cut;
	fsck->git.promised += result.promised;
	fsck->git.inflated_bytes += result.inflated_bytes;
	fsck->git.errors += result.errors;
	fsck->repos++;
	return rc;
}

static int repos_check(struct fsck *fsck, const struct bole_cli_spec *spec)
{
	struct bole_repo repo = {.name = ""};
	struct bole_cli_store store;
	enum bole_status rc;

	int code = bole_cli_store_open(fsck->cli, spec, BOLE_CLI_READ, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	while ((rc = bole_repo_next(store.store, repo.name, &repo)) == BOLE_OK) {
		rc = repo_check(fsck, store.store, repo.id);
		if (rc != BOLE_OK)
			break;
	}
	bole_cli_progress_end(&fsck->progress);
	if (rc != BOLE_END)
		code = bole_cli_fail(spec->store, rc);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

static void print(const struct fsck *fsck)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
	        {"segments", fsck->volume.segments},
	        {"records", fsck->volume.records},
	        {"extents", fsck->volume.extents},
	        {"bytes_read", fsck->volume.bytes_read},
	        {"repositories", fsck->repos},
	        {"references", fsck->git.refs},
	        {"commits", fsck->git.commits},
	        {"trees", fsck->git.trees},
	        {"blobs", fsck->git.blobs},
	        {"tags", fsck->git.tags},
	        {"shallow", fsck->git.ends},
	        {"shallow_cut", fsck->git.cut},
	        {"promised", fsck->git.promised},
	        {"inflated_bytes", fsck->git.inflated_bytes},
	        {"repaired", fsck->volume.repaired},
	        {"warnings", fsck->volume.warnings},
	        {"errors", fsck->volume.errors + fsck->git.errors},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (fsck->cli->json)
			printf("%s\"%s\":%llu", i == 0 ? "{" : ",", rows[i].name,
			       (unsigned long long)rows[i].value);
		else
			printf("%-16s %llu\n", rows[i].name, (unsigned long long)rows[i].value);
	if (fsck->cli->json)
		puts("}");
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct fsck fsck = {.cli = cli};
	const struct bole_cli_option options[] = {{"--repair", &fsck.repair, NULL}};
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	int code = bole_cli_args(argc, argv, help, options, 1, 1, 1, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code != BOLE_EXIT_OK)
		return code;
	cli->checking = true;
	bole_cli_progress_init(&fsck.progress, cli->platform);
	code = volume_check(&fsck, &spec);
	if (code == BOLE_EXIT_OK)
		code = repos_check(&fsck, &spec);
	if (code != BOLE_EXIT_OK)
		return code;
	print(&fsck);
	if (fsck.volume.errors + fsck.git.errors == 0)
		return BOLE_EXIT_OK;
	bole_cli_say("%s is damaged: restore what is named above from another copy", spec.store);
	return BOLE_EXIT_DAMAGED;
}

const struct bole_command bole_command_fsck = {
        .name = "fsck",
        .summary = "fsck STORE [--repair]  verify every byte and every object",
        .run = run,
};
