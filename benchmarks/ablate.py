"""One option varied, everything else as it is: a table, and a plot as SVG.

    python -m benchmarks.ablate examples/lenet.py --inference --vary batch_size=1,8,64,512
    python -m benchmarks.ablate examples/transformer.py --vary preset=mp0,mp1,mp4 --plot presets.svg
    python -m benchmarks.ablate examples/lenet.py --vary arch=sn10,sn30,sn40l --json

What can be varied is a field of `compiler.driver.CompileRequest`: batch_size, microbatch_size, preset, level, arch,
seed, passes, and `budget` (the share of the machine that a section may take). Times are simulated; no numbers are
computed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

from compiler.driver import CompileRequest, build_spec
from compiler.frontend.model_file import load_model
from ir.errors import Problem, SncError, UsageError
from pef.tables import Column, number, print_table, text
from runtime.timing import simulate

NUMBERS = ("batch_size", "microbatch_size", "seed")
TEXTS = ("preset", "level", "arch", "passes")


@dataclass(frozen=True)
class Point:
    """One compile: what the option was, and what came of it. `error` instead where it does not compile."""

    value: str
    us: float = 0.0
    us_per_sample: float | None = None
    sections: int = 0
    pcus: int = 0
    error: str = ""


def measure(request: CompileRequest, option: str, value: str) -> Point:
    """Compile with the option at this value, and simulate one run of all sections. Raises UsageError for options and
    values that there are not; what does not compile is a point too."""
    own = _with(request, option, value)
    try:
        spec = load_model(own.model, own.batch_size, own.seed, inference=own.inference)
        built = build_spec(spec, own)
    except SncError as error:
        return Point(value, error=error.problems[0].message)
    report = simulate(built.pef)
    us = report.us(report.cycles)
    samples = next((int(t.shape[0]) for t in spec.inputs.values() if t.dim()), None)
    pcus = max(section.execution.pcu.allocated for section in report.sections)
    return Point(value, us, us / samples if samples else None, len(report.sections), pcus)


def _with(request: CompileRequest, option: str, value: str) -> CompileRequest:
    if option == "budget":
        return replace(request, budgets=(float(value),))
    if option not in (*NUMBERS, *TEXTS):
        hint = f"one of {', '.join((*NUMBERS, *TEXTS, 'budget'))}"
        raise UsageError(Problem(f"there is no option {option!r} to vary", hint=hint))
    return replace(request, **{option: int(value) if option in NUMBERS else value})


def plot(option: str, points: Sequence[Point]) -> str:
    """A bar for each value, as SVG: simulated microseconds of a step, and by sample where that is known."""
    compiled = [point for point in points if not point.error]
    most = max((point.us for point in compiled), default=1.0)
    height, left, width = 34, 150, 640
    bars = []
    for row, point in enumerate(points):
        y = 40 + row * height
        length = (width - left - 190) * point.us / most
        each = f", {point.us_per_sample:,.2f} us a sample" if point.us_per_sample is not None else ""
        label = point.error or f"{point.us:,.1f} us{each}"
        bars.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(point.value)}</text>')
        bars.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="20" rx="2"/>')
        bars.append(f'<text x="{left + length + 8:.1f}" y="{y + 15}">{escape(label)}</text>')
    bottom = 50 + len(points) * height
    style = "text{font:13px sans-serif;fill:#222}rect{fill:#4477aa}"
    style += "@media(prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#88bbee}}"
    title = f'<text x="{left}" y="24">simulated time of a run, by {escape(option)}</text>'
    size = f'width="{width}" height="{bottom}" viewBox="0 0 {width} {bottom}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{title}{"".join(bars)}</svg>\n'


COLUMNS: list[Column[Point]] = [
    text("value", lambda point: point.value),
    number("us (simulated)", lambda point: "" if point.error else f"{point.us:,.1f}"),
    number("us a sample", lambda p: "" if p.error or p.us_per_sample is None else f"{p.us_per_sample:,.3f}"),
    number("sections", lambda point: "" if point.error else str(point.sections)),
    number("most PCUs", lambda point: "" if point.error else str(point.pcus)),
]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="model.py or model.py:name")
    parser.add_argument("--vary", required=True, metavar="OPTION=A,B,C")
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("-b", "--batch-size", type=int)
    parser.add_argument("--arch", default="sn30")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(words)
    option, equals, values = arguments.vary.partition("=")
    if not equals:
        parser.error("--vary takes an option and its values, such as batch_size=1,8,64")
    request = CompileRequest(arguments.model, arguments.inference, arguments.batch_size, arch=arguments.arch)
    try:
        points = [measure(request, option, value) for value in values.split(",")]
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.plot is not None:
        arguments.plot.write_text(plot(option, points))
    if arguments.json:
        print(json.dumps([asdict(point) for point in points], indent=1))
        return 0
    from rich.console import Console

    errors = [text("error", lambda point: point.error)] if any(point.error for point in points) else []
    print_table(Console(), f"{Path(arguments.model).name}, {option} varied", [*COLUMNS, *errors], points)
    return 0


if __name__ == "__main__":
    sys.exit(main())
