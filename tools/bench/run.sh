#!/bin/bash
# SPDX-License-Identifier: ISC
# `make bench`: every figure beside its peer or its floor, both measured in this run.
# Writes build/bench/results.tsv: name, value, unit, peer, peer value, ratio, where measured.
#
#   HISTORY (synthetic)  a repository to clone instead of the generated one
#   RUNS (5)             repetitions; the median counts
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
out=$top/build/bench
runs=${RUNS:-5}
mkdir -p "$out"
dir=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
tools=$top/build/host/tests
image=$top/build/image/qemu
results=$out/results.tsv
where="$(nproc) cores, $(node_accel | cut -d' ' -f2), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
printf 'name\tvalue\tunit\tpeer\tpeer value\tratio\twhere measured\n' >"$results"

row() { # name value unit peer peer-value
	local ratio=-
	[ -n "${5:-}" ] && ratio=$(awk -v a="$2" -v b="$5" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }')
	printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:--}" "${5:--}" "$ratio" "$where" >>"$results"
	printf '  %-46s %12s %-6s %s\n' "$1" "$2" "$3" "${4:+$4 ${5:-} (ratio $ratio)}"
}
median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
die() {
	echo "bench: $*" >&2
	exit 1
}
for script in "$top"/tools/bench/[0-9]*.sh; do
	echo "bench: $(basename "$script" .sh)"
	. "$script" || die "$(basename "$script") failed"
done
echo "bench: $results"
