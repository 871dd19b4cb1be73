/* SPDX-License-Identifier: ISC */
/* A repository whose objects a test knows by content and by link, and random pieces of history for
 * it: merges, several roots, shared trees, tags of anything, deltas of every kind, old tips that
 * come back after they were collected. Any failure ends the program. */
#ifndef BOLE_TESTS_DAGWORLD_H
#define BOLE_TESTS_DAGWORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/store.h"
#include "support/packmaker.h"
#include "support/platform.h"

enum { DAG_LINKS_MAX = 8, DAG_REFS = 14, DAG_HEADS = 7, DAG_TAGS = 12, DAG_NONE = -1 };

struct dag_node {
	struct bole_oid oid;
	struct maker_bytes text;
	uint8_t type;
	int links[DAG_LINKS_MAX];
	int link_count;
};

struct dagworld {
	struct test_platform test;
	struct bole_block *device; /* borrowed; NULL: the memory store */
	struct bole_store *store;
	struct bole_repo repo;
	struct dag_node *nodes;
	int count;
	int cap;
	int *slots; /* of nodes, by id */
	size_t slot_count;
	int refs[DAG_REFS]; /* nodes; DAG_HEADS branches, then tags up to DAG_TAGS, then others */
	uint64_t seed;
	int *piece; /* what the next push brings */
	int piece_count;
	int piece_cap;
	bool plain; /* packs in order, and deltas by offsets alone */
	/* Called once when the next push has been received and is not committed yet; may be NULL.
	 * It leaves the piece alone. */
	void (*meanwhile)(void);
};

void dag_open(struct dagworld *, struct bole_block *device, uint8_t algo, uint64_t seed);
void dag_close(struct dagworld *);
/* A store on a device is closed and opened again. */
void dag_reopen(struct dagworld *);
const char *dag_ref_name(int ref);

/* Below n. */
int dag_draw(struct dagworld *, int n);
/* Node of an id, or DAG_NONE. */
int dag_find(const struct dagworld *, const struct bole_oid *);
bool dag_has(struct dagworld *, int node);
/* One that is in the store, of a type (0 = any), or DAG_NONE when a few tries find none. */
int dag_pick(struct dagworld *, uint8_t type);
/* Adds what nodes reach; at ends (by node; may be NULL) without parents. */
void dag_reach(const struct dagworld *, const int *starts, int count, const bool *ends, bool *set);

/* A piece of up to so many commits on what is there; returns the node to set a reference to. */
int dag_grow(struct dagworld *, int commits);
/* A chain of so many commits on the first branch, of trees that are there. */
int dag_chain(struct dagworld *, int commits);
/* A piece of all that something lacks to be there. */
void dag_bring_back(struct dagworld *, int node);
/* Puts a node into the piece. */
void dag_take(struct dagworld *, int node);
/* Publishes the piece as a pack or as records, and sets a reference to a node (DAG_NONE: deletes
 * it). False: the volume is full, nothing happened. */
bool dag_push(struct dagworld *, bool pack, int ref, int node);
/* What receiving the piece as a pack says, of which nothing is kept. */
enum bole_status dag_try(struct dagworld *);

#endif /* BOLE_TESTS_DAGWORLD_H */
