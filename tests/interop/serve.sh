#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: `bole serve` is a Git server that stock git and rude peers can use, over HTTP and git://.
# Method: push and clone in every protocol version with small and large, chunked and packed bodies;
# hold slow, silent and vanishing peers against it; look at refusals by raw sockets; restart it.
# BOLE names the program, STORE what is served: mem:, or a file, which is made anew and on which the
# server is restarted; a host serves both, one after the other, unless it is given.
# Also: sha256 image-long
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
if [[ -z ${STORE:-} && ${WHERE:-host} == host ]]; then
	for STORE in mem: disk.img; do STORE=$STORE "$0" || exit 1; done
	exit 0
fi
suite

# -- a history with small and large objects --
git init -q src
for i in {1..30}; do
	mkdir -p src/d$((i % 4))
	seq $((RANDOM % 500)) >>src/d$((i % 4))/f$((RANDOM % 10))
	git -C src add -A
	git -C src commit -qm "commit $i"
done
git -C src tag -a v1 -m one HEAD~3
git -C src branch topic HEAD~7

store=${STORE:-disk.img}
[[ $store == mem: ]] || passes "$bole" init "$store" --size 128M
start receive.enable=true receive.create=true

# -- push creates; every version clones, over both transports --
limit git -C src push -q "$(url http one)" main topic v1 || die "push over http"
limit git -C src push -q "$(url git two/b)" main topic v1 || die "push over git"
for version in 0 1 2; do
	for transport in http git; do
		for name in one two/b; do
			rm -rf copy
			limit git -c protocol.version=$version clone -q --mirror "$(url $transport $name)" copy ||
				die "clone v$version $transport $name"
			same src copy "clone v$version $transport $name"
		done
	done
done
limit git clone -q "$(url http one)" work || die "clone with a work tree"
[[ $(git -C work rev-parse HEAD) == "$(git -C src rev-parse main)" ]] || die "HEAD is not main"

# -- a client of the other format creates a repository of its own; git before 2.45 can where the
# server's default is SHA-256 --
if [[ $format == sha256 ]]; then
	git init -q --object-format=sha1 sha1
	git -C sha1 commit -q --allow-empty -m other
	for transport in http git; do
		limit git -C sha1 push -q "$(url $transport sha1$transport)" main || die "push of SHA-1"
		rm -rf copy
		limit git clone -q --mirror "$(url $transport sha1$transport)" copy || die "clone of SHA-1"
		same sha1 copy "SHA-1 where SHA-256 is the default"
	done
fi

# -- bodies: > 1 MiB goes chunked, requests > 1 KiB go packed --
head -c 3000000 /dev/urandom >work/large
git -C work add -A && git -C work commit -qm large
limit git -C work push -q origin main || die "push of 3 MB, chunked"
limit git -C work -c http.postBuffer=65536 push -q origin main:refs/heads/again || die "push again"
for i in {1..60}; do git -C work commit -q --allow-empty -m "e$i"; done
limit git -C work fetch -q origin || die "fetch with many haves"
git init -q other
for i in {1..60}; do git -C other commit -q --allow-empty -m "o$i"; done
GIT_TRACE_CURL=$dir/trace limit git -C other -c protocol.version=0 fetch -q "$(url http two/b)" main ||
	die "fetch with haves that are unknown here"
grep -qi 'content-encoding: gzip' trace || die "git did not pack its request: the test lost its point"
limit git -C work push -q origin main || die "push of 60 commits"
limit git -C work push -q --force origin main~5:main || die "forced push"
limit git -C work push -q origin :again || die "delete"
refused "unable to find remote ref\|couldn't find remote ref" git -C work fetch origin again
cat >expect.py <<'PY'
import http.client, sys
# Expect: 100-continue is answered before the body is sent, and only where it will be read.
def ask(path, kind):
    c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    body = b"0014command=ls-refs\n" + sys.argv[2].encode() + b"0000"
    c.putrequest("POST", path)
    for k, v in (("Content-Type", "application/x-git-%s-request" % kind), ("Expect", "100-continue"),
                 ("Git-Protocol", "version=2"), ("Content-Length", str(len(body)))):
        c.putheader(k, v)
    c.endheaders()
    first = c.sock.recv(25)
    if first != b"HTTP/1.1 100 Continue\r\n\r\n":
        return first
    c.send(body)
    r = c.getresponse()
    return r.status, b"refs/heads/main" in r.read()
