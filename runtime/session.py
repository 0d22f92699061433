"""A session: a PEF loaded into the simulated machine, its symbols, and runs of its sections."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ir.errors import SHOWN_PROBLEMS, BindError, Problem, ReplicaError, UsageError
from ir.graph import SectionKind, Symbol, SymbolKind
from ir.kernels.processor import host_cores
from ir.op import Array
from pef import pef_pb2 as pb
from pef.codec import decode_type
from pef.decoded_pef import DecodedPef
from pef.exchange import ONE, Replicas
from pef.wording import closest
from runtime.collective import ALONE, Collective
from runtime.hardware import UNMANAGED, Hardware, acquire
from runtime.numbers.fast.executor import FunctionalSimulator
from runtime.numbers.memory import Memory, to_device
from runtime.numbers.simulator import Run, Simulator
from runtime.numbers.strict import StrictSimulator

if TYPE_CHECKING:
    from runtime.timing import Report

WEIGHTS = (SymbolKind.PARAMETER, SymbolKind.BUFFER, SymbolKind.CONSTANT)
"""What a model's weights consist of."""
CHECKPOINTED = (SymbolKind.PARAMETER, SymbolKind.BUFFER, SymbolKind.STATE)
"""What training changes."""


class Session:
    """A loaded PEF. Symbols hold their values across runs; outputs of a run are copies.

    `pef` is a record or the path of a file, which are checked, or what a check has returned. `threads` defaults to the
    cores of the host and never changes a result. `strict=True` executes slice by slice on one thread, as the format
    defines it.
    """

    def __init__(
        self,
        pef: DecodedPef | pb.Pef | str | os.PathLike[str],
        threads: int | None = None,
        strict: bool = False,
    ) -> None:
        if threads is not None and threads < 1:
            raise UsageError(Problem(f"{threads} threads cannot run anything", hint="give at least one"))
        record = pef.record if isinstance(pef, DecodedPef) else pef if isinstance(pef, pb.Pef) else _read(pef)
        self._name = record.header.name if isinstance(pef, DecodedPef | pb.Pef) else os.fspath(pef)
        self.decoded = pef if isinstance(pef, DecodedPef) else _checked(record)
        self.pef = record
        self.hardware: Hardware = UNMANAGED
        self.threads = 1 if strict else threads if threads is not None else host_cores()
        self._strict = strict
        self.symbols = {
            symbol.name: Symbol(symbol.name, decode_type(symbol.type), SymbolKind(symbol.kind))
            for symbol in self.pef.symbols
        }
        self._names = list(self.symbols)
        self._index = {name: index for index, name in enumerate(self._names)}
        self._written: set[int] = set()
        self._loads, self._stores = _uses(self.pef)
        self._runs: dict[tuple[int, ...], PreparedRun] = {}

    @cached_property
    def memory(self) -> Memory:
        """Device memory; taken of the host only when numbers are asked for, as simulated time needs none.

        Raises NodeError where a node's daemon refuses the tiles that have it.
        """
        self.hardware = acquire(self.pef, self._name)
        return Memory(self.pef)

    @cached_property
    def _simulator(self) -> Simulator:
        if self._strict:
            return StrictSimulator(self.decoded, self.memory)
        return FunctionalSimulator(self.decoded, self.memory, self.threads)

    # -- symbols ------------------------------------------------------------------------------------------------

    def names(self, *kinds: SymbolKind) -> list[str]:
        """The symbols of these kinds, in the order of the PEF."""
        return [symbol.name for symbol in self.symbols.values() if symbol.kind in kinds]

    def write(self, name: str, value: Any) -> None:
        """Write one symbol. Raises BindError where name, shape or element type do not match."""
        self._write({name: value})

    def bind(self, /, **arrays: Any) -> None:
        """Write several symbols by name; nothing is written unless all match."""
        self._write(arrays)

    def write_hyper(self, values: Mapping[str, float]) -> None:
        """Write hyper-parameters. Raises BindError for names that the PEF does not know and for infinite values."""
        known = self.names(SymbolKind.HYPER)
        problems = [
            Problem(f"the PEF has no hyper-parameter {name!r}", hint=closest(name, known) if known else "it has none")
            for name in values
            if name not in known
        ]
        problems += [
            Problem(f"the hyper-parameter {name!r} is {value}", hint="give a finite number")
            for name, value in values.items()
            if not math.isfinite(value)
        ]
        self._write({name: value for name, value in values.items() if name in known}, problems)

    def read(self, name: str) -> Array:
        """A copy of a symbol; bf16 arrives as float32."""
        return self.memory.read(self._find(name))

    def raw(self, name: str) -> Array:
        """A symbol as device memory holds it, not copied: bf16 as uint16."""
        return self.memory.views[self._find(name)]

    def has_value(self, name: str) -> bool:
        """Whether anything was ever written to the symbol, by the host or by a section."""
        return self._find(name) in self._written

    def load_weights(self, weights: Mapping[str, Any], strict: bool = True) -> None:
        """Write parameters, buffers and constants; also states, inputs and hyper-parameters if `weights` has them.

        Raises BindError that lists every missing, unexpected and mismatching tensor, where missing is what neither
        `weights` has nor anything wrote before; with `strict=False` missing and unexpected ones pass.
        """
        problems: list[Problem] = []
        if strict:
            lacking = [n for n in self.names(*WEIGHTS) if n not in weights and self._index[n] not in self._written]
            problems += [Problem(f"the weights lack {name!r} ({self.symbols[name].type})") for name in lacking]
            unknown = [name for name in weights if name not in self.symbols]
            problems += [
                Problem(f"the weights hold {name!r}, which the PEF does not know", hint=closest(name, self.symbols))
                for name in unknown[:SHOWN_PROBLEMS]
            ]
        self._write({name: value for name, value in weights.items() if name in self.symbols}, problems)

    def _write(self, arrays: Mapping[str, Any], problems: Sequence[Problem] = ()) -> None:
        found = list(problems)
        ready: dict[int, Array] = {}
        for name, value in arrays.items():
            try:
                index = self._find(name)
                ready[index] = to_device(name, self.symbols[name].type, value)
            except BindError as error:
                found += error.problems
        BindError.raise_if(found)
        for index, array in ready.items():
            self._written.add(index)
            self.memory.write(index, array)

    def _find(self, name: str) -> int:
        if name not in self._index:
            raise BindError(Problem(f"the PEF has no symbol {name!r}", hint=closest(name, self.symbols)))
        return self._index[name]

    # -- runs ---------------------------------------------------------------------------------------------------

    def run(
        self,
        section_kinds: Sequence[str] | None = None,
        *,
        section_ids: Sequence[int] | None = None,
        inputs: Mapping[str, Any] | None = None,
        hyper: Mapping[str, Any] | None = None,
        collective: Collective = ALONE,
    ) -> dict[str, Array]:
        """Run sections for their numbers; all of them unless kinds (any case) or indices are given.

        `inputs` and `hyper` are written first. REDUCE sections average over `collective`. Returns copies of the
        outputs that these sections store, by name.
        Raises BindError for whatever is missing or does not match, UsageError for sections that do not exist.
        """
        sections = tuple(self.sections(section_kinds, section_ids))
        self._write({**(inputs or {}), **(hyper or {})})
        run = self._prepared(sections)
        run.run(collective)
        return {self._names[index]: self.memory.read(index) for index in run.outputs}

    def prepare(
        self, section_kinds: Sequence[str] | None = None, *, section_ids: Sequence[int] | None = None
    ) -> PreparedRun:
        """Sections laid out to run again and again without look-ups, on symbols that the host writes in place.

        Raises as `run` does; what the sections read must have been written once.
        """
        return self._prepared(tuple(self.sections(section_kinds, section_ids)))

    def _prepared(self, sections: tuple[int, ...]) -> PreparedRun:
        """Looked up where these sections ran before: what has a value never loses it."""
        if sections not in self._runs:
            self._require(sections)
            self._runs[sections] = PreparedRun(self, self._simulator.lay_out(sections), sections)
        return self._runs[sections]

    def mark_stored(self, sections: Iterable[int]) -> None:
        """Note that these sections have run: what they store has values."""
        self._written |= self.stored(sections)

    def stored(self, sections: Iterable[int]) -> set[int]:
        """The indices of the symbols that these sections write."""
        return {index for number in sections for index in self._stores[number]}

    def needed(self, sections: Iterable[int]) -> list[str]:
        """The symbols of every kind that these sections read before any of them writes it."""
        stored: set[int] = set()
        found: dict[int, None] = {}
        for number in sections:
            found.update(dict.fromkeys(sorted(self._loads[number] - stored)))
            stored |= self._stores[number]
        return [self._names[index] for index in found]

    def run_timing(
        self,
        section_kinds: Sequence[str] | None = None,
        *,
        section_ids: Sequence[int] | None = None,
        replicas: Replicas = ONE,
    ) -> Report:
        """Simulate the time that sections take on one of `replicas` machines; no numbers are computed.

        Raises ReplicaError where the PEF was not compiled for so many.
        """
        from runtime import timing

        if replicas.count > 1:
            require_replicas(self.pef, replicas.count)
        return timing.simulate(self.decoded, self.sections(section_kinds, section_ids), replicas)

    def sections(
        self, section_kinds: Sequence[str] | None = None, section_ids: Sequence[int] | None = None
    ) -> list[int]:
        """The indices of the sections a run with these arguments executes, in order."""
        if section_ids is not None:
            return self._existing(section_ids)
        if section_kinds is None:
            return list(range(len(self.pef.sections)))
        present = list(dict.fromkeys(section.kind for section in self.pef.sections))
        wanted = [kind.upper() for kind in section_kinds]
        UsageError.raise_if([_no_section(kind, present) for kind in wanted if kind not in present])
        return [i for kind in wanted for i, section in enumerate(self.pef.sections) if section.kind == kind]

    def close(self) -> None:
        """Give the threads and the tiles back."""
        if "_simulator" in self.__dict__:
            self._simulator.close()
        self.hardware.release()

    def _existing(self, section_ids: Sequence[int]) -> list[int]:
        last = len(self.pef.sections) - 1
        UsageError.raise_if(
            [
                Problem(f"the PEF has no section {number}", hint=f"sections are numbered 0 to {last}")
                for number in section_ids
                if not 0 <= number <= last
            ]
        )
        return list(section_ids)

    def _require(self, sections: Iterable[int]) -> None:
        """Everything that the sections read and only the host can give is there; output gradients default to ones."""
        stored: set[int] = set()
        problems = []
        for number in sections:
            for index in sorted(self._loads[number] - stored - self._written):
                symbol = self.symbols[self._names[index]]
                if symbol.kind is SymbolKind.OUTPUT_GRADIENT:
                    self._write({symbol.name: np.ones(symbol.type.shape, symbol.type.dtype.compute)})
                elif symbol.kind in _NEEDED:
                    problems.append(Problem(f"{_NEEDED[symbol.kind]} {symbol.name!r} ({symbol.type}) has no value yet"))
            stored |= self._stores[number]
        BindError.raise_if(list({problem.message: problem for problem in problems}.values()))


