# SPDX-License-Identifier: ISC
# A network of one: speaks raw Ethernet to the image over UDP datagrams (QEMU's -netdev dgram), with
# no stack in between that would repair or refuse what is odd. Used by tests/boot/frames.sh.
#   net_frames.py OUR-PORT GUEST-PORT     the guest is 10.9.0.2 with the services of image.selftest=net
import os
import random
import socket
import struct
import sys
import time

seed = int(os.environ.get("SEED", "0")) or int.from_bytes(os.urandom(4), "big")
rng = random.Random(seed)
OUR_MAC, OUR_IP, GUEST_IP = bytes.fromhex("020000000001"), bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2])
ECHO, CLOSED = 7, 99
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data):
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Wire:
    def __init__(self, ours, guest):
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.s.bind(("127.0.0.1", ours))
        self.to = ("127.0.0.1", guest)
        self.guest_mac = b"\xff" * 6

    def send(self, kind, payload):
        self.s.sendto(self.guest_mac + OUR_MAC + struct.pack(">H", kind) + payload, self.to)

    def frames(self, seconds):
        """What arrives within so many seconds; answers ARP requests for us on the way."""
        end = time.time() + seconds
        while (left := end - time.time()) > 0:
            self.s.settimeout(left)
            try:
                frame = self.s.recv(65536)
            except socket.timeout:
                return
            kind = struct.unpack(">H", frame[12:14])[0]
            if kind == 0x0806 and frame[20:22] == b"\0\1" and frame[38:42] == OUR_IP:
                self.arp(2, frame[22:28], frame[28:32])
            yield kind, frame[14:]

    def arp(self, operation, mac, address):
        self.send(0x0806, struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation) + OUR_MAC + OUR_IP + mac + address)

    def ip(self, protocol, payload, ident=0, fragment=0, options=b""):
        head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload),
                           ident, fragment, 64, protocol, 0) + OUR_IP + GUEST_IP + options
        self.send(0x0800, head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload)

    def packets(self, seconds, protocol):
        """Whole IP payloads of a protocol from the guest, put together again."""
        parts = {}
        for kind, p in self.frames(seconds):
            if kind != 0x0800 or p[9] != protocol or p[12:16] != GUEST_IP:
                continue
            size, ident, fragment = struct.unpack(">HHH", p[2:8])
            assert checksum(p[:20]) == 0, "the guest's IP checksum"
            have = parts.setdefault(ident, {})
            have[(fragment & 0x1FFF) * 8] = (p[20:size], not fragment & 0x2000)
            at = 0
            while at in have and not have[at][1]:
                at += len(have[at][0])
            if at in have:
                del parts[ident]
                yield b"".join(have[k][0] for k in sorted(have))

    def tcp(self, port, sport, seq, ack, flags, data=b"", window=65535, options=b"", spoil=0):
        head = struct.pack(">HHIIBBHHH", sport, port, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF,
                           (20 + len(options)) << 2, flags, window, 0, 0) + options
        sum_ = checksum(OUR_IP + GUEST_IP + struct.pack(">BBH", 0, 6, len(head) + len(data)) + head + data)
        self.ip(6, head[:16] + struct.pack(">H", sum_ ^ spoil) + head[18:] + data)

    def segments(self, seconds, sport):
        for p in self.packets(seconds, 6):
            port, to, seq, ack, off, flags, window = struct.unpack(">HHIIBBH", p[:16])
            if to == sport:
                yield port, seq, ack, flags, p[(off >> 4) * 4:]

    def hush(self, seconds):
        """Resets what odd frames opened by chance, as a real host would; it would be sent again."""
        for p in self.packets(seconds, 6):
            port, to, seq, ack, _, flags = struct.unpack(">HHIIBB", p[:14])
            if flags & SYN:
                self.tcp(port, to, ack, seq + 1, RST)

    def first(self, sport, want, seconds=5):
        for _, seq, ack, flags, data in self.segments(seconds, sport):
            if flags & (SYN | FIN | RST) == want & (SYN | FIN | RST):
                return seq, ack, data
        raise AssertionError("no segment with flags %d" % want)

    def connect(self, port, sport, options=b"", isn=None):
        if isn is None:
            isn = rng.getrandbits(32)
        self.tcp(port, sport, isn, 0, SYN, options=options)
        seq, ack, _ = self.first(sport, SYN)
        assert ack == (isn + 1) & 0xFFFFFFFF
        self.tcp(port, sport, isn + 1, seq + 1, ACK)
        return isn + 1, seq + 1


