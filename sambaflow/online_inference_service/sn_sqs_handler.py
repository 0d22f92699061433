"""The place of the vendor's handler of inference requests in a queue, whose interface is not public."""

from __future__ import annotations

from typing import Any

from sambaflow.errors import absent


def __getattr__(name: str) -> Any:
    """Say what is missing. Raises ImportError."""
    hint = "load an inference PEF with samba.utils.trace_graph, and call samba.session.run for every request"
    return absent(__name__, name, "the vendor's inference services", hint)
