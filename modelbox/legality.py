"""Whether a box can serve, before anything of it is loaded: profiles against PEFs, PEFs against the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open

from ir.errors import Problem, SncError, UsageError
from ir.graph import SymbolKind
from modelbox.box_file import Home, Profile
from modelbox.parameters import TEXT_PARAMETERS
from modelbox.sources import HUGGING_FACE, Source, configuration
from pef import file as pef_file
from pef import pef_pb2 as pb
from pef.check import check
from pef.codec import decode_type, section_kinds

CACHE = "cache."
"""How the names of a PEF's cache begin: it is the device's own."""

Shapes = dict[str, tuple[int, ...]]


def problems(home: Home) -> list[Problem]:
    """Everything that stands in the way; nothing where the box is legal."""
    return list(_problems(home))


def require_legal(home: Home) -> None:
    """Raises UsageError with everything that stands in the way."""
    UsageError.raise_if(problems(home))


def _problems(home: Home) -> Iterator[Problem]:
    box = home.box
    if not box.of_use("inference") and not box.of_use("generation"):
        yield Problem("no profile is for inference or generation", hint="a box answers requests: give it one")
    for name, parameter in box.parameters.items() if box.is_text else ():
        if name in TEXT_PARAMETERS and parameter.type != TEXT_PARAMETERS[name].type:
            yield Problem(f"parameter {name} of a text model is of type {TEXT_PARAMETERS[name].type}")
    for path in (box.security.tls_certificate, box.security.tls_key):
        if path is not None and not home.path(path).is_file():
            yield Problem(f"there is no file {path}", hint="give a PEM file within the box")
    if (folder := box.checkpoint) is not None and not home.path(folder).exists():
        yield Problem(f"there is no checkpoint {folder}", hint="mount or copy it there, or leave it out of box.yaml")
        return
    shapes = None
    try:
        shapes = checkpoint_shapes(home)
    except SncError as error:
        yield from error.problems
    for profile in box.profiles:
        try:
            pef = pef_file.read(home.path(profile.pef))
            check(pef)
        except SncError as error:
            yield from error.problems
            continue
        yield from _against_profile(pef, profile, home)
        if shapes is not None:
            yield from _against_checkpoint(pef, profile, shapes, home.path(profile.pef))


def _against_profile(pef: pb.Pef, profile: Profile, home: Home) -> Iterator[Problem]:
    """What the PEF was compiled for, and what box.yaml says of it."""
    said: dict[str, Any] = json.loads(pef.header.options_json or "{}")
    metadata: dict[str, Any] = json.loads(pef.header.metadata_json or "{}")
    where, again = f"profile {profile.name}", "correct box.yaml, or compile again"
    updates = any(kind.updates for kind in section_kinds(pef))
    if profile.use == "training" and not updates:
        yield Problem(f"{profile.pef} cannot train: it has no OPT sections", where, again)
    if (profile.use == "generation") != ("generation" in metadata):
        what = "was not" if profile.use == "generation" else "was"
        yield Problem(f"{profile.pef} {what} compiled to generate text", where, again)
    generation = metadata.get("generation", {})
    compiled = {"batch": generation.get("batch", said.get("batch_size")), "length": generation.get("length")}
    for name in ("batch", "length") if generation else ("batch",):
        if compiled[name] is not None and compiled[name] != getattr(profile, name):
            yield Problem(
                f"{profile.pef} is for a {name} of {compiled[name]}, not {getattr(profile, name)}", where, again
            )
    if said.get("arch") not in (None, home.box.machine):
        yield Problem(f"{profile.pef} is for {said['arch']}, and the box for {home.box.machine}", where, again)
    if "configuration" in metadata and Source.of(home.box.model).kind == HUGGING_FACE:
        yield from _against_configuration(metadata["configuration"], profile, home)


def _against_configuration(compiled: dict[str, Any], profile: Profile, home: Home) -> Iterator[Problem]:
    """The configuration in the PEF, and that of the model now: what differs in shapes shows in the checkpoint too."""
    from modelzoo.checkpoints.hugging_face import describe

    now = json.loads(json.dumps(describe(configuration(home)), default=str))
    names = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
    for name in names:
        if compiled.get(name) != now.get(name):
            what = f"{profile.pef} was compiled for {name} {compiled.get(name)!r}, and the model has {now.get(name)!r}"
            yield Problem(what, f"profile {profile.name}", "compile again")


def checkpoint_shapes(home: Home) -> Shapes | None:
    """The shapes of a checkpoint's tensors by the PEF's names, read from headers alone.

    None where there is no checkpoint, or where its format has no header to read; then it is checked as it is loaded.
    """
    if home.box.checkpoint is None:
        return None
    path = home.path(home.box.checkpoint)
    if path.is_dir():
        return _folder_shapes(path, home)
    if path.suffix != ".safetensors":
        return None
    return _header(path)


def _header(path: Path) -> Shapes:
    try:
        with safe_open(path, "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library raises its own kinds for files that are none
        raise UsageError(Problem(f"{path} cannot be read: {error}", hint="copy the checkpoint again")) from error


def _folder_shapes(folder: Path, home: Home) -> Shapes:
    """Of a Hugging Face folder: what is stored, and what the model ties to it."""
    from modelzoo.checkpoints.hugging_face import hollow, read_config

    stored: Shapes = {}
    for file in sorted(folder.glob("*.safetensors")):
        stored |= _header(file)
    if not stored:
        raise UsageError(Problem(f"{folder} holds no .safetensors file", hint="only safetensors are read"))
    model = hollow(read_config(folder))
    tied = getattr(model, "all_tied_weights_keys", {})
    made = {name: tuple(buffer.shape) for name, buffer in model.named_buffers() if name not in stored}
    also = {name: stored[source] for name, source in tied.items() if name not in stored and source in stored}
    return {**made, **stored, **also}


def _against_checkpoint(pef: pb.Pef, profile: Profile, shapes: Shapes, path: Path) -> Iterator[Problem]:
    """Every weight of the PEF is in the checkpoint, in its shape; constants were written beside the PEF."""
    beside = path.with_suffix(".safetensors")
    constant = _header(beside) if beside.exists() else {}
    where = f"profile {profile.name}"
    for symbol in pef.symbols:
        kind, name = SymbolKind(symbol.kind), symbol.name
        if kind not in (SymbolKind.PARAMETER, SymbolKind.BUFFER) or name.startswith(CACHE):
            continue
        wanted = decode_type(symbol.type).shape
        if name not in shapes and not (kind is SymbolKind.BUFFER and name in constant):
            yield Problem(f"the checkpoint lacks {name!r}", where, "give a checkpoint of this model")
        elif name in shapes and shapes[name] != wanted:
            what = f"{name!r} is {list(shapes[name])} in the checkpoint and {list(wanted)} in {profile.pef}"
            yield Problem(what, where, "give a checkpoint of this size, or compile for it")
