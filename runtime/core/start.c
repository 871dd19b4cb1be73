/* SPDX-License-Identifier: ISC */
/* Start-up in order, the boot information, and the words of the command line. */

#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/entropy.h"
#include "core/pages.h"
#include "core/sched.h"
#include "core/selftest.h"

#define VIRTIO_WORD "virtio_mmio.device="

extern char image_end[];

static struct core_boot boot;
static char command_line[CORE_COMMAND_LINE_MAX];

const struct core_boot *core_boot(void)
{
	return &boot;
}

struct core_boot *core_boot_mutable(void)
{
	return &boot;
}

/* "512@0xfeb00e00:12" or "4K@0xd0000000:5", up to a space. */
static bool parse_virtio(const char *word, struct core_virtio_mmio *out)
{
	char *end;

	out->size = strtoul(word, &end, 0);
	if (*end == 'K' || *end == 'k') {
		out->size <<= 10;
		end++;
	}
	if (*end != '@')
		return false;
	out->base = strtoul(end + 1, &end, 0);
	if (*end != ':')
		return false;
	out->gsi = (unsigned)strtoul(end + 1, &end, 0);
	return out->base != 0 && out->size >= 0x100 && out->size <= 0x100000;
}

void core_boot_command_line(const char *text)
{
	size_t used = 0;

	boot.command_line = command_line;
	while (*text != '\0') {
		size_t word = strcspn(text, " ");
		if (strncmp(text, VIRTIO_WORD, sizeof VIRTIO_WORD - 1) == 0) {
			if (boot.virtio_mmio_count < CORE_VIRTIO_MMIO_MAX &&
			    parse_virtio(text + sizeof VIRTIO_WORD - 1,
			                 &boot.virtio_mmio[boot.virtio_mmio_count]))
				boot.virtio_mmio_count++;
		} else if (word > 0) {
			if (used + word + 2 > sizeof command_line)
				core_panic("the command line is too long");
			if (used > 0)
				command_line[used++] = ' ';
			memcpy(command_line + used, text, word);
			used += word;
		}
		text += word;
		text += strspn(text, " ");
	}
	command_line[used] = '\0';
}

bool core_option(const char *key, char *dst, size_t cap)
{
	const size_t key_len = strlen(key);
	const char *at = boot.command_line, *found = NULL;
	size_t found_len = 0;

	while (*at != '\0') {
		size_t word = strcspn(at, " ");
		if (word >= key_len && strncmp(at, key, key_len) == 0 &&
		    (word == key_len || at[key_len] == '=')) {
			found = word == key_len ? at + word : at + key_len + 1;
			found_len = (size_t)(at + word - found);
		}
		at += word;
		at += strspn(at, " ");
	}
	if (found == NULL || found_len >= cap)
		return false;
	memcpy(dst, found, found_len);
	dst[found_len] = '\0';
	return true;
}

static void main_fiber(void *arg)
{
	(void)arg;
	selftest_if_asked();
	core_exit(core_main());
}

void core_start(void)
{
	uint64_t free = (uint64_t)(uintptr_t)image_end;

	if (boot.command_line == NULL)
		boot.command_line = command_line;
	arch_paging_init(&free);
	pages_init(free);
	arch_irq_init();
	arch_clock_init();
	arch_serial_irq_init();
	entropy_init();
	if (core_fiber_start("main", main_fiber, NULL, CORE_MAIN_STACK) == NULL)
		core_panic("no memory for the first fiber");
	sched_run();
}
