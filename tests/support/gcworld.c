/* SPDX-License-Identifier: ISC */
#include "support/gcworld.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/io.h"
#include "bole/verify.h"
#include "git/object/write.h"
#include "git/pack/ingest.h"
#include "support/packmaker.h"
#include "support/suite_help.h"

enum { TEXT_MAX = 4096, FILES = 3 };

/* -- The store -- */

void gcworld_open(struct gcworld *w, struct bole_block *device, uint8_t algo, uint64_t seed)
{
	memset(w, 0, sizeof *w);
	test_platform_init(&w->test, seed);
	w->test.quiet = getenv("LOUD") == NULL;
	w->seed = seed;
	w->device = device;
	pthread_mutex_init(&w->lock, NULL);
	for (int i = 0; i < GC_BRANCHES; i++)
		w->branch[i] = GC_NONE;
	if (device == NULL) {
		OK(bole_memory_store_open(&w->test.base, &w->test.alloc, &w->store));
	} else {
		OK(bole_flash_format(device, &w->test.base, NULL));
		OK(bole_flash_open(device, &w->test.base, &w->test.alloc, NULL, &w->store));
	}
	OK(bole_repo_create(w->store, "main", algo, "refs/heads/b0", &w->repo));
}

void gcworld_reopen(struct gcworld *w)
{
	if (w->device == NULL)
		return;
	OK(bole_store_close(w->store));
	OK(bole_flash_open(w->device, &w->test.base, &w->test.alloc, w->options, &w->store));
}

void gcworld_detach(struct gcworld *w)
{
	(void)bole_store_close(w->store);
	w->store = NULL;
}

void gcworld_attach(struct gcworld *w, struct bole_block *device)
{
	w->device = device;
	OK(bole_flash_open(device, &w->test.base, &w->test.alloc, NULL, &w->store));
}

void gcworld_close(struct gcworld *w)
{
	test_platform_join(&w->test);
	OK(bole_store_close(w->store));
	free(w->nodes);
	pthread_mutex_destroy(&w->lock);
	test_platform_release(&w->test);
}

struct bole_tx *gcworld_begin(struct gcworld *w)
{
	struct bole_tx *tx;

	OK(bole_tx_begin(w->store, w->repo.id, &tx));
	return tx;
}

static struct bole_ref_update branch_update(const struct gcworld *w, char *name, int branch,
                                            int node)
{
	snprintf(name, 32, "refs/heads/b%d", branch);
	if (node == GC_NONE)
		return suite_delete(name);
	return suite_set(name, &w->nodes[node].oid);
}

void gcworld_end(struct gcworld *w, struct bole_tx *tx, int branch, int node)
{
	char name[32];
	size_t failed;

	pthread_mutex_lock(&w->lock);
	struct bole_ref_update update = branch_update(w, name, branch, node);
	pthread_mutex_unlock(&w->lock);
	OK(bole_tx_commit(tx, &update, 1, &failed));
	pthread_mutex_lock(&w->lock);
	w->branch[branch] = node;
	pthread_mutex_unlock(&w->lock);
}

void gcworld_delete(struct gcworld *w, int branch)
{
	gcworld_end(w, gcworld_begin(w), branch, GC_NONE);
}

/* -- Objects -- */

/* Each node is remembered by id: the same content is the same node. */
static int node_add(struct gcworld *w, const struct bole_oid *oid, uint8_t type, const int *links,
                    int count)
{
	pthread_mutex_lock(&w->lock);
	int at = 0;
	while (at < w->count && !bole_oid_equal(&w->nodes[at].oid, oid))
		at++;
	if (at == w->count) {
		if (w->count == w->cap) {
			w->cap = w->cap == 0 ? 64 : w->cap * 2;
			w->nodes = realloc(w->nodes, (size_t)w->cap * sizeof *w->nodes);
			check(w->nodes != NULL);
		}
		struct gc_node *node = &w->nodes[w->count++];

		*node = (struct gc_node){
		        .oid = *oid, .type = type, .link_count = count, .base = GC_NONE};
		check(count <= GC_LINKS_MAX);
		if (count > 0)
			memcpy(node->links, links, (size_t)count * sizeof *links);
	}
	pthread_mutex_unlock(&w->lock);
	return at;
}

