/* SPDX-License-Identifier: ISC */
/* The format on the device: names, positions and sizes of everything that is written.
 * docs/FORMAT.md has the tables with the same names. All integers are little-endian. */
#ifndef BOLE_FLASH_FORMAT_H
#define BOLE_FLASH_FORMAT_H

#include <stdint.h>

/* Geometry. */
enum {
	FLASH_VERSION = 2,
	FLASH_SEGMENTS_MIN = 256,
	FLASH_SEGMENTS_RAW_MIN = 64, /* raw flash with long erase blocks */
	FLASH_SEGMENTS_MAX = 65536,
	FLASH_UNIT_MANAGED =
	        512, /* a managed device is programmed in these, or more if it says so */
	FLASH_UNIT_RAW_MIN = 16, /* NOR: what a cut may spoil */
	FLASH_UNIT_MAX = 65536,
	FLASH_SEGMENT_BYTES_MIN = 16 << 10,
	FLASH_SEGMENT_BYTES_MANAGED = 1 << 20,
	FLASH_SEGMENT_BYTES_MAX = 16 << 20, /* a place has 24 bits for the offset */
	FLASH_AREA_ALIGN = 64 << 10,        /* the first segment of a managed device */
	FLASH_ANCHOR_BLOCKS = 64,           /* raw flash: the first area begins in one of them */
	FLASH_ANCHOR_SLOTS_MAX = 65536,     /* in an area */
	FLASH_ANCHOR_TAIL = 128 << 10,      /* managed: the second area lies in the last ones */
	FLASH_FRAGMENT_BYTES = 64 << 10,    /* of an extent, with its head, at most */
	FLASH_RECORD_BYTES_MAX = 512 << 10, /* an entry in a record, at most; also <= S / 2 */
};

/* Incompatible features. */
enum {
	/* Pages of runs are as short on managed devices as on raw flash, and a run whose rows fit
	 * into one page has no fences. */
	FLASH_INCOMPAT_SHORT_RUNS = 1,
	FLASH_SHORT_RUNS_BELOW = 64 << 10, /* bytes of a segment: a format asks for it */
};

/* Features that a program must know to write. */
enum {
	/* There may be auxiliary records of kinds with BOLE_AUX_KIND_BINDING. Set for good before
	 * the first of them is. */
	FLASH_RO_COMPAT_BINDING = 1,
	/* And of kinds with BOLE_AUX_KIND_PARTIAL, too. */
	FLASH_RO_COMPAT_PARTIAL = 2,
};

/* Anchor: one slot; the rest of the slot is zero. */
#define FLASH_ANCHOR_MAGIC "BoleVol\n"
enum {
	ANCHOR_MAGIC_AT = 0,               /* 8 */
	ANCHOR_VERSION_AT = 8,             /* u32 */
	ANCHOR_BYTES_AT = 12,              /* u32: of the slot; the checksum covers them */
	ANCHOR_CHECKSUM_AT = 16,           /* u64: of all other bytes, seed 0 */
	ANCHOR_GENERATION_AT = 24,         /* u64: the highest valid one wins */
	ANCHOR_COMPAT_AT = 32,             /* u64: unknown bits may be ignored */
	ANCHOR_RO_COMPAT_AT = 40,          /* u64: unknown bits: do not write */
	ANCHOR_INCOMPAT_AT = 48,           /* u64: FLASH_INCOMPAT; unknown bits: do not open */
	ANCHOR_VOLUME_AT = 56,             /* 16: random id */
	ANCHOR_KEY_AT = 72,                /* 16: random key, seeds every other checksum */
	ANCHOR_LABEL_AT = 88,              /* 32 */
	ANCHOR_KIND_AT = 120,              /* u32: enum bole_block_kind */
	ANCHOR_UNIT_AT = 124,              /* u32 */
	ANCHOR_SEGMENT_BYTES_AT = 128,     /* u64 */
	ANCHOR_SEGMENTS_AT = 136,          /* u32 */
	ANCHOR_SLOTS_AT = 140,             /* u32: slots in each anchor area */
	ANCHOR_AREA_AT = 144,              /* u64: byte offset of segment 0 */
	ANCHOR_FIRST_AT = 152,             /* u64: byte offset of the first anchor area */
	ANCHOR_SECOND_AT = 160,            /* u64: byte offset of the second */
	ANCHOR_DEVICE_BYTES_AT = 168,      /* u64: what the volume needs */
	ANCHOR_LOG_SEGMENT_AT = 176,       /* u32: where replay starts */
	ANCHOR_LOG_OFFSET_AT = 180,        /* u32: 0 = not opened yet, it is the next one */
	ANCHOR_LOG_SEQUENCE_AT = 184,      /* u64: of that segment */
	ANCHOR_LOG_NEXT_AT = 192,          /* u32: the segment after it */
	ANCHOR_CHECKPOINT_AT = 196,        /* u32: number of the checkpoint */
	ANCHOR_BATCH_AT = 200,             /* u64: sequence of the next batch */
	ANCHOR_LINK_AT = 208,              /* u64: link of the batch before it */
	ANCHOR_OPENED_AT = 216,            /* u32: segments opened so far */
	ANCHOR_MAP_COUNT_AT = 220,         /* u32: places of the checkpoint's newest element */
	ANCHOR_STREAM_AT = 224,            /* u64: extent number of that element; 0 = none */
	ANCHOR_STREAM_BYTES_AT = 232,      /* u64 */
	ANCHOR_STREAM_DIGEST_AT = 240,     /* u64: of the whole element, seed = extent number */
	ANCHOR_LOG_NEXT_SEQUENCE_AT = 248, /* u64: planned for the segment after it */
	ANCHOR_MAP_AT = 256,               /* places of its map, or of its fragments if few */
	ANCHOR_SLOT_MANAGED = 4096,
	ANCHOR_SLOT_RAW_MIN = 512,
	ANCHOR_SLOTS_MANAGED = 8, /* fewer where the unit is long */
};

