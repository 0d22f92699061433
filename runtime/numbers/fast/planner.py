"""Lays out a section: from its program and its symbols in device memory to a plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ir.op import Array
from ir.rounding import narrow, round_to_bf16, widen
from ir.types import DType
from runtime.collective import Exchange
from runtime.numbers.combiners import COMBINERS
from runtime.numbers.fast.chains import STREAMED_BYTES, Call, steps_of
from runtime.numbers.fast.grouping import Group, lanes_of
from runtime.numbers.fast.plan import Lane, Plan
from runtime.numbers.fast.program import Phase, Program, Stream
from runtime.numbers.fast.residence import Residence
from runtime.numbers.fast.scratch import Mark, Scratch, Temporaries
from runtime.numbers.fast.stage_planner import GroupBuffers, StagePlanner, plan_free_chain
from runtime.numbers.fast.views import cut
from runtime.numbers.indexed import gather, scatter

CHUNK_BYTES = 1 << 18
"""Merging the lanes' sums is spread over threads in pieces of this size."""


def plan_section(
    program: Program,
    symbols: Sequence[int],
    views: Sequence[Array],
    scratch: Scratch,
    exchange: Exchange,
    threads: int,
) -> Plan:
    """The plan of a section whose slot i is symbol `symbols[i]`, in device memory at `views[i]`."""
    return _SectionPlanner(program, symbols, views, scratch, exchange, threads).build()


class _SectionPlanner:
    def __init__(
        self,
        program: Program,
        symbols: Sequence[int],
        views: Sequence[Array],
        scratch: Scratch,
        exchange: Exchange,
        threads: int,
    ) -> None:
        scratch.release(Mark(0, 0))
        self.threads = threads
        self.program = program
        self.scratch = scratch
        self.exchange = exchange
        self.residence = Residence(program, symbols, views, scratch)
        self.plan = Plan()

    def build(self) -> Plan:
        self.plan.add([self.residence.snapshots])
        base = self.scratch.mark()
        for number, phase in enumerate(self.program.phases):
            _PhasePlanner(self, number, phase).build()
            self.scratch.release(base)
        return self.plan