static struct bole_oid node_oid(struct gcworld *w, int node)
{
	pthread_mutex_lock(&w->lock);
	struct bole_oid oid = w->nodes[node].oid;
	pthread_mutex_unlock(&w->lock);
	return oid;
}

static uint8_t node_type(struct gcworld *w, int node)
{
	pthread_mutex_lock(&w->lock);
	uint8_t type = w->nodes[node].type;
	pthread_mutex_unlock(&w->lock);
	return type;
}

static int node_write(struct gcworld *w, struct bole_tx *tx, uint8_t type, struct bole_bytes text,
                      const int *links, int count)
{
	struct bole_object_writer *writer;
	struct bole_oid oid;

	OK(bole_object_writer_open(tx, &w->test.alloc, 1, &writer));
	OK(bole_object_write(writer, type, text, &oid));
	bole_object_writer_close(writer);
	return node_add(w, &oid, type, links, count);
}

static void tree_text(struct gcworld *w, const int *entries, int count, struct maker_bytes *out)
{
	/* Named so that the order is that of Git, files and directories alike. */
	for (int i = 0; i < count; i++) {
		struct bole_oid oid = node_oid(w, entries[i]);
		char name[16];

		snprintf(name, sizeof name, "n%02d", i);
		tree_entry(out, node_type(w, entries[i]) == BOLE_OBJECT_TREE ? "40000" : "100644",
		           name, &oid);
	}
}

static void commit_text_of(struct gcworld *w, int tree, const int *parents, int count,
                           struct maker_bytes *out)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_oid oid = node_oid(w, tree);

	maker_text(out, "tree %s\n", bole_oid_format(&oid, hex));
	for (int i = 0; i < count; i++) {
		oid = node_oid(w, parents[i]);
		maker_text(out, "parent %s\n", bole_oid_format(&oid, hex));
	}
	pthread_mutex_lock(&w->lock);
	unsigned long long number = test_random(&w->seed);
	unsigned now = ++w->clock;
	pthread_mutex_unlock(&w->lock);
	maker_text(out, "author A <a@b> %u +0000\ncommitter A <a@b> %u +0000\n\n%llx\n", now, now,
	           number);
}

int gcworld_blob(struct gcworld *w, struct bole_tx *tx, const char *text)
{
	return node_write(w, tx, BOLE_OBJECT_BLOB, bole_bytes_z(text), NULL, 0);
}

int gcworld_tree(struct gcworld *w, struct bole_tx *tx, const int *entries, int count)
{
	struct maker_bytes text = {0};

	tree_text(w, entries, count, &text);
	int node = node_write(w, tx, BOLE_OBJECT_TREE, bole_bytes_of(text.ptr, text.len), entries,
	                      count);
	maker_release(&text);
	return node;
}

int gcworld_commit(struct gcworld *w, struct bole_tx *tx, int tree, const int *parents, int count)
{
	struct maker_bytes text = {0};
	int links[GC_LINKS_MAX] = {tree};

	for (int i = 0; i < count; i++)
		links[i + 1] = parents[i];
	commit_text_of(w, tree, parents, count, &text);
	int node = node_write(w, tx, BOLE_OBJECT_COMMIT, bole_bytes_of(text.ptr, text.len), links,
	                      count + 1);
	maker_release(&text);
	return node;
}

int gcworld_tag(struct gcworld *w, struct bole_tx *tx, int target)
{
	struct bole_oid oid = node_oid(w, target);
	struct maker_bytes text = {0};
	char hex[BOLE_OID_HEX_MAX + 1];

	maker_text(&text, "object %s\ntype %s\ntag t%d\ntagger A <a@b> 1 +0000\n\nx\n",
	           bole_oid_format(&oid, hex), bole_object_type_name(node_type(w, target)), target);
	int node =
	        node_write(w, tx, BOLE_OBJECT_TAG, bole_bytes_of(text.ptr, text.len), &target, 1);
	maker_release(&text);
	return node;
}

