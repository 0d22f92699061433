"""Compiling a combination, and what there is to say about the result.

    python -m modelzoo.measurement NAME SIZE MODE BATCH LENGTH MACHINE

prints it as JSON: run as a process of its own, the peak of the host's memory is that of this compile alone.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compiler.driver import CompileRequest, compile_spec
from ir.errors import SncError
from modelzoo.catalogue import find
from modelzoo.combination import Combination
from runtime.profile.roofline import roofline_cycles
from runtime.timing import simulate

PATIENCE_SECONDS = 3600
"""For a large configuration on this computer."""

KEPT_PROBLEMS = 1
"""Sentences of a refusal that a card repeats."""


def measure(name: str, combination: Combination) -> dict[str, Any]:
    """The record of one combination for the card of `name`; of one that is refused, why.

    Large ones are compiled by a process of their own, whose peak of memory is theirs.
    """
    if combination.size == "tiny":
        return {**asdict(combination), **compile_combination(name, combination)}
    words = [str(value) for value in (name, *asdict(combination).values())]
    command = [sys.executable, "-m", "modelzoo.measurement", *words]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return {**asdict(combination), "refused": f"the compiler had not finished after {PATIENCE_SECONDS} s"}
    if result.returncode != 0:
        ended = result.stderr.strip().splitlines() or [f"the compiler ended with status {result.returncode}"]
        return {**asdict(combination), "refused": ended[-1]}
    return {**asdict(combination), **json.loads(result.stdout.splitlines()[-1])}


def compile_combination(name: str, combination: Combination) -> dict[str, Any]:
    """Compile in this process. Times and memory of the host are of this computer; the rest follows from the model."""
    entry = find(name)
    is_tiny = combination.size == "tiny"
    began = time.perf_counter()
    spec = entry.spec(
        combination.size,
        training=combination.mode == "training",
        batch=combination.batch,
        length=combination.length,
        content=is_tiny,
    )
    parameters = sum(parameter.numel() for parameter in spec.model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        request = CompileRequest(
            name,
            inference=combination.mode != "training",
            batch_size=combination.batch,
            output_folder=Path(folder),
            arch=combination.machine,
        )
        try:
            result = compile_spec(spec, request)
        except SncError as error:
            return {"parameters": parameters, "refused": _short(error), **_host(began)}
        pef_bytes = result.pef_path.stat().st_size
    report = simulate(result.decoded, range(len(result.pef.sections)))
    least = roofline_cycles(report, result.pef)
    return {
        "parameters": parameters,
        "sections": len(result.pef.sections),
        "configurations": len(result.pef.configurations),
        "pef_bytes": pef_bytes,
        "simulated_us": round(report.us(report.cycles), 1),
        "roofline_us": round(report.us(least), 1),
        **_host(began),
    }


def _host(began: float) -> dict[str, Any]:
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"host_seconds": round(time.perf_counter() - began, 1), "host_peak_mib": peak_bytes >> 20}


def _short(error: SncError) -> str:
    kept = "; ".join(problem.message for problem in error.problems[:KEPT_PROBLEMS])
    more = len(error.problems) - KEPT_PROBLEMS
    return f"{error.code}: {kept}" + (f" (and {more} more)" if more > 0 else "")


def main(words: list[str]) -> None:
    """The command line of a measuring process."""
    name, size, mode, batch, length, machine = words
    combination = Combination(size, mode, int(batch), None if length == "None" else int(length), machine)
    print(json.dumps(compile_combination(name, combination)))


if __name__ == "__main__":
    main(sys.argv[1:])
