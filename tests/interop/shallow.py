#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
# Random histories for git fast-import, with merges, several roots and clocks that go backwards.
# usage: shallow.py SEED FIRST COUNT: commits FIRST .. FIRST + COUNT - 1 of the history of SEED.
import random
import sys

seed, first, count = (int(a) for a in sys.argv[1:])
rnd = random.Random(seed)
heads = {"main": 0, "topic": 0, "side": 0}
made = []
for i in range(1, first + count):
    branch = rnd.choice(["main", "main", "topic", "side"])
    parents = [heads[branch]] if heads[branch] else ([rnd.choice(made)] if made and rnd.random() < 0.8 else [])
    if made and rnd.random() < 0.25:
        parents.append(rnd.choice(made))
    parents = list(dict.fromkeys(parents))
    date = 1700000000 + i * 3600 - rnd.choice([0, 0, 0, 9000])
    name, text = "f%d" % rnd.randrange(9), "%d\n" % rnd.random().__hash__() * rnd.randrange(1, 90)
    heads[branch] = i
    made.append(i)
    if i < first:
        continue
    print("commit refs/heads/%s\nmark :%d\ncommitter A <a@b> %d +0000\ndata 2\nc\n" % (branch, i, date))
    for word, p in zip(["from"] + ["merge"] * 9, parents):
        print("%s :%d" % (word, p))
    print("M 644 inline d%d/%s\ndata %d\n%s" % (i % 3, name, len(text), text))