/* -- Pushes -- */

static uint64_t draw(struct gcworld *w)
{
	pthread_mutex_lock(&w->lock);
	uint64_t value = test_random(&w->seed);
	pthread_mutex_unlock(&w->lock);
	return value;
}

/* Text that deflates badly, so that packs are long enough. */
static size_t blob_text(struct gcworld *w, char *dst)
{
	size_t len = 100 + draw(w) % (TEXT_MAX - 200);
	uint64_t state = draw(w);

	for (size_t i = 0; i < len; i++)
		dst[i] = (char)('!' + test_random(&state) % 90);
	return len;
}

int gcworld_write(struct gcworld *w, int branch, int parent, int commits)
{
	struct bole_tx *tx = gcworld_begin(w);
	int at = parent;

	for (int i = 0; i < commits; i++) {
		int files[FILES + 1];
		char text[64];

		for (int n = 0; n < FILES; n++) {
			snprintf(text, sizeof text, "%llx", (unsigned long long)draw(w));
			files[n] = gcworld_blob(w, tx, text);
		}
		files[FILES] = gcworld_tree(w, tx, files, 2);
		int tree = gcworld_tree(w, tx, files, FILES + 1);
		at = gcworld_commit(w, tx, tree, &at, at == GC_NONE ? 0 : 1);
	}
	gcworld_end(w, tx, branch, at);
	return at;
}

struct pusher {
	struct gcworld *w;
	struct packmaker pack;
	char base_text[TEXT_MAX];
	size_t base_len;
	uint64_t base_at; /* offset of the last whole blob */
	int base;
};

/* A blob: whole, or the last whole one with something behind it. */
static int push_blob(struct pusher *p, bool delta)
{
	struct bole_oid oid;
	char text[TEXT_MAX];

	if (!delta || p->base == GC_NONE) {
		p->base_len = blob_text(p->w, p->base_text);
		p->base_at = packmaker_object(&p->pack, BOLE_OBJECT_BLOB, p->base_text, p->base_len,
		                              &oid);
		p->base = node_add(p->w, &oid, BOLE_OBJECT_BLOB, NULL, 0);
		return p->base;
	}
	struct maker_bytes instructions = {0};
	char more[32];
	uint8_t more_len =
	        (uint8_t)snprintf(more, sizeof more, "+%llx", (unsigned long long)draw(p->w));

	delta_begin(&instructions, p->base_len, p->base_len + more_len);
	delta_copy(&instructions, 0, (uint32_t)p->base_len);
	delta_insert(&instructions, more, more_len);
	(void)packmaker_ofs(&p->pack, p->base_at, &instructions);
	maker_release(&instructions);
	memcpy(text, p->base_text, p->base_len);
	memcpy(text + p->base_len, more, more_len);
	OK(bole_object_id(p->w->repo.algo, BOLE_OBJECT_BLOB,
	                  bole_bytes_of(text, p->base_len + more_len), false, &oid));
	int node = node_add(p->w, &oid, BOLE_OBJECT_BLOB, NULL, 0);
	pthread_mutex_lock(&p->w->lock);
	p->w->nodes[node].base = p->base;
	pthread_mutex_unlock(&p->w->lock);
	return node;
}

static int push_commit(struct pusher *p, int parent, bool deltas)
{
	struct maker_bytes text = {0};
	int links[GC_LINKS_MAX];
	struct bole_oid oid;

	for (int i = 0; i < FILES; i++)
		links[i] = push_blob(p, deltas && draw(p->w) % 4 != 0);
	tree_text(p->w, links, FILES, &text);
	(void)packmaker_object(&p->pack, BOLE_OBJECT_TREE, text.ptr, text.len, &oid);
	links[0] = node_add(p->w, &oid, BOLE_OBJECT_TREE, links, FILES);
	text.len = 0;
	links[1] = parent;
	int parents = parent == GC_NONE ? 0 : 1;
	commit_text_of(p->w, links[0], &parent, parents, &text);
	(void)packmaker_object(&p->pack, BOLE_OBJECT_COMMIT, text.ptr, text.len, &oid);
	maker_release(&text);
	return node_add(p->w, &oid, BOLE_OBJECT_COMMIT, links, 1 + parents);
}

