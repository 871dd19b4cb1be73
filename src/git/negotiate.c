/* SPDX-License-Identifier: ISC */
#include "git/negotiate.h"

#include "base/check.h"
#include "base/memory.h"

enum { ID_LIST_CAP_MIN = 32 };

static const uint8_t *list_key(const void *items, uint32_t item)
{
	const struct bole_id_list *list = items;

	return list->ids[item].bytes;
}

void bole_id_list_init(struct bole_id_list *list, struct bole_platform *platform,
                       struct bole_alloc *alloc, uint8_t algo)
{
	*list = (struct bole_id_list){.alloc = alloc};
	bole_oid_index_init(&list->index, platform, alloc, algo, list_key, list);
}

enum bole_status bole_id_list_add(struct bole_id_list *list, const struct bole_oid *oid)
{
	if (list->count == list->cap) {
		size_t cap = list->cap == 0 ? ID_LIST_CAP_MIN : list->cap * 2;
		struct bole_oid *ids =
		        bole_alloc_resize(list->alloc, list->ids, list->cap, cap, sizeof *ids);
		if (ids == NULL)
			return BOLE_E_NO_MEMORY;
		list->ids = ids;
		list->cap = cap;
	}
	list->ids[list->count++] = *oid;
	return BOLE_OK;
}

enum bole_status bole_id_list_add_once(struct bole_id_list *list, const struct bole_oid *oid,
                                       size_t limit)
{
	if (bole_id_list_find(list, oid) != BOLE_OID_NONE)
		return BOLE_OK;
	if (list->count >= limit)
		return BOLE_E_LIMIT;
	BOLE_TRY(bole_id_list_add(list, oid));
	enum bole_status rc = bole_oid_index_add(&list->index, (uint32_t)(list->count - 1));
	if (rc != BOLE_OK)
		list->count--;
	return rc;
}

uint32_t bole_id_list_find(const struct bole_id_list *list, const struct bole_oid *oid)
{
	return bole_oid_index_find(&list->index, oid->bytes);
}

void bole_id_list_release(struct bole_id_list *list)
{
	bole_alloc_free(list->alloc, list->ids, list->cap, sizeof *list->ids);
	bole_oid_index_release(&list->index);
	list->ids = NULL;
	list->count = list->cap = 0;
}
