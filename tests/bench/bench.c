/* SPDX-License-Identifier: ISC */
#include "bench/bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool met(const struct bench_row *r)
{
	switch (r->kind) {
	case BENCH_AT_MOST: return r->value <= r->bar;
	case BENCH_AT_LEAST: return r->value >= r->bar;
	case BENCH_PEER_AT_LEAST: return r->value >= r->bar * r->peer_value;
	case BENCH_PEER_AT_MOST: return r->value <= r->bar * r->peer_value;
	case BENCH_NO_BAR: break;
	}
	return true;
}

static void number(double v)
{
	if (isnan(v))
		printf("\t-");
	else if (fabs(v) >= 1000 || v == floor(v))
		printf("\t%.0f", v);
	else if (fabs(v) >= 100)
		printf("\t%.1f", v);
	else if (fabs(v) >= 0.1)
		printf("\t%.3f", v);
	else
		printf("\t%.6f", v);
}

void bench_row(const struct bench_row *r)
{
	static const char *const kinds[] = {"-", "<=", ">=", ">= x peer", "<= x peer"};

	printf("row\t%s", r->name);
	number(r->value);
	printf("\t%s\t%s", r->unit, r->peer == NULL ? "-" : r->peer);
	number(r->peer == NULL ? (double)NAN : r->peer_value);
	printf("\t%s", kinds[r->kind]);
	number(r->kind == BENCH_NO_BAR ? (double)NAN : r->bar);
	bool relative = r->kind == BENCH_PEER_AT_LEAST || r->kind == BENCH_PEER_AT_MOST;
	if (r->kind == BENCH_NO_BAR)
		printf("\t-\n");
	else if (relative && isnan(r->peer_value) && !isnan(r->value))
		printf("\tno peer\n");
	else
		printf("\t%s\n", !isnan(r->value) && met(r) ? "met" : "missed");
	fflush(stdout);
}

void bench_note(const char *format, ...)
{
	va_list args;

	printf("note\t");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

void bench_case(const char *name, unsigned seconds, void (*fn)(const void *ctx), const void *ctx)
{
	int status = 0;
	char text[128];

	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(seconds);
		fn(ctx);
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status == 0)
		return;
	bench_note("%s: ended by %s %d", name, WIFSIGNALED(status) ? "signal" : "status",
	           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	bench_row(&(struct bench_row){bench_name(text, "%s: runs to its end", name), (double)NAN,
	                              "-", NULL, 0, BENCH_AT_LEAST, 1});
}

void bench_args(struct bench_args *a, int argc, char **argv, const char *what)
{
	*a = (struct bench_args){.seed = 1, .dir = "."};
	for (int i = 1; i < argc; i++) {
		const char *value = strchr(argv[i], '=');

		if (strcmp(argv[i], "--quick") == 0) {
			a->quick = true;
		} else if (strncmp(argv[i], "--seed=", 7) == 0) {
			a->seed = strtoull(value + 1, NULL, 0);
		} else if (strncmp(argv[i], "--only=", 7) == 0) {
			a->only = value + 1;
		} else if (strncmp(argv[i], "--dir=", 6) == 0) {
			a->dir = value + 1;
		} else {
			printf("%s\n"
			       "  --quick      small sizes: a check, not a figure\n"
			       "  --only=PART  what has PART in its name\n"
			       "  --seed=N     another sequence (1)\n"
			       "  --dir=DIR    where files go, for what uses files (.)\n",
			       what);
			exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
		}
	}
}

bool bench_wanted(const struct bench_args *a, const char *name)
{
	return a->only == NULL || strstr(name, a->only) != NULL;
}

/* splitmix64 */
uint64_t bench_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t bench_below(uint64_t *state, uint64_t n)
{
	return bench_random(state) % n;
}

uint64_t bench_mix(uint64_t a, uint64_t b)
{
	uint64_t state = a * 0xd6e8feb86659fd93u + b;

	return bench_random(&state);
}

void bench_noise(uint64_t seed, uint8_t *dst, size_t len)
{
	uint64_t state = bench_mix(seed, 0x6e6f697365);

	while (len > 0) {
		uint64_t word = bench_random(&state);
		size_t step = len < sizeof word ? len : sizeof word;
		memcpy(dst, &word, step);
		dst += step;
		len -= step;
	}
}

double bench_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_quantile(double *v, size_t n, double q)
{
	if (n == 0)
		return (double)NAN;
	qsort(v, n, sizeof *v, order);
	return v[(size_t)(q * (double)(n - 1))];
}

void bench_rss(uint64_t *anon, uint64_t *file)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];

	*anon = *file = 0;
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		if (strncmp(line, "RssAnon:", 8) == 0)
			*anon = strtoull(line + 8, NULL, 10) << 10;
		if (strncmp(line, "RssFile:", 8) == 0)
			*file = strtoull(line + 8, NULL, 10) << 10;
	}
	if (f != NULL)
		fclose(f);
}
