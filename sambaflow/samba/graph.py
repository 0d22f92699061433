"""Forward graphs for a PEF that holds several."""

from __future__ import annotations

from typing import Any


class SambaGraph:
    """A named graph."""

    def __init__(self, name: str) -> None:
        self.name = name


class FwdGraph(SambaGraph):
    """What lies between traced tensors: from the inputs in `start` to the outputs in `stop`, nested as one likes."""

    def __init__(self, start: Any, stop: Any, name: str = "fwd") -> None:
        super().__init__(name)
        self.start = start
        self.stop = stop