/* Place: names a fragment from elsewhere. */
enum {
	PLACE_SEGMENT_AT = 0,   /* u32 */
	PLACE_OFFSET_AT = 4,    /* u32: of the record head in the segment */
	PLACE_SEQUENCE_AT = 8,  /* u64: of the segment */
	PLACE_LENGTH_AT = 16,   /* u32: payload bytes */
	PLACE_STREAM_AT = 20,   /* u32: the record kind of the fragment */
	PLACE_CHECKSUM_AT = 24, /* u64: the record's checksum */
	PLACE_BYTES = 32,
};

/* Segment head, at offset 0. */
enum {
	SEGMENT_CHECKSUM_AT = 0,       /* u64, of the other 56 bytes */
	SEGMENT_MAGIC_AT = 8,          /* u32 */
	SEGMENT_NUMBER_AT = 12,        /* u32 */
	SEGMENT_SEQUENCE_AT = 16,      /* u64: count of openings << 32, plus random */
	SEGMENT_KIND_AT = 24,          /* u32: enum flash_segment_kind */
	SEGMENT_ERASES_AT = 28,        /* u32 */
	SEGMENT_NEXT_AT = 32,          /* u32, log only: the log's next segment */
	SEGMENT_BATCH_AT = 40,         /* u64, log only: sequence of the first batch */
	SEGMENT_LINK_AT = 48,          /* u64, log only: link of the batch before it */
	SEGMENT_NEXT_SEQUENCE_AT = 56, /* u64, log only: the sequence planned for it */
	SEGMENT_HEAD_BYTES = 64,
	SEGMENT_MAGIC = 0x67655342, /* "BSeg" */
};
enum flash_segment_kind {
	FLASH_SEGMENT_LOG = 1,        /* batches */
	FLASH_SEGMENT_DATA = 2,       /* fragments of extents */
	FLASH_SEGMENT_CHECKPOINT = 3, /* fragments of checkpoints */
	FLASH_SEGMENT_INDEX = 4,      /* pages of sorted runs, from the second page on */
};

