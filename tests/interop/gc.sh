#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what deleted and force-pushed branches leave behind goes, by itself while a node serves and
# by `bole gc`, and nothing else does; the space comes back. Method: a large branch is pushed and
# deleted while others clone and push; stock git checks every clone; objects and free bytes are
# counted. BOLE names the program, STORE what is served (mem:, or a file); both unless given.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
bole=${BOLE:-$PWD/build/asan/bole}
[[ -x $bole ]] || { echo "gc: $bole is not built" >&2; exit 1; }
if [[ -z ${STORE:-} ]]; then
	for STORE in mem: disk.img; do STORE=$STORE tests/interop/gc.sh || exit 1; done
	exit 0
fi
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
	echo "gc: $STORE: $*" >&2
	echo "--- the server's last lines:" >&2
	tail -15 server.log >&2
	exit 1
}
limit() { timeout 120 "$@"; }
start() { # options...
	: >server.out
	"$bole" serve "$store" --http 127.0.0.1:0 --git off --push --create \
		--set init.defaultObjectFormat="${GIT_DEFAULT_HASH:-sha1}" "$@" >server.out 2>>server.log &
	server=$!
	for _ in {1..150}; do
		grep -q '^http port' server.out && break
		kill -0 $server 2>/dev/null || die "the server ended"
		sleep 0.1
	done
	http=$(sed -n 's/^http port \([0-9]*\),.*/\1/p' server.out)
	[[ -n $http ]] || die "the server does not say its port"
	url=http://127.0.0.1:$http
}
stop() {
	kill -INT $server
	wait $server || die "the server's exit code is $?"
	server=
}
page() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())' "$url/"; }
objects() { page | sed -n 's/.*>\([0-9]*\) objects,.*/\1/p'; }
free_kib() { page | sed -n 's/.* \([0-9]*\) KiB free.*/\1/p'; }
collections() { grep -c 'gc: repository .* removed,' server.log; }
until_objects() { # number what: the node collects by itself; bases of deltas may stay
	for _ in {1..300}; do
		(($(objects) >= $1 && $(objects) <= $1 + 20)) && return
		kill -0 $server 2>/dev/null || die "the server ended"
		sleep 0.1
	done
	die "$2: $(objects) objects are left, not $1"
}
ids() { git -C "$1" rev-list --objects --all | cut -d' ' -f1 | sort; }
same() { # folder folder what
	git -C "$2" fsck --full --strict >fsck.log 2>&1 || { cat fsck.log >&2; die "$3: fsck fails"; }
	cmp -s <(ids "$1") <(ids "$2") || die "$3: the objects differ"
}

store=$STORE
if [[ $store != mem: ]]; then
	store=$dir/$STORE
	"$bole" init "$store" --size 96M >init.log || die "init"
fi

# -- A branch of 24 MB goes; who clones meanwhile notices nothing --
git init -q src
for i in {1..20}; do
	seq $((i * 50)) >src/f$((i % 5))
	git -C src add -A && git -C src commit -qm "commit $i"
done
: >server.log
start --set gc.share=0 --set gc.delay=0
limit git -C src push -q "$url/r.git" main || die "push"
small=$(ids src | wc -l)
free=$(free_kib)
(
	for i in {1..6}; do
		rm -rf "clone$i"
		limit git clone -q --mirror --single-branch -b main "$url/r.git" "clone$i" || exit 1
		git -C "clone$i" fsck --full --strict >/dev/null 2>&1 || exit 1
	done
) &
cloner=$!
git -C src checkout -q -b large
for i in {1..12}; do
	head -c 2000000 /dev/urandom >src/large
	git -C src add -A && git -C src commit -qm "large $i"
