/* SPDX-License-Identifier: ISC */
/* All batches of the log that are still on the device, in order, whatever lies between them. A
 * segment of log stays readable long after its batches are in a checkpoint: until something else
 * is written there. */
#include "flash/rebuild/rebuild.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/auxtable.h"
#include "flash/log/drop.h"
#include "flash/log/scan.h"
#include "flash/volume/repair.h"

enum { STAMP_HEAD = 5, STAMP_VALUE = 12, DROPPED_HEAD = 9 };

/* -- Batches -- */

struct log_segment {
	struct flash_log_head head;
	uint32_t segment;
};

static int order_logs(const void *a, const void *b)
{
	const struct log_segment *x = a;
	const struct log_segment *y = b;

	if (x->head.batch != y->head.batch)
		return x->head.batch < y->head.batch ? -1 : 1;
	return x->head.sequence < y->head.sequence ? -1 : x->head.sequence > y->head.sequence;
}

/* Takes up the log behind something that does not verify. BOLE_E_NOT_FOUND. */
static enum bole_status pass_damage(struct flash_log_scan *s, uint64_t limit)
{
	const struct flash_volume *v = s->v;
	struct bole_bytes bytes;
	struct flash_trailer t;

	for (uint64_t end = bole_round_up((uint64_t)s->pos + TRAILER_BYTES, v->unit);
	     end <= v->segment_bytes; end += v->unit) {
		uint32_t at = (uint32_t)end - TRAILER_BYTES;
		BOLE_TRY(bole_flash_scan_show(s, s->segment, at, TRAILER_BYTES, &bytes));
		if (!bole_flash_scan_trailer(v, s->segment, s->segment_sequence, at, bytes.ptr,
		                             &t) ||
		    t.sequence < s->expect || t.sequence >= limit || t.durable >= t.sequence ||
		    (t.flags & FLASH_BATCH_CONFIRM) != 0)
			continue;
		uint32_t before = s->batches;
		uint32_t start = t.bytes <= end - s->pos ? (uint32_t)end - t.bytes : s->pos;
		s->pos = start;
		s->expect = t.sequence;
		s->link = t.chain;
		BOLE_TRY(bole_flash_scan_follow(s));
		if (s->batches != before)
			return BOLE_OK;
		t.bytes = (uint32_t)end - start;
		BOLE_TRY(bole_flash_scan_show(s, s->segment, start, t.bytes, &bytes));
		if (bytes.len < t.bytes)
			return BOLE_E_NOT_FOUND;
		BOLE_TRY(bole_flash_scan_keep(s, &t, bytes.ptr));
		s->batch[s->batches - 1].damaged = true;
		return BOLE_OK;
	}
	return BOLE_E_NOT_FOUND;
}

static enum bole_status take_segment(struct flash_log_scan *s, const struct log_segment *l,
                                     uint64_t limit)
{
	uint32_t from = s->batches;
	uint32_t keep = from;

	s->segment = l->segment;
	s->segment_sequence = l->head.sequence;
	s->next = l->head.next;
	s->next_sequence = l->head.next_sequence;
	s->pos = SEGMENT_HEAD_BYTES;
	s->expect = l->head.batch;
	s->link = l->head.link;
	s->buf_len = 0;
	s->step = 0;
	BOLE_TRY(bole_flash_scan_follow(s));
	for (;;) {
		enum bole_status rc = pass_damage(s, limit);
		if (rc == BOLE_E_NOT_FOUND)
			break;
		BOLE_TRY(rc);
		BOLE_TRY(bole_flash_scan_follow(s));
	}
	while (s->batches > from && s->batch[s->batches - 1].sequence >= limit)
		s->batches--;
	if (s->batches == from)
		return BOLE_OK;
	/* A log that could not be written goes on elsewhere, under the same number. */
	while (keep > 0 && s->batch[keep - 1].sequence >= s->batch[from].sequence)
		keep--;
	memmove(s->batch + keep, s->batch + from, (s->batches - from) * sizeof *s->batch);
	s->batches -= from - keep;
	return BOLE_OK;
}

