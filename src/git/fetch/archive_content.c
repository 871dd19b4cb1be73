/* SPDX-License-Identifier: ISC */
/* Files that go out other than they are stored: line ends, ids and what the commit says, where the
 * attributes ask for it. Each is changed in memory, so larger ones go out as they are. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/archive.h"
#include "git/fetch/pretty.h"
#include "git/fetch/work_file.h"

enum {
	FILE_BYTES_MAX = 4 << 20,
	RESULT_BYTES_MAX = 4 * FILE_BYTES_MAX,
	NAMES_BYTES_MAX = 64 * 1024,
	IDS_MAX = 66, /* with a short form: the commit, its tree, 64 parents */
	DIGITS_MIN = 7,
};

struct short_id {
	struct bole_oid oid;
	unsigned common; /* digits that another object begins with, too */
};

struct bole_archive_content {
	struct bole_archive *a;
	struct bole_buffer text[2]; /* of a file: before and after a step */
	unsigned which;
	bool has_commit; /* the rest is about it */
	struct bole_pretty pretty;
	struct bole_buffer commit;
	struct short_id ids[IDS_MAX];
	size_t id_count;
	unsigned digits;
	struct bole_buffer names;
	bool has_names;
};

/* -- Short ids -- */

static unsigned common_digits(const struct bole_oid *a, const struct bole_oid *b)
{
	size_t bytes = bole_hash_bytes(a->algo), i = 0;

	while (i < bytes && a->bytes[i] == b->bytes[i])
		i++;
	if (i == bytes)
		return 0; /* itself */
	return (unsigned)(2 * i) + ((a->bytes[i] ^ b->bytes[i]) < 0x10);
}

/* As many digits as half the bits of the number of objects, or what it takes to be the only one. */
static enum bole_status look_at_ids(struct bole_archive_content *c)
{
	struct bole_session *s = c->a->s;
	struct bole_entry entry;
	struct bole_oid oid;
	uint64_t cursor = 0, count = 0;
	enum bole_status rc;

	while ((rc = bole_odb_next(s->snapshot, &cursor, &oid, &entry)) == BOLE_OK) {
		BOLE_TRY(bole_session_tick(s));
		count++;
		for (size_t i = 0; i < c->id_count; i++) {
			unsigned common = common_digits(&c->ids[i].oid, &oid);

			if (common > c->ids[i].common)
				c->ids[i].common = common;
		}
	}
	for (c->digits = 0; count > 0; count >>= 1)
		c->digits++;
	c->digits = (c->digits + 1) / 2;
	if (c->digits < DIGITS_MIN)
		c->digits = DIGITS_MIN;
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status on_digits(void *ctx, const struct bole_oid *oid, unsigned *out)
{
	struct bole_archive_content *c = ctx;

	if (c->digits == 0) {
		const struct bole_commit *commit = &c->pretty.commit;

		c->ids[c->id_count++].oid = c->pretty.oid;
		c->ids[c->id_count++].oid = commit->tree;
		for (size_t i = 0; i < commit->parent_count && c->id_count < IDS_MAX; i++)
			bole_commit_parent(commit, oid->algo, i, &c->ids[c->id_count++].oid);
		BOLE_TRY(look_at_ids(c));
	}
	*out = BOLE_OID_HEX_MAX;
	for (size_t i = 0; i < c->id_count; i++)
		if (bole_oid_equal(&c->ids[i].oid, oid))
			*out = c->ids[i].common >= c->digits ? c->ids[i].common + 1 : c->digits;
	return BOLE_OK;
}

/* -- The references of the commit -- */

static void add_name(struct bole_buffer *out, struct bole_bytes name, bool tag)
{
	static const char *const known[] = {"refs/heads/", "refs/tags/", "refs/remotes/"};

	if (tag)
		bole_buffer_text(out, "tag: ");
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (!bole_bytes_start(name, bole_bytes_z(known[i])))
			continue;
		size_t len = strlen(known[i]);
		bole_buffer_append(out, name.ptr + len, name.len - len);
		return;
	}
	bole_buffer_append(out, name.ptr, name.len);
}

/* Later ones come first. */
static void prepend(struct bole_buffer *list, struct bole_bytes name, bool tag)
{
	struct bole_buffer one;

	bole_buffer_init(&one, list->alloc, NAMES_BYTES_MAX);
	add_name(&one, name, tag);
	if (list->len > 0)
		bole_buffer_text(&one, ", ");
	size_t len = one.len;
	if (one.rc != BOLE_OK)
		list->rc = one.rc;
	else if (bole_buffer_reserve(list, len) != NULL) {
		memmove(list->ptr + len, list->ptr, list->len);
		memcpy(list->ptr, one.ptr, len);
		list->len += len;
	}
	bole_buffer_release(&one);
}

