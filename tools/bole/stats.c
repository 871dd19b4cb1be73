/* SPDX-License-Identifier: ISC */
/* bole stats: the figures of a store, all together: none of them says much alone. What counts from
 * the opening of the store on (writes, erases, the worst operation) is of this command's own
 * opening; a server shows its own on its page. --sample makes reads to count. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
        "usage: bole stats STORE [--sample N]\n\n"
        "Prints the figures of a store. Space, objects, wear and what is lost are the store's\n"
        "own and last; from \"commits\" on they count since this command opened it.\n\n"
        "  --sample N   read N objects first, spread over all repositories\n";

struct sample {
	uint64_t gets;
	uint64_t bytes;
	uint64_t device_bytes;
	uint64_t device_reads;
	uint64_t ns_max;
};

/* a / b with three digits, or none. */
static void ratio(const struct bole_cli *cli, const char *name, uint64_t a, uint64_t b)
{
	if (b == 0)
		printf(cli->json ? ",\"%s\":null" : "%-24s -\n", name);
	else
		printf(cli->json ? ",\"%s\":%.3f" : "%-24s %.3f\n", name, (double)a / (double)b);
}

static void number(const struct bole_cli *cli, const char *name, uint64_t value)
{
	printf(cli->json ? ",\"%s\":%" PRIu64 : "%-24s %" PRIu64 "\n", name, value);
}

static void print_space(const struct bole_cli *cli, const struct bole_store_stats *s)
{
	number(cli, "capacity_bytes", s->capacity_bytes);
	number(cli, "used_bytes", s->used_bytes);
	number(cli, "live_bytes", s->live_bytes);
	number(cli, "free_bytes", s->free_bytes);
	number(cli, "objects", s->objects);
	number(cli, "repos", s->repos);
	number(cli, "segments", s->segments);
	number(cli, "segments_free", s->segments_free);
	number(cli, "segments_bad", s->segments_bad);
	number(cli, "segment_bytes", s->segment_bytes);
	number(cli, "index_runs", s->index_runs);
	number(cli, "end_of_life", s->end_of_life);
	number(cli, "lost", s->lost);
	number(cli, "in_doubt", s->in_doubt);
}

static void print_work(const struct bole_cli *cli, const struct bole_store_stats *s)
{
	number(cli, "commits", s->commits);
	number(cli, "user_bytes", s->user_bytes);
	number(cli, "programmed_bytes", s->programmed_bytes);
	number(cli, "erased_bytes", s->erased_bytes);
	number(cli, "moved_bytes", s->moved_bytes);
	number(cli, "index_bytes", s->index_bytes);
	number(cli, "checkpoint_bytes", s->checkpoint_bytes);
	number(cli, "read_bytes", s->read_bytes);
	number(cli, "reads", s->reads);
	number(cli, "programs", s->programs);
	number(cli, "erases", s->erases);
	number(cli, "flushes", s->flushes);
	ratio(cli, "programmed_per_byte", s->programmed_bytes, s->user_bytes);
	ratio(cli, "erased_per_byte", s->erased_bytes, s->user_bytes);
}

static void print(const struct bole_cli *cli, const struct bole_store_info *info,
                  const struct bole_store_stats *s, const struct sample *sample)
{
	if (cli->json)
		printf("{\"kind\":\"%s\"", info->kind);
	else
		printf("%-24s %s\n", "kind", info->kind);
	print_space(cli, s);
	number(cli, "wear_max", s->wear_max);
	ratio(cli, "wear_mean", s->wear_sum, s->segments - s->segments_bad);
	number(cli, "wear_min", s->wear_min);
	if (!cli->json)
		puts("\nsince it was opened:");
	print_work(cli, s);
	ratio(cli, "read_per_byte", sample->device_bytes, sample->bytes);
	ratio(cli, "reads_per_get", sample->device_reads, sample->gets);
	number(cli, "get_ns_max", sample->ns_max);
	number(cli, "commit_ns_max", s->commit_ns_max);
	number(cli, "operation_ns_max", s->operation_ns_max);
	number(cli, "mount_reads", s->mount_reads);
	number(cli, "memory_bytes", s->memory_bytes);
	if (cli->json)
		puts("}");
}

/* -- Sampling -- */

