/* SPDX-License-Identifier: ISC */
/* The runtime's inner interface: what start-up, drivers, the network port and the image's main may
 * ask of the core. Nothing in src/ sees this; src/ sees include/bole/platform.h only.
 *
 * The machine has one core. Interrupts are off except inside the idle wait, so code is never
 * preempted: an interrupt handler runs only while every fiber is parked, and needs no locks. Three
 * places run code:
 *  - fibers: own stacks with a guard page, may park, sleep and yield;
 *  - pollers and timer functions: run by the scheduler between fibers, must not block;
 *  - interrupt handlers: run inside the idle wait, must not block; they acknowledge the device,
 *    and may wake fibers and arm timers.
 * All of RAM is mapped at virtual = physical, so a pointer to memory (stacks, heap, pages) is its
 * DMA address. Page 0 is not mapped.
 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/platform.h"

#define CORE_PAGE_SIZE 4096u
#define CORE_NEVER     UINT64_MAX

/* ---- boot information (valid after start-up, never changes) ---- */

enum core_memory_kind {
	CORE_MEMORY_RAM = 1,
	CORE_MEMORY_RESERVED = 2,
	CORE_MEMORY_ACPI = 3,
	CORE_MEMORY_NVS = 4,
};
struct core_memory_range {
	uint64_t base;
	uint64_t size;
	uint32_t kind;
};
/* A virtio-mmio slot that the command line or the machine's convention announces; whether a device
 * is in it is for the driver to probe (map it with core_map_mmio first). */
struct core_virtio_mmio {
	uint64_t base;
	uint64_t size;
	unsigned gsi;
};
#define CORE_MEMORY_RANGES_MAX 64
#define CORE_VIRTIO_MMIO_MAX   32
#define CORE_COMMAND_LINE_MAX  4096

struct core_boot {
	const char *command_line; /* NUL-terminated, without the virtio_mmio.device= words */
	uint64_t rsdp;            /* physical address, 0 = none */
	struct core_memory_range memory[CORE_MEMORY_RANGES_MAX];
	size_t memory_count;
	struct core_virtio_mmio virtio_mmio[CORE_VIRTIO_MMIO_MAX];
	size_t virtio_mmio_count;
	bool has_pci;        /* configuration mechanism 1 answers */
	const char *machine; /* "q35", "pc", "microvm", "unknown": for the banner */
};
const struct core_boot *core_boot(void);
/* The value of the word key=value (or "" for a bare key) of the command line, copied to dst; false
 * if absent or cut. The last one wins. */
bool core_option(const char *key, char *dst, size_t cap);

/* ---- fibers ---- */

struct core_fiber;
#define CORE_STACK_DEFAULT (60u * 1024) /* with its guard page 64 KiB */

/* NULL when there is no memory. The fiber ends when fn returns. name is copied (cut at 15). */
struct core_fiber *core_fiber_start(const char *name, void (*fn)(void *arg), void *arg,
                                    size_t stack_bytes);
struct core_fiber *core_fiber_self(void); /* NULL in pollers, timers, interrupts */
const char *core_fiber_name(const struct core_fiber *);
/* Suspends until core_wake. A wake that came since the last park makes it return at once, so
 * "queue work; park" in a loop that rechecks its condition never loses a wake-up. */
void core_park(void);
/* The same with a deadline; false when it passed. */
bool core_park_until(uint64_t deadline_ns);
/* Makes a fiber runnable; idempotent; callable from anywhere. The fiber must not have ended. */
void core_wake(struct core_fiber *);
void core_yield(void);
void core_sleep_until(uint64_t deadline_ns);
/* True when the current fiber has run longer than its slice (2 ms) since it was switched to. */
bool core_slice_over(void);

/* A queue of waiting fibers, first in first out. Zero-initialised is empty. */
struct core_waiter;
struct core_wait_queue {
	struct core_waiter *head;
	struct core_waiter *tail;
};
/* Parks on the queue; false when the deadline passed first. */
bool core_wait(struct core_wait_queue *, uint64_t deadline_ns);
/* Wakes the first, or all; false if nobody waited. */
bool core_wait_wake_one(struct core_wait_queue *);
bool core_wait_wake_all(struct core_wait_queue *);

/* ---- the scheduler's hooks ---- */

/* poll: looks for finished device work (used rings, receive queues) and handles it; true if there
 * was any. Called once per round over the runnable fibers, so it must be cheap when there is
 * nothing. before_idle (may be NULL): about to halt; enable the device's interrupts and return true
 * if work is there after all (then the scheduler polls again instead of halting). Registration is
 * for ever; the struct is the caller's and must stay. */
struct core_poller {
	bool (*poll)(void *ctx);
	bool (*before_idle)(void *ctx);
	void *ctx;
	struct core_poller *next; /* core's */
};
void core_poller_register(struct core_poller *);

