/* SPDX-License-Identifier: ISC */
/* Auxiliary records. Table key: class, kind (big-endian, so kinds sort), key. Table value: length
 * of the whole, number of parts, then for each part where its record is. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/auxtable.h"
#include "flash/log/record.h"
#include "flash/log/tx.h"

static size_t table_key(uint8_t *dst, enum bole_aux_class cls, uint16_t kind, struct bole_bytes key)
{
	dst[0] = (uint8_t)cls;
	dst[1] = (uint8_t)(kind >> 8);
	dst[2] = (uint8_t)kind;
	if (key.len != 0)
		memcpy(dst + AUX_KEY_HEAD, key.ptr, key.len);
	return AUX_KEY_HEAD + key.len;
}

uint32_t bole_flash_aux_parts(struct bole_bytes value)
{
	return bole_get_le16(value.ptr + AUX_VALUE_PARTS_AT);
}

struct flash_aux_part bole_flash_aux_part(struct bole_bytes value, uint32_t i)
{
	const uint8_t *p = value.ptr + AUX_VALUE_HEAD + (size_t)i * AUX_VALUE_PART;

	return (struct flash_aux_part){bole_get_le32(p), bole_get_le32(p + 4),
	                               bole_get_le32(p + 8)};
}

size_t bole_flash_aux_value(uint8_t *dst, uint32_t total, uint32_t parts)
{
	memset(dst, 0, AUX_VALUE_HEAD + (size_t)parts * AUX_VALUE_PART);
	bole_put_le32(dst + AUX_VALUE_TOTAL_AT, total);
	bole_put_le16(dst + AUX_VALUE_PARTS_AT, (uint16_t)parts);
	return AUX_VALUE_HEAD + (size_t)parts * AUX_VALUE_PART;
}

void bole_flash_aux_set_part(uint8_t *value, uint32_t i, const struct flash_aux_part *part)
{
	uint8_t *p = value + AUX_VALUE_HEAD + (size_t)i * AUX_VALUE_PART;

	bole_put_le32(p, part->segment);
	bole_put_le32(p + 4, part->offset);
	bole_put_le32(p + 8, part->bytes);
}

void bole_flash_aux_superseded(struct flash_volume *v, const struct flash_item *item)
{
	if (item == NULL)
		return;
	struct bole_bytes value = bole_flash_item_value(item);
	bole_flash_lock(v);
	for (uint32_t i = 0; i < bole_flash_aux_parts(value); i++) {
		struct flash_aux_part part = bole_flash_aux_part(value, i);
		/* A removal that was prepared has no place. */
		if (part.bytes != 0)
			bole_flash_live_sub(v, part.segment, part.bytes);
	}
	bole_flash_unlock(v);
}

void bole_flash_aux_replaced(struct flash_volume *v, const struct flash_item *item)
{
	if (item == NULL)
		return;
	struct bole_bytes value = bole_flash_item_value(item);
	for (uint32_t i = 0; i < bole_flash_aux_parts(value); i++) {
		struct flash_aux_part part = bole_flash_aux_part(value, i);
		if (part.bytes != 0)
			bole_flash_live_draft(v, part.segment, 0, part.bytes);
	}
}

void bole_flash_aux_dropped(struct flash_volume *v, const struct flash_table *table)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(table, after, true);
	     item != NULL; item = bole_flash_table_next(table, after, false)) {
		after = bole_flash_item_key(item);
		bole_flash_aux_superseded(v, item);
	}
}

