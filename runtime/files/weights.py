"""Weights in files, whatever wrote them: safetensors, checkpoints, npz, and PyTorch's own."""

from __future__ import annotations

from pathlib import Path

from ir.errors import Problem, UsageError
from ir.op import Array
from pef.npz import read_npz
from runtime.files.checkpoint import read_values
from runtime.files.torch_file import read_torch


def read_weights(path: Path) -> dict[str, Array]:
    """The named tensors of a `.safetensors`, `.npz`, `.pt` or `.pth` file; bf16 as float32.

    A PyTorch file holds a state dict, by itself or under "model", "state_dict" or "model_state_dict"; reading one
    needs PyTorch and never executes code from the file. Raises UsageError for anything else.
    """
    if path.suffix == ".npz":
        return read_npz(path, "weights file")
    if path.suffix in (".pt", ".pth", ".bin"):
        return read_torch(path)
    if path.suffix == ".safetensors":
        return read_values(path)
    raise UsageError(
        Problem(f"{path} is not a weights file that can be read", hint="give a .safetensors, .npz or .pt file")
    )
