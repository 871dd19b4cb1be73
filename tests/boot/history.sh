#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: a history of more than 50,000 objects goes into a machine with 128 MiB and comes back
# identical. Method: push a synthetic history made from a seed (or the repository HISTORY), clone it,
# compare; the volume is then checked offline.
#
#   SEED (1) COMMITS (8500) HISTORY (none: synthetic)
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
dir=$(mktemp -d)
trap 'node_kill 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
NODE_LOG=$dir/console NODE_MEMORY=${NODE_MEMORY:-128}

die() {
	echo "history: $*" >&2
	tail -n 20 console >&2
	exit 1
}

source=${HISTORY:-$dir/source.git}
if [ -z "${HISTORY:-}" ]; then
	git init -q --bare source.git
	"$top/build/host/tests/gen_history" "${SEED:-1}" "${COMMITS:-8500}" |
		git -C source.git fast-import --quiet || die "the generator"
	git -C source.git symbolic-ref HEAD refs/heads/main-0
fi
repo_objects "$source" >want
"$bole" init disk.img --size 2G >/dev/null || die "init"
node_boot disk.img receive.enable=true receive.create=true || die "boot"
start=$(date +%s.%N)
git -C "$source" push -q --mirror "http://127.0.0.1:$NODE_HTTP/h.git" || die "push"
pushed=$(date +%s.%N)
git clone -q --mirror "http://127.0.0.1:$NODE_HTTP/h.git" copy.git || die "clone"
cloned=$(date +%s.%N)
repo_objects copy.git | cmp -s - want || die "the clone differs from what was pushed"
# A real history may have old sins of its own: the copy may have no others.
git -C "$source" fsck --full --strict 2>&1 | grep -v dangling | sort >fsck.source
git -C copy.git fsck --full --strict 2>&1 | grep -v dangling | sort >fsck.copy
cmp -s fsck.source fsck.copy || die "git fsck: $(diff fsck.source fsck.copy | tail -n 3)"
node_stop || die "shutdown"
"$bole" fsck disk.img >fsck.out 2>&1 || die "fsck: $(tail -n 3 fsck.out)"
awk -v n="$(wc -l <want)" -v a="$start" -v b="$pushed" -v c="$cloned" -v m="$NODE_MEMORY" 'BEGIN {
	printf "history: %d objects into %d MiB: pushed in %.1f s, cloned in %.1f s, identical\n",
		n, m, b - a, c - b }'
