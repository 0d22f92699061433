"""Compiling a model, as a recipe: load, capture, improve, map, check, write."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.rdu.avoid import without
from backends.rdu.compile import BUDGETS, BackendOptions, Placer, advance, emit_program, estimate_cycles
from backends.rdu.fuse.rules_file import Rule, read_rules
from backends.rdu.machine import load_machine
from backends.rdu.microbatches import Microbatches
from backends.rdu.place.place import place
from backends.rdu.plan import Plan, Step
from compiler.convention import example
from compiler.data_parallel import with_reduction
from compiler.dumps import Origin, read_dump, write_dump
from compiler.pass_manager import PassManager, PassTiming, parse_pipeline
from compiler.passes import Pass, standard_pipeline
from compiler.passes.precision import PRESETS, round_values
from compiler.update_fusion import fused_where_it_pays
from ir.digest import program_digest
from ir.errors import Problem, UsageError
from ir.graph import Program, SymbolKind
from ir.version import VERSION
from pef import file as pef_file
from pef import pef_pb2 as pb
from pef.belonging import seal
from pef.check import check
from pef.decoded_pef import DecodedPef
from pef.files import require_file_name, require_writable
from pef.locks import only_writer
from pef.machine import Machine
from pef.npz import npz_bytes
from pef.transaction import writing_together

if TYPE_CHECKING:
    from compiler.frontend.assemble import Captured
    from compiler.frontend.model_file import ModelSpec
    from compiler.frontend.multigraph import ForwardGraph

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the compile that is behind."""

LEVELS = ("o0", "o1", "o3")
"""What becomes one section: an operator, what a rule fuses, or what is fastest by modelled time."""

_RECORDED = (
    "inference", "batch_size", "microbatch_size", "arch", "level", "preset", "seed", "replicas", "avoid",
    "separate_optimizer",
)  # fmt: skip
"""What a PEF tells of the request for it."""

