/* SPDX-License-Identifier: ISC */
/* What the benches share: arguments, result rows, random numbers, quantiles.
 *
 * A bench prints lines of tab-separated fields for tools/bench/run.sh:
 *   row  name value unit peer peer-value bar-kind bar verdict
 *   note text
 * The ratio, the place and the summary are the script's. */
#ifndef BOLE_TESTS_BENCH_H
#define BOLE_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Measured against a fixed bar, or against the peer of the row. */
enum bench_bar_kind {
	BENCH_NO_BAR,
	BENCH_AT_MOST,       /* value <= bar */
	BENCH_AT_LEAST,      /* value >= bar */
	BENCH_PEER_AT_LEAST, /* value >= bar * peer */
	BENCH_PEER_AT_MOST,
};

struct bench_row {
	const char *name;
	double value; /* NAN: not measured, which never meets a bar */
	const char *unit;
	const char *peer;  /* NULL = none */
	double peer_value; /* NAN: the peer cannot, or was not there */
	enum bench_bar_kind kind;
	double bar;
};
void bench_row(const struct bench_row *);
/* name is a format. */
#define bench_name(buf, ...) ((void)snprintf((buf), sizeof(buf), __VA_ARGS__), (buf))
/* One line under the rows: what else was counted. */
void bench_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs fn in a process of its own: when it dies, or takes longer than seconds, that is one more
 * row, missed, and the bench goes on. */
void bench_case(const char *name, unsigned seconds, void (*fn)(const void *ctx), const void *ctx);

struct bench_args {
	bool quick;
	uint64_t seed;
	const char *only; /* part of a row's or phase's name; NULL = all */
	const char *dir;  /* scratch folder of the benches on files */
};
/* --help prints what and ends the program. */
void bench_args(struct bench_args *, int argc, char **argv, const char *what);
bool bench_wanted(const struct bench_args *, const char *name);

uint64_t bench_random(uint64_t *state);
/* below n, n > 0 */
uint64_t bench_below(uint64_t *state, uint64_t n);
/* Incompressible bytes that seed decides. */
void bench_noise(uint64_t seed, uint8_t *dst, size_t len);
uint64_t bench_mix(uint64_t a, uint64_t b);
double bench_seconds(void); /* a monotonic clock */
/* The q-quantile (0..1) of v, which gets sorted. */
double bench_quantile(double *v, size_t n, double q);
/* Resident bytes of this process: anonymous and of files. */
void bench_rss(uint64_t *anon, uint64_t *file);

#endif /* BOLE_TESTS_BENCH_H */
