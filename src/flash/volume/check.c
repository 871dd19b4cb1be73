/* SPDX-License-Identifier: ISC */
/* Checking a volume: mounts it read-only, reads every byte that it claims, verifies every checksum
 * and compares what is said in two places. Nothing is changed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/auxtable.h"
#include "flash/index/page.h"
#include "flash/volume/mount.h"
#include "flash/volume/repair.h"

enum { CHECK_LINE = 512, CHECK_NAMES = 256, CHECK_PROGRESS_BYTES = 4 << 20, CHECK_KEPT = 1000 };

/* Bytes that something lives in. */
struct claim {
	uint64_t place; /* segment << 32 | offset */
	uint64_t end;
};

struct check {
	struct flash_volume *v;
	const struct bole_flash_check_report *report;
	struct bole_flash_check_result *result;
	uint8_t *buf;
	size_t room;
	struct claim *claim;
	size_t claims;
	size_t claims_cap;
	uint64_t *live; /* of each segment, by what names it */
	bool hidden;    /* by damage: not all that names things was seen */
	bool state;     /* what is claimed belongs to the published state, not to the checkpoint */
	uint64_t total;
	uint64_t told;
};

__attribute__((format(printf, 3, 4))) static void finding(struct check *c, bool error,
                                                          const char *format, ...)
{
	char line[CHECK_LINE];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (error)
		c->result->errors++;
	else
		c->result->warnings++;
	if (c->report != NULL && c->report->finding != NULL)
		c->report->finding(c->report->ctx, error, line);
}

static void progress(struct check *c)
{
	uint64_t done = atomic_load(&c->v->counters.read);

	if (c->report == NULL || c->report->progress == NULL ||
	    done < c->told + CHECK_PROGRESS_BYTES)
		return;
	c->told = done;
	c->report->progress(c->report->ctx, done, done > c->total ? done : c->total);
}

static enum bole_status claim(struct check *c, uint32_t segment, uint32_t offset, uint64_t bytes)
{
	if (c->claims == c->claims_cap) {
		size_t cap = c->claims_cap == 0 ? 256 : c->claims_cap * 2;
		void *list = bole_alloc_resize(c->v->alloc, c->claim, c->claims_cap, cap,
		                               sizeof *c->claim);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		c->claim = list;
		c->claims_cap = cap;
	}
	if (c->state)
		c->live[segment] += bytes;
	uint64_t place = (uint64_t)segment << 32 | offset;
	c->claim[c->claims++] = (struct claim){place, place + bytes};
	return BOLE_OK;
}

static int order_claims(const void *a, const void *b)
{
	const struct claim *x = a;
	const struct claim *y = b;

	return x->place < y->place ? -1 : x->place > y->place;
}

static void check_claims(struct check *c)
{
	if (c->claims != 0)
		qsort(c->claim, c->claims, sizeof *c->claim, order_claims);
	for (size_t i = 1; i < c->claims; i++)
		if (c->claim[i].place < c->claim[i - 1].end)
			finding(c, true, "segment %u: what lies at %u overlaps what lies at %u",
			        (uint32_t)(c->claim[i].place >> 32), (uint32_t)c->claim[i].place,
			        (uint32_t)c->claim[i - 1].place);
	uint32_t last = UINT32_MAX;
	for (size_t i = 0; i < c->claims; i++) {
		uint32_t segment = (uint32_t)(c->claim[i].place >> 32);
		c->result->segments += segment != last;
		last = segment;
	}
}

/* -- Names -- */

static void hex_start(const uint8_t *key, uint32_t len, char *out)
{
	for (uint32_t i = 0; i < len; i++)
		(void)snprintf(out + 2 * (size_t)i, 3, "%02x", key[i]);
}