static enum bole_status read_part(struct flash_volume *v, const struct flash_aux_part *part,
                                  uint8_t *buf, uint8_t *dst, size_t cap, size_t *got)
{
	const uint8_t *p;
	struct flash_record r;
	uint64_t sequence;

	BOLE_TRY(bole_flash_read(v, part->segment, part->offset, part->bytes, buf, &p));
	bole_flash_lock(v);
	sequence = v->segment[part->segment].sequence;
	bole_flash_unlock(v);
	uint64_t seed = bole_flash_seed(v->key, part->segment, sequence, part->offset);
	if (!bole_flash_record_parse((struct bole_bytes){p, part->bytes}, &r) ||
	    r.bytes != part->bytes || r.kind != FLASH_RECORD_AUX ||
	    !bole_flash_record_verify(p, &r, seed) || r.body.len < AUX_HEAD_BYTES) {
		bole_log(v->platform, BOLE_LOG_ERROR,
		         "%s: aux record at segment %u offset %u is "
		         "damaged",
		         v->dev->info.name, part->segment, part->offset);
		return BOLE_E_CORRUPT;
	}
	size_t skip = (size_t)AUX_HEAD_BYTES + r.body.ptr[AUX_KEY_BYTES_AT];
	if (skip > r.body.len || r.body.len - skip > cap)
		return BOLE_E_CORRUPT;
	*got = r.body.len - skip;
	if (*got != 0)
		memcpy(dst, r.body.ptr + skip, *got);
	return BOLE_OK;
}

static enum bole_status read_value(struct flash_volume *v, struct bole_bytes value, uint8_t *dst,
                                   size_t len)
{
	uint32_t parts = bole_flash_aux_parts(value);
	size_t room = 0;
	size_t done = 0;

	for (uint32_t i = 0; i < parts; i++)
		if (bole_flash_aux_part(value, i).bytes > room)
			room = bole_flash_aux_part(value, i).bytes;
	room += bole_flash_read_slack(v);
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);
	if (buf == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = BOLE_OK;
	for (uint32_t i = 0; i < parts && rc == BOLE_OK; i++) {
		struct flash_aux_part part = bole_flash_aux_part(value, i);
		size_t got = 0;
		rc = read_part(v, &part, buf, dst + done, len - done, &got);
		done += got;
	}
	bole_alloc_free(v->alloc, buf, room, 1);
	return rc == BOLE_OK && done != len ? BOLE_E_CORRUPT : rc;
}

static enum bole_status copy_out(struct bole_alloc *alloc, size_t len, uint8_t **out)
{
	/* Align 1, as aux.h promises; a block of no bytes is one byte long. */
	*out = alloc->resize(alloc->ctx, NULL, 0, len == 0 ? 1 : len, 1);
	return *out == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
}

static const struct flash_aux_write *own_write(const struct flash_tx *tx, struct bole_bytes key)
{
	for (uint32_t i = tx == NULL ? 0 : tx->auxwrites; i > 0; i--) {
		const struct flash_aux_write *w = &tx->auxwrite[i - 1];
		if (bole_bytes_equal((struct bole_bytes){w->bytes, w->key_len}, key))
			return w;
	}
	return NULL;
}

enum bole_status bole_flash_aux_get(struct flash_snapshot *s, const struct bole_aux_key *key,
                                    struct bole_alloc *alloc, uint8_t **out, size_t *len)
{
	uint8_t buf[AUX_KEY_HEAD + AUX_KEY_MAX];

	if (key->key.len == 0 || key->key.len > AUX_KEY_MAX)
		return BOLE_E_NOT_FOUND;
	struct bole_bytes k = {buf, table_key(buf, key->cls, key->kind, key->key)};
	const struct flash_aux_write *own = own_write(s->tx, k);
	if (own != NULL) {
		if (own->remove)
			return BOLE_E_NOT_FOUND;
		BOLE_TRY(copy_out(alloc, own->value_len, out));
		memcpy(*out, own->bytes + own->key_len, own->value_len);
		*len = own->value_len;
		return BOLE_OK;
	}
	const struct flash_item *item = bole_flash_table_find(s->aux, k);
	if (item == NULL)
		return BOLE_E_NOT_FOUND;
	struct bole_bytes value = bole_flash_item_value(item);
	*len = bole_get_le32(value.ptr + AUX_VALUE_TOTAL_AT);
	BOLE_TRY(copy_out(alloc, *len, out));
	enum bole_status rc = read_value(s->v, value, *out, *len);
	if (bole_flash_pin_gone(&s->pin))
		rc = BOLE_E_GONE;
	if (rc != BOLE_OK) {
		alloc->resize(alloc->ctx, *out, *len == 0 ? 1 : *len, 0, 1);
		*out = NULL;
	}
	return rc;
}

