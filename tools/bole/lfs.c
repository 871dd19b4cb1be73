/* SPDX-License-Identifier: ISC */
/* bole lfs: the large files of a repository. */
#include "bole/lfs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

static const char help[] =
        "usage: bole lfs ls STORE#REPO             ids and sizes of its large files\n"
        "       bole lfs get STORE#REPO ID         write one to standard output\n"
        "       bole lfs put STORE#REPO ID <FILE   store one that has this id (its SHA-256)\n"
        "       bole lfs rm STORE#REPO ID          remove one; clients are told that it was\n"
        "       bole lfs prune STORE#REPO [--days N] [--dry-run]\n\n"
        "prune removes what no blob of the repository points to and what is older than N\n"
        "days (14); collect garbage first (bole gc).\n";

enum { PIECE_BYTES = 64 * 1024, DAYS_DEFAULT = 14, DAY_S = 86400 };

struct lfs {
	struct bole_cli *cli;
	struct bole_alloc *alloc;
	struct bole_store *store;
	struct bole_repo repo;
	struct bole_oid oid;
};

static int list(struct lfs *l)
{
	struct bole_lfs_object object;
	struct bole_oid after;
	char hex[BOLE_OID_HEX_MAX + 1];
	const char *separator = "";
	enum bole_status rc;
	bool first = true;

	if (l->cli->json)
		putchar('[');
	while ((rc = bole_lfs_next(l->store, l->repo.id, l->alloc, first ? NULL : &after,
	                           &object)) == BOLE_OK) {
		const char *state = object.removed ? "removed" : "stored";

		after = object.oid;
		first = false;
		bole_oid_format(&object.oid, hex);
		if (l->cli->json)
			printf("%s{\"oid\":\"%s\",\"size\":%" PRIu64 ",\"state\":\"%s\"}",
			       separator, hex, object.size_bytes, state);
		else
			printf("%s %" PRIu64 "%s\n", hex, object.size_bytes,
			       object.removed ? " removed" : "");
		separator = ",";
	}
	if (l->cli->json)
		puts("]");
	return rc == BOLE_END ? BOLE_EXIT_OK : bole_cli_fail(l->repo.name, rc);
}

static int get(struct lfs *l)
{
	struct bole_lfs_object object;
	enum bole_status rc = bole_lfs_find(l->store, l->repo.id, l->alloc, &l->oid, &object);
	bool written = true;

	if (rc == BOLE_OK && object.removed)
		rc = BOLE_E_NOT_FOUND;
	for (uint64_t pos = 0; rc == BOLE_OK && written && pos < object.size_bytes;) {
		struct bole_bytes piece;
		uint8_t *block;
		size_t block_len;

		rc = bole_lfs_read(l->store, l->repo.id, l->alloc, &object, pos, &piece, &block,
		                   &block_len);
		if (rc != BOLE_OK)
			break;
		written = fwrite(piece.ptr, 1, piece.len, stdout) == piece.len;
		pos += piece.len;
		l->alloc->resize(l->alloc->ctx, block, block_len, 0, 1);
	}
	if (rc == BOLE_OK && !written)
		rc = BOLE_E_IO;
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail("the large file", rc);
}

static int put(struct lfs *l)
{
	struct bole_lfs_upload *up = NULL;
	static uint8_t piece[PIECE_BYTES];
	size_t got;

	enum bole_status rc = bole_lfs_upload_open(l->cli->platform, l->alloc, l->store, l->repo.id,
	                                           &l->oid, &up);
	while (rc == BOLE_OK && (got = fread(piece, 1, sizeof piece, stdin)) > 0)
		rc = bole_lfs_upload_write(up, piece, got);
	if (rc == BOLE_OK && ferror(stdin))
		rc = BOLE_E_IO;
	if (rc == BOLE_OK)
		rc = bole_lfs_upload_finish(up);
	else
		bole_lfs_upload_abort(up);
	if (rc == BOLE_E_INVALID) {
		bole_cli_say("standard input does not have this id");
		return BOLE_EXIT_USAGE;
	}
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail("the large file", rc);
}

