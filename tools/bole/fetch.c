/* SPDX-License-Identifier: ISC */
/* bole clone, bole fetch, bole mirror: from another server into a repository of a store. */
#include <string.h>

#include "client.h"

static const char clone_help[] =
        "usage: bole clone URL STORE#REPO\n\n"
        "Copies a repository at git://, http:// or https:// with all branches and tags\n"
        "into the new repository REPO (default: main) of the store, in the server's object\n"
        "format; HEAD names the branch that the server's does. Every object is verified.\n"
        "There is no work tree, and histories are always whole.\n\n"
        "  --batch N            take N new references at a time, old versions first; what\n"
        "                       came stays when the rest fails, and fetch goes on there\n"
        "  --lenient            allow old mistakes in objects\n" BOLE_CLI_CLIENT_HELP;

static const char fetch_help[] =
        "usage: bole fetch STORE#REPO URL [REFSPEC...]\n\n"
        "Brings what is new on a server into the repository. A refspec is [+]SRC[:DST],\n"
        "with one * on both sides or on none, or ^SRC for what is left out; without any,\n"
        "every branch goes to the branch of its name. References move forward only,\n"
        "unless + or --force allows more; one that is refused does not stop the others.\n\n"
        "  --force              allow every reference to be replaced\n"
        "  --prune              delete here what a refspec covers and the server lacks\n"
        "  --tags, --no-tags    all tags, or none; else those of what is fetched\n"
        "  --atomic             move all references or none\n"
        "  --dry-run            say what would change\n"
        "  --batch N            take N new references at a time, old versions first; what\n"
        "                       came stays when the rest fails, and fetch goes on there\n"
        "  --lenient            allow old mistakes in objects\n" BOLE_CLI_CLIENT_HELP;

static const char mirror_help[] =
        "usage: bole mirror URL STORE#REPO\n\n"
        "Makes the repository REPO equal to the one at URL: every reference, also those\n"
        "that went back or are gone there, and HEAD. It is made when it is not there;\n"
        "again and again only what is new is fetched. All references change at once (up\n"
        "to 9,999 of them, beyond that in several commits).\n\n"
        "  --dry-run            say what would change\n"
        "  --batch N            take N new references at a time, old versions first; what\n"
        "                       came stays when the rest fails, and fetch goes on there\n"
        "  --lenient            allow old mistakes in objects\n" BOLE_CLI_CLIENT_HELP;

struct fetch_settings {
	struct bole_cli_client_settings client;
	bool force;
	bool prune;
	bool tags;
	bool no_tags;
	bool atomic;
	bool dry_run;
	bool lenient;
	const char *batch;
};

static int fetch(struct bole_cli *cli, const char *url, const struct bole_cli_spec *spec,
                 const struct fetch_settings *settings, struct bole_client_fetch *job)
{
	struct bole_cli_client c;
	struct bole_cli_store store = {.store = NULL};

	uint64_t batch = 0;
	if (settings->batch != NULL &&
	    (!bole_cli_size(settings->batch, &batch) || batch == 0 || batch > UINT32_MAX)) {
		fputs("bole: --batch takes a number of references\n", stderr);
		return BOLE_EXIT_USAGE;
	}
	job->batch_refs = (uint32_t)batch;
	job->repo = spec->repo;
	job->dry_run = settings->dry_run;
	job->lenient = settings->lenient;
	int code = bole_cli_client_open(cli, url, &settings->client, false, &c);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, spec, BOLE_CLI_WRITE, &store);
	if (code == BOLE_EXIT_OK) {
		job->change = bole_cli_client_change;
		job->ctx = &c;
		if (job->mode == BOLE_FETCH_CLONE)
			job->change = NULL;
		enum bole_status rc = bole_client_fetch(c.client, store.store, job);
		const struct bole_cli_transfer done = {job->objects, job->refs_changed,
		                                       job->refs_refused, job->pack_bytes};
		code = bole_cli_client_done(&c, rc, &store, &done);
	}
	bole_cli_client_close(&c);
	return code;
}

