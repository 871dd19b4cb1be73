# SPDX-License-Identifier: ISC
# The attacker of tests/interop/hostile.sh and tests/boot/hostile.sh: talks to a running node over raw
# sockets. Two repositories are there: `one`, of which the attacker is a client, and `two`, whose
# secrets it knows the ids of. After every attack the references are the same, others are served at
# once, and the process has not grown beyond its budget.
#   hostile.py HTTP-PORT GIT-PORT SECRETS-OF-TWO [--pid PID --rss MIB] [--small] [--wait SECONDS]
# SECRETS: commit,tree,blob,tag as hex ids, comma separated. SEED repeats a run.
import argparse
import gzip
import hashlib
import os
import random
import re
import socket
import struct
import sys
import threading
import time
import zlib

args = argparse.ArgumentParser()
args.add_argument("http", type=int)
args.add_argument("git", type=int)
args.add_argument("secrets")
args.add_argument("--pid", type=int)
args.add_argument("--rss", type=int, default=400)
args.add_argument("--small", action="store_true")
args.add_argument("--wait", type=float, default=1.0)
args = args.parse_args()
seed = int(os.environ.get("SEED", "0")) or int.from_bytes(os.urandom(4), "big")
rng = random.Random(seed)
# The format of the repositories, by its length and the capability that every request then needs.
FORMAT = os.environ.get("GIT_DEFAULT_HASH") or "sha1"
digest = getattr(hashlib, FORMAT)
HEX = digest().digest_size * 2
ID = b"[0-9a-f]{%d}" % HEX
NULL = "0" * HEX
OF_FORMAT = "" if FORMAT == "sha1" else " object-format=" + FORMAT
SELF = "refs/heads/evil"
MIB = 1 << 20
peak = 0


def fail(why):
    sys.exit("hostile: %s (SEED=%d)" % (why, seed))


# -- the two transports, as rudely as needed --


def call(port, timeout=30):
    # The emulator's forwarder has a short backlog and resets what comes in faster.
    for _ in range(20):
        try:
            s = socket.create_connection(("127.0.0.1", port), timeout=timeout)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return s
        except (ConnectionResetError, ConnectionRefusedError):
            time.sleep(0.05)
    fail("nobody listens on port %d any more" % port)


QUICK = 0.05  # seconds of silence that end what has no end of its own
REFUSAL = re.compile(rb"^....ERR |0000....ERR |\x01....unpack |0000....\x03", re.S)


def drain(s, patience=30, heard=b""):
    """What the peer still says. After so many seconds of silence the attacker ends its side, which
    the node may take for a hang-up: a request that deserves an answer waits for it. After a refusal
    the node reads on for a while, so that its words are not lost in a reset."""
    got, ended = bytearray(heard), False
    try:
        while True:
            s.settimeout(30 if ended else QUICK if REFUSAL.search(got) else patience)
            try:
                data = s.recv(1 << 16)
            except TimeoutError:
                if ended or (patience >= 30 and not REFUSAL.search(got)):
                    fail("no end of the answer: %r" % bytes(got[-200:]))
                s.shutdown(socket.SHUT_WR)
                ended = True
                continue
            if not data:
                return bytes(got)
            got += data
    except OSError:
        return bytes(got)
    finally:
        s.close()


