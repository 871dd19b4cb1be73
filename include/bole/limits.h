/* SPDX-License-Identifier: ISC */
/* Named limits, in one place. Those that an operator may change are options with these defaults. */
#ifndef BOLE_LIMITS_H
#define BOLE_LIMITS_H

enum {
	BOLE_REPO_NAME_MAX = 255,     /* bytes of a repository name, without NUL */
	BOLE_REF_NAME_MAX = 1024,     /* bytes of a reference name */
	BOLE_REF_UPDATES_MAX = 10000, /* reference updates in one transaction */
	BOLE_PATH_BYTES_MAX = 4096,   /* bytes of a key or tree path */
	BOLE_TREE_DEPTH_MAX = 2048,   /* nesting of trees that is accepted */
	BOLE_DELTA_DEPTH_MAX = 4095,  /* delta chain that is accepted; our writer stops at 50 */
	BOLE_DELTA_DEPTH_WRITE = 50,
	BOLE_PKT_BYTES_MAX = 65520, /* pkt-line with its four length bytes, gitprotocol-common(5) */
	BOLE_VIEW_BYTES = 64 * 1024,  /* an entry up to this size is viewed whole (odb.h) */
	BOLE_AUX_BYTES_MAX = 1 << 20, /* an aux value held in memory */
};

#endif /* BOLE_LIMITS_H */
