/* SPDX-License-Identifier: ISC */
/* bole clone, bole fetch, bole mirror: from another server into a repository of a store. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bundle.h"
#include "client.h"

#define DEEPEN_HELP                                                                      \
	"  --depth N            end history N commits from each branch\n"                \
	"  --shallow-since DATE end it at commits before DATE: 2026-01-31, or seconds\n" \
	"  --shallow-exclude REF  end it at what the server's REF reaches; may be repeated\n"

#define ELSEWHERE_HELP                                                               \
	"  --bundle-uri URL|FILE  take this bundle, or those of this list, before\n" \
	"  --bundles            take those that the server recommends before\n"      \
	"  --packfile-uris      let the server leave packs to other servers\n"

static const char clone_help[] =
        "usage: bole clone URL STORE#REPO\n\n"
        "Copies a repository at git://, http:// or https:// with all branches and tags\n"
        "into the new repository REPO (default: main) of the store, in the server's object\n"
        "format; HEAD names the branch that the server's does. Every object is verified.\n"
        "There is no work tree. History is whole, unless its end is asked for; tags are\n"
        "then those of what is fetched.\n\n" DEEPEN_HELP
        "  --filter SPEC        leave out what SPEC says, for later: blob:none, blob:limit=1m,\n"
        "                       tree:0; see: bole backfill\n"
        "  --batch N            take N new references at a time, old versions first; what\n"
        "                       came stays when the rest fails, and fetch goes on there\n"
        "  --lenient            allow old mistakes in objects\n" ELSEWHERE_HELP
                BOLE_CLI_SERVER_OPTION_HELP BOLE_CLI_CLIENT_HELP;

static const char fetch_help[] =
        "usage: bole fetch STORE#REPO URL [REFSPEC...]\n\n"
        "Brings what is new on a server into the repository. A refspec is [+]SRC[:DST],\n"
        "with one * on both sides or on none, or ^SRC for what is left out; without any,\n"
        "every branch goes to the branch of its name. References move forward only,\n"
        "unless + or --force allows more; one that is refused does not stop the others.\n\n"
        "  --deepen N           let history go N commits further than it does\n"
        "  --unshallow          bring in all of it\n"
        "  --update-shallow     let history end where that of a shallow server does\n" DEEPEN_HELP
        "  --force              allow every reference to be replaced\n"
        "  --prune              delete here what a refspec covers and the server lacks\n"
        "  --tags, --no-tags    all tags, or none; else those of what is fetched\n"
        "  --atomic             move all references or none\n"
        "  --dry-run            say what would change\n"
        "  --filter SPEC        leave out what SPEC says, for later: blob:none, blob:limit=1m,\n"
        "                       tree:0; see: bole backfill\n"
        "  --batch N            take N new references at a time, old versions first; what\n"
        "                       came stays when the rest fails, and fetch goes on there\n"
        "  --lenient            allow old mistakes in objects\n" ELSEWHERE_HELP
                BOLE_CLI_SERVER_OPTION_HELP BOLE_CLI_CLIENT_HELP;

static const char mirror_help[] =
        "usage: bole mirror URL STORE#REPO\n\n"
        "Makes the repository REPO equal to the one at URL: every reference, also those\n"
        "that went back or are gone there, and HEAD. It is made when it is not there;\n"
        "again and again only what is new is fetched. All references change at once (up\n"
        "to 9,999 of them, beyond that in several commits).\n\n"
        "  --dry-run            say what would change\n"
        "  --batch N            take N new references at a time, old versions first; what\n"
        "                       came stays when the rest fails, and fetch goes on there\n"
        "  --lenient            allow old mistakes in objects\n" ELSEWHERE_HELP
                BOLE_CLI_SERVER_OPTION_HELP BOLE_CLI_CLIENT_HELP;

struct fetch_settings {
	struct bole_cli_client_settings client;
	bool force;
	bool prune;
	bool tags;
	bool no_tags;
	bool atomic;
	bool dry_run;
	bool lenient;
	bool packfile_uris;
	bool bundles;
	const char *bundle_uri;
	const char *batch;
	struct bole_cli_values filters;
	bool unshallow;
	bool update_shallow;
	const char *depth;
	const char *deepen;
	const char *since;
	struct bole_cli_values excludes;
};

static int bad_value(const char *option, const char *what)
{
	bole_cli_say("%s takes %s", option, what);
	return BOLE_EXIT_USAGE;
}

static bool take_commits(const char *text, uint32_t *out)
{
	uint64_t number = 0;

	if (text != NULL && (!bole_cli_size(text, &number) || number == 0 || number > INT32_MAX))
		return false;
	*out = (uint32_t)number;
	return true;
}

/* A day in UTC, or seconds since 1970. */
static bool take_date(const char *text, int64_t *out)
{
	uint64_t seconds = 0;
	struct tm tm = {.tm_mday = 0};
	char rest;

	if (text != NULL &&
	    sscanf(text, "%4d-%2d-%2d%c", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &rest) == 3) {
		if (tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
		    tm.tm_mday > 31)
			return false;
		tm.tm_year -= 1900;
		tm.tm_mon--;
		*out = (int64_t)timegm(&tm);
		return *out > 0;
	}
	if (text != NULL && (!bole_cli_size(text, &seconds) || seconds == 0 || seconds > INT64_MAX))
		return false;
	*out = (int64_t)seconds;
	return true;
}