/* Reads one object whole. */
static enum bole_status get(struct bole_cli *cli, struct bole_snapshot *snapshot,
                            const struct bole_oid *oid, struct sample *sample)
{
	uint64_t start = cli->platform->ops->now_ns(cli->platform);
	struct bole_entry entry;

	enum bole_status rc = bole_odb_find(snapshot, oid, &entry);
	for (uint64_t pos = 0; rc == BOLE_OK && pos < entry.stored_bytes;) {
		struct bole_bytes seen;

		rc = bole_odb_view(snapshot, &entry, pos, &seen);
		pos += seen.len;
	}
	if (rc != BOLE_OK)
		return rc;
	uint64_t took = cli->platform->ops->now_ns(cli->platform) - start;
	sample->ns_max = took > sample->ns_max ? took : sample->ns_max;
	sample->gets++;
	sample->bytes += entry.stored_bytes;
	return BOLE_OK;
}

/* Every step-th object of a repository is listed first and read afterwards, in an order that is not
 * that of the log. */
static enum bole_status sample_repo(struct bole_cli *cli, struct bole_store *store, uint32_t repo,
                                    uint64_t step, struct bole_oid *oids, size_t room,
                                    struct sample *sample)
{
	struct bole_store_stats before;
	struct bole_store_stats after;
	struct bole_snapshot *snapshot;
	struct bole_entry entry;
	struct bole_oid oid;
	uint64_t cursor = 0;
	size_t count = 0;

	enum bole_status rc = bole_snapshot_open(store, repo, &snapshot);
	if (rc != BOLE_OK)
		return rc;
	for (uint64_t i = 0;
	     count < room && (rc = bole_odb_next(snapshot, &cursor, &oid, &entry)) == BOLE_OK; i++)
		if (i % step == 0)
			oids[count++] = oid;
	bole_snapshot_close(snapshot);
	if (rc == BOLE_OK || rc == BOLE_END)
		rc = bole_store_stats(store, &before);
	if (rc == BOLE_OK)
		rc = bole_snapshot_open(store, repo, &snapshot);
	if (rc != BOLE_OK)
		return rc;
	for (size_t i = 0; rc == BOLE_OK && i < count; i++)
		rc = get(cli, snapshot, &oids[i * 7919 % count], sample);
	bole_snapshot_close(snapshot);
	if (rc == BOLE_OK)
		rc = bole_store_stats(store, &after);
	if (rc == BOLE_OK) {
		sample->device_bytes += after.read_bytes - before.read_bytes;
		sample->device_reads += after.reads - before.reads;
	}
	return rc;
}

static enum bole_status take_sample(struct bole_cli *cli, struct bole_store *store, uint64_t wanted,
                                    struct sample *sample)
{
	struct bole_store_stats stats;
	struct bole_repo repo = {.name = ""};

	enum bole_status rc = bole_store_stats(store, &stats);
	if (rc != BOLE_OK || stats.objects == 0)
		return rc;
	size_t room = (size_t)(wanted < stats.objects ? wanted : stats.objects);
	struct bole_oid *oids = calloc(room, sizeof *oids);
	if (oids == NULL)
		return BOLE_E_NO_MEMORY;
	while (sample->gets < wanted && (rc = bole_repo_next(store, repo.name, &repo)) == BOLE_OK) {
		size_t left = (size_t)(wanted - sample->gets);

		rc = sample_repo(cli, store, repo.id, stats.objects / room, oids,
		                 left < room ? left : room, sample);
		if (rc != BOLE_OK)
			break;
	}
	free(oids);
	return rc == BOLE_END ? BOLE_OK : rc;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	const char *text = NULL;
	const struct bole_cli_option options[] = {{"--sample", NULL, &text}};
	struct sample sample = {0};
	struct bole_store_stats stats;
	struct bole_cli_store store;
	struct bole_cli_args args;
	struct bole_cli_spec spec;
	uint64_t wanted = 0;

	int code = bole_cli_args(argc, argv, help, options, 1, 1, 1, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	if (text != NULL && (!bole_cli_size(text, &wanted) || wanted == 0 || wanted > 1 << 24)) {
		bole_cli_say("--sample needs a number, not '%s'", text);
		return BOLE_EXIT_USAGE;
	}
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, BOLE_CLI_READ, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	enum bole_status rc = BOLE_OK;
	if (wanted > 0)
		rc = take_sample(cli, store.store, wanted, &sample);
	if (rc == BOLE_OK)
		rc = bole_store_stats(store.store, &stats);
	if (rc == BOLE_OK)
		print(cli, &store.store->info, &stats, &sample);
	else
		code = bole_cli_fail(spec.store, rc);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

const struct bole_command bole_command_stats = {
        .name = "stats",
        .summary = "stats STORE [--sample N]  the figures of a store",
        .run = run,
};
