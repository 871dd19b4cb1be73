/* SPDX-License-Identifier: ISC */
#include "support/packmaker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "support/platform.h"

enum { STORY_FILES = 3, STORY_FILE_BYTES = 600 };

void maker_append(struct maker_bytes *bytes, const void *src, size_t len)
{
	if (bytes->cap - bytes->len < len) {
		bytes->cap = (bytes->cap + len) * 2 + 64;
		bytes->ptr = realloc(bytes->ptr, bytes->cap);
		if (bytes->ptr == NULL)
			abort();
	}
	if (len > 0)
		memcpy(bytes->ptr + bytes->len, src, len);
	bytes->len += len;
}

void maker_text(struct maker_bytes *bytes, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(text))
		abort();
	maker_append(bytes, text, (size_t)len);
}

void maker_release(struct maker_bytes *bytes)
{
	free(bytes->ptr);
	*bytes = (struct maker_bytes){0};
}

void packmaker_init(struct packmaker *maker, uint8_t algo)
{
	*maker = (struct packmaker){.algo = algo, .level = 6};
	maker_append(&maker->out, "PACK\0\0\0\2\0\0\0\0", 12);
}

void packmaker_release(struct packmaker *maker)
{
	maker_release(&maker->out);
}

uint64_t packmaker_head(struct packmaker *maker, uint8_t type, uint64_t size, uint64_t distance,
                        const struct bole_oid *base)
{
	uint64_t start = maker->out.len;
	uint8_t head[64];
	size_t len = 0;
	uint8_t byte = (uint8_t)((unsigned)type << 4 | (size & 15));

	for (size >>= 4; size != 0; size >>= 7) {
		head[len++] = byte | 0x80;
		byte = size & 0x7f;
	}
	head[len++] = byte;
	maker_append(&maker->out, head, len);
	if (type == 6) {
		size_t at = sizeof(head);

		head[--at] = distance & 0x7f;
		while ((distance >>= 7) != 0)
			head[--at] = (uint8_t)(0x80 | (--distance & 0x7f));
		maker_append(&maker->out, head + at, sizeof(head) - at);
	}
	if (type == 7)
		maker_append(&maker->out, base->bytes, bole_hash_bytes(maker->algo));
	maker->count++;
	return start;
}

uint64_t packmaker_entry(struct packmaker *maker, uint8_t type, uint64_t size, uint64_t distance,
                         const struct bole_oid *base, const void *data, size_t len)
{
	uint64_t start = packmaker_head(maker, type, size, distance, base);
	uLongf packed_len = compressBound((uLong)len);
	uint8_t *packed = malloc(packed_len);

	if (packed == NULL ||
	    compress2(packed, &packed_len, data, (uLong)len, maker->level) != Z_OK)
		abort();
	maker_append(&maker->out, packed, packed_len);
	free(packed);
	return start;
}

uint64_t packmaker_object(struct packmaker *maker, uint8_t type, const void *data, size_t len,
                          struct bole_oid *oid)
{
	if (oid != NULL &&
	    bole_object_id(maker->algo, type, bole_bytes_of(data, len), false, oid) != BOLE_OK)
		abort();
	return packmaker_entry(maker, type, len, 0, NULL, data, len);
}

uint64_t packmaker_ofs(struct packmaker *maker, uint64_t base, const struct maker_bytes *delta)
{
	return packmaker_entry(maker, 6, delta->len, maker->out.len - base, NULL, delta->ptr,
	                       delta->len);
}

uint64_t packmaker_ref(struct packmaker *maker, const struct bole_oid *base,
                       const struct maker_bytes *delta)
{
	return packmaker_entry(maker, 7, delta->len, 0, base, delta->ptr, delta->len);
}

void packmaker_finish_count(struct packmaker *maker, uint32_t version, uint32_t count)
{
	struct bole_hash hash;
	struct bole_oid sum;

	bole_put_be32(maker->out.ptr + 4, version);
	bole_put_be32(maker->out.ptr + 8, count);
	bole_hash_init(&hash, maker->algo);
	bole_hash_update(&hash, maker->out.ptr, maker->out.len);
	bole_hash_final(&hash, &sum);
	maker_append(&maker->out, sum.bytes, bole_hash_bytes(maker->algo));
}

void packmaker_finish(struct packmaker *maker)
{
	packmaker_finish_count(maker, 2, maker->count);
}

/* -- Deltas -- */

