#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
# Goal: a running server sends exactly what stock git would, whatever happened to its repositories.
# Method: the requests of fetch-model.py over git://, while branches grow, are amended, deleted, set
# back to old tips, and tagged, the server collects, repacks and makes its sets by itself, and is now
# and then started anew.
# usage: serve-model.py BOLE FOLDER SEED ROUNDS
import importlib.util, os, random, socket, subprocess, sys, time

spec = importlib.util.spec_from_file_location("model", os.path.join(os.path.dirname(__file__), "fetch-model.py"))
model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(model)
BOLE, DIR, SEED, ROUNDS = model.BOLE, model.DIR, model.SEED, model.ROUNDS
rnd, run, git = model.rnd, model.run, model.git
REPOS = 3


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


HTTP, GIT = free_port(), free_port()


def ask(command, env, data, version):
    """Stock git's upload-pack on standard input; ours over git://, the repository named by its store."""
    if command[0] != BOLE:
        return stock(command, env, data, version)
    name = command[-1].split("#")[0]
    line = "git-upload-pack /%s\0host=h\0" % name + ("\0version=2\0" if version == 2 else "")
    out = b""
    with socket.create_connection(("127.0.0.1", GIT), timeout=60) as c:
        c.sendall(model.pkt(line) + data + (b"0000" if version == 2 else b""))
        while True:
            # After a refusal the server waits for what may still come.
            c.settimeout(0.7 if b"ERR " in out[-400:] else 30)
            try:
                got = c.recv(1 << 16)
            except TimeoutError:
                if b"ERR " not in out[-400:]:
                    sys.exit("silence after %r" % out[-100:])
                break
            if not got:
                break
            out += got
    return out, ""


stock, model.ask = model.ask, ask


class History:
    """What happens to a repository, in stock git's own and pushed to the server."""

    clock = 1700400000

    def __init__(self, repo, name):
        self.repo, self.name, self.old = repo, name, []

    def git(self, *args, data=None):
        return git(self.repo, "-c", "user.name=A", "-c", "user.email=a@b", *args, data=data).strip()

    def commits(self):
        return self.git("rev-list", "--all").split()

    def commit(self, parents, commits):
        tree = self.git("rev-parse", rnd.choice(commits) + "^{tree}")
        if rnd.random() < 0.7:
            # What does not deflate makes a pack; small pushes become records, which nothing repacks.
            times = rnd.choice([0, 1, 200, 3000])
            body = ("%d " % rnd.getrandbits(60)).encode() * times or rnd.randbytes(600000)
            blob = self.git("hash-object", "-w", "--stdin", data=body)
            lines = [l for l in self.git("ls-tree", tree).split("\n") if l and not l.endswith("\tnew")]
            tree = self.git("mktree", data=("\n".join(lines + ["100644 blob %s\tnew" % blob]) + "\n").encode())
        History.clock += 60  # git's own answers go wrong where clocks do
        model.ENV["GIT_COMMITTER_DATE"] = "%d +0000" % History.clock
        args = [x for p in parents for x in ("-p", p)]
        return self.git("commit-tree", "-m", "m%d" % rnd.getrandbits(40), *args, tree)

    def pick(self):
        """A refspec."""
        commits, kind = self.commits(), rnd.random()
        refs = self.git("for-each-ref", "--format=%(refname)").split()
        ref = "refs/heads/b%d" % rnd.randrange(6)
        tip = self.git("rev-parse", ref + "^{}") if ref in refs else None
        if kind < 0.35 or (tip is None and kind < 0.65):
            at = tip or rnd.choice(commits)
            for _ in range(rnd.choice([1, 1, 2, 5, 20])):
                at = self.commit([at] + ([rnd.choice(commits)] if rnd.random() < 0.2 else []), commits)
            return "%s:%s" % (at, ref)
        if kind < 0.65:
            self.old.append(tip)
            if kind < 0.55 or ref == self.git("symbolic-ref", "HEAD"):
                return "+%s:%s" % (self.commit(self.git("rev-list", "--parents", "-1", tip).split()[1:], commits), ref)
            return ":" + ref
        if kind < 0.8 and self.old:
            return "+%s:%s" % (rnd.choice(self.old), ref)
        if kind < 0.9:
            name = "tag%d" % rnd.getrandbits(30)
            self.git("tag", "-a", "-m", name, name, rnd.choice(commits))
            return "refs/tags/" + name
        return "+%s:%s" % (rnd.choice(commits), ref)

    def change(self):
        spec = self.pick()
        p = run("git", "-C", self.repo, "push", "-q", "http://127.0.0.1:%d/%s" % (HTTP, self.name), spec)
        if p.returncode != 0:
            sys.exit("seed %d: push %s: %s" % (SEED, spec, p.stderr.decode()))
        if ":" in spec:
            new, ref = spec.lstrip("+").split(":")
            self.git(*(["update-ref", ref, new] if new else ["update-ref", "-d", ref]))


