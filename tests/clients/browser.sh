#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: isomorphic-git in a browser works against Bole, and only where the configuration lets the
# page's origin in. Method: Debian's chromium, headless, shows a page from another port than Bole's,
# so that every request is one to another origin, most of them with a preflight; what the page got is
# compared with what git has. Needs the packages of `tools/deps packages interop`.
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$top/tests/support/node.sh"
dir=$(mktemp -d)
servers=()
trap 'node_kill 2>/dev/null; ((${#servers[@]} == 0)) || kill "${servers[@]}" 2>/dev/null
	rm -rf "$dir" 2>/dev/null || { sleep 1 && rm -rf "$dir"; }' EXIT
cd "$dir" || exit 1
NODE_LOG=$dir/console
export NODE_PATH=$top/build/npm/node_modules TMPDIR=$dir HOME=$dir
export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 no_proxy='*'
git config --global user.name t && git config --global user.email t@localhost

die() {
	echo "browser: $*" >&2
	tail -n 5 said answer.json serve-*.log console 2>/dev/null | cut -c1-1000 >&2
	exit 1
}

git init -q --bare source.git
"$top/build/host/tests/gen_history" 7 60 | git -C source.git fast-import --quiet || die "the source"
git -C source.git symbolic-ref HEAD refs/heads/main-0
git -C source.git rev-list --objects --no-object-names main-0 | sort >want

serve() { # name settings...: sets `url`, which answers when this returns
	local name=$1 port options=()
	shift
	for s; do options+=(--set "$s"); done
	: >"$name.out"
	"$bole" init "$name.img" --size 128M >/dev/null || die "init"
	"$bole" serve "$name.img" --http 127.0.0.1:0 --git off --push --create "${options[@]}" \
		>"$name.out" 2>"serve-$name.log" &
	servers+=($!)
	for _ in {1..100}; do
		port=$(sed -n 's/^http port \([0-9]*\).*/\1/p' "$name.out")
		[ -n "$port" ] && break
		kill -0 $! 2>/dev/null || die "$name: the server ended"
		sleep 0.1
	done
	url=http://127.0.0.1:$port/src.git
}
fill() { # url
	git -C source.git push -q --mirror "$1" >push.log 2>&1 || die "push: $(cat push.log)"
}
token() { echo "auth.token=$1:sha256:s:$(printf 's:%s' "$2" | sha256sum | cut -d' ' -f1)"; }

page=$(node_free_port)
origin=http://localhost:$page
serve open "http.allowOrigin=$origin" && open=$url && fill "$open"
serve locked "http.allowOrigin=https://app.example" "http.allowOrigin=$origin" "$(token alice a1)" &&
	locked=$url && fill "${locked/:\/\//://alice:a1@}"
serve any "http.allowOrigin=*" && any=$url && fill "$any"
serve other "http.allowOrigin=https://app.example" && other=$url && fill "$other"
serve none && none=$url && fill "$none"
"$bole" init disk.img --size 128M >/dev/null
node_boot disk.img receive.enable=true receive.create=true "http.allowOrigin=$origin" || die "boot"
image=http://127.0.0.1:$NODE_HTTP/src.git
fill "$image"

cat >plan.json <<END
[{"name": "open", "url": "$open", "branch": "page"},
 {"name": "locked", "url": "$locked", "branch": "page", "user": "alice", "password": "a1"},
 {"name": "image", "url": "$image", "branch": "page"},
 {"name": "any", "url": "$any", "reach": true},
 {"name": "other", "url": "$other", "reach": true},
 {"name": "none", "url": "$none", "reach": true},
 {"name": "stranger", "url": "$locked", "branch": "stranger", "user": "alice", "password": "guess"}]
END
timeout 200 node "$top/tests/clients/browser.js" "$page" plan.json >answer.json 2>said || die "no answer"

python3 - answer.json want <<'END' || die "not what was expected"
import json, sys
answer = json.load(open(sys.argv[1]))
want = open(sys.argv[2]).read().split()
wrong = []
def expect(what, fine):
    print(f'  {"ok   " if fine else "FAIL "} browser: {what}')
    if not fine:
        wrong.append(what)
for name in 'open', 'locked', 'image':
    a = answer[name]
    if 'error' in a:
        expect(f'{name}: {a["error"]}\n{a["stack"]}', False)
        continue
    expect(f'{name}: clone', a['objects'] == want and a['files'] == 0)
    expect(f'{name}: shallow clone, deepened', a['depth'] == 1 and a['deeper'] == 3)
    expect(f'{name}: push, fetched by the other clone', a['pushed'] == a['fetched'])
    expect(f'{name}: push from a shallow clone', a['second'] == a['back'])
    expect(f'{name}: a rewind is not sent', a['rewind'] == 'PushRejectedError')
expect('any: references are read', 'heads' in answer['any'])
for name in 'other', 'none':
    a = answer[name]
    expect(f'{name}: the browser keeps the answer from the page', 'Failed to fetch' in a.get('error', ''))
a = answer['stranger']
expect('stranger: a wrong password pushes nothing', a.get('code') in ('UserCanceledError', 'HttpError'))
sys.exit(bool(wrong))
END

# What git finds there then. Those that no page may ask answer git all the same.
for url in "$open" "$locked" "$image"; do
	git ls-remote "$url" >refs || die "ls-remote"
	for ref in heads/page tags/tag-page; do grep -q "refs/$ref$" refs || die "$url: no $ref"; done
	! grep -q gone refs || die "$url: the deleted branch is there"
	! grep -q stranger refs || die "$url: a stranger pushed"
	git clone -q --bare "$url" copy || die "clone"
	git -C copy fsck --full --strict >fsck.log 2>&1 || die "fsck: $(cat fsck.log)"
	[ "$(git -C copy log -1 --format=%s page)" = two ] || die "$url: the page's commit is not the newest"
	rm -rf copy
done
for url in "$other" "$none"; do git ls-remote "$url" >refs && [ -s refs ] || die "git is refused"; done
node_stop >/dev/null || die "the image did not stop"
echo "browser: ok"
