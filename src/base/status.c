/* SPDX-License-Identifier: ISC */
#include "bole/status.h"

#include "base/check.h"

const char *bole_status_text(enum bole_status rc)
{
	switch (rc) {
	case BOLE_OK: return "done";
	case BOLE_AGAIN: return "more is needed";
	case BOLE_END: return "end";
	case BOLE_E_IO: return "input/output error";
	case BOLE_E_CORRUPT: return "stored data is damaged";
	case BOLE_E_NOT_FOUND: return "not found";
	case BOLE_E_NO_MEMORY: return "out of memory budget";
	case BOLE_E_NO_SPACE: return "no space on the volume";
	case BOLE_E_CONFLICT: return "changed by somebody else";
	case BOLE_E_GONE: return "snapshot was revoked";
	case BOLE_E_INVALID: return "malformed";
	case BOLE_E_LIMIT: return "a limit was exceeded";
	case BOLE_E_UNSUPPORTED: return "not supported";
	case BOLE_E_READ_ONLY: return "read-only";
	case BOLE_E_EXISTS: return "exists already";
	case BOLE_E_BUSY: return "in use";
	case BOLE_E_TIMEOUT: return "timed out";
	case BOLE_E_CLOSED: return "connection closed";
	case BOLE_E_DENIED: return "not allowed";
	case BOLE_E_PROMISED: return "not here but at the origin of this partial clone";
	}
	BOLE_UNREACHABLE();
}
