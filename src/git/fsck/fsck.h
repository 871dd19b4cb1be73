/* SPDX-License-Identifier: ISC */
/* What is wrong with an object, in Git's own terms: the message ids of git-fsck(1) ("fsck-msgids"),
 * each with a severity that may be changed. Pure functions over bytes that may be hostile, without
 * recursion, with bounded memory.
 *
 * Ids that speak of the files of a reference store are known, so that a configuration may name
 * them, but never reported: such files do not exist here. */
#ifndef BOLE_GIT_FSCK_FSCK_H
#define BOLE_GIT_FSCK_FSCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/types.h"

/* X(id, its name in Git, what Git makes of it) */
#define BOLE_FSCK_TABLE(X)                                                       \
	X(NUL_IN_HEADER, "nulInHeader", FATAL)                                   \
	X(UNTERMINATED_HEADER, "unterminatedHeader", FATAL)                      \
	X(BAD_HEADER_CONTINUATION, "badHeaderContinuation", ERROR)               \
	X(BAD_DATE, "badDate", ERROR)                                            \
	X(BAD_DATE_OVERFLOW, "badDateOverflow", ERROR)                           \
	X(BAD_EMAIL, "badEmail", ERROR)                                          \
	X(BAD_GPGSIG, "badGpgsig", ERROR)                                        \
	X(BAD_HEAD_TARGET, "badHeadTarget", ERROR)                               \
	X(BAD_NAME, "badName", ERROR)                                            \
	X(BAD_OBJECT_SHA1, "badObjectSha1", ERROR)                               \
	X(BAD_PACKED_REF_ENTRY, "badPackedRefEntry", ERROR)                      \
	X(BAD_PACKED_REF_HEADER, "badPackedRefHeader", ERROR)                    \
	X(BAD_PARENT_SHA1, "badParentSha1", ERROR)                               \
	X(BAD_REFERENT_NAME, "badReferentName", ERROR)                           \
	X(BAD_REF_CONTENT, "badRefContent", ERROR)                               \
	X(BAD_REF_FILETYPE, "badRefFiletype", ERROR)                             \
	X(BAD_REF_NAME, "badRefName", ERROR)                                     \
	X(BAD_REF_OID, "badRefOid", ERROR)                                       \
	X(BAD_TIMEZONE, "badTimezone", ERROR)                                    \
	X(BAD_TREE, "badTree", ERROR)                                            \
	X(BAD_TREE_SHA1, "badTreeSha1", ERROR)                                   \
	X(BAD_TYPE, "badType", ERROR)                                            \
	X(DUPLICATE_ENTRIES, "duplicateEntries", ERROR)                          \
	X(GITATTRIBUTES_BLOB, "gitattributesBlob", ERROR)                        \
	X(GITATTRIBUTES_LARGE, "gitattributesLarge", ERROR)                      \
	X(GITATTRIBUTES_LINE_LENGTH, "gitattributesLineLength", ERROR)           \
	X(GITATTRIBUTES_MISSING, "gitattributesMissing", ERROR)                  \
	X(GITMODULES_BLOB, "gitmodulesBlob", ERROR)                              \
	X(GITMODULES_LARGE, "gitmodulesLarge", ERROR)                            \
	X(GITMODULES_MISSING, "gitmodulesMissing", ERROR)                        \
	X(GITMODULES_NAME, "gitmodulesName", ERROR)                              \
	X(GITMODULES_PATH, "gitmodulesPath", ERROR)                              \
	X(GITMODULES_SYMLINK, "gitmodulesSymlink", ERROR)                        \
	X(GITMODULES_UPDATE, "gitmodulesUpdate", ERROR)                          \
	X(GITMODULES_URL, "gitmodulesUrl", ERROR)                                \
	X(MISSING_AUTHOR, "missingAuthor", ERROR)                                \
	X(MISSING_COMMITTER, "missingCommitter", ERROR)                          \
	X(MISSING_EMAIL, "missingEmail", ERROR)                                  \
	X(MISSING_NAME_BEFORE_EMAIL, "missingNameBeforeEmail", ERROR)            \
	X(MISSING_OBJECT, "missingObject", ERROR)                                \
	X(MISSING_SPACE_BEFORE_DATE, "missingSpaceBeforeDate", ERROR)            \
	X(MISSING_SPACE_BEFORE_EMAIL, "missingSpaceBeforeEmail", ERROR)          \
	X(MISSING_TAG, "missingTag", ERROR)                                      \
	X(MISSING_TAG_ENTRY, "missingTagEntry", ERROR)                           \
	X(MISSING_TREE, "missingTree", ERROR)                                    \
	X(MISSING_TYPE, "missingType", ERROR)                                    \
	X(MISSING_TYPE_ENTRY, "missingTypeEntry", ERROR)                         \
	X(MULTIPLE_AUTHORS, "multipleAuthors", ERROR)                            \
	X(PACKED_REF_ENTRY_NOT_TERMINATED, "packedRefEntryNotTerminated", ERROR) \
	X(PACKED_REF_UNSORTED, "packedRefUnsorted", ERROR)                       \
	X(TREE_NOT_SORTED, "treeNotSorted", ERROR)                               \
	X(UNKNOWN_TYPE, "unknownType", ERROR)                                    \
	X(ZERO_PADDED_DATE, "zeroPaddedDate", ERROR)                             \
	X(BAD_REFTABLE_TABLE_NAME, "badReftableTableName", WARN)                 \
	X(EMPTY_NAME, "emptyName", WARN)                                         \
	X(FULL_PATHNAME, "fullPathname", WARN)                                   \
	X(HAS_DOT, "hasDot", WARN)                                               \
	X(HAS_DOTDOT, "hasDotdot", WARN)                                         \
	X(HAS_DOTGIT, "hasDotgit", WARN)                                         \
	X(LARGE_PATHNAME, "largePathname", WARN)                                 \
	X(NULL_SHA1, "nullSha1", WARN)                                           \
	X(NUL_IN_COMMIT, "nulInCommit", WARN)                                    \
	X(ZERO_PADDED_FILEMODE, "zeroPaddedFilemode", WARN)                      \
	X(BAD_FILEMODE, "badFilemode", INFO)                                     \
	X(BAD_TAG_NAME, "badTagName", INFO)                                      \
	X(EMPTY_PACKED_REFS_FILE, "emptyPackedRefsFile", INFO)                   \
	X(GITATTRIBUTES_SYMLINK, "gitattributesSymlink", INFO)                   \
	X(GITIGNORE_SYMLINK, "gitignoreSymlink", INFO)                           \
	X(GITMODULES_PARSE, "gitmodulesParse", INFO)                             \
	X(MAILMAP_SYMLINK, "mailmapSymlink", INFO)                               \
	X(MISSING_TAGGER_ENTRY, "missingTaggerEntry", INFO)                      \
	X(REF_MISSING_NEWLINE, "refMissingNewline", INFO)                        \
	X(SYMLINK_REF, "symlinkRef", INFO)                                       \
	X(SYMREF_TARGET_IS_NOT_A_REF, "symrefTargetIsNotARef", INFO)             \
	X(TRAILING_REF_CONTENT, "trailingRefContent", INFO)                      \
	X(EXTRA_HEADER_ENTRY, "extraHeaderEntry", IGNORE)

