# SPDX-License-Identifier: ISC
# Receives webhooks: webhook_receiver.py NAME SECRET PORT
# Writes its port to NAME.port, and to NAME.got a line for each request: status and body, or "forged".
# Statuses come from NAME.plan, a line each, then 200 for ever; "hang" answers nothing.
import hashlib, hmac, http.server, json, sys, time
name, secret, port = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
plan = [l.strip() for l in open(name + '.plan')]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        want = 'sha256=' + hmac.new(secret, body, hashlib.sha256).hexdigest()
        d = json.loads(body)
        fine = self.headers['X-Hub-Signature-256'] == (want if secret else None)
        fine = fine and self.headers['X-Bole-Event'] == 'push' and d['event'] == 'push'
        fine = fine and self.headers['X-Bole-Delivery'] == d['delivery']
        step = plan.pop(0) if plan else '200'
        with open(name + '.got', 'a') as f:
            print(step if fine else 'forged', self.path, json.dumps(d), file=f)
        if step == 'hang':
            time.sleep(30)
        self.send_response(int(step) if step != 'hang' else 200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler)
with open(name + '.port', 'w') as f: print(server.server_port, file=f)
server.serve_forever()