/* "; named by ..." with the references whose value starts with these bytes, as many as fit. */
static const char *named_by(struct flash_snapshot *s, const uint8_t *id, uint32_t len,
                            char out[CHECK_NAMES])
{
	struct bole_bytes none = {NULL, 0};
	struct bole_bytes after = none;
	struct bole_ref ref;
	size_t at = 0;

	out[0] = '\0';
	while (bole_flash_ref_next(s, none, after, &ref) == BOLE_OK) {
		after = ref.name;
		if (ref.symbolic || memcmp(ref.oid.bytes, id, len) != 0)
			continue;
		int n = snprintf(out + at, CHECK_NAMES - at, "%s%.*s",
		                 at == 0 ? "; named by " : ", ", (int)ref.name.len,
		                 (const char *)ref.name.ptr);
		at += (size_t)n;
		if (at >= CHECK_NAMES - 1) {
			memcpy(out + CHECK_NAMES - 4, "...", 4);
			break;
		}
	}
	return out;
}

/* -- Extents -- */

static enum bole_status check_fragments(struct check *c, uint64_t extent,
                                        const struct flash_fragment *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *p;
		const struct flash_fragment *f = &list[i];
		if (f->segment == SEGMENT_NONE)
			continue; /* a hole */
		enum bole_status rc = bole_flash_fragment_read(c->v, extent, f, c->buf, &p);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc != BOLE_OK)
			finding(c, true,
			        "extent %llu: fragment %u (segment %u, offset %u, %u bytes): %s",
			        (unsigned long long)extent, i, f->segment, f->offset, f->length,
			        bole_status_text(rc));
		BOLE_TRY(claim(c, f->segment, f->offset, bole_flash_fragment_live(f->length)));
		progress(c);
		bole_flash_yield(c->v);
	}
	return BOLE_OK;
}

static void entry_damaged(struct check *c, struct flash_snapshot *s, const struct flash_extent *e,
                          const struct flash_extent_row *row)
{
	uint8_t id[BOLE_OID_BYTES_MAX] = {0};
	char hex[2 * BOLE_OID_BYTES_MAX + 1];
	char names[CHECK_NAMES] = "";
	bool known = bole_flash_extent_key(e, row->number, id) == BOLE_OK;

	hex_start(id, e->key_len, hex);
	finding(c, true, "%s: extent %llu: the entry at %llu, object %s, is damaged%s",
	        s->pub.repo.name, (unsigned long long)e->id, (unsigned long long)row->offset, hex,
	        known ? named_by(s, id, e->key_len, names) : "");
}

/* Its data is a hole: then lookups must not come to it. */
static bool collected(struct flash_snapshot *s, const struct flash_extent *e,
                      const struct flash_extent_row *row)
{
	struct flash_found found;
	uint8_t key[BOLE_OID_BYTES_MAX];

	if (bole_flash_extent_key(e, row->number, key) != BOLE_OK)
		return false;
	enum bole_status rc = bole_flash_index_find(s->v, s->index, key, &s->reader, &found);
	return rc == BOLE_E_NOT_FOUND ||
	       (rc == BOLE_OK && (found.extent != e || found.row != row->number));
}

/* Each entry against the checksum in the table, through the eyes of a reader. */
static enum bole_status check_entries(struct check *c, struct flash_snapshot *s,
                                      const struct flash_extent *e)
{
	for (uint32_t i = 0; i < e->rows; i++) {
		struct flash_extent_row row = {.offset = 0};
		struct flash_sum sum;
		enum bole_status rc = bole_flash_extent_nth(e, i, &row);
		struct bole_entry entry = {
		        .extent = e->id, .offset = row.offset, .stored_bytes = row.stored};
		bole_flash_sum_begin(&sum, e->id);
		for (uint64_t pos = 0; rc == BOLE_OK && pos < entry.stored_bytes;) {
			struct bole_bytes bytes;
			rc = bole_flash_view(s, &entry, pos, &bytes);
			if (rc == BOLE_OK)
				bole_flash_sum_add(&sum, bytes.ptr, bytes.len);
			pos += bytes.len;
		}
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc == BOLE_E_NOT_FOUND && collected(s, e, &row))
			continue;
		if (rc != BOLE_OK || (uint32_t)bole_flash_sum_end(&sum) != row.checksum)
			entry_damaged(c, s, e, &row);
		progress(c);
	}
	return BOLE_OK;
}

