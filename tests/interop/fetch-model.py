#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
# Goal: a fetch gets from us exactly what stock git would send. Method: histories made at random, and
# the same raw request (depth, age, references, relative, what the client has and where its history
# ends, filters; versions 0 and 2) to `git upload-pack` and to ours; the changes of the edge and the
# sets of objects must be equal, and a pack without thin bases must be whole.
# usage: fetch-model.py BOLE FOLDER SEED ROUNDS
import os, random, subprocess, sys

BOLE, DIR, SEED, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
FORMAT = os.environ.get("GIT_DEFAULT_HASH", "sha1")
rnd = random.Random(SEED)
ENV = dict(os.environ, GIT_COMMITTER_DATE="1700000000 +0000", GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null", LC_ALL="C")
SETTINGS = {"uploadpack.allowFilter": "true", "uploadpack.allowAnySHA1InWant": "true",
            "uploadpack.allowRefInWant": "true", "pack.useSparse": "false", "pack.useBitmaps": "false", "pack.threads": "1",
            "transfer.advertiseObjectInfo": "true"}


def settings(env):
    env = dict(env, GIT_CONFIG_COUNT=str(len(SETTINGS)))
    for i, (key, value) in enumerate(SETTINGS.items()):
        env["GIT_CONFIG_KEY_%d" % i] = key
        env["GIT_CONFIG_VALUE_%d" % i] = value
    return env


def run(*args, data=None, env=ENV, cwd=None):
    return subprocess.run(args, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                          cwd=cwd, timeout=60)


def git(repo, *args, data=None):
    p = run("git", "-C", repo, *args, data=data)
    if p.returncode != 0:
        sys.exit("git %s: %s" % (args, p.stderr.decode()))
    return p.stdout.decode()


PATTERN_FILES = 8


def pick_pattern():
    """For the names below: folders d0 and d1, files f0 to f3."""
    parts = ["d0", "d1", "d?", "*", "**", "f*", "f1", "f[0-2]", "f[!1]", "[[:alpha:]]1"]
    text = "/".join(rnd.choice(parts) for _ in range(rnd.choice([1, 1, 2, 2, 3])))
    return rnd.choice(["", "", "!"]) + rnd.choice(["", "", "/"]) + text + rnd.choice(["", "", "/"])


def make_history(repo, seed):
    """Commits with merges on some branches; the trees are up to four levels deep."""
    git(".", "init", "-q", "--bare", repo)
    out, marks, date = [], [], 1700000000
    heads = {}
    for n in range(1, rnd.randint(15, 60)):
        date += rnd.choice([0, 1, 60, 3600])
        name = "refs/heads/b%d" % rnd.randint(0, 3)
        text = "c%d" % n
        out.append("commit %s\nmark :%d\ncommitter A <a@b> %d +0000\ndata %d\n%s\n"
                   % (name, n, date, len(text), text))
        if name in heads:
            out.append("from :%d\n" % heads[name])
        elif marks and rnd.random() < 0.9:
            out.append("from :%d\n" % rnd.choice(marks))
        if marks and rnd.random() < 0.25:
            out.append("merge :%d\n" % rnd.choice(marks))
        for _ in range(rnd.randint(1, 4)):
            depth = rnd.randint(0, 4)
            path = "".join("d%d/" % rnd.randint(0, 1) for _ in range(depth)) + "f%d" % rnd.randint(0, 3)
            # A blob in more than one depth: only where no combination is asked for (see below).
            shared = seed % 2 and rnd.random() < 0.3
            body = "shared" if shared else "%s %d %s\n" % (depth, rnd.randint(0, 99), "x" * rnd.choice([1, 50, 900]))
            out.append("M 100644 inline %s\ndata %d\n%s\n" % (path, len(body), body))
        out.append("\n")
        heads[name] = n
        marks.append(n)
    out.append("commit refs/heads/patterns\ncommitter A <a@b> 1700000000 +0000\ndata 0\n")
    for n in range(PATTERN_FILES):
        body = "".join(pick_pattern() + "\n" for _ in range(rnd.randint(1, 5)))
        out.append("M 100644 inline p%d\ndata %d\n%s\n" % (n, len(body), body))
    p = run("git", "-C", repo, "fast-import", "--quiet", data="".join(out).encode())
    if p.returncode != 0:
        sys.exit("fast-import: " + p.stderr.decode())
    git(repo, "symbolic-ref", "HEAD", sorted(heads)[0])
    commits = git(repo, "rev-list", "--all").split()
    for i in range(2):
        git(repo, "-c", "user.name=A", "-c", "user.email=a@b", "tag", "-a", "-m", "t", "t%d" % i, rnd.choice(commits))
    if rnd.random() < 0.5:
        git(repo, "repack", "-adfq", "--depth=10", "--window=10")
    return commits


def pkt(text):
    data = text.encode()
    return b"%04x" % (len(data) + 4) + data


def packets(data):
    """(kind, bytes): the kind is a length of special packets, else None."""
    at = 0
    while at + 4 <= len(data):
        n = int(data[at:at + 4], 16)
        if n < 4:
            yield n, b""
            at += 4
        else:
            yield None, data[at + 4:at + n]
            at += n
    if at != len(data):
        yield 9, b"cut short"


def read_reply(data, version, deepens):
    """(lines about the edge, the pack, an error)"""
    edge, pack, state, error = set(), b"", "start", None
    if version == 0:
        state = "refs"
    for kind, body in packets(data):
        if body.startswith(b"ERR "):
            return edge, pack, body.decode().strip()
        line = body.rstrip(b"\n")
        if state == "refs":
            if kind == 0:
                state = "edge" if deepens else "acks"
        elif state == "edge":
            if kind == 0:
                state = "acks"
            else:
                edge.add(line.decode())
        elif state == "acks":
            if body[:1] in b"\1\2\3" and body:
                state = "pack"
        if version == 2 and state != "pack":
            if kind is None and line in (b"shallow-info", b"packfile", b"wanted-refs", b"acknowledgments"):
                state = "pack" if line == b"packfile" else line.decode()
                continue
            if state == "shallow-info" and kind is None:
                edge.add(line.decode())
            if version == 2 and state == "start" and kind == 0:
                state = "request"
        if state == "pack" and kind is None:
            if body[:1] == b"\1":
                pack += body[1:]
            elif body[:1] == b"\3":
                error = body[1:].decode().strip()
    return edge, pack, error


def objects(pack, repo, thin, name):
    """The ids in a pack; bases that were left out come from the repository."""
    count = int.from_bytes(pack[8:12], "big")
    if count == 0:
        return set()
    target = os.path.join(DIR, name + ".pack")
    args = ["git", "index-pack"] + (["--fix-thin", "--stdin", target] if thin else [])
    if thin:
        p = run(*args, data=pack, cwd=repo)
    else:
        with open(target, "wb") as f:
            f.write(pack)
        p = run("git", "index-pack", "--object-format=" + FORMAT, target, cwd=DIR)
    if p.returncode != 0:
        return "index-pack: " + p.stderr.decode()
    with open(target[:-5] + ".idx", "rb") as f:
        rows = run("git", "show-index", "--object-format=" + FORMAT, data=f.read()).stdout.decode().split("\n")
    rows = sorted((int(r.split()[0]), r.split()[1]) for r in rows if r)
    for suffix in (".pack", ".idx", ".rev"):
        if os.path.exists(target[:-5] + suffix):
            os.chmod(target[:-5] + suffix, 0o600)
            os.unlink(target[:-5] + suffix)
    return set(oid for _, oid in rows[:count])


def ask(command, env, data, version):
    if version == 2:
        env = dict(env, GIT_PROTOCOL="version=2")
    p = run(*command, data=data, env=env)
    return p.stdout, p.stderr.decode()


def build(version, wants, haves, shallows, deepen, filt, thin, tags):
    words = (["thin-pack"] if thin else []) + ["ofs-delta"] + (["include-tag"] if tags else [])
    edge = ["shallow %s\n" % s for s in shallows] + [d + "\n" for d in deepen]
    if version == 2:
        lines = [pkt("command=fetch\n"), pkt("agent=model\n"), pkt("object-format=%s\n" % FORMAT), b"0001"]
        lines += [pkt(w + "\n") for w in words + ["no-progress"]]
        lines += [pkt("want %s\n" % w) for w in wants] + [pkt(e) for e in edge]
        lines += [pkt("filter %s\n" % filt)] if filt else []
        lines += [pkt("have %s\n" % h) for h in haves] + [pkt("done\n"), b"0000"]
        return b"".join(lines)
    relative = ["deepen-relative"] if "deepen-relative" in deepen else []
    caps = " ".join(words + relative + ["side-band-64k", "no-progress", "multi_ack_detailed", "object-format=" + FORMAT]
                    + (["filter"] if filt else []))
    lines = [pkt("want %s%s\n" % (w, " " + caps if i == 0 else "")) for i, w in enumerate(wants)]
    lines += [pkt(e) for e in edge if not e.startswith("deepen-relative")]
    lines += [pkt("filter %s\n" % filt)] if filt else []
    lines += [b"0000"] + [pkt("have %s\n" % h) for h in haves] + [pkt("done\n")]
    return b"".join(lines)


def pick_filter(seed):
    simple = ["blob:none", "blob:limit=0", "blob:limit=60", "blob:limit=1k", "tree:0", "tree:1", "tree:2", "tree:3",
              "tree:4", "object:type=commit", "object:type=tree", "object:type=blob", "object:type=tag"]
    if rnd.random() < 0.3:
        return "sparse:oid=%s:p%d" % (rnd.choice(["patterns", "refs/heads/patterns"]), rnd.randrange(PATTERN_FILES))
    # git passes over a blob in "combine" that it has met once too deep; then only sets without such.
    if seed % 2 or rnd.random() < 0.6:
        return rnd.choice(simple)
    parts = [rnd.choice(simple) for _ in range(rnd.randint(2, 3))]
    return "combine:" + "+".join(p.replace(":", "%3a").replace("=", "%3D") for p in parts)


def pick_request(repo, commits, seed):
    tips = git(repo, "for-each-ref", "--format=%(objectname)").split()
    version = rnd.choice([0, 2, 2])
    wants = sorted(set(rnd.choice(tips) if rnd.random() < 0.7 else rnd.choice(commits) for _ in range(rnd.randint(1, 3))))
    haves = sorted(set(rnd.choice(commits) for _ in range(rnd.choice([0, 0, 1, 2, 5]))))
    shallows, deepen = [], []
    if rnd.random() < 0.4:
        shallows = sorted(set(rnd.choice(commits) for _ in range(rnd.randint(1, 3))))
    kind = rnd.random()
    if kind < 0.35:
        deepen = ["deepen %d" % rnd.choice([1, 1, 2, 3, 5, 9, 100, 0x7FFFFFFF])]
        if rnd.random() < 0.3:
            deepen.append("deepen-relative")
    elif kind < 0.5:
        deepen = ["deepen-since %d" % (1700000000 + rnd.randint(0, 40000))]
    elif kind < 0.65:
        deepen = ["deepen-not " + rnd.choice(["refs/heads/b0", "refs/heads/b1", "refs/tags/t0", "t1", "b2"])]
        if rnd.random() < 0.3:
            deepen.append("deepen-since %d" % (1700000000 + rnd.randint(0, 20000)))
    filt = pick_filter(seed) if rnd.random() < 0.45 else None
    if filt is None and version == 2 and rnd.random() < 0.15:
        wants = rnd.sample(git(repo, "rev-list", "--objects", "--no-object-names", "--all").split(), 3)
    return version, wants, haves, shallows, deepen, filt, rnd.random() < 0.8, rnd.random() < 0.5


def check(n, repo, store, request):
    version, wants, haves, shallows, deepen, filt, thin, tags = request
    data = build(*request)
    theirs, err_theirs = ask(["git", "upload-pack", repo], settings(ENV), data, version)
    ours, err_ours = ask([BOLE, "upload-pack", "--set", "uploadpack.allowAnySHA1InWant=true", "--set",
                              "uploadpackfilter.sparse:oid.allow=true", store + "#r"], ENV, data, version)
    deepens = any(d.startswith("deepen") and d != "deepen-relative" for d in deepen)
    a, b = read_reply(theirs, version, deepens), read_reply(ours, version, deepens)
    what = "seed %d round %d: v%d want %s have %s shallow %s %s filter %s thin %s tags %s" % (
        SEED, n, version, wants, haves, shallows, deepen, filt, thin, tags)
    if a[1] == b"" or b[1] == b"":  # a refusal: of both, or of none
        if (a[1] == b"") != (b[1] == b""):
            sys.exit("%s\n  git: %s %s\n  ours: %s %s" % (what, a[2], err_theirs, b[2], err_ours))
        return 0, 0, 1
    if a[0] != b[0]:
        sys.exit("%s\n  the edge differs: only git %s, only ours %s" % (what, a[0] - b[0], b[0] - a[0]))
    x, y = objects(a[1], repo, thin, "theirs"), objects(b[1], repo, thin, "ours")
    if isinstance(y, str) or isinstance(x, str):
        sys.exit("%s\n  git: %s, ours: %s" % (what, x if isinstance(x, str) else "fine", y if isinstance(y, str) else "fine"))
    # Of what the client has, each may send again what the other does not: they see different parts of it.
    differ = x ^ y
    has = set()
    held = haves + [e.split()[1] for e in a[0] if e.startswith("unshallow")]
    if differ and held:
        edges = [e.split()[1] for e in a[0] if e.startswith("shallow")]
        cut = os.path.join(DIR, "cut")
        with open(cut, "w") as f:
            f.write("".join(i + "\n" for i in shallows + edges))
        has = set(git(repo, "--shallow-file", cut, "rev-list", "--objects", "--no-object-names", *held).split())
    if differ - has:
        kind = lambda s: [o + " " + git(repo, "cat-file", "-t", o).strip() for o in sorted(s)]
        sys.exit("%s\n  edge %s\n  the objects differ: only git %s, only ours %s" % (what, a[0], kind(x - y - has), kind(y - x - has)))
    return len(x), len(y), not differ


def main():
    theirs = ours = same = 0
    repo = store = commits = None
    for n in range(ROUNDS):
        if n % 40 == 0:
            seed = SEED + n // 40
            repo = os.path.join(DIR, "repo%d.git" % n)
            store = os.path.join(DIR, "store%d" % n)
            commits = make_history(repo, seed)
            for args in (["init", store, "--size", "64M"], ["import", store + "#r", repo]):
                p = run(BOLE, *args)
                if p.returncode != 0:
                    sys.exit("bole %s: %s" % (args, p.stderr.decode()))
        x, y, equal = check(n, repo, store, pick_request(repo, commits, seed))
        theirs, ours, same = theirs + x, ours + y, same + equal
    print("%d requests, %d with the same objects; git sent %d objects, we sent %d" % (ROUNDS, same, theirs, ours))
    if same < ROUNDS * 8 // 10 or ours > theirs * 1.05 + 20:
        sys.exit("too much is sent that the client has")


if __name__ == "__main__":
    main()
