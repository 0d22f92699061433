"""What the files say: a PEF's header and sections, the checkpoints beside it, and when a run last wrote there.

There is no list that could be out of date. The registry is the folders themselves: those that are named, else those of
$SNC_PEFS (with colons between them), else `out`, where compiles write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ir.errors import Problem, SncError, UsageError
from ir.graph import SectionKind
from pef import file
from pef import pef_pb2 as pb
from pef.codec import decode_machine, section_kinds
from pef.machine import Machine

VARIABLE = "SNC_PEFS"
DEFAULT = "out"
SHOWN_OPTIONS = ("level", "preset", "batch_size", "microbatch_size", "replicas")
"""What of a compile's options tells PEFs of one model apart."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One PEF. last_run: when a run last wrote results or a checkpoint beside it, in seconds since 1970, or None.

    problem: why the file cannot be read; the facts that it would tell are empty then.
    """

    path: Path
    size_bytes: int
    name: str = ""
    kind: str = ""
    machine: str = ""
    avoided: tuple[str, ...] = ()
    options: dict[str, Any] | None = None
    checkpoints: tuple[Path, ...] = ()
    last_run: float | None = None
    problem: str = ""

    @property
    def last_step(self) -> int | None:
        """The step of the last checkpoint."""
        steps = [int(number) for path in self.checkpoints if (number := path.stem.rpartition("-")[2]).isdecimal()]
        return max(steps, default=None)


def folders(named: Sequence[Path]) -> list[Path]:
    """Where to look. Raises UsageError for what was named as a folder and is not one."""
    given = list(named) or [Path(part) for part in os.environ.get(VARIABLE, "").split(":") if part]
    UsageError.raise_if(
        [
            Problem(f"{folder} is not a folder", hint=f"name folders with PEFs, on the command line or in ${VARIABLE}")
            for folder in given
            if not folder.is_dir()
        ]
    )
    return given or [Path(DEFAULT)]


def entries(where: Sequence[Path]) -> list[Entry]:
    """Every PEF below the folders, by path."""
    return [entry(path) for path in sorted({path for folder in where for path in folder.rglob("*.pef")})]


def entry(path: Path) -> Entry:
    """What is known of the PEF at `path`; one that cannot be read is an entry too."""
    size = path.stat().st_size
    checkpoints = tuple(sorted((path.parent / "checkpoints").glob("step-*.safetensors")))
    last_run = max((moment.stat().st_mtime for moment in _written_by_runs(path, checkpoints)), default=None)
    try:
        pef = file.read(path)
    except SncError as error:
        return Entry(path, size, checkpoints=checkpoints, last_run=last_run, problem=error.problems[0].message)
    options = json.loads(pef.header.options_json or "{}")
    machine = decode_machine(pef.machine)
    shown = {name: options[name] for name in SHOWN_OPTIONS if options.get(name) is not None}
    return Entry(
        path, size, pef.header.name, _kind(pef), machine.name, tuple(_avoided(machine, options)), shown, checkpoints,
        last_run,
    )  # fmt: skip


def _written_by_runs(path: Path, checkpoints: Sequence[Path]) -> Iterator[Path]:
    yield from checkpoints
    results = path.parent / "results" / f"{path.stem}.npz"
    if results.exists():
        yield results


def _kind(pef: pb.Pef) -> str:
    """What the PEF is for."""
    kinds = section_kinds(pef)
    if SectionKind.REDUCE in kinds:
        return "data parallel"
    if any(kind.updates for kind in kinds):
        return "training"
    return "gradients" if any(kind.back_propagates for kind in kinds) else "inference"


def _avoided(machine: Machine, options: dict[str, Any]) -> Iterator[str]:
    """What the PEF was mapped around, in the words it was asked for in, or as the machine shows."""
    if options.get("avoid"):
        yield from options["avoid"]
    else:
        yield from (f"tile:{tile}" for tile in sorted(machine.excluded_rdu_tiles()))
