"""Compiling a model, as a recipe: load, capture, improve, map, check, write."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.rdu.avoid import without
from backends.rdu.compile import BackendOptions, compile_program, estimate_cycles
from backends.rdu.fuse.rules_file import Rule, read_rules
from backends.rdu.machine import load_machine
from backends.rdu.microbatches import Microbatches
from compiler.data_parallel import with_reduction
from compiler.pass_manager import PassManager, PassTiming
from compiler.passes import standard_pipeline
from compiler.passes.precision import PRESETS, round_values
from ir.digest import program_digest
from ir.errors import Problem, UsageError
from ir.graph import Program, SymbolKind
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
    from compiler.frontend.capture import Captured
    from compiler.frontend.model_file import ModelSpec
    from compiler.frontend.multigraph import ForwardGraph

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the compile that is behind."""

LEVELS = ("o0", "o1", "o3")
"""What becomes one section: an operator, what a rule fuses, or what is fastest by modelled time."""

_RECORDED = ("inference", "batch_size", "microbatch_size", "arch", "level", "preset", "seed", "replicas", "avoid")
"""What a PEF tells of the request for it."""

TOOLCHAIN_VERSION = "0.1.0"

log = logging.getLogger("snc")


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What to compile, for what machine, and where to put it. `model` is `model.py` or `model.py:name`.

    compare_presets: also plan, without placing, the model in the other precisions, for the report's advice.
    level: what becomes one section, o0, o1 or o3; optimization_rules: a file with rules for o1, which come before the
    default ones, or take their place.
    replicas: the fewest of a data parallel training run; None where it is not data parallel.
    avoid: hardware to map around, in the words of backends/rdu/avoid.py.
    microbatch_size: samples that stream through the fabric as one tile; None for what is fastest.
    """

    model: str
    inference: bool = False
    batch_size: int | None = None
    output_folder: Path = Path("out")
    pef_name: str | None = None
    arch: str = "sn30"
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

    def __post_init__(self) -> None:
        if self.replicas is not None and self.replicas < 1:
            raise UsageError(Problem(f"{self.replicas} replicas cannot train anything", hint="give -ws 2"))
        if self.microbatch_size is not None and not divides(self.microbatch_size, self.batch_size):
            what = f"a batch of {self.batch_size or 'unknown size'} has no microbatches of {self.microbatch_size}"
            raise UsageError(Problem(what, hint="give -b, and a -mb that divides it"))
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
        return BackendOptions(self.level == "o3", self.seed, self.replicas or 0, self._microbatches(), self.rules())

    def rules(self) -> tuple[Rule, ...] | None:
        """The rules of o1, None at other levels. Raises UsageError for a file that holds none."""
        return read_rules(self.optimization_rules, with_default=self.default_rules) if self.level == "o1" else None

    def _microbatches(self) -> Microbatches | None:
        """None also where a microbatch is the whole batch: that asks for nothing."""
        if self.microbatch_size is None or self.batch_size in (None, self.microbatch_size):
            return None
        return Microbatches(self.batch_size or 0, self.microbatch_size)

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
class CompileResult:
    """Where everything was written, and what the compiler knows about it.

    gains: modelled cycles of a whole step for each precision preset, by name, where it was asked to compare them.
    """

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


def divides(microbatch_size: int, batch_size: int | None) -> bool:
    """Whether a batch consists of whole microbatches."""
    return microbatch_size > 0 and bool(batch_size) and batch_size % microbatch_size == 0  # type: ignore[operator]


def compile_model(request: CompileRequest, progress: Progress = lambda what, done: None) -> CompileResult:
    """Compile a model file to a PEF with its initial weights beside it. Raises SncError; writes all files or none."""
    from compiler.frontend.model_file import load_model

    request.machine(), request.rules()  # wrong files are told before the long work
    progress("loading the model", 0.0)
    return compile_spec(load_model(request.model, request.batch_size, request.seed), request, progress)


def compile_spec(
    spec: ModelSpec,
    request: CompileRequest,
    progress: Progress = lambda what, done: None,
    metadata: Mapping[str, Any] | None = None,
) -> CompileResult:
    """Compile a live model; `metadata` goes into the PEF beside the compiler's own."""
    from compiler.frontend.reference import reference
    from compiler.frontend.survey import capture_or_explain

    with _alone_in(request.folder(spec.name)):
        progress("capturing the graph", 0.05)
        captured = capture_or_explain(spec, inference=request.inference, recompute=request.recomputes())
        expected = reference(spec, captured.program)
        return _compile_captured(captured, expected, spec.name, request, progress, metadata or {})


