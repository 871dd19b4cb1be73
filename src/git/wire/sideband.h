/* SPDX-License-Identifier: ISC */
/* The side-band multiplexer (gitprotocol-pack(5), "Packfile Data"): pack data, progress and the
 * fatal error share one stream of packets. Without a side-band, data goes out bare, progress
 * vanishes and the error cannot be told. */
#ifndef BOLE_GIT_SIDEBAND_H
#define BOLE_GIT_SIDEBAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "bole/alloc.h"
#include "bole/platform.h"
#include "bole/types.h"

enum bole_sideband_mode {
	BOLE_SIDEBAND_NONE = 0,
	BOLE_SIDEBAND_SMALL = 1000,  /* side-band: whole packets of 1000 bytes */
	BOLE_SIDEBAND_LARGE = 65520, /* side-band-64k */
};

enum {
	BOLE_BAND_DATA = 1,
	BOLE_BAND_PROGRESS = 2,
	BOLE_BAND_ERROR = 3,
};

/* A bole_writer for band 1. Small writes are gathered, so that a packet is worth its head. */
struct bole_sideband {
	struct bole_writer writer;
	struct bole_output *out;
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	enum bole_sideband_mode mode;
	bool quiet;       /* the client wants no progress */
	uint64_t sent_ns; /* when a packet went out last */
	uint64_t shown_ns;
	char phase_text[48]; /* of the progress line in the making */
	bool phase_open;
	uint64_t phase_done;
	uint64_t phase_total;
	uint8_t *buf;
	size_t cap;
	size_t len;
};

/* BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_sideband_open(struct bole_sideband *, struct bole_output *,
                                                  struct bole_platform *, struct bole_alloc *,
                                                  enum bole_sideband_mode, bool quiet);
void bole_sideband_close(struct bole_sideband *);
/* Sends what was gathered for band 1. */
void bole_sideband_push(struct bole_sideband *);
/* Band 2: text for the user, sent at once. */
void bole_sideband_progress(struct bole_sideband *, const char *text);
/* The same also for a client that wants no progress: hooks, warnings, why a push failed. */
void bole_sideband_say(struct bole_sideband *, const char *text);
/* Band 3: the fatal error; nothing may follow. */
void bole_sideband_error(struct bole_sideband *, const char *text);
/* The shape of bole_reach.progress and bole_ingest.progress: "phase: 42% (21/50)", a few times a
 * second, closed by ", done." when the phase is complete. When the client wants no progress, an
 * empty packet of band 1 keeps the connection alive instead. ctx is the bole_sideband. */
void bole_sideband_on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total);
/* Closes the progress line in the making, if there is one. */
void bole_sideband_phase_end(struct bole_sideband *);

#endif /* BOLE_GIT_SIDEBAND_H */
