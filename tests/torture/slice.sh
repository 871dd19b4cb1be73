#!/bin/bash
# SPDX-License-Identifier: ISC
# A slice of the regime for `make test`: two processes, less than two minutes. Of the programs p10 is
# left out (wearing a device out takes minutes), and p9 runs its first volumes, with their cuts.
# Environment: SEED (1), SLICE_SECONDS (85).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
# Found once: a run of which the last row had died came back with the next mount.
build/host/torture --seed 7771 --repro p7/102/ || exit 1
# What a rebuild makes of a damaged checkpoint.
build/host/torture --seed 9701 --repro p15/415/10 || exit 1
build/host/torture --seed 9701 --repro p15/20/80 || exit 1
build/host/torture --seed 1 --programs p15 --units 12 --jobs 2 --seconds 30 || exit 1
build/host/torture --seed 1 --programs p9 --units 25 --jobs 2 --seconds 60 || exit 1
exec build/host/torture --seconds "${SLICE_SECONDS:-75}" --seed "${SEED:-1}" --jobs 2 \
	--programs p1,p2,p3,p4,p5,p6,p7,p8,p11,p12,p13
