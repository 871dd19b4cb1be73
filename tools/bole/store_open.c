/* SPDX-License-Identifier: ISC */
/* STORE#repo@branch: parsing it, opening the store it names, and words for what can go wrong. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bole/devices.h"
#include "bole/posix.h"
#include "commands.h"

int bole_cli_repo_name(const char *name, size_t len)
{
	if (bole_repo_name_valid(name, len))
		return BOLE_EXIT_OK;
	bole_cli_say("'%.*s' is not a repository name: letters, digits, '.', '_' and '-' between "
	             "slashes, no '.' first",
	             (int)len, name);
	return BOLE_EXIT_USAGE;
}

int bole_cli_spec_parse(const char *text, struct bole_cli_spec *out)
{
	*out = (struct bole_cli_spec){.repo = "main"};
	const char *hash = strrchr(text, '#');
	size_t store_len = hash == NULL ? strlen(text) : (size_t)(hash - text);
	if (store_len == 0 || store_len >= sizeof out->store) {
		bole_cli_say("'%s' does not name a store; try disk.img or mem:", text);
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
	out->repo_given = repo_len > 0;
	if (out->repo_given && bole_cli_repo_name(repo, repo_len) != BOLE_EXIT_OK)
		return BOLE_EXIT_USAGE;
	if (repo_len > 0) {
		memcpy(out->repo, repo, repo_len);
		out->repo[repo_len] = '\0';
	}
	if (at == NULL)
		return BOLE_EXIT_OK;
	if (at[1] == '\0' || strlen(at + 1) >= sizeof out->branch) {
		bole_cli_say("'%s' does not name a branch", text);
		return BOLE_EXIT_USAGE;
	}
	memcpy(out->branch, at + 1, strlen(at + 1) + 1);
	return BOLE_EXIT_OK;
}

/* -- What is wrong, and the exit code -- */

static const char *advice(enum bole_status rc)
{
	if (rc == BOLE_E_CORRUPT)
		return "; check it with: bole fsck STORE";
	if (rc == BOLE_E_NO_SPACE)
		return "; delete something or use a larger disk";
	if (rc == BOLE_E_PROMISED)
		return "; fetch it with: bole backfill STORE#REPO";
	if (rc == BOLE_E_READ_ONLY)
		return "; see why with: bole fsck STORE";
	if (rc == BOLE_E_UNSUPPORTED)
		return "; a newer bole may know this format";
	return "";
}

static int exit_code(enum bole_status rc)
{
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

int bole_cli_fail(const char *what, enum bole_status rc)
{
	/* It was not `what`, and main says so. */
	if (rc == BOLE_E_IO && ferror(stdout) != 0)
		return BOLE_EXIT_FAILED;
	return bole_cli_fail_why(what, bole_status_text(rc), rc);
}

int bole_cli_fail_why(const char *what, const char *why, enum bole_status rc)
{
	bole_cli_say("%s: %s%s", what, why[0] == '\0' ? bole_status_text(rc) : why,
	             strstr(why, "fsck") == NULL ? advice(rc) : "");
	return exit_code(rc);
}

/* -- Why a store does not open -- */

static void caught(struct bole_platform *platform, enum bole_log_level level, const char *line)
{
	struct bole_cli_catch *c = (struct bole_cli_catch *)(uintptr_t)platform->ops;

	if (level != BOLE_LOG_ERROR) {
		c->under->log(platform, level, line);
		return;
	}
	bole_cli_catch_tell(c);
	snprintf(c->line, sizeof c->line, "%s", line);
}

void bole_cli_catch_tell(struct bole_cli_catch *c)
{
	if (c->line[0] != '\0')
		c->under->log(c->platform, BOLE_LOG_ERROR, c->line);
	c->line[0] = '\0';
}

void bole_cli_catch_begin(struct bole_cli_catch *c, struct bole_platform *platform)
{
	*c = (struct bole_cli_catch){
	        .ops = *platform->ops, .under = platform->ops, .platform = platform};
	c->ops.log = caught;
	platform->ops = &c->ops;
}

void bole_cli_catch_end(struct bole_cli_catch *c)
{
	c->platform->ops = c->under;
}

int bole_cli_fail_open(const struct bole_cli *cli, const char *path, enum bole_status rc,
                       const char *owner, const char *why)
{
	if (rc == BOLE_E_BUSY) {
		bole_cli_say("%s is in use%s%s: stop the other process first", path,
		             owner[0] == '\0' ? "" : " by ", owner);
		return BOLE_EXIT_CONFLICT;
	}
	if (rc == BOLE_E_NOT_FOUND && access(path, F_OK) != 0)
		bole_cli_say("there is no store at %s: make one with: bole init %s", path, path);
	else if (rc == BOLE_E_NOT_FOUND && why[0] == '\0')
		bole_cli_say("there is no store in %s", path);
	if (rc == BOLE_E_NOT_FOUND && why[0] == '\0')
		return BOLE_EXIT_NOT_FOUND;
	if (rc == BOLE_E_CORRUPT && cli->checking) {
		bole_cli_say("%s cannot be opened, so its repositories were not checked", path);
		return BOLE_EXIT_DAMAGED;
	}
	if (why[0] == '\0')
		return bole_cli_fail(path, rc);
	bole_cli_say("%s%s", why, strstr(why, "fsck") == NULL ? advice(rc) : "");
	return exit_code(rc);
}

static enum bole_status open_volume(struct bole_cli_store *store, struct bole_platform *platform,
                                    enum bole_cli_access how)
{
	struct bole_flash_open_options options = {.read_only = how == BOLE_CLI_READ,
	                                          .no_background = how != BOLE_CLI_SERVE};

	enum bole_status rc = bole_posix_offload_block(platform, store->disk, &store->offload);
	return rc == BOLE_OK ? bole_flash_open(store->offload, platform, platform->alloc, &options,
	                                       &store->store)
	                     : rc;
}

int bole_cli_store_open(struct bole_cli *cli, const struct bole_cli_spec *spec,
                        enum bole_cli_access how, struct bole_cli_store *out)
{
	struct bole_platform *platform = cli->platform;
	struct bole_cli_catch log = {.line = ""};
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
	if (rc == BOLE_OK && how == BOLE_CLI_SERVE) {
		/* A server's log has it all; and its fibers log, too. */
		rc = open_volume(out, platform, how);
	} else if (rc == BOLE_OK) {
		bole_cli_catch_begin(&log, platform);
		rc = open_volume(out, platform, how);
		bole_cli_catch_end(&log);
	}
	if (rc == BOLE_OK) {
		bole_cli_catch_tell(&log);
		return BOLE_EXIT_OK;
	}
	bole_cli_store_close(out);
	return bole_cli_fail_open(cli, spec->store, rc, owner, log.line);
}

int bole_cli_store_close(struct bole_cli_store *store)
{
	enum bole_status rc = bole_store_close(store->store);

	bole_block_close(store->offload);
	bole_block_close(store->disk);
	*store = (struct bole_cli_store){0};
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail("closing the store", rc);
}
