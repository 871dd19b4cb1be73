/* SPDX-License-Identifier: ISC */
#include "support/dagworld.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/io.h"
#include "git/object/write.h"
#include "git/pack/ingest.h"
#include "support/suite_help.h"

enum { LONG_MAX = 3000, TRIES = 40, ENTRIES_MAX = 6, PARENTS_MAX = 3 };

const char *dag_ref_name(int ref)
{
	static const char *const names[DAG_REFS] = {
	        "refs/heads/b0",  "refs/heads/b1", "refs/heads/b2", "refs/heads/b3",
	        "refs/heads/b4",  "refs/heads/b5", "refs/heads/b6", "refs/tags/t0",
	        "refs/tags/t1",   "refs/tags/t2",  "refs/tags/t3",  "refs/tags/t4",
	        "refs/hidden/h0", "refs/notes/n0",
	};
	return names[ref];
}

int dag_draw(struct dagworld *w, int n)
{
	return (int)(test_random(&w->seed) % (uint64_t)n);
}

/* -- The store -- */

void dag_open(struct dagworld *w, struct bole_block *device, uint8_t algo, uint64_t seed)
{
	memset(w, 0, sizeof *w);
	test_platform_init(&w->test, seed);
	w->test.quiet = getenv("LOUD") == NULL;
	w->seed = seed;
	w->device = device;
	for (int i = 0; i < DAG_REFS; i++)
		w->refs[i] = DAG_NONE;
	if (device == NULL) {
		OK(bole_memory_store_open(&w->test.base, &w->test.alloc, &w->store));
	} else {
		OK(bole_flash_format(device, &w->test.base, NULL));
		OK(bole_flash_open(device, &w->test.base, &w->test.alloc, NULL, &w->store));
	}
	OK(bole_repo_create(w->store, "main", algo, "refs/heads/b0", &w->repo));
}

void dag_reopen(struct dagworld *w)
{
	if (w->device == NULL)
		return;
	OK(bole_store_close(w->store));
	OK(bole_flash_open(w->device, &w->test.base, &w->test.alloc, NULL, &w->store));
}

void dag_close(struct dagworld *w)
{
	test_platform_join(&w->test);
	OK(bole_store_close(w->store));
	for (int i = 0; i < w->count; i++)
		maker_release(&w->nodes[i].text);
	free(w->nodes);
	free(w->slots);
	free(w->piece);
	test_platform_release(&w->test);
}

bool dag_has(struct dagworld *w, int node)
{
	struct bole_entry entry;
	struct store_suite suite = {.store = w->store};
	enum bole_status rc = suite_find_now(&suite, w->repo.id, &w->nodes[node].oid, &entry);

	check(rc == BOLE_OK || rc == BOLE_E_NOT_FOUND);
	return rc == BOLE_OK;
}

/* -- Nodes -- */

static size_t slot_of(const struct dagworld *w, const struct bole_oid *oid)
{
	size_t at = bole_get_be32(oid->bytes) & (w->slot_count - 1);

	while (w->slots[at] != DAG_NONE && !bole_oid_equal(&w->nodes[w->slots[at]].oid, oid))
		at = (at + 1) & (w->slot_count - 1);
	return at;
}

int dag_find(const struct dagworld *w, const struct bole_oid *oid)
{
	return w->slot_count == 0 ? DAG_NONE : w->slots[slot_of(w, oid)];
}

static void more_nodes(struct dagworld *w)
{
	w->cap = w->cap == 0 ? 256 : w->cap * 2;
	w->nodes = realloc(w->nodes, (size_t)w->cap * sizeof *w->nodes);
	w->slot_count = (size_t)w->cap * 4;
	free(w->slots);
	w->slots = malloc(w->slot_count * sizeof *w->slots);
	check(w->nodes != NULL && w->slots != NULL);
	for (size_t i = 0; i < w->slot_count; i++)
		w->slots[i] = DAG_NONE;
	for (int i = 0; i < w->count; i++)
		w->slots[slot_of(w, &w->nodes[i].oid)] = i;
}

