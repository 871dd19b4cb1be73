#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what hostile.sh shows for SHA-1 holds for SHA-256. Method: its attacks that depend on the format.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
GIT_DEFAULT_HASH=sha256 exec tests/interop/hostile.sh
