#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what deleted and force-pushed branches leave behind goes, by itself while a node serves and
# by `bole gc`, and nothing else does; the space comes back. Method: a large branch is pushed and
# deleted while others clone and push; stock git checks every clone; objects and free bytes are
# counted. BOLE names the program, STORE what is served (mem:, or a file); both unless given.
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
if [[ -z ${STORE:-} ]]; then
	for STORE in mem: disk.img; do STORE=$STORE "$0" || exit 1; done
	exit 0
fi
suite
serve() { # setting...
	start receive.enable=true receive.create=true "$@"
	web=http://127.0.0.1:$http
	u=$(url http r)
}
page() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())' "$web/"; }
count() { page | sed -n 's/.*>\([0-9]*\) objects,.*/\1/p'; }
free_kib() { page | sed -n 's/.* \([0-9]*\) KiB free.*/\1/p'; }
collections() { grep -c 'gc: repository .* removed,' server.log; }
until_objects() { # number what: the node collects by itself; bases of deltas may stay
	for _ in {1..300}; do
		(($(count) >= $1 && $(count) <= $1 + 20)) && return
		kill -0 $server 2>/dev/null || die "the server ended"
		sleep 0.1
	done
	die "$2: $(count) objects are left, not $1"
}
store=$STORE
[[ $store == mem: ]] || passes "$bole" init "$store" --size 96M

# -- A branch of 24 MB goes; who clones meanwhile notices nothing --
git init -q src
for i in {1..20}; do
	seq $((i * 50)) >src/f$((i % 5))
	git -C src add -A && git -C src commit -qm "commit $i"
done
serve gc.share=0 gc.delay=0
limit git -C src push -q "$u" main || die "push"
small=$(objects src | wc -l)
free=$(free_kib)
(
	for i in {1..6}; do
		rm -rf "clone$i"
		limit git clone -q --mirror --single-branch -b main "$u" "clone$i" || exit 1
		git -C "clone$i" fsck --full --strict >/dev/null 2>&1 || exit 1
	done
) &
cloner=$!
pids+=($cloner)
git -C src checkout -q -b large
for i in {1..12}; do
	head -c 2000000 /dev/urandom >src/large
	git -C src add -A && git -C src commit -qm "large $i"
done
limit git -C src push -q "$u" large || die "push of the large branch"
(($(count) >= $(objects src | wc -l))) || die "not everything was counted"
limit git -C src push -q "$u" :large || die "deletion"
until_objects "$small" "a deleted branch"
wait $cloner || die "a clone beside it failed"
pids=()
limit git clone -q --mirror "$u" after || die "clone"
git -C src branch -q tmp && git -C src checkout -q main && git -C src branch -qD large tmp
same src after "after the collection"
if [[ -n $free ]]; then
	for _ in {1..200}; do
		(($(free_kib) >= free - 2048)) && break
		sleep 0.1
	done
	(($(free_kib) >= free - 2048)) || die "free: $free KiB before, $(free_kib) after"
fi

# -- Forced pushes and deletions go on while it collects --
git -C src checkout -q -b work
for round in {1..25}; do
	git -C src checkout -q main
	git -C src checkout -q -B work "main~$((RANDOM % 15))"
	for i in 1 2 3; do
		head -c $((RANDOM * 4)) /dev/urandom >src/w$i
		git -C src add -A && git -C src commit -qm "work $round $i"
	done
	limit git -C src push -q --force "$u" work:refs/heads/w$((RANDOM % 3)) || die "forced push $round"
	# What an old tip left behind is pushed again, maybe just as it goes.
	if ((round % 5 == 0)); then
		limit git -C src push -q --force "$u" work~1:refs/heads/w0 || die "push again $round"
		limit git -C src push -q "$u" :refs/heads/w0 || die "delete again $round"
		limit git -C src push -q "$u" work~1:refs/heads/w0 || die "push once more $round"
	fi
done
rm -rf after && limit git clone -q --mirror "$u" after || die "clone at the end"
git -C after fsck --full --strict >/dev/null 2>&1 || die "the clone at the end: fsck"
until_objects "$(objects after | wc -l)" "forced pushes"
(($(collections) >= 2)) || die "it collected $(collections) times only"

# -- Full: refused cleanly; deleting works, and after it pushing does again --
if [[ $store != mem: ]]; then
	git -C src checkout -q --orphan fill
	for n in {1..30}; do
		git -C src rm -rqf --cached . && rm -rf src/*
		head -c 8000000 /dev/urandom >src/fill
		git -C src add -A && git -C src commit -q --amend --allow-empty -m "fill $n" 2>/dev/null ||
			git -C src commit -qm "fill $n"
		git -C src branch -qf "fill$n"
		limit git -C src push -q "$u" "fill$n" 2>err && continue
		grep -q 'no space' err || { cat err >&2; die "refused, but not for want of space"; }
		break
	done
	((n > 3 && n < 30)) || die "the volume took $n branches of 8 MB"
	rm -rf after && limit git clone -q --mirror "$u" after || die "clone of a full volume"
	git -C after fsck --full --strict >/dev/null 2>&1 || die "clone of a full volume: fsck"
	for ((i = 1; i < n; i++)); do
		limit git -C src push -q "$u" ":fill$i" || die "deletion on a full volume"
	done
	for _ in {1..150}; do
		limit git -C src push -q "$u" "fill$n" 2>err && break
		grep -q 'no space' err || { cat err >&2; die "refused, but not for want of space"; }
		sleep 0.2
	done
	limit git ls-remote "$u" | grep -q "refs/heads/fill$n" || die "no space after the deletions"
	limit git -C src push -q "$u" ":fill$n" || die "deletion at the end"
	rm -rf after && limit git clone -q --mirror "$u" after || die "clone after a full volume"
	git -C after fsck --full --strict >/dev/null 2>&1 || die "clone after a full volume: fsck"
fi

# -- The same from the command line --
if [[ $store != mem: ]]; then
	crash
	"$bole" fsck "$store" >fsck.log 2>&1 || { cat fsck.log >&2; die "fsck after a kill"; }
	serve gc.auto=false
	limit git -C after push -q "$u" :refs/heads/w1 :refs/heads/w2 2>/dev/null ||
		limit git -C after push -q "$u" :refs/heads/w1
	limit git clone -q --mirror "$u" last || die "clone"
	stop
	"$bole" --json gc "$store#r" --full >gc.json || die "bole gc"
	python3 - "$(objects last | wc -l)" <<'PY' || die "bole gc says $(<gc.json)"
import json, sys
d = json.load(open("gc.json"))
sys.exit(0 if 0 <= d["objects_live"] - int(sys.argv[1]) <= 20 and d["objects_dropped"] > 0
         and d["free_after"] >= d["free_before"] else 1)
PY
	"$bole" gc "$store#none" >/dev/null 2>&1
	[[ $? == 3 ]] || die "a repository that is not there"
	"$bole" fsck "$store" >fsck.log 2>&1 || { cat fsck.log >&2; die "fsck after gc"; }
	serve
	rm -rf again && limit git clone -q --mirror "$u" again || die "clone after gc"
	same last again "after bole gc"
fi
stop
echo "gc: $STORE: ok"
