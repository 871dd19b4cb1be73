/* SPDX-License-Identifier: ISC */
/* A clone that costs the client nothing: asks for all heads and tags over git:// with protocol
 * version 2 (gitprotocol-v2(5)), reads the whole pack, throws it away.
 *
 *   drain HOST PORT REPOSITORY     prints: objects, pack bytes, seconds to first pack byte, seconds
 */
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WANTS_MAX = 100000 };

static FILE *peer_in;
static FILE *peer_out;
static char line[65536];
static char (*wants)[41];
static size_t want_count;

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "drain: %s\n", what);
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
	unsigned long len;

	if (fread(head, 1, 4, peer_in) != 4)
		fail("the server hung up");
	len = strtoul(head, NULL, 16);
	if (len < 4)
		return len == 0 ? 0 : -1;
	if (len > sizeof line || fread(line, 1, len - 4, peer_in) != len - 4)
		fail("a packet was cut short");
	line[len - 4] = '\0';
	if (strncmp(line, "ERR ", 4) == 0)
		fail(line);
	return (long)len - 4;
}

static void dial(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	int fd;

	if (getaddrinfo(host, port, &hints, &found) != 0)
		fail("the host is unknown");
	fd = socket(found->ai_family, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
		fail("no connection");
	freeaddrinfo(found);
	peer_in = fdopen(fd, "r");
	peer_out = fdopen(dup(fd), "w");
	if (peer_in == NULL || peer_out == NULL)
		fail("out of memory");
	setvbuf(peer_in, NULL, _IOFBF, 1 << 18);
}

static void list_refs(void)
{
	put("command=ls-refs\n");
	fputs("0001", peer_out);
	put("ref-prefix refs/heads/\n");
	put("ref-prefix refs/tags/\n");
	fputs("0000", peer_out);
	fflush(peer_out);
	wants = calloc(WANTS_MAX, sizeof *wants);
	if (wants == NULL)
		fail("out of memory");
	while (get() > 0)
		if (want_count < WANTS_MAX)
			memcpy(wants[want_count++], line, 40);
}

static void ask(void)
{
	char text[64];

	put("command=fetch\n");
	fputs("0001", peer_out);
	put("ofs-delta\n");
	put("no-progress\n");
	for (size_t i = 0; i < want_count; i++) {
		snprintf(text, sizeof text, "want %s\n", wants[i]);
		put(text);
	}
	put("done\n");
	fputs("0000", peer_out);
	fflush(peer_out);
}

int main(int argc, char **argv)
{
	uint64_t bytes = 0;
	uint32_t objects = 0;
	double start, first = 0;
	char hello[512];
	int len;

	if (argc != 4) {
		fprintf(stderr, "usage: drain HOST PORT REPOSITORY\n");
		return 2;
	}
	start = now();
	dial(argv[1], argv[2]);
	len = snprintf(hello, sizeof hello, "git-upload-pack /%s%chost=%s%c%cversion=2%c", argv[3],
	               0, argv[1], 0, 0, 0);
	fprintf(peer_out, "%04x", len + 4);
	fwrite(hello, 1, (size_t)len, peer_out);
	fflush(peer_out);
	while (get() > 0)
		; /* capabilities */
	list_refs();
	ask();
	while (get() > 0 && strcmp(line, "packfile\n") != 0)
		;
	for (long got; (got = get()) > 0;) {
		if (line[0] == 3)
			fail(line + 1);
		if (line[0] != 1)
			continue;
		if (bytes == 0) {
			const uint8_t *p = (const uint8_t *)line + 9;

			first = now() - start;
			objects = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
			          (uint32_t)p[2] << 8 | p[3];
		}
		bytes += (uint64_t)got - 1;
	}
	printf("%u %llu %.4f %.4f\n", objects, (unsigned long long)bytes, first, now() - start);
	return objects == 0;
}
