"""The page of errors, from kept results: `docs/published.md`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from statistics import fmean, median

from benchmarks.published.measure import Measured
from benchmarks.published.results import Results
from benchmarks.published.rows import FUSED, NOT_RUN, RATIOS, ROWS, RULES, UNFUSED, Row

LEVELS = {
    UNFUSED: "an operator a section (`o0`)",
    RULES: "fused by rules (`o1`)",
    FUSED: "the sections that our compiler finds fastest (`o3`)",
}

INTRODUCTION = """# Beside published measurements

**For whom:** you want to know how far the simulated time is off. Made by `python -m benchmarks.published --write`, from
`benchmarks/published/results.json`; `make test` checks that the page says what was kept, `make test-full` that the
short rows still come out as kept. No row ever chose a constant of a machine file.

Every row is mapped as `benchmarks.unplaced` does it: sections, stages, buffers and streams are as compiled, and units
are wired directly. Placing and routing the one-layer row without fusion leaves its time the same to three digits.
"""


def render(results: Results) -> str:
    """The page."""
    measured = {(found.row, found.level): found for found in results.measured}
    parts = [
        INTRODUCTION,
        *_steps(measured),
        *_summary(measured),
        *_fits(measured),
        *_spent(results.measured),
        *_rivals(measured),
        *_ratios(results.ratios),
        *_sensitivity(results.sensitivity),
        *_coverage(),
        LIMITS,
    ]
    return "\n".join(parts)


def _table(headings: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


Found = dict[tuple[str, str], Measured]


def _pairs(measured: Found) -> Iterator[tuple[Row, Measured]]:
    for row in ROWS:
        for level in row.levels:
            if (row.name, level) in measured:
                yield row, measured[row.name, level]


def lines(results: Results, names: Collection[str]) -> Iterator[str]:
    """What was measured of these names, for a terminal."""
    for row, found in _pairs({(found.row, found.level): found for found in results.measured}):
        if row.name in names:
            error = f"{100 * _error(row, found.seconds):+.0f} %"
            yield f"{row.name} at {found.level}: {found.seconds:.3f} s, published {row.seconds:.3f} s, {error}"
    for which in RATIOS:
        if which.name in names and which.name in results.ratios:
            known = _range(which.low, which.high, which.unit)
            yield f"{which.what}: {results.ratios[which.name]:.2g} {which.unit}, published {known}"


def _error(row: Row, seconds: float) -> float:
    """Signed: above zero where ours is slower than published."""
    return seconds / row.seconds - 1


def _steps(measured: Found) -> Iterator[str]:
    yield "## Every row\n"
    for setting in dict.fromkeys(row.setting for row in ROWS):
        of_it = [row for row in ROWS if row.setting == setting]
        notes = {row.note for row in of_it} - {""}
        yield f"**{setting}** ({of_it[0].source}; seconds a step{'; ' + notes.pop() if notes else ''}):\n"
        headings = ("layers", "published", "our mapping", "sections", "simulated", "error")
        yield from _table(headings, (_step(row, found) for row, found in _pairs(measured) if row in of_it))


def _step(row: Row, found: Measured) -> tuple[str, ...]:
    error = f"{100 * _error(row, found.seconds):+.0f} %"
    return (
        str(row.layers),
        f"{row.seconds:.3f}",
        LEVELS[found.level],
        str(found.sections),
        f"{found.seconds:.3f}",
        error,
    )


def _summary(measured: Found) -> Iterator[str]:
    yield "## In short\n"
    yield from _table(("rows", "n", "median error", "mean error", "bias", "worst"), _statistics(measured))


def _statistics(measured: Found) -> Iterator[tuple[str, ...]]:
    groups: dict[tuple[str, str], list[float]] = {}
    for row, found in _pairs(measured):
        groups.setdefault((row.group, found.level), []).append(_error(row, found.seconds))
    for (group, level), errors in groups.items():
        sizes = [abs(error) for error in errors]
        worst = max(errors, key=abs)
        shown = (f"{100 * median(sizes):.0f} %", f"{100 * fmean(sizes):.0f} %", f"{100 * fmean(errors):+.0f} %")
        yield f"{group}, {LEVELS[level]}", str(len(errors)), *shown, f"{100 * worst:+.0f} %"
    yield from ()


def _fits(measured: Found) -> Iterator[str]:
    yield "A straight line through the depths tells what a layer takes from what the rest does (milliseconds):\n"
    yield from _table(
        ("rows", "rest, published", "rest, ours", "a layer, published", "a layer, ours"), _lines(measured)
    )


def _lines(measured: Found) -> Iterator[tuple[str, ...]]:
    groups: dict[tuple[str, str], list[tuple[Row, Measured]]] = {}
    for row, found in _pairs(measured):
        groups.setdefault((row.group, found.level), []).append((row, found))
    for (group, level), pairs in groups.items():
        if len(pairs) < 2:
            continue
        depths = [row.layers for row, _ in pairs]
        known_rest, known_layer = _line(depths, [row.seconds for row, _ in pairs])
        rest, layer = _line(depths, [found.seconds for _, found in pairs])
        shown = (f"{1e3 * value:.0f}" for value in (known_rest, rest, known_layer, layer))
        yield f"{group}, {LEVELS[level]}", *shown


def _line(xs: Sequence[int], ys: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope by least squares."""
    x, y = fmean(xs), fmean(ys)
    slope = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
    return y - slope * x, slope


