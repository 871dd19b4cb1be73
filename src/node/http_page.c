/* SPDX-License-Identifier: ISC */
/* The page at /: what this node serves and how to clone it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "node/internal.h"

enum { PAGE_REPOS_MAX = 1000, PAGE_LOOKS_MAX = 10000, HOST_MAX = 255 };

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
	unsigned looked = 0;
	enum bole_status rc = BOLE_OK;

	put(r, "<h2>Repositories</h2>\n<ul>\n");
	while (count < PAGE_REPOS_MAX && looked++ < PAGE_LOOKS_MAX &&
	       (rc = bole_repo_next(store, after, &repo)) == BOLE_OK) {
		memcpy(after, repo.name, sizeof after);
		/* The page knows nobody by name. */
		if (!bole_node_access_repo(r->connection->node->access, NULL, repo.name, NODE_READ))
			continue;
		put_repo(r, host, &repo);
		count++;
	}
	put(r, "</ul>\n");
	if (rc != BOLE_OK && rc != BOLE_END)
		put(r, "<p>The store cannot list its repositories; the log says why.</p>\n");
	else if (count == 0)
		put(r, "<p>None yet.</p>\n");
	else if (rc != BOLE_END)
		put(r, "<p>There are more.</p>\n");
}

/* The figures that belong together, since the store was opened. */
static void put_work(struct node_response *r, const struct bole_store_stats *s)
{
	uint64_t user = s->user_bytes == 0 ? 1 : s->user_bytes;
	char line[512];

	if (s->segments == 0)
		return;
	snprintf(line, sizeof line,
	         "<p class=\"small\">Since the start: %" PRIu64 " commits, %" PRIu64
	         " KiB; for each byte %" PRIu64 ".%02" PRIu64 " written and %" PRIu64 ".%02" PRIu64
	         " erased; %" PRIu64 " KiB live, %" PRIu64 " KiB free; wear max %" PRIu32
	         ", mean %" PRIu64 ", min %" PRIu32 "; worst commit %" PRIu64
	         " us, worst background step %" PRIu64 " us; %" PRIu64 " reads to mount; %" PRIu64
	         " KiB of memory.</p>\n",
	         s->commits, s->user_bytes >> 10, s->programmed_bytes / user,
	         s->programmed_bytes % user * 100 / user, s->erased_bytes / user,
	         s->erased_bytes % user * 100 / user, s->live_bytes >> 10, s->free_bytes >> 10,
	         s->wear_max, s->wear_sum / s->segments, s->wear_min, s->commit_ns_max / 1000,
	         s->operation_ns_max / 1000, s->mount_reads, s->memory_bytes >> 10);
	put(r, line);
}

static void put_store(struct node_response *r)
{
	struct bole_node *node = r->connection->node;
	struct bole_store_stats stats = {0};
	char line[512];

	if (bole_store_stats(node->store, &stats) != BOLE_OK)
		return;
	uint64_t up_s =
	        (node->platform->ops->now_ns(node->platform) - node->started_ns) / NODE_SECOND_NS;
	snprintf(line, sizeof line,
	         "<p class=\"small\">%" PRIu64 " objects, %" PRIu64 " of %" PRIu64
	         " MiB used, store: %.15s%s%s, up %" PRIu64 " s, %" PRIu64 " requests.</p>\n",
	         stats.objects, stats.used_bytes >> 20, stats.capacity_bytes >> 20,
	         node->store->info.kind, node->store->info.read_only ? ", read-only" : "",
	         stats.lost != 0     ? ", damaged"
	         : stats.end_of_life ? ", worn out"
	                             : "",
	         up_s, atomic_load(&node->requests_total));
	put(r, line);
	put_work(r, &stats);
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
