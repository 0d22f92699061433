"""What `snrun` does, in order."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ir.ending import show_messages
from ir.errors import NodeError, Problem, UsageError
from ir.graph import SymbolKind
from ir.op import Array
from pef.belonging import REFERENCE, require_own
from pef.belonging import WEIGHTS as WEIGHTS_FILE
from pef.exchange import Replicas
from pef.files import require_writable
from pef.locks import only_writer
from pef.npz import read_npz, write_npz
from pef.reference import outputs_of
from pef.wording import listed
from runtime.files.checkpoint import Progress, resume, write_checkpoint
from runtime.files.data import DataSet
from runtime.files.safetensors_file import decode_safetensors, read_file
from runtime.files.weights import read_weights
from runtime.node.words import GRES, gres
from runtime.session import WEIGHTS, Session
from runtime.snrun.compare import compare, usual_tolerance
from runtime.snrun.console import Console, progress
from runtime.snrun.infer import infer
from runtime.snrun.termination import Termination
from runtime.snrun.train import Training, loss_name, require_training

if TYPE_CHECKING:
    from runtime.timing import Report


@dataclass(frozen=True)
class Options:
    """The command line of `snrun`."""

    pef: Path
    data: Path | None
    weights: Path | None
    output: Path | None
    hyper: dict[str, float]
    train: bool
    steps: int | None
    epochs: int | None
    seed: int | None
    log_every: int
    checkpoint_every: int | None
    checkpoint_dir: Path | None
    resume: Path | None
    accept_recompiled: bool
    test: bool
    reference: Path | None
    rtol: float | None
    atol: float | None
    profile: bool
    trace: Path | None
    timing_only: bool
    world_size: int | None
    reduce_on_rdu: bool
    wait: float | None
    gres: str | None
    threads: int | None
    strict: bool
    top: int
    as_json: bool
    verbose: bool
    quiet: bool


def execute(options: Options) -> bool:
    """Run the command; whether every comparison asked for passed. Raises SncError for what stands in the way."""
    _check(options)
    for path in _results(options):
        require_writable(path)
    show_messages(options.verbose)
    _say_to_node(options)
    console = Console(options.as_json, options.quiet, options.verbose)
    session = Session(options.pef, options.threads, options.strict)
    console.describe(session)
    passed = True
    termination = Termination()
    if not options.timing_only:
        recorded = _load(session, options, console)
        if options.train:
            _train(session, options, console, recorded, termination)
        else:
            passed = _infer(session, options, console, recorded)
    if (options.profile or options.trace is not None or options.timing_only) and not termination.asked:
        _time(session, options, console)
    session.close()
    console.finish()
    termination.follow()
    return passed


def _say_to_node(options: Options) -> None:
    """What the command line asks of a node's daemon, where SambaFlow programs say it too."""
    wanted = {"SNC_NODE_WAIT": options.wait, GRES: options.gres}
    os.environ.update({name: str(value) for name, value in wanted.items() if value is not None})


def _check(options: Options) -> None:
    """Raises UsageError for options that contradict one another."""
    problems = []
    if options.train and not options.timing_only and options.steps is None and options.epochs is None:
        problems.append(Problem("--train needs to know when to stop", hint="give --steps N or --epochs N"))
    if options.steps is not None and options.epochs is not None:
        problems.append(Problem("--steps and --epochs contradict each other", hint="give one of them"))
    training = {"--steps": options.steps, "--epochs": options.epochs, "--resume": options.resume}
    training |= {"--checkpoint-every": options.checkpoint_every, "--seed": options.seed}
    if not options.train:
        given = [name for name, value in training.items() if value is not None]
        problems += [Problem(f"{name} is for training", hint="add --train") for name in given]
    if options.gres is not None:
        gres(options.gres)
    if options.accept_recompiled and options.resume is None:
        problems.append(Problem("--accept-recompiled is about the checkpoint of --resume", hint="add --resume FILE"))
    if options.train and (options.test or options.reference):
        problems.append(Problem("--test compares the outputs of inference", hint="leave out --train"))
    if options.timing_only and options.test:
        problems.append(Problem("--timing-only computes no outputs to test", hint="leave out one of the two"))
    if options.strict and options.timing_only:
        problems.append(Problem("--timing-only computes no numbers, strictly or not", hint="leave out one of the two"))
    if options.strict and options.threads is not None:
        problems.append(Problem("--strict runs on one thread", hint="leave out --threads"))
    if options.world_size and not (options.profile or options.trace or options.timing_only):
        problems.append(Problem("-ws is about simulated time", hint="add --profile, --trace or --timing-only"))
    if options.world_size and not options.train:
        problems.append(Problem("-ws is for training: replicas that only infer exchange nothing", hint="add --train"))
    if options.reduce_on_rdu and not options.world_size:
        problems.append(Problem("--reduce-on-rdu is about several replicas", hint="add -ws N"))
    UsageError.raise_if(problems)


