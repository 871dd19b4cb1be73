/* SPDX-License-Identifier: ISC */
/* A file or a raw disk of a host as a block device.
 *
 * Locks. QEMU guards images with open-file-description locks: for each permission i that it holds
 * a read lock on byte 100 + i, for each permission that it does not share a read lock on byte
 * 200 + i, and it looks for locks of others on the opposite bytes (0 = consistent read, 1 = write,
 * 3 = resize). A writer here takes a write lock over both ranges, which conflicts with any of
 * them. A reader takes what a QEMU that opens the image read-only would take: it holds "read",
 * does not share "write" and "resize", and refuses when somebody holds those two or does not share
 * "read". Such locks do not tell their owner, so the owner also holds a classic record lock on
 * byte 400, which does.
 *
 * The program unit is 4096 although smaller writes would work: file systems and most disks keep
 * 4 KiB blocks, so less than that costs them a read first, and a durable write of 512 bytes is
 * no faster. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "bole/devices.h"

enum {
	FILE_UNIT = 4096,
	FILE_SECTOR = 512,
	FILE_QUEUE_DEPTH = 32,
	FILE_IOV_MAX = 64,
	LOCK_PERM = 100,
	LOCK_UNSHARED = 200,
	LOCK_END = 300,
	LOCK_OWNER = 400,
	PERM_READ = 0,
	PERM_WRITE = 1,
	PERM_RESIZE = 3,
};

struct file_block {
	struct bole_block block;
	struct bole_alloc *alloc;
	int fd;
};

static struct file_block *file_of(struct bole_block *block)
{
	return (struct file_block *)block;
}

static enum bole_status status_of_errno(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR: return BOLE_E_NOT_FOUND;
	case EEXIST: return BOLE_E_EXISTS;
	case ENOSPC:
	case EFBIG:
	case EDQUOT: return BOLE_E_NO_SPACE;
	case EACCES:
	case EPERM:
	case EROFS: return BOLE_E_DENIED;
	default: return BOLE_E_IO;
	}
}

static enum bole_status file_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	uint8_t *p = dst;

	while (len > 0) {
		ssize_t n = pread(file_of(block)->fd, p, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return BOLE_E_IO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return BOLE_OK;
}

/* From the page cache or not at all. A file system that cannot say so says EOPNOTSUPP. */
static enum bole_status file_read_ready(struct bole_block *block, uint64_t off, void *dst,
                                        size_t len)
{
	struct iovec iov = {.iov_base = dst, .iov_len = len};
	ssize_t n = preadv2(file_of(block)->fd, &iov, 1, (off_t)off, RWF_NOWAIT);

	return n >= 0 && (size_t)n == len ? BOLE_OK : BOLE_AGAIN;
}

/* Writes up to FILE_IOV_MAX pieces, from skip bytes into the first one on. */
static ssize_t write_some(int fd, uint64_t off, const struct bole_bytes *pieces, size_t count,
                          size_t skip)
{
	struct iovec iov[FILE_IOV_MAX];
	size_t n = count < FILE_IOV_MAX ? count : FILE_IOV_MAX;

	for (size_t i = 0; i < n; i++) {
		size_t from = i == 0 ? skip : 0;
		/* pwritev only reads from here. */
		iov[i].iov_base = (void *)(uintptr_t)(pieces[i].ptr + from);
		iov[i].iov_len = pieces[i].len - from;
	}
	return pwritev(fd, iov, (int)n, (off_t)off);
}

static enum bole_status file_programv(struct bole_block *block, uint64_t off,
                                      const struct bole_bytes *pieces, size_t count)
{
	size_t i = 0;
	size_t skip = 0;

	for (;;) {
		while (i < count && skip == pieces[i].len) {
			i++;
			skip = 0;
		}
		if (i == count)
			return BOLE_OK;
		ssize_t n = write_some(file_of(block)->fd, off, pieces + i, count - i, skip);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? BOLE_E_IO : status_of_errno(errno);
		off += (uint64_t)n;
		size_t done = (size_t)n;
		while (done > 0) {
			size_t step = pieces[i].len - skip;
			if (done < step) {
				skip += done;
				break;
			}
			done -= step;
			i++;
			skip = 0;
		}
	}
}

static enum bole_status file_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	/* A hint: where the file system cannot punch holes nothing is lost. */
	(void)fallocate(file_of(block)->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
	                (off_t)len);
	return BOLE_OK;
}

static enum bole_status file_flush(struct bole_block *block)
{
	return fdatasync(file_of(block)->fd) == 0 ? BOLE_OK : BOLE_E_IO;
}

static void file_close(struct bole_block *block)
{
	struct file_block *file = file_of(block);

	(void)close(file->fd);
	bole_alloc_free(file->alloc, file, 1, sizeof *file);
}

static const struct bole_block_ops file_ops = {
        .read = file_read,
        .read_ready = file_read_ready,
        .programv = file_programv,
        .discard = file_discard,
        .flush = file_flush,
        .close = file_close,
};

