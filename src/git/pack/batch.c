/* SPDX-License-Identifier: ISC */
/* Contents in memory, and the objects among them that wait for their ids: those of several are
 * made together, which is much faster than one after the other (base/hash.h). They become known in
 * the order in which they came. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/pack/intake.h"

/* In front of each content, so that its bytes are as aligned as memory is. */
struct content_head {
	_Alignas(16) uint32_t holds;
};

static struct content_head *content_head(uint8_t *bytes)
{
	return (struct content_head *)(void *)(bytes - sizeof(struct content_head));
}

uint8_t *bole_intake_content_try(struct intake *it, uint64_t len)
{
	if (len > it->held_max || it->held > it->held_max - (size_t)len)
		return NULL;
	struct content_head *head = bole_alloc_array(it->alloc, sizeof *head + (size_t)len + 1, 1);

	if (head == NULL)
		return NULL;
	head->holds = 1;
	it->held += (size_t)len;
	return (uint8_t *)(head + 1);
}

void bole_intake_content_hold(uint8_t *bytes)
{
	content_head(bytes)->holds++;
}

void bole_intake_content_free(struct intake *it, uint8_t *bytes, size_t len)
{
	struct content_head *head = content_head(bytes);

	if (--head->holds > 0)
		return;
	bole_alloc_free(it->alloc, head, sizeof *head + len + 1, 1);
	it->held -= len;
}

/* -- Objects -- */

static enum bole_status make_ids(struct intake *it)
{
	struct intake_batch *b = it->batch;
	struct intake_hasher *hasher = &b->hasher;

	for (uint32_t i = 0; i < b->count; i++)
		bole_message_of_object(&hasher->messages[i], b->list[i].type,
		                       bole_bytes_of(b->list[i].bytes, b->list[i].len));
	bole_hash_many_begin(&hasher->many, it->algo, &it->hashing, hasher->messages, b->count);
	while (bole_hash_many_step(&hasher->many, INTAKE_HASH_BYTES))
		BOLE_TRY(bole_intake_spend(it, INTAKE_HASH_BYTES));
	for (uint32_t i = 0; i < b->count; i++) {
		bole_oid_index_prefetch(&it->known, hasher->messages[i].oid.bytes);
		bole_oid_index_prefetch(&it->needed.index, hasher->messages[i].oid.bytes);
	}
	return bole_intake_spend(it, b->bytes % INTAKE_HASH_BYTES);
}

static enum bole_status becomes_known(struct intake *it, const struct intake_waiting *w,
                                      const struct bole_message *message)
{
	uint8_t type = it->rows[w->row].type;

	if (message->rc != BOLE_OK)
		return bole_intake_fail(it, message->rc,
		                        "the object at offset %llu is part of a collision attack",
		                        (unsigned long long)it->rows[w->row].offset);
	bool delta = type == BOLE_ENTRY_OFS_DELTA || type == BOLE_ENTRY_REF_DELTA;
	struct intake_object object = {.row = w->row,
	                               .base = delta ? w->base : BOLE_OID_NONE,
	                               .type = w->type,
	                               .oid = message->oid,
	                               .content = message->data,
	                               .changes = delta ? &w->changes : NULL};

	return delta ? bole_intake_resolved(it, &object) : bole_intake_known(it, &object);
}

static void drop(struct intake *it)
{
	struct intake_batch *b = it->batch;

	for (uint32_t i = 0; i < b->count; i++)
		bole_intake_content_free(it, b->list[i].bytes, b->list[i].len);
	b->count = 0;
	b->bytes = 0;
}

enum bole_status bole_intake_flush(struct intake *it)
{
	struct intake_batch *b = it->batch;

	if (b->count == 0)
		return BOLE_OK;
	enum bole_status rc = make_ids(it);

	for (uint32_t i = 0; i < b->count && rc == BOLE_OK; i++) {
		rc = becomes_known(it, &b->list[i], &b->hasher.messages[i]);
		if (rc == BOLE_OK)
			rc = bole_intake_spend(it, 0);
	}
	drop(it);
	return rc;
}

enum bole_status bole_intake_put(struct intake *it, const struct intake_waiting *waiting)
{
	struct intake_batch *b = it->batch;

	BOLE_ASSERT(b->count < INTAKE_BATCH);
	b->list[b->count++] = *waiting;
	b->bytes += waiting->len;
	if (b->count < INTAKE_BATCH && b->bytes < INTAKE_BATCH_BYTES)
		return BOLE_OK;
	return bole_intake_flush(it);
}

void bole_intake_batch_release(struct intake *it)
{
	if (it->batch == NULL)
		return;
	drop(it);
	bole_alloc_free(it->alloc, it->batch, 1, sizeof *it->batch);
	it->batch = NULL;
}
