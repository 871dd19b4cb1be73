#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: every push that moved something is told to the URLs of its repository, signed, at least once
# and in order, also when a receiver fails, hangs, refuses or is away, and when the server is killed
# in between; no push waits for any of it. Method: stock git, receivers in Python that write down
# what they get.
# Also: sha256 image
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite
receiver=$top/tests/support/webhook_receiver.py
host=127.0.0.1
[[ $where == host ]] || host=10.0.2.2 # this machine, as the other one sees it
wrong() {
	for f in "$dir"/*.got; do echo "--- $f" >&2; tail -n 5 "$f" >&2; done
	cat "$dir"/*.err >&2
	die "$*"
}

appears() { # file: somebody writes to it
	for _ in {1..600}; do [[ -s $1 ]] && return; sleep 0.05; done
	wrong "nothing came to $1"
}
receive() { # name secret [port]; plan on stdin
	cat >"$1.plan"
	: >"$1.got"
	python3 "$receiver" "$1" "$2" "${3:-0}" 2>"$1.err" &
	pids+=($!)
	appears "$1.port"
}
hold() { # name: sets it to a port where nobody listens until a receiver does
	python3 "$top/tests/support/hold_port.py" >"$1" 2>"$1.err" &
	pids+=($!)
	appears "$1"
	printf -v "$1" %s "$(<"$1")"
}
hooks=()
serve() { start receive.enable=true receive.create=true "${hooks[@]}"; }
push() { # repository reference...
	local at=${EPOCHREALTIME/./} repo=$1
	shift
	timeout 40 git -C work push -q "$(url http "$repo")" "$@" >push.log 2>&1 ||
		{ cat push.log >&2; wrong "a push failed: $*"; }
	((${EPOCHREALTIME/./} - at < 20000000)) || wrong "a push waited for a receiver"
}
got() { # name status: how many
	grep -c "^$2 " "$1.got"
}
await() { # name status count
	for _ in {1..400}; do
		[[ $(got "$1" "$2") -ge $3 ]] && return
		sleep 0.1
	done
	wrong "$1 has $(got "$1" "$2") requests answered $2, not $3"
}
events() { # name status: "repository ref old new" in the order of what came
	python3 -c 'import json, sys
for line in open(sys.argv[1] + ".got"):
    status, path, body = line.split(" ", 2)
    d = json.loads(body)
    if status == sys.argv[2]:
        for u in d["updates"]: print(d["repository"], u["ref"], u["old"], u["new"])' "$1" "$2"
}

store=volume.img
passes "$bole" init $store --size 64M
git init -q work
for i in 1 2 3 4 5 6; do git -C work commit -q --allow-empty -m $i; git -C work tag v$i; done
id() { git -C work rev-parse "$1"; }
zero=$(id v1 | tr 0-9a-f 0)

receive all "a secret" <<<$'500\n503'
receive own other <<<hang
receive gone "a secret" <<<$'404\n410'
hold away
hold away2
hooks=("webhook.url=http://$host:$(<all.port)/push?x=1" "webhook.url=http://$host:$(<gone.port)/"
	"webhook.url=http://$host:$away/later" 'webhook.secret=a secret' webhook.timeout=3
	"repo.own.webhook.url=http://$host:$(<own.port)/own" repo.own.webhook.secret=other)
serve

# Nobody is told of what did not happen; failures are tried again, in order.
push main v1:refs/heads/main
push main v2:refs/heads/main
git -C work push -q "$(url http main)" v1:refs/heads/main 2>/dev/null # refused by git
push own v1:refs/heads/main v1:refs/tags/a
await all 200 2
[[ $(events all 200) == "main refs/heads/main $zero $(id v1)
main refs/heads/main $(id v1) $(id v2)" ]] || wrong "not these events: $(events all 200)"
[[ $(got all 500) == 1 && $(got all 503) == 1 ]] || wrong "failures were not tried again"
await own 200 1
[[ $(events own 200 | sort) == "own refs/heads/main $zero $(id v1)
own refs/tags/a $zero $(id v1)" ]] || wrong "own: $(events own 200)"
grep -q '"user": null' all.got || wrong "no user"

# A receiver that says "gone" has lost that event, and gets the next.
await gone 410 1
await gone 200 1

# What was not delivered survives kill -9, and goes out when the receiver is back.
push main v3:refs/heads/main
push main v4:refs/heads/main
crash
receive away "a secret" "$away" </dev/null
serve
await away 200 4
[[ $(events away 200 | awk '{ print $4 }' | uniq) == "$(id v1)
$(id v2)
$(id v3)
$(id v4)" ]] || wrong "away: $(events away 200)"
push main v5:refs/heads/side
push main :refs/heads/side v6:refs/tags/t
await away 200 6
for ((n = 0; n < 400; n++)); do
	all=$(events all 200 | tail -n 2 | sort)
	[[ $all == *refs/tags/t* ]] && break
	sleep 0.1
done
[[ $all == "main refs/heads/side $(id v5) $zero
main refs/tags/t $zero $(id v6)" ]] || wrong "all: $(events all 200)"

# Nothing is told twice without need, nothing is left, nothing was forged.
stop
counts="$(got all 200) $(got away 200) $(got gone 200)"
serve
push own v2:refs/heads/main
await own 200 2
sleep 0.3
[[ "$(got all 200) $(got away 200) $(got gone 200)" == "$counts" ]] || wrong "an event came again"
grep -l '^forged' ./*.got && wrong "a request was not what it should be"
stop

# Nor does a push wait for who says nothing for half a minute.
receive silent "" <<<hang
hooks=("webhook.url=http://$host:$(<silent.port)/" webhook.timeout=60)
serve
push silent v1:refs/heads/main
await silent hang 1
crash

# A queue that is full loses its oldest events, and a URL that is configured no more its own.
hooks=("webhook.url=http://$host:$away2/" webhook.queue=2 webhook.timeout=3)
serve
for i in 1 2 3 4; do push full v$i:refs/heads/main; done
stop
receive late "" "$away2" </dev/null
serve
await late 200 2
[[ $(events late 200 | cut -d' ' -f4) == "$(id v3)
$(id v4)" ]] || wrong "not the last two: $(events late 200)"
push full v5:refs/heads/main
await late 200 3
grep -q 'the queue is full' server.log || wrong "no word of what was lost"
stop
passes "$bole" fsck $store

# A URL that cannot work is refused at the start, without its text.
for url in https://x/ http://u:p@x/ ftp://x/ nonsense; do
	"$bole" serve mem: --http 127.0.0.1:0 --git off --set "webhook.url=$url" >out 2>&1 &&
		wrong "not refused: $url"
	grep -q 'webhook.url' out || wrong "refused without a word: $url"
done
echo "webhook: ok"
