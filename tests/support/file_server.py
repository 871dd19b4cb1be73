#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Files over HTTP with ranges, for tests: file_server.py ROOT [PEM] prints its port, and that which
speaks TLS. Each request is told on standard error: method, path, range, credentials.

/cut/N/file hangs up after N bytes of each answer; /never/file the same without ranges; /changes/file
is another one when it is asked for the rest; /moved/file leads to file, /loop/file to itself,
/down/file from TLS to plain; /query/file wants "?key=1"; /huge sends without end.
"""
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = os.path.abspath(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def short(self, status, **fields):
        self.send_response(status)
        for key, value in fields.items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def huge(self):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"[bundle]\n\tversion = 1\n" * 1000)

    def send_file(self, path, cut, ranges, tag):
        with open(os.path.join(ROOT, path), "rb") as file:
            data = file.read()
        first, wanted = 0, self.headers.get("Range")
        if wanted and ranges and self.headers.get("If-Range", tag) == tag:
            first = int(wanted.split("=")[1].split("-")[0])
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (first, len(data) - 1, len(data)))
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        self.wfile.write(data[first:first + cut])
        if first + cut < len(data):
            self.close_connection = True

    def do_GET(self):
        path, _, query = self.path.partition("?")
        print(self.command, self.path, self.headers.get("Range", "-"), self.headers.get("Authorization", "-"),
              file=sys.stderr, flush=True)
        words = path.lstrip("/").split("/")
        cut, ranges, tag = 1 << 40, True, '"one"'
        if words[0] in ("cut", "never", "changes"):
            ranges = words[0] != "never"
            if words[0] == "changes" and self.headers.get("Range"):
                tag = '"two"'
            cut = int(words[1])
            words = words[2:]
        elif words[0] == "moved":
            return self.short(302, Location="/" + "/".join(words[1:]))
        elif words[0] == "loop":
            return self.short(302, Location=path)
        elif words[0] == "down":
            return self.short(302, Location="http://127.0.0.1:%d/%s" % (ports[0], words[1]))
        elif words[0] == "huge":
            return self.huge()
        elif words[0] == "query":
            if query != "key=1":
                return self.short(403)
            words = words[1:]
        name = "/".join(words)
        if not os.path.isfile(os.path.join(ROOT, name)):
            return self.short(404)
        return self.send_file(name, cut, ranges, tag)


ports, servers = [], []
for pem in [None] + sys.argv[2:]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    ports.append(server.server_port)
    servers.append(server)
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
