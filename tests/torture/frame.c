/* SPDX-License-Identifier: ISC */
/* Options, the state file, the report. The state file has a line of totals and, for every seed and
 * program, the next unit: a later run with the same seed goes on where this one ended. */
#include "torture/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATE_LINES = 4096, LINE = 160 };

static const char usage[] =
        "usage: torture [--seconds N] [--seed N] [--jobs N] [--programs p1,p2] [--state FILE]\n"
        "               [--fresh] [--units N] [--stop-at N] [--list] [--verbose]\n"
        "       torture --seed N --repro PROGRAM/UNIT/PATH   repeats one finding\n";

static void list_programs(void)
{
	for (unsigned i = 0; i < torture_program_count; i++)
		(void)printf("%-4s %s\n", torture_programs[i].name, torture_programs[i].what);
	exit(0);
}

static uint32_t parse_programs(const char *text)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < torture_program_count; i++) {
		const char *name = torture_programs[i].name;
		size_t len = strlen(name);
		for (const char *p = text; (p = strstr(p, name)) != NULL; p += len)
			if ((p == text || p[-1] == ',') && (p[len] == 0 || p[len] == ','))
				bits |= 1u << i;
	}
	if (bits == 0) {
		(void)fprintf(stderr, "torture: no such program: %s\n", text);
		exit(2);
	}
	return bits;
}

static bool parse_number(const char *arg, const char *value, struct frame_options *o)
{
	uint64_t n = strtoull(value, NULL, 0);

	if (strcmp(arg, "--seconds") == 0)
		o->seconds = n;
	else if (strcmp(arg, "--seed") == 0)
		o->seed = n;
	else if (strcmp(arg, "--units") == 0)
		o->units = n;
	else if (strcmp(arg, "--stop-at") == 0)
		o->stop_at = n;
	else if (strcmp(arg, "--jobs") == 0)
		o->jobs = (unsigned)n;
	else
		return false;
	return true;
}

static bool parse_text(const char *arg, const char *value, struct frame_options *o)
{
	if (strcmp(arg, "--programs") == 0)
		o->programs = parse_programs(value);
	else if (strcmp(arg, "--state") == 0)
		o->state = value;
	else if (strcmp(arg, "--repro") == 0)
		o->repro = value;
	else
		return false;
	return true;
}

void frame_parse(int argc, char **argv, struct frame_options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	*o = (struct frame_options){.seconds = 60,
	                            .seed = 1,
	                            .jobs = cpus < 1 ? 1 : (unsigned)cpus,
	                            .programs = UINT32_MAX};
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (strcmp(argv[i], "--list") == 0) {
			list_programs();
		} else if (strcmp(argv[i], "--verbose") == 0) {
			o->verbose = true;
		} else if (strcmp(argv[i], "--fresh") == 0) {
			o->fresh = true;
		} else if (i + 1 < argc &&
		           (parse_number(argv[i], value, o) || parse_text(argv[i], value, o))) {
			i++;
		} else {
			(void)fputs(usage, stderr);
			exit(2);
		}
	}
	if (o->jobs < 1 || o->jobs > FRAME_WORKERS_MAX)
		o->jobs = FRAME_WORKERS_MAX;
}

/* -- State -- */

static int program_number(const char *name)
{
	for (unsigned i = 0; i < torture_program_count; i++)
		if (strcmp(torture_programs[i].name, name) == 0)
			return (int)i;
	return -1;
}

void frame_load(struct frame *f, const struct frame_options *o)
{
	FILE *in = o->state == NULL ? NULL : fopen(o->state, "r");
	char line[LINE];

	for (unsigned i = 0; i < torture_program_count; i++)
		f->program[i].redo = UINT64_MAX;
	if (in == NULL)
		return;
	while (fgets(line, sizeof line, in) != NULL) {
		unsigned long long a;
		unsigned long long b;
		unsigned long long c;
		unsigned long long d;
		char name[16];
		if (sscanf(line, "total runs=%llu cuts=%llu trials=%llu failures=%llu", &a, &b, &c,
		           &d) == 4) {
			f->before_runs = a;
			f->before_cuts = b;
			f->before_trials = c;
			f->before_failures = d;
		} else if (sscanf(line, "seed=%llu program=%15s next=%llu", &a, name, &b) == 3) {
			int i = program_number(name);
			if (i >= 0 && a == o->seed && !o->fresh) {
				f->program[i].next = b;
				f->program[i].first = b;
			}
		}
	}
	(void)fclose(in);
}

