# SPDX-License-Identifier: ISC
# libgit2 as a client: libgit2_client.py clone URL DIR | push DIR URL REFERENCE
import sys

import pygit2

if sys.argv[1] == "clone":
    pygit2.clone_repository(sys.argv[2], sys.argv[3])
else:
    repository = pygit2.Repository(sys.argv[2])
    remote = repository.remotes.create("target", sys.argv[3])

    class Callbacks(pygit2.RemoteCallbacks):
        def push_update_reference(self, refname, message):
            if message is not None:
                sys.exit(f"{refname}: {message}")

    remote.push([f"{sys.argv[4]}:{sys.argv[4]}"], callbacks=Callbacks())
