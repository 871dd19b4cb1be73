#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: every push that moved something is told to the URLs of its repository, signed, at least once
# and in order, also when a receiver fails, hangs, refuses or is away, and when the server is killed
# in between; no push waits for any of it. Method: stock git, receivers in Python that write down
# what they get.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
bole=${BOLE:-$PWD/build/asan/bole}
receiver=$PWD/tests/support/webhook_receiver.py
[[ -x $bole ]] || { echo "webhook: $bole is not built" >&2; exit 1; }
dir=$(mktemp -d)
server= receivers=()
trap 'kill -9 $server "${receivers[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_CONFIG_GLOBAL=$dir/config GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
export LC_ALL=C no_proxy='*'
git config --file config init.defaultBranch main

die() {
	echo "webhook: $*" >&2
	tail -n 30 "$dir/server.log" >&2
	for f in "$dir"/*.got; do echo "--- $f" >&2; tail -n 5 "$f" >&2; done
	exit 1
}

receive() { # name secret [port]; plan on stdin
	cat >"$1.plan"
	rm -f "$1.port"
	python3 "$receiver" "$1" "$2" "${3:-0}" >receiver.log 2>&1 &
	receivers+=($!)
	for _ in {1..100}; do [[ -s $1.port ]] && break; sleep 0.05; done
	touch "$1.got"
}
start() {
	: >server.out
	"$bole" serve volume.img --http 127.0.0.1:0 --git off --push --create --config bole.conf \
		>server.out 2>>server.log &
	server=$!
	for _ in {1..100}; do
		grep -q '^http port' server.out && break
		kill -0 $server 2>/dev/null || die "the server ended"
		sleep 0.1
	done
	http=$(sed -n 's/^http port \([0-9]*\).*/\1/p' server.out)
}
push() { # repository reference...
	local at=${EPOCHREALTIME/./} repo=$1
	shift
	timeout 30 git -C work push -q "http://127.0.0.1:$http/$repo.git" "$@" >push.log 2>&1 ||
		{ cat push.log >&2; die "a push failed: $*"; }
	((${EPOCHREALTIME/./} - at < 5000000)) || die "a push waited for a receiver"
}
got() { # name status: how many
	grep -c "^$2 " "$1.got"
}
await() { # name status count
	for _ in {1..200}; do
		[[ $(got "$1" "$2") -ge $3 ]] && return
		sleep 0.1
	done
	die "$1 has $(got "$1" "$2") requests answered $2, not $3"
}
events() { # name status: "repository ref old new" in the order of what came
	python3 -c 'import json, sys
for line in open(sys.argv[1] + ".got"):
    status, path, body = line.split(" ", 2)
    d = json.loads(body)
    if status == sys.argv[2]:
        for u in d["updates"]: print(d["repository"], u["ref"], u["old"], u["new"])' "$1" "$2"
}

"$bole" init volume.img --size 64M >/dev/null || exit 1
git init -q work
for i in 1 2 3 4 5 6; do git -C work commit -q --allow-empty -m $i; git -C work tag v$i; done
id() { git -C work rev-parse "$1"; }
zero=0000000000000000000000000000000000000000

receive all "a secret" <<<$'500\n503'
receive own other <<<hang
receive gone "a secret" <<<$'404\n410'
free_port() {
	python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
away=$(free_port)
away2=$(free_port)
cat >bole.conf <<END
[webhook]
	url = http://127.0.0.1:$(cat all.port)/push?x=1
	url = http://127.0.0.1:$(cat gone.port)/
	url = http://127.0.0.1:$away/later
	secret = a secret
	timeout = 1
[repo "own.webhook"]
	url = http://127.0.0.1:$(cat own.port)/own
	secret = other
END
start

# Nobody is told of what did not happen; failures are tried again, in order.
push main v1:refs/heads/main
push main v2:refs/heads/main
git -C work push -q "http://127.0.0.1:$http/main.git" v1:refs/heads/main 2>/dev/null # refused by git
push own v1:refs/heads/main v1:refs/tags/a
await all 200 2
[[ $(events all 200) == "main refs/heads/main $zero $(id v1)
main refs/heads/main $(id v1) $(id v2)" ]] || die "not these events: $(events all 200)"
[[ $(got all 500) == 1 && $(got all 503) == 1 ]] || die "failures were not tried again"
await own 200 1
[[ $(events own 200 | sort) == "own refs/heads/main $zero $(id v1)
own refs/tags/a $zero $(id v1)" ]] || die "own: $(events own 200)"
grep -q '"user": null' all.got || die "no user"

# A receiver that says "gone" has lost that event, and gets the next.
await gone 410 1
await gone 200 1

# What was not delivered survives kill -9, and goes out when the receiver is back.
push main v3:refs/heads/main
push main v4:refs/heads/main
kill -9 $server
wait $server 2>/dev/null
receive away "a secret" "$away" </dev/null
start
await away 200 4
[[ $(events away 200 | awk '{ print $4 }' | uniq) == "$(id v1)
$(id v2)
$(id v3)
$(id v4)" ]] || die "away: $(events away 200)"
push main v5:refs/heads/side
push main :refs/heads/side v6:refs/tags/t
await away 200 6
for ((n = 0; n < 100; n++)); do
	all=$(events all 200 | tail -n 2 | sort)
	[[ $all == *refs/tags/t* ]] && break
	sleep 0.1
done
[[ $all == "main refs/heads/side $(id v5) $zero
main refs/tags/t $zero $(id v6)" ]] || die "all: $(events all 200)"

# Nothing is told twice without need, nothing is left, nothing was forged.
kill $server && wait $server || die "the server did not end well"
counts="$(got all 200) $(got away 200) $(got gone 200)"
start
push own v2:refs/heads/main
await own 200 2
sleep 0.3
[[ "$(got all 200) $(got away 200) $(got gone 200)" == "$counts" ]] || die "an event came again"
grep -l '^forged' ./*.got && die "a request was not what it should be"
kill $server && wait $server || die "the server did not end well"
server=

# A queue that is full loses its oldest events, and a URL that is configured no more its own.
cat >bole.conf <<END
[webhook]
	url = http://127.0.0.1:$away2/
	queue = 2
	timeout = 1
END
start
for i in 1 2 3 4; do push full v$i:refs/heads/main; done
kill $server && wait $server || die "the server did not end well"
receive late "" "$away2" </dev/null
start
await late 200 2
[[ $(events late 200 | cut -d' ' -f4) == "$(id v3)
$(id v4)" ]] || die "not the last two: $(events late 200)"
push full v5:refs/heads/main
await late 200 3
grep -q 'the queue is full' server.log || die "no word of what was lost"
kill $server && wait $server || die "the server did not end well"
server=

# A URL that cannot work is refused at the start, without its text.
for url in https://x/ http://u:p@x/ ftp://x/ nonsense; do
	"$bole" serve mem: --http 127.0.0.1:0 --git off --set "webhook.url=$url" >out 2>&1 &&
		die "not refused: $url"
	grep -q 'webhook.url' out || die "refused without a word: $url"
done
echo "webhook: ok"
