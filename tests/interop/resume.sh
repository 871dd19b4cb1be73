#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: a clone whose connection is cut again and again goes on where it was, as long as the server
# offers partial clones, and is whole in the end; all that was received is hardly more than once.
# Method: a proxy cuts at random places (SEED), in front of git daemon, git http-backend and Bole;
# after each cut the repository is checked and collected; the bytes that passed are counted.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
top=$PWD
bole=${BOLE:-$top/build/asan/bole}
[[ -x $bole ]] || { echo "resume: $bole is not built" >&2; exit 1; }
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait "${pids[@]}" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_CONFIG_GLOBAL=$dir/config GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
export LC_ALL=C no_proxy='*'
for pair in init.defaultBranch=main http.receivepack=true safe.directory='*' gc.auto=0 \
	uploadpack.allowFilter=true uploadpack.allowAnySHA1InWant=true http.postBuffer=100000000; do
	git config --file config "${pair%%=*}" "${pair#*=}"
done
SEED=${SEED:-$RANDOM}
RANDOM=$SEED
echo "SEED=$SEED"

die() { echo "resume: $* (SEED=$SEED)" >&2; tail -n 5 "$dir"/*.log >&2; exit 1; }
bo() { timeout 60 "$bole" "$@" >bo.log 2>&1; }
objects() { git -C "$1" rev-list --objects --all --no-object-names | sort; }

mkdir srv
port=$((20000 + RANDOM % 20000))
git daemon --reuseaddr --export-all --base-path="$dir/srv" --listen=127.0.0.1 --port=$port >daemon.log 2>&1 &
pids+=($!)
tls=$top/tests/support/tls
python3 "$top/tests/support/http_backend.py" srv $tls/good.pem $tls/other.pem $tls/expired.pem >http.out 2>http.log &
pids+=($!)
"$bole" init own.img --size 256M >/dev/null || die init
"$bole" serve own.img --http 127.0.0.1:0 --git 127.0.0.1:0 --push --set receive.create=true >serve.out 2>serve.log &
pids+=($!)
for _ in {1..200}; do
	grep -qs 'git port [0-9]' serve.out && [[ $(wc -l <http.out) == 4 ]] && break
	sleep 0.1
done
read -r bhttp bgit < <(sed -n 's/^http port \([0-9]*\), git port \([0-9]*\).*/\1 \2/p' serve.out)
[[ -n $bgit ]] || die "the server does not say its ports"
read -r plain <http.out

history() { # seed: for git fast-import; files that change, some of them long
	python3 - "$1" <<'PY'
import random, sys
rnd = random.Random(int(sys.argv[1]))
files = {}
out = sys.stdout.buffer
for i in range(1, 101):
    name = "d%d/f%d" % (rnd.randrange(5), rnd.randrange(12))
    text = files.get(name, b"")
    at = rnd.randrange(len(text) + 1)
    files[name] = text = text[:at] + rnd.randbytes(rnd.choice([90, 900, 9000, 60000])) + text[at:]
    branch = rnd.choice([b"main"] * 5 + [b"side"])
    out.write(b"commit refs/heads/%s\ncommitter A <a@b> %d +0000\ndata 2\nc\n" % (branch, 1700000000 + i))
    out.write(b"M 644 inline %s\ndata %d\n%s\n" % (name.encode(), len(text), text))
PY
}

for server in daemon backend bgit bhttp; do
	format=$([[ $server == backend ]] && echo sha256 || echo sha1)
	src=$server.src
	git init -q --bare --object-format=$format $src
	history $((SEED + RANDOM)) | git -C $src fast-import --quiet || die "fast-import"
	git -C $src tag -a -m t one main
	case $server in
	daemon) scheme=git at=$port ;;
	backend) scheme=http at=$plain ;;
	bgit) scheme=git at=$bgit ;;
	bhttp) scheme=http at=$bhttp ;;
	esac
	if [[ $server == b[gh]* ]]; then
		git -C $src push -q --mirror "http://127.0.0.1:$bhttp/$server.git" >push.log 2>&1 || die push
	else
		git clone -q --mirror $src srv/$server.git
	fi
	rm -f d.img
	"$bole" init d.img --size 256M >/dev/null || die init
	bo clone "$scheme://127.0.0.1:$at/$server.git" 'd.img#whole' || { cat bo.log; die "$server: clone"; }
	full=$(sed -n 's/.* \([0-9]*\) bytes/\1/p' bo.log)
	rm -f proxy.out
	python3 "$top/tests/support/cut_proxy.py" $at $((SEED + at)) $((full / 5)) $((full * 4 / 5)) 4 >proxy.out &
	proxy=$!
	pids+=($proxy)
	until [[ -s proxy.out ]]; do sleep 0.1; done
	url=$scheme://127.0.0.1:$(head -n 1 proxy.out)/$server.git
	cuts=0
	for _ in {1..20}; do
		if "$bole" repo d.img 2>/dev/null | grep -q '^part\b'; then
			bo fetch 'd.img#part' "$url" '+refs/*:refs/*' && break
		else
			bo clone "$url" 'd.img#part' && break
		fi
		grep -q 'are kept' bo.log || { cat bo.log; die "$server: another failure"; }
		cuts=$((cuts + 1))
		bo gc d.img || die "$server: gc after a cut"
		bo fsck d.img || { cat bo.log; die "$server: fsck after a cut"; }
		grep -q '^promised  *[1-9]' bo.log || die "$server: nothing is missing after a cut"
	done
	((cuts > 0)) || die "$server: nothing was cut"
	total=$(tail -n 1 proxy.out | cut -d' ' -f2)
	echo "$server: $cuts cuts, $total bytes, the clone has $full: $((total * 100 / full)) %"
	((total * 2 < full * 3)) || die "$server: $total bytes were received, a clone has $full"
	kill $proxy
	bo fsck d.img || { cat bo.log; die "$server: fsck"; }
	grep -q '^promised  *0' bo.log || die "$server: something is missing"
	rm -rf out
	bo export 'd.img#part' out || die "$server: export"
	git -C out fsck --full --strict >fsck.log 2>&1 || die "$server: git fsck"
	cmp -s <(objects $src) <(objects out) || die "$server: other objects"
	! grep -q promisor out/config || die "$server: still partial"
done
# Where the server has none, nothing of a part is kept.
git -C srv/daemon.git config uploadpack.allowFilter false
python3 "$top/tests/support/cut_proxy.py" $port 1 $((full / 2)) $((full / 2 + 1)) 1 >proxy.out &
pids+=($!)
until [[ -s proxy.out && $(wc -l <proxy.out) == 1 ]]; do sleep 0.1; done
! bo clone "git://127.0.0.1:$(head -n 1 proxy.out)/daemon.git" 'd.img#none' || die "nothing was cut at last"
! "$bole" repo d.img | grep -q '^none' || die "a part of a clone stays behind"
echo "resume: ok"