static void count_missing(struct flash_archive *a, const struct flash_log_scan *s)
{
	uint64_t expect = 1;

	a->batches = s->batches;
	for (uint32_t i = 0; i <= s->batches; i++) {
		uint64_t next = i == s->batches ? a->limit : s->batch[i].sequence;
		if (next > expect) {
			a->missing += next - expect;
			a->last_missing = next - 1;
		}
		if (i < s->batches && s->batch[i].damaged)
			a->last_missing = next;
		expect = next + 1;
	}
}

enum bole_status bole_flash_archive_scan(struct flash_log_scan *s)
{
	struct flash_volume *v = s->v;
	struct flash_archive *a = v->repair->archive;
	struct log_segment *log = bole_alloc_zeroed(v->alloc, v->segments, sizeof *log);
	enum bole_status rc = log == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	uint32_t logs = 0;

	for (uint32_t i = 0; i < v->segments && rc == BOLE_OK; i++) {
		struct flash_log_head *h = &log[logs].head;
		if (v->segment[i].state == SEGMENT_BAD)
			continue;
		rc = bole_flash_scan_head(s, i, h);
		if (rc == BOLE_E_IO || rc == BOLE_E_CORRUPT)
			rc = BOLE_OK;
		else if (rc == BOLE_OK && h->ok && h->batch < a->limit)
			log[logs++].segment = i;
	}
	if (logs != 0)
		qsort(log, logs, sizeof *log, order_logs);
	for (uint32_t i = 0; i < logs && rc == BOLE_OK; i++) {
		rc = take_segment(s, &log[i], a->limit);
		if (rc == BOLE_E_IO || rc == BOLE_E_CORRUPT)
			rc = BOLE_OK; /* it counts as gone */
		bole_flash_yield(v);
	}
	bole_alloc_free(v->alloc, log, v->segments, sizeof *log);
	count_missing(a, s);
	s->durable = a->limit - 1;
	s->seen_durable = s->durable;
	s->sealed = false;
	return rc;
}

/* -- Stamps -- */

static size_t stamp_key(uint8_t *out, enum flash_stamp stamp, uint32_t owner, struct bole_bytes key)
{
	out[0] = (uint8_t)stamp;
	bole_put_be32(out + 1, owner);
	if (key.len != 0)
		memcpy(out + STAMP_HEAD, key.ptr, key.len);
	return STAMP_HEAD + key.len;
}

static enum bole_status stamp(struct flash_apply *a, enum flash_stamp what, uint32_t owner,
                              struct bole_bytes key, uint32_t segment)
{
	struct flash_archive *archive = a->v->repair->archive;
	uint8_t buf[STAMP_HEAD + REBUILD_KEY_MAX];
	uint8_t value[STAMP_VALUE];

	if (key.len > REBUILD_KEY_MAX)
		return BOLE_OK;
	bole_put_le64(value, a->batch);
	bole_put_le32(value + 8, segment);
	size_t len = stamp_key(buf, what, owner, key);
	return bole_flash_table_set(&a->v->plain, &archive->stamps, bole_bytes_of(buf, len),
	                            bole_bytes_of(value, sizeof value));
}

bool bole_flash_archive_stamp(const struct flash_archive *archive, enum flash_stamp what,
                              uint32_t owner, struct bole_bytes key, uint64_t *batch)
{
	uint8_t buf[STAMP_HEAD + REBUILD_KEY_MAX];

	if (key.len > REBUILD_KEY_MAX)
		return false;
	size_t len = stamp_key(buf, what, owner, key);
	const struct flash_item *item =
	        bole_flash_table_find(archive->stamps, bole_bytes_of(buf, len));
	if (item == NULL)
		return false;
	*batch = bole_get_le64(bole_flash_item_value(item).ptr);
	return true;
}

