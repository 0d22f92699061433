"""What the compiler predicts of every section, beside the simulation.

    python -m benchmarks.prediction                     every model on SN30 and SN40L, neither placed nor routed
    python -m benchmarks.prediction gpt-2-xl-training --arch sn30 --layers 4
    python -m benchmarks.prediction --beyond 5          only sections whose prediction is off by more, in percent

A line for every configuration: how many sections use it, its cycles as simulated and as predicted, loads included,
their ratio, and its share of the model's time. Units are wired directly, so links are not shared: what placement and
routing add, nobody can predict before them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from backends.rdu.machine import load_machine
from benchmarks.mapping import captured
from benchmarks.mapping_models import MODELS
from benchmarks.unplaced import compile_unplaced
from compiler.update_fusion import fused_where_it_pays
from ir.errors import SncError
from pef import pef_pb2 as pb
from runtime.timing import simulate

CLOSE_PERCENT = 5


@dataclass(frozen=True)
class Compared:
    """The sections of one configuration: how many they are, and cycles of each as simulated and as predicted."""

    name: str
    sections: int
    simulated: float
    predicted: float

    @property
    def ratio(self) -> float:
        """Predicted by simulated."""
        return self.predicted / self.simulated

    @property
    def off_percent(self) -> float:
        """How far the prediction is from the simulation."""
        return 100 * abs(self.ratio - 1)


def compared(pef: pb.Pef) -> list[Compared]:
    """The sections of a PEF, those of one configuration and the same memory tiers once."""
    found: dict[tuple[int, tuple[int, ...]], Compared] = {}
    for section, report in zip(pef.sections, simulate(pef).sections):
        key = section.configuration, tuple(pef.symbols[symbol].tier for symbol in section.bindings)
        load = section.prediction.load_cycles
        name, count = (found[key].name, found[key].sections) if key in found else (section.name, 0)
        simulated, predicted = report.execution.cycles + load, section.prediction.cycles + load
        found[key] = Compared(name, count + 1, simulated, predicted)
    return list(found.values())


def unplaced_model(name: str, arch: str, layers: int | None) -> pb.Pef:
    """A model mapped but neither placed nor routed."""
    return compile_unplaced(fused_where_it_pays(captured(name, MODELS[name](layers))), load_machine(arch))


def _lines(rows: Sequence[Compared], beyond: float) -> Iterator[str]:
    total = sum(row.sections * row.simulated for row in rows)
    for row in rows:
        if row.off_percent >= beyond:
            share = 100 * row.sections * row.simulated / total
            cycles = f"{row.simulated:14,.0f} {row.predicted:14,.0f}"
            yield f"  {row.name:14} {row.sections:4} {cycles} {row.ratio:7.3f} {share:6.1f} %"
    predicted = sum(row.sections * row.predicted for row in rows)
    count = sum(row.sections for row in rows)
    yield f"  {'all':14} {count:4} {total:14,.0f} {predicted:14,.0f} {predicted / total:7.3f}"


@click.command(help=__doc__)
@click.argument("models", nargs=-1, type=click.Choice(list(MODELS)))
@click.option("--arch", "archs", multiple=True, default=("sn30", "sn40l"), show_default=True, help="Machines.")
@click.option("--layers", type=int, help="Layers instead of the published depth.")
@click.option("--beyond", type=float, default=0.0, show_default=True, help="Show what is off by this many percent.")
def main(models: tuple[str, ...], archs: tuple[str, ...], layers: int | None, beyond: float) -> None:
    """Print a line for every configuration, and how they are distributed."""
    everything: list[Compared] = []
    for name in models or MODELS:
        for arch in archs:
            try:
                rows = compared(unplaced_model(name, arch, layers))
            except SncError as error:
                click.echo(f"{name} on {arch}: {error}")
                continue
            click.echo(f"{name} on {arch}")
            click.echo("\n".join(_lines(rows, beyond)))
            everything += rows
    if everything:
        close = sum(row.off_percent <= CLOSE_PERCENT for row in everything)
        ratios = sorted(row.ratio for row in everything)
        click.echo(
            f"{close} of {len(ratios)} configurations within {CLOSE_PERCENT} %, "
            f"median {statistics.median(ratios):.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f}"
        )


if __name__ == "__main__":
    main()