static int run_clone(struct bole_cli *cli, int argc, char **argv)
{
	static const char *const specs[] = {"+refs/heads/*:refs/heads/*",
	                                    "+refs/tags/*:refs/tags/*"};
	struct fetch_settings s = {.force = false};
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	const struct bole_cli_option known[] = {BOLE_CLI_CLIENT_OPTIONS(s.client),
	                                        {"--batch", NULL, &s.batch},
	                                        {"--lenient", &s.lenient, NULL}};
	int code = bole_cli_args(argc, argv, clone_help, known, sizeof known / sizeof known[0], 2,
	                         2, &args);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_spec_parse(args.at[1], &spec);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	struct bole_client_fetch job = {.mode = BOLE_FETCH_CLONE,
	                                .refspecs = specs,
	                                .refspec_count = 2,
	                                .tags = BOLE_TAGS_NONE};
	return fetch(cli, args.at[0], &spec, &s, &job);
}

static int run_fetch(struct bole_cli *cli, int argc, char **argv)
{
	struct fetch_settings s = {.force = false};
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	const struct bole_cli_option known[] = {
	        BOLE_CLI_CLIENT_OPTIONS(s.client), {"--force", &s.force, NULL},
	        {"--prune", &s.prune, NULL},       {"--tags", &s.tags, NULL},
	        {"--no-tags", &s.no_tags, NULL},   {"--atomic", &s.atomic, NULL},
	        {"--dry-run", &s.dry_run, NULL},   {"--batch", NULL, &s.batch},
	        {"--lenient", &s.lenient, NULL}};
	int code = bole_cli_args(argc, argv, fetch_help, known, sizeof known / sizeof known[0], 2,
	                         BOLE_CLI_ARGS_MAX, &args);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_spec_parse(args.at[0], &spec);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	struct bole_client_fetch job = {.mode = BOLE_FETCH_UPDATE,
	                                .refspecs = args.at + 2,
	                                .refspec_count = (size_t)(args.count - 2),
	                                .tags = s.no_tags ? BOLE_TAGS_NONE
	                                        : s.tags  ? BOLE_TAGS_ALL
	                                                  : BOLE_TAGS_FOLLOW,
	                                .force = s.force,
	                                .prune = s.prune,
	                                .atomic = s.atomic};
	return fetch(cli, args.at[1], &spec, &s, &job);
}

static int run_mirror(struct bole_cli *cli, int argc, char **argv)
{
	static const char *const specs[] = {"+refs/*:refs/*"};
	struct fetch_settings s = {.force = true};
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	const struct bole_cli_option known[] = {BOLE_CLI_CLIENT_OPTIONS(s.client),
	                                        {"--dry-run", &s.dry_run, NULL},
	                                        {"--batch", NULL, &s.batch},
	                                        {"--lenient", &s.lenient, NULL}};
	int code = bole_cli_args(argc, argv, mirror_help, known, sizeof known / sizeof known[0], 2,
	                         2, &args);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_spec_parse(args.at[1], &spec);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	struct bole_client_fetch job = {.mode = BOLE_FETCH_EITHER,
	                                .refspecs = specs,
	                                .refspec_count = 1,
	                                .tags = BOLE_TAGS_NONE,
	                                .force = true,
	                                .prune = true,
	                                .head = true};
	return fetch(cli, args.at[0], &spec, &s, &job);
}

const struct bole_command bole_command_clone = {
        .name = "clone",
        .summary = "clone URL STORE#REPO  copy a repository of another server",
        .run = run_clone,
};

const struct bole_command bole_command_fetch = {
        .name = "fetch",
        .summary = "fetch STORE#REPO URL [REFSPEC...]  bring in what is new there",
        .run = run_fetch,
};

const struct bole_command bole_command_mirror = {
        .name = "mirror",
        .summary = "mirror URL STORE#REPO  make a repository equal to one of another server",
        .run = run_mirror,
};
