/* SPDX-License-Identifier: ISC */
/* git-archive(1) of what a reference names, streamed: the walk over the tree (archive.c), the
 * formats (archive_tar.c, archive_zip.c), deflated streams (archive_deflate.c), and files that
 * change on their way (archive_content.c). Nothing is kept but the trees on the way, a file that
 * changes and, for zip, its directory. */
#ifndef BOLE_GIT_ARCHIVE_H
#define BOLE_GIT_ARCHIVE_H

#include "base/deflate.h"
#include "base/memory.h"
#include "git/object/object.h"
#include "git/pattern/attributes.h"
#include "git/service/service_impl.h"

enum {
	BOLE_ARCHIVE_LEVEL = 6,
	BOLE_ARCHIVE_PATHS_MAX = 64,
	BOLE_ARCHIVE_TEXT_MAX = 16 * 1024, /* all words of a request */
	BOLE_ARCHIVE_PATH_MAX = 8192,      /* of an entry, with its prefix */
};

enum bole_archive_format { BOLE_ARCHIVE_TAR, BOLE_ARCHIVE_TGZ, BOLE_ARCHIVE_ZIP };

struct bole_archive_ask {
	enum bole_archive_format format;
	int level;                 /* of compression, 0 to 9 */
	struct bole_bytes treeish; /* "<reference>" or "<reference>:<path>" */
	struct bole_bytes prefix;
	struct bole_bytes paths[BOLE_ARCHIVE_PATHS_MAX]; /* none = everything */
	size_t path_count;
};

/* "tar", "tgz", "tar.gz", "zip". */
bool bole_archive_format_of(struct bole_bytes name, enum bole_archive_format *out);

/* One entry; a folder's path ends in '/'. */
struct bole_archive_entry {
	struct bole_bytes path;
	struct bole_oid oid;
	uint32_t mode;
	uint64_t bytes;
	bool changed; /* content is what goes out, not the blob */
	struct bole_bytes content;
};

/* An archive in the making. out is where its bytes go, compressed or not. */
struct bole_archive {
	struct bole_session *s;
	const struct bole_archive_ask *ask;
	struct bole_object_reader *reader;
	struct bole_output *out;
	struct bole_oid commit; /* null: of a tree */
	int64_t time_s;
	struct bole_buffer directory; /* of a zip */
	uint64_t entry_count;
};

/* A deflated stream inside another format. */
struct bole_archive_deflate {
	struct bole_writer writer;
	struct bole_output *out;
	struct bole_deflater *deflater;
	uint32_t crc;
	uint64_t taken;
	uint64_t written;
	uint8_t held[4]; /* the last bytes so far: a checksum that nobody wants */
	size_t held_len;
	size_t head_left; /* of zlib's two bytes */
};
/* Begins a stream. The deflater is the caller's. */
void bole_archive_deflate_begin(struct bole_archive_deflate *, struct bole_deflater *,
                                struct bole_output *);
BOLE_MUST_USE enum bole_status bole_archive_deflate_end(struct bole_archive_deflate *);

/* archive_content.c: what becomes of files whose attributes ask for something. */
struct bole_archive_content;
BOLE_MUST_USE enum bole_status bole_archive_content_open(struct bole_archive *,
                                                         struct bole_archive_content **out);
/* NULL is fine. */
void bole_archive_content_close(struct bole_archive_content *);
/* Sets content and bytes of a file that goes out other than it is stored; path: inside the tree.
 * The content is borrowed until the next call. */
BOLE_MUST_USE enum bole_status bole_archive_content_of(struct bole_archive_content *,
                                                       struct bole_attributes *,
                                                       struct bole_bytes path,
                                                       struct bole_archive_entry *);

/* Writes the whole archive. BOLE_E_NOT_FOUND: a path that is not there, found before the first
 * byte.
 */
BOLE_MUST_USE enum bole_status
bole_archive_write(struct bole_session *, const struct bole_archive_ask *, struct bole_writer *);

void bole_archive_tar_begin(struct bole_archive *);
BOLE_MUST_USE enum bole_status bole_archive_tar_entry(struct bole_archive *,
                                                      const struct bole_archive_entry *);
void bole_archive_tar_end(struct bole_archive *);
BOLE_MUST_USE enum bole_status bole_archive_zip_entry(struct bole_archive *,
                                                      const struct bole_archive_entry *,
                                                      struct bole_deflater *);
BOLE_MUST_USE enum bole_status bole_archive_zip_end(struct bole_archive *);

#endif /* BOLE_GIT_ARCHIVE_H */
