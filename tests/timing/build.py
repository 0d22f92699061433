"""Small PEFs for timing tests: one configuration each, on a machine whose memory is never the limit unless asked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from ir.op import OPS, Op
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.codec import encode_machine
from pef.machine import Machine, Tier
from runtime.timing import Execution, StageReport, simulate
from tests.pef.samples import MACHINE, ConfigurationBuilder

AMPLE = Tier("hbm", 1 << 40, 1e15)
FREE_MEMORY = replace(
    MACHINE,
    rows=24,
    columns=24,
    faulty_sites=(),
    agcu_sites=tuple(range(0, 24 * 24, 24)),
    link_bytes_per_cycle=1 << 20,
    tiers=(AMPLE,),
)
"""Memory and links that never limit: 24 AGCUs of 64 bytes per cycle each at the left edge."""


def bf16(*shape: int) -> TensorType:
    """A bf16 tensor type."""
    return TensorType(DType.BF16, shape)


def op(name: str, **attributes: object) -> Op:
    """An operator by name."""
    return OPS[name](**attributes)


def matmul() -> Op:
    """A product delivered in bf16."""
    return op("matmul", dtype=DType.BF16)


def pef_of(configuration: pb.Configuration, machine: Machine, tier: int = 0, sections: int = 1) -> pb.Pef:
    """A PEF with `sections` sections of one configuration, each slot bound to its own symbol in `tier`."""
    pef = pb.Pef(machine=encode_machine(machine), configurations=[configuration])
    pef.header.name = "test"
    for index, slot in enumerate(configuration.slots):
        pef.symbols.add(name=f"s{index}", type=slot, kind="input", persistent=True, tier=tier)
    for number in range(sections):
        pef.sections.add(kind="FWD", name=f"fwd_{number}", bindings=range(len(configuration.slots)))
    return pef


def execution_of(configuration: pb.Configuration, machine: Machine = FREE_MEMORY) -> Execution:
    """The simulated execution of a configuration."""
    return simulate(pef_of(configuration, machine)).sections[0].execution


def gemm(
    m: int,
    k: int,
    n: int,
    tiles: int = 1,
    rows: int = 1,
    columns: int = 1,
    pmus: int = 1,
    depth: int = 2,
    machine: Machine = FREE_MEMORY,
) -> ConfigurationBuilder:
    """y = x @ w with resident operands, the rows of the result in `tiles` tiles, every buffer in `pmus` PMUs."""
    b = ConfigurationBuilder(machine)
    slots = [b.slot(t) for t in (bf16(m, k), bf16(k, n), bf16(m, n))]
    axis = 0 if tiles > 1 else -1
    x = b.buffer("x", bf16(m, k), axis, tiles, tiles, pmus)
    w = b.buffer("w", bf16(k, n), pmus=pmus)
    y = b.buffer("y", bf16(m, n), axis, tiles, min(depth, tiles), pmus)
    b.phase(tiles)
    stage = b.stage("gemm")
    stage.write(stage.apply(matmul(), stage.read(x, axis), stage.read(w), axis=axis), y)
    stage.place(rows, columns)
    b.load(slots[0], x, -1, agcus=(0,))
    b.load(slots[1], w, -1, agcus=(1,))
    b.store(slots[2], y, axis, agcus=(2,))
    return b


def chain(
    depths: Sequence[int],
    tiles: int,
    rows: int = 8,
    machine: Machine = FREE_MEMORY,
    parallel: Sequence[int] | None = None,
) -> ConfigurationBuilder:
    """x -> exp -> exp -> ... -> y, one stage between any two of the rings whose depths are given."""
    b = ConfigurationBuilder(machine)
    tensor = bf16(rows * tiles, 64)
    slots = [b.slot(tensor), b.slot(tensor)]
    rings = [b.buffer(f"b{i}", tensor, 0, tiles, depth) for i, depth in enumerate(depths)]
    b.phase(tiles)
    for number, (source, target) in enumerate(itertools.pairwise(rings)):
        stage = b.stage(f"s{number}")
        stage.write(stage.apply(op("exp"), stage.read(source, 0), axis=0), target)
        stage.place(parallel[number] if parallel else 1)
    b.load(slots[0], rings[0], 0, agcus=(0,))
    b.store(slots[1], rings[-1], 0, agcus=(1,))
    return b


def stage_reports(execution: Execution) -> list[StageReport]:
    """Every stage of every phase."""
    return [stage for phase in execution.phases for stage in phase.stages]


def hops(configuration: pb.Configuration, phase: int, kind: int, owner: int, port: int = 0) -> int:
    """Links from the source to the farthest sink over the nets of one port or stream, by walking each sink back."""
    farthest = 0
    for net in configuration.nets:
        number = net.stage if net.WhichOneof("owner") == "stage" else net.stream
        if (net.phase, net.kind, number, net.port) != (phase, kind, owner, port):
            continue
        parent = {b: a for a, b in zip(net.route[0::2], net.route[1::2])}
        source = _site(configuration, net.source)
        for sink in net.sinks:
            at, length = _site(configuration, sink), 0
            while at != source:
                at, length = parent[at], length + 1
            farthest = max(farthest, length)
    return farthest


def _site(configuration: pb.Configuration, terminal: pb.Terminal) -> int:
    if terminal.WhichOneof("at") == "agcu":
        return FREE_MEMORY.agcu_sites[terminal.agcu]
    return configuration.units[terminal.unit].site
