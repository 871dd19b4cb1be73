/* SPDX-License-Identifier: ISC */
/* The page at /: what this node serves and how to clone it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "node/internal.h"

enum { PAGE_REPOS_MAX = 1000, HOST_MAX = 255 };

static const char page_head[] =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Bole</title>\n"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:50em;margin:2em auto;"
        "padding:0 1em;color:#222;background:#fff}code{background:#f2f2ee;padding:.1em .3em}"
        "li{margin:.3em 0}p.small{color:#666}</style></head>\n<body><h1>Bole</h1>\n";

static const char page_fields[] =
        "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n";

static void put(struct node_response *r, const char *text)
{
	(void)r->writer.write(&r->writer, text, strlen(text));
}

static void put_escaped(struct node_response *r, struct bole_bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		char ch[2] = {(char)text.ptr[i], '\0'};
		if (ch[0] == '<')
			put(r, "&lt;");
		else if (ch[0] == '>')
			put(r, "&gt;");
		else if (ch[0] == '&')
			put(r, "&amp;");
		else if (ch[0] == '"')
			put(r, "&quot;");
		else if (ch[0] == '\'')
			put(r, "&#39;");
		else
			put(r, ch);
	}
}

/* The Host header goes into the clone lines only when it looks like one. */
static struct bole_bytes host_of(const struct bole_http_request *request)
{
	struct bole_bytes host = request->host;

	if (host.len == 0 || host.len > HOST_MAX)
		return bole_bytes_z("localhost");
	for (size_t i = 0; i < host.len; i++) {
		uint8_t ch = host.ptr[i];
		bool fine = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
		            (ch >= 'A' && ch <= 'Z') || (ch != 0 && strchr(".-:[]_", ch) != NULL);
		if (!fine)
			return bole_bytes_z("localhost");
	}
	return host;
}

static void put_repo(struct node_response *r, struct bole_bytes host, const struct bole_repo *repo)
{
	put(r, "<li><code>git clone http://");
	put_escaped(r, host);
	put(r, "/");
	put_escaped(r, bole_bytes_z(repo->name));
	put(r, ".git</code></li>\n");
}

static void put_repos(struct node_response *r, struct bole_bytes host)
{
	struct bole_store *store = r->connection->node->store;
	struct bole_repo repo;
	char after[BOLE_REPO_NAME_MAX + 1] = "";
	unsigned count = 0;
	enum bole_status rc = BOLE_OK;

	put(r, "<h2>Repositories</h2>\n<ul>\n");
	while (count < PAGE_REPOS_MAX && (rc = bole_repo_next(store, after, &repo)) == BOLE_OK) {
		put_repo(r, host, &repo);
		memcpy(after, repo.name, sizeof after);
		count++;
	}
	put(r, "</ul>\n");
	if (rc != BOLE_OK && rc != BOLE_END)
		put(r, "<p>The store cannot list its repositories; the log says why.</p>\n");
	else if (count == 0)
		put(r, "<p>None yet.</p>\n");
	else if (count == PAGE_REPOS_MAX)
		put(r, "<p>There are more.</p>\n");
}

static void put_store(struct node_response *r)
{
	struct bole_node *node = r->connection->node;
	struct bole_store_stats stats = {0};
	char line[320];

	if (bole_store_stats(node->store, &stats) != BOLE_OK)
		return;
	uint64_t up_s =
	        (node->platform->ops->now_ns(node->platform) - node->started_ns) / NODE_SECOND_NS;
	snprintf(line, sizeof line,
	         "<p class=\"small\">%" PRIu64 " objects, %" PRIu64 " of %" PRIu64
	         " MiB used, store: %.15s%s, up %" PRIu64 " s, %" PRIu64 " requests.</p>\n",
	         stats.objects, stats.used_bytes >> 20, stats.capacity_bytes >> 20,
	         node->store->info.kind, node->store->info.read_only ? ", read-only" : "", up_s,
	         atomic_load(&node->requests_total));
	put(r, line);
}

enum bole_status bole_node_http_page(struct node_connection *c,
                                     const struct bole_http_request *request, bool close)
{
	struct node_response r;

	bole_node_response_init(&r, c, request, &c->node->budget.alloc);
	r.content_type = "text/html; charset=utf-8";
	r.extra = page_fields;
	r.close = close;
	put(&r, page_head);
	put_repos(&r, host_of(request));
	put_store(&r);
	put(&r, "</body></html>\n");
	return bole_node_response_finish(&r);
}
