#!/bin/bash
# SPDX-License-Identifier: ISC
# Raw requests to stock git's upload-pack and to ours: see fetch-model.py.
# Also: sha256
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
bole=${BOLE:-$PWD/build/asan/bole}
[[ -x build/host/bole ]] && bole=$PWD/build/host/bole
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
timeout 100 python3 tests/interop/fetch-model.py "$bole" "$dir" "${SEED:-7}" "${ROUNDS:-110}"
