/* SPDX-License-Identifier: ISC */
/* What a client without a Git service reads by plain GET (gitprotocol-http(5), "dumb"): references,
 * HEAD, and objects one by one as loose files, made as they are asked for. No packs are offered. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/deflate.h"
#include "base/memory.h"
#include "git/service/service_impl.h"

enum { DEFLATE_LEVEL = 1, STEP_BYTES = 16 * 1024 };

struct loose {
	struct bole_writer writer;
	struct bole_session *s;
	struct bole_deflater *deflater;
	uint8_t *out;
};

static void write_ref(struct bole_output *out, const struct bole_oid *oid, struct bole_bytes name,
                      const char *suffix)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	bole_oid_format(oid, hex);
	bole_output_write(out, hex, strlen(hex));
	bole_output_write(out, "\t", 1);
	bole_output_write(out, name.ptr, name.len);
	bole_output_write(out, suffix, strlen(suffix));
	bole_output_write(out, "\n", 1);
}

static enum bole_status info_refs(struct bole_session *s)
{
	struct bole_bytes prefix = bole_bytes_z("refs/");
	struct bole_bytes after = bole_bytes_of("", 0);
	struct bole_output *out = s->svc->out;
	struct bole_ref ref;
	enum bole_status rc;

	while ((rc = bole_ref_view_next(&s->refs, s->snapshot, prefix, after, &ref)) == BOLE_OK) {
		struct bole_listed_ref listed;
		after = ref.name;
		BOLE_TRY(bole_session_tick(s));
		if (bole_ref_resolve(&s->refs, s->snapshot, &ref, &listed) != BOLE_OK)
			continue;
		BOLE_TRY(bole_ref_fill_peeled(s, &listed));
		write_ref(out, &listed.oid, listed.name, "");
		if (listed.has_peeled)
			write_ref(out, &listed.peeled, listed.name, "^{}");
		BOLE_TRY(out->rc);
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status head(struct bole_session *s)
{
	struct bole_output *out = s->svc->out;
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_ref ref;

	BOLE_TRY(bole_ref_view_get(&s->refs, s->snapshot, bole_bytes_z("HEAD"), &ref));
	if (ref.symbolic) {
		bole_output_write(out, "ref: ", 5);
		bole_output_write(out, ref.target.ptr, ref.target.len);
	} else {
		bole_oid_format(&ref.oid, hex);
		bole_output_write(out, hex, strlen(hex));
	}
	bole_output_write(out, "\n", 1);
	return out->rc;
}

static enum bole_status deflate(struct loose *l, const uint8_t *p, size_t len, bool last)
{
	enum bole_status rc = BOLE_OK;

	while (len > 0 || (last && rc != BOLE_END)) {
		size_t in_len = len;
		size_t out_len = STEP_BYTES;
		rc = bole_deflate_step(l->deflater, p, &in_len, l->out, &out_len, last);
		if (rc < 0)
			return rc;
		p += in_len;
		len -= in_len;
		bole_output_write(l->s->svc->out, l->out, out_len);
		BOLE_TRY(l->s->svc->out->rc);
	}
	return BOLE_OK;
}

static enum bole_status loose_write(struct bole_writer *self, const void *src, size_t len)
{
	struct loose *l = (struct loose *)(void *)self;

	BOLE_TRY(deflate(l, src, len, false));
	return bole_session_yield(l->s);
}

static enum bole_status loose_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

static enum bole_status write_loose(struct loose *l, const struct bole_oid *oid)
{
	struct bole_object_reader *reader;
	char start[48];
	uint64_t bytes;
	uint8_t type;

	/* The session's reader would do for small objects only. */
	BOLE_TRY(bole_object_reader_open(l->s->snapshot, l->s->svc->alloc, NULL, &reader));
	enum bole_status rc = bole_object_size(reader, oid, &type, &bytes);
	if (rc == BOLE_OK) {
		int len = snprintf(start, sizeof start, "%s %" PRIu64, bole_object_type_name(type),
		                   bytes);
		bole_deflate_begin(l->deflater);
		rc = deflate(l, (const uint8_t *)start, (size_t)len + 1, false);
	}
	if (rc == BOLE_OK)
		rc = bole_object_stream(reader, oid, &l->writer, &type, &bytes);
	if (rc == BOLE_OK)
		rc = deflate(l, (const uint8_t *)start, 0, true);
	bole_object_reader_close(reader);
	return rc;
}

/* path: two hex digits, a slash, the rest of the id. */
static enum bole_status object(struct bole_session *s, struct bole_bytes path)
{
	struct loose l = {.writer = {.write = loose_write, .flush = loose_flush}, .s = s};
	struct bole_alloc *alloc = s->svc->alloc;
	char hex[BOLE_OID_HEX_MAX];
	struct bole_oid oid;

	if (path.len < 4 || path.len > sizeof hex + 1 || path.ptr[2] != '/')
		return BOLE_E_NOT_FOUND;
	memcpy(hex, path.ptr, 2);
	memcpy(hex + 2, path.ptr + 3, path.len - 3);
	if (bole_oid_parse(hex, path.len - 1, s->svc->repo.algo, &oid) != BOLE_OK)
		return BOLE_E_NOT_FOUND;
	l.out = bole_alloc_array(alloc, STEP_BYTES, 1);
	enum bole_status rc = l.out == NULL ? BOLE_E_NO_MEMORY
	                                    : bole_deflater_open(alloc, DEFLATE_LEVEL, &l.deflater);
	if (rc == BOLE_OK)
		rc = write_loose(&l, &oid);
	bole_deflater_close(l.deflater);
	bole_alloc_free(alloc, l.out, STEP_BYTES, 1);
	return rc;
}

static enum bole_status get(struct bole_session *s, struct bole_bytes path)
{
	struct bole_bytes objects = bole_bytes_z("objects/");

	if (bole_pkt_is(path, "info/refs"))
		return info_refs(s);
	if (bole_pkt_is(path, "HEAD"))
		return head(s);
	if (bole_pkt_is(path, "objects/info/packs")) {
		bole_output_write(s->svc->out, "\n", 1);
		return s->svc->out->rc;
	}
	if (!bole_bytes_start(path, objects))
		return BOLE_E_NOT_FOUND;
	return object(s, bole_bytes_of(path.ptr + objects.len, path.len - objects.len));
}

enum bole_status bole_dumb_get(struct bole_service *svc, struct bole_bytes path)
{
	const struct bole_fetch_policy *policy = &svc->policy->fetch;
	struct bole_session s;

	/* Whoever can read objects by their ids is shown everything. */
	bool restricted = policy->refs.hide_count > 0 ||
	                  (policy->refs.space != NULL && *policy->refs.space != '\0');
	if (!policy->dumb || restricted)
		return BOLE_E_DENIED;
	enum bole_status rc = bole_session_open(&s, svc);
	s.refused = true; /* the transport tells: there are no packets here */
	if (rc == BOLE_OK)
		rc = get(&s, path);
	bole_session_close(&s);
	return rc;
}
