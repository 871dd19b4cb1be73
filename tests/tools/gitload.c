/* SPDX-License-Identifier: ISC */
/* Requests to a Git server that cost the client next to nothing: what comes is read and thrown
 * away. Protocol version 2 (gitprotocol-v2(5)), for advertisements version 0; over git:// or HTTP
 * (gitprotocol-http(5)).
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
 *     -0             version 0 for all, for servers that know nothing else; git:// only
 *     -H             HTTP: one connection, GET of info/refs, then POST
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
static bool thin, oldest, http;
static enum job job;

/* Over HTTP what is put goes to a memory stream first, and what is got is the body of an answer. */
static FILE *peer_in, *peer_out, *wire_in, *wire_out;
static char line[65536];
static char *body;
static size_t body_len;
static unsigned long long left; /* of the answer's body, or of its chunk */
static bool chunked, first_chunk;

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

static bool next_chunk(void)
{
	char head[64];

	/* A chunk ends with a line end of its own (RFC 9112, 7.1). */
	if (!first_chunk && fgets(head, sizeof head, wire_in) == NULL)
		fail("a chunk was cut short");
	first_chunk = false;
	if (fgets(head, sizeof head, wire_in) == NULL)
		fail("a chunk was cut short");
	left = strtoull(head, NULL, 16);
	if (left == 0)
		while (fgets(head, sizeof head, wire_in) != NULL && strcmp(head, "\r\n") != 0)
			;
	return left > 0;
}

static ssize_t read_body(void *cookie, char *dst, size_t size)
{
	(void)cookie;
	if (left == 0 && (!chunked || !next_chunk()))
		return 0;
	size_t got = fread(dst, 1, size < left ? size : (size_t)left, wire_in);
	left -= got;
	if (got == 0)
		fail("the server hung up");
	return (ssize_t)got;
}

/* Sends a request; peer_in then gives the body of its answer. */
static void exchange(const char *verb, const char *path, const char *type, bool version_2)
{
	char head[1024];

	while (peer_in != NULL && fread(head, 1, sizeof head, peer_in) > 0)
		; /* what is left of the last answer */
	fprintf(wire_out, "%s /%s/%s HTTP/1.1\r\nHost: %s:%s\r\n%s", verb, repository, path, host,
	        port, version_2 ? "Git-Protocol: version=2\r\n" : "");
	if (type != NULL)
		fprintf(wire_out, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, body_len);
	fputs("\r\n", wire_out);
	fwrite(body, 1, type == NULL ? 0 : body_len, wire_out);
	fflush(wire_out);
	if (fgets(head, sizeof head, wire_in) == NULL || strncmp(head + 8, " 200", 4) != 0)
		fail("not 200");
	chunked = false;
	left = 0;
	while (fgets(head, sizeof head, wire_in) != NULL && strcmp(head, "\r\n") != 0) {
		if (strncasecmp(head, "content-length:", 15) == 0)
			left = strtoull(head + 15, NULL, 10);
		if (strncasecmp(head, "transfer-encoding: chunked", 26) == 0)
			chunked = first_chunk = true;
	}
	if (peer_in != NULL)
		fclose(peer_in);
	peer_in = fopencookie(NULL, "r", (cookie_io_functions_t){.read = read_body});
	if (peer_in == NULL)
		fail("out of memory");
	setvbuf(peer_in, NULL, _IOFBF, 1 << 18);
}

/* What was put has all been put. */
static void send_off(void)
{
	fflush(peer_out);
	if (!http)
		return;
	exchange("POST", "git-upload-pack", "application/x-git-upload-pack-request", !oldest);
	rewind(peer_out);
}

static void open_http(void)
{
	wire_in = peer_in;
	wire_out = peer_out;
	peer_in = NULL;
	peer_out = open_memstream(&body, &body_len);
	if (peer_out == NULL)
		fail("out of memory");
}

