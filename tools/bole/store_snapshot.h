/* SPDX-License-Identifier: ISC */
/* A repository of a store, opened to be read. */
#ifndef BOLE_TOOLS_STORE_SNAPSHOT_H
#define BOLE_TOOLS_STORE_SNAPSHOT_H

#include "cli.h"

struct bole_cli_snapshot {
	struct bole_cli_spec spec;
	struct bole_cli_store store;
	struct bole_repo repo;
	struct bole_snapshot *snapshot; /* NULL when open failed */
};
/* Says what is wrong; returns an exit code. close is needed in any case. */
int bole_cli_snapshot_open(struct bole_cli *, const char *text, struct bole_cli_snapshot *out);
/* Returns code, or what closing said when that was 0. */
int bole_cli_snapshot_close(struct bole_cli_snapshot *, int code);

#endif /* BOLE_TOOLS_STORE_SNAPSHOT_H */
