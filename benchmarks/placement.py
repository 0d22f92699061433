"""How fast and how well sections are placed and routed, beside annealing alone with more than ten times the moves.

python -m benchmarks.placement_corpus out/netlists
python -m benchmarks.placement out/netlists

Seconds are of the processor, on one core. Wire is what placement minimises: half perimeters times demand, latency
counted. That of the seeds, and of the rival, is given over the least that any of them found for the netlist. CP-SAT is
no rival here: OR-tools pins a release of protobuf that is older than ours.
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
from benchmarks.placement_corpus import Sample, load
from pef.machine import Machine

Value = TypeVar("Value")

RIVAL = Schedule(moves=20_000, temperatures=200, hottest=10.0, coldest=0.01, window=40.0)
"""Annealing of all units from a placement in their order, hot enough to forget it."""


@dataclass
class Result:
    """Seconds and wire of every seed, the overloads of the first routing, and the wire of the rival's seeds."""

    place: list[float] = field(default_factory=list)
    route: list[float] = field(default_factory=list)
    wire: list[float] = field(default_factory=list)
    overloads: tuple[Overload, ...] = ()
    rival: list[float] = field(default_factory=list)

    @property
    def least(self) -> float:
        """The least wire found."""
        return min(self.wire + self.rival)


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


def measure(sample: Sample, seeds: int, rivals: int) -> Result:
    """Place and route a sample with every seed, and place it by the rival's means with some."""
    netlist, machine, result = sample.netlist, load_machine(sample.machine), Result()
    for seed in range(seeds):
        placing, placement = seconds(lambda seed=seed: place(netlist, machine, seed))
        routing, routed = seconds(lambda placement=placement: route(netlist, placement, machine))
        result.place.append(placing)
        result.route.append(routing)
        result.wire.append(wire(netlist, placement, machine))
        result.overloads = result.overloads if seed else routed.overloads
    result.rival = [wire(netlist, annealed(netlist, machine, seed), machine) for seed in range(rivals)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="netlists that benchmarks.placement_corpus saved")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rivals", type=int, default=20, help="seeds of the rival, which takes ten times as long")
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
        "overloads",
        "peak",
    )
    table = Table(*columns)
    samples = [sample for sample in load(arguments.folder) if not arguments.only or sample.name in arguments.only]
    measure(samples[0], 1, 0)  # numba compiles, or loads what it has compiled
    ratios = []
    for sample in samples:
        result = measure(sample, arguments.seeds, arguments.rivals)
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
            str(len(result.overloads)),
            f"{max((overload.load for overload in result.overloads), default=1.0):.2f}",
        )
    Console(width=140).print(table, f"wire over the least found, geometric mean: {geometric_mean(ratios):.3f}")


if __name__ == "__main__":
    main()
