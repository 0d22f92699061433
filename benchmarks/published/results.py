"""What was measured, as it is kept between runs and rendered."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.published.measure import Measured, measure, ratio, sensitivity
from benchmarks.published.rows import RATIOS, ROWS

KEPT = Path(__file__).with_name("results.json")
SENSITIVE = (("unfused-12", "o0"), ("fused-12", "o1"))
"""The rows that constants are varied on."""


@dataclass(frozen=True)
class Results:
    """Every row at each of its levels, the ratios by name, and the variations by row."""

    measured: tuple[Measured, ...] = ()
    ratios: dict[str, float] = field(default_factory=dict)
    sensitivity: dict[str, dict[str, float]] = field(default_factory=dict)

    @staticmethod
    def load(path: Path = KEPT) -> Results:
        """What earlier runs kept."""
        if not path.exists():
            return Results()
        kept = json.loads(path.read_text())
        return Results(tuple(Measured(**row) for row in kept["measured"]), kept["ratios"], kept["sensitivity"])

    def save(self, path: Path = KEPT) -> None:
        """Keep it."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def run(names: Collection[str], kept: Results, progress: Callable[[str], None]) -> Iterator[Results]:
    """What was kept, with everything of these names measured anew, after each: rows, ratios and `SENSITIVE` rows
    varied."""
    measured = {(found.row, found.level): found for found in kept.measured}
    ratios, varied = dict(kept.ratios), dict(kept.sensitivity)
    order = [(row.name, level) for row in ROWS for level in row.levels]
    for row in ROWS:
        for level in row.levels if row.name in names else ():
            progress(f"{row.name} at {level}")
            measured[row.name, level], pef = measure(row, level)
            if (row.name, level) in SENSITIVE:
                progress(f"{row.name} at {level} on other machines")
                varied[row.name] = sensitivity(pef, row.machine())
            yield Results(tuple(measured[key] for key in order if key in measured), ratios, varied)
    for which in RATIOS:
        if which.name in names:
            progress(which.name)
            ratios[which.name] = ratio(which)
            yield Results(tuple(measured[key] for key in order if key in measured), ratios, varied)
