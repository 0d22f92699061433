"""The place of the vendor's linear layers with quantised weights, whose interface is not public."""

from __future__ import annotations

from typing import Any

from sambaflow.errors import absent


def __getattr__(name: str) -> Any:
    """Say what is missing. Raises ImportError."""
    hint = "use torch.nn.Linear, and compile with --graphamp-preset mp1, which reads weights in bf16"
    return absent(__name__, name, "linear layers with quantised weights", hint)
