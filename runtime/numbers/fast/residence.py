"""Where each buffer of a section lives: in device memory itself, in scratch, or in one group of tiles at a time.

A graph's reads see every symbol from before the section ran. A load is therefore a view straight into device memory
only where no store of the same section can come first: the symbol is not stored at all, or later, or tile by tile
along the same axis, where a tile is read before it is stored. Otherwise the symbol is copied when the section starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ir.op import Array
from ir.types import DType
from runtime.numbers.fast.plan import Lane
from runtime.numbers.fast.program import Program, Stream
from runtime.numbers.fast.scratch import Scratch


@dataclass(frozen=True, slots=True)
class Transfer:
    """A stream, the phase it is in and the symbol it moves."""

    phase: int
    tiles: int
    stream: Stream
    symbol: int


@dataclass
class Residence:
    """Decides for one section.

    `whole[b]` is all of buffer b in its compute type, or None where only a group of tiles exists at a time.
    `sources[b]` is what a load of b reads, in its storage type. `snapshots` are the copies to make at the start.
    """

    program: Program
    symbols: Sequence[int]
    views: Sequence[Array]
    scratch: Scratch
    whole: list[Array | None] = field(init=False)
    sources: dict[tuple[int, int], Array] = field(init=False, default_factory=dict)
    snapshots: Lane = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._loads = self._transfers(store=False)
        self._stores = self._transfers(store=True)
        self._last_use = _last_uses(self.program)
        self._aliased: set[int] = set()
        copies: dict[int, Array] = {}
        for load in self._loads:
            self.sources[load.phase, load.stream.buffer] = self._source(load, copies)
        self.whole = [self._place(number) for number in range(len(self.program.buffers))]

    def is_aliased(self, stream: Stream) -> bool:
        """Whether the stream's buffer is the symbol's own memory, so that nothing remains to move."""
        return id(stream) in self._aliased

    def target(self, stream: Stream) -> Array:
        """What a store writes, in its storage type."""
        return self.views[stream.slot]

    def _transfers(self, store: bool) -> list[Transfer]:
        return [
            Transfer(number, phase.tiles, stream, self.symbols[stream.slot])
            for number, phase in enumerate(self.program.phases)
            for stream in (phase.stores if store else phase.loads)
        ]

    def _source(self, load: Transfer, copies: dict[int, Array]) -> Array:
        view = self.views[load.stream.slot]
        stores = [store for store in self._stores if store.symbol == load.symbol]
        if all(self._is_read_first(load, store) for store in stores):
            return view
        if load.symbol not in copies:
            copy = self.scratch.take(view.nbytes)[: view.nbytes].view(view.dtype).reshape(view.shape)
            copies[load.symbol] = copy
            self.snapshots.append((np.copyto, (copy, view)))
        return copies[load.symbol]

    def _is_read_first(self, load: Transfer, store: Transfer) -> bool:
        is_view = self._is_view(load)
        last_read = self._last_use[load.stream.buffer] if is_view else load.phase
        if last_read != store.phase:
            return last_read < store.phase
        if is_view and self._is_stored(load.stream.buffer):  # which may be done after this store
            return False
        if store.stream.symbol_axis < 0 or store.tiles == 1:
            return True
        plain = load.stream.pick is None and store.stream.pick is None
        aligned = plain and load.phase == store.phase and load.stream.axis == store.stream.symbol_axis
        return aligned or (not is_view and load.stream.axis < 0)

    def _is_view(self, load: Transfer) -> bool:
        """Whether the buffer can be device memory itself: nothing else fills it, nothing widens it."""
        number = load.stream.buffer
        if load.stream.pick is not None:
            return False
        loads = sum(other.stream.buffer == number for other in self._loads)
        return loads == 1 and not self._is_computed(number) and self._dtype(number) is not DType.BF16

    def _is_stored(self, number: int) -> bool:
        return any(store.stream.buffer == number for store in self._stores)

    def _is_computed(self, number: int) -> bool:
        return any(
            port.buffer == number for phase in self.program.phases for stage in phase.stages for port in stage.outputs
        )

    def _dtype(self, number: int) -> DType:
        return self.program.buffers[number].type.dtype

    def _place(self, number: int) -> Array | None:
        loads = [load for load in self._loads if load.stream.buffer == number]
        if loads and self._is_view(loads[0]):
            return self.sources[loads[0].phase, number]
        if all(load.stream.pick is not None for load in loads):
            for store in self._stores:
                if store.stream.buffer == number:
                    inside = self._inside(store)
                    if inside is not None:
                        self._aliased.add(id(store.stream))
                        return inside
        buffer = self.program.buffers[number]
        return self.scratch.array(buffer.type) if buffer.is_whole else None

    def _inside(self, store: Transfer) -> Array | None:
        """The buffer as the memory of the symbol it is stored to, where nothing reads or stores that symbol besides."""
        stream = store.stream
        others = [other for other in (*self._loads, *self._stores) if other.symbol == store.symbol]
        if len(others) > 1 or stream.pick is not None or self._dtype(stream.buffer) is DType.BF16:
            return None
        array: Array | None = self.views[stream.slot]
        expected = len(stream.values) - 1
        for operation in reversed(stream.operations):
            if array is None or operation.results != (expected,) or len(operation.operands) != 1:
                return None
            expected = operation.operands[0]
            tensor = stream.values[expected].grown(store.tiles)
            array = operation.op.source_of(array, tensor.shape)
        return array


def _last_uses(program: Program) -> dict[int, int]:
    """The last phase that touches each buffer."""
    last: dict[int, int] = {}
    for number, phase in enumerate(program.phases):
        ports = [port for stage in phase.stages for port in (*stage.inputs, *stage.outputs)]
        moved = [stream.buffer for stream in (*phase.loads, *phase.stores)]
        indices = [stream.index for stream in (*phase.loads, *phase.stores) if stream.pick is not None]
        last.update(dict.fromkeys([*(port.buffer for port in ports), *moved, *indices], number))
    return last
