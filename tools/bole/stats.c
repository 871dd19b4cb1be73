/* SPDX-License-Identifier: ISC */
/* bole stats: the figures of a store. */
#include "cli.h"

static const char help[] = "usage: bole stats STORE\n\nPrints the figures of a store.\n";

static void print(const struct bole_cli *cli, const struct bole_store_info *info,
                  const struct bole_store_stats *stats)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
	        {"capacity_bytes", stats->capacity_bytes},
	        {"used_bytes", stats->used_bytes},
	        {"free_bytes", stats->free_bytes},
	        {"objects", stats->objects},
	        {"repos", stats->repos},
	        {"mount_reads", stats->mount_reads},
	        {"read_bytes", stats->read_bytes},
	        {"memory_bytes", stats->memory_bytes},
	};

	if (cli->json)
		printf("{\"kind\":\"%s\"", info->kind);
	else
		printf("%-16s %s\n", "kind", info->kind);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		printf(cli->json ? ",\"%s\":%llu" : "%-16s %llu\n", rows[i].name,
		       (unsigned long long)rows[i].value);
	if (cli->json)
		puts("}");
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct bole_store_stats stats;
	struct bole_cli_store store;
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	int code = bole_cli_args(argc, argv, help, NULL, 0, 1, 1, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, BOLE_CLI_READ, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	enum bole_status rc = bole_store_stats(store.store, &stats);
	if (rc == BOLE_OK)
		print(cli, &store.store->info, &stats);
	else
		code = bole_cli_fail(spec.store, rc);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

const struct bole_command bole_command_stats = {
        .name = "stats",
        .summary = "stats STORE  the figures of a store",
        .run = run,
};
