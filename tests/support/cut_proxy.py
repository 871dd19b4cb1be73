#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
# A proxy that cuts connections off: each ends after a random number of bytes from the server.
# usage: cut_proxy.py TARGET-PORT SEED LOW HIGH CUTS
# Prints its port, then for each connection the bytes that went to the client, of it and in all.
# After CUTS connections that were cut none is any more; one that ended by itself does not count.
import random
import socket
import sys
import threading

target, seed, low, high, cuts = (int(a) for a in sys.argv[1:])
rnd = random.Random(seed)
lock = threading.Lock()
total = 0


def close(*ends):
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()


def send_up(client, server):
    try:
        while data := client.recv(65536):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def send_down(client, server, limit):
    global total, cuts
    got = 0
    try:
        while limit is None or got < limit:
            data = server.recv(65536 if limit is None else min(65536, limit - got))
            if not data:
                break
            got += len(data)
            client.sendall(data)
    except OSError:
        pass
    with lock:
        total += got
        if limit is not None and got >= limit:
            cuts -= 1
        print(got, total, flush=True)
    close(client, server)


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(64)
print(listener.getsockname()[1], flush=True)
while True:
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", target))
    with lock:
        limit = rnd.randrange(low, high) if cuts > 0 else None
    threading.Thread(target=send_up, args=(client, server), daemon=True).start()
    threading.Thread(target=send_down, args=(client, server, limit), daemon=True).start()
