#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: the sets of what commits reach are made before anybody asks, after an import, a push and a
# start, and what is sent by them is what stock git sends: clones and fetches of depth 1 and more,
# with filters, with pushes, a repack and restarts between, and when what is kept of them is damaged.
# Also: sha256 image-long
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite
gen=$top/build/host/tests/gen_history
configure uploadpack.allowFilter=true
store=disk.img
serve() {
	: >server.log
	start receive.enable=true gc.auto=false repack.auto=false receive.denyNonFastForwards=false
	main=$(url http main)
}
made() { # nobody has asked for anything
	for _ in {1..200}; do
		grep -q 'bitmaps: repository 1: [0-9]* sets' server.log && return
		sleep 0.1
	done
	die "$1: no sets were made"
}
all() { git -C "$1" cat-file --batch-check='%(objectname)' --batch-all-objects 2>/dev/null | sort; }
as_git() { # when, clone options...
	local when=$1
	shift
	rm -rf ours theirs
	timeout 60 git clone -q --bare "$@" "$main" ours || die "$when: clone $*"
	git clone -q --bare "$@" "file://$dir/source" theirs || die "$when: git's clone $*"
	cmp <(all ours) <(all theirs) || die "$when: clone $*: objects"
	[[ $* == *filter* ]] || git -C ours fsck --full >fsck.out 2>&1 || { cat fsck.out; die "$when: $*"; }
}
some_same() {
	as_git "$1" --depth 1
	as_git "$1" --depth 4 --no-single-branch
	as_git "$1" --depth 1 --filter=blob:none
}
all_same() {
	some_same "$1"
	as_git "$1" --depth 1 --branch other
	as_git "$1" --depth 1 --branch old
	as_git "$1" --depth 1 --filter=tree:0
	as_git "$1" --filter=blob:none
	as_git "$1" --filter=tree:0
}
commit() { # on the first branch, to both
	git -C work commit -q --allow-empty -m "$1" && echo "$1" >>work/new && git -C work add new &&
		git -C work commit -q -m "$1" && git -C work push -q origin HEAD:main-0 &&
		git -C work push -q "$main" HEAD:main-0 || die "push of $1"
}
again() { # a clone of depth 1 follows
	git -C "$1" fetch -q --depth 1 origin main-0 2>fetch.log || { cat fetch.log; die "$2: fetch"; }
}
side() { # to a branch of its own, to both
	echo "$1" >work/side && git -C work add side && git -C work commit -q "${@:2}" -m "$1" &&
		git -C work push -qf origin HEAD:side && git -C work push -qf "$main" HEAD:side || die "push of $1"
}
# The sets know a tip, then it is gone, and what it led to is reached by another way.
amended() {
	git -C work checkout -q -b side HEAD~3 && side before && : >server.log && side first
	made "a tip of its own"
	: >server.log
	side other --amend && side second
	made "after an amended tip"
	as_git "after an amended tip" --no-single-branch
}

git init -q --bare source
"$gen" 5 700 | git -C source fast-import --quiet || die "the history"
git -C source symbolic-ref HEAD refs/heads/main-0
git -C source branch other HEAD~200
git -C source tag -a -m old old HEAD~100
git -C source repack -q -a -d -f
"$bole" init disk.img --size 128M >/dev/null || die "init"
"$bole" import disk.img#main source >/dev/null || die "import"
git clone -q --no-local "file://$dir/source" work
serve
made "after an import"
all_same "after an import"
git clone -q --bare --depth 1 "$main" near-ours
git clone -q --bare --depth 1 "file://$dir/source" near-theirs
stop
serve
some_same "after a start"
commit one
git -C near-ours remote set-url origin "$main"
again near-ours "after a push" && again near-theirs "after a push"
cmp <(all near-ours) <(all near-theirs) || die "a fetch of depth 1: objects"
some_same "after a push"
stop
"$bole" repack disk.img#main --all --fresh >/dev/null || die "repack"
serve
made "after a repack"
commit two
some_same "after a repack"
stop
serve
all_same "after another start"
amended
stop
# What is kept whole, then the index: nothing of it is believed.
for magic in BBW1 BBM4; do
	python3 -c 'import re, sys
data = open("disk.img", "rb").read()
places = [m.start() for m in re.finditer(sys.argv[1].encode(), data)]
data = bytearray(data)
for at in places:
    data[at + 200] ^= 0x5a
open("disk.img", "wb").write(data)
sys.exit(not places)' $magic || die "there is no $magic to damage"
	serve
	some_same "damaged $magic"
	[[ $magic == BBW1 ]] || made "damaged $magic"
	stop
done
grep -q 'those in the store cannot be used' server.log || die "nobody speaks of the damage"
echo "clones and fetches where history ends are as git's"
