/* SPDX-License-Identifier: ISC */
/* bole upload-pack, bole receive-pack: a Git service on stdin and stdout, for use behind any sshd
 * (a forced command, or git's --upload-pack and --receive-pack). GIT_PROTOCOL names the version. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bole/config.h"
#include "bole/node.h"
#include "bole/posix.h"
#include "cli.h"
#include "commands.h"

struct settings {
	struct bole_config *config;
	const char *store;
};

static int show_help(const char *service)
{
	printf("usage: bole %s STORE#REPOSITORY [--config FILE] [--set KEY=VALUE]\n\n"
	       "Serves one Git client on standard input and output, as a command behind sshd\n"
	       "does. GIT_PROTOCOL and GIT_NAMESPACE count.\n\n"
	       "  --config FILE    read settings from FILE, in git-config syntax\n"
	       "  --set KEY=VALUE  one setting; docs/CONFIG.md lists all\n",
	       service);
	return BOLE_CLI_HELP_SHOWN;
}

/* Options, settings, and the namespace that gitnamespaces(7) takes from the environment. */
static int take_options(struct settings *s, int argc, char **argv)
{
	const char *space = getenv("GIT_NAMESPACE");
	char text[1024];
	int code = BOLE_EXIT_OK;

	for (int i = 1; i < argc && code == BOLE_EXIT_OK; i++) {
		bool set = strcmp(argv[i], "--set") == 0;
		if (set || strcmp(argv[i], "--config") == 0) {
			if (++i == argc)
				return bole_cli_usage(argv[0], "%s needs a value", argv[i - 1]);
			code = set ? bole_cli_config_set(s->config, argv[i])
			           : bole_cli_config_file(s->config, argv[i]);
		} else if (strcmp(argv[i], "--help") == 0) {
			return show_help(argv[0]);
		} else if (argv[i][0] == '-') {
			code = bole_cli_usage(argv[0], "no option %s", argv[i]);
		} else if (s->store != NULL) {
			code = bole_cli_usage(argv[0], "'%s' is one argument too many", argv[i]);
		} else {
			s->store = argv[i];
		}
	}
	if (code == BOLE_EXIT_OK && s->store == NULL)
		code = bole_cli_usage(argv[0], "an argument is missing");
	if (code != BOLE_EXIT_OK || space == NULL || *space == '\0')
		return code;
	int len = snprintf(text, sizeof text, "transfer.namespace=%s", space);
	return bole_cli_config_set(s->config, len < (int)sizeof text ? text : "");
}

static int serve(struct bole_cli *cli, const struct settings *s, const struct bole_cli_spec *spec,
                 struct bole_store *store, enum bole_node_service service)
{
	struct bole_stream *stream = NULL;
	const char *protocol = getenv("GIT_PROTOCOL");

	enum bole_status rc =
	        bole_posix_pipe_stream(cli->platform, STDIN_FILENO, STDOUT_FILENO, &stream);
	if (rc != BOLE_OK)
		return bole_cli_fail("cannot start", rc);
	rc = bole_node_serve_stream(cli->platform, store, s->config, service, spec->repo,
	                            protocol == NULL ? "" : protocol, stream);
	stream->ops->close(stream);
	if (rc == BOLE_OK)
		return BOLE_EXIT_OK;
	return bole_cli_fail(spec->repo, rc);
}

static int open_and_serve(struct bole_cli *cli, const struct settings *s,
                          enum bole_node_service service)
{
	struct bole_cli_spec spec;
	struct bole_cli_store store;

	int code = bole_cli_spec_parse(s->store, &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(
		        cli, &spec,
		        service == BOLE_NODE_RECEIVE_PACK ? BOLE_CLI_WRITE : BOLE_CLI_READ, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	code = serve(cli, s, &spec, store.store, service);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

static int run(struct bole_cli *cli, int argc, char **argv, enum bole_node_service service)
{
	struct settings s = {0};
	enum bole_status rc = bole_config_open(cli->platform->alloc, &s.config);

	if (rc != BOLE_OK)
		return bole_cli_fail("cannot start", rc);
	int code = take_options(&s, argc, argv);
	if (code == BOLE_EXIT_OK)
		code = open_and_serve(cli, &s, service);
	bole_config_close(s.config);
	return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
}

static int run_upload_pack(struct bole_cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, BOLE_NODE_UPLOAD_PACK);
}

static int run_receive_pack(struct bole_cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, BOLE_NODE_RECEIVE_PACK);
}

static int run_upload_archive(struct bole_cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, BOLE_NODE_UPLOAD_ARCHIVE);
}

const struct bole_command bole_command_upload_archive = {
        "upload-archive",
        "upload-archive STORE#REPOSITORY serve git archive --remote on stdin and stdout",
        run_upload_archive,
};

const struct bole_command bole_command_upload_pack = {
        "upload-pack",
        "upload-pack STORE#REPOSITORY    serve a fetch on stdin and stdout (behind sshd)",
        run_upload_pack,
};

const struct bole_command bole_command_receive_pack = {
        "receive-pack",
        "receive-pack STORE#REPOSITORY   take a push on stdin and stdout (behind sshd)",
        run_receive_pack,
};
