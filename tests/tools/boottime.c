/* SPDX-License-Identifier: ISC */
/* Milliseconds from exec of a command until its standard output holds a text; then it is killed.
 *
 *   boottime RUNS TEXT COMMAND [ARG...]     prints the median, minimum and maximum
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUNS_MAX = 100, WAIT_MS = 20000 };

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double once(const char *text, char **command)
{
	static char seen[1 << 16];
	size_t len = 0;
	int pipes[2];
	double start, end = -1;
	pid_t child;

	if (pipe(pipes) != 0)
		exit(1);
	start = now_ms();
	child = fork();
	if (child == 0) {
		dup2(pipes[1], 1);
		close(pipes[0]);
		execvp(command[0], command);
		_exit(127);
	}
	close(pipes[1]);
	while (end < 0 && len < sizeof seen && now_ms() - start < WAIT_MS) {
		struct pollfd wait_for = {.fd = pipes[0], .events = POLLIN};
		ssize_t got;

		if (poll(&wait_for, 1, 100) <= 0)
			continue;
		got = read(pipes[0], seen + len, sizeof seen - len);
		if (got <= 0)
			break;
		len += (size_t)got;
		if (memmem(seen, len, text, strlen(text)) != NULL)
			end = now_ms();
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(pipes[0]);
	if (end < 0) {
		fprintf(stderr, "boottime: '%s' did not come; it said:\n%.*s\n", text, (int)len,
		        seen);
		exit(1);
	}
	return end - start;
}

int main(int argc, char **argv)
{
	double times[RUNS_MAX];
	int runs;

	if (argc < 4 || (runs = (int)strtol(argv[1], NULL, 10)) < 1 || runs > RUNS_MAX) {
		fprintf(stderr, "usage: boottime RUNS TEXT COMMAND [ARG...]\n");
		return 2;
	}
	for (int i = 0; i < runs; i++)
		times[i] = once(argv[2], argv + 3);
	qsort(times, (size_t)runs, sizeof *times, compare);
	printf("%.1f %.1f %.1f\n", times[runs / 2], times[0], times[runs - 1]);
	return 0;
}
