"""A joint ATen graph as one graph of the graph language, not yet split into forward and backward."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from compiler.frontend.constants import Constants
from compiler.frontend.dtypes import DENSE, DTYPES, is_supported, remedy, tensor_type, to_array
from compiler.frontend.export_errors import unknown_size
from compiler.frontend.joint import Joint, Role
from compiler.frontend.lowering import Context, Pair, Refused, complex_lowering_of, joined, lowering_of, parts_of
from compiler.frontend.lowering.random import count_steps
from compiler.frontend.workarounds import workaround
from ir.builder import GraphBuilder
from ir.errors import GraphError, Problem
from ir.graph import Graph, SectionKind, Symbol, Value
from ir.location import Location
from ir.op import Array
from ir.types import DType, TensorType

SILENT = (torch.ops.aten.detach.default, torch.ops.aten.alias.default)
"""What tracing adds and nobody wrote: not counted among a model's operators."""

NARROWED = {torch.float64: torch.float32, torch.complex128: torch.complex64}
"""What constants of one element become."""


@dataclass(frozen=True)
class LoweredJoint:
    """The joint graph in the graph language: it stores outputs, new buffer contents and `<name>.grad` gradients.

    `symbols` are those that the model does not have, such as dropout rates, and `initial` what they start from;
    `updated` are those among them that the forward graph stores into. `made` is what each node of the joint graph
    became: a value, a pair of them, or a tuple.
    """

    graph: Graph
    constants: dict[str, Array]
    symbols: tuple[Symbol, ...] = ()
    initial: dict[str, Array] = field(default_factory=dict)
    updated: tuple[str, ...] = ()
    made: Mapping[fx.Node, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """What became of a joint graph: how often each ATen operator occurs and how often it was refused, why, and the
    graph if nothing was."""

    operators: Counter[str]
    refused: Counter[str]
    problems: tuple[Problem, ...]
    lowered: LoweredJoint | None


def lower(joint: Joint) -> Attempt:
    """The nodes of `joint` as operators of the device, or all reasons why not."""
    lowerer = _Lowerer(joint)
    lowered = lowerer.run()
    operators = Counter(_aten_name(node.target) for node in lowerer.visited)
    refused = Counter(_aten_name(node.target) for node in lowerer.refused)
    return Attempt(operators, refused, tuple(lowerer.problems), lowered)


class _Lowerer:
    def __init__(self, joint: Joint) -> None:
        self.joint = joint
        self.builder = GraphBuilder(SectionKind.FWD)
        self.context = Context(self.builder, joint.draws)
        self.values: dict[fx.Node, Any] = {}
        self.problems: dict[Problem, None] = {}
        self.visited: list[fx.Node] = []
        self.refused: dict[fx.Node, None] = {}
        self.unsized: set[Location | None] = set()
        placeholders = [node for node in joint.graph.nodes if node.op == "placeholder"]
        known = {
            node: source.tensor
            for node, source in zip(placeholders, joint.placeholders)
            if source.role is Role.CONSTANT
        }
        self.constants = Constants(known)
        self.placeholders = dict(zip(placeholders, joint.placeholders))
        self.result = next(node for node in joint.graph.nodes if node.op == "output").args[0]

    def run(self) -> LoweredJoint | None:
        """The graph; None where there are problems."""
        self.read_placeholders()
        for node in self.joint.graph.nodes:
            checks_only = "val" not in node.meta and not node.users
            if node.op == "call_function" and node not in self.constants and not checks_only:
                self.builder.location = self.joint.locations.get(node) or self.builder.location or self.joint.start
                self.values[node] = self.lowered(node)
        names = [*self.joint.outputs, *self.joint.mutated, *(f"{name}.grad" for name in self.joint.gradients)]
        for name, node in zip(names, self.result):
            self.builder.location = self.joint.locations.get(node, self.joint.start)
            made = self.operand(node)
            self.builder.output(name, joined(self.context, made) if isinstance(made, Pair) else made)
        if self.problems:
            return None
        updated = count_steps(self.context)
        graph = self.builder.build()
        graph = graph.with_nodes(graph.nodes)
        context = self.context
        symbols = tuple(context.symbols.values())
        return LoweredJoint(graph, context.constants, symbols, context.initial, updated, self.values)

    def read_placeholders(self) -> None:
        """Declare every symbol, written ones too, so that no value takes the name of one."""
        for node, source in self.placeholders.items():
            if source.role is not Role.CONSTANT:
                self.values[node] = self.builder.input(source.name, _stand_in_type(source.tensor))
        names = [*self.joint.outputs, *self.joint.mutated, *(f"{name}.grad" for name in self.joint.gradients)]
        for name, node in zip(names, self.result):
            if is_supported(node.meta["val"].dtype):
                self.builder.input(name, tensor_type(node.meta["val"]))

    def lowered(self, node: fx.Node) -> Any:
        """What a node becomes; a problem is noted and stood in for, so that all problems are found."""
        if node.target is operator.getitem and node.args[0] not in self.constants:
            return self.values[node.args[0]][node.args[1]]
        if node.target not in SILENT:
            self.visited.append(node)
        if not self.check_shape(node):
            return self.stand_in(node)
        rule = complex_lowering_of(node.target) if _is_complex(node) else lowering_of(node.target)
        if rule is None and not _is_complex(node):
            return self.unsupported(node)
        if not self.check_dtype(node):
            return self.stand_in(node)
        if rule is None:
            return self.unsupported(node)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self.operand)
        self.context.enter(node)
        try:
            return rule(self.context, *args, **kwargs)
        except Refused as refusal:
            self.note(node, str(refusal), refusal.hint)
        except GraphError as error:
            self.note(node, error.problems[0].message, "see the operators' limits in the documentation")
        return self.stand_in(node)

    def operand(self, node: fx.Node) -> Any:
        """The value of a node that another reads; a constant becomes an immediate or a symbol of its own."""
        if node in self.constants and node not in self.values:
            self.values[node] = self.constant(node, self.constants.value(node))
        value = self.values[node]
        if node.op == "placeholder" and isinstance(value, Value) and node.meta["val"].is_complex():
            value = self.values[node] = parts_of(self.context, value)
        return value

    def constant(self, node: fx.Node, tensor: Tensor) -> Value | Pair:
        self.context.enter(node)
        if tensor.layout is not torch.strided:
            self.note(node, "a constant is sparse", DENSE)
            return self.stand_in(node)  # type: ignore[no-any-return]
        if not tensor.dim() and tensor.dtype in NARROWED:  # a Python number, which has no say in the result's type
            tensor = tensor.to(NARROWED[tensor.dtype])
        elif not self.check_dtype(node):
            return self.stand_in(node)  # type: ignore[no-any-return]
        source = self.placeholders.get(node)
        name = source.name if source else f"constant.{node.name}"
        try:
            array = to_array(tensor)
            if not tensor.is_complex():
                return self.context.constant(array, name)
            parts = (np.ascontiguousarray(array[..., part]) for part in range(2))
            return Pair(*(self.context.constant(part, f"{name}.{kind}") for part, kind in zip(parts, ("re", "im"))))
        except OverflowError as error:
            self.note(node, f"a constant {error}", "use numbers that fit 32 bits")
            return self.stand_in(node)  # type: ignore[no-any-return]

    def check_dtype(self, node: fx.Node) -> bool:
        """Whether the device has all element types that go in and come out; noted where they first go wrong."""
        missing = [tensor.dtype for tensor in _tensors(node) if not is_supported(tensor.dtype)]
        computed = [operand for operand in node.all_input_nodes if operand not in self.constants]
        inherited = [t for operand in computed for t in _tensors(operand) if not is_supported(t.dtype)]
        if missing and not inherited:
            name = str(missing[0]).removeprefix("torch.")
            self.note(node, f"{_aten_name(node.target)} makes a {name} tensor", remedy(missing[0]))
        return not missing and not inherited

    def check_shape(self, node: fx.Node) -> bool:
        """Whether the shapes of the results are known; noted where they first depend on values."""
        if not _is_data_dependent(node):
            return True
        if not any(map(_is_data_dependent, node.all_input_nodes)):
            self.note(node, *unknown_size(_aten_name(node.target)))
            self.unsized.add(self.joint.locations.get(node))
        return False

    def unsupported(self, node: fx.Node) -> Any:
        name = _aten_name(node.target)
        of_what = " of complex numbers" if _is_complex(node) and lowering_of(node.target) is not None else ""
        self.note(node, f"operator {name}{of_what} is not supported", workaround(name))
        return self.stand_in(node)

    def stand_in(self, node: fx.Node) -> Any:
        """Values of the types the node would have made, or float32 ones."""
        meta = node.meta.get("val")
        leaves = meta if isinstance(meta, (tuple, list)) else (meta,)
        fakes = [
            self.stand_in_for(leaf, f"missing.{node.name}.{i}") if isinstance(leaf, Tensor) else None
            for i, leaf in enumerate(leaves)
        ]
        return fakes if isinstance(meta, (tuple, list)) else fakes[0]

    def stand_in_for(self, tensor: Tensor, name: str) -> Value | Pair:
        type = _stand_in_type(tensor)
        if not tensor.is_complex():
            return self.builder.input(name, type)
        part = type.with_shape(type.shape[:-1])
        return Pair(self.builder.input(f"{name}.re", part), self.builder.input(f"{name}.im", part))

    def note(self, node: fx.Node, message: str, hint: str) -> None:
        """Note a problem, unless it may follow from an unknown size at the same place."""
        location: Location | None = self.joint.locations.get(node)
        if location in self.unsized:
            return
        self.refused[node] = None
        self.problems[Problem(message, location, hint)] = None


