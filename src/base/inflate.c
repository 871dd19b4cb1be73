/* SPDX-License-Identifier: ISC */
/* A zlib stream (RFC 1950, 1951) that lies whole in memory, as fast as tables and wide copies make
 * it. It says yes only to what zlib accepts, with the same bytes; what is odd, short or damaged is
 * a no, and zlib has the last word (deflate.c).
 *
 * A table is looked up with the next bits of the stream; an entry says how many bits it takes, its
 * own extra bits included. Codes that are longer than the table's width have a second table each.
 * `bits` holds the next bits of the stream, `bit_count` of them count; what lies above may be bits
 * that come later, never others. Past the end of the input come zeros, which are counted. */
#include "base/inflate.h"

#include <libdeflate.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum {
	CODE_MAX = 15, /* bits */
	LITLEN_BITS = 11,
	DIST_BITS = 8,
	PRECODE_BITS = 7,
	LITLEN_SYMBOLS = 286, /* that a stream may use */
	LITLEN_CODES = 288,
	DIST_SYMBOLS = 30,
	DIST_CODES = 32,
	PRECODE_SYMBOLS = 19,
	END_OF_BLOCK = 256,
	/* Below a second table hang two codes at least, so there are at most half as many. */
	LITLEN_TABLE = (1 << LITLEN_BITS) + LITLEN_CODES / 2 * (1 << (CODE_MAX - LITLEN_BITS)),
	DIST_TABLE = (1 << DIST_BITS) + DIST_CODES / 2 * (1 << (CODE_MAX - DIST_BITS)),
	PRECODE_TABLE = 1 << PRECODE_BITS,
	/* What one round of the fast loop may look at and write. */
	FAST_IN = 32,
	FAST_OUT = 3 + 258 + 16,
	ZLIB_HEAD = 2,
	ZLIB_TAIL = 4,
};

/* Entries. Bits 0-7: how many bits of the stream it takes; 8-11: how many of them are the code;
 * 16-30: a literal, the least length or distance, or where the second table begins (8-11 then say
 * how many bits it is looked up with). */
#define LITERAL (1u << 31)
#define ODD     (1u << 15) /* not a length or distance: one of the next two, or no code at all */
#define SECOND  (1u << 14)
#define END     (1u << 13)

struct bole_inflate_tables {
	uint32_t litlen[LITLEN_TABLE];
	uint32_t dist[DIST_TABLE];
	uint32_t precode[PRECODE_TABLE];
	uint8_t lens[LITLEN_CODES + DIST_CODES];
	unsigned litlen_bits;
	unsigned dist_bits;
	bool fixed; /* the tables are those of fixed codes */
};

struct stream {
	const uint8_t *in;
	const uint8_t *in_end;
	uint8_t *out;
	uint8_t *out_start;
	uint8_t *out_end;
	uint64_t bits;
	unsigned bit_count;
	unsigned past; /* zero bytes that were read behind the end */
	bool cut;      /* the input ends before a stored block does */
};

size_t bole_inflate_tables_bytes(void)
{
	return sizeof(struct bole_inflate_tables);
}

/* -- Bits -- */

/* 56 bits or more. */
static inline void refill_fast(struct stream *s)
{
	s->bits |= bole_get_le64(s->in) << s->bit_count;
	s->in += (63 - s->bit_count) >> 3;
	s->bit_count |= 56;
}

static void refill(struct stream *s)
{
	if (s->in_end - s->in >= 8) {
		refill_fast(s);
		return;
	}
	while (s->bit_count < 56) {
		if (s->in < s->in_end)
			s->bits |= (uint64_t)*s->in++ << s->bit_count;
		else
			s->past++;
		s->bit_count += 8;
	}
}

static inline uint32_t low_bits(uint64_t bits, unsigned count)
{
	return (uint32_t)(bits & ((1u << count) - 1));
}

static inline void drop_bits(struct stream *s, unsigned count)
{
	s->bits >>= count;
	s->bit_count -= count;
}

static inline uint32_t take_bits(struct stream *s, unsigned count)
{
	uint32_t value = low_bits(s->bits, count);

	drop_bits(s, count);
	return value;
}

/* -- Tables -- */

/* What symbols stand for, without the bits that they take. */
static uint32_t litlen_entry(unsigned symbol)
{
	static const uint16_t base[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
	                                15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
	                                67, 83, 99, 115, 131, 163, 195, 227, 258};

	if (symbol < END_OF_BLOCK)
		return LITERAL | symbol << 16;
	if (symbol == END_OF_BLOCK)
		return ODD | END;
	if (symbol >= LITLEN_SYMBOLS)
		return ODD;
	unsigned length = symbol - END_OF_BLOCK - 1;
	unsigned extra = length < 8 || length == 28 ? 0 : length / 4 - 1;

	return (uint32_t)base[length] << 16 | extra;
}