class PreparedRun:
    """Sections ready to run. Values of symbols are whatever `Session.raw` holds when `run` is called."""

    def __init__(self, session: Session, run: Run, sections: Sequence[int]) -> None:
        self.sections = tuple(sections)
        self.kinds = frozenset(session.pef.sections[number].kind for number in sections)
        self._run = run
        self._session = session
        self._stored = session.stored(sections)
        self.stores = {session._names[index] for index in self._stored}
        kinds = [symbol.kind for symbol in session.symbols.values()]
        self.outputs = [index for index in sorted(self._stored) if kinds[index] is SymbolKind.OUTPUT]
        """The indices of the outputs that the sections write, in the order of the PEF."""

    def run(self, collective: Collective = ALONE) -> None:
        """Execute the sections in order; REDUCE sections average over `collective`."""
        with self._session.hardware.running(self.sections):
            self._run(collective)
        self._session._written |= self._stored


def require_replicas(pef: pb.Pef, count: int) -> None:
    """Raises ReplicaError where a PEF cannot run data parallel on `count` replicas."""
    compiled = pef.header.replicas
    if not compiled:
        hint = "compile with --data-parallel -ws 2; any number of replicas from 2 up can then run it"
        raise ReplicaError(Problem(f"{pef.header.name!r} has no REDUCE section to average gradients with", hint=hint))
    if count < compiled:
        there = "there is only one" if count == 1 else f"there are only {count}"
        hint = f"start {compiled} processes (torchrun --nproc-per-node {compiled}, mpirun -np {compiled})"
        hint += ", or leave out --data-parallel" if count == 1 else f", or compile with -ws {count}"
        raise ReplicaError(
            Problem(f"{pef.header.name!r} was compiled for {compiled} replicas or more, and {there}", hint=hint)
        )