static void sum_up(struct frame *f, struct torture_counts *sum)
{
	*sum = (struct torture_counts){.cuts = 0};
	for (unsigned i = 0; i < torture_program_count; i++) {
		sum->cuts += f->program[i].cuts;
		sum->trials += f->program[i].trials;
		sum->failures += f->program[i].failures;
	}
}

/* Lines of other seeds stay as they are. */
static void copy_others(FILE *out, const struct frame_options *o)
{
	FILE *in = fopen(o->state, "r");
	char line[LINE];
	unsigned long long seed;

	if (in == NULL)
		return;
	while (fgets(line, sizeof line, in) != NULL)
		if (sscanf(line, "seed=%llu ", &seed) == 1 && seed != o->seed)
			(void)fputs(line, out);
	(void)fclose(in);
}

void frame_save(struct frame *f, const struct frame_options *o)
{
	struct torture_counts sum;
	char path[512];

	if (o->state == NULL)
		return;
	sum_up(f, &sum);
	(void)snprintf(path, sizeof path, "%s.new", o->state);
	FILE *out = fopen(path, "w");
	if (out == NULL) {
		perror(path);
		return;
	}
	(void)fprintf(out, "total runs=%llu cuts=%llu trials=%llu failures=%llu\n",
	              (unsigned long long)f->before_runs + 1,
	              (unsigned long long)(f->before_cuts + sum.cuts),
	              (unsigned long long)(f->before_trials + sum.trials),
	              (unsigned long long)(f->before_failures + sum.failures));
	copy_others(out, o);
	for (unsigned i = 0; i < torture_program_count; i++) {
		const struct frame_program *p = &f->program[i];
		uint64_t next = p->redo < p->next ? p->redo : p->next;
		(void)fprintf(out, "seed=%llu program=%s next=%llu\n", (unsigned long long)o->seed,
		              torture_programs[i].name, (unsigned long long)next);
	}
	if (fclose(out) != 0 || rename(path, o->state) != 0)
		perror(o->state);
}

/* -- Report -- */

static void report_operations(const struct frame *f)
{
	(void)printf("operations:");
	for (unsigned i = 0; i < WORK_OPS; i++)
		(void)printf(" %s %llu", work_names[i], (unsigned long long)f->done[i]);
	(void)printf("\nskipped (not supported, or nothing to do):");
	for (unsigned i = 0; i < WORK_OPS; i++)
		if (f->skipped[i] != 0)
			(void)printf(" %s %llu", work_names[i], (unsigned long long)f->skipped[i]);
	(void)printf("\n");
}

int frame_report(struct frame *f, const struct frame_options *o)
{
	struct torture_counts sum;
	double seconds = (double)(frame_now() - f->started) / 1e9;

	sum_up(f, &sum);
	(void)printf("%-5s %8s %10s %10s %8s %9s %10s\n", "", "units", "cuts", "trials", "failures",
	             "cpu s", "cuts/cpu s");
	for (unsigned i = 0; i < torture_program_count; i++) {
		const struct frame_program *p = &f->program[i];
		double s = (double)p->ns / 1e9;
		if (p->units == 0)
			continue;
		(void)printf("%-5s %8llu %10llu %10llu %8llu %9.1f %10.0f  %s\n",
		             torture_programs[i].name, (unsigned long long)p->units,
		             (unsigned long long)p->cuts, (unsigned long long)p->trials,
		             (unsigned long long)p->failures, s, s > 0 ? (double)p->cuts / s : 0.0,
		             torture_programs[i].what);
		for (unsigned k = 0; k < TORTURE_EXTRAS; k++)
			if (torture_programs[i].extra[k] != NULL)
				(void)printf("      %s: %llu\n", torture_programs[i].extra[k],
				             (unsigned long long)p->extra[k]);
	}
	report_operations(f);
	if (f->first_failure_ns != 0)
		(void)printf("first failure after %.1f s\n", (double)f->first_failure_ns / 1e9);
	(void)printf("%.0f seconds, %.0f cuts a second; all runs so far: cuts=%llu trials=%llu "
	             "failures=%llu\n",
	             seconds, (double)sum.cuts / seconds,
	             (unsigned long long)(f->before_cuts + sum.cuts),
	             (unsigned long long)(f->before_trials + sum.trials),
	             (unsigned long long)(f->before_failures + sum.failures));
	(void)printf("torture: cuts=%llu failures=%llu seed=%llu\n", (unsigned long long)sum.cuts,
	             (unsigned long long)sum.failures, (unsigned long long)o->seed);
	return sum.failures == 0 ? 0 : 1;
}
