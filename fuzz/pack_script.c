/* SPDX-License-Identifier: ISC */
/* Packs with meaning: the input is a script that makes objects, deltas and links, some of them
 * wrong, in several packs pushed one after the other. What is taken must be whole, and a clone of
 * all commits must be taken by another store. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "support/large_blocks.h"
#include "support/packworld.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OBJECTS_MAX = 48, COPY_MAX = 64, MANY_OP = 239, MANY = 70 /* for fibers to be worth it */ };

struct made {
	struct bole_oid oid;
	struct maker_bytes content;
	uint64_t at; /* offset in the pack at hand, 0 = in an earlier one */
	uint8_t type;
};

struct script {
	const uint8_t *next, *end;
	struct packworld world;
	struct packmaker maker;
	struct made made[OBJECTS_MAX];
	size_t count;
};

static uint8_t byte(struct script *script)
{
	return script->next < script->end ? *script->next++ : 0;
}

static struct made *pick(struct script *script)
{
	return script->count == 0 ? NULL : &script->made[byte(script) % script->count];
}

static void note(struct script *script, uint8_t type, uint64_t at,
                 const struct maker_bytes *content)
{
	struct made *made = &script->made[script->count];

	if (script->count == OBJECTS_MAX)
		return;
	script->count++;
	*made = (struct made){.type = type, .at = at};
	maker_append(&made->content, content->ptr, content->len);
	maker_append(&made->content, "", 0);
	BOLE_ASSERT(bole_object_id(BOLE_HASH_SHA1, type,
	                           bole_bytes_of(made->content.ptr, made->content.len), false,
	                           &made->oid) == BOLE_OK);
}

static void make_whole(struct script *script, uint8_t op)
{
	static const char *const modes[] = {"100644", "40000", "160000", "120000"};
	struct maker_bytes content = {0};
	uint8_t type = (uint8_t)(op % 4 + 1);
	char name[3] = {'a', 0, 0};
	struct made *one = pick(script), *two = pick(script);

	if (type == BOLE_OBJECT_TREE) {
		for (uint8_t n = byte(script) % 4; n > 0; n--, name[0]++) {
			struct made *entry = pick(script);
			uint8_t mode = byte(script);

			if (entry == NULL)
				break;
			name[0] = (char)(name[0] + mode / 128);
			tree_entry(&content,
			           mode % 8 != 7 ? modes[entry->type == BOLE_OBJECT_TREE]
			                         : modes[mode / 8 % 4],
			           name, &entry->oid);
		}
	} else if (type == BOLE_OBJECT_COMMIT && one != NULL) {
		commit_text(&content, &one->oid, two != one ? &two->oid : NULL, byte(script), "m");
	} else if (type == BOLE_OBJECT_TAG && one != NULL) {
		char hex[BOLE_OID_HEX_MAX + 1];

		maker_text(&content, "object %s\ntype %s\ntag t\ntagger N <n> 1 +0000\n\nm\n",
		           bole_oid_format(&one->oid, hex), bole_object_type_name(one->type));
	} else {
		for (uint8_t n = byte(script) % 32; n > 0; n--) {
			uint8_t value = byte(script);

			for (int i = 0; i < 4; i++)
				maker_append(&content, &value, 1);
		}
		type = BOLE_OBJECT_BLOB;
	}
	maker_append(&content, "", 0);
	note(script, type, packmaker_object(&script->maker, type, content.ptr, content.len, NULL),
	     &content);
	maker_release(&content);
}

static void make_delta(struct script *script, uint8_t op)
{
	struct maker_bytes instructions = {0}, delta = {0}, result = {0};
	struct made *base = pick(script);

	if (base == NULL)
		return;
	for (uint8_t n = byte(script) % 6; n > 0; n--) {
		uint8_t code = byte(script);
		size_t from = base->content.len == 0 ? 0 : byte(script) % base->content.len;
		size_t len = base->content.len - from;

		if ((code & 1) != 0 && len > 0) {
			len = len < COPY_MAX + code ? len : COPY_MAX + code;
			delta_copy(&instructions, (uint32_t)from, (uint32_t)len);
			maker_append(&result, base->content.ptr + from, len);
		} else if (code > 250) {
			maker_append(&instructions, &code, 1);
		} else {
			delta_insert(&instructions, &code, 1);
			maker_append(&result, &code, 1);
		}
	}
	delta_begin(&delta, base->content.len, result.len + (op == 255));
	maker_append(&delta, instructions.ptr, instructions.len);
	uint64_t at;

	if (base->at != 0 && op % 2 == 0)
		at = packmaker_ofs(&script->maker, base->at, &delta);
	else
		at = packmaker_ref(&script->maker, &base->oid, &delta);
	note(script, base->type, at, &result);
	maker_release(&instructions);
	maker_release(&delta);
	maker_release(&result);
}

