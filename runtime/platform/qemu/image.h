/* SPDX-License-Identifier: ISC */
/* Between the files of the image's main. */
#ifndef BOLE_IMAGE_H
#define BOLE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "bole/block.h"
#include "bole/config.h"
#include "bole/platform.h"

/* What start-up found and opened. */
struct image_devices {
	struct bole_block *disk; /* the first block device, NULL = none */
	bool network;
	bool addressed; /* an IPv4 address is there */
};

/* Opens entropy sources, the disk and the network, and says so on the console. BOLE_E_INVALID: the
 * configuration of the network. A missing device is no failure. */
BOLE_MUST_USE enum bole_status image_devices_open(struct image_devices *,
                                                  const struct bole_config *);
/* A line a device for the banner. */
void image_devices_report(const struct image_devices *);

/* image.selftest=disk|net: exercises a driver instead of serving. The exit status. */
int image_selftest(const char *what, struct image_devices *);

#endif /* BOLE_IMAGE_H */
