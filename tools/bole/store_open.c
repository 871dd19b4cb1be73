/* SPDX-License-Identifier: ISC */
/* STORE#repo@branch: parsing it, opening the store it names, and words for what can go wrong. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bole/devices.h"
#include "bole/posix.h"
#include "commands.h"

int bole_cli_spec_parse(const char *text, struct bole_cli_spec *out)
{
	*out = (struct bole_cli_spec){.repo = "main"};
	const char *hash = strrchr(text, '#');
	size_t store_len = hash == NULL ? strlen(text) : (size_t)(hash - text);
	if (store_len == 0 || store_len >= sizeof out->store) {
		fprintf(stderr, "bole: '%s' does not name a store; try disk.img or mem:\n", text);
		return BOLE_EXIT_USAGE;
	}
	memcpy(out->store, text, store_len);
	if (hash == NULL)
		return BOLE_EXIT_OK;
	const char *repo = hash + 1;
	const char *at = strchr(repo, '@');
	size_t repo_len = at == NULL ? strlen(repo) : (size_t)(at - repo);
	if (repo_len > 4 && memcmp(repo + repo_len - 4, ".git", 4) == 0)
		repo_len -= 4;
	if (repo_len > BOLE_REPO_NAME_MAX ||
	    (repo_len > 0 && !bole_repo_name_valid(repo, repo_len))) {
		fprintf(stderr, "bole: '%s' is not a repository name\n", repo);
		return BOLE_EXIT_USAGE;
	}
	out->repo_given = repo_len > 0;
	if (repo_len > 0) {
		memcpy(out->repo, repo, repo_len);
		out->repo[repo_len] = '\0';
	}
	if (at == NULL)
		return BOLE_EXIT_OK;
	if (at[1] == '\0' || strlen(at + 1) >= sizeof out->branch) {
		fprintf(stderr, "bole: '%s' does not name a branch\n", text);
		return BOLE_EXIT_USAGE;
	}
	memcpy(out->branch, at + 1, strlen(at + 1) + 1);
	return BOLE_EXIT_OK;
}

int bole_cli_fail_open(const struct bole_cli *cli, const char *path, enum bole_status rc,
                       const char *owner)
{
	if (rc == BOLE_E_BUSY) {
		fprintf(stderr, "bole: %s is in use%s%s: stop the other process first\n", path,
		        owner[0] == '\0' ? "" : " by ", owner);
		return BOLE_EXIT_CONFLICT;
	}
	if (rc == BOLE_E_NOT_FOUND && access(path, F_OK) == 0) {
		/* What is there instead, and what to do, the log has said. */
		return BOLE_EXIT_NOT_FOUND;
	}
	if (rc == BOLE_E_CORRUPT && cli->checking) {
		fprintf(stderr, "bole: %s cannot be opened, so its repositories were not checked\n",
		        path);
		return BOLE_EXIT_DAMAGED;
	}
	if (rc == BOLE_E_NOT_FOUND) {
		fprintf(stderr, "bole: there is no store at %s: make one with: bole init %s\n",
		        path, path);
		return BOLE_EXIT_NOT_FOUND;
	}
	return bole_cli_fail(path, rc);
}

int bole_cli_store_open(struct bole_cli *cli, const struct bole_cli_spec *spec,
                        enum bole_cli_access how, struct bole_cli_store *out)
{
	struct bole_platform *platform = cli->platform;
	char owner[128] = "";
	enum bole_status rc;

	*out = (struct bole_cli_store){0};
	if (strcmp(spec->store, "mem:") == 0) {
		rc = bole_memory_store_open(platform, platform->alloc, &out->store);
		return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail("mem:", rc);
	}
	struct bole_block_file_options file = {.read_only = how == BOLE_CLI_READ};
	rc = bole_block_file_open(platform->alloc, spec->store, &file, owner, sizeof owner,
	                          &out->disk);
	if (rc != BOLE_OK)
		return bole_cli_fail_open(cli, spec->store, rc, owner);
	rc = bole_posix_offload_block(platform, out->disk, &out->offload);
	if (rc == BOLE_OK) {
		struct bole_flash_open_options flash = {.read_only = how == BOLE_CLI_READ,
		                                        .no_background = how != BOLE_CLI_SERVE};

		rc = bole_flash_open(out->offload, platform, platform->alloc, &flash, &out->store);
	}
	if (rc == BOLE_OK)
		return BOLE_EXIT_OK;
	bole_cli_store_close(out);
	return bole_cli_fail_open(cli, spec->store, rc, owner);
}

int bole_cli_store_close(struct bole_cli_store *store)
{
	enum bole_status rc = bole_store_close(store->store);

	bole_block_close(store->offload);
	bole_block_close(store->disk);
	*store = (struct bole_cli_store){0};
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail("closing the store", rc);
}

static const char *advice(enum bole_status rc)
{
	if (rc == BOLE_E_CORRUPT)
		return "; check it with: bole fsck STORE";
	if (rc == BOLE_E_NO_SPACE)
		return "; delete something or use a larger disk";
	if (rc == BOLE_E_PROMISED)
		return "; fetch it with: bole backfill STORE#REPO";
	if (rc == BOLE_E_UNSUPPORTED)
		return "; a newer bole may know this format";
	return "";
}

int bole_cli_fail(const char *what, enum bole_status rc)
{
	fprintf(stderr, "bole: %s: %s%s\n", what, bole_status_text(rc), advice(rc));
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_EXIT_NOT_FOUND;
	if (rc == BOLE_E_CONFLICT || rc == BOLE_E_BUSY || rc == BOLE_E_EXISTS)
		return BOLE_EXIT_CONFLICT;
	if (rc == BOLE_E_CORRUPT)
		return BOLE_EXIT_DAMAGED;
	if (rc == BOLE_E_NO_SPACE)
		return BOLE_EXIT_NO_SPACE;
	if (rc == BOLE_E_INVALID)
		return BOLE_EXIT_USAGE;
	return BOLE_EXIT_FAILED;
}
