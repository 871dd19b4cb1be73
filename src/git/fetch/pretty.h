/* SPDX-License-Identifier: ISC */
/* The placeholders of git-log(1), "PRETTY FORMATS", as far as an archive has a use for them, and
 * "$Format:...$" in files (gitattributes(5), "export-subst"). Formats and commits come from whoever
 * may push (git's CVE-2022-41903 was here): everything goes into a buffer with a limit, and there
 * is nothing that a number in a format could make long. */
#ifndef BOLE_GIT_PRETTY_H
#define BOLE_GIT_PRETTY_H

#include "base/memory.h"
#include "git/object/object.h"

enum { BOLE_PRETTY_COMMIT_MAX = 1 << 20 }; /* bytes of a commit that is told about */

/* The commit that a format speaks of. Filled by the caller, then opened; all is borrowed. */
struct bole_pretty {
	struct bole_oid oid;
	struct bole_bytes data; /* of the commit */
	int64_t now_s;
	/* How many digits name an object here without doubt. */
	enum bole_status (*digits)(void *ctx, const struct bole_oid *, unsigned *out);
	/* The references that name the commit, as %D has them. */
	enum bole_status (*names)(void *ctx, struct bole_bytes *out);
	/* What git-describe(1) says with these options ("tags,match=v*"): "" = nothing.
	 * BOLE_E_UNSUPPORTED: an option that is not known. */
	enum bole_status (*describe)(void *ctx, struct bole_bytes options, struct bole_buffer *out);
	void *ctx;
	/* Set by opening it. */
	struct bole_commit commit;
	struct bole_bytes encoding; /* of the text, which goes out in it, as Git has it */
	bool is_signed;
};

/* BOLE_E_INVALID, BOLE_E_LIMIT. */
BOLE_MUST_USE enum bole_status bole_pretty_open(struct bole_pretty *);
/* Appends a format with its placeholders expanded; those that are not known stay as they are. */
BOLE_MUST_USE enum bole_status bole_pretty_expand(const struct bole_pretty *,
                                                  struct bole_bytes format, struct bole_buffer *);
/* Appends a file with every "$Format:...$" expanded. */
BOLE_MUST_USE enum bole_status bole_pretty_file(const struct bole_pretty *, struct bole_bytes file,
                                                struct bole_buffer *);

/* pretty_person.c: %an and its like. part: the second letter. False: there is no such. */
bool bole_pretty_person(struct bole_bytes person, char part, int64_t now_s, struct bole_buffer *);

#endif /* BOLE_GIT_PRETTY_H */