void dag_take(struct dagworld *w, int node)
{
	for (int i = 0; i < w->piece_count; i++)
		if (w->piece[i] == node)
			return;
	if (w->piece_count == w->piece_cap) {
		w->piece_cap = w->piece_cap == 0 ? 64 : w->piece_cap * 2;
		w->piece = realloc(w->piece, (size_t)w->piece_cap * sizeof *w->piece);
		check(w->piece != NULL);
	}
	w->piece[w->piece_count++] = node;
}

/* Takes over the text. The same content is the same node. A new one goes into the piece. */
static int node_add(struct dagworld *w, uint8_t type, struct maker_bytes *text, const int *links,
                    int count)
{
	struct bole_oid oid;

	OK(bole_object_id(w->repo.algo, type, bole_bytes_of(text->ptr, text->len), false, &oid));
	if (w->count == w->cap)
		more_nodes(w);
	size_t slot = slot_of(w, &oid);
	if (w->slots[slot] != DAG_NONE) {
		maker_release(text);
		if (!dag_has(w, w->slots[slot]))
			dag_take(w, w->slots[slot]);
		return w->slots[slot];
	}
	struct dag_node *node = &w->nodes[w->count];

	*node = (struct dag_node){.oid = oid, .text = *text, .type = type, .link_count = count};
	check(count <= DAG_LINKS_MAX);
	if (count > 0)
		memcpy(node->links, links, (size_t)count * sizeof *links);
	w->slots[slot] = w->count;
	dag_take(w, w->count);
	return w->count++;
}

int dag_pick(struct dagworld *w, uint8_t type)
{
	for (int i = 0; i < TRIES && w->count > 0; i++) {
		/* Rather a newer one. */
		int from = dag_draw(w, 2) == 0 ? w->count - w->count / 4 - 1 : 0;
		int node = from + dag_draw(w, w->count - from);

		if ((type == 0 || w->nodes[node].type == type) && dag_has(w, node))
			return node;
	}
	return DAG_NONE;
}

void dag_reach(const struct dagworld *w, const int *starts, int count, const bool *ends, bool *set)
{
	size_t cap = (size_t)w->count * DAG_LINKS_MAX + (size_t)count + 1;
	int *stack = malloc(cap * sizeof *stack);
	size_t at = 0;

	check(stack != NULL);
	for (int i = 0; i < count; i++)
		stack[at++] = starts[i];
	while (at > 0) {
		int n = stack[--at];

		if (set[n])
			continue;
		set[n] = true;
		for (int i = 0; i < w->nodes[n].link_count; i++) {
			int to = w->nodes[n].links[i];

			if (ends == NULL || !ends[n] || w->nodes[n].type != BOLE_OBJECT_COMMIT ||
			    w->nodes[to].type != BOLE_OBJECT_COMMIT)
				stack[at++] = to;
		}
	}
	free(stack);
}

/* -- Growing -- */

static int grow_blob(struct dagworld *w)
{
	int old = dag_draw(w, 3) == 0 ? dag_pick(w, BOLE_OBJECT_BLOB) : DAG_NONE;
	struct maker_bytes text = {0};

	if (old != DAG_NONE)
		maker_append(&text, w->nodes[old].text.ptr, w->nodes[old].text.len);
	if (old == DAG_NONE && dag_draw(w, 3) != 0) {
		int len = 40 + dag_draw(w, LONG_MAX);

		for (int i = 0; i < len; i++) {
			char c = (char)('!' + dag_draw(w, 90));
			maker_append(&text, &c, 1);
		}
	}
	maker_text(&text, "+%llx", (unsigned long long)test_random(&w->seed));
	return node_add(w, BOLE_OBJECT_BLOB, &text, NULL, 0);
}

