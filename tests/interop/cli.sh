#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: the bole tool does what docs/CLI.md says, and Git reads what it wrote. Method: every command
# on one image, its output and exit code; then stock git clones the keys and an imported history.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
bole=${BOLE:-$PWD/build/host/bole}
[[ -x $bole ]] || { echo "cli: $bole is not built" >&2; exit 1; }
dir=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
passed=0 failed=0

# expect CODE COMMAND...: its exit code; output stays in ./out and ./err
expect() {
	local want=$1 rc
	shift
	local limit=(timeout 120)
	[[ $(type -t "$1") == function ]] && limit=()
	"${limit[@]}" "$@" >out 2>err </dev/null
	rc=$?
	if ((rc == want)); then passed=$((passed + 1)); else
		failed=$((failed + 1))
		echo "cli: exit code $rc, not $want: ${*/#$bole/bole}" >&2
		cat err >&2
	fi
}
same() { # what, got, wanted
	if [[ $2 == "$3" ]]; then passed=$((passed + 1)); else
		failed=$((failed + 1))
		printf 'cli: %s\n  got:    %s\n  wanted: %s\n' "$1" "$2" "$3" >&2
	fi
}
json() { python3 -c "import json,sys; d=json.load(open('out')); print($1)"; }

# Making a store, and what is no store.
expect 0 "$bole" init d.img --size 256M
expect 4 "$bole" init d.img
expect 0 "$bole" init d.img --force
expect 2 "$bole" init x.img --size large
expect 6 "$bole" init x.img --size 4k
expect 3 "$bole" get nowhere.img k
expect 2 "$bole" get
expect 2 "$bole" frobnicate
for command in init get set rm ls log branch repo import fsck stats gc scrub grow; do
	expect 0 "$bole" "$command" --help
	expect 2 "$bole" "$command" --no-such-option
done
# Wrong arguments are one line that says what to do, and nothing is done.
wrong() { # words arguments...
	local words=$1
	shift
	expect 2 "$bole" "$@"
	same "lines about: $*" "$(wc -l <err) $(wc -l <out) $(grep -c "^bole.*$words" err)" '1 0 1'
}
lost=git://127.0.0.1:1/x
for command in clone fetch push ls-remote mirror repack lfs token backfill bundle export upload-pack receive-pack \
	upload-archive; do
	expect 0 "$bole" $command --help
	wrong "no option --bogus; try: bole $command --help" $command --bogus
	wrong 'an argument is missing; try' $command
done
wrong 'one argument too many' clone $lost d.img#new more
wrong 'ssh is not spoken' clone ssh://x/y d.img#new
wrong 'only git://' ls-remote file:///tmp
wrong 'no URL' fetch d.img nonsense
wrong 'host or port' ls-remote git://127.0.0.1:99999/x
wrong 'not a repository name' mirror $lost d.img#../evil
wrong 'protocol is 0, 1 or 2' ls-remote --protocol 7 $lost
wrong 'no credentials' ls-remote --credentials nofile $lost
wrong 'exclude each other' fetch --tags --no-tags d.img $lost
wrong 'nothing can be added' push d.img $lost --mirror main
wrong 'nothing can be added' push d.img $lost --mirror --all
wrong 'takes names' push d.img $lost --delete --all main
wrong 'needs a name' push d.img $lost --delete
wrong 'needs a value' push d.img $lost --force-with-lease
wrong 'needs a value' push d.img $lost main --push-option
wrong 'window takes' repack d.img --window 0
wrong 'ls, prune take' lfs bogus d.img
wrong 'ls, prune take' lfs get d.img
wrong 'no SHA-256' lfs get d.img zz
wrong 'days takes a number' lfs prune d.img --days x
wrong 'create takes a name' token create
wrong 'create takes a name' token revoke x
wrong 'nobody can be called' token create 'a b'
one() { # code words arguments...
	local words=$2
	expect "$1" "$bole" "${@:3}"
	same "lines about: ${*:3}" "$(wc -l <err) $(grep -c "^bole: .*$words" err)" '1 1'
}
one 1 'nobody listens there' ls-remote $lost
one 1 'nobody listens there' --json fetch d.img http://127.0.0.1:1/x
one 3 'make one with: bole init' clone $lost nowhere.img#new
one 3 'repository nope: not found' push d.img#nope $lost
one 3 'not found' repack d.img#nope
one 3 'not found' lfs ls d.img#nope
head -c 1M /dev/urandom >foreign.img
expect 3 "$bole" get foreign.img k
# What is there instead is said once, and nothing advises what would destroy it or is being done.
truncate -s 1M blank.img
for image in foreign blank; do
	expect 3 "$bole" fsck $image.img
	same "lines about a $image disk" "$(wc -l <err)" 1
	same "a $image disk" "$(grep -c "^bole: $image.img: .*\(blank: format it first\|holds other data\)" err)" 1