log = logging.getLogger("snc")


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What to compile, for what machine, and where to put it. `model` is `model.py` or `model.py:name`.

    compare_presets: also plan, without placing, the model in the other precisions, for the report's advice.
    level: what becomes one section, o0, o1 or o3; optimization_rules: a file with rules for o1, which come before the
    default ones, or take their place.
    replicas: the fewest of a data parallel training run; None where it is not data parallel.
    avoid: hardware to map around, in the words of backends/rdu/avoid.py.
    separate_optimizer: keep BCKWD and OPT apart, for a host that runs them apart or looks at gradients; else o3 updates
    each parameter behind its gradient (BCKWD_OPT) where nothing stands between and much is moved for parameters.
    microbatch_size: samples that stream through the fabric as one tile; None for what is fastest.
    arch: a machine's name, the path of a file that describes one, or a machine.
    passes: the passes to run, also as text such as `canonicalize,precision{preset=mp4}`; None for the usual ones.
    budgets: the shares of the machine's units that sections may plan with, tried in turn; placer: gives units their
    sites.
    dump_after: steps of the mapping after which to write what is decided into `<name>.<step>` beside the PEF;
    start_from: such a folder, to go on from instead of from a model.
    """

    model: str
    inference: bool = False
    batch_size: int | None = None
    output_folder: Path = Path("out")
    pef_name: str | None = None
    arch: str | Machine = "sn30"
    level: str = "o3"
    preset: str = "mp0"
    seed: int = 0
    print_after: tuple[str, ...] = ()
    compare_presets: bool = False
    replicas: int | None = None
    microbatch_size: int | None = None
    optimization_rules: Path | None = None
    default_rules: bool = True
    avoid: tuple[str, ...] = ()
    separate_optimizer: bool = False
    passes: str | tuple[Pass, ...] | None = None
    budgets: tuple[float, ...] = BUDGETS
    placer: Placer = place
    dump_after: tuple[Step, ...] = ()
    start_from: Path | None = None

    def __post_init__(self) -> None:
        if self.replicas is not None and self.replicas < 1:
            raise UsageError(Problem(f"{self.replicas} replicas cannot train anything", hint="give -ws 2"))
        if self.microbatch_size is not None and not divides(self.microbatch_size, self.batch_size):
            what = f"a batch of {self.batch_size or 'unknown size'} has no microbatches of {self.microbatch_size}"
            raise UsageError(Problem(what, hint="give -b, and a -mb that divides it"))
        if not self.budgets or not all(0 < budget <= 1 for budget in self.budgets):
            what = f"the budgets are {self.budgets}, but a share of the machine is above 0 and at most 1"
            raise UsageError(Problem(what, hint="give shares to try in turn, such as (0.9, 0.5)"))
        if self.level not in LEVELS:
            hint = f"use one of {', '.join(LEVELS)}"
            raise UsageError(Problem(f"there is no optimisation level {self.level!r}", hint=hint))
        if self.optimization_rules is not None and self.level != "o1":
            hint = "give --o1, which fuses by rules, or leave the rules out"
            raise UsageError(Problem(f"{self.optimization_rules}: --{self.level} takes no rules", hint=hint))
        if self.pef_name is not None:
            require_file_name(self.pef_name)
        if self.preset not in PRESETS:
            hint = f"use one of {', '.join(PRESETS)}"
            raise UsageError(Problem(f"there is no precision preset {self.preset!r}", hint=hint))

    def backend_options(self) -> BackendOptions:
        """What the mapping depends on beside the machine."""
        fuse = self.level == "o3"
        return BackendOptions(
            fuse, self.seed, self.replicas or 0, self._microbatches(), self.rules(), self.budgets, self.placer
        )

    def target(self) -> Target:
        """Everything that the request's files and options say, read once. Raises as `machine`, `rules`, `pipeline`."""
        return Target(self.machine(), self.backend_options(), self.pipeline())

    def pipeline(self) -> tuple[Pass, ...]:
        """The passes to run. Raises UsageError for text that names none."""
        if self.passes is None:
            return standard_pipeline(self.preset)
        return parse_pipeline(self.passes) if isinstance(self.passes, str) else self.passes

    def rules(self) -> tuple[Rule, ...] | None:
        """The rules of o1, None at other levels. Raises UsageError for a file that holds none."""
        return read_rules(self.optimization_rules, with_default=self.default_rules) if self.level == "o1" else None

    def _microbatches(self) -> Microbatches | None:
        """None also where a microbatch is the whole batch: that asks for nothing."""
        if self.microbatch_size is None or self.batch_size in (None, self.microbatch_size):
            return None
        return Microbatches(self.batch_size or 0, self.microbatch_size)

    def mapped(self, program: Program) -> Program:
        """The program as it is mapped. At o0 and o1 the update of a parameter is a section of its own anyway."""
        return program if self.level != "o3" or self.separate_optimizer else fused_where_it_pays(program)

    def recomputes(self) -> bool:
        """Whether the backward pass computes values again. At o0 and o1 it never pays: what a section makes, repeated
        or not, is written to memory for the next."""
        return self.level == "o3"

    def machine(self) -> Machine:
        """The machine to map onto, without what is to be avoided.

        Raises MachineError for a file that does not describe one, or where nothing is left, UsageError for names of
        hardware that it does not have.
        """
        return without(load_machine(self.arch), self.avoid)

    def folder(self, model_name: str) -> Path:
        """Where the PEF and everything that belongs to it go."""
        return Path(self.output_folder) / self.name(model_name)

    def name(self, model_name: str) -> str:
        """What the PEF and its folder are called. Raises UsageError for a name that cannot be a file's."""
        return require_file_name(self.pef_name or model_name)


