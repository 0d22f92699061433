"""Results that a program keeps in a file, to compare those of the device with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ir.errors import Problem, UsageError
from pef.npz import read_npz
from pef.wording import listed


def require_gold(path: str | None) -> Path | None:
    """The file that results are compared with. Raises UsageError where it is named and not there."""
    if not path:
        return None
    if not Path(path).is_file():
        hint = "give an .npz, .pt or .safetensors file with tensors by name, or leave --gold-file-path out"
        raise UsageError(Problem(f"the gold file {path} does not exist", hint=hint))
    return Path(path)


def read_gold(path: Path) -> dict[str, Tensor]:
    """The tensors of a gold file by name; those of a list are called by their numbers. Raises UsageError."""
    if path.suffix == ".npz":
        return {name: torch.from_numpy(array) for name, array in read_npz(path, "gold file").items()}
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        stored: Any = torch.load(path)
    except Exception as error:
        hint = "write it with torch.save({name: tensor, ...}, path)"
        raise UsageError(Problem(f"the gold file {path} cannot be read: {error}"[:400], hint=hint)) from error
    if isinstance(stored, Tensor):
        stored = [stored]
    if isinstance(stored, (list, tuple)):
        stored = {str(number): tensor for number, tensor in enumerate(stored)}
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        hint = "write it with torch.save({name: tensor, ...}, path)"
        raise UsageError(Problem(f"the gold file {path} holds no tensors by name", hint=hint))
    return dict(stored)


def compare_with_gold(path: Path, device: Mapping[str, Tensor], threshold: float) -> None:
    """Compare what the device computed with a gold file. Raises AssertionError for the first that differs by over
    `threshold`, UsageError for names that nothing here is called."""
    golds = read_gold(path)
    names = list(device)
    unknown = [name for name in golds if name not in device and not name.isdigit()]
    if unknown:
        hint = f"the device has {listed(names)}"
        raise UsageError(
            Problem(f"the gold file {path} holds {listed(unknown)}, which the device does not have", hint=hint)
        )
    for name, gold in golds.items():
        ours = device[name] if name in device else device[names[int(name)]]
        if ours.shape != gold.shape:
            raise AssertionError(f"{name}: shapes {list(ours.shape)} and {list(gold.shape)} of {path} differ")
        difference = float((ours.double() - gold.double()).abs().max()) if gold.numel() else 0.0
        if not difference <= threshold:
            raise AssertionError(f"{name} differs by {difference:.3e} from the gold file {path}")
    print(f"{len(golds)} results agree with the gold file {path}")
