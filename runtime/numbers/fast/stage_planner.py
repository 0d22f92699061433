"""Lays out one stage for one group of tiles: operators become kernel calls on arrays chosen now."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ir.errors import IllegalPefError
from ir.op import Array, Op
from ir.rounding import round_to_bf16, widen
from ir.types import DType, TensorType
from runtime.collective import Exchange
from runtime.numbers.fast.chains import STREAMED_BYTES, Call, steps_of
from runtime.numbers.fast.grouping import Group
from runtime.numbers.fast.plan import Lane
from runtime.numbers.fast.program import Operation, Phase, Port, Program, Stage, Stream
from runtime.numbers.fast.residence import Residence
from runtime.numbers.fast.scratch import Temporaries
from runtime.numbers.fast.views import constant, cut, same_view
from runtime.numbers.indexed import gather
from runtime.numbers.origin import kernel_at


class GroupBuffers:
    """The buffers of a phase as one group of tiles sees them; rings live from their filling to their last read."""

    def __init__(
        self,
        program: Program,
        phase: Phase,
        number: int,
        residence: Residence,
        group: Group,
        steps: Lane,
        temporaries: Temporaries | None = None,
        sums: Mapping[int, Array] | None = None,
        is_first: bool = True,
    ) -> None:
        self.program = program
        self.phase = phase
        self.residence = residence
        self.group = group
        self.steps = steps
        self.sums = sums or {}
        self.is_first = is_first
        self._number = number
        self._temporaries = temporaries
        self._rings: dict[int, tuple[Array, Array, TensorType]] = {}
        self._reads = Counter(port.buffer for stage in phase.stages for port in stage.inputs)
        self._reads.update(store.buffer for store in phase.stores if not residence.is_aliased(store))
        self._loads = {load.buffer: load for load in phase.loads if load.axis >= 0 and phase.tiles > 1}
        self._loaded: set[int] = set()

    def read(self, number: int, axis: int) -> Array:
        """The group's tiles of a buffer, or all of it where axis is -1; loads it first where that is due."""
        load = self._loads.get(number)
        if load is not None and number not in self._loaded:
            self._loaded.add(number)
            self._load(load)
        return self._array(number, axis)

    def write(self, number: int, axis: int) -> Array:
        """Where a stage puts the group's tiles of a buffer."""
        return self._array(number, axis)

    def done(self, number: int) -> None:
        """One of the reads of a buffer is over."""
        self._reads[number] -= 1
        if self._reads[number] == 0 and number in self._rings and self._temporaries is not None:
            _, held, tensor = self._rings.pop(number)
            self._temporaries.give_back(held, tensor)

    def is_streamed(self, number: int) -> bool:
        """Whether what is written into a buffer is too large to be found in the cache by who reads it next."""
        whole = self.residence.whole[number]
        return whole is not None and whole.nbytes >= STREAMED_BYTES and self._reads[number] == 0

    def finish(self) -> None:
        """The group is through: what nobody reads to the end is free, too."""
        for _, held, tensor in self._rings.values():
            if self._temporaries is not None:
                self._temporaries.give_back(held, tensor)
        self._rings.clear()

    def _array(self, number: int, axis: int) -> Array:
        whole = self.residence.whole[number]
        if whole is not None:
            return cut(whole, axis, self.group.start, self.group.count, self.phase.tiles)
        if number not in self._rings:
            self._rings[number] = self._ring(number, axis)
        return self._rings[number][0]

    def _ring(self, number: int, axis: int) -> tuple[Array, Array, TensorType]:
        buffer = self.program.buffers[number]
        if self._temporaries is None or axis < 0:
            raise IllegalPefError(f"ring buffer {buffer.name} is used as a whole; recompile the model")
        shape = list(buffer.type.shape)
        shape[axis] = shape[axis] // self.phase.tiles * self.group.count
        tensor = buffer.type.with_shape(tuple(shape))
        array, held = self._temporaries.take(tensor)
        return array, held, tensor

    def _load(self, load: Stream) -> None:
        source = self.residence.sources[self._number, load.buffer]
        if self.residence.whole[load.buffer] is source:
            return
        tiles = cut(source, load.symbol_axis, self.group.start, self.group.count, self.phase.tiles)
        target = self._array(load.buffer, load.axis)
        if load.pick is not None:
            self.steps.append((gather, (tiles, self.read(load.index, load.index_axis), load.pick.axis, target)))
            return
        is_bf16 = self.program.slots[load.slot].dtype is DType.BF16
        self.steps.append((widen, (tiles, target)) if is_bf16 else (np.copyto, (target, tiles)))


