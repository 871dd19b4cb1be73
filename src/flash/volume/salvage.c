/* SPDX-License-Identifier: ISC */
/* Mounting what damage has left. A volume whose newest checkpoint or log is damaged, although they
 * were durable, is mounted for reading from the anchor that loses least:
 *
 * 1. an older one, if its checkpoint is whole and the log leads from there to where the newest took
 *    over: all that was acknowledged is there;
 * 2. the newest one, with the holes of the log left out (flash/log/salvage.c);
 * 3. an older one, with the holes of the log left out.
 *
 * A repair puts together what the newest checkpoint said (flash/rebuild/) before it does the last.
 *
 * What is not shown is said in the log, in the figures and by the check. Repair does the same for
 * writing: then the volume goes on from there. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "flash/volume/repair.h"

enum { SALVAGE_ANCHORS = 16, LOST_LINE = 480 };

void bole_flash_lost(struct flash_volume *v, const char *format, ...)
{
	char line[LOST_LINE];
	va_list args;

	if (v->repair != NULL && v->repair->archive != NULL)
		return; /* what does not fit into the past is nobody's loss */
	va_start(args, format);
	(void)vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	v->lost++;
	bole_log(v->platform, BOLE_LOG_ERROR, "%s: %s", v->dev->info.name, line);
	size_t len = strlen(line);
	line[len++] = '\n';
	if (v->losses.rc == BOLE_OK)
		bole_buffer_append(&v->losses, line, len);
}

enum bole_status bole_flash_salvage_count(struct flash_volume *v)
{
	uint64_t *live = bole_alloc_zeroed(v->alloc, v->segments, sizeof *live);
	bool known = false;
	enum bole_status rc =
	        live == NULL ? BOLE_E_NO_MEMORY : bole_flash_count_live(v, live, &known);

	for (uint32_t i = 0; i < v->segments && rc == BOLE_OK; i++) {
		struct flash_segment *s = &v->segment[i];
		uint64_t bytes = live[i];
		/* Damage hides what names things: of what was said to live nothing is given up. */
		if (!known && bytes < s->live)
			bytes = s->live;
		s->changed |= s->live != bytes;
		s->live = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
		s->published |= bytes != 0;
	}
	bole_alloc_free(v->alloc, live, v->segments, sizeof *live);
	return rc;
}

struct attempt {
	struct bole_block *dev;
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_flash_open_options options;
	struct flash_anchor anchor[SALVAGE_ANCHORS];
	uint32_t count;
	enum flash_salvage how;
};

static void conclude(const struct attempt *a, struct flash_volume *v, uint32_t from,
                     const struct flash_repair *with)
{
	if (with->rebuild)
		bole_flash_lost(v, "the checkpoint is damaged, and the log from before it is gone: "
		                   "what it held is put together from what is left");
	else if (from != 0)
		bole_flash_lost(v,
		                "the newest checkpoint is damaged: the one before it and the log "
		                "count (anchor %llu instead of %llu); what collections removed "
		                "since is back",
		                (unsigned long long)a->anchor[from].generation,
		                (unsigned long long)a->anchor[0].generation);
	if (a->how == FLASH_SALVAGE_READ)
		bole_log(v->platform, BOLE_LOG_ERROR,
		         "%s: %llu things that were durable are damaged or gone: the volume is "
		         "read-only; bole fsck names them, with --repair it goes on without them",
		         v->dev->info.name, (unsigned long long)v->lost);
}

static enum bole_status try_from(struct attempt *a, uint32_t from, bool salvage, bool rebuild,
                                 struct flash_volume **out)
{
	struct flash_repair with = {
	        .older = a->anchor[from],
	        .newest = a->anchor[0],
	        .salvage = salvage,
	        .whole = a->how != FLASH_SALVAGE_READ && from != 0 && !salvage,
	        .rebuild = rebuild,
	        .anchor = a->anchor,
	        .anchors = a->count,
	};

	a->options.read_only = true;
	BOLE_TRY(bole_flash_volume_open_older(a->dev, a->platform, a->alloc, &a->options, &with,
	                                      out));
	if (a->how == FLASH_SALVAGE_WRITE) {
		/* It can be mounted: now in earnest. */
		(void)bole_flash_volume_close(*out);
		a->options.read_only = false;
		BOLE_TRY(bole_flash_volume_open_older(a->dev, a->platform, a->alloc, &a->options,
		                                      &with, out));
	}
	conclude(a, *out, from, &with);
	return BOLE_OK;
}

static enum bole_status try_all(struct attempt *a, struct flash_volume **out)
{
	enum bole_status rc = BOLE_E_CORRUPT;

	for (uint32_t i = 1; i < a->count && rc == BOLE_E_CORRUPT; i++)
		rc = try_from(a, i, false, false, out);
	if (rc == BOLE_E_CORRUPT)
		rc = try_from(a, 0, true, false, out);
	if (rc == BOLE_E_CORRUPT && a->how != FLASH_SALVAGE_READ && a->anchor[0].stream != 0)
		return try_from(a, 0, true, true, out);
	for (uint32_t i = 1; i < a->count && rc == BOLE_E_CORRUPT; i++)
		rc = try_from(a, i, true, false, out);
	return rc;
}

enum bole_status bole_flash_salvage(struct bole_block *dev, struct bole_platform *platform,
                                    struct bole_alloc *alloc,
                                    const struct bole_flash_open_options *options,
                                    enum flash_salvage how, struct flash_volume **out)
{
	struct attempt a = {.dev = dev, .platform = platform, .alloc = alloc, .how = how};

	if (options != NULL)
		a.options = *options;
	enum bole_status rc =
	        bole_flash_anchor_all(dev, alloc, SALVAGE_ANCHORS, a.anchor, &a.count);
	if (rc == BOLE_OK)
		rc = try_all(&a, out);
	for (uint32_t i = 0; i < a.count; i++)
		bole_flash_anchor_release(alloc, &a.anchor[i]);
	return rc;
}
