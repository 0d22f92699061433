"""PyTorch model to one functional ATen graph of the forward and the backward pass, every node with its location.

torch.export traces the model and makes it functional; running its graph under `make_fx` with PyTorch's own autograd
gives the joint graph. Operators that the lowering knows stay whole; others are decomposed by PyTorch's tables.
"""

from __future__ import annotations

import ast
import io
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from compiler.frontend.composites_dropout import seal
from compiler.frontend.dtypes import has_content
from compiler.frontend.export_errors import explain, problems_with_sizes
from compiler.frontend.locations import Locator
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.recording import Recorder, RecordingInterpreter, functional, writes
from compiler.frontend.returned import say_left_out, tensors_in
from ir.errors import CaptureError, Problem, SncError
from ir.location import Location

LOSSES = (
    "cross_entropy_loss", "nll_loss", "nll_loss_nd", "nll_loss2d", "mse_loss", "l1_loss", "smooth_l1_loss",
    "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "soft_margin_loss",
    "hinge_embedding_loss", "margin_ranking_loss", "cosine_embedding_loss", "triplet_margin_loss", "poisson_nll_loss",
)  # fmt: skip
"""ATen operators that compute a loss."""


class Role(Enum):
    """What a placeholder of the joint graph stands for."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    CONSTANT = "constant"
    ALIAS = "alias"
    INPUT = "input"
    TANGENT = "tangent"


@dataclass(frozen=True)
class Placeholder:
    """A tensor the joint graph reads. `tensor` is its initial or sample content; a tangent starts from ones."""

    name: str
    role: Role
    tensor: Tensor


@dataclass(frozen=True)
class Joint:
    """The joint graph: placeholders in order, and what its results are. Aliases, second names of tied parameters, have
    no users.

    The results are, in order: the user's outputs, the new contents of the buffers in `mutated`, and the gradients of
    the tensors in `gradients`. `losses` are the outputs that training starts from unless told otherwise.
    """

    graph: fx.Graph
    placeholders: tuple[Placeholder, ...]
    outputs: tuple[str, ...]
    mutated: tuple[str, ...]
    gradients: tuple[str, ...]
    losses: tuple[str, ...]
    locations: dict[fx.Node, Location]
    start: Location


class Wrapper(nn.Module):  # type: ignore[misc]
    """The user's model and loss, called with tensors in the order of `names` then `targets`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.model = spec.model
        self.names = tuple(spec.inputs)
        self.call = spec.call
        self.loss = None if spec.loss is None else _hidden(spec.loss)

    def forward(self, tensors: tuple[Tensor, ...]) -> Any:
        arguments, targets = tensors[: len(self.names)], tensors[len(self.names) :]
        outputs = self.call(self.model, dict(zip(self.names, arguments)))
        self.left_out: list[str] = []
        found = tensors_in(outputs, self.left_out.append)
        return found if self.loss is None else (self.loss(outputs, *targets), found)


def _hidden(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function as one that nn.Module does not register as a submodule: a loss has no parameters of the model."""
    return lambda *arguments: function(*arguments)


def trace(spec: ModelSpec, *, inference: bool, decompositions: Mapping[Any, Callable[..., Any]]) -> Joint:
    """The joint graph of the model in `spec`; for inference only its forward part, with all modules in eval mode."""
    locator = Locator(spec.file, definition_line(spec.file, "loss" if spec.loss else "model"), "model", spec.regions)
    with mode(spec.model, inference), recurrence_as_cells(), torch.set_grad_enabled(not inference):
        exported = _export(spec, locator)
    CaptureError.raise_if(problems_with_sizes(exported, locator))
    tracer = _Tracer(spec, exported, locator, inference)
    try:
        with recurrence_as_cells():
            return tracer.joint(decompositions)
    except SncError:
        raise
    except Exception as error:
        raise CaptureError(explain(error, locator, spec, tracer.recorder.location)) from error


def _export(spec: ModelSpec, locator: Locator) -> torch.export.ExportedProgram:
    wrapper = Wrapper(spec)
    wrapper.training = spec.model.training
    tensors = tuple(beside(spec.model, tensor) for tensor in (*spec.inputs.values(), *spec.targets.values()))
    said = io.StringIO()
    try:
        with redirect_stderr(said), fx.traceback.preserve_node_meta():
            exported = torch.export.export(wrapper, (tensors,), strict=False)
            if any(writes(node.target) for node in exported.graph.nodes):
                seal(exported.graph)
                exported = exported.run_decompositions({})  # which makes it functional, and takes time
            say_left_out(wrapper.left_out)
            return exported
    except SncError:
        raise
    except Exception as error:
        if hasattr(error, "partial_fx_graph"):  # torch.export has printed it
            said = io.StringIO(said.getvalue().replace(f"{error.partial_fx_graph}\n", ""))
        raise CaptureError(explain(error, locator, spec)) from error
    finally:
        sys.stderr.write(said.getvalue())


def beside(model: nn.Module, tensor: Tensor) -> Tensor:
    """The tensor as the model can take it: without content where the model's parameters have none."""
    first = next(model.parameters(), None)
    return tensor.to("meta") if first is not None and first.is_meta else tensor


@contextmanager
def mode(model: nn.Module, inference: bool) -> Any:
    """For inference, put every module in eval mode and back."""
    training = {module: module.training for module in model.modules()}
    if inference:
        model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def quiet() -> Any:
    """Without PyTorch's own warnings about its tracing, which say nothing about the user's model."""
    level = logging.getLogger("torch").level
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch").setLevel(level)


@contextmanager
def recurrence_as_cells() -> Any:
    """Without the host's fused operators, which make one opaque call of a recurrent layer; quietly, for switching
    them off warns of GPUs that are not there."""
    with quiet(), torch.backends.mkldnn.flags(enabled=False):
        yield


def definition_line(file: Path, name: str) -> int:
    """The line where `name` is defined at the top level of `file`; 1 where it is not."""
    if not file.is_file():
        return 1
    for statement in ast.parse(file.read_text()).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement]
        if any(getattr(target, "id", getattr(target, "name", None)) == name for target in targets):
            return statement.lineno
    return 1


