/* SPDX-License-Identifier: ISC */
/* Sorted runs on the device: immutable rows of one width, ordered by their first key_len bytes, in
 * pages that verify themselves. The index of objects, the tables of extents and their orders are
 * runs.
 *
 * A run is written once, page by page, into segments of kind FLASH_SEGMENT_INDEX, and named by a
 * descriptor in a checkpoint. After the pages of rows come the fences (a bit of the first key of
 * each page) and, if asked for, the filter. Both are read when they are first useful and kept while
 * the volume's budget allows; whatever is not kept only costs time. With fences a lookup reads one
 * page, or one more when rows that match straddle two.
 *
 * Every row that is handed out lies in a page that verified. Runs are reference-counted; all
 * functions but those of one builder, cursor or merge may be called from any thread or fiber at the
 * same time, without the volume's lock (they read the device). */
#ifndef BOLE_FLASH_RUN_H
#define BOLE_FLASH_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/status.h"
#include "bole/types.h"
#include "flash/volume/open.h"
#include "flash/volume/volume.h"

enum {
	RUN_WIDTH_MAX = 64,   /* bytes a row */
	RUN_FENCE_BYTES = 4,  /* of a key, kept for each page */
	RUN_MATCH_ROWS = 8,   /* handed out by one find */
	RUN_AHEAD_PAGES = 16, /* that a cursor reads at once, if it is told nothing else */
	RUN_AHEAD_SMALL = 2,  /* and where memory is limited */
};

struct flash_run_shape {
	uint8_t width;      /* 4..RUN_WIDTH_MAX */
	uint8_t key_len;    /* rows are ordered by so many bytes; equal keys are allowed */
	uint8_t search_len; /* leading bytes of the key that find is given and the filter holds */
	/* Leading bytes that are zero in every key, at most search_len - RUN_FENCE_BYTES: the
	 * fences are made of what follows. For numbers that do not fill their bytes. */
	uint8_t zeros;
};

/* Where consecutive pages of a run are. */
struct flash_run_chunk {
	uint64_t sequence; /* of the segment, when they were written */
	uint32_t start;    /* number of the first page in the run */
	uint32_t segment;
	uint32_t first; /* its place in the segment, in pages */
	uint32_t pages;
};

struct flash_run {
	_Atomic uint32_t refs;
	struct flash_volume *v;
	struct flash_run_shape shape;
	uint64_t id;
	uint32_t rows;
	uint32_t page_rows;    /* in every page but the last */
	uint32_t row_pages;    /* pages of rows, from number 0 on */
	uint32_t fence_pages;  /* then these */
	uint32_t filter_pages; /* then these */
	uint32_t blocks;       /* of the filter, 0 = none was written */
	uint32_t chunks;
	struct flash_run_chunk *chunk;
	/* Loaded when first needed, never changed after. */
	_Atomic(uint32_t *) fence;
	_Atomic(uint8_t *) filter;
	/* bole_flash_cache_returns() when there was no memory for it; 0 = not tried. */
	_Atomic uint32_t fence_refused;
	_Atomic uint32_t filter_refused;
	_Atomic uint32_t asked;  /* lookups that did without the filter */
	_Atomic uint32_t sought; /* there was one without fences */
};

static inline uint32_t bole_flash_run_pages(const struct flash_run *run)
{
	return run->row_pages + run->fence_pages + run->filter_pages;
}
/* Pages of a run of the index. */
uint64_t bole_flash_run_pages_for(const struct flash_volume *, uint64_t rows);
/* Bytes of the device that it occupies. */
uint64_t bole_flash_run_bytes(const struct flash_run *);
struct flash_run *bole_flash_run_retain(struct flash_run *);
/* The last reference frees memory, nothing else. NULL is fine. */
void bole_flash_run_release(struct flash_run *);
/* What becomes of its bytes on the device. A finished run is held; whoever publishes it says
 * FLASH_HELD_PUBLISHED once, whoever gives it up before that FLASH_HELD_DROPPED, and whoever
 * publishes a state that does not name it any more FLASH_LIVE_DROPPED: readers that still have a
 * reference are protected by their pins. Takes the volume's lock, unless locked. */
void bole_flash_run_change(struct flash_run *, enum flash_change, bool locked);
/* Bytes that lookups could give back. */
size_t bole_flash_run_memory(const struct flash_run *);

/* -- Writing (run_build.c) -- */

struct flash_run_builder {
	struct flash_volume *v;
	struct flash_run *run; /* under construction */
	struct flash_open open;
	enum flash_purpose purpose;
	enum bole_status rc; /* the first failure */
	uint8_t *buf;        /* room for a segment head, then pages that wait to be programmed */
	uint32_t buf_pages;
	uint32_t done;   /* whole pages in buf */
	uint32_t filled; /* rows in the page after them */
	uint32_t pages;  /* whole pages so far, programmed or not */
	uint32_t chunks_cap;
	uint32_t *fence; /* of the pages so far */
	uint32_t fences_cap;
	uint8_t *filter; /* NULL: none is made */
	uint8_t last[RUN_WIDTH_MAX];
};

/* Acquires nothing that abort must give back unless it returns BOLE_OK. rows_max: an upper bound
 * that the filter is sized by (more rows only make it coarser). A filter is left out when there is
 * no memory for it. */
BOLE_MUST_USE enum bole_status bole_flash_run_begin(struct flash_run_builder *,
                                                    struct flash_volume *,
                                                    const struct flash_run_shape *,
                                                    uint64_t rows_max, bool filter,
                                                    enum flash_purpose);
