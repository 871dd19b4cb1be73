/* SPDX-License-Identifier: ISC */
/* The command table of the bole tool, and what every command shares. One file per command: it
 * defines one struct bole_command, declares it here and adds it to the list in main.c. */
#ifndef BOLE_TOOLS_COMMANDS_H
#define BOLE_TOOLS_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "bole/limits.h"
#include "bole/platform.h"
#include "bole/store.h"

/* Exit codes, the same for every command. */
enum bole_exit {
	BOLE_EXIT_OK = 0,
	BOLE_EXIT_FAILED = 1,    /* the work failed; the reason is on stderr */
	BOLE_EXIT_USAGE = 2,     /* wrong arguments; nothing was done */
	BOLE_EXIT_NOT_FOUND = 3, /* no such store, repository, branch or key */
	BOLE_EXIT_CONFLICT = 4,  /* somebody else changed it first, or holds the store */
	BOLE_EXIT_DAMAGED = 5,   /* stored bytes are damaged: run bole fsck */
	BOLE_EXIT_NO_SPACE = 6,  /* the volume is full */
};

struct bole_cli {
	struct bole_platform *platform;
	bool json;     /* --json anywhere on the command line (main.c takes it out) */
	bool checking; /* this is fsck: running it is no advice */
};

/* argv[0] is the command's name; returns an enum bole_exit. */
struct bole_command {
	const char *name;
	const char *summary; /* "serve STORE [OPTIONS]  serve a store to Git clients" */
	int (*run)(struct bole_cli *, int argc, char **argv);
};

extern const struct bole_command bole_command_init;
extern const struct bole_command bole_command_import;
extern const struct bole_command bole_command_export;
extern const struct bole_command bole_command_bundle;
extern const struct bole_command bole_command_ls_remote;
extern const struct bole_command bole_command_clone;
extern const struct bole_command bole_command_fetch;
extern const struct bole_command bole_command_backfill;
extern const struct bole_command bole_command_push;
extern const struct bole_command bole_command_mirror;
extern const struct bole_command bole_command_repo;
extern const struct bole_command bole_command_stats;
extern const struct bole_command bole_command_fsck;
extern const struct bole_command bole_command_gc;
extern const struct bole_command bole_command_repack;
extern const struct bole_command bole_command_scrub;
extern const struct bole_command bole_command_grow;
extern const struct bole_command bole_command_get;
extern const struct bole_command bole_command_set;
extern const struct bole_command bole_command_rm;
extern const struct bole_command bole_command_ls;
extern const struct bole_command bole_command_log;
extern const struct bole_command bole_command_branch;
extern const struct bole_command bole_command_serve;
extern const struct bole_command bole_command_token;
extern const struct bole_command bole_command_lfs;
extern const struct bole_command bole_command_upload_pack;
extern const struct bole_command bole_command_upload_archive;
extern const struct bole_command bole_command_receive_pack;

/* -- STORE#repo@branch (store_open.c) -- */

struct bole_cli_spec {
	char store[4096];                  /* path, or "mem:" */
	char repo[BOLE_REPO_NAME_MAX + 1]; /* "main" unless given */
	char branch[BOLE_REF_NAME_MAX];    /* "" unless given: HEAD */
	bool repo_given;
};
/* Says what is wrong on stderr and returns BOLE_EXIT_USAGE, or BOLE_EXIT_OK. */
int bole_cli_spec_parse(const char *text, struct bole_cli_spec *out);

/* BOLE_EXIT_OK, or BOLE_EXIT_USAGE after saying why it is no name of a repository. */
int bole_cli_repo_name(const char *name, size_t len);

/* BOLE_CLI_SERVE: for writing, and somebody does the background work. */
enum bole_cli_access { BOLE_CLI_READ, BOLE_CLI_WRITE, BOLE_CLI_SERVE };

struct bole_cli_store {
	struct bole_store *store;
	struct bole_block *disk;    /* NULL for mem: */
	struct bole_block *offload; /* the disk behind the I/O workers */
};
/* Opens the store that spec names; says what is wrong and what to do on stderr. Returns an enum
 * bole_exit. close is safe on a zeroed struct. */
int bole_cli_store_open(struct bole_cli *, const struct bole_cli_spec *, enum bole_cli_access,
                        struct bole_cli_store *out);
/* BOLE_EXIT_OK, or BOLE_EXIT_FAILED after saying why. */
int bole_cli_store_close(struct bole_cli_store *);

/* Keeps the last error that is logged between begin and end in line, for a message that names it;
 * what was kept before that, and what tell is called for, goes to the log. Not where other threads
 * run. */
struct bole_cli_catch {
	struct bole_platform_ops ops; /* the platform's in between */
	const struct bole_platform_ops *under;
	struct bole_platform *platform;
	char line[512];
};
void bole_cli_catch_begin(struct bole_cli_catch *, struct bole_platform *);
void bole_cli_catch_end(struct bole_cli_catch *);
void bole_cli_catch_tell(struct bole_cli_catch *);

/* Says why a store did not open, and what to do about it; owner: who holds it, or ""; why: what the
 * log had as the last error, or "". */
int bole_cli_fail_open(const struct bole_cli *, const char *path, enum bole_status rc,
                       const char *owner, const char *why);

/* Prints "bole: " and a line of its own on stderr; control bytes in it become '?'. */
void bole_cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints "bole: what: reason" and what to do next; returns the exit code for rc. */
int bole_cli_fail(const char *what, enum bole_status rc);
/* The same with words of its own for the reason, unless they are "". */
int bole_cli_fail_why(const char *what, const char *why, enum bole_status rc);

#endif /* BOLE_TOOLS_COMMANDS_H */
