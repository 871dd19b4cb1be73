# SPDX-License-Identifier: ISC
# dulwich as a client: dulwich_client.py clone URL DIR | push DIR URL REFERENCE
import sys

from dulwich import porcelain

if sys.argv[1] == "clone":
    porcelain.clone(sys.argv[2], sys.argv[3])
else:
    porcelain.push(sys.argv[2], sys.argv[3], [f"{sys.argv[4]}:{sys.argv[4]}"])
