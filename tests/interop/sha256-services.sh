#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: the services do with SHA-256 what they do with SHA-1. Method: the scripts that ask for the
# format of new repositories (GIT_DEFAULT_HASH, as git knows it) run once more with the other one.
# The attacks of hostile.sh are a suite of their own, hostile-sha256.sh.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
export GIT_DEFAULT_HASH=sha256 ROUNDS=${ROUNDS:-60}
failed=0
for name in push fetch fetch-model archive repack; do
	tests/interop/$name.sh >build/test/sha256-$name.log 2>&1 && continue
	tail -20 build/test/sha256-$name.log
	echo "sha256-services: $name fails"
	failed=1
done
exit $failed
