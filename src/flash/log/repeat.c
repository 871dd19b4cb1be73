/* SPDX-License-Identifier: ISC */
/* What a cut left in doubt is written once more, at another place: who names a record, and that he
 * names the other place from then on. While mounting: nobody else sees the volume yet. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/volume/mount.h"

static void moves(struct flash_volume *v, const struct flash_record *r, uint64_t from, uint64_t to)
{
	bole_flash_lock(v);
	bole_flash_live_add(v, bole_flash_place_segment(to), r->bytes);
	bole_flash_live_sub(v, bole_flash_place_segment(from), r->bytes);
	bole_flash_unlock(v);
}

/* -- Objects -- */

/* The row of what is prepared. */
static struct flash_prepared *prepared_row(struct flash_volume *v, const struct flash_record *r,
                                           uint64_t place, uint32_t *at)
{
	for (struct flash_prepared *p = v->prepared; p != NULL; p = p->next) {
		if (p->run == NULL || p->repo->domain->id != r->owner ||
		    p->run->key_len != r->key.len || !bole_flash_rows_find(p->run, r->key.ptr, at))
			continue;
		struct flash_home home = bole_flash_rows_home(p->run, *at);
		if (bole_flash_place(home.segment, home.offset) == place)
			return p;
	}
	return NULL;
}

/* The row in memory: of what was replayed nothing is in runs yet. */
static struct flash_index *index_row(struct flash_volume *v, const struct flash_record *r,
                                     uint64_t place, struct flash_row_now *row)
{
	struct flash_domain *domain = bole_flash_domain_find(v, r->owner);

	if (domain == NULL || domain->index == NULL || domain->key_len != r->key.len)
		return NULL;
	uint64_t hash = bole_flash_key_hash(v, r->key.ptr, (uint32_t)r->key.len);
	*row = bole_flash_row_now(&domain->index->now, r->key, hash);
	return row->has && row->place == place ? domain->index : NULL;
}

static enum bole_status move_object(struct flash_volume *v, const struct flash_record *r,
                                    uint64_t from, uint64_t to)
{
	struct flash_row_now row;
	uint32_t at;
	struct flash_prepared *p = prepared_row(v, r, from, &at);

	if (p != NULL) {
		struct flash_home home = bole_flash_rows_home(p->run, at);
		home.segment = bole_flash_place_segment(to);
		home.offset = bole_flash_place_offset(to);
		bole_flash_rows_set(p->run, at, r->key.ptr, &home);
		return BOLE_OK;
	}
	struct flash_index *index = index_row(v, r, from, &row);
	if (index != NULL && row.fresh != FRESH_NONE)
		bole_flash_fresh_place(index->now.fresh, row.fresh, to);
	else if (index != NULL)
		return bole_flash_mem_put(&v->plain, &index->now.mem, r->key, to, row.stored,
		                          row.type);
	return BOLE_OK;
}

/* -- Aux -- */

/* The table with the value whose part is there. */
static struct flash_table **aux_table(struct flash_volume *v, const struct flash_record *r,
                                      const struct flash_aux_record *aux, uint64_t place)
{
	struct flash_repo *repo = bole_flash_repo_find_any(v, r->owner);
	struct flash_prepared *p = v->prepared;
	struct flash_table **table = repo == NULL ? NULL : &repo->auxtable;
	struct bole_bytes key = {aux->key, aux->key_len};

	while (table != NULL) {
		const struct flash_item *item = bole_flash_table_find(*table, key);
		if (item != NULL && aux->part < bole_flash_aux_parts(bole_flash_item_value(item))) {
			struct flash_aux_part part =
			        bole_flash_aux_part(bole_flash_item_value(item), aux->part);
			if (part.bytes == r->bytes &&
			    bole_flash_place(part.segment, part.offset) == place)
				return table;
		}
		while (p != NULL && p->repo != repo)
			p = p->next;
		table = p == NULL ? NULL : &p->aux;
		p = p == NULL ? NULL : p->next;
	}
	return NULL;
}

static enum bole_status move_aux(struct flash_volume *v, const struct flash_record *r,
                                 uint64_t from, uint64_t to)
{
	uint8_t value[AUX_VALUE_HEAD + AUX_VALUE_PART * AUX_PARTS_MAX];
	struct flash_aux_record aux;

	if (!bole_flash_aux_decode(r, &aux))
		return BOLE_OK;
	struct flash_table **table = aux_table(v, r, &aux, from);
	if (table == NULL)
		return BOLE_OK;
	struct bole_bytes key = {aux.key, aux.key_len};
	struct bole_bytes was = bole_flash_item_value(bole_flash_table_find(*table, key));
	struct flash_aux_part part = {bole_flash_place_segment(to), bole_flash_place_offset(to),
	                              r->bytes};
	memcpy(value, was.ptr, was.len);
	bole_flash_aux_set_part(value, aux.part, &part);
	return bole_flash_table_set(&v->aux, table, key, bole_bytes_of(value, was.len));
}

bool bole_flash_repeat_wanted(struct flash_volume *v, const struct flash_record *r,
                              uint32_t segment, uint32_t offset)
{
	uint64_t place = bole_flash_place(segment, offset);
	struct flash_aux_record aux;
	struct flash_row_now row;
	uint32_t at;

	if (r->kind == FLASH_RECORD_OBJECT)
		return prepared_row(v, r, place, &at) != NULL ||
		       index_row(v, r, place, &row) != NULL;
	return r->kind == FLASH_RECORD_AUX && bole_flash_aux_decode(r, &aux) &&
	       aux_table(v, r, &aux, place) != NULL;
}

enum bole_status bole_flash_repeat_move(struct flash_volume *v, const struct flash_record *r,
                                        uint64_t from, uint64_t to)
{
	BOLE_TRY(r->kind == FLASH_RECORD_OBJECT ? move_object(v, r, from, to)
	                                        : move_aux(v, r, from, to));
	moves(v, r, from, to);
	return BOLE_OK;
}
