"""Tracing: a model's forward on tensors without content, every torch function on the way recorded.

The record is what a program and its PEF are compared by: it is made when compiling and again when running, in
milliseconds, and names the user's line of the first operator that differs. The graph itself is captured by the
compiler.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensor, FakeTensorMode
from torch.overrides import resolve_name
from torch.utils import _pytree as pytree

from compiler.frontend.export_errors import known_cause, unknown_size
from compiler.frontend.state import unchanged
from compiler.frontend.tracing import quiet
from ir.errors import Problem, UsageError
from pef.wording import listed
from sambaflow.samba._capture.convert import has_content, plain_torch
from sambaflow.samba._capture.outputs import plain_outputs
from sambaflow.samba._program import current
from sambaflow.samba._tensor.overrides import MixedPrecision
from sambaflow.samba.sambatensor import Consumer, SambaTensor

_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parents[2]))


@dataclass(frozen=True)
class Operator:
    """One recorded call: the function's name, types of the tensors in and out, and the user's line."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    where: str
    reads: tuple[str | None, ...] = field(default=(), compare=False)
    """Of each tensor in, the name if it is an input of the model."""

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.inputs)}) -> {', '.join(self.outputs)}"


class Record(MixedPrecision):
    """While active, torch functions of `inputs` and `parameters`, and of what comes from them, are in `operators`.

    Functions of constants alone are not: a model may keep their results from one call to the next.
    """

    def __init__(self, inputs: Mapping[str, Tensor], parameters: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.operators: list[Operator] = []
        self.names = {id(tensor): name for name, tensor in inputs.items()}
        self.made: dict[int, str] = {}
        """What made a tensor, by its id, as SambaFlow calls it: `relu_10__outputs__0`, the only result of a relu."""
        self._depending = {id(tensor): tensor for tensor in (*inputs.values(), *parameters)}
        self._calls: Counter[str] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        given = (args, kwargs)
        tensors = [leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Tensor)]
        if not any(id(tensor) in self._depending for tensor in tensors):
            return result
        changed = result if result is not None else args[:1]  # x[i] = y returns nothing
        self._depending |= {id(leaf): leaf for leaf in pytree.tree_leaves(changed) if isinstance(leaf, Tensor)}
        outputs = _types(result)
        if outputs:
            self._name_results(_name(func).rpartition(".")[2], result)
            reads = tuple(self.names.get(id(tensor)) for tensor in tensors)
            self.operators.append(Operator(_name(func), _types(given), outputs, _users_line(), reads))
        return result

    def _name_results(self, operator: str, result: Any) -> None:
        count = self._calls[operator]
        self._calls[operator] += 1
        stem = f"{operator}_{count}" if count else operator
        for number, leaf in enumerate(leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)):
            self.made[id(leaf)] = f"{stem}__outputs__{number}"