enum bole_fsck_id {
#define BOLE_FSCK_ENUM(id, name, kind) BOLE_FSCK_##id,
	BOLE_FSCK_TABLE(BOLE_FSCK_ENUM)
#undef BOLE_FSCK_ENUM
	        BOLE_FSCK_IDS
};

enum bole_fsck_severity { BOLE_FSCK_IGNORE = 0, BOLE_FSCK_WARN = 1, BOLE_FSCK_ERROR = 2 };

enum bole_fsck_preset {
	BOLE_FSCK_STRICT,    /* git fsck --strict */
	BOLE_FSCK_PUSH,      /* the same, but old mistakes that harm nobody are only told */
	BOLE_FSCK_LENIENT,   /* git fsck: warnings stay warnings */
	BOLE_FSCK_STRUCTURE, /* only trees that no client could check out; the rest is ignored */
	BOLE_FSCK_NOTHING,
};

enum {
	BOLE_FSCK_PATH_BYTES_MAX = 4096,       /* largePathname above */
	BOLE_FSCK_MODULES_BYTES_MAX = 4 << 20, /* gitmodulesLarge above */
	BOLE_FSCK_ATTRIBUTES_BYTES_MAX = BOLE_FSCK_MODULES_BYTES_MAX,
	BOLE_FSCK_ATTRIBUTES_LINE_MAX = 2048, /* gitattributesLineLength from here on */
};

