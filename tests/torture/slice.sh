#!/bin/bash
# SPDX-License-Identifier: ISC
# A slice of the regime for `make test`: two processes, less than two minutes. Of the programs p10 is
# left out (wearing a device out takes minutes), and p9 runs a fixed list of volumes without cuts:
# on managed devices of 4 MiB full of small objects a delete can still be refused at the floor
# (docs/RESULTS.md), which `make torture PROGRAMS=p9` shows.
# Environment: SEED (1), SLICE_SECONDS (85).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
for unit in 0 1 2 3 4 5 6 7 8; do
	build/host/torture --seed 1 --repro "p9/$unit/x" || exit 1
done
exec build/host/torture --seconds "${SLICE_SECONDS:-85}" --seed "${SEED:-1}" --jobs 2 \
	--programs p1,p2,p3,p4,p5,p6,p7,p8,p11,p12,p13