static uint32_t dist_entry(unsigned symbol)
{
	if (symbol >= DIST_SYMBOLS)
		return ODD;
	if (symbol < 4)
		return (symbol + 1) << 16;
	unsigned extra = symbol / 2 - 1;

	return (((2 + symbol % 2) << extra) + 1) << 16 | extra;
}

static uint32_t precode_entry(unsigned symbol)
{
	return symbol << 16;
}

/* The symbols that have a code, by its length and then by their number. False: the lengths make no
 * complete code. counts gets how many there are of each length. */
static bool sort_symbols(const uint8_t *lens, unsigned n, uint16_t *sorted, uint16_t *counts)
{
	uint16_t next[CODE_MAX + 2] = {0};
	unsigned space = 0;

	memset(counts, 0, (CODE_MAX + 1) * sizeof(*counts));
	for (unsigned i = 0; i < n; i++)
		counts[lens[i]]++;
	counts[0] = 0;
	for (unsigned len = 1; len <= CODE_MAX; len++) {
		next[len + 1] = (uint16_t)(next[len] + counts[len]);
		space = (space << 1) + counts[len];
		if (space > 1u << len)
			return false;
	}
	if (space != 1u << CODE_MAX)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (lens[i] != 0)
			sorted[next[lens[i]]++] = (uint16_t)i;
	return true;
}

/* The code after a bit-reversed one of the same length; 0 after the last. */
static unsigned code_after(unsigned code, unsigned len)
{
	unsigned bit = 1u << (len - 1);

	while ((code & bit) != 0)
		bit >>= 1;
	return bit == 0 ? 0 : (code & (bit - 1)) | bit;
}

/* *bits is the width of the table at most, then what it is. */
static bool build(uint32_t *table, unsigned *bits, const uint8_t *lens, unsigned n,
                  uint32_t entry_of(unsigned symbol))
{
	uint16_t sorted[LITLEN_CODES];
	uint16_t counts[CODE_MAX + 1];
	unsigned longest = CODE_MAX;
	unsigned width = 1; /* of what is filled; doubled by copying itself */
	unsigned code = 0;
	uint32_t second = 0;
	uint32_t prefix = UINT32_MAX;
	const uint16_t *symbol = sorted;

	if (!sort_symbols(lens, n, sorted, counts))
		return false;
	while (counts[longest] == 0)
		longest--;
	*bits = longest < *bits ? longest : *bits;
	uint32_t end = 1u << *bits;

	for (unsigned len = 1; len <= longest; len++) {
		for (; width < len && width < *bits; width++)
			memcpy(table + (1u << width), table, sizeof(*table) << width);
		for (unsigned i = 0; i < counts[len]; i++, code = code_after(code, len)) {
			uint32_t entry = entry_of(*symbol++);

			entry += len | len << 8;
			if (len <= *bits) {
				table[code] = entry;
				continue;
			}
			if ((code & ((1u << *bits) - 1)) != prefix) {
				prefix = code & ((1u << *bits) - 1);
				second = end;
				end += 1u << (longest - *bits);
				table[prefix] = ODD | SECOND | second << 16 |
				                (longest - *bits) << 8 | *bits;
			}
			for (uint32_t at = code >> *bits; at < 1u << (longest - *bits);
			     at += 1u << (len - *bits))
				table[second + at] = entry;
		}
	}
	return true;
}

static bool fixed_tables(struct bole_inflate_tables *t)
{
	if (t->fixed)
		return true;
	memset(t->lens, 8, 144);
	memset(t->lens + 144, 9, 112);
	memset(t->lens + 256, 7, 24);
	memset(t->lens + 280, 8, 8);
	memset(t->lens + LITLEN_CODES, 5, DIST_CODES);
	t->litlen_bits = LITLEN_BITS;
	t->dist_bits = DIST_BITS;
	t->fixed = build(t->litlen, &t->litlen_bits, t->lens, LITLEN_CODES, litlen_entry) &&
	           build(t->dist, &t->dist_bits, t->lens + LITLEN_CODES, DIST_CODES, dist_entry);
	return t->fixed;
}

/* The lengths of both codes, themselves coded. */
static bool read_lens(struct stream *s, struct bole_inflate_tables *t, unsigned precode_bits,
                      unsigned count)
{
	for (unsigned i = 0; i < count;) {
		refill(s);
		uint32_t entry = t->precode[low_bits(s->bits, precode_bits)];
		unsigned symbol = entry >> 16 & 31;
		uint8_t value = 0;
		unsigned repeat;

		drop_bits(s, entry & 0xff);
		if (symbol < 16) {
			t->lens[i++] = (uint8_t)symbol;
			continue;
		}
		if (symbol == 16) {
			if (i == 0)
				return false;
			value = t->lens[i - 1];
			repeat = 3 + take_bits(s, 2);
		} else {
			repeat = symbol == 17 ? 3 + take_bits(s, 3) : 11 + take_bits(s, 7);
		}
		if (repeat > count - i)
			return false;
		memset(t->lens + i, value, repeat);
		i += repeat;
	}
	return true;
}

