/* SPDX-License-Identifier: ISC */
/* References of which nobody can say that they are the newest: a hole may have held another value,
 * or their end. What they name decides: a reference of the checkpoint named an object that was
 * there, and damage to a checkpoint takes no object away. If it is nowhere, a collection took it
 * when the reference had gone on. */
#include "flash/rebuild/rebuild.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/levels.h"
#include "flash/log/tx.h"

enum { DOUBT_HEAD = 4, DOUBT_KEY_MAX = DOUBT_HEAD + REBUILD_KEY_MAX };

void bole_flash_rebuild_show(struct bole_bytes key, char out[REBUILD_TEXT])
{
	size_t n = 0;

	for (; n < key.len && n < REBUILD_TEXT - 1; n++)
		out[n] = key.ptr[n] > ' ' && key.ptr[n] < 0x7f ? (char)key.ptr[n] : '?';
	out[n] = '\0';
}

void bole_flash_rebuild_renamed(struct flash_volume *v, const char *was, struct bole_bytes name)
{
	size_t len = strlen(was);
	const uint8_t *p = v->losses.ptr;
	size_t left = v->losses.len;

	while (left > len) {
		const uint8_t *end = memchr(p, '\n', left);
		if (memcmp(p, was, len) == 0 && p[len] == ':') {
			bole_flash_lost(v, "%.*s: is what is called %s before this line",
			                (int)name.len, (const char *)name.ptr, was);
			return;
		}
		if (end == NULL)
			return;
		left -= (size_t)(end + 1 - p);
		p = end + 1;
	}
}

static struct bole_bytes doubt_key(uint32_t repo, struct bole_bytes name, uint8_t *buf)
{
	bole_put_be32(buf, repo);
	memcpy(buf + DOUBT_HEAD, name.ptr, name.len);
	return (struct bole_bytes){buf, DOUBT_HEAD + name.len};
}

enum bole_status bole_flash_rebuild_doubt(struct rebuild *rb, const struct flash_repo *repo,
                                          struct bole_bytes name)
{
	uint8_t buf[DOUBT_KEY_MAX];

	if (name.len > REBUILD_KEY_MAX)
		return BOLE_OK;
	struct bole_bytes key = doubt_key(repo->id, name, buf);
	return bole_flash_table_set(&rb->v->plain, &rb->v->packs->doubt, key, key);
}

enum bole_status bole_flash_rebuild_sure(struct flash_volume *v, uint32_t repo,
                                         struct bole_bytes name)
{
	uint8_t buf[DOUBT_KEY_MAX];

	if (v->packs->doubt == NULL || name.len > REBUILD_KEY_MAX)
		return BOLE_OK;
	return bole_flash_table_remove(&v->plain, &v->packs->doubt, doubt_key(repo, name, buf));
}

enum bole_status bole_flash_rebuild_sure_all(struct flash_volume *v, uint32_t repo,
                                             struct bole_bytes body)
{
	while (body.len >= REF_HEAD_BYTES) {
		size_t name = bole_get_le16(body.ptr + REF_NAME_BYTES_AT);
		size_t bytes =
		        REF_HEAD_BYTES + name + bole_get_le16(body.ptr + REF_TARGET_BYTES_AT);
		if (bytes > body.len)
			break;
		BOLE_TRY(bole_flash_rebuild_sure(
		        v, repo, (struct bole_bytes){body.ptr + REF_HEAD_BYTES, name}));
		body.ptr += bytes;
		body.len -= bytes;
	}
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild_doubt_range(struct rebuild *rb, const struct flash_repo *repo,
                                                struct bole_bytes from, struct bole_bytes to)
{
	struct bole_bytes after = from;

	for (const struct flash_item *item =
	             bole_flash_table_next(repo->reftable, after, from.len == 0);
	     item != NULL; item = bole_flash_table_next(repo->reftable, after, false)) {
		after = bole_flash_item_key(item);
		if (to.len != 0 && bole_bytes_compare(after, to) >= 0)
			break;
		BOLE_TRY(bole_flash_rebuild_doubt(rb, repo, after));
	}
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild_doubt_everything(struct rebuild *rb)
{
	const struct bole_bytes none = {NULL, 0};

	for (uint32_t i = 0; i < rb->v->repos; i++)
		BOLE_TRY(bole_flash_rebuild_doubt_range(rb, rb->v->repo[i], none, none));
	return BOLE_OK;
}

struct asking {
	struct flash_volume *v;
	struct flash_repo *repo;
	struct flash_index *index; /* what can be read of it */
	bool there;
};

/* A row counts, unless it is one of a pack some of whose pieces are gone, and its own are. */
static enum bole_status see_row(void *ctx, const struct flash_found *f)
{
	struct asking *a = ctx;

