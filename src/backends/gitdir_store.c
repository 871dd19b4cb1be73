/* SPDX-License-Identifier: ISC */
/* A Git folder as a store: is it one, of what format, with which objects and references. */
#include <stdio.h>
#include <string.h>

#include "backends/gitdir.h"
#include "base/bytes.h"
#include "base/check.h"
#include "bole/config.h"

enum { CONFIG_BYTES_MAX = 1 << 20, NAMES_CHUNK_BYTES = 64 * 1024, FORMAT_VERSION_MAX = 1 };

enum bole_status bole_gitdir_load(struct gitdir_store *store, struct bole_folder *folder,
                                  const char *path, uint64_t max, struct gitdir_bytes *out)
{
	struct bole_file *file;

	*out = (struct gitdir_bytes){NULL, 0};
	BOLE_TRY(folder->ops->open(folder, path, &file));
	enum bole_status rc =
	        file->size_bytes > max || file->size_bytes > SIZE_MAX / 2 ? BOLE_E_LIMIT : BOLE_OK;
	if (rc == BOLE_OK && file->size_bytes > 0) {
		size_t len = (size_t)file->size_bytes;

		out->ptr = bole_alloc_array(store->alloc, len, 1);
		rc = out->ptr == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
		out->len = rc == BOLE_OK ? len : 0;
		if (rc == BOLE_OK)
			rc = file->ops->read(file, 0, out->ptr, len);
		if (rc != BOLE_OK)
			bole_gitdir_unload(store, out);
	}
	file->ops->close(file);
	return rc;
}

void bole_gitdir_unload(struct gitdir_store *store, struct gitdir_bytes *bytes)
{
	bole_alloc_free(store->alloc, bytes->ptr, bytes->len, 1);
	*bytes = (struct gitdir_bytes){NULL, 0};
}

void bole_gitdir_object_path(unsigned folder, const char *path, char *out)
{
	snprintf(out, GITDIR_PATH_BYTES, "%s%s", folder == 0 ? "objects/" : "", path);
}

/* -- The format -- */

static enum bole_status unsupported(struct gitdir_store *store, const char *what, const char *value)
{
	bole_log(store->platform, BOLE_LOG_ERROR, "git config: %s%s%s is not supported", what,
	         value == NULL ? "" : " = ", value == NULL ? "" : value);
	return BOLE_E_UNSUPPORTED;
}

static enum bole_status read_format(struct gitdir_store *store, const struct bole_config *config,
                                    bool *reftable)
{
	const char *hash = bole_config_get(config, "extensions.objectformat");
	const char *refs = bole_config_get(config, "extensions.refstorage");
	uint64_t version;

	if (bole_config_u64(config, "core.repositoryformatversion", 0, &version) != BOLE_OK ||
	    version > FORMAT_VERSION_MAX)
		return unsupported(store, "core.repositoryFormatVersion", NULL);
	if (hash != NULL && version == 0)
		return unsupported(store, "extensions in version 0", NULL);
	store->repo.algo = BOLE_HASH_SHA1;
	if (hash != NULL && strcmp(hash, "sha256") == 0)
		store->repo.algo = BOLE_HASH_SHA256;
	else if (hash != NULL && strcmp(hash, "sha1") != 0)
		return unsupported(store, "extensions.objectFormat", hash);
	*reftable = refs != NULL && strcmp(refs, "reftable") == 0;
	if (refs != NULL && !*reftable && strcmp(refs, "files") != 0)
		return unsupported(store, "extensions.refStorage", refs);
	if (bole_config_get(config, "extensions.compatobjectformat") != NULL && version > 0)
		return unsupported(store, "extensions.compatObjectFormat", NULL);
	return BOLE_OK;
}

/* JGit and old tools leave no config, or none with a format: that is SHA-1 with files. */
static enum bole_status load_format(struct gitdir_store *store, bool *reftable)
{
	struct bole_config *config;
	struct gitdir_bytes text;
	unsigned line = 0;

	BOLE_TRY(bole_config_open(store->alloc, &config));
	enum bole_status rc =
	        bole_gitdir_load(store, store->folder, "config", CONFIG_BYTES_MAX, &text);
	if (rc == BOLE_OK) {
		rc = bole_config_parse(config, bole_bytes_of(text.ptr, text.len), &line);
		if (rc != BOLE_OK)
			bole_log(store->platform, BOLE_LOG_ERROR, "git config: line %u: %s", line,
			         bole_status_text(rc));
		bole_gitdir_unload(store, &text);
	}
	if (rc == BOLE_OK || rc == BOLE_E_NOT_FOUND)
		rc = read_format(store, config, reftable);
	bole_config_close(config);
	return rc;
}

/* -- What a store does that holds one repository and is only read -- */

static enum bole_status repo_find(struct bole_store *base, const char *name, struct bole_repo *out)
{
	const struct gitdir_store *store = gitdir_of(base);

	if (strcmp(name, store->repo.name) != 0)
		return BOLE_E_NOT_FOUND;
	*out = store->repo;
	return BOLE_OK;
}

static enum bole_status repo_next(struct bole_store *base, const char *after, struct bole_repo *out)
{
	const struct gitdir_store *store = gitdir_of(base);

