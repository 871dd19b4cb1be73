#!/bin/bash
# SPDX-License-Identifier: ISC
# A slice of the regime for `make test`: two processes, less than two minutes. Of the programs only
# p10 is left out: wearing a device out takes minutes.
# Environment: SEED (1), SLICE_SECONDS (95).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
exec build/host/torture --seconds "${SLICE_SECONDS:-95}" --seed "${SEED:-1}" --jobs 2 \
	--programs p1,p2,p3,p4,p5,p6,p7,p8,p9,p11,p12,p13