def send(s, data):
    """Sends while it listens; a peer that refuses may stop reading long before the end."""
    got = bytearray()
    view = memoryview(data)
    s.setblocking(False)
    end = time.time() + 40
    import select

    while len(view):
        if time.time() > end:
            fail("the peer neither reads nor closes")
        r, w, _ = select.select([s], [s], [], 5)
        try:
            if r:
                piece = s.recv(1 << 16)
                if not piece:
                    break
                got += piece
            if w:
                view = view[s.send(view[: 1 << 18]) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            break
    s.settimeout(30)
    return bytes(got)


def talk(port, data, patience=30):
    s = call(port)
    return drain(s, patience, send(s, data))


def pkt(text):
    if isinstance(text, str):
        text = text.encode()
    return b"%04x" % (len(text) + 4) + text


def post_head(service, repo="one", extra="", length=None):
    head = "POST /%s.git/git-%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/x-git-%s-request\r\n" % (
        repo,
        service,
        service,
    )
    if length is not None:
        head += "Content-Length: %d\r\n" % length
    return (head + extra + "\r\n").encode()


def post(service, body, extra="", patience=30):
    return talk(args.http, post_head(service, "one", extra, len(body)) + body, patience)


def git(service, body, extra="", patience=30):
    return talk(args.git, pkt("git-%s /one.git\0host=h\0%s" % (service, extra)) + body, patience)


def body_of(answer):
    """The payload of an HTTP answer, without chunks; what is no HTTP stays."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return body
    out = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        n = int(size or b"0", 16)
        if n == 0:
            break
        out += body[:n]
        body = body[n + 2 :]
    return out


def advertised(repo):
    return body_of(
        talk(
            args.http,
            (
                "GET /%s.git/info/refs?service=git-receive-pack HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % repo
            ).encode(),
        )
    )


# -- packs --


def entry_head(kind, size):
    byte = kind << 4 | size & 15
    size >>= 4
    out = bytearray()
    while size:
        out.append(byte | 128)
        byte = size & 127
        size >>= 7
    out.append(byte)
    return bytes(out)


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def ofs(n):
    out = [n & 127]
    n >>= 7
    while n:
        n -= 1
        out.insert(0, n & 127 | 128)
        n >>= 7
    return bytes(out)


def entry(kind, data, size=None, base=b"", level=6):
    return entry_head(kind, len(data) if size is None else size) + base + zlib.compress(data, level)


def pack(entries, count=None, version=2, magic=b"PACK", trailer=None):
    body = magic + struct.pack(">II", version, len(entries) if count is None else count) + b"".join(entries)
    return body + (digest(body).digest() if trailer is None else trailer)


def oid(kind, data):
    return digest(b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


def copies(base_len, times):
    """A delta that copies its 64 KiB aligned base `times` times."""
    op = b"\x80"  # offset 0, size 0x10000
    return varint(base_len) + varint(base_len * times) + b"".join(
        b"".join(
            bytes([0x80 | bits]) + tail
            for at in range(0, base_len, 65536)
            for bits, tail in [offset_of(at)]
        )
        for _ in range(times)
    ) if base_len > 65536 else varint(base_len) + varint(base_len * times) + op * times


def offset_of(at):
    bits, tail = 0, b""
    for i in range(4):
        byte = at >> (8 * i) & 255
        if byte:
            bits |= 1 << i
            tail += bytes([byte])
    return bits, tail


def delta_bomb():
    out, length = [entry(3, bytes(65536))], 65536
    for _ in range(4):
        at = len(out[-1])
        delta = copies(length, 16)
        length *= 16
        out.append(entry(6, delta, base=ofs(at)))
    return pack(out)


def zeros_of(mib):
    """Raw deflate of so many MiB of zeros: one piece that stands alone, over and over."""
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (c.compress(bytes(MIB)) + c.flush(zlib.Z_FULL_FLUSH)) * mib


def zlib_bomb(mib, pieces):
    """Blobs of a number and zeros, with the checksum that the whole would have."""
    out, zeros = [], zeros_of(mib // pieces)
    for i in range(pieces):
        start = struct.pack(">I", i)
        c = zlib.compressobj(9, zlib.DEFLATED, -15)
        low, high = zlib.adler32(start) & 0xFFFF, zlib.adler32(start) >> 16
        high = (high + low * (mib // pieces) * MIB) % 65521
        data = b"\x78\xda" + c.compress(start) + c.flush(zlib.Z_FULL_FLUSH) + zeros + b"\3\0"
        out.append(entry_head(3, mib // pieces * MIB + 4) + data + struct.pack(">HH", high, low))
    return pack(out)


def chain(count):
    """A chain of offset deltas, each one the copy of the one before plus a byte of its own."""
    out = [entry(3, bytes(100))]
    for i in range(count):
        delta = varint(100) + varint(100) + b"\x90\x60" + b"\x04" + struct.pack(">I", i)
        out.append(entry(6, delta, base=ofs(len(out[-1]))))
    return pack(out)


GOOD = [entry(3, b"good")]


def packs():
    blob = entry(3, b"x" * 200)
    whole = pack([blob] * 1 + GOOD)
    ref = lambda hexid, delta: entry(7, delta, base=bytes.fromhex(hexid))
    small = varint(200) + varint(4) + b"\x90\x04"
    yield "no pack at all", b"", None
    yield "a wrong magic", pack(GOOD, magic=b"JUNK"), "unpack "
    yield "version 0", pack(GOOD, version=0), "unpack "
    yield "version 4", pack(GOOD, version=4), "unpack "
    yield "a count of 2^32-1", pack(GOOD, count=0xFFFFFFFF), "unpack "
    yield "a count of 10 million", pack(GOOD, count=9999999), None
    yield "a count too high", pack(GOOD, count=2), None
    yield "a count too low", pack(GOOD * 2, count=1), "unpack "
    yield "a wrong trailer", pack(GOOD, trailer=bytes(HEX // 2)), "unpack "
    yield "no trailer", pack(GOOD, trailer=b""), None
    yield "half a trailer", whole[:-10], None
    for cut in sorted(rng.sample(range(1, len(whole) - 1), 12)):
        yield "a pack cut at %d" % cut, whole[:cut], None
    for _ in range(12):
        spoilt = bytearray(whole)
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        yield "a flipped bit", bytes(spoilt), None
    for size in (201, 1 << 32, 1 << 40, (1 << 63) - 1, (1 << 64) - 1, 1 << 90):
        yield "a declared size of %d" % size, pack([entry(3, b"x" * 200, size=size)]), "unpack "
    yield "a declared size too small", pack([entry(3, b"x" * 200, size=10)]), "unpack "
    yield "junk for zlib data", pack([entry_head(3, 200) + rng.randbytes(300)]), "unpack "
    yield "type 0", pack([entry(0, b"x")]), "unpack "
    yield "type 5", pack([entry(5, b"x")]), "unpack "
    yield "an offset delta of itself", pack([blob, entry(6, small, base=ofs(0))]), "unpack "
    yield "an offset before the start", pack([blob, entry(6, small, base=ofs(5000))]), "unpack "
    yield "an offset into an entry", pack([blob, entry(6, small, base=ofs(3))]), "unpack "
    yield "an offset that overflows", pack([blob, entry_head(6, 4) + b"\xff" * 11 + b"\x7f"]), "unpack "
    a, b = "1" * HEX, "2" * HEX
    yield "a circle of deltas", pack([ref(a, small), ref(b, small), ref(a, small)]), "unpack "
    yield "a missing base", pack([blob, ref("3" * HEX, small)]), "unpack "
    yield "a copy past the base", pack([blob, entry(6, varint(200) + varint(9) + b"\x91\xc4\x09", base=ofs(len(blob)))]), "unpack "
    yield "opcode 0", pack([blob, entry(6, varint(200) + varint(4) + b"\0", base=ofs(len(blob)))]), "unpack "
    yield "a result that lies", pack([blob, entry(6, varint(200) + varint(1 << 50) + b"\x90\x04", base=ofs(len(blob)))]), "unpack "
    yield "a base size that lies", pack([blob, entry(6, varint(1 << 60) + varint(4) + b"\x90\x04", base=ofs(len(blob)))]), "unpack "
    yield "the delta bomb", delta_bomb(), "unpack "
    yield "bytes after the pack", pack(GOOD) + b"PACK and more", None
    yield "a tree with .git", pack([blob, entry(2, b"100644 .GIT\0" + bytes.fromhex(oid("blob", b"x" * 200)))]), "unpack "
    yield "a tree with ..", pack([blob, entry(2, b"100644 ..\0" + bytes.fromhex(oid("blob", b"x" * 200)))]), "unpack "
    yield "a commit of nothing", pack([entry(1, b"tree %s\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx" % (b"4" * HEX))]), "unpack "
    if not args.small:
        yield "a chain of 20,000 deltas", chain(20000), "unpack "
        yield "a zlib bomb of 1 GiB in 64 blobs", zlib_bomb(1024, 64), "unpack "
    yield "a zlib bomb in one blob", zlib_bomb(64 if args.small else 1024, 1), None


def commands(*lines, caps="report-status side-band-64k atomic"):
    out = b""
    for i, line in enumerate(lines):
        out += pkt(line + ("\0 " + caps + OF_FORMAT if i == 0 else ""))
    return out + b"0000"


def command(name):
    """The first lines of a version 2 request."""
    return pkt("command=" + name) + (pkt(OF_FORMAT[1:]) if OF_FORMAT else b"")


# -- after every attack --


def rss():
    if not args.pid:
        return 0
    with open("/proc/%d/status" % args.pid) as f:
        fields = dict(line.split(":", 1) for line in f)
    return int(fields["VmHWM"].split()[0]) // 1024


def served(best_of=3):
    """The time of the fastest of a few requests: the host may be busy, the node must not be."""
    best = 99.0
    for _ in range(best_of):
        began = time.time()
        if not talk(args.http, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200"):
            return 99.0
        best = min(best, time.time() - began)
        if best <= args.wait:
            break
    return best


before = {}


def intact(name):
    global peak
    took = served()
    if took > args.wait:
        fail("after %s: others wait %.1f s" % (name, took))
    for repo in before:
        if advertised(repo) != before[repo]:
            fail("after %s: the references of %s changed:\n%r\n%r" % (name, repo, before[repo], advertised(repo)))
    peak = max(peak, rss())
    if peak > args.rss:
        fail("after %s: the process has grown to %d MiB" % (name, peak))


counted = 0


def refused(name, answer, words):
    """None: any end is right, if nothing moved."""
    global counted
    counted += 1
    text = answer.decode("latin-1")
    if re.search(r"\bok refs/heads/evil|unpack ok.*\n....ok ", text, re.S):
        fail("%s was accepted: %r" % (name, text[-300:]))
    if words is not None and not re.search(words, text):
        fail("%s: no reason is given (%s): %r" % (name, words, text[-400:]))


def bad_packs():
    for i, (name, data, words) in enumerate(packs()):
        if args.small and i % 3 == 0 and "bomb" not in name:
            continue
        request = commands("%s %s %s" % (NULL, oid("blob", b"good"), SELF)) + data
        how = [post, git][i % 2]
        # A pack that does not end is waited for; over HTTP the body says where it ends.
        answer = how("receive-pack", request, patience=30 if words or how == post else QUICK)
        refused(name, answer, words or ("unpack |ERR|HTTP/1.1 4" if how == post else None))
        if i % 8 == 0 or "bomb" in name:
            intact(name)
    intact("bad packs")


def bad_names():
    good = re.search(b"(" + ID + b") refs/heads/", before["one"]).group(1).decode()
    names = [
        "refs/heads/../x", "refs/heads/a..b", "refs/heads/x.lock", "refs/heads/x.lock/y", "refs/heads/\x01", "refs/heads/a~1",
        "refs/heads/a^", "refs/heads/a:b", "refs/heads/a?", "refs/heads/a*", "refs/heads/a[", "refs/heads/a\\b",
        "refs/heads/.a", "refs/heads/a.", "refs/heads//a", "refs/heads/", "refs/heads/@{", "refs/heads/a b",
        "refs/heads/\x7f", "HEAD", "main", "x", "@", "../../etc/passwd", "refs/heads/main/x", "refs/heads", "refs/",
        "refs/heads/" + "n" * 3000, "refs/heads/" + "/".join("d" * 600), "", " ", "refs/heads/a\nb", "refs/heads/-\r",
    ]  # fmt: skip
    for i, name in enumerate(names):
        how = [post, git][i % 2]
        line = "%s %s %s" % (NULL, good, name)
        answer = how("receive-pack", commands(line) + pack([]))
        refused("the name %r" % name[:50], answer, "ng |ERR|unpack |\x03|HTTP/1.1 4")
        if re.search(rb"\dok ", answer):
            fail("the name %r was accepted: %r" % (name[:50], answer))
    for line in (
        "", "x", NULL, "z" * HEX + " " + good + " " + SELF, good[:-1] + " " + good + " " + SELF,
        NULL + "\t" + good + "\t" + SELF, "shallow " + good, "push-cert\0x", NULL + good + SELF,
    ):  # fmt: skip
        refused("the command %r" % line[:60], post("receive-pack", commands(line) + pack([])), None)
    intact("bad names")


def bad_lines():
    lines = [b"", b"0", b"000", b"0003", b"0001", b"0002", b"000g", b"-001", b"+004", b"0x10", b" 004", b"ffff" + b"x" * 65531,
             b"fff1" + b"x" * 70000, b"0004" * 5000, b"0005\n" * 5000, b"0000" * 5000, b"0010want", b"\0\0\0\0", b"00\xff\xff",
             rng.randbytes(3000), pkt(b"want " + b"q" * (HEX + 1)) + b"0000", pkt("want " + NULL) + b"0000", pkt("command=") + b"0000",
             command("fetch") + b"0001" + pkt("want") + b"0000", command("fetch") + b"0001" + pkt("x" * 60000) + b"0000",
             pkt("command=rm -rf /") + b"0000", command("ls-refs") * 2 + b"0000", command("fetch") + b"0002",
             command("ls-refs") + b"0001" + pkt("ref-prefix " + "a" * 5000) * 2000 + b"0000",
             pkt("command=fetch") + pkt("object-format=md5") + b"0001" + b"0000",
             command("fetch") + b"0001" + pkt("deepen 99999999999999999999") + pkt("filter combine:" + "tree:1+" * 2000) + b"0000"]  # fmt: skip
    for data in lines[:: 3 if args.small else 1]:
        for version in ("", "version=2"):
            post("upload-pack", data, "Git-Protocol: %s\r\n" % version if version else "")
            git("upload-pack", data, "\0" + version + "\0", QUICK)
        post("receive-pack", data)
        git("receive-pack", data, "", QUICK)
    for first in (b"0000", b"0004", b"fffffffff", b"0010git-", b"zzzz", pkt("git-upload-archive /one.git\0"), pkt("git-upload-pack"),
                  pkt("git-upload-pack /one.git"), pkt("git-shell /one.git\0host=h\0"), pkt("git-upload-pack " + "/" * 4000),
                  pkt("git-upload-pack /../one.git\0host=h\0"), pkt("git-upload-pack /one.git/../two.git\0host=h\0"),
                  pkt("git-upload-pack /one.git\0host=" + "h" * 3900)):  # fmt: skip
        talk(args.git, first, QUICK)
    intact("malformed lines")


def many_lines():
    """A hundred thousand wants, two hundred thousand haves: cheap for the client only."""
    tip = re.search(b"(" + ID + b") refs/heads/", before["one"]).group(1)
    scale = 20 if args.small else 1
    ids = [digest(b"%d" % i).hexdigest().encode() for i in range(200000 // scale)]
    wants = b"".join(pkt(b"want " + i + b"\n") for i in ids[: 100000 // scale])
    haves = b"".join(pkt(b"have " + i + b"\n") for i in ids)
    head = command("fetch") + b"0001"
    v2 = "Git-Protocol: version=2\r\n"
    refused("100,000 wants", post("upload-pack", head + wants + b"0000", v2), "not our ref")
    refused("100,000 wants, git", git("upload-pack", wants + b"0000", patience=2), "ERR")
    same = pkt(b"want " + tip + b"\n") * (100000 // scale)
    refused("100,000 equal wants", post("upload-pack", head + same + b"0000", v2), "NAK|packfile")
    answer = post("upload-pack", head + pkt(b"want " + tip + b"\n") + haves + b"0000", v2)
    refused("200,000 haves", answer, "NAK")
    answer = git("upload-pack", pkt(b"want " + tip + b"\n") + b"0000" + haves + b"0009done\n")
    refused("200,000 haves, git", answer, "PACK|ERR")
    updates = commands(*("%s %s refs/heads/n%d" % (NULL, tip.decode(), i) for i in range(11000)), caps="report-status atomic")
    refused("11,000 atomic commands", post("receive-pack", updates + pack([])), "ERR|ng |\x03|HTTP/1.1 4")
    intact("many lines")


def bad_http():
    fetch = command("ls-refs") + b"0000"
    gz = lambda data: gzip.compress(data, 9, mtime=0)
    packed = b"\x1f\x8b\x08" + bytes(7) + zeros_of(64 if args.small else 1024) + b"\3\0" + bytes(8)
    body = [
        ("a gzip bomb for fetch", "upload-pack", "Content-Encoding: gzip\r\n", packed, "HTTP/1.1 4"),
        ("a gzip bomb for push", "receive-pack", "Content-Encoding: gzip\r\n", packed, "HTTP/1.1 4"),
        ("a gzip bomb of flushes", "upload-pack", "Content-Encoding: gzip\r\n", gz(b"0000" * 8 * MIB), "HTTP/1.1"),
        ("cut gzip", "upload-pack", "Content-Encoding: gzip\r\n", gz(fetch)[:-6], "HTTP/1.1 4"),
        ("junk for gzip", "upload-pack", "Content-Encoding: gzip\r\n", rng.randbytes(500), "HTTP/1.1 4"),
        ("gzip twice", "upload-pack", "Content-Encoding: gzip, gzip\r\n", gz(gz(fetch)), "HTTP/1.1 4"),
        ("an unknown coding", "upload-pack", "Content-Encoding: br\r\n", fetch, "HTTP/1.1 415"),
    ]
    for name, service, extra, data, words in body:
        refused(name, post(service, data, extra), words)
        intact(name)
    chunked = "Transfer-Encoding: chunked\r\n"
    for size in (b"ffffffffffffffff", b"fffffffffffffffff", b"-1", b"0x10", b"7fffffffffffffff", b"", b"+5", b"5 ", b" 5",
                 b"g", b"5;" + b"x" * 70000, b"0" * 20000 + b"5"):  # fmt: skip
        data = post_head("upload-pack", extra=chunked) + size + b"\r\nhello\r\n0\r\n\r\n"
        refused("the chunk size %r" % size[:20], talk(args.http, data, QUICK), None)
    raw = lambda text: text.replace("\n", "\r\n").encode("latin-1")
    service = "Content-Type: application/x-git-upload-pack-request\n"
    post_one = "POST /one.git/git-upload-pack HTTP/1.1\nHost: h\n" + service
    hidden = "GET /two.git/info/refs?service=git-upload-pack HTTP/1.1\nHost: h\n\n"
    for name, text in (
        ("length and chunks", post_one + "Content-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n" + hidden),
        ("two lengths", post_one + "Content-Length: 0\nContent-Length: 90\n\n" + hidden),
        ("a list of lengths", post_one + "Content-Length: 0, 90\n\n" + hidden),
        ("a signed length", post_one + "Content-Length: +0\n\n" + hidden),
        ("an overflowing length", post_one + "Content-Length: 18446744073709551616\n\n" + hidden),
        ("chunked twice", post_one + "Transfer-Encoding: chunked, chunked\n\n0\n\n" + hidden),
        ("chunked at the wrong place", post_one + "Transfer-Encoding: chunked, identity\n\n0\n\n" + hidden),
        ("chunked with a vertical tab", post_one + "Transfer-Encoding: \x0bchunked\n\n0\n\n" + hidden),
        ("a space before the colon", post_one + "Transfer-Encoding : chunked\n\n0\n\n" + hidden),
        ("a folded line", post_one + "X: y\n Transfer-Encoding: chunked\n\n0\n\n" + hidden),
        ("a lone return", post_one + "X: y\rContent-Length: 0\n\n" + hidden),
        ("a NUL", post_one + "X: \0\n\n" + hidden),
        ("no host", "GET /healthz HTTP/1.1\n\n" + hidden),
        ("two hosts", "GET /healthz HTTP/1.1\nHost: a\nHost: b\n\n" + hidden),
    ):
        answer = talk(args.http, raw(text), 5)
        refused(name, answer, "HTTP/1.1 (4|501)")
        if b"refs/heads" in answer or len(re.findall(rb"HTTP/1.1 \d", answer)) != 1:
            fail("%s: a hidden request was answered: %r" % (name, answer[:900]))
    for path in ("/../two.git/x", "/one.git/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/one.git/%2e%2e/two.git", "//etc/passwd",
                 "/one.git%00.png", "/one.git/info/refs%00", "/\\..\\x", "/one%2f..%2ftwo.git/info/refs", "/one.git/objects/info/alternates",
                 "/one.git/objects/../../two.git/HEAD", "/one.git/archive/../x.tar", "/one.git/archive/" + "a" * 900 + ".zip",
                 "/one.git/objects/" + "a" * 900, "/%ff%fe", "/%", "/%zz", "/" + "a/" * 3000, "/" + "%41" * 1500, "*", "http://[/x", "x",
                 "/.git/config", "/one.git/./info/refs", "/one.git/info/refs?service=git-upload-pack%00", "/one.git/info/refs?service=../x"):  # fmt: skip
        answer = talk(args.http, raw("GET %s HTTP/1.1\nHost: h\nConnection: close\n\n" % path))
        refused("the path %s" % path[:40], answer, "HTTP/1.1 4")
    for name, data in (
        ("10,000 fields", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10000 + b"\r\n"),
        ("an endless field", b"GET / HTTP/1.1\r\nA: " + b"b" * MIB),
        ("an endless line", b"GET /" + b"b" * MIB),
        ("an endless method", b"G" * MIB),
        ("endless blank lines", b"\r\n" * MIB),
        ("a binary flood", rng.randbytes(MIB)),
        ("trailers without end", post_head("upload-pack", extra=chunked) + b"0\r\n" + b"X: y\r\n" * 100000),
    ):
        refused(name, talk(args.http, data, QUICK), None)
    intact("bad HTTP")


def crowd():
    """Slow, silent, deaf and vanishing peers, all at once."""
    count = 20 if args.small else 110
    push = commands("%s %s %s" % (NULL, oid("blob", b"good"), SELF)) + pack(GOOD + [entry(3, rng.randbytes(70000))])
    heads = [b"", b"G", b"GET / HTTP/1.1\r\nX: ", post_head("receive-pack", length=len(push)) + push[:50],
             post_head("upload-pack", extra="Transfer-Encoding: chunked\r\n") + b"5\r\nhe"]  # fmt: skip
    lines = [b"", b"00", pkt("git-receive-pack /one.git\0host=h\0"), pkt("git-receive-pack /one.git\0host=h\0") + push[:-9],
             pkt("git-upload-pack /one.git\0host=h\0") + b"0032want"]  # fmt: skip
    # Fewer than node.requests hold a place of work: beyond it, waiting is what is promised.
    slow = []
    for i in range(count):
        s = call([args.http, args.git][i % 2])
        choice = i // 2 % (5 if i < 60 else 2)
        s.sendall([heads, lines][i % 2][choice])
        slow.append(s)
    took = served()
    if took > args.wait:
        fail("%d slow peers hold others up: %.1f s" % (count, took))
    intact("%d slow peers" % count)
    for s in slow:  # one more byte each, then gone in different ways
        try:
            s.sendall(b"0")
            if rng.random() < 0.5:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        s.close()
    intact("peers that vanish")


def full_house():
    """More peers than there are places, of each kind of silence: who comes later is served all the
    same, at once where the others have asked for nothing yet, else when they have been waited for."""
    kinds = (
        ("silent", args.http, b"", 600, args.wait),
        ("half a head", args.http, b"GET / HTTP/1.1\r\nX: ", 600, args.wait),
        ("silent over git", args.git, b"", 600, args.wait),
        ("half a request line", args.git, b"0040git-upload-pack /one", 600, args.wait),
        ("a push without commands", args.git, pkt("git-receive-pack /one.git\0host=h\0"), 80, 15),
    )
    for name, port, data, count, patience in kinds:
        slow = []
        for _ in range(count):
            slow.append(call(port))
            slow[-1].sendall(data)
        began = time.time()
        for repo in before:
            if advertised(repo) != before[repo]:
                fail("%d peers, %s: nobody else is served" % (count, name))
        if b"refs/heads/" not in git("upload-pack", b"0000"):
            fail("%d peers, %s: nobody else is served over git" % (count, name))
        if time.time() - began > patience * 3:
            fail("%d peers, %s: others wait %.1f s" % (count, name, time.time() - began))
        for s in slow:
            s.close()
        intact(name)


def dropped():
    """A push that breaks off at many places, by a close, by a reset, or half closed."""
    parts = [entry(3, rng.randbytes(rng.randrange(10, 3000))) for _ in range(60)]
    push = commands("%s %s %s" % (NULL, oid("blob", b"good"), SELF)) + pack(GOOD + parts)
    points = 6 if args.small else 40
    for i in range(points):
        cut = min(len(push) * i // points + rng.randrange(40), len(push) - 1)
        over_git = i % 2
        start = pkt("git-receive-pack /one.git\0host=h\0") if over_git else post_head("receive-pack", length=len(push))
        s = call(args.git if over_git else args.http)
        try:
            s.sendall(start + push[:cut])
            if i % 3 == 0:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif i % 3 == 1:
                s.shutdown(socket.SHUT_WR)
                refused("a push cut at %d" % cut, drain(s), None)
        except OSError:
            pass
        s.close()
    intact("dropped pushes")


# -- nothing leaks --


def leaks():
    foreign = dict(zip(("commit", "tree", "blob", "tag"), args.secrets.split(",")))
    nothing = {k: v[:20] + ("f" if v[20] != "f" else "0") + v[21:] for k, v in foreign.items()}
    tip, name = re.search(b"(" + ID + rb") (refs/heads/\w+)", before["one"]).groups()
    tip, name = tip.decode(), name.decode()

    def alike(answer):
        answer = re.sub(rb"\r\nDate: [^\r]*", b"", answer)
        return re.sub(b"[0-9a-f]{40,64}", b"#", answer)  # also one that a message cuts short

    v2 = "Git-Protocol: version=2\r\n"
    tries = {}

    def fetch(label, make, v0=True):
        """Version 2 and 0, with and without state."""
        asked = lambda i: command("fetch") + b"0001" + make(i, 2) + b"0000"
        tries[label + ", v2 http"] = lambda i, p: post("upload-pack", asked(i), v2)
        tries[label + ", v2 git"] = lambda i, p: git("upload-pack", asked(i) + b"0000", "\0version=2\0", p)
        if v0:
            tries[label + ", v0 http"] = lambda i, p: post("upload-pack", make(i, 0))
            tries[label + ", v0 git"] = lambda i, p: git("upload-pack", make(i, 0), "", p)

    def push(label, make):
        tries[label + ", http"] = lambda i, p: post("receive-pack", make(i))
        tries[label + ", git"] = lambda i, p: git("receive-pack", make(i), "", p)

    caps = {0: " multi_ack_detailed side-band-64k thin-pack" + OF_FORMAT, 2: ""}
    end = {0: b"0000" + pkt("done\n"), 2: pkt("done\n")}
    for kind in foreign:
        fetch("want of a " + kind, lambda i, v, k=kind: pkt("want " + i[k] + caps[v] + "\n") + end[v])
        fetch("want of a %s beside a good one" % kind,
              lambda i, v, k=kind: pkt("want " + tip + caps[v] + "\n") + pkt("want " + i[k] + "\n") + end[v])  # fmt: skip
        fetch("have of a " + kind, lambda i, v, k=kind: pkt("want " + tip + caps[v] + "\n") + (b"0000" if v == 0 else b"")
              + pkt("have " + i[k] + "\n") * 3 + (b"0000" + pkt("done\n") if v == 0 else b""))  # fmt: skip
        fetch("have of a %s, then done" % kind, lambda i, v, k=kind: pkt("want " + tip + caps[v] + "\n") + (b"0000" if v == 0 else b"")
              + pkt("have " + i[k] + "\n") + pkt("done\n"))  # fmt: skip
        fetch("shallow " + kind, lambda i, v, k=kind: pkt("want " + tip + caps[v] + "\n") + pkt("shallow " + i[k] + "\n") + end[v])
        push("an empty pack for a " + kind, lambda i, k=kind: commands("%s %s %s" % (NULL, i[k], SELF)) + pack([]))
        push("a %s as the old value" % kind, lambda i, k=kind: commands("%s %s %s" % (i[k], tip, name)) + pack([]))
        push("a %s as the old value of nothing" % kind, lambda i, k=kind: commands("%s %s %s" % (i[k], tip, SELF)) + pack([]))
        push("a delete of a " + kind, lambda i, k=kind: commands("%s %s %s" % (i[k], NULL, name)))
        push("a delta on a " + kind, lambda i, k=kind: commands("%s %s %s" % (NULL, tip, SELF))
             + pack([entry(7, varint(15) + varint(15) + b"\x90\x0f", base=bytes.fromhex(i[k]))]))  # fmt: skip
        push("a delta of any size on a " + kind, lambda i, k=kind: commands("%s %s %s" % (NULL, tip, SELF))
             + pack([entry(7, varint(1 << 40) + varint(1) + b"\x01x", base=bytes.fromhex(i[k]))]))  # fmt: skip
        push("a tag of a " + kind, lambda i, k=kind: commands("%s %s %s" % (NULL, tip, SELF))
             + pack([entry(4, b"object %s\ntype %s\ntag t\ntagger A <a@b> 1 +0000\n\nx\n" % (i[k].encode(), k.encode()))]))  # fmt: skip
    who = b"author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n"
    empty = digest(b"tree 0\0").hexdigest().encode()
    one = lambda e: commands("%s %s %s" % (NULL, tip, SELF)) + pack(e)
    push("a commit of its tree", lambda i: one([entry(1, b"tree " + i["tree"].encode() + b"\n" + who)]))
    push("a commit on its commit", lambda i: one([entry(2, b""), entry(1, b"tree " + empty + b"\nparent " + i["commit"].encode() + b"\n" + who)]))
    push("a tree of its blob", lambda i: one([entry(2, b"100644 f\0" + bytes.fromhex(i["blob"]))]))
    push("a tree of its tree", lambda i: one([entry(2, b"40000 f\0" + bytes.fromhex(i["tree"]))]))
    push("two commands", lambda i: commands("%s %s %s" % (NULL, i["commit"], SELF), "%s %s %s" % (NULL, i["tag"], SELF + "2")) + pack([]))
    fetch("a filter", lambda i, v: pkt("want " + tip + caps[v] + "\n") + pkt("filter sparse:oid=" + i["blob"]) + end[v])
    fetch("deepen-not", lambda i, v: pkt("want " + tip + caps[v] + "\n") + pkt("deepen-not " + i["commit"]) + end[v])
    fetch("want-ref", lambda i, v: pkt("want-ref " + i["commit"]) + end[v], v0=False)
    info = lambda i: command("object-info") + b"0001" + pkt("size") + pkt("oid " + i["blob"]) + b"0000"
    tries["object-info"] = lambda i, p: post("upload-pack", info(i), v2)
    global counted
    for label, ask in tries.items():
        counted += 1
        for patience in (QUICK, 1, 5):  # an answer that was cut short is asked for again
            here, there = ask(foreign, patience), ask(nothing, patience)
            if alike(here) == alike(there) and here:
                break
        else:
            fail("%s tells that the object exists:\n%r\n%r" % (label, here[:600], there[:600]))
        if re.search(rb"\dok |ok refs/heads/evil", here):
            fail("%s was accepted: %r" % (label, here))
        if label.startswith("want of") and b"PACK" in here:
            fail("%s gave a pack" % label)
    intact("leaks")
    print("hostile: %d ways to learn of foreign objects, answered as for ids of nothing" % len(tries))


def background(stop, worst):
    """Somebody else, all the time."""
    while not stop.is_set():
        began = time.time()
        if b"200" not in talk(args.http, b"GET /one.git/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n")[:15]:
            worst.append(99.0)
            return
        worst.append(time.time() - began)
        stop.wait(0.2)


def main():
    for repo in ("one", "two"):
        before[repo] = advertised(repo)
        if b"refs/heads/" not in before[repo]:
            fail("%s is not there: %r" % (repo, before[repo]))
    stop, worst = threading.Event(), []
    other = threading.Thread(target=background, args=(stop, worst))
    other.start()
    try:
        for attack in (leaks, bad_packs, bad_names, bad_lines, bad_http, many_lines, dropped, crowd):
            began = time.time()
            attack()
            print("hostile: %-10s %5.1f s, peak %d MiB" % (attack.__name__, time.time() - began, peak), flush=True)
    finally:
        stop.set()
        other.join()
    if not args.small:
        full_house()
    worst.sort()
    # The host is shared with other tests: the middle must be quick, the worst not endless.
    if worst[len(worst) // 2] > args.wait or worst[-1] > 10 * args.wait:
        fail("somebody else waited %.2f s, at worst %.2f s" % (worst[len(worst) // 2], worst[-1]))
    print("hostile: %d attacks; %d requests of somebody else took %.2f s, at worst %.2f s; peak %d MiB; SEED=%d"
          % (counted, len(worst), worst[len(worst) // 2], worst[-1], peak, seed))  # fmt: skip


main()
