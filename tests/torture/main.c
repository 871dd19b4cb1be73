/* SPDX-License-Identifier: ISC */
/* The frame: units of all programs on several processes, a state file, one line a finding. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "torture/frame.h"

enum {
	FINDINGS_A_UNIT = 5, /* printed; the others are counted */
	STUCK_SECONDS = 60,
	TICK_NS = 100000000,
};

static struct frame *frame; /* shared by all processes */
static struct frame_worker *self;
static struct frame_options options;

uint64_t frame_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void bole_panic(const char *file, int line, const char *what)
{
	if (self != NULL)
		(void)snprintf(self->panic, sizeof self->panic, "%s:%d: %s", file, line, what);
	else
		(void)fprintf(stderr, "panic: %s:%d: %s\n", file, line, what);
	_exit(FRAME_PANIC);
}

/* -- Called by the programs -- */

void torture_progress(struct torture_unit *u, const char *geometry, const char *where)
{
	(void)u;
	(void)snprintf(self->geometry, sizeof self->geometry, "%s", geometry);
	(void)snprintf(self->where, sizeof self->where, "%s", where);
	self->beat++;
}

bool torture_over(struct torture_unit *u)
{
	if (options.repro != NULL || frame_now() < frame->deadline)
		return false;
	u->partial = true;
	return true;
}

