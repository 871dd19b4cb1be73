#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: whatever a peer or a disk does to `bole serve`, there is a clear error, no reference moves,
# nothing is lost, others are served, memory stays bounded, and nothing leaks between repositories.
# Method: hostile.py attacks a served flash volume through raw sockets; then disks that are too small,
# foreign, of a newer format or in use, and one that fills up during pushes.
# BOLE names the program; SEED repeats a run. With SHA-256 only what depends on the format is done.
# Also: sha256
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite
attacker=$here/hostile.py
# Peak of the process in MiB: node.memory is 128 MiB below, but nothing here needs half of that.
rss=96
if grep -q __asan_init "$bole"; then
	rss=256
	export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=16
fi

serve() { # store setting...
	store=$1
	start receive.enable=true "${@:2}"
}
clean() { "$bole" fsck "$1" >fsck.log 2>&1 || die "fsck of $1: $(tail -3 fsck.log)"; }
one_line() { # status words command...: that status, one line on standard error with the words
	local want=$1 words=$2 rc said
	shift 2
	limit "$@" >said.out 2>said.err </dev/null
	rc=$?
	[[ $rc == "$want" ]] || die "status $rc, not $want: ${*:2}: $(cat said.err)"
	grep -qi "$words" said.err || die "not '$words' but '$(cat said.err)': ${*:2}"
	# The log of `serve` is apart; an error in it may be all there is to say.
	said=$(grep -cvE '^[0-9]{4}-[^ ]* (info|warn|error) ' said.err)
	[[ $said != 0 ]] || said=$(grep -cE '^[0-9]{4}-[^ ]* error ' said.err)
	[[ $said == 1 && ! -s said.out ]] || die "not one line: ${*:2}: $(cat said.out said.err)"
}

# -- two repositories, and what the attacker knows of the second --
make_repo() { # name count
	git init -q "$1"
	for ((i = 0; i < $2; i++)); do
		echo "$1 $i $(seq $((i * 37 % 400)))" >"$1/f$((i % 5))"
		git -C "$1" add -A && git -C "$1" commit -qm "$1 $i"
	done
	git -C "$1" tag -a "v$1" -m "$1"
}
make_repo one 12
make_repo two 6
secrets=$(git -C two rev-parse main~1 main~1^{tree} main~1:f0 vtwo | paste -sd,)
"$bole" init disk.img --size 256M >init.log || die "init"
serve disk.img receive.create=true node.memory=128m
for name in one two; do
	limit git -C $name push -q "http://127.0.0.1:$http/$name.git" main "v$name" || die "push $name"
done
sha256=; [[ $format == sha1 ]] || sha256=--small
# shellcheck disable=SC2086
timeout 100 python3 -W error "$attacker" "$http" "$git" "$secrets" --pid $server --rss $rss $sha256 ||
	die "the attack succeeded"
for name in one two; do
	rm -rf copy
	limit git clone -q --mirror "git://127.0.0.1:$git/$name.git" copy || die "clone of $name after all that"
	[[ $(git -C copy rev-parse main) == "$(git -C $name rev-parse main)" ]] || die "$name differs"
	git -C copy fsck --full --strict 2>fsck.log || die "git fsck of $name"
done
if [[ -n $sha256 ]]; then
	stop
	clean disk.img
	exit 0
fi

# -- one volume, one owner --
one_line 4 'in use' "$bole" serve disk.img --http off --git 127.0.0.1:0
one_line 4 'in use' "$bole" set disk.img#one@main key value
one_line 4 'in use' "$bole" init disk.img --force
stop
clean disk.img

