/* SPDX-License-Identifier: ISC */
/* bole log, bole branch: history. */
#include <stdlib.h>
#include <string.h>

#include "kv_open.h"

static const char log_help[] =
        "usage: bole log STORE[#REPO@BRANCH] [-n COUNT] [--first-parent]\n\n"
        "Lists the commits of a branch, newest first: id, time (seconds since 1970), author\n"
        "and the first line of the message. BRANCH may also be a tag or a commit.\n";

static const char branch_help[] =
        "usage: bole branch STORE[#REPO]                 list the branches\n"
        "       bole branch STORE[#REPO] NAME [FROM]     make one at FROM (default: HEAD)\n"
        "       bole branch STORE[#REPO] --delete NAME\n";

static struct bole_bytes first_line(struct bole_bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\n')
			return (struct bole_bytes){text.ptr, i};
	return text;
}

/* "Name <mail>" of "Name <mail> time zone". */
static struct bole_bytes who(struct bole_bytes author)
{
	for (size_t i = author.len; i > 0; i--)
		if (author.ptr[i - 1] == '>')
			return (struct bole_bytes){author.ptr, i};
	return author;
}

static void print_commit(const struct bole_cli *cli, const struct bole_kv_commit *commit,
                         bool first)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	bole_oid_format(&commit->oid, hex);
	if (!cli->json) {
		printf("%s %lld ", hex, (long long)commit->time);
		bole_cli_plain(stdout, who(commit->author));
		fputs("  ", stdout);
		bole_cli_plain(stdout, first_line(commit->message));
		putchar('\n');
		return;
	}
	printf("%s{\"commit\":\"%s\",\"tree\":\"", first ? "" : ",\n", hex);
	printf("%s\",\"parents\":%zu,\"time\":%lld,\"author\":",
	       bole_oid_format(&commit->tree, hex), commit->parent_count, (long long)commit->time);
	bole_cli_json(stdout, who(commit->author));
	fputs(",\"message\":", stdout);
	bole_cli_json(stdout, commit->message);
	putchar('}');
}

static int show_log(const struct bole_cli *cli, struct bole_kv_view *view, bool first_parent,
                    uint64_t count)
{
	struct bole_kv_commit commit;
	struct bole_kv_log *log;

	enum bole_status rc = bole_kv_log_open(view, first_parent, &log);
	if (rc != BOLE_OK)
		return bole_cli_fail("reading history", rc);
	if (cli->json)
		putchar('[');
	for (uint64_t i = 0; i < count && (rc = bole_kv_log_next(log, &commit)) == BOLE_OK; i++)
		print_commit(cli, &commit, i == 0);
	if (cli->json)
		puts("]");
	bole_kv_log_close(log);
	return rc >= BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail("reading history", rc);
}

static int log_run(struct bole_cli *cli, int argc, char **argv)
{
	const char *count_text = NULL;
	bool first_parent = false;
	const struct bole_cli_option options[] = {{"-n", NULL, &count_text},
	                                          {"--first-parent", &first_parent, NULL}};
	struct bole_cli_args args;
	struct bole_cli_kv kv;
	struct bole_kv_view *view;
	uint64_t count = UINT64_MAX;

	int code = bole_cli_args(argc, argv, log_help, options, 2, 1, 1, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	if (count_text != NULL && !bole_cli_size(count_text, &count)) {
		bole_cli_say("'%s' is not a number", count_text);
		return BOLE_EXIT_USAGE;
	}
	code = bole_cli_kv_open(cli, args.at[0], BOLE_CLI_READ, &kv);
	if (code != BOLE_EXIT_OK)
		return code;
	code = bole_cli_kv_view(&kv, &view);
	if (code == BOLE_EXIT_OK) {
		code = show_log(cli, view, first_parent, count);
		bole_kv_view_close(view);
	}
	return bole_cli_kv_close(&kv, code);
}

/* -- Branches -- */

static int list_branches(const struct bole_cli *cli, struct bole_cli_kv *kv)
{
	struct bole_bytes name = {NULL, 0};
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_kv_view *view;
	struct bole_oid oid;
	const char *head = bole_kv_branch(kv->kv);
	enum bole_status rc = bole_kv_view_open(kv->kv, NULL, &view);

	if (rc != BOLE_OK)
		return bole_cli_fail(kv->spec.repo, rc);
	if (cli->json)
		putchar('[');
	for (bool first = true; (rc = bole_kv_branch_next(view, name, &name, &oid)) == BOLE_OK;
	     first = false) {
		bool is_head = name.len == strlen(head) && memcmp(name.ptr, head, name.len) == 0;

		bole_oid_format(&oid, hex);
		if (cli->json) {
			fputs(first ? "{\"name\":" : ",{\"name\":", stdout);
			bole_cli_json(stdout, name);
			printf(",\"commit\":\"%s\",\"head\":%s}", hex, is_head ? "true" : "false");
			continue;
		}
		printf("%c %s ", is_head ? '*' : ' ', hex);
		bole_cli_plain(stdout, name);
		putchar('\n');
	}
	if (cli->json)
		puts("]");
	bole_kv_view_close(view);
	return rc == BOLE_END ? BOLE_EXIT_OK : bole_cli_fail(kv->spec.repo, rc);
}

static int change_branch(struct bole_cli_kv *kv, const char *name, const char *from, bool delete)
{
	enum bole_status rc = delete ? bole_kv_branch_delete(kv->kv, name)
	                             : bole_kv_branch_create(kv->kv, name, from);

	if (rc == BOLE_E_DENIED) {
		bole_cli_say("%s is the branch that HEAD names: it stays", name);
		return BOLE_EXIT_CONFLICT;
	}
	if (rc == BOLE_E_NOT_FOUND && !delete) {
		bole_cli_say("nothing to begin %s from: %s has no commit", name,
		             from == NULL ? bole_kv_branch(kv->kv) : from);
		return BOLE_EXIT_NOT_FOUND;
	}
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail(name, rc);
}

static int branch_run(struct bole_cli *cli, int argc, char **argv)
{
	const char *delete = NULL;
	const struct bole_cli_option options[] = {{"--delete", NULL, &delete}};
	struct bole_cli_args args;
	struct bole_cli_kv kv;

	int code = bole_cli_args(argc, argv, branch_help, options, 1, 1, 3, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	bool listing = args.count == 1 && delete == NULL;
	if (delete != NULL && args.count > 1)
		return bole_cli_usage("branch", "--delete takes one NAME and nothing beside it");

	code = bole_cli_kv_open(cli, args.at[0], listing ? BOLE_CLI_READ : BOLE_CLI_WRITE, &kv);
	if (code != BOLE_EXIT_OK)
		return code;
	code = listing ? list_branches(cli, &kv)
	               : change_branch(&kv, delete == NULL ? args.at[1] : delete, args.at[2],
	                               delete != NULL);
	return bole_cli_kv_close(&kv, code);
}

const struct bole_command bole_command_log = {
        .name = "log",
        .summary = "log STORE  the history of a branch",
        .run = log_run,
};

const struct bole_command bole_command_branch = {
        .name = "branch",
        .summary = "branch STORE [NAME [FROM]]  list, make and delete branches",
        .run = branch_run,
};
