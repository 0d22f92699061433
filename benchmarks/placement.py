"""How fast and how well sections are placed and routed, beside annealing alone with more than ten times the moves.

python -m benchmarks.placement

Seconds are of the processor, on one core. Wire is what placement minimises: half perimeters times demand, latency
counted. That of the seeds, and of the rivals, is given over the least that any of them found for the netlist. With
`--cp-sat`, the best placement of the seeds is given to CP-SAT to improve (`pip install ortools`, which brings an older
protobuf that is good enough here, too).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import geometric_mean, mean
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from backends.rdu.machine import load_machine
from backends.rdu.place.hypergraph import LATENCY_BYTES_PER_CYCLE
from backends.rdu.place.place import Board, Schedule, place
from backends.rdu.route.route import Overload, route
from backends.rdu.wire.netlist import Netlist, Placement, wire_length
from benchmarks.placement_corpus import FOLDER, SOURCES, Sample, load, save
from pef.machine import Machine

Value = TypeVar("Value")

RIVAL = Schedule(moves=20_000, temperatures=200, hottest=10.0, coldest=0.01, window=40.0)
"""Annealing of all units from a placement in their order, hot enough to forget it."""


@dataclass
class Result:
    """Seconds and wire of every seed, the overloads of the first routing, and the wire of the rival's seeds; and what
    CP-SAT made of the best of them all."""

    place: list[float] = field(default_factory=list)
    route: list[float] = field(default_factory=list)
    wire: list[float] = field(default_factory=list)
    overloads: tuple[Overload, ...] = ()
    rival: list[float] = field(default_factory=list)
    cp_sat: list[float] = field(default_factory=list)

    @property
    def least(self) -> float:
        """The least wire found."""
        return min(self.wire + self.rival + self.cp_sat)


def wire(netlist: Netlist, placement: Placement, machine: Machine) -> float:
    """What placement minimises, in byte-hops per cycle."""
    nets = (replace(net, bytes_per_cycle=net.bytes_per_cycle + LATENCY_BYTES_PER_CYCLE) for net in netlist.nets)
    return wire_length(Netlist(netlist.units, tuple(nets)), placement, machine)


def annealed(netlist: Netlist, machine: Machine, seed: int) -> Placement:
    """The rival's placement."""
    board = Board.of(netlist, machine)
    board.anneal(RIVAL, seed)
    rows, columns = board.at[: len(netlist.units)].T
    return Placement(tuple((rows * machine.columns + columns).tolist()))


def seconds(call: Callable[[], Value]) -> tuple[float, Value]:
    """What a call takes of the processor, and what it returns."""
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def measure(sample: Sample, seeds: int, rivals: int, cp_sat_s: float = 0.0) -> Result:
    """Place and route a sample with every seed, place it by the rival's means with some, and let CP-SAT improve the
    best placement for so many seconds."""
    netlist, machine, result = sample.netlist, load_machine(sample.machine), Result()
    placements = []
    for seed in range(seeds):
        placing, placement = seconds(lambda seed=seed: place(netlist, machine, seed))
        routing, routed = seconds(lambda placement=placement: route(netlist, placement, machine))
        result.place.append(placing)
        result.route.append(routing)
        placements.append(placement)
        result.wire.append(wire(netlist, placement, machine))
        result.overloads = result.overloads if seed else routed.overloads
    result.rival = [wire(netlist, annealed(netlist, machine, seed), machine) for seed in range(rivals)]
    if cp_sat_s:
        from benchmarks.placement_cp_sat import improved

        best = min(placements, key=lambda placement: wire(netlist, placement, machine))
        result.cp_sat = [wire(netlist, improved(netlist, machine, best, cp_sat_s), machine)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, nargs="?", default=FOLDER, help=f"of netlists, which are made where it is empty: {FOLDER}"
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rivals", type=int, default=20, help="seeds of the rival, which takes ten times as long")
    parser.add_argument("--cp-sat", type=float, default=0.0, metavar="SECONDS", help="let CP-SAT improve the best one")
    parser.add_argument("--only", action="append", help="this netlist; may be given again")
    arguments = parser.parse_args()
    columns = (
        "netlist",
        "units",
        "nets",
        "place s",
        "route s",
        "units/s",
        "wire",
        "worst",
        "rival",
        "CP-SAT",
        "overloads",
        "peak",
    )
    table = Table(*columns)
    if not load(arguments.folder):
        save(arguments.folder, list(SOURCES))
    samples = [sample for sample in load(arguments.folder) if not arguments.only or sample.name in arguments.only]
    measure(samples[0], 1, 0)  # numba compiles, or loads what it has compiled
    ratios = []
    for sample in samples:
        result = measure(sample, arguments.seeds, arguments.rivals, arguments.cp_sat)
        took = mean(result.place) + mean(result.route)
        ratios += [found / result.least for found in result.wire]
        rival = f"{mean(result.rival) / result.least:.3f}" if result.rival else "-"
        table.add_row(
            sample.name,
            str(len(sample.netlist.units)),
            str(len(sample.netlist.nets)),
            f"{mean(result.place):.2f}",
            f"{mean(result.route):.2f}",
            f"{len(sample.netlist.units) / took:.0f}",
            f"{mean(result.wire) / result.least:.3f}",
            f"{max(result.wire) / result.least:.3f}",
            rival,
            f"{result.cp_sat[0] / result.least:.3f}" if result.cp_sat else "-",
            str(len(result.overloads)),
            f"{max((overload.load for overload in result.overloads), default=1.0):.2f}",
        )
    Console(width=140).print(table, f"wire over the least found, geometric mean: {geometric_mean(ratios):.3f}")


if __name__ == "__main__":
    main()