static int take_deepen(const struct fetch_settings *s, struct bole_client_deepen *out)
{
	*out = (struct bole_client_deepen){.unshallow = s->unshallow,
	                                   .excludes = s->excludes.at,
	                                   .exclude_count = s->excludes.count};
	if (!take_commits(s->depth, &out->depth))
		return bad_value("--depth", "a number of commits");
	if (!take_commits(s->deepen, &out->deepen))
		return bad_value("--deepen", "a number of commits");
	if (!take_date(s->since, &out->since_s))
		return bad_value("--shallow-since", "a day or seconds");
	int ways = (out->depth > 0) + (out->deepen > 0) + out->unshallow +
	           (out->since_s > 0 || out->exclude_count > 0);
	if (ways > 1 || (ways == 1 && s->batch != NULL)) {
		bole_cli_say("--depth, --deepen, --unshallow, --shallow-since with "
		             "--shallow-exclude, and --batch exclude each other");
		return BOLE_EXIT_USAGE;
	}
	return BOLE_EXIT_OK;
}

/* A URL, or a file to be closed. */
static int take_bundle(const char *text, struct bole_cli_file_reader *reader,
                       struct bole_client_fetch *job)
{
	if (text == NULL)
		return BOLE_EXIT_OK;
	if (strncmp(text, "file://", 7) == 0)
		text += 7;
	if (strstr(text, "://") != NULL) {
		job->bundle_uri = text;
		return BOLE_EXIT_OK;
	}
	FILE *file = fopen(text, "rb");
	if (file == NULL) {
		bole_cli_say("%s: %s", text, strerror(errno));
		return BOLE_EXIT_NOT_FOUND;
	}
	bole_cli_file_reader_init(reader, file);
	job->bundle = &reader->reader;
	return BOLE_EXIT_OK;
}

