/* SPDX-License-Identifier: ISC */
#include "torture/hoard.h"

#include <string.h>

#include "base/bytes.h"

enum { BATCH_MAX = 64, FINDINGS_MAX = 3, ENTRY_LEAST = 64 };

static uint64_t key_of(uint32_t slot, uint32_t version)
{
	return (uint64_t)slot << 32 | version;
}

static struct bole_oid oid_of(uint32_t slot, uint32_t version)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	uint64_t state = key_of(slot, version);

	for (unsigned i = 0; i < 3; i++)
		bole_put_le64(oid.bytes + 8 * i, torture_random(&state));
	memset(oid.bytes + 20, 0, 4);
	return oid;
}

static size_t entry_of(const struct hoard *h, uint32_t slot, uint32_t version, uint8_t *dst)
{
	uint64_t state = key_of(slot, version) ^ 0x5555;
	size_t len = ENTRY_LEAST + (size_t)(torture_random(&state) % (h->entry_max - ENTRY_LEAST));

	for (size_t i = 0; i < len; i += 8)
		bole_put_le64(dst + i, torture_random(&state));
	return len;
}

bool hoard_start(struct hoard *h, struct torture_unit *u, const char *geometry,
                 struct bole_block *device, uint32_t slots, uint32_t entry_max)
{
	struct bole_repo repo;

	memset(h, 0, sizeof *h);
	h->unit = u;
	h->geometry = geometry;
	h->device = device;
	h->slots = slots < HOARD_SLOTS_MAX ? slots : HOARD_SLOTS_MAX;
	h->entry_max = entry_max;
	h->random = torture_mix(u->seed, u->number);
	lean_init(&h->lean, h->random);
	h->lean.loud = u->verbose;
	enum bole_status rc = bole_flash_format(device, &h->lean.base, NULL);
	if (rc == BOLE_OK)
		rc = hoard_open(h, NULL);
	if (rc == BOLE_OK)
		rc = bole_repo_create(h->store, "hoard", BOLE_HASH_SHA1, "refs/heads/a", &repo);
	if (rc != BOLE_OK) {
		torture_finding(u, geometry, "start", "%s; log: %s", bole_status_text(rc),
		                h->lean.last_error);
		return false;
	}
	h->repo = repo.id;
	return true;
}

enum bole_status hoard_open(struct hoard *h, const struct bole_flash_open_options *o)
{
	return bole_flash_open(h->device, &h->lean.base, &h->lean.alloc, o, &h->store);
}

enum bole_status hoard_close(struct hoard *h)
{
	struct bole_store *store = h->store;

	h->store = NULL;
	return bole_store_close(store);
}

static enum bole_status replace(struct hoard *h, struct bole_tx *tx, uint32_t slot, uint64_t *bytes)
{
	static uint8_t entry[HOARD_ENTRY_MAX + 8];
	struct bole_oid oid = oid_of(slot, h->version[slot] + 1);
	struct bole_bytes piece = {entry, entry_of(h, slot, h->version[slot] + 1, entry)};
	enum bole_status rc = bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1);

	*bytes += piece.len;
	if (rc != BOLE_OK || h->version[slot] == 0)
		return rc;
	oid = oid_of(slot, h->version[slot]);
	return bole_tx_drop(tx, &oid);
}

enum bole_status hoard_put(struct hoard *h, const uint32_t *slot, unsigned count)
{
	struct bole_tx *tx;
	uint64_t bytes = 0;
	size_t failed;
	enum bole_status rc = bole_tx_begin(h->store, h->repo, &tx);

	if (rc != BOLE_OK)
		return rc;
	for (unsigned i = 0; i < count && rc == BOLE_OK; i++)
		rc = replace(h, tx, slot[i], &bytes);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	rc = bole_tx_commit(tx, NULL, 0, &failed);
	for (unsigned i = 0; i < count && rc != BOLE_E_NO_SPACE; i++) {
		h->version[slot[i]]++;
		h->other[slot[i]] = rc == BOLE_OK ? 0 : h->version[slot[i]] - 1;
	}
	h->unsure = rc != BOLE_OK && rc != BOLE_E_NO_SPACE;
	if (rc == BOLE_OK)
		h->written += bytes;
	return rc;
}

static enum bole_status read_entry(struct hoard *h, struct bole_snapshot *s, uint32_t slot,
                                   uint32_t version, bool *right)
{
	static uint8_t want[HOARD_ENTRY_MAX + 8];
	struct bole_oid oid = oid_of(slot, version);
	struct bole_entry e;
	size_t len = entry_of(h, slot, version, want);
	enum bole_status rc = bole_odb_find(s, &oid, &e);

	*right = false;
	if (rc != BOLE_OK)
		return rc;
	if (e.stored_bytes != len)
		return BOLE_OK;
	for (uint64_t pos = 0; pos < len;) {
		struct bole_bytes seen;
		rc = bole_odb_view(s, &e, pos, &seen);
		if (rc != BOLE_OK)
			return rc;
		if (seen.len == 0 || memcmp(seen.ptr, want + pos, seen.len) != 0)
			return BOLE_OK;
		pos += seen.len;
	}
	*right = true;
	return BOLE_OK;
}

bool hoard_read(struct hoard *h, struct bole_snapshot *s, uint32_t slot)
{
	bool right;

	if (h->version[slot] == 0)
		return true;
	enum bole_status rc = read_entry(h, s, slot, h->version[slot], &right);
	if (rc == BOLE_E_NOT_FOUND && h->unsure) {
		if (h->other[slot] == 0)
			return true;
		rc = read_entry(h, s, slot, h->other[slot], &right);
	}
	if (rc == BOLE_OK && right)
		return true;
	torture_finding(h->unit, h->geometry, "read", "slot %u version %u: %s; log: %s", slot,
	                h->version[slot], rc == BOLE_OK ? "wrong bytes" : bole_status_text(rc),
	                h->lean.last_error);
	return false;
}

bool hoard_verify(struct hoard *h, const char *when)
{
	struct bole_snapshot *s;
	unsigned findings = 0;
	enum bole_status rc = bole_snapshot_open(h->store, h->repo, &s);

	torture_progress(h->unit, h->geometry, when);
	if (rc != BOLE_OK) {
		torture_finding(h->unit, h->geometry, when, "a snapshot: %s", bole_status_text(rc));
		return false;
	}
	for (uint32_t i = 0; i < h->slots && findings < FINDINGS_MAX; i++)
		findings += !hoard_read(h, s, i);
	bole_snapshot_close(s);
	return findings == 0;
}

enum bole_status hoard_maintain(struct hoard *h, unsigned eagerness, unsigned most)
{
	struct bole_maintain_options o = {.eagerness = eagerness};
	struct bole_maintain_report report;
	enum bole_status rc = BOLE_OK;

	for (unsigned i = 0; i < most && rc == BOLE_OK; i++)
		rc = bole_store_maintain(h->store, &o, &report);
	return rc == BOLE_END ? BOLE_OK : rc;
}
