/* SPDX-License-Identifier: ISC */
/* A repository made by git, imported, and compared id by id with what git lists. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "bole/import.h"
#include "support/platform.h"

static char folder[64];
static struct test_platform test;
static struct bole_store *store;

static void sh(const char *script)
{
	static char command[4096];

	snprintf(command, sizeof command,
	         "set -e; cd %s; export GIT_CONFIG_NOSYSTEM=1 HOME=%s GIT_AUTHOR_NAME=a "
	         "GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a "
	         "GIT_COMMITTER_EMAIL=a@example.org; %s",
	         folder, folder, script);
	cr_assert_eq(system(command), 0, "%s", script);
}

static void setup(void)
{
	snprintf(folder, sizeof folder, "/tmp/bole-import-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	test_platform_init(&test, 1);
	cr_assert_eq(bole_memory_store_open(&test.base, &test.alloc, &store), BOLE_OK);
}

static void teardown(void)
{
	char command[128];

	cr_assert_eq(bole_store_close(store), BOLE_OK);
	test_platform_release(&test);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	cr_assert_eq(system(command), 0);
}

static enum bole_status import_with(const char *dir, const char *name, bool all,
                                    struct bole_import_report *report)
{
	struct bole_import_options options = {.repo = name, .all_refs = all};
	char path[128];

	snprintf(path, sizeof path, "%s/%s", folder, dir);
	return bole_import_git(&test.base, &test.alloc, store, path, &options, report);
}

static enum bole_status import(const char *dir, const char *name, struct bole_import_report *report)
{
	return import_with(dir, name, false, report);
}

/* Every line "<hex> <name>" of a file names an object or a reference that the repository has. */
static size_t expect_lines(struct bole_snapshot *snapshot, const char *file, bool refs)
{
	char path[128];
	char line[512];
	size_t count = 0;
	size_t hex = 2 * bole_hash_bytes(snapshot->repo.algo);

	snprintf(path, sizeof path, "%s/%s", folder, file);
	FILE *in = fopen(path, "r");
	cr_assert_not_null(in);
	while (fgets(line, sizeof line, in) != NULL) {
		struct bole_oid oid;
		struct bole_entry entry;
		struct bole_ref ref;

		cr_assert_eq(bole_oid_parse(line, hex, snapshot->repo.algo, &oid), BOLE_OK);
		line[strcspn(line, "\n")] = '\0';
		if (refs) {
			cr_assert_eq(bole_ref_get(snapshot, bole_bytes_z(line + hex + 1), &ref),
			             BOLE_OK, "%s", line);
			cr_assert(bole_oid_equal(&ref.oid, &oid));
		} else {
			cr_assert_eq(bole_odb_find(snapshot, &oid, &entry), BOLE_OK, "%s", line);
		}
		count++;
	}
	fclose(in);
	return count;
}

