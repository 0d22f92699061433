"""MNIST as flat, normalised vectors."""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ir.errors import Problem, UsageError

MEAN, STANDARD_DEVIATION = 0.1307, 0.3081


def dataset_transform(args: argparse.Namespace | Mapping[str, Any]) -> Callable[[Any], Tensor]:
    """A transform from an image (PIL, array or tensor) to a normalised vector of `num_features`."""
    options = args if isinstance(args, Mapping) else vars(args)
    features = int(options.get("num_features", 784))

    def transform(image: Any) -> Tensor:
        pixels = image if isinstance(image, Tensor) else torch.as_tensor(np.asarray(image))
        scaled = pixels.float() / (1.0 if pixels.is_floating_point() else 255.0)
        vector = ((scaled - MEAN) / STANDARD_DEVIATION).reshape(-1)
        if vector.numel() >= features:
            return vector[:features]
        return torch.nn.functional.pad(vector, (0, features - vector.numel()))

    return transform


def prepare_dataloader(args: argparse.Namespace | Mapping[str, Any]) -> tuple[DataLoader, DataLoader]:
    """Loaders of the training and the test images in `data_dir` (the four MNIST files, packed or not)."""
    options = args if isinstance(args, Mapping) else vars(args)
    folder = Path(options.get("data_dir") or options.get("data_folder") or "data")
    batch = int(options.get("batch_size", 1))
    transform = dataset_transform(options)
    return (
        DataLoader(_read(folder, "train", transform), batch_size=batch, shuffle=True, drop_last=True),
        DataLoader(_read(folder, "t10k", transform), batch_size=batch, drop_last=True),
    )


def _read(folder: Path, part: str, transform: Callable[[Any], Tensor]) -> TensorDataset:
    images = _idx(folder, f"{part}-images-idx3-ubyte")
    labels = _idx(folder, f"{part}-labels-idx1-ubyte")
    vectors = torch.stack([transform(torch.as_tensor(image)) for image in images])
    return TensorDataset(vectors, torch.as_tensor(labels.astype(np.int64)))


def _idx(folder: Path, name: str) -> Any:
    """A file in MNIST's format: two zero bytes, type, rank, extents, content."""
    found = [path for path in (folder.rglob(f"{name}*") if folder.is_dir() else ()) if path.is_file()]
    if not found:
        raise UsageError(
            Problem(f"{folder} holds no {name}", hint="put the four MNIST files there, or give --data-dir")
        )
    content = found[0].read_bytes()
    content = gzip.decompress(content) if found[0].suffix == ".gz" else content
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()