/* The references of a version 0 advertisement, as those of list_refs. */
static void read_advertisement(bool note)
{
	long got;

	while ((got = get()) > 0) {
		const char *name = got > 41 ? line + 41 : "";
		size_t len = strlen(name);

		if (!note || want_count >= IDS_MAX || (len > 4 && strstr(name, "^{}\n") != NULL))
			continue;
		if (strncmp(name, "refs/heads/", 11) == 0 || strncmp(name, "refs/tags/", 10) == 0)
			memcpy(wants[want_count++], line, 40);
	}
}

static void greet_http(void)
{
	bool old = job == ADVERTISE || job == ADVERTISE_RECEIVE;

	open_http();
	exchange("GET",
	         job == ADVERTISE_RECEIVE ? "info/refs?service=git-receive-pack"
	                                  : "info/refs?service=git-upload-pack",
	         NULL, !old);
	if (get() > 0 && line[0] == '#') /* "# service=", which version 2 may leave out */
		while (get() > 0)
			;
	while (get() > 0)
		;
}

static void greet(void)
{
	char hello[512];
	bool old = oldest || job == ADVERTISE || job == ADVERTISE_RECEIVE;
	int len = snprintf(hello, sizeof hello, "git-%s-pack /%s%chost=%s%c",
	                   job == ADVERTISE_RECEIVE ? "receive" : "upload", repository, 0, host, 0);

	if (!old)
		len += snprintf(hello + len, sizeof hello - (size_t)len, "%cversion=2%c", 0, 0);
	fprintf(peer_out, "%04x", len + 4);
	fwrite(hello, 1, (size_t)len, peer_out);
	fflush(peer_out);
	if (oldest)
		read_advertisement(job == FETCH && want_count == 0);
	else
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
	send_off();
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
	send_off();
}

/* The request of version 0 (gitprotocol-pack(5)); leaves the answer at the first line of the pack.
 */
static void ask_version_0(void)
{
	char text[160];

	for (size_t i = 0; i < want_count; i++) {
		snprintf(text, sizeof text, "want %s%s%s\n", wants[i],
		         i > 0 ? "" : " side-band-64k ofs-delta no-progress",
		         i > 0 || !thin ? "" : " thin-pack");
		put(text);
	}
	snprintf(text, sizeof text, "deepen %u\n", depth);
	if (depth > 0)
		put(text);
	fputs("0000", peer_out);
	fflush(peer_out);
	while (depth > 0 && get() > 0)
		; /* what is shallow */
	for (size_t i = 0; i < have_count; i++)
		say("have %s\n", haves[i]);
	put("done\n");
	fflush(peer_out);
	/* Without multi_ack there is one line: the common commit, or NAK. */
	(void)get();
}

static void read_pack(struct figures *f, double start)
{
	FILE *file = keep == NULL ? NULL : fopen(keep, "w");
	long got;

	while (!oldest && (got = get()) != 0 && strcmp(line, "packfile\n") != 0)
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

__attribute__((noreturn)) static void request(struct figures *f)
{
	double start = now();

	dial();
	if (http)
		greet_http();
	else
		greet();
	if (stay > 0)
		sleep(stay);
	else if (job == LIST && !oldest)
		list_refs(false);
	else if (job == FETCH && oldest) {
		ask_version_0();
		read_pack(f, start);
	} else if (job == FETCH) {
		if (want_count == 0)
			list_refs(true);
		ask();
		read_pack(f, start);
	}
	f->wall = now() - start;
	f->ok = true;
	if (job != FETCH && !http)
		fputs("0000", peer_out);
	fflush(peer_out);
	_exit(0); /* closes what is open */
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
	while ((option = getopt(argc, argv, "w:h:d:f:tLARr:c:s:o:0H")) != -1) {
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
		case '0': oldest = true; break;
		case 'H': http = true; break;
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

			if (child == 0)
				request(&f[r * clients + c]);
		}
		while (wait(NULL) > 0)
			;
	}
	report(f, repeat * clients);
	return 0;
}