static void ingest(struct gcworld *w, struct bole_tx *tx, const struct packmaker *pack)
{
	struct bole_ingest job = {.platform = &w->test.base, .alloc = &w->test.alloc, .tx = tx};
	struct bole_ingest_report report;
	struct bole_bytes_reader reader;
	struct bole_input input;
	uint8_t buffer[4096];

	bole_bytes_reader_init(&reader, bole_bytes_of(pack->out.ptr, pack->out.len));
	bole_input_init(&input, &reader.reader, buffer, sizeof buffer);
	OK(bole_pack_ingest(&job, &input, &report));
}

int gcworld_push(struct gcworld *w, int branch, int parent, int commits, bool deltas)
{
	struct pusher *p = calloc(1, sizeof *p);
	int at = parent;

	check(p != NULL);
	p->w = w;
	p->base = GC_NONE;
	packmaker_init(&p->pack, w->repo.algo);
	for (int i = 0; i < commits; i++)
		at = push_commit(p, at, deltas);
	packmaker_finish(&p->pack);
	struct bole_tx *tx = gcworld_begin(w);
	ingest(w, tx, &p->pack);
	gcworld_end(w, tx, branch, at);
	packmaker_release(&p->pack);
	free(p);
	return at;
}

/* -- Collecting, checking -- */

enum bole_status gcworld_collect(struct gcworld *w, const struct bole_gc_options *options,
                                 struct bole_gc_result *result)
{
	return bole_gc(&w->test.base, &w->test.alloc, w->store, w->repo.id, options, result);
}

bool gcworld_has(struct gcworld *w, int node)
{
	struct bole_entry entry;
	struct bole_oid oid = node_oid(w, node);
	enum bole_status rc =
	        suite_find_now(&(struct store_suite){.store = w->store}, w->repo.id, &oid, &entry);

	check(rc == BOLE_OK || rc == BOLE_E_NOT_FOUND);
	return rc == BOLE_OK;
}

/* Until nothing changes: plain, and no copy of what is tested. */
static void live_compute(struct gcworld *w)
{
	bool changed = true;

	for (int i = 0; i < w->count; i++)
		w->nodes[i].live = false;
	for (int i = 0; i < GC_BRANCHES; i++)
		if (w->branch[i] != GC_NONE)
			w->nodes[w->branch[i]].live = true;
	while (changed) {
		changed = false;
		for (int i = w->count - 1; i >= 0; i--) {
			const struct gc_node *node = &w->nodes[i];

			for (int n = 0; node->live && n < node->link_count; n++) {
				changed |= !w->nodes[node->links[n]].live;
				w->nodes[node->links[n]].live = true;
			}
			if (node->live && node->base != GC_NONE) {
				changed |= !w->nodes[node->base].live;
				w->nodes[node->base].live = true;
			}
		}
	}
}

int gcworld_garbage(struct gcworld *w, int *findable)
{
	int garbage = 0;

	live_compute(w);
	*findable = 0;
	for (int i = 0; i < w->count; i++) {
		if (w->nodes[i].live)
			continue;
		garbage++;
		*findable += gcworld_has(w, i);
	}
	return garbage;
}

static void print_finding(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "%s\n", text);
}

uint64_t gcworld_check(struct gcworld *w, bool exact)
{
	struct bole_verify_report report = {.finding = print_finding};
	struct bole_verify_result result;
	struct bole_snapshot *snapshot;

	live_compute(w);
	for (int i = 0; i < w->count; i++) {
		bool there = gcworld_has(w, i);

		check(there || !w->nodes[i].live);
		check(!exact || there == w->nodes[i].live);
	}
	OK(bole_snapshot_open(w->store, w->repo.id, &snapshot));
	OK(bole_verify(&w->test.base, snapshot, &w->test.alloc, &report, &result));
	check_eq(result.errors, 0);
	bole_snapshot_close(snapshot);
	return result.commits + result.trees + result.blobs + result.tags;
}