static int fetch(struct bole_cli *cli, const char *url, const struct bole_cli_spec *spec,
                 const struct fetch_settings *settings, struct bole_client_fetch *job)
{
	struct bole_cli_client c;
	struct bole_cli_store store = {.store = NULL};
	struct bole_cli_file_reader bundle = {.file = NULL};

	uint64_t batch = 0;
	if (settings->batch != NULL &&
	    (!bole_cli_size(settings->batch, &batch) || batch == 0 || batch > UINT32_MAX)) {
		bole_cli_say("--batch takes a number of references");
		return BOLE_EXIT_USAGE;
	}
	job->batch_refs = (uint32_t)batch;
	int code = take_deepen(settings, &job->deepen);
	if (code != BOLE_EXIT_OK)
		return code;
	job->update_shallow = settings->update_shallow;
	job->repo = spec->repo;
	job->dry_run = settings->dry_run;
	if (settings->filters.count > 1) {
		bole_cli_say("only one --filter is taken; combine:A+B joins several");
		return BOLE_EXIT_USAGE;
	}
	job->filter = settings->filters.count == 0 ? NULL : settings->filters.at[0];
	job->lenient = settings->lenient;
	job->packfile_uris = settings->packfile_uris;
	job->resume = true;
	job->bundles = settings->bundles;
	code = bole_cli_client_open(cli, url, &settings->client, false, &c);
	if (code == BOLE_EXIT_OK)
		code = take_bundle(settings->bundle_uri, &bundle, job);
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
	if (bundle.file != NULL)
		fclose(bundle.file);
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
	                                        {"--depth", NULL, &s.depth},
	                                        {"--shallow-since", NULL, &s.since},
	                                        {"--packfile-uris", &s.packfile_uris, NULL},
	                                        {"--bundles", &s.bundles, NULL},
	                                        {"--bundle-uri", NULL, &s.bundle_uri},
	                                        {"--lenient", &s.lenient, NULL}};
	argc = bole_cli_take_values(argc, argv, "--shallow-exclude", &s.excludes);
	if (argc > 0)
		argc = bole_cli_take_values(argc, argv, "--filter", &s.filters);
	if (argc > 0)
		argc = bole_cli_take_values(argc, argv, "--server-option",
		                            &s.client.server_options);
	if (argc < 0)
		return BOLE_EXIT_USAGE;
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
	if (s.depth != NULL || s.since != NULL || s.excludes.count > 0) {
		job.refspec_count = 1;
		job.tags = BOLE_TAGS_FOLLOW;
	}
	return fetch(cli, args.at[0], &spec, &s, &job);
}

static int run_fetch(struct bole_cli *cli, int argc, char **argv)
{
	struct fetch_settings s = {.force = false};
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	const struct bole_cli_option known[] = {BOLE_CLI_CLIENT_OPTIONS(s.client),
	                                        {"--force", &s.force, NULL},
	                                        {"--prune", &s.prune, NULL},
	                                        {"--tags", &s.tags, NULL},
	                                        {"--no-tags", &s.no_tags, NULL},
	                                        {"--atomic", &s.atomic, NULL},
	                                        {"--dry-run", &s.dry_run, NULL},
	                                        {"--batch", NULL, &s.batch},
	                                        {"--packfile-uris", &s.packfile_uris, NULL},
	                                        {"--bundles", &s.bundles, NULL},
	                                        {"--bundle-uri", NULL, &s.bundle_uri},
	                                        {"--lenient", &s.lenient, NULL},
	                                        {"--depth", NULL, &s.depth},
	                                        {"--deepen", NULL, &s.deepen},
	                                        {"--unshallow", &s.unshallow, NULL},
	                                        {"--shallow-since", NULL, &s.since},
	                                        {"--update-shallow", &s.update_shallow, NULL}};
	argc = bole_cli_take_values(argc, argv, "--shallow-exclude", &s.excludes);
	if (argc > 0)
		argc = bole_cli_take_values(argc, argv, "--filter", &s.filters);
	if (argc > 0)
		argc = bole_cli_take_values(argc, argv, "--server-option",
		                            &s.client.server_options);
	if (argc < 0)
		return BOLE_EXIT_USAGE;
	int code = bole_cli_args(argc, argv, fetch_help, known, sizeof known / sizeof known[0], 2,
	                         BOLE_CLI_ARGS_MAX, &args);
	if (code == BOLE_EXIT_OK && s.tags && s.no_tags)
		code = bole_cli_usage("fetch", "--tags and --no-tags exclude each other");
	if (code == BOLE_EXIT_OK)
		code = bole_cli_check_refspecs("fetch", &args, 2, false);
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
	struct fetch_settings s = {.force = true, .update_shallow = true};
	struct bole_cli_args args;
	struct bole_cli_spec spec;

	const struct bole_cli_option known[] = {
	        BOLE_CLI_CLIENT_OPTIONS(s.client), {"--dry-run", &s.dry_run, NULL},
	        {"--batch", NULL, &s.batch},       {"--packfile-uris", &s.packfile_uris, NULL},
	        {"--bundles", &s.bundles, NULL},   {"--bundle-uri", NULL, &s.bundle_uri},
	        {"--lenient", &s.lenient, NULL}};
	argc = bole_cli_take_values(argc, argv, "--server-option", &s.client.server_options);
	if (argc < 0)
		return BOLE_EXIT_USAGE;
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
