/* SPDX-License-Identifier: ISC */
/* A service over one stream, without a node around it. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/internal.h"

enum { INPUT_BYTES = 32 * 1024 };

struct stream_ends {
	struct bole_reader reader;
	struct bole_writer writer;
	struct bole_stream *stream;
};

int bole_node_protocol_version(struct bole_bytes list)
{
	int version = 0;

	for (size_t i = 0; i + 9 <= list.len; i++) {
		bool start = i == 0 || list.ptr[i - 1] == ':';
		bool end = i + 9 == list.len || list.ptr[i + 9] == ':';
		if (!start || !end || memcmp(list.ptr + i, "version=", 8) != 0)
			continue;
		int n = list.ptr[i + 8] - '0';
		if (n >= 0 && n <= 2 && n > version)
			version = n;
	}
	return version;
}

static enum bole_status ends_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	struct stream_ends *e = (struct stream_ends *)(void *)self;

	return e->stream->ops->read(e->stream, dst, cap, got);
}

static enum bole_status ends_write(struct bole_writer *self, const void *src, size_t len)
{
	struct stream_ends *e =
	        (struct stream_ends *)(void *)((uint8_t *)self -
	                                       offsetof(struct stream_ends, writer));
	struct bole_bytes piece = bole_bytes_of(src, len);

	return e->stream->ops->writev(e->stream, &piece, 1);
}

static enum bole_status ends_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

static bool ends_cancelled(void *ctx)
{
	struct bole_stream *stream = ctx;

	return stream->ops->hung_up(stream);
}

static enum bole_status call(struct bole_service *service, enum bole_node_service which)
{
	switch (which) {
	case BOLE_NODE_UPLOAD_PACK: return bole_upload_pack(service);
	case BOLE_NODE_RECEIVE_PACK: return bole_receive_pack(service);
	case BOLE_NODE_UPLOAD_ARCHIVE: return bole_upload_archive(service);
	}
	return BOLE_E_UNSUPPORTED;
}

/* Settings of pushes are read by a node; this one serves nothing. */
struct stream_push {
	struct bole_node *node;
	struct node_push push;
};

/* Who may push at all, and what, is for whoever gave out the stream: there are no users here. */
static enum bole_status push_open(struct stream_push *p, struct bole_platform *platform,
                                  struct bole_store *store, const struct bole_config *config,
                                  const char *repo, struct bole_service_policy *policy)
{
	if (config == NULL)
		return BOLE_OK;
	p->node = bole_alloc_zeroed(platform->alloc, 1, sizeof *p->node);
	if (p->node == NULL)
		return BOLE_E_NO_MEMORY;
	p->node->platform = platform;
	p->node->store = store;
	p->node->config = config;
	BOLE_TRY(bole_node_push_config(p->node));
	bole_node_push_policy(p->node, NULL, repo, &p->push, policy);
	policy->receive_enable = true;
	policy->push.may = NULL;
	return BOLE_OK;
}

static void push_close(struct stream_push *p, struct bole_alloc *alloc)
{
	if (p->node == NULL)
		return;
	bole_node_push_config_close(p->node);
	bole_alloc_free(alloc, p->node, 1, sizeof *p->node);
}

enum bole_status bole_node_serve_stream(struct bole_platform *platform, struct bole_store *store,
                                        const struct bole_config *config,
                                        enum bole_node_service which, const char *repo,
                                        const char *protocol, struct bole_stream *stream)
{
	struct stream_ends ends = {
	        .reader = {ends_read},
	        .writer = {.write = ends_write, .flush = ends_flush},
	        .stream = stream,
	};
	struct bole_service_policy policy = {.receive_enable = true};
	struct node_fetch_config fetch;
	struct stream_push push = {.node = NULL};
	struct bole_input in;
	struct bole_output out;
	struct bole_service service = {
	        .platform = platform,
	        .alloc = platform->alloc,
	        .store = store,
	        .policy = &policy,
	        .in = &in,
	        .out = &out,
	        .version = bole_node_protocol_version(bole_bytes_z(protocol)),
	        .cancelled = ends_cancelled,
	        .cancelled_ctx = stream,
	        .peer = "stream",
	};

	BOLE_TRY(bole_repo_find(store, repo, &service.repo));
	uint8_t *buffer = bole_alloc_array(platform->alloc, INPUT_BYTES + NODE_OUTPUT_BYTES, 1);
	if (buffer == NULL)
		return BOLE_E_NO_MEMORY;
	bole_input_init(&in, &ends.reader, buffer, INPUT_BYTES);
	bole_output_init(&out, &ends.writer, buffer + INPUT_BYTES, NODE_OUTPUT_BYTES);
	enum bole_status rc = bole_node_fetch_config_open(&fetch, platform->alloc, config, repo,
	                                                  which == BOLE_NODE_RECEIVE_PACK);
	policy.fetch = fetch.policy;
	if (rc == BOLE_OK && which == BOLE_NODE_RECEIVE_PACK)
		rc = push_open(&push, platform, store, config, repo, &policy);
	if (rc == BOLE_OK)
		rc = call(&service, which);
	if (rc == BOLE_OK && which == BOLE_NODE_RECEIVE_PACK)
		bole_node_settle_head(platform, store, &service.repo, fetch.space);
	push_close(&push, platform->alloc);
	bole_node_fetch_config_close(&fetch);
	enum bole_status flushed = bole_output_flush(&out);
	bole_alloc_free(platform->alloc, buffer, INPUT_BYTES + NODE_OUTPUT_BYTES, 1);
	return rc == BOLE_OK || rc == BOLE_END ? flushed : rc;
}
