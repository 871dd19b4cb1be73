#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: stock git gets the blobs that the configuration names as packs from another server, and
# nothing of them from us; whoever does not take such addresses gets everything from us. Method: a
# history whose blobs are deltas of each other, a web server that counts, git's fsck.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
bole=${BOLE:-$PWD/build/asan/bole}
[[ -x $bole ]] || { echo "packfile-uris: $bole is not built" >&2; exit 1; }
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_CONFIG_GLOBAL=$dir/config GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir LC_ALL=C
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b no_proxy='*'
git config --file config init.defaultBranch main
git config --file config fetch.uriprotocols http
die() {
	echo "packfile-uris: $*" >&2
	for log in server.log web.log; do tail -15 $log >&2; done
	exit 1
}
limit() { timeout 60 "$@"; }
objects() { git -C "$1" cat-file --batch-all-objects --batch-check | sort; }

# -- a history, two of its blobs elsewhere --
git init -q src
mkdir www
head -c 200000 /dev/urandom >src/big
head -c 50000 /dev/urandom >src/other
git -C src add . && git -C src commit -qm one
for i in 2 3 4; do
	echo "$i" >>src/big
	git -C src commit -qam $i
done
git -C src tag -a -m t v1 HEAD~2
git -C src gc -q --aggressive
: >web.out
: >server.out
python3 -u -m http.server --bind 127.0.0.1 --directory www 0 >web.out 2>web.log &
pids+=($!)
for _ in {1..100}; do grep -q port web.out && break; sleep 0.1; done
web=$(sed -nE 's/.* port ([0-9]+) .*/\1/p' web.out)
pack() { # repository file...: blobs as one pack; prints its checksum
	local repo=$1
	shift
	printf '%s\n' "$@" | git -C "$repo" pack-objects -q "$dir/www/pack"
}
big=$(git -C src rev-parse HEAD~1:big) # a base or a delta of its neighbours
other=$(git -C src rev-parse HEAD:other)
both=$(pack src "$big" "$other")
uri=http://127.0.0.1:$web/pack-$both.pack
"$bole" serve mem: --http 127.0.0.1:0 --git 127.0.0.1:0 --push --set receive.create=true \
	--set "repo.one.uploadpack.blobPackfileUri=$big $both $uri" \
	--set "repo.one.uploadpack.blobPackfileUri=$other $both $uri" \
	--set "repo.one.uploadpack.blobPackfileUri=$(git -C src rev-parse HEAD^{tree}) $both $uri" \
	--set "repo.one.uploadpack.blobPackfileUri=$(printf '%040d' 7) $(printf '%040d' 7) http://127.0.0.1:1/" \
	>server.out 2>server.log &
pids+=($!)
for _ in {1..100}; do grep -q '^http port' server.out && break; sleep 0.1; done
read -r http gitp < <(sed -n 's/^http port \([0-9]*\), git port \([0-9]*\).*/\1 \2/p' server.out)
[[ -n $gitp ]] || die "the server does not say its ports"
limit git -C src push -q --mirror "http://127.0.0.1:$http/one.git" || die "push"

gets() { grep -c "GET /pack-" web.log; }
try() { # what, downloads expected, git's options...: a clone that is whole
	local what=$1 count=$2
	shift 2
	: >web.log
	rm -rf w
	GIT_TRACE_PACKET=$dir/trace limit git "$@" clone -q --mirror "$url" w 2>log || die "$what: $(<log)"
	[[ $(gets) == "$count" ]] || die "$what: $(gets) packs were fetched, not $count"
	git -C w fsck --full --strict >/dev/null 2>log || die "$what: $(<log)"
	cmp -s <(objects src) <(objects w) || die "$what: other objects"
}
for url in "http://127.0.0.1:$http/one.git" "git://127.0.0.1:$gitp/one.git"; do
	rm -f trace
	try "$url" 1
	grep -q "fetch=.*packfile-uris" trace && grep -q "< packfile-uris" trace || die "$url: not offered"
	[[ $(grep -c "< $both $uri" trace) == 1 ]] || die "$url: told more than once"
	# What we sent has neither of them: 200 KB and 50 KB that do not compress.
	sent=$(sed -nE 's/.*sent [0-9]+ objects, ([0-9]+) bytes.*/\1/p' server.log | tail -1)
	((sent < 260000)) || die "$url: $sent bytes were sent all the same"
	try "$url, no protocols" 0 -c fetch.uriprotocols=
	try "$url, other protocols" 0 -c fetch.uriprotocols=https
	try "$url, version 0" 0 -c protocol.version=0
	# Nothing that is there already, nothing that a filter leaves out.
	try "$url, again" 1
	: >web.log
	git -C src commit -q --allow-empty -m more
	limit git -C src push -q "http://127.0.0.1:$http/one.git" main || die "push"
	limit git -C w fetch -q || die "$url: fetch"
	[[ $(gets) == 0 ]] || die "$url: what was there is fetched again"
	rm -rf w && limit git clone -q --bare --filter=blob:none "$url" w || die "$url: without blobs"
	[[ $(gets) == 0 ]] || die "$url: a filter"
	rm -rf w && limit git clone -q --bare --depth 1 "$url" w || die "$url: depth 1"
	[[ $(gets) == 1 ]] || die "$url: depth 1: $(gets)"
	git -C w fsck --full >/dev/null 2>log || die "$url: depth 1: $(<log)"
done
limit "$bole" serve mem: --http 127.0.0.1:0 --set 'uploadpack.blobPackfileUri=nothing' >/dev/null 2>log &&
	die "a setting that cannot be read"
grep -q 'blobPackfileUri must be' log || die "a setting that cannot be read: $(<log)"
echo "packfile-uris: all right"