struct head {
	bool here; /* it leads to the commit */
	char branch[BOLE_REF_NAME_MAX];
	size_t branch_len; /* 0: detached */
	bool branch_here;
};

static enum bole_status add_ref(struct bole_archive_content *c, const struct bole_ref *ref,
                                struct head *head)
{
	struct bole_session *s = c->a->s;
	struct bole_listed_ref listed;

	enum bole_status rc = bole_ref_resolve(&s->refs, s->snapshot, ref, &listed);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
	bool direct = bole_oid_equal(&listed.oid, &c->pretty.oid);
	if (!direct)
		BOLE_TRY(bole_ref_fill_peeled(s, &listed));
	if (!direct && !(listed.has_peeled && bole_oid_equal(&listed.peeled, &c->pretty.oid)))
		return BOLE_OK;
	if (bole_bytes_equal(ref->name, bole_bytes_z("HEAD"))) {
		head->here = true;
		head->branch_len = listed.target.len < BOLE_REF_NAME_MAX ? listed.target.len : 0;
		memcpy(head->branch, listed.target.ptr, head->branch_len);
	} else if (head->branch_len > 0 &&
	           bole_bytes_equal(ref->name, bole_bytes_of(head->branch, head->branch_len))) {
		head->branch_here = true;
	} else {
		bool tag = !direct || bole_bytes_start(ref->name, bole_bytes_z("refs/tags/"));

		prepend(&c->names, ref->name, tag);
	}
	return c->names.rc;
}

static enum bole_status look_at_refs(struct bole_archive_content *c)
{
	struct bole_session *s = c->a->s;
	struct bole_bytes all = bole_bytes_of("", 0);
	struct head *head = bole_alloc_zeroed(s->svc->alloc, 1, sizeof *head);
	char text[BOLE_REF_NAME_MAX + 16];
	struct bole_ref ref;
	enum bole_status rc = BOLE_E_NO_MEMORY;

	if (head == NULL)
		return rc;
	/* HEAD is the first of all names. */
	rc = bole_ref_view_next(&s->refs, s->snapshot, all, all, &ref);
	while (rc == BOLE_OK) {
		rc = bole_session_tick(s);
		if (rc == BOLE_OK)
			rc = add_ref(c, &ref, head);
		if (rc == BOLE_OK)
			rc = bole_ref_view_next(&s->refs, s->snapshot, all, ref.name, &ref);
	}
	if (rc == BOLE_END && head->here) {
		struct bole_buffer first;

		bole_buffer_init(&first, s->svc->alloc, sizeof text);
		bole_buffer_text(&first, head->branch_here ? "HEAD -> " : "HEAD");
		if (head->branch_here)
			add_name(&first, bole_bytes_of(head->branch, head->branch_len), false);
		if (first.rc == BOLE_OK)
			prepend(&c->names, bole_bytes_of(first.ptr, first.len), false);
		else
			c->names.rc = first.rc;
		bole_buffer_release(&first);
	}
	bole_alloc_free(s->svc->alloc, head, 1, sizeof *head);
	return rc == BOLE_END ? c->names.rc : rc;
}

static enum bole_status on_names(void *ctx, struct bole_bytes *out)
{
	struct bole_archive_content *c = ctx;

	if (!c->has_names)
		BOLE_TRY(look_at_refs(c));
	c->has_names = true;
	*out = bole_bytes_of(c->names.ptr, c->names.len);
	return BOLE_OK;
}

/* -- Files -- */

enum bole_status bole_archive_content_open(struct bole_archive *a,
                                           struct bole_archive_content **out)
{
	struct bole_alloc *alloc = a->s->svc->alloc;
	struct bole_archive_content *c = bole_alloc_zeroed(alloc, 1, sizeof *c);

	*out = c;
	if (c == NULL)
		return BOLE_E_NO_MEMORY;
	c->a = a;
	bole_buffer_init(&c->text[0], alloc, RESULT_BYTES_MAX);
	bole_buffer_init(&c->text[1], alloc, RESULT_BYTES_MAX);
	bole_buffer_init(&c->commit, alloc, BOLE_PRETTY_COMMIT_MAX);
	bole_buffer_init(&c->names, alloc, NAMES_BYTES_MAX);
	return BOLE_OK;
}

