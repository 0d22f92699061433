"""What a model was lowered to, as a program: its graphs, its symbols, and what they start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compiler.frontend.dtypes import has_content, tensor_type, to_array
from compiler.frontend.joint import Joint, Placeholder, Role
from compiler.frontend.locations import definition_line
from compiler.frontend.lower import LoweredJoint
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.optimizer_options import optimizer_spec, say_what_is_scheduled, state_of
from compiler.frontend.partition import Split, partition
from compiler.optimizers import OptimizerSpec, Update, build_update
from ir import verifier
from ir.errors import Problem, UnsupportedError
from ir.graph import Program, Symbol, SymbolKind
from ir.location import Location
from ir.op import Array
from ir.types import TensorType

KINDS = {
    Role.INPUT: SymbolKind.INPUT,
    Role.PARAMETER: SymbolKind.PARAMETER,
    Role.BUFFER: SymbolKind.BUFFER,
    Role.TANGENT: SymbolKind.OUTPUT_GRADIENT,
}


@dataclass(frozen=True)
class Captured:
    """A program, and the content its symbols start from, in their compute dtypes.

    `values` covers parameters, buffers, constants, optimizer states, hyper-parameters, output gradients (ones for
    losses, else zeros) and the sample inputs, except tensors without content (on the meta device). `losses` are the
    outputs that training starts from.
    """

    program: Program
    values: dict[str, Array]
    losses: tuple[str, ...]


def assemble(
    spec: ModelSpec, joint: Joint, lowered: LoweredJoint, *, inference: bool, recompute: bool = True
) -> Captured:
    """The program of a lowered model, verified: FWD for inference; for training also BCKWD and, with an optimizer, OPT.

    With `recompute`, BCKWD computes again what is cheaper to compute than to save.

    Raises UnsupportedError for an optimizer that the device does not have, and for whole numbers beyond 32 bits.
    """
    tangents = [source.name for source in joint.placeholders if source.role is Role.TANGENT]
    stored = (*joint.outputs, *joint.mutated, *lowered.updated)
    split = partition(lowered.graph, stored, tangents, recompute=recompute)
    update = None if inference else _update(spec, joint)
    program = _program(spec, joint, lowered, split, update)
    verifier.verify(program)
    return Captured(program, _values(joint, lowered, update, program), joint.losses)


def _update(spec: ModelSpec, joint: Joint) -> Update | None:
    if spec.optimizer is None:
        return None
    types = {source.name: tensor_type(source.tensor) for source in joint.placeholders if source.role is Role.PARAMETER}
    trained = {name: types[name] for name in joint.gradients if name in types}
    if isinstance(spec.optimizer, OptimizerSpec):
        return build_update(spec.optimizer.over(trained), trained, spec.max_grad_norm)
    try:
        optimizer = optimizer_spec(spec.optimizer, spec.model, trained)
        update = build_update(optimizer.over(trained), trained, spec.max_grad_norm)
        update.values.update(state_of(spec.optimizer, spec.model, trained, update.values))
        say_what_is_scheduled(spec.optimizer)
    except UnsupportedError as error:
        where = Location(spec.file.name, definition_line(spec.file, "optimizer")) if spec.file.is_file() else None
        raise UnsupportedError(*(replace(problem, where=where) for problem in error.problems)) from error
    return update


def _program(spec: ModelSpec, joint: Joint, lowered: LoweredJoint, split: Split, update: Update | None) -> Program:
    types = {output.symbol: output.value.type for output in lowered.graph.outputs}
    constants = {value.name: value.type for value in lowered.graph.inputs if value.name in lowered.constants}
    symbols = [
        *_placeholder_symbols(joint),
        *(Symbol(name, type, SymbolKind.CONSTANT) for name, type in constants.items()),
        *lowered.symbols,
        *(Symbol(name, types[name], SymbolKind.OUTPUT) for name in joint.outputs),
        *split.activations,
        *(_gradient(name, types) for name in joint.gradients),
        *(update.symbols if update else ()),
    ]
    graphs = [graph for graph in (split.forward, split.backward) if graph.outputs]
    return Program(_identifier(spec.name), tuple(symbols), (*graphs, *(update.graphs if update else ())))


def _placeholder_symbols(joint: Joint) -> Iterator[Symbol]:
    for source in joint.placeholders:
        if source.role in KINDS:
            yield Symbol(source.name, tensor_type(source.tensor), KINDS[source.role])


def _gradient(name: str, types: dict[str, TensorType]) -> Symbol:
    return Symbol(f"{name}.grad", types[f"{name}.grad"], SymbolKind.GRADIENT)


def _identifier(name: str) -> str:
    """The name with what a program's name cannot hold replaced."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _values(joint: Joint, lowered: LoweredJoint, update: Update | None, program: Program) -> dict[str, Array]:
    values: dict[str, Array] = {}
    problems = []
    for source in joint.placeholders:
        if source.name not in program.symbol or source.role is Role.CONSTANT or not _has_start(source):
            continue
        try:
            values[source.name] = to_array(_concrete(source, joint))
        except OverflowError as error:
            problems.append(Problem(f"{source.role.value} {source.name} {error}", hint="use smaller numbers"))
    UnsupportedError.raise_if(problems)
    return {**values, **lowered.constants, **lowered.initial, **(update.values if update else {})}


def _has_start(source: Placeholder) -> bool:
    """Whether it is known what the tensor starts from; models may be compiled before they have any content."""
    return source.role is Role.TANGENT or has_content(source.tensor)


def _concrete(source: Placeholder, joint: Joint) -> Tensor:
    """The tensor with content: the gradient of an output was traced without."""
    if source.role is not Role.TANGENT:
        return source.tensor
    start = 1.0 if source.name.removesuffix(".grad") in joint.losses else 0.0
    return torch.full(source.tensor.shape, start, dtype=source.tensor.dtype)