static bool dynamic_tables(struct stream *s, struct bole_inflate_tables *t)
{
	static const uint8_t order[PRECODE_SYMBOLS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
	                                               11, 4,  12, 3, 13, 2, 14, 1, 15};
	uint8_t precode_lens[PRECODE_SYMBOLS] = {0};
	unsigned precode_bits = PRECODE_BITS;

	t->fixed = false;
	refill(s);
	unsigned litlens = 257 + take_bits(s, 5);
	unsigned dists = 1 + take_bits(s, 5);
	unsigned precodes = 4 + take_bits(s, 4);

	if (litlens > LITLEN_SYMBOLS || dists > DIST_SYMBOLS)
		return false;
	for (unsigned i = 0; i < precodes; i++) {
		refill(s);
		precode_lens[order[i]] = (uint8_t)take_bits(s, 3);
	}
	if (!build(t->precode, &precode_bits, precode_lens, PRECODE_SYMBOLS, precode_entry) ||
	    !read_lens(s, t, precode_bits, litlens + dists))
		return false;
	t->litlen_bits = LITLEN_BITS;
	t->dist_bits = DIST_BITS;
	return t->lens[END_OF_BLOCK] != 0 &&
	       build(t->litlen, &t->litlen_bits, t->lens, litlens, litlen_entry) &&
	       build(t->dist, &t->dist_bits, t->lens + litlens, dists, dist_entry);
}

/* -- Blocks -- */

static bool stored_block(struct stream *s)
{
	unsigned held = s->bit_count / 8;

	if (s->past > held)
		return false;
	s->in -= held - s->past;
	s->bits = 0;
	s->bit_count = 0;
	s->past = 0;
	s->cut = s->in_end - s->in < 4;
	if (s->cut)
		return false;
	unsigned len = bole_get_le16(s->in);

	if ((len ^ bole_get_le16(s->in + 2)) != 0xffff || (size_t)(s->out_end - s->out) < len)
		return false;
	s->cut = (size_t)(s->in_end - s->in - 4) < len;
	if (s->cut)
		return false;
	if (len > 0)
		memcpy(s->out, s->in + 4, len);
	s->in += 4 + len;
	s->out += len;
	return true;
}

static inline uint32_t second_of(const uint32_t *table, uint32_t entry, uint64_t bits)
{
	return table[(entry >> 16 & 0x7fff) + low_bits(bits >> (entry & 0xff), entry >> 8 & 15)];
}

/* Takes the bits of a length or distance and adds the extra ones. */
static inline uint32_t take_value(struct stream *s, uint32_t entry)
{
	uint32_t extra = low_bits(s->bits, entry & 0xff) >> (entry >> 8 & 15);

	drop_bits(s, entry & 0xff);
	return (entry >> 16 & 0x7fff) + extra;
}

/* The distance that follows; 0: none, or beyond what was written. Needs 28 bits. */
static inline uint32_t take_distance(struct stream *s, const struct bole_inflate_tables *t,
                                     uint64_t dist_mask)
{
	uint32_t entry = t->dist[s->bits & dist_mask];

	if ((entry & SECOND) != 0)
		entry = second_of(t->dist, entry, s->bits);
	if ((entry & ODD) != 0)
		return 0;
	uint32_t distance = take_value(s, entry);

	return distance <= (size_t)(s->out - s->out_start) ? distance : 0;
}

/* May write up to 15 bytes too many. */
static inline void copy_fast(uint8_t *out, uint32_t distance, uint32_t length)
{
	const uint8_t *from = out - distance;
	const uint8_t *end = out + length;

	if (distance >= 16) {
		do {
			memcpy(out, from, 16);
			out += 16;
			from += 16;
		} while (out < end);
	} else if (distance >= 8) {
		do {
			memcpy(out, from, 8);
			out += 8;
			from += 8;
		} while (out < end);
	} else if (distance == 1) {
		memset(out, *from, length);
	} else {
		while (out < end)
			*out++ = *from++;
	}
}

enum step { GOES_ON, BLOCK_ENDS, REFUSED };

/* As long as there is plenty of input and room. The next entry is looked up before the bytes of the
 * one at hand are copied, so that both wait for memory at the same time. */
static enum step block_fast(struct stream *state, const struct bole_inflate_tables *t)
{
	/* Stores of bytes may alias the tables, as far as the compiler knows; not these. */
	const uint64_t mask = ((uint64_t)1 << t->litlen_bits) - 1;
	const uint64_t dist_mask = ((uint64_t)1 << t->dist_bits) - 1;
	struct stream s = *state;
	enum step step = GOES_ON;