def ping(wire, size, fragments=False, shuffle=False, seconds=5):
    data = rng.randbytes(size)
    ident = rng.getrandbits(16)
    head = struct.pack(">BBHHH", 8, 0, 0, ident, 1)
    message = head[:2] + struct.pack(">H", checksum(head + data)) + head[4:] + data
    if fragments:
        pieces = [(at, message[at : at + 1024]) for at in range(0, len(message), 1024)]
        last = pieces[-1][0]
        if shuffle:
            rng.shuffle(pieces)
        for at, piece in pieces:
            wire.ip(1, piece, ident, at // 8 | (0 if at == last else 0x2000))
    else:
        wire.ip(1, message)
    for p in wire.packets(seconds, 1):
        if p[0] == 0 and p[4:6] == struct.pack(">H", ident):
            assert p[8:] == data, "the echo's bytes differ"
            assert checksum(p) == 0, "the echo's checksum"
            return
    raise AssertionError("no answer to a ping of %d bytes" % size)


def echo(wire, sport, size=5000, shuffle=False):
    """A TCP conversation by hand; with shuffle the segments arrive out of order, twice, some spoilt."""
    seq, ack = wire.connect(ECHO, sport)
    data = rng.randbytes(size)
    pieces = [(at, data[at : at + 500]) for at in range(0, size, 500)]
    if shuffle:
        rng.shuffle(pieces)
        pieces += rng.sample(pieces, 3)
    for at, piece in pieces:
        if shuffle and rng.random() < 0.3:
            wire.tcp(ECHO, sport, seq + at, ack, ACK, rng.randbytes(len(piece)), spoil=0x1234)
        wire.tcp(ECHO, sport, seq + at, ack, ACK | PSH, piece)
    got = {}
    count = lambda: sum(len(v) for v in got.values())
    for _, s, _, flags, piece in wire.segments(5, sport):
        assert not flags & RST, "reset in an orderly conversation"
        if piece:
            got[(s - ack) & 0xFFFFFFFF] = piece
            wire.tcp(ECHO, sport, seq + size, ack + max(k + len(v) for k, v in got.items()), ACK)
        if count() >= size:
            break
    assert b"".join(got[k] for k in sorted(got)) == data, "echoed %d of %d" % (count(), size)
    wire.tcp(ECHO, sport, seq + size, ack + size, FIN | ACK)
    s, _, _ = wire.first(sport, FIN)
    wire.tcp(ECHO, sport, seq + size + 1, s + 1, ACK)


def garbage(wire, count):
    """Frames that are random, cut, or nearly right."""
    for i in range(count):
        what = i % 6
        if what == 0:
            wire.send(rng.choice((0x0800, 0x0806, 0x86DD, 0x8100, rng.getrandbits(16))),
                      rng.randbytes(rng.randrange(1, 1480)))
        elif what == 1:
            wire.s.sendto(rng.randbytes(rng.randrange(1, 64)), wire.to)
        elif what == 2:  # an IP header with fields at random
            head = bytearray(struct.pack(">BBHHHBBH", 0x40 | rng.getrandbits(4), 0, rng.getrandbits(16), i & 0xFFFF,
                                         rng.getrandbits(16), 64, rng.choice((1, 6, 17, 58)), 0) + OUR_IP + GUEST_IP)
            head[10:12] = struct.pack(">H", checksum(bytes(head)))
            wire.send(0x0800, bytes(head) + rng.randbytes(rng.randrange(200)))
        elif what == 3:  # TCP with random options and offsets
            wire.tcp(ECHO, rng.getrandbits(16), rng.getrandbits(32), rng.getrandbits(32), rng.getrandbits(6),
                     rng.randbytes(rng.randrange(100)), options=rng.randbytes(4 * rng.randrange(11)))
        elif what == 4:  # fragments that overlap, never end, or lie beyond the packet
            wire.ip(rng.choice((1, 6, 17)), rng.randbytes(rng.randrange(1, 1400)), rng.getrandbits(3),
                    rng.getrandbits(13) | 0x2000 * rng.getrandbits(1))
        else:  # IPv6 with random extension headers
            payload = rng.randbytes(rng.randrange(0, 300))
            wire.send(0x86DD, struct.pack(">IHBB", 6 << 28, rng.choice((len(payload), rng.getrandbits(16))),
                                          rng.choice((0, 43, 44, 58, 60, 6, 17)), 255)
                      + bytes.fromhex("fe80" + "00" * 13 + "01") + bytes.fromhex("ff02" + "00" * 13 + "01") + payload)
        if i % 50 == 49:
            time.sleep(0.002)


def again(wire, sport):
    """The guest closes first and keeps the old connection in TIME-WAIT; the same ports come back."""
    HELLO = 8080
    for _ in range(3):
        seq, ack = wire.connect(HELLO, sport)
        request = b"GET / HTTP/1.0\r\n\r\n"
        wire.tcp(HELLO, sport, seq, ack, ACK | PSH, request)
        s, _, data = wire.first(sport, FIN)
        end = s + len(data) + 1
        wire.tcp(HELLO, sport, seq + len(request), end, FIN | ACK)
        time.sleep(0.1)
        # A SYN from before, or a late copy, does not disturb the old state: no answer but an ACK.
        wire.tcp(HELLO, sport, seq - 1000, 0, SYN)
        for _, _, _, flags, _ in wire.segments(0.3, sport):
            assert not flags & SYN, "an old SYN opened a connection"
        # The next must be beyond what the old one had; then it is answered at once.
        seq, ack = wire.connect(HELLO, sport, isn=(seq + 70000) & 0xFFFFFFFF)
        wire.tcp(HELLO, sport, seq, ack, RST | ACK)
        sport += 1


def limit(wire):
    """More connections than the image takes: those beyond get a reset, the others stay."""
    opened, refused, isn = [], 0, 1000
    for i in range(560):
        sport = 20000 + i
        wire.tcp(ECHO, sport, isn, 0, SYN)
        seq, _, _ = wire.first(sport, SYN)
        wire.tcp(ECHO, sport, isn + 1, seq + 1, ACK)
        wire.tcp(ECHO, sport, isn + 1, seq + 1, ACK | PSH, b"hello")
        for _, s, _, flags, data in wire.segments(3, sport):
            if flags & RST:
                refused += 1
                break
            if data == b"hello":
                wire.tcp(ECHO, sport, isn + 6, s + 5, ACK)
                opened.append((sport, isn + 6, seq + 6))
                break
        else:
            raise AssertionError("connection %d got no answer" % i)
    for i, (sport, seq, ack) in enumerate(opened):
        wire.tcp(ECHO, sport, seq, ack, RST | ACK)
        if i % 20 == 0:
            time.sleep(0.002)  # the socket between us holds only so many
    print("%d connections open, %d refused" % (len(opened), refused))
    assert len(opened) >= 400 and refused > 0


def main():
    wire = Wire(int(sys.argv[1]), int(sys.argv[2]))
    print("SEED=%d" % seed, flush=True)
    wire.arp(1, b"\0" * 6, GUEST_IP)
    for kind, p in wire.frames(10):
        if kind == 0x0806 and p[6:8] == b"\0\2" and p[14:18] == GUEST_IP:
            wire.guest_mac = p[8:14]
            break
    assert wire.guest_mac != b"\xff" * 6, "no answer to ARP"
    ping(wire, 56)
    ping(wire, 1400)
    ping(wire, 4000, fragments=True)
    ping(wire, 9000, fragments=True, shuffle=True)
    print("pings and fragments: ok")
    first = wire.connect(ECHO, 5000)
    assert abs(first[1] - wire.connect(ECHO, 5001)[1]) > 100000, "sequence numbers can be guessed"
    wire.tcp(CLOSED, 5002, 1, 0, SYN)
    wire.first(5002, RST)
    echo(wire, 5003)
    for i in range(5):
        echo(wire, 5010 + i, shuffle=True)
    print("TCP by hand: ok")
    # The guest's answer is not acknowledged: it must come again.
    seq, ack = wire.connect(ECHO, 5020)
    wire.tcp(ECHO, 5020, seq, ack, ACK | PSH, b"again")
    times = [time.time() for _, _, _, _, data in wire.segments(4, 5020) if data == b"again"]
    assert len(times) >= 2, "no retransmission"
    print("retransmission after %.1f s" % (times[1] - times[0]))
    again(wire, 5050)
    print("the same ports again: ok")
    garbage(wire, 12000)
    wire.hush(1)
    ping(wire, 56)
    echo(wire, 5030, shuffle=True)
    print("12000 odd frames: ok")
    limit(wire)
    time.sleep(0.5)
    echo(wire, 5040)
    ping(wire, 3000, fragments=True, shuffle=True)
    print("after it all: ok")


main()
