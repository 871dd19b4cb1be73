/* SPDX-License-Identifier: ISC */
/* References and aux records of the memory store: versions of a repository's state. */
#include "backends/memory_store.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

/* -- Versions -- */

static void ref_drop(struct mem_store *store, struct mem_ref *ref)
{
	if (--ref->holders == 0)
		bole_alloc_free(store->alloc, ref, ref->bytes, 1);
}

void bole_mem_aux_drop(struct mem_store *store, struct mem_aux *aux)
{
	if (--aux->holders == 0)
		bole_alloc_free(store->alloc, aux, aux->bytes, 1);
}

void bole_mem_state_drop(struct mem_store *store, struct mem_state *state)
{
	BOLE_ASSERT(state->holders > 0);
	if (--state->holders > 0)
		return;
	for (size_t i = 0; i < state->ref_count; i++)
		ref_drop(store, state->refs[i]);
	for (size_t i = 0; i < state->aux_count; i++)
		bole_mem_aux_drop(store, state->aux[i]);
	bole_alloc_free(store->alloc, state->refs, state->ref_cap, sizeof *state->refs);
	bole_alloc_free(store->alloc, state->aux, state->aux_cap, sizeof *state->aux);
	bole_alloc_free(store->alloc, state, 1, sizeof *state);
}

enum bole_status bole_mem_state_copy(struct mem_store *store, const struct mem_state *from,
                                     struct mem_state **out)
{
	struct mem_state *state = bole_alloc_zeroed(store->alloc, 1, sizeof *state);

	*out = NULL;
	if (state == NULL)
		return BOLE_E_NO_MEMORY;
	state->holders = 1;
	if (from->ref_count > 0)
		state->refs = bole_alloc_array(store->alloc, from->ref_count, sizeof *state->refs);
	if (state->refs != NULL)
		state->ref_cap = from->ref_count;
	if (from->aux_count > 0)
		state->aux = bole_alloc_array(store->alloc, from->aux_count, sizeof *state->aux);
	if (state->aux != NULL)
		state->aux_cap = from->aux_count;
	if (state->ref_cap < from->ref_count || state->aux_cap < from->aux_count) {
		bole_mem_state_drop(store, state);
		return BOLE_E_NO_MEMORY;
	}
	for (; state->ref_count < from->ref_count; state->ref_count++) {
		state->refs[state->ref_count] = from->refs[state->ref_count];
		state->refs[state->ref_count]->holders++;
	}
	for (; state->aux_count < from->aux_count; state->aux_count++) {
		state->aux[state->aux_count] = from->aux[state->aux_count];
		state->aux[state->aux_count]->holders++;
	}
	*out = state;
	return BOLE_OK;
}

/* -- References -- */