static int lock_call(int fd, int command, short type, off_t start, off_t len)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	if (fcntl(fd, command, &lock) != 0)
		return -1;
	/* A query says "unlocked" when nothing is in the way. */
	if (command == F_OFD_GETLK && lock.l_type != F_UNLCK) {
		errno = EAGAIN;
		return -1;
	}
	return 0;
}

static int lock_shared(int fd)
{
	static const struct {
		int command;
		short type;
		off_t byte;
	} steps[] = {
	        {F_OFD_SETLK, F_RDLCK, LOCK_PERM + PERM_READ},
	        {F_OFD_SETLK, F_RDLCK, LOCK_UNSHARED + PERM_WRITE},
	        {F_OFD_SETLK, F_RDLCK, LOCK_UNSHARED + PERM_RESIZE},
	        {F_OFD_GETLK, F_WRLCK, LOCK_PERM + PERM_WRITE},
	        {F_OFD_GETLK, F_WRLCK, LOCK_PERM + PERM_RESIZE},
	        {F_OFD_GETLK, F_WRLCK, LOCK_UNSHARED + PERM_READ},
	};

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
		if (lock_call(fd, steps[i].command, steps[i].type, steps[i].byte, 1) != 0)
			return -1;
	return 0;
}

static void name_owner(int fd, char *owner, size_t cap)
{
	struct flock lock = {
	        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_OWNER, .l_len = 1};

	if (owner == NULL || cap == 0)
		return;
	if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
		(void)snprintf(owner, cap, "process %ld", (long)lock.l_pid);
	else
		(void)snprintf(owner, cap, "another process (QEMU?)");
}

static enum bole_status take_lock(int fd, bool shared, char *owner, size_t owner_cap)
{
	int rc = shared ? lock_shared(fd)
	                : lock_call(fd, F_OFD_SETLK, F_WRLCK, LOCK_PERM, LOCK_END - LOCK_PERM);

	if (rc != 0) {
		if (errno != EAGAIN && errno != EACCES)
			return BOLE_E_IO;
		name_owner(fd, owner, owner_cap);
		return BOLE_E_BUSY;
	}
	(void)lock_call(fd, F_SETLK, shared ? F_RDLCK : F_WRLCK, LOCK_OWNER, 1);
	return BOLE_OK;
}

/* The size in whole units of a file or block device. */
static enum bole_status size_of(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return BOLE_E_IO;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, size) != 0)
			return BOLE_E_IO;
	} else if (S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
	} else {
		return BOLE_E_INVALID;
	}
	*size -= *size % FILE_UNIT;
	return BOLE_OK;
}

static enum bole_status prepare(int fd, const struct bole_block_file_options *options, char *owner,
                                size_t owner_cap, uint64_t *size)
{
	enum bole_status rc = take_lock(fd, options->read_only, owner, owner_cap);

	if (rc != BOLE_OK)
		return rc;
	if (options->create_bytes != 0 && ftruncate(fd, (off_t)options->create_bytes) != 0)
		return status_of_errno(errno);
	return size_of(fd, size);
}

/* A file that holds all of its blocks was written out on purpose: a hole punched into it would make
 * each write there wait for the file system's journal. */
static bool is_allocated(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_blocks * FILE_SECTOR >= (uint64_t)st.st_size;
}

enum bole_status bole_block_file_open(struct bole_alloc *alloc, const char *path,
                                      const struct bole_block_file_options *options, char *owner,
                                      size_t owner_cap, struct bole_block **out)
{
	int flags = (options->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	const char *base = strrchr(path, '/');
	uint64_t size = 0;

	if (owner != NULL && owner_cap > 0)
		owner[0] = '\0';
	if (options->create_bytes > (uint64_t)INT64_MAX ||
	    (options->create_bytes != 0 && options->read_only))
		return BOLE_E_INVALID;
	if (options->create_bytes != 0)
		flags |= O_CREAT | O_EXCL;
	int fd = open(path, flags, 0666);
	if (fd < 0)
		return status_of_errno(errno);
	enum bole_status rc = prepare(fd, options, owner, owner_cap, &size);
	struct file_block *file = rc == BOLE_OK ? bole_alloc_zeroed(alloc, 1, sizeof *file) : NULL;
	if (file == NULL) {
		if (rc != BOLE_E_BUSY && options->create_bytes != 0)
			(void)unlink(path);
		(void)close(fd);
		return rc == BOLE_OK ? BOLE_E_NO_MEMORY : rc;
	}
	*file = (struct file_block){{&file_ops, {.kind = BOLE_BLOCK_MANAGED}}, alloc, fd};
	struct bole_block_info *info = &file->block.info;
	info->durability = BOLE_DURABLE_DEVICE;
	info->size_bytes = size;
	info->read_unit = FILE_SECTOR;
	info->program_unit = FILE_UNIT;
	info->damage_unit = FILE_UNIT;
	info->queue_depth = FILE_QUEUE_DEPTH;
	info->volatile_cache = true;
	info->can_discard = !is_allocated(fd);
	info->read_only = options->read_only;
	(void)snprintf(info->name, sizeof info->name, "%s", base == NULL ? path : base + 1);
	*out = &file->block;
	return BOLE_OK;
}