class StagePlanner:
    """Appends the steps of one stage for one group of tiles."""

    def __init__(
        self,
        stage: Stage,
        buffers: GroupBuffers,
        temporaries: Temporaries,
        steps: Lane,
        exchange: Exchange,
        combiners: Mapping[int, Callable[..., Any]] | None = None,
    ) -> None:
        self.stage = stage
        self.buffers = buffers
        self.temporaries = temporaries
        self.steps = steps
        self.calls: list[Call] = []
        self.exchange = exchange
        self.combiners = combiners or {}
        self.count = buffers.group.count
        self.types = [value.grown(self.count) for value in stage.values]
        self.arrays: dict[int, Array] = {}
        self.targets: dict[int, Array] = {}
        self.roots, self.last_use = _lifetimes(stage)
        self.ends = {root: number for number, roots in self.last_use.items() for root in roots}
        self.outputs = {self.roots[port.value] for port in stage.outputs}
        self.partial = {self.roots[port.value] for port in stage.outputs if port.buffer in self.combiners}
        self.held: dict[int, list[tuple[Array, TensorType]]] = defaultdict(list)
        self.streamed = self._streamed()

    def build(self) -> None:
        for port in self.stage.inputs:
            self.arrays[port.value] = self.buffers.read(port.buffer, port.axis)
        places = [self._place(port) for port in self.stage.outputs]
        self._aim(places)
        for index, operation in enumerate(self.stage.operations):
            self._operate(operation, index)
            self._release(index)
        for port, place in zip(self.stage.outputs, places):
            self._deliver(port, place)
        self._release(len(self.stage.operations))
        self.steps.extend(steps_of(self.calls, self.temporaries))
        for port in self.stage.inputs:
            self.buffers.done(port.buffer)

    def _streamed(self) -> set[int]:
        """The outputs that go past the cache: only chains read them here."""
        found = {
            self.roots[port.value]
            for port in self.stage.outputs
            if port.buffer not in self.combiners
            and self.types[port.value].dtype is not DType.BF16
            and self.buffers.is_streamed(port.buffer)
        }
        for operation in self.stage.operations:
            if not (operation.op.is_elementwise or operation.op.is_free):
                found -= {self.roots[operand] for operand in operation.operands}
        return found

    def _place(self, port: Port) -> Array | None:
        """Where an output belongs; None where it has to be added to what earlier groups left."""
        if port.buffer not in self.combiners:
            return self.buffers.write(port.buffer, port.axis)
        return self.buffers.sums[port.buffer] if self.buffers.is_first else None

    def _aim(self, places: list[Array | None]) -> None:
        """Give every value that an output is a view of its place in the output's buffer."""
        for port, place in zip(self.stage.outputs, places):
            if place is not None:
                self.targets.setdefault(port.value, place)
        for operation in reversed(self.stage.operations):
            if not operation.op.is_free or len(operation.operands) != 1:
                continue
            (operand,), (result,) = operation.operands, operation.results
            if result in self.targets and operand not in self.targets:
                tensor = self.types[operand]
                source = operation.op.source_of(self.targets[result], tensor.shape)
                if source is not None:
                    self.targets[operand] = source

    def _operate(self, operation: Operation, index: int) -> None:
        op = operation.op if self.count == 1 else operation.op.retyped(self.types[operation.results[0]])
        operands = [self.arrays[operand] for operand in operation.operands]
        if op.is_free:
            self._view(op, operation, operands)
        else:
            self._compute(op, operation, index, operands)

    def _view(self, op: Op, operation: Operation, operands: list[Array]) -> None:
        (result,) = operation.results
        tensor = self.types[result]
        if not operands:
            self.arrays[result] = constant(op, tensor)
            return
        view: Array = op.view(*operands)  # type: ignore[attr-defined]
        if any(np.may_share_memory(view, operand) for operand in operands):
            self.arrays[result] = view
            return
        target = self._result(result, contiguous=True)
        self.calls.append(Call(op.kernel, (*operands, target)))
        self.arrays[result] = target

    def _compute(self, op: Op, operation: Operation, index: int, operands: list[Array]) -> None:
        contiguous = not op.any_layout
        results = [self._result(result, contiguous, _order(op, operands)) for result in operation.results]
        pairs = op.copies(operands, results[0])
        if pairs is not None:
            streams = self._streams(operation.results[0])
            self.calls += [Call.copy(source, target, streams) for source, target in pairs]
        else:
            self._call(op, operation, index, operands, results)
        for result, array in zip(operation.results, results):
            if self.types[result].dtype is DType.BF16 and self.roots[result] not in self.partial:
                self._round(array, self.types[result])
            self.arrays[result] = array

    def _call(self, op: Op, operation: Operation, index: int, operands: list[Array], results: list[Array]) -> None:
        types = [self.types[operand] for operand in operation.operands]
        wanted = op.scratch(*types)
        scratch = [self.temporaries.take(tensor) for tensor in wanted]
        kernel = self.exchange.mean if op.exchanges else kernel_at(op, operation.where)
        arguments = (*operands, *results, *(array for array, _ in scratch))
        call = Call.of(op, kernel, arguments, len(operands), index)
        result = operation.results[0]
        if self.held.get(result) and result not in self.outputs:
            call = replace(call, last=self.ends[result])
        self.calls.append(replace(call, streams=self._streams(result)))
        for (_, held), tensor in zip(scratch, wanted):
            self.temporaries.give_back(held, tensor)

    def _streams(self, value: int) -> bool:
        """Whether what is computed stands in an output that goes past the cache."""
        return self.roots[value] in self.streamed and not self.held.get(self.roots[value])

    def _round(self, array: Array, tensor: TensorType) -> None:
        scratch, held = self.temporaries.take(tensor)
        self.calls.append(Call(round_to_bf16, (array, scratch.view(np.uint32))))
        self.temporaries.give_back(held, tensor)

    def _result(self, value: int, contiguous: bool, order: Sequence[int] = ()) -> Array:
        """The array a value is computed into: its place in a buffer, else scratch, with its axes in this order."""
        target = self.targets.get(value)
        if target is not None and (not contiguous or target.flags.c_contiguous):
            return target
        tensor = self.types[value]
        array, held = self.temporaries.take(tensor)
        self.held[self.roots[value]].append((held, tensor))
        if len(order) != array.ndim:
            return array
        ordered: Array = array.reshape([tensor.shape[axis] for axis in order]).transpose(np.argsort(order))
        return ordered

    def _deliver(self, port: Port, place: Array | None) -> None:
        array = self.arrays[port.value]
        if place is None:
            total = self.buffers.sums[port.buffer]
            self.calls.append(Call(self.combiners[port.buffer], (total, array, total)))
        elif not same_view(array, place):
            self.calls.append(Call.copy(array, place, self.roots[port.value] in self.streamed))

    def _release(self, index: int) -> None:
        for root in self.last_use.get(index, ()):
            for held, tensor in self.held.pop(root, ()):
                self.temporaries.give_back(held, tensor)