static int prune(struct lfs *l, uint64_t days, bool dry_run)
{
	struct bole_lfs_prune_options options = {
	        .before_s = days == 0 ? INT64_MAX : (int64_t)time(NULL) - (int64_t)days * DAY_S,
	        .dry_run = dry_run,
	};
	struct bole_lfs_prune_result result;
	uint64_t swept = 0;
	enum bole_status rc = BOLE_OK;

	if (!dry_run)
		rc = bole_lfs_sweep(l->store, l->alloc, &swept);
	if (rc == BOLE_OK)
		rc = bole_lfs_prune(l->cli->platform, l->alloc, l->store, l->repo.id, &options,
		                    &result);
	if (rc != BOLE_OK)
		return bole_cli_fail(l->repo.name, rc);
	const struct bole_cli_figure rows[] = {
	        {"kept", result.kept},
	        {"pruned", result.pruned},
	        {"pruned_bytes", result.pruned_bytes},
	        {"unfinished_chunks", swept},
	};
	bole_cli_figures(l->cli, rows, sizeof rows / sizeof rows[0]);
	return BOLE_EXIT_OK;
}

static int work(struct lfs *l, const char *verb, uint64_t days, bool dry_run)
{
	if (strcmp(verb, "ls") == 0)
		return list(l);
	if (strcmp(verb, "get") == 0)
		return get(l);
	if (strcmp(verb, "put") == 0)
		return put(l);
	if (strcmp(verb, "prune") == 0)
		return prune(l, days, dry_run);
	enum bole_status rc = bole_lfs_remove(l->store, l->repo.id, l->alloc, &l->oid, true);
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail("the large file", rc);
}

static bool takes_id(const char *verb)
{
	return strcmp(verb, "get") == 0 || strcmp(verb, "put") == 0 || strcmp(verb, "rm") == 0;
}

static int check(struct lfs *l, const struct bole_cli_args *args)
{
	const char *verb = args->at[0];
	bool other = strcmp(verb, "ls") == 0 || strcmp(verb, "prune") == 0;

	if ((!takes_id(verb) || args->count != 3) && (!other || args->count != 2)) {
		return bole_cli_usage("lfs", "ls, prune take STORE#REPO; get, put, rm an ID too");
	}
	if (other ||
	    bole_oid_parse(args->at[2], strlen(args->at[2]), BOLE_HASH_SHA256, &l->oid) == BOLE_OK)
		return BOLE_EXIT_OK;
	bole_cli_say("'%s' is no SHA-256 in hex", args->at[2]);
	return BOLE_EXIT_USAGE;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct lfs l = {.cli = cli, .alloc = cli->platform->alloc};
	const char *days_text = NULL;
	bool dry_run = false;
	const struct bole_cli_option options[] = {{"--days", NULL, &days_text},
	                                          {"--dry-run", &dry_run, NULL}};
	uint64_t days = DAYS_DEFAULT;
	struct bole_cli_store store;
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	int code = bole_cli_args(argc, argv, help, options, 2, 2, 3, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = check(&l, &args);
	if (code == BOLE_EXIT_OK && days_text != NULL && !bole_cli_size(days_text, &days))
		code = bole_cli_usage("lfs", "--days takes a number of days");
	if (code == BOLE_EXIT_OK && days > 36500)
		days = 36500;
	if (code == BOLE_EXIT_OK)
		code = bole_cli_spec_parse(args.at[1], &spec);
	bool reads = strcmp(args.at[0], "ls") == 0 || strcmp(args.at[0], "get") == 0;
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, reads ? BOLE_CLI_READ : BOLE_CLI_WRITE,
		                           &store);
	if (code != BOLE_EXIT_OK)
		return code;
	l.store = store.store;
	enum bole_status rc = bole_repo_find(l.store, spec.repo, &l.repo);
	code = rc == BOLE_OK ? work(&l, args.at[0], days, dry_run) : bole_cli_fail(spec.repo, rc);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

const struct bole_command bole_command_lfs = {
        .name = "lfs",
        .summary = "lfs ls|get|put|rm|prune STORE#REPO [ID]  large files",
        .run = run,
};
