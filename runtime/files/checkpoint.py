"""Checkpoints of training: what training changes, how far it has come, for which PEF, and a digest over all of it.

A checkpoint is a safetensors file. Its layout (length of the header, JSON header, data) is written here because the
library's NumPy side has no bf16.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ir.errors import BindError, Problem, UsageError
from ir.op import Array
from ir.types import DType
from pef.file import record_hash
from pef.files import replacing
from runtime.files.safetensors_file import decode_safetensors, read_file
from runtime.session import CHECKPOINTED, Session

FORMAT = "snc-checkpoint-2"
_OLDER = ("snc-checkpoint-1",)
_NO_DIGEST = "0" * 64
"""What stands in the place of the digest while it is computed."""

_WRITTEN_DTYPES = {
    DType.F32: "F32",
    DType.BF16: "BF16",
    DType.I32: "I32",
    DType.I8: "I8",
    DType.BOOL: "BOOL",
}


@dataclass(frozen=True)
class Progress:
    """How far a training run has come: enough to go on as if it had never stopped."""

    step: int
    seed: int
    hyper: dict[str, float] = field(default_factory=dict)


def write_checkpoint(path: Path, session: Session, progress: Progress) -> None:
    """Write parameters, buffers and optimizer states, and how far training has come, atomically and exactly."""
    names = session.names(*CHECKPOINTED)
    metadata = {
        "format": FORMAT,
        "pef": session.pef.header.name,
        "pef_sha256": record_hash(session.pef),
        "program_sha256": session.pef.header.program_sha256.hex(),
        "step": str(progress.step),
        "seed": str(progress.seed),
        "hyper": json.dumps(progress.hyper, sort_keys=True),
        "sha256": _NO_DIGEST,
    }
    start = _start(session, names, metadata)
    digest = hashlib.sha256(start)
    for array in _stored(session, names):
        digest.update(array)
    with session.hardware.checkpointing(), replacing(path) as file:
        file.write(start.replace(_NO_DIGEST.encode(), digest.hexdigest().encode(), 1))
        for array in _stored(session, names):
            file.write(array)


def resume(path: Path, session: Session, accept_recompiled: bool = False) -> Progress:
    """Load a checkpoint into the session.

    Raises UsageError where it is none, is damaged, or belongs to another PEF, BindError where a tensor is missing.
    With `accept_recompiled` the PEF may be another compile of the same program: mapped onto other hardware, or around
    some of it. It computes the same; only sums may round differently.
    """
    content = read_file(path)
    tensors, metadata = decode_safetensors(path, content)
    _require_sound(path, content, metadata)
    if metadata.get("pef_sha256") != record_hash(session.pef):
        _require_same_program(path, metadata, session, accept_recompiled)
    progress = _progress(path, metadata)
    BindError.raise_if([Problem(f"{path} lacks {n!r}") for n in session.names(*CHECKPOINTED) if n not in tensors])
    session.load_weights(tensors)
    return progress


def read_values(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file; where it is a checkpoint, only if it is undamaged. Raises UsageError."""
    content = read_file(path)
    tensors, metadata = decode_safetensors(path, content)
    if metadata.get("format") == FORMAT:
        _require_sound(path, content, metadata)
    return tensors


def _start(session: Session, names: list[str], metadata: Mapping[str, str]) -> bytes:
    """What stands before the data."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = session.symbols[name].type
        dtype, shape = _WRITTEN_DTYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _stored(session: Session, names: list[str]) -> Iterator[memoryview]:
    """The bytes of each tensor, as device memory holds them."""
    for name in names:
        yield session.raw(name).reshape(-1).view(np.uint8).data


def _require_sound(path: Path, content: bytes, metadata: Mapping[str, str]) -> None:
    """Raises UsageError for a file that is not a checkpoint, or whose digest is not that of its content."""
    if metadata.get("format") in _OLDER:
        what = f"{path} was written by an earlier version, which kept no digest to check it by"
        raise UsageError(Problem(what, hint="start from its values, with --weights FILE"))
    if metadata.get("format") != FORMAT:
        hint = "give it with --weights to start from it"
        raise UsageError(Problem(f"{path} is not a checkpoint of a training run", hint=hint))
    digest = metadata.get("sha256", "").encode()
    end = 8 + int.from_bytes(content[:8], "little")
    found = hashlib.sha256(content[:end].replace(digest, _NO_DIGEST.encode(), 1) if digest else b"")
    found.update(memoryview(content)[end:])
    if found.hexdigest().encode() != digest:
        what = f"{path} is damaged: its content does not match its digest"
        raise UsageError(Problem(what, hint="take an earlier checkpoint, or copy the file again"))


def _require_same_program(path: Path, metadata: Mapping[str, str], session: Session, accepted: bool) -> None:
    """Raises UsageError unless a checkpoint of another PEF is one of the same program, and that is accepted."""
    program = session.pef.header.program_sha256.hex()
    same = bool(program) and metadata.get("program_sha256") == program
    if same and accepted:
        return
    what = f"{path} is a checkpoint of another PEF, {metadata.get('pef')!r}"
    hint = "give the PEF that was trained, or start from the checkpoint's values: --weights"
    if same:
        what += ", which was compiled from the same program"
        hint = "--accept-recompiled to go on with this one, or --weights to start from the checkpoint's values"
    elif accepted and (not program or not metadata.get("program_sha256")):
        what += ", and one of the two is from an earlier version, which did not note the program"
    elif accepted:
        what += ", which computes something else: the model, its shapes, its precision or the level differ"
    raise UsageError(Problem(what, hint=hint))


def _progress(path: Path, metadata: Mapping[str, str]) -> Progress:
    try:
        step, seed, hyper = int(metadata["step"]), int(metadata["seed"]), json.loads(metadata["hyper"])
        values = {str(name): float(value) for name, value in hyper.items()}
        if step < 0 or seed < 0 or not all(map(math.isfinite, values.values())):
            raise ValueError("a number is out of range")
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        what = f"{path} does not say how many steps were trained: {type(error).__name__}: {error}"
        raise UsageError(Problem(what, hint="start from its values, with --weights FILE")) from error
    return Progress(step, seed, values)
