/* SPDX-License-Identifier: ISC */
/* Bundles, for the commands that take one. */
#ifndef BOLE_TOOLS_BUNDLE_H
#define BOLE_TOOLS_BUNDLE_H

#include "cli.h"

struct bole_cli_file_reader {
	struct bole_reader reader;
	FILE *file;
};
void bole_cli_file_reader_init(struct bole_cli_file_reader *, FILE *);

/* Takes a bundle in, or with verify only looks whether it could; prints figures or what is wrong.
 * Returns an exit code. */
int bole_cli_unbundle(struct bole_cli *, struct bole_store *, const char *repo, FILE *,
                      const char *path, bool verify);

#endif /* BOLE_TOOLS_BUNDLE_H */