enum bole_status bole_flash_aux_next(struct flash_snapshot *s, enum bole_aux_class cls,
                                     uint16_t kind, struct bole_bytes after, struct bole_bytes *key)
{
	uint8_t buf[AUX_KEY_HEAD + AUX_KEY_MAX];

	if (after.len > AUX_KEY_MAX)
		return BOLE_END;
	struct bole_bytes k = {buf, table_key(buf, cls, kind, after)};
	const struct flash_item *item = bole_flash_table_next(s->aux, k, false);
	if (item == NULL ||
	    !bole_bytes_start(bole_flash_item_key(item), (struct bole_bytes){buf, AUX_KEY_HEAD}))
		return BOLE_END;
	*key = (struct bole_bytes){item->bytes + AUX_KEY_HEAD, item->key_len - AUX_KEY_HEAD};
	return BOLE_OK;
}

/* The entry of the transaction's list for a key, a new one at its end if there is none. */
static struct flash_aux_write *write_for(struct flash_tx *tx, struct bole_bytes key)
{
	struct bole_alloc *alloc = tx->v->alloc;
	uint32_t n = tx->auxwrites;

	for (uint32_t i = 0; i < n; i++) {
		struct flash_aux_write *w = &tx->auxwrite[i];
		if (bole_bytes_equal((struct bole_bytes){w->bytes, w->key_len}, key))
			return w;
	}
	if (n == tx->auxwrites_cap) {
		uint32_t cap = n == 0 ? 4 : n * 2;
		void *list = bole_alloc_resize(alloc, tx->auxwrite, n, cap, sizeof *tx->auxwrite);
		if (list == NULL)
			return NULL;
		tx->auxwrite = list;
		tx->auxwrites_cap = cap;
	}
	tx->auxwrite[n] = (struct flash_aux_write){.bytes = NULL};
	return &tx->auxwrite[n];
}

uint64_t bole_flash_aux_features(uint16_t kind)
{
	if ((kind & BOLE_AUX_KIND_BINDING) == 0)
		return 0;
	return (kind & BOLE_AUX_KIND_PARTIAL) == 0
	               ? FLASH_RO_COMPAT_BINDING
	               : FLASH_RO_COMPAT_BINDING | FLASH_RO_COMPAT_PARTIAL;
}

/* Older programs must not write from now on, even if power goes as soon as the record is there. */
static enum bole_status bind(struct flash_volume *v, uint64_t features)
{
	bole_flash_lock(v);
	bool bound = (v->anchor.ro_compat & features) == features;
	v->ro_compat |= features;
	bole_flash_unlock(v);
	return bound || v->read_only ? BOLE_OK : bole_flash_checkpoint_next(v);
}

enum bole_status bole_flash_aux_put(struct flash_tx *tx, const struct bole_aux_key *key,
                                    struct bole_bytes value)
{
	struct bole_alloc *alloc = tx->v->alloc;
	uint8_t buf[AUX_KEY_HEAD + AUX_KEY_MAX];

	if (tx->prepared != NULL || key->key.len == 0 || key->key.len > AUX_KEY_MAX ||
	    (key->cls != BOLE_AUX_DERIVED && key->cls != BOLE_AUX_DURABLE))
		return BOLE_E_INVALID;
	if (value.len > BOLE_AUX_BYTES_MAX)
		return BOLE_E_LIMIT;
	if (value.ptr != NULL && (key->kind & BOLE_AUX_KIND_BINDING) != 0)
		BOLE_TRY(bind(tx->v, bole_flash_aux_features(key->kind)));
	struct bole_bytes k = {buf, table_key(buf, key->cls, key->kind, key->key)};
	struct flash_aux_write *w = write_for(tx, k);
	size_t len = value.ptr == NULL ? 0 : value.len;
	uint8_t *bytes = w == NULL ? NULL : bole_alloc_array(alloc, k.len + len, 1);
	if (bytes == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(bytes, buf, k.len);
	if (len != 0)
		memcpy(bytes + k.len, value.ptr, len);
	if (w->bytes == NULL)
		tx->auxwrites++;
	bole_alloc_free(alloc, w->bytes, (size_t)w->key_len + w->value_len, 1);
	*w = (struct flash_aux_write){bytes, (uint32_t)k.len, (uint32_t)len, value.ptr == NULL};
	return BOLE_OK;
}
