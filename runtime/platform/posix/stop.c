/* SPDX-License-Identifier: ISC */
/* SIGINT and SIGTERM, taken by a thread that does nothing else. */
#include <signal.h>

#include "internal.h"

enum { WAKE_SIGNAL = SIGUSR2 }; /* ends the thread; blocked everywhere else by the same mask */

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, WAKE_SIGNAL);
}

static void *stop_main(void *arg)
{
	struct posix *p = arg;
	sigset_t set;
	unsigned count = 0;
	int number = 0;

	signal_set(&set);
	while (!atomic_load(&p->stop_thread_end)) {
		if (sigwait(&set, &number) == 0 && number != WAKE_SIGNAL)
			p->stop_fn(p->stop_ctx, ++count);
	}
	return NULL;
}

enum bole_status bole_posix_on_stop(struct bole_platform *platform,
                                    void (*fn)(void *ctx, unsigned n), void *ctx)
{
	struct posix *p = (struct posix *)platform;
	sigset_t set;

	if (p->stop_thread_runs)
		return BOLE_E_EXISTS;
	signal_set(&set);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		return BOLE_E_IO;
	p->stop_fn = fn;
	p->stop_ctx = ctx;
	if (pthread_create(&p->stop_thread, NULL, stop_main, p) != 0)
		return BOLE_E_NO_MEMORY;
	p->stop_thread_runs = true;
	return BOLE_OK;
}

void bole_posix_off_stop(struct bole_platform *platform)
{
	struct posix *p = (struct posix *)platform;

	if (!p->stop_thread_runs)
		return;
	atomic_store(&p->stop_thread_end, true);
	pthread_kill(p->stop_thread, WAKE_SIGNAL);
	pthread_join(p->stop_thread, NULL);
	p->stop_thread_runs = false;
}
