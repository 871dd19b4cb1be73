/* SPDX-License-Identifier: ISC */
/* bole: the command line. Finds the command in the table and runs it on the posix platform. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bole/posix.h"
#include "commands.h"

/* One a line, in the order in which `bole help` shows them. */
/* clang-format off */
static const struct bole_command *const commands[] = {
	&bole_command_init,
	&bole_command_serve,
	&bole_command_token,
	&bole_command_get,
	&bole_command_set,
	&bole_command_rm,
	&bole_command_ls,
	&bole_command_log,
	&bole_command_branch,
	&bole_command_repo,
	&bole_command_import,
	&bole_command_export,
	&bole_command_bundle,
	&bole_command_ls_remote,
	&bole_command_clone,
	&bole_command_fetch,
	&bole_command_backfill,
	&bole_command_push,
	&bole_command_mirror,
	&bole_command_lfs,
	&bole_command_fsck,
	&bole_command_gc,
	&bole_command_repack,
	&bole_command_scrub,
	&bole_command_grow,
	&bole_command_stats,
	&bole_command_upload_pack,
	&bole_command_upload_archive,
	&bole_command_receive_pack,
};
/* clang-format on */

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static int usage(FILE *to, int code)
{
	fputs("usage: bole COMMAND [ARGUMENTS]\n\n", to);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(to, "  %s\n", commands[i]->summary);
	fputs("\nSTORE is a file or disk, or mem: ; STORE#repo@branch names a repository in it\n"
	      "and a branch. --json prints JSON where a command prints at all.\n"
	      "Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 not found, 4 conflict or in\n"
	      "use, 5 damaged, 6 no space.\n",
	      to);
	return code;
}

static const struct bole_command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	}
	return NULL;
}

/* Takes --json out of the arguments before "--". Returns the new count. */
static int take_json(int argc, char **argv, bool *json)
{
	int kept = 0;
	bool options = true;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0)
			options = false;
		if (options && strcmp(argv[i], "--json") == 0)
			*json = true;
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	return kept;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	const struct bole_command *command = command_find(argv[1]);
	if (command == NULL) {
		bole_cli_say("no command '%s'; try: bole help", argv[1]);
		return BOLE_EXIT_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	/* Only a server's log is a log; elsewhere standard error is for what went wrong (and behind
	 * sshd it is the user's terminal). */
	struct bole_posix_options options = {.log_level = 1 + (strcmp(argv[1], "serve") == 0
	                                                               ? (int)BOLE_LOG_INFO
	                                                               : (int)BOLE_LOG_WARN)};
	enum bole_status rc = bole_posix_open(&options, &cli->platform);
	if (rc != BOLE_OK)
		return bole_cli_fail("cannot start", rc);
	int code = command->run(cli, argc - 1, argv + 1);
	bole_posix_close(cli->platform);
	return code;
}

/* Who pipes into head has read what it wanted. */
static bool reader_is_gone(void)
{
	struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

	return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

int main(int argc, char **argv)
{
	struct bole_cli cli = {0};

	argc = take_json(argc, argv, &cli.json);
	if (argc < 2)
		return usage(stderr, BOLE_EXIT_USAGE);
	bool help = strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0;
	int code = help ? usage(stdout, BOLE_EXIT_OK) : run(&cli, argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		if (!reader_is_gone())
			bole_cli_say("cannot write to standard output");
		return code == BOLE_EXIT_OK ? BOLE_EXIT_FAILED : code;
	}
	return code;
}
