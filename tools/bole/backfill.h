/* SPDX-License-Identifier: ISC */
/* What a partial repository lacks, fetched when a command needs it. */
#ifndef BOLE_TOOLS_BACKFILL_H
#define BOLE_TOOLS_BACKFILL_H

#include "client.h"
#include "kv_open.h"

/* Looks at all that a command will need; BOLE_E_PROMISED: something is not here. */
typedef enum bole_status bole_cli_look(struct bole_kv_view *, void *ctx);

/* Before a command that reads STORE#REPO@BRANCH: of a partial clone, fetches what look comes upon,
 * piece by piece, from its origin; the store is opened anew then. Says what is wrong and returns an
 * enum bole_exit. */
int bole_cli_kv_fill(struct bole_cli *, const char *text, struct bole_cli_kv *, bole_cli_look *,
                     void *ctx);

#endif /* BOLE_TOOLS_BACKFILL_H */
