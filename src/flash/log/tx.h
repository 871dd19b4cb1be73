/* SPDX-License-Identifier: ISC */
/* Transactions, snapshots, and the queue of the one writer. */
#ifndef BOLE_FLASH_TX_H
#define BOLE_FLASH_TX_H

#include "bole/aux.h"
#include "bole/odb.h"
#include "flash/index/extent.h"
#include "flash/log/reader.h"
#include "flash/log/stream.h"
#include "flash/volume/volume.h"

/* Numbers of homes that are not extents: bole_entry.extent. */
#define FLASH_HOME_RECORD (UINT64_C(1) << 63) /* | segment << 32 | offset */
static inline uint64_t bole_flash_home_of(uint32_t segment, uint32_t offset)
{
	return FLASH_HOME_RECORD | (uint64_t)segment << 32 | offset;
}
#define FLASH_HOME_PUT (UINT64_C(1) << 62) /* | number of the put in its transaction */

/* One put: kept in memory until the commit, or until there are too many bytes. */
struct flash_put {
	uint8_t key[BOLE_OID_BYTES_MAX];
	uint8_t type;
	bool duplicate; /* somebody else published it meanwhile */
	bool absent;    /* the view did not have it */
	bool dropped;   /* by this transaction, later */
	uint32_t at;    /* in data */
	uint32_t stored;
	uint32_t row;  /* in the draft */
	uint64_t hash; /* of the key */
	struct flash_home home;
};

/* A drop: the last word on the id, or followed by a put or extent that brings it again. In a table
 * of drops the word is followed by the rows that were found for the id outside of memory, as a list
 * of the log has them, without the id. */
enum {
	TX_DROP_FINAL = 1,
	TX_DROP_AGAIN = 2,
	TX_DROP_WORDS = TX_DROP_FINAL | TX_DROP_AGAIN,
	TX_DROP_LOOKED_UP = 4, /* the rows are all that there were */
};

/* Puts that were written out as an extent of our own. */
struct flash_spill {
	uint64_t first; /* number of the first put in it */
	struct flash_extent *extent;
};

/* A write of an aux key; bytes: table key, then value. */
struct flash_aux_write {
	uint8_t *bytes;
	uint32_t key_len;
	uint32_t value_len;
	bool remove;
};

/* What a prepare made durable; lives until commit or abort, across restarts. */
struct flash_prepared {
	struct flash_prepared *next;
	struct bole_tx_token token;
	struct flash_repo *repo;
	struct flash_rows *run; /* NULL = no records */
	struct flash_extent **extent;
	uint32_t extents;
	struct flash_table *aux;   /* new values; an empty value removes */
	struct flash_table *drops; /* ids to remove; as in flash_tx */
	struct flash_tx *tx;       /* the handle, NULL after a restart until resume */
	bool doubtful;             /* while mounting for a repair: it may have been resolved */
};

struct flash_snapshot {
	struct bole_snapshot pub;
	struct flash_volume *v;
	struct flash_repo *repo;
	struct flash_index *index;
	struct flash_table *refs;
	struct flash_table_at ref_at; /* the last one that next showed */
	struct flash_table *aux;
	struct flash_pin pin;
	struct flash_tx *tx; /* whose view this is, or NULL */
	struct flash_reader reader;
	const struct flash_extent *last; /* of the last view, and where in its order */
	uint32_t last_order;
	const struct flash_extent *found; /* of the last find: its view comes next */
	struct flash_extent_row found_row;
	uint8_t *scratch; /* an entry in pieces */
	size_t scratch_cap;
	struct flash_order *order; /* some of the records, for next */
	uint64_t orders;
	uint64_t orders_cap;
	uint64_t orders_before; /* records that were shown before these */
	uint64_t order_last;    /* place of the last of them */
};