def _results(options: Options) -> Iterator[Path]:
    """The files that the command is going to write."""
    if options.trace is not None:
        yield options.trace
    if options.train and not options.timing_only:
        yield _checkpoint(_checkpoint_folder(options), 0)
    elif not options.timing_only:
        yield _outputs_path(options)


def _outputs_path(options: Options) -> Path:
    return (options.output or options.pef.parent / "results") / f"{options.pef.stem}.npz"


def _checkpoint_folder(options: Options) -> Path:
    return options.checkpoint_dir or options.pef.parent / "checkpoints"


def _load(session: Session, options: Options, console: Console) -> dict[str, Array]:
    """Weights into the device; the inputs recorded beside the PEF, by name."""
    beside = options.pef.with_suffix(".safetensors")
    initial: dict[str, Array] = {}
    if os.path.lexists(beside):
        content = read_file(beside)
        require_own(session.pef, WEIGHTS_FILE, beside, content)
        initial = decode_safetensors(beside, content)[0]
    session.load_weights(initial, strict=False)
    if options.weights is not None:
        given = read_weights(options.weights)
        _require_all(session, given, options.weights)
        unknown = [name for name in given if name not in session.symbols]
        session.load_weights({name: array for name, array in given.items() if name in session.symbols}, strict=False)
        if unknown:
            console.note(f"{options.weights} also holds {listed(unknown)}: not in the PEF, ignored")
    elif initial:
        console.fact("weights", f"{beside} (written by the compiler)", str(beside))
    if options.weights is not None:
        console.fact("weights", str(options.weights), str(options.weights))
    inputs = session.names(SymbolKind.INPUT, SymbolKind.OUTPUT_GRADIENT)
    return {name: initial[name] for name in inputs if name in initial}


def _require_all(session: Session, given: dict[str, Array], path: Path) -> None:
    """Raises UsageError where a file of weights lacks parameters or buffers of the model."""
    lacking = [name for name in session.names(*WEIGHTS[:2]) if name not in given]
    UsageError.raise_if([Problem(f"{path} lacks {name!r} ({session.symbols[name].type})") for name in lacking])


def _data(session: Session, options: Options, console: Console, recorded: dict[str, Array]) -> DataSet:
    given = read_npz(options.data, "data file") if options.data is not None else {}
    arrays = {name: _single(name, array, console) for name, array in given.items()}
    needed = session.names(SymbolKind.INPUT)
    filled = {name: recorded[name] for name in needed if name in recorded and name not in arrays}
    if not needed:
        source = "none needed"
    elif options.data is None:
        source = "recorded when the model was compiled" if filled else "none"
    else:
        source = str(options.data) + (f" (recorded: {', '.join(filled)})" if filled else "")
    data = DataSet.of({**arrays, **filled}, session)
    console.fact("inputs", f"{source}: {data.samples} samples, batch {data.batch}", source)
    return data


def _single(name: str, array: Array, console: Console) -> Array:
    if array.dtype != np.float64:
        return array
    console.note(f"{name!r} is float64: rounded to float32")
    return array.astype(np.float32)


def _infer(session: Session, options: Options, console: Console, recorded: dict[str, Array]) -> bool:
    expected = _reference(session, options) if options.test or options.reference else None
    data = _data(session, options, console, recorded)
    if data.samples % data.batch:
        console.note(f"the last batch holds {data.samples % data.batch} samples: filled up, and trimmed in the results")
    session.write_hyper(options.hyper)
    began = time.perf_counter()
    with progress(console, "samples", data.samples) as advance:
        outputs = infer(session, data, advance)
    console.host_time(time.perf_counter() - began, data.samples, "samples")
    path = _outputs_path(options)
    write_npz(path, outputs)
    console.results(path, outputs)
    if expected is None:
        return True
    usual = usual_tolerance(session.pef)
    rtol = usual.rtol if options.rtol is None else options.rtol
    atol = usual.atol if options.atol is None else options.atol
    comparisons = compare(outputs, expected, rtol, atol, excuse=options.rtol is None and options.atol is None)
    console.comparisons(_reference_path(options), comparisons)
    return bool(comparisons) and all(comparison.passed for comparison in comparisons)


