"""Every operator family's speed beside PyTorch eager: forward and gradient, the same sizes, machine and threads.

    python -m benchmarks.ops [--only softmax] [--case "softmax: channels"] [--threads 1] [--json] [--profile]

Each operator is compiled by itself. What is measured on our side is its section in the functional simulator, from
device memory to device memory; on PyTorch's the operator, or its gradients by autograd. Each family runs in fresh
processes that take turns, and the results of both sides are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np
import torch
from rich.console import Console
from rich.table import Column, Table

from backends.rdu.compile import compile_program
from backends.rdu.machine import load_machine
from benchmarks.host_profile import print_profile
from benchmarks.op_cases import CASES, FAMILIES, OpCase, module_of
from benchmarks.vs_torch import SETTLE_S, Side
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.graph import SymbolKind
from pef import file as pef_file
from pef.check import check
from pef.npz import write_npz

TURN_S = 0.04
"""What a turn should take, at least: short steps are repeated."""
MOST_STEPS = 20
"""Steps of a turn, at most."""
KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""Lets glibc's allocator keep the pages of large tensors: PyTorch allocates each result anew, and asking the kernel for
zeroed pages may take longer than the operator."""
TOLERANCE = 1e-4
"""Difference of results, relative to the largest element."""
WIDTH = 120
"""Characters of a table's lines."""


@dataclass(frozen=True, slots=True)
class Result:
    """Medians in milliseconds of wall time; ratios of the simulator's times to PyTorch's."""

    case: str
    family: str
    mode: str
    threads: int
    torch_ms: float
    rdu_ms: float
    wall_ratio: float
    cpu_ratio: float
    difference: float


def compile_case(case: OpCase, mode: str, folder: Path) -> Path:
    """Compile an operator; write its PEF and what its symbols start from, with the gradient that it is given."""
    module = module_of(case)
    stem = f"{case.family}: {case.name}.{mode}"
    spec = ModelSpec(module, module.inputs, name="operator", every_gradient=True)
    captured = capture(spec, inference=mode == "forward")
    program = PassManager(standard_pipeline("mp0")).run(captured.program)
    pef = compile_program(program, load_machine("sn30"))
    check(pef)
    pef_file.write(pef, folder / f"{stem}.pef")
    values = {symbol.name: captured.values[symbol.name] for symbol in program.symbols if symbol.name in captured.values}
    values.update({name: to_array(x) for name, x in module.inputs.items()})
    for symbol in program.symbols:
        if symbol.kind is SymbolKind.OUTPUT_GRADIENT:
            values[symbol.name] = values["tangent"] = torch.randn(symbol.type.shape).numpy()
        elif symbol.name == "seed":
            values[symbol.name] = np.zeros(symbol.type.shape, np.int32)
    write_npz(folder / f"{stem}.npz", values)
    return folder / f"{stem}.pef"


def compare(case: OpCase, mode: str, folder: Path, sides: list[Side], arguments: argparse.Namespace) -> Result:
    """Measure one operator: both sides take turns."""
    name = f"{case.family}: {case.name}"
    times: list[list[list[float]]] = [[], []]
    steps = [1, 1]
    for number, side in enumerate(sides):
        warm = [wall for wall, _ in side.ask(json.dumps([name, mode, 3]))]
        steps[number] = min(MOST_STEPS, max(1, round(TURN_S / min(warm))))
    for _ in range(arguments.turns):
        for number, side in enumerate(sides):
            time.sleep(SETTLE_S if arguments.threads > 1 else 0)
            times[number].append([median(column) for column in zip(*side.ask(json.dumps([name, mode, steps[number]])))])
    for side in sides:
        side.ask(json.dumps([name, mode, "save"]))
    wall, cpu = (median(ours[i] / theirs[i] for theirs, ours in zip(*times)) for i in (0, 1))
    torch_ms, rdu_ms = (1e3 * median(turn[0] for turn in turns) for turns in times)
    difference = _difference(folder / f"{name}.{mode}", case.is_random)
    return Result(name, case.family, mode, arguments.threads, torch_ms, rdu_ms, wall, cpu, difference)