_NEEDED = {
    SymbolKind.INPUT: "input",
    SymbolKind.HYPER: "hyper-parameter",
    SymbolKind.PARAMETER: "parameter",
    SymbolKind.BUFFER: "buffer",
    SymbolKind.CONSTANT: "constant",
}


def _read(path: str | os.PathLike[str]) -> pb.Pef:
    from pef import file

    return file.read(path)


def _checked(pef: pb.Pef) -> DecodedPef:
    from pef.check import check

    return check(pef)


def _uses(pef: pb.Pef) -> tuple[list[set[int]], list[set[int]]]:
    """The symbols that each section loads and stores."""
    loads, stores = [], []
    for section in pef.sections:
        streams = [stream for phase in pef.configurations[section.configuration].phases for stream in phase.streams]
        loads.append({section.bindings[stream.slot] for stream in streams if not stream.store})
        stores.append({section.bindings[stream.slot] for stream in streams if stream.store})
    return loads, stores


def _no_section(kind: str, present: Sequence[str]) -> Problem:
    hint = f"one of {', '.join(present)}"
    if kind in (SectionKind.BCKWD.value, SectionKind.OPT.value, SectionKind.GRADNORM.value):
        hint += "; compile for training to get the others"
        if SectionKind.BCKWD_OPT.value in present:
            hint = "compile with --separate-optimizer, which keeps BCKWD and OPT apart"
    return Problem(f"the PEF has no {kind!r} section", hint=hint)
