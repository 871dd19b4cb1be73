# SPDX-License-Identifier: ISC
# Takes a port of this host, prints it and keeps it until killed. Nobody listens there, so whoever
# calls is refused; a server that reuses addresses may come and go. A port that was only looked for
# would be somebody else's by then: each call that anybody makes takes one for a minute.
import signal, socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
signal.pause()
