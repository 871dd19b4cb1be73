/* SPDX-License-Identifier: ISC */
/* Shared by the parts of the store suite: checks that need no test framework (fuzz targets and
 * plain mains link this too; a failed check ends the program), and small steps of work. */
#ifndef BOLE_TESTS_SUITE_HELP_H
#define BOLE_TESTS_SUITE_HELP_H

#include <stddef.h>
#include <stdint.h>

#include "bole/platform.h"
#include "support/store_suite.h"

#define check(...)             check_(__VA_ARGS__, 0)
#define check_not(condition)   check_(!(condition), 0)
#define check_eq(...)          check_eq_(__VA_ARGS__, 0)
#define check_neq(...)         check_neq_(__VA_ARGS__, 0)
#define check_lt(a, b)         check_((a) < (b), 0)
#define check_text(a, b)       check_(strcmp((a), (b)) == 0, 0)
#define OK(expr)               check_eq_((expr), BOLE_OK, 0)
#define check_(condition, ...) ((condition) ? (void)0 : bole_panic(__FILE__, __LINE__, #condition))
#define check_eq_(a, b, ...)   ((a) == (b) ? (void)0 : bole_panic(__FILE__, __LINE__, #a " == " #b))
#define check_neq_(a, b, ...)  ((a) != (b) ? (void)0 : bole_panic(__FILE__, __LINE__, #a " != " #b))

enum { PACK_HEAD = 12 };

struct suite_pack {
	uint8_t *bytes;
	size_t len;
	struct bole_extent_row *rows;
	size_t count;
};

void suite_reopen(struct store_suite *suite);
struct bole_repo suite_create(struct store_suite *suite, const char *name, uint8_t algo);
void suite_put_blob(struct bole_tx *tx, const struct suite_blob *blob);
void suite_commit(struct bole_tx *tx, const struct bole_ref_update *updates, size_t count);
/* One transaction that publishes one blob and sets one reference to it. */
void suite_publish(struct store_suite *suite, uint32_t repo, const struct suite_blob *blob,
                   const char *name);
enum bole_status suite_find_now(struct store_suite *suite, uint32_t repo,
                                const struct bole_oid *oid, struct bole_entry *out);
/* The reference holds oid; NULL = there is no such reference. */
void suite_expect_ref(struct bole_snapshot *snapshot, const char *name, const struct bole_oid *oid);
void suite_expect_ref_now(struct store_suite *suite, uint32_t repo, const char *name,
                          const struct bole_oid *oid);
/* Commits one update on a transaction of its own and expects rc (OK or CONFLICT at 0). */
void suite_commit_expect(struct store_suite *suite, uint32_t repo, struct bole_ref_update update,
                         enum bole_status rc);
/* A pack of the blobs first .. first + count. */
void suite_pack_make(struct suite_pack *pack, uint8_t algo, uint64_t first, size_t count);
void suite_pack_free(struct suite_pack *pack);
/* Streams the pack in pieces of many sizes, reading some of it back on the way. */
uint64_t suite_pack_append(struct bole_tx *tx, const struct suite_pack *pack);

#endif /* BOLE_TESTS_SUITE_HELP_H */
