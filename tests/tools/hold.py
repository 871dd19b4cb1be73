#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""hold.py PORT COUNT SECONDS: opens idle git:// connections and stays. Prints how many there are, and
the milliseconds that one more client then waits for its first line."""
import resource
import socket
import sys
import time

port, count, seconds = (int(word) for word in sys.argv[1:])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for _ in range(min(count, hard - 100)):
    held.append(socket.create_connection(("127.0.0.1", port), timeout=20))
time.sleep(0.5)
start = time.time()
one = socket.create_connection(("127.0.0.1", port), timeout=20)
hello = b"git-upload-pack /generated\0host=x\0\0version=2\0"
one.sendall(b"%04x" % (len(hello) + 4) + hello)
assert one.recv(14) == b"000eversion 2\n"
print(len(held), round((time.time() - start) * 1000, 2), flush=True)
time.sleep(seconds)
