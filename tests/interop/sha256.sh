#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what the unit tests show for SHA-1 holds for SHA-256. Method: the suites whose repositories
# have the format of GIT_DEFAULT_HASH run once more with the other one; of those that take long SEED
# chooses one, ALL=1 runs all. (git-files, and what has no format, run with both by themselves.)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
export GIT_DEFAULT_HASH=sha256
SEED=${SEED:-$RANDOM}
echo "SEED=$SEED"
pack='@(ingest|faults|emit|hostile)/!(*bombs|trunc*|flipped*|*thousand*|clones*|keeps_to*)'
# Without those that are texts of SHA-1 through and through.
service='*/!(malformed*|a_signed*|*certificate|an_empty*|*each_mode*|*in_rounds)'
suites=('kv *' 'git-fsck *' 'git-gc gc/*' 'git-object *' 'git-client *' "git-pack $pack" "git-service $service")
long=('git-repack *' 'git-gc gc_flash/*' 'store *' 'git-bitmap !(model)/*' 'git-pack @(ahead|big|quarantine|flash)/*'
	'git-pack @(ingest|faults|emit|hostile)/@(*bombs|trunc*|flipped*|*thousand*|clones*|keeps_to*)')
((${ALL:-0})) || long=("${long[SEED % ${#long[@]}]}")
passed=0 failed=0
n='.*\b([0-9]+).*'
for suite in "${suites[@]}" "${long[@]}"; do
	out=$("build/asan/tests/unit-${suite%% *}" --jobs 2 --filter "${suite#* }" 2>&1)
	rc=$?
	sed -E '/^\[====\]/d' <<<"$out"
	read -r good bad crashed < <(
		sed -nE "s/.*Synthesis: .* Passing: $n Failing: $n Crashing: $n/\1 \2 \3/p" <<<"$out"; echo 0 0 0)
	bad=$((bad + crashed))
	((good > 0 && (rc == 0) == (bad == 0))) || bad=$((bad + 1))
	((bad == 0)) || echo "sha256: unit-$suite fails"
	passed=$((passed + good)) failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
((failed == 0))
