"""Where every traced node comes from, which random draw it makes, and graphs without operators that write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx

from ir.errors import CaptureError, Problem
from ir.location import Location

aten = torch.ops.aten
FIRST_SEED = 1 << 40
MOST_DRAWS = 1 << 32
"""Random operators that a model may have: other seeds than so many after the first are the model's own."""
Draw = tuple[int, int]
"""The seed of PyTorch's generator at a random operator, and which node of those it was traced as. Operators that draw
the same numbers in PyTorch, as a checkpoint's do when it runs again, make the same draws."""


class Recorder:
    """Knows which location the nodes now being traced come from, and which draw random ones make if not the next."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.locations: dict[fx.Node, Location] = {}
        self.draws: dict[fx.Node, Draw] = {}
        self.draw: Draw | None = None

    def switch(self, location: Location) -> None:
        """Nodes traced until now come from the current location, later ones from `location`."""
        self.flush()
        self.location = location

    def flush(self) -> None:
        """Note the current location for the nodes traced since the last call, and the draws of random ones."""
        mode = get_proxy_mode()
        if mode is None:
            return
        fresh = []
        for node in reversed(mode.tracer.graph.nodes):
            if node in self.locations:
                break
            self.locations[node] = self.location
            fresh.append(node)
        random = [node for node in reversed(fresh) if is_random(node.target)]
        generator = torch.default_generator
        if random and self.draw is None and not 0 <= generator.initial_seed() - FIRST_SEED < MOST_DRAWS:
            what = "forward seeds PyTorch's generator, so that it would draw the same numbers in every step"
            hint = "draw them once, in __init__, and keep them in a buffer; or leave out the seed"
            raise CaptureError(Problem(what, self.location, hint))
        for number, node in enumerate(random):
            self.draws[node] = self.draw or (generator.initial_seed(), number)
        if random and self.draw is None:
            generator.manual_seed(generator.initial_seed() + 1)


def is_random(target: Any) -> bool:
    """Whether an operator draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())


class _Relocated(fx.Interpreter):  # type: ignore[misc]
    """Runs a traced graph; what is traced meanwhile gets each node's location and draw."""

    def __init__(self, module: fx.GraphModule, source: Recorder, recorder: Recorder) -> None:
        super().__init__(module)
        self.source = source
        self.recorder = recorder

    def run_node(self, n: fx.Node) -> Any:
        if n in self.source.locations:
            self.recorder.switch(self.source.locations[n])
        self.recorder.draw = self.source.draws.get(n)
        return super().run_node(n)


def functional(
    module: fx.GraphModule,
    recorder: Recorder,
    arguments: Sequence[Tensor],
    decompositions: Mapping[Any, Callable[..., Any]],
) -> tuple[fx.GraphModule, Recorder]:
    """The traced module without operators that write into their operands, but for a last one for each placeholder that
    is written to."""
    _copy_at_once(module.graph, recorder)
    if not any(writes(node.target) for node in module.graph.nodes):
        return module, recorder
    relocated = Recorder(recorder.location)

    def run(*tensors: Tensor) -> Any:
        results = _Relocated(module, recorder, relocated).run(*tensors)
        relocated.flush()
        return results

    traced = make_fx(functionalize(run), decomposition_table=decompositions, tracing_mode="real")(*arguments)
    return traced, relocated


def _copy_at_once(graph: fx.Graph, recorder: Recorder) -> None:
    """Copies in place of new tensors that are then filled by copying, as PyTorch makes a gradient that several
    parameters have: where nothing else writes, the graph need not be traced again."""
    for node in graph.find_nodes(op="call_function", target=aten.copy_.default):
        target, source = node.args[:2]
        is_new = target.target is aten.empty_strided.default and len(target.users) == 1
        if not is_new or _type_of(target) != _type_of(source):
            continue
        with graph.inserting_before(node):
            made = graph.call_function(aten.clone.default, (source,))
        made.meta = dict(node.meta)
        recorder.locations[made] = recorder.locations.pop(node, recorder.location)
        node.replace_all_uses_with(made)
        graph.erase_node(node)
        graph.erase_node(target)


def _type_of(node: Any) -> Any:
    """The shape and the element type of what a node makes; of a number, itself."""
    tensor = node.meta["val"] if isinstance(node, fx.Node) else node
    return (tensor.shape, tensor.dtype) if isinstance(tensor, Tensor) else tensor


def writes(target: Any) -> bool:
    """Whether an operator writes into an operand."""
    schema = getattr(target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def take_write_backs(graph: fx.Graph) -> dict[fx.Node, fx.Node]:
    """What is written back into placeholders at the end: the nodes that make it, by placeholder. The graph then writes
    no more."""
    written: dict[fx.Node, fx.Node] = {}
    for node in graph.find_nodes(op="call_function", target=aten.copy_.default):
        if node.args[0].op == "placeholder":
            written[node.args[0]] = node.args[1]
            node.replace_all_uses_with(node.args[1])
            graph.erase_node(node)
    return written
