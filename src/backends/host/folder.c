/* SPDX-License-Identifier: ISC */
/* A folder of a host's file system. New files are written under a temporary name in it, synced and
 * then renamed, so a name never shows half a file. */
#include "bole/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"

enum { TRIES_MAX = 1000, PATH_MAX_BYTES = 4096, NEW_NAME_BYTES = 32 };

struct host_folder {
	struct bole_folder folder;
	struct bole_alloc *alloc;
	int fd;
	unsigned serial;
};

struct host_file {
	struct bole_file file;
	struct bole_alloc *alloc;
	int fd;
};

struct host_new_file {
	struct bole_new_file file;
	struct host_folder *folder;
	int fd;
	enum bole_status rc;
	char name[NEW_NAME_BYTES];
};

static enum bole_status status_of(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR: return BOLE_E_NOT_FOUND;
	case EEXIST:
	case ENOTEMPTY: return BOLE_E_EXISTS;
	case EACCES:
	case EPERM: return BOLE_E_DENIED;
	case ENOSPC:
	case EDQUOT: return BOLE_E_NO_SPACE;
	case ENAMETOOLONG: return BOLE_E_LIMIT;
	case EROFS: return BOLE_E_READ_ONLY;
	default: return BOLE_E_IO;
	}
}

/* -- Reading -- */

static enum bole_status file_read(struct bole_file *self, uint64_t off, void *dst, size_t len)
{
	const struct host_file *file = (struct host_file *)self;
	uint8_t *to = dst;