struct flash_tx {
	struct bole_tx pub;
	struct flash_volume *v;
	struct flash_repo *repo;
	struct flash_snapshot *view;
	struct flash_snapshot *fresh; /* where ids were looked up last, if not in the view */
	bool unseen;                  /* rows of some drop are not known */
	struct bole_buffer data;
	struct flash_put *put;
	uint32_t puts;
	uint32_t puts_cap;
	uint64_t first_put; /* puts before it are in spills */
	uint32_t *slot;     /* hash of puts: number + 1 */
	uint32_t slots;     /* twice puts_cap */
	struct flash_spill *spill;
	uint32_t spills;
	struct flash_extent **extent; /* finished, spills included */
	uint32_t extents;
	struct flash_rows *run;    /* of what was prepared: held, whatever becomes of that */
	struct flash_table *drops; /* ids to remove; value: TX_DROP_..., rows */
	struct flash_aux_write *auxwrite;
	uint32_t auxwrites;
	uint32_t auxwrites_cap;
	struct flash_stream stream; /* of the extent in progress */
	bool streaming;
	enum bole_status broken; /* an extent failed half way */
	uint8_t *window;         /* of extent_read */
	uint64_t window_at;
	uint32_t window_len;
	struct flash_prepared *prepared;
	bool given;                 /* it was prepared: the extents belong to that */
	struct bole_buffer relied;  /* ids that were found, for a mark that may begin */
	uint64_t marks;             /* of the domain, when it began */
	struct flash_tx *next_open; /* (L) */
	struct flash_tx **last_open;
};

/* -- Snapshots (snapshot.c, read.c) -- */
BOLE_MUST_USE enum bole_status bole_flash_snapshot_open(struct flash_volume *, uint32_t repo,
                                                        struct flash_snapshot **out);
void bole_flash_snapshot_close(struct flash_snapshot *);
BOLE_MUST_USE enum bole_status bole_flash_find(struct flash_snapshot *, const struct bole_oid *,
                                               struct bole_entry *out);
/* The same with bole_flash_key_hash of the id. */
BOLE_MUST_USE enum bole_status bole_flash_find_hashed(struct flash_snapshot *,
                                                      const struct bole_oid *, uint64_t hash,
                                                      struct bole_entry *out);
BOLE_MUST_USE enum bole_status bole_flash_entry_at(struct flash_snapshot *, uint64_t extent,
                                                   uint64_t offset, struct bole_oid *oid,
                                                   struct bole_entry *out);
BOLE_MUST_USE enum bole_status bole_flash_extent_next(struct flash_snapshot *, uint64_t after,
                                                      struct bole_extent_info *out);
BOLE_MUST_USE enum bole_status bole_flash_extent_rows(struct flash_snapshot *, uint64_t id,
                                                      uint32_t first,
                                                      struct bole_extent_place *rows,
                                                      size_t *count);
BOLE_MUST_USE enum bole_status bole_flash_extent_order(struct flash_snapshot *, uint64_t id,
                                                       uint64_t offset, uint32_t *order);
BOLE_MUST_USE enum bole_status bole_flash_extent_view(struct flash_snapshot *, uint64_t id,
                                                      uint64_t offset, struct bole_bytes *out);
BOLE_MUST_USE enum bole_status bole_flash_view(struct flash_snapshot *, const struct bole_entry *,
                                               uint64_t pos, struct bole_bytes *out);
BOLE_MUST_USE enum bole_status bole_flash_next(struct flash_snapshot *, uint64_t *cursor,
                                               struct bole_oid *oid, struct bole_entry *out);

/* Reads a record that an entry names and shows its id; verified. */
BOLE_MUST_USE enum bole_status bole_flash_record_of(struct flash_snapshot *,
                                                    const struct bole_entry *,
                                                    struct bole_bytes *key, uint8_t *type);
/* An extent by number that the snapshot may read, or NULL. */
struct flash_extent *bole_flash_snapshot_extent(const struct flash_snapshot *, uint64_t id);

/* -- References and aux (reftable.c, auxtable.c) -- */
BOLE_MUST_USE enum bole_status bole_flash_ref_get(struct flash_snapshot *, struct bole_bytes name,
                                                  struct bole_ref *out);
BOLE_MUST_USE enum bole_status bole_flash_ref_next(struct flash_snapshot *,
                                                   struct bole_bytes prefix,
                                                   struct bole_bytes after, struct bole_ref *out);
/* Applies updates to a draft the caller owns. BOLE_E_CONFLICT sets *failed. */
BOLE_MUST_USE enum bole_status bole_flash_refs_apply(struct flash_volume *,
                                                     struct flash_table **draft, uint8_t algo,
                                                     const struct bole_ref_update *, size_t count,
                                                     size_t *failed);
