# SPDX-License-Identifier: ISC
# The host's side of tests/boot/net.sh: talks to the services of image.selftest=net.
#   net_client.py NAME PORTS...   prints what it saw; exit status 0 = as expected
import hashlib
import os
import random
import socket
import struct
import sys
import threading
import time

seed = int(os.environ.get("SEED", "0")) or int.from_bytes(os.urandom(4), "big")
rng = random.Random(seed)


def connect(port, timeout=20):
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def drain(s):
    digest, count = hashlib.sha1(), 0
    while True:
        data = s.recv(1 << 18)
        if not data:
            return count, digest.hexdigest()
        digest.update(data)
        count += len(data)


def rate(count, since):
    return "%.0f MB/s" % (count / (time.time() - since) / 1e6)


def echo(port, count):
    """Sends and receives at the same time; every byte must come back."""
    data = rng.randbytes(count)
    s = connect(port)

    def send():
        at = 0
        while at < count:
            n = rng.choice((1, 100, 1460, 4096, 65536, 300000))
            s.sendall(data[at : at + n])
            at += n
        s.shutdown(socket.SHUT_WR)

    t = threading.Thread(target=send)
    began = time.time()
    t.start()
    got, digest = drain(s)
    t.join()
    s.close()
    assert got == count, "echo: %d of %d bytes" % (got, count)
    assert digest == hashlib.sha1(data).hexdigest(), "echo: other bytes"
    return rate(count, began)


def sink(port, count):
    s = connect(port)
    data = rng.randbytes(1 << 20)
    began = time.time()
    for _ in range(count >> 20):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    answer = s.recv(64)
    assert int(answer) == count >> 20 << 20, answer
    return rate(count, began)


def source(port, count):
    block = bytes((i * 7 + (i >> 8)) & 255 for i in range(65536))
    want = hashlib.sha1(block * (count // 65536) + block[: count % 65536]).hexdigest()
    s = connect(port)
    began = time.time()
    s.sendall(b"%d\n" % count)
    got, digest = drain(s)
    assert (got, digest) == (count, want), "source: %d of %d bytes" % (got, count)
    return rate(count, began)


def bulk(echo_port, sink_port, source_port):
    mib = 1 << 20
    print("echo %s each way" % echo(echo_port, 8 * mib))
    print("host to guest %s" % sink(sink_port, 32 * mib))
    print("guest to host %s" % source(source_port, 32 * mib + 12345))


def crowd(echo_port, count):
    """Many connections open at once, each with its own bytes. They are opened four at a time: the
    emulator's forwarder has a backlog of one and resets what comes in faster."""
    failures, opened, gate = [], threading.Semaphore(4), threading.Barrier(count)

    def one(i):
        try:
            with opened:
                for attempt in range(5):
                    s = connect(echo_port)
                    try:
                        s.sendall(b"x")
                        assert s.recv(1) == b"x"
                        break
                    except ConnectionResetError:
                        time.sleep(0.05)
            gate.wait(20)
            data = hashlib.sha512(b"%d" % i).digest() * 64
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            got, digest = drain(s)
            assert digest == hashlib.sha1(data).hexdigest(), "other bytes"
        except Exception as e:
            failures.append("%d: %r" % (i, e))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    began = time.time()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:3]
    print("%d connections at once in %.2f s" % (count, time.time() - began))


def slow(echo_port, source_port, stall_port, http_port):
    """Peers that do not read, and fibers that do not read, must not hold up the others; one that
    says nothing is hung up on at its deadline of two seconds."""
    silent, closed_after = connect(http_port), []

    def wait_for_end(began=time.time()):
        if silent.recv(1) == b"":
            closed_after.append(time.time() - began)

    waiter = threading.Thread(target=wait_for_end)
    waiter.start()
    held = []
    for _ in range(40):
        s = connect(source_port)
        s.sendall(b"100000000\n")  # and never read
        held.append(s)
    for _ in range(40):
        s = connect(stall_port)
        s.setblocking(False)
        try:
            while True:
                s.send(bytes(65536))
        except BlockingIOError:
            held.append(s)
    time.sleep(1)
    began = time.time()
    print("echo beside 80 stalled connections: %s" % echo(echo_port, 1 << 20))
    assert time.time() - began < 8, "stalled peers hold up the others"
    for s in held:
        s.close()
    waiter.join()
    print("a silent peer was hung up on after %s s" % closed_after)
    assert closed_after and 1.5 < closed_after[0] < 8, "the deadline of a silent peer"


def resets(echo_port, sink_port, source_port, closed_port):
    # A port that nobody listens on: the forwarder accepts, then the guest's reset ends it.
    try:
        s = connect(closed_port)
        s.sendall(b"x")
        assert s.recv(1) == b"", "a closed port answered"
    except ConnectionError:
        pass
    for i in range(60):
        s = connect((echo_port, sink_port, source_port)[i % 3])
        s.sendall(b"99999999\n" + bytes(rng.randrange(100000)))
        if i % 3 != 1:  # the sink answers at the end only
            s.recv(10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    print("60 resets in mid-transfer; then echo: %s" % echo(echo_port, 1 << 20))


def latency(echo_port):
    s = connect(echo_port)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    for _ in range(200):
        began = time.time()
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        times.append(time.time() - began)
    times.sort()
    print("round trip: median %d us, worst %d us" % (times[100] * 1e6, times[-1] * 1e6))
    assert times[100] < 0.02, "answers wait for ticks"


def serve_echo(family, host):
    """Prints its port, echoes one connection."""
    with socket.create_server((host, 0), family=family) as server:
        print(server.getsockname()[1], flush=True)
        server.settimeout(20)
        s, _ = server.accept()
        while True:
            data = s.recv(4096)
            if not data:
                return
            s.sendall(data)


if __name__ == "__main__":
    what, ports = sys.argv[1], [int(p) for p in sys.argv[2:]]
    if what == "serve":
        serve_echo(socket.AF_INET, "127.0.0.1")
    elif what == "serve6":
        serve_echo(socket.AF_INET6, "::1")
    else:
        if what not in ("latency",):
            print("%s: SEED=%d" % (what, seed))
        globals()[what](*ports)