class _Tracer:
    """Runs an exported program under make_fx, with its backward pass where it is for training."""

    def __init__(
        self, spec: ModelSpec, exported: torch.export.ExportedProgram, locator: Locator, inference: bool
    ) -> None:
        self.spec = spec
        self.exported = exported
        self.locator = locator
        self.inference = inference
        self.start = Location(locator.shown(str(locator.file)), locator.line)
        self.recorder = Recorder(self.start)
        self.inputs = self._inputs()
        self.shared = _shared(self.inputs, spec.model)
        names = [spec.arg.name for spec in exported.graph_signature.output_specs]
        self.kinds = [spec.kind for spec in exported.graph_signature.output_specs]
        self.targets = [spec.target for spec in exported.graph_signature.output_specs]
        self.results = {node.name: node for node in exported.graph.nodes}
        self.outputs = [i for i, kind in enumerate(self.kinds) if kind is OutputKind.USER_OUTPUT]
        self.result_names = names

    def joint(self, decompositions: Mapping[Any, Callable[..., Any]]) -> Joint:
        """Trace, and say what everything is."""
        losses = [] if self.inference else self.losses()
        names = self.output_names(losses)
        differentiated = [] if self.inference else self.differentiated(losses)
        leaves = [] if self.inference else self.leaves()
        fakes = [node.meta["val"] for node in self.exported.graph.nodes if node.op == "placeholder"]
        tangents = [torch.ones_like(self.results[self.result_names[i]].meta["val"]) for i in differentiated]
        used: list[int] = []
        reached: set[int] = set()

        def run(*arguments: Tensor) -> list[Any]:
            values = list(arguments[: len(fakes)])
            for i in leaves:
                values[i] = values[i].detach().requires_grad_()
            for i, first in self.shared.items():
                values[i] = values[first]
            with torch.set_grad_enabled(bool(differentiated)):
                interpreter = RecordingInterpreter(self.exported.graph_module, self.locator.locate, self.recorder)
                results = list(interpreter.run(*values))
            given = arguments[len(fakes) :]
            starts = {i: tangent for i, tangent in zip(differentiated, given) if results[i].requires_grad}
            reached.update(starts)
            gradients = self.gradients([results[i] for i in starts], [values[i] for i in leaves], [*starts.values()])
            used[:] = [leaf for leaf, gradient in zip(leaves, gradients) if gradient is not None]
            self.recorder.flush()
            mutated = [result for result, kind in zip(results, self.kinds) if kind is OutputKind.BUFFER_MUTATION]
            return [*(results[i] for i in self.outputs), *mutated, *(g for g in gradients if g is not None)]

        with quiet():
            traced = make_fx(run, decomposition_table=decompositions, tracing_mode="real")(*fakes, *tangents)
            traced, locations = functional(traced, self.recorder.locations, (*fakes, *tangents))
        traced.graph.eliminate_dead_code()  # what nothing needs, nothing has to be able to do
        name_of = dict(zip(self.outputs, names))
        seeds = [
            Placeholder(f"{name_of[i]}.grad", Role.TANGENT if i in reached else Role.CONSTANT, seed)
            for i, seed in zip(differentiated, tangents)
        ]
        sources = [
            replace(source, role=Role.ALIAS) if i in self.shared else source for i, source in enumerate(self.inputs)
        ]
        return Joint(
            graph=traced.graph,
            placeholders=(*sources, *seeds),
            outputs=tuple(names),
            mutated=tuple(
                _strip(str(target))
                for target, kind in zip(self.targets, self.kinds)
                if kind is OutputKind.BUFFER_MUTATION
            ),
            gradients=tuple(self.inputs[i].name for i in used),
            losses=tuple(name_of[i] for i in losses if i in reached),
            locations=locations,
            start=self.start,
        )

    def gradients(self, losses: list[Tensor], leaves: list[Tensor], tangents: Sequence[Tensor]) -> list[Tensor | None]:
        """The gradients of the leaves, None for those that no loss depends on."""
        differentiable = [pair for pair in zip(losses, tangents) if pair[0].requires_grad]
        if not differentiable or not leaves:
            return [None] * len(leaves)
        results, seeds = zip(*differentiable)
        return list(torch.autograd.grad(results, leaves, seeds, allow_unused=True))

    def leaves(self) -> list[int]:
        """Inputs of the graph that get a gradient: trainable parameters, and inputs that ask for one."""
        return [
            i
            for i, placeholder in enumerate(self.inputs)
            if placeholder.tensor.requires_grad and i not in self.shared and placeholder.role is not Role.CONSTANT
        ]

    def differentiated(self, losses: list[int]) -> list[int]:
        """The results whose gradients back-propagation may be given."""
        if not self.spec.every_gradient:
            return losses
        return [i for i in self.outputs if self.results[self.result_names[i]].meta["val"].is_floating_point()]

    def losses(self) -> list[int]:
        """The results that training differentiates: losses, or every differentiable output where none is a loss."""
        floats = [i for i in self.outputs if self.results[self.result_names[i]].meta["val"].is_floating_point()]
        if self.spec.loss is not None:
            return self.outputs[:1]
        losses = [i for i in floats if _is_loss(self.results[self.result_names[i]])]
        if not floats:
            raise CaptureError(
                Problem(
                    "the model returns no floating-point tensor to differentiate",
                    self.recorder.location,
                    "return the loss first from forward, define `loss` in the model file, or compile for inference",
                )
            )
        return losses or floats

    def output_names(self, losses: list[int]) -> list[str]:
        """`loss` for a scalar loss; the user's dict key or `output` for others; repeated names are numbered."""
        keys = _output_keys(self.exported, len(self.outputs))
        names: list[str] = []
        for i, key in zip(self.outputs, keys):
            is_loss = _is_loss(self.results[self.result_names[i]]) or (i in losses and self.spec.loss is not None)
            stem = key or ("loss" if is_loss else "output")
            repeats = sum(name == stem or name.startswith(f"{stem}_") for name in names)
            names.append(f"{stem}_{repeats}" if repeats else stem)
        return names

    def _inputs(self) -> tuple[Placeholder, ...]:
        user = iter([*self.spec.inputs.items(), *self.spec.targets.items()])
        tensors = {**self.exported.state_dict, **self.exported.constants}
        found = []
        for spec in self.exported.graph_signature.input_specs:
            if not isinstance(spec.arg, TensorArgument):
                raise CaptureError(f"the model reads {spec.arg}, which is not a tensor")
            if spec.kind is InputKind.USER_INPUT:
                name, tensor = next(user)
                found.append(Placeholder(name, Role.INPUT, tensor))
                continue
            tensor = tensors[str(spec.target)]
            other = Role.CONSTANT if has_content(tensor) else Role.BUFFER
            role = {InputKind.PARAMETER: Role.PARAMETER, InputKind.BUFFER: Role.BUFFER}.get(spec.kind, other)
            found.append(Placeholder(_strip(str(spec.target)), role, tensor))
        return tuple(found)