	a->there = f->extent == NULL ||
	           bole_flash_packs_cover(a->v->packs, f->extent->id, f->offset, f->stored);
	return a->there ? BOLE_END : BOLE_OK;
}

/* What a pack will be is known already; what it was cannot be read. */
static enum bole_status ask(struct asking *a, struct flash_volume *v, struct flash_repo *repo)
{
	const struct rebuild_packs *p = v->packs;

	*a = (struct asking){.v = v, .repo = repo};
	if (repo->domain->index == NULL)
		return BOLE_OK;
	BOLE_TRY(bole_flash_index_fork(v, repo->domain, repo->domain->index, &a->index));
	for (uint32_t i = 0; i < p->count; i++)
		if (p->pack[i].domain == repo->domain->id && !p->pack[i].whole_table)
			BOLE_TRY(bole_flash_index_remove(v, a->index, p->pack[i].id));
	return BOLE_OK;
}

static enum bole_status is_there(struct asking *a, const struct bole_oid *oid)
{
	a->there = bole_flash_packs_have(a->v->packs, a->repo->domain->id, oid->bytes);
	if (a->there)
		return BOLE_OK;
	enum bole_status rc =
	        bole_flash_index_each(a->v, a->index, oid->bytes, &a->v->reader, false, see_row, a);
	return rc != BOLE_OK && rc != BOLE_END ? rc : a->there ? BOLE_OK : BOLE_E_NOT_FOUND;
}

static enum bole_status settle(struct asking *a, const struct flash_item *item)
{
	struct bole_bytes name = bole_flash_item_key(item);
	struct flash_volume *v = a->v;
	struct flash_repo *repo = a->repo;
	char hex[BOLE_OID_HEX_MAX + 1];
	char text[REBUILD_TEXT];
	uint8_t buf[DOUBT_KEY_MAX];
	struct bole_ref ref;

	bole_flash_ref_decode(item, repo->domain->algo, &ref);
	if (ref.symbolic)
		return BOLE_OK;
	enum bole_status rc = is_there(a, &ref.oid);
	/* What cannot be read now is not gone. */
	if (rc != BOLE_E_NOT_FOUND)
		return rc == BOLE_E_NO_MEMORY ? rc : BOLE_OK;
	bole_flash_rebuild_show(name, text);
	(void)bole_oid_format(&ref.oid, hex);
	if (name.len > REBUILD_KEY_MAX ||
	    bole_flash_table_find(v->packs->doubt, doubt_key(repo->id, name, buf)) == NULL) {
		bole_flash_lost(v, "%s: reference %s names an object that is lost: %s", repo->name,
		                text, hex);
		return BOLE_OK;
	}
	bole_flash_lost(v,
	                "%s: reference %s is left out: it is of old, and what it named is not "
	                "there: %s",
	                repo->name, text, hex);
	return bole_flash_table_remove(&v->plain, &repo->reftable, name);
}

static enum bole_status settle_all(struct asking *a)
{
	struct bole_bytes after = {NULL, 0};
	uint8_t buf[REBUILD_KEY_MAX];

	for (const struct flash_item *item = bole_flash_table_next(a->repo->reftable, after, true);
	     item != NULL; item = bole_flash_table_next(a->repo->reftable, after, false)) {
		after = bole_flash_item_key(item);
		if (after.len > sizeof buf)
			continue;
		/* The table may lose it. */
		memcpy(buf, after.ptr, after.len);
		after.ptr = buf;
		BOLE_TRY(settle(a, item));
	}
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild_doubts(struct flash_volume *v)
{
	struct asking a;

	for (uint32_t i = 0; i < v->repos; i++) {
		enum bole_status rc = ask(&a, v, v->repo[i]);
		if (rc == BOLE_OK)
			rc = settle_all(&a);
		bole_flash_index_drop(v, a.index);
		BOLE_TRY(rc);
		bole_flash_yield(v);
	}
	return BOLE_OK;
}
