/* SPDX-License-Identifier: ISC */
/* Names that some file system takes for another: HFS+ ignores certain code points and case, NTFS
 * has short names, streams, and drops dots and spaces at the end. */
#ifndef BOLE_GIT_FSCK_NAMES_H
#define BOLE_GIT_FSCK_NAMES_H

#include <stdbool.h>

#include "bole/types.h"

enum bole_dot_name { BOLE_DOT_MODULES, BOLE_DOT_IGNORE, BOLE_DOT_ATTRIBUTES, BOLE_DOT_MAILMAP };

/* The name is ".git" on HFS+ or NTFS (up to a separator, where it has one). */
bool bole_hfs_dot_git(struct bole_bytes name);
bool bole_ntfs_dot_git(struct bole_bytes name);
/* The name is ".gitmodules", ".gitignore", ".gitattributes" or ".mailmap" there. */
bool bole_hfs_dot(struct bole_bytes name, enum bole_dot_name);
bool bole_ntfs_dot(struct bole_bytes name, enum bole_dot_name);

#endif /* BOLE_GIT_FSCK_NAMES_H */