def _spent(measured: Sequence[Measured]) -> Iterator[str]:
    bounds = sorted({bound for found in measured for bound in found.spent})
    yield "## By mechanism\n"
    yield "Shares of the simulated time, by what the chain of events that decides it waits for:\n"
    rows = (
        (found.row, found.level, *(f"{100 * found.spent.get(bound, 0):.1f} %" for bound in bounds))
        for found in measured
    )
    yield from _table(("row", "level", *bounds), rows)


def _rivals(measured: Found) -> Iterator[str]:
    yield "## Rivals on the same rows\n"
    yield "Error of two closed forms: the roofline of the whole model, and, section by section of our mapping, the"
    yield "longer of arithmetic at peak and bytes moved at full bandwidth.\n"
    headings = ("row", "level", "simulated", "sections' rooflines", "model's roofline")
    yield from _table(headings, (_rival(row, found) for row, found in _pairs(measured)))


def _rival(row: Row, found: Measured) -> tuple[str, ...]:
    ours = (found.seconds, found.operators, found.roofline)
    return row.name, found.level, *(f"{100 * _error(row, seconds):+.0f} %" for seconds in ours)


def _ratios(known: dict[str, float]) -> Iterator[str]:
    yield "## Other figures\n"
    rows = (
        (which.what, which.source, _range(which.low, which.high, which.unit), f"{known[which.name]:.2g} {which.unit}")
        for which in RATIOS
        if which.name in known
    )
    yield from _table(("what", "source", "published", "ours"), rows)


def _range(low: float, high: float, unit: str) -> str:
    return f"{low:g} {unit}" if low == high else f"{low:g} to {high:g} {unit}"


def _sensitivity(varied: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "## If a guess is wrong\n"
    yield "The same mapping on another machine, as a multiple of its time (unplaced, so a net is one hop long):\n"
    names = list(next(iter(varied.values()), ()))
    rows = ((name, *(f"{times[name]:.3f}" for times in varied.values())) for name in names)
    yield from _table(("change", *varied), rows)


def _coverage() -> Iterator[str]:
    runnable = len(ROWS) + len(RATIOS)
    known = runnable + len(NOT_RUN) + 4  # the five decoding rows are one line of NOT_RUN
    yield f"## Not covered\n\nOf {known} published figures, {runnable} are above. The others:\n"
    yield from _table(("figure", "why not"), iter(NOT_RUN))


LIMITS = """## What this does not show

- The published rows name a model, not a program. What an operator is, whether there is dropout, whether the loss is
  computed in float32 or its labels are shifted by a copy, is not said, and matters without fusion: the same GPT-2 as
  the library `transformers` writes it takes 1.3 times as long a layer here, and 1.6 times with its dropout. The rest,
  embedding, loss and optimizer, is where ours is much faster than published, and where these choices weigh most.
- The vendor's sections are not published. With rules our sections keep the scores of attention in memory between
  forward and backward pass, as the published times suggest theirs do; the sections that our compiler finds fastest do
  so less. For BERT with short sequences rules fuse far less than the vendor did, and `o1` takes twice the time. That
  `o3` takes less time than published says that its sections are better or that the model of time is too fast;
  these rows cannot tell which.
- Nothing here tests compute-bound sections: all rows are bound by memory, whose bandwidth is published as 100 GB/s and
  could be 204.8.
"""
