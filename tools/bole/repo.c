/* SPDX-License-Identifier: ISC */
/* bole repo: the repositories of a store. */
#include <string.h>

#include "bole/kv.h"
#include "cli.h"

static const char help[] =
        "usage: bole repo STORE                     list the repositories\n"
        "       bole repo STORE#REPO create [--sha256] [--head BRANCH]\n"
        "       bole repo STORE#REPO rename NAME\n"
        "       bole repo STORE#REPO rm             remove it, with all its history\n";

static int list(const struct bole_cli *cli, struct bole_store *store)
{
	struct bole_repo repo = {.name = ""};
	const char *separator = "";
	enum bole_status rc;

	if (cli->json)
		putchar('[');
	while ((rc = bole_repo_next(store, repo.name, &repo)) == BOLE_OK) {
		if (cli->json)
			printf("%s{\"name\":\"%s\",\"hash\":\"%s\"}", separator, repo.name,
			       bole_hash_name(repo.algo));
		else
			printf("%s\n", repo.name);
		separator = ",";
	}
	if (cli->json)
		puts("]");
	return rc == BOLE_END ? BOLE_EXIT_OK : bole_cli_fail("listing repositories", rc);
}

/* BOLE_E_INVALID: no name of a branch. */
static enum bole_status create(struct bole_cli *cli, struct bole_store *store, const char *name,
                               bool sha256, const char *branch)
{
	const struct bole_kv_options options = {
	        .repo = name,
	        .branch = branch,
	        .create = true,
	        .algo = sha256 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1,
	};
	struct bole_repo there;
	struct bole_kv *kv;

	enum bole_status rc = bole_repo_find(store, name, &there);
	if (rc != BOLE_E_NOT_FOUND)
		return rc == BOLE_OK ? BOLE_E_EXISTS : rc;
	rc = bole_kv_open(cli->platform, cli->platform->alloc, store, &options, &kv);
	bole_kv_close(kv);
	return rc;
}

/* BOLE_EXIT_OK, or says what about which name is wrong. */
static int change(struct bole_cli *cli, struct bole_store *store, const char *name,
                  const struct bole_cli_args *args, bool sha256, const char *branch)
{
	struct bole_repo repo;
	enum bole_status rc;

	if (strcmp(args->at[1], "create") == 0) {
		rc = create(cli, store, name, sha256, branch);
		return rc == BOLE_OK ? BOLE_EXIT_OK
		                     : bole_cli_fail(rc == BOLE_E_INVALID ? branch : name, rc);
	}
	rc = bole_repo_find(store, name, &repo);
	if (rc != BOLE_OK)
		return bole_cli_fail(name, rc);
	if (strcmp(args->at[1], "rm") == 0) {
		rc = bole_repo_remove(store, repo.id);
		return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail(name, rc);
	}
	rc = bole_repo_rename(store, repo.id, args->at[2]);
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail(args->at[2], rc);
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	const char *branch = "main";
	bool sha256 = false;
	const struct bole_cli_option options[] = {{"--head", NULL, &branch},
	                                          {"--sha256", &sha256, NULL}};
	struct bole_cli_store store;
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	int code = bole_cli_args(argc, argv, help, options, 2, 1, 3, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	bool listing = args.count == 1;
	bool rename = args.count == 3 && strcmp(args.at[1], "rename") == 0;
	if (!listing && !rename &&
	    (args.count != 2 ||
	     (strcmp(args.at[1], "create") != 0 && strcmp(args.at[1], "rm") != 0)))
		return bole_cli_usage("repo", "only create, rename NAME and rm are known");
	code = bole_cli_spec_parse(args.at[0], &spec);
	if (code == BOLE_EXIT_OK && rename)
		code = bole_cli_repo_name(args.at[2], strlen(args.at[2]));
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, listing ? BOLE_CLI_READ : BOLE_CLI_WRITE,
		                           &store);
	if (code != BOLE_EXIT_OK)
		return code;
	code = listing ? list(cli, store.store)
	               : change(cli, store.store, spec.repo, &args, sha256, branch);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

const struct bole_command bole_command_repo = {
        .name = "repo",
        .summary = "repo STORE[#REPO] [create|rename NAME|rm]  list and change repositories",
        .run = run,
};
