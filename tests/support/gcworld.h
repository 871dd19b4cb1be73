/* SPDX-License-Identifier: ISC */
/* A store with a repository whose whole graph of objects a test knows, for collecting garbage: what
 * a collection must keep is computed beside it. Any failure that is not asked about ends the
 * program. */
#ifndef BOLE_TESTS_GCWORLD_H
#define BOLE_TESTS_GCWORLD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/gc.h"
#include "bole/store.h"
#include "support/platform.h"

enum { GC_LINKS_MAX = 6, GC_BRANCHES = 12, GC_NONE = -1 };

struct gc_node {
	struct bole_oid oid;
	uint8_t type;
	int links[GC_LINKS_MAX];
	int link_count;
	int base; /* of its delta, or GC_NONE */
	bool live;
};

struct gcworld {
	struct test_platform test;
	struct bole_block *device;                     /* NULL: the memory store */
	const struct bole_flash_open_options *options; /* from the next opening on */
	struct bole_store *store;
	struct bole_repo repo;
	struct gc_node *nodes;
	int count;
	int cap;
	int branch[GC_BRANCHES]; /* node, or GC_NONE */
	uint64_t seed;
	unsigned clock;       /* seconds: each commit takes one */
	pthread_mutex_t lock; /* of nodes, count and branch, where threads work */
};

/* device: borrowed and formatted here, or NULL. */
void gcworld_open(struct gcworld *, struct bole_block *device, uint8_t algo, uint64_t seed);
void gcworld_close(struct gcworld *);
/* Closes and opens a store on a device again. */
void gcworld_reopen(struct gcworld *);
/* The same apart: another device that has the same content may be taken in between. What a close
 * says does not matter: the device may have lost power. */
void gcworld_detach(struct gcworld *);
void gcworld_attach(struct gcworld *, struct bole_block *device);

/* Each writes one object into the transaction and returns its node. */
int gcworld_blob(struct gcworld *, struct bole_tx *, const char *text);
int gcworld_tree(struct gcworld *, struct bole_tx *, const int *entries, int count);
int gcworld_commit(struct gcworld *, struct bole_tx *, int tree, const int *parents, int count);
int gcworld_tag(struct gcworld *, struct bole_tx *, int target);
struct bole_tx *gcworld_begin(struct gcworld *);
/* Sets branch n to a node (GC_NONE: deletes it) as the transaction commits. */
void gcworld_end(struct gcworld *, struct bole_tx *, int branch, int node);

/* Commits with new trees and blobs on top of parents (each may be GC_NONE), pushed as a pack, long
 * enough for an extent now and then, with deltas; returns the last commit. */
int gcworld_push(struct gcworld *, int branch, int parent, int commits, bool deltas);
/* The same through records. */
int gcworld_write(struct gcworld *, int branch, int parent, int commits);
void gcworld_delete(struct gcworld *, int branch);

enum bole_status gcworld_collect(struct gcworld *, const struct bole_gc_options *,
                                 struct bole_gc_result *);
/* Everything live is there, and with exact nothing else; every object reads, hashes to its id and
 * links to objects that are there. Returns the number of objects. */
uint64_t gcworld_check(struct gcworld *, bool exact);
bool gcworld_has(struct gcworld *, int node);
/* How many objects that nothing needs there are, and how many of them are still findable. */
int gcworld_garbage(struct gcworld *, int *findable);

#endif /* BOLE_TESTS_GCWORLD_H */
