"""Device memory: what each tensor moves in a step, and where it lies from when to when."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from pef import pef_pb2 as pb
from pef.codec import decode_type
from runtime.timing.report import Report

MOST_TENSORS = 400
"""Told one by one; the rest are joined by kind."""

Facts = dict[str, Any]


def traffic(pef: pb.Pef, report: Report) -> list[Facts]:
    """Bytes read and written by tensor, the most first."""
    kinds = {symbol.name: symbol.kind for symbol in pef.symbols}
    moved: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for section in report.sections:
        for phase in section.execution.phases:
            for stream in phase.streams:
                moved[section.symbols[stream.slot]][stream.store] += stream.total_bytes
    ranked = sorted(moved, key=lambda name: (-sum(moved[name]), name))
    rows = [_row(name, kinds[name], moved[name], 1) for name in ranked[:MOST_TENSORS]]
    rest: dict[str, list[str]] = defaultdict(list)
    for name in ranked[MOST_TENSORS:]:
        rest[kinds[name]].append(name)
    for kind, names in rest.items():
        total = [sum(moved[name][way] for name in names) for way in (0, 1)]
        rows.append(_row(f"{len(names)} more of kind {kind}", kind, total, len(names)))
    return rows


def _row(name: str, kind: str, moved: list[int], tensors: int) -> Facts:
    return {"name": name, "kind": kind, "read_bytes": moved[0], "write_bytes": moved[1], "tensors": tensors}


def plan(pef: pb.Pef) -> list[list[Any]]:
    """Every symbol: name, type, kind, bytes, tier, offset, and its first and last section; -1 for one that stays."""
    rows = []
    for symbol in pef.symbols:
        tensor = decode_type(symbol.type)
        first, last = (-1, -1) if symbol.persistent else (symbol.first, symbol.last)
        rows.append([symbol.name, str(tensor), symbol.kind, tensor.nbytes, symbol.tier, symbol.offset, first, last])
    return rows