def plan_free_chain(store: Stream, source: Array, count: int, steps: Lane, temporaries: Temporaries) -> Array:
    """What a store moves: `source` through the stream's free operators."""
    arrays = {0: source}
    for operation in store.operations:
        (result,) = operation.results
        tensor = store.values[result].grown(count)
        op = operation.op.retyped(tensor)
        operands = [arrays[operand] for operand in operation.operands]
        view: Array = op.view(*operands) if operands else constant(op, tensor)  # type: ignore[attr-defined]
        if operands and not any(np.may_share_memory(view, operand) for operand in operands):
            view, _ = temporaries.take(tensor)
            steps.append((op.kernel, (*operands, view)))
        arrays[result] = view
    return arrays[len(store.values) - 1] if store.operations else source


def _order(op: Op, operands: Sequence[Array]) -> Sequence[int]:
    """The order of axes in which a result is made several times faster than in its own, or nothing.

    Elementwise, that of the first operand whose neighbours along the last axis are not neighbours in memory, as in a
    permuted view.
    """
    if op.is_elementwise:
        for operand in operands:
            if (
                operand.ndim
                and operand.shape[-1] > 1
                and operand.strides[-1] > operand.itemsize
                and all(operand.strides)
            ):
                return sorted(range(operand.ndim), key=lambda axis: -operand.strides[axis])
    return ()


def _lifetimes(stage: Stage) -> tuple[list[int], dict[int, list[int]]]:
    """The value whose memory each value may be a view of, and which of those are last used by each operation.

    Outputs count as used by one operation more.
    """
    roots = list(range(len(stage.values)))
    last: dict[int, int] = {}
    for index, operation in enumerate(stage.operations):
        if operation.op.is_free and operation.operands:
            roots[operation.results[0]] = roots[operation.operands[0]]
        for value in (*operation.operands, *operation.results):
            last[roots[value]] = index
    for port in stage.outputs:
        last[roots[port.value]] = len(stage.operations)
    by_operation: dict[int, list[int]] = defaultdict(list)
    for root, index in last.items():
        by_operation[index].append(root)
    return roots, by_operation
