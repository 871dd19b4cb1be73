/* SPDX-License-Identifier: ISC */
/* Transactions: what was read and written, and the commit that is redone when the branch moved. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "kv/kv.h"

enum {
	RETRIES_MAX = 64,    /* a commit that loses this often gives up */
	COMPRESS_FROM = 128, /* smaller values are stored as they are */
	VALUE_LEVEL = 1,     /* of deflate */
	MESSAGE_BYTES_MAX = 1 << 20,
	ARENA_BYTES = 4096,
	ZONE_MINUTES_MAX = 14 * 60 + 59,
};

/* One key that the transaction touched. */
struct touched {
	struct bole_bytes key;
	bool written;
	bool remove;
	struct bole_oid oid;
};

struct bole_kv_tx {
	struct bole_kv *kv;
	char branch[BOLE_REF_NAME_MAX + 1];
	struct bole_kv_view *base;
	struct bole_tx *tx;
	struct bole_object_reader *reader; /* of what tx wrote */
	struct bole_object_writer *values;
	struct bole_object_writer *trees;
	struct bole_arena keys;
	struct touched *touched; /* by key */
	size_t count;
	size_t cap;
	bool removes; /* something was removed */
};

static void tx_release(struct bole_kv_tx *tx)
{
	bole_object_reader_close(tx->reader);
	bole_object_writer_close(tx->values);
	bole_object_writer_close(tx->trees);
	bole_tx_abort(tx->tx);
	bole_kv_view_close(tx->base);
	bole_alloc_free(tx->kv->alloc, tx->touched, tx->cap, sizeof *tx->touched);
	bole_arena_release(&tx->keys);
	bole_alloc_free(tx->kv->alloc, tx, 1, sizeof *tx);
}

void bole_kv_tx_abort(struct bole_kv_tx *tx)
{
	if (tx != NULL)
		tx_release(tx);
}

static enum bole_status tx_open(struct bole_kv_tx *tx, const char *branch)
{
	struct bole_kv *kv = tx->kv;
	struct bole_object_reader_options options = {.cache_bytes = 1 << 20};

	if (branch == NULL)
		memcpy(tx->branch, kv->branch, sizeof tx->branch);
	else
		BOLE_TRY(bole_kv_branch_name(branch, tx->branch));
	BOLE_TRY(bole_tx_begin(kv->store, kv->repo.id, &tx->tx));
	BOLE_TRY(bole_kv_view_of_ref(kv, tx->branch, &tx->base));
	BOLE_TRY(bole_object_reader_open(tx->tx->view, kv->alloc, &options, &tx->reader));
	BOLE_TRY(bole_object_writer_open(tx->tx, kv->alloc, VALUE_LEVEL, &tx->values));
	return bole_object_writer_open(tx->tx, kv->alloc, 0, &tx->trees);
}

enum bole_status bole_kv_begin(struct bole_kv *kv, const char *branch, struct bole_kv_tx **out)
{
	struct bole_kv_tx *tx = bole_alloc_zeroed(kv->alloc, 1, sizeof *tx);

	*out = NULL;
	if (tx == NULL)
		return BOLE_E_NO_MEMORY;
	tx->kv = kv;
	bole_arena_init(&tx->keys, kv->alloc, ARENA_BYTES);
	enum bole_status rc = tx_open(tx, branch);
	if (rc != BOLE_OK) {
		tx_release(tx);
		return rc;
	}
	*out = tx;
	return BOLE_OK;
}

/* -- What was touched -- */