static enum bole_status check_run(struct check *c, struct flash_run *run);

/* Its fragments and pages. */
static enum bole_status check_parts(struct check *c, const struct flash_extent *e, bool *whole)
{
	const struct flash_fragment *list = e->map;
	enum bole_status rc = bole_flash_extent_map(e, &list);

	c->result->extents++;
	if (rc == BOLE_E_NO_MEMORY)
		return rc;
	*whole = rc == BOLE_OK && !e->damaged;
	c->hidden |= !*whole;
	if (!*whole)
		finding(c, true, "extent %llu: its map is damaged", (unsigned long long)e->id);
	BOLE_TRY(check_fragments(c, e->id, list, rc == BOLE_OK ? e->fragments : e->map_fragments));
	if (e->rows == 0)
		return BOLE_OK;
	BOLE_TRY(check_run(c, e->table));
	return check_run(c, e->order);
}

static enum bole_status check_extent(struct check *c, struct flash_snapshot *s,
                                     const struct flash_extent *e)
{
	bool whole;

	BOLE_TRY(check_parts(c, e, &whole));
	return whole ? check_entries(c, s, e) : BOLE_OK;
}

/* -- Records -- */

/* A record: verified, and of the id (or the start of one) that the index says. */
static enum bole_status check_record(struct check *c, struct flash_snapshot *s,
                                     const struct flash_walk_row *row)
{
	uint32_t segment = bole_flash_place_segment(row->place);
	uint32_t offset = bole_flash_place_offset(row->place);
	uint32_t known = row->key != NULL ? s->repo->domain->key_len : INDEX_PREFIX_BYTES;
	char hex[2 * BOLE_OID_BYTES_MAX + 1];
	char names[CHECK_NAMES];
	struct bole_entry entry = {
	        .extent = bole_flash_home_of(segment, offset),
	        .stored_bytes = row->stored,
	};
	struct bole_bytes key;
	uint8_t type;

	c->result->records++;
	enum bole_status rc = bole_flash_record_of(s, &entry, &key, &type);
	if (rc == BOLE_E_NO_MEMORY)
		return rc;
	if (rc == BOLE_OK && (memcmp(key.ptr, row->prefix, known) != 0 || type != row->type))
		rc = BOLE_E_CORRUPT;
	hex_start(row->prefix, known, hex);
	if (rc != BOLE_OK)
		finding(c, true, "%s: object %s (segment %u, offset %u, %u bytes): %s%s",
		        s->pub.repo.name, hex, segment, offset, row->stored, bole_status_text(rc),
		        named_by(s, row->prefix, known, names));
	progress(c);
	return claim(c, segment, offset,
	             bole_flash_record_live(s->repo->domain->key_len, row->stored));
}

struct check_rows {
	struct check *c;
	struct flash_snapshot *s;
};

static enum bole_status check_walk_row(void *ctx, const struct flash_walk_row *row)
{
	struct check_rows *r = ctx;

	return check_record(r->c, r->s, row);
}

static enum bole_status check_prepared_rows(struct check *c, struct flash_snapshot *s,
                                            const struct flash_rows *run)
{
	for (uint32_t i = 0; i < run->count; i++) {
		struct flash_home home = bole_flash_rows_home(run, i);
		const uint8_t *key = bole_flash_rows_key(run, i);
		struct flash_walk_row row = {key, key, bole_flash_place(home.segment, home.offset),
		                             home.stored, home.type};
		BOLE_TRY(check_record(c, s, &row));
	}
	return BOLE_OK;
}