/* Record: head, key, body. */
enum {
	RECORD_CHECKSUM_AT = 0,    /* u64: of everything after it, seeded with the place */
	RECORD_KIND_AT = 8,        /* u8; 0 = padding up to the trailer */
	RECORD_TYPE_AT = 9,        /* u8: object type */
	RECORD_KEY_BYTES_AT = 10,  /* u8 */
	RECORD_FLAGS_AT = 11,      /* u8 */
	RECORD_BODY_BYTES_AT = 12, /* u32 */
	RECORD_OWNER_AT = 16,      /* u32: domain or repository */
	RECORD_HEAD_BYTES = 20,
};
enum flash_record_kind {
	FLASH_RECORD_OBJECT = 1,
	FLASH_RECORD_EXTENT = 2,
	FLASH_RECORD_REFS = 3,
	FLASH_RECORD_AUX = 4,
	FLASH_RECORD_REPO = 5, /* created, or as a checkpoint shows it */
	FLASH_RECORD_RENAME = 6,
	FLASH_RECORD_REMOVE = 7,
	FLASH_RECORD_PREPARE = 8,
	FLASH_RECORD_RESOLVE = 9,   /* commits or aborts what is prepared */
	FLASH_RECORD_DROP = 10,     /* an object is removed */
	FLASH_RECORD_SEGMENTS = 16, /* checkpoint only, as are the next six */
	FLASH_RECORD_RUN = 17,
	FLASH_RECORD_AUX_PLACE = 18,
	FLASH_RECORD_COUNTERS = 19,
	FLASH_RECORD_END = 20,
	FLASH_RECORD_ROWS = 21,  /* of a domain's index that are in memory; none: forget them */
	FLASH_RECORD_CHAIN = 22, /* the first one of a delta */
	FLASH_RECORD_EXTENT_GONE = 23, /* body: EXTENT_ID, of one that is no more */
	FLASH_FRAGMENT_DATA = 32,      /* in data segments; CHECKPOINT in checkpoint segments */
	FLASH_FRAGMENT_TABLE = 33,
	FLASH_FRAGMENT_MAP = 34,
	FLASH_FRAGMENT_CHECKPOINT = 35,
	FLASH_FRAGMENT_MOVED = 36, /* extent 0: whole records that the cleaner moved */
};
enum {
	FLASH_FLAG_PREPARED = 1, /* belongs to the PREPARE record before it */
};

/* Fragment: a record without key whose body starts with these. */
enum {
	FRAGMENT_EXTENT_AT = 0,  /* u64 */
	FRAGMENT_LOGICAL_AT = 8, /* u64: position in its stream */
	FRAGMENT_HEAD_BYTES = 16,
};

/* Batch trailer: the last bytes of a batch, ending at a unit. */
enum {
	TRAILER_MAGIC_AT = 0,     /* u32 */
	TRAILER_FLAGS_AT = 4,     /* u32 */
	TRAILER_BYTES_AT = 8,     /* u32: of the batch with its trailer */
	TRAILER_RECORDS_AT = 12,  /* u32 */
	TRAILER_SEQUENCE_AT = 16, /* u64 */
	TRAILER_DURABLE_AT = 24,  /* u64: the last batch known flushed when this was written */
	TRAILER_CHAIN_AT = 32,    /* u64: link of the batch before */
	TRAILER_DIGEST_AT = 40,   /* u64: of the records and padding, seeded with their place */
	TRAILER_LINK_AT = 48,     /* u64: of the 48 bytes before, seeded with their place */
	TRAILER_BYTES = 56,
	TRAILER_MAGIC = 0x6c725442, /* "BTrl" */
};
enum {
	FLASH_BATCH_CONTINUES = 1,   /* the next batch belongs to the same group */
	FLASH_BATCH_SEAL = 2,        /* a clean stop */
	FLASH_BATCH_CONFIRM = 8,     /* the seal before it was flushed; no part of the log */
	FLASH_BATCH_AGAIN = 4,       /* repeats the records of a batch that a cut left in doubt */
	FLASH_BATCH_AFTER_SHIFT = 8, /* from this bit on: the checkpoint that it comes after */
	FLASH_BATCH_AFTER_MASK = 0xffffff,
};

/* Body of EXTENT: this, the places of the map's fragments; then, unless there is no row, the
 * descriptors of the runs that are its table and its order, and for each chunk of the two the
 * sequence (u64) of its segment. */
enum {
	EXTENT_ID_AT = 0,         /* u64 */
	EXTENT_DATA_BYTES_AT = 8, /* u64 */
	EXTENT_ROWS_AT = 16,      /* u64 */
	EXTENT_MAP_BYTES_AT = 24, /* u64 */
	EXTENT_MAP_COUNT_AT = 32, /* u32 */
	EXTENT_SLOT_AT = 36,      /* u32: unique among the domain's extents */
	EXTENT_MAP_AT = 40,
	EXTENT_SEQUENCE_BYTES = 8,
};

