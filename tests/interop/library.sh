#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: the program in docs/LIBRARY.md compiles, does what the page says, and Git reads what it left.
# Method: cut it out of the page, build it against the library, run it, serve and clone.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
bole=${BOLE:-$top/build/host/bole}
lib=${bole%/bole}
dir=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$dir"' EXIT
die() {
	echo "library: $*" >&2
	exit 1
}
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir

# The first program of the page is whole; others are parts.
sed -n '/^```c$/,/^```$/{p;/^```$/q}' docs/LIBRARY.md | sed '1d;$d' >"$dir/people.c"
flags=()
[[ $lib == */asan ]] && flags=(-fsanitize=address,undefined)
"${CC:-gcc}" -std=c11 -Wall -Wextra -Werror "${flags[@]}" -Iinclude "$dir/people.c" \
	-Wl,--start-group "$lib/libbole.a" "$lib/libposix.a" -Wl,--end-group \
	-lz -lxxhash -lpthread -o "$dir/people" || die "it does not compile"
cd "$dir" || exit 1
./people >out || die "it failed"
[[ $(<out) == $'author\neditor' ]] || die "it printed: $(<out)"
"$bole" fsck people.img >/dev/null || die "what it left is damaged"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$bole" serve people.img --http "127.0.0.1:$port" --git off >log 2>&1 &
server=$!
for _ in {1..100}; do grep -q 'Stop with' log && break; sleep 0.1; done
git clone -q "http://127.0.0.1:$port/main.git" copy || die "git cannot clone it"
git -C copy fsck --full --strict || die "git finds fault"
[[ $(<copy/people/ada/role) == editor ]] || die "the clone has another value"
[[ $(git -C copy show origin/first:people/ada/role) == author ]] || die "the branch is another"
[[ $(git -C copy log --format='%an %s' | tail -1) == 'Example Ada joins' ]] || die "another message"
echo "library: the page's program ran, git cloned its keys"
