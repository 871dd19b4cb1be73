/* SPDX-License-Identifier: ISC */
/* Identities of several messages (identity.c has those of one): each of two lanes takes the next
 * message when it has done with one. Blocks of both are tested for collision attacks together;
 * suspicious ones of all messages are collected, and tried together as well. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "sha1dc/ubc_check.h"

enum {
	BLOCK_BYTES = 64,
	LENGTH_BYTES = 8, /* of the length in bits, at the very end */
};

void bole_message_of_object(struct bole_message *message, unsigned type, struct bole_bytes data)
{
	const char *name = bole_object_type_name(type);

	BOLE_ASSERT(name != NULL);
	/* The NUL belongs to the head. */
	message->head_len = 1 + (size_t)snprintf((char *)message->head, sizeof message->head,
	                                         "%s %zu", name, data.len);
	message->data = data;
}

void bole_hash_many_begin(struct bole_hash_many *many, uint8_t algo,
                          const struct bole_hashing *with, struct bole_message *messages,
                          size_t count)
{
	many->with = with;
	many->algo = algo;
	many->messages = messages;
	many->count = count;
	many->left = count;
	for (size_t i = 0; i < count; i++)
		messages[i].rc = BOLE_AGAIN;
	many->busy = 0;
	many->suspect_count = 0;
}

/* -- Lanes -- */

/* The longest one that is left, so that a lane is alone for a short one at the end. */
static size_t next_message(const struct bole_hash_many *many)
{
	const struct bole_message *messages = many->messages;
	size_t longest = many->count;

	for (size_t i = 0; i < many->count; i++)
		if (messages[i].rc == BOLE_AGAIN &&
		    (longest == many->count || messages[i].data.len > messages[longest].data.len))
			longest = i;
	return longest;
}

static void lane_begin(struct bole_hash_many *many, struct bole_hash_lane *lane)
{
	size_t next = next_message(many);
	struct bole_message *message = &many->messages[next];
	uint64_t len = message->head_len + (uint64_t)message->data.len;
	size_t rest = (size_t)(len % BLOCK_BYTES);
	size_t blocks = rest < BLOCK_BYTES - LENGTH_BYTES ? 1 : 2;
	size_t from_head = len < BLOCK_BYTES ? message->head_len : 0;
	struct bole_hash start;

	bole_hash_init(&start, many->algo);
	memcpy(lane->state, start.state, sizeof lane->state);
	lane->message = next;
	many->left--;
	lane->at = 0;
	lane->whole = len / BLOCK_BYTES;
	lane->count = lane->whole + blocks;
	message->rc = BOLE_OK;
	if (lane->whole > 0) {
		memcpy(lane->first, message->head, message->head_len);
		memcpy(lane->first + message->head_len, message->data.ptr,
		       BLOCK_BYTES - message->head_len);
	}
	memcpy(lane->last, message->head, from_head);
	if (rest > from_head)
		memcpy(lane->last + from_head,
		       message->data.ptr + (message->data.len - (rest - from_head)),
		       rest - from_head);
	memset(lane->last + rest, 0, sizeof lane->last - rest);
	lane->last[rest] = 0x80;
	bole_put_be64(lane->last + blocks * BLOCK_BYTES - LENGTH_BYTES, len * 8);
}

static const uint8_t *lane_block(const struct bole_hash_many *many,
                                 const struct bole_hash_lane *lane, uint64_t at)
{
	const struct bole_message *message = &many->messages[lane->message];

	if (at >= lane->whole)
		return lane->last + (at - lane->whole) * BLOCK_BYTES;
	if (at == 0)
		return lane->first;
	return message->data.ptr + (at * BLOCK_BYTES - message->head_len);
}

static void lane_end(struct bole_hash_many *many, const struct bole_hash_lane *lane)
{
	uint8_t raw[32];

	for (size_t i = 0; i < 8; i++)
		bole_put_be32(raw + 4 * i, lane->state[i]);
	bole_oid_from_raw(raw, many->algo, &many->messages[lane->message].oid);
}

/* -- Suspects -- */

static void try_suspects(struct bole_hash_many *many)
{
	const struct bole_sha1_detector *detector = many->with->detector;
	size_t count = many->suspect_count;

	many->suspect_count = 0;
	if (count == 0 || !detector->attack(many->suspects, count))
		return;
	for (size_t i = 0; i < count; i++)
		if (detector->attack(&many->suspects[i], 1))
			many->messages[many->owner[i]].rc = BOLE_E_CORRUPT;
}