class _PhasePlanner:
    def __init__(self, section: _SectionPlanner, number: int, phase: Phase) -> None:
        self.section = section
        self.number = number
        self.phase = phase
        self.scratch = section.scratch
        self.residence = section.residence
        self.sums = {
            port.buffer: COMBINERS[port.combine]
            for stage in phase.stages
            for port in stage.outputs
            if port.combine is not None and phase.tiles > 1
        }

    def build(self) -> None:
        plan = self.section.plan
        plan.add([self._whole_loads()])
        lanes = lanes_of(self.phase, self.section.program, self.section.threads)
        plan.add([self._resident_stages()])
        steps, partials = [], []
        for index, groups in enumerate(lanes):
            lane, sums = self._lane(groups, first=index == 0)
            steps.append(lane)
            partials.append(sums)
        plan.add(steps)
        for buffer in self.sums:
            plan.add(self._merge(buffer, [sums[buffer] for sums in partials]))
        plan.add([self._whole_stores()])

    def _whole_loads(self) -> Lane:
        steps: Lane = []
        for load in self.phase.loads:
            whole = self.residence.whole[load.buffer]
            source = self.residence.sources[self.number, load.buffer]
            if whole is None or whole is source or (load.axis >= 0 and self.phase.tiles > 1):
                continue
            if load.pick is not None:
                rows = self.residence.whole[load.index]
                steps.append((gather, (source, rows, load.pick.axis, whole)))
                continue
            is_bf16 = self.section.program.slots[load.slot].dtype is DType.BF16
            steps.append((widen, (source, whole)) if is_bf16 else (np.copyto, (whole, source)))
        return steps

    def _resident_stages(self) -> Lane:
        """Stages that no tile changes: once, before the tiles."""
        steps: Lane = []
        if self.phase.tiles == 1:
            return steps
        temporaries = Temporaries(self.scratch)
        buffers = GroupBuffers(self.section.program, self.phase, self.number, self.residence, Group(0, 1), steps)
        for stage in self.phase.stages:
            if stage.is_resident:
                StagePlanner(stage, buffers, temporaries, steps, self.section.exchange).build()
        return steps

    def _lane(self, groups: list[Group], first: bool) -> tuple[Lane, dict[int, Array]]:
        """One lane's steps and its own sums over its tiles; the first lane's are the buffers themselves."""
        steps: Lane = []
        sums: dict[int, Array] = {}
        for buffer in self.sums:
            whole = self.residence.whole[buffer]
            taken = whole if first else None
            sums[buffer] = taken if taken is not None else self.scratch.array(self.section.program.buffers[buffer].type)
        temporaries = Temporaries(self.scratch)
        program = self.section.program
        for index, group in enumerate(groups):
            buffers = GroupBuffers(
                program, self.phase, self.number, self.residence, group, steps, temporaries, sums, index == 0
            )
            for stage in self.phase.stages:
                if self.phase.tiles == 1 or not stage.is_resident:
                    StagePlanner(stage, buffers, temporaries, steps, self.section.exchange, self.sums).build()
            self._tiled_stores(group, buffers, steps, temporaries)
            buffers.finish()
        return steps, sums

    def _tiled_stores(self, group: Group, buffers: GroupBuffers, steps: Lane, temporaries: Temporaries) -> None:
        tiled = [s for s in self.phase.stores if s.axis >= 0 and not self.residence.is_aliased(s)]
        sources = [buffers.read(store.buffer, store.axis) for store in tiled]
        for store, source in zip(tiled, sources):
            target = cut(self.residence.target(store), store.symbol_axis, group.start, group.count, self.phase.tiles)
            self._store(store, source, target, group.count, steps, temporaries)
            buffers.done(store.buffer)

    def _whole_stores(self) -> Lane:
        steps: Lane = []
        for store in self.phase.stores:
            whole = self.residence.whole[store.buffer]
            if store.axis < 0 and whole is not None and not self.residence.is_aliased(store):
                target = self.residence.target(store)
                self._store(store, whole, target, 1, steps, Temporaries(self.scratch))
        return steps

    def _store(
        self, store: Stream, source: Array, target: Array, count: int, steps: Lane, temporaries: Temporaries
    ) -> None:
        moved = plan_free_chain(store, source, count, steps, temporaries)
        if store.pick is not None:
            steps.append((scatter, (target, self.residence.whole[store.index], store.pick.axis, moved)))
            return
        whole = self.residence.target(store)
        if self.section.program.slots[store.slot].dtype is DType.BF16:
            steps.append((narrow, (moved, target)))
        else:
            steps.extend(steps_of([Call.copy(moved, target, whole.nbytes >= STREAMED_BYTES)], temporaries))

    def _merge(self, buffer: int, partials: list[Array]) -> list[Lane]:
        """Add up the lanes' sums in the order of the lanes, piece by piece."""
        combine = self.sums[buffer]
        total = partials[0]
        is_bf16 = self.section.program.buffers[buffer].type.dtype is DType.BF16
        pieces = max(1, min(total.nbytes // CHUNK_BYTES, total.shape[0] if total.ndim else 1))
        lanes: list[Lane] = []
        for piece in range(pieces):
            chunks = [_piece(partial, piece, pieces) for partial in partials]
            steps: Lane = [(combine, (chunks[0], chunk, chunks[0])) for chunk in chunks[1:]]
            if is_bf16:
                steps.append((round_to_bf16, (chunks[0],)))
            lanes.append(steps)
        return lanes


def _piece(array: Array, piece: int, pieces: int) -> Array:
    """One of `pieces` stretches of the leading axis."""
    if pieces == 1:
        return array
    rows = array.shape[0]
    stretch: Array = array[rows * piece // pieces : rows * (piece + 1) // pieces]
    return stretch
