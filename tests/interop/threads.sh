#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: large files, their locks, webhooks and shallow histories share nothing between the loops of a
# server that they should not. Method: `bole serve` built with ThreadSanitizer: the script for webhooks
# runs against it; then many clients at once put, get, list, lock and unlock large files of one
# repository while others push, clone and deepen parts of its history, push from there, and a receiver
# is told. A report fails the suite (tests/run), or ends the server with 66.
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
export BOLE=$(cd "$(dirname "$0")/../.." && pwd)/build/tsan/bole
export TSAN_OPTIONS=${TSAN_OPTIONS:-exitcode=66}
"$(dirname "$0")/webhook.sh" || exit 1
suite
: >hook.plan >hook.got
python3 "$top/tests/support/webhook_receiver.py" hook '' 0 &
pids+=($!)
for _ in {1..100}; do [[ -s hook.port ]] && break; sleep 0.1; done
store=volume.img
passes "$bole" init $store --size 128M
start receive.enable=true receive.create=true repo.part.receive.shallowUpdate=true \
	"webhook.url=http://127.0.0.1:$(<hook.port)/" node.connections=200
art=$(url http art)
git init -q work
for i in {1..12}; do echo $i >work/f$((i % 4)) && git -C work add -A && git -C work commit -q -m $i; done
git -C work push -q "$art" main || die "push"
for n in 1 2 3; do
	git clone -q work "work-$n"
	(for i in {1..6}; do
		git -C "work-$n" commit -q --allow-empty -m "$n $i" &&
			timeout 60 git -C "work-$n" push -q "$art" "main:refs/heads/b$n" || exit 1
	done) &
	pushes[n]=$!
done
# Parts of history: each client clones one, deepens it, pushes into the whole and into one that is
# a part itself, and takes that.
for n in 1 2 3 4; do
	passes "$bole" init part-$n.img --size 8M
	(for i in {1..4}; do
		part=part-$n-$i at=$(url "$( ((i % 2)) && echo http || echo git)" art)
		limit git clone -q --bare --depth $((RANDOM % 5 + 1)) "$at" $part &&
			limit git -C $part fetch -q --depth $((RANDOM % 9 + 1)) "$at" main &&
			id=$(git -C $part commit-tree -p main -m "$n $i" 'main^{tree}') &&
			limit git -C $part push -q "$art" "$id:refs/heads/p$n-$i" &&
			limit git -C $part push -q "$(url http part)" "$id:refs/heads/p$n-$i" &&
			limit git clone -q --bare --no-single-branch "$(url git part)" again-$part &&
			git -C again-$part fsck --full && limit "$bole" clone --depth 2 "$at" part-$n.img#r$i || exit 1
	done >part-$n.log 2>&1) &
	parts[n]=$!
done
timeout 60 python3 - "$art" <<'END' || die "the clients failed"
import hashlib, json, random, sys, threading, urllib.error, urllib.request
base = sys.argv[1] + "/info/lfs/"
JSON = "application/vnd.git-lfs+json"
wrong = []
def ask(method, path, body=None, kind=JSON):
    request = urllib.request.Request(base + path, body, {"Content-Type": kind, "Accept": JSON}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=40) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()
def client(number):
    rng = random.Random(number)
    try:
        for turn in range(8):
            # Half of the files are everybody's: the same one comes several times at once.
            data = random.Random(turn if turn % 2 else number * 100 + turn).randbytes(200000)
            oid = hashlib.sha256(data).hexdigest()
            batch = {"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]}
            for answer, fine in ((ask("POST", "objects/batch", json.dumps(batch).encode()), (200,)),
                                 (ask("PUT", "objects/" + oid, data, "application/octet-stream"), (200, 201))):
                if answer[0] not in fine:
                    wrong.append((number, turn, answer[0], answer[1][:200]))
            status, got = ask("GET", "objects/" + oid)
            if status != 200 or got != data:
                wrong.append((number, turn, "get", status))
            status, got = ask("POST", "locks", json.dumps({"path": "f%d" % rng.randrange(4)}).encode())
            if status == 201:
                lock = json.loads(got)["lock"]["id"]
                status, got = ask("POST", "locks/%s/unlock" % lock, b'{"force": true}')
            if status not in (200, 409, 403, 404):
                wrong.append((number, turn, "lock", status, got[:200]))
            if ask("GET", "locks")[0] != 200:
                wrong.append((number, turn, "locks"))
    except Exception as e:
        wrong.append((number, repr(e)))
threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
for t in threads: t.start()
for t in threads: t.join()
for w in wrong[:10]: print(w)
sys.exit(bool(wrong))
END
for p in "${pushes[@]}"; do wait "$p" || die "a push failed"; done
for n in 1 2 3 4; do wait "${parts[n]}" || die "a part of history: $(cat part-$n.log)"; done
for _ in {1..400}; do
	(($(grep -c '^200 ' hook.got) >= 51)) && break
	sleep 0.1
done
(($(grep -c '^200 ' hook.got) >= 51)) || die "the receiver was told of $(grep -c '^200 ' hook.got) of 51 pushes"
stop
"$BOLE" fsck volume.img >fsck.log 2>&1 || die "fsck: $(cat fsck.log)"
echo "threads: ok"
