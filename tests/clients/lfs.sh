#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: Debian's git-lfs works against `bole serve` and against the booted image: track, push (also one
# that makes the repository), clone, fetch, big files in bounded memory, locks of two users, wrong
# content, what a restart keeps, prune. Needs git-lfs (tools/deps packages interop).
#   tests/clients/lfs.sh [host|image]...    both unless one is named
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$top/tests/support/node.sh"
dir=$(mktemp -d)
server=
trap '{ kill -9 ${NODE_PID:-}; kill $server; } 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_CONFIG_GLOBAL=$dir/config GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir
export LC_ALL=C no_proxy='*'
big=${LFS_BIG_MB:-100} # of the largest file, in MB
git config --file config init.defaultBranch main
git config --file config user.name t
git config --file config user.email t@localhost
git config --file config lfs.activitytimeout 60
git lfs install --skip-repo >/dev/null || exit 1

die() {
	echo "lfs: $where: $*" >&2
	tail -n 20 "$dir/log" >&2
	echo "--- the server's last lines:" >&2
	tail -n 15 "$dir/server.log" >&2
	exit 1
}
run() { timeout 300 "$@" >log 2>&1 || die "failed: $*"; }
refused() { # words command...
	local words=$1
	shift
	if timeout 60 "$@" >log 2>&1; then die "not refused: $*"; fi
	grep -q -e "$words" log || die "refused without '$words': $*"
}
noise() { # file bytes: the same at each call, compressible by nobody
	python3 -c 'import random, sys
n = int(sys.argv[1])
sys.stdout.buffer.write(random.Random(n).randbytes(n))' "$2" >"$1"
}
token() { echo "auth.token=$1:sha256:s:$(printf 's:%s' "$2" | sha256sum | cut -d' ' -f1)"; }
settings=(receive.enable=true receive.create=true "$(token alice a1)" "$(token bob b2)"
	lfs.maxObjectSize=200m)
as() { echo "http://$1@127.0.0.1:$http/$2.git"; }

object() { echo "$(as alice:a1 team/art)/info/lfs/objects/$1"; }

host_start() {
	local options=()
	for s in "${settings[@]}"; do options+=(--set "$s"); done
	: >out.txt
	"$bole" serve volume.img --http 127.0.0.1:0 --git off "${options[@]}" >out.txt 2>>server.log &
	server=$!
	for _ in {1..100}; do
		grep -q '^http port' out.txt && break
		kill -0 $server 2>/dev/null || die "the server ended"
		sleep 0.1
	done
	http=$(sed -n 's/^http port \([0-9]*\).*/\1/p' out.txt)
}
host_stop() { kill $server && wait $server || die "the server did not end well"; server=; }
image_start() {
	NODE_LOG=$dir/server.log NODE_MEMORY=128
	node_boot volume.img "${settings[@]}" || die "the image does not boot"
	http=$NODE_HTTP
}
image_stop() { node_stop || die "the image did not end well"; }

work() { # where big
	where=$1
	: >server.log
	rm -rf volume.img a b c
	"$bole" init volume.img --size 2G >log 2>&1 || die init
	"${where}_start"

	# The first push makes the repository, after its large files have come.
	git init -q a
	git -C a remote add origin "$(as alice:a1 team/art)"
	(cd a && git lfs track '*.bin' >/dev/null && noise one.bin 100 && noise two.bin 3000000 &&
		noise big.bin $(($2 * 1000000)) && : >empty.bin && git add -A && git commit -qm one) || exit 1
	run git -C a push origin main
	run git clone "http://127.0.0.1:$http/team/art.git" b # anybody reads
	for f in one two big empty; do cmp a/$f.bin b/$f.bin || die "$f.bin differs"; done
	run git -C b lfs fsck
	run git -C a lfs push --all origin # everything is there
	echo "  $where: first push, $2 MB, clone"

	# A change comes by fetch.
	(cd a && noise two.bin 700000 && git commit -qam two) || exit 1
	run git -C a push origin main
	run git -C b pull
	cmp a/two.bin b/two.bin || die "two.bin differs after a pull"

	# Another repository gets nothing of it by knowing its id.
	git init -q c
	git -C c remote add origin "$(as bob:b2 other)"
	(cd c && git lfs track '*.bin' >/dev/null && cp ../a/one.bin . && git add -A &&
		git commit -qm c) || exit 1
	id=$(sha256sum a/two.bin | cut -d' ' -f1)
	run git -C c push origin main
	[ "$(curl -s -o /dev/null -w '%{http_code}' "$(as bob:b2 other)/info/lfs/objects/$id")" = 404 ] ||
		die "content of another repository was served"

	# What a client may not do.
	cp -r a d
	git -C d remote set-url origin "http://127.0.0.1:$http/team/art.git"
	(cd d && noise three.bin 5000 && git add -A && git commit -qm three)
	refused 'Username' git -C d push origin main
	rm -rf d
	bad=$(printf wrong | sha256sum | cut -d' ' -f1)
	for body in right wron ''; do
		code=$(printf %s "$body" | curl -s -o answer -w '%{http_code}' -T - "$(object "$bad")")
		[ "$code" = 422 ] && grep -q '"message":' answer || die "wrong content: $code"
	done
	code=$(curl -s -o /dev/null -w '%{http_code}' "$(object "$bad")")
	[ "$code" = 404 ] || die "wrong content was kept: $code"
	curl -s -r 1000-1999 "$(object "$id")" >part
	cmp part <(tail -c +1001 a/two.bin | head -c 1000) || die "a range differs"
	echo "  $where: changes, refusals, ranges"

	# Locks.
	git -C b remote set-url origin "$(as bob:b2 team/art)"
	run git -C a lfs lock big.bin
	refused 'locked' git -C b lfs lock big.bin
	run git -C b lfs lock one.bin
	git -C a lfs locks >log 2>&1
	grep -q 'big.bin.*alice' log && grep -q 'one.bin.*bob' log || die "locks are not listed"
	(cd a && noise one.bin 200 && git commit -qam 'not mine') || exit 1
	git -C a config "lfs.http://127.0.0.1:$http/team/art.git/info/lfs.locksverify" true
	refused one.bin git -C a push origin main
	"${where}_stop"
	"${where}_start" # the port is another one
	git -C a remote set-url origin "$(as alice:a1 team/art)"
	git -C b remote set-url origin "$(as bob:b2 team/art)"
	refused "somebody else" git -C a lfs unlock one.bin
	run git -C a lfs unlock --force one.bin
	run git -C a push origin main
	run git -C a lfs unlock big.bin
	[ -z "$(git -C a lfs locks)" ] || die "locks are left"
	rm -rf b
	run git clone "http://127.0.0.1:$http/team/art.git" b
	cmp a/big.bin b/big.bin || die "big.bin differs after a restart"
	cmp a/one.bin b/one.bin || die "one.bin differs after a push"
	echo "  $where: locks, restart"
	"${where}_stop"
	"$bole" fsck volume.img >log 2>&1 || die "fsck"
}

(($# > 0)) || set -- host image
for place in "$@"; do
	[ "$place" = host ] && work host "$big"
	[ "$place" = image ] && work image 20
done
echo "lfs: ok"
