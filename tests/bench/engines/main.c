/* SPDX-License-Identifier: ISC */
/* One engine, one number of objects: prints "figure name value" lines, which the script joins over
 * engines and rounds. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/engines/engine.h"
#include "bench/engines/floor.h"

enum { USER = ENGINE_KEY + ENGINE_VALUE, SECTOR = 512, SLICES = 40 };

struct options {
	const char *dir;
	const char *floor; /* where the floor's file goes: the same disk, another folder */
	const char *stat;  /* of the block device below dir; NULL = not known */
	uint64_t count;
	uint64_t singles; /* commits of one put */
	uint64_t groups;  /* puts of each grouped phase */
	uint64_t gets;
	bool bytes_only; /* only what is written counts: no reading */
};

/* Of this thread, in seconds: a shared machine moves it less than the clock on the wall. */
struct spent {
	double wall;
	double cpu;
};

static uint64_t next_key; /* keys 0 .. next_key - 1 are there */
static uint64_t floor_key;
static size_t cache_bytes = 64 << 20;

_Noreturn void engine_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s: %s:%d: %s\n", engine.name, file, line, what);
	exit(1);
}

size_t engine_cache_bytes(void)
{
	return cache_bytes;
}

const char *engine_path(const char *dir, const char *name)
{
	static char path[4096];

	MUST((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) < sizeof path);
	return path;
}

static void figure(const char *name, double value)
{
	printf("figure\t%s\t%.9g\n", name, value);
	fflush(stdout);
}

static uint64_t device_bytes(const struct options *o)
{
	unsigned long long field[7];
	FILE *f;

	if (o->stat == NULL)
		return 0;
	int fd = open(o->dir, O_RDONLY | O_DIRECTORY);
	MUST(fd >= 0 && syncfs(fd) == 0);
	close(fd);
	MUST((f = fopen(o->stat, "r")) != NULL);
	MUST(fscanf(f, "%llu %llu %llu %llu %llu %llu %llu", &field[0], &field[1], &field[2],
	            &field[3], &field[4], &field[5], &field[6]) == 7);
	fclose(f);
	return field[6] * SECTOR;
}

static uint64_t file_bytes(const char *dir)
{
	DIR *d = opendir(dir);
	uint64_t sum = 0;
	struct dirent *e;
	struct stat st;

	MUST(d != NULL);
	while ((e = readdir(d)) != NULL)
		if (stat(engine_path(dir, e->d_name), &st) == 0 && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * SECTOR;
	closedir(d);
	return sum;
}

static void key_of(uint64_t n, uint8_t *key)
{
	bench_noise(n * 2 + 1, key, ENGINE_KEY);
}

static void puts_of(uint64_t count)
{
	uint8_t key[ENGINE_KEY];
	uint8_t value[ENGINE_VALUE];

	engine.begin();
	for (uint64_t i = 0; i < count; i++) {
		key_of(next_key, key);
		bench_noise(next_key, value, sizeof value);
		engine.put(key, value);
		next_key++;
	}
	engine.commit();
}

static void floor_puts_of(uint64_t count)
{
	uint8_t key[ENGINE_KEY];
	uint8_t value[ENGINE_VALUE];

	for (uint64_t i = 0; i < count; i++) {
		key_of(floor_key, key);
		bench_noise(floor_key, value, sizeof value);
		floor_put(key, value);
		floor_key++;
	}
	floor_commit();
}

static struct spent spent_now(void)
{
	struct timespec cpu;

	MUST(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu) == 0);
	return (struct spent){
	        .wall = bench_seconds(),
	        .cpu = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9,
	};
}

static void spent_add(struct spent *sum, const struct spent *from, const struct spent *to)
{
	sum->wall += to->wall - from->wall;
	sum->cpu += to->cpu - from->cpu;
}

/* In slices, each followed by the same number of commits of the floor. */
static void timed(const struct options *o, uint64_t puts, uint64_t group, struct spent *us,
                  struct spent *floor)
{
	uint64_t slice = puts / SLICES / group * group;

	memset(us, 0, sizeof *us);
	memset(floor, 0, sizeof *floor);
	slice = slice < group ? group : slice;
	for (uint64_t done = 0; done < puts; done += slice) {
		uint64_t n = puts - done < slice ? puts - done : slice;
		struct spent start = spent_now();
		for (uint64_t i = 0; i < n; i += group)
			puts_of(group);
		struct spent middle = spent_now();
		for (uint64_t i = 0; i < n && o->floor != NULL; i += group)
			floor_puts_of(group);
		struct spent end = spent_now();
		spent_add(us, &start, &middle);
		spent_add(floor, &middle, &end);
	}
}

static void timed_figures(const struct options *o, const char *name, uint64_t puts, uint64_t group)
{
	struct spent us;
	struct spent floor;
	char text[64];

	timed(o, puts, group, &us, &floor);
	bench_name(text, "%s: commits", name);
	figure(text, (double)(puts / group) / us.wall);
	bench_name(text, "%s: CPU us a put", name);
	figure(text, us.cpu * 1e6 / (double)puts);
	if (o->floor == NULL)
		return;
	bench_name(text, "%s: of the floor", name);
	figure(text, floor.wall / us.wall);
	bench_name(text, "%s: floor", name);
	figure(text, (double)(puts / group) / floor.wall);
	bench_name(text, "%s: floor's CPU us a put", name);
	figure(text, floor.cpu * 1e6 / (double)puts);
}