/* Row of an extent's order: a run by offset. */
enum {
	ORDER_OFFSET_AT = 0,    /* u48, big-endian */
	ORDER_STORED_AT = 6,    /* u40 */
	ORDER_TYPE_AT = 11,     /* u8 */
	ORDER_CHECKSUM_AT = 12, /* u32: as in the table */
	ORDER_NUMBER_AT = 16,   /* u32, big-endian: of the row in the table */
	ORDER_BYTES = 20,
	ORDER_KEY_BYTES = 6,
};

/* Row of an extent's table after the id; rows are sorted by id, then offset. */
enum {
	ROW_OFFSET_AT = 0,    /* u48 */
	ROW_STORED_AT = 6,    /* u40 */
	ROW_TYPE_AT = 11,     /* u8 */
	ROW_CHECKSUM_AT = 12, /* u32: of the stored bytes, seed = extent number */
	ROW_BYTES = 16,
};

/* One reference update in the body of REFS: this, then name and target. */
enum {
	REF_ACTION_AT = 0,       /* u8: enum bole_ref_action; VERIFY never occurs */
	REF_FLAGS_AT = 1,        /* u8 */
	REF_NAME_BYTES_AT = 2,   /* u16 */
	REF_TARGET_BYTES_AT = 4, /* u16 */
	REF_OLD_AT = 6,          /* 32: what it held, zero = nothing or symbolic */
	REF_OID_AT = 38,         /* 32 */
	REF_PEELED_AT = 70,      /* 32 */
	REF_HEAD_BYTES = 102,
};
enum {
	FLASH_REF_HAS_PEELED = 1,
};

/* Body of AUX: this, then key and this part of the value. */
enum {
	AUX_CLASS_AT = 0,     /* u8 */
	AUX_KEY_BYTES_AT = 1, /* u8 */
	AUX_KIND_AT = 2,      /* u16 */
	AUX_PART_AT = 4,      /* u16 */
	AUX_PARTS_AT = 6,     /* u16: 0 = the key is removed */
	AUX_TOTAL_AT = 8,     /* u32: of the whole value */
	AUX_HEAD_BYTES = 12,
};

/* Body of REPO (owner = repository): this, then the name. RENAME: the name. */
enum {
	REPO_DOMAIN_AT = 0, /* u32 */
	REPO_ALGO_AT = 4,   /* u8 */
	REPO_HEAD_BYTES = 8,
};

/* Body of PREPARE and RESOLVE; owner = repository. */
enum {
	PREPARE_TOKEN_AT = 0,   /* 16 */
	RESOLVE_COMMIT_AT = 16, /* u8 */
	PREPARE_BYTES = 24,
	FLASH_TOKEN_BYTES = 16,
};

/* Body of RUN (owner = domain): this, then the descriptors of its runs, newest first. */
enum {
	RUNS_SLOT_AT = 0,    /* u32: the next slot of an extent */
	RUNS_COUNT_AT = 4,   /* u32 */
	RUNS_OBJECTS_AT = 8, /* u64: that are alive, duplicates in extents included */
	RUNS_HEAD_BYTES = 16,
};

/* Body of DROP with a key (the id; owner = domain): one of these for each row that is dead. With
 * the prepared flag it is a byte: the rows are named when the transaction is resolved. Written by
 * earlier builds; what is dropped now is in lists. */
enum {
	DROP_TYPE_AT = 0,        /* u8: object type; INDEX_EXTENT_ROW: the place is slot and row */
	DROP_PLACE_AT = 1,       /* 5, big-endian */
	DROP_BEFORE_AT = 6,      /* 5: the place before a move that was not durable */
	DROP_GENERATION_AT = 11, /* u32: of the anchor that makes the move durable; 0 = not moved */
	DROP_LENGTH_AT = 15,     /* u32: bytes that lived there; 0 for a row of an extent */
	DROP_BYTES = 19,
};

/* Body of DROP without a key (owner = domain), a list: this, the id, and where the type says that
 * it was moved what follows, for each row that is dead. */
enum {
	DROP_LIST_TYPE_AT = 0,   /* u8: as above, and DROP_LIST_MOVED */
	DROP_LIST_PLACE_AT = 1,  /* 5, big-endian */
	DROP_LIST_LENGTH_AT = 6, /* u24: bytes that lived there; 0 for a row of an extent */
	DROP_LIST_HEAD_BYTES = 9,
	DROP_LIST_MOVED = 0x80,
	/* Behind the id. */
	DROP_LIST_BEFORE_AT = 0,     /* 5, big-endian */
	DROP_LIST_GENERATION_AT = 5, /* u32 */
	DROP_LIST_MOVED_BYTES = 9,
};

