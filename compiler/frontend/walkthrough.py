"""A model that torch.export stops at, walked through to its end: run once on its sample inputs, recording every
operator with its location, and noting what a compile stops at instead of stopping.

The user's Python takes the branches that the sample values choose, or where there are none, those of tensors of zeros
with a one in front. For reports only: what is recorded holds for these values alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import (
    disable_proxy_modes_tracing,
    get_proxy_mode,
    make_fx,
    track_tensor_tree,
)
from torch.nn.modules import module as module_hooks
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from compiler.frontend.dtypes import has_content
from compiler.frontend.export_errors import CONTROL_FLOW, LEAVES_PYTORCH, NUMBER_READ
from compiler.frontend.locations import Locator, current_frame
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.recording import Recorder, RecordingInterpreter, functional
from compiler.frontend.tracing import (
    Joint,
    Placeholder,
    Role,
    Wrapper,
    beside,
    definition_line,
    mode,
    recurrence_as_cells,
)
from ir.errors import Problem
from ir.location import Location

NUMBERS = (Tensor.item, Tensor.tolist, Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.__complex__)
MEMORY = (Tensor.numpy, Tensor.__array__, Tensor.data_ptr, Tensor.untyped_storage, Tensor.__dlpack__)
MEANING = {
    Tensor.__bool__: CONTROL_FLOW,
    **dict.fromkeys(NUMBERS, NUMBER_READ),
    **dict.fromkeys(MEMORY, LEAVES_PYTORCH),
}
"""What it means that the model calls one of these functions: the message and the remedy."""
SHOWS = (Tensor.__repr__, Tensor.__format__)
"""Functions that look at values but do not change what the model computes."""


@dataclass(frozen=True)
class Walk:
    """What was noted on the way, and the joint graph where the way led to the end."""

    problems: tuple[Problem, ...]
    joint: Joint | None


def walk(spec: ModelSpec, *, inference: bool, decompositions: Mapping[Any, Callable[..., Any]]) -> Walk:
    """Run the model, and its backward pass unless for inference."""
    walker = _Walker(spec, inference)
    joint = None
    try:
        with mode(spec.model, inference), recurrence_as_cells(), _unheard(), torch.random.fork_rng(), _Assumed():
            joint = walker.joint(decompositions)
    except Exception:
        # The model itself fails on its sample inputs, or does what cannot be recorded: what was noted until then
        # stands beside what torch.export said.
        joint = None
    return Walk(tuple(walker.watcher.problems), joint)


def _unheard() -> Any:
    """What the model prints was printed when torch.export ran it."""
    return redirect_stdout(io.StringIO())


class _Walker:
    def __init__(self, spec: ModelSpec, inference: bool) -> None:
        self.inference = inference
        self.wrapper = Wrapper(spec)
        self.wrapper.training = spec.model.training
        locator = Locator(spec.file, definition_line(spec.file, "loss" if spec.loss else "model"), "model")
        self.start = Location(locator.shown(str(locator.file)), locator.line)
        self.watcher = _Watcher(locator, Recorder(self.start), spec.model)
        given = [(n, beside(spec.model, tensor)) for n, tensor in (*spec.inputs.items(), *spec.targets.items())]
        self.sources = [
            *(Placeholder(name, Role.INPUT, tensor) for name, tensor in given),
            *(Placeholder(name, Role.PARAMETER, tensor) for name, tensor in spec.model.named_parameters()),
            *(Placeholder(name, Role.BUFFER, tensor) for name, tensor in spec.model.named_buffers()),
        ]
        self.inputs = len(given)

    def joint(self, decompositions: Mapping[Any, Callable[..., Any]]) -> Joint:
        """The model's own operators first, then these and their gradients in the terms of the lowering."""
        values = [self.leaf(source.tensor) for source in self.sources]
        with torch.set_grad_enabled(not self.inference), self.watcher.watching():
            module = make_fx(self.forward, tracing_mode="real", pre_dispatch=True)(*values)
        locations = self.watcher.recorder.locations
        constants = _lift_constants(module)
        sources = [*self.sources, *constants]
        values = [self.leaf(source.tensor) for source in sources]
        recorder = Recorder(self.start)
        trained = [source.name for source in sources if source.tensor.requires_grad and not self.inference]
        counts: list[int] = []

        def run(*arguments: Tensor) -> list[Tensor]:
            given = [_detached(value) for value in arguments]
            interpreter = RecordingInterpreter(module, lambda node: locations.get(node, self.start), recorder)
            with torch.set_grad_enabled(not self.inference):
                outputs = interpreter.run(*given)
            leaves = [value for value, source in zip(given, sources) if source.name in trained]
            made = _gradients(outputs, leaves)
            recorder.flush()
            counts[:] = [i for i, gradient in enumerate(made) if gradient is not None]
            return [*outputs, *(gradient for gradient in made if gradient is not None)]

        traced = make_fx(run, decomposition_table=decompositions, tracing_mode="real")(*values)
        traced, found = functional(traced, recorder.locations, values)
        _drop_write_back(traced.graph)
        traced.graph.eliminate_dead_code()
        gradients = tuple(trained[i] for i in counts)
        results = next(node for node in traced.graph.nodes if node.op == "output").args[0]
        outputs = tuple(f"output_{i}" for i in range(len(results) - len(gradients)))
        return Joint(traced.graph, tuple(sources), outputs, (), gradients, (), found, self.start)

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        """Every tensor that the model returns, of its inputs, parameters and buffers."""
        names = [f"model.{source.name}" for source in self.sources[self.inputs :]]
        state = dict(zip(names, tensors[self.inputs :]))
        result = torch.func.functional_call(self.wrapper, state, (tensors[: self.inputs],))
        self.watcher.recorder.flush()
        return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]

    def leaf(self, tensor: Tensor) -> Tensor:
        """A copy that the model may write into."""
        return tensor.detach().clone().requires_grad_(tensor.requires_grad and not self.inference)


