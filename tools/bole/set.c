/* SPDX-License-Identifier: ISC */
/* bole set, bole rm: one commit each. */
#include <stdlib.h>
#include <string.h>

#include "kv_open.h"

enum { AUTHOR_MAX = 1024 };

static const char set_help[] =
        "usage: bole set STORE[#REPO@BRANCH] KEY [VALUE] [-m MESSAGE] [--author AUTHOR]\n\n"
        "Sets a key in a commit of its own. Without VALUE, or when it is -, the value is\n"
        "read from standard input, byte for byte. AUTHOR is 'Name <mail>'.\n";

static const char rm_help[] =
        "usage: bole rm STORE[#REPO@BRANCH] KEY... [-m MESSAGE] [--author AUTHOR]\n\n"
        "Removes keys in one commit. Exit code 3 when there is no such key.\n";

struct change {
	const char *message;
	const char *author;
	char author_buf[AUTHOR_MAX];
	struct bole_kv_info info;
	struct bole_cli_args args;
};

static int change_args(struct change *change, int argc, char **argv, const char *help, int max)
{
	const struct bole_cli_option options[] = {{"-m", NULL, &change->message},
	                                          {"--author", NULL, &change->author}};

	int code = bole_cli_args(argc, argv, help, options, 2, 2, max, &change->args);
	if (code != BOLE_EXIT_OK)
		return code;
	if (!bole_cli_author(change->author, change->author_buf, sizeof change->author_buf,
	                     &change->info))
		return BOLE_EXIT_USAGE;
	change->info.message = change->message;
	return BOLE_EXIT_OK;
}

/* Commits under a message that names the key, unless there is one. */
static int change_commit(struct bole_cli *cli, struct change *change, struct bole_kv_tx *tx,
                         const char *verb)
{
	char message[4200];
	struct bole_oid commit;

	snprintf(message, sizeof message, "%s %s", verb, change->args.at[1]);
	if (change->info.message == NULL)
		change->info.message = message;
	enum bole_status rc = bole_kv_tx_commit(tx, &change->info, &commit);
	return bole_cli_kv_done(cli, change->args.at[1], rc, &commit);
}

static int fail_branch(const struct bole_cli_kv *kv, enum bole_status rc)
{
	return bole_cli_fail(kv->spec.branch[0] == '\0' ? kv->spec.store : kv->spec.branch, rc);
}

static int set_value(struct bole_cli *cli, struct bole_cli_kv *kv, struct change *change,
                     struct bole_bytes value)
{
	struct bole_kv_tx *tx;

	enum bole_status rc = bole_kv_begin(kv->kv, bole_cli_kv_branch(kv), &tx);
	if (rc != BOLE_OK)
		return fail_branch(kv, rc);
	rc = bole_kv_tx_set(tx, bole_cli_bytes(change->args.at[1]), value);
	if (rc == BOLE_OK)
		return change_commit(cli, change, tx, "set");
	bole_kv_tx_abort(tx);
	return bole_cli_kv_done(cli, change->args.at[1], rc, NULL);
}

static int set_run(struct bole_cli *cli, int argc, char **argv)
{
	struct change change = {.message = NULL};
	struct bole_cli_kv kv;
	uint8_t *input = NULL;
	struct bole_bytes value;

	int code = change_args(&change, argc, argv, set_help, 3);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	if (change.args.count == 3 && strcmp(change.args.at[2], "-") != 0) {
		value = bole_cli_bytes(change.args.at[2]);
	} else {
		size_t len;

		if (!bole_cli_read_all(stdin, &input, &len)) {
			bole_cli_say("cannot read the value from standard input");
			return BOLE_EXIT_FAILED;
		}
		value = (struct bole_bytes){input, len};
	}
	code = bole_cli_kv_open(cli, change.args.at[0], BOLE_CLI_WRITE, &kv);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_kv_close(&kv, set_value(cli, &kv, &change, value));
	free(input);
	return code;
}

static int rm_keys(struct bole_cli *cli, struct bole_cli_kv *kv, struct change *change)
{
	struct bole_kv_tx *tx;

	enum bole_status rc = bole_kv_begin(kv->kv, bole_cli_kv_branch(kv), &tx);
	if (rc != BOLE_OK)
		return fail_branch(kv, rc);
	for (int i = 1; i < change->args.count; i++) {
		rc = bole_kv_tx_remove(tx, bole_cli_bytes(change->args.at[i]));
		if (rc == BOLE_OK)
			continue;
		bole_kv_tx_abort(tx);
		return bole_cli_kv_done(cli, change->args.at[i], rc, NULL);
	}
	return change_commit(cli, change, tx, "remove");
}

static int rm_run(struct bole_cli *cli, int argc, char **argv)
{
	struct change change = {.message = NULL};
	struct bole_cli_kv kv;

	int code = change_args(&change, argc, argv, rm_help, BOLE_CLI_ARGS_MAX);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_kv_open(cli, change.args.at[0], BOLE_CLI_WRITE, &kv);
	if (code != BOLE_EXIT_OK)
		return code;
	return bole_cli_kv_close(&kv, rm_keys(cli, &kv, &change));
}

const struct bole_command bole_command_set = {
        .name = "set",
        .summary = "set STORE KEY [VALUE]  set a key in a commit",
        .run = set_run,
};

const struct bole_command bole_command_rm = {
        .name = "rm",
        .summary = "rm STORE KEY...  remove keys in a commit",
        .run = rm_run,
};
