"""Making a box: its folder, its PEF or PEFs, the checkpoint, and a box.yaml to adapt."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from compiler.driver import Progress
from ir.errors import Problem, UsageError
from modelbox.box_file import FILE, Box, Home, Profile, Use, as_text
from modelbox.sources import FILE as MODEL_FILE
from modelbox.sources import HUGGING_FACE, ZOO, Source, compile_profile
from pef.files import write_bytes

PEFS = "pefs"


def create(
    folder: Path,
    model: str,
    *,
    name: str | None = None,
    machine: str = "sn30",
    batch: int = 8,
    length: int | None = None,
    prefill: Sequence[int] = (),
    uses: Sequence[Use] = (),
    progress: Progress = lambda what, done: None,
) -> Home:
    """A box for `model`, compiled; files that `model` names are copied into it.

    Raises UsageError where there is a box already, and for a model that there is not.
    """
    if (folder / FILE).exists():
        raise UsageError(Problem(f"{folder} is a box already", hint="give another folder, or edit its box.yaml"))
    source = Source.of(model)
    if source.kind not in (ZOO, MODEL_FILE, HUGGING_FACE) or not source.what:
        hint = "write it like zoo:braggnn/tiny, file:model.py, or huggingface:FOLDER"
        raise UsageError(Problem(f"{model!r} names no model", hint=hint))
    folder.mkdir(parents=True, exist_ok=True)
    within, checkpoint = _brought(folder, source)
    chosen = tuple(uses) or source.uses[:1]
    profiles = tuple(_profile(use, batch, length, tuple(prefill)) for use in chosen)
    named = name or source.what.rstrip("/").rpartition("/")[2].partition(".py")[0]
    if source.kind == ZOO:
        named = name or source.what.partition("/")[0]
    box = Box(box=1, name=named, model=within, machine=machine, checkpoint=checkpoint, profiles=profiles)
    home = Home(folder.resolve(), box)
    for profile in profiles:
        compile_profile(home, profile, folder / PEFS, progress)
    write_bytes(folder / FILE, as_text(box).encode())
    return home


def profile_name(use: Use, batch: int, length: int | None) -> str:
    """What a profile is called where nobody says."""
    return f"{use}-b{batch}" + (f"-l{length}" if length else "")


def _profile(use: Use, batch: int, length: int | None, prefill: tuple[int, ...]) -> Profile:
    name = profile_name(use, batch, length)
    path = f"{PEFS}/{name}/{name}.pef"
    return Profile(
        name=name, use=use, pef=path, batch=batch, length=length, prefill=prefill if use == "generation" else ()
    )


def _brought(folder: Path, source: Source) -> tuple[str, str | None]:
    """The model as box.yaml names it, and the checkpoint, once their files are in the box."""
    if source.kind == ZOO:
        return f"zoo:{source.what}", None
    if source.kind == MODEL_FILE:
        file, colon, attribute = source.what.partition(":")
        if not Path(file).is_file():
            raise UsageError(Problem(f"there is no file {file}", hint="give the path of a model file"))
        shutil.copyfile(file, folder / Path(file).name)
        return f"file:{Path(file).name}{colon}{attribute}", None
    origin = Path(source.what)
    if not (origin / "config.json").is_file():
        raise UsageError(Problem(f"{origin} has no config.json", hint="give the folder of a Hugging Face checkpoint"))
    shutil.copytree(origin, folder / "checkpoint", dirs_exist_ok=True)
    return "huggingface:checkpoint", "checkpoint"
