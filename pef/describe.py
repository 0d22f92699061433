"""What is in a PEF, for people: `render` prints the tables and pictures that `as_dict` has the data of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ir.errors import Problem, UsageError
from pef import describe_columns as columns
from pef import pef_pb2 as pb
from pef import picture
from pef.codec import decode_machine
from pef.facts import Facts, as_dict
from pef.tables import Column, largest, mib, number, print_table, shown_of, text
from pef.wording import closest, size, spelled

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Selection", "as_dict", "render"]


@dataclass(frozen=True, slots=True)
class Selection:
    """What to show: the `top` rows of each table (0: all); the inside of the sections and the stages with these names,
    which may have wildcards; nets too; a picture of the units of each section."""

    top: int = 10
    section: str | None = None
    stage: str | None = None
    nets: bool = False
    grid: bool = True


def render(pef: pb.Pef, console: Console, selection: Selection) -> None:
    """Print an overview of a PEF; or, where sections, stages or nets are selected, what is inside those.

    Raises IllegalPefError as `as_dict` does, UsageError where no section or stage has the name.
    """
    facts = as_dict(pef)
    if selection.section is None and selection.stage is None and not selection.nets:
        _print_heading(facts, console)
        _print_overview(facts, console, selection)
        return
    chosen = _matching("section", facts["sections"], selection.section)
    configurations = {section["configuration"]: section for section in reversed(chosen)}
    inside = {configuration: _Inside.of(facts, configuration) for configuration in sorted(configurations)}
    if selection.stage is not None:
        _matching("stage", [stage for each in inside.values() for stage in each.stages], selection.stage)
    _print_heading(facts, console)
    for configuration, each in inside.items():
        part = each.only(selection.stage)
        if part.stages:
            _print_inside(part, console, selection)
            if selection.grid and selection.stage is None:
                _print_grid(pef, configuration, console)


def _print_heading(facts: Facts, console: Console) -> None:
    from rich.markup import escape

    machine = facts["machine"]
    tiers = ", ".join(f"{tier['name']} {size(tier['capacity_bytes'])}" for tier in machine["tiers"])
    console.print(f"[bold]{escape(facts['name'])}[/], toolchain {escape(facts['toolchain_version'])}", highlight=False)
    console.print(
        f"{machine['name']}: {machine['pcus']} PCUs, {machine['pmus']} PMUs of {size(machine['pmu_bytes'])}, "
        f"{len(machine['agcu_sites'])} AGCUs at {machine['clock_ghz']:g} GHz; {tiers}",
        highlight=False,
        markup=False,
    )


def _print_overview(facts: Facts, console: Console, selection: Selection) -> None:
    for label in ("options", "metadata"):
        if facts[label]:
            console.print(f"{label}: {spelled(facts[label])}", highlight=False, markup=False)
    kinds: dict[str, list[int]] = defaultdict(list)
    for symbol in facts["symbols"]:
        kinds[symbol["kind"]].append(symbol["bytes"])
    kind_columns: list[Column[tuple[str, list[int]]]] = [
        text("kind", lambda row: row[0]),
        number("count", lambda row: str(len(row[1]))),
        number("MiB", lambda row: mib(sum(row[1]))),
    ]
    print_table(console, "symbols", kind_columns, list(kinds.items()))
    sections = facts["sections"]
    shown = largest(sections, lambda section: section["predicted_us"] + section["load_us"], selection.top)
    title = f"sections, times as predicted{shown_of(shown, sections, 'slowest')}"
    print_table(console, title, columns.sections(shown), shown)
    insides = [_Inside.of(facts, number) for number in range(len(facts["configurations"]))]
    stages = [stage for inside in insides for stage in inside.stages]
    shown = largest(stages, lambda stage: stage["cycles"] * stage["sections"], selection.top)
    title = f"stages{shown_of(shown, stages, 'with the most cycles')}"
    print_table(console, title, columns.STAGES_OF_ALL, shown)
    console.print("\n--section NAME shows its phases, stages, buffers, streams and units", style="dim", highlight=False)


def _print_inside(inside: _Inside, console: Console, selection: Selection) -> None:
    names = inside.sections
    console.print(f"\nconfiguration {inside.number} of {_few(names)}", style="bold", highlight=False, markup=False)
    print_table(console, "phases", columns.PHASES, inside.phases)
    parts = (
        ("stages", columns.STAGES, inside.stages, "with the most cycles", lambda row: row["cycles"]),
        ("buffers", columns.BUFFERS, inside.buffers, "largest", lambda row: row["bytes"]),
        ("streams", columns.streams(inside.streams), inside.streams, "that move most", lambda row: row["total"]),
        ("nets", columns.NETS, inside.nets if selection.nets else [], "that carry most", lambda row: row["total"]),
    )
    for kind, shown_columns, rows, superlative, extent in parts:
        if rows:
            shown = largest(rows, extent, selection.top)
            print_table(console, f"{kind}{shown_of(shown, rows, superlative)}", shown_columns, shown)


def _print_grid(pef: pb.Pef, configuration: int, console: Console) -> None:
    machine = decode_machine(pef.machine)
    console.print()
    console.print(picture.coloured_grid(pef.configurations[configuration], machine, console.width), end="")
    console.print("upper case: PCUs; lower case: PMUs of a stage's results; +: loaded; x: faulty", style="dim")


@dataclass(frozen=True, slots=True)
class _Inside:
    """A configuration as rows of tables: what is nested in the facts knows here where it belongs."""

    number: int
    sections: list[str]
    phases: list[Facts]
    stages: list[Facts]
    buffers: list[Facts]
    streams: list[Facts]
    nets: list[Facts]

    @staticmethod
    def of(facts: Facts, number: int) -> _Inside:
        configuration = facts["configurations"][number]
        names = configuration["sections"]
        symbols: list[str] = next((s["bindings"] for s in facts["sections"] if s["configuration"] == number), [])
        phases = [{**phase, "phase": index} for index, phase in enumerate(configuration["phases"])]
        stages = [
            {**stage, "phase": phase["phase"], "section": _few(names, 1), "sections": len(names)}
            | {"cycles": stage["compute_cycles_per_firing"] * stage["firings"]}
            for phase in phases
            for stage in phase["stages"]
        ]
        lettered = [{**stage, "letter": picture.letter(index)} for index, stage in enumerate(stages)]
        streams = [
            {**stream, "phase": phase["phase"], "symbol": symbols[stream["slot"]] if symbols else ""}
            | {"total": stream["bytes"] * stream["transfers"]}
            for phase in phases
            for stream in phase["streams"]
        ]
        nets = [{**net, "total": net["bytes"] * net["events"]} for net in configuration["nets"]]
        return _Inside(number, names, phases, lettered, configuration["buffers"], streams, nets)

    def only(self, pattern: str | None) -> _Inside:
        """What belongs to the stages with names like this: their buffers, and the streams and nets of those."""
        if pattern is None:
            return self
        stages = [stage for stage in self.stages if fnmatchcase(stage["name"], pattern)]
        names = {stage["name"] for stage in stages}
        touched = {name for stage in stages for name in (*stage["reads"], *stage["writes"])}
        phases = {stage["phase"] for stage in stages}
        return _Inside(
            self.number,
            self.sections,
            [phase for phase in self.phases if phase["phase"] in phases],
            stages,
            [buffer for buffer in self.buffers if buffer["name"] in touched],
            [stream for stream in self.streams if stream["buffer"] in touched],
            [net for net in self.nets if names & {net["from"], net["to"]}],
        )


def _matching(kind: str, rows: Sequence[Facts], pattern: str | None) -> list[Facts]:
    """The rows with names like this; all where there is no pattern. Raises UsageError where there is none."""
    found = [row for row in rows if pattern is None or fnmatchcase(row["name"], pattern)]
    if not found:
        raise UsageError(Problem(f"no {kind} is named {pattern!r}", hint=closest(pattern or "", _names(rows))))
    return found


def _names(rows: Iterable[Facts]) -> Iterator[str]:
    return (row["name"] for row in rows)


def _few(names: Sequence[str], shown: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
