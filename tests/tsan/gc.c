/* SPDX-License-Identifier: ISC */
/* Collections under ThreadSanitizer, beside threads that push, delete and stand on what they saw
 * before, and one that clones. On the memory store, and on a volume. */
#include <stdio.h>
#include <stdlib.h>

#include "bole/devices.h"
#include "bole/verify.h"
#include "support/gcworld.h"
#include "support/suite_help.h"

enum { WORKERS = 3, STEPS = 60, DISK_BYTES = 64 << 20 };

static struct gcworld w;
static _Atomic int workers_left;

static void step(int branch, uint64_t *seed, int *seen, int *count)
{
	int from = *count == 0 ? GC_NONE : seen[test_random(seed) % (uint64_t)*count];
	struct bole_entry entry;
	struct bole_oid oid;

	if (test_random(seed) % 4 == 0) {
		gcworld_delete(&w, branch);
		return;
	}
	struct bole_tx *tx = gcworld_begin(&w);
	pthread_mutex_lock(&w.lock);
	if (from != GC_NONE)
		oid = w.nodes[from].oid;
	pthread_mutex_unlock(&w.lock);
	if (from != GC_NONE && bole_odb_find(tx->view, &oid, &entry) != BOLE_OK)
		from = GC_NONE;
	int blob = gcworld_blob(&w, tx, *count % 3 == 0 ? "again" : "and again");
	int tree = gcworld_tree(&w, tx, &blob, 1);
	int commit = gcworld_commit(&w, tx, tree, &from, from == GC_NONE ? 0 : 1);
	gcworld_end(&w, tx, branch, commit);
	seen[(*count)++] = commit;
}

static void worker(void *arg)
{
	int branch = (int)(intptr_t)arg;
	uint64_t seed = (uint64_t)branch + 100;
	int seen[STEPS];
	int count = 0;

	for (int i = 0; i < STEPS; i++)
		step(branch, &seed, seen, &count);
	workers_left--;
}

static void print_finding(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "%s\n", text);
}

static void reader(void *arg)
{
	struct bole_verify_report report = {.finding = print_finding};
	struct bole_verify_result result;
	struct bole_snapshot *snapshot;

	(void)arg;
	while (workers_left > 0) {
		OK(bole_snapshot_open(w.store, w.repo.id, &snapshot));
		OK(bole_verify(&w.test.base, snapshot, &w.test.alloc, &report, &result));
		check_eq(result.errors, 0);
		bole_snapshot_close(snapshot);
	}
}

static void run(struct bole_block *device)
{
	struct bole_gc_result result;
	unsigned collections = 0;
	enum bole_status rc;

	gcworld_open(&w, device, BOLE_HASH_SHA1, 12);
	(void)gcworld_push(&w, 0, GC_NONE, 30, true);
	workers_left = WORKERS;
	for (int i = 0; i < WORKERS; i++)
		OK(w.test.base.ops->fiber_start(&w.test.base, "worker", worker,
		                                (void *)(intptr_t)(i + 1), 0));
	OK(w.test.base.ops->fiber_start(&w.test.base, "reader", reader, NULL, 0));
	do {
		rc = gcworld_collect(&w, NULL, &result);
		if (rc != BOLE_OK)
			fprintf(stderr, "%s\n", result.error);
		OK(rc);
		collections++;
		(void)!bole_store_maintain(w.store, NULL, NULL);
	} while (workers_left > 0);
	test_platform_join(&w.test);
	rc = gcworld_collect(&w, NULL, &result);
	if (rc != BOLE_OK)
		fprintf(stderr, "%s\n", result.error);
	OK(rc);
	(void)gcworld_check(&w, true);
	printf("%u collections on %s\n", collections, w.store->info.kind);
	gcworld_close(&w);
}

int main(void)
{
	struct test_platform test;
	struct bole_block *device;

	run(NULL);
	test_platform_init(&test, 1);
	OK(bole_block_ram_open(&test.alloc, DISK_BYTES, 512, &device));
	run(device);
	bole_block_close(device);
	test_platform_release(&test);
	return 0;
}