@dataclass(frozen=True)
class Structure:
    """How a program calls its model: the arguments of forward with tensors replaced by their names.

    `tensors` holds the tensors by name, in order.
    """

    tensors: dict[str, Tensor]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    @property
    def positions(self) -> list[str]:
        """The names of the tensors, in order; an empty one where a positional argument is no single tensor."""
        if self.keywords:
            return list(self.tensors)
        return [value.name if isinstance(value, _Named) else "" for value in self.arguments]

    def filled(self, tensors: Mapping[str, Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of forward with other tensors of these names."""

        def tensor(value: Any) -> Any:
            return tensors[value.name] if isinstance(value, _Named) else value

        arguments, keywords = pytree.tree_map(tensor, (self.arguments, self.keywords), is_leaf=_is_named)
        return arguments, keywords

    def call(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> Any:
        """What `model` returns for other tensors of these names, as tensors in plain containers; it takes numbers as
        the device takes them."""
        arguments, keywords = self.filled(tensors)
        with MixedPrecision():
            return plain_outputs(model(*arguments, **keywords))


@dataclass(frozen=True)
class _Named:
    name: str


def _is_named(value: Any) -> bool:
    return isinstance(value, _Named)


@dataclass
class Traced:
    """A traced model: its inputs, and its outputs as SambaTensors of zeros; `made` are the outputs' names after the
    operators that made them."""

    model: nn.Module
    structure: Structure
    outputs: tuple[SambaTensor, ...]
    operators: list[Operator] = field(default_factory=list)
    made: tuple[str, ...] = ()

    @property
    def signature(self) -> list[str]:
        """The operators as text."""
        return [str(operator) for operator in self.operators]

    @property
    def digest(self) -> str:
        """A fingerprint of the operators, in order."""
        return hashlib.sha256("\n".join(self.signature).encode()).hexdigest()


def structure_of(model: nn.Module, inputs: Any) -> Structure:
    """The arguments that a program gives as `inputs`: one tensor, a sequence for positions (None allowed), or a dict
    of keywords whose values may be nested. Raises UsageError where two tensors share a name."""
    tensors: dict[str, Tensor] = {}
    parameters = _parameters(model.forward)

    def named(value: Any, fallback: str) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(named(item, f"{fallback}_{i}") for i, item in enumerate(value))
        if isinstance(value, Mapping):
            return {key: named(item, f"{fallback}_{key}") for key, item in value.items()}
        if not isinstance(value, Tensor):
            return value
        name = getattr(value, "sn_name", None) or fallback
        if tensors.setdefault(name, value) is not value:
            hint = "give every input its own name in samba.from_torch_tensor(tensor, name=...)"
            raise UsageError(Problem(f"two inputs are called {name!r}", hint=hint))
        return _Named(name)

    if isinstance(inputs, Mapping):
        keywords = {key: named(value, key) for key, value in inputs.items()}
        return Structure(tensors, (), keywords)
    sequence = [inputs] if isinstance(inputs, Tensor) else list(inputs or ())
    fallbacks = [*parameters, *(f"input_{i}" for i in range(len(parameters), len(sequence)))]
    arguments = tuple(named(value, fallback) for value, fallback in zip(sequence, fallbacks))
    return Structure(tensors, arguments, {})


def trace(model: nn.Module, inputs: Any) -> Traced:
    """Run forward without content; the model is as before afterwards. Raises UsageError at the user's line where it
    does not run."""
    structure = structure_of(model, inputs)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fakes = {name: _fake(mode, tensor) for name, tensor in structure.tensors.items()}
    current.session().begin_trace()
    with plain_torch(model, mode), unchanged(model), quiet(), torch.no_grad(), mode:
        content = {name: _fake(mode, tensor) for name, tensor in _contents(model)}
        record = Record(fakes, [content[name] for name, _ in model.named_parameters()])
        arguments, keywords = structure.filled(fakes)
        try:
            with record:
                results = torch.func.functional_call(model, content, arguments, keywords)
        except Exception as error:
            raise UsageError(_problem(error, model, structure)) from error
    leaves = [leaf for leaf in pytree.tree_leaves(plain_outputs(results)) if isinstance(leaf, Tensor)]
    outputs = tuple(SambaTensor(torch.zeros(leaf.shape, dtype=leaf.dtype)) for leaf in leaves)
    made = tuple(record.made.get(id(leaf), "") for leaf in leaves)
    traced = Traced(model, structure, outputs, record.operators, made)
    for output in outputs:
        output.traced = traced
    for name, tensor in structure.tensors.items():
        if isinstance(tensor, SambaTensor):
            tensor.consumers = tuple(
                Consumer(operator.name, [read and structure.tensors[read] for read in operator.reads])
                for operator in record.operators
                if name in operator.reads
            )
    return traced


def _contents(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _fake(mode: FakeTensorMode, tensor: Tensor) -> Tensor:
    if isinstance(tensor, FakeTensor):
        return tensor
    plain = tensor.torch_tensor() if isinstance(tensor, SambaTensor) else tensor.detach()
    if has_content(plain):
        return mode.from_tensor(plain)
    with mode:
        return torch.empty(plain.shape, dtype=plain.dtype)


def _problem(error: Exception, model: nn.Module, structure: Structure) -> Problem:
    """What is wrong with a forward that does not run without content, at the user's line."""
    known = known_cause(f"{type(error).__name__}: {error}")
    if isinstance(error, DynamicOutputShapeException):
        known = unknown_size(str(error.func.overloadpacket))
    if known is None or isinstance(error, TypeError):  # of arguments: say which input went where
        known = _first_line(error), _matching(model, structure)
    return Problem(known[0], _error_line(error), known[1])


def _matching(model: nn.Module, structure: Structure) -> str:
    """Which input is passed to which parameter of forward: the usual cause of a trace that fails."""
    names = _parameters(model.forward)
    if not structure.tensors:
        return f"no inputs are given: give those of forward, {listed(names)}"
    given = [value.name if isinstance(value, _Named) else repr(value) for value in structure.arguments]
    pairs = [f"{parameter}={name}" for parameter, name in zip(names, given)]
    pairs += [f"{key}={getattr(value, 'name', value)}" for key, value in structure.keywords.items()]
    shapes = listed([f"{name} {list(tensor.shape)}" for name, tensor in structure.tensors.items()])
    return f"check that forward takes the inputs as given: {listed(pairs)}, where {shapes}"


def _parameters(function: Callable[..., Any]) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, p in inspect.signature(function).parameters.items() if p.kind not in variadic]


def _types(values: Any) -> tuple[str, ...]:
    return tuple(type_text(leaf) for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor))


def type_text(tensor: Tensor) -> str:
    """`float32[64, 10]`."""
    with torch._C.DisableTorchFunction():
        return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _name(function: Any) -> str:
    """`torch.nn.functional.linear` for what is exposed under that name."""
    return str(resolve_name(function) or getattr(function, "__qualname__", repr(function)))


def _users_line() -> str:
    """The innermost line that is neither PyTorch's nor the SDK's."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((*_LIBRARIES, "<")):
        frame = frame.f_back  # type: ignore[assignment]
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame is not None else ""


def _error_line(error: BaseException) -> str | None:
    trace = error.__traceback__
    found = None
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((*_LIBRARIES, "<")):
            found = f"{Path(name).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


LONGEST = 400
"""Characters of somebody else's text in a message: PyTorch prints whole lists of tensors."""


def shortened(text: str) -> str:
    """The text, cut where it is long."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"tracing the model raised {type(error).__name__}: {shortened(text)}"
