/* SPDX-License-Identifier: ISC */
/* Content of a simulated device: nodes of pages, both counted, copied when a shared one is written.
 * What was never written has neither. */
#include <string.h>

#include "backends/block_sim.h"
#include "base/check.h"
#include "base/memory.h"

enum { PAGE_BYTES_LEAST = 4096, NODE_PAGES_LEAST = 64, RAW_BLANK = 0xff };

/* splitmix64's mixer */
uint64_t bole_sim_noise(uint64_t seed, uint64_t at)
{
	uint64_t z = seed + (at + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

bool bole_sim_image_init(struct sim_image *image, struct bole_alloc *alloc,
                         const struct bole_block_sim_options *o)
{
	bool raw = o->kind != BOLE_BLOCK_MANAGED;
	uint32_t page = o->program_unit;

	while (page < PAGE_BYTES_LEAST && (!raw || o->erase_unit % (2 * page) == 0))
		page *= 2;
	*image = (struct sim_image){.alloc = alloc,
	                            .blank = raw ? RAW_BLANK : 0,
	                            .unit = o->program_unit,
	                            .page_bytes = page,
	                            .block_bytes = raw ? o->erase_unit : 0,
	                            .node_pages = NODE_PAGES_LEAST};
	if (raw) {
		uint32_t pages = o->erase_unit / page;
		image->node_blocks = pages < NODE_PAGES_LEAST ? NODE_PAGES_LEAST / pages : 1;
		image->node_pages = pages * image->node_blocks;
	}
	uint64_t node_bytes = (uint64_t)image->node_pages * page;
	image->nodes = (size_t)((o->size_bytes + node_bytes - 1) / node_bytes);
	image->node = bole_alloc_zeroed(alloc, image->nodes, sizeof(struct sim_node *));
	return image->node != NULL;
}

/* -- Pages -- */

static size_t page_size(uint32_t page_bytes, uint32_t unit)
{
	return sizeof(struct sim_page) + page_bytes + page_bytes / unit;
}

static struct sim_page *page_new(const struct sim_image *image)
{
	size_t size = page_size(image->page_bytes, image->unit);
	struct sim_page *page = bole_alloc_array(image->alloc, size, 1);

	if (page == NULL)
		return NULL;
	*page = (struct sim_page){.alloc = image->alloc, .state = page->bytes + image->page_bytes};
	atomic_init(&page->refs, 1);
	return page;
}

static struct sim_page *page_copy(const struct sim_image *image, const struct sim_page *from)
{
	struct sim_page *page = page_new(image);

	if (page == NULL)
		return NULL;
	if (from == NULL) {
		memset(page->bytes, image->blank, image->page_bytes);
		memset(page->state, SIM_ERASED, image->page_bytes / image->unit);
		return page;
	}
	page->odd = from->odd;
	memcpy(page->bytes, from->bytes, image->page_bytes + image->page_bytes / image->unit);
	if (from->rot == NULL)
		return page;
	page->rot = bole_alloc_array(image->alloc, image->page_bytes, 1);
	if (page->rot == NULL) {
		bole_sim_page_unref(page, image->page_bytes, image->unit);
		return NULL;
	}
	memcpy(page->rot, from->rot, image->page_bytes);
	return page;
}

void bole_sim_page_ref(struct sim_page *page)
{
	if (page != NULL)
		atomic_fetch_add_explicit(&page->refs, 1, memory_order_relaxed);
}

void bole_sim_page_unref(struct sim_page *page, uint32_t page_bytes, uint32_t unit)
{
	if (page == NULL || atomic_fetch_sub_explicit(&page->refs, 1, memory_order_acq_rel) != 1)
		return;
	bole_alloc_free(page->alloc, page->rot, page_bytes, 1);
	bole_alloc_free(page->alloc, page, page_size(page_bytes, unit), 1);
}

static void drop_page(const struct sim_image *image, struct sim_page *page)
{
	bole_sim_page_unref(page, image->page_bytes, image->unit);
}

/* -- Nodes -- */

static size_t node_size(const struct sim_image *image)
{
	return sizeof(struct sim_node) + image->node_pages * sizeof(struct sim_page *) +
	       image->node_blocks * sizeof(struct sim_erase_block);
}

static void drop_node(const struct sim_image *image, struct sim_node *node)
{
	if (node == NULL || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < image->node_pages; i++)
		drop_page(image, node->page[i]);
	bole_alloc_free(node->alloc, node, node_size(image), 1);
}

/* The node, to be written: made or copied when need be. NULL = no memory. */
static struct sim_node *own_node(struct sim_image *image, uint64_t index)
{
	struct sim_node *old = image->node[index];

	if (old != NULL && atomic_load_explicit(&old->refs, memory_order_acquire) == 1)
		return old;
	struct sim_node *node = bole_alloc_zeroed(image->alloc, node_size(image), 1);
	if (node == NULL)
		return NULL;
	node->alloc = image->alloc;
	atomic_init(&node->refs, 1);
	node->block = (struct sim_erase_block *)(void *)(node->page + image->node_pages);
	if (old != NULL) {
		for (uint32_t i = 0; i < image->node_pages; i++) {
			bole_sim_page_ref(old->page[i]);
			node->page[i] = old->page[i];
		}
		memcpy(node->block, old->block, image->node_blocks * sizeof *node->block);
		drop_node(image, old);
	}
	image->node[index] = node;
	return node;
}

bool bole_sim_image_share(struct sim_image *to, struct bole_alloc *alloc,
                          const struct sim_image *from)
{
	*to = *from;
	to->alloc = alloc;
	to->node = bole_alloc_array(alloc, from->nodes, sizeof(struct sim_node *));
	if (to->node == NULL)
		return false;
	memcpy(to->node, from->node, from->nodes * sizeof(struct sim_node *));
	for (size_t i = 0; i < from->nodes; i++)
		if (from->node[i] != NULL)
			atomic_fetch_add_explicit(&from->node[i]->refs, 1, memory_order_relaxed);
	bole_sim_page_ref(to->discarded);
	return true;
}

void bole_sim_image_release(struct sim_image *image)
{
	if (image->node == NULL)
		return;
	for (size_t i = 0; i < image->nodes; i++)
		drop_node(image, image->node[i]);
	drop_page(image, image->discarded);
	bole_alloc_free(image->alloc, image->node, image->nodes, sizeof(struct sim_node *));
	image->node = NULL;
}

/* -- Access -- */

struct sim_page *bole_sim_page(const struct sim_image *image, uint64_t index)
{
	const struct sim_node *node = image->node[index / image->node_pages];

	return node == NULL ? NULL : node->page[index % image->node_pages];
}

struct sim_page *bole_sim_page_own(struct sim_image *image, uint64_t index)
{
	struct sim_node *node = own_node(image, index / image->node_pages);

	if (node == NULL)
		return NULL;
	struct sim_page **slot = &node->page[index % image->node_pages];
	if (*slot != NULL && atomic_load_explicit(&(*slot)->refs, memory_order_acquire) == 1)
		return *slot;
	struct sim_page *page = page_copy(image, *slot);
	if (page == NULL)
		return NULL;
	drop_page(image, *slot);
	*slot = page;
	return page;
}

bool bole_sim_page_set(struct sim_image *image, uint64_t index, struct sim_page *page)
{
	struct sim_page *old = bole_sim_page(image, index);

	if (old == page) {
		drop_page(image, page);
		return true;
	}
	struct sim_node *node = own_node(image, index / image->node_pages);
	if (node == NULL) {
		drop_page(image, page);
		return false;
	}
	drop_page(image, old);
	node->page[index % image->node_pages] = page;
	return true;
}

bool bole_sim_page_discard(struct sim_image *image, uint64_t index)
{
	if (image->discarded == NULL) {
		image->discarded = page_copy(image, NULL);
		if (image->discarded == NULL)
			return false;
		image->discarded->odd = true;
		memset(image->discarded->state, SIM_DISCARDED, image->page_bytes / image->unit);
	}
	bole_sim_page_ref(image->discarded);
	return bole_sim_page_set(image, index, image->discarded);
}

struct sim_erase_block bole_sim_block(const struct sim_image *image, uint64_t index)
{
	const struct sim_node *node = image->node[index / image->node_blocks];

	return node == NULL ? (struct sim_erase_block){.flags = 0}
	                    : node->block[index % image->node_blocks];
}

struct sim_erase_block *bole_sim_block_own(struct sim_image *image, uint64_t index)
{
	struct sim_node *node = own_node(image, index / image->node_blocks);

	return node == NULL ? NULL : &node->block[index % image->node_blocks];
}

static void get_noise(uint64_t off, uint8_t *dst, size_t len)
{
	uint64_t r = bole_sim_noise(0, off / 8) >> off % 8 * 8;

	for (size_t i = 0; i < len; i++, r >>= 8) {
		if ((off + i) % 8 == 0)
			r = bole_sim_noise(0, (off + i) / 8);
		dst[i] = (uint8_t)r;
	}
}

static void get_page(const struct sim_image *image, const struct sim_page *page, uint64_t off,
                     uint8_t *dst, size_t len)
{
	if (page == NULL) {
		memset(dst, image->blank, len);
		return;
	}
	size_t at = (size_t)(off % image->page_bytes);
	memcpy(dst, page->bytes + at, len);
	if (!page->odd)
		return;
	for (size_t i = 0; i < len;) {
		size_t n = image->unit - (at + i) % image->unit;
		if (n > len - i)
			n = len - i;
		if (page->state[(at + i) / image->unit] == SIM_DISCARDED)
			get_noise(off + i, dst + i, n);
		i += n;
	}
}

void bole_sim_image_get(const struct sim_image *image, uint64_t off, uint8_t *dst, size_t len)
{
	while (len != 0) {
		size_t n = image->page_bytes - (size_t)(off % image->page_bytes);
		if (n > len)
			n = len;
		get_page(image, bole_sim_page(image, off / image->page_bytes), off, dst, n);
		off += n;
		dst += n;
		len -= n;
	}
}

uint64_t bole_sim_image_memory(const struct sim_image *image)
{
	uint64_t sum = image->nodes * sizeof(struct sim_node *);

	for (size_t n = 0; n < image->nodes; n++) {
		if (image->node[n] == NULL)
			continue;
		sum += node_size(image);
		for (uint32_t i = 0; i < image->node_pages; i++) {
			const struct sim_page *page = image->node[n]->page[i];
			if (page == NULL || page == image->discarded)
				continue;
			sum += page_size(image->page_bytes, image->unit);
			sum += page->rot == NULL ? 0 : image->page_bytes;
		}
	}
	return sum;
}