static enum bole_status note_refs(struct flash_apply *a, const struct flash_record *r,
                                  uint32_t segment)
{
	struct bole_bytes body = r->body;

	while (body.len >= REF_HEAD_BYTES) {
		size_t name = bole_get_le16(body.ptr + REF_NAME_BYTES_AT);
		size_t target = bole_get_le16(body.ptr + REF_TARGET_BYTES_AT);
		if (name > body.len - REF_HEAD_BYTES || target > body.len - REF_HEAD_BYTES - name)
			break;
		struct bole_bytes key = {body.ptr + REF_HEAD_BYTES, name};
		BOLE_TRY(stamp(a, FLASH_STAMP_REF, r->owner, key, segment));
		body.ptr += REF_HEAD_BYTES + name + target;
		body.len -= REF_HEAD_BYTES + name + target;
	}
	return BOLE_OK;
}

/* What is prepared is the last word when that is resolved. */
static enum bole_status note_aux(struct flash_apply *a, const struct flash_record *r,
                                 uint32_t segment)
{
	struct flash_aux_record aux;

	if ((r->flags & FLASH_FLAG_PREPARED) != 0 || !bole_flash_aux_decode(r, &aux))
		return BOLE_OK;
	struct bole_bytes k = {aux.key, aux.key_len};
	/* The first part is gone: nothing is known of this value. */
	if (!bole_flash_aux_follows(a, r, &aux))
		return BOLE_OK;
	return stamp(a, FLASH_STAMP_AUX, r->owner, k, segment);
}

static enum bole_status note_resolve(struct flash_apply *a, const struct flash_record *r,
                                     uint32_t segment)
{
	struct bole_bytes after = {NULL, 0};

	if (r->body.len != PREPARE_BYTES)
		return BOLE_OK;
	bool commit = r->body.ptr[RESOLVE_COMMIT_AT] != 0;
	BOLE_TRY(stamp(a, commit ? FLASH_STAMP_COMMITTED : FLASH_STAMP_ABORTED, 0,
	               bole_bytes_of(r->body.ptr + PREPARE_TOKEN_AT, FLASH_TOKEN_BYTES), segment));
	if (!commit)
		return BOLE_OK;
	for (const struct flash_prepared *p = a->v->prepared; p != NULL; p = p->next) {
		if (memcmp(p->token.bytes, r->body.ptr + PREPARE_TOKEN_AT, FLASH_TOKEN_BYTES) != 0)
			continue;
		for (const struct flash_item *item = bole_flash_table_next(p->aux, after, true);
		     item != NULL; item = bole_flash_table_next(p->aux, after, false)) {
			after = bole_flash_item_key(item);
			BOLE_TRY(stamp(a, FLASH_STAMP_AUX, p->repo->id, after, segment));
		}
		return BOLE_OK;
	}
	/* Nobody knows which keys it set. */
	return stamp(a, FLASH_STAMP_UNKNOWN, r->owner, after, segment);
}

static enum bole_status note_drop(struct flash_apply *a, const struct flash_record *r,
                                  uint32_t segment)
{
	struct flash_archive *archive = a->v->repair->archive;
	const struct flash_domain *domain = bole_flash_domain_find(a->v, r->owner);
	uint8_t key[DROPPED_HEAD + BOLE_OID_BYTES_MAX];
	struct bole_bytes list = r->body;
	struct flash_drop d;
	uint8_t opening[8];

	archive->decides[segment] = 1;
	if (r->key.len != 0 || domain == NULL)
		return BOLE_OK;
	bole_put_le64(opening, a->v->segment[segment].sequence);
	bole_put_be32(key, r->owner);
	while (bole_flash_drop_next(&list, domain->key_len, &d)) {
		if (d.extent)
			continue;
		memcpy(key + DROPPED_HEAD, d.key, domain->key_len);
		bole_flash_put_be40(key + 4, d.place);
		BOLE_TRY(bole_flash_table_set(&a->v->plain, &archive->dropped,
		                              bole_bytes_of(key, DROPPED_HEAD + domain->key_len),
		                              bole_bytes_of(opening, 8)));
	}
	return BOLE_OK;
}

