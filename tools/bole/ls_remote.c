/* SPDX-License-Identifier: ISC */
/* bole ls-remote: the references of a repository on another server. */
#include <fnmatch.h>
#include <string.h>

#include "client.h"

static const char help[] =
        "usage: bole ls-remote URL [PATTERN...]\n\n"
        "Lists the references of a repository at git://, http:// or https://: id and\n"
        "name, what HEAD names, and what annotated tags name (^{}). With patterns, those\n"
        "whose last components fit one (* and ? as in file names).\n\n"
        "  --branches           only refs/heads/\n"
        "  --tags               only refs/tags/\n" BOLE_CLI_SERVER_OPTION_HELP BOLE_CLI_CLIENT_HELP;

struct listing {
	struct bole_cli *cli;
	const struct bole_cli_args *args;
	size_t shown;
};

/* As git-ls-remote(1): the pattern fits a name from some component on. */
static bool fits(const struct listing *l, const struct bole_client_ref *ref)
{
	char name[BOLE_REF_NAME_MAX + 2];

	snprintf(name, sizeof name, "/%.*s", (int)ref->name.len, (const char *)ref->name.ptr);
	for (int i = 1; i < l->args->count; i++)
		for (const char *from = name; from != NULL; from = strchr(from + 1, '/'))
			if (fnmatch(l->args->at[i], from + 1, 0) == 0)
				return true;
	return l->args->count == 1;
}

static void show_json(struct listing *l, const struct bole_client_ref *ref)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	fputs(l->shown == 0 ? "[{\"name\":" : ",{\"name\":", stdout);
	bole_cli_json(stdout, ref->name);
	if (!bole_oid_is_null(&ref->oid))
		printf(",\"oid\":\"%s\"", bole_oid_format(&ref->oid, hex));
	if (ref->target.len > 0) {
		fputs(",\"target\":", stdout);
		bole_cli_json(stdout, ref->target);
	}
	if (ref->has_peeled)
		printf(",\"peeled\":\"%s\"", bole_oid_format(&ref->peeled, hex));
	putchar('}');
}

static void show(void *ctx, const struct bole_client_ref *ref)
{
	struct listing *l = ctx;
	char hex[BOLE_OID_HEX_MAX + 1];
	int len = (int)ref->name.len;
	const char *name = (const char *)ref->name.ptr;

	if (!fits(l, ref))
		return;
	if (l->cli->json) {
		show_json(l, ref);
	} else {
		if (ref->target.len > 0)
			printf("ref: %.*s\t%.*s\n", (int)ref->target.len,
			       (const char *)ref->target.ptr, len, name);
		if (!bole_oid_is_null(&ref->oid))
			printf("%s\t%.*s\n", bole_oid_format(&ref->oid, hex), len, name);
		if (ref->has_peeled)
			printf("%s\t%.*s^{}\n", bole_oid_format(&ref->peeled, hex), len, name);
	}
	l->shown++;
}

static int list(struct bole_cli *cli, const struct bole_cli_args *args,
                const struct bole_cli_client_settings *settings, const char *const *prefixes,
                size_t prefix_count)
{
	struct listing l = {.cli = cli, .args = args};
	struct bole_cli_client c;

	int code = bole_cli_client_open(cli, args->at[0], settings, false, &c);
	if (code == BOLE_EXIT_OK) {
		struct bole_client_list job = {.prefixes = prefixes,
		                               .prefix_count = prefix_count,
		                               .reference = show,
		                               .ctx = &l};
		enum bole_status rc = bole_client_list(c.client, &job);

		if (rc != BOLE_OK)
			code = bole_cli_client_fail(&c, rc);
		else if (cli->json)
			puts(l.shown == 0 ? "[]" : "]");
	}
	bole_cli_client_close(&c);
	return code;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct bole_cli_client_settings settings = {.quiet = false};
	struct bole_cli_args args;
	const char *prefixes[2];
	size_t prefix_count = 0;
	bool branches = false;
	bool tags = false;

	const struct bole_cli_option known[] = {BOLE_CLI_CLIENT_OPTIONS(settings),
	                                        {"--branches", &branches, NULL},
	                                        {"--tags", &tags, NULL}};
	argc = bole_cli_take_values(argc, argv, "--server-option", &settings.server_options);
	if (argc < 0)
		return BOLE_EXIT_USAGE;
	int code = bole_cli_args(argc, argv, help, known, sizeof known / sizeof known[0], 1,
	                         BOLE_CLI_ARGS_MAX, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	if (branches)
		prefixes[prefix_count++] = "refs/heads/";
	if (tags)
		prefixes[prefix_count++] = "refs/tags/";
	return list(cli, &args, &settings, prefixes, prefix_count);
}

const struct bole_command bole_command_ls_remote = {
        .name = "ls-remote",
        .summary = "ls-remote URL [PATTERN...]  list the references of another server",
        .run = run,
};