/* Body of COUNTERS. */
enum {
	COUNTERS_EXTENT_AT = 0,  /* u64: next extent number */
	COUNTERS_REPO_AT = 8,    /* u32: next repository */
	COUNTERS_DOMAIN_AT = 12, /* u32: next domain */
	COUNTERS_BYTES = 16,
};

/* Body of SEGMENTS: groups of this, then a row for each segment from the first one on. */
enum {
	SEGMENTS_FIRST_AT = 0, /* u32 */
	SEGMENTS_COUNT_AT = 4, /* u32 */
	SEGMENTS_ROWS_AT = 8,
	SEGMENT_ROW_SEQUENCE_AT = 0, /* u64 */
	SEGMENT_ROW_ERASES_AT = 8,   /* u32 */
	SEGMENT_ROW_LIVE_AT = 12,    /* u32: bytes that the state names, checkpoints aside */
	SEGMENT_ROW_FLAGS_AT = 16,   /* u8 */
	SEGMENT_ROW_BYTES = 17,
};
enum {
	FLASH_ROW_BAD = 0x80,      /* never used again */
	FLASH_ROW_RETIRING = 0x40, /* will be bad as soon as nothing lives in it */
};

/* Body of CHAIN: the element before this one. */
enum {
	CHAIN_STREAM_AT = 0,  /* u64: extent number */
	CHAIN_BYTES_AT = 8,   /* u64 */
	CHAIN_DIGEST_AT = 16, /* u64 */
	CHAIN_DEPTH_AT = 24,  /* u32: elements before this one */
	CHAIN_COUNT_AT = 28,  /* u32: places */
	CHAIN_PLACES_AT = 32, /* of its map's fragments, or of its own if they are few */
	CHAIN_PLACES_MAX = 8,
};

/* Page of a sorted run: this, then rows, fences or blocks of the filter; the rest is zero. */
enum {
	PAGE_CHECKSUM_AT = 0, /* u64: of the rest of the page, seeded with its place */
	PAGE_NUMBER_AT = 8,   /* u32: in its run */
	PAGE_COUNT_AT = 12,   /* u16: rows, fences or blocks */
	PAGE_PART_AT = 14,    /* u8: enum flash_page_part */
	PAGE_HEAD_BYTES = 16,
	PAGE_BYTES_MANAGED = 4096,
	PAGE_BYTES_RAW_MIN = 1024, /* or a unit, where that is longer */
};
enum flash_page_part {
	FLASH_PAGE_ROWS = 1,
	FLASH_PAGE_FENCES = 2, /* u32 each, big-endian: a part of the first key of a page of rows */
	FLASH_PAGE_FILTER = 3,
};
/* A block of a filter holds FILTER_BLOCK_KEYS keys, about; each sets FILTER_BITS of its bits. */
enum {
	FILTER_BLOCK_BYTES = 64,
	FILTER_BLOCK_KEYS = 64,
	FILTER_BITS = 6,
};

/* Descriptor of a run: this, then its chunks. Its pages, numbered from 0: rows, fences, filter. */
enum {
	RUN_ID_AT = 0,      /* u64 */
	RUN_ROWS_AT = 8,    /* u32 */
	RUN_BLOCKS_AT = 12, /* u32: of the filter, 0 = none */
	RUN_CHUNKS_AT = 16, /* u32 */
	RUN_WIDTH_AT = 20,  /* u8: bytes a row */
	RUN_KEY_AT = 21,    /* u8: that order the rows */
	RUN_SEARCH_AT = 22, /* u8: of those, that are searched for */
	RUN_ZEROS_AT = 23,  /* u8: leading bytes that are zero in every key; fences follow them */
	RUN_HEAD_BYTES = 24,
	CHUNK_SEGMENT_AT = 0, /* u16; pages one after the other in a segment */
	CHUNK_FIRST_AT = 2,   /* u16: the first one's place in the segment, in pages */
	CHUNK_PAGES_AT = 4,   /* u16 */
	CHUNK_BYTES = 6,
};

#endif /* BOLE_FLASH_FORMAT_H */
