#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A way to a server on which something happens in the middle: between.py PORT WORDS COMMAND prints
its own port. When a client sends WORDS for the first time, COMMAND runs before they go on."""
import socket
import subprocess
import sys
import threading

port, words, command = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
lock = threading.Lock()
done = []


def copy(source, sink, watch):
    try:
        while data := source.recv(65536):
            with lock:
                if watch and words in data and not done:
                    done.append(subprocess.run(command, shell=True, check=True))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    near, _ = listener.accept()
    far = socket.create_connection(("127.0.0.1", port))
    for args in ((near, far, True), (far, near, False)):
        threading.Thread(target=copy, args=args, daemon=True).start()