static void expect_everything(const char *format)
{
	struct bole_import_report report;
	struct bole_snapshot *snapshot;
	struct bole_repo repo;
	struct bole_ref ref;

	setup();
	setenv("GIT_DEFAULT_HASH", format, 1);
	sh("git init -q -b trunk w; cd w;"
	   "for i in $(seq 1 60); do mkdir -p d$((i % 7)); seq 1 $((i * 20)) >d$((i % 7))/f$i;"
	   "git add -A; git commit -q -m c$i; done;"
	   "git branch side HEAD~20; git tag light HEAD~3; git tag -a -m note heavy HEAD~5;"
	   "git tag -a -m twice nested heavy; git tag -a -m blob of-blob HEAD:d1/f1;"
	   "git update-ref refs/notes/x HEAD; git repack -adq; echo more >d1/x; git add -A;"
	   "git commit -q -m loose;"
	   "git rev-list --objects --branches --tags >../objects;"
	   "git show-ref --heads --tags >../refs; git rev-parse heavy^{} >../peeled");
	cr_assert_eq(import("w", "copy", &report), BOLE_OK, "%s", report.error);
	cr_assert_str_eq(report.error, "");
	cr_assert_eq(bole_repo_find(store, "copy", &repo), BOLE_OK);
	cr_assert_eq(bole_snapshot_open(store, repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(expect_lines(snapshot, "objects", false), report.objects);
	cr_assert_eq(expect_lines(snapshot, "refs", true), report.refs);
	cr_assert_eq(report.refs, 6);
	cr_assert_eq(bole_ref_get(snapshot, bole_bytes_z("HEAD"), &ref), BOLE_OK);
	cr_assert(bole_bytes_equal(ref.target, bole_bytes_z("refs/heads/trunk")));
	cr_assert_eq(bole_ref_get(snapshot, bole_bytes_z("refs/tags/nested"), &ref), BOLE_OK);
	cr_assert(ref.has_peeled);
	cr_assert_eq(bole_ref_get(snapshot, bole_bytes_z("refs/tags/light"), &ref), BOLE_OK);
	cr_assert_not(ref.has_peeled);
	cr_assert_eq(bole_ref_get(snapshot, bole_bytes_z("refs/notes/x"), &ref), BOLE_E_NOT_FOUND);
	bole_snapshot_close(snapshot);
	/* A second time the name is taken, and what is there stays. */
	cr_assert_eq(import("w", "copy", &report), BOLE_E_EXISTS);
	cr_assert_neq(report.error[0], '\0');
	cr_assert_eq(bole_repo_find(store, "copy", &repo), BOLE_OK);
	teardown();
}

Test(import, everything_that_branches_and_tags_reach_arrives)
{
	expect_everything("sha1");
}

Test(import, everything_arrives_from_a_sha256_repository)
{
	expect_everything("sha256");
}

Test(import, empty_detached_missing_shallow_and_damaged_folders_have_answers)
{
	struct bole_import_report report;
	struct bole_snapshot *snapshot;
	struct bole_repo repo;
	struct bole_ref ref;

	setup();
	sh("git init -q later; git -C later config core.repositoryFormatVersion 2;"
	   "git init -q --bare -b dev empty.git;"
	   "git init -q -b main w; cd w; echo 1 >a; git add a;"
	   "git commit -q -m 1; echo 2 >a; git commit -qam 2; git branch other; git checkout -q "
	   "--detach; cd ..; git clone -q --depth 1 file://$PWD/w shallow; git clone -q w hurt;"
	   "rm -f hurt/.git/objects/$(git -C hurt rev-parse HEAD^{tree} | sed 's,^..,&/,')");
	cr_assert_eq(import("empty.git", "empty", &report), BOLE_OK, "%s", report.error);
	cr_assert_eq(bole_repo_find(store, "empty", &repo), BOLE_OK);
	cr_assert_eq(bole_snapshot_open(store, repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(bole_ref_get(snapshot, bole_bytes_z("HEAD"), &ref), BOLE_OK);
	cr_assert(bole_bytes_equal(ref.target, bole_bytes_z("refs/heads/dev")));
	bole_snapshot_close(snapshot);
	cr_assert_eq(import("w/.git", "detached", &report), BOLE_OK, "%s", report.error);
	cr_assert_eq(report.refs, 2);
	/* A linked work tree has a HEAD of its own. */
	sh("git -C w worktree add -q ../linked other");
	cr_assert_eq(import("linked", "linked", &report), BOLE_OK, "%s", report.error);
	cr_assert_eq(report.refs, 2);
	cr_assert_eq(bole_repo_find(store, "linked", &repo), BOLE_OK);
	cr_assert_eq(bole_snapshot_open(store, repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(bole_ref_get(snapshot, bole_bytes_z("HEAD"), &ref), BOLE_OK);
	cr_assert(bole_bytes_equal(ref.target, bole_bytes_z("refs/heads/other")));
	bole_snapshot_close(snapshot);
	static const struct {
		const char *dir;
		enum bole_status rc;
	} bad[] = {{"nowhere", BOLE_E_NOT_FOUND},
	           {"later", BOLE_E_UNSUPPORTED},
	           {"shallow", BOLE_E_INVALID},
	           {"hurt", BOLE_E_INVALID}};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_eq(import(bad[i].dir, "bad", &report), bad[i].rc, "%s: %s", bad[i].dir,
		             report.error);
		cr_assert_neq(report.error[0], '\0');
		cr_assert_eq(bole_repo_find(store, "bad", &repo), BOLE_E_NOT_FOUND);
	}
	teardown();
}