assert ask("/one.git/git-upload-pack", "upload-pack") == (200, True)
assert ask("/none.git/git-upload-pack", "upload-pack").startswith(b"HTTP/1.1 404")
PY
object_format=$(printf '%04xobject-format=%s' $((18 + ${#format})) "$format")
limit python3 expect.py "$http" "$object_format" || die "Expect: 100-continue"

# -- rude peers --
cat >rude.py <<'PY'
import random, socket, subprocess, sys, time
http, git, source = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def call(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)
def healthy():
    s = call(http)
    s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    ok = s.recv(100).startswith(b"HTTP/1.1 200")
    s.close()
    return ok
# Slow and silent ones first: they stay open while everything else happens.
slow = [call(http) for _ in range(20)] + [call(git) for _ in range(20)]
for i, s in enumerate(slow):
    s.sendall(b"GET / HT"[: i % 8] if i < 20 else b"0030"[: i % 4])
start = time.time()
assert healthy() and time.time() - start < 2, "slow peers hold others up"
# Somebody who asks for a clone and never reads it.
deaf = call(git)
deaf.sendall(b"0020git-upload-pack /one.git\0\0\0\0")
# Garbage of all kinds.
random.seed(5)
for i in range(60):
    s = call(http if i % 2 else git)
    kind = i % 6
    if kind < 2:
        data = random.randbytes(random.randrange(1, 5000))
    elif kind < 4:
        data = b"POST /one.git/git-receive-pack HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-git-" \
            b"receive-pack-request\r\nTransfer-Encoding: chunked\r\n\r\n" + random.randbytes(50)
    else:
        data = b"0028git-upload-pack /one.git\0host=x\0\0\0\0\0" + random.randbytes(200)
    try:
        s.sendall(data)
        if i % 3:
            s.settimeout(0.05)
            s.recv(1000)
    except OSError:
        pass
    s.close()
# A push that breaks off at many places: nothing of it may show.
pack = subprocess.run(["git", "-C", source, "pack-objects", "--revs", "--stdout", "-q"], input=b"main\n",
                      stdout=subprocess.PIPE, check=True).stdout
tip = subprocess.run(["git", "-C", source, "rev-parse", "main"], stdout=subprocess.PIPE,
                     check=True).stdout.strip()
line = b"0" * len(tip) + b" " + tip + b" refs/heads/broken\0report-status"
if len(tip) == 64:
    line += b" object-format=sha256"
push = b"%04x" % (len(line) + 4) + line + b"0000" + pack
for i in range(1, 12):
    cut = len(push) * i // 12
    s = call(http)
    s.sendall(b"POST /one.git/git-receive-pack HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-git-receive-"
              b"pack-request\r\nContent-Length: %d\r\n\r\n" % len(push) + push[:cut])
    s.close()
    s = call(git)
    hello = b"git-receive-pack /one.git\0host=h\0"
    s.sendall(b"%04x" % (len(hello) + 4) + hello + push[:cut])
    if i % 2:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    s.close()
assert healthy(), "not healthy afterwards"
for s in slow:
    s.close()
deaf.close()
PY
limit python3 rude.py "$http" "$git" "$dir/src" || die "rude peers"
sleep 0.5
limit git ls-remote "$(url http one)" >refs.log || die "ls-remote"
grep -q broken refs.log && die "a broken push moved a reference"
rm -rf copy; limit git clone -q --mirror "$(url git one)" copy && git -C copy fsck --full --strict 2>fsck.log ||
	die "clone after rude peers"

# -- many at once --
for i in {1..24}; do
	(timeout 60 git clone -q --mirror "$(url "$([[ $((i % 2)) == 0 ]] && echo http || echo git)" two/b)" "many$i") &
	jobs[i]=$!
done
for i in {1..24}; do wait "${jobs[i]}" || die "clone $i of 24 at once"; done
same src many7 "one of 24 clones at once"

# -- a push while a slow one is stuck --
stop
if [[ $store != mem: ]]; then
	start
	rm -rf again; limit git clone -q --mirror "$(url http one)" again || die "clone after a restart"
	cmp -s <(objects copy) <(objects again) || die "a restart lost objects"
	refused "not enabled" git -C src push "$(url http one)" main:refs/heads/no
	stop
	limit git clone -q --mirror "ext::$bole %s $dir/$store#two/b" piped ||
		die "clone through a pipe"
	same src piped "clone through a pipe"
	git -C src branch piped main~1
	limit git -C src push -q "ext::$bole %s $dir/$store#two/b" piped ||
		die "push through a pipe"
	start
	limit git ls-remote "$(url git two/b)" >refs.log && grep -q refs/heads/piped refs.log ||
		die "the push through a pipe is not there"
	stop
fi

# -- read-only is the default; creation is asked for --
store=mem:
start
refused "not found" git -C src push "$(url http x)" main
refused "no such repository" git -C src push "$(url git x)" main
refused "not found" git clone "$(url http x)" no
stop
start receive.enable=true
refused "not found" git -C src push "$(url http x)" main
stop
start receive.enable=true receive.create=true repo.closed.receive.create=false \
	receive.denyNonFastForwards=true receive.denyDeletes=true
refused "not found" git -C src push "$(url http closed)" main
limit git -C src push -q "$(url http open)" main topic || die "push"
refused "rejected" git -C src push --force "$(url http open)" main~2:main
refused "rejected" git -C src push "$(url git open)" :topic
[[ $(limit git ls-remote "$(url http open)" refs/heads/main | cut -f1) == "$(git -C src rev-parse main)" ]] ||
	die "main moved"
stop
echo "serve: all right on ${STORE:-disk.img}"
