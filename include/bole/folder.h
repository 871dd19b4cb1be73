/* SPDX-License-Identifier: ISC */
/* Folders of files, for reading and writing the files of a Git repository (gitrepository-layout(5))
 * without asking for a file system: a host has real ones (bole_host_folder_open), a test makes its
 * own. Paths are relative, parts end in '/', no part is "." or "..". One thread at a time. */
#ifndef BOLE_FOLDER_H
#define BOLE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/status.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An open file that nobody changes. */
struct bole_file;
struct bole_file_ops {
	/* Exactly len bytes at off; the caller stays within size_bytes. BOLE_E_IO. */
	enum bole_status (*read)(struct bole_file *, uint64_t off, void *dst, size_t len);
	void (*close)(struct bole_file *);
};
struct bole_file {
	const struct bole_file_ops *ops;
	uint64_t size_bytes;
};

/* A file in the making, written from its beginning to its end. */
struct bole_new_file {
	struct bole_writer writer;
	/* Gives the file, durable and whole, the name path (folders on the way are made; what had
	 * the name before is replaced); path NULL drops it. Frees. */
	enum bole_status (*end)(struct bole_new_file *, const char *path);
};

struct bole_folder;
struct bole_folder_ops {
	/* BOLE_E_NOT_FOUND (or a folder is there), BOLE_E_IO, BOLE_E_NO_MEMORY, BOLE_E_DENIED. */
	enum bole_status (*open)(struct bole_folder *, const char *path, struct bole_file **out);
	/* Calls each with every name in path ("" = the folder itself), in no order, until it does
	 * not return BOLE_OK; returns that. BOLE_E_NOT_FOUND. */
	enum bole_status (*list)(struct bole_folder *, const char *path,
	                         enum bole_status (*each)(void *ctx, const char *name,
	                                                  bool is_folder),
	                         void *ctx);
	enum bole_status (*create)(struct bole_folder *, struct bole_new_file **out);
	/* Makes an empty folder, and those on the way; fine when it is there. */
	enum bole_status (*make)(struct bole_folder *, const char *path);
	void (*close)(struct bole_folder *);
};
struct bole_folder {
	const struct bole_folder_ops *ops;
};

/* Host only (src/backends/host): a folder of the file system. create_it: it must not exist or be
 * empty (BOLE_E_EXISTS), and is made. */
BOLE_MUST_USE enum bole_status bole_host_folder_open(struct bole_alloc *, const char *path,
                                                     bool create_it, struct bole_folder **out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_FOLDER_H */