def _detached(value: Tensor) -> Tensor:
    return value.detach().requires_grad_(value.requires_grad)


def _gradients(outputs: list[Tensor], leaves: list[Tensor]) -> list[Tensor | None]:
    """The gradients of the sum of all outputs; None where there is none."""
    differentiable = [output for output in outputs if output.requires_grad]
    if not differentiable or not leaves:
        return [None] * len(leaves)
    starts = [torch.ones_like(output) for output in differentiable]
    return list(torch.autograd.grad(differentiable, leaves, starts, allow_unused=True))


def _drop_write_back(graph: fx.Graph) -> None:
    """What the model leaves in its buffers is stored by the program itself, not by an operator of the graph."""
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.copy_.default):
        if node.args[0].op == "placeholder":
            node.replace_all_uses_with(node.args[1])
            graph.erase_node(node)


def _lift_constants(module: fx.GraphModule) -> list[Placeholder]:
    """Make further placeholders of the tensors that the graph holds."""
    lifted: list[Placeholder] = []
    last = [node for node in module.graph.nodes if node.op == "placeholder"][-1]
    for node in module.graph.find_nodes(op="get_attr"):
        with module.graph.inserting_after(last):
            last = module.graph.placeholder(f"constant_{len(lifted)}")
        tensor = getattr(module, node.target)
        lifted.append(Placeholder(last.name, Role.CONSTANT if has_content(tensor) else Role.BUFFER, tensor))
        node.replace_all_uses_with(last)
        module.graph.erase_node(node)
    module.recompile()
    return lifted


class _Assumed(TorchDispatchMode):  # type: ignore[misc]
    """Lets operators whose results depend on values read assumed ones where a tensor has no content."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tags = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)
        given = (args, kwargs or {})
        if not any(tag in function.tags for tag in tags) or all(map(_has_any, pytree.tree_leaves(given))):
            return function(*args, **(kwargs or {}))
        with disable_proxy_modes_tracing():
            args, kwargs = pytree.tree_map(_assumed, given)
            results = pytree.tree_map_only(Tensor, lambda tensor: tensor.to("meta"), function(*args, **kwargs))
        tracing = get_proxy_mode()
        if tracing is None:
            return results
        proxies = pytree.tree_map(tracing.tracer.unwrap_proxy, given)
        node = tracing.tracer.create_proxy("call_function", function, *proxies)
        return track_tensor_tree(results, node, constant=None, tracer=tracing.tracer)


def _has_any(value: Any) -> bool:
    return not isinstance(value, Tensor) or has_content(value)


def _assumed(value: Any) -> Any:
    """Zeros and a one in front for a tensor without content, so that something is chosen of it, but not much."""
    if _has_any(value):
        return value
    flat = torch.zeros(value.numel(), dtype=value.dtype)
    flat[:1] = 1
    return flat.reshape(value.shape)


class _Watcher(TorchFunctionMode):  # type: ignore[misc]
    """Records the location of everything traced, and notes where values leave the graph."""

    def __init__(self, locator: Locator, recorder: Recorder, model: nn.Module) -> None:
        super().__init__()
        self.locator = locator
        self.recorder = recorder
        self.names: Mapping[nn.Module, str] = {module: name for name, module in model.named_modules()}
        self.running = [""]
        self.problems: dict[Problem, None] = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.recorder.switch(self.here())
        if function not in MEANING and function not in SHOWS:
            return function(*args, **(kwargs or {}))
        if function in MEANING:
            message, hint = MEANING[function]
            self.problems[Problem(message, self.recorder.location, hint)] = None
            args = tuple(map(_assumed, args))
        with disable_proxy_modes_tracing():
            return function(*args, **(kwargs or {}))

    def here(self) -> Location:
        """The user's line that runs now."""
        file, line = current_frame() or (str(self.locator.file), self.locator.line)
        return Location(self.locator.shown(file), line, self.running[-1])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Knows which module runs."""
        enter = module_hooks.register_module_forward_pre_hook(self.entered)
        leave = module_hooks.register_module_forward_hook(lambda *_: self.left(), always_call=True)
        try:
            with self:
                yield
        finally:
            enter.remove()
            leave.remove()

    def entered(self, module: nn.Module, _: Any) -> None:
        """A module begins to run; one that the model does not list belongs to the one around it."""
        self.running.append(self.names.get(module, self.running[-1]))

    def left(self) -> None:
        """The innermost running module has ended."""
        self.running.pop()
