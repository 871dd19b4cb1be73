/* SPDX-License-Identifier: ISC */
/* Requests to a git:// server that cost the client next to nothing: what comes is read and thrown
 * away. Protocol version 2 (gitprotocol-v2(5)), for advertisements version 0.
 *
 *   gitload [OPTION...] HOST PORT REPOSITORY
 *     -w ID, -h ID   wants and haves; without -w all heads and tags are asked for and wanted
 *     -d N, -f SPEC  depth; filter
 *     -t             thin-pack
 *     -L, -A, -R     only ls-refs; only the advertisement of upload-pack, of receive-pack
 *     -r N           repetitions, one after another, each on its own connection
 *     -c N           clients at once
 *     -s SECONDS     connect, say hello and stay; then end
 *     -o FILE        keeps the (last) pack
 *
 * Prints: objects, pack bytes, seconds to the first pack byte (median), seconds (median), the 99th
 * percentile of these, and how many requests failed.
 */
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { IDS_MAX = 200000, REQUESTS_MAX = 1 << 20 };
enum job { FETCH, LIST, ADVERTISE, ADVERTISE_RECEIVE };

struct figures {
	double first;
	double wall;
	uint64_t objects;
	uint64_t bytes;
	bool ok;
};

static const char *host, *port, *repository, *filter, *keep;
static char (*wants)[41], (*haves)[41];
static size_t want_count, have_count;
static unsigned depth, stay;
static bool thin;
static enum job job;

static FILE *peer_in, *peer_out;
static char line[65536];

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "gitload: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put(const char *text)
{
	fprintf(peer_out, "%04zx%s", strlen(text) + 4, text);
}

/* The length of the packet in line, or 0 flush, -1 delimiter. */
static long get(void)
{
	char head[5] = {0};

	if (fread(head, 1, 4, peer_in) != 4)
		fail("the server hung up");
	unsigned long len = strtoul(head, NULL, 16);
	if (len < 4)
		return len == 0 ? 0 : -1;
	if (len > sizeof line || fread(line, 1, len - 4, peer_in) != len - 4)
		fail("a packet was cut short");
	line[len - 4] = '\0';
	if (strncmp(line, "ERR ", 4) == 0)
		fail(line);
	return (long)len - 4;
}

static void dial(void)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;

	if (getaddrinfo(host, port, &hints, &found) != 0)
		fail("the host is unknown");
	int fd = socket(found->ai_family, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
		fail("no connection");
	freeaddrinfo(found);
	peer_in = fdopen(fd, "r");
	peer_out = fdopen(dup(fd), "w");
	if (peer_in == NULL || peer_out == NULL)
		fail("out of memory");
	setvbuf(peer_in, NULL, _IOFBF, 1 << 18);
}

static void greet(void)
{
	char hello[512];
	bool old = job == ADVERTISE || job == ADVERTISE_RECEIVE;
	int len = snprintf(hello, sizeof hello, "git-%s-pack /%s%chost=%s%c",
	                   job == ADVERTISE_RECEIVE ? "receive" : "upload", repository, 0, host, 0);

	if (!old)
		len += snprintf(hello + len, sizeof hello - (size_t)len, "%cversion=2%c", 0, 0);
	fprintf(peer_out, "%04x", len + 4);
	fwrite(hello, 1, (size_t)len, peer_out);
	fflush(peer_out);
	while (get() > 0)
		; /* capabilities, or references */
}

static void list_refs(bool note)
{
	put("command=ls-refs\n");
	fputs("0001", peer_out);
	put("peel\n");
	put("symrefs\n");
	put("ref-prefix refs/heads/\n");
	put("ref-prefix refs/tags/\n");
	fputs("0000", peer_out);
	fflush(peer_out);
	while (get() > 0)
		if (note && want_count < IDS_MAX)
			memcpy(wants[want_count++], line, 40);
}

static void say(const char *format, const char *word)
{
	char text[256];

	snprintf(text, sizeof text, format, word);
	put(text);
}

static void ask(void)
{
	char number[16];

	put("command=fetch\n");
	fputs("0001", peer_out);
	if (thin)
		put("thin-pack\n");
	put("ofs-delta\n");
	put("no-progress\n");
	snprintf(number, sizeof number, "%u", depth);
	if (depth > 0)
		say("deepen %s\n", number);
	if (filter != NULL)
		say("filter %s\n", filter);
	for (size_t i = 0; i < want_count; i++) {
		char text[] = "0032want 0123456789012345678901234567890123456789\n";
		memcpy(text + 9, wants[i], 40);
		fwrite(text, 1, sizeof text - 1, peer_out);
	}
	for (size_t i = 0; i < have_count; i++)
		say("have %s\n", haves[i]);
	put("done\n");
	fputs("0000", peer_out);
	fflush(peer_out);
}

