#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: a booted machine serves shallow and partial clones, archives and the dumb protocol as the
# process on a host does. Method: stock git against the image, over HTTP and git://; the tar is compared
# with git-archive's.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
dir=$(mktemp -d)
trap 'node_kill 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null HOME=$dir
NODE_LOG=$dir/console
die() {
	echo "fetch: $*" >&2
	tail -n 15 console >&2
	exit 1
}
limit() { timeout 60 "$@"; }
count() { git -C "$1" rev-list --count HEAD; }

git init -q -b main work
git -C work config user.name t && git -C work config user.email t@localhost
mkdir -p work/a/b
for i in {1..30}; do
	seq $((i * 20)) >work/a/b/f$((i % 4))
	echo "$i" >work/top
	when="$((1700000000 + i * 3600)) +0000"
	git -C work add -A
	GIT_AUTHOR_DATE=$when GIT_COMMITTER_DATE=$when git -C work commit -qm "commit $i"
	[[ $i == 10 ]] && git -C work tag -a -m t v10
done
"$bole" init disk.img --size 48M >/dev/null || die "init"
"$bole" set disk.img k v || die "set"
node_boot disk.img receive.enable=true receive.create=true uploadpack.hideRefs=refs/secret || die "boot"
http=http://127.0.0.1:$NODE_HTTP/r.git git=git://127.0.0.1:$NODE_GIT/r.git
limit git -C work push -q "$http" main v10 HEAD~1:refs/secret/x || die "push"
for u in "$http" "$git"; do
	rm -rf w && limit git clone -q --depth 2 "$u" w || die "$u: depth"
	[[ $(count w) == 2 ]] || die "$u: depth 2"
	limit git -C w fetch -q --deepen 3 || die "$u: deepen"
	[[ $(count w) == 5 ]] || die "$u: deepen by 3"
	limit git -C w fetch -q --shallow-exclude v10 || die "$u: exclude"
	[[ $(count w) == 20 ]] || die "$u: exclude a tag"
	limit git -C w fetch -q --unshallow || die "$u: unshallow"
	[[ $(count w) == 30 ]] || die "$u: unshallow"
	git -C w fsck --full --strict >/dev/null 2>&1 || die "$u: fsck"
	rm -rf w && limit git clone -q --filter=blob:none "$u" w || die "$u: partial"
	[[ $(limit git -C w show main~9:top) == 21 ]] || die "$u: a promised blob"
	rm -rf w && limit git clone -q --bare --filter=tree:0 "$u" w || die "$u: tree:0"
	git ls-remote "$u" | grep secret && die "$u: a hidden reference is shown"
done
limit git archive --remote="$git" --format=tar --prefix=p/ main >have.tar || die "archive"
git -C work archive --format=tar --prefix=p/ main | cmp - have.tar || die "the archive differs"
limit curl -sf "$http/archive/main.tar.gz" | gzip -dc | tar t >list || die "an archive by GET"
grep -q '^r-main/a/b/f1$' list || die "what the archive holds"
node_stop || die "stop"
"$bole" fsck disk.img >/dev/null || die "fsck"
echo "fetch: the machine serves all ways to fetch"