static size_t touched_lower(const struct bole_kv_tx *tx, struct bole_bytes key)
{
	size_t low = 0;
	size_t high = tx->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bole_bytes_compare(tx->touched[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct touched *touched_find(struct bole_kv_tx *tx, struct bole_bytes key)
{
	size_t at = touched_lower(tx, key);

	if (at < tx->count && bole_bytes_equal(tx->touched[at].key, key))
		return &tx->touched[at];
	return NULL;
}

/* Finds or adds. */
static enum bole_status touch(struct bole_kv_tx *tx, struct bole_bytes key, struct touched **out)
{
	*out = touched_find(tx, key);
	if (*out != NULL)
		return BOLE_OK;
	if (tx->count == tx->cap) {
		size_t cap = tx->cap == 0 ? 8 : tx->cap * 2;
		struct touched *more =
		        bole_alloc_resize(tx->kv->alloc, tx->touched, tx->cap, cap, sizeof *more);

		if (more == NULL)
			return BOLE_E_NO_MEMORY;
		tx->touched = more;
		tx->cap = cap;
	}
	uint8_t *copy = bole_arena_alloc(&tx->keys, key.len, 1);
	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(copy, key.ptr, key.len);
	size_t at = touched_lower(tx, key);
	memmove(tx->touched + at + 1, tx->touched + at, (tx->count - at) * sizeof *tx->touched);
	tx->touched[at] = (struct touched){.key = bole_bytes_of(copy, key.len)};
	tx->count++;
	*out = &tx->touched[at];
	return BOLE_OK;
}

static enum bole_status find_in(struct bole_kv_view *view, struct bole_bytes key,
                                struct kv_place *out)
{
	return bole_kv_find(view->reader, view->kv->repo.algo,
	                    view->has_commit ? &view->tree : NULL, key, out);
}

enum bole_status bole_kv_tx_get(struct bole_kv_tx *tx, struct bole_bytes key,
                                struct bole_bytes *value)
{
	struct touched *touched;

	*value = (struct bole_bytes){NULL, 0};
	if (!bole_kv_key_valid(key))
		return BOLE_E_INVALID;
	BOLE_TRY(touch(tx, key, &touched));
	if (!touched->written)
		return bole_kv_get(tx->base, key, value);
	if (touched->remove)
		return BOLE_E_NOT_FOUND;
	return bole_object_read(tx->reader, &touched->oid, NULL, value);
}

enum bole_status bole_kv_tx_set(struct bole_kv_tx *tx, struct bole_bytes key,
                                struct bole_bytes value)
{
	struct bole_object_writer *writer = value.len < COMPRESS_FROM ? tx->trees : tx->values;
	struct touched *touched;
	struct kv_place place;
	struct bole_oid oid;

	if (!bole_kv_key_valid(key))
		return BOLE_E_INVALID;
	BOLE_TRY(find_in(tx->base, key, &place));
	/* A removal may have made room; then the commit finds out. */
	if (!tx->removes && (place.kind == KV_DIRECTORY || place.kind == KV_BLOCKED))
		return BOLE_E_EXISTS;
	BOLE_TRY(bole_object_write(writer, BOLE_OBJECT_BLOB, value, &oid));
	BOLE_TRY(touch(tx, key, &touched));
	touched->written = true;
	touched->remove = false;
	touched->oid = oid;
	return BOLE_OK;
}

enum bole_status bole_kv_tx_remove(struct bole_kv_tx *tx, struct bole_bytes key)
{
	struct touched *touched;
	struct kv_place place;

	if (!bole_kv_key_valid(key))
		return BOLE_E_INVALID;
	touched = touched_find(tx, key);
	if (touched != NULL && touched->written && touched->remove)
		return BOLE_E_NOT_FOUND;
	BOLE_TRY(find_in(tx->base, key, &place));
	if ((touched == NULL || !touched->written) && place.kind != KV_VALUE)
		return BOLE_E_NOT_FOUND;
	BOLE_TRY(touch(tx, key, &touched));
	touched->written = true;
	touched->remove = true;
	tx->removes = true;
	return BOLE_OK;
}

/* -- The commit -- */

static bool text_valid(const char *text)
{
	return text[0] != '\0' && text[strcspn(text, "<>\n")] == '\0';
}

/* "Name <mail> time zone" into the commit. */
static void identity_put(struct bole_buffer *to, const char *role, const struct bole_kv_info *info,
                         int64_t time)
{
	int zone = info->zone_minutes < 0 ? -info->zone_minutes : info->zone_minutes;

	bole_buffer_format(to, "%s %s <%s> %lld %c%02d%02d\n", role, info->name, info->mail,
	                   (long long)time, info->zone_minutes < 0 ? '-' : '+', zone / 60,
	                   zone % 60);
}

/* Fills what the caller left open. */
static enum bole_status info_complete(const struct bole_kv_info *given, struct bole_kv_info *out)
{
	static const struct bole_kv_info none;

	*out = given == NULL ? none : *given;
	if (out->message == NULL)
		out->message = "update";
	if (out->name == NULL)
		out->name = "bole";
	if (out->mail == NULL)
		out->mail = "bole@localhost";
	if (!text_valid(out->name) || !text_valid(out->mail) || out->time < 0 ||
	    out->zone_minutes > ZONE_MINUTES_MAX || out->zone_minutes < -ZONE_MINUTES_MAX)
		return BOLE_E_INVALID;
	return strlen(out->message) > MESSAGE_BYTES_MAX ? BOLE_E_LIMIT : BOLE_OK;
}

/* Without a clock a commit is one second younger than its parent. */
static int64_t commit_time(struct bole_kv_tx *tx, const struct bole_kv_view *head,
                           const struct bole_kv_info *info)
{
	struct bole_platform *platform = tx->kv->platform;
	int64_t now;

	if (info->time != 0)
		return info->time;
	if (platform->ops->wall_s(platform, &now) == BOLE_OK)
		return now;
	return head->has_commit ? head->time + 1 : 0;
}

static enum bole_status commit_write(struct bole_kv_tx *tx, const struct bole_kv_view *head,
                                     const struct bole_oid *tree, const struct bole_kv_info *info,
                                     struct bole_oid *out)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_buffer data;
	size_t message_len = strlen(info->message);
	int64_t time = commit_time(tx, head, info);

	bole_buffer_init(&data, tx->kv->alloc, SIZE_MAX);
	bole_buffer_format(&data, "tree %s\n", bole_oid_format(tree, hex));
	if (head->has_commit)
		bole_buffer_format(&data, "parent %s\n", bole_oid_format(&head->commit, hex));
	identity_put(&data, "author", info, time);
	identity_put(&data, "committer", info, time);
	bole_buffer_byte(&data, '\n');
	bole_buffer_append(&data, info->message, message_len);
	if (message_len > 0 && info->message[message_len - 1] != '\n')
		bole_buffer_byte(&data, '\n');
	enum bole_status rc = data.rc;
	if (rc == BOLE_OK)
		rc = bole_object_write(tx->trees, BOLE_OBJECT_COMMIT,
		                       bole_bytes_of(data.ptr, data.len), out);
	bole_buffer_release(&data);
	return rc;
}

static enum bole_status tree_write(struct bole_kv_tx *tx, struct bole_kv_view *head,
                                   struct bole_oid *out)
{
	struct bole_alloc *alloc = tx->kv->alloc;
	struct kv_edit *edits = NULL;
	size_t count = 0;

	if (tx->count > 0) {
		edits = bole_alloc_array(alloc, tx->count, sizeof *edits);
		if (edits == NULL)
			return BOLE_E_NO_MEMORY;
	}
	for (size_t i = 0; i < tx->count; i++) {
		const struct touched *touched = &tx->touched[i];

		if (touched->written)
			edits[count++] = (struct kv_edit){.key = touched->key,
			                                  .remove = touched->remove,
			                                  .oid = touched->oid};
	}
	enum bole_status rc =
	        bole_kv_tree_build(head->reader, tx->trees, alloc, tx->kv->repo.algo,
	                           head->has_commit ? &head->tree : NULL, edits, count, out);
	bole_alloc_free(alloc, edits, tx->count, sizeof *edits);
	return rc;
}

/* What was touched is the same in both. A directory counts as one thing, whatever is in it. */
static enum bole_status compare(struct bole_kv_tx *tx, struct bole_kv_view *head)
{
	struct kv_place before;
	struct kv_place now;

	for (size_t i = 0; i < tx->count; i++) {
		BOLE_TRY(find_in(tx->base, tx->touched[i].key, &before));
		BOLE_TRY(find_in(head, tx->touched[i].key, &now));
		if (before.kind != now.kind)
			return BOLE_E_CONFLICT;
		if (now.kind == KV_VALUE &&
		    (before.mode != now.mode || !bole_oid_equal(&before.oid, &now.oid)))
			return BOLE_E_CONFLICT;
	}
	return BOLE_OK;
}

/* Puts the changes on top of head and tries to publish them. BOLE_E_CONFLICT: the branch is not at
 * head any more; tx->tx is still open then, and gone otherwise. BOLE_END: nothing changed. */
static enum bole_status publish(struct bole_kv_tx *tx, struct bole_kv_view *head,
                                const struct bole_kv_info *info, struct bole_oid *out)
{
	struct bole_oid tree;
	size_t failed;
	struct bole_ref_update update = {
	        .name = bole_bytes_z(tx->branch),
	        .expect = head->has_commit ? BOLE_EXPECT_OID : BOLE_EXPECT_ABSENT,
	        .action = BOLE_REF_SET,
	};

	BOLE_TRY(tree_write(tx, head, &tree));
	bool same = head->has_commit && bole_oid_equal(&tree, &head->tree);
	if (!info->allow_empty && (same || (!head->has_commit && tx->count == 0))) {
		*out = head->commit;
		return BOLE_END;
	}
	BOLE_TRY(commit_write(tx, head, &tree, info, out));
	if (head->has_commit)
		update.expected = head->commit;
	update.oid = *out;
	enum bole_status rc = bole_tx_commit(tx->tx, &update, 1, &failed);
	if (rc != BOLE_E_CONFLICT)
		tx->tx = NULL; /* it has ended */
	return rc;
}

static enum bole_status commit_loop(struct bole_kv_tx *tx, const struct bole_kv_info *info,
                                    struct bole_oid *out)
{
	enum bole_status rc = publish(tx, tx->base, info, out);

	for (unsigned i = 0; rc == BOLE_E_CONFLICT && i < RETRIES_MAX; i++) {
		struct bole_kv_view *head;

		rc = bole_kv_view_of_ref(tx->kv, tx->branch, &head);
		if (rc != BOLE_OK)
			return rc;
		rc = compare(tx, head);
		/* Another's change to what we touched is final; a lost race is tried again. */
		bool changed = rc == BOLE_E_CONFLICT;
		if (rc == BOLE_OK)
			rc = publish(tx, head, info, out);
		bole_kv_view_close(head);
		if (changed)
			break;
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_kv_tx_commit(struct bole_kv_tx *tx, const struct bole_kv_info *given,
                                   struct bole_oid *out)
{
	struct bole_kv_info info;
	struct bole_oid commit;

	memset(&commit, 0, sizeof commit);
	enum bole_status rc = info_complete(given, &info);
	/* What reads through the transaction must be gone when it ends. */
	bole_object_reader_close(tx->reader);
	tx->reader = NULL;
	if (rc == BOLE_OK)
		rc = commit_loop(tx, &info, &commit);
	if (rc == BOLE_OK && out != NULL)
		*out = commit;
	tx_release(tx);
	return rc;
}

enum bole_status bole_kv_set(struct bole_kv *kv, struct bole_bytes key, struct bole_bytes value,
                             const struct bole_kv_info *info, struct bole_oid *out)
{
	struct bole_kv_tx *tx;

	BOLE_TRY(bole_kv_begin(kv, NULL, &tx));
	enum bole_status rc = bole_kv_tx_set(tx, key, value);
	if (rc != BOLE_OK) {
		bole_kv_tx_abort(tx);
		return rc;
	}
	return bole_kv_tx_commit(tx, info, out);
}

enum bole_status bole_kv_remove(struct bole_kv *kv, struct bole_bytes key,
                                const struct bole_kv_info *info, struct bole_oid *out)
{
	struct bole_kv_tx *tx;

	BOLE_TRY(bole_kv_begin(kv, NULL, &tx));
	enum bole_status rc = bole_kv_tx_remove(tx, key);
	if (rc != BOLE_OK) {
		bole_kv_tx_abort(tx);
		return rc;
	}
	return bole_kv_tx_commit(tx, info, out);
}
