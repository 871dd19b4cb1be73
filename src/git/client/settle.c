/* SPDX-License-Identifier: ISC */
/* Which references may move to what came, and the commit that moves them. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/fetch.h"
#include "git/object/object.h"

enum { CONFLICTS_MAX = 64 }; /* commits tried again without the one that clashed */

static void refuse(struct fetch_item *item, const char *reason)
{
	item->what = BOLE_CHANGE_REFUSED;
	item->reason = reason;
}

static bool is_branch(const struct fetch_item *item)
{
	return bole_bytes_start(item->name, bole_bytes_z("refs/heads/"));
}

/* What it names is here, and is of a kind that it may name. */
static enum bole_status judge_object(struct fetching *f, struct fetch_item *item)
{
	char shown[80];
	struct bole_entry entry;
	uint8_t type;

	enum bole_status rc = bole_odb_find(f->tx->view, &item->new_oid, &entry);
	if (rc == BOLE_E_NOT_FOUND && (item->follows || f->cut_off)) {
		item->left = true;
		return BOLE_OK;
	}
	if (rc == BOLE_E_NOT_FOUND)
		return bole_remote_fail(f->r, BOLE_E_INVALID,
		                        "the server's pack lacks what %s names",
		                        bole_printable(shown, sizeof shown, item->from->name));
	BOLE_TRY(rc);
	if (is_branch(item) && entry.type != BOLE_OBJECT_COMMIT) {
		refuse(item, "a branch must point to a commit");
		return BOLE_OK;
	}
	if (entry.type != BOLE_OBJECT_TAG)
		return BOLE_OK;
	rc = bole_session_peel(&f->session, f->tx->view, &item->new_oid, &item->peeled, &type);
	if (rc == BOLE_E_LIMIT) {
		refuse(item, "too many nested tags");
		return BOLE_OK;
	}
	item->has_peeled = rc == BOLE_OK;
	return rc;
}

/* From what it held to what it shall hold. */
static enum bole_status judge_move(struct fetching *f, struct fetch_item *item)
{
	struct bole_entry old_entry;
	struct bole_entry new_entry;
	bool forward = false;

	BOLE_TRY(bole_odb_find(f->tx->view, &item->old_oid, &old_entry));
	BOLE_TRY(bole_odb_find(f->tx->view, &item->new_oid, &new_entry));
	if (bole_bytes_start(item->name, bole_bytes_z("refs/tags/"))) {
		item->what = BOLE_CHANGE_FORCED;
		if (!item->force)
			refuse(item, "would replace a tag that is here");
		return BOLE_OK;
	}
	if (old_entry.type == BOLE_OBJECT_COMMIT && new_entry.type == BOLE_OBJECT_COMMIT) {
		enum bole_status rc = bole_history_ancestor(&f->history, &item->old_oid,
		                                            &item->new_oid, &forward);
		if (rc != BOLE_OK && rc != BOLE_E_LIMIT)
			return rc;
	}
	item->what = forward ? BOLE_CHANGE_FORWARD : BOLE_CHANGE_FORCED;
	if (!forward && !item->force)
		refuse(item, "no fast-forward");
	return BOLE_OK;
}

static enum bole_status judge(struct fetching *f, struct fetch_item *item)
{
	struct bole_ref ref;

	if (item->name.len > BOLE_REF_NAME_MAX || !bole_ref_name_valid(item->name) ||
	    !bole_bytes_start(item->name, bole_bytes_z("refs/"))) {
		refuse(item, "no name for a reference");
		return BOLE_OK;
	}
	enum bole_status rc = bole_ref_get(f->tx->view, item->name, &ref);
	if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
		return rc;
	if (rc == BOLE_OK && ref.symbolic) {
		refuse(item, "is a symbolic reference");
		return BOLE_OK;
	}
	if (rc == BOLE_OK)
		item->old_oid = ref.oid;
	if (item->from == NULL) {
		item->what = BOLE_CHANGE_DELETED;
		return BOLE_OK;
	}
	item->new_oid = item->from->oid;
	if (rc == BOLE_OK && bole_oid_equal(&item->old_oid, &item->new_oid))
		return BOLE_OK;
	item->what = BOLE_CHANGE_NEW;
	BOLE_TRY(judge_object(f, item));
	if (rc == BOLE_OK && item->what == BOLE_CHANGE_NEW && !item->left)
		return judge_move(f, item);
	return BOLE_OK;
}