/* -- Sorted runs -- */

static enum bole_status check_run(struct check *c, struct flash_run *run)
{
	enum bole_status rc = bole_flash_run_verify(run);

	if (rc == BOLE_E_NO_MEMORY)
		return rc;
	if (rc != BOLE_OK)
		finding(c, true, "index run %llu: %s", (unsigned long long)run->id,
		        bole_status_text(rc));
	for (uint32_t i = 0; i < run->chunks; i++) {
		const struct flash_run_chunk *k = &run->chunk[i];
		BOLE_TRY(claim(c, k->segment, k->first * c->v->page_bytes,
		               (uint64_t)k->pages * c->v->page_bytes));
	}
	progress(c);
	return BOLE_OK;
}

/* -- References and aux -- */

static void check_refs(struct check *c, struct flash_snapshot *s)
{
	struct bole_bytes none = {NULL, 0};
	struct bole_bytes after = none;
	struct bole_entry entry;
	struct bole_ref ref;

	while (bole_flash_ref_next(s, none, after, &ref) == BOLE_OK) {
		after = ref.name;
		if (ref.symbolic)
			continue;
		if (bole_flash_find(s, &ref.oid, &entry) != BOLE_OK)
			finding(c, true, "%s: %.*s names an object that is not there",
			        s->pub.repo.name, (int)ref.name.len, (const char *)ref.name.ptr);
	}
}

static enum bole_status claim_parts(struct check *c, struct bole_bytes value)
{
	for (uint32_t i = 0; i < bole_flash_aux_parts(value); i++) {
		struct flash_aux_part part = bole_flash_aux_part(value, i);
		if (part.bytes != 0)
			BOLE_TRY(claim(c, part.segment, part.offset, part.bytes));
	}
	return BOLE_OK;
}

static enum bole_status check_aux(struct check *c, struct flash_snapshot *s,
                                  const struct flash_table *table)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(table, after, true);
	     item != NULL; item = bole_flash_table_next(table, after, false)) {
		after = bole_flash_item_key(item);
		struct bole_bytes value = bole_flash_item_value(item);
		struct bole_aux_key key = {
		        .cls = (enum bole_aux_class)after.ptr[0],
		        .kind = (uint16_t)(after.ptr[1] << 8 | after.ptr[2]),
		        .key = {after.ptr + AUX_KEY_HEAD, after.len - AUX_KEY_HEAD},
		};
		char hex[2 * BOLE_OID_BYTES_MAX + 1] = "";
		uint8_t *copy = NULL;
		size_t len;
		hex_start(key.key.ptr,
		          key.key.len < BOLE_OID_BYTES_MAX ? (uint32_t)key.key.len
		                                           : BOLE_OID_BYTES_MAX,
		          hex);
		enum bole_status rc = bole_flash_aux_get(s, &key, c->v->alloc, &copy, &len);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc != BOLE_OK)
			finding(c, true, "%s: %s aux record of kind %u, key %s: %s",
			        s->pub.repo.name,
			        key.cls == BOLE_AUX_DERIVED ? "derived" : "durable", key.kind, hex,
			        bole_status_text(rc));
		else
			c->v->alloc->resize(c->v->alloc->ctx, copy, len == 0 ? 1 : len, 0, 1);
		BOLE_TRY(claim_parts(c, value));
	}
	return BOLE_OK;
}

/* Values that a prepared transaction will set are not readable yet. */
static enum bole_status check_prepared_aux(struct check *c, const struct flash_table *table)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(table, after, true);
	     item != NULL; item = bole_flash_table_next(table, after, false)) {
		after = bole_flash_item_key(item);
		BOLE_TRY(claim_parts(c, bole_flash_item_value(item)));
	}
	return BOLE_OK;
}

static enum bole_status check_repo(struct check *c, struct flash_snapshot *s)
{
	const struct flash_index *index = s->index;