static int grow_tree(struct dagworld *w, int depth)
{
	int entries[ENTRIES_MAX];
	int count = dag_draw(w, 12) == 0 ? 0 : 1 + dag_draw(w, ENTRIES_MAX - 1);
	struct maker_bytes text = {0};

	for (int i = 0; i < count; i++) {
		int kind = dag_draw(w, 6);

		entries[i] = DAG_NONE;
		if (kind < 2)
			entries[i] = dag_pick(w, kind == 0 ? BOLE_OBJECT_TREE : BOLE_OBJECT_BLOB);
		if (entries[i] == DAG_NONE)
			entries[i] =
			        kind == 5 && depth < 3 ? grow_tree(w, depth + 1) : grow_blob(w);
	}
	for (int i = 0; i < count; i++) {
		bool tree = w->nodes[entries[i]].type == BOLE_OBJECT_TREE;
		char name[16];

		snprintf(name, sizeof name, "n%02d", i);
		tree_entry(&text, tree ? "40000" : "100644", name, &w->nodes[entries[i]].oid);
	}
	return node_add(w, BOLE_OBJECT_TREE, &text, entries, count);
}

static int commit_of(struct dagworld *w, int tree, const int *parents, int count)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	struct maker_bytes text = {0};
	int links[DAG_LINKS_MAX] = {tree};

	maker_text(&text, "tree %s\n", bole_oid_format(&w->nodes[links[0]].oid, hex));
	for (int i = 0; i < count; i++) {
		links[i + 1] = parents[i];
		maker_text(&text, "parent %s\n", bole_oid_format(&w->nodes[parents[i]].oid, hex));
	}
	/* Clocks go wrong. */
	int date = dag_draw(w, 20) == 0 ? dag_draw(w, 1000000) : 1000000 + w->count;
	maker_text(&text, "author A <a@b> %d +0000\ncommitter A <a@b> %d +0000\n\n%llx\n", date,
	           date, (unsigned long long)test_random(&w->seed));
	return node_add(w, BOLE_OBJECT_COMMIT, &text, links, count + 1);
}

static int grow_commit(struct dagworld *w, const int *parents, int count)
{
	int same = dag_draw(w, 8) == 0 ? dag_pick(w, BOLE_OBJECT_TREE) : DAG_NONE;

	return commit_of(w, same != DAG_NONE ? same : grow_tree(w, 0), parents, count);
}

static int grow_tag(struct dagworld *w, int target)
{
	struct maker_bytes text = {0};
	char hex[BOLE_OID_HEX_MAX + 1];

	maker_text(&text, "object %s\ntype %s\ntag t\ntagger A <a@b> 1 +0000\n\n%llx\n",
	           bole_oid_format(&w->nodes[target].oid, hex),
	           bole_object_type_name(w->nodes[target].type),
	           (unsigned long long)test_random(&w->seed));
	return node_add(w, BOLE_OBJECT_TAG, &text, &target, 1);
}

/* A commit to build on: of this piece, a tip, an old one. */
static int find_parent(struct dagworld *w, const int *made, int count)
{
	int kind = dag_draw(w, 10);

	if (count > 0 && kind < 7)
		return made[kind < 5 ? count - 1 : dag_draw(w, count)];
	int ref = w->refs[kind < 9 ? 0 : dag_draw(w, DAG_REFS)];
	if (ref != DAG_NONE && w->nodes[ref].type == BOLE_OBJECT_COMMIT && dag_draw(w, 4) != 0)
		return ref;
	return dag_pick(w, BOLE_OBJECT_COMMIT);
}

int dag_grow(struct dagworld *w, int commits)
{
	int *made = malloc((size_t)commits * sizeof *made);
	int count = 1 + dag_draw(w, commits);

	check(made != NULL);
	for (int i = 0; i < count; i++) {
		int parents[PARENTS_MAX];
		int n = 0;
		int wanted = dag_draw(w, 25) == 0  ? 0
		             : dag_draw(w, 4) != 0 ? 1
		                                   : 1 + dag_draw(w, PARENTS_MAX);

		for (int k = 0; k < wanted; k++) {
			int parent = find_parent(w, made, i);
			bool again = parent == DAG_NONE;

			for (int m = 0; m < n; m++)
				again |= parents[m] == parent;
			if (!again)
				parents[n++] = parent;
		}
		made[i] = grow_commit(w, parents, n);
	}
	int tip = made[count - 1];
	free(made);
	if (dag_draw(w, 8) == 0)
		tip = w->nodes[tip].links[0];
	while (dag_draw(w, 4) == 0)
		tip = grow_tag(w, tip);
	return tip;
}

