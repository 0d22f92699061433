"""The door for all users: it knows which process comes in, which gRPC does not tell.

What the kernel says of a connection (SO_PEERCRED) cannot be made up. The door accepts connections and passes their
bytes on to the server behind it, from an address that names the process. The socket behind is open to the daemon's user
alone, so that nobody else comes in by an address that is made up.
"""

from __future__ import annotations

import re
import secrets
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

from ir.errors import Problem, UsageError

ADDRESS = "snd-{pid}-{token}"
PEER = re.compile(r"unix-abstract:snd-(\d+)-[0-9a-f]+")
CREDENTIALS = struct.Struct("3i")  # PID, user, group
WAITING = 128
"""Connections that wait to be accepted."""
PIECE_BYTES = 1 << 16


def caller(peer: str) -> int:
    """The PID of the process that a call comes from. Raises UsageError for calls that came in another way."""
    found = PEER.fullmatch(peer)
    if found is None:
        hint = "connect to snml.sock, which says whose it is"
        raise UsageError(Problem("a session belongs to a process, and this connection does not say which", hint=hint))
    return int(found[1])


class Door:
    """Accepts on the socket `path`, from all users, for the server on the socket `behind`."""

    def __init__(self, path: Path, behind: Path) -> None:
        self._behind = str(behind)
        path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        path.chmod(0o666)
        self._listening.listen(WAITING)
        threading.Thread(target=self._accept, name="door", daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                coming, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(coming,), name="door", daemon=True).start()

    def _serve(self, coming: socket.socket) -> None:
        with suppress(OSError), coming, socket.socket(socket.AF_UNIX) as going:
            said = coming.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            pid, _, _ = CREDENTIALS.unpack(said)
            going.bind("\0" + ADDRESS.format(pid=pid, token=secrets.token_hex(8)))
            going.connect(self._behind)
            back = threading.Thread(target=_pass_on, args=(going, coming), name="door", daemon=True)
            back.start()
            _pass_on(coming, going)
            back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes until an end is closed."""
    with suppress(OSError):
        while data := source.recv(PIECE_BYTES):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
