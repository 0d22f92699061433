"""State dicts in PyTorch's own files, read without executing code from them."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ir.errors import Problem, UsageError
from ir.op import Array

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = ("model", "state_dict", "model_state_dict")
"""Keys under which training scripts keep the state dict."""


def read_torch(path: Path) -> dict[str, Array]:
    """The tensors of a state dict; floats that NumPy does not know as float32 of the same values.

    Raises UsageError with everything that is not a plain tensor.
    """
    loaded = _load(path)
    for key in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in loaded):
        raise UsageError(Problem(f"{path} holds no state dict", hint="save one: torch.save(model.state_dict(), path)"))
    UsageError.raise_if([problem for name, value in loaded.items() if (problem := _problem(path, name, value))])
    return {name: _array(tensor) for name, tensor in loaded.items()}


def _load(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            Problem(f"reading {path} needs PyTorch", hint="install torch, or convert the file to safetensors")
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a damaged file looks like
            _require_whole(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(Problem(f"{path} does not exist", hint="check the path")) from error
    except Exception as error:  # torch raises many kinds for an unreadable file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(
            Problem(
                f"{path} cannot be read: {reason}", hint="save the model's state dict: torch.save(model.state_dict())"
            )
        ) from error


def _require_whole(path: Path) -> None:
    """Raise ValueError where the checksums of the archive that PyTorch writes are not those of its content."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} in it is damaged")


def _problem(path: Path, name: str, value: object) -> Problem | None:
    """What keeps a value from being read as a dense array of numbers, if anything does."""
    import torch

    if not isinstance(value, torch.Tensor):
        hint = "save one: torch.save(model.state_dict(), path)"
        return Problem(f"{path} holds no state dict: {name!r} is a {type(value).__name__}", hint=hint)
    if value.is_meta:
        return Problem(f"{path}: {name!r} has no content: it is on the meta device", hint="save tensors with content")
    if value.is_quantized:
        return Problem(f"{path}: tensor {name!r} is quantised", hint=f"save {name}.dequantize()")
    if value.layout is not torch.strided:
        return Problem(f"{path}: tensor {name!r} is sparse ({value.layout})", hint=f"save {name}.to_dense()")
    try:
        _array(value[(0,) * value.dim()] if value.numel() else value)
    except (TypeError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "")
        what = f"{path}: tensor {name!r} is {value.dtype}, which cannot be read ({reason})"
        return Problem(what, hint="convert it to float32")
    return None


def _array(tensor: Tensor) -> Array:
    import torch

    plain = tensor.detach().resolve_conj().resolve_neg()
    if plain.is_floating_point() and plain.dtype not in (torch.float16, torch.float32, torch.float64):
        plain = plain.to(torch.float32)
    array: Array = plain.numpy()
    return array
