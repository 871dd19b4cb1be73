#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: many clients on all event loops at once, and those that leave, stay too long or come when
# there is no room, or when the server stops. Method: clients of git that push, fetch and delete while
# garbage is collected, against a list of what was acknowledged; raw sockets for everything rude.
# BOLE names the program. SEED, ROUNDS (12) of each of 6 clients, LOOPS (4), IDLE (600) connections.
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite
store=disk.img rounds=${ROUNDS:-12}
export OBJECT_FORMAT=$format # for the scripts below
serve() { start receive.enable=true receive.create=true node.loops="${LOOPS:-4}" "$@"; }
at() { url "$( (($1 % 2)) && echo git || echo http)" main; } # number: an address of the repository
# The same program with few descriptors.
printf '#!/bin/bash\nulimit -n 100\nexec %q "$@"\n' "$bole" >few
chmod +x few

git init -q src
for i in {1..40}; do
	seq $((i * 7)) >src/f$((i % 5)) && git -C src add -A && git -C src commit -qm "$i"
done
head -c 12000000 /dev/urandom >src/large && git -C src add -A && git -C src commit -qm large
passes "$bole" init "$store" --size 512M

# -- everybody at once, with collections --
serve gc.delay=1 gc.share=0 gc.period=1
[[ $(ls /proc/$server/task | wc -l) -ge ${LOOPS:-4} ]] || die "fewer threads than loops"
git -C src push -q "$(at 0)" main || die "push"
client() { # number
	local n=$1 last='' i=0
	RANDOM=$((SEED * 100 + n))
	git clone -q --depth 3 "$(at "$n")" w"$n" || return 1
	# A machine may be so quick that all is over before the first collection.
	until [[ $((i += 1)) -gt $rounds ]] && { grep -q 'gc: ' server.log || [[ $i -gt $((rounds * 50)) ]]; }; do
		case $((RANDOM % 5)) in
		0 | 1)
			echo "$n $i" >w"$n"/own"$n"
			git -C w"$n" add -A && git -C w"$n" commit -qm "$n $i"
			git -C w"$n" push -q --force "$(at $((n + i)))" HEAD:refs/heads/c"$n" || return 1
			last=$(git -C w"$n" rev-parse HEAD)
			;;
		2)
			[[ -z $last ]] || git -C w"$n" push -q "$(at $((n + i)))" :refs/heads/c"$n" || return 1
			last=''
			;;
		3) git -c protocol.version=$((i % 3)) -C w"$n" fetch -q "$(at $((n + i)))" main || return 1 ;;
		4)
			# What was acknowledged shows, in every version of the protocol.
			[[ $(git -c protocol.version=$((i % 3)) ls-remote "$(at $((n + i)))" refs/heads/c"$n" |
				cut -f1) == "$last" ]] || { echo "client $n: c$n is not $last" >&2; return 1; }
			;;
		esac
	done
	echo "$last" >last"$n"
}
for n in {1..6}; do client "$n" 2>client"$n".log & jobs[n]=$!; done
for n in {1..6}; do wait "${jobs[n]}" || { cat client"$n".log >&2; die "client $n"; }; done
git clone -q --mirror "$(at 0)" all || die "clone of all"
git -C all fsck --full --strict 2>fsck.log || { cat fsck.log >&2; die "fsck"; }
for n in {1..6}; do
	[[ $(git -C all rev-parse -q --verify refs/heads/c"$n") == "$(cat last"$n")" ]] || die "c$n at the end"
done
grep -q 'gc: ' server.log || die "nothing was collected: the test lost its point"

# -- who leaves: work ends within a tenth of a second; sanitizers and busy machines get some more --
cat >leave.py <<'PY'
import os, random, re, socket, struct, subprocess, sys, time
port, tries = int(sys.argv[1]), int(sys.argv[2])
tip = subprocess.check_output(["git", "-C", "src", "rev-parse", "main"]).strip()
form = b"object-format=" + os.environ["OBJECT_FORMAT"].encode()
pack = subprocess.run(["git", "-C", "src", "pack-objects", "--revs", "--stdout", "-q"], input=b"main\n",
                      stdout=subprocess.PIPE, check=True).stdout
random.seed(int(sys.argv[3]))
def pkt(data):
    return b"%04x" % (len(data) + 4) + data
