#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: a node writes the many packs that pushes leave anew as few, by itself and by `bole repack`,
# while others clone and push, and stock git finds everything as it was. Method: pushes that are
# long enough for packs of their own, clones all the while, git fsck and git verify-pack on what
# comes out before and after.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
bole=${BOLE:-$PWD/build/asan/bole}
[[ -x $bole ]] || { echo "repack: $bole is not built" >&2; exit 1; }
dir=$(mktemp -d)
server=
cloner=
trap 'kill $server $cloner 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_CONFIG_GLOBAL=$dir/config GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
export LC_ALL=C no_proxy='*'
git config --file config init.defaultBranch main
git config --file config gc.auto 0

die() {
	echo "repack: $*" >&2
	tail -15 server.log >&2
	exit 1
}
start() { # options...
	: >server.out
	"$bole" serve disk.img --http 127.0.0.1:0 --git off --push --create \
		--set init.defaultObjectFormat="${GIT_DEFAULT_HASH:-sha1}" "$@" >server.out 2>>server.log &
	server=$!
	for _ in {1..150}; do
		grep -q '^http port' server.out && break
		kill -0 $server 2>/dev/null || die "the server ended"
		sleep 0.1
	done
	url=http://127.0.0.1:$(sed -n 's/^http port \([0-9]*\),.*/\1/p' server.out)/main
}
stop() {
	kill -INT $server
	wait $server || die "the server's exit code is $?"
	server=
}
same() { # what a clone has is what was pushed, sound, and in chains that are not too long
	rm -rf copy
	timeout 120 git clone -q --mirror "$url" copy || die "$1: clone"
	git -C copy fsck --strict >fsck.out 2>&1 || { cat fsck.out; die "$1: fsck"; }
	cmp <(git -C work rev-list --objects --all | cut -c1-40 | sort) \
		<(git -C copy rev-list --objects --all | cut -c1-40 | sort) || die "$1: objects"
	git -C copy verify-pack -v "$dir"/copy/objects/pack/*.idx >pack.out || die "$1: verify-pack"
	! grep -qE '^chain length = (5[1-9]|[6-9].|...+):' pack.out || die "$1: a chain is too long"
}

# One push alone, of what is not packed at all: once, soon, and not again after a start.
"$bole" init raw.img --size 128M >/dev/null || die "init"
mv raw.img disk.img
start --set repack.delay=1
git init -q work
for i in {1..12}; do
	python3 -c 'import random, sys
random.seed(1); a = ["%032x\n" % random.getrandbits(128) for _ in range(6000)]
random.seed(sys.argv[1])
for _ in range(20): a[random.randrange(6000)] = "new\n"
print("".join(a))' "$i" >work/file
	git -C work add -A && git -C work commit -q -m "$i"
done
git -C work -c pack.window=0 push -q "$url" main || die "one push"
for _ in {1..300}; do
	grep -q 'repack: repository .* are one pack of' server.log && break
	sleep 0.1
done
grep -q 'repack: repository .*: 1 packs .* are one pack of' server.log || die "one push was not repacked"
same "repacked soon"
(($(stat -c %s copy/objects/pack/*.pack) < 400000)) || die "$(ls -l copy/objects/pack)"
stop
start --set repack.delay=0 --set repack.period=1
git -C work commit -q --allow-empty -m small && git -C work push -q "$url" main || die "a small push"
sleep 3
stop
(($(grep -c 'are one pack of' server.log) == 1)) || die "repacked twice"
rm -rf work copy disk.img server.log

"$bole" init disk.img --size 128M >/dev/null || die "init"
start --set repack.packs=3 --set repack.period=1
git init -q work
for i in {1..8}; do
	# Half of it stays, half is new, hardly to be deflated: an extent of its own.
	python3 - "$i" <<-'END' >work/file
		import random, sys
		random.seed(1); print("".join("%016x\n" % random.getrandbits(64) for _ in range(20000)))
		random.seed(sys.argv[1]); print("".join("%016x\n" % random.getrandbits(64) for _ in range(25000)))
	END
	echo "$i" >work/small
	git -C work add -A && git -C work commit -q -m "$i"
	# Objects as they are, no deltas: what is there to be found.
	git -C work -c pack.window=0 push -q "$url" main || die "push $i"
	if [[ $i == 3 ]]; then
		(while timeout 60 git clone -q --bare "$url" clone; do rm -rf clone; done; touch clone-failed) &
		cloner=$!
	fi
done
for _ in {1..200}; do
	grep -q 'repack: repository .* are one pack of' server.log && break
	sleep 0.1
done
kill $cloner && wait $cloner 2>/dev/null
cloner=
[[ ! -e clone-failed ]] || die "a clone failed while packs were written anew"
grep -q 'repack: repository .* are one pack of' server.log || die "the node did not repack"
same "while it serves"
stop
"$bole" repack disk.img --all --json >figures || die "bole repack"
python3 -c 'import json, sys
f = json.load(open("figures"))
assert f["objects"] == 32 and f["repositories"] == 1, f
assert f["bytes_after"] < 2800000 and f["bytes_after"] < f["bytes_before"] * 1.01, f' || die "$(cat figures)"
"$bole" repack disk.img >figures || die "bole repack again"
grep -q '^repositories *0$' figures || grep -q '^objects *0$' figures || [[ ! -s figures ]] || die "$(cat figures)"
"$bole" fsck disk.img >fsck.out 2>&1 || die "$(cat fsck.out)"
start --set repack.auto=false
same "afterwards"
# Thin pushes rely on what was moved.
echo more >>work/file
git -C work commit -q -a -m more
git -C work push -q "$url" main || die "push afterwards"
same "after another push"
stop