def _tensors(node: fx.Node) -> Iterator[Tensor]:
    """The node's results, without content."""
    value = node.meta.get("val")
    for tensor in value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(tensor, Tensor):
            yield tensor


def _is_complex(node: fx.Node) -> bool:
    """Whether complex numbers go in or come out."""
    return any(tensor.is_complex() for each in (node, *node.all_input_nodes) for tensor in _tensors(each))


def _is_data_dependent(node: fx.Node) -> bool:
    """Whether a node makes a number that is only known at run time, or a tensor with such an extent, though a run on
    sample values may have given it one."""
    if torch.Tag.dynamic_output_shape in getattr(node.target, "tags", ()):
        return _reads_by_mask(node) if node.target is torch.ops.aten.index.Tensor else not _reads_nothing(node)
    value = node.meta.get("val")
    leaves = value if isinstance(value, (tuple, list)) else (value,)
    numbers = [extent for leaf in leaves for extent in (leaf.shape if isinstance(leaf, Tensor) else (leaf,))]
    return any(isinstance(number, (torch.SymInt, torch.SymFloat, torch.SymBool)) for number in numbers)


def _reads_nothing(node: fx.Node) -> bool:
    """Whether the operand has no elements, so that there is nothing to choose from."""
    return any(tensor.numel() == 0 for operand in node.all_input_nodes[:1] for tensor in _tensors(operand))


def _reads_by_mask(node: fx.Node) -> bool:
    """Whether one of the indices is truth values, of which as many elements are read as there are true ones."""
    return any(index is not None and index.meta["val"].dtype is torch.bool for index in node.args[1])


def _stand_in_type(meta: Tensor) -> TensorType:
    """The type of a tensor, or a likely one."""
    shape = tuple(extent if isinstance(extent, int) else 1 for extent in meta.shape)
    return TensorType(DTYPES.get(meta.dtype, DType.F32), (*shape, 2) if meta.is_complex() else shape)


def _aten_name(target: Any) -> str:
    """`aten.topk` for torch.ops.aten.topk.default."""
    packet = getattr(target, "overloadpacket", target)
    return str(packet).replace("::", ".")
