/* SPDX-License-Identifier: ISC */
/* The public calls: each is one conversation over the transport that the URL asks for. */
#include "bole/client.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/fetch.h"
#include "git/client/push.h"
#include "git/promise.h"
#include "node/client/client.h"

struct bole_client {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_client_options options;
	struct client_url url;
	union {
		struct client_gitd gitd;
		struct client_http http;
	} way;
	struct bole_transport *transport;
	struct client_download download;
	char shown[CLIENT_PATH_MAX + CLIENT_HOST_MAX + 64];
	char error[BOLE_REMOTE_ERROR_MAX];
};

enum bole_status bole_client_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                  const char *url, const struct bole_client_options *options,
                                  char *why, size_t why_cap, struct bole_client **out)
{
	const char *reason = "no memory";
	struct bole_client *c = bole_alloc_zeroed(alloc, 1, sizeof *c);
	enum bole_status rc =
	        c == NULL ? BOLE_E_NO_MEMORY : bole_client_url_parse(url, &c->url, &reason);

	*out = NULL;
	if (rc != BOLE_OK) {
		snprintf(why, why_cap, "%s", reason);
		bole_alloc_free(alloc, c, c == NULL ? 0 : 1, sizeof *c);
		return rc;
	}
	c->platform = platform;
	c->alloc = alloc;
	c->options = *options;
	bole_client_url_format(&c->url, c->shown, sizeof c->shown);
	if (c->url.scheme == CLIENT_GIT) {
		bole_client_gitd_init(&c->way.gitd, platform, &c->url, &c->options);
		c->transport = &c->way.gitd.transport;
	} else {
		bole_client_http_init(&c->way.http, platform, alloc, &c->url, &c->options);
		c->transport = &c->way.http.transport;
	}
	bole_client_download_init(&c->download, platform, alloc, &c->url, &c->options);
	*out = c;
	return BOLE_OK;
}

void bole_client_close(struct bole_client *c)
{
	if (c == NULL)
		return;
	c->transport->ops->end(c->transport);
	c->download.download.ops->close(&c->download.download);
	/* Passwords were in it. */
	volatile uint8_t *secret = (volatile uint8_t *)c;
	size_t size = sizeof *c;
	struct bole_alloc *alloc = c->alloc;
	for (size_t i = 0; i < size; i++)
		secret[i] = 0;
	bole_alloc_free(alloc, c, 1, sizeof *c);
}

const char *bole_client_error(const struct bole_client *c)
{
	return c->error;
}

const char *bole_client_url(const struct bole_client *c)
{
	return c->shown;
}

static enum bole_status begin(struct bole_client *c, struct bole_remote *r)
{
	c->error[0] = '\0';
	BOLE_TRY(bole_remote_open(r, c->platform, c->alloc, c->transport, &c->options));
	r->url = c->shown;
	r->download = &c->download.download;
	return BOLE_OK;
}

static enum bole_status end(struct bole_client *c, struct bole_remote *r, enum bole_status rc)
{
	if (rc != BOLE_OK)
		snprintf(c->error, sizeof c->error, "%s",
		         r->error[0] != '\0' ? r->error : bole_status_text(rc));
	bole_remote_close(r);
	c->download.download.ops->close(&c->download.download);
	return rc;
}

static bool asked_for(const struct bole_client_list *list, struct bole_bytes name)
{
	for (size_t i = 0; i < list->prefix_count; i++)
		if (bole_bytes_start(name, bole_bytes_z(list->prefixes[i])))
			return true;
	return list->prefix_count == 0;
}

static enum bole_status list(struct bole_client *c, struct bole_remote *r,
                             struct bole_client_list *job)
{
	int version = c->options.protocol == BOLE_PROTOCOL_BEST ? 2 : (int)c->options.protocol - 1;

	BOLE_TRY(bole_remote_connect(r, "git-upload-pack", version));
	if (r->version == 2) {
		struct bole_bytes *prefixes =
		        bole_arena_alloc(&r->text, job->prefix_count + 1, sizeof *prefixes);

		if (prefixes == NULL)
			return BOLE_E_NO_MEMORY;
		for (size_t i = 0; i < job->prefix_count; i++)
			prefixes[i] = bole_bytes_z(job->prefixes[i]);
		BOLE_TRY(bole_remote_ls_refs(r, prefixes, job->prefix_count));
	}
	job->version = r->version;
	job->algo = r->algo;
	for (size_t i = 0; i < r->ref_count; i++) {
		const struct bole_remote_ref *ref = &r->refs[i];
		struct bole_client_ref out = {.name = ref->name,
		                              .target = ref->target,
		                              .oid = ref->oid,
		                              .peeled = ref->peeled,
		                              .has_peeled = ref->has_peeled};

		if (asked_for(job, ref->name) && job->reference != NULL)
			job->reference(job->ctx, &out);
	}
	return BOLE_OK;
}

enum bole_status bole_client_list(struct bole_client *c, struct bole_client_list *job)
{
	struct bole_remote r = {.version = 0};
	enum bole_status rc = begin(c, &r);

	if (rc == BOLE_OK)
		rc = list(c, &r, job);
	return end(c, &r, rc);
}

enum bole_status bole_client_fetch(struct bole_client *c, struct bole_store *store,
                                   struct bole_client_fetch *job)
{
	struct bole_remote r = {.version = 0};
	enum bole_status rc = begin(c, &r);

	if (rc == BOLE_OK)
		rc = bole_remote_fetch(&r, store, job);
	return end(c, &r, rc);
}

enum bole_status bole_client_origin(struct bole_store *store, struct bole_alloc *alloc,
                                    const char *repo, struct bole_client_origin *out)
{
	struct bole_origin origin = {.there = false};
	struct bole_snapshot *view;
	struct bole_repo found;

	*out = (struct bole_client_origin){.partial = false};
	BOLE_TRY(bole_repo_find(store, repo, &found));
	BOLE_TRY(bole_snapshot_open(store, found.id, &view));
	enum bole_status rc = bole_promise_any(view, &out->partial);
	if (rc == BOLE_OK)
		rc = bole_origin_load(view, alloc, &origin);
	bole_snapshot_close(view);
	memcpy(out->url, origin.url, sizeof origin.url);
	memcpy(out->filter, origin.filter, sizeof origin.filter);
	return rc;
}

enum bole_status bole_client_backfill(struct bole_client *c, struct bole_store *store,
                                      struct bole_client_backfill *job)
{
	struct bole_remote r = {.version = 0};
	enum bole_status rc = begin(c, &r);

	if (rc == BOLE_OK)
		rc = bole_remote_backfill(&r, store, job);
	return end(c, &r, rc);
}

enum bole_status bole_client_push(struct bole_client *c, struct bole_store *store,
                                  struct bole_client_push *job)
{
	struct bole_remote r = {.version = 0};
	enum bole_status rc = begin(c, &r);

	if (rc == BOLE_OK)
		rc = bole_remote_push(&r, store, job);
	return end(c, &r, rc);
}
