"""What the exercises share: a small machine, shorthands, and checks that say what is wrong in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

import numpy as np
from numpy.typing import NDArray

import ir.ops  # noqa: F401  (registers every operator)
from ir.errors import SncError
from ir.op import OPS, Op
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.builder import ConfigurationBuilder, PefBuilder
from pef.check import check
from pef.machine import Machine, Tier
from runtime.session import Session

MACHINE = Machine(
    name="classroom",
    rows=16,
    columns=16,
    rdu_tile_rows=8,
    rdu_tile_columns=8,
    faulty_sites=(),
    agcu_sites=(0, 15, 240, 255),
    clock_ghz=1.0,
    pcu_lanes=32,
    pcu_stages=6,
    fp32_cycles_per_vector=2,
    tail_cycles_per_vector=4,
    pmu_bytes=65536,
    pmu_port_bytes_per_cycle=64,
    pmu_read_ports=2,
    pmu_write_ports=1,
    link_bytes_per_cycle=64,
    hop_cycles=1,
    agcu_bytes_per_cycle=64,
    memory_burst_bytes=64,
    tiers=(Tier("ddr", 1 << 24, 100e9),),
    program_load_us=1.0,
    argument_load_us=0.5,
    launch_us=0.25,
    ring_bytes_per_s=25e9,
    ring_step_us=0.5,
    host_bytes_per_s=32e9,
)
"""A chip of 16 x 16 sites: small enough to look at."""

Array = NDArray[np.float32]


class Todo(Exception):
    """What an exercise raises where it is not done yet."""

    def __init__(self, number: int) -> None:
        super().__init__(f"TODO {number} is not done yet")


class Wrong(Exception):
    """A check that failed; the message says what was expected."""


def f32(*shape: int) -> TensorType:
    """A float32 tensor type."""
    return TensorType(DType.F32, shape)


def op(name: str, **attributes: object) -> Op:
    """An operator by name."""
    return OPS[name](**attributes)


def matmul() -> Op:
    """A matrix product in float32."""
    return op("matmul", dtype=DType.F32)


def expect(holds: bool, otherwise: str) -> None:
    """Raise Wrong with what to look at, unless something holds."""
    if not holds:
        raise Wrong(otherwise)


def one_section(configuration: pb.Configuration, symbols: list[tuple[str, TensorType, str]]) -> pb.Pef:
    """A checked PEF of one section whose slots are bound to `symbols` (name, type, kind) in order."""
    b = PefBuilder(MACHINE)
    number = b.configuration(configuration)
    b.section("FWD", "fwd_0", number, *(b.symbol(name, tensor, kind) for name, tensor, kind in symbols))
    check(b.record)
    return b.record


def run(pef: pb.Pef, **inputs: Array) -> dict[str, Array]:
    """The outputs of a PEF, slice by slice as the format defines it."""
    return Session(pef, strict=True).run(inputs=inputs)


def cycles(pef: pb.Pef) -> float:
    """The simulated cycles of the PEF's first section, executing."""
    return Session(pef).run_timing().sections[0].execution.cycles


def grade(self_check: Callable[[], None]) -> None:
    """Run an exercise's own check and end with status 0 where it passes, 1 where it does not."""
    try:
        self_check()
    except (Todo, Wrong, SncError) as problem:
        print(f"Not yet: {problem}")
        sys.exit(1)
    print("Passed.")


__all__ = [
    "MACHINE", "Array", "ConfigurationBuilder", "Todo", "check", "cycles", "expect", "f32", "grade", "matmul", "np",
    "one_section", "op", "pb", "run",
]  # fmt: skip
