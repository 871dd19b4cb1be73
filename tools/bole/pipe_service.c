/* SPDX-License-Identifier: ISC */
/* bole upload-pack, bole receive-pack: a Git service on stdin and stdout, for use behind any sshd
 * (a forced command, or git's --upload-pack and --receive-pack). GIT_PROTOCOL names the version. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bole/node.h"
#include "bole/posix.h"
#include "commands.h"

static int serve(struct bole_cli *cli, const struct bole_cli_spec *spec, struct bole_store *store,
                 enum bole_node_service service)
{
	struct bole_stream *stream = NULL;
	const char *protocol = getenv("GIT_PROTOCOL");

	enum bole_status rc =
	        bole_posix_pipe_stream(cli->platform, STDIN_FILENO, STDOUT_FILENO, &stream);
	if (rc != BOLE_OK)
		return bole_cli_fail("cannot start", rc);
	rc = bole_node_serve_stream(cli->platform, store, service, spec->repo,
	                            protocol == NULL ? "" : protocol, stream);
	stream->ops->close(stream);
	if (rc == BOLE_OK)
		return BOLE_EXIT_OK;
	return bole_cli_fail(spec->repo, rc);
}

static int run(struct bole_cli *cli, int argc, char **argv, enum bole_node_service service)
{
	struct bole_cli_spec spec;
	struct bole_cli_store store;

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: bole %s STORE#REPOSITORY\n", argv[0]);
		return BOLE_EXIT_USAGE;
	}
	int code = bole_cli_spec_parse(argv[1], &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(
		        cli, &spec,
		        service == BOLE_NODE_RECEIVE_PACK ? BOLE_CLI_WRITE : BOLE_CLI_READ, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	code = serve(cli, &spec, store.store, service);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

static int run_upload_pack(struct bole_cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, BOLE_NODE_UPLOAD_PACK);
}

static int run_receive_pack(struct bole_cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, BOLE_NODE_RECEIVE_PACK);
}

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
