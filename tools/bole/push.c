/* SPDX-License-Identifier: ISC */
/* bole push: from a repository of a store to another server. */
#include <string.h>

#include "client.h"

static const char help[] =
        "usage: bole push STORE#REPO URL [REFSPEC...]\n\n"
        "Sends what a server lacks and sets its references. A refspec is [+]SRC[:DST],\n"
        "with one * on both sides or on none; :DST deletes; ^SRC is left out. Without any,\n"
        "the branch that HEAD names. References move forward only, unless + or --force\n"
        "asks for more.\n\n"
        "  --all, --tags        every branch; every tag besides\n"
        "  --mirror             every reference, forced, and delete what is not here\n"
        "  --delete             the arguments are references to delete\n"
        "  --prune              delete there what a refspec covers and is not here\n"
        "  --force              replace references whatever they hold\n"
        "  --force-with-lease REF:ID   replace REF if it holds ID (empty: if it is not\n"
        "                       there); may be repeated\n"
        "  --push-option TEXT   for the server's hooks; may be repeated\n"
        "  --atomic             move all references or none\n"
        "  --dry-run            say what would change\n" BOLE_CLI_CLIENT_HELP;

struct push_settings {
	struct bole_cli_client_settings client;
	struct bole_cli_values options;
	struct bole_cli_values leases;
	bool delete;
};

static int parse_leases(struct push_settings *s, struct bole_push_lease *leases,
                        char text[][BOLE_REF_NAME_MAX + BOLE_OID_HEX_MAX + 2])
{
	for (size_t i = 0; i < s->leases.count; i++) {
		const char *lease = s->leases.at[i];
		const char *colon = strrchr(lease, ':');

		if (colon == NULL || strlen(lease) >= sizeof text[0]) {
			bole_cli_say("--force-with-lease takes REF:ID, not '%s'", lease);
			return BOLE_EXIT_USAGE;
		}
		memcpy(text[i], lease, strlen(lease) + 1);
		text[i][colon - lease] = '\0';
		leases[i] = (struct bole_push_lease){text[i], text[i] + (colon - lease) + 1};
	}
	return BOLE_EXIT_OK;
}

/* "x" becomes ":x". */
static int parse_deletions(const struct bole_cli_args *args, const char **specs,
                           char text[][BOLE_REF_NAME_MAX + 2])
{
	for (int i = 2; i < args->count; i++) {
		if (strlen(args->at[i]) > BOLE_REF_NAME_MAX || strchr(args->at[i], ':') != NULL) {
			bole_cli_say("--delete takes names, not '%s'", args->at[i]);
			return BOLE_EXIT_USAGE;
		}
		snprintf(text[i], sizeof text[i], ":%s", args->at[i]);
		specs[i - 2] = text[i];
	}
	if (args->count > 2)
		return BOLE_EXIT_OK;
	bole_cli_say("--delete needs a name");
	return BOLE_EXIT_USAGE;
}

/* What is to go is named in one way. */
static int check_ways(const struct push_settings *s, const struct bole_client_push *job,
                      const struct bole_cli_args *args)
{
	if (job->mirror && (job->all || job->tags || s->delete || args->count > 2))
		return bole_cli_usage("push", "--mirror names all there is: nothing can be added");
	if (s->delete &&(job->all || job->tags))
		return bole_cli_usage("push", "--delete takes names, not --all or --tags");
	if (job->all && args->count > 2)
		return bole_cli_usage("push", "--all names every branch: no REFSPEC goes with it");
	return BOLE_EXIT_OK;
}

static int push(struct bole_cli *cli, const struct bole_cli_args *args,
                const struct push_settings *settings, struct bole_client_push *job)
{
	struct bole_cli_client c = {.client = NULL};
	struct bole_cli_store store = {.store = NULL};
	struct bole_cli_spec spec;

	int code = bole_cli_spec_parse(args->at[0], &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_client_open(cli, args->at[1], &settings->client, true, &c);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, BOLE_CLI_READ, &store);
	if (code == BOLE_EXIT_OK) {
		job->repo = spec.repo;
		job->quiet = !c.progress.on;
		job->change = bole_cli_client_change;
		job->ctx = &c;
		enum bole_status rc = bole_client_push(c.client, store.store, job);
		const struct bole_cli_transfer done = {job->objects, job->refs_changed,
		                                       job->refs_refused, job->pack_bytes};
		code = bole_cli_client_done(&c, rc, &store, &done);
	}
	bole_cli_client_close(&c);
	return code;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct push_settings s = {.delete = false};
	struct bole_client_push job = {.repo = NULL};
	struct bole_push_lease leases[BOLE_CLI_VALUES_MAX];
	char lease_text[BOLE_CLI_VALUES_MAX][BOLE_REF_NAME_MAX + BOLE_OID_HEX_MAX + 2];
	char delete_text[BOLE_CLI_ARGS_MAX][BOLE_REF_NAME_MAX + 2];
	const char *deletions[BOLE_CLI_ARGS_MAX];
	struct bole_cli_args args;

	argc = bole_cli_take_values(argc, argv, "--push-option", &s.options);
	if (argc > 0)
		argc = bole_cli_take_values(argc, argv, "--force-with-lease", &s.leases);
	if (argc < 0)
		return BOLE_EXIT_USAGE;
	const struct bole_cli_option known[] = {
	        BOLE_CLI_CLIENT_OPTIONS(s.client), {"--all", &job.all, NULL},
	        {"--tags", &job.tags, NULL},       {"--mirror", &job.mirror, NULL},
	        {"--delete", &s.delete, NULL},     {"--prune", &job.prune, NULL},
	        {"--force", &job.force, NULL},     {"--atomic", &job.atomic, NULL},
	        {"--dry-run", &job.dry_run, NULL}};
	int code = bole_cli_args(argc, argv, help, known, sizeof known / sizeof known[0], 2,
	                         BOLE_CLI_ARGS_MAX, &args);
	if (code == BOLE_EXIT_OK)
		code = check_ways(&s, &job, &args);
	if (code == BOLE_EXIT_OK)
		code = parse_leases(&s, leases, lease_text);
	if (code == BOLE_EXIT_OK && s.delete)
		code = parse_deletions(&args, deletions, delete_text);
	else if (code == BOLE_EXIT_OK)
		code = bole_cli_check_refspecs("push", &args, 2, true);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	job.refspecs = s.delete ? deletions : args.at + 2;
	job.refspec_count = (size_t)(args.count - 2);
	job.leases = leases;
	job.lease_count = s.leases.count;
	job.options = s.options.at;
	job.option_count = s.options.count;
	return push(cli, &args, &s, &job);
}

const struct bole_command bole_command_push = {
        .name = "push",
        .summary = "push STORE#REPO URL [REFSPEC...]  send to another server what it lacks",
        .run = run,
};