done
# So is what was cut off, with one thing to do; the check itself does not advise to check.
cp --sparse=always d.img cut.img && truncate -s 32M cut.img
one 5 'cut.img: .*truncated; check it with: bole fsck' ls cut.img
expect 5 "$bole" fsck cut.img
same "the check of a cut disk" "$(grep -c 'bole fsck' err) $(grep -c '^bole: ' err)" "0 1"
expect 3 "$bole" fsck nowhere.img
same "no store" "$(<err)" "bole: there is no store at nowhere.img: make one with: bole init nowhere.img"

# Keys.
expect 0 "$bole" set d.img a/b hello
expect 0 "$bole" set d.img a.b 'sorts before a/'
head -c 3000000 /dev/urandom >big
timeout 60 "$bole" set d.img big - <big
timeout 60 "$bole" get d.img big | cmp - big && passed=$((passed + 1)) || failed=$((failed + 1))
printf 'x\0\xff' | "$bole" set d.img bin
expect 0 "$bole" get d.img a/b
same "a value" "$(<out)" hello
expect 0 "$bole" --json get d.img bin
same "bytes in JSON" "$(json 'd["base64"]')" eAD/
expect 3 "$bole" get d.img a
expect 3 "$bole" get d.img none
expect 2 "$bole" set d.img a/.git/x 1
expect 4 "$bole" set d.img a 1
expect 4 "$bole" set d.img a/b/c 1
expect 0 "$bole" ls d.img
same "keys in byte order" "$(tr '\n' ' ' <out)" "a.b a/b big bin "
expect 0 "$bole" ls d.img b --to bin
same "a range" "$(<out)" big
expect 0 "$bole" rm d.img a/b bin
expect 3 "$bole" rm d.img a/b
expect 0 "$bole" --json ls d.img
same "keys in JSON" "$(json '[k["key"] for k in d]')" "['a.b', 'big']"

# History and branches.
expect 0 "$bole" set d.img k 1 -m $'subject\n\nbody' --author 'A U Thor <a@example.org>'
expect 2 "$bole" set d.img k 2 --author nobody
expect 0 "$bole" log d.img -n 1
same "a log line" "$(cut -d' ' -f3- out)" "A U Thor <a@example.org>  subject"
expect 0 "$bole" branch d.img side
expect 4 "$bole" branch d.img side
expect 3 "$bole" branch d.img late nowhere
expect 0 "$bole" set d.img#@side k other
expect 0 "$bole" get d.img#main@side k
same "a branch's value" "$(<out)" other
expect 0 "$bole" get d.img k
same "the default branch's value" "$(<out)" 1
expect 0 "$bole" --json branch d.img
same "branches" "$(json '[b["name"] for b in d]')" "['main', 'side']"
expect 0 "$bole" branch d.img --delete side
expect 3 "$bole" get d.img#@side k
expect 4 "$bole" branch d.img --delete main

# Repositories and import.
git init -q -b trunk work
for i in {1..40}; do
	mkdir -p work/d$((i % 5)) && seq $((i * 30)) >work/d$((i % 5))/f$((i % 9))
	git -C work add -A && git -C work commit -q -m "change $i"