void bole_archive_content_close(struct bole_archive_content *c)
{
	if (c == NULL)
		return;
	bole_buffer_release(&c->names);
	bole_buffer_release(&c->commit);
	bole_buffer_release(&c->text[0]);
	bole_buffer_release(&c->text[1]);
	bole_alloc_free(c->a->s->svc->alloc, c, 1, sizeof *c);
}

static enum bole_status open_commit(struct bole_archive_content *c)
{
	struct bole_session *s = c->a->s;
	struct bole_bytes data;

	if (c->has_commit)
		return BOLE_OK;
	BOLE_TRY(bole_object_read(c->a->reader, &c->a->commit, NULL, &data));
	bole_buffer_append(&c->commit, data.ptr, data.len);
	BOLE_TRY(c->commit.rc);
	c->pretty = (struct bole_pretty){.oid = c->a->commit,
	                                 .data = bole_bytes_of(c->commit.ptr, c->commit.len),
	                                 .digits = on_digits,
	                                 .names = on_names,
	                                 .ctx = c};
	if (s->svc->platform->ops->wall_s(s->svc->platform, &c->pretty.now_s) != BOLE_OK)
		c->pretty.now_s = 0;
	c->has_commit = true;
	return bole_pretty_open(&c->pretty);
}

/* What a file is to become. */
struct wishes {
	enum bole_line_ends ends;
	bool ident;
	bool substitute;
};

static enum bole_status ask(struct bole_archive_content *c, struct bole_attributes *attributes,
                            struct bole_bytes path, struct wishes *out)
{
	struct bole_attribute a;

	*out = (struct wishes){.ends = BOLE_LINE_ENDS_KEPT};
	BOLE_TRY(bole_line_ends_of(attributes, path, &out->ends));
	BOLE_TRY(bole_attributes_get(attributes, path, false, "ident", &a));
	out->ident = a.state == BOLE_ATTRIBUTE_SET;
	if (bole_oid_is_null(&c->a->commit))
		return BOLE_OK;
	BOLE_TRY(bole_attributes_get(attributes, path, false, "export-subst", &a));
	out->substitute = a.state == BOLE_ATTRIBUTE_SET;
	return BOLE_OK;
}

static struct bole_buffer *next_text(struct bole_archive_content *c)
{
	struct bole_buffer *text = &c->text[c->which ^= 1];

	text->len = 0;
	return text;
}

/* In Git's order: the id, the line ends, and what the commit says behind all. */
static enum bole_status change(struct bole_archive_content *c, const struct wishes *w,
                               const struct bole_oid *oid, struct bole_bytes *file)
{
	struct bole_buffer *text;

	if (w->ident) {
		text = next_text(c);
		bole_ident_apply(oid, *file, text);
		BOLE_TRY(text->rc);
		*file = bole_bytes_of(text->ptr, text->len);
	}
	text = next_text(c);
	if (bole_line_ends_apply(w->ends, *file, text)) {
		BOLE_TRY(text->rc);
		*file = bole_bytes_of(text->ptr, text->len);
	} else {
		c->which ^= 1; /* it is not used */
	}
	if (!w->substitute)
		return BOLE_OK;
	text = next_text(c);
	BOLE_TRY(bole_pretty_file(&c->pretty, *file, text));
	*file = bole_bytes_of(text->ptr, text->len);
	return BOLE_OK;
}

enum bole_status bole_archive_content_of(struct bole_archive_content *c,
                                         struct bole_attributes *attributes, struct bole_bytes path,
                                         struct bole_archive_entry *entry)
{
	struct bole_bytes file;
	struct wishes w;

	if (entry->bytes == 0 || entry->bytes > FILE_BYTES_MAX)
		return BOLE_OK;
	BOLE_TRY(ask(c, attributes, path, &w));
	if (w.ends == BOLE_LINE_ENDS_KEPT && !w.ident && !w.substitute)
		return BOLE_OK;
	if (w.substitute)
		BOLE_TRY(open_commit(c));
	BOLE_TRY(bole_object_read(c->a->reader, &entry->oid, NULL, &file));
	BOLE_TRY(change(c, &w, &entry->oid, &file));
	BOLE_TRY(bole_session_yield(c->a->s));
	entry->changed = true;
	entry->content = file;
	entry->bytes = file.len;
	return BOLE_OK;
}
