/* SPDX-License-Identifier: ISC */
#include "git/client/push.h"

enum bole_status bole_remote_push(struct bole_remote *r, struct bole_store *store,
                                  struct bole_client_push *job)
{
	(void)store;
	(void)job;
	return bole_remote_fail(r, BOLE_E_UNSUPPORTED, "push is not here yet");
}
