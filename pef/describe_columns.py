"""The columns of the tables that describe a PEF, the most important first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ir.location import Location
from pef.facts import Facts
from pef.tables import Column, mib, number, text
from pef.wording import loop_counts


def sections(rows: Sequence[Facts]) -> list[Column[Facts]]:
    """Of sections; with the fusion rules where any of them has one."""
    by_rule: list[Column[Facts]] = [text("rule", lambda row: row["rule"])] if any(r["rule"] for r in rows) else []
    return [
        text("section", lambda row: row["name"]),
        text("type", lambda row: row["kind"]),
        number("exec us", lambda row: f"{row['predicted_us']:,.1f}"),
        number("load us", lambda row: f"{row['load_us']:,.1f}"),
        text("bound by", lambda row: row["bound"]),
        *by_rule,
        number("phases", lambda row: str(row["phases"])),
        number("PCUs", lambda row: str(row["pcus"])),
        number("PMUs", lambda row: str(row["pmus"])),
        number("read MiB", lambda row: mib(row["dram_read_bytes"])),
        number("write MiB", lambda row: mib(row["dram_write_bytes"])),
        number("stages", lambda row: str(row["stages"])),
        number("operators", lambda row: str(row["operators"])),
        number("configuration", lambda row: str(row["configuration"])),
        text("loops by phase", lambda row: " ".join(map(loop_counts, row["loops"]))),
    ]


PHASES: list[Column[Facts]] = [
    number("phase", lambda row: str(row["phase"])),
    text("loops", lambda row: loop_counts(row["loops"])),
    number("stages", lambda row: str(len(row["stages"]))),
    number("streams", lambda row: str(len(row["streams"]))),
    number("cycles of the busiest link", lambda row: f"{row['busiest_link_cycles']:,.0f}"),
]

_NAME: Column[Facts] = text("stage", lambda row: row["name"])
_WORK: list[Column[Facts]] = [
    number("phase", lambda row: str(row["phase"])),
    number("cycles", lambda row: f"{row['cycles']:,}"),
    number("PCUs", lambda row: str(row["pcus"])),
    text("source", lambda row: _places([op["source"] for op in row["operators"] if op["source"]])),
    text("operators", lambda row: " ".join(op["op"] for op in row["operators"])),
    text("loops", lambda row: loop_counts(row["loops"])),
    number("cycles/firing", lambda row: f"{row['compute_cycles_per_firing']:,}"),
    text("parallel", lambda row: "x".join(map(str, row["parallel"].values()))),
]
STAGES_OF_ALL: list[Column[Facts]] = [_NAME, text("section", lambda row: row["section"]), *_WORK]
STAGES: list[Column[Facts]] = [
    _NAME,
    text("unit", lambda row: row["letter"]),
    *_WORK,
    text("reads", lambda row: " ".join(row["reads"])),
    text("writes", lambda row: " ".join(row["writes"]) + (f" ({', '.join(row['combine'])})" if row["combine"] else "")),
]

BUFFERS: list[Column[Facts]] = [
    text("buffer", lambda row: row["name"]),
    text("type", lambda row: row["type"]),
    number("MiB", lambda row: mib(row["bytes"])),
    number("PMUs", lambda row: str(row["pmus"])),
    number("slices held", lambda row: f"{row['depth']} of {row['slices']}"),
    text("axes", lambda row: _axes(row["axes"])),
]


def streams(rows: Sequence[Facts]) -> list[Column[Facts]]:
    """Of streams; with what picks rows where any of them goes by an index."""
    by_index: list[Column[Facts]] = [text("by index", _index)] if any(row["index"] is not None for row in rows) else []
    return [
        text("symbol", lambda row: row["symbol"]),
        text("stream", lambda row: row["direction"]),
        text("buffer", lambda row: row["buffer"]),
        number("phase", lambda row: str(row["phase"])),
        *by_index,
        number("transfers", lambda row: f"{row['transfers']:,}"),
        number("MiB each", lambda row: mib(row["bytes"])),
        number("AGCUs", lambda row: str(len(row["agcus"]))),
        text("axes", lambda row: _axes(row["axes"])),
        text("through", lambda row: " ".join(row["through"])),
    ]


NETS: list[Column[Facts]] = [
    text("from", lambda row: row["from"]),
    text("to", lambda row: row["to"]),
    text("kind", lambda row: row["kind"]),
    number("phase", lambda row: str(row["phase"])),
    number("MiB", lambda row: mib(row["total"])),
    number("links", lambda row: str(len(row["route"]))),
    text("source", lambda row: _terminal(row["source"])),
    text("sinks", lambda row: " ".join(map(_terminal, row["sinks"]))),
]


def _terminal(terminal: Facts) -> str:
    """`agcu 3`, `unit 17`."""
    ((kind, at),) = terminal.items()
    return f"{kind} {at}"


def _places(sources: Sequence[Facts]) -> str:
    """The files and lines that operators come from, as one range of lines per file."""
    lines: dict[str, list[int]] = defaultdict(list)
    for source in sources:
        lines[source["file"].rpartition("/")[2]].append(source["line"])
    return " ".join(
        Location(file, min(found)).place + (f"-{max(found)}" if min(found) != max(found) else "")
        for file, found in lines.items()
    )


def _index(stream: Facts) -> str:
    return f"{stream['index']} along {stream['index_axis']}" if stream["index"] is not None else ""


def _axes(axes: Sequence[int]) -> str:
    """The axis that each loop cuts: `0,-,1`."""
    return ",".join("-" if axis < 0 else str(axis) for axis in axes) or "whole"
