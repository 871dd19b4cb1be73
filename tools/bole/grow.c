/* SPDX-License-Identifier: ISC */
/* bole grow: takes in what a disk has grown by, or makes an image file longer first. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bole/devices.h"
#include "cli.h"

static const char help[] =
        "usage: bole grow STORE [--size N]\n\n"
        "Takes in what the disk has grown by since the store was made.\n\n"
        "  --size N   make an image file N bytes long first (64k, 512M, 8G; never shorter)\n";

/* Under the volume's lock, so that nobody writes meanwhile. */
static int lengthen_locked(const char *path, uint64_t size)
{
	struct stat st;

	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
		bole_cli_say("%s is no file, so its size cannot be set", path);
		return BOLE_EXIT_USAGE;
	}
	if ((uint64_t)st.st_size > size) {
		bole_cli_say("%s is longer than that: a store never shrinks", path);
		return BOLE_EXIT_USAGE;
	}
	if (size > INT64_MAX || truncate(path, (off_t)size) != 0) {
		bole_cli_say("cannot make %s longer: %s", path, strerror(errno));
		return BOLE_EXIT_FAILED;
	}
	return BOLE_EXIT_OK;
}

static int lengthen(struct bole_cli *cli, const char *path, const char *text)
{
	struct bole_block_file_options file = {.read_only = false};
	struct bole_block *disk;
	char owner[128] = "";
	uint64_t size;

	if (!bole_cli_size(text, &size)) {
		bole_cli_say("'%s' is no size; try 512M or 8G", text);
		return BOLE_EXIT_USAGE;
	}
	enum bole_status rc =
	        bole_block_file_open(cli->platform->alloc, path, &file, owner, sizeof owner, &disk);
	if (rc != BOLE_OK)
		return bole_cli_fail_open(cli, path, rc, owner, "");
	int code = lengthen_locked(path, size);
	bole_block_close(disk);
	return code;
}

static int grow(struct bole_cli *cli, struct bole_store *store, const char *name)
{
	struct bole_store_stats before;
	struct bole_store_stats after;

	enum bole_status rc = bole_store_stats(store, &before);
	if (rc == BOLE_OK)
		rc = bole_store_grow(store);
	bool grown = rc == BOLE_OK;
	if (rc == BOLE_OK || rc == BOLE_END)
		rc = bole_store_stats(store, &after);
	if (rc != BOLE_OK)
		return bole_cli_fail(name, rc);
	if (!grown)
		bole_cli_say("%s has not grown: nothing was changed", name);
	const struct bole_cli_figure rows[] = {
	        {"capacity_before", before.capacity_bytes},
	        {"capacity_after", after.capacity_bytes},
	        {"free_bytes", after.free_bytes},
	};
	bole_cli_figures(cli, rows, sizeof rows / sizeof rows[0]);
	return BOLE_EXIT_OK;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	const char *size = NULL;
	const struct bole_cli_option options[] = {{"--size", NULL, &size}};
	struct bole_cli_store store;
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	int code = bole_cli_args(argc, argv, help, options, 1, 1, 1, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code == BOLE_EXIT_OK && size != NULL)
		code = lengthen(cli, spec.store, size);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, BOLE_CLI_WRITE, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	code = grow(cli, store.store, spec.store);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

const struct bole_command bole_command_grow = {
        .name = "grow",
        .summary = "grow STORE [--size N]  use what a disk has grown by",
        .run = run,
};
