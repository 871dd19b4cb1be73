/* SPDX-License-Identifier: ISC */
/* What is read by plain GET: archives, and the files of the dumb protocol. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "node/internal.h"

enum { PREFIX_MAX = BOLE_HTTP_PATH_MAX + BOLE_REPO_NAME_MAX + 2 };

static const char *const formats[] = {"tar.gz", "tgz", "tar", "zip"};

/* The repository before `at`. */
static bool take_name(const char *path, const char *at, char name[BOLE_REPO_NAME_MAX + 1])
{
	size_t len = (size_t)(at - path);

	if (len < 2)
		return false;
	path++;
	len--;
	if (len > 4 && memcmp(path + len - 4, ".git", 4) == 0)
		len -= 4;
	if (len > BOLE_REPO_NAME_MAX || !bole_repo_name_valid(path, len))
		return false;
	memcpy(name, path, len);
	name[len] = '\0';
	return true;
}

static bool is_hex(const char *text, size_t len)
{
	return strspn(text, "0123456789abcdef") == len && strlen(text) == len;
}

/* "/name.git/HEAD", "/name.git/objects/info/packs", "/name.git/objects/ab/cdef…". */
static bool parse_dumb(const char *path, struct node_file *f)
{
	static const char objects[] = "/objects/";
	size_t len = strlen(path);
	const char *at = NULL;

	if (len > 5 && strcmp(path + len - 5, "/HEAD") == 0)
		at = path + len - 5;
	for (const char *p = path; at == NULL && (p = strstr(p, objects)) != NULL; p++) {
		const char *rest = p + sizeof objects - 1;
		bool id = strlen(rest) > 3 && rest[2] == '/' && is_hex(rest + 3, strlen(rest) - 3);
		if (id || strcmp(rest, "info/packs") == 0)
			at = p;
	}
	if (at == NULL || !take_name(path, at, f->name))
		return false;
	f->service = NODE_DUMB;
	f->path = bole_bytes_z(at + 1);
	bool object = bole_bytes_start(f->path, bole_bytes_z("objects/")) &&
	              !bole_bytes_equal(f->path, bole_bytes_z("objects/info/packs"));
	f->type = object ? "application/x-git-loose-object" : "text/plain; charset=utf-8";
	return true;
}

/* "/name.git/archive/<reference>.<format>". */
static bool parse_archive(const char *path, struct node_file *f)
{
	static const char word[] = "/archive/";
	const char *at = strstr(path, word);

	if (at == NULL || !take_name(path, at, f->name))
		return false;
	const char *ref = at + sizeof word - 1;
	size_t len = strlen(ref);
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
		size_t tail = strlen(formats[i]);
		if (len < tail + 2 || ref[len - tail - 1] != '.' ||
		    strcmp(ref + len - tail, formats[i]) != 0)
			continue;
		f->service = NODE_ARCHIVE;
		f->path = bole_bytes_of(ref, len - tail - 1);
		f->format = bole_bytes_z(formats[i]);
		f->type = i < 2    ? "application/gzip"
		          : i == 2 ? "application/x-tar"
		                   : "application/zip";
		return true;
	}
	return false;
}

bool bole_node_file_parse(const char *path, struct node_file *f)
{
	*f = (struct node_file){.service = NODE_DUMB};
	return parse_archive(path, f) || parse_dumb(path, f);
}

/* "<last part of the name>-<reference>/", so that an archive unpacks into one folder. */
static struct bole_bytes format_prefix(const struct node_file *f, char prefix[PREFIX_MAX])
{
	const char *slash = strrchr(f->name, '/');

	int len = snprintf(prefix, PREFIX_MAX, "%s-%.*s/", slash == NULL ? f->name : slash + 1,
	                   (int)f->path.len, (const char *)f->path.ptr);
	for (int i = 0; i < len - 1; i++)
		if (prefix[i] == '/' || prefix[i] == ':')
			prefix[i] = '-';
	return bole_bytes_of(prefix, (size_t)len);
}

static unsigned status_of(enum bole_status rc)
{
	if (rc == BOLE_E_NOT_FOUND)
		return 404;
	if (rc == BOLE_E_DENIED)
		return 403;
	return rc == BOLE_E_NO_MEMORY ? 503 : 500;
}

static const char *text_of(unsigned status)
{
	if (status == 404)
		return "there is nothing here\n";
	if (status == 403)
		return "this is not served here\n";
	return status == 503 ? "not enough memory for this request; try again later\n"
	                     : "the store failed; its log says why\n";
}

bool bole_node_file_serve(struct node_connection *c, const struct bole_http_request *r,
                          const struct node_file *f, const char *user)
{
	struct node_response response;
	struct bole_bytes_reader nothing;
	char prefix[PREFIX_MAX];

	bole_node_response_init(&response, c, r, &c->node->budget.alloc);
	response.content_type = f->type;
	response.close = r->close || r->has_length || r->chunked;
	bole_bytes_reader_init(&nothing, bole_bytes_of(NULL, 0));
	struct node_request request = {
	        .connection = c,
	        .service = f->service,
	        .name = f->name,
	        .user = user,
	        .stateless = true,
	        .path = f->path,
	        .prefix = format_prefix(f, prefix),
	        .format = f->format,
	        .reader = &nothing.reader,
	        .writer = &response.writer,
	};
	bole_node_request_run(&request);
	if (request.rc != BOLE_OK && response.started) {
		response.rc = BOLE_E_CLOSED; /* half an answer must not end like a whole one */
	} else if (request.rc != BOLE_OK && response.rc == BOLE_OK) {
		bole_buffer_release(&response.held);
		response.status = status_of(request.rc);
		response.content_type = "text/plain; charset=utf-8";
		response.extra = response.status == 503 ? "Retry-After: 5\r\n" : NULL;
		const char *text = text_of(response.status);
		(void)response.writer.write(&response.writer, text, strlen(text));
	}
	return bole_node_response_finish(&response) == BOLE_OK && !response.close;
}
