"""A stage in numbers: its operators, types and how its values hang together, without names.

Equal stages, such as those of a transformer's layers, share one form, so that whatever is worked out for a form is
worked out once. Cutting a form by a loop gives the form of one iteration.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from backends.rdu.fuse.stages import StageNodes
from ir.errors import InfeasibleError, Problem
from ir.op import CostClass, Op
from ir.space import Cut, Space
from ir.types import TensorType
from pef.cycles import StageWork, TileOperation
from pef.nest import WHOLE

UNCUTTABLE = ""
"""The dim that a known axis asks to cut where the operator cannot be cut along that axis."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator applied to values of a form, by number."""

    op: Op
    operands: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Key:
    types: tuple[TensorType, ...]
    operations: tuple[Operation, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(eq=False)
class Form:
    """The values of a stage by number, its operations in order, and which values it reads and writes.

    Forms are interned: equal forms are one object, and hash as quickly as objects do.
    """

    types: tuple[TensorType, ...]
    operations: tuple[Operation, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]

    def __reduce__(self) -> tuple[object, ...]:
        """From a pickle comes the one object of this process that equals it."""
        return _interned, (_Key(self.types, self.operations, self.reads, self.writes),)

    @functools.cached_property
    def applied(self) -> tuple[TileOperation, ...]:
        """Each operator with the types of its operands and results."""
        return tuple(
            TileOperation(o.op, tuple(self.types[i] for i in o.operands), tuple(self.types[i] for i in o.results))
            for o in self.operations
        )

    @functools.cached_property
    def work(self) -> StageWork:
        """What one firing asks of PCUs."""
        return StageWork.of(self.applied)

    @functools.cached_property
    def spaces(self) -> tuple[Space, ...]:
        """The iteration space of each operation."""
        return tuple(_space(applied.op, applied.operands) for applied in self.applied)

    @functools.cached_property
    def sides(self) -> dict[int, int]:
        """The side of the stage's product that a read value reaches, directly or through free operators."""
        found: dict[int, int] = {}
        for read in self.reads:
            reached = {read}
            for operation in self.operations:
                if operation.op.cost.kind is CostClass.SYSTOLIC:
                    side = next((i for i, operand in enumerate(operation.operands) if operand in reached), None)
                    if side is not None:
                        found[read] = side
                    break
                if operation.op.is_free and reached.intersection(operation.operands):
                    reached.update(operation.results)
        return found

    @functools.cached_property
    def dealt(self) -> frozenset[int]:
        """The values read of which a lane needs its own part only, even of those with fewer elements than pass the
        stage's pipeline: a joined operand is such a value, one that is broadcast is not."""
        return frozenset(read for read in self.reads if self._is_dealt(read))

    def _is_dealt(self, read: int) -> bool:
        if self.types[read].numel >= self.work.elements or self.work.gemm is not None:
            return self.types[read].numel >= self.work.elements
        readers = [number for number, operation in enumerate(self.operations) if read in operation.operands]
        for number in readers:
            operation, space = self.operations[number], self.spaces[number]
            made = [self.types[result].numel for result in operation.results]
            if operation.op.is_free and max(made) <= self.types[read].numel:
                if not all(map(self._is_dealt, operation.results)):
                    return False
                continue
            if max(made) < self.work.elements:
                return False
            shared_out = {dim for axes in space.results for axis in axes for dim in axis.dims if space.sizes[dim] > 1}
            shared_out -= space.whole
            for value, axes in zip(operation.operands, space.operands):
                if value == read and not shared_out <= {dim for axis in axes for dim in axis.dims}:
                    return False
        return bool(readers)

    @functools.cached_property
    def cuts(self) -> tuple[dict[str, Cut], ...]:
        """The dims by which each operation can be cut, with the effect."""
        return tuple({cut.dim: cut for cut in space.cuts()} for space in self.spaces)


_FORMS: dict[_Key, Form] = {}


def _interned(key: _Key) -> Form:
    form = _FORMS.get(key)
    if form is None:
        form = _FORMS[key] = Form(key.types, key.operations, key.reads, key.writes)
    return form


@functools.cache
def _space(op: Op, operands: tuple[TensorType, ...]) -> Space:
    return op.space(*operands)


def form_with_types(form: Form, types: Sequence[TensorType]) -> Form:
    """A form whose values have other types, such as those of one iteration; its operators follow their results."""
    operations = tuple(Operation(o.op.retyped(types[o.results[0]]), o.operands, o.results) for o in form.operations)
    return _interned(_Key(tuple(types), operations, form.reads, form.writes))


def form_of(stage: StageNodes) -> tuple[Form, tuple[str, ...]]:
    """The form of a stage, and the name of each of its values."""
    numbers: dict[str, int] = {}
    types: list[TensorType] = []
    for value in (*stage.reads, *(v for node in stage.nodes for v in (*node.operands, *node.results))):
        if value.name not in numbers:
            numbers[value.name] = len(types)
            types.append(value.type)
    operations = tuple(
        Operation(n.op, tuple(numbers[v.name] for v in n.operands), tuple(numbers[v.name] for v in n.results))
        for n in stage.nodes
    )
    reads = tuple(numbers[value.name] for value in stage.reads)
    writes = tuple(numbers[value.name] for value in stage.writes)
    return _interned(_Key(tuple(types), operations, reads, writes)), tuple(numbers)


@dataclass(frozen=True, slots=True)
class Cutting:
    """What a loop does to a form: the axis it cuts of each value, by what its count is limited, what it reduces into.

    Every dim that is cut must be divisible by the count.
    """

    axes: tuple[int, ...]
    divisor: int
    accumulators: frozenset[int]
    dims: tuple[tuple[str, str], ...] = ()
    """By operator, the dims that are cut."""


Seed = tuple[int, str]
"""A busy operation of a form, by its index, and the dim of its space to cut."""


def seeds(form: Form, *, reductions: bool = False) -> list[Seed]:
    """The dims along which the form's first busy operation can be cut with a result that streams on, outermost first;
    those that it reduces only where no other can be cut, or where asked for."""
    index = next(i for i, operation in enumerate(form.operations) if not operation.op.is_free)
    cuts = list(form.cuts[index].values())
    streaming = [cut for cut in cuts if any(axis >= 0 for axis in cut.results)]
    streaming.sort(key=lambda cut: min(axis for axis in cut.results if axis >= 0))
    others = [cut for cut in cuts if cut not in streaming]
    chosen = [*streaming, *others] if reductions else streaming or others
    return [(index, cut.dim) for cut in chosen]


@functools.lru_cache(maxsize=1 << 16)
def cut_form(form: Form, facts: tuple[tuple[int, int], ...], seed: Seed | None) -> Cutting | None:
    """Find the axis that a loop cuts of every value, from facts (value, axis) and from the seed.

    Facts spread through each operator's iteration space, forwards and backwards, until nothing changes. None where they
    contradict each other, where an operator cannot be cut along the dim they ask for, or where a value is used against
    its nature: a partial result inside the stage, a cut value by an operator that is not, or a result that every
    iteration computes anew outside. None also where all that is cut is within the stage, as the sum of an expanded
    number: it would fire once, and sum up one part.
    """
    axes: dict[int, int] = dict(facts)
    settled: dict[int, Cut] = {}
    divisor = 0
    progress = True
    while progress:
        progress = False
        for index, operation in enumerate(form.operations):
            if index in settled:
                continue
            dim = seed[1] if seed is not None and seed[0] == index else _implied_dim(form, index, axes)
            if dim is None:
                continue
            cut = form.cuts[index].get(dim)
            if cut is None or not _agree(operation, cut, axes):
                return None
            settled[index] = cut
            progress = True
            divisor = math.gcd(divisor, cut.size)
    if not settled:
        return None
    accumulators = frozenset(
        result
        for index, cut in settled.items()
        for result, axis in zip(form.operations[index].results, cut.results)
        if axis == WHOLE
    )
    if _misused(form, axes, accumulators, settled):
        return None
    if all(axes.get(value, WHOLE) == WHOLE for value in (*form.reads, *form.writes)):
        return None
    dims = tuple((form.operations[index].op.name, cut.dim) for index, cut in settled.items())
    return Cutting(tuple(axes.get(value, WHOLE) for value in range(len(form.types))), divisor, accumulators, dims)


def _implied_dim(form: Form, index: int, axes: dict[int, int]) -> str | None:
    """The dim of an operation's space that a known axis of one of its values asks to cut: None where none is known."""
    operation, space = form.operations[index], form.spaces[index]
    for values, spaces in ((operation.operands, space.operands), (operation.results, space.results)):
        for value, own in zip(values, spaces):
            axis = axes.get(value, WHOLE)
            if axis != WHOLE:
                return space.leading(own[axis]) or UNCUTTABLE
    return None


def _agree(operation: Operation, cut: Cut, axes: dict[int, int]) -> bool:
    """Record the axes that cutting the operation gives its values; False where one is known to be another."""
    for value, axis in (*zip(operation.operands, cut.operands), *zip(operation.results, cut.results)):
        if axes.setdefault(value, axis) != axis:
            return False
    return True


def _misused(form: Form, axes: dict[int, int], accumulators: frozenset[int], settled: dict[int, Cut]) -> bool:
    for index, operation in enumerate(form.operations):
        if any(operand in accumulators for operand in operation.operands):
            return True
        if index not in settled and any(axes.get(operand, WHOLE) != WHOLE for operand in operation.operands):
            return True
    return any(axes.get(value, WHOLE) == WHOLE and value not in accumulators for value in form.writes)


@functools.lru_cache(maxsize=1 << 16)
def iteration(form: Form, axes: tuple[int, ...], count: int) -> Form:
    """The form of one of `count` iterations of a loop that cuts the values along `axes`.

    Raises InfeasibleError where an operator does not accept such slices.
    """
    types = tuple(tensor.sliced(axis, count) for tensor, axis in zip(form.types, axes))
    operations = []
    for operation in form.operations:
        operands = tuple(types[i] for i in operation.operands)
        results = tuple(types[i] for i in operation.results)
        op = _for_tile(operation.op, operands, results)
        if op is None:
            shown = ", ".join(map(str, operands))
            raise InfeasibleError(Problem(f"{operation.op.name} cannot be cut into slices of {shown}"))
        operations.append(Operation(op, operation.operands, operation.results))
    return _interned(_Key(types, tuple(operations), form.reads, form.writes))


@functools.cache
def _for_tile(op: Op, operands: tuple[TensorType, ...], results: tuple[TensorType, ...]) -> Op | None:
    return op.for_tile(operands, results)


def counts_of(divisor: int, most: int) -> list[int]:
    """The counts a loop may have: divisors of `divisor` up to `most`, ascending."""
    found = [count for count in range(1, min(divisor, most) + 1) if divisor % count == 0]
    return found or [1]


def largest_count(divisor: int, most: int) -> int:
    """The largest count a loop may have, up to `most`."""
    return counts_of(divisor, most)[-1]