/* Bytes of one update in a REFS record, and its encoding; old: the table before. */
size_t bole_flash_ref_encoded(const struct bole_ref_update *);
void bole_flash_ref_decode(const struct flash_item *, uint8_t algo, struct bole_ref *out);
size_t bole_flash_ref_encode(const struct bole_ref_update *, const struct flash_table *old,
                             uint8_t algo, uint8_t *dst);
/* Replays a REFS body. BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_refs_replay(struct flash_volume *, struct flash_table **,
                                                      uint8_t algo, struct bole_bytes body);
BOLE_MUST_USE enum bole_status bole_flash_aux_get(struct flash_snapshot *,
                                                  const struct bole_aux_key *, struct bole_alloc *,
                                                  uint8_t **out, size_t *len);
BOLE_MUST_USE enum bole_status bole_flash_aux_next(struct flash_snapshot *, enum bole_aux_class,
                                                   uint16_t kind, struct bole_bytes after,
                                                   struct bole_bytes *key);
BOLE_MUST_USE enum bole_status bole_flash_aux_put(struct flash_tx *, const struct bole_aux_key *,
                                                  struct bole_bytes value);

/* -- Transactions (tx.c, tx_extent.c) -- */
BOLE_MUST_USE enum bole_status bole_flash_tx_begin(struct flash_volume *, uint32_t repo,
                                                   struct flash_tx **out);
void bole_flash_tx_abort(struct flash_tx *);
BOLE_MUST_USE enum bole_status bole_flash_tx_put(struct flash_tx *, const struct bole_oid *,
                                                 uint8_t type, const struct bole_bytes *pieces,
                                                 size_t count);
/* hash: bole_flash_key_hash. */
bool bole_flash_tx_find_put(const struct flash_tx *, const uint8_t *key, uint64_t hash,
                            uint32_t *at);
BOLE_MUST_USE enum bole_status bole_flash_tx_drop(struct flash_tx *, const struct bole_oid *);
/* TX_DROP_..., 0 = the id was not dropped. */
uint8_t bole_flash_tx_drops(const struct flash_tx *, const uint8_t *key);
BOLE_MUST_USE enum bole_status bole_flash_tx_spill(struct flash_tx *);
BOLE_MUST_USE enum bole_status bole_flash_extent_begin(struct flash_tx *, uint64_t *extent);
BOLE_MUST_USE enum bole_status bole_flash_extent_append(struct flash_tx *, struct bole_bytes);
BOLE_MUST_USE enum bole_status bole_flash_extent_read(struct flash_tx *, uint64_t offset, void *dst,
                                                      size_t len);
BOLE_MUST_USE enum bole_status
bole_flash_extent_finish(struct flash_tx *, const struct bole_extent_row *, size_t count);
/* The extent that was added last brings ids back that were dropped before. */
BOLE_MUST_USE enum bole_status bole_flash_tx_again(struct flash_tx *, const struct flash_extent *);
/* Writes table and map of a stream whose data is complete and makes the extent. */
BOLE_MUST_USE enum bole_status bole_flash_extent_seal(struct flash_tx *, struct flash_stream *,
                                                      uint64_t data_bytes, const uint8_t *table,
                                                      uint32_t rows);
BOLE_MUST_USE enum bole_status bole_flash_tx_prepare(struct flash_tx *, struct bole_tx_token *out);
BOLE_MUST_USE enum bole_status
bole_flash_tx_resume(struct flash_volume *, const struct bole_tx_token *, struct flash_tx **out);
BOLE_MUST_USE enum bole_status bole_flash_tx_commit(struct flash_tx *,
                                                    const struct bole_ref_update *, size_t count,
                                                    size_t *failed);
/* Frees what the volume keeps for the next transaction. */
void bole_flash_room_close(struct flash_volume *);
/* Frees a handle and what it holds in memory; what is on the device stays as it is. */
void bole_flash_tx_free(struct flash_tx *);
void bole_flash_prepared_free(struct flash_volume *, struct flash_prepared *, bool drop);

