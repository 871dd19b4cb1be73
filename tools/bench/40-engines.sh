#!/bin/bash
# SPDX-License-Identifier: ISC
# The store on a file beside LMDB, LevelDB, RocksDB, SQLite and a raw append + fdatasync loop, on the
# same disk in the same run. Sourced by run.sh, which it starts when called by itself.
#
# Each engine takes turns of commits with the raw loop (an own file, its blocks written before), so
# that a disk whose speed moves is fair: what is compared is the part of the loop's rate. Device bytes
# are those of a file system of its own on a loop device, where one can be had (root). The checked loop
# is the raw one with a checksum and a lookup for each record: what no store that does both can beat.
[ -n "${results:-}" ] || exec "$(dirname "$0")/run.sh" "$@" 40-engines

engines=(bole raw checked lmdb leveldb rocksdb sqlite)
declare -A engine_name=([bole]=Bole [raw]='raw loop' [checked]='checked loop' [lmdb]=LMDB
	[leveldb]=LevelDB [rocksdb]=RocksDB [sqlite]=SQLite)
counts=(100000 1000000)
rounds=3
[ ${#quick[@]} = 0 ] || counts=(20000) rounds=1
counts=(${ENGINE_COUNTS:-"${counts[@]}"})
rounds=${ENGINE_ROUNDS:-$rounds}

figures() { # count engine kind floor-kind: appends to figures
	local work=$dir/engine beside=() cache=64
	# Enough for all objects, as the system's page cache has for those that map their file.
	[ "$1" -lt 500000 ] || cache=320
	[ "$2" = raw ] || beside=(--floor="$work/floor")
	rm -rf "$work" && mkdir -p "$work/db" "$work/floor"
	ENGINE_FILE=$3 FLOOR_FILE=$4 timeout "${ENGINE_SECONDS:-900}" "$bin/engine_$2" --count="$1" \
		"${quick[@]}" --cache="$cache" --dir="$work/db" "${beside[@]}" >"$work/out" 2>"$work/err" ||
		echo "    ! ${engine_name[$2]}: $(tail -n 1 "$work/err")"
	sed "s/^figure/$1\t$2.$3.$4/" "$work/out" >>figures
	rm -rf "$work"
	sync
}
device_figures() { # count engine
	local work=$dir/loop stat
	rm -f loop.img && truncate -s 6G loop.img && mkfs.ext4 -q -E lazy_itable_init=0 loop.img &&
		mkdir -p "$work" && mount -o loop loop.img "$work" 2>/dev/null || return 1
	unmount=$work
	stat=/sys/dev/block/$(stat -c '%Hd:%Ld' "$work")/stat
	mkdir "$work/db"
	ENGINE_FILE=written timeout "${ENGINE_SECONDS:-900}" "$bin/engine_$2" --count="$1" "${quick[@]}" \
		--dir="$work/db" --bytes --stat="$stat" >out 2>err || echo "    ! ${engine_name[$2]}: $(tail -n 1 err)"
	sed "s/^figure/$1\t$2.device/" out >>figures
	umount "$work" && unmount=
	rm -f loop.img
}
figure() { # count engine name: the median of the rounds
	awk -F'\t' -v c="$1" -v e="$2" -v n="$3" '$1 == c && $2 == e && $3 == n { print $4 }' figures | median
}
short() {
	awk -v v="$1" 'BEGIN { if (v == "") print "-"; else printf((v >= 100 ? "%.0f" : "%.3g"), v) }'
}
engine_row() { # name value unit peer peer-value op bar: op <= or >=, "x" after it is of the peer
	local verdict=- bar=$7 text=-
	if [ -n "$6" ]; then
		[ "${6#* }" = x ] && bar=$(awk -v a="$5" -v b="$7" 'BEGIN { print a * b }')
		text="${6% x} $7${6##*[<>=]}"
		text="${text% x}$([ "${6#* }" = x ] && echo ' x peer')"
		verdict=$(awk -v v="$2" -v b="$bar" -v op="${6% x}" 'BEGIN {
			ok = v != "" && b != "" && (op == "<=" ? v + 0 <= b + 0 : v + 0 >= b + 0)
			print ok ? "met" : "missed" }')
	fi
	row "$1" "$(short "$2")" "$3" "$4" "$(short "$5")" "$text" "$verdict"
}
best() { # count figure suffix: "value engine", the highest of the engines that are there
	local e v
	for e in lmdb leveldb rocksdb sqlite; do
		v=$(figure "$1" "$e$3" "$2")
		[ -z "$v" ] || echo "$v ${engine_name[$e]}"
	done | sort -g | tail -n 1
}
beside() { # count figure: all engines in one line
	local e v line=
	for e in "${engines[@]}"; do
		v=$(figure "$1" "$e.${3:-written.written}" "$2")
		line+="${engine_name[$e]} $(short "$v"), "
	done
	echo "    $1 objects, $2: ${line%, }"
}

: >figures
for e in "${engines[@]}"; do
	[ -x "$bin/engine_$e" ] || row "engine ${engine_name[$e]}" - - - - present missing
done
for count in "${counts[@]}"; do
	for _ in $(seq "$([ "$count" -gt 500000 ] && echo 1 || echo "$rounds")"); do
		for e in "${engines[@]}"; do
			[ ! -x "$bin/engine_$e" ] || figures "$count" "$e" written written
		done
		figures "$count" bole grow grow
	done
done
for e in "${engines[@]}"; do
	[ ! -x "$bin/engine_$e" ] || device_figures "${counts[0]}" "$e" ||
		{ echo "    ! no loop device: device bytes are not counted" && break; }
done

for count in "${counts[@]}"; do
	n=$count
	for f in 'load, 1000 a commit: commits' '1 a commit: commits' '1 a commit: of the floor' \
		'10 a commit: of the floor' '100 a commit: of the floor' '1000 a commit: of the floor' \
		'100 a commit: CPU us a put' '1000 a commit: CPU us a put' 'get hot' 'get hot: CPU us' \
		'get missing' 'get missing: CPU us' file/user 'RSS anonymous: MiB' 'RSS of files: MiB' 'reopen: ms'; do
		beside "$n" "$f"
	done
	for group in 1 10 100 1000; do
		for kind in written grow; do
			us=bole.$kind.$kind
			part=$(figure "$n" "$us" "$group a commit: of the floor")
			rate=$(figure "$n" "$us" "$group a commit: commits")
			floor=$(awk -v r="$rate" -v p="$part" 'BEGIN { if (p > 0) print r / p }')
			image=$([ $kind = written ] && echo 'written image' || echo 'sparse file')
			engine_row "commits of $group, $n objects, $image" "$rate" /s 'raw loop' "$floor" '>= x' \
				"$([ $group = 1 ] && echo 0.9 || echo 0.85)"
			[ $kind = written ] || continue
			# What checks and finds each object again cannot be faster than a loop that does no more.
			engine_row "commits of $group, $n objects, part of the raw loop" \
				"$part" x 'checked loop' \
				"$(figure "$n" checked.written.written "$group a commit: of the floor")" '' ''
			[ $group = 1 ] || continue
			read -r other who < <(best "$n" "1 a commit: of the floor" .written.written)
			engine_row "commits of 1, $n objects, beside the engines" "$part" x "best: $who" "$other" \
				'>= x' 1
		done
	done
	read -r other who < <(best "$n" 'get hot' .written.written)
	engine_row "get, $n objects" "$(figure "$n" bole.written.written 'get hot')" /s "best: $who" "$other" '>=' \
		"$([ "$n" -gt 500000 ] && echo 800000 || echo 1000000)"
	read -r other who < <(best "$n" 'get missing' .written.written)
	engine_row "get of a missing key, $n objects" "$(figure "$n" bole.written.written 'get missing')" /s \
		"best: $who" "$other" '>=' 2000000
	engine_row "reopen, $n objects" "$(figure "$n" bole.written.written 'reopen: ms')" ms LevelDB \
		"$(figure "$n" leveldb.written.written 'reopen: ms')" '<=' 30
	engine_row "file/user, $n objects" "$(figure "$n" bole.grow.grow file/user)" x LevelDB \
		"$(figure "$n" leveldb.written.written file/user)" '' ''
	f='RSS anonymous: MiB'
	engine_row "resident memory, $n objects" "$(figure "$n" bole.written.written "$f")" MiB LevelDB \
		"$(figure "$n" leveldb.written.written "$f")" '' ''
done
for f in 'load, 1000 a commit' '1 a commit' '10 a commit' '100 a commit' '1000 a commit'; do
	case $f in
	load*) op='<=' bar=1.5 ;;
	1000*) op='<=' bar=1.5 ;;
	100*) op='<=' bar=2.0 ;;
	*) op='' bar='' ;;
	esac
	beside "${counts[0]}" "$f: WA" device
	n=${counts[0]}
	best=$(for e in lmdb leveldb rocksdb sqlite; do figure "$n" $e.device "$f: WA"; done | sort -g | sed -n 1p)
	engine_row "WA, $f, device bytes" "$(figure "$n" bole.device "$f: WA")" x 'best engine' "$best" "$op" "$bar"
	engine_row "WA, $f, what the store wrote" "$(figure "$n" bole.device "$f: own WA")" x - '' "$op" "$bar"
done
