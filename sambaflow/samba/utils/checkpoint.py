"""Checkpoints in several files, as Hugging Face writes them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from ir.errors import BindError, Problem, UsageError

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin")


def load_sharded_checkpoint(model: nn.Module, path: str, ignore_dtype_mismatch: bool = False) -> nn.Module:
    """Load the shards in the folder `path` into `model`, one at a time, and on to the device where it is traced.

    Raises UsageError where there is no checkpoint, BindError for tensors that are missing or do not match.
    """
    folder = Path(path)
    known = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    seen: set[str] = set()
    problems: list[Problem] = []
    for shard in _shards(folder):
        for name, tensor in _read(shard).items():
            target = known.get(name)
            if target is None:
                continue
            seen.add(name)
            if target.shape != tensor.shape:
                shapes = f"has shape {list(tensor.shape)}, the model's is {list(target.shape)}"
                problems.append(Problem(f"{name!r} in {shard.name} {shapes}", hint="use the model's own checkpoint"))
            elif target.dtype != tensor.dtype and not ignore_dtype_mismatch:
                types = f"is {tensor.dtype}, the model's is {target.dtype}"
                problems.append(Problem(f"{name!r} in {shard.name} {types}", hint="give ignore_dtype_mismatch=True"))
            else:
                with torch.no_grad():
                    target.copy_(tensor)
    tied = {name for name, _ in model.named_parameters()}
    problems += [
        Problem(f"{folder} lacks {name!r}", hint="use the model's own checkpoint") for name in tied if name not in seen
    ]
    BindError.raise_if(problems)
    return model


def _shards(folder: Path) -> list[Path]:
    for index in INDEXES:
        if (folder / index).is_file():
            names = json.loads((folder / index).read_text())["weight_map"].values()
            return [folder / name for name in sorted(set(names))]
    found = [folder / name for name in SINGLES if (folder / name).is_file()]
    if not found:
        expected = ", ".join((*INDEXES, *SINGLES))
        raise UsageError(Problem(f"{folder} holds no checkpoint", hint=f"a folder with one of {expected}"))
    return found[:1]


def _read(shard: Path) -> dict[str, Tensor]:
    if shard.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(shard))
    return dict(torch.load(shard, map_location="cpu", weights_only=True))