static void read_pack(struct figures *f, double start)
{
	FILE *file = keep == NULL ? NULL : fopen(keep, "w");
	long got;

	while ((got = get()) != 0 && strcmp(line, "packfile\n") != 0)
		;
	while ((got = get()) > 0) {
		if (line[0] == 3)
			fail(line + 1);
		if (line[0] != 1 || got == 1)
			continue;
		if (f->bytes == 0) {
			const uint8_t *p = (const uint8_t *)line + 9;

			f->first = now() - start;
			f->objects = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
			             (uint32_t)p[2] << 8 | p[3];
		}
		f->bytes += (uint64_t)got - 1;
		if (file != NULL)
			fwrite(line + 1, 1, (size_t)got - 1, file);
	}
	if (file != NULL && fclose(file) != 0)
		fail("cannot write the pack");
}

static void request(struct figures *f)
{
	double start = now();

	dial();
	greet();
	if (stay > 0)
		sleep(stay);
	else if (job == LIST)
		list_refs(false);
	else if (job == FETCH) {
		if (want_count == 0)
			list_refs(true);
		ask();
		read_pack(f, start);
	}
	f->wall = now() - start;
	f->ok = true;
	if (job != FETCH)
		fputs("0000", peer_out);
	fclose(peer_out);
	fclose(peer_in);
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(const struct figures *f, size_t count)
{
	double *first = calloc(count + 1, sizeof *first), *wall = calloc(count + 1, sizeof *wall);
	const struct figures *last = &f[0];
	size_t n = 0;

	if (first == NULL || wall == NULL)
		fail("out of memory");
	for (size_t i = 0; i < count; i++) {
		if (!f[i].ok)
			continue;
		first[n] = f[i].first;
		wall[n++] = f[i].wall;
		last = &f[i];
	}
	qsort(first, n, sizeof *first, by_number);
	qsort(wall, n, sizeof *wall, by_number);
	printf("%llu %llu %.5f %.5f %.5f %zu\n", (unsigned long long)last->objects,
	       (unsigned long long)last->bytes, first[n / 2], wall[n / 2], wall[n * 99 / 100],
	       count - n);
	free(first);
	free(wall);
}

int main(int argc, char **argv)
{
	size_t repeat = 1, clients = 1;
	int option;

	wants = calloc(IDS_MAX, sizeof *wants);
	haves = calloc(IDS_MAX, sizeof *haves);
	if (wants == NULL || haves == NULL)
		fail("out of memory");
	while ((option = getopt(argc, argv, "w:h:d:f:tLARr:c:s:o:")) != -1) {
		switch (option) {
		case 'w': snprintf(wants[want_count++], 41, "%.40s", optarg); break;
		case 'h': snprintf(haves[have_count++], 41, "%.40s", optarg); break;
		case 'd': depth = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'f': filter = optarg; break;
		case 't': thin = true; break;
		case 'L': job = LIST; break;
		case 'A': job = ADVERTISE; break;
		case 'R': job = ADVERTISE_RECEIVE; break;
		case 'r': repeat = strtoul(optarg, NULL, 10); break;
		case 'c': clients = strtoul(optarg, NULL, 10); break;
		case 's': stay = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'o': keep = optarg; break;
		default: return 2;
		}
	}
	if (argc - optind != 3 || repeat == 0 || clients == 0 || repeat * clients > REQUESTS_MAX)
		fail("gitload [OPTION...] HOST PORT REPOSITORY");
	host = argv[optind];
	port = argv[optind + 1];
	repository = argv[optind + 2];
	struct figures *f = mmap(NULL, repeat * clients * sizeof *f, PROT_READ | PROT_WRITE,
	                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (f == MAP_FAILED)
		fail("out of memory");
	/* A process each: one that fails ends alone. */
	for (size_t r = 0; r < repeat; r++) {
		for (size_t c = 0; c < clients; c++) {
			pid_t child = fork();

			if (child == 0) {
				request(&f[r * clients + c]);
				_exit(0);
			}
		}
		while (wait(NULL) > 0)
			;
	}
	report(f, repeat * clients);
	return 0;
}
