/* SPDX-License-Identifier: ISC */
/* The commands object-info and bundle-uri of protocol version 2 (gitprotocol-v2(5)). */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/fetch/upload_pack_impl.h"

/* -- object-info -- */

struct object_info {
	struct bole_id_list ids;
	uint8_t *allowed;
	bool size;
};

static enum bole_status take_info(struct bole_session *s, void *ctx, struct bole_bytes line)
{
	struct object_info *info = ctx;
	struct bole_bytes hex;
	struct bole_oid oid;
	char shown[80];

	if (bole_pkt_is(line, "size")) {
		info->size = true;
		return BOLE_OK;
	}
	if (!bole_pkt_word(line, "oid", &hex) ||
	    bole_oid_parse((const char *)hex.ptr, hex.len, s->svc->repo.algo, &oid) != BOLE_OK)
		return bole_session_refuse(s, BOLE_E_INVALID, "object-info: unexpected line: '%s'",
		                           bole_printable(shown, sizeof shown, line));
	return bole_session_check(s, bole_id_list_add_once(&info->ids, &oid, BOLE_WANTS_MAX),
	                          "object-info: too many ids");
}

/* What may not be wanted has no size either, as if it were not here. */
static enum bole_status answer_info(struct bole_session *s, struct object_info *info)
{
	struct bole_object_reader *reader;
	char number[24];

	info->allowed = bole_alloc_zeroed(s->svc->alloc, info->ids.count + 1, 1);
	if (info->allowed == NULL)
		return BOLE_E_NO_MEMORY;
	BOLE_TRY(bole_wants_check(s, &info->ids, info->allowed, NULL));
	BOLE_TRY(bole_session_reader(s, s->snapshot, &reader));
	if (info->size)
		bole_pkt_text(s->svc->out, "size\n");
	for (size_t i = 0; i < info->ids.count; i++) {
		struct bole_pkt_line line;
		uint64_t bytes = 0;
		enum bole_status rc = BOLE_E_NOT_FOUND;

		BOLE_TRY(bole_session_tick(s));
		if (info->allowed[i] != 0)
			rc = bole_object_size(reader, &info->ids.ids[i], NULL, &bytes);
		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
		bole_pkt_line_init(&line);
		bole_pkt_line_oid(&line, &info->ids.ids[i]);
		snprintf(number, sizeof number, " %" PRIu64, bytes);
		if (info->size)
			bole_pkt_line_text(&line, rc == BOLE_OK ? number : " ");
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, s->svc->out);
		BOLE_TRY(s->svc->out->rc);
	}
	bole_pkt_flush(s->svc->out);
	return bole_session_flush(s);
}

enum bole_status bole_object_info(struct bole_session *s, bool args_follow)
{
	struct object_info info = {0};
	enum bole_status rc = BOLE_OK;

	bole_id_list_init(&info.ids, s->svc->platform, s->svc->alloc, s->svc->repo.algo);
	if (args_follow)
		rc = bole_v2_arguments(s, &info, take_info);
	if (rc == BOLE_OK)
		rc = bole_session_check(s, answer_info(s, &info), "object-info");
	bole_alloc_free(s->svc->alloc, info.allowed, info.allowed == NULL ? 0 : info.ids.count + 1,
	                1);
	bole_id_list_release(&info.ids);
	return rc;
}

/* -- bundle-uri -- */

static enum bole_status take_nothing(struct bole_session *s, void *ctx, struct bole_bytes line)
{
	char shown[80];

	(void)ctx;
	return bole_session_refuse(s, BOLE_E_INVALID, "bundle-uri: unexpected argument: '%s'",
	                           bole_printable(shown, sizeof shown, line));
}

enum bole_status bole_bundle_uri(struct bole_session *s, bool args_follow)
{
	const struct bole_fetch_policy *policy = &s->svc->policy->fetch;

	if (args_follow)
		BOLE_TRY(bole_v2_arguments(s, NULL, take_nothing));
	bole_pkt_text(s->svc->out, "bundle.version=1\n");
	bole_pkt_text(s->svc->out, "bundle.mode=all\n");
	for (size_t i = 0; i < policy->bundle_uri_count; i++) {
		struct bole_pkt_line line;
		char key[48];

		bole_pkt_line_init(&line);
		snprintf(key, sizeof key, "bundle.bundle-%zu.uri=", i + 1);
		bole_pkt_line_text(&line, key);
		bole_pkt_line_text(&line, policy->bundle_uris[i]);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, s->svc->out);
	}
	bole_pkt_flush(s->svc->out);
	return bole_session_flush(s);
}
