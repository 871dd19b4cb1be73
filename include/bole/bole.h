/* SPDX-License-Identifier: ISC */
/* Everything that the library offers on every platform. Hosts add bole/posix.h (the platform) and
 * bole/import.h, tests bole/block_sim.h. */
#ifndef BOLE_BOLE_H
#define BOLE_BOLE_H

#include "bole/alloc.h"
#include "bole/aux.h"
#include "bole/block.h"
#include "bole/client.h"
#include "bole/config.h"
#include "bole/devices.h"
#include "bole/export.h"
#include "bole/folder.h"
#include "bole/gc.h"
#include "bole/gitdir.h"
#include "bole/hooks.h"
#include "bole/kv.h"
#include "bole/lfs.h"
#include "bole/limits.h"
#include "bole/mark.h"
#include "bole/node.h"
#include "bole/odb.h"
#include "bole/oid.h"
#include "bole/platform.h"
#include "bole/refs.h"
#include "bole/repack.h"
#include "bole/repos.h"
#include "bole/status.h"
#include "bole/store.h"
#include "bole/types.h"
#include "bole/verify.h"

#endif /* BOLE_BOLE_H */
