# SPDX-License-Identifier: ISC
# Private memory of a process, its group and its descendants: private.py PID
# Prints it at once in KiB, then samples until standard input ends and prints the most.
import os
import select
import sys
import time

leader = int(sys.argv[1])


def processes():
    parents = {}
    found = {leader}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = open(f"/proc/{name}/stat").read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(name)] = int(fields[1])
            if int(fields[2]) == leader:
                found.add(int(name))
    grown = True
    while grown:
        grown = False
        for child, parent in parents.items():
            if parent in found and child not in found:
                found.add(child)
                grown = True
    return found


def private():
    total = 0
    for pid in processes():
        try:
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


most = private()
print(most, flush=True)
pause = 0.002
while not select.select([sys.stdin], [], [], pause)[0]:
    start = time.monotonic()
    most = max(most, private())
    pause = max(0.002, time.monotonic() - start)  # what is measured needs the processor too
print(most)