def _difference(stem: Path, is_random: bool) -> float:
    """The largest difference of the two sides' results, relative to the largest element; of random ones, of their
    shares of zeros, a tenth of which is chance."""
    theirs, ours = (np.load(stem.with_name(f"{stem.name}.{side}.npz")) for side in ("torch", "rdu"))
    worst = 0.0
    for key in theirs.files:
        expected, actual = (np.asarray(side[key], np.float64) for side in (theirs, ours))
        if is_random:
            difference = abs(np.mean(expected == 0) - np.mean(actual == 0)) / 10
        else:
            difference = np.abs(expected - actual).max() / max(np.abs(expected).max(), 1e-30)
        worst = max(worst, float(difference))
    return worst


def print_tables(results: list[Result]) -> None:
    """All results a row each, then the families."""
    table = Table(
        Column("operator", no_wrap=True), "mode", "PyTorch ms", "snc ms", "ratio", "ratio of CPU time", "differs by"
    )
    for r in results:
        times = f"{r.torch_ms:.1f}", f"{r.rdu_ms:.1f}", f"{r.wall_ratio:.2f}", f"{r.cpu_ratio:.2f}"
        table.add_row(r.case, r.mode, *times, f"{r.difference:.0e}")
    families = Table("family", "forward", "gradient", "worst", title="geometric means of ratios of CPU time")
    for family in dict.fromkeys(r.family for r in results):
        rows = [r for r in results if r.family == family]
        means = (_mean(r.cpu_ratio for r in rows if r.mode == mode) for mode in ("forward", "gradient"))
        worst = max(rows, key=lambda r: r.cpu_ratio)
        families.add_row(family, *means, f"{worst.cpu_ratio:.2f} {worst.case.partition(': ')[2]}, {worst.mode}")
    everything = f"{_mean(r.cpu_ratio for r in results)}, of wall time {_mean(r.wall_ratio for r in results)}"
    console = Console(width=WIDTH)
    console.print(table, families)
    console.print(f"geometric mean of all {len(results)}: {everything}")


def _mean(ratios: Iterable[float]) -> str:
    found = list(ratios)
    return f"{geometric_mean(found):.2f}" if found else "-"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    families = f"this family; may be given again: {', '.join(FAMILIES)}"
    parser.add_argument("--only", choices=FAMILIES, metavar="FAMILY", action="append", help=families)
    again = "this operator; may be given again"
    parser.add_argument("--case", choices=sorted(CASES), metavar="CASE", action="append", help=again)
    parser.add_argument("--mode", choices=("forward", "gradient"), help="only one of the two")
    parser.add_argument("--threads", type=int, default=1, help="of each side")
    parser.add_argument("--turns", type=int, default=5, help="turns of each side")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--profile", action="store_true", help="where the simulator's time goes, instead of comparing")
    return parser.parse_args()


def measure(chosen: list[tuple[OpCase, str]], arguments: argparse.Namespace) -> list[Result]:
    """The results of one family, in a fresh pair of processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pefs = [compile_case(case, mode, folder) for case, mode in chosen]
        if arguments.profile:
            for pef in pefs:
                print_profile(pef, pef.stem)
            return []
        sides = [
            Side("op_worker", side, folder, arguments.threads, environment=KEEP_PAGES) for side in ("torch", "rdu")
        ]
        results = []
        for case, mode in chosen:
            result = compare(case, mode, folder, sides, arguments)
            print(f"{result.case}, {mode}: {result.cpu_ratio:.2f} of PyTorch's time", file=sys.stderr)
            results.append(result)
        for side in sides:
            side.close()
    return results


def main() -> None:
    arguments = parse()
    names = arguments.case or [name for name, case in CASES.items() if case.family in (arguments.only or FAMILIES)]
    cases = [CASES[name] for name in names]
    modes = [(case, mode) for case in cases for mode in ("forward", "gradient")[: 1 + case.gradient]]
    wanted = [(case, mode) for case, mode in modes if arguments.mode in (None, mode)]
    results: list[Result] = []
    for family in dict.fromkeys(case.family for case, _ in wanted):
        results += measure([chosen for chosen in wanted if chosen[0].family == family], arguments)
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    elif results:
        print_tables(results)
    differing = [r for r in results if not r.difference <= TOLERANCE]
    if differing:
        sys.exit(f"results differ: {', '.join(f'{r.case} {r.mode}' for r in differing)}")


if __name__ == "__main__":
    main()
