/* SPDX-License-Identifier: ISC */
/* What the commands that talk to other servers share. */
#ifndef BOLE_TOOLS_CLIENT_H
#define BOLE_TOOLS_CLIENT_H

#include "bole/client.h"
#include "cli.h"
#include "tls.h"

/* Options of all of them, for bole_cli_args; BOLE_CLI_CLIENT_HELP describes them. */
#define BOLE_CLI_CLIENT_OPTIONS(s)                                                      \
	{"--protocol", NULL, &(s).protocol}, {"--credentials", NULL, &(s).credentials}, \
	        {"--cacert", NULL, &(s).cacert}, {"--proxy", NULL, &(s).proxy},         \
	{                                                                               \
		"--quiet", &(s).quiet, NULL                                             \
	}
#define BOLE_CLI_CLIENT_HELP                                                                 \
	"  --credentials FILE   its first line is user:password or \"Bearer token\";\n"      \
	"                       else BOLE_CREDENTIALS in the environment, else the URL\n"    \
	"  --cacert FILE        certificates to trust for https://, in PEM; else those of\n" \
	"                       SSL_CERT_FILE, else the system's\n"                          \
	"  --proxy URL          the way to http:// and https://, \"\" for none; else\n"      \
	"                       http_proxy, https_proxy, all_proxy and no_proxy count\n"     \
	"  --protocol N         speak version 0, 1 or 2 of the protocol (2)\n"               \
	"  --quiet              no progress\n"

#define BOLE_CLI_SERVER_OPTION_HELP \
	"  --server-option TEXT   tell the server this, too; may be repeated\n"

/* An option that may be given more than once, as "--name VALUE" or "--name=VALUE": taken out of
 * the arguments before "--". Returns the new count of arguments, or -1 after saying what is wrong.
 */
enum { BOLE_CLI_VALUES_MAX = 64 };
struct bole_cli_values {
	const char *at[BOLE_CLI_VALUES_MAX];
	size_t count;
};
int bole_cli_take_values(int argc, char **argv, const char *name, struct bole_cli_values *);

/* Arguments from number `first` on are refspecs: BOLE_EXIT_OK, or BOLE_EXIT_USAGE after naming the
 * one that is none. */
int bole_cli_check_refspecs(const char *command, const struct bole_cli_args *, int first,
                            bool push);

struct bole_cli_client_settings {
	const char *protocol;
	const char *credentials;
	const char *cacert;
	const char *proxy;
	bool quiet;
	struct bole_cli_values server_options;
};

struct bole_cli_client {
	struct bole_cli *cli;
	struct bole_cli_progress progress;
	struct bole_client_options options;
	struct bole_client *client;
	struct bole_tls_settings tls;
	char secret[1100];
	bool line_open; /* of what the server shows */
	bool show_all;  /* changes that are none, too */
	size_t shown;   /* changes printed */
};

/* Says what is wrong and returns an enum bole_exit. push: what the server says is shown in any
 * case, else on a terminal only. close is safe in any case. */
int bole_cli_client_open(struct bole_cli *, const char *url,
                         const struct bole_cli_client_settings *, bool push,
                         struct bole_cli_client *out);
void bole_cli_client_close(struct bole_cli_client *);
/* Says why a call failed; returns the exit code. */
int bole_cli_client_fail(struct bole_cli_client *, enum bole_status);
/* A bole_client_change, printed; ctx is the bole_cli_client. done closes what JSON opened. */
void bole_cli_client_change(void *ctx, const struct bole_client_change *);

/* What a fetch or a push moved. */
struct bole_cli_transfer {
	uint64_t objects;
	uint64_t changed; /* references */
	uint64_t refused; /* the same */
	uint64_t bytes;
};
struct bole_cli_store;
/* The end of a fetch or a push that returned rc: closes the store, prints the figures or why it
 * failed, and returns the exit code. */
int bole_cli_client_done(struct bole_cli_client *, enum bole_status rc, struct bole_cli_store *,
                         const struct bole_cli_transfer *);

#endif /* BOLE_TOOLS_CLIENT_H */