/* The index of the first reference whose name is not less than name. */
static size_t ref_lower(const struct mem_state *state, struct bole_bytes name)
{
	size_t low = 0;
	size_t high = state->ref_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bole_bytes_compare(state->refs[middle]->ref.name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct mem_ref *ref_find(const struct mem_state *state, struct bole_bytes name)
{
	size_t at = ref_lower(state, name);

	if (at < state->ref_count && bole_bytes_equal(state->refs[at]->ref.name, name))
		return state->refs[at];
	return NULL;
}

static struct mem_ref *ref_make(struct mem_store *store, const struct bole_ref_update *update)
{
	bool symbolic = update->action == BOLE_REF_SYMBOLIC;
	size_t target_len = symbolic ? update->target.len : 0;
	size_t bytes = sizeof(struct mem_ref) + update->name.len + target_len;
	struct mem_ref *ref = bole_alloc_zeroed(store->alloc, bytes, 1);

	if (ref == NULL)
		return NULL;
	uint8_t *text = (uint8_t *)(ref + 1);
	memcpy(text, update->name.ptr, update->name.len);
	ref->holders = 1;
	ref->bytes = bytes;
	ref->ref.name = bole_bytes_of(text, update->name.len);
	ref->ref.symbolic = symbolic;
	if (symbolic) {
		memcpy(text + update->name.len, update->target.ptr, target_len);
		ref->ref.target = bole_bytes_of(text + update->name.len, target_len);
	} else {
		ref->ref.oid = update->oid;
		ref->ref.has_peeled = update->has_peeled;
		if (update->has_peeled)
			ref->ref.peeled = update->peeled;
	}
	return ref;
}

static enum bole_status ref_put(struct mem_store *store, struct mem_state *state,
                                struct mem_ref *ref)
{
	size_t at = ref_lower(state, ref->ref.name);

	if (at < state->ref_count && bole_bytes_equal(state->refs[at]->ref.name, ref->ref.name)) {
		ref_drop(store, state->refs[at]);
		state->refs[at] = ref;
		return BOLE_OK;
	}
	void **refs = (void **)state->refs;
	BOLE_TRY(bole_mem_array_grow(store->alloc, &refs, state->ref_count, &state->ref_cap));
	state->refs = (struct mem_ref **)refs;
	memmove(state->refs + at + 1, state->refs + at,
	        (state->ref_count - at) * sizeof *state->refs);
	state->refs[at] = ref;
	state->ref_count++;
	return BOLE_OK;
}

static void ref_remove(struct mem_store *store, struct mem_state *state, struct bole_bytes name)
{
	size_t at = ref_lower(state, name);

	if (at == state->ref_count || !bole_bytes_equal(state->refs[at]->ref.name, name))
		return;
	ref_drop(store, state->refs[at]);
	state->ref_count--;
	memmove(state->refs + at, state->refs + at + 1,
	        (state->ref_count - at) * sizeof *state->refs);
}

static bool expectation_holds(const struct mem_ref *now, const struct bole_ref_update *update)
{
	switch (update->expect) {
	case BOLE_EXPECT_ANY: return true;
	case BOLE_EXPECT_ABSENT: return now == NULL;
	case BOLE_EXPECT_OID:
		return now != NULL && !now->ref.symbolic &&
		       bole_oid_equal(&now->ref.oid, &update->expected);
	}
	BOLE_UNREACHABLE();
}

/* Some other name is a directory of this one, or this one of another. */
static bool clashes(const struct mem_state *state, struct bole_bytes name)
{
	for (size_t i = 1; i + 1 < name.len; i++)
		if (name.ptr[i] == '/' && ref_find(state, bole_bytes_of(name.ptr, i)) != NULL)
			return true;
	/* Names between "a" and "a/..." (such as "a-b") may lie in between. */
	for (size_t at = ref_lower(state, name); at < state->ref_count; at++) {
		struct bole_bytes other = state->refs[at]->ref.name;

		if (!bole_bytes_start(other, name))
			return false;
		if (other.len > name.len && other.ptr[name.len] == '/')
			return true;
	}
	return false;
}

enum bole_status bole_mem_state_update(struct mem_store *store, struct mem_state *state,
                                       const struct bole_ref_update *updates, size_t count,
                                       size_t *failed)
{
	for (size_t i = 0; i < count; i++) {
		const struct bole_ref_update *update = &updates[i];

		*failed = i;
		if (!expectation_holds(ref_find(state, update->name), update))
			return BOLE_E_CONFLICT;
		if (update->action == BOLE_REF_DELETE)
			ref_remove(store, state, update->name);
		if (update->action != BOLE_REF_SET && update->action != BOLE_REF_SYMBOLIC)
			continue;
		struct mem_ref *ref = ref_make(store, update);
		if (ref == NULL)
			return BOLE_E_NO_MEMORY;
		enum bole_status rc = ref_put(store, state, ref);
		if (rc != BOLE_OK) {
			ref_drop(store, ref);
			return rc;
		}
	}
	/* After all of them: "delete a, create a/b" is no clash. */
	for (size_t i = 0; i < count; i++) {
		*failed = i;
		if ((updates[i].action == BOLE_REF_SET || updates[i].action == BOLE_REF_SYMBOLIC) &&
		    ref_find(state, updates[i].name) != NULL && clashes(state, updates[i].name))
			return BOLE_E_CONFLICT;
	}
	*failed = count;
	return BOLE_OK;
}

static enum bole_status mem_ref_get(struct bole_snapshot *base, struct bole_bytes name,
                                    struct bole_ref *out)
{
	const struct mem_ref *ref = ref_find(((struct mem_snapshot *)base)->state, name);

	if (ref == NULL)
		return BOLE_E_NOT_FOUND;
	*out = ref->ref;
	return BOLE_OK;
}

static enum bole_status mem_ref_next(struct bole_snapshot *base, struct bole_bytes prefix,
                                     struct bole_bytes after, struct bole_ref *out)
{
	const struct mem_state *state = ((struct mem_snapshot *)base)->state;
	bool from_prefix = bole_bytes_compare(after, prefix) < 0;
	size_t at = ref_lower(state, from_prefix ? prefix : after);

	if (at < state->ref_count && after.len > 0 &&
	    bole_bytes_equal(state->refs[at]->ref.name, after))
		at++;
	if (at == state->ref_count || !bole_bytes_start(state->refs[at]->ref.name, prefix))
		return BOLE_END;
	*out = state->refs[at]->ref;
	return BOLE_OK;
}

/* -- Versions that are held -- */

static struct bole_ref_version *version_hold(struct bole_snapshot *base)
{
	struct mem_store *store = (struct mem_store *)base->store;
	struct mem_state *state = ((struct mem_snapshot *)base)->state;

	if (state->ref_count == 0)
		return NULL;
	bole_mem_lock(store);
	state->holders++;
	bole_mem_unlock(store);
	return (struct bole_ref_version *)(void *)state;
}

static void version_release(struct bole_store *base, struct bole_ref_version *version)
{
	struct mem_store *store = (struct mem_store *)base;

	if (version == NULL)
		return;
	bole_mem_lock(store);
	bole_mem_state_drop(store, (void *)version);
	bole_mem_unlock(store);
}

static enum bole_status version_next(struct bole_snapshot *base, struct bole_ref_version *version,
                                     struct bole_ref_cursor *cursor, struct bole_bytes *name)
{
	const struct mem_state *was = (const void *)version;
	const struct mem_state *is = ((struct mem_snapshot *)base)->state;
	size_t was_count = was == NULL ? 0 : was->ref_count;
	uint64_t *a = &cursor->opaque[0];
	uint64_t *b = &cursor->opaque[1];

	for (;;) {
		const struct mem_ref *x = *a < was_count ? was->refs[*a] : NULL;
		const struct mem_ref *y = *b < is->ref_count ? is->refs[*b] : NULL;

		if (x == NULL && y == NULL)
			return BOLE_END;
		int order = x == NULL   ? 1
		            : y == NULL ? -1
		                        : bole_bytes_compare(x->ref.name, y->ref.name);
		*a += order <= 0;
		*b += order >= 0;
		if (x == y)
			continue;
		*name = order <= 0 ? x->ref.name : y->ref.name;
		return BOLE_OK;
	}
}

const struct bole_refs_ops bole_mem_refs_ops = {.get = mem_ref_get,
                                                .next = mem_ref_next,
                                                .version_hold = version_hold,
                                                .version_release = version_release,
                                                .version_next = version_next};

/* -- Aux records -- */

int bole_mem_aux_compare(const struct mem_aux *aux, enum bole_aux_class cls, uint16_t kind,
                         struct bole_bytes key)
{
	if (aux->cls != cls)
		return aux->cls < cls ? -1 : 1;
	if (aux->kind != kind)
		return aux->kind < kind ? -1 : 1;
	return bole_bytes_compare(aux->key, key);
}

static size_t aux_lower(const struct mem_state *state, enum bole_aux_class cls, uint16_t kind,
                        struct bole_bytes key)
{
	size_t low = 0;
	size_t high = state->aux_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bole_mem_aux_compare(state->aux[middle], cls, kind, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

enum bole_status bole_mem_state_aux(struct mem_store *store, struct mem_state *state,
                                    struct mem_aux *staged)
{
	size_t at = aux_lower(state, staged->cls, staged->kind, staged->key);
	bool there = at < state->aux_count && bole_mem_aux_compare(state->aux[at], staged->cls,
	                                                           staged->kind, staged->key) == 0;

	if (there)
		bole_mem_aux_drop(store, state->aux[at]);
	if (there && staged->removed) {
		state->aux_count--;
		memmove(state->aux + at, state->aux + at + 1,
		        (state->aux_count - at) * sizeof *state->aux);
	}
	if (staged->removed)
		return BOLE_OK;
	if (!there) {
		void **aux = (void **)state->aux;
		BOLE_TRY(
		        bole_mem_array_grow(store->alloc, &aux, state->aux_count, &state->aux_cap));
		state->aux = (struct mem_aux **)aux;
		memmove(state->aux + at + 1, state->aux + at,
		        (state->aux_count - at) * sizeof *state->aux);
		state->aux_count++;
	}
	staged->holders++;
	state->aux[at] = staged;
	return BOLE_OK;
}

/* What the transaction staged last for a key, or NULL. */
static const struct mem_aux *staged_find(const struct mem_tx *tx, enum bole_aux_class cls,
                                         uint16_t kind, struct bole_bytes key)
{
	for (size_t i = tx == NULL ? 0 : tx->aux_count; i > 0; i--)
		if (bole_mem_aux_compare(tx->aux[i - 1], cls, kind, key) == 0)
			return tx->aux[i - 1];
	return NULL;
}

static enum bole_status mem_aux_get(struct bole_snapshot *base, const struct bole_aux_key *key,
                                    struct bole_alloc *alloc, uint8_t **out, size_t *len)
{
	const struct mem_snapshot *snapshot = (const struct mem_snapshot *)base;
	const struct mem_state *state = snapshot->state;
	const struct mem_aux *aux = staged_find(snapshot->tx, key->cls, key->kind, key->key);

	*out = NULL;
	*len = 0;
	if (aux == NULL) {
		size_t at = aux_lower(state, key->cls, key->kind, key->key);

		if (at < state->aux_count &&
		    bole_mem_aux_compare(state->aux[at], key->cls, key->kind, key->key) == 0)
			aux = state->aux[at];
	}
	if (aux == NULL || aux->removed)
		return BOLE_E_NOT_FOUND;
	if (aux->value.len == 0)
		return BOLE_OK;
	*out = alloc->resize(alloc->ctx, NULL, 0, aux->value.len, 1);
	if (*out == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(*out, aux->value.ptr, aux->value.len);
	*len = aux->value.len;
	return BOLE_OK;
}

static enum bole_status mem_aux_next(struct bole_snapshot *base, enum bole_aux_class cls,
                                     uint16_t kind, struct bole_bytes after, struct bole_bytes *key)
{
	const struct mem_snapshot *snapshot = (const struct mem_snapshot *)base;
	const struct mem_state *state = snapshot->state;
	const struct mem_tx *tx = snapshot->tx;
	bool found = false;

	for (size_t at = aux_lower(state, cls, kind, after); at < state->aux_count; at++) {
		const struct mem_aux *aux = state->aux[at];
		const struct mem_aux *over = staged_find(tx, cls, kind, aux->key);

		if (aux->cls != cls || aux->kind != kind)
			break;
		if (bole_bytes_equal(aux->key, after) || (over != NULL && over->removed))
			continue;
		*key = aux->key;
		found = true;
		break;
	}
	for (size_t i = 0; tx != NULL && i < tx->aux_count; i++) {
		const struct mem_aux *aux = tx->aux[i];

		if (aux->cls != cls || aux->kind != kind ||
		    staged_find(tx, cls, kind, aux->key)->removed ||
		    bole_bytes_compare(aux->key, after) <= 0)
			continue;
		if (!found || bole_bytes_compare(aux->key, *key) < 0)
			*key = aux->key;
		found = true;
	}
	return found ? BOLE_OK : BOLE_END;
}

static enum bole_status mem_aux_put(struct bole_tx *base, const struct bole_aux_key *key,
                                    struct bole_bytes value)
{
	struct mem_tx *tx = (struct mem_tx *)base;
	struct mem_store *store = mem_store_of(base->store);

	if (key->key.len == 0 || key->key.len > 255)
		return BOLE_E_INVALID;
	if (value.len > BOLE_AUX_BYTES_MAX)
		return BOLE_E_LIMIT;
	BOLE_ASSERT(!tx->prepared);
	void **list = (void **)tx->aux;
	BOLE_TRY(bole_mem_array_grow(store->alloc, &list, tx->aux_count, &tx->aux_cap));
	tx->aux = (struct mem_aux **)list;
	size_t bytes = sizeof(struct mem_aux) + key->key.len + value.len;
	struct mem_aux *aux = bole_alloc_zeroed(store->alloc, bytes, 1);
	if (aux == NULL)
		return BOLE_E_NO_MEMORY;
	uint8_t *text = (uint8_t *)(aux + 1);
	memcpy(text, key->key.ptr, key->key.len);
	if (value.len > 0)
		memcpy(text + key->key.len, value.ptr, value.len);
	*aux = (struct mem_aux){
	        .holders = 1,
	        .bytes = bytes,
	        .cls = key->cls,
	        .kind = key->kind,
	        .removed = value.ptr == NULL,
	        .key = bole_bytes_of(text, key->key.len),
	        .value = bole_bytes_of(text + key->key.len, value.len),
	};
	tx->aux[tx->aux_count++] = aux;
	return BOLE_OK;
}

const struct bole_aux_ops bole_mem_aux_ops = {
        .get = mem_aux_get,
        .next = mem_aux_next,
        .put = mem_aux_put,
};