/* Deltas of one base, or each of the one before. */
static void make_many(struct script *script)
{
	struct made *base = pick(script);
	bool chain = (byte(script) & 1) != 0;

	if (base == NULL || base->at == 0)
		return;
	uint64_t at = base->at;
	size_t len = base->content.len;
	for (uint8_t i = 0; i < MANY; i++) {
		size_t base_len = chain && i > 0 ? len + 1 : len;
		struct maker_bytes delta = {0};

		delta_begin(&delta, base_len, len + 1);
		if (len > 0)
			delta_copy(&delta, 0, (uint32_t)len);
		delta_insert(&delta, &i, 1);
		uint64_t next = packmaker_ofs(&script->maker, at, &delta);
		at = chain ? next : at;
		maker_release(&delta);
	}
}

static void push_pack(struct script *script)
{
	uint64_t before = packworld_verify(&script->world);

	packmaker_finish(&script->maker);
	enum bole_status rc = packworld_push(&script->world, script->maker.out.ptr,
	                                     script->maker.out.len, NULL, NULL);
	uint64_t after = packworld_verify(&script->world);

	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_INVALID || rc == BOLE_E_LIMIT);
	BOLE_ASSERT(rc == BOLE_OK ? after <= before + script->maker.count : after == before);
	packmaker_release(&script->maker);
	packmaker_init(&script->maker, BOLE_HASH_SHA1);
	for (size_t i = 0; i < script->count; i++)
		script->made[i].at = 0;
}

/* Sends all that is there but a few haves, thin or not, to a store that has them. */
static void clone_all(struct script *script)
{
	struct packworld_fetch_options options = {.ofs_delta = script->count % 2 == 0};
	struct bole_oid wants[OBJECTS_MAX];
	struct maker_bytes pack = {0};
	struct bole_snapshot *snapshot;
	struct packworld other;
	struct bole_entry entry;
	size_t count = 0;

	BOLE_ASSERT(bole_snapshot_open(script->world.store, script->world.repo.id, &snapshot) ==
	            BOLE_OK);
	for (size_t i = 0; i < script->count; i++) {
		if (bole_odb_find(snapshot, &script->made[i].oid, &entry) == BOLE_OK)
			wants[count++] = script->made[i].oid;
	}
	bole_snapshot_close(snapshot);
	packworld_open(&other, BOLE_HASH_SHA1, 3);
	size_t first = count / 2;

	BOLE_ASSERT(packworld_fetch_with(&script->world, &options, wants, first, NULL, 0, &pack) ==
	            BOLE_OK);
	BOLE_ASSERT(packworld_push(&other, pack.ptr, pack.len, NULL, NULL) == BOLE_OK);
	pack.len = 0;
	options.thin = true;
	BOLE_ASSERT(packworld_fetch_with(&script->world, &options, wants, count, wants, first,
	                                 &pack) == BOLE_OK);
	BOLE_ASSERT(packworld_push(&other, pack.ptr, pack.len, NULL, NULL) == BOLE_OK);
	packworld_verify(&other);
	BOLE_ASSERT(bole_snapshot_open(other.store, other.repo.id, &snapshot) == BOLE_OK);
	for (size_t i = 0; i < count; i++)
		BOLE_ASSERT(bole_odb_find(snapshot, &wants[i], &entry) == BOLE_OK);
	bole_snapshot_close(snapshot);
	maker_release(&pack);
	packworld_close(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script script = {.next = data, .end = data + size};

	large_blocks_keep();
	packworld_open(&script.world, BOLE_HASH_SHA1, 1);
	uint8_t flags = byte(&script);
	if ((flags & 1) != 0)
		script.world.store->info.extent_bytes_min = 1;
	script.world.platform.processors = (flags & 2) != 0 ? 3 : 1;
	packmaker_init(&script.maker, BOLE_HASH_SHA1);
	script.maker.level = 1;
	while (script.next < script.end) {
		uint8_t op = byte(&script);

		if (op < 140)
			make_whole(&script, op);
		else if (op == MANY_OP)
			make_many(&script);
		else if (op < 240 || op == 255)
			make_delta(&script, op);
		else
			push_pack(&script);
	}
	push_pack(&script);
	clone_all(&script);
	for (size_t i = 0; i < script.count; i++)
		maker_release(&script.made[i].content);
	packmaker_release(&script.maker);
	packworld_close(&script.world);
	return 0;
}
