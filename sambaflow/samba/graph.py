"""Forward graphs for a PEF that holds several."""

from __future__ import annotations

from typing import Any

from torch.utils import _pytree as pytree

from ir.errors import Problem, UsageError
from sambaflow.samba._capture.tracing import Traced
from sambaflow.samba.sambatensor import SambaTensor


class SambaGraph:
    """A named graph."""

    def __init__(self, name: str) -> None:
        self.name = name


class FwdGraph(SambaGraph):
    """What a model computes from the inputs in `start` to the outputs in `stop`, nested in any way.

    `stop` are outputs of samba.utils.trace_multigraph. Raises UsageError where they are not.
    """

    def __init__(self, start: Any, stop: Any, name: str = "fwd") -> None:
        super().__init__(name)
        self.start = start
        self.stop = stop
        traces = [leaf.traced for leaf in pytree.tree_leaves(stop) if isinstance(leaf, SambaTensor)]
        traced = traces[0] if traces else None
        if not isinstance(traced, Traced) or any(other is not traced for other in traces):
            hint = "give what samba.utils.trace_multigraph(model, inputs) returned, of one model"
            raise UsageError(Problem(f"the outputs of graph {name!r} were not traced together", hint=hint))
        self.traced = traced

    @property
    def input_regions(self) -> dict[str, str]:
        """Regions given to inputs, by name."""
        tensors = self.traced.structure.tensors
        return {name: t._region_name for name, t in tensors.items() if isinstance(t, SambaTensor) and t._region_name}

    @property
    def output_regions(self) -> dict[int, str]:
        """Regions given to outputs, by position."""
        return {i: t._region_name for i, t in enumerate(self.traced.outputs) if t._region_name}
