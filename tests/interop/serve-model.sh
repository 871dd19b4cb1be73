#!/bin/bash
# SPDX-License-Identifier: ISC
# Raw requests to stock git and to a server whose repositories change: see serve-model.py.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
bole=${BOLE:-$PWD/build/asan/bole}
[[ -x build/host/bole ]] && bole=$PWD/build/host/bole
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
timeout 200 python3 tests/interop/serve-model.py "$bole" "$dir" "${SEED:-7}" "${ROUNDS:-80}"