done
git -C work tag -a -m note v1 HEAD~3
expect 0 "$bole" import d.img#work work
expect 4 "$bole" import d.img#work work
expect 3 "$bole" import d.img#none .
expect 0 "$bole" repo d.img#other create --sha256
expect 0 "$bole" repo d.img#other rename else
expect 0 "$bole" repo d.img
same "repositories" "$(tr '\n' ' ' <out)" "else main work "
expect 0 "$bole" repo d.img#else rm
expect 3 "$bole" repo d.img#else rm
# The name that is wrong is the one that is told, and none commands the terminal.
one 2 "'../x' is not a repository name" repo d.img#main rename ../x
one 4 'work: exists already' repo d.img#main rename work
one 2 'a..b: malformed' repo d.img#new create --head a..b
one 3 'nope: not found' repo d.img#nope rename new
one 2 "'a?.31mred?b' is not a repository name" repo $'d.img#a\e[31mred\nb' rm
one 3 'a?.31mred?b: not found' get d.img $'a\e[31mred\nb'
one 2 'no option --?.31m' ls d.img $'--\e[31m'
one 2 'takes one NAME' branch d.img one --delete two
one 2 'd.img is there and has 268435456 bytes' init d.img --force --size 64M
expect 0 "$bole" set mem: k v
# What does not fit anywhere is told once, and is nobody's key.
full() {
	"$bole" "$@" 2>err >/dev/full
	echo "$? $(<err)"
}
for command in 'get d.img big' 'get d.img k' '--json get d.img k' 'ls d.img' 'log d.img' 'bundle create d.img -' \
	'get --help' help; do
	same "a full standard output: $command" "$(full $command)" "1 bole: cannot write to standard output"
done
"$bole" get d.img big 2>err | head -c 1 >out
same "a reader that has enough" "${PIPESTATUS[0]} $(<err)" "1 "
# A terminal gets no bytes that command it, a file all.
"$bole" set d.img#tty $'\e[31mred' 1
expect 0 script -qec "'$bole' ls d.img#tty" /dev/null
same "a key on a terminal" "$(tr -d '\r\n' <out)" '?[31mred'
expect 0 "$bole" ls d.img#tty
same "a key in a file" "$(<out)" $'\e[31mred'
expect 0 "$bole" repo d.img#tty rm
expect 0 "$bole" --json stats d.img
same "repositories counted" "$(json 'd["repos"]')" 2
for key in capacity_bytes live_bytes free_bytes segments_free programmed_per_byte erased_per_byte wear_max \
	wear_mean wear_min read_per_byte mount_reads operation_ns_max commit_ns_max memory_bytes; do
	same "stats has $key" "$(json "'$key' in d")" True
done
expect 0 "$bole" --json stats d.img --sample 50
same "a sample was read" "$(json 'd["read_per_byte"] > 0 and d["reads_per_get"] >= 0')" True
expect 2 "$bole" stats d.img --sample some
expect 0 "$bole" --json fsck d.img
same "no errors" "$(json 'd["errors"]')" 0
expect 0 "$bole" --json scrub d.img
same "nothing is damaged" "$(json 'd["damaged"]')" 0
expect 0 "$bole" bundle create d.img#work work.bundle
expect 0 "$bole" --json bundle verify d.img#work work.bundle
same "a bundle's references" "$(json '[r["name"] for r in d["refs"]], d["objects"] > 0')" \
	"['HEAD', 'refs/heads/trunk', 'refs/tags/v1'] True"
one 3 'work.bundle: there is no repository new$' bundle verify --json d.img#new work.bundle
mkdir -p full/x
one 4 'is no empty folder' export d.img#work full
mkfifo fifo
expect 1 "$bole" bundle create d.img fifo
same "what is no file stays what it is" "$([[ -p fifo ]] && echo yes)" yes
expect 0 "$bole" --json grow d.img
same "it has not grown" "$(json 'd["capacity_after"] == d["capacity_before"]')" True
expect 2 "$bole" grow d.img --size 1M
expect 2 "$bole" grow d.img --size large
expect 0 "$bole" --json grow d.img --size 512M
same "it has grown" "$(json 'd["capacity_after"] > d["capacity_before"] * 1.8')" True
expect 0 "$bole" fsck d.img