/* A part of what was prepared. */
static enum bole_status note_part(struct flash_apply *a, uint32_t segment, uint32_t offset)
{
	uint8_t at[4];

	a->v->repair->archive->decides[segment] = 1;
	if (a->prepared == NULL)
		return BOLE_OK;
	bole_put_be32(at, offset);
	return stamp(a, FLASH_STAMP_PREPARED_AUX, segment, bole_bytes_of(at, sizeof at), segment);
}

static bool is_guessed(struct flash_volume *v, uint32_t domain)
{
	const struct flash_domain *d = bole_flash_domain_find(v, domain);

	return d != NULL && d->guessed;
}

enum bole_status bole_flash_archive_note(struct flash_apply *a, const struct flash_record *r,
                                         uint32_t segment, uint32_t offset)
{
	struct flash_archive *archive = a->v->repair->archive;
	struct bole_bytes none = {NULL, 0};

	/* The end of one that the archive never saw is said, too. */
	if (r->kind == FLASH_RECORD_REPO || r->kind == FLASH_RECORD_RENAME ||
	    r->kind == FLASH_RECORD_REMOVE)
		BOLE_TRY(stamp(a, FLASH_STAMP_REPO, r->owner, none, segment));
	BOLE_TRY(bole_flash_rebuild_fit(a->v, NULL, r));
	if ((r->flags & FLASH_FLAG_PREPARED) != 0 && r->kind == FLASH_RECORD_AUX)
		BOLE_TRY(note_part(a, segment, offset));
	/* Ids of unknown length cannot be told apart. */
	if (r->kind == FLASH_RECORD_DROP && is_guessed(a->v, r->owner))
		return BOLE_E_EXISTS;
	switch (r->kind) {
	case FLASH_RECORD_REFS: return note_refs(a, r, segment);
	case FLASH_RECORD_AUX: return note_aux(a, r, segment);
	case FLASH_RECORD_PREPARE:
		if (r->body.len != PREPARE_BYTES)
			return BOLE_OK;
		archive->decides[segment] = 1;
		return stamp(a, FLASH_STAMP_PREPARED, 0,
		             bole_bytes_of(r->body.ptr + PREPARE_TOKEN_AT, FLASH_TOKEN_BYTES),
		             segment);
	case FLASH_RECORD_DROP: return note_drop(a, r, segment);
	case FLASH_RECORD_RESOLVE: return note_resolve(a, r, segment);
	default: return BOLE_OK;
	}
}

/* -- Owners -- */

static struct flash_repo *repo_of_domain(const struct flash_volume *v, uint32_t domain)
{
	for (uint32_t i = 0; i < v->repos; i++)
		if (v->repo[i]->domain->id == domain)
			return v->repo[i];
	return NULL;
}

static bool of_domain(uint8_t kind)
{
	return kind == FLASH_RECORD_OBJECT || kind == FLASH_RECORD_EXTENT ||
	       kind == FLASH_RECORD_DROP || kind == FLASH_RECORD_ROWS || kind == FLASH_RECORD_RUN ||
	       kind == FLASH_RECORD_EXTENT_GONE;
}

static void lost_name(char *out, size_t room, uint32_t id)
{
	(void)snprintf(out, room, "lost-%u", id);
}

/* Somebody else has the name still: that he gave it up is gone. */
static enum bole_status free_name(struct flash_volume *v, struct bole_bytes name, uint32_t owner)
{
	const struct flash_item *item = bole_flash_table_find(v->names, name);
	uint8_t number[4];

	if (item == NULL)
		return BOLE_OK;
	struct flash_repo *repo =
	        bole_flash_repo_find_any(v, bole_get_le32(bole_flash_item_value(item).ptr));
	if (repo == NULL || repo->id == owner)
		return BOLE_OK;
	BOLE_TRY(bole_flash_table_remove(&v->plain, &v->names, name));
	memset(repo->name, 0, sizeof repo->name);
	lost_name(repo->name, sizeof repo->name, repo->id);
	bole_flash_lost(v, "%s: was called %.*s, which is another one's name by now", repo->name,
	                (int)name.len, (const char *)name.ptr);
	bole_put_le32(number, repo->id);
	return bole_flash_table_set(&v->plain, &v->names, bole_bytes_z(repo->name),
	                            bole_bytes_of(number, 4));
}

