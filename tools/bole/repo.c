/* SPDX-License-Identifier: ISC */
/* bole repo: the repositories of a store. */
#include <string.h>

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

static enum bole_status create(struct bole_store *store, const char *name, bool sha256,
                               const char *branch)
{
	char head[BOLE_REF_NAME_MAX + 1];
	struct bole_repo repo;

	int len = snprintf(head, sizeof head, "refs/heads/%s", branch);
	if (len < 0 || (size_t)len >= sizeof head)
		return BOLE_E_INVALID;
	return bole_repo_create(store, name, sha256 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1, head,
	                        &repo);
}

static enum bole_status change(struct bole_store *store, const char *name,
                               const struct bole_cli_args *args, bool sha256, const char *branch)
{
	struct bole_repo repo;

	if (strcmp(args->at[1], "create") == 0)
		return create(store, name, sha256, branch);
	enum bole_status rc = bole_repo_find(store, name, &repo);
	if (rc != BOLE_OK)
		return rc;
	if (strcmp(args->at[1], "rm") == 0)
		return bole_repo_remove(store, repo.id);
	return bole_repo_rename(store, repo.id, args->at[2]);
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
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, listing ? BOLE_CLI_READ : BOLE_CLI_WRITE,
		                           &store);
	if (code != BOLE_EXIT_OK)
		return code;
	if (listing) {
		code = list(cli, store.store);
	} else {
		enum bole_status rc = change(store.store, spec.repo, &args, sha256, branch);

		if (rc != BOLE_OK)
			code = bole_cli_fail(spec.repo, rc);
	}
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

const struct bole_command bole_command_repo = {
        .name = "repo",
        .summary = "repo STORE[#REPO] [create|rename NAME|rm]  list and change repositories",
        .run = run,
};
