/* SPDX-License-Identifier: ISC */
/* One push, as its sender. Private to src/git/client. */
#ifndef BOLE_GIT_CLIENT_PUSH_H
#define BOLE_GIT_CLIENT_PUSH_H

#include "git/client/remote.h"

/* The remote is open and not connected. */
BOLE_MUST_USE enum bole_status bole_remote_push(struct bole_remote *, struct bole_store *,
                                                struct bole_client_push *);

#endif /* BOLE_GIT_CLIENT_PUSH_H */