def _strip(target: str) -> str:
    """A tensor's name in the user's model."""
    return target.removeprefix("model.")


def _shared(inputs: tuple[Placeholder, ...], model: nn.Module) -> dict[int, int]:
    """Parameters under a second name (tied weights), with the index of the one under the name PyTorch lists."""
    names = {name for name, _ in model.named_parameters()}
    first = {id(source.tensor): i for i, source in enumerate(inputs) if source.name in names}
    return {
        i: first[id(source.tensor)]
        for i, source in enumerate(inputs)
        if source.role is Role.PARAMETER and source.name not in names
    }


def _is_loss(node: fx.Node) -> bool:
    """Whether a result is a loss: made by a loss operator, or a floating-point scalar."""
    value = node.meta["val"]
    operator = getattr(node.target, "overloadpacket", None)
    return bool(value.is_floating_point() and (value.dim() == 0 or getattr(operator, "__name__", "") in LOSSES))


def _output_keys(exported: torch.export.ExportedProgram, count: int) -> list[str]:
    """The dict key each output was returned under, or '' where it was not in a dict."""
    spec = exported.call_spec.out_spec
    tree = pytree.tree_unflatten(range(count), spec) if spec is not None else list(range(count))
    paths = pytree.tree_flatten_with_path(tree)[0]
    keys = {leaf: [entry.key for entry in path if isinstance(entry, pytree.MappingKey)] for path, leaf in paths}
    return [".".join(map(str, keys.get(i, []))) for i in range(count)]
