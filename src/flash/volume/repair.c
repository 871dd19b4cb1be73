/* SPDX-License-Identifier: ISC */
/* Repair, when asked for. It never guesses, and everything that it does becomes true with an
 * anchor: until then, and after a cut, the volume is what it was.
 *
 * A volume that does not mount, because its newest checkpoint is damaged: an older anchor counts
 * again if its checkpoint is whole and the log goes on from there to where the newest one took
 * over, so that nothing that was acknowledged is lost. What the cleaner had moved since lies where
 * it was; places that were used again are found damaged by the check that follows.
 *
 * A volume that mounts: derived aux records that cannot be read are removed, and the counts of what
 * lives are set to what names things, unless damage hides some of it. */
#include "flash/volume/repair.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/checkpoint.h"
#include "flash/index/auxtable.h"
#include "flash/log/batch.h"
#include "flash/volume/mount.h"

enum { REPAIR_LINE = 512, REPAIR_SAID = 256 << 10 };

struct repair {
	struct bole_block *dev;
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	const struct bole_flash_check_report *report;
	struct bole_flash_check_result *result;
};

__attribute__((format(printf, 2, 3))) static void say(struct repair *r, const char *format, ...)
{
	char line[REPAIR_LINE];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	r->result->repaired++;
	if (r->report != NULL && r->report->finding != NULL)
		r->report->finding(r->report->ctx, false, line);
}

/* -- An older anchor -- */

/* Segments that were opened after the anchor are left alone: if this is given up, they may be all
 * there is. */
enum bole_status bole_flash_repair_spare(struct flash_volume *v)
{
	size_t room = SEGMENT_HEAD_BYTES + bole_flash_read_slack(v);
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);

	if (buf == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < v->segments; i++) {
		struct flash_segment *s = &v->segment[i];
		const uint8_t *p;
		if ((s->state != SEGMENT_FREE && s->state != SEGMENT_FREED) ||
		    bole_flash_read(v, i, 0, SEGMENT_HEAD_BYTES, buf, &p) != BOLE_OK)
			continue;
		uint64_t sequence = bole_get_le64(p + SEGMENT_SEQUENCE_AT);
		bool ours =
		        bole_flash_sum(p + SEGMENT_MAGIC_AT, SEGMENT_HEAD_BYTES - SEGMENT_MAGIC_AT,
		                       bole_flash_seed(v->key, i, sequence, 0)) ==
		        bole_get_le64(p + SEGMENT_CHECKSUM_AT);
		if (!ours || sequence >> 32 <= v->repair->older.opened)
			continue;
		v->free -= s->state == SEGMENT_FREE;
		v->freed -= s->state == SEGMENT_FREED;
		s->state = SEGMENT_USED;
		s->open = true; /* until the volume is mounted again */
	}
	bole_alloc_free(v->alloc, buf, room, 1);
	return BOLE_OK;
}

/* -- A volume that mounts -- */

/* The first derived aux record of a repository that is damaged; *key is borrowed from s. One that
 * the device does not give this time is none. BOLE_E_NOT_FOUND. */
static enum bole_status broken_aux(struct flash_snapshot *s, struct bole_alloc *alloc,
                                   struct bole_aux_key *out)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(s->aux, after, true);
	     item != NULL; item = bole_flash_table_next(s->aux, after, false)) {
		uint8_t *value = NULL;
		size_t len;
		after = bole_flash_item_key(item);
		*out = (struct bole_aux_key){
		        .cls = (enum bole_aux_class)after.ptr[0],
		        .kind = (uint16_t)(after.ptr[1] << 8 | after.ptr[2]),
		        .key = {after.ptr + AUX_KEY_HEAD, after.len - AUX_KEY_HEAD},
		};
		if (out->cls != BOLE_AUX_DERIVED)
			continue;
		enum bole_status rc = bole_flash_aux_get(s, out, alloc, &value, &len);
		if (rc == BOLE_OK)
			alloc->resize(alloc->ctx, value, len == 0 ? 1 : len, 0, 1);
		if (rc != BOLE_OK)
			return rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
	}
	return BOLE_E_NOT_FOUND;
}

static enum bole_status drop_derived(struct repair *r, struct flash_volume *v, uint32_t repo,
                                     bool *again)
{
	struct bole_bytes none = {NULL, 0};
	struct bole_aux_key key;
	struct flash_tx *tx;
	size_t failed;

	BOLE_TRY(bole_flash_tx_begin(v, repo, &tx));
	enum bole_status rc = broken_aux(tx->view, v->alloc, &key);
	*again = rc == BOLE_OK;
	if (rc != BOLE_OK) {
		bole_flash_tx_abort(tx);
		return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
	}
	uint16_t kind = key.kind;
	rc = bole_flash_aux_put(tx, &key, none);
	if (rc != BOLE_OK) {
		bole_flash_tx_abort(tx);
		return rc;
	}
	rc = bole_flash_tx_commit(tx, NULL, 0, &failed);
	if (rc == BOLE_OK)
		say(r, "a damaged derived record of kind %u is removed", kind);
	return rc;
}

/* Something lives in it, although it was said to be free. Lock held. */
static void take_back(struct flash_volume *v, struct flash_segment *s)
{
	v->free -= s->state == SEGMENT_FREE;
	v->freed -= s->state == SEGMENT_FREED;
	v->pinned -= s->state == SEGMENT_PINNED;
	if (s->state == SEGMENT_FREE || s->state == SEGMENT_FREED || s->state == SEGMENT_PINNED ||
	    s->state == SEGMENT_RESERVED)
		s->state = SEGMENT_USED;
	s->published = true;
}