# -- disks that are not ours, too small, or of another time --
truncate -s 64K small.img
truncate -s 64M zero.img
head -c 64M /dev/urandom >foreign.img
cp --sparse=always disk.img newer.img
python3 - newer.img <<'PY' || die "no newer volume"
import ctypes, struct, sys
xxh = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
xxh.restype, xxh.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
with open(sys.argv[1], "r+b") as f:  # docs/FORMAT.md: rings of 8 slots at the start and at the end
    size, found = f.seek(0, 2), 0
    for at in [area + 4096 * slot for area in (0, size - 8 * 4096) for slot in range(8)]:
        f.seek(at)
        slot = bytearray(f.read(4096))
        other = lambda: bytes(slot[:16] + slot[24:])
        magic, version, count, checksum = struct.unpack_from("<8sIIQ", slot)
        if magic != b"BoleVol\n":
            continue
        assert count == 4096 and checksum == xxh(other(), 4088), "not as documented"
        struct.pack_into("<I", slot, 8, 7)
        struct.pack_into("<Q", slot, 16, xxh(other(), 4088))
        f.seek(at)
        f.write(slot)
        found += 1
    assert found >= 2, "fewer anchors than documented"
PY
truncate -s 100M cut.img && dd if=disk.img of=cut.img bs=1M count=100 conv=notrunc status=none
sum=$(cat ./{small,zero,foreign,newer,cut}.img | sha1sum)
for words in "small.img 3 blank: format it first" "zero.img 3 blank: format it first" \
	"foreign.img 3 holds other data" "newer.img 1 newer\|format 7" \
	"cut.img 5 truncated" "missing.img 3 no store"; do
	read -r image status text <<<"$words"
	for command in "serve $image --http off --git 127.0.0.1:0" "fsck $image" "ls $image#one@main" \
		"set $image#one@main key value" "stats $image"; do
		[[ $command == "fsck cut.img" ]] && continue # a report, not a line
		# shellcheck disable=SC2086
		one_line "$status" "$text" "$bole" $command
	done
done
[[ $(cat ./{small,zero,foreign,newer,cut}.img | sha1sum) == "$sum" ]] || die "a refused disk was written to"
one_line 6 'too small' "$bole" init tiny.img --size 1M

# -- a disk that fills up during pushes --
"$bole" init full.img --size 6M >init.log || die "init of 6 MiB"
serve full.img receive.create=true
one=http://127.0.0.1:$http/one.git
refs() { limit git ls-remote "$one" >"$1" || die "ls-remote of a full disk"; }
limit git -C one push -q "$one" main || die "push to an empty disk"
full=
for ((n = 0; n < 60; n++)); do
	refs before
	head -c $((RANDOM * 8 + 1000)) /dev/urandom >one/bulk
	git -C one add -A && git -C one commit -qm "bulk $n"
	at=$([[ $((n % 2)) == 0 ]] && echo "$one" || echo "git://127.0.0.1:$git/one.git")
	if limit git -C one push -q "$at" "main:refs/heads/b$n" >push.log 2>&1; then continue; fi
	grep -qi 'no space' push.log || die "a full disk is not named: $(cat push.log)"
	refs after
	cmp -s before after || die "a push that found no space moved references"
	full=$((full + 1))
	((full < 4)) || break
	git -C one reset -q --hard HEAD~1
done
((full >= 4)) || die "the disk does not fill up"
head -c 20M /dev/urandom >one/bulk && git -C one add -A && git -C one commit -qm huge
limit git -C one push -q "$one" main:refs/heads/huge >push.log 2>&1 && die "20 MB fit on 6 MiB"
grep -qi 'no space' push.log || die "a full disk is not named: $(cat push.log)"
# Deletes still work, others are served, a restart finds everything.
limit git -C one push -q "$one" :b0 || die "a delete on a full disk"
rm -rf copy
limit git clone -q --mirror "$one" copy && git -C copy fsck --full --strict 2>fsck.log || die "clone of a full disk"
refs before
stop
clean full.img
serve full.img receive.create=true
one=http://127.0.0.1:$http/one.git
refs after
cmp -s before after || die "a restart on a full disk changed references"
limit git -C one push -q "$one" :b1 || die "a delete on a full disk, after a restart"
crash
clean full.img
serve full.img
one=http://127.0.0.1:$http/one.git
refs after
grep -q 'refs/heads/b1$' after && die "an acknowledged delete was lost"
stop
clean full.img
echo "hostile: all held"