/* A one-shot timer. fn runs in the scheduler. The struct is the caller's, zero-initialised before
 * first use. Setting a set timer moves it. */
struct core_timer {
	void (*fn)(void *ctx);
	void *ctx;
	uint64_t deadline_ns;                      /* core's from here */
	struct core_timer *child, *sibling, *back; /* pairing heap */
	bool set;
};
void core_timer_set(struct core_timer *, uint64_t deadline_ns);
void core_timer_cancel(struct core_timer *);

/* ---- interrupts ---- */

#define CORE_IRQ_LEVEL      1u /* level-triggered (default: edge) */
#define CORE_IRQ_ACTIVE_LOW 2u /* (default: active high) */
/* Routes a global system interrupt through its I/O APIC to fn. False: no such line or no vector
 * left. Several handlers may share a level-triggered line. The interrupt ends the idle wait even if
 * fn is NULL (edge only), so a driver that is polled needs no more than that. */
bool core_irq_register(unsigned gsi, unsigned flags, void (*fn)(void *ctx), void *ctx);
/* A message-signalled interrupt: write address and data into the MSI-X table entry. */
struct core_msi {
	uint64_t address;
	uint32_t data;
};
bool core_msi_register(void (*fn)(void *ctx), void *ctx, struct core_msi *out);

/* ---- memory ---- */

/* count physically contiguous pages, aligned to the power of two not above count (at most 2 MiB);
 * NOT zeroed. NULL when there are none. */
void *core_pages_alloc(size_t count);
void core_pages_free(void *pages, size_t count);
struct core_memory_stats {
	size_t pages_total; /* RAM usable by the allocator */
	size_t pages_used;
	size_t pages_peak;
	size_t image_bytes; /* text, data and bss of the image itself */
};
void core_memory_stats(struct core_memory_stats *);
/* The DMA address of memory of ours. */
static inline uint64_t core_phys(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}
/* Maps device registers, uncached; the same virtual address as physical. NULL: no memory for page
 * tables, or the range overlaps RAM. Mapping twice is fine. */
volatile void *core_map_mmio(uint64_t phys, uint64_t len);
/* Maps firmware tables, cached and read-only. */
const void *core_map_firmware(uint64_t phys, uint64_t len);
/* The heap (malloc and free of the image are this too). */
struct bole_alloc *core_alloc(void);

/* ---- time ---- */

uint64_t core_now_ns(void);    /* monotonic since the entry point */
bool core_wall_s(int64_t *s);  /* false: no clock chip and none set */
void core_wall_set(int64_t s); /* from SNTP or the like */
/* Busy-waits; for register delays of microseconds only. */
void core_spin_ns(uint64_t ns);

/* ---- entropy ---- */

/* Feeds the pool (virtio-rng, a seed). bits: how much true entropy the caller credits. */
void core_entropy_add(const void *bytes, size_t len, unsigned bits);
/* False while fewer than 256 bits were credited. */
bool core_entropy_ready(void);
/* CSPRNG output. Panics if called while the pool is not ready and entropy.insecure is not set. */
void core_random(void *dst, size_t len);

/* A number for hash seeds and allocator secrets before the pool is filled; not for keys. */
uint64_t core_early_random(void);

/* ---- console, stopping ---- */

/* One line on the console, with time and level; cut at 512 bytes. */
void core_log(enum bole_log_level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void core_vlog(enum bole_log_level, const char *format, va_list)
        __attribute__((format(printf, 2, 0)));
void core_log_level(enum bole_log_level most); /* lines above it are dropped; default INFO */
/* Raw text, no prefix, no newline added. */
void core_console_write(const char *text, size_t len);
void core_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Asked to stop: Ctrl-C or Ctrl-D on the serial console, the power button, or core_stop(). */
bool core_stop_requested(void);
void core_stop(void);
/* Parks until a stop is requested. */
void core_stop_wait(void);
/* Ends the machine: 0 powers off cleanly, else the status reaches the host where a way exists
 * (isa-debug-exit: 2 * status + 1). Does not return. */
_Noreturn void core_exit(int status);
_Noreturn void core_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- the two ends that others supply ---- */

/* The image's main, on the first fiber (stack CORE_MAIN_STACK); its result goes to core_exit. */
#define CORE_MAIN_STACK (252u * 1024)
int core_main(void);

/* The network's part of struct bole_platform_ops; NULL until the network port plugs itself in. */
struct core_net_ops {
	enum bole_status (*listen)(struct bole_platform *, const char *address,
	                           struct bole_listener **out);
	enum bole_status (*connect)(struct bole_platform *, const char *address,
	                            uint64_t deadline_ns, struct bole_stream **out);
};
void core_net_set(const struct core_net_ops *);
struct bole_platform *core_platform(void);

#endif /* CORE_CORE_H */
