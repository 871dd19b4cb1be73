#!/bin/bash
# SPDX-License-Identifier: ISC
# A slice of the regime for `make test`: all programs, two processes, less than two minutes.
# Environment: SEED (1), SLICE_SECONDS (100).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
exec build/host/torture --seconds "${SLICE_SECONDS:-100}" --seed "${SEED:-1}" --jobs 2