	if (s.in_end - s.in < FAST_IN || s.out_end - s.out < FAST_OUT)
		return GOES_ON;
	refill_fast(&s);
	uint32_t entry = t->litlen[s.bits & mask];

	while (s.in_end - s.in >= FAST_IN && s.out_end - s.out >= FAST_OUT) {
		for (unsigned i = 0; i < 3 && (entry & LITERAL) != 0; i++) {
			drop_bits(&s, entry & 0xff);
			*s.out++ = (uint8_t)(entry >> 16);
			entry = t->litlen[s.bits & mask];
		}
		refill_fast(&s);
		if ((entry & LITERAL) != 0)
			continue;
		if ((entry & SECOND) != 0) {
			entry = second_of(t->litlen, entry, s.bits);
			if ((entry & LITERAL) != 0)
				continue;
		}
		if ((entry & ODD) != 0) {
			drop_bits(&s, entry & 0xff);
			step = (entry & END) != 0 ? BLOCK_ENDS : REFUSED;
			break;
		}
		uint32_t length = take_value(&s, entry);
		uint32_t distance = take_distance(&s, t, dist_mask);

		if (distance == 0) {
			step = REFUSED;
			break;
		}
		refill_fast(&s);
		entry = t->litlen[s.bits & mask];
		copy_fast(s.out, distance, length);
		s.out += length;
	}
	*state = s;
	return step;
}

/* The same near the end of either side. */
static enum step block_careful(struct stream *s, const struct bole_inflate_tables *t)
{
	for (;;) {
		refill(s);
		/* A stream that is cut off would go on with zeros for ever. */
		if (s->past > 8)
			return REFUSED;
		uint32_t entry = t->litlen[low_bits(s->bits, t->litlen_bits)];

		if ((entry & SECOND) != 0)
			entry = second_of(t->litlen, entry, s->bits);
		if ((entry & LITERAL) != 0) {
			if (s->out == s->out_end)
				return REFUSED;
			drop_bits(s, entry & 0xff);
			*s->out++ = (uint8_t)(entry >> 16);
			continue;
		}
		if ((entry & ODD) != 0) {
			drop_bits(s, entry & 0xff);
			return (entry & END) != 0 ? BLOCK_ENDS : REFUSED;
		}
		uint32_t length = take_value(s, entry);
		uint32_t distance = take_distance(s, t, (1u << t->dist_bits) - 1);

		if (distance == 0 || length > (size_t)(s->out_end - s->out))
			return REFUSED;
		for (const uint8_t *from = s->out - distance; length > 0; length--)
			*s->out++ = *from++;
	}
}

static bool one_block(struct stream *s, struct bole_inflate_tables *t, bool *last)
{
	refill(s);
	*last = take_bits(s, 1) != 0;
	switch (take_bits(s, 2)) {
	case 0: return stored_block(s);
	case 1:
		if (!fixed_tables(t))
			return false;
		break;
	case 2:
		if (!dynamic_tables(s, t))
			return false;
		break;
	default: return false;
	}
	enum step step = block_fast(s, t);

	if (step == GOES_ON)
		step = block_careful(s, t);
	return step == BLOCK_ENDS && s->past <= s->bit_count / 8;
}

void bole_inflate_tables_init(struct bole_inflate_tables *t)
{
	t->fixed = false;
}

static bool is_zlib_head(const uint8_t *head)
{
	return (head[0] & 15) == 8 && head[0] >> 4 <= 7 && (head[0] << 8 | head[1]) % 31 == 0 &&
	       (head[1] & 0x20) == 0;
}

enum bole_status bole_inflate_buffer(struct bole_inflate_tables *t, struct bole_bytes in,
                                     uint8_t *dst, size_t dst_len, size_t *used)
{
	struct stream s = {.out = dst, .out_start = dst, .out_end = dst + dst_len};
	bool last = false;

	if (in.len < ZLIB_HEAD)
		return BOLE_AGAIN;
	if (!is_zlib_head(in.ptr))
		return BOLE_E_CORRUPT;
	s.in = in.ptr + ZLIB_HEAD;
	s.in_end = in.ptr + in.len;
	while (!last)
		if (!one_block(&s, t, &last))
			return s.cut || s.past > s.bit_count / 8 ? BOLE_AGAIN : BOLE_E_CORRUPT;
	s.in -= s.bit_count / 8 - s.past;
	if (s.out != s.out_end)
		return BOLE_E_CORRUPT;
	if (s.in_end - s.in < ZLIB_TAIL)
		return BOLE_AGAIN;
	if (bole_get_be32(s.in) != libdeflate_adler32(1, dst, dst_len))
		return BOLE_E_CORRUPT;
	*used = (size_t)(s.in - in.ptr) + ZLIB_TAIL;
	return BOLE_OK;
}