/* Adds count rows of width bytes, in order. BOLE_E_CORRUPT: they are not in order. */
BOLE_MUST_USE enum bole_status bole_flash_run_append(struct flash_run_builder *,
                                                     const uint8_t *rows, size_t count);
/* Writes out the rest. The run is on the device, unflushed, and held. *out is NULL when there was
 * no row. Whatever is returned, the builder is done with. */
BOLE_MUST_USE enum bole_status bole_flash_run_finish(struct flash_run_builder *,
                                                     struct flash_run **out);
/* Gives up: what was written is garbage. */
void bole_flash_run_abort(struct flash_run_builder *);

/* A copy of the run without pages in that segment: those that lay there are elsewhere, the others
 * are shared. What is new is held. */
BOLE_MUST_USE enum bole_status bole_flash_run_evacuate(const struct flash_run *, uint32_t segment,
                                                       enum flash_purpose, struct flash_run **out);
/* What becomes of the pages in which the copy and the old one differ: HELD_PUBLISHED: it takes the
 * old one's place; HELD_DROPPED: it does not. Lock held. */
void bole_flash_run_moved(const struct flash_run *old, const struct flash_run *, enum flash_change);

/* -- Descriptors, for checkpoints (run.c) -- */

size_t bole_flash_run_encoded(const struct flash_run *);
/* Writes bole_flash_run_encoded() bytes. */
void bole_flash_run_encode(const struct flash_run *, uint8_t *dst);
/* Reads one descriptor at the start of src and says how long it was. The segments' sequences must
 * be known (struct flash_segment). Nothing is counted as alive: checkpoints hold those numbers.
 * BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_run_decode(struct flash_volume *, struct bole_bytes src,
                                                     struct flash_run **out, size_t *used);

/* -- Lookups (run.c) -- */

/* Of a key's first search_len bytes, for the filters of all runs of that search_len. */
uint64_t bole_flash_run_hash(const struct flash_volume *, const uint8_t *key, uint32_t search_len);

struct flash_run_match {
	uint32_t row;   /* number of the first row that matches */
	uint32_t count; /* rows that were copied, at least 1 */
	bool more;      /* there may be others: from row + count on, by bole_flash_run_row */
	uint8_t rows[RUN_MATCH_ROWS * RUN_WIDTH_MAX];
};
/* Brings near what find asks first. */
void bole_flash_run_prefetch(const struct flash_run *, uint64_t hash);
/* The rows whose first search_len bytes are key's, in order. hash as above. BOLE_E_NOT_FOUND,
 * BOLE_E_CORRUPT, BOLE_E_IO, BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_flash_run_find(struct flash_run *, const uint8_t *key,
                                                   uint64_t hash, struct flash_run_match *);
/* The number of the first row whose first len bytes (<= key_len) are not below key; run->rows when
 * all are. */
BOLE_MUST_USE enum bole_status bole_flash_run_seek(struct flash_run *, const uint8_t *key,
                                                   uint32_t len, uint32_t *row);
/* Copies a row by its number (< run->rows). */
BOLE_MUST_USE enum bole_status bole_flash_run_row(struct flash_run *, uint32_t row, uint8_t *out);

/* -- In order (run_cursor.c) -- */

/* Goes through the rows with large reads, past the cache. */
struct flash_run_cursor {
	struct flash_run *run; /* borrowed */
	uint32_t next;         /* number of the row that comes next; may be set */
	uint32_t ahead;        /* pages read at once; fewer when memory is short */
	uint32_t first;        /* page number of the first in buf */
	uint32_t pages;        /* in buf, verified */
	uint32_t cap;
	uint8_t *buf;
	uint8_t last[RUN_WIDTH_MAX]; /* the row before buf */
};
/* ahead 0 = as memory allows. Acquires nothing. */
void bole_flash_run_cursor_init(struct flash_run_cursor *, struct flash_run *, uint32_t ahead);
/* The next row, valid until the next call. BOLE_END. Rows out of order are BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_run_next(struct flash_run_cursor *, const uint8_t **row);
void bole_flash_run_cursor_close(struct flash_run_cursor *);
/* Reads every page, verifies it, the order of the rows, the fences and the filter. For checks. */
BOLE_MUST_USE enum bole_status bole_flash_run_verify(struct flash_run *);

/* Several runs of one shape as one sequence: by key, equal keys in the order of the runs. */
struct flash_merge {
	uint32_t runs;
	uint32_t live; /* those in heap */
	struct flash_run_cursor *cursor;
	const uint8_t **row; /* the next one of each run */
	uint32_t *heap;
	uint32_t key_len;
	bool moved; /* the first of heap was handed out */
	uint32_t steps;
	struct flash_volume *v;
};
/* runs: newest first; borrowed. Reads the first rows. On failure nothing is left to close. */
BOLE_MUST_USE enum bole_status bole_flash_merge_open(struct flash_merge *, struct flash_volume *,
                                                     struct flash_run *const *runs, uint32_t count,
                                                     uint32_t ahead);
/* The next row, valid until the next call, and the number of its run. BOLE_END. Yields now and
 * then. */
BOLE_MUST_USE enum bole_status bole_flash_merge_next(struct flash_merge *, const uint8_t **row,
                                                     uint32_t *which);
void bole_flash_merge_close(struct flash_merge *);

#endif /* BOLE_FLASH_RUN_H */