static void delta_size(struct maker_bytes *delta, uint64_t size)
{
	uint8_t byte;

	do {
		byte = (uint8_t)((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
		maker_append(delta, &byte, 1);
		size >>= 7;
	} while (size != 0);
}

void delta_begin(struct maker_bytes *delta, uint64_t base_len, uint64_t result_len)
{
	delta->len = 0;
	delta_size(delta, base_len);
	delta_size(delta, result_len);
}

void delta_copy(struct maker_bytes *delta, uint32_t offset, uint32_t len)
{
	uint8_t code[8] = {0x80};
	size_t used = 1;

	for (unsigned i = 0; i < 4; i++) {
		if ((offset >> (8 * i) & 0xff) == 0)
			continue;
		code[0] |= (uint8_t)(1u << i);
		code[used++] = (uint8_t)(offset >> (8 * i));
	}
	for (unsigned i = 0; i < 3; i++) {
		if ((len >> (8 * i) & 0xff) == 0 || len == 0x10000)
			continue;
		code[0] |= (uint8_t)(0x10u << i);
		code[used++] = (uint8_t)(len >> (8 * i));
	}
	maker_append(delta, code, used);
}

void delta_insert(struct maker_bytes *delta, const void *src, uint8_t len)
{
	maker_append(delta, &len, 1);
	maker_append(delta, src, len);
}

/* -- Objects -- */

void tree_entry(struct maker_bytes *tree, const char *mode, const char *name,
                const struct bole_oid *oid)
{
	maker_text(tree, "%s %s", mode, name);
	maker_append(tree, "", 1);
	maker_append(tree, oid->bytes, bole_hash_bytes(oid->algo));
}

void commit_text(struct maker_bytes *text, const struct bole_oid *tree,
                 const struct bole_oid *parent, long time, const char *message)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	maker_text(text, "tree %s\n", bole_oid_format(tree, hex));
	if (parent != NULL)
		maker_text(text, "parent %s\n", bole_oid_format(parent, hex));
	maker_text(text, "author N O <n@o> %ld +0000\ncommitter N O <n@o> %ld +0000\n\n%s\n", time,
	           time, message);
}

/* A history in the making. */
struct story {
	struct packmaker *maker;
	struct maker_bytes delta, tree, text;
	uint8_t files[STORY_FILES][STORY_FILE_BYTES];
	struct bole_oid blobs[STORY_FILES];
	uint64_t at[STORY_FILES];
	uint64_t tree_at;
	size_t tree_len;
};
static const char *const story_names[STORY_FILES] = {"a", "b.c", "d"};

static void must_id(uint8_t algo, uint8_t type, const void *data, size_t len, struct bole_oid *oid)
{
	if (bole_object_id(algo, type, bole_bytes_of(data, len), false, oid) != BOLE_OK)
		abort();
}

/* The new version is whole every eighth time, else a delta on the last one, of either kind. */
static void story_file(struct story *story, uint32_t n, size_t which, uint64_t *seed)
{
	uint8_t *file = story->files[which];
	uint16_t spot = (uint16_t)(test_random(seed) % (STORY_FILE_BYTES - 8));

	test_random_bytes(seed, file + spot, 8);
	delta_begin(&story->delta, STORY_FILE_BYTES, STORY_FILE_BYTES);
	if (spot > 0)
		delta_copy(&story->delta, 0, spot);
	delta_insert(&story->delta, file + spot, 8);
	if (spot + 8 < STORY_FILE_BYTES)
		delta_copy(&story->delta, spot + 8u, STORY_FILE_BYTES - 8u - spot);
	if (n % 8 == 7)
		story->at[which] = packmaker_object(story->maker, 3, file, STORY_FILE_BYTES, NULL);
	else if (n % 2 == 0)
		story->at[which] = packmaker_ofs(story->maker, story->at[which], &story->delta);
	else
		story->at[which] = packmaker_ref(story->maker, &story->blobs[which], &story->delta);
	must_id(story->maker->algo, 3, file, STORY_FILE_BYTES, &story->blobs[which]);
}

/* Whole every sixteenth time, else a delta that replaces one id. */
static void story_tree(struct story *story, uint32_t n, size_t which, struct bole_oid *oid)
{
	size_t oid_bytes = bole_hash_bytes(story->maker->algo);
	size_t skip = 7 + strlen(story_names[which]) + 1;

	story->tree.len = 0;
	for (size_t i = 0; i < STORY_FILES; i++)
		tree_entry(&story->tree, "100644", story_names[i], &story->blobs[i]);
	must_id(story->maker->algo, 2, story->tree.ptr, story->tree.len, oid);
	for (size_t i = 0; i < which; i++)
		skip += 7 + strlen(story_names[i]) + 1 + oid_bytes;
	if (n % 16 == 0) {
		story->tree_at =
		        packmaker_object(story->maker, 2, story->tree.ptr, story->tree.len, NULL);
	} else {
		delta_begin(&story->delta, story->tree_len, story->tree.len);
		delta_copy(&story->delta, 0, (uint32_t)skip);
		delta_insert(&story->delta, story->blobs[which].bytes, (uint8_t)oid_bytes);
		if (skip + oid_bytes < story->tree.len)
			delta_copy(&story->delta, (uint32_t)(skip + oid_bytes),
			           (uint32_t)(story->tree.len - skip - oid_bytes));
		story->tree_at = packmaker_ofs(story->maker, story->tree_at, &story->delta);
	}
	story->tree_len = story->tree.len;
}

struct bole_oid packmaker_history(struct packmaker *maker, uint32_t commits, uint64_t seed)
{
	struct story story = {.maker = maker};
	struct bole_oid tree, commit = {0};

	for (size_t i = 0; i < STORY_FILES; i++) {
		test_random_bytes(&seed, story.files[i], STORY_FILE_BYTES);
		story.at[i] = packmaker_object(maker, 3, story.files[i], STORY_FILE_BYTES,
		                               &story.blobs[i]);
	}
	for (uint32_t n = 0; n < commits; n++) {
		size_t which = (size_t)(test_random(&seed) % STORY_FILES);

		story_file(&story, n, which, &seed);
		story_tree(&story, n, which, &tree);
		story.text.len = 0;
		commit_text(&story.text, &tree, n == 0 ? NULL : &commit, 1000000 + (long)n * 60,
		            "change");
		packmaker_object(maker, 1, story.text.ptr, story.text.len, &commit);
	}
	maker_release(&story.delta);
	maker_release(&story.tree);
	maker_release(&story.text);
	return commit;
}
