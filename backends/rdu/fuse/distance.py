"""How far apart two operators of a graph are: whether a section is likely to hold both."""

from __future__ import annotations

from backends.rdu.fuse.stages import form_stages
from ir.graph import Graph, Node

FAR = 32
"""Stages between two operators from which on they are taken to be in different sections."""


class Distance:
    """Counts stages between nodes of a graph, as they would be formed of it."""

    def __init__(self, graph: Graph) -> None:
        stages = form_stages(graph, fuse=True)
        self.place = {id(node): place for place, stage in enumerate(stages) for node in stage.busy}

    def is_far(self, writer: Node, reader: Node) -> bool:
        """Whether two nodes that compute are probably not in one section."""
        return self.place[id(reader)] - self.place[id(writer)] > FAR