def call(service, more=b""):
    s = socket.create_connection(("127.0.0.1", port), timeout=20)
    s.sendall(pkt(b"git-" + service + b" /main\0host=x\0" + more))
    return s
def fetch(*args):
    s = call(b"upload-pack", b"\0version=2\0")
    s.sendall(pkt(b"command=fetch") + pkt(form) + b"0001" + b"".join(map(pkt, args)) + pkt(b"want " + tip) +
              pkt(b"done") + b"0000")
    return s
def push():
    s = call(b"receive-pack")
    while s.recv(65536)[-4:] != b"0000":
        pass
    s.sendall(pkt(b"0" * len(tip) + b" " + tip + b" refs/heads/gone\0report-status " + form) + b"0000")
    s.sendall(pack[:random.randrange(len(pack))])
    return s
def archive():
    s = call(b"upload-archive")
    s.sendall(pkt(b"argument --format=tgz") + pkt(b"argument HEAD") + b"0000")
    return s
def breath(): # what a small request takes now, beside all else that this machine does
    took = []
    for _ in range(5):
        start = time.time()
        s = call(b"upload-pack", b"\0version=2\0")
        s.recv(14)
        s.close()
        took.append(time.time() - start)
    return sorted(took)[2]
for name, make, word in (("clone", lambda: fetch(b"ofs-delta"), b"upload-pack"), ("push", push, b"receive-pack"),
                         ("filter", lambda: fetch(b"deepen 30", b"filter tree:2"), b"upload-pack"),
                         ("archive", archive, b"upload-archive")):
    took = []
    for _ in range(tries):
        at = os.path.getsize("server.log")
        s = make()
        time.sleep(random.random() * 0.05)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        start = time.time()
        s.close()
        while True:
            with open("server.log", "rb") as log:
                log.seek(at)
                if re.search(word + rb" main v.*\n", log.read()):
                    break
            assert time.time() - start < 10, name + " goes on after its client has left"
            time.sleep(0.002)
        took.append(time.time() - start)
    took.sort()
    usual = breath()
    assert took[len(took) // 2] < 0.1 + usual * 4 and took[-1] < 1 + usual * 10, (name, usual, took)
PY
python3 leave.py "$git" 9 "$SEED" || die "work for who has left"
[[ -z $(git ls-remote "$(at 1)" refs/heads/gone) ]] || die "a push that broke off shows"
stop

# -- who only waits; and more than there are descriptors for --
serve node.headTimeout=60
cat >idle.py <<'PY'
import socket, sys, time
git, count = int(sys.argv[1]), int(sys.argv[2])
held = [socket.create_connection(("127.0.0.1", git), timeout=20) for _ in range(count)]
start = time.time()
s = socket.create_connection(("127.0.0.1", git), timeout=20)
hello = b"git-upload-pack /main\0host=x\0\0version=2\0"
s.sendall(b"%04x" % (len(hello) + 4) + hello)
assert s.recv(14) == b"000eversion 2\n" and time.time() - start < 5, "no answer beside those that wait"
PY
python3 idle.py "$git" "${IDLE:-600}" || die "idle connections"
stop
bole=$dir/few serve node.headTimeout=60
grep -q 'node.connections' server.log && die "a default was complained about"
python3 idle.py "$git" 200 || die "more connections than descriptors"
stop
bole=$dir/few serve node.headTimeout=60 node.connections=500
grep -q 'warning: node.connections is 500' server.log || die "nothing says that 500 do not fit"
stop

# -- more than one address, or one repository, may have at once --
cat >caps.py <<'PY'
import http.client, os, socket, subprocess, sys, time
web, git, cap = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
tip = subprocess.check_output(["git", "-C", "src", "rev-parse", "main"]).strip()
form = b"object-format=" + os.environ["OBJECT_FORMAT"].encode()
def pkt(data):
    return b"%04x" % (len(data) + 4) + data
def call():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.settimeout(20)
    s.connect(("127.0.0.1", git))
    s.sendall(pkt(b"git-upload-pack /main\0host=x\0\0version=2\0") + pkt(b"command=fetch") + pkt(form) + b"0001" +
              pkt(b"ofs-delta") + pkt(b"want " + tip) + pkt(b"done") + b"0000")
    return s, s.recv(14)
def ask():
    c = http.client.HTTPConnection("127.0.0.1", web, timeout=20)
    c.request("GET", "/main.git/info/refs?service=git-upload-pack")
    r = c.getresponse()
    r.read()
    return r.status, r.getheader("Retry-After")
held = [call() for _ in range(cap)]
assert all(hello == b"000eversion 2\n" for _, hello in held), held
time.sleep(0.2)
status, wait = ask()
assert status == 429 and int(wait) > 0, (status, wait)
s, hello = call()
assert hello[4:8] == b"ERR ", hello
held.pop()[0].close()
end = time.time() + 10
while ask()[0] != 200:
    assert time.time() < end, "who left still counts"
    time.sleep(0.1)
PY
for cap in address repository; do
	serve limit.${cap}AtOnce=3
	python3 caps.py "$http" "$git" 3 || die "a cap for one $cap"
	crash
done

# -- the server stops --
cat >stop.py <<'PY'
import os, signal, socket, subprocess, sys, time
port, pid, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
tip = subprocess.check_output(["git", "-C", "src", "rev-parse", "main"]).strip()
form = b"object-format=" + os.environ["OBJECT_FORMAT"].encode()
def pkt(data):
    return b"%04x" % (len(data) + 4) + data
def gone():
    try:
        return open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
s.settimeout(30)
s.connect(("127.0.0.1", port))
if kind == "push":
    s.sendall(pkt(b"git-receive-pack /main\0host=x\0"))
    while s.recv(65536)[-4:] != b"0000":
        pass
    s.sendall(pkt(b"0" * len(tip) + b" " + tip + b" refs/heads/half\0report-status " + form) +
              b"0000PACK\0\0\0\2\0\0\0\5")
else:
    s.sendall(pkt(b"git-upload-pack /main\0host=x\0\0version=2\0") + pkt(b"command=fetch") + pkt(form) + b"0001" +
              pkt(b"ofs-delta") + pkt(b"want " + tip) + pkt(b"done") + b"0000")
    data = s.recv(1000)
time.sleep(0.3)
start = time.time()
os.kill(pid, signal.SIGTERM)
if kind == "slow":
    # It is served to its end.
    time.sleep(1)
    assert not gone(), "a request in flight was not waited for"
    tail, total = b"", 0
    while True:
        data = s.recv(65536)
        if not data:
            break
        total += len(data)
        tail = (tail + data)[-4:]
    assert total > 11000000 and tail == b"0000", (total, tail)
while not gone():
    assert time.time() - start < 8, "the server does not stop"
    time.sleep(0.02)
PY
for kind in slow deaf push; do
	timeout=1; [[ $kind != slow ]] || timeout=20
	serve node.stopTimeout=$timeout
	python3 stop.py "$git" $server $kind || die "stopping with a $kind client"
	wait $server || die "the server's exit code is $? after a $kind client"
	server=
done
# -- memory for few: everybody is served, one after another --
python3 - <<'PY' | git -C src fast-import --quiet || die "fast-import"
for n in range(1, 3001):
    print("commit refs/heads/long\nmark :%d\ncommitter A <a@b> %d +0000\ndata 1\nc" % (n, 1700000000 + n))
    if n > 1:
        print("from :%d" % (n - 1))
    for k in range(3):
        print("M 100644 inline d%d/e%d/f%d\ndata %d\n%s" % (n % 7, n % 11, k, len(str(n * k)) , n * k))
PY
serve
git -C src push -q "$(at 0)" long || die "push of a long history"
stop
serve node.memory=12m
many() { # clones at once; prints how many failed
	local pids=() failed=0 p i
	for i in $(seq "$1"); do
		git clone -q --bare --filter=blob:limit=1g --single-branch -b long "$(at "$i")" "m$i" 2>>many.log &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p" || failed=$((failed + 1)); done
	rm -rf m[0-9]*
	echo $failed
}
failed=$(many 12)
[[ $failed == 0 ]] || { cat many.log >&2; die "$failed of 12 clones found no memory"; }
stop
"$bole" fsck "$store" >fsck.out 2>&1 || { cat fsck.out >&2; die "fsck of the volume"; }
serve
[[ $(git ls-remote "$(at 1)" refs/heads/main | cut -f1) == "$(git -C src rev-parse main)" ]] || die "main"
[[ -z $(git ls-remote "$(at 1)" refs/heads/half) ]] || die "half a push shows"
stop
echo "crowd: all right"
