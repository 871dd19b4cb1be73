# SPDX-License-Identifier: ISC
"""Random files for archives whose attributes change them: archive_files.py FOLDER SEED."""
import os
import random
import sys

folder, seed = sys.argv[1], int(sys.argv[2])
r = random.Random(seed)

PERSON = [a + b for a in "ac" for b in "nNeElLtdDisI"]
KNOWN = ["H", "h", "T", "t", "P", "p", "n", "%", "x41", "x0a", "m", "d", "D", "B", "s", "f", "b", "e", "gd", "gD", "gs",
         "gn", "gE", "G?", "GG", "GS", "GK", "GF", "GP", "GT", "Cred", "C(auto)", "C(auto,blue)", "C(bold red)", "Creset",
         "w()"] + PERSON
UNKNOWN = ["Q", "xz1", "gq", "Gq", "aq", "(nothing)", "N", "S", "Cpink", "wq", "", "C(red", "a", "\0H"]
TEXT = ["text", " ", "\n", "%", "%%", "$", "Format:", "$Format:", "\r\n", "ü", "\0"]


def placeholder():
    return "%" + r.choice(["", "", "", "+", "-", " "]) + r.choice(KNOWN if r.random() < 0.9 else UNKNOWN)


def formats():
    parts = []
    for _ in range(r.randrange(1, 6)):
        inner = "".join(placeholder() if r.random() < 0.7 else r.choice(TEXT[:5]) for _ in range(r.randrange(0, 8)))
        parts.append(r.choice(["", "\n", "\n\n", "a", r.choice(TEXT)]))
        parts.append("$Format:" + inner + r.choice(["$", "$", "$", ""]))
    return "".join(parts).encode()


def ids():
    some = ["$", "Id", "$Id$", "$Id: abc $", "$Id: a b $", "$Id:x$", "$Id:", "\n", " ", "$Id: $", "$Idx$", "$I", "text"]
    return "".join(r.choice(some) for _ in range(r.randrange(1, 12))).encode()


def lines():
    ends = r.choice([["\n"], ["\r\n"], ["\n", "\r\n"], ["\n", "\r"], ["\n"], ["\n"]])
    odd = r.choice([[], [], ["\x01"], ["\0"], ["\x1b", "\b"]])
    text = "".join(r.choice(["a", "line", "", " ", "x" * 150] + odd) + r.choice(ends) for _ in range(r.randrange(1, 9)))
    return (text + r.choice(["", "", "end", "\x1a", "\r"])).encode()


def attributes():
    words = ["export-subst", "ident", "text", "-text", "text=auto", "!text", "eol=crlf", "eol=lf", "crlf", "-crlf",
             "crlf=input", "crlf=auto", "text=input", "text=odd", "binary", "-ident", "ident=x", "-export-subst", "odd"]
    usual = ["export-subst", "eol=crlf", "ident"]
    return " ".join([r.choice(words) for _ in range(r.randrange(0, 4))] + [w for w in usual if r.random() < 0.6])


os.makedirs(folder + "/sub")
with open(folder + "/.gitattributes", "w") as out:
    out.write("[attr]odd export-subst ident text\n")
    for i in range(60):
        name = f"f{i}" if i % 3 else f"sub/f{i}"
        out.write(f"{name} {attributes()}\n")
        with open(f"{folder}/{name}", "wb") as file:
            content = b"".join(r.choice([formats, ids, lines, formats])() for _ in range(r.randrange(0, 4)))
            file.write(content.replace(b"$Id:$", b"$Id: $"))  # git 2.39 reads beyond its memory there
