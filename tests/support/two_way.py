# SPDX-License-Identifier: ISC
"""Random repositories from git through bole and back: two_way.py BOLE REPOS SEED JOBS"""
import concurrent.futures
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zlib

BOLE, REPOS, SEED, JOBS = os.path.abspath(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
ROOT = tempfile.mkdtemp(prefix="bole-files-")
ENV = dict(os.environ, HOME=ROOT, GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="A", GIT_AUTHOR_EMAIL="a@b",
           GIT_COMMITTER_NAME="A", GIT_COMMITTER_EMAIL="a@b", LC_ALL="C", GIT_AUTHOR_DATE="1700000000 +0000",
           GIT_COMMITTER_DATE="1700000000 +0000")
for name in ("GIT_DIR", "GIT_DEFAULT_HASH"):
    ENV.pop(name, None)


class Bad(Exception):
    pass


def run(*cmd, cwd=None, data=None, ok=(0,)):
    p = subprocess.run(cmd, cwd=cwd, input=data, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode not in ok:
        raise Bad("%s: exit code %d: %s" % (" ".join(cmd), p.returncode, p.stderr.decode(errors="replace")[-600:]))
    return p.stdout


def git(folder, *args, **more):
    return run("git", "-C", folder, *args, **more)


class Maker:
    """A stream for git fast-import."""

    def __init__(self, rng):
        self.rng, self.out, self.marks, self.mark = rng, [], [], 0
        self.words = [rng.randbytes(rng.randrange(3, 9)).hex().encode() for _ in range(200)]

    def put(self, text):
        self.out.append(text if isinstance(text, bytes) else text.encode())

    def data(self, content):
        self.put(b"data %d\n" % len(content) + content + b"\n")

    def text(self):
        r = self.rng
        kind = r.randrange(12)
        if kind == 0:
            return b""
        if kind == 1:
            return r.randbytes(r.randrange(1, 20000))
        if kind == 2:
            return b"\0" * r.randrange(1, 60000)
        lines = [r.choice(self.words) for _ in range(r.randrange(1, 800))]
        return b"\n".join(lines) + b"\n" * r.randrange(2)

    def edit(self, content):
        r = self.rng
        lines = content.split(b"\n")
        for _ in range(r.randrange(1, 5)):
            at = r.randrange(len(lines) + 1)
            lines[at:at + r.randrange(3)] = [r.choice(self.words) for _ in range(r.randrange(4))]
        return b"\n".join(lines)

    def name(self):
        r = self.rng
        part = lambda: r.choice(["a", "b", "dir", "Dir", "src", "f%d" % r.randrange(30), "x y", "\u00fcml\u00e4ut",
                                 "a.b", "a-b", "a0", "tab\\tq", "long" * 30])
        return "/".join(part() for _ in range(r.randrange(1, 5)))

    def files(self, known):
        r = self.rng
        for _ in range(r.randrange(1, 8)):
            path = self.name()
            # A file and a folder of one name do not go together.
            if any(p.startswith(path + "/") or path.startswith(p + "/") for p in known):
                continue
            kind = r.randrange(14)
            quoted = '"%s"' % path if " " in path or "\\" in path else path
            if kind == 0 and known:
                gone = r.choice(sorted(known))
                del known[gone]
                self.put('D %s\n' % ('"%s"' % gone if " " in gone or "\\" in gone else gone))
            elif kind == 1:
                self.put("M 120000 inline %s\n" % quoted)
                self.data(b"../target/%d" % r.randrange(99))
                known[path] = None
            elif kind == 2:
                self.put("M 160000 %s %s\n" % (r.randbytes(self.hash).hex(), quoted))
                known[path] = None
            else:
                content = self.edit(known[path]) if known.get(path) and r.randrange(4) else self.text()
                self.put("M %s inline %s\n" % (r.choice(["100644", "100644", "100755"]), quoted))
                self.data(content)
                known[path] = content

    def time(self):
        r = self.rng
        kind = r.randrange(20)
        return {0: 0, 1: r.randrange(100), 2: 1 << 31, 3: (1 << 33) + r.randrange(99)}.get(
            kind, 1600000000 + len(self.marks) * 60 + r.randrange(-5000, 5000))

    def commit(self, branch):
        r = self.rng
        self.mark += 1
        parents = r.sample(self.marks, min(len(self.marks), r.choice([0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 5])))
        if self.marks and not parents and r.randrange(3):
            parents = [self.marks[-1]]
        self.put("commit %s\nmark :%d\n" % (branch, self.mark))
        zone = r.choice(["+0000", "-0730", "+1400"])
        self.put("author A U Thor <a@example.org> %d %s\n" % (self.time(), zone))
        self.put("committer C O Mitter <c@example.org> %d %s\n" % (self.time(), zone))
        self.data(r.choice([b"", b"subject\n", b"subject\n\nbody " + r.choice(self.words) * r.randrange(200),
                            "\u00e9\u4e2d\n".encode()]))
        for i, p in enumerate(parents):
            self.put("%s :%d\n" % ("from" if i == 0 else "merge", p))
        known = dict(self.trees.get(parents[0], {})) if parents else {}
        if not parents:
            self.put("deleteall\n")
        self.files(known)
        self.trees[self.mark] = known
        self.marks.append(self.mark)
        self.put("\n")

    def stream(self, hash_bytes):
        r = self.rng
        self.hash, self.trees = hash_bytes, {}
        branches = ["refs/heads/main"] + ["refs/heads/%s" % n for n in r.sample(
            ["topic", "a/b/c", "x.y", "UPPER", "\u00fcml", "v1", "deep/er/est/one"], r.randrange(5))]
        if r.randrange(3) == 0:
            branches.append("refs/notes/commits")
            branches.append("refs/pull/7/head")
        for i in range(r.randrange(1, 40)):
            branch = branches[0] if i == 0 else r.choice(branches)
            # Else fast-import would go on from the branch's tip where no parent is given.
            self.put("reset %s\n" % branch)
            self.commit(branch)
        for i in range(r.randrange(4)):
            self.put("tag t%d\nfrom :%d\ntagger T <t@example.org> %d +0000\n" % (i, r.choice(self.marks), 1700000000 + i))
            self.data(b"tag %d\n" % i)
        return b"".join(self.out)


def shape(rng, folder):
    """Brings a repository into one of the forms that git keeps."""
    kind = rng.randrange(9)
    if kind == 0:  # everything loose
        for name in os.listdir(folder + "/objects/pack"):
            if name.endswith(".pack"):
                os.rename(folder + "/objects/pack/" + name, folder + "/moved.pack")
                for end in (".idx", ".rev"):
                    path = folder + "/objects/pack/" + name[:-5] + end
                    if os.path.exists(path):
                        os.remove(path)
                with open(folder + "/moved.pack", "rb") as f:
                    git(folder, "unpack-objects", "-q", data=f.read())
                os.remove(folder + "/moved.pack")
    elif kind == 1:
        git(folder, "-c", "pack.indexVersion=1", "repack", "-adfq", "--window=20", "--depth=60")
    elif kind == 2:
        git(folder, "-c", "pack.writeReverseIndex=true", "repack", "-adfqb")
    elif kind == 3:  # base by id
        git(folder, "-c", "repack.useDeltaBaseOffset=false", "repack", "-adfq")
    elif kind in (4, 5):  # several packs, maybe with one index over all of them
        git(folder, "repack", "-adfq", "--max-pack-size=1m")
        with open(folder + "/objects/pack/keep-all", "w"):
            pass
        os.remove(folder + "/objects/pack/keep-all")
        names = git(folder, "rev-list", "--objects", "--all", "--no-object-names").split()
        for _ in range(rng.randrange(1, 4)):
            some = rng.sample(names, max(1, len(names) // 2))
            git(folder, "pack-objects", "-q", "objects/pack/pack", data=b"\n".join(some) + b"\n")
        if kind == 5:
            git(folder, "multi-pack-index", "write")
    elif kind == 6:
        git(folder, "repack", "-adfq")
        git(folder, "commit-graph", "write", "--reachable", "--changed-paths")
    if rng.randrange(2):
        git(folder, "pack-refs", "--all")
    if rng.randrange(6) == 0:
        git(folder, "symbolic-ref", "refs/remotes/o/HEAD", "refs/heads/main")


def varint(n):
    out = [n & 127]
    while n > 127:
        n = (n >> 7) - 1
        out.insert(0, 128 | n & 127)
    return bytes(out)


def table(records, wide, block_bytes):
    """A reftable of (name, value) in order: None deletes, text is symbolic, bytes are ids."""
    head = b"REFT" + bytes([2 if wide else 1]) + block_bytes.to_bytes(3, "big") + bytes(7) + b"\1" + bytes(7) + b"\2"
    head += b"s256" if wide else b""
    body, block, last, restarts = head, b"", b"", []
    size, start, index = 32 if wide else 20, 0, []

    def end_block():
        nonlocal body, block, restarts
        extra = len(head) if start == 0 else 0
        tail = b"".join(r.to_bytes(3, "big") for r in restarts) + len(restarts).to_bytes(2, "big")
        body += b"r" + (extra + 4 + len(block) + len(tail)).to_bytes(3, "big") + block + tail
        index.append((last, start))
        if block_bytes:
            body += bytes(-len(body) % block_bytes)
        block, restarts = b"", []

    for name, value in records:
        kind = 0 if value is None else 3 if isinstance(value, str) else len(value) // size
        rest = b"" if value is None else value
        if kind == 3:
            rest = varint(len(value)) + value.encode()
        if block_bytes and len(block) + len(name) + len(rest) + 80 > block_bytes:
            end_block()
            start, last = len(body), b""
        same = len(os.path.commonprefix([last, name])) if len(restarts) and len(block) % 3 else 0
        if same == 0:
            restarts.append(4 + len(block) + (len(head) if start == 0 else 0))
        block += varint(same) + varint((len(name) - same) << 3 | kind) + name[same:] + varint(0) + rest
        last = name
    end_block()
    at = 0
    if len(index) > 1:
        at, block = len(body), b""
        for name, place in index:
            block += varint(0) + varint(len(name) << 3) + name + varint(place)
        tail = (4).to_bytes(3, "big") + (1).to_bytes(2, "big")
        body += b"i" + (4 + len(block) + len(tail)).to_bytes(3, "big") + block + tail
    foot = head + at.to_bytes(8, "big") + bytes(32)
    return body + foot + zlib.crc32(foot).to_bytes(4, "big")


def to_reftable(rng, folder):
    """The references as a stack of two tables; git 2.39 cannot read that any more."""
    wide = b"sha256" in git(folder, "rev-parse", "--show-object-format")
    old, new = {}, {b"HEAD": git(folder, "symbolic-ref", "HEAD").decode().strip()}
    for line in refs(folder):
        oid, peeled, symbolic, name = line.split(b" ")
        value = symbolic.decode() or bytes.fromhex((oid + peeled).decode())
        if rng.randrange(3) == 0:
            new[name] = value
        else:
            old[name] = value
            if rng.randrange(4) == 0:  # the newer table hides an older value
                old[name], new[name] = bytes(32 if wide else 20), value
    old[b"refs/heads/zz-deleted"], new[b"refs/heads/zz-deleted"] = bytes(32 if wide else 20), None
    os.mkdir(folder + "/reftable")
    for name, some in (("1.ref", old), ("2.ref", new)):
        with open(folder + "/reftable/" + name, "wb") as f:
            f.write(table(sorted(some.items()), wide, rng.choice([0, 0, 512, 4096])))
    with open(folder + "/reftable/tables.list", "w") as f:
        f.write("1.ref\n2.ref\n")
    shutil.rmtree(folder + "/refs")
    if os.path.exists(folder + "/packed-refs"):
        os.remove(folder + "/packed-refs")
    os.makedirs(folder + "/refs")
    with open(folder + "/HEAD", "w") as f:
        f.write("ref: refs/heads/.invalid\n")
    with open(folder + "/config", "a") as f:
        f.write("[core]\n\trepositoryformatversion = 1\n[extensions]\n\trefstorage = reftable\n")


def content(folder):
    """All reachable objects with their bytes, by id."""
    ids = sorted(git(folder, "rev-list", "--objects", "--all", "--no-object-names").split())
    return git(folder, "cat-file", "--batch", "--buffer", data=b"\n".join(ids) + b"\n")


def refs(folder):
    return git(folder, "for-each-ref", "--format=%(objectname) %(*objectname) %(symref) %(refname)").splitlines()


def check(folder):
    """What git says about files that we wrote."""
    out = git(folder, "fsck", "--strict", "--full", "--no-dangling", "--no-progress")
    if out:
        raise Bad("fsck: " + out.decode())
    packs = [n for n in os.listdir(folder + "/objects/pack")]
    for name in packs:
        if name.endswith(".idx"):
            git(folder, "verify-pack", "objects/pack/" + name)
            base = name[:-4]
            if sorted(n for n in packs if n.startswith(base)) != [base + e for e in (".idx", ".pack", ".rev")]:
                raise Bad("files missing: %s" % packs)
    if os.path.exists(folder + "/objects/info/commit-graph"):
        git(folder, "commit-graph", "verify")
    # The reverse index is used, and it is right, where git counts what lies on the disk.
    git(folder, "-c", "pack.readReverseIndex=true", "cat-file", "--batch-all-objects",
        "--batch-check=%(objectname) %(objectsize:disk)")


def same(a, b, what):
    if content(a) != content(b):
        raise Bad("%s: the objects differ" % what)
    if refs(a) != refs(b):
        raise Bad("%s: the references differ:\n%s\n%s" % (what, refs(a), refs(b)))


def one(seed, store):
    rng = random.Random(seed)
    fmt = "sha256" if seed % 2 else "sha1"
    folder = "%s/%d" % (ROOT, seed)
    src, out, back = folder + "/src.git", folder + "/out.git", folder + "/back.git"
    os.mkdir(folder)
    run("git", "init", "-q", "--bare", "-b", "main", "--object-format=" + fmt, src)
    git(src, "config", "advice.nestedTag", "false")
    git(src, "fast-import", "--quiet", "--date-format=raw-permissive",
        data=Maker(rng).stream(20 if fmt == "sha1" else 32))
    tip = git(src, "for-each-ref", "--format=%(refname)", "refs/heads/").split()[0].decode()
    git(src, "symbolic-ref", "HEAD", tip)
    if rng.randrange(3) == 0:
        git(src, "tag", "-a", "-m", "tree", "of-tree", tip + "^{tree}")
        git(src, "tag", "-a", "-m", "nested", "nested", "of-tree")
    shape(rng, src)
    if rng.randrange(6) == 0:
        borrowed = folder + "/borrowed.git"
        run("git", "clone", "-q", "--mirror", "--shared", src, borrowed)
        git(borrowed, "update-ref", "refs/heads/more",
            git(borrowed, "commit-tree", "-m", "more", "-p", tip, tip + "^{tree}").decode().strip())
        git(borrowed, "symbolic-ref", "HEAD", tip)
        src = borrowed
    repo = "%s#r%d" % (store, seed)
    given = src
    if rng.randrange(4) == 0 and not os.path.exists(src + "/objects/info/alternates"):
        given = folder + "/reftable.git"
        shutil.copytree(src, given)
        to_reftable(rng, given)
    run(BOLE, "import", repo, given, "--all")
    run(BOLE, "export", repo, out)
    check(out)
    same(src, out, "import and export")
    if git(src, "symbolic-ref", "HEAD") != git(out, "symbolic-ref", "HEAD"):
        raise Bad("HEAD differs")
    # What we wrote we read; what our own writer of objects wrote git reads.
    kind = rng.randrange(4)
    if kind >= 2:  # a bundle has no symbolic references
        git(src, "symbolic-ref", "-d", "refs/remotes/o/HEAD", ok=(0, 1, 128))
        repo += "y"
        run(BOLE, "import", repo, src, "--all")
    if kind == 0:
        for i in range(rng.randrange(1, 5)):
            run(BOLE, "set", repo, "kv/%d" % i, rng.randbytes(rng.randrange(9)).hex())
        run(BOLE, "export", repo, back)
        check(back)
    elif kind == 1:
        run(BOLE, "import", repo + "x", out, "--all")
        run(BOLE, "export", repo + "x", back)
        check(back)
        same(out, back, "import of an export")
    elif kind == 2:
        run(BOLE, "bundle", "create", repo, folder + "/ours")
        git(src, "bundle", "verify", "-q", folder + "/ours")
        run("git", "clone", "-q", "--mirror", folder + "/ours", back)
        same(src, back, "our bundle")
    else:
        git(src, "bundle", "create", "-q", folder + "/theirs", "--all")
        how = rng.choice([("bundle", "unbundle"), ("import",)])
        run(BOLE, *how, repo + "b", folder + "/theirs")
        run(BOLE, "export", repo + "b", back)
        check(back)
        same(src, back, "git's bundle")
    shutil.rmtree(folder)


def worker(n):
    store = "%s/store%d" % (ROOT, n)
    done = 0
    for i, seed in enumerate(range(SEED + n, SEED + REPOS, JOBS)):
        if i % 40 == 0:
            if os.path.exists(store):
                run(BOLE, "fsck", store)
                os.remove(store)
            run(BOLE, "init", store, "--size", "256M")
        try:
            one(seed, store)
        except Bad as e:
            raise Bad("repository %d (SEED=%d REPOS=1): %s" % (seed, seed, e)) from None
        done += 1
    if os.path.exists(store):
        run(BOLE, "fsck", store)
    return done


def main():
    try:
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            done = sum(pool.map(worker, range(JOBS)))
    except Bad as e:
        print("files: %s\nfiles: kept in %s" % (e, ROOT))
        os._exit(1)
    shutil.rmtree(ROOT)
    print("files: %d random repositories from seed %d on, both ways: all right" % (done, SEED))


main()