static enum bole_status set_live(struct repair *r, struct flash_volume *v, const uint64_t *live)
{
	uint32_t wrong = 0;

	bole_flash_lock(v);
	for (uint32_t i = 0; i < v->segments; i++) {
		struct flash_segment *s = &v->segment[i];
		if (s->live == live[i] || live[i] > UINT32_MAX)
			continue;
		v->live += live[i];
		v->live -= s->live;
		s->live = (uint32_t)live[i];
		s->changed = true;
		if (s->live != 0)
			take_back(v, s);
		wrong++;
	}
	bool next = v->segment[v->log.next].live != 0;
	bole_flash_unlock(v);
	if (wrong == 0)
		return BOLE_OK;
	if (next)
		BOLE_TRY(bole_flash_log_jump(v));
	BOLE_TRY(bole_flash_checkpoint(v));
	say(r, "what lives in %u segments is counted anew", wrong);
	return BOLE_OK;
}

/* What is given up, but what was said before. */
static void say_losses(struct repair *r, const struct flash_volume *v, struct bole_buffer *before)
{
	struct bole_bytes old = {before->ptr, before->len};

	for (size_t at = 0; at < v->losses.len;) {
		const char *line = (const char *)v->losses.ptr + at;
		const char *end = memchr(line, '\n', v->losses.len - at);
		size_t len = end == NULL ? v->losses.len - at : (size_t)(end - line);
		bool said = false;
		for (size_t i = 0; i + len <= old.len && !said; i++)
			said = memcmp(old.ptr + i, line, len) == 0;
		if (!said)
			say(r, "given up: %.*s", (int)len, line);
		at += len + 1;
	}
}

/* What damage has left is made what counts. What that gives up is said before anything is written:
 * power may go in between. */
static enum bole_status settle(struct repair *r)
{
	struct bole_buffer said;
	struct flash_volume *v;

	bole_buffer_init(&said, r->alloc, REPAIR_SAID);
	BOLE_TRY(
	        bole_flash_salvage(r->dev, r->platform, r->alloc, NULL, FLASH_SALVAGE_REBUILD, &v));
	say_losses(r, v, &said);
	bole_buffer_append(&said, v->losses.ptr, v->losses.len);
	(void)bole_flash_volume_close(v);
	enum bole_status rc =
	        bole_flash_salvage(r->dev, r->platform, r->alloc, NULL, FLASH_SALVAGE_WRITE, &v);
	if (rc == BOLE_OK) {
		rc = bole_flash_checkpoint(v);
		say_losses(r, v, &said);
		if (v->losses.len == 0)
			say(r, "nothing of the damaged log is missing: a checkpoint replaces it");
		enum bole_status closed = bole_flash_volume_close(v);
		rc = rc == BOLE_OK ? closed : rc;
	}
	bole_buffer_release(&said);
	return rc;
}

static enum bole_status mend(struct repair *r, struct flash_volume *v)
{
	for (uint32_t i = 0; i < v->repos; i++) {
		bool again = true;
		while (again)
			BOLE_TRY(drop_derived(r, v, v->repo[i]->id, &again));
	}
	uint64_t *live = bole_alloc_zeroed(v->alloc, v->segments, sizeof *live);
	if (live == NULL)
		return BOLE_E_NO_MEMORY;
	bool known = false;
	enum bole_status rc = bole_flash_count_live(v, live, &known);
	if (rc == BOLE_OK && known)
		rc = set_live(r, v, live);
	bole_alloc_free(v->alloc, live, v->segments, sizeof *live);
	return rc;
}

enum bole_status bole_flash_repair(struct bole_block *dev, struct bole_platform *platform,
                                   struct bole_alloc *alloc,
                                   const struct bole_flash_check_report *report,
                                   struct bole_flash_check_result *out)
{
	struct bole_flash_check_result after;
	struct repair r = {dev, platform, alloc, report, out};
	const struct bole_flash_open_options look = {.read_only = true};
	struct flash_volume *v;
	uint64_t repaired;

	memset(out, 0, sizeof *out);
	if (dev->info.read_only)
		return BOLE_E_READ_ONLY;
	/* Looking changes nothing. */
	enum bole_status rc = bole_flash_volume_open_older(dev, platform, alloc, &look, NULL, &v);
	if (rc == BOLE_OK) {
		(void)bole_flash_volume_close(v);
		rc = bole_flash_volume_open_older(dev, platform, alloc, NULL, NULL, &v);
	}
	/* What a cut left unstable may read otherwise the second time. */
	if (rc == BOLE_E_CORRUPT) {
		rc = settle(&r);
		if (rc == BOLE_OK)
			rc = bole_flash_volume_open_older(dev, platform, alloc, NULL, NULL, &v);
	}
	if (rc == BOLE_OK) {
		rc = mend(&r, v);
		enum bole_status closed = bole_flash_volume_close(v);
		if (rc == BOLE_OK)
			rc = closed;
	}
	if (rc != BOLE_OK && rc != BOLE_E_CORRUPT)
		return rc;
	repaired = out->repaired;
	BOLE_TRY(bole_flash_check(dev, platform, alloc, report, &after));
	*out = after;
	out->repaired = repaired;
	return BOLE_OK;
}
