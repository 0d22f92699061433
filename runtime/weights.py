"""Weights and checkpoints in files: safetensors, npz, and PyTorch's own.

bf16 tensors are written as BF16, bit by bit as the device holds them, and arrive as float32 of the same values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ir.errors import BindError, Problem, UsageError
from ir.op import Array
from ir.rounding import widen
from ir.types import DType
from pef.files import read_npz, replacing
from runtime.session import CHECKPOINTED, Session

FORMAT = "snc-checkpoint-1"

_READ_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_WRITTEN_DTYPES = {
    DType.F32: "F32",
    DType.BF16: "BF16",
    DType.I32: "I32",
    DType.I8: "I8",
    DType.BOOL: "BOOL",
}


def read_weights(path: Path) -> dict[str, Array]:
    """The named tensors of a `.safetensors`, `.npz`, `.pt` or `.pth` file; bf16 as float32.

    A PyTorch file holds a state dict, by itself or under "model", "state_dict" or "model_state_dict"; reading one
    needs PyTorch and never executes code from the file. Raises UsageError for anything else.
    """
    if path.suffix == ".npz":
        return read_npz(path, "weights file")
    if path.suffix in (".pt", ".pth", ".bin"):
        return _read_torch(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    raise UsageError(
        Problem(f"{path} is not a weights file that can be read", hint="give a .safetensors, .npz or .pt file")
    )


def read_safetensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; bf16 as float32. Raises UsageError where it is unreadable."""
    from safetensors import SafetensorError, deserialize

    try:
        content = path.read_bytes()
        tensors = {name: _decoded(name, entry) for name, entry in deserialize(content)}  # type: ignore[no-untyped-call]
    except FileNotFoundError as error:
        raise UsageError(Problem(f"{path} does not exist", hint="check the path")) from error
    except (OSError, SafetensorError) as error:
        raise UsageError(Problem(f"{path} cannot be read: {error}", hint="write or copy the file again")) from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__", {})


def write_safetensors(path: Path, session: Session, names: list[str], metadata: Mapping[str, str]) -> None:
    """Write symbols of a session, atomically and exactly.

    The layout (length of the header, JSON header, data) is written here because the library's NumPy side has no bf16.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = session.symbols[name].type
        dtype, shape = _WRITTEN_DTYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as new, new.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(session.raw(name).tobytes())


@dataclass(frozen=True)
class Progress:
    """How far a training run has come: enough to go on as if it had never stopped."""

    step: int
    seed: int
    hyper: dict[str, float] = field(default_factory=dict)


def write_checkpoint(path: Path, session: Session, progress: Progress) -> None:
    """Write parameters, buffers and optimizer states, and how far training has come, atomically."""
    metadata = {
        "format": FORMAT,
        "pef": session.pef.header.name,
        "step": str(progress.step),
        "seed": str(progress.seed),
        "hyper": json.dumps(progress.hyper, sort_keys=True),
    }
    write_safetensors(path, session, session.names(*CHECKPOINTED), metadata)


def resume(path: Path, session: Session) -> Progress:
    """Load a checkpoint into the session. Raises UsageError if it is none, BindError if it is of another model."""
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise UsageError(
            Problem(f"{path} is not a checkpoint of a training run", hint="give it with --weights to start from it")
        )
    BindError.raise_if([Problem(f"{path} lacks {n!r}") for n in session.names(*CHECKPOINTED) if n not in tensors])
    session.load_weights(tensors)
    return Progress(int(metadata["step"]), int(metadata["seed"]), json.loads(metadata["hyper"]))


def _decoded(name: str, entry: Mapping[str, Any]) -> Array:
    if entry["dtype"] not in _READ_DTYPES:
        raise UsageError(Problem(f"tensor {name!r} has element type {entry['dtype']}", hint="convert it to float32"))
    array: Array = np.frombuffer(entry["data"], _READ_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] != "BF16":
        return array
    wide = np.empty(array.shape, np.float32)
    widen(array, wide)
    return wide


def _read_torch(path: Path) -> dict[str, Array]:
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            Problem(f"reading {path} needs PyTorch", hint="install torch, or convert the file to safetensors")
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for an unreadable file
        raise UsageError(
            Problem(
                f"{path} cannot be read: {error}", hint="save the model's state dict: torch.save(model.state_dict())"
            )
        ) from error
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise UsageError(Problem(f"{path} holds no state dict", hint="save one: torch.save(model.state_dict(), path)"))
    return {name: (v.float() if v.dtype is torch.bfloat16 else v).detach().numpy() for name, v in loaded.items()}
