/* SPDX-License-Identifier: ISC */
/* Runs a server and accounts for it and all its descendants.
 *
 *   cputime REPORT COMMAND [ARG...]
 *
 * On SIGTERM or SIGINT the command's process group gets SIGTERM; when everything has ended REPORT
 * gets one line: user seconds, system seconds, peak KiB of the largest process.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;

static void forward(int signal_number)
{
	(void)signal_number;
	kill(-child, SIGTERM);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = forward};
	struct rusage use;
	FILE *report;

	if (argc < 3) {
		fprintf(stderr, "usage: cputime REPORT COMMAND [ARG...]\n");
		return 2;
	}
	/* Who starts us may ignore it (fcgiwrap), and then nobody's time is counted. */
	signal(SIGCHLD, SIG_DFL);
	/* Orphans (git daemon's helpers) come back to us and are counted. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	child = fork();
	if (child == 0) {
		setpgid(0, 0);
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	if (child < 0)
		return 1;
	setpgid(child, child);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	getrusage(RUSAGE_CHILDREN, &use);
	report = fopen(argv[1], "w");
	if (report == NULL)
		return 1;
	fprintf(report, "%.3f %.3f %ld\n",
	        (double)use.ru_utime.tv_sec + (double)use.ru_utime.tv_usec / 1e6,
	        (double)use.ru_stime.tv_sec + (double)use.ru_stime.tv_usec / 1e6, use.ru_maxrss);
	return fclose(report) == 0 ? 0 : 1;
}
