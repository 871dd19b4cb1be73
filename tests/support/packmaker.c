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

/* Each commit changes one of three files; a file's new version is a delta on its last one every
 * other time, a tree's always after the first. */
struct bole_oid packmaker_history(struct packmaker *maker, uint32_t commits, uint64_t seed)
{
	enum { FILES = 3, FILE_BYTES = 600 };
	static const char *const names[FILES] = {"a", "b.c", "d"};
	struct maker_bytes delta = {0}, tree = {0}, text = {0};
	uint8_t files[FILES][FILE_BYTES];
	struct bole_oid blobs[FILES], tree_oid = {0}, commit = {0};
	uint64_t at[FILES], tree_at = 0;
	size_t oid_bytes = bole_hash_bytes(maker->algo), tree_len = 0;

	for (size_t i = 0; i < FILES; i++) {
		test_random_bytes(&seed, files[i], FILE_BYTES);
		at[i] = packmaker_object(maker, 3, files[i], FILE_BYTES, &blobs[i]);
	}
	for (uint32_t n = 0; n < commits; n++) {
		size_t which = (size_t)(test_random(&seed) % FILES);
		uint8_t *file = files[which];
		uint16_t spot = (uint16_t)(test_random(&seed) % (FILE_BYTES - 8));

		test_random_bytes(&seed, file + spot, 8);
		delta_begin(&delta, FILE_BYTES, FILE_BYTES);
		if (spot > 0)
			delta_copy(&delta, 0, spot);
		delta_insert(&delta, file + spot, 8);
		if (spot + 8 < FILE_BYTES)
			delta_copy(&delta, spot + 8u, FILE_BYTES - 8u - spot);
		struct bole_oid oid;

		if (bole_object_id(maker->algo, 3, bole_bytes_of(file, FILE_BYTES), false, &oid) !=
		    BOLE_OK)
			abort();
		if (n % 8 == 7)
			at[which] = packmaker_object(maker, 3, file, FILE_BYTES, NULL);
		else if (n % 2 == 0)
			at[which] = packmaker_ofs(maker, at[which], &delta);
		else {
			at[which] = packmaker_ref(maker, &blobs[which], &delta);
		}
		blobs[which] = oid;
		tree.len = 0;
		for (size_t i = 0; i < FILES; i++)
			tree_entry(&tree, "100644", names[i], &blobs[i]);
		if (n % 16 == 0) {
			tree_at = packmaker_object(maker, 2, tree.ptr, tree.len, NULL);
		} else {
			size_t skip = 0;

			for (size_t i = 0; i < which; i++)
				skip += 7 + strlen(names[i]) + 1 + oid_bytes;
			skip += 7 + strlen(names[which]) + 1;
			delta_begin(&delta, tree_len, tree.len);
			delta_copy(&delta, 0, (uint32_t)skip);
			delta_insert(&delta, oid.bytes, (uint8_t)oid_bytes);
			if (skip + oid_bytes < tree.len)
				delta_copy(&delta, (uint32_t)(skip + oid_bytes),
				           (uint32_t)(tree.len - skip - oid_bytes));
			tree_at = packmaker_ofs(maker, tree_at, &delta);
		}
		tree_len = tree.len;
		if (bole_object_id(maker->algo, 2, bole_bytes_of(tree.ptr, tree.len), false,
		                   &tree_oid) != BOLE_OK)
			abort();
		text.len = 0;
		commit_text(&text, &tree_oid, n == 0 ? NULL : &commit, 1000000 + (long)n * 60,
		            "change");
		packmaker_object(maker, 1, text.ptr, text.len, &commit);
	}
	maker_release(&delta);
	maker_release(&tree);
	maker_release(&text);
	return commit;
}
