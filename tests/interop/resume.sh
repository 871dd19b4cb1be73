#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: a clone whose connection is cut again and again goes on where it was, as long as the server
# offers partial clones, and is whole in the end; all that was received is hardly more than once.
# Method: a proxy cuts at random places (SEED), in front of git daemon, git http-backend and Bole;
# after each cut the repository is checked and collected; the bytes that passed are counted.
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
export GIT_DEFAULT_HASH=sha1 # where none is named; both have their turn
suite
configure http.receivepack=true safe.directory='*' uploadpack.allowFilter=true uploadpack.allowAnySHA1InWant=true \
	http.postBuffer=100000000

bo() { timeout 60 "$bole" "$@" >bo.log 2>&1; }

git_servers
store=own.img
passes "$bole" init $store --size 256M
start receive.enable=true receive.create=true

long_files() { # seed: for git fast-import; files that change, some of them long
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

for peer in daemon backend bgit bhttp; do
	format=$([[ $peer == backend ]] && echo sha256 || echo sha1)
	src=$peer.src
	git init -q --bare --object-format=$format $src
	long_files $((SEED + RANDOM)) | git -C $src fast-import --quiet || die "fast-import"
	git -C $src tag -a -m t one main
	case $peer in
	daemon) scheme=git at=$daemon ;;
	backend) scheme=http at=$backend ;;
	bgit) scheme=git at=$git ;;
	bhttp) scheme=http at=$http ;;
	esac
	if [[ $peer == b[gh]* ]]; then
		git -C $src push -q --mirror "http://127.0.0.1:$http/$peer.git" >push.log 2>&1 || die push
	else
		git clone -q --mirror $src srv/$peer.git
	fi
	rm -f d.img
	"$bole" init d.img --size 256M >/dev/null || die init
	bo clone "$scheme://127.0.0.1:$at/$peer.git" 'd.img#whole' || { cat bo.log; die "$peer: clone"; }
	full=$(sed -n 's/.* \([0-9]*\) bytes/\1/p' bo.log)
	rm -f proxy.out
	python3 "$top/tests/support/cut_proxy.py" $at $((SEED + at)) $((full / 5)) $((full * 4 / 5)) 4 >proxy.out &
	proxy=$!
	pids+=($proxy)
	until [[ -s proxy.out ]]; do sleep 0.1; done
	url=$scheme://127.0.0.1:$(head -n 1 proxy.out)/$peer.git
	cuts=0
	for _ in {1..20}; do
		if "$bole" repo d.img 2>/dev/null | grep -q '^part\b'; then
			bo fetch 'd.img#part' "$url" '+refs/*:refs/*' && break
		else
			bo clone "$url" 'd.img#part' && break
		fi
		grep -q 'are kept' bo.log || { cat bo.log; die "$peer: another failure"; }
		cuts=$((cuts + 1))
		bo gc d.img || die "$peer: gc after a cut"
		bo fsck d.img || { cat bo.log; die "$peer: fsck after a cut"; }
		grep -q '^promised  *[1-9]' bo.log || die "$peer: nothing is missing after a cut"
	done
	((cuts > 0)) || die "$peer: nothing was cut"
	total=$(tail -n 1 proxy.out | cut -d' ' -f2)
	echo "$peer: $cuts cuts, $total bytes, the clone has $full: $((total * 100 / full)) %"
	((total * 2 < full * 3)) || die "$peer: $total bytes were received, a clone has $full"
	kill $proxy
	bo fsck d.img || { cat bo.log; die "$peer: fsck"; }
	grep -q '^promised  *0' bo.log || die "$peer: something is missing"
	rm -rf out
	bo export 'd.img#part' out || die "$peer: export"
	git -C out fsck --full --strict >fsck.log 2>&1 || die "$peer: git fsck"
	cmp -s <(objects $src) <(objects out) || die "$peer: other objects"
	! grep -q promisor out/config || die "$peer: still partial"
done
# Where the server has none, nothing of a part is kept.
git -C srv/daemon.git config uploadpack.allowFilter false
python3 "$top/tests/support/cut_proxy.py" $daemon 1 $((full / 2)) $((full / 2 + 1)) 1 >proxy.out &
pids+=($!)
until [[ -s proxy.out && $(wc -l <proxy.out) == 1 ]]; do sleep 0.1; done
! bo clone "git://127.0.0.1:$(head -n 1 proxy.out)/daemon.git" 'd.img#none' || die "nothing was cut at last"
! "$bole" repo d.img | grep -q '^none' || die "a part of a clone stays behind"
stop
echo "resume: ok"