	while (len > 0) {
		ssize_t n = pread(file->fd, to, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return BOLE_E_IO;
		to += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return BOLE_OK;
}

static void file_close(struct bole_file *self)
{
	struct host_file *file = (struct host_file *)self;

	close(file->fd);
	bole_alloc_free(file->alloc, file, 1, sizeof *file);
}

static enum bole_status folder_open(struct bole_folder *self, const char *path,
                                    struct bole_file **out)
{
	static const struct bole_file_ops ops = {.read = file_read, .close = file_close};
	const struct host_folder *folder = (struct host_folder *)self;
	struct stat st;

	*out = NULL;
	int fd = openat(folder->fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return status_of(errno);
	struct host_file *file = NULL;
	enum bole_status rc = fstat(fd, &st) != 0 ? status_of(errno) : BOLE_OK;
	if (rc == BOLE_OK && !S_ISREG(st.st_mode))
		rc = BOLE_E_NOT_FOUND;
	if (rc == BOLE_OK) {
		file = bole_alloc_zeroed(folder->alloc, 1, sizeof *file);
		rc = file == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	}
	if (rc != BOLE_OK) {
		close(fd);
		return rc;
	}
	file->file = (struct bole_file){&ops, (uint64_t)st.st_size};
	file->alloc = folder->alloc;
	file->fd = fd;
	*out = &file->file;
	return BOLE_OK;
}

static bool is_folder(int dir, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK)
		return entry->d_type == DT_DIR;
	return fstatat(dir, entry->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static enum bole_status
folder_list(struct bole_folder *self, const char *path,
            enum bole_status (*each)(void *ctx, const char *name, bool is_folder), void *ctx)
{
	const struct host_folder *folder = (struct host_folder *)self;
	enum bole_status rc = BOLE_OK;
	const struct dirent *entry;

	int fd = openat(folder->fd, path[0] == '\0' ? "." : path,
	                O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return status_of(errno);
	DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return BOLE_E_NO_MEMORY;
	}
	errno = 0;
	while (rc == BOLE_OK && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = each(ctx, entry->d_name, is_folder(fd, entry));
		errno = 0;
	}
	if (rc == BOLE_OK && errno != 0)
		rc = status_of(errno);
	closedir(dir);
	return rc;
}

/* -- Writing -- */

static enum bole_status new_write(struct bole_writer *self, const void *src, size_t len)
{
	struct host_new_file *file = (struct host_new_file *)self;
	const uint8_t *from = src;

	while (len > 0 && file->rc == BOLE_OK) {
		ssize_t n = write(file->fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			file->rc = status_of(errno);
			break;
		}
		from += n;
		len -= (size_t)n;
	}
	return file->rc;
}

static enum bole_status new_flush(struct bole_writer *self)
{
	return ((struct host_new_file *)self)->rc;
}

static enum bole_status folder_make(struct bole_folder *self, const char *path)
{
	const struct host_folder *folder = (struct host_folder *)self;
	char part[PATH_MAX_BYTES];
	size_t len = strlen(path);

	if (len >= sizeof part)
		return BOLE_E_LIMIT;
	for (size_t i = 1; i <= len; i++) {
		if (i < len && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdirat(folder->fd, part, 0777) != 0 && errno != EEXIST)
			return status_of(errno);
	}
	return BOLE_OK;
}

static enum bole_status place(const struct host_new_file *file, const char *path)
{
	struct host_folder *folder = file->folder;
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX_BYTES];

	if (fsync(file->fd) != 0)
		return status_of(errno);
	if (slash != NULL) {
		if ((size_t)(slash - path) >= sizeof parent)
			return BOLE_E_LIMIT;
		memcpy(parent, path, (size_t)(slash - path));
		parent[slash - path] = '\0';
		BOLE_TRY(folder_make(&folder->folder, parent));
	}
	return renameat(folder->fd, file->name, folder->fd, path) == 0 ? BOLE_OK : status_of(errno);
}

static enum bole_status new_end(struct bole_new_file *self, const char *path)
{
	struct host_new_file *file = (struct host_new_file *)self;
	struct host_folder *folder = file->folder;
	enum bole_status rc = file->rc;

	if (path != NULL && rc == BOLE_OK)
		rc = place(file, path);
	if (path == NULL || rc != BOLE_OK)
		unlinkat(folder->fd, file->name, 0);
	close(file->fd);
	bole_alloc_free(folder->alloc, file, 1, sizeof *file);
	return path == NULL ? BOLE_OK : rc;
}

static enum bole_status folder_create(struct bole_folder *self, struct bole_new_file **out)
{
	struct host_folder *folder = (struct host_folder *)self;

	*out = NULL;
	struct host_new_file *file = bole_alloc_zeroed(folder->alloc, 1, sizeof *file);
	if (file == NULL)
		return BOLE_E_NO_MEMORY;
	file->fd = -1;
	errno = EEXIST;
	for (unsigned i = 0; i < TRIES_MAX && file->fd < 0 && errno == EEXIST; i++) {
		snprintf(file->name, sizeof file->name, "tmp_bole_%u", folder->serial++);
		file->fd = openat(folder->fd, file->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		                  0666);
	}
	if (file->fd < 0) {
		enum bole_status rc = status_of(errno);

		bole_alloc_free(folder->alloc, file, 1, sizeof *file);
		return rc;
	}
	file->file = (struct bole_new_file){{.write = new_write, .flush = new_flush}, new_end};
	file->folder = folder;
	*out = &file->file;
	return BOLE_OK;
}

/* -- The folder -- */

static void folder_close(struct bole_folder *self)
{
	struct host_folder *folder = (struct host_folder *)self;

	fsync(folder->fd);
	close(folder->fd);
	bole_alloc_free(folder->alloc, folder, 1, sizeof *folder);
}

static enum bole_status any_name(void *ctx, const char *name, bool folder)
{
	(void)ctx;
	(void)name;
	(void)folder;
	return BOLE_E_EXISTS;
}

enum bole_status bole_host_folder_open(struct bole_alloc *alloc, const char *path, bool create_it,
                                       struct bole_folder **out)
{
	static const struct bole_folder_ops ops = {
	        .open = folder_open,
	        .list = folder_list,
	        .create = folder_create,
	        .make = folder_make,
	        .close = folder_close,
	};

	*out = NULL;
	if (create_it && mkdir(path, 0777) != 0 && errno != EEXIST)
		return status_of(errno);
	struct host_folder *folder = bole_alloc_zeroed(alloc, 1, sizeof *folder);
	if (folder == NULL)
		return BOLE_E_NO_MEMORY;
	folder->folder.ops = &ops;
	folder->alloc = alloc;
	folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum bole_status rc = folder->fd < 0 ? status_of(errno) : BOLE_OK;
	if (rc == BOLE_OK && create_it)
		rc = folder_list(&folder->folder, "", any_name, NULL);
	if (rc == BOLE_OK) {
		*out = &folder->folder;
		return BOLE_OK;
	}
	if (folder->fd >= 0)
		close(folder->fd);
	bole_alloc_free(alloc, folder, 1, sizeof *folder);
	return rc;
}
