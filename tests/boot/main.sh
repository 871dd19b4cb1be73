#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: the main job. The image serves this repository's own history: a clone over each transport
# and protocol version passes git fsck and equals the source, and a clean shutdown leaves a clean
# disk. Method: tools/run itself, on free ports, with microvm and then q35.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
dir=$(mktemp -d)
runner=
trap '[ -n "$runner" ] && kill -9 -- -$runner 2>/dev/null; rm -rf "$dir"' EXIT

die() {
	echo "main: $*" >&2
	tail -n 20 "$dir/run.out" >&2
	exit 1
}

# A repository to serve even where the sources come without history or with a shallow one.
git clone -q --mirror --no-local "$top" "$dir/source.git" 2>/dev/null || {
	git init -q -b main "$dir/s" && cp -r "$top/src" "$dir/s/" && git -C "$dir/s" add -A &&
		git -C "$dir/s" -c user.name=t -c user.email=t@localhost commit -q -m sources &&
		git clone -q --mirror "$dir/s" "$dir/source.git"
}
# Only heads and tags are served, so only they are compared.
git -C "$dir/source.git" for-each-ref --format='%(refname)' |
	grep -vE '^refs/(heads|tags)/' | sed 's/^/delete /' | git -C "$dir/source.git" update-ref --stdin
repo_objects "$dir/source.git" >"$dir/want"

for NODE_MACHINE in microvm q35; do
	rm -f "$dir/disk.img" "$dir/console"
	"$bole" init "$dir/disk.img" --size 256M >/dev/null && "$bole" import "$dir/disk.img#bole" "$dir/source.git" \
		>"$dir/run.out" 2>&1 || die "seeding"
	NODE_LOG=$dir/console node_boot "$dir/disk.img" || { cat "$dir/console"; die "boot on $NODE_MACHINE"; }
	cp "$dir/console" "$dir/run.out"
	for how in "2 http://127.0.0.1:$NODE_HTTP" "2 git://127.0.0.1:$NODE_GIT" \
		"1 http://127.0.0.1:$NODE_HTTP" "0 http://127.0.0.1:$NODE_HTTP" "0 git://127.0.0.1:$NODE_GIT"; do
		read -r version url <<<"$how"
		rm -rf "$dir/copy.git"
		git -c protocol.version="$version" clone -q --mirror "$url/bole.git" "$dir/copy.git" ||
			die "clone, version $version, ${url%%:*}, $NODE_MACHINE"
		git -C "$dir/copy.git" fsck --full --strict >"$dir/run.out" 2>&1 || die "git fsck"
		repo_objects "$dir/copy.git" | cmp -s - "$dir/want" || die "the clone differs from the source"
	done
	node_stop || die "shutdown on $NODE_MACHINE"
	"$bole" fsck "$dir/disk.img" >"$dir/run.out" 2>&1 || die "fsck after shutdown"
	echo "main: $NODE_MACHINE: 5 clones of $(wc -l <"$dir/want") objects equal the source"
done