/* A tag whose object did not come with what it names. */
static enum bole_status look_again(struct fetching *f, const struct fetch_item *item)
{
	struct bole_entry entry;

	if (!item->left || !item->from->has_peeled)
		return BOLE_OK;
	enum bole_status rc = bole_odb_find(f->tx->view, &item->from->peeled, &entry);
	if (rc == BOLE_OK)
		f->again = true;
	return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
}

enum bole_status bole_fetch_judge(struct fetching *f)
{
	size_t refused = 0;

	for (size_t i = 0; i < f->count; i++) {
		struct fetch_item *item = &f->items[i];

		if (item->later)
			continue;
		BOLE_TRY(judge(f, item));
		BOLE_TRY(look_again(f, item));
		if (item->left)
			item->what = BOLE_CHANGE_NONE;
		refused += item->what == BOLE_CHANGE_REFUSED;
		BOLE_TRY(bole_session_tick(&f->session));
	}
	f->job->refs_refused += refused;
	if (f->job->atomic && refused > 0)
		return bole_remote_fail(f->r, BOLE_E_CONFLICT,
		                        "a reference was refused, so none has moved");
	return BOLE_OK;
}

/* -- The commit -- */

static struct bole_ref_update update_of(const struct fetch_item *item)
{
	bool absent = bole_oid_is_null(&item->old_oid);

	return (struct bole_ref_update){
	        .name = item->name,
	        .expect = absent ? BOLE_EXPECT_ABSENT : BOLE_EXPECT_OID,
	        .expected = item->old_oid,
	        .action = item->from == NULL ? BOLE_REF_DELETE : BOLE_REF_SET,
	        .oid = item->new_oid,
	        .peeled = item->peeled,
	        .has_peeled = item->has_peeled,
	};
}

static bool moves(const struct fetch_item *item)
{
	return item->what != BOLE_CHANGE_NONE && item->what != BOLE_CHANGE_REFUSED && !item->done;
}

struct batch {
	struct bole_ref_update *updates;
	size_t *rows; /* of updates; the item, or SIZE_MAX for HEAD */
	size_t cap;
	size_t count;
	unsigned conflicts;
	char head[BOLE_REF_NAME_MAX + 1]; /* "" = stays */
};

/* After a commit what is not referenced counts as found only when it is looked up anew. */
static enum bole_status find_again(struct fetching *f, const struct fetch_item *item)
{
	struct bole_entry entry;

	return item->from == NULL ? BOLE_OK : bole_odb_find(f->tx->view, &item->new_oid, &entry);
}

static enum bole_status gather(struct fetching *f, struct batch *b, bool again)
{
	b->count = 0;
	/* What goes makes room for names of what comes. */
	for (int comes = 0; comes < 2; comes++)
		for (size_t i = 0; i < f->count && b->count + 1 < b->cap; i++) {
			struct fetch_item *item = &f->items[i];

			if (!moves(item) || (item->from != NULL) != (comes == 1))
				continue;
			if (again)
				BOLE_TRY(find_again(f, item));
			b->updates[b->count] = update_of(item);
			b->rows[b->count++] = i;
		}
	if (b->head[0] != '\0' && !again) {
		b->updates[b->count] = (struct bole_ref_update){.name = bole_bytes_z("HEAD"),
		                                                .action = BOLE_REF_SYMBOLIC,
		                                                .target = bole_bytes_z(b->head)};
		b->rows[b->count++] = SIZE_MAX;
	}
	return BOLE_OK;
}

