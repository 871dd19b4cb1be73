#!/bin/bash
# SPDX-License-Identifier: ISC
# `make bench`: every figure beside its peer or its floor, both measured in this run.
# Writes build/bench/results.tsv: name, value, unit, peer, peer value, ratio, where measured, bar,
# verdict; ends with the bars that were missed.
#
#   tools/bench/run.sh [--quick] [--only=PART] [NAME...]   NAME: the start of a script's name, 30-flash
#
#   --quick              small sizes: a check of the benches, not a figure
#   --only=PART          of the flash and engine benches, what has PART in its name
#   HISTORY (synthetic)  a repository to clone instead of the generated one
#   RUNS (5)             repetitions; the median counts
#   BENCH_DIR (TMPDIR)   where files and volumes go: the disk that is measured
#   LITTLEFS_DIR         for `make`: its source tree, to be measured beside
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
out=$top/build/bench
bin=$out/bin
runs=${RUNS:-5}
quick=() only=() names=()
for arg; do
	case $arg in
	--quick) quick=(--quick) runs=1 ;;
	--only=*) only=("$arg") ;;
	--help)
		sed -n '3,/^set/s/^# \{0,1\}//p' "$0"
		exit
		;;
	-*) echo "bench: what is $arg? --help" >&2 && exit 2 ;;
	*) names+=("$arg") ;;
	esac
done
mkdir -p "$out"
dir=$(mktemp -d -p "${BENCH_DIR:-${TMPDIR:-/tmp}}")
unmount=
trap 'jobs -p | xargs -r kill 2>/dev/null; [ -z "$unmount" ] || umount "$unmount"; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
tools=$top/build/host/tests
image=$top/build/image/qemu
results=$out/results.tsv
where="$(nproc) cores, $(node_accel | cut -d' ' -f2), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
((${#names[@]} + ${#quick[@]} + ${#only[@]})) && results=$out/some.tsv
printf 'name\tvalue\tunit\tpeer\tpeer value\tratio\twhere measured\tbar\tverdict\n' >"$results"

row() { # name value unit peer peer-value [bar verdict]
	local ratio=-
	[ -n "${5:-}" ] && ratio=$(awk -v a="$2" -v b="$5" \
		'BEGIN { if (b > 0 && a != "-") printf "%.2f", a / b; else print "-" }')
	printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:--}" "${5:--}" "$ratio" "$where" \
		"${6:--}" "${7:--}" >>"$results"
	local beside='' verdict=''
	[ "${7:--}" = - ] || verdict="$6 $7  "
	[ "${4:--}" = - ] || beside="$4 ${5:--} (ratio $ratio)"
	printf '  %-58s %10s %-6s %s\n' "$1" "$2" "$3" "$verdict$beside"
}
# Runs a program of tests/bench and takes over its rows.
measure() { # program argument...
	local kind name value unit peer theirs op bar verdict
	while IFS=$'\t' read -r kind name value unit peer theirs op bar verdict; do
		case $kind in
		row) row "$name" "$value" "$unit" "$peer" "$theirs" "$(bar_text "$op" "$bar")" "$verdict" ;;
		note) echo "    $name" ;;
		*) echo "    ! $kind" ;;
		esac
	done < <("$bin/$1" "${quick[@]}" "${only[@]}" "${@:2}" 2>&1 || echo "$1: status $?")
}
bar_text() {
	case $1 in
	*peer) echo "${1%% *} $2 x peer" ;;
	-) echo - ;;
	*) echo "$1 $2" ;;
	esac
}
median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
die() {
	echo "bench: $*" >&2
	exit 1
}
wanted() { # script
	local n
	((${#names[@]})) || return 0
	for n in "${names[@]}"; do [[ $1 == "$n"* ]] && return 0; done
	return 1
}
for script in "$top"/tools/bench/[0-9]*.sh; do
	wanted "$(basename "$script" .sh)" || continue
	echo "bench: $(basename "$script" .sh)"
	. "$script" || die "$(basename "$script") failed"
done
echo "bench: $results"
missed=$(grep -cP '\tmissed$' "$results")
met=$(grep -cP '\tmet$' "$results")
echo "bench: $met bars met, $missed missed"
awk -F'\t' '$9 != "met" && $9 != "-" && NR > 1 { print "  " $9 ": " $1 " = " $2 " " $3 ", bar " $8 \
	(($4 != "-") ? " (" $4 " " $5 ")" : "") }' "$results"
