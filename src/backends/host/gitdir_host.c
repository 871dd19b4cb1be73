/* SPDX-License-Identifier: ISC */
#include "backends/host/gitdir_host.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum { PATH_BYTES = 4096, TEXT_BYTES_MAX = 64 * 1024 };

/* A small text file with a NUL behind it, in text (TEXT_BYTES_MAX + 1). */
static enum bole_status read_text(struct bole_folder *folder, const char *path, char *text,
                                  size_t *len)
{
	struct bole_file *file;

	BOLE_TRY(folder->ops->open(folder, path, &file));
	enum bole_status rc = file->size_bytes > TEXT_BYTES_MAX ? BOLE_E_LIMIT : BOLE_OK;
	if (rc == BOLE_OK) {
		*len = (size_t)file->size_bytes;
		rc = *len == 0 ? BOLE_OK : file->ops->read(file, 0, text, *len);
		text[*len] = '\0';
	}
	file->ops->close(file);
	return rc;
}

static bool has_file(struct bole_folder *folder, const char *path)
{
	struct bole_file *file;

	if (folder->ops->open(folder, path, &file) != BOLE_OK)
		return false;
	file->ops->close(file);
	return true;
}

/* to as seen from the folder from; a line end behind to is not part of it. */
static enum bole_status join(const char *from, const char *to, char *out)
{
	int len = (int)strcspn(to, "\r\n");
	int n = to[0] == '/' ? snprintf(out, PATH_BYTES, "%.*s", len, to)
	                     : snprintf(out, PATH_BYTES, "%s/%.*s", from, len, to);

	return n > 0 && n < PATH_BYTES ? BOLE_OK : BOLE_E_LIMIT;
}

struct finding {
	struct bole_alloc *alloc;
	struct bole_host_gitdir *out;
	char git[PATH_BYTES];
	char common[PATH_BYTES];
	char text[TEXT_BYTES_MAX + 1];
};

static enum bole_status reopen(struct finding *f, const char *path, struct bole_folder **folder)
{
	if (*folder != NULL)
		(*folder)->ops->close(*folder);
	*folder = NULL;
	return bole_host_folder_open(f->alloc, path, false, folder);
}

/* path, path/.git, or what the file path/.git names. */
static enum bole_status find_git(struct finding *f, const char *path)
{
	static const char link[] = "gitdir: ";
	char inside[PATH_BYTES];
	size_t len;

	BOLE_TRY(join(".", path, f->git));
	if (path[0] != '/')
		snprintf(f->git, sizeof f->git, "%s", path);
	BOLE_TRY(reopen(f, path, &f->out->git));
	if (has_file(f->out->git, "HEAD"))
		return BOLE_OK;
	BOLE_TRY(join(path, ".git", inside));
	if (read_text(f->out->git, ".git", f->text, &len) == BOLE_OK) {
		if (strncmp(f->text, link, strlen(link)) != 0)
			return BOLE_E_NOT_FOUND;
		BOLE_TRY(join(path, f->text + strlen(link), inside));
	}
	snprintf(f->git, sizeof f->git, "%s", inside);
	BOLE_TRY(reopen(f, inside, &f->out->git));
	return has_file(f->out->git, "HEAD") ? BOLE_OK : BOLE_E_NOT_FOUND;
}

static enum bole_status find_common(struct finding *f)
{
	size_t len;

	snprintf(f->common, sizeof f->common, "%s", f->git);
	if (read_text(f->out->git, "commondir", f->text, &len) != BOLE_OK)
		return BOLE_OK;
	BOLE_TRY(join(f->git, f->text, f->common));
	return reopen(f, f->common, &f->out->common);
}

/* The alternates of one object folder, appended; a folder may name what another has named. */
static enum bole_status add_alternates(struct finding *f, struct bole_folder *folder,
                                       const char *list, const char *objects,
                                       char (*paths)[PATH_BYTES])
{
	struct bole_host_gitdir *out = f->out;
	size_t len;

	if (read_text(folder, list, f->text, &len) != BOLE_OK)
		return BOLE_OK;
	for (char *line = f->text; *line != '\0';
	     line += strcspn(line, "\n") + (strchr(line, '\n') != NULL)) {
		char path[PATH_BYTES];
		bool known = false;

		if (line[0] == '#' || line[0] == '\n')
			continue;
		BOLE_TRY(join(objects, line, path));
		for (size_t i = 0; i < out->alternate_count; i++)
			known |= strcmp(paths[i], path) == 0;
		if (known)
			continue;
		if (out->alternate_count == BOLE_GITDIR_ALTERNATES_MAX)
			return BOLE_E_LIMIT;
		/* Git goes on without one that is not there. */
		if (bole_host_folder_open(f->alloc, path, false,
		                          &out->alternates[out->alternate_count]) == BOLE_OK)
			memcpy(paths[out->alternate_count++], path, sizeof path);
	}
	return BOLE_OK;
}

static enum bole_status find_alternates(struct finding *f)
{
	struct bole_host_gitdir *out = f->out;
	struct bole_folder *main = out->common != NULL ? out->common : out->git;
	char objects[PATH_BYTES];

	BOLE_TRY(join(f->common, "objects", objects));
	char(*paths)[PATH_BYTES] =
	        bole_alloc_array(f->alloc, BOLE_GITDIR_ALTERNATES_MAX, sizeof *paths);
	if (paths == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = add_alternates(f, main, "objects/info/alternates", objects, paths);
	for (size_t i = 0; i < out->alternate_count && rc == BOLE_OK; i++)
		rc = add_alternates(f, out->alternates[i], "info/alternates", paths[i], paths);
	bole_alloc_free(f->alloc, paths, BOLE_GITDIR_ALTERNATES_MAX, sizeof *paths);
	return rc;
}

enum bole_status bole_host_gitdir_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                       const char *path, struct bole_host_gitdir *out)
{
	size_t len = 0;

	*out = (struct bole_host_gitdir){.store = NULL};
	struct finding *f = bole_alloc_zeroed(alloc, 1, sizeof *f);
	if (f == NULL)
		return BOLE_E_NO_MEMORY;
	f->alloc = alloc;
	f->out = out;
	enum bole_status rc = find_git(f, path);
	if (rc == BOLE_OK)
		rc = find_common(f);
	if (rc == BOLE_OK)
		rc = find_alternates(f);
	if (rc == BOLE_OK) {
		struct bole_folder *common = out->common != NULL ? out->common : out->git;
		struct bole_gitdir_options options = {.alternates = out->alternates,
		                                      .alternate_count = out->alternate_count,
		                                      .head = out->git};

		out->shallow = read_text(common, "shallow", f->text, &len) == BOLE_OK && len > 0;
		rc = bole_gitdir_open(platform, alloc, common, &options, &out->store);
	}
	bole_alloc_free(alloc, f, 1, sizeof *f);
	if (rc != BOLE_OK)
		bole_host_gitdir_close(out);
	return rc;
}

void bole_host_gitdir_close(struct bole_host_gitdir *gitdir)
{
	(void)bole_store_close(gitdir->store);
	for (size_t i = 0; i < gitdir->alternate_count; i++)
		gitdir->alternates[i]->ops->close(gitdir->alternates[i]);
	if (gitdir->common != NULL)
		gitdir->common->ops->close(gitdir->common);
	if (gitdir->git != NULL)
		gitdir->git->ops->close(gitdir->git);
	*gitdir = (struct bole_host_gitdir){.store = NULL};
}
