#!/bin/bash
# SPDX-License-Identifier: ISC
# Planted defects: builds of the regime with one defect of the store each. Every one must be found,
# and what found it must be clean without the defect.
#   tests/torture/defects.sh [SECONDS]      at most so long for each (20)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
seconds=${1:-20}
passed=0 failed=0
declare -A programs=(
	[flush-skipped]=p1 [trailer-unchained]=p1 [trailer-unverified]=p1,p2,p4,p8
	[segment-reused]=p1,p2,p9 [index-unchecked]=p6,p8 [bad-block-ignored]=p1,p7)

for binary in build/host/torture-*; do
	name=${binary#build/host/torture-}
	out=$("$binary" --seconds "$seconds" --stop-at 1 --jobs "${JOBS:-2}" \
		--programs "${programs[$name]:-p1}" 2>&1)
	line=$(grep -m1 '^FAILED' <<<"$out")
	after=$(sed -nE 's/^first failure after ([0-9.]+) s$/\1/p' <<<"$out")
	if [[ -z $line ]]; then
		failed=$((failed + 1))
		printf '%-20s NOT FOUND within %s s\n' "$name" "$seconds"
		continue
	fi
	read -r _ program geometry unit seed _ <<<"$line"
	clean=$(build/host/torture --seed "${seed#seed=}" --repro "$program/${unit#unit=}/" | tail -1)
	if [[ $clean != *" failures=0 "* ]]; then
		failed=$((failed + 1))
		printf '%-20s found by %s, but so without it: %s\n' "$name" "$program" "$clean"
		continue
	fi
	passed=$((passed + 1))
	what=${line#*: }
	printf '%-20s found by %s after %s s (%s: %s)\n' "$name" "$program" "$after" "$geometry" \
		"${what%% | *}"
done
echo "$passed passed, $failed failed"
((failed == 0))