static void write_phase(const struct options *o, const char *name, uint64_t puts, uint64_t group)
{
	uint64_t bytes = device_bytes(o);
	uint64_t own = engine.programmed == NULL ? 0 : engine.programmed();
	double user = (double)(puts * USER);
	char text[64];

	if (!o->bytes_only) {
		timed_figures(o, name, puts, group);
	} else {
		for (uint64_t done = 0; done < puts; done += group)
			puts_of(group);
	}
	if (o->stat != NULL && o->bytes_only) {
		bench_name(text, "%s: WA", name);
		figure(text, (double)(device_bytes(o) - bytes) / user);
	}
	if (engine.programmed != NULL) {
		bench_name(text, "%s: own WA", name);
		figure(text, (double)(engine.programmed() - own) / user);
	}
}

static void get_phase(const char *name, uint64_t gets, bool there)
{
	uint8_t key[ENGINE_KEY];
	uint8_t value[ENGINE_VALUE];
	uint8_t want[ENGINE_VALUE];
	uint64_t random = 5;
	uint64_t seen = 0;
	char text[64];

	engine.read_begin();
	struct spent start = spent_now();
	for (uint64_t i = 0; i < gets; i++) {
		uint64_t n = bench_below(&random, next_key);
		key_of(there ? n : n + (1ull << 40), key);
		bool found = engine.get(key, value);
		MUST(found == there);
		if (found && i % 64 == 0) {
			bench_noise(n, want, sizeof want);
			MUST(memcmp(want, value, sizeof want) == 0);
			seen++;
		}
	}
	struct spent end = spent_now();
	engine.read_end();
	MUST(!there || seen > 0);
	figure(name, (double)gets / (end.wall - start.wall));
	bench_name(text, "%s: CPU us", name);
	figure(text, (end.cpu - start.cpu) * 1e6 / (double)gets);
}

static void warm(void)
{
	uint8_t key[ENGINE_KEY];
	uint8_t value[ENGINE_VALUE];

	engine.read_begin();
	for (uint64_t n = 0; n < next_key; n++) {
		key_of(n, key);
		MUST(engine.get(key, value));
	}
	engine.read_end();
}

static void reopen(const struct options *o, uint64_t hint)
{
	uint8_t key[ENGINE_KEY];
	uint8_t value[ENGINE_VALUE];

	engine.close();
	double start = bench_seconds();
	engine.open(o->dir, false, hint);
	engine.read_begin();
	key_of(next_key / 2, key);
	MUST(engine.get(key, value));
	engine.read_end();
	figure("reopen: ms", (bench_seconds() - start) * 1e3);
}

static void run(const struct options *o)
{
	uint64_t hint = (o->count + o->singles + 3 * o->groups) * USER;
	uint64_t anon;
	uint64_t file;

	engine.open(o->dir, true, hint);
	if (o->floor != NULL)
		floor_open(o->floor, true, hint);
	write_phase(o, "load, 1000 a commit", o->count, 1000);
	figure("file/user", (double)file_bytes(o->dir) / (double)(o->count * USER));
	if (!o->bytes_only) {
		warm();
		get_phase("get hot", o->gets, true);
		get_phase("get missing", o->gets, false);
	}
	write_phase(o, "1 a commit", o->singles, 1);
	write_phase(o, "10 a commit", o->groups / 10, 10);
	write_phase(o, "100 a commit", o->groups, 100);
	write_phase(o, "1000 a commit", o->groups, 1000);
	bench_rss(&anon, &file);
	figure("RSS anonymous: MiB", (double)anon / (1 << 20));
	figure("RSS of files: MiB", (double)file / (1 << 20));
	if (!o->bytes_only)
		reopen(o, hint);
	engine.close();
	if (o->floor != NULL)
		floor_close();
}

int main(int argc, char **argv)
{
	struct options o = {.dir = NULL, .count = 100000, .singles = 5000, .groups = 100000};

	for (int i = 1; i < argc; i++) {
		const char *value = strchr(argv[i], '=');
		if (strncmp(argv[i], "--dir=", 6) == 0)
			o.dir = value + 1;
		else if (strncmp(argv[i], "--floor=", 8) == 0)
			o.floor = value + 1;
		else if (strncmp(argv[i], "--stat=", 7) == 0)
			o.stat = value + 1;
		else if (strncmp(argv[i], "--cache=", 8) == 0)
			cache_bytes = (size_t)strtoull(value + 1, NULL, 0) << 20;
		else if (strncmp(argv[i], "--count=", 8) == 0)
			o.count = strtoull(value + 1, NULL, 0);
		else if (strcmp(argv[i], "--quick") == 0)
			o.count = 20000, o.singles = 200, o.groups = 10000;
		else if (strcmp(argv[i], "--bytes") == 0)
			o.bytes_only = true;
		else
			o.dir = NULL, i = argc;
	}
	if (o.dir == NULL) {
		printf("usage: engine_* --dir=EMPTY [--floor=DIR] [--count=N] [--quick] [--bytes]\n"
		       "                [--cache=MIB] [--stat=FILE]\n"
		       "  --cache=MIB  of the engine's own cache (64)\n"
		       "  --floor=DIR  the raw loop in turn, there\n"
		       "  --bytes      only what is written: shorter\n"
		       "  --stat=FILE  of the device below, in /sys/dev/block: counts bytes\n");
		return argc > 1 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
	}
	o.gets = o.count < 500000 ? 500000 : 1000000;
	run(&o);
	return 0;
}
