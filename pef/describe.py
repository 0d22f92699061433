"""What is in a PEF, for people: `render` prints the tables and pictures that `as_dict` has the data of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pef import pef_pb2 as pb
from pef import picture
from pef.codec import decode_machine
from pef.facts import Facts, as_dict
from pef.wording import loop_counts

__all__ = ["as_dict", "render"]


def render(pef: pb.Pef, console: Console, grid: bool = True) -> None:
    """Print what is in a PEF, with a picture of the units where `grid`. Raises IllegalPefError as `as_dict` does."""
    facts = as_dict(pef)
    machine = facts["machine"]
    console.print(f"[bold]{escape(facts['name'])}[/], toolchain {escape(facts['toolchain_version'])}")
    console.print(_machine_line(machine), highlight=False)
    for label in ("options", "metadata"):
        if facts[label]:
            console.print(f"{label}: {escape(str(facts[label]))}", highlight=False)
    console.print(_symbols_table(facts["symbols"]))
    console.print(_sections_table(facts["sections"]))
    for number, configuration in enumerate(facts["configurations"]):
        shared = ", ".join(configuration["sections"])
        console.print(f"\n[bold]configuration {number}[/] of {escape(shared)}", highlight=False)
        console.print(_stages_table(configuration))
        for index, phase in enumerate(configuration["phases"]):
            cycles, loops = phase["busiest_link_cycles"], loop_counts(phase["loops"])
            console.print(f"phase {index}: {loops} iterations, busiest link {cycles:,.0f} cycles", highlight=False)
        console.print(_buffers_table(configuration))
        console.print(_streams_table(configuration))
        if grid:
            console.print(picture.coloured_grid(pef.configurations[number], decode_machine(pef.machine)), end="")
            console.print("upper case PCUs, lower case PMUs of a stage's results, + loaded, x faulty", style="dim")


def _machine_line(machine: Facts) -> str:
    tiers = ", ".join(f"{escape(tier['name'])} {_bytes(tier['capacity_bytes'])}" for tier in machine["tiers"])
    return (
        f"{escape(machine['name'])}: {machine['pcus']} PCUs, {machine['pmus']} PMUs of {_bytes(machine['pmu_bytes'])}, "
        f"{len(machine['agcu_sites'])} AGCUs at {machine['clock_ghz']:g} GHz; {tiers}"
    )


def _symbols_table(symbols: Sequence[Facts]) -> Table:
    kinds: dict[str, list[Facts]] = defaultdict(list)
    for symbol in symbols:
        kinds[symbol["kind"]].append(symbol)
    rows = [(kind, str(len(held)), _bytes(sum(s["bytes"] for s in held))) for kind, held in kinds.items()]
    return _table("symbols", ("kind",), ("count", "bytes"), rows)


def _sections_table(sections: Sequence[Facts]) -> Table:
    numbers = ("phases", "stages", "operators", "PCUs", "PMUs", "loops")
    times = ("exec us", "load us", "bound by", "DRAM read", "DRAM write")
    by_rule = ("rule",) if any(section["rule"] for section in sections) else ()
    rows = [
        (
            section["name"],
            section["kind"],
            *(section[key] for key in by_rule),
            str(section["configuration"]),
            *(str(section[key.lower()]) for key in numbers[:-1]),
            " ".join(map(loop_counts, section["loops"])),
            f"{section['predicted_us']:.1f}",
            f"{section['load_us']:.1f}",
            section["bound"],
            _bytes(section["dram_read_bytes"]),
            _bytes(section["dram_write_bytes"]),
        )
        for section in sections
    ]
    return _table("sections, times as predicted", ("section", "type", *by_rule), ("config", *numbers, *times), rows)


def _stages_table(configuration: Facts) -> Table:
    texts = ("", "stage", "operators", "source", "reads", "writes")
    return _table(
        "stages", texts, ("phase", "loops", "PCUs", "parallel", "cycles/firing"), list(_stage_rows(configuration))
    )


def _stage_rows(configuration: Facts) -> Iterator[tuple[str, ...]]:
    number = 0
    for phase_number, phase in enumerate(configuration["phases"]):
        for stage in phase["stages"]:
            sources = [operator["source"] for operator in stage["operators"] if operator["source"]]
            combine = f" ({', '.join(stage['combine'])})" if stage["combine"] else ""
            yield (
                picture.letter(number),
                stage["name"],
                " ".join(operator["op"] for operator in stage["operators"]),
                _places(sources),
                " ".join(stage["reads"]),
                " ".join(stage["writes"]) + combine,
                str(phase_number),
                loop_counts(stage["loops"]),
                str(stage["pcus"]),
                "x".join(map(str, stage["parallel"].values())),
                str(stage["compute_cycles_per_firing"]),
            )
            number += 1


def _places(sources: Sequence[Facts]) -> str:
    """The files and lines that operators come from, as one range of lines per file."""
    lines: dict[str, list[int]] = defaultdict(list)
    for source in sources:
        lines[source["file"]].append(source["line"])
    return " ".join(
        f"{file}:{min(found)}" + (f"-{max(found)}" if min(found) != max(found) else "") for file, found in lines.items()
    )


def _buffers_table(configuration: Facts) -> Table:
    rows = [
        (b["name"], b["type"], _axes(b["axes"]), f"{b['depth']}/{b['slices']}", _bytes(b["bytes"]), str(b["pmus"]))
        for b in configuration["buffers"]
    ]
    return _table("buffers", ("buffer", "type"), ("axes", "slices held", "bytes", "PMUs"), rows)


def _streams_table(configuration: Facts) -> Table:
    indexed = any(stream["index"] is not None for phase in configuration["phases"] for stream in phase["streams"])
    rows = [
        (
            stream["direction"],
            stream["buffer"],
            " ".join(stream["through"]),
            *([_index(stream)] if indexed else []),
            str(phase_number),
            str(stream["slot"]),
            _axes(stream["axes"]),
            f"{stream['transfers']} x {_bytes(stream['bytes'])}",
            " ".join(map(str, stream["agcus"])),
        )
        for phase_number, phase in enumerate(configuration["phases"])
        for stream in phase["streams"]
    ]
    texts = ("", "buffer", "through", *(["by index"] if indexed else []))
    return _table("streams", texts, ("phase", "slot", "axes", "transfers", "AGCUs"), rows)


def _index(stream: Facts) -> str:
    return f"{stream['index']} along {stream['index_axis']}" if stream["index"] is not None else ""


def _table(title: str, texts: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first columns hold text and whose others are aligned to the right."""
    table = Table(title=title, title_justify="left")
    for heading in texts:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _axes(axes: Sequence[int]) -> str:
    """The axis that each loop cuts: `0,-,1`."""
    return ",".join("-" if axis < 0 else str(axis) for axis in axes) or "whole"


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:g} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