def compile_graphs(
    graphs: Sequence[ForwardGraph],
    name: str,
    request: CompileRequest,
    progress: Progress = lambda what, done: None,
    metadata: Mapping[str, Any] | None = None,
) -> CompileResult:
    """Compile several forward graphs of live models into one PEF; its metadata tells the symbols of each."""
    from compiler.frontend.multigraph import capture_graphs

    with _alone_in(request.folder(name)):
        progress("capturing the graphs", 0.05)
        captured, layout = capture_graphs(graphs, name)
        return _compile_captured(captured, {}, name, request, progress, {"graphs": layout, **(metadata or {})})


def _alone_in(folder: Path) -> AbstractContextManager[None]:
    """Hold the output folder from before the work until everything is written."""
    require_writable(folder / "pef")
    return only_writer(folder, "compiles into", "wait for it, or give another --pef-name or --output-folder")


def _compile_captured(
    captured: Captured,
    reference: Mapping[str, Array],
    model_name: str,
    request: CompileRequest,
    progress: Progress,
    metadata: Mapping[str, Any],
) -> CompileResult:
    outputs = any(symbol.kind is SymbolKind.OUTPUT for symbol in captured.program.symbols)
    if not outputs and not any(graph["outputs"] for graph in metadata.get("graphs", {}).values()):
        hint = "return a tensor from forward"
        raise UsageError(Problem(f"{model_name} returns no tensor: there is nothing to compute", hint=hint))
    machine = request.machine()
    written = captured.program if request.replicas is None else with_reduction(captured.program)
    progress("improving the graph", 0.3)
    manager = PassManager(standard_pipeline(request.preset), print_after=request.print_after)
    program = manager.run(written)
    values = round_values(program, captured.values)
    pef = compile_program(
        program,
        machine,
        request.backend_options(),
        header=_header(request, model_name, program, {**_starts(captured), **metadata}),
        progress=lambda what, done: progress(what, 0.35 + 0.55 * done),
    )
    weights = _weights(values)
    expected = npz_bytes(dict(sorted(reference.items()))) if reference else b""
    pef.header.program_sha256 = program_digest(program, values)
    seal(pef, sha256(weights).digest(), sha256(expected).digest() if expected else b"")
    progress("checking", 0.9)
    decoded = check(pef)
    gains = {}
    if request.compare_presets:
        progress("comparing precisions", 0.93)
        gains = _preset_gains(written, request, machine)
    progress("writing", 0.97)
    name = request.name(model_name)
    folder = request.folder(model_name)
    result = CompileResult(
        folder / f"{name}.pef",
        folder / f"{name}.safetensors",
        folder / f"{name}.reference.npz",
        folder / f"{name}.log",
        decoded,
        machine,
        program,
        tuple(manager.timings),
        gains,
    )
    _write(result, request, weights, expected)
    progress("done", 1.0)
    return result


def _weights(values: Mapping[str, Array]) -> bytes:
    """The initial values as a safetensors file."""
    from safetensors.numpy import save

    content: bytes = save({name: np.asarray(array, order="C") for name, array in sorted(values.items())})
    return content


def _starts(captured: Captured) -> dict[str, Any]:
    """What a PEF tells of how to start: the outputs that training starts from, and the hyper-parameters."""
    hyper = [symbol.name for symbol in captured.program.symbols if symbol.kind is SymbolKind.HYPER]
    return {"losses": list(captured.losses), "hyper": {name: captured.values[name].item() for name in hyper}}


def _header(request: CompileRequest, model_name: str, program: Program, metadata: Mapping[str, Any]) -> dict[str, Any]:
    asked = asdict(request)
    options = {name: asked[name] for name in _RECORDED}
    options["rules"] = [rule.label for rule in request.rules() or ()]
    inputs = {s.name: list(s.type.shape) for s in program.symbols if s.kind is SymbolKind.INPUT}
    return {
        "name": request.pef_name or model_name,
        "toolchain_version": TOOLCHAIN_VERSION,
        "options_json": options,
        "metadata_json": {"model": model_name, "inputs": inputs, **metadata},
    }


def _preset_gains(program: Program, request: CompileRequest, machine: Machine) -> dict[str, float]:
    """Modelled cycles of a whole step under every precision preset, as the planner sees them before placement."""
    gains = {}
    for preset in PRESETS:
        variant = PassManager(standard_pipeline(preset)).run(program)
        gains[preset] = estimate_cycles(variant, machine, request.backend_options())
    return gains


def _write(result: CompileResult, request: CompileRequest, weights: bytes, reference: bytes) -> None:
    """Write everything as one. The PEF comes last: it holds the hashes of the weights and of the reference.

    Where there is no reference, that of an earlier compile goes.
    """
    contents = {
        result.weights_path: weights,
        result.reference_path: reference,
        result.log_path: _log(result, request),
        result.pef_path: pef_file.encoded(result.pef),
    }
    if not reference:
        del contents[result.reference_path]
        result.reference_path.unlink(missing_ok=True)
    with writing_together(list(contents)) as files:
        for file, content in zip(files, contents.values()):
            file.write(content)
    log.info("wrote %s", result.pef_path)


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
