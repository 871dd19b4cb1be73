#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: large files, their locks and webhooks share nothing between the loops of a server that they
# should not. Method: `bole serve` built with ThreadSanitizer: the script for webhooks runs against it;
# then many clients at once put, get, list, lock and unlock large files of one repository while others
# push and a receiver is told. A report fails the suite (tests/run), or ends the server with 66.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
top=$PWD
export BOLE=$top/build/tsan/bole
[[ -x $BOLE ]] || { echo "threads: $BOLE is not built" >&2; exit 1; }
export TSAN_OPTIONS=${TSAN_OPTIONS:-exitcode=66}
tests/interop/webhook.sh || exit 1
dir=$(mktemp -d)
server= receiver=
trap 'kill -9 $server $receiver 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b no_proxy='*'
die() {
	echo "threads: $*" >&2
	tail -n 20 "$dir/server.log" >&2
	exit 1
}
: >hook.plan >hook.got
python3 "$top/tests/support/webhook_receiver.py" hook '' 0 &
receiver=$!
for _ in {1..100}; do [[ -s hook.port ]] && break; sleep 0.1; done
"$BOLE" init volume.img --size 128M >/dev/null || die init
: >out
"$BOLE" serve volume.img --http 127.0.0.1:0 --git off --push --create \
	--set "webhook.url=http://127.0.0.1:$(<hook.port)/" --set node.connections=200 >out 2>server.log &
server=$!
for _ in {1..100}; do grep -q '^http port' out && break; sleep 0.1; done
url=http://127.0.0.1:$(sed -n 's/^http port \([0-9]*\).*/\1/p' out)/art.git
git init -q -b main work
git -C work commit -q --allow-empty -m 0
git -C work push -q "$url" main || die "push"
for n in 1 2 3; do
	git clone -q work "work-$n"
	(for i in {1..6}; do
		git -C "work-$n" commit -q --allow-empty -m "$n $i" &&
			timeout 60 git -C "work-$n" push -q "$url" "main:refs/heads/b$n" || exit 1
	done) &
	pushes[n]=$!
done
timeout 60 python3 - "$url" <<'END' || die "the clients failed"
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
for _ in {1..200}; do
	(($(grep -c '^200 ' hook.got) >= 19)) && break
	sleep 0.1
done
(($(grep -c '^200 ' hook.got) >= 19)) || die "the receiver was told of $(grep -c '^200 ' hook.got) of 19 pushes"
kill $server
wait $server || die "the server ended with $?"
server=
"$BOLE" fsck volume.img >fsck.log 2>&1 || die "fsck: $(cat fsck.log)"
echo "threads: ok"
