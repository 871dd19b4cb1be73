/* SPDX-License-Identifier: ISC */
/* I/O workers: threads that run what would block a loop, and the device wrapper that uses them. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void *worker_main(void *arg)
{
	struct posix *p = arg;
	struct bole_platform *platform = &p->platform;

	pthread_mutex_lock(&p->pool_lock);
	for (;;) {
		struct posix_job *job = p->job_first;
		if (job == NULL) {
			if (p->pool_stop)
				break;
			pthread_cond_wait(&p->pool_work, &p->pool_lock);
			continue;
		}
		p->job_first = job->next;
		if (p->job_first == NULL)
			p->job_last = NULL;
		pthread_mutex_unlock(&p->pool_lock);
		job->run(job);
		posix_mutex_lock(platform, &job->lock);
		job->done = true;
		posix_cond_signal(platform, &job->ended);
		posix_mutex_unlock(platform, &job->lock);
		pthread_mutex_lock(&p->pool_lock);
	}
	pthread_mutex_unlock(&p->pool_lock);
	return NULL;
}

void posix_offload(struct posix *p, struct posix_job *job)
{
	struct bole_platform *platform = &p->platform;

	if (posix_fiber_of(p) == NULL) {
		job->run(job);
		return;
	}
	job->next = NULL;
	job->done = false;
	posix_mutex_init(platform, &job->lock);
	posix_cond_init(platform, &job->ended);
	pthread_mutex_lock(&p->pool_lock);
	if (p->job_last == NULL)
		p->job_first = job;
	else
		p->job_last->next = job;
	p->job_last = job;
	pthread_cond_signal(&p->pool_work);
	pthread_mutex_unlock(&p->pool_lock);
	posix_mutex_lock(platform, &job->lock);
	while (!job->done)
		(void)posix_cond_wait(platform, &job->ended, &job->lock, BOLE_NEVER);
	posix_mutex_unlock(platform, &job->lock);
	posix_cond_destroy(platform, &job->ended);
	posix_mutex_destroy(platform, &job->lock);
}

enum bole_status posix_pool_start(struct posix *p)
{
	p->pool_stop = false;
	while (p->worker_count < p->worker_limit) {
		if (pthread_create(&p->workers[p->worker_count], NULL, worker_main, p) != 0)
			return p->worker_count > 0 ? BOLE_OK : BOLE_E_NO_MEMORY;
		p->worker_count++;
	}
	return BOLE_OK;
}

void posix_pool_stop(struct posix *p)
{
	pthread_mutex_lock(&p->pool_lock);
	p->pool_stop = true;
	pthread_cond_broadcast(&p->pool_work);
	pthread_mutex_unlock(&p->pool_lock);
	for (unsigned i = 0; i < p->worker_count; i++)
		pthread_join(p->workers[i], NULL);
	p->worker_count = 0;
}
