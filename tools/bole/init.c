/* SPDX-License-Identifier: ISC */
/* bole init: makes a store. */
#include <string.h>

#include "bole/devices.h"
#include "cli.h"

#define INIT_BYTES_DEFAULT ((uint64_t)1 << 30)

static const char help[] =
        "usage: bole init STORE [--size N] [--force]\n\n"
        "Makes an empty store: a sparse file of N bytes (default 1G; k, M, G, T), which\n"
        "must not exist.\n\n"
        "  --size N   the size of a new file\n"
        "  --force    make the store on a file or disk that exists, in its size; what is\n"
        "             on it is lost\n";

static int format(struct bole_cli *cli, const char *path, struct bole_block *disk)
{
	struct bole_flash_format_options options = {.segment_bytes = 0};
	enum bole_status rc = bole_flash_format(disk, cli->platform, &options);

	if (rc == BOLE_E_NO_SPACE) {
		bole_cli_say("%s is too small for a store: use a larger --size", path);
		return BOLE_EXIT_NO_SPACE;
	}
	if (rc != BOLE_OK)
		return bole_cli_fail(path, rc);
	if (cli->json) {
		fputs("{\"store\":", stdout);
		bole_cli_json(stdout, bole_cli_bytes(path));
		printf(",\"bytes\":%llu}\n", (unsigned long long)disk->info.size_bytes);
	} else {
		printf("%s: an empty store of %llu MiB\n", path,
		       (unsigned long long)(disk->info.size_bytes >> 20));
	}
	return BOLE_EXIT_OK;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	const char *size_text = NULL;
	bool force = false;
	const struct bole_cli_option options[] = {{"--size", NULL, &size_text},
	                                          {"--force", &force, NULL}};
	struct bole_block_file_options file = {.create_bytes = INIT_BYTES_DEFAULT};
	struct bole_cli_args args;
	struct bole_cli_spec spec;
	struct bole_block *disk;
	char owner[128] = "";

	int code = bole_cli_args(argc, argv, help, options, 2, 1, 1, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code != BOLE_EXIT_OK)
		return code;
	if (strcmp(spec.store, "mem:") == 0)
		return BOLE_EXIT_OK;
	if (size_text != NULL &&
	    (!bole_cli_size(size_text, &file.create_bytes) || file.create_bytes == 0)) {
		bole_cli_say("'%s' is not a size; try --size 8G", size_text);
		return BOLE_EXIT_USAGE;
	}
	struct bole_alloc *alloc = cli->platform->alloc;
	enum bole_status rc =
	        bole_block_file_open(alloc, spec.store, &file, owner, sizeof owner, &disk);
	uint64_t wanted = file.create_bytes;
	if (rc == BOLE_E_EXISTS && force) {
		file.create_bytes = 0;
		rc = bole_block_file_open(alloc, spec.store, &file, owner, sizeof owner, &disk);
	}
	if (rc == BOLE_E_EXISTS) {
		bole_cli_say("%s exists: use --force to make a store there", spec.store);
		return BOLE_EXIT_CONFLICT;
	}
	if (rc == BOLE_E_BUSY)
		bole_cli_say("%s is in use%s%s: stop the other process first", spec.store,
		             owner[0] == '\0' ? "" : " by ", owner);
	if (rc == BOLE_E_BUSY)
		return BOLE_EXIT_CONFLICT;
	if (rc != BOLE_OK)
		return bole_cli_fail(spec.store, rc);
	if (size_text != NULL && disk->info.size_bytes != wanted) {
		bole_cli_say("%s is there and has %llu bytes: remove it, or leave --size out",
		             spec.store, (unsigned long long)disk->info.size_bytes);
		bole_block_close(disk);
		return BOLE_EXIT_USAGE;
	}
	code = format(cli, spec.store, disk);
	bole_block_close(disk);
	return code;
}

const struct bole_command bole_command_init = {
        .name = "init",
        .summary = "init STORE [--size N]  make a store",
        .run = run,
};
