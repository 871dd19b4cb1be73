#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: Git's files are read and written without losing or changing a byte. Method: seeded random
# repositories of both object formats, in whatever form git keeps them (loose, packed by every
# version of index, several packs with a multi-pack index, split commit graphs, alternates, bundles),
# are imported and exported again; git checks what came out, and every object and reference must be
# the same. REPOS of them from SEED on. BOLE names the program.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
bole=${BOLE:-$PWD/build/asan/bole}
[[ -x $bole ]] || { echo "files: $bole is not built" >&2; exit 1; }
exec python3 tests/support/two_way.py "$bole" "${REPOS:-10}" "${SEED:-1}" "${JOBS:-2}"