int dag_chain(struct dagworld *w, int commits)
{
	int at = w->refs[0];
	int tree = DAG_NONE;

	if (at != DAG_NONE && w->nodes[at].type != BOLE_OBJECT_COMMIT)
		at = DAG_NONE;
	for (int i = 0; i < commits; i++) {
		if (i % 8 == 0)
			tree = dag_pick(w, BOLE_OBJECT_TREE);
		if (tree == DAG_NONE)
			tree = grow_tree(w, 0);
		at = commit_of(w, tree, &at, at == DAG_NONE ? 0 : 1);
	}
	return at;
}

void dag_bring_back(struct dagworld *w, int node)
{
	bool *set = calloc((size_t)w->count + 1, sizeof *set);

	check(set != NULL);
	dag_reach(w, &node, 1, NULL, set);
	for (int i = 0; i < w->count; i++)
		if (set[i] && (!dag_has(w, i) || dag_draw(w, 10) == 0))
			dag_take(w, i);
	free(set);
}

/* -- Pushing -- */

static void shuffle(struct dagworld *w)
{
	int order = w->plain ? 2 : dag_draw(w, 3);

	for (int i = 0; i < w->piece_count / 2 && order == 0; i++) {
		int other = w->piece_count - 1 - i;
		int swap = w->piece[i];

		w->piece[i] = w->piece[other];
		w->piece[other] = swap;
	}
	for (int i = w->piece_count - 1; i > 0 && order == 1; i--) {
		int other = dag_draw(w, i + 1);
		int swap = w->piece[i];

		w->piece[i] = w->piece[other];
		w->piece[other] = swap;
	}
}

static bool in_piece(const struct dagworld *w, int node)
{
	for (int i = 0; i < w->piece_count; i++)
		if (w->piece[i] == node)
			return true;
	return false;
}

static void make_delta(const struct maker_bytes *base, const struct maker_bytes *text,
                       struct maker_bytes *out)
{
	size_t same = 0;

	while (same < base->len && same < text->len && base->ptr[same] == text->ptr[same])
		same++;
	delta_begin(out, base->len, text->len);
	if (same > 0)
		delta_copy(out, 0, (uint32_t)same);
	for (size_t at = same; at < text->len;) {
		size_t n = text->len - at < 127 ? text->len - at : 127;

		delta_insert(out, text->ptr + at, (uint8_t)n);
		at += n;
	}
}

/* The base of the i-th of the piece: one before it, or one that is there; or DAG_NONE. */
static int find_base(struct dagworld *w, int i)
{
	const struct dag_node *node = &w->nodes[w->piece[i]];

	for (int tries = 0; tries < 8 && i > 0; tries++) {
		int other = dag_draw(w, i);

		if (w->nodes[w->piece[other]].type == node->type)
			return other;
	}
	return DAG_NONE;
}

static void put_entry(struct dagworld *w, struct packmaker *pack, uint64_t *offsets, int i)
{
	const struct dag_node *node = &w->nodes[w->piece[i]];
	struct maker_bytes delta = {0};
	int kind = dag_draw(w, 8);
	int base = kind < 4 ? find_base(w, i) : DAG_NONE;
	int there = kind == 4 && !w->plain ? dag_pick(w, node->type) : DAG_NONE;

	if (base != DAG_NONE) {
		const struct dag_node *from = &w->nodes[w->piece[base]];

		make_delta(&from->text, &node->text, &delta);
		offsets[i] = kind == 0 && !w->plain ? packmaker_ref(pack, &from->oid, &delta)
		                                    : packmaker_ofs(pack, offsets[base], &delta);
	} else if (there != DAG_NONE && !in_piece(w, there)) {
		make_delta(&w->nodes[there].text, &node->text, &delta);
		offsets[i] = packmaker_ref(pack, &w->nodes[there].oid, &delta);
	} else {
		offsets[i] =
		        packmaker_object(pack, node->type, node->text.ptr, node->text.len, NULL);
	}
	maker_release(&delta);
}