static bool is_empty(const struct flash_index *index)
{
	return index == NULL ||
	       (bole_flash_index_mem_rows(index) == 0 && index->now.mem == NULL &&
	        index->now.fresh == NULL && index->runs == NULL && index->extents == NULL);
}

static enum bole_status add_owner(struct flash_volume *v, const struct flash_volume *then,
                                  uint32_t id, bool domain, uint8_t algo)
{
	struct flash_repo *repo = NULL;
	struct flash_repo *out;
	char name[32];

	for (uint32_t i = 0; then != NULL && i < then->repos; i++)
		if (domain ? then->repo[i]->domain->id == id : then->repo[i]->id == id)
			repo = then->repo[i];
	if (repo != NULL) {
		BOLE_TRY(free_name(v, bole_bytes_z(repo->name), repo->id));
		BOLE_TRY(bole_flash_repo_add(v, repo->id, repo->domain->id, repo->domain->algo,
		                             bole_bytes_z(repo->name), &out));
		out->domain->guessed = repo->domain->guessed;
		return BOLE_OK;
	}
	if (id == 0 || id == UINT32_MAX)
		return BOLE_E_CORRUPT;
	if (bole_flash_rebuild_hash_of(v, id) != 0)
		algo = bole_flash_rebuild_hash_of(v, id);
	/* Their numbers grow together. */
	lost_name(name, sizeof name, id);
	BOLE_TRY(free_name(v, bole_bytes_z(name), id));
	BOLE_TRY(bole_flash_repo_add(v, id, id, algo == 0 ? BOLE_HASH_SHA1 : algo,
	                             bole_bytes_z(name), &out));
	out->domain->guessed = algo == 0;
	return BOLE_OK;
}

/* A guess may have been wrong. */
static void learn(struct flash_domain *domain, uint8_t algo)
{
	if (algo == 0 || (algo != domain->algo && !is_empty(domain->index)))
		return;
	domain->guessed = false;
	domain->algo = algo;
	domain->key_len = (uint32_t)bole_hash_bytes(algo);
}

enum bole_status bole_flash_rebuild_fit(struct flash_volume *v, const struct flash_volume *then,
                                        const struct flash_record *r)
{
	bool domain = of_domain(r->kind);
	struct flash_repo *repo =
	        domain ? repo_of_domain(v, r->owner) : bole_flash_repo_find_any(v, r->owner);
	uint8_t algo = bole_flash_rebuild_algo(r);

	switch (r->kind) {
	case FLASH_RECORD_REPO:
		if (repo != NULL)
			learn(repo->domain, algo);
		if (repo != NULL || r->body.len <= REPO_HEAD_BYTES)
			return BOLE_E_EXISTS;
		return free_name(v,
		                 (struct bole_bytes){r->body.ptr + REPO_HEAD_BYTES,
		                                     r->body.len - REPO_HEAD_BYTES},
		                 r->owner);
	case FLASH_RECORD_REMOVE: return repo == NULL ? BOLE_E_EXISTS : BOLE_OK;
	case FLASH_RECORD_RENAME:
		if (r->body.len != 0)
			BOLE_TRY(free_name(v, r->body, r->owner));
		if (repo != NULL && bole_bytes_equal(bole_bytes_z(repo->name), r->body))
			return BOLE_E_EXISTS;
		if (repo != NULL && repo->name[0] != '\0' && r->body.len != 0)
			bole_flash_rebuild_renamed(v, repo->name, r->body);
		break;
	case FLASH_RECORD_RESOLVE:
		return bole_flash_rebuild_resolves(v, r) ? BOLE_OK : BOLE_E_EXISTS;
	default: break;
	}
	if (repo == NULL)
		return add_owner(v, then, r->owner, domain, algo);
	learn(repo->domain, algo);
	return BOLE_OK;
}
