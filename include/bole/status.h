/* SPDX-License-Identifier: ISC */
/* The one status type. Negative = error, 0 = done, positive = not an error, but.
 *
 * A code says what the caller can do about it; the place of failure has already logged the detail
 * (device, offset, object id) through the platform's log hook.
 */
#ifndef BOLE_STATUS_H
#define BOLE_STATUS_H

#define BOLE_MUST_USE __attribute__((warn_unused_result))

enum bole_status {
	BOLE_OK = 0,
	BOLE_AGAIN = 1, /* a step codec wants more input or more room */
	BOLE_END = 2,   /* no more: end of stream, of iteration */

	BOLE_E_IO = -1,        /* the device or the network refused; outcome of a write unknown */
	BOLE_E_CORRUPT = -2,   /* stored bytes fail their checksum or grammar: run fsck */
	BOLE_E_NOT_FOUND = -3, /* no such object, reference, repository, key */
	BOLE_E_NO_MEMORY = -4, /* the memory budget is exhausted: retry later or raise it */
	BOLE_E_NO_SPACE = -5,  /* the volume is full: delete something; deletes still work */
	BOLE_E_CONFLICT = -6,  /* a compare-and-set found another value: reread and retry */
	BOLE_E_GONE = -7,      /* the pinned snapshot was revoked: open a new one */
	BOLE_E_INVALID = -8,   /* malformed input from a peer or a caller: do not retry */
	BOLE_E_LIMIT = -9,     /* a named limit was exceeded: see limits.h and the options */
	BOLE_E_UNSUPPORTED = -10, /* well-formed, but this build or volume cannot do it */
	BOLE_E_READ_ONLY = -11,   /* the volume is read-only (asked for, or after a failed flush) */
	BOLE_E_EXISTS = -12,      /* a repository or branch of that name is there already */
	BOLE_E_BUSY = -13,        /* somebody else holds the volume */
	BOLE_E_TIMEOUT = -14,     /* the peer was silent past its deadline */
	BOLE_E_CLOSED = -15,      /* the peer hung up, or the object was shut down */
	BOLE_E_DENIED = -16,      /* not allowed by configuration */
	/* The repository is partial, and its origin keeps what is asked for: fetch it (client.h).
	 */
	BOLE_E_PROMISED = -17,
};

/* A short lower-case English phrase for a status ("no space on the volume"). Static storage. */
#ifdef __cplusplus
extern "C" {
#endif
const char *bole_status_text(enum bole_status rc);
#ifdef __cplusplus
}
#endif

#endif /* BOLE_STATUS_H */
