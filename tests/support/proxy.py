#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""An HTTP proxy, for tests: proxy.py [USER:PASSWORD] prints its port; what it is asked goes to
standard error. CONNECT makes a tunnel, other requests name their whole URL."""
import base64
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

WANTED = "Basic " + base64.b64encode(sys.argv[1].encode()).decode() if len(sys.argv) > 1 else None


def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def refuses(self):
        print(self.command, self.path, self.headers.get("Authorization", "-"), file=sys.stderr, flush=True)
        if WANTED is None or self.headers.get("Proxy-Authorization") == WANTED:
            return False
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="t"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def do_CONNECT(self):
        if self.refuses():
            return
        host, port = self.path.rsplit(":", 1)
        far = socket.create_connection((host, int(port)))
        self.wfile.write(b"HTTP/1.1 200 go on\r\nVia: 1.1 test\r\n\r\n")
        back = threading.Thread(target=copy, args=(far, self.connection))
        back.start()
        copy(self.connection, far)
        back.join()
        self.close_connection = True

    def forward(self):
        url = urlsplit(self.path)
        if url.scheme != "http":
            self.send_error(400)
            return
        if self.refuses():
            return
        target = url.path + ("?" + url.query if url.query else "")
        fields = ["%s: %s" % (k, v) for k, v in self.headers.items()
                  if k.lower() not in ("proxy-authorization", "connection")]
        head = "%s %s HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n" % (self.command, target, "\r\n".join(fields))
        far = socket.create_connection((url.hostname, url.port or 80))
        far.sendall(head.encode())
        far.sendall(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        while data := far.recv(65536):
            self.wfile.write(data)
        self.close_connection = True

    do_GET = do_POST = forward


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
