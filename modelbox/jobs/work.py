"""What a job's process does: compile, or train with checkpoints. It ends in order when its input ends."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from ir.errors import Problem, SncError, UsageError
from modelbox.box_file import Home, Profile
from modelbox.service.loading import open_profile
from modelbox.sources import HUGGING_FACE, Source, compile_profile, configuration
from pef.npz import read_npz
from runtime.files.checkpoint import Progress, resume, write_checkpoint
from runtime.files.data import DataSet
from runtime.session import Session
from runtime.snrun.train import Training, require_training


class Reporter:
    """Tells events; `cancelled` once nobody wants the job any more."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self.cancelled = threading.Event()

    def tell(self, event: str, **fields: Any) -> None:
        """A line; where nobody listens any more, the job is cancelled."""
        try:
            print(json.dumps({"event": event, **fields}), file=self._output, flush=True)
        except BrokenPipeError:
            self.cancelled.set()

    def watch(self, at_once: bool) -> None:
        """Notice when the input ends; with `at_once`, that is the end."""

        def wait() -> None:
            sys.stdin.read()
            self.cancelled.set()
            if at_once:
                self.tell("finished", state="cancelled")
                os._exit(0)

        threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Do the job on the first line of the input."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints, a model file for one, is no event
    reporter = Reporter(output)
    job = json.loads(sys.stdin.readline())
    home = Home.read(Path(job["box"]))
    reporter.watch(at_once=job["kind"] == "compile")
    try:
        if job["kind"] == "compile":
            _compile(home, job, reporter)
        else:
            _train(home, job, reporter)
    except SncError as error:
        reporter.tell("finished", state="failed", message=str(error))


def _compile(home: Home, job: Mapping[str, Any], reporter: Reporter) -> None:
    profile = Profile.model_validate(job["profile"])

    def progress(what: str, done: float) -> None:
        reporter.tell("progress", doing=what, fraction=done)

    result = compile_profile(home, profile, home.state / "pefs", progress)
    report = Session(result.decoded).run_timing()
    simulated = round(1000 * report.us(report.cycles))
    reporter.tell("finished", state="done", path=str(result.pef_path.resolve()), simulated_rdu_ns=simulated)


def _train(home: Home, job: Mapping[str, Any], reporter: Reporter) -> None:
    session = open_profile(home, Profile.model_validate(job["profile"]))
    require_training(session)
    data = DataSet.of(read_npz(Path(job["dataset"]), "data set"), session)
    hyper = {name: float(value) for name, value in job["hyper"].items()}
    session.write_hyper(hyper)
    first = resume(Path(job["resume"]), session, job["accept_recompiled"]).step if job.get("resume") else 0
    training = Training(session, data, job["seed"], hyper)
    last = first + (job["steps"] or job["epochs"] * training.steps_per_epoch)
    if last == first:
        raise UsageError(Problem("there is nothing to train", hint="give steps or epochs"))
    kept = done = first
    for step, loss in training.run(first, last):
        done = step + 1
        reporter.tell("step", step=done, loss=loss)
        ends = done == last or reporter.cancelled.is_set()
        if ends or (job["checkpoint_every"] and done % job["checkpoint_every"] == 0):
            _checkpoint(session, Path(job["folder"]), Progress(done, job["seed"], hyper), reporter)
            kept = done
        if ends:
            break
    report = session.run_timing()
    simulated = round(1000 * report.us(report.cycles)) * (done - first)
    state = "done" if kept == last else "cancelled"
    path = _trained(home, session, Path(job["folder"])) if state == "done" else ""
    reporter.tell("finished", state=state, path=path, simulated_rdu_ns=simulated)


def _checkpoint(session: Session, folder: Path, progress: Progress, reporter: Reporter) -> None:
    """Tell of a checkpoint once it is on the disk."""
    path = folder / f"step-{progress.step:09d}.safetensors"
    write_checkpoint(path, session, progress)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    reporter.tell("checkpoint", step=progress.step, path=str(path), sha256=digest)


def _trained(home: Home, session: Session, folder: Path) -> str:
    """Of a language model, a Hugging Face folder too; else the last checkpoint is all there is."""
    if Source.of(home.box.model).kind != HUGGING_FACE:
        return ""
    from modelzoo.checkpoints.hugging_face import write

    write(session, configuration(home), folder / "trained", tokenizer_from=home.path(Source.of(home.box.model).what))
    return str(folder / "trained")


if __name__ == "__main__":
    main()