	check_refs(c, s);
	BOLE_TRY(check_aux(c, s, s->aux));
	struct check_rows rows = {c, s};

	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++)
		BOLE_TRY(check_extent(c, s, index->extents->extent[i]));
	for (uint32_t i = 0; index != NULL && index->runs != NULL && i < index->runs->count; i++)
		BOLE_TRY(check_run(c, index->runs->run[i]));
	enum bole_status walked = bole_flash_index_walk(c->v, index, check_walk_row, &rows);
	if (walked == BOLE_E_NO_MEMORY)
		return walked;
	c->hidden |= walked != BOLE_OK;
	if (walked != BOLE_OK)
		finding(c, true, "%s: the index cannot be read to its end: %s", s->pub.repo.name,
		        bole_status_text(walked));
	for (struct flash_prepared *p = c->v->prepared; p != NULL; p = p->next) {
		if (p->repo != s->repo)
			continue;
		for (uint32_t i = 0; i < p->extents; i++) {
			bool whole;
			BOLE_TRY(check_parts(c, p->extent[i], &whole));
		}
		if (p->run != NULL)
			BOLE_TRY(check_prepared_rows(c, s, p->run));
		BOLE_TRY(check_prepared_aux(c, p->aux));
	}
	return BOLE_OK;
}

/* -- Anchors and the whole -- */

static void check_anchors(struct check *c)
{
	const struct flash_anchor_place *place = &c->v->anchor_place;

	for (uint32_t i = 0; i < 2; i++) {
		if (place->dead[i])
			finding(c, false, "anchor area %u lies behind the end of the device", i);
		else if (place->missing[i])
			finding(c, false, "anchor area %u holds no valid anchor", i);
	}
}

/* The counts that decide what is erased, against what names things. */
static void check_live(struct check *c)
{
	if (c->hidden)
		return;
	for (uint32_t i = 0; i < c->v->segments; i++)
		if (c->v->segment[i].live != c->live[i])
			finding(c, true, "segment %u: %u bytes are said to live in it, %llu do", i,
			        c->v->segment[i].live, (unsigned long long)c->live[i]);
}

/* What the mount could not show. */
static void check_losses(struct check *c)
{
	const struct flash_volume *v = c->v;
	uint64_t told = 0;

	for (size_t at = 0; at < v->losses.len; told++) {
		const char *line = (const char *)v->losses.ptr + at;
		const char *end = memchr(line, '\n', v->losses.len - at);
		size_t len = end == NULL ? v->losses.len - at : (size_t)(end - line);
		finding(c, true, "%.*s", (int)len, line);
		at += len + 1;
	}
	if (told < v->lost)
		finding(c, true, "%llu more things are damaged or gone: the log names them",
		        (unsigned long long)(v->lost - told));
}

static enum bole_status check_volume(struct check *c)
{
	struct flash_volume *v = c->v;
	struct flash_snapshot *s;

	check_losses(c);
	check_anchors(c);
	for (uint32_t i = 0; i < v->elements; i++)
		BOLE_TRY(check_fragments(c, v->element[i].stream, v->element[i].fragment,
		                         v->element[i].fragments));
	c->state = true;
	for (uint32_t i = 0; i < v->repos; i++) {
		BOLE_TRY(bole_flash_snapshot_open(v, v->repo[i]->id, &s));
		enum bole_status rc = check_repo(c, s);
		bole_flash_snapshot_close(s);
		BOLE_TRY(rc);
	}
	check_claims(c);
	check_live(c);
	return BOLE_OK;
}

/* Everything after the mount. */
static enum bole_status check_mounted(struct check *c)
{
	struct flash_volume *v = c->v;