# Git reads it all.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$bole" serve d.img --http "127.0.0.1:$port" --git off --push >serve.log 2>&1 &
server=$!
for _ in {1..100}; do grep -q 'Stop with' serve.log && break; sleep 0.1; done
expect 4 "$bole" set d.img k busy
expect 0 git clone -q "http://127.0.0.1:$port/work.git" copy
expect 0 git -C copy fsck --full --strict
same "the history" "$(git -C copy rev-list --all --objects | sort)" \
	"$(git -C work rev-list --all --objects | sort)"
expect 0 git clone -q "http://127.0.0.1:$port/main.git" keys
expect 0 git -C keys fsck --full --strict
same "a key as a file" "$(<keys/k)" 1
cmp -s keys/big big && passed=$((passed + 1)) || failed=$((failed + 1))
same "commits" "$(git -C keys log --format=%s | head -1)" subject
mkdir -p keys/pushed && echo by-git >keys/pushed/k
git -C keys add -A && git -C keys commit -q -m pushed
expect 0 git -C keys push -q
kill -INT $server && wait $server
server=
expect 0 "$bole" get d.img pushed/k
same "a key that git pushed" "$(<out)" by-git
expect 0 "$bole" fsck d.img
# A setting that cannot be read is an error at the start.
for key in receive.{enable,create,denyDeletes,denyNonFastForwards,denyDeleteCurrent,shallowUpdate,fsckObjects} \
	receive.advertisePushOptions http.getanyfile gc.auto; do
	expect 2 timeout 20 "$bole" serve mem: --http off --git 127.0.0.1:0 --set $key=maybe
	same "what is wrong with $key" "$(grep -c "config: $key must be true or false" err)" 1
done

# Large files: stored by their ids, listed, read, removed, pruned unless something points to them.
head -c 700000 big >large
id=$(sha256sum large | cut -d' ' -f1) other=$(echo other | sha256sum | cut -d' ' -f1)
put() { "$bole" lfs put "d.img#work" "$1" <"$2"; }
echo other >other
expect 0 put "$id" large
expect 0 put "$other" other
expect 2 put "$id" other
expect 2 put nonsense other
expect 2 "$bole" lfs ls
expect 2 "$bole" lfs get "d.img#work"
expect 3 "$bole" lfs ls "d.img#nowhere"
expect 0 "$bole" lfs get "d.img#work" "$id"
cmp -s out large && passed=$((passed + 1)) || failed=$((failed + 1))
expect 3 "$bole" lfs get "d.img#main" "$id"
expect 0 "$bole" --json lfs ls "d.img#work"
same "large files" "$(json 'sorted(o["size"] for o in d)')" "[6, 700000]"
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 700000\n' "$id" >pointer
"$bole" set "d.img#work@pointers" pointer "$(<pointer)
" >out 2>err || { failed=$((failed + 1)); cat err >&2; }
expect 0 "$bole" --json lfs prune "d.img#work"
same "the young stay" "$(json 'd["kept"], d["pruned"]')" "2 0"
expect 0 "$bole" --json lfs prune "d.img#work" --days 0 --dry-run
same "what would go" "$(json 'd["kept"], d["pruned"], d["pruned_bytes"]')" "1 1 6"
expect 0 "$bole" lfs prune "d.img#work" --days 0
expect 3 "$bole" lfs get "d.img#work" "$other"
expect 0 "$bole" lfs get "d.img#work" "$id"
expect 0 "$bole" lfs rm "d.img#work" "$id"
expect 3 "$bole" lfs get "d.img#work" "$id"
expect 0 "$bole" --json lfs ls "d.img#work"
same "it was removed" "$(json '[o["state"] for o in d]')" "['removed']"
expect 0 "$bole" branch "d.img#work" --delete pointers

