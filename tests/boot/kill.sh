#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what git reported as pushed survives kill -9 of the machine, whenever it comes. Method: a
# booted image takes pushes of branches, tags, forced updates, deletes and new repositories; it is
# killed right after a success and, ROUNDS times, at a random moment during pushes; after each kill
# the image is checked offline, booted again, and every acknowledged reference is compared.
#
#   ROUNDS (6) SEED (random)
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
rounds=${ROUNDS:-6} seed=${SEED:-$RANDOM}
dir=$(mktemp -d)
trap 'node_kill 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_TERMINAL_PROMPT=0
NODE_LOG=$dir/console
echo "kill: seed=$seed rounds=$rounds"
RANDOM=$((seed % 32768))

die() {
	echo "kill: $*" >&2
	tail -n 15 console >&2
	exit 1
}
boot() {
	node_boot disk.img receive.enable=true receive.create=true || die "boot"
	url=http://127.0.0.1:$NODE_HTTP
}
commit() { # text
	head -c $((RANDOM % 9000)) /dev/urandom >work/file$((RANDOM % 9))
	echo "$1" >work/count
	git -C work add -A && git -C work commit -q -m "$1"
}
remote_ref() { # repository reference
	git ls-remote "$url/$1.git" "$2" 2>/dev/null | cut -f1
}
check_image() {
	"$bole" fsck disk.img >fsck.out 2>&1 || die "fsck after $1: $(tail -n 5 fsck.out)"
}

"$bole" init disk.img --size 128M >/dev/null || die "init"
git init -q -b main work
git -C work config user.name t && git -C work config user.email t@localhost
commit first

# 1. Each kind of push, then a crash right after git reports success.
boot
git -C work push -q "$url/r.git" main 2>&1 || die "push that creates"
git -C work tag -a v1 -m v1 && commit second
git -C work push -q "$url/r.git" main main:refs/heads/topic v1 || die "push branch and tag"
old=$(git -C work rev-parse HEAD)
git -C work commit -q --amend -m rewritten
git -C work push -q "$url/r.git" main 2>/dev/null && die "a non-fast-forward was accepted unforced"
[ "$(remote_ref r refs/heads/main)" = "$old" ] || die "the refused push moved main"
git -C work push -q "$url/r.git" +main || die "forced push"
git -C work push -q "$url/r.git" :topic || die "delete"
git -C work push -q "$url/second/one.git" main || die "new repository"
node_kill
check_image "the first kill"
boot
[ "$(remote_ref r refs/heads/main)" = "$(git -C work rev-parse main)" ] || die "main was lost"
[ "$(remote_ref r refs/tags/v1)" = "$(git -C work rev-parse v1)" ] || die "the tag was lost"
[ -z "$(remote_ref r refs/heads/topic)" ] || die "the deleted branch is back"
[ "$(remote_ref second/one refs/heads/main)" = "$(git -C work rev-parse main)" ] ||
	die "the new repository was lost"
node_kill

# 2. Where the operator forbids it, + does not help either.
node_boot disk.img receive.enable=true receive.denyNonFastForwards=true || die "boot"
url=http://127.0.0.1:$NODE_HTTP
git -C work commit -q --amend -m 'rewritten again'
git -C work push -q "$url/r.git" +main 2>/dev/null && die "denyNonFastForwards did not hold"
node_kill

# 3. Kills at random moments during pushes.
boot
git ls-remote "$url/r.git" | grep refs/ >truth || die "ls-remote"
node_kill
for ((round = 1; round <= rounds; round++)); do
	boot
	: >acks
	(
		for n in $(seq 1 40); do
			commit "$round.$n"
			id=$(git -C work rev-parse HEAD) ref=refs/heads/b$((n % 4))
			echo "start $ref $id" >>acks
			git -C work push -q "$url/r.git" "+HEAD:$ref" 2>/dev/null || exit 0
			echo "ack $ref $id" >>acks
		done
	) &
	pusher=$!
	sleep "$((RANDOM % 2)).$((RANDOM % 900 + 100))"
	node_kill
	wait $pusher 2>/dev/null
	check_image "kill $round"
	boot
	git ls-remote "$url/r.git" >refs.out || die "ls-remote after kill $round"
	# truth: what was there before this round; acks: this round's pushes; refs.out: what is there.
	awk 'FILENAME == "truth" { must[$2] = $1; next }
		FILENAME == "refs.out" { have[$2] = $1; next }
		$1 == "start" { pending[$2] = $3 }
		$1 == "ack" { must[$2] = $3; delete pending[$2] }
		END { for (r in must) if (have[r] != must[r] && have[r] != pending[r]) {
			print "lost: " r " is " have[r] ", acknowledged " must[r]; bad = 1 } exit bad }' \
		truth refs.out acks || die "round $round lost an acknowledged push"
	grep refs/ refs.out >truth
	if [ $((round % 5)) = 1 ]; then
		rm -rf copy.git
		git clone -q --mirror "$url/r.git" copy.git || die "clone after kill $round"
		git -C copy.git fsck --full --strict >git-fsck.out 2>&1 ||
			die "git fsck after kill $round: $(tail -n 3 git-fsck.out)"
	fi
	node_kill
	echo "  round $round: killed after $(grep -c ^ack acks) pushes of this round, nothing lost"
done
echo "kill: $rounds rounds, 0 failures"
