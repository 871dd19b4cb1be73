#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what tests/interop/hostile.sh demands of `bole serve` holds for the booted image too: hostile
# peers end in errors, nothing moves or leaks, others are served; so do disks that are full, too
# small, of a newer format, or in use. Method: a selection of its attacks through the emulator's
# network, and boots on disks that must be refused in one line. SEED repeats a run.
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
work=$(mktemp -d)
NODE_PID=
trap '[[ -n $NODE_PID ]] && kill -9 $NODE_PID 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$work
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
NODE_LOG=$work/console

die() {
	echo "hostile: $*" >&2
	tail -15 "$NODE_LOG" >&2
	exit 1
}
limit() { timeout 40 "$@"; }
make_repo() { # name count
	git init -q -b main "$1"
	for ((i = 0; i < $2; i++)); do
		echo "$1 $i" >"$1/f$((i % 5))"
		git -C "$1" add -A && git -C "$1" commit -qm "$1 $i"
	done
	git -C "$1" tag -a "v$1" -m "$1"
}
make_repo one 8
make_repo two 6
secrets=$(git -C two rev-parse main~1 main~1^{tree} main~1:f0 vtwo | paste -sd,)

# -- the attack, on a disk that is then filled --
"$bole" init disk.img --size 8M >/dev/null || die "init"
node_boot disk.img receive.enable=true receive.create=true || die "boot"
for name in one two; do
	limit git -C $name push -q "http://127.0.0.1:$NODE_HTTP/$name.git" main "v$name" || die "push $name"
done
timeout 75 python3 "$top/tests/interop/hostile.py" "$NODE_HTTP" "$NODE_GIT" "$secrets" --small --wait "${WAIT:-2}" ||
	die "the attack succeeded"
one=http://127.0.0.1:$NODE_HTTP/one.git
refs() { limit git ls-remote "$one" >"$1" || die "ls-remote"; }
full=
for n in 1 2 3 4 5 6 7 8 9; do
	refs before
	head -c 1500000 /dev/urandom >one/bulk
	git -C one add -A && git -C one commit -qm "bulk $n"
	limit git -C one push -q "$one" "main:refs/heads/b$n" >push.log 2>&1 && continue
	full=yes
	break
done
[[ -n $full ]] || die "the disk does not fill up"
grep -qi 'no space' push.log || die "a full disk is not named: $(cat push.log)"
refs after
cmp -s before after || die "a push that found no space moved references"
limit git -C one push -q "$one" :b1 || die "a delete on a full disk"
refs before

# -- in use by the machine: the host's tools and a second machine say so --
if "$bole" set disk.img#one@main key value 2>said; then die "two writers on one disk"; fi
grep -q 'in use' said || die "not told who holds the disk: $(cat said)"
NODE_LOG=$work/second
(
	node_start disk.img
	wait $NODE_PID
)
grep -qi 'lock' second || die "a second machine took the disk: $(cat second)"
NODE_LOG=$work/console
node_stop || die "stop"
"$bole" fsck disk.img >fsck.log 2>&1 || die "fsck: $(tail -3 fsck.log)"
node_boot disk.img || die "boot from a full disk"
one=http://127.0.0.1:$NODE_HTTP/one.git
refs after
cmp -s before after || die "a restart on a full disk changed references"
rm -rf copy
limit git clone -q --mirror "$one" copy && git -C copy fsck --full --strict 2>fsck.log || die "clone of a full disk"
node_kill
NODE_PID=

# -- disks that are refused, in one line, untouched --
truncate -s 64K small.img
truncate -s 64M zero.img
head -c 8M /dev/urandom >foreign.img
head -c 4M disk.img >cut.img
sum=$(cat ./{small,zero,foreign,cut}.img | sha1sum)
while read -r image words; do
	: >"$NODE_LOG"
	node_start "$image" receive.enable=true
	exec {NODE_INPUT}>&-
	for _ in {1..100}; do kill -0 "$NODE_PID" 2>/dev/null && sleep 0.1; done
	kill -0 "$NODE_PID" 2>/dev/null && die "$image: the machine runs on"
	wait "$NODE_PID"
	status=$?
	((status > 1 && status % 2 == 1)) || die "$image: status $status"
	[[ $(grep -ac 'error' "$NODE_LOG") -ge 1 ]] || die "$image: no error is told"
	grep -aqiE "$words" "$NODE_LOG" || die "$image: not told '$words'"
done <<-END
	small.img bole init|too small
	zero.img bole init
	foreign.img not formatted|no Bole|foreign|bole init
	cut.img truncated
END
NODE_PID=
[[ $(cat ./{small,zero,foreign,cut}.img | sha1sum) == "$sum" ]] || die "a refused disk was written to"
echo "hostile: all held"