	for (uint32_t i = 0; i < v->segments; i++)
		c->total += v->segment[i].live;
	c->room = bole_flash_fragment_room(v);
	c->buf = bole_alloc_array(v->alloc, c->room, 1);
	c->live = bole_alloc_zeroed(v->alloc, v->segments, sizeof *c->live);
	enum bole_status rc =
	        c->buf == NULL || c->live == NULL ? BOLE_E_NO_MEMORY : check_volume(c);
	bole_alloc_free(v->alloc, c->buf, c->room, 1);
	bole_alloc_free(v->alloc, c->claim, c->claims_cap, sizeof *c->claim);
	return rc;
}

enum bole_status bole_flash_count_live(struct flash_volume *v, uint64_t *live, bool *known)
{
	struct bole_flash_check_result result = {.errors = 0};
	struct check c = {.v = v, .result = &result};

	enum bole_status rc = check_mounted(&c);
	*known = rc == BOLE_OK && !c.hidden;
	if (rc == BOLE_OK)
		memcpy(live, c.live, v->segments * sizeof *live);
	bole_alloc_free(v->alloc, c.live, v->segments, sizeof *c.live);
	return rc;
}

/* What a repair would keep. */
static void show_kept(struct check *c)
{
	struct bole_bytes none = {NULL, 0};
	uint64_t shown = 0;

	for (uint32_t i = 0; i < c->v->repos; i++) {
		const struct flash_repo *r = c->v->repo[i];
		struct bole_bytes after = none;
		struct bole_ref ref;
		finding(c, false, "kept: %s: %llu references, %llu objects", r->name,
		        (unsigned long long)(r->reftable == NULL ? 0 : r->reftable->items),
		        r->domain->index == NULL ? 0ULL
		                                 : (unsigned long long)r->domain->index->objects);
		for (const struct flash_item *item =
		             bole_flash_table_next(r->reftable, after, true);
		     item != NULL && shown < CHECK_KEPT;
		     item = bole_flash_table_next(r->reftable, after, false), shown++) {
			char hex[2 * BOLE_OID_BYTES_MAX + 1] = "";
			after = bole_flash_item_key(item);
			bole_flash_ref_decode(item, r->domain->algo, &ref);
			if (!ref.symbolic)
				hex_start(ref.oid.bytes, r->domain->key_len, hex);
			finding(c, false, "kept: %s: %.*s is %s%.*s", r->name, (int)ref.name.len,
			        (const char *)ref.name.ptr, hex, (int)ref.target.len,
			        ref.target.len == 0 ? "" : (const char *)ref.target.ptr);
		}
	}
}

enum bole_status bole_flash_check(struct bole_block *dev, struct bole_platform *platform,
                                  struct bole_alloc *alloc,
                                  const struct bole_flash_check_report *report,
                                  struct bole_flash_check_result *out)
{
	struct bole_flash_open_options options = {.read_only = true};
	struct check c = {.report = report, .result = out};

	memset(out, 0, sizeof *out);
	/* Of a damaged volume, what a repair would make of it. */
	enum bole_status rc =
	        bole_flash_volume_open_older(dev, platform, alloc, &options, NULL, &c.v);
	if (rc == BOLE_E_CORRUPT)
		rc = bole_flash_salvage(dev, platform, alloc, &options, FLASH_SALVAGE_REBUILD,
		                        &c.v);
	if (rc == BOLE_OK && c.v->rebuilt) {
		finding(&c, true,
		        "the checkpoint is damaged, and no older one leads on: a repair would go "
		        "on with the following");
		show_kept(&c);
	}
	if (rc == BOLE_E_CORRUPT || rc == BOLE_E_IO) {
		finding(&c, true, "the volume cannot be mounted: %s (the log says where)",
		        bole_status_text(rc));
		return BOLE_OK;
	}
	BOLE_TRY(rc);
	rc = check_mounted(&c);
	bole_alloc_free(c.v->alloc, c.live, c.v->segments, sizeof *c.live);
	out->bytes_read = atomic_load(&c.v->counters.read);
	(void)bole_flash_volume_close(c.v);
	return rc;
}
