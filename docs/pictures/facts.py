"""What pictures are drawn from: a PEF, decoded, with its simulated execution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pef import file
from pef import pef_pb2 as pb
from pef.codec import decode_machine
from pef.decoded import Buffer, Configuration, Phase, Stage
from pef.machine import Machine
from runtime.timing import simulate
from runtime.timing.report import Execution, Report, StageReport


@dataclass(frozen=True)
class Place:
    """A stage with where it stands: its phase, its index there, and its number among all stages."""

    number: int
    phase: int
    index: int
    stage: Stage


@dataclass(frozen=True)
class Facts:
    """A PEF, its machine and the report of its simulation."""

    pef: pb.Pef
    machine: Machine
    report: Report

    @staticmethod
    def of(path: Path) -> Facts:
        """Read and simulate a PEF."""
        pef = file.read(path)
        return Facts(pef, decode_machine(pef.machine), simulate(pef))

    @cached_property
    def configuration(self) -> Configuration:
        """The configuration of the first section."""
        number = self.pef.sections[0].configuration
        return Configuration.of(self.pef.configurations[number], self.machine, "first")

    @property
    def execution(self) -> Execution:
        """The simulated execution of the first section."""
        return self.report.sections[0].execution

    @cached_property
    def places(self) -> list[Place]:
        """The stages of the first section."""
        pairs = [(p, i, stage) for p, phase in enumerate(self.phases) for i, stage in enumerate(phase.stages)]
        return [Place(number, *pair) for number, pair in enumerate(pairs)]

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of the first section."""
        return self.configuration.phases

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """The buffers of the first section."""
        return self.configuration.buffers

    def timed(self, place: Place) -> StageReport:
        """What the simulation says of a stage."""
        return self.execution.phases[place.phase].stages[place.index]

    def lines(self, place: Place) -> list[int]:
        """The user's lines behind a stage."""
        locations = self.report.sections[0].locations
        return sorted({locations[i].line for i in self.timed(place).operations if i < len(locations)})

    def in_phase(self, phase: int) -> list[Place]:
        """The stages of one phase."""
        return [place for place in self.places if place.phase == phase]

    def rings(self) -> Iterator[tuple[int, Place, Place]]:
        """Buffers that hold less than their tensor between two stages of one phase: buffer, writer, reader."""
        for number, buffer in enumerate(self.buffers):
            writers = [p for p in self.places if any(port.buffer == number for port in p.stage.outputs)]
            readers = [p for p in self.places if any(port.buffer == number for port in p.stage.inputs)]
            if buffer.is_ring and len(writers) == 1 and len(readers) == 1 and writers[0].phase == readers[0].phase:
                yield number, writers[0], readers[0]


def letter(number: int) -> str:
    """The letter of a stage, as `snc describe` shows it."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number % 26]


def operators(stage: Stage) -> str:
    """A stage's operators that compute."""
    return " + ".join(a.op.name for a in stage.body.applications if not a.op.is_free)


def human(count: float) -> str:
    """Bytes, for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 10 else f"{count:,.1f} {unit}"
        count /= 1024
    return ""