static void print_finding(const struct torture_unit *u, const char *geometry, const char *where,
                          const char *text)
{
	char line[1024];
	int n = snprintf(line, sizeof line,
	                 "FAILED %s geometry=%s unit=%llu seed=%llu where=%s: %s | repeat: "
	                 "--seed %llu --repro %s/%llu/%s\n",
	                 u->program->name, geometry, (unsigned long long)u->number,
	                 (unsigned long long)u->seed, where, text, (unsigned long long)u->seed,
	                 u->program->name, (unsigned long long)u->number, where);

	if (n > 0)
		(void)!write(STDOUT_FILENO, line,
		             (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void torture_finding(struct torture_unit *u, const char *geometry, const char *where,
                     const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (u->count.failures++ < FINDINGS_A_UNIT)
		print_finding(u, geometry, where, text);
	if (atomic_fetch_add(&frame->failures, 1) == 0)
		atomic_store(&frame->first_failure_ns, frame_now() - frame->started);
}

/* -- One process -- */

static void add_counts(const struct torture_unit *u, uint64_t ns)
{
	struct frame_program *p = &frame->program[u->program - torture_programs];

	p->cuts += u->count.cuts;
	p->trials += u->count.trials;
	p->failures += u->count.failures;
	if (!u->partial)
		p->units++;
	for (uint64_t first = p->redo; u->partial && u->number < first;)
		if (atomic_compare_exchange_weak(&p->redo, &first, u->number))
			break;
	for (unsigned i = 0; i < TORTURE_EXTRAS; i++)
		p->extra[i] += u->extra[i];
	p->ns += ns;
	for (unsigned i = 0; i < WORK_OPS; i++) {
		frame->done[i] += u->done[i];
		frame->skipped[i] += u->skipped[i];
	}
}

static bool selected(unsigned i)
{
	return (options.programs & 1u << i) != 0;
}

/* The program that has had least of its share. */
static const struct torture_program *take_unit(uint64_t *number)
{
	for (;;) {
		unsigned best = torture_program_count;
		for (unsigned i = 0; i < torture_program_count; i++) {
			const struct frame_program *p = &frame->program[i];
			uint64_t most = torture_programs[i].units;
			if (!selected(i) || (most != 0 && p->next >= most) ||
			    (options.units != 0 && p->next >= options.units))
				continue;
			if (best == torture_program_count ||
			    p->charged * torture_programs[best].share <
			            frame->program[best].charged * torture_programs[i].share)
				best = i;
		}
		if (best == torture_program_count)
			return NULL;
		uint64_t most = torture_programs[best].units;
		*number = atomic_fetch_add(&frame->program[best].next, 1);
		if (most == 0 || *number < most)
			return &torture_programs[best];
	}
}

static void run_unit(const struct torture_program *p, uint64_t number, const char *only)
{
	struct torture_unit *u = &self->unit;
	uint64_t since = frame_now();
	struct frame_program *shared = &frame->program[p - torture_programs];

	memset(u, 0, sizeof *u);
	*u = (struct torture_unit){.program = p,
	                           .seed = options.seed,
	                           .number = number,
	                           .only = only,
	                           .verbose = options.verbose};
	torture_progress(u, "-", "-");
	self->busy = true;
	/* A guess, so that others who choose meanwhile see it; made right below. */
	uint64_t guess = shared->units == 0 ? TICK_NS : shared->ns / shared->units;
	shared->charged += guess;
	p->run(u);
	uint64_t ns = frame_now() - since;
	add_counts(u, ns);
	shared->charged += ns - guess;
	self->busy = false;
}

static void work(void)
{
	const struct torture_program *p;
	uint64_t number;

	while (frame_now() < frame->deadline &&
	       (options.stop_at == 0 || frame->failures < options.stop_at) &&
	       (p = take_unit(&number)) != NULL)
		run_unit(p, number, NULL);
	_exit(0);
}

/* -- The supervisor -- */

static void start(struct frame_worker *w)
{
	(void)fflush(NULL);
	w->panic[0] = 0;
	w->busy = false;
	w->seen = w->beat;
	w->seen_at = frame_now();
	pid_t pid = fork();
	if (pid == 0) {
		self = w;
		work();
	}
	w->pid = pid;
}

/* A process that died takes its unit with it. */
static void died(struct frame_worker *w, int status)
{
	char text[400];

	w->pid = 0;
	if (!w->busy)
		return;
	if (w->panic[0] != 0)
		(void)snprintf(text, sizeof text, "assertion %s", w->panic);
	else if (w->stuck)
		(void)snprintf(text, sizeof text, "no progress in %d seconds", STUCK_SECONDS);
	else
		(void)snprintf(text, sizeof text, "died: status %d", status);
	w->unit.count.failures++;
	frame->failures++;
	print_finding(&w->unit, w->geometry, w->where, text);
	add_counts(&w->unit, 0);
	w->stuck = false;
	if (frame_now() < frame->deadline)
		start(w);
}

static void watch(struct frame_worker *w)
{
	if (w->pid == 0)
		return;
	if (w->beat != w->seen || !w->busy) {
		w->seen = w->beat;
		w->seen_at = frame_now();
	} else if (frame_now() - w->seen_at > STUCK_SECONDS * 1000000000ull && !w->stuck) {
		w->stuck = true;
		(void)kill(w->pid, SIGKILL);
	}
}

static void supervise(void)
{
	unsigned alive;
	uint64_t saved = frame_now();

	do {
		int status;
		pid_t pid;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			for (unsigned i = 0; i < options.jobs; i++)
				if (frame->worker[i].pid == pid)
					died(&frame->worker[i], status);
		alive = 0;
		for (unsigned i = 0; i < options.jobs; i++) {
			watch(&frame->worker[i]);
			alive += frame->worker[i].pid != 0;
		}
		if (frame_now() - saved > 30 * 1000000000ull) {
			saved = frame_now();
			frame_save(frame, &options);
		}
		struct timespec tick = {0, TICK_NS / 5};
		(void)nanosleep(&tick, NULL);
	} while (alive != 0);
}

/* "p1/17/37@bits" */
static int repeat(void)
{
	static struct frame_worker alone;
	char name[16];
	unsigned long long number;
	int at = 0;

	self = &alone;
	if (sscanf(options.repro, "%15[^/]/%llu/%n", name, &number, &at) < 2) {
		(void)fprintf(stderr, "torture: --repro PROGRAM/UNIT/PATH\n");
		return 2;
	}
	const char *only = at == 0 || options.repro[at] == 0 || options.repro[at] == '-'
	                           ? NULL
	                           : options.repro + at;
	for (unsigned i = 0; i < torture_program_count; i++)
		if (strcmp(torture_programs[i].name, name) == 0)
			run_unit(&torture_programs[i], number, only);
	if (alone.panic[0] != 0)
		(void)fprintf(stderr, "%s\n", alone.panic);
	return frame_report(frame, &options);
}

int main(int argc, char **argv)
{
	frame_parse(argc, argv, &options);
	frame = mmap(NULL, sizeof *frame, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	             0);
	if (frame == MAP_FAILED)
		return 1;
	model_universe();
	frame->started = frame_now();
	frame->deadline = frame->started + options.seconds * 1000000000u;
	if (options.repro != NULL)
		return repeat();
	frame_load(frame, &options);
	for (unsigned i = 0; i < options.jobs; i++)
		start(&frame->worker[i]);
	supervise();
	frame_save(frame, &options);
	return frame_report(frame, &options);
}
