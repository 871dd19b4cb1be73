# SPDX-License-Identifier: ISC
# libgit2 as a client: libgit2_client.py VERB, where VERB is
#   clone URL DIR | push DIR URL REFERENCE | fetch DIR URL REFERENCE | delete DIR URL REFERENCE
import sys

import pygit2

verb, a, b, *rest = sys.argv[1:]


class Callbacks(pygit2.RemoteCallbacks):
    def push_update_reference(self, refname, message):
        if message is not None:
            sys.exit(f"{refname}: {message}")


if verb == "clone":
    pygit2.clone_repository(a, b)
else:
    remotes = pygit2.Repository(a).remotes
    known = [r.name for r in remotes if r.name == "target"]
    remote = remotes["target"] if known else remotes.create("target", b)
    name = rest[0]
    if verb == "fetch":
        remote.fetch([f"{name}:refs/fetched/{name}"])
    else:
        remote.push([f"{name}:{name}" if verb == "push" else f":{name}"], callbacks=Callbacks())
