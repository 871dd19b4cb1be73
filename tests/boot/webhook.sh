#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: a booted machine tells of pushes as the process on a host does: signed, in order, again after a
# failure, and after a crash what was not delivered. Method: stock git pushes; the receiver is on the
# host, which the machine sees as 10.0.2.2.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
dir=$(mktemp -d)
receiver=
trap 'node_kill 2>/dev/null; kill $receiver 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null HOME=$dir
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
NODE_LOG=$dir/console
die() {
	echo "webhook: $*" >&2
	tail -n 15 console hook.got >&2
	exit 1
}
receive() { # port
	python3 "$top/tests/support/webhook_receiver.py" hook secret "$1" 2>receiver.log &
	receiver=$!
	for _ in {1..100}; do [[ -s hook.port ]] && break; sleep 0.1; done
}
push() { timeout 60 git -C work push -q "http://127.0.0.1:$NODE_HTTP/r.git" "$@" || die "push $*"; }
events() { # what was taken: "ref new"
	python3 -c 'import json
for line in open("hook.got"):
    status, path, body = line.split(" ", 2)
    for u in json.loads(body)["updates"] if status == "200" else []: print(u["ref"], u["new"])'
}
await() { # words of the last events
	for _ in {1..300}; do
		[[ $(events) == "$1" ]] && return
		sleep 0.1
	done
	die "not these events: $1 but: $(events)"
}

git init -q -b main work
for i in 1 2 3; do git -C work commit -q --allow-empty -m $i; git -C work tag v$i; done
id() { git -C work rev-parse "$1"; }
printf '500\n' >hook.plan
: >hook.got
receive 0
port=$(<hook.port)
options=(receive.enable=true receive.create=true "webhook.url=http://10.0.2.2:$port/x" webhook.secret=secret)
"$bole" init disk.img --size 48M >/dev/null || die "init"
node_boot disk.img "${options[@]}" || die "boot"
push v1:refs/heads/main
push v2:refs/heads/main
await "refs/heads/main $(id v1)
refs/heads/main $(id v2)"
grep -q '^500 ' hook.got || die "nothing was tried again"
grep -q '^forged' hook.got && die "a request was not what it should be"

# Nobody listens, then the power goes.
kill $receiver && wait $receiver 2>/dev/null
: >hook.plan
push v3:refs/heads/main
node_kill
receive "$port"
node_boot disk.img "${options[@]}" || die "boot after a crash"
await "refs/heads/main $(id v1)
refs/heads/main $(id v2)
refs/heads/main $(id v3)"
grep -q '^forged' hook.got && die "a request was not what it should be"
node_stop || die "stop"
"$bole" fsck disk.img >/dev/null || die "fsck"
echo "webhook: the machine tells of pushes"
