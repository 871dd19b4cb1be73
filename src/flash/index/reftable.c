/* SPDX-License-Identifier: ISC */
/* References: values of a table by name. A value is flags, oid, peeled, target. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/log/tx.h"

enum {
	VALUE_FLAGS_AT = 0,
	VALUE_OID_AT = 1,
	VALUE_PEELED_AT = VALUE_OID_AT + BOLE_OID_BYTES_MAX,
	VALUE_TARGET_AT = VALUE_PEELED_AT + BOLE_OID_BYTES_MAX,
	VALUE_SYMBOLIC = 2,
};

void bole_flash_ref_decode(const struct flash_item *item, uint8_t algo, struct bole_ref *out)
{
	struct bole_bytes value = bole_flash_item_value(item);
	uint8_t flags = value.ptr[VALUE_FLAGS_AT];

	/* Field by field: it is called for each of many thousands. */
	out->name = bole_flash_item_key(item);
	out->symbolic = (flags & VALUE_SYMBOLIC) != 0;
	out->has_peeled = !out->symbolic && (flags & FLASH_REF_HAS_PEELED) != 0;
	out->target = (struct bole_bytes){NULL, 0};
	memset(&out->oid, 0, sizeof out->oid);
	memset(&out->peeled, 0, sizeof out->peeled);
	if (out->symbolic) {
		out->target = (struct bole_bytes){value.ptr + VALUE_TARGET_AT,
		                                  value.len - VALUE_TARGET_AT};
		return;
	}
	memcpy(out->oid.bytes, value.ptr + VALUE_OID_AT, BOLE_OID_BYTES_MAX);
	out->oid.algo = algo;
	if (out->has_peeled) {
		memcpy(out->peeled.bytes, value.ptr + VALUE_PEELED_AT, BOLE_OID_BYTES_MAX);
		out->peeled.algo = algo;
	}
}

enum bole_status bole_flash_ref_get(struct flash_snapshot *s, struct bole_bytes name,
                                    struct bole_ref *out)
{
	const struct flash_item *item = bole_flash_table_find(s->refs, name);

	if (item == NULL)
		return BOLE_E_NOT_FOUND;
	bole_flash_ref_decode(item, s->pub.repo.algo, out);
	return BOLE_OK;
}

enum bole_status bole_flash_ref_next(struct flash_snapshot *s, struct bole_bytes prefix,
                                     struct bole_bytes after, struct bole_ref *out)
{
	/* From the prefix on, unless `after` is further. */
	bool from = after.len == 0 || bole_bytes_compare(after, prefix) < 0;
	const struct flash_item *item;

	/* Whoever goes through them hands back what he got. */
	if (!from && s->ref_at.item != NULL && s->ref_at.item->key_len == after.len &&
	    s->ref_at.item->bytes == after.ptr)
		item = bole_flash_table_step(s->refs, &s->ref_at);
	else
		item = bole_flash_table_seek(s->refs, from ? prefix : after, from, &s->ref_at);
	if (item == NULL || !bole_bytes_start(bole_flash_item_key(item), prefix))
		return BOLE_END;
	bole_flash_ref_decode(item, s->pub.repo.algo, out);
	return BOLE_OK;
}

/* -- Applying updates -- */

static bool expected(const struct flash_item *item, const struct bole_ref_update *u)
{
	switch (u->expect) {
	case BOLE_EXPECT_ANY: return true;
	case BOLE_EXPECT_ABSENT: return item == NULL;
	case BOLE_EXPECT_OID: break;
	}
	if (item == NULL)
		return false;
	const uint8_t *value = bole_flash_item_value(item).ptr;
	return (value[VALUE_FLAGS_AT] & VALUE_SYMBOLIC) == 0 &&
	       memcmp(value + VALUE_OID_AT, u->expected.bytes, BOLE_OID_BYTES_MAX) == 0;
}

static enum bole_status store(struct flash_volume *v, struct flash_table **draft,
                              const struct bole_ref_update *u)
{
	uint8_t value[VALUE_TARGET_AT + BOLE_REF_NAME_MAX];
	size_t len = VALUE_TARGET_AT;

	memset(value, 0, VALUE_TARGET_AT);
	if (u->action == BOLE_REF_SYMBOLIC) {
		value[VALUE_FLAGS_AT] = VALUE_SYMBOLIC;
		memcpy(value + VALUE_TARGET_AT, u->target.ptr, u->target.len);
		len += u->target.len;
	} else {
		memcpy(value + VALUE_OID_AT, u->oid.bytes, BOLE_OID_BYTES_MAX);
		if (u->has_peeled) {
			value[VALUE_FLAGS_AT] = FLASH_REF_HAS_PEELED;
			memcpy(value + VALUE_PEELED_AT, u->peeled.bytes, BOLE_OID_BYTES_MAX);
		}
	}
	return bole_flash_table_set(&v->plain, draft, u->name, bole_bytes_of(value, len));
}

/* Another name is a directory of this one, or the other way round. */
static bool clashes(const struct flash_table *table, struct bole_bytes name)
{
	uint8_t below[BOLE_REF_NAME_MAX + 1];

	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] == '/' &&
		    bole_flash_table_find(table, (struct bole_bytes){name.ptr, i}) != NULL)
			return true;
	memcpy(below, name.ptr, name.len);
	below[name.len] = '/';
	struct bole_bytes prefix = {below, name.len + 1};
	const struct flash_item *item = bole_flash_table_next(table, prefix, true);
	return item != NULL && bole_bytes_start(bole_flash_item_key(item), prefix);
}