def _reference(session: Session, options: Options) -> dict[str, Array]:
    """The expected outputs: of the file that is named, else of the one that was written with the PEF."""
    path = _reference_path(options)
    if options.reference is None and not path.exists():
        what = f"the reference {path} does not exist: none was written with the PEF, or it was moved"
        hint = "compiling notes it when PyTorch cannot run the sample inputs; give another with --reference FILE.npz"
        raise UsageError(Problem(what, hint=hint))
    expected = read_npz(path, "reference")
    if options.reference is None:
        require_own(session.pef, REFERENCE, path, read_file(path))
    if json.loads(session.pef.header.options_json or "{}").get("preset", "mp0") != "mp0":
        return outputs_of(expected)  # float64 cannot judge what was rounded on purpose
    return expected


def _reference_path(options: Options) -> Path:
    return options.reference or options.pef.with_name(f"{options.pef.stem}.reference.npz")


def _train(
    session: Session, options: Options, console: Console, recorded: dict[str, Array], termination: Termination
) -> None:
    """Train until the last step or SIGTERM, and write a checkpoint of the step it ended with."""
    require_training(session)
    done = Progress(0, options.seed or 0)
    if options.resume is not None:
        done = resume(options.resume, session, options.accept_recompiled)
    if options.seed not in (None, done.seed):
        raise UsageError(Problem(f"the checkpoint was trained with seed {done.seed}", hint="leave out --seed"))
    data = _data(session, options, console, recorded)
    hyper = {**done.hyper, **options.hyper}
    session.write_hyper(hyper)
    training = Training(session, data, done.seed, hyper)
    if data.samples % data.batch and data.samples > data.batch:
        console.note(f"{data.samples % data.batch} samples do not fill a batch and are left out of each epoch")
    last = done.step + (options.steps or (options.epochs or 0) * training.steps_per_epoch)
    folder = _checkpoint_folder(options)
    console.fact("loss", loss_name(session), loss_name(session))
    began, path, reached = time.perf_counter(), options.resume, done.step
    with (
        termination,
        _last_checkpoint_named(lambda: path),
        only_writer(folder, "writes checkpoints into", "wait for it, or give another --checkpoint-dir"),
        progress(console, "steps", last - done.step) as advance,
    ):
        for step, loss in training.run(done.step, last):
            advance(1)
            reached = step + 1
            if reached % options.log_every == 0 or reached == last:
                console.loss(reached, loss)
            if termination.asked:
                break
            if options.checkpoint_every and reached % options.checkpoint_every == 0 and reached < last:
                written = _checkpoint(folder, reached)
                write_checkpoint(written, session, Progress(reached, done.seed, hyper))
                path = written
        path = _checkpoint(folder, reached)
        write_checkpoint(path, session, Progress(reached, done.seed, hyper))
    console.host_time(time.perf_counter() - began, reached - done.step, "steps")
    console.fact("checkpoint", str(path), str(path))
    if termination.asked:
        console.note(f"SIGTERM: ended after step {reached} of {last}; snrun --resume {path} goes on from there")


@contextmanager
def _last_checkpoint_named(last: Callable[[], Path | None]) -> Iterator[None]:
    """Where the hardware fails in the block, say from which checkpoint training can go on."""
    try:
        yield
    except NodeError as error:
        path = last()
        where = (
            f"the last checkpoint is {path}" if path is not None else "no checkpoint was written: --checkpoint-every"
        )
        raise NodeError(*(replace(problem, hint=f"{problem.hint}; {where}") for problem in error.problems)) from error


def _checkpoint(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}.safetensors"


def _time(session: Session, options: Options, console: Console) -> None:
    replicas = Replicas(options.world_size or 1, options.reduce_on_rdu)
    report: Report = session.run_timing(replicas=replicas)
    if options.trace is not None:
        from runtime.profile import trace

        trace.write(report, options.trace)
        console.fact("trace", f"{options.trace} (simulated time)", str(options.trace))
    console.timing(report, full=options.profile or options.timing_only, top=options.top)