/* -- The writer's queue (writer.c) -- */
enum flash_request_kind {
	FLASH_REQUEST_COMMIT,
	FLASH_REQUEST_PREPARE,
	FLASH_REQUEST_DROP, /* abort of what was prepared */
	FLASH_REQUEST_CREATE,
	FLASH_REQUEST_RENAME,
	FLASH_REQUEST_REMOVE,
};
struct flash_request {
	struct flash_request *next;
	enum flash_request_kind kind;
	struct flash_tx *tx;
	const struct bole_ref_update *updates;
	size_t count;
	size_t failed;
	const char *name;
	const char *head;
	uint8_t algo;
	uint32_t repo;
	struct bole_repo created;
	struct bole_tx_token token;
	enum bole_status rc;
	bool insists; /* it was turned away to look things up again, and shall not be once more */
	bool written; /* in the group that goes out */
	bool done;
	/* Versions that publishing replaced, dropped outside the lock. */
	struct flash_repo *old_repo;
	struct flash_index *old_index;
	struct flash_table *old_refs;
	struct flash_table *old_aux;
	struct flash_table *old_names;
	struct flash_prepared *prepared;
};
/* Waits until the request is done and durable. BOLE_AGAIN: the index has changed too much since the
 * transaction looked. */
enum bole_status bole_flash_submit(struct flash_volume *, struct flash_request *);
/* Encodes one request into the log and drafts what it changes (encode.c). An error means that
 * nothing was kept, unless the volume failed. */
BOLE_MUST_USE enum bole_status bole_flash_encode(struct flash_volume *, struct flash_request *);

/* The same for requests about repositories, and their publishing (lock held) (repo.c). */
BOLE_MUST_USE enum bole_status bole_flash_encode_repo(struct flash_volume *,
                                                      struct flash_request *);
void bole_flash_publish_repo(struct flash_volume *, struct flash_request *);
/* Takes what was made, and nobody saw, out of the catalog again. */
void bole_flash_forget_create(struct flash_volume *, struct flash_request *);
/* Puts what was prepared into the caller's drafts. */
BOLE_MUST_USE enum bole_status
bole_flash_prepared_publish(struct flash_volume *, struct flash_prepared *, struct flash_index *,
                            struct flash_table **aux, struct flash_reader *);
/* Waits for a checkpoint or makes one, cleans and revokes pins, until so many segments are free.
 * Lock held, but not all the time; leading: by the caller. BOLE_E_NO_SPACE. (maintain.c) */
BOLE_MUST_USE enum bole_status bole_flash_make_space(struct flash_volume *, enum flash_purpose,
                                                     uint32_t wanted, bool leading);

/* -- Background work (maintain.c) -- */
/* After an answer: what cannot wait, in proportion to the bytes of the commit. */
void bole_flash_after(struct flash_volume *, uint64_t bytes);
BOLE_MUST_USE enum bole_status bole_flash_maintain(struct flash_volume *,
                                                   const struct bole_maintain_options *,
                                                   struct bole_maintain_report *);

/* -- Volumes (mount.c) -- */
BOLE_MUST_USE enum bole_status bole_flash_volume_format(struct bole_block *, struct bole_platform *,
                                                        const struct bole_flash_format_options *);
BOLE_MUST_USE enum bole_status bole_flash_volume_open(struct bole_block *, struct bole_platform *,
                                                      struct bole_alloc *,
                                                      const struct bole_flash_open_options *,
                                                      struct flash_volume **out);
enum bole_status bole_flash_volume_close(struct flash_volume *);
/* Adds to a zeroed *out (stats.c). */
void bole_flash_volume_stats(struct flash_volume *, struct bole_store_stats *);

/* -- Growth and scrub: what store.h says (grow.c, scrub.c) -- */
BOLE_MUST_USE enum bole_status bole_flash_grow(struct flash_volume *);
BOLE_MUST_USE enum bole_status bole_flash_scrub(struct flash_volume *, struct bole_scrub_report *);

/* -- Checkpoints (checkpoint.c) -- */
/* May be ignored: one that fails for want of memory or space is tried again later. */
enum bole_status bole_flash_checkpoint(struct flash_volume *);
/* One that holds all there is now is durable. */
BOLE_MUST_USE enum bole_status bole_flash_checkpoint_next(struct flash_volume *);
/* The same for the leader, between groups. */
BOLE_MUST_USE enum bole_status bole_flash_checkpoint_leading(struct flash_volume *);
/* True when one is due. Lock held. */
bool bole_flash_checkpoint_due(const struct flash_volume *);
/* True when there shall be one before the volume is closed: what a mount reads depends on the size
 * of the volume, not on when it was closed. Nobody else uses it any more. */
bool bole_flash_checkpoint_last(struct flash_volume *);

#endif /* BOLE_FLASH_TX_H */
