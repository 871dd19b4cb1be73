#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: no power cut loses an acknowledged push or leaves half of another, and without FLUSH this
# test fails. Method: record every write and flush of a guest under pushes (QEMU's blklogwrites),
# then rebuild the disk as CUTS cuts could have left it, check each, and look at every reference.
#
#   CUTS (60) PUSHES (40) SEED (random)
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
cuts=${CUTS:-60} pushes=${PUSHES:-40} seed=${SEED:-$RANDOM}
tool=$top/build/host/tests/powercut
dir=$(mktemp -d)
trap 'node_kill 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
echo "powercut: seed=$seed cuts=$cuts pushes=$pushes"

die() {
	echo "powercut: $*" >&2
	exit 1
}

# Pushes one after the other; each line of acks: entries of the log when it was acknowledged, its
# reference, its id. A push that git reports is durable by then, so a cut at that entry or later
# must show it.
record() { # name elf
	rm -rf base.img disk.img log.img work acks
	"$bole" init base.img --size 64M >/dev/null || die "init"
	cp --sparse=always base.img disk.img
	truncate -s 1M log.img
	local file="driver=file,filename=disk.img,node-name=file"
	file+=" -blockdev driver=file,filename=log.img,node-name=log"
	file+=" -blockdev driver=blklogwrites,file=file,log=log,node-name=disk,log-sector-size=512"
	NODE_BLOCK="-blockdev $file" NODE_ELF=$2 NODE_LOG=$dir/console \
		node_boot disk.img receive.enable=true receive.create=true || die "boot"
	git init -q -b main work
	git -C work config user.name t && git -C work config user.email t@localhost
	: >acks
	local i ref id size
	for ((i = 1; i <= pushes; i++)); do
		# Most become records; every ninth is large enough for an extent.
		size=$((RANDOM * (i % 5 + 1) / 4))
		[ $((i % 9)) = 4 ] && size=$((500000 + RANDOM * 20))
		head -c $size /dev/urandom >work/file$((i % 7))
		echo "$i" >work/count
		git -C work add -A && git -C work commit -q -m "$i"
		ref=refs/heads/main
		[ $((i % 3)) = 0 ] && ref=refs/heads/b$((i % 5))
		id=$(git -C work rev-parse HEAD)
		echo "start $("$tool" entries log.img) $ref $id" >>acks
		git -C work push -q "http://127.0.0.1:$NODE_HTTP/r.git" "+HEAD:$ref" 2>push.err ||
			die "push $i: $(cat push.err)"
		echo "ack $("$tool" entries log.img) $ref $id" >>acks
	done
	node_kill
	echo "powercut: $1: $(wc -l <acks) marks, $("$tool" entries log.img) entries," \
		"$("$tool" flushes log.img) flushes"
}

# Which values a reference may have after a cut at entry $1: the last acknowledged one, or one whose
# push had begun. Prints what is wrong.
judge() { # cut
	"$bole" fsck "disk.img" >fsck.out 2>&1 || { echo "fsck: $(tail -n 3 fsck.out)"; return; }
	git -c protocol.ext.allow=always ls-remote "ext::$bole upload-pack disk.img#r" \
		>refs.out 2>refs.err || : >refs.out
	awk -v cut="$1" '
		NR == FNR { have[$2] = $1; next }
		$1 == "ack" && $2 <= cut { must[$3] = $4; delete may[$3] }
		$1 == "start" && $2 <= cut { pending[$3] = $4 }
		$1 == "ack" && $2 <= cut { delete pending[$3] }
		END {
			for (r in must)
				if (have[r] != must[r] && !(r in pending && have[r] == pending[r]))
					print "lost: " r " is " have[r] ", acknowledged " must[r]
			for (r in have)
				if (r ~ /^refs\// && !(r in must) && !(r in pending))
					print "unasked: " r
		}' refs.out acks
}

# Counts cuts that show damage. Stops at the first when asked to.
try_cuts() { # count mode
	local entries i cut bad=0 text
	entries=$("$tool" entries log.img)
	RANDOM=$((seed % 32768))
	for ((i = 1; i <= $1; i++)); do
		cut=$(((RANDOM * 32768 + RANDOM) % entries + 1))
		cp --sparse=always base.img disk.img
		# shellcheck disable=SC2086
		"$tool" replay log.img disk.img $cut $((seed * 1000 + i)) $2 || die "replay"
		text=$(judge $cut)
		if [ -n "$text" ]; then
			bad=$((bad + 1))
			echo "  cut $cut (seed $((seed * 1000 + i))): $(head -n 1 <<<"$text")" >>found
		fi
	done
	echo $bad
}

elf=$top/build/image/qemu
record 'real image' "$elf/bole.elf"
: >found
bad=$(try_cuts "$cuts" "")
[ "$bad" = 0 ] || { cat found; die "$bad of $cuts cuts lost data"; }
echo "powercut: $cuts cuts, 0 failures"

# The same judge must find the defect when the image never issues FLUSH.
pushes=10
record 'image without FLUSH' "$elf/bole-noflush.elf"
[ "$("$tool" flushes log.img)" = 0 ] || die "the image without FLUSH flushed"
bad=$(try_cuts 20 "")
[ "$bad" != 0 ] || die "an image that never flushes passed: this test proves nothing"
echo "powercut: without FLUSH $bad of 20 cuts lost data, as they must"
