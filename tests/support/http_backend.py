#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""git http-backend behind a small web server, for tests: http_backend.py ROOT [PEM...] prints its
port, then one for each file with key and certificate, which speaks TLS.

Paths under /auth/ want user "ada", password "s3cret"; /token/ wants "Bearer t0ken"; /moved/ leads to
the same path without it, /away/ to another place, /loop/ to itself; /slow/ never answers; /plain/
answers with a page. What each request said of credentials goes to standard error.
"""
import base64
import os
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = os.path.abspath(sys.argv[1])
BASIC = "Basic " + base64.b64encode(b"ada:s3cret").decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            parts = []
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                parts.append(self.rfile.read(size))
                self.rfile.readline()
                if size == 0:
                    return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def plain(self, status, text, **fields):
        data = text.encode()
        self.send_response(status)
        for key, value in fields.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def special(self, path):
        """Answers by itself, or returns the path to serve."""
        first, _, rest = path.lstrip("/").partition("/")
        auth = self.headers.get("Authorization", "")
        print(first, auth or "-", file=sys.stderr, flush=True)
        if first == "auth" and auth != BASIC:
            return self.plain(401, "who?", WWW_Authenticate='Basic realm="t"')
        if first == "token" and auth != "Bearer t0ken":
            return self.plain(401, "who?", WWW_Authenticate='Bearer realm="t"')
        if first == "moved":
            return self.plain(301, "", Location="/" + rest)
        if first == "far":
            host = "localhost:%d" % self.server.server_port
            return self.plain(302, "", Location="http://%s/%s" % (host, rest))
        if first == "away":
            return self.plain(302, "", Location="/elsewhere")
        if first == "loop":
            return self.plain(302, "", Location="/" + path.lstrip("/"))
        if first == "plain":
            return self.plain(200, "hello", Content_Type="text/html")
        if first == "busy":
            return self.plain(429, "later", Retry_After="17")
        return "/" + rest if first in ("auth", "token") else path

    def cgi(self, body):
        path = self.special(self.path)
        if path is None:
            return
        path, _, query = path.partition("?")
        env = dict(os.environ, GIT_PROJECT_ROOT=ROOT, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
                   REQUEST_METHOD=self.command, QUERY_STRING=query, REMOTE_USER="ada",
                   CONTENT_TYPE=self.headers.get("Content-Type", ""),
                   CONTENT_LENGTH=str(len(body)), HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
                   GIT_PROTOCOL=self.headers.get("Git-Protocol", ""))
        run = subprocess.run(["git", "http-backend"], input=body, env=env,
                             stdout=subprocess.PIPE, check=False)
        head, _, data = run.stdout.partition(b"\r\n\r\n")
        status, fields = 200, []
        for line in head.decode().split("\r\n"):
            key, _, value = line.partition(": ")
            if key == "Status":
                status = int(value.split()[0])
            elif key:
                fields.append((key, value))
        self.send_response(status)
        for key, value in fields:
            self.send_header(key, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(data), 7000):
            piece = data[at:at + 7000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self):
        self.cgi(b"")

    def do_POST(self):
        print("coded", self.headers.get("Content-Encoding", "-"), file=sys.stderr, flush=True)
        self.cgi(self.body())


def serve(pem):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    return server


servers = [serve(pem) for pem in [None] + sys.argv[2:]]
for each in servers[1:]:
    threading.Thread(target=each.serve_forever, daemon=True).start()
servers[0].serve_forever()