done
limit git -C src push -q "$url/r.git" large || die "push of the large branch"
(($(objects) >= $(ids src | wc -l))) || die "not everything was counted"
limit git -C src push -q "$url/r.git" :large || die "deletion"
until_objects "$small" "a deleted branch"
wait $cloner || die "a clone beside it failed"
cloner=
limit git clone -q --mirror "$url/r.git" after || die "clone"
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
RANDOM=${SEED:-4711}
for round in {1..25}; do
	git -C src checkout -q main
	git -C src checkout -q -B work "main~$((RANDOM % 15))"
	for i in 1 2 3; do
		head -c $((RANDOM * 4)) /dev/urandom >src/w$i
		git -C src add -A && git -C src commit -qm "work $round $i"
	done
	limit git -C src push -q --force "$url/r.git" work:refs/heads/w$((RANDOM % 3)) || die "forced push $round"
	# What an old tip left behind is pushed again, maybe just as it goes.
	if ((round % 5 == 0)); then
		limit git -C src push -q --force "$url/r.git" work~1:refs/heads/w0 || die "push again $round"
		limit git -C src push -q "$url/r.git" :refs/heads/w0 || die "delete again $round"
		limit git -C src push -q "$url/r.git" work~1:refs/heads/w0 || die "push once more $round"
	fi
done
rm -rf after && limit git clone -q --mirror "$url/r.git" after || die "clone at the end"
git -C after fsck --full --strict >/dev/null 2>&1 || die "the clone at the end: fsck"
until_objects "$(ids after | wc -l)" "forced pushes"
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
		limit git -C src push -q "$url/r.git" "fill$n" 2>err && continue
		grep -q 'no space' err || { cat err >&2; die "refused, but not for want of space"; }
		break
	done
	((n > 3 && n < 30)) || die "the volume took $n branches of 8 MB"
	rm -rf after && limit git clone -q --mirror "$url/r.git" after || die "clone of a full volume"
	git -C after fsck --full --strict >/dev/null 2>&1 || die "clone of a full volume: fsck"
	for ((i = 1; i < n; i++)); do
		limit git -C src push -q "$url/r.git" ":fill$i" || die "deletion on a full volume"
	done
	for _ in {1..150}; do
		limit git -C src push -q "$url/r.git" "fill$n" 2>err && break
		grep -q 'no space' err || { cat err >&2; die "refused, but not for want of space"; }
		sleep 0.2
	done
	limit git ls-remote "$url/r.git" | grep -q "refs/heads/fill$n" || die "no space after the deletions"
	limit git -C src push -q "$url/r.git" ":fill$n" || die "deletion at the end"
	rm -rf after && limit git clone -q --mirror "$url/r.git" after || die "clone after a full volume"
	git -C after fsck --full --strict >/dev/null 2>&1 || die "clone after a full volume: fsck"
fi

# -- The same from the command line --
if [[ $store != mem: ]]; then
	kill -9 $server
	wait $server 2>/dev/null
	server=
	"$bole" fsck "$store" >fsck.log 2>&1 || { cat fsck.log >&2; die "fsck after a kill"; }
	start --set gc.auto=false
	limit git -C after push -q "$url/r.git" :refs/heads/w1 :refs/heads/w2 2>/dev/null ||
		limit git -C after push -q "$url/r.git" :refs/heads/w1
	limit git clone -q --mirror "$url/r.git" last || die "clone"
	stop
	"$bole" --json gc "$store#r" --full >gc.json || die "bole gc"
	python3 - "$(ids last | wc -l)" <<'PY' || die "bole gc says $(<gc.json)"
import json, sys
d = json.load(open("gc.json"))
sys.exit(0 if 0 <= d["objects_live"] - int(sys.argv[1]) <= 20 and d["objects_dropped"] > 0
         and d["free_after"] >= d["free_before"] else 1)
PY
	"$bole" gc "$store#none" >/dev/null 2>&1
	[[ $? == 3 ]] || die "a repository that is not there"
	"$bole" fsck "$store" >fsck.log 2>&1 || { cat fsck.log >&2; die "fsck after gc"; }
	start
	rm -rf again && limit git clone -q --mirror "$url/r.git" again || die "clone after gc"
	same last again "after bole gc"
fi
stop
grep -qE 'AddressSanitizer|runtime error|panic' server.log && die "the server's sanitizers complain"
echo "gc: $STORE: ok"
