"""Which of the user's lines every traced node comes from, and graphs without operators that write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.utils import _pytree as pytree

from compiler.frontend.composites import COMPOSITES
from ir.location import Location

WRITES_UNDECLARED = ("aten::batch_norm", "aten::instance_norm", "aten::_batch_norm_impl_index")
"""ATen operators that update running statistics, though their schemas do not say so."""


class Recorder:
    """Knows which location the nodes now being traced come from."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.locations: dict[fx.Node, Location] = {}

    def switch(self, location: Location) -> None:
        """Nodes traced until now come from the current location, later ones from `location`."""
        self.flush()
        self.location = location

    def flush(self) -> None:
        """Note the current location for the nodes traced since the last call."""
        mode = get_proxy_mode()
        if mode is None:
            return
        for node in reversed(mode.tracer.graph.nodes):
            if node in self.locations:
                return
            self.locations[node] = self.location


class _Relocated(fx.Interpreter):  # type: ignore[misc]
    """Runs a traced graph; what is traced meanwhile gets each node's location."""

    def __init__(self, module: fx.GraphModule, locations: dict[fx.Node, Location], recorder: Recorder) -> None:
        super().__init__(module)
        self.locations = locations
        self.recorder = recorder

    def run_node(self, n: fx.Node) -> Any:
        if n in self.locations:
            self.recorder.switch(self.locations[n])
        return super().run_node(n)


class RecordingInterpreter(fx.Interpreter):  # type: ignore[misc]
    """Runs an exported graph; the nodes traced meanwhile, and later by autograd for them, get each node's location."""

    def __init__(self, module: fx.GraphModule, locate: Callable[[fx.Node], Location], recorder: Recorder) -> None:
        super().__init__(module)
        self.locate = locate
        self.recorder = recorder
        self.seen: set[Any] = set()

    def run_node(self, n: fx.Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        location = self.locate(n)
        self.recorder.switch(location)
        result = super().run_node(n)
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.grad_fn is not None:
                self.follow(leaf.grad_fn, location)
        return result

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return super().call_function(COMPOSITES.get(target, target), args, kwargs)

    def follow(self, function: Any, location: Location) -> None:
        """Have `function` and what leads to it, as far as it is new, switch to `location` when autograd runs it."""
        pending = [function]
        while pending:
            function = pending.pop()
            if function in self.seen:
                continue
            self.seen.add(function)
            function.register_prehook(lambda _: self.recorder.switch(location))
            pending += [following for following, _ in function.next_functions if following is not None]


def functional(
    module: fx.GraphModule, locations: dict[fx.Node, Location], arguments: Sequence[Tensor]
) -> tuple[fx.GraphModule, dict[fx.Node, Location]]:
    """The traced module without operators that write into their operands, as some of autograd's formulas have."""
    if not any(writes(node.target) for node in module.graph.nodes):
        return module, locations
    recorder = Recorder(next(iter(locations.values())))

    def run(*tensors: Tensor) -> Any:
        results = _Relocated(module, locations, recorder).run(*tensors)
        recorder.flush()
        return results

    return make_fx(functionalize(run), tracing_mode="real")(*arguments), recorder.locations


def writes(target: Any) -> bool:
    """Whether an operator writes into an operand."""
    schema = getattr(target, "_schema", None)
    return schema is not None and (bool(schema.is_mutable) or schema.name in WRITES_UNDECLARED)