	if (strcmp(after, store->repo.name) >= 0)
		return BOLE_END;
	*out = store->repo;
	return BOLE_OK;
}

static enum bole_status repo_create(struct bole_store *store, const char *name, uint8_t algo,
                                    const char *head, struct bole_repo *out)
{
	(void)store;
	(void)name;
	(void)algo;
	(void)head;
	(void)out;
	return BOLE_E_READ_ONLY;
}

static enum bole_status repo_rename(struct bole_store *store, uint32_t repo, const char *name)
{
	(void)store;
	(void)repo;
	(void)name;
	return BOLE_E_READ_ONLY;
}

static enum bole_status repo_remove(struct bole_store *store, uint32_t repo)
{
	(void)store;
	(void)repo;
	return BOLE_E_READ_ONLY;
}

static enum bole_status stats(struct bole_store *base, struct bole_store_stats *out)
{
	const struct gitdir_store *store = gitdir_of(base);

	for (size_t i = 0; i < store->pack_count; i++) {
		out->objects += store->packs[i].index.count;
		out->used_bytes += store->packs[i].end;
	}
	out->capacity_bytes = out->used_bytes;
	return BOLE_OK;
}

static enum bole_status close_store(struct bole_store *base)
{
	struct gitdir_store *store = gitdir_of(base);

	bole_gitdir_objects_release(store);
	bole_gitdir_packs_close(store);
	bole_alloc_free(store->alloc, store->refs, store->ref_cap, sizeof *store->refs);
	bole_arena_release(&store->names);
	bole_alloc_free(store->alloc, store, 1, sizeof *store);
	return BOLE_OK;
}

static enum bole_status aux_get(struct bole_snapshot *snapshot, const struct bole_aux_key *key,
                                struct bole_alloc *alloc, uint8_t **out, size_t *len)
{
	(void)snapshot;
	(void)key;
	(void)alloc;
	*out = NULL;
	*len = 0;
	return BOLE_E_NOT_FOUND;
}

static enum bole_status aux_next(struct bole_snapshot *snapshot, enum bole_aux_class cls,
                                 uint16_t kind, struct bole_bytes after, struct bole_bytes *key)
{
	(void)snapshot;
	(void)cls;
	(void)kind;
	(void)after;
	(void)key;
	return BOLE_END;
}

static void set_up(struct gitdir_store *store)
{
	static const struct bole_store_ops ops = {.stats = stats, .close = close_store};
	static const struct bole_repos_ops repos = {.create = repo_create,
	                                            .find = repo_find,
	                                            .next = repo_next,
	                                            .rename = repo_rename,
	                                            .remove = repo_remove};
	static const struct bole_aux_ops aux = {.get = aux_get, .next = aux_next};

	store->base = (struct bole_store){.ops = &ops,
	                                  .repos = &repos,
	                                  .odb = &bole_gitdir_odb_ops,
	                                  .refs = &bole_gitdir_refs_ops,
	                                  .aux = &aux,
	                                  .info = {.kind = "git", .read_only = true}};
	store->repo = (struct bole_repo){.id = 1, .domain = 1, .name = "git"};
}

static enum bole_status load(struct gitdir_store *store)
{
	bool reftable = false;
	struct bole_file *head;

	/* Git asks the same of a folder before it calls it a repository. */
	enum bole_status rc = store->head->ops->open(store->head, "HEAD", &head);
	if (rc != BOLE_OK)
		return rc;
	head->ops->close(head);
	BOLE_TRY(load_format(store, &reftable));
	bole_oid_map_init(&store->loose_map, store->platform, store->alloc, store->repo.algo,
	                  sizeof(uint32_t));
	BOLE_TRY(bole_inflater_open(store->alloc, &store->inflater));
	BOLE_TRY(bole_gitdir_packs_load(store));
	return bole_gitdir_refs_load(store, reftable);
}

enum bole_status bole_gitdir_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                  struct bole_folder *folder,
                                  const struct bole_gitdir_options *options,
                                  struct bole_store **out)
{
	static const struct bole_gitdir_options plain = {.alternate_count = 0};

	*out = NULL;
	options = options == NULL ? &plain : options;
	if (options->alternate_count >= GITDIR_FOLDERS_MAX)
		return BOLE_E_LIMIT;
	struct gitdir_store *store = bole_alloc_zeroed(alloc, 1, sizeof *store);
	if (store == NULL)
		return BOLE_E_NO_MEMORY;
	set_up(store);
	store->platform = platform;
	store->alloc = alloc;
	store->folder = folder;
	store->head = options->head == NULL ? folder : options->head;
	store->objects[0] = folder;
	for (size_t i = 0; i < options->alternate_count; i++)
		store->objects[i + 1] = options->alternates[i];
	store->object_folders = options->alternate_count + 1;
	bole_arena_init(&store->names, alloc, NAMES_CHUNK_BYTES);
	enum bole_status rc = load(store);
	if (rc != BOLE_OK) {
		(void)close_store(&store->base);
		return rc;
	}
	*out = &store->base;
	return BOLE_OK;
}
