#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A way to a server that lets some connections through and then is gone: few_connections.py PORT
COUNT prints its own port."""
import socket
import sys
import threading


def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
threads = []
for _ in range(int(sys.argv[2])):
    near, _ = listener.accept()
    far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    for pair in ((near, far), (far, near)):
        threads.append(threading.Thread(target=copy, args=pair))
        threads[-1].start()
listener.close()
for thread in threads:
    thread.join()