/* One for each disturbance vector in mask, all of one block. */
static void add_suspects(struct bole_hash_many *many, size_t message, const uint8_t *block,
                         uint32_t mask, const uint32_t *before, const uint32_t *after)
{
	for (; mask != 0; mask &= mask - 1) {
		const dv_info_t *dv = sha1_dvs;
		size_t at = many->suspect_count++;
		struct bole_sha1_suspect *suspect = &many->suspects[at];

		while (dv->maskb != __builtin_ctz(mask))
			dv++;
		/* A copy: lanes begin with other messages before all of these are tried. */
		memcpy(many->blocks[at], block, BLOCK_BYTES);
		*suspect = (struct bole_sha1_suspect){.block = many->blocks[at],
		                                      .difference = dv->dm,
		                                      .step = (unsigned)dv->testt};
		memcpy(suspect->before, before, sizeof suspect->before);
		memcpy(suspect->after, after, sizeof suspect->after);
		many->owner[at] = message;
		if (many->suspect_count == many->with->detector->lanes)
			try_suspects(many);
	}
}

/* -- Blocks -- */

static void hash_one(struct bole_hash_many *many, const uint8_t *const *blocks, size_t count,
                     uint32_t (*before)[2][8])
{
	bole_sha_blocks_fn *hash =
	        many->algo == BOLE_HASH_SHA1 ? many->with->sha1 : many->with->sha256;
	uint32_t *state = many->lanes[0].state;

	for (size_t i = 0; i < count; i++) {
		memcpy(before[i][0], state, sizeof before[i][0]);
		hash(state, blocks[i], 1);
	}
}

/* The next count blocks of every busy lane. */
static void hash_blocks(struct bole_hash_many *many, size_t count)
{
	const uint8_t *blocks[BOLE_SHA1_LANES_MAX];
	uint32_t masks[BOLE_SHA1_LANES_MAX];
	uint32_t before[BOLE_SHA1_LANES_MAX][2][8];
	uint32_t *states[2] = {many->lanes[0].state, many->lanes[1].state};
	uint32_t suspects = 0;

	for (size_t l = 0; l < many->busy; l++)
		for (size_t i = 0; i < count; i++)
			blocks[l * count + i] =
			        lane_block(many, &many->lanes[l], many->lanes[l].at + i);
	if (many->algo == BOLE_HASH_SHA1)
		suspects = many->with->detector->suspects(blocks, many->busy * count, masks);
	if (many->busy == 1)
		hash_one(many, blocks, count, before);
	else if (many->algo == BOLE_HASH_SHA1)
		many->with->sha1_pair(states, blocks, count, before);
	else
		many->with->sha256_pair(states, blocks, count, before);
	for (; suspects != 0; suspects &= suspects - 1) {
		size_t at = (size_t)__builtin_ctz(suspects);
		size_t l = at / count;
		size_t i = at % count;

		add_suspects(many, many->lanes[l].message, blocks[at], masks[at], before[i][l],
		             i + 1 < count ? before[i + 1][l] : states[l]);
	}
}

static void fill_lanes(struct bole_hash_many *many)
{
	bool pairs = many->algo == BOLE_HASH_SHA1 ? many->with->sha1_pair != NULL
	                                          : many->with->sha256_pair != NULL;

	while (many->busy < (pairs ? 2u : 1u) && many->left > 0)
		lane_begin(many, &many->lanes[many->busy++]);
}

bool bole_hash_many_step(struct bole_hash_many *many, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		fill_lanes(many);
		if (many->busy == 0) {
			try_suspects(many);
			return false;
		}
		uint64_t count = BOLE_SHA1_LANES_MAX / many->busy;

		for (size_t l = 0; l < many->busy; l++) {
			uint64_t left = many->lanes[l].count - many->lanes[l].at;

			count = left < count ? left : count;
		}
		hash_blocks(many, (size_t)count);
		done += (size_t)count * many->busy * BLOCK_BYTES;
		for (size_t l = many->busy; l-- > 0;) {
			struct bole_hash_lane *lane = &many->lanes[l];

			lane->at += count;
			if (lane->at < lane->count)
				continue;
			lane_end(many, lane);
			if (l < --many->busy)
				*lane = many->lanes[many->busy];
		}
	}
	return true;
}