struct bole_fsck_options {
	uint8_t severity[BOLE_FSCK_IDS];
	bool strict; /* also a mode of 100664 is bad */
	/* Objects that may be whatever they are: sorted by bole_oid_compare. Borrowed. */
	const struct bole_oid *skip;
	size_t skip_count;
};
void bole_fsck_options_init(struct bole_fsck_options *, enum bole_fsck_preset);
const char *bole_fsck_name(enum bole_fsck_id);
/* Sets one severity by the names that Git uses ("missingEmail", in any case; "error", "warn",
 * "ignore"). BOLE_E_INVALID: no such id or severity, or a fatal id that may not be demoted. */
BOLE_MUST_USE enum bole_status bole_fsck_set(struct bole_fsck_options *, struct bole_bytes name,
                                             struct bole_bytes severity);

/* Blobs that a tree gives a meaning; they are to be checked once their content is known. */
enum { BOLE_FSCK_MODULES = 1, BOLE_FSCK_ATTRIBUTES = 2 };

struct bole_fsck {
	const struct bole_fsck_options *options;
	uint8_t algo;
	struct bole_alloc *alloc; /* for .gitmodules only */
	/* Each finding that is not ignored. text: a static phrase. */
	void (*finding)(void *ctx, const struct bole_oid *, enum bole_fsck_id,
	                enum bole_fsck_severity, const char *text);
	/* A tree names a blob that has a meaning; may be NULL. */
	enum bole_status (*special)(void *ctx, const struct bole_oid *blob, unsigned kinds);
	void *ctx;
	/* Of the object at hand: */
	const struct bole_oid *oid;
	bool failed; /* an error was found */
	bool skip;
};
/* Checks one object. BOLE_OK: nothing worse than warnings; BOLE_E_INVALID: errors were found;
 * others: what special returned. */
BOLE_MUST_USE enum bole_status bole_fsck_object(struct bole_fsck *, const struct bole_oid *,
                                                uint8_t type, struct bole_bytes content);
/* The same for a tree that differs from a sound one only in the id of this entry, the first of
 * `rest`, and of others that are checked as well. */
BOLE_MUST_USE enum bole_status bole_fsck_tree_entry(struct bole_fsck *, const struct bole_oid *,
                                                    struct bole_bytes rest);
/* A blob that some tree calls .gitmodules. BOLE_E_NO_MEMORY as well. */
BOLE_MUST_USE enum bole_status bole_fsck_modules(struct bole_fsck *, const struct bole_oid *,
                                                 struct bole_bytes content);
/* A blob that some tree calls .gitattributes. */
BOLE_MUST_USE enum bole_status bole_fsck_attributes(struct bole_fsck *, const struct bole_oid *,
                                                    struct bole_bytes content);
/* One finding about an object whose content the caller has not got (too large, no blob). */
BOLE_MUST_USE enum bole_status bole_fsck_note(struct bole_fsck *, const struct bole_oid *,
                                              enum bole_fsck_id, const char *text);

/* -- Between the parts -- */

void bole_fsck_begin(struct bole_fsck *, const struct bole_oid *);
/* True when this was an error. */
bool bole_fsck_report(struct bole_fsck *, enum bole_fsck_id, const char *text);
enum bole_status bole_fsck_tree(struct bole_fsck *, struct bole_bytes);
void bole_fsck_commit(struct bole_fsck *, struct bole_bytes);
void bole_fsck_tag(struct bole_fsck *, struct bole_bytes);

#endif /* BOLE_GIT_FSCK_FSCK_H */
