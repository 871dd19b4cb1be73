#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: stock git gets the blobs that the configuration names as packs from another server, and
# nothing of them from us; whoever does not take such addresses gets everything from us. Method: a
# history whose blobs are deltas of each other, a web server that counts, git's fsck.
# Also: sha256 image
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite
configure fetch.uriprotocols=http
: >web.log
all() { git -C "$1" cat-file --batch-all-objects --batch-check | sort; }

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
none=${both//[0-9a-f]/7}
start receive.enable=true receive.create=true \
	"repo.one.uploadpack.blobPackfileUri=$big $both $uri" \
	"repo.one.uploadpack.blobPackfileUri=$other $both $uri" \
	"repo.one.uploadpack.blobPackfileUri=$(git -C src rev-parse HEAD^{tree}) $both $uri" \
	"repo.one.uploadpack.blobPackfileUri=$none $none http://127.0.0.1:1/"
limit git -C src push -q --mirror "$(url http one)" || die "push"

gets() { grep -c "GET /pack-" web.log; }
try() { # what, downloads expected, git's options...: a clone that is whole
	local what=$1 count=$2
	shift 2
	: >web.log
	rm -rf w
	GIT_TRACE_PACKET=$dir/trace limit git "$@" clone -q --mirror "$from" w 2>log || die "$what: $(<log)"
	[[ $(gets) == "$count" ]] || die "$what: $(gets) packs were fetched, not $count"
	git -C w fsck --full --strict >/dev/null 2>log || die "$what: $(<log)"
	cmp -s <(all src) <(all w) || die "$what: other objects"
}
for transport in http git; do
	from=$(url $transport one)
	rm -f trace
	try "$from" 1
	grep -q "fetch=.*packfile-uris" trace && grep -q "< packfile-uris" trace || die "$from: not offered"
	[[ $(grep -c "< $both $uri" trace) == 1 ]] || die "$from: told more than once"
	# What we sent has neither of them: 200 KB and 50 KB that do not compress.
	sent=$(sed -nE 's/.*sent [0-9]+ objects, ([0-9]+) bytes.*/\1/p' server.log | tail -1)
	((sent < 260000)) || die "$from: $sent bytes were sent all the same"
	try "$from, no protocols" 0 -c fetch.uriprotocols=
	try "$from, other protocols" 0 -c fetch.uriprotocols=https
	try "$from, version 0" 0 -c protocol.version=0
	# Nothing that is there already, nothing that a filter leaves out.
	try "$from, again" 1
	: >web.log
	git -C src commit -q --allow-empty -m more
	limit git -C src push -q "$(url http one)" main || die "push"
	limit git -C w fetch -q || die "$from: fetch"
	[[ $(gets) == 0 ]] || die "$from: what was there is fetched again"
	rm -rf w && limit git clone -q --bare --filter=blob:none "$from" w || die "$from: without blobs"
	[[ $(gets) == 0 ]] || die "$from: a filter"
	rm -rf w && limit git clone -q --bare --depth 1 "$from" w || die "$from: depth 1"
	[[ $(gets) == 1 ]] || die "$from: depth 1: $(gets)"
	git -C w fsck --full >/dev/null 2>log || die "$from: depth 1: $(<log)"
done
limit "$bole" serve mem: --http 127.0.0.1:0 --set 'uploadpack.blobPackfileUri=nothing' >/dev/null 2>log &&
	die "a setting that cannot be read"
grep -q 'blobPackfileUri must be' log || die "a setting that cannot be read: $(<log)"
stop
echo "packfile-uris: all right"