static enum bole_status valid(const struct bole_ref_update *u)
{
	if (u->name.len == 0 || u->name.len > BOLE_REF_NAME_MAX)
		return BOLE_E_INVALID;
	switch (u->action) {
	case BOLE_REF_SET:
	case BOLE_REF_DELETE:
	case BOLE_REF_VERIFY: return BOLE_OK;
	case BOLE_REF_SYMBOLIC:
		return u->target.len == 0 || u->target.len > BOLE_REF_NAME_MAX ? BOLE_E_INVALID
		                                                               : BOLE_OK;
	}
	return BOLE_E_INVALID;
}

static enum bole_status apply_one(struct flash_volume *v, struct flash_table **draft,
                                  const struct bole_ref_update *u)
{
	switch (u->action) {
	case BOLE_REF_SET:
	case BOLE_REF_SYMBOLIC: return store(v, draft, u);
	case BOLE_REF_DELETE: return bole_flash_table_remove(&v->plain, draft, u->name);
	case BOLE_REF_VERIFY: break;
	}
	return BOLE_OK;
}

enum bole_status bole_flash_refs_apply(struct flash_volume *v, struct flash_table **draft,
                                       uint8_t algo, const struct bole_ref_update *updates,
                                       size_t count, size_t *failed)
{
	(void)algo;
	for (size_t i = 0; i < count; i++) {
		*failed = i;
		BOLE_TRY(valid(&updates[i]));
		if (!expected(bole_flash_table_find(*draft, updates[i].name), &updates[i]))
			return BOLE_E_CONFLICT;
		BOLE_TRY(apply_one(v, draft, &updates[i]));
	}
	for (size_t i = 0; i < count; i++) {
		*failed = i;
		if ((updates[i].action == BOLE_REF_SET || updates[i].action == BOLE_REF_SYMBOLIC) &&
		    bole_flash_table_find(*draft, updates[i].name) != NULL &&
		    clashes(*draft, updates[i].name))
			return BOLE_E_CONFLICT;
	}
	return BOLE_OK;
}

/* -- In the log -- */

size_t bole_flash_ref_encoded(const struct bole_ref_update *u)
{
	if (u->action == BOLE_REF_VERIFY)
		return 0;
	return REF_HEAD_BYTES + u->name.len + (u->action == BOLE_REF_SYMBOLIC ? u->target.len : 0);
}

size_t bole_flash_ref_encode(const struct bole_ref_update *u, const struct flash_table *old,
                             uint8_t algo, uint8_t *dst)
{
	const struct flash_item *before = bole_flash_table_find(old, u->name);
	size_t target = u->action == BOLE_REF_SYMBOLIC ? u->target.len : 0;

	(void)algo;
	if (u->action == BOLE_REF_VERIFY)
		return 0;
	memset(dst, 0, REF_HEAD_BYTES);
	dst[REF_ACTION_AT] = (uint8_t)u->action;
	bole_put_le16(dst + REF_NAME_BYTES_AT, (uint16_t)u->name.len);
	bole_put_le16(dst + REF_TARGET_BYTES_AT, (uint16_t)target);
	if (before != NULL)
		memcpy(dst + REF_OLD_AT, bole_flash_item_value(before).ptr + VALUE_OID_AT,
		       BOLE_OID_BYTES_MAX);
	if (u->action == BOLE_REF_SET) {
		memcpy(dst + REF_OID_AT, u->oid.bytes, BOLE_OID_BYTES_MAX);
		if (u->has_peeled) {
			dst[REF_FLAGS_AT] = FLASH_REF_HAS_PEELED;
			memcpy(dst + REF_PEELED_AT, u->peeled.bytes, BOLE_OID_BYTES_MAX);
		}
	}
	memcpy(dst + REF_HEAD_BYTES, u->name.ptr, u->name.len);
	if (target != 0)
		memcpy(dst + REF_HEAD_BYTES + u->name.len, u->target.ptr, target);
	return REF_HEAD_BYTES + u->name.len + target;
}

enum bole_status bole_flash_refs_replay(struct flash_volume *v, struct flash_table **table,
                                        uint8_t algo, struct bole_bytes body)
{
	while (body.len > 0) {
		const uint8_t *p = body.ptr;
		if (body.len < REF_HEAD_BYTES)
			return BOLE_E_CORRUPT;
		size_t name = bole_get_le16(p + REF_NAME_BYTES_AT);
		size_t target = bole_get_le16(p + REF_TARGET_BYTES_AT);
		if (name > body.len - REF_HEAD_BYTES || target > body.len - REF_HEAD_BYTES - name)
			return BOLE_E_CORRUPT;
		struct bole_ref_update u = {
		        .name = {p + REF_HEAD_BYTES, name},
		        .action = (enum bole_ref_action)p[REF_ACTION_AT],
		        .target = {p + REF_HEAD_BYTES + name, target},
		        .has_peeled = (p[REF_FLAGS_AT] & FLASH_REF_HAS_PEELED) != 0,
		};
		memcpy(u.oid.bytes, p + REF_OID_AT, BOLE_OID_BYTES_MAX);
		memcpy(u.peeled.bytes, p + REF_PEELED_AT, BOLE_OID_BYTES_MAX);
		u.oid.algo = algo;
		u.peeled.algo = algo;
		if (valid(&u) != BOLE_OK)
			return BOLE_E_CORRUPT;
		BOLE_TRY(apply_one(v, table, &u));
		size_t used = REF_HEAD_BYTES + name + target;
		body.ptr += used;
		body.len -= used;
	}
	return BOLE_OK;
}
