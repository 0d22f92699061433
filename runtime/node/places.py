"""Where a node's daemon keeps its state and is found: nothing here needs more than the standard library.

One folder holds everything: node.db, snml.sock, snml-admin.sock, log/snd.log and log/sn.log. It is $SNC_NODE, else
~/.local/state/snc/node. A run looks for the socket there, once; where there is none, or SNC_NODE is `off`, no daemon
manages the hardware and runs need nothing of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SNC_NODE"
OFF = "off"
ERROR_CODE = "error-code"
"""Trailing metadata of a call that failed: the code of the error."""


@dataclass(frozen=True, slots=True)
class Places:
    """The files of a daemon in `folder`."""

    folder: Path

    @property
    def socket(self) -> Path:
        """For everybody, as the device files are."""
        return self.folder / "snml.sock"

    @property
    def inner_socket(self) -> Path:
        """Where the server is behind the door of `socket`: for the daemon alone."""
        return self.folder / "snml-door.sock"

    @property
    def admin_socket(self) -> Path:
        """For the user who runs the daemon: who can open it may administer."""
        return self.folder / "snml-admin.sock"

    @property
    def database(self) -> Path:
        """What survives the daemon."""
        return self.folder / "node.db"

    @property
    def daemon_log(self) -> Path:
        """The daemon's log."""
        return self.folder / "log" / "snd.log"

    @property
    def application_log(self) -> Path:
        """The log that runs share."""
        return self.folder / "log" / "sn.log"


def places() -> Places | None:
    """The places that the environment names; None where it says that there is no daemon."""
    named = os.environ.get(VARIABLE)
    if named == OFF:
        return None
    if named:
        return Places(Path(named).absolute())
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Places(Path(state) / "snc" / "node")