static enum bole_status commit_batch(struct fetching *f, struct batch *b, bool again)
{
	for (;;) {
		size_t failed = 0;

		BOLE_TRY(gather(f, b, again));
		/* Nothing may look at the view once the transaction ends. */
		bole_fetch_session_close(f);
		enum bole_status rc = bole_tx_commit(f->tx, b->updates, b->count, &failed);
		if (rc != BOLE_E_CONFLICT) {
			f->tx = NULL;
			for (size_t i = 0; i < b->count && rc == BOLE_OK; i++)
				if (b->rows[i] != SIZE_MAX)
					f->items[b->rows[i]].done = true;
			f->job->refs_changed += rc == BOLE_OK ? b->count : 0;
			return rc;
		}
		if (b->rows[failed] == SIZE_MAX || f->job->atomic || ++b->conflicts > CONFLICTS_MAX)
			return bole_remote_fail(f->r, rc, "references have changed meanwhile");
		refuse(&f->items[b->rows[failed]],
		       "has changed meanwhile, or clashes with another name");
		f->job->refs_refused++;
	}
}

static size_t moving(const struct fetching *f)
{
	size_t count = 0;

	for (size_t i = 0; i < f->count; i++)
		count += moves(&f->items[i]);
	return count;
}

/* HEAD follows to a branch of ours that the server's HEAD became. */
static enum bole_status choose_head(struct fetching *f, struct batch *b)
{
	const struct bole_remote_ref *head = bole_remote_find(f->r, bole_bytes_z("HEAD"));
	struct bole_ref ours;

	if (!f->job->head || f->created || f->more || head == NULL || head->target.len == 0)
		return BOLE_OK;
	enum bole_status rc = bole_ref_get(f->tx->view, bole_bytes_z("HEAD"), &ours);
	if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
		return rc;
	for (size_t i = 0; i < f->count; i++) {
		const struct fetch_item *item = &f->items[i];

		if (item->from == NULL || item->what == BOLE_CHANGE_REFUSED || !is_branch(item) ||
		    !bole_bytes_equal(item->from->name, head->target) ||
		    (rc == BOLE_OK && ours.symbolic && bole_bytes_equal(ours.target, item->name)))
			continue;
		memcpy(b->head, item->name.ptr, item->name.len);
		b->head[item->name.len] = '\0';
	}
	return BOLE_OK;
}

static enum bole_status commit_all(struct fetching *f, struct batch *b, size_t count)
{
	BOLE_TRY(choose_head(f, b));
	if (count == 0 && b->head[0] == '\0' && !f->asks)
		return BOLE_OK;
	if (f->moved || f->session.boundary.stale)
		BOLE_TRY(bole_boundary_stage(&f->session.boundary, f->tx));
	if (f->new_origin)
		BOLE_TRY(bole_origin_stage(&f->origin, f->r->alloc, f->tx));
	BOLE_TRY(commit_batch(f, b, false));
	while (moving(f) > 0) {
		BOLE_TRY(bole_tx_begin(f->store, f->repo.id, &f->tx));
		BOLE_TRY(commit_batch(f, b, true));
	}
	return BOLE_OK;
}

enum bole_status bole_fetch_commit(struct fetching *f)
{
	size_t count = moving(f);
	struct bole_alloc *alloc = f->r->alloc;
	struct batch b = {.cap = count + 2 < BOLE_REF_UPDATES_MAX ? count + 2
	                                                          : BOLE_REF_UPDATES_MAX};
	enum bole_status rc = BOLE_E_NO_MEMORY;

	if (f->job->atomic && count + 1 > BOLE_REF_UPDATES_MAX)
		return bole_remote_fail(f->r, BOLE_E_LIMIT,
		                        "more than %d references cannot change at once",
		                        (int)BOLE_REF_UPDATES_MAX - 1);
	b.updates = bole_alloc_array(alloc, b.cap, sizeof *b.updates);
	b.rows = bole_alloc_array(alloc, b.cap, sizeof *b.rows);
	if (b.updates != NULL && b.rows != NULL)
		rc = commit_all(f, &b, count);
	bole_alloc_free(alloc, b.rows, b.rows == NULL ? 0 : b.cap, sizeof *b.rows);
	bole_alloc_free(alloc, b.updates, b.updates == NULL ? 0 : b.cap, sizeof *b.updates);
	return rc;
}