def start(store, log):
    settings = ["uploadpack.allowAnySHA1InWant=true", "uploadpackfilter.sparse:oid.allow=true", "gc.delay=1",
                "gc.period=2", "gc.share=0", "repack.delay=1", "repack.period=2", "repack.packs=2"]  # fmt: skip
    args = [BOLE, "serve", store, "--push", "--http", "127.0.0.1:%d" % HTTP, "--git", "127.0.0.1:%d" % GIT]
    server = subprocess.Popen(args + [x for s in settings for x in ("--set", s)], stdout=log, stderr=log)
    for _ in range(100):
        time.sleep(0.1)
        try:
            socket.create_connection(("127.0.0.1", GIT)).close()
            return server
        except OSError:
            pass
    sys.exit("the server does not start: see %s" % log.name)


def stop(server):
    server.terminate()
    if server.wait() != 0:
        sys.exit("seed %d: the server ended with %d" % (SEED, server.returncode))


def background(log):
    """How often the server did what, beside the requests."""
    text = open(log.name, "rb").read()
    return {word: text.count(b"%s: repository" % word.encode()) for word in ("bitmaps", "gc", "repack")}


def main():
    same = theirs = ours = 0
    store = os.path.join(DIR, "store")
    histories = []
    if run(BOLE, "init", store, "--size", "256M").returncode != 0:
        sys.exit("bole init fails")
    for i in range(REPOS):
        repo = os.path.join(DIR, "repo%d.git" % i)
        model.make_history(repo, SEED + i)
        if run(BOLE, "import", store + "#r%d" % i, repo).returncode != 0:
            sys.exit("bole import fails")
        histories.append(History(repo, "r%d" % i))
    log = open(os.path.join(DIR, "log"), "wb")
    server = start(store, log)
    try:
        for n in range(ROUNDS):
            h = rnd.choice(histories)
            if rnd.random() < 0.3:
                h.change()
            if rnd.random() < 0.03:
                time.sleep(rnd.choice([1, 2, 6]))
            if n % 30 == 29:
                stop(server)
                server = start(store, log)
            seed = SEED + histories.index(h)
            x, y, equal = model.check(n, h.repo, h.name, model.pick_request(h.repo, h.commits(), seed))
            theirs, ours, same = theirs + x, ours + y, same + equal
        until = time.time() + 30
        while 0 in background(log).values() and time.time() < until:
            time.sleep(0.2)
    finally:
        stop(server)
    work = background(log)
    print("%d requests, %d with the same objects; git sent %d objects, we sent %d; in the background %s" % (
        ROUNDS, same, theirs, ours, work))  # fmt: skip
    if 0 in work.values():
        sys.exit("the server left something undone")
    if same < ROUNDS * 8 // 10 or ours > theirs * 1.05 + 20:
        sys.exit("too much is sent that the client has")


main()