static enum bole_status put_pack(struct dagworld *w, struct bole_tx *tx)
{
	struct bole_ingest job = {.platform = &w->test.base, .alloc = &w->test.alloc, .tx = tx};
	uint64_t *offsets = calloc((size_t)w->piece_count + 1, sizeof *offsets);
	struct bole_ingest_report report;
	struct bole_bytes_reader reader;
	struct bole_input input;
	struct packmaker pack;
	uint8_t buffer[4096];

	check(offsets != NULL);
	packmaker_init(&pack, w->repo.algo);
	pack.level = dag_draw(w, 4) == 0 ? 0 : 1;
	shuffle(w);
	for (int i = 0; i < w->piece_count; i++)
		put_entry(w, &pack, offsets, i);
	packmaker_finish(&pack);
	bole_bytes_reader_init(&reader, bole_bytes_of(pack.out.ptr, pack.out.len));
	bole_input_init(&input, &reader.reader, buffer, sizeof buffer);
	enum bole_status rc = bole_pack_ingest(&job, &input, &report);
	if (rc != BOLE_OK)
		fprintf(stderr, "%s", w->test.quiet ? "" : report.error);
	packmaker_release(&pack);
	free(offsets);
	return rc;
}

static enum bole_status put_records(struct dagworld *w, struct bole_tx *tx)
{
	enum bole_status rc = BOLE_OK;

	for (int i = 0; i < w->piece_count && rc == BOLE_OK; i++) {
		const struct dag_node *node = &w->nodes[w->piece[i]];
		struct bole_object_writer *writer;
		struct bole_entry entry;
		struct bole_oid oid;

		for (int k = 0; k < node->link_count; k++)
			(void)!bole_odb_find(tx->view, &w->nodes[node->links[k]].oid, &entry);
		OK(bole_object_writer_open(tx, &w->test.alloc, 1, &writer));
		rc = bole_object_write(writer, node->type,
		                       bole_bytes_of(node->text.ptr, node->text.len), &oid);
		bole_object_writer_close(writer);
	}
	return rc;
}

/* Received, or found to be there already: all that the references will need. */
static enum bole_status receive(struct dagworld *w, struct bole_tx *tx, bool pack, int node)
{
	struct bole_entry entry;
	void (*meanwhile)(void) = w->meanwhile;
	enum bole_status rc = BOLE_OK;

	if (w->piece_count > 0)
		rc = pack ? put_pack(w, tx) : put_records(w, tx);
	w->piece_count = 0;
	if (rc == BOLE_OK && node != DAG_NONE)
		OK(bole_odb_find(tx->view, &w->nodes[node].oid, &entry));
	w->meanwhile = NULL;
	if (rc == BOLE_OK && meanwhile != NULL)
		meanwhile();
	return rc;
}

bool dag_push(struct dagworld *w, bool pack, int ref, int node)
{
	struct bole_ref_update update = {.name = bole_bytes_z(dag_ref_name(ref))};
	struct bole_tx *tx;
	size_t failed;
	int end = node;

	update.action = node == DAG_NONE ? BOLE_REF_DELETE : BOLE_REF_SET;
	if (node != DAG_NONE)
		update.oid = w->nodes[node].oid;
	while (end != DAG_NONE && w->nodes[end].type == BOLE_OBJECT_TAG)
		end = w->nodes[end].links[0];
	update.has_peeled = end != node && dag_draw(w, 8) != 0;
	if (update.has_peeled)
		update.peeled = w->nodes[end].oid;
	OK(bole_tx_begin(w->store, w->repo.id, &tx));
	enum bole_status rc = receive(w, tx, pack, node);
	if (rc == BOLE_OK) {
		rc = bole_tx_commit(tx, &update, 1, &failed);
	} else {
		bole_tx_abort(tx);
	}
	check(rc == BOLE_OK || rc == BOLE_E_NO_SPACE);
	if (rc == BOLE_OK)
		w->refs[ref] = node;
	return rc == BOLE_OK;
}

enum bole_status dag_try(struct dagworld *w)
{
	struct bole_tx *tx;

	OK(bole_tx_begin(w->store, w->repo.id, &tx));
	enum bole_status rc = put_pack(w, tx);
	bole_tx_abort(tx);
	w->piece_count = 0;
	return rc;
}
