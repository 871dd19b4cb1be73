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
	[segment-reused]=p1,p2 [index-unchecked]=p6,p8 [bad-block-ignored]=p1,p7)

clean_without() { # program, unit, seed
	build/host/torture --seed "$3" --repro "$1/$2/" | tail -1 | grep -q ' failures=0 '
}

for binary in build/host/torture-*; do
	[[ -x $binary && -f $binary ]] || continue
	name=${binary#build/host/torture-}
	out=$("$binary" --seconds "$seconds" --stop-at 4 --jobs "${JOBS:-2}" \
		--programs "${programs[$name]:-p1}" 2>&1)
	after=$(sed -nE 's/^first failure after ([0-9.]+) s$/\1/p' <<<"$out")
	by='' tried=' '
	while read -r _ program geometry unit seed where; do
		[[ $tried == *" $program/$unit "* ]] && continue
		tried+="$program/$unit "
		clean_without "$program" "${unit#unit=}" "${seed#seed=}" || continue
		where=${where#*: }
		by="found by $program after $after s ($geometry: ${where%% | *})"
		break
	done < <(grep '^FAILED' <<<"$out")
	if [[ -n $by ]]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		by="NOT FOUND within $seconds s"
		[[ $tried == ' ' ]] || by="found only where it fails without the defect, too:$tried"
	fi
	printf '%-20s %s\n' "$name" "$by"
done
echo "$passed passed, $failed failed"
((failed == 0))
