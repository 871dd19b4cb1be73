#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: a node writes the many packs that pushes leave anew as few, by itself and by `bole repack`,
# while others clone and push, and stock git finds everything as it was. Method: pushes that are
# long enough for packs of their own, clones all the while, git fsck and git verify-pack on what
# comes out before and after.
# Also: sha256 image-long
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite
cloner=
store=disk.img
serve() { # setting...
	start receive.enable=true receive.create=true "$@"
	main=$(url http main)
}
as_pushed() { # what a clone has is what was pushed, sound, and in chains that are not too long
	rm -rf copy
	timeout 120 git clone -q --mirror "$main" copy || die "$1: clone"
	git -C copy fsck --strict >fsck.out 2>&1 || { cat fsck.out; die "$1: fsck"; }
	cmp <(objects work) <(objects copy) || die "$1: objects"
	git -C copy verify-pack -v "$dir"/copy/objects/pack/*.idx >pack.out || die "$1: verify-pack"
	! grep -qE '^chain length = (5[1-9]|[6-9].|...+):' pack.out || die "$1: a chain is too long"
}

# One push alone, of what is not packed at all: once, soon, and not again after a start.
"$bole" init raw.img --size 128M >/dev/null || die "init"
mv raw.img disk.img
serve repack.delay=1
git init -q work
for i in {1..12}; do
	python3 -c 'import random, sys
random.seed(1); a = ["%032x\n" % random.getrandbits(128) for _ in range(6000)]
random.seed(sys.argv[1])
for _ in range(20): a[random.randrange(6000)] = "new\n"
print("".join(a))' "$i" >work/file
	git -C work add -A && git -C work commit -q -m "$i"
done
git -C work -c pack.window=0 push -q "$main" main || die "one push"
for _ in {1..300}; do
	grep -q 'repack: repository .* are one pack of' server.log && break
	sleep 0.1
done
grep -q 'repack: repository .*: 1 packs .* are one pack of' server.log || die "one push was not repacked"
as_pushed "repacked soon"
(($(stat -c %s copy/objects/pack/*.pack) < 400000)) || die "$(ls -l copy/objects/pack)"
stop
serve repack.delay=0 repack.period=1
git -C work commit -q --allow-empty -m small && git -C work push -q "$main" main || die "a small push"
sleep 3
stop
(($(grep -c 'are one pack of' server.log) == 1)) || die "repacked twice"
rm -rf work copy disk.img
: >server.log

"$bole" init disk.img --size 128M >/dev/null || die "init"
serve repack.packs=3 repack.period=1
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
	git -C work -c pack.window=0 push -q "$main" main || die "push $i"
	if [[ $i == 3 ]]; then
		(while timeout 60 git clone -q --bare "$main" clone; do rm -rf clone; done; touch clone-failed) &
		cloner=$!
		pids+=($cloner)
	fi
done
for _ in {1..200}; do
	grep -q 'repack: repository .* are one pack of' server.log && break
	sleep 0.1
done
kill $cloner && wait $cloner 2>/dev/null
pids=()
[[ ! -e clone-failed ]] || die "a clone failed while packs were written anew"
grep -q 'repack: repository .* are one pack of' server.log || die "the node did not repack"
as_pushed "while it serves"
stop
"$bole" repack disk.img --all --json >figures || die "bole repack"
python3 -c 'import json, sys
f = json.load(open("figures"))
assert f["objects"] == 32 and f["repositories"] == 1, f
assert f["bytes_after"] < 2800000 and f["bytes_after"] < f["bytes_before"] * 1.01, f' || die "$(cat figures)"
"$bole" repack disk.img >figures || die "bole repack again"
grep -q '^repositories *0$' figures || grep -q '^objects *0$' figures || [[ ! -s figures ]] || die "$(cat figures)"
"$bole" fsck disk.img >fsck.out 2>&1 || die "$(cat fsck.out)"
serve repack.auto=false
as_pushed "afterwards"
# Thin pushes rely on what was moved.
echo more >>work/file
git -C work commit -q -a -m more
git -C work push -q "$main" main || die "push afterwards"
as_pushed "after another push"
stop
