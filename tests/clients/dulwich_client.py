# SPDX-License-Identifier: ISC
# dulwich as a client: dulwich_client.py VERB, where VERB is
#   clone URL DIR | shallow URL DIR DEPTH | push DIR URL REFERENCE | fetch DIR URL REFERENCE |
#   delete DIR URL REFERENCE
import sys

from dulwich import porcelain

verb, *rest = sys.argv[1:]
if verb == "clone":
    porcelain.clone(*rest)
elif verb == "shallow":
    porcelain.clone(rest[0], rest[1], depth=int(rest[2]))
elif verb == "push":
    porcelain.push(rest[0], rest[1], [f"{rest[2]}:{rest[2]}"])
elif verb == "fetch":
    porcelain.fetch(rest[0], rest[1])
else:
    porcelain.push(rest[0], rest[1], [f":{rest[2]}"])
