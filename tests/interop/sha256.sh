#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what the unit tests show for SHA-1 holds for SHA-256. Method: the suites whose repositories
# have the format of GIT_DEFAULT_HASH run once more with the other one.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
export GIT_DEFAULT_HASH=sha256
passed=0 failed=0
pack='@(ingest|faults|emit|hostile)/!(*bombs|trunc*|flipped*|*thousand*|clones*|keeps_to*)'
# Without those that are texts of SHA-1 through and through.
service='*/!(malformed*|a_signed*|*certificate|an_empty*|*each_mode*|*in_rounds)'
for suite in 'kv *' 'git-fsck *' 'git-gc gc/*' "git-pack $pack" "git-service $service"; do
	"build/asan/tests/unit-${suite%% *}" --jobs 2 --filter "${suite#* }" ||
		echo "sha256: unit-${suite%% *} fails"
done 2>&1 | tee >(grep -v '^\[====\]' >&2) |
	{
		n='.*\b([0-9]+).*'
		while read -r a b c; do
			passed=$((passed + a)) failed=$((failed + b + c))
		done < <(sed -nE "s/.*Synthesis: .* Passing: $n Failing: $n Crashing: $n/\1 \2 \3/p")
		echo "$passed passed, $failed failed"
		((failed == 0 && passed > 50))
	}
