"""Compiling a combination, and what there is to say about the result.

    python -m modelzoo.measurement LIMIT NAME SIZE MODE BATCH LENGTH MACHINE

prints it as JSON, or ends after LIMIT seconds of the host's processor time: run as a process of its own, the peak of
the host's memory is that of this compile alone.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compiler.driver import CompileRequest, CompileResult, compile_spec
from compiler.frontend.model_file import ModelSpec
from ir.errors import SncError
from modelzoo.catalogue import find
from modelzoo.combination import Combination
from runtime.profile.roofline import roofline_cycles
from runtime.timing import simulate

LIMIT_SECONDS = 1800
"""Of processor time for a configuration that is not tiny: unlike time by the clock, other work does not change it."""

LIMIT_GIB = 8
"""Of address space for the same: where it runs out the compile ends, and not another process of the computer."""

KEPT_PROBLEMS = 1
"""Sentences of a refusal that a card repeats."""


def measure(name: str, combination: Combination, limit_seconds: int = LIMIT_SECONDS) -> dict[str, Any]:
    """The record of one combination for the card of `name`; of one that is refused, why.

    Large ones are compiled by a process of their own, whose peak of memory is theirs.
    """
    if combination.size == "tiny":
        return {**asdict(combination), **compile_combination(name, combination)}
    words = [str(value) for value in (limit_seconds, name, *asdict(combination).values())]
    command = [sys.executable, "-m", "modelzoo.measurement", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == -signal.SIGXCPU:
        return {**asdict(combination), "refused": f"the compiler had not finished after {limit_seconds} s"}
    if result.returncode != 0:
        ended = result.stderr.strip().splitlines() or [f"the compiler ended with status {result.returncode}"]
        return {**asdict(combination), "refused": ended[-1]}
    return {**asdict(combination), **json.loads(result.stdout.splitlines()[-1])}


def compile_combination(name: str, combination: Combination) -> dict[str, Any]:
    """Compile in this process. Processor time and memory are of this computer; the rest follows from the model."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        spec, request = what_to_compile(name, combination, Path(folder))
        try:
            return compile_measured(spec, request)[1]
        except SncError as error:
            return {"parameters": _parameters(spec), "refused": _short(error), **_host(began)}
        except MemoryError:
            refused = f"the compiler needs more than {LIMIT_GIB} GiB of the computer's memory"
            return {"parameters": _parameters(spec), "refused": refused, **_host(began)}


def what_to_compile(name: str, combination: Combination, folder: Path) -> tuple[ModelSpec, CompileRequest]:
    """A combination as the compiler takes it; sizes other than tiny have no weights."""
    spec = find(name).spec(
        combination.size,
        training=combination.mode == "training",
        batch=combination.batch,
        length=combination.length,
        content=combination.size == "tiny",
    )
    request = CompileRequest(
        name,
        inference=combination.mode != "training",
        batch_size=combination.batch,
        output_folder=folder,
        arch=combination.machine,
    )
    return spec, request


def compile_measured(spec: ModelSpec, request: CompileRequest) -> tuple[CompileResult, dict[str, Any]]:
    """Compile, and say what there is to say about the result. Raises SncError."""
    with _on_one_core():
        began = time.process_time()
        result = compile_spec(spec, request)
        host = _host(began)
    report = simulate(result.decoded, range(len(result.pef.sections)))
    return result, {
        "parameters": _parameters(spec),
        "sections": len(result.pef.sections),
        "configurations": len(result.pef.configurations),
        "pef_bytes": result.pef_path.stat().st_size,
        "simulated_us": round(report.us(report.cycles), 1),
        "roofline_us": round(report.us(roofline_cycles(report, result.pef)), 1),
        **host,
    }


@contextmanager
def _on_one_core() -> Iterator[None]:
    """Where there is one core, the compiler starts no processes, whose time and memory would be missing."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _parameters(spec: ModelSpec) -> int:
    return sum(parameter.numel() for parameter in spec.model.parameters())


def _host(began: float) -> dict[str, Any]:
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"processor_seconds": round(time.process_time() - began, 1), "host_peak_mib": peak_bytes >> 20}


def _short(error: SncError) -> str:
    kept = "; ".join(problem.message for problem in error.problems[:KEPT_PROBLEMS])
    more = len(error.problems) - KEPT_PROBLEMS
    return f"{error.code}: {kept}" + (f" (and {more} more)" if more > 0 else "")


def main(words: list[str]) -> None:
    """The command line of a measuring process."""
    limit, name, size, mode, batch, length, machine = words
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_GIB << 30, resource.RLIM_INFINITY))
    combination = Combination(size, mode, int(batch), None if length == "None" else int(length), machine)
    print(json.dumps(compile_combination(name, combination)))


if __name__ == "__main__":
    main(sys.argv[1:])
