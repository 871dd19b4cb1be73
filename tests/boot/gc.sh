#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: a booted machine collects the garbage of deleted and forced branches by itself, gives the
# space back, and a kill in the middle of it costs nothing. Method: pushes and deletions against an
# image that is told to collect at once; kill -9 ROUNDS times at random moments; each time the disk is
# checked offline, booted again and cloned; at the end what is left is counted.
#
#   ROUNDS (4) SEED (random)
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
rounds=${ROUNDS:-4} seed=${SEED:-$RANDOM}
dir=$(mktemp -d)
trap 'node_kill 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
NODE_LOG=$dir/console
echo "gc: seed=$seed rounds=$rounds"
RANDOM=$((seed % 32768))

die() {
	echo "gc: $*" >&2
	tail -n 15 console >&2
	exit 1
}
boot() {
	node_boot disk.img receive.enable=true receive.create=true gc.share=0 gc.delay=0 || die "boot"
	url=http://127.0.0.1:$NODE_HTTP
}
page() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())' "$url/"; }
objects() { page | sed -n 's/.*>\([0-9]*\) objects,.*/\1/p'; }
commit() { # text
	head -c $((RANDOM * 6)) /dev/urandom >work/file$((RANDOM % 9))
	echo "$1" >work/count
	git -C work add -A && git -C work commit -q -m "$1"
}

"$bole" init disk.img --size 48M >/dev/null || die "init"
"$bole" set disk.img k v || die "set"
git init -q -b main work
git -C work config user.name t && git -C work config user.email t@localhost
for i in 1 2 3 4 5; do commit "base $i"; done
boot
git -C work push -q "$url/r.git" main || die "push"
for ((round = 1; round <= rounds; round++)); do
	(
		for n in $(seq 1 30); do
			git -C work checkout -q -B side main
			commit "$round.$n.a"
			commit "$round.$n.b"
			git -C work push -q "$url/r.git" "+HEAD:refs/heads/b$((n % 3))" 2>/dev/null || exit 0
			if ((n % 4 == 0)); then
				git -C work push -q "$url/r.git" ":refs/heads/b$((n % 3))" 2>/dev/null || exit 0
			fi
		done
	) &
	pusher=$!
	sleep "$((RANDOM % 3 + 2)).$((RANDOM % 900 + 100))"
	node_kill
	wait $pusher 2>/dev/null
	"$bole" fsck disk.img >fsck.out 2>&1 || die "fsck after kill $round: $(tail -n 5 fsck.out)"
	boot
	rm -rf copy
	git clone -q --mirror "$url/r.git" copy || die "clone after kill $round"
	git -C copy fsck --full --strict >git-fsck.out 2>&1 ||
		die "git fsck after kill $round: $(tail -n 3 git-fsck.out)"
done
for branch in $(git -C copy for-each-ref --format='%(refname)' 'refs/heads/b*'); do
	git -C work push -q "$url/r.git" ":$branch" || die "delete $branch"
done
# The other repository of this disk holds one key: a commit, a tree and a value.
want=$(($(git -C work rev-list --objects main | wc -l) + 3))
for _ in {1..300}; do
	left=$(objects)
	((left >= want && left <= want + 20)) && break
	sleep 0.1
done
((left >= want && left <= want + 20)) || die "$left objects are left, not $want"
rm -rf copy
git clone -q --mirror "$url/r.git" copy || die "clone at the end"
git -C copy fsck --full --strict >/dev/null 2>&1 || die "git fsck at the end"
collections=$(grep -ac 'gc: repository .* removed,' console)
((collections > 0)) || die "it never collected"
node_stop || die "stop"
"$bole" fsck disk.img >fsck.out 2>&1 || die "fsck at the end: $(tail -n 5 fsck.out)"
echo "gc: $rounds kills, $collections collections, 0 failures"
