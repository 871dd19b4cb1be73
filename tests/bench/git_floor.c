/* SPDX-License-Identifier: ISC */
/* What sending a file's bytes costs at least: read, verify (XXH3), frame as side-band packets, send
 * over TCP; and the same with a running SHA-1. Prints the CPU seconds of both for each round.
 *
 *   git_floor FILE [ROUNDS]
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/hash.h"

enum { CHUNK = 256 * 1024, PACKET = 65515 };

__attribute__((noreturn)) static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double cpu(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return (double)use.ru_utime.tv_sec + (double)use.ru_stime.tv_sec +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* A connection whose other end is read away by a process of its own. */
static int drained(pid_t *reader)
{
	static char away[1 << 18];
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) != 0 ||
	    listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&at, &len) != 0)
		fail("listen");
	*reader = fork();
	if (*reader == 0) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
			fail("connect");
		while (read(fd, away, sizeof away) > 0)
			;
		_exit(0);
	}
	int fd = accept(listener, NULL, NULL);
	if (fd < 0)
		fail("accept");
	close(listener);
	return fd;
}

static void send_all(int fd, const uint8_t *src, size_t len)
{
	while (len > 0) {
		size_t n = len < PACKET ? len : PACKET;
		char head[6];
		struct iovec part[2] = {{head, 5}, {(void *)(uintptr_t)src, n}};

		snprintf(head, sizeof head, "%04zx\1", n + 5);
		if (writev(fd, part, 2) != (ssize_t)(n + 5)) /* blocking: whole or broken */
			fail("send");
		src += n;
		len -= n;
	}
}

static double pass(const char *path, bool sum, XXH64_hash_t *check)
{
	static uint8_t chunk[CHUNK];
	struct bole_hash hash;
	struct bole_oid oid;
	ssize_t got;
	pid_t reader;
	int file = open(path, O_RDONLY);
	int fd = drained(&reader);
	double start = cpu();

	if (file < 0)
		fail(path);
	bole_hash_init(&hash, BOLE_HASH_SHA1);
	while ((got = read(file, chunk, sizeof chunk)) > 0) {
		*check ^= XXH3_64bits_withSeed(chunk, (size_t)got, 7);
		if (sum)
			bole_hash_update(&hash, chunk, (size_t)got);
		send_all(fd, chunk, (size_t)got);
	}
	bole_hash_final(&hash, &oid);
	double used = cpu() - start;
	close(file);
	close(fd);
	waitpid(reader, NULL, 0);
	return used;
}

int main(int argc, char **argv)
{
	long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
	XXH64_hash_t check = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: git_floor FILE [ROUNDS]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (long i = 0; i < rounds; i++) {
		double plain = pass(argv[1], false, &check);
		double summed = pass(argv[1], true, &check);

		printf("%.5f %.5f\n", plain, summed);
	}
	return check == 1; /* keeps it alive */
}