@dataclass(frozen=True, slots=True)
class Target:
    """What a program is compiled for: the machine, how it is mapped, and the passes before."""

    machine: Machine
    options: BackendOptions
    passes: tuple[Pass, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled model that is written nowhere yet.

    gains: modelled cycles of a whole step for each precision preset, by name, where it was asked to compare them.
    """

    decoded: DecodedPef
    machine: Machine
    origin: Origin
    pass_timings: tuple[PassTiming, ...] = ()
    gains: Mapping[str, float] = field(default_factory=dict)

    @property
    def pef(self) -> pb.Pef:
        """The PEF."""
        return self.decoded.record


@dataclass(frozen=True, slots=True)
class CompileResult:
    """Where everything was written, and what the compiler knows about it. `gains` are those of `Built`."""

    pef_path: Path
    weights_path: Path
    reference_path: Path
    log_path: Path
    decoded: DecodedPef
    machine: Machine
    program: Program
    pass_timings: tuple[PassTiming, ...]
    gains: Mapping[str, float] = field(default_factory=dict)

    @property
    def pef(self) -> pb.Pef:
        """The PEF as it is in the file."""
        return self.decoded.record


@dataclass(frozen=True, slots=True)
class _Start:
    """Where the mapping begins: after the passes, or from a dump. `written` is the program before the passes."""

    origin: Origin
    plan: Plan
    machine: Machine
    options: BackendOptions
    pass_timings: tuple[PassTiming, ...] = ()
    written: Program | None = None


def divides(microbatch_size: int, batch_size: int | None) -> bool:
    """Whether a batch consists of whole microbatches."""
    return microbatch_size > 0 and bool(batch_size) and batch_size % microbatch_size == 0  # type: ignore[operator]


def compile_model(request: CompileRequest, progress: Progress = lambda what, done: None) -> CompileResult:
    """Compile a model file to a PEF with its initial weights beside it, or take a dump on to one. Raises SncError;
    writes all files or none."""
    with _started(request, progress) as (name, start):
        return _written(_build(start, request, name, progress), name, request, progress)


def dump_model(request: CompileRequest, last: Step, progress: Progress = lambda what, done: None) -> list[Path]:
    """Compile as far as the end of the step `last`; the folders of its dump and of those asked for. No PEF is made."""
    steps = [step for step in Step if last.includes(step) and (step is last or step in request.dump_after)]
    with _started(request, progress) as (name, start):
        return _advance(start, steps, request, name, progress)


@contextmanager
def _started(request: CompileRequest, progress: Progress) -> Iterator[tuple[str, _Start]]:
    """The name of what is compiled and where its mapping begins, with the output folder held."""
    if request.start_from is not None:
        start = _start_from(request.start_from, request)
        with alone_in(request.folder(start.origin.name)):
            yield start.origin.name, start
        return
    target = request.target()  # read the files first: capturing a model takes much longer
    spec = _load(request, progress)
    with alone_in(request.folder(spec.name)):
        yield spec.name, _start_spec(spec, request, target, progress, {})


def _without_optimizer(spec: ModelSpec) -> str:
    """What a training PEF of a file without an optimizer lacks."""
    what = "the PEF computes gradients, but updates no parameters: the file defines no optimizer"
    return f"note: {spec.file.name}: {what}\n    try: `{example('optimizer')}`, or compile with --inference"


def compile_spec(
    spec: ModelSpec,
    request: CompileRequest,
    progress: Progress = lambda what, done: None,
    metadata: Mapping[str, Any] | None = None,
) -> CompileResult:
    """Compile a live model; `metadata` goes into the PEF beside the compiler's own."""
    with alone_in(request.folder(spec.name)):
        return _written(build_spec(spec, request, progress, metadata), spec.name, request, progress)


def build_spec(
    spec: ModelSpec,
    request: CompileRequest,
    progress: Progress = lambda what, done: None,
    metadata: Mapping[str, Any] | None = None,
) -> Built:
    """Compile a live model and write nothing but the dumps asked for."""
    return _build(_start_spec(spec, request, request.target(), progress, metadata or {}), request, spec.name, progress)


def compile_graphs(
    graphs: Sequence[ForwardGraph],
    name: str,
    request: CompileRequest,
    progress: Progress = lambda what, done: None,
    metadata: Mapping[str, Any] | None = None,
) -> CompileResult:
    """Compile several forward graphs of live models into one PEF; its metadata tells the symbols of each."""
    from compiler.frontend.multigraph import capture_graphs

    with alone_in(request.folder(name)):
        target = request.target()
        progress("capturing the graphs", 0.05)
        captured, layout = capture_graphs(graphs, name)
        start = _start(captured, {}, name, request, target, progress, {"graphs": layout, **(metadata or {})})
        return _written(_build(start, request, name, progress), name, request, progress)


def _load(request: CompileRequest, progress: Progress) -> ModelSpec:
    from compiler.frontend.model_file import load_model

    progress("loading the model", 0.0)
    spec = load_model(request.model, request.batch_size, request.seed, inference=request.inference)
    if spec.optimizer is None and not request.inference:
        log.warning("%s", _without_optimizer(spec))
    return spec


def alone_in(folder: Path) -> AbstractContextManager[None]:
    """Hold the output folder from before the work until everything is written."""
    require_writable(folder / "pef")
    return only_writer(folder, "compiles into", "wait for it, or give another --pef-name or --output-folder")


def _start_from(folder: Path, request: CompileRequest) -> _Start:
    """A dump, whose program and machine are what they were when it was written."""
    origin, plan, machine, options = read_dump(folder)
    return _Start(origin, plan, machine, replace(options, placer=request.placer))


def _start_spec(
    spec: ModelSpec, request: CompileRequest, target: Target, progress: Progress, metadata: Mapping[str, Any]
) -> _Start:
    from compiler.frontend.capture import capture
    from compiler.frontend.reference import reference

    progress("capturing the graph", 0.05)
    captured = capture(spec, inference=request.inference, recompute=request.recomputes())
    return _start(captured, reference(spec, captured.program), spec.name, request, target, progress, metadata)


def _start(
    captured: Captured,
    reference: Mapping[str, Array],
    model_name: str,
    request: CompileRequest,
    target: Target,
    progress: Progress,
    metadata: Mapping[str, Any],
) -> _Start:
    """A captured model after all passes."""
    outputs = any(symbol.kind is SymbolKind.OUTPUT for symbol in captured.program.symbols)
    if not outputs and not any(graph["outputs"] for graph in metadata.get("graphs", {}).values()):
        hint = "return a tensor from forward"
        raise UsageError(Problem(f"{model_name} returns no tensor: there is nothing to compute", hint=hint))
    written = captured.program if request.replicas is None else with_reduction(captured.program)
    progress("improving the graph", 0.3)
    manager = PassManager(target.passes, print_after=request.print_after)
    program = request.mapped(manager.run(written))
    origin = Origin(
        program,
        _header(request, target, program, {"model": model_name, **_starts(captured), **metadata}),
        round_values(program, captured.values),
        npz_bytes(dict(sorted(reference.items()))) if reference else b"",
    )
    timings = tuple(manager.timings)
    return _Start(origin, Plan.of(program), target.machine, target.options, timings, written)


def _advance(
    start: _Start, steps: Sequence[Step], request: CompileRequest, model_name: str, progress: Progress
) -> list[Path]:
    """Take the plan on to each of these steps and dump it there."""
    folders = []
    for step in steps:
        advance(start.plan, start.machine, start.options, step, progress=_mapping(progress))
        folder = request.folder(model_name) / f"{request.name(model_name)}.{step.value}"
        folders.append(write_dump(folder, start.origin, start.plan, start.machine, start.options, step))
    return folders


def _mapping(progress: Progress) -> Progress:
    """The share of a compile that mapping takes."""
    return lambda what, done: progress(what, 0.35 + 0.55 * done)


def _build(start: _Start, request: CompileRequest, model_name: str, progress: Progress) -> Built:
    """Map what is left to map; the checked PEF, with the hashes of the files that belong to it."""
    origin = start.origin
    _advance(start, [step for step in Step if step in request.dump_after], request, model_name, progress)
    advance(start.plan, start.machine, start.options, progress=_mapping(progress))
    pef = emit_program(start.plan, start.machine, start.options, origin.header)
    pef.header.program_sha256 = program_digest(origin.program, origin.values)
    seal(pef, sha256(origin.weights).digest(), sha256(origin.reference).digest() if origin.reference else b"")
    progress("checking", 0.9)
    decoded = check(pef)
    gains = {}
    if request.compare_presets and start.written is not None:
        progress("comparing precisions", 0.93)
        gains = _preset_gains(start.written, request, start.machine, start.options)
    return Built(decoded, start.machine, origin, start.pass_timings, gains)


def _starts(captured: Captured) -> dict[str, Any]:
    """What a PEF tells of how to start: the outputs that training starts from, and the hyper-parameters."""
    hyper = [symbol.name for symbol in captured.program.symbols if symbol.kind is SymbolKind.HYPER]
    return {"losses": list(captured.losses), "hyper": {name: captured.values[name].item() for name in hyper}}


def _header(request: CompileRequest, target: Target, program: Program, metadata: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: getattr(request, name) for name in _RECORDED}
    options["arch"] = request.arch.name if isinstance(request.arch, Machine) else request.arch
    options["rules"] = [rule.label for rule in target.options.rules or ()]
    inputs = {s.name: list(s.type.shape) for s in program.symbols if s.kind is SymbolKind.INPUT}
    return {
        "name": request.name(metadata["model"]),
        "toolchain_version": VERSION,
        "options_json": options,
        "metadata_json": {"inputs": inputs, **metadata},
    }


def _preset_gains(
    program: Program, request: CompileRequest, machine: Machine, options: BackendOptions
) -> dict[str, float]:
    """Modelled cycles of a whole step under every precision preset, as the planner sees them before placement."""
    gains = {}
    for preset in PRESETS:
        variant = request.mapped(PassManager(standard_pipeline(preset)).run(program))
        gains[preset] = estimate_cycles(variant, machine, options)
    return gains


def _written(built: Built, model_name: str, request: CompileRequest, progress: Progress) -> CompileResult:
    progress("writing", 0.97)
    result = write_built(built, request, request.folder(model_name), request.name(model_name))
    progress("done", 1.0)
    return result


def write_built(built: Built, request: CompileRequest, folder: Path, name: str) -> CompileResult:
    """Write everything as one, into a folder that is held by `alone_in`. The PEF comes last: it holds the hashes of the
    weights and of the reference.

    Where there is no reference, that of an earlier compile goes.
    """
    result = CompileResult(
        folder / f"{name}.pef",
        folder / f"{name}.safetensors",
        folder / f"{name}.reference.npz",
        folder / f"{name}.log",
        built.decoded,
        built.machine,
        built.origin.program,
        built.pass_timings,
        built.gains,
    )
    contents = {
        result.weights_path: built.origin.weights,
        result.reference_path: built.origin.reference,
        result.log_path: _log(result, request),
        result.pef_path: pef_file.encoded(result.pef),
    }
    if not built.origin.reference:
        del contents[result.reference_path]
        result.reference_path.unlink(missing_ok=True)
    with writing_together(list(contents)) as files:
        for file, content in zip(files, contents.values()):
            file.write(content)
    log.info("wrote %s", result.pef_path)
    return result


def _log(result: CompileResult, request: CompileRequest) -> bytes:
    lines = [f"request {json.dumps(asdict(request), default=str)}"]
    lines += [
        f"pass {timing.name}: {timing.seconds * 1e3:.1f} ms, {timing.nodes} nodes" for timing in result.pass_timings
    ]
    for section in result.pef.sections:
        lines.append(
            f"section {section.name} configuration {section.configuration} {section.prediction}".replace("\n", " ")
        )
    return ("\n".join(lines) + "\n").encode()
