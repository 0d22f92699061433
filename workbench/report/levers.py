"""The next action: what a user can change, compiled in the estimate before it is named.

A lever is an option of `snc compile`. Each is tried alone, from the model's own graph: captured once per batch size,
planned by the same cut as a compile, neither placed nor routed. What brings less than `WORTHWHILE` is no advice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from backends.rdu.compile import estimate_cycles
from compiler.data_parallel import with_reduction
from compiler.driver import CompileRequest, Progress, divides
from compiler.pass_manager import PassManager
from ir.errors import Problem, SncError, UsageError
from ir.graph import Program, SymbolKind
from pef import pef_pb2 as pb
from pef.codec import encode_type
from pef.machine import Machine
from workbench.report.considered import considered

WORTHWHILE = 1.05
"""Times as fast per sample: less is within what the estimate is off by."""
LARGER_BATCHES = (2, 8)
UNKNOWN_BATCH = "The batch was not tried: compile with -b, so that a larger one is known."
MACHINES = ("sn10", "sn30", "sn40l")

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lever:
    """One option changed: how it is written, what it says, what else it changes, and the compile it stands for."""

    option: str
    sentence: str
    note: str
    request: CompileRequest
    is_action: bool = True


def levers(pef: pb.Pef, model: str, progress: Progress = lambda what, done: None) -> Facts:
    """`levers`: those that were tried, in estimated times per sample, and which of them to take next. `considered`:
    what the cut weighed against the sections of the PEF.

    Raises UsageError where `model` is not what the PEF was compiled from, SncError where it cannot be captured.
    """
    progress("capturing the model", 0.0)
    request = request_of(pef, model)
    target = request.target()
    trial = Trial()
    _require_same(pef, trial.program(request), model)
    improved = trial.improved(request)
    baseline = estimate_cycles(improved, target.machine, target.options)
    samples = request.batch_size or 1
    tried = []
    planned = list(candidates(request))
    for number, lever in enumerate(planned):
        progress(f"trying {lever.option}", (1 + number) / (1 + len(planned)))
        tried.append((lever, _tried(trial, lever, baseline / samples, target.machine)))
    worthwhile = [
        number
        for number, (lever, found) in enumerate(tried)
        if lever.is_action and found["cycles"] is not None and found["speedup"] >= WORTHWHILE
    ]
    return {
        "considered": considered(improved, target.machine, target.options),
        "levers": {
            "cycles": baseline,
            "cycles_per_sample": baseline / samples,
            "tried": [found for _, found in tried],
            "remark": "" if request.batch_size else UNKNOWN_BATCH,
            "action": max(worthwhile, key=lambda number: tried[number][1]["speedup"], default=None),
        },
    }


def request_of(pef: pb.Pef, model: str) -> CompileRequest:
    """The compile that made a PEF."""
    options = json.loads(pef.header.options_json or "{}")
    known = (
        "inference", "batch_size", "microbatch_size", "arch", "level", "preset", "seed", "replicas",
        "separate_optimizer",
    )  # fmt: skip
    given = {name: options[name] for name in known if name in options}
    return CompileRequest(model, avoid=tuple(options.get("avoid", ())), **given)


def candidates(request: CompileRequest) -> Iterator[Lever]:
    """Every lever for a compile, one option each."""
    if request.level != "o3":
        yield Lever("--o3", "let the optimiser choose the sections", "", replace(request, level="o3"))
    for preset in ("mp1", "mp4"):
        if request.preset not in (preset, "mp4"):
            what = {"mp1": "read matrix products in bf16", "mp4": "compute everything in bf16"}[preset]
            note = "Numbers change: bf16 keeps 8 significant bits."
            yield Lever(f"--graphamp-preset {preset}", f"{what}.", note, replace(request, preset=preset))
    if request.batch_size is not None:
        for factor in LARGER_BATCHES:
            batch = request.batch_size * factor
            note = "A step takes longer, and an epoch has fewer of them." if not request.inference else ""
            note = note or "A request waits for the whole batch."
            yield Lever(f"-b {batch}", f"{factor} times the batch.", note, replace(request, batch_size=batch))
        for parts in (2, 8):
            size = request.batch_size // parts
            if (
                divides(size, request.batch_size)
                and request.microbatch_size is None
                and size * parts == request.batch_size
            ):
                changed = replace(request, microbatch_size=size)
                yield Lever(f"-b {request.batch_size} -mb {size}", f"stream microbatches of {size}.", "", changed)
    for arch in MACHINES:
        if request.arch != arch:
            yield Lever(
                f"--arch {arch}",
                f"another machine, {arch.upper()}.",
                "Another machine.",
                replace(request, arch=arch),
                False,
            )


class Trial:
    """Estimates; what is captured for one batch size serves all options."""

    def __init__(self) -> None:
        self._captured: dict[tuple[int | None, bool], Program] = {}

    def program(self, request: CompileRequest) -> Program:
        """The graph of a model before any pass, gradients averaged where replicas are asked for."""
        from compiler.frontend.capture import capture
        from compiler.frontend.model_file import load_model

        key = request.batch_size, request.recomputes()
        if key not in self._captured:
            spec = load_model(request.model, request.batch_size, request.seed)
            captured = capture(spec, inference=request.inference, recompute=request.recomputes())
            program = captured.program
            self._captured[key] = program if request.replicas is None else with_reduction(program)
        return self._captured[key]

    def improved(self, request: CompileRequest) -> Program:
        """The graph as it is mapped."""
        return request.mapped(PassManager(request.pipeline()).run(self.program(request)))


def _tried(trial: Trial, lever: Lever, cycles_per_sample: float, machine: Machine) -> Facts:
    """What came of a lever, in cycles of `machine`, whatever machine it asks for."""
    facts: Facts = {"option": lever.option, "sentence": lever.sentence, "note": lever.note, "cycles": None}
    try:
        target = lever.request.target()
        cycles = estimate_cycles(trial.improved(lever.request), target.machine, target.options)
    except SncError as error:
        return {**facts, "note": f"does not compile: {error.problems[0].message}"}
    scale = machine.clock_ghz / target.machine.clock_ghz
    own = cycles * scale / (lever.request.batch_size or 1)
    return {**facts, "cycles": cycles * scale, "cycles_per_sample": own, "speedup": cycles_per_sample / own}


def _require_same(pef: pb.Pef, program: Program, model: str) -> None:
    """Raises UsageError unless parameters and inputs of the two agree."""
    kinds = (SymbolKind.PARAMETER, SymbolKind.INPUT)
    own = {s.name: encode_type(s.type).shape for s in program.symbols if s.kind in kinds}
    recorded = {s.name: s.type.shape for s in pef.symbols if s.kind in {kind.value for kind in kinds}}
    differing = sorted(n for n in own.keys() | recorded.keys() if list(own.get(n, ())) != list(recorded.get(n, ())))
    if differing:
        hint = "give the model that the PEF was compiled from"
        raise UsageError(Problem(f"{model} is not the model of this PEF: {differing[0]!r} differs", hint=hint))
