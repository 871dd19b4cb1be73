/* SPDX-License-Identifier: ISC */
/* The console: log lines with the time since entry, raw text, panic, and the bytes that come in. */

#include <stdio.h>
#include <string.h>

#include "core/arch.h"
#include "core/sched.h"

#define LINE_MAX_BYTES 512
#define STATUS_PANIC   17
#define KEY_STOP_1     0x03 /* Ctrl-C */
#define KEY_STOP_2     0x04 /* Ctrl-D */
#define KEY_STATUS     0x14 /* Ctrl-T */

static enum bole_log_level most = BOLE_LOG_INFO;

void core_log_level(enum bole_log_level level)
{
	most = level;
}

void core_console_write(const char *text, size_t len)
{
	arch_serial_write(text, len);
}

void core_printf(const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	if (n > 0)
		arch_serial_write(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void core_vlog(enum bole_log_level level, const char *format, va_list ap)
{
	static const char *const names[] = {"error: ", "warning: ", "", "debug: "};
	char line[LINE_MAX_BYTES + 2];
	uint64_t us = arch_now_ns() / 1000;
	int head, n;

	if (level > most)
		return;
	head = snprintf(line, LINE_MAX_BYTES, "[%5lu.%06lu] %s", (unsigned long)(us / 1000000),
	                (unsigned long)(us % 1000000), names[level & 3]);
	n = vsnprintf(line + head, (size_t)(LINE_MAX_BYTES - head), format, ap);
	if (n < 0)
		return;
	size_t len = strlen(line);
	line[len++] = '\r';
	line[len++] = '\n';
	arch_serial_write(line, len);
}

void core_log(enum bole_log_level level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	core_vlog(level, format, ap);
	va_end(ap);
}

void core_panic(const char *format, ...)
{
	static bool panicking;
	va_list ap;

	if (panicking)
		arch_abort(STATUS_PANIC);
	panicking = true;
	core_printf("\nPANIC: ");
	char line[LINE_MAX_BYTES];
	va_start(ap, format);
	vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	const struct core_fiber *f = core_fiber_self();
	core_printf("%s\n  in %s\n", line, f == NULL ? "the scheduler" : core_fiber_name(f));
	arch_backtrace((uint64_t)(uintptr_t)__builtin_frame_address(0));
	arch_abort(STATUS_PANIC);
}

void bole_panic(const char *file, int line, const char *what)
{
	core_panic("%s:%d: %s", file, line, what);
}

/* ---- stopping ---- */

static bool stop;
static struct core_wait_queue stop_waiters;

bool core_stop_requested(void)
{
	return stop;
}

void core_stop(void)
{
	stop = true;
	core_wait_wake_all(&stop_waiters);
}

void core_stop_wait(void)
{
	while (!stop)
		core_wait(&stop_waiters, CORE_NEVER);
}

static void print_status(void)
{
	struct core_memory_stats s;

	core_memory_stats(&s);
	size_t image = s.image_bytes / 1024;
	core_log(BOLE_LOG_INFO,
	         "memory in use %zu KiB of %zu, %zu at peak, the image's %zu among it",
	         s.pages_used * 4 + image, s.pages_total * 4 + image, s.pages_peak * 4 + image,
	         image);
	struct sched_longest longest = sched_longest();
	core_log(BOLE_LOG_INFO, "longest run without a yield since last asked: %lu us in %s",
	         (unsigned long)(longest.ns / 1000), longest.name);
}

void core_console_input(void)
{
	int c;

	while ((c = arch_serial_read()) >= 0) {
		if (c == KEY_STOP_1 || c == KEY_STOP_2)
			core_stop();
		else if (c == KEY_STATUS)
			print_status();
	}
}

void core_exit(int status)
{
	if (status != 0)
		arch_abort(status);
	arch_power_off();
}