# Tokens: the file keeps hashes only, and everything else that it said.
printf '# mine\n[http]\n\tlisten = 127.0.0.1:1 ; one' >tokens.conf
chmod 640 tokens.conf
expect 0 "$bole" token create alice --config tokens.conf
alice=$(<out)
expect 0 "$bole" --json token create alice --config tokens.conf
alice2=$(json 'd["token"]') alice2_id=$(json 'd["id"]')
expect 0 "$bole" token create bob --config tokens.conf
expect 2 "$bole" token create 'a b' --config tokens.conf
expect 2 "$bole" token create anonymous
expect 2 "$bole" token list
expect 3 "$bole" token list --config nowhere
expect 0 "$bole" token create carol
same "a setting" "$(sed -n 2p out | cut -d: -f1,2)" "auth.token=carol:sha256"
grep -q -e "$alice" -e "$alice2" tokens.conf && { failed=$((failed + 1)); echo "cli: a token is kept" >&2; }
expect 0 "$bole" token list --config tokens.conf
same "names" "$(cut -d/ -f1 out | tr '\n' ' ')" "alice alice bob "
same "rights of the file" "$(stat -c %a tokens.conf)" 640
expect 0 "$bole" token revoke "alice/$alice2_id" --config tokens.conf
expect 3 "$bole" token revoke "alice/$alice2_id" --config tokens.conf
expect 3 "$bole" token revoke mallory --config tokens.conf
same "the rest stays" "$(head -n 3 tokens.conf)" "$(printf '# mine\n[http]\n\tlisten = 127.0.0.1:1 ; one')"
expect 0 "$bole" token list --config tokens.conf
same "who is left" "$(cut -d/ -f1 out | tr '\n' ' ')" "alice bob "
: >serve.log
"$bole" serve d.img --http 127.0.0.1:0 --git off --config tokens.conf --http 127.0.0.1:0 --push \
	>serve.log 2>&1 &
server=$!
for _ in {1..100}; do grep -q '^http port' serve.log && break; sleep 0.1; done
port=$(sed -n 's/^http port \([0-9]*\).*/\1/p' serve.log)
may() { # token: the status of an advertisement for a push
	python3 -c 'import sys, urllib.request, urllib.error
r = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + sys.argv[2]})
try: print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(r).status)
except urllib.error.HTTPError as e: print(e.code)' \
		"http://127.0.0.1:$port/work.git/info/refs?service=git-receive-pack" "$1"
}
same "a token" "$(may "$alice")" 200
same "a revoked token" "$(may "$alice2")" 401
same "no token" "$(may nonsense)" 401
kill -INT $server && wait $server
server=

# One flipped bit in what is stored is found, and named.
at=$(python3 -c 'd = open("d.img", "rb").read(); b = open("big", "rb").read(64); print(d.find(b))')
same "the large value lies in the image" "$((at > 0))" 1
python3 -c 'import sys
f = open("d.img", "r+b"); f.seek(int(sys.argv[1]) + 9); c = f.read(1)
f.seek(int(sys.argv[1]) + 9); f.write(bytes([c[0] ^ 4]))' "$at"
expect 5 "$bole" scrub d.img
same "damage is counted" "$(sed -n 's/^damaged *//p' out)" 1
expect 5 "$bole" fsck d.img
grep -q 'bole fsck' err && { failed=$((failed + 1)); echo "cli: fsck advises fsck" >&2; }
expect 5 "$bole" get d.img big
expect 0 "$bole" get d.img k
# What is lost is not repaired; and repairing changes nothing else.
expect 5 "$bole" --json fsck d.img --repair
same "nothing could be repaired" "$(json 'd["repaired"]')" 0
expect 0 "$bole" get d.img k
same "a key after the repair" "$(<out)" 1
expect 3 "$bole" fsck nowhere.img --repair
echo "$passed passed, $failed failed"
exit $((failed > 0))
